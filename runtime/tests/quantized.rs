//! Kernels on integers against sums in i64 and exact rational rounding: ties, zero points, padding, saturation.

mod common;

use common::{Values, levels, rounds};
use exported_runtime::kernels::arith::{Narrow, Quantized, Rescale, rescaled};
use exported_runtime::kernels::bytes::{Lookup, MatMul, Softmax};
use exported_runtime::kernels::conv::{AnyStretch, Conv, scratch_len};
use exported_runtime::kernels::depthwise::{AnyWindow, Depthwise};
use exported_runtime::kernels::dot4;
use exported_runtime::kernels::matmul::Linear;
use exported_runtime::kernels::pack::{panels, panels_len};
use exported_runtime::kernels::pool::{AdaptivePool, AvgPool};
use exported_runtime::{Level, N4, N16, Panel, dispatch};

/// `sum * factor / 2^shift` rounded half to even, by remainder.
fn rounded(sum: i64, factor: i64, shift: u32) -> i64 {
    let (product, unit) = (i128::from(sum) * i128::from(factor), 1i128 << shift);
    let (floor, rest) = (product.div_euclid(unit), product.rem_euclid(unit) * 2);
    let up = rest > unit || (rest == unit && floor & 1 == 1);
    (floor + i128::from(up)) as i64
}

fn finish(sum: i64, factor: i32, format: Rescale, (low, high): (i32, i32)) -> i64 {
    let value = rounded(sum, i64::from(factor), format.shift) + i64::from(format.output_zero);
    value.clamp(i64::from(low), i64::from(high))
}

#[test]
fn rescaling_rounds_half_to_even() {
    for (x, expected) in [(1, 0), (3, 2), (5, 2), (7, 4), (-1, 0), (-3, -2), (-5, -2), (2, 1), (-2, -1), (0, 0)] {
        assert_eq!(rescaled(x, 1 << 20, 21), expected, "{x} / 2");
    }
    let mut v = Values::new(1);
    for _ in 0..20_000 {
        let (x, factor) = (v.next() as i32 >> v.below(24), (v.next() >> 33) as i32);
        let shift = 31 + v.below(32) as u32 % 31;
        assert_eq!(
            i64::from(rescaled(x, factor, shift)),
            rounded(x.into(), factor.into(), shift),
            "{x} {factor} {shift}"
        );
    }
    assert_eq!(rescaled(i32::MAX, i32::MAX, 62), 1);
    assert_eq!(rescaled(i32::MIN, i32::MAX, 62), -1);
}

/// A convolution of `groups` groups of `channels` to `columns` channels, dims `[d, h, w]`.
struct Case {
    groups: usize,
    channels: usize,
    columns: usize,
    size: [usize; 3],
    kernel: [usize; 3],
    stride: [usize; 3],
    dilation: [usize; 3],
    padding: [usize; 3],
    format: Rescale,
    bounds: (i32, i32),
}

impl Case {
    fn random(v: &mut Values, depthwise: bool) -> Case {
        let groups = if depthwise { 1 + v.below(37) } else { 1 + v.below(3) };
        let planes = if !depthwise && v.below(4) == 0 { 3 } else { 1 };
        let kernel = [1 + v.below(planes), 1 + v.below(3), 1 + v.below(4)];
        let dilation = [1 + v.below(planes.min(2)), 1 + v.below(2), 1 + v.below(2)];
        let padding = [v.below(planes), v.below(3), v.below(4)];
        let reach = |d: usize| dilation[d] * (kernel[d] - 1);
        let more = [planes, 6, 24];
        let size = [0, 1, 2].map(|d: usize| (1 + reach(d) + v.below(more[d])).saturating_sub(padding[d]).max(1));
        let zero = |v: &mut Values| v.below(256) as i32 - 128;
        let (input_zero, output_zero) = (zero(v), zero(v));
        Case {
            groups,
            channels: if depthwise { 1 } else { [1, 2, 3, 5, 16, 40, 150][v.below(7)] },
            columns: if depthwise { 1 } else { 1 + v.below(35) },
            size,
            kernel,
            stride: [1 + v.below(planes), 1 + v.below(3), 1 + v.below(3)],
            dilation,
            padding,
            format: Rescale { input_zero, output_zero, factor: 0, shift: 32 + v.below(8) as u32 },
            bounds: if v.below(2) == 0 { (-128, 127) } else { (output_zero, 127) },
        }
    }

