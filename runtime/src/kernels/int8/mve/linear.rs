//! Matrix products with constant weights.

use super::super::Format;
use super::body::{self, Tiles};
use crate::kernels::matmul::span;
use crate::simd::{Op, Simd};

/// `y[rows, columns] = x[rows, inner] · weights`, requantized, two rows at a time. If a slice is too short, nothing is written.
pub struct Linear<'a> {
    /// `[rows][inner]`, rows `x_stride` apart.
    pub x: &'a [i8],
    /// As [`super::records::tiles`] makes them.
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

impl Op for Linear<'_> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        s.outline(Rows(self));
    }
}

struct Rows<'a>(Linear<'a>);

impl Op for Rows<'_> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, _: S) {
        let l = self.0;
        let reach = [span(l.rows, l.x_stride, l.inner), span(l.rows, l.y_stride, l.columns)];
        if !matches!(reach, [Some(x), Some(y)] if x <= l.x.len() && y <= l.y.len()) {
            return;
        }
        let Some(tiles) = Tiles::new(l.records, l.inner, l.columns, &l.format) else { return };
        for row in (0..l.rows).step_by(2) {
            // The last row may be both.
            let rows = [row, (row + 1).min(l.rows - 1)];
            let at = [rows.map(|row| row * l.x_stride), rows.map(|row| row * l.y_stride)];
            tiles.pair(l.x, at, l.y);
        }
    }
}

/// `y[columns] = x[inner] · weights`, requantized; for each of a few rows, which read all weights. If a slice is too short,
/// nothing is written.
pub struct LinearRow<'a> {
    /// `[rows][inner]`, rows `x_stride` apart.
    pub x: &'a [i8],
    /// As [`super::records::rows`] makes them.
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
        for row in 0..l.rows {
            let (at, to) = (row * l.x_stride, row * l.y_stride);
            let (Some(x), Some(y)) = (l.x.get(at..at + l.inner), l.y.get_mut(to..to + l.columns)) else { return };
            body::row(x, l.records, l.format.zero, y);
            l.format.bound(y, [0], l.columns);
        }
    }
}
