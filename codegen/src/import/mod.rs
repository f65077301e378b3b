//! From the mirror of the archive to the graph: names become values, operators the primitive operations of the IR,
//! in-place writes and views a functional program.
//!
//! Takes a [`Program`] and the tensors of its [`Archive`]; gives a [`Graph`]. The decision a reader would question:
//! aliasing is resolved here and nowhere later. Every tensor name is a chain of views over a *base*; a write through any
//! name makes a new value of its base, and names are read by replaying their chain on the base's current value
//! (`alias`). What the archive recorded about shapes and dtypes is compared with our own inference at every node; a
//! difference is a fault, whoever is right.
//!
//! Sizes are compared by structure, which an `s//4` ends although a guard says that 4 divides `s`. Where guards leave one
//! remainder of a symbol, the program is imported once more with `4*t` in the place of `s` ([`Graph::derived`]).

mod alias;
mod associative;
mod autocast;
mod call;
mod control;
mod custom;
mod forms;
mod origin;
mod refusal;
mod scalar;
mod signature;

pub use call::{Arg, Call, Number, Operand};
pub use origin::origin;

use crate::archive::Archive;
use crate::diag::{Diagnostic, Errors, Origin};
use crate::ir::{Graph, Guard, Op, TensorType, ValueId};
use crate::ops::{self, Alias, Out, Schema};
use crate::options::Options;
use crate::schema::{self, Argument, Layout, NameOr, Program, TensorMeta};
use crate::sym::{self, Expr, Interval, Symbol};
use alias::{Names, Tensor};
use exported_runtime::DType;
use forms::Forms;
use refusal::{refusal, unsupported_operator};
use std::collections::{BTreeMap, HashMap};

/// Imports a program.
///
/// # Errors
/// Every operator without a row, every argument that cannot be honoured, every contradiction: all that can be found.
pub fn import(program: &Program, archive: &Archive<'_>, options: &Options) -> Result<Graph, Errors> {
    let none = Forms::default();
    let stated = imported(program, archive, options, &none);
    let forms = Forms::new(&stated.graph.guards, &stated.graph.ranges);
    let Importer { graph, assumed, errors, .. } = stated;
    if forms.of.is_empty() && forms.multiples.is_empty() {
        return errors.into_result(with_guards(graph, assumed));
    }
    let again = imported(program, archive, options, &forms);
    // The entry checks what the archive states, in its own symbols.
    let assumed = [forms.assumed.clone(), again.assumed].concat();
    let mut imported = again.graph;
    imported.guards = graph.guards;
    again.errors.into_result(with_guards(imported, assumed))
}

fn with_guards(mut graph: Graph, more: Vec<Guard>) -> Graph {
    graph.guards.extend(more);
    graph
}

fn imported<'a>(
    program: &'a Program,
    archive: &'a Archive<'a>,
    options: &'a Options,
    forms: &'a Forms,
) -> Importer<'a> {
    let mut importer = Importer::new(program, archive, options, forms, &program.graph_module.graph);
    importer.ranges();
    importer.inputs();
    for node in &program.graph_module.graph.nodes {
        importer.node(node);
    }
    importer.guards();
    if importer.errors.0.is_empty() {
        importer.outputs();
    }
    importer.unknown_operators();
    importer
}

struct Importer<'a> {
    program: &'a Program,
    archive: &'a Archive<'a>,
    options: &'a Options,
    forms: &'a Forms,
    /// The graph whose names hold: the program's, or a subgraph of it.
    scope: &'a schema::Graph,
    /// Whether this is a part of the program that may not run at all: its assertions hold where they stand.
    conditional: bool,
    /// The narrow dtype of the region under autocast that this is.
    autocast: Option<DType>,
    graph: Graph,
    /// Entry checks that no guard of the archive states.
    assumed: Vec<Guard>,
    /// Sizes that the archive gives a symbol of their own although they follow from others.
    sizes: BTreeMap<Symbol, Expr>,
    /// Tensors by name.
    names: Names,
    /// Symbols that have their values from data.
    unbacked: std::collections::BTreeSet<Symbol>,
    /// Floating-point numbers read from tensors, as tensors of one element, by name.
    items: HashMap<&'a str, ValueId>,
    /// Symbolic and plain scalars by name.
    scalars: HashMap<&'a str, Number>,
    errors: Errors,
}

type Result_<T> = Result<T, Diagnostic>;

