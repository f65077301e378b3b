//! Rows that repeat, cut windows and rearrange: views all the same, or a few of them in a row.

use super::index::filled;
use super::join::concat;
use super::view::{numel, one_dim, swapped, unsqueeze, x};
use super::{Out, Outs, Row, map, one, row};
use crate::diag::Diagnostic;
use crate::import::{Call, Number};
use crate::ir::{Binary, ExprNode, Op, PadMode, ScatterKind, ValueId, View};
use crate::sym::Expr;
use exported_runtime::DType;

type Result<T> = std::result::Result<T, Diagnostic>;

/// The rows.
pub const ROWS: &[Row] = &[
    row("aten.expand.default", expand),
    row("aten.expand_copy.default", expand),
    row("aten.broadcast_to.default", expand),
    row("aten.expand_as.default", expand_as),
    row("aten.broadcast_tensors.default", broadcast_tensors),
    row("aten.meshgrid.default", meshgrid),
    row("aten.meshgrid.indexing", meshgrid),
    row("aten.unfold.default", unfold),
    row("aten.unfold_copy.default", unfold),
    row("aten.im2col.default", im2col),
    row("aten.col2im.default", col2im),
    row("aten._chunk_cat.default", chunk_cat),
    row("aten.diagonal.default", diagonal_row),
    row("aten.linalg_diagonal.default", diagonal_row),
    row("aten.diagonal_copy.default", diagonal_row),
    row("aten.diag.default", diag),
    row("aten.diagflat.default", diagflat),
    row("aten.diag_embed.default", diag_embed),
    row("aten.diagonal_scatter.default", diagonal_scatter),
    row("aten.pixel_shuffle.default", pixel_shuffle),
    row("aten.pixel_unshuffle.default", pixel_unshuffle),
    row("aten.channel_shuffle.default", channel_shuffle),
    row("aten.native_channel_shuffle.default", channel_shuffle),
    row("aten.flip.default", flip),
    row("aten.fliplr.default", |call| flip_dim(call, 1)),
    row("aten.flipud.default", |call| flip_dim(call, 0)),
    row("aten.rot90.default", rot90),
    row("aten.repeat.default", |call| repeat(call, "repeats")),
    row("aten.tile.default", |call| repeat(call, "dims")),
    row("aten.repeat_interleave.self_int", repeat_interleave),
];

// Repetition.

fn expand(call: &mut Call<'_>) -> Result<Outs> {
    let x = x(call)?;
    let (have, want) = (call.shape(x), call.sym_ints("size")?);
    let Some(lead) = want.len().checked_sub(have.len()) else {
        return Err(call.damaged("expansion to fewer dims"));
    };
    let keep = |(i, s): (usize, Expr)| match i.checked_sub(lead) {
        Some(d) if s == Expr::Int(-1) => have[d].clone(),
        _ => s,
    };
    let shape: Vec<Expr> = want.into_iter().enumerate().map(keep).collect();
    one(call.expand(x, &shape)?)
}

fn expand_as(call: &mut Call<'_>) -> Result<Outs> {
    let x = x(call)?;
    let shape = call.shape(call.tensor("other")?);
    one(call.expand(x, &shape)?)
}

fn broadcast_tensors(call: &mut Call<'_>) -> Result<Outs> {
    let tensors = call.tensors("tensors")?;
    let shapes: Vec<Vec<Expr>> = tensors.iter().map(|&t| call.shape(t)).collect();
    let shape = crate::ir::infer::broadcast(&shapes).map_err(|m| call.damaged(m))?;
    let all = tensors.into_iter().map(|t| call.expand(t, &shape)).collect::<Result<Vec<_>>>()?;
    Ok(vec![Out::Tensors(all)])
}

