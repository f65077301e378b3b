//! torch's operator schemas: argument names, order, defaults and aliasing.
//!
//! Archives leave out arguments that equal their default and hold no schemas, so a compiler must know them. The table is
//! data (`schemas.txt`, made by `schemas.py` from torch's own registry) and is searched, not parsed as a whole: a macro
//! expansion needs a dozen of its 2,600 lines.

use crate::schema::Argument;

const SCHEMAS: &str = include_str!("schemas.txt");

/// Schema of one operator overload.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    /// `aten.add_.Tensor`.
    pub target: &'static str,
    /// Arguments in order.
    pub arguments: Vec<SchemaArgument>,
    /// Aliasing of each result.
    pub returns: Vec<Alias>,
    /// Tags: `core`, `inplace`, `pointwise`, `nondeterministic_seeded`, `maybe_aliasing_or_mutating`.
    pub tags: Vec<&'static str>,
}

/// One argument of a schema.
#[derive(Clone, Debug, PartialEq)]
pub struct SchemaArgument {
    /// Name.
    pub name: &'static str,
    /// torch's type text (`Optional[Tensor]`).
    pub ty: &'static str,
    /// Aliasing with the results.
    pub alias: Alias,
    /// Value when left out.
    pub default: Option<Argument>,
    /// Never given by position.
    pub keyword_only: bool,
}

/// What an operator does with the storage of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alias {
    /// Neither written nor aliased.
    None,
    /// A result is, or may be, a view of it.
    View,
    /// Written in place.
    Write,
}

impl Schema {
    /// The schema of a target without `torch.ops.` (`aten.add.Tensor`).
    pub fn find(target: &str) -> Option<Schema> {
        line(target).and_then(parse)
    }

    /// Whether the operator carries a tag.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.contains(&tag)
    }

    /// The argument of that name.
    pub fn argument(&self, name: &str) -> Option<&SchemaArgument> {
        self.arguments.iter().find(|a| a.name == name)
    }
}

/// Targets of the Core ATen operators of the table.
pub fn core_targets() -> impl Iterator<Item = &'static str> {
    tagged("core")
}

/// Targets of the functional operators that torch tags as pointwise.
pub fn pointwise_targets() -> impl Iterator<Item = &'static str> {
    tagged("pointwise").filter(|t| Schema::find(t).is_some_and(|s| !s.has_tag("inplace")))
}

fn tagged(tag: &'static str) -> impl Iterator<Item = &'static str> {
    SCHEMAS.lines().filter(move |l| l.rsplit('|').next().is_some_and(|t| t.split(',').any(|t| t == tag))).map(target_of)
}

fn target_of(line: &str) -> &str {
    line.split('|').next().unwrap_or_default()
}

/// Binary search by line; the file is sorted by target.
fn line(target: &str) -> Option<&'static str> {
    let (mut low, mut high) = (0, SCHEMAS.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let start = SCHEMAS[..middle].rfind('\n').map_or(0, |i| i + 1);
        let end = SCHEMAS[start..].find('\n').map_or(SCHEMAS.len(), |i| start + i);
        let candidate = &SCHEMAS[start..end];
        match target_of(candidate).cmp(target) {
            std::cmp::Ordering::Equal => return Some(candidate),
            std::cmp::Ordering::Less => low = end + 1,
            std::cmp::Ordering::Greater => high = start,
        }
    }
    None
}

fn parse(line: &'static str) -> Option<Schema> {
    let mut parts = line.splitn(4, '|');
    let (target, arguments, returns, tags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let split = |text: &'static str, by: char| text.split(by).filter(|t| !t.is_empty());
    Some(Schema {
        target,
        arguments: split(arguments, ';').map(parse_argument).collect::<Option<_>>()?,
        returns: split(returns, ';').map(|r| alias_of(r).1).collect(),
        tags: split(tags, ',').collect(),
    })
}

fn alias_of(text: &str) -> (&str, Alias) {
    match (text.strip_suffix('!'), text.strip_suffix('&')) {
        (Some(rest), _) => (rest, Alias::Write),
        (_, Some(rest)) => (rest, Alias::View),
        _ => (text, Alias::None),
    }
}

fn parse_argument(text: &'static str) -> Option<SchemaArgument> {
    let (text, keyword_only) = text.strip_suffix('*').map_or((text, false), |text| (text, true));
    let mut parts = text.splitn(3, ':');
    let (name, (ty, alias)) = (parts.next()?, alias_of(parts.next()?));
    let default = match parts.next() {
        Some(json) => Some(default_value(&serde_json::from_str(json).ok()?)?),
        None => None,
    };
    Some(SchemaArgument { name, ty, alias, default, keyword_only })
}

fn default_value(json: &serde_json::Value) -> Option<Argument> {
    use serde_json::Value;
    Some(match json {
        Value::Null => Argument::None,
        Value::Bool(b) => Argument::Bool(*b),
        Value::Number(n) => n.as_i64().map(Argument::Int).or_else(|| n.as_f64().map(Argument::Float))?,
        Value::String(s) => Argument::String(s.clone()),
        Value::Array(a) if a.iter().all(Value::is_i64) => Argument::Ints(a.iter().filter_map(Value::as_i64).collect()),
        Value::Array(a) if a.iter().all(Value::is_boolean) => {
            Argument::Bools(a.iter().filter_map(Value::as_bool).collect())
        }
        Value::Array(a) => Argument::Floats(a.iter().filter_map(Value::as_f64).collect()),
        Value::Object(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_found_and_parses() {
        for l in SCHEMAS.lines() {
            assert_eq!(line(target_of(l)), Some(l));
            assert!(parse(l).is_some(), "{l}");
        }
        assert!(Schema::find("aten.nothing.default").is_none());
        assert!(core_targets().any(|t| t == "aten.convolution.default"));
    }

    #[test]
    fn defaults_and_aliasing() {
        let add = Schema::find("aten.add_.Tensor").expect("is in the table");
        assert_eq!(add.arguments[0].alias, Alias::Write);
        assert_eq!(add.argument("alpha").and_then(|a| a.default.clone()), Some(Argument::Int(1)));
        assert_eq!(add.argument("other").map(|a| a.default.clone()), Some(None));
        assert_eq!(add.arguments.iter().map(|a| a.keyword_only).collect::<Vec<_>>(), [false, false, true]);
        let conv = Schema::find("aten.conv2d.default").expect("is in the table");
        assert_eq!(conv.argument("stride").and_then(|a| a.default.clone()), Some(Argument::Ints(vec![1, 1])));
        let split = Schema::find("aten.split.Tensor").expect("is in the table");
        assert_eq!((split.arguments[0].alias, split.returns[0]), (Alias::View, Alias::View));
    }
}
