//! Tensors that are formulas of their coordinates: fills, ranges, triangles.

use super::{Build, Result, literal, promote, row};
use crate::import::{Arg, Call, Number, Operand};
use crate::ir::{Binary, ExprId, ExprNode, Literal, Unary};
use crate::ops::{Outs, Row, one};
use crate::sym::Expr;
use exported_runtime::DType;

const EMPTY: &str = "zeros, where torch leaves memory as it is";

/// The rows.
pub const ROWS: &[Row] = &[
    row("aten.full.default", |c| {
        let value = c.number("fill_value")?;
        let dtype = c.dtype("dtype")?.unwrap_or(promote::number_dtype(&value));
        fill(c, &value, dtype, c.sym_ints("size")?)
    }),
    row("aten.zeros.default", |c| sized(c, 0)),
    row("aten.ones.default", |c| sized(c, 1)),
    row("aten.empty.memory_format", |c| sized(c, 0)).noted(EMPTY),
    row("aten.empty_strided.default", |c| sized(c, 0)).noted(EMPTY),
    row("aten.empty_permuted.default", |c| sized(c, 0)).noted(EMPTY),
    row("aten.full_like.default", |c| like(c, &c.number("fill_value")?)),
    row("aten.zeros_like.default", |c| like(c, &int(0))),
    row("aten.ones_like.default", |c| like(c, &int(1))),
    row("aten.empty_like.default", |c| like(c, &int(0))).noted(EMPTY),
    row("aten.new_full.default", |c| new(c, &c.number("fill_value")?)),
    row("aten.new_zeros.default", |c| new(c, &int(0))),
    row("aten.new_ones.default", |c| new(c, &int(1))),
    row("aten.new_empty.default", |c| new(c, &int(0))).noted(EMPTY),
    row("aten.new_empty_strided.default", |c| new(c, &int(0))).noted(EMPTY),
    row("aten.zero.default", |c| like(c, &int(0))),
    row("aten.fill.Scalar", |c| like(c, &c.number("value")?)),
    row("aten.fill.Tensor", |c| copy(c, "value")),
    row("aten.copy.default", |c| copy(c, "src")),
    row("aten.scalar_tensor.default", |c| {
        let dtype = c.dtype("dtype")?.unwrap_or(DType::F32);
        fill(c, &c.number("s")?, dtype, Vec::new())
    }),
    row("aten.arange.default", |c| arange(c, int(0), int(1))),
    row("aten.arange.start", |c| arange(c, c.number("start")?, int(1))),
    row("aten.arange.start_step", |c| arange(c, c.number("start")?, c.number("step")?)),
    row("aten.linspace.default", linspace),
    row("aten.linspace.Tensor_Tensor", linspace),
    row("aten.linspace.Tensor_Scalar", linspace),
    row("aten.linspace.Scalar_Tensor", linspace),
    row("aten.logspace.default", logspace),
    row("aten.logspace.Tensor_Tensor", logspace),
    row("aten.logspace.Tensor_Scalar", logspace),
    row("aten.logspace.Scalar_Tensor", logspace),
    row("aten.eye.default", |c| eye(c, "n")),
    row("aten.eye.m", |c| eye(c, "m")),
    row("aten.tril.default", |c| triangle(c, Binary::Le)),
    row("aten.triu.default", |c| triangle(c, Binary::Ge)),
    row("aten.tril_indices.default", |c| triangle_indices(c, |row, column, offset| column <= row + offset)),
    row("aten.triu_indices.default", |c| triangle_indices(c, |row, column, offset| column >= row + offset)),
    row("aten.one_hot.default", one_hot)
        .noted("`num_classes` must be given; a class outside of it gives a row of zeros"),
];

fn int(value: i64) -> Number {
    Number::Int(Expr::Int(value))
}

fn fill(call: &mut Call<'_>, value: &Number, dtype: DType, shape: Vec<Expr>) -> Result<Outs> {
    let mut b = Build::new();
    let value = b.number(call, value, dtype)?;
    b.finish_as(call, value, dtype, shape)
}

fn sized(call: &mut Call<'_>, value: i64) -> Result<Outs> {
    let dtype = call.dtype("dtype")?.unwrap_or(DType::F32);
    fill(call, &int(value), dtype, call.sym_ints("size")?)
}

/// Shape of `self`, and its dtype unless another is asked for.
fn like(call: &mut Call<'_>, value: &Number) -> Result<Outs> {
    let x = call.tensor("self")?;
    let dtype = call.dtype("dtype")?.unwrap_or(call.dtype_of(x));
    fill(call, value, dtype, call.shape(x))
}

