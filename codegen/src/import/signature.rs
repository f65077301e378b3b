//! The calling convention: what the inputs and outputs of the archive's graph are, and where they sit in the caller's
//! nested arguments.

use super::{Importer, Number, tensor_type};
use crate::archive;
use crate::diag::{Diagnostic, Origin};
use crate::ir::{
    ConstId, Constant, Input, InputKind, Node, Op, Output, OutputKind, PathPart, Scalar, State, TensorType, ValueId,
};
use crate::schema::{Argument, ConstantValue, InputSpec, Key, NameOr, OutputSpec, TreeSpec};
use crate::sym::Expr;
use crate::sym::guards::{LeafPath, Property, Step};
use std::collections::BTreeMap;

type Result<T> = std::result::Result<T, Diagnostic>;

impl<'a> Importer<'a> {
    pub(super) fn inputs(&mut self) {
        let module = &self.program.graph_module;
        let specs = &module.signature.input_specs;
        if specs.len() != module.graph.inputs.len() {
            let message = format!("{} input specs for {} graph inputs", specs.len(), module.graph.inputs.len());
            return self.errors.push(Diagnostic::damaged(message));
        }
        let mut places = self.input_places().into_iter();
        let mut known = BTreeMap::new();
        for spec in specs {
            if let Err(fault) = self.input(spec, &mut places, &mut known) {
                self.errors.push(fault);
                self.bind_recorded(spec.value_name().into_iter());
            }
        }
    }

    fn input(
        &mut self,
        spec: &'a InputSpec,
        places: &mut impl Iterator<Item = Place>,
        known: &mut BTreeMap<archive::Identity, ConstId>,
    ) -> Result<()> {
        match spec {
            InputSpec::Parameter { arg, parameter_name } => self.baked(arg, parameter_name, true, known),
            InputSpec::Buffer { arg, buffer_name, persistent } => self.baked(arg, buffer_name, *persistent, known),
            InputSpec::TensorConstant { arg, tensor_constant_name } => {
                self.baked(arg, tensor_constant_name, false, known)
            }
            InputSpec::UserInput { arg } => self.user_input(arg, places.next()),
            InputSpec::ConstantInput { name, value } => {
                let kind = InputKind::Constant(constant(value));
                self.add_input(name, places.next(), kind);
                Ok(())
            }
            InputSpec::CustomObj { arg, .. } => {
                Err(Diagnostic::unsupported(format!("input `{}` is an object of class `{}`", arg.name, arg.class_fqn)))
            }
            InputSpec::Token { arg } => Err(Diagnostic::unsupported(format!("input `{arg}` is an effect token"))),
        }
    }

    /// A tensor of the file becomes a constant; tied names share one.
    fn baked(
        &mut self,
        arg: &'a str,
        fqn: &str,
        in_weights: bool,
        known: &mut BTreeMap<archive::Identity, ConstId>,
    ) -> Result<()> {
        let (first, second) = match in_weights {
            true => (&self.archive.weights, &self.archive.constants),
            false => (&self.archive.constants, &self.archive.weights),
        };
        let Some(tensor) = first.get(fqn).or_else(|| second.get(fqn)) else {
            return Err(Diagnostic::damaged(format!("the archive holds no data for `{fqn}`")));
        };
        let recorded = match self.scope.tensor_values.get(arg) {
            Some(meta) => tensor_type(meta)?,
            None => return Err(Diagnostic::damaged(format!("tensor `{arg}` has no recorded type"))),
        };
        let shape: Vec<Expr> = tensor.shape().iter().map(|&s| Expr::from(s)).collect();
        if tensor.dtype().to_dtype() != Some(recorded.dtype) || shape != recorded.shape {
            let found = format!("{} {:?}", tensor.dtype().name(), tensor.shape());
            return Err(Diagnostic::damaged(format!("`{fqn}` is recorded as {recorded}, but its data is {found}")));
        }
        let id = *known.entry(tensor.identity().clone()).or_insert_with(|| {
            let data = tensor.bytes().into_owned().into();
            let constant =
                Constant { name: fqn.to_string(), dtype: recorded.dtype, shape: tensor.shape().to_vec(), data };
            self.graph.add_constant(constant)
        });
        let value = self.graph.add_value(arg, recorded);
        let origin = Origin { node: arg.to_string(), ..Origin::default() };
        self.graph.nodes.push(Node { op: Op::Constant(id), inputs: vec![], outputs: vec![value], origin });
        self.names.define(arg, value);
        Ok(())
    }