    fn out(&self) -> [usize; 3] {
        std::array::from_fn(|d| {
            let room = self.size[d] + 2 * self.padding[d] - self.dilation[d] * (self.kernel[d] - 1);
            (room - 1) / self.stride[d] + 1
        })
    }

    fn inner(&self) -> usize {
        self.channels * self.kernel.iter().product::<usize>()
    }

    /// What every output must be: input outside of the image is its zero point.
    fn expected(&self, x: &[i8], w: &[i8], bias: &[i32], factor: &[i32]) -> Vec<i8> {
        let ([dp, h, wd], [od, oh, ow], [_, kh, kw]) = (self.size, self.out(), self.kernel);
        let (inputs, outputs) = (self.groups * self.channels, self.groups * self.columns);
        let mut y = vec![0; od * oh * ow * outputs];
        for (at, to) in y.iter_mut().enumerate() {
            let (o, q) = (at % outputs, at / outputs);
            let mut sum = i64::from(bias[o]);
            for (k, weight) in w[o * self.inner()..][..self.inner()].iter().enumerate() {
                let (c, tap) = (k % self.channels, k / self.channels);
                let (outputs, taps) = ([q / ow / oh, q / ow % oh, q % ow], [tap / kw / kh, tap / kw % kh, tap % kw]);
                let [plane, row, column]: [usize; 3] = std::array::from_fn(|d| {
                    (outputs[d] * self.stride[d] + taps[d] * self.dilation[d]).wrapping_sub(self.padding[d])
                });
                let inside = plane < dp && row < h && column < wd;
                let group = o / self.columns * self.channels;
                let value = match inside {
                    true => i64::from(x[((plane * h + row) * wd + column) * inputs + group + c]),
                    false => i64::from(self.format.input_zero),
                };
                sum += value * i64::from(*weight);
            }
            *to = finish(sum, factor[o], self.format, self.bounds) as i8;
        }
        y
    }

