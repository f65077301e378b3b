//! Losses that are pure functions: a formula per element, then the reduction asked for.
//!
//! A loss belongs to training, yet models export them as scores (anomaly detection, distillation, likelihoods).

use super::pointwise::promote::{common_dtype, to_float};
use super::reduce::{pair_distance, reduce, softmax_of, sum};
use super::view::{one_dim, unsqueeze};
use super::{Out, Outs, Row, map, one, row};
use crate::diag::Diagnostic;
use crate::import::{Arg, Call};
use crate::ir::{Binary, Epilogue, ExprId, Formula, Op, ReduceKind, Unary, ValueId};
use exported_runtime::DType;

type Result<T> = std::result::Result<T, Diagnostic>;

/// The rows.
pub const ROWS: &[Row] = &[
    row("aten.mse_loss.default", |call| of_difference(call, |f, _, d| f.unary(Unary::Square, d))),
    row("aten.l1_loss.default", l1),
    row("aten.smooth_l1_loss.default", smooth_l1),
    row("aten.huber_loss.default", huber),
    row("aten.binary_cross_entropy.default", binary_cross_entropy),
    row("aten.binary_cross_entropy_with_logits.default", binary_cross_entropy_with_logits),
    row("aten.soft_margin_loss.default", soft_margin),
    row("aten.kl_div.default", kl_div),
    row("aten.hinge_embedding_loss.default", hinge_embedding),
    row("aten.margin_ranking_loss.default", margin_ranking),
    row("aten.cosine_embedding_loss.default", cosine_embedding),
    row("aten.triplet_margin_loss.default", triplet_margin),
    row("aten.poisson_nll_loss.default", poisson),
    row("aten.nll_loss.default", negative_log_likelihood),
    row("aten.nll_loss2d.default", negative_log_likelihood),
    row("aten.nll_loss_nd.default", negative_log_likelihood),
    row("aten.nll_loss_forward.default", negative_log_likelihood),
    row("aten.nll_loss2d_forward.default", negative_log_likelihood),
    row("aten.cross_entropy_loss.default", |call| {
        let x = call.tensor("self")?;
        one(cross_entropy(call, x)?)
    }),
    row("torch_nn._linear_cross_entropy_batch_chunked.default", linear_cross_entropy).noted(NO_GRADIENTS),
    row("torch_nn._linear_cross_entropy_batch_chunked_no_reduction.default", linear_cross_entropy),
];

const NO_GRADIENTS: &str = "the loss; not the gradients that it computes for training besides";

/// 0 for no reduction, 1 for the mean, 2 for the sum; operators of `torch_nn` have words for it, or none.
fn reduction(call: &Call<'_>) -> Result<i64> {
    match call.arg("reduction") {
        None => Ok(0),
        Some(Arg::Str(word)) if word == "mean" => Ok(1),
        Some(Arg::Str(word)) if word == "sum" => Ok(2),
        Some(_) => call.int("reduction"),
    }
}

/// None, the mean or the sum, as argument `reduction` says.
fn reduced(call: &mut Call<'_>, x: ValueId) -> Result<Outs> {
    let dims = (0..call.rank(x)).collect();
    one(match reduction(call)? {
        0 => x,
        1 => reduce(call, x, ReduceKind::Mean, dims, false)?,
        2 => sum(call, x, dims, false)?,
        other => return Err(call.damaged(format!("reduction {other}"))),
    })
}

/// The named tensors in their common dtype; integers as f32, which margins and other numbers make of them in PyTorch.
fn floats<const N: usize>(call: &mut Call<'_>, names: [&str; N]) -> Result<([ValueId; N], DType)> {
    let mut tensors = [ValueId(0); N];
    for (tensor, name) in tensors.iter_mut().zip(names) {
        *tensor = call.tensor(name)?;
    }
    let dtype = to_float(common_dtype(call, &tensors)?);
    for tensor in &mut tensors {
        *tensor = call.cast(*tensor, dtype)?;
    }
    Ok((tensors, dtype))
}

/// A loss of `self - target`.
fn of_difference(call: &mut Call<'_>, loss: impl FnOnce(&mut Formula, DType, ExprId) -> ExprId) -> Result<Outs> {
    let ([x, target], dtype) = floats(call, ["self", "target"])?;
    let y = map(call, &[x, target], |f, p| {
        let difference = f.binary(Binary::Sub, p[0], p[1]);
        loss(f, dtype, difference)
    })?;
    reduced(call, y)
}

