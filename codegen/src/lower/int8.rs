//! Layers on bytes for cores with Arm's DSP instructions: the kernels of `rt::kernels::int8`, where their formats fit.
//!
//! Everything a kernel reads of a layer becomes one constant, its records. Where the weights do not fit the format, or a
//! sum could be half a quantum, the layer stays with the kernels of all targets: the bits are the same.

use super::conv::{Shape, as_it_stands, geometry, is_pointwise, uniform};
use super::layer::{bound, macs, some};
use super::matmul::Rows;
use super::{Access, Field, Kernel, Lowering, Place, Region, Work};
use crate::ir::{Conv, Epilogue, Node, Requantize};
use crate::sym::Expr;
use exported_runtime::DType;
use exported_runtime::kernels::int8::mve::{self, records as helium};
use exported_runtime::kernels::int8::records::{self, Channel, TAPS, pairable};
use exported_runtime::kernels::int8::{patch_len, scratch_len, staging_len};

/// A layer that fits.
struct Layer {
    /// `[output channel][inner]`.
    weights: Vec<Vec<i8>>,
    biases: Vec<i32>,
    factors: Vec<i32>,
    requantize: Requantize,
    name: String,
}

impl Layer {
    fn channels(&self) -> Vec<Channel<'_>> {
        let numbers = self.biases.iter().zip(&self.factors);
        let rows = self.weights.iter().zip(numbers);
        rows.map(|(weights, (&bias, &factor))| Channel { weights, bias, factor }).collect()
    }

    /// Whether neighbours among the channels of each group can share their words.
    fn pairable(&self, columns: usize) -> bool {
        self.channels()
            .chunks(columns.max(1))
            .all(|group| group.chunks(2).all(|pair| pairable(&pair[0], pair.get(1).unwrap_or(&Channel::NONE))))
    }

    fn format(&self) -> Field {
        let int = |value: i32| bound(DType::I32, f64::from(value));
        let (low, high) = self.requantize.bounds;
        Field::Struct(
            "int8::Format",
            vec![("zero", int(self.requantize.output_zero)), ("low", int(low)), ("high", int(high))],
        )
    }

    fn input_zero(&self) -> Field {
        bound(DType::I8, f64::from(self.requantize.input_zero))
    }
}

/// The layer with the inner dimension of its weights put in order by `at(output channel, k)`, the number of an element, or
/// `None` for 0.
fn layer(
    cx: &Lowering<'_>,
    node: &Node,
    epilogue: &Epilogue,
    [outputs, inner]: [usize; 2],
    at: impl Fn(usize, usize) -> Option<usize>,
) -> Option<Layer> {
    let requantize = epilogue.requantize.filter(|r| r.shift == 32 && r.dtype == DType::I8)?;
    if !cx.options.target.dsp() || cx.dtype(node.inputs[0]) != DType::I8 || inner == 0 {
        return None;
    }
    let constant = |i: usize| cx.constant_of(*node.inputs.get(i)?);
    let numbers = |i: usize| {
        let data = &constant(i).filter(|c| c.dtype == DType::I32)?.data;
        Some(data.as_chunks().0.iter().map(|b| i32::from_le_bytes(*b)).collect::<Vec<i32>>())
    };
    let weight = constant(1).filter(|w| w.dtype == DType::I8)?;
    let element = |o: usize, k: usize| at(o, k).and_then(|i| weight.data.get(i)).map_or(0, |w| *w as i8);
    let row = |o: usize| (0..inner).map(|k| element(o, k)).collect();
    let biases = if epilogue.bias { numbers(3)? } else { vec![0; outputs] };
    let weights = (0..outputs).map(row).collect();
    Some(Layer { weights, biases, factors: numbers(2)?, requantize, name: weight.name.clone() })
}

fn weights(cx: &mut Lowering<'_>, name: &str, words: impl Iterator<Item = i32>) -> Field {
    let data: Vec<u8> = words.flat_map(i32::to_le_bytes).collect();
    Field::Read(cx.weights(name, DType::I32, data.into()))
}

fn write(region: Region) -> Field {
    Field::Write { region, update: false }
}

/// Lowers a matrix product with this weight, if it fits; `at(k, column)` is the number of an element.
pub(super) fn linear(
    cx: &mut Lowering<'_>,
    node: &Node,
    epilogue: &Epilogue,
    [inner, columns]: [usize; 2],
    at: impl Fn(usize, usize) -> usize,
) -> bool {
    let Some(layer) = layer(cx, node, epilogue, [columns, inner], |o, k| Some(at(k, o))) else { return false };
    if !cx.options.target.mve() && !layer.pairable(columns) {
        return false;
    }
    let (x, rows) = Rows::of_value(cx, node, [inner, columns]);
    let order: Vec<usize> = (0..cx.shape(node.outputs[0]).len()).collect();
    let y = cx.output_dense(node.outputs[0], &order).region(Access::Whole);
    let work = product(cx, &layer, [x, y], rows);
    cx.step(node, work, macs(cx.shape(node.outputs[0]), inner));
    true
}

