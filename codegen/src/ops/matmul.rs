//! Matrix products: `linear` and `matmul` with all their rank cases, and the `addmm` family.
//!
//! Everything becomes [`Op::Linear`] or [`Op::MatMul`] between views; factors and addends are pointwise nodes, which the
//! epilogue pass takes into the product where it can.

use super::{Outs, Row, map, one, row};
use crate::diag::Diagnostic;
use crate::import::{Call, Number};
use crate::ir::{Binary, Epilogue, Op, ValueId, infer};
use crate::sym::Expr;
use exported_runtime::DType;

type Result<T> = std::result::Result<T, Diagnostic>;

/// The rows.
pub const ROWS: &[Row] = &[
    row("aten.linear.default", linear),
    row("aten.matmul.default", |c| of_two(c, "self", "other", matmul)),
    row("aten.linalg_matmul.default", |c| of_two(c, "self", "other", matmul)),
    row("aten.mm.default", |c| of_two(c, "self", "mat2", matmul)),
    row("aten.bmm.default", |c| of_two(c, "self", "mat2", matmul)),
    row("aten._int_mm.default", |c| of_two(c, "self", "mat2", in_words)),
    row("aten.mv.default", |c| of_two(c, "self", "vec", matmul)),
    row("aten.dot.default", |c| of_two(c, "self", "tensor", matmul)),
    row("aten.vdot.default", |c| of_two(c, "self", "other", matmul)),
    row("aten.inner.default", |c| of_two(c, "self", "other", inner)),
    row("aten.addmm.default", |c| add_product(c, "mat1", "mat2")),
    row("aten.addmv.default", |c| add_product(c, "mat", "vec")),
    row("aten.baddbmm.default", |c| add_product(c, "batch1", "batch2")),
    row("aten.addbmm.default", add_products),
    row("aten.addr.default", add_outer),
    row("aten.outer.default", |c| of_two(c, "self", "vec2", outer)),
    row("aten.ger.default", |c| of_two(c, "self", "vec2", outer)),
    row("aten.bilinear.default", bilinear),
];

