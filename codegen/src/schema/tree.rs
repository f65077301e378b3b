//! Structure of the caller's nested arguments: torch's pytree specs.

use super::json::{self, Json};
use crate::diag::Diagnostic;
use std::collections::BTreeMap;

/// A node of a tree specification. Leaves in order are the flattened values; `None` is a leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TreeSpec {
    /// One value.
    Leaf,
    /// `tuple`.
    Tuple(Vec<TreeSpec>),
    /// `list`.
    List(Vec<TreeSpec>),
    /// `dict`: as many keys as children.
    Dict {
        /// Keys in order.
        keys: Vec<Key>,
        /// Values.
        children: Vec<TreeSpec>,
    },
    /// `collections.OrderedDict`: as many keys as children.
    OrderedDict {
        /// Keys in order.
        keys: Vec<Key>,
        /// Values.
        children: Vec<TreeSpec>,
    },
    /// A named tuple: as many fields as children.
    NamedTuple {
        /// Name it is registered under.
        name: String,
        /// Field names.
        fields: Vec<String>,
        /// Values.
        children: Vec<TreeSpec>,
    },
    /// A dataclass: as many fields as children.
    Dataclass {
        /// Name it is registered under.
        name: String,
        /// Fields that hold a value.
        fields: Vec<String>,
        /// Fields that were `None` and have no child.
        none_fields: Vec<String>,
        /// Values.
        children: Vec<TreeSpec>,
    },
    /// A container only Python knows: children by position.
    Unknown {
        /// Name it is registered under.
        name: String,
        /// Its context, a JSON text.
        context: String,
        /// Values.
        children: Vec<TreeSpec>,
    },
}

/// Key of a dict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// Text.
    String(String),
    /// A number.
    Int(i64),
    /// Anything else, as JSON text.
    Other(String),
}

impl TreeSpec {
    /// The containers and leaves directly inside.
    pub fn children(&self) -> &[TreeSpec] {
        match self {
            TreeSpec::Leaf => &[],
            TreeSpec::Tuple(children) | TreeSpec::List(children) => children,
            TreeSpec::Dict { children, .. }
            | TreeSpec::OrderedDict { children, .. }
            | TreeSpec::NamedTuple { children, .. }
            | TreeSpec::Dataclass { children, .. }
            | TreeSpec::Unknown { children, .. } => children,
        }
    }

    /// Number of flattened values.
    pub fn num_leaves(&self) -> usize {
        match self {
            TreeSpec::Leaf => 1,
            _ => self.children().iter().map(TreeSpec::num_leaves).sum(),
        }
    }
}

/// torch's `TREESPEC_VERSION`.
const VERSION: i64 = 1;

/// Reads a spec: `[1, {"type": .., "context": .., "children_spec": [..]}]`, itself a text inside the program's JSON.
/// `named_tuples` are the field names by registered name.
pub(super) fn parse(text: &str, named_tuples: &BTreeMap<String, Vec<String>>) -> Result<TreeSpec, Diagnostic> {
    let json = json::parse(text).map_err(|e| Diagnostic::damaged(format!("the tree spec is not valid JSON: {e}")))?;
    let pair = if let Json::Array(items) = json { <[Json<'_>; 2]>::try_from(items).ok() } else { None };
    let [version, root] = pair.ok_or_else(|| malformed("is no pair of version and root"))?;
    if version != Json::Int(VERSION) {
        let message = format!("tree spec version {}, expected {VERSION}", version.describe());
        return Err(Diagnostic::unsupported(message).help("use a newer `exported`, or export with an older torch"));
    }
    node(root, named_tuples)
}

fn malformed(what: &str) -> Diagnostic {
    Diagnostic::damaged(format!("the tree spec {what}"))
}

fn node(json: Json<'_>, named_tuples: &BTreeMap<String, Vec<String>>) -> Result<TreeSpec, Diagnostic> {
    let Json::Object(fields) = json else { return Err(malformed("has a node that is no object")) };
    let (mut name, mut context, mut children) = (Json::Null, Json::Null, Json::Null);
    for (key, value) in fields {
        match &*key {
            "type" => name = value,
            "context" => context = value,
            "children_spec" => children = value,
            _ => {}
        }
    }
    let Json::Array(children) = children else { return Err(malformed("has a node without children list")) };
    let children = children.into_iter().map(|c| node(c, named_tuples)).collect::<Result<Vec<_>, _>>()?;
    let name = match name {
        Json::Null if children.is_empty() => return Ok(TreeSpec::Leaf),
        Json::Text(name) => name,
        _ => return Err(malformed("has a node whose type is no text")),
    };
    let context = match context {
        Json::Text(context) => context.into_owned(),
        other => other.to_string(),
    };
    container(&name, context, children, named_tuples)
}

fn container(
    name: &str,
    context: String,
    children: Vec<TreeSpec>,
    named_tuples: &BTreeMap<String, Vec<String>>,
) -> Result<TreeSpec, Diagnostic> {
    let spec = match name {
        "builtins.tuple" => TreeSpec::Tuple(children),
        "builtins.list" => TreeSpec::List(children),
        "builtins.dict" => TreeSpec::Dict { keys: keys(&context, children.len())?, children },
        "collections.OrderedDict" => TreeSpec::OrderedDict { keys: keys(&context, children.len())?, children },
        "collections.namedtuple" => match named_tuples.get(&context) {
            Some(fields) if fields.len() == children.len() => {
                TreeSpec::NamedTuple { name: context, fields: fields.clone(), children }
            }
            Some(fields) => {
                let (fields, children) = (fields.len(), children.len());
                return Err(malformed(&format!("gives `{context}` {children} children for {fields} fields")));
            }
            // torch 2.5 does not store the fields.
            None => TreeSpec::Unknown { name: name.to_owned(), context, children },
        },
        _ => match dataclass_fields(&context) {
            Some((fields, none_fields)) if fields.len() == children.len() => {
                TreeSpec::Dataclass { name: name.to_owned(), fields, none_fields, children }
            }
            _ => TreeSpec::Unknown { name: name.to_owned(), context, children },
        },
    };
    Ok(spec)
}

/// The context of a dict: its keys.
fn keys(context: &str, expected: usize) -> Result<Vec<Key>, Diagnostic> {
    match json::parse(context) {
        Ok(Json::Array(items)) if items.len() == expected => Ok(items
            .into_iter()
            .map(|item| match item {
                Json::Text(text) => Key::String(text.into_owned()),
                Json::Int(value) => Key::Int(value),
                other => Key::Other(other.to_string()),
            })
            .collect()),
        _ => Err(malformed(&format!("has a dict of {expected} children whose keys are `{context}`"))),
    }
}

/// The context of a registered dataclass: fields that have a child, and fields that were `None`.
fn dataclass_fields(context: &str) -> Option<(Vec<String>, Vec<String>)> {
    let texts = |json: Json<'_>| match json {
        Json::Array(items) => items
            .into_iter()
            .map(|item| if let Json::Text(text) = item { Some(text.into_owned()) } else { None })
            .collect::<Option<Vec<_>>>(),
        _ => None,
    };
    let Json::Array(lists) = json::parse(context).ok()? else { return None };
    let [fields, none_fields] = <[Json<'_>; 2]>::try_from(lists).ok()?;
    Some((texts(fields)?, texts(none_fields)?))
}
