//! From a JSON tree to typed values, with the path of every fault.
//!
//! A [`Decoder`] remembers where it stands. Functions that read a value take it and the tree by value; a fault is pushed
//! and [`Failed`] returned, and lists go on with their next item, so that one run names the faults of all nodes.

use super::json::Json;
use crate::diag::{Diagnostic, Errors};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The fault is already among the errors.
#[derive(Debug)]
pub(super) struct Failed;

/// Faults after which a file is not worth reading on.
const MAX_FAULTS: usize = 50;

/// Where the reading stands, and what was wrong so far.
pub(super) struct Decoder {
    /// What the text is: empty for the program.
    file: String,
    path: Vec<Step>,
    pub(super) errors: Errors,
}

enum Step {
    Key(String),
    Index(usize),
}

/// What is left of an object.
pub(super) struct Fields<'a>(Vec<(Cow<'a, str>, Json<'a>)>);

impl Decoder {
    pub(super) fn new(file: &str) -> Self {
        Decoder { file: file.to_owned(), path: Vec::new(), errors: Errors::default() }
    }

    /// `graph_module.graph.nodes[3].inputs[0].arg`
    fn place(&self) -> String {
        let mut place = String::new();
        for step in &self.path {
            let _ = match step {
                Step::Key(key) if place.is_empty() => write!(place, "{key}"),
                Step::Key(key) => write!(place, ".{key}"),
                Step::Index(index) => write!(place, "[{index}]"),
            };
        }
        place
    }

    /// Records a fault here.
    pub(super) fn fault(&mut self, mut fault: Diagnostic) -> Failed {
        let place = self.place();
        fault.message = match (self.file.as_str(), place.as_str()) {
            ("", "") => fault.message,
            ("", place) => format!("at `{place}` of the program: {}", fault.message),
            (file, "") => format!("in member `{file}`: {}", fault.message),
            (file, place) => format!("at `{place}` in member `{file}`: {}", fault.message),
        };
        self.errors.push(fault);
        Failed
    }

    /// Records that something else was found.
    pub(super) fn expected<T>(&mut self, expected: &str, found: &Json<'_>) -> Result<T, Failed> {
        Err(self.fault(Diagnostic::damaged(format!("expected {expected}, found {}", found.describe()))))
    }

    fn within<T>(&mut self, step: Step, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(step);
        let value = read(self);
        self.path.pop();
        value
    }