/// Integers stay what they are.
fn l1(call: &mut Call<'_>) -> Result<Outs> {
    let (x, target) = (call.tensor("self")?, call.tensor("target")?);
    if call.dtype_of(x).is_float() || call.dtype_of(x) != call.dtype_of(target) {
        return of_difference(call, |f, _, d| f.unary(Unary::Abs, d));
    }
    let y = map(call, &[x, target], |f, p| {
        let difference = f.binary(Binary::Sub, p[0], p[1]);
        f.unary(Unary::Abs, difference)
    })?;
    reduced(call, y)
}

/// `x (op) constant`.
fn with(f: &mut Formula, op: Binary, dtype: DType, x: ExprId, constant: f64) -> ExprId {
    let constant = f.float(dtype, constant);
    f.binary(op, x, constant)
}

/// `constant - x`.
fn from(f: &mut Formula, dtype: DType, constant: f64, x: ExprId) -> ExprId {
    let constant = f.float(dtype, constant);
    f.binary(Binary::Sub, constant, x)
}

fn smooth_l1(call: &mut Call<'_>) -> Result<Outs> {
    let beta = call.float("beta")?;
    of_difference(call, |f, dtype, d| {
        let d = f.unary(Unary::Abs, d);
        if beta == 0.0 {
            return d;
        }
        let half = with(f, Binary::Mul, dtype, d, 0.5);
        let square = f.binary(Binary::Mul, half, d);
        let near = with(f, Binary::Div, dtype, square, beta);
        let (far, is_near) = (with(f, Binary::Sub, dtype, d, 0.5 * beta), with(f, Binary::Lt, dtype, d, beta));
        f.select(is_near, near, far)
    })
}

fn huber(call: &mut Call<'_>) -> Result<Outs> {
    let delta = call.float("delta")?;
    of_difference(call, |f, dtype, d| {
        let d = f.unary(Unary::Abs, d);
        let half = with(f, Binary::Mul, dtype, d, 0.5);
        let near = f.binary(Binary::Mul, half, d);
        let beyond = with(f, Binary::Sub, dtype, d, 0.5 * delta);
        let far = with(f, Binary::Mul, dtype, beyond, delta);
        let is_near = with(f, Binary::Le, dtype, d, delta);
        f.select(is_near, near, far)
    })
}

/// `x` times the optional tensor argument `weight`.
fn weighted(call: &mut Call<'_>, x: ValueId) -> Result<ValueId> {
    match call.optional_tensor("weight")? {
        Some(weight) => {
            let weight = call.cast(weight, call.dtype_of(x))?;
            map(call, &[x, weight], |f, p| f.binary(Binary::Mul, p[0], p[1]))
        }
        None => Ok(x),
    }
}

/// Logarithms are not less than -100, as in PyTorch.
fn binary_cross_entropy(call: &mut Call<'_>) -> Result<Outs> {
    let ([x, target], dtype) = floats(call, ["self", "target"])?;
    let y = map(call, &[x, target], |f, p| {
        let (log, negative) = (f.unary(Unary::Log, p[0]), f.unary(Unary::Neg, p[0]));
        let other = f.unary(Unary::Log1p, negative);
        let (log, other) = (with(f, Binary::Max, dtype, log, -100.0), with(f, Binary::Max, dtype, other, -100.0));
        let rest = with(f, Binary::Sub, dtype, p[1], 1.0);
        let (left, right) = (f.binary(Binary::Mul, rest, other), f.binary(Binary::Mul, p[1], log));
        f.binary(Binary::Sub, left, right)
    })?;
    let y = weighted(call, y)?;
    reduced(call, y)
}

/// `log(sigmoid(x))`
fn log_sigmoid(f: &mut Formula, dtype: DType, x: ExprId) -> ExprId {
    let least = with(f, Binary::Min, dtype, x, 0.0);
    let size = f.unary(Unary::Abs, x);
    let negative = f.unary(Unary::Neg, size);
    let exp = f.unary(Unary::Exp, negative);
    let log = f.unary(Unary::Log1p, exp);
    f.binary(Binary::Sub, least, log)
}

