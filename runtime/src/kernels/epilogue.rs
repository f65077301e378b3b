//! The epilogue of tiles: what happens to sums before they are written, and the writing.
//!
//! Where nothing is added but a bias and at most one residual, whole rows of a tile are finished in registers and written by stores
//! of constant length. Everything else goes through one copy for all tiles, which keeps programs small.

use super::arith::Arith;
use super::tile::{Sums, from};
use crate::memory::{Strips, StripsMut};
use crate::simd::{Num, Op, Panel, Simd, Vector, unrolled};

/// What happens to a sum before it is written: `clamp(leaky(sum * scale + bias + residual))`, or of requantized sums
/// `clamp(rescale(sum + bias, scale))`. Per-channel slices are
/// indexed by output channel; an empty one is left out.
#[derive(Clone, Copy)]
pub struct Epilogue<'a, K: Arith> {
    /// What the numbers stand for.
    pub format: K::Format,
    /// Factor: of quantized weights, or of sums that are requantized.
    pub scale: &'a [K::A],
    /// Zero point of the weights, quantized weights only.
    pub zero_point: &'a [K::A],
    /// Added.
    pub bias: &'a [K::A],
    /// Factor of negative values.
    pub slope: &'a [K::A],
    /// Added; lies as the output does.
    pub residual: &'a [K::Y],
    /// The residual is what the output holds on entry.
    pub in_place: bool,
    /// Least result; NaN stays NaN.
    pub low: K::A,
    /// Greatest result.
    pub high: K::A,
}

impl<K: Arith> Epilogue<'_, K> {
    /// Whether every slice covers `channels`, and the residual `elements`.
    pub fn fits(&self, channels: usize, elements: usize) -> bool {
        let per_channel = |slice: &[K::A]| slice.is_empty() || slice.len() >= channels;
        per_channel(self.scale)
            && per_channel(self.zero_point)
            && per_channel(self.bias)
            && per_channel(self.slope)
            && (self.residual.is_empty() || self.residual.len() >= elements)
    }

    /// The zero points of panels that start at these channels.
    #[inline(always)]
    pub fn zero_points<S: Simd, P: Panel, const PANELS: usize>(&self, s: S, first: usize) -> [K::V<S, P>; PANELS] {
        let mut out = [K::V::<S, P>::splat(s, K::A::ZERO); PANELS];
        if K::QUANTIZED {
            for (p, out) in out.iter_mut().enumerate() {
                *out = Vector::load(s, from(self.zero_point, first + p * P::WIDTH));
            }
        }
        out
    }

    /// Finishes the sums and writes them: row `i` from where it begins on, channels `first..end`.
    #[inline(always)]
    pub fn write<S: Simd, P: Panel, const ROWS: usize, const PANELS: usize>(
        &self,
        s: S,
        sums: &Sums<K, S, P, ROWS, PANELS>,
        y: &mut [K::Y],
        rows: impl Starts<ROWS>,
        first: usize,
        end: usize,
    ) {
        if K::finish::<S, P, ROWS, PANELS>(self, sums, y, rows.each(), first..end) {
            return;
        }
        self.prepare::<S, P, PANELS>(s, first, end).write::<ROWS>(s, sums, y, rows);
    }

    /// What [`Epilogue::write`] needs of panels from `first` on, in registers.
    #[inline(always)]
    pub fn prepare<S: Simd, P: Panel, const PANELS: usize>(
        &self,
        s: S,
        first: usize,
        end: usize,
    ) -> Prepared<'_, K, S, P, PANELS> {
        let plain = !K::QUANTIZED && !K::REQUANTIZED && self.slope.is_empty();
        let plain = P::ROOM && plain && !self.bias.is_empty() && (self.residual.is_empty() || !self.in_place);
        let none = [K::V::<S, P>::splat(s, K::A::ZERO); PANELS];
        let scaled = K::QUANTIZED || K::REQUANTIZED;
        Prepared {
            epilogue: self,
            bias: per_panel::<K, S, P, PANELS>(s, self.bias, first),
            scale: if scaled { per_panel::<K, S, P, PANELS>(s, self.scale, first) } else { none },
            slope: if P::ROOM { none } else { per_panel::<K, S, P, PANELS>(s, self.slope, first) },
            low: Vector::splat(s, self.low),
            high: Vector::splat(s, self.high),
            first,
            end,
            plain,
        }
    }
}

/// Of panels side by side, from channel `first` on. Where there are registers a call would leave them in memory; elsewhere it is
/// less code.
#[inline(always)]
fn per_panel<K: Arith, S: Simd, P: Panel, const PANELS: usize>(
    s: S,
    all: &[K::A],
    first: usize,
) -> [K::V<S, P>; PANELS] {
    if P::ROOM { loaded::<K, S, P, PANELS>(s, all, first) } else { called::<K, S, P, PANELS>(s, all, first) }
}

#[inline(never)]
fn called<K: Arith, S: Simd, P: Panel, const PANELS: usize>(s: S, all: &[K::A], first: usize) -> [K::V<S, P>; PANELS] {
    loaded::<K, S, P, PANELS>(s, all, first)
}

