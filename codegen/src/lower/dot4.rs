//! Layers on bytes for x86-64 and AArch64, whose vector units add the products of four neighbouring bytes: the kernels of
//! `rt::kernels::dot4`. They take inputs as bytes of one kind; what others are moved by leaves the bias here.

use super::conv::{Shape, as_it_stands, geometry, is_pointwise, rows_len, uniform};
use super::layer::{bound, format, macs};
use super::matmul::Rows;
use super::{Access, Field, Kernel, Lowering, Place, Region, Work};
use crate::ir::{Constant, Conv, Epilogue, Node, Requantize};
use crate::sym::Expr;
use exported_runtime::DType;
use exported_runtime::kernels::depthwise::TAPS;
use exported_runtime::kernels::dot4::{BEHIND, LEAST, WIDTH, depthwise, moved, patches_len, reads_stripes};
use exported_runtime::kernels::int8::patch_len;

/// Constants of a layer.
struct Layer {
    weights: Region,
    bias: Region,
    scale: Region,
    requantize: Requantize,
    types: Vec<String>,
}

impl Layer {
    fn fields(&self, x: &Region, y: Region) -> Vec<(&'static str, Field)> {
        vec![
            ("x", Field::Read(x.clone())),
            ("weights", Field::Read(self.weights.clone())),
            ("bias", Field::Read(self.bias.clone())),
            ("scale", Field::Read(self.scale.clone())),
            ("y", Field::Write { region: y, update: false }),
        ]
    }

    fn rescale(&self) -> [(&'static str, Field); 3] {
        let (low, high) = self.requantize.bounds;
        [
            ("low", bound(DType::I32, f64::from(low))),
            ("high", bound(DType::I32, f64::from(high))),
            ("format", format(Some(self.requantize), 0)),
        ]
    }

    fn kernel(&self, path: &'static str, fields: Vec<(&'static str, Field)>) -> Work {
        Work::Kernel(Kernel { path, generics: self.types.clone(), fields, fallible: false })
    }
}

/// Whether inputs meet weights as signed bytes, where there are such kernels.
fn signed(cx: &Lowering<'_>) -> Option<bool> {
    match cx.options.target.arch() {
        "x86_64" => Some(false),
        "aarch64" => Some(true),
        _ => None,
    }
}

/// What a layer on bytes is made of.
struct Parts<'g> {
    weight: &'g Constant,
    scale: &'g Constant,
    bias: Option<&'g Constant>,
    requantize: Requantize,
    types: [DType; 2],
    /// Whether inputs meet weights as signed bytes.
    signed: bool,
}

impl<'g> Parts<'g> {
    /// `None` if the target or the layer has another form.
    fn of(cx: &Lowering<'g>, node: &Node, epilogue: &Epilogue) -> Option<Self> {
        let requantize = epilogue.requantize?;
        let signed = signed(cx)?;
        let types = [cx.dtype(node.inputs[0]), requantize.dtype];
        let constant = |i: usize, dtype: DType| cx.constant_of(*node.inputs.get(i)?).filter(|c| c.dtype == dtype);
        let bias = epilogue.bias.then(|| constant(3, DType::I32)).flatten();
        let (weight, scale) = (constant(1, DType::I8)?, constant(2, DType::I32)?);
        types.iter().all(|d| d.size() == 1).then_some(Parts { weight, scale, bias, requantize, types, signed })
    }

    /// An element of the weights.
    fn element(&self, at: Option<usize>) -> i8 {
        at.and_then(|i| self.weight.data.get(i)).map_or(0, |w| *w as i8)
    }

    /// The bias of an output channel.
    fn bias(&self, o: usize) -> i32 {
        self.bias.and_then(|b| b.data.as_chunks().0.get(o)).map_or(0, |b| i32::from_le_bytes(*b))
    }

