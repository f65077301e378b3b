//! Constant folding.
//!
//! Everything that depends on constants alone is computed at build time, forwards; then, backwards from where it is
//! needed, each result is baked in if that pays. The decision a reader would question: not everything known is baked. A
//! mask or a fill made by a cheap formula costs less as a loop than as flash, so cheap results are baked only while they
//! stay small or replace constants of the same size; expensive ones (tables of sines) up to a larger bound. Weights of convolutions
//! always are: their kernels read them packed.

use super::dce::roots;
use crate::diag::Diagnostic;
use crate::ir::{Constant, Graph, Node, Op, ValueId, eval};
use crate::options::Options;
use std::collections::{BTreeMap, BTreeSet};

/// Bytes that any result may have.
const SMALL: usize = 1 << 10;
/// Bytes that a result of expensive functions may have.
const TABLE: usize = 1 << 18;

/// What is known about a value at build time.
struct Known {
    constant: Constant,
    /// Bytes of the constants it was made from.
    sources: usize,
    /// Made with a function worth a table.
    expensive: bool,
    /// Already a constant of the graph.
    baked: bool,
}

/// Folds constants.
///
/// # Errors
/// None.
pub fn run(graph: &mut Graph, _: &Options) -> Result<bool, Diagnostic> {
    let known = evaluate(graph);
    let mut needed = roots(graph);
    let packed = weights_of_convolutions(graph);
    let mut replaced: BTreeMap<usize, Vec<ValueId>> = BTreeMap::new();
    for (index, node) in graph.nodes.iter().enumerate().rev() {
        let wanted: Vec<ValueId> = node.outputs.iter().copied().filter(|v| needed[v.0 as usize]).collect();
        let foldable = !matches!(node.op, Op::Constant(_)) && wanted.iter().all(|v| known.contains_key(v));
        if foldable && !wanted.is_empty() && wanted.iter().all(|v| packed.contains(v) || pays(&known[v])) {
            replaced.insert(index, wanted);
        } else if !wanted.is_empty() || node.op.stays() {
            node.inputs.iter().for_each(|v| needed[v.0 as usize] = true);
        }
    }
    if replaced.is_empty() {
        return Ok(false);
    }
    bake(graph, known, &replaced);
    Ok(true)
}

fn weights_of_convolutions(graph: &Graph) -> BTreeSet<ValueId> {
    let convolutions = graph.nodes.iter().filter(|node| matches!(node.op, Op::Conv(..)));
    convolutions.filter_map(|node| node.inputs.get(1).copied()).collect()
}

/// Computes what can be computed now.
fn evaluate(graph: &Graph) -> BTreeMap<ValueId, Known> {
    let mut known: BTreeMap<ValueId, Known> = BTreeMap::new();
    for node in &graph.nodes {
        if let Op::Constant(id) = node.op {
            let constant = graph.constants[id.0 as usize].clone();
            let sources = constant.data.len();
            known.insert(node.outputs[0], Known { constant, sources, expensive: false, baked: true });
            continue;
        }
        let Some(results) = evaluate_node(graph, node, &known) else { continue };
        let (mut sources, mut expensive) = (0, is_expensive(&node.op));
        for (i, v) in node.inputs.iter().enumerate() {
            let input = &known[v];
            expensive |= input.expensive;
            sources += if node.inputs[..i].contains(v) { 0 } else { input.sources };
        }
        for (&v, constant) in node.outputs.iter().zip(results) {
            known.insert(v, Known { constant, sources, expensive, baked: false });
        }
    }
    known
}

fn evaluate_node(graph: &Graph, node: &Node, known: &BTreeMap<ValueId, Known>) -> Option<Vec<Constant>> {
    let inputs: Option<Vec<&Constant>> = node.inputs.iter().map(|v| known.get(v).map(|k| &k.constant)).collect();
    let inputs = inputs?;
    eval::evaluates(node, graph).then(|| eval::node(node, &inputs))?
}

fn is_expensive(op: &Op) -> bool {
    matches!(op, Op::Pointwise { formula, .. } if formula.is_expensive())
}

