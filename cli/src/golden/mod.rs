//! Golden files: inputs of a model and what PyTorch answered.
//!
//! `<name>.golden.safetensors` beside `<name>.pt2` holds tensors and, under the metadata key `manifest`, a JSON text
//! that says which of them are the inputs and outputs of which call. Reading resolves every reference, so that what
//! comes out is complete: a case whose tensors are missing, or tensors of a case that the manifest does not list, are
//! faults of the file. Unknown keys are ignored.

pub mod compare;
mod manifest;
pub mod safetensors;

pub use compare::{Comparison, Tolerance, compare};

use exported_runtime::DType;
use safetensors::Container;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A tensor: its elements row-major and little-endian, `bool` as one byte.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Element type.
    pub dtype: DType,
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// Its elements.
    pub data: Vec<u8>,
}

/// An input or output of a call.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Value {
    Tensor(Tensor),
    Int(i64),
    Float(f64),
    Bool(bool),
    Str(String),
    None,
}

impl Value {
    /// Whether both are tensors of one dtype and shape.
    pub fn is_like(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Tensor(a), Value::Tensor(b)) => a.dtype == b.dtype && a.shape == b.shape,
            _ => false,
        }
    }
}

/// A call that torch made, and what came back.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// User inputs in the order of the signature, constants included.
    pub inputs: Vec<Value>,
    /// User outputs in the order of the signature, constants included.
    pub outputs: Vec<Value>,
    /// Values after the call of the inputs that the program changes, by index of the input.
    pub mutations: BTreeMap<usize, Value>,
    /// Called on the state that the case before it left, instead of on the archive's.
    pub continues: bool,
    /// Values of inner nodes by node name.
    pub nodes: BTreeMap<String, Tensor>,
}

/// A call that must be refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Reject {
    /// User inputs, as in [`Case::inputs`].
    pub inputs: Vec<Value>,
    /// Why.
    pub why: String,
    /// False where torch lets the call through although the program does not describe it: refusing and accepting are
    /// both right then.
    pub torch_raises: bool,
    /// What torch says, its type in front: `RuntimeError: Expected input at …`.
    pub torch_error: Option<String>,
}

/// How the archive is meant to be compiled.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wishes {
    /// The program is compiled in training mode (batch statistics, updated running statistics).
    pub train_mode: bool,
    /// Iteration limits of data-dependent loops by node name.
    pub loop_caps: BTreeMap<String, u64>,
}

/// A golden file.
#[derive(Clone, Debug, PartialEq)]
pub struct Golden {
    /// The torch that wrote it.
    pub torch: String,
    /// How far a floating-point output may be from torch's.
    pub tolerance: Tolerance,
    /// `atol` for a quantized program that is computed on integers, if that is another one.
    pub integer_atol: Option<f64>,
    /// The manifest's `options`.
    pub wishes: Wishes,
    /// Calls with their answers.
    pub cases: Vec<Case>,
    /// Calls that must be refused.
    pub rejects: Vec<Reject>,
}

/// Where the golden file of an archive lies.
pub fn path_for(archive: &Path) -> PathBuf {
    archive.with_extension("golden.safetensors")
}

impl Golden {
    /// Reads a golden file.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn read(bytes: &[u8]) -> Result<Golden, String> {
        let container = safetensors::read(bytes)?;
        let text = container.metadata.get("manifest").ok_or("no `manifest` among the metadata")?;
        let manifest: manifest::Manifest =
            serde_json::from_str(text).map_err(|e| format!("the manifest cannot be read: {e}"))?;
        let golden = manifest.resolve(&container)?;
        all_tensors_belong(&container, &golden)?;
        Ok(golden)
    }
}

impl Golden {
    /// The golden file of the program cut into its quantized layers, as the compiler cuts it: the integers of every node
    /// are inputs and outputs, too, the latter right within one quantum.
    pub fn layers(mut self) -> Golden {
        for case in &mut self.cases {
            let nodes: Vec<Value> = case.nodes.values().cloned().map(Value::Tensor).collect();
            case.inputs.extend(nodes.iter().cloned());
            case.outputs.extend(nodes);
        }
        self.rejects.clear();
        self.tolerance.quanta = 1.0;
        self
    }

    /// With the tolerance for integer arithmetic.
    pub fn fused(mut self) -> Golden {
        self.tolerance.atol = self.integer_atol.unwrap_or(self.tolerance.atol);
        self
    }

    /// Of each node in the answer to a cut program: by how much its integers are off the reference's.
    pub fn deviations<'c>(case: &'c Case, answer: &[Value]) -> Vec<(&'c str, Vec<u64>)> {
        let skip = answer.len().saturating_sub(case.nodes.len());
        let pairs = answer.iter().skip(skip).zip(&case.nodes);
        let distances = |found: &Value, expected: &Tensor| match (found, expected.integers()) {
            (Value::Tensor(found), Some(expected)) => {
                let found = found.integers().unwrap_or_default();
                expected.iter().zip(found).map(|(a, b)| a.abs_diff(b)).collect()
            }
            _ => vec![],
        };
        pairs.map(|(found, (name, expected))| (name.as_str(), distances(found, expected))).collect()
    }
}

impl Tensor {
    /// The elements of a tensor of integers of at most 32 bits.
    fn integers(&self) -> Option<Vec<i64>> {
        Some(match self.dtype {
            DType::I8 => self.data.iter().map(|b| i64::from(*b as i8)).collect(),
            DType::U8 => self.data.iter().copied().map(i64::from).collect(),
            DType::I16 => self.data.as_chunks().0.iter().map(|b| i16::from_le_bytes(*b).into()).collect(),
            DType::U16 => self.data.as_chunks().0.iter().map(|b| u16::from_le_bytes(*b).into()).collect(),
            DType::I32 => self.data.as_chunks().0.iter().map(|b| i32::from_le_bytes(*b).into()).collect(),
            _ => return None,
        })
    }
}

/// A tensor of a case or reject that the manifest does not list means that a case got lost.
fn all_tensors_belong(container: &Container, golden: &Golden) -> Result<(), String> {
    for name in container.tensors.keys() {
        let mut parts = name.split('.');
        let listed = match parts.next() {
            Some("case") => golden.cases.len(),
            Some("reject") => golden.rejects.len(),
            _ => continue,
        };
        if parts.next().and_then(|k| k.parse::<usize>().ok()).is_none_or(|k| k >= listed) {
            return Err(format!("tensor `{name}` belongs to no entry of the manifest, which lists {listed}"));
        }
    }
    Ok(())
}
