//! Calls one model with zeroes and reports what the call cost in `cost.out`: ticks and bytes of stack, as little-endian `u64`.
//! Nothing here can panic or formats anything, so whatever of that the image links comes from the model.
#![no_std]
#![no_main]

use core::hint::black_box;
use exported_board::{File, exit, paint_stack, stack_used, ticks};

mod model {
    include!(concat!(env!("OUT_DIR"), "/model.rs"));
}

exported_board::entry!(main);

const INPUT_LEN: usize = model::SIGNATURE.inputs[0].max_bytes() / 4;

static INPUT: [f32; INPUT_LEN] = [0.0; INPUT_LEN];
static WORKSPACE: model::StaticWorkspace = model::StaticWorkspace::new();

fn main() -> ! {
    paint_stack();
    let before = ticks();
    let worked = run();
    let cost = [ticks() - before, stack_used() as u64];
    let written = File::create("cost.out\0").is_some_and(|mut file| cost.iter().all(|n| file.write(&n.to_le_bytes())));
    exit(if worked.is_some() && written { 0 } else { 1 })
}

fn run() -> Option<()> {
    let mut workspace = WORKSPACE.take()?;
    let mut model = model::Model::new();
    let inputs = model::Inputs::flat(black_box(&INPUT)).ok()?;
    #[cfg(not(feature = "step"))]
    let outputs = model.forward(&mut workspace, inputs).ok()?;
    #[cfg(feature = "step")]
    let outputs = {
        let mut run = model.start(&mut workspace, inputs).ok()?;
        while run.step().ok()? {}
        run.finish().ok()?
    };
    black_box(outputs);
    Some(())
}
