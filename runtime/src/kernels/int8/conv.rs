//! Convolutions: the patches of three pixels are gathered, then all output channels pass.

use super::records::{PIXELS, tile_words};
use super::{Columns, Format, body, scratch_len, widen};
use crate::kernels::window::{Axis, Plan};
use crate::simd::{Op, Simd};

/// The inner dimension of a convolution's patches: kernel rows, each of whole fours.
pub const fn patch_len(channels: usize, [d, h, w]: [usize; 3]) -> usize {
    (w * channels).next_multiple_of(4) * d * h
}

/// Bytes of staging that a [`Conv`] needs whose channels are no neighbours or no multiple of 4.
pub const fn staging_len(channels: usize, [d, h, w]: [usize; 3]) -> usize {
    PIXELS * channels * d * h * w
}

/// `y[n, o, q] = sum over c, k of x[n, c, q * stride - padding + k * dilation] * w[o, c, k]`, per group, requantized; `x`
/// outside the image is `input_zero`. Spatial parameters are `[d, h, w]`. If a slice is too short, nothing is written.
pub struct Conv<'a> {
    /// Input; strides in `x_strides`.
    pub x: &'a [i8],
    /// As [`super::records::tiles`] makes them, group after group; the inner dimension is `[kernel d][h][w * channel]`, the
    /// last filled up to a multiple of 4: [`patch_len`].
    pub records: &'a [i32],
    /// Output; channels contiguous.
    pub y: &'a mut [i8],
    /// [`scratch_len`] words.
    pub scratch: &'a mut [i32],
    /// [`staging_len`] bytes, where needed.
    pub staging: Option<&'a mut [i8]>,
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
        let (inner, row) = (patch_len(l.channels, l.kernel), l.channels * l.kernel[2]);
        let pixels = l.out.iter().fold(l.batch, |n, out| n.wrapping_mul(*out));
        let turns = inner.div_ceil(8);
        let direct = l.x_strides[4] == 1 && l.channels.is_multiple_of(4);
        let staging = l.staging.unwrap_or_default();
        let staged = direct || staging.len() >= staging_len(l.channels, l.kernel);
        if l.scratch.len() < scratch_len(inner) || !staged || pixels == 0 {
            return;
        }
        let axes = Axis::windows([l.size, l.out], l.kernel, l.stride, l.dilation, l.padding);
        let mut plan = Plan::new(axes, l.kernel, l.x_strides, l.y_strides, l.channels, false);
        for group in 0..l.groups {
            plan.enter_group(group * l.channels);
            let at = group * l.columns.div_ceil(2) * tile_words(turns);
            let records = crate::kernels::tile::from(l.records, at);
            let columns = Columns { records, columns: l.columns, turns, format: l.format };
            let mut pixel = 0;
            while pixel < pixels {
                // The last tile begins early enough to be whole.
                plan.enter(pixel.min(pixels.saturating_sub(PIXELS)), PIXELS.min(pixels));
                let last = pixels.min(PIXELS) - 1;
                let starts: [usize; PIXELS] = core::array::from_fn(|i| plan.corner(i.min(last)).unwrap_or(usize::MAX));
                let rows = [l.kernel[1], l.dilation[1] * l.x_strides[2], row];
                let plane = l.kernel[1] * row.div_ceil(4) * 2 * PIXELS;
                let gathered = (0..l.kernel[0]).all(|d| {
                    let starts = starts.map(|start| start.saturating_add(d * l.dilation[0] * l.x_strides[1]));
                    body::patches(l.x, starts, rows, l.scratch.get_mut(d * plane..).unwrap_or_default())
                });
                if !gathered && direct {
                    plan.widen(l.x, l.scratch, l.input_zero);
                } else if !gathered {
                    plan.gather(l.x, row * l.kernel[0] * l.kernel[1], staging, l.input_zero);
                    let rows = l.kernel[0] * l.kernel[1];
                    for (i, from) in staging.chunks_exact(row.max(1)).take(PIXELS * rows).enumerate() {
                        let at = i % rows * row.div_ceil(4) * 2 * PIXELS + i / rows;
                        widen(from, l.scratch.get_mut(at..).unwrap_or_default());
                    }
                }
                let offsets = core::array::from_fn(|i| plan.offsets[i.min(last)] + group * l.columns);
                columns.tile(l.scratch, l.y, offsets);
                pixel += PIXELS;
            }
        }
    }
}

impl Plan {
    /// The patches of the tile's rows, widened; input outside the image is `outside`. Channels are neighbours and a
    /// multiple of 4.
    #[inline(always)]
    fn widen(&self, x: &[i8], to: &mut [i32], outside: i8) {
        let word = super::halves(outside, outside);
        for row in 0..PIXELS {
            let mut rest = to.get_mut(row..).unwrap_or_default();
            self.stretches(row, |from, len| {
                match from {
                    Some(at) => widen(x.get(at..at + len).unwrap_or_default(), rest),
                    None => rest.iter_mut().step_by(PIXELS).take(len / 2).for_each(|to| *to = word),
                }
                rest = core::mem::take(&mut rest).get_mut(len / 2 * PIXELS..).unwrap_or_default();
            });
        }
    }
}
