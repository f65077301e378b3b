//! What can be said of expressions for all values of their symbols: conditions that always or never hold, divisors,
//! linear forms.
//!
//! An integer comparison is a question about the sign of a difference. The difference is a polynomial, so common terms
//! are gone before bounds are taken; `c*(x//k)` is replaced by `c*(x - x%k)/k`, which restores the link to `x`, and
//! `Max`/`Min` by their operands, case by case. Small ranges are tried out value by value.

use std::collections::BTreeMap;

use super::bounds::{Span, float_bounds};
use super::poly::{Poly, gcd};
use super::{Expr, Func, Kind, Ranges, Symbol};

/// Rewrites tried per comparison.
const MAX_REWRITES: usize = 24;
/// Assignments tried out when bounds do not decide.
const MAX_ASSIGNMENTS: i64 = 256;

impl Expr {
    /// Whether a condition holds for all values in `ranges` (`Some(true)`), for none (`Some(false)`), or unknown.
    pub fn prove(&self, ranges: &Ranges) -> Option<bool> {
        self.by_bounds(ranges).or_else(|| self.by_trial(ranges))
    }

    /// `coefficient * symbol + offset`, the coefficient not zero and the offset free of the symbol.
    pub fn solve_linear(&self, symbol: &str) -> Option<(i64, Expr)> {
        let (linear, rest) = Poly::of(self).partition(|m, _| m.0.iter().any(|(e, _)| e.mentions(symbol)));
        let mut terms = linear.0.into_iter();
        let (monomial, coefficient) = terms.next()?;
        match &monomial.0[..] {
            [(Expr::Symbol(_), 1)] if terms.next().is_none() => Some((coefficient, rest.into_expr())),
            _ => None,
        }
    }

    /// Whether every value is a multiple of `n`.
    pub fn multiple_of(&self, n: i64) -> bool {
        self.kind() == Kind::Int && n != 0 && self.divisor().is_multiple_of(n.unsigned_abs())
    }

    /// The expression that, multiplied by `divisor`, is this one; `None` if there is no polynomial that is. Where the
    /// divisor is 0, so is this expression, and the quotient is one of many.
    pub fn exact_div(&self, divisor: &Expr) -> Option<Expr> {
        Poly::of(self).exact_div(&Poly::of(divisor)).map(Poly::into_expr)
    }

    /// A number that divides every value; 0 if the only value is 0.
    fn divisor(&self) -> u64 {
        match self {
            Expr::Int(v) => v.unsigned_abs(),
            Expr::Op(func, args) => match (func, &args[..]) {
                (Func::Add | Func::Max | Func::Min, _) => args.iter().fold(0, |g, a| gcd(g, a.divisor())),
                (Func::Mul, _) => args.iter().fold(1, |p: u64, a| {
                    let d = a.divisor();
                    // A divisor too large to write down is not needed: one factor's is one, too.
                    p.checked_mul(d).unwrap_or(p.max(d))
                }),
                (Func::Pow, [base, Expr::Int(1..)]) => base.divisor(),
                (Func::Mod, [a, b]) => gcd(a.divisor(), b.divisor()),
                (Func::Ite, [_, a, b]) => gcd(a.divisor(), b.divisor()),
                _ => 1,
            },
            _ => 1,
        }
    }

    fn by_bounds(&self, ranges: &Ranges) -> Option<bool> {
        let Expr::Op(func, args) = self else { return self.as_bool() };
        match (func, &args[..]) {
            (Func::And | Func::Or, _) => {
                let decides = *func == Func::Or;
                let proofs: Vec<_> = args.iter().map(|a| a.by_bounds(ranges)).collect();
                if proofs.contains(&Some(decides)) {
                    return Some(decides);
                }
                proofs.iter().all(|p| p.is_some()).then_some(!decides)
            }
            (Func::Not, [a]) => a.by_bounds(ranges).map(|v| !v),
            (_, [a, b]) if a.kind() == Kind::Int && b.kind() == Kind::Int => compare_ints(*func, a, b, ranges),
            (_, [a, b]) if a.kind() != Kind::Bool && b.kind() != Kind::Bool => {
                let (a, b) = (float_bounds(a, ranges)?, float_bounds(b, ranges)?);
                let sign = |x: f64, y: f64| i128::from(x > y) - i128::from(x < y);
                func.of_sign(Span { lo: sign(a.0, b.1), hi: sign(a.1, b.0) })
            }
            _ => None,
        }
    }

