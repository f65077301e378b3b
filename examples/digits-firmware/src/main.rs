//! The digits network on a Cortex-M4F, in floats and in int8: `cargo run --release` runs both in QEMU. They classify the
//! held-out images, compare with PyTorch's answers, and print what one inference costs in instructions, RAM and flash.
//! With `--no-default-features --features int8` (or `float`) the image holds one of them.
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

/// Instructions per SysTick tick: the timer runs at 25 MHz, and the emulator takes 1 ns for an instruction.
const INSTRUCTIONS_PER_TICK: u64 = 40;

static IMAGES: &[u8] = include_bytes!("../../digits/held-out.bin");

/// A network and the function that runs it on all images.
macro_rules! network {
    ($name:ident, $file:literal) => {
        mod $name {
            use super::{Measured, board, held_out::HeldOut};

            exported::include_exported!($file);

            static WORKSPACE: StaticWorkspace = StaticWorkspace::new();

            /// Calls `see(number of the image, probabilities)` for each.
            #[inline(never)]
            pub fn run(data: &HeldOut, mut see: impl FnMut(usize, &[f32; 10])) -> Result<Measured, &'static str> {
                board::paint_stack();
                let mut workspace = WORKSPACE.take().ok_or("the workspace is taken")?;
                let (mut model, mut ticks) = (Model::new(), 0);
                for (number, sample) in data.samples().enumerate() {
                    let image = sample.image();
                    let start = board::ticks();
                    let result = model.forward(&mut workspace, Inputs { image: &image });
                    ticks += board::ticks() - start;
                    see(number, &result.map_err(|_| "the model refuses its input")?.output[0]);
                }
                let [workspace, weights] = [WORKSPACE_BYTES, WEIGHT_BYTES];
                Ok(Measured { ticks, stack: board::stack_used(), workspace, weights })
            }
        }
    };
}

#[cfg(feature = "float")]
network!(float, "../../digits/digits.pt2");
#[cfg(feature = "int8")]
network!(int8, "../../digits/digits_int8.pt2");

/// What all calls took.
pub struct Measured {
    ticks: u64,
    stack: usize,
    workspace: usize,
    weights: usize,
}

#[entry]
fn main() -> ! {
    let Some(data) = HeldOut::parse(IMAGES) else { fail("held-out.bin is damaged") };
    let outcome = networks(&data);
    if let Err(reason) = outcome {
        fail(reason);
    }
    let image = board::footprint();
    hprintln!(
        "image: {} bytes of flash, {} of them the test images; {} bytes of static RAM",
        image.flash,
        IMAGES.len(),
        image.static_ram
    );
    debug::exit(debug::EXIT_SUCCESS);
    loop {
        core::hint::spin_loop();
    }
}

fn networks(data: &HeldOut) -> Result<(), &'static str> {
    #[cfg(feature = "float")]
    {
        /// How far a probability may be from PyTorch's.
        const TOLERANCE: f32 = 1e-5;
        let (mut right, mut apart) = (0, 0.0f32);
        let measured = float::run(data, |number, scores| {
            let Some(sample) = data.samples().nth(number) else { return };
            right += usize::from(best(scores) == sample.label);
            apart = core::iter::zip(scores, sample.torch).map(|(a, b)| (a - b).abs()).fold(apart, f32::max);
            if number < 5 {
                show(&sample, scores);
            }
        })?;
        report("float", data.len(), right, &measured);
        if right != data.torch_right || apart > TOLERANCE {
            return Err("not PyTorch's answers");
        }
    }
    #[cfg(feature = "int8")]
    {
        static ANSWERS: &[u8] = include_bytes!("../../digits/int8.bin");
        let (mut right, mut same) = (0, 0);
        let measured = int8::run(data, |number, scores| {
            let best = best(scores);
            right += usize::from(data.samples().nth(number).is_some_and(|sample| best == sample.label));
            same += usize::from(ANSWERS.get(number) == Some(&best));
        })?;
        report("int8", data.len(), right, &measured);
        if same != data.len() {
            return Err("not the answers of the quantized program in PyTorch");
        }
    }
    Ok(())
}

fn show(sample: &Sample, scores: &[f32; 10]) {
    let best = best(scores);
    let permille = (scores[usize::from(best)] * 1000.0) as u32;
    hprintln!("written {}, read {} ({}.{} %)", sample.label, best, permille / 10, permille % 10);
}

fn report(name: &str, images: usize, right: usize, m: &Measured) {
    let instructions = m.ticks * INSTRUCTIONS_PER_TICK / images as u64;
    hprintln!(
        "{:<5}  {} of {} held-out images right  {} instructions  {} bytes of weights  {} of workspace  {} of stack",
        name,
        right,
        images,
        instructions,
        m.weights,
        m.workspace,
        m.stack
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
