//! Matrix products and the operands of their epilogues.

use super::super::{Epilogue, TensorType};
use super::operand;
use crate::sym::Expr;

pub(super) fn linear(epilogue: &Epilogue, inputs: &[TensorType]) -> Result<TensorType, String> {
    let (x, weight) = (operand(inputs, 0)?, operand(inputs, 1)?);
    let (Some((k, rows)), [n, inner]) = (x.shape.split_last(), weight.shape.as_slice()) else {
        return Err(format!("linear layer of {x} with weight {weight}"));
    };
    if k != inner || (x.dtype != weight.dtype && !epilogue.dequantize && epilogue.requantize.is_none()) {
        return Err(format!("linear layer of {x} with weight {weight}"));
    }
    let mut shape = rows.to_vec();
    shape.push(n.clone());
    let result = TensorType { dtype: epilogue.requantize.map_or(x.dtype, |r| r.dtype), shape };
    check_epilogue(epilogue, &inputs[2..], &result, n)?;
    Ok(result)
}

pub(super) fn matmul(epilogue: &Epilogue, inputs: &[TensorType]) -> Result<TensorType, String> {
    let (a, b) = (operand(inputs, 0)?, operand(inputs, 1)?);
    let rank = a.shape.len();
    let wrong = || format!("matrix product of {a} and {b}");
    if rank < 2 || b.shape.len() != rank || a.dtype != b.dtype && !epilogue.dequantize {
        return Err(wrong());
    }
    let (batch, n) = (&a.shape[..rank - 2], &b.shape[rank - 1]);
    if *batch != b.shape[..rank - 2] || a.shape[rank - 1] != b.shape[rank - 2] {
        return Err(wrong());
    }
    let mut shape = a.shape[..rank - 1].to_vec();
    shape.push(n.clone());
    let result = TensorType { dtype: a.dtype, shape };
    check_epilogue(epilogue, &inputs[2..], &result, n)?;
    Ok(result)
}

/// The operands an epilogue adds: vectors over the output channels, then a tensor like the result.
pub(super) fn check_epilogue(
    epilogue: &Epilogue,
    operands: &[TensorType],
    result: &TensorType,
    channels: &Expr,
) -> Result<(), String> {
    if operands.len() != epilogue.operands() {
        return Err(format!("{} operands of the epilogue, expected {}", operands.len(), epilogue.operands()));
    }
    let vectors = operands.len() - usize::from(epilogue.residual);
    for vector in &operands[..vectors] {
        if vector.shape != std::slice::from_ref(channels) || !vector.dtype.is_float() && result.dtype.is_float() {
            return Err(format!("{vector} stands for one number per output channel of {result}"));
        }
    }
    match operands.get(vectors) {
        Some(residual) if residual != result => Err(format!("{residual} is added to {result}")),
        _ => Ok(()),
    }
}
