//! Upper bounds for dims that an archive leaves unbounded: the largest values that the cases of its golden file bind.
//!
//! Memory is planned for the largest call, so the compiler refuses an unbounded dim; to verify such an archive, the calls
//! that will be made are bound enough.

use crate::golden::{Case, Golden, Value};
use exported_codegen::ir::{Graph, InputKind, OutputKind};
use exported_codegen::sym::{Expr, Symbol};
use std::collections::BTreeMap;

/// A cap per unbounded symbol that a case binds.
pub fn caps(graph: &Graph, golden: &Golden) -> BTreeMap<String, i64> {
    let mut caps: BTreeMap<String, i64> = BTreeMap::new();
    for case in &golden.cases {
        for (symbol, value) in bind(graph, case) {
            let derived = graph.derived.iter().any(|(derived, _)| *derived == symbol);
            if !derived && graph.ranges.get(&symbol).max.is_none() {
                let cap = caps.entry(symbol.to_string()).or_insert(value);
                *cap = value.max(*cap);
            }
        }
    }
    caps
}

/// The values of symbols in one call, from the sizes of its inputs and outputs.
fn bind(graph: &Graph, case: &Case) -> BTreeMap<Symbol, i64> {
    let mut known = BTreeMap::new();
    for (input, value) in graph.inputs.iter().zip(&case.inputs) {
        match &input.kind {
            InputKind::Tensor(_) => sizes(&graph.stated_shape(input), value, &mut known),
            InputKind::Int(expr) => number(expr, value, &mut known),
            InputKind::Constant(_) => {}
        }
    }
    for (output, value) in graph.outputs.iter().zip(&case.outputs) {
        match &output.kind {
            OutputKind::Tensor(tensor) => sizes(&graph.ty(*tensor).shape, value, &mut known),
            OutputKind::Number(expr) => number(expr, value, &mut known),
            OutputKind::Constant(_) => {}
        }
    }
    known
}

fn sizes(shape: &[Expr], value: &Value, known: &mut BTreeMap<Symbol, i64>) {
    let Value::Tensor(tensor) = value else { return };
    for (expr, size) in shape.iter().zip(&tensor.shape) {
        solve(expr, i64::try_from(*size).unwrap_or(i64::MAX), known);
    }
}

fn number(expr: &Expr, value: &Value, known: &mut BTreeMap<Symbol, i64>) {
    if let Value::Int(n) = value {
        solve(expr, *n, known);
    }
}

/// Binds the one symbol of `expr` that is not known yet, if `expr` is linear in it.
fn solve(expr: &Expr, value: i64, known: &mut BTreeMap<Symbol, i64>) {
    let mut unknown = expr.symbols().into_iter().filter(|symbol| !known.contains_key(symbol));
    let (Some(symbol), None) = (unknown.next(), unknown.next()) else { return };
    let Some((coefficient, offset)) = expr.solve_linear(&symbol) else { return };
    let offset = offset.eval(&|name| known.get(name).copied()).and_then(|offset| offset.as_int());
    let rest = offset.and_then(|offset| value.checked_sub(offset));
    if let Some(value) = rest.and_then(|rest| rest.checked_div(coefficient)) {
        known.insert(symbol, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{Tensor, Tolerance, Wishes};
    use exported_codegen::ir::{Input, TensorType};
    use exported_codegen::sym::Interval;
    use exported_runtime::DType;

    fn graph(shape: Vec<Expr>, bounded: &str) -> Graph {
        let mut graph = Graph::default();
        let ty = TensorType { dtype: DType::F32, shape };
        let value = graph.add_value("x", ty);
        graph.inputs.push(Input::new("x", vec![], InputKind::Tensor(value)));
        graph.inputs.push(Input::new("n", vec![], InputKind::Int(Expr::symbol("s2"))));
        graph.ranges.0.insert(bounded.into(), Interval::new(2, 9));
        graph
    }

    fn golden(calls: &[(&[usize], i64)]) -> Golden {
        let case = |(shape, n): &(&[usize], i64)| Case {
            inputs: vec![
                Value::Tensor(Tensor { dtype: DType::F32, shape: shape.to_vec(), data: vec![] }),
                Value::Int(*n),
            ],
            outputs: vec![],
            mutations: BTreeMap::new(),
            continues: false,
            nodes: BTreeMap::new(),
        };
        let cases = calls.iter().map(case).collect();
        let tolerance = Tolerance { rtol: 0.0, atol: 0.0, quanta: 0.0 };
        Golden {
            torch: String::new(),
            tolerance,
            integer_atol: None,
            wishes: Wishes::default(),
            cases,
            rejects: vec![],
        }
    }

    #[test]
    fn unbounded_symbols_get_the_largest_value_bound() {
        let s0 = || Expr::symbol("s0");
        // s0, 3 s1 + s0, and the bounded s3.
        let shape = vec![s0(), Expr::add(Expr::mul(3, Expr::symbol("s1")), s0()), Expr::symbol("s3")];
        let caps = caps(&graph(shape, "s3"), &golden(&[(&[2, 11, 4], 5), (&[4, 7, 9], 8), (&[3, 3, 2], 1)]));
        let expected = [("s0", 4), ("s1", 3), ("s2", 8)].map(|(name, cap)| (name.to_owned(), cap));
        assert_eq!(caps, BTreeMap::from(expected));
    }
}
