//! Layers on f32 where a Cortex-M has an FPU: panels of four whose inner loops are those of `arch::thumb_fp`.
//!
//! Tiles have four rows or one: both loops cost nearly the same instructions per product, so that a remainder of two or
//! three rows needs no loop of its own. Weights lie as in [`N4`](crate::N4) panels. On other targets, and for other element
//! types, the panels behave as those, so code generated for a board still runs on the host.

use super::tile::{Body, Tiles, few};
use crate::simd::{Lanes, Num, Panel, Simd};

/// Panels of 4 on a Cortex-M with an FPU. `FUSED`: products are added with one rounding (`vfma`), else with two, which gives
/// the bits of [`N4`](crate::N4).
#[derive(Clone, Copy, Debug)]
pub struct Fpu4<const FUSED: bool>;

/// Tiles of one row or four.
#[derive(Clone, Copy, Debug)]
pub struct OneOrFour;

impl Tiles for OneOrFour {
    const ROWS: usize = 4;
    const PANELS: usize = 1;
    #[inline(always)]
    fn few<S: Simd, B: Body<S>>(s: S, rows: usize, panels: usize, body: &mut B) -> bool {
        if rows == 1 {
            few::<S, B, 1, 4>(s, panels, body);
        }
        rows == 1
    }
    #[inline(always)]
    fn height(rows: usize) -> usize {
        if rows >= 4 { 4 } else { 1 }
    }
    #[inline(always)]
    fn tile<S: Simd, B: Body<S>>(s: S, row: usize, rows: usize, panel: usize, _: usize, body: &mut B) {
        if rows == 4 {
            body.tile::<4, 1>(s, row, panel);
        } else {
            body.tile::<1, 1>(s, row, panel);
        }
    }
}

impl<const FUSED: bool> Panel for Fpu4<FUSED> {
    const WIDTH: usize = 4;
    type Row<T: Copy + Default + 'static> = [T; 4];
    type F32<S: Simd> = Lanes<f32, 4>;
    type Lanes<S: Simd, T: Num> = Lanes<T, 4>;
    type Tiles<S: Simd> = OneOrFour;
    #[inline(always)]
    fn rows<T: Copy + Default + 'static>(panel: &[T]) -> &[[T; 4]] {
        panel.as_chunks().0
    }

    #[cfg(arm_fpu)]
    #[inline(always)]
    fn accumulate<S: Simd, const ROWS: usize, const PANELS: usize>(
        sums: &mut [[Lanes<f32, 4>; PANELS]; ROWS],
        rows: [&[f32]; ROWS],
        panels: [&[[f32; 4]]; PANELS],
    ) -> bool {
        loops::accumulate::<FUSED>(sums.as_flattened_mut(), &rows, &panels);
        true
    }
    #[cfg(arm_fpu)]
    #[inline(always)]
    fn finish<S: Simd, const ROWS: usize, const PANELS: usize>(
        epilogue: &super::tile::Epilogue<'_, super::arith::F32>,
        sums: &[[Lanes<f32, 4>; PANELS]; ROWS],
        y: &mut [f32],
        offsets: [usize; ROWS],
        channels: core::ops::Range<usize>,
    ) -> bool {
        loops::finish(epilogue, sums.as_flattened(), y, &offsets, channels);
        true
    }
    #[cfg(arm_fpu)]
    #[inline(always)]
    fn depthwise(layer: &mut super::depthwise::Depthwise<'_, super::arith::F32, Self>) -> bool {
        loops::depthwise(layer);
        true
    }
}

#[cfg(arm_fpu)]
mod loops {
    //! The layers around the loops.
    use crate::arch::thumb_fp::{self, Bounds, Taps};
    use crate::kernels::arith::F32;
    use crate::kernels::depthwise::{Depthwise, taps_inside};
    use crate::kernels::fpu::Fpu4;
    use crate::kernels::tile::{Epilogue, from};
    use crate::simd::Lanes;
    use core::ops::Range;

    type Sums = Lanes<f32, 4>;

    /// Adds one run to a tile of four rows and one panel, or of one row and any number of panels.
    #[inline(always)]
    pub fn accumulate<const FUSED: bool>(sums: &mut [Sums], rows: &[&[f32]], panels: &[&[[f32; 4]]]) {
        match (rows, panels) {
            ([row], _) => {
                sums.iter_mut().zip(panels).for_each(|(sums, panel)| thumb_fp::one_row::<FUSED>(sums, row, panel));
            }
            (&[a, b, c, d], &[panel]) => {
                let Some(sums) = sums.first_chunk_mut() else { return };
                thumb_fp::four_rows::<FUSED>(sums, [a, b, c, d], panel);
            }
            _ => {}
        }
    }