    fn check<P: Panel>(&self, v: &mut Values, level: Level, panel: P, gathers: bool, depthwise: bool) {
        let byte = |v: &mut Values| v.next() as i8;
        let (inputs, outputs) = (self.groups * self.channels, self.groups * self.columns);
        let ([d, h, w], out) = (self.size, self.out());
        let x: Vec<i8> = (0..d * h * w * inputs).map(|_| byte(v)).collect();
        let weights: Vec<i8> = (0..outputs * self.inner()).map(|_| byte(v).max(-127)).collect();
        let bias: Vec<i32> = (0..outputs).map(|_| v.next() as i32 >> 14).collect();
        let factor: Vec<i32> = (0..outputs).map(|_| (v.next() >> 34) as i32).collect();
        let expected = self.expected(&x, &weights, &bias, &factor);
        let mut packed = Vec::new();
        if depthwise {
            let padded = outputs.next_multiple_of(P::WIDTH);
            packed = vec![0; padded * self.inner()];
            (0..weights.len()).for_each(|i| packed[i % self.inner() * padded + i / self.inner()] = weights[i]);
        } else {
            for group in 0..self.groups {
                let mut part = vec![0; panels_len(P::WIDTH, self.inner(), self.columns)];
                let at = |k: usize, n: usize| weights[(group * self.columns + n) * self.inner() + k];
                panels(P::WIDTH, self.inner(), self.columns, at, &mut part);
                packed.extend(part);
            }
        }
        let mut scratch = vec![0; scratch_len(P::WIDTH, self.inner())];
        // Wide panels take rows, narrow ones patches.
        let reach = |d: usize| (out[d] - 1) * self.stride[d] + (self.kernel[d] - 1) * self.dilation[d] + 1;
        let mut rows = vec![0; self.kernel[0] * reach(1) * reach(2) * inputs];
        let mut y = vec![0; expected.len()];
        let x_strides = [0, h * w * inputs, w * inputs, inputs];
        let y_strides = [0, out[1] * out[2] * outputs, out[2] * outputs, outputs];
        let (low, high) = self.bounds;
        if depthwise {
            dispatch(
                level,
                Depthwise::<Quantized<i8, i8>, P, _> {
                    x: &x,
                    weights: &packed,
                    bias: Some(&bias),
                    scale: Some(&factor),
                    zero_point: None,
                    slope: None,
                    residual: None,
                    in_place: false,
                    y: &mut y,
                    batch: 1,
                    channels: outputs,
                    size: self.size,
                    out,
                    kernel: self.kernel,
                    stride: self.stride,
                    dilation: self.dilation,
                    padding: self.padding,
                    x_strides,
                    y_strides,
                    low,
                    high,
                    format: self.format,
                    panel,
                    window: AnyWindow,
                },
            );
        } else {
            dispatch(
                level,
                Conv::<Quantized<i8, i8>, P, AnyStretch> {
                    x: &x,
                    weights: &packed,
                    bias: Some(&bias),
                    scale: Some(&factor),
                    zero_point: None,
                    slope: None,
                    residual: None,
                    in_place: false,
                    y: &mut y,
                    scratch: gathers.then_some(&mut scratch),
                    padded: P::ROOM.then_some(&mut rows),
                    batch: 1,
                    groups: self.groups,
                    channels: self.channels,
                    columns: self.columns,
                    size: self.size,
                    out,
                    kernel: self.kernel,
                    stride: self.stride,
                    dilation: self.dilation,
                    padding: self.padding,
                    x_strides: [0, h * w * inputs, w * inputs, inputs, 1],
                    y_strides,
                    low,
                    high,
                    format: self.format,
                    panel,
                    stretch: AnyStretch,
                },
            );
        }
        assert_eq!(y, expected, "{level:?}, {} groups, {} to {}", self.groups, self.channels, self.columns);
    }
}

/// Panels of four bytes per lane, and biases for inputs of this kind.
fn by_fours(w: &[i8], bias: &[i32], groups: usize, inner: usize, signed: bool) -> (Vec<i8>, Vec<i32>) {
    let columns = bias.len() / groups;
    let mut panels = Vec::new();
    for (group, panel) in (0..groups).flat_map(|g| (0..columns.div_ceil(16)).map(move |p| (g, p))) {
        for i in 0..inner.div_ceil(4) * 64 {
            let (column, k) = (panel * 16 + i % 64 / 4, i / 64 * 4 + i % 4);
            let inside = column < columns && k < inner;
            panels.push(if inside { w[(group * columns + column) * inner + k] } else { 0 });
        }
    }
    let sums = w.chunks(inner).map(|row| row.iter().map(|w| i32::from(*w)).sum::<i32>());
    (panels, bias.iter().zip(sums).map(|(bias, sum)| bias - dot4::moved(dot4::SIGNED, signed) * sum).collect())
}

