//! Reductions, normalization, scans, sorting, selection and recurrent layers against plain loops and hand-computed values.

mod common;

use common::{Values, levels};
use exported_runtime::kernels::index::{Combine, Gather, Index, IndexPut, IndexSelect, Nonzero, Scatter};
use exported_runtime::kernels::norm::LayerNorm;
use exported_runtime::kernels::reduce::{ArgMax, FloatSum, LogSumExp, Max, Mean, Sum, Var};
use exported_runtime::kernels::resample::{Curve, Interpolate, Nearest};
use exported_runtime::kernels::rnn::{Lstm, Shape};
use exported_runtime::kernels::scan::{CumMax, CumSum};
use exported_runtime::kernels::softmax::Softmax;
use exported_runtime::kernels::sort::{Method, Sort, TopK};
use exported_runtime::{Error, F16, Level, N4, N16, Panel, dispatch};

const INF: f32 = f32::INFINITY;
const NAN: f32 = f32::NAN;

/// Shapes around the widths of the drivers: rows, columns, tails, nothing.
const SHAPES: [[usize; 3]; 9] =
    [[1, 1, 1], [3, 17, 1], [2, 4500, 1], [2, 5, 16], [1, 300, 19], [2, 3, 40], [0, 3, 2], [2, 0, 3], [2, 3, 0]];

fn assert_close(found: &[f32], expected: &[f64], tolerance: f64) {
    common::assert_close(found, expected, tolerance, "result");
}

/// `f` of every column of `[outer, n, inner]`.
fn by_column(x: &[f32], [outer, n, inner]: [usize; 3], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let column = |o: usize, i: usize| -> Vec<f64> { (0..n).map(|k| f64::from(x[(o * n + k) * inner + i])).collect() };
    (0..outer * inner).map(|j| f(&column(j / inner, j % inner))).collect()
}

#[test]
fn sums_means_and_variances_of_every_shape() {
    for [outer, n, inner] in SHAPES {
        let x = Values::new(1).vec(outer * n * inner);
        let mut portable = vec![];
        for level in levels() {
            let mut y = vec![7.0; outer * inner];
            dispatch(level, FloatSum { x: &x, y: &mut y, outer, n, inner });
            assert_close(&y, &by_column(&x, [outer, n, inner], |c| c.iter().sum()), 1e-5);
            if level == Level::Portable {
                portable = y.clone();
            }
            assert_eq!(y, portable, "sums have the same bits at every level");
            if n > 0 {
                dispatch(level, Mean { x: &x, y: &mut y, outer, n, inner });
                assert_close(&y, &by_column(&x, [outer, n, inner], |c| c.iter().sum::<f64>() / n as f64), 1e-6);
                let mean = |c: &[f64]| c.iter().sum::<f64>() / n as f64;
                let var = |c: &[f64]| c.iter().map(|v| (v - mean(c)).powi(2)).sum::<f64>() / n as f64;
                dispatch(level, Var { x: &x, y: &mut y, outer, n, inner, correction: 0.0, root: false });
                assert_close(&y, &by_column(&x, [outer, n, inner], var), 1e-6);
            }
        }
    }
}

#[test]
fn integers_are_summed_in_i64() {
    let x = [i32::MAX, i32::MAX, -1, 5];
    let mut y = [0i64; 2];
    dispatch(Level::detect(), Sum { x: &x, y: &mut y, outer: 2, n: 2, inner: 1 });
    assert_eq!(y, [2 * i64::from(i32::MAX), 4]);
}

#[test]
fn extremes_of_nan_and_ties() {
    let x = [1.0, 3.0, 3.0, -INF, NAN, 5.0, NAN, 2.0];
    for level in levels() {
        let (mut value, mut at) = ([0.0f32; 2], [9i64; 2]);
        dispatch(level, Max { x: &x, y: &mut value, outer: 2, n: 4, inner: 1 });
        assert!(value[0] == 3.0 && value[1].is_nan());
        dispatch(level, ArgMax { x: &x, y: &mut at, outer: 2, n: 4, inner: 1 });
        assert_eq!(at, [1, 0]);
        let mut columns = [9i64; 4];
        dispatch(level, ArgMax { x: &x, y: &mut columns, outer: 1, n: 2, inner: 4 });
        assert_eq!(columns, [1, 1, 1, 1]);
    }
}

#[test]
fn logsumexp_keeps_infinities() {
    let x = [-INF, -INF, INF, 0.0, 1000.0, 1000.0];
    let mut y = [0.0f32; 3];
    dispatch(Level::detect(), LogSumExp { x: &x, y: &mut y, outer: 3, n: 2, inner: 1 });
    assert_eq!(y[..2], [-INF, INF]);
    assert_close(&y[2..], &[1000.0 + 2f64.ln()], 1e-6);
}

