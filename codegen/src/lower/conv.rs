//! Convolutions: channels-last, weights packed; depthwise and 1x1 ones by their own kernels.

use super::layer::{arithmetic, macs, size, sizes, some};
use super::matmul::Rows;
use super::winograd;
use super::{Access, Field, Kernel, Lowering, Place, Region, Work, channels_last};
use crate::diag::Diagnostic;
use crate::ir::{Constant, Conv, Epilogue, Node};
use crate::options::Optimize;
use crate::sym::Expr;
use exported_runtime::DType;
use exported_runtime::kernels::conv::{STRIPE, scratch_len};
use exported_runtime::kernels::depthwise::TAPS;

type Result<T> = std::result::Result<T, Diagnostic>;

/// Sizes of a convolution, from its weight.
pub(super) struct Shape {
    /// Input channels of a group.
    pub channels: usize,
    /// Output channels of a group.
    pub columns: usize,
    /// `[d, h, w]`.
    pub kernel: [usize; 3],
    pub taps: usize,
}

impl Shape {
    fn of(conv: &Conv, weight: &[usize]) -> Shape {
        let mut kernel = [1; 3];
        kernel[3 - conv.spatial..].copy_from_slice(&weight[2..]);
        let (channels, columns) = match conv.transposed {
            true => (weight[0] / conv.groups, weight[1]),
            false => (weight[1], weight[0] / conv.groups),
        };
        Shape { channels, columns, kernel, taps: kernel.iter().product() }
    }

    /// The number of an element of transposed weights: output channel, input channel of its group, tap.
    pub fn transposed(&self, o: usize, channel: usize, tap: usize) -> usize {
        let (group, column) = (o / self.columns, o % self.columns);
        ((group * self.channels + channel) * self.columns + column) * self.taps + tap
    }

    pub fn inner(&self) -> usize {
        self.channels * self.taps
    }

    /// The number of an element of the weights, for output channel `o` and place `k` of an inner dimension whose kernel rows
    /// are filled up to fours ([`exported_runtime::kernels::int8::patch_len`]); `None` for what fills them.
    pub fn in_fours(&self, o: usize, k: usize) -> Option<usize> {
        let row = self.channels * self.kernel[2];
        let (line, k) = (k / row.next_multiple_of(4), k % row.next_multiple_of(4));
        let (tap, channel) = (line * self.kernel[2] + k / self.channels, k % self.channels);
        (k < row).then_some((o * self.channels + channel) * self.taps + tap)
    }
}

/// Lowers a convolution.
pub(super) fn conv(cx: &mut Lowering<'_>, node: &Node, conv: &Conv, epilogue: &Epilogue) -> Result<()> {
    let Some(weight) = cx.constant_of(node.inputs[1]) else {
        return Err(Diagnostic::unsupported("a convolution whose weight is computed").at(&node.origin));
    };
    let shape = Shape::of(conv, &weight.shape);
    if super::int8::conv(cx, node, conv, &shape, epilogue) || super::dot4::conv(cx, node, conv, &shape, epilogue) {
        return Ok(());
    }
    let (arith, accumulator) = arithmetic(node, cx.dtype(node.inputs[0]), epilogue)?;
    if let Some(tiled) = winograd::tiled(cx, node, (conv, &shape, weight), epilogue) {
        return winograd::conv(cx, node, (conv, &shape, weight), epilogue, tiled);
    }
    let (x, copies) = input(cx, node, conv, &shape);
    let rank = conv.spatial + 2;
    let order = channels_last(rank);
    let (mut fields, y) = cx.epilogue(node, epilogue, accumulator, &order, |cx, y| cx.output_channels_last(y))?;
    let weights;
    let work = if copies == Copies::Nothing && is_pointwise(conv, &shape) && uniform(&x) && uniform(&y) {
        weights = pack(cx, weight, conv, &shape);
        let rows = Rows::of_pixels(&x, &y, [shape.channels, shape.columns]);
        let x = x.region(Access::Whole);
        super::matmul::linear_kernel(cx, arith, x, weights, fields, rows)
    } else {
        let depthwise = is_depthwise(conv, &shape);
        weights = if depthwise { pack_depthwise(cx, weight, conv, &shape) } else { pack(cx, weight, conv, &shape) };
        if conv.transposed && epilogue.requantize.is_some() {
            let biases = phase_biases(cx, node, (conv, &shape, weight), epilogue)?;
            fields.retain(|(name, _)| *name != "bias");
            fields.push(("bias", some(Field::Read(cx.weights(&weight.name, DType::I32, biases.into())))));
        } else if !epilogue.dequantize && epilogue.requantize.is_none() {
            fields.extend([("scale", Field::Option(None)), ("zero_point", Field::Option(None))]);
        }
        let mut all = vec![("x", Field::Read(x.region(Access::Whole))), ("weights", Field::Read(weights))];
        all.extend(fields);
        all.extend(geometry(conv, &shape, &x, &y, depthwise));
        if !depthwise && !conv.transposed {
            let gathers = copies == Copies::Nothing && cx.gathers(arith);
            all.extend(scratch(cx, conv, &shape, if gathers { Copies::Patches } else { copies }, &x, &y));
        }
        all.push(("panel", Field::Path(cx.panel().into())));
        let path = match (conv.transposed, depthwise) {
            (true, _) => "conv::ConvTranspose",
            (false, true) => "depthwise::Depthwise",
            (false, false) => "conv::Conv",
        };
        let mut generics = vec![arith.to_string(), cx.panel().to_string()];
        if depthwise {
            let window = window(cx, conv, &shape);
            generics.push(format!("rt::kernels::{window}"));
            all.push(("window", Field::Path(window.into())));
        } else if !conv.transposed {
            let stretch = stretch(cx, conv, &shape, copies);
            generics.push(format!("rt::kernels::{stretch}"));
            all.push(("stretch", Field::Path(stretch.into())));
        }
        Work::Kernel(Kernel { path, generics, fields: all, fallible: false })
    };
    let cost = macs(cx.shape(if conv.transposed { node.inputs[0] } else { node.outputs[0] }), shape.inner());
    let cost = if conv.transposed {
        Expr::floordiv(cost * Expr::from(shape.columns), shape.channels.max(1) as i64)
    } else {
        cost
    };
    cx.step(node, work, cost);
    Ok(())
}