impl<'a> Importer<'a> {
    fn new(
        program: &'a Program,
        archive: &'a Archive<'a>,
        options: &'a Options,
        forms: &'a Forms,
        scope: &'a schema::Graph,
    ) -> Self {
        Importer {
            program,
            archive,
            options,
            forms,
            scope,
            conditional: false,
            autocast: None,
            graph: Graph::default(),
            assumed: Vec::new(),
            sizes: BTreeMap::new(),
            names: Names::default(),
            items: HashMap::new(),
            unbacked: Default::default(),
            scalars: HashMap::new(),
            errors: Errors::default(),
        }
    }

    /// Bounds of symbols; entries for compound expressions restate what follows from them or narrow a check.
    fn ranges(&mut self) {
        for (text, bounds) in &self.program.range_constraints {
            match sym::parse(text) {
                Ok(Expr::Symbol(symbol)) => {
                    self.graph.ranges.0.insert(symbol, Interval { min: bounds.min_val, max: bounds.max_val });
                }
                Ok(expr) => {
                    let interval = Interval { min: bounds.min_val, max: bounds.max_val };
                    self.graph.derived_ranges.push((expr, interval));
                }
                Err(fault) => self.errors.push(Diagnostic::damaged(format!("range of `{}`: {fault}", excerpt(text)))),
            }
        }
        // Of two equal symbols the one that stays has the bounds of both.
        for (symbol, value) in &self.forms.of {
            let (Expr::Symbol(kept), Some(max)) = (value, self.graph.ranges.get(symbol).max) else { continue };
            let range = self.graph.ranges.0.entry(kept.clone()).or_default();
            range.max = range.max.or(Some(max));
        }
        self.graph.derived.clone_from(&self.forms.quotients);
        self.graph.multiples.clone_from(&self.forms.multiples);
        self.graph.derive_ranges();
    }

    fn node(&mut self, node: &'a schema::Node) {
        let origin = origin(node);
        self.names.origin = origin.clone();
        let done = if let Some(operator) = origin.target.strip_prefix("higher_order.") {
            self.control_node(node, operator, &origin)
        } else if origin.target.starts_with(refusal::VMAP) {
            let fault = refusal::vmap();
            let said = self.errors.0.iter().any(|error| error.message == fault.message);
            self.bind_recorded(node.outputs.iter().flat_map(Argument::names));
            if said { Ok(()) } else { Err(fault) }
        } else if scalar::is_scalar(&origin.target) {
            self.scalar_node(node, &origin)
        } else if custom::is_custom(&node.target) {
            self.custom_node(node, &origin)
        } else {
            self.tensor_node(node, &origin)
        };
        if let Err(fault) = done {
            self.errors.push(if fault.origin.is_some() { fault } else { fault.at(&origin) });
            self.bind_recorded(node.outputs.iter().flat_map(Argument::names));
        }
    }

    /// After a fault: gives these names the types the archive recorded, so that later faults are found, too.
    fn bind_recorded(&mut self, names: impl Iterator<Item = &'a str>) {
        for name in names {
            if let Some(ty) = self.recorded(name) {
                let value = self.graph.add_value(name, ty);
                self.names.define(name, value);
            } else {
                let recorded = match self.scope.sym_int_values.get(name) {
                    Some(schema::Sym::Value(v)) => Ok(Expr::Int(*v)),
                    Some(schema::Sym::Expr(e)) => sym::parse(&e.expr_str).map(|e| e.substitute(&self.forms.of)),
                    None => Ok(Expr::symbol(name)),
                };
                self.scalars.insert(name, Number::Int(recorded.unwrap_or_else(|_| Expr::symbol(name))));
            }
        }
    }

    /// The type the archive recorded for a tensor name, as far as it can be read.
    fn recorded(&self, name: &str) -> Option<TensorType> {
        let meta = self.scope.tensor_values.get(name)?;
        self.tensor_type(meta).ok()
    }

