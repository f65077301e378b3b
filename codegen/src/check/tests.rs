//! The decision on random calls of random programs, against an evaluator that follows PyTorch's input check word by word and
//! solves by trying.

use super::*;
use crate::ir::{Input, TensorType};
use crate::options::Target;
use crate::sym::Value;
use exported_runtime::DType;
use std::collections::BTreeMap;

struct Random(u64);

impl Random {
    /// A number in `lo..=hi`.
    fn int(&mut self, lo: i64, hi: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        lo + (self.0 >> 33) as i64 % (hi - lo + 1)
    }

    fn symbol(&mut self) -> Expr {
        Expr::symbol(SYMBOLS[self.int(0, 2) as usize])
    }
}

const SYMBOLS: [&str; 3] = ["s0", "s1", "s2"];

type Values = BTreeMap<String, i64>;

fn value(expr: &Expr, values: &Values) -> Option<i64> {
    expr.eval(&|name| values.get(name).copied()).and_then(|value| value.as_int())
}

fn holds(condition: &Expr, values: &Values) -> bool {
    condition.eval(&|name| values.get(name).copied()) == Some(Value::Bool(true))
}

/// A size: constant, a symbol, a line over one, or made of several.
fn size(random: &mut Random) -> Expr {
    let line = |random: &mut Random, lo: i64| {
        Expr::add(Expr::mul(Expr::Int(random.int(1, 3)), random.symbol()), Expr::Int(random.int(lo, 4)))
    };
    match random.int(0, 9) {
        0 => Expr::Int(random.int(0, 5)),
        1..=4 => random.symbol(),
        5..=7 => line(random, -2),
        8 => Expr::add(line(random, 0), random.symbol()),
        _ => Expr::mul(Expr::symbol("s0"), Expr::symbol(["s1", "s2"][random.int(0, 1) as usize])),
    }
}

/// A program without nodes: arguments, ranges as torch records them (of symbols and of the expressions that occur), guards.
fn program(random: &mut Random) -> Graph {
    let mut graph = Graph::default();
    for name in SYMBOLS {
        let min = random.int(0, 4);
        graph.ranges.0.insert(name.into(), Interval::new(min, min + random.int(1, 9)));
    }
    for number in 0..random.int(1, 3) {
        let name = format!("x{number}");
        let kind = match random.int(0, 4) {
            0 => InputKind::Int(random.symbol()),
            _ => {
                let shape = (0..random.int(1, 3)).map(|_| size(random)).collect();
                InputKind::Tensor(graph.add_value(&name, TensorType { dtype: DType::F32, shape }))
            }
        };
        graph.inputs.push(Input::new(name.clone(), vec![PathPart::Key(name)], kind));
    }
    let mut symbols = std::collections::BTreeSet::new();
    for (_, expr) in numbers(&graph) {
        symbols.extend(expr.symbols());
        if expr.symbols().len() == 1 && !matches!(expr, Expr::Symbol(_)) {
            let range = expr.interval(&graph.ranges);
            graph.derived_ranges.push((expr, range));
        }
    }
    let symbols: Vec<Symbol> = symbols.into_iter().collect();
    for _ in 0..random.int(0, 2) {
        if symbols.is_empty() {
            break;
        }
        let any = |random: &mut Random| Expr::Symbol(symbols[random.int(0, symbols.len() as i64 - 1) as usize].clone());
        let sum = Expr::add(any(random), any(random));
        let condition = match random.int(0, 3) {
            0 => Expr::eq(Expr::modulo(sum, Expr::Int(random.int(2, 3))), Expr::Int(0)),
            1 => Expr::ne(sum, Expr::Int(random.int(4, 9))),
            2 => Expr::le(any(random), any(random)),
            _ => Expr::ge(Expr::floordiv(sum, Expr::Int(2)), Expr::Int(random.int(2, 4))),
        };
        graph.guards.push(Guard { condition, message: String::new(), origin: None });
    }
    graph
}

