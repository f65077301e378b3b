//! Matrix products: [`Linear`] with weights packed at build time, [`MatMul`] of two activations.
//!
//! f32 at AVX2: 6x16 tiles; one row (GEMV) takes 64 columns at once, which keeps up with the second-level cache.

use super::arith::Arith;
use super::epilogue::{Epilogue, Even};
use super::tile::{BLOCK, Body, MANY, Order, Tiles, accumulate, ahead, blocks, cover, from, halves, stretch, zeros};
use crate::memory::Strips;
use crate::simd::{Half16, Op, Panel, Simd, unrolled};

/// `y[rows, columns] = clamp(leaky((x[rows, inner] · weights) * scale + bias + residual))`.
///
/// Weights lie in panels `[ceil(columns / WIDTH)][inner][WIDTH]`, zero-padded. Sums
/// are as [`super::tile`] says; `inner = 0` gives the epilogue of 0. NaN and infinity follow IEEE arithmetic, a NaN
/// passes the clamp. If a slice is too short for the geometry, nothing is written.
pub struct Linear<'a, K: Arith, P: Panel> {
    /// `[rows][inner]`, rows `x_stride` apart.
    pub x: &'a [K::X],
    /// Panels.
    pub weights: &'a [K::W],
    /// `[columns]`, if there is one.
    pub bias: Option<&'a [K::A]>,
    /// `[columns]`: scale, of quantized weights only.
    pub scale: Option<&'a [K::A]>,
    /// `[columns]`: zero point, of quantized weights only.
    pub zero_point: Option<&'a [K::A]>,
    /// `[columns]`: factor of negative results, if there is one.
    pub slope: Option<&'a [K::A]>,
    /// Added before the activation; lies as `y` does.
    pub residual: Option<&'a [K::Y]>,
    /// The residual is what `y` holds.
    pub in_place: bool,
    /// `[rows][columns]`, rows `y_stride` apart.
    pub y: &'a mut [K::Y],
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
    /// Least result.
    pub low: K::A,
    /// Greatest result.
    pub high: K::A,
    /// What the numbers stand for.
    pub format: K::Format,
    /// Panel width.
    pub panel: P,
}

/// Elements that `rows` rows of `width`, `stride` apart, span; `None` on overflow.
pub(crate) fn span(rows: usize, stride: usize, width: usize) -> Option<usize> {
    match rows {
        0 => Some(0),
        _ => (rows - 1).checked_mul(stride)?.checked_add(width),
    }
}

impl<'a, K: Arith, P: Panel> Linear<'a, K, P> {
    fn fits(&self) -> Option<()> {
        let panels = self.columns.div_ceil(P::WIDTH);
        let weights = panels.checked_mul(self.inner)?.checked_mul(P::WIDTH)?;
        let y = span(self.rows, self.y_stride, self.columns)?;
        let fits = self.x.len() >= span(self.rows, self.x_stride, self.inner)?
            && self.weights.len() >= weights
            && self.y.len() >= y
            && self.epilogue().fits(self.columns, y);
        fits.then_some(())
    }

    fn epilogue(&self) -> Epilogue<'a, K> {
        Epilogue {
            format: self.format,
            scale: self.scale.unwrap_or(&[]),
            zero_point: self.zero_point.unwrap_or(&[]),
            bias: self.bias.unwrap_or(&[]),
            slope: self.slope.unwrap_or(&[]),
            residual: self.residual.unwrap_or(&[]),
            in_place: self.in_place,
            low: self.low,
            high: self.high,
        }
    }
}

impl<K: Arith, P: Panel> Linear<'_, K, P> {
    /// As panels of some width.
    #[inline(always)]
    fn part<Q: Panel>(&mut self) -> Rows<'_, K, Q> {
        Rows {
            x: self.x,
            weights: Q::rows(self.weights),
            epilogue: self.epilogue(),
            y: &mut *self.y,
            inner: self.inner,
            first: 0,
            columns: self.columns,
            x_stride: self.x_stride,
            y_stride: self.y_stride,
        }
    }

    /// All rows, where the last panel is half empty: it passes while rows are in the second-level cache.
    #[inline(always)]
    fn halved<S: Simd>(&mut self, s: S, whole: usize) {
        for rows in blocks(0..self.rows, (BLOCK / self.inner.max(1)).max(MANY)) {
            let mut part = self.part::<P>();
            let order = part.order(whole);
            stretch::<S, K::Tiles<S, P>, _>(s, rows.clone(), whole, order, &mut part);
            let mut part = self.part::<Half16>();
            part.weights = from(part.weights, whole * part.inner);
            part.first = whole * P::WIDTH;
            K::Tiles::<S, P>::half(s, rows, &mut part);
        }
    }
}

impl<K: Arith, P: Panel> Op for Linear<'_, K, P> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        s.outline(Product(self));
    }
}

struct Product<'a, K: Arith, P: Panel>(Linear<'a, K, P>);

