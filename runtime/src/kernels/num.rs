//! The arithmetic that kernels are generic over: what an element is computed in, and how it gets there and back.
//!
//! `f16` and `bf16` are computed in f32, all integers in i64 (which is also what `torch.sum` gives for them), so a kernel
//! is written once against [`Wide`] or [`Real`] and the compiler sees plain f32 loops in the common case.

use crate::scalar::{Arithmetic, Functions};
use crate::{Bf16, Element, F16, Panel, Simd, Vector};

/// An element that widens to the type it is computed in.
pub trait Number: Element {
    /// What it is computed in: f32, f64 or i64.
    type Wide: Wide;
    /// Whether the element already is its wide type, so that intermediate results may be kept in it.
    const EXACT: bool;
    /// To the wide type.
    fn widen(self) -> Self::Wide;
    /// Back: floats round to nearest even, integers wrap.
    fn narrow(wide: Self::Wide) -> Self;
    /// The elements widened: themselves, or written into `room` as far as it reaches.
    #[inline(always)]
    fn widen_all<'a>(from: &'a [Self], room: &'a mut [Self::Wide]) -> &'a [Self::Wide] {
        for (wide, &x) in room.iter_mut().zip(from) {
            *wide = x.widen();
        }
        room.get(..from.len()).unwrap_or_default()
    }
}

/// What sums, products and comparisons need.
pub trait Wide: Number<Wide = Self> + PartialOrd {
    /// One row of a panel in registers.
    type Row<S: Simd, P: Panel>: Vector<S, Elem = Self>;
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// Below or equal to every value.
    const LOWEST: Self;
    /// Above or equal to every value.
    const HIGHEST: Self;
    /// Sum; integers wrap.
    fn add(self, other: Self) -> Self;
    /// Difference; integers wrap.
    fn sub(self, other: Self) -> Self;
    /// Product; integers wrap.
    fn mul(self, other: Self) -> Self;
    /// Magnitude; wraps for the least integer.
    fn abs(self) -> Self;
    /// Never true for integers.
    fn is_nan(self) -> bool;
    /// Whether it is neither infinite nor NaN.
    fn is_finite(self) -> bool;
    /// Whether it precedes `other` in a descending order where NaN comes first.
    #[inline(always)]
    fn above(self, other: Self) -> bool {
        self > other || (self.is_nan() && !other.is_nan())
    }
    /// Whether it precedes `other` in an ascending order where NaN comes last, as `torch.sort` has it.
    #[inline(always)]
    fn before(self, other: Self) -> bool {
        self < other || (!self.is_nan() && other.is_nan())
    }
    /// The greater; NaN if either is.
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        if self > other || self.is_nan() { self } else { other }
    }
    /// The lesser; NaN if either is.
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        if self < other || self.is_nan() { self } else { other }
    }
}

