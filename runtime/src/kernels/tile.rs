//! The register tile: the inner loop that every matmul and convolution shares, and how tiles cover a layer. What happens to the
//! sums then is the [epilogue](super::epilogue).
//!
//! A tile computes `ROWS` rows times `PANELS` weight panels with all sums in registers. Each output is one chain of
//! `sum = x * w + sum` over the inner dimension in storage order, whatever the tile and the panel width: so at the
//! portable level the bits do not depend on them. (Elsewhere a lone panel of a single row has four chains, added in the end.) The
//! rounding error of one output is at most `k * eps * sum(|x * w|)` (`eps` = 2^-24, one rounding per step with FMA, two without).
//!
//! An inner dimension is handed over in *runs* (one for a matmul, one per kernel row or tap for a convolution), as one
//! slice per row: bounds are checked once per run, not per element.

use super::arith::Arith;
use crate::simd::{Num, Op, Panel, Simd, Vector, unrolled};
use core::ops::Range;

/// The sums of a tile.
pub type Sums<K, S, P, const ROWS: usize, const PANELS: usize> = [[<K as Arith>::V<S, P>; PANELS]; ROWS];

/// All sums 0.
#[inline(always)]
pub fn zeros<K: Arith, S: Simd, P: Panel, const ROWS: usize, const PANELS: usize>(s: S) -> Sums<K, S, P, ROWS, PANELS> {
    [[K::V::<S, P>::splat(s, K::A::ZERO); PANELS]; ROWS]
}

/// Adds one run: `sums[i][p] += sum over k of rows[i][k] * (panels[p][k] - zero_point[p])`. The length of a run is that
/// of the first panel; shorter rows or panels are a caller's fault and leave the sums as they are. Weights that are `ahead`
/// rows behind the first panel's are asked for meanwhile ([`ahead`]).
#[inline(always)]
pub fn accumulate<K: Arith, S: Simd, P: Panel, const ROWS: usize, const PANELS: usize>(
    s: S,
    sums: &mut Sums<K, S, P, ROWS, PANELS>,
    rows: [&[K::X]; ROWS],
    panels: [&[P::Row<K::W>]; PANELS],
    zero_point: &[K::V<S, P>; PANELS],
    ahead: Option<usize>,
) {
    if K::accumulate::<S, P, ROWS, PANELS>(sums, rows, panels) {
        return;
    }
    let run = panels[0].len();
    // Lengths are compared here, so that the compiler sees that no `get` below fails: no check is left in the loop.
    unrolled!(ROWS, i, {
        if rows[i].len() < run {
            return;
        }
    });
    unrolled!(PANELS, p, {
        if panels[p].len() < run {
            return;
        }
    });
    if const { ROWS == 1 && PANELS == 1 && K::Tiles::<S, P>::CHAINS } {
        sums[0][0] = chained::<K, S, P>(s, sums[0][0], rows[0], panels[0], zero_point[0]);
        return;
    }
    // Two loops: asking costs a few per cent where there is nothing to ask for.
    let x = |i: usize, k: usize| rows[i].get(k);
    *sums = match ahead {
        Some(ahead) => products::<K, S, P, ROWS, PANELS>(s, *sums, x, panels, zero_point, |k| {
            s.prefetch(panels[0], k + ahead);
        }),
        None => products::<K, S, P, ROWS, PANELS>(s, *sums, x, panels, zero_point, |_| ()),
    };
}

/// A row of a panel as what inputs are multiplied with.
#[inline(always)]
fn weights<K: Arith, S: Simd, P: Panel>(s: S, stored: &P::Row<K::W>, zero_point: K::V<S, P>) -> K::V<S, P> {
    let stored = K::weights::<S, P>(s, stored);
    if K::QUANTIZED { stored.sub(s, zero_point) } else { stored }
}

/// The loop of [`accumulate`]: `x` gives element `k` of row `i`, of rows and panels as long as the first panel.
#[inline(always)]
pub(super) fn products<'x, K: Arith, S: Simd, P: Panel, const ROWS: usize, const PANELS: usize>(
    s: S,
    mut sums: Sums<K, S, P, ROWS, PANELS>,
    x: impl Fn(usize, usize) -> Option<&'x K::X>,
    panels: [&[P::Row<K::W>]; PANELS],
    zero_point: &[K::V<S, P>; PANELS],
    ask: impl Fn(usize),
) -> Sums<K, S, P, ROWS, PANELS> {
    for k in 0..panels[0].len() {
        ask(k);
        let mut row = *zero_point;
        unrolled!(PANELS, p, {
            let Some(stored) = panels[p].get(k) else { return sums };
            row[p] = weights::<K, S, P>(s, stored, zero_point[p]);
        });
        unrolled!(ROWS, i, {
            let Some(value) = x(i, k) else { return sums };
            let value = K::V::<S, P>::splat(s, K::input(*value));
            unrolled!(PANELS, p, {
                sums[i][p] = value.mul_add(s, row[p], sums[i][p]);
            });
        });
    }
    sums
}

