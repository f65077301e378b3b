//! The types of the mirror: what `torch/_export/serde/schema.py` calls its dataclasses and unions.
//!
//! Field names are torch's. Tagged unions became enums, one-field dataclasses (`TensorArgument`) their field. Nothing
//! is interpreted here: size expressions are text ([`SymExpr`]), shapes are what the exporting run recorded.

use super::{Device, Layout, MemoryFormat, ScalarType, TreeSpec};
use std::collections::BTreeMap;

/// A serialized `ExportedProgram`.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// Graph, signature and calling convention.
    pub graph_module: GraphModule,
    /// Version of each operator namespace (`aten` → 10).
    pub opset_version: BTreeMap<String, i64>,
    /// Bounds by expression text (infix in every version), in the order of the archive.
    pub range_constraints: Vec<(String, RangeConstraint)>,
    /// Version of the format.
    pub schema_version: SchemaVersion,
    /// Dialects: `TRAINING` (in-place operators occur) or `ATEN`.
    pub verifiers: Vec<String>,
    /// The torch that wrote it, with local suffix (`2.15.0+cu132`).
    pub torch_version: String,
    /// Python conditions on the inputs (torch 2.9 and later).
    pub guards_code: Vec<String>,
}

/// Version of the format; a new major is a breaking change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct SchemaVersion {
    pub major: i64,
    pub minor: i64,
}

/// Bounds of an expression; `None` is unbounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct RangeConstraint {
    pub min_val: Option<i64>,
    pub max_val: Option<i64>,
}

/// The graph and how it is called.
#[derive(Clone, Debug, PartialEq)]
pub struct GraphModule {
    /// The graph.
    pub graph: Graph,
    /// What inputs and outputs of the graph are; same order and length as those of [`Graph`].
    pub signature: GraphSignature,
    /// Calling structure by module; entry `""` is the root.
    pub module_call_graph: Vec<ModuleCallEntry>,
    /// Free text.
    pub metadata: BTreeMap<String, String>,
    /// Field names of named tuples by registered name.
    pub treespec_namedtuple_fields: BTreeMap<String, Vec<String>>,
}

/// Nodes in execution order and the recorded types of their values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// Placeholders; a specialized Python value stands as itself.
    pub inputs: Vec<Argument>,
    /// Results.
    pub outputs: Vec<Argument>,
    /// Operations.
    pub nodes: Vec<Node>,
    /// Type of every tensor.
    pub tensor_values: BTreeMap<String, TensorMeta>,
    /// Every symbolic integer.
    pub sym_int_values: BTreeMap<String, SymInt>,
    /// Every symbolic truth value. Never fold these: torch 2.8 stores what it concluded, not what holds.
    pub sym_bool_values: BTreeMap<String, SymBool>,
    /// Every symbolic float.
    pub sym_float_values: BTreeMap<String, SymFloat>,
    /// Subgraphs only: returns a bare tensor.
    pub is_single_tensor_return: bool,
    /// Every custom object.
    pub custom_obj_values: BTreeMap<String, CustomObjArgument>,
}

/// One operation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// `torch.ops.aten.conv2d.default`, `_operator.mul`, `torch.sym_max`, `math.trunc`.
    pub target: String,
    /// Arguments; those equal to their default are left out.
    pub inputs: Vec<NamedArgument>,
    /// Results.
    pub outputs: Vec<Argument>,
    /// `stack_trace`, `nn_module_stack`, `torch_fn`, …
    pub metadata: BTreeMap<String, String>,
    /// Higher-order operators: returns a bare tensor.
    pub is_hop_single_tensor_return: Option<bool>,
    /// Name (torch 2.15); see [`Node::label`].
    pub name: Option<String>,
}

/// An argument with its name in the operator schema (empty for higher-order operators).
#[derive(Clone, Debug, PartialEq)]
pub struct NamedArgument {
    /// Name.
    pub name: String,
    /// Value.
    pub arg: Argument,
    /// How it was passed; `None` before torch 2.8.
    pub kind: Option<ArgumentKind>,
}

/// How an argument was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ArgumentKind {
    Unknown,
    Positional,
    Keyword,
}

