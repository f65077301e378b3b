//! Functions of one operand, and conversions.

use super::{Build, Result, float_body, floats, row, same_body, stepwise_body};
use crate::import::Call;
use crate::ir::{Binary, ExprId, Unary};
use crate::ops::{Outs, Row, one};
use exported_runtime::DType;

/// Functions that are one node of a formula.
pub const FUNCTIONS: &[Row] = floats! {
    "aten.sqrt.default" => Sqrt,
    "aten.rsqrt.default" => Rsqrt,
    "aten.reciprocal.default" => Recip,
    "aten.exp.default" => Exp,
    "aten.exp2.default" => Exp2,
    "aten.expm1.default" => Expm1,
    "aten.log.default" => Log,
    "aten.log2.default" => Log2,
    "aten.log10.default" => Log10,
    "aten.log1p.default" => Log1p,
    "aten.sin.default" => Sin,
    "aten.cos.default" => Cos,
    "aten.tan.default" => Tan,
    "aten.asin.default" => Asin,
    "aten.acos.default" => Acos,
    "aten.atan.default" => Atan,
    "aten.arcsin.default" => Asin,
    "aten.arccos.default" => Acos,
    "aten.arctan.default" => Atan,
    "aten.sinh.default" => Sinh,
    "aten.cosh.default" => Cosh,
    "aten.tanh.default" => Tanh,
    "aten.asinh.default" => Asinh,
    "aten.acosh.default" => Acosh,
    "aten.atanh.default" => Atanh,
    "aten.arcsinh.default" => Asinh,
    "aten.arccosh.default" => Acosh,
    "aten.arctanh.default" => Atanh,
    "aten.erf.default" => Erf,
    "aten.erfc.default" => Erfc,
    "aten.erfinv.default" => Erfinv,
    "aten.lgamma.default" => Lgamma,
    "aten.digamma.default" => Digamma,
    "aten.sigmoid.default" => Sigmoid,
    "aten.special_exp2.default" => Exp2,
    "aten.special_expm1.default" => Expm1,
    "aten.special_expit.default" => Sigmoid,
    "aten.special_log1p.default" => Log1p,
    "aten.special_erf.default" => Erf,
    "aten.special_erfc.default" => Erfc,
    "aten.special_erfinv.default" => Erfinv,
    "aten.special_gammaln.default" => Lgamma,
    "aten.special_digamma.default" => Digamma,
    "aten.special_psi.default" => Digamma,
};

/// The others, and conversions.
pub const MORE_FUNCTIONS: &[Row] = &[
    row("aten.neg.default", |c| same_body(c, |b, _, x| Ok(b.un(Unary::Neg, x)))),
    row("aten.negative.default", |c| same_body(c, |b, _, x| Ok(b.un(Unary::Neg, x)))),
    row("aten.abs.default", |c| unless_bool(c, Unary::Abs)),
    row("aten.absolute.default", |c| unless_bool(c, Unary::Abs)),
    row("aten.sign.default", |c| unless_bool(c, Unary::Sign)),
    row("aten.sgn.default", |c| unless_bool(c, Unary::Sign)),
    row("aten.floor.default", |c| rounding(c, Unary::Floor)),
    row("aten.ceil.default", |c| rounding(c, Unary::Ceil)),
    row("aten.trunc.default", |c| rounding(c, Unary::Trunc)),
    row("aten.fix.default", |c| rounding(c, Unary::Trunc)),
    row("aten.round.default", |c| rounding(c, Unary::Round)),
    row("aten.round.decimals", round_decimals),
    row("aten.special_round.default", round_decimals),
    row("aten.frac.default", |c| float_body(c, "self", frac)),
    row("aten.bitwise_not.default", bitwise_not),
    row("aten.nan_to_num.default", nan_to_num),
    row("aten.logit.default", |c| stepwise_body(c, logit)),
    row("aten.special_logit.default", |c| stepwise_body(c, logit)),
    row("aten.sinc.default", |c| float_body(c, "self", sinc)),
    row("aten.special_sinc.default", |c| float_body(c, "self", sinc)),
    row("aten.mvlgamma.default", |c| float_body(c, "self", multivariate_log_gamma)),
    row("aten.special_multigammaln.default", |c| float_body(c, "self", multivariate_log_gamma)),
    row("aten.special_ndtr.default", |c| stepwise_body(c, ndtr)),
    row("aten.deg2rad.default", |c| float_body(c, "self", |b, _, x| Ok(b.scaled(x, std::f64::consts::PI / 180.0)))),
    row("aten.rad2deg.default", |c| float_body(c, "self", |b, _, x| Ok(b.scaled(x, 180.0 / std::f64::consts::PI)))),
    row("aten.angle.default", |c| float_body(c, "self", angle)),
    row("aten.conj_physical.default", identity),
    row("aten._conj_physical.default", identity),
    row("aten.conj.default", identity),
    row("aten.real.default", identity),
    row("aten.to.dtype", convert),
    row("aten.to.dtype_layout", convert),
    row("aten.to.device", convert),
    row("aten.to.other", |c| convert_like(c, "other")),
    row("aten._to_copy.default", convert),
    row("prims.convert_element_type.default", |c| {
        let (x, dtype) = (c.tensor("a")?, c.dtype("dtype")?);
        one(match dtype {
            Some(dtype) => c.cast(x, dtype)?,
            None => x,
        })
    }),
    row("aten.type_as.default", |c| convert_like(c, "other")),
    row("aten._cast_Byte.default", |c| convert_to(c, DType::U8)),
    row("aten._cast_Char.default", |c| convert_to(c, DType::I8)),
    row("aten._cast_Short.default", |c| convert_to(c, DType::I16)),
    row("aten._cast_Int.default", |c| convert_to(c, DType::I32)),
    row("aten._cast_Long.default", |c| convert_to(c, DType::I64)),
    row("aten._cast_Half.default", |c| convert_to(c, DType::F16)),
    row("aten._cast_Float.default", |c| convert_to(c, DType::F32)),
    row("aten._cast_Double.default", |c| convert_to(c, DType::F64)),
];

