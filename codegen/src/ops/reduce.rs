//! Reductions, softmax and what is made of them: variances, norms, distances.

use super::index::filled;
use super::order::sorted_along;
use super::pointwise::promote::{common_dtype, to_float};
use super::view::{numel, take};
use super::{Out, Outs, Row, map, one, row};
use crate::diag::Diagnostic;
use crate::import::{Call, Number};
use crate::ir::{Binary, ExprId, ExprNode, Formula, Literal, Op, ReduceKind, Unary, ValueId};
use crate::sym::Expr;
use exported_runtime::DType;

type Result<T> = std::result::Result<T, Diagnostic>;

const NORMS: &str = "no norms of singular values (`nuc`, 2, -2 of matrices)";

/// The rows.
pub const ROWS: &[Row] = &[
    row("aten.sum.default", |call| plain(call, ReduceKind::Sum)),
    row("aten.sum.dim_IntList", |call| plain(call, ReduceKind::Sum)),
    row("aten.prod.default", |call| plain(call, ReduceKind::Prod)),
    row("aten.prod.dim_int", |call| plain(call, ReduceKind::Prod)),
    row("aten.mean.default", |call| plain(call, ReduceKind::Mean)),
    row("aten.mean.dim", |call| plain(call, ReduceKind::Mean)),
    row("aten.amax.default", |call| plain(call, ReduceKind::Max)),
    row("aten.amin.default", |call| plain(call, ReduceKind::Min)),
    row("aten.max.default", |call| plain(call, ReduceKind::Max)),
    row("aten.min.default", |call| plain(call, ReduceKind::Min)),
    row("aten.max.dim", |call| with_position(call, ReduceKind::Max, ReduceKind::ArgMax)),
    row("aten.min.dim", |call| with_position(call, ReduceKind::Min, ReduceKind::ArgMin)),
    row("aten.aminmax.default", aminmax),
    row("aten.argmax.default", |call| position(call, ReduceKind::ArgMax)),
    row("aten.argmin.default", |call| position(call, ReduceKind::ArgMin)),
    row("aten.any.default", |call| plain(call, ReduceKind::Any)),
    row("aten.any.dim", |call| plain(call, ReduceKind::Any)),
    row("aten.any.dims", |call| plain(call, ReduceKind::Any)),
    row("aten.all.default", |call| plain(call, ReduceKind::All)),
    row("aten.all.dim", |call| plain(call, ReduceKind::All)),
    row("aten.all.dims", |call| plain(call, ReduceKind::All)),
    row("aten.count_nonzero.default", count_nonzero),
    row("aten.count_nonzero.dim_IntList", count_nonzero),
    row("aten.nansum.default", nansum),
    row("aten.var.default", |call| spread(call, false, false)),
    row("aten.var.dim", |call| spread(call, false, false)),
    row("aten.var.correction", |call| spread(call, false, false)),
    row("aten.std.default", |call| spread(call, true, false)),
    row("aten.std.dim", |call| spread(call, true, false)),
    row("aten.std.correction", |call| spread(call, true, false)),
    row("aten.var_mean.default", |call| spread(call, false, true)),
    row("aten.var_mean.dim", |call| spread(call, false, true)),
    row("aten.var_mean.correction", |call| spread(call, false, true)),
    row("aten.std_mean.default", |call| spread(call, true, true)),
    row("aten.std_mean.dim", |call| spread(call, true, true)),
    row("aten.std_mean.correction", |call| spread(call, true, true)),
    row("aten.linalg_vector_norm.default", |call| norm(call, "ord")),
    row("aten.linalg_norm.default", linalg_norm).noted(NORMS),
    row("aten.linalg_norm.ord_str", named_norm).noted(NORMS),
    row("aten.linalg_matrix_norm.default", |call| matrix_norm(call, false)).noted(NORMS),
    row("aten.linalg_matrix_norm.str_ord", named_norm).noted(NORMS),
    row("aten.renorm.default", renorm),
    row("aten.norm.Scalar", |call| norm(call, "p")),
    row("aten.norm.ScalarOpt_dim", |call| norm(call, "p")),
    row("aten.norm.ScalarOpt_dtype", |call| norm(call, "p")),
    row("aten.norm.ScalarOpt_dim_dtype", |call| norm(call, "p")),
    row("aten.frobenius_norm.dim", |call| norm(call, "p")),
    row("aten.logsumexp.default", log_sum_exp),
    row("aten.median.default", median),
    row("aten.median.dim", median_dim),
    row("aten.special_logsumexp.default", log_sum_exp),
    row("aten.special_softmax.default", |call| softmax(call, false)),
    row("aten.special_log_softmax.default", |call| softmax(call, true)),
    row("aten.softmax.int", |call| softmax(call, false)),
    row("aten.log_softmax.int", |call| softmax(call, true)),
    row("aten._softmax.default", |call| softmax(call, false)),
    row("aten._log_softmax.default", |call| softmax(call, true)),
    row("aten._safe_softmax.default", safe_softmax),
    row("aten.cosine_similarity.default", cosine_similarity),
    row("aten.pairwise_distance.default", pairwise_distance),
    row("aten.dist.default", dist),
    row("aten.cdist.default", cdist),
    row("aten._cdist_forward.default", cdist),
    row("aten._euclidean_dist.default", euclidean),
    row("aten.pdist.default", pdist),
    row("aten._pdist_forward.default", pdist),
    row("aten.sum_to_size.default", sum_to_size),
    row("aten.isin.Tensor_Tensor", is_in),
];

