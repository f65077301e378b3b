//! Pooling against direct loops over windows, at every level, channels last and first.
#![allow(clippy::needless_range_loop)]

mod common;

use common::{Values, assert_close, levels};
use exported_runtime::kernels::arith::{Arith, F32, Half, Plain};
use exported_runtime::kernels::pool::{AdaptivePool, AvgPool, MaxPool};
use exported_runtime::simd::Num;
use exported_runtime::{F16, Level, N4, N16, Panel, dispatch};

#[derive(Clone, Debug)]
struct Case {
    batch: usize,
    channels: usize,
    size: [usize; 3],
    kernel: [usize; 3],
    stride: [usize; 3],
    padding: [usize; 3],
    dilation: [usize; 3],
    ceil: bool,
    channels_first: bool,
}

impl Case {
    fn random(v: &mut Values, max: bool) -> Case {
        let mut case = Case {
            batch: 1 + v.below(2),
            channels: [1, 3, 4, 16, 21, 40][v.below(6)],
            size: [1; 3],
            kernel: [1; 3],
            stride: [1; 3],
            padding: [0; 3],
            dilation: [1; 3],
            ceil: v.below(2) == 0,
            channels_first: v.below(2) == 0,
        };
        for d in v.below(3)..3 {
            case.kernel[d] = 1 + v.below(3);
            case.stride[d] = 1 + v.below(3);
            case.padding[d] = v.below(case.kernel[d] / 2 + 1);
            case.dilation[d] = if max { 1 + v.below(2) } else { 1 };
            case.size[d] = case.dilation[d] * (case.kernel[d] - 1) + 1 + v.below(6);
        }
        case
    }

    /// torch's `pooling_output_shape`.
    fn out(&self) -> [usize; 3] {
        std::array::from_fn(|d| {
            let span = self.size[d] + 2 * self.padding[d] - self.dilation[d] * (self.kernel[d] - 1) - 1;
            let mut out = if self.ceil { span.div_ceil(self.stride[d]) } else { span / self.stride[d] } + 1;
            if self.ceil && (out - 1) * self.stride[d] >= self.size[d] + self.padding[d] {
                out -= 1;
            }
            out
        })
    }

    fn strides(&self, [d, h, w]: [usize; 3]) -> [usize; 5] {
        let c = self.channels;
        if self.channels_first {
            [c * d * h * w, d * h * w, h * w, w, 1]
        } else {
            [c * d * h * w, 1, h * w * c, w * c, c]
        }
    }
}

/// Calls `f(output offset, input values of the window with their flat index, padded count)` for every output.
fn windows(case: &Case, out: [usize; 3], x: &[f32], mut f: impl FnMut(usize, Vec<(f32, i64)>, i64)) {
    let (xs, ys) = (case.strides(case.size), case.strides(out));
    for n in 0..case.batch {
        for c in 0..case.channels {
            for o in 0..out.iter().product() {
                let q = [o / out[1] / out[2], o / out[2] % out[1], o % out[2]];
                let mut list = vec![];
                let mut padded = 1;
                let start: [i64; 3] = std::array::from_fn(|d| (q[d] * case.stride[d]) as i64 - case.padding[d] as i64);
                for d in 0..3 {
                    padded *=
                        (start[d] + case.kernel[d] as i64).min((case.size[d] + case.padding[d]) as i64) - start[d];
                }
                for k in 0..case.kernel.iter().product() {
                    let k: [usize; 3] =
                        [k / case.kernel[1] / case.kernel[2], k / case.kernel[2] % case.kernel[1], k % case.kernel[2]];
                    let at: [i64; 3] = std::array::from_fn(|d| start[d] + (k[d] * case.dilation[d]) as i64);
                    if (0..3).all(|d| at[d] >= 0 && at[d] < case.size[d] as i64) {
                        let at = at.map(|a| a as usize);
                        let offset = n * xs[0] + c * xs[1] + (0..3).map(|d| at[d] * xs[d + 2]).sum::<usize>();
                        list.push((x[offset], ((at[0] * case.size[1] + at[1]) * case.size[2] + at[2]) as i64));
                    }
                }
                f(n * ys[0] + c * ys[1] + (0..3).map(|d| q[d] * ys[d + 2]).sum::<usize>(), list, padded);
            }
        }
    }
}

