//! Higher-order operators: regions that are inlined, and control flow over subgraphs.

use super::Importer;
use crate::diag::{Diagnostic, Origin};
use crate::schema::{self, Argument, NameOr};

type Result<T> = std::result::Result<T, Diagnostic>;

impl<'a> Importer<'a> {
    pub(super) fn control_node(&mut self, node: &'a schema::Node, operator: &str, _: &Origin) -> Result<()> {
        match operator {
            "wrap_with_set_grad_enabled" => self.inline(node),
            _ => Err(Diagnostic::unsupported(format!("higher-order operator `{operator}`"))),
        }
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

/// One operand, placeholder or result by name.
#[derive(Clone, Copy)]
enum Flat<'a> {
    Tensor(&'a str),
    Scalar(&'a str),
}

/// Names in order, lists opened.
fn flat<'a>(arguments: impl Iterator<Item = &'a Argument>) -> Vec<Flat<'a>> {
    let mut names = Vec::new();
    for argument in arguments {
        match argument {
            Argument::SymInt(NameOr::Name(name))
            | Argument::SymFloat(NameOr::Name(name))
            | Argument::SymBool(NameOr::Name(name)) => names.push(Flat::Scalar(name)),
            other => names.extend(other.names().map(Flat::Tensor)),
        }
    }
    names
}
