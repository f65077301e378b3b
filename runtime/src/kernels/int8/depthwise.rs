//! Depthwise convolutions: no patches; taps are read in pairs, four channels at a time, or with Helium one by one, eight
//! channels at a time.

use super::mve::{self, records::TURN};
use super::records::{TAPS, depthwise_words};
use super::{Format, Window, body};
use crate::kernels::depthwise::{extent, taps_inside};
use crate::kernels::tile::from;
use crate::simd::{Op, Simd};

/// `y[n, c, q] = sum over k of x[n, c, q * stride - padding + k * dilation] * w[c, k]`, requantized; `x` outside the image is
/// `input_zero`. Spatial parameters are `[d, h, w]`. If a slice is too short, the kernel has more than [`TAPS`] taps, or there are
/// fewer than four channels, nothing is written. `MVE`: by Helium, for an even number of channels.
pub struct Depthwise<'a, const MVE: bool> {
    /// Input; channels contiguous.
    pub x: &'a [i8],
    /// As [`super::records::depthwise`] makes them, or [`mve::records::depthwise`].
    pub records: &'a [i32],
    /// Output; channels contiguous.
    pub y: &'a mut [i8],
    /// One byte per channel.
    pub scratch: &'a mut [i8],
    /// Images.
    pub batch: usize,
    /// At least 4.
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
    /// The input that stands for 0.
    pub input_zero: i8,
    /// What outputs are.
    pub format: Format,
}

impl<const MVE: bool> Op for Depthwise<'_, MVE> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        s.outline(Image(self));
    }
}

struct Image<'a, const MVE: bool>(Depthwise<'a, MVE>);

/// The taps of a layer; a bit is a tap.
struct Taps {
    /// Distances from the first.
    from_first: [usize; TAPS],
    count: usize,
    /// The first column of the kernel.
    column: u64,
    /// Columns of taps.
    width: usize,
}

/// The windows of a row of outputs.
struct Line {
    /// Where the first tap of output 0 would be.
    start: usize,
    /// Taps whose row is inside the image.
    inside: u64,
}

/// The lowest `n` bits.
fn ones(n: usize) -> u64 {
    if n < 64 { (1 << n) - 1 } else { u64::MAX }
}

impl Taps {
    /// Those in columns `first..end`.
    fn columns(&self, (first, end): (usize, usize)) -> u64 {
        let row = ones(end.saturating_sub(first)).checked_shl(first as u32).unwrap_or(0);
        row.wrapping_mul(self.column)
    }
}

