//! From a `torch.export` archive to static Rust.
//!
//! The modules are the path of a model: [`archive`] → [`schema`] → [`import`] → [`check`] → [`passes`] → [`lower`] →
//! [`plan`] → [`emit`].
#![forbid(unsafe_code)]

pub mod archive;
pub mod budget;
mod builder;
pub mod check;
pub mod diag;
pub mod emit;
pub mod footprint;
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

pub use builder::Builder;
pub use diag::Errors;
pub use emit::Output;
pub use options::Options;

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
    /// Where weights and state stand.
    pub layout: plan::Layout,
    /// Extra files of the archive, by name.
    pub extra_files: Vec<(String, Vec<u8>)>,
}

/// Runs every stage but the last.
///
/// # Errors
/// All faults of the first stage that has any.
pub fn analyze(bytes: &[u8], options: &Options) -> Result<Model, Errors> {
    let archive = archive::read(bytes, &archive::Limits::default())?;
    let mut program = schema::parse(&archive.program)?;
    if let Some(module) = &options.module {
        program = schema::submodule(&program, module)?;
    }
    let mut graph = import::import(&program, &archive, options)?;
    if options.io == options::Io::Quantized {
        passes::io::run(&mut graph)?;
    }
    if options.layers {
        passes::cut::run(&mut graph);
    }
    let entry = check::check(&mut graph, options)?;
    passes::run(&mut graph, options)?;
    let steps = lower::lower(&graph, options)?;
    let plan = plan::plan(&steps, &graph.ranges, options.target.alignment())?;
    let layout = plan::Layout::new(&steps, &graph)?;
    let extra_files = archive.extra_files.iter().map(|(name, data)| (name.clone(), data.to_vec())).collect();
    Ok(Model { torch_version: program.torch_version.clone(), graph, entry, steps, plan, layout, extra_files })
}

/// Archive in, Rust out.
///
/// # Errors
/// All faults of the first stage that has any.
pub fn compile(bytes: &[u8], options: &Options) -> Result<Output, Errors> {
    let model = analyze(bytes, options)?;
    budget::check(&model, options)?;
    emit::emit(&model, options)
}

/// [`compile`] on a thread of its own: a deeply nested archive or a fault of ours ends in a diagnostic, not in an overflow
/// of the caller's stack or a panic.
///
/// # Errors
/// As [`compile`].
pub fn compile_isolated(bytes: Vec<u8>, options: Options) -> Result<Output, Errors> {
    const STACK: usize = 64 << 20;
    let work = move || compile(&bytes, &options);
    let bug = |text: &str| Errors::from(diag::Diagnostic::bug(text));
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(work);
    match thread.map_err(|e| bug(&format!("cannot start a thread: {e}")))?.join() {
        Ok(result) => result,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            Err(bug(text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panic without a message")))
        }
    }
}