    fn user_input(&mut self, arg: &'a Argument, place: Option<Place>) -> Result<()> {
        let (name, kind, stated) = match arg {
            Argument::Tensor(name) => {
                let Some(meta) = self.scope.tensor_values.get(name) else {
                    return Err(Diagnostic::damaged(format!("input `{name}` has no recorded type")));
                };
                let ty = tensor_type(meta)
                    .map_err(|d| Diagnostic { message: format!("input `{name}`: {}", d.message), ..d })?;
                let shape = ty.shape.iter().map(|size| size.substitute(&self.forms.of)).collect();
                let stated = (ty.shape != shape).then_some(ty.shape);
                let value = self.graph.add_value(name, TensorType { dtype: ty.dtype, shape });
                self.names.define(name, value);
                (name.as_str(), InputKind::Tensor(value), stated)
            }
            Argument::SymInt(NameOr::Name(name)) => {
                let recorded = self.scope.sym_int_values.get(name);
                let expr = match recorded {
                    Some(crate::schema::Sym::Expr(e)) => crate::sym::parse(&e.expr_str).map_err(Diagnostic::damaged)?,
                    Some(crate::schema::Sym::Value(v)) => Expr::Int(*v),
                    None => return Err(Diagnostic::damaged(format!("input `{name}` has no recorded value"))),
                };
                self.scalars.insert(name, Number::Int(expr.substitute(&self.forms.of)));
                (name.as_str(), InputKind::Int(expr), None)
            }
            other => return Err(Diagnostic::unsupported(format!("an input of this kind: {other:?}"))),
        };
        self.add_input(name, place, kind);
        if let Some(input) = self.graph.inputs.last_mut() {
            input.stated = stated;
        }
        Ok(())
    }

    fn add_input(&mut self, name: &str, place: Option<Place>, kind: InputKind) {
        self.graph.inputs.push(match place {
            Some(Place { path, python }) => Input { python, ..Input::new(name, path, kind) },
            None => Input::new(name, vec![PathPart::Key(name.to_string())], kind),
        });
    }

    /// Places of the caller's leaves in flat order: positional arguments by their names, then keyword arguments.
    fn input_places(&self) -> Vec<Place> {
        let Some(call) = self.program.root_call() else { return Vec::new() };
        let [args, kwargs] = call.in_spec.children() else { return Vec::new() };
        let names = call.forward_arg_names.as_deref().unwrap_or_default();
        let mut placeholders = self.user_names().into_iter();
        let mut places = Vec::new();
        for (i, child) in args.children().iter().enumerate() {
            let leaves: Vec<String> = placeholders.by_ref().take(child.num_leaves()).collect();
            let fallback = match (child, leaves.first()) {
                (TreeSpec::Leaf, Some(name)) => name.clone(),
                _ => format!("arg_{i}"),
            };
            let name = names.get(i).cloned().unwrap_or(fallback);
            leaf_places(child, Place { path: vec![PathPart::Key(name)], python: format!("*args[{i}]") }, &mut places);
        }
        leaf_places(kwargs, Place { path: Vec::new(), python: "**kwargs".into() }, &mut places);
        places
    }

    /// Graph names of the caller's leaves.
    fn user_names(&self) -> Vec<String> {
        let specs = &self.program.graph_module.signature.input_specs;
        let name = |spec: &InputSpec| match spec {
            InputSpec::UserInput { arg } => Some(arg.names().next().unwrap_or_default().to_string()),
            InputSpec::ConstantInput { name, .. } => Some(name.clone()),
            _ => None,
        };
        specs.iter().filter_map(name).collect()
    }

