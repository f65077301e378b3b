//! Convolutions over channels-last images, 1 to 3 spatial dims: [`Conv`] and [`ConvTranspose`].
//!
//! No image is padded or unrolled. Output pixels are numbered through (so that no tile hangs over a row's end), a tile
//! takes a few of them, and the inner loop runs over stretches of the input that are contiguous: a whole kernel row where
//! it lies inside the image, else tap by tap, with a stretch of zeros in place of pixels outside. Few channels make such
//! stretches too short: then a tile's patches are gathered into `scratch` first, which also reads any channel stride.
//!
//! A transposed convolution is one ordinary convolution of step 1 per residue of the output coordinates modulo the
//! stride, each with the taps that reach it: nothing is scattered, every output is written once.
//!
//! The order of summation is kernel depth, height, width, channel. A padded zero meets its weight: infinite weights give
//! NaN there, as in PyTorch.

use super::arith::{Arith, ZERO_RUN, Zeroed};
use super::tile::{Body, Epilogue, Sums, accumulate, cover, zeros};
use crate::simd::{Op, Panel, Simd};

/// `y[n, o, q] = clamp(leaky(sum over c, k of x[n, c, q * stride - padding + k * dilation] * w[o, c, k] * scale + bias
/// + residual))`, per group; `x` outside the image is 0.
///
/// Weights lie as `[group][panel][kernel d][h][w][channel][WIDTH]`, zero-padded. Spatial parameters are `[d, h, w]`.
/// Optional operands are empty slices. If a slice is too short for the geometry, nothing is written.
pub struct Conv<'a, K: Arith, P: Panel> {
    /// Input; strides in `x_strides`.
    pub x: &'a [K::X],
    /// Panels.
    pub weights: &'a [K::W],
    /// Per output channel, or empty.
    pub bias: &'a [K::A],
    /// Scale of quantized weights per output channel; else empty.
    pub scale: &'a [K::A],
    /// Zero point of quantized weights per output channel; else empty.
    pub zero_point: &'a [K::A],
    /// Factor of negative results per output channel, or empty.
    pub slope: &'a [K::A],
    /// Added before the activation; lies as `y` does. Or empty.
    pub residual: &'a [K::Y],
    /// The residual is what `y` holds.
    pub in_place: bool,
    /// Output; channels contiguous.
    pub y: &'a mut [K::Y],
    /// Empty, or [`scratch_len`] elements: gather patches.
    pub scratch: &'a mut [K::X],
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
    /// Zeros before the image (those behind follow from `out`).
    pub padding: [usize; 3],
    /// Input strides: image, d, h, w, channel. The last must be 1 unless patches are gathered.
    pub x_strides: [usize; 5],
    /// Output strides: image, d, h, w.
    pub y_strides: [usize; 4],
    /// Least result.
    pub low: K::A,
    /// Greatest result.
    pub high: K::A,
    /// Panel width.
    pub panel: P,
}

/// Scratch of a [`Conv`] that gathers patches, in elements: the tallest tile of any level times `inner` =
/// kernel size × channels of a group.
pub const fn scratch_len(width: usize, inner: usize) -> usize {
    (if width == 4 { 4 } else { 8 }) * inner
}

/// `torch.conv_transpose`: `y[n, o, q] = ... sum over c, k with q = i * stride - padding + k * dilation of x[n, c, i] *
/// w[c, o, k]`. Fields as [`Conv`]; weights packed as there, from the transposed tensor. `out` includes the output padding.
pub struct ConvTranspose<'a, K: Arith, P: Panel> {
    /// Input; strides in `x_strides`.
    pub x: &'a [K::X],
    /// Panels.
    pub weights: &'a [K::W],
    /// Per output channel, or empty.
    pub bias: &'a [K::A],
    /// Factor of negative results per output channel, or empty.
    pub slope: &'a [K::A],
    /// Added before the activation; lies as `y` does. Or empty.
    pub residual: &'a [K::Y],
    /// The residual is what `y` holds.
    pub in_place: bool,
    /// Output; channels contiguous.
    pub y: &'a mut [K::Y],
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
    /// Step of the window over the output.
    pub stride: [usize; 3],
    /// Distance of taps.
    pub dilation: [usize; 3],
    /// Pixels cut off before the output.
    pub padding: [usize; 3],
    /// Input strides: image, d, h, w, channel (1).
    pub x_strides: [usize; 5],
    /// Output strides: image, d, h, w.
    pub y_strides: [usize; 4],
    /// Least result.
    pub low: K::A,
    /// Greatest result.
    pub high: K::A,
    /// Panel width.
    pub panel: P,
}

