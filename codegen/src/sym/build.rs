//! The constructors of expressions. They fold constants, bring integer arithmetic into polynomial form and apply the
//! rewrites that hold for all integers; an operation that would overflow stays as it is.

use std::ops;

use super::eval::{self, Value};
use super::poly::{Poly, gcd, power, product};
use super::{Expr, Func, Kind};

/// `Max`, `Min` and the like compare operands pairwise only up to this many.
const MAX_PAIRWISE: usize = 16;

impl Expr {
    /// The sum of two expressions.
    pub fn add(a: impl Into<Expr>, b: impl Into<Expr>) -> Expr {
        Expr::sum([a.into(), b.into()])
    }

    /// `a - b`.
    pub fn sub(a: impl Into<Expr>, b: impl Into<Expr>) -> Expr {
        Expr::sum([a.into(), Expr::neg(b)])
    }

    /// `-a`.
    pub fn neg(a: impl Into<Expr>) -> Expr {
        Expr::mul(-1, a)
    }

    /// The product of two expressions.
    pub fn mul(a: impl Into<Expr>, b: impl Into<Expr>) -> Expr {
        Expr::product([a.into(), b.into()])
    }

    /// The sum of any number of expressions.
    pub fn sum(terms: impl IntoIterator<Item = Expr>) -> Expr {
        let terms: Vec<Expr> = terms.into_iter().collect();
        if Func::Add.kind(&terms) == Kind::Float {
            return float_chain(Func::Add, terms);
        }
        let sum = terms.iter().try_fold(Poly::default(), |sum, t| sum.add_scaled(&Poly::of(t), 1));
        sum.map_or_else(|| raw(Func::Add, terms), Poly::into_expr)
    }

    /// The product of any number of expressions.
    pub fn product(factors: impl IntoIterator<Item = Expr>) -> Expr {
        let factors: Vec<Expr> = factors.into_iter().collect();
        if Func::Mul.kind(&factors) == Kind::Float {
            return float_chain(Func::Mul, factors);
        }
        product(&factors).map_or_else(|| raw(Func::Mul, factors), Poly::into_expr)
    }

    /// `a // b`, rounding toward negative infinity.
    pub fn floordiv(a: impl Into<Expr>, b: impl Into<Expr>) -> Expr {
        let (a, b) = (a.into(), b.into());
        match b {
            Expr::Int(d) if d != 0 => floordiv_const(&a, d).unwrap_or_else(|| fold(Func::FloorDiv, vec![a, b])),
            Expr::Int(_) => fold(Func::FloorDiv, vec![a, b]),
            _ => a.exact_div(&b).unwrap_or_else(|| fold(Func::FloorDiv, vec![a, b])),
        }
    }

    /// `a % b` with the sign of `b`: what is left of [`Expr::floordiv`].
    pub fn modulo(a: impl Into<Expr>, b: impl Into<Expr>) -> Expr {
        let (a, b) = (a.into(), b.into());
        match b {
            Expr::Int(d) if d != 0 => mod_const(&a, d).unwrap_or_else(|| fold(Func::Mod, vec![a, b])),
            _ => fold(Func::Mod, vec![a, b]),
        }
    }

    /// `a ** b`: integer power, or [`Expr::float_pow`] if an operand is a float.
    pub fn pow(a: impl Into<Expr>, b: impl Into<Expr>) -> Expr {
        let (a, b) = (a.into(), b.into());
        if a.kind() == Kind::Float || b.kind() == Kind::Float {
            return Expr::float_pow(a, b);
        }
        let exponent = b.as_int().and_then(|n| u32::try_from(n).ok());
        match exponent.and_then(|n| power(&a, n)) {
            Some(p) => p.into_expr(),
            None => fold(Func::Pow, vec![a, b]),
        }
    }

    /// The greater of two expressions.
    pub fn max(a: impl Into<Expr>, b: impl Into<Expr>) -> Expr {
        Expr::extreme(Func::Max, vec![a.into(), b.into()])
    }

    /// The lesser of two expressions.
    pub fn min(a: impl Into<Expr>, b: impl Into<Expr>) -> Expr {
        Expr::extreme(Func::Min, vec![a.into(), b.into()])
    }

