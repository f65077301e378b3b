//! `cargo exported report`: what a model costs, layer by layer, and where its memory goes.
//!
//! With dynamic dims every number holds for the largest call.

use exported_codegen::Model;
use exported_codegen::ir::InputKind;
use exported_codegen::lower::{BufferId, Place, Step, Storage};
use exported_codegen::sym::{Expr, Ranges};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;

/// What a model costs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Name of the model.
    pub model: String,
    /// The torch that exported it.
    pub torch: String,
    /// In execution order.
    pub layers: Vec<Layer>,
    /// Sums.
    pub totals: Totals,
    /// Planned buffers, by offset.
    pub memory: Vec<Planned>,
}

/// One step of a call.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Layer {
    /// Name of its function in the generated code.
    pub name: String,
    /// Operator of the archive.
    pub operator: String,
    /// Module path.
    pub module: String,
    /// Nodes of the archive that it computes.
    pub nodes: Vec<String>,
    /// Type of its last result, as `f32[1, 10]`.
    pub output: String,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Bytes of weights that it is the first to read.
    pub parameter_bytes: u64,
}

/// Sums over a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Totals {
    /// Multiply-accumulates of a call.
    pub macs: u64,
    /// Bytes of weights in the program.
    pub parameter_bytes: u64,
    /// By how many bytes Winograd's method made them more.
    pub winograd_bytes: u64,
    /// Bytes of the workspace; outputs stand in it, inputs do not.
    pub workspace_bytes: u64,
    /// The least that any plan of these steps needs: the greatest sum of buffers alive at one time.
    pub workspace_lower_bound: u64,
    /// The layer during which that sum is alive.
    pub peak_layer: String,
    /// Bytes of the inputs, which stay where the caller has them.
    pub input_bytes: u64,
    /// Bytes of the outputs, part of the workspace.
    pub output_bytes: u64,
    /// Bytes that a model keeps between calls.
    pub state_bytes: u64,
}

/// A buffer of the workspace.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Planned {
    /// Name of the value it was made for.
    pub name: String,
    /// First byte.
    pub offset: usize,
    /// Bytes.
    pub bytes: usize,
    /// Index of the first layer that touches it.
    pub first: usize,
    /// Index of the last one; one past the layers for outputs.
    pub last: usize,
}

impl Report {
    /// Reads it off a compiled model.
    pub fn new(name: &str, model: &Model) -> Report {
        let ranges = &model.graph.ranges;
        let mut seen = BTreeSet::new();
        let layers: Vec<Layer> = model.steps.steps.iter().map(|step| layer(step, model, &mut seen)).collect();
        let outputs = model.steps.outputs.iter().flatten();
        let output_bytes = outputs.map(|region| {
            let dtype = model.steps.buffers.get(region.buffer.0 as usize).map_or(1, |buffer| buffer.dtype.size());
            greatest(&region.len, ranges) * dtype as u64
        });
        let totals = Totals {
            macs: layers.iter().map(|layer| layer.macs).sum(),
            parameter_bytes: model.weight_bytes(),
            winograd_bytes: model.steps.buffers.iter().map(|buffer| buffer.growth as u64).sum(),
            workspace_bytes: model.plan.bytes as u64,
            workspace_lower_bound: model.plan.lower_bound as u64,
            peak_layer: layers.get(model.plan.peak_step).map_or_else(|| "the outputs".into(), |l| l.name.clone()),
            input_bytes: input_bytes(model),
            output_bytes: output_bytes.sum(),
            state_bytes: model.state_bytes(),
        };
        Report { model: name.into(), torch: model.torch_version.clone(), layers, totals, memory: memory(model) }
    }

    /// The report as JSON.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }
}

fn layer(step: &Step, model: &Model, seen: &mut BTreeSet<u32>) -> Layer {
    let mut parameter_bytes = 0;
    for BufferId(index) in step.work.buffers() {
        let is_weights = |index: u32| {
            let buffer = model.steps.buffers.get(index as usize);
            buffer.is_some_and(|buffer| matches!(buffer.storage, Storage::Weights(_)))
        };
        if is_weights(index) && seen.insert(index) {
            parameter_bytes += model.plan.sizes.get(index as usize).map_or(0, |bytes| *bytes as u64);
        }
    }
    Layer {
        name: step.name.clone(),
        operator: step.origin.target.clone(),
        module: step.origin.module.clone(),
        nodes: step.nodes.clone(),
        output: step.results.last().map(|(_, place)| type_of(place)).unwrap_or_default(),
        macs: greatest(&step.macs, &model.graph.ranges),
        parameter_bytes,
    }
}

