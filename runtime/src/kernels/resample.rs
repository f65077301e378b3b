//! Interpolation of `x: [outer, d, h, w, inner]` to other spatial sizes; `inner = 1` for channels-first, the channels for
//! channels-last. Fewer spatial dims have leading sizes of 1.
//!
//! Source positions are computed as torch's CPU kernels do it, in f32 (f64 for f64 tensors): they decide which elements are
//! read, so a more exact formula would give other results. `ratio` is `1 / scale_factor` where a factor was given, else 0, and
//! then the quotient of the sizes counts.

use super::num::{Float, Number, Real, Wide, holds};
use crate::{Op, Simd, part, part_mut};
use core::array::from_fn as array;

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
        let (input, output, inner) = (self.input, self.output, self.inner);
        let Some(space) = space(self.x.len(), self.y.len(), self.outer, input, output, inner) else { return };
        let [d, h, w] = axes(input, output, self.ratio, false);
        let shift = if self.exact { 0.5 } else { 0.0 };
        let at = |axis: Axis<f32>, i: usize| {
            let position = (i as f32 + shift) * axis.ratio;
            (position as usize).min(axis.size.saturating_sub(1))
        };
        let (rows, width) = (output[0].wrapping_mul(output[1]), input[2].wrapping_mul(inner));
        for stretch in stretches(output[2]) {
            let columns: [usize; STRETCH] = array(|i| at(w, stretch.first.wrapping_add(i)).wrapping_mul(inner));
            for row in 0..rows {
                let (od, oh) = split(row, output[1]);
                let start = at(d, od).wrapping_mul(input[1]).wrapping_add(at(h, oh));
                let start = start.wrapping_mul(width);
                for plane in 0..self.outer {
                    let x = part(self.x, plane.wrapping_mul(space).wrapping_add(start), width);
                    let mut y =
                        stretch.of(self.y, plane.wrapping_mul(rows).wrapping_add(row), output[2], inner).iter_mut();
                    for from in columns {
                        for (&x, y) in part(x, from, inner).iter().zip(&mut y) {
                            *y = x;
                        }
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
        match self.curve {
            Curve::Linear => self.fitted(s, Axis::linear),
            Curve::Cubic => self.fitted(s, Axis::cubic),
        }
    }
}

impl<T: Float> Interpolate<'_, T> {
    /// `N` samples per dim, which `taps` finds: once for a column, and once per row for a stretch of columns of all planes.
    #[inline(always)]
    fn fitted<S: Simd, const N: usize>(self, s: S, taps: impl Fn(Axis<T::Wide>, usize) -> Taps<T::Wide, N>) {
        let (input, output, inner) = (self.input, self.output, self.inner);
        let Some(space) = space(self.x.len(), self.y.len(), self.outer, input, output, inner) else { return };
        let [d, h, w] = axes::<T::Wide>(input, output, self.ratio, self.align_corners);
        let rows = output[0].wrapping_mul(output[1]);
        for stretch in stretches(output[2]) {
            let columns: [Taps<T::Wide, N>; STRETCH] = array(|i| {
                let taps = taps(w, stretch.first.wrapping_add(i));
                taps.map(|(at, weight)| (at.wrapping_mul(inner), weight))
            });
            for row in 0..rows {
                let (od, oh) = split(row, output[1]);
                let mut room = [[(0, T::Wide::ZERO); N]; N];
                let lines = lines(&mut room, taps(d, od), taps(h, oh), input, inner);
                for plane in 0..self.outer {
                    let x = part(self.x, plane.wrapping_mul(space), space);
                    let mut y =
                        stretch.of(self.y, plane.wrapping_mul(rows).wrapping_add(row), output[2], inner).iter_mut();
                    for columns in &columns {
                        for (channel, y) in (0..inner).zip(&mut y) {
                            *y = T::narrow(point(s, x, lines, columns, channel));
                        }
                    }
                }
            }
        }
    }
}

/// Where the lines of a row begin in a plane, and their weights. All count, for a weight of 0 makes NaN of an infinity; but a
/// dim of one sample may be one that the image does not have.
#[inline(always)]
fn lines<W: Real, const N: usize>(
    room: &mut [[(usize, W); N]; N],
    depth: Taps<W, N>,
    height: Taps<W, N>,
    input: [usize; 3],
    inner: usize,
) -> &[(usize, W)] {
    let is_none = |samples: usize, weight: W| samples == 1 && weight == W::ZERO;
    let lines = room.as_flattened_mut();
    let mut count = 0;
    for (d, dw) in depth {
        for (h, hw) in height {
            if let Some(slot) = lines.get_mut(count)
                && !is_none(input[0], dw)
                && !is_none(input[1], hw)
            {
                let line = d.wrapping_mul(input[1]).wrapping_add(h);
                *slot = (line.wrapping_mul(input[2]).wrapping_mul(inner), dw.mul(hw));
                count = count.wrapping_add(1);
            }
        }
    }
    lines.get(..count).unwrap_or_default()
}

/// One element: the sum over lines of the sum over columns.
#[inline(always)]
fn point<T: Float, S: Simd, const N: usize>(
    s: S,
    x: &[T],
    lines: &[(usize, T::Wide)],
    columns: &Taps<T::Wide, N>,
    channel: usize,
) -> T::Wide {
    let mut total = T::Wide::ZERO;
    for &(line, weight) in lines {
        let start = line.wrapping_add(channel);
        let mut sum = T::Wide::ZERO;
        for &(at, weight) in columns {
            let value = x.get(start.wrapping_add(at)).map_or(T::Wide::ZERO, |v| v.widen());
            sum = weight.mul_add(s, value, sum);
        }
        total = sum.mul_add(s, weight, total);
    }
    total
}

/// Samples and their weights.
type Taps<W, const N: usize> = [(usize, W); N];

/// Columns whose samples are found at once and kept.
const STRETCH: usize = 8;

/// Columns from `first` on, at most [`STRETCH`].
#[derive(Clone, Copy)]
struct Stretch {
    first: usize,
    len: usize,
}

/// Columns in stretches.
#[inline(always)]
fn stretches(columns: usize) -> impl Iterator<Item = Stretch> {
    let starts = (0..columns).step_by(STRETCH);
    starts.map(move |first| Stretch { first, len: columns.saturating_sub(first).min(STRETCH) })
}

impl Stretch {
    /// What a row has in it, of those of all planes.
    #[inline(always)]
    fn of<T>(self, y: &mut [T], row: usize, columns: usize, inner: usize) -> &mut [T] {
        let start = row.wrapping_mul(columns).wrapping_add(self.first).wrapping_mul(inner);
        part_mut(y, start, self.len.wrapping_mul(inner))
    }
}

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
    /// The place of output `i` among the inputs.
    #[inline(always)]
    fn position(self, i: usize) -> W {
        let (at, half) = (W::from_usize(i), W::from_f64(0.5));
        if self.align_corners { at.mul(self.ratio) } else { at.add(half).mul(self.ratio).sub(half) }
    }

    #[inline(always)]
    fn last(self) -> usize {
        self.size.saturating_sub(1)
    }

    #[inline(always)]
    fn linear(self, i: usize) -> Taps<W, 2> {
        if self.same {
            return [(i.min(self.last()), W::ONE), (i.min(self.last()), W::ZERO)];
        }
        let at = self.position(i);
        let at = if at > W::ZERO { at } else { W::ZERO };
        let low = at.to_usize().min(self.last());
        let part = at.sub(W::from_usize(low));
        let part = if part < W::ONE { part } else { W::ONE };
        [(low, W::ONE.sub(part)), (low.saturating_add(1).min(self.last()), part)]
    }

    #[inline(always)]
    fn cubic(self, i: usize) -> Taps<W, 4> {
        let at = self.position(i);
        let floor = at.floor();
        let [a, b, c, d] = cubic(at.sub(floor));
        // Positions from -1 on: one is added before the conversion to an unsigned number, and taken off again.
        let before = |k: f64| floor.add(W::from_f64(k)).to_usize().saturating_sub(1).min(self.last());
        [(before(0.0), a), (before(1.0), b), (before(2.0), c), (before(3.0), d)]
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

/// Elements of one input space, if the slices have these sizes and there is something to do.
#[inline(always)]
fn space(x: usize, y: usize, outer: usize, input: [usize; 3], output: [usize; 3], inner: usize) -> Option<usize> {
    let ([a, b, c], [d, e, f]) = (input, output);
    let fits = holds(x, &[outer, a, b, c, inner]) && holds(y, &[outer, d, e, f, inner]);
    (fits && x > 0 && y > 0).then(|| a.wrapping_mul(b).wrapping_mul(c).wrapping_mul(inner))
}

/// Quotient and remainder; (0, 0) for a divisor of 0.
#[inline(always)]
fn split(i: usize, by: usize) -> (usize, usize) {
    (i.checked_div(by).unwrap_or(0), i.checked_rem(by).unwrap_or(0))
}