fn meshgrid(call: &mut Call<'_>) -> Result<Outs> {
    let mut tensors = call.tensors("tensors")?;
    let swap = call.arg("indexing").is_some() && call.str("indexing")? == "xy" && tensors.len() >= 2;
    if swap {
        tensors.swap(0, 1);
    }
    let sizes: Vec<Expr> = tensors.iter().map(|&t| numel(&call.shape(t))).collect();
    let mut grids = Vec::new();
    for (i, &t) in tensors.iter().enumerate() {
        let line = call.reshape(t, &one_dim(sizes.len(), i, sizes[i].clone()))?;
        grids.push(call.expand(line, &sizes)?);
    }
    if swap {
        grids.swap(0, 1);
    }
    Ok(vec![Out::Tensors(grids)])
}

fn repeat(call: &mut Call<'_>, name: &str) -> Result<Outs> {
    let x = x(call)?;
    let mut times = call.sym_ints(name)?;
    let mut shape = call.shape(x);
    let rank = times.len().max(shape.len());
    // `tile` takes fewer factors than dims, both take more.
    times.splice(0..0, vec![Expr::Int(1); rank - times.len()]);
    shape.splice(0..0, vec![Expr::Int(1); rank - shape.len()]);
    let pairs =
        |first: &dyn Fn(usize) -> Expr| -> Vec<Expr> { (0..rank).flat_map(|d| [first(d), shape[d].clone()]).collect() };
    let (single, repeated) = (pairs(&|_| Expr::Int(1)), pairs(&|d| times[d].clone()));
    let result: Vec<Expr> = (0..rank).map(|d| times[d].clone() * shape[d].clone()).collect();
    let x = call.reshape(x, &single)?;
    let x = call.expand(x, &repeated)?;
    one(call.reshape(x, &result)?)
}

fn repeat_interleave(call: &mut Call<'_>) -> Result<Outs> {
    let mut x = x(call)?;
    let times = call.sym_int("repeats")?;
    let dim = match call.optional_int("dim")? {
        Some(dim) => call.normalize_dim(dim, call.rank(x))?,
        None => {
            let flat = numel(&call.shape(x));
            x = call.reshape(x, &[flat])?;
            0
        }
    };
    let mut shape = call.shape(x);
    let mut repeated = shape.clone();
    repeated.insert(dim + 1, times.clone());
    shape[dim] = shape[dim].clone() * times;
    let x = unsqueeze(call, x, dim + 1)?;
    let x = call.expand(x, &repeated)?;
    one(call.reshape(x, &shape)?)
}

// Windows and rearrangements.

fn unfold(call: &mut Call<'_>) -> Result<Outs> {
    let x = x(call)?;
    let dim = call.dim("dimension", call.rank(x))?;
    let (size, step) = (call.int("size")?, call.int("step")?);
    if call.rank(x) == 0 {
        let line = call.reshape(x, &[Expr::Int(1)])?;
        return one(call.slice(line, 0, Expr::Int(0), Expr::Int(size), 1)?);
    }
    one(call.push(Op::View(View::Unfold { dim, size, step }), &[x])?)
}

/// An argument for height and width.
fn pair(call: &Call<'_>, name: &str) -> Result<[i64; 2]> {
    let list = call.ints(name)?;
    <[i64; 2]>::try_from(list).map_err(|_| call.damaged(format!("argument `{name}` needs two entries")))
}

