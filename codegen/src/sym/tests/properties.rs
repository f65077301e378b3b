//! What must hold of every expression, tried on random ones.

use std::collections::BTreeMap;

use exported_runtime::sym as rt;

use super::*;

/// Draws expressions (two integers, one condition) and values for the symbols.
fn for_random(seed: u64, mut check: impl FnMut(&Expr, &mut Random)) {
    let mut random = Random(seed);
    for round in 0..3000 {
        let depth = 1 + round % 3;
        let e = match round % 4 {
            0 => unsimplified_condition(&mut random, depth),
            _ => unsimplified(&mut random, depth),
        };
        check(&e, &mut random);
    }
}

type Values = BTreeMap<&'static str, i64>;

fn value(e: &Expr, values: &Values) -> Option<Value> {
    e.eval(&|name| values.get(name).copied())
}

fn values(random: &mut Random) -> Values {
    SYMBOLS.iter().map(|s| (*s, random.int(-9, 9))).collect()
}

#[test]
fn simplification_keeps_the_value() {
    let mut defined = 0;
    for_random(1, |e, random| {
        let simple = simplified(e);
        for _ in 0..20 {
            let values = values(random);
            if let Some(v) = value(e, &values) {
                assert_eq!(value(&simple, &values), Some(v), "{e:?}\nbecame {simple}\nat {values:?}");
                defined += 1;
            }
        }
    });
    assert!(defined > 40_000, "{defined} of 60000 tell nothing");
}

#[test]
fn simplifying_twice_changes_nothing() {
    for_random(2, |e, _| {
        let once = simplified(e);
        assert_eq!(simplified(&once), once, "{once}");
    });
}

#[test]
fn printed_text_reads_back() {
    for_random(3, |e, _| {
        let simple = simplified(e);
        assert_eq!(parse_infix(&simple.to_string()), Ok(simple.clone()), "{simple}");
    });
}

#[test]
fn bounds_and_proofs_hold_inside_the_ranges() {
    let (mut bounded, mut proved) = (0, 0);
    for_random(4, |e, random| {
        let mut ranges = Ranges::default();
        for symbol in SYMBOLS {
            let min = random.int(-9, 9);
            let width = random.pick(&[0, 1, 3, 8, 100]);
            let open = random.int(0, 5);
            let interval = Interval { min: (open != 0).then_some(min), max: (open != 1).then_some(min + width) };
            ranges.0.insert(symbol.into(), interval);
        }
        for e in [e, &simplified(e)] {
            let (interval, proof) = (e.interval(&ranges), e.prove(&ranges));
            bounded += i32::from(interval != Interval::default());
            proved += i32::from(proof.is_some());
            for _ in 0..20 {
                let values: Values = SYMBOLS
                    .iter()
                    .map(|s| {
                        let Interval { min, max } = ranges.get(s);
                        let min = min.or(max.map(|m| m - 50)).unwrap_or(0);
                        (*s, random.int(min, max.unwrap_or(min + 50)))
                    })
                    .collect();
                match value(e, &values) {
                    Some(Value::Int(v)) => assert!(interval.contains(v), "{e} = {v}, {interval:?}, {values:?}"),
                    Some(Value::Bool(v)) => assert!(proof.is_none_or(|p| p == v), "{e} is {v}, {ranges:?}, {values:?}"),
                    _ => {}
                }
            }
        }
    });
    assert!(bounded > 2000 && proved > 600, "{bounded} {proved}");
}

#[test]
fn divisors_divide() {
    let mut found = 0;
    for_random(5, |e, random| {
        let simple = simplified(e);
        for n in [2, 3, 4, -6] {
            if !simple.multiple_of(n) {
                continue;
            }
            found += 1;
            for _ in 0..10 {
                if let Some(Value::Int(v)) = value(&simple, &values(random)) {
                    assert_eq!(v % n, 0, "{simple}");
                }
            }
        }
    });
    assert!(found > 100, "{found}");
}

#[test]
fn linear_forms_are_the_expression() {
    let mut found = 0;
    for_random(6, |e, random| {
        let simple = simplified(e);
        let Some((coefficient, offset)) = simple.solve_linear("s0") else { return };
        assert!(coefficient != 0 && !offset.mentions("s0"));
        assert_eq!(Expr::symbol("s0") * coefficient + &offset, simple);
        found += 1;
        let values = values(random);
        if let (Some(Value::Int(v)), Some(Value::Int(o))) = (value(&simple, &values), value(&offset, &values)) {
            assert_eq!(v, coefficient * values["s0"] + o);
        }
    });
    assert!(found > 100, "{found}");
}

#[test]
fn substituted_symbols_are_their_values() {
    for_random(7, |e, random| {
        let values = values(random);
        let constants = values.iter().map(|(s, v)| ((*s).into(), Expr::Int(*v))).collect();
        match value(&simplified(e), &values) {
            Some(Value::Int(v)) => assert_eq!(simplified(e).substitute(&constants), Expr::Int(v)),
            Some(Value::Bool(v)) => assert_eq!(simplified(e).substitute(&constants), Expr::Bool(v)),
            _ => {}
        }
    });
}