    /// With these weights and biases. What is stored per channel reaches to the end of the last panel.
    fn layer(&self, cx: &mut Lowering<'_>, packed: Vec<u8>, biases: &[i32]) -> Layer {
        let len = biases.len().next_multiple_of(WIDTH) * size_of::<i32>();
        let whole = |mut data: Vec<u8>| {
            data.resize(len, 0);
            data
        };
        let bias = whole(biases.iter().copied().flat_map(i32::to_le_bytes).collect());
        let scale = whole(self.scale.data.to_vec());
        Layer {
            weights: cx.weights(&self.weight.name, DType::I8, packed.into()),
            bias: cx.weights(&self.weight.name, DType::I32, bias.into()),
            scale: cx.weights(&self.scale.name, DType::I32, scale.into()),
            requantize: self.requantize,
            types: self.types.map(|d| d.name().to_string()).to_vec(),
        }
    }
}

/// Packs a layer of `groups` times `columns` output channels; `at(output channel, k)` is the number of an element, or `None`
/// for 0.
fn layer(
    cx: &mut Lowering<'_>,
    node: &Node,
    epilogue: &Epilogue,
    [groups, columns, inner]: [usize; 3],
    at: impl Fn(usize, usize) -> Option<usize>,
) -> Option<Layer> {
    let parts = Parts::of(cx, node, epilogue)?;
    if inner == 0 {
        return None;
    }
    let mut packed = Vec::new();
    for (group, panel) in (0..groups).flat_map(|g| (0..columns.div_ceil(WIDTH)).map(move |p| (g, p))) {
        for (four, lane, j) in (0..inner.div_ceil(4)).flat_map(|f| (0..4 * WIDTH).map(move |i| (f, i / 4, i % 4))) {
            let (column, k) = (panel * WIDTH + lane, 4 * four + j);
            let inside = column < columns && k < inner;
            packed.push(if inside { parts.element(at(group * columns + column, k)) as u8 } else { 0 });
        }
    }
    let more = moved(parts.signed, parts.types[0] == DType::I8);
    let biases = (0..groups * columns).map(|o| {
        let sum: i32 = (0..inner).map(|k| i32::from(parts.element(at(o, k)))).sum();
        parts.bias(o).wrapping_sub(more * sum)
    });
    let biases: Vec<i32> = biases.collect();
    Some(parts.layer(cx, packed, &biases))
}

/// Lowers a matrix product with this weight, if it fits; `at(k, column)` is the number of an element.
pub(super) fn linear(
    cx: &mut Lowering<'_>,
    node: &Node,
    epilogue: &Epilogue,
    [inner, columns]: [usize; 2],
    at: impl Fn(usize, usize) -> usize,
) -> bool {
    if !inner.is_multiple_of(4) {
        return false;
    }
    let Some(layer) = layer(cx, node, epilogue, [1, columns, inner], |o, k| Some(at(k, o))) else { return false };
    let (x, rows) = Rows::of_value(cx, node, [inner, columns]);
    let order: Vec<usize> = (0..cx.shape(node.outputs[0]).len()).collect();
    let y = cx.output_dense(node.outputs[0], &order).region(Access::Whole);
    let work = product(&layer, [x, y], rows);
    cx.step(node, work, macs(cx.shape(node.outputs[0]), inner));
    true
}

/// A product of rows: `[x, y]`.
fn product(layer: &Layer, [x, y]: [Region; 2], rows: Rows) -> Work {
    let mut fields = layer.fields(&x, y);
    fields.extend(rows.fields());
    fields.extend(layer.rescale());
    layer.kernel("dot4::Linear", fields)
}

