//! Operations on quantized tensors that are no layers: functions by table, softmax, products of two activations. All on
//! integers, rounded once.

use super::arith::{Narrow, Rescale, rescaled};
use super::num::holds;
use crate::{Element, Op, Simd};

/// `y = table[x]`: any function of one byte. A negative byte is looked up as its unsigned bits.
#[derive(Debug)]
pub struct Lookup<'a, X: Narrow, Y: Element> {
    /// Bytes.
    pub x: &'a [X],
    /// 256 results.
    pub table: &'a [Y],
    /// As many as `x`.
    pub y: &'a mut [Y],
}

impl<X: Narrow, Y: Element> Op for Lookup<'_, X, Y> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, _s: S) {
        let Some(table) = self.table.first_chunk::<256>() else { return };
        for (y, x) in self.y.iter_mut().zip(self.x) {
            *y = table[usize::from(x.widen() as u8)];
        }
    }
}

/// Softmax along the middle dim: `exp(scale * (x - max)) / sum`, rescaled.
///
/// `table[d]` stands for `exp(-scale * d)` in units of a power of two at which a sum of `n` entries is less than 2^31. The sum
/// is inverted once per row; before rounding a result is off by at most `n + 2` units of the table and 2^-30 of itself.
/// Rounds half up.
#[derive(Debug)]
pub struct Softmax<'a, X: Narrow, Y: Narrow> {
    /// `[outer, n, inner]`.
    pub x: &'a [X],
    /// 256 exponentials, falling.
    pub table: &'a [i32],
    /// `[outer, n, inner]`.
    pub y: &'a mut [Y],
    /// Dims before the normalized one.
    pub outer: usize,
    /// The normalized dim.
    pub n: usize,
    /// Dims after it.
    pub inner: usize,
    /// `factor / 2^shift` is the integer that stands for 1, less the zero point; the shift is at most 31.
    pub format: Rescale,
    /// Least result.
    pub low: i32,
    /// Greatest result.
    pub high: i32,
}

impl<X: Narrow, Y: Narrow> Op for Softmax<'_, X, Y> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, _s: S) {
        let Some(table) = self.table.first_chunk::<256>() else { return };
        if !holds(self.x.len(), &[self.outer, self.n, self.inner]) || self.x.len() != self.y.len() {
            return;
        }
        let (slab, inner) = (self.n.saturating_mul(self.inner).max(1), self.inner.max(1));
        let shift = 31 + (self.format.shift & 31);
        for (x, y) in self.x.chunks_exact(slab).zip(self.y.chunks_exact_mut(slab)) {
            for column in 0..inner {
                let entries = || x.iter().skip(column).step_by(inner).map(|x| x.widen());
                let greatest = entries().fold(i32::MIN, i32::max);
                let exponential = |x: i32| u64::from(table[usize::from((greatest - x) as u8)] as u32);
                let sum: u64 = entries().map(exponential).sum();
                let inverse = (u64::from(self.format.factor as u32) << 31) / sum.max(1);
                for (y, x) in y.iter_mut().skip(column).step_by(inner).zip(entries()) {
                    let share = (exponential(x) * inverse + (1 << (shift - 1))) >> shift;
                    let q = (share as i64 + i64::from(self.format.output_zero))
                        .clamp(i64::from(self.low), i64::from(self.high));
                    *y = Y::narrow(q as i32);
                }
            }
        }
    }
}

/// `y[b, m, n] = clamp(rescaled(sum over k of (a[b, m, k] - input_zero) * (b[b, k, n] - weight_zero)))`, two batch dims.
/// Sums must fit 32 bits.
#[derive(Debug)]
pub struct MatMul<'a, A: Narrow, B: Narrow, Y: Narrow> {
    /// Left operand; strides in `a_strides`.
    pub a: &'a [A],
    /// Right operand; strides in `b_strides`.
    pub b: &'a [B],
    /// `[batch 0, batch 1, rows, columns]`.
    pub y: &'a mut [Y],
    /// `columns` sums.
    pub scratch: &'a mut [i32],
    /// Batch dims.
    pub batch: [usize; 2],
    /// m.
    pub rows: usize,
    /// k.
    pub inner: usize,
    /// n.
    pub columns: usize,
    /// Strides of batch dims, m, k.
    pub a_strides: [usize; 4],
    /// Strides of batch dims, k, n.
    pub b_strides: [usize; 4],
    /// The integer that stands for 0 in `b`.
    pub weight_zero: i32,
    /// Zero points of `a` and `y`, and the factor.
    pub format: Rescale,
    /// Least result.
    pub low: i32,
    /// Greatest result.
    pub high: i32,
}

/// `count` elements from `start`, `stride` apart.
#[inline(always)]
fn spaced<T: Copy>(x: &[T], start: usize, stride: usize, count: usize) -> impl Iterator<Item = T> {
    x.get(start..).unwrap_or_default().iter().step_by(stride.max(1)).take(count).copied()
}

impl<A: Narrow, B: Narrow, Y: Narrow> Op for MatMul<'_, A, B, Y> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, _s: S) {
        let ([first, second], [rows, columns]) = (self.batch, [self.rows, self.columns]);
        let Some(sums) = self.scratch.get_mut(..columns) else { return };
        if !holds(self.y.len(), &[first, second, rows, columns]) {
            return;
        }
        for (i, y) in self.y.chunks_exact_mut(columns.max(1)).enumerate() {
            let (matrix, m) = (i / rows.max(1), i % rows.max(1));
            let [p, q] = [matrix / second.max(1), matrix % second.max(1)];
            let at = |strides: [usize; 4]| p * strides[0] + q * strides[1];
            let (a, b) = (at(self.a_strides) + m * self.a_strides[2], at(self.b_strides));
            let left = || spaced(self.a, a, self.a_strides[3], self.inner).map(|x| x.widen() - self.format.input_zero);
            let [down, along] = [self.b_strides[2], self.b_strides[3]];
            if down == 1 && along != 1 {
                for (n, sum) in sums.iter_mut().enumerate() {
                    let right = spaced(self.b, b + n * along, 1, self.inner).map(|x| x.widen() - self.weight_zero);
                    *sum = left().zip(right).fold(0i32, |sum, (x, w)| sum.wrapping_add(x.wrapping_mul(w)));
                }
            } else {
                sums.fill(0);
                for (k, x) in left().enumerate() {
                    for (sum, w) in sums.iter_mut().zip(spaced(self.b, b + k * down, along, columns)) {
                        *sum = sum.wrapping_add(x.wrapping_mul(w.widen() - self.weight_zero));
                    }
                }
            }
            for (y, sum) in y.iter_mut().zip(&*sums) {
                let q = rescaled(*sum, self.format.factor, self.format.shift).wrapping_add(self.format.output_zero);
                *y = Y::narrow(q.clamp(self.low, self.high));
            }
        }
    }
}
