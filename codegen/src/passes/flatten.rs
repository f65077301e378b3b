//! A linear layer behind a flattened image takes the image as it lies in memory.
//!
//! Flattening `[N, C, H, W]` numbers elements by channel first; the conv family writes channels last, so the flattened
//! tensor would be a copy. Instead the image is flattened in its memory order, and the columns of the weight are permuted
//! to match, at build time.

use super::edit::{producers, splice};
use crate::diag::Diagnostic;
use crate::ir::{Constant, Graph, Node, Op, TensorType, ValueId, View};
use crate::lower::channels_last;
use crate::options::Options;
use crate::sym::Expr;
use std::collections::BTreeMap;

/// Rewrites linear layers on flattened channels-last images.
///
/// # Errors
/// None.
pub fn run(graph: &mut Graph, _: &Options) -> Result<bool, Diagnostic> {
    let orders = crate::lower::memory_orders(graph);
    let mut replaced = BTreeMap::new();
    for index in 0..graph.nodes.len() {
        if let Some(nodes) = rewrite(graph, &orders, index) {
            replaced.insert(index, nodes);
        }
    }
    let changed = !replaced.is_empty();
    splice(graph, replaced);
    Ok(changed)
}

/// What a linear layer reads.
struct Image {
    /// The image, as its producer makes it.
    value: ValueId,
    /// Its sizes.
    sizes: Vec<usize>,
    /// Its dims but the batch, in the order they are flattened in.
    flattened: Vec<usize>,
}

/// The image behind the operand of a linear layer, if it is flattened whole, maybe permuted, and lies channels-last.
fn image(graph: &Graph, orders: &[Vec<usize>], flat: ValueId) -> Option<Image> {
    let made = producers(graph);
    let maker = |v: ValueId| made[v.0 as usize].map(|i| &graph.nodes[i]);
    let reshape = maker(flat)?;
    let Op::View(View::Reshape(shape)) = &reshape.op else { return None };
    let mut value = reshape.inputs[0];
    let rank = graph.ty(value).shape.len();
    let mut order: Vec<usize> = (0..rank).collect();
    if let Some(Node { op: Op::View(View::Permute(perm)), inputs, .. }) = maker(value) {
        (value, order) = (inputs[0], perm.clone());
    }
    let batch = graph.ty(value).shape.first()?.clone();
    let sizes = graph.ty(value).shape.iter().skip(1).map(|s| s.as_int().and_then(|s| usize::try_from(s).ok()));
    let sizes: Vec<usize> = std::iter::once(Some(1)).chain(sizes).collect::<Option<_>>()?;
    let whole = rank >= 3 && order[0] == 0 && *shape == [batch, Expr::from(sizes.iter().product::<usize>())];
    let moves = order != channels_last(rank) && sizes[1] > 1 && sizes[2..].iter().any(|s| *s > 1);
    let free = maker(value).is_some_and(|n| !matches!(n.op, Op::View(_) | Op::Constant(_)));
    let lies = orders.get(value.0 as usize)? == &channels_last(rank);
    (whole && moves && free && lies).then(|| Image { value, sizes, flattened: order[1..].to_vec() })
}

fn rewrite(graph: &mut Graph, orders: &[Vec<usize>], index: usize) -> Option<Vec<Node>> {
    let node = graph.nodes[index].clone();
    let Op::Linear(_) = node.op else { return None };
    let image = image(graph, orders, node.inputs[0])?;
    let weight = permuted(graph.constant_of(node.inputs[1])?, &image)?;
    let flat = graph.ty(node.inputs[0]).clone();
    let perm = channels_last(image.sizes.len());
    let shape = perm.iter().map(|&d| graph.ty(image.value).shape[d].clone()).collect();
    let moved = graph.add_value("channels_last", TensorType { dtype: flat.dtype, shape });
    let view = graph.add_value("flat", flat.clone());
    let name = weight.name.clone();
    let ty = graph.ty(node.inputs[1]).clone();
    let id = graph.add_constant(weight);
    let columns = graph.add_value(&name, ty);
    let new = |op: Op, inputs: Vec<ValueId>, output: ValueId| Node {
        op,
        inputs,
        outputs: vec![output],
        origin: node.origin.clone(),
    };
    let mut inputs = node.inputs.clone();
    (inputs[0], inputs[1]) = (view, columns);
    Some(vec![
        new(Op::View(View::Permute(perm)), vec![image.value], moved),
        new(Op::View(View::Reshape(flat.shape)), vec![moved], view),
        new(Op::Constant(id), vec![], columns),
        Node { inputs, ..node.clone() },
    ])
}

/// The weight with its columns in the memory order of the image.
fn permuted(weight: &Constant, image: &Image) -> Option<Constant> {
    let inner: usize = image.sizes.iter().product();
    let size = weight.dtype.size();
    // Distance of neighbours along each dim in the flattened order.
    let mut strides = vec![0; image.sizes.len()];
    let mut stride = 1;
    for &d in image.flattened.iter().rev() {
        strides[d] = stride;
        stride *= image.sizes[d];
    }
    let memory = channels_last(image.sizes.len());
    let columns: Vec<usize> = (0..inner)
        .map(|k| {
            let (mut rest, mut from) = (k, 0);
            for &d in memory[1..].iter().rev() {
                from += rest % image.sizes[d] * strides[d];
                rest /= image.sizes[d];
            }
            from
        })
        .collect();
    let mut data = Vec::with_capacity(weight.data.len());
    for row in weight.data.chunks_exact(inner * size) {
        for from in &columns {
            data.extend_from_slice(row.get(from * size..(from + 1) * size)?);
        }
    }
    (data.len() == weight.data.len()).then(|| Constant { data: data.into(), ..weight.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use exported_runtime::DType;

    #[test]
    fn columns_follow_the_memory_of_the_image() {
        // Two channels of 1 x 3 pixels; one output that tells its columns apart.
        let numbers: Vec<u8> = (0..6).collect();
        let weight =
            |data: &[u8]| Constant { name: "w".into(), dtype: DType::U8, shape: vec![1, 6], data: data.into() };
        let mut image = Image { value: ValueId(0), sizes: vec![1, 2, 1, 3], flattened: vec![1, 2, 3] };
        assert_eq!(permuted(&weight(&numbers), &image), Some(weight(&[0, 3, 1, 4, 2, 5])));
        // Flattened width first (MTCNN): w, h, c.
        image.flattened = vec![3, 2, 1];
        assert_eq!(permuted(&weight(&numbers), &image), Some(weight(&numbers)));
    }
}
