//! Views: rows that only look at their operand differently, and those that copy nothing in a functional graph.
//!
//! Everything here ends in the few [views](crate::ir::View) of the IR, which `lower` turns into arithmetic on places. Sizes may be
//! symbolic; clamps that the ranges of the symbols decide are not written into the result.

use super::{Out, Outs, Row, map, one, row};
use crate::diag::Diagnostic;
use crate::import::Call;
use crate::ir::{Binary, ValueId};
use crate::sym::Expr;

type Result<T> = std::result::Result<T, Diagnostic>;

/// The rows.
pub const ROWS: &[Row] = &[
    row("aten.view.default", view),
    row("aten.view_copy.default", view),
    row("aten._unsafe_view.default", view),
    row("aten._reshape_alias.default", view),
    row("aten.reshape.default", view),
    row("aten.reshape_as.default", view_as),
    row("aten.view_as.default", view_as),
    row("aten.flatten.using_ints", flatten),
    row("aten.ravel.default", flatten),
    row("aten.unflatten.int", unflatten),
    row("aten.squeeze.default", squeeze),
    row("aten.squeeze.dim", squeeze_dims),
    row("aten.squeeze.dims", squeeze_dims),
    row("aten.squeeze_copy.default", squeeze),
    row("aten.squeeze_copy.dim", squeeze_dims),
    row("aten.squeeze_copy.dims", squeeze_dims),
    row("aten.unsqueeze.default", unsqueeze_row),
    row("aten.unsqueeze_copy.default", unsqueeze_row),
    row("aten.atleast_1d.default", at_least),
    row("aten.atleast_2d.default", at_least),
    row("aten.atleast_3d.default", at_least),
    row("aten.atleast_1d.Sequence", all_at_least),
    row("aten.atleast_2d.Sequence", all_at_least),
    row("aten.atleast_3d.Sequence", all_at_least),
    row("aten.transpose.int", |call| swap(call, "dim0", "dim1")),
    row("aten.transpose_copy.int", |call| swap(call, "dim0", "dim1")),
    row("aten.swapdims.default", |call| swap(call, "dim0", "dim1")),
    row("aten.swapaxes.default", |call| swap(call, "axis0", "axis1")),
    row("aten.t.default", reversed),
    row("aten.t_copy.default", reversed),
    row("aten.numpy_T.default", reversed),
    row("aten.mT.default", matrix_transpose),
    row("aten.mH.default", matrix_transpose),
    row("aten.matrix_H.default", matrix_transpose),
    row("aten.adjoint.default", matrix_transpose),
    row("aten.permute.default", permute),
    row("aten.permute_copy.default", permute),
    row("aten.movedim.int", movedim),
    row("aten.movedim.intlist", movedim),
    row("aten.moveaxis.int", movedim),
    row("aten.moveaxis.intlist", movedim),
    row("aten.select.int", select),
    row("aten.select_copy.int", select),
    row("aten.slice.Tensor", slice),
    row("aten.slice_copy.Tensor", slice),
    row("aten.narrow.default", narrow),
    row("aten.narrow_copy.default", narrow),
    row("aten.split.Tensor", split),
    row("aten.split_copy.Tensor", split),
    row("aten.unsafe_split.Tensor", split),
    row("aten.split.sizes", |call| split_sizes(call, "split_size")),
    row("aten.split_with_sizes.default", |call| split_sizes(call, "split_sizes")),
    row("aten.split_with_sizes_copy.default", |call| split_sizes(call, "split_sizes")),
    row("aten.unsafe_split_with_sizes.default", |call| split_sizes(call, "split_sizes")),
    row("aten.chunk.default", chunk),
    row("aten.unsafe_chunk.default", chunk),
    row("aten.tensor_split.sections", tensor_split_sections),
    row("aten.tensor_split.indices", tensor_split_indices),
    row("aten.hsplit.int", tensor_split_sections),
    row("aten.vsplit.int", tensor_split_sections),
    row("aten.dsplit.int", tensor_split_sections),
    row("aten.hsplit.array", tensor_split_indices),
    row("aten.vsplit.array", tensor_split_indices),
    row("aten.dsplit.array", tensor_split_indices),
    row("aten.unbind.int", unbind),
    row("aten.unbind_copy.int", unbind),
    row("aten.clone.default", same),
    row("aten.contiguous.default", same),
    row("aten.detach.default", same),
    row("aten.detach_copy.default", same),
    row("aten.alias.default", same),
    row("aten.alias_copy.default", same),
    row("aten.lift.default", same),
    row("aten.lift_fresh.default", same),
    row("aten.lift_fresh_copy.default", same),
    row("aten.positive.default", same),
    row("aten.resolve_conj.default", same),
    row("aten.resolve_neg.default", same),
    row("aten.resize.default", |call| resize(call, None)).noted(RESIZED),
    row("aten.resize_as.default", |call| resize(call, Some("the_template"))).noted(RESIZED),
    row("aten.dropout.default", dropout),
    row("aten.feature_dropout.default", dropout),
    row("aten.alpha_dropout.default", dropout),
    row("aten.feature_alpha_dropout.default", dropout),
    row("aten.native_dropout.default", native_dropout),
];