impl<K: Arith, P: Panel> Op for Product<'_, K, P> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        let mut l = self.0;
        if l.fits().is_none() {
            return;
        }
        let (whole, half) = halves::<K::Tiles<S, P>>(l.rows, l.columns, P::WIDTH);
        if half {
            return l.halved(s, whole);
        }
        let count = l.rows;
        l.part::<P>().all(s, count);
    }
}

/// The tiles of one product.
pub struct Rows<'a, K: Arith, P: Panel> {
    pub(super) x: &'a [K::X],
    pub(super) weights: &'a [P::Row<K::W>],
    pub(super) epilogue: Epilogue<'a, K>,
    pub(super) y: &'a mut [K::Y],
    pub(super) inner: usize,
    /// Of the columns.
    pub(super) first: usize,
    /// End of the columns.
    pub(super) columns: usize,
    pub(super) x_stride: usize,
    pub(super) y_stride: usize,
}

/// Weights that stay in the first-level cache: two thirds of 48 KiB.
const FEW: usize = 1 << 13;

impl<'a, K: Arith, P: Panel> Rows<'a, K, P> {
    /// Computes `count` rows.
    #[inline(always)]
    fn all<S: Simd>(&mut self, s: S, count: usize) {
        if K::product(self, count) {
            return;
        }
        let panels = self.columns.div_ceil(P::WIDTH);
        let order = self.order(panels);
        cover::<S, K::Tiles<S, P>, _>(s, count, panels, order, self);
    }

    #[inline(always)]
    fn order(&self, panels: usize) -> Order {
        // Where all weights stay in the first cache, memory is read and written in order. Narrow panels belong to small
        // cores: for them one order is less code.
        let few = const { P::WIDTH > 4 } && self.inner * panels * P::WIDTH <= FEW;
        if few { Order::RowsOuter } else { Order::PanelsOuter(BLOCK / self.inner.max(1)) }
    }
}

impl<K: Arith, P: Panel> Body for Rows<'_, K, P> {
    const TOGETHER: bool = P::ROOM;
    #[inline(always)]
    fn tile<S: Simd, const ROWS: usize, const PANELS: usize>(&mut self, s: S, row: usize, panel: usize) {
        let Some(x) = rows::<_, P, ROWS>(self.x, row, self.x_stride, self.inner) else { return };
        let Some(w) = rows::<_, P, PANELS>(self.weights, panel, self.inner, self.inner) else { return };
        let first = self.first + panel * P::WIDTH;
        let zero_point = self.epilogue.zero_points::<S, P, PANELS>(s, first);
        let mut sums = zeros::<K, S, P, ROWS, PANELS>(s);
        let ahead = ahead::<K::Tiles<S, P>, ROWS, PANELS>(self.inner, self.columns, row);
        accumulate::<K, S, P, ROWS, PANELS>(s, &mut sums, x, w, &zero_point, ahead);
        let to = Even { first: row * self.y_stride, step: self.y_stride };
        self.epilogue.write::<S, P, ROWS, PANELS>(s, &sums, self.y, to, first, self.columns);
    }
}

/// `N` rows from `row` on, `stride` apart. One comparison for all of them takes more code than one each.
#[inline(always)]
fn rows<T, P: Panel, const N: usize>(from: &[T], row: usize, stride: usize, len: usize) -> Option<[&[T]; N]> {
    if P::ROOM {
        return Strips::even(from, row * stride, stride, len)?.part(0, len);
    }
    let mut rows: [&[T]; N] = [&[]; N];
    unrolled!(N, i, {
        let at = (row + i) * stride;
        rows[i] = from.get(at..at + len)?;
    });
    Some(rows)
}

/// `y[i, j] = a[i, j] · b[i, j] + residual` for each of `batch[0] * batch[1]` pairs of matrices.
///
/// `b` has any strides (so a transposed one costs nothing more); each matrix is packed into panels in `scratch` first,
/// once for all that share it. The sums are those of [`Linear`]. If a slice is too short, nothing is written.
pub struct MatMul<'a, K: Arith<W = <K as Arith>::X, Format = ()>, P: Panel> {
    /// Left operand; inner dim contiguous.
    pub a: &'a [K::X],
    /// Right operand.
    pub b: &'a [K::X],
    /// `[columns]`, if there is one.
    pub bias: Option<&'a [K::A]>,
    /// Lies as `y` does, if there is one.
    pub residual: Option<&'a [K::Y]>,
    /// The residual is what `y` holds.
    pub in_place: bool,
    /// Result; columns contiguous.
    pub y: &'a mut [K::Y],
    /// `ceil(columns / WIDTH) * WIDTH * inner` elements.
    pub scratch: &'a mut [K::X],
    /// Two batch dims (1 for fewer).
    pub batch: [usize; 2],
    /// Rows of `a` and `y`.
    pub rows: usize,
    /// Columns of `a`, rows of `b`.
    pub inner: usize,
    /// Columns of `b` and `y`.
    pub columns: usize,
    /// Strides of the batch dims and of rows of `a`.
    pub a_strides: [usize; 3],
    /// Strides of the batch dims, of the inner dim and of columns of `b`.
    pub b_strides: [usize; 4],
    /// Strides of the batch dims and of rows of `y`.
    pub y_strides: [usize; 3],
    /// Least result.
    pub low: K::A,
    /// Greatest result.
    pub high: K::A,
    /// Panel width.
    pub panel: P,
}

