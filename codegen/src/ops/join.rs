//! Concatenation, padding and replacing parts of a tensor.

use super::pointwise::promote::common_dtype;
use super::rearrange::diagonal;
use super::view::{call_at_least, numel, one_dim, select_index, slice_bounds, unsqueeze};
use super::{Outs, Row, one, row};
use crate::diag::Diagnostic;
use crate::import::{Call, Number};
use crate::ir::{Op, PadMode, ValueId};
use crate::sym::Expr;

type Result<T> = std::result::Result<T, Diagnostic>;

/// The rows.
pub const ROWS: &[Row] = &[
    row("aten.cat.default", cat),
    row("aten.concat.default", cat),
    row("aten.concatenate.default", cat),
    row("aten.stack.default", stack),
    row("aten.hstack.default", hstack),
    row("aten.vstack.default", |call| stack_at_least(call, 2, 0)),
    row("aten.dstack.default", |call| stack_at_least(call, 3, 2)),
    row("aten.column_stack.default", column_stack),
    row("aten.block_diag.default", block_diag),
    row("aten.cartesian_prod.default", cartesian_prod),
    row("aten.roll.default", roll),
    row("aten.fft_fftshift.default", |call| half_roll(call, 0)),
    row("aten.fft_ifftshift.default", |call| half_roll(call, 1)),
    row("aten.slice_scatter.default", slice_scatter),
    row("aten.select_scatter.default", select_scatter),
    row("aten.constant_pad_nd.default", constant_pad),
    row("aten.pad.default", pad),
    row("aten.reflection_pad1d.default", |call| pad_mode(call, "padding", PadMode::Reflect)),
    row("aten.reflection_pad2d.default", |call| pad_mode(call, "padding", PadMode::Reflect)),
    row("aten.reflection_pad3d.default", |call| pad_mode(call, "padding", PadMode::Reflect)),
    row("aten.replication_pad1d.default", |call| pad_mode(call, "padding", PadMode::Replicate)),
    row("aten.replication_pad2d.default", |call| pad_mode(call, "padding", PadMode::Replicate)),
    row("aten.replication_pad3d.default", |call| pad_mode(call, "padding", PadMode::Replicate)),
    row("aten.trace.default", trace),
];

/// Concatenation along `dim`; one-dimensional empty tensors are left out, as torch does for historical reasons.
pub(super) fn concat(call: &mut Call<'_>, tensors: &[ValueId], dim: i64) -> Result<ValueId> {
    let dtype = common_dtype(call, tensors)?;
    let empty = [Expr::Int(0)];
    let mut parts: Vec<ValueId> = tensors.iter().copied().filter(|&t| call.shape(t) != empty).collect();
    if parts.is_empty() {
        parts.extend(tensors.first());
    }
    let Some(&first) = parts.first() else { return Err(call.damaged("concatenation of nothing")) };
    let dim = call.normalize_dim(dim, call.rank(first))?;
    for part in &mut parts {
        *part = call.cast(*part, dtype)?;
    }
    if let [single] = parts[..] {
        return Ok(single);
    }
    call.push(Op::Concat { dim }, &parts)
}

fn cat(call: &mut Call<'_>) -> Result<Outs> {
    let (tensors, dim) = (call.tensors("tensors")?, call.int("dim")?);
    one(concat(call, &tensors, dim)?)
}

fn stack(call: &mut Call<'_>) -> Result<Outs> {
    let tensors = call.tensors("tensors")?;
    let rank = tensors.first().map_or(0, |&t| call.rank(t));
    let dim = call.dim("dim", rank + 1)?;
    let parts = tensors.into_iter().map(|t| unsqueeze(call, t, dim)).collect::<Result<Vec<_>>>()?;
    one(concat(call, &parts, dim as i64)?)
}

fn stack_at_least(call: &mut Call<'_>, rank: usize, dim: i64) -> Result<Outs> {
    let tensors = call.tensors("tensors")?;
    let parts = tensors.into_iter().map(|t| call_at_least(call, t, rank)).collect::<Result<Vec<_>>>()?;
    one(concat(call, &parts, dim)?)
}

