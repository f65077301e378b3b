//! Helium (MVE, Cortex-M55 and M85): the inner loops of layers on 8-bit integers, whole in assembly: stable Rust has no
//! intrinsics for it. [`crate::kernels::int8::mve`] has the formats of records and the same functions in Rust, which say what
//! these compute. Functions here are safe: they compare all lengths, and do nothing where a slice is too short.

use crate::kernels::int8::mve::records::{
    CHUNK, TURN, chunk_words, depthwise_words, row_groups, row_words, tile_groups, tile_words,
};
use crate::kernels::int8::{Format, Window};
use core::arch::naked_asm;

/// What the loops over a row read and count down, in the order they know.
#[repr(C)]
struct Row {
    x: *const i8,
    inner: usize,
    zero: i32,
    y: *mut i8,
    groups: usize,
}

/// All output channels of a pixel: `y.len()`.
#[inline(always)]
pub fn row(x: &[i8], records: &[i32], zero: i32, y: &mut [i8]) {
    let fits = row_words(x.len()).checked_mul(y.len()).is_some_and(|words| words <= records.len());
    if !fits || x.is_empty() {
        return;
    }
    let mut work = Row { x: x.as_ptr(), inner: x.len(), zero, y: y.as_mut_ptr(), groups: 0 };
    let mut records = records.as_ptr();
    for (channels, groups) in row_groups(y.len()) {
        work.groups = groups;
        let body = match channels {
            6 => groups_of_6,
            4 => groups_of_4,
            2 => groups_of_2,
            _ => groups_of_1,
        };
        if groups > 0 {
            // SAFETY: the words of all records are there; loads of inputs are predicated, so no byte beyond them is read; a
            // byte of `y` is written per channel. No count is 0.
            records = unsafe { body(&mut work, records) };
        }
    }
}

