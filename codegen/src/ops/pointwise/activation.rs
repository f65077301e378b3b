//! Activations, in the forms of PyTorch's CPU kernels.

use super::{Build, Result, float_body, promote, row, same_body};
use crate::import::Call;
use crate::ir::{Binary, ExprId, Unary};
use crate::ops::{Out, Outs, Row};
use crate::sym::Expr;
use exported_runtime::DType;

/// The rows.
pub const ROWS: &[Row] = &[
    row("aten.relu.default", |c| {
        same_body(c, |b, _, x| {
            let zero = b.float(x, 0.0);
            Ok(b.bin(Binary::Max, x, zero))
        })
    }),
    row("aten.relu6.default", |c| same_body(c, |b, _, x| Ok(b.limited(x, 0.0, 6.0)))),
    row("aten.hardtanh.default", |c| {
        same_body(c, |b, c, x| Ok(b.limited(x, c.float("min_val")?, c.float("max_val")?)))
    }),
    row("aten.leaky_relu.default", |c| {
        float_body(c, "self", |b, c, x| {
            let slope = b.float(x, c.float("negative_slope")?);
            Ok(leaky(b, x, slope))
        })
    }),
    row("aten.rrelu.default", |c| float_body(c, "self", rrelu)),
    row("aten.prelu.default", prelu),
    row("aten.elu.default", |c| {
        float_body(c, "self", |b, c, x| {
            Ok(exponential(b, x, c.float("alpha")?, c.float("scale")?, c.float("input_scale")?))
        })
    }),
    row("aten.selu.default", |c| {
        float_body(c, "self", |b, _, x| Ok(exponential(b, x, 1.673_263_242_354_377_2, 1.050_700_987_355_480_5, 1.0)))
    }),
    row("aten.celu.default", |c| {
        float_body(c, "self", |b, c, x| {
            let alpha = c.float("alpha")?;
            Ok(exponential(b, x, alpha, 1.0, 1.0 / alpha))
        })
    }),
    row("aten.gelu.default", |c| float_body(c, "self", gelu)),
    row("aten.silu.default", |c| {
        float_body(c, "self", |b, _, x| {
            let gate = b.un(Unary::Sigmoid, x);
            Ok(b.mul(x, gate))
        })
    }),
    row("aten.mish.default", |c| float_body(c, "self", mish)),
    row("aten.hardsigmoid.default", |c| float_body(c, "self", |b, _, x| Ok(hard_gate(b, x)))),
    row("aten.hardswish.default", |c| {
        float_body(c, "self", |b, _, x| {
            let shifted = b.shifted(x, 3.0);
            let limited = b.limited(shifted, 0.0, 6.0);
            let product = b.mul(x, limited);
            Ok(sixth(b, product))
        })
    }),
    row("aten.softplus.default", |c| float_body(c, "self", softplus)),
    row("aten.softshrink.default", |c| float_body(c, "self", softshrink)),
    row("aten.hardshrink.default", |c| float_body(c, "self", hardshrink)),
    row("aten.threshold.default", threshold),
    row("aten.log_sigmoid.default", |c| float_body(c, "self", log_sigmoid)),
    row("aten.log_sigmoid_forward.default", |c| {
        let mut outs = float_body(c, "self", log_sigmoid)?;
        // The buffer serves the backward pass.
        outs.push(Out::None);
        Ok(outs)
    }),
    row("aten.glu.default", glu),
];

/// `x > 0 ? x : slope * x`.
pub(super) fn leaky(b: &mut Build, x: ExprId, slope: ExprId) -> ExprId {
    let zero = b.float(x, 0.0);
    let positive = b.bin(Binary::Gt, x, zero);
    let scaled = b.mul(x, slope);
    b.f.select(positive, x, scaled)
}

fn rrelu(b: &mut Build, call: &Call<'_>, x: ExprId) -> Result<ExprId> {
    if call.bool("training")? {
        return Err(call
            .violated("`rrelu` in training mode draws random slopes")
            .help("call `model.eval()` before exporting"));
    }
    let slope = b.float(x, (call.float("lower")? + call.float("upper")?) / 2.0);
    Ok(leaky(b, x, slope))
}

/// One slope per channel (dim 1), or one for all.
fn prelu(call: &mut Call<'_>) -> Result<Outs> {
    let (x, weight) = (call.tensor("self")?, call.tensor("weight")?);
    let dtype = call.dtype_of(x);
    let rank = call.rank(x);
    let mut shape = vec![Expr::Int(1); rank];
    if !call.ty(weight).is_single() {
        let channels = call.ty(weight).shape.first().cloned().unwrap_or(Expr::Int(1));
        *shape.get_mut(1).ok_or_else(|| call.damaged("`prelu` with several slopes needs a channel dim"))? = channels;
    }
    let weight = call.reshape(weight, &shape)?;
    let mut b = Build::new();
    let (x, slope) = (b.tensor(call, x, dtype), b.tensor(call, weight, dtype));
    let y = leaky(&mut b, x, slope);
    b.finish(call, y, dtype)
}

/// `x > 0 ? scale * x : scale * alpha * expm1(input_scale * x)`.
fn exponential(b: &mut Build, x: ExprId, alpha: f64, scale: f64, input_scale: f64) -> ExprId {
    let times = |b: &mut Build, x: ExprId, c: f64| if c == 1.0 { x } else { b.scaled(x, c) };
    let zero = b.float(x, 0.0);
    let negative = b.bin(Binary::Le, x, zero);
    let inner = times(b, x, input_scale);
    let curve = b.un(Unary::Expm1, inner);
    let curve = times(b, curve, alpha * scale);
    let line = times(b, x, scale);
    b.f.select(negative, curve, line)
}