#[test]
fn softmax_rows_and_columns_agree() {
    let (outer, n, inner) = (2, 37, 18);
    let x = Values::new(3).vec(outer * n * inner);
    for level in levels() {
        let mut y = vec![0.0; x.len()];
        dispatch(level, Softmax { x: &x, y: &mut y, outer, n, inner });
        for o in 0..outer {
            for i in 0..inner {
                let at = |k: usize| (o * n + k) * inner + i;
                let row: Vec<f32> = (0..n).map(|k| x[at(k)]).collect();
                let mut one = vec![0.0; n];
                dispatch(level, Softmax { x: &row, y: &mut one, outer: 1, n, inner: 1 });
                let total: f64 = row.iter().map(|v| f64::from(*v).exp()).sum();
                let expected: Vec<f64> = row.iter().map(|v| f64::from(*v).exp() / total).collect();
                assert_close(&one, &expected, 1e-6);
                assert_close(&(0..n).map(|k| y[at(k)]).collect::<Vec<_>>(), &expected, 1e-6);
            }
        }
    }
    let masked = [-INF, -INF];
    let mut y = [0.0; 2];
    dispatch(Level::detect(), Softmax { x: &masked, y: &mut y, outer: 1, n: 2, inner: 1 });
    assert!(y.iter().all(|v| v.is_nan()), "as torch");
}

#[test]
fn halves_are_rounded_once() {
    let x: Vec<F16> = (0..2000).map(|_| F16::from_f32(1.0)).collect();
    let mut y = [F16::default()];
    dispatch(Level::detect(), FloatSum { x: &x, y: &mut y, outer: 1, n: 2000, inner: 1 });
    assert_eq!(y[0].to_f32(), 2000.0);
}

#[test]
fn layer_norm_without_weight() {
    let x = [1.0, 2.0, 3.0, 4.0, 5.0, 5.0, 5.0, 5.0];
    let mut y = [0.0f32; 8];
    let bias = [1.0, 0.0, 0.0, 0.0];
    dispatch(Level::detect(), LayerNorm { x: &x, y: &mut y, weight: &[], bias: &bias, rows: 2, n: 4, eps: 0.25 });
    let r = 1.0 / 1.5f64.sqrt();
    assert_close(&y, &[1.0 - 1.5 * r, -0.5 * r, 0.5 * r, 1.5 * r, 1.0, 0.0, 0.0, 0.0], 1e-6);
}

#[test]
fn slices_of_other_lengths_are_left_alone() {
    let mut y = [7.0f32; 3];
    dispatch(Level::detect(), FloatSum { x: &[1.0; 5], y: &mut y, outer: 3, n: 2, inner: 1 });
    dispatch(Level::detect(), Softmax { x: &[1.0; 3], y: &mut y, outer: usize::MAX, n: 2, inner: usize::MAX });
    dispatch(Level::detect(), CumSum { x: &[1.0; 2], y: &mut y, outer: 1, n: 3, inner: 1 });
    assert_eq!(y, [7.0; 3]);
}

#[test]
fn running_sums_are_compensated() {
    let x = vec![0.1f32; 10_000];
    let mut y = vec![0.0; x.len()];
    dispatch(Level::detect(), CumSum { x: &x, y: &mut y, outer: 1, n: x.len(), inner: 1 });
    let exact = f64::from(0.1f32) * 10_000.0;
    assert!((f64::from(y[9999]) - exact).abs() < 1e-4);
    let x = [1.0, INF, 2.0, -INF];
    let mut y = [0.0; 4];
    dispatch(Level::detect(), CumSum { x: &x, y: &mut y, outer: 1, n: 4, inner: 1 });
    assert!(y[..3] == [1.0, INF, INF] && y[3].is_nan());
}

#[test]
fn running_maximum_takes_the_last_of_equals() {
    let x = [2.0, 2.0, 1.0, NAN, 5.0];
    let (mut values, mut indices) = ([0.0f32; 5], [0i64; 5]);
    dispatch(Level::detect(), CumMax { x: &x, values: &mut values, indices: &mut indices, outer: 1, n: 5, inner: 1 });
    assert_eq!(values[..3], [2.0, 2.0, 2.0]);
    assert_eq!(indices, [0, 1, 1, 3, 3]);
}

