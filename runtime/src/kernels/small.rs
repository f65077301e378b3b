//! Depthwise convolutions of the usual kernels, 3x3 and 5x5 of step 1 or 2, where code is not counted.
//!
//! Of a narrow image a *tile* of outputs, some rows of a few neighbours, has all its sums in registers: each input is loaded
//! once for all of them, one vector of channels after the other. Of a wide one the weights of a vector of channels stay in
//! registers while a *band* of rows passes, a few outputs of a row at a time. Rows and columns outside the image are left out,
//! by a copy of the code for tiles at the border. Tiles reach at most one row or column beyond it and have whole vectors of
//! channels; other layers, and channels that are left, are computed in bands: code for them would be twice that of the tiles.
//!
//! Sums run over kernel rows and columns in order, as in [`super::depthwise`].

use super::arith::Arith;
use super::depthwise::{Depthwise, Square, taps_inside};
use super::epilogue::{Epilogue, Even};
use super::tile::{BLOCK, MANY, Tiles, halves};
use crate::memory::Columns;
use crate::simd::{Half16, Num, Op, Panel, Simd, Vector, unrolled};

/// Computes the layer if it is of this kind; its slices fit.
#[inline(always)]
pub(super) fn depthwise<S: Simd, K: Arith, P: Panel, const KERNEL: usize, const STEP: usize>(
    s: S,
    layer: &mut Depthwise<'_, K, P, Square<KERNEL, STEP>>,
) -> bool {
    let flat = layer.kernel[0] == 1 && layer.padding[0] == 0 && layer.dilation[1..] == [1, 1];
    let named = layer.kernel[1..] == [KERNEL; 2] && layer.stride[1..] == [STEP; 2];
    if K::REQUANTIZED || !flat || !named {
        return false;
    }
    // The constant stands first: what it rules out is not compiled.
    let done = if const { KERNEL == 3 && K::Tiles::<S, P>::SUMS >= HIGHEST * WIDEST } && suits_tiles(layer) {
        tiles::<S, K, P, KERNEL, STEP>(s, layer)
    } else {
        0
    };
    bands::<S, K, P, KERNEL, STEP>(s, layer, done);
    true
}

/// Images of at least so many columns of outputs are computed in bands, which was faster there; so it was with kernels of 5x5.
const WIDE: usize = 20;

/// Rows of a tile, at most, and the range of its columns.
const HIGHEST: usize = 3;
const NARROWEST: usize = 3;
const WIDEST: usize = 5;

/// Whether the image is narrow, and no tile of it is cut off or reaches further than a row or column beyond it.
fn suits_tiles<K: Arith, P: Panel, const KERNEL: usize, const STEP: usize>(
    l: &Depthwise<'_, K, P, Square<KERNEL, STEP>>,
) -> bool {
    let within = |d: usize, least: usize| {
        l.padding[d] <= 1 && l.out[d] >= least && (l.out[d] - 1) * STEP + KERNEL <= l.size[d] + l.padding[d] + 1
    };
    l.out[2] < WIDE && within(1, HIGHEST - 1) && within(2, NARROWEST)
}

/// The next part of `rest`, divided evenly.
#[inline]
fn part(rest: usize, most: usize) -> usize {
    rest.div_ceil(rest.div_ceil(most))
}