fn binary_cross_entropy_with_logits(call: &mut Call<'_>) -> Result<Outs> {
    let ([x, target], dtype) = floats(call, ["self", "target"])?;
    let mut inputs = vec![x, target];
    if let Some(weight) = call.optional_tensor("pos_weight")? {
        inputs.push(call.cast(weight, dtype)?);
    }
    let y = map(call, &inputs, |f, p| {
        let rest = from(f, dtype, 1.0, p[1]);
        let (left, mut right) = (f.binary(Binary::Mul, rest, p[0]), log_sigmoid(f, dtype, p[0]));
        if let Some(&weight) = p.get(2) {
            let more = with(f, Binary::Sub, dtype, weight, 1.0);
            let more = f.binary(Binary::Mul, more, p[1]);
            let factor = with(f, Binary::Add, dtype, more, 1.0);
            right = f.binary(Binary::Mul, factor, right);
        }
        f.binary(Binary::Sub, left, right)
    })?;
    let y = weighted(call, y)?;
    reduced(call, y)
}

fn soft_margin(call: &mut Call<'_>) -> Result<Outs> {
    let ([x, target], _) = floats(call, ["self", "target"])?;
    let y = map(call, &[x, target], |f, p| {
        let product = f.binary(Binary::Mul, p[0], p[1]);
        let negative = f.unary(Unary::Neg, product);
        let exp = f.unary(Unary::Exp, negative);
        f.unary(Unary::Log1p, exp)
    })?;
    reduced(call, y)
}

fn kl_div(call: &mut Call<'_>) -> Result<Outs> {
    let ([x, target], dtype) = floats(call, ["self", "target"])?;
    let log_target = call.bool("log_target")?;
    let y = map(call, &[x, target], |f, p| {
        if log_target {
            let (exp, difference) = (f.unary(Unary::Exp, p[1]), f.binary(Binary::Sub, p[1], p[0]));
            return f.binary(Binary::Mul, exp, difference);
        }
        let log = f.unary(Unary::Log, p[1]);
        let (entropy, zero) = (f.binary(Binary::Mul, p[1], log), f.float(dtype, 0.0));
        let none = f.binary(Binary::Eq, p[1], zero);
        let (entropy, product) = (f.select(none, zero, entropy), f.binary(Binary::Mul, p[1], p[0]));
        f.binary(Binary::Sub, entropy, product)
    })?;
    reduced(call, y)
}

/// `then` where the target is not (or is) `label`, else 0.
fn where_label(f: &mut Formula, dtype: DType, op: Binary, target: ExprId, label: f64, then: ExprId) -> ExprId {
    let (hit, zero) = (with(f, op, dtype, target, label), f.float(dtype, 0.0));
    f.select(hit, then, zero)
}

fn hinge_embedding(call: &mut Call<'_>) -> Result<Outs> {
    let ([x, target], dtype) = floats(call, ["self", "target"])?;
    let margin = call.float("margin")?;
    let y = map(call, &[x, target], |f, p| {
        let rest = from(f, dtype, margin, p[0]);
        let rest = with(f, Binary::Max, dtype, rest, 0.0);
        let far = where_label(f, dtype, Binary::Ne, p[1], 1.0, rest);
        let near = where_label(f, dtype, Binary::Ne, p[1], -1.0, p[0]);
        f.binary(Binary::Add, far, near)
    })?;
    reduced(call, y)
}

/// Integers are subtracted and multiplied as such, which wraps.
fn margin_ranking(call: &mut Call<'_>) -> Result<Outs> {
    let tensors = [call.tensor("input1")?, call.tensor("input2")?, call.tensor("target")?];
    let (of_pair, common) = (common_dtype(call, &tensors[..2])?, common_dtype(call, &tensors)?);
    let (margin, dtype) = (call.float("margin")?, to_float(common));
    let y = map(call, &tensors, |f, p| {
        let (a, b) = (f.cast(of_pair, p[0]), f.cast(of_pair, p[1]));
        let (difference, sign) = (f.binary(Binary::Sub, a, b), f.unary(Unary::Neg, p[2]));
        let (difference, sign) = (f.cast(common, difference), f.cast(common, sign));
        let product = f.binary(Binary::Mul, sign, difference);
        let product = f.cast(dtype, product);
        let shifted = with(f, Binary::Add, dtype, product, margin);
        with(f, Binary::Max, dtype, shifted, 0.0)
    })?;
    reduced(call, y)
}

