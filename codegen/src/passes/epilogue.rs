//! Additions and activations behind a matrix product or convolution are taken into it, where they cost nothing.
//!
//! A pointwise node qualifies if it is the only reader of the product and adds a vector over the output channels or a
//! tensor of the same shape, bounds the result, or scales its negative values, in the order of [`Epilogue`]. Of two
//! products that are added the later one takes the other as its residual. A reshape in between that keeps the output
//! channels last does not matter.

use super::edit::{constant, producers, splice, uses};
use crate::diag::Diagnostic;
use crate::ir::{Binary, Epilogue, ExprId, ExprNode, Formula, Graph, Literal, Node, Op, ValueId, View};
use crate::lower::layer::floats;
use crate::options::Options;
use exported_runtime::DType;
use std::collections::BTreeMap;

/// Fuses until nothing qualifies any more.
///
/// # Errors
/// None.
pub fn run(graph: &mut Graph, _: &Options) -> Result<bool, Diagnostic> {
    let mut changed = false;
    let mut index = 0;
    while index < graph.nodes.len() {
        if fuse(graph, index) {
            changed = true;
            // The list has become shorter or longer around here: look at this stretch again.
            index = index.saturating_sub(2);
        } else {
            index += 1;
        }
    }
    Ok(changed)
}

/// What a pointwise node does.
pub(super) enum Pattern {
    /// Sum of two operands.
    Add(usize, usize),
    /// An operand between bounds.
    Clamp { of: usize, low: f64, high: f64 },
    /// Negative values of an operand times a number or another operand.
    Leaky { of: usize, slope: Slope },
}

pub(super) enum Slope {
    /// The same everywhere.
    Number(f64),
    /// An operand.
    Operand(usize),
}

/// Recognizes a formula.
pub(super) fn pattern(f: &Formula) -> Option<Pattern> {
    let &[result] = f.results.as_slice() else { return None };
    let first = *f.params.first()?;
    if f.params.iter().any(|d| *d != first) || !matches!(first, DType::F32 | DType::F64) {
        return None;
    }
    let operand = |e: ExprId| match f.nodes[e.0 as usize] {
        ExprNode::Param(i) => Some(i as usize),
        _ => None,
    };
    match f.nodes[result.0 as usize] {
        ExprNode::Binary(Binary::Add, a, b) => {
            let (a, b) = (operand(a)?, operand(b)?);
            (a != b).then_some(Pattern::Add(a, b))
        }
        ExprNode::Binary(Binary::Max | Binary::Min, ..) => {
            let (of, low, high) = bounds(f, result)?;
            Some(Pattern::Clamp { of, low, high })
        }
        ExprNode::Select(condition, then, otherwise) => {
            let of = operand(then)?;
            let ExprNode::Binary(Binary::Gt, left, right) = f.nodes[condition.0 as usize] else { return None };
            let ExprNode::Binary(Binary::Mul, a, b) = f.nodes[otherwise.0 as usize] else { return None };
            if left != then || number(f, right)? != 0.0 {
                return None;
            }
            let factor = if a == then { b } else { Some(a).filter(|_| b == then)? };
            let slope = match number(f, factor) {
                Some(number) => Slope::Number(number),
                None => Slope::Operand(operand(factor)?),
            };
            Some(Pattern::Leaky { of, slope })
        }
        _ => None,
    }
}

/// A number that a formula states.
pub(super) fn number(f: &Formula, e: ExprId) -> Option<f64> {
    match f.nodes[e.0 as usize] {
        ExprNode::Const(_, Literal::Float(bits)) => Some(f64::from_bits(bits)).filter(|x| !x.is_nan()),
        _ => None,
    }
}

/// An operand under `Max` and `Min` with numbers: least and greatest result, if they do not cross.
fn bounds(f: &Formula, e: ExprId) -> Option<(usize, f64, f64)> {
    match f.nodes[e.0 as usize] {
        ExprNode::Param(i) => Some((i as usize, f64::NEG_INFINITY, f64::INFINITY)),
        ExprNode::Binary(op @ (Binary::Max | Binary::Min), a, b) => {
            let (inner, limit) = match (number(f, a), number(f, b)) {
                (None, Some(limit)) => (a, limit),
                (Some(limit), None) => (b, limit),
                _ => return None,
            };
            let (of, low, high) = bounds(f, inner)?;
            let (low, high) = if op == Binary::Max { (low.max(limit), high) } else { (low, high.min(limit)) };
            (low <= high).then_some((of, low, high))
        }
        _ => None,
    }
}