/// The sums of what columns say about each pixel: scattered into the padded image, whose padding is cut off.
fn col2im(call: &mut Call<'_>) -> Result<Outs> {
    let mut x = x(call)?;
    let batched = call.rank(x) == 3;
    if !batched {
        x = unsqueeze(call, x, 0)?;
    }
    let (kernel, dilation) = (pair(call, "kernel_size")?, pair(call, "dilation")?);
    let (padding, stride, size) = (pair(call, "padding")?, pair(call, "stride")?, pair(call, "output_size")?);
    let padded = [0, 1].map(|i| size[i] + 2 * padding[i]);
    if kernel.iter().chain(&dilation).chain(&stride).any(|v| *v < 1) || padding.iter().any(|v| *v < 0) {
        return Err(call.damaged("windows of no size, or no step between them"));
    }
    let windows = [0, 1].map(|i| (padded[i] - dilation[i] * (kernel[i] - 1) - 1).div_euclid(stride[i]) + 1);
    let (taps, count) = (kernel[0] * kernel[1], windows[0] * windows[1]);
    let shape = call.shape(x);
    let channels = shape.get(1).and_then(Expr::as_int).filter(|n| n % taps == 0).map(|n| n / taps);
    let (Some(channels), [_, _, columns]) = (channels, &shape[..]) else {
        return Err(call.damaged(format!("columns {} of windows {kernel:?}", call.ty(x))));
    };
    if *columns != Expr::Int(count) || windows.iter().any(|n| *n < 1) {
        return Err(call.damaged(format!("{columns} columns where an image {size:?} has {count}")));
    }
    let mut places = Vec::new();
    for i in 0..taps {
        let (row, column) = (i / kernel[1] * dilation[0], i % kernel[1] * dilation[1]);
        let at = |n: i64| (row + n / windows[1] * stride[0]) * padded[1] + column + n % windows[1] * stride[1];
        places.extend((0..count).flat_map(|n| at(n).to_le_bytes()));
    }
    let images = shape[0].clone() * Expr::Int(channels);
    let each = Expr::Int(taps * count);
    let values = call.reshape(x, &[images.clone(), each.clone()])?;
    let places = call.constant(DType::I64, &[1, (taps * count) as usize], places)?;
    let places = call.expand(places, &[images.clone(), each])?;
    let (dtype, flat) = (call.dtype_of(x), [images, Expr::Int(padded[0] * padded[1])]);
    let zeros = filled(call, dtype, &flat, &Number::Int(Expr::Int(0)))?;
    let kind = if dtype == DType::Bool { ScatterKind::Max } else { ScatterKind::Add };
    let y = call.push(Op::Scatter { dim: 1, kind }, &[zeros, places, values])?;
    let mut y =
        call.reshape(y, &[shape[0].clone(), Expr::Int(channels), Expr::Int(padded[0]), Expr::Int(padded[1])])?;
    for i in 0..2 {
        y = call.slice(y, 2 + i, Expr::Int(padding[i]), Expr::Int(size[i]), 1)?;
    }
    let shape = call.shape(y);
    one(call.reshape(y, &shape[usize::from(!batched)..])?)
}

/// Tensors cut into as many chunks (filled up with zeros), chunk by chunk side by side.
fn chunk_cat(call: &mut Call<'_>) -> Result<Outs> {
    let (tensors, chunks) = (call.tensors("tensors")?, call.int("num_chunks")?);
    let rank = tensors.first().map_or(0, |&t| call.rank(t));
    let dim = call.dim("dim", rank)?;
    let mut parts = Vec::new();
    for mut x in tensors {
        let size = call.shape(x).get(dim).and_then(Expr::as_int).filter(|_| chunks > 0);
        let size = size.ok_or_else(|| call.unsupported("chunks of a size that depends on the input"))?;
        let missing = (chunks - size % chunks) % chunks;
        if missing > 0 {
            let mut pads = vec![(0, 0); call.rank(x)];
            pads[dim].1 = missing;
            x = call.push(Op::Pad { pads, mode: PadMode::Constant(0f64.to_bits()) }, &[x])?;
        }
        let shape = call.shape(x);
        let rest = Expr::floordiv(numel(&shape[dim..]), chunks);
        parts.push(call.reshape(x, &[&shape[..dim], &[Expr::Int(chunks), rest]].concat())?);
    }
    one(concat(call, &parts, dim as i64 + 1)?)
}

