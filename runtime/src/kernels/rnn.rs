//! One layer and direction of a recurrent network over all its time steps, one fused cell per step.
//!
//! Weights are packed so that one pass over an input yields all gates of a panel's width of units at once: `[block][k][gate][NR]`, units
//! padded with zeros to a multiple of `NR`; biases are `[block][gate][NR]`. Every unit sums its inputs in order, whatever `NR` is.
//! Gate order is PyTorch's: LSTM i, f, g, o; GRU r, z, n.

use super::num::{Float, Number, Real, Wide};
use crate::{Op, Panel, Simd, Vector};
use core::ops::Range;

/// Sizes and places of a layer, in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Time steps.
    pub steps: usize,
    /// Sequences.
    pub batch: usize,
    /// Elements of one input.
    pub input: usize,
    /// Units.
    pub hidden: usize,
    /// Distance of inputs of neighbouring steps.
    pub x_step: usize,
    /// Distance of inputs of neighbouring sequences.
    pub x_batch: usize,
    /// Distance of outputs of neighbouring steps.
    pub y_step: usize,
    /// Distance of outputs of neighbouring sequences.
    pub y_batch: usize,
    /// Whether time runs from the last step to the first.
    pub reverse: bool,
}

macro_rules! layers {
    ($($(#[$doc:meta])* $name:ident: $cell:ident, $gates:literal $(, $c:ident)?;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name<'a, T: Float, P: Panel> {
            /// Inputs, `[steps, batch, input]` under the strides of `shape`.
            pub x: &'a [T],
            /// Outputs, `[steps, batch, hidden]` under the strides of `shape`.
            pub y: &'a mut [T],
            /// `[batch, hidden]`: the initial state, in the end the last one.
            pub h: &'a mut [T],
            $(
                /// `[batch, hidden]`: the initial cell state, in the end the last one.
                pub $c: &'a mut [T],
            )?
            /// Scratch, `[hidden]`.
            pub next: &'a mut [T],
            /// Input weights, `[block][input][gate][NR]`.
            pub w_x: &'a [T],
            /// Recurrent weights, `[block][hidden][gate][NR]`.
            pub w_h: &'a [T],
            /// `[block][gate][NR]` or empty.
            pub b_x: &'a [T],
            /// `[block][gate][NR]` or empty.
            pub b_h: &'a [T],
            /// Sizes.
            pub shape: Shape,
            /// Width of the blocks.
            pub panel: P,
        }

        impl<T: Float, P: Panel> Op for $name<'_, T, P> {
            type Output = ();
            #[inline(always)]
            fn call<S: Simd>(self, s: S) {
                let $name { x, y, h, $($c,)? next, w_x, w_h, b_x, b_h, shape, .. } = self;
                let [cell, ..] = [$($c,)? &mut []];
                let weights = Weights::<T> { w_x, w_h, b_x, b_h };
                run::<T, $cell, S, P, $gates>(s, x, y, State { h, cell, next }, weights, shape);
            }
        }
    )*};
}

layers! {
    /// Long short-term memory.
    Lstm: LstmCell, 4, c;
    /// Gated recurrent unit.
    Gru: GruCell, 3;
    /// Elman network with tanh.
    Tanh: TanhCell, 1;
    /// Elman network with ReLU.
    Relu: ReluCell, 1;
}

struct State<'a, T> {
    h: &'a mut [T],
    cell: &'a mut [T],
    next: &'a mut [T],
}

#[derive(Clone, Copy)]
struct Weights<'a, T> {
    w_x: &'a [T],
    w_h: &'a [T],
    b_x: &'a [T],
    b_h: &'a [T],
}

/// What a unit does with its gates.
trait Cell<W: Real, const G: usize> {
    /// From the input and recurrent halves of the gates, the old output and (LSTM) the cell state to the new output.
    fn step<S: Simd>(s: S, x: [W; G], h: [W; G], old: W, cell: &mut W) -> W;
}

struct LstmCell;
impl<W: Real> Cell<W, 4> for LstmCell {
    #[inline(always)]
    fn step<S: Simd>(s: S, x: [W; 4], h: [W; 4], _old: W, cell: &mut W) -> W {
        let [i, f, g, o] = sum(x, h);
        *cell = f.sigmoid(s).mul(*cell).add(i.sigmoid(s).mul(g.tanh(s)));
        o.sigmoid(s).mul(cell.tanh(s))
    }
}

struct GruCell;
impl<W: Real> Cell<W, 3> for GruCell {
    #[inline(always)]
    fn step<S: Simd>(s: S, x: [W; 3], h: [W; 3], old: W, _cell: &mut W) -> W {
        let ([xr, xz, xn], [hr, hz, hn]) = (x, h);
        let (r, z) = (xr.add(hr).sigmoid(s), xz.add(hz).sigmoid(s));
        let n = xn.add(r.mul(hn)).tanh(s);
        old.sub(n).mul(z).add(n)
    }
}

struct TanhCell;
impl<W: Real> Cell<W, 1> for TanhCell {
    #[inline(always)]
    fn step<S: Simd>(s: S, x: [W; 1], h: [W; 1], _old: W, _cell: &mut W) -> W {
        let [a] = sum(x, h);
        a.tanh(s)
    }
}

struct ReluCell;
impl<W: Real> Cell<W, 1> for ReluCell {
    #[inline(always)]
    fn step<S: Simd>(_s: S, x: [W; 1], h: [W; 1], _old: W, _cell: &mut W) -> W {
        let [a] = sum(x, h);
        a.max(W::ZERO)
    }
}

