//! Layers on f32 where a Cortex-M has an FPU: panels of four whose inner loops are those of `arch::thumb_fp`.
//!
//! Tiles have four rows or one: both loops cost nearly the same instructions per product, so that a remainder of two or
//! three rows needs no loop of its own. Weights lie as in [`N4`](crate::N4) panels. On other targets, and for other element
//! types, the panels behave as those, so code generated for a board still runs on the host.

use super::tile::{Block, Body, Tiles};
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
    fn few<S: Simd, B: Body>(_: S, _: usize, _: usize, _: &mut B) -> bool {
        false
    }
    #[inline(always)]
    fn next(rows: usize) -> (usize, usize) {
        if rows >= 4 { (4, rows / 4) } else { (1, rows) }
    }
    #[inline(always)]
    fn tiles<S: Simd, B: Body>(s: S, block: Block, height: usize, _: usize, body: &mut B) {
        if height == 4 {
            block.tiles::<S, B, 4, 1>(s, body);
        } else {
            block.tiles::<S, B, 1, 1>(s, body);
        }
    }
}

impl<const FUSED: bool> Panel for Fpu4<FUSED> {
    const WIDTH: usize = 4;
    type Row<T: Copy + Default + 'static> = [T; 4];
    type F32<S: Simd> = Lanes<f32, 4>;
    type Lanes<S: Simd, T: Num> = Lanes<T, 4>;
    type Tiles<S: Simd> = OneOrFour;
    type OtherTiles<S: Simd> = OneOrFour;
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
        epilogue: &super::epilogue::Epilogue<'_, super::arith::F32>,
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
    fn product(rows: &mut super::matmul::Rows<'_, super::arith::F32, Self>, count: usize) -> bool {
        loops::product(rows, count);
        true
    }
    #[cfg(arm_fpu)]
    #[inline(always)]
    fn conv(images: &mut super::conv::Images<'_, super::arith::F32, Self>) -> bool {
        loops::conv(images);
        true
    }
    #[cfg(arm_fpu)]
    #[inline(always)]
    fn depthwise<W: super::depthwise::Window>(
        layer: &mut super::depthwise::Depthwise<'_, super::arith::F32, Self, W>,
    ) -> bool {
        loops::depthwise(layer);
        true
    }
}

#[cfg(arm_fpu)]
mod loops {
    //! The layers around the loops.
    use crate::arch::thumb_fp::{self, Bounds, Pixels, Taps};
    use crate::kernels::arith::F32;
    use crate::kernels::conv::Images;
    use crate::kernels::depthwise::{Depthwise, Window, taps_inside};
    use crate::kernels::epilogue::Epilogue;
    use crate::kernels::fpu::Fpu4;
    use crate::kernels::matmul::Rows;
    use crate::kernels::tile::from;
    use crate::kernels::window::Axis;
    use crate::simd::{Lanes, Panel};
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
    #[inline(never)]
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