impl<K: Arith, P: Panel> Op for Conv<'_, K, P> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        let mut axes = [Axis::default(); 3];
        for d in 0..3 {
            axes[d] = Axis {
                size: self.size[d],
                count: self.out[d],
                start: -(self.padding[d] as isize),
                step: self.stride[d] as isize,
                taps: self.kernel[d],
                tap_step: self.dilation[d] as isize,
                weight_step: 1,
                out_step: 1,
                ..Axis::default()
            };
        }
        let epilogue = Epilogue {
            scale: self.scale,
            zero_point: self.zero_point,
            bias: self.bias,
            slope: self.slope,
            residual: self.residual,
            in_place: self.in_place,
            low: self.low,
            high: self.high,
        };
        let [images, groups] = [self.batch, self.groups];
        s.outline(Images::<K, P> {
            x: self.x,
            weights: self.weights,
            epilogue,
            y: self.y,
            scratch: self.scratch,
            axes,
            images,
            groups,
            channels: self.channels,
            columns: self.columns,
            kernel: self.kernel,
            x_strides: self.x_strides,
            y_strides: self.y_strides,
            panel: self.panel,
        });
    }
}

impl<K: Arith, P: Panel> Op for ConvTranspose<'_, K, P> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        let [sd, sh, sw] = self.stride;
        for pd in 0..sd.min(self.out[0]) {
            for ph in 0..sh.min(self.out[1]) {
                for pw in 0..sw.min(self.out[2]) {
                    let mut axes = [Axis::default(); 3];
                    for (d, phase) in [pd, ph, pw].into_iter().enumerate() {
                        axes[d] = Axis {
                            size: self.size[d],
                            ..Axis::phase(
                                phase,
                                self.out[d],
                                self.stride[d],
                                self.kernel[d],
                                self.dilation[d],
                                self.padding[d],
                            )
                        };
                    }
                    let epilogue = Epilogue {
                        scale: &[],
                        zero_point: &[],
                        bias: self.bias,
                        slope: self.slope,
                        residual: self.residual,
                        in_place: self.in_place,
                        low: self.low,
                        high: self.high,
                    };
                    s.outline(Images::<K, P> {
                        x: self.x,
                        weights: self.weights,
                        epilogue,
                        y: &mut *self.y,
                        scratch: &mut [],
                        axes,
                        images: self.batch,
                        groups: self.groups,
                        channels: self.channels,
                        columns: self.columns,
                        kernel: self.kernel,
                        x_strides: self.x_strides,
                        y_strides: self.y_strides,
                        panel: self.panel,
                    });
                }
            }
        }
    }
}

/// One spatial dim: output number `q` reads input coordinates `start + q * step + tap_start + t * tap_step` for each tap
/// `t`, with weight `weight_start + t * weight_step`, and is written at `out_start + q * out_step`.
#[derive(Clone, Copy, Default)]
struct Axis {
    size: usize,
    count: usize,
    start: isize,
    step: isize,
    taps: usize,
    tap_start: isize,
    tap_step: isize,
    weight_start: usize,
    weight_step: usize,
    out_start: usize,
    out_step: usize,
}

impl Axis {
    /// The outputs congruent to `phase` modulo the stride of a transposed convolution. Output `q * stride + phase` gets
    /// tap `k` from input `q + (phase + padding - k * dilation) / stride` where that divides.
    fn phase(phase: usize, out: usize, stride: usize, kernel: usize, dilation: usize, padding: usize) -> Axis {
        let base = (phase + padding) as isize;
        let shift = |k: usize| {
            let distance = base - (k * dilation) as isize;
            let quotient = distance.checked_div_euclid(stride as isize)?;
            (quotient * stride as isize == distance).then_some(quotient)
        };
        let mut hits = (0..kernel).filter_map(|k| shift(k).map(|s| (k, s)));
        let first = hits.next();
        let second = hits.next();
        let taps = first.map_or(0, |_| 1 + second.map_or(0, |_| 1 + hits.count()));
        let (weight_start, tap_start) = first.unwrap_or((0, 0));
        let (next, next_shift) = second.unwrap_or((weight_start + 1, tap_start));
        Axis {
            size: 0,
            count: (out - phase).div_ceil(stride.max(1)),
            start: 0,
            step: 1,
            taps,
            tap_start,
            tap_step: next_shift - tap_start,
            weight_start,
            weight_step: next - weight_start,
            out_start: phase,
            out_step: stride,
        }
    }
}

