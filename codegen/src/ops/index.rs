//! Selection and writing by index tensors.

use super::view::{self, numel, unsqueeze};
use super::{Out, Outs, Row, map, one, row};
use crate::diag::Diagnostic;
use crate::import::{Call, Number};
use crate::ir::{
    Binary, CumKind, ExprId, ExprNode, Formula, Literal, Op, ReduceKind, ScatterKind, Unary, ValueId, infer,
};
use crate::sym::Expr;
use exported_runtime::DType;

type Result<T> = std::result::Result<T, Diagnostic>;

const MASKS: &str = "masks only where they select values for a scalar or a broadcast row (`where`)";

/// The rows.
pub const ROWS: &[Row] = &[
    row("aten.nonzero.default", nonzero),
    row("aten.nonzero_numpy.default", |call| nonzero_columns(call, "self")),
    row("aten.where.default", |call| nonzero_columns(call, "condition")),
    row("aten.masked_select.default", masked_select),
    row("aten.embedding.default", embedding),
    row("aten.embedding_renorm.default", embedding_renorm),
    row("aten.embedding_bag.default", embedding_bag),
    row("aten.embedding_bag.padding_idx", embedding_bag),
    row("aten._embedding_bag.default", embedding_bag),
    row("aten._embedding_bag_forward_only.default", embedding_bag),
    row("aten.index_select.default", index_select),
    row("aten.gather.default", gather),
    row("aten.take_along_dim.default", take_along_dim),
    row("aten.take.default", take),
    row("aten.index.Tensor", index),
    row("aten._unsafe_index.Tensor", index),
    row("aten.index_put.default", index_put).noted(MASKS),
    row("aten._unsafe_index_put.default", index_put).noted(MASKS),
    row("aten._unsafe_masked_index.default", masked_index),
    row("aten._unsafe_masked_index_put_accumulate.default", masked_put_accumulate),
    row("aten.masked_scatter.default", masked_scatter),
    row("aten.index_add.default", index_add),
    row("aten.index_copy.default", index_copy),
    row("aten.index_fill.int_Scalar", index_fill),
    row("aten.index_fill.int_Tensor", index_fill),
];

/// An index tensor as the kernels take it: i32 and i64 as they are, other integers as i64.
pub(super) fn indices(call: &mut Call<'_>, ids: ValueId) -> Result<ValueId> {
    match call.dtype_of(ids) {
        DType::I32 | DType::I64 => Ok(ids),
        d if d.is_int() => call.cast(ids, DType::I64),
        d => Err(call.damaged(format!("indices of dtype `{}`", d.name()))),
    }
}

fn embedding(call: &mut Call<'_>) -> Result<Outs> {
    let (table, ids) = (call.tensor("weight")?, call.tensor("indices")?);
    let ids = indices(call, ids)?;
    one(call.push(Op::Embedding, &[table, ids])?)
}

/// The rows that the indices name, scaled down where their norm is above the greatest allowed.
fn embedding_renorm(call: &mut Call<'_>) -> Result<Outs> {
    let (table, ids) = (call.tensor("self")?, call.tensor("indices")?);
    let (most, p, dtype) = (call.float("max_norm")?, call.float("norm_type")?, call.dtype_of(table));
    let ids = indices(call, ids)?;
    let ids = call.reshape(ids, &[numel(&call.shape(ids))])?;
    let (rows, count) = (call.shape(table)[..1].to_vec(), call.shape(ids));
    let none = filled(call, dtype, &rows, &Number::Int(Expr::Int(0)))?;
    let ones = filled(call, dtype, &count, &Number::Int(Expr::Int(1)))?;
    let named = call.push(Op::Scatter { dim: 0, kind: ScatterKind::Set }, &[none, ids, ones])?;
    let named = unsqueeze(call, named, 1)?;
    let length =
        call.push(Op::Reduce { kind: ReduceKind::Norm { p: p.to_bits() }, dims: vec![1], keepdim: true }, &[table])?;
    one(map(call, &[table, named, length], |f, v| {
        let (most, tiny, zero) = (f.float(dtype, most), f.float(dtype, 1e-7), f.float(dtype, 0.0));
        let length = f.binary(Binary::Add, v[2], tiny);
        let factor = f.binary(Binary::Div, most, length);
        let scaled = f.binary(Binary::Mul, v[0], factor);
        let (long, named) = (f.binary(Binary::Gt, v[2], most), f.binary(Binary::Ne, v[1], zero));
        let both = f.binary(Binary::And, long, named);
        f.select(both, scaled, v[0])
    })?)
}

