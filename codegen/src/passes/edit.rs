//! What rewriting passes share: who makes a value, who reads it, new constants and nodes.

use crate::ir::{Constant, Graph, Node, Op, OutputKind, TensorType, ValueId};
use crate::sym::Expr;
use exported_runtime::DType;

/// Number of readers of every value; leaving the graph counts as one.
pub(super) fn uses(graph: &Graph) -> Vec<usize> {
    let mut count = vec![0; graph.values.len()];
    let outputs = graph.outputs.iter().filter_map(|o| match o.kind {
        OutputKind::Tensor(v) => Some(v),
        _ => None,
    });
    let state = graph.state.iter().map(|s| s.write);
    let read = graph.nodes.iter().flat_map(|n| n.inputs.iter().copied());
    outputs.chain(state).chain(read).for_each(|v| count[v.0 as usize] += 1);
    count
}

/// Index of the node that makes each value.
pub(super) fn producers(graph: &Graph) -> Vec<Option<usize>> {
    let mut made = vec![None; graph.values.len()];
    for (i, node) in graph.nodes.iter().enumerate() {
        node.outputs.iter().for_each(|v| made[v.0 as usize] = Some(i));
    }
    made
}

/// A new constant and the node that stands for it, to be put before its first reader.
pub(super) fn constant(
    graph: &mut Graph,
    like: &Node,
    name: &str,
    numbers: &[f64],
    dtype: DType,
    shape: &[usize],
) -> (Node, ValueId) {
    let data = Constant::float_bytes(dtype, numbers.iter().copied());
    let id = graph.add_constant(Constant { name: name.to_string(), dtype, shape: shape.to_vec(), data: data.into() });
    let ty = TensorType { dtype, shape: shape.iter().map(|&s| Expr::from(s)).collect() };
    let value = graph.add_value(name, ty);
    (Node { op: Op::Constant(id), inputs: vec![], outputs: vec![value], origin: like.origin.clone() }, value)
}

/// Replaces nodes: each entry gives the nodes that stand in the place of the node with that index.
pub(super) fn splice(graph: &mut Graph, mut replaced: std::collections::BTreeMap<usize, Vec<Node>>) {
    let nodes = std::mem::take(&mut graph.nodes);
    for (i, node) in nodes.into_iter().enumerate() {
        match replaced.remove(&i) {
            Some(new) => graph.nodes.extend(new),
            None => graph.nodes.push(node),
        }
    }
}
