//! Layers keep integer weights as integers; every other conversion becomes pointwise arithmetic.
//!
//! `layer(x, dequantize(w))` with constant 8-bit weights, quantized as a whole or per output channel, becomes a layer
//! with integer weights, whose sums are scaled per output channel: `sum(x * (w - zero_point)) * scale`. That differs from
//! the reference, which rounds each weight to f32 first, by rounding only.

use super::edit::{constant, producers, splice};
use crate::diag::Diagnostic;
use crate::ir::{
    Binary, Constant, Epilogue, ExprId, ExprNode, Formula, Graph, Node, Op, TensorType, Unary, ValueId, View, infer,
};
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
    let made = producers(graph);
    let weight = *node.inputs.get(1)?;
    let shape = &graph.ty(weight).shape;
    // The dim of output channels, and the groups that share its numbers.
    let (epilogue, along, groups) = match &node.op {
        Op::Linear(e) => (*e, 0, 1),
        Op::MatMul(e) if shape.len() == 2 => (*e, 1, 1),
        Op::Conv(c, e) => (*e, usize::from(c.transposed), if c.transposed { c.groups } else { 1 }),
        Op::Embedding => return embedding(graph, &made, &node),
        _ => return None,
    };
    let channels = usize::try_from(shape.get(along)?.as_int()?).ok()? * groups;
    if epilogue.dequantize {
        return None;
    }
    let source = graph.nodes[made[weight.0 as usize]?].clone();
    let Op::Dequantize { scale, zero_point, axis } = source.op else { return grouped(graph, &made, &node, &source) };
    let weight = source.inputs[0];
    if graph.constant_of(weight)?.dtype != DType::I8 {
        return None;
    }
    let mut nodes = Vec::new();
    let mut vectors: Vec<ValueId> = match axis {
        Some(axis) if axis == along && groups == 1 => source.inputs[1..].to_vec(),
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
        Op::MatMul(_) => Op::MatMul(epilogue),
        _ => Op::Linear(epilogue),
    };
    let inputs = [vec![node.inputs[0], weight], vectors, node.inputs[2..].to_vec()].concat();
    nodes.push(Node { op, inputs, ..node });
    Some(nodes)
}

/// A matrix dequantized in rows of groups and seen as `[n, groups * size]` again: the integers, scales and zero points seen as
/// `[n, ..]`, and the nodes that make them.
struct Groups {
    nodes: Vec<Node>,
    integers: ValueId,
    numbers: [ValueId; 2],
    /// Groups of a row, and elements of each.
    sizes: [i64; 2],
}

impl Groups {
    /// From what stands behind a matrix with `n` rows.
    fn of(graph: &mut Graph, made: &[Option<usize>], matrix: &TensorType, view: &Node) -> Option<Groups> {
        let (dequantize, seen) = match view.op {
            Op::View(View::Reshape(_)) => (graph.nodes[made[view.inputs[0].0 as usize]?].clone(), true),
            _ => (view.clone(), false),
        };
        let Op::Dequantize { axis: Some(0), .. } = dequantize.op else { return None };
        let &[rows, inner] = matrix.static_shape()?.as_slice() else { return None };
        let count = *graph.ty(dequantize.inputs[1]).static_shape()?.first()?;
        let constants = dequantize.inputs.iter().all(|v| constant_behind(graph, made, *v).is_some());
        let bytes = graph.ty(dequantize.inputs[0]).dtype == DType::I8;
        if rows == 0 || !count.is_multiple_of(rows) || !constants || !bytes {
            return None;
        }
        let groups = count / rows;
        let mut all = Groups {
            nodes: Vec::new(),
            integers: dequantize.inputs[0],
            numbers: [dequantize.inputs[1], dequantize.inputs[2]],
            sizes: [groups as i64, (inner / groups.max(1)) as i64],
        };
        if seen {
            all.integers = all.see(graph, view, all.integers, &[rows, inner])?;
        }
        // One group is a channel.
        let shape = if groups == 1 { vec![rows] } else { vec![rows, groups] };
        all.numbers =
            [all.see(graph, view, dequantize.inputs[1], &shape)?, all.see(graph, view, dequantize.inputs[2], &shape)?];
        Some(all)
    }

    /// A constant under another shape.
    fn see(&mut self, graph: &mut Graph, like: &Node, v: ValueId, shape: &[usize]) -> Option<ValueId> {
        let constant = constant_behind(graph, &producers(graph), v)?;
        let id = graph.add_constant(Constant { shape: shape.to_vec(), ..constant.clone() });
        let ty = TensorType { dtype: constant.dtype, shape: shape.iter().map(|&s| Expr::from(s)).collect() };
        let value = graph.add_value(&constant.name, ty);
        self.nodes.push(Node {
            op: Op::Constant(id),
            inputs: vec![],
            outputs: vec![value],
            origin: like.origin.clone(),
        });
        Some(value)
    }
}

