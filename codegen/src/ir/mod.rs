//! The graph: functional, typed, with symbolic dims and an origin on every node.
//!
//! `import` makes it, the passes rewrite it, `lower` turns it into steps. Values are defined once; nodes stand in
//! execution order. Nothing here mutates or aliases: in-place operators and views of the archive were resolved by
//! `import`. [`verify()`] holds after every pass, in every build.

pub mod custom;
pub mod eval;
pub mod formula;
pub mod infer;
pub mod op;
pub mod text;
pub mod verify;

pub use custom::{Custom, Given};
pub use formula::{Binary, ExprId, ExprNode, Formula, Literal, Unary};
pub use op::*;
pub use verify::verify;

use crate::diag::Origin;
use crate::sym::{Expr, Interval, Multiple, Ranges, Symbol};
use exported_runtime::{Bf16, DType, F16};
use std::collections::HashMap;

/// Index into [`Graph::values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub u32);

/// Index into [`Graph::constants`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConstId(pub u32);

/// Dtype and shape of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorType {
    /// Element type.
    pub dtype: DType,
    /// Sizes, outermost first; empty for 0-d.
    pub shape: Vec<Expr>,
}

/// A tensor of the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Name in the archive, or made from it; unique in the graph.
    pub name: String,
    /// Its type.
    pub ty: TensorType,
}

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it computes.
    pub op: Op,
    /// Operands, in the order the variant of [`Op`] states.
    pub inputs: Vec<ValueId>,
    /// Results.
    pub outputs: Vec<ValueId>,
    /// Where it came from.
    pub origin: Origin,
}

/// A constant tensor: logical row-major, little-endian elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constant {
    /// Fully qualified name in the model (`features.0.weight`), or made by folding.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Sizes.
    pub shape: Vec<usize>,
    /// `product(shape) * dtype.size()` bytes.
    pub data: std::sync::Arc<[u8]>,
}

impl Constant {
    /// Elements of a floating-point type as bytes; half precision by way of f32, as PyTorch makes it of an f64.
    pub(crate) fn float_bytes(dtype: DType, numbers: impl IntoIterator<Item = f64>) -> Vec<u8> {
        let numbers = numbers.into_iter();
        match dtype {
            DType::F64 => numbers.flat_map(f64::to_le_bytes).collect(),
            DType::F16 => numbers.flat_map(|x| F16::from_f32(x as f32).0.to_le_bytes()).collect(),
            DType::Bf16 => numbers.flat_map(|x| Bf16::from_f32(x as f32).0.to_le_bytes()).collect(),
            _ => numbers.flat_map(|x| (x as f32).to_le_bytes()).collect(),
        }
    }
}

/// Path of a leaf in the caller's nested arguments, e.g. `Arg("batch"), Key("x"), Index(0)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPart {
    /// Top-level argument name, or key of a dict, field of a namedtuple or dataclass.
    Key(String),
    /// Position in a tuple or list.
    Index(usize),
}

/// What the caller passes at one leaf.
#[derive(Clone, Debug, PartialEq)]
pub enum InputKind {
    /// A tensor.
    Tensor(ValueId),
    /// A run-time integer bound to a symbol expression.
    Int(Expr),
    /// A Python value frozen at export.
    Constant(Scalar),
}

/// A Python scalar of the signature.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Scalar {
    None,
    Int(i64),
    Float(f64),
    Bool(bool),
    Str(String),
}

/// One flattened argument.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Name in the archive's graph.
    pub name: String,
    /// Where it sits in the caller's arguments.
    pub path: Vec<PathPart>,
    /// How PyTorch's messages write that: `*args[0]['x']`.
    pub python: String,
    /// What it is.
    pub kind: InputKind,
    /// Sizes as the archive states them, where the graph has them over [`Graph::derived`] symbols.
    pub stated: Option<Vec<Expr>>,
}