/// Computes the whole vectors of channels; gives how many these are.
#[inline(always)]
fn tiles<S: Simd, K: Arith, P: Panel, const KERNEL: usize, const STEP: usize>(
    s: S,
    l: &mut Depthwise<'_, K, P, Square<KERNEL, STEP>>,
) -> usize {
    let epilogue = l.epilogue();
    let vectors = l.channels / P::WIDTH;
    for plane in 0..l.batch * l.out[0] {
        let (image, d) = (plane / l.out[0].max(1), plane % l.out[0].max(1));
        let mut plane = Plane::<K, P, KERNEL, STEP> {
            x: l.x,
            weights: P::rows(l.weights),
            epilogue: &epilogue,
            y: &mut *l.y,
            channels: l.channels,
            size: [l.size[1], l.size[2]],
            padding: [l.padding[1], l.padding[2]],
            x_first: image * l.x_strides[0] + d * l.stride[0] * l.x_strides[1],
            x_steps: [l.x_strides[2], l.x_strides[3]],
            y_first: image * l.y_strides[0] + d * l.y_strides[1],
            y_steps: [l.y_strides[2], l.y_strides[3]],
            at: [0; 2],
        };
        while plane.at[0] < l.out[1] {
            let rows = part(l.out[1] - plane.at[0], HIGHEST);
            plane.at[1] = 0;
            while plane.at[1] < l.out[2] {
                let columns = part(l.out[2] - plane.at[1], WIDEST);
                match columns {
                    5 => plane.tiles::<S, 5>(s, rows),
                    4 => plane.tiles::<S, 4>(s, rows),
                    _ => plane.tiles::<S, NARROWEST>(s, rows),
                }
                plane.at[1] += columns;
            }
            plane.at[0] += rows;
        }
    }
    vectors
}

/// A plane of the image and of the outputs, and the tile in it that comes next.
struct Plane<'a, K: Arith, P: Panel, const KERNEL: usize, const STEP: usize> {
    x: &'a [K::X],
    weights: &'a [P::Row<K::W>],
    epilogue: &'a Epilogue<'a, K>,
    y: &'a mut [K::Y],
    channels: usize,
    size: [usize; 2],
    padding: [usize; 2],
    x_first: usize,
    x_steps: [usize; 2],
    y_first: usize,
    y_steps: [usize; 2],
    at: [usize; 2],
}

impl<K: Arith, P: Panel, const KERNEL: usize, const STEP: usize> Plane<'_, K, P, KERNEL, STEP> {
    /// The tile of `rows` times `COLUMNS` outputs.
    #[inline(always)]
    fn tiles<S: Simd, const COLUMNS: usize>(&mut self, s: S, rows: usize) {
        if rows < HIGHEST {
            s.outline(Tile::<K, P, KERNEL, STEP, 2, COLUMNS>(self));
        } else {
            s.outline(Tile::<K, P, KERNEL, STEP, HIGHEST, COLUMNS>(self));
        }
    }
}

struct Tile<'a, 'b, K: Arith, P: Panel, const KERNEL: usize, const STEP: usize, const ROWS: usize, const COLUMNS: usize>(
    &'a mut Plane<'b, K, P, KERNEL, STEP>,
);

impl<K: Arith, P: Panel, const KERNEL: usize, const STEP: usize, const ROWS: usize, const COLUMNS: usize> Op
    for Tile<'_, '_, K, P, KERNEL, STEP, ROWS, COLUMNS>
{
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(mut self, s: S) {
        let p = &*self.0;
        let (rows, columns) = const { ((ROWS - 1) * STEP + KERNEL, (COLUMNS - 1) * STEP + KERNEL) };
        let first: [usize; 2] = core::array::from_fn(|d| (p.at[d] * STEP).wrapping_sub(p.padding[d]));
        // Rows outside are not read: any place will do.
        let starts: [usize; REACH] = core::array::from_fn(|h| {
            let row = first[0].wrapping_add(h);
            p.x_first + if h < rows && row < p.size[0] { row * p.x_steps[0] } else { 0 }
        });
        let all = Columns::new(p.x, starts, p.x_steps[1], p.size[1], p.channels);
        let (stored, vectors) = (p.channels.div_ceil(P::WIDTH), p.channels / P::WIDTH);
        let taps = const { KERNEL * KERNEL };
        let Some(weights) = Columns::new(p.weights, [0], stored, taps, stored).window(0, taps) else { return };
        let inside = |(d, count): (usize, usize)| first[d] < p.size[d] && count <= p.size[d] - first[d];
        let whole = [rows, columns].into_iter().enumerate().all(inside);
        for vector in 0..vectors {
            if whole {
                self.vector::<S, 0>(s, vector, first, &all, &weights);
            } else {
                self.vector::<S, 1>(s, vector, first, &all, &weights);
            }
        }
    }
}

/// Rows of the input that a tile reaches at most: one of three rows and step 2.
const REACH: usize = 7;

