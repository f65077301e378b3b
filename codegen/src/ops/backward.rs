//! The few steps of a backward pass that stand in exported graphs by name: gradients that a program computes itself.

use super::index::{filled, indices};
use super::reduce::sum;
use super::view::numel;
use super::{Outs, Row, map, one, row, wide};
use crate::diag::Diagnostic;
use crate::import::{Call, Number};
use crate::ir::{Binary, Op, ScatterKind, Unary, ValueId};
use crate::sym::Expr;
use exported_runtime::DType;

type Result<T> = std::result::Result<T, Diagnostic>;

/// The rows.
pub const ROWS: &[Row] = &[
    row("aten._softmax_backward_data.default", |call| of_softmax(call, false)),
    row("aten._log_softmax_backward_data.default", |call| of_softmax(call, true)),
    row("aten.native_dropout_backward.default", of_dropout),
    row("aten.max_pool2d_with_indices_backward.default", of_max_pool),
];

/// `(g - sum(g y)) y`; for the logarithm `g - exp(y) sum(g)`. Sixteen bits are rounded to at the end.
fn of_softmax(call: &mut Call<'_>, log: bool) -> Result<Outs> {
    let (gradient, y) = (call.tensor("grad_output")?, call.tensor("output")?);
    let dtype = call.dtype_of(gradient);
    let [gradient, y] = [gradient, y].map(|x| call.cast(x, wide(call.dtype_of(x))));
    let (gradient, y) = (gradient?, y?);
    let dims = if call.rank(y) == 0 { vec![] } else { vec![call.dim("dim", call.rank(y))?] };
    let product = map(call, &[gradient, y], |f, p| f.binary(Binary::Mul, p[0], p[1]))?;
    let total = sum(call, if log { gradient } else { product }, dims, true)?;
    let result = map(call, &[gradient, y, product, total], |f, p| {
        let (from, share) = if log { (p[0], f.unary(Unary::Exp, p[1])) } else { (p[2], p[1]) };
        let part = f.binary(Binary::Mul, share, p[3]);
        f.binary(Binary::Sub, from, part)
    })?;
    let dtype = call.dtype("input_dtype")?.unwrap_or(dtype);
    one(call.cast(result, dtype)?)
}

/// `g * mask * scale`; the scale makes floats of integers.
fn of_dropout(call: &mut Call<'_>) -> Result<Outs> {
    let (gradient, mask, scale) = (call.tensor("grad_output")?, call.tensor("mask")?, call.float("scale")?);
    let dtype = call.dtype_of(gradient);
    let scaled = if dtype.is_float() { dtype } else { DType::F32 };
    one(map(call, &[gradient, mask], |f, p| {
        let kept = f.cast(dtype, p[1]);
        let op = if dtype == DType::Bool { Binary::And } else { Binary::Mul };
        let kept = f.binary(op, p[0], kept);
        let (kept, scale) = (f.cast(scaled, kept), f.float(scaled, scale));
        f.binary(Binary::Mul, kept, scale)
    })?)
}

/// Gradients added where the maxima came from.
fn of_max_pool(call: &mut Call<'_>) -> Result<Outs> {
    let (gradient, x, ids) = (call.tensor("grad_output")?, call.tensor("self")?, call.tensor("indices")?);
    let (shape, dtype) = (call.shape(x), call.dtype_of(x));
    let Some(lead) = shape.len().checked_sub(2).filter(|_| call.rank(gradient) == shape.len()) else {
        return Err(call.damaged(format!("a gradient {} of {}", call.ty(gradient), call.ty(x))));
    };
    let images = numel(&shape[..lead]);
    let windows = numel(&call.shape(gradient)[lead..]);
    let zeros = filled(call, dtype, &[images.clone(), numel(&shape[lead..])], &Number::Int(Expr::Int(0)))?;
    let ids = indices(call, ids)?;
    let flat = |call: &mut Call<'_>, v: ValueId| call.reshape(v, &[images.clone(), windows.clone()]);
    let (ids, values) = (flat(call, ids)?, flat(call, gradient)?);
    let y = call.push(Op::Scatter { dim: 1, kind: ScatterKind::Add }, &[zeros, ids, values])?;
    one(call.reshape(y, &shape)?)
}
