//! Differences and sums over sampled functions: `gradient`, `trapezoid` and its cumulative form.

use super::order::cumulative_sum;
use super::pointwise::promote::{common_dtype, to_float};
use super::reduce::sum;
use super::view::{one_dim, take};
use super::{Out, Outs, Row, map, one, row, wide};
use crate::diag::Diagnostic;
use crate::import::{Call, Number};
use crate::ir::{Binary, ExprId, Formula, Op, ValueId};
use crate::sym::Expr;
use exported_runtime::DType;

type Result<T> = std::result::Result<T, Diagnostic>;

/// The rows.
pub const ROWS: &[Row] = &[
    row("aten.trapezoid.x", |c| trapezoid(c, false)),
    row("aten.trapezoid.dx", |c| trapezoid(c, false)),
    row("aten.trapz.x", |c| trapezoid(c, false)),
    row("aten.trapz.dx", |c| trapezoid(c, false)),
    row("aten.cumulative_trapezoid.x", |c| trapezoid(c, true)),
    row("aten.cumulative_trapezoid.dx", |c| trapezoid(c, true)),
    row("aten.gradient.array", gradient),
    row("aten.gradient.scalarint", gradient),
    row("aten.gradient.scalararray", gradient),
    row("aten.gradient.scalarrayint", gradient),
    row("aten.gradient.scalarrayarray", gradient),
    row("aten.gradient.tensorarrayint", gradient),
    row("aten.gradient.tensorarray", gradient),
];

/// How far samples lie from each other.
#[derive(Clone)]
enum Spacing {
    Even(f64),
    /// Coordinates, with dims that broadcast against the samples.
    At(ValueId),
}

/// `x` without its last or first `count` entries of a dim.
fn without(call: &mut Call<'_>, x: ValueId, dim: usize, first: i64, last: i64) -> Result<ValueId> {
    let size = call.shape(x)[dim].clone();
    call.slice(x, dim, Expr::Int(first), size - Expr::Int(first + last), 1)
}

/// `later - earlier` along a dim.
fn steps(call: &mut Call<'_>, x: ValueId, dim: usize) -> Result<ValueId> {
    let (later, earlier) = (without(call, x, dim, 1, 0)?, without(call, x, dim, 0, 1)?);
    map(call, &[later, earlier], |f, p| f.binary(Binary::Sub, p[0], p[1]))
}

/// `x (op) constant`, which is not rounded to 16 bits.
fn with(f: &mut Formula, op: Binary, x: ExprId, constant: f64) -> ExprId {
    let dtype = f.dtype(x);
    let wide = wide(dtype);
    let (x, constant) = (f.cast(wide, x), f.float(wide, constant));
    let result = f.binary(op, x, constant);
    f.cast(dtype, result)
}

/// The argument in floats.
fn samples(call: &mut Call<'_>, name: &str) -> Result<ValueId> {
    let x = call.tensor(name)?;
    floats(call, x)
}

/// Integers as f32.
fn floats(call: &mut Call<'_>, x: ValueId) -> Result<ValueId> {
    let dtype = to_float(call.dtype_of(x));
    call.cast(x, dtype)
}

/// The areas between neighbours, summed or added up one by one. Integers are sums and products of integers first, which wrap.
fn trapezoid(call: &mut Call<'_>, cumulative: bool) -> Result<Outs> {
    let y = call.tensor("y")?;
    let rank = call.rank(y);
    let dim = call.dim("dim", rank)?;
    if rank == 0 || call.shape(y)[dim].as_int().is_none_or(|n| n < 1) {
        return Err(call.unsupported("the integral of a number of samples that is 0 or depends on the input"));
    }
    let (left, right) = (without(call, y, dim, 0, 1)?, without(call, y, dim, 1, 0)?);
    let both = map(call, &[left, right], |f, p| f.binary(Binary::Add, p[0], p[1]))?;
    if call.arg("x").is_none() {
        let width = call.float("dx")?;
        if !cumulative {
            return one(evenly_spaced(call, y, dim, width)?);
        }
        let both = floats(call, both)?;
        let areas = map(call, &[both], |f, p| with(f, Binary::Mul, p[0], width / 2.0))?;
        return one(cumulative_sum(call, areas, dim)?);
    }
    let x = call.tensor("x")?;
    let x = if call.rank(x) == 1 { vector(call, x, dim, rank)? } else { x };
    let at = dim + call.rank(x) - rank;
    let widths = steps(call, x, at)?;
    let dtype = common_dtype(call, &[both, widths])?;
    let (both, widths) = (call.cast(both, dtype)?, call.cast(widths, dtype)?);
    let mut areas = map(call, &[both, widths], |f, p| f.binary(Binary::Mul, p[0], p[1]))?;
    if !dtype.is_float() {
        areas = call.cast(areas, DType::I64)?;
    }
    let total = if cumulative { cumulative_sum(call, areas, dim)? } else { sum(call, areas, vec![dim], false)? };
    let total = floats(call, total)?;
    one(map(call, &[total], |f, p| with(f, Binary::Div, p[0], 2.0))?)
}

