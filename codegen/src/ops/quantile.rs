//! Quantiles, the mode and statistics that leave NaN out: sorting, then reading at places that are computed.

use super::order::sorted_along;
use super::reduce::{reduce, sum};
use super::view::{numel, unsqueeze};
use super::{Out, Outs, Row, map, one, row};
use crate::diag::Diagnostic;
use crate::import::Call;
use crate::ir::{Binary, ExprId, Formula, Op, ReduceKind, Unary, ValueId};
use crate::sym::Expr;
use exported_runtime::DType;

type Result<T> = std::result::Result<T, Diagnostic>;

/// The rows.
pub const ROWS: &[Row] = &[
    row("aten.quantile.scalar", |c| quantile(c, false)),
    row("aten.quantile.default", |c| quantile(c, false)),
    row("aten.nanquantile.scalar", |c| quantile(c, true)),
    row("aten.nanquantile.default", |c| quantile(c, true)),
    row("aten.nanmedian.default", nanmedian),
    row("aten.nanmedian.dim", nanmedian_dim),
    row("aten.nanmean.default", nanmean),
    row("aten.mode.default", mode).noted("compares all pairs of a row"),
];

/// The operand with the dim to reduce last (all dims as one, if none is named), and that dim.
fn rows(call: &mut Call<'_>) -> Result<(ValueId, Option<usize>)> {
    let x = call.tensor("self")?;
    let shape = call.shape(x);
    if call.arg("dim").is_none() || shape.is_empty() {
        let dim = call.arg("dim").map(|_| call.dim("dim", 0)).transpose()?;
        return Ok((call.reshape(x, &[numel(&shape)])?, dim.filter(|_| !shape.is_empty())));
    }
    let dim = call.dim("dim", shape.len())?;
    let order: Vec<usize> = (0..shape.len()).filter(|&d| d != dim).chain([dim]).collect();
    Ok((call.permute(x, &order)?, Some(dim)))
}

/// Number of elements of each row that are not NaN, `[.., 1]`.
fn present(call: &mut Call<'_>, x: ValueId) -> Result<ValueId> {
    let float = call.dtype_of(x).is_float();
    let ones = map(call, &[x], |f, p| {
        let one = f.int(DType::I64, 1);
        let zero = f.int(DType::I64, 0);
        if !float {
            return one;
        }
        let nan = f.unary(Unary::IsNan, p[0]);
        f.select(nan, zero, one)
    })?;
    let last = call.rank(x) - 1;
    sum(call, ones, vec![last], true)
}

/// Entries of the rows of `x` at `places`, both `[.., k]`; leading dims of `places` broadcast.
fn at(call: &mut Call<'_>, x: ValueId, places: ValueId) -> Result<ValueId> {
    let last = call.rank(x) - 1;
    let k = call.shape(places).last().cloned().unwrap_or(Expr::Int(1));
    let shape = [&call.shape(x)[..last], &[k]].concat();
    let places = call.expand(places, &shape)?;
    call.push(Op::Gather { dim: last }, &[x, places])
}

fn quantile(call: &mut Call<'_>, skip_nan: bool) -> Result<Outs> {
    let (x, dim) = rows(call)?;
    let (dtype, keepdim) = (call.dtype_of(x), call.bool("keepdim")?);
    if !matches!(dtype, DType::F32 | DType::F64) {
        return Err(call.damaged(format!("quantiles of {}", call.ty(x))));
    }
    let n = call.shape(x).last().cloned().and_then(|n| n.as_int()).filter(|n| *n > 0);
    let n = n.ok_or_else(|| call.unsupported("quantiles of a number of elements that is 0 or depends on the input"))?;
    let many = !call.target().ends_with("scalar") && call.rank(call.tensor("q")?) == 1;
    let q = levels(call, dtype)?;
    let (sorted, _) = sorted_along(call, x, call.rank(x) - 1)?;
    let ranks = if skip_nan {
        let count = present(call, x)?;
        map(call, &[q, count], |f, p| {
            let (one, zero) = (f.int(DType::I64, 1), f.float(dtype, 0.0));
            let last = f.binary(Binary::Sub, p[1], one);
            let last = f.cast(dtype, last);
            let rank = f.binary(Binary::Mul, p[0], last);
            f.binary(Binary::Max, rank, zero)
        })?
    } else {
        map(call, &[q], |f, p| {
            let last = f.float(dtype, (n - 1) as f64);
            f.binary(Binary::Mul, p[0], last)
        })?
    };
    let y = interpolated(call, sorted, ranks)?;
    // A row with a NaN has no quantiles.
    let y = if skip_nan {
        y
    } else {
        let greatest = reduce(call, x, ReduceKind::Max, vec![call.rank(x) - 1], true)?;
        map(call, &[y, greatest], |f, p| {
            let nan = f.unary(Unary::IsNan, p[1]);
            f.select(nan, p[1], p[0])
        })?
    };
    one(arranged(call, y, dim, many, keepdim)?)
}

