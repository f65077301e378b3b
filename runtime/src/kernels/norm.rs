//! Layer and group normalization: mean and variance of a slice, then `(x - mean) * rstd * weight + bias`.
//!
//! The variance is that of the population and taken in two passes, like [`super::reduce::Var`]. Weight and bias are
//! empty slices when absent. Instance normalization is group normalization with one channel per group.

use super::num::{Float, Real, Wide, holds};
use super::reduce::{Distance, WideSum, row};
use crate::{Op, Simd};

/// Normalizes each row of `x: [rows, n]`.
#[derive(Debug)]
pub struct LayerNorm<'a, T: Float> {
    /// `[rows, n]`.
    pub x: &'a [T],
    /// `[rows, n]`.
    pub y: &'a mut [T],
    /// `[n]` or empty.
    pub weight: &'a [T],
    /// `[n]` or empty.
    pub bias: &'a [T],
    /// Rows.
    pub rows: usize,
    /// Elements normalized together.
    pub n: usize,
    /// Added to the variance.
    pub eps: f64,
}

impl<T: Float> Op for LayerNorm<'_, T> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        let (rows, n) = (self.rows, self.n);
        let optional = |len: usize, dim: usize| len == 0 || len == dim;
        if !holds(self.x.len(), &[rows, n])
            || self.x.len() != self.y.len()
            || !optional(self.weight.len(), n)
            || !optional(self.bias.len(), n)
        {
            return;
        }
        let eps = T::Wide::from_f64(self.eps);
        for (x, y) in self.x.chunks_exact(n.max(1)).zip(self.y.chunks_exact_mut(n.max(1))) {
            let (mean, rstd) = statistics(s, x, eps);
            affine(x, y, mean, rstd, self.weight, self.bias);
        }
    }
}

/// Normalizes groups of channels of `x: [batch, groups * channels, spatial]`.
#[derive(Debug)]
pub struct GroupNorm<'a, T: Float> {
    /// `[batch, groups, channels, spatial]`.
    pub x: &'a [T],
    /// Like `x`.
    pub y: &'a mut [T],
    /// `[groups * channels]` or empty.
    pub weight: &'a [T],
    /// `[groups * channels]` or empty.
    pub bias: &'a [T],
    /// Outermost dim.
    pub batch: usize,
    /// Groups.
    pub groups: usize,
    /// Channels of one group.
    pub channels: usize,
    /// Positions.
    pub spatial: usize,
    /// Added to the variance.
    pub eps: f64,
}

impl<T: Float> Op for GroupNorm<'_, T> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        let (batch, groups, channels, spatial) = (self.batch, self.groups, self.channels, self.spatial);
        let affine = |len: usize| len == 0 || holds(len, &[groups, channels]);
        if !holds(self.x.len(), &[batch, groups, channels, spatial])
            || self.x.len() != self.y.len()
            || !affine(self.weight.len())
            || !affine(self.bias.len())
        {
            return;
        }
        let eps = T::Wide::from_f64(self.eps);
        let n = channels.saturating_mul(spatial).max(1);
        for (i, (x, y)) in self.x.chunks_exact(n).zip(self.y.chunks_exact_mut(n)).enumerate() {
            let (mean, rstd) = statistics(s, x, eps);
            let first = i.checked_rem(groups).unwrap_or(0).saturating_mul(channels);
            let pixels = spatial.max(1);
            for (c, (x, y)) in x.chunks_exact(pixels).zip(y.chunks_exact_mut(pixels)).enumerate() {
                let weight = self.weight.get(first.saturating_add(c)).map_or(T::Wide::ONE, |w| w.widen());
                let bias = self.bias.get(first.saturating_add(c)).map_or(T::Wide::ZERO, |b| b.widen());
                let scale = rstd.mul(weight);
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = T::narrow(x.widen().sub(mean).mul(scale).add(bias));
                }
            }
        }
    }
}

/// Mean and `1 / sqrt(var + eps)`.
#[inline(always)]
fn statistics<T: Float, S: Simd>(s: S, x: &[T], eps: T::Wide) -> (T::Wide, T::Wide) {
    let n = T::Wide::from_usize(x.len());
    let mean = row(s, WideSum, x).div(n);
    let var = row(s, Distance(mean), x).div(n);
    (mean, T::Wide::ONE.div(var.add(eps).sqrt()))
}

/// `(x - mean) * rstd * weight + bias`, absent operands being empty.
#[inline(always)]
fn affine<T: Float>(x: &[T], y: &mut [T], mean: T::Wide, rstd: T::Wide, weight: &[T], bias: &[T]) {
    let normal = |x: T| x.widen().sub(mean).mul(rstd);
    let rows = y.iter_mut().zip(x);
    match (weight.is_empty(), bias.is_empty()) {
        (true, true) => rows.for_each(|(y, &x)| *y = T::narrow(normal(x))),
        (false, true) => rows.zip(weight).for_each(|((y, &x), w)| *y = T::narrow(normal(x).mul(w.widen()))),
        (true, false) => rows.zip(bias).for_each(|((y, &x), b)| *y = T::narrow(normal(x).add(b.widen()))),
        (false, false) => {
            for (((y, &x), w), b) in rows.zip(weight).zip(bias) {
                *y = T::narrow(normal(x).mul(w.widen()).add(b.widen()));
            }
        }
    }
}
