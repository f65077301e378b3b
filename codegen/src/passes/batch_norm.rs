//! Batch normalization with stored statistics disappears: `y = x * scale + shift` with `scale = weight / sqrt(var + eps)`
//! and `shift = bias - mean * scale`.
//!
//! Behind a convolution or linear layer that nobody else reads, both go into its weight and bias (computed in f64,
//! rounded once). Elsewhere it becomes a pointwise operation, with constant scale and shift where the statistics are
//! constant.

use super::edit::{constant, producers, splice, uses};
use crate::diag::Diagnostic;
use crate::ir::{Binary, Epilogue, Formula, Graph, Node, Op, Unary, ValueId, View};
use crate::lower::layer::floats;
use crate::options::Options;
use crate::sym::Expr;
use exported_runtime::DType;
use std::collections::BTreeMap;

/// Removes batch normalizations.
///
/// # Errors
/// None.
pub fn run(graph: &mut Graph, _: &Options) -> Result<bool, Diagnostic> {
    let mut changed = false;
    // One at a time: a fold changes what later ones see.
    while let Some(index) = graph.nodes.iter().position(|n| matches!(n.op, Op::BatchNorm { .. })) {
        let node = graph.nodes[index].clone();
        if !fold(graph, index, &node) {
            let nodes = pointwise(graph, &node);
            splice(graph, BTreeMap::from([(index, nodes)]));
        }
        changed = true;
    }
    Ok(changed)
}

/// Scale and shift per channel, if the statistics are constants.
fn affine(graph: &Graph, node: &Node) -> Option<(Vec<f64>, Vec<f64>)> {
    let Op::BatchNorm { eps } = node.op else { return None };
    let [weight, bias, mean, var] = [1, 2, 3, 4].map(|i| graph.constant_of(node.inputs[i]).and_then(floats));
    let (weight, bias, mean, var) = (weight?, bias?, mean?, var?);
    let eps = f64::from_bits(eps);
    let scale: Vec<f64> = weight.iter().zip(&var).map(|(w, v)| w / (v + eps).sqrt()).collect();
    let shift = bias.iter().zip(&mean).zip(&scale).map(|((b, m), s)| b - m * s).collect();
    Some((scale, shift))
}

/// Output channel of a weight element, given its number and the sizes of the weight.
type ChannelOf = Box<dyn Fn(usize, &[usize]) -> usize>;

/// Folds into the layer that makes the operand.
fn fold(graph: &mut Graph, index: usize, node: &Node) -> bool {
    let (Some((scale, shift)), x) = (affine(graph, node), node.inputs[0]) else { return false };
    let Some(at) = producers(graph)[x.0 as usize].filter(|_| uses(graph)[x.0 as usize] == 1) else { return false };
    let layer = graph.nodes[at].clone();
    let (epilogue, channel): (Epilogue, ChannelOf) = match &layer.op {
        // Channel of a weight element.
        Op::Conv(c, e) if c.transposed => {
            let groups = c.groups;
            (
                *e,
                Box::new(move |i, shape| {
                    let rest: usize = shape[1..].iter().product();
                    let taps: usize = shape[2..].iter().product();
                    let group = i / rest / (shape[0] / groups);
                    group * shape[1] + i % rest / taps.max(1)
                }),
            )
        }
        Op::Conv(_, e) => (*e, Box::new(|i, shape| i / shape[1..].iter().product::<usize>().max(1))),
        Op::Linear(e) if graph.ty(x).shape.len() == 2 => (*e, Box::new(|i, shape| i / shape[1].max(1))),
        _ => return false,
    };
    if epilogue != Epilogue::with_bias(epilogue.bias) {
        return false;
    }
    let Some(weight) = graph.constant_of(layer.inputs[1]).cloned() else { return false };
    let (Some(numbers), dtype) = (floats(&weight), weight.dtype) else { return false };
    let old_bias = match layer.inputs.get(2) {
        Some(&b) => match graph.constant_of(b).and_then(floats) {
            Some(bias) => bias,
            None => return false,
        },
        None => vec![0.0; scale.len()],
    };
    let scaled: Vec<f64> = numbers.iter().enumerate().map(|(i, w)| w * scale[channel(i, &weight.shape)]).collect();
    let bias: Vec<f64> = old_bias.iter().zip(&scale).zip(&shift).map(|((b, s), t)| b * s + t).collect();
    let (weight_node, new_weight) = constant(graph, &layer, &weight.name, &scaled, dtype, &weight.shape);
    let bias_name = format!("{}_bias", weight.name);
    let (bias_node, new_bias) = constant(graph, &layer, &bias_name, &bias, dtype, &[bias.len()]);
    let op = match layer.op {
        Op::Conv(c, _) => Op::Conv(c, Epilogue::with_bias(true)),
        _ => Op::Linear(Epilogue::with_bias(true)),
    };
    let inputs = vec![layer.inputs[0], new_weight, new_bias];
    let folded = Node { op, inputs, outputs: node.outputs.clone(), origin: layer.origin };
    splice(graph, BTreeMap::from([(at, vec![weight_node, bias_node, folded]), (index, vec![])]));
    true
}

