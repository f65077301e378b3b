//! Layers keep integer weights as integers; every other conversion becomes pointwise arithmetic.
//!
//! `layer(x, dequantize(w))` with constant 8-bit weights, quantized as a whole or per output channel, becomes a layer
//! with integer weights, whose sums are scaled per output channel: `sum(x * (w - zero_point)) * scale`. That differs from
//! the reference, which rounds each weight to f32 first, by rounding only.

use super::edit::{constant, producers, splice};
use crate::diag::Diagnostic;
use crate::ir::{Binary, Epilogue, ExprId, Formula, Graph, Node, Op, TensorType, Unary, ValueId, View};
use crate::options::Options;
use crate::sym::Expr;
use exported_runtime::DType;
use std::collections::BTreeMap;

/// Resolves quantizations and dequantizations.
///
/// # Errors
/// None.
pub fn run(graph: &mut Graph, _: &Options) -> Result<bool, Diagnostic> {
    let mut changed = false;
    while let Some((index, nodes)) = (0..graph.nodes.len()).find_map(|i| Some((i, layer(graph, i)?))) {
        splice(graph, BTreeMap::from([(index, nodes)]));
        changed = true;
    }
    for index in (0..graph.nodes.len()).rev() {
        let node = graph.nodes[index].clone();
        let nodes = match node.op {
            Op::Dequantize { .. } => pointwise(graph, &node),
            Op::Quantize { .. } => vec![quantize(graph, node)],
            _ => continue,
        };
        splice(graph, BTreeMap::from([(index, nodes)]));
        changed = true;
    }
    Ok(changed)
}

/// The layer with this index on integer weights, if its weight is dequantized from a constant.
fn layer(graph: &mut Graph, index: usize) -> Option<Vec<Node>> {
    let node = graph.nodes[index].clone();
    let (epilogue, channels) = match &node.op {
        Op::Linear(e) => (*e, graph.ty(node.inputs[1]).shape.first()?.as_int()?),
        Op::Conv(c, e) if !c.transposed => (*e, graph.ty(node.inputs[1]).shape.first()?.as_int()?),
        _ => return None,
    };
    if epilogue.dequantize {
        return None;
    }
    let source = graph.nodes[producers(graph)[node.inputs[1].0 as usize]?].clone();
    let Op::Dequantize { scale, zero_point, axis } = source.op else { return None };
    let weight = source.inputs[0];
    if graph.constant_of(weight)?.dtype != DType::I8 {
        return None;
    }
    let channels = usize::try_from(channels).ok()?;
    let mut nodes = Vec::new();
    let mut vectors: Vec<ValueId> = match axis {
        Some(0) => source.inputs[1..].to_vec(),
        Some(_) => return None,
        None => Vec::new(),
    };
    if vectors.is_empty() {
        for (name, number) in [("weight_scale", f64::from_bits(scale)), ("weight_zero_point", zero_point as f64)] {
            let (made, value) = constant(graph, &node, name, &vec![number; channels], DType::F32, &[channels]);
            nodes.push(made);
            vectors.push(value);
        }
    }
    let epilogue = Epilogue { dequantize: true, ..epilogue };
    let op = match node.op {
        Op::Conv(c, _) => Op::Conv(c, epilogue),
        _ => Op::Linear(epilogue),
    };
    let inputs = [vec![node.inputs[0], weight], vectors, node.inputs[2..].to_vec()].concat();
    nodes.push(Node { op, inputs, ..node });
    Some(nodes)
}

/// `clamp(round_half_even(x * (1 / scale)) + zero_point, min, max)`, each step rounded to f32; 0 for NaN.
fn quantize(graph: &Graph, node: Node) -> Node {
    let Op::Quantize { scale, zero_point, min, max, dtype, axis: None } = node.op else { return node };
    let mut f = Formula::new(&[DType::F32]);
    let x = f.param(0);
    // The inverse is formed in double precision, as Python does, and used in single.
    let inverse = f.float(DType::F32, 1.0 / f64::from_bits(scale));
    let scaled = f.binary(Binary::Mul, x, inverse);
    let result = if [min, max, zero_point].iter().all(|n| n.abs() < NEAR) {
        near(&mut f, scaled, [min, max, zero_point])
    } else {
        let rounded = f.unary(Unary::Round, scaled);
        let zero_point = f.float(DType::F32, zero_point as f64);
        let shifted = f.binary(Binary::Add, rounded, zero_point);
        let (min, max) = (f.float(DType::F32, min as f64), f.float(DType::F32, max as f64));
        let raised = f.binary(Binary::Max, shifted, min);
        f.binary(Binary::Min, raised, max)
    };
    let result = f.cast(dtype, result);
    f.results.push(result);
    let shape = graph.ty(node.inputs[0]).shape.clone();
    Node { op: Op::Pointwise { formula: f, shape }, ..node }
}

/// Differences of such integers are what [`Unary::Nearest`] is sure of.
const NEAR: i64 = 1 << 20;

/// The same by few instructions, where the bounds are small: everything after rounding is on integers.
fn near(f: &mut Formula, scaled: ExprId, [min, max, zero_point]: [i64; 3]) -> ExprId {
    // `Nearest` leaves room enough that adding the zero point first cannot wrap.
    let (whole, zero_point) = (f.unary(Unary::Nearest, scaled), f.int(DType::I32, zero_point));
    let shifted = f.binary(Binary::Add, whole, zero_point);
    let (min, max) = (f.int(DType::I32, min), f.int(DType::I32, max));
    let raised = f.binary(Binary::Max, shifted, min);
    let shifted = f.binary(Binary::Min, raised, max);
    let (number, zero) = (f.binary(Binary::Eq, scaled, scaled), f.int(DType::I32, 0));
    f.select(number, shifted, zero)
}

/// `(q - zero_point) * scale`, each step rounded to f32. A constant with constant parameters stays foldable.
fn pointwise(graph: &mut Graph, node: &Node) -> Vec<Node> {
    let Op::Dequantize { scale, zero_point, axis } = node.op else { return vec![node.clone()] };
    let q = node.inputs[0];
    let shape = graph.ty(q).shape.clone();
    let (mut nodes, mut inputs) = (Vec::new(), vec![q]);
    if let Some(axis) = axis {
        for &v in &node.inputs[1..] {
            let mut sizes = vec![Expr::Int(1); shape.len()];
            sizes[axis] = shape[axis].clone();
            let name = graph.value(v).name.clone();
            let view = graph.add_value(&name, TensorType { dtype: DType::F32, shape: sizes.clone() });
            let op = Op::View(View::Reshape(sizes));
            nodes.push(Node { op, inputs: vec![v], outputs: vec![view], origin: node.origin.clone() });
            inputs.push(view);
        }
    }
    let dtypes: Vec<DType> = inputs.iter().map(|&v| graph.ty(v).dtype).collect();
    let mut f = Formula::new(&dtypes);
    let params: Vec<_> = (0..inputs.len()).map(|i| f.param(i)).collect();
    let wide = f.cast(DType::F32, params[0]);
    let (factor, offset) = match params.as_slice() {
        &[_, scales, zero_points] => (scales, zero_points),
        _ => (f.float(DType::F32, f64::from_bits(scale)), f.float(DType::F32, zero_point as f64)),
    };
    let shifted = f.binary(Binary::Sub, wide, offset);
    let result = f.binary(Binary::Mul, shifted, factor);
    f.results.push(result);
    nodes.push(Node {
        op: Op::Pointwise { formula: f, shape },
        inputs,
        outputs: node.outputs.clone(),
        origin: node.origin.clone(),
    });
    nodes
}
