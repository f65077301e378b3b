//! Bounds of expressions from the ranges of their symbols: interval arithmetic, sound and as tight as a single walk
//! gets. What it does not see (that `s - s//2` is positive) is [`super::prove`]'s business.

use super::eval::{Value, integral};
use super::{Expr, Func, Interval, Kind, Ranges};

/// Stands for no bound; every finite bound fits i64.
const INF: i128 = i128::MAX;

/// Least and greatest value, inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) lo: i128,
    pub(super) hi: i128,
}

impl Interval {
    /// The values from `min` to `max`, both included.
    pub fn new(min: i64, max: i64) -> Interval {
        Interval { min: Some(min), max: Some(max) }
    }

    /// Whether `value` lies inside.
    pub fn contains(&self, value: i64) -> bool {
        self.min.is_none_or(|min| min <= value) && self.max.is_none_or(|max| value <= max)
    }

    /// The values in both; empty intervals have `min > max`.
    pub fn intersect(&self, other: &Interval) -> Interval {
        Interval { min: self.min.into_iter().chain(other.min).max(), max: self.max.into_iter().chain(other.max).min() }
    }
}

impl Expr {
    /// Bounds of an integer expression, for symbols within `ranges` and wherever it is defined. Floats and conditions
    /// have none.
    pub fn interval(&self, ranges: &Ranges) -> Interval {
        if self.kind() != Kind::Int {
            return Interval::default();
        }
        let span = Span::of(self, ranges);
        let finite = |v: i128| i64::try_from(v).ok();
        Interval { min: finite(span.lo), max: finite(span.hi) }
    }
}

impl Span {
    pub(super) const ANY: Span = Span { lo: -INF, hi: INF };

    /// Bounds of an integer expression.
    pub(super) fn of(e: &Expr, ranges: &Ranges) -> Span {
        match e {
            Expr::Int(v) => Span::new((*v).into(), (*v).into()),
            Expr::Symbol(name) => {
                let Interval { min, max } = ranges.get(name);
                Span { lo: min.map_or(-INF, i128::from), hi: max.map_or(INF, i128::from) }
            }
            Expr::Op(func, args) if e.kind() == Kind::Int => Span::of_op(*func, args, ranges),
            _ => Span::ANY,
        }
    }

    fn of_op(func: Func, args: &[Expr], ranges: &Ranges) -> Span {
        let of = |e: &Expr| Span::of(e, ranges);
        let all = |combine: fn(Span, Span) -> Span| args.iter().map(of).reduce(combine).unwrap_or(Span::ANY);
        match (func, args) {
            (Func::Add, _) => all(Span::add),
            (Func::Mul, _) => all(Span::mul),
            (Func::Max, _) => all(|a, b| Span { lo: a.lo.max(b.lo), hi: a.hi.max(b.hi) }),
            (Func::Min, _) => all(|a, b| Span { lo: a.lo.min(b.lo), hi: a.hi.min(b.hi) }),
            (Func::Pow, [a, b]) => of(a).pow(of(b)),
            (Func::FloorDiv, [a, b]) => of(a).floor_div(of(b)),
            (Func::Mod, [a, b]) => of(a).modulo(of(b)),
            (Func::LShift, [a, b]) => of(a).mul(Span::new(2, 2).pow(of(b))),
            (Func::RShift, [a, b]) => of(a).floor_div(Span::new(2, 2).pow(of(b))),
            (Func::Ite, [_, a, b]) => of(a).union(of(b)),
            (Func::TruncToInt, [a]) => Span::rounded(a, ranges, f64::trunc),
            (Func::FloorToInt, [a]) => Span::rounded(a, ranges, f64::floor),
            (Func::CeilToInt, [a]) => Span::rounded(a, ranges, f64::ceil),
            (Func::RoundToInt, [a]) => Span::rounded(a, ranges, f64::round_ties_even),
            _ => Span::ANY,
        }
    }