/// The common form of both convolutions.
struct Images<'a, K: Arith, P: Panel> {
    x: &'a [K::X],
    weights: &'a [K::W],
    epilogue: Epilogue<'a, K>,
    y: &'a mut [K::Y],
    scratch: &'a mut [K::X],
    axes: [Axis; 3],
    images: usize,
    groups: usize,
    channels: usize,
    columns: usize,
    kernel: [usize; 3],
    x_strides: [usize; 5],
    y_strides: [usize; 4],
    panel: P,
}

impl<K: Arith, P: Panel> Images<'_, K, P> {
    /// Inner dimension: taps times channels.
    fn inner(&self) -> Option<usize> {
        self.kernel.iter().try_fold(self.channels, |n, k| n.checked_mul(*k))
    }

    fn fits(&self) -> Option<()> {
        let last = |counts: &[usize], strides: &[usize]| {
            let mut end = 1usize;
            for (count, stride) in counts.iter().zip(strides) {
                end = end.checked_add(count.checked_sub(1)?.checked_mul(*stride)?)?;
            }
            Some(end)
        };
        let outputs = self.columns.checked_mul(self.groups)?;
        let inputs = self.channels.checked_mul(self.groups)?;
        let [d, h, w] = self.axes;
        let x = last(&[self.images, d.size, h.size, w.size, inputs], &self.x_strides).unwrap_or(0);
        let end = |a: Axis| Some(a.count.checked_sub(1)?.checked_mul(a.out_step)?.checked_add(a.out_start)? + 1);
        let y =
            last(&[self.images, end(d)?, end(h)?, end(w)?], &self.y_strides)?.checked_add(outputs.checked_sub(1)?)?;
        let panels = self.columns.div_ceil(P::WIDTH).checked_mul(self.groups)?;
        let weights = panels.checked_mul(self.inner()?)?.checked_mul(P::WIDTH)?;
        let gathers = self.scratch.len() >= scratch_len(P::WIDTH, self.inner()?);
        let fits = self.x.len() >= x
            && self.y.len() >= y
            && self.weights.len() >= weights
            && (gathers || self.x_strides[4] == 1 || inputs <= 1)
            && self.epilogue.fits(outputs, y);
        fits.then_some(())
    }
}

impl<K: Arith, P: Panel> Op for Images<'_, K, P> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        let (Some(()), Some(inner)) = (self.fits(), self.inner()) else { return };
        let _ = self.panel;
        let gathers = !self.scratch.is_empty() && self.scratch.len() >= scratch_len(P::WIDTH, inner);
        let panels = self.columns.div_ceil(P::WIDTH);
        let [d, h, w] = self.axes;
        let pixels = self.images * d.count * h.count * w.count;
        let mut pixels_of = Pixels::<K, P> {
            x: self.x,
            weights: P::rows(self.weights),
            epilogue: self.epilogue,
            y: self.y,
            scratch: self.scratch,
            axes: self.axes,
            kernel: self.kernel,
            x_strides: self.x_strides,
            y_strides: self.y_strides,
            channels: self.channels,
            columns: self.columns,
            inner,
            group: 0,
            panels,
            contiguous: w.tap_step == 1
                && w.weight_step == 1
                && self.x_strides[4] == 1
                && self.x_strides[3] == self.channels,
            gathers,
            gathered: usize::MAX,
            cursor: Cursor::default(),
        };
        // Gathered rows serve all panels before the next ones come; else a panel stays while many rows pass.
        let block = if gathers { P::tile_rows::<S>() } else { (1 << 16) / inner.max(1) };
        for group in 0..self.groups {
            pixels_of.group = group;
            pixels_of.gathered = usize::MAX;
            cover::<S, P, _>(s, pixels, panels, block, &mut pixels_of);
        }
    }
}

/// Image and output numbers per dim of a pixel number; stepping is cheaper than dividing.
#[derive(Clone, Copy, Default)]
struct Cursor {
    pixel: usize,
    image: usize,
    at: [usize; 3],
}

impl Cursor {
    #[inline(always)]
    fn seek(&mut self, pixel: usize, axes: &[Axis; 3]) {
        if self.pixel == pixel {
            return;
        }
        let mut rest = pixel;
        for d in [2, 1, 0] {
            let count = axes[d].count.max(1);
            self.at[d] = rest % count;
            rest /= count;
        }
        self.image = rest;
        self.pixel = pixel;
    }