    /// The bias of all channels, if there is one, as whole groups.
    #[inline(always)]
    fn bias<'a>(e: &Epilogue<'a, F32>) -> Option<&'a [[f32; 4]]> {
        (!e.bias.is_empty()).then_some(e.bias.as_chunks().0)
    }

    /// Weights that rows of input meet, and where the results go: at the offset of a row, from channel `first` on.
    struct Matrix<'a, 'e> {
        weights: &'a [[f32; 4]],
        inner: usize,
        columns: usize,
        first: usize,
        epilogue: &'a Epilogue<'e, F32>,
        y: &'a mut [f32],
    }

    impl Matrix<'_, '_> {
        fn panel(&self, panel: usize) -> &[[f32; 4]] {
            let at = panel * self.inner;
            self.weights.get(at..at + self.inner).unwrap_or(&[])
        }

        /// Four rows. Sums are written to the output and finished there, unless the epilogue reads what stands in it.
        #[inline(never)]
        fn four_rows<const FUSED: bool>(&mut self, x: [&[f32]; 4], offsets: [usize; 4]) {
            let e = self.epilogue;
            let mut panel = 0;
            let plain = e.slope.is_empty() && e.residual.is_empty() && !e.in_place;
            if plain && self.inner > 0 && evenly_spaced(offsets) {
                panel = self.columns / 4;
                let y = self.y.get_mut(offsets[0] + self.first..).unwrap_or(&mut []);
                let weights = self.weights.get(..panel * self.inner).unwrap_or(&[]);
                let step = offsets[1] - offsets[0];
                thumb_fp::four_rows_of_all::<FUSED>(x, weights, self.inner, y, step);
                let bias = (!e.bias.is_empty()).then(|| from(e.bias, self.first).as_chunks().0);
                thumb_fp::finish_in_place(bias, bounds(e), y, [4, panel], step);
            }
            while 4 * panel < self.columns {
                let mut sums = [Lanes([0.0; 4]); 4];
                thumb_fp::four_rows::<FUSED>(&mut sums, x, self.panel(panel));
                finish(e, &sums, self.y, &offsets, self.first + 4 * panel..self.first + self.columns);
                panel += 1;
            }
        }

        /// One row, up to four panels at a time.
        #[inline(never)]
        fn one_row<const FUSED: bool>(&mut self, x: &[f32], offset: usize) {
            let mut panel = 0;
            while 4 * panel < self.columns {
                let mut sums = [Lanes([0.0; 4]); 4];
                let mut panels = 0;
                for sums in &mut sums {
                    if 4 * (panel + panels) < self.columns {
                        thumb_fp::one_row::<FUSED>(sums, x, self.panel(panel + panels));
                        panels += 1;
                    }
                }
                let sums = sums.get(..panels).unwrap_or(&[]);
                finish(self.epilogue, sums, self.y, &[offset], self.first + 4 * panel..self.first + self.columns);
                panel += panels;
            }
        }
    }

    /// A product with all panels of a matrix: four rows at a time, then one by one.
    #[inline(always)]
    pub fn product<const FUSED: bool>(m: &mut Rows<'_, F32, Fpu4<FUSED>>, rows: usize) {
        let (inner, columns, epilogue) = (m.inner, m.columns, &m.epilogue);
        let mut matrix = Matrix { weights: m.weights, inner, columns, first: 0, epilogue, y: m.y };
        let mut row = 0;
        while row < rows {
            let x = |i: usize| from(m.x, (row + i) * m.x_stride);
            let offset = |i: usize| (row + i) * m.y_stride;
            if rows - row >= 4 {
                matrix.four_rows::<FUSED>([0, 1, 2, 3].map(x), [0, 1, 2, 3].map(offset));
                row += 4;
            } else {
                matrix.one_row::<FUSED>(x(0), offset(0));
                row += 1;
            }
        }
    }

    /// A convolution: the patches of four output pixels, or of one, are copied to the scratch memory and meet all panels there.
    /// Copying costs a few instructions per element, which then takes part in as many products as there are channels.
    #[inline(never)]
    pub fn conv<const FUSED: bool>(l: &mut Images<'_, F32, Fpu4<FUSED>>) {
        let (Some(()), Some(inner)) = (l.fits(), l.inner()) else { return };
        let panels = l.columns.div_ceil(4) * inner;
        let pixels = l.axes.iter().fold(l.images, |pixels, axis| pixels * axis.count);
        for group in 0..l.groups {
            let weights =
                <Fpu4<FUSED> as Panel>::rows(l.weights).get(group * panels..(group + 1) * panels).unwrap_or(&[]);
            let mut pixel = 0;
            while pixel < pixels {
                let rows = if pixels - pixel >= 4 { 4 } else { 1 };
                let mut offsets = [0; 4];
                for (i, offset) in offsets.iter_mut().enumerate().take(rows) {
                    *offset = gather(l, pixel + i, group, i * inner..(i + 1) * inner);
                }
                let epilogue = &l.epilogue;
                let first = group * l.columns;
                let mut matrix = Matrix { weights, inner, columns: l.columns, first, epilogue, y: l.y };
                let patch = |i: usize| from(l.scratch, i * inner);
                if rows == 4 {
                    matrix.four_rows::<FUSED>([0, 1, 2, 3].map(patch), offsets);
                } else {
                    matrix.one_row::<FUSED>(patch(0), offsets[0]);
                }
                pixel += rows;
            }
        }
    }

    /// Copies the patch of an output pixel, and gives the offset of its results.
    #[inline(never)]
    fn gather<P: Panel>(l: &mut Images<'_, F32, P>, pixel: usize, group: usize, to: Range<usize>) -> usize {
        let [d, h, w] = l.axes;
        let ([xn, xd, xh, xw, xc], [yn, yd, yh, yw]) = (l.x_strides, l.y_strides);
        let (row, qw) = (pixel / w.count.max(1), pixel % w.count.max(1));
        let (plane, qh) = (row / h.count.max(1), row % h.count.max(1));
        let (image, qd) = (plane / d.count.max(1), plane % d.count.max(1));
        let start = |axis: &Axis, q: usize| axis.start + q as isize * axis.step;
        let origin = [start(&d, qd), start(&h, qh), start(&w, qw)];
        let (first, last) = taps_inside(origin[2], w.size, w.taps, w.tap_step as usize);
        let (tap, width) = (w.tap_step as usize * xw, w.taps * l.channels);
        let base = image * xn + group * l.channels * xc;
        let left = origin[2] * xw as isize + (first * tap) as isize;
        let Some(patch) = l.scratch.get_mut(to) else { return 0 };
        let mut rows = patch.chunks_exact_mut(width.max(1));
        for td in 0..d.taps {
            let at_d = origin[0] + td as isize * d.tap_step;
            for th in 0..h.taps {
                let at_h = origin[1] + th as isize * h.tap_step;
                let Some(row) = rows.next() else { break };
                let present = (at_d as usize) < d.size && (at_h as usize) < h.size;
                if !present || last - first < w.taps {
                    row.fill(0.0);
                }
                let Some(row) = row.get_mut(first * l.channels..last * l.channels).filter(|_| present) else {
                    continue;
                };
                let at = (base as isize + at_d * xd as isize + at_h * xh as isize + left) as usize;
                if xc == 1 && tap == l.channels {
                    row.iter_mut().zip(from(l.x, at)).for_each(|(to, from)| *to = *from);
                } else {
                    thumb_fp::transpose(from(l.x, at), [tap, xc], row, l.channels);
                }
            }
        }
        image * yn + qd * yd + qh * yh + qw * yw
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
    pub fn depthwise<const FUSED: bool, W: Window>(l: &mut Depthwise<'_, F32, Fpu4<FUSED>, W>) {
        let ([xn, xd, xh, xw], [yn, yd, yh, yw]) = (l.x_strides, l.y_strides);
        let ([sd, sh, sw], [pd, ph, pw]) = (l.stride, l.padding);
        let ([kd, kh, kw], [dd, dh, dw]) = (l.kernel, l.dilation);
        let step = [dd * xd, dh * xh, dw * xw];
        let mut pixel = Pixel { step, kernel: l.kernel, blocks: l.channels.div_ceil(4), ..Pixel::default() };
        pixel.steps = [sw * xw, yw];
        // Outputs before this one have all columns of taps inside, but for the first of a row.
        let room = (l.size[2] + pw).checked_sub(kw.saturating_sub(1) * dw);
        let whole = room.map_or(0, |room| room.div_ceil(sw.max(1))).min(l.out[2]);
        for image in 0..l.batch {
            for d in 0..l.out[0] {
                let from = origin(d, sd, pd);
                pixel.planes = taps_inside(from, l.size[0], kd, dd);
                let x = (image * xn) as isize + from * xd as isize;
                for h in 0..l.out[1] {
                    let from = origin(h, sh, ph);
                    pixel.rows = taps_inside(from, l.size[1], kh, dh);
                    let x = x + from * xh as isize;
                    let mut w = 0;
                    while w < l.out[2] {
                        let from = origin(w, sw, pw);
                        pixel.columns = taps_inside(from, l.size[2], kw, dw);
                        pixel.x = x + from * xw as isize;
                        pixel.y = image * yn + d * yd + h * yh + w * yw;
                        pixel.count = if pixel.columns == (0, kw) { whole.saturating_sub(w).max(1) } else { 1 };
                        pixel.compute(l);
                        w += pixel.count;
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

    /// Neighbouring output pixels of a depthwise layer, with the same taps inside the image.
    #[derive(Clone, Copy, Default)]
    struct Pixel {
        /// How many, and their distance in input and output.
        count: usize,
        steps: [usize; 2],
        /// Distance of taps in the input.
        step: [usize; 3],
        kernel: [usize; 3],
        /// Groups of four channels in the weights.
        blocks: usize,
        /// Taps inside the image.
        planes: (usize, usize),
        rows: (usize, usize),
        columns: (usize, usize),
        /// Where tap 0 of the first would be, and its output is.
        x: isize,
        y: usize,
    }

    impl Pixel {
        #[inline(always)]
        fn compute<const FUSED: bool, W: Window>(&self, l: &mut Depthwise<'_, F32, Fpu4<FUSED>, W>) {
            let e = l.epilogue();
            let groups = l.channels / 4;
            let plain = e.slope.is_empty() && e.residual.is_empty() && !e.in_place;
            if plain && groups > 0 {
                let y = l.y.get_mut(self.y..).unwrap_or(&mut []);
                let pixels = Pixels { count: self.count, groups, steps: self.steps };
                self.sums::<FUSED>(l.x, l.weights, 0, y, &pixels);
                thumb_fp::finish_in_place(bias(&e), bounds(&e), y, [self.count, groups], self.steps[1]);
            }
            if !plain || 4 * groups < l.channels {
                self.one_by_one::<FUSED, W>(l, if plain { groups } else { 0 });
            }
        }

        /// The groups from `first` on where they are not whole or the epilogue is more than a bias and bounds.
        #[inline(never)]
        fn one_by_one<const FUSED: bool, W: Window>(&self, l: &mut Depthwise<'_, F32, Fpu4<FUSED>, W>, first: usize) {
            let e = l.epilogue();
            for i in 0..self.count {
                let pixel = Pixel { x: self.x + (i * self.steps[0]) as isize, ..*self };
                let at = self.y + i * self.steps[1];
                for group in first..self.blocks {
                    let mut sums = [0.0; 4];
                    if 4 * group + 4 <= l.channels {
                        let pixels = Pixels { count: 1, groups: 1, steps: [0; 2] };
                        pixel.sums::<FUSED>(l.x, l.weights, group, &mut sums, &pixels);
                    } else {
                        sums = pixel.last_channels(l.x, l.weights, l.channels);
                    }
                    any(&e, &[Lanes(sums)], l.y, &[at], 4 * group..l.channels);
                }
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
        #[inline(never)]
        fn sums<const FUSED: bool>(&self, x: &[f32], weights: &[f32], group: usize, y: &mut [f32], pixels: &Pixels) {
            let taps = Taps {
                rows: self.rows.1 - self.rows.0,
                columns: self.columns.1 - self.columns.0,
                x_steps: [self.step[1], self.step[2]],
                w_steps: [self.kernel[2] * self.blocks, self.blocks],
            };
            let (first, last) = self.planes;
            if first == last || taps.rows == 0 || taps.columns == 0 {
                for pixel in 0..pixels.count {
                    let y = y.get_mut(pixel * pixels.steps[1]..).unwrap_or(&mut []);
                    y.iter_mut().take(4 * pixels.groups).for_each(|y| *y = 0.0);
                }
                return;
            }
            let weights = weights.as_chunks().0;
            for plane in first..last {
                let (at, weight) = self.first(plane);
                let (x, weights) = (from(x, at + 4 * group), from(weights, weight + group));
                thumb_fp::depthwise::<FUSED>(x, weights, &taps, y, pixels, plane > first);
            }
        }

        /// Sums of the channels that do not fill a group.
        #[inline(never)]
        fn last_channels(&self, x: &[f32], weights: &[f32], channels: usize) -> [f32; 4] {
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
            sums
        }
    }
}