fn embedding_bag(call: &mut Call<'_>) -> Result<Outs> {
    let (table, ids, offsets) = (call.tensor("weight")?, call.tensor("indices")?, call.tensor("offsets")?);
    let ids = indices(call, ids)?;
    let offsets = call.cast(offsets, call.dtype_of(ids))?;
    let mode = call.int("mode")?;
    let mode = u8::try_from(mode).ok().filter(|m| *m < 3).ok_or_else(|| call.damaged(format!("mode {mode}")))?;
    let rows = call.shape(table).first().and_then(Expr::as_int).unwrap_or(0);
    // `_embedding_bag` says -1 for none, `embedding_bag` says None and counts negative ones from the end.
    let padding_idx = match call.optional_int("padding_idx")? {
        Some(-1) if call.target().starts_with("aten._") => None,
        Some(id) if id < 0 => Some(id + rows),
        other => other,
    };
    let mut inputs = vec![table, ids, offsets];
    if let Some(weights) = call.optional_tensor("per_sample_weights")? {
        if mode != 0 {
            return Err(call.damaged("weights of samples need the sum mode"));
        }
        inputs.push(weights);
    }
    let include_last_offset = call.bool("include_last_offset")?;
    let y = call.push(Op::EmbeddingBag { mode, padding_idx, include_last_offset }, &inputs)?;
    // The other results serve the backward pass only.
    Ok(vec![Out::Tensor(y), Out::None, Out::None, Out::None])
}

fn index_select(call: &mut Call<'_>) -> Result<Outs> {
    let (x, ids) = (call.tensor("self")?, call.tensor("index")?);
    let dim = call.dim("dim", call.rank(x))?;
    let mut ids = indices(call, ids)?;
    if call.rank(ids) == 0 {
        ids = call.reshape(ids, &[Expr::Int(1)])?;
    }
    if call.rank(x) == 0 {
        let line = call.reshape(x, &[Expr::Int(1)])?;
        let y = call.push(Op::IndexSelect { dim: 0 }, &[line, ids])?;
        return one(call.reshape(y, &[])?);
    }
    one(call.push(Op::IndexSelect { dim }, &[x, ids])?)
}

/// `torch.gather`; 0-d tensors count as one element.
fn gather_of(call: &mut Call<'_>, x: ValueId, dim: usize, ids: ValueId) -> Result<ValueId> {
    let ids = indices(call, ids)?;
    if call.shape(ids).contains(&Expr::Int(0)) {
        let (dtype, shape) = (call.dtype_of(x), call.shape(ids));
        return filled(call, dtype, &shape, &Number::Int(Expr::Int(0)));
    }
    if call.rank(x) > 0 && call.rank(ids) > 0 {
        return call.push(Op::Gather { dim }, &[x, ids]);
    }
    let (x, shape) = (line(call, x)?, call.shape(ids));
    let ids = line(call, ids)?;
    let y = call.push(Op::Gather { dim: 0 }, &[x, ids])?;
    call.reshape(y, &shape)
}

/// A 0-d tensor as one of one dim.
pub(super) fn line(call: &mut Call<'_>, x: ValueId) -> Result<ValueId> {
    if call.rank(x) == 0 { call.reshape(x, &[Expr::Int(1)]) } else { Ok(x) }
}

fn gather(call: &mut Call<'_>) -> Result<Outs> {
    let (x, ids) = (call.tensor("self")?, call.tensor("index")?);
    let dim = call.dim("dim", call.rank(x))?;
    one(gather_of(call, x, dim, ids)?)
}

fn take(call: &mut Call<'_>) -> Result<Outs> {
    let (x, ids) = (call.tensor("self")?, call.tensor("index")?);
    let flat = call.reshape(x, &[numel(&call.shape(x))])?;
    let ids = indices(call, ids)?;
    one(call.push(Op::Index { dims: vec![0] }, &[flat, ids])?)
}

