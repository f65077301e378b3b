//! Operators of two and three operands.

use super::{Build, Result, float_body, promote, row, wide};
use crate::import::{Call, Number, Operand};
use crate::ir::{Binary, ExprId, Unary};
use crate::ops::{Outs, Row};
use crate::sym::Expr;
use exported_runtime::DType;

/// The rows.
pub const ROWS: &[Row] = &[
    row("aten.add.Tensor", |c| sum(c, Binary::Add, ["self", "other"])),
    row("aten.add.Scalar", |c| sum(c, Binary::Add, ["self", "other"])),
    row("aten.sub.Tensor", |c| sum(c, Binary::Sub, ["self", "other"])),
    row("aten.sub.Scalar", |c| sum(c, Binary::Sub, ["self", "other"])),
    row("aten.subtract.Tensor", |c| sum(c, Binary::Sub, ["self", "other"])),
    row("aten.subtract.Scalar", |c| sum(c, Binary::Sub, ["self", "other"])),
    row("aten.rsub.Tensor", |c| sum(c, Binary::Sub, ["other", "self"])),
    row("aten.rsub.Scalar", |c| sum(c, Binary::Sub, ["other", "self"])),
    row("aten.mul.Tensor", product),
    row("aten.mul.Scalar", product),
    row("aten.multiply.Tensor", product),
    row("aten.multiply.Scalar", product),
    row("aten.div.Tensor", |c| divide(c, None)),
    row("aten.div.Scalar", |c| divide(c, None)),
    row("aten.div.Tensor_mode", rounded_divide),
    row("aten.div.Scalar_mode", rounded_divide),
    row("aten.divide.Tensor", |c| divide(c, None)),
    row("aten.divide.Scalar", |c| divide(c, None)),
    row("aten.divide.Tensor_mode", rounded_divide),
    row("aten.divide.Scalar_mode", rounded_divide),
    row("aten.true_divide.Tensor", |c| divide(c, None)),
    row("aten.true_divide.Scalar", |c| divide(c, None)),
    row("aten.floor_divide.default", |c| divide(c, Some(Binary::FloorDiv))),
    row("aten.floor_divide.Scalar", |c| divide(c, Some(Binary::FloorDiv))),
    row("aten.remainder.Tensor", |c| binary(c, Binary::Remainder)),
    row("aten.remainder.Scalar", |c| binary(c, Binary::Remainder)),
    row("aten.remainder.Scalar_Tensor", |c| binary(c, Binary::Remainder)),
    row("aten.fmod.Tensor", |c| binary(c, Binary::Fmod)),
    row("aten.fmod.Scalar", |c| binary(c, Binary::Fmod)),
    row("aten.maximum.default", |c| binary(c, Binary::Max)),
    row("aten.max.other", |c| binary(c, Binary::Max)),
    row("aten.minimum.default", |c| binary(c, Binary::Min)),
    row("aten.min.other", |c| binary(c, Binary::Min)),
    row("aten.fmax.default", |c| binary(c, Binary::Fmax)),
    row("aten.fmin.default", |c| binary(c, Binary::Fmin)),
    row("aten.pow.Tensor_Tensor", |c| binary_of(c, Binary::Pow, ["self", "exponent"])),
    row("aten.pow.Tensor_Scalar", power_of_tensor),
    row("aten.pow.Scalar", power_of_number),
    row("aten.float_power.Tensor_Tensor", |c| float_power(c, "exponent")),
    row("aten.float_power.Tensor_Scalar", |c| float_power(c, "exponent")),
    row("aten.float_power.Scalar", |c| float_power(c, "exponent")),
    row("aten.square.default", square),
    row("aten.atan2.default", |c| float_binary(c, ["self", "other"], |b, x, y| b.bin(Binary::Atan2, x, y))),
    row("aten.arctan2.default", |c| float_binary(c, ["self", "other"], |b, x, y| b.bin(Binary::Atan2, x, y))),
    row("aten.hypot.default", |c| float_binary(c, ["self", "other"], |b, x, y| b.bin(Binary::Hypot, x, y))),
    row("aten.copysign.Tensor", |c| float_binary(c, ["self", "other"], |b, x, y| b.bin(Binary::CopySign, x, y))),
    row("aten.copysign.Scalar", |c| float_binary(c, ["self", "other"], |b, x, y| b.bin(Binary::CopySign, x, y))),
    row("aten.nextafter.default", |c| float_binary(c, ["self", "other"], |b, x, y| b.bin(Binary::NextAfter, x, y))),
    row("aten.ldexp.Tensor", |c| float_binary(c, ["self", "other"], ldexp)),
    row("aten.logaddexp.default", |c| float_binary(c, ["self", "other"], log_add_exp)),
    row("aten.logaddexp2.default", |c| float_binary(c, ["self", "other"], log_add_exp2)),
    row("aten.xlogy.Tensor", |c| float_binary(c, ["self", "other"], |b, x, y| xlog(b, x, y, Unary::Log))),
    row("aten.xlogy.Scalar_Other", |c| float_binary(c, ["self", "other"], |b, x, y| xlog(b, x, y, Unary::Log))),
    row("aten.xlogy.Scalar_Self", |c| float_binary(c, ["self", "other"], |b, x, y| xlog(b, x, y, Unary::Log))),
    row("aten.special_xlogy.default", |c| float_binary(c, ["self", "other"], |b, x, y| xlog(b, x, y, Unary::Log))),
    row("aten.special_xlogy.other_scalar", |c| float_binary(c, ["self", "other"], |b, x, y| xlog(b, x, y, Unary::Log))),
    row("aten.special_xlogy.self_scalar", |c| float_binary(c, ["self", "other"], |b, x, y| xlog(b, x, y, Unary::Log))),
    row("aten.special_xlog1py.default", |c| float_binary(c, ["self", "other"], |b, x, y| xlog(b, x, y, Unary::Log1p))),
    row("aten.special_xlog1py.other_scalar", |c| {
        float_binary(c, ["self", "other"], |b, x, y| xlog(b, x, y, Unary::Log1p))
    }),
    row("aten.special_xlog1py.self_scalar", |c| {
        float_binary(c, ["self", "other"], |b, x, y| xlog(b, x, y, Unary::Log1p))
    }),
    row("aten.addcmul.default", |c| add_scaled(c, Binary::Mul)),
    row("aten.addcdiv.default", |c| add_scaled(c, Binary::Div)),
    row("aten.lerp.Scalar", lerp),
    row("aten.lerp.Tensor", lerp),
    row("aten.clamp.default", |c| clamp(c, "min", "max")),
    row("aten.clamp.Tensor", |c| clamp(c, "min", "max")),
    row("aten.clip.default", |c| clamp(c, "min", "max")),
    row("aten.clip.Tensor", |c| clamp(c, "min", "max")),
    row("aten.clamp_min.default", |c| clamp(c, "min", "")),
    row("aten.clamp_min.Tensor", |c| clamp(c, "min", "")),
    row("aten.clamp_max.default", |c| clamp(c, "", "max")),
    row("aten.clamp_max.Tensor", |c| clamp(c, "", "max")),
    row("aten.heaviside.default", heaviside),
    row("aten.bitwise_and.Tensor", |c| integer(c, Binary::And)),
    row("aten.bitwise_and.Scalar", |c| integer(c, Binary::And)),
    row("aten.bitwise_and.Scalar_Tensor", |c| integer(c, Binary::And)),
    row("aten.bitwise_or.Tensor", |c| integer(c, Binary::Or)),
    row("aten.bitwise_or.Scalar", |c| integer(c, Binary::Or)),
    row("aten.bitwise_or.Scalar_Tensor", |c| integer(c, Binary::Or)),
    row("aten.bitwise_xor.Tensor", |c| integer(c, Binary::Xor)),
    row("aten.bitwise_xor.Scalar", |c| integer(c, Binary::Xor)),
    row("aten.bitwise_xor.Scalar_Tensor", |c| integer(c, Binary::Xor)),
    row("aten.bitwise_left_shift.Tensor", |c| integer(c, Binary::Shl)),
    row("aten.bitwise_left_shift.Tensor_Scalar", |c| integer(c, Binary::Shl)),
    row("aten.bitwise_left_shift.Scalar_Tensor", |c| integer(c, Binary::Shl)),
    row("aten.bitwise_right_shift.Tensor", |c| integer(c, Binary::Shr)),
    row("aten.bitwise_right_shift.Tensor_Scalar", |c| integer(c, Binary::Shr)),
    row("aten.bitwise_right_shift.Scalar_Tensor", |c| integer(c, Binary::Shr)),
    row("aten.__and__.Tensor", |c| integer(c, Binary::And)),
    row("aten.__and__.Scalar", |c| integer(c, Binary::And)),
    row("aten.__or__.Tensor", |c| integer(c, Binary::Or)),
    row("aten.__or__.Scalar", |c| integer(c, Binary::Or)),
    row("aten.__xor__.Tensor", |c| integer(c, Binary::Xor)),
    row("aten.__xor__.Scalar", |c| integer(c, Binary::Xor)),
    row("aten.__lshift__.Tensor", |c| integer(c, Binary::Shl)),
    row("aten.__lshift__.Scalar", |c| integer(c, Binary::Shl)),
    row("aten.__rshift__.Tensor", |c| integer(c, Binary::Shr)),
    row("aten.__rshift__.Scalar", |c| integer(c, Binary::Shr)),
    row("aten._prelu_kernel.default", |c| float_binary(c, ["self", "weight"], super::activation::leaky)),
    row("aten.special_entr.default", |c| float_body(c, "self", entropy)),
];

