//! Calls one model and reports in `cost.out` what the call cost: ticks, bytes of stack below the caller, and bytes of weights, as
//! little-endian `u64`; the emulator's plugin counts meanwhile. With the feature `step` the model runs a second time, layer
//! by layer, and must give the same result; with `workspace` inputs are filled where they stand in the workspace. Nothing here can panic or formats anything, so whatever of that the image links
//! comes from the model.
#![no_std]
#![no_main]

use core::hint::black_box;
use exported::rt;
use exported_board::{File, exit, paint_stack, stack_depth, stack_used, start_counting, stop_counting, ticks};

mod model {
    include!(concat!(env!("OUT_DIR"), "/model0.rs"));
}

exported_board::entry!(main);

#[cfg(not(feature = "workspace"))]
const INPUT_BYTES: usize = model::SIGNATURE.inputs[0].max_bytes();

#[cfg(not(feature = "workspace"))]
static INPUT: rt::StaticWorkspace<INPUT_BYTES> = rt::StaticWorkspace::new();
static WORKSPACE: model::StaticWorkspace = model::StaticWorkspace::new();

fn main() -> ! {
    let cost = run();
    let written = cost.is_some_and(|cost| {
        File::create("cost.out\0").is_some_and(|mut file| cost.iter().all(|n| file.write(&n.to_le_bytes())))
    });
    exit(if written { 0 } else { 1 })
}

#[cfg(feature = "workspace")]
fn run() -> Option<[u64; 3]> {
    let mut workspace = WORKSPACE.take()?;
    let mut model = model::Model::new();
    let (depth, mut before) = (stack_depth(), 0);
    paint_stack();
    let outputs = model.forward_with(&mut workspace, |x| {
        fill(rt::flat_mut(x));
        before = ticks();
        start_counting();
    });
    _ = black_box(outputs.ok()?);
    stop_counting();
    Some([ticks() - before, (stack_used() - depth) as u64, model::WEIGHT_BYTES as u64])
}

#[cfg(not(feature = "workspace"))]
fn run() -> Option<[u64; 3]> {
    let mut memory = INPUT.take()?;
    let mut arena = memory.arena(INPUT_BYTES).ok()?;
    let ([], [bytes]) = arena.regions([], [(0, INPUT_BYTES)]);
    let input = rt::cast_mut(bytes);
    fill(input);
    let mut workspace = WORKSPACE.take()?;
    let mut model = model::Model::new();
    let depth = stack_depth();
    paint_stack();
    let before = ticks();
    start_counting();
    let inputs = model::Inputs::flat(black_box(&*input)).ok()?;
    let outputs = black_box(model.forward(&mut workspace, inputs).ok()?);
    stop_counting();
    let cost = [ticks() - before, (stack_used() - depth) as u64, model::WEIGHT_BYTES as u64];
    #[cfg(feature = "step")]
    {
        let forward = *outputs.result;
        let mut run = model.start(&mut workspace, inputs).ok()?;
        while run.step().ok()? {}
        if forward != *black_box(run.finish().ok()?).result {
            return None;
        }
    }
    #[cfg(not(feature = "step"))]
    let _ = outputs;
    Some(cost)
}

/// What an input consists of: a float, or the integer that stands for one.
trait Number {
    /// From 32 random bits.
    fn of(bits: u32) -> Self;
}

impl Number for f32 {
    /// Between -1 and 1, so that software floats take their usual paths.
    fn of(bits: u32) -> f32 {
        (bits >> 8) as f32 / (1 << 23) as f32 - 1.0
    }
}

impl Number for i8 {
    fn of(bits: u32) -> i8 {
        (bits >> 24) as i8
    }
}

/// Numbers in no order.
fn fill<T: Number>(input: &mut [T]) {
    let mut state = 1u32;
    for x in input {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *x = T::of(state);
    }
}