/// Argument `q` as a vector.
fn levels(call: &mut Call<'_>, dtype: DType) -> Result<ValueId> {
    if call.target().ends_with("scalar") {
        let q = call.float("q")?;
        let mut formula = Formula::new(&[]);
        let q = formula.float(dtype, q);
        formula.results.push(q);
        return call.push(Op::Pointwise { formula, shape: vec![Expr::Int(1)] }, &[]);
    }
    let q = call.tensor("q")?;
    let q = call.cast(q, dtype)?;
    call.reshape(q, &[numel(&call.shape(q))])
}

/// Sorted rows read at fractional places.
fn interpolated(call: &mut Call<'_>, sorted: ValueId, ranks: ValueId) -> Result<ValueId> {
    let round = |call: &mut Call<'_>, op: Unary| -> Result<ValueId> {
        let places = map(call, &[ranks], |f, p| {
            let whole = f.unary(op, p[0]);
            f.cast(DType::I64, whole)
        })?;
        at(call, sorted, places)
    };
    let half = match call.str("interpolation")? {
        "lower" => return round(call, Unary::Floor),
        "higher" => return round(call, Unary::Ceil),
        "nearest" => return round(call, Unary::Round),
        "linear" => false,
        "midpoint" => true,
        other => return Err(call.damaged(format!("interpolation `{other}`"))),
    };
    let (below, above) = (round(call, Unary::Floor)?, round(call, Unary::Ceil)?);
    map(call, &[below, above, ranks], |f, p| {
        let dtype = f.dtype(p[0]);
        let weight = if half {
            f.float(dtype, 0.5)
        } else {
            let whole = f.unary(Unary::Floor, p[2]);
            f.binary(Binary::Sub, p[2], whole)
        };
        lerp(f, p[0], p[1], weight)
    })
}

/// From the nearer end, as PyTorch.
fn lerp(f: &mut Formula, start: ExprId, end: ExprId, weight: ExprId) -> ExprId {
    let dtype = f.dtype(start);
    let (half, one) = (f.float(dtype, 0.5), f.float(dtype, 1.0));
    let span = f.binary(Binary::Sub, end, start);
    let near = f.binary(Binary::Lt, weight, half);
    let step = f.binary(Binary::Mul, weight, span);
    let from_start = f.binary(Binary::Add, start, step);
    let rest = f.binary(Binary::Sub, one, weight);
    let back = f.binary(Binary::Mul, span, rest);
    let from_end = f.binary(Binary::Sub, end, back);
    f.select(near, from_start, from_end)
}

/// `[rows.., k]` as torch returns it: `k` in front if `q` has a dim, the reduced dim kept with size 1 if asked for.
fn arranged(call: &mut Call<'_>, y: ValueId, dim: Option<usize>, many: bool, keepdim: bool) -> Result<ValueId> {
    let rank = call.rank(call.tensor("self")?);
    let last = call.rank(y) - 1;
    let order: Vec<usize> = [last].into_iter().chain(0..last).collect();
    let mut y = call.permute(y, &order)?;
    if keepdim {
        let added: Vec<usize> = match dim {
            Some(dim) => vec![dim],
            None => (0..rank).collect(),
        };
        for d in added {
            y = unsqueeze(call, y, d + 1)?;
        }
    }
    if many {
        return Ok(y);
    }
    let shape = call.shape(y);
    call.reshape(y, &shape[1..])
}

