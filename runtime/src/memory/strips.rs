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
    /// `reach` elements from each of `starts`; empty ones if not all of these lie inside.
    #[inline(always)]
    pub fn new(slice: &'a [T], starts: [usize; N], reach: usize) -> Self {
        let inside = match slice.len().checked_sub(reach) {
            Some(last) => starts.iter().all(|start| *start <= last),
            None => false,
        };
        Strips {
            starts: starts.map(|start| slice.as_ptr().wrapping_add(if inside { start } else { 0 })),
            reach: if inside { reach } else { 0 },
            slice: PhantomData,
        }
    }

    /// Elements `at..at + len` of every strip; empty slices if the strips are shorter.
    #[inline(always)]
    pub fn part(&self, at: usize, len: usize) -> [&'a [T]; N] {
        if at > self.reach || len > self.reach - at {
            return [&[]; N];
        }
        // SAFETY: `new` compared `start + reach` with the length of the slice, and `at + len <= reach`: the range lies in
        // the slice, which stays borrowed for `'a`.
        self.starts.map(|start| unsafe { core::slice::from_raw_parts(start.add(at), len) })
    }
}

#[cfg(test)]
mod tests {
    use super::Strips;

    #[test]
    fn parts_lie_inside() {
        let numbers = [0, 1, 2, 3, 4, 5];
        let strips = Strips::new(&numbers, [0, 3], 3);
        assert_eq!(strips.part(1, 2), [&[1, 2][..], &[4, 5]]);
        assert_eq!(strips.part(3, 0), [&[0; 0][..], &[]]);
        assert_eq!(strips.part(2, 2), [&[0; 0][..], &[]]);
        assert_eq!(strips.part(usize::MAX, 2), [&[0; 0][..], &[]]);
    }

    #[test]
    fn strips_that_leave_the_slice_are_empty() {
        let numbers = [0, 1, 2, 3, 4, 5];
        for (starts, reach) in [([0, 4], 3), ([0, 0], 7), ([usize::MAX, 0], 1)] {
            assert_eq!(Strips::new(&numbers, starts, reach).part(0, 1), [&[0; 0][..], &[]]);
        }
    }
}
