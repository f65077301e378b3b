//! Operations on quantized tensors that have no counterpart in floats.

use super::super::{Op, TensorType};
use super::operand;
use exported_runtime::DType;

fn byte(x: &TensorType) -> Result<&TensorType, String> {
    match x.dtype {
        DType::I8 | DType::U8 => Ok(x),
        _ => Err(format!("{x} has no elements of 8 bits")),
    }
}

/// A result per element, computed from 256 constants.
pub(super) fn by_table(op: &Op, inputs: &[TensorType]) -> Result<TensorType, String> {
    let (x, table) = (byte(operand(inputs, 0)?)?, operand(inputs, 1)?);
    if table.shape != [256.into()] {
        return Err(format!("{table} is no table of 256 results"));
    }
    match *op {
        Op::QuantizedSoftmax { dim, requantize, .. } if dim < x.shape.len() && table.dtype == DType::I32 => {
            Ok(TensorType { dtype: requantize.dtype, shape: x.shape.clone() })
        }
        Op::Lookup => Ok(TensorType { dtype: table.dtype, shape: x.shape.clone() }),
        _ => Err(format!("softmax of {x} with {table}")),
    }
}

/// A product of two matrices of bytes.
pub(super) fn matmul(dtype: DType, inputs: &[TensorType]) -> Result<TensorType, String> {
    let (a, b) = (byte(operand(inputs, 0)?)?, byte(operand(inputs, 1)?)?);
    let plain = [a, b].map(|x| TensorType { dtype, shape: x.shape.clone() });
    super::matmul::matmul(&Default::default(), &plain)
}

/// A linear layer with numbers per group of inputs.
pub(super) fn grouped(bias: bool, inputs: &[TensorType]) -> Result<TensorType, String> {
    let (x, weight, scales, zeros) =
        (operand(inputs, 0)?, operand(inputs, 1)?, operand(inputs, 2)?, operand(inputs, 3)?);
    let wrong = || format!("linear layer of {x} with weight {weight} and scales {scales}");
    let (Some((k, rows)), [n, inner], [of, groups]) =
        (x.shape.split_last(), weight.shape.as_slice(), scales.shape.as_slice())
    else {
        return Err(wrong());
    };
    let even = match (inner.as_int(), groups.as_int()) {
        (Some(inner), Some(groups)) => groups > 0 && inner % groups == 0,
        _ => false,
    };
    if k != inner || n != of || scales != zeros || !even || inputs.len() != 4 + usize::from(bias) {
        return Err(wrong());
    }
    if bias && inputs[4].shape != std::slice::from_ref(n) {
        return Err(wrong());
    }
    Ok(TensorType { dtype: DType::F32, shape: [rows, std::slice::from_ref(n)].concat() })
}
