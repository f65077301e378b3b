//! Runs verification programs: each model in a process of its own, with a time limit.

use super::crates::Platform;
use super::wire::{self, Answers};
use crate::boards::Place;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How a program ended, and all it wrote until then.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What it answered.
    pub answers: Answers,
    /// Why it did not end well.
    pub failure: Option<String>,
}

/// Runs `program` on a job for the model with this number, in an own folder below `folder`, for at most `limit`.
///
/// # Errors
/// When files cannot be written or the program, or the emulator, cannot be started.
pub fn run(
    platform: Platform,
    program: &Path,
    number: usize,
    job: &[u8],
    folder: &Path,
    limit: Duration,
) -> Result<Outcome, String> {
    let folder = folder.join(format!("run_{number}"));
    let io = |e: std::io::Error| format!("{}: {e}", folder.display());
    fs::create_dir_all(&folder).map_err(io)?;
    let (job_path, result_path, log_path) = (folder.join("job.in"), folder.join("job.out"), folder.join("log"));
    let _ = fs::remove_file(&result_path);
    let mut command = match platform.place {
        Place::Board(board) => {
            let numbered = [&(number as u32).to_le_bytes()[..], job].concat();
            fs::write(&job_path, numbered).map_err(io)?;
            board.emulate(program, &folder)
        }
        Place::Host | Place::Foreign(_) => {
            fs::write(&job_path, job).map_err(io)?;
            let mut command = started(platform.place, program);
            command.arg(number.to_string()).arg(&job_path).arg(&result_path);
            command
        }
    };
    let log = fs::File::create(&log_path).map_err(io)?;
    let also = log.try_clone().map_err(io)?;
    command.env("RUST_BACKTRACE", "0");
    let child = command.stdin(Stdio::null()).stdout(also).stderr(log).spawn();
    let child = child.map_err(|e| {
        let from = platform.place.emulator().map(|(_, package)| format!(" (Debian has it in the package `{package}`)"));
        format!("{} cannot be started: {e}{}", command.get_program().display(), from.unwrap_or_default())
    })?;
    let status = wait(child, limit).map_err(io)?;
    let answers = wire::answers(&fs::read(&result_path).unwrap_or_default());
    let log = fs::read(&log_path).unwrap_or_default();
    let failure = match status {
        Some(status) if status.success() => None,
        Some(status) => Some(format!("the program ended with {status}: {}", tail(&log))),
        None => Some(format!("the program did not end within {} s", limit.as_secs())),
    };
    let _ = fs::remove_dir_all(&folder);
    Ok(Outcome { answers, failure })
}

/// The program as a process, here or in an emulator.
fn started(place: Place, program: &Path) -> Command {
    let Place::Foreign(foreign) = place else { return Command::new(program) };
    let mut command = Command::new(foreign.emulator);
    command.arg(program);
    command
}

fn wait(mut child: Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// The last lines of what a program printed.
fn tail(log: &[u8]) -> String {
    let text = String::from_utf8_lossy(log);
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("note: run with")).collect();
    lines[lines.len().saturating_sub(8)..].join("\n").trim().to_owned()
}
