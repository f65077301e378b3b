//! Arithmetic on the sizes of dynamic dims: what generated code calls where a size expression needs more than `+ - *`.
//!
//! Every function is total and cannot panic: integers wrap, a division by zero gives 0. The compiler evaluates
//! expressions with the same functions after checking that they are defined, so both sides agree wherever PyTorch has
//! a value at all.

/// `a // b`, rounding toward negative infinity.
#[inline]
pub const fn floor_div(a: i64, b: i64) -> i64 {
    if b == 0 {
        return 0;
    }
    let quotient = a.wrapping_div(b);
    let inexact = quotient.wrapping_mul(b) != a;
    if inexact && (a < 0) != (b < 0) { quotient.wrapping_sub(1) } else { quotient }
}

/// `a % b` with the sign of `b`.
#[inline]
pub const fn modulo(a: i64, b: i64) -> i64 {
    if b == 0 {
        return 0;
    }
    let remainder = a.wrapping_rem(b);
    if remainder != 0 && (remainder < 0) != (b < 0) { remainder.wrapping_add(b) } else { remainder }
}

/// `a ** b`; 0 for a negative power.
#[inline]
pub const fn pow(a: i64, b: i64) -> i64 {
    if b < 0 {
        return 0;
    }
    let (mut base, mut exponent, mut power) = (a, b, 1i64);
    while exponent > 0 {
        if exponent & 1 == 1 {
            power = power.wrapping_mul(base);
        }
        base = base.wrapping_mul(base);
        exponent >>= 1;
    }
    power
}

/// `a << b`; 0 for a shift that leaves nothing.
#[inline]
pub const fn lshift(a: i64, b: i64) -> i64 {
    if b < 0 || b > 63 { 0 } else { a.wrapping_shl(b as u32) }
}

/// `a >> b`, keeping the sign.
#[inline]
pub const fn rshift(a: i64, b: i64) -> i64 {
    if b < 0 {
        return 0;
    }
    a >> if b > 63 { 63 } else { b }
}

/// A size expression as a number of elements or bytes: 0 for a negative one.
#[inline(always)]
pub const fn size(a: i64) -> usize {
    if a < 0 { 0 } else { a as usize }
}

/// An expression as a distance.
#[inline(always)]
pub const fn signed_size(a: i64) -> isize {
    a as isize
}

/// A number of elements as the integer that expressions compute with.
#[inline(always)]
pub const fn from_size(a: usize) -> i64 {
    a as i64
}

/// The greater of two integers.
#[inline]
pub const fn max(a: i64, b: i64) -> i64 {
    if a > b { a } else { b }
}

/// The lesser of two integers.
#[inline]
pub const fn min(a: i64, b: i64) -> i64 {
    if a < b { a } else { b }
}

/// The greater of two floats; NaN if `a` is.
#[inline]
pub const fn max_float(a: f64, b: f64) -> f64 {
    if b > a { b } else { a }
}

/// The lesser of two floats; NaN if `a` is.
#[inline]
pub const fn min_float(a: f64, b: f64) -> f64 {
    if b < a { b } else { a }
}

/// An integer as f64.
#[inline]
pub const fn to_float(a: i64) -> f64 {
    a as f64
}

/// `a / b` in f64; exactly Python's quotient for operands up to 2^53.
#[inline]
pub const fn int_true_div(a: i64, b: i64) -> f64 {
    a as f64 / b as f64
}

/// `a ** b`.
#[inline]
pub fn float_pow(a: f64, b: f64) -> f64 {
    libm::pow(a, b)
}

/// Square root.
#[inline]
pub fn sqrt(a: f64) -> f64 {
    libm::sqrt(a)
}

/// Toward zero to an integer; as all four, saturating, 0 for NaN.
#[inline]
pub const fn trunc(a: f64) -> i64 {
    a as i64
}

/// Greatest integer not above `a`.
#[inline]
pub fn floor(a: f64) -> i64 {
    libm::floor(a) as i64
}

/// Least integer not below `a`.
#[inline]
pub fn ceil(a: f64) -> i64 {
    libm::ceil(a) as i64
}

/// Nearest integer, ties to even.
#[inline]
pub fn round(a: f64) -> i64 {
    libm::rint(a) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn division_rounds_down_and_the_remainder_has_the_divisors_sign() {
        // Python: (7, -7) // (2, -2), and %.
        assert_eq!([floor_div(7, 2), floor_div(-7, 2), floor_div(7, -2), floor_div(-7, -2)], [3, -4, -4, 3]);
        assert_eq!([modulo(7, 4), modulo(-7, 4), modulo(7, -4), modulo(-7, -4)], [3, 1, -1, -3]);
        for a in -20..20 {
            for b in (-7..8).filter(|b| *b != 0) {
                assert_eq!(floor_div(a, b) * b + modulo(a, b), a);
                assert!((0..b.abs()).contains(&modulo(a, b).abs()) && modulo(a, b) * b >= 0);
            }
        }
    }

    #[test]
    fn edges_are_total() {
        assert_eq!([floor_div(1, 0), modulo(1, 0), floor_div(i64::MIN, -1), modulo(i64::MIN, -1)], [0, 0, i64::MIN, 0]);
        assert_eq!([pow(2, -1), pow(2, 64), pow(0, 0), pow(-3, 3), pow(2, 62)], [0, 0, 1, -27, 1 << 62]);
        assert_eq!([lshift(3, 64), lshift(3, -1), lshift(3, 4), rshift(-1, 99), rshift(-9, 1)], [0, 0, 48, -1, -5]);
        assert_eq!([trunc(f64::NAN), trunc(1e300), trunc(-1.9), floor(-1.1), ceil(-1.9)], [0, i64::MAX, -1, -2, -1]);
        assert_eq!([round(0.5), round(1.5), round(-2.5), round(2.6)], [0, 2, -2, 3]);
        assert!(int_true_div(1, 0).is_infinite() && sqrt(-1.0).is_nan());
    }
}
