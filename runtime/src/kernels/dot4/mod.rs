//! Layers on bytes for vector units that add the products of four neighbouring bytes in one lane (VNNI, `sdot`, or two steps
//! of AVX2 or NEON): [`Linear`] and [`Conv`].
//!
//! Weights lie as `[panel of 16][inner / 4][16][4]`, zero-padded. Inputs meet them as bytes of the kind that the vector unit
//! takes, unsigned on x86-64, signed on AArch64; others with the upper bit turned, and the bias makes up for that (the
//! compiler takes [`moved`] times the sum of weights from it). Sums are exact, modulo 2^32; what becomes of them is
//! [`Rescale`].
//!
//! A tile is eight rows, equally far apart in memory: of a convolution, neighbouring outputs. Its input is copied first, as bytes
//! of the kind that meets weights, in stripes of rows (module `stripe`), or in patches where a kernel row is no stretch of memory.

use super::arith::{Narrow, Rescale, rescaled};
use super::int8::patch_len;
use super::stripe::Stripes;
use super::tile::from;
use super::window::{Axis, MAX_ROWS, Plan};
use crate::simd::{Op, Simd};

pub mod depthwise;
mod rows;

/// Output channels of a panel.
pub const WIDTH: usize = 16;

/// Rows of a tile of one panel, which would else wait for its sums.
const TALL: usize = 2 * MAX_ROWS;

/// Whether inputs meet weights as signed bytes.
pub const SIGNED: bool = cfg!(target_arch = "aarch64");

/// What inputs have become greater by when they meet weights, where they do so as signed bytes or not.
pub const fn moved(signed: bool, input_is_signed: bool) -> i32 {
    match (signed, input_is_signed) {
        (false, true) => 128,
        (true, false) => -128,
        _ => 0,
    }
}

/// The sums of a tile.
pub type Sums<const ROWS: usize, const PANELS: usize> = [[[i32; WIDTH]; PANELS]; ROWS];

/// A byte of the kind that meets weights.
#[cfg(target_arch = "aarch64")]
pub type Byte = i8;
/// A byte of the kind that meets weights.
#[cfg(not(target_arch = "aarch64"))]
pub type Byte = u8;

/// Elements of scratch that every [`Conv`] needs.
pub const fn patches_len(channels: usize, kernel: [usize; 3]) -> usize {
    MAX_ROWS * patch_len(channels, kernel)
}

/// Elements behind a stripe that are read, to meet weights of 0.
pub const BEHIND: usize = 3;

/// Kernel rows at most of a convolution that reads stripes.
const LINES: usize = 16;

/// Outputs of a row at least of a convolution that reads stripes.
pub const LEAST: usize = MAX_ROWS;

/// Whether the kernel rows of such a convolution are stretches of memory, and not too many: it reads stripes.
pub const fn reads_stripes(groups: usize, kernel: [usize; 3], dilation: [usize; 3]) -> bool {
    groups == 1 && dilation[2] == 1 && kernel[0] * kernel[1] <= LINES
}

/// A stretch of the inner dimension.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a, X> {
    /// Where the first row of the tile reads.
    pub x: &'a [X],
    /// Where it meets the panel, in fours.
    pub weight: usize,
    /// Its length in fours.
    pub fours: usize,
}

/// What [`Simd::dot4`] reads for a tile.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a, X> {
    /// The inner dimension.
    pub lines: &'a [Line<'a, X>],
    /// Distance of rows.
    pub step: usize,
    /// Four inner elements of a panel each.
    pub weights: &'a [[i8; 4 * WIDTH]],
    /// Where the first panel begins.
    pub first: usize,
    /// Fours of a panel.
    pub fours: usize,
}

impl<'a, X> Part<'a, X> {
    /// Panels where they meet a line; `None` where a slice is too short.
    #[inline(always)]
    pub fn panels<const ROWS: usize, const PANELS: usize>(
        &self,
        line: &Line<'_, X>,
    ) -> Option<[&'a [[i8; 64]]; PANELS]> {
        if line.x.len() < (ROWS - 1) * self.step + 4 * line.fours {
            return None;
        }
        let mut panels: [&[[i8; 64]]; PANELS] = [&[]; PANELS];
        for (p, panel) in panels.iter_mut().enumerate() {
            let at = self.first + p * self.fours + line.weight;
            *panel = self.weights.get(at..at + line.fours)?;
        }
        Some(panels)
    }
}