fn pays(known: &Known) -> bool {
    let bytes = known.constant.data.len();
    !known.baked && (bytes <= SMALL.max(known.sources) || known.expensive && bytes <= TABLE)
}

/// Puts a constant node for each wanted result in the place of the node that computed it.
fn bake(graph: &mut Graph, mut known: BTreeMap<ValueId, Known>, replaced: &BTreeMap<usize, Vec<ValueId>>) {
    let nodes = std::mem::take(&mut graph.nodes);
    for (index, node) in nodes.into_iter().enumerate() {
        let Some(wanted) = replaced.get(&index) else {
            graph.nodes.push(node);
            continue;
        };
        for v in wanted {
            if let Some(Known { constant, .. }) = known.remove(v) {
                let id = graph.add_constant(Constant { name: graph.value(*v).name.clone(), ..constant });
                let origin = node.origin.clone();
                graph.nodes.push(Node { op: Op::Constant(id), inputs: Vec::new(), outputs: vec![*v], origin });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Binary, ExprNode, Formula, Output, OutputKind, TensorType, Unary};
    use crate::options::Target;
    use crate::passes::dce;
    use crate::sym::Expr;
    use exported_runtime::DType;

    fn push(graph: &mut Graph, formula: Formula, shape: &[i64], inputs: &[ValueId]) -> ValueId {
        let shape: Vec<Expr> = shape.iter().map(|&s| Expr::Int(s)).collect();
        let ty = TensorType { dtype: formula.dtype(formula.results[0]), shape: shape.clone() };
        let v = graph.add_value("v", ty);
        let op = Op::Pointwise { formula, shape };
        graph.nodes.push(Node { op, inputs: inputs.to_vec(), outputs: vec![v], origin: Default::default() });
        v
    }

    fn output(graph: &mut Graph, v: ValueId) {
        graph.outputs.push(Output { path: Vec::new(), kind: OutputKind::Tensor(v), mutates: None });
    }

    fn coordinate_times(factor: f64, function: Option<Unary>) -> Formula {
        let mut f = Formula::new(&[]);
        let i = f.push(ExprNode::Coord(0));
        let (x, c) = (f.cast(DType::F32, i), f.float(DType::F32, factor));
        let x = f.binary(Binary::Mul, x, c);
        let y = function.map_or(x, |g| f.unary(g, x));
        f.results.push(y);
        f
    }

    fn fold(graph: &mut Graph) -> Vec<bool> {
        let options = Options::new("m", Target::new("x86_64-unknown-linux-gnu"));
        run(graph, &options).expect("folds");
        dce::run(graph, &options).expect("drops");
        graph.nodes.iter().map(|n| matches!(n.op, Op::Constant(_))).collect()
    }

    #[test]
    fn tables_are_baked_and_large_ramps_are_not() {
        let mut graph = Graph::default();
        let sines = push(&mut graph, coordinate_times(0.1, Some(Unary::Sin)), &[4000], &[]);
        let ramp = push(&mut graph, coordinate_times(0.1, None), &[4000], &[]);
        let short = push(&mut graph, coordinate_times(0.5, None), &[4], &[]);
        [sines, ramp, short].into_iter().for_each(|v| output(&mut graph, v));
        assert_eq!(fold(&mut graph), [true, false, true]);
        assert_eq!(graph.constants[1].data[4..8], 0.5f32.to_le_bytes());
    }

    #[test]
    fn a_small_result_of_large_parts_leaves_only_itself() {
        let mut graph = Graph::default();
        let ramp = push(&mut graph, coordinate_times(1.0, None), &[4000], &[]);
        let slice = crate::ir::View::Slice { dim: 0, start: Expr::Int(7), len: Expr::Int(2), step: 1 };
        let ty = TensorType { dtype: DType::F32, shape: vec![Expr::Int(2)] };
        let part = graph.add_value("part", ty);
        graph.nodes.push(Node {
            op: Op::View(slice),
            inputs: vec![ramp],
            outputs: vec![part],
            origin: Default::default(),
        });
        output(&mut graph, part);
        assert_eq!(fold(&mut graph), [true]);
        assert_eq!(graph.constants[0].data[4..8], 8f32.to_le_bytes());
    }
}