fn cosine_embedding(call: &mut Call<'_>) -> Result<Outs> {
    let mut pair = [call.tensor("input1")?, call.tensor("input2")?];
    let dtype = to_float(common_dtype(call, &pair)?);
    for x in &mut pair {
        *x = call.cast(*x, dtype)?;
    }
    let [a, b] = pair;
    let (target, margin) = (call.tensor("target")?, call.float("margin")?);
    let target = call.cast(target, dtype)?;
    let dim = call.rank(target);
    if call.rank(a) <= dim {
        return Err(call.damaged("as many targets as vectors are needed"));
    }
    let mut sums = [a; 3];
    for (out, (left, right)) in sums.iter_mut().zip([(a, b), (a, a), (b, b)]) {
        let product = map(call, &[left, right], |f, p| f.binary(Binary::Mul, p[0], p[1]))?;
        *out = sum(call, product, vec![dim], false)?;
    }
    let y = map(call, &[sums[0], sums[1], sums[2], target], |f, p| {
        let (m, n) = (with(f, Binary::Add, dtype, p[1], 1e-12), with(f, Binary::Add, dtype, p[2], 1e-12));
        let product = f.binary(Binary::Mul, m, n);
        let length = f.unary(Unary::Sqrt, product);
        let cosine = f.binary(Binary::Div, p[0], length);
        let (near, far) = (from(f, dtype, 1.0, cosine), with(f, Binary::Sub, dtype, cosine, margin));
        let far = with(f, Binary::Max, dtype, far, 0.0);
        let near = where_label(f, dtype, Binary::Eq, p[3], 1.0, near);
        let far = where_label(f, dtype, Binary::Eq, p[3], -1.0, far);
        f.binary(Binary::Add, near, far)
    })?;
    reduced(call, y)
}

fn triplet_margin(call: &mut Call<'_>) -> Result<Outs> {
    let (anchor, positive, negative) = (call.tensor("anchor")?, call.tensor("positive")?, call.tensor("negative")?);
    let (margin, order, eps) = (call.float("margin")?, call.float("p")?, call.float("eps")?);
    let near = pair_distance(call, [anchor, positive], order, eps, false)?;
    let mut far = pair_distance(call, [anchor, negative], order, eps, false)?;
    if call.bool("swap")? {
        let swapped = pair_distance(call, [positive, negative], order, eps, false)?;
        far = map(call, &[far, swapped], |f, p| f.binary(Binary::Min, p[0], p[1]))?;
    }
    let dtype = common_dtype(call, &[near, far])?;
    let y = map(call, &[near, far], |f, p| {
        let (near, far) = (f.cast(dtype, p[0]), f.cast(dtype, p[1]));
        let shifted = with(f, Binary::Add, dtype, near, margin);
        let difference = f.binary(Binary::Sub, shifted, far);
        with(f, Binary::Max, dtype, difference, 0.0)
    })?;
    reduced(call, y)
}

fn poisson(call: &mut Call<'_>) -> Result<Outs> {
    let ([x, target], dtype) = floats(call, ["input", "target"])?;
    let (log_input, full, eps) = (call.bool("log_input")?, call.bool("full")?, call.float("eps")?);
    let y = map(call, &[x, target], |f, p| {
        let (rate, log) = if log_input {
            (f.unary(Unary::Exp, p[0]), p[0])
        } else {
            let shifted = with(f, Binary::Add, dtype, p[0], eps);
            (p[0], f.unary(Unary::Log, shifted))
        };
        let product = f.binary(Binary::Mul, p[1], log);
        let loss = f.binary(Binary::Sub, rate, product);
        if full { with_stirling(f, dtype, loss, p[1]) } else { loss }
    })?;
    reduced(call, y)
}

/// `loss` plus Stirling's approximation of `log(target!)` where the target is above 1.
fn with_stirling(f: &mut Formula, dtype: DType, loss: ExprId, target: ExprId) -> ExprId {
    let log = f.unary(Unary::Log, target);
    let product = f.binary(Binary::Mul, target, log);
    let term = f.binary(Binary::Sub, product, target);
    let around = with(f, Binary::Mul, dtype, target, std::f64::consts::TAU);
    let log = f.unary(Unary::Log, around);
    let half = with(f, Binary::Mul, dtype, log, 0.5);
    let term = f.binary(Binary::Add, term, half);
    let term = where_label(f, dtype, Binary::Gt, target, 1.0, term);
    f.binary(Binary::Add, loss, term)
}

// Losses of classes.