fn gelu(b: &mut Build, call: &Call<'_>, x: ExprId) -> Result<ExprId> {
    use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, SQRT_2};
    let inner = match call.str("approximate")? {
        "none" => {
            let scaled = b.scaled(x, FRAC_1_SQRT_2);
            b.un(Unary::Erf, scaled)
        }
        "tanh" => {
            let square = b.un(Unary::Square, x);
            let cube = b.mul(square, x);
            let term = b.scaled(cube, 0.044715);
            let sum = b.add(x, term);
            let scaled = b.scaled(sum, SQRT_2 * FRAC_2_SQRT_PI * 0.5);
            b.un(Unary::Tanh, scaled)
        }
        other => return Err(call.damaged(format!("`gelu` with approximation `{other}`"))),
    };
    let gate = b.shifted(inner, 1.0);
    let half = b.scaled(x, 0.5);
    Ok(b.mul(half, gate))
}

/// `x tanh(log1p(e^x)) = x n / (n + 2)` with `n = e^x (e^x + 2)`: one exponential instead of three functions. From 20 on
/// the quotient is 1 in f32 (and in f64 from 20 on, too, up to its last bits).
fn mish(b: &mut Build, _: &Call<'_>, x: ExprId) -> Result<ExprId> {
    let high = b.float(x, 20.0);
    let limited = b.bin(Binary::Min, x, high);
    let e = b.un(Unary::Exp, limited);
    let plus = b.shifted(e, 2.0);
    let n = b.mul(e, plus);
    let denominator = b.shifted(n, 2.0);
    let quotient = b.div(n, denominator);
    Ok(b.mul(x, quotient))
}

fn sixth(b: &mut Build, x: ExprId) -> ExprId {
    let six = b.float(x, 6.0);
    b.div(x, six)
}

/// `clamp(x + 3, 0, 6) / 6`.
fn hard_gate(b: &mut Build, x: ExprId) -> ExprId {
    let shifted = b.shifted(x, 3.0);
    let limited = b.limited(shifted, 0.0, 6.0);
    sixth(b, limited)
}

fn softplus(b: &mut Build, call: &Call<'_>, x: ExprId) -> Result<ExprId> {
    let beta = b.float(x, call.float("beta")?);
    let threshold = b.float(x, call.float("threshold")?);
    let scaled = b.mul(x, beta);
    let linear = b.bin(Binary::Gt, scaled, threshold);
    let e = b.un(Unary::Exp, scaled);
    let log = b.un(Unary::Log1p, e);
    let curve = b.div(log, beta);
    Ok(b.f.select(linear, x, curve))
}

fn softshrink(b: &mut Build, call: &Call<'_>, x: ExprId) -> Result<ExprId> {
    let lambda = call.float("lambd")?;
    let (high, low, zero) = (b.float(x, lambda), b.float(x, -lambda), b.float(x, 0.0));
    let (above, below) = (b.bin(Binary::Gt, x, high), b.bin(Binary::Lt, x, low));
    let (down, up) = (b.sub(x, high), b.add(x, high));
    // Zero, but NaN stays.
    let middle = b.mul(x, zero);
    let y = b.f.select(below, up, middle);
    Ok(b.f.select(above, down, y))
}

fn hardshrink(b: &mut Build, call: &Call<'_>, x: ExprId) -> Result<ExprId> {
    let lambda = call.float("lambd")?;
    let (high, low, zero) = (b.float(x, lambda), b.float(x, -lambda), b.float(x, 0.0));
    let (from, to) = (b.bin(Binary::Ge, x, low), b.bin(Binary::Le, x, high));
    let inside = b.bin(Binary::And, from, to);
    Ok(b.f.select(inside, zero, x))
}

fn threshold(call: &mut Call<'_>) -> Result<Outs> {
    let (limit, value) = (call.number("threshold")?, call.number("value")?);
    let x = call.tensor("self")?;
    let dtype = call.dtype_of(x);
    let mut b = Build::new();
    let x = b.tensor(call, x, dtype);
    let computed = b.f.dtype(x);
    let (limit, value) = (b.number(call, &limit, computed)?, b.number(call, &value, computed)?);
    let below = b.bin(Binary::Le, x, limit);
    let y = b.f.select(below, value, x);
    b.finish(call, y, dtype)
}

/// `min(0, x) - log1p(exp(-|x|))`.
fn log_sigmoid(b: &mut Build, _: &Call<'_>, x: ExprId) -> Result<ExprId> {
    let zero = b.float(x, 0.0);
    let low = b.bin(Binary::Min, x, zero);
    let magnitude = b.un(Unary::Abs, x);
    let negative = b.un(Unary::Neg, magnitude);
    let e = b.un(Unary::Exp, negative);
    let log = b.un(Unary::Log1p, e);
    Ok(b.sub(low, log))
}

/// First half times sigmoid of the second half.
fn glu(call: &mut Call<'_>) -> Result<Outs> {
    let x = call.tensor("self")?;
    let dim = call.dim("dim", call.rank(x))?;
    let size = call.ty(x).shape.get(dim).cloned().ok_or_else(|| call.damaged("`glu` of a 0-d tensor"))?;
    if !size.multiple_of(2) {
        return Err(call.unsupported(format!("`glu` over {size} entries, which is not known to be even")));
    }
    let half = Expr::floordiv(size, 2);
    let first = call.slice(x, dim, Expr::Int(0), half.clone(), 1)?;
    let second = call.slice(x, dim, half.clone(), half, 1)?;
    let dtype: DType = promote::to_float(call.dtype_of(x));
    let mut b = Build::new();
    let (a, gate) = (b.tensor(call, first, dtype), b.tensor(call, second, dtype));
    let gate = b.un(Unary::Sigmoid, gate);
    let y = b.mul(a, gate);
    b.finish(call, y, dtype)
}
