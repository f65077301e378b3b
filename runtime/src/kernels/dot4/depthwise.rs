//! Depthwise convolutions of bytes: every channel has its own kernel. A tile is a panel's width of channels of four neighbouring
//! outputs. Where a window leaves the image, kernel rows are copied with what lies outside.

use super::rows::Source;
use super::{Finish, WIDTH, lanes, spread};
use crate::kernels::arith::{Narrow, Rescale};
use crate::kernels::depthwise::{TAPS, extent};
use crate::kernels::tile::from;
use crate::simd::{Op, Simd, unrolled};

/// Outputs of a row whose input is copied at once.
const STRETCH: usize = 16;

/// Outputs of a tile.
const TILE: usize = 4;

/// Elements of scratch of a [`Depthwise`].
pub const fn scratch_len(channels: usize, kernel: [usize; 3], stride: usize, dilation: usize) -> usize {
    reach(STRETCH, kernel[2], stride, dilation) * channels * kernel[1] + WIDTH
}

/// Pixels that so many neighbouring windows see.
const fn reach(outputs: usize, kernel: usize, stride: usize, dilation: usize) -> usize {
    (outputs - 1) * stride + (kernel - 1) * dilation + 1
}

/// `y[n, c, q] = sum over k of x[n, c, q * stride - padding + k * dilation] * w[c, k]`, requantized; `x` outside the image is the
/// input's zero point. Weights lie as `[kernel h][w][channels rounded up to 16]`, zero-padded. Spatial parameters are
/// `[d, h, w]`. If a slice is too short, the kernel has two planes or more than [`TAPS`] taps, nothing is written.
pub struct Depthwise<'a, X: Narrow, Y: Narrow> {
    /// Input; pixels of a row contiguous.
    pub x: &'a [X],
    /// Weights.
    pub weights: &'a [i8],
    /// Per channel.
    pub bias: &'a [i32],
    /// Per channel.
    pub scale: &'a [i32],
    /// Output; channels contiguous.
    pub y: &'a mut [Y],
    /// [`scratch_len`] elements.
    pub scratch: &'a mut [X],
    /// Images.
    pub batch: usize,
    /// Channels.
    pub channels: usize,
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
    /// Input strides: image, d, h, w.
    pub x_strides: [usize; 4],
    /// Output strides: image, d, h, w.
    pub y_strides: [usize; 4],
    /// Least result.
    pub low: i32,
    /// Greatest result.
    pub high: i32,
    /// What the numbers stand for.
    pub format: Rescale,
}

impl<X: Narrow, Y: Narrow> Op for Depthwise<'_, X, Y> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        s.outline(Image(self));
    }
}

struct Image<'a, X: Narrow, Y: Narrow>(Depthwise<'a, X, Y>);

impl<X: Narrow, Y: Narrow> Image<'_, X, Y> {
    fn fits(&self) -> Option<()> {
        let l = &self.0;
        let [kd, kh, kw] = l.kernel;
        let taps = kh.checked_mul(kw)?;
        let ([d, h, w], [od, oh, ow]) = (l.size, l.out);
        let x = extent(&[l.batch, d, h, w], &l.x_strides)?.checked_add(l.channels.saturating_sub(1))?;
        let y = extent(&[l.batch, od, oh, ow], &l.y_strides)?.checked_add(l.channels.saturating_sub(1))?;
        let fits = kd == 1
            && (1..=TAPS).contains(&taps)
            && l.channels > 0
            && l.x_strides[3] == l.channels
            && l.x.len() >= x
            && l.y.len() >= y
            && l.scratch.len() >= scratch_len(l.channels, l.kernel, l.stride[2], l.dilation[2])
            && l.weights.len() >= l.channels.checked_next_multiple_of(WIDTH)?.checked_mul(taps)?
            && l.bias.len().min(l.scale.len()) >= l.channels;
        fits.then_some(())
    }
}