    /// Runs the operator's rule, writes results of in-place operators back and binds names.
    fn tensor_node(&mut self, node: &'a schema::Node, origin: &Origin) -> Result_<()> {
        let (row, schema) = row_of(&origin.target)?;
        let written: Vec<&str> = schema.arguments.iter().filter(|a| a.alias == Alias::Write).map(|a| a.name).collect();
        let in_place = schema.returns.first() == Some(&Alias::Write);
        let row_schema = if row.target == origin.target {
            schema.clone()
        } else {
            Schema::find(row.target).unwrap_or(schema.clone())
        };
        if ["aten.as_strided", "aten.resize"].iter().any(|name| row.target.starts_with(name)) {
            self.check_contiguous(node, &origin.target)?;
        }
        let arguments = self.arguments(node, &row_schema)?;
        let label = node.label();
        let recorded = node.outputs.iter().flat_map(Argument::names).next().and_then(|name| self.recorded(name));
        let before = self.graph.nodes.len();
        let train_mode = self.options.train_mode;
        let mut call = Call {
            graph: &mut self.graph,
            origin,
            schema: &row_schema,
            arguments,
            name: label,
            recorded,
            assumed: &mut self.assumed,
            train_mode,
        };
        if let Some(narrow) = self.autocast {
            autocast::convert(&mut call, narrow)?;
        }
        let mut outs = (row.rule)(&mut call)?;
        for node in &self.graph.nodes[before..] {
            if let Op::Item { symbol } = &node.op {
                self.unbacked.insert(symbol.clone());
            }
        }
        for out in outs.extract_if(.., |out| matches!(out, Out::Written(..))) {
            if let Out::Written(argument, value) = out {
                self.names.write(&mut self.graph, written_name(node, argument)?, value)?;
            }
        }
        match written.first() {
            Some(argument) if in_place => self.write_back(node, &schema, argument, outs),
            _ => self.bind(node, &schema, outs, origin),
        }
    }

    /// `as_strided` and `resize` count in their operand's memory, whose order is that of the elements only if it is contiguous.
    fn check_contiguous(&self, node: &'a schema::Node, target: &str) -> Result_<()> {
        let Some(Argument::Tensor(name)) = node.inputs.first().map(|input| &input.arg) else { return Ok(()) };
        let Some(meta) = self.scope.tensor_values.get(name.as_str()) else { return Ok(()) };
        let value = |s: &schema::SymInt| if let schema::Sym::Value(v) = s { Some(*v) } else { None };
        let mut expected = Some(1);
        let mut contiguous = value(&meta.storage_offset) == Some(0) || node.arg("storage_offset").is_none();
        for (size, stride) in meta.sizes.iter().zip(&meta.strides).rev() {
            contiguous &= value(size) == Some(1) || (value(stride).is_some() && value(stride) == expected);
            expected = expected.zip(value(size)).and_then(|(stride, size)| i64::checked_mul(stride, size));
        }
        if contiguous {
            return Ok(());
        }
        let operator = target.split('.').nth(1).unwrap_or(target);
        Err(Diagnostic::unsupported(format!("`{operator}` on `{name}`, whose memory is not contiguous"))
            .help("write the model with `unfold`, `expand`, slices and `permute`"))
    }

    /// An in-place operator: its first result becomes the new value of the written argument.
    fn write_back(&mut self, node: &'a schema::Node, schema: &Schema, argument: &str, outs: Vec<Out>) -> Result_<()> {
        let target = written_name(node, argument)?;
        let Some(Out::Tensor(result)) = outs.first().cloned() else {
            return Err(Diagnostic::bug(format!("the row of `{}` gives no tensor to write", schema.target)));
        };
        if changes_shape(schema.target) {
            return self.reshape_in_place(node, target, result);
        }
        self.names.write(&mut self.graph, target, result)?;
        for output in &node.outputs {
            for name in output.names() {
                self.names.alias(name, target)?;
                self.check_recorded(name)?;
            }
        }
        Ok(())
    }

    /// An operator that writes no element, but gives its argument another shape: from here on a view of what it was.
    fn reshape_in_place(&mut self, node: &'a schema::Node, target: &'a str, result: ValueId) -> Result_<()> {
        let Some(source) = self.names.get(target).cloned() else { return Ok(()) };
        for name in node.outputs.iter().flat_map(|output| output.names()) {
            self.names.define_view(&self.graph, name, result, &source);
            self.names.alias(target, name)?;
            self.check_recorded(name)?;
        }
        Ok(())
    }

