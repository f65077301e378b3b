//! Higher-order operators: regions that are inlined, and control flow over subgraphs.
//!
//! A region that always runs becomes part of the graph around it, aliases and writes included. What may run not at all or
//! several times becomes a graph of its own; torch sees to it that such a graph writes to none of its operands.

use super::{Importer, Number};
use crate::diag::{Diagnostic, Origin};
use crate::ir::{
    ExprNode, Formula, Graph, Input, InputKind, Literal, Node, Op, Output, OutputKind, PathPart, TensorType, ValueId,
    infer,
};
use crate::schema::{self, Argument, GraphArgument, NameOr};
use crate::sym::Expr;
use exported_runtime::DType;

type Result<T> = std::result::Result<T, Diagnostic>;

impl<'a> Importer<'a> {
    pub(super) fn control_node(&mut self, node: &'a schema::Node, operator: &str, origin: &Origin) -> Result<()> {
        match operator {
            "wrap_with_set_grad_enabled" => self.inline(node),
            "wrap_with_autocast" => self.autocast(node),
            "cond" => self.cond(node, origin),
            "while_loop" => self.while_loop(node, origin),
            "scan" => self.scan(node, origin, 1),
            "map_impl" => self.scan(node, origin, 0),
            "associative_scan" => self.associative_scan(node, origin),
            _ => Err(Diagnostic::unsupported(format!("higher-order operator `{operator}`"))),
        }
    }

    /// `cond(predicate, true_graph, false_graph, operands)`.
    fn cond(&mut self, node: &'a schema::Node, origin: &Origin) -> Result<()> {
        let [predicate, Argument::Graph(first), Argument::Graph(second), operands @ ..] = &arguments(node)[..] else {
            return Err(malformed(&node.target));
        };
        let operands = self.operands(operands)?;
        let (mut inputs, mut on_size) = (Vec::new(), None);
        match predicate {
            Argument::Bool(known) => on_size = Some(Expr::Bool(*known)),
            Argument::SymBool(NameOr::Value(known)) => on_size = Some(Expr::Bool(*known)),
            Argument::SymBool(NameOr::Name(name)) => match self.scalar(name)? {
                Number::Bool(condition) => on_size = Some(condition),
                _ => return Err(malformed(&node.target)),
            },
            Argument::Tensor(name) => inputs.push(self.tensor(name)?),
            _ => return Err(malformed(&node.target)),
        }
        let types = self.types(&operands);
        let (first, second) = (self.subgraph(first, &types, origin), self.subgraph(second, &types, origin));
        let branches = Box::new([first?, second?]);
        inputs.extend(tensors(&operands));
        self.control(node, origin, Op::Cond { on_size, branches }, inputs)
    }

    /// `while_loop(cond_graph, body_graph, carried, operands)`.
    fn while_loop(&mut self, node: &'a schema::Node, origin: &Origin) -> Result<()> {
        let [Argument::Graph(condition), Argument::Graph(body), carried, rest @ ..] = &arguments(node)[..] else {
            return Err(malformed(&node.target));
        };
        let mut operands = self.operands(&[carried])?;
        let carried = operands.len();
        self.as_tensors(&mut operands, origin)?;
        operands.extend(self.operands(rest)?);
        let types = self.types(&operands);
        let (condition, body) = (self.subgraph(condition, &types, origin), self.subgraph(body, &types, origin));
        let (condition, body) = (Box::new(condition?), Box::new(body?));
        self.control(node, origin, Op::While { carried, condition, body }, tensors(&operands))
    }

    /// `scan(body, carried, sequences, operands)`, or with `lists` 0 `map_impl(body, sequences, operands)`.
    fn scan(&mut self, node: &'a schema::Node, origin: &Origin, lists: usize) -> Result<()> {
        let [Argument::Graph(body), arguments @ ..] = &arguments(node)[..] else {
            return Err(malformed(&node.target));
        };
        let (Some(initial), Some(sequences), Some(rest)) =
            (arguments.get(..lists), arguments.get(lists..lists + 1), arguments.get(lists + 1..))
        else {
            return Err(malformed(&node.target));
        };
        let (mut initial, sequences) = (self.operands(initial)?, self.operands(sequences)?);
        self.as_tensors(&mut initial, origin)?;
        let rest = self.operands(rest)?;
        let (carried, count) = (initial.len(), sequences.len());
        let mut types = self.types(&initial);
        let mut length = None;
        for entry in self.types(&sequences) {
            let Kind::Tensor(mut ty) = entry else { return Err(malformed(&node.target)) };
            if ty.shape.is_empty() {
                return Err(Diagnostic::damaged("a sequence without dims"));
            }
            length = Some(ty.shape.remove(0));
            types.push(Kind::Tensor(ty));
        }
        let length = length.ok_or_else(|| malformed(&node.target))?;
        types.extend(self.types(&rest));
        let body = Box::new(self.subgraph(body, &types, origin)?);
        let inputs: Vec<ValueId> = [initial, sequences, rest].iter().flat_map(|l| tensors(l)).collect();
        self.control(node, origin, Op::Scan { carried, sequences: count, length, body }, inputs)
    }

