//! Symbolic integers, floats and truth values: the sizes of dynamic dims and the conditions on them.
//!
//! [`Expr`] is the one expression type of every layer. The constructors simplify, so structural equality is a useful
//! (sound, incomplete) equality test: integer sums and products are kept as expanded polynomials, conditions with the
//! constant on the right. Integers are the mathematical ones; a rewrite may make an undefined expression (a division
//! by zero) defined, it never changes a defined value, except that an expanded product may overflow between operands near
//! the limits of i64. Float arithmetic is never reordered.
//!
//! Parsers for both notations of the archives (sympy `srepr` since torch 2.6, infix before and in range tables) and
//! for `guards_code` live beside it ([`parse`], [`guards`]).

mod bounds;
mod build;
mod eval;
pub mod guards;
mod lex;
mod multiple;
mod parse;
mod poly;
mod print;
mod prove;
mod residue;
mod rust;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use eval::Value;
pub use multiple::{Multiple, multiples};
pub use parse::{infix, parse, parse_infix, parse_srepr};
pub use residue::{Residue, equalities, joint_residues, residues};

/// Name of a symbol (`s77`, `u0`, `zuf0`).
pub type Symbol = Arc<str>;

/// Operators of expressions; semantics are those of `torch.utils._sympy.functions`.
///
/// `CleanDiv` is read as `FloorDiv` (equal where it is defined), `PythonMod` as `Mod` (likewise), shifts by a constant
/// as products and floor divisions. The order of the variants is sympy's order of printing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Func {
    /// N-ary product, of integers or (left to right) of floats.
    Mul,
    /// N-ary sum, of integers or (left to right) of floats.
    Add,
    /// Integer to a non-negative integer power.
    Pow,
    /// Least integer not below a float.
    CeilToInt,
    /// Float to a float power.
    FloatPow,
    /// Float divided by float.
    FloatTrueDiv,
    /// Integer division rounding toward negative infinity.
    FloorDiv,
    /// Greatest integer not above a float.
    FloorToInt,
    /// Integer divided by integer, as a float.
    IntTrueDiv,
    /// `a * 2**b`, `b` not constant.
    LShift,
    /// Remainder of `FloorDiv`: has the sign of the divisor.
    Mod,
    /// Square root of a float.
    Sqrt,
    /// `floor(a / 2**b)`, `b` not constant.
    RShift,
    /// Nearest integer, ties to even.
    RoundToInt,
    /// Integer to f64.
    ToFloat,
    /// Float to integer, toward zero.
    TruncToInt,
    /// Greatest operand.
    Max,
    /// Least operand.
    Min,
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
    /// All operands hold.
    And,
    /// An operand holds.
    Or,
    /// The operand does not hold.
    Not,
    /// `Ite(condition, then, otherwise)`.
    Ite,
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

/// What an expression evaluates to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// i64.
    Int,
    /// f64.
    Float,
    /// Truth value.
    Bool,
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

impl Ranges {
    /// The range of `symbol`; unbounded if none is stated.
    pub fn get(&self, symbol: &str) -> Interval {
        self.0.get(symbol).copied().unwrap_or_default()
    }
}

/// Most nodes (as a tree) and deepest nesting of an expression that [`Expr::within_limits`] accepts.
const MAX_NODES: usize = 4096;
const MAX_DEPTH: usize = 256;

impl Expr {
    /// The symbol of that name.
    pub fn symbol(name: &str) -> Expr {
        Expr::Symbol(name.into())
    }

    /// A constant float.
    pub fn float(value: f64) -> Expr {
        Expr::Float(value.to_bits())
    }

