//! The conversions of PT2E programs, faithful to torch's reference arithmetic:
//! `quantize(x) = clamp(round_half_even(x * (1 / scale)) + zero_point, min, max)`, `dequantize(q) = (q - zero_point) * scale`,
//! every step rounded to f32.
//!
//! Both are operations of their own until the passes have seen what can be computed on integers.

use super::{Outs, Row, map, one, row};
use crate::diag::Diagnostic;
use crate::import::Call;
use crate::ir::{Binary, Op, Unary, ValueId};
use crate::sym::Expr;
use exported_runtime::DType;

type Result<T> = std::result::Result<T, Diagnostic>;

/// The rows.
pub const ROWS: &[Row] = &[
    row("quantized_decomposed.quantize_per_tensor.default", quantize_per_tensor),
    row("quantized_decomposed.quantize_per_channel.default", quantize_per_channel),
    row("quantized_decomposed.dequantize_per_tensor.default", dequantize_per_tensor),
    row("quantized_decomposed.dequantize_per_channel.default", dequantize_per_channel),
];

/// The tensor to quantize, its integer type and bounds.
fn quantization(call: &Call<'_>) -> Result<(ValueId, DType, i64, i64)> {
    let x = call.tensor("input")?;
    if call.dtype_of(x) != DType::F32 {
        return Err(call.unsupported(format!("quantization of {}", call.ty(x))));
    }
    let dtype = call.dtype("dtype")?.filter(|d| d.is_int());
    let dtype = dtype.ok_or_else(|| call.unsupported("quantization to something that is no integer"))?;
    Ok((x, dtype, call.int("quant_min")?, call.int("quant_max")?))
}

fn quantize_per_tensor(call: &mut Call<'_>) -> Result<Outs> {
    let (x, dtype, min, max) = quantization(call)?;
    let (scale, zero_point) = (call.float("scale")?.to_bits(), call.int("zero_point")?);
    one(call.push(Op::Quantize { scale, zero_point, min, max, dtype, axis: None }, &[x])?)
}

fn quantize_per_channel(call: &mut Call<'_>) -> Result<Outs> {
    let (x, dtype, min, max) = quantization(call)?;
    let (scales, zero_points, _) = channel_parameters(call, x)?;
    one(map(call, &[x, scales, zero_points], |f, p| {
        let unit = f.float(DType::F32, 1.0);
        let inverse = f.binary(Binary::Div, unit, p[1]);
        let scaled = f.binary(Binary::Mul, p[0], inverse);
        let rounded = f.unary(Unary::Round, scaled);
        let shifted = f.binary(Binary::Add, rounded, p[2]);
        let (min, max) = (f.float(DType::F32, min as f64), f.float(DType::F32, max as f64));
        let raised = f.binary(Binary::Max, shifted, min);
        let cut = f.binary(Binary::Min, raised, max);
        f.cast(dtype, cut)
    })?)
}

/// Scales and zero points as f32, shaped to broadcast along the axis; and the axis.
fn channel_parameters(call: &mut Call<'_>, x: ValueId) -> Result<(ValueId, ValueId, usize)> {
    let axis = call.dim("axis", call.rank(x))?;
    let scales = call.tensor("scales")?;
    let scales = call.cast(scales, DType::F32)?;
    let zero_points = match call.optional_tensor("zero_points")? {
        Some(zero_points) => call.cast(zero_points, DType::F32)?,
        None => {
            let channels = call.shape(scales)[0].as_int().unwrap_or(0);
            super::norm::filled(call, DType::F32, channels, 0.0)?
        }
    };
    let mut shape = vec![Expr::Int(1); call.rank(x)];
    if let (Some(size), Some(channels)) = (shape.get_mut(axis), call.shape(scales).first()) {
        *size = channels.clone();
    }
    Ok((call.reshape(scales, &shape)?, call.reshape(zero_points, &shape)?, axis))
}

/// The integer tensor to dequantize.
fn quantized(call: &Call<'_>) -> Result<ValueId> {
    let q = call.tensor("input")?;
    if !call.dtype_of(q).is_int() {
        return Err(call.damaged(format!("dequantization of {}", call.ty(q))));
    }
    match call.dtype("out_dtype")? {
        None | Some(DType::F32) => Ok(q),
        Some(other) => Err(call.unsupported(format!("dequantization to {}", other.name()))),
    }
}

fn dequantize_per_tensor(call: &mut Call<'_>) -> Result<Outs> {
    let q = quantized(call)?;
    let (scale, zero_point) = (call.float("scale")?.to_bits(), call.int("zero_point")?);
    one(call.push(Op::Dequantize { scale, zero_point, axis: None }, &[q])?)
}

fn dequantize_per_channel(call: &mut Call<'_>) -> Result<Outs> {
    let q = quantized(call)?;
    let (scales, zero_points, axis) = channel_parameters(call, q)?;
    let channels = call.shape(q)[axis].clone();
    let (scales, zero_points) =
        (call.reshape(scales, std::slice::from_ref(&channels))?, call.reshape(zero_points, &[channels])?);
    one(call.push(Op::Dequantize { scale: 0, zero_point: 0, axis: Some(axis) }, &[q, scales, zero_points])?)
}