/// The bias of each phase of a transposed convolution and output channel: that of the layer makes up for the zero points under
/// all taps, but only some of them reach an output.
fn phase_biases(
    cx: &Lowering<'_>,
    node: &Node,
    (conv, shape, weight): (&Conv, &Shape, &Constant),
    epilogue: &Epilogue,
) -> Result<Vec<u8>> {
    let bias = node.inputs.get(3).and_then(|v| cx.constant_of(*v)).filter(|b| b.dtype == DType::I32);
    let (Some(bias), Some(requantize)) = (bias, epilogue.requantize) else {
        return Err(Diagnostic::bug("a transposed convolution on integers without constant biases").at(&node.origin));
    };
    let [sd, sh, sw] = conv.stride;
    let [kd, kh, kw] = shape.kernel;
    let phases = (0..sd).flat_map(|d| (0..sh).flat_map(move |h| (0..sw).map(move |w| [d, h, w])));
    let mut biases = Vec::new();
    for phase in phases {
        let reaches = |tap: [usize; 3]| {
            (0..3).all(|d| {
                let from = phase[d] + conv.padding[d].0 + conv.dilation[d] * shape.kernel[d] * conv.stride[d];
                (from - tap[d] * conv.dilation[d]).is_multiple_of(conv.stride[d])
            })
        };
        let missed: Vec<usize> =
            (0..shape.taps).filter(|t| !reaches([t / (kh * kw) % kd.max(1), t / kw % kh, t % kw])).collect();
        for (o, stored) in bias.data.as_chunks().0.iter().enumerate() {
            let element = |c: usize, t: usize| shape.transposed(o, c, t);
            let weights = (0..shape.channels).flat_map(|c| missed.iter().map(move |&t| element(c, t)));
            let sum: i32 = weights.map(|i| weight.data.get(i).map_or(0, |w| i32::from(*w as i8))).sum();
            let bias = i32::from_le_bytes(*stored).wrapping_add(requantize.input_zero.wrapping_mul(sum));
            biases.extend_from_slice(&bias.to_le_bytes());
        }
    }
    Ok(biases)
}

/// What the kernel copies before it multiplies.
#[derive(Clone, Copy, PartialEq)]
enum Copies {
    Nothing,
    /// The patches of a tile.
    Patches,
    /// Rows of the input with their padding.
    Rows,
}