fn hstack(call: &mut Call<'_>) -> Result<Outs> {
    let vectors = call.tensors("tensors")?.iter().all(|&t| call.rank(t) < 2);
    stack_at_least(call, 1, if vectors { 0 } else { 1 })
}

fn column_stack(call: &mut Call<'_>) -> Result<Outs> {
    let mut parts = Vec::new();
    for t in call.tensors("tensors")? {
        parts.push(match call.rank(t) {
            0 | 1 => {
                let n = numel(&call.shape(t));
                call.reshape(t, &[n, Expr::Int(1)])?
            }
            _ => t,
        });
    }
    one(concat(call, &parts, 1)?)
}

/// Each matrix padded with zeros to the width of all of them, one below the other.
fn block_diag(call: &mut Call<'_>) -> Result<Outs> {
    let tensors = call.tensors("tensors")?;
    let dtype = common_dtype(call, &tensors)?;
    let (mut blocks, mut widths) = (Vec::new(), Vec::new());
    for t in tensors {
        let t = call.cast(t, dtype)?;
        let block = call_at_least(call, t, 2)?;
        let width = call.shape(block).get(1).and_then(Expr::as_int).filter(|_| call.rank(block) == 2);
        widths.push(width.ok_or_else(|| call.unsupported("blocks other than matrices of known width"))?);
        blocks.push(block);
    }
    let total: i64 = widths.iter().sum();
    let mut before = 0;
    for (block, width) in blocks.iter_mut().zip(widths) {
        let pads = vec![(0, 0), (before, total - before - width)];
        if pads[1] != (0, 0) {
            *block = call.push(Op::Pad { pads, mode: PadMode::Constant(0f64.to_bits()) }, &[*block])?;
        }
        before += width;
    }
    one(concat(call, &blocks, 0)?)
}

/// All tuples of the vectors' elements, the last vector's changing fastest.
fn cartesian_prod(call: &mut Call<'_>) -> Result<Outs> {
    let tensors = call.tensors("tensors")?;
    if tensors.iter().any(|&t| call.rank(t) != 1) {
        return Err(call.damaged("a cartesian product needs vectors"));
    }
    if let [single] = tensors[..] {
        return one(single);
    }
    let sizes: Vec<Expr> = tensors.iter().map(|&t| numel(&call.shape(t))).collect();
    let mut columns = Vec::new();
    for (i, &t) in tensors.iter().enumerate() {
        let grid = call.reshape(t, &one_dim(sizes.len(), i, sizes[i].clone()))?;
        let grid = call.expand(grid, &sizes)?;
        columns.push(call.reshape(grid, &[numel(&sizes), Expr::Int(1)])?);
    }
    one(concat(call, &columns, 1)?)
}

fn roll(call: &mut Call<'_>) -> Result<Outs> {
    let x = call.tensor("self")?;
    let shape = call.shape(x);
    let (shifts, dims) = (call.sym_ints("shifts")?, call.ints("dims")?);
    if dims.is_empty() {
        let flat = call.reshape(x, &[numel(&shape)])?;
        let rolled = roll_dim(call, flat, 0, shifts.first().cloned().unwrap_or(Expr::Int(0)))?;
        return one(call.reshape(rolled, &shape)?);
    }
    if dims.len() != shifts.len() {
        return Err(call.damaged("as many shifts as dims are needed"));
    }
    let mut rolled = x;
    for (&dim, shift) in dims.iter().zip(shifts) {
        let dim = call.normalize_dim(dim, shape.len())?;
        rolled = roll_dim(call, rolled, dim, shift)?;
    }
    one(rolled)
}

