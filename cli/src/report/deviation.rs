//! How far a quantized model is from PyTorch: measured, by running its layers on the integers of the golden cases.

use crate::boards::Place;
use crate::golden::{self, Golden};
use crate::verify::compiler::Compiler;
use crate::verify::crates::Platform;
use crate::verify::layers::Deviation;
use crate::verify::project::Project;
use crate::verify::{Request, verify};
use exported_codegen::Options;
use exported_codegen::options::{Target, Winograd};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Time that all cases may take.
const LIMIT: Duration = Duration::from_secs(120);

/// Runs each quantized layer by itself on this machine, whose integers are those of every target. `None` where the golden file
/// beside the archive has no integers of the layers, or there is none. `progress` hears of work that takes a while.
///
/// # Errors
/// Why the layers cannot be run.
pub fn measure(file: &Path, options: &Options, progress: &(dyn Fn(&str) + Sync)) -> Result<Option<Deviation>, String> {
    let golden = fs::read(golden::path_for(file)).ok().map(|bytes| Golden::read(&bytes)).transpose()?;
    let integers = golden.is_some_and(|golden| golden.cases.iter().any(|case| !case.nodes.is_empty()));
    if !integers || options.module.is_some() {
        return Ok(None);
    }
    let compiler = Compiler {
        target: Target::new(env!("HOST")),
        optimize: options.optimize,
        multiply_add: None,
        quantization: options.quantization,
        winograd: Winograd::default(),
        layers: true,
    };
    let request = Request {
        archives: vec![file.to_path_buf()],
        platform: Platform { place: Place::Host, release: false },
        quantization: options.quantization,
        layers: true,
        level: 0,
        limit: LIMIT,
        ops: None,
    };
    let report = verify(&request, &compiler, &Project::find(None)?, progress)?;
    let entry = report.archives.into_iter().next();
    entry
        .and_then(|entry| entry.deviation)
        .map(Some)
        .ok_or_else(|| "the layers do not run; `verify --layers` says why".into())
}
