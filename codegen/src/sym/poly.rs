//! Integer sums and products as polynomials with i64 coefficients: like terms collected, products of sums expanded.
//!
//! A polynomial's variables are whatever is no sum, product or constant power (symbols, `FloorDiv`, `Max` …). Every
//! operation is checked; where a coefficient overflows or expansion would grow past [`MAX_WORK`], the answer is
//! `None` and the caller keeps the operator as it stands.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::{Expr, Func, Kind};

/// Most products of terms that one expansion may form.
const MAX_WORK: usize = 256;

/// A product of powers of variables, by variable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Monomial(pub(super) Vec<(Expr, u32)>);

/// A sum of monomials with their coefficients, none zero, in order of printing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Poly(pub(super) BTreeMap<Monomial, i64>);

impl Poly {
    /// The polynomial that `e` is.
    pub(super) fn of(e: &Expr) -> Poly {
        Poly::decompose(e).unwrap_or_else(|| Poly::variable(e.clone(), 1))
    }

    pub(super) fn constant(value: i64) -> Poly {
        let mut poly = Poly::default();
        if value != 0 {
            poly.0.insert(Monomial::default(), value);
        }
        poly
    }

    /// `self + factor * other`.
    pub(super) fn add_scaled(mut self, other: &Poly, factor: i64) -> Option<Poly> {
        for (monomial, coefficient) in &other.0 {
            self.add_term(monomial.clone(), coefficient.checked_mul(factor)?)?;
        }
        Some(self)
    }

    pub(super) fn mul(&self, other: &Poly) -> Option<Poly> {
        if self.0.len() * other.0.len() > MAX_WORK {
            return None;
        }
        let mut product = Poly::default();
        for (a, x) in &self.0 {
            for (b, y) in &other.0 {
                product.add_term(a.mul(b)?, x.checked_mul(*y)?)?;
            }
        }
        Some(product)
    }

    pub(super) fn pow(&self, exponent: u32) -> Option<Poly> {
        if self.0.len() == 1 {
            let (monomial, coefficient) = self.0.first_key_value()?;
            let powers = monomial.0.iter().map(|(e, n)| Some((e.clone(), n.checked_mul(exponent)?)));
            let mut poly = Poly::default();
            let powers = if exponent == 0 { Vec::new() } else { powers.collect::<Option<_>>()? };
            poly.add_term(Monomial(powers), coefficient.checked_pow(exponent)?)?;
            return Some(poly);
        }
        if self.0.is_empty() {
            return Some(Poly::constant((exponent == 0).into()));
        }
        // A sum of two terms or more cannot stay below the limit for long.
        if exponent > 16 {
            return None;
        }
        (0..exponent).try_fold(Poly::constant(1), |product, _| product.mul(self))
    }

    /// The constant term.
    pub(super) fn constant_term(&self) -> i64 {
        self.0.get(&Monomial::default()).copied().unwrap_or(0)
    }

    /// The value, if there is no variable.
    pub(super) fn as_constant(&self) -> Option<i64> {
        match self.0.len() {
            0 => Some(0),
            1 => self.0.get(&Monomial::default()).copied(),
            _ => None,
        }
    }

    /// Greatest common divisor of the coefficients of all terms but the constant; 0 if there are none.
    pub(super) fn content(&self) -> u64 {
        let coefficients = self.0.iter().filter(|(m, _)| !m.0.is_empty());
        coefficients.fold(0, |g, (_, c)| gcd(g, c.unsigned_abs()))
    }

    /// Splits the terms: those that satisfy `keep`, and the rest.
    pub(super) fn partition(self, keep: impl Fn(&Monomial, i64) -> bool) -> (Poly, Poly) {
        let (yes, no) = self.0.into_iter().partition(|(m, c)| keep(m, *c));
        (Poly(yes), Poly(no))
    }

    /// Divides every coefficient by `divisor`, which must divide each of them.
    pub(super) fn divide(self, divisor: i64) -> Option<Poly> {
        let divided = self.0.into_iter().map(|(m, c)| Some((m, c.checked_div(divisor)?)));
        Some(Poly(divided.collect::<Option<_>>()?))
    }

    /// The polynomial `q` with `q * divisor == self`, if there is one: long division in the order of terms.
    pub(super) fn exact_div(&self, divisor: &Poly) -> Option<Poly> {
        let (lead, lead_coefficient) = divisor.0.first_key_value()?;
        let mut rest = self.clone();
        let mut quotient = Poly::default();
        for _ in 0..MAX_WORK {
            let Some((monomial, coefficient)) = rest.0.first_key_value() else { return Some(quotient) };
            let factor = coefficient
                .checked_div(*lead_coefficient)
                .filter(|f| f.checked_mul(*lead_coefficient) == Some(*coefficient));
            let term = Poly(BTreeMap::from([(monomial.div(lead)?, factor?)]));
            rest = rest.add_scaled(&divisor.mul(&term)?, -1)?;
            quotient = quotient.add_scaled(&term, 1)?;
        }
        None
    }

    /// The polynomial divided by what variables all its terms have in common.
    pub(super) fn without_common_factor(self) -> Poly {
        let mut monomials = self.0.keys();
        let Some(first) = monomials.next() else { return self };
        let mut common = first.clone();
        for monomial in monomials {
            common.0.retain_mut(|(variable, power)| {
                let other = monomial.0.iter().find(|(other, _)| other == variable);
                *power = other.map_or(0, |(_, other)| (*power).min(*other));
                *power > 0
            });
        }
        let divided = self.0.iter().map(|(m, c)| Some((m.div(&common)?, *c))).collect::<Option<_>>();
        divided.map_or(self, Poly)
    }

