//! f32 logarithms.
//!
//! `x = m 2^e` with `sqrt(1/2) <= m < sqrt(2)`, found in the bits; a polynomial for `log m` (Cephes' minimax
//! coefficients) in `m - 1`, which is exact; then `e ln 2` in two parts.

use crate::simd::Simd;

const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;

/// `(m - 1, e)` of a positive, finite `x`; subnormals are scaled up first.
#[inline(always)]
fn split(x: f32) -> (f32, f32) {
    let tiny = x < f32::MIN_POSITIVE;
    let x = if tiny { x * 8388608.0 } else { x };
    let (m, e) = decompose(x);
    (m - 1.0, e - if tiny { 23.0 } else { 0.0 })
}

/// Mantissa in `[sqrt(1/2), sqrt(2))` and exponent of a normal `x`.
#[inline(always)]
fn decompose(x: f32) -> (f32, f32) {
    const SQRT_HALF: u32 = 0x3f35_04f3;
    let e = (x.to_bits().wrapping_sub(SQRT_HALF) as i32) >> 23;
    (f32::from_bits(x.to_bits().wrapping_sub((e as u32) << 23)), e as f32)
}

/// `f^3 P(f)` of `log(1 + f) = f - f^2 / 2 + f^3 P(f)`.
#[inline(always)]
fn tail<S: Simd>(s: S, f: f32) -> f32 {
    let p = s.mul_add(7.037_683_6e-2, f, -1.151_461e-1);
    let p = s.mul_add(p, f, 1.167_699_9e-1);
    let p = s.mul_add(p, f, -1.242_014_1e-1);
    let p = s.mul_add(p, f, 1.424_932_3e-1);
    let p = s.mul_add(p, f, -1.666_805_8e-1);
    let p = s.mul_add(p, f, 2.000_071_5e-1);
    let p = s.mul_add(p, f, -2.499_999_4e-1);
    let p = s.mul_add(p, f, 3.333_333e-1);
    p * f * (f * f)
}

/// What every logarithm gives outside the positive finite numbers.
#[inline(always)]
fn edges(x: f32, y: f32) -> f32 {
    let y = if x == f32::INFINITY { x } else { y };
    let y = if x == 0.0 { f32::NEG_INFINITY } else { y };
    // Negative or NaN.
    if x >= 0.0 { y } else { f32::NAN }
}

/// `log(1 + f) + e ln 2`.
#[inline(always)]
fn natural<S: Simd>(s: S, f: f32, e: f32) -> f32 {
    let y = s.mul_add(e, LN2_LOW, tail(s, f));
    let y = s.mul_add(-0.5 * f, f, y);
    s.mul_add(e, LN2_HIGH, f + y)
}

#[inline(always)]
pub fn log<S: Simd>(s: S, x: f32) -> f32 {
    let (f, e) = split(x);
    edges(x, natural(s, f, e))
}

/// `log(1 + x)`: what rounding `1 + x` loses is given back to the reduced argument.
#[inline(always)]
pub fn log1p<S: Simd>(s: S, x: f32) -> f32 {
    let u = 1.0 + x;
    let (m, e) = decompose(u);
    let lost = if u >= 2.0 { 1.0 - (u - x) } else { x - (u - 1.0) };
    // 2^-e: the exponent bits of `m` less those of `u`. From 2^30 on nothing of weight is lost.
    let down = f32::from_bits(0x3f80_0000u32.wrapping_sub(u.to_bits().wrapping_sub(m.to_bits())));
    let down = if u < 1073741824.0 { down } else { 0.0 };
    let f = s.mul_add(lost, down, m - 1.0);
    let y = edges(u, natural(s, f, e));
    if x.abs() < 1e-8 { x } else { y }
}

/// `f` and the correction `y` of `log(1 + f) = f + y`, the first part short enough that its product with a constant of
/// few bits is exact.
#[inline(always)]
fn two_parts<S: Simd>(s: S, f: f32) -> (f32, f32) {
    let y = s.mul_add(-0.5 * f, f, tail(s, f));
    let high = f32::from_bits((f + y).to_bits() & 0xffff_f000);
    (high, (f - high) + y)
}

#[inline(always)]
pub fn log2<S: Simd>(s: S, x: f32) -> f32 {
    // log2(e) = HIGH + LOW, HIGH of 10 bits.
    const HIGH: f32 = 1.442_382_8;
    const LOW: f32 = 3.122_409e-4;
    let (f, e) = split(x);
    let (high, low) = two_parts(s, f);
    let y = s.mul_add(low, HIGH + LOW, high * LOW);
    edges(x, s.mul_add(high, HIGH, y) + e)
}

#[inline(always)]
pub fn log10<S: Simd>(s: S, x: f32) -> f32 {
    // log10(e) and log10(2) in two parts each, the first of few bits.
    const HIGH: f32 = 0.434_082_03;
    const LOW: f32 = 2.124_499e-4;
    const TWO_HIGH: f32 = 0.301_025_4;
    const TWO_LOW: f32 = 4.605_039e-6;
    let (f, e) = split(x);
    let (high, low) = two_parts(s, f);
    let y = s.mul_add(e, TWO_LOW, s.mul_add(low, HIGH + LOW, high * LOW));
    let y = s.mul_add(high, HIGH, y);
    edges(x, s.mul_add(e, TWO_HIGH, y))
}
