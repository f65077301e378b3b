//! Convolutions: the patches of two pixels are copied, then all output channels pass.

use super::super::Format;
use super::body::{Lines, Tiles};
use super::records::tile_words;
use crate::kernels::tile::from;
use crate::kernels::window::{Axis, MAX_ROWS, Plan};
use crate::simd::{Op, Simd};

/// Bytes of scratch of a [`Conv`]: two patches.
pub const fn scratch_len(channels: usize, [d, h, w]: [usize; 3]) -> usize {
    2 * channels * d * h * w
}

/// A convolution as [`super::super::Conv`] defines it.
pub struct Conv<'a> {
    /// Input; strides in `x_strides`.
    pub x: &'a [i8],
    /// As [`super::records::tiles`] makes them, group after group, of `[kernel d][h][w][channel]`.
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
        let len = l.kernel[2] * l.channels;
        let inner = len * l.kernel[0] * l.kernel[1];
        let pixels = l.out.iter().fold(l.batch, |n, out| n.wrapping_mul(*out));
        let axes = Axis::windows([l.size, l.out], l.kernel, l.stride, l.dilation, l.padding);
        let mut plan = Plan::new(axes, l.kernel, l.x_strides, l.y_strides, l.channels, false);
        let Some(lines) = Lines::new(l.kernel[1], l.dilation[1] * l.x_strides[2], len) else { return };
        for group in 0..l.groups {
            plan.enter_group(group * l.channels);
            let records = from(l.records, group * tile_words(inner, l.columns));
            let Some(tiles) = Tiles::new(records, inner, l.columns, &l.format) else { return };
            for first in (0..pixels).step_by(MAX_ROWS) {
                let rows = MAX_ROWS.min(pixels - first);
                plan.enter(first, rows);
                for row in (0..rows).step_by(2) {
                    // The last pixel may be both.
                    let pair = [row, (row + 1).min(rows - 1)];
                    let offsets = pair.map(|row| plan.offsets.get(row).map_or(0, |at| at + group * l.columns));
                    if let ([Some(a), Some(b)], 1) = (pair.map(|row| plan.base(row)), l.kernel[1]) {
                        tiles.pair(l.x, [[a, b], offsets], l.y);
                        continue;
                    }
                    let patches = l.scratch.split_at_mut_checked(inner);
                    let (first, second) = patches.unwrap_or_default();
                    for (row, patch) in [(pair[0], first), (pair[1], second)] {
                        match plan.corner(row) {
                            Some(at) if l.kernel[0] == 1 => lines.copy(l.x, at, patch),
                            Some(at) => {
                                let planes = patch.chunks_exact_mut((len * l.kernel[1]).max(1));
                                for (d, plane) in planes.enumerate() {
                                    lines.copy(l.x, at + d * l.dilation[0] * l.x_strides[1], plane);
                                }
                            }
                            None => plan.patch(row, l.x, patch, l.input_zero),
                        }
                    }
                    tiles.pair(l.scratch, [[0, inner], offsets], l.y);
                }
            }
        }
    }
}

impl Plan {
    /// Copies the patch of a row of the tile, `outside` beyond the image. A function of its own, for the registers of the loop
    /// around it.
    #[inline(never)]
    fn patch(&self, row: usize, x: &[i8], to: &mut [i8], outside: i8) {
        if self.x_strides[4] != 1 {
            return self.gather_row(row, x, to, outside, self.axes[2].taps * self.channels, |x| x);
        }
        let mut rest = to;
        self.stretches(row, |from, len| {
            let (stretch, next) = core::mem::take(&mut rest).split_at_mut_checked(len).unwrap_or_default();
            match from {
                Some(at) => {
                    if let Some(line) = Lines::new(1, 0, len) {
                        line.copy(x, at, stretch);
                    }
                }
                None => stretch.fill(outside),
            }
            rest = next;
        });
    }
}
