//! Depthwise convolutions of the usual kernels, 3x3 and 5x5 of step 1 or 2, where code is not counted.
//!
//! The weights of a vector of channels stay in registers while some rows of the image pass, a few outputs of a row at a
//! time: so each input is loaded once per kernel row and tile, and each line of memory belongs to one pass. Rows outside the
//! image are left out, and so are columns, by a copy of the code for tiles at the border.
//!
//! Sums run over kernel rows and columns in order, as in [`super::depthwise`].

use super::arith::Arith;
use super::depthwise::{Depthwise, taps_inside};
use super::tile::{BLOCK, Epilogue};
use crate::memory::Columns;
use crate::simd::{Num, Op, Panel, Simd, Vector, unrolled};

/// Computes the layer if it is of this kind; its slices fit.
#[inline(always)]
pub(crate) fn depthwise<S: Simd, K: Arith, P: Panel>(s: S, layer: &mut Depthwise<'_, K, P>) -> bool {
    let flat = layer.kernel[0] == 1 && layer.padding[0] == 0 && layer.dilation[1..] == [1, 1];
    if K::REQUANTIZED || !flat {
        return false;
    }
    match (layer.kernel[1], layer.kernel[2], layer.stride[2]) {
        (3, 3, 1) => planes::<S, K, P, 3, 1>(s, layer),
        (3, 3, 2) => planes::<S, K, P, 3, 2>(s, layer),
        (5, 5, 1) => planes::<S, K, P, 5, 1>(s, layer),
        (5, 5, 2) => planes::<S, K, P, 5, 2>(s, layer),
        _ => return false,
    }
    true
}

#[inline(always)]
fn planes<S: Simd, K: Arith, P: Panel, const KERNEL: usize, const STEP: usize>(s: S, l: &mut Depthwise<'_, K, P>) {
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
            for block in 0..l.channels.div_ceil(P::WIDTH) {
                let channels = block * P::WIDTH;
                s.outline(Band::<K, P, KERNEL, STEP> {
                    x: l.x,
                    weights: P::rows(l.weights),
                    epilogue: &epilogue,
                    y: &mut *l.y,
                    rows: [rows.start, rows.end],
                    block: [block, l.channels.div_ceil(P::WIDTH)],
                    end: l.channels,
                    size: [l.size[1], l.size[2]],
                    columns: l.out[2],
                    padding: [l.padding[1], l.padding[2]],
                    step: l.stride[1],
                    x_first: image * l.x_strides[0] + d * l.stride[0] * l.x_strides[1] + channels,
                    x_steps: [l.x_strides[2], l.x_strides[3]],
                    y_first: image * l.y_strides[0] + d * l.y_strides[1],
                    y_steps: [l.y_strides[2], l.y_strides[3]],
                });
            }
        }
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
    /// Of the channels.
    end: usize,
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
        match self.end - self.block[0] * P::WIDTH {
            width if width < P::WIDTH => self.all(s, width),
            _ => self.all(s, P::WIDTH),
        }
    }
}

impl<K: Arith, P: Panel, const KERNEL: usize, const STEP: usize> Band<'_, K, P, KERNEL, STEP> {
    #[inline(always)]
    fn all<S: Simd>(&mut self, s: S, width: usize) {
        let weights = self.weights(s);
        let epilogue = self.epilogue.prepare::<S, P, 1>(s, self.block[0] * P::WIDTH, self.end);
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
                epilogue.write(s, &sums, self.y, offsets);
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
        let zero_point = self.epilogue.zero_points::<S, P, 1>(s, self.block[0] * P::WIDTH)[0];
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
            unrolled!((OUTPUTS - 1) * STEP + KERNEL, j, {
                if inside(j) {
                    let x = K::inputs::<S, P>(s, x(h, j));
                    unrolled!(OUTPUTS, t, {
                        if t * STEP <= j && j - t * STEP < KERNEL {
                            sums[t][0] = x.mul_add(s, weights[h][j - t * STEP], sums[t][0]);
                        }
                    });
                }
            });
        }
    });
    sums
}
