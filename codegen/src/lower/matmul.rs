//! Matrix products. Constant right operands are packed now, others by the kernel at run time.

use super::layer::{arithmetic, macs, size, sizes};
use super::{Access, Field, Kernel, Lowering, Place, Region, Work, numel};
use crate::diag::Diagnostic;
use crate::ir::{Constant, Epilogue, Node, ValueId};
use crate::sym::Expr;
use exported_runtime::kernels::pack;

type Result<T> = std::result::Result<T, Diagnostic>;

/// `x · weightᵀ`.
pub(super) fn linear(cx: &mut Lowering<'_>, node: &Node, epilogue: &Epilogue) -> Result<()> {
    if let Some(weight) = cx.constant_of(node.inputs[1]) {
        let &[columns, inner] = weight.shape.as_slice() else {
            return Err(Diagnostic::bug("a linear layer whose weight is no matrix").at(&node.origin));
        };
        return packed(cx, node, epilogue, weight, inner, columns, |k, n| n * inner + k);
    }
    let weight = cx.place(node.inputs[1]);
    let transposed = Place {
        shape: weight.shape.iter().rev().cloned().collect(),
        strides: weight.strides.iter().rev().cloned().collect(),
        ..weight
    };
    // All rows of `x` are one matrix.
    let (region, stride) = rows(cx, node.inputs[0]);
    let shape = cx.shape(node.inputs[0]);
    let (k, leading) = (shape[shape.len() - 1].clone(), numel(&shape[..shape.len() - 1]));
    let a = Place {
        buffer: region.buffer,
        dtype: cx.dtype(node.inputs[0]),
        offset: region.offset,
        shape: vec![leading, k],
        strides: vec![stride, Expr::Int(1)],
    };
    product(cx, node, epilogue, a, transposed)
}

/// `a · b` for each index of the batch dims.
pub(super) fn matmul(cx: &mut Lowering<'_>, node: &Node, epilogue: &Epilogue) -> Result<()> {
    let [left, right] = [node.inputs[0], node.inputs[1]];
    let constant = cx.constant_of(right).filter(|b| b.shape.len() == 2);
    if let Some(b) = constant {
        let (inner, columns) = (b.shape[0], b.shape[1]);
        return packed(cx, node, epilogue, b, inner, columns, |k, n| k * columns + n);
    }
    let a = with_unit_stride(cx, left);
    let b = forward(cx, right);
    product(cx, node, epilogue, a, b)
}

/// A product with weights packed at build time.
fn packed(
    cx: &mut Lowering<'_>,
    node: &Node,
    epilogue: &Epilogue,
    weight: &Constant,
    inner: usize,
    columns: usize,
    at: impl Fn(usize, usize) -> usize,
) -> Result<()> {
    let sizes = [inner, columns];
    if super::int8::linear(cx, node, epilogue, sizes, &at) || super::dot4::linear(cx, node, epilogue, sizes, &at) {
        return Ok(());
    }
    let (arith, accumulator) = arithmetic(node, cx.dtype(node.inputs[0]), epilogue)?;
    let weights = cx.packed(weight, [1, inner, columns], |_, k, n| at(k, n));
    let (x, rows) = Rows::of_value(cx, node, sizes);
    let order: Vec<usize> = (0..cx.shape(node.outputs[0]).len()).collect();
    let (fields, _) = cx.epilogue(node, epilogue, accumulator, &order, |cx, y| cx.output_dense(y, &order))?;
    let kernel = linear_kernel(cx, arith, x, weights, fields, rows);
    cx.step(node, kernel, macs(cx.shape(node.outputs[0]), inner));
    Ok(())
}

/// Sizes of a product of rows with weights; distances in elements.
pub(super) struct Rows {
    /// How many.
    pub count: Expr,
    x_stride: Expr,
    y_stride: Expr,
    pub inner: usize,
    columns: usize,
}

impl Rows {
    /// All rows of the first operand, and where they stand; the result is dense.
    pub fn of_value(cx: &mut Lowering<'_>, node: &Node, [inner, columns]: [usize; 2]) -> (Region, Rows) {
        let (x, x_stride) = rows(cx, node.inputs[0]);
        let shape = cx.shape(node.outputs[0]);
        let count = numel(&shape[..shape.len() - 1]);
        (x, Rows { count, x_stride, y_stride: Expr::from(columns), inner, columns })
    }

    /// All pixels of images of `[channels, columns]`, which are equally far apart ([`super::conv::uniform`]).
    pub fn of_pixels(x: &Place, y: &Place, [inner, columns]: [usize; 2]) -> Rows {
        let last = x.shape.len() - 1;
        let count = numel(&[&x.shape[..1], &x.shape[2..]].concat());
        Rows { count, x_stride: x.strides[last].clone(), y_stride: y.strides[last].clone(), inner, columns }
    }

