//! Selection and writing by index tensors: embedding, `index_select`, advanced indexing, `gather`, `scatter`.
//!
//! An index outside of its dim ends the kernel with [`Error::IndexOutOfRange`]; results written until then stay, the caller
//! commits nothing of a failed call. Index tensors are i32 or i64.

use super::num::{Float, Number, Real, Wide, holds};
use super::reduce::LANES;
use crate::{Element, Error, Op, Simd};

/// The position an index means; with `wrap`, negative ones count from the end.
#[inline(always)]
fn position<I: Number<Wide = i64>>(index: I, size: usize, wrap: bool) -> Result<usize, Error> {
    let index = index.widen();
    let at = if wrap && index < 0 { index.wrapping_add(size as i64) } else { index };
    match usize::try_from(at) {
        Ok(at) if at < size => Ok(at),
        _ => Err(Error::IndexOutOfRange { index, size }),
    }
}

/// Elements `[block * len, (block + 1) * len)`, empty when there are fewer.
#[inline(always)]
fn block<T>(x: &[T], block: usize, len: usize) -> &[T] {
    let start = block.saturating_mul(len);
    x.get(start..start.saturating_add(len)).unwrap_or_default()
}

#[inline(always)]
fn copy<T: Copy>(to: &mut [T], from: &[T]) {
    if to.len() == from.len() {
        to.copy_from_slice(from);
    }
}

/// Coordinates of the true elements in row-major order, one row of `y` each, and how many there are. Rows of `y` beyond
/// that keep what they had.
#[derive(Debug)]
pub struct Nonzero<'a, const R: usize> {
    /// Elements 0 or 1.
    pub x: &'a [u8],
    /// `[len(x), R]`.
    pub y: &'a mut [i64],
    /// One element.
    pub count: &'a mut [i64],
    /// Sizes of `x`.
    pub shape: [usize; R],
}

impl<const R: usize> Op for Nonzero<'_, R> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, _s: S) {
        let (mut at, mut count) = ([0i64; R], 0);
        let mut rows = self.y.chunks_exact_mut(R.max(1));
        for &element in self.x {
            if element != 0
                && let Some(row) = rows.next()
            {
                copy(row, &at);
                count += 1;
            }
            // The next coordinates: the last dim runs fastest.
            for (index, &size) in at.iter_mut().zip(&self.shape).rev() {
                *index += 1;
                if *index < size as i64 {
                    break;
                }
                *index = 0;
            }
        }
        self.count.iter_mut().for_each(|c| *c = count);
    }
}

/// `y[o, j, i] = x[o, ids[j], i]`; negative indices are out of range, as in torch. Embedding is `outer = 1`.
#[derive(Debug)]
pub struct IndexSelect<'a, T: Element, I: Number<Wide = i64>> {
    /// `[outer, n, inner]`.
    pub x: &'a [T],
    /// `[k]`.
    pub ids: &'a [I],
    /// `[outer, k, inner]`.
    pub y: &'a mut [T],
    /// Dims before the selected one.
    pub outer: usize,
    /// The dim selected from.
    pub n: usize,
    /// Dims after it.
    pub inner: usize,
}

impl<T: Element, I: Number<Wide = i64>> Op for IndexSelect<'_, T, I> {
    type Output = Result<(), Error>;
    #[inline(always)]
    fn call<S: Simd>(self, _s: S) -> Result<(), Error> {
        let (k, inner) = (self.ids.len(), self.inner);
        if !holds(self.x.len(), &[self.outer, self.n, inner]) || !holds(self.y.len(), &[self.outer, k, inner]) {
            return Ok(());
        }
        let slabs = self.y.chunks_exact_mut(k.saturating_mul(inner).max(1));
        for (o, y) in slabs.enumerate() {
            let x = block(self.x, o, self.n.saturating_mul(inner));
            for (y, &id) in y.chunks_exact_mut(inner.max(1)).zip(self.ids) {
                copy(y, block(x, position(id, self.n, false)?, inner));
            }
        }
        Ok(())
    }
}

/// The cell of `sizes` that the `j`th entries of the index tensors name together; negative indices count from the end.
#[inline(always)]
fn cell<I: Number<Wide = i64>, const D: usize>(
    index: &[&[I]; D],
    sizes: &[usize; D],
    j: usize,
) -> Result<usize, Error> {
    let mut cell = 0usize;
    for (ids, &size) in index.iter().zip(sizes) {
        if let Some(&id) = ids.get(j) {
            cell = cell.saturating_mul(size).saturating_add(position(id, size, true)?);
        }
    }
    Ok(cell)
}

