//! Types of results from the types of operands: our own shape rules, independent of what the archive recorded.
//!
//! `import` compares the two and [`super::verify()`] runs these again after every pass. One function per family.

mod bytes;
mod control;
mod conv;
mod index;
mod matmul;
mod pool;
mod recurrent;
mod reduce;
mod view;

pub(crate) use index::indexed_shape;
pub(crate) use recurrent::{Rnn, gates};

use super::{Graph, Op, ResampleMode, TensorType};
use crate::sym::Expr;

/// Types of the results of `op` on operands of these types.
///
/// # Errors
/// A message when the operands do not fit the operation.
pub fn infer(op: &Op, inputs: &[TensorType], graph: &Graph) -> Result<Vec<TensorType>, String> {
    match op {
        Op::Constant(id) => {
            let c = graph.constants.get(id.0 as usize).ok_or("the constant does not exist")?;
            Ok(vec![TensorType { dtype: c.dtype, shape: c.shape.iter().map(|&s| Expr::from(s)).collect() }])
        }
        Op::Pointwise { formula, shape } => view::pointwise(formula, shape, inputs),
        Op::View(v) => Ok(vec![view::view(v, operand(inputs, 0)?, graph)?]),
        Op::Concat { dim } => Ok(vec![view::concat(*dim, inputs)?]),
        Op::Pad { pads, .. } => Ok(vec![view::pad(pads, operand(inputs, 0)?)?]),
        Op::SliceScatter { dim, start, len, step } => {
            let sliced = super::View::Slice { dim: *dim, start: start.clone(), len: len.clone(), step: *step };
            let expected = view::view(&sliced, operand(inputs, 0)?, graph)?;
            if *operand(inputs, 1)? != expected {
                return Err(format!("the slice has type {expected}, but its source {}", inputs[1]));
            }
            Ok(vec![inputs[0].clone()])
        }
        Op::Assert { .. } => Ok(Vec::new()),
        Op::Custom(call) => call.infer(inputs),
        Op::Item { symbol } => control::item(symbol, operand(inputs, 0)?),
        Op::Cond { .. } | Op::While { .. } | Op::Scan { .. } => control::control(op, inputs),
        Op::Linear(epilogue) => Ok(vec![matmul::linear(epilogue, inputs)?]),
        Op::MatMul(epilogue) => Ok(vec![matmul::matmul(epilogue, inputs)?]),
        Op::Conv(conv, epilogue) => Ok(vec![conv::conv(conv, epilogue, inputs)?]),
        Op::BatchNorm { .. } => Ok(vec![conv::batch_norm(inputs)?]),
        Op::Quantize { dtype, axis, .. } => Ok(vec![conv::quantize(*dtype, *axis, inputs)?]),
        Op::Dequantize { axis, .. } => Ok(vec![conv::quantize(exported_runtime::DType::F32, *axis, inputs)?]),
        Op::Lookup | Op::QuantizedSoftmax { .. } => Ok(vec![bytes::by_table(op, inputs)?]),
        Op::QuantizedMatMul { requantize, .. } => Ok(vec![bytes::matmul(requantize.dtype, inputs)?]),
        Op::GroupedLinear { bias } => Ok(vec![bytes::grouped(*bias, inputs)?]),
        Op::Pool(p) => pool::pool(p, operand(inputs, 0)?),
        Op::AdaptivePool { max, spatial, out, requantize } => {
            let mut types = pool::adaptive(*max, *spatial, out, operand(inputs, 0)?)?;
            pool::requantized(requantize, &mut types);
            Ok(types)
        }
        Op::Reduce { .. }
        | Op::Softmax { .. }
        | Op::LayerNorm { .. }
        | Op::GroupNorm { .. }
        | Op::Cumulative { .. }
        | Op::TopK { .. }
        | Op::Sort { .. } => along_dims(op, inputs),
        Op::Nonzero => index::nonzero(operand(inputs, 0)?),
        Op::Embedding => Ok(vec![index::embedding(inputs)?]),
        Op::IndexSelect { dim } => Ok(vec![index::index_select(*dim, inputs)?]),
        Op::Gather { dim } => Ok(vec![index::gather(*dim, inputs)?]),
        Op::Scatter { dim, .. } => Ok(vec![index::scatter(*dim, inputs)?]),
        Op::Index { dims } => Ok(vec![index::index(dims, inputs)?]),
        Op::IndexPut { dims, .. } => Ok(vec![index::index_put(dims, inputs)?]),
        Op::EmbeddingBag { include_last_offset, .. } => Ok(vec![index::embedding_bag(*include_last_offset, inputs)?]),
        Op::Resample { mode, spatial, out, .. } => {
            let exact = matches!(mode, ResampleMode::Nearest { .. });
            Ok(vec![recurrent::resample(*spatial, out, exact, operand(inputs, 0)?)?])
        }
        &Op::Rnn { kind, layers, bidirectional, batch_first, bias } => {
            Rnn { kind, layers, bidirectional, batch_first, bias }.infer(inputs)
        }
    }
}

/// Operations along some dims of their first operand.
fn along_dims(op: &Op, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
    let x = operand(inputs, 0)?;
    match op {
        Op::Reduce { kind, dims, keepdim } => Ok(vec![reduce::reduce(*kind, dims, *keepdim, x)?]),
        Op::Softmax { dim, .. } => Ok(vec![reduce::softmax(*dim, x)?]),
        Op::LayerNorm { dims, weight, bias, .. } => Ok(vec![reduce::layer_norm(*dims, [*weight, *bias], inputs)?]),
        Op::GroupNorm { groups, weight, bias, .. } => Ok(vec![reduce::group_norm(*groups, [*weight, *bias], inputs)?]),
        Op::Cumulative { kind, dim } => reduce::cumulative(*kind, *dim, x),
        Op::TopK { k, dim, .. } => reduce::top_k(k, *dim, x),
        Op::Sort { dim, .. } => reduce::sort(*dim, x),
        other => Err(format!("{other:?} has no shape rule")),
    }
}

/// The shape to which all of these broadcast: aligned at the right, size 1 repeats.
///
/// # Errors
/// When two sizes differ and neither is 1.
pub fn broadcast(shapes: &[Vec<Expr>]) -> Result<Vec<Expr>, String> {
    let rank = shapes.iter().map(Vec::len).max().unwrap_or(0);
    let mut result = vec![Expr::Int(1); rank];
    for shape in shapes {
        for (have, size) in result[rank - shape.len()..].iter_mut().zip(shape) {
            if *have == Expr::Int(1) {
                *have = size.clone();
            } else if size != have && *size != Expr::Int(1) {
                return Err(format!("sizes {have} and {size} do not broadcast"));
            }
        }
    }
    Ok(result)
}

/// Operand `i`.
///
/// # Errors
/// When there are fewer.
pub(crate) fn operand(inputs: &[TensorType], i: usize) -> Result<&TensorType, String> {
    inputs.get(i).ok_or_else(|| format!("operand {i} is missing"))
}