/// A shape of its own, the dtype of `self` unless another is asked for.
fn new(call: &mut Call<'_>, value: &Number) -> Result<Outs> {
    let x = call.tensor("self")?;
    let dtype = call.dtype("dtype")?.unwrap_or(call.dtype_of(x));
    fill(call, value, dtype, call.sym_ints("size")?)
}

/// The other tensor in dtype and shape of `self`.
fn copy(call: &mut Call<'_>, from: &str) -> Result<Outs> {
    let (x, from) = (call.tensor("self")?, call.tensor(from)?);
    let (dtype, shape) = (call.dtype_of(x), call.shape(x));
    let from = call.cast(from, dtype)?;
    one(call.expand(from, &shape)?)
}

/// Rows and columns of the entries of a triangle, row by row.
fn triangle_indices(call: &mut Call<'_>, inside: fn(i64, i64, i64) -> bool) -> Result<Outs> {
    let (rows, columns, offset) = (call.int("row")?, call.int("col")?, call.int("offset")?);
    let all = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
    let (rows, columns): (Vec<i64>, Vec<i64>) = all.filter(|(row, column)| inside(*row, *column, offset)).unzip();
    let bytes = rows.iter().chain(&columns).flat_map(|v| v.to_le_bytes()).collect();
    let indices = call.constant(DType::I64, &[2, rows.len()], bytes)?;
    // The schema's default is a number of torch's own list of dtypes.
    let given = matches!(call.arg("dtype"), Some(Arg::Dtype(_)));
    let dtype = if given { call.dtype("dtype")?.unwrap_or(DType::I64) } else { DType::I64 };
    one(call.cast(indices, dtype)?)
}

/// The coordinate along `axis`.
fn coordinate(b: &mut Build, axis: usize, dtype: DType) -> ExprId {
    let i = b.f.push(ExprNode::Coord(axis as u32));
    b.f.cast(dtype, i)
}

/// `start + i * step`, floats in f64 as PyTorch does; of an integer dtype, start and step are truncated first.
fn arange(call: &mut Call<'_>, start: Number, step: Number) -> Result<Outs> {
    let end = call.number("end")?;
    let whole = [&start, &end, &step].iter().all(|n| matches!(n, Number::Int(_) | Number::Bool(_)));
    let dtype = call.dtype("dtype")?.unwrap_or(if whole { DType::I64 } else { DType::F32 });
    let len = arange_len(call, &start, &end, &step)?;
    let computed = if dtype.is_float() { DType::F64 } else { DType::I64 };
    let mut b = Build::new();
    let i = coordinate(&mut b, 0, computed);
    let (first, step) = (b.number(call, &start, computed)?, b.number(call, &step, computed)?);
    let distance = b.mul(i, step);
    let value = b.add(first, distance);
    b.finish_as(call, value, dtype, vec![len])
}

fn arange_len(call: &Call<'_>, start: &Number, end: &Number, step: &Number) -> Result<Expr> {
    if let (Number::Int(start), Number::Int(end), Number::Int(step)) = (start, end, step) {
        return match step.as_int() {
            Some(0) => Err(call.damaged("a range with step 0")),
            // ceil(d / s) = -floor(-d / s)
            Some(s) => Ok(Expr::neg(Expr::floordiv(Expr::sub(start.clone(), end.clone()), s))),
            None => Err(call.unsupported("a range whose step depends on the input sizes")),
        };
    }
    let [start, end, step] = [start, end, step].map(known);
    match (start, end, step) {
        (Some(start), Some(end), Some(step)) if step != 0.0 => {
            Ok(Expr::Int(((end - start) / step).ceil().max(0.0) as i64))
        }
        _ => Err(call.unsupported("a range of floats that depends on the input sizes")),
    }
}

/// The value of a number known at build time.
fn known(number: &Number) -> Option<f64> {
    match number {
        Number::Int(e) => e.as_int().map(|v| v as f64),
        Number::Float(v) => Some(*v),
        Number::Bool(e) => e.as_bool().map(|b| f64::from(u8::from(b))),
        Number::SymFloat(_) => None,
    }
}

/// Counted from the nearer end, so that both ends are exact.
fn linspace(call: &mut Call<'_>) -> Result<Outs> {
    let dtype = call.dtype("dtype")?.unwrap_or(DType::F32);
    let (mut b, value, steps) = spaced(call, dtype)?;
    let value = b.f.cast(dtype, value);
    b.finish_as(call, value, dtype, vec![Expr::Int(steps)])
}

fn logspace(call: &mut Call<'_>) -> Result<Outs> {
    let dtype = call.dtype("dtype")?.unwrap_or(DType::F32);
    let base = call.float("base")?;
    let (mut b, exponent, steps) = spaced(call, dtype)?;
    let base = b.float(exponent, base);
    let value = b.bin(Binary::Pow, base, exponent);
    b.finish_as(call, value, dtype, vec![Expr::Int(steps)])
}