/// Unlike in `gather`, negative indices count from the end.
fn take_along_dim(call: &mut Call<'_>) -> Result<Outs> {
    let (x, ids) = (call.tensor("self")?, call.tensor("indices")?);
    let dim = call.arg("dim").map(|_| call.dim("dim", call.rank(x))).transpose()?;
    let size = dim.map_or_else(|| numel(&call.shape(x)), |d| call.shape(x).get(d).cloned().unwrap_or(Expr::Int(1)));
    let ids = from_start(call, ids, &size)?;
    let Some(dim) = dim else {
        let flat = call.reshape(x, &[numel(&call.shape(x))])?;
        let line = call.reshape(ids, &[numel(&call.shape(ids))])?;
        return one(gather_of(call, flat, 0, line)?);
    };
    // All dims but `dim` broadcast.
    let (mut left, mut right) = (call.shape(x), call.shape(ids));
    if left.len() != right.len() || left.is_empty() {
        return Err(call.damaged("`take_along_dim` needs tensors of equal rank"));
    }
    let (n, k) = (left[dim].clone(), right[dim].clone());
    left[dim] = Expr::Int(1);
    right[dim] = Expr::Int(1);
    let mut shape = infer::broadcast(&[left, right]).map_err(|m| call.damaged(m))?;
    shape[dim] = n;
    let x = call.expand(x, &shape)?;
    shape[dim] = k;
    let ids = call.expand(ids, &shape)?;
    one(gather_of(call, x, dim, ids)?)
}

/// Indices of a dim of this size, counted from its start.
pub(super) fn from_start(call: &mut Call<'_>, ids: ValueId, size: &Expr) -> Result<ValueId> {
    let dtype = call.dtype_of(ids);
    let mut formula = Formula::new(&[dtype]);
    formula.sizes.push(size.clone());
    let (id, size) = (formula.param(0), formula.push(ExprNode::Size(0)));
    let (size, zero) = (formula.cast(dtype, size), formula.int(dtype, 0));
    let (negative, shifted) = (formula.binary(Binary::Lt, id, zero), formula.binary(Binary::Add, id, size));
    let result = formula.select(negative, shifted, id);
    formula.results.push(result);
    call.pointwise(formula, &[ids])
}

/// A number as a literal of this dtype.
fn literal(call: &Call<'_>, f: &mut Formula, dtype: DType, value: &Number) -> Result<ExprId> {
    let value = match value {
        Number::Float(v) => Literal::float(*v),
        Number::Int(Expr::Int(v)) => Literal::Int(*v),
        Number::Bool(Expr::Bool(v)) => Literal::Bool(*v),
        _ => return Err(call.unsupported("a value that depends on the input sizes")),
    };
    let from = match value {
        Literal::Float(_) => DType::F64,
        Literal::Int(_) => DType::I64,
        Literal::Bool(_) => DType::Bool,
    };
    let constant = f.push(ExprNode::Const(from, value));
    Ok(f.cast(dtype, constant))
}

/// A tensor filled with a number.
pub(super) fn filled(call: &mut Call<'_>, dtype: DType, shape: &[Expr], value: &Number) -> Result<ValueId> {
    let mut formula = Formula::new(&[]);
    let value = literal(call, &mut formula, dtype, value)?;
    formula.results.push(value);
    call.push(Op::Pointwise { formula, shape: shape.to_vec() }, &[])
}

/// Argument `name`, a tensor or a number, as a tensor of this dtype; numbers get this shape.
pub(super) fn source(call: &mut Call<'_>, name: &str, dtype: DType, shape: &[Expr]) -> Result<ValueId> {
    match call.operand(name)? {
        crate::import::Operand::Tensor(v) => call.cast(v, dtype),
        crate::import::Operand::Number(n) => filled(call, dtype, shape, &n),
    }
}

/// Coordinates of the elements that are not zero, `[u0, rank]`. Their number is read from data: it becomes the symbol that
/// the archive recorded for dim `at` of the result.
fn true_coordinates(call: &mut Call<'_>, x: ValueId, at: usize) -> Result<ValueId> {
    let Some(symbol) = call.recorded_symbol(at) else {
        return Err(call.unsupported("a selection whose size the archive does not record as a symbol of its own"));
    };
    let dtype = call.dtype_of(x);
    let mask = match dtype {
        DType::Bool => x,
        _ => super::map(call, &[x], |f, p| {
            let zero = if dtype.is_float() { f.float(dtype, 0.0) } else { f.int(dtype, 0) };
            f.binary(Binary::Ne, p[0], zero)
        })?,
    };
    let results = call.push_all(Op::Nonzero, &[mask])?;
    let [coordinates, count] = results[..] else { return Err(call.damaged("no coordinates")) };
    call.bind_item(count, &symbol)?;
    call.slice(coordinates, 0, Expr::Int(0), Expr::Symbol(symbol), 1)
}

