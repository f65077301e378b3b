//! Pointwise operators: each row says its scalar formula.
//!
//! Takes a call; gives one [`Op::Pointwise`](crate::ir::Op) node. Dtypes follow PyTorch's promotion ([`promote`]): the
//! operands are converted to the common dtype, 16-bit floats are then computed in f32 and rounded once at the end, as
//! PyTorch's CPU kernels do.

mod activation;
mod arithmetic;
mod compare;
mod create;
pub mod promote;
mod special;
mod unary;

use super::{Outs, one, row, wide};
use crate::diag::Diagnostic;
use crate::import::{Call, Number, Operand};
use crate::ir::{Binary, ExprId, ExprNode, Formula, Literal, Op, Unary, ValueId};
use crate::sym::Expr;
use exported_runtime::{Bf16, DType, F16};

pub use activation::ROWS as ACTIVATIONS;
pub use arithmetic::ROWS as ARITHMETIC;
pub use compare::{COMPARISONS, PREDICATES};
pub use create::ROWS as CREATION;
pub use special::{MORE_SPECIAL, SPECIAL};
pub use unary::{FUNCTIONS, MORE_FUNCTIONS};

type Result<T> = std::result::Result<T, Diagnostic>;

/// Rows of functions that compute in floats and are one node of a formula.
macro_rules! floats {
    ($($target:literal => $node:ident,)*) => {
        &[$(row($target, |c| float_body(c, "self", |b, _, x| Ok(b.un(Unary::$node, x)))),)*]
    };
}
use floats;

/// A formula under construction and the tensors it reads.
struct Build {
    f: Formula,
    inputs: Vec<ValueId>,
}

impl Build {
    fn new() -> Self {
        Build { f: Formula::default(), inputs: Vec::new() }
    }

    /// An element of a tensor, as stored.
    fn raw(&mut self, call: &Call<'_>, tensor: ValueId) -> ExprId {
        let known = self.inputs.iter().position(|v| *v == tensor);
        let index = known.unwrap_or_else(|| {
            self.inputs.push(tensor);
            self.f.params.push(call.dtype_of(tensor));
            self.inputs.len() - 1
        });
        self.f.param(index)
    }

    /// An element of a tensor, converted to `common` and widened for computing.
    fn tensor(&mut self, call: &Call<'_>, tensor: ValueId, common: DType) -> ExprId {
        let x = self.raw(call, tensor);
        let x = self.f.cast(common, x);
        self.f.cast(wide(common), x)
    }

    /// A number as a literal of `dtype`; symbolic ones become sizes.
    fn number(&mut self, call: &Call<'_>, number: &Number, dtype: DType) -> Result<ExprId> {
        let node = match number {
            Number::Int(Expr::Int(v)) => literal(dtype, *v as f64, *v),
            Number::Float(v) => literal(dtype, *v, *v as i64),
            Number::Bool(Expr::Bool(b)) => literal(dtype, f64::from(u8::from(*b)), i64::from(*b)),
            Number::Int(e) | Number::SymFloat(e) => {
                let index = self.f.sizes.iter().position(|s| s == e).unwrap_or_else(|| {
                    self.f.sizes.push(e.clone());
                    self.f.sizes.len() - 1
                });
                let size = self.f.push(ExprNode::Size(index as u32));
                return Ok(self.f.cast(dtype, size));
            }
            Number::Bool(_) => return Err(call.unsupported("a truth value that depends on the input sizes")),
        };
        Ok(self.f.push(node))
    }

    fn operand(&mut self, call: &Call<'_>, operand: &Operand, common: DType) -> Result<ExprId> {
        match operand {
            Operand::Tensor(v) => Ok(self.tensor(call, *v, common)),
            Operand::Number(n) => self.rounded(call, n, common),
        }
    }

    /// As [`Build::operand`], but a single element goes straight to the computing type: so PyTorch takes the second operand
    /// of a product or quotient of 16-bit floats.
    fn unrounded(&mut self, call: &Call<'_>, operand: &Operand, common: DType) -> Result<ExprId> {
        match operand {
            Operand::Tensor(v) if call.rank(*v) == 0 => {
                let x = self.raw(call, *v);
                Ok(self.f.cast(wide(common), x))
            }
            Operand::Number(n) => self.number(call, n, wide(common)),
            other => self.operand(call, other, common),
        }
    }

    /// A number in the computing type of `common`, rounded to `common` before.
    fn rounded(&mut self, call: &Call<'_>, number: &Number, common: DType) -> Result<ExprId> {
        let known = match number {
            Number::Float(v) => Some(*v as f32),
            Number::Int(Expr::Int(v)) => Some(*v as f32),
            _ => None,
        };
        match (known, common) {
            (Some(v), DType::F16) => Ok(self.f.float(DType::F32, F16::from_f32(v).to_f32().into())),
            (Some(v), DType::Bf16) => Ok(self.f.float(DType::F32, Bf16::from_f32(v).to_f32().into())),
            _ => {
                let x = self.number(call, number, common)?;
                Ok(self.f.cast(wide(common), x))
            }
        }
    }

