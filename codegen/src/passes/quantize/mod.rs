//! Operations between dequantization and quantization become operations on integers.
//!
//! From each [`Op::Quantize`] the pass looks back, past what quantization commutes with (bounds, views, maxima, pads,
//! concatenation), to the operations that compute, and from those to the integers their operands were dequantized from. Where it knows the
//! operation, the whole chain becomes one that reads and writes integers; elsewhere the chain stays as it is, in floats.
//!
//! The decision a reader would question: sums are scaled by fixed-point factors and not by f32. Both round half to even.
//! A factor of a layer has 31 bits (relative to the largest of its channels), so before rounding a result is within
//! `|sum| / 2^(shift + 1)` of the exact one, far closer than the f32 sums of the reference are; a bias is rounded to the
//! unit of the sum. So results differ from the reference by one quantum at most, where that was near a tie, and all
//! targets, with and without an FPU, give the same bits.

mod bytes;
mod grid;
mod layer;
pub mod signed;

use super::edit::{producers, splice, uses};
use super::epilogue::{Pattern, pattern};
use crate::diag::{Diagnostic, Origin};
use crate::ir::{
    Epilogue, Formula, Graph, Node, Op, PadMode, Pool, PoolKind, ReduceKind, ResampleMode, TensorType, ValueId, View,
    infer,
};
use crate::options::{Options, Quantization};
use crate::sym::Expr;
use exported_runtime::DType;
use grid::{Grid, Target};
use std::collections::BTreeMap;

/// Brings what it can to integers.
///
/// # Errors
/// None.
pub fn run(graph: &mut Graph, options: &Options) -> Result<bool, Diagnostic> {
    let mut changed = false;
    let mut index = 0;
    while options.quantization == Quantization::Fused && index < graph.nodes.len() {
        match integers(graph, index) {
            Some(nodes) => {
                let count = nodes.len();
                splice(graph, BTreeMap::from([(index, nodes)]));
                index += count;
                changed = true;
            }
            None => index += 1,
        }
    }
    Ok(changed)
}

/// What stands in place of the quantization with this index.
fn integers(graph: &mut Graph, index: usize) -> Option<Vec<Node>> {
    let node = graph.nodes[index].clone();
    let Op::Quantize { scale, zero_point, min, max, dtype, axis: None } = node.op else { return None };
    if !narrow(dtype) {
        return None;
    }
    let target = Target::new(Grid::new(scale, zero_point, dtype), min, max)?;
    let mut maker = Maker::new(graph, &node);
    let result = maker.onto(node.inputs[0], target, true)?;
    Some(maker.finish(result, node.outputs[0]))
}

/// Whether kernels take it.
fn narrow(dtype: DType) -> bool {
    matches!(dtype, DType::I8 | DType::U8 | DType::I16)
}

/// Whether it only moves elements of its first operand.
fn moves(op: &Op) -> bool {
    matches!(
        op,
        Op::View(_)
            | Op::Resample { mode: ResampleMode::Nearest { .. }, .. }
            | Op::IndexSelect { .. }
            | Op::Index { .. }
            | Op::Gather { .. }
            | Op::Embedding
    )
}

/// Makes the nodes that replace one quantization.
struct Maker<'g> {
    graph: &'g mut Graph,
    made: Vec<Option<usize>>,
    uses: Vec<usize>,
    nodes: Vec<Node>,
    origin: Origin,
    name: String,
}

impl<'g> Maker<'g> {
    fn new(graph: &'g mut Graph, node: &Node) -> Self {
        let (made, uses) = (producers(graph), uses(graph));
        let name = graph.value(node.outputs[0]).name.clone();
        Maker { made, uses, nodes: Vec::new(), origin: node.origin.clone(), name, graph }
    }

    fn producer(&self, v: ValueId) -> Option<Node> {
        Some(self.graph.nodes[(*self.made.get(v.0 as usize)?)?].clone())
    }