fn of_two(
    call: &mut Call<'_>,
    a: &str,
    b: &str,
    f: fn(&mut Call<'_>, ValueId, ValueId) -> Result<ValueId>,
) -> Result<Outs> {
    let (a, b) = (call.tensor(a)?, call.tensor(b)?);
    one(f(call, a, b)?)
}

/// A product of bytes, summed in 32 bits.
fn in_words(call: &mut Call<'_>, a: ValueId, b: ValueId) -> Result<ValueId> {
    let (a, b) = (call.cast(a, DType::I32)?, call.cast(b, DType::I32)?);
    matmul(call, a, b)
}

fn linear(call: &mut Call<'_>) -> Result<Outs> {
    let (x, weight) = (call.tensor("input")?, call.tensor("weight")?);
    let bias = call.optional_tensor("bias")?;
    if call.rank(weight) == 1 {
        let y = matmul(call, x, weight)?;
        return one(match bias {
            Some(bias) => map(call, &[y, bias], |f, p| f.binary(Binary::Add, p[0], p[1]))?,
            None => y,
        });
    }
    if call.rank(x) == 0 {
        return Err(call.damaged("a linear layer of a scalar"));
    }
    let vector = bias.filter(|&b| call.rank(b) == 1);
    let dtype = call.dtype_of(x);
    if let (Some(bias), DType::F16 | DType::Bf16) = (vector, dtype)
        && super::conv::is_computed(call, bias)
    {
        // The sum takes its bias in f32, which only a constant can be beforehand.
        let inputs = [x, weight, bias].map(|v| call.cast(v, DType::F32));
        let [x, weight, bias] = inputs;
        let y = call.push(Op::Linear(Epilogue::with_bias(true)), &[x?, weight?, bias?])?;
        return one(call.cast(y, dtype)?);
    }
    let inputs: Vec<ValueId> = [Some(x), Some(weight), vector].into_iter().flatten().collect();
    let y = call.push(Op::Linear(Epilogue::with_bias(vector.is_some())), &inputs)?;
    match bias.filter(|b| vector.is_none_or(|v| v != *b)) {
        Some(bias) => one(map(call, &[y, bias], |f, p| f.binary(Binary::Add, p[0], p[1]))?),
        None => one(y),
    }
}

/// `torch.matmul`: vectors become matrices for the time of the product, batch dims broadcast. A left operand with batch
/// dims and a right one without is one tall matrix.
pub(super) fn matmul(call: &mut Call<'_>, a: ValueId, b: ValueId) -> Result<ValueId> {
    let (rank_a, rank_b) = (call.rank(a), call.rank(b));
    if rank_a == 0 || rank_b == 0 {
        return Err(call.damaged("a matrix product of a scalar"));
    }
    let one = Expr::Int(1);
    let (mut left, mut right) = (call.shape(a), call.shape(b));
    if rank_a == 1 {
        left.insert(0, one.clone());
    }
    if rank_b == 1 {
        right.push(one);
    }
    let (m, n) = (left[left.len() - 2].clone(), right[right.len() - 1].clone());
    let (k, inner) = (left[left.len() - 1].clone(), right[right.len() - 2].clone());
    if k != inner {
        return Err(call.damaged(format!("matrix product of {} and {}", call.ty(a), call.ty(b))));
    }
    let batches = [left[..left.len() - 2].to_vec(), right[..right.len() - 2].to_vec()];
    let batch = infer::broadcast(&batches).map_err(|m| call.damaged(m))?;
    let product = if right.len() == 2 {
        let rows = Expr::product(left[..left.len() - 1].iter().cloned());
        let (a, b) = (call.reshape(a, &[rows, k])?, call.reshape(b, &right)?);
        call.push(Op::MatMul(Epilogue::default()), &[a, b])?
    } else {
        // Two batch dims are what the kernel walks; more become one.
        let flat = if batch.len() > 2 { vec![Expr::product(batch.iter().cloned())] } else { batch.clone() };
        let a = broadcast(call, a, &left, &batch, &flat)?;
        let b = broadcast(call, b, &right, &batch, &flat)?;
        call.push(Op::MatMul(Epilogue::default()), &[a, b])?
    };
    let mut shape = batch;
    shape.extend((rank_a > 1).then_some(m));
    shape.extend((rank_b > 1).then_some(n));
    call.reshape(product, &shape)
}

/// `x`, seen as `matrix` (with its own batch dims), with `batch` dims, these then merged to `flat`.
fn broadcast(call: &mut Call<'_>, x: ValueId, matrix: &[Expr], batch: &[Expr], flat: &[Expr]) -> Result<ValueId> {
    let last = &matrix[matrix.len() - 2..];
    let x = call.reshape(x, matrix)?;
    let x = call.expand(x, &[batch, last].concat())?;
    call.reshape(x, &[flat, last].concat())
}

fn inner(call: &mut Call<'_>, a: ValueId, b: ValueId) -> Result<ValueId> {
    if call.rank(a) == 0 || call.rank(b) == 0 {
        return map(call, &[a, b], |f, p| f.binary(Binary::Mul, p[0], p[1]));
    }
    // Over the last dim of both: the product with the transposed matrix of all rows of `b`.
    let shape = call.shape(b);
    let (k, rows) = (shape[shape.len() - 1].clone(), shape[..shape.len() - 1].to_vec());
    let flat = call.reshape(b, &[Expr::product(rows.iter().cloned()), k])?;
    let flat = call.permute(flat, &[1, 0])?;
    let y = matmul(call, a, flat)?;
    let mut result = call.shape(a);
    result.pop();
    result.extend(rows);
    call.reshape(y, &result)
}

/// `beta * self + alpha * (a · b)`; `self` broadcasts, and does not count at all (NaN neither) if `beta` is 0.
fn add_product(call: &mut Call<'_>, a: &str, b: &str) -> Result<Outs> {
    let factors = [call.tensor(a)?, call.tensor(b)?];
    added_to(call, factors)
}

/// The product of two matrices, scaled and added to `self`.
fn added_to(call: &mut Call<'_>, [mut a, mut b]: [ValueId; 2]) -> Result<Outs> {
    let (mut input, beta, alpha) = (call.tensor("self")?, call.number("beta")?, call.number("alpha")?);
    let dtype = call.dtype_of(a);
    // Torch rounds to 16 bits once. So does a product with a bias, which is a vector known beforehand.
    let is_bias = is(&beta, 1) && call.rank(input) == 1 && !super::conv::is_computed(call, input);
    if matches!(dtype, DType::F16 | DType::Bf16) && !(is_bias && is(&alpha, 1)) {
        for x in [&mut input, &mut a, &mut b] {
            *x = call.cast(*x, DType::F32)?;
        }
    }
    let product = matmul(call, a, b)?;
    let sum = added(call, input, product, &beta, &alpha)?;
    one(call.cast(sum, dtype)?)
}

fn added(call: &mut Call<'_>, input: ValueId, product: ValueId, beta: &Number, alpha: &Number) -> Result<ValueId> {
    let product = scaled(call, product, alpha)?;
    if is(beta, 0) {
        return Ok(product);
    }
    let input = scaled(call, input, beta)?;
    let sum = if call.dtype_of(product) == DType::Bool { Binary::Or } else { Binary::Add };
    map(call, &[product, input], |f, p| f.binary(sum, p[0], p[1]))
}

/// The sum of the products of a batch: one product, the batch being part of the dim summed over.
fn add_products(call: &mut Call<'_>) -> Result<Outs> {
    let (a, b) = (call.tensor("batch1")?, call.tensor("batch2")?);
    let (left, right) = (call.shape(a), call.shape(b));
    let ([batch, m, k], [other, inner, n]) = (&left[..], &right[..]) else {
        return Err(call.damaged("two batches of matrices are needed"));
    };
    if batch != other || k != inner {
        return Err(call.damaged(format!("matrix products of {} and {}", call.ty(a), call.ty(b))));
    }
    let depth = batch.clone() * k.clone();
    let a = call.permute(a, &[1, 0, 2])?;
    let a = call.reshape(a, &[m.clone(), depth.clone()])?;
    let b = call.reshape(b, &[depth, n.clone()])?;
    added_to(call, [a, b])
}

fn add_outer(call: &mut Call<'_>) -> Result<Outs> {
    let (input, a, b) = (call.tensor("self")?, call.tensor("vec1")?, call.tensor("vec2")?);
    let (beta, alpha) = (call.number("beta")?, call.number("alpha")?);
    // In torch's order, which shows in 16 bits.
    let a = scaled(call, a, &alpha)?;
    let product = outer(call, a, b)?;
    one(added(call, input, product, &beta, &Number::Int(Expr::Int(1)))?)
}

fn outer(call: &mut Call<'_>, a: ValueId, b: ValueId) -> Result<ValueId> {
    if call.rank(a) != 1 || call.rank(b) != 1 {
        return Err(call.damaged("an outer product needs vectors"));
    }
    let dtype = super::pointwise::promote::common_dtype(call, &[a, b])?;
    let (a, b) = (call.cast(a, dtype)?, call.cast(b, dtype)?);
    let a = super::view::unsqueeze(call, a, 1)?;
    let product = if dtype == DType::Bool { Binary::And } else { Binary::Mul };
    map(call, &[a, b], |f, p| f.binary(product, p[0], p[1]))
}

fn bilinear(call: &mut Call<'_>) -> Result<Outs> {
    let (a, b, weight) = (call.tensor("input1")?, call.tensor("input2")?, call.tensor("weight")?);
    let y = bilinear_of(call, a, b, weight)?;
    match call.optional_tensor("bias")? {
        Some(bias) => one(map(call, &[y, bias], |f, p| f.binary(Binary::Add, p[0], p[1]))?),
        None => one(y),
    }
}

/// `y[.., o] = a[.., i] * weight[o, i, j] * b[.., j]`.
pub(super) fn bilinear_of(call: &mut Call<'_>, a: ValueId, b: ValueId, weight: ValueId) -> Result<ValueId> {
    let (left, right, shape) = (call.shape(a), call.shape(b), call.shape(weight));
    let ([lead @ .., i], [rows @ .., j], [o, inputs, others]) = (&left[..], &right[..], &shape[..]) else {
        return Err(call.damaged("a bilinear layer needs vectors and a weight of three dims"));
    };
    if lead != rows || i != inputs || j != others {
        return Err(call.damaged(format!("a bilinear layer of {} and {}", call.ty(a), call.ty(b))));
    }
    let count = Expr::product(lead.iter().cloned());
    let a = call.reshape(a, &[count.clone(), i.clone()])?;
    let b = call.reshape(b, &[count.clone(), j.clone(), Expr::Int(1)])?;
    let table = call.permute(weight, &[1, 0, 2])?;
    let table = call.reshape(table, &[i.clone(), o.clone() * j.clone()])?;
    let half = matmul(call, a, table)?;
    let half = call.reshape(half, &[count, o.clone(), j.clone()])?;
    // Two products, so that 16-bit floats are rounded where torch rounds them.
    let y = matmul(call, half, b)?;
    call.reshape(y, &[lead, std::slice::from_ref(o)].concat())
}

fn is(number: &Number, value: i64) -> bool {
    match number {
        Number::Int(e) => *e == Expr::Int(value),
        Number::Float(f) => *f == value as f64,
        Number::Bool(e) => *e == Expr::Bool(value == 1) && (value == 0 || value == 1),
        Number::SymFloat(_) => false,
    }
}

/// `x * factor`.
fn scaled(call: &mut Call<'_>, x: ValueId, factor: &Number) -> Result<ValueId> {
    if is(factor, 1) {
        return Ok(x);
    }
    let dtype = call.dtype_of(x);
    let float = match factor {
        Number::Float(f) => *f,
        Number::Int(Expr::Int(v)) => *v as f64,
        Number::Bool(Expr::Bool(b)) => f64::from(u8::from(*b)),
        _ => return Err(call.unsupported("a factor of a matrix product depends on the input sizes")),
    };
    if dtype == DType::Bool {
        return map(call, &[x], |f, p| {
            let (float, zero) = (f.float(DType::F64, float), f.float(DType::F64, 0.0));
            let factor = f.binary(Binary::Ne, float, zero);
            f.binary(Binary::And, p[0], factor)
        });
    }
    map(call, &[x], |f, p| {
        let factor = if dtype.is_float() { f.float(dtype, float) } else { f.int(dtype, float as i64) };
        f.binary(Binary::Mul, p[0], factor)
    })
}