/// The only index, if it is a mask: coordinates of its true elements, for as many dims as it has.
fn masked(call: &mut Call<'_>, given: &[Option<ValueId>]) -> Result<Option<Indexed>> {
    let mut present = given.iter().enumerate().filter_map(|(dim, id)| Some((dim, (*id)?)));
    let (Some((first, mask)), None) = (present.next(), present.next()) else { return Ok(None) };
    if !matches!(call.dtype_of(mask), DType::Bool | DType::U8) {
        return Ok(None);
    }
    let coordinates = true_coordinates(call, mask, first)?;
    let dims = (first..first + call.rank(mask)).collect();
    Ok(Some(Indexed { dims, ids: columns(call, coordinates)? }))
}

/// The columns of a matrix, as vectors.
fn columns(call: &mut Call<'_>, matrix: ValueId) -> Result<Vec<ValueId>> {
    let count = call.shape(matrix)[1].as_int().unwrap_or(0);
    (0..count).map(|k| view::take(call, matrix, 1, Expr::Int(k))).collect()
}

/// `nonzero` as one tensor for each dim; a number without dims counts as a vector.
fn nonzero_columns(call: &mut Call<'_>, name: &str) -> Result<Outs> {
    let x = call.tensor(name)?;
    let x = line(call, x)?;
    let coordinates = true_coordinates(call, x, 0)?;
    Ok(vec![Out::Tensors(columns(call, coordinates)?)])
}

/// What a mask selects, in one row.
fn masked_select(call: &mut Call<'_>) -> Result<Outs> {
    let (x, mask) = (call.tensor("self")?, call.tensor("mask")?);
    let shape = infer::broadcast(&[call.shape(x), call.shape(mask)]).map_err(|m| call.damaged(m))?;
    let (x, mask) = (call.expand(x, &shape)?, call.expand(mask, &shape)?);
    let flat = [numel(&shape)];
    let (x, mask) = (call.reshape(x, &flat)?, call.reshape(mask, &flat)?);
    let coordinates = true_coordinates(call, mask, 0)?;
    let at = view::take(call, coordinates, 1, Expr::Int(0))?;
    one(call.push(Op::Index { dims: vec![0] }, &[x, at])?)
}

fn nonzero(call: &mut Call<'_>) -> Result<Outs> {
    let x = call.tensor("self")?;
    one(true_coordinates(call, x, 0)?)
}

/// The dims that index tensors are given for, and the tensors, broadcast against each other.
struct Indexed {
    dims: Vec<usize>,
    ids: Vec<ValueId>,
}

fn indexed(call: &mut Call<'_>, x: ValueId, given: Vec<Option<ValueId>>) -> Result<Indexed> {
    let rank = call.shape(x).len();
    if given.len() > rank {
        return Err(call.damaged(format!("indices for {} dims of a tensor of {rank}", given.len())));
    }
    let mut found = Indexed { dims: Vec::new(), ids: Vec::new() };
    for (dim, id) in given.into_iter().enumerate() {
        let Some(id) = id else { continue };
        if matches!(call.dtype_of(id), DType::Bool | DType::U8) {
            return Err(call
                .unsupported("selection by a mask together with other indices, or writing what a mask selects")
                .help("use `torch.where`, or multiply by the mask"));
        }
        found.dims.push(dim);
        found.ids.push(indices(call, id)?);
    }
    let shapes: Vec<Vec<Expr>> = found.ids.iter().map(|&v| call.shape(v)).collect();
    let shape = infer::broadcast(&shapes).map_err(|m| call.damaged(m))?;
    let mixed = found.ids.iter().any(|&v| call.dtype_of(v) == DType::I64);
    for id in &mut found.ids {
        if mixed {
            *id = call.cast(*id, DType::I64)?;
        }
        *id = call.expand(*id, &shape)?;
    }
    Ok(found)
}

fn index(call: &mut Call<'_>) -> Result<Outs> {
    let x = call.tensor("self")?;
    let given = call.optional_tensors("indices")?;
    let Indexed { dims, ids } = match masked(call, &given)? {
        Some(masked) => masked,
        None => indexed(call, x, given)?,
    };
    if dims.is_empty() {
        return one(x);
    }
    one(call.push(Op::Index { dims }, &[&[x], ids.as_slice()].concat())?)
}

