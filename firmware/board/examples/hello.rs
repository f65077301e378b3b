//! Proves the board: start-up, floats, output, files both ways, counters and exit status. Ends with status 0 if all hold.
//! Reads `numbers.in` (little-endian `f32` values, the first is their count); writes their running sums to `numbers.out`, and
//! then, as `f32`, the ticks that two million instructions took.
#![no_std]
#![no_main]

use core::fmt::Write;
use core::hint::black_box;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use exported_board::{File, Stdout, exit, footprint, paint_stack, stack_used, ticks};

exported_board::entry!(main);

static ZEROED: AtomicU32 = AtomicU32::new(0);
static FILLED: AtomicU32 = AtomicU32::new(0x1234_5678);

fn main() -> ! {
    paint_stack();
    if (black_box(&ZEROED).load(Relaxed), black_box(&FILLED).load(Relaxed)) != (0, 0x1234_5678) {
        exit(2);
    }
    let before = ticks();
    two_million_instructions();
    let spent = ticks() - before;
    let Some(summed) = running_sums(spent) else { exit(3) };
    let sizes = footprint();
    let _ = writeln!(
        Stdout,
        "hello: {summed} numbers, loop {spent} ticks, stack {} bytes, flash {}, RAM {}",
        stack_used(),
        sizes.flash,
        sizes.static_ram
    );
    exit(if spent > 0 && stack_used() > 16 { 0 } else { 4 })
}

fn running_sums(ticks: u64) -> Option<u32> {
    let (mut input, mut output) = (File::open("numbers.in\0")?, File::create("numbers.out\0")?);
    let mut word = [0; 4];
    if !input.read_exact(&mut word) {
        return None;
    }
    let count = f32::from_le_bytes(word) as u32;
    let mut sum = 0.0f32;
    for _ in 0..count {
        if !input.read_exact(&mut word) {
            return None;
        }
        sum += f32::from_le_bytes(word);
        if !output.write(&sum.to_le_bytes()) {
            return None;
        }
    }
    output.write(&(ticks as f32).to_le_bytes()).then_some(count)
}

fn two_million_instructions() {
    // SAFETY: counts a register down.
    unsafe {
        #[cfg(target_arch = "arm")]
        core::arch::asm!("2: subs {n}, #1", "bne 2b", n = inout(reg) 1_000_000 => _);
        #[cfg(target_arch = "riscv32")]
        core::arch::asm!("2: addi {n}, {n}, -1", "bnez {n}, 2b", n = inout(reg) 1_000_000 => _);
    }
}
