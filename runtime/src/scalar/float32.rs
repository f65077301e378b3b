//! f32: arithmetic, rounding, and the table of functions; the transcendental ones stand in the files beside this.
//!
//! Rounding adds and takes away 2^23 instead of calling an instruction core does not offer: three operations, no branch,
//! exact, and it vectorizes on every target.

use super::{Arithmetic, Functions, exp, log, special, trig};
use crate::simd::Simd;

/// PyTorch's `div_floor_floating`, given the C remainder `$r` of `$a / $b`.
macro_rules! floor_div {
    ($a:expr, $b:expr, $r:expr) => {{
        let (a, b) = ($a, $b);
        if b == 0.0 {
            return a / b;
        }
        let r = $r;
        let mut quotient = (a - r) / b;
        if r != 0.0 && (b < 0.0) != (r < 0.0) {
            quotient -= 1.0;
        }
        if quotient == 0.0 {
            return (0.0 as Self).copysign(a / b);
        }
        let floor = Arithmetic::floor(quotient);
        if quotient - floor > 0.5 { floor + 1.0 } else { floor }
    }};
}
pub(super) use floor_div;

/// From here on every f32 is an integer.
const WHOLE: f32 = 8388608.0;

/// To the nearest integer, half to even.
#[inline(always)]
pub(super) fn nearest(x: f32) -> f32 {
    let magnitude = x.abs();
    let rounded = ((magnitude + WHOLE) - WHOLE).copysign(x);
    if magnitude < WHOLE { rounded } else { x }
}

impl Arithmetic for f32 {
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
        let r = nearest(self);
        (r - if r > self { 1.0 } else { 0.0 }).copysign(self)
    }
    #[inline(always)]
    fn ceil(self) -> Self {
        let r = nearest(self);
        (r + if r < self { 1.0 } else { 0.0 }).copysign(self)
    }
    #[inline(always)]
    fn trunc(self) -> Self {
        let magnitude = self.abs();
        let r = nearest(magnitude);
        (r - if r > magnitude { 1.0 } else { 0.0 }).copysign(self)
    }
    #[inline(always)]
    fn round(self) -> Self {
        nearest(self)
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
        floor_div!(self, b, super::fmod::fmod32(self, b))
    }
    #[inline(always)]
    fn trunc_div(self, b: Self) -> Self {
        Arithmetic::trunc(self / b)
    }
    #[inline(always)]
    fn remainder(self, b: Self) -> Self {
        let r = super::fmod::fmod32(self, b);
        if r != 0.0 && (r < 0.0) != (b < 0.0) { r + b } else { r }
    }
    #[inline(always)]
    fn fmod(self, b: Self) -> Self {
        super::fmod::fmod32(self, b)
    }
    #[inline(always)]
    fn pow(self, b: Self) -> Self {
        libm::powf(self, b)
    }
}

macro_rules! through {
    ($($name:ident => $module:ident::$function:ident $(($s:ident))?;)*) => {$(
        through!(@one $name $module::$function $($s)?);
    )*};
    (@one $name:ident $module:ident::$function:ident) => {
        #[inline(always)]
        fn $name(self) -> Self {
            $module::$function(self)
        }
    };
    (@one $name:ident $module:ident::$function:ident $s:ident) => {
        #[inline(always)]
        fn $name<S: Simd>(self, s: S) -> Self {
            $module::$function(s, self)
        }
    };
}

impl Functions for f32 {
    through! {
        exp => exp::exp (s); exp2 => exp::exp2 (s); expm1 => exp::expm1 (s); sigmoid => exp::sigmoid (s);
        tanh => exp::tanh (s);
        log => log::log (s); log2 => log::log2 (s); log10 => log::log10 (s); log1p => log::log1p (s);
        sin => trig::sin (s); cos => trig::cos (s); tan => trig::tan (s);
        asin => trig::asin (s); acos => trig::acos (s); atan => trig::atan (s);
        erf => special::erf (s); erfc => special::erfc (s);
        sinh => libm::sinhf; cosh => libm::coshf; asinh => libm::asinhf; atanh => libm::atanhf;
        lgamma => libm::lgammaf;
    }
    /// `libm` gives some negative numbers a result.
    #[inline(always)]
    fn acosh(self) -> Self {
        if self >= 1.0 { libm::acoshf(self) } else { f32::NAN }
    }
    #[inline(always)]
    fn is_inf(self) -> bool {
        self.abs() == f32::INFINITY
    }
    #[inline(always)]
    fn div(self, b: Self) -> Self {
        self / b
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        crate::arch::sqrt32(self)
    }
    #[inline(always)]
    fn rsqrt(self) -> Self {
        1.0 / crate::arch::sqrt32(self)
    }
    #[inline(always)]
    fn recip(self) -> Self {
        1.0 / self
    }
    #[inline(always)]
    fn in_f64(self, f: fn(f64) -> f64) -> Self {
        f(self as f64) as f32
    }
    #[inline(always)]
    fn both_in_f64(self, b: Self, f: fn(f64, f64) -> f64) -> Self {
        f(self as f64, b as f64) as f32
    }
    #[inline(always)]
    fn atan2<S: Simd>(self, b: Self, s: S) -> Self {
        trig::atan2(s, self, b)
    }
    #[inline(always)]
    fn hypot(self, b: Self) -> Self {
        libm::hypotf(self, b)
    }
    #[inline(always)]
    fn copy_sign(self, b: Self) -> Self {
        self.copysign(b)
    }
    #[inline(always)]
    fn next_after(self, b: Self) -> Self {
        libm::nextafterf(self, b)
    }
}
