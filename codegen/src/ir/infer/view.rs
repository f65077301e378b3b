//! Views, joins and pointwise operations.

use super::super::{Formula, Graph, TensorType, View};
use super::broadcast;
use crate::sym::Expr;

/// Number of elements.
fn numel(shape: &[Expr]) -> Expr {
    shape.iter().fold(Expr::Int(1), |n, s| n * s.clone())
}

pub(super) fn pointwise(formula: &Formula, shape: &[Expr], inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
    if formula.params.len() != inputs.len() {
        return Err(format!("the formula takes {} operands, found {}", formula.params.len(), inputs.len()));
    }
    for (i, (param, input)) in formula.params.iter().zip(inputs).enumerate() {
        if *param != input.dtype {
            return Err(format!("operand {i} is `{}`, the formula takes `{}`", input.dtype.name(), param.name()));
        }
    }
    let mut shapes: Vec<Vec<Expr>> = inputs.iter().map(|t| t.shape.clone()).collect();
    shapes.push(shape.to_vec());
    if broadcast(&shapes)? != shape {
        return Err("the operands do not broadcast to the result".into());
    }
    Ok(formula.results.iter().map(|&r| TensorType { dtype: formula.dtype(r), shape: shape.to_vec() }).collect())
}

pub(super) fn view(view: &View, x: &TensorType, graph: &Graph) -> Result<TensorType, String> {
    let rank = x.shape.len();
    let shape = match view {
        View::Reshape(shape) => {
            if !graph.same(&numel(shape), &numel(&x.shape)) {
                return Err(format!("{x} cannot be reshaped to {}", list(shape)));
            }
            shape.clone()
        }
        View::Permute(perm) => {
            let mut sorted = perm.clone();
            sorted.sort_unstable();
            if !sorted.iter().copied().eq(0..rank) {
                return Err(format!("{perm:?} is no permutation of {rank} dims"));
            }
            perm.iter().map(|&p| x.shape[p].clone()).collect()
        }
        View::Slice { dim, len, step, .. } => {
            if *dim >= rank || *step < 1 {
                return Err(format!("slice of dim {dim} with step {step} of {x}"));
            }
            let mut shape = x.shape.clone();
            shape[*dim] = len.clone();
            shape
        }
        View::Expand(shape) => {
            if shape.len() < rank || broadcast(&[x.shape.clone(), shape.clone()])? != *shape {
                return Err(format!("{x} cannot be expanded to {}", list(shape)));
            }
            shape.clone()
        }
        View::Unfold { dim, size, step } => {
            if *dim >= rank || *size < 0 || *step < 1 {
                return Err(format!("windows of {size} entries, {step} apart, of dim {dim} of {x}"));
            }
            let mut shape = x.shape.clone();
            let left = shape[*dim].clone() - Expr::Int(*size);
            if left.as_int().is_some_and(|left| left < 0) {
                return Err(format!("windows of {size} entries of dim {dim} of {x}"));
            }
            shape[*dim] = Expr::floordiv(left, *step) + Expr::Int(1);
            shape.push(Expr::Int(*size));
            shape
        }
        View::Flip(dims) => {
            if dims.iter().any(|&d| d >= rank) {
                return Err(format!("flip of dims {dims:?} of {x}"));
            }
            x.shape.clone()
        }
    };
    Ok(TensorType { dtype: x.dtype, shape })
}

pub(super) fn concat(dim: usize, parts: &[TensorType]) -> Result<TensorType, String> {
    let first = super::operand(parts, 0)?;
    if dim >= first.shape.len() {
        return Err(format!("concatenation along dim {dim} of {first}"));
    }
    let mut result = first.clone();
    for part in &parts[1..] {
        let same = part.dtype == first.dtype
            && part.shape.len() == first.shape.len()
            && (0..part.shape.len()).all(|d| d == dim || part.shape[d] == first.shape[d]);
        if !same {
            return Err(format!("{first} and {part} cannot be concatenated along dim {dim}"));
        }
        result.shape[dim] = result.shape[dim].clone() + part.shape[dim].clone();
    }
    Ok(result)
}

pub(super) fn pad(pads: &[(i64, i64)], x: &TensorType) -> Result<TensorType, String> {
    if pads.len() != x.shape.len() {
        return Err(format!("{} pairs of pads for {x}", pads.len()));
    }
    let mut result = x.clone();
    for (size, &(before, after)) in result.shape.iter_mut().zip(pads) {
        *size = size.clone() + Expr::Int(before) + Expr::Int(after);
        if size.as_int().is_some_and(|s| s < 0) {
            return Err(format!("pads {pads:?} leave less than nothing of {x}"));
        }
    }
    Ok(result)
}

fn list(shape: &[Expr]) -> String {
    let sizes: Vec<String> = shape.iter().map(ToString::to_string).collect();
    format!("[{}]", sizes.join(", "))
}