    /// Appends an operation and gives its first result.
    fn push(&mut self, op: Op, inputs: &[ValueId]) -> Option<ValueId> {
        let types: Vec<TensorType> = inputs.iter().map(|&v| self.graph.ty(v).clone()).collect();
        let results = infer::infer(&op, &types, self.graph).ok()?;
        let name = format!("{}_part", self.name);
        let outputs: Vec<ValueId> = results.into_iter().map(|ty| self.graph.add_value(&name, ty)).collect();
        let first = *outputs.first()?;
        self.nodes.push(Node { op, inputs: inputs.to_vec(), outputs, origin: self.origin.clone() });
        Some(first)
    }

    /// The nodes, the last of which gives `output`.
    fn finish(mut self, result: ValueId, output: ValueId) -> Vec<Node> {
        match self.nodes.last_mut().filter(|n| n.outputs[0] == result) {
            Some(last) => last.outputs[0] = output,
            None => {
                let op = Op::View(View::Reshape(self.graph.ty(output).shape.clone()));
                self.nodes.push(Node { op, inputs: vec![result], outputs: vec![output], origin: self.origin });
            }
        }
        self.nodes
    }

    /// The integers behind a float tensor, and what they stand for: past views, maxima and pads that keep the grid.
    fn source(&mut self, v: ValueId) -> Option<(ValueId, Grid)> {
        let node = self.producer(v)?;
        match &node.op {
            &Op::Dequantize { scale, zero_point, axis: None } => {
                let dtype = self.graph.ty(node.inputs[0]).dtype;
                narrow(dtype).then(|| (node.inputs[0], Grid::new(scale, zero_point, dtype)))
            }
            op if moves(op) => {
                let (x, grid) = self.source(node.inputs[0])?;
                Some((self.push(node.op.clone(), &[&[x], &node.inputs[1..]].concat())?, grid))
            }
            Op::Pad { pads, mode } => {
                let (x, grid) = self.source(node.inputs[0])?;
                let mode = match mode {
                    PadMode::Constant(bits) if f64::from_bits(*bits) == 0.0 => {
                        PadMode::Constant((grid.zero as f64).to_bits())
                    }
                    PadMode::Constant(_) => return None,
                    other => other.clone(),
                };
                Some((self.push(Op::Pad { pads: pads.clone(), mode }, &[x])?, grid))
            }
            Op::Pool(Pool { kind: PoolKind::Max, .. }) | Op::AdaptivePool { max: true, .. } => {
                if node.outputs.get(1).is_some_and(|v| self.uses[v.0 as usize] > 0) {
                    return None;
                }
                let (x, grid) = self.source(node.inputs[0])?;
                Some((self.push(node.op.clone(), &[x])?, grid))
            }
            _ => None,
        }
    }

    /// A float tensor, quantized: past everything that quantization commutes with, to the operations that compute. These
    /// must be needed for this alone, or they would be computed twice.
    fn onto(&mut self, v: ValueId, mut target: Target, alone: bool) -> Option<ValueId> {
        let node = self.producer(v)?;
        let alone = alone && self.uses[v.0 as usize] == 1;
        match &node.op {
            Op::Dequantize { .. } => self.requantized(v, &target),
            op if moves(op) => {
                let x = self.onto(node.inputs[0], target, alone)?;
                self.push(node.op.clone(), &[&[x], &node.inputs[1..]].concat())
            }
            Op::Pool(Pool { kind: PoolKind::Max, .. }) | Op::AdaptivePool { max: true, .. } => {
                if node.outputs.get(1).is_some_and(|v| self.uses[v.0 as usize] > 0) {
                    return None;
                }
                let x = self.onto(node.inputs[0], target, alone)?;
                self.push(node.op.clone(), &[x])
            }
            Op::Concat { .. } => {
                let parts: Option<Vec<_>> = node.inputs.iter().map(|&v| self.onto(v, target, alone)).collect();
                self.push(node.op.clone(), &parts?)
            }
            Op::Pad { pads, mode } => {
                let x = match self.onto(node.inputs[0], target, alone) {
                    Some(x) => x,
                    // Quantized before it is padded: the same numbers in a quarter of the memory.
                    None => self.push(target.operation(), &node.inputs[..1])?,
                };
                let mode = match mode {
                    PadMode::Constant(bits) => {
                        PadMode::Constant(f64::from(target.quantized(f64::from_bits(*bits))).to_bits())
                    }
                    other => other.clone(),
                };
                self.push(Op::Pad { pads: pads.clone(), mode }, &[x])
            }
            Op::Pointwise { formula, .. } => match pattern(formula) {
                Some(Pattern::Clamp { of: 0, low, high }) => {
                    target.clamp(low, high);
                    self.onto(node.inputs[0], target, alone)
                }
                _ => match bytes::greater(formula) {
                    Some((op, [i, j])) => self.greater(&node, op, [i, j], target, alone),
                    None if alone => self.core(&node, &target),
                    None => None,
                },
            },
            _ if alone => self.core(&node, &target),
            _ => None,
        }
    }