/// Rolls by half of each dim, rounded down, or up for the way back.
fn half_roll(call: &mut Call<'_>, extra: i64) -> Result<Outs> {
    let mut x = call.tensor("self")?;
    let dims = call.dims("dim", call.rank(x))?;
    for dim in dims {
        let shift = Expr::floordiv(call.shape(x)[dim].clone() + Expr::Int(extra), 2);
        x = roll_dim(call, x, dim, shift)?;
    }
    one(x)
}

fn roll_dim(call: &mut Call<'_>, x: ValueId, dim: usize, shift: Expr) -> Result<ValueId> {
    let Some(size) = call.shape(x).get(dim).cloned() else { return Ok(x) };
    if size == Expr::Int(0) {
        return Ok(x);
    }
    // The last `shift` entries come first.
    let first = Expr::modulo(shift, size.clone());
    if first == Expr::Int(0) {
        return Ok(x);
    }
    let head = call.slice(x, dim, size.clone() - first.clone(), first.clone(), 1)?;
    let tail = call.slice(x, dim, Expr::Int(0), size - first, 1)?;
    call.push(Op::Concat { dim }, &[head, tail])
}

fn slice_scatter(call: &mut Call<'_>) -> Result<Outs> {
    let (x, source) = (call.tensor("self")?, call.tensor("src")?);
    let mut shape = call.shape(x);
    let dim = call.dim("dim", shape.len())?;
    let size = shape.get(dim).cloned().ok_or_else(|| call.damaged("a slice of a 0-d tensor"))?;
    let (start, len, step) = slice_bounds(call, &size)?;
    let source = call.cast(source, call.dtype_of(x))?;
    shape[dim] = len.clone();
    let source = call.expand(source, &shape)?;
    one(call.push(Op::SliceScatter { dim, start, len, step }, &[x, source])?)
}

fn select_scatter(call: &mut Call<'_>) -> Result<Outs> {
    let (x, source) = (call.tensor("self")?, call.tensor("src")?);
    let shape = call.shape(x);
    let dim = call.dim("dim", shape.len())?;
    let size = shape.get(dim).cloned().ok_or_else(|| call.damaged("selection from a 0-d tensor"))?;
    let start = select_index(call, &size)?;
    let source = call.cast(source, call.dtype_of(x))?;
    let source = unsqueeze(call, source, dim)?;
    one(call.push(Op::SliceScatter { dim, start, len: Expr::Int(1), step: 1 }, &[x, source])?)
}

/// Pairs of `name`, from the last dim backwards, as one pair per dim.
fn sym_pads(call: &Call<'_>, x: ValueId, name: &str) -> Result<Vec<(Expr, Expr)>> {
    let (list, rank) = (call.sym_ints(name)?, call.rank(x));
    if list.len() % 2 == 1 || list.len() / 2 > rank {
        return Err(call.damaged(format!("{} numbers pad a tensor with {rank} dims", list.len())));
    }
    let mut pads = vec![(Expr::Int(0), Expr::Int(0)); rank];
    for (pad, pair) in pads.iter_mut().rev().zip(list.chunks(2)) {
        *pad = (pair[0].clone(), pair[1].clone());
    }
    Ok(pads)
}

/// The pairs as numbers; `None` if some depend on sizes.
fn known_pads(pads: &[(Expr, Expr)]) -> Option<Vec<(i64, i64)>> {
    pads.iter().map(|(before, after)| Some((before.as_int()?, after.as_int()?))).collect()
}

fn pads(call: &Call<'_>, x: ValueId, name: &str) -> Result<Vec<(i64, i64)>> {
    let known = known_pads(&sym_pads(call, x, name)?);
    known.ok_or_else(|| call.unsupported(format!("argument `{name}` depends on the input sizes")))
}