/// The sum of `x` over these dims.
pub(super) fn sum(call: &mut Call<'_>, x: ValueId, dims: Vec<usize>, keepdim: bool) -> Result<ValueId> {
    reduce(call, x, ReduceKind::Sum, dims, keepdim)
}

/// A reduction over these dims.
pub(super) fn reduce(
    call: &mut Call<'_>,
    x: ValueId,
    kind: ReduceKind,
    mut dims: Vec<usize>,
    keepdim: bool,
) -> Result<ValueId> {
    dims.sort_unstable();
    call.push(Op::Reduce { kind, dims, keepdim }, &[x])
}

/// The operand (converted to argument `dtype`), the reduced dims (all, if the overload names none) and `keepdim`.
fn operands(call: &mut Call<'_>) -> Result<(ValueId, Vec<usize>, bool)> {
    let mut x = call.tensor("self")?;
    if let Some(dtype) = call.dtype("dtype")? {
        x = call.cast(x, dtype)?;
    }
    let keepdim = call.arg("keepdim").is_some() && call.bool("keepdim")?;
    Ok((x, call.dims("dim", call.rank(x))?, keepdim))
}

fn plain(call: &mut Call<'_>, kind: ReduceKind) -> Result<Outs> {
    let dtype = call.dtype("dtype")?;
    let (x, dims, keepdim) = operands(call)?;
    let y = reduce(call, x, kind, dims, keepdim)?;
    // Of bytes torch makes bytes.
    let of_bytes = matches!(kind, ReduceKind::Any | ReduceKind::All) && call.dtype_of(x) == DType::U8;
    // Integers are summed in i64, whatever dtype was asked for.
    one(match dtype.or(of_bytes.then_some(DType::U8)) {
        Some(dtype) => call.cast(y, dtype)?,
        None => y,
    })
}

fn log_sum_exp(call: &mut Call<'_>) -> Result<Outs> {
    let (x, dims, keepdim) = operands(call)?;
    let dtype = to_float(call.dtype_of(x));
    let x = call.cast(x, dtype)?;
    one(reduce(call, x, ReduceKind::LogSumExp, dims, keepdim)?)
}

fn with_position(call: &mut Call<'_>, kind: ReduceKind, position: ReduceKind) -> Result<Outs> {
    let (x, dims, keepdim) = operands(call)?;
    let values = reduce(call, x, kind, dims.clone(), keepdim)?;
    let positions = reduce(call, x, position, dims, keepdim)?;
    Ok(vec![Out::Tensor(values), Out::Tensor(positions)])
}