/// Value of an argument. The variant follows the Python value at export, not the operator's schema.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Argument {
    None,
    Tensor(String),
    Tensors(Vec<String>),
    OptionalTensor(Option<String>),
    OptionalTensors(Vec<Option<String>>),
    NestedTensors(Vec<Vec<String>>),
    Int(i64),
    Ints(Vec<i64>),
    IntLists(Vec<Vec<i64>>),
    Float(f64),
    Floats(Vec<f64>),
    FloatLists(Vec<Vec<f64>>),
    Complex { real: f64, imag: f64 },
    String(String),
    Strings(Vec<String>),
    Bool(bool),
    Bools(Vec<bool>),
    SymInt(NameOr<i64>),
    SymInts(Vec<NameOr<i64>>),
    SymFloat(NameOr<f64>),
    SymFloats(Vec<NameOr<f64>>),
    SymBool(NameOr<bool>),
    SymBools(Vec<NameOr<bool>>),
    ScalarType(ScalarType),
    MemoryFormat(MemoryFormat),
    Layout(Layout),
    Device(Device),
    Graph(Box<GraphArgument>),
    CustomObj(Box<CustomObjArgument>),
    Operator(String),
    StringToArgument(BTreeMap<String, Argument>),
}

/// A symbolic value by name, or a plain one (torch's `SymIntArgument` and its siblings).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameOr<T> {
    /// Name of a value of the graph.
    Name(String),
    /// The value itself.
    Value(T),
}

/// A subgraph; it sees only its own inputs, and its names may repeat outer ones.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct GraphArgument {
    pub name: String,
    pub graph: Graph,
}

/// A TorchBind or opaque object.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct CustomObjArgument {
    pub name: String,
    pub class_fqn: String,
}

/// Recorded type of a tensor. Strides are those of the exporting run.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct TensorMeta {
    pub dtype: ScalarType,
    pub sizes: Vec<SymInt>,
    pub requires_grad: bool,
    pub device: Device,
    pub strides: Vec<SymInt>,
    pub storage_offset: SymInt,
    pub layout: Layout,
}

/// A value or an expression for it (torch's `SymInt`, `SymFloat`, `SymBool`).
#[derive(Clone, Debug, PartialEq)]
pub enum Sym<T> {
    /// Known at export.
    Value(T),
    /// Depends on the call.
    Expr(SymExpr),
}

/// A size.
pub type SymInt = Sym<i64>;
/// A symbolic float.
pub type SymFloat = Sym<f64>;
/// A symbolic truth value.
pub type SymBool = Sym<bool>;

/// Text of an expression: sympy `srepr` since torch 2.6, infix before.
#[derive(Clone, Debug, PartialEq)]
pub struct SymExpr {
    /// The text.
    pub expr_str: String,
    /// Value in the exporting run; `None` when it depends on data.
    pub hint: Option<ConstantValue>,
}

/// A Python scalar.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum ConstantValue {
    None,
    Int(i64),
    Float(f64),
    String(String),
    Bool(bool),
}

/// What the inputs and outputs of the graph are.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct GraphSignature {
    pub input_specs: Vec<InputSpec>,
    pub output_specs: Vec<OutputSpec>,
}

/// What one input is. `arg` is the placeholder's name, the other name an FQN.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum InputSpec {
    UserInput { arg: Argument },
    Parameter { arg: String, parameter_name: String },
    Buffer { arg: String, buffer_name: String, persistent: bool },
    TensorConstant { arg: String, tensor_constant_name: String },
    CustomObj { arg: CustomObjArgument, custom_obj_name: String },
    Token { arg: String },
    ConstantInput { name: String, value: ConstantValue },
}

/// What one output is. `arg` is the value's name.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum OutputSpec {
    UserOutput { arg: Argument },
    LossOutput { arg: String },
    BufferMutation { arg: String, buffer_name: String },
    ParameterMutation { arg: String, parameter_name: String },
    GradientToParameter { arg: String, parameter_name: String },
    GradientToUserInput { arg: String, user_input_name: String },
    UserInputMutation { arg: String, user_input_name: String },
    Token { arg: String },
}

/// A module of the calling structure.
#[derive(Clone, Debug, PartialEq)]
pub struct ModuleCallEntry {
    /// Fully qualified name; empty for the root.
    pub fqn: String,
    /// How it is called; only for the root unless the user asked to preserve more.
    pub signature: Option<ModuleCallSignature>,
}