/// The sums of a tile, in plain Rust.
#[inline(always)]
pub fn sums<X: Narrow, const ROWS: usize, const PANELS: usize>(part: &Part<'_, X>) -> Sums<ROWS, PANELS> {
    let mut all = [[[0i32; WIDTH]; PANELS]; ROWS];
    for line in part.lines {
        let Some(panels) = part.panels::<ROWS, PANELS>(line) else { return all };
        for (i, sums) in all.iter_mut().enumerate() {
            let row = from(line.x, i * part.step).as_chunks::<4>().0;
            for (sums, panel) in sums.iter_mut().zip(panels) {
                for (x, w) in row.iter().zip(panel) {
                    let x = x.map(|x| x.turned(SIGNED));
                    for (sum, w) in sums.iter_mut().zip(w.as_chunks::<4>().0) {
                        for j in 0..4 {
                            *sum = sum.wrapping_add(x[j] * i32::from(w[j]));
                        }
                    }
                }
            }
        }
    }
    all
}

/// How sums become outputs: bias and factor per output channel.
#[derive(Clone, Copy)]
struct Finish<'a> {
    bias: &'a [i32],
    scale: &'a [i32],
    format: Rescale,
    low: i32,
    high: i32,
}

impl Finish<'_> {
    /// Writes the sums of channels `first..end`, row `i` at `offsets[i]`.
    #[inline(always)]
    fn write<S: Simd, Y: Narrow, const ROWS: usize, const PANELS: usize>(
        &self,
        s: S,
        sums: &Sums<ROWS, PANELS>,
        y: &mut [Y],
        offsets: &[usize; ROWS],
        [first, end]: [usize; 2],
    ) {
        for p in 0..PANELS {
            let channel = first + p * WIDTH;
            let width = end.saturating_sub(channel).min(WIDTH);
            let (bias, scale) = (lanes(from(self.bias, channel)), lanes(from(self.scale, channel)));
            for (sums, offset) in sums.iter().zip(offsets) {
                let out = self.outputs(s, &sums[p], &bias, &scale);
                let at = offset + channel;
                match y.get_mut(at..at + width) {
                    Some(y) if width == WIDTH => y.copy_from_slice(&out),
                    Some(y) => y.iter_mut().zip(out).for_each(|(y, out)| *y = out),
                    None => {}
                }
            }
        }
    }

    /// The outputs of one row of a panel.
    #[inline(always)]
    fn outputs<S: Simd, Y: Narrow>(
        &self,
        s: S,
        sums: &[i32; WIDTH],
        bias: &[i32; WIDTH],
        scale: &[i32; WIDTH],
    ) -> [Y; WIDTH] {
        let Rescale { output_zero, shift, .. } = self.format;
        let mut scaled = [0; WIDTH];
        for i in 0..WIDTH {
            scaled[i] = sums[i].wrapping_add(bias[i]);
        }
        if shift == 32 {
            // No tie is possible.
            scaled = s.high_products(&scaled, scale);
        } else {
            for i in 0..WIDTH {
                scaled[i] = rescaled(scaled[i], scale[i], shift);
            }
        }
        let mut out = [Y::default(); WIDTH];
        for i in 0..WIDTH {
            out[i] = Y::narrow(scaled[i].wrapping_add(output_zero).max(self.low).min(self.high));
        }
        out
    }
}

/// The first elements of a slice, 0 beyond its end.
#[inline(always)]
fn lanes<T: Copy + Default>(from: &[T]) -> [T; WIDTH] {
    if let Some(whole) = from.first_chunk() {
        return *whole;
    }
    let mut out = [T::default(); WIDTH];
    for (to, from) in out.iter_mut().zip(from) {
        *to = *from;
    }
    out
}

/// What all tiles of a group share.
#[derive(Clone, Copy)]
struct Group<'a> {
    weights: &'a [[i8; 4 * WIDTH]],
    /// The first of its panels.
    panel: usize,
    /// Fours of a panel.
    fours: usize,
    /// Its output channels.
    channels: [usize; 2],
    finish: Finish<'a>,
}

