//! The digits network on a Cortex-M4F: `cargo run --release` runs it in QEMU. Classifies the held-out images, compares with
//! PyTorch's answers, and prints what one inference costs in instructions, RAM and flash.
#![no_std]
#![no_main]

use cortex_m as _; // the critical section that printing takes
use cortex_m_rt::entry;
use cortex_m_semihosting::{debug, hprintln};
use exported_board as board;
use held_out::{HeldOut, Sample};
use panic_semihosting as _;

#[path = "../../digits/src/held_out.rs"]
mod held_out;

mod digits {
    exported::include_exported!("../../digits/digits.pt2");
}

/// Instructions per SysTick tick: the timer runs at 25 MHz, and the emulator takes 1 ns for an instruction.
const INSTRUCTIONS_PER_TICK: u64 = 40;
/// How far a probability may be from PyTorch's.
const TOLERANCE: f32 = 1e-5;

static IMAGES: &[u8] = include_bytes!("../../digits/held-out.bin");
static WORKSPACE: digits::StaticWorkspace = digits::StaticWorkspace::new();

#[entry]
fn main() -> ! {
    board::paint_stack();
    let Some(data) = HeldOut::parse(IMAGES) else { fail("held-out.bin is damaged") };
    let Some(mut workspace) = WORKSPACE.take() else { fail("the workspace is taken") };
    let mut model = digits::Model::new();

    let (mut right, mut apart, mut ticks) = (0, 0.0f32, 0);
    for (number, sample) in data.samples().enumerate() {
        let image = sample.image();
        let start = board::ticks();
        let result = model.forward(&mut workspace, digits::Inputs { image: &image });
        ticks += board::ticks() - start;
        let Ok(out) = result else { fail("the model refuses its input") };
        let scores = &out.output[0];
        right += usize::from(best(scores) == sample.label);
        apart = core::iter::zip(scores, sample.torch).map(|(a, b)| (a - b).abs()).fold(apart, f32::max);
        if number < 5 {
            show(&sample, scores);
        }
    }
    if right != data.torch_right || apart > TOLERANCE {
        fail("not PyTorch's answers");
    }
    hprintln!("held-out images: {} of {} right, as in PyTorch", right, data.len());
    hprintln!("instructions per inference: {}", ticks * INSTRUCTIONS_PER_TICK / data.len() as u64);
    costs();
    debug::exit(debug::EXIT_SUCCESS);
    loop {
        core::hint::spin_loop();
    }
}

fn show(sample: &Sample, scores: &[f32; 10]) {
    let best = best(scores);
    let permille = (scores[usize::from(best)] * 1000.0) as u32;
    hprintln!("written {}, read {} ({}.{} %)", sample.label, best, permille / 10, permille % 10);
}

fn costs() {
    let image = board::footprint();
    hprintln!(
        "RAM: {} bytes static, {} of them workspace; {} bytes of stack",
        image.static_ram,
        digits::WORKSPACE_BYTES,
        board::stack_used()
    );
    hprintln!(
        "flash: {} bytes, {} of them weights, {} the images above",
        image.flash,
        digits::WEIGHT_BYTES,
        IMAGES.len()
    );
}

fn best(scores: &[f32; 10]) -> u8 {
    (0..10).max_by(|&a, &b| scores[usize::from(a)].total_cmp(&scores[usize::from(b)])).unwrap_or(0)
}

fn fail(reason: &str) -> ! {
    hprintln!("failed: {}", reason);
    debug::exit(debug::EXIT_FAILURE);
    loop {
        core::hint::spin_loop();
    }
}