    /// The span between two bounds, which lose what does not fit i64.
    fn new(lo: i128, hi: i128) -> Span {
        let (least, greatest) = (i128::from(i64::MIN), i128::from(i64::MAX));
        Span {
            lo: if lo < least { -INF } else { lo.min(greatest) },
            hi: if hi > greatest { INF } else { hi.max(least) },
        }
    }

    /// The span of candidates that contain the extremes.
    fn corners(values: [i128; 4]) -> Span {
        let [a, b, c, d] = values;
        Span::new(a.min(b).min(c).min(d), a.max(b).max(c).max(d))
    }

    fn add(self, other: Span) -> Span {
        Span::new(self.lo.saturating_add(other.lo), self.hi.saturating_add(other.hi))
    }

    fn mul(self, other: Span) -> Span {
        let corner = i128::saturating_mul;
        Span::corners([
            corner(self.lo, other.lo),
            corner(self.lo, other.hi),
            corner(self.hi, other.lo),
            corner(self.hi, other.hi),
        ])
    }

    fn union(self, other: Span) -> Span {
        Span { lo: self.lo.min(other.lo), hi: self.hi.max(other.hi) }
    }

    fn pow(self, exponent: Span) -> Span {
        let power = |base: i128, n: i128| base.saturating_pow(u32::try_from(n.max(0)).unwrap_or(u32::MAX));
        if exponent.lo == exponent.hi && exponent.lo >= 0 {
            let n = exponent.lo;
            let (a, b) = (power(self.lo, n), power(self.hi, n));
            let spans_zero = n % 2 == 0 && n > 0 && self.lo <= 0 && self.hi >= 0;
            return Span::new(if spans_zero { 0 } else { a.min(b) }, a.max(b));
        }
        if self.lo >= 1 { Span::new(power(self.lo, exponent.lo), power(self.hi, exponent.hi)) } else { Span::ANY }
    }

    fn floor_div(self, divisor: Span) -> Span {
        let quotients = |lo: i128, hi: i128| {
            (lo <= hi).then(|| {
                Span::corners([
                    quotient(self.lo, lo),
                    quotient(self.lo, hi),
                    quotient(self.hi, lo),
                    quotient(self.hi, hi),
                ])
            })
        };
        // Zero is no divisor: each sign on its own is monotone.
        let negative = quotients(divisor.lo, divisor.hi.min(-1));
        let positive = quotients(divisor.lo.max(1), divisor.hi);
        match (negative, positive) {
            (Some(a), Some(b)) => a.union(b),
            (a, b) => a.or(b).unwrap_or(Span::ANY),
        }
    }

    fn modulo(self, divisor: Span) -> Span {
        if divisor.lo < 1 {
            let lo = if divisor.lo == -INF { -INF } else { (divisor.lo + 1).min(0) };
            let hi = if divisor.hi == INF { INF } else { (divisor.hi - 1).max(0) };
            return Span { lo, hi };
        }
        let d = divisor.lo;
        if d == divisor.hi && self.lo != -INF && self.hi != INF && quotient(self.lo, d) == quotient(self.hi, d) {
            return Span::new(self.lo.rem_euclid(d), self.hi.rem_euclid(d));
        }
        if self.lo >= 0 && self.hi < d {
            return self;
        }
        let hi = if divisor.hi == INF { INF } else { divisor.hi - 1 };
        Span { lo: 0, hi: if self.lo >= 0 { hi.min(self.hi) } else { hi } }
    }

    fn rounded(e: &Expr, ranges: &Ranges, round: fn(f64) -> f64) -> Span {
        let bound = |v: f64| integral(round(v)).and_then(Value::as_int).map(i128::from);
        match float_bounds(e, ranges) {
            Some((lo, hi)) => Span { lo: bound(lo).unwrap_or(-INF), hi: bound(hi).unwrap_or(INF) },
            None => Span::ANY,
        }
    }
}

