//! Custom operators.

use super::reduce::row_major;
use super::{Access, CustomCall, Lowering, Work};
use crate::ir::{Custom, Node};
use crate::sym::Expr;

/// A custom operator takes and gives tensors as the caller of a model does: dense, row-major.
pub(super) fn custom(cx: &mut Lowering<'_>, node: &Node, call: &Custom) {
    let mut operands = Vec::new();
    for &v in &node.inputs {
        let ty = cx.graph.ty(v).clone();
        operands.push((cx.read_dense(v, &row_major(ty.shape.len())), ty));
    }
    let mut results = Vec::new();
    for &v in &node.outputs {
        let ty = cx.graph.ty(v).clone();
        results.push((cx.output_dense(v, &row_major(ty.shape.len())).region(Access::Whole), ty));
    }
    cx.step(node, Work::Custom(CustomCall { call: call.clone(), operands, results }), Expr::Int(0));
}