fn unless_bool(call: &mut Call<'_>, op: Unary) -> Result<Outs> {
    let x = call.tensor("self")?;
    let dtype = call.dtype_of(x);
    if dtype == DType::Bool {
        return one(x);
    }
    let mut b = Build::new();
    let operand = b.tensor(call, x, dtype);
    let y = b.un(op, operand);
    b.finish(call, y, dtype)
}

/// Rounding leaves integers as they are.
fn rounding(call: &mut Call<'_>, op: Unary) -> Result<Outs> {
    let x = call.tensor("self")?;
    if call.dtype_of(x).is_float() { unless_bool(call, op) } else { one(x) }
}

/// `round(x * 10^d) / 10^d`, or `round(x / 10^-d) * 10^-d` for negative d.
fn round_decimals(call: &mut Call<'_>) -> Result<Outs> {
    let x = call.tensor("self")?;
    let decimals = call.int("decimals")?;
    if decimals == 0 || !call.dtype_of(x).is_float() {
        return rounding(call, Unary::Round);
    }
    let dtype = call.dtype_of(x);
    let mut b = Build::new();
    let operand = b.tensor(call, x, dtype);
    let power = b.float(operand, 10f64.powi(decimals.unsigned_abs().min(400) as i32));
    let (there, back) = if decimals < 0 { (Binary::Div, Binary::Mul) } else { (Binary::Mul, Binary::Div) };
    let scaled = b.bin(there, operand, power);
    let rounded = b.un(Unary::Round, scaled);
    let y = b.bin(back, rounded, power);
    b.finish(call, y, dtype)
}

fn frac(b: &mut Build, _: &Call<'_>, x: ExprId) -> Result<ExprId> {
    let whole = b.un(Unary::Trunc, x);
    Ok(b.sub(x, whole))
}

fn bitwise_not(call: &mut Call<'_>) -> Result<Outs> {
    if call.dtype_of(call.tensor("self")?).is_float() {
        return Err(call.damaged("bit operations on floats, which PyTorch refuses"));
    }
    same_body(call, |b, _, x| Ok(b.un(Unary::Not, x)))
}

/// Largest finite value of a float dtype.
fn largest(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => 65504.0,
        DType::Bf16 => f64::from(f32::from_bits(0x7f7f_0000)),
        DType::F32 => f64::from(f32::MAX),
        _ => f64::MAX,
    }
}

