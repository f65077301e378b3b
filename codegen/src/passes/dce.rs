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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Custom, Node, Op, TensorType};
    use crate::options::Target;

    #[test]
    fn a_custom_operator_goes_only_if_it_is_pure() {
        let calls = |pure: bool| {
            let mut graph = Graph::default();
            let ty = TensorType { dtype: exported_runtime::DType::F32, shape: vec![] };
            let v = graph.add_value("v", ty.clone());
            let call = Custom { target: "lib.count.default".into(), arguments: vec![], results: vec![ty], pure };
            let op = Op::Custom(Box::new(call));
            graph.nodes.push(Node { op, inputs: vec![], outputs: vec![v], origin: Default::default() });
            run(&mut graph, &Options::new("m", Target::new("x86_64-unknown-linux-gnu"))).expect("drops");
            graph.nodes.len()
        };
        assert_eq!((calls(false), calls(true)), (1, 0));
    }
}
