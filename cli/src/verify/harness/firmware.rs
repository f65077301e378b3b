//! Verification program for an emulated board: reads the number of the model and then the job from `job.in`, writes
//! `job.out`, both in the emulator's working directory.

use crate::job::{Io, run};
use exported_board::{File, print};
use exported_runtime::program::{Program, Signature};
use exported_runtime::{StaticWorkspace, Workspace};

/// The two files of a job.
pub struct Files {
    job: File,
    result: File,
    /// Stack in use where it began to be watched.
    depth: usize,
}

impl Io for Files {
    fn read(&mut self, bytes: &mut [u8]) -> bool {
        bytes.is_empty() || self.job.read_exact(bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> bool {
        bytes.is_empty() || self.result.write(bytes)
    }

    fn ticks(&mut self) -> u64 {
        exported_board::ticks()
    }

    fn watch_stack(&mut self) {
        self.depth = exported_board::stack_depth();
        exported_board::paint_stack();
    }

    fn stack(&mut self) -> u64 {
        exported_board::stack_used().saturating_sub(self.depth) as u64
    }
}

/// Room for the tensors of one call.
pub const fn pool(signature: &Signature, inputs: usize) -> usize {
    let mut bytes = inputs;
    let mut rest = signature.outputs;
    while let [port, tail @ ..] = rest {
        bytes += port.max_bytes().next_multiple_of(16);
        rest = tail;
    }
    bytes
}

/// The greatest of some sizes.
pub const fn greatest(mut sizes: &[usize]) -> usize {
    let mut greatest = 0;
    while let [size, tail @ ..] = sizes {
        if *size > greatest {
            greatest = *size;
        }
        sizes = tail;
    }
    greatest
}

/// Runs the job on a new model.
pub fn serve<P: Program, const PORTS: usize>(
    mut program: P,
    workspace: &mut Workspace<'_>,
    pool: &mut [u8],
    files: &mut Files,
) -> Result<(), &'static str> {
    run::<PORTS>(&mut program, workspace, pool, files)
}

/// What `choose` needs: the number of the model, workspace, pool and files.
pub type Choose = fn(u32, &mut Workspace<'_>, &mut [u8], &mut Files) -> Result<(), &'static str>;

/// Opens the files, takes the memory and runs `choose`; the exit status is 0 when the result is whole.
pub fn main<const WORKSPACE: usize, const POOL: usize>(
    workspace: &'static StaticWorkspace<WORKSPACE>,
    pool: &'static StaticWorkspace<POOL>,
    choose: Choose,
) -> ! {
    match serve_files(workspace, pool, choose) {
        Ok(()) => exported_board::exit(0),
        Err(message) => {
            print(message);
            print("\n");
            exported_board::exit(1)
        }
    }
}

fn serve_files<const WORKSPACE: usize, const POOL: usize>(
    workspace: &'static StaticWorkspace<WORKSPACE>,
    pool: &'static StaticWorkspace<POOL>,
    choose: Choose,
) -> Result<(), &'static str> {
    let job = File::open("job.in\0").ok_or("job.in cannot be opened")?;
    let result = File::create("job.out\0").ok_or("job.out cannot be created")?;
    let mut files = Files { job, result, depth: 0 };
    let mut model = [0; 4];
    if !files.read(&mut model) {
        return Err("job.in is empty");
    }
    let mut workspace = workspace.take().ok_or("the workspace is taken")?;
    let mut pool = pool.take().ok_or("the pool is taken")?;
    let mut arena = pool.arena(POOL).map_err(|_| "the pool is too small")?;
    let ([], [pool]) = arena.regions([], [(0, POOL)]);
    choose(u32::from_le_bytes(model), &mut workspace, pool, &mut files)
}