impl<X: Narrow, Y: Narrow> Op for Image<'_, X, Y> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(mut self, s: S) {
        if self.fits().is_none() {
            return;
        }
        let (y, scratch) = (core::mem::take(&mut self.0.y), core::mem::take(&mut self.0.scratch));
        let l = &self.0;
        let source = Source {
            x: l.x,
            channels: l.channels,
            size: l.size,
            rows: l.kernel[1],
            dilation: l.dilation[1],
            strides: [l.x_strides[0], l.x_strides[1], l.x_strides[2]],
            outside: X::narrow(l.format.input_zero),
        };
        let [depth, height, width] = l.out;
        let mut offsets = [0; TAPS];
        for row in 0..l.batch * depth * height {
            let (n, d, h) = (row / (depth * height), row / height % depth, row % height);
            let plane = (d * l.stride[0]).wrapping_sub(l.padding[0]);
            let top = (h * l.stride[1]).wrapping_sub(l.padding[1]);
            let mut w = 0;
            while w < width {
                let outputs = (width - w).min(STRETCH);
                let corner = [n, plane, top, (w * l.stride[2]).wrapping_sub(l.padding[2])];
                let columns = reach(outputs, l.kernel[2], l.stride[2], l.dilation[2]) * l.channels;
                let (x, line) = match source.inside(corner, columns) {
                    Some(at) => (from(l.x, at), l.dilation[1] * l.x_strides[2]),
                    None => {
                        source.copy(corner, columns, scratch);
                        (&*scratch, columns)
                    }
                };
                for (tap, offset) in offsets.iter_mut().take(l.kernel[1] * l.kernel[2]).enumerate() {
                    *offset = tap / l.kernel[2] * line + tap % l.kernel[2] * l.dilation[2] * l.channels;
                }
                let at = n * l.y_strides[0] + d * l.y_strides[1] + h * l.y_strides[2] + w * l.y_strides[3];
                s.outline(Stretch { layer: l, x, offsets: &offsets, outputs, at, y });
                w += outputs;
            }
        }
    }
}

/// Neighbouring outputs of a row.
struct Stretch<'a, 'b, X: Narrow, Y: Narrow> {
    layer: &'a Depthwise<'b, X, Y>,
    /// From the first tap of the first output on.
    x: &'a [X],
    /// Of taps.
    offsets: &'a [usize; TAPS],
    outputs: usize,
    at: usize,
    y: &'a mut [Y],
}

impl<X: Narrow, Y: Narrow> Op for Stretch<'_, '_, X, Y> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(mut self, s: S) {
        for block in 0..self.layer.channels.div_ceil(WIDTH) {
            let mut output = 0;
            while output < self.outputs {
                if self.outputs - output >= TILE {
                    self.tile::<S, TILE>(s, block, output);
                    output += TILE;
                } else {
                    self.tile::<S, 1>(s, block, output);
                    output += 1;
                }
            }
        }
    }
}

impl<X: Narrow, Y: Narrow> Stretch<'_, '_, X, Y> {
    /// So many outputs of one block of channels.
    #[inline(always)]
    fn tile<S: Simd, const OUTPUTS: usize>(&mut self, s: S, block: usize, output: usize) {
        let l = self.layer;
        let (step, first) = (l.stride[2] * l.channels, block * WIDTH);
        let taps = Taps {
            x: from(self.x, output * step + first),
            offsets: self.offsets.get(..l.kernel[1] * l.kernel[2]).unwrap_or_default(),
            step,
            weights: from(l.weights.as_chunks().0, block),
            blocks: l.channels.div_ceil(WIDTH),
        };
        let sums = s.taps::<X, OUTPUTS>(&taps).map(|sums| [sums]);
        let finish = Finish { bias: l.bias, scale: l.scale, format: l.format, low: l.low, high: l.high };
        let offsets = spread(self.at + output * l.y_strides[3], l.y_strides[3]);
        finish.write::<S, Y, OUTPUTS, 1>(s, &sums, self.y, &offsets, [first, l.channels]);
    }
}

/// What [`Simd::taps`] reads for a tile.
#[derive(Clone, Copy, Debug)]
pub struct Taps<'a, X> {
    /// From the first tap of the first output on.
    pub x: &'a [X],
    /// Of taps, ascending.
    pub offsets: &'a [usize],
    /// Distance of outputs.
    pub step: usize,
    /// Those of the first tap, then all others.
    pub weights: &'a [[i8; WIDTH]],
    /// Distance of taps in them.
    pub blocks: usize,
}

impl<X> Taps<'_, X> {
    /// Whether all inputs of a tile and all weights are there.
    #[inline(always)]
    pub fn is_whole(&self, outputs: usize) -> bool {
        let Some(last) = self.offsets.last() else { return false };
        self.x.len() >= last + (outputs - 1) * self.step + WIDTH
            && self.weights.len() > (self.offsets.len() - 1) * self.blocks
    }
}

/// The sums of a tile, in plain Rust; inputs that are not there count as 0.
#[inline(always)]
pub fn sums<X: Narrow, const OUTPUTS: usize>(taps: &Taps<'_, X>) -> [[i32; WIDTH]; OUTPUTS] {
    let mut sums = [[0i32; WIDTH]; OUTPUTS];
    for (offset, weights) in taps.offsets.iter().zip(taps.weights.iter().step_by(taps.blocks.max(1))) {
        for (t, sums) in sums.iter_mut().enumerate() {
            let x = lanes(from(taps.x, offset + t * taps.step));
            unrolled!(WIDTH <= 16, c, {
                sums[c] = sums[c].wrapping_add(x[c].widen() * i32::from(weights[c]));
            });
        }
    }
    sums
}
