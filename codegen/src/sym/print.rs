//! Infix text as PyTorch prints it in programs and messages; `parse_infix` reads it back.

use std::fmt::{self, Display, Formatter};

use super::{Expr, Func};

/// How tightly a printed expression holds together, sympy's order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Or,
    And,
    /// Comparisons; also `FloorDiv` and `Mod`, which torch declares looser than sums.
    Relation,
    Sum,
    Product,
    Power,
    Call,
    Atom,
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Expr::Int(v) => write!(f, "{v}"),
            Expr::Float(bits) => write!(f, "{:?}", f64::from_bits(*bits)),
            Expr::Bool(true) => f.write_str("True"),
            Expr::Bool(false) => f.write_str("False"),
            Expr::Symbol(name) => f.write_str(name),
            Expr::Op(func, args) => operation(f, *func, args),
        }
    }
}

fn operation(f: &mut Formatter, func: Func, args: &[Expr]) -> fmt::Result {
    match (func, args) {
        (Func::Add, [first, rest @ ..]) if !rest.is_empty() => sum(f, first, rest),
        (Func::Mul, [first, rest @ ..]) if !rest.is_empty() => {
            match first {
                Expr::Int(-1) => f.write_str("-")?,
                Expr::Int(_) | Expr::Float(_) => write!(f, "{first}*")?,
                _ => return joined(f, "*", args, Level::Product),
            }
            joined(f, "*", rest, Level::Product)
        }
        (Func::Pow, [_, _]) => joined(f, "**", args, Level::Call),
        (Func::FloorDiv, [_, _]) => {
            f.write_str("(")?;
            joined(f, "//", args, Level::Atom)?;
            f.write_str(")")
        }
        (Func::Lt, [_, _]) => joined(f, " < ", args, Level::Sum),
        (Func::Le, [_, _]) => joined(f, " <= ", args, Level::Sum),
        (Func::Gt, [_, _]) => joined(f, " > ", args, Level::Sum),
        (Func::Ge, [_, _]) => joined(f, " >= ", args, Level::Sum),
        (Func::And, [_, _, ..]) => joined(f, " & ", args, Level::Sum),
        (Func::Or, [_, _, ..]) => joined(f, " | ", args, Level::Sum),
        (Func::Not, [a]) => write!(f, "~({a})"),
        (Func::Ite, [c, a, b]) => write!(f, "Piecewise(({a}, {c}), ({b}, True))"),
        _ => {
            write!(f, "{}(", func.name())?;
            joined(f, ", ", args, Level::Or)?;
            f.write_str(")")
        }
    }
}

/// Terms with the sign of each between them.
fn sum(f: &mut Formatter, first: &Expr, rest: &[Expr]) -> fmt::Result {
    f.write_str(&term(first))?;
    for next in rest {
        let text = term(next);
        // The least integer has no positive counterpart.
        match text.strip_prefix('-').filter(|positive| !positive.starts_with("9223372036854775808")) {
            Some(positive) => write!(f, " - {positive}")?,
            None => write!(f, " + {text}")?,
        }
    }
    Ok(())
}

/// A term of a sum. A sum in a sum is another order of evaluation (floats) or one that overflowed.
fn term(e: &Expr) -> String {
    let bracketed = e.level() < Level::Sum || matches!(e, Expr::Op(Func::Add, _));
    if bracketed { format!("({e})") } else { e.to_string() }
}

fn joined(f: &mut Formatter, separator: &str, args: &[Expr], level: Level) -> fmt::Result {
    for (i, arg) in args.iter().enumerate() {
        if i > 0 {
            f.write_str(separator)?;
        }
        // Of nested products and negative factors only the first reads the same without brackets.
        let product = separator == "*" && (i > 0 || arg.level() == Level::Product);
        held(f, arg, if product { Level::Power } else { level })?;
    }
    Ok(())
}

/// `e`, in brackets if it holds together less than `level`.
fn held(f: &mut Formatter, e: &Expr, level: Level) -> fmt::Result {
    if e.level() < level { write!(f, "({e})") } else { write!(f, "{e}") }
}

impl Expr {
    fn level(&self) -> Level {
        match self {
            Expr::Int(v) if *v < 0 => Level::Sum,
            Expr::Float(bits) if f64::from_bits(*bits).is_sign_negative() => Level::Sum,
            Expr::Op(func, args) => match func {
                Func::Or => Level::Or,
                Func::And => Level::And,
                Func::Lt | Func::Le | Func::Gt | Func::Ge | Func::FloorDiv | Func::Mod => Level::Relation,
                Func::Add if args.len() > 1 => Level::Sum,
                Func::Mul if args.len() > 1 => match args[0] {
                    Expr::Int(v) if v < 0 => Level::Sum,
                    _ => Level::Product,
                },
                Func::Pow => Level::Power,
                Func::Max | Func::Min => Level::Atom,
                _ => Level::Call,
            },
            _ => Level::Atom,
        }
    }
}

impl Func {
    /// Sympy's name in infix text.
    fn name(self) -> &'static str {
        match self {
            Func::Sqrt => "OpaqueUnaryFn_sqrt",
            Func::Mul => "Mul",
            Func::Add => "Add",
            Func::Pow => "Pow",
            Func::CeilToInt => "CeilToInt",
            Func::FloatPow => "FloatPow",
            Func::FloatTrueDiv => "FloatTrueDiv",
            Func::FloorDiv => "FloorDiv",
            Func::FloorToInt => "FloorToInt",
            Func::IntTrueDiv => "IntTrueDiv",
            Func::LShift => "LShift",
            Func::Mod => "Mod",
            Func::RShift => "RShift",
            Func::RoundToInt => "RoundToInt",
            Func::ToFloat => "ToFloat",
            Func::TruncToInt => "TruncToInt",
            Func::Max => "Max",
            Func::Min => "Min",
            Func::Eq => "Eq",
            Func::Ne => "Ne",
            Func::Lt => "Lt",
            Func::Le => "Le",
            Func::Gt => "Gt",
            Func::Ge => "Ge",
            Func::And => "And",
            Func::Or => "Or",
            Func::Not => "Not",
            Func::Ite => "Where",
        }
    }
}