/// `y[o, j, i] = x[o, index[0][j], index[1][j], .., i]`: advanced indexing of adjacent dims.
#[derive(Debug)]
pub struct Index<'a, T: Element, I: Number<Wide = i64>, const D: usize> {
    /// `[outer, sizes.., inner]`.
    pub x: &'a [T],
    /// `[k]` each.
    pub index: [&'a [I]; D],
    /// `[outer, k, inner]`.
    pub y: &'a mut [T],
    /// Dims before the indexed ones.
    pub outer: usize,
    /// The indexed dims.
    pub sizes: [usize; D],
    /// Entries of every index tensor.
    pub k: usize,
    /// Dims after the indexed ones.
    pub inner: usize,
}

impl<T: Element, I: Number<Wide = i64>, const D: usize> Op for Index<'_, T, I, D> {
    type Output = Result<(), Error>;
    #[inline(always)]
    fn call<S: Simd>(self, _s: S) -> Result<(), Error> {
        let (outer, k, inner) = (self.outer, self.k, self.inner);
        let cells = self.sizes.iter().fold(1usize, |n, &size| n.saturating_mul(size));
        if !holds(self.x.len(), &[outer, cells, inner])
            || !holds(self.y.len(), &[outer, k, inner])
            || self.index.iter().any(|ids| ids.len() != k)
        {
            return Ok(());
        }
        for (o, y) in self.y.chunks_exact_mut(k.saturating_mul(inner).max(1)).enumerate() {
            let x = block(self.x, o, cells.saturating_mul(inner));
            for (j, y) in y.chunks_exact_mut(inner.max(1)).enumerate() {
                copy(y, block(x, cell(&self.index, &self.sizes, j)?, inner));
            }
        }
        Ok(())
    }
}

/// `y[o, index[0][j], index[1][j], .., i] = values[o, j, i]` (or `+=`), in order of `j`.
#[derive(Debug)]
pub struct IndexPut<'a, T: Number, I: Number<Wide = i64>, const D: usize> {
    /// `[outer, sizes.., inner]`; holds the tensor to be changed.
    pub y: &'a mut [T],
    /// `[k]` each.
    pub index: [&'a [I]; D],
    /// `[outer, k, inner]`.
    pub values: &'a [T],
    /// Dims before the indexed ones.
    pub outer: usize,
    /// The indexed dims.
    pub sizes: [usize; D],
    /// Entries of every index tensor.
    pub k: usize,
    /// Dims after the indexed ones.
    pub inner: usize,
    /// Whether to add.
    pub accumulate: bool,
}

impl<T: Number, I: Number<Wide = i64>, const D: usize> Op for IndexPut<'_, T, I, D> {
    type Output = Result<(), Error>;
    #[inline(always)]
    fn call<S: Simd>(self, _s: S) -> Result<(), Error> {
        let (outer, k, inner) = (self.outer, self.k, self.inner);
        let cells = self.sizes.iter().fold(1usize, |n, &size| n.saturating_mul(size));
        if !holds(self.y.len(), &[outer, cells, inner])
            || !holds(self.values.len(), &[outer, k, inner])
            || self.index.iter().any(|ids| ids.len() != k)
        {
            return Ok(());
        }
        for (o, y) in self.y.chunks_exact_mut(cells.saturating_mul(inner).max(1)).enumerate() {
            let values = block(self.values, o, k.saturating_mul(inner));
            for (j, values) in values.chunks_exact(inner.max(1)).enumerate() {
                let start = cell(&self.index, &self.sizes, j)?.saturating_mul(inner);
                let y = y.get_mut(start..start.saturating_add(inner)).unwrap_or_default();
                if self.accumulate {
                    for (y, &v) in y.iter_mut().zip(values) {
                        *y = T::narrow(y.widen().add(v.widen()));
                    }
                } else {
                    copy(y, values);
                }
            }
        }
        Ok(())
    }
}

