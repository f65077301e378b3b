//! Scalar functions: one per node of a formula, with PyTorch CPU's results.
//!
//! Generated loops and the constant folder call the same functions, so a folded value equals a computed one. The token
//! `s` comes first everywhere: with it a function may use the level's fused multiply-add, and everything is
//! `#[inline(always)]`, so that a loop over these vectorizes at the level it was dispatched to.
//!
//! Types: integers wrap; `bool` has comparisons and logic; f16 and bf16 are widened to f32, computed, and rounded once.
//! The f32 functions are written here without branches in their main path; f64 and the rare ones go through `libm`.
//!
//! | f32 function | bound in ULP, at every level |
//! |---|---:|
//! | `sqrt` `floor` `ceil` `trunc` `round` `fmod` `remainder` | exact |
//! | `log` `log2` `log10` | 1 |
//! | `exp` `exp2` | 1.1 |
//! | `erf` | 1.2 |
//! | `acos` `cosh` `log1p` `rsqrt` | 1.5 |
//! | `expm1` `sinh` `asinh` `acosh` `atanh` `erfc` | 2 |
//! | `sigmoid` `tanh` `asin` `sin` `cos` | 2.5 |
//! | `atan` | 3 |
//! | `tan` | 3.6 |
//!
//! `tests/ulp` holds them; `cargo run --release -p exported-bench ulp` measures them over all arguments.
//!
//! Where PyTorch raises (integer division by zero) the result is 0: nothing on the device may panic.

mod bessel;
mod cast;
mod exp;
mod float32;
mod float64;
mod fmod;
mod gamma;
mod integer;
mod log;
mod special;
#[cfg(test)]
mod tests;
mod trig;

pub use cast::CastTo;

use crate::dtype::{Bf16, F16};
use crate::simd::Simd;

/// A type formulas compute with: every [`crate::Element`] and `bool`.
pub trait Scalar: Copy {
    /// What it is computed in: f32 for the 16-bit floats, else itself.
    type Wide: Copy + PartialOrd;
    /// Exact.
    fn widen(self) -> Self::Wide;
    /// Rounds half to even where `Wide` is wider.
    fn narrow(wide: Self::Wide) -> Self;
    /// Whether it is NaN.
    fn is_nan(self) -> bool;
}

/// Integers and floats.
pub trait Number: Scalar<Wide: Arithmetic> {}
impl<T: Scalar<Wide: Arithmetic>> Number for T {}

/// Floats.
pub trait Float: Scalar<Wide: Functions> {}
impl<T: Scalar<Wide: Functions>> Float for T {}

/// Arithmetic on a type wide enough to compute in.
#[allow(missing_docs)]
pub trait Arithmetic: Copy + PartialOrd {
    fn neg(self) -> Self;
    fn abs(self) -> Self;
    fn sign(self) -> Self;
    fn signbit(self) -> bool;
    fn floor(self) -> Self;
    fn ceil(self) -> Self;
    fn trunc(self) -> Self;
    fn round(self) -> Self;
    fn add(self, b: Self) -> Self;
    fn sub(self, b: Self) -> Self;
    fn mul(self, b: Self) -> Self;
    fn floor_div(self, b: Self) -> Self;
    fn trunc_div(self, b: Self) -> Self;
    fn remainder(self, b: Self) -> Self;
    fn fmod(self, b: Self) -> Self;
    fn pow(self, b: Self) -> Self;
}

/// Integers and bool: logic.
#[allow(missing_docs)]
pub trait Bits: Copy {
    fn not(self) -> Self;
    fn and(self, b: Self) -> Self;
    fn or(self, b: Self) -> Self;
    fn xor(self, b: Self) -> Self;
}

/// Integers: shifts and divisors. A count that is negative or too large shifts everything out, as in PyTorch.
#[allow(missing_docs)]
pub trait Shifts: Copy {
    fn shl(self, count: Self) -> Self;
    fn shr(self, count: Self) -> Self;
    fn gcd(self, b: Self) -> Self;
}

