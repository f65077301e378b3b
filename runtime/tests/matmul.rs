//! Matrix products against sums in f64, at every level and both panel widths.

mod common;

use common::{Run, Values, assert_close, levels};
use exported_runtime::kernels::arith::{Arith, F32, Half, I8Weights, Plain};
use exported_runtime::kernels::matmul::{Linear, MatMul};
use exported_runtime::kernels::pack::{panels, panels_len};
use exported_runtime::{Bf16, F16, Level, N4, N16, dispatch};

const INF: f32 = f32::INFINITY;

fn packed<T: Copy + Default>(width: usize, k: usize, n: usize, at: impl Fn(usize, usize) -> T) -> Vec<T> {
    let mut to = vec![T::default(); panels_len(width, k, n)];
    panels(width, k, n, at, &mut to);
    to
}

#[derive(Clone)]
struct Case {
    m: usize,
    k: usize,
    n: usize,
    pad: usize,
    bias: bool,
    slope: bool,
    residual: u8,
    clamp: (f32, f32),
}

fn linear<P: Run>(case: &Case, level: Level, panel: P) -> Vec<f32> {
    let Case { m, k, n, pad, .. } = *case;
    let mut v = Values::new(7);
    let (x, w) = (v.vec(m * (k + pad)), v.vec(k * n));
    let bias = v.vec(if case.bias { n } else { 0 });
    let slope = v.vec(if case.slope { n } else { 0 });
    let mut y = v.vec(m * (n + pad));
    let residual = if case.residual == 1 { v.vec(m * (n + pad)) } else { vec![] };
    let before = y.clone();
    let mut expected: Vec<f64> = y.iter().map(|v| f64::from(*v)).collect();
    for i in 0..m {
        for j in 0..n {
            let mut sum: f64 = (0..k).map(|c| f64::from(x[i * (k + pad) + c]) * f64::from(w[c * n + j])).sum();
            let at = i * (n + pad) + j;
            sum += bias.get(j).map_or(0.0, |b| f64::from(*b));
            sum += residual.get(at).map_or(0.0, |b| f64::from(*b));
            if case.residual == 2 {
                sum += f64::from(before[at]);
            }
            if case.slope && sum < 0.0 {
                sum *= f64::from(slope[j]);
            }
            expected[at] = sum.clamp(f64::from(case.clamp.0), f64::from(case.clamp.1));
        }
    }
    let weights = packed(P::WIDTH, k, n, |c, j| w[c * n + j]);
    let op = Linear::<F32, P> {
        x: &x,
        weights: &weights,
        bias: Some(&bias),
        scale: None,
        zero_point: None,
        slope: Some(&slope),
        residual: Some(&residual),
        in_place: case.residual == 2,
        y: &mut y,
        rows: m,
        inner: k,
        columns: n,
        x_stride: k + pad,
        y_stride: n + pad,
        low: case.clamp.0,
        high: case.clamp.1,
        format: (),
        panel,
    };
    P::run(level, op);
    assert_close(&y, &expected, 1e-5 * (k as f64).sqrt().max(1.0), &format!("{m}x{k}x{n} {level:?}"));
    y
}

#[test]
fn linear_agrees_with_f64_sums() {
    let plain = Case { m: 0, k: 0, n: 0, pad: 0, bias: false, slope: false, residual: 0, clamp: (-INF, INF) };
    for level in levels() {
        for m in [0, 1, 2, 3, 4, 5, 6, 7, 11, 13, 16, 25, 64] {
            for (k, n) in [(0, 5), (1, 1), (7, 16), (33, 17), (64, 48), (130, 70), (3, 129), (9, 24)] {
                let case = Case { m, k, n, ..plain.clone() };
                linear(&case, level, N16);
                let full = Case { pad: 3, bias: true, slope: true, residual: (m % 3) as u8, ..case.clone() };
                linear(&full, level, N16);
                if level == Level::Portable {
                    linear(&case, level, N4);
                    linear(&full, level, N4);
                }
                let relu6 = Case { pad: 1, bias: true, clamp: (0.0, 0.6), ..case };
                linear(&relu6, level, N16);
            }
        }
    }
}