/// The constant that is seen under other shapes.
fn constant_behind(graph: &Graph, made: &[Option<usize>], v: ValueId) -> Option<Constant> {
    if let Some(constant) = graph.constant_of(v) {
        return Some(constant.clone());
    }
    let node = &graph.nodes[(*made.get(v.0 as usize)?)?];
    match node.op {
        Op::View(View::Reshape(_)) => constant_behind(graph, made, node.inputs[0]),
        _ => None,
    }
}

/// A linear layer whose weights have numbers per group of inputs.
fn grouped(graph: &mut Graph, made: &[Option<usize>], node: &Node, source: &Node) -> Option<Vec<Node>> {
    let Op::Linear(epilogue) = node.op else { return None };
    if epilogue != Epilogue::with_bias(epilogue.bias) || graph.ty(node.inputs[0]).dtype != DType::F32 {
        return None;
    }
    let matrix = graph.ty(node.inputs[1]).clone();
    let Groups { mut nodes, integers, numbers, sizes } = Groups::of(graph, made, &matrix, source)?;
    let op = match sizes {
        [1, _] => Op::Linear(Epilogue { dequantize: true, ..epilogue }),
        _ => Op::GroupedLinear { bias: epilogue.bias },
    };
    let inputs = [vec![node.inputs[0], integers], numbers.to_vec(), node.inputs[2..].to_vec()].concat();
    nodes.push(Node { op, inputs, ..node.clone() });
    Some(nodes)
}

/// Rows of a table of integers, dequantized after they are looked up; integers of four bits are stored as such, the first half
/// of a row in the lower halves of bytes.
fn embedding(graph: &mut Graph, made: &[Option<usize>], node: &Node) -> Option<Vec<Node>> {
    let (table, ids) = (node.inputs[0], node.inputs[1]);
    let source = graph.nodes[made[table.0 as usize]?].clone();
    let matrix = graph.ty(table).clone();
    let Groups { nodes, integers, numbers, sizes: [groups, size] } = Groups::of(graph, made, &matrix, &source)?;
    let constant = match nodes.iter().find(|n| n.outputs[0] == integers).map(|n| &n.op) {
        Some(Op::Constant(id)) => graph.constants[id.0 as usize].clone(),
        _ => graph.constant_of(integers)?.clone(),
    };
    let mut maker = Rows { graph, nodes, like: node };
    let lead = maker.graph.ty(ids).shape.clone();
    let rows = if constant.data.iter().all(|q| (-8..8).contains(&(*q as i8))) && (groups * size) % 2 == 0 {
        let packed = halves(&constant, (groups * size) as usize);
        let table =
            maker.constant(&constant.name, DType::U8, vec![constant.shape[0], (groups * size) as usize / 2], packed);
        let bytes = maker.push(Op::Embedding, &[table, ids])?;
        let half = Expr::Int(groups * size / 2);
        let once = [lead.clone(), vec![Expr::Int(1), half.clone()]].concat();
        let twice = [lead.clone(), vec![Expr::Int(2), half]].concat();
        let bytes = maker.push(Op::View(View::Reshape(once)), &[bytes])?;
        let bytes = maker.push(Op::View(View::Expand(twice.clone())), &[bytes])?;
        maker.push(Op::Pointwise { formula: nibbles(lead.len()), shape: twice }, &[bytes])?
    } else {
        maker.push(Op::Embedding, &[integers, ids])?
    };
    let of_groups = [lead.clone(), vec![Expr::Int(groups), Expr::Int(size)]].concat();
    let one_each = [lead, vec![Expr::Int(groups), Expr::Int(1)]].concat();
    let mut inputs = vec![maker.push(Op::View(View::Reshape(of_groups.clone())), &[rows])?];
    for v in numbers {
        let row = match maker.graph.ty(v).shape.len() {
            1 => {
                let column = vec![maker.graph.ty(v).shape[0].clone(), Expr::Int(1)];
                maker.push(Op::View(View::Reshape(column)), &[v])?
            }
            _ => v,
        };
        let row = maker.push(Op::Embedding, &[row, ids])?;
        inputs.push(maker.push(Op::View(View::Reshape(one_each.clone())), &[row])?);
    }
    let real = maker.push(Op::Pointwise { formula: dequantized(), shape: of_groups }, &inputs)?;
    let shape = maker.graph.ty(node.outputs[0]).shape.clone();
    maker.push(Op::View(View::Reshape(shape)), &[real])?;
    let mut nodes = maker.nodes;
    nodes.last_mut()?.outputs = node.outputs.clone();
    Some(nodes)
}

/// Makes the nodes in the place of one.
struct Rows<'g> {
    graph: &'g mut Graph,
    nodes: Vec<Node>,
    like: &'g Node,
}

