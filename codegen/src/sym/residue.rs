//! What equations say of symbols: that one is another or what others make, and of its remainder: `Eq(Mod(s, 4), 0)`
//! leaves `s = 4*t` only, and so does `Eq(4*(s//4), s)`.
//!
//! With `4*t` in the place of `s`, sizes are polynomials again that compare by structure, where `s//4` is opaque.

use std::collections::BTreeMap;

use super::eval::Value;
use super::poly::{Poly, gcd};
use super::{Expr, Func, Kind, Ranges, Symbol};

/// Largest divisor whose remainders are tried out.
const MAX_MODULUS: u64 = 256;
/// Largest bound of a symbol whose values are tried out.
const MAX_TRIED: i64 = 1 << 14;

/// `symbol = factor * quotient + rest` for an integer quotient; `0 <= rest < factor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Residue {
    /// At least 2.
    pub factor: i64,
    /// What is left of the symbol.
    pub rest: i64,
}

impl Residue {
    /// The symbol, over the quotient.
    pub fn form(&self, quotient: &Symbol) -> Expr {
        Expr::add(Expr::mul(self.factor, Expr::Symbol(quotient.clone())), self.rest)
    }

    /// What it says of the symbol.
    pub fn condition(&self, symbol: &Symbol) -> Expr {
        Expr::eq(Expr::modulo(Expr::Symbol(symbol.clone()), self.factor), self.rest)
    }

    /// The quotient, over the symbol.
    pub fn quotient(&self, symbol: &Symbol) -> Expr {
        Expr::floordiv(Expr::sub(Expr::Symbol(symbol.clone()), self.rest), self.factor)
    }

    /// What both say; `None` if no number is of both forms, or their common form is too large.
    fn and(self, other: Residue) -> Option<Residue> {
        let common = i64::try_from(gcd(self.factor.unsigned_abs(), other.factor.unsigned_abs())).ok()?;
        let factor = (self.factor / common).checked_mul(other.factor)?;
        if factor.unsigned_abs() > MAX_MODULUS {
            return None;
        }
        let rest = (0..factor).find(|n| n % self.factor == self.rest && n % other.factor == other.rest)?;
        Some(Residue { factor, rest })
    }
}

/// Symbols that are expressions of others where conditions hold and no size is 0 that both sides have as a factor; no symbol is both replaced and part of another's
/// expression. Which of two equal symbols is replaced is the later one's by name.
pub fn equalities<'a>(conditions: impl IntoIterator<Item = &'a Expr>) -> BTreeMap<Symbol, Expr> {
    let mut found: BTreeMap<Symbol, Expr> = BTreeMap::new();
    for condition in conditions.into_iter().flat_map(parts) {
        let condition = condition.substitute(&found);
        let Expr::Op(Func::Eq, sides) = &condition else { continue };
        let [left, right] = &sides[..] else { continue };
        if left.kind() != Kind::Int || right.kind() != Kind::Int {
            continue;
        }
        let difference = Poly::of(&Expr::sub(left, right)).without_common_factor().into_expr();
        let solved = difference.symbols().into_iter().rev().find_map(|symbol| {
            let (coefficient, rest) = difference.solve_linear(&symbol).filter(|(c, _)| c.abs() == 1)?;
            Some((symbol, Expr::mul(-coefficient, rest)))
        });
        if let Some((symbol, value)) = solved {
            let replaced = BTreeMap::from([(symbol.clone(), value.clone())]);
            found.values_mut().for_each(|other| *other = other.substitute(&replaced));
            found.insert(symbol, value);
        }
    }
    found
}

/// The conditions that a conjunction joins.
pub(super) fn parts(condition: &Expr) -> &[Expr] {
    match condition {
        Expr::Op(Func::And, parts) => parts,
        other => std::slice::from_ref(other),
    }
}

/// The remainders that follow from conditions which all hold, of symbols in their ranges. Where a range is finite, every value
/// is tried on all conditions of that symbol; else equations are asked one by one.
pub fn residues<'a>(conditions: impl IntoIterator<Item = &'a Expr>, ranges: &Ranges) -> BTreeMap<Symbol, Residue> {
    let mut of_one: BTreeMap<Symbol, Vec<&Expr>> = BTreeMap::new();
    for condition in conditions.into_iter().flat_map(parts) {
        let symbols = condition.symbols();
        if let (Some(symbol), 1) = (symbols.first(), symbols.len()) {
            of_one.entry(symbol.clone()).or_default().push(condition);
        }
    }
    let found = of_one.into_iter().filter(|(_, conditions)| conditions.iter().any(|c| divides(c)));
    let found = found.filter_map(|(symbol, conditions)| {
        let residue = match ranges.get(&symbol).max {
            Some(max @ 0..=MAX_TRIED) => by_trial(&symbol, &conditions, ranges.get(&symbol).min, max),
            _ => conditions.iter().filter_map(|c| by_remainders(&symbol, c)).reduce(|a, b| a.and(b).unwrap_or(a)),
        };
        Some((symbol, residue?))
    });
    found.collect()
}

