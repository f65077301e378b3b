//! Convolution, batch normalization, and the element-by-element conversions of quantized programs.

use super::super::{Conv, Epilogue, TensorType};
use super::matmul::check_epilogue;
use super::operand;
use crate::sym::Expr;
use exported_runtime::DType;

pub(super) fn conv(conv: &Conv, epilogue: &Epilogue, inputs: &[TensorType]) -> Result<TensorType, String> {
    let (x, weight) = (operand(inputs, 0)?, operand(inputs, 1)?);
    let rank = conv.spatial + 2;
    let wrong = |what: &str| Err(format!("convolution of {x} with weight {weight}: {what}"));
    if !(1..=3).contains(&conv.spatial) || x.shape.len() != rank || weight.shape.len() != rank {
        return wrong("the ranks do not fit");
    }
    if x.dtype != weight.dtype && !epilogue.dequantize && epilogue.requantize.is_none() {
        return wrong("the dtypes differ");
    }
    let sizes: Option<Vec<i64>> = weight.shape.iter().map(Expr::as_int).collect();
    let (Some(sizes), groups) = (sizes, conv.groups as i64) else {
        return wrong("the size of the weight depends on the input");
    };
    let (first, second) = (sizes[0], sizes[1].checked_mul(groups).unwrap_or(0));
    let (inputs_of_all, channels) = if conv.transposed { (first, second) } else { (second, first) };
    let divides = groups >= 1 && inputs_of_all % groups == 0 && channels % groups == 0;
    if !divides || x.shape[1] != Expr::Int(inputs_of_all) {
        return wrong(&format!("the channels do not fit in {groups} groups"));
    }
    let mut shape = vec![x.shape[0].clone(), Expr::Int(channels)];
    for i in 0..conv.spatial {
        let size = out(conv, 3 - conv.spatial + i, &x.shape[i + 2], sizes[i + 2]);
        if size.as_int().is_some_and(|s| s < 1) {
            return wrong("the kernel does not fit into the input");
        }
        shape.push(size);
    }
    let result = TensorType { dtype: epilogue.requantize.map_or(x.dtype, |r| r.dtype), shape };
    check_epilogue(epilogue, &inputs[2..], &result, &Expr::Int(channels))?;
    Ok(result)
}

/// Output size along one spatial dim.
fn out(conv: &Conv, d: usize, size: &Expr, kernel: i64) -> Expr {
    let (before, after) = conv.padding[d];
    let (padding, stride) = ((before + after) as i64, conv.stride[d] as i64);
    let reach = conv.dilation[d] as i64 * (kernel - 1);
    if conv.transposed {
        let extra = reach + conv.output_padding[d] as i64 + 1 - padding;
        return (size.clone() - Expr::Int(1)) * Expr::Int(stride) + Expr::Int(extra);
    }
    Expr::floordiv(size.clone() + Expr::Int(padding - reach - 1), stride) + Expr::Int(1)
}

pub(super) fn batch_norm(inputs: &[TensorType]) -> Result<TensorType, String> {
    let x = operand(inputs, 0)?;
    let Some(channels) = x.shape.get(1) else {
        return Err(format!("batch normalization of {x}"));
    };
    for i in 1..5 {
        let vector = operand(inputs, i)?;
        if vector.shape != std::slice::from_ref(channels) {
            return Err(format!("batch normalization of {x} with {vector}"));
        }
    }
    Ok(x.clone())
}

/// `Quantize` and `Dequantize`; with an axis, scales and zero points are operands.
pub(super) fn quantize(to: DType, axis: Option<usize>, inputs: &[TensorType]) -> Result<TensorType, String> {
    let x = operand(inputs, 0)?;
    if let Some(axis) = axis {
        for vector in [operand(inputs, 1)?, operand(inputs, 2)?] {
            if x.shape.get(axis).map(std::slice::from_ref) != Some(vector.shape.as_slice()) {
                return Err(format!("{x} is quantized along dim {axis} with {vector}"));
            }
        }
    }
    Ok(TensorType { dtype: to, shape: x.shape.clone() })
}