    /// `a == b`.
    pub fn eq(a: impl Into<Expr>, b: impl Into<Expr>) -> Expr {
        compare(Func::Eq, a.into(), b.into())
    }

    /// `a != b`.
    pub fn ne(a: impl Into<Expr>, b: impl Into<Expr>) -> Expr {
        compare(Func::Ne, a.into(), b.into())
    }

    /// `a < b`.
    pub fn lt(a: impl Into<Expr>, b: impl Into<Expr>) -> Expr {
        compare(Func::Lt, a.into(), b.into())
    }

    /// `a <= b`.
    pub fn le(a: impl Into<Expr>, b: impl Into<Expr>) -> Expr {
        compare(Func::Le, a.into(), b.into())
    }

    /// `a > b`.
    pub fn gt(a: impl Into<Expr>, b: impl Into<Expr>) -> Expr {
        compare(Func::Gt, a.into(), b.into())
    }

    /// `a >= b`.
    pub fn ge(a: impl Into<Expr>, b: impl Into<Expr>) -> Expr {
        compare(Func::Ge, a.into(), b.into())
    }

    /// Both conditions hold.
    pub fn and(a: impl Into<Expr>, b: impl Into<Expr>) -> Expr {
        junction(Func::And, vec![a.into(), b.into()])
    }

    /// One of the conditions holds.
    pub fn or(a: impl Into<Expr>, b: impl Into<Expr>) -> Expr {
        junction(Func::Or, vec![a.into(), b.into()])
    }

    /// The condition does not hold.
    pub fn not(a: impl Into<Expr>) -> Expr {
        let a = a.into();
        let Expr::Op(func, args) = &a else { return fold(Func::Not, vec![a]) };
        // The order of floats has no complement: NaN.
        let ints = args.iter().all(|x| x.kind() == Kind::Int);
        match (func, &args[..]) {
            (Func::Not, [inner]) => inner.clone(),
            (Func::Eq, [x, y]) => Expr::ne(x, y),
            (Func::Ne, [x, y]) => Expr::eq(x, y),
            (Func::Lt, [x, y]) if ints => Expr::ge(x, y),
            (Func::Le, [x, y]) if ints => Expr::gt(x, y),
            (Func::Gt, [x, y]) if ints => Expr::le(x, y),
            (Func::Ge, [x, y]) if ints => Expr::lt(x, y),
            _ => raw(Func::Not, vec![a]),
        }
    }

    /// `then` if `condition` holds, else `otherwise`.
    pub fn ite(condition: impl Into<Expr>, then: impl Into<Expr>, otherwise: impl Into<Expr>) -> Expr {
        let (condition, then, otherwise) = (condition.into(), then.into(), otherwise.into());
        match condition.as_bool() {
            Some(true) => then,
            Some(false) => otherwise,
            None if then == otherwise => then,
            None => raw(Func::Ite, vec![condition, then, otherwise]),
        }
    }

    /// An integer as f64; floats stay what they are.
    pub fn to_float(a: impl Into<Expr>) -> Expr {
        let a = a.into();
        if a.kind() == Kind::Float { a } else { fold(Func::ToFloat, vec![a]) }
    }

    /// Toward zero to an integer; integers stay what they are, here and in the three siblings.
    pub fn trunc(a: impl Into<Expr>) -> Expr {
        round(Func::TruncToInt, a.into())
    }

    /// Greatest integer not above `a`.
    pub fn floor(a: impl Into<Expr>) -> Expr {
        round(Func::FloorToInt, a.into())
    }

    /// Least integer not below `a`.
    pub fn ceil(a: impl Into<Expr>) -> Expr {
        round(Func::CeilToInt, a.into())
    }

    /// Nearest integer, ties to even.
    pub fn round(a: impl Into<Expr>) -> Expr {
        round(Func::RoundToInt, a.into())
    }

