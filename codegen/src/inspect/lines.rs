//! A graph as a Python class: one line per node, as torch.fx writes it.

use super::{Style, python};
use crate::ops::Schema;
use crate::schema::{Argument, ArgumentKind, Graph, NamedArgument, Node, Sym, SymExpr, TensorMeta};
use crate::sym;
use std::collections::{HashMap, HashSet};
use std::fmt::Write;

/// A class with its `forward`, and those of the subgraphs behind it. `inputs` are the names of the parameters where the
/// graph does not hold them (specialized values).
pub(super) fn class(style: Style, name: &str, graph: &Graph, inputs: Option<&[String]>) -> String {
    let mut body =
        Body { style, graph, lines: Vec::new(), subgraphs: Vec::new(), taken: taken_names(graph), place: None };
    graph.nodes.iter().for_each(|node| body.node(node));
    let parameters: Vec<String> = graph
        .inputs
        .iter()
        .enumerate()
        .map(|(i, arg)| match inputs {
            Some(names) => parameter(graph, names.get(i).map_or("", String::as_str)),
            None => parameter(graph, arg.names().next().unwrap_or("_")),
        })
        .collect();
    let mut text = format!("def forward(self, {}):\n", parameters.join(", ")).replace("self, )", "self)");
    let result = format!("return {}", returned(graph));
    let end = style.indents_empty_lines().then(String::new);
    for line in with_cleanups(body.lines, &uses_of_all(&graph.outputs)).into_iter().chain([result]).chain(end) {
        let _ = writeln!(text, "{}", style.indented(&line));
    }
    for (name, graph) in body.subgraphs {
        if !style.indents_empty_lines() {
            text.push('\n');
        }
        text.push_str(&class(style, name, graph, None));
    }
    let indented = text.lines().map(|line| style.indented(line) + "\n");
    format!("class {name}(torch.nn.Module):\n{}", indented.collect::<String>())
}

/// One line of a body.
struct Line {
    /// What is printed before clean-ups.
    text: String,
    /// Name of the value it makes; empty for comments.
    name: String,
    /// Names of the values it reads, in order.
    uses: Vec<String>,
}

struct Body<'a> {
    style: Style,
    graph: &'a Graph,
    lines: Vec<Line>,
    subgraphs: Vec<(&'a str, &'a Graph)>,
    taken: HashSet<String>,
    /// What the last comment says.
    place: Option<Place>,
}

/// What decides whether a node gets a comment.
#[derive(PartialEq)]
enum Place {
    /// The innermost Python line of the node; none where there is no stack, or none that can be read.
    Line(Option<String>),
    /// The whole stack of the node.
    Stack(Option<String>),
}

impl<'a> Body<'a> {
    fn node(&mut self, node: &'a Node) {
        if self.style.subgraphs_have_places() {
            self.comment(node.metadata.get("stack_trace"));
        }
        for input in &node.inputs {
            if let Argument::Graph(subgraph) = &input.arg {
                let name = &subgraph.name;
                if !self.style.subgraphs_have_places() {
                    self.comment(None);
                }
                self.push(name, String::new(), format!("self.{name}"), Vec::new());
                self.subgraphs.push((name, &subgraph.graph));
            }
        }
        if !self.style.subgraphs_have_places() {
            self.comment(node.metadata.get("stack_trace"));
        }
        let call = self.call(node);
        let uses = uses_of_all(node.inputs.iter().map(|i| &i.arg));
        match (single_result(node), &node.outputs[..]) {
            (Some(arg), _) => {
                let name = arg.names().next().unwrap_or_default();
                self.push(name, self.annotation(arg), call, uses);
            }
            (None, outputs) => {
                let name = self.own_name(node);
                self.push(&name, String::new(), call, uses);
                let results = outputs.iter().flat_map(results);
                for (i, result) in results.enumerate().filter_map(|(i, r)| Some((i, r?))) {
                    let annotation = self.tensor_annotation(result);
                    self.push(result, annotation, format!("{name}[{i}]"), vec![name.clone()]);
                }
            }
        }
    }

