//! Layers from signed bytes to signed bytes on cores with Helium (MVE), which add sixteen products in one instruction.
//!
//! No patches: one output pixel reads its inputs where they stand, as *lines* (kernel rows), and up to six output channels
//! pass over a line at once. Patches that leave the image are copied first. What outputs are is as in [`super`].

use super::{Format, body_mve};
use crate::kernels::matmul::span;
use crate::kernels::window::{Axis, MAX_ROWS, Plan};
use crate::simd::{Op, Simd};

/// Inputs that meet a register of weights.
pub const BLOCK: usize = 16;

/// The inputs of one pixel: equally long lines.
#[derive(Clone, Copy, Debug)]
pub struct Lines<'a> {
    /// Where the first line begins.
    pub x: &'a [i8],
    /// Distance of lines.
    pub step: usize,
    /// How many.
    pub count: usize,
    /// Bytes of each.
    pub len: usize,
}

impl Lines<'_> {
    /// Whether all of them are there, with records for so many columns; none is empty.
    pub fn fit(&self, records: &[i32], columns: usize) -> bool {
        let reach = self.count.checked_sub(1).and_then(|n| n.checked_mul(self.step)?.checked_add(self.len));
        let words = words(self.count, self.len).checked_mul(columns);
        reach.is_some_and(|reach| reach <= self.x.len() && self.len > 0 && columns > 0)
            && words.is_some_and(|words| words <= records.len())
    }
}

/// Words of records per output channel.
pub const fn words(lines: usize, len: usize) -> usize {
    2 + 4 * lines * len.div_ceil(BLOCK)
}

/// Groups of channels that share a record: how many channels, and how many such records, in this order.
pub const fn groups(columns: usize) -> [(usize, usize); 4] {
    let rest = columns % 6;
    [(6, columns / 6), (4, rest / 4), (2, rest % 4 / 2), (1, rest % 2)]
}

/// The records of a layer whose channels are `[line][len]`: per group the first sums, of each block of sixteen inputs the
/// weights of all channels, filled up with 0, the factors.
pub fn records(channels: &[super::records::Channel<'_>], len: usize) -> impl Iterator<Item = i32> {
    let mut first = 0;
    groups(channels.len()).into_iter().flat_map(|(size, count)| (0..count).map(move |_| size)).flat_map(move |size| {
        let group = channels.get(first..first + size).unwrap_or_default();
        first += size;
        let inner = group.first().map_or(0, |c| c.weights.len());
        let blocks =
            (0..inner).step_by(len.max(1)).flat_map(move |line| (0..len).step_by(BLOCK).map(move |k| (line, k)));
        let weights = blocks.flat_map(move |(line, k)| {
            group.iter().flat_map(move |c| {
                (0..BLOCK / 4).map(move |word| {
                    let at = |i: usize| {
                        let inside = Some(k + 4 * word + i).filter(|k| *k < len);
                        inside.and_then(|k| c.weights.get(line + k)).map_or(0, |w| *w as u8)
                    };
                    i32::from_le_bytes([at(0), at(1), at(2), at(3)])
                })
            })
        });
        group.iter().map(|c| c.bias).chain(weights).chain(group.iter().map(|c| c.factor))
    })
}

/// `y[rows, columns] = x[rows, inner] · weights`, requantized. If a slice is too short, nothing is written.
pub struct Linear<'a> {
    /// `[rows][inner]`, rows `x_stride` apart.
    pub x: &'a [i8],
    /// As [`records`] makes them of one line.
    pub records: &'a [i32],
    /// `[rows][columns]`, rows `y_stride` apart.
    pub y: &'a mut [i8],
    /// Rows.
    pub rows: usize,
    /// Inner dimension.
    pub inner: usize,
    /// Columns.
    pub columns: usize,
    /// Distance of rows of `x`.
    pub x_stride: usize,
    /// Distance of rows of `y`.
    pub y_stride: usize,
    /// What outputs are.
    pub format: Format,
}

impl Op for Linear<'_> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        s.outline(Rows(self));
    }
}

struct Rows<'a>(Linear<'a>);

impl Op for Rows<'_> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, _: S) {
        let l = self.0;
        let reach = [span(l.rows, l.x_stride, l.inner), span(l.rows, l.y_stride, l.columns)];
        if !matches!(reach, [Some(x), Some(y)] if x <= l.x.len() && y <= l.y.len()) {
            return;
        }
        for row in 0..l.rows {
            let (at, to) = (row * l.x_stride, row * l.y_stride);
            let (Some(x), Some(y)) = (l.x.get(at..at + l.inner), l.y.get_mut(to..to + l.columns)) else { return };
            pixel(Lines { x, step: 0, count: 1, len: l.inner }, l.records, y, &l.format);
        }
    }
}

