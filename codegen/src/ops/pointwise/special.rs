//! Special functions: the incomplete gamma, zeta and Bessel functions and their kin; divisors of integers.

use super::arithmetic::{float_binary, two};
use super::{Build, Result, float_body, floats, row};
use crate::import::Call;
use crate::ir::{Binary, ExprId, Op, Unary};
use crate::ops::{Out, Outs, Row};
use exported_runtime::DType;

/// Functions that are one node of a formula.
pub const SPECIAL: &[Row] = floats! {
    "aten.i0.default" => I0,
    "aten.special_i0.default" => I0,
    "aten.special_i0e.default" => I0e,
    "aten.special_i1.default" => I1,
    "aten.special_i1e.default" => I1e,
    "aten.special_modified_bessel_i0.default" => I0,
    "aten.special_modified_bessel_i1.default" => I1,
    "aten.special_modified_bessel_k0.default" => K0,
    "aten.special_modified_bessel_k1.default" => K1,
    "aten.special_bessel_j0.default" => J0,
    "aten.special_bessel_j1.default" => J1,
    "aten.special_bessel_y0.default" => Y0,
    "aten.special_bessel_y1.default" => Y1,
    "aten.special_erfcx.default" => Erfcx,
    "aten.special_log_ndtr.default" => LogNdtr,
    "aten.special_ndtri.default" => Ndtri,
};

/// Those of two operands or two results, and those whose operand torch calls `x`.
pub const MORE_SPECIAL: &[Row] = &[
    row("aten.special_scaled_modified_bessel_k0.default", |c| float_body(c, "x", |b, _, x| Ok(b.un(Unary::K0e, x)))),
    row("aten.special_scaled_modified_bessel_k1.default", |c| float_body(c, "x", |b, _, x| Ok(b.un(Unary::K1e, x)))),
    row("aten.special_spherical_bessel_j0.default", |c| float_body(c, "x", |b, _, x| Ok(b.un(Unary::SphericalJ0, x)))),
    row("aten.igamma.default", |c| float_binary(c, PAIR, |b, a, x| b.bin(Binary::Igamma, a, x))),
    row("aten.special_gammainc.default", |c| float_binary(c, PAIR, |b, a, x| b.bin(Binary::Igamma, a, x))),
    row("aten.igammac.default", |c| float_binary(c, PAIR, |b, a, x| b.bin(Binary::Igammac, a, x))),
    row("aten.special_gammaincc.default", |c| float_binary(c, PAIR, |b, a, x| b.bin(Binary::Igammac, a, x))),
    row("aten.special_zeta.default", |c| float_binary(c, PAIR, |b, x, q| b.bin(Binary::Zeta, x, q))),
    row("aten.special_zeta.self_scalar", |c| float_binary(c, PAIR, |b, x, q| b.bin(Binary::Zeta, x, q))),
    row("aten.special_zeta.other_scalar", |c| float_binary(c, PAIR, |b, x, q| b.bin(Binary::Zeta, x, q))),
    row("aten.polygamma.default", |c| float_body(c, "self", polygamma)),
    row("aten.special_polygamma.default", |c| float_body(c, "self", polygamma)),
    row("aten.gcd.default", |c| of_integers(c, |b, x, y| b.bin(Binary::Gcd, x, y))),
    row("aten.lcm.default", |c| of_integers(c, least_multiple)),
    row("aten.frexp.Tensor", frexp),
];

const PAIR: [&str; 2] = ["self", "other"];

/// `(-1)^(n+1) n! zeta(n + 1, x)`; digamma for n = 0.
fn polygamma(b: &mut Build, call: &Call<'_>, x: ExprId) -> Result<ExprId> {
    let n = call.int("n")?;
    if !(0..=170).contains(&n) {
        return Err(call.damaged(format!("the polygamma function of order {n}")));
    }
    if n == 0 {
        return Ok(b.un(Unary::Digamma, x));
    }
    let order = b.float(x, (n + 1) as f64);
    let zeta = b.bin(Binary::Zeta, order, x);
    let factorial: f64 = (1..=n).map(|k| k as f64).product();
    Ok(b.scaled(zeta, if n % 2 == 0 { -factorial } else { factorial }))
}

fn of_integers(call: &mut Call<'_>, body: fn(&mut Build, ExprId, ExprId) -> ExprId) -> Result<Outs> {
    let (mut b, x, y, common) = two(call, PAIR)?;
    if !common.is_int() {
        return Err(call.damaged(format!("divisors of `{}`", common.name())));
    }
    let result = body(&mut b, x, y);
    b.finish(call, result, common)
}

/// `|a / gcd * b|`; 0 for two zeros, where the quotient is 0 as well.
fn least_multiple(b: &mut Build, x: ExprId, y: ExprId) -> ExprId {
    let divisor = b.bin(Binary::Gcd, x, y);
    let quotient = b.bin(Binary::TruncDiv, x, divisor);
    let product = b.mul(quotient, y);
    b.un(Unary::Abs, product)
}

/// `x = mantissa * 2^exponent` with a mantissa in `[0.5, 1)`; 0, infinities and NaN have the exponent 0.
fn frexp(call: &mut Call<'_>) -> Result<Outs> {
    let x = call.tensor("self")?;
    let (dtype, shape) = (call.dtype_of(x), call.shape(x));
    if !dtype.is_float() {
        return Err(call.damaged(format!("the mantissa of `{}`", dtype.name())));
    }
    let mut b = Build::new();
    let operand = b.tensor(call, x, dtype);
    let (mantissa, exponent) = mantissa_and_exponent(&mut b, operand);
    b.f.results = vec![b.f.cast(dtype, mantissa), b.f.cast(DType::I32, exponent)];
    Ok(call.push_all(Op::Pointwise { formula: b.f, shape }, &b.inputs)?.into_iter().map(Out::Tensor).collect())
}

fn mantissa_and_exponent(b: &mut Build, x: ExprId) -> (ExprId, ExprId) {
    let [zero, quarter, half, one, two] = [0.0, 0.25, 0.5, 1.0, 2.0].map(|v| b.float(x, v));
    let magnitude = b.un(Unary::Abs, x);
    let log = b.un(Unary::Log2, magnitude);
    let guess = b.un(Unary::Floor, log);
    // By two factors, because one power of two may not be a number of this type.
    let first = b.mul(guess, half);
    let first = b.un(Unary::Floor, first);
    let mut mantissa = x;
    for part in [first, b.sub(guess, first)] {
        let down = b.un(Unary::Neg, part);
        let power = b.un(Unary::Exp2, down);
        mantissa = b.mul(mantissa, power);
    }
    // Now in `[1, 2)`, unless the logarithm was rounded over an integer.
    let size = b.un(Unary::Abs, mantissa);
    let (low, high) = (b.bin(Binary::Lt, size, one), b.bin(Binary::Ge, size, two));
    let mut fitted = |low_then, high_then, otherwise| {
        let rest = b.f.select(high, high_then, otherwise);
        b.f.select(low, low_then, rest)
    };
    let (raise, scale) = (fitted(zero, two, one), fitted(one, quarter, half));
    let (exponent, mantissa) = (b.add(guess, raise), b.mul(mantissa, scale));
    let (is_zero, infinite, nan) = (b.bin(Binary::Eq, x, zero), b.un(Unary::IsInf, x), b.un(Unary::IsNan, x));
    let odd = b.bin(Binary::Or, is_zero, infinite);
    let odd = b.bin(Binary::Or, odd, nan);
    (b.f.select(odd, x, mantissa), b.f.select(odd, zero, exponent))
}
