//! Scans, sorting and search.

use super::join::concat;
use super::reduce::reduce;
use super::view::{take, unsqueeze};
use super::{Out, Outs, Row, map, one, row};
use crate::diag::Diagnostic;
use crate::import::Call;
use crate::ir::{Binary, CumKind, Op, ReduceKind, SortMethod, Unary, ValueId};
use crate::sym::Expr;
use exported_runtime::DType;

type Result<T> = std::result::Result<T, Diagnostic>;

/// The rows.
pub const ROWS: &[Row] = &[
    row("aten.cumsum.default", |call| cumulative(call, CumKind::Sum)),
    row("aten.cumprod.default", |call| cumulative(call, CumKind::Prod)),
    row("aten.logcumsumexp.default", |call| cumulative(call, CumKind::LogSumExp)),
    row("aten.cummax.default", |call| extremes(call, CumKind::Max)),
    row("aten.cummin.default", |call| extremes(call, CumKind::Min)),
    row("aten.linalg_vander.default", vandermonde),
    row("aten.diff.default", diff),
    row("aten.sort.default", |call| both(sorted(call, SortMethod::Std)?)),
    row("aten.sort.stable", |call| {
        let method = stability(call)?;
        both(sorted(call, method)?)
    }),
    row("aten.argsort.default", |call| one(sorted(call, SortMethod::Std)?[1])),
    row("aten.argsort.stable", |call| {
        let method = stability(call)?;
        one(sorted(call, method)?[1])
    }),
    row("aten.msort.default", msort),
    row("aten.topk.default", topk),
    row("aten.kthvalue.default", kthvalue),
    row("aten.bucketize.Tensor", |call| search(call, "boundaries", "self")),
    row("aten.searchsorted.Tensor", |call| search(call, "sorted_sequence", "self")),
];

/// Argument `self` and `dim`; a 0-d tensor as one of one element, with the shape to give results.
fn along(call: &mut Call<'_>) -> Result<(ValueId, usize, Vec<Expr>)> {
    let x = call.tensor("self")?;
    let shape = call.shape(x);
    let dim = call.dim("dim", shape.len())?;
    let line = if shape.is_empty() { call.reshape(x, &[Expr::Int(1)])? } else { x };
    Ok((line, dim, shape))
}

fn cumulative(call: &mut Call<'_>, kind: CumKind) -> Result<Outs> {
    let (mut x, dim, shape) = along(call)?;
    let dtype = call.dtype("dtype")?;
    if let Some(dtype) = dtype {
        x = call.cast(x, dtype)?;
    }
    // Integers are summed in i64, whatever dtype was asked for.
    if !call.dtype_of(x).is_float() {
        x = call.cast(x, DType::I64)?;
    }
    let y = call.push(Op::Cumulative { kind, dim }, &[x])?;
    let y = call.cast(y, dtype.unwrap_or(call.dtype_of(y)))?;
    one(call.reshape(y, &shape)?)
}

/// Sorted values and positions along `dim`; equal elements keep their order.
pub(super) fn sorted_along(call: &mut Call<'_>, x: ValueId, dim: usize) -> Result<(ValueId, ValueId)> {
    pair(call, Op::Sort { dim, descending: false, method: SortMethod::Stable }, x, None)
        .map(|[values, positions]| (values, positions))
}

/// The sums of all entries up to each.
pub(super) fn cumulative_sum(call: &mut Call<'_>, x: ValueId, dim: usize) -> Result<ValueId> {
    call.push(Op::Cumulative { kind: CumKind::Sum, dim }, &[x])
}

/// Values and positions, reshaped.
fn pair(call: &mut Call<'_>, op: Op, x: ValueId, shape: Option<&[Expr]>) -> Result<[ValueId; 2]> {
    let outs = call.push_all(op, &[x])?;
    let [values, positions] = outs[..] else { return Err(call.damaged("values and positions are expected")) };
    match shape {
        Some(shape) => Ok([call.reshape(values, shape)?, call.reshape(positions, shape)?]),
        None => Ok([values, positions]),
    }
}

fn both(outs: [ValueId; 2]) -> Result<Outs> {
    Ok(outs.map(Out::Tensor).to_vec())
}

fn extremes(call: &mut Call<'_>, kind: CumKind) -> Result<Outs> {
    let (x, dim, shape) = along(call)?;
    both(pair(call, Op::Cumulative { kind, dim }, x, Some(&shape))?)
}

fn diff(call: &mut Call<'_>) -> Result<Outs> {
    let x = call.tensor("self")?;
    let dim = call.dim("dim", call.rank(x))?;
    let times = call.int("n")?;
    // What comes before and after counts only if there are differences.
    if times == 0 {
        return one(x);
    }
    let parts = [call.optional_tensor("prepend")?, Some(x), call.optional_tensor("append")?];
    let parts: Vec<ValueId> = parts.into_iter().flatten().collect();
    let mut x = if parts.len() > 1 { concat(call, &parts, dim as i64)? } else { x };
    for _ in 0..times {
        let size = call.shape(x).get(dim).cloned().ok_or_else(|| call.damaged("differences of a 0-d tensor"))?;
        if size == Expr::Int(0) {
            break;
        }
        let len = size - Expr::Int(1);
        let before = call.slice(x, dim, Expr::Int(0), len.clone(), 1)?;
        let after = call.slice(x, dim, Expr::Int(1), len, 1)?;
        let op = if call.dtype_of(x) == DType::Bool { Binary::Ne } else { Binary::Sub };
        x = map(call, &[after, before], |f, p| f.binary(op, p[0], p[1]))?;
    }
    one(x)
}

