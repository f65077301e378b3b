//! Against f64 `libm` and against PyTorch's values; `tests/ulp` holds the bounds of the functions of one f32.

extern crate std;

use super::*;
use crate::simd::Portable;
use std::{format, string::String, vec::Vec};

/// Distance of `y` from the exact value in units of the last place of the exact value.
fn ulp(y: f32, exact: f64) -> f64 {
    let rounded = exact as f32;
    if y.is_nan() && exact.is_nan() || y == rounded {
        return 0.0;
    }
    if !y.is_finite() || !rounded.is_finite() {
        // One step beyond the largest number is infinity.
        let edge = y.abs() == f32::MAX || rounded.abs() == f32::MAX;
        return if edge && y.signum() == rounded.signum() { 1.0 } else { f64::INFINITY };
    }
    let exponent = (rounded.abs().to_bits() >> 23).max(1) as i32;
    (y as f64 - exact).abs() / 2f64.powi(exponent - 150)
}

/// Every `step`-th f32 of both signs.
fn sweep(step: usize) -> impl Iterator<Item = f32> {
    (0..=u32::MAX).step_by(step).map(f32::from_bits)
}

#[test]
fn rounding_is_exact() {
    type Pair = (fn(f32) -> f32, fn(f64) -> f64);
    let functions: [Pair; 4] = [
        (|x| floor(Portable, x), libm::floor),
        (|x| ceil(Portable, x), libm::ceil),
        (|x| trunc(Portable, x), libm::trunc),
        (|x| round(Portable, x), libm::rint),
    ];
    for (f, exact) in functions {
        for x in sweep(4099) {
            let expected = exact(x as f64) as f32;
            assert!(f(x) == expected || f(x).is_nan() && expected.is_nan(), "{x:e}: {} instead of {expected}", f(x));
        }
    }
}

#[test]
fn sigmoid_of_very_negative_numbers_is_zero() {
    assert_eq!(sigmoid(Portable, -100f32), 0.0);
}

#[test]
fn atan2_covers_the_plane_and_its_edges() {
    let edges = [0.0, -0.0, 1.0, -1.0, 1e-40, 3e38, -3e38, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 0.3, -7.5];
    let mut points: Vec<(f32, f32)> = Vec::new();
    points.extend(edges.iter().flat_map(|a| edges.iter().map(move |b| (*a, *b))));
    points.extend((0..200_000u32).map(|i| (f32::from_bits(i.wrapping_mul(2654435761)), f32::from_bits(i * 21001))));
    points.extend((0..200_000u32).map(|i| ((i as f32 * 0.37).sin() * 3.0, (i as f32 * 0.11).cos())));
    for (y, x) in points {
        let exact = libm::atan2(y as f64, x as f64);
        let got = atan2(Portable, y, x);
        let u = ulp(got, exact);
        // Quotients that underflow keep only the bits a subnormal has.
        assert!(u <= 3.0, "atan2({y:e}, {x:e}) = {got:e}, not {exact:e}: {u}");
        assert!(exact.is_nan() || got.is_sign_negative() == exact.is_sign_negative(), "atan2({y}, {x})");
    }
}

#[test]
fn zeros_keep_their_sign() {
    let odd: [fn(f32) -> f32; 10] = [
        |x| sin(Portable, x),
        |x| tan(Portable, x),
        |x| asin(Portable, x),
        |x| atan(Portable, x),
        |x| tanh(Portable, x),
        |x| expm1(Portable, x),
        |x| log1p(Portable, x),
        |x| erf(Portable, x),
        |x| round(Portable, x),
        |x| trunc(Portable, x),
    ];
    for f in odd {
        assert!(f(-0.0).is_sign_negative() && f(-0.0) == 0.0 && f(0.0).is_sign_positive());
    }
    assert!(ceil(Portable, -0.5f32).is_sign_negative());
}

