//! Constants become part of the subgraphs that take them as operands.
//!
//! torch passes the weights that a branch or a loop body reads as operands, and a weight that is an operand could not be
//! packed at build time. What stays an operand is what the call computes, and mutated buffers.

use crate::diag::Diagnostic;
use crate::ir::{Graph, InputKind, Node, Op, ValueId};
use crate::options::Options;

/// Moves constant operands inside.
///
/// # Errors
/// None.
pub fn run(graph: &mut Graph, _: &Options) -> Result<bool, Diagnostic> {
    let mut changed = false;
    for index in 0..graph.nodes.len() {
        let node = &graph.nodes[index];
        // Operands that the subgraphs take as they are; carried tensors and sequences are not.
        let (first, skipped) = match &node.op {
            Op::Cond { on_size, .. } => (usize::from(on_size.is_none()), 0),
            Op::While { carried, .. } => (*carried, *carried),
            Op::Scan { carried, sequences, .. } => (carried + sequences, carried + sequences),
            _ => continue,
        };
        for operand in (first..node.inputs.len()).rev() {
            let v = graph.nodes[index].inputs[operand];
            let Some(constant) = graph.constant_of(v).cloned() else { continue };
            let node = &mut graph.nodes[index];
            node.inputs.remove(operand);
            for inner in node.op.graphs_mut() {
                let input = inner.inputs.remove(skipped + operand - first);
                let InputKind::Tensor(value) = input.kind else { continue };
                let id = inner.add_constant(constant.clone());
                inner.nodes.insert(0, definition(id, value, &input.name));
            }
            changed = true;
        }
    }
    Ok(changed)
}

fn definition(id: crate::ir::ConstId, value: ValueId, name: &str) -> Node {
    let origin = crate::diag::Origin { node: name.to_string(), ..Default::default() };
    Node { op: Op::Constant(id), inputs: vec![], outputs: vec![value], origin }
}
