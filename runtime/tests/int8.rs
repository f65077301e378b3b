//! Kernels on records of packed weights against sums in i64: shapes, padding, groups, odd channels, bounds, packing.

mod common;

use common::Values;
use exported_runtime::kernels::arith::rescaled;
use exported_runtime::kernels::int8::records::{self, Channel, pairable};
use exported_runtime::kernels::int8::{
    Conv, Depthwise, Format, Linear, LinearRow, mve, patch_len, scratch_len, staging_len,
};
use exported_runtime::{Level, dispatch};

fn bytes(v: &mut Values, n: usize) -> Vec<i8> {
    (0..n).map(|_| v.next() as i8).collect()
}

/// Weights, biases and factors of a layer, whose factors are odd, so that no sum is half a quantum.
struct Layer {
    weights: Vec<i8>,
    biases: Vec<i32>,
    factors: Vec<i32>,
    inner: usize,
    format: Format,
}

impl Layer {
    fn random(v: &mut Values, outputs: usize, inner: usize) -> Layer {
        let zero = v.below(256) as i32 - 128;
        let (low, high) = if v.below(2) == 0 { (-128, 127) } else { (zero as i8, zero.max(100) as i8) };
        Layer {
            weights: bytes(v, outputs * inner).into_iter().map(|w| w.max(-127)).collect(),
            biases: (0..outputs).map(|_| v.next() as i32 >> 13).collect(),
            factors: (0..outputs).map(|_| (v.next() >> 40) as i32 | 1).collect(),
            inner,
            format: Format { zero, low, high },
        }
    }

    fn channels<'a>(&'a self, weights: &'a [Vec<i8>]) -> Vec<Channel<'a>> {
        let numbers = self.biases.iter().zip(&self.factors);
        weights.iter().zip(numbers).map(|(w, (&bias, &factor))| Channel { weights: w, bias, factor }).collect()
    }

    /// Output channel `o`, from its inputs.
    fn output(&self, o: usize, x: impl Fn(usize) -> i8) -> i8 {
        let weights = &self.weights[o * self.inner..][..self.inner];
        let products = weights.iter().enumerate().map(|(k, w)| i32::from(*w) * i32::from(x(k)));
        let sum = products.sum::<i32>() + self.biases[o];
        let scaled = rescaled(sum, self.factors[o], 32) + self.format.zero;
        (scaled.clamp(-128, 127) as i8).max(self.format.low).min(self.format.high)
    }
}

#[test]
fn products() {
    let mut v = Values::new(1);
    for (rows, inner, columns) in [
        (1, 640, 128),
        (1, 8, 1),
        (3, 20, 97),
        (2, 12, 13),
        (3, 64, 64),
        (4, 7, 5),
        (7, 33, 12),
        (1, 3, 2),
        (5, 16, 6),
        (2, 4, 8),
    ] {
        let layer = Layer::random(&mut v, columns, inner);
        let (x_stride, y_stride) = (inner + v.below(3), columns + v.below(3));
        let x = bytes(&mut v, (rows - 1) * x_stride + inner);
        let weights: Vec<Vec<i8>> = layer.weights.chunks(inner).map(<[i8]>::to_vec).collect();
        let channels = layer.channels(&weights);
        let mut expected = vec![77i8; (rows - 1) * y_stride + columns];
        for (row, o) in (0..rows).flat_map(|row| (0..columns).map(move |o| (row, o))) {
            expected[row * y_stride + o] = layer.output(o, |k| x[row * x_stride + k]);
        }
        let format = layer.format;
        let mut y = vec![77i8; expected.len()];
        let words: Vec<i32> = records::tiles(&channels, inner).collect();
        let mut scratch = vec![0; scratch_len(inner)];
        let tiles = Linear {
            x: &x,
            records: &words,
            y: &mut y,
            scratch: &mut scratch,
            rows,
            inner,
            columns,
            x_stride,
            y_stride,
            format,
        };
        dispatch(Level::Portable, tiles);
        assert_eq!(y, expected, "{rows} {inner} {columns}");
        if inner % 4 == 0 {
            y.fill(77);
            let words: Vec<i32> = records::vectors(&channels, inner).collect();
            let row = LinearRow { x: &x, records: &words, y: &mut y, rows, inner, columns, x_stride, y_stride, format };
            dispatch(Level::Portable, row);
            assert_eq!(y, expected, "row by row: {rows} {inner} {columns}");
        }
        y.fill(77);
        let words: Vec<i32> = mve::records::tiles(&channels).collect();
        let helium =
            mve::Linear { x: &x, records: &words, y: &mut y, rows, inner, columns, x_stride, y_stride, format };
        dispatch(Level::Portable, helium);
        assert_eq!(y, expected, "Helium: {rows} {inner} {columns}");
        y.fill(77);
        let words: Vec<i32> = mve::records::rows(&channels).collect();
        let helium =
            mve::LinearRow { x: &x, records: &words, y: &mut y, rows, inner, columns, x_stride, y_stride, format };
        dispatch(Level::Portable, helium);
        assert_eq!(y, expected, "Helium, row by row: {rows} {inner} {columns}");
    }
}