/// Both operands in their common dtype, and that dtype.
pub(super) fn two(call: &Call<'_>, names: [&str; 2]) -> Result<(Build, ExprId, ExprId, DType)> {
    let (x, y) = (call.operand(names[0])?, call.operand(names[1])?);
    let common = promote::result_type(call, &[&x, &y])?;
    let mut b = Build::new();
    let x = b.operand(call, &x, common)?;
    let y = b.operand(call, &y, common)?;
    Ok((b, x, y, common))
}

/// The operands of a product or quotient.
fn factors(call: &Call<'_>, to_common: fn(DType) -> DType) -> Result<(Build, ExprId, ExprId, DType)> {
    let (x, y) = (call.operand("self")?, call.operand("other")?);
    let common = to_common(promote::result_type(call, &[&x, &y])?);
    let mut b = Build::new();
    let x = b.operand(call, &x, common)?;
    let y = b.unrounded(call, &y, common)?;
    Ok((b, x, y, common))
}

fn binary(call: &mut Call<'_>, op: Binary) -> Result<Outs> {
    binary_of(call, op, ["self", "other"])
}

fn binary_of(call: &mut Call<'_>, op: Binary, names: [&str; 2]) -> Result<Outs> {
    let (mut b, x, y, common) = two(call, names)?;
    if common == DType::Bool && !matches!(op, Binary::Max | Binary::Min | Binary::Fmax | Binary::Fmin) {
        return Err(call.unsupported("arithmetic on truth values"));
    }
    let result = b.bin(op, x, y);
    b.finish(call, result, common)
}