impl<K: Arith, P: Panel, const KERNEL: usize, const STEP: usize, const ROWS: usize, const COLUMNS: usize>
    Tile<'_, '_, K, P, KERNEL, STEP, ROWS, COLUMNS>
{
    /// A vector of channels. Rows and columns under the tile lie inside, but for `MARGIN` on each side that are asked.
    #[inline(always)]
    fn vector<S: Simd, const MARGIN: usize>(
        &mut self,
        s: S,
        vector: usize,
        first: [usize; 2],
        all: &Columns<'_, K::X, REACH>,
        weights: &Columns<'_, P::Row<K::W>, 1>,
    ) {
        // (Of larger kernels there are no tiles, but a compiler looks at what is ruled out, too.)
        const {
            assert!(KERNEL > 3 || (ROWS - 1) * STEP + KERNEL <= REACH && (COLUMNS - 1) * STEP + KERNEL <= 16);
            assert!(ROWS <= HIGHEST && COLUMNS <= WIDEST);
        }
        let p = &mut *self.0;
        let channel = vector * P::WIDTH;
        let (rows, columns) = const { ((ROWS - 1) * STEP + KERNEL, (COLUMNS - 1) * STEP + KERNEL) };
        // The length is a constant: no load has to ask for it.
        let all = all.narrow(channel, P::WIDTH);
        let Some(core) = all.window(first[1].wrapping_add(MARGIN), columns - 2 * MARGIN) else { return };
        let Some(weights) = p.weights(s, vector, weights) else { return };
        let mut sums = [[[K::V::<S, P>::splat(s, K::A::ZERO); 1]; COLUMNS]; ROWS];
        unrolled!(((ROWS - 1) * STEP + KERNEL) <= 16, h, {
            let sure = MARGIN <= h && h + MARGIN < rows;
            if sure || first[0].wrapping_add(h) < p.size[0] {
                unrolled!(((COLUMNS - 1) * STEP + KERNEL) <= 16, j, {
                    let sure = MARGIN <= j && j + MARGIN < columns;
                    let column = first[1].wrapping_add(j);
                    if sure || all.contain(column) {
                        let x = if sure { core.get(h, j - MARGIN) } else { all.get(h, column) };
                        let x = K::inputs::<S, P>(s, x);
                        for row in 0..ROWS {
                            for t in 0..COLUMNS {
                                if row * STEP <= h && h - row * STEP < KERNEL && t * STEP <= j && j - t * STEP < KERNEL
                                {
                                    let weight = weights[h - row * STEP][j - t * STEP];
                                    sums[row][t][0] = x.mul_add(s, weight, sums[row][t][0]);
                                }
                            }
                        }
                    }
                });
            }
        });
        let epilogue = p.epilogue.prepare::<S, P, 1>(s, channel, channel + P::WIDTH);
        unrolled!(ROWS, row, {
            let at = p.y_first + (p.at[0] + row) * p.y_steps[0] + p.at[1] * p.y_steps[1];
            epilogue.write_bare(s, &sums[row], p.y, Even { first: at, step: p.y_steps[1] });
        });
    }
}

impl<K: Arith, P: Panel, const KERNEL: usize, const STEP: usize> Plane<'_, K, P, KERNEL, STEP> {
    #[inline(always)]
    fn weights<S: Simd>(
        &self,
        s: S,
        vector: usize,
        stored: &Columns<'_, P::Row<K::W>, 1>,
    ) -> Option<[[K::V<S, P>; KERNEL]; KERNEL]> {
        let zero_point = self.epilogue.zero_points::<S, P, 1>(s, vector * P::WIDTH)[0];
        let mut weights = [[K::V::<S, P>::splat(s, K::A::ZERO); KERNEL]; KERNEL];
        let stored = stored.narrow(vector, 1);
        unrolled!(KERNEL, h, {
            unrolled!(KERNEL, w, {
                let stored = K::weights::<S, P>(s, stored.get(0, h * KERNEL + w).first()?);
                weights[h][w] = if K::QUANTIZED { stored.sub(s, zero_point) } else { stored };
            });
        });
        Some(weights)
    }
}

