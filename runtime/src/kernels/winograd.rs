//! [`Winograd`]: 3x3 convolutions of step 1 with fewer multiplications, after Lavin and Gray, "Fast Algorithms for
//! Convolutional Neural Networks" (2015).
//!
//! The output is cut into square tiles. The input of a tile is transformed into `IN`² positions; at each position, tiles
//! × channels times channels × columns is an ordinary matrix product with weights that the compiler has transformed; what
//! comes out at all positions is transformed into the tile's outputs. [`F4`] multiplies 36 times where the definition
//! does 144 times, and has 4 times as many weights; [`F2`] multiplies 16 times for 36, with 1.78 times the weights.
//!
//! Tiles are worked through in blocks, so that what stands between the transforms stays in the second-level cache. Input
//! outside the image reads as 0, output outside is not written.
//!
//! An output is off by at most `(channels + 20) * eps * AMPLIFICATION * max |x| * sum |w|` (`eps` = 2^-24; `x` of the whole
//! tile, `w` of the output), where the definition is off by `9 * channels * eps * sum |x * w|`: sums are as in
//! [`super::tile`], each transform rounds at most 8 times, a weight once, and cancellation makes the rest. On random
//! data of any number of channels, errors measured below 3 (F4) and 1 (F2) times `eps * max |x| * sum |w|`. An infinite or
//! NaN input makes all outputs of its tiles NaN, also those whose window does not reach it; so may input beyond the greatest
//! f32 divided by `AMPLIFICATION * sum |w|`.

use super::arith::F32;
use super::epilogue::Epilogue;
use super::tile::{BLOCK, Body, Order, accumulate, ahead, cover, zeros};
use crate::memory::{Strips, StripsMut};
use crate::simd::{Op, Panel, Simd, Vector, unrolled};
use core::marker::PhantomData;

/// A size of tiles, `OUT` outputs and `IN` inputs along a side, with its transforms in one dimension. Images apply them to
/// columns, then to rows.
pub trait Tile<const OUT: usize, const IN: usize>: Copy + 'static {
    /// From the three taps of a kernel to a position each.
    const KERNEL: [[f64; 3]; IN];
    /// See the error bound of the module: the greatest sum, over the positions, of the magnitudes of the factors that an
    /// output, a tap and all inputs have there; squared, for two dimensions.
    const AMPLIFICATION: f64;
    /// Transforms inputs.
    fn input<S: Simd, V: Vector<S, Elem = f32>>(s: S, d: [V; IN]) -> [V; IN];
    /// Transforms sums into outputs.
    fn output<S: Simd, V: Vector<S, Elem = f32>>(s: S, m: [V; IN]) -> [V; OUT];
}

/// F(2x2, 3x3): polynomials through 0, 1, -1 and infinity.
#[derive(Clone, Copy, Debug)]
pub struct F2;

impl Tile<2, 4> for F2 {
    const KERNEL: [[f64; 3]; 4] = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]];
    const AMPLIFICATION: f64 = 4.0 * 4.0;
    #[inline(always)]
    fn input<S: Simd, V: Vector<S, Elem = f32>>(s: S, d: [V; 4]) -> [V; 4] {
        [d[0].sub(s, d[2]), d[2].add(s, d[1]), d[2].sub(s, d[1]), d[3].sub(s, d[1])]
    }
    #[inline(always)]
    fn output<S: Simd, V: Vector<S, Elem = f32>>(s: S, m: [V; 4]) -> [V; 2] {
        [m[0].add(s, m[1].add(s, m[2])), m[3].add(s, m[1].sub(s, m[2]))]
    }
}

/// F(4x4, 3x3): polynomials through 0, ±3/4, ±3/2 and infinity, which amplify errors a quarter as much as the usual 0, ±1,
/// ±2 do. All factors of inputs and outputs are exact in f32.
#[derive(Clone, Copy, Debug)]
pub struct F4;

/// The points beside 0.
const A: f32 = 0.75;
const B: f32 = 1.5;

