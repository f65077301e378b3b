//! Reductions of constant floats by the kernels of the device: sums, means and norms, which weights are made of.

use super::rearrange::view;
use super::{Cell, Column, constant};
use crate::ir::{Constant, ReduceKind, View};
use exported_runtime::kernels::num::Float;
use exported_runtime::kernels::reduce::{FloatSum, Max, Mean, Min, Norm2};
use exported_runtime::{DType, Op, Portable};

/// Whether [`reduce`] knows this reduction.
pub(super) fn evaluates(kind: ReduceKind, dtype: DType) -> bool {
    let known = matches!(kind, ReduceKind::Sum | ReduceKind::Mean | ReduceKind::Max | ReduceKind::Min);
    dtype.is_float() && (known || is_root_of_squares(kind))
}

fn is_root_of_squares(kind: ReduceKind) -> bool {
    matches!(kind, ReduceKind::Norm { p } if p == 2f64.to_bits())
}

/// A reduction over these dims.
pub(super) fn reduce(kind: ReduceKind, dims: &[usize], keepdim: bool, x: &Constant) -> Option<Constant> {
    let rank = x.shape.len();
    let kept = |d: &usize| !dims.contains(d);
    let mut order: Vec<usize> = (0..rank).collect();
    order.sort_by_key(|d| !kept(d));
    let n = dims.iter().map(|&d| x.shape[d]).product();
    let outer = (0..rank).filter(kept).map(|d| x.shape[d]).product();
    let rows = view(&View::Permute(order), x)?;
    let everything: Vec<usize> = (0..rows.data.len() / x.dtype.size()).collect();
    let results = match Column::read(&rows, &everything)? {
        Column::F32(x) => rows_of(kind, &x, outer, n),
        Column::F64(x) => rows_of(kind, &x, outer, n),
        Column::F16(x) => rows_of(kind, &x, outer, n),
        Column::Bf16(x) => rows_of(kind, &x, outer, n),
        _ => None,
    }?;
    let mut data = Vec::new();
    results.write(&mut data);
    let size = |d: usize| if kept(&d) { x.shape[d] } else { 1 };
    let shape = (0..rank).filter(|d| keepdim || kept(d)).map(size).collect();
    Some(constant(x.dtype, shape, data))
}

/// Rows of `n` elements, each to one; `None` without any elements.
fn rows_of<T: Float + Cell>(kind: ReduceKind, x: &[T], outer: usize, n: usize) -> Option<Column> {
    let mut results = vec![*x.first()?; outer];
    let y = &mut results[..];
    let inner = 1;
    match kind {
        ReduceKind::Sum => FloatSum { x, y, outer, n, inner }.call(Portable),
        ReduceKind::Mean => Mean { x, y, outer, n, inner }.call(Portable),
        ReduceKind::Max => Max { x, y, outer, n, inner }.call(Portable),
        ReduceKind::Min => Min { x, y, outer, n, inner }.call(Portable),
        _ if is_root_of_squares(kind) => Norm2 { x, y, outer, n, inner }.call(Portable),
        _ => return None,
    }
    Some(T::column(results))
}
