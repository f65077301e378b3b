//! Cortex-M with a single-precision FPU (M4F, M7, M33): inner loops over its 32 registers, each a whole loop in assembly.
//!
//! Compiled Rust spills here: one-instruction `asm!` in Rust loops costs up to twice as much, and LLVM forms neither
//! `vldm` nor `vfma`. Every loop exists twice: with `vfma` (one rounding, one instruction per product) and with `vmul` and
//! `vadd` (two roundings, the bits of the portable level). Which is faster depends on the core: Arm publishes 3 cycles for a
//! `vfma` of the Cortex-M4 and 1 for each of the other two; the Cortex-M7 issues one `vfma` per cycle. The compiler chooses.
//!
//! Products are added in the order of the inner dimension, one chain per output, as in [`crate::kernels::tile`]. The
//! functions here are safe: they compare all lengths, and leave the sums as they are where a slice is too short.

use crate::simd::Lanes;
use core::arch::naked_asm;

/// Four adjacent weights or outputs.
type Four = [f32; 4];

/// Four adjacent sums.
type Sums = Lanes<f32, 4>;

/// `sums[i][j] += sum over k of rows[i][k] * panel[k][j]` for four rows.
#[inline(always)]
pub fn four_rows<const FUSED: bool>(sums: &mut [Sums; 4], rows: [&[f32]; 4], panel: &[Four]) {
    if rows.iter().any(|row| row.len() < panel.len()) {
        return;
    }
    let (y, rows) = (sums.as_mut_ptr().cast(), rows.map(<[f32]>::as_ptr));
    let work = Rows { rows, panels: panel.as_ptr(), inner: panel.len(), y, y_step: 16, count: 1, start: y.cast() };
    let tile = if FUSED { four_rows_fused } else { four_rows_separate };
    // SAFETY: each row and the panel hold what `panel.len()` turns read; the 16 sums are read before they are written.
    unsafe { tile(&work) }
}

/// `y[i * step + 4 p + j] = sum over k of rows[i][k] * panels[p][k][j]` for four rows and all panels, one after the other in
/// `panels`, `inner` groups each.
#[inline(always)]
pub fn four_rows_of_all<const FUSED: bool>(
    rows: [&[f32]; 4],
    panels: &[Four],
    inner: usize,
    y: &mut [f32],
    step: usize,
) {
    let count = panels.len().checked_div(inner).unwrap_or(0);
    let end = step.checked_mul(3).and_then(|last| last.checked_add(count.checked_mul(4)?));
    if count == 0 || end.is_none_or(|end| end > y.len()) || rows.iter().any(|row| row.len() < inner) {
        return;
    }
    let (y, rows, panels) = (y.as_mut_ptr(), rows.map(<[f32]>::as_ptr), panels.as_ptr());
    let work = Rows { rows, panels, inner, y, y_step: 4 * step, count, start: ZEROS.as_ptr() };
    let tile = if FUSED { four_rows_fused } else { four_rows_separate };
    // SAFETY: each row holds what `inner` turns read, `panels` what `count` times as many do; the last of the rows ends inside `y`.
    unsafe { tile(&work) }
}

/// `sums[j] += sum over k of row[k] * panel[k][j]`.
#[inline(always)]
pub fn one_row<const FUSED: bool>(sums: &mut Sums, row: &[f32], panel: &[Four]) {
    if row.len() < panel.len() {
        return;
    }
    let tile = if FUSED { one_row_fused } else { one_row_separate };
    // SAFETY: `sums` are 4 numbers; the row and the panel hold what `panel.len()` turns read.
    unsafe { tile(sums, row.as_ptr(), panel.as_ptr(), panel.len()) }
}

/// What becomes of sums before they are written: `clamp(sum + bias + old)`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Bounds {
    /// Least result, if `raise`; NaN stays NaN.
    pub low: f32,
    /// Greatest result, if `lower`.
    pub high: f32,
    /// Whether `low` is not minus infinity.
    pub raise: bool,
    /// Whether `high` is not infinity.
    pub lower: bool,
    /// Whether to add what the output holds.
    pub add: bool,
}

