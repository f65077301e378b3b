//! Pointwise nodes, copies and fills become [`Loop`]s.

use super::{Loop, Lowering, Place, Work};
use crate::diag::Diagnostic;
use crate::ir::{ExprNode, Formula, Literal, Node};
use crate::sym::Expr;

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
    cx.step(node, Work::Loop(work), Expr::Int(0));
    Ok(())
}

/// `to = from`.
pub(super) fn copy(from: &Place, to: &Place) -> Loop {
    let mut formula = Formula::new(&[from.dtype]);
    let x = formula.param(0);
    formula.results.push(x);
    Loop { shape: to.shape.clone(), formula, inputs: vec![from.clone()], outputs: vec![to.clone()] }
}

/// `to = value`.
pub(super) fn fill(to: &Place, value: Literal) -> Loop {
    let mut formula = Formula::new(&[]);
    let x = formula.push(ExprNode::Const(to.dtype, value));
    formula.results.push(x);
    Loop { shape: to.shape.clone(), formula, inputs: Vec::new(), outputs: vec![to.clone()] }
}
