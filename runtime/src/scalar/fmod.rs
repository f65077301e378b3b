//! `fmod` of floats by long division of their significands, one bit of the quotient at a time, so exactly. The one in `libm`
//! takes remainders of integers by a divisor of which the compiler does not know that it is not 0, and links a panic.

macro_rules! fmod {
    ($name:ident, $float:ty, $bits:ty) => {
        /// `x - y * trunc(x / y)` without rounding, with the sign of `x`; NaN if `x` is infinite, `y` is 0 or one is NaN.
        pub fn $name(x: $float, y: $float) -> $float {
            const DIGITS: u32 = <$float>::MANTISSA_DIGITS - 1;
            const ONE: $bits = 1 << DIGITS;
            let shift = |n: $bits| n.leading_zeros().saturating_sub(<$bits>::BITS - 1 - DIGITS);
            // Significand with its leading one, and exponent; that of a subnormal number may be below 1.
            let parts = |magnitude: $bits| match magnitude >> DIGITS {
                0 => (magnitude << shift(magnitude), 1 - shift(magnitude) as i32),
                exponent => (magnitude & (ONE - 1) | ONE, exponent as i32),
            };
            if !x.is_finite() || y.is_nan() || y == 0.0 {
                return <$float>::NAN;
            }
            if x.abs() < y.abs() || y.is_infinite() {
                return x;
            }
            let ((mut rest, from), (divisor, to)) = (parts(x.abs().to_bits()), parts(y.abs().to_bits()));
            for _ in to..from {
                rest = if rest >= divisor { rest - divisor } else { rest } << 1;
            }
            rest = if rest >= divisor { rest - divisor } else { rest };
            if rest == 0 {
                return <$float>::copysign(0.0, x);
            }
            let exponent = to - shift(rest) as i32;
            rest <<= shift(rest);
            let magnitude =
                if exponent > 0 { rest - ONE | (exponent as $bits) << DIGITS } else { rest >> (1 - exponent) };
            <$float>::copysign(<$float>::from_bits(magnitude), x)
        }
    };
}

fmod!(fmod32, f32, u32);
fmod!(fmod64, f64, u64);

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of all magnitudes, subnormal ones and special ones among them.
    fn bits() -> impl Iterator<Item = u64> {
        let mut state = 1u64;
        let random = core::iter::repeat_with(move || {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            state ^ state >> 29
        });
        let special = [0.0, -0.0, 1.0, -1.0, 5e-324, -2.3e-308, f64::MAX, f64::INFINITY, f64::NAN, 0.1, 3.0];
        special.map(f64::to_bits).into_iter().chain(random.take(300))
    }

    #[test]
    fn remainders_are_exact() {
        for (a, b) in bits().flat_map(|a| bits().map(move |b| (a, b))) {
            let (x, y) = (f64::from_bits(a), f64::from_bits(b));
            let (got, expected) = (fmod64(x, y), libm::fmod(x, y));
            assert!(got.to_bits() == expected.to_bits() || got.is_nan() && expected.is_nan(), "{x:e} {y:e}: {got:e}");
            for (x, y) in [(x as f32, y as f32), (f32::from_bits(a as u32), f32::from_bits(b as u32))] {
                let (got, expected) = (fmod32(x, y), libm::fmodf(x, y));
                assert!(
                    got.to_bits() == expected.to_bits() || got.is_nan() && expected.is_nan(),
                    "{x:e} {y:e}: {got:e}"
                );
            }
        }
    }
}