/// The window of a convolution over an image `[h, w]`.
struct Geometry {
    size: [usize; 3],
    kernel: [usize; 3],
    stride: [usize; 3],
    dilation: [usize; 3],
    padding: [usize; 3],
    input_zero: i8,
}

impl Geometry {
    fn random(v: &mut Values) -> Geometry {
        let kernel = [1, 1 + v.below(3), 1 + v.below(4)];
        let dilation = [1, 1 + v.below(2), 1 + v.below(2)];
        let padding = [0, v.below(3), v.below(3)];
        let size = [1, 1, 2].map(|d: usize| dilation[d] * (kernel[d] - 1) + 1 + v.below(7));
        let stride = [1, 1 + v.below(2), 1 + v.below(2)];
        Geometry { size: [1, size[1], size[2]], kernel, stride, dilation, padding, input_zero: v.next() as i8 }
    }

    fn out(&self) -> [usize; 3] {
        std::array::from_fn(|d| {
            (self.size[d] + 2 * self.padding[d] - self.dilation[d] * (self.kernel[d] - 1) - 1) / self.stride[d] + 1
        })
    }

    /// Row and column that a tap of an output reads, if they are inside.
    fn read(&self, q: usize, tap: usize) -> Option<[usize; 2]> {
        let at = |d: usize, q: usize, tap: usize| {
            (q * self.stride[d] + tap * self.dilation[d]).checked_sub(self.padding[d]).filter(|i| *i < self.size[d])
        };
        let (width, taps) = (self.out()[2], self.kernel[2]);
        Some([at(1, q / width, tap / taps)?, at(2, q % width, tap % taps)?])
    }
}

/// The weights of each output as kernel rows of `[column][channel]`, filled up to `len`.
fn rows_of_taps(layer: &Layer, g: &Geometry, channels: usize, len: usize) -> Vec<Vec<i8>> {
    let taps = g.kernel[1] * g.kernel[2];
    let element = |w: &[i8], row: usize, i: usize| {
        let inside = i < g.kernel[2] * channels;
        if inside { w[i % channels * taps + row * g.kernel[2] + i / channels] } else { 0 }
    };
    let output = |w: &[i8]| (0..g.kernel[1] * len).map(|k| element(w, k / len, k % len)).collect();
    layer.weights.chunks(channels * taps).map(output).collect()
}

