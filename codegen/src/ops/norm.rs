//! Normalization over the data itself: layer, group, instance and root-mean-square normalization.

use super::batch_norm::{by_halves, moved};
use super::reduce::reduce;
use super::view::numel;
use super::{Out, Outs, Row, map, one, row, wide};
use crate::diag::Diagnostic;
use crate::import::Call;
use crate::ir::{Binary, Constant, Op, ReduceKind, Unary, ValueId};
use crate::sym::Expr;
use exported_runtime::DType;

type Result<T> = std::result::Result<T, Diagnostic>;

/// The rows.
pub const ROWS: &[Row] = &[
    row("aten.layer_norm.default", |call| layer_norm(call).map(|y| vec![Out::Tensor(y)])),
    row("aten.native_layer_norm.default", native_layer_norm),
    row("aten.group_norm.default", group_norm),
    row("aten.native_group_norm.default", native_group_norm),
    row("aten.instance_norm.default", instance_norm),
    row("aten.rms_norm.default", |call| Ok(rms_norm(call)?.into_iter().take(1).collect())),
    row("aten._fused_rms_norm.default", rms_norm),
    row("aten._weight_norm.default", |call| Ok(weight_norm(call)?.into_iter().take(1).collect())),
    row("aten._weight_norm_interface.default", weight_norm),
];

/// `x` followed by those of weight and bias that are given. With parameters of f32 a narrower `x` is computed in f32.
fn with_parameters(call: &mut Call<'_>, x: ValueId) -> Result<(Vec<ValueId>, [bool; 2])> {
    let (weight, bias) = (call.optional_tensor("weight")?, call.optional_tensor("bias")?);
    let of_f32 = weight.or(bias).is_some_and(|parameter| call.dtype_of(parameter) == DType::F32);
    let x = if of_f32 { call.cast(x, wide(call.dtype_of(x)))? } else { x };
    let inputs = [Some(x), weight, bias].into_iter().flatten().collect();
    Ok((inputs, [weight.is_some(), bias.is_some()]))
}

fn normalized_dims(call: &Call<'_>, x: ValueId) -> Result<usize> {
    let (sizes, shape) = (call.sym_ints("normalized_shape")?, call.shape(x));
    if sizes.is_empty() || !shape.ends_with(&sizes) {
        return Err(call.damaged(format!("`normalized_shape` is not the end of {}", call.ty(x))));
    }
    Ok(sizes.len())
}

fn layer_norm(call: &mut Call<'_>) -> Result<ValueId> {
    let x = call.tensor("input")?;
    let dims = normalized_dims(call, x)?;
    let (inputs, [weight, bias]) = with_parameters(call, x)?;
    let eps = call.float("eps")?.to_bits();
    let y = call.push(Op::LayerNorm { dims, eps, weight, bias }, &inputs)?;
    call.cast(y, call.dtype_of(x))
}

/// Mean and `1 / sqrt(var + eps)`, which training would need: nothing is left of them where they are not used.
pub(super) fn statistics(call: &mut Call<'_>, x: ValueId, dims: Vec<usize>, keepdim: bool) -> Result<[ValueId; 2]> {
    let (eps, dtype) = (call.float("eps")?, call.dtype_of(x));
    let mean = reduce(call, x, ReduceKind::Mean, dims.clone(), keepdim)?;
    let var = reduce(call, x, ReduceKind::Var { correction: 0f64.to_bits() }, dims, keepdim)?;
    let rstd = map(call, &[var], |f, p| {
        let eps = f.float(dtype, eps);
        let shifted = f.binary(Binary::Add, p[0], eps);
        f.unary(Unary::Rsqrt, shifted)
    })?;
    Ok([mean, rstd])
}

fn native_layer_norm(call: &mut Call<'_>) -> Result<Outs> {
    let y = layer_norm(call)?;
    let x = call.tensor("input")?;
    let (rank, dims) = (call.rank(x), normalized_dims(call, x)?);
    let [mean, rstd] = statistics(call, x, (rank - dims..rank).collect(), true)?;
    Ok(vec![Out::Tensor(y), Out::Tensor(mean), Out::Tensor(rstd)])
}

fn group_norm(call: &mut Call<'_>) -> Result<Outs> {
    let x = call.tensor("input")?;
    let groups = call.int("num_groups")?;
    one(grouped(call, x, groups)?)
}

fn grouped(call: &mut Call<'_>, x: ValueId, groups: i64) -> Result<ValueId> {
    let groups = usize::try_from(groups).map_err(|_| call.damaged(format!("{groups} groups")))?;
    let (inputs, [weight, bias]) = with_parameters(call, x)?;
    let eps = call.float("eps")?.to_bits();
    let y = call.push(Op::GroupNorm { groups, eps, weight, bias }, &inputs)?;
    call.cast(y, call.dtype_of(x))
}

fn native_group_norm(call: &mut Call<'_>) -> Result<Outs> {
    let x = call.tensor("input")?;
    let groups = call.int("group")?;
    let y = grouped(call, x, groups)?;
    let shape = call.shape(x);
    let rest = Expr::floordiv(numel(&shape[1..]), groups);
    let x = call.reshape(x, &[shape[0].clone(), Expr::Int(groups), rest])?;
    let [mean, rstd] = statistics(call, x, vec![2], false)?;
    Ok(vec![Out::Tensor(y), Out::Tensor(mean), Out::Tensor(rstd)])
}

