//! Element types: the runtime tag [`DType`] and the sealed trait [`Element`] over the Rust types that hold them.
//!
//! In memory a `bool` tensor is one byte per element, 0 or 1 ([`u8`] in the arena): any bit pattern of the workspace
//! must be a valid element, and a Rust `bool` is not. `f16` and `bf16` are stored as such and computed in f32.

/// Element type of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum DType {
    U8,
    I8,
    I16,
    I32,
    I64,
    F16,
    F32,
    F64,
    Bool,
    Bf16,
    U16,
    U32,
    U64,
}

impl DType {
    /// Every element type, in the order of their codes (`dtype as usize`).
    pub const ALL: [DType; 13] = [
        DType::U8,
        DType::I8,
        DType::I16,
        DType::I32,
        DType::I64,
        DType::F16,
        DType::F32,
        DType::F64,
        DType::Bool,
        DType::Bf16,
        DType::U16,
        DType::U32,
        DType::U64,
    ];

    /// Bytes per element.
    pub const fn size(self) -> usize {
        match self {
            DType::U8 | DType::I8 | DType::Bool => 1,
            DType::I16 | DType::U16 | DType::F16 | DType::Bf16 => 2,
            DType::I32 | DType::U32 | DType::F32 => 4,
            DType::I64 | DType::U64 | DType::F64 => 8,
        }
    }

    /// Whether it is a floating-point type.
    pub const fn is_float(self) -> bool {
        matches!(self, DType::F16 | DType::Bf16 | DType::F32 | DType::F64)
    }

    /// Whether it is an integer type (bool is not).
    pub const fn is_int(self) -> bool {
        !self.is_float() && !matches!(self, DType::Bool)
    }

    /// The name `print(ep)` uses (`f32`, `i64`, `b8`).
    pub const fn name(self) -> &'static str {
        match self {
            DType::U8 => "u8",
            DType::I8 => "i8",
            DType::I16 => "i16",
            DType::I32 => "i32",
            DType::I64 => "i64",
            DType::F16 => "f16",
            DType::F32 => "f32",
            DType::F64 => "f64",
            DType::Bool => "b8",
            DType::Bf16 => "bf16",
            DType::U16 => "u16",
            DType::U32 => "u32",
            DType::U64 => "u64",
        }
    }
}

/// IEEE 754 binary16, stored as its bits; arithmetic goes through f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct F16(pub u16);

/// bfloat16 (the upper half of an f32), stored as its bits; arithmetic goes through f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Bf16(pub u16);

impl F16 {
    /// Exact.
    #[inline(always)]
    pub const fn to_f32(self) -> f32 {
        let sign = (self.0 as u32 & 0x8000) << 16;
        let rest = self.0 as u32 & 0x7fff;
        if rest >= 0x7c00 {
            // Infinity, or a NaN whose payload moves up.
            return f32::from_bits(sign | 0x7f80_0000 | ((rest & 0x3ff) << 13));
        }
        if rest >= 0x400 {
            return f32::from_bits(sign | ((rest << 13) + ((127 - 15) << 23)));
        }
        // Subnormal: rest * 2^-24, exact in f32.
        let magnitude = rest as f32 * f32::from_bits((127 - 24) << 23);
        f32::from_bits(sign | magnitude.to_bits())
    }

    /// Rounds half to even; overflow gives infinity, NaN stays NaN.
    #[inline(always)]
    pub const fn from_f32(x: f32) -> Self {
        let bits = x.to_bits();
        let sign = (bits >> 16) as u16 & 0x8000;
        let magnitude = bits & 0x7fff_ffff;
        if magnitude > 0x7f80_0000 {
            return F16(sign | 0x7e00);
        }
        if magnitude >= 0x4780_0000 {
            return F16(sign | 0x7c00);
        }
        if magnitude < 0x3880_0000 {
            // Below the least normal: adding 0.5 puts the rounded subnormal into the low mantissa bits.
            let shifted = f32::from_bits(magnitude) + 0.5;
            return F16(sign | (shifted.to_bits() - 0x3f00_0000) as u16);
        }
        let odd = (magnitude >> 13) & 1;
        // 0xfff rounds half down, `odd` makes it half to even; a carry into the exponent is right, up to infinity.
        let rounded = magnitude + 0xfff + odd - ((127 - 15) << 23);
        F16(sign | (rounded >> 13) as u16)
    }
}