    pub(super) fn outputs(&mut self) {
        let mut places = Vec::new();
        if let Some(call) = self.program.root_call() {
            leaf_places(&call.out_spec, Place::default(), &mut places);
        }
        let mut paths = places.into_iter().map(|place| place.path);
        let mut writes: BTreeMap<&str, ValueId> = BTreeMap::new();
        let mut changed: BTreeMap<&str, ValueId> = BTreeMap::new();
        for spec in &self.program.graph_module.signature.output_specs {
            let done = match spec {
                OutputSpec::UserOutput { arg } => self.user_output(arg, paths.next().unwrap_or_default()),
                OutputSpec::BufferMutation { arg, buffer_name } => self.names.read(&mut self.graph, arg).map(|value| {
                    writes.insert(buffer_name, value);
                }),
                OutputSpec::UserInputMutation { arg, user_input_name } => {
                    self.names.read(&mut self.graph, arg).map(|value| {
                        changed.insert(user_input_name, value);
                    })
                }
                OutputSpec::Token { arg } => Err(Diagnostic::unsupported(format!("output `{arg}` is an effect token"))),
                OutputSpec::LossOutput { .. }
                | OutputSpec::ParameterMutation { .. }
                | OutputSpec::GradientToParameter { .. }
                | OutputSpec::GradientToUserInput { .. } => {
                    Err(Diagnostic::violated("the program is a training (joint) graph: it returns gradients or a loss")
                        .help("export the module for inference: `torch.export.export(model.eval(), ...)`"))
                }
            };
            if let Err(fault) = done {
                self.errors.push(fault);
            }
        }
        self.state(writes);
        self.mutated_inputs(&changed);
    }

    fn user_output(&mut self, arg: &'a Argument, path: Vec<PathPart>) -> Result<()> {
        let kind = match arg {
            Argument::Tensor(name) => OutputKind::Tensor(self.names.read(&mut self.graph, name)?),
            Argument::None => OutputKind::Constant(Scalar::None),
            Argument::Int(v) => OutputKind::Constant(Scalar::Int(*v)),
            Argument::Float(v) => OutputKind::Constant(Scalar::Float(*v)),
            Argument::Bool(v) => OutputKind::Constant(Scalar::Bool(*v)),
            Argument::String(v) => OutputKind::Constant(Scalar::Str(v.clone())),
            Argument::SymInt(NameOr::Value(v)) => OutputKind::Constant(Scalar::Int(*v)),
            Argument::SymFloat(NameOr::Value(v)) => OutputKind::Constant(Scalar::Float(*v)),
            Argument::SymBool(NameOr::Value(v)) => OutputKind::Constant(Scalar::Bool(*v)),
            Argument::SymInt(NameOr::Name(name))
            | Argument::SymFloat(NameOr::Name(name))
            | Argument::SymBool(NameOr::Name(name)) => match self.scalar(name)? {
                Number::Int(Expr::Int(v)) => OutputKind::Constant(Scalar::Int(v)),
                Number::Float(v) => OutputKind::Constant(Scalar::Float(v)),
                Number::Bool(Expr::Bool(v)) => OutputKind::Constant(Scalar::Bool(v)),
                Number::Int(e) | Number::SymFloat(e) | Number::Bool(e) => OutputKind::Number(e),
            },
            other => return Err(Diagnostic::unsupported(format!("an output of this kind: {other:?}"))),
        };
        self.graph.outputs.push(Output { path, kind, mutates: None });
        Ok(())
    }

    /// Buffers that were written, by an output of the signature or in place, become state.
    fn state(&mut self, writes: BTreeMap<&str, ValueId>) {
        for spec in &self.program.graph_module.signature.input_specs {
            let (arg, name, persistent) = match spec {
                InputSpec::Buffer { arg, buffer_name, persistent } => (arg, buffer_name, *persistent),
                _ => continue,
            };
            let write = match writes.get(name.as_str()) {
                Some(&value) => value,
                None if self.names.is_written(arg) => match self.names.read(&mut self.graph, arg) {
                    Ok(value) => value,
                    Err(fault) => {
                        self.errors.push(fault);
                        continue;
                    }
                },
                None => continue,
            };
            self.make_state(arg, name, persistent, write);
        }
    }

    /// The caller's tensors that were written, by an output of the signature or in place: their new values become the
    /// last outputs.
    fn mutated_inputs(&mut self, changed: &BTreeMap<&str, ValueId>) {
        for index in 0..self.graph.inputs.len() {
            let input = &self.graph.inputs[index];
            let InputKind::Tensor(before) = input.kind else { continue };
            let (name, path) = (input.name.clone(), input.path.clone());
            let after = match changed.get(name.as_str()) {
                Some(&value) => Ok(value),
                None if self.names.is_written(&name) => self.names.read(&mut self.graph, &name),
                None => continue,
            };
            match after {
                Ok(value) if self.graph.ty(value) == self.graph.ty(before) => {
                    let kind = OutputKind::Tensor(value);
                    self.graph.outputs.push(Output { path, kind, mutates: Some(index) });
                }
                Ok(value) => {
                    let (old, new) = (self.graph.ty(before), self.graph.ty(value));
                    self.errors.push(Diagnostic::damaged(format!("input `{name}` is {old}, but is changed to {new}")));
                }
                Err(fault) => self.errors.push(fault),
            }
        }
    }