#[inline(always)]
fn sum<W: Wide, const G: usize>(mut x: [W; G], h: [W; G]) -> [W; G] {
    for (x, h) in x.iter_mut().zip(h) {
        *x = x.add(h);
    }
    x
}

#[inline(always)]
fn run<T: Float, C: Cell<T::Wide, G>, S: Simd, P: Panel, const G: usize>(
    s: S,
    x: &[T],
    y: &mut [T],
    state: State<'_, T>,
    weights: Weights<'_, T>,
    shape: Shape,
) {
    let Shape { steps, batch, input, hidden, .. } = shape;
    if state.next.len() != hidden || hidden == 0 {
        return;
    }
    for step in 0..steps {
        let t = if shape.reverse { steps - 1 - step } else { step };
        for b in 0..batch {
            let at = |step: usize, stride: usize| t.saturating_mul(step).saturating_add(b.saturating_mul(stride));
            let x = run_of(x, at(shape.x_step, shape.x_batch), input);
            let start = b.saturating_mul(hidden);
            let end = start.saturating_add(hidden);
            let Some(h) = state.h.get_mut(start..end) else { return };
            let cell = state.cell.get_mut(start..end).unwrap_or_default();
            cell_step::<T, C, S, P, G>(s, x, h, cell, state.next, weights);
            let y_start = at(shape.y_step, shape.y_batch);
            if let Some(y) = y.get_mut(y_start..y_start.saturating_add(hidden)) {
                y.iter_mut().zip(h.iter()).for_each(|(y, &h)| *y = h);
            }
        }
    }
}

/// One step of one sequence.
#[inline(always)]
fn cell_step<T: Float, C: Cell<T::Wide, G>, S: Simd, P: Panel, const G: usize>(
    s: S,
    x: &[T],
    h: &mut [T],
    cell: &mut [T],
    next: &mut [T],
    weights: Weights<'_, T>,
) {
    for (block, new) in next.chunks_mut(P::WIDTH.max(1)).enumerate() {
        let first = block.saturating_mul(P::WIDTH);
        let gates_x = gates::<T, S, P, G>(s, x, weights.w_x, weights.b_x, block);
        let gates_h = gates::<T, S, P, G>(s, h, weights.w_h, weights.b_h, block);
        let end = first.saturating_add(new.len());
        let (old, mut state) = (lanes::<T, P>(h, first..end), lanes::<T, P>(cell, first..end));
        let mut out = P::Row::<T::Wide>::default();
        let (old, [state, out]) = (old.as_ref(), [state.as_mut(), out.as_mut()]);
        // Units beyond the last are computed, too: a loop of constant length over arrays is what LLVM makes vectors of.
        for lane in 0..const { P::WIDTH } {
            let of = |gates: &[P::Row<T::Wide>; G]| core::array::from_fn(|gate| gates[gate].as_ref()[lane]);
            out[lane] = C::step(s, of(&gates_x), of(&gates_h), old[lane], &mut state[lane]);
        }
        new.iter_mut().zip(out).for_each(|(new, value)| *new = T::narrow(*value));
        let cell = cell.get_mut(first..end).unwrap_or_default();
        cell.iter_mut().zip(state).for_each(|(cell, value)| *cell = T::narrow(*value));
    }
    h.iter_mut().zip(next.iter()).for_each(|(h, &new)| *h = new);
}

/// `weights * x + bias` for all gates of one block of units.
#[inline(always)]
fn gates<T: Float, S: Simd, P: Panel, const G: usize>(
    s: S,
    x: &[T],
    weights: &[T],
    bias: &[T],
    block: usize,
) -> [P::Row<T::Wide>; G] {
    let mut room = [T::Wide::ZERO; WIDEST];
    let mut acc = [Row::<T, S, P>::splat(s, T::Wide::ZERO); G];
    let row = const { P::WIDTH * G };
    let bias = run_of(bias, block.saturating_mul(row), row);
    for (acc, bias) in acc.iter_mut().zip(bias.chunks_exact(P::WIDTH.max(1))) {
        *acc = Row::<T, S, P>::load(s, T::widen_all(bias, &mut room));
    }
    let size = x.len().saturating_mul(row);
    let weights = run_of(weights, block.saturating_mul(size), size);
    for (x, w) in x.iter().zip(weights.chunks_exact(row.max(1))) {
        let x = Row::<T, S, P>::splat(s, x.widen());
        for (acc, w) in acc.iter_mut().zip(w.chunks_exact(P::WIDTH.max(1))) {
            *acc = Row::<T, S, P>::load(s, T::widen_all(w, &mut room)).mul_add(s, x, *acc);
        }
    }
    acc.map(|acc| {
        let mut lanes = P::Row::<T::Wide>::default();
        acc.store(s, lanes.as_mut());
        lanes
    })
}

/// The values of some units; 0 where there are none.
#[inline(always)]
fn lanes<T: Float, P: Panel>(from: &[T], units: Range<usize>) -> P::Row<T::Wide> {
    let mut lanes = P::Row::<T::Wide>::default();
    lanes.as_mut().iter_mut().zip(from.get(units).unwrap_or_default()).for_each(|(lane, value)| *lane = value.widen());
    lanes
}

/// One gate of a block of units in registers.
type Row<T, S, P> = <<T as Number>::Wide as Wide>::Row<S, P>;

/// The widest panel.
const WIDEST: usize = 16;

/// `len` elements from `start`, empty when there are fewer.
#[inline(always)]
fn run_of<T>(x: &[T], start: usize, len: usize) -> &[T] {
    x.get(start..start.saturating_add(len)).unwrap_or_default()
}
