//! Tiles of a convolution whose windows lie wholly in memory: in the input itself where no window leaves the image, else
//! in a [stripe](super::stripe).
//!
//! All windows then read the same stretches, each at the same distance from the window's lowest element, so a tile costs
//! nothing beside its products but the places of its pixels.
//!
//! A first layer of few channels has short stretches, and would spend half of its time on places and loops: where the length of
//! a stretch and the distance of neighbouring windows are constants ([`Stretch`]), tiles stay within a row of outputs and all
//! their inputs are at constant distances.

use super::arith::Arith;
use super::epilogue::{Epilogue, Even};
use super::stripe::Stripes;
use super::tile::{
    BLOCK, Body, MANY, Order, Tiles as _, accumulate, ahead, blocks, cover, from, halves, products, stretch, zeros,
};
use super::window::Axis;
use crate::memory::Strips;
use crate::simd::{Half16, Op, Panel, Simd, unrolled};
use core::marker::PhantomData;

/// What is known of the stretches that windows read when code is compiled.
pub trait Stretches: Copy {
    /// Elements of a stretch, which is a whole row of the kernel; 0: of any length.
    const LEN: usize = 0;
    /// Elements from a stretch to that of the next output.
    const STEP: usize = 0;
}

/// Nothing.
#[derive(Clone, Copy, Debug)]
pub struct AnyStretch;

impl Stretches for AnyStretch {}

/// `LEN` elements, `STEP` from one output to the next, of a layer of one group.
#[derive(Clone, Copy, Debug)]
pub struct Stretch<const LEN: usize, const STEP: usize>;

impl<const LEN: usize, const STEP: usize> Stretches for Stretch<LEN, STEP> {
    const LEN: usize = LEN;
    const STEP: usize = STEP;
}

impl Axis {
    /// The lowest tap of a window, from its tap 0.
    fn lowest(&self) -> isize {
        (self.taps.saturating_sub(1) as isize).wrapping_mul(self.tap_step).min(0)
    }

    /// Whether no window leaves the image.
    fn stays(&self) -> bool {
        let first = self.start + self.tap_start + self.lowest();
        first >= 0 && self.reach().is_some_and(|reach| reach <= self.size.saturating_sub(first as usize))
    }
}

/// Whether no window leaves the image.
pub(crate) fn stay_inside(axes: &[Axis; 3]) -> bool {
    axes.iter().all(Axis::stays)
}

/// The stretches that every window reads. Distances are modulo the address space, for taps may run backward.
#[derive(Clone, Copy)]
struct Taps {
    counts: [usize; 3],
    /// From a tap to the next, in elements of the input and in rows of a panel.
    steps: [[usize; 3]; 2],
    /// Tap 0: distance from the lowest element of the window, and row of the panel.
    first: [usize; 2],
    /// Elements of a stretch.
    len: usize,
    /// Elements from the lowest to the highest one.
    reach: usize,
}

impl Taps {
    /// `strides` are those of the memory that is read: d, h, w.
    fn new(axes: &[Axis; 3], kernel: [usize; 3], strides: [usize; 3], channels: usize) -> Taps {
        let weight_strides = [kernel[1] * kernel[2] * channels, kernel[2] * channels, channels];
        let (mut counts, mut steps, mut first, mut reach) = ([0; 3], [[0; 3]; 2], [0; 2], channels);
        for d in 0..3 {
            let axis = &axes[d];
            counts[d] = axis.taps;
            steps[0][d] = strides[d].wrapping_mul(axis.tap_step as usize);
            steps[1][d] = weight_strides[d] * axis.weight_step;
            first[0] += strides[d] * axis.lowest().unsigned_abs();
            first[1] += weight_strides[d] * axis.weight_start;
            reach += strides[d] * axis.tap_step.unsigned_abs() * axis.taps.saturating_sub(1);
        }
        let mut len = channels;
        // Taps side by side are one stretch.
        if steps[0][2] == channels && steps[1][2] == channels {
            len = channels * counts[2];
            counts[2] = counts[2].min(1);
        }
        Taps { counts, steps, first, len, reach }
    }