    /// The polynomial where `from` equals `to`: no term is left that the leading term of `from` divides.
    pub(super) fn replaced(&self, from: &Poly, to: &Poly) -> Option<Poly> {
        let (lead, scale) = from.0.first_key_value()?;
        let mut poly = self.clone();
        for _ in 0..MAX_WORK {
            let quotient = |c: &i64| c.checked_div(*scale).filter(|q| q.checked_mul(*scale) == Some(*c));
            let found = poly.0.iter().find_map(|(m, c)| Some((m.div(lead)?, quotient(c)?)));
            let Some((rest, coefficient)) = found else { return Some(poly) };
            let rest = Poly(BTreeMap::from([(rest, coefficient)]));
            poly = poly.add_scaled(&rest.mul(from)?, -1)?.add_scaled(&rest.mul(to)?, 1)?;
        }
        None
    }

    pub(super) fn into_expr(self) -> Expr {
        let mut terms: Vec<Expr> = self.0.into_iter().map(|(m, c)| m.into_expr(c)).collect();
        match terms.len() {
            0 => Expr::Int(0),
            1 => terms.remove(0),
            _ => Expr::Op(Func::Add, terms.into()),
        }
    }

    pub(super) fn variable(e: Expr, power: u32) -> Poly {
        Poly(BTreeMap::from([(Monomial(vec![(e, power)]), 1)]))
    }

    fn decompose(e: &Expr) -> Option<Poly> {
        match e {
            Expr::Int(v) => Some(Poly::constant(*v)),
            Expr::Op(Func::Add | Func::Mul, _) if e.kind() != Kind::Int => None,
            Expr::Op(Func::Add, args) => {
                args.iter().try_fold(Poly::default(), |sum, a| sum.add_scaled(&Poly::of(a), 1))
            }
            Expr::Op(Func::Mul, args) => product(args),
            Expr::Op(Func::Pow, args) => match &args[..] {
                [base, Expr::Int(n)] => power(base, u32::try_from(*n).ok()?),
                _ => None,
            },
            _ => None,
        }
    }

    fn add_term(&mut self, monomial: Monomial, coefficient: i64) -> Option<()> {
        let sum = self.0.get(&monomial).copied().unwrap_or(0).checked_add(coefficient)?;
        if sum == 0 {
            self.0.remove(&monomial);
        } else {
            self.0.insert(monomial, sum);
        }
        Some(())
    }
}

/// The product of integer expressions; if expanding the sums among them would grow too large, they stay factors.
pub(super) fn product(factors: &[Expr]) -> Option<Poly> {
    let (sums, others): (Vec<Poly>, Vec<Poly>) = factors.iter().map(Poly::of).partition(|p| p.0.len() > 1);
    let scale = others.iter().try_fold(Poly::constant(1), |product, p| product.mul(p))?;
    if let Some(expanded) = sums.iter().try_fold(scale.clone(), |product, p| product.mul(p)) {
        return Some(expanded);
    }
    sums.into_iter().try_fold(scale, |product, p| product.mul(&Poly::variable(p.into_expr(), 1)))
}

/// An integer expression to a constant power; what would grow too large stays a power.
pub(super) fn power(base: &Expr, exponent: u32) -> Option<Poly> {
    let base = Poly::of(base);
    match base.pow(exponent) {
        Some(p) => Some(p),
        None if base.0.len() > 1 => Some(Poly::variable(base.into_expr(), exponent)),
        None => None,
    }
}

impl Monomial {
    fn mul(&self, other: &Monomial) -> Option<Monomial> {
        let mut powers = Vec::with_capacity(self.0.len() + other.0.len());
        let (mut a, mut b) = (self.0.iter().peekable(), other.0.iter().peekable());
        loop {
            let order = match (a.peek(), b.peek()) {
                (Some(x), Some(y)) => x.0.cmp(&y.0),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return Some(Monomial(powers)),
            };
            powers.push(match order {
                Ordering::Less => a.next()?.clone(),
                Ordering::Greater => b.next()?.clone(),
                Ordering::Equal => {
                    let (e, n) = a.next()?;
                    (e.clone(), n.checked_add(b.next()?.1)?)
                }
            });
        }
    }

    /// `self / other`, where every power of `other` is in `self`.
    fn div(&self, other: &Monomial) -> Option<Monomial> {
        let mut powers = self.0.clone();
        for (e, n) in &other.0 {
            let power = powers.iter_mut().find(|(have, _)| have == e)?;
            power.1 = power.1.checked_sub(*n)?;
        }
        powers.retain(|(_, n)| *n > 0);
        Some(Monomial(powers))
    }

    fn into_expr(self, coefficient: i64) -> Expr {
        let mut factors = Vec::with_capacity(self.0.len() + 1);
        if coefficient != 1 || self.0.is_empty() {
            factors.push(Expr::Int(coefficient));
        }
        factors.extend(self.0.into_iter().map(|(e, n)| match n {
            1 => e,
            _ => Expr::Op(Func::Pow, [e, Expr::Int(n.into())].into()),
        }));
        if factors.len() == 1 { factors.remove(0) } else { Expr::Op(Func::Mul, factors.into()) }
    }
}

impl Ord for Monomial {
    /// Sympy's order of terms: lexicographic in the variables, high powers first, the constant last.
    fn cmp(&self, other: &Self) -> Ordering {
        for ((a, n), (b, m)) in self.0.iter().zip(&other.0) {
            let order = a.cmp(b).then(m.cmp(n));
            if order != Ordering::Equal {
                return order;
            }
        }
        other.0.len().cmp(&self.0.len())
    }
}

impl PartialOrd for Monomial {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Greatest common divisor; `gcd(0, n) = n`.
pub(super) fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
