//! Cuts a quantized program into its layers, so that each can be verified alone: every quantized tensor becomes an
//! output, and whoever reads it reads a new input instead. Fed with the reference's integers, every layer must give the
//! reference's integers, whatever the layers before it did.

use super::edit::producers;
use crate::ir::{Graph, Input, InputKind, Op, Output, OutputKind, PathPart, Pool, ValueId};
use std::collections::{BTreeMap, BTreeSet};

/// Cuts at every per-tensor quantization whose parameters the program states as numbers. New inputs and outputs follow the old ones, ordered by the names of the nodes
/// that quantize.
pub fn run(graph: &mut Graph) {
    let quantized: BTreeMap<String, ValueId> = graph
        .nodes
        .iter()
        .filter(|n| matches!(n.op, Op::Quantize { axis: None, .. }) && n.origin.target.ends_with(".default"))
        .map(|n| (n.origin.node.clone(), n.outputs[0]))
        .collect();
    let mut read = BTreeMap::new();
    for output in &mut graph.outputs {
        output.path.insert(0, PathPart::Index(0));
    }
    for (i, (name, &v)) in quantized.iter().enumerate() {
        let ty = graph.ty(v).clone();
        let given = graph.add_value(&format!("{name}_given"), ty);
        read.insert(v, given);
        let path = vec![PathPart::Key(format!("{name}_given"))];
        graph.inputs.push(Input::new(format!("{name}_given"), path, InputKind::Tensor(given)));
        let path = vec![PathPart::Index(1), PathPart::Index(i)];
        graph.outputs.push(Output { path, kind: OutputKind::Tensor(v), mutates: None });
    }
    for v in graph.nodes.iter_mut().flat_map(|n| &mut n.inputs) {
        *v = read.get(v).copied().unwrap_or(*v);
    }
}

/// The numbers of the layers of a cut program that are means: after all passes.
pub fn means(graph: &Graph) -> BTreeSet<usize> {
    let made = producers(graph);
    let is_mean = |mut v: ValueId| {
        while let Some(node) = made[v.0 as usize].map(|i| &graph.nodes[i]) {
            match node.op {
                // Also the conversion to bytes of another kind.
                Op::View(_) | Op::Pointwise { .. } if node.inputs.len() == 1 => v = node.inputs[0],
                Op::Pool(Pool { requantize: Some(_), .. }) | Op::AdaptivePool { requantize: Some(_), .. } => {
                    return true;
                }
                _ => return false,
            }
        }
        false
    };
    let layer = |output: &Output| match (output.path.as_slice(), &output.kind) {
        (&[PathPart::Index(1), PathPart::Index(i)], &OutputKind::Tensor(v)) => is_mean(v).then_some(i),
        _ => None,
    };
    graph.outputs.iter().filter_map(layer).collect()
}