/// Padding with a constant. Where its width depends on sizes, it is a concatenation; a negative width cuts off.
fn padded_with(call: &mut Call<'_>, mut x: ValueId, name: &str, value: f64) -> Result<Outs> {
    let pads = sym_pads(call, x, name)?;
    if let Some(pads) = known_pads(&pads) {
        return padded(call, x, pads, PadMode::Constant(value.to_bits()));
    }
    let dtype = call.dtype_of(x);
    for (dim, (before, after)) in pads.into_iter().enumerate() {
        if before == Expr::Int(0) && after == Expr::Int(0) {
            continue;
        }
        let added = |call: &Call<'_>, pad: &Expr| match Expr::ge(pad, 0).prove(&call.graph().ranges) {
            Some(true) => pad.clone(),
            Some(false) => Expr::Int(0),
            None => Expr::max(pad, 0),
        };
        let (first, last) = (added(call, &before), added(call, &after));
        // What is cut off is written over what is added, so that all lengths together are the size plus the padding.
        let start = Expr::sub(&first, &before);
        let mut shape = call.shape(x);
        let len = shape[dim].clone() - start.clone() - Expr::sub(&last, &after);
        let inner = call.slice(x, dim, start, len, 1)?;
        let mut fill = |call: &mut Call<'_>, len: Expr| {
            shape[dim] = len;
            super::index::filled(call, dtype, &shape, &Number::Float(value))
        };
        let parts = [fill(call, first)?, inner, fill(call, last)?];
        x = call.push(Op::Concat { dim }, &parts)?;
    }
    one(x)
}

fn padded(call: &mut Call<'_>, x: ValueId, pads: Vec<(i64, i64)>, mode: PadMode) -> Result<Outs> {
    if pads.iter().all(|p| *p == (0, 0)) {
        return one(x);
    }
    one(call.push(Op::Pad { pads, mode }, &[x])?)
}

fn pad_mode(call: &mut Call<'_>, name: &str, mode: PadMode) -> Result<Outs> {
    let mut x = call.tensor("self")?;
    let mut pads = pads(call, x, name)?;
    if mode == PadMode::Circular {
        // Cropped first: what is left wraps around.
        let crops: Vec<(i64, i64)> = pads.iter().map(|&(before, after)| (before.min(0), after.min(0))).collect();
        if crops.iter().any(|crop| *crop != (0, 0)) {
            x = call.push(Op::Pad { pads: crops, mode: PadMode::Constant(0f64.to_bits()) }, &[x])?;
        }
        pads = pads.into_iter().map(|(before, after)| (before.max(0), after.max(0))).collect();
    }
    for (&(before, after), size) in pads.iter().zip(call.shape(x)) {
        let most = before.max(after);
        let limit = match mode {
            PadMode::Reflect => size.as_int().map(|s| s - 1),
            PadMode::Circular => size.as_int(),
            _ => None,
        };
        if limit.is_some_and(|limit| most > limit.max(0)) {
            return Err(call.damaged(format!("padding {most} is too large for a dim of size {size}")));
        }
    }
    padded(call, x, pads, mode)
}

fn constant_pad(call: &mut Call<'_>) -> Result<Outs> {
    let x = call.tensor("self")?;
    let value = match call.number("value")? {
        Number::Bool(Expr::Bool(b)) => f64::from(u8::from(b)),
        _ => call.float("value")?,
    };
    padded_with(call, x, "pad", value)
}

fn pad(call: &mut Call<'_>) -> Result<Outs> {
    let mode = match call.str("mode")? {
        "constant" => {
            let (x, value) = (call.tensor("self")?, call.optional_float("value")?.unwrap_or(0.0));
            return padded_with(call, x, "pad", value);
        }
        "reflect" => PadMode::Reflect,
        "replicate" => PadMode::Replicate,
        "circular" => PadMode::Circular,
        other => return Err(call.damaged(format!("padding mode `{other}`"))),
    };
    pad_mode(call, "pad", mode)
}

fn trace(call: &mut Call<'_>) -> Result<Outs> {
    let x = call.tensor("self")?;
    if call.rank(x) != 2 {
        return Err(call.damaged("the trace of a tensor that is no matrix"));
    }
    let x = diagonal(call, x, 0, 1, 0)?;
    one(super::reduce::sum(call, x, vec![0], false)?)
}