/// A product of rows: `[x, y]`. A row alone is not worth a tile.
fn product(cx: &mut Lowering<'_>, layer: &Layer, [x, y]: [Region; 2], rows: Rows) -> Work {
    let inner = rows.inner;
    let channels = layer.channels();
    if cx.options.target.mve() {
        let (path, records) = match rows.count.as_int() {
            Some(1) => ("int8::mve::LinearRow", weights(cx, &layer.name, helium::rows(&channels))),
            _ => ("int8::mve::Linear", weights(cx, &layer.name, helium::tiles(&channels))),
        };
        let mut fields = vec![("x", Field::Read(x)), ("records", records), ("y", write(y))];
        fields.extend(rows.fields());
        fields.push(("format", layer.format()));
        return kernel(path, fields);
    }
    let few = rows.count.as_int().is_none_or(|rows| rows < records::PIXELS as i64) && inner.is_multiple_of(4);
    let mut fields = vec![("x", Field::Read(x))];
    if few {
        fields.extend([("records", weights(cx, &layer.name, records::vectors(&channels, inner))), ("y", write(y))]);
    } else {
        let scratch = cx.scratch("patches", DType::I32, Expr::from(scratch_len(inner)));
        fields.extend([("records", weights(cx, &layer.name, records::tiles(&channels, inner))), ("y", write(y))]);
        fields.push(("scratch", write(scratch)));
    }
    fields.extend(rows.fields());
    fields.push(("format", layer.format()));
    kernel(if few { "int8::LinearRow" } else { "int8::Linear" }, fields)
}

fn kernel(path: &'static str, fields: Vec<(&'static str, Field)>) -> Work {
    Work::Kernel(Kernel { path, generics: Vec::new(), fields, fallible: false })
}

/// Lowers a convolution, if it fits.
pub(super) fn conv(cx: &mut Lowering<'_>, node: &Node, conv: &Conv, shape: &Shape, epilogue: &Epilogue) -> bool {
    let &Shape { channels, columns, taps, .. } = shape;
    // Fewer channels than a word has are convolutions of one channel each.
    let depthwise = conv.groups >= 4 && channels == 1 && columns == 1;
    let mve = cx.options.target.mve();
    let seen = if depthwise { None } else { planes(conv, shape, &cx.place(node.inputs[0]), mve) };
    let (conv, shape) = seen.as_ref().map_or((conv, shape), |(conv, shape)| (conv, shape));
    let inner = patch_len(shape.channels, shape.kernel);
    let plain = |o: usize, k: usize| Some(o * taps + k);
    let outputs = columns * conv.groups;
    let layer = match (conv.transposed, depthwise) {
        (true, _) => None,
        (_, true) => layer(cx, node, epilogue, [outputs, taps], plain),
        _ if mve => {
            let line = shape.channels * shape.kernel[2];
            // Without the gaps that fill rows up to fours.
            let at = |o: usize, k: usize| shape.in_fours(o, k / line * line.next_multiple_of(4) + k % line);
            layer(cx, node, epilogue, [outputs, channels * taps], at)
        }
        (_, false) => layer(cx, node, epilogue, [outputs, inner], |o, k| shape.in_fours(o, k)),
    };
    let Some(layer) = layer else { return false };
    if depthwise {
        if taps > TAPS {
            return false;
        }
    } else if !mve && !layer.pairable(columns) {
        return false;
    }
    let x = if depthwise { cx.read_channels_last(node.inputs[0]) } else { as_it_stands(cx, node) };
    let y = cx.output_channels_last(node.outputs[0]);
    let (x, y) = if seen.is_some() { (channels_as_depth(x), channels_after(y)) } else { (x, y) };
    let work = if depthwise {
        image(cx, &layer, conv, shape, [&x, &y])
    } else if is_pointwise(conv, shape) && x.strides[1] == Expr::Int(1) && uniform(&x) && uniform(&y) {
        let rows = Rows::of_pixels(&x, &y, [channels, columns]);
        product(cx, &layer, [&x, &y].map(|p| p.region(Access::Whole)), rows)
    } else {
        images(cx, &layer, conv, shape, [&x, &y])
    };
    cx.step(node, work, macs(cx.shape(node.outputs[0]), shape.inner()));
    true
}