fn aminmax(call: &mut Call<'_>) -> Result<Outs> {
    let (x, dims, keepdim) = operands(call)?;
    let least = reduce(call, x, ReduceKind::Min, dims.clone(), keepdim)?;
    let greatest = reduce(call, x, ReduceKind::Max, dims, keepdim)?;
    Ok(vec![Out::Tensor(least), Out::Tensor(greatest)])
}

fn position(call: &mut Call<'_>, kind: ReduceKind) -> Result<Outs> {
    let x = call.tensor("self")?;
    if call.arg("dim").is_some() {
        let (x, dims, keepdim) = operands(call)?;
        return one(reduce(call, x, kind, dims, keepdim)?);
    }
    let (rank, keepdim) = (call.rank(x), call.bool("keepdim")?);
    let flat = call.reshape(x, &[numel(&call.shape(x))])?;
    let y = reduce(call, flat, kind, vec![0], false)?;
    one(if keepdim { call.reshape(y, &vec![Expr::Int(1); rank])? } else { y })
}

fn count_nonzero(call: &mut Call<'_>) -> Result<Outs> {
    let (x, dims, _) = operands(call)?;
    let dtype = call.dtype_of(x);
    let nonzero = map(call, &[x], |f, p| {
        let zero = zero_of(f, dtype);
        f.binary(Binary::Ne, p[0], zero)
    })?;
    one(sum(call, nonzero, dims, false)?)
}

/// 0 of any dtype.
fn zero_of(f: &mut Formula, dtype: DType) -> ExprId {
    match dtype {
        DType::Bool => f.push(ExprNode::Const(dtype, Literal::Bool(false))),
        d if d.is_float() => f.float(d, 0.0),
        d => f.int(d, 0),
    }
}

fn nansum(call: &mut Call<'_>) -> Result<Outs> {
    let (x, dims, keepdim) = operands(call)?;
    let dtype = call.dtype_of(x);
    if !dtype.is_float() {
        return plain(call, ReduceKind::Sum);
    }
    let cleaned = map(call, &[x], |f, p| {
        let (nan, zero) = (f.unary(Unary::IsNan, p[0]), f.float(dtype, 0.0));
        f.select(nan, zero, p[0])
    })?;
    one(sum(call, cleaned, dims, keepdim)?)
}

fn spread(call: &mut Call<'_>, root: bool, mean: bool) -> Result<Outs> {
    let (x, dims, keepdim) = operands(call)?;
    let correction = match call.arg("unbiased") {
        Some(_) => f64::from(u8::from(call.bool("unbiased")?)),
        None => call.optional_float("correction")?.unwrap_or(1.0),
    };
    let correction = correction.to_bits();
    let kind = if root { ReduceKind::Std { correction } } else { ReduceKind::Var { correction } };
    let mut outs = vec![Out::Tensor(reduce(call, x, kind, dims.clone(), keepdim)?)];
    if mean {
        outs.push(Out::Tensor(reduce(call, x, ReduceKind::Mean, dims, keepdim)?));
    }
    Ok(outs)
}

fn norm(call: &mut Call<'_>, order: &str) -> Result<Outs> {
    let (x, dims, keepdim) = operands(call)?;
    let p = call.optional_float(order)?.unwrap_or(2.0);
    one(reduce(call, x, ReduceKind::Norm { p: p.to_bits() }, dims, keepdim)?)
}

fn linalg_norm(call: &mut Call<'_>) -> Result<Outs> {
    let dims = call.optional_ints("dim")?;
    let rank = call.rank(call.tensor("self")?);
    let matrix = dims.map_or(rank, |d| d.len()) == 2;
    if matrix && call.arg("ord").is_some() { matrix_norm(call, true) } else { norm(call, "ord") }
}

fn named_norm(call: &mut Call<'_>) -> Result<Outs> {
    match call.str("ord")? {
        "fro" => norm(call, "none"),
        other => Err(call.unsupported(format!("the norm `{other}`"))),
    }
}