/// Windows of an image as columns: padded, windows along both dims, their dilated entries moved before the positions.
fn im2col(call: &mut Call<'_>) -> Result<Outs> {
    let mut x = x(call)?;
    let batched = call.rank(x) == 4;
    if !batched {
        x = unsqueeze(call, x, 0)?;
    }
    if call.rank(x) != 4 {
        return Err(call.damaged("columns of a tensor that is no image"));
    }
    let (kernel, dilation) = (pair(call, "kernel_size")?, pair(call, "dilation")?);
    let (padding, stride) = (pair(call, "padding")?, pair(call, "stride")?);
    if padding != [0, 0] {
        let pads = vec![(0, 0), (0, 0), (padding[0], padding[0]), (padding[1], padding[1])];
        x = call.push(Op::Pad { pads, mode: PadMode::Constant(0f64.to_bits()) }, &[x])?;
    }
    for (i, dim) in [2, 3].into_iter().enumerate() {
        let size = (kernel[i] - 1) * dilation[i] + 1;
        x = call.push(Op::View(View::Unfold { dim, size, step: stride[i] }), &[x])?;
        let last = call.rank(x) - 1;
        x = call.slice(x, last, Expr::Int(0), Expr::Int(kernel[i]), dilation[i])?;
    }
    let x = call.permute(x, &[0, 1, 4, 5, 2, 3])?;
    let shape = call.shape(x);
    let mut columns = vec![shape[0].clone(), numel(&shape[1..4]), numel(&shape[4..])];
    if !batched {
        columns.remove(0);
    }
    one(call.reshape(x, &columns)?)
}

fn diagonal_row(call: &mut Call<'_>) -> Result<Outs> {
    let x = call.tensor(if call.target().contains("linalg") { "A" } else { "self" })?;
    let rank = call.rank(x);
    let (a, b) = (call.dim("dim1", rank)?, call.dim("dim2", rank)?);
    let offset = call.int("offset")?;
    one(diagonal(call, x, a, b, offset)?)
}

/// The diagonal of dims `a` and `b`, as the last dim: the matrix in one row, every `columns + 1`st element of it.
pub(super) fn diagonal(call: &mut Call<'_>, x: ValueId, a: usize, b: usize, offset: i64) -> Result<ValueId> {
    let shape = call.shape(x);
    if a == b || a.max(b) >= shape.len() {
        return Err(call.damaged("the diagonal of one dim"));
    }
    let mut perm: Vec<usize> = (0..shape.len()).filter(|&d| d != a && d != b).collect();
    let mut flat: Vec<Expr> = perm.iter().map(|&d| shape[d].clone()).collect();
    perm.extend([a, b]);
    let sizes = (shape[a].as_int(), shape[b].as_int());
    let (Some(rows), Some(columns)) = sizes else {
        return Err(call.unsupported("the diagonal of a matrix whose size depends on the input"));
    };
    let len = if offset >= 0 { rows.min(columns - offset) } else { (rows + offset).min(columns) }.max(0);
    let start = if len == 0 { 0 } else { offset.max(0) + (-offset).max(0) * columns };
    let x = call.permute(x, &perm)?;
    flat.push(Expr::Int(rows * columns));
    let last = flat.len() - 1;
    let x = call.reshape(x, &flat)?;
    call.slice(x, last, Expr::Int(start), Expr::Int(len), columns + 1)
}

fn diag(call: &mut Call<'_>) -> Result<Outs> {
    let (x, offset) = (x(call)?, call.int("diagonal")?);
    one(match call.rank(x) {
        1 => on_diagonal(call, None, x, offset)?,
        2 => diagonal(call, x, 0, 1, offset)?,
        _ => return Err(call.damaged("`diag` takes a vector or a matrix")),
    })
}

fn diagflat(call: &mut Call<'_>) -> Result<Outs> {
    let (x, offset) = (x(call)?, call.int("offset")?);
    let flat = call.reshape(x, &[numel(&call.shape(x))])?;
    one(on_diagonal(call, None, flat, offset)?)
}

/// The order that moves the last two dims to places `a` and `b`.
fn matrix_to(rank: usize, a: usize, b: usize) -> Vec<usize> {
    let mut rest = 0..rank - 2;
    (0..rank)
        .filter_map(|d| {
            if d == a {
                Some(rank - 2)
            } else if d == b {
                Some(rank - 1)
            } else {
                rest.next()
            }
        })
        .collect()
}

