//! Reductions, softmax, normalization, scans and sorting: kernels over dense memory seen along one dim.

use super::{Field, Kernel, Lowering, Place, Region, Work, around_dim, numel};
use crate::diag::Diagnostic;
use crate::ir::{CumKind, Node, Op, ReduceKind, SortMethod, ValueId};
use crate::sym::Expr;
use exported_runtime::DType;
use exported_runtime::kernels::sort::is_by_heap;

/// A read of a value or memory.
pub(super) fn read(region: Region) -> Field {
    Field::Read(region)
}

/// A write of a whole result.
pub(super) fn write(place: &Place) -> Field {
    Field::Write { region: place.region(Default::default()), update: false }
}

/// A write of a result whose old contents are read, too.
pub(super) fn update(place: &Place) -> Field {
    Field::Write { region: place.region(Default::default()), update: true }
}

/// The logical order of dims.
pub(super) fn row_major(rank: usize) -> Vec<usize> {
    (0..rank).collect()
}

pub(super) fn kernel(path: &'static str, fields: Vec<(&'static str, Field)>) -> Work {
    Work::Kernel(Kernel { path, generics: Vec::new(), fields, fallible: false })
}

/// Fields `outer`, `n` and `inner`.
fn sizes((outer, n, inner): (Expr, Expr, Expr)) -> [(&'static str, Field); 3] {
    [("outer", Field::Usize(outer)), ("n", Field::Usize(n)), ("inner", Field::Usize(inner))]
}

/// Lowers the operations of this file.
pub(super) fn lower(cx: &mut Lowering<'_>, node: &Node) -> Result<(), Diagnostic> {
    match &node.op {
        Op::Reduce { kind, dims, keepdim } => reduce(cx, node, *kind, dims, *keepdim),
        Op::Softmax { dim, log } => {
            let path = if *log { "softmax::LogSoftmax" } else { "softmax::Softmax" };
            along(cx, node, path, *dim);
        }
        Op::LayerNorm { dims, eps, weight, bias } => layer_norm(cx, node, *dims, *eps, [*weight, *bias]),
        Op::GroupNorm { groups, eps, weight, bias } => group_norm(cx, node, *groups, *eps, [*weight, *bias]),
        Op::Cumulative { kind, dim } => cumulative(cx, node, *kind, *dim),
        Op::Sort { dim, descending, method } => sort(cx, node, *dim, *descending, *method),
        Op::TopK { k, dim, largest, sorted } => top_k(cx, node, *dim, k, [*largest, *sorted]),
        other => return Err(Diagnostic::bug(format!("{other:?} is no reduction"))),
    }
    Ok(())
}

/// Cuts a memory order at the reduced dims, if they lie together: sizes before, of and after them. Dims of size 1 may
/// stand anywhere.
fn cut(shape: &[Expr], order: &[usize], dims: &[usize]) -> Option<(Expr, Expr, Expr)> {
    let real: Vec<usize> = order.iter().copied().filter(|&d| shape[d] != Expr::Int(1)).collect();
    let reduced = |d: &usize| dims.contains(d);
    let first = real.iter().position(reduced).unwrap_or(real.len());
    let len = real[first..].iter().take_while(|d| reduced(d)).count();
    if real[first + len..].iter().any(reduced) {
        return None;
    }
    let product = |dims: &[usize]| Expr::product(dims.iter().map(|&d| shape[d].clone()));
    Some((product(&real[..first]), product(&real[first..first + len]), product(&real[first + len..])))
}

fn reduce(cx: &mut Lowering<'_>, node: &Node, kind: ReduceKind, dims: &[usize], keepdim: bool) {
    let (x, y) = (node.inputs[0], node.outputs[0]);
    let shape = cx.shape(x).to_vec();
    let mut order = cx.place(x).dense_order().unwrap_or_else(|| row_major(shape.len()));
    if cut(&shape, &order, dims).is_none() {
        // Reduced dims last: a copy, after which rows are contiguous.
        order.sort_by_key(|d| dims.contains(d));
    }
    let Some(sizes_of) = cut(&shape, &order, dims) else { return };
    let region = cx.read_dense(x, &order);
    let kept = |d: &usize| !dims.contains(d);
    let result_order: Vec<usize> = match keepdim {
        true => order.clone(),
        false => order.iter().filter(|d| kept(d)).map(|d| (0..*d).filter(kept).count()).collect(),
    };
    let place = cx.output_dense(y, &result_order);
    let mut fields = vec![("x", read(region)), ("y", write(&place))];
    fields.extend(sizes(sizes_of));
    let path = reduce_kernel(cx, x, kind, &mut fields);
    cx.step(node, kernel(path, fields), numel(&shape));
}

/// The kernel of a reduction; adds the fields it has beyond operand and sizes.
fn reduce_kernel(
    cx: &Lowering<'_>,
    x: ValueId,
    kind: ReduceKind,
    fields: &mut Vec<(&'static str, Field)>,
) -> &'static str {
    let float = cx.dtype(x).is_float();
    match kind {
        ReduceKind::Sum if float => "reduce::FloatSum",
        ReduceKind::Sum => "reduce::Sum",
        ReduceKind::Prod if float => "reduce::FloatProd",
        ReduceKind::Prod => "reduce::Prod",
        ReduceKind::Mean => "reduce::Mean",
        ReduceKind::Max => "reduce::Max",
        ReduceKind::Min => "reduce::Min",
        ReduceKind::Any => "reduce::Any",
        ReduceKind::All => "reduce::All",
        ReduceKind::ArgMax => "reduce::ArgMax",
        ReduceKind::ArgMin => "reduce::ArgMin",
        ReduceKind::LogSumExp => "reduce::LogSumExp",
        ReduceKind::Var { correction } | ReduceKind::Std { correction } => {
            let root = matches!(kind, ReduceKind::Std { .. });
            fields.extend([("correction", Field::F64(correction)), ("root", Field::Bool(root))]);
            "reduce::Var"
        }
        ReduceKind::Norm { p } => match f64::from_bits(p) {
            0.0 => "reduce::Norm0",
            1.0 => "reduce::Norm1",
            2.0 => "reduce::Norm2",
            f64::INFINITY => "reduce::NormInf",
            f64::NEG_INFINITY => "reduce::NormNegInf",
            _ => {
                fields.push(("p", Field::F64(p)));
                "reduce::NormP"
            }
        },
    }
}

/// A kernel over `[outer, n, inner]` with a result like its operand, in whatever order that stands.
fn along(cx: &mut Lowering<'_>, node: &Node, path: &'static str, dim: usize) {
    let (x, y) = (node.inputs[0], node.outputs[0]);
    let (region, order) = cx.read_any_dense(x);
    let place = cx.output_dense(y, &order);
    let mut fields = vec![("x", read(region)), ("y", write(&place))];
    fields.extend(sizes(around_dim(cx.shape(x), &order, dim)));
    cx.step(node, kernel(path, fields), numel(cx.shape(x)));
}

fn cumulative(cx: &mut Lowering<'_>, node: &Node, kind: CumKind, dim: usize) {
    let path = match kind {
        CumKind::Sum => "scan::CumSum",
        CumKind::Prod => "scan::CumProd",
        CumKind::LogSumExp => "scan::LogCumSumExp",
        CumKind::Max => "scan::CumMax",
        CumKind::Min => "scan::CumMin",
    };
    if node.outputs.len() == 1 {
        return along(cx, node, path, dim);
    }
    let x = node.inputs[0];
    let (region, order) = cx.read_any_dense(x);
    let values = cx.output_dense(node.outputs[0], &order);
    let indices = cx.output_dense(node.outputs[1], &order);
    let mut fields = vec![("x", read(region)), ("values", write(&values)), ("indices", write(&indices))];
    fields.extend(sizes(around_dim(cx.shape(x), &order, dim)));
    cx.step(node, kernel(path, fields), numel(cx.shape(x)));
}

/// The operand's memory order with `dim` moved to the end.
fn dim_last(cx: &mut Lowering<'_>, x: ValueId, dim: usize) -> Vec<usize> {
    let rank = cx.shape(x).len();
    let mut order = cx.place(x).dense_order().unwrap_or_else(|| row_major(rank));
    order.retain(|&d| d != dim);
    order.push(dim);
    order
}

fn sort(cx: &mut Lowering<'_>, node: &Node, dim: usize, descending: bool, method: SortMethod) {
    let mut fields = rows(cx, node, dim);
    let method = match method {
        SortMethod::Stable => Field::Path("sort::Method::Stable".into()),
        SortMethod::Std => Field::Path("sort::Method::Std".into()),
        SortMethod::Select(k) => Field::Tuple("sort::Method::Select", vec![Field::Usize(Expr::from(k))]),
    };
    fields.extend([("descending", Field::Bool(descending)), ("method", method)]);
    cx.step(node, kernel("sort::Sort", fields), numel(cx.shape(node.inputs[0])));
}

fn top_k(cx: &mut Lowering<'_>, node: &Node, dim: usize, k: &Expr, [largest, sorted]: [bool; 2]) {
    let mut fields = rows(cx, node, dim);
    let n = cx.shape(node.inputs[0])[dim].clone();
    let known = n.as_int().zip(k.as_int());
    let heap = known.is_some_and(|(n, k)| is_by_heap(n as usize, k as usize));
    let scratch = cx.scratch("positions", DType::I64, if heap { Expr::Int(0) } else { n });
    fields.extend([
        ("scratch", Field::Write { region: scratch, update: false }),
        ("k", Field::Usize(k.clone())),
        ("largest", Field::Bool(largest)),
        ("sorted", Field::Bool(sorted)),
    ]);
    cx.step(node, kernel("sort::TopK", fields), numel(cx.shape(node.inputs[0])));
}

/// Operand and results of a kernel over rows along `dim`, and their sizes.
fn rows(cx: &mut Lowering<'_>, node: &Node, dim: usize) -> Vec<(&'static str, Field)> {
    let x = node.inputs[0];
    let order = dim_last(cx, x, dim);
    let region = cx.read_dense(x, &order);
    let values = cx.output_dense(node.outputs[0], &order);
    let indices = cx.output_dense(node.outputs[1], &order);
    let (rows, n, _) = around_dim(cx.shape(x), &order, dim);
    vec![
        ("x", read(region)),
        ("values", write(&values)),
        ("indices", write(&indices)),
        ("rows", Field::Usize(rows)),
        ("n", Field::Usize(n)),
    ]
}

/// Fields `weight` and `bias`; an empty slice where one is absent.
fn affine(cx: &mut Lowering<'_>, node: &Node, present: [bool; 2]) -> [(&'static str, Field); 2] {
    let mut given = node.inputs[1..].iter();
    let [weight, bias] = present.map(|present| match if present { given.next() } else { None } {
        Some(&v) => read(cx.read_dense(v, &row_major(cx.shape(v).len()))),
        None => empty(cx, node.inputs[0]),
    });
    [("weight", weight), ("bias", bias)]
}