/// One row of a panel that has no others beside it to hide the latency of its products, in [`CHAINS`] chains.
#[inline(always)]
fn chained<K: Arith, S: Simd, P: Panel>(
    s: S,
    first: K::V<S, P>,
    row: &[K::X],
    panel: &[P::Row<K::W>],
    zero_point: K::V<S, P>,
) -> K::V<S, P> {
    let mut sums = [K::V::<S, P>::splat(s, K::A::ZERO); CHAINS];
    sums[0] = first;
    let product = |sum: K::V<S, P>, x: &K::X, stored: &P::Row<K::W>| {
        K::V::<S, P>::splat(s, K::input(*x)).mul_add(s, weights::<K, S, P>(s, stored, zero_point), sum)
    };
    let (x, last_x) = row.as_chunks::<CHAINS>();
    let (rows, last_rows) = panel.as_chunks::<CHAINS>();
    for (x, rows) in x.iter().zip(rows) {
        unrolled!(CHAINS, i, {
            sums[i] = product(sums[i], &x[i], &rows[i]);
        });
    }
    for (x, row) in last_x.iter().zip(last_rows) {
        sums[0] = product(sums[0], x, row);
    }
    let [a, b, c, d] = sums;
    a.add(s, b).add(s, c.add(s, d))
}

/// Sums of one row of a panel where no others hide their latency.
const CHAINS: usize = 4;

/// The distance, in rows of a panel, from the weights that a tile multiplies with to weights of the next tiles' panels, which
/// are not in the cache where layers have more weights than it holds: tiles of the same panels share the asking, one panel
/// each in turn. Nothing ahead where weights are few; nothing to ask where a tile has few products for each load, since one of
/// few rows does nothing but load weights in order.
#[inline(always)]
pub fn ahead<T: Tiles, const ROWS: usize, const PANELS: usize>(
    inner: usize,
    columns: usize,
    row: usize,
) -> Option<usize> {
    let many = const { T::AHEAD && ROWS > 3 && PANELS == T::PANELS };
    (many && inner * columns > FAR).then(|| inner * (PANELS + row / ROWS % PANELS))
}

/// Weights that no layer before leaves in the second-level cache.
const FAR: usize = BLOCK / 2;

/// A tile of any shape, for [`cover`].
pub trait Body {
    /// Whether tiles of a shape are called together, as a function of their own: LLVM takes minutes for one function of all
    /// shapes, and a call for each tile shows where tiles are short.
    const TOGETHER: bool = false;
    /// Computes rows `row..row + ROWS` of panels `panel..panel + PANELS`.
    fn tile<S: Simd, const ROWS: usize, const PANELS: usize>(&mut self, s: S, row: usize, panel: usize);
}

/// Tiles of one shape.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// The first row.
    pub row: usize,
    /// Tiles below each other.
    pub down: usize,
    /// The first panel.
    pub panel: usize,
    /// Tiles side by side, which are computed one after the other.
    pub across: usize,
}

impl Block {
    /// Computes its tiles.
    #[inline(always)]
    pub fn tiles<S: Simd, B: Body, const ROWS: usize, const PANELS: usize>(self, s: S, body: &mut B) {
        let shape = Shape::<B, ROWS, PANELS> { body, block: self };
        if B::TOGETHER { s.outline(shape) } else { shape.call(s) }
    }
}

struct Shape<'a, B, const ROWS: usize, const PANELS: usize> {
    body: &'a mut B,
    block: Block,
}

impl<B: Body, const ROWS: usize, const PANELS: usize> Op for Shape<'_, B, ROWS, PANELS> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        let Block { row, down, panel, across } = self.block;
        for i in 0..down {
            for p in 0..across {
                self.body.tile::<S, ROWS, PANELS>(s, row + i * ROWS, panel + p * PANELS);
            }
        }
    }
}

/// Elements that may wait for their next use: about a quarter of a second-level cache of f32.
pub const BLOCK: usize = 1 << 16;

/// Which loop of [`cover`] is outside.
#[derive(Clone, Copy)]
pub enum Order {
    /// A panel stays in the first cache while this many rows pass, which stay in the second.
    PanelsOuter(usize),
    /// A tile's rows are visited once, for all panels in turn.
    RowsOuter,
}