#[test]
fn convolutions() {
    let mut v = Values::new(2);
    for i in 0..120 {
        let g = Geometry::random(&mut v);
        let (groups, channels, columns) = (1 + v.below(2), [1, 3, 4, 8][v.below(4)], 1 + v.below(9));
        let (inputs, outputs, taps) = (groups * channels, groups * columns, g.kernel[1] * g.kernel[2]);
        let layer = Layer::random(&mut v, outputs, channels * taps);
        let ([_, h, w], [_, oh, ow]) = (g.size, g.out());
        let x = bytes(&mut v, h * w * inputs);
        let planar = i % 4 == 0;
        let x_strides = if planar { [0, 0, w, 1, h * w] } else { [0, 0, w * inputs, inputs, 1] };
        let mut expected = Vec::new();
        for (q, o) in (0..oh * ow).flat_map(|q| (0..outputs).map(move |o| (q, o))) {
            expected.push(layer.output(o, |k| {
                let (channel, tap) = (o / columns * channels + k / taps, k % taps);
                let at =
                    |[row, column]: [usize; 2]| row * x_strides[2] + column * x_strides[3] + channel * x_strides[4];
                g.read(q, tap).map_or(g.input_zero, |place| x[at(place)])
            }));
        }
        let inner = patch_len(channels, g.kernel);
        let weights = rows_of_taps(&layer, &g, channels, inner / g.kernel[1]);
        let all = layer.channels(&weights);
        let words: Vec<i32> = all.chunks(columns).flat_map(|group| records::tiles(group, inner)).collect();
        let mut scratch = vec![0; scratch_len(inner)];
        let mut staging = vec![0; staging_len(channels, g.kernel)];
        let mut y = vec![0; expected.len()];
        let conv = Conv {
            x: &x,
            records: &words,
            y: &mut y,
            scratch: &mut scratch,
            staging: (planar || channels % 4 != 0).then_some(&mut staging),
            batch: 1,
            groups,
            channels,
            columns,
            size: g.size,
            out: g.out(),
            kernel: g.kernel,
            stride: g.stride,
            dilation: g.dilation,
            padding: g.padding,
            x_strides,
            y_strides: [0, 0, ow * outputs, outputs],
            input_zero: g.input_zero,
            format: layer.format,
        };
        dispatch(Level::Portable, conv);
        assert_eq!(y, expected, "case {i}: {groups} groups of {channels} to {columns}");
        y.fill(0);
        let weights = rows_of_taps(&layer, &g, channels, g.kernel[2] * channels);
        let all = layer.channels(&weights);
        let words: Vec<i32> = all.chunks(columns).flat_map(mve::records::tiles).collect();
        let helium = mve::Conv {
            x: &x,
            records: &words,
            y: &mut y,
            scratch: &mut vec![0; mve::scratch_len(channels, g.kernel)],
            batch: 1,
            groups,
            channels,
            columns,
            size: g.size,
            out: g.out(),
            kernel: g.kernel,
            stride: g.stride,
            dilation: g.dilation,
            padding: g.padding,
            x_strides,
            y_strides: [0, 0, ow * outputs, outputs],
            input_zero: g.input_zero,
            format: layer.format,
        };
        dispatch(Level::Portable, helium);
        assert_eq!(y, expected, "Helium, case {i}: {groups} groups of {channels} to {columns}");
    }
}

/// Channels that lie apart, as the depth of an image of one channel.
#[test]
fn channels_as_depth() {
    let mut v = Values::new(7);
    for i in 0..60 {
        let g = Geometry::random(&mut v);
        let (channels, outputs, [_, kh, kw]) = (2 + v.below(3), 1 + v.below(9), g.kernel);
        let (taps, [_, h, w], [_, oh, ow]) = (kh * kw, g.size, g.out());
        let layer = Layer::random(&mut v, outputs, channels * taps);
        let x = bytes(&mut v, channels * h * w);
        let mut expected = Vec::new();
        for (q, o) in (0..oh * ow).flat_map(|q| (0..outputs).map(move |o| (q, o))) {
            expected.push(
                layer.output(o, |k| g.read(q, k % taps).map_or(g.input_zero, |[r, s]| x[(k / taps * h + r) * w + s])),
            );
        }
        let (kernel, line) = ([channels, kh, kw], kw.next_multiple_of(4));
        let inner = patch_len(1, kernel);
        let row = |w: &[i8]| (0..inner).map(|k| if k % line < kw { w[k / line * kw + k % line] } else { 0 }).collect();
        let weights: Vec<Vec<i8>> = layer.weights.chunks(channels * taps).map(row).collect();
        let words: Vec<i32> = records::tiles(&layer.channels(&weights), inner).collect();
        let mut y = vec![0; expected.len()];
        let conv = Conv {
            x: &x,
            records: &words,
            y: &mut y,
            scratch: &mut vec![0; scratch_len(inner)],
            staging: Some(&mut vec![0; staging_len(1, kernel)]),
            batch: 1,
            groups: 1,
            channels: 1,
            columns: outputs,
            size: [channels, h, w],
            out: g.out(),
            kernel,
            stride: g.stride,
            dilation: g.dilation,
            padding: g.padding,
            x_strides: [0, h * w, w, 1, 1],
            y_strides: [0, 0, ow * outputs, outputs],
            input_zero: g.input_zero,
            format: layer.format,
        };
        dispatch(Level::Portable, conv);
        assert_eq!(y, expected, "case {i}: {channels} channels to {outputs}");
        y.fill(0);
        let weights: Vec<Vec<i8>> = layer.weights.chunks(channels * taps).map(<[i8]>::to_vec).collect();
        let words: Vec<i32> = mve::records::tiles(&layer.channels(&weights)).collect();
        let helium = mve::Conv {
            x: &x,
            records: &words,
            y: &mut y,
            scratch: &mut vec![0; mve::scratch_len(1, kernel)],
            batch: 1,
            groups: 1,
            channels: 1,
            columns: outputs,
            size: [channels, h, w],
            out: g.out(),
            kernel,
            stride: g.stride,
            dilation: g.dilation,
            padding: g.padding,
            x_strides: [0, h * w, w, 1, 1],
            y_strides: [0, 0, ow * outputs, outputs],
            input_zero: g.input_zero,
            format: layer.format,
        };
        dispatch(Level::Portable, helium);
        assert_eq!(y, expected, "Helium, case {i}: {channels} channels to {outputs}");
    }
}

