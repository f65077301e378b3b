//! From a `torch.export` archive to static Rust.
//!
//! The modules are the path of a model: [`archive`] → [`schema`] → [`import`] → [`check`] → [`passes`] → [`lower`] →
//! [`plan`] → [`emit`].
#![forbid(unsafe_code)]

pub mod archive;
pub mod check;
pub mod diag;
pub mod emit;
pub mod import;
pub mod inspect;
pub mod ir;
pub mod lower;
pub mod ops;
pub mod options;
pub mod passes;
pub mod plan;
pub mod schema;
pub mod sym;

pub use options::Options;

use diag::Errors;

/// A model after every stage but the last: what `emit` prints and reports describe.
#[derive(Clone, Debug)]
pub struct Model {
    /// The torch that wrote the archive.
    pub torch_version: String,
    /// The functional program after all passes.
    pub graph: ir::Graph,
    /// How a call begins.
    pub entry: check::Entry,
    /// What is executed.
    pub steps: lower::Steps,
    /// Where it happens.
    pub plan: plan::Plan,
    /// Extra files of the archive, by name.
    pub extra_files: Vec<(String, Vec<u8>)>,
}

/// Runs every stage but the last.
///
/// # Errors
/// All faults of the first stage that has any.
pub fn analyze(bytes: &[u8], options: &Options) -> Result<Model, Errors> {
    let archive = archive::read(bytes, &archive::Limits::default())?;
    let program = schema::parse(&archive.program)?;
    let mut graph = import::import(&program, &archive)?;
    let entry = check::check(&mut graph, options)?;
    passes::run(&mut graph, options)?;
    let steps = lower::lower(&graph, options)?;
    let plan = plan::plan(&steps, &graph.ranges)?;
    let extra_files = archive.extra_files.iter().map(|(name, data)| (name.clone(), data.to_vec())).collect();
    Ok(Model { torch_version: program.torch_version.clone(), graph, entry, steps, plan, extra_files })
}