    /// Binds result names. A result of a view operator aliases the argument it is a view of.
    fn bind(&mut self, node: &'a schema::Node, schema: &Schema, outs: Vec<Out>, origin: &Origin) -> Result_<()> {
        let mut flat = Vec::new();
        for out in outs {
            match out {
                Out::Tensor(v) => flat.push(Some(v)),
                Out::Tensors(l) => flat.extend(l.into_iter().map(Some)),
                Out::None => flat.push(None),
                Out::Written(..) => {}
            }
        }
        let names: Vec<Option<&'a str>> = node.outputs.iter().flat_map(output_names).collect();
        if names.len() != flat.len() && !names.is_empty() {
            let message = format!("the archive names {} results, `{}` has {}", names.len(), origin.target, flat.len());
            return Err(Diagnostic::damaged(message));
        }
        let source = self.aliased_argument(node, schema);
        for (name, value) in names.into_iter().zip(flat) {
            let (Some(name), Some(value)) = (name, value) else { continue };
            match &source {
                Some(source) if schema.target == "aten.as_strided.default" => {
                    self.names.define_true_view(&self.graph, name, value, source);
                }
                Some(source) => self.names.define_view(&self.graph, name, value, source),
                None => self.names.define(name, value),
            }
            self.check_recorded(name)?;
        }
        Ok(())
    }

    /// The argument whose storage the results share: that of a view operator, or of one that copies only when it must.
    fn aliased_argument(&self, node: &'a schema::Node, schema: &Schema) -> Option<Tensor> {
        let viewed = schema.arguments.iter().find(|a| a.alias == Alias::View);
        let argument = match viewed {
            Some(argument) => argument.name,
            None if schema.has_tag("maybe_aliasing_or_mutating") => schema.arguments.first()?.name,
            None => return None,
        };
        match node.arg(argument)? {
            Argument::Tensor(name) => self.names.get(name).cloned(),
            _ => None,
        }
    }

    /// Arguments by schema name, defaults filled in. Unnamed extra arguments are refused.
    fn arguments(&mut self, node: &'a schema::Node, schema: &Schema) -> Result_<BTreeMap<String, Arg>> {
        let mut arguments = BTreeMap::new();
        for (position, input) in node.inputs.iter().enumerate() {
            // An in-place form may name its tensor differently from the functional one: fall back on the position.
            let known = schema.argument(&input.name).or_else(|| schema.arguments.get(position));
            let Some(known) = known else {
                return Err(Diagnostic::damaged(format!("`{}` has no argument `{}`", schema.target, input.name)));
            };
            arguments.insert(known.name.to_string(), self.argument(&input.name, &input.arg)?);
        }
        for argument in &schema.arguments {
            match (&argument.default, arguments.contains_key(argument.name)) {
                (_, true) => {}
                (Some(default), false) => {
                    arguments.insert(argument.name.to_string(), self.argument(argument.name, default)?);
                }
                (None, false) => {
                    return Err(Diagnostic::damaged(format!(
                        "argument `{}` is missing and has no default",
                        argument.name
                    )));
                }
            }
        }
        Ok(arguments)
    }

    fn argument(&mut self, name: &str, argument: &Argument) -> Result_<Arg> {
        Ok(match argument {
            Argument::None | Argument::OptionalTensor(None) => Arg::None,
            Argument::Tensor(t) | Argument::OptionalTensor(Some(t)) => Arg::Tensor(self.tensor(t)?),
            Argument::Tensors(l) => Arg::Tensors(l.iter().map(|t| self.tensor(t).map(Some)).collect::<Result_<_>>()?),
            Argument::OptionalTensors(l) => {
                let read = |t: &Option<String>| t.as_ref().map(|t| self.tensor(t)).transpose();
                Arg::Tensors(l.iter().map(read).collect::<Result_<_>>()?)
            }
            Argument::Int(v) => Arg::Number(Number::Int(Expr::Int(*v))),
            Argument::Float(v) => Arg::Number(Number::Float(*v)),
            Argument::Bool(v) => Arg::Number(Number::Bool(Expr::Bool(*v))),
            Argument::SymInt(NameOr::Value(v)) => Arg::Number(Number::Int(Expr::Int(*v))),
            Argument::SymFloat(NameOr::Value(v)) => Arg::Number(Number::Float(*v)),
            Argument::SymBool(NameOr::Value(v)) => Arg::Number(Number::Bool(Expr::Bool(*v))),
            Argument::SymFloat(NameOr::Name(n)) if self.items.contains_key(n.as_str()) => {
                Arg::Tensor(self.items[n.as_str()])
            }
            Argument::SymInt(NameOr::Name(n))
            | Argument::SymFloat(NameOr::Name(n))
            | Argument::SymBool(NameOr::Name(n)) => Arg::Number(self.scalar(n)?),
            Argument::Ints(l) => Arg::Ints(l.iter().map(|&v| Expr::Int(v)).collect()),
            Argument::SymInts(l) => Arg::Ints(l.iter().map(|s| self.sym_int(s)).collect::<Result_<_>>()?),
            Argument::Floats(l) => Arg::Floats(l.clone()),
            Argument::Bools(l) => Arg::Bools(l.clone()),
            Argument::String(s) => Arg::Str(s.clone()),
            Argument::ScalarType(t) => match t.to_dtype() {
                Some(dtype) => Arg::Dtype(dtype),
                None => return Err(Diagnostic::unsupported(format!("dtype `{}` in argument `{name}`", t.name()))),
            },
            Argument::Device(device) if device.kind == "cpu" => Arg::Ignored,
            Argument::Device(device) => {
                return Err(Diagnostic::unsupported(format!("device `{}` in argument `{name}`", device.kind))
                    .help("move the program with `torch.export.passes.move_to_device_pass(ep, \"cpu\")`"));
            }
            Argument::Layout(Layout::Strided) | Argument::MemoryFormat(_) => Arg::Ignored,
            Argument::Layout(layout) => {
                return Err(Diagnostic::unsupported(format!("layout {layout:?} in argument `{name}`")));
            }
            other => return Err(Diagnostic::unsupported(format!("argument `{name}` of this kind: {other:?}"))),
        })
    }