    /// `a / b` as Python divides: two integers to the nearest f64, else in f64.
    pub fn truediv(a: impl Into<Expr>, b: impl Into<Expr>) -> Expr {
        let (a, b) = (a.into(), b.into());
        match (a.kind(), b.kind()) {
            (Kind::Int, Kind::Int) => fold(Func::IntTrueDiv, vec![a, b]),
            _ => fold(Func::FloatTrueDiv, vec![Expr::to_float(a), Expr::to_float(b)]),
        }
    }

    /// `a ** b` in f64.
    pub fn float_pow(a: impl Into<Expr>, b: impl Into<Expr>) -> Expr {
        fold(Func::FloatPow, vec![Expr::to_float(a), Expr::to_float(b)])
    }

    /// Square root in f64.
    pub fn sqrt(a: impl Into<Expr>) -> Expr {
        fold(Func::Sqrt, vec![Expr::to_float(a)])
    }

    /// `a << b`.
    pub fn lshift(a: impl Into<Expr>, b: impl Into<Expr>) -> Expr {
        let (a, b) = (a.into(), b.into());
        match b {
            Expr::Int(n @ 0..=62) => Expr::mul(a, 1i64 << n),
            _ => fold(Func::LShift, vec![a, b]),
        }
    }

    /// `a >> b`, keeping the sign.
    pub fn rshift(a: impl Into<Expr>, b: impl Into<Expr>) -> Expr {
        let (a, b) = (a.into(), b.into());
        match b {
            Expr::Int(n @ 0..=62) => Expr::floordiv(a, 1i64 << n),
            _ => fold(Func::RShift, vec![a, b]),
        }
    }

    /// The operator `func` on `args`, simplified. A wrong number of operands is kept, and evaluates to nothing.
    pub fn apply(func: Func, args: Vec<Expr>) -> Expr {
        match (func, &args[..]) {
            (Func::Add, _) => Expr::sum(args),
            (Func::Mul, _) => Expr::product(args),
            (Func::Max | Func::Min, [_, ..]) => Expr::extreme(func, args),
            (Func::And | Func::Or, _) => junction(func, args),
            (Func::Pow, [a, b]) => Expr::pow(a, b),
            (Func::FloorDiv, [a, b]) => Expr::floordiv(a, b),
            (Func::Mod, [a, b]) => Expr::modulo(a, b),
            (Func::LShift, [a, b]) => Expr::lshift(a, b),
            (Func::RShift, [a, b]) => Expr::rshift(a, b),
            (Func::IntTrueDiv | Func::FloatTrueDiv, [a, b]) => Expr::truediv(a, b),
            (Func::FloatPow, [a, b]) => Expr::float_pow(a, b),
            (Func::Eq | Func::Ne | Func::Lt | Func::Le | Func::Gt | Func::Ge, [a, b]) => {
                compare(func, a.clone(), b.clone())
            }
            (Func::Not, [a]) => Expr::not(a),
            (Func::Sqrt, [a]) => Expr::sqrt(a),
            (Func::ToFloat, [a]) => Expr::to_float(a),
            (Func::CeilToInt | Func::FloorToInt | Func::RoundToInt | Func::TruncToInt, [a]) => round(func, a.clone()),
            (Func::Ite, [c, a, b]) => Expr::ite(c, a, b),
            _ => raw(func, args),
        }
    }

    /// `Max` or `Min` of at least one operand: flat, sorted, without those that another one always beats.
    fn extreme(func: Func, args: Vec<Expr>) -> Expr {
        if func.kind(&args) == Kind::Float {
            return fold(func, args);
        }
        let mut args = flatten(func, args);
        if args.len() <= MAX_PAIRWISE {
            let mut i = 0;
            while i < args.len() {
                let better = |d: i64| if func == Func::Max { d > 0 } else { d < 0 };
                let beaten = |b: &Expr| constant_difference(b, &args[i]).is_some_and(better);
                if args.iter().any(beaten) {
                    args.remove(i);
                } else {
                    i += 1;
                }
            }
        }
        if args.len() == 1 { args.remove(0) } else { raw(func, args) }
    }
}

fn raw(func: Func, args: Vec<Expr>) -> Expr {
    Expr::Op(func, args.into())
}

