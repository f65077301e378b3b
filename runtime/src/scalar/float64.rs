//! f64: arithmetic of core, functions of `libm`.

use super::{Arithmetic, Functions};
use crate::simd::Simd;

impl Arithmetic for f64 {
    #[inline(always)]
    fn neg(self) -> Self {
        -self
    }
    #[inline(always)]
    fn abs(self) -> Self {
        self.abs()
    }
    #[inline(always)]
    fn sign(self) -> Self {
        (if self > 0.0 { 1.0 } else { 0.0 }) - (if self < 0.0 { 1.0 } else { 0.0 })
    }
    #[inline(always)]
    fn signbit(self) -> bool {
        self.is_sign_negative()
    }
    #[inline(always)]
    fn floor(self) -> Self {
        libm::floor(self)
    }
    #[inline(always)]
    fn ceil(self) -> Self {
        libm::ceil(self)
    }
    #[inline(always)]
    fn trunc(self) -> Self {
        libm::trunc(self)
    }
    #[inline(always)]
    fn round(self) -> Self {
        libm::rint(self)
    }
    #[inline(always)]
    fn add(self, b: Self) -> Self {
        self + b
    }
    #[inline(always)]
    fn sub(self, b: Self) -> Self {
        self - b
    }
    #[inline(always)]
    fn mul(self, b: Self) -> Self {
        self * b
    }
    #[inline(always)]
    fn floor_div(self, b: Self) -> Self {
        super::float32::floor_div!(self, b, super::fmod::fmod64(self, b))
    }
    #[inline(always)]
    fn trunc_div(self, b: Self) -> Self {
        libm::trunc(self / b)
    }
    #[inline(always)]
    fn remainder(self, b: Self) -> Self {
        let r = super::fmod::fmod64(self, b);
        if r != 0.0 && (r < 0.0) != (b < 0.0) { r + b } else { r }
    }
    #[inline(always)]
    fn fmod(self, b: Self) -> Self {
        super::fmod::fmod64(self, b)
    }
    #[inline(always)]
    fn pow(self, b: Self) -> Self {
        libm::pow(self, b)
    }
}

macro_rules! through_libm {
    ($($name:ident => $function:ident $(($s:ident))?;)*) => {$(
        through_libm!(@one $name $function $($s)?);
    )*};
    (@one $name:ident $function:ident) => {
        #[inline(always)]
        fn $name(self) -> Self {
            libm::$function(self)
        }
    };
    (@one $name:ident $function:ident $s:ident) => {
        #[inline(always)]
        fn $name<S: Simd>(self, _: S) -> Self {
            libm::$function(self)
        }
    };
}

impl Functions for f64 {
    through_libm! {
        exp => exp (s); exp2 => exp2 (s); expm1 => expm1 (s); log => log (s); log2 => log2 (s); log10 => log10 (s);
        log1p => log1p (s); sin => sin (s); cos => cos (s); tan => tan (s); asin => asin (s); acos => acos (s);
        atan => atan (s); tanh => tanh (s); erf => erf (s); erfc => erfc (s);
        sinh => sinh; cosh => cosh; asinh => asinh; atanh => atanh; lgamma => lgamma;
    }
    /// `libm` gives some negative numbers a result.
    #[inline(always)]
    fn acosh(self) -> Self {
        if self >= 1.0 { libm::acosh(self) } else { f64::NAN }
    }
    #[inline(always)]
    fn is_inf(self) -> bool {
        self.abs() == f64::INFINITY
    }
    #[inline(always)]
    fn div(self, b: Self) -> Self {
        self / b
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        crate::arch::sqrt64(self)
    }
    #[inline(always)]
    fn rsqrt(self) -> Self {
        1.0 / crate::arch::sqrt64(self)
    }
    #[inline(always)]
    fn recip(self) -> Self {
        1.0 / self
    }
    #[inline(always)]
    fn sigmoid<S: Simd>(self, _: S) -> Self {
        1.0 / (1.0 + libm::exp(-self))
    }
    #[inline(always)]
    fn in_f64(self, f: fn(f64) -> f64) -> Self {
        f(self)
    }
    #[inline(always)]
    fn both_in_f64(self, b: Self, f: fn(f64, f64) -> f64) -> Self {
        f(self, b)
    }
    #[inline(always)]
    fn atan2<S: Simd>(self, b: Self, _: S) -> Self {
        libm::atan2(self, b)
    }
    #[inline(always)]
    fn hypot(self, b: Self) -> Self {
        libm::hypot(self, b)
    }
    #[inline(always)]
    fn copy_sign(self, b: Self) -> Self {
        self.copysign(b)
    }
    #[inline(always)]
    fn next_after(self, b: Self) -> Self {
        libm::nextafter(self, b)
    }
}
