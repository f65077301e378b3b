//! The mutated buffers of one model instance.

use super::arena::Arena;
use crate::{Error, Snapshot, StateFault};

/// `N` bytes of state, 16-byte aligned: what a model remembers between calls. Zero-sized for `N = 0`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct State<const N: usize> {
    align: [Align; 0],
    bytes: [u8; N],
}

/// Gives the alignment without making `State<0>` occupy a byte.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C, align(16))]
struct Align;

impl<const N: usize> State<N> {
    /// The given initial values.
    pub const fn new(bytes: [u8; N]) -> Self {
        State { align: [], bytes }
    }

    /// The range as an arena.
    #[inline(always)]
    pub fn arena(&mut self) -> Arena<'_> {
        Arena::new(&mut self.bytes)
    }

    /// All bytes, to be saved across a sleep for instance.
    #[inline]
    pub fn bytes(&self) -> &[u8; N] {
        &self.bytes
    }

    /// Takes over bytes that [`State::bytes`] gave, or initial values.
    ///
    /// # Errors
    /// [`Error::State`] when the length differs; nothing is changed then.
    #[inline]
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if bytes.len() != N {
            return Err(Error::State { fault: StateFault::Length });
        }
        for (to, from) in self.bytes.iter_mut().zip(bytes) {
            *to = *from;
        }
        Ok(())
    }

    /// The bytes with the fingerprint of their model.
    #[inline]
    pub fn snapshot<'a>(&'a self, fingerprint: &'a [u8; 32]) -> Snapshot<'a> {
        Snapshot { fingerprint, state: &self.bytes }
    }

    /// Takes over what [`State::snapshot`] gave.
    ///
    /// # Errors
    /// [`Error::State`] when the fingerprint or the length is another; nothing is changed then.
    #[inline]
    pub fn resume(&mut self, fingerprint: &[u8; 32], snapshot: &Snapshot<'_>) -> Result<(), Error> {
        self.restore(snapshot.of(fingerprint)?)
    }

    /// Sets everything to zero.
    #[inline]
    pub fn clear(&mut self) {
        self.bytes.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_is_aligned_saved_and_restored() {
        let mut state = State::new([1, 2, 3, 4, 5]);
        assert_eq!((align_of::<State<5>>(), size_of::<State<0>>()), (16, 0));
        let saved = state.clone();
        let ([], [all]) = state.arena().into_regions([], [(0, 5)]);
        all.fill(9);
        assert_eq!(state.bytes(), &[9; 5]);
        let length = Error::State { fault: StateFault::Length };
        assert_eq!(state.restore(&[0; 4]), Err(length));
        assert_eq!(state.restore(saved.bytes()), Ok(()));
        assert_eq!(state, saved);
        state.clear();
        let of_another = Error::State { fault: StateFault::Fingerprint };
        assert_eq!(state.resume(&[8; 32], &saved.snapshot(&[7; 32])), Err(of_another));
        assert_eq!(state.resume(&[7; 32], &State::new([1; 4]).snapshot(&[7; 32])), Err(length));
        assert_eq!(state.bytes(), &[0; 5]);
        assert_eq!(state.resume(&[7; 32], &saved.snapshot(&[7; 32])), Ok(()));
        assert_eq!(state, saved);
        state.clear();
        assert_eq!(state.bytes(), &[0; 5]);
    }
}
