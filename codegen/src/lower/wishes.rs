//! What consumers wish for, found before the first node is lowered: the memory order of each value, and results computed
//! right inside the concatenation that joins them.

use super::{Lowering, Place, Storage, channels_last, numel};
use crate::ir::{Graph, Op, OutputKind, ValueId, View};
use crate::sym::Expr;

/// The memory order each value should have when its producer is free to choose: that of its operands, channels-last from
/// the conv family on and where a convolution reads it, row-major for the caller's outputs.
pub(super) fn orders(graph: &Graph) -> Vec<Vec<usize>> {
    let convolved = convolved(graph);
    let row_major = |v: ValueId| (0..graph.ty(v).shape.len()).collect::<Vec<usize>>();
    let mut orders: Vec<Vec<usize>> = (0..graph.values.len()).map(|i| row_major(ValueId(i as u32))).collect();
    for node in &graph.nodes {
        for &result in &node.outputs {
            let order = match &node.op {
                Op::Conv(..) | Op::Pool(_) | Op::AdaptivePool { .. } | Op::Resample { .. } => {
                    Some(channels_last(graph.ty(result).shape.len()))
                }
                Op::Pointwise { .. } | Op::Pad { .. } if convolved[result.0 as usize] => {
                    Some(channels_last(graph.ty(result).shape.len()))
                }
                Op::View(View::Permute(perm)) => {
                    let source = &orders[node.inputs[0].0 as usize];
                    Some(source.iter().filter_map(|d| perm.iter().position(|p| p == d)).collect())
                }
                _ => node.inputs.iter().find_map(|&x| {
                    let same_rank = graph.ty(x).shape.len() == graph.ty(result).shape.len();
                    let varies = graph.ty(x).shape.iter().filter(|s| **s != Expr::Int(1)).count() > 1;
                    (same_rank && varies && graph.constant_of(x).is_none()).then(|| orders[x.0 as usize].clone())
                }),
            };
            if let Some(order) = order.filter(|o| o.len() == graph.ty(result).shape.len()) {
                orders[result.0 as usize] = order;
            }
        }
    }
    for output in &graph.outputs {
        if let OutputKind::Tensor(v) = output.kind {
            orders[v.0 as usize] = row_major(v);
        }
    }
    orders
}

/// Values that a convolution reads, directly or padded.
fn convolved(graph: &Graph) -> Vec<bool> {
    let mut found = vec![false; graph.values.len()];
    for node in graph.nodes.iter().rev() {
        let reads = match &node.op {
            Op::Conv(..) => true,
            Op::Pad { .. } => found[node.outputs[0].0 as usize],
            _ => continue,
        };
        found[node.inputs[0].0 as usize] |= reads;
    }
    found
}

impl Lowering<'_> {
    /// Gives the parts of every concatenation a place inside its result. From the last one back, so that nested
    /// concatenations land in the outermost.
    pub(super) fn preset_concats(&mut self) {
        for node in self.graph.nodes.iter().rev() {
            let Op::Concat { dim } = node.op else { continue };
            let result = node.outputs[0];
            let whole = self.concat_place(result);
            let mut start = Expr::Int(0);
            for (i, &part) in node.inputs.iter().enumerate() {
                let len = self.graph.ty(part).shape[dim].clone();
                let place = whole.slice(dim, &start, &len, 1);
                start = start + len;
                if self.may_preset(part, &node.inputs[..i]) {
                    self.presets[part.0 as usize] = Some(place);
                }
            }
        }
    }

    fn concat_place(&mut self, result: ValueId) -> Place {
        if let Some(place) = &self.presets[result.0 as usize] {
            return place.clone();
        }
        let value = self.graph.value(result);
        let buffer = self.buffer(&value.name, value.ty.dtype, numel(&value.ty.shape), Storage::Arena);
        let place = Place::dense(buffer, value.ty.dtype, &value.ty.shape, &self.orders[result.0 as usize]);
        // The concatenation is not placed yet, but its buffer must not be taken from it.
        self.residents[buffer.0 as usize].push(result);
        self.presets[result.0 as usize] = Some(place.clone());
        place
    }

    /// Lets a result of a subgraph be computed at this place, if it can be.
    pub(super) fn wish(&mut self, v: ValueId, place: Option<&Place>, earlier: &[ValueId]) {
        if let Some(place) = place.filter(|_| self.may_preset(v, earlier)) {
            self.presets[v.0 as usize] = Some(place.clone());
        }
    }

    /// A part can be computed in place unless it exists already (input, constant, state, view) or has a wish already.
    fn may_preset(&self, part: ValueId, earlier: &[ValueId]) -> bool {
        let producer = self.graph.nodes.iter().find(|n| n.outputs.contains(&part));
        producer.is_some_and(|n| !matches!(n.op, Op::View(_) | Op::Constant(_)))
            && self.presets[part.0 as usize].is_none()
            && self.places[part.0 as usize].is_none()
            && !earlier.contains(&part)
    }
}