/// All output channels of a pixel.
#[inline(always)]
fn pixel(lines: Lines<'_>, records: &[i32], y: &mut [i8], format: &Format) {
    body_mve::pixel(&lines, records, format.zero, y);
    let columns = y.len();
    format.bound(y, [0], columns);
}

/// Bytes of scratch of a [`Conv`]: a patch.
pub const fn scratch_len(channels: usize, [d, h, w]: [usize; 3]) -> usize {
    channels * d * h * w
}

/// A convolution as [`super::Conv`] defines it.
pub struct Conv<'a> {
    /// Input; strides in `x_strides`.
    pub x: &'a [i8],
    /// As [`records`] makes them, group after group, of lines `[w][channel]` for each `[kernel d][h]`.
    pub records: &'a [i32],
    /// Output; channels contiguous.
    pub y: &'a mut [i8],
    /// [`scratch_len`] bytes.
    pub scratch: &'a mut [i8],
    /// Images.
    pub batch: usize,
    /// Groups.
    pub groups: usize,
    /// Input channels of a group.
    pub channels: usize,
    /// Output channels of a group.
    pub columns: usize,
    /// Input size.
    pub size: [usize; 3],
    /// Output size.
    pub out: [usize; 3],
    /// Kernel size.
    pub kernel: [usize; 3],
    /// Step of the window.
    pub stride: [usize; 3],
    /// Distance of taps.
    pub dilation: [usize; 3],
    /// Pixels before the image.
    pub padding: [usize; 3],
    /// Input strides: image, d, h, w, channel.
    pub x_strides: [usize; 5],
    /// Output strides: image, d, h, w.
    pub y_strides: [usize; 4],
    /// The input that stands for 0.
    pub input_zero: i8,
    /// What outputs are.
    pub format: Format,
}

impl Op for Conv<'_> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        s.outline(Images(self));
    }
}

struct Images<'a>(Conv<'a>);

impl Op for Images<'_> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, _: S) {
        let l = self.0;
        if l.scratch.len() < scratch_len(l.channels, l.kernel) {
            return;
        }
        let (count, len) = (l.kernel[0] * l.kernel[1], l.kernel[2] * l.channels);
        let pixels = l.out.iter().fold(l.batch, |n, out| n.wrapping_mul(*out));
        let axes = Axis::windows([l.size, l.out], l.kernel, l.stride, l.dilation, l.padding);
        let mut plan = Plan::new(axes, l.kernel, l.x_strides, l.y_strides, l.channels, false);
        let step = l.dilation[1] * l.x_strides[2];
        for group in 0..l.groups {
            plan.enter_group(group * l.channels);
            let records = crate::kernels::tile::from(l.records, group * l.columns * words(count, len));
            let mut first = 0;
            while first < pixels {
                let rows = MAX_ROWS.min(pixels - first);
                plan.enter(first, rows);
                for row in 0..rows {
                    let lines = match plan.base(row) {
                        Some(at) => Lines { x: crate::kernels::tile::from(l.x, at), step, count, len },
                        None => {
                            plan.gather_row(row, l.x, l.scratch, l.input_zero, len);
                            Lines { x: l.scratch, step: len, count, len }
                        }
                    };
                    let at = plan.offsets[row] + group * l.columns;
                    pixel(lines, records, l.y.get_mut(at..at + l.columns).unwrap_or_default(), &l.format);
                }
                first += rows;
            }
        }
    }
}

/// The inner loops in Rust, for targets without the instructions: what those in `arch` must give, bit by bit.
#[cfg(not(arm_mve))]
pub(super) mod portable {
    use super::{BLOCK, Lines, groups, words};

    /// All output channels of a pixel: `y.len()`. Nothing is written where a slice is too short.
    pub fn pixel(lines: &Lines<'_>, records: &[i32], zero: i32, y: &mut [i8]) {
        if !lines.fit(records, y.len()) {
            return;
        }
        let each = words(lines.count, lines.len);
        let (mut rest, mut channel) = (records, 0);
        for size in groups(y.len()).into_iter().flat_map(|(size, count)| (0..count).map(move |_| size)) {
            let Some((record, next)) = rest.split_at_checked(size * each) else { return };
            rest = next;
            for i in 0..size {
                let at = |word: usize| record.get(word).copied().unwrap_or_default();
                let mut sum = at(i);
                let mut block = size + i * BLOCK / 4;
                for line in 0..lines.count {
                    let line = lines.x.get(line * lines.step..line * lines.step + lines.len).unwrap_or_default();
                    for x in line.chunks(BLOCK) {
                        for (k, x) in x.iter().enumerate() {
                            let weight = at(block + k / 4).to_le_bytes()[k % 4] as i8;
                            sum = sum.wrapping_add(i32::from(*x) * i32::from(weight));
                        }
                        block += size * BLOCK / 4;
                    }
                }
                if let Some(y) = y.get_mut(channel) {
                    *y = super::super::scaled(sum, at(record.len() - size + i), zero);
                }
                channel += 1;
            }
        }
    }
}
