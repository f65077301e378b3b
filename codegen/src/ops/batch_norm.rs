//! Batch normalization: with stored statistics, or with those of the batch, which may update the stored ones.
//!
//! In training mode torch computes the running variance from the unbiased one, the result from the biased one. The operators
//! that torch's tables call functional return the new running statistics; the others write them to their arguments, declared
//! or not.

use super::norm::{filled, statistics};
use super::reduce::reduce;
use super::view::{numel, one_dim};
use super::{Out, Outs, Row, map, row};
use crate::diag::Diagnostic;
use crate::import::Call;
use crate::ir::{Binary, ExprId, ExprNode, Formula, Op, ReduceKind, Unary, ValueId};
use crate::sym::Expr;
use exported_runtime::DType;

type Result<T> = std::result::Result<T, Diagnostic>;

/// The rows.
pub const ROWS: &[Row] = &[
    row("aten.batch_norm.default", result_alone),
    row("aten._native_batch_norm_legit_no_training.default", writing),
    row("aten.native_batch_norm.default", writing),
    row("aten._native_batch_norm_legit.default", writing),
    row("aten._native_batch_norm_legit.no_stats", writing),
    row("aten._native_batch_norm_legit_functional.default", functional),
    row("aten._batch_norm_no_update.default", |c| reserving(c, false)),
    row("aten._batch_norm_with_update.default", |c| reserving(c, false)),
    row("aten._batch_norm_with_update_functional.default", |c| reserving(c, true)),
];

/// What an operator of this family computes.
struct Normalized {
    y: ValueId,
    /// Mean and `1 / sqrt(var + eps)` of the batch, unless the stored statistics served.
    saved: Option<[ValueId; 2]>,
    /// New running statistics, if the batch changes them.
    running: Option<[ValueId; 2]>,
}

/// `aten.batch_norm` returns no statistics.
fn result_alone(call: &mut Call<'_>) -> Result<Outs> {
    let Normalized { y, running, .. } = normalized(call)?;
    let mut outs = vec![Out::Tensor(y)];
    outs.extend(written(call, running)?);
    Ok(outs)
}

/// Running statistics are written to the arguments that hold them.
fn writing(call: &mut Call<'_>) -> Result<Outs> {
    let Normalized { y, saved, running } = normalized(call)?;
    let mut outs = with_saved(call, y, saved)?;
    outs.extend(written(call, running)?);
    Ok(outs)
}

/// Running statistics are results, in f32 at least.
fn functional(call: &mut Call<'_>) -> Result<Outs> {
    let Normalized { y, saved, running } = normalized(call)?;
    let mut outs = with_saved(call, y, saved)?;
    let running = match running {
        Some(running) => running,
        None => [call.tensor("running_mean")?, call.tensor("running_var")?],
    };
    for running in running {
        outs.push(Out::Tensor(call.cast(running, super::wide(call.dtype_of(running)))?));
    }
    Ok(outs)
}

/// The newer names of these, whose fourth result is memory that gradients would use: none, on the CPU.
fn reserving(call: &mut Call<'_>, returned: bool) -> Result<Outs> {
    let mut outs = if returned { functional(call)? } else { writing(call)? };
    outs.insert(3, Out::Tensor(call.constant(DType::U8, &[0], vec![])?));
    Ok(outs)
}

/// New running statistics, in the dtype of the arguments that hold them.
fn written(call: &mut Call<'_>, running: Option<[ValueId; 2]>) -> Result<Vec<Out>> {
    let mut outs = Vec::new();
    for (name, new) in ["running_mean", "running_var"].into_iter().zip(running.into_iter().flatten()) {
        let dtype = call.dtype_of(call.tensor(name)?);
        outs.push(Out::Written(name, call.cast(new, dtype)?));
    }
    Ok(outs)
}

/// The result, and what training would need: empty tensors where the stored statistics served.
fn with_saved(call: &mut Call<'_>, y: ValueId, saved: Option<[ValueId; 2]>) -> Result<Outs> {
    let [mean, rstd] = match saved {
        Some(saved) => saved,
        None => {
            let dtype = call.dtype_of(call.tensor("running_mean")?);
            [call.constant(dtype, &[0], vec![])?, call.constant(dtype, &[0], vec![])?]
        }
    };
    Ok([y, mean, rstd].map(Out::Tensor).to_vec())
}