    /// Finishes and writes what [`accumulate`] gave.
    #[inline(always)]
    pub fn finish(e: &Epilogue<'_, F32>, sums: &[Sums], y: &mut [f32], offsets: &[usize], channels: Range<usize>) {
        let (first, end) = (channels.start, channels.end);
        let plain = e.slope.is_empty() && e.residual.is_empty();
        match *offsets {
            [at] if plain && first + 4 * sums.len() <= end && !e.bias.is_empty() => {
                let (bias, y) = (from(e.bias, first), y.get_mut(at + first..).unwrap_or(&mut []));
                thumb_fp::finish_groups(sums, bias.as_chunks().0, bounds(e), y.as_chunks_mut().0);
            }
            [a, b, c, d] if plain && first + 4 <= end && evenly_spaced([a, b, c, d]) => {
                let zeros = [0.0; 4];
                let bias = from(e.bias, first).first_chunk().unwrap_or(&zeros);
                thumb_fp::finish_rows(sums, bias, bounds(e), y.get_mut(a + first..).unwrap_or(&mut []), b - a);
            }
            _ => any(e, sums, y, offsets, channels),
        }
    }

    #[inline(always)]
    fn evenly_spaced([a, b, c, d]: [usize; 4]) -> bool {
        a <= b && b.wrapping_sub(a) == c.wrapping_sub(b) && c.wrapping_sub(b) == d.wrapping_sub(c)
    }

    #[inline(always)]
    fn bounds(e: &Epilogue<'_, F32>) -> Bounds {
        let (raise, lower) = (e.low > f32::NEG_INFINITY, e.high < f32::INFINITY);
        Bounds { low: e.low, high: e.high, raise, lower, add: e.in_place }
    }

    /// Any epilogue, row by row.
    #[inline(never)]
    fn any(e: &Epilogue<'_, F32>, sums: &[Sums], y: &mut [f32], offsets: &[usize], channels: Range<usize>) {
        let panels = sums.len().checked_div(offsets.len()).unwrap_or(0).max(1);
        for (sums, offset) in sums.chunks_exact(panels).zip(offsets) {
            for (channel, sum) in channels.clone().zip(sums.iter().flat_map(|sums| sums.0)) {
                let at = offset + channel;
                let Some(y) = y.get_mut(at) else { return };
                let mut v = sum + e.bias.get(channel).unwrap_or(&0.0) + e.residual.get(at).unwrap_or(&0.0);
                if e.in_place {
                    v += *y;
                }
                if let Some(slope) = e.slope.get(channel).filter(|_| v <= 0.0) {
                    v *= slope;
                }
                // Comparisons written so that NaN fails both and stays.
                let raised = if v < e.low { e.low } else { v };
                *y = if raised > e.high { e.high } else { raised };
            }
        }
    }

    /// A depthwise layer, output pixel by output pixel, all channels of one in turn: those of a tap are adjacent.
    #[inline(always)]
    pub fn depthwise<const FUSED: bool>(l: &mut Depthwise<'_, F32, Fpu4<FUSED>>) {
        let ([xn, xd, xh, xw], [yn, yd, yh, yw]) = (l.x_strides, l.y_strides);
        let ([sd, sh, sw], [pd, ph, pw]) = (l.stride, l.padding);
        let ([kd, kh, kw], [dd, dh, dw]) = (l.kernel, l.dilation);
        let step = [dd * xd, dh * xh, dw * xw];
        let mut pixel = Pixel { step, kernel: l.kernel, blocks: l.channels.div_ceil(4), ..Pixel::default() };
        for image in 0..l.batch {
            for d in 0..l.out[0] {
                let from = origin(d, sd, pd);
                pixel.planes = taps_inside(from, l.size[0], kd, dd);
                let x = (image * xn) as isize + from * xd as isize;
                for h in 0..l.out[1] {
                    let from = origin(h, sh, ph);
                    pixel.rows = taps_inside(from, l.size[1], kh, dh);
                    let x = x + from * xh as isize;
                    for w in 0..l.out[2] {
                        let from = origin(w, sw, pw);
                        pixel.columns = taps_inside(from, l.size[2], kw, dw);
                        pixel.x = x + from * xw as isize;
                        pixel.y = image * yn + d * yd + h * yh + w * yw;
                        pixel.compute(l);
                    }
                }
            }
        }
    }