    #[inline(always)]
    fn step(&mut self, axes: &[Axis; 3]) {
        self.pixel += 1;
        self.at[2] += 1;
        if self.at[2] >= axes[2].count {
            self.at[2] = 0;
            self.at[1] += 1;
            if self.at[1] >= axes[1].count {
                self.at[1] = 0;
                self.at[0] += 1;
                if self.at[0] >= axes[0].count {
                    self.at[0] = 0;
                    self.image += 1;
                }
            }
        }
    }
}

/// Where one output pixel reads: coordinates of tap 0, and their offset in the input.
#[derive(Clone, Copy, Default)]
struct Window {
    origin: [isize; 3],
    base: isize,
}

/// The tiles of one group.
struct Pixels<'a, K: Arith, P: Panel> {
    x: &'a [K::X],
    weights: &'a [P::Row<K::W>],
    epilogue: Epilogue<'a, K>,
    y: &'a mut [K::Y],
    scratch: &'a mut [K::X],
    axes: [Axis; 3],
    kernel: [usize; 3],
    x_strides: [usize; 5],
    y_strides: [usize; 4],
    channels: usize,
    columns: usize,
    inner: usize,
    group: usize,
    panels: usize,
    contiguous: bool,
    gathers: bool,
    gathered: usize,
    cursor: Cursor,
}

#[inline(always)]
fn inside(coordinate: isize, size: usize) -> bool {
    (coordinate as usize) < size
}

impl<K: Arith, P: Panel, S: Simd> Body<S> for Pixels<'_, K, P> {
    #[inline(always)]
    fn tile<const ROWS: usize, const PANELS: usize>(&mut self, s: S, row: usize, panel: usize) {
        let mut windows = [Window::default(); ROWS];
        let mut offsets = [0; ROWS];
        self.cursor.seek(row, &self.axes);
        for i in 0..ROWS {
            (windows[i], offsets[i]) = self.window();
            self.cursor.step(&self.axes);
        }
        let first = self.group * self.columns + panel * P::WIDTH;
        let zero_point = self.epilogue.zero_points::<S, P, PANELS>(s, first);
        let mut sums = zeros::<K, S, P, ROWS, PANELS>(s);
        if self.gathers {
            if self.gathered != row {
                self.gather(&windows);
                self.gathered = row;
            }
            let mut rows: [&[K::X]; ROWS] = [&[]; ROWS];
            for (i, to) in rows.iter_mut().enumerate() {
                *to = self.scratch.get(i * self.inner..(i + 1) * self.inner).unwrap_or(&[]);
            }
            let panels = self.panel_runs::<PANELS>(panel, 0, self.inner);
            accumulate::<K, S, P, ROWS, PANELS>(s, &mut sums, rows, panels, &zero_point);
        } else {
            self.direct::<S, ROWS, PANELS>(s, &windows, panel, &zero_point, &mut sums);
        }
        let end = (self.group + 1) * self.columns;
        self.epilogue.write::<S, P, ROWS, PANELS>(s, &sums, self.y, offsets, first, end);
    }
}