    /// Calls with the place of each stretch in the window and in the panel.
    #[inline(always)]
    fn each(&self, mut call: impl FnMut(usize, usize)) {
        let next =
            |at: [usize; 2], d: usize| [at[0].wrapping_add(self.steps[0][d]), at[1].wrapping_add(self.steps[1][d])];
        let mut plane = self.first;
        for _ in 0..self.counts[0] {
            let mut row = plane;
            for _ in 0..self.counts[1] {
                let mut at = row;
                for _ in 0..self.counts[2] {
                    call(at[0], at[1]);
                    at = next(at, 2);
                }
                row = next(row, 1);
            }
            plane = next(plane, 0);
        }
    }
}

/// Output pixels by number, and where their windows begin. Stepping is cheaper than dividing.
#[derive(Clone, Copy)]
struct Pixels {
    /// Images, d, h, w.
    counts: [usize; 4],
    /// Of pixel 0, in input and output.
    first: [usize; 2],
    /// From a pixel to the next of each dim, in input and output.
    steps: [[usize; 4]; 2],
    at: [usize; 4],
    /// Number of the pixel at `at`.
    number: usize,
}

impl Pixels {
    fn count(&self) -> usize {
        self.counts.iter().product()
    }

    /// Goes to a pixel.
    #[inline(always)]
    fn enter(&mut self, pixel: usize) {
        let column = self.at[3].wrapping_add(pixel.wrapping_sub(self.number));
        self.number = pixel;
        if column < self.counts[3] {
            self.at[3] = column;
        } else {
            self.seek(pixel);
        }
    }

    /// Lowest elements of the windows of the pixels from here on, and places in the output.
    #[inline(always)]
    fn places<const ROWS: usize>(mut self) -> [[usize; ROWS]; 2] {
        let mut here = self.here();
        if self.counts[3] - self.at[3] >= ROWS {
            // Computed in registers: what was just stored one by one is slow to load together.
            return [0, 1].map(|i| core::array::from_fn(|row| here[i] + row * self.steps[i][3]));
        }
        let mut places = [[0; ROWS]; 2];
        unrolled!(ROWS, i, {
            if i > 0 {
                self.at[3] += 1;
                here = [here[0] + self.steps[0][3], here[1] + self.steps[1][3]];
                if self.at[3] == self.counts[3] {
                    self.next_row();
                    here = self.here();
                }
            }
            (places[0][i], places[1][i]) = (here[0], here[1]);
        });
        places
    }

    #[inline(always)]
    fn here(&self) -> [usize; 2] {
        let place = |i: usize| (0..4).fold(self.first[i], |sum, d| sum + self.at[d] * self.steps[i][d]);
        [place(0), place(1)]
    }

    fn next_row(&mut self) {
        for d in (0..4).rev() {
            if self.at[d] < self.counts[d] {
                return;
            }
            self.at[d] = 0;
            if let Some(outer) = d.checked_sub(1).and_then(|d| self.at.get_mut(d)) {
                *outer += 1;
            }
        }
    }

    fn seek(&mut self, pixel: usize) {
        let mut rest = pixel;
        for d in (0..4).rev() {
            let count = self.counts[d].max(1);
            self.at[d] = rest % count;
            rest /= count;
        }
    }
}

/// A layer of which some pixels at a time are computed.
pub(crate) struct Layer<'a, K: Arith, P: Panel> {
    /// Panels.
    pub weights: &'a [K::W],
    pub epilogue: Epilogue<'a, K>,
    pub axes: [Axis; 3],
    pub kernel: [usize; 3],
    pub images: usize,
    pub groups: usize,
    /// Per group.
    pub channels: usize,
    /// Per group.
    pub columns: usize,
    pub x_strides: [usize; 5],
    pub y_strides: [usize; 4],
    pub panel: P,
}