/// Numbers as some values of the symbols make them, one of them maybe changed.
fn call(graph: &Graph, random: &mut Random) -> Vec<i64> {
    let values: Values = SYMBOLS.iter().map(|name| (name.to_string(), random.int(0, 12))).collect();
    let mut numbers: Vec<i64> = numbers(graph).iter().map(|(_, e)| value(e, &values).unwrap_or(0).max(0)).collect();
    if random.int(0, 2) == 0 {
        let changed = random.int(0, numbers.len() as i64 - 1) as usize;
        numbers[changed] = (numbers[changed] + random.int(-2, 2)).max(0);
    }
    numbers
}

/// The check of torch 2.8, then what the program asserts, then sizes of several symbols, of which its assertions speak.
fn reference(graph: &Graph, call: &[i64], bounds: Bounds) -> bool {
    let mut values = Values::new();
    for ((_, expr), &found) in numbers(graph).iter().zip(call) {
        let symbols: Vec<Symbol> = expr.symbols().into_iter().collect();
        let [symbol] = symbols.as_slice() else {
            if symbols.is_empty() && expr.as_int() != Some(found) {
                return false;
            }
            continue;
        };
        if values.contains_key(symbol.as_ref()) {
            if value(expr, &values) != Some(found) {
                return false;
            }
        } else if matches!(expr, Expr::Symbol(_)) {
            values.insert(symbol.to_string(), found);
        } else {
            let solves = |n: &i64| value(expr, &Values::from([(symbol.to_string(), *n)])) == Some(found);
            let Some(solution) = (1..=found + 9).find(solves) else { return false };
            values.insert(symbol.to_string(), solution);
        }
        let stated = match expr {
            Expr::Symbol(symbol) => Some(graph.ranges.get(symbol)),
            _ => graph.derived_ranges.iter().find(|(e, _)| e == expr).map(|(_, range)| *range),
        };
        let Some(Interval { min: Some(min), max: Some(max) }) = stated else { continue };
        if found > max || (found < min && (min > 2 || bounds == Bounds::Strict)) {
            return false;
        }
    }
    let mut compound = numbers(graph).into_iter().zip(call).filter(|((_, expr), _)| expr.symbols().len() > 1);
    compound.all(|((_, expr), &found)| value(&expr, &values) == Some(found))
        && graph.guards.iter().all(|guard| holds(&guard.condition, &values))
}

/// What generated code does with the protocol; the values it binds if it accepts.
fn run(entry: &Entry, graph: &Graph, call: &[i64]) -> Option<Values> {
    let sources: Vec<Source> = numbers(graph).into_iter().map(|(source, _)| source).collect();
    let found = |source: &Source| sources.iter().position(|s| s == source).map(|i| call[i]);
    let mut values = Values::new();
    for step in entry.steps.iter().chain(&entry.closing) {
        let held = match step {
            EntryStep::Bind { symbol, source, coefficient: 1, offset: Expr::Int(0) } => {
                values.insert(symbol.to_string(), found(source)?);
                true
            }
            EntryStep::Bind { symbol, source, coefficient, offset } => {
                let difference = found(source)? - value(offset, &values)?;
                let solution = difference.div_euclid(*coefficient);
                values.insert(symbol.to_string(), solution);
                solution * coefficient == difference && solution >= 1
            }
            EntryStep::Equal { source, expected } => found(source) == value(expected, &values),
            EntryStep::Range { source, bounds } => {
                let found = found(source)?;
                bounds.min.is_none_or(|min| found >= min) && bounds.max.is_none_or(|max| found <= max)
            }
        };
        if !held {
            return None;
        }
    }
    entry.guards.iter().all(|guard| holds(&guard.condition, &values)).then_some(values)
}

/// Programs whose symbols all have a number of their own, so that torch binds them.
fn is_bound_by_torch(graph: &Graph) -> bool {
    let alone = |expr: &Expr| expr.symbols().len() == 1;
    let bound: std::collections::BTreeSet<Symbol> =
        numbers(graph).iter().filter(|(_, e)| alone(e)).flat_map(|(_, e)| e.symbols()).collect();
    numbers(graph).iter().all(|(_, expr)| expr.symbols().is_subset(&bound))
}