pub(super) fn x(call: &Call<'_>) -> Result<ValueId> {
    call.tensor("self")
}

/// Number of elements.
pub(super) fn numel(shape: &[Expr]) -> Expr {
    Expr::product(shape.iter().cloned())
}

/// The shape of a tensor of this rank with `size` elements along `dim`.
pub(super) fn one_dim(rank: usize, dim: usize, size: Expr) -> Vec<Expr> {
    (0..rank).map(|d| if d == dim { size.clone() } else { Expr::Int(1) }).collect()
}

fn same(call: &mut Call<'_>) -> Result<Outs> {
    one(x(call)?)
}

const RESIZED: &str = "to as many elements: new ones are undefined";

/// A reshape of contiguous memory, to the argument `size` or that of a template.
fn resize(call: &mut Call<'_>, template: Option<&str>) -> Result<Outs> {
    let x = call.tensor("self")?;
    let size = match template {
        Some(template) => call.shape(call.tensor(template)?),
        None => call.sym_ints("size")?,
    };
    if numel(&size) != numel(&call.shape(x)) {
        return Err(call.unsupported("a tensor resized to another number of elements, which are undefined"));
    }
    one(call.reshape(x, &size)?)
}

/// Without randomness: not in training, or of all elements or none.
fn dropout(call: &mut Call<'_>) -> Result<Outs> {
    let x = call.tensor("input")?;
    let p = if call.bool("train")? { call.float("p")? } else { 0.0 };
    if p == 0.0 || call.shape(x).contains(&Expr::Int(0)) {
        return one(x);
    }
    if p == 1.0 {
        let dtype = call.dtype_of(x);
        return one(map(call, &[x], |f, p| {
            let zero = f.float(dtype, 0.0);
            f.binary(Binary::Mul, p[0], zero)
        })?);
    }
    Err(train_mode(call))
}

fn native_dropout(call: &mut Call<'_>) -> Result<Outs> {
    if call.arg("train").is_some() && call.bool("train")? && call.float("p")? != 0.0 {
        return Err(train_mode(call));
    }
    Ok(vec![Out::Tensor(call.tensor("input")?), Out::None])
}

fn train_mode(call: &Call<'_>) -> Diagnostic {
    call.violated("dropout in training mode draws random numbers")
        .help("call `model.eval()` before `torch.export.export`")
}

// Shapes.

/// Sizes with at most one -1, which stands for what is left of `total`.
fn with_rest(call: &Call<'_>, sizes: &[Expr], total: &Expr) -> Result<Vec<Expr>> {
    let open = Expr::Int(-1);
    if sizes.iter().filter(|s| **s == open).count() > 1 {
        return Err(call.damaged("more than one size is -1"));
    }
    let known = numel(&sizes.iter().filter(|s| **s != open).cloned().collect::<Vec<_>>());
    Ok(sizes
        .iter()
        .map(|s| match *s == open {
            true if known == Expr::Int(0) => Expr::Int(0),
            true => total.exact_div(&known).unwrap_or_else(|| Expr::floordiv(total.clone(), known.clone())),
            false => s.clone(),
        })
        .collect())
}