/// The operator as it is, or its value if all operands are constants and it has one.
fn fold(func: Func, args: Vec<Expr>) -> Expr {
    let constant = |a: &Expr| matches!(a, Expr::Int(_) | Expr::Float(_) | Expr::Bool(_));
    let value = if args.iter().all(constant) { eval::constant(func, &args) } else { None };
    match value {
        Some(Value::Int(v)) => Expr::Int(v),
        Some(Value::Float(v)) => Expr::float(v),
        Some(Value::Bool(v)) => Expr::Bool(v),
        None => raw(func, args),
    }
}

/// Operands of nested `func`s in one sorted list without repetitions.
fn flatten(func: Func, args: Vec<Expr>) -> Vec<Expr> {
    let mut flat = Vec::with_capacity(args.len());
    for arg in args {
        match &arg {
            Expr::Op(f, inner) if *f == func => flat.extend(inner.iter().cloned()),
            _ => flat.push(arg),
        }
    }
    flat.sort();
    flat.dedup();
    flat
}

/// A sum or product in floats, evaluated from left to right: operands keep their order, except that the constant of
/// two operands goes first.
fn float_chain(func: Func, mut args: Vec<Expr>) -> Expr {
    let constant = |e: &Expr| matches!(e, Expr::Int(_) | Expr::Float(_));
    if func == Func::Mul && args.len() == 2 && constant(&args[1]) && !constant(&args[0]) {
        args.swap(0, 1);
    }
    let mut flat: Vec<Expr> = Vec::with_capacity(args.len());
    for arg in args {
        match &arg {
            // `(a + b) + c` is `a + b + c`, and a change of sign is exact wherever it happens.
            Expr::Op(f, inner)
                if *f == func
                    && arg.kind() == Kind::Float
                    && (flat.is_empty() || func == Func::Mul && flat[..] == [Expr::Int(-1)]) =>
            {
                flat.extend(inner.iter().cloned());
            }
            _ => flat.push(arg),
        }
    }
    while let [a, b, ..] = &flat[..]
        && constant(a)
        && constant(b)
        && let folded @ (Expr::Int(_) | Expr::Float(_)) = fold(func, vec![a.clone(), b.clone()])
    {
        flat.splice(..2, [folded]);
    }
    if flat.len() == 1 { flat.remove(0) } else { raw(func, flat) }
}

/// `a // d` for a constant `d`; `None` where it overflows.
fn floordiv_const(a: &Expr, d: i64) -> Option<Expr> {
    if d < 0 {
        let negated = Poly::default().add_scaled(&Poly::of(a), -1)?;
        return floordiv_const(&negated.into_expr(), d.checked_neg()?);
    }
    // Terms that are multiples of the divisor come out.
    let (whole, rest) = Poly::of(a).partition(|_, c| c % d == 0);
    let whole = whole.divide(d)?;
    if let Some(c) = rest.as_constant() {
        return Some(whole.add_scaled(&Poly::constant(c.div_euclid(d)), 1)?.into_expr());
    }
    // floor((g*x + c) / (g*m)) = floor((x + floor(c/g)) / m).
    let g = i64::try_from(gcd(rest.content(), d.unsigned_abs())).ok()?;
    let (constant, variables) = rest.partition(|m, _| m.0.is_empty());
    let constant = Poly::constant(constant.constant_term().div_euclid(g));
    let numerator = variables.divide(g)?.add_scaled(&constant, 1)?.into_expr();
    let quotient = match (d / g, &numerator) {
        // floor(floor(x/n) / m) = floor(x / (n*m)), m > 0.
        (m, Expr::Op(Func::FloorDiv, inner)) if matches!(inner[1], Expr::Int(n) if n != 0) => {
            Expr::floordiv(&inner[0], inner[1].as_int()?.checked_mul(m)?)
        }
        (m, _) => raw(Func::FloorDiv, vec![numerator, Expr::Int(m)]),
    };
    Some(whole.add_scaled(&Poly::of(&quotient), 1)?.into_expr())
}