    /// Recorded dtype and sizes, over the symbols of the graph.
    fn tensor_type(&self, meta: &TensorMeta) -> Result_<TensorType> {
        let TensorType { dtype, shape } = tensor_type(meta)?;
        let known = |size: &Expr| size.substitute(&self.forms.of).substitute(&self.sizes);
        Ok(TensorType { dtype, shape: shape.iter().map(known).collect() })
    }

    fn tensor(&mut self, name: &str) -> Result_<ValueId> {
        self.names.read(&mut self.graph, name)
    }

    /// Our type of a name against the archive's. Sizes that depend on data (no hint) are ours to find.
    fn check_recorded(&mut self, name: &str) -> Result_<()> {
        let Some(meta) = self.scope.tensor_values.get(name) else {
            return Err(Diagnostic::damaged(format!("tensor `{name}` has no recorded type")));
        };
        let value = self.names.read(&mut self.graph, name)?;
        let mut recorded = self.tensor_type(meta)?;
        let ours = self.graph.ty(value);
        if *ours == recorded {
            return Ok(());
        }
        // A slice by a number from data may be recorded with a size of its own, which only ours explains.
        for (recorded, ours) in recorded.shape.iter_mut().zip(&ours.shape) {
            if let Expr::Symbol(symbol) = &*recorded
                && symbol.starts_with('u')
                && !self.unbacked.contains(symbol)
            {
                self.sizes.insert(symbol.clone(), ours.clone());
                *recorded = ours.clone();
            }
        }
        // Torch assumed that sizes are 2 at least; what ours says for smaller ones holds, too.
        let mut assumed = self.graph.ranges.clone();
        for (_, range) in assumed.0.iter_mut().filter(|(symbol, _)| symbol.starts_with('s')) {
            range.min = range.min.max(Some(2));
        }
        let same = ours.dtype == recorded.dtype
            && ours.shape.len() == recorded.shape.len()
            && ours
                .shape
                .iter()
                .zip(&recorded.shape)
                .all(|(a, b)| self.graph.same(a, b) || Expr::eq(a, b).prove(&assumed) == Some(true));
        if same {
            return Ok(());
        }
        Err(Diagnostic::damaged(format!("`{name}` is recorded as {recorded}, but the operation gives {ours}"))
            .help("if the archive is what torch wrote, this is a fault of `exported`: please report it"))
    }

    /// Conditions of `guards_code` (torch 2.9 and later) on the caller's arguments.
    fn guards(&mut self) {
        for text in &self.program.guards_code {
            let parsed = sym::guards::parse(text, &mut |leaf| self.guard_leaf(leaf));
            match parsed {
                Ok(Expr::Bool(true)) => {}
                Ok(condition) => {
                    self.graph.guards.push(Guard { condition, message: guard_message(text), origin: None });
                }
                Err(fault) => {
                    self.errors.push(Diagnostic::unsupported(format!("guard `{}`: {fault}", excerpt(text))));
                }
            }
        }
    }
}

