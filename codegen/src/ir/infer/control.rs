//! Control flow: types follow from those of the subgraphs, which must fit their operands and each other.

use super::super::{Graph, InputKind, Op, OutputKind, TensorType};
use crate::sym::{Expr, Kind, Symbol};
use exported_runtime::DType;

/// Types of the results of a control-flow operation.
///
/// # Errors
/// Operands, branches or carried tensors that do not fit each other.
pub(super) fn control(op: &Op, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
    match op {
        Op::Cond { on_size, branches } => {
            let operands = match (on_size, inputs.split_first()) {
                (Some(_), _) => inputs,
                (None, Some((predicate, operands))) => one_bool(predicate).map(|()| operands)?,
                (None, None) => return Err("a branch without a condition".into()),
            };
            let [first, second] = [&branches[0], &branches[1]].map(|branch| call(branch, operands));
            let (first, second) = (first?, second?);
            fit("results of the branches", &first, &second)?;
            Ok(first)
        }
        Op::While { carried, condition, body } => {
            match call(condition, inputs)?.as_slice() {
                [predicate] => one_bool(predicate)?,
                other => return Err(format!("the condition of a loop gives {} values", other.len())),
            }
            let (before, after) = (part(inputs, 0, *carried)?, call(body, inputs)?);
            fit("carried tensors", before, &after)?;
            Ok(after)
        }
        Op::Scan { carried, sequences, length, body } => {
            let mut arguments = part(inputs, 0, *carried)?.to_vec();
            for sequence in part(inputs, *carried, *sequences)? {
                match sequence.shape.split_first() {
                    Some((first, rest)) if first == length => {
                        arguments.push(TensorType { dtype: sequence.dtype, shape: rest.to_vec() });
                    }
                    _ => return Err(format!("a sequence of {length} entries has type {sequence}")),
                }
            }
            arguments.extend_from_slice(&inputs[carried + sequences..]);
            let mut results = call(body, &arguments)?;
            fit("carried tensors", &inputs[..*carried], part(&results, 0, *carried)?)?;
            for stacked in &mut results[*carried..] {
                stacked.shape.insert(0, length.clone());
            }
            Ok(results)
        }
        other => Err(format!("{other:?} is no control flow")),
    }
}

/// No result, of an integer tensor of one element.
///
/// # Errors
/// Another operand.
pub(super) fn item(symbol: &Symbol, x: &TensorType) -> Result<Vec<TensorType>, String> {
    let float = Expr::Symbol(symbol.clone()).kind() == Kind::Float;
    if x.is_single() && x.dtype.is_float() == float {
        Ok(Vec::new())
    } else {
        Err(format!("the number `{symbol}` in {x}"))
    }
}

fn part(types: &[TensorType], start: usize, len: usize) -> Result<&[TensorType], String> {
    types.get(start..).and_then(|rest| rest.get(..len)).ok_or_else(|| "operands are missing".to_string())
}

fn one_bool(predicate: &TensorType) -> Result<(), String> {
    (predicate.is_single() && predicate.dtype == DType::Bool)
        .then_some(())
        .ok_or_else(|| format!("a condition of type {predicate}"))
}

fn fit(what: &str, a: &[TensorType], b: &[TensorType]) -> Result<(), String> {
    if a.len() != b.len() {
        return Err(format!("{what}: {} and {}", a.len(), b.len()));
    }
    match a.iter().zip(b).find(|(a, b)| a != b) {
        Some((a, b)) => Err(format!("{what}: {a} and {b}")),
        None => Ok(()),
    }
}

/// Types of the results of a subgraph on operands of these types.
fn call(graph: &Graph, operands: &[TensorType]) -> Result<Vec<TensorType>, String> {
    let inputs: Vec<TensorType> = graph
        .inputs
        .iter()
        .filter_map(|input| match input.kind {
            InputKind::Tensor(v) => Some(graph.ty(v).clone()),
            _ => None,
        })
        .collect();
    fit("operands of a subgraph", &inputs, operands)?;
    let results = graph.outputs.iter().map(|output| match output.kind {
        OutputKind::Tensor(v) => Ok(graph.ty(v).clone()),
        _ => Err("a subgraph that gives something else than tensors".to_string()),
    });
    results.collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::{Input, Output, ValueId};
    use super::*;

    fn ty(dtype: DType, shape: &[i64]) -> TensorType {
        TensorType { dtype, shape: shape.iter().map(|&s| Expr::Int(s)).collect() }
    }

    /// A graph that gives some of its inputs.
    fn graph(inputs: &[TensorType], outputs: &[u32]) -> Graph {
        let mut graph = Graph::default();
        for (i, ty) in inputs.iter().enumerate() {
            let v = graph.add_value(&format!("x{i}"), ty.clone());
            graph.inputs.push(Input::new(format!("x{i}"), vec![], InputKind::Tensor(v)));
        }
        let output = |&v: &u32| Output { path: vec![], kind: OutputKind::Tensor(ValueId(v)), mutates: None };
        graph.outputs = outputs.iter().map(output).collect();
        graph
    }

    #[test]
    fn branches_give_the_same_types() {
        let (flag, x, y) = (ty(DType::Bool, &[]), ty(DType::F32, &[2, 3]), ty(DType::F32, &[3]));
        let operands = [x.clone(), x.clone(), y.clone()];
        let cond = |a: u32, b: u32| Op::Cond {
            on_size: None,
            branches: Box::new([graph(&operands, &[a]), graph(&operands, &[b])]),
        };
        let inputs = [flag, x.clone(), x.clone(), y.clone()];
        assert_eq!(control(&cond(0, 1), &inputs), Ok(vec![x.clone()]));
        assert!(control(&cond(0, 2), &inputs).is_err());
        assert!(control(&cond(0, 1), &inputs[1..]).is_err());
        assert!(control(&cond(0, 1), &[ty(DType::Bool, &[2]), x.clone(), x, y]).is_err());
    }

    #[test]
    fn loops_keep_what_they_carry_and_scans_stack() {
        let (x, h) = (ty(DType::F32, &[4, 2]), ty(DType::I64, &[]));
        let entry = ty(DType::F32, &[2]);
        let scan = |outputs: &[u32]| Op::Scan {
            carried: 1,
            sequences: 1,
            length: Expr::Int(4),
            body: Box::new(graph(&[h.clone(), entry.clone()], outputs)),
        };
        assert_eq!(control(&scan(&[0, 1]), &[h.clone(), x.clone()]), Ok(vec![h.clone(), x.clone()]));
        assert!(control(&scan(&[1]), &[h.clone(), x.clone()]).is_err());
        assert!(control(&scan(&[0]), &[h.clone(), entry.clone()]).is_err());
        let looped = |condition: u32, carried: u32| Op::While {
            carried: 1,
            condition: Box::new(graph(&[x.clone(), ty(DType::Bool, &[])], &[condition])),
            body: Box::new(graph(&[x.clone(), ty(DType::Bool, &[])], &[carried])),
        };
        let inputs = [x.clone(), ty(DType::Bool, &[])];
        assert_eq!(control(&looped(1, 0), &inputs), Ok(vec![x.clone()]));
        assert!(control(&looped(0, 0), &inputs).is_err());
        assert!(control(&looped(1, 1), &inputs).is_err());
    }
}