impl<K: Arith, P: Panel> Layer<'_, K, P> {
    /// All pixels, with no window outside the image and channels side by side.
    #[inline(always)]
    pub fn whole<S: Simd, W: Stretches>(&self, s: S, x: &[K::X], y: &mut [K::Y]) {
        let [image, strides @ .., _] = self.x_strides;
        let mut pixels = self.pixels(strides);
        pixels.steps[0][0] = image;
        for d in 0..3 {
            let axis = &self.axes[d];
            pixels.first[0] += (axis.start + axis.tap_start + axis.lowest()) as usize * strides[d];
        }
        let taps = Taps::new(&self.axes, self.kernel, strides, self.channels);
        self.compute::<S, W>(s, x, y, taps, pixels, BLOCK / taps.reach.max(1));
    }

    /// All pixels, stripe by stripe.
    #[inline(always)]
    pub fn striped<S: Simd, W: Stretches>(&self, s: S, x: &[K::X], y: &mut [K::Y], stripe: &mut [K::X], outside: K::X) {
        // Only planes that taps meet are copied.
        let near = [Axis { tap_step: 1, ..self.axes[0] }, self.axes[1], self.axes[2]];
        let channels = self.channels * self.groups;
        let room = stripe.len();
        self.stripes().each(
            x,
            stripe,
            room,
            outside,
            |x| x,
            |stripe, of| {
                let strides = [of.rows * of.row, of.row, channels];
                let mut pixels = self.pixels(strides);
                pixels.counts = [1, 1, of.count, pixels.counts[3]];
                let [image, d, h, _] = self.y_strides;
                pixels.first[1] += of.image * image + of.d * d + of.h * h;
                let taps = Taps::new(&near, self.kernel, strides, self.channels);
                self.compute::<S, W>(s, stripe, y, taps, pixels, usize::MAX);
            },
        );
    }

    fn stripes(&self) -> Stripes {
        let channels = self.channels * self.groups;
        Stripes { axes: self.axes, strides: self.x_strides, channels, images: self.images }
    }

    /// All pixels of memory with these strides, windows from 0 on.
    fn pixels(&self, strides: [usize; 3]) -> Pixels {
        let mut pixels = Pixels {
            counts: [self.images, 0, 0, 0],
            first: [0; 2],
            steps: [[0; 4], [self.y_strides[0], 0, 0, 0]],
            at: [0; 4],
            number: 0,
        };
        for d in 0..3 {
            let axis = &self.axes[d];
            pixels.counts[d + 1] = axis.count;
            pixels.steps[0][d + 1] = strides[d] * axis.step.unsigned_abs();
            pixels.steps[1][d + 1] = self.y_strides[d + 1] * axis.out_step;
            pixels.first[1] += self.y_strides[d + 1] * axis.out_start;
        }
        pixels
    }

    /// `pixels` of `x`; where the weights are many, `block` of them at a time.
    #[inline(always)]
    fn compute<S: Simd, W: Stretches>(
        &self,
        s: S,
        x: &[K::X],
        y: &mut [K::Y],
        taps: Taps,
        pixels: Pixels,
        block: usize,
    ) {
        let _ = self.panel;
        if const { W::LEN > 0 } {
            return self.by_rows::<S, W>(s, x, y, taps, pixels);
        }
        let inner = self.kernel.iter().product::<usize>() * self.channels;
        let panels = self.columns.div_ceil(P::WIDTH);
        // Pixels pass all panels while they are in the first cache, unless the weights leave the second one meanwhile.
        let order = if inner * self.columns <= BLOCK { Order::RowsOuter } else { Order::PanelsOuter(block) };
        let count = pixels.count();
        let (whole, half) = halves::<K::Tiles<S, P>>(count, self.columns, P::WIDTH);
        for group in 0..self.groups {
            if !half {
                let mut tiles = self.tiles::<P>(group, x, y, taps, pixels);
                cover::<S, K::Tiles<S, P>, _>(s, count, panels, order, &mut tiles);
                continue;
            }
            // Pixels pass the half panel while they are in the second cache.
            for rows in blocks(0..count, block.max(MANY)) {
                let mut tiles = self.tiles::<P>(group, x, y, taps, pixels);
                stretch::<S, K::Tiles<S, P>, _>(s, rows.clone(), whole, order, &mut tiles);
                let mut tiles = self.tiles::<Half16>(group, x, y, taps, pixels);
                tiles.weights = from(tiles.weights, whole * inner);
                tiles.first += whole * P::WIDTH;
                K::Tiles::<S, P>::half(s, rows, &mut tiles);
            }
        }
    }

    /// `pixels` of `x`, a row of outputs after the other; nothing if stretches are not what they are said to be.
    #[inline(always)]
    fn by_rows<S: Simd, W: Stretches>(&self, s: S, x: &[K::X], y: &mut [K::Y], taps: Taps, mut pixels: Pixels) {
        if self.groups != 1 || taps.len != W::LEN || pixels.steps[0][3] != W::STEP {
            return;
        }
        let [columns, step] = [pixels.counts[3], pixels.steps[1][3]];
        let (whole, half) = halves::<K::Tiles<S, P>>(columns, self.columns, P::WIDTH);
        for row in 0..pixels.counts[..3].iter().product() {
            pixels.enter(row * columns);
            let places = pixels.here();
            let mut tiles = RowTiles::<K, P, W>::new(self, x, y, taps, places, step);
            if !half {
                cover::<S, K::Tiles<S, P>, _>(s, columns, whole, Order::RowsOuter, &mut tiles);
                continue;
            }
            stretch::<S, K::Tiles<S, P>, _>(s, 0..columns, whole, Order::RowsOuter, &mut tiles);
            let mut tiles = RowTiles::<K, Half16, W>::new(self, x, y, taps, places, step);
            tiles.weights = from(tiles.weights, whole * tiles.inner);
            tiles.first = whole * P::WIDTH;
            K::Tiles::<S, P>::half(s, 0..columns, &mut tiles);
        }
    }

    /// The tiles of a group, as panels of some width.
    #[inline(always)]
    fn tiles<'t, Q: Panel>(
        &'t self,
        group: usize,
        x: &'t [K::X],
        y: &'t mut [K::Y],
        taps: Taps,
        pixels: Pixels,
    ) -> Tiles<'t, K, Q> {
        let inner = self.kernel.iter().product::<usize>() * self.channels;
        Tiles {
            x: from(x, group * self.channels),
            weights: from(Q::rows(self.weights), group * self.columns.div_ceil(P::WIDTH) * inner),
            epilogue: &self.epilogue,
            y,
            taps,
            pixels,
            inner,
            first: group * self.columns,
            end: (group + 1) * self.columns,
        }
    }
}

