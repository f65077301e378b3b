//! Bessel functions in f64; those of the first and second kind are `libm`'s (`j0`, `y0`, ...).

use super::Functions;
use core::f64::consts::TAU;

/// `e^-|x| I_n(x)` for n = 0 and 1: the power series, all terms of one sign, up to 20; from there on the asymptotic series,
/// whose least term is below `e^-40`.
fn modified_first(n: u32, x: f64) -> f64 {
    let magnitude = x.abs();
    let order = f64::from(n);
    let (mut term, mut sum, mut k) = (1.0, 1.0, 1.0);
    let value = if magnitude <= 20.0 {
        let quarter = x * x / 4.0;
        while term > sum * 1e-17 {
            term *= quarter / (k * (k + order));
            sum += term;
            k += 1.0;
        }
        libm::exp(-magnitude) * sum * if n == 0 { 1.0 } else { magnitude / 2.0 }
    } else {
        while term.abs() > 1e-17 && k < 40.0 {
            let odd = 2.0 * k - 1.0;
            term *= (odd * odd - 4.0 * order * order) / (8.0 * k * magnitude);
            sum += term;
            k += 1.0;
        }
        sum / Functions::sqrt(TAU * magnitude)
    };
    if n == 1 { value.copysign(x) } else { value }
}

/// `I_n` of what [`modified_first`] scales; infinite arguments and NaN would meet `0 * inf`.
fn unscaled(n: u32, x: f64) -> f64 {
    if x.is_infinite() {
        return if n == 0 { f64::INFINITY } else { x };
    }
    // In halves: the scaled value may fit where `e^|x|` alone does not.
    let half = libm::exp(x.abs() / 2.0);
    modified_first(n, x) * half * half
}

/// Modified, first kind, order 0.
pub fn i0(x: f64) -> f64 {
    unscaled(0, x)
}

/// `e^-|x| i0(x)`.
pub fn i0e(x: f64) -> f64 {
    modified_first(0, x)
}

/// Modified, first kind, order 1.
pub fn i1(x: f64) -> f64 {
    unscaled(1, x)
}

/// `e^-|x| i1(x)`.
pub fn i1e(x: f64) -> f64 {
    modified_first(1, x)
}

/// `e^x K_n(x)`: the integral of `e^(-x (cosh t - 1)) cosh(n t)` over t from 0, by the trapezoidal rule, which converges
/// doubly exponentially for such integrands.
fn modified_second(n: u32, x: f64) -> f64 {
    const STEP: f64 = 1.0 / 16.0;
    if x.is_nan() || x < 0.0 {
        return f64::NAN;
    }
    if x == 0.0 {
        return f64::INFINITY;
    }
    let (mut sum, mut t) = (0.5, STEP);
    loop {
        let half = libm::sinh(t / 2.0);
        let exponent = 2.0 * x * half * half;
        let term = libm::exp(-exponent) * if n == 0 { 1.0 } else { libm::cosh(t) };
        sum += term;
        t += STEP;
        if term <= sum * 1e-17 || t > 750.0 {
            return sum * STEP;
        }
    }
}

/// Modified, second kind, order 0; NaN for negative arguments.
pub fn k0(x: f64) -> f64 {
    modified_second(0, x) * libm::exp(-x)
}

/// Modified, second kind, order 1; NaN for negative arguments.
pub fn k1(x: f64) -> f64 {
    modified_second(1, x) * libm::exp(-x)
}

/// `e^x k0(x)`.
pub fn k0e(x: f64) -> f64 {
    modified_second(0, x)
}

/// `e^x k1(x)`.
pub fn k1e(x: f64) -> f64 {
    modified_second(1, x)
}

/// First kind, order 0; 0 at infinity.
pub fn j0(x: f64) -> f64 {
    libm::j0(x)
}

/// First kind, order 1; 0 at infinity.
pub fn j1(x: f64) -> f64 {
    libm::j1(x)
}

/// Second kind, order 0; minus infinity at 0, NaN for negative arguments.
pub fn y0(x: f64) -> f64 {
    if x < 0.0 { f64::NAN } else { libm::y0(x) }
}

/// Second kind, order 1; minus infinity at 0, NaN for negative arguments.
pub fn y1(x: f64) -> f64 {
    if x < 0.0 { f64::NAN } else { libm::y1(x) }
}

/// Spherical, first kind, order 0: `sin(x) / x`.
pub fn spherical_j0(x: f64) -> f64 {
    if x.is_infinite() {
        0.0
    } else if x.abs() < 1e-4 {
        1.0 - x * x / 6.0
    } else {
        libm::sin(x) / x
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of `scipy.special`.
    #[test]
    fn known_values() {
        let close = |a: f64, b: f64| assert!((a - b).abs() <= 1e-13 * b.abs(), "{a} {b}");
        close(i0(1.0), 1.266_065_877_752_008_4);
        close(i0(-30.0), 781_672_297_823.977_5);
        close(i1(1.0), 0.565_159_103_992_485);
        close(i1(-2.5), -2.516_716_245_288_698);
        close(i0e(19.999), 0.089_782_586_060_965_36);
        close(i1e(700.0), 0.015_070_519_444_716_846);
        close(k0(1.0), 0.421_024_438_240_708_34);
        close(k1(0.01), 99.973_894_118_296_23);
        close(k0e(50.0), 0.176_807_155_857_429_33);
        close(k1e(50.0), 0.178_566_558_558_815_56);
        close(spherical_j0(2.0), 0.454_648_713_412_840_85);
        assert_eq!((i0(f64::INFINITY), i1(f64::NEG_INFINITY)), (f64::INFINITY, f64::NEG_INFINITY));
        assert!(i0(f64::NAN).is_nan() && k0(-1.0).is_nan() && y1(-1.0).is_nan() && i1(0.0) == 0.0);
        assert_eq!((k0(0.0), k1(f64::INFINITY), i0e(f64::INFINITY)), (f64::INFINITY, 0.0, 0.0));
    }

    /// The series meets the asymptotic series.
    #[test]
    fn both_sides_of_the_border_agree() {
        for n in [0, 1] {
            let (below, above) = (modified_first(n, 20.0), modified_first(n, 20.000_000_1));
            assert!((below - above).abs() < 1e-8 * below, "{below} {above}");
        }
    }
}