#[test]
fn integers_divide_as_pytorch_does() {
    let values = |f: fn(i32, i32) -> i32| [(7, 2), (-7, 2), (7, -2), (-7, -2), (6, -3), (0, -5)].map(|(a, b)| f(a, b));
    assert_eq!(values(|a, b| floor_div(Portable, a, b)), [3, -4, -4, 3, -2, 0]);
    assert_eq!(values(|a, b| trunc_div(Portable, a, b)), [3, -3, -3, 3, -2, 0]);
    assert_eq!(values(|a, b| remainder(Portable, a, b)), [1, 1, -1, -1, 0, 0]);
    assert_eq!(values(|a, b| fmod(Portable, a, b)), [1, -1, 1, -1, 0, 0]);
    assert_eq!(floor_div(Portable, i32::MIN, -1), i32::MIN);
    assert_eq!(remainder(Portable, i32::MIN, -1), 0);
    for f in [floor_div, trunc_div, remainder, fmod] {
        assert_eq!(f(Portable, 5i64, 0), 0);
    }
    assert_eq!(floor_div(Portable, 7u8, 2), 3);
}

#[test]
fn integers_wrap() {
    assert_eq!(add(Portable, 127i8, 1), -128);
    assert_eq!(sub(Portable, 0u8, 1), 255);
    assert_eq!(mul(Portable, 200u8, 2), 144);
    assert_eq!((neg(Portable, i16::MIN), abs(Portable, i16::MIN)), (i16::MIN, i16::MIN));
    assert_eq!(square(Portable, 1i64 << 40), 0);
    assert_eq!([sign(Portable, -9i32), sign(Portable, 0), sign(Portable, 4)], [-1, 0, 1]);
}

#[test]
fn integer_powers_and_shifts() {
    assert_eq!(pow(Portable, 3i32, 4), 81);
    assert_eq!(pow(Portable, 3u8, 6), 217);
    assert_eq!(
        [pow(Portable, 2i64, -1), pow(Portable, 1, -7), pow(Portable, -1, -3), pow(Portable, -1, -4)],
        [0, 1, -1, 1]
    );
    assert_eq!([shl(Portable, 1i32, 31), shl(Portable, 1, 32), shl(Portable, 1, -1)], [i32::MIN, 0, 0]);
    assert_eq!(
        [shr(Portable, -8i8, 1), shr(Portable, -8, 9), shr(Portable, -8, -1), shr(Portable, 8, 7)],
        [-4, -1, -1, 0]
    );
    assert_eq!([shr(Portable, 200u8, 3), shr(Portable, 200, 8), shl(Portable, 200, 1)], [25, 0, 144]);
}

/// Values from PyTorch 2.8 (`float_remainder_special`).
#[test]
fn float_division_as_pytorch_does() {
    let pairs = [(7.5f32, 2.0f32), (-7.5, 2.0), (7.5, -2.0), (1.0, 0.1), (-0.0, 3.0)];
    let all = |f: fn(f32, f32) -> f32| pairs.map(|(a, b)| f(a, b));
    assert_eq!(all(|a, b| floor_div(Portable, a, b)), [3.0, -4.0, -4.0, 9.0, 0.0]);
    assert_eq!(all(|a, b| remainder(Portable, a, b)), [1.5, 0.5, -0.5, 0.099_999_99, 0.0]);
    assert_eq!(all(|a, b| fmod(Portable, a, b)), [1.5, -1.5, 1.5, 0.099_999_99, 0.0]);
    assert_eq!(all(|a, b| trunc_div(Portable, a, b)), [3.0, -3.0, -3.0, 10.0, 0.0]);
    assert_eq!(floor_div(Portable, 1f32, 0.0), f32::INFINITY);
    assert!(remainder(Portable, 1f32, 0.0).is_nan());
    assert!(floor_div(Portable, f32::INFINITY, 2.0).is_nan());
    assert_eq!(floor_div(Portable, 1f64, 0.1), 9.0);
}

#[test]
fn nan_wins_or_loses() {
    let n = f32::NAN;
    for (a, b) in [(n, 1.0), (1.0, n), (n, n)] {
        assert!(maximum(Portable, a, b).is_nan() && minimum(Portable, a, b).is_nan());
    }
    assert_eq!(
        [fmax(Portable, n, 1.0), fmax(Portable, 1.0, n), fmin(Portable, n, 1.0), fmin(Portable, 1.0, n)],
        [1.0; 4]
    );
    assert_eq!([maximum(Portable, 2, 3), minimum(Portable, 2, 3)], [3, 2]);
    assert!(maximum(Portable, false, true) && !minimum(Portable, false, true));
    assert_eq!(sign(Portable, n), 0.0);
    assert!(is_nan(Portable, n) && !is_nan(Portable, 3i8) && is_nan(Portable, F16(0x7e00)));
    assert!(is_inf(Portable, f64::NEG_INFINITY) && !is_inf(Portable, n));
    for f in [exp, log, sin, cos, tanh, erf, atan, sigmoid, log1p, expm1, asin, round, floor] {
        assert!(f(Portable, n).is_nan());
    }
}