fn normalized(call: &mut Call<'_>) -> Result<Normalized> {
    let x = call.tensor("input")?;
    let named = call.target().contains("_with_update");
    let training = named || call.arg("training").is_some() && call.bool("training")?;
    match (call.optional_tensor("running_mean")?, call.optional_tensor("running_var")?) {
        (Some(mean), Some(var)) if !training => stored(call, x, mean, var),
        (Some(_), Some(_)) if !call.train_mode() => {
            Err(call.violated("batch normalization in training mode computes its statistics from the batch").help(
                "call `model.eval()` before `torch.export.export`; if the statistics shall follow the data on the \
                     device, too, compile with `train_mode = true`",
            ))
        }
        (None, None) => of_batch(call, x),
        (Some(mean), Some(var)) => {
            let mut normalized = of_batch(call, x)?;
            normalized.running = Some(updated(call, x, [mean, var])?);
            Ok(normalized)
        }
        _ => Err(call.damaged("batch normalization with half of its running statistics")),
    }
}

/// With stored statistics: what the batch does to them is nothing.
fn stored(call: &mut Call<'_>, x: ValueId, mean: ValueId, var: ValueId) -> Result<Normalized> {
    let dtype = call.dtype_of(mean);
    if call.shape(x).contains(&Expr::Int(0)) {
        return Ok(Normalized { y: x, saved: None, running: None });
    }
    let channels = call.shape(mean)[0].as_int().unwrap_or(0);
    let weight = match call.optional_tensor("weight")? {
        Some(weight) => weight,
        None => filled(call, dtype, channels, 1.0)?,
    };
    let bias = match call.optional_tensor("bias")? {
        Some(bias) => bias,
        None => filled(call, dtype, channels, 0.0)?,
    };
    let eps = call.float("eps")?.to_bits();
    let wide = call.cast(x, dtype)?;
    let y = call.push(Op::BatchNorm { eps }, &[wide, weight, bias, mean, var])?;
    let y = call.cast(y, call.dtype_of(x))?;
    Ok(Normalized { y, saved: None, running: None })
}

/// Every dim but that of the channels.
fn batch_dims(call: &Call<'_>, x: ValueId) -> Result<Vec<usize>> {
    if call.rank(x) < 2 {
        return Err(call.damaged(format!("batch normalization of {}", call.ty(x))));
    }
    Ok((0..call.rank(x)).filter(|&d| d != 1).collect())
}

/// With the statistics of the batch.
fn of_batch(call: &mut Call<'_>, x: ValueId) -> Result<Normalized> {
    let dims = batch_dims(call, x)?;
    let (shape, dtype) = (call.shape(x), call.dtype_of(x));
    if let Some([y, mean, rstd]) = by_halves(call, x, dims.clone())? {
        let flat = [shape[1].clone()];
        let saved = [call.reshape(mean, &flat)?, call.reshape(rstd, &flat)?];
        return Ok(Normalized { y, saved: Some(saved), running: None });
    }
    let column = one_dim(shape.len(), 1, shape[1].clone());
    let (weight, bias) = (call.optional_tensor("weight")?, call.optional_tensor("bias")?);
    let [mean, rstd] = statistics(call, x, dims, false)?;
    let mut inputs = vec![x, call.reshape(mean, &column)?, call.reshape(rstd, &column)?];
    for vector in [weight, bias].into_iter().flatten() {
        let vector = call.cast(vector, dtype)?;
        inputs.push(call.reshape(vector, &column)?);
    }
    let y = map(call, &inputs, |f, p| {
        let centered = f.binary(Binary::Sub, p[0], p[1]);
        let mut y = f.binary(Binary::Mul, centered, p[2]);
        let mut rest = p[3..].iter();
        if weight.is_some() {
            y = rest.next().map_or(y, |&w| f.binary(Binary::Mul, y, w));
        }
        rest.next().map_or(y, |&b| f.binary(Binary::Add, y, b))
    })?;
    let saved = [call.cast(mean, dtype)?, call.cast(rstd, dtype)?];
    Ok(Normalized { y, saved: Some(saved), running: None })
}