pub(super) fn float_binary(
    call: &mut Call<'_>,
    names: [&str; 2],
    body: fn(&mut Build, ExprId, ExprId) -> ExprId,
) -> Result<Outs> {
    let (x, y) = (call.operand(names[0])?, call.operand(names[1])?);
    let common = promote::to_float(promote::result_type(call, &[&x, &y])?);
    let mut b = Build::new();
    let x = b.operand(call, &x, common)?;
    let y = b.operand(call, &y, common)?;
    let result = body(&mut b, x, y);
    b.finish(call, result, common)
}

/// `a ± alpha * b`.
fn sum(call: &mut Call<'_>, op: Binary, names: [&str; 2]) -> Result<Outs> {
    let (mut b, x, y, common) = two(call, names)?;
    if common == DType::Bool {
        if op == Binary::Sub {
            return Err(call.damaged("subtraction of truth values, which PyTorch refuses"));
        }
        let y = match call.optional_number("alpha")? {
            Some(alpha) => {
                let alpha = b.number(call, &alpha, common)?;
                b.bin(Binary::And, alpha, y)
            }
            None => y,
        };
        let either = b.bin(Binary::Or, x, y);
        return b.finish(call, either, common);
    }
    let alpha = call.optional_number("alpha")?.unwrap_or(Number::Int(Expr::Int(1)));
    let is_one = matches!(&alpha, Number::Int(Expr::Int(1))) || matches!(&alpha, Number::Float(v) if *v == 1.0);
    let y = if is_one {
        y
    } else {
        let alpha = b.rounded(call, &alpha, common)?;
        b.mul(alpha, y)
    };
    let result = b.bin(op, x, y);
    b.finish(call, result, common)
}

fn product(call: &mut Call<'_>) -> Result<Outs> {
    let (mut b, x, y, common) = factors(call, |dtype| dtype)?;
    let op = if common == DType::Bool { Binary::And } else { Binary::Mul };
    let result = b.bin(op, x, y);
    b.finish(call, result, common)
}