#[test]
fn depthwise_convolutions() {
    let mut v = Values::new(3);
    for i in 0..60 {
        let g = Geometry::random(&mut v);
        let (channels, taps) = (4 + v.below(20), g.kernel[1] * g.kernel[2]);
        let layer = Layer::random(&mut v, channels, taps);
        let ([_, h, w], [_, oh, ow]) = (g.size, g.out());
        let x = bytes(&mut v, h * w * channels);
        let mut expected = Vec::new();
        for (q, c) in (0..oh * ow).flat_map(|q| (0..channels).map(move |c| (q, c))) {
            expected.push(
                layer.output(c, |tap| g.read(q, tap).map_or(g.input_zero, |[r, s]| x[(r * w + s) * channels + c])),
            );
        }
        let weights: Vec<Vec<i8>> = layer.weights.chunks(taps).map(<[i8]>::to_vec).collect();
        let all = layer.channels(&weights);
        let words: Vec<i32> = records::depthwise(&all, taps).collect();
        assert_eq!(depthwise::<false>(&x, &words, &layer, &g, channels), expected, "case {i}: {channels} channels");
        if channels % 2 == 1 {
            continue;
        }
        let words: Vec<i32> = mve::records::depthwise(&all, taps).collect();
        assert_eq!(
            depthwise::<true>(&x, &words, &layer, &g, channels),
            expected,
            "Helium, case {i}: {channels} channels"
        );
    }
}

fn depthwise<const MVE: bool>(x: &[i8], records: &[i32], layer: &Layer, g: &Geometry, channels: usize) -> Vec<i8> {
    let ([_, _, w], [_, oh, ow]) = (g.size, g.out());
    let mut y = vec![0; oh * ow * channels];
    let depthwise = Depthwise::<MVE> {
        x,
        records,
        y: &mut y,
        scratch: &mut vec![0; channels],
        batch: 1,
        channels,
        size: g.size,
        out: g.out(),
        kernel: g.kernel,
        stride: g.stride,
        dilation: g.dilation,
        padding: g.padding,
        x_strides: [0, 0, w * channels, channels],
        y_strides: [0, 0, ow * channels, channels],
        input_zero: g.input_zero,
        format: layer.format,
    };
    dispatch(Level::Portable, depthwise);
    y
}

#[test]
fn weights_that_do_not_fit_a_word_are_found() {
    let channel = |weights: &'static [i8], bias: i32| Channel { weights, bias, factor: 1 };
    assert!(pairable(&channel(&[-128, 127], 0), &channel(&[-127, 127], 0)));
    assert!(pairable(&channel(&[5], 0), &channel(&[-128], 0)));
    assert!(!pairable(&channel(&[-1], 0), &channel(&[-128], 0)));
    assert!(!pairable(&channel(&[0], 0), &channel(&[0], 1 << 23)));
    assert!(!pairable(&channel(&[0], -(1 << 23)), &channel(&[0], 0)));
}

#[test]
fn short_slices_are_left_alone() {
    let mut y = [3i8; 4];
    let format = Format { zero: 0, low: -128, high: 127 };
    let row = LinearRow {
        x: &[1; 7],
        records: &[0; 64],
        y: &mut y,
        rows: 1,
        inner: 8,
        columns: 4,
        x_stride: 8,
        y_stride: 4,
        format,
    };
    dispatch(Level::Portable, row);
    let tiles = Linear {
        x: &[1; 8],
        records: &[0; 3],
        y: &mut y,
        scratch: &mut [0; 12],
        rows: 1,
        inner: 8,
        columns: 4,
        x_stride: 8,
        y_stride: 4,
        format,
    };
    dispatch(Level::Portable, tiles);
    assert_eq!(y, [3; 4]);
}
