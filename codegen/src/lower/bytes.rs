//! Operations on quantized tensors that are no layers, and linear layers whose weights have numbers per group of inputs.

use super::layer::{bound, converted, format, macs, size, sizes, some};
use super::matmul::{Rows, forward};
use super::reduce::{read, write};
use super::{Access, Field, Kernel, Lowering, Place, Work, around_dim, numel};
use crate::diag::Diagnostic;
use crate::ir::{Constant, Node, Op, Requantize, ValueId};
use crate::sym::Expr;
use exported_runtime::DType;

type Result<T> = std::result::Result<T, Diagnostic>;

/// Lowers the operations of this file.
pub(super) fn lower(cx: &mut Lowering<'_>, node: &Node) -> Result<()> {
    match node.op {
        Op::Lookup => {
            let (x, order) = cx.read_any_dense(node.inputs[0]);
            let table = cx.read_dense(node.inputs[1], &[0]);
            let place = cx.output_dense(node.outputs[0], &order);
            step(cx, node, "bytes::Lookup", vec![("x", read(x)), ("table", read(table)), ("y", write(&place))]);
        }
        Op::QuantizedSoftmax { dim, requantize, factor } => softmax(cx, node, dim, requantize, factor),
        Op::QuantizedMatMul { requantize, weight_zero, factor } => {
            matmul(cx, node, requantize, [weight_zero, factor])?;
        }
        Op::GroupedLinear { bias } => grouped(cx, node, bias)?,
        ref other => return Err(Diagnostic::bug(format!("{other:?} is not on bytes"))),
    }
    Ok(())
}

