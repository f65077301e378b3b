//! Pointwise nodes, copies and fills become [`Loop`]s.
//!
//! Every loop is brought into one form: dims in the memory order of its first output, dims of size 1 gone, neighbours
//! that all operands run through alike merged. What remains is the least nest `emit` must print; most loops are flat.

use super::{Loop, Lowering, Place, Work};
use crate::diag::Diagnostic;
use crate::ir::{ExprNode, Formula, Literal, Node};
use crate::sym::Expr;
use exported_runtime::DType;

/// A fused group of pointwise operators: one loop, over an operand that dies here where the places agree.
pub(super) fn pointwise(
    cx: &mut Lowering<'_>,
    node: &Node,
    formula: &Formula,
    shape: &[Expr],
) -> Result<(), Diagnostic> {
    let inputs: Vec<Place> = node.inputs.iter().map(|&x| cx.place(x).expand(shape)).collect();
    let mut outputs: Vec<Place> = Vec::new();
    for &y in &node.outputs {
        let over = node.inputs.iter().find_map(|&x| cx.output_over(y, x));
        let place = over.unwrap_or_else(|| cx.output_any(y));
        outputs.push(place);
    }
    let work = Loop { shape: shape.to_vec(), formula: formula.clone(), inputs, outputs };
    cx.step(node, Work::Loop(canonical(work)), Expr::Int(0));
    Ok(())
}

/// `to = from`.
pub(super) fn copy(from: &Place, to: &Place) -> Loop {
    let mut formula = Formula::new(&[from.dtype]);
    let x = formula.param(0);
    formula.results.push(x);
    canonical(Loop { shape: to.shape.clone(), formula, inputs: vec![from.clone()], outputs: vec![to.clone()] })
}

/// `to = value`.
pub(super) fn fill(to: &Place, value: Literal) -> Loop {
    let mut formula = Formula::new(&[]);
    let x = formula.push(ExprNode::Const(to.dtype, value));
    formula.results.push(x);
    canonical(Loop { shape: to.shape.clone(), formula, inputs: Vec::new(), outputs: vec![to.clone()] })
}

/// A dim of the index space while it is brought into form.
struct Dim {
    size: Expr,
    /// Of inputs, then outputs.
    strides: Vec<Expr>,
    /// Its number in the formula, if that asks for its coordinate.
    coordinate: Option<usize>,
}

/// The same loop with the fewest dims, in memory order.
fn canonical(mut work: Loop) -> Loop {
    let rank = work.shape.len();
    let order = work.outputs.first().map_or_else(|| (0..rank).collect(), Place::memory_order);
    let one = Expr::Int(1);
    let mut dims: Vec<Dim> = Vec::new();
    for &d in order.iter().filter(|&&d| work.shape[d] != one) {
        let strides = work.inputs.iter().chain(&work.outputs).map(|p| p.strides[d].clone()).collect();
        let asked = work.formula.nodes.contains(&ExprNode::Coord(d as u32));
        let dim = Dim { size: work.shape[d].clone(), strides, coordinate: asked.then_some(d) };
        match dims.last_mut() {
            Some(outer) if merges(outer, &dim) => {
                outer.size = outer.size.clone() * dim.size;
                outer.strides = dim.strides;
            }
            _ => dims.push(dim),
        }
    }
    for node in &mut work.formula.nodes {
        if let ExprNode::Coord(d) = *node {
            let now = dims.iter().position(|dim| dim.coordinate == Some(d as usize));
            *node = now.map_or(ExprNode::Const(DType::I64, Literal::Int(0)), |d| ExprNode::Coord(d as u32));
        }
    }
    work.shape = dims.iter().map(|d| d.size.clone()).collect();
    for (k, place) in work.inputs.iter_mut().chain(&mut work.outputs).enumerate() {
        place.shape = work.shape.clone();
        place.strides = dims.iter().map(|d| d.strides[k].clone()).collect();
    }
    work
}

/// Whether a dim continues the one outside of it in every operand.
fn merges(outer: &Dim, inner: &Dim) -> bool {
    let continues = |(o, i): (&Expr, &Expr)| *o == i.clone() * inner.size.clone();
    outer.coordinate.is_none() && inner.coordinate.is_none() && outer.strides.iter().zip(&inner.strides).all(continues)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::Binary;
    use crate::lower::BufferId;

    fn place(buffer: u32, shape: &[i64], order: &[usize]) -> Place {
        let shape: Vec<Expr> = shape.iter().map(|&s| Expr::Int(s)).collect();
        Place::dense(BufferId(buffer), DType::F32, &shape, order)
    }

    fn sum(shape: &[i64], inputs: [Place; 2], output: Place) -> Loop {
        let mut formula = Formula::new(&[DType::F32, DType::F32]);
        let (a, b) = (formula.param(0), formula.param(1));
        let y = formula.binary(Binary::Add, a, b);
        formula.results.push(y);
        let shape = shape.iter().map(|&s| Expr::Int(s)).collect();
        canonical(Loop { shape, formula, inputs: inputs.to_vec(), outputs: vec![output] })
    }

    fn ints(list: &[Expr]) -> Vec<i64> {
        list.iter().filter_map(Expr::as_int).collect()
    }

    #[test]
    fn operands_of_one_order_make_a_flat_loop() {
        let p = |b| place(b, &[2, 3, 4, 5], &[0, 2, 3, 1]);
        let work = sum(&[2, 3, 4, 5], [p(0), p(1)], p(2));
        assert_eq!((ints(&work.shape), ints(&work.inputs[0].strides)), (vec![120], vec![1]));
    }

    #[test]
    fn a_bias_per_channel_leaves_two_dims() {
        let shape: Vec<Expr> = [2, 3, 4, 5].map(Expr::Int).to_vec();
        let bias = place(1, &[3, 1, 1], &[0, 1, 2]).expand(&shape);
        let rows = [0, 1, 2, 3];
        let work = sum(&[2, 3, 4, 5], [place(0, &[2, 3, 4, 5], &rows), bias.clone()], place(2, &[2, 3, 4, 5], &rows));
        assert_eq!((ints(&work.shape), ints(&work.inputs[1].strides)), (vec![2, 3, 20], vec![0, 1, 0]));
        let last = [0, 2, 3, 1];
        let work = sum(&[2, 3, 4, 5], [place(0, &[2, 3, 4, 5], &last), bias], place(2, &[2, 3, 4, 5], &last));
        assert_eq!((ints(&work.shape), ints(&work.inputs[1].strides)), (vec![40, 3], vec![0, 1]));
    }

    #[test]
    fn coordinates_follow_their_dims() {
        let mut formula = Formula::new(&[]);
        let i = formula.push(ExprNode::Coord(2));
        let j = formula.push(ExprNode::Coord(1));
        let y = formula.binary(Binary::Add, i, j);
        let y = formula.cast(DType::F32, y);
        formula.results.push(y);
        let shape = [4, 1, 5].map(Expr::Int).to_vec();
        let work =
            canonical(Loop { shape, formula, inputs: Vec::new(), outputs: vec![place(0, &[4, 1, 5], &[0, 1, 2])] });
        assert_eq!(ints(&work.shape), [4, 5]);
        assert_eq!(work.formula.nodes[..2], [ExprNode::Coord(1), ExprNode::Const(DType::I64, Literal::Int(0))]);
    }
}
