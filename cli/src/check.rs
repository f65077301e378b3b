//! `cargo exported check`: whether archives compile, and every reason why not.

use crate::verify::verdict::Reason;
use exported_codegen::diag::{Diagnostic, Errors, Kind};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What was found out about one archive.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// Its path.
    pub path: String,
    /// Whether it compiles.
    pub compiles: bool,
    /// What is not supported, once for each kind, with every place where it occurs.
    pub unsupported: Vec<Unsupported>,
    /// All faults.
    pub reasons: Vec<Reason>,
    #[serde(skip)]
    faults: Vec<Diagnostic>,
}

/// Something that is not supported.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Unsupported {
    /// What.
    pub what: String,
    /// How often it occurs.
    pub count: usize,
    /// Where.
    pub places: Vec<Place>,
    /// What to do.
    pub help: Option<String>,
}

/// A node, in the user's own terms.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Place {
    /// Name of the node.
    pub node: String,
    /// Module path.
    pub module: String,
    /// Python line.
    pub source: Option<String>,
    /// Its text.
    pub code: Option<String>,
}

impl Finding {
    /// From what the compiler said.
    pub fn new<T>(path: String, result: &Result<T, Errors>) -> Finding {
        let faults = result.as_ref().err().map(|errors| errors.0.clone()).unwrap_or_default();
        Finding {
            path,
            compiles: result.is_ok(),
            unsupported: grouped(&faults),
            reasons: faults.iter().map(Reason::from).collect(),
            faults,
        }
    }
}

/// Faults of the kind "unsupported" by what they say, most frequent first.
fn grouped(faults: &[Diagnostic]) -> Vec<Unsupported> {
    let mut groups: BTreeMap<&str, Unsupported> = BTreeMap::new();
    for fault in faults.iter().filter(|fault| fault.kind == Kind::Unsupported) {
        let group = groups.entry(&fault.message).or_insert_with(|| Unsupported {
            what: fault.message.clone(),
            count: 0,
            places: Vec::new(),
            help: fault.help.clone(),
        });
        group.count += 1;
        group.places.extend(fault.origin.as_deref().map(|origin| Place {
            node: origin.node.clone(),
            module: origin.module.clone(),
            source: origin.source.clone(),
            code: origin.code.clone(),
        }));
    }
    let mut groups: Vec<Unsupported> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    groups
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.compiles {
            return write!(f, "{}: compiles", self.path);
        }
        write!(f, "{}: refused", self.path)?;
        for fault in self.faults.iter().filter(|fault| fault.kind != Kind::Unsupported) {
            write!(f, "\n  {}", fault.to_string().replace('\n', "\n  "))?;
        }
        for group in &self.unsupported {
            write!(f, "\n  unsupported: {}", group.what)?;
            if group.count > 1 {
                write!(f, ", {} times", group.count)?;
            }
            group.places.iter().try_for_each(|place| write!(f, "\n    {place}"))?;
        }
        // One remedy often serves many operators.
        let helps: BTreeSet<&String> = self.unsupported.iter().filter_map(|group| group.help.as_ref()).collect();
        helps.iter().try_for_each(|help| write!(f, "\n  help: {help}"))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at `{}`", self.node)?;
        if !self.module.is_empty() {
            write!(f, " in module `{}`", self.module)?;
        }
        if let Some(source) = &self.source {
            write!(f, ", {source}")?;
        }
        self.code.as_ref().map_or(Ok(()), |code| write!(f, ": {code}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use exported_codegen::diag::Origin;

    #[test]
    fn unsupported_operators_are_counted_with_their_places() {
        let at = |node: &str, line: &str| Origin {
            node: node.into(),
            module: "features.0".into(),
            source: Some(line.into()),
            code: Some("y = f(x)".into()),
            ..Origin::default()
        };
        let errors = Errors(vec![
            Diagnostic::unsupported("operator `aten.b.default`").at(&at("b", "m.py:9")),
            Diagnostic::unsupported("operator `aten.a.default`").at(&at("a", "m.py:1")).help("use c"),
            Diagnostic::violated("dim 0 of `x` has no upper bound").help("cap it"),
            Diagnostic::unsupported("operator `aten.a.default`").at(&at("a_1", "m.py:2")).help("use c"),
        ]);
        let finding = Finding::new("m.pt2".into(), &Err::<(), _>(errors));
        assert_eq!(
            finding.to_string(),
            "m.pt2: refused\n  \
             violated constraint: dim 0 of `x` has no upper bound\n    help: cap it\n  \
             unsupported: operator `aten.a.default`, 2 times\n    \
             at `a` in module `features.0`, m.py:1: y = f(x)\n    \
             at `a_1` in module `features.0`, m.py:2: y = f(x)\n  \
             unsupported: operator `aten.b.default`\n    \
             at `b` in module `features.0`, m.py:9: y = f(x)\n  \
             help: use c"
        );
        assert_eq!((finding.unsupported.len(), finding.reasons.len()), (2, 4));
        assert_eq!(Finding::new("m.pt2".into(), &Ok::<_, Errors>(())).to_string(), "m.pt2: compiles");
    }
}
