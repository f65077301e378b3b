//! Custom operators: calls of what the user implements.
//!
//! The archive says what each call gives and what came out, nothing about the operator itself. An operator without a
//! result would have to change an argument, and which one is not recorded: it is refused.

use super::{Importer, Number, Result_, output_names};
use crate::diag::{Diagnostic, Kind, Origin};
use crate::import::Arg;
use crate::ir::{Custom, Given, Node, Op, TensorType, ValueId};
use crate::schema::{self, Argument};
use crate::sym::Expr;

/// Namespaces of torch's own operators: one of theirs that has no row is not supported, and not the user's to write.
const TORCH: [&str; 7] = ["aten", "prim", "prims", "quantized_decomposed", "torch_nn", "torchao", "higher_order"];

/// Whether the user implements this target.
pub(super) fn is_custom(target: &str) -> bool {
    let operator = target.strip_prefix("torch.ops.");
    operator.and_then(|name| name.split_once('.')).is_some_and(|(namespace, _)| !TORCH.contains(&namespace))
}

impl<'a> Importer<'a> {
    pub(super) fn custom_node(&mut self, node: &'a schema::Node, origin: &Origin) -> Result_<()> {
        let mut operands = Vec::new();
        let mut arguments = Vec::new();
        for input in &node.inputs {
            if let Some(given) = self.given(&input.name, &input.arg, &mut operands)? {
                arguments.push((input.name.clone(), given));
            }
        }
        let (names, results) = self.results_of(node)?;
        let mut custom = Custom { target: origin.target.clone(), arguments, results: results.clone(), pure: false };
        custom.pure = self.options.pure_operators.contains(&custom.name());
        let outputs: Vec<ValueId> =
            names.iter().zip(results).map(|(name, ty)| self.graph.add_value(name, ty)).collect();
        let op = Op::Custom(Box::new(custom));
        self.graph.nodes.push(Node { op, inputs: operands, outputs: outputs.clone(), origin: origin.clone() });
        names.into_iter().zip(outputs).for_each(|(name, value)| self.names.define(name, value));
        Ok(())
    }

    /// An argument of a call; `None` for one that means nothing here (a device).
    fn given(&mut self, name: &str, argument: &Argument, operands: &mut Vec<ValueId>) -> Result_<Option<Given>> {
        let mut operand = |value| {
            operands.push(value);
            operands.len() - 1
        };
        Ok(Some(match self.argument(name, argument)? {
            Arg::None => Given::None,
            Arg::Tensor(value) => Given::Tensor(operand(value)),
            Arg::Tensors(list) => {
                let list: Option<Vec<usize>> = list.into_iter().map(|value| value.map(&mut operand)).collect();
                let none = || Diagnostic::unsupported(format!("argument `{name}`, a list with `None` in it"));
                Given::Tensors(list.ok_or_else(none)?)
            }
            Arg::Number(Number::Int(value)) => Given::Int(value),
            Arg::Number(Number::Float(value)) => Given::Float(Expr::float(value)),
            Arg::Number(Number::SymFloat(value)) => Given::Float(value),
            Arg::Number(Number::Bool(value)) => Given::Bool(value),
            Arg::Ints(list) => Given::Ints(list),
            Arg::Floats(list) => Given::Floats(list),
            Arg::Bools(list) => Given::Bools(list),
            Arg::Str(text) => Given::Str(text),
            Arg::Dtype(dtype) => Given::Dtype(dtype),
            Arg::Ignored => return Ok(None),
        }))
    }

    /// Names and recorded types of the results.
    fn results_of(&self, node: &'a schema::Node) -> Result_<(Vec<&'a str>, Vec<TensorType>)> {
        let names: Option<Vec<&str>> = node.outputs.iter().flat_map(output_names).collect();
        let tensors = |output: &Argument| matches!(output, Argument::Tensor(_) | Argument::Tensors(_));
        let Some(names) = names.filter(|names| !names.is_empty() && node.outputs.iter().all(tensors)) else {
            let message = match node.outputs.is_empty() {
                true => "a custom operator without a result changes its arguments, and which of them is not recorded",
                false => "a custom operator that gives something else than tensors",
            };
            return Err(Diagnostic::unsupported(message)
                .help("let it return new tensors: `torch.library.custom_op(.., mutates_args=())`"));
        };
        let results: Vec<TensorType> = names.iter().map(|name| self.recorded_type(name)).collect::<Result_<_>>()?;
        let unknown =
            |size: &Expr| size.symbols().into_iter().find(|s| s.starts_with('u') && !self.unbacked.contains(s));
        match results.iter().flat_map(|ty| &ty.shape).find_map(unknown) {
            Some(symbol) => Err(Diagnostic::unsupported(format!(
                "a custom operator that decides on the size `{symbol}` of its result"
            ))
            .help("let it fill a result of known size and return the number of valid entries as a tensor")),
            None => Ok((names, results)),
        }
    }

    fn recorded_type(&self, name: &str) -> Result_<TensorType> {
        let meta = self.scope.tensor_values.get(name);
        self.tensor_type(meta.ok_or_else(|| Diagnostic::damaged(format!("tensor `{name}` has no recorded type")))?)
    }

    /// Names in the options that no call bears: a slip of the pen would otherwise go unnoticed.
    pub(super) fn unknown_operators(&mut self) {
        let mut called = Vec::new();
        called_in(&self.graph, &mut called);
        for name in self.options.pure_operators.iter().filter(|name| !called.contains(name)) {
            let message = format!("the model calls no custom operator `{name}`");
            let known: Vec<String> = called.iter().map(|name| format!("`{name}`")).collect();
            let known =
                if known.is_empty() { "it calls none".into() } else { format!("it calls {}", known.join(", ")) };
            self.errors.push(Diagnostic::new(Kind::Usage, message).help(known));
        }
    }
}

fn called_in(graph: &crate::ir::Graph, called: &mut Vec<String>) {
    for node in &graph.nodes {
        if let Op::Custom(call) = &node.op
            && !called.contains(&call.name())
        {
            called.push(call.name());
        }
        node.op.graphs().into_iter().for_each(|inner| called_in(inner, called));
    }
}
