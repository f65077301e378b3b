//! What a model puts into flash and RAM, in bytes: counted once, for budgets, reports and the constants of generated code.
//!
//! With dynamic dims every number holds for the largest call. Code and stack are not known before the program is linked.

use crate::Model;
use crate::ir::{Graph, InputKind, TensorType};
use crate::lower::{BufferId, Steps, Storage};
use crate::sym::{Expr, Ranges};
use serde::Serialize;
use std::collections::BTreeSet;

/// Bytes by what they are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Footprint {
    /// Flash: weights as kernels read them, rows filled up to whole panels, and the tables that came of constants.
    pub weights: u64,
    /// Flash: between the weights, so that each begins where vectors or lines of a cache do.
    pub padding: u64,
    /// Flash: the state that the archive holds; 0 if all of it is zero.
    pub initial_state: u64,
    /// RAM: the workspace; outputs stand in it, and inputs if the options say so.
    pub workspace: u64,
    /// RAM: what a model keeps between calls.
    pub state: u64,
    /// RAM of the caller's: the inputs. 0 where they stand in the workspace.
    pub inputs: u64,
    /// Those bytes of the workspace that are outputs.
    pub outputs: u64,
}

impl Footprint {
    /// Counts.
    pub fn new(model: &Model) -> Footprint {
        let Model { graph, steps, plan, layout, .. } = model;
        let outputs = steps.outputs.iter().flatten().map(|region| {
            let dtype = steps.buffers.get(region.buffer.0 as usize).map_or(1, |buffer| buffer.dtype.size());
            greatest(&region.len, &graph.ranges) * dtype as u64
        });
        Footprint {
            weights: (layout.weight_bytes - layout.padding_bytes) as u64,
            padding: layout.padding_bytes as u64,
            initial_state: layout.initial_state.len() as u64,
            workspace: plan.bytes as u64,
            state: layout.state_bytes as u64,
            inputs: inputs(graph, steps),
            outputs: outputs.sum(),
        }
    }

    /// Bytes of flash without code.
    pub fn flash(&self) -> u64 {
        self.weights + self.padding + self.initial_state
    }

    /// Bytes of RAM without stack and the caller's tensors.
    pub fn ram(&self) -> u64 {
        self.workspace + self.state
    }
}

/// Multiply-accumulates of the largest call, loops of the program counted once.
pub fn macs(steps: &Steps, ranges: &Ranges) -> u64 {
    steps.steps.iter().map(|step| greatest(&step.macs, ranges)).fold(0, u64::saturating_add)
}

/// The value of an expression in the largest call; 0 if it has none.
pub fn greatest(expr: &Expr, ranges: &Ranges) -> u64 {
    expr.interval(ranges).max.and_then(|n| u64::try_from(n).ok()).unwrap_or(0)
}

/// Per step the weights that it is the first to read, as indices of buffers.
pub fn first_reads(steps: &Steps) -> Vec<Vec<usize>> {
    let mut seen = BTreeSet::new();
    let is_weights =
        |index: usize| steps.buffers.get(index).is_some_and(|buffer| matches!(buffer.storage, Storage::Weights(_)));
    let reads = steps.steps.iter().map(|step| {
        let buffers = step.work.buffers().into_iter().map(|BufferId(index)| index as usize);
        buffers.filter(|index| is_weights(*index) && seen.insert(*index)).collect()
    });
    reads.collect()
}

fn inputs(graph: &Graph, steps: &Steps) -> u64 {
    let entered = |index: usize| steps.buffers.iter().any(|buffer| buffer.storage == Storage::Entered(index));
    let bytes = |ty: &TensorType| {
        let sizes = ty.shape.iter().map(|size| greatest(size, &graph.ranges));
        sizes.fold(ty.dtype.size() as u64, u64::saturating_mul)
    };
    let tensors = graph.inputs.iter().enumerate().filter_map(|(index, input)| match input.kind {
        InputKind::Tensor(value) if !entered(index) => Some(bytes(graph.ty(value))),
        _ => None,
    });
    tensors.sum()
}
