//! Symbolic integers, floats and truth values: the sizes of dynamic dims and the conditions on them.
//!
//! [`Expr`] is the one expression type of every layer. The constructors simplify, so structural equality is a useful
//! (sound, incomplete) equality test. Parsers for both notations of the archives (sympy `srepr` since torch 2.6, infix
//! before and in range tables) and for `guards_code` live beside it.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Name of a symbol (`s77`, `u0`, `zuf0`).
pub type Symbol = Arc<str>;

/// Operators of expressions; semantics are those of `torch.utils._sympy.functions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Func {
    Add,
    Mul,
    Pow,
    FloorDiv,
    CleanDiv,
    Mod,
    PythonMod,
    Max,
    Min,
    ToFloat,
    TruncToInt,
    CeilToInt,
    FloorToInt,
    RoundToInt,
    IntTrueDiv,
    FloatTrueDiv,
    FloatPow,
    Sqrt,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    And,
    Or,
    Not,
    /// `Ite(condition, then, otherwise)`.
    Ite,
    LShift,
    RShift,
}

/// A scalar expression over symbols.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Expr {
    /// An integer.
    Int(i64),
    /// Bits of an f64.
    Float(u64),
    /// A truth value.
    Bool(bool),
    /// A symbol.
    Symbol(Symbol),
    /// An operator applied to its operands.
    Op(Func, Arc<[Expr]>),
}

/// Bounds of an integer; `None` = unbounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interval {
    /// Least value.
    pub min: Option<i64>,
    /// Greatest value.
    pub max: Option<i64>,
}

/// Range of every symbol, as `range_constraints` states them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(pub BTreeMap<Symbol, Interval>);

impl Expr {
    /// The value of a constant integer.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Expr::Int(v) => Some(*v),
            _ => None,
        }
    }
}

impl From<i64> for Expr {
    fn from(v: i64) -> Self {
        Expr::Int(v)
    }
}

impl From<usize> for Expr {
    fn from(v: usize) -> Self {
        Expr::Int(v as i64)
    }
}