impl Tile<4, 6> for F4 {
    const KERNEL: [[f64; 3]; 6] = {
        const fn row(point: f64, other: f64) -> [f64; 3] {
            // The product of the differences to the other points.
            let n = 2.0 * point * point * (point * point - other * other);
            [1.0 / n, point / n, point * point / n]
        }
        let (a, b) = (A as f64, B as f64);
        [[1.0 / (a * a * b * b), 0.0, 0.0], row(a, b), row(-a, b), row(b, a), row(-b, a), [0.0, 0.0, 1.0]]
    };
    const AMPLIFICATION: f64 = 14.3125 * 14.3125;
    #[inline(always)]
    fn input<S: Simd, V: Vector<S, Elem = f32>>(s: S, d: [V; 6]) -> [V; 6] {
        let c = |value: f32| V::splat(s, value);
        let (even_a, odd_a) = (d[2].mul_add(s, c(-B * B), d[4]), d[1].mul_add(s, c(-B * B), d[3]));
        let (even_b, odd_b) = (d[2].mul_add(s, c(-A * A), d[4]), d[1].mul_add(s, c(-A * A), d[3]));
        let both = c(-A * A - B * B);
        [
            d[0].mul_add(s, c(A * A * B * B), d[2].mul_add(s, both, d[4])),
            odd_a.mul_add(s, c(A), even_a),
            odd_a.mul_add(s, c(-A), even_a),
            odd_b.mul_add(s, c(B), even_b),
            odd_b.mul_add(s, c(-B), even_b),
            d[1].mul_add(s, c(A * A * B * B), d[3].mul_add(s, both, d[5])),
        ]
    }
    #[inline(always)]
    fn output<S: Simd, V: Vector<S, Elem = f32>>(s: S, m: [V; 6]) -> [V; 4] {
        let c = |value: f32| V::splat(s, value);
        let (even_a, odd_a) = (m[1].add(s, m[2]), m[1].sub(s, m[2]));
        let (even_b, odd_b) = (m[3].add(s, m[4]), m[3].sub(s, m[4]));
        [
            m[0].add(s, even_a.add(s, even_b)),
            odd_a.mul_add(s, c(A), odd_b.mul(s, c(B))),
            even_a.mul_add(s, c(A * A), even_b.mul(s, c(B * B))),
            odd_a.mul_add(s, c(A * A * A), odd_b.mul_add(s, c(B * B * B), m[5])),
        ]
    }
}

/// The weights of all positions for one pair of channels, from its kernel `[row][column]`.
pub fn transformed<T: Tile<OUT, IN>, const OUT: usize, const IN: usize>(kernel: [[f64; 3]; 3]) -> [[f64; IN]; IN] {
    let mut all = [[0.0; IN]; IN];
    for i in 0..IN {
        let row = T::KERNEL[i];
        let sums = [0, 1, 2].map(|j| row[0] * kernel[0][j] + row[1] * kernel[1][j] + row[2] * kernel[2][j]);
        for j in 0..IN {
            let column = T::KERNEL[j];
            all[i][j] = sums[0] * column[0] + sums[1] * column[1] + sums[2] * column[2];
        }
    }
    all
}

/// `y[n, o, q] = clamp(leaky(sum over c, k of x[n, c, q - padding + k] * w[o, c, k] + bias + residual))`, where `x` outside
/// the image is 0. If a slice is too short for the geometry, nothing is written.
pub struct Winograd<'a, T: Tile<OUT, IN>, P: Panel, const OUT: usize, const IN: usize> {
    /// Input; channels contiguous.
    pub x: &'a [f32],
    /// Panels `[position][panel][channel][WIDTH]` of what [`transformed`] gives, zero-padded.
    pub weights: &'a [f32],
    /// Per output channel, if there is one.
    pub bias: Option<&'a [f32]>,
    /// Factor of negative results per output channel, if there is one.
    pub slope: Option<&'a [f32]>,
    /// Added before the activation; lies as `y` does.
    pub residual: Option<&'a [f32]>,
    /// The residual is what `y` holds.
    pub in_place: bool,
    /// Output; channels contiguous.
    pub y: &'a mut [f32],
    /// [`scratch_len`] elements.
    pub scratch: &'a mut [f32],
    /// Images.
    pub batch: usize,
    /// Input channels.
    pub channels: usize,
    /// Output channels.
    pub columns: usize,
    /// Input height and width.
    pub size: [usize; 2],
    /// Output height and width.
    pub out: [usize; 2],
    /// Zeros before the image (those behind follow from `out`).
    pub padding: [usize; 2],
    /// Input strides: image, row, pixel.
    pub x_strides: [usize; 3],
    /// Output strides: image, row, pixel.
    pub y_strides: [usize; 3],
    /// Tiles transformed at once.
    pub block: usize,
    /// Least result.
    pub low: f32,
    /// Greatest result.
    pub high: f32,
    /// Size of tiles.
    pub tile: T,
    /// Panel width.
    pub panel: P,
}