/// `x` with `values` (expanded) written where the index tensors say.
fn put(call: &mut Call<'_>, x: ValueId, at: Indexed, values: ValueId, accumulate: bool) -> Result<ValueId> {
    let values = call.cast(values, call.dtype_of(x))?;
    let index = at.ids.first().map(|&v| call.shape(v)).unwrap_or_default();
    let shape = infer::indexed_shape(&call.shape(x), &at.dims, &index);
    // Leading dims of size 1 are allowed in excess.
    let mut have = call.shape(values);
    while have.len() > shape.len() && have[0] == Expr::Int(1) {
        have.remove(0);
    }
    let values = call.reshape(values, &have)?;
    let values = call.expand(values, &shape)?;
    if accumulate && call.dtype_of(x) == DType::Bool {
        // A logical sum: any of them.
        let inputs = [call.cast(x, DType::I64)?, call.cast(values, DType::I64)?];
        let sums = call.push(Op::IndexPut { dims: at.dims, accumulate }, &[&inputs[..], &at.ids].concat())?;
        return call.cast(sums, DType::Bool);
    }
    call.push(Op::IndexPut { dims: at.dims, accumulate }, &[&[x, values], at.ids.as_slice()].concat())
}

fn index_put(call: &mut Call<'_>) -> Result<Outs> {
    let (x, values) = (call.tensor("self")?, call.tensor("values")?);
    let given = call.optional_tensors("indices")?;
    let accumulate = call.bool("accumulate")?;
    if let [Some(mask)] = given[..]
        && call.dtype_of(mask) == DType::Bool
    {
        return one(masked_put(call, x, mask, values, accumulate)?);
    }
    let at = indexed(call, x, given)?;
    if at.dims.is_empty() {
        let shape = call.shape(x);
        let values = call.cast(values, call.dtype_of(x))?;
        return one(call.expand(values, &shape)?);
    }
    one(put(call, x, at, values, accumulate)?)
}

/// The indices of `x`, those beyond the ends of a dim brought to them: where they are wrong, a mask says so.
fn limited(call: &mut Call<'_>, x: ValueId) -> Result<Indexed> {
    let mut given = call.optional_tensors("indices")?;
    for (index, size) in given.iter_mut().zip(call.shape(x)) {
        let Some(ids) = *index else { continue };
        let ids = call.cast(ids, DType::I64)?;
        let mut formula = Formula::new(&[DType::I64]);
        formula.sizes.push(size);
        let (size, one) = (formula.push(ExprNode::Size(0)), formula.int(DType::I64, 1));
        let (first, last) = (formula.unary(Unary::Neg, size), formula.binary(Binary::Sub, size, one));
        let id = formula.param(0);
        let id = formula.binary(Binary::Max, id, first);
        let id = formula.binary(Binary::Min, id, last);
        formula.results.push(id);
        *index = Some(call.pointwise(formula, &[ids])?);
    }
    indexed(call, x, given)
}

/// `x[indices]` where the mask is true, elsewhere a number.
fn masked_index(call: &mut Call<'_>) -> Result<Outs> {
    let (x, mask) = (call.tensor("self")?, call.tensor("mask")?);
    let (dtype, fill) = (call.dtype_of(x), call.number("fill")?);
    let Indexed { dims, ids } = limited(call, x)?;
    let index = ids.first().map(|&v| call.shape(v)).unwrap_or_default();
    let shape = infer::indexed_shape(&call.shape(x), &dims, &index);
    let fill = filled(call, dtype, &shape, &fill)?;
    if call.shape(x).contains(&Expr::Int(0)) {
        return one(fill);
    }
    let read = call.push(Op::Index { dims }, &[&[x], ids.as_slice()].concat())?;
    one(map(call, &[mask, read, fill], |f, p| f.select(p[0], p[1], p[2]))?)
}

/// `x[indices] += values` where the mask is true.
fn masked_put_accumulate(call: &mut Call<'_>) -> Result<Outs> {
    let (x, mask, values) = (call.tensor("self")?, call.tensor("mask")?, call.tensor("values")?);
    if call.shape(x).contains(&Expr::Int(0)) {
        return one(x);
    }
    let none = filled(call, call.dtype_of(values), &[], &Number::Int(Expr::Int(0)))?;
    let values = map(call, &[mask, values, none], |f, p| f.select(p[0], p[1], p[2]))?;
    let at = limited(call, x)?;
    one(put(call, x, at, values, true)?)
}