    /// Coordinate of tap 0 of output `q`.
    #[inline(always)]
    fn origin(q: usize, stride: usize, padding: usize) -> isize {
        (q * stride) as isize - padding as isize
    }

    /// One output pixel of a depthwise layer.
    #[derive(Clone, Copy, Default)]
    struct Pixel {
        /// Distance of taps in the input.
        step: [usize; 3],
        kernel: [usize; 3],
        /// Groups of four channels in the weights.
        blocks: usize,
        /// Taps inside the image.
        planes: (usize, usize),
        rows: (usize, usize),
        columns: (usize, usize),
        /// Where tap 0 would be, and the output is.
        x: isize,
        y: usize,
    }

    impl Pixel {
        #[inline(always)]
        fn compute<const FUSED: bool>(&self, l: &mut Depthwise<'_, F32, Fpu4<FUSED>>) {
            let e = l.epilogue();
            let groups = l.channels / 4;
            let end = self.y + 4 * groups;
            if e.slope.is_empty() && e.residual.is_empty() && !e.in_place {
                let Some(y) = l.y.get_mut(self.y..end) else { return };
                let y = y.as_chunks_mut().0;
                self.sums::<FUSED>(l.x, l.weights, 0, y);
                thumb_fp::finish_in_place((!e.bias.is_empty()).then(|| e.bias.as_chunks().0), bounds(&e), y);
            } else {
                for group in 0..groups {
                    let mut sums = [[0.0; 4]];
                    self.sums::<FUSED>(l.x, l.weights, group, &mut sums);
                    any(&e, &sums.map(Lanes), l.y, &[self.y], 4 * group..l.channels);
                }
            }
            if 4 * groups < l.channels {
                let sums = self.last_channels(l.x, l.weights, l.channels);
                any(&e, &[sums], l.y, &[self.y], 4 * groups..l.channels);
            }
        }

        /// Where the first tap inside a plane is, in the input and in the weights.
        #[inline(always)]
        fn first(&self, plane: usize) -> (usize, usize) {
            let (row, column) = (self.rows.0, self.columns.0);
            let inside = plane * self.step[0] + row * self.step[1] + column * self.step[2];
            let tap = (plane * self.kernel[1] + row) * self.kernel[2] + column;
            ((self.x + inside as isize) as usize, tap * self.blocks)
        }

        /// Sums of the taps for whole groups of channels from `group` on.
        #[inline(always)]
        fn sums<const FUSED: bool>(&self, x: &[f32], weights: &[f32], group: usize, y: &mut [[f32; 4]]) {
            let taps = Taps {
                rows: self.rows.1 - self.rows.0,
                columns: self.columns.1 - self.columns.0,
                x_steps: [self.step[1], self.step[2]],
                w_steps: [self.kernel[2] * self.blocks, self.blocks],
            };
            let (first, last) = self.planes;
            if first == last || taps.rows == 0 || taps.columns == 0 {
                y.fill([0.0; 4]);
            }
            let weights = weights.as_chunks().0;
            for plane in first..last {
                let (at, weight) = self.first(plane);
                let (x, weights) = (from(x, at + 4 * group), from(weights, weight + group));
                thumb_fp::depthwise::<FUSED>(x, weights, &taps, y, plane > first);
            }
        }

        /// Sums of the channels that do not fill a group.
        #[inline(never)]
        fn last_channels(&self, x: &[f32], weights: &[f32], channels: usize) -> Sums {
            let mut sums = [0.0; 4];
            let group = channels / 4;
            for plane in self.planes.0..self.planes.1 {
                let (at, weight) = self.first(plane);
                for row in 0..self.rows.1 - self.rows.0 {
                    for column in 0..self.columns.1 - self.columns.0 {
                        let x = from(x, at + row * self.step[1] + column * self.step[2] + 4 * group);
                        let tap = weight + (row * self.kernel[2] + column) * self.blocks + group;
                        let values = x.iter().zip(from(weights, 4 * tap)).take(channels % 4);
                        sums.iter_mut().zip(values).for_each(|(sum, (x, w))| *sum += x * w);
                    }
                }
            }
            Lanes(sums)
        }
    }
}
