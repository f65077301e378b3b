//! Pooling.

use super::conv::{positive_list, spatial_list};
use super::{Out, Outs, Row, map, one, row};
use crate::diag::Diagnostic;
use crate::import::Call;
use crate::ir::{Op, Pool, PoolKind, Unary, ValueId};
use crate::sym::Expr;

type Result<T> = std::result::Result<T, Diagnostic>;

/// The rows.
pub const ROWS: &[Row] = &[
    row("aten.max_pool1d.default", |c| first(max_pool(c, 1)?)),
    row("aten.max_pool2d.default", |c| first(max_pool(c, 2)?)),
    row("aten.max_pool3d.default", |c| first(max_pool(c, 3)?)),
    row("aten.max_pool1d_with_indices.default", |c| both(max_pool(c, 1)?)),
    row("aten.max_pool2d_with_indices.default", |c| both(max_pool(c, 2)?)),
    row("aten.max_pool3d_with_indices.default", |c| both(max_pool(c, 3)?)),
    row("aten.avg_pool1d.default", |c| avg_pool(c, 1)),
    row("aten.avg_pool2d.default", |c| avg_pool(c, 2)),
    row("aten.avg_pool3d.default", |c| avg_pool(c, 3)),
    row("aten.adaptive_avg_pool1d.default", |c| first(adaptive(c, 1, false)?)),
    row("aten.adaptive_avg_pool2d.default", |c| first(adaptive(c, 2, false)?)),
    row("aten.adaptive_avg_pool3d.default", |c| first(adaptive(c, 3, false)?)),
    row("aten._adaptive_avg_pool2d.default", |c| first(adaptive(c, 2, false)?)),
    row("aten._adaptive_avg_pool3d.default", |c| first(adaptive(c, 3, false)?)),
    row("aten.adaptive_max_pool1d.default", |c| both(adaptive(c, 1, true)?)),
    row("aten.adaptive_max_pool2d.default", |c| both(adaptive(c, 2, true)?)),
    row("aten.adaptive_max_pool3d.default", |c| both(adaptive(c, 3, true)?)),
];

fn first(results: Vec<ValueId>) -> Result<Outs> {
    Ok(results.into_iter().take(1).map(Out::Tensor).collect())
}

fn both(results: Vec<ValueId>) -> Result<Outs> {
    Ok(results.into_iter().map(Out::Tensor).collect())
}

fn max_pool(call: &mut Call<'_>, spatial: usize) -> Result<Vec<ValueId>> {
    let dilation = positive_list(call, "dilation", spatial)?;
    let pool = pool(call, spatial, PoolKind::Max, dilation)?;
    with_batch(call, spatial, Op::Pool(pool))
}

fn avg_pool(call: &mut Call<'_>, spatial: usize) -> Result<Outs> {
    let divisor = if spatial == 1 { None } else { call.optional_int("divisor_override")? };
    if divisor == Some(0) {
        return Err(call.damaged("`divisor_override` is 0"));
    }
    let x = call.tensor("self")?;
    if !call.dtype_of(x).is_float() {
        return Err(call.unsupported(format!("the mean of {}", call.ty(x))));
    }
    let count_include_pad = call.bool("count_include_pad")?;
    let kind = PoolKind::Avg { count_include_pad, divisor_override: divisor.map(i64::abs) };
    let pool = pool(call, spatial, kind, [1; 3])?;
    let results = with_batch(call, spatial, Op::Pool(pool))?;
    match (divisor, &results[..]) {
        (Some(..0), [y, ..]) => one(map(call, &[*y], |f, p| f.unary(Unary::Neg, p[0]))?),
        _ => first(results),
    }
}

/// The parameters both kinds have. No stride means windows side by side.
fn pool(call: &Call<'_>, spatial: usize, kind: PoolKind, dilation: [usize; 3]) -> Result<Pool> {
    let kernel = positive_list(call, "kernel_size", spatial)?;
    let stride = match call.optional_ints("stride")? {
        Some(list) if !list.is_empty() => positive_list(call, "stride", spatial)?,
        _ => kernel,
    };
    let padding = spatial_list(call, "padding", spatial, 0)?;
    if (0..3).any(|d| padding[d] > kernel[d] / 2) {
        return Err(call.damaged(format!("padding {padding:?} is more than half of the window {kernel:?}")));
    }
    Ok(Pool { kind, spatial, kernel, stride, padding, dilation, ceil_mode: call.bool("ceil_mode")?, requantize: None })
}

fn adaptive(call: &mut Call<'_>, spatial: usize, max: bool) -> Result<Vec<ValueId>> {
    let out = spatial_list(call, "output_size", spatial, 1)?;
    with_batch(call, spatial, Op::AdaptivePool { max, spatial, out, requantize: None })
}

/// Runs a pooling on an input with or without a batch dim.
fn with_batch(call: &mut Call<'_>, spatial: usize, op: Op) -> Result<Vec<ValueId>> {
    let x = call.tensor("self")?;
    let alone = call.rank(x) == spatial + 1;
    let x = if alone { call.reshape(x, &[vec![Expr::Int(1)], call.shape(x)].concat())? } else { x };
    let results = call.push_all(op, &[x])?;
    if !alone {
        return Ok(results);
    }
    let shape = call.shape(results[0]);
    results.into_iter().map(|y| call.reshape(y, &shape[1..])).collect()
}
