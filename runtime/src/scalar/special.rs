//! The error function and its complement in f32, and what comes of them in f64: inverse, scaled complement, the normal
//! distribution.

use super::{Functions, exp};
use crate::simd::Simd;

/// `erf(x) / x - 1` for `|x| <= 0.928`.
#[inline(always)]
fn near_zero<S: Simd>(s: S, x: f32) -> f32 {
    let z = x * x;
    let p = s.mul_add(-5.967_617e-4, z, 4.991_194_2e-3);
    let p = s.mul_add(p, z, -2.676_813_5e-2);
    let p = s.mul_add(p, z, 1.128_199_25e-1);
    let p = s.mul_add(p, z, -3.761_253_4e-1);
    s.mul_add(p, z, 1.283_791_7e-1)
}

/// Near 0 an odd polynomial; elsewhere `1 - e^p(|x|)`, whose error shrinks with the distance from 1. The coefficients are
/// minimax ones, by N. Juffa.
#[inline(always)]
pub fn erf<S: Simd>(s: S, x: f32) -> f32 {
    let p = near_zero(s, x);
    let near = s.mul_add(p, x, x);
    // From 3.92 on the result rounds to 1.
    let t = if x.abs() > 4.0 { 4.0 } else { x.abs() };
    let p = s.mul_add(-1.728_534_7e-5, t, 3.831_971_3e-4);
    let p = s.mul_add(p, t, -3.883_964_4e-3);
    let p = s.mul_add(p, t, 2.425_462_2e-2);
    let p = s.mul_add(p, t, -1.067_778_8e-1);
    let p = s.mul_add(p, t, -6.348_467e-1);
    let p = s.mul_add(p, t, -1.287_175_1e-1);
    let far = (1.0 - exp::exp(s, s.mul_add(p, t, -t))).copysign(x);
    if t > 0.927_734_4 { far } else { near }
}

/// As many bits as have an exact square.
#[inline(always)]
fn high_half(x: f32) -> f32 {
    f32::from_bits(x.to_bits() & 0xffff_f000)
}

/// `1 - erf`. `(1 + 2a) e^(a^2) erfc(a)` is near 1 for all `a >= 0`: a polynomial in `(a - 2) / (a + 2)` (a fit for the least
/// relative error up to 10.1, from where the result rounds to 0). What rounding loses of sums, quotient and square is kept: the
/// result may be twice as far from 0 in units of its last place as they are. Near 0 it is a difference from 1.
#[inline(always)]
pub fn erfc<S: Simd>(s: S, x: f32) -> f32 {
    let a = exp::limit(x.abs(), 0.0, 10.5);
    let q = (a - 2.0) / (a + 2.0);
    let p = s.mul_add(2.648_837e-5, q, -3.646_293e-4);
    let p = s.mul_add(p, q, -1.253_383_6e-3);
    let p = s.mul_add(p, q, 1.273_392_5e-3);
    let p = s.mul_add(p, q, 8.638_433e-3);
    let p = s.mul_add(p, q, -8.044_606e-3);
    let p = s.mul_add(p, q, -5.420_514e-2);
    let p = s.mul_add(p, q, 1.640_531_6e-1);
    let p = s.mul_add(p, q, -1.660_313_6e-1);
    let p = s.mul_add(p, q, -9.276_389e-2);
    let p = s.mul_add(p, q, 2.769_784e-1);
    let (numerator, lost) = (1.0 + p, p - ((1.0 + p) - 1.0));
    let twice = a + a;
    let denominator = 1.0 + twice;
    let (large, small) = if twice > 1.0 { (twice, 1.0) } else { (1.0, twice) };
    let inverse = 1.0 / denominator;
    let quotient = numerator * inverse;
    let (q_high, d_high) = (high_half(quotient), high_half(denominator));
    let (q_low, d_low) = (quotient - q_high, denominator - d_high);
    let product = ((q_high * d_high - numerator) + q_high * d_low) + q_low * denominator;
    let correction = (lost - product - quotient * (small - (denominator - large))) * inverse;
    let high = high_half(a);
    let y = exp::times(s, quotient, correction, -high * high, (high - a) * (high + a));
    let far = if x < 0.0 { 2.0 - y } else { y };
    let near = s.mul_add(-near_zero(s, x), x, 1.0 - x);
    if a > 0.46 { far } else { near }
}