/// A slice of nothing, of the dtype of a value.
pub(super) fn empty(cx: &mut Lowering<'_>, like: ValueId) -> Field {
    let place = cx.place(like);
    read(Region { buffer: place.buffer, offset: Expr::Int(0), len: Expr::Int(0), access: Default::default() })
}

fn layer_norm(cx: &mut Lowering<'_>, node: &Node, dims: usize, eps: u64, present: [bool; 2]) {
    let (x, y) = (node.inputs[0], node.outputs[0]);
    let rank = cx.shape(x).len();
    let last: Vec<usize> = (rank - dims..rank).collect();
    let order = cx.place(x).dense_order().filter(|o| o.ends_with(&last)).unwrap_or_else(|| row_major(rank));
    let region = cx.read_dense(x, &order);
    let place = cx.output_dense(y, &order);
    let (rows, n) = cx.shape(x).split_at(rank - dims);
    let (rows, n) = (numel(rows), numel(n));
    let mut fields = vec![("x", read(region)), ("y", write(&place))];
    fields.extend(affine(cx, node, present));
    fields.extend([("rows", Field::Usize(rows)), ("n", Field::Usize(n)), ("eps", Field::F64(eps))]);
    cx.step(node, kernel("norm::LayerNorm", fields), numel(cx.shape(x)));
}