/// Where the input is read from, and what the kernel copies.
///
/// With wide panels, rows that need padding or another order of their elements: beside the products that costs next to
/// nothing. With narrow ones memory counts more, and only patches of few channels are copied, where a kernel row is a short
/// stretch of memory; those of a first layer from wherever they stand, which saves a copy of the whole image.
fn input(cx: &mut Lowering<'_>, node: &Node, conv: &Conv, shape: &Shape) -> (Place, Copies) {
    let place = cx.place(node.inputs[0]);
    let one = Expr::Int(1);
    let adjacent = place.strides[1] == one || place.shape[1] == one;
    let forward = is_forward(&place);
    let single = conv.groups == 1;
    let short = shape.taps > 1 && shape.channels * shape.kernel[2] < SHORT;
    let padded = conv.padding != [(0, 0); 3];
    let copies = match cx.options.target.panel() {
        _ if conv.transposed || is_depthwise(conv, shape) => Copies::Nothing,
        16 if padded || short || shape.taps > 1 && !adjacent => Copies::Rows,
        4 if single && (short || !adjacent && forward && shape.channels <= 4) => Copies::Patches,
        _ => Copies::Nothing,
    };
    // A kernel that copies reads any order.
    if copies != Copies::Nothing && forward && !adjacent {
        return (place, copies);
    }
    (cx.read_channels_last(node.inputs[0]), copies)
}

/// Where the input is read by kernels that take any order: where it stands, if it is known to run forward.
pub(super) fn as_it_stands(cx: &mut Lowering<'_>, node: &Node) -> Place {
    let place = cx.place(node.inputs[0]);
    if is_forward(&place) { place } else { cx.read_channels_last(node.inputs[0]) }
}

/// Whether no stride is negative or unknown.
fn is_forward(place: &Place) -> bool {
    place.strides.iter().all(|s| s.as_int().is_some_and(|s| s >= 0))
}

/// Elements of a kernel row below which gathering is faster than reading in place (measured with AVX2).
const SHORT: usize = 8;

