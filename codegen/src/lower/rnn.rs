//! Recurrent layers: one kernel per layer and direction, weights packed here for a fused pass over all gates.

use super::reduce::{empty, read, row_major};
use super::{Access, Field, Kernel, Lowering, Place, Region, Storage, Work, numel};
use crate::diag::Diagnostic;
use crate::ir::infer::{Rnn, gates};
use crate::ir::{Constant, Node, RnnKind, ValueId};
use crate::sym::Expr;
use std::sync::Arc;

/// All layers of a network.
pub(super) fn rnn(cx: &mut Lowering<'_>, node: &Node, net: Rnn) -> Result<(), Diagnostic> {
    let x = node.inputs[0];
    let hidden = cx.shape(node.inputs[1]).last().and_then(Expr::as_int);
    let hidden = hidden.ok_or_else(|| Diagnostic::bug("an unknown number of units"))?;
    let states: Vec<Place> = (0..net.states()).map(|i| initial(cx, node, i)).collect();
    let mut input = cx.read_dense(x, &row_major(3));
    let mut width = cx.shape(x)[2].clone();
    for layer in 0..net.layers {
        let output = match layer + 1 == net.layers {
            true => cx.output_dense(node.outputs[0], &row_major(3)).region(Access::Whole),
            false => between(cx, node, layer, hidden * net.directions() as i64),
        };
        for direction in 0..net.directions() {
            let part = Part { net, layer, direction, hidden, width: width.clone() };
            part.lower(cx, node, &states, &input, &output)?;
        }
        input = output;
        width = Expr::Int(hidden * net.directions() as i64);
    }
    Ok(())
}

/// The place of a final state, holding the initial one.
fn initial(cx: &mut Lowering<'_>, node: &Node, state: usize) -> Place {
    let (from, to) = (node.inputs[1 + state], node.outputs[1 + state]);
    let from = cx.place(from);
    let to = cx.output_dense(to, &row_major(3));
    cx.copy(&from, &to, "state");
    to
}

/// The outputs of a layer that is not the last.
fn between(cx: &mut Lowering<'_>, node: &Node, layer: usize, width: i64) -> Region {
    let shape = cx.shape(node.outputs[0]);
    let len = shape[0].clone() * shape[1].clone() * Expr::Int(width);
    let name = format!("{}_layer{layer}", cx.graph.value(node.outputs[0]).name);
    let buffer = cx.buffer(&name, cx.dtype(node.outputs[0]), len.clone(), Storage::Arena);
    Region { buffer, offset: Expr::Int(0), len, access: Access::Whole }
}

