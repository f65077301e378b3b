//! Typed views of bytes, and sub-slices that cannot panic.

use crate::{Element, Error};

/// The bytes as elements; empty when the address is not aligned for `T` or the length is no multiple of its size.
#[inline(always)]
pub fn cast<T: Element>(bytes: &[u8]) -> &[T] {
    let start = bytes.as_ptr().cast::<T>();
    if !start.is_aligned() || !bytes.len().is_multiple_of(size_of::<T>()) {
        return &[];
    }
    // SAFETY:
    // - `start` is aligned for `T` (checked above) and not null (it comes from a reference).
    // - The range is exactly that of `bytes`: one live, initialised allocation, not larger than `isize::MAX`.
    // - `T: Element` has no invalid bit pattern.
    // - The result borrows `bytes`, so nothing writes to the range while it lives.
    unsafe { core::slice::from_raw_parts(start, bytes.len() / size_of::<T>()) }
}

/// The mutable form of [`cast`].
#[inline(always)]
pub fn cast_mut<T: Element>(bytes: &mut [u8]) -> &mut [T] {
    let start = bytes.as_mut_ptr().cast::<T>();
    if !start.is_aligned() || !bytes.len().is_multiple_of(size_of::<T>()) {
        return &mut [];
    }
    // SAFETY:
    // - `start` is aligned for `T` (checked above) and not null (it comes from a reference).
    // - The range is exactly that of `bytes`: one live, initialised allocation, not larger than `isize::MAX`.
    // - `T: Element` has no invalid bit pattern and no padding, so what is written through the result leaves
    //   initialised bytes behind.
    // - The result borrows `bytes` mutably, so it is the only access to the range while it lives.
    unsafe { core::slice::from_raw_parts_mut(start, bytes.len() / size_of::<T>()) }
}

/// A bool tensor (one byte per element) as Rust `bool`s; `None` when a byte is neither 0 nor 1.
#[inline]
pub fn bools(bytes: &[u8]) -> Option<&[bool]> {
    if bytes.iter().any(|byte| *byte > 1) {
        return None;
    }
    // SAFETY: `bool` has size and alignment 1, and every byte of the range is 0 or 1 (checked above); the result
    // borrows `bytes`, so nobody changes them while it lives.
    Some(unsafe { core::slice::from_raw_parts(bytes.as_ptr().cast::<bool>(), bytes.len()) })
}

/// The mutable form of [`bools`].
#[inline]
pub fn bools_mut(bytes: &mut [u8]) -> Option<&mut [bool]> {
    if bytes.iter().any(|byte| *byte > 1) {
        return None;
    }
    // SAFETY: as in `bools`; the result borrows `bytes` mutably, and a `bool` written through it is the byte 0 or 1.
    Some(unsafe { core::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast::<bool>(), bytes.len()) })
}

/// Copies `from` to the beginning of `to`.
///
/// # Errors
/// [`Error::Capacity`] when `to` is shorter.
#[inline]
pub fn copy_into<T: Copy>(from: &[T], to: &mut [T]) -> Result<(), Error> {
    let to = to.get_mut(..from.len()).ok_or(Error::Capacity)?;
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
    Ok(())
}

/// `slice[start..start + len]`; empty when that range is not inside.
#[inline(always)]
pub fn part<T>(slice: &[T], start: usize, len: usize) -> &[T] {
    slice.get(start..).and_then(|rest| rest.get(..len)).unwrap_or(&[])
}

/// `slice[start..start + len]`; empty when that range is not inside.
#[inline(always)]
pub fn part_mut<T>(slice: &mut [T], start: usize, len: usize) -> &mut [T] {
    slice.get_mut(start..).and_then(|rest| rest.get_mut(..len)).unwrap_or(&mut [])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(align(16))]
    struct Aligned([u8; 16]);

    #[test]
    fn bytes_become_little_endian_numbers() {
        let mut memory = Aligned([0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(cast::<f32>(&memory.0), &[1.0, -2.0, 0.0, 0.0]);
        cast_mut::<i64>(&mut memory.0)[1] = 7;
        assert_eq!(cast::<i32>(&memory.0)[2..], [7, 0]);
    }

    #[test]
    fn wrong_views_are_empty() {
        let mut memory = Aligned([0; 16]);
        assert!(cast::<f32>(&memory.0[1..5]).is_empty());
        assert!(cast::<f32>(&memory.0[..6]).is_empty());
        assert!(cast_mut::<f64>(&mut memory.0[4..12]).is_empty());
        assert_eq!(cast::<f64>(&[]), &[] as &[f64]);
    }

    #[test]
    fn bools_are_zeros_and_ones() {
        assert_eq!(bools(&[0, 1, 1]), Some(&[false, true, true][..]));
        assert_eq!(bools(&[0, 2]), None);
        let mut bytes = [0, 1];
        bools_mut(&mut bytes).into_iter().flatten().for_each(|b| *b = !*b);
        assert_eq!(bytes, [1, 0]);
        assert_eq!(bools_mut(&mut [3]), None);
    }

    #[test]
    fn copies_need_room() {
        let mut to = [0; 3];
        assert_eq!(copy_into(&[1, 2], &mut to), Ok(()));
        assert_eq!(to, [1, 2, 0]);
        assert_eq!(copy_into(&[1, 2, 3, 4], &mut to), Err(Error::Capacity));
    }

    #[test]
    fn parts_outside_are_empty() {
        let mut numbers = [1, 2, 3, 4];
        assert_eq!(part(&numbers, 1, 2), [2, 3]);
        assert_eq!(part(&numbers, 4, 0), [] as [i32; 0]);
        assert!(part(&numbers, 3, 2).is_empty());
        assert!(part(&numbers, 5, 0).is_empty());
        assert!(part(&numbers, 1, usize::MAX).is_empty());
        part_mut(&mut numbers, 2, 2)[0] = 9;
        assert_eq!(numbers, [1, 2, 9, 4]);
        assert!(part_mut(&mut numbers, 2, 3).is_empty());
    }
}
