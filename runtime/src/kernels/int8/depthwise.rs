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

/// The taps of a layer for Helium's cores; a bit is a tap. The others compute places row by row: in less code, and slower by a
/// fortieth of a network.
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
    /// Planes of taps inside the image.
    planes: (usize, usize),
    /// Rows of taps inside the image.
    rows: (usize, usize),
}

/// The lowest `n` bits.
fn ones(n: usize) -> u64 {
    if n < 64 { (1 << n) - 1 } else { u64::MAX }
}

impl Taps {
    const NONE: Taps = Taps { from_first: [0; TAPS], count: 0, column: 0, width: 0 };

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
    #[inline(always)]
    fn taps(&self) -> Taps {
        let l = &self.0;
        let ([_, ih, iw, ic], [kd, kh, kw]) = (l.x_strides, l.kernel);
        let mut taps = Taps { count: kd * kh * kw, width: kw, ..Taps::NONE };
        let mut to = taps.from_first.iter_mut();
        for d in 0..kd {
            for h in 0..kh {
                let start = d * l.dilation[0] * ih + h * l.dilation[1] * iw;
                for (w, to) in (0..kw).zip(&mut to) {
                    *to = start + w * l.dilation[2] * ic;
                }
                taps.column |= 1u64.checked_shl(((d * kh + h) * kw) as u32).unwrap_or(0);
            }
        }
        taps
    }

    fn line(&self, image: usize, [d, h]: [usize; 2]) -> Line {
        let l = &self.0;
        let start = |q: usize, axis: usize| (q * l.stride[axis]) as isize - l.padding[axis] as isize;
        let (sd, sh, sw) = (start(d, 0), start(h, 1), start(0, 2));
        let [id, ih, iw, ic] = l.x_strides.map(|step| step as isize);
        let planes = taps_inside(sd, l.size[0], l.kernel[0], l.dilation[0]);
        let rows = taps_inside(sh, l.size[1], l.kernel[1], l.dilation[1]);
        Line { start: (image as isize * id + sd * ih + sh * iw + sw * ic) as usize, planes, rows }
    }

    /// Columns of taps of an output inside the image.
    fn columns(&self, w: usize) -> (usize, usize) {
        let l = &self.0;
        let start = (w * l.stride[2]) as isize - l.padding[2] as isize;
        taps_inside(start, l.size[2], l.kernel[2], l.dilation[2])
    }

    /// Taps whose row is inside the image.
    fn rows_inside(&self, taps: &Taps, line: &Line) -> u64 {
        let mut inside = 0;
        for d in line.planes.0..line.planes.1 {
            for h in line.rows.0..line.rows.1 {
                let first = (d * self.0.kernel[1] + h) * taps.width;
                inside |= ones(taps.width).checked_shl(first as u32).unwrap_or(0);
            }
        }
        inside
    }

    /// Where the taps of the output read that `columns` belongs to, the first of them at `base`; whether all are inside.
    #[inline(always)]
    fn by_masks(taps: &Taps, rows: u64, columns: (usize, usize), base: usize, table: &mut [usize]) -> bool {
        let mut inside = rows & taps.columns(columns);
        let whole = inside == ones(taps.count);
        for (to, from_first) in table.iter_mut().zip(&taps.from_first).take(taps.count) {
            *to = if inside & 1 == 1 { base.wrapping_add(*from_first) } else { usize::MAX };
            inside >>= 1;
        }
        whole
    }

    /// The same.
    #[inline(always)]
    fn by_rows(&self, line: &Line, columns: (usize, usize), base: usize, table: &mut [usize]) -> bool {
        let l = &self.0;
        let ([_, ih, iw, ic], [kd, kh, kw]) = (l.x_strides, l.kernel);
        let mut to = table.iter_mut();
        for d in 0..kd {
            for h in 0..kh {
                let inside = line.planes.0 <= d && d < line.planes.1 && line.rows.0 <= h && h < line.rows.1;
                let (first, end) = if inside { columns } else { (0, 0) };
                let mut at = base.wrapping_add(d * l.dilation[0] * ih + h * l.dilation[1] * iw);
                for (w, to) in (0..kw).zip(&mut to) {
                    *to = if first <= w && w < end { at } else { usize::MAX };
                    at = at.wrapping_add(l.dilation[2] * ic);
                }
            }
        }
        line.planes == (0, kd) && line.rows == (0, kh) && columns == (0, kw)
    }

    /// The taps of one output in whole turns of the loop: how many, and whether all are inside. `rows`: of [`Image::rows_inside`].
    #[inline(always)]
    fn table(&self, taps: &Taps, line: &Line, rows: u64, w: usize, table: &mut [usize; TAPS + TURN]) -> (usize, bool) {
        let [kd, kh, kw] = self.0.kernel;
        let columns = self.columns(w);
        let base = line.start.wrapping_add(w * self.0.stride[2] * self.0.x_strides[3]);
        let whole = if MVE {
            Self::by_masks(taps, rows, columns, base, table)
        } else {
            self.by_rows(line, columns, base, table)
        };
        // What is missing in the last turn is the first, whose weight there is 0.
        let count = kd * kh * kw;
        let all = count.next_multiple_of(if MVE { TURN } else { 2 });
        let first = table[0];
        for to in table.get_mut(count..all).unwrap_or_default() {
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
        let mut table = [0; TAPS + TURN];
        let all = if MVE { self.taps() } else { Taps::NONE };
        // Outputs of a row whose columns of taps all lie inside: windows move right, so they are neighbours.
        let whole = |w: &usize| self.columns(*w) == (0, l.kernel[2]);
        let first = (0..l.out[2]).find(whole).unwrap_or(l.out[2]);
        let last = (first..l.out[2]).rev().find(whole).map_or(first, |q| q + 1);
        for image in 0..l.batch {
            for d in 0..l.out[0] {
                for h in 0..l.out[1] {
                    let line = self.line(image, [d, h]);
                    let rows = if MVE { self.rows_inside(&all, &line) } else { 0 };
                    let mut w = 0;
                    while w < l.out[2] {
                        let (len, whole) = self.table(&all, &line, rows, w, &mut table);
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