/// `y[i * step ..][.. 4] = clamp(sums[i] + bias + y[i * step ..])` for each row of sums, with one bias for all.
#[inline(always)]
pub fn finish_rows(sums: &[Sums], bias: &Four, bounds: Bounds, y: &mut [f32], step: usize) {
    let Some(last) = sums.len().checked_sub(1) else { return };
    if last.checked_mul(step).and_then(|end| end.checked_add(4)).is_none_or(|end| end > y.len()) {
        return;
    }
    let (from, y, count) = (sums.as_ptr(), y.as_mut_ptr(), sums.len());
    let work = Finish { sums: from, y, bias, count, y_step: 4 * step, bias_step: 0, bounds };
    // SAFETY: the last of the rows ends inside `y`; there is at least one.
    unsafe { finish(&work) }
}

/// `y[g] = clamp(sums[g] + bias[g] + y[g])`, group by group.
#[inline(always)]
pub fn finish_groups(sums: &[Sums], bias: &[Four], bounds: Bounds, y: &mut [Four]) {
    if sums.is_empty() || bias.len() < sums.len() || y.len() < sums.len() {
        return;
    }
    let (from, y, bias, count) = (sums.as_ptr(), y.as_mut_ptr().cast(), bias.as_ptr(), sums.len());
    let work = Finish { sums: from, y, bias, count, y_step: 16, bias_step: 16, bounds };
    // SAFETY: `sums.len()` groups, at least one, are there in all three.
    unsafe { finish(&work) }
}

/// `y[i * step ..][g] = clamp(y[i * step ..][g] + bias[g])` for `rows` rows of `groups` groups; without a bias,
/// `clamp(y[..])`.
#[inline(never)]
pub fn finish_in_place(bias: Option<&[Four]>, bounds: Bounds, y: &mut [f32], [rows, groups]: [usize; 2], step: usize) {
    let (bias, bias_step) = match bias {
        Some(bias) if bias.len() < groups => return,
        Some(bias) => (bias.as_ptr(), 16),
        None => (ZEROS.as_ptr().cast(), 0),
    };
    let end = rows.checked_sub(1).and_then(|last| last.checked_mul(step)?.checked_add(groups.checked_mul(4)?));
    if groups == 0 || end.is_none_or(|end| end > y.len()) {
        return;
    }
    let bounds = Bounds { add: false, ..bounds };
    for row in 0..rows {
        let y = y.as_mut_ptr().wrapping_add(row * step);
        let work = Finish { sums: y.cast(), y, bias, count: groups, y_step: 16, bias_step, bounds };
        // SAFETY: the last of the rows ends inside `y`; `bias` has as many groups, or the one that is read each time. Both
        // pointers to `y` come from one borrow, and each group is read before it is written.
        unsafe { finish(&work) }
    }
}

/// No bias, and sums before the first product.
static ZEROS: [f32; 16] = [0.0; 16];

/// The taps of a window that lie inside an image: `rows` times `columns` of them, and the distances of neighbours.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taps {
    /// Rows of taps.
    pub rows: usize,
    /// Taps in a row.
    pub columns: usize,
    /// Distance of rows and of columns in the input, in elements.
    pub x_steps: [usize; 2],
    /// Distance of rows and of columns in the weights, in groups of four.
    pub w_steps: [usize; 2],
}

impl Taps {
    /// Where the last tap is, from the first, by these distances.
    fn last(&self, [row, column]: [usize; 2]) -> Option<usize> {
        let rows = self.rows.checked_sub(1)?.checked_mul(row)?;
        rows.checked_add(self.columns.checked_sub(1)?.checked_mul(column)?)
    }
}

/// Neighbouring outputs with the same taps.
#[derive(Clone, Copy, Debug)]
pub struct Pixels {
    /// How many.
    pub count: usize,
    /// Groups of four channels that are computed of each.
    pub groups: usize,
    /// Distance in the input and in the output, in elements.
    pub steps: [usize; 2],
}