/// The remainders that follow from equations of two symbols with finite ranges, unless one is 0.
pub fn joint_residues<'a>(
    conditions: impl IntoIterator<Item = &'a Expr>,
    ranges: &Ranges,
) -> BTreeMap<Symbol, Residue> {
    let mut found = BTreeMap::new();
    for condition in conditions.into_iter().flat_map(parts) {
        let Expr::Op(Func::Eq, sides) = condition else { continue };
        let [left, right] = &sides[..] else { continue };
        if left.kind() != Kind::Int || right.kind() != Kind::Int || !divides(condition) {
            continue;
        }
        let difference = Poly::of(&Expr::sub(left, right)).without_common_factor().into_expr();
        let symbols: Vec<Symbol> = difference.symbols().into_iter().collect();
        let [a, b] = &symbols[..] else { continue };
        let (Some(most_a), Some(most_b)) = (ranges.get(a).max, ranges.get(b).max) else { continue };
        if most_a.saturating_mul(most_b) > MAX_TRIED {
            continue;
        }
        let mut passing = [Forms::default(), Forms::default()];
        for (x, y) in (1..=most_a).flat_map(|x| (1..=most_b).map(move |y| (x, y))) {
            let value = |name: &str| if name == &**a { Some(x) } else { (name == &**b).then_some(y) };
            if difference.eval(&value).is_none_or(|value| value.as_int() == Some(0)) {
                passing[0].meet(x);
                passing[1].meet(y);
            }
        }
        for (symbol, forms) in symbols.iter().zip(passing) {
            found.extend(forms.residue().map(|residue| (symbol.clone(), residue)));
        }
    }
    found
}

/// The form of the numbers met so far.
#[derive(Default)]
struct Forms {
    first: Option<i64>,
    apart: u64,
}

impl Forms {
    fn meet(&mut self, value: i64) {
        let first = *self.first.get_or_insert(value);
        self.apart = gcd(self.apart, value.abs_diff(first));
    }

    fn residue(&self) -> Option<Residue> {
        let factor = i64::try_from(self.apart).ok().filter(|factor| *factor > 1)?;
        Some(Residue { factor, rest: self.first? % factor })
    }
}

/// Whether something is divided.
fn divides(e: &Expr) -> bool {
    match e {
        Expr::Op(Func::FloorDiv | Func::Mod, _) => true,
        Expr::Op(_, args) => args.iter().any(divides),
        _ => false,
    }
}

/// The form of all values that pass. A condition without a value (a division by zero) excludes none.
fn by_trial(symbol: &Symbol, conditions: &[&Expr], min: Option<i64>, max: i64) -> Option<Residue> {
    // Lower bounds up to 2 are not enforced.
    let least = min.filter(|min| *min > 2).unwrap_or(0);
    let passes = |value: &i64| {
        let value = |name: &str| (name == &**symbol).then_some(*value);
        conditions.iter().all(|c| c.eval(&value).and_then(Value::as_bool) != Some(false))
    };
    let mut forms = Forms::default();
    (least..=max).filter(passes).for_each(|value| forms.meet(value));
    forms.residue()
}

/// The form of a symbol in an equation, whatever its range: remainders that do not fail for sure.
fn by_remainders(symbol: &Symbol, condition: &Expr) -> Option<Residue> {
    if !matches!(condition, Expr::Op(Func::Eq, _)) {
        return None;
    }
    let modulus = modulus(condition, 1)?;
    let possible = |rest: &i64| {
        let whole = Residue { factor: modulus, rest: *rest }.form(symbol);
        let condition = condition.substitute(&BTreeMap::from([(symbol.clone(), whole)]));
        condition.prove(&Ranges::default()) != Some(false)
    };
    let mut forms = Forms { first: None, apart: modulus.unsigned_abs() };
    (0..modulus).filter(possible).for_each(|rest| forms.meet(rest));
    forms.residue()
}