impl Group<'_> {
    fn panels(&self) -> usize {
        (self.channels[1] - self.channels[0]).div_ceil(WIDTH)
    }

    /// All panels of a tile, `SIDE` at a time.
    #[inline(always)]
    fn tile<S: Simd, X: Narrow, Y: Narrow, const ROWS: usize, const SIDE: usize>(
        &self,
        s: S,
        lines: &[Line<'_, X>],
        step: usize,
        y: &mut [Y],
        offsets: [usize; ROWS],
    ) {
        s.outline(Tile::<X, Y, ROWS, SIDE> { group: self, lines, step, offsets, y });
    }
}

struct Tile<'a, X, Y, const ROWS: usize, const SIDE: usize> {
    group: &'a Group<'a>,
    lines: &'a [Line<'a, X>],
    step: usize,
    offsets: [usize; ROWS],
    y: &'a mut [Y],
}

impl<X: Narrow, Y: Narrow, const ROWS: usize, const SIDE: usize> Tile<'_, X, Y, ROWS, SIDE> {
    #[inline(always)]
    fn panels<S: Simd, const PANELS: usize>(&mut self, s: S, panel: usize) {
        let group = self.group;
        let first = (group.panel + panel) * group.fours;
        let part = Part { lines: self.lines, step: self.step, weights: group.weights, first, fours: group.fours };
        let sums = s.dot4::<X, ROWS, PANELS>(&part);
        group.finish.write(s, &sums, self.y, &self.offsets, [group.channels[0] + panel * WIDTH, group.channels[1]]);
    }
}

impl<X: Narrow, Y: Narrow, const ROWS: usize, const SIDE: usize> Op for Tile<'_, X, Y, ROWS, SIDE> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(mut self, s: S) {
        let panels = self.group.panels();
        let mut panel = 0;
        while SIDE > 1 && panel + SIDE <= panels {
            self.panels::<S, SIDE>(s, panel);
            panel += SIDE;
        }
        while panel < panels {
            self.panels::<S, 1>(s, panel);
            panel += 1;
        }
    }
}

/// `y[rows, columns] = x[rows, inner] · weights`, requantized. If a slice is too short, nothing is written.
pub struct Linear<'a, X: Narrow, Y: Narrow> {
    /// `[rows][inner]`, rows `x_stride` apart.
    pub x: &'a [X],
    /// Panels.
    pub weights: &'a [i8],
    /// `[columns]`.
    pub bias: &'a [i32],
    /// `[columns]`.
    pub scale: &'a [i32],
    /// `[rows][columns]`, rows `y_stride` apart.
    pub y: &'a mut [Y],
    /// Rows.
    pub rows: usize,
    /// Inner dimension, a multiple of 4.
    pub inner: usize,
    /// Columns.
    pub columns: usize,
    /// Distance of rows of `x`.
    pub x_stride: usize,
    /// Distance of rows of `y`.
    pub y_stride: usize,
    /// Least result.
    pub low: i32,
    /// Greatest result.
    pub high: i32,
    /// What the numbers stand for.
    pub format: Rescale,
}

impl<X: Narrow, Y: Narrow> Op for Linear<'_, X, Y> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        s.outline(Rows(self));
    }
}

struct Rows<'a, X: Narrow, Y: Narrow>(Linear<'a, X, Y>);

impl<X: Narrow, Y: Narrow> Rows<'_, X, Y> {
    fn fits(&self) -> Option<()> {
        let l = &self.0;
        let weights = l.columns.checked_next_multiple_of(WIDTH)?.checked_mul(l.inner)?;
        let fits = l.x.len() >= super::matmul::span(l.rows, l.x_stride, l.inner)?
            && l.y.len() >= super::matmul::span(l.rows, l.y_stride, l.columns)?
            && l.weights.len() >= weights
            && l.bias.len().min(l.scale.len()) >= l.columns
            && l.inner.is_multiple_of(4);
        fits.then_some(())
    }
}

