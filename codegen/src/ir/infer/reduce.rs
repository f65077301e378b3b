//! Reductions, softmax, normalization and scans.

use super::super::{CumKind, ReduceKind, TensorType};
use super::operand;
use crate::sym::Expr;
use exported_runtime::DType;

fn has_dim(x: &TensorType, dim: usize) -> Result<(), String> {
    match dim < x.shape.len() {
        true => Ok(()),
        false => Err(format!("dim {dim} of {x}")),
    }
}

fn is_float(x: &TensorType, what: &str) -> Result<(), String> {
    if x.dtype.is_float() { Ok(()) } else { Err(format!("{what} of `{}`", x.dtype.name())) }
}

pub(super) fn reduce(kind: ReduceKind, dims: &[usize], keepdim: bool, x: &TensorType) -> Result<TensorType, String> {
    dims.iter().try_for_each(|&d| has_dim(x, d))?;
    let dtype = match kind {
        ReduceKind::Sum | ReduceKind::Prod if !x.dtype.is_float() => DType::I64,
        ReduceKind::Sum | ReduceKind::Prod => x.dtype,
        ReduceKind::Max | ReduceKind::Min => {
            if dims.iter().any(|&d| x.shape[d] == Expr::Int(0)) {
                return Err(format!("the extreme of an empty dim of {x}"));
            }
            x.dtype
        }
        ReduceKind::ArgMax | ReduceKind::ArgMin => {
            if dims.len() > 1 {
                return Err("the position of an extreme over several dims".into());
            }
            DType::I64
        }
        ReduceKind::Any | ReduceKind::All => DType::Bool,
        ReduceKind::Mean
        | ReduceKind::Var { .. }
        | ReduceKind::Std { .. }
        | ReduceKind::Norm { .. }
        | ReduceKind::LogSumExp => {
            is_float(x, "a mean, variance or norm")?;
            x.dtype
        }
    };
    let shape = x.shape.iter().enumerate().filter_map(|(d, s)| match (dims.contains(&d), keepdim) {
        (false, _) => Some(s.clone()),
        (true, true) => Some(Expr::Int(1)),
        (true, false) => None,
    });
    Ok(TensorType { dtype, shape: shape.collect() })
}

pub(super) fn softmax(dim: usize, x: &TensorType) -> Result<TensorType, String> {
    is_float(x, "softmax")?;
    has_dim(x, dim)?;
    Ok(x.clone())
}

pub(super) fn layer_norm(dims: usize, affine: [bool; 2], inputs: &[TensorType]) -> Result<TensorType, String> {
    let x = operand(inputs, 0)?;
    is_float(x, "layer normalization")?;
    let Some(first) = x.shape.len().checked_sub(dims) else {
        return Err(format!("normalization over {dims} dims of {x}"));
    };
    let expected = TensorType { dtype: x.dtype, shape: x.shape[first..].to_vec() };
    parameters(affine, &expected, inputs)?;
    Ok(x.clone())
}

pub(super) fn group_norm(groups: usize, affine: [bool; 2], inputs: &[TensorType]) -> Result<TensorType, String> {
    let x = operand(inputs, 0)?;
    is_float(x, "group normalization")?;
    has_dim(x, 1)?;
    let channels = x.shape[1].as_int().ok_or("group normalization of an unknown number of channels")?;
    if groups == 0 || channels % groups as i64 != 0 {
        return Err(format!("{channels} channels do not divide into {groups} groups"));
    }
    let expected = TensorType { dtype: x.dtype, shape: vec![x.shape[1].clone()] };
    parameters(affine, &expected, inputs)?;
    Ok(x.clone())
}

/// Weight and bias, those that are present.
fn parameters(affine: [bool; 2], expected: &TensorType, inputs: &[TensorType]) -> Result<(), String> {
    let count = affine.iter().filter(|p| **p).count();
    if inputs.len() != 1 + count {
        return Err(format!("{} operands, expected {}", inputs.len(), 1 + count));
    }
    match inputs[1..].iter().find(|t| *t != expected) {
        Some(found) => Err(format!("weight or bias is {found}, expected {expected}")),
        None => Ok(()),
    }
}

pub(super) fn cumulative(kind: CumKind, dim: usize, x: &TensorType) -> Result<Vec<TensorType>, String> {
    has_dim(x, dim)?;
    match kind {
        CumKind::Sum | CumKind::Prod => Ok(vec![x.clone()]),
        CumKind::LogSumExp => is_float(x, "logcumsumexp").map(|()| vec![x.clone()]),
        CumKind::Max | CumKind::Min => Ok(with_indices(x.clone())),
    }
}

/// A type and that of the positions beside it.
pub(super) fn with_indices(values: TensorType) -> Vec<TensorType> {
    let indices = TensorType { dtype: DType::I64, shape: values.shape.clone() };
    vec![values, indices]
}

pub(super) fn top_k(k: &Expr, dim: usize, x: &TensorType) -> Result<Vec<TensorType>, String> {
    has_dim(x, dim)?;
    if let (Some(k), Some(n)) = (k.as_int(), x.shape[dim].as_int())
        && !(0..=n).contains(&k)
    {
        return Err(format!("the {k} greatest of {n} elements"));
    }
    let mut values = x.clone();
    values.shape[dim] = k.clone();
    Ok(with_indices(values))
}

pub(super) fn sort(dim: usize, x: &TensorType) -> Result<Vec<TensorType>, String> {
    has_dim(x, dim)?;
    Ok(with_indices(x.clone()))
}