fn nan_to_num(call: &mut Call<'_>) -> Result<Outs> {
    let x = call.tensor("self")?;
    let dtype = call.dtype_of(x);
    if !dtype.is_float() {
        return one(x);
    }
    let nan = call.optional_float("nan")?.unwrap_or(0.0);
    let high = call.optional_float("posinf")?.unwrap_or(largest(dtype));
    let low = call.optional_float("neginf")?.unwrap_or(-largest(dtype));
    let mut b = Build::new();
    let operand = b.tensor(call, x, dtype);
    let (infinity, minus) = (b.float(operand, f64::INFINITY), b.float(operand, f64::NEG_INFINITY));
    let (nan, high, low) = (b.float(operand, nan), b.float(operand, high), b.float(operand, low));
    let is_high = b.bin(Binary::Eq, operand, infinity);
    let y = b.f.select(is_high, high, operand);
    let is_low = b.bin(Binary::Eq, operand, minus);
    let y = b.f.select(is_low, low, y);
    let is_nan = b.un(Unary::IsNan, operand);
    let y = b.f.select(is_nan, nan, y);
    b.finish(call, y, dtype)
}

/// `log(x / (1 - x))`, x first moved into `eps..1 - eps`.
fn logit(b: &mut Build, call: &Call<'_>, x: ExprId) -> Result<ExprId> {
    let x = match call.optional_float("eps")? {
        Some(eps) => {
            let (low, high) = (b.float(x, eps), b.float(x, 1.0 - eps));
            let (below, above) = (b.bin(Binary::Lt, x, low), b.bin(Binary::Gt, x, high));
            let x = b.f.select(above, high, x);
            b.f.select(below, low, x)
        }
        None => x,
    };
    let one = b.float(x, 1.0);
    let rest = b.sub(one, x);
    let odds = b.div(x, rest);
    Ok(b.un(Unary::Log, odds))
}

fn sinc(b: &mut Build, _: &Call<'_>, x: ExprId) -> Result<ExprId> {
    let (zero, one) = (b.float(x, 0.0), b.float(x, 1.0));
    let turned = b.scaled(x, std::f64::consts::PI);
    let sine = b.un(Unary::Sin, turned);
    let quotient = b.div(sine, turned);
    let is_zero = b.bin(Binary::Eq, x, zero);
    Ok(b.f.select(is_zero, one, quotient))
}

/// `p (p - 1) / 4 log(pi)` plus the sum of `lgamma(x - j / 2)` for j < p.
fn multivariate_log_gamma(b: &mut Build, call: &Call<'_>, x: ExprId) -> Result<ExprId> {
    let p = call.int("p")?;
    if !(1..=64).contains(&p) {
        return Err(call.damaged(format!("a gamma function of {p} dims")));
    }
    let mut sum = b.float(x, (p * (p - 1)) as f64 / 4.0 * std::f64::consts::PI.ln());
    for j in 0..p {
        let at = b.shifted(x, -(j as f64) / 2.0);
        let term = b.un(Unary::Lgamma, at);
        sum = b.add(sum, term);
    }
    Ok(sum)
}

/// Normal distribution function: `(1 + erf(x / sqrt 2)) / 2`.
fn ndtr(b: &mut Build, _: &Call<'_>, x: ExprId) -> Result<ExprId> {
    let scaled = b.scaled(x, std::f64::consts::FRAC_1_SQRT_2);
    let error = b.un(Unary::Erf, scaled);
    let sum = b.shifted(error, 1.0);
    Ok(b.scaled(sum, 0.5))
}

/// 0 or pi; NaN stays.
fn angle(b: &mut Build, _: &Call<'_>, x: ExprId) -> Result<ExprId> {
    let (zero, pi) = (b.float(x, 0.0), b.float(x, std::f64::consts::PI));
    let negative = b.bin(Binary::Lt, x, zero);
    let y = b.f.select(negative, pi, zero);
    let is_nan = b.un(Unary::IsNan, x);
    Ok(b.f.select(is_nan, x, y))
}

fn identity(call: &mut Call<'_>) -> Result<Outs> {
    one(call.tensor("self")?)
}

fn convert(call: &mut Call<'_>) -> Result<Outs> {
    match call.dtype("dtype")? {
        Some(dtype) => convert_to(call, dtype),
        None => identity(call),
    }
}

fn convert_to(call: &mut Call<'_>, dtype: DType) -> Result<Outs> {
    let x = call.tensor("self")?;
    one(call.cast(x, dtype)?)
}

fn convert_like(call: &mut Call<'_>, other: &str) -> Result<Outs> {
    let dtype = call.dtype_of(call.tensor(other)?);
    convert_to(call, dtype)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn largest_values() {
        assert_eq!(largest(DType::F16), 65504.0);
        assert_eq!(largest(DType::Bf16) as f32, 3.3895314e38);
    }
}
