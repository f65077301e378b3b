//! f32 exponentials.
//!
//! `x = n ln 2 + r` with `|r| <= ln 2 / 2`, a polynomial for `e^r` (Cephes' minimax coefficients), then a product with
//! `2^n`. `n` is found by adding 1.5 * 2^23: its low bits then hold the integer, so no float-to-int conversion is
//! needed. NaN runs through all of it by itself; arguments beyond the range are clamped first.

use crate::simd::Simd;

/// 1.5 * 2^23: adding it rounds to an integer that stands in the low mantissa bits.
const MAGIC: f32 = 12582912.0;
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;

/// `x` between bounds; NaN stays.
#[inline(always)]
pub fn limit(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

/// `2^n` for `-126 <= n <= 127`.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// `y * 2^n` for `-250 <= n <= 250`, rounding once into the subnormals.
#[inline(always)]
fn scale(y: f32, n: i32) -> f32 {
    let half = n >> 1;
    y * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

/// The rounded integer of `scaled` and that integer as float.
#[inline(always)]
fn split(scaled: f32) -> (i32, f32) {
    let shifted = scaled + MAGIC;
    (shifted.to_bits().wrapping_sub(MAGIC.to_bits()) as i32, shifted - MAGIC)
}

/// `(e^r - 1 - r) / r^2` for `|r| <= 0.35`.
#[inline(always)]
fn tail<S: Simd>(s: S, r: f32) -> f32 {
    let p = s.mul_add(1.987_569_1e-4, r, 1.398_199_9e-3);
    let p = s.mul_add(p, r, 8.333_452e-3);
    let p = s.mul_add(p, r, 4.166_579_6e-2);
    let p = s.mul_add(p, r, 1.666_666_5e-1);
    s.mul_add(p, r, 5e-1)
}

/// `x - n ln 2`.
#[inline(always)]
fn reduce<S: Simd>(s: S, x: f32, n: f32) -> f32 {
    s.mul_add(n, -LN2_LOW, s.mul_add(n, -LN2_HIGH, x))
}

#[inline(always)]
pub fn exp<S: Simd>(s: S, x: f32) -> f32 {
    let x = limit(x, -104.0, 89.0);
    let (n, whole) = split(x * core::f32::consts::LOG2_E);
    let r = reduce(s, x, whole);
    scale(s.mul_add(tail(s, r) * r, r, r) + 1.0, n)
}

/// `(y + correction) e^(x + low)`, for `-160 <= x + low <= 0`.
#[inline(always)]
pub fn times<S: Simd>(s: S, y: f32, correction: f32, x: f32, low: f32) -> f32 {
    let (n, whole) = split((x + low) * core::f32::consts::LOG2_E);
    let r = s.mul_add(whole, -LN2_HIGH, x) + s.mul_add(whole, -LN2_LOW, low);
    let q = s.mul_add(tail(s, r) * r, r, r);
    scale(y + s.mul_add(y, q, s.mul_add(correction, q, correction)), n)
}

#[inline(always)]
pub fn exp2<S: Simd>(s: S, x: f32) -> f32 {
    let x = limit(x, -151.0, 129.0);
    let (n, whole) = split(x);
    let r = (x - whole) * core::f32::consts::LN_2;
    scale(s.mul_add(tail(s, r) * r, r, r) + 1.0, n)
}

/// `2^n (e^r - 1) + (2^n - 1)`; computed at half the size, since `2^128` is no f32.
#[inline(always)]
pub fn expm1<S: Simd>(s: S, x: f32) -> f32 {
    let limited = limit(x, -30.0, 89.0);
    let (n, whole) = split(limited * core::f32::consts::LOG2_E);
    let r = reduce(s, limited, whole);
    let q = s.mul_add(tail(s, r) * r, r, r);
    let half = power_of_two(n.wrapping_sub(1));
    let y = 2.0 * s.mul_add(q, half, half - 0.5);
    // Keeps -0, and subnormals that halving would round.
    if x.abs() < 1e-8 { x } else { y }
}

#[inline(always)]
pub fn sigmoid<S: Simd>(s: S, x: f32) -> f32 {
    1.0 / (1.0 + exp(s, -x))
}

/// `e / (e + 2)` with `e = e^(2|x|) - 1`: where `e` is large its error hardly matters, where it is small it is accurate.
#[inline(always)]
pub fn tanh<S: Simd>(s: S, x: f32) -> f32 {
    // From 9.02 on the result rounds to 1.
    let magnitude = limit(x.abs(), 0.0, 9.1);
    let doubled = magnitude + magnitude;
    let (n, whole) = split(doubled * core::f32::consts::LOG2_E);
    let r = reduce(s, doubled, whole);
    let q = s.mul_add(tail(s, r) * r, r, r);
    let power = power_of_two(n);
    let e = s.mul_add(q, power, power - 1.0);
    (e / (e + 2.0)).copysign(x)
}