impl<K: Arith<W = <K as Arith>::X, Format = ()>, P: Panel> MatMul<'_, K, P> {
    fn fits(&self) -> Option<()> {
        let outer = |strides: [usize; 2]| {
            if self.batch.contains(&0) {
                return None;
            }
            (self.batch[0] - 1).checked_mul(strides[0])?.checked_add((self.batch[1] - 1).checked_mul(strides[1])?)
        };
        let panels = self.columns.div_ceil(P::WIDTH);
        let [a0, a1, ar] = self.a_strides;
        let [b0, b1, bk, bn] = self.b_strides;
        let [y0, y1, yr] = self.y_strides;
        let y = outer([y0, y1])?.checked_add(span(self.rows, yr, self.columns)?)?;
        let b_matrix = if self.columns == 0 { 0 } else { span(self.inner, bk, span(self.columns, bn, 1)?)? };
        let fits = self.a.len() >= outer([a0, a1])?.checked_add(span(self.rows, ar, self.inner)?)?
            && self.b.len() >= outer([b0, b1])?.checked_add(b_matrix)?
            && self.scratch.len() >= panels.checked_mul(self.inner)?.checked_mul(P::WIDTH)?
            && self.y.len() >= y
            && self.bias.is_none_or(|b| b.len() >= self.columns)
            && self.residual.is_none_or(|r| r.len() >= y);
        fits.then_some(())
    }

    /// The matrix at `start` of `b` as panels in `scratch`.
    #[inline(always)]
    fn pack(&mut self, start: usize) {
        let [_, _, bk, bn] = self.b_strides;
        for (panel, to) in self.scratch.chunks_exact_mut((self.inner * P::WIDTH).max(1)).enumerate() {
            let first = panel * P::WIDTH;
            let Some(width) = self.columns.checked_sub(first) else { return };
            let width = width.min(P::WIDTH);
            if bn == 1 {
                for (k, row) in to.chunks_exact_mut(P::WIDTH).enumerate() {
                    let at = start + k * bk + first;
                    let from = self.b.get(at..at + width).unwrap_or(&[]);
                    let (head, tail) = row.split_at_mut_checked(width).unwrap_or((&mut [], &mut []));
                    head.iter_mut().zip(from).for_each(|(t, f)| *t = *f);
                    tail.fill(K::X::default());
                }
            } else {
                for lane in 0..P::WIDTH {
                    let column = to.iter_mut().skip(lane).step_by(P::WIDTH);
                    if lane < width {
                        let from = super::tile::from(self.b, start + (first + lane) * bn);
                        super::tile::spread(column, from, bk, |x| x);
                    } else {
                        column.for_each(|t| *t = K::X::default());
                    }
                }
            }
        }
    }
}

impl<K: Arith<W = <K as Arith>::X, Format = ()>, P: Panel> Op for MatMul<'_, K, P> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        s.outline(Products(self));
    }
}

struct Products<'a, K: Arith<W = <K as Arith>::X, Format = ()>, P: Panel>(MatMul<'a, K, P>);

impl<K: Arith<W = <K as Arith>::X, Format = ()>, P: Panel> Op for Products<'_, K, P> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        let mut m = self.0;
        if m.fits().is_none() {
            return;
        }
        let mut packed = None;
        for index in 0..m.batch[0] * m.batch[1] {
            let (i, j) = (index / m.batch[1].max(1), index % m.batch[1].max(1));
            let at = |strides: &[usize]| i * strides.first().unwrap_or(&0) + j * strides.get(1).unwrap_or(&0);
            let b = at(&m.b_strides);
            if packed != Some(b) {
                m.pack(b);
                packed = Some(b);
            }
            let y = at(&m.y_strides);
            let mut rows = Rows::<K, P> {
                x: super::tile::from(m.a, at(&m.a_strides)),
                weights: P::rows(m.scratch),
                epilogue: Epilogue {
                    format: (),
                    scale: &[],
                    zero_point: &[],
                    bias: m.bias.unwrap_or(&[]),
                    slope: &[],
                    residual: super::tile::from(m.residual.unwrap_or(&[]), y),
                    in_place: m.in_place,
                    low: m.low,
                    high: m.high,
                },
                y: m.y.get_mut(y..).unwrap_or(&mut []),
                inner: m.inner,
                first: 0,
                columns: m.columns,
                x_stride: m.a_strides[2],
                y_stride: m.y_strides[2],
            };
            rows.all(s, m.rows);
        }
    }
}