/// Functions of f32 and f64.
#[allow(missing_docs)]
pub trait Functions: Arithmetic {
    fn is_inf(self) -> bool;
    /// A function that exists in f64 only.
    fn in_f64(self, f: fn(f64) -> f64) -> Self;
    /// Likewise, of two operands.
    fn both_in_f64(self, b: Self, f: fn(f64, f64) -> f64) -> Self;
    fn div(self, b: Self) -> Self;
    fn sqrt(self) -> Self;
    fn rsqrt(self) -> Self;
    fn recip(self) -> Self;
    fn exp<S: Simd>(self, s: S) -> Self;
    fn exp2<S: Simd>(self, s: S) -> Self;
    fn expm1<S: Simd>(self, s: S) -> Self;
    fn log<S: Simd>(self, s: S) -> Self;
    fn log2<S: Simd>(self, s: S) -> Self;
    fn log10<S: Simd>(self, s: S) -> Self;
    fn log1p<S: Simd>(self, s: S) -> Self;
    fn sin<S: Simd>(self, s: S) -> Self;
    fn cos<S: Simd>(self, s: S) -> Self;
    fn tan<S: Simd>(self, s: S) -> Self;
    fn asin<S: Simd>(self, s: S) -> Self;
    fn acos<S: Simd>(self, s: S) -> Self;
    fn atan<S: Simd>(self, s: S) -> Self;
    fn sinh(self) -> Self;
    fn cosh(self) -> Self;
    fn tanh<S: Simd>(self, s: S) -> Self;
    fn asinh(self) -> Self;
    fn acosh(self) -> Self;
    fn atanh(self) -> Self;
    fn sigmoid<S: Simd>(self, s: S) -> Self;
    fn erf<S: Simd>(self, s: S) -> Self;
    fn erfc<S: Simd>(self, s: S) -> Self;
    fn lgamma(self) -> Self;
    fn atan2<S: Simd>(self, b: Self, s: S) -> Self;
    fn hypot(self, b: Self) -> Self;
    fn copy_sign(self, b: Self) -> Self;
    fn next_after(self, b: Self) -> Self;
}

macro_rules! itself {
    ($($t:ty: $x:ident => $nan:expr;)*) => {$(
        impl Scalar for $t {
            type Wide = Self;
            #[inline(always)]
            fn widen(self) -> Self {
                self
            }
            #[inline(always)]
            fn narrow(wide: Self) -> Self {
                wide
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                let $x = self;
                $nan
            }
        }
    )*};
}
itself! {
    bool: _x => false; u8: _x => false; i8: _x => false; i16: _x => false; i32: _x => false; i64: _x => false;
    u16: _x => false; u32: _x => false; u64: _x => false; f32: x => <f32>::is_nan(x); f64: x => <f64>::is_nan(x);
}

macro_rules! through_f32 {
    ($($t:ty),*) => {$(
        impl Scalar for $t {
            type Wide = f32;
            #[inline(always)]
            fn widen(self) -> f32 {
                self.to_f32()
            }
            #[inline(always)]
            fn narrow(wide: f32) -> Self {
                Self::from_f32(wide)
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                self.to_f32().is_nan()
            }
        }
    )*};
}
through_f32!(F16, Bf16);

/// The public function of a unary node over a trait's method, without and with the token.
macro_rules! unary {
    ($bound:ident: $($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name<S: Simd, T: $bound>(_s: S, x: T) -> T {
            T::narrow(x.widen().$name())
        }
    )*};
    (token $bound:ident: $($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name<S: Simd, T: $bound>(s: S, x: T) -> T {
            T::narrow(x.widen().$name(s))
        }
    )*};
}

macro_rules! binary {
    ($bound:ident: $($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name<S: Simd, T: $bound>(_s: S, a: T, b: T) -> T {
            T::narrow(a.widen().$name(b.widen()))
        }
    )*};
}

unary! { Number:
    /// `-x`; integers wrap.
    neg;
    /// `|x|`; integers wrap.
    abs;
    /// -1, 0 or 1; 0 for NaN.
    sign;
    /// Toward minus infinity.
    floor;
    /// Toward plus infinity.
    ceil;
    /// Toward zero.
    trunc;
    /// To the nearest integer, half to even.
    round;
}

unary! { Float:
    /// Square root, correctly rounded.
    sqrt;
    /// `1 / sqrt(x)`; f32: within 1.5 ULP.
    rsqrt;
    /// `1 / x`.
    recip;
    /// Hyperbolic sine; f32: within 2 ULP.
    sinh;
    /// Hyperbolic cosine; f32: within 1.5 ULP.
    cosh;
    /// Inverse hyperbolic sine; f32: within 2 ULP.
    asinh;
    /// Inverse hyperbolic cosine; f32: within 2 ULP.
    acosh;
    /// Inverse hyperbolic tangent; f32: within 2 ULP.
    atanh;
    /// Logarithm of the absolute value of the gamma function.
    lgamma;
}