/// Elements between neighbouring pixels of transformed input or sums: whole panels of any width.
const fn row_len(channels: usize) -> usize {
    channels.next_multiple_of(16)
}

/// Elements of one position of a block: an odd number of cache lines, because positions that are a multiple of 4 KiB apart
/// compete for the same few places of the first-level cache.
const fn plane_len(block: usize, channels: usize) -> usize {
    ((block * row_len(channels) / 16) | 1) * 16
}

/// Tiles that are best transformed at once: whole register tiles of 8, 6 and 4 rows. More did not measure faster.
pub const TILES: usize = 24;

/// Elements of [`Winograd::scratch`]; `positions` are `IN`².
pub const fn scratch_len(positions: usize, block: usize, channels: usize, columns: usize) -> usize {
    positions * (plane_len(block, channels) + plane_len(block, columns))
}

impl<'a, T: Tile<OUT, IN>, P: Panel, const OUT: usize, const IN: usize> Winograd<'a, T, P, OUT, IN> {
    fn fits(&self) -> Option<()> {
        let span = |counts: [usize; 3], strides: [usize; 3], width: usize| {
            let mut end = width;
            for (count, stride) in counts.into_iter().zip(strides) {
                end = end.checked_add(count.checked_sub(1)?.checked_mul(stride)?)?;
            }
            Some(end)
        };
        let [size, out] = [self.size, self.out].map(|[h, w]| [self.batch, h, w]);
        let x = span(size, self.x_strides, self.channels).unwrap_or(0);
        let y = span(out, self.y_strides, self.columns)?;
        let panels = self.columns.div_ceil(P::WIDTH);
        let weights = panels.checked_mul(self.channels)?.checked_mul(IN * IN * P::WIDTH)?;
        let rows = self.channels.max(self.columns).checked_next_multiple_of(16)?;
        self.block.checked_mul(rows)?.checked_mul(2 * IN * IN + 1)?;
        let fits = self.block > 0
            && self.x.len() >= x
            && self.y.len() >= y
            && self.weights.len() >= weights
            && self.scratch.len() >= scratch_len(IN * IN, self.block, self.channels, self.columns)
            && self.epilogue().fits(self.columns, y);
        fits.then_some(())
    }

    fn epilogue(&self) -> Epilogue<'a, F32> {
        Epilogue {
            format: (),
            scale: &[],
            zero_point: &[],
            bias: self.bias.unwrap_or(&[]),
            slope: self.slope.unwrap_or(&[]),
            residual: self.residual.unwrap_or(&[]),
            in_place: self.in_place,
            low: self.low,
            high: self.high,
        }
    }
}

impl<T: Tile<OUT, IN>, P: Panel, const OUT: usize, const IN: usize> Op for Winograd<'_, T, P, OUT, IN> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        s.outline(Blocks(self));
    }
}

struct Blocks<'a, T: Tile<OUT, IN>, P: Panel, const OUT: usize, const IN: usize>(Winograd<'a, T, P, OUT, IN>);

impl<T: Tile<OUT, IN>, P: Panel, const OUT: usize, const IN: usize> Op for Blocks<'_, T, P, OUT, IN> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        let w = self.0;
        if w.fits().is_none() {
            return;
        }
        let counts = w.out.map(|n| n.div_ceil(OUT));
        let tiles = w.batch * counts[0] * counts[1];
        let planes = [w.channels, w.columns].map(|n| plane_len(w.block, n));
        let epilogue = w.epilogue();
        let Some((inputs, sums)) = w.scratch.split_at_mut_checked(IN * IN * planes[0]) else { return };
        let mut cursor = Cursor { image: 0, at: [0; 2], counts };
        let mut start = 0;
        while start < tiles {
            let count = w.block.min(tiles - start);
            s.outline(Inputs::<T, OUT, IN> {
                x: w.x,
                to: inputs,
                plane: planes[0],
                channels: w.channels,
                size: w.size,
                padding: w.padding,
                strides: w.x_strides,
                count,
                cursor,
                tile: w.tile,
            });
            s.outline(Products::<P> {
                inputs,
                weights: P::rows(w.weights),
                sums,
                positions: IN * IN,
                rows: count,
                inner: w.channels,
                columns: w.columns,
                planes,
            });
            let outputs = Outputs::<T, P, OUT, IN> {
                from: sums,
                plane: planes[1],
                epilogue,
                y: w.y,
                columns: w.columns,
                out: w.out,
                strides: w.y_strides,
                count,
                cursor,
                tile: w.tile,
                panel: PhantomData,
            };
            // One register a row: of more, what is transformed would not fit in the registers.
            cursor = if P::ROOM { s.outline(outputs.panels::<S::Narrow>()) } else { s.outline(outputs) };
            start += count;
        }
    }
}

