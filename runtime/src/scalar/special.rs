//! The error function in f32, and the functions `libm` lacks in f64 (f32 goes through them): PyTorch's own algorithms.

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

/// Derivative of log gamma: recurrence up to 10, then the asymptotic series; reflection for negative arguments.
pub fn digamma(x: f64) -> f64 {
    use core::f64::consts::PI;
    if x == 0.0 {
        return f64::INFINITY.copysign(-x);
    }
    if x < 0.0 {
        let fraction = x - libm::trunc(x);
        if fraction == 0.0 {
            return f64::NAN;
        }
        return digamma_positive(1.0 - x) - PI / libm::tan(PI * fraction);
    }
    digamma_positive(x)
}

fn digamma_positive(mut x: f64) -> f64 {
    const SERIES: [f64; 7] = [
        8.333_333_333_333_333e-2,
        -2.109_279_609_279_609_3e-2,
        7.575_757_575_757_576e-3,
        -4.166_666_666_666_667e-3,
        3.968_253_968_253_968e-3,
        -8.333_333_333_333_333e-3,
        8.333_333_333_333_333e-2,
    ];
    let mut result = 0.0;
    while x < 10.0 {
        result -= 1.0 / x;
        x += 1.0;
    }
    let z = 1.0 / (x * x);
    let series = SERIES.iter().fold(0.0, |sum, c| sum * z + c);
    result + libm::log(x) - 0.5 / x - z * series
}
