//! The value of an expression for given symbols, in checked arithmetic.

use exported_runtime::sym as rt;

use super::{Expr, Func, Kind};

/// A scalar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// A truth value.
    Bool(bool),
}

impl Value {
    /// An integer or float as f64.
    pub fn as_f64(self) -> Option<f64> {
        match self {
            Value::Int(v) => Some(v as f64),
            Value::Float(v) => Some(v),
            Value::Bool(_) => None,
        }
    }

    /// The integer.
    pub fn as_int(self) -> Option<i64> {
        match self {
            Value::Int(v) => Some(v),
            _ => None,
        }
    }

    /// The truth value.
    pub fn as_bool(self) -> Option<bool> {
        match self {
            Value::Bool(v) => Some(v),
            _ => None,
        }
    }
}

impl Expr {
    /// The value for the symbols that `env` knows. `None` if one is unknown, on overflow, division by zero, a negative
    /// power or shift, a float without integer value where one is needed, and operands of the wrong kind. As in
    /// Python, `And`, `Or` and `Ite` need only the operands that decide.
    pub fn eval(&self, env: &dyn Fn(&str) -> Option<i64>) -> Option<Value> {
        self.eval_with(&|name| env(name).map(Value::Int))
    }

    /// As [`Expr::eval`], with float symbols (`zuf0`) too.
    pub fn eval_with(&self, env: &dyn Fn(&str) -> Option<Value>) -> Option<Value> {
        match self {
            Expr::Int(v) => Some(Value::Int(*v)),
            Expr::Float(bits) => Some(Value::Float(f64::from_bits(*bits))),
            Expr::Bool(v) => Some(Value::Bool(*v)),
            Expr::Symbol(name) => match (env(name)?, self.kind()) {
                (Value::Int(v), Kind::Float) => Some(Value::Float(v as f64)),
                (value, _) => Some(value),
            },
            Expr::Op(func, args) => evaluate(*func, args, &|e| e.eval_with(env)),
        }
    }
}

/// The value of `func` on constants.
pub(super) fn constant(func: Func, args: &[Expr]) -> Option<Value> {
    evaluate(func, args, &|e| e.eval_with(&|_| None))
}

fn evaluate(func: Func, args: &[Expr], value: &dyn Fn(&Expr) -> Option<Value>) -> Option<Value> {
    match (func, args) {
        (Func::And | Func::Or, _) => {
            let decides = func == Func::Or;
            let values: Vec<_> = args.iter().map(|a| value(a).and_then(Value::as_bool)).collect();
            let decided = values.contains(&Some(decides));
            if decided || !values.contains(&None) { Some(Value::Bool(decided == decides)) } else { None }
        }
        (Func::Ite, [condition, then, otherwise]) => {
            value(if value(condition)?.as_bool()? { then } else { otherwise }).map(|v| match v {
                // The other branch may be a float.
                Value::Int(i) if func.kind(args) == Kind::Float => Value::Float(i as f64),
                v => v,
            })
        }
        (Func::Add | Func::Mul | Func::Max | Func::Min, [first, rest @ ..]) => {
            let float = func.kind(args) == Kind::Float;
            let start = value(first)?;
            let start = if float { Value::Float(start.as_f64()?) } else { start };
            rest.iter().try_fold(start, |a, b| binary(func, a, value(b)?))
        }
        (_, [a]) => unary(func, value(a)?),
        (_, [a, b]) => binary(func, value(a)?, value(b)?),
        _ => None,
    }
}

fn unary(func: Func, a: Value) -> Option<Value> {
    match (func, a) {
        (Func::Not, Value::Bool(v)) => Some(Value::Bool(!v)),
        (Func::ToFloat, _) => a.as_f64().map(Value::Float),
        (Func::Sqrt, _) => a.as_f64().filter(|v| *v >= 0.0).map(|v| Value::Float(rt::sqrt(v))),
        (Func::TruncToInt, Value::Float(v)) => integral(v.trunc()),
        (Func::FloorToInt, Value::Float(v)) => integral(v.floor()),
        (Func::CeilToInt, Value::Float(v)) => integral(v.ceil()),
        (Func::RoundToInt, Value::Float(v)) => integral(v.round_ties_even()),
        _ => None,
    }
}

/// The i64 that `v`, a whole number, is.
pub(super) fn integral(v: f64) -> Option<Value> {
    const LIMIT: f64 = 9223372036854775808.0;
    (-LIMIT..LIMIT).contains(&v).then_some(Value::Int(v as i64))
}

fn binary(func: Func, a: Value, b: Value) -> Option<Value> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => ints(func, a, b),
        (Value::Bool(a), Value::Bool(b)) => match func {
            Func::Eq => Some(Value::Bool(a == b)),
            Func::Ne => Some(Value::Bool(a != b)),
            _ => None,
        },
        _ => floats(func, a.as_f64()?, b.as_f64()?),
    }
}

fn ints(func: Func, a: i64, b: i64) -> Option<Value> {
    let shift = || u32::try_from(b).ok().filter(|n| *n < 64);
    Some(match func {
        Func::Add => Value::Int(a.checked_add(b)?),
        Func::Mul => Value::Int(a.checked_mul(b)?),
        Func::Pow => Value::Int(a.checked_pow(u32::try_from(b).ok()?)?),
        Func::FloorDiv => Value::Int(a.checked_div(b).map(|_| rt::floor_div(a, b))?),
        // The remainder by -1 is 0 also where the quotient overflows.
        Func::Mod if b != 0 => Value::Int(rt::modulo(a, b)),
        Func::Max => Value::Int(a.max(b)),
        Func::Min => Value::Int(a.min(b)),
        Func::LShift => Value::Int(a.checked_mul(1i64.checked_shl(shift().filter(|n| *n < 63)?)?)?),
        Func::RShift => Value::Int(a >> shift()?),
        Func::IntTrueDiv if b != 0 => Value::Float(rt::int_true_div(a, b)),
        Func::FloatTrueDiv | Func::FloatPow => floats(func, a as f64, b as f64)?,
        _ => Value::Bool(ordered(func, a, b)?),
    })
}

fn floats(func: Func, a: f64, b: f64) -> Option<Value> {
    Some(match func {
        Func::Add => Value::Float(a + b),
        Func::Mul => Value::Float(a * b),
        Func::Max => Value::Float(rt::max_float(a, b)),
        Func::Min => Value::Float(rt::min_float(a, b)),
        Func::FloatTrueDiv | Func::IntTrueDiv if b != 0.0 => Value::Float(a / b),
        Func::FloatPow => Value::Float(Some(rt::float_pow(a, b)).filter(|v| v.is_finite())?),
        _ => Value::Bool(ordered(func, a, b)?),
    })
}

fn ordered<T: PartialOrd>(func: Func, a: T, b: T) -> Option<bool> {
    Some(match func {
        Func::Eq => a == b,
        Func::Ne => a != b,
        Func::Lt => a < b,
        Func::Le => a <= b,
        Func::Gt => a > b,
        Func::Ge => a >= b,
        _ => return None,
    })
}
