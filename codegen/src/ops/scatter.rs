//! Scattering with all its reductions, and what is written back where a maximum came from.

use super::index::{filled, from_start, indices, line, source};
use super::view::{numel, one_dim};
use super::{Outs, Row, map, one, row};
use crate::diag::Diagnostic;
use crate::import::{Call, Number};
use crate::ir::{Binary, Op, ScatterKind, ValueId};
use crate::sym::Expr;
use exported_runtime::DType;

type Result<T> = std::result::Result<T, Diagnostic>;

/// The rows.
pub const ROWS: &[Row] = &[
    row("aten.scatter.src", |call| plain(call, "src", ScatterKind::Set)),
    row("aten.scatter.value", |call| plain(call, "value", ScatterKind::Set)),
    row("aten.scatter.reduce", |call| named(call, "src")),
    row("aten.scatter.value_reduce", |call| named(call, "value")),
    row("aten.scatter_add.default", |call| plain(call, "src", ScatterKind::Add)),
    row("aten.scatter_reduce.two", scatter_reduce),
    row("aten.put.default", put),
    row("aten.index_reduce.default", index_reduce),
    row("aten.max_unpool2d.default", |call| unpool(call, 2)),
    row("aten.max_unpool3d.default", |call| unpool(call, 3)),
];

/// Where to write what: an operand with dims, the dim, indices and values of their shape.
struct Writes {
    x: ValueId,
    dim: usize,
    ids: ValueId,
    values: ValueId,
}

impl Writes {
    fn apply(&self, call: &mut Call<'_>, kind: ScatterKind) -> Result<ValueId> {
        // Truth values have a logical sum and product.
        let kind = match kind {
            ScatterKind::Add if call.dtype_of(self.x) == DType::Bool => ScatterKind::Max,
            ScatterKind::Mul if call.dtype_of(self.x) == DType::Bool => ScatterKind::Min,
            kind => kind,
        };
        call.push(Op::Scatter { dim: self.dim, kind }, &[self.x, self.ids, self.values])
    }

    /// The same places of `x`, all with one number.
    fn fill(&self, call: &mut Call<'_>, x: ValueId, kind: ScatterKind, value: &Number) -> Result<ValueId> {
        let (dtype, shape) = (call.dtype_of(x), call.shape(self.ids));
        let values = filled(call, dtype, &shape, value)?;
        Writes { x, dim: self.dim, ids: self.ids, values }.apply(call, kind)
    }
}

/// The arguments of `scatter`; numbers become as many values as there are indices.
fn writes(call: &mut Call<'_>, name: &str) -> Result<Writes> {
    let (x, ids) = (call.tensor("self")?, call.tensor("index")?);
    let dim = call.dim("dim", call.rank(x))?;
    let ids = indices(call, ids)?;
    let (dtype, shape) = (call.dtype_of(x), call.shape(ids));
    let mut values = source(call, name, dtype, &shape)?;
    // Only the part of the source that the index covers counts.
    if call.rank(values) == shape.len() {
        for (d, size) in shape.iter().enumerate() {
            values = call.slice(values, d, Expr::Int(0), size.clone(), 1)?;
        }
    }
    Ok(Writes { x: line(call, x)?, dim, ids: line(call, ids)?, values: line(call, values)? })
}

/// The result with the shape of `self`.
fn finished(call: &mut Call<'_>, y: ValueId) -> Result<Outs> {
    let shape = call.shape(call.tensor("self")?);
    one(call.reshape(y, &shape)?)
}

fn plain(call: &mut Call<'_>, name: &str, kind: ScatterKind) -> Result<Outs> {
    let writes = writes(call, name)?;
    let y = writes.apply(call, kind)?;
    finished(call, y)
}

fn named(call: &mut Call<'_>, name: &str) -> Result<Outs> {
    let kind = match call.str("reduce")? {
        "add" => ScatterKind::Add,
        "multiply" => ScatterKind::Mul,
        other => return Err(call.damaged(format!("reduction `{other}`"))),
    };
    plain(call, name, kind)
}

fn scatter_reduce(call: &mut Call<'_>) -> Result<Outs> {
    let writes = writes(call, "src")?;
    let y = reduced(call, &writes)?;
    finished(call, y)
}

/// Into the tensor as one row; negative indices count from its end.
fn put(call: &mut Call<'_>) -> Result<Outs> {
    let (x, ids, values) = (call.tensor("self")?, call.tensor("index")?, call.tensor("source")?);
    let (size, count) = (numel(&call.shape(x)), numel(&call.shape(ids)));
    let ids = indices(call, ids)?;
    let ids = from_start(call, ids, &size)?;
    let [x, ids, values] = [(x, size), (ids, count.clone()), (values, count)].map(|(v, n)| call.reshape(v, &[n]));
    let writes = Writes { x: x?, dim: 0, ids: ids?, values: values? };
    let y = writes.apply(call, if call.bool("accumulate")? { ScatterKind::Add } else { ScatterKind::Set })?;
    finished(call, y)
}