fn epilogue(op: &Op) -> Option<Epilogue> {
    match op {
        Op::Linear(e) | Op::MatMul(e) | Op::Conv(_, e) => Some(*e),
        _ => None,
    }
}

/// A product whose only reader is an operand of a pointwise node.
struct Product {
    /// Its node.
    at: usize,
    /// The reshape in between.
    view: Option<usize>,
}

impl Product {
    fn of(graph: &Graph, v: ValueId) -> Option<Product> {
        let (made, uses) = (producers(graph), uses(graph));
        let at = made[v.0 as usize].filter(|_| uses[v.0 as usize] == 1)?;
        if epilogue(&graph.nodes[at].op).is_some() {
            return Some(Product { at, view: None });
        }
        let Op::View(View::Reshape(shape)) = &graph.nodes[at].op else { return None };
        let x = graph.nodes[at].inputs[0];
        let inner = made[x.0 as usize].filter(|_| uses[x.0 as usize] == 1)?;
        let last = graph.ty(x).shape.last() == shape.last() && !shape.is_empty();
        (last && matches!(graph.nodes[inner].op, Op::Linear(_) | Op::MatMul(_)))
            .then_some(Product { at: inner, view: Some(at) })
    }

    fn result(&self, graph: &Graph) -> ValueId {
        graph.nodes[self.at].outputs[0]
    }

    /// The dim of the output channels in its result.
    fn channel_dim(&self, graph: &Graph) -> usize {
        match graph.nodes[self.at].op {
            Op::Conv(..) => 1,
            _ => graph.ty(self.result(graph)).shape.len() - 1,
        }
    }
}

fn fuse(graph: &mut Graph, index: usize) -> bool {
    let node = graph.nodes[index].clone();
    let Op::Pointwise { formula, .. } = &node.op else { return false };
    let Some(pattern) = pattern(formula) else { return false };
    let operand = |i: usize| node.inputs[i];
    match pattern {
        Pattern::Add(a, b) => {
            let mut candidates: Vec<(Product, ValueId, ValueId)> = [(a, b), (b, a)]
                .into_iter()
                .filter_map(|(p, q)| Some((Product::of(graph, operand(p))?, operand(p), operand(q))))
                .collect();
            // The later one: the other operand exists then.
            candidates.sort_by_key(|(product, ..)| std::cmp::Reverse(product.at));
            candidates.into_iter().any(|(product, v, other)| add(graph, index, &node, &product, v, other))
        }
        Pattern::Clamp { of, low, high } => {
            let Some(product) = Product::of(graph, operand(of)) else { return false };
            let Some(mut e) = epilogue(&graph.nodes[product.at].op).filter(|e| e.clamp.is_none()) else { return false };
            e.clamp = Some((low.to_bits(), high.to_bits()));
            let inputs = graph.nodes[product.at].inputs.clone();
            same_type(graph, &node, operand(of)) && replace(graph, index, &node, &product, e, inputs, vec![])
        }
        Pattern::Leaky { of, slope } => {
            let Some(product) = Product::of(graph, operand(of)) else { return false };
            let slope = match slope {
                Slope::Number(number) => Err(number),
                Slope::Operand(i) => Ok(operand(i)),
            };
            same_type(graph, &node, operand(of)) && leaky(graph, index, &node, &product, slope)
        }
    }
}

/// The node does not broadcast the operand.
fn same_type(graph: &Graph, node: &Node, v: ValueId) -> bool {
    graph.ty(v) == graph.ty(node.outputs[0])
}

/// `v + other` into the product that makes `v`.
fn add(graph: &mut Graph, index: usize, node: &Node, product: &Product, v: ValueId, other: ValueId) -> bool {
    let Some(e) = epilogue(&graph.nodes[product.at].op) else { return false };
    if !same_type(graph, node, v) || e.clamp.is_some() || e.slope {
        return false;
    }
    let mut inputs = graph.nodes[product.at].inputs.clone();
    let rank = graph.ty(v).shape.len();
    let dim = if product.view.is_some() { rank - 1 } else { product.channel_dim(graph) };
    if let Some(numbers) = channel_numbers(graph, other, rank, dim, product).filter(|_| !e.bias && !e.residual) {
        let dtype = graph.ty(v).dtype;
        let name = format!("{}_bias", graph.value(v).name);
        let (made, bias) = constant(graph, node, &name, &numbers, dtype, &[numbers.len()]);
        inputs.insert(2 + 2 * usize::from(e.dequantize), bias);
        return replace(graph, index, node, product, Epilogue { bias: true, ..e }, inputs, vec![made]);
    }
    if product.view.is_some() || e.residual || graph.ty(other) != graph.ty(v) || graph.constant_of(other).is_some() {
        return false;
    }
    inputs.push(other);
    replace(graph, index, node, product, Epilogue { residual: true, ..e }, inputs, vec![])
}

