//! Cortex-M with a single-precision FPU (M4F, M7, M33): inner loops over its 32 registers, each a whole loop in
//! assembly (`loops`), behind safe functions.
//!
//! Compiled Rust spills here: one-instruction `asm!` in Rust loops costs up to twice as much, and LLVM forms neither
//! `vldm` nor `vfma`. Every loop exists twice: with `vfma` (one rounding, one instruction per product) and with `vmul` and
//! `vadd` (two roundings, the bits of the portable level). Which is faster depends on the core: Arm publishes 3 cycles for a
//! `vfma` of the Cortex-M4 and 1 for each of the other two; LLVM's model of the Cortex-M7 has `vfma`
//! ahead. The compiler of models chooses.
//!
//! Products are added in the order of the inner dimension, one chain per output, as in [`crate::kernels::tile`]. The
//! functions here are safe: they compare all lengths, and leave the sums as they are where a slice is too short.

mod loops;

use crate::simd::Lanes;
use loops::{
    Depthwise, Finish, Rows, copy_apart, depthwise_fused, depthwise_separate, finish, four_rows_fused,
    four_rows_separate, one_row_fused, one_row_separate,
};

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
