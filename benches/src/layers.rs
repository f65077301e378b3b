//! The layer shapes measured, and how to run one.

use crate::time::least;
use exported_runtime::kernels::arith::F32;
use exported_runtime::kernels::conv::{AnyStretch, Conv, STRIPE, Stretch, Stretches};
use exported_runtime::kernels::depthwise::{AnyWindow, Depthwise, Square, Window};
use exported_runtime::kernels::matmul::Linear;
use exported_runtime::kernels::winograd::{self, F2, F4, Tile, Winograd};
use exported_runtime::{Level, N16, dispatch};
use std::ops::{Deref, DerefMut};

/// One layer.
pub struct Layer {
    /// Shown.
    pub name: String,
    shape: Shape,
}

enum Shape {
    Linear { rows: usize, inner: usize, columns: usize },
    Conv { size: usize, channels: usize, columns: usize, kernel: usize, stride: usize },
    Depthwise { size: usize, channels: usize, kernel: usize, stride: usize },
}

/// A tensor as in a workspace: it begins with a line of the cache.
struct Tensor {
    memory: Vec<f32>,
    skip: usize,
}

impl Deref for Tensor {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.memory[self.skip..]
    }
}

impl DerefMut for Tensor {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.memory[self.skip..]
    }
}

/// Values that are neither 0 nor denormal.
fn values(len: usize) -> Tensor {
    let mut memory = vec![0.0; len + 15];
    let skip = memory.as_ptr().align_offset(64) % 16;
    for (i, value) in memory[skip..].iter_mut().enumerate() {
        *value = (i * 7919 % 1000) as f32 * 1e-3 - 0.5;
    }
    Tensor { memory, skip }
}

fn out(size: usize, stride: usize) -> usize {
    size.div_ceil(stride)
}

impl Layer {
    /// Multiplications and additions.
    pub fn flop(&self) -> usize {
        match self.shape {
            Shape::Linear { rows, inner, columns } => 2 * rows * inner * columns,
            Shape::Conv { size, channels, columns, kernel, stride } => {
                2 * out(size, stride).pow(2) * columns * channels * kernel * kernel
            }
            Shape::Depthwise { size, channels, kernel, stride } => {
                2 * out(size, stride).pow(2) * channels * kernel * kernel
            }
        }
    }

    /// Bytes of weights without panel padding.
    pub fn weight_bytes(&self) -> usize {
        match self.shape {
            Shape::Linear { inner, columns, .. } => 4 * inner * columns,
            Shape::Conv { channels, columns, kernel, .. } => 4 * columns * channels * kernel * kernel,
            Shape::Depthwise { channels, kernel, .. } => 4 * channels * kernel * kernel,
        }
    }

    /// ns per run, of every kernel that computes this layer.
    pub fn measure(&self, level: Level) -> Vec<(&'static str, f64)> {
        match self.shape {
            Shape::Linear { rows, inner, columns } => vec![("", linear(level, rows, inner, columns))],
            Shape::Conv { size, channels, columns, kernel, stride } => {
                let of = [size, channels, columns, kernel, stride];
                let mut found = vec![(
                    "",
                    match (channels, kernel, stride) {
                        (3, 3, 1) => conv(level, of, Stretch::<9, 3>),
                        (3, 3, 2) => conv(level, of, Stretch::<9, 6>),
                        (3, 7, 2) => conv(level, of, Stretch::<21, 6>),
                        _ => conv(level, of, AnyStretch),
                    },
                )];
                if (kernel, stride) == (3, 1) && channels >= 16 {
                    found.push(("F(2x2, 3x3)", winograd(level, size, channels, columns, F2)));
                    found.push(("F(4x4, 3x3)", winograd(level, size, channels, columns, F4)));
                }
                found
            }
            Shape::Depthwise { size, channels, kernel, stride } => {
                let of = (level, size, channels, kernel, stride);
                vec![(
                    "",
                    match (kernel, stride) {
                        (3, 1) => depthwise(of, Square::<3, 1>),
                        (3, 2) => depthwise(of, Square::<3, 2>),
                        (5, 1) => depthwise(of, Square::<5, 1>),
                        (5, 2) => depthwise(of, Square::<5, 2>),
                        _ => depthwise(of, AnyWindow),
                    },
                )]
            }
        }
    }
}