/// Calls `row(number, base)` for every innermost row of an index space, `base` being its offset under `strides`, with
/// the coordinate along `skip` left out.
#[inline(always)]
fn rows<const N: usize>(
    shape: &[usize; N],
    strides: &[usize; N],
    skip: usize,
    mut row: impl FnMut(usize, usize) -> Result<(), Error>,
) -> Result<(), Error> {
    let outer = shape.split_last().map_or(&[][..], |(_, outer)| outer);
    let count = outer.iter().fold(1usize, |n, &size| n.saturating_mul(size));
    for number in 0..count {
        let (mut rest, mut base) = (number, 0usize);
        for (d, (&size, &stride)) in outer.iter().zip(strides).enumerate().rev() {
            let at = rest.checked_rem(size).unwrap_or(0);
            rest = rest.checked_div(size).unwrap_or(0);
            if d != skip {
                base = base.saturating_add(at.saturating_mul(stride));
            }
        }
        row(number, base)?;
    }
    Ok(())
}

/// `y[i..] = x[i.. with i[dim] replaced by index[i..]]`: `torch.gather`.
#[derive(Debug)]
pub struct Gather<'a, T: Element, I: Number<Wide = i64>, const N: usize> {
    /// Dense; its dims may be larger than those of `index`.
    pub x: &'a [T],
    /// `shape`.
    pub index: &'a [I],
    /// `shape`.
    pub y: &'a mut [T],
    /// Sizes of the index tensor.
    pub shape: [usize; N],
    /// Strides of `x`.
    pub strides: [usize; N],
    /// The dim gathered along.
    pub dim: usize,
    /// Size of that dim of `x`.
    pub size: usize,
}

impl<T: Element, I: Number<Wide = i64>, const N: usize> Op for Gather<'_, T, I, N> {
    type Output = Result<(), Error>;
    #[inline(always)]
    fn call<S: Simd>(self, _s: S) -> Result<(), Error> {
        if !holds(self.index.len(), &self.shape) || self.y.len() != self.index.len() {
            return Ok(());
        }
        let (len, step, along) = innermost(&self.shape, &self.strides, self.dim);
        let Gather { x, index, y, .. } = self;
        rows(&self.shape, &self.strides, self.dim, |number, base| {
            let start = number.saturating_mul(len);
            let y = y.get_mut(start..start.saturating_add(len)).unwrap_or_default();
            let mut base = base;
            for (y, &id) in y.iter_mut().zip(block(index, number, len)) {
                let at = position(id, self.size, false)?.saturating_mul(along);
                if let Some(&x) = x.get(base.saturating_add(at)) {
                    *y = x;
                }
                base = base.saturating_add(step);
            }
            Ok(())
        })
    }
}

/// Length of an innermost row, what a step along it adds to the offset, and the stride of `dim`.
#[inline(always)]
fn innermost<const N: usize>(shape: &[usize; N], strides: &[usize; N], dim: usize) -> (usize, usize, usize) {
    let step = if dim.saturating_add(1) == N { 0 } else { strides.last().copied().unwrap_or(0) };
    (shape.last().copied().unwrap_or(1), step, strides.get(dim).copied().unwrap_or(0))
}

/// How [`Scatter`] combines an element with what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Combine {
    Set,
    Add,
    Mul,
    Max,
    Min,
}

/// `y[i.. with i[dim] replaced by index[i..]] = src[i..]` (or combined), in row-major order: `torch.scatter`.
#[derive(Debug)]
pub struct Scatter<'a, T: Number, I: Number<Wide = i64>, const N: usize> {
    /// Dense; holds the tensor to be changed; its dims may be larger than those of `index`.
    pub y: &'a mut [T],
    /// `shape`.
    pub index: &'a [I],
    /// `shape`.
    pub src: &'a [T],
    /// Sizes of the index tensor.
    pub shape: [usize; N],
    /// Strides of `y`.
    pub strides: [usize; N],
    /// The dim scattered along.
    pub dim: usize,
    /// Size of that dim of `y`.
    pub size: usize,
    /// What is done with the old value.
    pub combine: Combine,
}

impl<T: Number, I: Number<Wide = i64>, const N: usize> Op for Scatter<'_, T, I, N> {
    type Output = Result<(), Error>;
    #[inline(always)]
    fn call<S: Simd>(self, _s: S) -> Result<(), Error> {
        if !holds(self.index.len(), &self.shape) || self.src.len() != self.index.len() {
            return Ok(());
        }
        let (len, step, along) = innermost(&self.shape, &self.strides, self.dim);
        let Scatter { y, index, src, combine, .. } = self;
        rows(&self.shape, &self.strides, self.dim, |number, base| {
            let mut base = base;
            for (&v, &id) in block(src, number, len).iter().zip(block(index, number, len)) {
                let at = position(id, self.size, false)?.saturating_mul(along);
                if let Some(y) = y.get_mut(base.saturating_add(at)) {
                    let (old, new) = (y.widen(), v.widen());
                    *y = match combine {
                        Combine::Set => v,
                        Combine::Add => T::narrow(old.add(new)),
                        Combine::Mul => T::narrow(old.mul(new)),
                        Combine::Max => T::narrow(old.max(new)),
                        Combine::Min => T::narrow(old.min(new)),
                    };
                }
                base = base.saturating_add(step);
            }
            Ok(())
        })
    }
}