    fn float(&mut self, like: ExprId, value: f64) -> ExprId {
        let dtype = self.f.dtype(like);
        self.f.push(literal(dtype, value, value as i64))
    }

    fn un(&mut self, op: Unary, a: ExprId) -> ExprId {
        self.f.unary(op, a)
    }

    fn bin(&mut self, op: Binary, a: ExprId, b: ExprId) -> ExprId {
        self.f.binary(op, a, b)
    }

    fn add(&mut self, a: ExprId, b: ExprId) -> ExprId {
        self.bin(Binary::Add, a, b)
    }

    fn sub(&mut self, a: ExprId, b: ExprId) -> ExprId {
        self.bin(Binary::Sub, a, b)
    }

    fn mul(&mut self, a: ExprId, b: ExprId) -> ExprId {
        self.bin(Binary::Mul, a, b)
    }

    fn div(&mut self, a: ExprId, b: ExprId) -> ExprId {
        self.bin(Binary::Div, a, b)
    }

    /// `x * c`.
    fn scaled(&mut self, x: ExprId, c: f64) -> ExprId {
        let c = self.float(x, c);
        self.mul(x, c)
    }

    /// `x + c`.
    fn shifted(&mut self, x: ExprId, c: f64) -> ExprId {
        let c = self.float(x, c);
        self.add(x, c)
    }

    /// `x` between bounds.
    fn limited(&mut self, x: ExprId, low: f64, high: f64) -> ExprId {
        let (low, high) = (self.float(x, low), self.float(x, high));
        let x = self.bin(Binary::Max, x, low);
        self.bin(Binary::Min, x, high)
    }

    /// Whether an element counts as true.
    fn truth(&mut self, x: ExprId) -> ExprId {
        self.f.cast(DType::Bool, x)
    }

    /// The node; the result is converted to `dtype`.
    fn value(mut self, call: &mut Call<'_>, result: ExprId, dtype: DType) -> Result<ValueId> {
        let result = self.f.cast(dtype, result);
        self.f.results.push(result);
        call.pointwise(self.f, &self.inputs)
    }

    fn finish(self, call: &mut Call<'_>, result: ExprId, dtype: DType) -> Result<Outs> {
        one(self.value(call, result, dtype)?)
    }

    /// The node with a given shape (that the operands broadcast to).
    fn finish_as(mut self, call: &mut Call<'_>, result: ExprId, dtype: DType, shape: Vec<Expr>) -> Result<Outs> {
        let result = self.f.cast(dtype, result);
        self.f.results.push(result);
        one(call.push(Op::Pointwise { formula: self.f, shape }, &self.inputs)?)
    }
}

/// The literal of a dtype: as float, or as integer or truth value.
fn literal(dtype: DType, float: f64, int: i64) -> ExprNode {
    let literal = match dtype {
        d if d.is_float() => Literal::float(float),
        DType::Bool => Literal::Bool(float != 0.0),
        _ => Literal::Int(int),
    };
    ExprNode::Const(dtype, literal)
}

/// What a unary rule computes: the operand in its computing type in, the result out.
type Body = fn(&mut Build, &Call<'_>, ExprId) -> Result<ExprId>;

/// `self` as a float (integers become f32), result of the same dtype.
fn float_body(call: &mut Call<'_>, name: &str, body: Body) -> Result<Outs> {
    let x = call.tensor(name)?;
    let dtype = promote::to_float(call.dtype_of(x));
    let mut b = Build::new();
    let operand = b.tensor(call, x, dtype);
    let y = body(&mut b, call, operand)?;
    b.finish(call, y, dtype)
}

/// As [`float_body`], but every step is rounded to the dtype of the result, as PyTorch does where its kernel is made of
/// operations on 16-bit vectors.
fn stepwise_body(call: &mut Call<'_>, body: Body) -> Result<Outs> {
    let x = call.tensor("self")?;
    let dtype = promote::to_float(call.dtype_of(x));
    let mut b = Build::new();
    let operand = b.raw(call, x);
    let operand = b.f.cast(dtype, operand);
    let y = body(&mut b, call, operand)?;
    b.finish(call, y, dtype)
}

/// `self` in its own dtype, result of the same.
fn same_body(call: &mut Call<'_>, body: Body) -> Result<Outs> {
    let x = call.tensor("self")?;
    let dtype = call.dtype_of(x);
    let mut b = Build::new();
    let operand = b.tensor(call, x, dtype);
    let y = body(&mut b, call, operand)?;
    b.finish(call, y, dtype)
}

#[cfg(test)]
mod tests {
    /// Every overload torch tags as pointwise has a row, unless it stands in this list of exotic functions.
    #[test]
    fn pointwise_operators_have_rows() {
        let exotic = ["polynomial", "airy", "equal", "clone", "xlogy.Out"];
        let missing: Vec<&str> = crate::ops::pointwise_targets()
            .filter(|t| t.starts_with("aten."))
            .filter(|t| crate::ops::find(t).is_none())
            .filter(|t| !exotic.iter().any(|e| t.contains(e)))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
