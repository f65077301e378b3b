//! A pad with zeros before a convolution or a mean over windows becomes part of it.

use super::edit::producers;
use crate::diag::Diagnostic;
use crate::ir::{Conv, Graph, Op, PadMode, Pool, PoolKind};
use crate::options::Options;

/// Folds constant pads into their readers; a pad that nobody reads any more is dead code.
///
/// # Errors
/// None.
pub fn run(graph: &mut Graph, _: &Options) -> Result<bool, Diagnostic> {
    let made = producers(graph);
    let mut changed = false;
    for index in 0..graph.nodes.len() {
        let Some(&x) = graph.nodes[index].inputs.first() else { continue };
        let Some(Op::Pad { pads, mode: PadMode::Constant(bits) }) = made[x.0 as usize].map(|p| &graph.nodes[p].op)
        else {
            continue;
        };
        // What stands for 0.
        let zero = match &graph.nodes[index].op {
            Op::Conv(_, e) => e.requantize.map_or(0, |r| r.input_zero),
            Op::Pool(p) => p.requantize.map_or(0, |(r, _)| r.input_zero),
            _ => 0,
        };
        if f64::from_bits(*bits) != f64::from(zero) || pads.iter().any(|p| p.0 < 0 || p.1 < 0) {
            continue;
        }
        let padded = match &graph.nodes[index].op {
            Op::Conv(c, e) => conv(c, pads).map(|c| Op::Conv(c, *e)),
            Op::Pool(p) => pool(p, pads).map(Op::Pool),
            _ => None,
        };
        if let (Some(op), Some(pad)) = (padded, made[x.0 as usize]) {
            let source = graph.nodes[pad].inputs[0];
            graph.nodes[index].op = op;
            graph.nodes[index].inputs[0] = source;
            changed = true;
        }
    }
    Ok(changed)
}

/// Pads of the spatial dims as `[d, h, w]`, if no other dim is padded.
fn spatial(pads: &[(i64, i64)], dims: usize) -> Option<[(usize, usize); 3]> {
    let (outer, inner) = pads.split_at_checked(2)?;
    if outer.iter().any(|p| *p != (0, 0)) || inner.len() != dims {
        return None;
    }
    let mut all = [(0, 0); 3];
    for (to, from) in all[3 - dims..].iter_mut().zip(inner) {
        *to = (usize::try_from(from.0).ok()?, usize::try_from(from.1).ok()?);
    }
    Some(all)
}

fn conv(conv: &Conv, pads: &[(i64, i64)]) -> Option<Conv> {
    if conv.transposed {
        return None;
    }
    let extra = spatial(pads, conv.spatial)?;
    let padding = std::array::from_fn(|d| (conv.padding[d].0 + extra[d].0, conv.padding[d].1 + extra[d].1));
    Some(Conv { padding, ..conv.clone() })
}

/// Every padded element counts, as it did when it was part of the tensor. Windows that hang over (`ceil_mode`) and
/// padding beyond half a window would count otherwise.
fn pool(pool: &Pool, pads: &[(i64, i64)]) -> Option<Pool> {
    let PoolKind::Avg { divisor_override, .. } = pool.kind else { return None };
    let extra = spatial(pads, pool.spatial)?;
    let fits = (0..3).all(|d| extra[d].0 == extra[d].1 && 2 * extra[d].0 <= pool.kernel[d]);
    if !fits || pool.ceil_mode || pool.padding != [0; 3] {
        return None;
    }
    let kind = PoolKind::Avg { count_include_pad: true, divisor_override };
    Some(Pool { kind, padding: extra.map(|p| p.0), ..pool.clone() })
}