/// Lowers a convolution, if it fits.
pub(super) fn conv(cx: &mut Lowering<'_>, node: &Node, conv: &Conv, shape: &Shape, epilogue: &Epilogue) -> bool {
    let &Shape { channels, columns, .. } = shape;
    let inner = patch_len(channels, shape.kernel);
    if conv.transposed {
        return false;
    }
    if conv.groups > 1 && channels == 1 && columns == 1 {
        return by_channel(cx, node, conv, shape, epilogue);
    }
    let Some(layer) = layer(cx, node, epilogue, [conv.groups, columns, inner], |o, k| shape.in_fours(o, k)) else {
        return false;
    };
    let x = as_it_stands(cx, node);
    let y = cx.output_channels_last(node.outputs[0]);
    let direct = x.strides[1] == Expr::Int(1) && channels.is_multiple_of(4);
    let work = if is_pointwise(conv, shape) && direct && uniform(&x) && uniform(&y) {
        let rows = Rows::of_pixels(&x, &y, [channels, columns]);
        product(&layer, [&x, &y].map(|p| p.region(Access::Whole)), rows)
    } else {
        let mut fields = layer.fields(&x.region(Access::Whole), y.region(Access::Whole));
        let byte = if signed(cx) == Some(true) { DType::I8 } else { DType::U8 };
        let scratch = cx.scratch("patches", byte, scratch_len(conv, shape, &y));
        fields.push(("scratch", Field::Write { region: scratch, update: false }));
        fields.extend(geometry(conv, shape, &x, &y, false));
        fields.extend(layer.rescale());
        layer.kernel("dot4::Conv", fields)
    };
    cx.step(node, work, macs(cx.shape(node.outputs[0]), shape.inner()));
    true
}

/// Memory for copied rows of the input where the kernel uses them, else for patches.
fn scratch_len(conv: &Conv, shape: &Shape, y: &Place) -> Expr {
    let patches = patches_len(shape.channels, shape.kernel) as i64;
    let narrow = y.shape.last().and_then(Expr::as_int).is_some_and(|width| width < LEAST as i64);
    if narrow || !reads_stripes(conv.groups, shape.kernel, conv.dilation) {
        return Expr::Int(patches);
    }
    Expr::max(rows_len(conv, shape, y) + Expr::from(BEHIND), Expr::Int(patches))
}

/// Lowers a depthwise convolution, if it fits: the pixels of a row have to be neighbours. Only x86-64 has a loop for it.
fn by_channel(cx: &mut Lowering<'_>, node: &Node, conv: &Conv, shape: &Shape, epilogue: &Epilogue) -> bool {
    let channels = conv.groups;
    let Some(parts) = Parts::of(cx, node, epilogue) else { return false };
    if parts.signed || shape.kernel[0] != 1 || !(1..=TAPS).contains(&shape.taps) {
        return false;
    }
    let x = cx.read_channels_last(node.inputs[0]);
    if x.strides.last() != Some(&Expr::from(channels)) {
        return false;
    }
    let padded = channels.next_multiple_of(WIDTH);
    let element = |tap: usize, o: usize| parts.element((o < channels).then_some(o * shape.taps + tap)) as u8;
    let packed = (0..shape.taps).flat_map(|tap| (0..padded).map(move |o| (tap, o))).map(|(tap, o)| element(tap, o));
    let packed: Vec<u8> = packed.collect();
    let biases: Vec<i32> = (0..channels).map(|o| parts.bias(o)).collect();
    let layer = parts.layer(cx, packed, &biases);
    let y = cx.output_channels_last(node.outputs[0]);
    let mut fields = layer.fields(&x.region(Access::Whole), y.region(Access::Whole));
    let len = depthwise::scratch_len(channels, shape.kernel, conv.stride[2], conv.dilation[2]);
    let scratch = cx.scratch("rows", x.dtype, Expr::from(len));
    fields.push(("scratch", Field::Write { region: scratch, update: false }));
    fields.extend(geometry(conv, shape, &x, &y, true));
    fields.extend(layer.rescale());
    let work = layer.kernel("dot4::depthwise::Depthwise", fields);
    cx.step(node, work, macs(cx.shape(node.outputs[0]), shape.inner()));
    true
}