impl Case {
    /// The kernel on products of four bytes.
    fn check_dot4(&self, v: &mut Values, level: Level) {
        let (inputs, outputs) = (self.groups * self.channels, self.groups * self.columns);
        let ([d, h, w], out) = (self.size, self.out());
        let x: Vec<i8> = (0..d * h * w * inputs).map(|_| v.next() as i8).collect();
        let weights: Vec<i8> = (0..outputs * self.inner()).map(|_| v.next() as i8).collect();
        let bias: Vec<i32> = (0..outputs).map(|_| v.next() as i32 >> 14).collect();
        let factor: Vec<i32> = (0..outputs).map(|_| (v.next() >> 34) as i32).collect();
        let expected = self.expected(&x, &weights, &bias, &factor);
        // Kernel rows of `[column][channel]`, filled up to fours.
        let row = self.kernel[2] * self.channels;
        let wide = weights.chunks(row).flat_map(|r| r.iter().copied().chain([0; 3]).take(row.next_multiple_of(4)));
        let wide: Vec<i8> = wide.collect();
        let (packed, bias) = by_fours(&wide, &bias, self.groups, wide.len() / outputs, true);
        // Room for patches, for stripes of one row of outputs or of many.
        let reach = |d: usize, count: usize| (count - 1) * self.stride[d] + (self.kernel[d] - 1) * self.dilation[d] + 1;
        let patches = dot4::patches_len(self.channels, self.kernel);
        let rows = [0, reach(1, 1), reach(1, 1) + self.stride[1], reach(1, out[1])][v.next() as usize % 4];
        let stripe = reach(2, out[2]) * inputs * self.kernel[0] * rows + dot4::BEHIND;
        let mut scratch = vec![77; patches.max(stripe)];
        let mut y = vec![0i8; expected.len()];
        let conv = dot4::Conv {
            x: &x,
            weights: &packed,
            bias: &bias,
            scale: &factor,
            y: &mut y,
            scratch: &mut scratch,
            batch: 1,
            groups: self.groups,
            channels: self.channels,
            columns: self.columns,
            size: self.size,
            out,
            kernel: self.kernel,
            stride: self.stride,
            dilation: self.dilation,
            padding: self.padding,
            x_strides: [0, h * w * inputs, w * inputs, inputs, 1],
            y_strides: [0, out[1] * out[2] * outputs, out[2] * outputs, outputs],
            low: self.bounds.0,
            high: self.bounds.1,
            format: self.format,
        };
        dispatch(level, conv);
        assert_eq!(y, expected, "{level:?}, {} groups, {} to {}", self.groups, self.channels, self.columns);
    }
}

#[test]
fn convolutions_by_four_bytes() {
    let mut v = Values::new(6);
    for _ in 0..150 {
        let case = Case::random(&mut v, false);
        levels().into_iter().for_each(|level| case.check_dot4(&mut v, level));
    }
}

#[test]
fn products_of_four_bytes() {
    let mut v = Values::new(8);
    let shapes = [(9, 8, 33), (1, 640, 100), (8, 64, 16), (3, 4, 1), (20, 12, 48), (9, 1204, 20)];
    for (rows, inner, columns) in shapes.into_iter().take(rounds(6)) {
        // With a shift of 32 no product here is half a quantum: factors are odd.
        let format = Rescale { input_zero: 9, output_zero: 131, factor: 0, shift: 32 };
        let x: Vec<u8> = (0..rows * inner).map(|_| v.next() as u8).collect();
        let w: Vec<i8> = (0..columns * inner).map(|_| v.next() as i8).collect();
        let bias: Vec<i32> = (0..columns).map(|_| v.next() as i32 >> 12).collect();
        let factor: Vec<i32> = (0..columns).map(|_| (v.next() >> 40) as i32 | 1).collect();
        let (packed, moved) = by_fours(&w, &bias, 1, inner, false);
        let sum = |i: usize, j: usize| -> i64 {
            let products = (0..inner).map(|k| i64::from(x[i * inner + k]) * i64::from(w[j * inner + k]));
            products.sum::<i64>() + i64::from(bias[j])
        };
        let expected: Vec<u8> = (0..rows * columns)
            .map(|at| finish(sum(at / columns, at % columns), factor[at % columns], format, (0, 200)) as u8)
            .collect();
        for level in levels() {
            let mut y = vec![77u8; rows * columns];
            let linear = dot4::Linear {
                x: &x,
                weights: &packed,
                bias: &moved,
                scale: &factor,
                y: &mut y,
                rows,
                inner,
                columns,
                x_stride: inner,
                y_stride: columns,
                low: 0,
                high: 200,
                format,
            };
            dispatch(level, linear);
            assert_eq!(y, expected, "{level:?}, {rows} {inner} {columns}");
        }
    }
}

