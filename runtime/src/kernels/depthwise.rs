//! Depthwise convolution over channels-last images: every channel has its own kernel.
//!
//! A tile is a few neighbouring outputs of a row, for one vector of channels at a time: each weight is loaded once for all
//! of them, and all channels of the pixels pass while they are in the first cache. Taps outside the image are left out of
//! the loop bounds, never tested inside (where they count, as on integers with a zero point, they are added apart); outputs
//! near the left and right border are tiles of one.

use super::arith::Arith;
use super::epilogue::{Epilogue, Even};
use super::small;
use super::tile::{Tiles, zeros};
use crate::simd::{Num, Op, Panel, Simd, Vector, unrolled};

/// `y[n, c, q] = clamp(leaky(sum over k of x[n, c, q * stride - padding + k * dilation] * w[c, k] * scale + bias +
/// residual))`; taps outside the image are skipped. The order of summation is kernel depth, height, width.
///
/// Weights lie as `[kernel d][h][w][channels rounded up to WIDTH]`, zero-padded. Spatial parameters are `[d, h, w]`.
/// If a slice is too short for the geometry, or the kernel has more than [`TAPS`] taps, nothing is written.
pub struct Depthwise<'a, K: Arith, P: Panel, W: Window = AnyWindow> {
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
    /// What the numbers stand for.
    pub format: K::Format,
    /// Panel width.
    pub panel: P,
    /// The kernels that code is compiled for.
    pub window: W,
}

impl<K: Arith, P: Panel, W: Window> Op for Depthwise<'_, K, P, W> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        s.outline(Image(self));
    }
}

/// Which kernels a layer may have: code for the usual ones is large, and compiled for those alone that a program names.
pub trait Window: Copy {
    /// Computes the layer if it has the kernel named, and its slices fit.
    #[inline(always)]
    fn depthwise<S: Simd, K: Arith, P: Panel>(_s: S, _layer: &mut Depthwise<'_, K, P, Self>) -> bool {
        false
    }
}

/// No kernel in particular.
#[derive(Clone, Copy, Debug)]
pub struct AnyWindow;

impl Window for AnyWindow {}

/// Kernels of `KERNEL` rows and columns that step by `STEP`.
#[derive(Clone, Copy, Debug)]
pub struct Square<const KERNEL: usize, const STEP: usize>;