    /// Adds the node and binds its results.
    fn control(&mut self, node: &'a schema::Node, origin: &Origin, op: Op, inputs: Vec<ValueId>) -> Result<()> {
        let types: Vec<TensorType> = inputs.iter().map(|&v| self.graph.ty(v).clone()).collect();
        let results = infer::infer(&op, &types, &self.graph).map_err(Diagnostic::unsupported)?;
        let names: Vec<&'a str> = node.outputs.iter().flat_map(Argument::names).collect();
        if names.len() != results.len() {
            let message = format!("the archive names {} results, the subgraph has {}", names.len(), results.len());
            return Err(Diagnostic::damaged(message));
        }
        let outputs: Vec<ValueId> =
            names.iter().zip(results).map(|(name, ty)| self.graph.add_value(name, ty)).collect();
        self.graph.nodes.push(Node { op, inputs, outputs: outputs.clone(), origin: origin.clone() });
        for (result, value) in flat(node.outputs.iter()).into_iter().zip(outputs) {
            match result {
                Flat::Tensor(name) => {
                    self.names.define(name, value);
                    self.check_recorded(name)?;
                }
                Flat::Scalar(name) => self.bind_integer(name, value, origin)?,
                Flat::Int(_) => return Err(malformed(&node.target)),
            }
        }
        Ok(())
    }

    /// Integers that are carried: a region takes and gives them as tensors of one element.
    fn as_tensors(&mut self, operands: &mut [Value], origin: &Origin) -> Result<()> {
        for operand in operands {
            if let Value::Scalar(number) = operand {
                *operand = Value::Tensor(self.number_tensor(&number.clone(), origin)?);
            }
        }
        Ok(())
    }

    /// A number as a tensor without dims.
    fn number_tensor(&mut self, number: &Number, origin: &Origin) -> Result<ValueId> {
        let (value, dtype) = match number {
            Number::Int(value) => (value.clone(), DType::I64),
            Number::Bool(condition) => (Expr::ite(condition, 1, 0), DType::Bool),
            Number::Float(_) | Number::SymFloat(_) => {
                return Err(Diagnostic::unsupported("a floating-point number that a region takes or gives")
                    .help("carry it as a tensor: `torch.tensor(x)`"));
            }
        };
        let mut formula = Formula::new(&[]);
        let value = match value {
            Expr::Int(v) => formula.push(ExprNode::Const(DType::I64, Literal::Int(v))),
            value => {
                formula.sizes.push(value);
                formula.push(ExprNode::Size(0))
            }
        };
        let value = formula.cast(dtype, value);
        formula.results.push(value);
        let op = Op::Pointwise { formula, shape: Vec::new() };
        let result = self.graph.add_value(&origin.node, TensorType { dtype, shape: Vec::new() });
        self.graph.nodes.push(Node { op, inputs: vec![], outputs: vec![result], origin: origin.clone() });
        Ok(result)
    }

    /// Lets the symbol that the archive recorded for an integer have the value of a tensor from here on.
    fn bind_integer(&mut self, name: &'a str, value: ValueId, origin: &Origin) -> Result<()> {
        let recorded = self.scope.sym_int_values.get(name);
        let symbol = self.recorded_item(name, recorded)?;
        self.scalars.insert(name, Number::Int(Expr::Symbol(symbol.clone())));
        self.push_item(symbol, value, origin);
        Ok(())
    }