/// Division; true division of integers gives f32.
fn divide(call: &mut Call<'_>, rounding: Option<Binary>) -> Result<Outs> {
    let to_common = if rounding.is_some() { |dtype| dtype } else { promote::to_float };
    let (mut b, x, y, common) = factors(call, to_common)?;
    if common == DType::Bool {
        return Err(call.damaged("a rounded quotient of truth values, which PyTorch refuses"));
    }
    let result = match rounding {
        Some(rounding) if wide(common) != common && !is_single(call, "other")? => {
            let (x, y) = (b.f.cast(common, x), b.f.cast(common, y));
            stepwise_quotient(&mut b, rounding, x, y)
        }
        _ => b.bin(rounding.unwrap_or(Binary::Div), x, y),
    };
    b.finish(call, result, common)
}

/// Whether an operand is a number or has one element.
fn is_single(call: &Call<'_>, name: &str) -> Result<bool> {
    Ok(match call.operand(name)? {
        Operand::Tensor(x) => call.ty(x).is_single(),
        Operand::Number(_) => true,
    })
}

/// A rounded quotient of 16-bit floats, every step of which is rounded to them, as in torch's kernel of vectors.
fn stepwise_quotient(b: &mut Build, rounding: Binary, x: ExprId, y: ExprId) -> ExprId {
    let quotient = b.div(x, y);
    if rounding == Binary::TruncDiv {
        return b.un(Unary::Trunc, quotient);
    }
    let (zero, half) = (b.float(x, 0.0), b.float(x, 0.5));
    let rest = b.bin(Binary::Fmod, x, y);
    let multiple = b.sub(x, rest);
    let whole = b.div(multiple, y);
    let (has_rest, falls, rest_falls) =
        (b.bin(Binary::Ne, rest, zero), b.bin(Binary::Lt, y, zero), b.bin(Binary::Lt, rest, zero));
    let differ = b.bin(Binary::Ne, falls, rest_falls);
    let beyond = b.bin(Binary::And, has_rest, differ);
    let below = b.shifted(whole, -1.0);
    let whole = b.f.select(beyond, below, whole);
    let floor = b.un(Unary::Floor, whole);
    let off = b.sub(whole, floor);
    let (far, above) = (b.bin(Binary::Gt, off, half), b.shifted(floor, 1.0));
    let floor = b.f.select(far, above, floor);
    let signed = b.bin(Binary::CopySign, zero, quotient);
    let (is_zero, by_zero) = (b.bin(Binary::Eq, whole, zero), b.bin(Binary::Eq, y, zero));
    let floor = b.f.select(is_zero, signed, floor);
    b.f.select(by_zero, quotient, floor)
}

fn rounded_divide(call: &mut Call<'_>) -> Result<Outs> {
    let mode = call.arg("rounding_mode").map(|_| call.str("rounding_mode")).transpose()?;
    let rounding = match mode {
        None => None,
        Some("floor") => Some(Binary::FloorDiv),
        Some("trunc") => Some(Binary::TruncDiv),
        Some(other) => return Err(call.damaged(format!("rounding mode `{other}`"))),
    };
    divide(call, rounding)
}

/// Exponents with a form of their own, as in PyTorch's kernel.
fn power_of_tensor(call: &mut Call<'_>) -> Result<Outs> {
    let exponent = call.number("exponent")?;
    let (mut b, x, y, common) = two(call, ["self", "exponent"])?;
    let known = match exponent {
        Number::Int(Expr::Int(v)) => Some(v as f64),
        Number::Float(v) => Some(v),
        _ => None,
    };
    if !common.is_float() && known.is_some_and(|v| v < 0.0) {
        return Err(call.damaged("an integer tensor to a negative power, which PyTorch refuses"));
    }
    let float = common.is_float();
    let result = match known {
        Some(0.0) => b.float(x, 1.0),
        Some(1.0) => x,
        Some(2.0) => b.un(Unary::Square, x),
        Some(3.0) => {
            let square = b.un(Unary::Square, x);
            b.mul(square, x)
        }
        Some(0.5) if float => b.un(Unary::Sqrt, x),
        Some(-0.5) if float => b.un(Unary::Rsqrt, x),
        Some(-1.0) if float => b.un(Unary::Recip, x),
        Some(-2.0) if float => {
            let square = b.un(Unary::Square, x);
            b.un(Unary::Recip, square)
        }
        _ => b.bin(Binary::Pow, x, y),
    };
    // Keeps the operand (and so the shape) where the result does not depend on it.
    b.raw(call, call.tensor("self")?);
    b.finish(call, result, common)
}

