//! Builds the verification programs, and finds out which models do not compile.
//!
//! A program that fails names its culprits in rustc's messages; they are taken out and the rest is built again. Without a
//! name (rustc itself died, the linker ran out of flash) the program is halved until one model is left.

use super::crates::{Batch, Platform, Unit};
use super::project::{Project, cargo};
use crate::boards::Place;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What became of each unit, by its index.
#[derive(Clone, Debug, Default)]
pub struct Built {
    /// The program that holds it.
    pub programs: BTreeMap<usize, PathBuf>,
    /// Why its code does not compile.
    pub failures: BTreeMap<usize, String>,
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    target: Target,
    executable: Option<PathBuf>,
    message: Option<Rustc>,
}

#[derive(Deserialize, Default)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Rustc {
    level: String,
    #[serde(default)]
    rendered: Option<String>,
}

/// One run of cargo.
#[derive(Default)]
struct Round {
    programs: BTreeMap<String, PathBuf>,
    errors: BTreeMap<String, Vec<String>>,
    stderr: String,
}

/// Builds everything that can be built.
///
/// # Errors
/// When cargo cannot be run, files cannot be written, or something other than a model does not compile.
pub fn build(project: &Project, platform: Platform, units: &[Unit], batches: Vec<Batch>) -> Result<Built, String> {
    let mut built = Built::default();
    let mut next = batches.len();
    let mut pending = batches;
    while !pending.is_empty() {
        platform.write(project, &pending, units).map_err(|e| format!("the programs cannot be written: {e}"))?;
        let round = run(project, platform)?;
        let failed: Vec<Batch> = std::mem::take(&mut pending)
            .into_iter()
            .filter(|batch| match round.programs.get(&batch.name) {
                Some(program) => {
                    built.programs.extend(batch.units.iter().map(|unit| (*unit, program.clone())));
                    false
                }
                None => true,
            })
            .collect();
        if !failed.is_empty() && failed.iter().all(|b| !round.errors.contains_key(&b.name)) && round.is_elsewhere() {
            return Err(format!("the verification programs cannot be built:\n{}", round.stderr.trim_end()));
        }
        for batch in failed {
            for part in split(&batch, units, &round, &mut built.failures) {
                pending.push(Batch { name: format!("batch_{next}"), units: part, heavy: batch.heavy });
                next += 1;
            }
        }
    }
    Ok(built)
}

/// What to try next for a program that failed; blames the models that it can.
fn split(batch: &Batch, units: &[Unit], round: &Round, failures: &mut BTreeMap<usize, String>) -> Vec<Vec<usize>> {
    let errors = round.errors.get(&batch.name).map_or(&[][..], Vec::as_slice);
    let mut rest = Vec::new();
    for &index in &batch.units {
        let name = units.get(index).map(|unit| super::crates::module(unit.number)).unwrap_or_default();
        match errors.iter().find(|text| names(text, &name)) {
            Some(text) => drop(failures.insert(index, text.clone())),
            None => rest.push(index),
        }
    }
    if rest.len() < batch.units.len() {
        return if rest.is_empty() { Vec::new() } else { vec![rest] };
    }
    if let [index] = rest[..] {
        let text = errors.first().cloned().unwrap_or_else(|| round.stderr.clone());
        failures.insert(index, text);
        return Vec::new();
    }
    let half = rest.split_off(rest.len() / 2);
    vec![rest, half]
}

/// Whether a message names this module or its file.
fn names(text: &str, module: &str) -> bool {
    text.match_indices(module).any(|(at, _)| {
        let after = text.get(at + module.len()..).unwrap_or_default();
        [".rs", "::", super::crates::OPS].iter().any(|next| after.starts_with(next))
    })
}

impl Round {
    /// Whether the failure lies outside the programs: no network for a dependency, no such target, a broken runtime.
    fn is_elsewhere(&self) -> bool {
        !self.stderr.contains("could not compile `batch_")
    }
}

fn run(project: &Project, platform: Platform) -> Result<Round, String> {
    let round = run_once(command(project, platform).arg("--offline"))?;
    // Offline is right wherever the lock file and the registry's cache allow it.
    let unresolved = round.programs.is_empty() && round.errors.is_empty() && round.is_elsewhere();
    if unresolved { run_once(&mut command(project, platform)) } else { Ok(round) }
}

fn command(project: &Project, platform: Platform) -> Command {
    let folder = platform.folder(project);
    let mut command = cargo();
    command.args(["build", "--workspace", "--keep-going", "--quiet", "--message-format", "json"]);
    // Programs of all platforms share one target folder.
    command.env("CARGO_TARGET_DIR", project.folder.join("target"));
    if platform.release {
        command.arg("--release");
    }
    if let Some(target) = platform.place.target() {
        let setting = |name| format!("CARGO_TARGET_{}_{name}", target.to_uppercase().replace(['-', '.'], "_"));
        command.args(["--target", target]).env_remove("RUSTFLAGS");
        match platform.place {
            Place::Board(board) => {
                let cpu = board.cpu.map(|cpu| format!(" -Ctarget-cpu={cpu}")).unwrap_or_default();
                let flags = format!("-Clink-arg=-Tboard.x{cpu}");
                command.env(setting("RUSTFLAGS"), flags).env("EXPORTED_BOARD", board.memory)
            }
            // The target brings its C library along, so no C toolchain is needed.
            _ => command.env(setting("LINKER"), "rust-lld"),
        };
    }
    command.arg("--manifest-path").arg(folder.join("Cargo.toml")).stdin(Stdio::null());
    command
}

fn run_once(command: &mut Command) -> Result<Round, String> {
    let output = command.output().map_err(|e| format!("cargo cannot be run: {e}"))?;
    let mut round = Round { stderr: String::from_utf8_lossy(&output.stderr).into_owned(), ..Round::default() };
    for message in output.stdout.split(|b| *b == b'\n').filter_map(|l| serde_json::from_slice::<Message>(l).ok()) {
        match (message.reason.as_str(), message.executable, message.message) {
            ("compiler-artifact", Some(program), _) => {
                round.programs.insert(message.target.name, program);
            }
            ("compiler-message", _, Some(rustc)) if rustc.level.starts_with("error") => {
                round.errors.entry(message.target.name).or_default().extend(rustc.rendered);
            }
            _ => {}
        }
    }
    Ok(round)
}