/// The result, the mean and the inverse of the root, by the statistics over these dims, as torch has it where all is in 16 bits and
/// lies in order; nothing elsewhere. The mean and the inverse are rounded to 16 bits, in bfloat16 also the sum of squares about the
/// mean and the variance; then every element is a sum and a product in f32.
pub(super) fn by_halves(call: &mut Call<'_>, x: ValueId, dims: Vec<usize>) -> Result<Option<[ValueId; 3]>> {
    let dtype = call.dtype_of(x);
    let (weight, bias) = (call.optional_tensor("weight")?, call.optional_tensor("bias")?);
    let of_halves = [weight, bias].into_iter().flatten().all(|vector| call.dtype_of(vector) == dtype);
    if super::wide(dtype) == dtype || !of_halves {
        return Ok(None);
    }
    let column = one_dim(call.rank(x), 1, call.shape(x)[1].clone());
    let wide = call.cast(x, DType::F32)?;
    let mean = reduce(call, wide, ReduceKind::Mean, dims.clone(), true)?;
    let mean = call.cast(mean, dtype)?;
    let rstd = rstd_of_halves(call, [wide, mean], dims)?;
    let mut inputs = vec![x, mean, rstd];
    for vector in [weight, bias].into_iter().flatten() {
        inputs.push(call.reshape(vector, &column)?);
    }
    let y = map(call, &inputs, |f, p| {
        let wide: Vec<ExprId> = p.iter().map(|&x| f.cast(DType::F32, x)).collect();
        let (x, mean, mut scale, mut rest) = (wide[0], wide[1], wide[2], wide[3..].iter());
        if weight.is_some() {
            scale = rest.next().map_or(scale, |&weight| f.binary(Binary::Mul, scale, weight));
        }
        let shift = f.binary(Binary::Mul, mean, scale);
        let bias = rest.next().copied().unwrap_or_else(|| f.float(DType::F32, 0.0));
        let shift = f.binary(Binary::Sub, bias, shift);
        let y = f.binary(Binary::Mul, x, scale);
        let y = f.binary(Binary::Add, y, shift);
        f.cast(dtype, y)
    })?;
    Ok(Some([y, mean, rstd]))
}

/// `1 / sqrt(var + eps)` about a mean in 16 bits.
fn rstd_of_halves(call: &mut Call<'_>, [wide, mean]: [ValueId; 2], dims: Vec<usize>) -> Result<ValueId> {
    let (dtype, eps) = (call.dtype_of(mean), call.float("eps")?);
    let count = Expr::product(dims.iter().map(|&d| call.shape(wide)[d].clone()));
    let squares = map(call, &[wide, mean], |f, p| {
        let mean = f.cast(DType::F32, p[1]);
        let distance = f.binary(Binary::Sub, p[0], mean);
        f.binary(Binary::Mul, distance, distance)
    })?;
    let total = reduce(call, squares, ReduceKind::Sum, dims, true)?;
    map(call, &[total], |f, p| {
        let rounded = |f: &mut Formula, x| {
            let narrow = if dtype == DType::Bf16 { f.cast(dtype, x) } else { x };
            f.cast(DType::F32, narrow)
        };
        f.sizes.push(count);
        let count = f.push(ExprNode::Size(0));
        let (total, count) = (rounded(f, p[0]), f.cast(DType::F32, count));
        let var = f.binary(Binary::Div, total, count);
        let (var, eps) = (rounded(f, var), f.float(DType::F32, eps));
        let shifted = f.binary(Binary::Add, var, eps);
        let rstd = f.unary(Unary::Rsqrt, shifted);
        f.cast(dtype, rstd)
    })
}

/// `momentum * of the batch + (1 - momentum) * before`; an empty batch changes nothing.
fn updated(call: &mut Call<'_>, x: ValueId, running: [ValueId; 2]) -> Result<[ValueId; 2]> {
    let dims = batch_dims(call, x)?;
    let momentum = call.float("momentum")?;
    let unbiased = ReduceKind::Var { correction: 1f64.to_bits() };
    let elements = numel(&call.shape(x));
    let update = |call: &mut Call<'_>, before: ValueId, kind: ReduceKind| {
        let dtype = if call.dtype_of(before) == DType::F64 { DType::F64 } else { DType::F32 };
        let (before, wide) = (call.cast(before, dtype)?, call.cast(x, dtype)?);
        let now = reduce(call, wide, kind, dims.clone(), false)?;
        map(call, &[before, now], |f, p| {
            let new = moved(f, dtype, momentum, [p[0], p[1]]);
            if elements.as_int().is_some_and(|n| n > 0) {
                return new;
            }
            f.sizes.push(elements.clone());
            let (size, zero) = (f.push(ExprNode::Size(0)), f.int(DType::I64, 0));
            let any = f.binary(Binary::Gt, size, zero);
            f.select(any, new, p[0])
        })
    };
    Ok([update(call, running[0], ReduceKind::Mean)?, update(call, running[1], unbiased)?])
}

/// A running statistic that takes a share of the one of now.
pub(super) fn moved(f: &mut Formula, dtype: DType, momentum: f64, [before, now]: [ExprId; 2]) -> ExprId {
    let (share, rest) = (f.float(dtype, momentum), f.float(dtype, 1.0 - momentum));
    let (now, kept) = (f.binary(Binary::Mul, now, share), f.binary(Binary::Mul, before, rest));
    f.binary(Binary::Add, now, kept)
}
