//! `cargo exported report`: what a model costs, layer by layer and module by module, and where its memory goes.
//!
//! With dynamic dims every number holds for the largest call.

mod deviation;
mod estimate;
mod modules;
mod svg;
mod text;

pub use deviation::measure;
pub use modules::Module;
pub use svg::svg;

use crate::verify::layers::Deviation;
use exported_codegen::footprint::{Footprint, first_reads, greatest, macs};
use exported_codegen::lower::{Place, Step};
use exported_codegen::{Model, Options};
use serde::Serialize;

/// What a model costs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Name of the model.
    pub model: String,
    /// The torch that exported it.
    pub torch: String,
    /// Where it will run.
    pub target: String,
    /// In execution order.
    pub layers: Vec<Layer>,
    /// The modules that layers belong to, each with what it contains, in the order of their first layers.
    pub modules: Vec<Module>,
    /// Sums.
    pub totals: Totals,
    /// Bytes by what they are for.
    pub footprint: Footprint,
    /// Planned buffers, by offset.
    pub memory: Vec<Planned>,
    /// How far the layers of a quantized model are from PyTorch's in the golden cases, if [`measure`]d.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deviation: Option<Deviation>,
    /// What the shares of time rest on.
    pub time_rests_on: &'static str,
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
    /// `file.py:42`, where the model's author wrote it.
    pub source: Option<String>,
    /// The text of that line.
    pub code: Option<String>,
    /// Nodes of the archive that it computes.
    pub nodes: Vec<String>,
    /// Type of its last result, as `f32[1, 10]`.
    pub output: String,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Bytes of weights that it is the first to read.
    pub parameter_bytes: u64,
    /// Estimated share of a call's time, 0 to 1.
    pub time_share: f64,
}

/// Sums over a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Totals {
    /// Multiply-accumulates of a call.
    pub macs: u64,
    /// Bytes of flash without code: weights, padding, initial state.
    pub flash_bytes: u64,
    /// Bytes of RAM without the caller's tensors and the stack: workspace and state.
    pub ram_bytes: u64,
    /// By how many bytes Winograd's method made the weights more.
    pub winograd_bytes: u64,
    /// The least workspace that any plan of these steps needs: the greatest sum of buffers alive at one time.
    pub workspace_lower_bound: u64,
    /// The layer during which that sum is alive.
    pub peak_layer: String,
    /// Its index; the number of layers for the outputs.
    pub peak_index: usize,
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
    pub fn new(model: &Model, options: &Options) -> Report {
        let steps = &model.steps.steps;
        let footprint = Footprint::new(model);
        let work: Vec<f64> = steps.iter().map(|step| estimate::work(step, model, &footprint, options)).collect();
        let all: f64 = work.iter().sum();
        let layers: Vec<Layer> = steps
            .iter()
            .zip(first_reads(&model.steps))
            .zip(work)
            .map(|((step, weights), work)| layer(step, model, &weights, if all > 0.0 { work / all } else { 0.0 }))
            .collect();
        let peak = model.plan.peak_step;
        let totals = Totals {
            macs: macs(&model.steps, &model.graph.ranges),
            flash_bytes: footprint.flash(),
            ram_bytes: footprint.ram(),
            winograd_bytes: model.steps.buffers.iter().map(|buffer| buffer.growth as u64).sum(),
            workspace_lower_bound: model.plan.lower_bound as u64,
            peak_layer: layers.get(peak).map_or_else(|| "the outputs".into(), |l| l.name.clone()),
            peak_index: peak,
        };
        Report {
            model: options.name.clone(),
            torch: model.torch_version.clone(),
            target: options.target.triple.clone(),
            modules: modules::modules(&layers),
            layers,
            totals,
            footprint,
            memory: memory(model),
            deviation: None,
            time_rests_on: estimate::rests_on(options),
        }
    }

    /// The report as JSON.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }
}

fn layer(step: &Step, model: &Model, weights: &[usize], time_share: f64) -> Layer {
    let bytes = |index: &usize| model.plan.sizes.get(*index).map_or(0, |bytes| *bytes as u64);
    Layer {
        name: step.name.clone(),
        operator: step.origin.target.clone(),
        module: step.origin.module.clone(),
        source: step.origin.source.clone(),
        code: step.origin.code.clone(),
        nodes: step.nodes.clone(),
        output: step.results.last().map(|(_, place)| type_of(place)).unwrap_or_default(),
        macs: greatest(&step.macs, &model.graph.ranges),
        parameter_bytes: weights.iter().map(bytes).sum(),
        time_share,
    }
}

fn type_of(place: &Place) -> String {
    let sizes: Vec<String> = place.shape.iter().map(ToString::to_string).collect();
    format!("{}[{}]", place.dtype.name(), sizes.join(", "))
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