#[inline(always)]
fn loaded<K: Arith, S: Simd, P: Panel, const PANELS: usize>(s: S, all: &[K::A], first: usize) -> [K::V<S, P>; PANELS] {
    let mut row = [K::V::<S, P>::splat(s, K::A::ZERO); PANELS];
    unrolled!(PANELS, p, {
        row[p] = Vector::load(s, from(all, first + p * P::WIDTH));
    });
    row
}

/// Where the rows of a tile begin in the output.
pub trait Starts<const ROWS: usize>: Copy {
    /// `reach` elements of each row, if all of them are there.
    fn strips<T>(self, all: &[T], reach: usize) -> Option<Strips<'_, T, ROWS>>;
    /// The same to write to.
    fn strips_mut<T>(self, all: &mut [T], reach: usize) -> Option<StripsMut<'_, T, ROWS>>;
    /// One by one.
    fn each(self) -> [usize; ROWS];
}

impl<const ROWS: usize> Starts<ROWS> for [usize; ROWS] {
    #[inline(always)]
    fn strips<T>(self, all: &[T], reach: usize) -> Option<Strips<'_, T, ROWS>> {
        Strips::new(all, self, reach)
    }
    #[inline(always)]
    fn strips_mut<T>(self, all: &mut [T], reach: usize) -> Option<StripsMut<'_, T, ROWS>> {
        StripsMut::new(all, self, reach)
    }
    #[inline(always)]
    fn each(self) -> [usize; ROWS] {
        self
    }
}

/// The first row, and how far each is from the one before: one comparison for all of them.
#[derive(Clone, Copy, Debug)]
pub struct Even {
    /// Where the first begins.
    pub first: usize,
    /// From one to the next.
    pub step: usize,
}

impl<const ROWS: usize> Starts<ROWS> for Even {
    #[inline(always)]
    fn strips<T>(self, all: &[T], reach: usize) -> Option<Strips<'_, T, ROWS>> {
        Strips::even(all, self.first, self.step, reach)
    }
    #[inline(always)]
    fn strips_mut<T>(self, all: &mut [T], reach: usize) -> Option<StripsMut<'_, T, ROWS>> {
        StripsMut::even(all, self.first, self.step, reach)
    }
    #[inline(always)]
    fn each(self) -> [usize; ROWS] {
        core::array::from_fn(|i| self.first + i * self.step)
    }
}

/// The epilogue of some panels side by side.
pub struct Prepared<'a, K: Arith, S: Simd, P: Panel, const PANELS: usize> {
    epilogue: &'a Epilogue<'a, K>,
    bias: [K::V<S, P>; PANELS],
    scale: [K::V<S, P>; PANELS],
    /// Where panels have room it is loaded when it is needed.
    slope: [K::V<S, P>; PANELS],
    low: K::V<S, P>,
    high: K::V<S, P>,
    first: usize,
    end: usize,
    /// Nothing but a bias, at most one residual, and bounds.
    plain: bool,
}