impl Input {
    /// An argument that messages call by its name.
    pub fn new(name: impl Into<String>, path: Vec<PathPart>, kind: InputKind) -> Input {
        let name = name.into();
        Input { python: name.clone(), name, path, kind, stated: None }
    }
}

/// What one output leaf is.
#[derive(Clone, Debug, PartialEq)]
pub enum OutputKind {
    /// A tensor value (may be an input, a constant, or occur twice).
    Tensor(ValueId),
    /// An integer, float or truth value, made of sizes and numbers read from data.
    Number(Expr),
    /// A constant.
    Constant(Scalar),
}

/// One flattened result.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Where it sits in the returned structure; empty for a single bare result.
    pub path: Vec<PathPart>,
    /// What it is.
    pub kind: OutputKind,
    /// The input whose value after the call this is, by its index; such outputs stand after all others.
    pub mutates: Option<usize>,
}

/// A mutated buffer: its initial value, its value at entry, and the value to commit at the end.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Fully qualified name of the buffer.
    pub name: String,
    /// Value at reset.
    pub initial: ConstId,
    /// The value nodes read.
    pub read: ValueId,
    /// The value committed on success.
    pub write: ValueId,
    /// Saved with the state dict.
    pub persistent: bool,
}

/// A condition on input sizes checked at the entry, before any kernel runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Guard {
    /// Must be true.
    pub condition: Expr,
    /// The archive's own words.
    pub message: String,
    /// The assertion node, if it came from one.
    pub origin: Option<Origin>,
}

/// A whole model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// Every value, defined by an input, a state entry or a node output.
    pub values: Vec<Value>,
    /// Execution order.
    pub nodes: Vec<Node>,
    /// Caller's arguments, flattened in signature order.
    pub inputs: Vec<Input>,
    /// Results, flattened.
    pub outputs: Vec<Output>,
    /// Mutated buffers.
    pub state: Vec<State>,
    /// Tensors baked in.
    pub constants: Vec<Constant>,
    /// Range of every symbol.
    pub ranges: Ranges,
    /// Ranges of compound expressions, as the archive states them: checked where an input size is such an expression.
    pub derived_ranges: Vec<(Expr, Interval)>,
    /// Entry checks beyond ranges, over the symbols of the archive.
    pub guards: Vec<Guard>,
    /// Symbols that the guards allow to speak of, over those of the archive: `t = s//4` where 4 divides `s`, which is `4*t`
    /// in all types.
    pub derived: Vec<(Symbol, Expr)>,
    /// What the guards say of sizes that are multiples of others: 4 divides `s0*s1`, `s//3` divides `s`.
    pub multiples: Vec<Multiple>,
    /// What the integers of inputs and outputs stand for that the program has as floats.
    pub grids: Vec<Grid>,
    /// Names of the values, each with the greatest suffix tried for another value of that name.
    names: HashMap<String, u32>,
}

/// An input or output in integers: `q` stands for `(q - zero_point) * scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Which.
    pub leaf: IoLeaf,
    /// Bits of an f64.
    pub scale: u64,
    /// The integer that stands for 0.
    pub zero_point: i64,
}

/// An input or output by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum IoLeaf {
    Input(usize),
    Output(usize),
}

impl Graph {
    /// The sizes of a tensor argument over the symbols of the archive.
    pub fn stated_shape(&self, input: &Input) -> Vec<Expr> {
        match (&input.stated, &input.kind) {
            (Some(sizes), _) => sizes.clone(),
            (None, InputKind::Tensor(v)) => self.ty(*v).shape.clone(),
            (None, _) => Vec::new(),
        }
    }