impl<K: Arith, P: Panel> Pixels<'_, K, P> {
    /// The window of the cursor's pixel and the offset of its output.
    #[inline(always)]
    fn window(&self) -> (Window, usize) {
        let Cursor { image, at, .. } = self.cursor;
        let mut window = Window::default();
        let mut base = image * self.x_strides[0] + self.group * self.channels * self.x_strides[4];
        let mut offset = image * self.y_strides[0];
        for d in 0..3 {
            let axis = &self.axes[d];
            window.origin[d] = axis.start + at[d] as isize * axis.step + axis.tap_start;
            base = base.wrapping_add_signed(window.origin[d] * self.x_strides[d + 1] as isize);
            offset += (axis.out_start + at[d] * axis.out_step) * self.y_strides[d + 1];
        }
        window.base = base as isize;
        (window, offset)
    }

    /// `len` rows of the panels from inner row `start`.
    #[inline(always)]
    fn panel_runs<const PANELS: usize>(&self, panel: usize, start: usize, len: usize) -> [&[P::Row<K::W>]; PANELS] {
        let mut out: [&[P::Row<K::W>]; PANELS] = [&[]; PANELS];
        for (p, out) in out.iter_mut().enumerate() {
            let at = (self.group * self.panels + panel + p) * self.inner + start;
            *out = self.weights.get(at..at + len).unwrap_or(&[]);
        }
        out
    }

    /// Row of the panel where tap (d, h, w) begins.
    #[inline(always)]
    fn weight_row(&self, taps: [usize; 3]) -> usize {
        let mut index = 0;
        for d in 0..3 {
            index = index * self.kernel[d] + self.axes[d].weight_start + taps[d] * self.axes[d].weight_step;
        }
        index * self.channels
    }

    /// Sums over the taps, reading the image in place.
    #[inline(always)]
    fn direct<S: Simd, const ROWS: usize, const PANELS: usize>(
        &self,
        s: S,
        windows: &[Window; ROWS],
        panel: usize,
        zero_point: &[K::V<S, P>; PANELS],
        sums: &mut Sums<K, S, P, ROWS, PANELS>,
    ) {
        let [ad, ah, aw] = &self.axes;
        let last = (aw.taps as isize - 1) * aw.tap_step;
        let row_inside = windows.iter().all(|w| inside(w.origin[2], aw.size) && inside(w.origin[2] + last, aw.size));
        for td in 0..ad.taps {
            for th in 0..ah.taps {
                let (dd, dh) = (td as isize * ad.tap_step, th as isize * ah.tap_step);
                let shift = dd * self.x_strides[1] as isize + dh * self.x_strides[2] as isize;
                let mut present = [false; ROWS];
                for i in 0..ROWS {
                    present[i] =
                        inside(windows[i].origin[0] + dd, ad.size) && inside(windows[i].origin[1] + dh, ah.size);
                }
                if !present.contains(&true) {
                    continue;
                }
                let whole = self.contiguous && row_inside;
                let (runs, len) = if whole { (1, aw.taps * self.channels) } else { (aw.taps, self.channels) };
                for tw in 0..runs {
                    let dw = tw as isize * aw.tap_step;
                    let mut starts = [0; ROWS];
                    let mut all = true;
                    for i in 0..ROWS {
                        let here = present[i] && (whole || inside(windows[i].origin[2] + dw, aw.size));
                        all &= here;
                        let at = windows[i].base + shift + dw * self.x_strides[3] as isize;
                        starts[i] = if here { at as usize } else { usize::MAX };
                    }
                    let weights = self.weight_row([td, th, tw]);
                    let most = if all { len } else { len.min(ZERO_RUN) };
                    let mut done = 0;
                    while done < len {
                        let part = most.min(len - done);
                        let mut rows: [&[K::X]; ROWS] = [&[]; ROWS];
                        for i in 0..ROWS {
                            let inside =
                                starts[i].checked_add(done).and_then(|at| self.x.get(at..at.wrapping_add(part)));
                            rows[i] = inside.unwrap_or(K::X::ZEROS);
                        }
                        let panels = self.panel_runs::<PANELS>(panel, weights + done, part);
                        accumulate::<K, S, P, ROWS, PANELS>(s, sums, rows, panels, zero_point);
                        done += part;
                    }
                }
            }
        }
    }

    /// Copies the patches of a tile into scratch, one row of `inner` elements per pixel.
    #[inline(always)]
    fn gather(&mut self, windows: &[Window]) {
        let [ad, ah, aw] = self.axes;
        for (window, patch) in windows.iter().zip(self.scratch.chunks_exact_mut(self.inner.max(1))) {
            let mut rest = patch;
            for td in 0..ad.taps {
                for th in 0..ah.taps {
                    let (dd, dh) = (td as isize * ad.tap_step, th as isize * ah.tap_step);
                    let present = inside(window.origin[0] + dd, ad.size) && inside(window.origin[1] + dh, ah.size);
                    let base = window.base + dd * self.x_strides[1] as isize + dh * self.x_strides[2] as isize;
                    for tw in 0..aw.taps {
                        let Some((to, next)) = rest.split_at_mut_checked(self.channels) else { return };
                        rest = next;
                        let dw = tw as isize * aw.tap_step;
                        if !(present && inside(window.origin[2] + dw, aw.size)) {
                            to.fill(K::X::default());
                            continue;
                        }
                        let at = (base + dw * self.x_strides[3] as isize) as usize;
                        let from = super::tile::from(self.x, at).iter().step_by(self.x_strides[4].max(1));
                        to.iter_mut().zip(from).for_each(|(t, f)| *t = *f);
                    }
                }
            }
        }
    }
}
