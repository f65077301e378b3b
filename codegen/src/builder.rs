//! The build-script route: archives to files in `OUT_DIR`.

use crate::diag::{Diagnostic, Errors, Kind};
use crate::options::{
    Bounds, InputMemory, Io, Layout, MultiplyAdd, Optimize, Options, Quantization, Target, WeightsForm, Winograd,
};
use std::path::{Path, PathBuf};

/// Compiles one model in a `build.rs`, to one readable file and one of weights.
///
/// ```no_run
/// // build.rs
/// exported_codegen::Builder::new("models/kws.pt2").compile();
/// ```
///
/// The crate then includes the file, which needs `exported` (without its feature `macro`) as a dependency:
///
/// ```ignore
/// mod kws {
///     include!(concat!(env!("OUT_DIR"), "/kws.rs"));
/// }
/// ```
///
/// Cargo runs the script again when the archive changes, and an edit of the crate's own code does not.
#[derive(Clone, Debug)]
pub struct Builder {
    path: PathBuf,
    options: Options,
    out_dir: Option<PathBuf>,
}

impl Builder {
    /// For the archive at `path`, relative to the package. The target is the one cargo builds for.
    pub fn new(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref().to_path_buf();
        let name = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        let (triple, flags) = (variable("TARGET"), variable("CARGO_ENCODED_RUSTFLAGS"));
        let target = Target::from_cargo(&triple, &flags, &variable("CARGO_CFG_TARGET_FEATURE"));
        Builder { path, options: Options::new(name, target), out_dir: None }
    }