/// A matrix product at each position. That of [`super::matmul`] without an epilogue: all columns of a panel are written.
struct Products<'a, P: Panel> {
    inputs: &'a [f32],
    weights: &'a [P::Row<f32>],
    sums: &'a mut [f32],
    positions: usize,
    rows: usize,
    inner: usize,
    columns: usize,
    planes: [usize; 2],
}

impl<P: Panel> Op for Products<'_, P> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        let panels = self.columns.div_ceil(P::WIDTH);
        for at in 0..self.positions {
            let mut position = Position::<P> {
                x: self.inputs.get(at * self.planes[0]..).unwrap_or(&[]),
                weights: self.weights.get(at * panels * self.inner..).unwrap_or(&[]),
                y: self.sums.get_mut(at * self.planes[1]..).unwrap_or(&mut []),
                inner: self.inner,
                columns: self.positions * self.columns,
                strides: [row_len(self.inner), row_len(self.columns)],
            };
            let order = Order::PanelsOuter(BLOCK / self.inner.max(1));
            cover::<S, P::Tiles<S>, _>(s, self.rows, panels, order, &mut position);
        }
    }
}

/// The tiles of one product.
struct Position<'a, P: Panel> {
    x: &'a [f32],
    weights: &'a [P::Row<f32>],
    y: &'a mut [f32],
    inner: usize,
    /// Of all positions.
    columns: usize,
    strides: [usize; 2],
}

impl<P: Panel> Body for Position<'_, P> {
    const TOGETHER: bool = P::ROOM;
    #[inline(always)]
    fn tile<S: Simd, const ROWS: usize, const PANELS: usize>(&mut self, s: S, row: usize, panel: usize) {
        let [x_stride, y_stride] = self.strides;
        let x = Strips::<_, ROWS>::even(self.x, row * x_stride, x_stride, self.inner);
        let w = Strips::<_, PANELS>::even(self.weights, panel * self.inner, self.inner, self.inner);
        let first = row * y_stride + panel * P::WIDTH;
        let y = StripsMut::<_, ROWS>::even(self.y, first, y_stride, const { PANELS * P::WIDTH });
        let (Some(x), Some(w), Some(mut y)) = (x, w, y) else { return };
        let (Some(x), Some(w)) = (x.part(0, self.inner), w.part(0, self.inner)) else { return };
        let zero = [P::F32::<S>::splat(s, 0.0); PANELS];
        let mut sums = zeros::<F32, S, P, ROWS, PANELS>(s);
        let ahead = ahead::<P::Tiles<S>, ROWS, PANELS>(self.inner, self.columns, row);
        accumulate::<F32, S, P, ROWS, PANELS>(s, &mut sums, x, w, &zero, ahead);
        unrolled!(ROWS, i, {
            let row = y.get(i);
            unrolled!(PANELS, p, {
                sums[i][p].store(s, row.get_mut(p * P::WIDTH..(p + 1) * P::WIDTH).unwrap_or_default());
            });
        });
    }
}

/// Where a tile is: image, and tile numbers down and across.
#[derive(Clone, Copy)]
struct Cursor {
    image: usize,
    at: [usize; 2],
    counts: [usize; 2],
}

impl Cursor {
    #[inline(always)]
    fn step(&mut self) {
        self.at[1] += 1;
        if self.at[1] == self.counts[1] {
            self.at = [self.at[0] + 1, 0];
        }
        if self.at[0] == self.counts[0] {
            self.at[0] = 0;
            self.image += 1;
        }
    }
}

/// Reads and transforms the inputs of `count` tiles.
struct Inputs<'a, T: Tile<OUT, IN>, const OUT: usize, const IN: usize> {
    x: &'a [f32],
    to: &'a mut [f32],
    plane: usize,
    channels: usize,
    size: [usize; 2],
    padding: [usize; 2],
    strides: [usize; 3],
    count: usize,
    cursor: Cursor,
    tile: T,
}