/// All samples but half of the outer ones, times their distance.
fn evenly_spaced(call: &mut Call<'_>, y: ValueId, dim: usize, width: f64) -> Result<ValueId> {
    let size = call.shape(y)[dim].clone();
    let (first, last) = (take(call, y, dim, Expr::Int(0))?, take(call, y, dim, size - Expr::Int(1))?);
    let ends = map(call, &[first, last], |f, p| f.binary(Binary::Add, p[0], p[1]))?;
    let total = sum(call, y, vec![dim], false)?;
    let (total, ends) = (floats(call, total)?, floats(call, ends)?);
    map(call, &[total, ends], |f, p| {
        let half = with(f, Binary::Mul, p[1], 0.5);
        let rest = f.binary(Binary::Sub, p[0], half);
        with(f, Binary::Mul, rest, width)
    })
}

/// A vector as a tensor of this rank, its entries along `dim`.
fn vector(call: &mut Call<'_>, x: ValueId, dim: usize, rank: usize) -> Result<ValueId> {
    let size = call.shape(x).first().cloned().unwrap_or(Expr::Int(1));
    call.reshape(x, &one_dim(rank, dim, size))
}

fn gradient(call: &mut Call<'_>) -> Result<Outs> {
    let x = samples(call, "self")?;
    let rank = call.rank(x);
    let dims = match call.arg("dim") {
        Some(_) => call.ints("dim")?.into_iter().map(|d| call.normalize_dim(d, rank)).collect::<Result<Vec<_>>>()?,
        None => (0..rank).collect(),
    };
    let order = call.int("edge_order")?;
    if !(1..=2).contains(&order) {
        return Err(call.damaged(format!("`edge_order` {order}")));
    }
    let spacings = spacings(call, &dims, rank)?;
    let parts = dims.iter().zip(spacings).map(|(&dim, spacing)| derivative(call, x, dim, &spacing, order));
    Ok(vec![Out::Tensors(parts.collect::<Result<_>>()?)])
}

/// One per dim.
fn spacings(call: &mut Call<'_>, dims: &[usize], rank: usize) -> Result<Vec<Spacing>> {
    let target = call.target();
    let even = |v: f64| Spacing::Even(v);
    if target.contains("tensorarray") {
        let mut all = Vec::new();
        for (x, &dim) in call.tensors("spacing")?.into_iter().zip(dims) {
            let dtype = to_float(call.dtype_of(x));
            let x = call.cast(x, dtype)?;
            all.push(Spacing::At(vector(call, x, dim, rank)?));
        }
        return if all.len() == dims.len() {
            Ok(all)
        } else {
            Err(call.damaged("as many spacings as dims are needed"))
        };
    }
    let given = match call.arg("spacing") {
        None => vec![1.0],
        Some(_) if target.contains("scalarray") => call.optional_floats("spacing")?.unwrap_or_default(),
        Some(_) => match call.number("spacing")? {
            Number::Float(_) | Number::Int(_) => vec![call.float("spacing")?],
            _ => return Err(call.damaged("a spacing that is no number")),
        },
    };
    match given[..] {
        [v] => Ok(vec![even(v); dims.len()]),
        _ if given.len() == dims.len() => Ok(given.into_iter().map(even).collect()),
        _ => Err(call.damaged("as many spacings as dims are needed")),
    }
}

