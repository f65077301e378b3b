//! Winograd's method for 3x3 convolutions: which layers, which tiles, and their weights.
//!
//! Takes a convolution that [`super::conv`] found to be f32, dense and of step 1; gives the step, or nothing where the sum
//! by definition is expected to be faster or smaller. The decision a reader would question: it is made here, once for all
//! levels of an architecture, as weights are stored for one method only. So it rests on a model of costs, whose factors are
//! measured, and larger weights must earn what they cost.

use super::conv::Shape;
use super::layer::{floats, macs, size, sizes};
use super::{Access, Field, Kernel, Lowering, Place, Work, channels_last};
use crate::diag::Diagnostic;
use crate::ir::{Constant, Conv, Epilogue, Node};
use crate::options::{Optimize, Winograd};
use crate::sym::Expr;
use exported_runtime::DType;
use exported_runtime::kernels::winograd::{F2, F4, TILES, Tile, scratch_len, transformed};

type Result<T> = std::result::Result<T, Diagnostic>;

/// A size of tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tiles {
    F2,
    F4,
}

impl Tiles {
    /// Outputs and inputs along a side.
    fn sides(self) -> (usize, usize) {
        match self {
            Tiles::F2 => (2, 4),
            Tiles::F4 => (4, 6),
        }
    }

    fn path(self) -> &'static str {
        match self {
            Tiles::F2 => "rt::kernels::winograd::F2",
            Tiles::F4 => "rt::kernels::winograd::F4",
        }
    }

    fn positions(self) -> usize {
        self.sides().1.pow(2)
    }

    /// Time that an element of transformed input or output takes, in multiply-adds of a matrix product (measured with
    /// AVX-512, where it weighs most).
    fn transform(self) -> f64 {
        match self {
            Tiles::F2 => 14.0,
            Tiles::F4 => 20.0,
        }
    }
}

/// What a convolution costs: images, output height and width, channels and columns as stored.
#[derive(Clone, Copy)]
struct Costs {
    batch: f64,
    out: [f64; 2],
    channels: f64,
    columns: f64,
}

impl Costs {
    /// Time by definition, in multiply-adds. The kernel reaches about four fifths of the machine's peak.
    fn direct(self) -> f64 {
        let outputs = self.batch * self.out[0] * self.out[1];
        outputs * 9.0 * self.channels * self.columns / 0.8 + self.weights(9)
    }

    /// Time with tiles. Those beyond the image count.
    fn tiled(self, tiles: Tiles) -> f64 {
        let side = tiles.sides().0 as f64;
        let count = self.batch * (self.out[0] / side).ceil() * (self.out[1] / side).ceil();
        let products = self.channels * self.columns;
        let transforms = tiles.transform() * (self.channels + self.columns);
        count * tiles.positions() as f64 * (products + transforms) + self.weights(tiles.positions())
    }

    /// Time to fetch the weights: those of a small layer are still in the second-level cache from the last call.
    fn weights(self, positions: usize) -> f64 {
        let elements = positions as f64 * self.channels * self.columns;
        elements * if elements <= (1 << 18) as f64 { 3.0 } else { 12.0 }
    }
}

/// Tiles and transformed weights for a convolution, unless it is better computed by definition.
pub(super) fn tiled(
    cx: &Lowering<'_>,
    node: &Node,
    (conv, shape, weight): (&Conv, &Shape, &Constant),
    epilogue: &Epilogue,
) -> Option<(Tiles, Vec<u8>)> {
    let f32s = cx.dtype(node.inputs[0]) == DType::F32 && weight.dtype == DType::F32;
    let plain = !conv.transposed && conv.groups == 1 && epilogue.requantize.is_none() && !epilogue.dequantize;
    let windows = conv.spatial == 2 && conv.stride == [1; 3] && conv.dilation == [1; 3] && shape.kernel == [1, 3, 3];
    if !(f32s && plain && windows) {
        return None;
    }
    let tiles = choose(cx, node, shape)?;
    let width = cx.options.target.panel();
    let data = match tiles {
        Tiles::F2 => pack::<F2, 2, 4>(weight, shape, width),
        Tiles::F4 => pack::<F4, 4, 6>(weight, shape, width),
    };
    Some((tiles, data?))
}

/// As the user says, or as the costs do.
fn choose(cx: &Lowering<'_>, node: &Node, shape: &Shape) -> Option<Tiles> {
    let target = &cx.options.target;
    match cx.options.winograd {
        Winograd::Off => return None,
        Winograd::F2 => return Some(Tiles::F2),
        Winograd::F4 => return Some(Tiles::F4),
        Winograd::Auto if target.is_bare_metal() || target.panel() < 16 => return None,
        Winograd::Auto if cx.options.optimize == Optimize::Size || shape.channels < CHANNELS => return None,
        Winograd::Auto => {}
    }
    let y = cx.shape(node.outputs[0]);
    // Images of unknown size are taken as the largest, a batch of unknown size as one image.
    let greatest = |n: &Expr| n.interval(&cx.graph.ranges).max.unwrap_or(i64::MAX) as f64;
    let costs = Costs {
        batch: y[0].as_int().unwrap_or(1) as f64,
        out: [greatest(&y[2]), greatest(&y[3])],
        channels: shape.channels as f64,
        columns: shape.columns.next_multiple_of(target.panel()) as f64,
    };
    best(costs)
}

