//! The mutated buffers of one model instance.

use super::arena::Arena;
use crate::Error;

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
            return Err(Error::State);
        }
        for (to, from) in self.bytes.iter_mut().zip(bytes) {
            *to = *from;
        }
        Ok(())
    }

    /// Writes what [`State::load`] reads: the fingerprint of the model, then all bytes.
    ///
    /// # Errors
    /// [`Error::Capacity`] when `to` is shorter than both; nothing is written then.
    #[inline]
    pub fn save(&self, fingerprint: &[u8; 32], to: &mut [u8]) -> Result<(), Error> {
        let (head, rest) = to.split_first_chunk_mut().ok_or(Error::Capacity)?;
        crate::copy_into(&self.bytes, rest)?;
        *head = *fingerprint;
        Ok(())
    }

    /// Takes over what [`State::save`] wrote.
    ///
    /// # Errors
    /// [`Error::State`] when the length or the fingerprint is another; nothing is changed then.
    #[inline]
    pub fn load(&mut self, fingerprint: &[u8; 32], from: &[u8]) -> Result<(), Error> {
        match from.split_first_chunk() {
            Some((head, rest)) if head == fingerprint => self.restore(rest),
            _ => Err(Error::State),
        }
    }

    /// Sets everything to zero.
    #[inline]
    pub fn clear(&mut self) {
        self.bytes.fill(0);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec;

    #[test]
    fn state_is_aligned_saved_and_restored() {
        let mut state = State::new([1, 2, 3, 4, 5]);
        assert_eq!((align_of::<State<5>>(), size_of::<State<0>>()), (16, 0));
        let saved = state.clone();
        let ([], [all]) = state.arena().into_regions([], [(0, 5)]);
        all.fill(9);
        assert_eq!(state.bytes(), &[9; 5]);
        assert_eq!(state.restore(&[0; 4]), Err(Error::State));
        assert_eq!(state.restore(saved.bytes()), Ok(()));
        assert_eq!(state, saved);
        let mut bytes = [0; 37];
        assert_eq!(state.save(&[7; 32], &mut bytes[1..]), Err(Error::Capacity));
        assert_eq!((state.save(&[7; 32], &mut bytes), bytes[31..34].to_vec()), (Ok(()), vec![7, 1, 2]));
        state.clear();
        for (fingerprint, from) in [([8; 32], &bytes[..]), ([7; 32], &bytes[..36]), ([7; 32], &bytes[..9])] {
            assert_eq!(state.load(&fingerprint, from), Err(Error::State));
            assert_eq!(state.bytes(), &[0; 5]);
        }
        assert_eq!(state.load(&[7; 32], &bytes), Ok(()));
        assert_eq!(state, saved);
        state.clear();
        assert_eq!(state.bytes(), &[0; 5]);
    }
}
