//! The bytes a step reads and writes.

use core::marker::PhantomData;

/// A range of memory from which a step takes the slices it reads and the slices it writes.
///
/// Workspace and state both give one. Offsets are in bytes from its start, which is 16-byte aligned.
#[derive(Debug)]
pub struct Arena<'a> {
    start: *mut u8,
    len: usize,
    owner: PhantomData<&'a mut [u8]>,
}

// SAFETY: an arena stands for the `&'a mut [u8]` it was made from, and that is `Send` and `Sync`.
unsafe impl Send for Arena<'_> {}
// SAFETY: as above; through `&Arena` nothing but the length can be reached.
unsafe impl Sync for Arena<'_> {}

impl<'a> Arena<'a> {
    /// All of `bytes`.
    #[inline(always)]
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Arena { start: bytes.as_mut_ptr(), len: bytes.len(), owner: PhantomData }
    }

    /// Bytes in it.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The same range for a shorter time.
    #[inline(always)]
    pub fn reborrow(&mut self) -> Arena<'_> {
        Arena { start: self.start, len: self.len, owner: PhantomData }
    }

    /// Slices to read and slices to write, each given as (offset, length) in bytes.
    ///
    /// Reads may overlap each other; a write overlaps nothing. If a range lies outside or these rules are broken, all
    /// slices are empty: a fault of generated code becomes a wrong result, never undefined behaviour or a panic. With
    /// constant ranges the checks vanish at build time.
    ///
    /// ```
    /// # use exported_runtime as rt;
    /// let mut bytes = [1, 2, 3, 4];
    /// let mut arena = rt::Arena::new(&mut bytes);
    /// let ([a, b], [y]) = arena.regions([(0, 2), (1, 1)], [(2, 2)]);
    /// y[0] = a[0] + b[0];
    /// assert_eq!(bytes, [1, 2, 3, 4]);
    /// ```
    #[inline(always)]
    pub fn regions<const R: usize, const W: usize>(
        &mut self,
        reads: [(usize, usize); R],
        writes: [(usize, usize); W],
    ) -> ([&[u8]; R], [&mut [u8]; W]) {
        self.reborrow().into_regions(reads, writes)
    }

    /// [`Arena::regions`] for the whole life of the arena: results that outlive the run borrow the workspace.
    #[inline(always)]
    pub fn into_regions<const R: usize, const W: usize>(
        self,
        reads: [(usize, usize); R],
        writes: [(usize, usize); W],
    ) -> ([&'a [u8]; R], [&'a mut [u8]; W]) {
        let legal = legal(self.len, &reads, &writes);
        self.taken(legal, reads, writes)
    }

    /// [`Arena::regions`] in less code: where loops are not unrolled no check vanishes, and this one calls a function that
    /// all layers share.
    #[inline(always)]
    pub fn regions_checked<const R: usize, const W: usize>(
        &mut self,
        reads: [(usize, usize); R],
        writes: [(usize, usize); W],
    ) -> ([&[u8]; R], [&mut [u8]; W]) {
        let legal = legal_once(self.len, &reads, &writes);
        self.reborrow().taken(legal, reads, writes)
    }

    /// The slices, if the ranges are `legal`.
    #[inline(always)]
    fn taken<const R: usize, const W: usize>(
        self,
        legal: bool,
        reads: [(usize, usize); R],
        writes: [(usize, usize); W],
    ) -> ([&'a [u8]; R], [&'a mut [u8]; W]) {
        if !legal {
            return ([&[]; R], [(); W].map(|()| &mut [] as &mut [u8]));
        }
        // SAFETY:
        // - [`legal`] checked `offset + len <= self.len`, so the range lies inside the bytes this arena stands for: one
        //   live allocation of initialised `u8`, exclusively borrowed for `'a` (`owner`), and `self` is consumed.
        // - [`legal`] checked that no written range overlaps this one.
        let read = |(offset, len)| unsafe { core::slice::from_raw_parts(self.start.add(offset), len) };
        // SAFETY: as above; and no read range overlaps this one either, so that the `&mut` aliases nothing.
        let write = |(offset, len)| unsafe { core::slice::from_raw_parts_mut(self.start.add(offset), len) };
        (reads.map(read), writes.map(write))
    }
}