/// The greatest or least sum of magnitudes along one of two dims: 1 and -1 over columns, infinities over rows.
fn matrix_norm(call: &mut Call<'_>, all: bool) -> Result<Outs> {
    let mut x = call.tensor("self")?;
    if let Some(dtype) = call.dtype("dtype")? {
        x = call.cast(x, dtype)?;
    }
    let (p, keepdim) = (call.float("ord")?, call.bool("keepdim")?);
    let rank = call.rank(x) as i64;
    let dims = match call.optional_ints("dim")? {
        None if all => vec![rank - 2, rank - 1],
        dims => dims.unwrap_or_default(),
    };
    let [rows, columns] = dims[..] else { return Err(call.damaged("a matrix norm over two dims")) };
    let (rows, columns) = (call.normalize_dim(rows, rank as usize)?, call.normalize_dim(columns, rank as usize)?);
    let (summed, compared) = match p.abs() {
        1.0 => (rows, columns),
        f64::INFINITY => (columns, rows),
        _ => return Err(call.unsupported(format!("the matrix norm of order {p}"))),
    };
    let sums = vector_norm(call, x, 1.0, vec![summed], true)?;
    let kind = if p > 0.0 { ReduceKind::Max } else { ReduceKind::Min };
    let mut shape = call.shape(sums);
    // Norms are not negative: the greatest of none is 0.
    let y = if p > 0.0 && shape[compared] == Expr::Int(0) {
        shape[compared] = Expr::Int(1);
        filled(call, call.dtype_of(sums), &shape, &Number::Int(Expr::Int(0)))?
    } else {
        reduce(call, sums, kind, vec![compared], true)?
    };
    if keepdim {
        return one(y);
    }
    let shape: Vec<Expr> =
        call.shape(y).into_iter().enumerate().filter(|(d, _)| *d != rows && *d != columns).map(|(_, s)| s).collect();
    one(call.reshape(y, &shape)?)
}

/// Slices of a dim whose norm is above `maxnorm`, scaled down to it.
fn renorm(call: &mut Call<'_>) -> Result<Outs> {
    let x = call.tensor("self")?;
    let (p, most, dtype) = (call.float("p")?, call.float("maxnorm")?, call.dtype_of(x));
    let dim = call.dim("dim", call.rank(x))?;
    let wide = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let y = call.cast(x, wide)?;
    let others = (0..call.rank(x)).filter(|&d| d != dim).collect();
    let length = vector_norm(call, y, p, others, true)?;
    let factor = map(call, &[length], |f, p| {
        let (most, tiny, one) = (f.float(wide, most), f.float(wide, 1e-7), f.float(wide, 1.0));
        let above = f.binary(Binary::Gt, p[0], most);
        let length = f.binary(Binary::Add, p[0], tiny);
        let scale = f.binary(Binary::Div, most, length);
        f.select(above, scale, one)
    })?;
    let factor = call.cast(factor, dtype)?;
    one(binary(call, Binary::Mul, x, factor)?)
}

/// Entry `(n - 1) / 2` of the sorted dim.
fn middle(call: &mut Call<'_>, sorted: ValueId, dim: usize) -> Result<ValueId> {
    let size = call.shape(sorted)[dim].clone();
    if size == Expr::Int(0) {
        return Err(call.damaged("the median of nothing"));
    }
    take(call, sorted, dim, Expr::floordiv(size - Expr::Int(1), 2))
}

fn median(call: &mut Call<'_>) -> Result<Outs> {
    let x = call.tensor("self")?;
    let flat = call.reshape(x, &[numel(&call.shape(x))])?;
    let (values, _) = sorted_along(call, flat, 0)?;
    let value = middle(call, values, 0)?;
    let greatest = reduce(call, flat, ReduceKind::Max, vec![0], false)?;
    one(nan_first(call, greatest, greatest, value)?)
}

/// `nan` is NaN ? `then` : `otherwise`.
fn nan_first(call: &mut Call<'_>, nan: ValueId, then: ValueId, otherwise: ValueId) -> Result<ValueId> {
    if !call.dtype_of(nan).is_float() {
        return Ok(otherwise);
    }
    map(call, &[nan, then, otherwise], |f, p| {
        let nan = f.unary(Unary::IsNan, p[0]);
        f.select(nan, p[1], p[2])
    })
}