fn largest(window: &[(f32, i64)]) -> (f32, i64) {
    let mut best = (f32::NEG_INFINITY, window.first().map_or(0, |w| w.1));
    for &(value, at) in window {
        if value > best.0 || value.is_nan() {
            best = (value, at);
        }
    }
    best
}

fn max_pool<P: Panel>(case: &Case, level: Level, panel: P, with_indices: bool) {
    let out = case.out();
    let mut v = Values::new(9);
    let mut x = v.vec(case.batch * case.channels * case.size.iter().product::<usize>());
    for i in 0..x.len() {
        x[i] = match i % 37 {
            0 => f32::NAN,
            1..4 => f32::NEG_INFINITY,
            _ => x[i],
        };
    }
    let len = case.batch * case.channels * out.iter().product::<usize>();
    let (mut y, mut indices) = (vec![0.0; len], vec![-1; if with_indices { len } else { 0 }]);
    let (mut expected, mut places) = (vec![0.0; len], vec![0; len]);
    windows(case, out, &x, |at, window, _| {
        let (value, place) = largest(&window);
        (expected[at], places[at]) = (f64::from(value), place);
    });
    let Case { batch, channels, size, kernel, stride, padding, dilation, .. } = case.clone();
    let (x_strides, y_strides) = (case.strides(size), case.strides(out));
    let op = MaxPool::<F32, P> {
        x: &x,
        y: &mut y,
        indices: with_indices.then_some(&mut indices[..]),
        batch,
        channels,
        size,
        out,
        kernel,
        stride,
        padding,
        dilation,
        x_strides,
        y_strides,
        panel,
    };
    dispatch(level, op);
    assert_close(&y, &expected, 0.0, &format!("{case:?} {level:?}"));
    if with_indices {
        assert_eq!(indices, places, "{case:?}");
    }
}

fn avg_pool<P: Panel>(case: &Case, level: Level, panel: P, count_include_pad: bool, divisor: usize) {
    let out = case.out();
    let x = Values::new(9).vec(case.batch * case.channels * case.size.iter().product::<usize>());
    let len = case.batch * case.channels * out.iter().product::<usize>();
    let (mut y, mut expected) = (vec![9.0; len], vec![0.0; len]);
    windows(case, out, &x, |at, window, padded| {
        let sum: f64 = window.iter().map(|w| f64::from(w.0)).sum();
        let count = match (divisor, count_include_pad) {
            (0, true) => padded,
            (0, false) => window.len() as i64,
            (divisor, _) => divisor as i64,
        };
        expected[at] = sum / count.max(1) as f64;
    });
    let Case { batch, channels, size, kernel, stride, padding, .. } = case.clone();
    let (x_strides, y_strides) = (case.strides(size), case.strides(out));
    let op = AvgPool::<F32, P> {
        x: &x,
        y: &mut y,
        batch,
        channels,
        size,
        out,
        kernel,
        stride,
        padding,
        count_include_pad,
        divisor,
        x_strides,
        y_strides,
        format: (),
        low: f32::NEG_INFINITY,
        high: f32::INFINITY,
        panel,
    };
    dispatch(level, op);
    assert_close(&y, &expected, 1e-6, &format!("{case:?} {level:?} {count_include_pad} {divisor}"));
}

#[test]
fn max_pool_with_any_parameters() {
    let mut v = Values::new(3);
    for i in 0..150 {
        let case = Case::random(&mut v, true);
        for level in levels() {
            max_pool(&case, level, N16, i % 2 == 0);
            max_pool(&case, level, N4, i % 2 == 1);
        }
    }
}

#[test]
fn avg_pool_with_any_parameters() {
    let mut v = Values::new(4);
    for i in 0..150 {
        let case = Case::random(&mut v, false);
        for level in levels() {
            avg_pool(&case, level, N16, i % 2 == 0, if i % 3 == 0 { 5 } else { 0 });
            avg_pool(&case, level, N4, i % 2 == 1, 0);
        }
    }
}

