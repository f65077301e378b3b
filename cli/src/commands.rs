//! The commands: from a command line to an exit status.

use crate::args::{self, Command, ReportForm, USAGE, Verify};
use crate::check::Finding;
use crate::report::{Report, measure, svg};
use crate::verify::Request;
use crate::verify::compiler::Compiler;
use crate::verify::crates::Platform;
use crate::verify::project::Project;
use exported_codegen::diag::{Diagnostic, Errors};
use exported_codegen::options::{Options, Target, WeightsForm};
use exported_codegen::{analyze, archive, budget, compile, compile_isolated, inspect, schema};
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// All well.
const FINE: u8 = 0;
/// An archive is refused or did not pass.
const REFUSED: u8 = 1;
/// The command line is wrong.
const USAGE_FAULT: u8 = 2;

/// Stack of the thread that compiles: expressions of a hostile archive may nest.
const STACK: usize = 256 << 20;

/// Runs a command line (without the program's name); the result is the exit status.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let command = match args::parse(arguments) {
        Ok(command) => command,
        Err(fault) => {
            eprintln!("error: {fault}\n\n{USAGE}");
            return USAGE_FAULT;
        }
    };
    let worker = thread::Builder::new().stack_size(STACK).spawn(move || execute(command));
    match worker.map(thread::JoinHandle::join) {
        Ok(Ok(status)) => status,
        // The panic's own message is on stderr.
        Ok(Err(_)) => 101,
        Err(fault) => {
            eprintln!("error: no thread can be started: {fault}");
            101
        }
    }
}

fn execute(command: Command) -> u8 {
    match command {
        Command::Help => print(USAGE),
        Command::Version => print(concat!("cargo-exported ", env!("CARGO_PKG_VERSION"), "\n")),
        Command::Check { files, json, options } => check(&files, json, &options),
        Command::Report { file, form, svg, options } => report(&file, form, svg.as_deref(), &options),
        Command::Inspect { file, python } => inspect(&file, python),
        Command::Emit { file, output, options } => emit(&file, output.as_deref(), &options),
        Command::Verify(request) => verify(&request),
    }
}

fn check(files: &[PathBuf], json: bool, options: &Options) -> u8 {
    let mut findings = Vec::new();
    for file in files {
        let result = read(file).and_then(|bytes| compile_isolated(bytes, args::named(options, file)));
        let finding = Finding::new(file.display().to_string(), &result);
        if !finding.compiles {
            eprintln!("{finding}");
        } else if !json {
            print(&format!("{finding}\n"));
        }
        findings.push(finding);
    }
    if json {
        print(&serde_json::to_string_pretty(&findings).map(|text| text + "\n").unwrap_or_default());
    }
    if findings.iter().all(|finding| finding.compiles) { FINE } else { REFUSED }
}

fn report(file: &Path, form: ReportForm, picture: Option<&Path>, options: &Options) -> u8 {
    let options = args::named(options, file);
    let model = match read(file).and_then(|bytes| analyze(&bytes, &options)) {
        Ok(model) => model,
        Err(errors) => return refuse(file, errors),
    };
    let mut report = Report::new(&model, &options);
    match measure(file, &options, &|progress| eprintln!("{progress}")) {
        Ok(deviation) => report.deviation = deviation,
        Err(why) => eprintln!("note: the deviation from PyTorch's integers is not measured: {why}"),
    }
    print(&match form {
        ReportForm::Json => report.json().unwrap_or_default() + "\n",
        ReportForm::Layers => report.to_string(),
        ReportForm::Modules => report.by_module().to_string(),
    });
    if let Some(path) = picture
        && let Err(fault) = fs::write(path, svg(&report))
    {
        return fail(&format!("{}: {fault}", path.display()));
    }
    budget::check(&model, &options).map_or_else(|errors| refuse(file, errors), |()| FINE)
}