fn median_dim(call: &mut Call<'_>) -> Result<Outs> {
    let x = call.tensor("self")?;
    let (dim, keepdim) = (call.dim("dim", call.rank(x))?, call.bool("keepdim")?);
    if call.rank(x) == 0 {
        let zero = reduce(call, x, ReduceKind::ArgMax, vec![], false)?;
        return Ok(vec![Out::Tensor(x), Out::Tensor(zero)]);
    }
    let (values, positions) = sorted_along(call, x, dim)?;
    let (value, position) = (middle(call, values, dim)?, middle(call, positions, dim)?);
    let greatest = reduce(call, x, ReduceKind::Max, vec![dim], false)?;
    let at = reduce(call, x, ReduceKind::ArgMax, vec![dim], false)?;
    let mut outs = [nan_first(call, greatest, greatest, value)?, nan_first(call, greatest, at, position)?];
    if keepdim {
        for out in &mut outs {
            *out = super::view::unsqueeze(call, *out, dim)?;
        }
    }
    Ok(outs.into_iter().map(Out::Tensor).collect())
}

fn softmax(call: &mut Call<'_>, log: bool) -> Result<Outs> {
    let mut x = call.tensor("self")?;
    if let Some(dtype) = call.dtype("dtype")? {
        x = call.cast(x, dtype)?;
    }
    if call.arg("half_to_float").is_some() && call.bool("half_to_float")? {
        x = call.cast(x, DType::F32)?;
    }
    let dim = call.dim("dim", call.rank(x))?;
    one(softmax_of(call, x, dim, log)?)
}

/// Softmax along a dim; a 0-d tensor counts as one of one element.
pub(super) fn softmax_of(call: &mut Call<'_>, x: ValueId, dim: usize, log: bool) -> Result<ValueId> {
    if call.rank(x) > 0 {
        return call.push(Op::Softmax { dim, log }, &[x]);
    }
    let x = call.reshape(x, &[Expr::Int(1)])?;
    let y = call.push(Op::Softmax { dim: 0, log }, &[x])?;
    call.reshape(y, &[])
}

fn safe_softmax(call: &mut Call<'_>) -> Result<Outs> {
    let mut x = call.tensor("self")?;
    if let Some(dtype) = call.dtype("dtype")? {
        x = call.cast(x, dtype)?;
    }
    let dim = call.dim("dim", call.rank(x))?;
    one(masked_softmax(call, x, dim)?)
}

/// Softmax where a row of minus infinities gives zeros.
pub(super) fn masked_softmax(call: &mut Call<'_>, x: ValueId, dim: usize) -> Result<ValueId> {
    let y = softmax_of(call, x, dim, false)?;
    let dims = if call.rank(x) == 0 { vec![] } else { vec![dim] };
    let greatest = reduce(call, x, ReduceKind::Max, dims, true)?;
    let dtype = call.dtype_of(x);
    map(call, &[y, greatest], |f, p| {
        let lowest = f.float(dtype, f64::NEG_INFINITY);
        let (masked, zero) = (f.binary(Binary::Eq, p[1], lowest), f.float(dtype, 0.0));
        f.select(masked, zero, p[0])
    })
}

fn binary(call: &mut Call<'_>, op: Binary, a: ValueId, b: ValueId) -> Result<ValueId> {
    map(call, &[a, b], |f, p| f.binary(op, p[0], p[1]))
}

/// `max(x, least)`.
fn at_least(call: &mut Call<'_>, x: ValueId, least: f64) -> Result<ValueId> {
    let dtype = call.dtype_of(x);
    map(call, &[x], |f, p| {
        let least = f.float(dtype, least);
        f.binary(Binary::Max, p[0], least)
    })
}

fn vector_norm(call: &mut Call<'_>, x: ValueId, p: f64, dims: Vec<usize>, keepdim: bool) -> Result<ValueId> {
    reduce(call, x, ReduceKind::Norm { p: p.to_bits() }, dims, keepdim)
}

