//! Depthwise convolution over channels-last images: every channel has its own kernel.
//!
//! A tile is a few neighbouring outputs of a row, for one vector of channels at a time: each weight is loaded once for all
//! of them, and all channels of the pixels pass while they are in the first cache. Taps outside the image are left out of
//! the loop bounds, never tested inside; outputs near the left and right border are tiles of one.

use super::arith::Arith;
use super::tile::{Epilogue, zeros};
use crate::simd::{Op, Panel, Simd, Vector};

/// `y[n, c, q] = clamp(leaky(sum over k of x[n, c, q * stride - padding + k * dilation] * w[c, k] * scale + bias +
/// residual))`; taps outside the image are skipped. The order of summation is kernel depth, height, width.
///
/// Weights lie as `[kernel d][h][w][channels rounded up to WIDTH]`, zero-padded. Spatial parameters are `[d, h, w]`.
/// If a slice is too short for the geometry, nothing is written.
pub struct Depthwise<'a, K: Arith, P: Panel> {
    /// Input; channels contiguous.
    pub x: &'a [K::X],
    /// Weights.
    pub weights: &'a [K::W],
    /// Per channel, if there is one.
    pub bias: Option<&'a [K::A]>,
    /// Scale per channel, of quantized weights only.
    pub scale: Option<&'a [K::A]>,
    /// Zero point per channel, of quantized weights only.
    pub zero_point: Option<&'a [K::A]>,
    /// Factor of negative results per channel, if there is one.
    pub slope: Option<&'a [K::A]>,
    /// Added before the activation; lies as `y` does.
    pub residual: Option<&'a [K::Y]>,
    /// The residual is what `y` holds.
    pub in_place: bool,
    /// Output; channels contiguous.
    pub y: &'a mut [K::Y],
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
    /// Zeros before the image.
    pub padding: [usize; 3],
    /// Input strides: image, d, h, w.
    pub x_strides: [usize; 4],
    /// Output strides: image, d, h, w.
    pub y_strides: [usize; 4],
    /// Least result.
    pub low: K::A,
    /// Greatest result.
    pub high: K::A,
    /// Panel width.
    pub panel: P,
}

impl<K: Arith, P: Panel> Op for Depthwise<'_, K, P> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        s.outline(Image(self));
    }
}

/// Elements that dims of these sizes and strides span; 0 if one is empty, `None` on overflow.
pub(crate) fn extent(sizes: &[usize], strides: &[usize]) -> Option<usize> {
    if sizes.contains(&0) {
        return Some(0);
    }
    sizes.iter().zip(strides).try_fold(1usize, |end, (n, stride)| end.checked_add((n - 1).checked_mul(*stride)?))
}

/// Taps `from..to` of a window whose tap 0 stands at `start` that lie in `0..size`.
pub(crate) fn taps_inside(start: isize, size: usize, kernel: usize, dilation: usize) -> (usize, usize) {
    let dilation = dilation.max(1);
    let from = if start < 0 { start.unsigned_abs().div_ceil(dilation) } else { 0 };
    let room = (size as isize - start).max(0) as usize;
    let to = kernel.min(room.div_ceil(dilation));
    (from.min(to), to)
}

impl<'a, K: Arith, P: Panel> Depthwise<'a, K, P> {
    fn epilogue(&self) -> Epilogue<'a, K> {
        Epilogue {
            scale: self.scale.unwrap_or(&[]),
            zero_point: self.zero_point.unwrap_or(&[]),
            bias: self.bias.unwrap_or(&[]),
            slope: self.slope.unwrap_or(&[]),
            residual: self.residual.unwrap_or(&[]),
            in_place: self.in_place,
            low: self.low,
            high: self.high,
        }
    }
}

struct Image<'a, K: Arith, P: Panel>(Depthwise<'a, K, P>);

impl<K: Arith, P: Panel> Image<'_, K, P> {
    fn fits(&self) -> Option<()> {
        let l = &self.0;
        let [d, h, w] = l.size;
        let [od, oh, ow] = l.out;
        let x = extent(&[l.batch, d, h, w], &l.x_strides)?.checked_add(l.channels.saturating_sub(1))?;
        let y = extent(&[l.batch, od, oh, ow], &l.y_strides)?.checked_add(l.channels.saturating_sub(1))?;
        let taps = l.kernel.iter().try_fold(1usize, |n, k| n.checked_mul(*k))?;
        let weights = l.channels.checked_next_multiple_of(P::WIDTH)?.checked_mul(taps)?;
        let fits = l.x.len() >= x && l.y.len() >= y && l.weights.len() >= weights && l.epilogue().fits(l.channels, y);
        fits.then_some(())
    }
}

