//! Interpolation of `x: [outer, d, h, w, inner]` to other spatial sizes; `inner = 1` for channels-first, the channels for
//! channels-last. Fewer spatial dims have leading sizes of 1.
//!
//! Source positions are computed as torch's CPU kernels do it, in f32 (f64 for f64 tensors): they decide which elements are
//! read, so a more exact formula would give other results. `ratio` is `1 / scale_factor` where a factor was given, else 0, and
//! then the quotient of the sizes counts.

use super::num::{Float, Number, Real, Wide, holds};
use crate::{Op, Simd};

/// Copies the element at `floor(i * ratio)`, or at `floor((i + 0.5) * ratio)` if `exact`.
#[derive(Debug)]
pub struct Nearest<'a, T: Number> {
    /// `[outer, input.., inner]`.
    pub x: &'a [T],
    /// `[outer, output.., inner]`.
    pub y: &'a mut [T],
    /// Dims before the spatial ones.
    pub outer: usize,
    /// Depth, height, width.
    pub input: [usize; 3],
    /// Depth, height, width.
    pub output: [usize; 3],
    /// Dims after them.
    pub inner: usize,
    /// Inverse of the scale factors given, else 0.
    pub ratio: [f64; 3],
    /// Whether pixel centres count (`nearest-exact`).
    pub exact: bool,
}

impl<T: Number> Op for Nearest<'_, T> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, _s: S) {
        let (input, output) = (self.input, self.output);
        let Some(spaces) = spaces(self.x.len(), self.y.len(), self.outer, input, output, self.inner) else { return };
        let [d, h, w] = axes(input, output, self.ratio, false);
        let shift = if self.exact { 0.5 } else { 0.0 };
        let inner = self.inner;
        let at = |axis: Axis<f32>, i: usize| {
            let position = (i as f32 + shift) * axis.ratio;
            (position as usize).min(axis.size.saturating_sub(1))
        };
        for (x, y) in self.x.chunks_exact(spaces.0).zip(self.y.chunks_exact_mut(spaces.1)) {
            for (row, y) in y.chunks_exact_mut(output[2].saturating_mul(inner).max(1)).enumerate() {
                let (od, oh) = split(row, output[1]);
                let source = at(d, od).saturating_mul(input[1]).saturating_add(at(h, oh));
                let x = line(x, source, input[2].saturating_mul(inner));
                for (ow, y) in y.chunks_exact_mut(inner.max(1)).enumerate() {
                    for (y, &x) in y.iter_mut().zip(line(x, at(w, ow), inner)) {
                        *y = x;
                    }
                }
            }
        }
    }
}

/// What is fitted between the samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    /// Straight lines: linear, bilinear, trilinear.
    Linear,
    /// Cubics with a = -0.75: bicubic.
    Cubic,
}

/// Separable interpolation over all spatial dims.
#[derive(Debug)]
pub struct Interpolate<'a, T: Float> {
    /// `[outer, input.., inner]`.
    pub x: &'a [T],
    /// `[outer, output.., inner]`.
    pub y: &'a mut [T],
    /// Dims before the spatial ones.
    pub outer: usize,
    /// Depth, height, width.
    pub input: [usize; 3],
    /// Depth, height, width.
    pub output: [usize; 3],
    /// Dims after them.
    pub inner: usize,
    /// Inverse of the scale factors given, else 0.
    pub ratio: [f64; 3],
    /// Whether the corner pixels' centres stay where they are.
    pub align_corners: bool,
    /// What is fitted between the samples.
    pub curve: Curve,
}

impl<T: Float> Op for Interpolate<'_, T> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        let (input, output, inner, curve) = (self.input, self.output, self.inner, self.curve);
        let Some(spaces) = spaces(self.x.len(), self.y.len(), self.outer, input, output, inner) else { return };
        let [d, h, w] = axes::<T::Wide>(input, output, self.ratio, self.align_corners);
        let width = input[2].saturating_mul(inner);
        for (x, y) in self.x.chunks_exact(spaces.0).zip(self.y.chunks_exact_mut(spaces.1)) {
            for (row, y) in y.chunks_exact_mut(output[2].saturating_mul(inner).max(1)).enumerate() {
                let (od, oh) = split(row, output[1]);
                let rows = (d.taps(od, curve), h.taps(oh, curve));
                for (ow, y) in y.chunks_exact_mut(inner.max(1)).enumerate() {
                    let columns = w.taps(ow, curve);
                    point(s, x, y, rows, columns, [input[1], width, inner]);
                }
            }
        }
    }
}

