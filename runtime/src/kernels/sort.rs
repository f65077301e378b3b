//! Sorting and selection along the rows of `[rows, n]`. NaN counts as the greatest value.
//!
//! Positions are moved, and the values fetched at the end: neither a heap allocation nor a comparison that could panic is
//! needed. Where elements are equal, positions come as PyTorch's CPU kernels give them, which call libstdc++'s `std::sort`,
//! `std::nth_element` and `std::partial_sort` and for `kthvalue` a quickselect of their own: the algorithms here make the
//! same comparisons and exchanges. A stable order is `std::sort` with ties broken by position.

use super::num::{Number, Wide, holds};
use crate::{Op, Simd};

/// What is made of a row, and the order among equal elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Sorted; equal elements keep their order.
    Stable,
    /// Sorted, as `std::sort` of libstdc++ does it.
    Std,
    /// Only this entry is what it would be, as ATen's `quick_select_template` finds it; lesser ones before, greater after.
    Select(usize),
}

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
    /// How.
    pub method: Method,
}

impl<T: Number> Op for Sort<'_, T> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, _s: S) {
        let Sort { x, values, indices, rows, n, descending, method } = self;
        if !holds(x.len(), &[rows, n]) || values.len() != x.len() || indices.len() != x.len() {
            return;
        }
        let results = values.chunks_exact_mut(n.max(1)).zip(indices.chunks_exact_mut(n.max(1)));
        for (x, (values, indices)) in x.chunks_exact(n.max(1)).zip(results) {
            let mut row = Positions::new(x, indices, descending, method == Method::Stable);
            match method {
                Method::Stable | Method::Std => row.sort(n),
                Method::Select(k) => row.quick_select(k),
            }
            fetch(x, indices, values);
        }
    }
}

/// The `k` greatest (or least) values, and the positions they came from.
#[derive(Debug)]
pub struct TopK<'a, T: Number> {
    /// `[rows, n]`.
    pub x: &'a [T],
    /// `[rows, k]`.
    pub values: &'a mut [T],
    /// `[rows, k]`.
    pub indices: &'a mut [i64],
    /// `[n]`, unless `k * 64 <= n`: then a heap of `k` does.
    pub scratch: &'a mut [i64],
    /// Rows.
    pub rows: usize,
    /// Elements of a row.
    pub n: usize,
    /// Elements of a result row, at most `n`.
    pub k: usize,
    /// The greatest, or the least.
    pub largest: bool,
    /// In order.
    pub sorted: bool,
}

impl<T: Number> Op for TopK<'_, T> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, _s: S) {
        let TopK { x, values, indices, scratch, rows, n, k, largest, sorted } = self;
        let heap = is_by_heap(n, k);
        if !holds(x.len(), &[rows, n])
            || !holds(values.len(), &[rows, k])
            || values.len() != indices.len()
            || k > n
            || k == 0
            || !(heap || scratch.len() >= n)
        {
            return;
        }
        let results = values.chunks_exact_mut(k).zip(indices.chunks_exact_mut(k));
        for (x, (values, indices)) in x.chunks_exact(n).zip(results) {
            if heap {
                Positions::new(x, indices, largest, false).partial_sort(n);
            } else {
                let all = scratch.get_mut(..n).unwrap_or_default();
                let mut row = Positions::new(x, all, largest, false);
                row.nth_element(k - 1);
                if sorted {
                    row.sort(k - 1);
                }
                for (to, from) in indices.iter_mut().zip(all.iter()) {
                    *to = *from;
                }
            }
            fetch(x, indices, values);
        }
    }
}

/// Whether PyTorch finds the first `k` of `n` by `std::partial_sort`.
pub const fn is_by_heap(n: usize, k: usize) -> bool {
    k.saturating_mul(64) <= n
}

fn fetch<T: Number>(x: &[T], indices: &[i64], values: &mut [T]) {
    for (value, &i) in values.iter_mut().zip(indices) {
        if let Some(&x) = x.get(i as usize) {
            *value = x;
        }
    }
}

