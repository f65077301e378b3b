//! The model's modules in generated code: `Run::all` reads as `forward` of the Python module does, one call per submodule,
//! each a function that calls those of its own submodules and its layers.
//!
//! Takes the steps in order; gives the functions and the table `MODULES`. A module is a stretch of neighbouring steps: its
//! second call, or what fusion moved away, is a stretch of its own. The functions are inlined always, so that they cost no
//! code and no stack; a module of one step has none, since the step's function is named after it already.

use super::{doc, literal};
use crate::lower::Step;
use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use std::collections::BTreeSet;
use std::ops::Range;

/// A step, or the steps of a module.
#[derive(Debug, PartialEq)]
enum Part {
    Step(usize),
    Module { path: String, range: Range<usize>, parts: Vec<Part> },
}

/// The functions of modules, and what calls them and the steps outside of them, in order.
pub(super) struct Functions {
    pub(super) items: TokenStream,
    pub(super) calls: TokenStream,
}

/// The functions that run `steps` by `calls`.
pub(super) fn functions(steps: &[Step], calls: &[&TokenStream]) -> Functions {
    let mut functions = Functions { items: TokenStream::new(), calls: TokenStream::new() };
    let parts = parts(&paths(steps), 0..steps.len(), 0);
    functions.calls = statements(&parts, calls, &mut functions.items, &mut BTreeSet::new());
    functions
}

/// `("encoder", 0..12)` of every module, outer ones first.
pub(super) fn table(steps: &[Step]) -> Vec<TokenStream> {
    let mut rows = Vec::new();
    list(&parts(&paths(steps), 0..steps.len(), 0), &mut rows);
    rows
}

fn paths(steps: &[Step]) -> Vec<Vec<&str>> {
    steps.iter().map(|step| step.origin.module.split('.').filter(|name| !name.is_empty()).collect()).collect()
}

/// The parts of a stretch of steps that share the first `depth` names of their paths.
fn parts(paths: &[Vec<&str>], range: Range<usize>, depth: usize) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let Some(name) = paths[at].get(depth) else {
            parts.push(Part::Step(at));
            at += 1;
            continue;
        };
        let end = (at..range.end).find(|&i| paths[i].get(depth) != Some(name)).unwrap_or(range.end);
        let mut inner = self::parts(paths, at..end, depth + 1);
        match &inner[..] {
            [Part::Step(_)] => parts.append(&mut inner),
            // What holds one module and nothing else is that module.
            [Part::Module { .. }] => parts.append(&mut inner),
            _ => parts.push(Part::Module { path: paths[at][..=depth].join("."), range: at..end, parts: inner }),
        }
        at = end;
    }
    parts
}

fn statements(
    parts: &[Part],
    calls: &[&TokenStream],
    items: &mut TokenStream,
    taken: &mut BTreeSet<String>,
) -> TokenStream {
    let mut statements = TokenStream::new();
    for part in parts {
        match part {
            Part::Step(index) => {
                let call = calls[*index];
                statements.extend(quote!(#call;));
            }
            Part::Module { path, parts, .. } => {
                let (name, about) = (claim(path, taken), doc(&format!("Module `{path}`.")));
                let inner = self::statements(parts, calls, items, taken);
                items.extend(quote! {
                    #about
                    #[inline(always)]
                    fn #name(&mut self) -> ::core::result::Result<(), rt::Error> {
                        #inner
                        ::core::result::Result::Ok(())
                    }
                });
                statements.extend(quote!(self.#name()?;));
            }
        }
    }
    statements
}

fn claim(path: &str, taken: &mut BTreeSet<String>) -> Ident {
    let name: String = path.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let mut unique = format!("forward_{name}");
    let mut n = 1;
    while !taken.insert(unique.clone()) {
        n += 1;
        unique = format!("forward_{name}_{n}");
    }
    Ident::new(&unique, Span::call_site())
}

fn list(parts: &[Part], rows: &mut Vec<TokenStream>) {
    for part in parts {
        if let Part::Module { path, range, parts } = part {
            let (start, end) = (literal(range.start), literal(range.end));
            rows.push(quote!((#path, #start..#end)));
            list(parts, rows);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_stretches_of_steps() {
        let paths = ["", "a.x", "a.x", "a.y", "b", "a", "a", "c.d.e", "c.d.e"];
        let paths: Vec<Vec<&str>> = paths.iter().map(|p| p.split('.').filter(|n| !n.is_empty()).collect()).collect();
        let module = |path: &str, range: Range<usize>, parts| Part::Module { path: path.to_owned(), range, parts };
        let steps = |range: Range<usize>| range.map(Part::Step).collect::<Vec<_>>();
        let expected = [
            Part::Step(0),
            module("a", 1..4, vec![module("a.x", 1..3, steps(1..3)), Part::Step(3)]),
            Part::Step(4),
            module("a", 5..7, steps(5..7)),
            module("c.d.e", 7..9, steps(7..9)),
        ];
        assert_eq!(parts(&paths, 0..9, 0), expected);
        let mut taken = BTreeSet::new();
        assert_eq!(claim("a.x", &mut taken), "forward_a_x");
        assert_eq!(claim("a.x", &mut taken), "forward_a_x_2");
    }
}