impl<T: Tile<OUT, IN>, const OUT: usize, const IN: usize> Op for Inputs<'_, T, OUT, IN> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(mut self, s: S) {
        let _ = self.tile;
        // Beyond the end, whatever is added: such a pixel reads as zeros.
        let outside = self.x.len();
        let stretch = row_len(self.channels);
        for tile in 0..self.count {
            let mut offsets = [[outside; IN]; 2];
            for d in 0..2 {
                for i in 0..IN {
                    let at = (self.cursor.at[d] * OUT + i).wrapping_sub(self.padding[d]);
                    if at < self.size[d] {
                        offsets[d][i] = at * self.strides[d + 1];
                    }
                }
            }
            let [down, across] = offsets;
            let image = self.cursor.image * self.strides[0];
            let zero = S::F32::splat(s, 0.0);
            let mut c = 0;
            while c < self.channels {
                let width = S::F32::LANES.min(self.channels - c);
                let mut rows = [[zero; IN]; IN];
                unrolled!(IN, i, {
                    let mut d = [zero; IN];
                    unrolled!(IN, j, {
                        let at = image + down[i] + across[j] + c;
                        d[j] = S::F32::load(s, self.x.get(at..at + width).unwrap_or(&[]));
                    });
                    rows[i] = T::input(s, d);
                });
                unrolled!(IN, j, {
                    let mut d = [zero; IN];
                    unrolled!(IN, i, {
                        d[i] = rows[i][j];
                    });
                    let d = T::input(s, d);
                    unrolled!(IN, i, {
                        let at = (i * IN + j) * self.plane + tile * stretch + c;
                        d[i].store(s, self.to.get_mut(at..at + S::F32::LANES).unwrap_or(&mut []));
                    });
                });
                c += S::F32::LANES;
            }
            self.cursor.step();
        }
    }
}

/// Transforms the sums of `count` tiles into outputs and writes those inside; gives the place of the next tile.
struct Outputs<'a, T: Tile<OUT, IN>, P: Panel, const OUT: usize, const IN: usize> {
    from: &'a [f32],
    plane: usize,
    epilogue: Epilogue<'a, F32>,
    y: &'a mut [f32],
    columns: usize,
    out: [usize; 2],
    strides: [usize; 3],
    count: usize,
    cursor: Cursor,
    tile: T,
    panel: PhantomData<P>,
}

impl<'a, T: Tile<OUT, IN>, P: Panel, const OUT: usize, const IN: usize> Outputs<'a, T, P, OUT, IN> {
    /// The same, of panels of another width.
    #[inline(always)]
    fn panels<Q: Panel>(self) -> Outputs<'a, T, Q, OUT, IN> {
        Outputs {
            from: self.from,
            plane: self.plane,
            epilogue: self.epilogue,
            y: self.y,
            columns: self.columns,
            out: self.out,
            strides: self.strides,
            count: self.count,
            cursor: self.cursor,
            tile: self.tile,
            panel: PhantomData,
        }
    }
}

impl<T: Tile<OUT, IN>, P: Panel, const OUT: usize, const IN: usize> Op for Outputs<'_, T, P, OUT, IN> {
    type Output = Cursor;
    #[inline(always)]
    fn call<S: Simd>(mut self, s: S) -> Cursor {
        let _ = self.tile;
        let outside = self.y.len();
        let stretch = row_len(self.columns);
        for tile in 0..self.count {
            let mut offsets = [[outside; OUT]; 2];
            for d in 0..2 {
                for i in 0..OUT {
                    let at = self.cursor.at[d] * OUT + i;
                    if at < self.out[d] {
                        offsets[d][i] = at * self.strides[d + 1];
                    }
                }
            }
            let [down, across] = offsets;
            let image = self.cursor.image * self.strides[0];
            let zero = P::F32::<S>::splat(s, 0.0);
            let mut c = 0;
            while c < self.columns {
                let mut rows = [[zero; IN]; OUT];
                unrolled!(IN, j, {
                    let mut m = [zero; IN];
                    unrolled!(IN, i, {
                        let at = (i * IN + j) * self.plane + tile * stretch + c;
                        m[i] = P::F32::<S>::load(s, self.from.get(at..at + P::WIDTH).unwrap_or(&[]));
                    });
                    let m = T::output(s, m);
                    unrolled!(OUT, i, {
                        rows[i][j] = m[i];
                    });
                });
                unrolled!(OUT, i, {
                    let m = T::output(s, rows[i]);
                    let (mut row, mut at) = ([[zero]; OUT], [0; OUT]);
                    unrolled!(OUT, j, {
                        row[j] = [m[j]];
                        at[j] = image + down[i] + across[j];
                    });
                    self.epilogue.write::<S, P, OUT, 1>(s, &row, self.y, at, c, self.columns);
                });
                c += P::WIDTH;
            }
            self.cursor.step();
        }
        self.cursor
    }
}
