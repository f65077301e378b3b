//! Pooling.

use super::conv::{positive_list, spatial_list};
use super::reduce::reduce;
use super::view::{numel, unsqueeze};
use super::{Out, Outs, Row, map, one, row};
use crate::diag::Diagnostic;
use crate::import::Call;
use crate::ir::{Binary, ExprId, ExprNode, Formula, Op, Pool, PoolKind, ReduceKind, Unary, ValueId};
use crate::sym::Expr;
use exported_runtime::DType;

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
    row("aten.fractional_max_pool2d.default", |c| fractional(c, 2)),
    row("aten.fractional_max_pool3d.default", |c| fractional(c, 3)),
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
    with_batch(call, call.tensor("self")?, Op::Pool(pool), spatial)
}

fn avg_pool(call: &mut Call<'_>, spatial: usize) -> Result<Outs> {
    let divisor = if spatial == 1 { None } else { call.optional_int("divisor_override")? };
    if divisor == Some(0) {
        return Err(call.damaged("`divisor_override` is 0"));
    }
    let x = call.tensor("self")?;
    let count_include_pad = call.bool("count_include_pad")?;
    if !call.dtype_of(x).is_float() {
        let sum = PoolKind::Avg { count_include_pad: true, divisor_override: Some(1) };
        return mean_of_integers(call, pool(call, spatial, sum, [1; 3])?, divisor, count_include_pad);
    }
    let kind = PoolKind::Avg { count_include_pad, divisor_override: divisor.map(i64::abs) };
    let pool = pool(call, spatial, kind, [1; 3])?;
    let results = with_batch(call, x, Op::Pool(pool), spatial)?;
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
    let x = call.tensor("self")?;
    with_batch(call, x, Op::AdaptivePool { max, spatial, out, requantize: None }, spatial)
}

/// Sums in f64 (exact up to 2^53), divided as integers by what `avg_pool` counts: entries of the window that lie in the
/// image, or in the image and its padding.
fn mean_of_integers(call: &mut Call<'_>, sums: Pool, divisor: Option<i64>, count_include_pad: bool) -> Result<Outs> {
    let x = call.tensor("self")?;
    let (dtype, spatial) = (call.dtype_of(x), sums.spatial);
    let Some(lead) = call.rank(x).checked_sub(spatial) else {
        return Err(call.damaged(format!("pooling over {spatial} dims of {}", call.ty(x))));
    };
    let sizes = call.shape(x)[lead..].to_vec();
    let wide = call.cast(x, DType::F64)?;
    let total = with_batch(call, wide, Op::Pool(sums.clone()), spatial)?;
    let mut f = Formula::new(&[DType::F64]);
    let total_of = f.param(0);
    let sum = f.cast(DType::I64, total_of);
    let mut count = f.int(DType::I64, divisor.unwrap_or(1));
    for (i, size) in sizes.into_iter().enumerate().filter(|_| divisor.is_none()) {
        let size = match size.as_int() {
            Some(size) => f.int(DType::I64, size),
            None => {
                f.sizes.push(size);
                f.push(ExprNode::Size(f.sizes.len() as u32 - 1))
            }
        };
        let at = f.push(ExprNode::Coord((lead + i) as u32));
        let extent = window_extent(&mut f, &sums, 3 - spatial + i, at, size, count_include_pad);
        count = f.binary(Binary::Mul, count, extent);
    }
    let mean = f.binary(Binary::TruncDiv, sum, count);
    let mean = f.cast(dtype, mean);
    f.results.push(mean);
    one(call.pointwise(f, &total[..1])?)
}

