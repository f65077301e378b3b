//! Softmax and its logarithm along the middle dim of `[outer, n, inner]`.
//!
//! Three passes: maximum, sum of `exp(x - max)`, results. The exponentials are kept in `y` between the passes when
//! the element is its own wide type, else computed again, since rounding them to half precision first would double the error.

use super::num::{Float, Real, Wide, holds};
use super::reduce::{ExpSum, LANES, WideMax, columns, row};
use crate::{Op, Simd};

/// `exp(x - max) / sum(exp(x - max))`.
#[derive(Debug)]
pub struct Softmax<'a, T: Float> {
    /// `[outer, n, inner]`.
    pub x: &'a [T],
    /// `[outer, n, inner]`.
    pub y: &'a mut [T],
    /// Dims before the normalized one.
    pub outer: usize,
    /// The normalized dim.
    pub n: usize,
    /// Dims after it.
    pub inner: usize,
}

/// `x - max - log(sum(exp(x - max)))`.
#[derive(Debug)]
pub struct LogSoftmax<'a, T: Float> {
    /// `[outer, n, inner]`.
    pub x: &'a [T],
    /// `[outer, n, inner]`.
    pub y: &'a mut [T],
    /// Dims before the normalized one.
    pub outer: usize,
    /// The normalized dim.
    pub n: usize,
    /// Dims after it.
    pub inner: usize,
}

impl<T: Float> Op for Softmax<'_, T> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        if !holds(self.x.len(), &[self.outer, self.n, self.inner]) || self.x.len() != self.y.len() {
            return;
        }
        if self.inner == 1 {
            let n = self.n.max(1);
            for (x, y) in self.x.chunks_exact(n).zip(self.y.chunks_exact_mut(n)) {
                softmax_row(s, x, y);
            }
        } else {
            by_columns(s, self.x, self.y, [self.n, self.inner], |x, max, sum| x.sub(max).exp(s).div(sum));
        }
    }
}

impl<T: Float> Op for LogSoftmax<'_, T> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        if !holds(self.x.len(), &[self.outer, self.n, self.inner]) || self.x.len() != self.y.len() {
            return;
        }
        if self.inner == 1 {
            let n = self.n.max(1);
            for (x, y) in self.x.chunks_exact(n).zip(self.y.chunks_exact_mut(n)) {
                let max = row(s, WideMax, x);
                // PyTorch keeps sum and logarithm in the type of the elements, along the last dim only.
                let sum = T::narrow(row(s, ExpSum(max), x)).widen();
                let log = T::narrow(sum.ln(s)).widen();
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = T::narrow(x.widen().sub(max).sub(log));
                }
            }
        } else {
            by_columns(s, self.x, self.y, [self.n, self.inner], |x, max, sum| x.sub(max).sub(sum.ln(s)));
        }
    }
}

#[inline(always)]
fn softmax_row<T: Float, S: Simd>(s: S, x: &[T], y: &mut [T]) {
    let max = row(s, WideMax, x);
    if T::EXACT {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = T::narrow(x.widen().sub(max).exp(s));
        }
        let scale = T::Wide::ONE.div(row(s, super::reduce::WideSum, y));
        for y in y {
            *y = T::narrow(y.widen().mul(scale));
        }
    } else {
        let sum = row(s, ExpSum(max), x);
        for (y, &x) in y.iter_mut().zip(x) {
            *y = T::narrow(x.widen().sub(max).exp(s).div(sum));
        }
    }
}

/// Applies `finish(x, max, sum of exponentials)` with the statistics of each column.
#[inline(always)]
fn by_columns<T: Float, S: Simd>(
    s: S,
    x: &[T],
    y: &mut [T],
    [n, inner]: [usize; 2],
    finish: impl Fn(T::Wide, T::Wide, T::Wide) -> T::Wide,
) {
    let (slab, inner) = (n.saturating_mul(inner).max(1), inner.max(1));
    for (x, y) in x.chunks_exact(slab).zip(y.chunks_exact_mut(slab)) {
        for first in (0..inner).step_by(LANES) {
            let max = columns(s, &[WideMax; LANES], x, inner, first);
            let sum = columns(s, &max.map(ExpSum), x, inner, first);
            for (x, y) in x.chunks_exact(inner).zip(y.chunks_exact_mut(inner)) {
                let x = x.get(first..).unwrap_or_default();
                let y = y.get_mut(first..).unwrap_or_default();
                for (((y, &x), &max), &sum) in y.iter_mut().zip(x).zip(&max).zip(&sum) {
                    *y = T::narrow(finish(x.widen(), max, sum));
                }
            }
        }
    }
}