/// All channels of one output position: sum over rows of the sum over columns.
#[inline(always)]
fn point<T: Float, S: Simd>(
    s: S,
    x: &[T],
    y: &mut [T],
    (depth, height): (Taps<T::Wide>, Taps<T::Wide>),
    columns: Taps<T::Wide>,
    [lines, width, inner]: [usize; 3],
) {
    for (c, y) in y.iter_mut().enumerate() {
        let mut total = T::Wide::ZERO;
        for (d, dw) in depth {
            for (h, hw) in height {
                let weight = dw.mul(hw);
                if weight == T::Wide::ZERO {
                    continue;
                }
                let x = line(x, d.saturating_mul(lines).saturating_add(h), width);
                let mut sum = T::Wide::ZERO;
                for (at, weight) in columns {
                    let value = x.get(at.saturating_mul(inner).saturating_add(c));
                    sum = weight.mul_add(s, value.map_or(T::Wide::ZERO, |v| v.widen()), sum);
                }
                total = sum.mul_add(s, weight, total);
            }
        }
        *y = T::narrow(total);
    }
}

/// Samples and their weights; unused ones have weight 0.
type Taps<W> = [(usize, W); 4];

/// One spatial dim.
#[derive(Clone, Copy)]
struct Axis<W> {
    size: usize,
    ratio: W,
    align_corners: bool,
    /// Input and output sizes agree and no factor was given.
    same: bool,
}

#[inline(always)]
fn axes<W: Real>(input: [usize; 3], output: [usize; 3], ratio: [f64; 3], align_corners: bool) -> [Axis<W>; 3] {
    let mut axes = [Axis { size: 0, ratio: W::ZERO, align_corners, same: false }; 3];
    for (((axis, size), out), given) in axes.iter_mut().zip(input).zip(output).zip(ratio) {
        axis.size = size;
        axis.same = size == out && given == 0.0;
        axis.ratio = if align_corners {
            let (from, to) = (size.saturating_sub(1), out.saturating_sub(1));
            if to == 0 { W::ZERO } else { W::from_usize(from).div(W::from_usize(to)) }
        } else if given > 0.0 {
            W::from_f64(given)
        } else {
            W::from_usize(size).div(W::from_usize(out))
        };
    }
    axes
}

impl<W: Real> Axis<W> {
    #[inline(always)]
    fn taps(self, i: usize, curve: Curve) -> Taps<W> {
        let last = self.size.saturating_sub(1);
        let none = (0, W::ZERO);
        if self.same {
            return [(i.min(last), W::ONE), none, none, none];
        }
        let at = W::from_usize(i);
        let half = W::from_f64(0.5);
        let at = if self.align_corners { at.mul(self.ratio) } else { at.add(half).mul(self.ratio).sub(half) };
        match curve {
            Curve::Linear => {
                let at = if at > W::ZERO { at } else { W::ZERO };
                let low = at.to_usize().min(last);
                let part = at.sub(W::from_usize(low));
                let part = if part < W::ONE { part } else { W::ONE };
                [(low, W::ONE.sub(part)), (low.saturating_add(1).min(last), part), none, none]
            }
            Curve::Cubic => {
                let floor = at.floor();
                let [a, b, c, d] = cubic(at.sub(floor));
                // Positions from -1 on: one is added before the conversion to an unsigned number, and taken off again.
                let before = |k: f64| floor.add(W::from_f64(k)).to_usize().saturating_sub(1).min(last);
                [(before(0.0), a), (before(1.0), b), (before(2.0), c), (before(3.0), d)]
            }
        }
    }
}

/// Weights of the four samples around `t` in 0..1.
#[inline(always)]
fn cubic<W: Real>(t: W) -> [W; 4] {
    let a = W::from_f64(-0.75);
    let c = |k: f64| W::from_f64(k);
    let near = |x: W| a.add(c(2.0)).mul(x).sub(a.add(c(3.0))).mul(x).mul(x).add(W::ONE);
    let far = |x: W| a.mul(x).sub(a.mul(c(5.0))).mul(x).add(a.mul(c(8.0))).mul(x).sub(a.mul(c(4.0)));
    let u = W::ONE.sub(t);
    [far(t.add(W::ONE)), near(t), near(u), far(u.add(W::ONE))]
}

/// Elements of one input and one output space, if the slices have these sizes and there is something to do.
#[inline(always)]
fn spaces(
    x: usize,
    y: usize,
    outer: usize,
    input: [usize; 3],
    output: [usize; 3],
    inner: usize,
) -> Option<(usize, usize)> {
    let ([a, b, c], [d, e, f]) = (input, output);
    let fits = holds(x, &[outer, a, b, c, inner]) && holds(y, &[outer, d, e, f, inner]);
    (fits && x > 0 && y > 0).then(|| {
        let space = |[d, h, w]: [usize; 3]| d.saturating_mul(h).saturating_mul(w).saturating_mul(inner).max(1);
        (space(input), space(output))
    })
}

/// Quotient and remainder; (0, 0) for a divisor of 0.
#[inline(always)]
fn split(i: usize, by: usize) -> (usize, usize) {
    (i.checked_div(by).unwrap_or(0), i.checked_rem(by).unwrap_or(0))
}

/// The `i`th run of `len` elements.
#[inline(always)]
fn line<T>(x: &[T], i: usize, len: usize) -> &[T] {
    let start = i.saturating_mul(len);
    x.get(start..start.saturating_add(len)).unwrap_or_default()
}
