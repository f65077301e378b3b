//! Comparisons, logic and selection.

use super::{Build, Result, promote, row};
use crate::import::{Call, Operand};
use crate::ir::{Binary, ExprId, Unary};
use crate::ops::{Outs, Row};
use exported_runtime::DType;

macro_rules! comparisons {
    ($($name:literal, $long:literal => $op:ident,)*) => {
        &[$(
            row(concat!("aten.", $name, ".Tensor"), |c| compare(c, Binary::$op)),
            row(concat!("aten.", $name, ".Scalar"), |c| compare(c, Binary::$op)),
            row(concat!("aten.", $long, ".Tensor"), |c| compare(c, Binary::$op)),
            row(concat!("aten.", $long, ".Scalar"), |c| compare(c, Binary::$op)),
        )*]
    };
}

/// Comparisons of two operands.
pub const COMPARISONS: &[Row] = comparisons! {
    "gt", "greater" => Gt,
    "ge", "greater_equal" => Ge,
    "lt", "less" => Lt,
    "le", "less_equal" => Le,
    "ne", "not_equal" => Ne,
};

/// Logic, properties of single elements, selection.
pub const PREDICATES: &[Row] = &[
    row("aten.eq.Tensor", |c| compare(c, Binary::Eq)),
    row("aten.eq.Scalar", |c| compare(c, Binary::Eq)),
    row("aten.logical_and.default", |c| logic(c, Binary::And)),
    row("aten.logical_or.default", |c| logic(c, Binary::Or)),
    row("aten.logical_xor.default", |c| logic(c, Binary::Xor)),
    row("aten.logical_not.default", |c| {
        test(c, |b, x| {
            let truth = b.truth(x);
            b.un(Unary::Not, truth)
        })
    }),
    row("aten.isnan.default", |c| test(c, |b, x| b.un(Unary::IsNan, x))),
    row("aten.isinf.default", |c| test(c, is_inf)),
    row("aten.isreal.default", |c| test(c, |b, _| constant(b, true))),
    row("aten.isfinite.default", |c| test(c, is_finite)),
    row("aten.isposinf.default", |c| test(c, |b, x| is_value(b, x, f64::INFINITY))),
    row("aten.isneginf.default", |c| test(c, |b, x| is_value(b, x, f64::NEG_INFINITY))),
    row("aten.signbit.default", |c| {
        test(c, |b, x| match b.f.dtype(x) {
            DType::Bool => b.f.push(super::literal(DType::Bool, 0.0, 0)),
            _ => b.un(Unary::Signbit, x),
        })
    }),
    row("aten.isclose.default", is_close),
    row("aten.where.self", select),
    row("aten.where.ScalarSelf", select),
    row("aten.where.ScalarOther", select),
    row("aten.where.Scalar", select),
    row("aten.masked_fill.Scalar", masked_fill),
    row("aten.masked_fill.Tensor", masked_fill),
];

/// Compared in the common dtype.
fn compare(call: &mut Call<'_>, op: Binary) -> Result<Outs> {
    let (x, y) = (call.operand("self")?, call.operand("other")?);
    let common = promote::result_type(call, &[&x, &y])?;
    let mut b = Build::new();
    let x = exact_operand(&mut b, call, &x, common)?;
    let y = exact_operand(&mut b, call, &y, common)?;
    let result = b.bin(op, x, y);
    b.finish(call, result, DType::Bool)
}

/// An operand in the common dtype itself, not the one it is computed in: comparisons see the rounded value.
fn exact_operand(b: &mut Build, call: &Call<'_>, operand: &Operand, common: DType) -> Result<ExprId> {
    match operand {
        Operand::Tensor(v) => {
            let x = b.raw(call, *v);
            Ok(b.f.cast(common, x))
        }
        Operand::Number(n) => b.number(call, n, common),
    }
}

fn logic(call: &mut Call<'_>, op: Binary) -> Result<Outs> {
    let mut b = Build::new();
    let (x, y) = (call.tensor("self")?, call.tensor("other")?);
    let (x, y) = (b.raw(call, x), b.raw(call, y));
    let (x, y) = (b.truth(x), b.truth(y));
    let result = b.bin(op, x, y);
    b.finish(call, result, DType::Bool)
}

