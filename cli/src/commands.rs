//! The commands: from a command line to an exit status.

use crate::args::{self, Choices, Command, USAGE};
use crate::check::Finding;
use crate::report::Report;
use exported_codegen::analyze;
use exported_codegen::diag::{Diagnostic, Errors};
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;

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
        Command::Check { files, json, choices } => check(&files, json, &choices),
        Command::Report { file, json, choices } => report(&file, json, &choices),
        _ => USAGE_FAULT,
    }
}

fn check(files: &[PathBuf], json: bool, choices: &Choices) -> u8 {
    let mut findings = Vec::new();
    for file in files {
        let result = read(file).and_then(|bytes| analyze(&bytes, &choices.options(file)));
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

fn report(file: &Path, json: bool, choices: &Choices) -> u8 {
    let options = choices.options(file);
    match read(file).and_then(|bytes| analyze(&bytes, &options)) {
        Ok(model) => {
            let report = Report::new(&options.name, &model);
            print(&if json { report.json().unwrap_or_default() + "\n" } else { report.to_string() })
        }
        Err(errors) => refuse(file, errors),
    }
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