fn linear(level: Level, rows: usize, inner: usize, columns: usize) -> f64 {
    let (x, weights, bias) = (values(rows * inner), values(inner * columns.next_multiple_of(16)), values(columns));
    let mut y = values(rows * columns);
    least(|| {
        dispatch(
            level,
            Linear::<F32, N16> {
                x: &x,
                weights: &weights,
                bias: Some(&bias),
                scale: None,
                zero_point: None,
                slope: None,
                residual: None,
                in_place: false,
                y: &mut y,
                rows,
                inner,
                columns,
                x_stride: inner,
                y_stride: columns,
                low: 0.0,
                high: f32::INFINITY,
                format: (),
                panel: N16,
            },
        );
    })
}

fn conv<W: Stretches>(level: Level, [size, channels, columns, kernel, stride]: [usize; 5], stretch: W) -> f64 {
    let inner = kernel * kernel * channels;
    let (x, weights) = (values(size * size * channels), values(inner * columns.next_multiple_of(16)));
    let (bias, o) = (values(columns), out(size, stride));
    let mut y = values(o * o * columns);
    // As PyTorch's exporter leaves TensorFlow's "same": the odd zero behind.
    let before = ((o - 1) * stride + kernel).saturating_sub(size) / 2;
    let row = ((o - 1) * stride + kernel) * channels;
    let rows = (STRIPE / row).clamp(kernel, (o - 1) * stride + kernel);
    let mut padded = (kernel > 1).then(|| values(row * rows));
    least(|| {
        dispatch(
            level,
            Conv::<F32, N16, W> {
                x: &x,
                weights: &weights,
                bias: Some(&bias),
                scale: None,
                zero_point: None,
                slope: None,
                residual: None,
                in_place: false,
                y: &mut y,
                scratch: None,
                padded: padded.as_deref_mut(),
                batch: 1,
                groups: 1,
                channels,
                columns,
                size: [1, size, size],
                out: [1, o, o],
                kernel: [1, kernel, kernel],
                stride: [1, stride, stride],
                dilation: [1; 3],
                padding: [0, before, before],
                x_strides: [size * size * channels, size * size * channels, size * channels, channels, 1],
                y_strides: [o * o * columns, o * o * columns, o * columns, columns],
                low: 0.0,
                high: f32::INFINITY,
                format: (),
                panel: N16,
                stretch,
            },
        );
    })
}

fn depthwise<W: Window>(
    (level, size, channels, kernel, stride): (Level, usize, usize, usize, usize),
    window: W,
) -> f64 {
    let (x, weights, bias) =
        (values(size * size * channels), values(kernel * kernel * channels.next_multiple_of(16)), values(channels));
    let o = out(size, stride);
    let mut y = values(o * o * channels);
    let before = ((o - 1) * stride + kernel).saturating_sub(size) / 2;
    least(|| {
        dispatch(
            level,
            Depthwise::<F32, N16, W> {
                x: &x,
                weights: &weights,
                bias: Some(&bias),
                scale: None,
                zero_point: None,
                slope: None,
                residual: None,
                in_place: false,
                y: &mut y,
                batch: 1,
                channels,
                size: [1, size, size],
                out: [1, o, o],
                kernel: [1, kernel, kernel],
                stride: [1, stride, stride],
                dilation: [1; 3],
                padding: [0, before, before],
                x_strides: [size * size * channels, size * size * channels, size * channels, channels],
                y_strides: [o * o * channels, o * o * channels, o * channels, channels],
                low: 0.0,
                high: 6.0,
                format: (),
                panel: N16,
                window,
            },
        );
    })
}

fn winograd<T: Tile<OUT, IN>, const OUT: usize, const IN: usize>(
    level: Level,
    size: usize,
    channels: usize,
    columns: usize,
    tile: T,
) -> f64 {
    let weights = IN * IN * channels * columns.next_multiple_of(16);
    let (x, weights, bias) = (values(size * size * channels), values(weights), values(columns));
    let mut y = vec![0.0; size * size * columns];
    let block = winograd::TILES.min(size.div_ceil(OUT).pow(2));
    let mut scratch = vec![0.0; winograd::scratch_len(IN * IN, block, channels, columns)];
    least(|| {
        dispatch(
            level,
            Winograd::<T, N16, OUT, IN> {
                x: &x,
                weights: &weights,
                bias: Some(&bias),
                slope: None,
                residual: None,
                in_place: false,
                y: &mut y,
                scratch: &mut scratch,
                batch: 1,
                channels,
                columns,
                size: [size; 2],
                out: [size; 2],
                padding: [1; 2],
                x_strides: [size * size * channels, size * channels, channels],
                y_strides: [size * size * columns, size * columns, columns],
                block,
                low: 0.0,
                high: f32::INFINITY,
                tile,
                panel: N16,
            },
        );
    })
}