fn instance_norm(call: &mut Call<'_>) -> Result<Outs> {
    let x = call.tensor("input")?;
    let channels = call.shape(x).get(1).and_then(Expr::as_int);
    let channels =
        channels.ok_or_else(|| call.unsupported("instance normalization of an unknown number of channels"))?;
    let running = [call.optional_tensor("running_mean")?, call.optional_tensor("running_var")?];
    match (call.bool("use_input_stats")?, running) {
        (true, [None, None]) => one(instances(call, x, channels)?),
        (false, [Some(mean), Some(var)]) => {
            let dtype = call.dtype_of(x);
            let weight = match call.optional_tensor("weight")? {
                Some(weight) => weight,
                None => filled(call, dtype, channels, 1.0)?,
            };
            let bias = match call.optional_tensor("bias")? {
                Some(bias) => bias,
                None => filled(call, dtype, channels, 0.0)?,
            };
            let eps = call.float("eps")?.to_bits();
            one(call.push(Op::BatchNorm { eps }, &[x, weight, bias, mean, var])?)
        }
        (true, [Some(mean), Some(var)]) if call.train_mode() => {
            let y = instances(call, x, channels)?;
            let mean = averaged(call, x, ReduceKind::Mean, mean)?;
            let var = averaged(call, x, ReduceKind::Var { correction: 1f64.to_bits() }, var)?;
            Ok(vec![Out::Tensor(y), Out::Written("running_mean", mean), Out::Written("running_var", var)])
        }
        _ => Err(call.violated("instance normalization in training mode updates its running statistics").help(
            "call `model.eval()` before `torch.export.export`; if the statistics shall follow the data on the device, \
                 too, compile with `train_mode = true`",
        )),
    }
}

/// By the statistics of each instance: torch has it as batch normalization, whose roundings show in 16 bits.
fn instances(call: &mut Call<'_>, x: ValueId, channels: i64) -> Result<ValueId> {
    match by_halves(call, x, (2..call.rank(x)).collect())? {
        Some([y, ..]) => Ok(y),
        None => grouped(call, x, channels),
    }
}

/// Running statistics that take a share of those of the instances, averaged over the batch.
fn averaged(call: &mut Call<'_>, x: ValueId, kind: ReduceKind, before: ValueId) -> Result<ValueId> {
    let (momentum, dtype) = (call.float("momentum")?, call.dtype_of(before));
    let wide = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let (x, before) = (call.cast(x, wide)?, call.cast(before, wide)?);
    let of_each = reduce(call, x, kind, (2..call.rank(x)).collect(), false)?;
    let now = reduce(call, of_each, ReduceKind::Mean, vec![0], false)?;
    let new = map(call, &[before, now], |f, p| moved(f, wide, momentum, [p[0], p[1]]))?;
    call.cast(new, dtype)
}

/// A vector of one value.
pub(super) fn filled(call: &mut Call<'_>, dtype: DType, n: i64, value: f64) -> Result<ValueId> {
    let n = usize::try_from(n).unwrap_or(0);
    call.constant(dtype, &[n], Constant::float_bytes(dtype, [value]).repeat(n))
}

/// `x * rsqrt(mean(x²) + eps) * weight`, computed in f32 at least and rounded before the weight is applied, as torch does.
fn rms_norm(call: &mut Call<'_>) -> Result<Outs> {
    let x = call.tensor("input")?;
    let dims = normalized_dims(call, x)?;
    let (rank, dtype) = (call.rank(x), call.dtype_of(x));
    let epsilon = match dtype {
        DType::F64 => f64::EPSILON,
        DType::F16 => 2f64.powi(-10),
        DType::Bf16 => 2f64.powi(-7),
        _ => f64::from(f32::EPSILON),
    };
    let eps = call.optional_float("eps")?.unwrap_or(epsilon);
    let wide = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let x = call.cast(x, wide)?;
    let squares = map(call, &[x], |f, p| f.unary(Unary::Square, p[0]))?;
    let mean = reduce(call, squares, ReduceKind::Mean, (rank - dims..rank).collect(), true)?;
    let rstd = map(call, &[mean], |f, p| {
        let eps = f.float(wide, eps);
        let shifted = f.binary(Binary::Add, p[0], eps);
        f.unary(Unary::Rsqrt, shifted)
    })?;
    let weight = call.optional_tensor("weight")?;
    let inputs: Vec<ValueId> = [Some(x), Some(rstd), weight].into_iter().flatten().collect();
    let y = map(call, &inputs, |f, p| {
        let normal = f.binary(Binary::Mul, p[0], p[1]);
        let normal = f.cast(dtype, normal);
        match p.get(2) {
            Some(&weight) => f.binary(Binary::Mul, normal, weight),
            None => normal,
        }
    })?;
    Ok(vec![Out::Tensor(y), Out::Tensor(rstd)])
}

/// `v * (g / norm(v))`, the norm taken over all dims but one; and that norm, in f32 at least.
fn weight_norm(call: &mut Call<'_>) -> Result<Outs> {
    let (v, g) = (call.tensor("v")?, call.tensor("g")?);
    let (rank, dtype) = (call.rank(v), call.dtype_of(g));
    let kept = call.int("dim")?;
    // -1 is none of the dims: the norm of the whole.
    let dims = (0..rank).filter(|&d| d as i64 != kept).collect();
    let wide = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let values = call.cast(v, wide)?;
    let norm = reduce(call, values, ReduceKind::Norm { p: 2f64.to_bits() }, dims, true)?;
    let y = map(call, &[v, g, norm], |f, p| {
        let norm = f.cast(dtype, p[2]);
        let factor = f.binary(Binary::Div, p[1], norm);
        f.binary(Binary::Mul, p[0], factor)
    })?;
    Ok(vec![Out::Tensor(y), Out::Tensor(norm)])
}
