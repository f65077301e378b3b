//! Selection and writing by index tensors. Index tensors are read row-major; what is selected from stands as it likes where
//! only one dim matters.

use super::reduce::{empty, read, row_major, update, write};
use super::{Field, Kernel, Lowering, Place, Work, around_dim, numel};
use crate::diag::Diagnostic;
use crate::ir::{Node, Op, ScatterKind, ValueId};
use crate::sym::Expr;

/// Lowers the operations of this file.
pub(super) fn lower(cx: &mut Lowering<'_>, node: &Node) -> Result<(), Diagnostic> {
    match &node.op {
        Op::Embedding => embedding(cx, node),
        Op::Nonzero => nonzero(cx, node),
        Op::IndexSelect { dim } => index_select(cx, node, *dim),
        Op::Gather { dim } => gather(cx, node, *dim),
        Op::Scatter { dim, kind } => scatter(cx, node, *dim, *kind),
        Op::Index { dims } => index(cx, node, dims),
        Op::IndexPut { dims, accumulate } => index_put(cx, node, dims, *accumulate),
        Op::EmbeddingBag { mode, padding_idx, .. } => embedding_bag(cx, node, *mode, *padding_idx),
        other => return Err(Diagnostic::bug(format!("{other:?} does not select"))),
    }
    Ok(())
}

fn fallible(path: &'static str, fields: Vec<(&'static str, Field)>) -> Work {
    Work::Kernel(Kernel { path, generics: Vec::new(), fields, fallible: true })
}

fn usizes(list: impl IntoIterator<Item = Expr>) -> Field {
    Field::Array(list.into_iter().map(Field::Usize).collect())
}

fn read_row_major(cx: &mut Lowering<'_>, v: ValueId) -> Field {
    let order = row_major(cx.shape(v).len());
    read(cx.read_dense(v, &order))
}

fn output_row_major(cx: &mut Lowering<'_>, v: ValueId) -> Place {
    let order = row_major(cx.shape(v).len());
    cx.output_dense(v, &order)
}

fn embedding(cx: &mut Lowering<'_>, node: &Node) {
    let (table, ids, y) = (node.inputs[0], node.inputs[1], node.outputs[0]);
    let x = read_row_major(cx, table);
    let ids = read_row_major(cx, ids);
    let place = output_row_major(cx, y);
    let shape = cx.shape(table);
    let fields = vec![
        ("x", x),
        ("ids", ids),
        ("y", write(&place)),
        ("outer", Field::Usize(Expr::Int(1))),
        ("n", Field::Usize(shape[0].clone())),
        ("inner", Field::Usize(numel(&shape[1..]))),
    ];
    cx.step(node, fallible("index::IndexSelect", fields), numel(cx.shape(y)));
}

fn nonzero(cx: &mut Lowering<'_>, node: &Node) {
    let (x, coordinates, count) = (node.inputs[0], node.outputs[0], node.outputs[1]);
    let mask = read_row_major(cx, x);
    let (y, count) = (output_row_major(cx, coordinates), output_row_major(cx, count));
    let shape = usizes(cx.shape(x).to_vec());
    let fields = vec![("x", mask), ("y", write(&y)), ("count", write(&count)), ("shape", shape)];
    let kernel = Kernel { path: "index::Nonzero", generics: Vec::new(), fields, fallible: false };
    cx.step(node, Work::Kernel(kernel), Expr::Int(0));
}

fn index_select(cx: &mut Lowering<'_>, node: &Node, dim: usize) {
    let (x, ids, y) = (node.inputs[0], node.inputs[1], node.outputs[0]);
    let (region, order) = cx.read_any_dense(x);
    let ids = read_row_major(cx, ids);
    let place = cx.output_dense(y, &order);
    let (outer, n, inner) = around_dim(cx.shape(x), &order, dim);
    let fields = vec![
        ("x", read(region)),
        ("ids", ids),
        ("y", write(&place)),
        ("outer", Field::Usize(outer)),
        ("n", Field::Usize(n)),
        ("inner", Field::Usize(inner)),
    ];
    cx.step(node, fallible("index::IndexSelect", fields), numel(cx.shape(y)));
}

/// Fields that describe the index space within a larger tensor `of`.
fn space(cx: &Lowering<'_>, index: ValueId, of: ValueId, dim: usize) -> Vec<(&'static str, Field)> {
    let sizes = cx.shape(of);
    let strides = (0..sizes.len()).map(|d| numel(&sizes[d + 1..]));
    vec![
        ("shape", usizes(cx.shape(index).to_vec())),
        ("strides", usizes(strides)),
        ("dim", Field::Usize(Expr::from(dim))),
        ("size", Field::Usize(sizes[dim].clone())),
    ]
}

fn gather(cx: &mut Lowering<'_>, node: &Node, dim: usize) {
    let (x, index, y) = (node.inputs[0], node.inputs[1], node.outputs[0]);
    let from = read_row_major(cx, x);
    let by = read_row_major(cx, index);
    let place = output_row_major(cx, y);
    let mut fields = vec![("x", from), ("index", by), ("y", write(&place))];
    fields.extend(space(cx, index, x, dim));
    cx.step(node, fallible("index::Gather", fields), numel(cx.shape(y)));
}

