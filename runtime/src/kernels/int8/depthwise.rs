//! Depthwise convolutions: no patches; taps are read in pairs, four channels at a time.

use super::records::{TAPS, depthwise_words};
use super::{Format, Window, body};
use crate::kernels::depthwise::{extent, taps_inside};
use crate::kernels::tile::from;
use crate::simd::{Op, Simd};

/// `y[n, c, q] = sum over k of x[n, c, q * stride - padding + k * dilation] * w[c, k]`, requantized; `x` outside the image is
/// `input_zero`. Spatial parameters are `[d, h, w]`. If a slice is too short, the kernel has more than [`TAPS`] taps, or there are
/// fewer than four channels, nothing is written.
pub struct Depthwise<'a> {
    /// Input; channels contiguous.
    pub x: &'a [i8],
    /// As [`super::records::depthwise`] makes them.
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

impl Op for Depthwise<'_> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        s.outline(Image(self));
    }
}

struct Image<'a>(Depthwise<'a>);

impl Image<'_> {
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

    /// Where the taps of one output read; an even number of them.
    fn taps(&self, image: usize, [d, h, w]: [usize; 3], taps: &mut [usize; TAPS]) -> usize {
        let l = &self.0;
        let ([id, ih, iw, ic], [kd, kh, kw]) = (l.x_strides, l.kernel);
        let start = |q: usize, stride: usize, padding: usize| (q * stride) as isize - padding as isize;
        let sd = start(d, l.stride[0], l.padding[0]);
        let sh = start(h, l.stride[1], l.padding[1]);
        let sw = start(w, l.stride[2], l.padding[2]);
        let planes = taps_inside(sd, l.size[0], kd, l.dilation[0]);
        let rows = taps_inside(sh, l.size[1], kh, l.dilation[1]);
        let columns = taps_inside(sw, l.size[2], kw, l.dilation[2]);
        let first = (image * id) as isize + sd * ih as isize + sh * iw as isize + sw * ic as isize;
        let mut to = taps.iter_mut();
        for d in 0..kd {
            for h in 0..kh {
                let inside = planes.0 <= d && d < planes.1 && rows.0 <= h && h < rows.1;
                let mut offset = (first as usize).wrapping_add(d * l.dilation[0] * ih + h * l.dilation[1] * iw);
                for w in 0..kw {
                    let Some(to) = to.next() else { return 0 };
                    *to = if inside && columns.0 <= w && w < columns.1 { offset } else { usize::MAX };
                    offset = offset.wrapping_add(l.dilation[2] * ic);
                }
            }
        }
        // An odd one is paired with the first; its weight is 0.
        let len = kd * kh * kw;
        if len.is_multiple_of(2) {
            return len;
        }
        let first = taps.first().copied().unwrap_or_default();
        if let Some(to) = taps.get_mut(len) {
            *to = first;
        }
        len + 1
    }
}

impl Op for Image<'_> {
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
        let mut taps = [0; TAPS];
        // Outputs of a row whose columns of taps all lie inside: windows move right, so they are neighbours.
        let whole = |q: &usize| {
            let start = (q * l.stride[2]) as isize - l.padding[2] as isize;
            taps_inside(start, l.size[2], l.kernel[2], l.dilation[2]) == (0, l.kernel[2])
        };
        let first = (0..l.out[2]).find(whole).unwrap_or(l.out[2]);
        let last = (first..l.out[2]).rev().find(whole).map_or(first, |q| q + 1);
        for image in 0..l.batch {
            for d in 0..l.out[0] {
                for h in 0..l.out[1] {
                    let mut w = 0;
                    while w < l.out[2] {
                        let len = self.taps(image, [d, h, w], &mut taps);
                        let taps = taps.get(..len).unwrap_or_default();
                        let pixels = if w >= first && w < last && !taps.contains(&usize::MAX) { last - w } else { 1 };
                        let at = image * l.y_strides[0] + d * l.y_strides[1] + h * l.y_strides[2] + w * y_step;
                        let y = y.get_mut(at..).unwrap_or_default();
                        let fours = l.channels / 4 * 4;
                        let window = Window {
                            x: l.x,
                            outside,
                            records: l.records,
                            channels: fours,
                            pixels,
                            x_step,
                            y_step,
                            zero: l.format.zero,
                        };
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
