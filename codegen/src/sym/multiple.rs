//! What conditions say of one size being a multiple of another: where 4 divides `s0*s1`, `4*((s0*s1)//4)` is `s0*s1`, and where
//! `s//3` divides `s`, `(s//3)*(s//(s//3))` is `s`.

use std::collections::BTreeMap;

use super::poly::Poly;
use super::residue::parts;
use super::{Expr, Func, Kind};

/// An expression that another one divides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multiple {
    /// What is divided.
    pub of: Expr,
    /// By what, which is not 0.
    pub by: Expr,
}

/// The multiples that conditions which all hold name.
pub fn multiples<'a>(conditions: impl IntoIterator<Item = &'a Expr>) -> Vec<Multiple> {
    let multiple = |condition: &Expr| {
        let Expr::Op(Func::Eq, sides) = condition else { return None };
        let (remainder, Expr::Int(0)) = (sides.first()?, sides.get(1)?) else { return None };
        let remainder = match remainder {
            Expr::Op(Func::Mul, factors) if matches!(factors[..], [Expr::Int(_), _]) => &factors[1],
            other => other,
        };
        let Expr::Op(Func::Mod, operands) = remainder else { return None };
        let [of, by] = &operands[..] else { return None };
        (by.as_int().is_none_or(|by| by > 1)).then(|| Multiple { of: of.clone(), by: by.clone() })
    };
    conditions.into_iter().flat_map(parts).filter_map(multiple).collect()
}

impl Multiple {
    /// Whether two expressions are the same where this holds.
    pub fn equates(&self, a: &Expr, b: &Expr) -> bool {
        let a = self.over_quotient(a);
        a.is_some() && a == self.over_quotient(b)
    }

    /// What `e` is where this holds, if that can be written shorter.
    pub fn shortened(&self, e: &Expr) -> Option<Expr> {
        let quotient = quotient();
        let product = Poly::of(&Expr::mul(&self.by, &quotient));
        let rest = Poly::of(&self.over_quotient(e)?).replaced(&product, &Poly::of(&self.of))?.into_expr();
        let Expr::Symbol(name) = quotient else { return None };
        let short = rest.substitute(&BTreeMap::from([(name, Expr::floordiv(&self.of, &self.by))]));
        (length(&short) < length(e)).then_some(short)
    }

    /// `e` over the quotient: `by * quotient` in the place of `of`. What `by` is made of stays.
    fn over_quotient(&self, e: &Expr) -> Option<Expr> {
        if let Expr::Op(func, args) = e {
            if *func == Func::FloorDiv && args[..] == [self.of.clone(), self.by.clone()] {
                return Some(quotient());
            }
            if Poly::of(&self.by).0.keys().any(|monomial| monomial.0.iter().any(|(part, _)| part == e)) {
                return Some(e.clone());
            }
        }
        let e = match e {
            Expr::Op(func, args) => {
                Expr::apply(*func, args.iter().map(|arg| self.over_quotient(arg)).collect::<Option<_>>()?)
            }
            other => other.clone(),
        };
        if e.kind() != Kind::Int {
            return Some(e);
        }
        let product = Poly::of(&Expr::mul(&self.by, quotient()));
        Some(Poly::of(&e).replaced(&Poly::of(&self.of), &product)?.into_expr())
    }
}

/// No symbol of an archive has such a name.
fn quotient() -> Expr {
    Expr::symbol("quotient~")
}

/// Number of operators and operands.
fn length(e: &Expr) -> usize {
    match e {
        Expr::Op(_, args) => 1 + args.iter().map(length).sum::<usize>(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Expr {
        crate::sym::parse(text).unwrap()
    }

    fn multiple(of: &str, by: &str) -> Multiple {
        Multiple { of: parse(of), by: parse(by) }
    }

    #[test]
    fn conditions_name_multiples() {
        let conditions = ["Eq(Mod(s0*s1, 4), 0)", "Eq(Mod(2*s0, 6), 0)", "Eq(Mod(s0, s0//3), 0)"].map(parse);
        let expected = [multiple("s0*s1", "4"), multiple("s0", "3"), multiple("s0", "s0//3")];
        assert_eq!(multiples(&conditions), expected);
        assert_eq!(multiples(&["Ne(Mod(s0, 4), 0)", "Eq(Mod(s0, 4), 1)", "Eq(s0//4, 0)"].map(parse)), []);
    }

    #[test]
    fn multiples_equate_sizes() {
        let by_four = multiple("s0*s1", "4");
        assert!(by_four.equates(&parse("4*((s0*s1)//4)"), &parse("s0*s1")));
        assert!(by_four.equates(&parse("3*s0*s1*s2"), &parse("12*s2*((s0*s1)//4)")));
        assert!(by_four.equates(&parse("(s0*s1)//((s0*s1)//4)"), &parse("4")));
        assert!(!by_four.equates(&parse("4*((s0*s1)//2)"), &parse("s0*s1")));
        let sum = multiple("s0 + s1", "2");
        assert!(sum.equates(&parse("2*((s0 + s1)//2)"), &parse("s0 + s1")));
        assert!(!sum.equates(&parse("s0"), &parse("s1")));
        let thirds = multiple("s0", "s0//3");
        assert!(thirds.equates(&parse("(s0//3)*(s0//(s0//3))"), &parse("s0")));
        assert!(!thirds.equates(&parse("3*(s0//3)"), &parse("s0")));
        assert!(!thirds.equates(&parse("s0//(s0//3)"), &parse("3")));
    }

    #[test]
    fn sizes_become_shorter() {
        let short = |m: &Multiple, text: &str| m.shortened(&parse(text)).map(|e| e.to_string());
        let by_four = multiple("s0*s1", "4");
        assert_eq!(short(&by_four, "4*((s0*s1)//4)"), Some("s0*s1".into()));
        assert_eq!(short(&by_four, "((s0*s1)//4)*((s0*s1)//((s0*s1)//4))"), Some("s0*s1".into()));
        assert_eq!(short(&by_four, "(s0*s1)//((s0*s1)//4)"), Some("4".into()));
        assert_eq!(short(&by_four, "2*((s0*s1)//4) + s2"), None);
        assert_eq!(short(&by_four, "s0*s1"), None);
        assert_eq!(short(&multiple("s0", "s0//3"), "(s0//3)*(s0//(s0//3))"), Some("s0".into()));
    }

    /// Whatever the values: where the condition holds, so does what follows from it.
    #[test]
    fn what_is_equal_has_equal_values() {
        let facts = [multiple("s0*s1", "4"), multiple("s0 + s1", "3"), multiple("s0", "s0//3"), multiple("s0", "s1")];
        let sizes =
            ["4*((s0*s1)//4)", "s0//4", "(s0*s1)//2", "(s0 + s1)//3 + s0", "(s0//3)*(s0//(s0//3))", "s1*(s0//s1)"];
        let mut tried = 0;
        for (fact, size) in facts.iter().flat_map(|fact| sizes.map(|size| (fact, parse(size)))) {
            let Some(short) = fact.shortened(&size) else { continue };
            for (a, b) in (0..20).flat_map(|a| (0..20).map(move |b| (a, b))) {
                let at = |e: &Expr| e.eval(&|name| Some(if name == "s0" { a } else { b }));
                if at(&Expr::modulo(&fact.of, &fact.by)) == Some(super::super::Value::Int(0)) && at(&size).is_some() {
                    assert_eq!(at(&size), at(&short), "{size} is not {short} at {a}, {b}");
                    tried += 1;
                }
            }
        }
        assert!(tried > 300, "{tried}");
    }
}
