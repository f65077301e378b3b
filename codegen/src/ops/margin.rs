//! Losses that compare the scores of classes with those of the right ones.

use super::reduce::{reduce, sum};
use super::view::unsqueeze;
use super::{Out, Outs, Row, map, one, row};
use crate::diag::Diagnostic;
use crate::import::Call;
use crate::ir::{Binary, ExprNode, Op, ReduceKind, ScatterKind, ValueId};
use crate::sym::Expr;
use exported_runtime::DType;

type Result<T> = std::result::Result<T, Diagnostic>;

/// The rows.
pub const ROWS: &[Row] = &[
    row("aten.multi_margin_loss.default", multi_margin),
    row("aten.multilabel_margin_loss.default", |c| multilabel_margin(c).map(|[loss, _]| vec![Out::Tensor(loss)])),
    row("aten.multilabel_margin_loss_forward.default", |c| Ok(multilabel_margin(c)?.map(Out::Tensor).to_vec())),
];

/// Scores as `[samples, classes]`, targets as `[samples, labels]` (or one label), and whether there was a batch.
fn operands(call: &mut Call<'_>) -> Result<(ValueId, ValueId, bool)> {
    let (mut x, mut target) = (call.tensor("self")?, call.tensor("target")?);
    let batched = call.rank(x) == 2;
    if !batched {
        let shape = [&[Expr::Int(1)], call.shape(x).as_slice()].concat();
        x = call.reshape(x, &if shape.len() == 1 { vec![Expr::Int(1); 2] } else { shape })?;
    }
    target = call.cast(target, DType::I64)?;
    let samples = call.shape(x)[0].clone();
    let labels = Expr::product(call.shape(target)).exact_div(&samples);
    let labels = labels.ok_or_else(|| call.damaged(format!("targets {} for {}", call.ty(target), call.ty(x))))?;
    Ok((x, call.reshape(target, &[samples, labels])?, batched))
}

/// One loss per sample, `[samples]`, reduced as the argument says.
fn reduced(call: &mut Call<'_>, losses: ValueId, batched: bool) -> Result<ValueId> {
    match call.int("reduction")? {
        0 if batched => Ok(losses),
        0 => call.reshape(losses, &[]),
        1 => reduce(call, losses, ReduceKind::Mean, vec![0], false),
        2 => sum(call, losses, vec![0], false),
        other => Err(call.damaged(format!("reduction {other}"))),
    }
}

/// The mean over classes of `max(0, margin - right + other)^p`, times the weight of the right one.
fn multi_margin(call: &mut Call<'_>) -> Result<Outs> {
    let (x, target, batched) = operands(call)?;
    let (p, margin, dtype) = (call.float("p")?, call.float("margin")?, call.dtype_of(x));
    let right = call.push(Op::Gather { dim: 1 }, &[x, target])?;
    let mut inputs = vec![x, right, target];
    if let Some(weight) = call.optional_tensor("weight")? {
        inputs.push(call.push(Op::Index { dims: vec![0] }, &[weight, target])?);
    }
    let losses = map(call, &inputs, |f, v| {
        let (margin, zero) = (f.float(dtype, margin), f.float(dtype, 0.0));
        let distance = f.binary(Binary::Sub, margin, v[1]);
        let distance = f.binary(Binary::Add, distance, v[0]);
        let mut loss = f.binary(Binary::Max, distance, zero);
        if p == 2.0 {
            loss = f.binary(Binary::Mul, loss, loss);
        }
        if let Some(&weight) = v.get(3) {
            loss = f.binary(Binary::Mul, loss, weight);
        }
        let class = f.push(ExprNode::Coord(1));
        let itself = f.binary(Binary::Eq, class, v[2]);
        f.select(itself, zero, loss)
    })?;
    let losses = over_classes(call, losses, vec![1])?;
    one(reduced(call, losses, batched)?)
}

/// The sum over the other dims, divided by the number of classes (dim 1).
fn over_classes(call: &mut Call<'_>, losses: ValueId, dims: Vec<usize>) -> Result<ValueId> {
    let (classes, dtype) = (call.shape(losses)[1].as_int(), call.dtype_of(losses));
    let classes = classes.ok_or_else(|| call.unsupported("a number of classes that depends on the input"))?;
    let total = sum(call, losses, dims, false)?;
    map(call, &[total], |f, v| {
        let classes = f.float(dtype, classes as f64);
        f.binary(Binary::Div, v[0], classes)
    })
}

/// Labels up to the first -1 are right: each is compared with every class that is not. Also gives which are right, as 0 or 1.
fn multilabel_margin(call: &mut Call<'_>) -> Result<[ValueId; 2]> {
    let (x, target, batched) = operands(call)?;
    let (dtype, shape) = (call.dtype_of(x), call.shape(x));
    let ends = map(call, &[target], |f, v| {
        let (zero, one) = (f.int(DType::I64, 0), f.int(DType::I64, 1));
        let end = f.binary(Binary::Lt, v[0], zero);
        f.select(end, one, zero)
    })?;
    let ended = super::order::cumulative_sum(call, ends, 1)?;
    let label = map(call, &[target], |f, v| {
        let zero = f.int(DType::I64, 0);
        f.binary(Binary::Max, v[0], zero)
    })?;
    let counts = map(call, &[ended], |f, v| {
        let (zero, one) = (f.int(DType::I64, 0), f.int(DType::I64, 1));
        let none = f.binary(Binary::Eq, v[0], zero);
        f.select(none, one, zero)
    })?;
    let zeros = super::index::filled(call, DType::I64, &shape, &crate::import::Number::Int(Expr::Int(0)))?;
    let right = call.push(Op::Scatter { dim: 1, kind: ScatterKind::Max }, &[zeros, label, counts])?;
    let picked = call.push(Op::Gather { dim: 1 }, &[x, label])?;
    // [samples, classes, labels]
    let columns = [x, right].map(|v| unsqueeze(call, v, 2));
    let lines = [picked, counts].map(|v| unsqueeze(call, v, 1));
    let [x, class] = columns;
    let [picked, label] = lines;
    let losses = map(call, &[x?, class?, picked?, label?], |f, v| {
        let (one, zero, none) = (f.float(dtype, 1.0), f.float(dtype, 0.0), f.int(DType::I64, 0));
        let distance = f.binary(Binary::Sub, one, v[2]);
        let distance = f.binary(Binary::Add, distance, v[0]);
        let loss = f.binary(Binary::Max, distance, zero);
        let (wrong, ended) = (f.binary(Binary::Eq, v[1], none), f.binary(Binary::Eq, v[3], none));
        let loss = f.select(wrong, loss, zero);
        f.select(ended, zero, loss)
    })?;
    let losses = over_classes(call, losses, vec![1, 2])?;
    let loss = reduced(call, losses, batched)?;
    let right = call.cast(right, dtype)?;
    let shape = call.shape(call.tensor("target")?);
    Ok([loss, call.reshape(right, &shape)?])
}
