//! Arm's DSP extension (Cortex-M4, M7, M33): the inner loops of layers on 8-bit integers, each a whole loop in assembly.
//!
//! Compiled Rust spills here, and one-instruction `asm!` in Rust loops costs up to twice as much; LLVM forms no `smlad` from
//! loops over slices. One `smlad` adds two products of 16-bit halves. [`crate::kernels::int8`] has the formats of patches
//! and records, and the same functions in Rust, which say what these compute. Functions here are safe: they compare all
//! lengths, and do nothing where a slice is too short.

use crate::kernels::int8::Window;
use crate::kernels::int8::records::{GROUP, PIXELS, TAPS, depthwise_words, groups, tile_words, vector_words};
use core::arch::naked_asm;

/// The assembler believes only by name that an Armv8-M core has DSP.
#[cfg(arm_v8m)]
macro_rules! core_name {
    () => {
        ".cpu cortex-m33"
    };
}
#[cfg(not(arm_v8m))]
macro_rules! core_name {
    () => {
        ""
    };
}

/// Widens bytes to a pixel's words of a tile of patches: four bytes become the two words `(0, 2)` and `(1, 3)`, words stand
/// [`PIXELS`] apart. Takes as many fours as both slices have.
#[inline(always)]
pub fn widen(from: &[i8], to: &mut [i32]) {
    let fours = (from.len() / 4).min((to.len() + PIXELS - 1) / (2 * PIXELS));
    if fours > 0 {
        // SAFETY: `4 * fours` bytes are read; the last word written is `(2 * fours - 1) * PIXELS`.
        unsafe { widen_fours(from.as_ptr(), to.as_mut_ptr(), fours) }
    }
}

#[unsafe(naked)]
unsafe extern "C" fn widen_fours(from: *const i8, to: *mut i32, fours: usize) {
    naked_asm!(
        core_name!(),
        "push {{r4, r5}}",
        "subs r2, #2",
        "blt 2f",
        "1:",
        "ldr r3, [r0], #4",
        "ldr r4, [r0], #4",
        "sxtb16 r12, r3",
        "sxtb16 r3, r3, ror #8",
        "sxtb16 r5, r4",
        "sxtb16 r4, r4, ror #8",
        "str r12, [r1]",
        "str r3, [r1, #12]",
        "str r5, [r1, #24]",
        "str r4, [r1, #36]",
        "adds r1, #48",
        "subs r2, #2",
        "bge 1b",
        "2:",
        "adds r2, #1",
        "bne 3f",
        "ldr r3, [r0]",
        "sxtb16 r12, r3",
        "sxtb16 r3, r3, ror #8",
        "str r12, [r1]",
        "str r3, [r1, #12]",
        "3:",
        "pop {{r4, r5}}",
        "bx lr",
    )
}

/// What [`gather`] reads, in the order it knows.
#[repr(C)]
struct Gather {
    x: [*const i8; PIXELS],
    rows: usize,
    fours: usize,
    gap: usize,
}

/// The patches of three pixels: of each `rows` rows of `len` bytes, `step` apart, each widened to whole fours. False if that
/// would read beyond the input, or if there is no room.
#[inline(always)]
pub fn patches(x: &[i8], starts: [usize; PIXELS], [rows, step, len]: [usize; 3], to: &mut [i32]) -> bool {
    let fours = len.div_ceil(4);
    let [a, b, c] = starts;
    let last = a.max(b).max(c);
    let reach = rows.checked_sub(1).and_then(|n| n.checked_mul(step)?.checked_add(4 * fours)?.checked_add(last));
    let fits = reach.is_some_and(|end| end <= x.len()) && to.len() >= 2 * PIXELS * rows * fours;
    if !fits || fours == 0 {
        return false;
    }
    let x = x.as_ptr();
    let x = [x.wrapping_add(a), x.wrapping_add(b), x.wrapping_add(c)];
    let work = Gather { x, rows, fours, gap: step.wrapping_sub(4 * fours) };
    // SAFETY: the last row of the last pixel ends inside `x`, two words for each of its fours fit; no count is 0.
    unsafe { gather(&work, to.as_mut_ptr()) }
    true
}

