//! A stored tensor: a strided window onto a storage of the file.

use crate::diag::Diagnostic;
use crate::schema::{MAX_RANK, ScalarType};
use std::borrow::Cow;

/// A weight or constant. Its elements stand in the file as torch left them: [`Tensor::bytes`] gives them in logical order.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor<'a> {
    identity: Identity,
    storage: &'a [u8],
    big_endian: bool,
    /// Marked as a parameter (else a buffer or constant).
    pub is_param: bool,
}

/// What a tensor is a window onto: tensors of equal identity are one tensor under several names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// Number of the storage in the archive.
    pub storage: u32,
    /// Element type.
    pub dtype: ScalarType,
    /// First element.
    pub offset: usize,
    /// Sizes.
    pub shape: Vec<usize>,
    /// Distance of neighbours along each dim, in elements.
    pub strides: Vec<usize>,
}

impl<'a> Tensor<'a> {
    /// A window onto `storage`, checked to lie inside it.
    ///
    /// # Errors
    /// When sizes overflow or elements lie outside the storage.
    pub(super) fn new(
        identity: Identity,
        storage: &'a [u8],
        big_endian: bool,
        is_param: bool,
    ) -> Result<Self, Diagnostic> {
        let rank = identity.shape.len();
        if rank != identity.strides.len() || rank > MAX_RANK {
            let strides = identity.strides.len();
            return Err(Diagnostic::damaged(format!("{rank} sizes (at most {MAX_RANK}) and {strides} strides")));
        }
        if identity.dtype.size() == 0 {
            return Err(Diagnostic::damaged("an unknown element type"));
        }
        let extent = extent(&identity).ok_or_else(|| {
            Diagnostic::damaged(format!(
                "sizes {:?}, strides {:?} and offset {} overflow",
                identity.shape, identity.strides, identity.offset
            ))
        })?;
        if extent > storage.len() {
            return Err(Diagnostic::damaged(format!(
                "sizes {:?}, strides {:?} and offset {} of `{}` need {extent} bytes, but the storage has {}",
                identity.shape,
                identity.strides,
                identity.offset,
                identity.dtype.name(),
                storage.len()
            )));
        }
        Ok(Tensor { identity, storage, big_endian, is_param })
    }

    /// Element type.
    pub fn dtype(&self) -> ScalarType {
        self.identity.dtype
    }

    /// Sizes, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.identity.shape
    }

    /// Equal for names of one and the same tensor (tied weights).
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Number of elements.
    pub fn numel(&self) -> usize {
        self.identity.shape.iter().product()
    }

    /// Its elements, row-major and little-endian; borrowed from the file where they stand so already.
    pub fn bytes(&self) -> Cow<'a, [u8]> {
        let size = self.dtype().size();
        let numel = self.numel();
        let start = self.identity.offset * size;
        if numel == 0 {
            return Cow::Borrowed(&[]);
        }
        let swap = self.big_endian && size > 1;
        if self.is_contiguous() && !swap {
            return Cow::Borrowed(&self.storage[start..start + numel * size]);
        }
        let mut out = Vec::with_capacity(numel * size);
        gather(&mut out, self.storage, &self.identity.shape, &self.identity.strides, start, size);
        if swap {
            // A complex number is two floats of half the size.
            let unit = if self.dtype().is_complex() { size / 2 } else { size };
            out.chunks_exact_mut(unit).for_each(<[u8]>::reverse);
        }
        Cow::Owned(out)
    }

    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        for (&size, &stride) in self.identity.shape.iter().zip(&self.identity.strides).rev() {
            if size != 1 && stride != expected {
                return false;
            }
            expected *= size;
        }
        true
    }
}

/// Bytes from the start of the storage to the end of the last element; `None` on overflow, also of the logical size.
fn extent(identity: &Identity) -> Option<usize> {
    let size = identity.dtype.size();
    let numel = identity.shape.iter().try_fold(1usize, |n, &s| n.checked_mul(s));
    // An empty tensor may have any other size, whose product must not be formed later: `numel` folds from the left.
    numel?.checked_mul(size)?;
    identity.offset.checked_mul(size)?;
    if identity.shape.contains(&0) {
        return Some(0);
    }
    let mut last = identity.offset;
    for (&size, &stride) in identity.shape.iter().zip(&identity.strides) {
        last = last.checked_add((size - 1).checked_mul(stride)?)?;
    }
    last.checked_add(1)?.checked_mul(size)
}

/// Appends the elements of a window in logical order. Recursion depth is the rank; a dense innermost run is one copy.
fn gather(out: &mut Vec<u8>, storage: &[u8], shape: &[usize], strides: &[usize], start: usize, size: usize) {
    let ([n, inner_shape @ ..], [stride, inner_strides @ ..]) = (shape, strides) else {
        out.extend_from_slice(&storage[start..start + size]);
        return;
    };
    if inner_shape.is_empty() && *stride == 1 {
        out.extend_from_slice(&storage[start..start + n * size]);
        return;
    }
    for i in 0..*n {
        gather(out, storage, inner_shape, inner_strides, start + i * stride * size, size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(shape: &[usize], strides: &[usize], offset: usize) -> Identity {
        Identity { storage: 0, dtype: ScalarType::Short, offset, shape: shape.to_vec(), strides: strides.to_vec() }
    }

    fn values(identity: Identity, storage: &[u8], big_endian: bool) -> Vec<i16> {
        let tensor = Tensor::new(identity, storage, big_endian, false).expect("inside the storage");
        tensor.bytes().chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect()
    }

    #[test]
    fn windows_are_read_in_logical_order() {
        let storage: Vec<u8> = (0..12i16).flat_map(i16::to_le_bytes).collect();
        assert_eq!(values(window(&[2, 3], &[3, 1], 1), &storage, false), [1, 2, 3, 4, 5, 6]);
        assert_eq!(values(window(&[3, 2], &[1, 3], 0), &storage, false), [0, 3, 1, 4, 2, 5]);
        assert_eq!(values(window(&[2, 2], &[0, 1], 4), &storage, false), [4, 5, 4, 5]);
        assert_eq!(values(window(&[], &[], 7), &storage, false), [7]);
        assert_eq!(values(window(&[3, 0], &[1, 1], 999), &storage, false), [0; 0]);
        assert_eq!(values(window(&[3], &[2], 0), &storage, false), [0, 2, 4]);
        let big: Vec<u8> = (0..12i16).flat_map(i16::to_be_bytes).collect();
        assert_eq!(values(window(&[2, 2], &[1, 2], 0), &big, true), [0, 2, 1, 3]);
        assert_eq!(values(window(&[4], &[1], 0), &big, true), [0, 1, 2, 3]);
    }

    #[test]
    fn windows_outside_the_storage_are_refused() {
        let storage = [0u8; 24];
        for identity in [
            window(&[13], &[1], 0),
            window(&[2], &[12], 0),
            window(&[1], &[1], 12),
            window(&[usize::MAX, 2], &[0, 0], 0),
            window(&[usize::MAX / 2, 4], &[0, 0], 0),
            window(&[3], &[usize::MAX / 2 + 1], 0),
            window(&[1], &[1], usize::MAX),
            window(&[0], &[1], usize::MAX),
            window(&[1, 1], &[1], 0),
            window(&[1; 65], &[1; 65], 0),
            Identity { dtype: ScalarType::Unknown, ..window(&[], &[], 0) },
        ] {
            assert!(Tensor::new(identity.clone(), &storage, false, false).is_err(), "{identity:?}");
        }
    }
}