/// The row of an operator, that of the functional form of one in place, and the operator's schema.
fn row_of(target: &str) -> Result_<(&'static ops::Row, Schema)> {
    if let Some(reason) = refusal(target) {
        return Err(reason);
    }
    let Some(schema) = Schema::find(target) else { return Err(unsupported_operator(target)) };
    // An operator that writes to an argument without returning it (statistics of a training step) has no functional
    // form: its row says what is written.
    let in_place = schema.returns.first() == Some(&Alias::Write);
    let row = ops::find(target).or_else(|| if in_place { ops::find(&functional_target(target)) } else { None });
    row.map(|row| (row, schema)).ok_or_else(|| unsupported_operator(target))
}

/// What torch says when a guard fails: arguments by their names.
fn guard_message(text: &str) -> String {
    let mut message = String::from("Guard failed: ");
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("L['") {
        message += before;
        let (name, after) = after.split_once("']").unwrap_or((after, ""));
        message += name;
        rest = after;
    }
    (message + rest).replace("**", "^").replace('*', " * ").replace('^', " ** ")
}

/// The beginning of a text of the file, short enough for a message.
fn excerpt(text: &str) -> String {
    let mut short: String = text.chars().take(80).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// Names of the results an output entry lists; `None` for one that is not produced.
fn output_names(output: &Argument) -> Vec<Option<&str>> {
    match output {
        Argument::None | Argument::OptionalTensor(None) => vec![None],
        Argument::OptionalTensors(l) => l.iter().map(Option::as_deref).collect(),
        other => other.names().map(Some).collect(),
    }
}

/// The tensor that a node writes to. An in-place form may name it differently from its schema: it comes first then.
fn written_name<'a>(node: &'a schema::Node, argument: &str) -> Result_<&'a str> {
    match node.arg(argument).or_else(|| node.inputs.first().map(|i| &i.arg)) {
        Some(Argument::Tensor(name) | Argument::OptionalTensor(Some(name))) => Ok(name),
        _ => Err(Diagnostic::damaged(format!("argument `{argument}` of an in-place operator is no tensor"))),
    }
}

/// `aten.add_.Tensor` → `aten.add.Tensor`.
fn functional_target(target: &str) -> String {
    let mut parts = target.splitn(3, '.');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(namespace), Some(name), Some(overload)) => {
            format!("{namespace}.{}.{overload}", name.strip_suffix('_').unwrap_or(name))
        }
        _ => target.to_string(),
    }
}

/// Recorded dtype and sizes, over the symbols of the archive.
fn tensor_type(meta: &TensorMeta) -> Result_<TensorType> {
    let dtype = meta.dtype.to_dtype().ok_or_else(|| {
        Diagnostic::unsupported(format!("tensors of dtype `{}`", meta.dtype.name()))
            .help("convert the model to a real dtype (float32, float16, bfloat16, float64 or an integer) before export")
    })?;
    if meta.layout != Layout::Strided {
        return Err(Diagnostic::unsupported(format!("tensors of layout {:?}", meta.layout)));
    }
    let size = |s: &schema::SymInt| match s {
        schema::Sym::Value(v) if *v >= 0 => Ok(Expr::Int(*v)),
        schema::Sym::Value(v) => Err(Diagnostic::damaged(format!("size {v} is negative"))),
        schema::Sym::Expr(e) => {
            sym::parse(&e.expr_str).map_err(|m| Diagnostic::damaged(format!("size `{}`: {m}", excerpt(&e.expr_str))))
        }
    };
    let shape: Vec<Expr> = meta.sizes.iter().map(size).collect::<Result_<_>>()?;
    let known = shape.iter().filter_map(Expr::as_int).try_fold(dtype.size() as i64, i64::checked_mul);
    if known.is_none_or(|bytes| bytes > 1 << 40) {
        return Err(Diagnostic::damaged("sizes of a tensor overflow".to_string()));
    }
    Ok(TensorType { dtype, shape })
}

/// Whether an in-place operator changes the shape of its argument and no element.
fn changes_shape(target: &str) -> bool {
    let name = target.strip_prefix("aten.").and_then(|rest| rest.split('.').next());
    let views = ["squeeze_", "unsqueeze_", "transpose_", "swapaxes_", "swapdims_", "t_", "resize_", "resize_as_"];
    name.is_some_and(|name| views.contains(&name))
}
