//! `cargo exported verify`: proves that archives compile to programs that give PyTorch's numbers.
//!
//! Takes archives with golden files beside them; gives a [`Report`]. Each archive is compiled, the generated code is built
//! into verification programs ([`crates`], [`build`]), every case and reject runs through the flat door of the runtime in
//! a process of its own ([`run`]), and what comes back is judged ([`verdict`]). The compiler is a parameter, so that the
//! judge itself can be tested against code that is known to be wrong.

pub mod build;
pub mod caps;
pub mod compiler;
pub mod crates;
mod find;
pub mod layers;
pub mod project;
pub mod report;
pub mod run;
mod undefined;
pub mod verdict;
pub mod wire;
mod words;

pub use find::archives;
pub use report::{Entry, Report};

use crate::golden::{self, Golden};
use crates::{Platform, Unit};
use exported_codegen::diag::{Diagnostic, Errors, Kind};
use exported_codegen::options::Quantization;
use layers::Deviation;
use project::Project;
use run::Outcome;
use std::any::Any;
use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;
use verdict::{Reason, Status, Verdict};

/// What to verify, and how.
#[derive(Clone, Debug)]
pub struct Request {
    /// The archives.
    pub archives: Vec<PathBuf>,
    /// Where the programs run.
    pub platform: Platform,
    /// How the compiler computes quantized graphs: their outputs may differ more when it does so on integers.
    pub quantization: Quantization,
    /// The compiler cuts programs into quantized layers.
    pub layers: bool,
    /// Code of the instruction set level (see `harness/job.rs`): 0 is the best that the machine has.
    pub level: u32,
    /// Time that all calls of one model may take.
    pub limit: Duration,
    /// Rust file that implements custom operators, for archives without a `<name>.ops.rs` beside them: a type `Ops` with
    /// a `Default`, implementing the traits of `super::ops`.
    pub ops: Option<PathBuf>,
}

/// An archive on its way into the compiler.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Its path.
    pub path: &'a Path,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Its golden file, if there is a usable one.
    pub golden: Option<&'a Golden>,
    /// Text of the `include_bytes!` by which the code reaches its weights.
    pub weights: &'a str,
}

/// What a compiler gives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Generated {
    /// The code: items `Model` (with `new()`, implementing `Program`) and `SIGNATURE`, standing on `::exported_runtime`.
    pub code: String,
    /// What it includes.
    pub weights: Vec<u8>,
    /// What a reader of the report must know.
    pub notes: Vec<String>,
    /// Elementary operations of a call, roughly.
    pub work: u64,
    /// Names of the custom operators that the code calls.
    pub operators: Vec<String>,
    /// Of a program cut into layers, the numbers of those that are means.
    pub means: BTreeSet<usize>,
    /// Numbers of the outputs whose contents torch leaves undefined.
    pub undefined: BTreeSet<usize>,
}

