//! Constants baked into the program.

use crate::Element;

/// `N` bytes aligned for every element type and for a cache line: the constants of a model, read in place.
///
/// Made from a byte literal or, without a copy in the source, from a file: `Weights::new(*include_bytes!("w.bin"))`.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Weights<const N: usize>([u8; N]);

impl<const N: usize> Weights<N> {
    /// Wraps the bytes; meant for a `static`, so that the value is laid out by the compiler and never moved.
    pub const fn new(bytes: [u8; N]) -> Self {
        Weights(bytes)
    }

    /// `LEN` elements from byte `OFFSET` on.
    ///
    /// A range outside the bytes, or an offset that is not aligned for `T`, does not compile.
    ///
    /// ```compile_fail
    /// # use exported_runtime as rt;
    /// static W: rt::Weights<8> = rt::Weights::new([0; 8]);
    /// W.slice::<f32, 4, 2>();
    /// ```
    #[inline(always)]
    pub const fn slice<T: Element, const OFFSET: usize, const LEN: usize>(&self) -> &[T] {
        const {
            assert!(OFFSET <= N && LEN <= (N - OFFSET) / size_of::<T>(), "range outside the weights");
            assert!(OFFSET.is_multiple_of(align_of::<T>()) && align_of::<T>() <= 64, "offset not aligned");
        }
        // SAFETY:
        // - `OFFSET <= N`, so the pointer stays inside (or one past) the array.
        // - The array starts at the address of `self` (`repr(C)`, single field), a multiple of 64, and `OFFSET` is a
        //   multiple of the alignment of `T`, which divides 64: the pointer is aligned.
        // - `LEN * size_of::<T>() <= N - OFFSET`: the range lies inside the array, whose bytes are initialised.
        // - `T: Element` has no invalid bit pattern, and the result borrows `self`.
        unsafe { core::slice::from_raw_parts(self.0.as_ptr().add(OFFSET).cast::<T>(), LEN) }
    }

    /// All bytes.
    #[inline(always)]
    pub const fn bytes(&self) -> &[u8; N] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static WEIGHTS: Weights<24> =
        Weights::new([0, 0, 0x80, 0x3f, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 9, 8, 7, 6, 5, 4, 3, 2]);
    const ONE: &[f64] = WEIGHTS_CONST.slice::<f64, 8, 1>();
    const WEIGHTS_CONST: &Weights<24> = &Weights::new(*WEIGHTS_BYTES);
    const WEIGHTS_BYTES: &[u8; 24] =
        &[0, 0, 0x80, 0x3f, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 9, 8, 7, 6, 5, 4, 3, 2];

    #[test]
    fn slices_lie_where_asked() {
        assert_eq!(WEIGHTS.slice::<f32, 0, 1>(), [1.0]);
        assert_eq!(WEIGHTS.slice::<i16, 4, 2>(), [1, 2]);
        assert_eq!(WEIGHTS.slice::<u8, 16, 8>(), [9, 8, 7, 6, 5, 4, 3, 2]);
        assert_eq!(WEIGHTS.slice::<u64, 24, 0>(), [] as [u64; 0]);
        assert_eq!(ONE, [1.0]);
        assert_eq!((&raw const WEIGHTS).addr() % 64, 0);
        assert_eq!(WEIGHTS.bytes()[23], 2);
    }
}