#[test]
fn sorting_is_stable_and_puts_nan_at_the_end() {
    for n in [0, 1, 2, 7, 64, 333] {
        let x: Vec<f32> = Values::new(n as u64).vec(n).iter().map(|v| (v * 3.0).round()).collect();
        let (mut values, mut indices) = (vec![0.0; n], vec![0; n]);
        let (values_of, indices_of) = (&mut values[..], &mut indices[..]);
        let method = Method::Stable;
        let sort = Sort { x: &x, values: values_of, indices: indices_of, rows: 1, n, descending: true, method };
        dispatch(Level::detect(), sort);
        let mut expected: Vec<i64> = (0..n as i64).collect();
        expected.sort_by(|&a, &b| x[b as usize].partial_cmp(&x[a as usize]).expect("no NaN").then(a.cmp(&b)));
        let keys = |order: &[i64]| order.iter().map(|&i| x[i as usize]).collect::<Vec<f32>>();
        assert_eq!(values, keys(&indices));
        assert_eq!(keys(&indices), keys(&expected));
        assert!(indices.windows(2).all(|w| x[w[0] as usize] > x[w[1] as usize] || w[0] < w[1]));
    }
    let x = [1.0, NAN, -1.0, 3.0];
    let (mut values, mut indices) = ([0.0f32; 2], [0i64; 2]);
    let mut scratch = [0; 4];
    let (values_of, indices_of) = (&mut values[..], &mut indices[..]);
    let (largest, sorted) = (true, true);
    let top = TopK {
        x: &x,
        values: values_of,
        indices: indices_of,
        scratch: &mut scratch,
        rows: 1,
        n: 4,
        k: 2,
        largest,
        sorted,
    };
    dispatch(Level::detect(), top);
    assert_eq!(indices, [1, 3]);
    let (values_of, indices_of) = (&mut values[..], &mut indices[..]);
    let largest = false;
    let least = TopK {
        x: &x,
        values: values_of,
        indices: indices_of,
        scratch: &mut scratch,
        rows: 1,
        n: 4,
        k: 2,
        largest,
        sorted,
    };
    dispatch(Level::detect(), least);
    assert_eq!((values, indices), ([-1.0, 1.0], [2, 0]));
}

#[test]
fn indices_outside_are_errors() {
    let x = [0.0f32, 1.0, 2.0, 3.0];
    let mut y = [9.0f32; 2];
    let mut select = |ids: [i64; 2]| {
        let op = IndexSelect { x: &x, ids: &ids, y: &mut y, outer: 1, n: 4, inner: 1 };
        dispatch(Level::detect(), op).map(|()| y)
    };
    assert_eq!(select([3, 0]), Ok([3.0, 0.0]));
    assert_eq!(select([0, 4]), Err(Error::IndexOutOfRange { index: 4, size: 4 }));
    assert_eq!(select([-1, 0]), Err(Error::IndexOutOfRange { index: -1, size: 4 }));
    assert_eq!(select([i64::MIN, 0]), Err(Error::IndexOutOfRange { index: i64::MIN, size: 4 }));

    let (mut rows, mut count) = ([7i64; 8], [0i64]);
    let op = Nonzero { x: &[0, 1, 1, 0, 0, 1], y: &mut rows, count: &mut count, shape: [2, 3] };
    dispatch(Level::detect(), op);
    assert_eq!((rows, count), ([0, 1, 0, 2, 1, 2, 7, 7], [3]));
    // Less room than true elements: what fits is written, and counted.
    dispatch(Level::detect(), Nonzero { x: &[1; 6], y: &mut rows[..4], count: &mut count, shape: [2, 3] });
    assert_eq!((rows[..4].to_vec(), count), (vec![0, 0, 0, 1], [2]));

    let index = Index { x: &x, index: [&[-1i32, 0], &[0, -2]], y: &mut y, outer: 1, sizes: [2, 2], k: 2, inner: 1 };
    assert_eq!(dispatch(Level::detect(), index), Ok(()));
    assert_eq!(y, [2.0, 0.0]);
    let index = Index { x: &x, index: [&[-3i32, 0], &[0, 0]], y: &mut y, outer: 1, sizes: [2, 2], k: 2, inner: 1 };
    assert_eq!(dispatch(Level::detect(), index), Err(Error::IndexOutOfRange { index: -3, size: 2 }));
}

#[test]
fn repeated_indices_accumulate_in_order() {
    let mut y = [1i64, 2, 3];
    let put = IndexPut {
        y: &mut y,
        index: [&[2i64, 2, -3]],
        values: &[10, 20, 30],
        outer: 1,
        sizes: [3],
        k: 3,
        inner: 1,
        accumulate: true,
    };
    assert_eq!(dispatch(Level::detect(), put), Ok(()));
    assert_eq!(y, [31, 2, 33]);
}