    fn push(&mut self, name: &str, annotation: String, value: String, uses: Vec<String>) {
        self.lines.push(Line { text: format!("{name}{annotation} = {value}"), name: name.to_owned(), uses });
    }

    /// Where a node came from, when that changes.
    fn comment(&mut self, stack: Option<&String>) {
        let line = stack.and_then(|stack| innermost_frame(stack));
        let text = match (&line, stack) {
            (Some(line), _) => line.as_str(),
            (None, Some(_)) if self.style.compares_stacks() => "",
            _ => "No stacktrace found for following nodes",
        };
        // Older releases put a space before comments that have a stack.
        let space = if self.style.compares_stacks() && stack.is_some() { " " } else { "" };
        let text = format!("{space}# {text}");
        let place = if self.style.compares_stacks() { Place::Stack(stack.cloned()) } else { Place::Line(line) };
        if self.place.as_ref() == Some(&place) {
            return;
        }
        self.place = Some(place);
        if !self.lines.is_empty() {
            self.lines.push(Line { text: String::new(), name: String::new(), uses: Vec::new() });
        }
        self.lines.push(Line { text, name: String::new(), uses: Vec::new() });
    }

    /// `torch.ops.aten.add.Tensor(x, y, alpha = 2)`, `a + b`
    fn call(&self, node: &Node) -> String {
        let values = || node.inputs.iter().map(|i| value(&i.arg));
        if let Some(name) = node.target.strip_prefix("_operator.") {
            match (python::operator(name), python::prefix(name), node.inputs.len()) {
                (Some(operator), _, 2) => return values().collect::<Vec<_>>().join(&format!(" {operator} ")),
                (_, Some(prefix), 1) => return values().map(|v| format!("{prefix}{v}")).collect(),
                _ => {}
            }
        }
        let function = match node.target.strip_prefix("math.") {
            Some(name) => format!("math_{name}"),
            None => node.target.clone(),
        };
        let keywords = Keywords::of(node, self.graph);
        let (by_name, by_place): (Vec<_>, Vec<_>) = node.inputs.iter().partition(|i| keywords.contains(i));
        let places = by_place.into_iter().map(|i| value(&i.arg));
        let names = by_name.into_iter().map(|i| format!("{} = {}", i.name, value(&i.arg)));
        format!("{function}({})", places.chain(names).collect::<Vec<_>>().join(", "))
    }

    /// The archive's name, else one made like torch.fx does: from the target, with a number if taken.
    fn own_name(&mut self, node: &Node) -> String {
        if let Some(name) = &node.name {
            return name.clone();
        }
        let mut parts = node.target.rsplit('.');
        let last = parts.next().unwrap_or_default();
        let base = match parts.next() {
            Some(before) if node.target.starts_with("torch.ops.") && before != "higher_order" => {
                format!("{before}_{last}")
            }
            _ => last.to_owned(),
        };
        let numbered = (1..).map(|i| format!("{base}_{i}"));
        let name = std::iter::once(base.clone()).chain(numbered).find(|n| !self.taken.contains(n)).unwrap_or(base);
        self.taken.insert(name.clone());
        name
    }

    fn annotation(&self, arg: &Argument) -> String {
        arg.names().next().map(|name| annotation(self.graph, name)).unwrap_or_default()
    }

    fn tensor_annotation(&self, name: &str) -> String {
        annotation(self.graph, name)
    }
}

/// The result of a node that is printed without `getitem`.
fn single_result(node: &Node) -> Option<&Argument> {
    let nested = node.target.starts_with("torch.ops.higher_order.") && node.is_hop_single_tensor_return != Some(true);
    match &node.outputs[..] {
        [Argument::Tensors(_) | Argument::OptionalTensors(_) | Argument::None] => None,
        [arg] if !nested => Some(arg),
        _ => None,
    }
}

/// Names behind one entry of the outputs; `None` where nothing is.
fn results(arg: &Argument) -> Vec<Option<&str>> {
    match arg {
        Argument::Tensors(names) => names.iter().map(|n| Some(n.as_str())).collect(),
        Argument::OptionalTensors(names) => names.iter().map(Option::as_deref).collect(),
        arg => vec![arg.names().next()],
    }
}

