//! The manifest as it stands in the file, and its resolution into a [`Golden`].

use super::safetensors::Container;
use super::{Case, Golden, Reject, Tensor, Tolerance, Value, Wishes};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;

#[derive(Deserialize)]
pub(super) struct Manifest {
    #[serde(default)]
    torch: String,
    rtol: f64,
    atol: f64,
    #[serde(default)]
    atol_integer_requantization: Option<f64>,
    cases: Vec<CaseEntry>,
    #[serde(default)]
    reject: Vec<RejectEntry>,
    #[serde(default)]
    options: Options,
}

#[derive(Deserialize, Default)]
struct Options {
    #[serde(default)]
    train_mode: bool,
    #[serde(default)]
    loop_caps: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
struct CaseEntry {
    inputs: Vec<Entry>,
    outputs: Vec<Entry>,
    #[serde(default)]
    stateful_continues: bool,
    #[serde(default)]
    input_mutations: Vec<Mutation>,
    #[serde(default)]
    nodes: Vec<String>,
}

#[derive(Deserialize)]
struct Mutation {
    input: usize,
    tensor: String,
}

#[derive(Deserialize)]
struct RejectEntry {
    inputs: Vec<Entry>,
    #[serde(default)]
    why: String,
    #[serde(default = "yes")]
    torch_raises: bool,
    #[serde(default)]
    torch_error: Option<String>,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Entry {
    Tensor(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    Str(String),
    None(IgnoredAny),
}

impl Manifest {
    pub(super) fn resolve(self, container: &Container) -> Result<Golden, String> {
        let tolerance = Tolerance { rtol: self.rtol, atol: self.atol, quanta: 0.0 };
        if !(self.rtol >= 0.0 && self.atol >= 0.0 && self.rtol.is_finite() && self.atol.is_finite()) {
            return Err(format!("rtol {} and atol {} must be finite and not negative", self.rtol, self.atol));
        }
        let in_case = |k, result: Result<Case, String>| result.map_err(|e| format!("case {k}: {e}"));
        let in_reject = |r, result: Result<Reject, String>| result.map_err(|e| format!("reject {r}: {e}"));
        let cases = self.cases.into_iter().enumerate().map(|(k, c)| in_case(k, c.resolve(k, container)));
        let rejects = self.reject.into_iter().enumerate().map(|(r, c)| in_reject(r, c.resolve(container)));
        Ok(Golden {
            torch: self.torch,
            tolerance,
            integer_atol: self.atol_integer_requantization.filter(|atol| *atol >= 0.0 && atol.is_finite()),
            wishes: Wishes { train_mode: self.options.train_mode, loop_caps: self.options.loop_caps },
            cases: cases.collect::<Result<_, _>>()?,
            rejects: rejects.collect::<Result<_, _>>()?,
        })
    }
}

impl CaseEntry {
    fn resolve(self, number: usize, container: &Container) -> Result<Case, String> {
        let inputs = values(self.inputs, container)?;
        let mut mutations = BTreeMap::new();
        for Mutation { input, tensor: name } in self.input_mutations {
            if input >= inputs.len() {
                return Err(format!("input {input} of `input_mutations` does not exist"));
            }
            mutations.insert(input, Value::Tensor(tensor(&name, container)?));
        }
        let node = |name: String| {
            let value = tensor(&format!("case.{number}.node.{name}"), container)?;
            Ok::<_, String>((name, value))
        };
        Ok(Case {
            inputs,
            outputs: values(self.outputs, container)?,
            mutations,
            continues: self.stateful_continues,
            nodes: self.nodes.into_iter().map(node).collect::<Result<_, _>>()?,
        })
    }
}

impl RejectEntry {
    fn resolve(self, container: &Container) -> Result<Reject, String> {
        Ok(Reject {
            inputs: values(self.inputs, container)?,
            why: self.why,
            torch_raises: self.torch_raises,
            torch_error: self.torch_error,
        })
    }
}

fn values(entries: Vec<Entry>, container: &Container) -> Result<Vec<Value>, String> {
    let value = |entry| {
        Ok(match entry {
            Entry::Tensor(name) => Value::Tensor(tensor(&name, container)?),
            Entry::Int(n) => Value::Int(n),
            Entry::Float(x) => Value::Float(x),
            Entry::Bool(b) => Value::Bool(b),
            Entry::Str(s) => Value::Str(s),
            Entry::None(_) => Value::None,
        })
    };
    entries.into_iter().map(value).collect()
}

fn tensor(name: &str, container: &Container) -> Result<Tensor, String> {
    container.tensors.get(name).cloned().ok_or_else(|| format!("tensor `{name}` is missing"))
}