/// All records of groups of so many channels. Registers: r1 records, r3 inputs, r5 how many, lr what is left of them; even
/// registers the sums, which is all that `vmlava` takes. Gives where the records end.
macro_rules! groups_of {
    ($name:ident, sums: $sums:literal, factors: $factors:literal, $($sum:literal $factor:literal;)*) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(work: &mut Row, records: *const i32) -> *const i32 {
            naked_asm!(
                ".cpu cortex-m55",
                "push {{r0, r4-r11, lr}}",
                "1:",
                "ldr r12, [sp]",
                concat!("ldm r1!, {{", $sums, "}}"),
                "ldrd r3, r5, [r12]",
                "dlstp.8 lr, r5",
                "3:",
                "vldrb.u8 q0, [r3], #16",
                $("vldrb.u8 q1, [r1], #16", concat!("vmlava.s8 ", $sum, ", q0, q1"),)*
                "letp lr, 3b",
                concat!("ldm r1!, {{", $factors, "}}"),
                "ldr r12, [r12, #8]",
                $(concat!("smmlar ", $sum, ", ", $sum, ", ", $factor, ", r12"),)*
                "ldr r3, [sp]",
                $(concat!("ssat ", $sum, ", #8, ", $sum),)*
                "ldrd r5, r7, [r3, #12]",
                $(concat!("strb ", $sum, ", [r5], #1"),)*
                "subs r7, #1",
                "strd r5, r7, [r3, #12]",
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

/// What [`tile_chunk`] reads, in the order it knows.
#[repr(C)]
struct Tile {
    x: [*const i8; 2],
    inner: usize,
    /// Of three channels and of two.
    groups: [usize; 2],
    columns: usize,
    y: [*mut i8; 2],
    format: [i32; 3],
}

/// The records of a layer for two pixels at a time, of which there are enough.
pub struct Tiles<'a> {
    records: &'a [i32],
    inner: usize,
    columns: usize,
    /// Whole chunks, and words of one.
    whole: usize,
    words: usize,
    /// Groups and columns of the chunk after them.
    rest: [usize; 3],
    format: [i32; 3],
}

impl<'a> Tiles<'a> {
    /// `None` if there are too few.
    #[inline(always)]
    pub fn new(records: &'a [i32], inner: usize, columns: usize, format: &Format) -> Option<Self> {
        let [threes, twos] = tile_groups(columns % CHUNK);
        let (whole, words) = (columns / CHUNK, chunk_words(inner, CHUNK));
        let rest = [threes, twos, columns % CHUNK];
        let format = [format.zero, i32::from(format.low), i32::from(format.high)];
        let fits = inner > 0 && columns > 0 && records.len() >= tile_words(inner, columns);
        fits.then_some(Tiles { records, inner, columns, whole, words, rest, format })
    }

    /// All output channels of two pixels, whose inputs begin at `starts` and outputs at `offsets`.
    #[inline(always)]
    pub fn pair(&self, x: &[i8], [starts, offsets]: [[usize; 2]; 2], y: &mut [i8]) {
        let fits = |[a, b]: [usize; 2], len: usize, all: usize| all.checked_sub(len).is_some_and(|m| a <= m && b <= m);
        if !fits(starts, self.inner, x.len()) || !fits(offsets, self.columns, y.len()) {
            return;
        }
        let (x, y, mut records) = (x.as_ptr(), y.as_mut_ptr(), self.records.as_ptr());
        let mut work = Tile {
            x: starts.map(|at| x.wrapping_add(at)),
            inner: self.inner,
            groups: [CHUNK / 3, 0],
            columns: CHUNK,
            y: offsets.map(|at| y.wrapping_add(at)),
            format: self.format,
        };
        for _ in 0..self.whole {
            // SAFETY: `inner` bytes are read of each pixel, by predicated loads, and the records of a chunk, all of which
            // `new` has seen; a byte is written per column and pixel. There is at least one column, `CHUNK` at most.
            unsafe { tile_chunk(&work, records) }
            work.y = work.y.map(|y| y.wrapping_add(CHUNK));
            records = records.wrapping_add(self.words);
        }
        let [threes, twos, columns] = self.rest;
        if columns > 0 {
            (work.groups, work.columns) = ([threes, twos], columns);
            // SAFETY: as above.
            unsafe { tile_chunk(&work, records) }
        }
    }
}

/// Sums go to the stack, `4 * CHUNK` bytes for each pixel, and are scaled from there, four at a time. Registers: r1 records,
/// r3 and r5 inputs, r11 how many, r7 groups, r9 and r12 where sums go; even registers the sums.
#[unsafe(naked)]
unsafe extern "C" fn tile_chunk(work: &Tile, records: *const i32) {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r4-r11, lr}}",
        "sub sp, #{frame}",
        "ldrd r3, r5, [r0]",
        "ldrd r11, r7, [r0, #8]",
        "add r12, sp, #{half}",
        "mov r9, sp",
        "strd r3, r5, [sp, #{inputs}]",
        "str r0, [sp, #{saved}]",
        "cmp r7, #0",
        "beq 4f",
        "1:",
        "ldm r1!, {{r0, r2, r4}}",
        "ldrd r3, r5, [sp, #{inputs}]",
        "mov r6, r0",
        "mov r8, r2",
        "mov r10, r4",
        "dlstp.8 lr, r11",
        "2:",
        "vldrb.u8 q0, [r3], #16",
        "vldrb.u8 q2, [r1], #16",
        "vmlava.s8 r0, q0, q2",
        "vldrb.u8 q1, [r5], #16",
        "vmlava.s8 r6, q1, q2",
        "vldrb.u8 q2, [r1], #16",
        "vmlava.s8 r2, q0, q2",
        "vmlava.s8 r8, q1, q2",
        "vldrb.u8 q2, [r1], #16",
        "vmlava.s8 r4, q0, q2",
        "vmlava.s8 r10, q1, q2",
        "letp lr, 2b",
        "stm r9!, {{r0, r2, r4}}",
        "stm r12!, {{r6, r8, r10}}",
        "subs r7, #1",
        "bne 1b",
        "4:",
        "ldr r0, [sp, #{saved}]",
        "ldr r7, [r0, #16]",
        "cmp r7, #0",
        "beq 6f",
        "5:",
        "ldm r1!, {{r0, r2}}",
        "ldrd r3, r5, [sp, #{inputs}]",
        "mov r6, r0",
        "mov r8, r2",
        "dlstp.8 lr, r11",
        "7:",
        "vldrb.u8 q0, [r3], #16",
        "vldrb.u8 q2, [r1], #16",
        "vmlava.s8 r0, q0, q2",
        "vldrb.u8 q1, [r5], #16",
        "vmlava.s8 r6, q1, q2",
        "vldrb.u8 q2, [r1], #16",
        "vmlava.s8 r2, q0, q2",
        "vmlava.s8 r8, q1, q2",
        "letp lr, 7b",
        "stm r9!, {{r0, r2}}",
        "stm r12!, {{r6, r8}}",
        "subs r7, #1",
        "bne 5b",
        "6:",
        "ldr r0, [sp, #{saved}]",
        "add r12, sp, #{half}",
        "mov r9, sp",
        "ldrd r11, r3, [r0, #20]",
        "ldrd r5, r2, [r0, #28]",
        "ldrd r4, r6, [r0, #36]",
        "vdup.32 q2, r4",
        "vdup.32 q3, r6",
        "dlstp.32 lr, r11",
        "8:",
        "vldrw.u32 q0, [r1], #16",
        "vldrw.u32 q1, [r9], #16",
        "vrmulh.s32 q1, q1, q0",
        "vadd.i32 q1, q1, r2",
        "vmax.s32 q1, q1, q2",
        "vmin.s32 q1, q1, q3",
        "vstrb.32 q1, [r3], #4",
        "vldrw.u32 q1, [r12], #16",
        "vrmulh.s32 q1, q1, q0",
        "vadd.i32 q1, q1, r2",
        "vmax.s32 q1, q1, q2",
        "vmin.s32 q1, q1, q3",
        "vstrb.32 q1, [r5], #4",
        "letp lr, 8b",
        "add sp, #{frame}",
        "pop {{r4-r11, pc}}",
        half = const 4 * CHUNK,
        inputs = const 8 * CHUNK,
        saved = const 8 * CHUNK + 8,
        frame = const 8 * CHUNK + 12,
    )
}