/// [`legal`], one copy for all callers.
#[inline(never)]
fn legal_once(size: usize, reads: &[(usize, usize)], writes: &[(usize, usize)]) -> bool {
    legal(size, reads, writes)
}

/// Whether all ranges lie inside `size` bytes and no write overlaps anything.
#[inline(always)]
fn legal(size: usize, reads: &[(usize, usize)], writes: &[(usize, usize)]) -> bool {
    let inside = |&(offset, len): &(usize, usize)| offset <= size && len <= size - offset;
    if !reads.iter().all(inside) || !writes.iter().all(inside) {
        return false;
    }
    // Every range is inside, so that the sums below cannot overflow.
    let apart = |a: &(usize, usize), b: &(usize, usize)| a.0 + a.1 <= b.0 || b.0 + b.1 <= a.0;
    writes.iter().enumerate().all(|(i, w)| {
        w.1 == 0
            || reads.iter().all(|r| r.1 == 0 || apart(w, r))
                && writes.iter().take(i).all(|other| other.1 == 0 || apart(w, other))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_may_overlap_and_writes_see_their_bytes() {
        let mut bytes = [0, 1, 2, 3, 4, 5, 6, 7];
        let mut arena = Arena::new(&mut bytes);
        let ([a, b], [x, y]) = arena.regions([(0, 4), (2, 2)], [(4, 2), (6, 2)]);
        assert_eq!((a, b), (&[0, 1, 2, 3][..], &[2, 3][..]));
        x.copy_from_slice(b);
        y.fill(a[1]);
        assert_eq!(arena.regions::<1, 0>([(0, 8)], []).0[0], [0, 1, 2, 3, 2, 3, 1, 1]);
    }

    #[test]
    fn broken_rules_give_empty_slices() {
        let mut bytes = [0; 8];
        let mut arena = Arena::new(&mut bytes);
        let mut refused = |reads: [(usize, usize); 2], writes: [(usize, usize); 2]| {
            let (r, w) = arena.regions(reads, writes);
            r.iter().all(|r| r.is_empty()) && w.iter().all(|w| w.is_empty())
        };
        assert!(!refused([(0, 4), (0, 4)], [(4, 2), (6, 2)]));
        assert!(refused([(0, 4), (0, 4)], [(4, 3), (6, 2)]), "two writes overlap");
        assert!(refused([(0, 4), (3, 2)], [(4, 2), (6, 2)]), "read and write overlap");
        assert!(refused([(0, 4), (0, 9)], [(4, 2), (6, 2)]), "read outside");
        assert!(refused([(0, 4), (0, 4)], [(4, 2), (7, 2)]), "write outside");
        assert!(refused([(0, 4), (usize::MAX, 2)], [(4, 2), (6, 2)]), "offset overflows");
        assert!(refused([(0, 4), (2, usize::MAX)], [(4, 2), (6, 2)]), "length overflows");
        assert!(refused([(0, 4), (0, 4)], [(4, 4), (5, 1)]), "write inside a write");
    }

    #[test]
    fn empty_ranges_overlap_nothing() {
        let mut bytes = [9; 8];
        let mut arena = Arena::new(&mut bytes);
        let ([r, none], [w, nothing]) = arena.regions([(0, 4), (6, 0)], [(4, 4), (2, 0)]);
        assert_eq!((r.len(), none.len(), w.len(), nothing.len()), (4, 0, 4, 0));
    }

    #[test]
    fn results_outlive_the_arena() {
        let mut bytes = [1; 4];
        let ([a], [b]) = Arena::new(&mut bytes).into_regions([(0, 2)], [(2, 2)]);
        b[0] = a[0] + 1;
        assert_eq!(bytes, [1, 1, 2, 1]);
        fn is_send_and_sync<T: Send + Sync>() {}
        is_send_and_sync::<Arena<'static>>();
    }
}