/// How many entries of window `at` along dim `d` of `[d, h, w]` count.
fn window_extent(f: &mut Formula, pool: &Pool, d: usize, at: ExprId, size: ExprId, padded: bool) -> ExprId {
    let [kernel, stride, padding] = [pool.kernel, pool.stride, pool.padding].map(|p| f.int(DType::I64, p[d] as i64));
    let start = f.binary(Binary::Mul, at, stride);
    let start = f.binary(Binary::Sub, start, padding);
    let (end, border) = (f.binary(Binary::Add, start, kernel), f.binary(Binary::Add, size, padding));
    let zero = f.int(DType::I64, 0);
    let (start, border) = if padded { (start, border) } else { (f.binary(Binary::Max, start, zero), size) };
    let end = f.binary(Binary::Min, end, border);
    f.binary(Binary::Sub, end, start)
}

/// Windows whose places follow from random numbers that the caller passes, and their maxima with where these were.
fn fractional(call: &mut Call<'_>, spatial: usize) -> Result<Outs> {
    let (x, samples) = (call.tensor("self")?, call.tensor("random_samples")?);
    let alone = call.rank(x) == spatial + 1;
    let mut x = if alone { unsqueeze(call, x, 0)? } else { x };
    if call.rank(x) != spatial + 2 || call.rank(samples) != 3 {
        return Err(call.damaged(format!("fractional pooling of {} by {}", call.ty(x), call.ty(samples))));
    }
    let (kernel, out) = (positive_list(call, "kernel_size", spatial)?, positive_list(call, "output_size", spatial)?);
    let shape = call.shape(x);
    // More numbers than images are left over.
    let samples = call.slice(samples, 0, Expr::Int(0), shape[0].clone(), 1)?;
    let mut places = Vec::new();
    for i in 0..spatial {
        let (kernel, out) = (kernel[3 - spatial + i], out[3 - spatial + i]);
        let size = shape[2 + i].as_int().filter(|size| *size >= kernel as i64);
        let size = size.ok_or_else(|| call.unsupported("fractional pooling of an image whose size is unknown"))?;
        // In two dims torch takes the first number for the width.
        let number = if spatial == 2 { 1 - i } else { i };
        let at = intervals(call, samples, number as i64, [size, out as i64, kernel as i64])?;
        let mut along = vec![Expr::Int(1); spatial + 2];
        along[..2].clone_from_slice(&shape[..2]);
        along[2 + i] = Expr::Int((out * kernel) as i64);
        let line = call.reshape(at, &along)?;
        let mut picked = call.shape(x);
        picked[2 + i] = along[2 + i].clone();
        let index = call.expand(line, &picked)?;
        x = call.push(Op::Gather { dim: 2 + i }, &[x, index])?;
        places.push(at);
    }
    let windows = by_window(call, x, &kernel[3 - spatial..], &out[3 - spatial..])?;
    let last = spatial + 2;
    let value = reduce(call, windows, ReduceKind::Max, vec![last], false)?;
    let chosen = reduce(call, windows, ReduceKind::ArgMax, vec![last], true)?;
    let positions = positions(call, &places, &shape[2..])?;
    let index = call.push(Op::Gather { dim: last }, &[positions, chosen])?;
    let shape = call.shape(value);
    let index = call.reshape(index, &shape)?;
    let kept = &shape[usize::from(alone)..];
    Ok(vec![Out::Tensor(call.reshape(value, kept)?), Out::Tensor(call.reshape(index, kept)?)])
}