/// What [`depthwise_pixels`] reads, in the order it knows. Taps are distances from `x`.
#[repr(C)]
struct Depthwise {
    y: *mut i8,
    pixels: usize,
    x_step: usize,
    y_step: usize,
    taps: *const usize,
    turns: usize,
    records: *const i32,
    channels: usize,
    format: [i32; 3],
    x: *const i8,
}

/// `pixels` neighbouring outputs of a depthwise convolution. `taps`, in whole turns, are where the first of them reads in `x`,
/// `usize::MAX` for a tap outside the image, which reads `outside`; then there is only one pixel. Those change.
#[inline(always)]
pub fn depthwise(window: &Window<'_>, taps: &mut [usize], y: &mut [i8]) {
    let &Window { x, outside, records, channels, pixels, x_step, y_step, format } = window;
    let turns = taps.len() / TURN;
    let end = |step: usize| pixels.checked_sub(1).and_then(|n| n.checked_mul(step)?.checked_add(channels));
    let (Some(reach), Some(written)) = (end(x_step), end(y_step)) else { return };
    let fits = records.len() >= depthwise_words(turns, channels) && y.len() >= written && outside.len() >= channels;
    let Some(most) = x.len().checked_sub(reach).filter(|_| fits) else { return };
    if channels == 0 || !channels.is_multiple_of(2) || turns == 0 {
        return;
    }
    let beyond = (outside.as_ptr() as usize).wrapping_sub(x.as_ptr() as usize);
    for tap in taps.iter_mut() {
        if *tap > most {
            if *tap != usize::MAX || pixels != 1 {
                return;
            }
            *tap = beyond;
        }
    }
    let work = Depthwise {
        y: y.as_mut_ptr(),
        pixels,
        x_step,
        y_step,
        taps: taps.as_ptr(),
        turns,
        records: records.as_ptr(),
        channels,
        format: [format.zero, i32::from(format.low), i32::from(format.high)],
        x: x.as_ptr(),
    };
    // SAFETY: every tap of every pixel has `channels` bytes in `x` or in `outside`, and predicated loads read no more; there is
    // a record per eight channels, filled up, and `y` holds the last pixel's. No count is 0; channels are even, so that
    // lanes of 32 bits are whole.
    unsafe { depthwise_pixels(&work, outside.as_ptr()) }
}

/// A turn of three taps.
macro_rules! turn {
    () => {
        "ldm r8!, {{r3, r4, r5}}
        add r3, r2
        add r4, r2
        add r5, r2
        .irp tap, r3, r4, r5
        vldrb.s16 q0, [\\tap]
        vldrb.s16 q1, [r1], #8
        vmullb.s16 q4, q0, q1
        vmullt.s16 q0, q0, q1
        vadd.i32 q2, q2, q4
        vadd.i32 q3, q3, q0
        .endr"
    };
}

