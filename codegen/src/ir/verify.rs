//! The invariant of the graph, checked after every pass in every build.
//!
//! * every value is defined exactly once, by an input, a state entry or a node, before it is used;
//! * the types of a node's results are those [`super::infer`] gives for its operands;
//! * constants hold as many bytes as their dtype and shape say;
//! * names of values are unique.

use super::{Graph, InputKind, OutputKind, TensorType, ValueId, infer};
use crate::diag::Diagnostic;
use std::collections::BTreeSet;

/// Checks the invariant.
///
/// # Errors
/// The first breach, as a fault of ours.
pub fn verify(graph: &Graph) -> Result<(), Diagnostic> {
    let mut defined = BTreeSet::new();
    for input in &graph.inputs {
        if let InputKind::Tensor(v) = input.kind {
            define(graph, &mut defined, v)?;
        }
    }
    for state in &graph.state {
        define(graph, &mut defined, state.read)?;
    }
    for node in &graph.nodes {
        verify_node(graph, &mut defined, node).map_err(|d| d.at(&node.origin))?;
    }
    for output in &graph.outputs {
        if let OutputKind::Tensor(v) = output.kind {
            used(graph, &defined, v)?;
        }
    }
    for state in &graph.state {
        used(graph, &defined, state.write)?;
        if graph.ty(state.read) != graph.ty(state.write) {
            return Err(Diagnostic::bug(format!(
                "state `{}` is {} but becomes {}",
                state.name,
                graph.ty(state.read),
                graph.ty(state.write)
            )));
        }
    }
    verify_tables(graph)
}

fn verify_node(graph: &Graph, defined: &mut BTreeSet<ValueId>, node: &super::Node) -> Result<(), Diagnostic> {
    for &v in &node.inputs {
        used(graph, defined, v)?;
    }
    let types: Vec<TensorType> = node.inputs.iter().map(|&v| graph.ty(v).clone()).collect();
    let results = infer::infer(&node.op, &types, graph).map_err(Diagnostic::bug)?;
    if results.len() != node.outputs.len() {
        return Err(Diagnostic::bug(format!("{} results, expected {}", node.outputs.len(), results.len())));
    }
    for (&v, ty) in node.outputs.iter().zip(&results) {
        define(graph, defined, v)?;
        if graph.ty(v) != ty {
            let message = format!("`{}` is {}, but the operation gives {ty}", graph.value(v).name, graph.ty(v));
            return Err(Diagnostic::bug(message));
        }
    }
    Ok(())
}

fn define(graph: &Graph, defined: &mut BTreeSet<ValueId>, v: ValueId) -> Result<(), Diagnostic> {
    if graph.values.get(v.0 as usize).is_none() {
        return Err(Diagnostic::bug(format!("value {} does not exist", v.0)));
    }
    match defined.insert(v) {
        true => Ok(()),
        false => Err(Diagnostic::bug(format!("value `{}` is defined twice", graph.value(v).name))),
    }
}

fn used(graph: &Graph, defined: &BTreeSet<ValueId>, v: ValueId) -> Result<(), Diagnostic> {
    match defined.contains(&v) {
        true => Ok(()),
        false => {
            let name = graph.values.get(v.0 as usize).map_or("?", |value| &value.name);
            Err(Diagnostic::bug(format!("value `{name}` is used before it is defined")))
        }
    }
}

fn verify_tables(graph: &Graph) -> Result<(), Diagnostic> {
    let mut names = BTreeSet::new();
    for value in &graph.values {
        if !names.insert(&value.name) {
            return Err(Diagnostic::bug(format!("two values are named `{}`", value.name)));
        }
    }
    for constant in &graph.constants {
        let bytes = constant.shape.iter().try_fold(constant.dtype.size(), |n, &s| n.checked_mul(s));
        if bytes != Some(constant.data.len()) {
            return Err(Diagnostic::bug(format!("constant `{}` has {} bytes", constant.name, constant.data.len())));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Input, Node, Op, Output, View};
    use super::*;
    use crate::sym::Expr;
    use exported_runtime::DType;

    fn graph() -> Graph {
        let mut graph = Graph::default();
        let ty = |shape: &[i64]| TensorType { dtype: DType::F32, shape: shape.iter().map(|&s| Expr::Int(s)).collect() };
        let x = graph.add_value("x", ty(&[2, 3]));
        let y = graph.add_value("y", ty(&[3, 2]));
        graph.inputs.push(Input::new("x", vec![], InputKind::Tensor(x)));
        let op = Op::View(View::Permute(vec![1, 0]));
        graph.nodes.push(Node { op, inputs: vec![x], outputs: vec![y], origin: Default::default() });
        graph.outputs.push(Output { path: vec![], kind: OutputKind::Tensor(y), mutates: None });
        graph
    }

    #[test]
    fn a_sound_graph_passes_and_breaches_are_found() {
        assert_eq!(verify(&graph()), Ok(()));
        let mut wrong_type = graph();
        wrong_type.values[1].ty.shape[0] = Expr::Int(2);
        assert!(verify(&wrong_type).is_err());
        let mut twice = graph();
        let again = twice.nodes[0].clone();
        twice.nodes.push(again);
        assert!(verify(&twice).is_err());
        let mut undefined = graph();
        undefined.inputs.clear();
        assert!(verify(&undefined).is_err());
        let mut same_name = graph();
        same_name.values[1].name = "x".into();
        assert!(verify(&same_name).is_err());
    }
}