fn diag_embed(call: &mut Call<'_>) -> Result<Outs> {
    let (x, offset) = (x(call)?, call.int("offset")?);
    let rank = call.rank(x) + 1;
    let (a, b) = (call.dim("dim1", rank)?, call.dim("dim2", rank)?);
    if rank < 2 || a == b {
        return Err(call.damaged("the diagonal of one dim"));
    }
    let y = on_diagonal(call, None, x, offset)?;
    one(call.permute(y, &matrix_to(rank, a, b))?)
}

fn diagonal_scatter(call: &mut Call<'_>) -> Result<Outs> {
    let (x, source, offset) = (x(call)?, call.tensor("src")?, call.int("offset")?);
    let rank = call.rank(x);
    let (a, b) = (call.dim("dim1", rank)?, call.dim("dim2", rank)?);
    if rank < 2 || a == b || call.rank(source) + 1 != rank {
        return Err(call.damaged("a diagonal that does not fit"));
    }
    let order: Vec<usize> = (0..rank).filter(|&d| d != a && d != b).chain([a, b]).collect();
    let x = call.permute(x, &order)?;
    let y = on_diagonal(call, Some(x), source, offset)?;
    one(call.permute(y, &matrix_to(rank, a, b))?)
}

/// `source[.., k]` on a diagonal of the last two dims of `base`, or of zeros in a square just large enough.
fn on_diagonal(call: &mut Call<'_>, base: Option<ValueId>, source: ValueId, offset: i64) -> Result<ValueId> {
    let last = call.rank(source) - 1;
    let sizes = base.map(|b| call.shape(b)[last..].to_vec());
    let len = call.shape(source)[last].as_int();
    let sizes = match sizes {
        Some(sizes) => (sizes[0].as_int(), sizes[1].as_int()),
        None => (len.map(|n| n + offset.abs()), len.map(|n| n + offset.abs())),
    };
    let (Some(len), (Some(rows), Some(columns))) = (len, sizes) else {
        return Err(call.unsupported("the diagonal of a matrix whose size depends on the input"));
    };
    // Above the main diagonal a row has its element's number, below a column.
    let (line, axis) = if offset >= 0 { (rows, last + 1) } else { (columns, last) };
    if len > line {
        return Err(call.damaged("a diagonal that does not fit"));
    }
    let mut pads = vec![(0, 0); last + 1];
    pads[last].1 = line - len;
    let mut values = source;
    if line > len {
        values = call.push(Op::Pad { pads, mode: PadMode::Constant(0f64.to_bits()) }, &[values])?;
    }
    let values = unsqueeze(call, values, axis)?;
    let mut shape = call.shape(values);
    shape[last] = Expr::Int(rows);
    shape[last + 1] = Expr::Int(columns);
    let values = call.expand(values, &shape)?;
    let dtype = call.dtype_of(base.unwrap_or(source));
    let values = call.cast(values, dtype)?;
    let inputs: Vec<ValueId> = [Some(values), base].into_iter().flatten().collect();
    map(call, &inputs, |f, p| {
        let (i, j) = (f.push(ExprNode::Coord(last as u32)), f.push(ExprNode::Coord(last as u32 + 1)));
        let (distance, offset) = (f.binary(Binary::Sub, j, i), f.int(DType::I64, offset));
        let hit = f.binary(Binary::Eq, distance, offset);
        let rest = p.get(1).copied().unwrap_or_else(|| {
            let zero = f.int(DType::I64, 0);
            f.cast(dtype, zero)
        });
        f.select(hit, p[0], rest)
    })
}

/// Batch dims and the last three.
fn image(call: &Call<'_>, x: ValueId) -> Result<(Vec<Expr>, [Expr; 3])> {
    let shape = call.shape(x);
    match shape.as_slice() {
        [batch @ .., c, h, w] => Ok((batch.to_vec(), [c.clone(), h.clone(), w.clone()])),
        _ => Err(call.damaged("an image needs three dims")),
    }
}