impl<X: Narrow, Y: Narrow> Op for Rows<'_, X, Y> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        if self.fits().is_none() {
            return;
        }
        let l = self.0;
        let fours = l.inner / 4;
        let finish = Finish { bias: l.bias, scale: l.scale, format: l.format, low: l.low, high: l.high };
        let weights = l.weights.as_chunks().0;
        let group = Group { weights, panel: 0, fours, channels: [0, l.columns], finish };
        let mut row = 0;
        while row < l.rows {
            // The last tile begins early enough to be whole.
            let first = if l.rows < MAX_ROWS { row } else { row.min(l.rows - MAX_ROWS) };
            let lines = [Line { x: from(l.x, first * l.x_stride), weight: 0, fours }];
            if l.rows < MAX_ROWS {
                group.tile::<S, X, Y, 1, 4>(s, &lines, 0, l.y, [first * l.y_stride]);
                row += 1;
            } else {
                let offsets = spread::<MAX_ROWS>(first * l.y_stride, l.y_stride);
                group.tile::<S, X, Y, MAX_ROWS, 2>(s, &lines, l.x_stride, l.y, offsets);
                row += MAX_ROWS;
            }
        }
    }
}

/// Numbers equally far apart.
#[inline(always)]
fn spread<const N: usize>(first: usize, step: usize) -> [usize; N] {
    let mut out = [first; N];
    for i in 0..N {
        out[i] += i * step;
    }
    out
}

/// `y[n, o, q] = sum over c, k of x[n, c, q * stride - padding + k * dilation] * w[o, c, k]`, per group, requantized; `x`
/// outside the image is the input's zero point. Panels stand group after group, the inner dimension is `[kernel d][h][w * channel]`,
/// the last filled up to a multiple of 4 ([`super::int8::patch_len`]). If a slice is too short, nothing is written.
pub struct Conv<'a, X: Narrow, Y: Narrow> {
    /// Input; strides in `x_strides`.
    pub x: &'a [X],
    /// Panels.
    pub weights: &'a [i8],
    /// Per output channel.
    pub bias: &'a [i32],
    /// Per output channel.
    pub scale: &'a [i32],
    /// Output; channels contiguous.
    pub y: &'a mut [Y],
    /// [`patches_len`] elements, or for rows of the input with all that windows reach beside it, as many as one row of outputs
    /// needs (for each plane of the kernel) or more, about [`STRIPE`](super::conv::STRIPE), and [`BEHIND`] more.
    pub scratch: &'a mut [Byte],
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
    /// Pixels before the image.
    pub padding: [usize; 3],
    /// Input strides: image, d, h, w, channel.
    pub x_strides: [usize; 5],
    /// Output strides: image, d, h, w.
    pub y_strides: [usize; 4],
    /// Least result.
    pub low: i32,
    /// Greatest result.
    pub high: i32,
    /// What the numbers stand for.
    pub format: Rescale,
}

impl<X: Narrow, Y: Narrow> Op for Conv<'_, X, Y> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        s.outline(Images(self));
    }
}

struct Images<'a, X: Narrow, Y: Narrow>(Conv<'a, X, Y>);

impl<X: Narrow, Y: Narrow> Images<'_, X, Y> {
    fn fits(&self) -> Option<()> {
        let l = &self.0;
        let outputs = l.columns.checked_mul(l.groups)?;
        let panels = l.columns.div_ceil(WIDTH).checked_mul(l.groups)?;
        let weights = panels.checked_mul(patch_len(l.channels, l.kernel))?.checked_mul(WIDTH)?;
        let fits = l.scratch.len() >= patches_len(l.channels, l.kernel)
            && l.weights.len() >= weights
            && l.bias.len().min(l.scale.len()) >= outputs;
        fits.then_some(())
    }

    /// The group's share of the weights.
    fn group(&self, group: usize) -> Group<'_> {
        let l = &self.0;
        let finish = Finish { bias: l.bias, scale: l.scale, format: l.format, low: l.low, high: l.high };
        Group {
            weights: l.weights.as_chunks().0,
            panel: group * l.columns.div_ceil(WIDTH),
            fours: patch_len(l.channels, l.kernel) / 4,
            channels: [group * l.columns, (group + 1) * l.columns],
            finish,
        }
    }

    fn axes(&self) -> [Axis; 3] {
        let l = &self.0;
        Axis::windows([l.size, l.out], l.kernel, l.stride, l.dilation, l.padding)
    }

    /// The stripes, if kernel rows are stretches of memory, there are outputs for a tile, and there is room.
    fn stripes(&self) -> Option<Stripes> {
        let l = &self.0;
        let stripes = Stripes { axes: self.axes(), strides: l.x_strides, channels: l.channels, images: l.batch };
        let suits = reads_stripes(l.groups, l.kernel, l.dilation) && l.out[2] >= LEAST;
        (suits && l.scratch.len() >= stripes.least()?.checked_add(BEHIND)?).then_some(stripes)
    }
}