/// All shapes.
pub fn all() -> Vec<Layer> {
    let mut all = vec![];
    for (model, rows, inner, columns) in [
        ("fc_ae", 1, 640, 128),
        ("fc_ae", 1, 128, 128),
        ("fc_ae", 1, 128, 640),
        ("mlp", 1, 784, 512),
        ("mlp", 1, 512, 512),
        ("two rows", 2, 512, 512),
        ("three rows", 3, 512, 512),
        ("gpt_small", 64, 256, 1024),
        ("gpt_small", 64, 1024, 256),
        ("vit_tiny", 197, 192, 576),
        ("mbv1_025 1x1", 2304, 8, 16),
        ("mbv1_025 1x1", 576, 32, 32),
        ("mbv1_025 1x1", 36, 128, 128),
        ("mbv1_025 1x1", 9, 256, 256),
        ("mbv2 1x1", 12544, 32, 16),
        ("mbv2 1x1", 12544, 16, 96),
        ("mbv2 1x1", 3136, 24, 144),
        ("mbv2 1x1", 3136, 144, 24),
        ("mbv2 1x1", 784, 32, 192),
        ("mbv2 1x1", 784, 192, 32),
        ("mbv2 1x1", 196, 384, 64),
        ("mbv2 1x1", 49, 960, 160),
        ("square", 256, 256, 256),
    ] {
        let name = format!("{model} {rows}x{inner}x{columns}");
        all.push(Layer { name, shape: Shape::Linear { rows, inner, columns } });
    }
    for (model, size, channels, columns, kernel, stride) in [
        ("resnet8", 32, 3, 16, 3, 1),
        ("resnet8", 32, 16, 16, 3, 1),
        ("resnet8", 32, 16, 32, 3, 2),
        ("resnet8", 32, 16, 32, 1, 2),
        ("resnet8", 16, 32, 32, 3, 1),
        ("resnet8", 16, 32, 64, 3, 2),
        ("resnet8", 16, 32, 64, 1, 2),
        ("resnet8", 8, 64, 64, 3, 1),
        ("mbv1_025", 96, 3, 8, 3, 2),
        ("resnet18", 224, 3, 64, 7, 2),
        ("resnet18", 56, 64, 64, 3, 1),
        ("resnet18", 28, 128, 128, 3, 1),
        ("resnet18", 14, 256, 256, 3, 1),
        ("resnet18", 7, 512, 512, 3, 1),
    ] {
        let name = format!("{model} {size}x{size}x{channels}->{columns} k{kernel} s{stride}");
        all.push(Layer { name, shape: Shape::Conv { size, channels, columns, kernel, stride } });
    }
    for (model, size, channels, kernel, stride) in [
        ("mbv1_025", 48, 8, 3, 1),
        ("mbv1_025", 48, 16, 3, 2),
        ("mbv1_025", 24, 32, 3, 1),
        ("mbv1_025", 6, 128, 3, 1),
        ("mbv1_025", 3, 256, 3, 1),
        ("ds_cnn", 16, 64, 3, 1),
        ("mbv2", 112, 32, 3, 1),
        ("mbv2", 112, 96, 3, 2),
        ("mbv2", 56, 144, 3, 1),
        ("mbv2", 28, 192, 3, 1),
        ("mbv2", 14, 576, 3, 1),
        ("mbv2", 14, 576, 3, 2),
        ("mbv2", 7, 960, 3, 1),
        ("efficientnet", 14, 480, 5, 1),
    ] {
        let name = format!("{model} depthwise {size}x{size}x{channels} k{kernel} s{stride}");
        all.push(Layer { name, shape: Shape::Depthwise { size, channels, kernel, stride } });
    }
    all
}