impl Pixels {
    /// Elements from the first to the end of the last, with this distance of pixels.
    fn span(&self, step: usize) -> Option<usize> {
        self.count.checked_sub(1)?.checked_mul(step)?.checked_add(self.groups.checked_mul(4)?)
    }
}

/// `y[p][g] += sum over taps of x[p][tap + 4 g ..][.. 4] * weights[tap + g]`, for each pixel and group of four channels; `add`
/// false: `y` is overwritten. `x` and `weights` begin at the first tap.
#[inline(always)]
pub fn depthwise<const FUSED: bool>(
    x: &[f32],
    weights: &[Four],
    taps: &Taps,
    y: &mut [f32],
    pixels: &Pixels,
    add: bool,
) {
    let (Some(x_last), Some(w_last)) = (taps.last(taps.x_steps), taps.last(taps.w_steps)) else { return };
    let [x_pixel, y_pixel] = pixels.steps;
    let fits = pixels.span(x_pixel).and_then(|n| n.checked_add(x_last)).is_some_and(|end| end <= x.len())
        && pixels.span(y_pixel).is_some_and(|end| end <= y.len())
        && pixels.groups.checked_add(w_last).is_some_and(|end| end <= weights.len());
    if !fits {
        return;
    }
    // In bytes: to the next tap from the middle of sixteen channels, to the next row from behind the last tap, and from
    // behind the last row to the next sixteen channels.
    let steps = |[row, column]: [usize; 2], size: usize| {
        let (row, column) = (row.wrapping_mul(size), column.wrapping_mul(size));
        let next_row = row.wrapping_sub(taps.columns.wrapping_mul(column));
        [column.wrapping_sub(32), next_row, 64usize.wrapping_sub(taps.rows.wrapping_mul(row))]
    };
    let ([x_tap, x_row, x_block], [w_tap, w_row, w_block]) = (steps(taps.x_steps, 4), steps(taps.w_steps, 16));
    let mut work = Depthwise {
        x: x.as_ptr(),
        weights: weights.as_ptr(),
        x_tap,
        w_tap,
        x_row,
        w_row,
        y: y.as_mut_ptr(),
        columns: taps.columns,
        rows: taps.rows,
        groups: pixels.groups,
        zeros: &ZEROS,
        add: usize::from(add),
        x_block,
        w_block,
        x_pixel: 4 * x_pixel,
        y_pixel: 4 * y_pixel,
        pixels: pixels.count,
    };
    let body = if FUSED { depthwise_fused } else { depthwise_separate };
    // SAFETY: the last group of the last tap of the last pixel lies inside `x` and `weights`, and that of the output inside
    // `y`, all others before them; `rows`, `columns` and `pixels` are not 0.
    unsafe { body(&mut work) }
}

/// `to[t * channels + c] = x[t * steps[0] + c * steps[1]]`.
#[inline(always)]
pub fn transpose(x: &[f32], steps: [usize; 2], to: &mut [f32], channels: usize) {
    let Some(taps) = to.len().checked_div(channels) else { return };
    let last = |n: usize, step: usize| n.checked_sub(1)?.checked_mul(step);
    let end = last(taps, steps[0]).and_then(|end| end.checked_add(last(channels, steps[1])?));
    if end.is_none_or(|end| end >= x.len()) {
        return;
    }
    // SAFETY: `taps * channels` numbers, at least one, are writable at `to`; the last that is read is `x[end]`.
    unsafe { copy_apart(x.as_ptr(), to.as_mut_ptr(), channels, taps, 4 * steps[0], 4 * steps[1]) }
}