impl<K: Arith, P: Panel> Op for Image<'_, K, P> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        if self.fits().is_none() {
            return;
        }
        let l = self.0;
        let epilogue = l.epilogue();
        let mut row = Row::<K, P> {
            x: l.x,
            weights: P::rows(l.weights),
            epilogue,
            y: l.y,
            channels: l.channels,
            blocks: l.channels.div_ceil(P::WIDTH),
            kernel: l.kernel,
            d: (0, 0),
            h: (0, 0),
            w: (0, l.kernel[2]),
            // Steps between taps and between outputs, in elements.
            tap: [0, 1, 2].map(|d| l.dilation[d] * l.x_strides[d + 1]),
            x_step: l.stride[2] * l.x_strides[3],
            y_step: l.y_strides[3],
            x_at: 0,
            y_at: 0,
        };
        let start = |d: usize, q: usize| (q * l.stride[d]) as isize - l.padding[d] as isize;
        let stretch = |d: usize, q: usize| taps_inside(start(d, q), l.size[d], l.kernel[d], l.dilation[d]);
        let whole = |q: usize| stretch(2, q) == (0, l.kernel[2]);
        for image in 0..l.batch {
            for d in 0..l.out[0] {
                row.d = stretch(0, d);
                for h in 0..l.out[1] {
                    row.h = stretch(1, h);
                    let base = image as isize * l.x_strides[0] as isize
                        + start(0, d) * l.x_strides[1] as isize
                        + start(1, h) * l.x_strides[2] as isize;
                    let y = image * l.y_strides[0] + d * l.y_strides[1] + h * l.y_strides[2];
                    let mut w = 0;
                    while w < l.out[2] {
                        row.w = stretch(2, w);
                        row.x_at = base + start(2, w) * l.x_strides[3] as isize;
                        row.y_at = y + w * l.y_strides[3];
                        // Windows move right: if the first and the last of a tile are whole, so are those between.
                        let left = l.out[2] - w;
                        w += if left >= 4 && whole(w) && whole(w + 3) {
                            s.outline(Tile::<K, P, 4>(&mut row));
                            4
                        } else if left >= 2 && whole(w) && whole(w + 1) {
                            s.outline(Tile::<K, P, 2>(&mut row));
                            2
                        } else {
                            s.outline(Tile::<K, P, 1>(&mut row));
                            1
                        };
                    }
                }
            }
        }
    }
}

/// A row of outputs, and the tile in it that comes next.
struct Row<'a, K: Arith, P: Panel> {
    x: &'a [K::X],
    weights: &'a [P::Row<K::W>],
    epilogue: Epilogue<'a, K>,
    y: &'a mut [K::Y],
    channels: usize,
    blocks: usize,
    kernel: [usize; 3],
    /// Taps that lie inside.
    d: (usize, usize),
    h: (usize, usize),
    w: (usize, usize),
    tap: [usize; 3],
    x_step: usize,
    y_step: usize,
    /// Offset of tap 0 of the tile's first window; may lie outside.
    x_at: isize,
    y_at: usize,
}

struct Tile<'a, 'b, K: Arith, P: Panel, const OUTPUTS: usize>(&'a mut Row<'b, K, P>);

impl<K: Arith, P: Panel, const OUTPUTS: usize> Op for Tile<'_, '_, K, P, OUTPUTS> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        let r = self.0;
        let offsets = core::array::from_fn(|t| r.y_at + t * r.y_step);
        for block in 0..r.blocks {
            let first = block * P::WIDTH;
            let zero_point = r.epilogue.zero_points::<S, P, 1>(s, first);
            let mut sums = zeros::<K, S, P, OUTPUTS, 1>(s);
            if first + P::WIDTH <= r.channels {
                r.sum::<S, OUTPUTS>(s, block, P::WIDTH, zero_point[0], &mut sums);
            } else {
                r.sum::<S, OUTPUTS>(s, block, r.channels - first, zero_point[0], &mut sums);
            }
            r.epilogue.write::<S, P, OUTPUTS, 1>(s, &sums, r.y, offsets, first, r.channels);
        }
    }
}

impl<K: Arith, P: Panel> Row<'_, K, P> {
    /// Sums of the taps inside, for `width` channels of one block.
    #[inline(always)]
    fn sum<S: Simd, const OUTPUTS: usize>(
        &self,
        s: S,
        block: usize,
        width: usize,
        zero_point: K::V<S, P>,
        sums: &mut [[K::V<S, P>; 1]; OUTPUTS],
    ) {
        let at = self.x_at + (block * P::WIDTH) as isize;
        for d in self.d.0..self.d.1 {
            for h in self.h.0..self.h.1 {
                let tap_row = (d * self.kernel[1] + h) * self.kernel[2];
                let at = at + (d * self.tap[0] + h * self.tap[1]) as isize;
                for w in self.w.0..self.w.1 {
                    let Some(weights) = self.weights.get((tap_row + w) * self.blocks + block) else { return };
                    let mut weights = K::weights::<S, P>(s, weights);
                    if K::QUANTIZED {
                        weights = weights.sub(s, zero_point);
                    }
                    let at = (at + (w * self.tap[2]) as isize) as usize;
                    for t in 0..OUTPUTS {
                        let start = at + t * self.x_step;
                        let Some(x) = self.x.get(start..start.wrapping_add(width)) else { return };
                        sums[t][0] = K::inputs::<S, P>(s, x).mul_add(s, weights, sums[t][0]);
                    }
                }
            }
        }
    }
}