    /// The value of a constant integer.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Expr::Int(v) => Some(*v),
            _ => None,
        }
    }

    /// The value of a constant truth value.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Expr::Bool(v) => Some(*v),
            _ => None,
        }
    }

    /// What the expression evaluates to. Symbols are integers, except the unbacked floats `zuf…` and `zf…`.
    pub fn kind(&self) -> Kind {
        match self {
            Expr::Int(_) => Kind::Int,
            Expr::Float(_) => Kind::Float,
            Expr::Bool(_) => Kind::Bool,
            Expr::Symbol(name) if name.starts_with('z') => Kind::Float,
            Expr::Symbol(_) => Kind::Int,
            Expr::Op(func, args) => func.kind(args),
        }
    }

    /// The symbols that occur.
    pub fn symbols(&self) -> BTreeSet<Symbol> {
        let mut found = BTreeSet::new();
        self.collect_symbols(&mut found);
        found
    }

    /// Whether `symbol` occurs.
    pub fn mentions(&self, symbol: &str) -> bool {
        match self {
            Expr::Symbol(name) => &**name == symbol,
            Expr::Op(_, args) => args.iter().any(|a| a.mentions(symbol)),
            _ => false,
        }
    }

    /// Replaces symbols and simplifies again.
    pub fn substitute(&self, values: &BTreeMap<Symbol, Expr>) -> Expr {
        match self {
            Expr::Symbol(name) => values.get(name).unwrap_or(self).clone(),
            Expr::Op(func, args) => {
                let new: Vec<Expr> = args.iter().map(|a| a.substitute(values)).collect();
                if new[..] == args[..] { self.clone() } else { Expr::apply(*func, new) }
            }
            _ => self.clone(),
        }
    }

    /// Whether the expression is small enough to be worked on. Expressions share their parts, so a chain of operators
    /// in a (hostile) graph can double the tree at each step; whoever builds expressions from a graph asks this after
    /// each step and refuses the program otherwise.
    pub fn within_limits(&self) -> bool {
        fn count(e: &Expr, depth: usize, left: &mut usize) -> bool {
            if depth == 0 || *left == 0 {
                return false;
            }
            *left -= 1;
            match e {
                Expr::Op(_, args) => args.iter().all(|a| count(a, depth - 1, left)),
                _ => true,
            }
        }
        count(self, MAX_DEPTH, &mut MAX_NODES.clone())
    }

    fn collect_symbols(&self, found: &mut BTreeSet<Symbol>) {
        match self {
            Expr::Symbol(name) => {
                found.insert(name.clone());
            }
            Expr::Op(_, args) => args.iter().for_each(|a| a.collect_symbols(found)),
            _ => {}
        }
    }
}

impl Func {
    fn kind(self, args: &[Expr]) -> Kind {
        use Func::*;
        match self {
            Add | Mul | Max | Min => {
                if args.iter().any(|a| a.kind() == Kind::Float) {
                    Kind::Float
                } else {
                    Kind::Int
                }
            }
            Ite => match (args.get(1).map(Expr::kind), args.get(2).map(Expr::kind)) {
                (Some(Kind::Bool), Some(Kind::Bool)) => Kind::Bool,
                (Some(Kind::Int), Some(Kind::Int)) => Kind::Int,
                _ => Kind::Float,
            },
            Pow | FloorDiv | Mod | CeilToInt | FloorToInt | RoundToInt | TruncToInt | LShift | RShift => Kind::Int,
            FloatPow | FloatTrueDiv | IntTrueDiv | Sqrt | ToFloat => Kind::Float,
            Eq | Ne | Lt | Le | Gt | Ge | And | Or | Not => Kind::Bool,
        }
    }
}

impl From<i64> for Expr {
    fn from(v: i64) -> Self {
        Expr::Int(v)
    }
}

impl From<i32> for Expr {
    fn from(v: i32) -> Self {
        Expr::Int(v.into())
    }
}

impl From<usize> for Expr {
    fn from(v: usize) -> Self {
        Expr::Int(v as i64)
    }
}

impl From<bool> for Expr {
    fn from(v: bool) -> Self {
        Expr::Bool(v)
    }
}

impl From<&Expr> for Expr {
    fn from(v: &Expr) -> Self {
        v.clone()
    }
}