#[test]
fn decisions_are_pytorchs() {
    let mut random = Random(4);
    let (mut accepted, mut refused, mut never) = (0, 0, 0);
    for round in 0..4000 {
        let program = program(&mut random);
        if !is_bound_by_torch(&program) {
            continue;
        }
        let mut options = Options::new("m", Target::new("thumbv7em-none-eabihf"));
        options.bounds = if round % 4 == 0 { Bounds::Strict } else { Bounds::Torch };
        let mut graph = program.clone();
        let entry = check(&mut graph, &options);
        for _ in 0..20 {
            let call = call(&program, &mut random);
            let expected = reference(&program, &call, options.bounds);
            match &entry {
                // A guard that contradicts the ranges; torch would find out at the call.
                Err(errors) => {
                    assert!(errors.0.iter().all(|e| e.message.starts_with("no call can satisfy")), "{errors}");
                    assert!(!expected, "{call:?} of\n{graph:?}");
                    never += 1;
                }
                Ok(entry) => {
                    let decision = run(entry, &graph, &call).is_some();
                    assert_eq!(decision, expected, "{call:?} by {entry:#?} of\n{program:#?}");
                    *if decision { &mut accepted } else { &mut refused } += 1;
                }
            }
        }
    }
    assert!(accepted > 5000 && refused > 5000 && never < 5000, "{accepted} accepted, {refused} refused, {never} never");
}

#[test]
fn accepted_calls_stay_within_what_memory_is_planned_for() {
    let mut random = Random(5);
    let mut accepted = 0;
    for _ in 0..4000 {
        let mut graph = program(&mut random);
        let mut options = Options::new("m", Target::new("thumbv7em-none-eabihf"));
        let capped = random.symbol().to_string();
        options.caps.insert(capped.clone(), random.int(2, 5));
        let Ok(entry) = check(&mut graph, &options) else { continue };
        for _ in 0..20 {
            let Some(values) = run(&entry, &graph, &call(&graph, &mut random)) else { continue };
            for (symbol, &value) in &values {
                let max = graph.ranges.0[symbol.as_str()].max;
                assert!(max.is_some_and(|max| value <= max), "{symbol} = {value} by {entry:#?} of\n{graph:#?}");
            }
            accepted += 1;
        }
    }
    assert!(accepted > 3000, "{accepted} accepted");
}

#[test]
fn a_cap_below_every_size_is_refused() {
    let options = |cap| {
        let mut options = Options::new("m", Target::new("thumbv7em-none-eabihf"));
        options.caps.insert("x.0".into(), cap);
        options
    };
    let mut graph = Graph::default();
    let value = graph.add_value("x", TensorType { dtype: DType::F32, shape: vec![Expr::symbol("s0")] });
    graph.inputs.push(Input::new("x", vec![PathPart::Key("x".into())], InputKind::Tensor(value)));
    graph.ranges.0.insert("s0".into(), Interval::new(4, 8));
    assert!(check(&mut graph.clone(), &options(4)).is_ok());
    let errors = check(&mut graph, &options(3)).expect_err("no size is left").to_string();
    assert!(errors.contains("cap `x.0` is 3, but the program takes no size below 4"), "{errors}");
}

#[test]
fn a_size_of_several_symbols_is_checked_once_they_are_known() {
    let product = Expr::mul(Expr::symbol("s0"), Expr::symbol("s1"));
    let mut graph = Graph::default();
    for (name, shape) in [("x", vec![product.clone()]), ("y", vec![Expr::symbol("s0"), Expr::symbol("s1")])] {
        let value = graph.add_value(name, TensorType { dtype: DType::F32, shape });
        graph.inputs.push(Input::new(name, vec![PathPart::Key(name.into())], InputKind::Tensor(value)));
    }
    graph.ranges.0.extend(["s0", "s1"].map(|name| (name.into(), Interval::new(2, 8))));
    let options = Options::new("m", Target::new("thumbv7em-none-eabihf"));
    let entry = check(&mut graph, &options).expect("is possible");
    assert!(run(&entry, &graph, &[12, 3, 4]).is_some() && run(&entry, &graph, &[11, 3, 4]).is_none());
    graph.inputs.pop();
    let errors = check(&mut graph, &options).expect_err("no symbol is known").to_string();
    assert!(errors.contains("dim 0 of `x` is `s0*s1`, from which its symbols do not follow"), "{errors}");
}