/// A place for result `y` of this memory order that holds `x`: where `x` stands, if it dies here, else a copy.
fn changed(cx: &mut Lowering<'_>, y: ValueId, x: ValueId, order: &[usize]) -> Place {
    let from = cx.place(x);
    if from.is_dense(order)
        && let Some(over) = cx.output_over(y, x)
    {
        return over;
    }
    let to = cx.output_dense(y, order);
    cx.copy(&from, &to, "copy");
    to
}

fn scatter(cx: &mut Lowering<'_>, node: &Node, dim: usize, kind: ScatterKind) {
    let (x, index, source, y) = (node.inputs[0], node.inputs[1], node.inputs[2], node.outputs[0]);
    let by = read_row_major(cx, index);
    let source = read_row_major(cx, source);
    let order = row_major(cx.shape(x).len());
    let place = changed(cx, y, x, &order);
    let combine = match kind {
        ScatterKind::Set => "index::Combine::Set",
        ScatterKind::Add => "index::Combine::Add",
        ScatterKind::Mul => "index::Combine::Mul",
        ScatterKind::Max => "index::Combine::Max",
        ScatterKind::Min => "index::Combine::Min",
    };
    let mut fields = vec![("y", update(&place)), ("index", by), ("src", source)];
    fields.extend(space(cx, index, x, dim));
    fields.push(("combine", Field::Path(combine.into())));
    cx.step(node, fallible("index::Scatter", fields), numel(cx.shape(index)));
}

/// The memory order advanced indexing wants, and the sizes around the indexed dims: where they are if they lie together,
/// else in front.
fn indexed(shape: &[Expr], dims: &[usize]) -> (Vec<usize>, Expr, Expr) {
    let adjacent = dims.windows(2).all(|w| w[1] == w[0] + 1);
    let (first, last) = (dims[0], dims[dims.len() - 1]);
    if adjacent {
        return (row_major(shape.len()), numel(&shape[..first]), numel(&shape[last + 1..]));
    }
    let rest = (0..shape.len()).filter(|d| !dims.contains(d));
    let order: Vec<usize> = dims.iter().copied().chain(rest).collect();
    let inner = Expr::product(order[dims.len()..].iter().map(|&d| shape[d].clone()));
    (order, Expr::Int(1), inner)
}

fn indices(cx: &mut Lowering<'_>, ids: &[ValueId]) -> (Field, Expr) {
    let k = ids.first().map_or(Expr::Int(0), |&v| numel(cx.shape(v)));
    (Field::Array(ids.iter().map(|&v| read_row_major(cx, v)).collect()), k)
}

fn index(cx: &mut Lowering<'_>, node: &Node, dims: &[usize]) {
    let (x, y) = (node.inputs[0], node.outputs[0]);
    let shape = cx.shape(x).to_vec();
    let (order, outer, inner) = indexed(&shape, dims);
    let region = cx.read_dense(x, &order);
    let (ids, k) = indices(cx, &node.inputs[1..]);
    let place = output_row_major(cx, y);
    let fields = vec![
        ("x", read(region)),
        ("index", ids),
        ("y", write(&place)),
        ("outer", Field::Usize(outer)),
        ("sizes", usizes(dims.iter().map(|&d| shape[d].clone()))),
        ("k", Field::Usize(k)),
        ("inner", Field::Usize(inner)),
    ];
    cx.step(node, fallible("index::Index", fields), numel(cx.shape(y)));
}

fn index_put(cx: &mut Lowering<'_>, node: &Node, dims: &[usize], accumulate: bool) {
    let (x, values, y) = (node.inputs[0], node.inputs[1], node.outputs[0]);
    let shape = cx.shape(x).to_vec();
    let (order, outer, inner) = indexed(&shape, dims);
    let from = read_row_major(cx, values);
    let (ids, k) = indices(cx, &node.inputs[2..]);
    let place = changed(cx, y, x, &order);
    let fields = vec![
        ("y", update(&place)),
        ("index", ids),
        ("values", from),
        ("outer", Field::Usize(outer)),
        ("sizes", usizes(dims.iter().map(|&d| shape[d].clone()))),
        ("k", Field::Usize(k)),
        ("inner", Field::Usize(inner)),
        ("accumulate", Field::Bool(accumulate)),
    ];
    cx.step(node, fallible("index::IndexPut", fields), numel(cx.shape(values)));
}

fn embedding_bag(cx: &mut Lowering<'_>, node: &Node, mode: u8, padding: Option<i64>) {
    let (table, ids, y) = (node.inputs[0], node.inputs[1], node.outputs[0]);
    let weights = match node.inputs.get(3) {
        Some(&v) => read_row_major(cx, v),
        None => empty(cx, table),
    };
    let shape = cx.shape(table).to_vec();
    let from = read_row_major(cx, table);
    let by = read_row_major(cx, ids);
    let offsets = read_row_major(cx, node.inputs[2]);
    let place = output_row_major(cx, y);
    let mode = match mode {
        0 => "index::BagMode::Sum",
        1 => "index::BagMode::Mean",
        _ => "index::BagMode::Max",
    };
    let padding = padding.map(|p| Box::new(Field::Usize(Expr::Int(p))));
    let fields = vec![
        ("table", from),
        ("ids", by),
        ("offsets", offsets),
        ("weights", weights),
        ("y", write(&place)),
        ("n", Field::Usize(shape[0].clone())),
        ("dim", Field::Usize(shape[1].clone())),
        ("mode", Field::Path(mode.into())),
        ("padding", Field::Option(padding)),
    ];
    cx.step(node, fallible("index::EmbeddingBag", fields), numel(cx.shape(ids)) * shape[1].clone());
}