impl<const KERNEL: usize, const STEP: usize> Window for Square<KERNEL, STEP> {
    #[inline(always)]
    fn depthwise<S: Simd, K: Arith, P: Panel>(s: S, layer: &mut Depthwise<'_, K, P, Self>) -> bool {
        // Where few registers are sure that code would be large, and no faster.
        (const { K::Tiles::<S, P>::ROWS > 2 }) && small::depthwise::<S, K, P, KERNEL, STEP>(s, layer)
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

impl<'a, K: Arith, P: Panel, W: Window> Depthwise<'a, K, P, W> {
    pub(super) fn epilogue(&self) -> Epilogue<'a, K> {
        Epilogue {
            format: self.format,
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

/// Where the taps of outputs lie. Dims are const parameters: an index that is a variable leaves a bounds check where a
/// function is not inlined.
struct Taps {
    size: [usize; 3],
    kernel: [usize; 3],
    stride: [usize; 3],
    padding: [usize; 3],
    dilation: [usize; 3],
}

impl Taps {
    /// Coordinate of tap 0 of output `q`.
    #[inline]
    fn start<const D: usize>(&self, q: usize) -> isize {
        (q * self.stride[D]) as isize - self.padding[D] as isize
    }

    /// Taps of output `q` that lie inside.
    #[inline]
    fn taps<const D: usize>(&self, q: usize) -> (usize, usize) {
        taps_inside(self.start::<D>(q), self.size[D], self.kernel[D], self.dilation[D])
    }
}

struct Image<'a, K: Arith, P: Panel, W: Window>(Depthwise<'a, K, P, W>);

impl<K: Arith, P: Panel, W: Window> Image<'_, K, P, W> {
    fn fits(&self) -> Option<()> {
        let l = &self.0;
        let [d, h, w] = l.size;
        let [od, oh, ow] = l.out;
        let x = extent(&[l.batch, d, h, w], &l.x_strides)?.checked_add(l.channels.saturating_sub(1))?;
        let y = extent(&[l.batch, od, oh, ow], &l.y_strides)?.checked_add(l.channels.saturating_sub(1))?;
        let taps = l.kernel.iter().try_fold(1usize, |n, k| n.checked_mul(*k))?;
        let weights = l.channels.checked_next_multiple_of(P::WIDTH)?.checked_mul(taps)?;
        let fits = taps <= TAPS
            && l.x.len() >= x
            && l.y.len() >= y
            && l.weights.len() >= weights
            && l.epilogue().fits(l.channels, y);
        fits.then_some(())
    }
}

impl<K: Arith, P: Panel, W: Window> Op for Image<'_, K, P, W> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        if self.fits().is_none() {
            return;
        }
        let mut l = self.0;
        if K::depthwise(&mut l) || P::ROOM && W::depthwise(s, &mut l) {
            return;
        }
        let epilogue = l.epilogue();
        let mut row = Row::<K, P> {
            x: l.x,
            weights: P::rows(l.weights),
            epilogue,
            y: l.y,
            channels: l.channels,
            blocks: l.channels.div_ceil(P::WIDTH),
            taps: [Tap::default(); TAPS],
            len: 0,
            outside: 0,
            x_step: l.stride[2] * l.x_strides[3],
            y_step: l.y_strides[3],
            x_at: 0,
            y_at: 0,
        };
        let window =
            Taps { size: l.size, kernel: l.kernel, stride: l.stride, padding: l.padding, dilation: l.dilation };
        // Steps between taps, in elements.
        let ([_, xd, xh, xw], [dd, dh, dw]) = (l.x_strides, l.dilation);
        let tap = [dd * xd, dh * xh, dw * xw];
        // Outputs of a row whose taps all lie inside: windows move right, so they are neighbours.
        let whole = |q: &usize| window.taps::<2>(*q) == (0, l.kernel[2]);
        let first = (0..l.out[2]).find(whole).unwrap_or(l.out[2]);
        let last = (first..l.out[2]).rev().find(whole).map_or(first, |q| q + 1);
        for image in 0..l.batch {
            for d in 0..l.out[0] {
                for h in 0..l.out[1] {
                    let rows = [window.taps::<0>(d), window.taps::<1>(h)];
                    let base = image as isize * l.x_strides[0] as isize
                        + window.start::<0>(d) * l.x_strides[1] as isize
                        + window.start::<1>(h) * l.x_strides[2] as isize;
                    let y = image * l.y_strides[0] + d * l.y_strides[1] + h * l.y_strides[2];
                    let mut w = 0;
                    while w < l.out[2] {
                        let whole = w >= first && w < last;
                        if !whole || w == first {
                            let columns = if whole { (0, l.kernel[2]) } else { window.taps::<2>(w) };
                            row.plan([rows[0], rows[1], columns], l.kernel, tap);
                        }
                        row.x_at = base + window.start::<2>(w) * l.x_strides[3] as isize;
                        row.y_at = y + w * l.y_strides[3];
                        w += match if whole { last - w } else { 1 } {
                            4.. => row.tile::<S, 4>(s),
                            2.. => row.tile::<S, 2>(s),
                            _ => row.tile::<S, 1>(s),
                        };
                    }
                }
            }
        }
    }
}

/// Taps of a kernel at most; larger ones are no case for this kernel.
pub const TAPS: usize = 64;

/// A tap inside the image: offset from tap 0 in the input, row of the weights.
#[derive(Clone, Copy, Default)]
struct Tap {
    offset: usize,
    weight: usize,
}