/// A compiler.
pub trait Compile: Sync {
    /// Compiles one archive.
    ///
    /// # Errors
    /// All its faults.
    fn compile(&self, source: Source<'_>) -> Result<Generated, Errors>;
}

/// Stack of the threads that compile; expressions of a hostile archive may nest.
const STACK: usize = 256 << 20;

/// Verifies; messages about progress go to `progress`.
///
/// # Errors
/// When verification itself cannot work: no cargo, no place to write, a runtime that does not build.
pub fn verify(
    request: &Request,
    compiler: &dyn Compile,
    project: &Project,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<Report, String> {
    let _lock = lock(project)?;
    progress(&format!("compiling {} archives", request.archives.len()));
    let numbered: Vec<(usize, &PathBuf)> = request.archives.iter().enumerate().collect();
    let mut subjects = in_parallel(&numbered, |(number, path)| Subject::compiled(*number, path, request, compiler));
    let units: Vec<Unit> = subjects.iter_mut().filter_map(|subject| subject.unit.take()).collect();
    let batches = crates::batches(&units, request.platform);
    progress(&format!("building {} models in {} programs", units.len(), batches.len()));
    let built = build::build(project, request.platform, &units, batches)?;
    for (index, message) in &built.failures {
        let subject = units.get(*index).and_then(|unit| subjects.get_mut(unit.number));
        if let Some(subject) = subject {
            subject.settle(build_failure(message));
        }
    }
    let jobs: Vec<(&Subject, &PathBuf)> = built
        .programs
        .iter()
        .filter_map(|(index, program)| Some((subjects.get(units.get(*index)?.number)?, program)))
        .collect();
    progress(&format!("running {} models", jobs.len()));
    let folder = request.platform.folder(project);
    let outcomes = in_parallel(&jobs, |(subject, program)| (subject.number, subject.run(request, program, &folder)));
    for (number, outcome) in outcomes {
        if let Some(subject) = subjects.get_mut(number) {
            subject.judge(&outcome?, request.platform);
        }
    }
    Ok(Report { archives: subjects.into_iter().map(Subject::entry).collect() })
}

/// Two verifications in one folder would overwrite each other's programs; the second one waits.
fn lock(project: &Project) -> Result<fs::File, String> {
    let path = project.folder.join(".lock");
    let locked = fs::create_dir_all(&project.folder).and_then(|()| fs::File::create(&path)).and_then(|file| {
        file.lock()?;
        Ok(file)
    });
    locked.map_err(|e| format!("{}: {e}", path.display()))
}

/// One archive under verification.
struct Subject {
    number: usize,
    path: String,
    golden: Option<Golden>,
    unit: Option<Unit>,
    notes: Vec<String>,
    means: BTreeSet<usize>,
    deviation: Option<Deviation>,
    undefined: BTreeSet<usize>,
    verdict: Option<Verdict>,
}

impl Subject {
    fn compiled(number: usize, path: &Path, request: &Request, compiler: &dyn Compile) -> Subject {
        let mut subject = Subject {
            number,
            path: path.display().to_string(),
            golden: None,
            unit: None,
            notes: vec![],
            means: BTreeSet::new(),
            deviation: None,
            undefined: BTreeSet::new(),
            verdict: None,
        };
        let golden = read_golden(path).map(|golden| match (request.layers, request.quantization) {
            (true, _) => golden.layers(),
            (false, Quantization::Fused) => golden.fused(),
            (false, Quantization::Faithful) => golden,
        });
        subject.golden = golden.as_ref().ok().cloned();
        let weights = format!("{:?}", crates::weights_file(number));
        match compile(path, subject.golden.as_ref(), &weights, compiler) {
            Err(errors) => subject.settle(said_no(&errors, subject.golden.as_ref())),
            Ok(generated) => match golden {
                Err(message) => subject.settle(verdict(Status::NoGolden, message)),
                Ok(golden) => match implementation(path, &generated, request) {
                    Err(verdict) => subject.settle(verdict),
                    Ok(ops) => {
                        subject.notes = generated.notes.clone();
                        subject.means = generated.means.clone();
                        subject.undefined = generated.undefined.clone();
                        subject.unit = Some(unit(number, generated, ops, &golden));
                    }
                },
            },
        }
        subject
    }

    fn run(&self, request: &Request, program: &Path, folder: &Path) -> Result<Outcome, String> {
        let calls = self.golden.as_ref().map(verdict::calls).unwrap_or_default();
        let job = wire::job(request.level, &calls);
        run::run(request.platform, program, self.number, &job, folder, request.limit)
    }

    fn judge(&mut self, outcome: &Outcome, platform: Platform) {
        let Some(golden) = &self.golden else { return };
        let costs = outcome.answers.costs.iter().take(golden.cases.len());
        let greatest = |of: fn(&wire::Cost) -> u64| costs.clone().map(of).max();
        let board = platform.place.board();
        if let (Some(ticks), Some(stack), Some(board)) = (greatest(|c| c.ticks), greatest(|c| c.stack), board) {
            let instructions = board.instructions(ticks);
            self.notes.push(format!("at most {instructions} instructions and {stack} bytes of stack in a call"));
        }
        let mut verdict = verdict::judge(golden, outcome, &self.undefined);
        if golden.tolerance.quanta > 0.0 {
            let layers = layers::deviations(golden, outcome, &self.means);
            self.deviation = Some(Deviation::of(&layers));
            layers::judge(&layers, &mut verdict);
        }
        self.verdict = Some(verdict);
    }

    fn settle(&mut self, verdict: Verdict) {
        self.verdict = Some(verdict);
    }

    fn entry(self) -> Entry {
        let verdict = self.verdict.unwrap_or_else(|| verdict(Status::Bug, "was neither built nor refused"));
        Entry {
            path: self.path,
            status: verdict.status,
            cases: self.golden.as_ref().map_or(0, |golden| golden.cases.len()),
            rejects: self.golden.as_ref().map_or(0, |golden| golden.rejects.len()),
            worst: verdict.worst,
            reasons: verdict.reasons,
            deviation: self.deviation,
            notes: self.notes,
        }
    }
}

/// The golden file beside an archive.
fn read_golden(archive: &Path) -> Result<Golden, String> {
    let path = golden::path_for(archive);
    let bytes = fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let golden = Golden::read(&bytes).map_err(|e| format!("{}: {e}", path.display()))?;
    if golden.cases.is_empty() && golden.rejects.is_empty() {
        return Err(format!("{}: holds no case", path.display()));
    }
    Ok(golden)
}

fn compile(path: &Path, golden: Option<&Golden>, weights: &str, compiler: &dyn Compile) -> Result<Generated, Errors> {
    let bytes = fs::read(path).map_err(|e| Diagnostic::damaged(format!("the file cannot be read: {e}")))?;
    let source = Source { path, bytes: &bytes, golden, weights };
    let result = catch_unwind(AssertUnwindSafe(|| compiler.compile(source)));
    result.unwrap_or_else(|panic| Err(Diagnostic::bug(format!("the compiler panicked: {}", words(&*panic))).into()))
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// The user's code for the custom operators of a model, if it has any.
fn implementation(archive: &Path, generated: &Generated, request: &Request) -> Result<Option<String>, Verdict> {
    if generated.operators.is_empty() {
        return Ok(None);
    }
    let beside = archive.with_extension("ops.rs");
    let Some(path) = Some(beside.clone()).filter(|path| path.exists()).or_else(|| request.ops.clone()) else {
        let (names, beside) = (generated.operators.join("`, `"), beside.display());
        let message = format!("no Rust for the custom operators `{names}`: give it by `--ops FILE`, or as {beside}");
        return Err(verdict(Status::Unsupported, message));
    };
    let text = fs::read_to_string(&path);
    text.map(Some).map_err(|e| verdict(Status::Unsupported, format!("{}: {e}", path.display())))
}

fn unit(number: usize, generated: Generated, ops: Option<String>, golden: &Golden) -> Unit {
    let calls = verdict::calls(golden);
    let inputs = calls.iter().map(|call| call.inputs.len());
    let outputs = golden.cases.iter().map(|case| case.outputs.len() + case.inputs.len());
    Unit {
        number,
        code: generated.code,
        ops,
        weights: generated.weights,
        // The outputs of the program are not known here; a golden file that lists too few must not break the harness.
        ports: inputs.chain(outputs).max().unwrap_or(0) + 8,
        inputs: calls.iter().map(|call| wire::pool_bytes(call.inputs)).max().unwrap_or(0),
        work: generated.work.saturating_mul(calls.len() as u64),
    }
}

/// What the compiler's refusal means. A file that torch runs is not damaged, whatever we think of it.
fn said_no(errors: &Errors, golden: Option<&Golden>) -> Verdict {
    let is_there = |kind| errors.0.iter().any(|diagnostic| diagnostic.kind == kind);
    let status = if is_there(Kind::Bug) || is_there(Kind::Usage) {
        Status::Bug
    } else if is_there(Kind::Unsupported) {
        Status::Unsupported
    } else if is_there(Kind::Damaged) && golden.is_some_and(|golden| !golden.cases.is_empty()) {
        Status::WronglyRefused
    } else {
        Status::Refused
    };
    Verdict { status, worst: None, reasons: errors.0.iter().map(Reason::from).collect() }
}

/// What it means that generated code does not build: it is wrong, or the board too small for it.
fn build_failure(message: &str) -> Verdict {
    if message.contains("overflowed by") || message.contains("will not fit in region") {
        return verdict(Status::Unsupported, format!("the board's memory is too small: {message}"));
    }
    if message.contains(crates::OPS) {
        return verdict(Status::Unsupported, format!("the custom operators do not compile: {message}"));
    }
    verdict(Status::Bug, format!("the generated code does not compile: {message}"))
}

fn verdict(status: Status, message: impl Into<String>) -> Verdict {
    Verdict { status, worst: None, reasons: vec![Reason::new(&status.to_string(), message)] }
}

impl From<&Diagnostic> for Reason {
    fn from(diagnostic: &Diagnostic) -> Reason {
        let origin = diagnostic.origin.as_deref();
        Reason {
            kind: diagnostic.kind.name().into(),
            message: diagnostic.message.clone(),
            node: origin.map(|origin| origin.node.clone()).filter(|node| !node.is_empty()),
            source: origin.and_then(|origin| origin.source.clone()),
        }
    }
}

/// `work` on every item, as many at once as there are processors, results in order.
fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(items.len()));
    let worker = || {
        while let Some((index, item)) = Some(next.fetch_add(1, Relaxed)).and_then(|i| Some((i, items.get(i)?))) {
            let result = work(item);
            // Poisoned only if another worker panicked while it pushed, which `push` does not.
            results.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((index, result));
        }
    };
    let workers = thread::available_parallelism().map_or(1, usize::from).min(items.len());
    thread::scope(|scope| {
        for _ in 0..workers {
            if thread::Builder::new().stack_size(STACK).spawn_scoped(scope, worker).is_err() {
                // No thread to be had: the work is done here.
                worker();
            }
        }
    });
    let mut results = results.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}