#[test]
fn casts_as_on_x86() {
    let floats = [2.9f32, -2.9, 300.0, -1.0, 3e9, -3e9, f32::NAN, f32::INFINITY];
    let min = i32::MIN;
    assert_eq!(floats.map(cast::<f32, i32>), [2, -2, 300, -1, min, min, min, min]);
    assert_eq!(floats.map(cast::<f32, u8>), [2, 254, 44, 255, 0x5e00u16 as u8, 0, 0, 0]);
    assert_eq!(floats.map(cast::<f32, i64>)[4..], [3_000_000_000, -3_000_000_000, i64::MIN, i64::MIN]);
    assert_eq!(floats.map(cast::<f32, i8>)[..4], [2, -2, 44, -1]);
    assert_eq!(floats.map(cast::<f32, bool>), [true; 8]);
    assert!(!cast::<f32, bool>(-0.0) && cast::<bool, f64>(true) == 1.0 && cast::<i16, bool>(-3));
    assert_eq!((cast::<i32, i8>(200), cast::<i8, u16>(-1), cast::<i64, f32>(16_777_217)), (-56, 65535, 16_777_216.0));
    assert_eq!((cast::<f64, F16>(65504.0), cast::<i32, Bf16>(257)), (F16(0x7bff), Bf16(0x4380)));
}

#[test]
fn halves_round_once() {
    let h = F16::from_f32;
    assert_eq!(add(Portable, h(1.0), h(0.000_976_6)), h(1.000_976_6));
    assert_eq!(add(Portable, h(2048.0), h(1.0)), h(2048.0));
    assert!(lt(Portable, h(-1.0), h(0.5)) && eq(Portable, h(0.0), h(-0.0)));
    assert_eq!(exp(Portable, h(1.0)), h(core::f32::consts::E));
}

#[test]
fn special_functions() {
    let close = |a: f64, b: f64| assert!((a - b).abs() <= 1e-12 * b.abs().max(1e-3), "{a} {b}");
    close(digamma(Portable, 1.0), -0.577_215_664_901_532_9);
    close(digamma(Portable, 0.5), -1.963_510_026_021_423_5);
    close(digamma(Portable, -0.5), 0.036_489_973_978_576_52);
    close(digamma(Portable, 20.0), 2.970_523_992_242_149);
    assert!(digamma(Portable, -2.0f64).is_nan() && digamma(Portable, 0.0f64) == f64::NEG_INFINITY);
    close(erfinv(Portable, 0.5), 0.476_936_276_204_469_9);
    close(erfinv(Portable, -0.99), -1.821_386_367_718_449_7);
    assert_eq!(erfinv(Portable, 1.0f32), f32::INFINITY);
    close(lgamma(Portable, 0.5), 0.572_364_942_924_700_1);
    assert!(erfinv(Portable, 1.5f64).is_nan());
}

/// Names of formula nodes map to functions by this list; a missing one would surface only in generated code.
#[test]
fn documented_bounds_name_existing_functions() {
    let source = include_str!("mod.rs");
    let table: String = source.lines().filter(|l| l.starts_with("//! | `")).collect();
    for name in table.split('`').skip(1).step_by(2) {
        assert!(source.contains(&format!(" {name};")) || source.contains(&format!("fn {name}<")), "{name}");
    }
}

#[test]
fn nearest_rounds_half_to_even_and_keeps_the_side() {
    for x in [0.0f32, -0.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49999997, 127.5, -128.5, 4_194_303.5, -4_194_303.5] {
        assert_eq!(nearest(Portable, x), x.round_ties_even() as i32, "{x}");
    }
    for x in [5e6f32, 1.26e7, 1.7e7, 1e20, f32::MAX, f32::INFINITY] {
        assert!(nearest(Portable, x) >= 1 << 22, "{x}");
        assert!(nearest(Portable, -x) <= -(1 << 22), "{x}");
    }
}