/// A row of outputs, and the tile in it that comes next.
struct Row<'a, K: Arith, P: Panel> {
    x: &'a [K::X],
    weights: &'a [P::Row<K::W>],
    epilogue: Epilogue<'a, K>,
    y: &'a mut [K::Y],
    channels: usize,
    blocks: usize,
    /// Those that lie inside; after them, where they count, those outside.
    taps: [Tap; TAPS],
    len: usize,
    outside: usize,
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
        let to = Even { first: r.y_at, step: r.y_step };
        for block in 0..r.blocks {
            let first = block * P::WIDTH;
            let zero_point = r.epilogue.zero_points::<S, P, 1>(s, first);
            let sums = if first + P::WIDTH <= r.channels {
                r.sum::<S, OUTPUTS>(s, block, P::WIDTH, zero_point[0])
            } else {
                r.sum::<S, OUTPUTS>(s, block, r.channels - first, zero_point[0])
            };
            r.epilogue.write::<S, P, OUTPUTS, 1>(s, &sums, r.y, to, first, r.channels);
        }
    }
}

impl<K: Arith, P: Panel> Row<'_, K, P> {
    /// Lists the taps of these stretches per dim, and the others where the input outside counts.
    fn plan(&mut self, [d, h, w]: [(usize, usize); 3], kernel: [usize; 3], step: [usize; 3]) {
        self.len = 0;
        for kd in d.0..d.1 {
            for kh in h.0..h.1 {
                for kw in w.0..w.1 {
                    let Some(tap) = self.taps.get_mut(self.len) else { return };
                    tap.offset = kd * step[0] + kh * step[1] + kw * step[2];
                    tap.weight = ((kd * kernel[1] + kh) * kernel[2] + kw) * self.blocks;
                    self.len += 1;
                }
            }
        }
        self.outside = 0;
        let all = kernel[0] * kernel[1] * kernel[2];
        if !K::REQUANTIZED || self.len == all {
            return;
        }
        let inside = |(from, to): (usize, usize), at: usize| from <= at && at < to;
        for kd in 0..kernel[0] {
            for kh in 0..kernel[1] {
                for kw in 0..kernel[2] {
                    if inside(d, kd) && inside(h, kh) && inside(w, kw) {
                        continue;
                    }
                    let Some(tap) = self.taps.get_mut(self.len + self.outside) else { return };
                    tap.weight = ((kd * kernel[1] + kh) * kernel[2] + kw) * self.blocks;
                    self.outside += 1;
                }
            }
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const OUTPUTS: usize>(&mut self, s: S) -> usize {
        s.outline(Tile::<K, P, OUTPUTS>(self));
        OUTPUTS
    }

    /// Sums of the taps, for `width` channels of one block.
    #[inline(always)]
    fn sum<S: Simd, const OUTPUTS: usize>(
        &self,
        s: S,
        block: usize,
        width: usize,
        zero_point: K::V<S, P>,
    ) -> [[K::V<S, P>; 1]; OUTPUTS] {
        let mut sums = zeros::<K, S, P, OUTPUTS, 1>(s);
        let at = self.x_at + (block * P::WIDTH) as isize;
        for tap in self.taps.iter().take(self.len) {
            let Some(weights) = self.weights.get(tap.weight + block) else { break };
            let mut weights = K::weights::<S, P>(s, weights);
            if K::QUANTIZED {
                weights = weights.sub(s, zero_point);
            }
            let at = (at + tap.offset as isize) as usize;
            unrolled!(OUTPUTS <= 16, t, {
                let start = at + t * self.x_step;
                let x = self.x.get(start..start.wrapping_add(width)).unwrap_or(&[]);
                sums[t][0] = K::inputs::<S, P>(s, x).mul_add(s, weights, sums[t][0]);
            });
        }
        if K::REQUANTIZED && self.outside > 0 {
            let padding = K::padding(self.epilogue.format);
            let x = K::V::<S, P>::splat(s, padding.as_ref().first().map_or(K::A::ZERO, |x| K::input(*x)));
            for tap in self.taps.iter().skip(self.len).take(self.outside) {
                let Some(weights) = self.weights.get(tap.weight + block) else { break };
                let weights = K::weights::<S, P>(s, weights);
                for t in 0..OUTPUTS {
                    sums[t][0] = x.mul_add(s, weights, sums[t][0]);
                }
            }
        }
        sums
    }
}