impl<K: Arith, S: Simd, P: Panel, const PANELS: usize> Prepared<'_, K, S, P, PANELS> {
    /// Row `i` of the sums, finished, to where it begins and the channels after it.
    #[inline(always)]
    pub fn write<const ROWS: usize>(
        &self,
        s: S,
        sums: &Sums<K, S, P, ROWS, PANELS>,
        y: &mut [K::Y],
        rows: impl Starts<ROWS>,
    ) {
        self.finish::<ROWS, true>(s, sums, y, rows);
    }

    /// The same in less code, for layers that seldom have a residual.
    #[inline(always)]
    pub fn write_bare<const ROWS: usize>(
        &self,
        s: S,
        sums: &Sums<K, S, P, ROWS, PANELS>,
        y: &mut [K::Y],
        rows: impl Starts<ROWS>,
    ) {
        self.finish::<ROWS, false>(s, sums, y, rows);
    }

    #[inline(always)]
    fn finish<const ROWS: usize, const ADDENDS: bool>(
        &self,
        s: S,
        sums: &Sums<K, S, P, ROWS, PANELS>,
        y: &mut [K::Y],
        rows: impl Starts<ROWS>,
    ) {
        if self.plain && self.plain::<ROWS, ADDENDS>(s, sums, y, rows) {
            return;
        }
        let offsets = rows.each();
        if P::ROOM {
            let (sums, epilogue) = (*sums, self.epilogue);
            let (first, end) = (self.first, self.end);
            let sums = sums.as_flattened();
            s.outline(Finish::<K, S, P> { token: s, epilogue, sums, panels: PANELS, y, offsets: &offsets, first, end });
            return;
        }
        unrolled!(PANELS, p, {
            for i in 0..ROWS {
                self.one(s, sums[i][p], p, y, offsets[i]);
            }
        });
    }

    /// All rows of whole panels with nothing but a bias, a residual and bounds: lengths are constants, no store has to ask for
    /// them. False if not all of them are there.
    #[inline(always)]
    fn plain<const ROWS: usize, const ADDENDS: bool>(
        &self,
        s: S,
        sums: &Sums<K, S, P, ROWS, PANELS>,
        y: &mut [K::Y],
        starts: impl Starts<ROWS>,
    ) -> bool {
        let (e, width) = (self.epilogue, const { PANELS * P::WIDTH });
        let added = !e.residual.is_empty() || e.in_place;
        // The constants stand first: what they rule out is not compiled.
        let addends = const { ADDENDS && K::RESIDUALS };
        if added && !addends || self.end.saturating_sub(self.first) < width {
            return false;
        }
        let y = y.get_mut(self.first..).unwrap_or_default();
        let Some(mut rows) = starts.strips_mut(y, width) else { return false };
        if const { ADDENDS && K::RESIDUALS } && !e.residual.is_empty() {
            let residual = starts.strips(from(e.residual, self.first), width);
            let Some(residual) = residual.and_then(|residual| residual.part(0, width)) else { return false };
            unrolled!(ROWS, i, {
                self.row(s, sums[i], Addend::Residual(residual[i]), rows.get(i));
            });
        } else if const { ADDENDS && K::RESIDUALS } && e.in_place {
            unrolled!(ROWS, i, {
                self.row(s, sums[i], Addend::Output, rows.get(i));
            });
        } else {
            unrolled!(ROWS, i, {
                self.row(s, sums[i], Addend::Nothing, rows.get(i));
            });
        }
        true
    }

    /// A row of [`Prepared::plain`]. What is added is asked for apart: a way that comes together again would leave all sums in
    /// memory.
    #[inline(always)]
    fn row(&self, s: S, sums: [K::V<S, P>; PANELS], addend: Addend<'_, K>, row: &mut [K::Y]) {
        unrolled!(PANELS, p, {
            let out = row.get_mut(p * P::WIDTH..(p + 1) * P::WIDTH).unwrap_or_default();
            let mut sum = sums[p].add(s, self.bias[p]);
            match addend {
                Addend::Nothing => {}
                Addend::Output => sum = sum.add(s, K::read::<S, P>(s, out)),
                Addend::Residual(row) => {
                    let residual = row.get(p * P::WIDTH..(p + 1) * P::WIDTH).unwrap_or_default();
                    sum = sum.add(s, K::read::<S, P>(s, residual));
                }
            }
            K::write::<S, P>(s, sum.clamp(s, self.low, self.high), out);
        });
    }

    /// One row of panel `p`, finished, to `offset` and its channels after it.
    #[inline(always)]
    fn one(&self, s: S, mut v: K::V<S, P>, p: usize, y: &mut [K::Y], offset: usize) {
        let e = self.epilogue;
        let channel = self.first + p * P::WIDTH;
        let width = self.end.saturating_sub(channel).min(P::WIDTH);
        let at = offset.saturating_add(channel);
        let place = at..at.saturating_add(width);
        if K::QUANTIZED {
            v = v.mul(s, self.scale[p]);
        }
        if !e.bias.is_empty() {
            v = v.add(s, self.bias[p]);
        }
        if K::REQUANTIZED {
            v = K::rescale::<S, P>(s, v, self.scale[p], e.format);
        }
        if !e.residual.is_empty() {
            v = v.add(s, K::read::<S, P>(s, e.residual.get(place.clone()).unwrap_or(&[])));
        }
        let Some(out) = y.get_mut(place) else { return };
        if e.in_place {
            v = v.add(s, K::read::<S, P>(s, out));
        }
        if !e.slope.is_empty() {
            let slope = if P::ROOM { Vector::load(s, from(e.slope, channel)) } else { self.slope[p] };
            v = v.leaky(s, slope);
        }
        K::write::<S, P>(s, v.clamp(s, self.low, self.high), out);
    }
}

/// What is added to a row of sums.
#[derive(Clone, Copy)]
enum Addend<'a, K: Arith> {
    Nothing,
    Residual(&'a [K::Y]),
    /// What the output holds.
    Output,
}

/// The whole epilogue, where there is more than bias, residual and bounds, or a panel is not whole: one copy for all tiles.
struct Finish<'a, K: Arith, S: Simd, P: Panel> {
    /// The level, as the type that the sums have.
    token: S,
    epilogue: &'a Epilogue<'a, K>,
    /// Row by row.
    sums: &'a [K::V<S, P>],
    panels: usize,
    y: &'a mut [K::Y],
    offsets: &'a [usize],
    first: usize,
    end: usize,
}

impl<K: Arith, T: Simd, P: Panel> Op for Finish<'_, K, T, P> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, _: S) {
        for panel in 0..self.panels {
            let prepared = self.epilogue.prepare::<T, P, 1>(self.token, self.first + panel * P::WIDTH, self.end);
            for (row, offset) in self.sums.chunks_exact(self.panels.max(1)).zip(self.offsets) {
                if let Some(sum) = row.get(panel) {
                    prepared.one(self.token, *sum, 0, self.y, *offset);
                }
            }
        }
    }
}