/// Steps in bytes.
///
/// # Safety
/// `taps` times `channels` numbers, at least one, are readable at `x` by these steps, and writable at `to`.
#[unsafe(naked)]
unsafe extern "C" fn copy_apart(x: *const f32, to: *mut f32, channels: usize, taps: usize, tap: usize, channel: usize) {
    naked_asm!(
        "push {{r4-r7}}",
        "ldrd r4, r5, [sp, #16]",
        "1: mov r6, r0",
        "mov r12, r2",
        "2: ldr r7, [r6]",
        "add r6, r6, r5",
        "str r7, [r1], #4",
        "subs r12, r12, #1",
        "bne 2b",
        "add r0, r0, r4",
        "subs r3, r3, #1",
        "bne 1b",
        "pop {{r4-r7}}",
        "bx lr",
    )
}

/// Argument of the loops over four rows; the step in bytes. The assembly below reads it in this order.
#[repr(C)]
struct Rows {
    rows: [*const f32; 4],
    panels: *const Four,
    inner: usize,
    y: *mut f32,
    y_step: usize,
    count: usize,
    /// What the sums of every panel begin with.
    start: *const f32,
}

/// Argument of [`finish`]; steps in bytes. The assembly below reads it in this order.
#[repr(C)]
struct Finish {
    sums: *const Sums,
    y: *mut f32,
    bias: *const Four,
    count: usize,
    y_step: usize,
    bias_step: usize,
    bounds: Bounds,
}

/// Argument of the depthwise loops; steps in bytes, modulo 2^32. The assembly below reads it in this order.
#[repr(C)]
struct Depthwise {
    x: *const f32,
    weights: *const Four,
    x_tap: usize,
    w_tap: usize,
    x_row: usize,
    w_row: usize,
    y: *mut f32,
    columns: usize,
    rows: usize,
    groups: usize,
    zeros: *const [f32; 16],
    add: usize,
    x_block: usize,
    w_block: usize,
    x_pixel: usize,
    y_pixel: usize,
    pixels: usize,
}

/// The text of `acc[j] += x * w[j]`, registers by number.
macro_rules! fused {
    ($x:literal, $($acc:literal)*, $($w:literal)*) => {
        concat!($("vfma.f32 s", $acc, ", s", $x, ", s", $w, "\n"),*)
    };
}

/// As [`fused`], four products and then four sums, so that none waits for the one before it.
macro_rules! separate {
    ($p:literal $q:literal $r:literal $s:literal; $x:literal,
     $a:literal $b:literal $c:literal $d:literal, $i:literal $j:literal $k:literal $l:literal) => {
        concat!(
            "vmul.f32 s",
            $p,
            ", s",
            $x,
            ", s",
            $i,
            "\n",
            "vmul.f32 s",
            $q,
            ", s",
            $x,
            ", s",
            $j,
            "\n",
            "vmul.f32 s",
            $r,
            ", s",
            $x,
            ", s",
            $k,
            "\n",
            "vmul.f32 s",
            $s,
            ", s",
            $x,
            ", s",
            $l,
            "\n",
            "vadd.f32 s",
            $a,
            ", s",
            $a,
            ", s",
            $p,
            "\n",
            "vadd.f32 s",
            $b,
            ", s",
            $b,
            ", s",
            $q,
            "\n",
            "vadd.f32 s",
            $c,
            ", s",
            $c,
            ", s",
            $r,
            "\n",
            "vadd.f32 s",
            $d,
            ", s",
            $d,
            ", s",
            $s,
            "\n",
        )
    };
}

/// With temporaries in s12 to s15.
macro_rules! separate_low {
    ($($rest:tt)*) => { separate!(12 13 14 15; $($rest)*) };
}

/// With temporaries in s24 to s27.
macro_rules! separate_high {
    ($($rest:tt)*) => { separate!(24 25 26 27; $($rest)*) };
}

