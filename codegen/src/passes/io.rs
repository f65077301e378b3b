//! Inputs and outputs as integers: an input that is only quantized, by one scale and zero point, becomes what it is quantized to,
//! an output that is dequantized becomes what it was before. Views in between change their type alike, and so do pads of
//! inputs, whose number is quantized.

use super::edit::{producers, uses};
use crate::diag::{Diagnostic, Kind};
use crate::ir::{Graph, Grid, InputKind, IoLeaf, Op, OutputKind, PadMode, ValueId};
use exported_runtime::DType;

/// What a tensor is quantized to.
#[derive(Clone, Copy, PartialEq)]
struct Target {
    scale: u64,
    zero_point: i64,
    dtype: DType,
}

impl Target {
    /// What a number is quantized to, in f32 as the reference does.
    fn quantized(&self, x: f64) -> f64 {
        let scaled = (x as f32 * (1.0 / f64::from_bits(self.scale)) as f32).round_ties_even();
        let (least, greatest) = if self.dtype == DType::U8 { (0.0, 255.0) } else { (-128.0, 127.0) };
        (f64::from(scaled) + self.zero_point as f64).clamp(least, greatest)
    }
}

/// Changes what can be changed.
///
/// # Errors
/// When that is nothing.
pub fn run(graph: &mut Graph) -> Result<(), Diagnostic> {
    for number in 0..graph.inputs.len() {
        input(graph, number);
    }
    for number in 0..graph.outputs.len() {
        output(graph, number);
    }
    if graph.grids.is_empty() {
        let message = "no input of the program is only quantized, and no output only dequantized";
        return Err(Diagnostic::new(Kind::Usage, message).help("leave out `io = \"quantized\"`"));
    }
    Ok(())
}

fn input(graph: &mut Graph, number: usize) {
    let InputKind::Tensor(v) = graph.inputs[number].kind else { return };
    let written = graph.outputs.iter().any(|o| o.mutates == Some(number));
    let mut seen = vec![v];
    let Some(Some(target)) = (!written).then(|| quantized(graph, v, &mut seen)) else { return };
    // What quantized it gives it.
    let quantize = |op: &Op| matches!(op, Op::Quantize { .. });
    let given: Vec<(ValueId, ValueId)> = graph
        .nodes
        .iter()
        .filter(|n| quantize(&n.op) && seen.contains(&n.inputs[0]))
        .map(|n| (n.outputs[0], n.inputs[0]))
        .collect();
    graph.nodes.retain(|n| !(quantize(&n.op) && seen.contains(&n.inputs[0])));
    for node in &mut graph.nodes {
        if let Op::Pad { mode: PadMode::Constant(bits), .. } = &mut node.op
            && seen.contains(&node.outputs[0])
        {
            *bits = target.quantized(f64::from_bits(*bits)).to_bits();
        }
    }
    for v in seen {
        graph.values[v.0 as usize].ty.dtype = target.dtype;
    }
    let replaced = |v: ValueId| given.iter().find(|(old, _)| *old == v).map_or(v, |(_, new)| *new);
    graph.nodes.iter_mut().flat_map(|n| &mut n.inputs).for_each(|v| *v = replaced(*v));
    for output in &mut graph.outputs {
        if let OutputKind::Tensor(v) = &mut output.kind {
            *v = replaced(*v);
        }
    }
    graph.state.iter_mut().for_each(|s| s.write = replaced(s.write));
    let Target { scale, zero_point, .. } = target;
    graph.grids.push(Grid { leaf: IoLeaf::Input(number), scale, zero_point });
}

/// What all readers quantize a tensor to, directly or behind views and pads, which are added to `seen`.
fn quantized(graph: &Graph, v: ValueId, seen: &mut Vec<ValueId>) -> Option<Target> {
    let readers: Vec<_> = graph.nodes.iter().filter(|n| n.inputs.contains(&v)).collect();
    if uses(graph)[v.0 as usize] != readers.len() {
        return None;
    }
    let mut found = None;
    for node in readers {
        let target = match node.op {
            Op::Quantize { scale, zero_point, min, max, dtype, axis: None } if whole(dtype, min, max) => {
                Target { scale, zero_point, dtype }
            }
            Op::View(_) | Op::Pad { .. } => {
                seen.push(node.outputs[0]);
                quantized(graph, node.outputs[0], seen)?
            }
            _ => return None,
        };
        if *found.get_or_insert(target) != target {
            return None;
        }
    }
    found
}

/// Whether a caller can give any integer of the dtype: of 8 bits, and all of them.
fn whole(dtype: DType, min: i64, max: i64) -> bool {
    matches!((dtype, min, max), (DType::I8, -128, 127) | (DType::U8, 0, 255))
}

fn output(graph: &mut Graph, number: usize) {
    let output = &graph.outputs[number];
    let OutputKind::Tensor(result) = output.kind else { return };
    if output.mutates.is_some() {
        return;
    }
    let (made, count) = (producers(graph), uses(graph));
    let (mut v, mut views) = (result, Vec::new());
    while let Some(index) = made[v.0 as usize] {
        let node = &graph.nodes[index];
        match node.op {
            // A view that others read as floats stays.
            Op::View(_) if count[v.0 as usize] == 1 => {
                views.push(index);
                v = node.inputs[0];
            }
            Op::Dequantize { scale, zero_point, axis: None } => {
                let integers = node.inputs[0];
                let dtype = graph.ty(integers).dtype;
                if dtype.size() != 1 {
                    return;
                }
                match views.last() {
                    Some(&first) => graph.nodes[first].inputs[0] = integers,
                    None => graph.outputs[number].kind = OutputKind::Tensor(integers),
                }
                for index in views {
                    let v = graph.nodes[index].outputs[0];
                    graph.values[v.0 as usize].ty.dtype = dtype;
                }
                graph.grids.push(Grid { leaf: IoLeaf::Output(number), scale, zero_point });
                return;
            }
            _ => return,
        }
    }
}