/// The public function of a node that is computed in f64, of one operand or of two.
macro_rules! in_f64 {
    ($($(#[$doc:meta])* $name:ident => $module:ident;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name<S: Simd, T: Float>(_s: S, x: T) -> T {
            T::narrow(x.widen().in_f64($module::$name))
        }
    )*};
    (two $($(#[$doc:meta])* $name:ident => $module:ident;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name<S: Simd, T: Float>(_s: S, a: T, b: T) -> T {
            T::narrow(a.widen().both_in_f64(b.widen(), $module::$name))
        }
    )*};
}

in_f64! {
    /// Inverse of the error function.
    erfinv => special;
    /// `exp(x^2) erfc(x)`.
    erfcx => special;
    /// Logarithm of the normal distribution function.
    log_ndtr => special;
    /// Inverse of the normal distribution function.
    ndtri => special;
    /// Derivative of the logarithm of the gamma function.
    digamma => gamma;
    /// Modified Bessel function of the first kind, order 0.
    i0 => bessel;
    /// `exp(-|x|) i0(x)`.
    i0e => bessel;
    /// Modified Bessel function of the first kind, order 1.
    i1 => bessel;
    /// `exp(-|x|) i1(x)`.
    i1e => bessel;
    /// Modified Bessel function of the second kind, order 0.
    k0 => bessel;
    /// `exp(x) k0(x)`.
    k0e => bessel;
    /// Modified Bessel function of the second kind, order 1.
    k1 => bessel;
    /// `exp(x) k1(x)`.
    k1e => bessel;
    /// Bessel function of the first kind, order 0.
    j0 => bessel;
    /// Bessel function of the first kind, order 1.
    j1 => bessel;
    /// Bessel function of the second kind, order 0.
    y0 => bessel;
    /// Bessel function of the second kind, order 1.
    y1 => bessel;
    /// Spherical Bessel function of the first kind, order 0.
    spherical_j0 => bessel;
}

in_f64! { two
    /// Hurwitz' zeta function: the sum of `(b + k)^-a`.
    zeta => gamma;
    /// Regularized lower incomplete gamma function of `b`, order `a`.
    igamma => gamma;
    /// Regularized upper incomplete gamma function of `b`, order `a`.
    igammac => gamma;
}

unary! { token Float:
    /// e to the x; f32: within 1.1 ULP.
    exp;
    /// 2 to the x; f32: within 1.1 ULP.
    exp2;
    /// `exp(x) - 1`, accurate near 0; f32: within 2 ULP.
    expm1;
    /// Natural logarithm; f32: within 1 ULP.
    log;
    /// Logarithm to base 2; f32: within 1 ULP.
    log2;
    /// Logarithm to base 10; f32: within 1 ULP.
    log10;
    /// `log(1 + x)`, accurate near 0; f32: within 1.5 ULP.
    log1p;
    /// Sine; any argument is reduced exactly; f32: within 2.5 ULP.
    sin;
    /// Cosine; any argument is reduced exactly; f32: within 2.5 ULP.
    cos;
    /// Tangent; any argument is reduced exactly; f32: within 3.6 ULP.
    tan;
    /// Inverse sine; f32: within 2.5 ULP.
    asin;
    /// Inverse cosine; f32: within 1.5 ULP.
    acos;
    /// Inverse tangent; f32: within 3 ULP.
    atan;
    /// Hyperbolic tangent; f32: within 2.5 ULP.
    tanh;
    /// `1 / (1 + exp(-x))`; f32: within 2.5 ULP, and 0 from about -88 down.
    sigmoid;
    /// Error function; f32: within 1.2 ULP.
    erf;
    /// Complementary error function; f32: within 2 ULP.
    erfc;
}

binary! { Number:
    /// Sum; integers wrap.
    add;
    /// Difference; integers wrap.
    sub;
    /// Product; integers wrap.
    mul;
    /// Quotient rounded toward minus infinity (`torch.floor_divide`); 0 for integers divided by 0.
    floor_div;
    /// Quotient rounded toward zero; 0 for integers divided by 0.
    trunc_div;
    /// Remainder with the sign of the divisor (`torch.remainder`); 0 for integers divided by 0.
    remainder;
    /// Remainder with the sign of the dividend (`torch.fmod`); 0 for integers divided by 0.
    fmod;
    /// Power. Integers wrap; a negative exponent gives 0 unless the base is 1 or -1.
    pow;
}

binary! { Float:
    /// True division.
    div;
    /// `sqrt(a^2 + b^2)` without overflow.
    hypot;
    /// `a` with the sign of `b`.
    copy_sign;
    /// The next value after `a` toward `b`.
    next_after;
}

/// Angle of the point (b, a): `atan2(y, x)`.
#[inline(always)]
pub fn atan2<S: Simd, T: Float>(s: S, a: T, b: T) -> T {
    T::narrow(a.widen().atan2(b.widen(), s))
}