/// Entries `[N, C, out, kernel]` of windows along one dim: `int((i + u) a) - int(u a)` with `a = (size - kernel) / (out - 1)`,
/// the last window at the end.
fn intervals(call: &mut Call<'_>, samples: ValueId, number: i64, [size, out, kernel]: [i64; 3]) -> Result<ValueId> {
    let u = call.slice(samples, 2, Expr::Int(number), Expr::Int(1), 1)?;
    let shape = call.shape(u);
    let u = call.reshape(u, &[shape[0].clone(), shape[1].clone(), Expr::Int(1), Expr::Int(1)])?;
    let dtype = call.dtype_of(u);
    let wide = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let mut f = Formula::new(&[dtype]);
    let u = (f.param(0), u);
    let (sample, window, tap) = (f.cast(wide, u.0), f.push(ExprNode::Coord(2)), f.push(ExprNode::Coord(3)));
    let (span, steps) = (f.float(wide, (size - kernel) as f64), f.float(wide, (out - 1).max(1) as f64));
    let alpha = f.binary(Binary::Div, span, steps);
    let i = f.cast(wide, window);
    let moved = f.binary(Binary::Add, i, sample);
    let [moved, base] = [moved, sample].map(|v| {
        let product = f.binary(Binary::Mul, v, alpha);
        f.cast(DType::I64, product)
    });
    let start = f.binary(Binary::Sub, moved, base);
    let (last, end) = (f.int(DType::I64, out - 1), f.int(DType::I64, size - kernel));
    let is_last = f.binary(Binary::Eq, window, last);
    let start = f.select(is_last, end, start);
    let at = f.binary(Binary::Add, start, tap);
    f.results.push(at);
    let shape = [&shape[..2], &[Expr::Int(out), Expr::Int(kernel)]].concat();
    call.push(Op::Pointwise { formula: f, shape }, &[u.1])
}

/// `[N, C, (out * kernel)..]` to `[N, C, out.., product of kernel]`.
fn by_window(call: &mut Call<'_>, x: ValueId, kernel: &[usize], out: &[usize]) -> Result<ValueId> {
    let (spatial, lead) = (kernel.len(), call.shape(x)[..2].to_vec());
    let pairs = out.iter().zip(kernel).flat_map(|(&o, &k)| [Expr::Int(o as i64), Expr::Int(k as i64)]);
    let x = call.reshape(x, &lead.iter().cloned().chain(pairs).collect::<Vec<_>>())?;
    let order: Vec<usize> =
        [0, 1].into_iter().chain((0..spatial).map(|i| 2 + 2 * i)).chain((0..spatial).map(|i| 3 + 2 * i)).collect();
    let x = call.permute(x, &order)?;
    let shape = call.shape(x);
    call.reshape(x, &[&shape[..2 + spatial], &[numel(&shape[2 + spatial..])]].concat())
}

/// Row-major positions in an image of these sizes, `[N, C, out.., taps]`, from those along its dims (`[N, C, out, kernel]`).
fn positions(call: &mut Call<'_>, along: &[ValueId], sizes: &[Expr]) -> Result<ValueId> {
    let spatial = along.len();
    let mut inputs = Vec::new();
    for (i, &at) in along.iter().enumerate() {
        let shape = call.shape(at);
        let mut spread = vec![Expr::Int(1); 2 + 2 * spatial];
        spread[..2].clone_from_slice(&shape[..2]);
        (spread[2 + i], spread[2 + spatial + i]) = (shape[2].clone(), shape[3].clone());
        inputs.push(call.reshape(at, &spread)?);
    }
    let sizes: Vec<i64> = sizes.iter().map(|s| s.as_int().unwrap_or(1)).collect();
    let flat = map(call, &inputs, |f, p| {
        let mut flat = p[0];
        for (&at, &size) in p.iter().zip(&sizes).skip(1) {
            let size = f.int(DType::I64, size);
            let row = f.binary(Binary::Mul, flat, size);
            flat = f.binary(Binary::Add, row, at);
        }
        flat
    })?;
    let shape = call.shape(flat);
    call.reshape(flat, &[&shape[..2 + spatial], &[numel(&shape[2 + spatial..])]].concat())
}

/// Runs a pooling on an input with or without a batch dim.
fn with_batch(call: &mut Call<'_>, x: ValueId, op: Op, spatial: usize) -> Result<Vec<ValueId>> {
    let alone = call.rank(x) == spatial + 1;
    let x = if alone { call.reshape(x, &[vec![Expr::Int(1)], call.shape(x)].concat())? } else { x };
    let results = call.push_all(op, &[x])?;
    if !alone {
        return Ok(results);
    }
    let shape = call.shape(results[0]);
    results.into_iter().map(|y| call.reshape(y, &shape[1..])).collect()
}
