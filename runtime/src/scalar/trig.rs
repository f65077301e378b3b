//! f32 trigonometry and its inverses.
//!
//! Arguments are reduced with integers, exactly for every f32: the 24-bit mantissa times a 96-bit window of the binary
//! digits of 2/pi, chosen by the exponent, gives quadrant and fraction as a 64-bit fixed-point number. (The method is
//! that of ARM's optimized routines.) One table of 100 bytes, no division, no double precision, no loop. Polynomials are
//! Cephes' minimax coefficients.

use crate::simd::Simd;
use core::f32::consts::{FRAC_PI_2, FRAC_PI_4, PI};

/// 32-bit windows of the digits of 2/pi, one every 8 bits.
const TWO_OVER_PI: [u32; 25] = [
    0,
    0xa2,
    0xa2f9,
    0x00a2_f983,
    0xa2f9_836e,
    0xf983_6e4e,
    0x836e_4e44,
    0x6e4e_4415,
    0x4e44_1529,
    0x4415_29fc,
    0x1529_fc27,
    0x29fc_2757,
    0xfc27_57d1,
    0x2757_d1f5,
    0x57d1_f534,
    0xd1f5_34dd,
    0xf534_ddc0,
    0x34dd_c0db,
    0xddc0_db62,
    0xc0db_6295,
    0xdb62_9599,
    0x6295_993c,
    0x9599_3c43,
    0x993c_4390,
    0x3c43_9041,
];

/// `(r, q)` with `|x| = r + q pi/2` (q modulo 4) and `|r| <= pi/4`; NaN for infinities and NaN.
#[inline(always)]
fn reduce<S: Simd>(s: S, x: f32) -> (f32, u32) {
    // A quadrant is 2^62 of the fixed-point number; pi/2 is the sum of two f32.
    const HIGH: f32 = FRAC_PI_2 / 4194304.0;
    const REST_OF_HIGH: f32 = -4.371_139e-8 / 4194304.0;
    const MIDDLE: f32 = HIGH / 16777216.0;
    const LOW: f32 = MIDDLE / 65536.0;
    let magnitude = x.abs();
    let bits = magnitude.to_bits();
    // Right for exponents from 2^-7 on; below pi/4 the argument is its own remainder.
    let word = ((bits >> 26).wrapping_sub(15) as usize).min(16);
    let mantissa = ((bits & 0x00ff_ffff) | 0x0080_0000) << ((bits >> 23) & 7);
    let high = (mantissa.wrapping_mul(TWO_OVER_PI[word]) as u64) << 32;
    let middle = mantissa as u64 * TWO_OVER_PI[word + 4] as u64;
    let low = mantissa as u64 * TWO_OVER_PI[word + 8] as u64;
    let turns = (high | (low >> 32)).wrapping_add(middle);
    let quadrant = turns.wrapping_add(1 << 61) >> 62;
    let rest = turns.wrapping_sub(quadrant << 62);
    // Parts of one sign, each exact in f32: only the last sum (and its product, where it is not fused) rounds.
    let sign = (rest >> 63).wrapping_neg();
    let rest = (rest ^ sign).wrapping_sub(sign);
    let part = |shift: u32, mask: u32| ((rest >> shift) as u32 & mask) as i32 as f32;
    let (high, middle, low) = (part(40, 0x00ff_ffff), part(16, 0x00ff_ffff), part(0, 0xffff));
    let r = s.mul_add(high, REST_OF_HIGH, s.mul_add(middle, MIDDLE, low * LOW));
    let r = s.mul_add(high, HIGH, r);
    let r = f32::from_bits(r.to_bits() ^ (sign as u32 & 0x8000_0000));
    let small = magnitude < FRAC_PI_4;
    let r = if small { magnitude } else { r };
    (if magnitude < f32::INFINITY { r } else { f32::NAN }, if small { 0 } else { quadrant as u32 })
}

/// sin r and cos r for `|r| <= pi/4`.
#[inline(always)]
fn sin_cos<S: Simd>(s: S, r: f32) -> (f32, f32) {
    let z = r * r;
    let p = s.mul_add(-1.951_529_6e-4, z, 8.332_161e-3);
    let p = s.mul_add(p, z, -1.666_665_5e-1);
    let sine = s.mul_add(p * z, r, r);
    let p = s.mul_add(2.443_315_7e-5, z, -1.388_731_6e-3);
    let p = s.mul_add(p, z, 4.166_664_6e-2);
    let cosine = s.mul_add(p * z, z, s.mul_add(-0.5, z, 1.0));
    (sine, cosine)
}

/// `y`, negated if `flip` is 2 and not if it is 0.
#[inline(always)]
fn flip(y: f32, flip: u32) -> f32 {
    f32::from_bits(y.to_bits() ^ (flip << 30))
}

#[inline(always)]
pub fn sin<S: Simd>(s: S, x: f32) -> f32 {
    let (r, q) = reduce(s, x);
    let (sine, cosine) = sin_cos(s, r);
    let y = flip(if q & 1 == 0 { sine } else { cosine }, q & 2);
    f32::from_bits(y.to_bits() ^ (x.to_bits() & 0x8000_0000))
}