fn view(call: &mut Call<'_>) -> Result<Outs> {
    let x = x(call)?;
    let name = if call.arg("size").is_some() { "size" } else { "shape" };
    let shape = with_rest(call, &call.sym_ints(name)?, &numel(&call.shape(x)))?;
    one(call.reshape(x, &shape)?)
}

fn view_as(call: &mut Call<'_>) -> Result<Outs> {
    let x = x(call)?;
    let shape = call.shape(call.tensor("other")?);
    one(call.reshape(x, &shape)?)
}

fn flatten(call: &mut Call<'_>) -> Result<Outs> {
    let x = x(call)?;
    let shape = call.shape(x);
    if shape.is_empty() {
        return one(call.reshape(x, &[Expr::Int(1)])?);
    }
    let (start, end) = match call.arg("start_dim") {
        Some(_) => (call.dim("start_dim", shape.len())?, call.dim("end_dim", shape.len())?),
        None => (0, shape.len() - 1),
    };
    if start > end {
        return Err(call.damaged(format!("start_dim {start} comes after end_dim {end}")));
    }
    let mut flat = shape[..start].to_vec();
    flat.push(numel(&shape[start..=end]));
    flat.extend_from_slice(&shape[end + 1..]);
    one(call.reshape(x, &flat)?)
}

fn unflatten(call: &mut Call<'_>) -> Result<Outs> {
    let x = x(call)?;
    let shape = call.shape(x);
    let dim = call.dim("dim", shape.len())?;
    let sizes = with_rest(call, &call.sym_ints("sizes")?, &shape[dim])?;
    let new = [&shape[..dim], &sizes, &shape[dim + 1..]].concat();
    one(call.reshape(x, &new)?)
}

fn squeeze(call: &mut Call<'_>) -> Result<Outs> {
    let x = x(call)?;
    let shape: Vec<Expr> = call.shape(x).into_iter().filter(|s| *s != Expr::Int(1)).collect();
    one(call.reshape(x, &shape)?)
}

fn squeeze_dims(call: &mut Call<'_>) -> Result<Outs> {
    let x = x(call)?;
    let shape = call.shape(x);
    let dims: Vec<usize> =
        call.ints("dim")?.iter().map(|&d| call.normalize_dim(d, shape.len())).collect::<Result<_>>()?;
    let kept = |(d, s): &(usize, &Expr)| !dims.contains(d) || **s != Expr::Int(1);
    let new: Vec<Expr> = shape.iter().enumerate().filter(kept).map(|(_, s)| s.clone()).collect();
    one(call.reshape(x, &new)?)
}

/// `x` with a dim of size 1 before `dim`.
pub(super) fn unsqueeze(call: &mut Call<'_>, x: ValueId, dim: usize) -> Result<ValueId> {
    let mut shape = call.shape(x);
    shape.insert(dim, Expr::Int(1));
    call.reshape(x, &shape)
}

fn unsqueeze_row(call: &mut Call<'_>) -> Result<Outs> {
    let x = x(call)?;
    let dim = call.dim("dim", call.rank(x) + 1)?;
    one(unsqueeze(call, x, dim)?)
}

fn at_least(call: &mut Call<'_>) -> Result<Outs> {
    let x = x(call)?;
    one(call_at_least(call, x, rank_of_name(call.target()))?)
}

fn all_at_least(call: &mut Call<'_>) -> Result<Outs> {
    let (tensors, rank) = (call.tensors("tensors")?, rank_of_name(call.target()));
    let all = tensors.into_iter().map(|x| call_at_least(call, x, rank)).collect::<Result<_>>()?;
    Ok(vec![Out::Tensors(all)])
}

/// The rank in `atleast_2d`, `hstack`, ….
fn rank_of_name(target: &str) -> usize {
    match target {
        t if t.contains("1d") => 1,
        t if t.contains("2d") => 2,
        _ => 3,
    }
}