impl<X: Narrow, Y: Narrow> Op for Images<'_, X, Y> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(mut self, s: S) {
        if self.fits().is_none() {
            return;
        }
        let (stripes, y) = (self.stripes(), core::mem::take(&mut self.0.y));
        let scratch = core::mem::take(&mut self.0.scratch);
        match stripes {
            None => self.patches(s, y, scratch),
            Some(stripes) if self.0.columns <= WIDTH && self.0.out[2] >= TALL => {
                self.striped::<S, TALL, 1>(s, stripes, y, scratch);
            }
            Some(stripes) => self.striped::<S, MAX_ROWS, 2>(s, stripes, y, scratch),
        }
    }
}

/// As it meets weights.
#[inline(always)]
fn turned<X: Narrow>(x: X) -> Byte {
    x.turned(SIGNED) as Byte
}

impl<X: Narrow, Y: Narrow> Images<'_, X, Y> {
    /// What lies outside the image.
    fn outside(&self) -> Byte {
        turned(X::narrow(self.0.format.input_zero))
    }

    /// `ROWS` outputs of a row at a time.
    #[inline(always)]
    fn striped<S: Simd, const ROWS: usize, const SIDE: usize>(
        &self,
        s: S,
        stripes: Stripes,
        y: &mut [Y],
        scratch: &mut [Byte],
    ) {
        let (l, group) = (&self.0, self.group(0));
        let (fours, width) = ((l.kernel[2] * l.channels).div_ceil(4), l.out[2]);
        let step = l.stride[2] * l.channels;
        let room = scratch.len() - BEHIND;
        stripes.each(l.x, scratch, room, self.outside(), turned, |stripe, of| {
            for h in 0..of.count {
                let at = of.image * l.y_strides[0] + of.d * l.y_strides[1] + (of.h + h) * l.y_strides[2];
                let mut lines = [Line { x: &stripe[..0], weight: 0, fours }; LINES];
                let mut w = 0;
                while w < width {
                    // The last tile begins early enough to be whole.
                    let first = w.min(width - ROWS);
                    let mut count = 0;
                    for line in lines.iter_mut().take(l.kernel[0] * l.kernel[1]) {
                        let (d, tap) = (count / l.kernel[1], count % l.kernel[1]);
                        let row = d * of.rows + h * l.stride[1] + tap * l.dilation[1];
                        (line.x, line.weight) = (from(stripe, row * of.row + first * step), count * fours);
                        count += 1;
                    }
                    let to = spread(at + first * l.y_strides[3], l.y_strides[3]);
                    group.tile::<S, Byte, Y, ROWS, SIDE>(s, &lines[..count], step, y, to);
                    w += ROWS;
                }
            }
        });
    }

    /// Patches of eight outputs at a time, or of one where there are fewer.
    #[inline(always)]
    fn patches<S: Simd>(&self, s: S, y: &mut [Y], scratch: &mut [Byte]) {
        let l = &self.0;
        let mut plan = Plan::new(self.axes(), l.kernel, l.x_strides, l.y_strides, l.channels, false);
        let pixels = l.out.iter().fold(l.batch, |n, out| n.wrapping_mul(*out));
        let (inner, row) = (patch_len(l.channels, l.kernel), l.kernel[2] * l.channels);
        let outside = self.outside();
        for index in 0..l.groups {
            plan.enter_group(index * l.channels);
            let group = self.group(index);
            let mut pixel = 0;
            while pixel < pixels {
                let rows = if pixels < MAX_ROWS { 1 } else { MAX_ROWS };
                plan.enter(pixel.min(pixels - rows), rows);
                for (i, patch) in scratch.chunks_exact_mut(inner.max(1)).take(rows).enumerate() {
                    plan.gather_row(i, l.x, patch, outside, row.next_multiple_of(4), turned);
                }
                let lines = [Line { x: &*scratch, weight: 0, fours: inner / 4 }];
                match rows {
                    1 => group.tile::<S, Byte, Y, 1, 4>(s, &lines, 0, y, [plan.offsets[0]]),
                    _ => group.tile::<S, Byte, Y, MAX_ROWS, 2>(s, &lines, inner, y, plan.offsets),
                }
                pixel += rows;
            }
        }
    }
}