fn taken_names(graph: &Graph) -> HashSet<String> {
    let maps = graph.tensor_values.keys().chain(graph.sym_int_values.keys());
    maps.chain(graph.sym_float_values.keys()).chain(graph.sym_bool_values.keys()).cloned().collect()
}

fn parameter(graph: &Graph, name: &str) -> String {
    format!("{name}{}", annotation(graph, name))
}

/// `: "f32[2, 3]"`, `: "Sym(s0 + 1)"`, or nothing.
fn annotation(graph: &Graph, name: &str) -> String {
    if let Some(meta) = graph.tensor_values.get(name) {
        return format!(": \"{}\"", tensor(meta));
    }
    let expr = match (graph.sym_int_values.get(name), graph.sym_float_values.get(name), graph.sym_bool_values.get(name))
    {
        (Some(Sym::Expr(expr)), _, _) | (_, Some(Sym::Expr(expr)), _) | (_, _, Some(Sym::Expr(expr))) => expr,
        _ => return String::new(),
    };
    format!(": \"Sym({})\"", expression(expr))
}

fn tensor(meta: &TensorMeta) -> String {
    let size = |size: &Sym<i64>| match size {
        Sym::Value(value) => value.to_string(),
        Sym::Expr(expr) => expression(expr),
    };
    format!("{}{}", python::short_dtype(meta.dtype), python::list(&meta.sizes, size))
}

/// Infix; a text that nobody understands stands as it is.
fn expression(expr: &SymExpr) -> String {
    sym::infix(&expr.expr_str).unwrap_or_else(|_| expr.expr_str.clone())
}

fn returned(graph: &Graph) -> String {
    match &graph.outputs[..] {
        [arg] if graph.is_single_tensor_return => value(arg),
        [arg] => format!("({},)", value(arg)),
        args => format!("({})", args.iter().map(value).collect::<Vec<_>>().join(", ")),
    }
}

/// `File: model.py:12 in forward, code: return x + 1`
fn innermost_frame(stack: &str) -> Option<String> {
    let lines: Vec<&str> = stack.trim().split('\n').collect();
    (0..lines.len().saturating_sub(1)).rev().find_map(|i| {
        let (file, rest) = lines[i].trim().strip_prefix("File \"")?.rsplit_once("\", line ")?;
        let (line, function) = rest.split_once(", in ")?;
        Some(format!("File: {file}:{line} in {function}, code: {}", lines[i + 1].trim()))
    })
}

/// Which arguments of a node are passed by keyword.
enum Keywords<'a> {
    /// Each says so (torch 2.8 and later).
    Stated,
    /// Those with a default, and those that are never given by position.
    Optional(Schema),
    /// Operators that we have no schema of: what another call of the graph leaves out has a default.
    LeftOut(Vec<&'a Node>),
}

impl<'a> Keywords<'a> {
    fn of(node: &Node, graph: &'a Graph) -> Self {
        if node.inputs.iter().any(|i| i.kind.is_some()) {
            return Keywords::Stated;
        }
        let target = node.target.strip_prefix("torch.ops.").unwrap_or(&node.target);
        let calls = || graph.nodes.iter().filter(|n| n.target == node.target).collect();
        Schema::find(target).map_or_else(|| Keywords::LeftOut(calls()), Keywords::Optional)
    }

    fn contains(&self, input: &NamedArgument) -> bool {
        match self {
            Keywords::Stated => input.kind == Some(ArgumentKind::Keyword),
            Keywords::Optional(schema) => {
                schema.argument(&input.name).is_some_and(|a| a.default.is_some() || a.keyword_only)
            }
            Keywords::LeftOut(calls) => {
                !input.name.is_empty() && calls.iter().any(|n| n.inputs.iter().all(|i| i.name != input.name))
            }
        }
    }
}

