//! Helium (MVE, Cortex-M55 and M85): the inner loop of layers on 8-bit integers, whole in assembly: stable Rust has no
//! intrinsics for it. [`crate::kernels::int8::mve`] has the format of records and the same function in Rust.

use crate::kernels::int8::mve::{BLOCK, Lines, groups};
use core::arch::naked_asm;

/// What the functions below read and count down, in the order they know.
#[repr(C)]
struct Pixel {
    x: *const i8,
    len: usize,
    count: usize,
    /// From the end of a line, rounded up to whole blocks, to the next one.
    gap: usize,
    zero: i32,
    y: *mut i8,
    groups: usize,
}

/// All output channels of a pixel: `y.len()`. Nothing is written where a slice is too short.
#[inline(always)]
pub fn pixel(lines: &Lines<'_>, records: &[i32], zero: i32, y: &mut [i8]) {
    if !lines.fit(records, y.len()) {
        return;
    }
    let &Lines { x, step, count, len } = lines;
    let gap = step.wrapping_sub(len.next_multiple_of(BLOCK));
    let mut work = Pixel { x: x.as_ptr(), len, count, gap, zero, y: y.as_mut_ptr(), groups: 0 };
    let mut records = records.as_ptr();
    for (channels, groups) in groups(y.len()) {
        work.groups = groups;
        let body = match channels {
            6 => groups_of_6,
            4 => groups_of_4,
            2 => groups_of_2,
            _ => groups_of_1,
        };
        if groups > 0 {
            // SAFETY: `fit` compared the end of the last line and the words of all records; loads are predicated, so no byte
            // beyond a line is read; a byte of `y` is written per channel. No count is 0.
            records = unsafe { body(&mut work, records) };
        }
    }
}

/// All records of groups of so many channels. Registers: r1 records, r3 inputs, r5 bytes of a line, r7 lines, r9 the gap, lr
/// what is left of a line; even registers the sums, which is all that `vmlava` takes. Gives where the records end.
macro_rules! groups_of {
    ($name:ident, sums: $sums:literal, factors: $factors:literal, $($sum:literal $factor:literal;)*) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(work: &mut Pixel, records: *const i32) -> *const i32 {
            naked_asm!(
                ".cpu cortex-m55",
                "push {{r0, r4-r11, lr}}",
                "1:",
                "ldr r12, [sp]",
                concat!("ldm r1!, {{", $sums, "}}"),
                "ldm r12, {{r3, r5, r7, r9}}",
                "2:",
                "dlstp.8 lr, r5",
                "3:",
                "vldrb.u8 q0, [r3], #16",
                $("vldrb.u8 q1, [r1], #16", concat!("vmlava.s8 ", $sum, ", q0, q1"),)*
                "letp lr, 3b",
                "add r3, r9",
                "subs r7, #1",
                "bne 2b",
                concat!("ldm r1!, {{", $factors, "}}"),
                "ldr r12, [r12, #16]",
                $(concat!("smmlar ", $sum, ", ", $sum, ", ", $factor, ", r12"),)*
                "ldr r3, [sp]",
                $(concat!("ssat ", $sum, ", #8, ", $sum),)*
                "ldr r5, [r3, #20]",
                "ldr r7, [r3, #24]",
                $(concat!("strb ", $sum, ", [r5], #1"),)*
                "subs r7, #1",
                "strd r5, r7, [r3, #20]",
                "bne 1b",
                "mov r2, r1",
                "pop {{r0, r4-r11, lr}}",
                "mov r0, r2",
                "bx lr",
            )
        }
    };
}
groups_of!(groups_of_6, sums: "r0, r2, r4, r6, r8, r10", factors: "r3, r5, r7, r9, r11, lr",
    "r0" "r3"; "r2" "r5"; "r4" "r7"; "r6" "r9"; "r8" "r11"; "r10" "lr";);
groups_of!(groups_of_4, sums: "r0, r2, r4, r6", factors: "r3, r5, r7, r9", "r0" "r3"; "r2" "r5"; "r4" "r7"; "r6" "r9";);
groups_of!(groups_of_2, sums: "r0, r2", factors: "r3, r5", "r0" "r3"; "r2" "r5";);
groups_of!(groups_of_1, sums: "r0", factors: "r3", "r0" "r3";);
