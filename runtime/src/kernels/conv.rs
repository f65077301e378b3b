//! Convolutions over channels-last images, 1 to 3 spatial dims: [`Conv`] and [`ConvTranspose`].
//!
//! Output pixels are numbered through (so that no tile hangs over a row's end), a tile takes a few of them, and the inner
//! loop runs over stretches of the input that are contiguous, if possible a whole kernel row. Where windows leave the image
//! there are three ways, chosen by the compiler through the memory it lends:
//! * `padded`, the only one with wide panels: some rows of the input at a time are copied with their padding (module `padded`);
//! * none, which needs no memory: a tile at the border is planned tap by tap, with a stretch of zeros in place of pixels
//!   outside (module `window`);
//! * `scratch`: a tile's patches are gathered, where few channels would make the stretches short.
//!
//! The first and the last also read any channel stride.
//!
//! A transposed convolution is one ordinary convolution of step 1 per residue of the output coordinates modulo the
//! stride, each with the taps that reach it: nothing is scattered, every output is written once.
//!
//! The order of summation is kernel depth, height, width, channel. A padded zero meets its weight: infinite weights give
//! NaN there, as in PyTorch.

use super::arith::Arith;
use super::epilogue::Epilogue;
pub use super::padded::{AnyStretch, Stretch, Stretches};
use super::padded::{Layer, stay_inside};
pub use super::stripe::STRIPE;
use super::stripe::Stripes;
use super::tile::{BLOCK, Body, Order, Sums, accumulate, cover, zeros};
use super::window::{Axis, MAX_ROWS, Plan, Run};
use crate::simd::{Op, Panel, Simd};

/// `y[n, o, q] = clamp(leaky(sum over c, k of x[n, c, q * stride - padding + k * dilation] * w[o, c, k] * scale + bias
/// + residual))`, per group; `x` outside the image is 0.
///
/// Weights lie as `[group][panel][kernel d][h][w][channel][WIDTH]`, zero-padded. Spatial parameters are `[d, h, w]`.
/// If a slice is too short for the geometry, nothing is written.
pub struct Conv<'a, K: Arith, P: Panel, W: Stretches> {
    /// Input; strides in `x_strides`.
    pub x: &'a [K::X],
    /// Panels.
    pub weights: &'a [K::W],
    /// Per output channel, if there is one.
    pub bias: Option<&'a [K::A]>,
    /// Scale per output channel, of quantized weights only.
    pub scale: Option<&'a [K::A]>,
    /// Zero point per output channel, of quantized weights only.
    pub zero_point: Option<&'a [K::A]>,
    /// Factor of negative results per output channel, if there is one.
    pub slope: Option<&'a [K::A]>,
    /// Added before the activation; lies as `y` does.
    pub residual: Option<&'a [K::Y]>,
    /// The residual is what `y` holds.
    pub in_place: bool,
    /// Output; channels contiguous.
    pub y: &'a mut [K::Y],
    /// [`scratch_len`] elements: gather patches. Of no use to wide panels.
    pub scratch: Option<&'a mut [K::X]>,
    /// For rows of the input with all that windows reach beside it, as many as one row of outputs needs (for each plane of
    /// the kernel) or more, about [`STRIPE`] elements: copy. Wide panels need it where windows leave the image, narrow ones
    /// have no use for it.
    pub padded: Option<&'a mut [K::X]>,
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
    /// Input strides: image, d, h, w, channel. The last must be 1 unless patches or rows are copied.
    pub x_strides: [usize; 5],
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
    /// The stretches that code is compiled for; of constant length only where rows are copied to `padded`.
    pub stretch: W,
}

/// Scratch of a [`Conv`] that gathers patches, in elements: the tallest tile of any level times `inner` =
/// kernel size × channels of a group.
pub const fn scratch_len(width: usize, inner: usize) -> usize {
    (if width == 4 { 4 } else { MAX_ROWS }) * inner
}