/// Registers: r0 and r5 what is left, r1 to, r2 to r4 from.
#[unsafe(naked)]
unsafe extern "C" fn gather(work: &Gather, to: *mut i32) {
    naked_asm!(
        core_name!(),
        "push {{r4-r11, lr}}",
        "ldm r0, {{r2-r7}}",
        "1:",
        "mov r0, r6",
        "2:",
        "ldr r8, [r2], #4",
        "ldr r9, [r3], #4",
        "ldr r10, [r4], #4",
        "sxtb16 r11, r8",
        "sxtb16 r12, r9",
        "sxtb16 lr, r10",
        "stm r1!, {{r11, r12, lr}}",
        "sxtb16 r8, r8, ror #8",
        "sxtb16 r9, r9, ror #8",
        "sxtb16 r10, r10, ror #8",
        "stm r1!, {{r8, r9, r10}}",
        "subs r0, #1",
        "bne 2b",
        "add r2, r7",
        "add r3, r7",
        "add r4, r7",
        "subs r5, #1",
        "bne 1b",
        "pop {{r4-r11, pc}}",
    )
}

/// What [`tile_pairs`] reads and counts down, in the order it knows.
#[repr(C)]
struct Tile {
    y: [*mut i8; PIXELS],
    pairs: usize,
    patches: *const i32,
    turns: usize,
    zero: i32,
}

/// Output channels `0..2 * pairs` of three pixels: [`crate::kernels::int8`] says what they are. `turns` is the inner
/// dimension in eights.
#[inline(always)]
pub fn tile(
    patches: &[i32],
    records: &[i32],
    turns: usize,
    zero: i32,
    y: &mut [i8],
    offsets: [usize; PIXELS],
    pairs: usize,
) {
    let [a, b, c] = offsets;
    let last = a.max(b).max(c);
    let fits = patches.len() >= 4 * PIXELS * turns
        && records.len() >= tile_words(turns) * pairs
        && last.checked_add(2 * pairs).is_some_and(|end| end <= y.len());
    if !fits || turns == 0 || pairs == 0 {
        return;
    }
    let to = y.as_mut_ptr();
    let mut work = Tile {
        y: [to.wrapping_add(a), to.wrapping_add(b), to.wrapping_add(c)],
        pairs,
        patches: patches.as_ptr(),
        turns,
        zero,
    };
    // SAFETY: each turn reads 4 words of each pixel's patch, each pair one record; `2 * pairs` bytes are written from each
    // offset. All of that is there, and neither count is 0.
    unsafe { tile_pairs(&mut work, records.as_ptr()) }
}

/// Registers: r0 patches, r1 records, r2 turns, r3 and r4 weights, r5 to r7 patches of three pixels, r8 to r10 sums of
/// the raw words (256 times the odd channel plus the even one), r11, r12 and lr sums of the even channel.
#[unsafe(naked)]
unsafe extern "C" fn tile_pairs(work: &mut Tile, records: *const i32) {
    naked_asm!(
        core_name!(),
        ".macro exported_products x0, x1, x2, w",
        "ldm r0!, {{\\x0, \\x1, \\x2}}",
        "smlad r8, \\w, \\x0, r8",
        "smlad r9, \\w, \\x1, r9",
        "smlad r10, \\w, \\x2, r10",
        "sxtb16 \\w, \\w",
        "smlad r11, \\w, \\x0, r11",
        "smlad r12, \\w, \\x1, r12",
        "smlad lr, \\w, \\x2, lr",
        ".endm",
        "push {{r0, r4-r11, lr}}",
        "1:",
        "ldr r2, [sp]",
        "ldrd r8, r11, [r1], #8",
        "ldr r0, [r2, #16]",
        "ldr r2, [r2, #20]",
        "mov r9, r8",
        "mov r10, r8",
        "mov r12, r11",
        "mov lr, r11",
        "2:",
        "ldrd r3, r4, [r1], #8",
        "exported_products r5, r6, r7, r3",
        "exported_products r5, r6, r7, r4",
        "ldrd r3, r4, [r1], #8",
        "exported_products r5, r6, r7, r3",
        "exported_products r5, r6, r7, r4",
        "subs r2, #1",
        "bne 2b",
        ".purgem exported_products",
        "ldr r0, [sp]",
        "sub r8, r8, r11",
        "sub r9, r9, r12",
        "sub r10, r10, lr",
        "ldrd r3, r4, [r1], #8",
        "ldr r2, [r0, #24]",
        "asr r8, r8, #8",
        "asr r9, r9, #8",
        "asr r10, r10, #8",
        "smmlar r11, r11, r3, r2",
        "smmlar r12, r12, r3, r2",
        "smmlar lr, lr, r3, r2",
        "smmlar r8, r8, r4, r2",
        "smmlar r9, r9, r4, r2",
        "smmlar r10, r10, r4, r2",
        "ssat r11, #8, r11",
        "ssat r12, #8, r12",
        "ssat lr, #8, lr",
        "ssat r8, #8, r8",
        "ssat r9, #8, r9",
        "ssat r10, #8, r10",
        "ldm r0, {{r5, r6, r7}}",
        "strb r11, [r5], #1",
        "strb r12, [r6], #1",
        "strb lr, [r7], #1",
        "strb r8, [r5], #1",
        "strb r9, [r6], #1",
        "strb r10, [r7], #1",
        "ldr r2, [r0, #12]",
        "stm r0, {{r5, r6, r7}}",
        "subs r2, #1",
        "str r2, [r0, #12]",
        "bne 1b",
        "pop {{r0, r4-r11, pc}}",
    )
}