fn group_norm(cx: &mut Lowering<'_>, node: &Node, groups: usize, eps: u64, present: [bool; 2]) {
    let (x, y) = (node.inputs[0], node.outputs[0]);
    let shape = cx.shape(x).to_vec();
    let order = row_major(shape.len());
    let region = cx.read_dense(x, &order);
    let place = cx.output_dense(y, &order);
    let mut fields = vec![("x", read(region)), ("y", write(&place))];
    fields.extend(affine(cx, node, present));
    fields.extend([
        ("batch", Field::Usize(shape[0].clone())),
        ("groups", Field::Usize(Expr::from(groups))),
        ("channels", Field::Usize(Expr::floordiv(shape[1].clone(), Expr::from(groups)))),
        ("spatial", Field::Usize(numel(&shape[2..]))),
        ("eps", Field::F64(eps)),
    ]);
    cx.step(node, kernel("norm::GroupNorm", fields), numel(&shape));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reduced_dims_must_lie_together() {
        let shape: Vec<Expr> = [2, 3, 1, 5].into_iter().map(Expr::Int).collect();
        let sizes = |a: i64, b: i64, c: i64| Some((Expr::Int(a), Expr::Int(b), Expr::Int(c)));
        assert_eq!(cut(&shape, &[0, 1, 2, 3], &[1, 3]), sizes(2, 15, 1));
        assert_eq!(cut(&shape, &[0, 1, 2, 3], &[2]), sizes(30, 1, 1));
        assert_eq!(cut(&shape, &[0, 1, 2, 3], &[0, 3]), None);
        assert_eq!(cut(&shape, &[1, 3, 0, 2], &[0, 3]), sizes(3, 10, 1));
        assert_eq!(cut(&shape, &[0, 2, 3, 1], &[3]), sizes(2, 5, 3));
        assert_eq!(cut(&[], &[], &[]), sizes(1, 1, 1));
    }
}