    /// Name of the model and of the file (`<name>.rs`), instead of the archive's.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.options.name = name.into();
        self
    }

    /// Inputs and outputs as the program has them (the default), or the integers behind them.
    #[must_use]
    pub fn io(mut self, io: Io) -> Self {
        self.options.io = io;
        self
    }

    /// How quantized graphs are computed: on integers (the default), or as PyTorch does.
    #[must_use]
    pub fn quantization(mut self, quantization: Quantization) -> Self {
        self.options.quantization = quantization;
        self
    }

    /// Which convolutions are computed by Winograd's method, whose weights are larger: those that gain, on hosts.
    #[must_use]
    pub fn winograd(mut self, winograd: Winograd) -> Self {
        self.options.winograd = winograd;
        self
    }

    /// What to favour.
    #[must_use]
    pub fn optimize(mut self, optimize: Optimize) -> Self {
        self.options.optimize = optimize;
        self
    }

    /// Where the inputs of a call stand: with the caller, unless said otherwise.
    #[must_use]
    pub fn inputs(mut self, inputs: InputMemory) -> Self {
        self.options.inputs = inputs;
        self
    }

    /// How products of f32 are added up on a Cortex-M with an FPU, instead of as the core that `-Ctarget-cpu` names has it
    /// fastest.
    #[must_use]
    pub fn multiply_add(mut self, multiply_add: MultiplyAdd) -> Self {
        self.options.multiply_add = Some(multiply_add);
        self
    }

    /// An upper bound of a dim that the archive leaves unbounded, by symbol (`s77`) or place (`x.0`).
    #[must_use]
    pub fn cap(mut self, dim: impl Into<String>, max: i64) -> Self {
        self.options.caps.insert(dim.into(), max);
        self
    }

    /// Which lower bounds of dims are enforced: PyTorch's own choice, unless said otherwise.
    #[must_use]
    pub fn bounds(mut self, bounds: Bounds) -> Self {
        self.options.bounds = bounds;
        self
    }

    /// Most rounds that a `while_loop` may take: a call that needs more fails, and firmware never hangs.
    #[must_use]
    pub fn max_rounds(mut self, rounds: u32) -> Self {
        self.options.max_rounds = Some(rounds.into());
        self
    }

    /// Batch normalization in training mode takes the statistics of the batch and updates the running ones, which are
    /// state, instead of being refused.
    #[must_use]
    pub fn train_mode(mut self, on: bool) -> Self {
        self.options.train_mode = on;
        self
    }

    /// The caller's memory order of an input.
    #[must_use]
    pub fn layout(mut self, input: impl Into<String>, layout: Layout) -> Self {
        self.options.layouts.insert(input.into(), layout);
        self
    }

    /// Names of the outputs, in order.
    #[must_use]
    pub fn outputs<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.options.output_names = names.into_iter().map(Into::into).enumerate().collect();
        self
    }

    /// Fails above this many bytes of workspace and state.
    #[must_use]
    pub fn ram(mut self, bytes: u64) -> Self {
        self.options.ram = Some(bytes);
        self
    }

    /// Fails above this many bytes of weights, padding and initial state; code comes on top.
    #[must_use]
    pub fn flash(mut self, bytes: u64) -> Self {
        self.options.flash = Some(bytes);
        self
    }

    /// Link section of the weights. The module must then allow `unsafe_code`: a section is a promise to the linker.
    #[must_use]
    pub fn weights_section(mut self, section: impl Into<String>) -> Self {
        self.options.weights_section = Some(section.into());
        self
    }

    /// Not the program but one module of it, by its path (`encoder`): the archive must have been exported with
    /// `preserve_module_call_signature=("encoder",)`.
    #[must_use]
    pub fn module(mut self, path: impl Into<String>) -> Self {
        self.options.module = Some(path.into());
        self
    }

    /// Of this custom operator (`fixtures::scaled_relu`) only the results matter: calls whose results nobody needs are left
    /// out.
    #[must_use]
    pub fn pure_operator(mut self, name: impl Into<String>) -> Self {
        self.options.pure_operators.push(name.into());
        self
    }

    /// An extra file of the archive as a constant.
    #[must_use]
    pub fn extra_file(mut self, name: impl Into<String>) -> Self {
        self.options.extra_files.push(name.into());
        self
    }

    /// Implement `rt::program::Program`, too; needs the feature `program` of `exported`.
    #[must_use]
    pub fn program(mut self, yes: bool) -> Self {
        self.options.program = yes;
        self
    }

    /// Path of the runtime, when `exported` is known by another name: `::other_name::rt`.
    #[must_use]
    pub fn runtime(mut self, path: impl Into<String>) -> Self {
        self.options.runtime_path = path.into();
        self
    }

    /// Where the code will run, instead of where cargo builds for.
    #[must_use]
    pub fn target(mut self, target: Target) -> Self {
        self.options.target = target;
        self
    }

    /// Where to write, instead of `OUT_DIR`.
    #[must_use]
    pub fn out_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.out_dir = Some(directory.into());
        self
    }

    /// Compiles; prints every fault and ends the build script if there are any.
    pub fn compile(self) {
        let path = self.path.clone();
        if let Err(errors) = self.try_compile() {
            eprintln!("cannot compile {}\n\n{errors}\n", path.display());
            std::process::exit(1);
        }
    }

    /// Compiles and gives the path of the file.
    ///
    /// # Errors
    /// All faults of the model, or the file that cannot be read or written.
    pub fn try_compile(self) -> Result<PathBuf, Errors> {
        println!("cargo:rerun-if-changed={}", self.path.display());
        let usage = |message: String| Errors::from(Diagnostic::new(Kind::Usage, message));
        let bytes =
            std::fs::read(&self.path).map_err(|e| usage(format!("cannot read {}: {e}", self.path.display())))?;
        let directory = self.out_dir.or_else(|| std::env::var_os("OUT_DIR").map(PathBuf::from));
        let directory = directory.ok_or_else(|| usage("OUT_DIR is not set: call this from a build script".into()))?;
        let name = self.options.name.clone();
        let output = crate::compile_isolated(bytes, self.options)?;
        let weights = format!("{name}.weights");
        let file = directory.join(format!("{name}.rs"));
        let text = output.file(&WeightsForm::Include(format!("{weights:?}")))?;
        write(&directory.join(&weights), &output.weights).map_err(usage)?;
        write(&file, text.as_bytes()).map_err(usage)?;
        Ok(file)
    }
}

/// Writes unless the file already has this content, so that nothing downstream looks new.
fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    if std::fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    std::fs::write(path, bytes).map_err(|e| format!("cannot write {}: {e}", path.display()))
}
