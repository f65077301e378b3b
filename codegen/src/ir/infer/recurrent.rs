//! Interpolation and recurrent layers.

use super::super::{RnnKind, TensorType};
use super::operand;
use crate::sym::Expr;

pub(super) fn resample(spatial: usize, out: &[Expr], exact: bool, x: &TensorType) -> Result<TensorType, String> {
    if x.shape.len() != spatial + 2 || out.len() != spatial {
        return Err(format!("{x} has not {spatial} spatial dims"));
    }
    if !exact && !x.dtype.is_float() {
        return Err(format!("interpolation of `{}`", x.dtype.name()));
    }
    Ok(TensorType { dtype: x.dtype, shape: [&x.shape[..2], out].concat() })
}

/// Gates of a cell.
pub(crate) fn gates(kind: RnnKind) -> usize {
    match kind {
        RnnKind::Lstm => 4,
        RnnKind::Gru => 3,
        RnnKind::Tanh | RnnKind::Relu => 1,
    }
}

/// Structure of a recurrent network.
#[derive(Clone, Copy)]
pub(crate) struct Rnn {
    pub kind: RnnKind,
    pub layers: usize,
    pub bidirectional: bool,
    pub batch_first: bool,
    pub bias: bool,
}

impl Rnn {
    /// States given and returned.
    pub fn states(self) -> usize {
        if self.kind == RnnKind::Lstm { 2 } else { 1 }
    }

    /// Weights of one layer and direction.
    pub fn weights(self) -> usize {
        if self.bias { 4 } else { 2 }
    }

    pub fn directions(self) -> usize {
        if self.bidirectional { 2 } else { 1 }
    }

    pub(super) fn infer(self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        let x = operand(inputs, 0)?;
        let h = operand(inputs, 1)?;
        let count = 1 + self.states() + self.layers * self.directions() * self.weights();
        if inputs.len() != count {
            return Err(format!("{} operands of a recurrent network, expected {count}", inputs.len()));
        }
        if !x.dtype.is_float() || inputs.iter().any(|t| t.dtype != x.dtype) {
            return Err("operands of a recurrent network must have one floating-point dtype".into());
        }
        let [a, b, size] = x.shape.as_slice() else { return Err(format!("a recurrent network over {x}")) };
        let batch = if self.batch_first { a } else { b };
        let hidden = h.shape.last().and_then(Expr::as_int).ok_or("an unknown number of units")?;
        let state = [Expr::from(self.layers * self.directions()), batch.clone(), Expr::Int(hidden)];
        if inputs[1..=self.states()].iter().any(|t| t.shape != state) {
            return Err(format!("the initial state is {h}"));
        }
        self.check_weights(size, hidden, inputs)?;
        let output = vec![a.clone(), b.clone(), Expr::Int(hidden * self.directions() as i64)];
        let mut types = vec![TensorType { dtype: x.dtype, shape: output }];
        types.extend(inputs[1..=self.states()].iter().cloned());
        Ok(types)
    }

    fn check_weights(self, size: &Expr, hidden: i64, inputs: &[TensorType]) -> Result<(), String> {
        let rows = Expr::Int(hidden * gates(self.kind) as i64);
        let groups = inputs[1 + self.states()..].chunks(self.weights());
        for (i, weights) in groups.enumerate() {
            let input = match i < self.directions() {
                true => size.clone(),
                false => Expr::Int(hidden * self.directions() as i64),
            };
            let expected = [vec![rows.clone(), input], vec![rows.clone(), Expr::Int(hidden)]];
            let biases = weights[2..].iter().all(|b| b.shape == [rows.clone()]);
            if weights[0].shape != expected[0] || weights[1].shape != expected[1] || !biases {
                return Err(format!("weights {} and {} of a layer of {hidden} units", weights[0], weights[1]));
            }
        }
        Ok(())
    }
}