/// Inverse of erf: a rational start, then two Newton steps.
pub fn erfinv(y: f64) -> f64 {
    const A: [f64; 4] = [0.886226899, -1.645349621, 0.914624893, -0.140543331];
    const B: [f64; 4] = [-2.118377725, 1.442710462, -0.329097515, 0.012229801];
    const C: [f64; 4] = [-1.970840454, -1.624906493, 3.429567803, 1.641345311];
    const D: [f64; 2] = [3.543889200, 1.637067800];
    let magnitude = y.abs();
    if magnitude > 1.0 || y.is_nan() {
        return f64::NAN;
    }
    if magnitude == 1.0 {
        return f64::INFINITY.copysign(y);
    }
    let mut x = if magnitude <= 0.7 {
        let z = y * y;
        let numerator = ((A[3] * z + A[2]) * z + A[1]) * z + A[0];
        y * numerator / ((((B[3] * z + B[2]) * z + B[1]) * z + B[0]) * z + 1.0)
    } else {
        let z = Functions::sqrt(-libm::log((1.0 - magnitude) / 2.0));
        let numerator = ((C[3] * z + C[2]) * z + C[1]) * z + C[0];
        numerator.copysign(y) / ((D[1] * z + D[0]) * z + 1.0)
    };
    for _ in 0..2 {
        x -= (libm::erf(x) - y) / (core::f64::consts::FRAC_2_SQRT_PI * libm::exp(-x * x));
    }
    x
}

/// `e^(x^2) erfc(x)`: the product while erfc is a normal number, then the asymptotic series. Below -26.6 it is infinite.
pub fn erfcx(x: f64) -> f64 {
    if x < 25.0 || x.is_nan() {
        return libm::exp(x * x) * libm::erfc(x);
    }
    let z = 1.0 / (2.0 * x * x);
    let series = 1.0 - z * (1.0 - 3.0 * z * (1.0 - 5.0 * z * (1.0 - 7.0 * z)));
    series * core::f64::consts::FRAC_2_SQRT_PI / (2.0 * x)
}

/// Logarithm of the normal distribution function.
pub fn log_ndtr(x: f64) -> f64 {
    let t = x * core::f64::consts::FRAC_1_SQRT_2;
    if x < -1.0 { libm::log(erfcx(-t) / 2.0) - t * t } else { libm::log1p(-libm::erfc(t) / 2.0) }
}

/// Inverse of the normal distribution function: Newton's method on its logarithm, which is concave, from the left.
pub fn ndtri(p: f64) -> f64 {
    if p > 0.5 {
        return -ndtri(1.0 - p);
    }
    if p == 0.0 {
        return f64::NEG_INFINITY;
    }
    if p < 0.0 || p.is_nan() {
        return f64::NAN;
    }
    let target = libm::log(p);
    let mut x = -Functions::sqrt(-2.0 * target);
    for _ in 0..20 {
        let value = log_ndtr(x);
        let density =
            libm::exp(-x * x / 2.0 - value) * (core::f64::consts::FRAC_2_SQRT_PI / core::f64::consts::SQRT_2 / 2.0);
        let step = (target - value) / density;
        x += step;
        if step.abs() <= 1e-15 * x.abs() {
            break;
        }
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of `scipy.special`.
    #[test]
    fn known_values() {
        let close = |a: f64, b: f64| assert!((a - b).abs() <= 1e-12 * b.abs(), "{a} {b}");
        close(erfcx(-3.0), 16_205.988_853_999_586);
        close(erfcx(20.0), 0.028_174_348_741_051_323);
        close(erfcx(100.0), 0.005_641_613_782_989_433);
        assert!((erfcx(24.999_999) - erfcx(25.000_001)).abs() < 1e-8 && erfcx(-27.0) == f64::INFINITY);
        close(log_ndtr(-20.0), -203.917_155_371_097_3);
        close(log_ndtr(1.5), -0.069_143_455_612_233_99);
        close(ndtri(0.3), -0.524_400_512_708_040_9);
        close(ndtri(0.999), 3.090_232_306_167_813);
        close(ndtri(1e-200), -30.205_594_179_579_64);
        assert_eq!((ndtri(0.0), ndtri(1.0)), (f64::NEG_INFINITY, f64::INFINITY));
        assert!(ndtri(-0.1).is_nan() && ndtri(1.1).is_nan() && ndtri(0.5).abs() < 1e-15);
    }
}