/// Fields of a kernel.
type Fields = Vec<(&'static str, Field)>;

/// One layer and direction.
struct Part {
    net: Rnn,
    layer: usize,
    direction: usize,
    hidden: i64,
    /// Elements of one input.
    width: Expr,
}

impl Part {
    fn lower(
        &self,
        cx: &mut Lowering<'_>,
        node: &Node,
        states: &[Place],
        input: &Region,
        output: &Region,
    ) -> Result<(), Diagnostic> {
        let shape = cx.shape(node.inputs[0]);
        let (steps, batch) = match self.net.batch_first {
            true => (shape[1].clone(), shape[0].clone()),
            false => (shape[0].clone(), shape[1].clone()),
        };
        let index = self.layer * self.net.directions() + self.direction;
        let block = batch.clone() * Expr::Int(self.hidden);
        let state = |place: &Place| Field::Write {
            region: Region {
                buffer: place.buffer,
                offset: place.offset.clone() + block.clone() * Expr::from(index),
                len: block.clone(),
                access: Access::Whole,
            },
            update: true,
        };
        let first = Expr::Int(self.hidden * self.direction as i64);
        let y =
            Region { offset: output.offset.clone() + first.clone(), len: output.len.clone() - first, ..output.clone() };
        let mut fields = vec![
            ("x", read(input.clone())),
            // The other direction's results lie between: what is not written here must stay.
            ("y", Field::Write { region: y, update: true }),
            ("h", state(&states[0])),
        ];
        fields.extend(states.get(1).map(|c| ("c", state(c))));
        let dtype = cx.dtype(node.inputs[0]);
        let next = cx.scratch("next", dtype, Expr::Int(self.hidden));
        fields.push(("next", Field::Write { region: next, update: false }));
        let weights = self.weights(cx, node, index)?;
        let macs = steps.clone() * batch.clone() * weights.1;
        fields.extend(weights.0);
        fields.push(("shape", self.shape(steps, batch)));
        fields.push(("panel", Field::Path(cx.panel().into())));
        let (path, generics) = (self.path(), Vec::new());
        cx.push_step(node, "", Work::Kernel(Kernel { path, generics, fields, fallible: false }), macs);
        Ok(())
    }

    fn path(&self) -> &'static str {
        match self.net.kind {
            RnnKind::Lstm => "rnn::Lstm",
            RnnKind::Gru => "rnn::Gru",
            RnnKind::Tanh => "rnn::Tanh",
            RnnKind::Relu => "rnn::Relu",
        }
    }

    fn shape(&self, steps: Expr, batch: Expr) -> Field {
        let out = Expr::Int(self.hidden * self.net.directions() as i64);
        // Distances of neighbouring steps and sequences in rows of `width` elements.
        let strides = |width: Expr| match self.net.batch_first {
            true => (width.clone(), width * steps.clone()),
            false => (width.clone() * batch.clone(), width),
        };
        let ((x_step, x_batch), (y_step, y_batch)) = (strides(self.width.clone()), strides(out));
        let fields = vec![
            ("steps", Field::Usize(steps.clone())),
            ("batch", Field::Usize(batch.clone())),
            ("input", Field::Usize(self.width.clone())),
            ("hidden", Field::Usize(Expr::Int(self.hidden))),
            ("x_step", Field::Usize(x_step)),
            ("x_batch", Field::Usize(x_batch)),
            ("y_step", Field::Usize(y_step)),
            ("y_batch", Field::Usize(y_batch)),
            ("reverse", Field::Bool(self.direction == 1)),
        ];
        Field::Struct("rnn::Shape", fields)
    }

    /// Fields of the packed weights, and the multiplications of one step of one sequence.
    fn weights(&self, cx: &mut Lowering<'_>, node: &Node, index: usize) -> Result<(Fields, Expr), Diagnostic> {
        let first = 1 + self.net.states() + index * self.net.weights();
        let values: Vec<ValueId> = node.inputs[first..first + self.net.weights()].to_vec();
        let mut fields = Vec::new();
        let mut count = Expr::Int(0);
        for (i, name) in ["w_x", "w_h", "b_x", "b_h"].into_iter().enumerate() {
            let Some(&v) = values.get(i) else {
                fields.push((name, empty(cx, node.inputs[0])));
                continue;
            };
            let Some(constant) = cx.constant_of(v) else {
                return Err(Diagnostic::unsupported("a recurrent layer whose weights are computed")
                    .help("weights must be parameters or buffers that nothing writes"));
            };
            if i < 2 {
                count = count + numel(cx.shape(v));
            }
            let panel = cx.options.target.panel();
            let packed = pack(constant, gates(self.net.kind), self.hidden as usize, panel);
            fields.push((name, read(cx.weights(&constant.name, constant.dtype, packed))));
        }
        Ok((fields, count))
    }
}

/// `[gate * hidden, k]` (or `[gate * hidden]`) → `[block][k][gate][panel]`, units padded with zeros.
fn pack(constant: &Constant, gates: usize, hidden: usize, panel: usize) -> Arc<[u8]> {
    let size = constant.dtype.size();
    let k = constant.shape.get(1).copied().unwrap_or(1);
    let mut packed = Vec::with_capacity(hidden.div_ceil(panel) * k * gates * panel * size);
    for block in 0..hidden.div_ceil(panel) {
        for i in 0..k {
            for gate in 0..gates {
                for unit in block * panel..(block + 1) * panel {
                    let at = ((gate * hidden + unit) * k + i) * size;
                    match constant.data.get(at..at + size).filter(|_| unit < hidden) {
                        Some(element) => packed.extend_from_slice(element),
                        None => packed.resize(packed.len() + size, 0),
                    }
                }
            }
        }
    }
    packed.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use exported_runtime::DType;

    #[test]
    fn gates_are_interleaved_and_units_padded() {
        // Two gates, three units, two inputs: element = 10 * (gate * 3 + unit) + input.
        let data: Vec<u8> = (0..6).flat_map(|row| [10 * row, 10 * row + 1]).collect();
        let constant = Constant { name: "w".into(), dtype: DType::U8, shape: vec![6, 2], data: data.into() };
        let packed = pack(&constant, 2, 3, 2);
        assert_eq!(packed[..], [0, 10, 30, 40, 1, 11, 31, 41, 20, 0, 50, 0, 21, 0, 51, 0]);
        let bias = Constant { name: "b".into(), dtype: DType::U8, shape: vec![6], data: [1, 2, 3, 4, 5, 6].into() };
        assert_eq!(pack(&bias, 2, 3, 2)[..], [1, 2, 4, 5, 3, 0, 6, 0]);
    }
}
