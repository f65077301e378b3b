//! Drops nodes nobody needs.
//!
//! Needed are the outputs of the graph, new values of mutated buffers, and what those are computed from. Assertions stay:
//! they are part of what the program promises.

use crate::diag::Diagnostic;
use crate::ir::{Graph, OutputKind, ValueId};
use crate::options::Options;

/// Removes unneeded nodes.
///
/// # Errors
/// None.
pub fn run(graph: &mut Graph, _: &Options) -> Result<bool, Diagnostic> {
    let before = graph.nodes.len();
    let mut needed = roots(graph);
    let keep: Vec<bool> = graph
        .nodes
        .iter()
        .rev()
        .map(|node| {
            let keep = node.op.stays() || node.outputs.iter().any(|v| needed[v.0 as usize]);
            if keep {
                node.inputs.iter().for_each(|v| needed[v.0 as usize] = true);
            }
            keep
        })
        .collect();
    let mut keep = keep.into_iter().rev();
    graph.nodes.retain(|_| keep.next().unwrap_or(true));
    Ok(graph.nodes.len() != before)
}

/// Marks the values that leave the graph.
pub(super) fn roots(graph: &Graph) -> Vec<bool> {
    let mut needed = vec![false; graph.values.len()];
    let outputs = graph.outputs.iter().filter_map(|o| match o.kind {
        OutputKind::Tensor(v) => Some(v),
        _ => None,
    });
    let state = graph.state.iter().map(|s| s.write);
    outputs.chain(state).for_each(|ValueId(v)| needed[v as usize] = true);
    needed
}
