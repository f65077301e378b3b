//! The error function in f32, and what comes of it in f64: its inverse, its scaled complement, the normal distribution.

use super::Functions;
use crate::simd::Simd;

/// A rational function on the interval where erf is not yet 1.
#[inline(always)]
pub fn erf<S: Simd>(s: S, x: f32) -> f32 {
    let y = if x > 4.0 { 4.0 } else { x };
    let y = if y < -4.0 { -4.0 } else { y };
    let z = y * y;
    let p = s.mul_add(-2.726_142_3e-10, z, 2.770_681_4e-8);
    let p = s.mul_add(p, z, -2.101_024e-6);
    let p = s.mul_add(p, z, -5.692_506_4e-5);
    let p = s.mul_add(p, z, -7.349_906_5e-4);
    let p = s.mul_add(p, z, -2.954_6e-3);
    let p = s.mul_add(p, z, -1.609_603_3e-2) * y;
    let q = s.mul_add(-1.456_607_2e-5, z, -2.133_740_6e-4);
    let q = s.mul_add(q, z, -1.682_827e-3);
    let q = s.mul_add(q, z, -7.373_329_2e-3);
    let q = s.mul_add(q, z, -1.426_473_9e-2);
    let t = p / q;
    let t = if t > 1.0 { 1.0 } else { t };
    let t = if t < -1.0 { -1.0 } else { t };
    // Keeps the bits that the small coefficients would push into subnormals.
    if x.abs() < 3e-4 { x * core::f32::consts::FRAC_2_SQRT_PI } else { t }
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