/// Values and positions of the lower middle element of those present, `[.., 1]`.
fn middle(call: &mut Call<'_>, x: ValueId) -> Result<[ValueId; 2]> {
    let (sorted, positions) = sorted_along(call, x, call.rank(x) - 1)?;
    let count = present(call, x)?;
    let place = map(call, &[count], |f, p| {
        let (one, two, zero) = (f.int(DType::I64, 1), f.int(DType::I64, 2), f.int(DType::I64, 0));
        let last = f.binary(Binary::Sub, p[0], one);
        let middle = f.binary(Binary::FloorDiv, last, two);
        f.binary(Binary::Max, middle, zero)
    })?;
    Ok([at(call, sorted, place)?, at(call, positions, place)?])
}

fn nanmedian(call: &mut Call<'_>) -> Result<Outs> {
    let (x, _) = rows(call)?;
    let [value, _] = middle(call, x)?;
    one(call.reshape(value, &[])?)
}

fn nanmedian_dim(call: &mut Call<'_>) -> Result<Outs> {
    let (x, dim) = rows(call)?;
    let found = middle(call, x)?;
    pair(call, found, dim)
}

/// Values and positions `[.., 1]` with the reduced dim dropped, or back at its place.
fn pair(call: &mut Call<'_>, found: [ValueId; 2], dim: Option<usize>) -> Result<Outs> {
    let keepdim = call.bool("keepdim")?;
    let outs = found.map(|out| {
        let shape = call.shape(out);
        let dropped = call.reshape(out, &shape[..shape.len() - 1])?;
        match dim.filter(|_| keepdim) {
            Some(dim) => unsqueeze(call, dropped, dim),
            None => Ok(dropped),
        }
    });
    outs.into_iter().map(|out| out.map(Out::Tensor)).collect()
}

fn nanmean(call: &mut Call<'_>) -> Result<Outs> {
    let mut x = call.tensor("self")?;
    if let Some(dtype) = call.dtype("dtype")? {
        x = call.cast(x, dtype)?;
    }
    let (dims, keepdim, dtype) = (call.dims("dim", call.rank(x))?, call.bool("keepdim")?, call.dtype_of(x));
    let kept = map(call, &[x], |f, p| {
        let (nan, zero) = (f.unary(Unary::IsNan, p[0]), f.float(dtype, 0.0));
        f.select(nan, zero, p[0])
    })?;
    let ones = map(call, &[x], |f, p| {
        let nan = f.unary(Unary::IsNan, p[0]);
        let here = f.unary(Unary::Not, nan);
        f.cast(DType::I64, here)
    })?;
    let (total, count) = (sum(call, kept, dims.clone(), keepdim)?, sum(call, ones, dims, keepdim)?);
    one(map(call, &[total, count], |f, p| {
        let count = f.cast(dtype, p[1]);
        f.binary(Binary::Div, p[0], count)
    })?)
}

/// The least of the values that stand most often, and the place of its last one.
fn mode(call: &mut Call<'_>) -> Result<Outs> {
    let (x, dim) = rows(call)?;
    let last = call.rank(x) - 1;
    let (sorted, positions) = sorted_along(call, x, last)?;
    let (columns, lines) = (unsqueeze(call, sorted, last + 1)?, unsqueeze(call, sorted, last)?);
    let equal = map(call, &[columns, lines], |f, p| f.binary(Binary::Eq, p[0], p[1]))?;
    let counts = sum(call, equal, vec![last + 1], false)?;
    let first = reduce(call, counts, ReduceKind::ArgMax, vec![last], true)?;
    let most = reduce(call, counts, ReduceKind::Max, vec![last], true)?;
    let end = map(call, &[first, most], |f, p| {
        let (one, zero) = (f.int(DType::I64, 1), f.int(DType::I64, 0));
        let rest = f.binary(Binary::Sub, p[1], one);
        // A NaN equals nothing, not even itself.
        let rest = f.binary(Binary::Max, rest, zero);
        f.binary(Binary::Add, p[0], rest)
    })?;
    let found = [at(call, sorted, first)?, at(call, positions, end)?];
    pair(call, found, dim)
}
