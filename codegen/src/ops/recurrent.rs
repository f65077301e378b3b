//! Recurrent layers and cells.

use super::join::concat;
use super::matmul::matmul;
use super::view::{swapped, take, unsqueeze};
use super::{Out, Outs, Row, map, row};
use crate::diag::Diagnostic;
use crate::import::{Arg, Call};
use crate::ir::{Binary, Op, RnnKind, Unary, ValueId};
use crate::sym::Expr;

type Result<T> = std::result::Result<T, Diagnostic>;

const NOTE: &str = "weights must be constants";
const PROJECTIONS: &str = "with projections (`proj_size`) one copy of the code per step";

/// The rows.
pub const ROWS: &[Row] = &[
    row("aten.lstm.input", |call| layers(call, RnnKind::Lstm)).noted(PROJECTIONS),
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
    let batch_first = call.bool("batch_first")?;
    if kind == RnnKind::Lstm && call.shape(states[0]).last() != call.shape(states[1]).last() {
        let step = each + 1;
        if params.len() != layers * directions * step {
            return Err(call.damaged(format!("{} weights of {layers} layers with projections", params.len())));
        }
        return projected(call, x, [states[0], states[1]], params.chunks(step), directions, batch_first);
    }
    let op = Op::Rnn { kind, layers, bidirectional, batch_first, bias };
    let inputs = [&[x], states.as_slice(), params.as_slice()].concat();
    Ok(call.push_all(op, &inputs)?.into_iter().map(Out::Tensor).collect())
}

/// An LSTM whose output is a product of the hidden state with one more matrix, step by step.
fn projected<'p>(
    call: &mut Call<'_>,
    x: ValueId,
    states: [ValueId; 2],
    mut weights: impl Iterator<Item = &'p [ValueId]>,
    directions: usize,
    batch_first: bool,
) -> Result<Outs> {
    let alone = call.rank(x) == 2;
    // [steps, batch, size]
    let mut x = match (alone, batch_first) {
        (true, _) => unsqueeze(call, x, 1)?,
        (false, true) => swapped(call, x, 0, 1)?,
        (false, false) => x,
    };
    let [h, c] = states.map(|s| if alone { unsqueeze(call, s, 1) } else { Ok(s) });
    let (h, c) = (h?, c?);
    let steps = call.shape(x)[0].as_int();
    let steps = steps.ok_or_else(|| call.unsupported("an LSTM with projections over an unknown number of steps"))?;
    let (mut last_h, mut last_c) = (Vec::new(), Vec::new());
    for layer in 0.. {
        let mut sides = Vec::new();
        for direction in 0..directions {
            let Some(weights) = weights.next() else { break };
            let at = Expr::Int((layer * directions + direction) as i64);
            let mut state = [take(call, h, 0, at.clone())?, take(call, c, 0, at)?];
            let mut outputs = Vec::new();
            for step in 0..steps {
                let step = if direction == 0 { step } else { steps - 1 - step };
                let entry = take(call, x, 0, Expr::Int(step))?;
                state = projected_step(call, entry, state, weights)?;
                outputs.push(unsqueeze(call, state[0], 0)?);
            }
            if direction == 1 {
                outputs.reverse();
            }
            sides.push(concat(call, &outputs, 0)?);
            last_h.push(unsqueeze(call, state[0], 0)?);
            last_c.push(unsqueeze(call, state[1], 0)?);
        }
        if sides.is_empty() {
            break;
        }
        x = concat(call, &sides, 2)?;
    }
    let (h, c) = (concat(call, &last_h, 0)?, concat(call, &last_c, 0)?);
    if alone {
        let outs = [(x, 1), (h, 1), (c, 1)].map(|(v, dim)| take(call, v, dim, Expr::Int(0)).map(Out::Tensor));
        return outs.into_iter().collect();
    }
    let x = if batch_first { swapped(call, x, 0, 1)? } else { x };
    Ok(vec![Out::Tensor(x), Out::Tensor(h), Out::Tensor(c)])
}

/// The next output and cell state; weights are `w_ih, w_hh, (b_ih, b_hh,) w_hr`.
fn projected_step(call: &mut Call<'_>, x: ValueId, [h, c]: [ValueId; 2], weights: &[ValueId]) -> Result<[ValueId; 2]> {
    let (&[w_ih, w_hh], [rest @ .., w_hr]) = (&weights[..2], &weights[2..]) else {
        return Err(call.damaged("a layer without weights"));
    };
    let mut sums = Vec::new();
    for (value, weight) in [(x, w_ih), (h, w_hh)] {
        let weight = swapped(call, weight, 0, 1)?;
        sums.push(matmul(call, value, weight)?);
    }
    sums.extend(rest);
    let gates = map(call, &sums, |f, p| p[1..].iter().fold(p[0], |sum, &term| f.binary(Binary::Add, sum, term)))?;
    let size = Expr::floordiv(call.shape(gates)[1].clone(), 4);
    let mut parts = vec![c];
    for gate in 0..4 {
        parts.push(call.slice(gates, 1, size.clone() * Expr::Int(gate), size.clone(), 1)?);
    }
    let c = map(call, &parts[..4], |f, p| {
        let (input, forget) = (f.unary(Unary::Sigmoid, p[1]), f.unary(Unary::Sigmoid, p[2]));
        let candidate = f.unary(Unary::Tanh, p[3]);
        let (kept, new) = (f.binary(Binary::Mul, forget, p[0]), f.binary(Binary::Mul, input, candidate));
        f.binary(Binary::Add, kept, new)
    })?;
    let hidden = map(call, &[parts[4], c], |f, p| {
        let (output, cell) = (f.unary(Unary::Sigmoid, p[0]), f.unary(Unary::Tanh, p[1]));
        f.binary(Binary::Mul, output, cell)
    })?;
    let w_hr = swapped(call, *w_hr, 0, 1)?;
    Ok([matmul(call, hidden, w_hr)?, c])
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