/// `torch.atleast_{rank}d`.
pub(super) fn call_at_least(call: &mut Call<'_>, x: ValueId, rank: usize) -> Result<ValueId> {
    let one = Expr::Int(1);
    let shape = call.shape(x);
    let new = match (shape.as_slice(), rank) {
        ([], rank) => vec![one; rank],
        ([n], 2) => vec![one, n.clone()],
        ([n], 3) => vec![one.clone(), n.clone(), one],
        ([a, b], 3) => vec![a.clone(), b.clone(), one],
        _ => shape,
    };
    call.reshape(x, &new)
}

// Orders of dims.

fn swap(call: &mut Call<'_>, first: &str, second: &str) -> Result<Outs> {
    let x = x(call)?;
    let rank = call.rank(x);
    let (a, b) = (call.dim(first, rank)?, call.dim(second, rank)?);
    one(swapped(call, x, a, b)?)
}

/// `x` with two dims exchanged.
pub(super) fn swapped(call: &mut Call<'_>, x: ValueId, a: usize, b: usize) -> Result<ValueId> {
    let mut perm: Vec<usize> = (0..call.rank(x)).collect();
    if perm.is_empty() {
        return Ok(x);
    }
    perm.swap(a, b);
    call.permute(x, &perm)
}

fn reversed(call: &mut Call<'_>) -> Result<Outs> {
    let x = x(call)?;
    let perm: Vec<usize> = (0..call.rank(x)).rev().collect();
    one(call.permute(x, &perm)?)
}

fn matrix_transpose(call: &mut Call<'_>) -> Result<Outs> {
    let x = x(call)?;
    match call.rank(x) {
        0 => one(x),
        1 => Err(call.damaged("transposition of a vector")),
        rank => one(swapped(call, x, rank - 2, rank - 1)?),
    }
}

fn permute(call: &mut Call<'_>) -> Result<Outs> {
    let x = x(call)?;
    let rank = call.rank(x);
    let dims: Vec<usize> = call.ints("dims")?.iter().map(|&d| call.normalize_dim(d, rank)).collect::<Result<_>>()?;
    one(call.permute(x, &dims)?)
}

fn movedim(call: &mut Call<'_>) -> Result<Outs> {
    let x = x(call)?;
    let rank = call.rank(x);
    let read =
        |name: &str| -> Result<Vec<usize>> { call.ints(name)?.iter().map(|&d| call.normalize_dim(d, rank)).collect() };
    let (from, to) = (read("source")?, read("destination")?);
    if from.len() != to.len() {
        return Err(call.damaged("as many destinations as sources are needed"));
    }
    let mut rest = (0..rank).filter(|d| !from.contains(d));
    let perm: Vec<usize> = (0..rank)
        .filter_map(|d| match to.iter().position(|&t| t == d) {
            Some(i) => Some(from[i]),
            None => rest.next(),
        })
        .collect();
    one(call.permute(x, &perm)?)
}

// Parts.

/// `index` counted from the start of a dim of this size.
fn from_start(call: &mut Call<'_>, index: Expr, size: &Expr) -> Expr {
    let negative = Expr::lt(index.clone(), 0);
    match call.decided(negative.clone()) {
        Some(true) => index + size.clone(),
        Some(false) => index,
        None => Expr::ite(negative, index.clone() + size.clone(), index),
    }
}

/// `value` limited to `0..=size`.
fn limited(call: &mut Call<'_>, value: Expr, size: &Expr) -> Expr {
    let at_least = match call.decided(Expr::ge(&value, 0)) {
        Some(true) => value,
        Some(false) => return Expr::Int(0),
        None => Expr::max(value, 0),
    };
    match call.decided(Expr::le(&at_least, size)) {
        Some(true) => at_least,
        Some(false) => size.clone(),
        None if call.decided(Expr::ge(&at_least, size)) == Some(true) => size.clone(),
        None => Expr::min(at_least, size.clone()),
    }
}