fn leaky(graph: &mut Graph, index: usize, node: &Node, product: &Product, slope: Result<ValueId, f64>) -> bool {
    let layer = &graph.nodes[product.at];
    let Some(e) = epilogue(&layer.op).filter(|e| !e.slope && e.clamp.is_none() && !e.residual) else { return false };
    // A right operand that is packed at run time has the plain kernel.
    if matches!(layer.op, Op::MatMul(_)) || graph.constant_of(layer.inputs[1]).is_none() {
        return false;
    }
    let result = product.result(graph);
    let rank = graph.ty(node.outputs[0]).shape.len();
    let dim = if product.view.is_some() { rank - 1 } else { product.channel_dim(graph) };
    let channels = graph.ty(result).shape[product.channel_dim(graph)].as_int();
    let numbers = match slope {
        Ok(v) => channel_numbers(graph, v, rank, dim, product),
        Err(number) => channels.map(|n| vec![number; n.max(0) as usize]),
    };
    let Some(numbers) = numbers else { return false };
    let dtype = graph.ty(result).dtype;
    let name = format!("{}_slope", graph.value(result).name);
    let (made, slope) = constant(graph, node, &name, &numbers, dtype, &[numbers.len()]);
    let mut inputs = graph.nodes[product.at].inputs.clone();
    inputs.insert(2 + e.operands(), slope);
    replace(graph, index, node, product, Epilogue { slope: true, ..e }, inputs, vec![made])
}

/// The numbers of a constant that varies along the output channels at most, one per channel; `rank` and `dim` are those
/// of the tensor it meets.
fn channel_numbers(graph: &Graph, v: ValueId, rank: usize, dim: usize, product: &Product) -> Option<Vec<f64>> {
    let constant = graph.constant_of(v)?;
    let channels = graph.ty(product.result(graph)).shape[product.channel_dim(graph)].as_int()?;
    let channels = usize::try_from(channels).ok()?;
    let lead = rank.checked_sub(constant.shape.len())?;
    let varies = |d: usize| d >= lead && constant.shape[d - lead] != 1;
    if (0..rank).any(|d| d != dim && varies(d)) {
        return None;
    }
    let numbers = floats(constant)?;
    match numbers.len() {
        1 => Some(vec![numbers[0]; channels]),
        n if n == channels => Some(numbers),
        _ => None,
    }
}

/// Puts the product with its new epilogue in place of the two nodes. It stays where it was if all its operands exist
/// there, else it moves to where the pointwise node stood.
fn replace(
    graph: &mut Graph,
    index: usize,
    node: &Node,
    product: &Product,
    e: Epilogue,
    inputs: Vec<ValueId>,
    mut before: Vec<Node>,
) -> bool {
    let layer = graph.nodes[product.at].clone();
    let op = match layer.op {
        Op::Conv(c, _) => Op::Conv(c, e),
        Op::Linear(_) => Op::Linear(e),
        _ => Op::MatMul(e),
    };
    let made = producers(graph);
    let early = inputs
        .iter()
        .all(|v| before.iter().any(|n| n.outputs.contains(v)) || made[v.0 as usize].is_none_or(|at| at < product.at));
    let mut replaced = BTreeMap::from([(product.at, vec![]), (index, vec![])]);
    let outputs = if product.view.is_some() { layer.outputs } else { node.outputs.clone() };
    before.push(Node { op, inputs, outputs, origin: layer.origin });
    match product.view {
        Some(view) if early => {
            let outputs = node.outputs.clone();
            replaced.insert(view, vec![Node { outputs, ..graph.nodes[view].clone() }]);
        }
        // The view would stand before its operand.
        Some(_) => return false,
        None => {}
    }
    replaced.insert(if early { product.at } else { index }, before);
    splice(graph, replaced);
    true
}