/// Positions of a row on their way into order.
struct Positions<'a, T: Number> {
    x: &'a [T],
    at: &'a mut [i64],
    // A function pointer keeps one copy of the loops for both directions.
    ahead: fn(T::Wide, T::Wide) -> bool,
    stable: bool,
}

/// Below this `std::sort` leaves the rest to insertion.
const SMALL: usize = 16;

impl<'a, T: Number> Positions<'a, T> {
    fn new(x: &'a [T], at: &'a mut [i64], descending: bool, stable: bool) -> Self {
        for (i, slot) in at.iter_mut().enumerate() {
            *slot = i as i64;
        }
        Positions { x, at, ahead: if descending { T::Wide::above } else { T::Wide::before }, stable }
    }

    /// Whether position `a` comes before position `b`.
    fn first(&self, a: i64, b: i64) -> bool {
        match (self.x.get(a as usize), self.x.get(b as usize)) {
            (Some(x), Some(y)) => {
                let (x, y) = (x.widen(), y.widen());
                (self.ahead)(x, y) || (self.stable && a < b && !(self.ahead)(y, x))
            }
            _ => false,
        }
    }

    fn get(&self, place: usize) -> i64 {
        self.at.get(place).copied().unwrap_or(-1)
    }

    fn set(&mut self, place: usize, position: i64) {
        if let Some(slot) = self.at.get_mut(place) {
            *slot = position;
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        let (first, second) = (self.get(a), self.get(b));
        self.set(a, second);
        self.set(b, first);
    }

    /// Whether the entry at place `a` comes before that at place `b`.
    fn less(&self, a: usize, b: usize) -> bool {
        self.first(self.get(a), self.get(b))
    }

    /// `std::sort` of the first `n`.
    fn sort(&mut self, n: usize) {
        // Parts yet to be sorted. The greater part waits, so that there are never more than bits in a length; which part
        // comes first changes nothing.
        let mut waiting = [(0usize, 0usize, 0u32); 32];
        let mut count = 0;
        let (mut from, mut to, mut depth) = (0, n, 2 * n.max(1).ilog2());
        loop {
            while to - from > SMALL {
                if depth == 0 {
                    self.heap_sort(from, to);
                    break;
                }
                depth -= 1;
                let cut = self.partition(from, to);
                let (near, far) =
                    if cut - from < to - cut { ((from, cut), (cut, to)) } else { ((cut, to), (from, cut)) };
                match waiting.get_mut(count) {
                    Some(slot) => *slot = (far.0, far.1, depth),
                    None => return self.heap_sort(from, to),
                }
                count += 1;
                (from, to) = near;
            }
            count = match count.checked_sub(1) {
                Some(left) => left,
                None => break,
            };
            (from, to, depth) = waiting.get(count).copied().unwrap_or_default();
        }
        self.insert(0, n);
    }

    /// `std::nth_element` over all.
    fn nth_element(&mut self, nth: usize) {
        let (mut from, mut to) = (0, self.at.len());
        let mut depth = 2 * to.max(1).ilog2();
        while to - from > 3 {
            if depth == 0 {
                self.heap_select(from, nth + 1, to);
                return self.swap(from, nth);
            }
            depth -= 1;
            let cut = self.partition(from, to);
            if cut <= nth {
                from = cut;
            } else {
                to = cut;
            }
        }
        self.insert(from, to);
    }

    /// `std::partial_sort`: those of all `n` positions that come first fill the slice.
    fn partial_sort(&mut self, n: usize) {
        let k = self.at.len();
        self.make_heap(0, k);
        for new in k..n {
            // What leaves the heap is not looked at again.
            if self.first(new as i64, self.get(0)) {
                self.sink(0, 0, k, new as i64);
            }
        }
        self.sort_heap(0, k);
    }

    /// Insertion sort.
    fn insert(&mut self, from: usize, to: usize) {
        for i in from + 1..to {
            let new = self.get(i);
            let mut place = i;
            while place > from && self.first(new, self.get(place - 1)) {
                self.set(place, self.get(place - 1));
                place -= 1;
            }
            self.set(place, new);
        }
    }

    /// `__unguarded_partition_pivot`: the pivot is the median of the second, middle and last entry.
    fn partition(&mut self, from: usize, to: usize) -> usize {
        let (a, b, c) = (from + 1, from + (to - from) / 2, to - 1);
        let median = match (self.less(a, b), self.less(b, c), self.less(a, c)) {
            (true, true, _) | (false, false, false) => b,
            (true, false, true) | (false, true, false) => c,
            _ => a,
        };
        self.swap(from, median);
        let (mut left, mut right) = (from + 1, to);
        loop {
            while left < to && self.less(left, from) {
                left += 1;
            }
            right -= 1;
            while right > from && self.less(from, right) {
                right -= 1;
            }
            if left >= right {
                return left;
            }
            self.swap(left, right);
            left += 1;
        }
    }

    /// `__adjust_heap` of the heap `[from, from + len)`: `value` takes the hole's place, or one below it.
    fn sink(&mut self, from: usize, hole: usize, len: usize, value: i64) {
        let (top, mut hole) = (hole, hole);
        // Down to a leaf along the children that come last, then up again.
        loop {
            let right = 2 * hole + 2;
            let child = if right < len {
                if self.less(from + right, from + right - 1) { right - 1 } else { right }
            } else if right == len {
                right - 1
            } else {
                break;
            };
            self.set(from + hole, self.get(from + child));
            hole = child;
        }
        while hole > top {
            let parent = (hole - 1) / 2;
            if !self.first(self.get(from + parent), value) {
                break;
            }
            self.set(from + hole, self.get(from + parent));
            hole = parent;
        }
        self.set(from + hole, value);
    }

    fn make_heap(&mut self, from: usize, to: usize) {
        for parent in (0..(to - from) / 2).rev() {
            self.sink(from, parent, to - from, self.get(from + parent));
        }
    }

    fn sort_heap(&mut self, from: usize, to: usize) {
        for last in (from + 1..to).rev() {
            let value = self.get(last);
            self.set(last, self.get(from));
            self.sink(from, 0, last - from, value);
        }
    }

    fn heap_sort(&mut self, from: usize, to: usize) {
        self.make_heap(from, to);
        self.sort_heap(from, to);
    }

    /// `__heap_select`: those of `[from, to)` that come first become a heap in `[from, middle)`.
    fn heap_select(&mut self, from: usize, middle: usize, to: usize) {
        self.make_heap(from, middle);
        for i in middle..to {
            if self.less(i, from) {
                let value = self.get(i);
                self.set(i, self.get(from));
                self.sink(from, 0, middle - from, value);
            }
        }
    }

    /// ATen's `quick_select_template`.
    fn quick_select(&mut self, k: usize) {
        let (mut left, mut right) = (0, self.at.len().saturating_sub(1));
        while left < right {
            if right == left + 1 {
                if self.less(right, left) {
                    self.swap(left, right);
                }
                return;
            }
            self.swap(left + (right - left) / 2, left + 1);
            for (a, b) in [(left + 1, right), (left, right), (left + 1, left)] {
                if self.less(b, a) {
                    self.swap(a, b);
                }
            }
            let (mut i, mut j) = (left + 1, right);
            loop {
                i += 1;
                while i < right && self.less(i, left) {
                    i += 1;
                }
                j -= 1;
                while j > left && self.less(left, j) {
                    j -= 1;
                }
                if j < i {
                    break;
                }
                self.swap(i, j);
            }
            self.swap(left, j);
            if j <= k {
                left = i;
            }
            if j >= k {
                right = j - 1;
            }
        }
    }
}