impl Bf16 {
    /// Exact.
    #[inline(always)]
    pub const fn to_f32(self) -> f32 {
        f32::from_bits((self.0 as u32) << 16)
    }

    /// Rounds half to even; NaN stays NaN.
    #[inline(always)]
    pub const fn from_f32(x: f32) -> Self {
        let bits = x.to_bits();
        if bits & 0x7fff_ffff > 0x7f80_0000 {
            return Bf16((bits >> 16) as u16 | 0x40);
        }
        Bf16(((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16)
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A type that arena, weights and user tensors hold. Every bit pattern is a valid value, so that views of the workspace
/// are sound whatever it contains; `bool` is therefore not among them.
pub trait Element: sealed::Sealed + Copy + Default + PartialEq + Send + Sync + 'static {
    /// Its tag; `u8` also carries [`DType::Bool`].
    const DTYPE: DType;
}

macro_rules! elements {
    ($($t:ty => $d:ident),*) => {$(
        impl sealed::Sealed for $t {}
        impl Element for $t {
            const DTYPE: DType = DType::$d;
        }
    )*};
}
elements!(u8 => U8, i8 => I8, i16 => I16, i32 => I32, i64 => I64, u16 => U16, u32 => U32, u64 => U64, f32 => F32, f64 => F64, F16 => F16, Bf16 => Bf16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_dtypes_stand_at_their_codes() {
        assert!(DType::ALL.iter().enumerate().all(|(code, dtype)| *dtype as usize == code));
    }

    #[test]
    fn every_f16_survives_the_round_trip() {
        for bits in 0..=u16::MAX {
            let x = F16(bits).to_f32();
            let back = F16::from_f32(x);
            if x.is_nan() {
                assert!(back.to_f32().is_nan());
            } else {
                assert_eq!(back.0, bits);
            }
            let b = Bf16(bits).to_f32();
            assert!(b.is_nan() && Bf16::from_f32(b).to_f32().is_nan() || Bf16::from_f32(b).0 == bits);
        }
    }

    #[test]
    fn f16_rounds_half_to_even() {
        for bits in 0..0x7bffu16 {
            let (low, high) = (F16(bits).to_f32(), F16(bits + 1).to_f32());
            let middle = low + (high - low) / 2.0;
            assert_eq!(F16::from_f32(middle).0, bits + (bits & 1), "{bits:#x}");
            assert_eq!(F16::from_f32(f32::from_bits(middle.to_bits() + 1)).0, bits + 1);
            assert_eq!(F16::from_f32(-f32::from_bits(middle.to_bits() - 1)).0, 0x8000 | bits);
        }
        assert_eq!(F16::from_f32(65519.0).0, 0x7bff);
        assert_eq!(F16::from_f32(65520.0).0, 0x7c00);
        assert_eq!(F16::from_f32(1e30).0, 0x7c00);
        assert_eq!(F16::from_f32(1e-30).0, 0);
    }

    #[test]
    fn bf16_rounds_half_to_even() {
        assert_eq!(Bf16::from_f32(f32::from_bits(0x3f80_8000)).0, 0x3f80);
        assert_eq!(Bf16::from_f32(f32::from_bits(0x3f81_8000)).0, 0x3f82);
        assert_eq!(Bf16::from_f32(f32::from_bits(0x3f80_8001)).0, 0x3f81);
        assert_eq!(Bf16::from_f32(f32::MAX).0, 0x7f80);
    }
}
