//! Sorting and selection along the rows of `[rows, n]`.
//!
//! A heap of positions, ordered by value and then by position: the order is total, so the result is stable whatever the
//! algorithm, and neither a heap allocation nor a comparison that could panic is needed. NaN counts as the greatest value.

use super::num::{Number, Wide, holds};
use crate::{Op, Simd};

/// Sorted values and the positions they came from.
#[derive(Debug)]
pub struct Sort<'a, T: Number> {
    /// `[rows, n]`.
    pub x: &'a [T],
    /// `[rows, n]`.
    pub values: &'a mut [T],
    /// `[rows, n]`.
    pub indices: &'a mut [i64],
    /// Rows.
    pub rows: usize,
    /// Elements of a row.
    pub n: usize,
    /// Greatest first.
    pub descending: bool,
}

impl<T: Number> Op for Sort<'_, T> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        let Sort { x, values, indices, rows, n, descending } = self;
        TopK { x, values, indices, rows, n, k: n, largest: descending }.call(s);
    }
}

/// The `k` greatest (or least) values in order, and the positions they came from.
#[derive(Debug)]
pub struct TopK<'a, T: Number> {
    /// `[rows, n]`.
    pub x: &'a [T],
    /// `[rows, k]`.
    pub values: &'a mut [T],
    /// `[rows, k]`.
    pub indices: &'a mut [i64],
    /// Rows.
    pub rows: usize,
    /// Elements of a row.
    pub n: usize,
    /// Elements of a result row, at most `n`.
    pub k: usize,
    /// Greatest first, or least first.
    pub largest: bool,
}

impl<T: Number> Op for TopK<'_, T> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, _s: S) {
        let (rows, n, k) = (self.rows, self.n, self.k);
        if !holds(self.x.len(), &[rows, n])
            || !holds(self.values.len(), &[rows, k])
            || self.values.len() != self.indices.len()
            || k > n
        {
            return;
        }
        let results = self.values.chunks_exact_mut(k.max(1)).zip(self.indices.chunks_exact_mut(k.max(1)));
        for (x, (values, indices)) in self.x.chunks_exact(n.max(1)).zip(results) {
            // Comparison by function pointer keeps one copy of the loops for both directions.
            let ahead = if self.largest { T::Wide::above } else { T::Wide::before };
            select(x, indices, Order { x, ahead });
            for (v, &i) in values.iter_mut().zip(indices.iter()) {
                if let Some(&x) = x.get(i as usize) {
                    *v = x;
                }
            }
        }
    }
}

struct Order<'a, T: Number> {
    x: &'a [T],
    ahead: fn(T::Wide, T::Wide) -> bool,
}

impl<T: Number> Clone for Order<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Number> Copy for Order<'_, T> {}

impl<T: Number> Order<'_, T> {
    /// Whether position `a` comes before position `b`.
    #[inline(always)]
    fn first(self, a: i64, b: i64) -> bool {
        match (self.x.get(a as usize), self.x.get(b as usize)) {
            (Some(x), Some(y)) => {
                let (x, y) = (x.widen(), y.widen());
                (self.ahead)(x, y) || (!(self.ahead)(y, x) && a < b)
            }
            _ => false,
        }
    }
}

/// Fills `heap` with the positions that come first, in order.
#[inline(always)]
fn select<T: Number>(x: &[T], heap: &mut [i64], order: Order<'_, T>) {
    for (i, slot) in heap.iter_mut().enumerate() {
        *slot = i as i64;
    }
    for parent in (0..heap.len() / 2).rev() {
        sift(heap, parent, order);
    }
    for new in heap.len()..x.len() {
        if let Some(last) = heap.first_mut()
            && order.first(new as i64, *last)
        {
            *last = new as i64;
            sift(heap, 0, order);
        }
    }
    for end in (1..heap.len()).rev() {
        if let Ok([a, b]) = heap.get_disjoint_mut([0, end]) {
            core::mem::swap(a, b);
        }
        sift(heap.get_mut(..end).unwrap_or_default(), 0, order);
    }
}

/// Moves the element at `parent` down until no child comes after it: the root is the last in order.
#[inline(always)]
fn sift<T: Number>(heap: &mut [i64], mut parent: usize, order: Order<'_, T>) {
    loop {
        let left = 2 * parent + 1;
        let Some(&l) = heap.get(left) else { return };
        let child = match heap.get(left + 1) {
            Some(&r) if order.first(l, r) => left + 1,
            _ => left,
        };
        match heap.get_disjoint_mut([parent, child]) {
            Ok([p, c]) if order.first(*p, *c) => core::mem::swap(p, c),
            _ => return,
        }
        parent = child;
    }
}