/// Central differences; at the edges one-sided ones of the order asked for.
fn derivative(call: &mut Call<'_>, x: ValueId, dim: usize, spacing: &Spacing, order: i64) -> Result<ValueId> {
    let Some(size) = call.shape(x)[dim].as_int().filter(|size| *size > order) else {
        return Err(call.damaged("too few samples, or a number that depends on the input"));
    };
    let [start, middle, end] = match spacing {
        Spacing::Even(h) => evenly(call, x, dim, *h, order)?,
        Spacing::At(at) => unevenly(call, x, dim, *at, order)?,
    };
    let parts = if size < 3 { vec![start, end] } else { vec![start, middle, end] };
    call.push(Op::Concat { dim }, &parts)
}

/// In torch's order, for roundings show where samples are nearly equal: the first entry, those between, the last.
fn evenly(call: &mut Call<'_>, x: ValueId, dim: usize, h: f64, order: i64) -> Result<[ValueId; 3]> {
    let last = call.shape(x)[dim].as_int().unwrap_or(0) - 1;
    let (first, final_terms): (&[_], &[_]) = match order {
        1 => (&[(1, 1.0), (0, -1.0)], &[(last, 1.0), (last - 1, -1.0)]),
        _ => (&[(0, -1.5), (1, 2.0), (2, -0.5)], &[(last - 2, 0.5), (last - 1, -2.0), (last, 1.5)]),
    };
    let edge = |call: &mut Call<'_>, terms: &[(i64, f64)]| {
        let entries = terms.iter().map(|(index, _)| part(call, x, dim, *index)).collect::<Result<Vec<_>>>()?;
        map(call, &entries, |f, p| {
            let products: Vec<ExprId> = terms.iter().zip(p).map(|((_, k), x)| with(f, Binary::Mul, *x, *k)).collect();
            let sum = products.into_iter().reduce(|sum, product| f.binary(Binary::Add, sum, product));
            with(f, Binary::Div, sum.unwrap_or(p[0]), h)
        })
    };
    let (after, before) = (without(call, x, dim, 2, 0)?, without(call, x, dim, 0, 2)?);
    let middle = map(call, &[after, before], |f, p| {
        let difference = f.binary(Binary::Sub, p[0], p[1]);
        let slope = with(f, Binary::Div, difference, h);
        with(f, Binary::Div, slope, 2.0)
    })?;
    Ok([edge(call, first)?, middle, edge(call, final_terms)?])
}

/// Slopes between neighbours, inside weighted by the width of the other side.
fn unevenly(call: &mut Call<'_>, x: ValueId, dim: usize, at: ValueId, order: i64) -> Result<[ValueId; 3]> {
    let last = call.shape(x)[dim].as_int().unwrap_or(0) - 1;
    let (differences, widths) = (steps(call, x, dim)?, steps(call, at, dim)?);
    let slopes = map(call, &[differences, widths], |f, p| f.binary(Binary::Div, p[0], p[1]))?;
    let edge = |call: &mut Call<'_>, outer: i64, inner: i64| -> Result<ValueId> {
        let first = part(call, slopes, dim, outer)?;
        if order == 1 {
            return Ok(first);
        }
        // The slope at the edge of the parabola through three samples.
        let second = part(call, slopes, dim, inner)?;
        let (a, b) = (part(call, widths, dim, outer)?, part(call, widths, dim, inner)?);
        map(call, &[first, second, a, b], |f, p| {
            let bend = f.binary(Binary::Sub, p[0], p[1]);
            let span = f.binary(Binary::Add, p[2], p[3]);
            let share = f.binary(Binary::Div, p[2], span);
            let bend = f.binary(Binary::Mul, bend, share);
            f.binary(Binary::Add, p[0], bend)
        })
    };
    let (before, after) = (without(call, slopes, dim, 0, 1)?, without(call, slopes, dim, 1, 0)?);
    let (near, far) = (without(call, widths, dim, 0, 1)?, without(call, widths, dim, 1, 0)?);
    let middle = map(call, &[before, after, near, far], |f, p| {
        let (left, right) = (f.binary(Binary::Mul, p[0], p[3]), f.binary(Binary::Mul, p[1], p[2]));
        let (total, span) = (f.binary(Binary::Add, left, right), f.binary(Binary::Add, p[2], p[3]));
        f.binary(Binary::Div, total, span)
    })?;
    Ok([edge(call, 0, 1)?, middle, edge(call, last - 1, last - 2)?])
}

/// One entry of a dim, which stays.
fn part(call: &mut Call<'_>, x: ValueId, dim: usize, index: i64) -> Result<ValueId> {
    let entry = take(call, x, dim, Expr::Int(index))?;
    super::view::unsqueeze(call, entry, dim)
}
