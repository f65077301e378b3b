//! Nested arrays, the type of a tensor of static shape, as flat slices and back.

use crate::Element;
use crate::dtype::{Bf16, F16};

mod sealed {
    pub trait Sealed {}
}

/// What a nested array of the user's interface holds: an [`Element`], or `bool`. Sealed.
pub trait Item: sealed::Sealed + Copy + Send + Sync + 'static {
    /// The element type that holds it inside a model (`u8` for `bool`).
    type Element: Element;
    /// Its dtype.
    const DTYPE: crate::DType;
}

/// A tensor of static shape: an [`Item`], or an array of tensors.
///
/// # Safety
/// The value is exactly `size_of_val / size_of::<Self::Item>()` items in row-major order, without padding.
pub unsafe trait Nested {
    /// What it holds in the end.
    type Item: Item;
}

macro_rules! items {
    ($($item:ty => $element:ty, $dtype:ident);* $(;)?) => {$(
        impl sealed::Sealed for $item {}
        impl Item for $item {
            type Element = $element;
            const DTYPE: crate::DType = crate::DType::$dtype;
        }
        // SAFETY: one item is one item.
        unsafe impl Nested for $item {
            type Item = $item;
        }
    )*};
}
items! {
    u8 => u8, U8; i8 => i8, I8; i16 => i16, I16; i32 => i32, I32; i64 => i64, I64; u16 => u16, U16; u32 => u32, U32;
    u64 => u64, U64; f32 => f32, F32; f64 => f64, F64; F16 => F16, F16; Bf16 => Bf16, Bf16; bool => u8, Bool;
}

// SAFETY: an array is its elements in order, without padding, and each of them is its items in order.
unsafe impl<A: Nested, const N: usize> Nested for [A; N] {
    type Item = A::Item;
}

// SAFETY: as for arrays.
unsafe impl<A: Nested> Nested for [A] {
    type Item = A::Item;
}

/// The items of a nested array (or a slice of them) in row-major order. A `bool` becomes the byte 0 or 1.
///
/// ```
/// # use exported_runtime as rt;
/// assert_eq!(rt::flat(&[[1, 2], [3, 4]]), [1, 2, 3, 4]);
/// ```
#[inline(always)]
pub fn flat<A: Nested + ?Sized>(array: &A) -> &[<A::Item as Item>::Element] {
    let count = size_of_val(array) / size_of::<A::Item>();
    // SAFETY:
    // - `A: Nested`: the value is `count` items in order, without padding; the result covers exactly them.
    // - `Item` is sealed and implemented here, for elements themselves and for `bool` over `u8`: same size and alignment, and
    //   every `bool` is a valid `u8`.
    // - The result borrows `array`.
    unsafe { core::slice::from_raw_parts(core::ptr::from_ref(array).cast(), count) }
}

/// The items of a nested array in row-major order, as they are.
#[inline(always)]
pub fn items<A: Nested + ?Sized>(array: &A) -> &[A::Item] {
    let count = size_of_val(array) / size_of::<A::Item>();
    // SAFETY: `A: Nested`: the value is `count` items in order, without padding; the result covers exactly them and
    // borrows `array`.
    unsafe { core::slice::from_raw_parts(core::ptr::from_ref(array).cast(), count) }
}

/// The mutable form of [`items`].
#[inline(always)]
pub fn items_mut<A: Nested + ?Sized>(array: &mut A) -> &mut [A::Item] {
    let count = size_of_val(array) / size_of::<A::Item>();
    // SAFETY: as in `items`; the result borrows `array` mutably, and an item written through it is an item.
    unsafe { core::slice::from_raw_parts_mut(core::ptr::from_mut(array).cast(), count) }
}

/// The mutable form of [`flat`], for items that are elements: a `bool` may not be written as a byte.
#[inline(always)]
pub fn flat_mut<A: Nested + ?Sized>(array: &mut A) -> &mut [A::Item]
where
    A::Item: Element,
{
    items_mut(array)
}

/// A slice as a nested array; `None` unless it has exactly its number of items.
///
/// ```
/// # use exported_runtime as rt;
/// assert_eq!(rt::nested::<[[i32; 2]; 2]>(&[1, 2, 3, 4]), Some(&[[1, 2], [3, 4]]));
/// assert_eq!(rt::nested::<[[i32; 2]; 2]>(&[1, 2, 3]), None);
/// ```
#[inline(always)]
pub fn nested<A: Nested>(items: &[A::Item]) -> Option<&A> {
    if size_of_val(items) != size_of::<A>() {
        return None;
    }
    // SAFETY: `A: Nested`: a value of it is `size_of::<A>()` bytes of items in order; `items` has that many, and their
    // alignment is that of `A`, which is made of arrays of them. The result borrows `items`.
    Some(unsafe { &*items.as_ptr().cast::<A>() })
}