/// The same as pointwise nodes.
fn pointwise(graph: &mut Graph, node: &Node) -> Vec<Node> {
    let (x, y) = (node.inputs[0], node.outputs[0]);
    let shape = graph.ty(x).shape.clone();
    let mut broadcast = vec![Expr::Int(1); shape.len()];
    broadcast[1] = shape[1].clone();
    let mut nodes = Vec::new();
    let mut inputs = vec![x];
    if let Some((scale, shift)) = affine(graph, node) {
        let mut sizes = vec![1; shape.len()];
        sizes[1] = scale.len();
        let dtype = wide(graph.ty(x).dtype);
        for (name, numbers) in [("scale", scale), ("shift", shift)] {
            let (node, value) = constant(graph, node, name, &numbers, dtype, &sizes);
            nodes.push(node);
            inputs.push(value);
        }
    } else {
        for &v in &node.inputs[1..] {
            let ty = crate::ir::TensorType { dtype: graph.ty(v).dtype, shape: broadcast.clone() };
            let view = graph.add_value(&graph.value(v).name.clone(), ty);
            let op = Op::View(View::Reshape(broadcast.clone()));
            nodes.push(Node { op, inputs: vec![v], outputs: vec![view], origin: node.origin.clone() });
            inputs.push(view);
        }
    }
    let formula = formula(graph, node, &inputs);
    let op = Op::Pointwise { formula, shape };
    nodes.push(Node { op, inputs, outputs: vec![y], origin: node.origin.clone() });
    nodes
}

/// 16-bit floats are computed in f32.
fn wide(dtype: DType) -> DType {
    if dtype == DType::F64 { DType::F64 } else { DType::F32 }
}

fn formula(graph: &Graph, node: &Node, inputs: &[ValueId]) -> Formula {
    let dtypes: Vec<DType> = inputs.iter().map(|&v| graph.ty(v).dtype).collect();
    let dtype = wide(dtypes[0]);
    let mut f = Formula::new(&dtypes);
    let params: Vec<_> = (0..inputs.len())
        .map(|i| {
            let p = f.param(i);
            f.cast(dtype, p)
        })
        .collect();
    let (scale, shift) = match (params.as_slice(), &node.op) {
        (&[_, weight, bias, mean, var], Op::BatchNorm { eps }) => {
            let eps = f.float(dtype, f64::from_bits(*eps));
            let shifted = f.binary(Binary::Add, var, eps);
            let root = f.unary(Unary::Sqrt, shifted);
            let scale = f.binary(Binary::Div, weight, root);
            let moved = f.binary(Binary::Mul, mean, scale);
            (scale, f.binary(Binary::Sub, bias, moved))
        }
        (params, _) => (params[1], params[2]),
    };
    let product = f.binary(Binary::Mul, params[0], scale);
    let sum = f.binary(Binary::Add, product, shift);
    let result = f.cast(dtypes[0], sum);
    f.results.push(result);
    f
}