/// Two tensors expanded to their common shape.
fn broadcast(call: &mut Call<'_>, a: ValueId, b: ValueId) -> Result<[ValueId; 2]> {
    let shapes = [call.shape(a), call.shape(b)];
    let shape = crate::ir::infer::broadcast(&shapes).map_err(|m| call.damaged(m))?;
    Ok([call.expand(a, &shape)?, call.expand(b, &shape)?])
}

fn cosine_similarity(call: &mut Call<'_>) -> Result<Outs> {
    let [a, b] = broadcast(call, call.tensor("x1")?, call.tensor("x2")?)?;
    let (dim, eps) = (call.dim("dim", call.rank(a))?, call.float("eps")?);
    let dims = if call.rank(a) == 0 { vec![] } else { vec![dim] };
    let mut unit = [a, b];
    for x in &mut unit {
        let length = vector_norm(call, *x, 2.0, dims.clone(), true)?;
        let length = at_least(call, length, eps)?;
        *x = binary(call, Binary::Div, *x, length)?;
    }
    let product = binary(call, Binary::Mul, unit[0], unit[1])?;
    one(sum(call, product, dims, false)?)
}

fn pairwise_distance(call: &mut Call<'_>) -> Result<Outs> {
    let pair = [call.tensor("x1")?, call.tensor("x2")?];
    let (p, eps, keepdim) = (call.float("p")?, call.float("eps")?, call.bool("keepdim")?);
    one(pair_distance(call, pair, p, eps, keepdim)?)
}

/// The `p`-norm of `a - b + eps` over the last dim. The difference of integers is one, which wraps.
pub(super) fn pair_distance(
    call: &mut Call<'_>,
    [a, b]: [ValueId; 2],
    p: f64,
    eps: f64,
    keepdim: bool,
) -> Result<ValueId> {
    let common = common_dtype(call, &[a, b])?;
    let dtype = to_float(common);
    let (a, b) = (call.cast(a, common)?, call.cast(b, common)?);
    let [a, b] = broadcast(call, a, b)?;
    let difference = map(call, &[a, b], |f, p| {
        let (difference, eps) = (f.binary(Binary::Sub, p[0], p[1]), f.float(dtype, eps));
        let difference = f.cast(dtype, difference);
        f.binary(Binary::Add, difference, eps)
    })?;
    let last = call.rank(difference).saturating_sub(1);
    vector_norm(call, difference, p, vec![last], keepdim)
}

fn dist(call: &mut Call<'_>) -> Result<Outs> {
    let difference = {
        let (a, b) = (call.tensor("self")?, call.tensor("other")?);
        binary(call, Binary::Sub, a, b)?
    };
    let p = match call.number("p")? {
        Number::Int(_) | Number::Float(_) => call.float("p")?,
        _ => return Err(call.damaged("the order of a norm is no number")),
    };
    let dims = (0..call.rank(difference)).collect();
    one(vector_norm(call, difference, p, dims, false)?)
}

fn cdist(call: &mut Call<'_>) -> Result<Outs> {
    let (a, b, p) = (call.tensor("x1")?, call.tensor("x2")?, call.float("p")?);
    let (m, n) = (call.rank(a), call.rank(b));
    if m < 2 || n < 2 {
        return Err(call.damaged("distances need matrices"));
    }
    let a = super::view::unsqueeze(call, a, m - 1)?;
    let b = super::view::unsqueeze(call, b, n - 2)?;
    let difference = binary(call, Binary::Sub, a, b)?;
    let last = call.rank(difference) - 1;
    one(vector_norm(call, difference, p, vec![last], false)?)
}