#[test]
fn portable_bits_do_not_depend_on_panel_or_tile() {
    let case = Case { m: 5, k: 77, n: 21, pad: 2, bias: true, slope: true, residual: 1, clamp: (-0.5, 2.0) };
    let (wide, narrow) = (linear(&case, Level::Portable, N16), linear(&case, Level::Portable, N4));
    assert!(wide.iter().zip(&narrow).all(|(a, b)| a.to_bits() == b.to_bits()));
    let single = Case { m: 1, ..case.clone() };
    let row = linear(&Case { pad: 0, residual: 0, ..single }, Level::Portable, N4);
    assert_eq!(row.len(), 21);
}

fn call<K: Arith<Format = ()>>(
    level: Level,
    x: &[K::X],
    w: &[K::W],
    extra: [&[K::A]; 3],
    y: &mut [K::Y],
    m: usize,
    (low, high): (K::A, K::A),
) {
    let [bias, scale, zero_point] = extra;
    let (k, n) = (x.len() / m, y.len() / m);
    let weights = packed(16, k, n, |c, j| w[c * n + j]);
    dispatch(
        level,
        Linear::<K, N16> {
            x,
            weights: &weights,
            bias: Some(bias),
            scale: Some(scale),
            zero_point: Some(zero_point),
            slope: None,
            residual: None,
            in_place: false,
            y,
            rows: m,
            inner: k,
            columns: n,
            x_stride: k,
            y_stride: n,
            low,
            high,
            format: (),
            panel: N16,
        },
    );
}

#[test]
fn nan_passes_the_clamp_and_infinities_are_cut() {
    for level in levels() {
        let mut y = [0.0; 2];
        call::<F32>(level, &[1.0], &[f32::NAN, INF], [&[], &[], &[]], &mut y, 1, (0.0, 6.0));
        assert!(y[0].is_nan() && y[1] == 6.0, "{level:?}: {y:?}");
    }
}

#[test]
fn i8_weights_are_dequantized_exactly() {
    for level in levels() {
        let (m, k, n) = (5, 37, 19);
        let mut v = Values::new(3);
        let x = v.vec(m * k);
        let w: Vec<i8> = (0..k * n).map(|_| v.below(256) as u8 as i8).collect();
        let scale: Vec<f32> = (0..n).map(|j| 0.01 + j as f32 * 1e-3).collect();
        let zero: Vec<f32> = (0..n).map(|j| j as f32 - 9.0).collect();
        let bias = v.vec(n);
        let mut y = vec![0.0; m * n];
        call::<I8Weights>(level, &x, &w, [&bias, &scale, &zero], &mut y, m, (-INF, INF));
        let mut expected = vec![];
        for i in 0..m {
            for j in 0..n {
                let sum: f64 = (0..k)
                    .map(|c| {
                        f64::from(x[i * k + c]) * (f64::from(w[c * n + j]) - f64::from(zero[j])) * f64::from(scale[j])
                    })
                    .sum();
                expected.push(sum + f64::from(bias[j]));
            }
        }
        assert_close(&y, &expected, 1e-4, "i8");
    }
}

#[test]
fn other_types() {
    for level in levels() {
        let mut y = [0i8; 2];
        call::<Plain<i8>>(level, &[100, 3], &[2, 1, 50, -1], [&[], &[], &[]], &mut y, 1, (i8::MIN, i8::MAX));
        assert_eq!(y, [350i32 as u8 as i8, 97], "wraps");
        let mut y = [0i64; 2];
        call::<Plain<i64>>(level, &[1 << 40, 3], &[2, 1, 50, -1], [&[], &[], &[]], &mut y, 1, (i64::MIN, i64::MAX));
        assert_eq!(y, [(1 << 41) + 150, (1 << 40) - 3]);
        let mut y = [0f64; 1];
        call::<Plain<f64>>(level, &[1.0, 1e-12], &[1.0, 1.0], [&[], &[], &[]], &mut y, 1, (0.0, f64::INFINITY));
        assert_eq!(y, [1.0 + 1e-12]);
        let half = |x: f32| F16::from_f32(x);
        let mut y = [F16(0); 1];
        call::<Half<F16>>(
            level,
            &[half(2048.0), half(1.0)],
            &[half(1.0), half(1.0)],
            [&[1.0], &[], &[]],
            &mut y,
            1,
            (-INF, INF),
        );
        assert_eq!(y[0].to_f32(), 2050.0, "one rounding, after the sum");
        let mut y = [Bf16(0); 1];
        call::<Half<Bf16>>(
            level,
            &[Bf16::from_f32(3.0)],
            &[Bf16::from_f32(0.5)],
            [&[], &[], &[]],
            &mut y,
            1,
            (-INF, INF),
        );
        assert_eq!(y[0].to_f32(), 1.5);
    }
}