/// Values of `steps` evenly spaced numbers. The ends are numbers or single elements.
fn spaced(call: &mut Call<'_>, dtype: DType) -> Result<(Build, ExprId, i64)> {
    let steps = call.int("steps")?;
    if steps < 0 {
        return Err(call.damaged(format!("{steps} steps")));
    }
    // Floats step in their own (computing) type, integers in f64 from one whole number to another.
    let computed = if dtype == DType::F64 || !dtype.is_float() { DType::F64 } else { DType::F32 };
    let mut b = Build::new();
    let [start, end] = ["start", "end"].map(|name| {
        let value = spaced_end(&mut b, call, name, computed)?;
        Ok(if dtype.is_float() { value } else { b.un(Unary::Trunc, value) })
    });
    let (start, end) = (start?, end?);
    let span = b.sub(end, start);
    let gaps = b.f.float(computed, (steps - 1).max(1) as f64);
    let step = b.div(span, gaps);
    let i = b.f.push(ExprNode::Coord(0));
    let (middle, last) = (b.f.int(DType::I64, steps / 2), b.f.int(DType::I64, (steps - 1).max(0)));
    let near = b.bin(Binary::Lt, i, middle);
    let rest = b.sub(last, i);
    let (i, rest) = (b.f.cast(computed, i), b.f.cast(computed, rest));
    let (up, down) = (b.mul(i, step), b.mul(rest, step));
    let (from_start, from_end) = (b.add(start, up), b.sub(end, down));
    // A single step is the start.
    let value = if steps == 1 { start } else { b.f.select(near, from_start, from_end) };
    Ok((b, value, steps))
}

fn spaced_end(b: &mut Build, call: &Call<'_>, name: &str, computed: DType) -> Result<ExprId> {
    match call.operand(name)? {
        Operand::Tensor(v) if call.rank(v) == 0 => {
            let x = b.raw(call, v);
            Ok(b.f.cast(computed, x))
        }
        Operand::Tensor(v) => Err(call.damaged(format!("an end of {}", call.ty(v)))),
        Operand::Number(n) => b.number(call, &n, computed),
    }
}

fn eye(call: &mut Call<'_>, columns: &str) -> Result<Outs> {
    let dtype = call.dtype("dtype")?.unwrap_or(DType::F32);
    let shape = vec![call.sym_int("n")?, call.sym_int(columns)?];
    let mut b = Build::new();
    let (i, j) = (b.f.push(ExprNode::Coord(0)), b.f.push(ExprNode::Coord(1)));
    let diagonal = b.bin(Binary::Eq, i, j);
    b.finish_as(call, diagonal, dtype, shape)
}

/// Elements with `column - row (op) diagonal`, zero elsewhere.
fn triangle(call: &mut Call<'_>, op: Binary) -> Result<Outs> {
    let x = call.tensor("self")?;
    let (dtype, rank) = (call.dtype_of(x), call.rank(x));
    if rank < 2 {
        return Err(call.damaged(format!("a triangle of a tensor with {rank} dims")));
    }
    let mut b = Build::new();
    let value = b.raw(call, x);
    let (i, j) = (b.f.push(ExprNode::Coord(rank as u32 - 2)), b.f.push(ExprNode::Coord(rank as u32 - 1)));
    let offset = b.sub(j, i);
    let diagonal = b.number(call, &call.number("diagonal")?, DType::I64)?;
    let kept = b.bin(op, offset, diagonal);
    let zero = b.f.push(literal(dtype, 0.0, 0));
    let value = b.f.select(kept, value, zero);
    b.finish(call, value, dtype)
}

fn one_hot(call: &mut Call<'_>) -> Result<Outs> {
    let x = call.tensor("self")?;
    let classes = call.sym_int("num_classes")?;
    if classes.as_int().is_some_and(|n| n < 1) {
        return Err(call
            .unsupported("`one_hot` whose number of classes depends on the data")
            .help("give `num_classes`"));
    }
    let mut shape = call.shape(x);
    let axis = shape.len();
    shape.push(Expr::Int(1));
    let column = call.reshape(x, &shape)?;
    shape[axis] = classes;
    let mut b = Build::new();
    let value = b.raw(call, column);
    let value = b.f.cast(DType::I64, value);
    let class = b.f.push(ExprNode::Coord(axis as u32));
    let hit = b.bin(Binary::Eq, value, class);
    let (yes, no) = (b.f.push(ExprNode::Const(DType::I64, Literal::Int(1))), b.f.int(DType::I64, 0));
    let value = b.f.select(hit, yes, no);
    b.finish_as(call, value, DType::I64, shape)
}