/// `torch.conv_transpose`: `y[n, o, q] = ... sum over c, k with q = i * stride - padding + k * dilation of x[n, c, i] *
/// w[c, o, k]`. Fields as [`Conv`]; weights packed as there, from the transposed tensor. `out` includes the output padding.
///
/// The biases of requantized sums make up for the zero point of the input, which depends on the taps that reach an output:
/// there is one per phase (`[stride d][h][w]`) and output channel.
pub struct ConvTranspose<'a, K: Arith, P: Panel> {
    /// Input; strides in `x_strides`.
    pub x: &'a [K::X],
    /// Panels.
    pub weights: &'a [K::W],
    /// Per output channel, if there is one.
    pub bias: Option<&'a [K::A]>,
    /// Scale per output channel, of quantized weights only.
    pub scale: Option<&'a [K::A]>,
    /// Zero point per output channel, of quantized weights only.
    pub zero_point: Option<&'a [K::A]>,
    /// Factor of negative results per output channel, if there is one.
    pub slope: Option<&'a [K::A]>,
    /// Added before the activation; lies as `y` does.
    pub residual: Option<&'a [K::Y]>,
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
    /// What the numbers stand for.
    pub format: K::Format,
    /// Panel width.
    pub panel: P,
}

impl<K: Arith, P: Panel, W: Stretches> Op for Conv<'_, K, P, W> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        let epilogue = Epilogue {
            format: self.format,
            scale: self.scale.unwrap_or(&[]),
            zero_point: self.zero_point.unwrap_or(&[]),
            bias: self.bias.unwrap_or(&[]),
            slope: self.slope.unwrap_or(&[]),
            residual: self.residual.unwrap_or(&[]),
            in_place: self.in_place,
            low: self.low,
            high: self.high,
        };
        let [images, groups] = [self.batch, self.groups];
        let mut images = Images::<K, P> {
            x: self.x,
            weights: self.weights,
            epilogue,
            y: self.y,
            scratch: self.scratch.unwrap_or(&mut []),
            padded: self.padded.unwrap_or(&mut []),
            axes: Axis::windows([self.size, self.out], self.kernel, self.stride, self.dilation, self.padding),
            images,
            groups,
            channels: self.channels,
            columns: self.columns,
            kernel: self.kernel,
            x_strides: self.x_strides,
            y_strides: self.y_strides,
            panel: self.panel,
        };
        if K::conv(&mut images) {
            return;
        }
        if P::ROOM { s.outline(InMemory(images, self.stretch)) } else { s.outline(images) }
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
                    let mut bias = self.bias.unwrap_or(&[]);
                    if K::REQUANTIZED {
                        let channels = (self.groups * self.columns).max(1);
                        bias = bias.chunks(channels).nth((pd * sh + ph) * sw + pw).unwrap_or_default();
                    }
                    let epilogue = Epilogue {
                        format: self.format,
                        scale: self.scale.unwrap_or(&[]),
                        zero_point: self.zero_point.unwrap_or(&[]),
                        bias,
                        slope: self.slope.unwrap_or(&[]),
                        residual: self.residual.unwrap_or(&[]),
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
                        padded: &mut [],
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

/// The common form of both convolutions.
pub struct Images<'a, K: Arith, P: Panel> {
    pub(super) x: &'a [K::X],
    pub(super) weights: &'a [K::W],
    pub(super) epilogue: Epilogue<'a, K>,
    pub(super) y: &'a mut [K::Y],
    pub(super) scratch: &'a mut [K::X],
    pub(super) padded: &'a mut [K::X],
    pub(super) axes: [Axis; 3],
    pub(super) images: usize,
    pub(super) groups: usize,
    pub(super) channels: usize,
    pub(super) columns: usize,
    pub(super) kernel: [usize; 3],
    pub(super) x_strides: [usize; 5],
    pub(super) y_strides: [usize; 4],
    pub(super) panel: P,
}

impl<K: Arith, P: Panel> Images<'_, K, P> {
    /// Inner dimension: taps times channels.
    pub(super) fn inner(&self) -> Option<usize> {
        self.kernel.iter().try_fold(self.channels, |n, k| n.checked_mul(*k))
    }

    /// Whether all slices are long enough.
    pub(super) fn fits(&self) -> Option<()> {
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
        let copies = if !P::ROOM {
            self.scratch.len() >= scratch_len(P::WIDTH, self.inner()?)
        } else if self.padded.is_empty() {
            false
        } else {
            let images = self.images;
            let stripes = Stripes { axes: self.axes, strides: self.x_strides, channels: inputs, images };
            self.padded.len() >= stripes.least()?
        };
        let fits = self.x.len() >= x
            && self.y.len() >= y
            && self.weights.len() >= weights
            && (copies || (self.padded.is_empty() || !P::ROOM) && (self.x_strides[4] == 1 || inputs <= 1))
            && self.epilogue.fits(outputs, y);
        fits.then_some(())
    }
}