/// The shapes of tiles that suit a register file. Only those named by an implementation are compiled for a level.
pub trait Tiles: Copy + 'static {
    /// Most rows.
    const ROWS: usize;
    /// Panels side by side.
    const PANELS: usize;
    /// Panels of sums that a tile of a depthwise convolution may have; none: there is no such tile.
    const SUMS: usize = 0;
    /// Whether weights are asked for [`ahead`]: a second copy of the inner loop.
    const AHEAD: bool = false;
    /// Whether a tile of one row and panel adds in chains.
    const CHAINS: bool = false;
    /// Whether a half-empty last panel has tiles of its own, of half the sums.
    const HALVES: bool = false;
    /// These rows of a panel that is half empty. Only what this calls is compiled: nothing where there are no such tiles.
    #[inline(always)]
    fn half<S: Simd, B: Body>(_s: S, _rows: Range<usize>, _body: &mut B) {}
    /// Something else on half a panel, likewise.
    #[inline(always)]
    fn half_of<S: Simd, O: Op<Output = ()>>(_s: S, _op: O) {}
    /// All panels of so few `rows` that more panels side by side are needed to hide the latency; false: of more rows.
    fn few<S: Simd, B: Body>(s: S, rows: usize, panels: usize, body: &mut B) -> bool;
    /// Height of the next tile where `rows` remain, at least one, and how many of that height follow each other: divided evenly,
    /// so that there is no thin tile at the end.
    #[inline(always)]
    fn next(rows: usize) -> (usize, usize) {
        let tiles = rows.div_ceil(Self::ROWS).max(1);
        (rows.div_ceil(tiles), if rows.is_multiple_of(tiles) { tiles } else { rows % tiles })
    }
    /// Tiles of the height of the [`Tiles::next`] one, of `width` panels each, at most [`Tiles::PANELS`].
    fn tiles<S: Simd, B: Body>(s: S, block: Block, height: usize, width: usize, body: &mut B);
}

/// One arm per height.
macro_rules! heights {
    ($s:ident, $block:ident, $rows:ident, $body:ident, $panels:literal: $first:literal $($height:literal)*) => {
        match $rows {
            $($height => $block.tiles::<S, B, $height, $panels>($s, $body),)*
            _ => $block.tiles::<S, B, $first, $panels>($s, $body),
        }
    };
}

macro_rules! tiles {
    ($(#[$doc:meta])* $name:ident: $most:literal x $side:literal, $(sums: $sums:literal,)? $(ahead: $ahead:literal,)? $(halves: $halves:ident,)? $(chains: $chains:literal,)?
     few: $($few:literal x $wide:literal)*, one: $($one:literal)*, $(two: $($two:literal)*)?) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name;
        impl Tiles for $name {
            const ROWS: usize = $most;
            const PANELS: usize = $side;
            $(const SUMS: usize = $sums;)?
            $(const AHEAD: bool = $ahead;)?
            $(const CHAINS: bool = $chains;)?
            $(const HALVES: bool = true;
            #[inline(always)]
            fn half<S: Simd, B: Body>(s: S, rows: Range<usize>, body: &mut B) {
                stretch::<S, $halves, B>(s, rows, 1, Order::RowsOuter, body);
            }
            #[inline(always)]
            fn half_of<S: Simd, O: Op<Output = ()>>(s: S, op: O) {
                s.outline(op);
            })?
            #[inline(always)]
            fn few<S: Simd, B: Body>(_s: S, rows: usize, _panels: usize, _body: &mut B) -> bool {
                match rows {
                    $($few => few::<S, B, $few, $wide>(_s, _panels, _body),)*
                    _ => return false,
                }
                #[allow(unreachable_code)]
                true
            }
            #[inline(always)]
            fn tiles<S: Simd, B: Body>(s: S, block: Block, height: usize, _width: usize, body: &mut B) {
                $(if _width == 2 {
                    return heights!(s, block, height, body, 2: $($two)*);
                })?
                heights!(s, block, height, body, 1: $($one)*)
            }
        }
    };
}
tiles!(
    /// Eight registers of four, or so.
    Two: 2 x 1, few: , one: 1 2,
);
tiles!(
    /// Panels of 4, one register each.
    Four: 4 x 1, few: 1 x 3, one: 1 2 3 4,
);
tiles!(
    /// Sixteen registers, two per panel; or thirty-two, four per panel.
    Six: 6 x 1, ahead: true, halves: Halves, chains: true, few: 1 x 4 2 x 2 3 x 1, one: 3 4 5 6,
);
tiles!(
    /// Thirty-two registers, one per panel. (Sixteen rows of a single panel have too many addresses for the other registers.)
    Eight: 8 x 2, sums: 15, ahead: true, halves: Halves, chains: true, few: 1 x 4 2 x 4 3 x 4, one: 4 5 6 7 8, two: 4 5 6 7 8
);