impl Case {
    /// The depthwise kernel for bytes; `moved` is 128 for unsigned inputs.
    fn check_bytes<X: Narrow>(&self, v: &mut Values, level: Level, moved: i32) {
        let ([_, h, w], out, channels) = (self.size, self.out(), self.groups);
        let x: Vec<i8> = (0..h * w * channels).map(|_| v.next() as i8).collect();
        let weights: Vec<i8> = (0..channels * self.inner()).map(|_| v.next() as i8).collect();
        let bias: Vec<i32> = (0..channels).map(|_| v.next() as i32 >> 14).collect();
        let factor: Vec<i32> = (0..channels).map(|_| (v.next() >> 34) as i32).collect();
        let expected = self.expected(&x, &weights, &bias, &factor);
        let padded = channels.next_multiple_of(dot4::WIDTH);
        let mut packed = vec![0; padded * self.inner()];
        (0..weights.len()).for_each(|i| packed[i % self.inner() * padded + i / self.inner()] = weights[i]);
        let sums = weights.chunks(self.inner()).map(|row| row.iter().map(|w| i32::from(*w)).sum::<i32>());
        let bias: Vec<i32> = bias.iter().zip(sums).map(|(bias, sum)| bias - moved * sum).collect();
        let x: Vec<X> = x.iter().map(|x| X::narrow(i32::from(*x) + moved)).collect();
        let len = dot4::depthwise::scratch_len(channels, self.kernel, self.stride[2], self.dilation[2]);
        let (mut scratch, mut y) = (vec![X::default(); len], vec![0i8; expected.len()]);
        let layer = dot4::depthwise::Depthwise {
            x: &x[..],
            weights: &packed,
            bias: &bias,
            scale: &factor,
            y: &mut y[..],
            scratch: &mut scratch[..],
            batch: 1,
            channels,
            size: self.size,
            out,
            kernel: self.kernel,
            stride: self.stride,
            dilation: self.dilation,
            padding: self.padding,
            x_strides: [0, 0, w * channels, channels],
            y_strides: [0, 0, out[2] * channels, channels],
            low: self.bounds.0,
            high: self.bounds.1,
            format: Rescale { input_zero: self.format.input_zero + moved, ..self.format },
        };
        dispatch(level, layer);
        assert_eq!(y, expected, "{level:?}, {channels} channels, {:?} of {:?}", self.kernel, self.size);
    }
}

#[test]
fn depthwise_convolutions_of_bytes() {
    let mut v = Values::new(7);
    for _ in 0..rounds(150) {
        let case = Case::random(&mut v, true);
        for level in levels() {
            case.check_bytes::<i8>(&mut v, level, 0);
            case.check_bytes::<u8>(&mut v, level, 128);
        }
    }
}

#[test]
fn convolutions_pad_with_the_zero_point() {
    let mut v = Values::new(2);
    for i in 0..60 {
        let (conv, depthwise) = (Case::random(&mut v, false), Case::random(&mut v, true));
        for level in levels() {
            conv.check(&mut v, level, N16, false, false);
            conv.check(&mut v, level, N4, conv.groups == 1 && i % 2 == 0, false);
            depthwise.check(&mut v, level, N16, false, true);
            depthwise.check(&mut v, level, N4, false, true);
        }
    }
}

#[test]
fn products_saturate_and_take_unsigned_activations() {
    let mut v = Values::new(3);
    for (m, k, n) in [(1, 640, 40), (3, 7, 5), (9, 128, 33), (1, 0, 3), (2, 1, 1)] {
        let format = Rescale { input_zero: 9, output_zero: 131, factor: 0, shift: 37 };
        let x: Vec<u8> = (0..m * k).map(|_| v.next() as u8).collect();
        let w: Vec<i8> = (0..k * n).map(|i| if i % n == 0 { 127 } else { v.next() as i8 }).collect();
        let bias: Vec<i32> = (0..n).map(|_| v.next() as i32 >> 12).collect();
        let factor: Vec<i32> = (0..n).map(|_| (v.next() >> 34) as i32).collect();
        let mut packed = vec![0; panels_len(16, k, n)];
        panels(16, k, n, |c, j| w[c * n + j], &mut packed);
        let expected: Vec<u8> = (0..m * n)
            .map(|at| {
                let (i, j) = (at / n, at % n);
                let sum = (0..k).map(|c| i64::from(x[i * k + c]) * i64::from(w[c * n + j])).sum::<i64>();
                finish(sum + i64::from(bias[j]), factor[j], format, (0, 255)) as u8
            })
            .collect();
        for level in levels() {
            let mut y = vec![77; m * n];
            dispatch(
                level,
                Linear::<Quantized<u8, u8>, N16> {
                    x: &x,
                    weights: &packed,
                    bias: Some(&bias),
                    scale: Some(&factor),
                    zero_point: None,
                    slope: None,
                    residual: None,
                    in_place: false,
                    y: &mut y,
                    rows: m,
                    inner: k,
                    columns: n,
                    x_stride: k,
                    y_stride: n,
                    low: 0,
                    high: 255,
                    format,
                    panel: N16,
                },
            );
            assert_eq!(y, expected, "{level:?} {m}x{k}x{n}");
        }
    }
}