impl<const MVE: bool> Image<'_, MVE> {
    fn fits(&self) -> Option<()> {
        let l = &self.0;
        let [d, h, w] = l.size;
        let [od, oh, ow] = l.out;
        let x = extent(&[l.batch, d, h, w], &l.x_strides)?.checked_add(l.channels.saturating_sub(1))?;
        let y = extent(&[l.batch, od, oh, ow], &l.y_strides)?.checked_add(l.channels.saturating_sub(1))?;
        let taps = l.kernel.iter().try_fold(1usize, |n, k| n.checked_mul(*k))?;
        let fits = l.channels >= 4 && taps <= TAPS && l.x.len() >= x && l.y.len() >= y && l.scratch.len() >= l.channels;
        fits.then_some(())
    }

    /// The layer's; there are no more than [`TAPS`].
    fn taps(&self) -> Taps {
        let l = &self.0;
        let ([_, ih, iw, ic], [kd, kh, kw]) = (l.x_strides, l.kernel);
        let mut taps = Taps { from_first: [0; TAPS], count: kd * kh * kw, column: 0, width: kw };
        let mut to = taps.from_first.iter_mut();
        for row in 0..kd * kh {
            let start = row / kh * l.dilation[0] * ih + row % kh * l.dilation[1] * iw;
            for (w, to) in (0..kw).zip(&mut to) {
                *to = start + w * l.dilation[2] * ic;
            }
            taps.column |= 1u64.checked_shl((row * kw) as u32).unwrap_or(0);
        }
        taps
    }

    fn line(&self, taps: &Taps, image: usize, [d, h]: [usize; 2]) -> Line {
        let l = &self.0;
        let start = |q: usize, axis: usize| (q * l.stride[axis]) as isize - l.padding[axis] as isize;
        let (sd, sh, sw) = (start(d, 0), start(h, 1), start(0, 2));
        let [id, ih, iw, ic] = l.x_strides.map(|step| step as isize);
        let planes = taps_inside(sd, l.size[0], l.kernel[0], l.dilation[0]);
        let rows = taps_inside(sh, l.size[1], l.kernel[1], l.dilation[1]);
        let mut inside = 0;
        for d in planes.0..planes.1 {
            for h in rows.0..rows.1 {
                let first = (d * l.kernel[1] + h) * taps.width;
                inside |= ones(taps.width).checked_shl(first as u32).unwrap_or(0);
            }
        }
        Line { start: (image as isize * id + sd * ih + sh * iw + sw * ic) as usize, inside }
    }

    /// Columns of taps of an output inside the image.
    fn columns(&self, w: usize) -> (usize, usize) {
        let l = &self.0;
        let start = (w * l.stride[2]) as isize - l.padding[2] as isize;
        taps_inside(start, l.size[2], l.kernel[2], l.dilation[2])
    }

    /// Where the taps of one output read, in whole turns of the loop: how many, and whether all are inside.
    #[inline(always)]
    fn table(&self, taps: &Taps, line: &Line, w: usize, table: &mut [usize; TAPS + TURN]) -> (usize, bool) {
        let mut inside = line.inside & taps.columns(self.columns(w));
        let whole = inside == ones(taps.count);
        let base = line.start.wrapping_add(w * self.0.stride[2] * self.0.x_strides[3]);
        for (to, from_first) in table.iter_mut().zip(&taps.from_first).take(taps.count) {
            *to = if inside & 1 == 1 { base.wrapping_add(*from_first) } else { usize::MAX };
            inside >>= 1;
        }
        // What is missing in the last turn is the first, whose weight there is 0.
        let all = taps.count.next_multiple_of(if MVE { TURN } else { 2 });
        let first = table[0];
        for to in table.get_mut(taps.count..all).unwrap_or_default() {
            *to = first;
        }
        (all, whole)
    }
}

impl<const MVE: bool> Op for Image<'_, MVE> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(mut self, _: S) {
        if self.fits().is_none() {
            return;
        }
        let l = &mut self.0;
        l.scratch.fill(l.input_zero);
        let y = core::mem::take(&mut l.y);
        let outside = &*core::mem::take(&mut l.scratch);
        let l = &self.0;
        let (x_step, y_step) = (l.stride[2] * l.x_strides[3], l.y_strides[3]);
        let (all, mut table) = (self.taps(), [0; TAPS + TURN]);
        // Outputs of a row whose columns of taps all lie inside: windows move right, so they are neighbours.
        let whole = |w: &usize| self.columns(*w) == (0, l.kernel[2]);
        let first = (0..l.out[2]).find(whole).unwrap_or(l.out[2]);
        let last = (first..l.out[2]).rev().find(whole).map_or(first, |q| q + 1);
        for image in 0..l.batch {
            for d in 0..l.out[0] {
                for h in 0..l.out[1] {
                    let line = self.line(&all, image, [d, h]);
                    let mut w = 0;
                    while w < l.out[2] {
                        let (len, whole) = self.table(&all, &line, w, &mut table);
                        let taps = table.get_mut(..len).unwrap_or_default();
                        let pixels = if whole { last - w } else { 1 };
                        let at = image * l.y_strides[0] + d * l.y_strides[1] + h * l.y_strides[2] + w * y_step;
                        let y = y.get_mut(at..).unwrap_or_default();
                        let fours = if MVE { l.channels } else { l.channels / 4 * 4 };
                        let window = Window {
                            x: l.x,
                            outside,
                            records: l.records,
                            channels: fours,
                            pixels,
                            x_step,
                            y_step,
                            format: l.format,
                        };
                        if MVE {
                            mve::body::depthwise(&window, taps, y);
                            w += pixels;
                            continue;
                        }
                        body::depthwise(&window, taps, y);
                        if fours < l.channels {
                            // The last four channels, some of them again.
                            let last = l.channels - 4;
                            let records = from(l.records, fours / 4 * depthwise_words(taps.len() / 2));
                            let window = Window { x: from(l.x, last), records, channels: 4, ..window };
                            body::depthwise(&window, taps, y.get_mut(last..).unwrap_or_default());
                        }
                        l.format.bound(y, (0..pixels).map(|pixel| pixel * y_step), l.channels);
                        w += pixels;
                    }
                }
            }
        }
    }
}
