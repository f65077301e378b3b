//! Expressions as Rust: `+ - *` and comparisons as operators, the rest as calls of `rt::sym`.
//!
//! Symbols are locals of their own name, `i64` (`f64` for `zuf…`). Integer operators do not wrap: the entry checks
//! bound the symbols, and the planner the expressions over them.

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::quote;

use super::{Expr, Func, Kind};

/// How tightly Rust's operators bind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Any,
    Or,
    And,
    Compare,
    Sum,
    Product,
    Call,
}

impl Expr {
    /// A Rust expression of type `i64`, `f64` or `bool`, the value of [`Expr::eval`] wherever that has one. Where it
    /// has none (a division by zero), a call of `rt::sym` gives some value.
    pub fn rust(&self) -> TokenStream {
        self.held(Level::Any)
    }

    /// The expression where operators that bind looser than `level` need brackets.
    fn held(&self, level: Level) -> TokenStream {
        let (tokens, own) = self.tokens();
        if own < level { quote!((#tokens)) } else { tokens }
    }

    /// As f64, whatever the kind.
    fn float_operand(&self, level: Level) -> TokenStream {
        match self {
            Expr::Int(v) if v.unsigned_abs() < 1 << 53 => Expr::float(*v as f64).held(level),
            _ if self.kind() == Kind::Int => Expr::to_float(self).held(level),
            _ => self.held(level),
        }
    }

    fn tokens(&self) -> (TokenStream, Level) {
        match self {
            Expr::Int(i64::MIN) => (quote!(i64::MIN), Level::Call),
            Expr::Int(v) => {
                let digits = Literal::u64_unsuffixed(v.unsigned_abs());
                if *v < 0 { (quote!(-#digits), Level::Product) } else { (quote!(#digits), Level::Call) }
            }
            Expr::Float(bits) => float_literal(*bits),
            Expr::Bool(v) => (quote!(#v), Level::Call),
            Expr::Symbol(name) => {
                let name = identifier(name);
                (quote!(#name), Level::Call)
            }
            Expr::Op(func, args) => operation(*func, args),
        }
    }
}

/// `rt::sym` functions of these operators, applied to all operands.
fn function(func: Func) -> &'static str {
    match func {
        Func::Pow => "pow",
        Func::CeilToInt => "ceil",
        Func::FloatPow => "float_pow",
        Func::FloorDiv => "floor_div",
        Func::FloorToInt => "floor",
        Func::IntTrueDiv => "int_true_div",
        Func::LShift => "lshift",
        Func::Mod => "modulo",
        Func::Sqrt => "sqrt",
        Func::RShift => "rshift",
        Func::RoundToInt => "round",
        Func::TruncToInt => "trunc",
        _ => "to_float",
    }
}

fn operation(func: Func, args: &[Expr]) -> (TokenStream, Level) {
    let float = args.iter().any(|a| a.kind() == Kind::Float);
    let operand = |e: &Expr, level| if float { e.float_operand(level) } else { e.held(level) };
    match (func, args) {
        (Func::Add, [_, ..]) => (sum(args, &operand), Level::Sum),
        (Func::Mul, [Expr::Int(-1), rest @ ..]) if !rest.is_empty() => {
            let product = joined(rest, quote!(*), Level::Product, &operand);
            (quote!(-#product), Level::Product)
        }
        (Func::Mul, [_, ..]) => (joined(args, quote!(*), Level::Product, &operand), Level::Product),
        // A power that is shorter written out.
        (Func::Pow, [Expr::Symbol(name), Expr::Int(n @ 2..=3)]) => {
            let factors = vec![Expr::Symbol(name.clone()); *n as usize];
            (joined(&factors, quote!(*), Level::Product, &operand), Level::Product)
        }
        (Func::Max | Func::Min, [first, rest @ ..]) => {
            let name = match (func, float) {
                (Func::Max, false) => "max",
                (Func::Max, true) => "max_float",
                (_, false) => "min",
                (_, true) => "min_float",
            };
            let name = Ident::new(name, Span::call_site());
            let nested = rest.iter().fold(operand(first, Level::Any), |all, next| {
                let next = operand(next, Level::Any);
                quote!(rt::sym::#name(#all, #next))
            });
            (nested, Level::Call)
        }
        (Func::And, [_, ..]) => (joined(args, quote!(&&), Level::And, &|e, l| e.held(l)), Level::And),
        (Func::Or, [_, ..]) => (joined(args, quote!(||), Level::Or, &|e, l| e.held(l)), Level::Or),
        (Func::Not, [a]) => {
            let a = a.held(Level::Call);
            (quote!(!#a), Level::Product)
        }
        (Func::Ite, [c, a, b]) => {
            let (c, a, b) = (c.rust(), operand(a, Level::Any), operand(b, Level::Any));
            (quote!(if #c { #a } else { #b }), Level::Any)
        }
        (Func::FloatTrueDiv, [a, b]) => {
            let (a, b) = (a.float_operand(Level::Product), b.float_operand(Level::Call));
            (quote!(#a / #b), Level::Product)
        }
        _ => {
            if let (Some(operator), [a, b]) = (comparison(func), args) {
                let (a, b) = (operand(a, Level::Sum), operand(b, Level::Sum));
                return (quote!(#a #operator #b), Level::Compare);
            }
            let name = Ident::new(function(func), Span::call_site());
            let args = args.iter().map(|a| if func == Func::FloatPow { a.float_operand(Level::Any) } else { a.rust() });
            (quote!(rt::sym::#name(#(#args),*)), Level::Call)
        }
    }
}

fn comparison(func: Func) -> Option<TokenStream> {
    Some(match func {
        Func::Eq => quote!(==),
        Func::Ne => quote!(!=),
        Func::Lt => quote!(<),
        Func::Le => quote!(<=),
        Func::Gt => quote!(>),
        Func::Ge => quote!(>=),
        _ => return None,
    })
}

type Operand<'a> = dyn Fn(&Expr, Level) -> TokenStream + 'a;

/// Terms joined by `+`, or `-` before a negative coefficient.
fn sum(args: &[Expr], operand: &Operand) -> TokenStream {
    let mut tokens = operand(&args[0], Level::Sum);
    for term in &args[1..] {
        let negative = match term {
            Expr::Int(v) => v.checked_neg().filter(|n| *n > 0).map(Expr::Int),
            Expr::Op(Func::Mul, factors) => match factors[0] {
                Expr::Int(v @ i64::MIN..0) => {
                    v.checked_neg().map(|n| Expr::apply(Func::Mul, [&[Expr::Int(n)], &factors[1..]].concat()))
                }
                _ => None,
            },
            _ => None,
        };
        tokens.extend(match negative {
            Some(positive) => {
                let positive = operand(&positive, Level::Product);
                quote!(- #positive)
            }
            None => {
                let term = operand(term, Level::Product);
                quote!(+ #term)
            }
        });
    }
    tokens
}

/// Operands from left to right with `operator` between them.
fn joined(args: &[Expr], operator: TokenStream, level: Level, operand: &Operand) -> TokenStream {
    let tighter = if level == Level::Product { Level::Call } else { level };
    let mut tokens = operand(&args[0], level);
    for arg in &args[1..] {
        let arg = operand(arg, tighter);
        tokens.extend(quote!(#operator #arg));
    }
    tokens
}

fn float_literal(bits: u64) -> (TokenStream, Level) {
    let value = f64::from_bits(bits);
    if !value.is_finite() {
        let bits = Literal::u64_unsuffixed(bits);
        return (quote!(f64::from_bits(#bits)), Level::Call);
    }
    let digits = Literal::f64_unsuffixed(value.abs());
    if value.is_sign_negative() { (quote!(-#digits), Level::Product) } else { (quote!(#digits), Level::Call) }
}

/// The symbol as an identifier. The parsers admit only names that are one.
fn identifier(name: &str) -> Ident {
    syn::parse_str(name).unwrap_or_else(|_| {
        let hex: String = name.bytes().map(|b| format!("{b:02x}")).collect();
        Ident::new(&format!("symbol_{hex}"), Span::call_site())
    })
}
