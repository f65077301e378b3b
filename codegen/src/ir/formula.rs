//! Scalar expressions: what a pointwise operator computes for one element.
//!
//! A formula is a small DAG over typed scalars. An operator table row builds one, fusion composes them, `emit` prints
//! one as the body of a loop and `eval` interprets one to fold constants. All three go through the same node set, so a
//! new pointwise operator needs no new node as long as it can be said with these.

use crate::sym::{Expr, Kind};
use exported_runtime::DType;

/// Index of a node in its formula; operands come before their users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExprId(pub u32);

/// A scalar literal; floats compare by their bits, so that formulas can be compared and hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Literal {
    /// Bits of an f64; converted once to the dtype of its node.
    Float(u64),
    /// Any integer.
    Int(i64),
    /// A truth value.
    Bool(bool),
}

impl Literal {
    /// A float literal.
    pub fn float(value: f64) -> Self {
        Literal::Float(value.to_bits())
    }
}

/// Functions of one operand; result dtype = operand dtype unless stated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Unary {
    Neg,
    Abs,
    Sign,
    /// Bitwise not; logical not on bool.
    Not,
    Sqrt,
    Rsqrt,
    Recip,
    Square,
    Exp,
    Exp2,
    Expm1,
    Log,
    Log2,
    Log10,
    Log1p,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Tanh,
    Asinh,
    Acosh,
    Atanh,
    Erf,
    Erfc,
    Erfinv,
    Erfcx,
    /// Logarithm of the normal distribution function.
    LogNdtr,
    /// Inverse of the normal distribution function.
    Ndtri,
    Lgamma,
    Digamma,
    I0,
    I0e,
    I1,
    I1e,
    K0,
    K0e,
    K1,
    K1e,
    J0,
    J1,
    Y0,
    Y1,
    SphericalJ0,
    Sigmoid,
    Floor,
    Ceil,
    Trunc,
    /// Half to even.
    Round,
    /// Of f32, dtype i32: half to even below 2^22, farther out some integer that is, on the same side; any for NaN.
    Nearest,
    /// dtype bool.
    IsNan,
    /// dtype bool.
    IsInf,
    /// dtype bool: sign bit set.
    Signbit,
}

impl Unary {
    /// Whether it takes far longer than a load.
    pub fn is_expensive(self) -> bool {
        use Unary::*;
        !matches!(
            self,
            Neg | Abs | Sign | Not | Square | Floor | Ceil | Trunc | Round | Nearest | IsNan | IsInf | Signbit | Recip
        )
    }
}

/// Functions of two operands of one dtype; result dtype = operand dtype, bool for comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Binary {
    Add,
    Sub,
    Mul,
    /// True division of floats.
    Div,
    /// `torch.floor_divide`: floor toward minus infinity, ints and floats.
    FloorDiv,
    /// Truncating division.
    TruncDiv,
    /// Sign of the divisor (`torch.remainder`).
    Remainder,
    /// Sign of the dividend (`torch.fmod`).
    Fmod,
    Pow,
    Atan2,
    Hypot,
    CopySign,
    NextAfter,
    /// Hurwitz' zeta function.
    Zeta,
    /// Regularized lower incomplete gamma function: order, argument.
    Igamma,
    /// The upper one.
    Igammac,
    /// Of integers.
    Gcd,
    /// NaN if either is NaN.
    Max,
    /// NaN if either is NaN.
    Min,
    /// The other one if one is NaN.
    Fmax,
    /// The other one if one is NaN.
    Fmin,
    And,
    Or,
    Xor,
    Shl,
    Shr,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

impl Binary {
    /// Whether it takes far longer than a load.
    pub fn is_expensive(self) -> bool {
        use Binary::*;
        matches!(
            self,
            FloorDiv | TruncDiv | Remainder | Fmod | Pow | Atan2 | Hypot | NextAfter | Zeta | Igamma | Igammac | Gcd
        )
    }
}

/// One scalar operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExprNode {
    /// Element of the node's tensor operand with this number.
    Param(u32),
    /// A literal of the given dtype.
    Const(DType, Literal),
    /// Coordinate (i64) of the element along an axis of the *output*.
    Coord(u32),
    /// A number known at run time only: entry of [`Formula::sizes`], i64 (f64 if the expression is a float).
    Size(u32),
    /// One operand.
    Unary(Unary, ExprId),
    /// Two operands of equal dtype.
    Binary(Binary, ExprId, ExprId),
    /// `condition ? then : otherwise`; the condition is bool, the others of equal dtype.
    Select(ExprId, ExprId, ExprId),
    /// Conversion with torch CPU's result.
    Cast(DType, ExprId),
}

impl ExprNode {
    /// The nodes it is computed from.
    pub fn operands(&self) -> impl Iterator<Item = ExprId> + use<> {
        let list = match *self {
            ExprNode::Param(_) | ExprNode::Const(..) | ExprNode::Coord(_) | ExprNode::Size(_) => [None; 3],
            ExprNode::Unary(_, a) | ExprNode::Cast(_, a) => [Some(a), None, None],
            ExprNode::Binary(_, a, b) => [Some(a), Some(b), None],
            ExprNode::Select(c, a, b) => [Some(c), Some(a), Some(b)],
        };
        list.into_iter().flatten()
    }

    /// The same with other operands.
    #[must_use]
    pub fn with_operands(&self, mut f: impl FnMut(ExprId) -> ExprId) -> ExprNode {
        match *self {
            ExprNode::Param(_) | ExprNode::Const(..) | ExprNode::Coord(_) | ExprNode::Size(_) => *self,
            ExprNode::Unary(op, a) => ExprNode::Unary(op, f(a)),
            ExprNode::Cast(dtype, a) => ExprNode::Cast(dtype, f(a)),
            ExprNode::Binary(op, a, b) => {
                let a = f(a);
                ExprNode::Binary(op, a, f(b))
            }
            ExprNode::Select(c, a, b) => {
                let (c, a) = (f(c), f(a));
                ExprNode::Select(c, a, f(b))
            }
        }
    }
}