#[test]
fn ceil_mode_windows_beyond_the_padding_do_not_count() {
    // torch.nn.functional.avg_pool1d([1, 2, 3, 4], 3, 2, padding=1, ceil_mode=True) = [1, 3, 2]: the last window spans
    // positions 3 and 4 (padding); position 5 is beyond it.
    for (include, expected) in [(true, [1.0, 3.0, 2.0]), (false, [1.5, 3.0, 4.0])] {
        let mut y = [0.0; 3];
        let op = AvgPool::<F32, N4> {
            x: &[1.0, 2.0, 3.0, 4.0],
            y: &mut y,
            batch: 1,
            channels: 1,
            size: [1, 1, 4],
            out: [1, 1, 3],
            kernel: [1, 1, 3],
            stride: [1, 1, 2],
            padding: [0, 0, 1],
            count_include_pad: include,
            divisor: 0,
            x_strides: [4, 4, 4, 4, 1],
            y_strides: [3, 3, 3, 3, 1],
            format: (),
            low: f32::NEG_INFINITY,
            high: f32::INFINITY,
            panel: N4,
        };
        dispatch(Level::Portable, op);
        assert_eq!(y, expected);
    }
}

fn adaptive<K: Arith<Format = ()>>(
    level: Level,
    x: &[K::X],
    y: &mut [K::Y],
    indices: &mut [i64],
    max: bool,
    size: usize,
    channels: usize,
) {
    let out = y.len() / channels;
    let least = K::A::LEAST;
    let bounds = (least, K::A::ZERO.minus(least));
    let op = AdaptivePool::<K, N16> {
        x,
        y,
        indices: (!indices.is_empty()).then_some(indices),
        max,
        batch: 1,
        channels,
        size: [1, 1, size],
        out: [1, 1, out],
        x_strides: [size * channels, 1, size * channels, size * channels, channels],
        y_strides: [out * channels, 1, out * channels, out * channels, channels],
        format: (),
        low: bounds.0,
        high: bounds.1,
        panel: N16,
    };
    dispatch(level, op);
}

#[test]
fn adaptive_parts_overlap_where_sizes_do_not_divide() {
    for level in levels() {
        // torch.nn.functional.adaptive_avg_pool1d([1, 2, 3, 4, 5], 3) = [1.5, 3, 4.5].
        let mut y = [0.0f32; 3];
        adaptive::<F32>(level, &[1.0, 2.0, 3.0, 4.0, 5.0], &mut y, &mut [], false, 5, 1);
        assert_eq!(y, [1.5, 3.0, 4.5]);
        let (mut y, mut at) = ([0.0f32; 2], [0; 2]);
        adaptive::<F32>(level, &[1.0, 5.0, 3.0, 5.0, 2.0], &mut y, &mut at, true, 5, 1);
        assert_eq!((y, at), ([5.0, 5.0], [1, 3]));
        // More parts than positions.
        let mut y = [0.0f32; 4];
        adaptive::<F32>(level, &[1.0, 2.0], &mut y, &mut [], false, 2, 1);
        assert_eq!(y, [1.0, 1.0, 2.0, 2.0]);
        let mut y = [0.0f32; 20];
        let x: Vec<f32> = (0..60).map(|i| i as f32).collect();
        adaptive::<F32>(level, &x, &mut y, &mut [], false, 3, 20);
        assert!((0..20).all(|c| y[c] == 20.0 + c as f32), "{y:?}");
    }
}

#[test]
fn other_types() {
    for level in levels() {
        let mut y = [0u8; 2];
        adaptive::<Plain<u8>>(level, &[0, 7, 200, 3], &mut y, &mut [], true, 4, 1);
        assert_eq!(y, [7, 200]);
        let mut y = [0i64; 2];
        adaptive::<Plain<i64>>(level, &[-3, i64::MIN, i64::MAX, 3], &mut y, &mut [], true, 2, 2);
        assert_eq!(y, [i64::MAX, 3]);
        let mut y = [F16(0); 1];
        let x: Vec<F16> = [1.0, 2.0, 4.0].map(F16::from_f32).into();
        adaptive::<Half<F16>>(level, &x, &mut y, &mut [], false, 3, 1);
        assert_eq!(y[0], F16::from_f32(7.0 / 3.0));
    }
}