/// Dims `rank - 3..` rearranged: reshape to `middle`, permute its dims, reshape to `last`.
fn rearrange(call: &mut Call<'_>, x: ValueId, middle: &[Expr], perm: &[usize], last: &[Expr]) -> Result<Outs> {
    let (batch, _) = image(call, x)?;
    let n = batch.len();
    let all: Vec<usize> = (0..n).chain(perm.iter().map(|p| p + n)).collect();
    let x = call.reshape(x, &[&batch, middle].concat())?;
    let x = call.permute(x, &all)?;
    one(call.reshape(x, &[&batch, last].concat())?)
}

fn pixel_shuffle(call: &mut Call<'_>) -> Result<Outs> {
    let x = x(call)?;
    let r = Expr::Int(call.int("upscale_factor")?.max(1));
    let (_, [c, h, w]) = image(call, x)?;
    let c = Expr::floordiv(c, r.clone() * r.clone());
    let middle = [c.clone(), r.clone(), r.clone(), h.clone(), w.clone()];
    rearrange(call, x, &middle, &[0, 3, 1, 4, 2], &[c, h * r.clone(), w * r])
}

fn pixel_unshuffle(call: &mut Call<'_>) -> Result<Outs> {
    let x = x(call)?;
    let r = Expr::Int(call.int("downscale_factor")?.max(1));
    let (_, [c, h, w]) = image(call, x)?;
    let (h, w) = (Expr::floordiv(h, r.clone()), Expr::floordiv(w, r.clone()));
    let middle = [c.clone(), h.clone(), r.clone(), w.clone(), r.clone()];
    rearrange(call, x, &middle, &[0, 2, 4, 1, 3], &[c * r.clone() * r, h, w])
}

fn channel_shuffle(call: &mut Call<'_>) -> Result<Outs> {
    let x = x(call)?;
    let shape = call.shape(x);
    let groups = Expr::Int(call.int("groups")?.max(1));
    if shape.len() < 3 {
        return Err(call.damaged("channel shuffle needs three dims"));
    }
    let split = [&shape[..1], &[groups.clone(), Expr::floordiv(shape[1].clone(), groups)], &shape[2..]].concat();
    let x = call.reshape(x, &split)?;
    let x = swapped(call, x, 1, 2)?;
    one(call.reshape(x, &shape)?)
}

/// `x` reversed along these dims.
fn flipped(call: &mut Call<'_>, x: ValueId, dims: Vec<usize>) -> Result<ValueId> {
    if dims.is_empty() { Ok(x) } else { call.push(Op::View(View::Flip(dims)), &[x]) }
}

fn flip(call: &mut Call<'_>) -> Result<Outs> {
    let x = x(call)?;
    let rank = call.rank(x);
    let dims = call.ints("dims")?.iter().map(|&d| call.normalize_dim(d, rank)).collect::<Result<Vec<_>>>()?;
    let dims = dims.into_iter().filter(|&d| d < rank).collect();
    one(flipped(call, x, dims)?)
}

fn flip_dim(call: &mut Call<'_>, dim: usize) -> Result<Outs> {
    let x = x(call)?;
    if call.rank(x) <= dim {
        return Err(call.damaged("too few dims to flip"));
    }
    one(flipped(call, x, vec![dim])?)
}

fn rot90(call: &mut Call<'_>) -> Result<Outs> {
    let x = x(call)?;
    let rank = call.rank(x);
    let dims = call.ints("dims")?.iter().map(|&d| call.normalize_dim(d, rank)).collect::<Result<Vec<_>>>()?;
    let &[a, b] = dims.as_slice() else { return Err(call.damaged("rotation needs two dims")) };
    one(match call.int("k")?.rem_euclid(4) {
        1 => {
            let x = flipped(call, x, vec![b])?;
            swapped(call, x, a, b)?
        }
        2 => flipped(call, x, vec![a, b])?,
        3 => {
            let x = flipped(call, x, vec![a])?;
            swapped(call, x, a, b)?
        }
        _ => x,
    })
}