/// The weight of each target's class (1 without weights), 0 for those ignored, and the targets with these made 0.
fn class_weights(call: &mut Call<'_>, target: ValueId, dtype: DType) -> Result<(ValueId, ValueId)> {
    if !call.dtype_of(target).is_int() {
        return Err(call.damaged("classes are integers"));
    }
    let target = call.cast(target, DType::I64)?;
    let ignored = call.int("ignore_index")?;
    let is_ignored = |f: &mut Formula, target| {
        let ignored = f.int(DType::I64, ignored);
        f.binary(Binary::Eq, target, ignored)
    };
    let class = map(call, &[target], |f, p| {
        let (ignored, zero) = (is_ignored(f, p[0]), f.int(DType::I64, 0));
        f.select(ignored, zero, p[0])
    })?;
    let mut inputs = vec![target];
    if let Some(weight) = call.optional_tensor("weight")? {
        let weight = call.cast(weight, dtype)?;
        inputs.push(call.push(Op::Index { dims: vec![0] }, &[weight, class])?);
    }
    let weight = map(call, &inputs, |f, p| {
        let (ignored, zero) = (is_ignored(f, p[0]), f.float(dtype, 0.0));
        let weight = p.get(1).copied().unwrap_or_else(|| f.float(dtype, 1.0));
        f.select(ignored, zero, weight)
    })?;
    Ok((weight, class))
}

/// `total` over the sum of the weights.
fn over_weights(call: &mut Call<'_>, total: ValueId, weight: ValueId) -> Result<ValueId> {
    let weight = sum(call, weight, (0..call.rank(weight)).collect(), false)?;
    map(call, &[total, weight], |f, p| f.binary(Binary::Div, p[0], p[1]))
}

/// The weighted mean, or what else argument `reduction` says.
fn reduced_by(call: &mut Call<'_>, x: ValueId, weight: ValueId) -> Result<ValueId> {
    let reduction = reduction(call)?;
    if reduction == 0 {
        return Ok(x);
    }
    let total = sum(call, x, (0..call.rank(x)).collect(), false)?;
    if reduction == 1 { over_weights(call, total, weight) } else { Ok(total) }
}

/// The loss of log probabilities whose classes are dim `dim`, not reduced, and the weights.
fn likelihood(call: &mut Call<'_>, x: ValueId, target: ValueId, dim: usize) -> Result<(ValueId, ValueId)> {
    let dtype = call.dtype_of(x);
    let (weight, class) = class_weights(call, target, dtype)?;
    let class = unsqueeze(call, class, dim)?;
    let picked = call.push(Op::Gather { dim }, &[x, class])?;
    let shape = call.shape(target);
    let picked = call.reshape(picked, &shape)?;
    let loss = map(call, &[picked, weight], |f, p| {
        let negative = f.unary(Unary::Neg, p[0]);
        let (product, zero) = (f.binary(Binary::Mul, negative, p[1]), f.float(dtype, 0.0));
        // A target that is ignored does not count, whatever stands there.
        let none = f.binary(Binary::Eq, p[1], zero);
        f.select(none, zero, product)
    })?;
    Ok((loss, weight))
}

/// Dim of the classes: the only one, or the second.
fn class_dim(call: &Call<'_>, x: ValueId) -> Result<usize> {
    call.rank(x)
        .checked_sub(1)
        .map(|last| last.min(1))
        .ok_or_else(|| call.damaged("a tensor without dims has no classes"))
}

fn negative_log_likelihood(call: &mut Call<'_>) -> Result<Outs> {
    let (x, target) = (call.tensor("self")?, call.tensor("target")?);
    let dim = class_dim(call, x)?;
    let (loss, weight) = likelihood(call, x, target, dim)?;
    let y = reduced_by(call, loss, weight)?;
    if !call.target().contains("_forward") {
        return one(y);
    }
    // PyTorch gives 0 for the weight where nothing is averaged over it.
    let total = sum(call, weight, (0..call.rank(weight)).collect(), false)?;
    let zero = call.int("reduction")? == 0 && call.rank(x) > 1;
    let dtype = call.dtype_of(x);
    let total = if zero { map(call, &[total], |f, _| f.float(dtype, 0.0))? } else { total };
    Ok(vec![Out::Tensor(y), Out::Tensor(total)])
}

