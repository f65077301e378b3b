//! Stretches of a slice whose bounds are compared once for all that is read of them.

use core::marker::PhantomData;

/// `N` stretches of one slice, equally long; they may overlap.
#[derive(Clone, Copy, Debug)]
pub struct Strips<'a, T, const N: usize> {
    /// Where each begins: inside the slice, and followed by `reach` elements of it.
    starts: [*const T; N],
    reach: usize,
    slice: PhantomData<&'a [T]>,
}

impl<'a, T, const N: usize> Strips<'a, T, N> {
    /// `reach` elements from each of `starts`, if all of them lie inside.
    #[inline(always)]
    pub fn new(slice: &'a [T], starts: [usize; N], reach: usize) -> Option<Self> {
        let inside = greatest(starts) <= slice.len().checked_sub(reach)?;
        let starts = starts.map(|start| slice.as_ptr().wrapping_add(start));
        inside.then_some(Strips { starts, reach, slice: PhantomData })
    }

    /// `reach` elements from `first` on and from each `step` after it, if all of them lie inside.
    #[inline(always)]
    pub fn even(slice: &'a [T], first: usize, step: usize, reach: usize) -> Option<Self> {
        let inside = last::<N>(first, step)? <= slice.len().checked_sub(reach)?;
        let starts = core::array::from_fn(|i| slice.as_ptr().wrapping_add(first + i * step));
        inside.then_some(Strips { starts, reach, slice: PhantomData })
    }

    /// Elements `at..at + len` of every strip, if the strips are that long.
    #[inline(always)]
    pub fn part(&self, at: usize, len: usize) -> Option<[&'a [T]; N]> {
        if at > self.reach || len > self.reach - at {
            return None;
        }
        // SAFETY: a constructor compared `start + reach` with the length of the slice, and `at + len <= reach`: the range
        // lies in the slice, which stays borrowed for `'a`.
        Some(self.starts.map(|start| unsafe { core::slice::from_raw_parts(start.add(at), len) }))
    }
}

/// [`Strips`] to write to, one after the other.
#[derive(Debug)]
pub struct StripsMut<'a, T, const N: usize> {
    starts: [*mut T; N],
    reach: usize,
    slice: PhantomData<&'a mut [T]>,
}

impl<'a, T, const N: usize> StripsMut<'a, T, N> {
    /// As [`Strips::new`].
    #[inline(always)]
    pub fn new(slice: &'a mut [T], starts: [usize; N], reach: usize) -> Option<Self> {
        let inside = greatest(starts) <= slice.len().checked_sub(reach)?;
        let all = slice.as_mut_ptr();
        inside.then_some(StripsMut { starts: starts.map(|start| all.wrapping_add(start)), reach, slice: PhantomData })
    }

    /// As [`Strips::even`].
    #[inline(always)]
    pub fn even(slice: &'a mut [T], first: usize, step: usize, reach: usize) -> Option<Self> {
        let inside = last::<N>(first, step)? <= slice.len().checked_sub(reach)?;
        let all = slice.as_mut_ptr();
        let starts = core::array::from_fn(|i| all.wrapping_add(first + i * step));
        inside.then_some(StripsMut { starts, reach, slice: PhantomData })
    }

    /// Strip `i`; empty if there is none.
    #[inline(always)]
    pub fn get(&mut self, i: usize) -> &mut [T] {
        let Some(start) = self.starts.get(i) else { return &mut [] };
        // SAFETY: a constructor compared `start + reach` with the length of the slice, which stays borrowed for `'a`; of
        // strips that overlap only one is borrowed at a time.
        unsafe { core::slice::from_raw_parts_mut(*start, self.reach) }
    }
}

/// One comparison for all of them.
#[inline(always)]
fn greatest<const N: usize>(starts: [usize; N]) -> usize {
    starts.into_iter().fold(0, usize::max)
}

/// The last of `N` starts.
#[inline(always)]
fn last<const N: usize>(first: usize, step: usize) -> Option<usize> {
    const { N.saturating_sub(1) }.checked_mul(step)?.checked_add(first)
}

/// `ROWS` rows of columns, `step` apart; of each column some elements side by side may be read.
#[derive(Clone, Copy, Debug)]
pub struct Columns<'a, T, const ROWS: usize> {
    /// Where each row begins: inside the slice, with all its columns.
    starts: [*const T; ROWS],
    step: usize,
    count: usize,
    width: usize,
    slice: PhantomData<&'a [T]>,
}

impl<'a, T, const ROWS: usize> Columns<'a, T, ROWS> {
    /// `count` columns of `width` elements in rows that begin at `starts`; no columns if not all of them lie inside.
    #[inline(always)]
    pub fn new(slice: &'a [T], starts: [usize; ROWS], step: usize, count: usize, width: usize) -> Self {
        let reach = count.checked_sub(1).and_then(|last| last.checked_mul(step)?.checked_add(width));
        let inside = match reach.and_then(|reach| slice.len().checked_sub(reach)) {
            Some(last) => starts.iter().all(|start| *start <= last),
            None => false,
        };
        Columns {
            starts: starts.map(|start| slice.as_ptr().wrapping_add(if inside { start } else { 0 })),
            step,
            count: if inside { count } else { 0 },
            width,
            slice: PhantomData,
        }
    }

