//! Verification program for this machine: `PROGRAM MODEL JOB RESULT`.

use crate::job::{Io, run};
use exported_runtime::Workspace;
use exported_runtime::program::Program;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::process::ExitCode;
use std::time::Instant;

struct Files {
    job: BufReader<File>,
    result: BufWriter<File>,
    start: Instant,
}

impl Io for Files {
    fn read(&mut self, bytes: &mut [u8]) -> bool {
        self.job.read_exact(bytes).is_ok()
    }

    fn write(&mut self, bytes: &[u8]) -> bool {
        // Unbuffered towards the file: what was written survives a crash.
        self.result.write_all(bytes).and_then(|()| self.result.flush()).is_ok()
    }

    fn ticks(&mut self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }
}

/// Runs a job on a new model. `inputs` is the room that the inputs of a call need.
pub fn serve<P: Program, const PORTS: usize>(mut program: P, inputs: usize, job: &str, result: &str) -> Result<(), String> {
    let open = |e: std::io::Error| e.to_string();
    let mut io = Files {
        job: BufReader::new(File::open(job).map_err(open)?),
        result: BufWriter::new(File::create(result).map_err(open)?),
        start: Instant::now(),
    };
    let signature = program.signature();
    let mut workspace = Workspace::boxed(signature.workspace_bytes);
    let room = |n: usize| n.saturating_add(15) & !15;
    let outputs = signature.outputs.iter().fold(0usize, |n, port| n.saturating_add(room(port.max_bytes())));
    let bytes = inputs.saturating_add(outputs);
    let mut memory = Workspace::boxed(bytes);
    let mut arena = memory.arena(bytes).map_err(|e| e.to_string())?;
    let ([], [pool]) = arena.regions([], [(0, bytes)]);
    run::<PORTS>(&mut program, &mut workspace, pool, &mut io).map_err(Into::into)
}

/// Reads the command line and runs `choose` on a thread whose stack holds the state of a large model.
pub fn main(choose: fn(&str, &str, &str) -> Result<(), String>) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, job, result] = arguments.try_into().expect("MODEL JOB RESULT");
    let thread = std::thread::Builder::new().stack_size(1 << 29).spawn(move || choose(&model, &job, &result));
    match thread.expect("a thread").join() {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(message)) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
        Err(_) => ExitCode::from(101),
    }
}