#[inline(always)]
pub fn cos<S: Simd>(s: S, x: f32) -> f32 {
    let (r, q) = reduce(s, x);
    let (sine, cosine) = sin_cos(s, r);
    flip(if q & 1 == 0 { cosine } else { sine }, q.wrapping_add(1) & 2)
}

#[inline(always)]
pub fn tan<S: Simd>(s: S, x: f32) -> f32 {
    let (r, q) = reduce(s, x);
    let z = r * r;
    let p = s.mul_add(9.385_402e-3, z, 3.119_922_4e-3);
    let p = s.mul_add(p, z, 2.443_013_5e-2);
    let p = s.mul_add(p, z, 5.341_128e-2);
    let p = s.mul_add(p, z, 1.333_879_9e-1);
    let p = s.mul_add(p, z, 3.333_315_7e-1);
    let tangent = s.mul_add(p * z, r, r);
    let y = if q & 1 != 0 { -1.0 / tangent } else { tangent };
    f32::from_bits(y.to_bits() ^ (x.to_bits() & 0x8000_0000))
}

/// asin of a root: `w + w z P(z)` with `z = w^2 <= 1/4`.
#[inline(always)]
fn asin_small<S: Simd>(s: S, w: f32, z: f32) -> f32 {
    let p = s.mul_add(4.216_32e-2, z, 2.418_131e-2);
    let p = s.mul_add(p, z, 4.547_002_6e-2);
    let p = s.mul_add(p, z, 7.495_300_3e-2);
    let p = s.mul_add(p, z, 1.666_675_2e-1);
    s.mul_add(p * z, w, w)
}

/// `(asin w, far)` where far from 0 the angle is `pi/2 - 2 asin w`.
#[inline(always)]
fn asin_parts<S: Simd>(s: S, x: f32) -> (f32, bool) {
    let magnitude = x.abs();
    let far = magnitude > 0.5;
    let z = if far { 0.5 * (1.0 - magnitude) } else { magnitude * magnitude };
    let w = if far { crate::arch::sqrt32(z) } else { magnitude };
    (asin_small(s, w, z), far)
}

#[inline(always)]
pub fn asin<S: Simd>(s: S, x: f32) -> f32 {
    let (a, far) = asin_parts(s, x);
    (if far { FRAC_PI_2 - 2.0 * a } else { a }).copysign(x)
}

#[inline(always)]
pub fn acos<S: Simd>(s: S, x: f32) -> f32 {
    let (a, far) = asin_parts(s, x);
    let near = FRAC_PI_2 - a.copysign(x);
    let tail = if x < 0.0 { PI - 2.0 * a } else { 2.0 * a };
    if far { tail } else { near }
}

/// Angle of the point `(d, n)` in the first quadrant, with one division.
#[inline(always)]
fn angle<S: Simd>(s: S, n: f32, d: f32) -> f32 {
    const TAN_PI_8: f32 = 0.414_213_57;
    let steep = n > d;
    let (n, d) = if steep { (d, n) } else { (n, d) };
    let scale = if d > 1e38 { 0.25 } else { 1.0 };
    let (n, d) = (n * scale, d * scale);
    let far = n > TAN_PI_8 * d;
    let t = if far { n - d } else { n } / if far { n + d } else { d };
    let z = t * t;
    let p = s.mul_add(8.053_745e-2, z, -1.387_768_6e-1);
    let p = s.mul_add(p, z, 1.997_771_1e-1);
    let p = s.mul_add(p, z, -3.333_295e-1);
    let a = s.mul_add(p * z, t, t) + if far { FRAC_PI_4 } else { 0.0 };
    if steep { FRAC_PI_2 - a } else { a }
}

#[inline(always)]
pub fn atan<S: Simd>(s: S, x: f32) -> f32 {
    let a = angle(s, x.abs(), 1.0).copysign(x);
    let a = if x.abs() == f32::INFINITY { FRAC_PI_2.copysign(x) } else { a };
    if x.is_nan() { x } else { a }
}

#[inline(always)]
pub fn atan2<S: Simd>(s: S, y: f32, x: f32) -> f32 {
    let (n, d) = (y.abs(), x.abs());
    // (inf, inf), (0, 0) and a point on an axis have the angles of (1, 1), (0, 1), (1, 0).
    let both = n == d && n == f32::INFINITY;
    let d = if n == 0.0 && d == 0.0 || both { 1.0 } else { d };
    let n = if both { 1.0 } else { n };
    let a = angle(s, if d == f32::INFINITY { 0.0 } else { n }, if n == f32::INFINITY { 0.0 } else { d });
    let a = if d == f32::INFINITY { 0.0 } else { a };
    let a = if n == f32::INFINITY { FRAC_PI_2 } else { a };
    let a = (if x.is_sign_negative() { PI - a } else { a }).copysign(y);
    if y.is_nan() || x.is_nan() { f32::NAN } else { a }
}