/// Rows of the source, each written by its own index.
fn index_reduce(call: &mut Call<'_>) -> Result<Outs> {
    let (x, ids) = (call.tensor("self")?, call.tensor("index")?);
    let dim = call.dim("dim", call.rank(x))?;
    let (ids, values) = (indices(call, ids)?, call.tensor("source")?);
    let (x, values) = (line(call, x)?, line(call, values)?);
    let shape = call.shape(values);
    let ids = call.reshape(ids, &one_dim(shape.len(), dim, numel(&call.shape(ids))))?;
    let writes = Writes { x, dim, ids: call.expand(ids, &shape)?, values };
    let y = reduced(call, &writes)?;
    finished(call, y)
}

/// As argument `reduce` says. Without `include_self`, places that are written begin with the neutral element; the mean
/// divides by how many values met, integers rounding down.
fn reduced(call: &mut Call<'_>, writes: &Writes) -> Result<ValueId> {
    let dtype = call.dtype_of(writes.x);
    let (kind, neutral) = match call.str("reduce")? {
        "sum" | "mean" => (ScatterKind::Add, Number::Int(Expr::Int(0))),
        "prod" => (ScatterKind::Mul, Number::Int(Expr::Int(1))),
        "amax" => (ScatterKind::Max, extreme(dtype, false)),
        "amin" => (ScatterKind::Min, extreme(dtype, true)),
        other => return Err(call.damaged(format!("reduction `{other}`"))),
    };
    let (mean, include_self) = (call.str("reduce")? == "mean", call.bool("include_self")?);
    let x = if include_self { writes.x } else { writes.fill(call, writes.x, ScatterKind::Set, &neutral)? };
    let total = Writes { x, ..*writes }.apply(call, kind)?;
    if !mean {
        return Ok(total);
    }
    let shape = call.shape(writes.x);
    let start = filled(call, DType::I64, &shape, &Number::Int(Expr::Int(i64::from(include_self))))?;
    let count = writes.fill(call, start, ScatterKind::Add, &Number::Int(Expr::Int(1)))?;
    map(call, &[total, count], |f, p| {
        let one = f.int(DType::I64, 1);
        let count = f.binary(Binary::Max, p[1], one);
        let count = f.cast(dtype, count);
        f.binary(if dtype.is_float() { Binary::Div } else { Binary::FloorDiv }, p[0], count)
    })
}

/// The greatest or least value of a dtype.
fn extreme(dtype: DType, greatest: bool) -> Number {
    let bits = dtype.size() as u32 * 8;
    let int = |v: i64| Number::Int(Expr::Int(v));
    match dtype {
        DType::Bool => Number::Bool(Expr::Bool(greatest)),
        d if d.is_float() => Number::Float(if greatest { f64::INFINITY } else { f64::NEG_INFINITY }),
        DType::U8 | DType::U16 | DType::U32 => int(if greatest { (1 << bits) - 1 } else { 0 }),
        DType::U64 => int(if greatest { -1 } else { 0 }),
        _ => int(if greatest { i64::MAX >> (64 - bits) } else { i64::MIN >> (64 - bits) }),
    }
}

/// Zeros, with every value where its index among the spatial positions says.
fn unpool(call: &mut Call<'_>, spatial: usize) -> Result<Outs> {
    let (x, ids) = (call.tensor("self")?, call.tensor("indices")?);
    let (shape, sizes) = (call.shape(x), call.sym_ints("output_size")?);
    let Some(lead) = shape.len().checked_sub(spatial).filter(|lead| *lead > 0 && sizes.len() == spatial) else {
        return Err(call.damaged(format!("unpooling of {} to {} dims", call.ty(x), sizes.len())));
    };
    let images = numel(&shape[..lead]);
    let flat = [images.clone(), numel(&shape[lead..])];
    let (values, ids) = (call.reshape(x, &flat)?, call.reshape(ids, &flat)?);
    let zeros = filled(call, call.dtype_of(x), &[images, numel(&sizes)], &Number::Int(Expr::Int(0)))?;
    let y = Writes { x: zeros, dim: 1, ids, values }.apply(call, ScatterKind::Set)?;
    one(call.reshape(y, &[&shape[..lead], sizes.as_slice()].concat())?)
}
