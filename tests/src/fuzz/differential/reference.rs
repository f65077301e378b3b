//! Every node of a graph by its definition, in order, without any optimization.

use super::machine::{bytes, values};
use exported_codegen::ir::{Constant, Conv, Graph, InputKind, Node, Op, OutputKind, ReduceKind, ValueId, eval};
use exported_runtime::DType;
use std::collections::BTreeMap;

/// The outputs for these inputs.
pub fn outputs(graph: &Graph, inputs: &[Constant]) -> Vec<Constant> {
    let mut known: BTreeMap<ValueId, Constant> = BTreeMap::new();
    for (input, data) in graph.inputs.iter().zip(inputs) {
        if let InputKind::Tensor(value) = input.kind {
            known.insert(value, data.clone());
        }
    }
    for node in &graph.nodes {
        let operands: Vec<&Constant> = node.inputs.iter().map(|v| &known[v]).collect();
        let shape = graph.ty(node.outputs[0]).static_shape().expect("constant sizes");
        let result = result(graph, node, &operands, shape);
        known.insert(node.outputs[0], result);
    }
    let tensors = graph.outputs.iter().filter_map(|output| match output.kind {
        OutputKind::Tensor(value) => Some(known[&value].clone()),
        _ => None,
    });
    tensors.collect()
}

fn result(graph: &Graph, node: &Node, operands: &[&Constant], shape: Vec<usize>) -> Constant {
    match (&node.op, operands) {
        (Op::Constant(id), _) => graph.constants[id.0 as usize].clone(),
        (Op::SliceScatter { dim, start, step, .. }, [x, source]) => {
            let start = start.as_int().expect("a constant") as usize;
            slice_scatter(x, source, *dim, start, *step as usize)
        }
        (Op::Reduce { kind, dims, .. }, [x]) => floats(shape, reduce(x, *kind, dims)),
        (Op::Linear(_), [x, weight]) => floats(shape, linear(x, weight)),
        (Op::MatMul(_), [a, b]) => floats(shape, matmul(a, b)),
        (Op::Conv(conv, _), [x, weight]) => {
            let sums = convolution(conv, x, weight, &shape);
            floats(shape, sums)
        }
        _ => {
            let results = eval::node(node, operands);
            results.and_then(|mut all| all.pop()).unwrap_or_else(|| panic!("cannot be evaluated: {:?}", node.op))
        }
    }
}

fn floats(shape: Vec<usize>, numbers: Vec<f32>) -> Constant {
    Constant { name: String::new(), dtype: DType::F32, shape, data: bytes(&numbers).into() }
}

/// The index of every element, in row-major order.
pub fn indices(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> + '_ {
    (0..shape.iter().product::<usize>()).map(|at| {
        let mut rest = at;
        let mut index: Vec<usize> = shape.iter().rev().map(|size| (rest % size, rest /= size).0).collect();
        index.reverse();
        index
    })
}

/// Place of an element in row-major order.
fn at(shape: &[usize], index: &[usize]) -> usize {
    shape.iter().zip(index).fold(0, |at, (size, i)| at * size + i)
}

fn slice_scatter(x: &Constant, source: &Constant, dim: usize, start: usize, step: usize) -> Constant {
    let (mut data, size) = (x.data.to_vec(), x.dtype.size());
    for (from, mut index) in indices(&source.shape).enumerate() {
        index[dim] = start + step * index[dim];
        let to = at(&x.shape, &index);
        data[to * size..(to + 1) * size].copy_from_slice(&source.data[from * size..(from + 1) * size]);
    }
    Constant { data: data.into(), ..x.clone() }
}

fn reduce(x: &Constant, kind: ReduceKind, dims: &[usize]) -> Vec<f32> {
    let numbers: Vec<f32> = values(&x.data);
    let kept: Vec<usize> = (0..x.shape.len()).filter(|d| !dims.contains(d)).collect();
    let shape: Vec<usize> = kept.iter().map(|d| x.shape[*d]).collect();
    let mut results: Vec<Option<f32>> = vec![None; shape.iter().product()];
    for (number, index) in numbers.iter().zip(indices(&x.shape)) {
        let index: Vec<usize> = kept.iter().map(|d| index[*d]).collect();
        let result = &mut results[at(&shape, &index)];
        *result = Some(match (kind, *result) {
            (_, None) => *number,
            (ReduceKind::Max, Some(so_far)) => so_far.max(*number),
            (ReduceKind::Min, Some(so_far)) => so_far.min(*number),
            (_, Some(so_far)) => so_far + number,
        });
    }
    results.into_iter().map(Option::unwrap_or_default).collect()
}

fn linear(x: &Constant, weight: &Constant) -> Vec<f32> {
    let (numbers, weights): (Vec<f32>, Vec<f32>) = (values(&x.data), values(&weight.data));
    let inner = weight.shape[1];
    let row = |x: &[f32]| -> Vec<f32> {
        weights.chunks_exact(inner).map(|w| x.iter().zip(w).map(|(x, w)| x * w).sum()).collect()
    };
    numbers.chunks_exact(inner).flat_map(row).collect()
}

fn matmul(a: &Constant, b: &Constant) -> Vec<f32> {
    let rank = a.shape.len();
    let [m, k, n] = [a.shape[rank - 2], a.shape[rank - 1], b.shape[rank - 1]];
    let (a, b): (Vec<f32>, Vec<f32>) = (values(&a.data), values(&b.data));
    let mut results = Vec::new();
    for (a, b) in a.chunks_exact(m * k).zip(b.chunks_exact(k * n)) {
        let cells = (0..m).flat_map(|i| (0..n).map(move |j| (i, j)));
        results.extend(cells.map(|(i, j)| (0..k).map(|l| a[i * k + l] * b[l * n + j]).sum::<f32>()));
    }
    results
}

fn convolution(conv: &Conv, x: &Constant, weight: &Constant, shape: &[usize]) -> Vec<f32> {
    let (numbers, weights): (Vec<f32>, Vec<f32>) = (values(&x.data), values(&weight.data));
    let per_group = (shape[1] / conv.groups, weight.shape[1]);
    let sum = |y: Vec<usize>| {
        let first = y[1] / per_group.0 * per_group.1;
        let term = |tap: Vec<usize>| {
            let source = |d: usize| {
                let padded = y[d + 1] * conv.stride[d] + tap[d] * conv.dilation[d];
                padded.checked_sub(conv.padding[d].0).filter(|i| *i < x.shape[d + 1])
            };
            let (row, column) = (source(1)?, source(2)?);
            let from = at(&x.shape, &[y[0], first + tap[0], row, column]);
            Some(numbers[from] * weights[at(&weight.shape, &[y[1], tap[0], tap[1], tap[2]])])
        };
        indices(&weight.shape[1..]).filter_map(term).sum::<f32>()
    };
    indices(shape).map(sum).collect()
}
