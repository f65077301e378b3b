//! Unsigned bytes become signed ones, 128 less each, for cores whose kernels know only these: the same grids, moved.
//!
//! Where unsigned bytes enter or leave the program they are converted; in between none are left.

use super::super::edit::{producers, splice};
use crate::diag::Diagnostic;
use crate::ir::{Binary, Formula, Graph, Node, Op, OutputKind, TensorType, ValueId};
use crate::options::{Options, Quantization};
use exported_runtime::DType;
use std::collections::BTreeMap;

/// Half of the numbers of a byte.
const HALF: i64 = 128;

/// Moves every per-tensor grid of unsigned bytes.
///
/// # Errors
/// None.
pub fn run(graph: &mut Graph, options: &Options) -> Result<bool, Diagnostic> {
    if !options.target.dsp() || options.quantization != Quantization::Fused {
        return Ok(false);
    }
    let mut changed = false;
    // From the back, so that the indices of what is still to come stay.
    for index in (0..graph.nodes.len()).rev() {
        let nodes = match graph.nodes[index].op {
            Op::Quantize { dtype: DType::U8, axis: None, .. } => quantize(graph, index),
            Op::Dequantize { axis: None, .. } => dequantize(graph, index),
            _ => continue,
        };
        changed |= !nodes.is_empty();
        if !nodes.is_empty() {
            splice(graph, BTreeMap::from([(index, nodes)]));
        }
    }
    Ok(changed)
}

/// The quantization to signed bytes, which its dequantizations read, and a conversion for all others.
fn quantize(graph: &mut Graph, index: usize) -> Vec<Node> {
    let mut node = graph.nodes[index].clone();
    let Op::Quantize { zero_point, min, max, dtype, .. } = &mut node.op else { return vec![] };
    (*zero_point, *min, *max, *dtype) = (*zero_point - HALF, *min - HALF, *max - HALF, DType::I8);
    let unsigned = node.outputs[0];
    let signed = value(graph, unsigned, DType::I8);
    node.outputs[0] = signed;
    for reader in &mut graph.nodes {
        if let Op::Dequantize { zero_point, axis: None, .. } = &mut reader.op
            && reader.inputs[0] == unsigned
        {
            (*zero_point, reader.inputs[0]) = (*zero_point - HALF, signed);
        }
    }
    let leaves = graph.outputs.iter().any(|o| o.kind == OutputKind::Tensor(unsigned));
    let kept = graph.state.iter().any(|s| s.write == unsigned);
    let read = leaves || kept || graph.nodes.iter().any(|n| n.inputs.contains(&unsigned));
    let conversion = read.then(|| conversion(graph, &node, [signed, unsigned], HALF));
    std::iter::once(node).chain(conversion).collect()
}

/// The dequantization of unsigned bytes that no quantization of the program made: a conversion first.
fn dequantize(graph: &mut Graph, index: usize) -> Vec<Node> {
    let mut node = graph.nodes[index].clone();
    let unsigned = node.inputs[0];
    let made = producers(graph)[unsigned.0 as usize].map(|i| &graph.nodes[i].op);
    let quantized = matches!(made, Some(Op::Quantize { axis: None, .. }));
    if graph.ty(unsigned).dtype != DType::U8 || quantized || graph.constant_of(unsigned).is_some() {
        return vec![];
    }
    let Op::Dequantize { zero_point, .. } = &mut node.op else { return vec![] };
    *zero_point -= HALF;
    let signed = value(graph, unsigned, DType::I8);
    node.inputs[0] = signed;
    vec![conversion(graph, &node, [unsigned, signed], -HALF), node]
}

fn value(graph: &mut Graph, like: ValueId, dtype: DType) -> ValueId {
    let (name, ty) = (graph.value(like).name.clone(), graph.ty(like).clone());
    graph.add_value(&name, TensorType { dtype, ..ty })
}

/// `[from, to]`: the bytes of another kind, moved.
fn conversion(graph: &Graph, like: &Node, [from, to]: [ValueId; 2], by: i64) -> Node {
    let mut f = Formula::new(&[graph.ty(from).dtype]);
    let (q, by) = (f.param(0), f.int(DType::I32, by));
    let wide = f.cast(DType::I32, q);
    let moved = f.binary(Binary::Add, wide, by);
    let result = f.cast(graph.ty(to).dtype, moved);
    f.results.push(result);
    let op = Op::Pointwise { formula: f, shape: graph.ty(to).shape.clone() };
    Node { op, inputs: vec![from], outputs: vec![to], origin: like.origin.clone() }
}