/// `a % d` for a constant `d`; `None` where it overflows.
fn mod_const(a: &Expr, d: i64) -> Option<Expr> {
    if d < 0 {
        // a % -d = -(-a % d)
        let negated = Poly::default().add_scaled(&Poly::of(a), -1)?;
        return Some(Expr::neg(mod_const(&negated.into_expr(), d.checked_neg()?)?));
    }
    let mut rest = Poly::default();
    for (monomial, c) in Poly::of(a).0 {
        // Multiples of the divisor vanish; a constant shrinks below it.
        let c = if monomial.0.is_empty() { c.rem_euclid(d) } else { c };
        if c % d != 0 {
            rest.0.insert(monomial, c);
        }
    }
    if let Some(c) = rest.as_constant() {
        return Some(Expr::Int(c));
    }
    // (g*x) % (g*m) = g * (x % m)
    let g = i64::try_from(rest.0.values().fold(d.unsigned_abs(), |g, c| gcd(g, c.unsigned_abs()))).ok()?;
    let dividend = rest.divide(g)?.into_expr();
    let remainder = match (d / g, &dividend) {
        // (x % n) % m = x % m if m divides n > 0.
        (m, Expr::Op(Func::Mod, inner)) if matches!(inner[1], Expr::Int(n) if n > 0 && n % m == 0) => {
            Expr::modulo(&inner[0], m)
        }
        (m, _) => raw(Func::Mod, vec![dividend, Expr::Int(m)]),
    };
    Some(Expr::mul(g, remainder))
}

/// `a - b` if it is the same for all values.
fn constant_difference(a: &Expr, b: &Expr) -> Option<i64> {
    Poly::of(a).add_scaled(&Poly::of(b), -1)?.as_constant()
}

/// A comparison. Of integers: common terms cancelled, each term on the side where its coefficient is positive (the
/// first on the left), the constant on the right.
fn compare(func: Func, a: Expr, b: Expr) -> Expr {
    if a.kind() != Kind::Int || b.kind() != Kind::Int {
        return fold(func, vec![a, b]);
    }
    let Some(mut difference) = Poly::of(&a).add_scaled(&Poly::of(&b), -1) else { return raw(func, vec![a, b]) };
    let mut func = func;
    if difference.0.first_key_value().is_some_and(|(m, c)| *c < 0 && !m.0.is_empty())
        && let Some(negated) = Poly::default().add_scaled(&difference, -1)
    {
        difference = negated;
        func = func.mirrored();
    }
    let (left, right) = difference.partition(|m, c| c > 0 && !m.0.is_empty());
    let Some(right) = Poly::default().add_scaled(&right, -1) else { return raw(func, vec![a, b]) };
    fold(func, vec![left.into_expr(), right.into_expr()])
}

/// `And` or `Or`: flat, sorted, without neutral operands.
fn junction(func: Func, args: Vec<Expr>) -> Expr {
    let neutral = Expr::Bool(func == Func::And);
    let absorbing = Expr::Bool(func != Func::And);
    let mut args = flatten(func, args);
    args.retain(|a| *a != neutral);
    match args.len() {
        _ if args.contains(&absorbing) => absorbing,
        0 => neutral,
        1 => args.remove(0),
        _ => raw(func, args),
    }
}

fn round(func: Func, a: Expr) -> Expr {
    if a.kind() == Kind::Int { a } else { fold(func, vec![a]) }
}

impl Func {
    /// The comparison that holds of `(b, a)` when this one holds of `(a, b)`.
    fn mirrored(self) -> Func {
        match self {
            Func::Lt => Func::Gt,
            Func::Le => Func::Ge,
            Func::Gt => Func::Lt,
            Func::Ge => Func::Le,
            other => other,
        }
    }
}

macro_rules! operators {
    ($($name:ident $method:ident $build:ident)*) => { $(
        impl<T: Into<Expr>> ops::$name<T> for Expr {
            type Output = Expr;
            fn $method(self, other: T) -> Expr {
                Expr::$build(self, other)
            }
        }
        impl<T: Into<Expr>> ops::$name<T> for &Expr {
            type Output = Expr;
            fn $method(self, other: T) -> Expr {
                Expr::$build(self, other)
            }
        }
    )* };
}

operators! { Add add add  Sub sub sub  Mul mul mul }