/// Truth values count as integers.
fn square(call: &mut Call<'_>) -> Result<Outs> {
    let x = call.tensor("self")?;
    let dtype = promote::without_bool(call.dtype_of(x));
    let mut b = Build::new();
    let x = b.tensor(call, x, dtype);
    let y = b.un(Unary::Square, x);
    b.finish(call, y, dtype)
}

fn power_of_number(call: &mut Call<'_>) -> Result<Outs> {
    let base = call.number("self")?;
    let (mut b, x, y, common) = two(call, ["self", "exponent"])?;
    let is_two = matches!(&base, Number::Int(Expr::Int(2))) || matches!(&base, Number::Float(v) if *v == 2.0);
    let result = if is_two && common.is_float() { b.un(Unary::Exp2, y) } else { b.bin(Binary::Pow, x, y) };
    b.finish(call, result, common)
}

/// Always in f64.
fn float_power(call: &mut Call<'_>, exponent: &str) -> Result<Outs> {
    let (x, y) = (call.operand("self")?, call.operand(exponent)?);
    let mut b = Build::new();
    let x = b.operand(call, &x, DType::F64)?;
    let y = b.operand(call, &y, DType::F64)?;
    let result = b.bin(Binary::Pow, x, y);
    b.finish(call, result, DType::F64)
}

fn ldexp(b: &mut Build, x: ExprId, exponent: ExprId) -> ExprId {
    let power = b.un(Unary::Exp2, exponent);
    b.mul(x, power)
}

/// `max + log1p(exp(-|a - b|))`; equal infinities stay.
fn log_add_exp(b: &mut Build, x: ExprId, y: ExprId) -> ExprId {
    let (high, distance) = distance(b, x, y);
    let e = b.un(Unary::Exp, distance);
    let tail = b.un(Unary::Log1p, e);
    guarded_sum(b, x, y, high, tail)
}

fn log_add_exp2(b: &mut Build, x: ExprId, y: ExprId) -> ExprId {
    let (high, distance) = distance(b, x, y);
    let e = b.un(Unary::Exp2, distance);
    let tail = b.un(Unary::Log1p, e);
    let tail = b.scaled(tail, std::f64::consts::LOG2_E);
    guarded_sum(b, x, y, high, tail)
}

fn distance(b: &mut Build, x: ExprId, y: ExprId) -> (ExprId, ExprId) {
    let high = b.bin(Binary::Max, x, y);
    let difference = b.sub(x, y);
    let magnitude = b.un(Unary::Abs, difference);
    (high, b.un(Unary::Neg, magnitude))
}

fn guarded_sum(b: &mut Build, x: ExprId, y: ExprId, high: ExprId, tail: ExprId) -> ExprId {
    let (infinite, equal) = (b.un(Unary::IsInf, x), b.bin(Binary::Eq, x, y));
    let same = b.bin(Binary::And, infinite, equal);
    let total = b.add(high, tail);
    b.f.select(same, x, total)
}

/// `x * log(y)`: 0 where x is 0, NaN where y is NaN.
fn xlog(b: &mut Build, x: ExprId, y: ExprId, log: Unary) -> ExprId {
    let zero = b.float(x, 0.0);
    let log = b.un(log, y);
    let product = b.mul(x, log);
    let is_zero = b.bin(Binary::Eq, x, zero);
    let value = b.f.select(is_zero, zero, product);
    let nan = b.un(Unary::IsNan, y);
    b.f.select(nan, y, value)
}

/// `-x log x`; 0 at 0, minus infinity below.
fn entropy(b: &mut Build, _: &Call<'_>, x: ExprId) -> Result<ExprId> {
    let zero = b.float(x, 0.0);
    let log = b.un(Unary::Log, x);
    let product = b.mul(x, log);
    let value = b.un(Unary::Neg, product);
    let below = b.float(x, f64::NEG_INFINITY);
    let (is_zero, is_below) = (b.bin(Binary::Eq, x, zero), b.bin(Binary::Lt, x, zero));
    let value = b.f.select(is_zero, zero, value);
    Ok(b.f.select(is_below, below, value))
}