/// `sqrt(|a|^2 + |b|^2 - 2 a b)`, as torch computes distances of many rows.
fn euclidean(call: &mut Call<'_>) -> Result<Outs> {
    let (a, b) = (call.tensor("x1")?, call.tensor("x2")?);
    let mut lengths = [a, b];
    for x in &mut lengths {
        let square = map(call, &[*x], |f, p| f.unary(Unary::Square, p[0]))?;
        let last = call.rank(square).saturating_sub(1);
        *x = sum(call, square, vec![last], true)?;
    }
    let (rank, dtype) = (call.rank(b), call.dtype_of(a));
    if rank < 2 {
        return Err(call.damaged("distances need matrices"));
    }
    let columns = super::view::swapped(call, b, rank - 1, rank - 2)?;
    let across = super::view::swapped(call, lengths[1], rank - 1, rank - 2)?;
    let product = super::matmul::matmul(call, a, columns)?;
    one(map(call, &[product, lengths[0], across], |f, p| {
        let (two, zero) = (f.float(dtype, 2.0), f.float(dtype, 0.0));
        let product = f.binary(Binary::Mul, p[0], two);
        let both = f.binary(Binary::Add, p[1], p[2]);
        let square = f.binary(Binary::Sub, both, product);
        let square = f.binary(Binary::Max, square, zero);
        f.unary(Unary::Sqrt, square)
    })?)
}

/// The distances of each row to those after it.
fn pdist(call: &mut Call<'_>) -> Result<Outs> {
    let (x, p) = (call.tensor("self")?, call.float("p")?);
    if call.rank(x) != 2 {
        return Err(call.damaged("distances of rows need a matrix"));
    }
    let rows = call.shape(x)[0].as_int();
    let rows = rows.ok_or_else(|| call.unsupported("distances of a number of rows that depends on the input"))?;
    let pairs: Vec<(i64, i64)> = (0..rows).flat_map(|i| (i + 1..rows).map(move |j| (i, j))).collect();
    let first = pairs.iter().flat_map(|(i, _)| i.to_le_bytes()).collect();
    let second = pairs.iter().flat_map(|(_, j)| j.to_le_bytes()).collect();
    let (first, second) =
        (call.constant(DType::I64, &[pairs.len()], first)?, call.constant(DType::I64, &[pairs.len()], second)?);
    let a = call.push(Op::IndexSelect { dim: 0 }, &[x, first])?;
    let b = call.push(Op::IndexSelect { dim: 0 }, &[x, second])?;
    let difference = binary(call, Binary::Sub, a, b)?;
    one(vector_norm(call, difference, p, vec![1], false)?)
}

/// The inverse of a broadcast: sums over the dims that `size` lacks or has as 1.
fn sum_to_size(call: &mut Call<'_>) -> Result<Outs> {
    let (x, size) = (call.tensor("self")?, call.sym_ints("size")?);
    let shape = call.shape(x);
    let Some(lead) = shape.len().checked_sub(size.len()) else {
        return Err(call.damaged("a sum to more dims"));
    };
    let gone = |d: usize| d < lead || size[d - lead] == Expr::Int(1) && shape[d] != Expr::Int(1);
    let dims: Vec<usize> = (0..shape.len()).filter(|&d| gone(d)).collect();
    if (0..shape.len()).any(|d| !dims.contains(&d) && shape[d] != size[d - lead]) {
        return Err(call.damaged(format!("a sum of {} to another shape", call.ty(x))));
    }
    if dims.is_empty() && call.dtype_of(x) != DType::Bool {
        return one(x);
    }
    let y = sum(call, x, dims, true)?;
    one(call.reshape(y, &size)?)
}

/// Whether each element equals any of the others: a comparison with all of them.
fn is_in(call: &mut Call<'_>) -> Result<Outs> {
    let (x, tested) = (call.tensor("elements")?, call.tensor("test_elements")?);
    let invert = call.bool("invert")?;
    let dtype = common_dtype(call, &[x, tested])?;
    let (x, tested) = (call.cast(x, dtype)?, call.cast(tested, dtype)?);
    let rank = call.rank(x);
    let x = super::view::unsqueeze(call, x, rank)?;
    let tested = call.reshape(tested, &[numel(&call.shape(tested))])?;
    let equal = binary(call, Binary::Eq, x, tested)?;
    let found = reduce(call, equal, ReduceKind::Any, vec![rank], false)?;
    one(if invert { map(call, &[found], |f, p| f.unary(Unary::Not, p[0]))? } else { found })
}