/// How a module is called.
#[derive(Clone, Debug, PartialEq)]
pub struct ModuleCallSignature {
    /// Values passed (empty at the root).
    pub inputs: Vec<Argument>,
    /// Values returned (empty at the root).
    pub outputs: Vec<Argument>,
    /// Structure of the tuple (args, kwargs).
    pub in_spec: TreeSpec,
    /// Structure of the result.
    pub out_spec: TreeSpec,
    /// Names of the top-level arguments (torch 2.8 and later).
    pub forward_arg_names: Option<Vec<String>>,
}

impl Program {
    /// How the root module is called.
    pub fn root_call(&self) -> Option<&ModuleCallSignature> {
        self.graph_module.module_call_graph.iter().find(|e| e.fqn.is_empty())?.signature.as_ref()
    }
}

impl InputSpec {
    /// Name of the placeholder; specialized values have none in the graph.
    pub fn value_name(&self) -> Option<&str> {
        match self {
            InputSpec::UserInput { arg } => arg.names().next(),
            InputSpec::Parameter { arg, .. }
            | InputSpec::Buffer { arg, .. }
            | InputSpec::TensorConstant { arg, .. }
            | InputSpec::Token { arg } => Some(arg),
            InputSpec::CustomObj { arg, .. } => Some(&arg.name),
            InputSpec::ConstantInput { .. } => None,
        }
    }
}

impl OutputSpec {
    /// Name of the value, if it is one of the graph.
    pub fn value_name(&self) -> Option<&str> {
        match self {
            OutputSpec::UserOutput { arg } => arg.names().next(),
            OutputSpec::LossOutput { arg }
            | OutputSpec::BufferMutation { arg, .. }
            | OutputSpec::ParameterMutation { arg, .. }
            | OutputSpec::GradientToParameter { arg, .. }
            | OutputSpec::GradientToUserInput { arg, .. }
            | OutputSpec::UserInputMutation { arg, .. }
            | OutputSpec::Token { arg } => Some(arg),
        }
    }
}

impl Node {
    /// Its name: the archive's, else that of its first result, else its target.
    pub fn label(&self) -> &str {
        self.name
            .as_deref()
            .or_else(|| self.outputs.iter().find_map(|o| o.names().next()))
            .unwrap_or_else(|| short_target(&self.target))
    }

    /// The argument of that name.
    pub fn arg(&self, name: &str) -> Option<&Argument> {
        self.inputs.iter().find(|i| i.name == name).map(|i| &i.arg)
    }
}

impl Argument {
    /// Names of the graph values it mentions, in order (subgraphs and custom objects excluded).
    pub fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        use std::iter::{empty, once};
        match self {
            Argument::Tensor(n) | Argument::OptionalTensor(Some(n)) => Box::new(once(n.as_str())),
            Argument::Tensors(l) => Box::new(l.iter().map(String::as_str)),
            Argument::OptionalTensors(l) => Box::new(l.iter().flatten().map(String::as_str)),
            Argument::NestedTensors(l) => Box::new(l.iter().flatten().map(String::as_str)),
            Argument::SymInt(s) => Box::new(s.name().into_iter()),
            Argument::SymFloat(s) => Box::new(s.name().into_iter()),
            Argument::SymBool(s) => Box::new(s.name().into_iter()),
            Argument::SymInts(l) => Box::new(l.iter().filter_map(NameOr::name)),
            Argument::SymFloats(l) => Box::new(l.iter().filter_map(NameOr::name)),
            Argument::SymBools(l) => Box::new(l.iter().filter_map(NameOr::name)),
            Argument::StringToArgument(m) => Box::new(m.values().flat_map(Argument::names)),
            _ => Box::new(empty()),
        }
    }
}

impl<T> NameOr<T> {
    /// The name, if it is one.
    pub fn name(&self) -> Option<&str> {
        match self {
            NameOr::Name(n) => Some(n),
            NameOr::Value(_) => None,
        }
    }
}

/// A target without its `torch.ops.` prefix.
pub(super) fn short_target(target: &str) -> &str {
    target.strip_prefix("torch.ops.").unwrap_or(target)
}