/// `floor(a / b)`, `b != 0`, of bounds.
fn quotient(a: i128, b: i128) -> i128 {
    match (a.abs() == INF, b.abs() == INF) {
        (true, false) => a.signum() * b.signum() * INF,
        // As the divisor grows, the quotient approaches 0 from its side.
        (_, true) => {
            if a == 0 || (a < 0) == (b < 0) {
                0
            } else {
                -1
            }
        }
        (false, false) => {
            let floored = a / b;
            if floored * b != a && (a < 0) != (b < 0) { floored - 1 } else { floored }
        }
    }
}

/// Bounds of a float expression (integers as f64). Each operation of f64 rounds monotonically, so the bounds of a
/// monotone operation are its values at the bounds, rounded as the operation itself rounds.
pub(super) fn float_bounds(e: &Expr, ranges: &Ranges) -> Option<(f64, f64)> {
    if e.kind() == Kind::Int {
        // An integer that has a value fits i64, bounded or not.
        let clamp = |v: i128| v.clamp(i64::MIN.into(), i64::MAX.into()) as f64;
        let span = Span::of(e, ranges);
        return Some((clamp(span.lo), clamp(span.hi)));
    }
    let of = |e: &Expr| float_bounds(e, ranges);
    let bounds = match e {
        Expr::Float(bits) => (f64::from_bits(*bits), f64::from_bits(*bits)),
        Expr::Op(func, args) => match (func, &args[..]) {
            (Func::ToFloat, [a]) => of(a)?,
            (Func::Add | Func::Mul | Func::Max | Func::Min, [first, rest @ ..]) => {
                rest.iter().try_fold(of(first)?, |a, b| combined(*func, a, of(b)?))?
            }
            (Func::IntTrueDiv | Func::FloatTrueDiv, [a, b]) => {
                let divisor = of(b)?;
                if divisor.0 <= 0.0 && divisor.1 >= 0.0 {
                    return None;
                }
                corners(of(a)?, divisor, |a, b| a / b)
            }
            (Func::Sqrt, [a]) => {
                let (lo, hi) = of(a)?;
                (lo.max(0.0).sqrt(), hi.sqrt())
            }
            (Func::FloatPow, [a, Expr::Float(bits)]) => {
                let (lo, hi) = of(a).filter(|(lo, _)| *lo >= 0.0)?;
                let (x, y) = (lo.powf(f64::from_bits(*bits)), hi.powf(f64::from_bits(*bits)));
                // Powers are not correctly rounded.
                (x.min(y) * (1.0 - 1e-12), x.max(y) * (1.0 + 1e-12))
            }
            (Func::Ite, [_, a, b]) => {
                let (a, b) = (of(a)?, of(b)?);
                (a.0.min(b.0), a.1.max(b.1))
            }
            _ => return None,
        },
        _ => return None,
    };
    (bounds.0.is_finite() && bounds.1.is_finite()).then_some(bounds)
}

fn combined(func: Func, a: (f64, f64), b: (f64, f64)) -> Option<(f64, f64)> {
    let bounds = match func {
        Func::Add => (a.0 + b.0, a.1 + b.1),
        Func::Mul => corners(a, b, |a, b| a * b),
        Func::Max => (a.0.max(b.0), a.1.max(b.1)),
        _ => (a.0.min(b.0), a.1.min(b.1)),
    };
    (bounds.0.is_finite() && bounds.1.is_finite()).then_some(bounds)
}

fn corners(a: (f64, f64), b: (f64, f64), op: fn(f64, f64) -> f64) -> (f64, f64) {
    let values = [op(a.0, b.0), op(a.0, b.1), op(a.1, b.0), op(a.1, b.1)];
    (values.into_iter().fold(f64::INFINITY, f64::min), values.into_iter().fold(f64::NEG_INFINITY, f64::max))
}