/// Start, length and step of a Python slice of a dim of this size.
pub(super) fn slice_bounds(call: &mut Call<'_>, size: &Expr) -> Result<(Expr, Expr, i64)> {
    let step = call.int("step")?;
    if step < 1 {
        return Err(call.damaged(format!("a slice with step {step}")));
    }
    let start = match call.optional_sym_int("start")? {
        Some(start) => {
            let start = from_start(call, start, size);
            limited(call, start, size)
        }
        None => Expr::Int(0),
    };
    // `i64::MAX` stands for the end of the dim.
    let end = match call.optional_sym_int("end")?.filter(|e| *e != Expr::Int(i64::MAX)) {
        Some(end) => {
            let end = from_start(call, end, size);
            limited(call, end, size)
        }
        None => size.clone(),
    };
    let span = match call.decided(Expr::ge(&end, &start)) {
        Some(true) => end - start.clone(),
        Some(false) => Expr::Int(0),
        None => Expr::max(end - start.clone(), 0),
    };
    Ok((start, Expr::floordiv(span + Expr::Int(step - 1), step), step))
}

fn slice(call: &mut Call<'_>) -> Result<Outs> {
    let x = x(call)?;
    let shape = call.shape(x);
    let dim = call.dim("dim", shape.len())?;
    let size = shape.get(dim).cloned().ok_or_else(|| call.damaged("a slice of a 0-d tensor"))?;
    let (start, len, step) = slice_bounds(call, &size)?;
    one(call.slice(x, dim, start, len, step)?)
}

/// `x[.., index, ..]`, the dim gone.
pub(super) fn take(call: &mut Call<'_>, x: ValueId, dim: usize, index: Expr) -> Result<ValueId> {
    let part = call.slice(x, dim, index, Expr::Int(1), 1)?;
    let mut shape = call.shape(part);
    shape.remove(dim);
    call.reshape(part, &shape)
}

/// Argument `index` of a dim of this size, as a position from its start.
pub(super) fn select_index(call: &mut Call<'_>, size: &Expr) -> Result<Expr> {
    let index = call.sym_int("index")?;
    let index = from_start(call, index, size);
    let inside = [Expr::ge(&index, 0), Expr::lt(&index, size)];
    if inside.iter().any(|condition| condition.as_bool() == Some(false)) {
        return Err(call.damaged(format!("index {index} is outside of a dim of size {size}")));
    }
    inside.into_iter().for_each(|condition| call.require(condition));
    Ok(index)
}

fn select(call: &mut Call<'_>) -> Result<Outs> {
    let x = x(call)?;
    let shape = call.shape(x);
    let dim = call.dim("dim", shape.len())?;
    let size = shape.get(dim).cloned().ok_or_else(|| call.damaged("selection from a 0-d tensor"))?;
    let index = select_index(call, &size)?;
    one(take(call, x, dim, index)?)
}

fn narrow(call: &mut Call<'_>) -> Result<Outs> {
    let x = x(call)?;
    let shape = call.shape(x);
    let dim = call.dim("dim", shape.len())?;
    let size = shape.get(dim).cloned().ok_or_else(|| call.damaged("a part of a 0-d tensor"))?;
    let start = call.sym_int("start")?;
    let (start, len) = (from_start(call, start, &size), call.sym_int("length")?);
    one(call.slice(x, dim, start, len, 1)?)
}

/// The operand, argument `dim` and its size.
fn along(call: &Call<'_>) -> Result<(ValueId, usize, Expr)> {
    let x = x(call)?;
    let shape = call.shape(x);
    let dim = match call.target() {
        t if t.contains("hsplit") => shape.len().saturating_sub(1).min(1),
        t if t.contains("vsplit") => 0,
        t if t.contains("dsplit") => 2,
        _ => call.dim("dim", shape.len())?,
    };
    let size = shape.get(dim).cloned().ok_or_else(|| call.damaged("too few dims to split"))?;
    Ok((x, dim, size))
}

fn parts(call: &mut Call<'_>, x: ValueId, dim: usize, sizes: &[Expr]) -> Result<Outs> {
    let mut start = Expr::Int(0);
    let mut parts = Vec::new();
    for size in sizes {
        parts.push(call.slice(x, dim, start.clone(), size.clone(), 1)?);
        start = start + size.clone();
    }
    Ok(vec![Out::Tensors(parts)])
}

