//! Selection and writing by index tensors.

use super::super::TensorType;
use super::{broadcast, operand};
use crate::sym::Expr;
use exported_runtime::DType;

/// Index tensors are i32 or i64.
fn is_index(t: &TensorType) -> Result<(), String> {
    match t.dtype {
        DType::I64 | DType::I32 => Ok(()),
        other => Err(format!("indices of dtype `{}`", other.name())),
    }
}

fn has_dim(x: &TensorType, dim: usize) -> Result<(), String> {
    if dim < x.shape.len() { Ok(()) } else { Err(format!("dim {dim} of {x}")) }
}

pub(super) fn embedding(inputs: &[TensorType]) -> Result<TensorType, String> {
    let (table, ids) = (operand(inputs, 0)?, operand(inputs, 1)?);
    is_index(ids)?;
    has_dim(table, 0)?;
    Ok(TensorType { dtype: table.dtype, shape: [&ids.shape, &table.shape[1..]].concat() })
}

pub(super) fn nonzero(x: &TensorType) -> Result<Vec<TensorType>, String> {
    if x.dtype != DType::Bool || x.shape.is_empty() {
        return Err(format!("coordinates in {x}, expected truth values with dims"));
    }
    let shape = vec![Expr::product(x.shape.clone()), Expr::from(x.shape.len())];
    Ok(vec![TensorType { dtype: DType::I64, shape }, TensorType { dtype: DType::I64, shape: Vec::new() }])
}

pub(super) fn index_select(dim: usize, inputs: &[TensorType]) -> Result<TensorType, String> {
    let (x, ids) = (operand(inputs, 0)?, operand(inputs, 1)?);
    is_index(ids)?;
    has_dim(x, dim)?;
    let [k] = ids.shape.as_slice() else { return Err(format!("index_select by {ids}, expected one dim")) };
    let mut result = x.clone();
    result.shape[dim] = k.clone();
    Ok(result)
}

/// The dims of `index` other than `dim` must not be larger than those of `x`.
fn within(dim: usize, index: &TensorType, x: &TensorType) -> Result<(), String> {
    is_index(index)?;
    has_dim(x, dim)?;
    let larger = |(d, (i, n)): (usize, (&Expr, &Expr))| {
        d != dim && matches!((i.as_int(), n.as_int()), (Some(i), Some(n)) if i > n)
    };
    if index.shape.len() != x.shape.len() || index.shape.iter().zip(&x.shape).enumerate().any(larger) {
        return Err(format!("{index} does not index dim {dim} of {x}"));
    }
    Ok(())
}

pub(super) fn gather(dim: usize, inputs: &[TensorType]) -> Result<TensorType, String> {
    let (x, index) = (operand(inputs, 0)?, operand(inputs, 1)?);
    within(dim, index, x)?;
    Ok(TensorType { dtype: x.dtype, shape: index.shape.clone() })
}

pub(super) fn scatter(dim: usize, inputs: &[TensorType]) -> Result<TensorType, String> {
    let (x, index, source) = (operand(inputs, 0)?, operand(inputs, 1)?, operand(inputs, 2)?);
    within(dim, index, x)?;
    if source.dtype != x.dtype || source.shape != index.shape {
        return Err(format!("{source} cannot be scattered into {x} by {index}"));
    }
    Ok(x.clone())
}

/// Shape of `x` indexed along `dims` by tensors that broadcast to `index`: where the dims were if they are adjacent, else
/// in front.
pub(crate) fn indexed_shape(x: &[Expr], dims: &[usize], index: &[Expr]) -> Vec<Expr> {
    let rest = |range: std::ops::Range<usize>| range.filter(|d| !dims.contains(d)).map(|d| x[d].clone());
    let adjacent = dims.windows(2).all(|w| w[1] == w[0] + 1);
    let first = if adjacent { dims.first().copied().unwrap_or(0) } else { 0 };
    rest(0..first).chain(index.iter().cloned()).chain(rest(first..x.len())).collect()
}

fn indexed(dims: &[usize], x: &TensorType, indices: &[TensorType]) -> Result<TensorType, String> {
    indices.iter().try_for_each(is_index)?;
    let sorted = dims.windows(2).all(|w| w[0] < w[1]);
    if dims.is_empty() || !sorted || dims.iter().any(|&d| d >= x.shape.len()) || dims.len() != indices.len() {
        return Err(format!("{} index tensors for dims {dims:?} of {x}", indices.len()));
    }
    if indices.iter().any(|t| t.dtype != indices[0].dtype) {
        return Err("index tensors of different dtypes".into());
    }
    let shapes: Vec<Vec<Expr>> = indices.iter().map(|t| t.shape.clone()).collect();
    Ok(TensorType { dtype: x.dtype, shape: indexed_shape(&x.shape, dims, &broadcast(&shapes)?) })
}

pub(super) fn index(dims: &[usize], inputs: &[TensorType]) -> Result<TensorType, String> {
    indexed(dims, operand(inputs, 0)?, inputs.get(1..).unwrap_or_default())
}

pub(super) fn index_put(dims: &[usize], inputs: &[TensorType]) -> Result<TensorType, String> {
    let (x, values) = (operand(inputs, 0)?, operand(inputs, 1)?);
    let expected = indexed(dims, x, inputs.get(2..).unwrap_or_default())?;
    if *values != expected {
        return Err(format!("values are {values}, expected {expected}"));
    }
    Ok(x.clone())
}

pub(super) fn embedding_bag(include_last: bool, inputs: &[TensorType]) -> Result<TensorType, String> {
    let (table, ids, offsets) = (operand(inputs, 0)?, operand(inputs, 1)?, operand(inputs, 2)?);
    is_index(ids)?;
    let ([_, d], [_], [bags]) = (table.shape.as_slice(), ids.shape.as_slice(), offsets.shape.as_slice()) else {
        return Err(format!("bags of {ids} at {offsets} from {table}"));
    };
    if offsets.dtype != ids.dtype || !table.dtype.is_float() {
        return Err(format!("bags of {ids} at {offsets} from {table}"));
    }
    if inputs.get(3).is_some_and(|w| w.dtype != table.dtype || w.shape != ids.shape) {
        return Err(format!("the weights are {}, expected one per id", inputs[3]));
    }
    let bags = bags.clone() - Expr::Int(i64::from(include_last));
    Ok(TensorType { dtype: table.dtype, shape: vec![bags, d.clone()] })
}