    /// The fields that all kernels name alike.
    pub fn fields(self) -> [(&'static str, Field); 5] {
        [
            ("rows", size(self.count)),
            ("inner", size(self.inner)),
            ("columns", size(self.columns)),
            ("x_stride", size(self.x_stride)),
            ("y_stride", size(self.y_stride)),
        ]
    }
}

/// The runtime's `Linear`.
pub(super) fn linear_kernel(
    cx: &Lowering<'_>,
    arith: &str,
    x: Region,
    weights: Region,
    epilogue: Vec<(&'static str, Field)>,
    rows: Rows,
) -> Work {
    let mut fields = vec![("x", Field::Read(x)), ("weights", Field::Read(weights))];
    if !epilogue.iter().any(|(name, _)| *name == "scale") {
        fields.extend([("scale", Field::Option(None)), ("zero_point", Field::Option(None))]);
    }
    fields.extend(epilogue);
    fields.extend(rows.fields());
    fields.push(("panel", Field::Path(cx.panel().into())));
    let generics = vec![arith.to_string(), cx.panel().to_string()];
    Work::Kernel(Kernel { path: "matmul::Linear", generics, fields, fallible: false })
}

/// The value as one matrix of rows, and the distance of these; the last dim contiguous.
fn rows(cx: &mut Lowering<'_>, v: ValueId) -> (Region, Expr) {
    let place = cx.place(v);
    if let Some(stride) = row_stride(&place) {
        return (place.region(Access::Whole), stride);
    }
    let order: Vec<usize> = (0..place.shape.len()).collect();
    let width = place.shape.last().cloned().unwrap_or(Expr::Int(1));
    (cx.read_dense(v, &order), width)
}

/// The distance of rows, if all dims but the last are evenly spaced and the last is contiguous.
fn row_stride(place: &Place) -> Option<Expr> {
    let one = Expr::Int(1);
    let (last, leading) = (place.shape.len().checked_sub(1)?, place.shape.len().saturating_sub(1));
    if place.shape[last] != one && place.strides[last] != one {
        return None;
    }
    let mut expected: Option<(Expr, Expr)> = None;
    for d in (0..leading).rev().filter(|&d| place.shape[d] != one) {
        let stride = place.strides[d].clone();
        if stride.as_int().is_some_and(|s| s <= 0) {
            return None;
        }
        expected = match expected {
            None => Some((stride.clone(), stride * place.shape[d].clone())),
            Some((_, next)) if next != stride => return None,
            Some((first, next)) => Some((first, next * place.shape[d].clone())),
        };
    }
    Some(expected.map_or(place.shape[last].clone(), |(first, _)| first))
}

/// A place of `v` without negative strides.
pub(super) fn forward(cx: &mut Lowering<'_>, v: ValueId) -> Place {
    let place = cx.place(v);
    if place.strides.iter().all(|s| s.as_int().is_none_or(|s| s >= 0)) {
        return place;
    }
    let order: Vec<usize> = (0..place.shape.len()).collect();
    cx.copy_dense(v, &place, &order)
}

/// A place of `v` whose last dim is contiguous.
fn with_unit_stride(cx: &mut Lowering<'_>, v: ValueId) -> Place {
    let place = forward(cx, v);
    let last = place.shape.len() - 1;
    if place.shape[last] == Expr::Int(1) || place.strides[last] == Expr::Int(1) {
        return place;
    }
    let order: Vec<usize> = (0..place.shape.len()).collect();
    cx.copy_dense(v, &place, &order)
}

/// A product whose right operand is known at run time only.
fn product(cx: &mut Lowering<'_>, node: &Node, epilogue: &Epilogue, a: Place, b: Place) -> Result<()> {
    let dtype = a.dtype;
    let (arith, accumulator) = arithmetic(node, dtype, epilogue)?;
    if a.shape.len() > 4 || epilogue.slope || epilogue.dequantize || epilogue.requantize.is_some() {
        return Err(Diagnostic::bug("a matrix product with more than two batch dims").at(&node.origin));
    }
    let y = node.outputs[0];
    let order: Vec<usize> = (0..cx.shape(y).len()).collect();
    let (mut fields, _) = cx.epilogue(node, epilogue, accumulator, &order, |cx, y| cx.output_dense(y, &order))?;
    fields.retain(|(name, _)| !["slope", "format"].contains(name));
    let rank = a.shape.len();
    let [m, k, n] = [a.shape[rank - 2].clone(), a.shape[rank - 1].clone(), b.shape[rank - 1].clone()];
    let lead = 4 - rank;
    let batch = |list: &[Expr], missing: i64| -> Vec<Expr> {
        (0..2).map(|i| if i < lead { Expr::Int(missing) } else { list[i - lead].clone() }).collect()
    };
    let scratch = scratch_len(cx, &k, &n);
    let scratch = cx.scratch("packed", dtype, scratch);
    let y_batch = [n.clone() * m.clone() * batch(&a.shape, 1)[1].clone(), n.clone() * m.clone()];
    let mut all = vec![("a", Field::Read(a.region(Access::Whole))), ("b", Field::Read(b.region(Access::Whole)))];
    all.extend(fields);
    all.extend([
        ("scratch", Field::Write { region: scratch, update: false }),
        ("batch", sizes(batch(&a.shape, 1))),
        ("rows", size(m)),
        ("inner", size(k.clone())),
        ("columns", size(n.clone())),
        ("a_strides", sizes([batch(&a.strides, 0), vec![a.strides[rank - 2].clone()]].concat())),
        ("b_strides", sizes([batch(&b.strides, 0), b.strides[rank - 2..].to_vec()].concat())),
        ("y_strides", sizes([y_batch.to_vec(), vec![n]].concat())),
        ("panel", Field::Path(cx.panel().into())),
    ]);
    let generics = vec![arith.to_string(), cx.panel().to_string()];
    let kernel = Kernel { path: "matmul::MatMul", generics, fields: all, fallible: false };
    let work = numel(cx.shape(y)) * k;
    cx.step(node, Work::Kernel(kernel), work);
    Ok(())
}

/// Elements of a packed right operand.
fn scratch_len(cx: &Lowering<'_>, k: &Expr, n: &Expr) -> Expr {
    let width = cx.options.target.panel();
    match (k.as_int(), n.as_int()) {
        (Some(k), Some(n)) => Expr::from(pack::panels_len(width, k.max(0) as usize, n.max(0) as usize)),
        _ => Expr::floordiv(n.clone() + Expr::from(width - 1), width as i64) * Expr::from(width) * k.clone(),
    }
}