/// What the functions below [`vector`] read and count down, in the order they know.
#[repr(C)]
struct Vector {
    x: *const i8,
    y: *mut i8,
    zero: i32,
    turns: usize,
    rest: usize,
    groups: usize,
}

/// Output channels `0..2 * pairs` of one vector of inputs, whose length is a multiple of 4: `x · weights`.
#[inline(always)]
pub fn vector(x: &[i8], records: &[i32], zero: i32, y: &mut [i8], pairs: usize) {
    let fours = x.len() / 4;
    if records.len() < vector_words(fours, pairs) || y.len() < 2 * pairs {
        return;
    }
    let mut work =
        Vector { x: x.as_ptr(), y: y.as_mut_ptr(), zero, turns: fours / 2, rest: fours % 2, groups: pairs / GROUP };
    let mut records = records.as_ptr();
    for (pairs, groups) in groups(pairs) {
        work.groups = groups;
        let body = match pairs {
            3 => vector_groups_of_3,
            2 => vector_groups_of_2,
            _ => vector_groups_of_1,
        };
        if groups > 0 {
            // SAFETY: `8 * turns + 4 * rest` bytes of `x` are read, one record per group, and `2 * pairs` bytes per group
            // are written where the previous call stopped; the sum over all groups was compared above.
            records = unsafe { body(&mut work, records) };
        }
    }
}