/// A property of each element.
fn test(call: &mut Call<'_>, body: fn(&mut Build, ExprId) -> ExprId) -> Result<Outs> {
    let x = call.tensor("self")?;
    let mut b = Build::new();
    let operand = b.raw(call, x);
    let result = body(&mut b, operand);
    b.finish(call, result, DType::Bool)
}

/// A truth value for types that have no infinities.
fn constant(b: &mut Build, value: bool) -> ExprId {
    b.f.push(super::literal(DType::Bool, f64::from(u8::from(value)), 0))
}

fn is_inf(b: &mut Build, x: ExprId) -> ExprId {
    if b.f.dtype(x).is_float() { b.un(Unary::IsInf, x) } else { constant(b, false) }
}

fn is_finite(b: &mut Build, x: ExprId) -> ExprId {
    if !b.f.dtype(x).is_float() {
        return constant(b, true);
    }
    let magnitude = b.un(Unary::Abs, x);
    let infinity = b.float(x, f64::INFINITY);
    b.bin(Binary::Lt, magnitude, infinity)
}

fn is_value(b: &mut Build, x: ExprId, value: f64) -> ExprId {
    if !b.f.dtype(x).is_float() {
        return constant(b, false);
    }
    let value = b.float(x, value);
    b.bin(Binary::Eq, x, value)
}

/// `|a - b| <= atol + rtol |b|`, or equal, or both NaN where that counts.
fn is_close(call: &mut Call<'_>) -> Result<Outs> {
    let (x, y) = (call.operand("self")?, call.operand("other")?);
    let common = promote::to_float(promote::result_type(call, &[&x, &y])?);
    let (rtol, atol, equal_nan) = (call.float("rtol")?, call.float("atol")?, call.bool("equal_nan")?);
    let mut b = Build::new();
    let (x, y) = (b.operand(call, &x, common)?, b.operand(call, &y, common)?);
    let magnitude = b.un(Unary::Abs, y);
    let scaled = b.scaled(magnitude, rtol);
    let allowed = b.shifted(scaled, atol);
    let difference = b.sub(x, y);
    let distance = b.un(Unary::Abs, difference);
    let near = b.bin(Binary::Le, distance, allowed);
    // An infinite tolerance (b infinite) accepts only equality.
    let finite = is_finite(&mut b, y);
    let near = b.bin(Binary::And, near, finite);
    let equal = b.bin(Binary::Eq, x, y);
    let mut result = b.bin(Binary::Or, near, equal);
    if equal_nan {
        let (nan_x, nan_y) = (b.un(Unary::IsNan, x), b.un(Unary::IsNan, y));
        let both = b.bin(Binary::And, nan_x, nan_y);
        result = b.bin(Binary::Or, result, both);
    }
    b.finish(call, result, DType::Bool)
}

fn select(call: &mut Call<'_>) -> Result<Outs> {
    let (x, y) = (call.operand("self")?, call.operand("other")?);
    let common = promote::result_type(call, &[&x, &y])?;
    let mut b = Build::new();
    let condition = b.raw(call, call.tensor("condition")?);
    let condition = b.truth(condition);
    let x = exact_operand(&mut b, call, &x, common)?;
    let y = exact_operand(&mut b, call, &y, common)?;
    let result = b.f.select(condition, x, y);
    b.finish(call, result, common)
}

/// The value takes the dtype of `self`.
fn masked_fill(call: &mut Call<'_>) -> Result<Outs> {
    let x = call.tensor("self")?;
    let dtype = call.dtype_of(x);
    let value = call.operand("value")?;
    let mut b = Build::new();
    let x = b.raw(call, x);
    let mask = b.raw(call, call.tensor("mask")?);
    let mask = b.truth(mask);
    let value = exact_operand(&mut b, call, &value, dtype)?;
    let result = b.f.select(mask, value, x);
    b.finish(call, result, dtype)
}