/// Sums of four rows in s16 to s31, two elements of each row in s0 to s7; a turn takes two of the inner dimension.
/// `$load` the weights of the first, `$reload` those of the second, in the registers named last.
macro_rules! four_rows {
    ($name:ident, $mac:ident, $load:literal, $reload:literal, $w:literal $v:literal $u:literal $t:literal) => {
        /// # Safety
        /// `inner` numbers are readable in each row, `count` times as many groups in `panels`, 16 numbers at `start`; `count`
        /// groups are writable in each of four rows of `y`. `count` is not 0.
        #[unsafe(naked)]
        unsafe extern "C" fn $name(work: *const Rows) {
            naked_asm!(
                ".fpu fpv4-sp-d16",
                "push {{r4-r11}}",
                "vpush {{s16-s31}}",
                "ldmia r0, {{r1-r10}}",
                "1: vldmia r10, {{s16-s31}}",
                "lsrs r11, r6, #1",
                "beq 3f",
                "2:",
                "vldmia r1!, {{s0-s1}}",
                "vldmia r2!, {{s2-s3}}",
                "vldmia r3!, {{s4-s5}}",
                "vldmia r4!, {{s6-s7}}",
                $load,
                $mac!(0, 16 17 18 19, 8 9 10 11),
                $mac!(2, 20 21 22 23, 8 9 10 11),
                $mac!(4, 24 25 26 27, 8 9 10 11),
                $mac!(6, 28 29 30 31, 8 9 10 11),
                $reload,
                $mac!(1, 16 17 18 19, $w $v $u $t),
                $mac!(3, 20 21 22 23, $w $v $u $t),
                $mac!(5, 24 25 26 27, $w $v $u $t),
                $mac!(7, 28 29 30 31, $w $v $u $t),
                "subs r11, r11, #1",
                "bne 2b",
                "3: lsls r12, r6, #31",
                "beq 4f",
                "vldmia r1!, {{s0}}",
                "vldmia r2!, {{s2}}",
                "vldmia r3!, {{s4}}",
                "vldmia r4!, {{s6}}",
                "vldmia r5!, {{s8-s11}}",
                $mac!(0, 16 17 18 19, 8 9 10 11),
                $mac!(2, 20 21 22 23, 8 9 10 11),
                $mac!(4, 24 25 26 27, 8 9 10 11),
                $mac!(6, 28 29 30 31, 8 9 10 11),
                "4: vstmia r7, {{s16-s19}}",
                "add r12, r7, r8",
                "vstmia r12, {{s20-s23}}",
                "add r12, r12, r8",
                "vstmia r12, {{s24-s27}}",
                "add r12, r12, r8",
                "vstmia r12, {{s28-s31}}",
                // The next panel, with the rows from their beginning.
                "adds r7, r7, #16",
                "sub r1, r1, r6, lsl #2",
                "sub r2, r2, r6, lsl #2",
                "sub r3, r3, r6, lsl #2",
                "sub r4, r4, r6, lsl #2",
                "subs r9, r9, #1",
                "bne 1b",
                "vpop {{s16-s31}}",
                "pop {{r4-r11}}",
                "bx lr",
            )
        }
    };
}
four_rows!(four_rows_fused, fused, "vldmia r5!, {{s8-s15}}", "", 12 13 14 15);
four_rows!(four_rows_separate, separate_low, "vldmia r5!, {{s8-s11}}", "vldmia r5!, {{s8-s11}}", 8 9 10 11);

/// [`one_row`]: sums in s0 to s3; a turn takes eight of the inner dimension, sixteen weights per load.
macro_rules! one_row {
    ($name:ident, $mac:ident) => {
        /// # Safety
        /// `row` points to `count` readable numbers, `panel` to `count` groups of four.
        #[unsafe(naked)]
        unsafe extern "C" fn $name(sums: *mut Sums, row: *const f32, panel: *const Four, count: usize) {
            naked_asm!(
                ".fpu fpv4-sp-d16",
                "vpush {{s16-s27}}",
                "vldmia r0, {{s0-s3}}",
                "lsrs r12, r3, #3",
                "beq 3f",
                "2:",
                ".rept 2",
                "vldmia r1!, {{s4-s7}}",
                "vldmia r2!, {{s8-s23}}",
                $mac!(4, 0 1 2 3, 8 9 10 11),
                $mac!(5, 0 1 2 3, 12 13 14 15),
                $mac!(6, 0 1 2 3, 16 17 18 19),
                $mac!(7, 0 1 2 3, 20 21 22 23),
                ".endr",
                "subs r12, r12, #1",
                "bne 2b",
                "3: ands r3, r3, #7",
                "beq 5f",
                "4:",
                "vldmia r1!, {{s4}}",
                "vldmia r2!, {{s8-s11}}",
                $mac!(4, 0 1 2 3, 8 9 10 11),
                "subs r3, r3, #1",
                "bne 4b",
                "5: vstmia r0, {{s0-s3}}",
                "vpop {{s16-s27}}",
                "bx lr",
            )
        }
    };
}
one_row!(one_row_fused, fused);
one_row!(one_row_separate, separate_high);

