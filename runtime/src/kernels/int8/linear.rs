//! Linear layers: of several rows in tiles, of one row without patches.

use super::records::{GROUP, PIXELS, tile_words, vector_words};
use super::{Columns, Format, body, widen};
use crate::kernels::matmul::span;
use crate::kernels::tile::from;
use crate::simd::{Op, Simd};

/// Words of scratch of a tile: patches of `inner` elements.
pub const fn scratch_len(inner: usize) -> usize {
    PIXELS * inner.div_ceil(8) * 4
}

/// `y[rows, columns] = x[rows, inner] · weights`, requantized. If a slice is too short, nothing is written.
pub struct Linear<'a> {
    /// `[rows][inner]`, rows `x_stride` apart.
    pub x: &'a [i8],
    /// As [`super::records::tiles`] makes them.
    pub records: &'a [i32],
    /// `[rows][columns]`, rows `y_stride` apart.
    pub y: &'a mut [i8],
    /// [`scratch_len`] words.
    pub scratch: &'a mut [i32],
    /// Rows.
    pub rows: usize,
    /// Inner dimension.
    pub inner: usize,
    /// Columns.
    pub columns: usize,
    /// Distance of rows of `x`.
    pub x_stride: usize,
    /// Distance of rows of `y`.
    pub y_stride: usize,
    /// What outputs are.
    pub format: Format,
}

impl Op for Linear<'_> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        s.outline(Rows(self));
    }
}

/// Where the rows of a tile begin, the last again if there are fewer.
#[inline(always)]
fn spread(first: usize, stride: usize, rows: usize) -> [usize; PIXELS] {
    let second = first + if rows > 1 { stride } else { 0 };
    [first, second, second + if rows > 2 { stride } else { 0 }]
}

struct Rows<'a>(Linear<'a>);

impl Rows<'_> {
    fn fits(&self) -> Option<()> {
        let l = &self.0;
        let records = l.columns.div_ceil(2).checked_mul(tile_words(l.inner.div_ceil(8)))?;
        let fits = l.x.len() >= span(l.rows, l.x_stride, l.inner)?
            && l.y.len() >= span(l.rows, l.y_stride, l.columns)?
            && l.scratch.len() >= scratch_len(l.inner)
            && l.records.len() >= records
            && l.rows > 0;
        fits.then_some(())
    }
}

impl Op for Rows<'_> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, _: S) {
        if self.fits().is_none() {
            return;
        }
        let l = self.0;
        let turns = l.inner.div_ceil(8);
        let columns = Columns { records: l.records, columns: l.columns, turns, format: l.format };
        let mut row = 0;
        while row < l.rows {
            // The last tile begins early enough to be whole.
            let first = row.min(l.rows.saturating_sub(PIXELS));
            let starts = spread(first * l.x_stride, l.x_stride, l.rows);
            if !body::patches(l.x, starts, [1, 0, l.inner], l.scratch) {
                for (i, at) in starts.into_iter().enumerate() {
                    widen(l.x.get(at..at + l.inner).unwrap_or_default(), l.scratch.get_mut(i..).unwrap_or_default());
                }
            }
            columns.tile(l.scratch, l.y, spread(first * l.y_stride, l.y_stride, l.rows));
            row += PIXELS;
        }
    }
}

/// `y[columns] = x[inner] · weights`, requantized, for a multiple of 4 inputs; for each of a few rows. If a slice is too
/// short, nothing is written.
pub struct LinearRow<'a> {
    /// `[rows][inner]`, rows `x_stride` apart.
    pub x: &'a [i8],
    /// As [`super::records::vectors`] makes them.
    pub records: &'a [i32],
    /// `[rows][columns]`, rows `y_stride` apart.
    pub y: &'a mut [i8],
    /// Rows.
    pub rows: usize,
    /// Inner dimension.
    pub inner: usize,
    /// Columns.
    pub columns: usize,
    /// Distance of rows of `x`.
    pub x_stride: usize,
    /// Distance of rows of `y`.
    pub y_stride: usize,
    /// What outputs are.
    pub format: Format,
}

impl Op for LinearRow<'_> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        s.outline(Row(self));
    }
}

struct Row<'a>(LinearRow<'a>);

impl Op for Row<'_> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, _: S) {
        let l = self.0;
        let (fours, pairs) = (l.inner / 4, l.columns.div_ceil(2));
        // All pairs but one whose odd channel is none, which must not be written.
        let whole = l.columns / 2 / GROUP * GROUP;
        let whole = if l.columns.is_multiple_of(2) { pairs } else { whole };
        for row in 0..l.rows {
            let (at, to) = (row * l.x_stride, row * l.y_stride);
            let (Some(x), Some(y)) = (l.x.get(at..at + fours * 4), l.y.get_mut(to..to + l.columns)) else { return };
            body::vector(x, l.records, l.format.zero, y, whole);
            if whole < pairs {
                let mut last = [0i8; 2 * GROUP];
                let records = from(l.records, vector_words(fours, whole));
                body::vector(x, records, l.format.zero, &mut last, pairs - whole);
                let rest = y.get_mut(2 * whole..).unwrap_or_default();
                rest.iter_mut().zip(last).for_each(|(y, last)| *y = last);
            }
            l.format.bound(y, [0], l.columns);
        }
    }
}