    pub(super) fn object<'a>(&mut self, json: Json<'a>) -> Result<Fields<'a>, Failed> {
        match json {
            Json::Object(items) => Ok(Fields(items)),
            other => self.expected("an object", &other),
        }
    }

    /// A key that must be there.
    pub(super) fn field<'a, T>(
        &mut self,
        fields: &mut Fields<'a>,
        key: &str,
        read: impl FnOnce(&mut Self, Json<'a>) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        match fields.take(key) {
            Some(json) => self.within(Step::Key(key.to_owned()), |d| read(d, json)),
            None => Err(self.fault(Diagnostic::damaged(format!("key `{key}` is missing")))),
        }
    }

    /// A key that may be absent or null.
    pub(super) fn optional<'a, T>(
        &mut self,
        fields: &mut Fields<'a>,
        key: &str,
        read: impl FnOnce(&mut Self, Json<'a>) -> Result<T, Failed>,
    ) -> Result<Option<T>, Failed> {
        match fields.take(key) {
            None | Some(Json::Null) => Ok(None),
            Some(json) => self.within(Step::Key(key.to_owned()), |d| read(d, json)).map(Some),
        }
    }

    /// The payload of a union, under its tag.
    pub(super) fn payload<T>(
        &mut self,
        tag: &str,
        read: impl FnOnce(&mut Self) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        self.within(Step::Key(tag.to_owned()), read)
    }

    pub(super) fn list<'a, T>(
        &mut self,
        json: Json<'a>,
        mut read: impl FnMut(&mut Self, Json<'a>) -> Result<T, Failed>,
    ) -> Result<Vec<T>, Failed> {
        let Json::Array(items) = json else { return self.expected("a list", &json) };
        let mut values = Vec::with_capacity(items.len());
        let mut failed = false;
        for (i, item) in items.into_iter().enumerate() {
            match self.within(Step::Index(i), |d| read(d, item)) {
                Ok(value) => values.push(value),
                Err(Failed) if self.errors.0.len() < MAX_FAULTS => failed = true,
                Err(Failed) => return Err(Failed),
            }
        }
        if failed { Err(Failed) } else { Ok(values) }
    }

    /// An object whose keys are data, in its order.
    pub(super) fn entries<'a, T>(
        &mut self,
        json: Json<'a>,
        mut read: impl FnMut(&mut Self, Json<'a>) -> Result<T, Failed>,
    ) -> Result<Vec<(String, T)>, Failed> {
        let Fields(items) = self.object(json)?;
        let mut values = Vec::with_capacity(items.len());
        let mut failed = false;
        for (key, item) in items {
            let key = key.into_owned();
            match self.within(Step::Key(key.clone()), |d| read(d, item)) {
                Ok(value) => values.push((key, value)),
                Err(Failed) if self.errors.0.len() < MAX_FAULTS => failed = true,
                Err(Failed) => return Err(Failed),
            }
        }
        if failed { Err(Failed) } else { Ok(values) }
    }

    /// An object whose keys are data.
    pub(super) fn map<'a, T>(
        &mut self,
        json: Json<'a>,
        read: impl FnMut(&mut Self, Json<'a>) -> Result<T, Failed>,
    ) -> Result<BTreeMap<String, T>, Failed> {
        Ok(self.entries(json, read)?.into_iter().collect())
    }

    /// A tagged union: an object with one key.
    pub(super) fn union<'a>(&mut self, json: Json<'a>) -> Result<(Cow<'a, str>, Json<'a>), Failed> {
        let Fields(items) = self.object(json)?;
        match <[_; 1]>::try_from(items) {
            Ok([(tag, payload)]) => Ok((tag, payload)),
            Err(items) => {
                Err(self.fault(Diagnostic::damaged(format!("a union with {} keys instead of one", items.len()))))
            }
        }
    }

    /// A tag that this version does not know.
    pub(super) fn unknown_tag<T>(&mut self, union: &str, tag: &str) -> Result<T, Failed> {
        Err(self.fault(
            Diagnostic::unsupported(format!("`{tag}` is no {union} known to this version"))
                .help("the file was written by a newer torch: use a newer `exported`, or export with an older torch"),
        ))
    }

    pub(super) fn text(&mut self, json: Json<'_>) -> Result<String, Failed> {
        match json {
            Json::Text(text) => Ok(text.into_owned()),
            other => self.expected("a text", &other),
        }
    }

    pub(super) fn bool(&mut self, json: Json<'_>) -> Result<bool, Failed> {
        match json {
            Json::Bool(value) => Ok(value),
            other => self.expected("`true` or `false`", &other),
        }
    }

    pub(super) fn int(&mut self, json: Json<'_>) -> Result<i64, Failed> {
        match json {
            Json::Int(value) => Ok(value),
            other => self.expected("an integer of 64 bits", &other),
        }
    }

    /// A number, or one of the three words.
    pub(super) fn float(&mut self, json: Json<'_>) -> Result<f64, Failed> {
        match &json {
            Json::Float(value) => Ok(*value),
            Json::Int(value) => Ok(*value as f64),
            Json::Text(word) if *word == "Infinity" => Ok(f64::INFINITY),
            Json::Text(word) if *word == "-Infinity" => Ok(f64::NEG_INFINITY),
            Json::Text(word) if *word == "NaN" => Ok(f64::NAN),
            other => self.expected("a number", other),
        }
    }

    /// A numbered enumeration.
    pub(super) fn code<T>(&mut self, json: Json<'_>, what: &str, from: fn(i64) -> Option<T>) -> Result<T, Failed> {
        let code = self.int(json)?;
        from(code)
            .ok_or_else(|| self.fault(Diagnostic::unsupported(format!("{code} is no {what} known to this version"))))
    }
}

impl<'a> Fields<'a> {
    fn take(&mut self, key: &str) -> Option<Json<'a>> {
        let at = self.0.iter().position(|(k, _)| k == key)?;
        Some(self.0.swap_remove(at).1)
    }
}