/// What a pointwise node computes: `params` tensors in, one value per entry of `results` out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Formula {
    /// Dtypes of the tensor operands.
    pub params: Vec<DType>,
    /// Run-time sizes (or floats made of them) referred to by [`ExprNode::Size`].
    pub sizes: Vec<Expr>,
    /// The DAG in topological order.
    pub nodes: Vec<ExprNode>,
    /// The outputs.
    pub results: Vec<ExprId>,
}

impl Formula {
    /// A formula over operands of these dtypes, without results yet.
    pub fn new(params: &[DType]) -> Self {
        Formula { params: params.to_vec(), ..Formula::default() }
    }

    /// Appends a node (an equal one is reused) and returns it.
    pub fn push(&mut self, node: ExprNode) -> ExprId {
        if let Some(i) = self.nodes.iter().position(|n| *n == node) {
            return ExprId(i as u32);
        }
        self.nodes.push(node);
        ExprId(self.nodes.len() as u32 - 1)
    }

    /// The operand with this number.
    pub fn param(&mut self, index: usize) -> ExprId {
        self.push(ExprNode::Param(index as u32))
    }

    /// A float literal of the given dtype.
    pub fn float(&mut self, dtype: DType, value: f64) -> ExprId {
        self.push(ExprNode::Const(dtype, Literal::float(value)))
    }

    /// An integer literal of the given dtype.
    pub fn int(&mut self, dtype: DType, value: i64) -> ExprId {
        self.push(ExprNode::Const(dtype, Literal::Int(value)))
    }

    /// One operand.
    pub fn unary(&mut self, op: Unary, a: ExprId) -> ExprId {
        self.push(ExprNode::Unary(op, a))
    }

    /// Two operands.
    pub fn binary(&mut self, op: Binary, a: ExprId, b: ExprId) -> ExprId {
        self.push(ExprNode::Binary(op, a, b))
    }

    /// `c ? a : b`.
    pub fn select(&mut self, c: ExprId, a: ExprId, b: ExprId) -> ExprId {
        self.push(ExprNode::Select(c, a, b))
    }

    /// Conversion; none when the dtype is right already.
    pub fn cast(&mut self, dtype: DType, a: ExprId) -> ExprId {
        if self.dtype(a) == dtype { a } else { self.push(ExprNode::Cast(dtype, a)) }
    }

    /// Drops what the results do not need; gives the old numbers of the parameters that remain.
    pub fn prune(&mut self) -> Vec<usize> {
        let mut needed = vec![false; self.nodes.len()];
        self.results.iter().for_each(|r| needed[r.0 as usize] = true);
        for i in (0..self.nodes.len()).rev() {
            if needed[i] {
                self.nodes[i].operands().for_each(|id| needed[id.0 as usize] = true);
            }
        }
        let old = std::mem::take(self);
        let (mut ids, mut params, mut sizes) = (vec![ExprId(0); old.nodes.len()], Vec::new(), Vec::new());
        for (i, node) in old.nodes.iter().enumerate().filter(|(i, _)| needed[*i]) {
            let node = match *node {
                ExprNode::Param(k) => ExprNode::Param(renumber(&mut params, k as usize)),
                ExprNode::Size(k) => ExprNode::Size(renumber(&mut sizes, k as usize)),
                other => other.with_operands(|id| ids[id.0 as usize]),
            };
            ids[i] = self.push(node);
        }
        self.params = params.iter().map(|&k| old.params[k]).collect();
        self.sizes = sizes.iter().map(|&k| old.sizes[k].clone()).collect();
        self.results = old.results.iter().map(|r| ids[r.0 as usize]).collect();
        params
    }

    /// Whether it holds a function that takes far longer than a load.
    pub fn is_expensive(&self) -> bool {
        self.nodes.iter().any(|node| match node {
            ExprNode::Unary(op, _) => op.is_expensive(),
            ExprNode::Binary(op, ..) => op.is_expensive(),
            _ => false,
        })
    }

    /// The dtype of a node.
    pub fn dtype(&self, id: ExprId) -> DType {
        match self.nodes[id.0 as usize] {
            ExprNode::Param(i) => self.params[i as usize],
            ExprNode::Const(d, _) | ExprNode::Cast(d, _) => d,
            ExprNode::Coord(_) => DType::I64,
            ExprNode::Size(i) => match self.sizes.get(i as usize).map(Expr::kind) {
                Some(Kind::Float) => DType::F64,
                _ => DType::I64,
            },
            ExprNode::Unary(Unary::IsNan | Unary::IsInf | Unary::Signbit, _) => DType::Bool,
            ExprNode::Unary(Unary::Nearest, _) => DType::I32,
            ExprNode::Unary(_, a) => self.dtype(a),
            ExprNode::Binary(Binary::Eq | Binary::Ne | Binary::Lt | Binary::Le | Binary::Gt | Binary::Ge, ..) => {
                DType::Bool
            }
            ExprNode::Binary(_, a, _) | ExprNode::Select(_, a, _) => self.dtype(a),
        }
    }
}

/// The new number of an old one, in order of first use.
fn renumber(known: &mut Vec<usize>, old: usize) -> u32 {
    let found = known.iter().position(|k| *k == old);
    found.unwrap_or_else(|| {
        known.push(old);
        known.len() - 1
    }) as u32
}