/// `acc[i] += x[i] * w[i]`, sums from s16 or s24 on, weights in s0 to s7, input in s8 to s15.
macro_rules! lanes_fused {
    ($($acc:literal $x:literal $w:literal),*) => {
        concat!($("vfma.f32 s", $acc, ", s", $x, ", s", $w, "\n"),*)
    };
}

/// As [`lanes_fused`]; the products replace the input.
macro_rules! lanes_separate {
    ($($acc:literal $x:literal $w:literal),*) => {
        concat!(
            $("vmul.f32 s", $x, ", s", $x, ", s", $w, "\n",)*
            $("vadd.f32 s", $acc, ", s", $acc, ", s", $x, "\n"),*
        )
    };
}

/// [`depthwise`]: of each pixel, sixteen channels at a time through all taps, then four. A pixel begins with what the argument
/// holds, where input and output are moved on.
macro_rules! depthwise {
    ($name:ident, $mac:ident) => {
        /// # Safety
        /// Of every pixel, all taps' groups are readable in `x` and `weights`, and `groups` of `y` writable; `rows`, `columns`
        /// and `pixels` are not 0.
        #[unsafe(naked)]
        unsafe extern "C" fn $name(work: *mut Depthwise) {
            naked_asm!(
                ".fpu fpv4-sp-d16",
                "push {{r4-r11, lr}}",
                "vpush {{s16-s31}}",
                "0: ldmia r0, {{r1, r2, r5-r12}}",
                "subs r12, r12, #4",
                "blt 6f",
                // Sixteen channels.
                "1: ldrd r3, r4, [r0, #40]",
                "cbz r4, 2f",
                "mov r3, r9",
                "2: vldmia r3, {{s16-s31}}",
                "mov r4, r11",
                "3: mov r3, r10",
                "4:",
                "vldmia r2!, {{s0-s7}}",
                "vldmia r1!, {{s8-s15}}",
                $mac!(16 8 0, 17 9 1, 18 10 2, 19 11 3, 20 12 4, 21 13 5, 22 14 6, 23 15 7),
                "vldmia r2, {{s0-s7}}",
                "vldmia r1, {{s8-s15}}",
                $mac!(24 8 0, 25 9 1, 26 10 2, 27 11 3, 28 12 4, 29 13 5, 30 14 6, 31 15 7),
                "add r1, r1, r5",
                "add r2, r2, r6",
                "subs r3, r3, #1",
                "bne 4b",
                "add r1, r1, r7",
                "add r2, r2, r8",
                "subs r4, r4, #1",
                "bne 3b",
                "vstmia r9!, {{s16-s31}}",
                "ldrd r3, r4, [r0, #48]",
                "add r1, r1, r3",
                "add r2, r2, r4",
                "subs r12, r12, #4",
                "bge 1b",
                // Four, with steps from where their loads begin.
                "6: adds r12, r12, #4",
                "beq 8f",
                "adds r5, r5, #32",
                "adds r6, r6, #32",
                "7: ldrd r3, r4, [r0, #40]",
                "cbz r4, 2f",
                "mov r3, r9",
                "2: vldmia r3, {{s16-s19}}",
                "mov r4, r11",
                "3: mov r3, r10",
                "4:",
                "vldmia r2, {{s0-s3}}",
                "vldmia r1, {{s8-s11}}",
                $mac!(16 8 0, 17 9 1, 18 10 2, 19 11 3),
                "add r1, r1, r5",
                "add r2, r2, r6",
                "subs r3, r3, #1",
                "bne 4b",
                "add r1, r1, r7",
                "add r2, r2, r8",
                "subs r4, r4, #1",
                "bne 3b",
                "vstmia r9!, {{s16-s19}}",
                "ldrd r3, r4, [r0, #48]",
                "sub r3, r3, #48",
                "sub r4, r4, #48",
                "add r1, r1, r3",
                "add r2, r2, r4",
                "subs r12, r12, #1",
                "bne 7b",
                // The next pixel.
                "8: ldr r1, [r0]",
                "ldr r2, [r0, #24]",
                "ldrd r3, r4, [r0, #56]",
                "ldr r5, [r0, #64]",
                "add r1, r1, r3",
                "add r2, r2, r4",
                "str r1, [r0]",
                "str r2, [r0, #24]",
                "subs r5, r5, #1",
                "str r5, [r0, #64]",
                "bne 0b",
                "vpop {{s16-s31}}",
                "pop {{r4-r11, pc}}",
            )
        }
    };
}
depthwise!(depthwise_fused, lanes_fused);
depthwise!(depthwise_separate, lanes_separate);