#[test]
fn means_round_half_to_even_and_do_not_count_padding() {
    // Of scale 1 both sides: the mean of 1 and 2 is 1.5, of 2 and 3 is 2.5: both become 2.
    let format = Rescale { input_zero: 10, output_zero: -20, factor: 1 << 29, shift: 29 };
    for level in levels() {
        let mut y = [0i8; 3];
        let op = AvgPool::<Quantized<i8, i8>, N4> {
            x: &[11, 12, 12, 13, -128, -127],
            y: &mut y,
            batch: 1,
            channels: 1,
            size: [1, 1, 6],
            out: [1, 1, 3],
            kernel: [1, 1, 2],
            stride: [1, 1, 2],
            padding: [0; 3],
            count_include_pad: false,
            divisor: 0,
            x_strides: [6, 1, 6, 6, 1],
            y_strides: [3, 1, 3, 3, 1],
            format,
            low: -128,
            high: 127,
            panel: N4,
        };
        dispatch(level, op);
        assert_eq!(y, [2 - 20, 2 - 20, -128], "{level:?}");
        // Padding stands for 0 where it counts: (4 + 0) / 2 = 2, not counted 4.
        for (count_include_pad, expected) in [(true, 2 - 20), (false, 4 - 20)] {
            let mut y = [0i8; 20];
            let op = AvgPool::<Quantized<i8, i8>, N16> {
                x: &[14i8; 20],
                y: &mut y,
                batch: 1,
                channels: 20,
                size: [1, 1, 1],
                out: [1, 1, 1],
                kernel: [1, 1, 2],
                stride: [1, 1, 1],
                padding: [0, 0, 1],
                count_include_pad,
                divisor: 0,
                x_strides: [20, 1, 20, 20, 20],
                y_strides: [20, 1, 20, 20, 20],
                format,
                low: -128,
                high: 127,
                panel: N16,
            };
            dispatch(level, op);
            assert_eq!(y, [expected; 20], "{level:?}");
        }
        let mut y = [0i8; 2];
        let op = AdaptivePool::<Quantized<i8, i8>, N4> {
            x: &[11, 12, 13, 15, 15],
            y: &mut y,
            indices: None,
            max: false,
            batch: 1,
            channels: 1,
            size: [1, 1, 5],
            out: [1, 1, 2],
            x_strides: [5, 1, 5, 5, 1],
            y_strides: [2, 1, 2, 2, 1],
            format,
            low: -19,
            high: -17,
            panel: N4,
        };
        dispatch(level, op);
        assert_eq!(y, [2 - 20, -17], "{level:?}: (1 + 2 + 3) / 3, and (3 + 5 + 5) / 3 cut");
    }
}

#[test]
fn functions_of_bytes_are_looked_up_by_their_bits() {
    let x: Vec<i8> = (-128..=127).collect();
    let table: Vec<i16> = (0..256).map(|bits: i16| 7 - 100 * bits).collect();
    for level in levels() {
        let mut y = vec![0; 256];
        dispatch(level, Lookup { x: &x, table: &table, y: &mut y });
        let expected: Vec<i16> = x.iter().map(|x| 7 - 100 * i16::from(*x as u8)).collect();
        assert_eq!(y, expected, "{level:?}");
        let mut y = [5; 3];
        dispatch(level, Lookup { x: &[0u8, 255, 1], table: &table[..255], y: &mut y });
        assert_eq!(y, [5; 3], "{level:?}: a table that is too short");
    }
}

