//! Conversions. Between integers they wrap. Float to integer truncates; what C++ leaves undefined (NaN, out of range)
//! gives what PyTorch's code gives on x86-64: the least value of the i32 or i64 the conversion goes through, which
//! narrower types then take the low bits of (`u8`, `u32` and `u64` go through i64, `i8`, `i16` and `u16` through i32).

use crate::dtype::{Bf16, F16};

/// Conversion to `U`.
pub trait CastTo<U> {
    /// Converts.
    fn cast_to(self) -> U;
}

/// `from => { to: |x| expression }` for lists of types.
macro_rules! casts {
    ($x:ident: $($from:ty => { $($to:ty: $value:expr;)* })*) => {$($(
        impl CastTo<$to> for $from {
            #[inline(always)]
            fn cast_to(self) -> $to {
                let $x = self;
                $value
            }
        }
    )*)*};
}

macro_rules! integers {
    ($($from:ty),*) => {
        casts! { x: $($from => {
            u8: x as u8; i8: x as i8; i16: x as i16; i32: x as i32; i64: x as i64;
            u16: x as u16; u32: x as u32; u64: x as u64; f32: x as f32; f64: x as f64;
            bool: x != 0;
            F16: F16::from_f32(x as f32); Bf16: Bf16::from_f32(x as f32);
        })* }
    };
}
integers!(u8, i8, i16, i32, i64, u16, u32, u64);

casts! { x:
    bool => {
        bool: x; u8: x as u8; i8: x as i8; i16: x as i16; i32: x as i32; i64: x as i64;
        u16: x as u16; u32: x as u32; u64: x as u64;
        f32: if x { 1.0 } else { 0.0 }; f64: if x { 1.0 } else { 0.0 };
        F16: F16::from_f32(if x { 1.0 } else { 0.0 }); Bf16: Bf16::from_f32(if x { 1.0 } else { 0.0 });
    }
    f32 => {
        bool: x != 0.0; u8: long(x as f64) as u8; i8: int(x) as i8; i16: int(x) as i16; i32: int(x);
        i64: long(x as f64); u16: int(x) as u16; u32: long(x as f64) as u32; u64: unsigned_long(x as f64);
        f32: x; f64: x as f64; F16: F16::from_f32(x); Bf16: Bf16::from_f32(x);
    }
    f64 => {
        bool: x != 0.0; u8: long(x) as u8; i8: int64(x) as i8; i16: int64(x) as i16; i32: int64(x);
        i64: long(x); u16: int64(x) as u16; u32: long(x) as u32; u64: unsigned_long(x);
        f32: x as f32; f64: x; F16: F16::from_f32(x as f32); Bf16: Bf16::from_f32(x as f32);
    }
}

macro_rules! through_f32 {
    ($($from:ty),*) => {
        casts! { x: $($from => {
            u8: x.to_f32().cast_to(); i8: x.to_f32().cast_to(); i16: x.to_f32().cast_to(); i32: x.to_f32().cast_to();
            i64: x.to_f32().cast_to(); u16: x.to_f32().cast_to(); u32: x.to_f32().cast_to();
            u64: x.to_f32().cast_to(); bool: x.to_f32().cast_to(); f32: x.to_f32(); f64: x.to_f32() as f64;
            F16: x.to_f32().cast_to(); Bf16: x.to_f32().cast_to();
        })* }
    };
}
through_f32!(F16, Bf16);

/// `cvttss2si`, 32 bits.
#[inline(always)]
fn int(x: f32) -> i32 {
    if (-2147483648.0..2147483648.0).contains(&x) { x as i32 } else { i32::MIN }
}

/// `cvttsd2si`, 32 bits.
#[inline(always)]
fn int64(x: f64) -> i32 {
    if x > -2147483649.0 && x < 2147483648.0 { x as i32 } else { i32::MIN }
}

/// `cvttsd2si`, 64 bits.
#[inline(always)]
fn long(x: f64) -> i64 {
    if (-9223372036854775808.0..9223372036854775808.0).contains(&x) { x as i64 } else { i64::MIN }
}

/// To u64: negative values wrap, as compiled C++ does on x86-64.
#[inline(always)]
fn unsigned_long(x: f64) -> u64 {
    if (9223372036854775808.0..18446744073709551616.0).contains(&x) { x as u64 } else { long(x) as u64 }
}