    /// Values of operands, lists opened.
    pub(super) fn operands(&mut self, arguments: &[&'a Argument]) -> Result<Vec<Value>> {
        let read = |operand| match operand {
            // A list of both is written as a list of tensors.
            Flat::Tensor(name) => match self.scalars.get(name) {
                Some(number) => Ok(Value::Scalar(number.clone())),
                None => self.tensor(name).map(Value::Tensor),
            },
            Flat::Scalar(name) => self.scalar(name).map(Value::Scalar),
            Flat::Int(v) => Ok(Value::Scalar(Number::Int(Expr::Int(v)))),
        };
        flat(arguments.iter().copied()).into_iter().map(read).collect()
    }

    pub(super) fn types(&self, operands: &[Value]) -> Vec<Kind> {
        let kind = |operand: &Value| match operand {
            Value::Tensor(v) => Kind::Tensor(self.graph.ty(*v).clone()),
            Value::Scalar(number) => Kind::Scalar(number.clone()),
        };
        operands.iter().map(kind).collect()
    }

    /// A subgraph on operands of these kinds. It sees the symbols of this graph and numbers as they are.
    pub(super) fn subgraph(&mut self, region: &'a GraphArgument, operands: &[Kind], origin: &Origin) -> Result<Graph> {
        let mut inner = Importer::new(self.program, self.archive, self.options, self.forms, &region.graph);
        inner.conditional = true;
        inner.autocast = self.autocast;
        inner.sizes.clone_from(&self.sizes);
        inner.unbacked = self.unbacked.clone();
        inner.graph.ranges = self.graph.ranges.clone();
        inner.graph.multiples.clone_from(&self.graph.multiples);
        let placeholders = flat(region.graph.inputs.iter());
        if placeholders.len() != operands.len() {
            let message =
                format!("subgraph `{}` takes {} operands, not {}", region.name, placeholders.len(), operands.len());
            return Err(Diagnostic::damaged(message));
        }
        for (placeholder, operand) in placeholders.into_iter().zip(operands) {
            match (placeholder, operand) {
                (Flat::Tensor(name), Kind::Tensor(ty)) => {
                    let value = inner.graph.add_value(name, ty.clone());
                    inner.names.define(name, value);
                    let path = vec![PathPart::Key(name.to_string())];
                    inner.graph.inputs.push(Input::new(name.to_string(), path, InputKind::Tensor(value)));
                }
                (Flat::Scalar(name), Kind::Scalar(number)) => {
                    inner.scalars.insert(name, number.clone());
                }
                (Flat::Scalar(name), Kind::Tensor(ty)) => {
                    let value = inner.graph.add_value(name, ty.clone());
                    let path = vec![PathPart::Key(name.to_string())];
                    inner.graph.inputs.push(Input::new(name.to_string(), path, InputKind::Tensor(value)));
                    inner.bind_integer(name, value, origin)?;
                }
                (Flat::Int(_), Kind::Scalar(_)) => {}
                _ => return Err(Diagnostic::damaged("an operand of a subgraph is of another kind than its input")),
            }
        }
        for node in &region.graph.nodes {
            inner.node(node);
        }
        if inner.errors.0.is_empty() {
            inner.results(region, origin);
        }
        // The last fault is the caller's to report, so that results are bound all the same.
        let last = inner.errors.0.pop();
        self.errors.extend(inner.errors);
        self.assumed.extend(inner.assumed);
        last.map_or(Ok(inner.graph), Err)
    }

    fn results(&mut self, region: &'a GraphArgument, origin: &Origin) {
        for input in &region.graph.inputs {
            for name in input.names().filter(|name| self.names.is_written(name)) {
                self.errors.push(Diagnostic::unsupported(format!("subgraph `{}` writes to `{name}`", region.name)));
            }
        }
        for result in flat(region.graph.outputs.iter()) {
            let value = match result {
                Flat::Tensor(name) => self.tensor(name),
                Flat::Scalar(name) => self.scalar(name).and_then(|number| self.number_tensor(&number, origin)),
                Flat::Int(v) => self.number_tensor(&Number::Int(Expr::Int(v)), origin),
            };
            match value {
                Ok(v) => {
                    let kind = OutputKind::Tensor(v);
                    self.graph.outputs.push(Output { path: Vec::new(), kind, mutates: None });
                }
                Err(fault) => self.errors.push(fault),
            }
        }
    }

    /// `wrap_with_autocast(device_type, dtype, enabled, cache_enabled, region, operands)`. That of another device changes
    /// nothing.
    fn autocast(&mut self, node: &'a schema::Node) -> Result<()> {
        let [Argument::String(device), dtype, enabled, ..] = &arguments(node)[..] else {
            return Err(malformed(&node.target));
        };
        if device != "cpu" {
            return self.inline(node);
        }
        let narrow = match (enabled, dtype) {
            (Argument::Bool(false), _) => None,
            (_, Argument::None) => Some(DType::Bf16),
            (_, Argument::ScalarType(dtype)) => match dtype.to_dtype() {
                narrow @ Some(DType::Bf16 | DType::F16) => narrow,
                _ => return Err(malformed(&node.target)),
            },
            _ => return Err(malformed(&node.target)),
        };
        let around = std::mem::replace(&mut self.autocast, narrow);
        let done = self.inline(node);
        self.autocast = around;
        done
    }

    /// A region that runs exactly once, whatever gradients would do: its nodes become nodes of this graph.
    fn inline(&mut self, node: &'a schema::Node) -> Result<()> {
        let at = node.inputs.iter().position(|i| matches!(i.arg, Argument::Graph(_)));
        let Some((Argument::Graph(region), operands)) =
            at.and_then(|at| Some((&node.inputs.get(at)?.arg, node.inputs.get(at + 1..)?)))
        else {
            return Err(Diagnostic::damaged("a region without a graph"));
        };
        let operands = flat(operands.iter().map(|i| &i.arg));
        let placeholders = flat(region.graph.inputs.iter());
        if operands.len() != placeholders.len() {
            let message = format!("a region of {} inputs gets {}", placeholders.len(), operands.len());
            return Err(Diagnostic::damaged(message));
        }
        let (mut tensors, mut scalars) = (Vec::new(), std::collections::HashMap::new());
        for (placeholder, operand) in placeholders.into_iter().zip(operands) {
            match (placeholder, operand) {
                (Flat::Tensor(inner), Flat::Tensor(outer)) => tensors.push((inner, outer)),
                (Flat::Scalar(inner), Flat::Scalar(outer)) => {
                    scalars.insert(inner, self.scalar(outer)?);
                }
                _ => return Err(Diagnostic::damaged("an operand of a region is of another kind than its input")),
            }
        }
        let outer_scope = std::mem::replace(&mut self.scope, &region.graph);
        let outer_names = self.names.enter(&tensors)?;
        let outer_scalars = std::mem::replace(&mut self.scalars, scalars);
        for inner in &region.graph.nodes {
            self.node(inner);
        }
        let results = flat(region.graph.outputs.iter());
        let inner_scalars = std::mem::replace(&mut self.scalars, outer_scalars);
        self.scope = outer_scope;
        let mut tensors = Vec::new();
        for (name, result) in flat(node.outputs.iter()).into_iter().zip(results) {
            match (name, result) {
                (Flat::Tensor(name), Flat::Tensor(result)) => tensors.push((name, result)),
                (Flat::Scalar(name), Flat::Scalar(result)) => {
                    let value = inner_scalars.get(result).cloned();
                    self.scalars.insert(name, value.ok_or_else(|| Diagnostic::damaged("an undefined result"))?);
                }
                _ => return Err(Diagnostic::damaged("a result of a region is of another kind than recorded")),
            }
        }
        self.names.leave(outer_names, &tensors)?;
        tensors.iter().try_for_each(|(name, _)| self.check_recorded(name))
    }
}

/// One operand, placeholder or result by name; a number may stand as itself.
#[derive(Clone, Copy)]
enum Flat<'a> {
    Tensor(&'a str),
    Scalar(&'a str),
    Int(i64),
}

/// Value of an operand.
pub(super) enum Value {
    Tensor(ValueId),
    Scalar(Number),
}

/// What a subgraph must know of an operand.
pub(super) enum Kind {
    Tensor(TensorType),
    Scalar(Number),
}

pub(super) fn tensors(operands: &[Value]) -> Vec<ValueId> {
    let tensor = |operand: &Value| match operand {
        Value::Tensor(v) => Some(*v),
        Value::Scalar(_) => None,
    };
    operands.iter().filter_map(tensor).collect()
}

pub(super) fn arguments(node: &schema::Node) -> Vec<&Argument> {
    node.inputs.iter().map(|input| &input.arg).collect()
}

pub(super) fn malformed(target: &str) -> Diagnostic {
    Diagnostic::damaged(format!("arguments of `{target}` of another form than torch writes"))
}

/// Names in order, lists opened.
fn flat<'a>(arguments: impl Iterator<Item = &'a Argument>) -> Vec<Flat<'a>> {
    let mut names = Vec::new();
    for argument in arguments {
        match argument {
            Argument::SymInt(NameOr::Name(name))
            | Argument::SymFloat(NameOr::Name(name))
            | Argument::SymBool(NameOr::Name(name)) => names.push(Flat::Scalar(name)),
            Argument::Int(v) | Argument::SymInt(NameOr::Value(v)) => names.push(Flat::Int(*v)),
            Argument::SymInts(list) => names.extend(list.iter().map(|entry| match entry {
                NameOr::Name(name) => Flat::Scalar(name),
                NameOr::Value(v) => Flat::Int(*v),
            })),
            other => names.extend(other.names().map(Flat::Tensor)),
        }
    }
    names
}