/// An argument as Python writes it.
pub(super) fn value(arg: &Argument) -> String {
    let text = |s: &String| s.clone();
    let optional = |s: &Option<String>| s.clone().unwrap_or_else(|| "None".to_owned());
    let float = |f: &f64| python::float(*f);
    let bool = |b: &bool| python::bool(*b).to_owned();
    let int = i64::to_string;
    match arg {
        Argument::None => "None".to_owned(),
        Argument::Tensor(name) => name.clone(),
        Argument::Tensors(names) => python::list(names, text),
        Argument::OptionalTensor(name) => optional(name),
        Argument::OptionalTensors(names) => python::list(names, optional),
        Argument::NestedTensors(lists) => python::list(lists, |l| python::list(l, text)),
        Argument::Int(value) => value.to_string(),
        Argument::Ints(values) => python::list(values, int),
        Argument::IntLists(lists) => python::list(lists, |l| python::list(l, int)),
        Argument::Float(value) => python::float(*value),
        Argument::Floats(values) => python::list(values, float),
        Argument::FloatLists(lists) => python::list(lists, |l| python::list(l, float)),
        Argument::Complex { real, imag } => format!("({} + {}j)", python::float(*real), python::float(*imag)),
        Argument::String(text) => python::string(text),
        Argument::Strings(texts) => python::list(texts, |t| python::string(t)),
        Argument::Bool(value) => python::bool(*value).to_owned(),
        Argument::Bools(values) => python::list(values, bool),
        Argument::SymInt(value) => python::name_or(value, int),
        Argument::SymInts(values) => python::list(values, |v| python::name_or(v, int)),
        Argument::SymFloat(value) => python::name_or(value, float),
        Argument::SymFloats(values) => python::list(values, |v| python::name_or(v, float)),
        Argument::SymBool(value) => python::name_or(value, bool),
        Argument::SymBools(values) => python::list(values, |v| python::name_or(v, bool)),
        Argument::ScalarType(dtype) => format!("torch.{}", dtype.name()),
        Argument::MemoryFormat(format) => python::memory_format(*format).to_owned(),
        Argument::Layout(layout) => python::layout(*layout).to_owned(),
        Argument::Device(device) => python::device(device),
        Argument::Graph(graph) => graph.name.clone(),
        Argument::CustomObj(object) => object.name.clone(),
        Argument::Operator(name) => name.clone(),
        Argument::StringToArgument(map) => {
            let items = map.iter().map(|(key, arg)| format!("{}: {}", python::string(key), value(arg)));
            format!("{{{}}}", items.collect::<Vec<_>>().join(", "))
        }
    }
}

/// Names of the values that arguments read, subgraphs included, in order.
fn uses_of_all<'a>(args: impl IntoIterator<Item = &'a Argument>) -> Vec<String> {
    let uses = args.into_iter().flat_map(|arg| match arg {
        Argument::Graph(graph) => vec![graph.name.clone()],
        Argument::CustomObj(object) => vec![object.name.clone()],
        arg => arg.names().map(str::to_owned).collect(),
    });
    uses.collect()
}

/// Adds `;  a = b = None` where values are used for the last time, and to those never used.
fn with_cleanups(lines: Vec<Line>, returned: &[String]) -> Vec<String> {
    let used: HashSet<&str> = lines.iter().flat_map(|l| &l.uses).chain(returned).map(String::as_str).collect();
    let mut last_use: HashMap<&str, usize> = returned.iter().map(|name| (name.as_str(), usize::MAX)).collect();
    for (i, line) in lines.iter().enumerate().rev() {
        for name in &line.uses {
            last_use.entry(name).or_insert(i);
        }
    }
    let printed = lines.iter().enumerate().map(|(i, line)| {
        let mut dead: Vec<&str> = Vec::new();
        for name in &line.uses {
            if last_use.get(name.as_str()) == Some(&i) && !dead.contains(&name.as_str()) {
                dead.push(name);
            }
        }
        if !line.name.is_empty() && !used.contains(line.name.as_str()) {
            dead.push(&line.name);
        }
        if dead.is_empty() { line.text.clone() } else { format!("{};  {} = None", line.text, dead.join(" = ")) }
    });
    printed.collect()
}
