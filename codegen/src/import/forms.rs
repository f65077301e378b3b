//! What stands in the place of symbols that the guards say more of: see [`super`].

use crate::ir::Guard;
use crate::sym::{self, Expr, Multiple, Ranges, Symbol};
use std::collections::BTreeMap;

/// Most rounds in which what is known of some symbols is asked what it says of others.
const MAX_ROUNDS: usize = 4;

/// What stands in the place of symbols that the guards say more of.
#[derive(Default)]
pub(super) struct Forms {
    /// `s` → `4*t`, or `s1` → `s0` where they are equal.
    pub(super) of: BTreeMap<Symbol, Expr>,
    /// `t` = `s//4`.
    pub(super) quotients: Vec<(Symbol, Expr)>,
    /// Over the symbols of the graph.
    pub(super) multiples: Vec<Multiple>,
    /// Conditions behind these that no guard states as they are.
    pub(super) assumed: Vec<Guard>,
}

impl Forms {
    pub(super) fn new(guards: &[Guard], ranges: &Ranges) -> Forms {
        let equal = sym::equalities(guards.iter().map(|guard| &guard.condition));
        let mut forms = Forms::default();
        for (symbol, value) in equal {
            forms.take(guards, Expr::eq(Expr::Symbol(symbol.clone()), &value));
            forms.of.insert(symbol, value);
        }
        // What one symbol is makes conditions of several to conditions of one.
        for _ in 0..MAX_ROUNDS {
            let conditions: Vec<Expr> = guards.iter().map(|guard| guard.condition.substitute(&forms.of)).collect();
            let mut residues = sym::residues(&conditions, ranges);
            residues.retain(|symbol, _| !forms.is_quotient(symbol));
            if residues.is_empty() {
                residues = sym::joint_residues(&conditions, ranges);
                residues.retain(|symbol, _| !forms.is_quotient(symbol));
                for (symbol, residue) in &residues {
                    forms.take(guards, residue.condition(symbol));
                }
            }
            if residues.is_empty() {
                break;
            }
            forms.add(residues);
        }
        let conditions: Vec<Expr> = guards.iter().map(|guard| guard.condition.substitute(&forms.of)).collect();
        forms.multiples = sym::multiples(&conditions);
        // Python fails where it divides by 0; the remainder that generated code computes is 0 there.
        let sizes = forms.multiples.iter().filter(|multiple| multiple.by.as_int().is_none());
        let divisors: Vec<Expr> = sizes.map(|multiple| multiple.by.clone()).collect();
        divisors.into_iter().for_each(|by| forms.take(guards, Expr::ne(by, 0)));
        forms
    }

    fn is_quotient(&self, symbol: &Symbol) -> bool {
        self.quotients.iter().any(|(quotient, _)| quotient == symbol)
    }

    fn add(&mut self, residues: BTreeMap<Symbol, sym::Residue>) {
        let mut new = BTreeMap::new();
        for (symbol, residue) in residues {
            let quotient: Symbol = format!("{symbol}_{}", residue.factor).into();
            self.quotients.push((quotient.clone(), residue.quotient(&symbol)));
            new.insert(symbol, residue.form(&quotient));
        }
        self.of.values_mut().for_each(|value| *value = value.substitute(&new));
        self.of.extend(new);
    }

    /// A condition that guards imply unless a size is 0: checked, too.
    fn take(&mut self, guards: &[Guard], condition: Expr) {
        if !guards.iter().any(|guard| guard.condition == condition) {
            let message = format!("Expected {condition}, which the exported program takes for granted");
            self.assumed.push(Guard { condition, message, origin: None });
        }
    }
}