/// The tiles of one group.
struct Tiles<'a, K: Arith, P: Panel> {
    x: &'a [K::X],
    weights: &'a [P::Row<K::W>],
    epilogue: &'a Epilogue<'a, K>,
    y: &'a mut [K::Y],
    taps: Taps,
    pixels: Pixels,
    inner: usize,
    /// Channels of the group.
    first: usize,
    end: usize,
}

impl<K: Arith, P: Panel> Body for Tiles<'_, K, P> {
    #[inline(always)]
    fn tile<S: Simd, const ROWS: usize, const PANELS: usize>(&mut self, s: S, row: usize, panel: usize) {
        self.pixels.enter(row);
        s.outline(Tile::<K, P, ROWS, PANELS> { tiles: self, row, panel });
    }
}

/// One tile. A function of its own: among the loops around it, LLVM spills the sums.
struct Tile<'a, 'b, K: Arith, P: Panel, const ROWS: usize, const PANELS: usize> {
    tiles: &'a mut Tiles<'b, K, P>,
    row: usize,
    panel: usize,
}

impl<K: Arith, P: Panel, const ROWS: usize, const PANELS: usize> Op for Tile<'_, '_, K, P, ROWS, PANELS> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        let Tiles { x, weights, epilogue, y, taps, pixels, inner, first, end } = self.tiles;
        let [starts, offsets] = pixels.places::<ROWS>();
        let ahead = ahead::<K::Tiles<S, P>, ROWS, PANELS>(*inner, *end - *first, self.row);
        let first = *first + self.panel * P::WIDTH;
        let zero_point = epilogue.zero_points::<S, P, PANELS>(s, first);
        let mut sums = zeros::<K, S, P, ROWS, PANELS>(s);
        let Some(x) = Strips::new(x, starts, taps.reach) else { return };
        let Some(weights) = Strips::<_, PANELS>::even(weights, self.panel * *inner, *inner, *inner) else {
            return;
        };
        taps.each(|at, weight| {
            let (Some(rows), Some(panels)) = (x.part(at, taps.len), weights.part(weight, taps.len)) else { return };
            accumulate::<K, S, P, ROWS, PANELS>(s, &mut sums, rows, panels, &zero_point, ahead);
        });
        epilogue.write::<S, P, ROWS, PANELS>(s, &sums, y, offsets, first, *end);
    }
}