    /// Adds a node, whose results get the types that follow and names after this one.
    ///
    /// # Errors
    /// What is wrong with the operands.
    pub fn push(&mut self, op: Op, inputs: &[ValueId], name: &str, origin: &Origin) -> Result<Vec<ValueId>, String> {
        let types: Vec<TensorType> = inputs.iter().map(|&v| self.ty(v).clone()).collect();
        let results = infer::infer(&op, &types, self)?;
        let outputs: Vec<ValueId> = results.into_iter().map(|ty| self.add_value(name, ty)).collect();
        self.nodes.push(Node { op, inputs: inputs.to_vec(), outputs: outputs.clone(), origin: origin.clone() });
        Ok(outputs)
    }

    /// Adds the check of a condition on numbers, made where it stands among the nodes.
    pub fn assert(&mut self, condition: Expr, message: String, origin: &Origin) {
        let op = Op::Assert { condition, message };
        self.nodes.push(Node { op, inputs: vec![], outputs: vec![], origin: origin.clone() });
    }

    /// Whether two sizes are equal in every call.
    pub fn same(&self, a: &Expr, b: &Expr) -> bool {
        a == b
            || self.multiples.iter().any(|multiple| multiple.equates(a, b))
            || self.shortened(a.clone()) == self.shortened(b.clone())
    }

    /// A size in the shortest form that what is known of multiples allows: sizes that are equal look equal.
    pub fn shortened(&self, size: Expr) -> Expr {
        self.multiples.iter().fold(size, |size, multiple| multiple.shortened(&size).unwrap_or(size))
    }

    /// Gives derived symbols the ranges that follow from those of the archive's.
    pub fn derive_ranges(&mut self) {
        for (symbol, value) in &self.derived {
            let range = value.interval(&self.ranges);
            self.ranges.0.insert(symbol.clone(), range);
        }
    }

    /// The value.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.0 as usize]
    }

    /// Its type.
    pub fn ty(&self, id: ValueId) -> &TensorType {
        &self.value(id).ty
    }

    /// Adds a value; a name that is taken gets a suffix.
    pub fn add_value(&mut self, name: &str, ty: TensorType) -> ValueId {
        let mut unique = name.to_string();
        if let Some(mut n) = self.names.get(name).copied() {
            while self.names.contains_key(&unique) {
                n += 1;
                unique = format!("{name}_{n}");
            }
            self.names.insert(name.to_string(), n);
        }
        self.names.insert(unique.clone(), 0);
        self.values.push(Value { name: unique, ty });
        ValueId(self.values.len() as u32 - 1)
    }

    /// Adds a constant tensor.
    pub fn add_constant(&mut self, constant: Constant) -> ConstId {
        self.constants.push(constant);
        ConstId(self.constants.len() as u32 - 1)
    }

    /// The constant behind every value, if a [`Op::Constant`] node defines it.
    pub fn constants_of_values(&self) -> Vec<Option<&Constant>> {
        let mut found = vec![None; self.values.len()];
        for node in &self.nodes {
            if let (Op::Constant(c), [v]) = (&node.op, &node.outputs[..]) {
                found[v.0 as usize] = Some(&self.constants[c.0 as usize]);
            }
        }
        found
    }

    /// The constant behind one value, found by looking through the nodes.
    pub fn constant_of(&self, id: ValueId) -> Option<&Constant> {
        self.nodes.iter().find(|n| n.outputs.contains(&id)).and_then(|n| match n.op {
            Op::Constant(c) => Some(&self.constants[c.0 as usize]),
            _ => None,
        })
    }
}

impl TensorType {
    /// Sizes when all are static.
    pub fn static_shape(&self) -> Option<Vec<usize>> {
        self.shape.iter().map(|e| e.as_int().and_then(|v| usize::try_from(v).ok())).collect()
    }

    /// Whether it has one element, in any number of dims.
    pub fn is_single(&self) -> bool {
        self.shape.iter().all(|size| *size == Expr::Int(1))
    }
}

impl std::fmt::Display for TensorType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[", self.dtype.name())?;
        for (i, size) in self.shape.iter().enumerate() {
            write!(f, "{}{size}", if i > 0 { ", " } else { "" })?;
        }
        f.write_str("]")
    }
}