    fn by_trial(&self, ranges: &Ranges) -> Option<bool> {
        let symbols: Vec<(Symbol, i64, i64)> = self
            .symbols()
            .into_iter()
            .map(|s| {
                let range = ranges.get(&s);
                Some((s, range.min?, range.max?))
            })
            .collect::<Option<_>>()?;
        let count = symbols.iter().try_fold(1i64, |count, (_, min, max)| {
            let values = max.checked_sub(*min)?.checked_add(1).filter(|n| *n > 0)?;
            count.checked_mul(values).filter(|n| *n <= MAX_ASSIGNMENTS)
        })?;
        let mut verdict = None;
        for mut rest in 0..count {
            let mut values = BTreeMap::new();
            for (symbol, min, max) in &symbols {
                let n = max - min + 1;
                values.insert(&**symbol, min + rest % n);
                rest /= n;
            }
            let value = self.eval(&|name| values.get(name).copied())?.as_bool()?;
            if *verdict.get_or_insert(value) != value {
                return None;
            }
        }
        verdict
    }
}

impl Func {
    /// The truth of `a func b` from the bounds of the sign of `a - b`.
    fn of_sign(self, sign: Span) -> Option<bool> {
        let (holds, fails) = match self {
            Func::Eq => (sign.lo == 0 && sign.hi == 0, sign.lo > 0 || sign.hi < 0),
            Func::Ne => (sign.lo > 0 || sign.hi < 0, sign.lo == 0 && sign.hi == 0),
            Func::Lt => (sign.hi < 0, sign.lo >= 0),
            Func::Le => (sign.hi <= 0, sign.lo > 0),
            Func::Gt => (sign.lo > 0, sign.hi <= 0),
            Func::Ge => (sign.lo >= 0, sign.hi < 0),
            _ => return None,
        };
        if holds { Some(true) } else { fails.then_some(false) }
    }
}

fn compare_ints(func: Func, a: &Expr, b: &Expr, ranges: &Ranges) -> Option<bool> {
    let difference = Poly::of(a).add_scaled(&Poly::of(b), -1)?;
    let content = difference.content();
    if content > 1 && !difference.constant_term().unsigned_abs().is_multiple_of(content) {
        match func {
            Func::Eq => return Some(false),
            Func::Ne => return Some(true),
            _ => {}
        }
    }
    let negated = Poly::default().add_scaled(&difference, -1)?;
    let lo = least_sign(&difference, ranges, &mut MAX_REWRITES.clone());
    let hi = -least_sign(&negated, ranges, &mut MAX_REWRITES.clone());
    func.of_sign(Span { lo, hi })
}

/// A lower bound of the sign of `poly`.
fn least_sign(poly: &Poly, ranges: &Ranges, rewrites: &mut usize) -> i128 {
    let mut best = Span::of(&poly.clone().into_expr(), ranges).lo.signum();
    for (monomial, &coefficient) in &poly.0 {
        if best > 0 || *rewrites == 0 {
            break;
        }
        let [(Expr::Op(func, args), 1)] = &monomial.0[..] else { continue };
        let variable = Poly(BTreeMap::from([(monomial.clone(), 1)]));
        let mut sign_with = |replacement: &Poly, scale: i64| {
            *rewrites = rewrites.saturating_sub(1);
            // scale * (poly - coefficient * variable) + coefficient * replacement
            let scaled = Poly::default().add_scaled(poly, scale)?;
            let without = scaled.add_scaled(&variable, coefficient.checked_mul(-scale)?)?;
            Some(least_sign(&without.add_scaled(replacement, coefficient)?, ranges, rewrites))
        };
        let sign = match (func, &args[..]) {
            (Func::FloorDiv, [x, Expr::Int(k @ 1..)]) => {
                let remainder = Poly::of(&Expr::modulo(x, *k));
                Poly::of(x).add_scaled(&remainder, -1).and_then(|p| sign_with(&p, *k))
            }
            (Func::Max | Func::Min, _) => {
                let signs = args.iter().map(|a| sign_with(&Poly::of(a), 1).unwrap_or(-1));
                // The extreme is at least (at most) each operand, and it is one of them.
                if (*func == Func::Max) == (coefficient > 0) { signs.max() } else { signs.min() }
            }
            _ => None,
        };
        best = best.max(sign.unwrap_or(-1));
    }
    best
}