/// `x[mask] = values` for a value that is the same at every selected place.
fn masked_put(call: &mut Call<'_>, x: ValueId, mask: ValueId, values: ValueId, accumulate: bool) -> Result<ValueId> {
    let (mut lined, rank, covered) = (mask, call.rank(x), call.rank(mask));
    let row = call.shape(values);
    if covered > rank || row.len() > rank - covered && row != [Expr::Int(1)] {
        return Err(call.unsupported("as many values as a mask selects: their number depends on the data"));
    }
    for _ in covered..rank {
        lined = unsqueeze(call, lined, call.rank(lined))?;
    }
    let values = call.cast(values, call.dtype_of(x))?;
    map(call, &[x, lined, values], |f, p| {
        let sum = if f.dtype(p[0]) == DType::Bool { Binary::Or } else { Binary::Add };
        let new = if accumulate { f.binary(sum, p[0], p[2]) } else { p[2] };
        f.select(p[1], new, p[0])
    })
}

/// The `k`th selected place takes entry `k` of the source: places are counted, entries read by that number.
fn masked_scatter(call: &mut Call<'_>) -> Result<Outs> {
    let (x, mask, source) = (call.tensor("self")?, call.tensor("mask")?, call.tensor("source")?);
    if call.dtype_of(mask) != DType::Bool || call.dtype_of(source) != call.dtype_of(x) {
        return Err(call.damaged("a mask of booleans and a source of the same dtype are needed"));
    }
    let shape = infer::broadcast(&[call.shape(x), call.shape(mask)]).map_err(|m| call.damaged(m))?;
    let flat = [numel(&shape)];
    let (x, mask) = (call.expand(x, &shape)?, call.expand(mask, &shape)?);
    let line = call.reshape(mask, &flat)?;
    let ones = call.cast(line, DType::I64)?;
    let count = call.push(Op::Cumulative { kind: CumKind::Sum, dim: 0 }, &[ones])?;
    let number = map(call, &[count], |f, p| {
        let (one, zero) = (f.int(DType::I64, 1), f.int(DType::I64, 0));
        let number = f.binary(Binary::Sub, p[0], one);
        f.binary(Binary::Max, number, zero)
    })?;
    let source = call.reshape(source, &[numel(&call.shape(source))])?;
    let values = call.push(Op::Index { dims: vec![0] }, &[source, number])?;
    let values = call.reshape(values, &shape)?;
    one(map(call, &[mask, values, x], |f, p| f.select(p[0], p[1], p[2]))?)
}

/// The operand as a tensor with dims, `dim`, and the index tensor with one dim.
fn along(call: &mut Call<'_>) -> Result<(ValueId, usize, Indexed)> {
    let (x, ids) = (call.tensor("self")?, call.tensor("index")?);
    let dim = call.dim("dim", call.rank(x))?;
    let ids = indices(call, ids)?;
    let ids = line(call, ids)?;
    Ok((line(call, x)?, dim, Indexed { dims: vec![dim], ids: vec![ids] }))
}

fn index_add(call: &mut Call<'_>) -> Result<Outs> {
    let (x, _, at) = along(call)?;
    let shape = call.shape(call.tensor("self")?);
    let source = call.tensor("source")?;
    let mut source = line(call, source)?;
    let alpha = call.number("alpha")?;
    if !matches!(alpha, Number::Int(Expr::Int(1))) && alpha != Number::Float(1.0) {
        let dtype = call.dtype_of(source);
        let mut formula = Formula::new(&[dtype]);
        let p = formula.param(0);
        let factor = literal(call, &mut formula, dtype, &alpha)?;
        let product = if dtype == DType::Bool { Binary::And } else { Binary::Mul };
        let scaled = formula.binary(product, p, factor);
        formula.results.push(scaled);
        source = call.pointwise(formula, &[source])?;
    }
    let y = put(call, x, at, source, true)?;
    one(call.reshape(y, &shape)?)
}

fn index_copy(call: &mut Call<'_>) -> Result<Outs> {
    let (x, dim, at) = along(call)?;
    let shape = call.shape(call.tensor("self")?);
    let mut source = call.tensor("source")?;
    if call.rank(source) < call.rank(x) {
        source = unsqueeze(call, source, dim)?;
    }
    let y = put(call, x, at, source, false)?;
    one(call.reshape(y, &shape)?)
}

fn index_fill(call: &mut Call<'_>) -> Result<Outs> {
    let (x, _, at) = along(call)?;
    let shape = call.shape(call.tensor("self")?);
    let dtype = call.dtype_of(x);
    let value = source(call, "value", dtype, &[])?;
    let y = put(call, x, at, value, false)?;
    one(call.reshape(y, &shape)?)
}