#[test]
fn matmul_agrees_with_f64_sums_for_any_strides() {
    for level in levels() {
        for (m, k, n) in [(1, 5, 7), (3, 17, 16), (7, 33, 50), (64, 16, 64), (2, 0, 3)] {
            for transposed in [false, true] {
                for shared in [false, true] {
                    let (b0, b1) = (2, 3);
                    let mut v = Values::new(5);
                    let a = v.vec(b0 * m * b1 * (k + 1));
                    let b = v.vec(if shared { n * k } else { b0 * b1 * n * k });
                    let mut y = vec![9.0; b0 * b1 * m * (n + 2)];
                    let residual = v.vec(y.len());
                    // a as attention heads lie: [b0, m, b1, k].
                    let a_strides = [m * b1 * (k + 1), k + 1, b1 * (k + 1)];
                    let (bk, bn) = if transposed { (1, k) } else { (n, 1) };
                    let b_strides = if shared { [0, 0, bk, bn] } else { [b1 * n * k, n * k, bk, bn] };
                    let y_strides = [b1 * m * (n + 2), m * (n + 2), n + 2];
                    let mut expected: Vec<f64> = y.iter().map(|v| f64::from(*v)).collect();
                    for (i, j, r, c) in (0..b0 * b1 * m * n).map(|e| (e / n / m / b1, e / n / m % b1, e / n % m, e % n))
                    {
                        let dot: f64 = (0..k)
                            .map(|l| {
                                f64::from(a[i * a_strides[0] + j * a_strides[1] + r * a_strides[2] + l])
                                    * f64::from(b[i * b_strides[0] + j * b_strides[1] + l * bk + c * bn])
                            })
                            .sum();
                        let at = i * y_strides[0] + j * y_strides[1] + r * y_strides[2] + c;
                        expected[at] = dot + f64::from(residual[at]);
                    }
                    let mut scratch = vec![f32::NAN; panels_len(16, k, n)];
                    let op = MatMul::<F32, N16> {
                        a: &a,
                        b: &b,
                        bias: None,
                        residual: Some(&residual),
                        in_place: false,
                        y: &mut y,
                        scratch: &mut scratch,
                        batch: [b0, b1],
                        rows: m,
                        inner: k,
                        columns: n,
                        a_strides,
                        b_strides,
                        y_strides,
                        low: -INF,
                        high: INF,
                        panel: N16,
                    };
                    dispatch(level, op);
                    assert_close(&y, &expected, 1e-5, &format!("{m}x{k}x{n} {transposed} {level:?}"));
                }
            }
        }
    }
}

#[test]
fn short_slices_write_nothing() {
    let mut y = [7.0; 4];
    let op = Linear::<F32, N4> {
        x: &[1.0; 7],
        weights: &[1.0; 16],
        bias: None,
        scale: None,
        zero_point: None,
        slope: None,
        residual: None,
        in_place: false,
        y: &mut y,
        rows: 2,
        inner: 4,
        columns: 2,
        x_stride: 4,
        y_stride: 2,
        low: -INF,
        high: INF,
        format: (),
        panel: N4,
    };
    dispatch(Level::Portable, op);
    assert_eq!(y, [7.0; 4]);
}