    /// The result of an operation on the grid of the quantization.
    fn core(&mut self, node: &Node, target: &Target) -> Option<ValueId> {
        self.origin = node.origin.clone();
        match &node.op {
            Op::Conv(_, e) | Op::Linear(e) => self.layer(node, *e, target, 0.0),
            Op::Pointwise { formula, shape } => {
                let before = self.nodes.len();
                let sum = self.on_grids(node, formula, shape, target);
                if sum.is_none() {
                    self.nodes.truncate(before);
                    return self.by_table(node, target).or_else(|| self.ramp(node, *target));
                }
                sum
            }
            &Op::BatchNorm { eps } => self.normalized(node, f64::from_bits(eps), target),
            Op::Softmax { dim, log: false } => self.softmax(node, *dim, target),
            Op::MatMul(e) if *e == Epilogue::default() => self.matmul(node, target),
            Op::Pool(p) => {
                let (x, grid) = self.source(node.inputs[0])?;
                let requantize = Some(target.mean(&grid)?);
                self.push(Op::Pool(Pool { requantize, ..p.clone() }), &[x])
            }
            &Op::AdaptivePool { spatial, out, .. } => {
                let (x, grid) = self.source(node.inputs[0])?;
                let requantize = Some(target.mean(&grid)?);
                self.push(Op::AdaptivePool { max: false, spatial, out, requantize }, &[x])
            }
            Op::Reduce { kind: kind @ (ReduceKind::Mean | ReduceKind::Sum), dims, .. } => {
                self.mean(node, dims, target, *kind == ReduceKind::Sum)
            }
            _ => None,
        }
    }

    /// A layer's result under ramps, needed for these alone: its grid and bias take them in.
    fn ramp(&mut self, node: &Node, mut target: Target) -> Option<ValueId> {
        let (mut node, mut factor, mut addend) = (node.clone(), 1.0, 0.0);
        while let Op::Pointwise { formula, .. } = &node.op {
            let inner = grid::ramp(formula)?;
            let [low, high] = inner.bounds.map(|x| x * factor + addend);
            target.clamp(low, high);
            (factor, addend) = (inner.factor * factor, inner.addend * factor + addend);
            let x = node.inputs[0];
            node = self.producer(x).filter(|_| self.uses[x.0 as usize] == 1)?;
        }
        target.grid.scale /= factor;
        match node.op {
            Op::Conv(_, e) | Op::Linear(e) => self.layer(&node, e, &target, addend / factor),
            _ => None,
        }
    }

    /// A sum of operands with factors, or a product, on the grids of the operands.
    fn on_grids(&mut self, node: &Node, formula: &Formula, shape: &[Expr], target: &Target) -> Option<ValueId> {
        let operands: Option<Vec<_>> = node.inputs.iter().map(|&v| self.source(v)).collect();
        let operands = operands?;
        let grids: Vec<Grid> = operands.iter().map(|o| o.1).collect();
        let formula = grid::pointwise(formula, &grids, target)?;
        let inputs: Vec<ValueId> = operands.iter().map(|o| o.0).collect();
        self.push(Op::Pointwise { formula, shape: shape.to_vec() }, &inputs)
    }

    /// Integers on the grid of the target.
    fn requantized(&mut self, v: ValueId, target: &Target) -> Option<ValueId> {
        let (x, grid) = self.source(v)?;
        if target.holds(&grid) {
            return Some(x);
        }
        let formula = grid::conversion(&grid, target)?;
        let shape = self.graph.ty(x).shape.clone();
        self.push(Op::Pointwise { formula, shape }, &[x])
    }
}