/// `$s` becomes `$bound` if the comparison says so; false for NaN.
macro_rules! bound {
    ($bound:literal $when:literal: $($s:literal)*) => {
        concat!($("vcmp.f32 s", $s, ", ", $bound, "\nvmrs APSR_nzcv, FPSCR\nit ", $when, "\nvmov", $when, ".f32 s", $s, ", ", $bound, "\n"),*)
    };
}

/// Adds bias and old output, applies the bounds, writes; a group of four per turn.
///
/// # Safety
/// `count` is not 0; that many groups of four are readable at `sums`, at `bias` by its step, and writable at `y` by its step.
#[unsafe(naked)]
unsafe extern "C" fn finish(work: *const Finish) {
    naked_asm!(
        ".fpu fpv4-sp-d16",
        "push {{r4-r9}}",
        "ldmia r0!, {{r1-r4, r8, r9}}",
        "vldmia r0!, {{s8-s9}}",
        "ldrb r5, [r0]",
        "ldrb r6, [r0, #1]",
        "ldrb r7, [r0, #2]",
        // Most layers raise to 0 and do nothing else: a loop without a question.
        "orrs r12, r6, r7",
        "bne 1f",
        "cbz r5, 1f",
        "0: vldmia r1!, {{s0-s3}}",
        "vldmia r3, {{s4-s7}}",
        "add r3, r3, r9",
        "vadd.f32 s0, s0, s4",
        "vadd.f32 s1, s1, s5",
        "vadd.f32 s2, s2, s6",
        "vadd.f32 s3, s3, s7",
        bound!("s8" "mi": 0 1 2 3),
        "vstmia r2, {{s0-s3}}",
        "add r2, r2, r8",
        "subs r4, r4, #1",
        "bne 0b",
        "b 5f",
        "1: vldmia r1!, {{s0-s3}}",
        "vldmia r3, {{s4-s7}}",
        "add r3, r3, r9",
        "vadd.f32 s0, s0, s4",
        "vadd.f32 s1, s1, s5",
        "vadd.f32 s2, s2, s6",
        "vadd.f32 s3, s3, s7",
        "cbz r7, 2f",
        "vldmia r2, {{s4-s7}}",
        "vadd.f32 s0, s0, s4",
        "vadd.f32 s1, s1, s5",
        "vadd.f32 s2, s2, s6",
        "vadd.f32 s3, s3, s7",
        "2: cbz r5, 3f",
        // Negative only if less: what is not ordered stays.
        bound!("s8" "mi": 0 1 2 3),
        "3: cbz r6, 4f",
        bound!("s9" "gt": 0 1 2 3),
        "4: vstmia r2, {{s0-s3}}",
        "add r2, r2, r8",
        "subs r4, r4, #1",
        "bne 1b",
        "5: pop {{r4-r9}}",
        "bx lr",
    )
}
