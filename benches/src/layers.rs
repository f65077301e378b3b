//! The layer shapes measured, and how to run one.

use crate::time::least;
use exported_runtime::kernels::arith::F32;
use exported_runtime::kernels::conv::{Conv, STRIPE};
use exported_runtime::kernels::matmul::Linear;
use exported_runtime::{Level, N16, dispatch};

/// One layer.
pub struct Layer {
    /// Shown.
    pub name: String,
    shape: Shape,
}

enum Shape {
    Linear { rows: usize, inner: usize, columns: usize },
    Conv { size: usize, channels: usize, columns: usize, kernel: usize, stride: usize },
}

/// Values that are neither 0 nor denormal.
fn values(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i * 7919 % 1000) as f32 * 1e-3 - 0.5).collect()
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
        }
    }

    /// Bytes of weights without panel padding.
    pub fn weight_bytes(&self) -> usize {
        match self.shape {
            Shape::Linear { inner, columns, .. } => 4 * inner * columns,
            Shape::Conv { channels, columns, kernel, .. } => 4 * columns * channels * kernel * kernel,
        }
    }

    /// ns per run.
    pub fn measure(&self, level: Level) -> f64 {
        match self.shape {
            Shape::Linear { rows, inner, columns } => linear(level, rows, inner, columns),
            Shape::Conv { size, channels, columns, kernel, stride } => {
                conv(level, size, channels, columns, kernel, stride)
            }
        }
    }
}

fn linear(level: Level, rows: usize, inner: usize, columns: usize) -> f64 {
    let (x, weights, bias) = (values(rows * inner), values(inner * columns.next_multiple_of(16)), values(columns));
    let mut y = vec![0.0; rows * columns];
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

fn conv(level: Level, size: usize, channels: usize, columns: usize, kernel: usize, stride: usize) -> f64 {
    let inner = kernel * kernel * channels;
    let (x, weights) = (values(size * size * channels), values(inner * columns.next_multiple_of(16)));
    let (bias, o) = (values(columns), out(size, stride));
    let mut y = vec![0.0; o * o * columns];
    // As PyTorch's exporter leaves TensorFlow's "same": the odd zero behind.
    let before = ((o - 1) * stride + kernel).saturating_sub(size) / 2;
    let row = ((o - 1) * stride + kernel) * channels;
    let rows = (STRIPE / row).clamp(kernel, (o - 1) * stride + kernel);
    let mut padded = (kernel > 1).then(|| vec![0.0; row * rows]);
    least(|| {
        dispatch(
            level,
            Conv::<F32, N16> {
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
        ("mbv2 1x1", 3136, 24, 144),
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
    all
}