#[test]
fn softmax_of_bytes_keeps_its_bound() {
    let mut v = Values::new(8);
    for (n, scale) in [(1usize, 0.1), (2, 0.003), (5, 0.06), (12, 0.2), (100, 0.02), (1000, 1.3)] {
        let (outer, inner) = (2, 3);
        let x: Vec<i8> = (0..outer * n * inner).map(|_| v.next() as i8).collect();
        // As the compiler makes it: sums of `n` entries stay below 2^31.
        let unit = f64::from(1 << (29 - (n - 1).max(1).ilog2()));
        let table: Vec<i32> = (0..256).map(|d| ((-scale * f64::from(d)).exp() * unit).round() as i32).collect();
        // Probabilities in quanta of 1 / 256, -128 for 0.
        let format = Rescale { input_zero: 0, output_zero: -128, factor: 1 << 30, shift: 22 };
        for level in levels() {
            let mut y = vec![77i8; x.len()];
            let op = Softmax { x: &x, table: &table, y: &mut y, outer, n, inner, format, low: -128, high: 127 };
            dispatch(level, op);
            for (i, y) in y.iter().enumerate() {
                let row = |k: usize| f64::from(x[(i / inner / n * n + k) * inner + i % inner]) * scale;
                let all: f64 = (0..n).map(|k| row(k).exp()).sum();
                let exact = (f64::from(x[i]) * scale).exp() / all * 256.0 - 128.0;
                let error = (f64::from(*y) - exact.min(127.0)).abs();
                // Before rounding, as documented.
                let bound = 256.0 * ((n + 2) as f64 / unit + 1e-9);
                assert!(error <= 0.5 + bound, "{level:?} {n}: {y} for {exact}");
            }
        }
    }
}

#[test]
fn products_of_activations_know_both_zero_points() {
    let mut v = Values::new(9);
    for (batch, rows, inner, columns) in [([1, 1], 1, 1, 1), ([2, 3], 4, 7, 5), ([1, 2], 9, 33, 16), ([2, 1], 3, 0, 2)]
    {
        let count = batch[0] * batch[1];
        let a: Vec<i8> = (0..count * rows * inner).map(|_| v.next() as i8).collect();
        let b: Vec<u8> = (0..count * inner * columns).map(|_| v.next() as u8).collect();
        let format = Rescale { input_zero: -128, output_zero: 3, factor: 0x6123_4567, shift: 44 };
        let transposed = v.below(2) == 0;
        let (down, along) = if transposed { (1, inner.max(1)) } else { (columns, 1) };
        let element = |matrix: usize, m: usize, n: usize| {
            let product = |k: usize| {
                let left = i64::from(a[(matrix * rows + m) * inner + k]) + 128;
                left * (i64::from(b[matrix * inner * columns + k * down + n * along]) - 255)
            };
            finish((0..inner).map(product).sum(), format.factor, format, (-100, 90)) as i8
        };
        let expected: Vec<i8> =
            (0..count * rows * columns).map(|i| element(i / columns / rows, i / columns % rows, i % columns)).collect();
        for level in levels() {
            let mut y = vec![77i8; expected.len()];
            let op = MatMul {
                a: &a,
                b: &b,
                y: &mut y,
                scratch: &mut vec![0; columns],
                batch,
                rows,
                inner,
                columns,
                a_strides: [batch[1] * rows * inner, rows * inner, inner, 1],
                b_strides: [batch[1] * inner * columns, inner * columns, down, along],
                weight_zero: 255,
                format,
                low: -100,
                high: 90,
            };
            dispatch(level, op);
            assert_eq!(y, expected, "{level:?} {rows}x{inner}x{columns}, transposed: {transposed}");
        }
    }
}