/// `self + value * tensor1 (op) tensor2`.
fn add_scaled(call: &mut Call<'_>, op: Binary) -> Result<Outs> {
    let operands = [call.operand("self")?, call.operand("tensor1")?, call.operand("tensor2")?];
    let common = promote::result_type(call, &[&operands[0], &operands[1], &operands[2]])?;
    if op == Binary::Div && !common.is_float() {
        return Err(call.damaged("`addcdiv` of integers, which PyTorch refuses"));
    }
    let mut b = Build::new();
    let x = b.operand(call, &operands[0], common)?;
    let (t1, t2) = (b.operand(call, &operands[1], common)?, b.operand(call, &operands[2], common)?);
    let dtype = b.f.dtype(x);
    let value = b.number(call, &call.number("value")?, dtype)?;
    let scaled = b.mul(value, t1);
    let term = b.bin(op, scaled, t2);
    let result = b.add(x, term);
    b.finish(call, result, common)
}

/// The form that is exact at the nearer end, as in PyTorch.
fn lerp(call: &mut Call<'_>) -> Result<Outs> {
    let operands = [call.operand("self")?, call.operand("end")?, call.operand("weight")?];
    let common = promote::result_type(call, &[&operands[0], &operands[1]])?;
    let mut b = Build::new();
    let (start, end) = (b.operand(call, &operands[0], common)?, b.operand(call, &operands[1], common)?);
    let weight = match &operands[2] {
        Operand::Number(weight) => b.number(call, weight, super::wide(common))?,
        tensor => b.operand(call, tensor, common)?,
    };
    let (half, one) = (b.float(start, 0.5), b.float(start, 1.0));
    let span = b.sub(end, start);
    let magnitude = b.un(Unary::Abs, weight);
    let near = b.bin(Binary::Lt, magnitude, half);
    let step = b.mul(weight, span);
    let from_start = b.add(start, step);
    let rest = b.sub(one, weight);
    let back = b.mul(span, rest);
    let from_end = b.sub(end, back);
    let result = b.f.select(near, from_start, from_end);
    b.finish(call, result, common)
}

/// Bounds raise the dtype as other operands do; a bound named "" does not exist.
fn clamp(call: &mut Call<'_>, low: &str, high: &str) -> Result<Outs> {
    let x = call.operand("self")?;
    let bound = |name: &str| call.arg(name).map(|_| call.operand(name)).transpose();
    let (low, high) = (bound(low)?, bound(high)?);
    let operands: Vec<&Operand> = [Some(&x), low.as_ref(), high.as_ref()].into_iter().flatten().collect();
    let common = promote::result_type(call, &operands)?;
    let mut b = Build::new();
    let mut result = b.operand(call, &x, common)?;
    for (bound, op) in [(low, Binary::Max), (high, Binary::Min)] {
        if let Some(bound) = bound {
            let bound = b.operand(call, &saturated(bound, common), common)?;
            result = b.bin(op, result, bound);
        }
    }
    b.finish(call, result, common)
}

/// A bound beyond the range of an integer dtype is no bound (`clamp(u8, -5, 7)`).
fn saturated(bound: Operand, dtype: DType) -> Operand {
    let Operand::Number(Number::Int(Expr::Int(v))) = bound else { return bound };
    let bits = dtype.size() as u32 * 8;
    let (low, high) = match dtype {
        DType::U8 | DType::U16 | DType::U32 => (0, (1 << bits) - 1),
        DType::I8 | DType::I16 | DType::I32 => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
        DType::U64 => (0, i64::MAX),
        _ => return Operand::Number(Number::Int(Expr::Int(v))),
    };
    Operand::Number(Number::Int(Expr::Int(v.clamp(low, high))))
}

fn heaviside(call: &mut Call<'_>) -> Result<Outs> {
    let (mut b, x, values, common) = two(call, ["self", "values"])?;
    let (zero, one) = (b.float(x, 0.0), b.float(x, 1.0));
    let (is_zero, positive) = (b.bin(Binary::Eq, x, zero), b.bin(Binary::Gt, x, zero));
    let step = b.f.select(positive, one, zero);
    let result = b.f.select(is_zero, values, step);
    b.finish(call, result, common)
}

/// Bits of integers, logic of truth values.
fn integer(call: &mut Call<'_>, op: Binary) -> Result<Outs> {
    let (mut b, x, y, common) = two(call, ["self", "other"])?;
    let shift = matches!(op, Binary::Shl | Binary::Shr);
    if common.is_float() || (shift && common == DType::Bool) {
        return Err(call.unsupported(format!("bit operations on `{}`", common.name())));
    }
    let result = b.bin(op, x, y);
    b.finish(call, result, common)
}
