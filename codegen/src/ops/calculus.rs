//! Differences and sums over sampled functions: `gradient`, `trapezoid` and its cumulative form.

use super::order::cumulative_sum;
use super::pointwise::promote::{common_dtype, to_float};
use super::reduce::sum;
use super::view::{one_dim, take};
use super::{Out, Outs, Row, map, one, row, wide};
use crate::diag::Diagnostic;
use crate::import::{Call, Number};
use crate::ir::{Binary, ExprId, Formula, Op, Unary, ValueId};
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

/// `x (op) constant`, which is not rounded to 16 bits; of integers an f32.
fn with(f: &mut Formula, op: Binary, x: ExprId, constant: f64) -> ExprId {
    let dtype = to_float(f.dtype(x));
    let wide = wide(dtype);
    let (x, constant) = (f.cast(wide, x), f.float(wide, constant));
    let result = f.binary(op, x, constant);
    f.cast(dtype, result)
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
    let x = call.tensor("self")?;
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

/// In torch's order, for roundings show where samples are nearly equal: the first entry, those between, the last. Integers
/// are subtracted and doubled as such, which wraps.
fn evenly(call: &mut Call<'_>, x: ValueId, dim: usize, h: f64, order: i64) -> Result<[ValueId; 3]> {
    let last = call.shape(x)[dim].as_int().unwrap_or(0) - 1;
    let edge = |call: &mut Call<'_>, terms: [(i64, f64); 3]| {
        let entries = terms.iter().map(|(index, _)| part(call, x, dim, *index)).collect::<Result<Vec<_>>>()?;
        map(call, &entries, |f, p| {
            let doubled = [p[0], f.binary(Binary::Add, p[1], p[1]), p[2]];
            let [a, b, c] = [0, 1, 2].map(|i| with(f, Binary::Mul, doubled[i], terms[i].1));
            let sum = f.binary(Binary::Add, a, b);
            let sum = f.binary(Binary::Add, sum, c);
            with(f, Binary::Div, sum, h)
        })
    };
    let slope = |call: &mut Call<'_>, later: ValueId, earlier: ValueId, halved: bool| {
        map(call, &[later, earlier], |f, p| {
            let difference = f.binary(Binary::Sub, p[0], p[1]);
            let slope = with(f, Binary::Div, difference, h);
            if halved { with(f, Binary::Div, slope, 2.0) } else { slope }
        })
    };
    let (after, before) = (without(call, x, dim, 2, 0)?, without(call, x, dim, 0, 2)?);
    let middle = slope(call, after, before, true)?;
    if order == 2 {
        let first = edge(call, [(0, -1.5), (1, 1.0), (2, -0.5)])?;
        return Ok([first, middle, edge(call, [(last - 2, 0.5), (last - 1, -1.0), (last, 1.5)])?]);
    }
    let mut neighbours = |later: i64| {
        let (later, earlier) = (part(call, x, dim, later)?, part(call, x, dim, later - 1)?);
        slope(call, later, earlier, false)
    };
    Ok([neighbours(1)?, middle, neighbours(last)?])
}

/// The slopes of parabolas through three neighbours each; those of straight lines at the edges unless `order` is 2.
fn unevenly(call: &mut Call<'_>, x: ValueId, dim: usize, at: ValueId, order: i64) -> Result<[ValueId; 3]> {
    let last = call.shape(x)[dim].as_int().unwrap_or(0) - 1;
    let widths = steps(call, at, dim)?;
    let dtype = to_float(common_dtype(call, &[x, widths])?);
    let between = [
        without(call, x, dim, 0, 2)?,
        without(call, x, dim, 1, 1)?,
        without(call, x, dim, 2, 0)?,
        without(call, widths, dim, 0, 1)?,
        without(call, widths, dim, 1, 0)?,
    ];
    let middle = map(call, &between, |f, p| parabola(f, p, dtype, 1))?;
    let mut edge = |first: i64, point: usize| {
        if order == 1 {
            let neighbours =
                [part(call, x, dim, first + 1)?, part(call, x, dim, first)?, part(call, widths, dim, first)?];
            return map(call, &neighbours, |f, p| {
                let difference = f.binary(Binary::Sub, p[0], p[1]);
                quotient(f, dtype, difference, p[2])
            });
        }
        let mut three = (0..3).map(|i| part(call, x, dim, first + i)).collect::<Result<Vec<_>>>()?;
        three.extend([part(call, widths, dim, first)?, part(call, widths, dim, first + 1)?]);
        map(call, &three, |f, p| parabola(f, p, dtype, point))
    };
    Ok([edge(0, 0)?, middle, edge(last - order, 2)?])
}

/// The slope at one of three samples of the parabola through them; `p` holds the samples and their two distances. In torch's
/// order, for roundings to 16 bits show, and with its integers, which wrap: distances are doubled as floats at the first sample
/// only.
fn parabola(f: &mut Formula, p: &[ExprId], dtype: DType, point: usize) -> ExprId {
    let (near, far) = (p[3], p[4]);
    let span = f.binary(Binary::Add, near, far);
    let less = |f: &mut Formula, x: ExprId| f.unary(Unary::Neg, x);
    let numerators = match point {
        0 => {
            let doubled = with(f, Binary::Mul, near, 2.0);
            let far = f.cast(f.dtype(doubled), far);
            let reach = f.binary(Binary::Add, doubled, far);
            [less(f, reach), span, less(f, near)]
        }
        1 => [less(f, far), f.binary(Binary::Sub, far, near), near],
        _ => {
            let doubled = f.binary(Binary::Add, far, far);
            [far, less(f, span), f.binary(Binary::Add, doubled, near)]
        }
    };
    let denominators = [(near, span), (near, far), (far, span)];
    let terms = [0, 1, 2].map(|i| {
        let denominator = f.binary(Binary::Mul, denominators[i].0, denominators[i].1);
        let own = to_float(f.dtype(near));
        let weight = quotient(f, own, numerators[i], denominator);
        let (weight, sample) = (f.cast(dtype, weight), f.cast(dtype, p[i]));
        f.binary(Binary::Mul, weight, sample)
    });
    let sum = f.binary(Binary::Add, terms[0], terms[1]);
    f.binary(Binary::Add, sum, terms[2])
}

fn quotient(f: &mut Formula, dtype: DType, a: ExprId, b: ExprId) -> ExprId {
    let (a, b) = (f.cast(dtype, a), f.cast(dtype, b));
    f.binary(Binary::Div, a, b)
}

/// One entry of a dim, which stays.
fn part(call: &mut Call<'_>, x: ValueId, dim: usize, index: i64) -> Result<ValueId> {
    let entry = take(call, x, dim, Expr::Int(index))?;
    super::view::unsqueeze(call, entry, dim)
}
