//! A slice with a shape: the type of a tensor whose inner sizes are known at run time only.

/// A dense row-major tensor of `RANK` dims, lent by the caller or borrowed from the workspace.
#[derive(Debug, PartialEq)]
pub struct TensorRef<'a, T, const RANK: usize> {
    data: &'a [T],
    shape: [usize; RANK],
}

impl<T, const RANK: usize> Clone for TensorRef<'_, T, RANK> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, const RANK: usize> Copy for TensorRef<'_, T, RANK> {}

impl<'a, T, const RANK: usize> TensorRef<'a, T, RANK> {
    /// `data` in row-major order; `None` unless its length is the product of `shape`.
    ///
    /// ```
    /// # use exported_runtime as rt;
    /// let matrix = rt::TensorRef::new(&[1, 2, 3, 4, 5, 6], [2, 3]).unwrap();
    /// assert_eq!(matrix.shape(), [2, 3]);
    /// assert!(rt::TensorRef::new(&[1, 2, 3], [2, 2]).is_none());
    /// ```
    #[inline]
    pub fn new(data: &'a [T], shape: [usize; RANK]) -> Option<Self> {
        (count(shape) == Some(data.len())).then_some(TensorRef { data, shape })
    }

    /// `data` in row-major order; empty, all sizes 0, unless its length is the product of `shape`.
    #[inline]
    pub fn of(data: &'a [T], shape: [usize; RANK]) -> Self {
        Self::new(data, shape).unwrap_or(TensorRef { data: &[], shape: [0; RANK] })
    }

    /// The elements in row-major order.
    #[inline]
    pub fn data(&self) -> &'a [T] {
        self.data
    }

    /// The sizes, outermost first.
    #[inline]
    pub fn shape(&self) -> [usize; RANK] {
        self.shape
    }
}

/// A dense row-major tensor of `RANK` dims that a call changes.
#[derive(Debug, PartialEq)]
pub struct TensorMut<'a, T, const RANK: usize> {
    data: &'a mut [T],
    shape: [usize; RANK],
}

impl<'a, T, const RANK: usize> TensorMut<'a, T, RANK> {
    /// `data` in row-major order; `None` unless its length is the product of `shape`.
    #[inline]
    pub fn new(data: &'a mut [T], shape: [usize; RANK]) -> Option<Self> {
        (count(shape) == Some(data.len())).then_some(TensorMut { data, shape })
    }

    /// `data` in row-major order; empty, all sizes 0, unless its length is the product of `shape`.
    #[inline]
    pub fn of(data: &'a mut [T], shape: [usize; RANK]) -> Self {
        let fits = count(shape) == Some(data.len());
        if fits { TensorMut { data, shape } } else { TensorMut { data: &mut [], shape: [0; RANK] } }
    }

    /// The elements in row-major order.
    #[inline]
    pub fn data(&self) -> &[T] {
        self.data
    }

    /// The elements in row-major order, for as long as they were lent.
    #[inline]
    pub fn into_data(self) -> &'a mut [T] {
        self.data
    }

    /// The sizes, outermost first.
    #[inline]
    pub fn shape(&self) -> [usize; RANK] {
        self.shape
    }
}

/// Number of elements; `None` when it exceeds `usize`.
#[inline]
fn count<const RANK: usize>(shape: [usize; RANK]) -> Option<usize> {
    let mut count = 1usize;
    for size in shape {
        count = count.checked_mul(size)?;
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_the_product_of_the_shape() {
        assert_eq!(TensorRef::new(&[1.5f32], []).map(|t| t.data()[0]), Some(1.5));
        assert!(TensorRef::new(&[0u8; 4], [usize::MAX, 2]).is_none());
        assert!(TensorRef::<u8, 3>::new(&[], [3, 0, 2]).is_some());
        assert_eq!(TensorRef::of(&[1, 2], [2, 1]).shape(), [2, 1]);
        assert_eq!(TensorRef::of(&[1, 2], [2, 2]), TensorRef::of(&[], [0, 0]));
        assert_eq!(TensorMut::of(&mut [1, 2], [3]).shape(), [0]);
        let mut data = [1, 2, 3, 4];
        assert!(TensorMut::new(&mut data, [2, 3]).is_none());
        let tensor = TensorMut::new(&mut data, [2, 2]);
        assert_eq!(tensor.as_ref().map(|t| (t.data()[3], t.shape())), Some((4, [2, 2])));
        tensor.map(TensorMut::into_data).into_iter().flatten().for_each(|x| *x = 0);
        assert_eq!(data, [0; 4]);
    }
}