tiles!(
    /// Half panels of sixteen registers: more rows, for as many chains.
    Halves: 8 x 1, few: , one: 3 4 5 6 7 8,
);

/// Rows that make whole tiles of any level.
pub const MANY: usize = 48;

/// How many panels of a layer are whole, and whether tiles of [`Half16`](crate::simd::Half16) compute the last one. Few rows
/// do nothing but load weights: for them a half panel is no gain.
#[inline(always)]
pub fn halves<T: Tiles>(rows: usize, columns: usize, width: usize) -> (usize, bool) {
    let panels = columns.div_ceil(width);
    let half = T::HALVES && rows > 3 && width == 16 && (1..=8).contains(&(columns % 16));
    (panels - usize::from(half), half)
}

/// Splits `rows` × `panels` into tiles of nearly equal height.
#[inline(always)]
pub fn cover<S: Simd, T: Tiles, B: Body>(s: S, rows: usize, panels: usize, order: Order, body: &mut B) {
    if !T::few(s, rows, panels, body) {
        stretch::<S, T, B>(s, 0..rows, panels, order, body);
    }
}

/// [`cover`] of some rows of many.
#[inline(always)]
pub fn stretch<S: Simd, T: Tiles, B: Body>(s: S, rows: Range<usize>, panels: usize, order: Order, body: &mut B) {
    let Range { start, end: rows } = rows;
    match order {
        Order::RowsOuter => column::<S, T, B>(s, start, rows, 0, panels, body),
        Order::PanelsOuter(block) => {
            let block = block.max(T::ROWS);
            for rows in blocks(start..rows, block) {
                let mut panel = 0;
                while panel < panels {
                    let next = panels.min(panel + T::PANELS);
                    column::<S, T, B>(s, rows.start, rows.end, panel, next, body);
                    panel = next;
                }
            }
        }
    }
}

/// Stretches of at most `most` rows, as even as the tiles in them: none is lower than half a tile.
#[inline(always)]
pub fn blocks(rows: Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> {
    let Range { mut start, end } = rows;
    let count = end.saturating_sub(start).div_ceil(most.max(1));
    (0..count).rev().map(move |rest| {
        let first = start;
        start += (end - start).div_ceil(rest + 1);
        first..start
    })
}

/// All panels of `ROWS` rows, `PANELS` at a time.
#[inline(always)]
fn few<S: Simd, B: Body, const ROWS: usize, const PANELS: usize>(s: S, panels: usize, body: &mut B) {
    let across = panels / PANELS;
    Block { row: 0, down: 1, panel: 0, across }.tiles::<S, B, ROWS, PANELS>(s, body);
    let (panel, across) = (across * PANELS, panels % PANELS);
    if across > 0 {
        Block { row: 0, down: 1, panel, across }.tiles::<S, B, ROWS, 1>(s, body);
    }
}

/// Rows `start..end` of panels `first..last`, tile by tile.
#[inline(always)]
fn column<S: Simd, T: Tiles, B: Body>(s: S, start: usize, end: usize, first: usize, last: usize, body: &mut B) {
    let panels = last.saturating_sub(first);
    // Where tiles of two widths are side by side, both have their turn before the next rows.
    let even = B::TOGETHER && (panels < T::PANELS || panels.is_multiple_of(T::PANELS));
    let mut row = start;
    while row < end {
        let (height, count) = T::next(end - row);
        let down = if even { count } else { 1 };
        let mut panel = first;
        while panel < last {
            let width = T::PANELS.min(last - panel);
            let across = if B::TOGETHER { (last - panel) / width } else { 1 };
            T::tiles(s, Block { row, down, panel, across }, height, width, body);
            panel += across * width;
        }
        row += down * height.max(1);
    }
}

/// Copies every `step`-th element of `from`, by what `convert` makes of it, or the first one again and again if the step is 0: the
/// tensor is repeated along that dim.
#[inline(always)]
pub fn spread<'a, T: Copy, U: 'a>(
    to: impl Iterator<Item = &'a mut U>,
    from: &[T],
    step: usize,
    convert: impl Fn(T) -> U,
) {
    match (step, from) {
        (0, [first, ..]) => to.for_each(|t| *t = convert(*first)),
        _ => to.zip(from.iter().step_by(step.max(1))).for_each(|(t, f)| *t = convert(*f)),
    }
}

/// Tail of a slice; empty beyond its end.
#[inline(always)]
pub fn from<T>(slice: &[T], start: usize) -> &[T] {
    slice.get(start..).unwrap_or(&[])
}