/// `x * x`; integers wrap.
#[inline(always)]
pub fn square<S: Simd, T: Number>(_s: S, x: T) -> T {
    let x = x.widen();
    T::narrow(x.mul(x))
}

/// Bitwise complement; logical not of a bool.
#[inline(always)]
pub fn not<S: Simd, T: Bits>(_s: S, x: T) -> T {
    x.not()
}

/// Bitwise and.
#[inline(always)]
pub fn and<S: Simd, T: Bits>(_s: S, a: T, b: T) -> T {
    a.and(b)
}

/// Bitwise or.
#[inline(always)]
pub fn or<S: Simd, T: Bits>(_s: S, a: T, b: T) -> T {
    a.or(b)
}

/// Bitwise exclusive or.
#[inline(always)]
pub fn xor<S: Simd, T: Bits>(_s: S, a: T, b: T) -> T {
    a.xor(b)
}

/// Shift left; 0 when the count is negative or not below the width.
#[inline(always)]
pub fn shl<S: Simd, T: Shifts>(_s: S, a: T, count: T) -> T {
    a.shl(count)
}

/// Arithmetic shift right; only the sign remains when the count is negative or not below the width.
#[inline(always)]
pub fn shr<S: Simd, T: Shifts>(_s: S, a: T, count: T) -> T {
    a.shr(count)
}

/// Greatest common divisor, not negative (but the least integer of a signed type).
#[inline(always)]
pub fn gcd<S: Simd, T: Shifts>(_s: S, a: T, b: T) -> T {
    a.gcd(b)
}

/// Whether `x` is NaN.
#[inline(always)]
pub fn is_nan<S: Simd, T: Scalar>(_s: S, x: T) -> bool {
    x.is_nan()
}

/// Whether `x` is an infinity.
#[inline(always)]
pub fn is_inf<S: Simd, T: Float>(_s: S, x: T) -> bool {
    x.widen().is_inf()
}

/// Whether the sign bit is set.
#[inline(always)]
pub fn signbit<S: Simd, T: Number>(_s: S, x: T) -> bool {
    x.widen().signbit()
}

/// The nearest integer, half to even, if `|x|` is below 2^22; for greater ones some integer at least that far out on the
/// same side, more than 2^29 short of overflow; for NaN any. By one addition, as the low bits of the sum: the bits of a
/// negative one are in the wrong order, but all of those are far out.
#[inline(always)]
pub fn nearest<S: Simd>(_s: S, x: f32) -> i32 {
    const SHIFT: f32 = 12_582_912.0;
    ((x + SHIFT).to_bits() as i32).max(0).wrapping_sub(SHIFT.to_bits() as i32)
}

/// The greater one; NaN if either is NaN.
#[inline(always)]
pub fn maximum<S: Simd, T: Scalar>(_s: S, a: T, b: T) -> T {
    if a.widen() > b.widen() || a.is_nan() { a } else { b }
}

/// The smaller one; NaN if either is NaN.
#[inline(always)]
pub fn minimum<S: Simd, T: Scalar>(_s: S, a: T, b: T) -> T {
    if a.widen() < b.widen() || a.is_nan() { a } else { b }
}

/// The greater one; the other one if one is NaN.
#[inline(always)]
pub fn fmax<S: Simd, T: Scalar>(_s: S, a: T, b: T) -> T {
    if a.widen() > b.widen() || b.is_nan() { a } else { b }
}

/// The smaller one; the other one if one is NaN.
#[inline(always)]
pub fn fmin<S: Simd, T: Scalar>(_s: S, a: T, b: T) -> T {
    if a.widen() < b.widen() || b.is_nan() { a } else { b }
}

macro_rules! comparisons {
    ($($(#[$doc:meta])* $name:ident $op:tt;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name<S: Simd, T: Scalar>(_s: S, a: T, b: T) -> bool {
            a.widen() $op b.widen()
        }
    )*};
}
comparisons! {
    /// `a == b`.
    eq ==;
    /// `a != b`; true if either is NaN.
    ne !=;
    /// `a < b`.
    lt <;
    /// `a <= b`.
    le <=;
    /// `a > b`.
    gt >;
    /// `a >= b`.
    ge >=;
}

/// `condition ? a : b`; both are computed.
#[inline(always)]
pub fn select<S: Simd, T: Scalar>(_s: S, condition: bool, a: T, b: T) -> T {
    if condition { a } else { b }
}

/// Conversion with PyTorch's result on x86-64.
#[inline(always)]
pub fn cast<T: CastTo<U>, U>(x: T) -> U {
    x.cast_to()
}