/// The mutable form of [`nested`].
#[inline(always)]
pub fn nested_mut<A: Nested>(items: &mut [A::Item]) -> Option<&mut A> {
    if size_of_val(items) != size_of::<A>() {
        return None;
    }
    // SAFETY: as in `nested`; the result borrows `items` mutably, and an item written through `A` is an item.
    Some(unsafe { &mut *items.as_mut_ptr().cast::<A>() })
}

/// A slice as `len` nested arrays; `None` unless it has exactly their number of items.
#[inline(always)]
pub fn nested_slice<A: Nested>(items: &[A::Item], len: usize) -> Option<&[A]> {
    if size_of::<A>().checked_mul(len) != Some(size_of_val(items)) {
        return None;
    }
    // SAFETY: `A: Nested`: `len` values of it are `len * size_of::<A>()` bytes of items in order, and `items` has that
    // many, aligned for `A` (see `nested`). The result borrows `items`.
    Some(unsafe { core::slice::from_raw_parts(items.as_ptr().cast::<A>(), len) })
}

/// The mutable form of [`nested_slice`].
#[inline(always)]
pub fn nested_slice_mut<A: Nested>(items: &mut [A::Item], len: usize) -> Option<&mut [A]> {
    if size_of::<A>().checked_mul(len) != Some(size_of_val(items)) {
        return None;
    }
    // SAFETY: as in `nested_slice`; the result borrows `items` mutably, and an item written through `A` is an item.
    Some(unsafe { core::slice::from_raw_parts_mut(items.as_mut_ptr().cast::<A>(), len) })
}

/// A slice as as many nested arrays as it holds; `None` when its length is no multiple of theirs, or theirs is 0.
#[inline(always)]
pub fn rows<A: Nested>(items: &[A::Item]) -> Option<&[A]> {
    let len = size_of_val(items).checked_div(size_of::<A>())?;
    nested_slice(items, len)
}

/// The mutable form of [`rows`].
#[inline(always)]
pub fn rows_mut<A: Nested>(items: &mut [A::Item]) -> Option<&mut [A]> {
    let len = size_of_val(items).checked_div(size_of::<A>())?;
    nested_slice_mut(items, len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_flatten_in_row_major_order() {
        assert_eq!(flat(&[[[1.0f32], [2.0]], [[3.0], [4.0]]]), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(flat(&5i64), [5]);
        assert_eq!(flat(&[[true, false]]), [1u8, 0]);
        assert_eq!(flat(&[[7u8, 8], [9, 10]][1..]), [9, 10]);
        assert_eq!(flat(&[[0.0f32; 0]; 3]), [] as [f32; 0]);
        let mut array = [[1, 2], [3, 4]];
        flat_mut(&mut array)[2] = 9;
        assert_eq!(array, [[1, 2], [9, 4]]);
        let mut bools = [[true], [false]];
        items_mut(&mut bools)[1] = true;
        assert_eq!((items(&bools), items(&[[0u8; 0]; 3])), (&[true, true][..], &[][..]));
    }

    #[test]
    fn slices_nest_only_at_the_right_length() {
        let mut numbers = [1i16, 2, 3, 4, 5, 6];
        assert_eq!(nested::<[[i16; 3]; 2]>(&numbers), Some(&[[1, 2, 3], [4, 5, 6]]));
        assert_eq!(nested::<[[i16; 3]; 1]>(&numbers), None);
        assert_eq!(nested::<i16>(&numbers[..1]), Some(&1));
        assert_eq!(nested_slice::<[i16; 2]>(&numbers, 3), Some(&[[1, 2], [3, 4], [5, 6]][..]));
        assert_eq!(nested_slice::<[i16; 2]>(&numbers, 2), None);
        assert_eq!(nested_slice::<[i16; 2]>(&numbers, usize::MAX), None);
        assert_eq!(nested_slice::<[i16; 0]>(&[], 7).map(<[_]>::len), Some(7));
        assert_eq!(rows::<[i16; 3]>(&numbers), Some(&[[1, 2, 3], [4, 5, 6]][..]));
        assert_eq!((rows::<[i16; 4]>(&numbers), rows::<[i16; 0]>(&numbers)), (None, None));
        if let Some(array) = nested_mut::<[[i16; 3]; 2]>(&mut numbers) {
            array[1][0] = 0;
        }
        assert_eq!(numbers, [1, 2, 3, 0, 5, 6]);
        assert_eq!(nested_mut::<[i16; 5]>(&mut numbers), None);
        if let Some([_, row]) = nested_slice_mut::<[i16; 3]>(&mut numbers, 2) {
            row[2] = 8;
        }
        assert_eq!(rows_mut::<[i16; 2]>(&mut numbers), Some(&mut [[1, 2], [3, 0], [5, 8]][..]));
        assert_eq!(nested_slice_mut::<[i16; 3]>(&mut numbers, 1), None);
        assert_eq!((rows_mut::<[i16; 4]>(&mut numbers), rows_mut::<[i16; 0]>(&mut [])), (None, None));
    }
}
