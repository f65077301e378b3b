//! Identifiers of generated code, made from the names in the archive.

use crate::diag::{Diagnostic, Errors};
use proc_macro2::{Ident, Span};
use std::collections::BTreeMap;

/// Keywords of all editions that can be written raw.
const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn", "else", "enum",
    "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod", "move",
    "mut", "override", "priv", "pub", "ref", "return", "static", "struct", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// Words that cannot be written raw.
const RESERVED: &[&str] = &["self", "super", "crate", "Self", "_", ""];

/// A name as a field, parameter or variable: other characters become `_`, keywords raw, a leading digit gets `_`.
pub(super) fn field(name: &str) -> Ident {
    ident(&clean(name))
}

/// An identifier known to be well formed, except that it may be a keyword.
pub(super) fn ident(name: &str) -> Ident {
    if RESERVED.contains(&name) {
        return Ident::new(&format!("{name}_"), Span::call_site());
    }
    if KEYWORDS.contains(&name) {
        return Ident::new_raw(name, Span::call_site());
    }
    Ident::new(name, Span::call_site())
}

/// A name as a constant: `batch.times` → `BATCH_TIMES`.
pub(super) fn constant(name: &str) -> String {
    clean(name).to_ascii_uppercase()
}

/// A name as a part of a type's name: `batch_x` → `BatchX`.
pub(super) fn camel(name: &str) -> String {
    let mut camel = String::new();
    for word in clean(name).split('_').filter(|w| !w.is_empty()) {
        let mut chars = word.chars();
        camel.extend(chars.next().map(|c| c.to_ascii_uppercase()));
        camel.extend(chars);
    }
    camel
}

/// Letters, digits and `_` only, not beginning with a digit.
fn clean(name: &str) -> String {
    let mut clean: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if clean.starts_with(|c: char| c.is_ascii_digit()) {
        clean.insert(0, '_');
    }
    clean
}

/// The identifiers of one scope; two different names that become one identifier are a fault.
#[derive(Default)]
pub(super) struct Scope(BTreeMap<String, String>);

impl Scope {
    /// Claims `ident` for `name`.
    pub(super) fn claim(&mut self, ident: &str, name: &str, what: &str, errors: &mut Errors) {
        if let Some(other) = self.0.insert(ident.to_string(), name.to_string()) {
            let message = format!("{what} `{other}` and `{name}` both become `{ident}` in Rust");
            errors.push(
                Diagnostic::violated(message)
                    .help("rename one of them; outputs can be renamed by the option `outputs`"),
            );
        }
    }
}

/// Variables of one function: a name that is taken gets a number.
#[derive(Default)]
pub(super) struct Variables(BTreeMap<String, usize>);

impl Variables {
    /// A variable for a value of this name.
    pub(super) fn fresh(&mut self, name: &str) -> Ident {
        // `relu_` (an operator in place) and the like would break the style rustc asks for.
        let words: Vec<String> =
            clean(name).to_ascii_lowercase().split('_').filter(|w| !w.is_empty()).map(String::from).collect();
        let clean = clean(&words.join("_"));
        let clean = if clean.is_empty() { "value".to_string() } else { clean };
        let count = self.0.entry(clean.clone()).or_insert(0);
        *count += 1;
        let numbered = format!("{clean}_{count}");
        if *count == 1 { ident(&clean) } else { self.fresh(&numbered) }
    }

    /// With names that must not be used.
    pub(super) fn without(taken: &[&str]) -> Self {
        Variables(taken.iter().map(|name| (name.to_string(), 1)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_identifiers() {
        let text = |name: &str| field(name).to_string();
        assert_eq!(
            [text("x"), text("type"), text("self"), text("a.b-c"), text("3d")],
            ["x", "r#type", "self_", "a_b_c", "_3d"]
        );
        assert_eq!([camel("batch_x"), camel("_0"), camel("a.b")], ["BatchX", "0", "AB"]);
        assert_eq!(constant("batch.n"), "BATCH_N");
    }

    #[test]
    fn collisions_are_faults() {
        let (mut scope, mut errors) = (Scope::default(), Errors::default());
        scope.claim("a_b", "a.b", "outputs", &mut errors);
        scope.claim("c", "c", "outputs", &mut errors);
        assert!(errors.0.is_empty());
        scope.claim("a_b", "a-b", "outputs", &mut errors);
        assert!(errors.0[0].message.contains("`a.b` and `a-b` both become `a_b`"));
    }

    #[test]
    fn variables_are_unique() {
        let mut variables = Variables::without(&["s"]);
        let mut fresh = |name: &str| variables.fresh(name).to_string();
        assert_eq!([fresh("x"), fresh("x"), fresh("s"), fresh("x_2")], ["x", "x_2", "s_2", "x_2_2"]);
        assert_eq!(
            [variables.fresh("mul_"), variables.fresh("a__B"), variables.fresh("_")].map(|i| i.to_string()),
            ["mul", "a_b", "value"]
        );
    }
}