impl Rows<'_> {
    fn push(&mut self, op: Op, inputs: &[ValueId]) -> Option<ValueId> {
        let types: Vec<TensorType> = inputs.iter().map(|&v| self.graph.ty(v).clone()).collect();
        let ty = infer::infer(&op, &types, self.graph).ok()?.into_iter().next()?;
        let name = self.graph.value(self.like.outputs[0]).name.clone();
        let value = self.graph.add_value(&name, ty);
        self.nodes.push(Node { op, inputs: inputs.to_vec(), outputs: vec![value], origin: self.like.origin.clone() });
        Some(value)
    }

    fn constant(&mut self, name: &str, dtype: DType, shape: Vec<usize>, data: Vec<u8>) -> ValueId {
        let ty = TensorType { dtype, shape: shape.iter().map(|&s| Expr::from(s)).collect() };
        let id = self.graph.add_constant(Constant { name: name.to_string(), dtype, shape, data: data.into() });
        let value = self.graph.add_value(name, ty);
        let origin = self.like.origin.clone();
        self.nodes.push(Node { op: Op::Constant(id), inputs: vec![], outputs: vec![value], origin });
        value
    }
}

/// Rows of four-bit integers, 8 more each, in half as many bytes.
fn halves(constant: &Constant, len: usize) -> Vec<u8> {
    let nibble = |q: u8| (q as i8 + 8) as u8;
    let rows = constant.data.chunks_exact(len.max(1));
    rows.flat_map(|row| (0..len / 2).map(|j| nibble(row[j]) | nibble(row[j + len / 2]) << 4)).collect()
}

/// The integers of both halves of bytes: the lower ones where the coordinate along this axis is 0.
fn nibbles(axis: usize) -> Formula {
    let mut f = Formula::new(&[DType::U8]);
    let byte = f.param(0);
    let byte = f.cast(DType::I32, byte);
    let coordinate = f.push(ExprNode::Coord(axis as u32));
    let zero = f.int(DType::I64, 0);
    let first = f.binary(Binary::Eq, coordinate, zero);
    let (mask, shift, eight) = (f.int(DType::I32, 15), f.int(DType::I32, 4), f.int(DType::I32, 8));
    let (low, high) = (f.binary(Binary::And, byte, mask), f.binary(Binary::Shr, byte, shift));
    let half = f.select(first, low, high);
    let centred = f.binary(Binary::Sub, half, eight);
    let result = f.cast(DType::I8, centred);
    f.results.push(result);
    f
}

/// `(q - zero_point) * scale` of i8, scale and zero point.
fn dequantized() -> Formula {
    let mut f = Formula::new(&[DType::I8, DType::F32, DType::F32]);
    let (q, scale, zero) = (f.param(0), f.param(1), f.param(2));
    let q = f.cast(DType::F32, q);
    let shifted = f.binary(Binary::Sub, q, zero);
    let result = f.binary(Binary::Mul, shifted, scale);
    f.results.push(result);
    f
}

/// Integer weights that are only converted to floats, by scales that come later, count as dequantized, too: so nothing stores
/// them as floats.
///
/// # Errors
/// None.
pub fn widened(graph: &mut Graph, _: &Options) -> Result<bool, Diagnostic> {
    let made = producers(graph);
    let mut changed = false;
    for index in 0..graph.nodes.len() {
        let node = &graph.nodes[index];
        let Op::Pointwise { formula, .. } = &node.op else { continue };
        let &[result] = formula.results.as_slice() else { continue };
        let cast = match formula.nodes[result.0 as usize] {
            ExprNode::Cast(DType::F32, of) => matches!(formula.nodes[of.0 as usize], ExprNode::Param(0)),
            _ => false,
        };
        let [from] = node.inputs[..] else { continue };
        let same = graph.ty(from).shape == graph.ty(node.outputs[0]).shape;
        let weight = is_constant(graph, &made, from) && multiplies(graph, node.outputs[0]);
        if cast && same && formula.params == [DType::I8] && weight {
            let scale = 1f64.to_bits();
            graph.nodes[index].op = Op::Dequantize { scale, zero_point: 0, axis: None };
            changed = true;
        }
    }
    Ok(changed)
}

/// Whether it is an operand of a layer, seen in some way.
fn multiplies(graph: &Graph, v: ValueId) -> bool {
    graph.nodes.iter().filter(|n| n.inputs.contains(&v)).any(|n| match n.op {
        Op::Linear(_) | Op::MatMul(_) | Op::Conv(..) | Op::Embedding => true,
        Op::View(_) => multiplies(graph, n.outputs[0]),
        _ => false,
    })
}

/// Whether it is a constant, seen in some way.
fn is_constant(graph: &Graph, made: &[Option<usize>], v: ValueId) -> bool {
    let Some(node) = made.get(v.0 as usize).copied().flatten().map(|i| &graph.nodes[i]) else { return false };
    match node.op {
        Op::Constant(_) => true,
        Op::View(_) => is_constant(graph, made, node.inputs[0]),
        _ => false,
    }
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