/// Computes the vectors of channels from `done` on.
#[inline(always)]
fn bands<S: Simd, K: Arith, P: Panel, const KERNEL: usize, const STEP: usize>(
    s: S,
    l: &mut Depthwise<'_, K, P, Square<KERNEL, STEP>>,
    done: usize,
) {
    if done * P::WIDTH >= l.channels {
        return;
    }
    let epilogue = l.epilogue();
    let row = (l.size[2] * l.channels * l.stride[1]).max(1);
    // So many rows that they stay in the second-level cache while their channels pass.
    let band = (BLOCK / row).max(4);
    for plane in 0..l.batch * l.out[0] {
        let (image, d) = (plane / l.out[0].max(1), plane % l.out[0].max(1));
        let mut first = 0;
        while first < l.out[1] {
            let rows = first..l.out[1].min(first + band);
            first = rows.end;
            let (whole, half) = halves::<K::Tiles<S, P>>(MANY, l.channels, P::WIDTH);
            let at = [image, d, rows.start, rows.end];
            for block in done..whole {
                s.outline(rows_of::<K, P, P, KERNEL, STEP>(l, &epilogue, at, block));
            }
            if half {
                K::Tiles::<S, P>::half_of(s, rows_of::<K, P, Half16, KERNEL, STEP>(l, &epilogue, at, whole));
            }
        }
    }
}

/// Rows `at[2]..at[3]` of plane `at[1]` of image `at[0]`, and one vector of channels of them, as panels of some width.
#[inline(always)]
fn rows_of<'b, K: Arith, P: Panel, Q: Panel, const KERNEL: usize, const STEP: usize>(
    l: &'b mut Depthwise<'_, K, P, Square<KERNEL, STEP>>,
    epilogue: &'b Epilogue<'b, K>,
    [image, d, start, end]: [usize; 4],
    block: usize,
) -> Band<'b, K, Q, KERNEL, STEP> {
    let first = block * P::WIDTH;
    Band {
        x: l.x,
        weights: Q::rows(l.weights),
        epilogue,
        y: &mut *l.y,
        rows: [start, end],
        block: [block, l.channels.div_ceil(P::WIDTH)],
        channels: [first, l.channels],
        size: [l.size[1], l.size[2]],
        columns: l.out[2],
        padding: [l.padding[1], l.padding[2]],
        step: l.stride[1],
        x_first: image * l.x_strides[0] + d * l.stride[0] * l.x_strides[1] + first,
        x_steps: [l.x_strides[2], l.x_strides[3]],
        y_first: image * l.y_strides[0] + d * l.y_strides[1],
        y_steps: [l.y_strides[2], l.y_strides[3]],
    }
}

/// Some rows of outputs of one vector of channels.
struct Band<'a, K: Arith, P: Panel, const KERNEL: usize, const STEP: usize> {
    x: &'a [K::X],
    weights: &'a [P::Row<K::W>],
    epilogue: &'a Epilogue<'a, K>,
    y: &'a mut [K::Y],
    /// First and end.
    rows: [usize; 2],
    /// The block of channels, and how many there are.
    block: [usize; 2],
    /// From the first one on, all that follow.
    channels: [usize; 2],
    /// Of the input: rows, columns.
    size: [usize; 2],
    /// Of the output.
    columns: usize,
    padding: [usize; 2],
    /// Of the window, down.
    step: usize,
    x_first: usize,
    x_steps: [usize; 2],
    y_first: usize,
    y_steps: [usize; 2],
}

impl<K: Arith, P: Panel, const KERNEL: usize, const STEP: usize> Op for Band<'_, K, P, KERNEL, STEP> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(mut self, s: S) {
        // The length of a whole vector is a constant: no load has to ask for it.
        match self.channels[1] - self.channels[0] {
            width if width < P::WIDTH => self.all(s, width),
            _ => self.all(s, P::WIDTH),
        }
    }
}

