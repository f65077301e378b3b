//! Linear layers on f32 whose weights are integers of 8 or 4 bits with a scale and a zero point per group of inputs.
//!
//! `y[n] = sum over groups g of scale[n, g] * (sum over k in g of x[k] * (w[n, k] - zero[n, g])) + bias[n]`. A group's sum is
//! taken over the stored integers and `zero * sum of x` subtracted from it, so a weight costs one conversion and one
//! multiply-add. Sums run over the inputs in order, in f32.

use crate::{Op, Simd};

/// Weights of one row of a panel.
pub trait Weights<const WIDTH: usize>: Copy {
    /// Bytes of a row.
    const BYTES: usize;
    /// The integers of a row.
    fn row(bytes: &[u8]) -> [f32; WIDTH];
}

/// One signed byte each.
#[derive(Clone, Copy, Debug)]
pub struct Bytes;

/// Four bits each, 8 more than the integer: byte `j` of a row holds column `j` in its lower half and column `j + WIDTH / 2` in
/// its upper one.
#[derive(Clone, Copy, Debug)]
pub struct Nibbles;

impl<const WIDTH: usize> Weights<WIDTH> for Bytes {
    const BYTES: usize = WIDTH;
    #[inline(always)]
    fn row(bytes: &[u8]) -> [f32; WIDTH] {
        let mut row = [0.0; WIDTH];
        row.iter_mut().zip(bytes).for_each(|(w, b)| *w = f32::from(*b as i8));
        row
    }
}

impl<const WIDTH: usize> Weights<WIDTH> for Nibbles {
    const BYTES: usize = WIDTH / 2;
    #[inline(always)]
    fn row(bytes: &[u8]) -> [f32; WIDTH] {
        let mut row = [0.0; WIDTH];
        let (low, high) = row.split_at_mut(WIDTH / 2);
        low.iter_mut().zip(bytes).for_each(|(w, b)| *w = f32::from((b & 15) as i8 - 8));
        high.iter_mut().zip(bytes).for_each(|(w, b)| *w = f32::from((b >> 4) as i8 - 8));
        row
    }
}

/// See the module; if a slice is too short for the geometry, nothing is written.
#[derive(Debug)]
pub struct Linear<'a, W: Weights<WIDTH>, const WIDTH: usize> {
    /// Rows of `inner` inputs.
    pub x: &'a [f32],
    /// `[panel][inner]` rows.
    pub weights: &'a [u8],
    /// `[panel][group][WIDTH]`.
    pub scale: &'a [f32],
    /// `[panel][group][WIDTH]`.
    pub zero_point: &'a [f32],
    /// Per column.
    pub bias: Option<&'a [f32]>,
    /// Rows of `columns` results.
    pub y: &'a mut [f32],
    /// How many.
    pub rows: usize,
    /// Inputs of a row.
    pub inner: usize,
    /// Results of a row.
    pub columns: usize,
    /// Distance of rows of `x`.
    pub x_stride: usize,
    /// Distance of rows of `y`.
    pub y_stride: usize,
    /// Inputs of a group.
    pub group: usize,
    /// How weights are stored.
    pub stored: W,
}

impl<W: Weights<WIDTH>, const WIDTH: usize> Op for Linear<'_, W, WIDTH> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, _s: S) {
        let _ = self.stored;
        let (group, bytes) = (self.group.max(1), (self.inner * W::BYTES).max(1));
        let numbers = (self.inner.div_ceil(group) * WIDTH).max(1);
        for row in 0..self.rows {
            let x = self.x.get(row * self.x_stride..).and_then(|x| x.get(..self.inner));
            let y = self.y.get_mut(row * self.y_stride..).and_then(|y| y.get_mut(..self.columns));
            let (Some(x), Some(y)) = (x, y) else { return };
            let panels = self.weights.chunks_exact(bytes).zip(self.scale.chunks_exact(numbers));
            let panels = panels.zip(self.zero_point.chunks_exact(numbers));
            for (p, (y, ((weights, scale), zero))) in y.chunks_mut(WIDTH.max(1)).zip(panels).enumerate() {
                let mut sums = [0.0f32; WIDTH];
                let groups = x.chunks(group).zip(weights.chunks(group * W::BYTES.max(1)));
                let numbers = scale.as_chunks::<WIDTH>().0.iter().zip(zero.as_chunks::<WIDTH>().0);
                for ((x, weights), (scale, zero)) in groups.zip(numbers) {
                    let (mut part, mut inputs) = ([0.0f32; WIDTH], 0.0);
                    for (x, weights) in x.iter().zip(weights.chunks_exact(W::BYTES.max(1))) {
                        inputs += x;
                        part.iter_mut().zip(W::row(weights)).for_each(|(sum, w)| *sum += x * w);
                    }
                    for ((sum, part), (scale, zero)) in sums.iter_mut().zip(part).zip(scale.iter().zip(zero)) {
                        *sum += scale * (part - zero * inputs);
                    }
                }
                let bias = self.bias.and_then(|b| b.get(p * WIDTH..)).unwrap_or_default();
                y.iter_mut().zip(sums).for_each(|(y, sum)| *y = sum);
                y.iter_mut().zip(bias).for_each(|(y, bias)| *y += bias);
            }
        }
    }
}