/// A body of [`vector`] for groups of this many pairs. Registers: r0 inputs, r1 records, r2 turns, r3 and r4 inputs, r5 to
/// r7 weights; r8 to lr by pair the sums of the raw words (256 times the odd channel plus the even one) and of the even
/// channel. Gives where the records end.
macro_rules! vector_groups {
    ($name:ident, sums: $sums:literal, weights: $weights:literal, factors: $factors:literal,
     $($raw:literal $even:literal $w:literal $factor:literal $next:literal;)*) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(work: &mut Vector, records: *const i32) -> *const i32 {
            naked_asm!(
        core_name!(),
                ".macro exported_four",
                "ldr r3, [r0], #4",
                concat!("ldm r1!, {{", $weights, "}}"),
                "sxtb16 r4, r3, ror #8",
                "sxtb16 r3, r3",
                $(concat!("smlad ", $raw, ", ", $w, ", r3, ", $raw),)*
                $(concat!("sxtb16 ", $w, ", ", $w),)*
                $(concat!("smlad ", $even, ", ", $w, ", r3, ", $even),)*
                concat!("ldm r1!, {{", $weights, "}}"),
                $(concat!("smlad ", $raw, ", ", $w, ", r4, ", $raw),)*
                $(concat!("sxtb16 ", $w, ", ", $w),)*
                $(concat!("smlad ", $even, ", ", $w, ", r4, ", $even),)*
                ".endm",
                "push {{r0, r4-r11, lr}}",
                "1:",
                "ldr r3, [sp]",
                concat!("ldm r1!, {{", $sums, "}}"),
                "ldr r0, [r3]",
                "ldr r2, [r3, #12]",
                "cmp r2, #0",
                "beq.w 3f",
                "2:",
                "exported_four",
                "exported_four",
                "subs r2, #1",
                "bne 2b",
                "3:",
                "ldr r2, [sp]",
                "ldr r3, [r2, #16]",
                "cmp r3, #0",
                "beq.w 4f",
                "exported_four",
                "4:",
                ".purgem exported_four",
                "ldr r2, [r2, #8]",
                $(concat!("sub ", $raw, ", ", $raw, ", ", $even),)*
                concat!("ldm r1!, {{", $factors, "}}"),
                $(concat!("asr ", $raw, ", ", $raw, ", #8"),)*
                $(concat!("smmlar ", $even, ", ", $even, ", ", $factor, ", r2"),)*
                $(concat!("smmlar ", $raw, ", ", $raw, ", ", $next, ", r2"),)*
                "ldr r2, [sp]",
                $(concat!("ssat ", $even, ", #8, ", $even),)*
                $(concat!("ssat ", $raw, ", #8, ", $raw),)*
                "ldr r3, [r2, #4]",
                $(concat!("strb ", $even, ", [r3], #1"), concat!("strb ", $raw, ", [r3], #1"),)*
                "str r3, [r2, #4]",
                "ldr r3, [r2, #20]",
                "subs r3, #1",
                "str r3, [r2, #20]",
                "bne.w 1b",
                "mov r2, r1",
                "pop {{r0, r4-r11, lr}}",
                "mov r0, r2",
                "bx lr",
            )
        }
    };
}
vector_groups!(vector_groups_of_3, sums: "r8-r12, lr", weights: "r5, r6, r7", factors: "r0, r3, r4, r5, r6, r7",
    "r8" "r9" "r5" "r0" "r3"; "r10" "r11" "r6" "r4" "r5"; "r12" "lr" "r7" "r6" "r7";);
vector_groups!(vector_groups_of_2, sums: "r8-r11", weights: "r5, r6", factors: "r0, r3, r4, r5",
    "r8" "r9" "r5" "r0" "r3"; "r10" "r11" "r6" "r4" "r5";);
vector_groups!(vector_groups_of_1, sums: "r8, r9", weights: "r5", factors: "r0, r3",
    "r8" "r9" "r5" "r0" "r3";);

/// Neighbouring outputs of a depthwise convolution that read the same taps, in the order the code below knows. Offsets and
/// steps count elements.
#[repr(C)]
struct Depthwise {
    x: *const i8,
    y: *mut i8,
    taps: *const isize,
    pairs: usize,
    records: *const i32,
    fours: usize,
    pixels: usize,
    x_step: usize,
    y_step: usize,
    zero: i32,
    fours_left: usize,
}

/// `pixels` neighbouring outputs of a depthwise convolution, four channels at a time. `taps` are where the first of them
/// reads in `x`, `usize::MAX` for a tap outside the image, which reads `outside`; then there is only one pixel.
#[inline(always)]
pub fn depthwise(window: &Window<'_>, taps: &[usize], y: &mut [i8]) {
    let &Window { x, outside, records, channels, pixels, x_step, y_step, format } = window;
    let mut table = [0isize; TAPS];
    let pairs = taps.len() / 2;
    let reach = pixels.checked_sub(1).and_then(|n| n.checked_mul(x_step)?.checked_add(channels));
    let written = pixels.checked_sub(1).and_then(|n| n.checked_mul(y_step)?.checked_add(channels));
    let (Some(reach), Some(written)) = (reach, written) else { return };
    if records.len() < depthwise_words(pairs) * (channels / 4) || y.len() < written || taps.len() > TAPS || channels < 4
    {
        return;
    }
    for (to, &tap) in table.iter_mut().zip(taps) {
        *to = match tap.checked_add(reach) {
            Some(end) if end <= x.len() => tap as isize,
            None if pixels == 1 && outside.len() >= channels => {
                (outside.as_ptr() as isize).wrapping_sub(x.as_ptr() as isize)
            }
            _ => return,
        };
    }
    let mut work = Depthwise {
        x: x.as_ptr(),
        y: y.as_mut_ptr(),
        taps: table.as_ptr(),
        pairs,
        records: records.as_ptr(),
        fours: channels / 4,
        pixels,
        x_step,
        y_step: y_step.wrapping_sub(channels / 4 * 4),
        zero: format.zero,
        fours_left: 0,
    };
    if pairs > 0 {
        // SAFETY: every tap of every pixel has `channels` bytes in `x` or in `outside`; there is a record per four channels,
        // and `y` holds the last pixel's. No count is 0.
        unsafe { depthwise_pixels(&mut work, outside.as_ptr()) }
    }
}