    /// Columns `first..first + count`, if they are there.
    #[inline(always)]
    pub fn window(&self, first: usize, count: usize) -> Option<Self> {
        let inside = count <= self.count && first <= self.count - count;
        // A start moves over columns that are there, or to their end.
        let starts = self.starts.map(|start| start.wrapping_add(first.wrapping_mul(self.step)));
        inside.then_some(Columns { starts, count, ..*self })
    }

    /// Elements `at..at + width` of every column; no columns if they are shorter.
    #[inline(always)]
    pub fn narrow(&self, at: usize, width: usize) -> Self {
        let inside = at <= self.width && width <= self.width - at;
        // A start moves over elements that are there, or to their end.
        let starts = self.starts.map(|start| start.wrapping_add(if inside { at } else { 0 }));
        Columns { starts, count: if inside { self.count } else { 0 }, width, ..*self }
    }

    /// Whether column `i` is there.
    #[inline(always)]
    pub fn contain(&self, i: usize) -> bool {
        i < self.count
    }

    /// The elements of column `i` of a row; none if it is not there.
    #[inline(always)]
    pub fn get(&self, row: usize, i: usize) -> &'a [T] {
        let Some(start) = self.starts.get(row).filter(|_| i < self.count) else { return &[] };
        // SAFETY: `new` compared `start + (count - 1) * step + width` with the length of the slice, which stays borrowed
        // for `'a`; `window` keeps to the columns compared there. `i < count`.
        unsafe { core::slice::from_raw_parts(start.add(i * self.step), self.width) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Columns, Strips, StripsMut};

    #[test]
    fn parts_lie_inside() {
        let numbers = [0, 1, 2, 3, 4, 5];
        for strips in [Strips::new(&numbers, [0, 3], 3), Strips::even(&numbers, 0, 3, 3)] {
            let strips = strips.unwrap();
            assert_eq!(strips.part(1, 2), Some([&[1, 2][..], &[4, 5]]));
            assert_eq!(strips.part(3, 0), Some([&[0; 0][..], &[]]));
            assert_eq!(strips.part(2, 2), None);
            assert_eq!(strips.part(usize::MAX, 2), None);
        }
    }

    #[test]
    fn there_are_no_strips_that_leave_the_slice() {
        let mut numbers = [0, 1, 2, 3, 4, 5];
        for (starts, reach) in [([0, 4], 3), ([0, 0], 7), ([usize::MAX, 0], 1)] {
            assert!(Strips::new(&numbers, starts, reach).is_none());
            assert!(StripsMut::new(&mut numbers, starts, reach).is_none());
        }
        for (first, step, reach) in [(1, 3, 3), (0, 0, 7), (0, usize::MAX, 1), (usize::MAX, 1, 1), (6, 1, 0)] {
            assert!(Strips::<_, 2>::even(&numbers, first, step, reach).is_none());
            assert!(StripsMut::<_, 2>::even(&mut numbers, first, step, reach).is_none());
        }
    }

    #[test]
    fn strips_are_written_one_by_one() {
        let mut numbers = [0; 6];
        let mut strips = StripsMut::new(&mut numbers, [3, 0], 2).unwrap();
        strips.get(0).fill(1);
        strips.get(1).fill(2);
        assert!(strips.get(2).is_empty());
        let mut strips = StripsMut::<_, 3>::even(&mut numbers, 1, 2, 1).unwrap();
        strips.get(2).fill(3);
        assert_eq!(numbers, [2, 2, 0, 1, 1, 3]);
    }

    #[test]
    fn columns_are_those_inside() {
        let numbers: [usize; 20] = core::array::from_fn(|i| i);
        // 3 columns of 2 elements, 3 apart: a reach of 8.
        let columns = Columns::new(&numbers, [0, 12], 3, 3, 2);
        assert_eq!(columns.get(1, 2), [18, 19]);
        assert_eq!(columns.get(0, 3), []);
        assert_eq!(columns.get(2, 0), []);
        assert!(columns.contain(2) && !columns.contain(3));
        let window = columns.window(1, 2).unwrap();
        assert_eq!(window.get(0, 0), [3, 4]);
        assert_eq!(window.get(0, 2), []);
        assert!(columns.window(2, 2).is_none() && columns.window(usize::MAX, 2).is_none());
        assert_eq!(columns.narrow(1, 1).get(1, 2), [19]);
        assert_eq!(columns.narrow(2, 0).get(1, 2), [0; 0]);
        for (at, width) in [(1, 2), (3, 0), (usize::MAX, 1), (0, usize::MAX)] {
            assert_eq!(columns.narrow(at, width).get(0, 0), []);
            assert!(!columns.narrow(at, width).contain(0));
        }
    }

    #[test]
    fn there_are_no_columns_where_one_would_leave_the_slice() {
        let numbers = [0; 20];
        for (start, step, count, width) in [(13, 3, 3, 2), (0, 3, 7, 3), (0, usize::MAX, 3, 2), (0, 1, 0, 1)] {
            assert_eq!(Columns::new(&numbers, [0, start], step, count, width).get(0, 0), []);
        }
    }
}