/// The powers 0 to n - 1 of each entry, in a new last dim.
fn vandermonde(call: &mut Call<'_>) -> Result<Outs> {
    let x = call.tensor("x")?;
    let dtype = if call.dtype_of(x).is_float() { call.dtype_of(x) } else { DType::I64 };
    let x = call.cast(x, dtype)?;
    let x = super::index::line(call, x)?;
    let rank = call.rank(x);
    let count = call.optional_sym_int("N")?.unwrap_or_else(|| call.shape(x)[rank - 1].clone());
    let column = unsqueeze(call, x, rank)?;
    let ones = map(call, &[column], |f, _| if dtype.is_float() { f.float(dtype, 1.0) } else { f.int(dtype, 1) })?;
    let mut shape = call.shape(column);
    shape[rank] = count - Expr::Int(1);
    let factors = call.expand(column, &shape)?;
    let powers = call.push(Op::Cumulative { kind: CumKind::Prod, dim: rank }, &[factors])?;
    one(concat(call, &[ones, powers], rank as i64)?)
}

/// By argument `stable`.
fn stability(call: &Call<'_>) -> Result<SortMethod> {
    let stable = call.arg("stable").is_some() && call.bool("stable")?;
    Ok(if stable { SortMethod::Stable } else { SortMethod::Std })
}

fn sorted(call: &mut Call<'_>, method: SortMethod) -> Result<[ValueId; 2]> {
    let (x, dim, shape) = along(call)?;
    let op = Op::Sort { dim, descending: call.bool("descending")?, method };
    pair(call, op, x, Some(&shape))
}

fn msort(call: &mut Call<'_>) -> Result<Outs> {
    let x = call.tensor("self")?;
    if call.rank(x) == 0 {
        return one(x);
    }
    one(pair(call, Op::Sort { dim: 0, descending: false, method: SortMethod::Stable }, x, None)?[0])
}

fn topk(call: &mut Call<'_>) -> Result<Outs> {
    let (x, dim, shape) = along(call)?;
    let (k, largest, sorted) = (call.sym_int("k")?, call.bool("largest")?, call.bool("sorted")?);
    let scalar = shape.is_empty().then_some(&shape[..]);
    both(pair(call, Op::TopK { k, dim, largest, sorted }, x, scalar)?)
}

fn kthvalue(call: &mut Call<'_>) -> Result<Outs> {
    let (x, dim, shape) = along(call)?;
    let (k, keepdim) = (call.int("k")?, call.bool("keepdim")?);
    let size = call.shape(x)[dim].as_int();
    let Some(entry) = usize::try_from(k - 1).ok().filter(|_| size.is_none_or(|n| k <= n)) else {
        return Err(call.damaged(format!("the {k}th value of a dim of {}", call.shape(x)[dim])));
    };
    let method = SortMethod::Select(entry);
    let outs = pair(call, Op::Sort { dim, descending: false, method }, x, None)?;
    let mut found = [take(call, outs[0], dim, Expr::Int(k - 1))?, take(call, outs[1], dim, Expr::Int(k - 1))?];
    if keepdim && !shape.is_empty() {
        for out in &mut found {
            *out = unsqueeze(call, *out, dim)?;
        }
    }
    both(found)
}

/// How many boundaries come before each value: a comparison with all of them, counted. A NaN comes after every boundary.
fn search(call: &mut Call<'_>, boundaries: &str, values: &str) -> Result<Outs> {
    let (sorted, x) = (call.tensor(boundaries)?, call.tensor(values)?);
    if call.arg("sorter").is_some() {
        return Err(call.unsupported("`searchsorted` with a sorter"));
    }
    let right = call.bool("right")? || call.arg("side").is_some() && call.str("side")? == "right";
    let dtype = super::pointwise::promote::common_dtype(call, &[sorted, x])?;
    let (sorted, x) = (call.cast(sorted, dtype)?, call.cast(x, dtype)?);
    // Boundaries per row: [rows.., 1, boundaries] against [rows.., values, 1].
    let sorted = match call.rank(sorted) {
        0 => return Err(call.damaged("boundaries need a dim")),
        1 => sorted,
        rank => unsqueeze(call, sorted, rank - 1)?,
    };
    let x = unsqueeze(call, x, call.rank(x))?;
    let before = if right { Binary::Gt } else { Binary::Ge };
    let passed = map(call, &[sorted, x], |f, p| {
        let not_passed = f.binary(before, p[0], p[1]);
        f.unary(Unary::Not, not_passed)
    })?;
    let last = call.rank(passed) - 1;
    let count = reduce(call, passed, ReduceKind::Sum, vec![last], false)?;
    one(if call.bool("out_int32")? { call.cast(count, DType::I32)? } else { count })
}