/// What floating-point kernels need beyond [`Wide`].
pub trait Real: Wide {
    /// Not a number.
    const NAN: Self;
    /// Rounded to nearest.
    fn from_f64(x: f64) -> Self;
    /// Rounded to nearest.
    fn from_usize(x: usize) -> Self;
    /// Truncated, saturating, NaN gives 0.
    fn to_usize(self) -> usize;
    /// `self * b + c`, as [`Simd::mul_add`].
    fn mul_add<S: Simd>(self, s: S, b: Self, c: Self) -> Self;
    /// Quotient.
    fn div(self, other: Self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// e to this.
    fn exp<S: Simd>(self, s: S) -> Self;
    /// Natural logarithm.
    fn ln<S: Simd>(self, s: S) -> Self;
    /// `ln(1 + self)`.
    fn ln_1p<S: Simd>(self, s: S) -> Self;
    /// This to a power.
    fn powf<S: Simd>(self, s: S, exponent: Self) -> Self;
    /// Hyperbolic tangent.
    fn tanh<S: Simd>(self, s: S) -> Self;
    /// Toward minus infinity.
    fn floor(self) -> Self;
    /// `1 / (1 + exp(-self))`.
    fn sigmoid<S: Simd>(self, s: S) -> Self;
}

/// A floating-point element.
pub trait Float: Number<Wide: Real> {}

macro_rules! integers {
    ($($t:ty),*) => {$(
        impl Number for $t {
            type Wide = i64;
            const EXACT: bool = false;
            #[inline(always)]
            fn widen(self) -> i64 {
                self as i64
            }
            #[inline(always)]
            fn narrow(wide: i64) -> Self {
                wide as $t
            }
        }
    )*};
}
integers!(u8, i8, i16, i32, u16, u32, u64);

impl Number for i64 {
    type Wide = i64;
    const EXACT: bool = true;
    #[inline(always)]
    fn widen(self) -> i64 {
        self
    }
    #[inline(always)]
    fn narrow(wide: i64) -> Self {
        wide
    }
}

impl Wide for i64 {
    type Row<S: Simd, P: Panel> = P::Lanes<S, i64>;
    const ZERO: i64 = 0;
    const ONE: i64 = 1;
    const LOWEST: i64 = i64::MIN;
    const HIGHEST: i64 = i64::MAX;
    #[inline(always)]
    fn add(self, other: i64) -> i64 {
        self.wrapping_add(other)
    }
    #[inline(always)]
    fn sub(self, other: i64) -> i64 {
        self.wrapping_sub(other)
    }
    #[inline(always)]
    fn mul(self, other: i64) -> i64 {
        self.wrapping_mul(other)
    }
    #[inline(always)]
    fn abs(self) -> i64 {
        self.wrapping_abs()
    }
    #[inline(always)]
    fn is_nan(self) -> bool {
        false
    }
    #[inline(always)]
    fn is_finite(self) -> bool {
        true
    }
}

macro_rules! floats {
    ($($t:ident: $row:ty, $mul_add:expr;)*) => {$(
        impl Number for $t {
            type Wide = $t;
            const EXACT: bool = true;
            #[inline(always)]
            fn widen(self) -> $t {
                self
            }
            #[inline(always)]
            fn narrow(wide: $t) -> Self {
                wide
            }
            #[inline(always)]
            fn widen_all<'a>(from: &'a [$t], _room: &'a mut [$t]) -> &'a [$t] {
                from
            }
        }
        impl Float for $t {}
        impl Wide for $t {
            type Row<S: Simd, P: Panel> = $row;
            const ZERO: $t = 0.0;
            const ONE: $t = 1.0;
            const LOWEST: $t = $t::NEG_INFINITY;
            const HIGHEST: $t = $t::INFINITY;
            #[inline(always)]
            fn add(self, other: $t) -> $t {
                self + other
            }
            #[inline(always)]
            fn sub(self, other: $t) -> $t {
                self - other
            }
            #[inline(always)]
            fn mul(self, other: $t) -> $t {
                self * other
            }
            #[inline(always)]
            fn abs(self) -> $t {
                $t::abs(self)
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                $t::is_nan(self)
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                $t::is_finite(self)
            }
        }
        impl Real for $t {
            const NAN: $t = $t::NAN;
            #[inline(always)]
            fn from_f64(x: f64) -> $t {
                x as $t
            }
            #[inline(always)]
            fn from_usize(x: usize) -> $t {
                x as $t
            }
            #[inline(always)]
            fn to_usize(self) -> usize {
                self as usize
            }
            #[inline(always)]
            fn mul_add<S: Simd>(self, s: S, b: $t, c: $t) -> $t {
                $mul_add(s, self, b, c)
            }
            #[inline(always)]
            fn div(self, other: $t) -> $t {
                self / other
            }
            #[inline(always)]
            fn sqrt(self) -> $t {
                Functions::sqrt(self)
            }
            #[inline(always)]
            fn exp<S: Simd>(self, s: S) -> $t {
                Functions::exp(self, s)
            }
            #[inline(always)]
            fn ln<S: Simd>(self, s: S) -> $t {
                Functions::log(self, s)
            }
            #[inline(always)]
            fn ln_1p<S: Simd>(self, s: S) -> $t {
                Functions::log1p(self, s)
            }
            #[inline(always)]
            fn powf<S: Simd>(self, _s: S, exponent: $t) -> $t {
                Arithmetic::pow(self, exponent)
            }
            #[inline(always)]
            fn tanh<S: Simd>(self, s: S) -> $t {
                Functions::tanh(self, s)
            }
            #[inline(always)]
            fn sigmoid<S: Simd>(self, s: S) -> $t {
                Functions::sigmoid(self, s)
            }
            #[inline(always)]
            fn floor(self) -> $t {
                Arithmetic::floor(self)
            }
        }
    )*};
}
floats! {
    f32: P::F32<S>, Simd::mul_add;
    f64: P::Lanes<S, f64>, |_s, a, b, c| a * b + c;
}

macro_rules! halves {
    ($($t:ident),*) => {$(
        impl Number for $t {
            type Wide = f32;
            const EXACT: bool = false;
            #[inline(always)]
            fn widen(self) -> f32 {
                self.to_f32()
            }
            #[inline(always)]
            fn narrow(wide: f32) -> Self {
                $t::from_f32(wide)
            }
        }
        impl Float for $t {}
    )*};
}
halves!(F16, Bf16);

/// Whether a slice of this length holds an array of these dims.
#[inline(always)]
pub(crate) fn holds(len: usize, dims: &[usize]) -> bool {
    dims.iter().try_fold(1usize, |product, &d| product.checked_mul(d)) == Some(len)
}