fn known(call: &Call<'_>, size: &Expr) -> Result<i64> {
    size.as_int().ok_or_else(|| call.unsupported(format!("the number of parts depends on the size {size}")))
}

/// Parts of `step` entries, the last one shorter.
fn even_parts(call: &mut Call<'_>, x: ValueId, dim: usize, size: i64, step: i64) -> Result<Outs> {
    if step < 1 {
        // Only an empty dim may be split into parts of size 0.
        return parts(call, x, dim, &[Expr::Int(size)]);
    }
    let count = (size + step - 1) / step;
    let sizes: Vec<Expr> = (0..count.max(1)).map(|i| Expr::Int(step.min(size - i * step))).collect();
    parts(call, x, dim, &sizes)
}

fn split(call: &mut Call<'_>) -> Result<Outs> {
    let (x, dim, size) = along(call)?;
    let step = call.sym_int("split_size")?;
    if step == size {
        return parts(call, x, dim, &[size]);
    }
    let (size, step) = (known(call, &size)?, known(call, &step)?);
    even_parts(call, x, dim, size, step)
}

fn split_sizes(call: &mut Call<'_>, name: &str) -> Result<Outs> {
    let (x, dim, _) = along(call)?;
    let sizes = call.sym_ints(name)?;
    parts(call, x, dim, &sizes)
}

fn chunk(call: &mut Call<'_>) -> Result<Outs> {
    let (x, dim, size) = along(call)?;
    let chunks = call.int("chunks")?;
    if chunks < 1 {
        return Err(call.damaged(format!("{chunks} chunks")));
    }
    // Symbolic sizes that divide evenly keep their number of chunks.
    let step = Expr::floordiv(size.clone() + Expr::Int(chunks - 1), chunks);
    if step.clone() * Expr::Int(chunks) == size {
        return parts(call, x, dim, &vec![step; chunks as usize]);
    }
    match size.as_int() {
        Some(0) => parts(call, x, dim, &vec![Expr::Int(0); chunks as usize]),
        Some(size) => even_parts(call, x, dim, size, (size + chunks - 1) / chunks),
        // As many parts as the program was exported with: no fewer.
        None => {
            let last = size - step.clone() * Expr::Int(chunks - 1);
            call.require(Expr::ge(&last, 1));
            let mut sizes = vec![step; chunks as usize];
            sizes[chunks as usize - 1] = last;
            parts(call, x, dim, &sizes)
        }
    }
}

fn tensor_split_sections(call: &mut Call<'_>) -> Result<Outs> {
    let (x, dim, size) = along(call)?;
    let sections = call.int("sections")?;
    if sections < 1 {
        return Err(call.damaged(format!("{sections} sections")));
    }
    let part = |i: i64| Expr::floordiv(size.clone() + Expr::Int(sections - 1 - i), sections);
    let sizes: Vec<Expr> = (0..sections).map(part).collect();
    parts(call, x, dim, &sizes)
}

fn tensor_split_indices(call: &mut Call<'_>) -> Result<Outs> {
    let (x, dim, size) = along(call)?;
    let size = known(call, &size)?;
    let place = |i: i64| if i < 0 { (i + size).max(0) } else { i.min(size) };
    let mut ends: Vec<i64> = call.ints("indices")?.into_iter().map(place).collect();
    ends.push(size);
    let mut start = 0;
    let mut sliced = Vec::new();
    for end in ends {
        sliced.push(call.slice(x, dim, Expr::Int(start), Expr::Int((end - start).max(0)), 1)?);
        start = end;
    }
    Ok(vec![Out::Tensors(sliced)])
}

fn unbind(call: &mut Call<'_>) -> Result<Outs> {
    let (x, dim, size) = along(call)?;
    let size = known(call, &size)?;
    let parts = (0..size).map(|i| take(call, x, dim, Expr::Int(i))).collect::<Result<Vec<_>>>()?;
    Ok(vec![Out::Tensors(parts)])
}