impl<K: Arith, P: Panel, const KERNEL: usize, const STEP: usize> Band<'_, K, P, KERNEL, STEP> {
    #[inline(always)]
    fn all<S: Simd>(&mut self, s: S, width: usize) {
        let weights = self.weights(s);
        let epilogue = self.epilogue.prepare::<S, P, 1>(s, self.channels[0], self.channels[1]);
        let (count, step) = (self.columns, self.y_steps[1]);
        for row in self.rows[0]..self.rows[1] {
            let (starts, rows) = self.starts(row);
            let all = Columns::new(self.x, starts, self.x_steps[1], self.size[1], width);
            let (mut q, mut y) = (0, self.y_first + row * self.y_steps[0]);
            while q < count {
                let first = (q * STEP).wrapping_sub(self.padding[1]);
                let sums = match all.window(first, (OUTPUTS - 1) * STEP + KERNEL) {
                    Some(columns) => {
                        sums::<S, K, P, KERNEL, STEP>(s, &weights, rows, |_| true, |h, j| columns.get(h, j))
                    }
                    None => {
                        let inside = |j| all.contain(first.wrapping_add(j));
                        let x = |h, j| all.get(h, first.wrapping_add(j));
                        sums::<S, K, P, KERNEL, STEP>(s, &weights, rows, inside, x)
                    }
                };
                let offsets = core::array::from_fn(|t| if t < count - q { y + t * step } else { usize::MAX });
                epilogue.write_bare(s, &sums, self.y, offsets);
                q += OUTPUTS;
                y += OUTPUTS * step;
            }
        }
    }

    /// Where the rows of the input under the kernel begin, for a row of outputs, and which of them lie inside.
    #[inline(always)]
    fn starts(&self, row: usize) -> ([usize; KERNEL], [usize; 2]) {
        let start = (row * self.step) as isize - self.padding[0] as isize;
        let (from, to) = taps_inside(start, self.size[0], KERNEL, 1);
        // Rows outside are not read; any place will do.
        let mut starts = [self.x_first; KERNEL];
        unrolled!(KERNEL, h, {
            if from <= h && h < to {
                starts[h] += (start + h as isize) as usize * self.x_steps[0];
            }
        });
        (starts, [from, to])
    }

    #[inline(always)]
    fn weights<S: Simd>(&self, s: S) -> [[K::V<S, P>; KERNEL]; KERNEL] {
        let zero_point = self.epilogue.zero_points::<S, P, 1>(s, self.channels[0])[0];
        let mut weights = [[K::V::<S, P>::splat(s, K::A::ZERO); KERNEL]; KERNEL];
        unrolled!(KERNEL, h, {
            unrolled!(KERNEL, w, {
                if let Some(stored) = self.weights.get((h * KERNEL + w) * self.block[1] + self.block[0]) {
                    let stored = K::weights::<S, P>(s, stored);
                    weights[h][w] = if K::QUANTIZED { stored.sub(s, zero_point) } else { stored };
                }
            });
        });
        weights
    }
}

/// Outputs of a tile.
const OUTPUTS: usize = 4;

/// The sums of neighbouring outputs; `x` gives the input under row and column of the first one's kernel, of columns that
/// are `inside`.
#[inline(always)]
fn sums<'x, S: Simd, K: Arith, P: Panel, const KERNEL: usize, const STEP: usize>(
    s: S,
    weights: &[[K::V<S, P>; KERNEL]; KERNEL],
    rows: [usize; 2],
    inside: impl Fn(usize) -> bool,
    x: impl Fn(usize, usize) -> &'x [K::X],
) -> [[K::V<S, P>; 1]; OUTPUTS] {
    const { assert!((OUTPUTS - 1) * STEP + KERNEL <= 16) };
    let zero = K::V::<S, P>::splat(s, K::A::ZERO);
    let mut sums = [[zero; 1]; OUTPUTS];
    unrolled!(KERNEL, h, {
        if rows[0] <= h && h < rows[1] {
            unrolled!(((OUTPUTS - 1) * STEP + KERNEL) <= 16, j, {
                if inside(j) {
                    let x = K::inputs::<S, P>(s, x(h, j));
                    unrolled!(OUTPUTS, t, {
                        if t * STEP <= j
                            && j - t * STEP < KERNEL
                            && let Some([sum]) = sums.get_mut(t)
                        {
                            *sum = x.mul_add(s, weights[h][j - t * STEP], *sum);
                        }
                    });
                }
            });
        }
    });
    sums
}