/// The least common multiple of all constant divisors.
fn modulus(e: &Expr, so_far: i64) -> Option<i64> {
    let Expr::Op(func, args) = e else { return Some(so_far) };
    let so_far = match (func, &args[..]) {
        (Func::FloorDiv | Func::Mod, [_, Expr::Int(d)]) if *d != 0 => {
            let common = gcd(so_far.unsigned_abs(), d.unsigned_abs());
            let multiple = (so_far.unsigned_abs() / common).checked_mul(d.unsigned_abs());
            i64::try_from(multiple.filter(|m| *m <= MAX_MODULUS)?).ok()?
        }
        _ => so_far,
    };
    args.iter().try_fold(so_far, |so_far, arg| modulus(arg, so_far))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(conditions: &[&str]) -> Vec<(String, i64, i64)> {
        let conditions: Vec<Expr> = conditions.iter().map(|c| crate::sym::parse(c).unwrap()).collect();
        residues(&conditions, &Ranges::default()).into_iter().map(|(s, r)| (s.to_string(), r.factor, r.rest)).collect()
    }

    #[test]
    fn equations_leave_one_remainder() {
        assert_eq!(found(&["Eq(Mod(s0, 4), 0)"]), [("s0".to_owned(), 4, 0)]);
        assert_eq!(found(&["Eq(Mod(s0 + 1, 4), 0)"]), [("s0".to_owned(), 4, 3)]);
        assert_eq!(found(&["Eq(2*((s0 - 1)//2) + 2, s0)"]), [("s0".to_owned(), 2, 0)]);
        assert_eq!(found(&["Eq(Mod(2*s0, 4), 0)"]), [("s0".to_owned(), 2, 0)]);
        assert_eq!(found(&["Eq(Mod(s0, 4), 0)", "Eq(Mod(s0, 6), 2)"]), [("s0".to_owned(), 12, 8)]);
    }

    #[test]
    fn values_in_a_range_are_tried() {
        let conditions =
            ["Eq(Mod(s0, s0//2), 0)", "Eq(s0//(s0//2), 2)", "s0 < s1"].map(|c| crate::sym::parse(c).unwrap());
        let mut ranges = Ranges::default();
        ranges.0.insert("s0".into(), crate::sym::Interval::new(4, 9));
        let expected = BTreeMap::from([("s0".into(), Residue { factor: 2, rest: 0 })]);
        assert_eq!(residues(&conditions, &ranges), expected);
        assert_eq!(residues(&conditions, &Ranges::default()), BTreeMap::new());
    }

    #[test]
    fn two_symbols_are_tried_together() {
        let condition = crate::sym::parse("Eq(3*s0*s1*s2, 12*s2*(s0//2)*(s1//2))").unwrap();
        let mut ranges = Ranges::default();
        let even = Residue { factor: 2, rest: 0 };
        for symbol in ["s0", "s1"] {
            ranges.0.insert(symbol.into(), crate::sym::Interval::new(2, 9));
        }
        let expected = BTreeMap::from([("s0".into(), even), ("s1".into(), even)]);
        assert_eq!(joint_residues([&condition], &ranges), expected);
        assert_eq!(joint_residues([&condition], &Ranges::default()), BTreeMap::new());
    }

    #[test]
    fn equations_replace_symbols() {
        let solved = |conditions: &[&str]| -> Vec<String> {
            let conditions: Vec<Expr> = conditions.iter().map(|c| crate::sym::parse(c).unwrap()).collect();
            equalities(&conditions).into_iter().map(|(s, e)| format!("{s} = {e}")).collect()
        };
        assert_eq!(solved(&["Eq(s0, s1)"]), ["s1 = s0"]);
        assert_eq!(solved(&["Eq(s1, 2*s2)", "Eq(s2, s0 + 1)"]), ["s1 = 2*s0 + 2", "s2 = s0 + 1"]);
        assert_eq!(solved(&["Eq(s0*s1, s0**2)"]), ["s1 = s0"]);
        assert_eq!(solved(&["Eq((s0 + 1)//2, s1)"]), ["s1 = ((s0 + 1)//2)"]);
        assert_eq!(solved(&["Ne(s0, s2)", "Eq(Mod(s2, 4), 0)", "Eq(3*s3, 2*s4)"]), [""; 0]);
    }

    #[test]
    fn other_conditions_say_nothing() {
        for condition in
            ["Ne(Mod(s0, 4), 0)", "Eq(Mod(s0*s1, 4), 0)", "Eq(Mod(s0, 1000), 0)", "s0 >= 4", "Eq(s0//4, 2)"]
        {
            assert_eq!(found(&[condition]), [], "{condition}");
        }
        // Contradictions are the entry's to report.
        assert_eq!(found(&["Eq(Mod(s0, 4), 0)", "Eq(Mod(s0, 2), 1)"]), [("s0".to_owned(), 4, 0)]);
    }
}
