//! The compiler under verification: the one of this workspace, asked for what the golden file says.

use super::caps::caps;
use super::{Compile, Generated, Source, undefined};
use crate::golden::Golden;
use exported_codegen::diag::Errors;
use exported_codegen::footprint::macs;
use exported_codegen::options::{MultiplyAdd, Optimize, Options, Quantization, Target, WeightsForm, Winograd};
use exported_codegen::passes::cut;
use exported_codegen::{analyze, archive, emit, import, schema};
use std::collections::{BTreeMap, BTreeSet};

/// The stages of `exported_codegen::compile` for one target.
#[derive(Clone, Debug)]
pub struct Compiler {
    /// Where the programs will run.
    pub target: Target,
    /// What to favour.
    pub optimize: Optimize,
    /// How products of f32 are added up on a Cortex-M with an FPU.
    pub multiply_add: Option<MultiplyAdd>,
    /// How quantized graphs are computed.
    pub quantization: Quantization,
    /// Which convolutions are computed by Winograd's method.
    pub winograd: Winograd,
    /// Cut into quantized layers; the golden files are cut alike ([`crate::golden::Golden::layers`]).
    pub layers: bool,
}

impl Compile for Compiler {
    fn compile(&self, source: Source<'_>) -> Result<Generated, Errors> {
        let name = source.path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        let mut options = Options::new(name, self.target.clone());
        options.optimize = self.optimize;
        options.multiply_add = self.multiply_add;
        options.quantization = self.quantization;
        options.winograd = self.winograd;
        options.layers = self.layers;
        options.program = true;
        options.runtime_path = "::exported_runtime".into();
        if let Some(golden) = source.golden {
            options.train_mode = golden.wishes.train_mode;
            options.caps = caps_for(source.bytes, &options, golden);
        }
        let notes = options.caps.iter().map(|(symbol, cap)| {
            format!(
                "`{symbol}` has no upper bound in the archive; capped at {cap}, the largest value that a case binds"
            )
        });
        let mut notes: Vec<String> = notes.collect();
        let undefined = undefined_outputs(source.bytes);
        notes.extend(undefined.iter().map(|output| {
            format!("output {output} is memory that torch leaves as it is: only its dtype and shape are compared")
        }));
        let model = analyze(source.bytes, &options)?;
        let macs = macs(&model.steps, &model.graph.ranges);
        let output = emit::emit(&model, &options)?;
        let code = output.file(&WeightsForm::Include(source.weights.into()))?;
        // Whatever a step does to a tensor of the workspace, it does to each of its bytes, about.
        let work = macs.saturating_add(model.plan.bytes as u64);
        let operators = output.operators.clone();
        let means = if self.layers { cut::means(&model.graph) } else { Default::default() };
        Ok(Generated { code, weights: output.weights, notes, work, operators, means, undefined })
    }
}

fn undefined_outputs(bytes: &[u8]) -> BTreeSet<usize> {
    let program = archive::read(bytes, &archive::Limits::default()).and_then(|archive| schema::parse(&archive.program));
    program.map(|program| undefined::outputs(&program)).unwrap_or_default()
}

/// The caps that make the calls of a golden file possible. None for an archive that cannot be imported: compiling it says
/// why.
fn caps_for(bytes: &[u8], options: &Options, golden: &Golden) -> BTreeMap<String, i64> {
    let graph = archive::read(bytes, &archive::Limits::default()).and_then(|archive| {
        let program = schema::parse(&archive.program)?;
        import::import(&program, &archive, options)
    });
    graph.map(|graph| caps(&graph, golden)).unwrap_or_default()
}