/// Registers: r0 taps, r1 records, r2 inputs, r3 pairs of taps, r4 and r5 inputs, r6 and r7 weights, r8 to r11 sums of four
/// channels. The second argument is where taps outside the image point; reads go through the table.
#[unsafe(naked)]
unsafe extern "C" fn depthwise_pixels(work: &mut Depthwise, outside: *const i8) {
    naked_asm!(
        core_name!(),
        "push {{r0, r4-r11, lr}}",
        "1:",
        "ldr r3, [sp]",
        "ldr r1, [r3, #16]",
        "ldr r2, [r3]",
        "ldr r4, [r3, #20]",
        "str r4, [r3, #40]",
        "2:",
        "ldr r0, [r3, #8]",
        "ldr r3, [r3, #12]",
        "ldm r1!, {{r8-r11}}",
        "cmp r3, #5",
        "bne 3f",
        // The nine taps of a 3x3 kernel without a counter, whose register holds weights here.
        ".irp at, 0, 8, 16, 24, 32",
        "ldrd r4, r5, [r0, #\\at]",
        "ldr r4, [r2, r4]",
        "ldr r5, [r2, r5]",
        "ldm r1!, {{r3, r6, r7, r12}}",
        "pkhbt lr, r4, r5, lsl #16",
        "pkhtb r4, r5, r4, asr #16",
        "sxtb16 r5, lr",
        "smlad r8, r5, r3, r8",
        "sxtb16 r5, lr, ror #8",
        "smlad r9, r5, r6, r9",
        "sxtb16 r5, r4",
        "smlad r10, r5, r7, r10",
        "sxtb16 r5, r4, ror #8",
        "smlad r11, r5, r12, r11",
        ".endr",
        "b 4f",
        "3:",
        "ldrd r4, r5, [r0], #8",
        "ldr r4, [r2, r4]",
        "ldr r5, [r2, r5]",
        "ldrd r6, r7, [r1], #8",
        "pkhbt r12, r4, r5, lsl #16",
        "sxtb16 lr, r12",
        "smlad r8, lr, r6, r8",
        "sxtb16 lr, r12, ror #8",
        "smlad r9, lr, r7, r9",
        "ldrd r6, r7, [r1], #8",
        "pkhtb r12, r5, r4, asr #16",
        "sxtb16 lr, r12",
        "smlad r10, lr, r6, r10",
        "sxtb16 lr, r12, ror #8",
        "smlad r11, lr, r7, r11",
        "subs r3, #1",
        "bne 3b",
        "4:",
        "ldr r3, [sp]",
        "ldm r1!, {{r4-r7}}",
        "ldr r12, [r3, #36]",
        "smmlar r8, r8, r4, r12",
        "smmlar r9, r9, r5, r12",
        "smmlar r10, r10, r6, r12",
        "smmlar r11, r11, r7, r12",
        "ldr r4, [r3, #4]",
        "ssat r8, #8, r8",
        "ssat r9, #8, r9",
        "ssat r10, #8, r10",
        "ssat r11, #8, r11",
        "ldr r5, [r3, #40]",
        "bfi r8, r9, #8, #8",
        "bfi r8, r10, #16, #8",
        "bfi r8, r11, #24, #8",
        "str r8, [r4], #4",
        "str r4, [r3, #4]",
        "adds r2, #4",
        "subs r5, #1",
        "str r5, [r3, #40]",
        "bne 2b",
        "ldr r2, [r3]",
        "ldr r5, [r3, #28]",
        "add r2, r5",
        "str r2, [r3]",
        "ldr r5, [r3, #32]",
        "add r4, r5",
        "str r4, [r3, #4]",
        "ldr r5, [r3, #24]",
        "subs r5, #1",
        "str r5, [r3, #24]",
        "bne 1b",
        "pop {{r0, r4-r11, pc}}",
    )
}