    /// The constant that stood for a buffer's value at entry becomes the state's initial value.
    fn make_state(&mut self, arg: &str, name: &str, persistent: bool, write: ValueId) {
        let defines = |n: &Node| n.origin.node == arg && matches!(n.op, Op::Constant(_));
        let Some(index) = self.graph.nodes.iter().position(defines) else { return };
        let node = self.graph.nodes.remove(index);
        if let (Op::Constant(initial), Some(&read)) = (&node.op, node.outputs.first()) {
            self.graph.state.push(State { name: name.to_string(), initial: *initial, read, write, persistent });
        }
    }

    /// What a guard says about the caller's arguments, as an expression over the recorded sizes.
    pub(super) fn guard_leaf(&self, leaf: &LeafPath) -> std::result::Result<Expr, String> {
        let mut path = vec![PathPart::Key(leaf.argument.clone())];
        path.extend(leaf.steps.iter().map(|s| match s {
            Step::Key(k) => PathPart::Key(k.clone()),
            Step::Index(i) => PathPart::Index(*i),
        }));
        let input =
            self.graph.inputs.iter().find(|i| i.path == path).ok_or_else(|| format!("no argument at {leaf}"))?;
        match (&input.kind, leaf.property) {
            (InputKind::Tensor(_), Property::Size(d)) => {
                self.graph.stated_shape(input).get(d).cloned().ok_or_else(|| format!("{leaf} has no dim {d}"))
            }
            (InputKind::Int(e), Property::Value) => Ok(e.clone()),
            (InputKind::Constant(Scalar::Int(v)), Property::Value) => Ok(Expr::Int(*v)),
            (InputKind::Constant(Scalar::Bool(v)), Property::Value) => Ok(Expr::Bool(*v)),
            _ => Err(format!("{leaf} is not a size or an integer")),
        }
    }
}

/// Where a leaf sits in the caller's nested arguments or results.
#[derive(Clone, Default)]
struct Place {
    path: Vec<PathPart>,
    /// As PyTorch writes it.
    python: String,
}

/// Places of the leaves of a tree.
fn leaf_places(spec: &TreeSpec, place: Place, out: &mut Vec<Place>) {
    let index = |i: usize| (PathPart::Index(i), format!("[{i}]"));
    let steps: Vec<(PathPart, String)> = match spec {
        TreeSpec::Leaf => return out.push(place),
        TreeSpec::Dict { keys, .. } | TreeSpec::OrderedDict { keys, .. } => keys
            .iter()
            .map(|k| match k {
                Key::String(s) => (PathPart::Key(s.clone()), format!("['{s}']")),
                Key::Int(i) => (PathPart::Key(i.to_string()), format!("[{i}]")),
                Key::Other(json) => (PathPart::Key(json.clone()), format!("[{json}]")),
            })
            .collect(),
        TreeSpec::NamedTuple { fields, .. } => {
            fields.iter().map(|f| (PathPart::Key(f.clone()), format!(".{f}"))).collect()
        }
        TreeSpec::Dataclass { fields, .. } => {
            fields.iter().map(|f| (PathPart::Key(f.clone()), format!("['{f}']"))).collect()
        }
        TreeSpec::Tuple(children) | TreeSpec::List(children) => (0..children.len()).map(index).collect(),
        TreeSpec::Unknown { children, .. } => (0..children.len()).map(index).collect(),
    };
    for (child, (part, step)) in spec.children().iter().zip(steps) {
        let mut inner = place.clone();
        inner.path.push(part);
        inner.python += &step;
        leaf_places(child, inner, out);
    }
}

fn constant(value: &ConstantValue) -> Scalar {
    match value {
        ConstantValue::None => Scalar::None,
        ConstantValue::Int(v) => Scalar::Int(*v),
        ConstantValue::Float(v) => Scalar::Float(*v),
        ConstantValue::Bool(v) => Scalar::Bool(*v),
        ConstantValue::String(v) => Scalar::Str(v.clone()),
    }
}