/// The tiles of a row of outputs, whose stretches have a constant length.
struct RowTiles<'a, K: Arith, P: Panel, W> {
    x: &'a [K::X],
    weights: &'a [P::Row<K::W>],
    epilogue: &'a Epilogue<'a, K>,
    y: &'a mut [K::Y],
    taps: Taps,
    inner: usize,
    /// Lowest element of the first window, and the first output.
    places: [usize; 2],
    /// From an output to the next.
    step: usize,
    first: usize,
    end: usize,
    stretches: PhantomData<W>,
}

impl<'a, K: Arith, Q: Panel, W: Stretches> RowTiles<'a, K, Q, W> {
    fn new<P: Panel>(
        layer: &'a Layer<'_, K, P>,
        x: &'a [K::X],
        y: &'a mut [K::Y],
        taps: Taps,
        places: [usize; 2],
        step: usize,
    ) -> Self {
        RowTiles {
            x,
            weights: Q::rows(layer.weights),
            epilogue: &layer.epilogue,
            y,
            taps,
            inner: layer.kernel.iter().product::<usize>() * layer.channels,
            places,
            step,
            first: 0,
            end: layer.columns,
            stretches: PhantomData,
        }
    }
}

impl<K: Arith, P: Panel, W: Stretches> Body for RowTiles<'_, K, P, W> {
    const TOGETHER: bool = true;
    #[inline(always)]
    fn tile<S: Simd, const ROWS: usize, const PANELS: usize>(&mut self, s: S, row: usize, panel: usize) {
        let first = self.first + panel * P::WIDTH;
        let zero_point = self.epilogue.zero_points::<S, P, PANELS>(s, first);
        let mut sums = zeros::<K, S, P, ROWS, PANELS>(s);
        let Some(weights) = Strips::<_, PANELS>::even(self.weights, panel * self.inner, self.inner, self.inner) else {
            return;
        };
        let x = from(self.x, self.places[0] + row * W::STEP);
        self.taps.each(|at, weight| {
            let x = from(x, at).get(..const { (ROWS - 1) * W::STEP + W::LEN });
            let (Some(x), Some(panels)) = (x, weights.part(weight, W::LEN)) else { return };
            let x = |i: usize, k: usize| x.get(i * W::STEP + k);
            sums = products::<K, S, P, ROWS, PANELS>(s, sums, x, panels, &zero_point, |_| ());
        });
        let to = Even { first: self.places[1] + row * self.step, step: self.step };
        self.epilogue.write::<S, P, ROWS, PANELS>(s, &sums, self.y, to, first, self.end);
    }
}