/// The fields that lend a convolution memory for copies.
fn scratch(
    cx: &mut Lowering<'_>,
    conv: &Conv,
    shape: &Shape,
    copies: Copies,
    x: &Place,
    y: &Place,
) -> [(&'static str, Field); 2] {
    let len = match copies {
        Copies::Nothing => None,
        Copies::Patches => Some(Expr::from(scratch_len(cx.options.target.panel(), shape.inner()))),
        Copies::Rows => Some(rows_len(conv, shape, y)),
    };
    let field = len.map(|len| {
        let region = cx.scratch("patches", x.dtype, len);
        Box::new(Field::Write { region, update: false })
    });
    let (patches, rows) = if copies == Copies::Rows { (None, field) } else { (field, None) };
    [("scratch", Field::Option(patches)), ("padded", Field::Option(rows))]
}

/// Elements of copied rows: [`STRIPE`], but enough for one row of outputs and not more than for all.
pub(super) fn rows_len(conv: &Conv, shape: &Shape, y: &Place) -> Expr {
    let mut inward = y.shape[2..].iter().rev();
    let (w, h) = (inward.next(), inward.next());
    let reach = |d: usize| (shape.kernel[d] - 1) * conv.dilation[d] + 1;
    let span = |d: usize, count: Option<&Expr>| {
        let steps = count.map_or(Expr::Int(0), |count| count.clone() - Expr::Int(1));
        steps * Expr::from(conv.stride[d]) + Expr::from(reach(d))
    };
    let row = span(2, w) * Expr::from(conv.groups * shape.channels * shape.kernel[0]);
    let all = span(1, h);
    match (row.as_int(), all.as_int()) {
        (Some(elements), Some(all)) => {
            let rows = (STRIPE as i64 / elements.max(1)).clamp(reach(1) as i64, all.max(reach(1) as i64));
            row * Expr::Int(rows)
        }
        _ => row * Expr::from(reach(1)) + Expr::from(STRIPE),
    }
}

/// The kernels that a depthwise layer has code for of its own, where memory for code is not counted.
fn window(cx: &Lowering<'_>, conv: &Conv, shape: &Shape) -> &'static str {
    let flat = conv.padding[0] == (0, 0) && conv.dilation == [1; 3];
    if cx.options.target.panel() < 16 || cx.options.optimize == Optimize::Size || !flat {
        return "depthwise::AnyWindow";
    }
    match (shape.kernel, conv.stride[1], conv.stride[2]) {
        ([1, 3, 3], 1, 1) => "depthwise::Square::<3, 1>",
        ([1, 3, 3], 2, 2) => "depthwise::Square::<3, 2>",
        ([1, 5, 5], 1, 1) => "depthwise::Square::<5, 1>",
        ([1, 5, 5], 2, 2) => "depthwise::Square::<5, 2>",
        _ => "depthwise::AnyWindow",
    }
}

/// The stretches that a layer has code for of its own: of a first layer of few channels, where memory for code is not counted.
fn stretch(cx: &Lowering<'_>, conv: &Conv, shape: &Shape, copies: Copies) -> String {
    let len = shape.kernel[2] * shape.channels;
    let apart = conv.groups == 1 && conv.dilation[2] == 1 && copies == Copies::Rows;
    if cx.options.target.panel() < 16 || cx.options.optimize == Optimize::Size || !apart || !(2..=FEW).contains(&len) {
        return "conv::AnyStretch".to_owned();
    }
    format!("conv::Stretch::<{len}, {}>", conv.stride[2] * shape.channels)
}

/// Elements of a kernel row, at most, whose loops would cost as much as the products.
const FEW: usize = 24;

/// One channel in and out per group, which the kernel for that reads channels-last.
fn is_depthwise(conv: &Conv, shape: &Shape) -> bool {
    !conv.transposed && conv.groups > 1 && shape.channels == 1 && shape.columns == 1 && shape.taps <= TAPS
}

/// One tap, step 1, no padding, one group: a matrix product over the pixels.
pub(super) fn is_pointwise(conv: &Conv, shape: &Shape) -> bool {
    !conv.transposed && shape.taps == 1 && conv.groups == 1 && conv.stride == [1; 3] && conv.padding == [(0, 0); 3]
}

/// Whether neighbouring pixels are equally far apart everywhere, across rows and images.
pub(super) fn uniform(place: &Place) -> bool {
    let one = Expr::Int(1);
    let rank = place.shape.len();
    let mut next = place.strides[rank - 1].clone();
    for d in (2..rank).rev().chain([0]) {
        if place.shape[d] != one && place.strides[d] != next {
            return false;
        }
        next = next * place.shape[d].clone();
    }
    // With a single column its stride says nothing.
    place.shape[rank - 1] != one
}

pub(super) fn geometry(
    conv: &Conv,
    shape: &Shape,
    x: &Place,
    y: &Place,
    depthwise: bool,
) -> Vec<(&'static str, Field)> {
    let lead = 3 - conv.spatial;
    let spatial = |list: &[Expr], missing: i64| -> Vec<Expr> {
        (0..3).map(|d| if d < lead { Expr::Int(missing) } else { list[d - lead + 2].clone() }).collect()
    };
    let strides = |p: &Place| [vec![p.strides[0].clone()], spatial(&p.strides, 0)].concat();
    let mut fields = vec![("batch", size(x.shape[0].clone()))];
    let mut x_strides = strides(x);
    if depthwise {
        fields.push(("channels", size(conv.groups)));
    } else {
        let adjacent = if x.shape[1] == Expr::Int(1) { Expr::Int(1) } else { x.strides[1].clone() };
        x_strides.push(adjacent);
        fields.extend([
            ("groups", size(conv.groups)),
            ("channels", size(shape.channels)),
            ("columns", size(shape.columns)),
        ]);
    }
    fields.extend([
        ("size", sizes(spatial(&x.shape, 1))),
        ("out", sizes(spatial(&y.shape, 1))),
        ("kernel", sizes(shape.kernel)),
        ("stride", sizes(conv.stride)),
        ("dilation", sizes(conv.dilation)),
        ("padding", sizes(conv.padding.map(|p| p.0))),
        ("x_strides", sizes(x_strides)),
        ("y_strides", sizes(strides(y))),
    ]);
    fields
}

/// `[group][panel][tap][channel][WIDTH]`.
fn pack(cx: &mut Lowering<'_>, weight: &Constant, conv: &Conv, shape: &Shape) -> Region {
    let &Shape { channels, columns, taps, .. } = shape;
    cx.packed(weight, [conv.groups, channels * taps, columns], |group, k, column| {
        let (tap, channel) = (k / channels, k % channels);
        match conv.transposed {
            true => shape.transposed(group * columns + column, channel, tap),
            false => ((group * columns + column) * channels + channel) * taps + tap,
        }
    })
}

/// `[tap][channels rounded up]`.
fn pack_depthwise(cx: &mut Lowering<'_>, weight: &Constant, conv: &Conv, shape: &Shape) -> Region {
    let size = weight.dtype.size();
    let padded = conv.groups.next_multiple_of(cx.options.target.panel());
    let mut data = vec![0; padded * shape.taps * size];
    for (i, element) in weight.data.chunks_exact(size).enumerate() {
        let at = (i % shape.taps * padded + i / shape.taps) * size;
        data[at..at + size].copy_from_slice(element);
    }
    cx.weights(&weight.name, weight.dtype, data.into())
}