#[test]
fn gather_and_scatter_within_a_larger_tensor() {
    let x: Vec<f32> = (0..12).map(|v| v as f32).collect();
    let index = [2i64, 0, 1, 1];
    let mut y = [0.0; 4];
    let (shape, strides) = ([2, 2], [4, 1]);
    dispatch(Level::detect(), Gather { x: &x, index: &index, y: &mut y, shape, strides, dim: 0, size: 3 })
        .expect("fits");
    assert_eq!(y, [8.0, 1.0, 4.0, 5.0]);
    let mut z = vec![0.0; 12];
    let src = [1.0, 2.0, 3.0, 4.0];
    let combine = Combine::Add;
    let scatter = Scatter { y: &mut z, index: &index, src: &src, shape, strides, dim: 1, size: 4, combine };
    dispatch(Level::detect(), scatter).expect("fits");
    assert_eq!(z, [2.0, 0.0, 1.0, 0.0, 0.0, 7.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
}

#[test]
fn interpolation_by_hand() {
    let x = [0.0, 10.0, 20.0];
    let one = |n: usize| [1, 1, n];
    let linear = |align_corners: bool, n: usize| {
        let mut y = vec![0.0f32; n];
        dispatch(
            Level::detect(),
            Interpolate {
                x: &x,
                y: &mut y,
                outer: 1,
                input: one(3),
                output: one(n),
                inner: 1,
                ratio: [0.0; 3],
                align_corners,
                curve: Curve::Linear,
            },
        );
        y
    };
    assert_eq!(linear(true, 5), [0.0, 5.0, 10.0, 15.0, 20.0]);
    assert_eq!(linear(false, 6), [0.0, 2.5, 7.5, 12.5, 17.5, 20.0]);
    assert_eq!(linear(true, 1), [0.0]);
    let mut y = [0.0f32; 5];
    let nearest = |y: &mut [f32], exact| {
        let (input, output, ratio) = (one(3), one(5), [0.0; 3]);
        dispatch(Level::detect(), Nearest { x: &x, y, outer: 1, input, output, inner: 1, ratio, exact });
    };
    nearest(&mut y, false);
    assert_eq!(y, [0.0, 0.0, 10.0, 10.0, 20.0]);
    nearest(&mut y, true);
    assert_eq!(y, [0.0, 0.0, 10.0, 20.0, 20.0]);
}

/// Two planes of two channels: bilinear between pixel centres, and the nearest.
#[test]
fn interpolation_of_planes_and_channels() {
    let axis = |i: usize, from: usize, to: usize| {
        let at = ((i as f64 + 0.5) * from as f64 / to as f64 - 0.5).max(0.0);
        let low = (at as usize).min(from - 1);
        (low, (low + 1).min(from - 1), at - low as f64)
    };
    for [h, w, rows, columns] in [[3, 4, 5, 8], [3, 4, 2, 9], [2, 19, 4, 27], [5, 1, 3, 1]] {
        for (outer, inner) in [(4, 1), (2, 2)] {
            let x = Values::new(5).vec(4 * h * w);
            let at = |o: usize, r: usize, c: usize, k: usize| f64::from(x[((o * h + r) * w + c) * inner + k]);
            let mut expected = vec![];
            for i in 0..outer * rows * columns * inner {
                let (k, c, r) = (i % inner, i / inner % columns, i / inner / columns % rows);
                let (o, (top, bottom, v)) = (i / inner / columns / rows, axis(r, h, rows));
                let (left, right, u) = axis(c, w, columns);
                let line = |r: usize| at(o, r, left, k) * (1.0 - u) + at(o, r, right, k) * u;
                expected.push(line(top) * (1.0 - v) + line(bottom) * v);
            }
            for level in levels() {
                let mut y = vec![7.0f32; expected.len()];
                let (input, output, ratio) = ([1, h, w], [1, rows, columns], [0.0; 3]);
                let curve = Curve::Linear;
                let x = &x;
                dispatch(
                    level,
                    Interpolate { x, y: &mut y, outer, input, output, inner, ratio, align_corners: false, curve },
                );
                assert_close(&y, &expected, 1e-5);
                dispatch(level, Nearest { x, y: &mut y, outer, input, output, inner, ratio, exact: false });
                for (i, y) in y.iter().enumerate() {
                    let (k, c, r) = (i % inner, i / inner % columns, i / inner / columns % rows);
                    let near = at(i / inner / columns / rows, r * h / rows, c * w / columns, k);
                    assert_eq!(f64::from(*y), near, "{h}x{w} to {rows}x{columns} at {i}");
                }
            }
        }
    }
}

/// As torch has it: a weight of 0 counts, a dim that the image does not have does not.
#[test]
fn interpolation_beside_an_infinity() {
    let mut x = [1.0f32; 9];
    x[4] = INF;
    let mut y = [0.0f32; 25];
    let (input, output, ratio) = ([1, 3, 3], [1, 5, 5], [0.0; 3]);
    let curve = Curve::Linear;
    dispatch(
        Level::detect(),
        Interpolate { x: &x, y: &mut y, outer: 1, input, output, inner: 1, ratio, align_corners: true, curve },
    );
    let words: Vec<String> = y.iter().map(f32::to_string).collect();
    let rows: Vec<String> = words.chunks(5).map(|row| row.join(" ")).collect();
    let inside = "NaN inf inf inf 1";
    assert_eq!(rows, ["NaN NaN NaN NaN 1", inside, inside, inside, "1 1 1 1 1"]);
}

/// One LSTM layer in f64, weights as PyTorch stores them.
fn lstm(x: &[f32], w: [&[f32]; 4], [steps, input, hidden]: [usize; 3], h: &mut [f64], c: &mut [f64]) {
    let sigmoid = |v: f64| 1.0 / (1.0 + (-v).exp());
    for t in 0..steps {
        let old = h.to_vec();
        let gate = |g: usize, u: usize| {
            let row = g * hidden + u;
            let wx: f64 = (0..input).map(|i| f64::from(w[0][row * input + i]) * f64::from(x[t * input + i])).sum();
            let wh: f64 = (0..hidden).map(|i| f64::from(w[1][row * hidden + i]) * old[i]).sum();
            wx + wh + f64::from(w[2][row]) + f64::from(w[3][row])
        };
        for u in 0..hidden {
            c[u] = sigmoid(gate(1, u)) * c[u] + sigmoid(gate(0, u)) * gate(2, u).tanh();
            h[u] = sigmoid(gate(3, u)) * c[u].tanh();
        }
    }
}

/// `[gate * hidden, k]` → `[block][k][gate][width]`.
fn pack(w: &[f32], hidden: usize, width: usize) -> Vec<f32> {
    let k = w.len() / (4 * hidden);
    let unit = |b: usize, i: usize, g: usize, l: usize| match b * width + l < hidden {
        true => w[(g * hidden + b * width + l) * k + i],
        false => 0.0,
    };
    let mut packed = vec![];
    for b in 0..hidden.div_ceil(width) {
        for i in 0..k {
            (0..4 * width).for_each(|j| packed.push(unit(b, i, j / width, j % width)));
        }
    }
    packed
}

fn check_lstm<P: Panel>(level: Level, panel: P) {
    let [steps, input, hidden] = [4, 5, 19];
    let mut v = Values::new(11);
    let x = v.vec(steps * input);
    let sizes = [4 * hidden * input, 4 * hidden * hidden, 4 * hidden, 4 * hidden];
    let w: Vec<Vec<f32>> = sizes.iter().map(|&n| v.vec(n)).collect();
    let (mut h, mut c) = (v.vec(hidden), v.vec(hidden));
    let [mut eh, mut ec] = [&h, &c].map(|s| s.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>());
    lstm(&x, [&w[0], &w[1], &w[2], &w[3]], [steps, input, hidden], &mut eh, &mut ec);
    let (mut y, mut next) = (vec![0.0; steps * hidden], vec![0.0; hidden]);
    let packed: Vec<Vec<f32>> = w.iter().map(|w| pack(w, hidden, P::WIDTH)).collect();
    let shape =
        Shape { steps, batch: 1, input, hidden, x_step: input, x_batch: 0, y_step: hidden, y_batch: 0, reverse: false };
    dispatch(
        level,
        Lstm {
            x: &x,
            y: &mut y,
            h: &mut h,
            c: &mut c,
            next: &mut next,
            w_x: &packed[0],
            w_h: &packed[1],
            b_x: &packed[2],
            b_h: &packed[3],
            shape,
            panel,
        },
    );
    assert_close(&h, &eh, 2e-6);
    assert_close(&c, &ec, 2e-6);
    assert_eq!(y[(steps - 1) * hidden..], h);
}

#[test]
fn lstm_against_plain_loops() {
    for level in levels() {
        check_lstm(level, N4);
        check_lstm(level, N16);
    }
}