fn step(cx: &mut Lowering<'_>, node: &Node, path: &'static str, fields: Vec<(&'static str, Field)>) {
    let work = Work::Kernel(Kernel { path, generics: Vec::new(), fields, fallible: false });
    let cost = numel(cx.shape(node.outputs[0]));
    cx.step(node, work, cost);
}

/// The fields of a rescaled result.
fn rescale(requantize: Requantize, factor: i32) -> [(&'static str, Field); 3] {
    let (low, high) = requantize.bounds;
    [
        ("format", format(Some(requantize), factor)),
        ("low", bound(DType::I32, f64::from(low))),
        ("high", bound(DType::I32, f64::from(high))),
    ]
}

fn softmax(cx: &mut Lowering<'_>, node: &Node, dim: usize, requantize: Requantize, factor: i32) {
    let (x, order) = cx.read_any_dense(node.inputs[0]);
    let table = cx.read_dense(node.inputs[1], &[0]);
    let place = cx.output_dense(node.outputs[0], &order);
    let (outer, n, inner) = around_dim(cx.shape(node.inputs[0]), &order, dim);
    let mut fields = vec![("x", read(x)), ("table", read(table)), ("y", write(&place))];
    fields.extend([("outer", size(outer)), ("n", size(n)), ("inner", size(inner))]);
    fields.extend(rescale(requantize, factor));
    step(cx, node, "bytes::Softmax", fields);
}

/// A place of `v` whose matrices run forward and repeat no element: the kernel walks over them.
fn distinct(cx: &mut Lowering<'_>, v: ValueId) -> Place {
    let place = forward(cx, v);
    let matrix = place.shape.len().saturating_sub(2)..;
    let mut dims = place.shape[matrix.clone()].iter().zip(&place.strides[matrix]);
    if !dims.any(|(size, stride)| *size != Expr::Int(1) && *stride == Expr::Int(0)) {
        return place;
    }
    let order: Vec<usize> = (0..place.shape.len()).collect();
    cx.copy_dense(v, &place, &order)
}

fn matmul(cx: &mut Lowering<'_>, node: &Node, requantize: Requantize, [zero, factor]: [i32; 2]) -> Result<()> {
    let [a, b] = [node.inputs[0], node.inputs[1]].map(|v| distinct(cx, v));
    let rank = a.shape.len();
    if rank > 4 {
        return Err(Diagnostic::bug("a matrix product with more than two batch dims").at(&node.origin));
    }
    let order: Vec<usize> = (0..rank).collect();
    let y = cx.output_dense(node.outputs[0], &order);
    let [m, k, n] = [a.shape[rank - 2].clone(), a.shape[rank - 1].clone(), b.shape[rank - 1].clone()];
    let sums = cx.scratch("sums", DType::I32, n.clone());
    let lead = vec![Expr::Int(0); 4 - rank];
    let strides = |p: &Place| sizes([lead.clone(), p.strides.clone()].concat());
    let batch = [vec![Expr::Int(1); 4 - rank], a.shape[..rank - 2].to_vec()].concat();
    let mut fields = vec![("a", read(a.region(Access::Whole))), ("b", read(b.region(Access::Whole))), ("y", write(&y))];
    fields.extend([
        ("scratch", Field::Write { region: sums, update: false }),
        ("batch", sizes(batch)),
        ("rows", size(m)),
        ("inner", size(k.clone())),
        ("columns", size(n)),
        ("a_strides", strides(&a)),
        ("b_strides", strides(&b)),
        ("weight_zero", Field::Int(Expr::Int(i64::from(zero)))),
    ]);
    fields.extend(rescale(requantize, factor));
    let work = Work::Kernel(Kernel { path: "bytes::MatMul", generics: Vec::new(), fields, fallible: false });
    let cost = numel(cx.shape(node.outputs[0])) * k;
    cx.step(node, work, cost);
    Ok(())
}

/// `[panel][group][WIDTH]` of `[column][group]`.
fn numbers(constant: &Constant, width: usize, [columns, groups]: [usize; 2]) -> Vec<u8> {
    let data = converted(constant, DType::F32).unwrap_or_default();
    let elements = data.as_chunks::<4>().0;
    let panels = (0..columns.div_ceil(width)).flat_map(|p| (0..groups).map(move |g| (p, g)));
    let lanes = panels.flat_map(|(p, g)| (0..width).map(move |lane| (p * width + lane, g)));
    let element = |(column, g): (usize, usize)| match column < columns {
        true => elements.get(column * groups + g).copied().unwrap_or_default(),
        false => [0; 4],
    };
    lanes.flat_map(element).collect()
}

/// Rows of panels as `rt::kernels::grouped` stores them: halves of bytes where all weights have 4 bits.
fn rows_of(weight: &Constant, width: usize, [columns, inner]: [usize; 2]) -> (Vec<u8>, &'static str) {
    let at = |column: usize, k: usize| match column < columns {
        true => weight.data.get(column * inner + k).map_or(0, |w| *w as i8),
        false => 0,
    };
    let rows = (0..columns.div_ceil(width)).flat_map(|p| (0..inner).map(move |k| (p * width, k)));
    if weight.data.iter().all(|w| (-8..8).contains(&(*w as i8))) {
        let half = width / 2;
        let nibble = |column: usize, k: usize| (at(column, k) + 8) as u8;
        let bytes = rows.flat_map(|(first, k)| (first..first + half).map(move |c| (c, k)));
        return (
            bytes.map(|(c, k)| nibble(c, k) | nibble(c + half, k) << 4).collect(),
            "rt::kernels::grouped::Nibbles",
        );
    }
    let bytes = rows.flat_map(|(first, k)| (first..first + width).map(move |c| (c, k)));
    (bytes.map(|(c, k)| at(c, k) as u8).collect(), "rt::kernels::grouped::Bytes")
}

fn grouped(cx: &mut Lowering<'_>, node: &Node, bias: bool) -> Result<()> {
    let constant = |i: usize| cx.constant_of(node.inputs[i]).cloned();
    let (Some(weight), Some(scale), Some(zero)) = (constant(1), constant(2), constant(3)) else {
        return Err(Diagnostic::bug("a linear layer of groups without constant weights").at(&node.origin));
    };
    let (&[columns, inner], &[_, groups]) = (weight.shape.as_slice(), scale.shape.as_slice()) else {
        return Err(Diagnostic::bug("groups of something that is no matrix").at(&node.origin));
    };
    let width = cx.options.target.panel();
    let (packed, stored) = rows_of(&weight, width, [columns, inner]);
    let (x, rows) = Rows::of_value(cx, node, [inner, columns]);
    let bias = match bias {
        true => some(read(cx.read_dense(node.inputs[4], &[0]))),
        false => Field::Option(None),
    };
    let order: Vec<usize> = (0..cx.shape(node.outputs[0]).len()).collect();
    let y = cx.output_dense(node.outputs[0], &order);
    let of_groups = |c: &Constant| numbers(c, width, [columns, groups]);
    let mut fields = vec![("x", read(x)), ("weights", Field::Read(cx.weights(&weight.name, DType::U8, packed.into())))];
    for (name, constant) in [("scale", &scale), ("zero_point", &zero)] {
        fields.push((name, Field::Read(cx.weights(&constant.name, DType::F32, of_groups(constant).into()))));
    }
    fields.extend([("bias", bias), ("y", write(&y))]);
    fields.extend(rows.fields());
    fields.extend([("group", size(inner / groups.max(1))), ("stored", Field::Path(stored.into()))]);
    let generics = vec![stored.to_string(), width.to_string()];
    let work = Work::Kernel(Kernel { path: "grouped::Linear", generics, fields, fallible: false });
    cx.step(node, work, macs(cx.shape(node.outputs[0]), inner));
    Ok(())
}