impl<K: Arith, P: Panel> Images<'_, K, P> {
    /// Windows that lie wholly in memory: in copied rows if there is room for them, else in the input, which none may leave.
    #[inline(always)]
    fn in_memory<S: Simd, W: Stretches>(self, s: S) {
        let layer = Layer::<K, P> {
            weights: self.weights,
            epilogue: self.epilogue,
            axes: self.axes,
            kernel: self.kernel,
            images: self.images,
            groups: self.groups,
            channels: self.channels,
            columns: self.columns,
            x_strides: self.x_strides,
            y_strides: self.y_strides,
            panel: self.panel,
        };
        match K::padding(self.epilogue.format).as_ref().first() {
            Some(outside) if !self.padded.is_empty() => layer.striped::<S, W>(s, self.x, self.y, self.padded, *outside),
            _ => layer.whole::<S, W>(s, self.x, self.y),
        }
    }
}

/// An ordinary convolution where panels are wide. What plans tiles at borders is not compiled for it.
struct InMemory<'a, K: Arith, P: Panel, W>(Images<'a, K, P>, W);

impl<K: Arith, P: Panel, W: Stretches> Op for InMemory<'_, K, P, W> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        let images = self.0;
        if images.fits().is_some() && (!images.padded.is_empty() || stay_inside(&images.axes)) {
            images.in_memory::<S, W>(s);
        }
    }
}

impl<K: Arith, P: Panel> Op for Images<'_, K, P> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        let (Some(()), Some(inner)) = (self.fits(), self.inner()) else { return };
        let _ = self.panel;
        if P::ROOM && stay_inside(&self.axes) {
            return self.in_memory::<S, AnyStretch>(s);
        }
        let padding = K::padding(self.epilogue.format);
        let gathers = !P::ROOM && !self.scratch.is_empty() && self.scratch.len() >= scratch_len(P::WIDTH, inner);
        let panels = self.columns.div_ceil(P::WIDTH);
        let [d, h, w] = self.axes;
        let pixels = self.images * d.count * h.count * w.count;
        let mut tiles = Pixels::<K, P> {
            x: self.x,
            weights: P::rows(self.weights),
            epilogue: self.epilogue,
            y: self.y,
            scratch: self.scratch,
            padding: padding.as_ref(),
            plan: Plan::new(self.axes, self.kernel, self.x_strides, self.y_strides, self.channels, !K::REQUANTIZED),
            columns: self.columns,
            inner,
            group: 0,
            panels,
            gathers,
            gathered: None,
        };
        // A plan or gathered patches serve all panels before the next tile comes, unless the weights of a group are so many
        // that they should stay in the cache instead.
        let order = if gathers || inner * self.columns <= BLOCK {
            Order::RowsOuter
        } else {
            Order::PanelsOuter(BLOCK / inner.max(1))
        };
        for group in 0..self.groups {
            tiles.group = group;
            tiles.gathered = None;
            tiles.plan.enter_group(group * self.channels);
            cover::<S, K::Tiles<S, P>, _>(s, pixels, panels, order, &mut tiles);
        }
    }
}

/// The tiles of one group.
struct Pixels<'a, K: Arith, P: Panel> {
    x: &'a [K::X],
    weights: &'a [P::Row<K::W>],
    epilogue: Epilogue<'a, K>,
    y: &'a mut [K::Y],
    scratch: &'a mut [K::X],
    /// Stands in for input outside the image.
    padding: &'a [K::X],
    plan: Plan,
    columns: usize,
    inner: usize,
    group: usize,
    panels: usize,
    gathers: bool,
    gathered: Option<usize>,
}