fn type_of(place: &Place) -> String {
    let sizes: Vec<String> = place.shape.iter().map(ToString::to_string).collect();
    format!("{}[{}]", place.dtype.name(), sizes.join(", "))
}

fn input_bytes(model: &Model) -> u64 {
    let tensors = model.graph.inputs.iter().filter_map(|input| match input.kind {
        InputKind::Tensor(value) => Some(model.graph.ty(value)),
        _ => None,
    });
    let bytes = |ty: &exported_codegen::ir::TensorType| {
        let sizes = ty.shape.iter().map(|size| greatest(size, &model.graph.ranges));
        sizes.fold(ty.dtype.size() as u64, u64::saturating_mul)
    };
    tensors.map(bytes).sum()
}

/// The value of an expression in the largest call.
fn greatest(expr: &Expr, ranges: &Ranges) -> u64 {
    expr.interval(ranges).max.and_then(|n| u64::try_from(n).ok()).unwrap_or(0)
}

fn memory(model: &Model) -> Vec<Planned> {
    let plan = &model.plan;
    let planned = |(index, buffer): (usize, &exported_codegen::lower::Buffer)| {
        let (first, last) = (*plan.lives.get(index)?)?;
        let (offset, bytes) = ((*plan.offsets.get(index)?)?, *plan.sizes.get(index)?);
        Some(Planned { name: buffer.name.clone(), offset, bytes, first, last })
    };
    let mut memory: Vec<Planned> = model.steps.buffers.iter().enumerate().filter_map(planned).collect();
    memory.sort_by_key(|planned| (planned.offset, planned.first));
    memory
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} (torch {})\n", self.model, self.torch)?;
        let head = ["#", "layer", "operator", "output", "MACs", "weight bytes"].map(String::from);
        let rows = self.layers.iter().enumerate().map(|(index, layer)| {
            let Layer { name, operator, output, macs, parameter_bytes, .. } = layer;
            [
                index.to_string(),
                name.clone(),
                operator.clone(),
                output.clone(),
                grouped(*macs),
                grouped(*parameter_bytes),
            ]
        });
        let rows: Vec<[String; 6]> = std::iter::once(head).chain(rows).collect();
        table(f, &rows, [true, false, false, false, true, true])?;
        writeln!(f, "\n{}", self.totals)?;
        let head = ["offset", "bytes", "layers", "buffer"].map(String::from);
        let rows = self.memory.iter().map(|planned| {
            let Planned { name, offset, bytes, first, last } = planned;
            [grouped(*offset as u64), grouped(*bytes as u64), format!("{first}..={last}"), name.clone()]
        });
        let rows: Vec<[String; 4]> = std::iter::once(head).chain(rows).collect();
        table(f, &rows, [true, true, false, false])
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, bytes: u64, note: &str| writeln!(f, "{name:14}{:>14}{note}", grouped(bytes));
        let above = 100.0 * (self.workspace_bytes as f64 / self.workspace_lower_bound.max(1) as f64 - 1.0);
        let bound = format!(
            " bytes; least possible for these layers {} (during {}), {above:.1} % above",
            grouped(self.workspace_lower_bound),
            self.peak_layer
        );
        line("MACs", self.macs, "")?;
        let growth = format!(" bytes, {} of them added by Winograd's method", grouped(self.winograd_bytes));
        line("weights", self.parameter_bytes, if self.winograd_bytes > 0 { &growth } else { " bytes" })?;
        line("workspace", self.workspace_bytes, if self.workspace_lower_bound > 0 { &bound } else { " bytes" })?;
        line("inputs", self.input_bytes, " bytes, where the caller has them")?;
        line("outputs", self.output_bytes, " bytes, in the workspace")?;
        line("state", self.state_bytes, " bytes")
    }
}

/// Columns as wide as their widest entry; numbers to the right.
fn table<const N: usize>(f: &mut fmt::Formatter<'_>, rows: &[[String; N]], right: [bool; N]) -> fmt::Result {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    for row in rows {
        let cells = row.iter().zip(widths).zip(right);
        let cells: Vec<String> = cells
            .map(|((cell, width), right)| if right { format!("{cell:>width$}") } else { format!("{cell:width$}") })
            .collect();
        writeln!(f, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

/// `1,234,567`.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(["0", "999", "1,000", "1,234,567"], [0, 999, 1000, 1_234_567].map(grouped)[..]);
    }
}
