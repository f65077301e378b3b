//! Cumulative operations along the middle dim of `[outer, n, inner]`.
//!
//! Running sums of floats are compensated (Kahan), since torch accumulates them in double precision; the code between the
//! sums must therefore not be reordered, which Rust guarantees.

use super::num::{Float, Number, Real, Wide, holds};
use super::reduce::LANES;
use crate::{Element, Op, Simd};

/// A state that takes elements and gives one result per element.
trait Rule<T: Element>: Copy {
    type Out: Copy;
    fn next<S: Simd>(&mut self, s: S, x: T, k: usize) -> Self::Out;
}

/// Runs `rule` down every column, 16 side by side, and hands results to `put(element, result)`.
#[inline(always)]
fn scan<T: Element, R: Rule<T>, S: Simd>(
    s: S,
    rule: R,
    x: &[T],
    [n, inner]: [usize; 2],
    mut put: impl FnMut(usize, R::Out),
) {
    let inner = inner.max(1);
    let slab = n.saturating_mul(inner).max(1);
    for (o, x) in x.chunks_exact(slab).enumerate() {
        for first in (0..inner).step_by(LANES) {
            let mut state = [rule; LANES];
            for (k, line) in x.chunks_exact(inner).enumerate() {
                let at = o.saturating_mul(slab).saturating_add(k.saturating_mul(inner)).saturating_add(first);
                let line = line.get(first..).unwrap_or_default();
                for (lane, (state, &x)) in state.iter_mut().zip(line).enumerate() {
                    put(at.saturating_add(lane), state.next(s, x, k));
                }
            }
        }
    }
}

macro_rules! scans {
    ($($(#[$doc:meta])* $name:ident: $bound:ident, $rule:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name<'a, T: $bound> {
            /// `[outer, n, inner]`.
            pub x: &'a [T],
            /// `[outer, n, inner]`.
            pub y: &'a mut [T],
            /// Dims before the scanned one.
            pub outer: usize,
            /// The scanned dim.
            pub n: usize,
            /// Dims after it.
            pub inner: usize,
        }

        impl<T: $bound> Op for $name<'_, T> {
            type Output = ();
            #[inline(always)]
            fn call<S: Simd>(self, s: S) {
                let $name { x, y, outer, n, inner } = self;
                if !holds(x.len(), &[outer, n, inner]) || x.len() != y.len() {
                    return;
                }
                scan(s, $rule, x, [n, inner], |at, value| {
                    if let Some(y) = y.get_mut(at) {
                        *y = T::narrow(value);
                    }
                });
            }
        }
    )*};
}

scans! {
    /// Running sum.
    CumSum: Number, SumState { sum: T::Wide::ZERO, lost: T::Wide::ZERO };
    /// Running product.
    CumProd: Number, ProdState(T::Wide::ONE);
    /// Running `log(sum(exp(x)))`.
    LogCumSumExp: Float, LogState(T::Wide::LOWEST);
}

#[derive(Clone, Copy)]
struct SumState<W> {
    sum: W,
    /// What rounding took from `sum`.
    lost: W,
}

impl<T: Number> Rule<T> for SumState<T::Wide> {
    type Out = T::Wide;
    #[inline(always)]
    fn next<S: Simd>(&mut self, _s: S, x: T, _k: usize) -> T::Wide {
        let x = x.widen().sub(self.lost);
        let sum = self.sum.add(x);
        let lost = sum.sub(self.sum).sub(x);
        self.lost = if sum.is_finite() { lost } else { T::Wide::ZERO };
        self.sum = sum;
        sum
    }
}

#[derive(Clone, Copy)]
struct ProdState<W>(W);

impl<T: Number> Rule<T> for ProdState<T::Wide> {
    type Out = T::Wide;
    #[inline(always)]
    fn next<S: Simd>(&mut self, _s: S, x: T, _k: usize) -> T::Wide {
        self.0 = self.0.mul(x.widen());
        self.0
    }
}

#[derive(Clone, Copy)]
struct LogState<W>(W);

impl<T: Float> Rule<T> for LogState<T::Wide> {
    type Out = T::Wide;
    #[inline(always)]
    fn next<S: Simd>(&mut self, s: S, x: T, _k: usize) -> T::Wide {
        let x = x.widen();
        let (low, high) = (self.0.min(x), self.0.max(x));
        // Equal infinities would give NaN.
        let infinite = low == high && !low.is_finite();
        self.0 = if infinite { x } else { low.sub(high).exp(s).ln_1p(s).add(high) };
        self.0
    }
}

macro_rules! extrema {
    ($($(#[$doc:meta])* $name:ident, $wins:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name<'a, T: Number> {
            /// `[outer, n, inner]`.
            pub x: &'a [T],
            /// `[outer, n, inner]`.
            pub values: &'a mut [T],
            /// `[outer, n, inner]`.
            pub indices: &'a mut [i64],
            /// Dims before the scanned one.
            pub outer: usize,
            /// The scanned dim.
            pub n: usize,
            /// Dims after it.
            pub inner: usize,
        }

        impl<T: Number> Op for $name<'_, T> {
            type Output = ();
            #[inline(always)]
            fn call<S: Simd>(self, s: S) {
                let $name { x, values, indices, outer, n, inner } = self;
                if !holds(x.len(), &[outer, n, inner]) || x.len() != values.len() || x.len() != indices.len() {
                    return;
                }
                let wins: fn(T::Wide, T::Wide) -> bool = $wins;
                scan(s, BestState { best: None, wins }, x, [n, inner], |at, (value, k)| {
                    if let (Some(v), Some(i)) = (values.get_mut(at), indices.get_mut(at)) {
                        (*v, *i) = (T::narrow(value), k as i64);
                    }
                });
            }
        }
    )*};
}

extrema! {
    /// Running maximum and where it last stood; a NaN stays.
    CumMax, |new, old| new >= old;
    /// Running minimum and where it last stood; a NaN stays.
    CumMin, |new, old| new <= old;
}

#[derive(Clone, Copy)]
struct BestState<W> {
    best: Option<(W, usize)>,
    wins: fn(W, W) -> bool,
}

impl<T: Number> Rule<T> for BestState<T::Wide> {
    type Out = (T::Wide, usize);
    #[inline(always)]
    fn next<S: Simd>(&mut self, _s: S, x: T, k: usize) -> (T::Wide, usize) {
        let new = (x.widen(), k);
        let best = match self.best {
            Some(old) if !(new.0.is_nan() || (!old.0.is_nan() && (self.wins)(new.0, old.0))) => old,
            _ => new,
        };
        self.best = Some(best);
        best
    }
}