#[test]
fn rust_code_computes_the_value() {
    let mut compared = 0;
    for_random(8, |e, random| {
        for e in [e, &simplified(e)] {
            let code: syn::Expr = syn::parse2(e.rust()).unwrap_or_else(|fault| panic!("{fault}: {}", e.rust()));
            for _ in 0..5 {
                let values = values(random);
                if let Some(v) = value(e, &values) {
                    assert_eq!(run(&code, &values), v, "{e} as {}", e.rust());
                    compared += 1;
                }
            }
        }
    });
    assert!(compared > 15_000, "{compared}");
}

/// The value of generated code, operators by Rust's rules and calls by the runtime's own functions.
fn run(code: &syn::Expr, values: &Values) -> Value {
    match code {
        syn::Expr::Lit(lit) => match &lit.lit {
            syn::Lit::Int(v) => Value::Int(v.base10_parse().unwrap()),
            syn::Lit::Float(v) => Value::Float(v.base10_parse().unwrap()),
            syn::Lit::Bool(v) => Value::Bool(v.value),
            _ => panic!("literal"),
        },
        syn::Expr::Path(path) => Value::Int(values[&*path.path.get_ident().unwrap().to_string()]),
        syn::Expr::Paren(inner) => run(&inner.expr, values),
        syn::Expr::Unary(unary) => match (&unary.op, run(&unary.expr, values)) {
            (syn::UnOp::Neg(_), Value::Int(v)) => Value::Int(-v),
            (syn::UnOp::Neg(_), Value::Float(v)) => Value::Float(-v),
            (syn::UnOp::Not(_), Value::Bool(v)) => Value::Bool(!v),
            _ => panic!("operand"),
        },
        syn::Expr::Binary(binary) => run_binary(&binary.op, &binary.left, &binary.right, values),
        syn::Expr::If(choice) => {
            let Value::Bool(holds) = run(&choice.cond, values) else { panic!("condition") };
            let (_, otherwise) = choice.else_branch.as_ref().unwrap();
            let syn::Stmt::Expr(then, None) = &choice.then_branch.stmts[0] else { panic!("then") };
            let syn::Expr::Block(otherwise) = &**otherwise else { panic!("else") };
            let syn::Stmt::Expr(otherwise, None) = &otherwise.block.stmts[0] else { panic!("else") };
            run(if holds { then } else { otherwise }, values)
        }
        syn::Expr::Call(call) => {
            let syn::Expr::Path(path) = &*call.func else { panic!("callee") };
            let names: Vec<String> = path.path.segments.iter().map(|s| s.ident.to_string()).collect();
            assert_eq!(names[..2], ["rt", "sym"]);
            let args: Vec<Value> = call.args.iter().map(|a| run(a, values)).collect();
            run_call(&names[2], &args)
        }
        _ => panic!("expression"),
    }
}

fn run_binary(op: &syn::BinOp, a: &syn::Expr, b: &syn::Expr, values: &Values) -> Value {
    use syn::BinOp::*;
    match (run(a, values), op) {
        (Value::Bool(false), And(_)) => Value::Bool(false),
        (Value::Bool(true), Or(_)) => Value::Bool(true),
        (Value::Bool(_), _) => run(b, values),
        (a, _) => run_arithmetic(op, a, run(b, values)),
    }
}

fn run_arithmetic(op: &syn::BinOp, a: Value, b: Value) -> Value {
    use syn::BinOp::*;
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => match op {
            Add(_) => Value::Int(a + b),
            Sub(_) => Value::Int(a - b),
            Mul(_) => Value::Int(a * b),
            _ => Value::Bool(compare(op, a, b)),
        },
        (Value::Float(a), Value::Float(b)) => match op {
            Add(_) => Value::Float(a + b),
            Sub(_) => Value::Float(a - b),
            Mul(_) => Value::Float(a * b),
            Div(_) => Value::Float(a / b),
            _ => Value::Bool(compare(op, a, b)),
        },
        other => panic!("mixed operands {other:?}"),
    }
}

fn compare<T: PartialOrd>(op: &syn::BinOp, a: T, b: T) -> bool {
    use syn::BinOp::*;
    match op {
        Eq(_) => a == b,
        Ne(_) => a != b,
        Lt(_) => a < b,
        Le(_) => a <= b,
        Gt(_) => a > b,
        Ge(_) => a >= b,
        _ => panic!("operator"),
    }
}

fn run_call(name: &str, args: &[Value]) -> Value {
    match (name, args) {
        ("to_float", [Value::Int(a)]) => Value::Float(rt::to_float(*a)),
        ("trunc", [Value::Float(a)]) => Value::Int(rt::trunc(*a)),
        ("floor", [Value::Float(a)]) => Value::Int(rt::floor(*a)),
        ("ceil", [Value::Float(a)]) => Value::Int(rt::ceil(*a)),
        ("round", [Value::Float(a)]) => Value::Int(rt::round(*a)),
        (_, [Value::Int(a), Value::Int(b)]) => {
            let function = match name {
                "floor_div" => rt::floor_div,
                "modulo" => rt::modulo,
                "pow" => rt::pow,
                "lshift" => rt::lshift,
                "rshift" => rt::rshift,
                "max" => rt::max,
                "min" => rt::min,
                other => panic!("{other}"),
            };
            Value::Int(function(*a, *b))
        }
        other => panic!("{other:?}"),
    }
}