/// How [`EmbeddingBag`] reduces a bag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum BagMode {
    Sum,
    Mean,
    Max,
}

/// Rows of a table, reduced bag by bag; bag `b` takes `ids[offsets[b] .. offsets[b + 1]]`, an empty one gives 0.
#[derive(Debug)]
pub struct EmbeddingBag<'a, T: Float, I: Number<Wide = i64>> {
    /// `[n, dim]`.
    pub table: &'a [T],
    /// `[k]`.
    pub ids: &'a [I],
    /// First id of every bag, `[bags]`, or one more when the end of the last bag is given.
    pub offsets: &'a [I],
    /// `[k]`, or empty: factors of the rows (sum only).
    pub weights: &'a [T],
    /// `[bags, dim]`.
    pub y: &'a mut [T],
    /// Rows of the table.
    pub n: usize,
    /// Elements of a row.
    pub dim: usize,
    /// The reduction.
    pub mode: BagMode,
    /// Ids of this value are left out.
    pub padding: Option<usize>,
}

impl<T: Float, I: Number<Wide = i64>> Op for EmbeddingBag<'_, T, I> {
    type Output = Result<(), Error>;
    #[inline(always)]
    fn call<S: Simd>(self, _s: S) -> Result<(), Error> {
        let EmbeddingBag { table, ids, offsets, weights, y, n, dim, mode, padding } = self;
        let k = ids.len();
        if !holds(table.len(), &[n, dim]) || !(weights.is_empty() || weights.len() == k) {
            return Ok(());
        }
        for (b, y) in y.chunks_exact_mut(dim.max(1)).enumerate() {
            let Some(&start) = offsets.get(b) else { return Ok(()) };
            let start = position(start, k.saturating_add(1), false)?;
            let end = match offsets.get(b.saturating_add(1)) {
                Some(&end) => position(end, k.saturating_add(1), false)?,
                None => k,
            };
            let bag = Bag {
                table,
                ids: ids.get(start..end).unwrap_or_default(),
                weights: weights.get(start..end).unwrap_or_default(),
                n,
                dim,
                mode,
                padding,
            };
            for (j, y) in y.chunks_mut(LANES).enumerate() {
                bag.reduce(j * LANES, y)?;
            }
        }
        Ok(())
    }
}

/// One bag of an [`EmbeddingBag`].
struct Bag<'a, T, I> {
    table: &'a [T],
    ids: &'a [I],
    weights: &'a [T],
    n: usize,
    dim: usize,
    mode: BagMode,
    padding: Option<usize>,
}

impl<T: Float, I: Number<Wide = i64>> Bag<'_, T, I> {
    /// Up to [`LANES`] columns from column `first`.
    #[inline(always)]
    fn reduce(&self, first: usize, y: &mut [T]) -> Result<(), Error> {
        let start = if self.mode == BagMode::Max { T::Wide::LOWEST } else { T::Wide::ZERO };
        let mut acc = [start; LANES];
        let mut count = 0usize;
        for (i, &id) in self.ids.iter().enumerate() {
            let id = position(id, self.n, false)?;
            if Some(id) == self.padding {
                continue;
            }
            count += 1;
            let weight = self.weights.get(i).map_or(T::Wide::ONE, |w| w.widen());
            let row = block(self.table, id, self.dim).get(first..).unwrap_or_default();
            for (a, &x) in acc.iter_mut().zip(row) {
                *a = if self.mode == BagMode::Max { a.max(x.widen()) } else { a.add(x.widen().mul(weight)) };
            }
        }
        for (y, a) in y.iter_mut().zip(acc) {
            *y = T::narrow(match self.mode {
                _ if count == 0 => T::Wide::ZERO,
                BagMode::Mean => a.div(T::Wide::from_usize(count)),
                _ => a,
            });
        }
        Ok(())
    }
}