/// The fastest method. Each has more weights than the one before it and must earn them.
fn best(costs: Costs) -> Option<Tiles> {
    let methods = [None, Some(Tiles::F2), Some(Tiles::F4)];
    let timed = methods.map(|tiles| (tiles, tiles.map_or_else(|| costs.direct(), |tiles| costs.tiled(tiles))));
    timed.into_iter().reduce(|best, next| if next.1 * GAIN < best.1 { next } else { best })?.0
}

/// Channels below which transforms cost more than they save.
const CHANNELS: usize = 16;

/// How much faster a method with more weights must be.
const GAIN: f64 = 1.05;

/// `[position][panel][channel][width]`; nothing if the weights leave the range of f32, for then they say less than before.
fn pack<T: Tile<OUT, IN>, const OUT: usize, const IN: usize>(
    weight: &Constant,
    shape: &Shape,
    width: usize,
) -> Option<Vec<u8>> {
    let &Shape { channels, columns, .. } = shape;
    let panels = columns.div_ceil(width);
    let plane = panels * channels * width;
    let mut data = vec![0.0f32; IN * IN * plane];
    for (pair, taps) in floats(weight)?.chunks_exact(9).enumerate() {
        let (column, channel) = (pair / channels, pair % channels);
        let row = |i: usize| [taps[3 * i], taps[3 * i + 1], taps[3 * i + 2]];
        let at = (column / width * channels + channel) * width + column % width;
        let all = transformed::<T, OUT, IN>([row(0), row(1), row(2)]);
        for (position, value) in all.as_flattened().iter().enumerate() {
            data[position * plane + at] = *value as f32;
        }
    }
    data.iter().all(|value| value.is_finite()).then(|| data.iter().flat_map(|value| value.to_le_bytes()).collect())
}

/// The step.
pub(super) fn conv(
    cx: &mut Lowering<'_>,
    node: &Node,
    (conv, shape, weight): (&Conv, &Shape, &Constant),
    epilogue: &Epilogue,
    (tiles, data): (Tiles, Vec<u8>),
) -> Result<()> {
    let x = cx.read_channels_last(node.inputs[0]);
    let order = channels_last(4);
    let (mut fields, y) = cx.epilogue(node, epilogue, DType::F32, &order, |cx, y| cx.output_channels_last(y))?;
    fields.retain(|(name, _)| *name != "format");
    let growth = data.len() - data.len() / tiles.positions() * 9;
    let weights = cx.weights(&weight.name, DType::F32, data.into());
    cx.steps.buffers[weights.buffer.0 as usize].growth = growth;
    let side = tiles.sides().0;
    let count = |n: &Expr| n.as_int().map(|n| (n as usize).div_ceil(side));
    let whole = y.shape[0].as_int().zip(count(&y.shape[2])).zip(count(&y.shape[3]));
    let block = whole.map_or(TILES, |((n, h), w)| (n as usize * h * w).clamp(1, TILES));
    let scratch = Expr::from(scratch_len(tiles.positions(), block, shape.channels, shape.columns));
    let scratch = Field::Write { region: cx.scratch("tiles", DType::F32, scratch), update: false };
    let strides = |place: &Place| sizes([0, 2, 3].map(|d| place.strides[d].clone()));
    let image = |place: &Place| sizes([2, 3].map(|d| place.shape[d].clone()));
    let mut all = vec![("x", Field::Read(x.region(Access::Whole))), ("weights", Field::Read(weights))];
    all.extend(fields);
    all.extend([
        ("scratch", scratch),
        ("batch", size(x.shape[0].clone())),
        ("channels", size(shape.channels)),
        ("columns", size(shape.columns)),
        ("size", image(&x)),
        ("out", image(&y)),
        ("padding", sizes([conv.padding[1].0, conv.padding[2].0])),
        ("x_strides", strides(&x)),
        ("y_strides", strides(&y)),
        ("block", size(block)),
        ("tile", Field::Path(tiles.path().into())),
        ("panel", Field::Path(cx.panel().into())),
    ]);
    let (outputs, inputs) = tiles.sides();
    let generics = vec![tiles.path().into(), cx.panel().into(), outputs.to_string(), inputs.to_string()];
    let kernel = Kernel { path: "winograd::Winograd", generics, fields: all, fallible: false };
    cx.step(node, Work::Kernel(kernel), macs(cx.shape(node.outputs[0]), shape.inner()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(size: f64, channels: f64) -> &'static str {
        let costs = Costs { batch: 1.0, out: [size; 2], channels, columns: channels };
        best(costs).map_or("direct", |tiles| if tiles == Tiles::F2 { "F2" } else { "F4" })
    }

    #[test]
    fn tiles_follow_the_shape() {
        // The layers of ResNet-8 and ResNet-18, as they measured fastest with weights that are not in the cache.
        let layers =
            [(32.0, 16.0), (16.0, 32.0), (8.0, 64.0), (56.0, 64.0), (28.0, 128.0), (14.0, 256.0), (7.0, 512.0)];
        let found = layers.map(|(size, channels)| chosen(size, channels));
        assert_eq!(found, ["F4", "F4", "F4", "F4", "F4", "F2", "F2"]);
        // One pixel is nine tenths waste.
        assert_eq!(chosen(1.0, 512.0), "direct");
        assert_eq!(chosen(i64::MAX as f64, 64.0), "F4");
    }
}