/// The outputs of the sums.
macro_rules! scale {
    () => {
        "vldrw.u32 q0, [r1], #16
        vldrw.u32 q1, [r1], #16
        vrmulh.s32 q2, q2, q0
        vrmulh.s32 q3, q3, q1
        vqmovnb.s32 q0, q2
        vqmovnt.s32 q0, q3
        vqadd.s16 q0, q0, r11
        vmax.s16 q0, q0, q5
        vmin.s16 q0, q0, q6
        vstrb.16 q0, [r6], #8
        adds r2, #8"
    };
}

/// Eight channels in lanes of 16 bits; their sums in lanes of 32, even channels in q2, odd ones in q3. Registers: r1 records,
/// r2 inputs, from which taps count, r3 to r5 taps, r6 outputs, r7 turns left, r8 taps left, r9 inputs of the pixel. The
/// second argument is where taps outside the image point; reads go through the table.
#[unsafe(naked)]
unsafe extern "C" fn depthwise_pixels(work: &Depthwise, outside: *const i8) {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r4-r11, lr}}",
        "sub sp, #4",
        "vpush {{d8-d13}}",
        "ldr r11, [r0, #32]",
        "ldrd r3, r4, [r0, #36]",
        "vdup.16 q5, r3",
        "vdup.16 q6, r4",
        "ldr r9, [r0, #44]",
        "ldrd r10, r12, [r0]",
        "1:",
        "ldr r7, [r0, #20]",
        "ldrd r1, r3, [r0, #24]",
        "mov r2, r9",
        "mov r6, r10",
        "cmp r7, #3",
        "dlstp.16 lr, r3",
        "bne 3f",
        // The nine taps of a 3x3 kernel without a counter.
        "2:",
        "ldr r8, [r0, #16]",
        "vldrw.u32 q2, [r1], #16",
        "vldrw.u32 q3, [r1], #16",
        turn!(),
        turn!(),
        turn!(),
        scale!(),
        "letp lr, 2b",
        "b 5f",
        "3:",
        "ldrd r8, r7, [r0, #16]",
        "vldrw.u32 q2, [r1], #16",
        "vldrw.u32 q3, [r1], #16",
        "4:",
        turn!(),
        "subs r7, #1",
        "bne 4b",
        scale!(),
        "letp lr, 3b",
        "5:",
        "ldrd r3, r4, [r0, #8]",
        "add r9, r3",
        "add r10, r4",
        "subs r12, #1",
        "bne 1b",
        "vpop {{d8-d13}}",
        "add sp, #4",
        "pop {{r4-r11, pc}}",
    )
}

/// Equally long lines, in the order [`copy_lines`] knows.
#[repr(C)]
pub struct Lines {
    count: usize,
    step: usize,
    len: usize,
    /// From the first byte of the first line to the end of the last, and all bytes of lines.
    reach: usize,
    all: usize,
}

impl Lines {
    /// `count` lines of `len` bytes, `step` apart.
    #[inline(always)]
    pub fn new(count: usize, step: usize, len: usize) -> Option<Lines> {
        let reach = count.checked_sub(1)?.checked_mul(step)?.checked_add(len)?;
        let all = count.checked_mul(len)?;
        Some(Lines { count, step, len, reach, all }).filter(|_| len > 0)
    }

    /// Copies them from `start` in `x`, next to each other.
    #[inline(always)]
    pub fn copy(&self, x: &[i8], start: usize, to: &mut [i8]) {
        if x.len().checked_sub(self.reach).is_some_and(|most| start <= most) && self.all <= to.len() {
            // SAFETY: the last line ends inside `x`, there is room for all, and no count is 0; loads and stores are predicated.
            unsafe { copy_lines(x.as_ptr().wrapping_add(start), to.as_mut_ptr(), self) }
        }
    }
}

#[unsafe(naked)]
unsafe extern "C" fn copy_lines(from: *const i8, to: *mut i8, lines: &Lines) {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r4, r5, r6, lr}}",
        "ldm r2, {{r2, r3, r12}}",
        "1:",
        "mov r4, r0",
        "mov r5, r1",
        "dlstp.8 lr, r12",
        "2:",
        "vldrb.u8 q0, [r4], #16",
        "vstrb.8 q0, [r5], #16",
        "letp lr, 2b",
        "add r0, r3",
        "add r1, r12",
        "subs r2, #1",
        "bne 1b",
        "pop {{r4, r5, r6, pc}}",
    )
}
