//! Recurrent layers and cells.

use super::view::take;
use super::{Out, Outs, Row, row};
use crate::diag::Diagnostic;
use crate::import::{Arg, Call};
use crate::ir::{Op, RnnKind, ValueId};
use crate::sym::Expr;

type Result<T> = std::result::Result<T, Diagnostic>;

const NOTE: &str = "weights must be constants; no projections";

/// The rows.
pub const ROWS: &[Row] = &[
    row("aten.lstm.input", |call| layers(call, RnnKind::Lstm)).noted(NOTE),
    row("aten.gru.input", |call| layers(call, RnnKind::Gru)).noted(NOTE),
    row("aten.rnn_tanh.input", |call| layers(call, RnnKind::Tanh)).noted(NOTE),
    row("aten.rnn_relu.input", |call| layers(call, RnnKind::Relu)).noted(NOTE),
    row("aten.lstm_cell.default", |call| cell(call, RnnKind::Lstm)).noted(NOTE),
    row("aten.gru_cell.default", |call| cell(call, RnnKind::Gru)).noted(NOTE),
    row("aten.rnn_tanh_cell.default", |call| cell(call, RnnKind::Tanh)).noted(NOTE),
    row("aten.rnn_relu_cell.default", |call| cell(call, RnnKind::Relu)).noted(NOTE),
];

/// Argument `hx`: one tensor, or two for an LSTM.
fn states(call: &Call<'_>, kind: RnnKind) -> Result<Vec<ValueId>> {
    let states = match call.arg("hx") {
        Some(Arg::Tensor(h)) => vec![*h],
        _ => call.tensors("hx")?,
    };
    let expected = if kind == RnnKind::Lstm { 2 } else { 1 };
    match states.len() == expected {
        true => Ok(states),
        false => Err(call.damaged(format!("{} states, expected {expected}", states.len()))),
    }
}

fn layers(call: &mut Call<'_>, kind: RnnKind) -> Result<Outs> {
    if call.bool("train")? && call.float("dropout")? != 0.0 {
        return Err(call
            .violated("a recurrent network with dropout in training mode")
            .help("call `model.eval()` before `torch.export.export`"));
    }
    let x = call.tensor("input")?;
    let states = states(call, kind)?;
    let params = call.tensors("params")?;
    let (bias, bidirectional) = (call.bool("has_biases")?, call.bool("bidirectional")?);
    let layers = usize::try_from(call.int("num_layers")?).unwrap_or(0);
    let directions = if bidirectional { 2 } else { 1 };
    let each = if bias { 4 } else { 2 };
    if params.len() == layers * directions * (each + 1) && params.len() != layers * directions * each {
        return Err(call.unsupported("an LSTM with projections (`proj_size`)"));
    }
    let batch_first = call.bool("batch_first")?;
    let op = Op::Rnn { kind, layers, bidirectional, batch_first, bias };
    let inputs = [&[x], states.as_slice(), params.as_slice()].concat();
    Ok(call.push_all(op, &inputs)?.into_iter().map(Out::Tensor).collect())
}

/// One step of one layer: a sequence of length 1, of which only the final states count.
fn cell(call: &mut Call<'_>, kind: RnnKind) -> Result<Outs> {
    let x = call.tensor("input")?;
    let states = states(call, kind)?;
    let (w_ih, w_hh) = (call.tensor("w_ih")?, call.tensor("w_hh")?);
    let biases = [call.optional_tensor("b_ih")?, call.optional_tensor("b_hh")?];
    let bias = match biases {
        [Some(_), Some(_)] => true,
        [None, None] => false,
        _ => return Err(call.unsupported("a recurrent cell with one of two biases")),
    };
    // [batch, size], or [size] alone, to [1, batch, size].
    let batched = call.rank(x) == 2;
    let mut inputs = Vec::new();
    for v in [&[x], states.as_slice()].concat() {
        let shape = call.shape(v);
        let lead = vec![Expr::Int(1); 3 - shape.len().min(2)];
        inputs.push(call.reshape(v, &[lead, shape].concat())?);
    }
    inputs.extend([Some(w_ih), Some(w_hh), biases[0], biases[1]].into_iter().flatten());
    let op = Op::Rnn { kind, layers: 1, bidirectional: false, batch_first: false, bias };
    let outs = call.push_all(op, &inputs)?;
    let mut results = Vec::new();
    for &state in &outs[1..] {
        let state = take(call, state, 0, Expr::Int(0))?;
        results.push(Out::Tensor(if batched { state } else { take(call, state, 0, Expr::Int(0))? }));
    }
    Ok(results)
}