impl<K: Arith, P: Panel> Body for Pixels<'_, K, P> {
    #[inline(always)]
    fn tile<S: Simd, const ROWS: usize, const PANELS: usize>(&mut self, s: S, row: usize, panel: usize) {
        s.outline(Tile::<K, P, ROWS, PANELS> { pixels: self, row, panel });
    }
}

/// One tile. A function of its own: among the loops around it, LLVM spills the sums.
struct Tile<'a, 'b, K: Arith, P: Panel, const ROWS: usize, const PANELS: usize> {
    pixels: &'a mut Pixels<'b, K, P>,
    row: usize,
    panel: usize,
}

impl<K: Arith, P: Panel, const ROWS: usize, const PANELS: usize> Op for Tile<'_, '_, K, P, ROWS, PANELS> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        let Pixels {
            x,
            weights,
            epilogue,
            y,
            scratch,
            padding,
            plan,
            columns,
            inner,
            group,
            panels,
            gathers,
            gathered,
        } = self.pixels;
        let first = *group * *columns + self.panel * P::WIDTH;
        let zero_point = epilogue.zero_points::<S, P, PANELS>(s, first);
        let mut sums = zeros::<K, S, P, ROWS, PANELS>(s);
        let panel = (*group * *panels + self.panel) * *inner;
        let (token, inner) = (s, *inner);
        let pass = |runs: &[Run], x: &[K::X], sums: &mut Sums<K, S, P, ROWS, PANELS>| {
            let zero_point = &zero_point;
            s.outline(Pass::<K, S, P, ROWS, PANELS> {
                token,
                runs,
                x,
                padding,
                weights,
                panel,
                inner,
                zero_point,
                sums,
            });
        };
        if *gathers {
            if *gathered != Some(self.row) {
                plan.enter(self.row, ROWS);
                plan.gather(x, inner, scratch, padding.first().copied().unwrap_or_default());
                *gathered = Some(self.row);
            }
            let starts = core::array::from_fn(|i| i * inner);
            let run = [Run { starts, weight: 0, len: inner, shift: 0 }];
            pass(&run, scratch, &mut sums);
        } else {
            let mut runs = Some(plan.begin(self.row, ROWS));
            while let Some(part) = runs {
                pass(part, x, &mut sums);
                runs = plan.next();
            }
        }
        let offsets = core::array::from_fn(|i| *plan.offsets.get(i).unwrap_or(&usize::MAX));
        epilogue.write::<S, P, ROWS, PANELS>(s, &sums, y, offsets, first, (*group + 1) * *columns);
    }
}

/// Adds the products of some runs. A function of its own with nothing but the sums in registers: merged into the code
/// around it, LLVM spills them (measured: half the speed).
struct Pass<'a, K: Arith, S: Simd, P: Panel, const ROWS: usize, const PANELS: usize> {
    /// The level, as the type that the sums have.
    token: S,
    runs: &'a [Run],
    x: &'a [K::X],
    padding: &'a [K::X],
    weights: &'a [P::Row<K::W>],
    /// Row of `weights` where the first panel begins.
    panel: usize,
    inner: usize,
    zero_point: &'a [K::V<S, P>; PANELS],
    sums: &'a mut Sums<K, S, P, ROWS, PANELS>,
}

impl<K: Arith, T: Simd, P: Panel, const ROWS: usize, const PANELS: usize> Op for Pass<'_, K, T, P, ROWS, PANELS> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, _: S) {
        let mut sums = *self.sums;
        for run in self.runs {
            let mut rows: [&[K::X]; ROWS] = [&[]; ROWS];
            for i in 0..ROWS {
                let start = run.starts[i];
                rows[i] = self.x.get(start..start.wrapping_add(run.len)).unwrap_or(self.padding);
            }
            let mut panels: [&[P::Row<K::W>]; PANELS] = [&[]; PANELS];
            for p in 0..PANELS {
                let at = self.panel + p * self.inner + run.weight;
                panels[p] = self.weights.get(at..at + run.len).unwrap_or(&[]);
            }
            accumulate::<K, T, P, ROWS, PANELS>(self.token, &mut sums, rows, panels, self.zero_point, None);
        }
        *self.sums = sums;
    }
}