fn emit(file: &Path, output: Option<&Path>, options: &Options) -> u8 {
    let options = args::named(options, file);
    let weights = match output {
        Some(path) => path.with_extension("weights"),
        None => PathBuf::from(format!("{}.weights", options.name)),
    };
    let name = weights.file_name().unwrap_or_default().to_string_lossy();
    let form = WeightsForm::Include(format!("{name:?}"));
    let generated = read(file).and_then(|bytes| {
        let output = compile(&bytes, &options)?;
        Ok((output.file(&form)?, output.weights))
    });
    let (code, bytes) = match generated {
        Ok(generated) => generated,
        Err(errors) => return refuse(file, errors),
    };
    let Some(path) = output else {
        if !bytes.is_empty() {
            eprintln!("note: -o FILE also writes the {} bytes of weights that the code includes", bytes.len());
        }
        return print(&code);
    };
    let written =
        fs::write(path, code).and_then(|()| if bytes.is_empty() { Ok(()) } else { fs::write(&weights, bytes) });
    match written {
        Ok(()) => FINE,
        Err(fault) => fail(&format!("{}: {fault}", path.display())),
    }
}

fn inspect(file: &Path, python: bool) -> u8 {
    let text = read(file).and_then(|bytes| {
        let archive = archive::read(&bytes, &archive::Limits::default())?;
        let program = schema::parse(&archive.program)?;
        let beside = if python { String::new() } else { format!("\n{}", inspect::archive(&archive, &program)) };
        Ok(inspect::print(&program) + &beside)
    });
    match text {
        Ok(text) => print(&text),
        Err(errors) => refuse(file, errors),
    }
}

fn verify(request: &Verify) -> u8 {
    let archives = match crate::verify::archives(&request.paths) {
        Ok(archives) => archives,
        Err(fault) => {
            eprintln!("error: {fault}");
            return USAGE_FAULT;
        }
    };
    let triple = request.place.target().unwrap_or(env!("HOST"));
    let mut target = Target::new(triple);
    target.cpu = request.place.board().and_then(|board| board.cpu).map(str::to_owned);
    let (quantization, winograd, layers) = (request.quantization, request.winograd, request.layers);
    let (optimize, multiply_add) = (request.optimize, request.multiply_add);
    let compiler = Compiler { target, optimize, multiply_add, quantization, winograd, layers };
    let platform = Platform { place: request.place, release: request.release };
    let limit = Duration::from_secs(request.timeout);
    let what =
        Request { archives, platform, quantization, layers, level: request.level, limit, ops: request.ops.clone() };
    let project = Project::find(request.manifest.as_deref());
    let report = project
        .and_then(|project| crate::verify::verify(&what, &compiler, &project, &|progress| eprintln!("{progress}")));
    let report = match report {
        Ok(report) => report,
        Err(fault) => return fail(&fault),
    };
    print(&format!("{report}\n"));
    if let Some(path) = &request.json {
        let json = report.json().map_err(|e| e.to_string());
        if let Err(fault) = json.and_then(|json| fs::write(path, json).map_err(|e| e.to_string())) {
            return fail(&format!("{}: {fault}", path.display()));
        }
    }
    if report.passed(request.allow_unsupported) { FINE } else { REFUSED }
}

fn fail(fault: &str) -> u8 {
    eprintln!("error: {fault}");
    REFUSED
}

fn read(file: &Path) -> Result<Vec<u8>, Errors> {
    fs::read(file).map_err(|e| Diagnostic::damaged(format!("the file cannot be read: {e}")).into())
}

fn refuse(file: &Path, errors: Errors) -> u8 {
    eprintln!("{}", Finding::new(file.display().to_string(), &Err::<(), _>(errors)));
    REFUSED
}

/// Prints; a reader that closed the pipe has seen enough.
fn print(text: &str) -> u8 {
    let _ = std::io::stdout().write_all(text.as_bytes());
    FINE
}
