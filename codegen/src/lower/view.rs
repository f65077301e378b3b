//! Views, concatenation, padding and writes into slices: mostly arithmetic on places, copies where elements must move.

use super::{Lowering, Place, Storage, Work, loops};
use crate::diag::Diagnostic;
use crate::ir::{Literal, Node, PadMode, View};
use crate::sym::Expr;

pub(super) fn view(cx: &mut Lowering<'_>, node: &Node, view: &View) -> Result<(), Diagnostic> {
    let (x, y) = (node.inputs[0], node.outputs[0]);
    let place = cx.place(x);
    let viewed = match place.view(view) {
        Some(viewed) => viewed,
        None => {
            let order: Vec<usize> = (0..place.shape.len()).collect();
            let dense = if place.is_dense(&order) { place } else { cx.copy_dense(x, &place, &order) };
            let missing = || Diagnostic::bug("a view of a dense value cannot be expressed").at(&node.origin);
            match view {
                // Where guards say that the sizes agree, structure does not show it.
                View::Reshape(shape) => {
                    let order: Vec<usize> = (0..shape.len()).collect();
                    Place { offset: dense.offset, ..Place::dense(dense.buffer, dense.dtype, shape, &order) }
                }
                _ => dense.view(view).ok_or_else(missing)?,
            }
        }
    };
    cx.set_place(y, viewed);
    Ok(())
}

/// Parts that stand in the result already cost nothing; the others are copied into it.
pub(super) fn concat(cx: &mut Lowering<'_>, node: &Node, dim: usize) -> Result<(), Diagnostic> {
    let result = node.outputs[0];
    let whole = cx.output_any(result);
    let mut start = Expr::Int(0);
    for &part in &node.inputs {
        let len = cx.shape(part)[dim].clone();
        let target = whole.slice(dim, &start, &len, 1);
        start = start + len;
        let place = cx.place(part);
        if place != target {
            cx.copy(&place, &target, "");
        }
    }
    Ok(())
}

/// Each dim is cut into what comes before, the operand and what comes after; every combination is one copy (or fill).
pub(super) fn pad(cx: &mut Lowering<'_>, node: &Node, pads: &[(i64, i64)], mode: &PadMode) -> Result<(), Diagnostic> {
    let (x, y) = (node.inputs[0], node.outputs[0]);
    let from = cx.place(x);
    let to = cx.output_any(y);
    // Pairs of (source, target) so far; `None` is the constant.
    let mut pieces: Vec<(Option<Place>, Place)> = vec![(Some(from), to)];
    for (dim, &(before, after)) in pads.iter().enumerate() {
        let size = cx.shape(x)[dim].clone();
        pieces = pieces.into_iter().flat_map(|(from, to)| cut(from, &to, dim, &size, (before, after), mode)).collect();
    }
    for (from, to) in pieces {
        match (&from, mode) {
            (Some(from), _) => cx.copy(from, &to, ""),
            (None, PadMode::Constant(bits)) => {
                let fill = loops::fill(&to, Literal::Float(*bits));
                cx.push_step(node, "", Work::Loop(fill), Expr::Int(0));
            }
            (None, _) => {}
        }
    }
    Ok(())
}

/// The pieces of one dim.
fn cut(
    from: Option<Place>,
    to: &Place,
    dim: usize,
    size: &Expr,
    (before, after): (i64, i64),
    mode: &PadMode,
) -> Vec<(Option<Place>, Place)> {
    let int = Expr::Int;
    let kept = size.clone() + int(before.min(0)) + int(after.min(0));
    let target = |start: Expr, len: Expr| to.slice(dim, &start, &len, 1);
    let source = |start: Expr, len: Expr, step: i64| {
        let from = from.as_ref()?;
        let place = from.slice(dim, &start, &len, 1);
        if step > 0 { Some(place) } else { place.view(&View::Flip(vec![dim])) }
    };
    let repeat = |at: Expr, n: i64| {
        let from = from.as_ref()?;
        let one = from.slice(dim, &at, &int(1), 1);
        let mut shape = one.shape.clone();
        shape[dim] = int(n);
        Some(one.expand(&shape))
    };
    let mut pieces = vec![(source(int((-before).max(0)), kept.clone(), 1), target(int(before.max(0)), kept.clone()))];
    if before > 0 {
        let place = match mode {
            PadMode::Constant(_) => None,
            PadMode::Reflect => source(int(1), int(before), -1),
            PadMode::Replicate => repeat(int(0), before),
            PadMode::Circular => source(size.clone() - int(before), int(before), 1),
        };
        pieces.push((place, target(int(0), int(before))));
    }
    if after > 0 {
        let place = match mode {
            PadMode::Constant(_) => None,
            PadMode::Reflect => source(size.clone() - int(1 + after), int(after), -1),
            PadMode::Replicate => repeat(size.clone() - int(1), after),
            PadMode::Circular => source(int(0), int(after), 1),
        };
        pieces.push((place, target(int(before.max(0)) + kept, int(after))));
    }
    // Pieces of a dim that the constant fills have no source; pieces cut from a constant piece stay constant.
    pieces.into_iter().map(|(source, target)| (if from.is_some() { source } else { None }, target)).collect()
}

/// x with one slice replaced: over `x` where it dies, else in a copy.
pub(super) fn slice_scatter(
    cx: &mut Lowering<'_>,
    node: &Node,
    dim: usize,
    start: &Expr,
    len: &Expr,
    step: i64,
) -> Result<(), Diagnostic> {
    let (x, source, y) = (node.inputs[0], node.inputs[1], node.outputs[0]);
    let source_place = cx.place(source);
    let place = match cx.output_over(y, x) {
        Some(place) => place,
        None => {
            let from = cx.place(x);
            let to = cx.output_any(y);
            cx.copy(&from, &to, "copy");
            to
        }
    };
    cx.copy(&source_place, &place.slice(dim, start, len, step), "");
    Ok(())
}

/// Whether a buffer is planned memory.
impl Storage {
    /// Whether `plan` gives it an offset.
    pub fn is_planned(&self) -> bool {
        matches!(self, Storage::Arena | Storage::Scratch | Storage::Entered(_))
    }
}