/// The same convolution with its channels as the outermost of its spatial dims, where these stand apart and pixels of a row
/// together: kernel rows are then read as they lie.
fn planes(conv: &Conv, shape: &Shape, x: &Place, mve: bool) -> Option<(Conv, Shape)> {
    let one = Expr::Int(1);
    let apart = shape.channels > 1 && x.strides[1] != one && x.strides.last() == Some(&one);
    let plain = conv.groups == 1 && !conv.transposed && conv.spatial < 3 && conv.dilation[2] == 1;
    let [_, h, w] = shape.kernel;
    let kernel = [shape.channels, h, w];
    // Short rows are filled up to fours, but not for Helium.
    let short = match mve {
        true => w == 1,
        false => 2 * patch_len(1, kernel) > 3 * patch_len(shape.channels, shape.kernel),
    };
    if !apart || !plain || short {
        return None;
    }
    let seen = Shape { channels: 1, columns: shape.columns, kernel, taps: shape.channels * shape.taps };
    Some((Conv { spatial: 3, ..conv.clone() }, seen))
}

/// `[n, c, h?, w]` as `[n, 1, c, h, w]`.
fn channels_as_depth(mut x: Place) -> Place {
    x.shape.insert(1, Expr::Int(1));
    x.strides.insert(1, Expr::Int(1));
    with_height(x)
}

/// `[n, c, h?, w]` as `[n, c, 1, h, w]`.
fn channels_after(mut y: Place) -> Place {
    y.shape.insert(2, Expr::Int(1));
    y.strides.insert(2, Expr::Int(0));
    with_height(y)
}

fn with_height(mut place: Place) -> Place {
    if place.shape.len() == 4 {
        place.shape.insert(3, Expr::Int(1));
        place.strides.insert(3, Expr::Int(0));
    }
    place
}

fn image(cx: &mut Lowering<'_>, layer: &Layer, conv: &Conv, shape: &Shape, [x, y]: [&Place; 2]) -> Work {
    let (mve, channels) = (cx.options.target.mve() && conv.groups.is_multiple_of(2), layer.channels());
    let records = match mve {
        true => weights(cx, &layer.name, helium::depthwise(&channels, shape.taps)),
        false => weights(cx, &layer.name, records::depthwise(&channels, shape.taps)),
    };
    let scratch = cx.scratch("outside", DType::I8, Expr::from(conv.groups));
    let mut fields = vec![
        ("x", Field::Read(x.region(Access::Whole))),
        ("records", records),
        ("y", write(y.region(Access::Whole))),
        ("scratch", write(scratch)),
    ];
    fields.extend(geometry(conv, shape, x, y, true));
    fields.extend([("input_zero", layer.input_zero()), ("format", layer.format())]);
    let generics = vec![mve.to_string()];
    Work::Kernel(Kernel { path: "int8::Depthwise", generics, fields, fallible: false })
}

fn images(cx: &mut Lowering<'_>, layer: &Layer, conv: &Conv, shape: &Shape, [x, y]: [&Place; 2]) -> Work {
    if cx.options.target.mve() {
        return pairs(cx, layer, conv, shape, [x, y]);
    }
    let inner = patch_len(shape.channels, shape.kernel);
    let channels = layer.channels();
    let groups = channels.chunks(shape.columns.max(1)).flat_map(|group| records::tiles(group, inner));
    let records = weights(cx, &layer.name, groups);
    let scratch = cx.scratch("patches", DType::I32, Expr::from(scratch_len(inner)));
    let direct = x.strides[1] == Expr::Int(1) && shape.channels.is_multiple_of(4);
    let staging = match direct {
        true => Field::Option(None),
        false => some(write(cx.scratch("staging", DType::I8, Expr::from(staging_len(shape.channels, shape.kernel))))),
    };
    let mut fields = vec![
        ("x", Field::Read(x.region(Access::Whole))),
        ("records", records),
        ("y", write(y.region(Access::Whole))),
        ("scratch", write(scratch)),
        ("staging", staging),
    ];
    fields.extend(geometry(conv, shape, x, y, false));
    fields.extend([("input_zero", layer.input_zero()), ("format", layer.format())]);
    kernel("int8::Conv", fields)
}

/// A convolution, for Helium.
fn pairs(cx: &mut Lowering<'_>, layer: &Layer, conv: &Conv, shape: &Shape, [x, y]: [&Place; 2]) -> Work {
    let channels = layer.channels();
    let groups = channels.chunks(shape.columns.max(1)).flat_map(|group| helium::tiles(group));
    let records = weights(cx, &layer.name, groups);
    let scratch = cx.scratch("patches", DType::I8, Expr::from(mve::scratch_len(shape.channels, shape.kernel)));
    let mut fields = vec![
        ("x", Field::Read(x.region(Access::Whole))),
        ("records", records),
        ("y", write(y.region(Access::Whole))),
        ("scratch", write(scratch)),
    ];
    fields.extend(geometry(conv, shape, x, y, false));
    fields.extend([("input_zero", layer.input_zero()), ("format", layer.format())]);
    kernel("int8::mve::Conv", fields)
}