/// Of the scores `x`; what else counts the arguments say.
fn cross_entropy(call: &mut Call<'_>, x: ValueId) -> Result<ValueId> {
    let target = call.tensor("target")?;
    let smoothing = call.optional_float("label_smoothing")?.unwrap_or(0.0);
    let dim = class_dim(call, x)?;
    let log = softmax_of(call, x, dim, true)?;
    if call.dtype_of(target).is_float() {
        return of_probabilities(call, log, target, dim, smoothing);
    }
    let (loss, weight) = likelihood(call, log, target, dim)?;
    let y = reduced_by(call, loss, weight)?;
    if smoothing == 0.0 {
        return Ok(y);
    }
    let classes = class_count(call, x, dim)?;
    let all = weighted_classes(call, log, dim)?;
    let all = sum(call, all, vec![dim], false)?;
    let (dtype, ignored) = (call.dtype_of(x), call.int("ignore_index")?);
    let all = map(call, &[all, target], |f, p| {
        let class = f.cast(DType::I64, p[1]);
        let (ignored, zero) = (f.int(DType::I64, ignored), f.float(dtype, 0.0));
        let (hit, negative) = (f.binary(Binary::Eq, class, ignored), f.unary(Unary::Neg, p[0]));
        f.select(hit, zero, negative)
    })?;
    let all = reduced_by(call, all, weight)?;
    map(call, &[y, all], |f, p| {
        let (hard, soft) = (
            with(f, Binary::Mul, dtype, p[0], 1.0 - smoothing),
            with(f, Binary::Mul, dtype, p[1], smoothing / classes),
        );
        f.binary(Binary::Add, hard, soft)
    })
}

/// The cross entropy of a linear layer, which torch computes in chunks of the batch, in f32 at least.
fn linear_cross_entropy(call: &mut Call<'_>) -> Result<Outs> {
    let (x, weight) = (call.tensor("input")?, call.tensor("linear_weight")?);
    let dtype = call.dtype_of(x);
    let wide = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let mut inputs = vec![call.cast(x, wide)?, call.cast(weight, wide)?];
    if let Some(bias) = call.optional_tensor("linear_bias")? {
        inputs.push(call.cast(bias, wide)?);
    }
    let scores = call.push(Op::Linear(Epilogue::with_bias(inputs.len() > 2)), &inputs)?;
    let loss = cross_entropy(call, scores)?;
    let loss = Out::Tensor(call.cast(loss, dtype)?);
    Ok(if reduction(call)? == 0 { vec![loss] } else { vec![loss, Out::None, Out::None, Out::None] })
}

fn class_count(call: &Call<'_>, x: ValueId, dim: usize) -> Result<f64> {
    let size = call.shape(x)[dim].as_int();
    size.map(|n| n as f64).ok_or_else(|| call.unsupported("a number of classes that depends on the input"))
}

/// `x` times the weight of each class, if there are weights.
fn weighted_classes(call: &mut Call<'_>, x: ValueId, dim: usize) -> Result<ValueId> {
    let Some(weight) = call.optional_tensor("weight")? else { return Ok(x) };
    let weight = call.reshape(weight, &one_dim(call.rank(x), dim, call.shape(x)[dim].clone()))?;
    let weight = call.cast(weight, call.dtype_of(x))?;
    map(call, &[x, weight], |f, p| f.binary(Binary::Mul, p[0], p[1]))
}

/// Cross entropy with targets that are probabilities of each class; a mean counts samples.
fn of_probabilities(call: &mut Call<'_>, log: ValueId, target: ValueId, dim: usize, smoothing: f64) -> Result<ValueId> {
    let classes = class_count(call, log, dim)?;
    let (dtype, reduction) = (call.dtype_of(log), reduction(call)?);
    let target = call.cast(target, dtype)?;
    let products = map(call, &[log, target], |f, p| {
        let kept = with(f, Binary::Mul, dtype, p[1], 1.0 - smoothing);
        let target = if smoothing > 0.0 { with(f, Binary::Add, dtype, kept, smoothing / classes) } else { p[1] };
        let negative = f.unary(Unary::Neg, p[0]);
        f.binary(Binary::Mul, negative, target)
    })?;
    let products = weighted_classes(call, products, dim)?;
    let losses = sum(call, products, vec![dim], false)?;
    let dims: Vec<usize> = (0..call.rank(losses)).collect();
    match reduction {
        0 => Ok(losses),
        1 => reduce(call, losses, ReduceKind::Mean, dims, false),
        _ => sum(call, losses, dims, false),
    }
}
