//! Texts found in archives, and texts that must be refused. In the tables, `s<n>` and `u<n>` are `n % 11 + 4`, the size
//! of a tensor at path `p` in dim `d` is `len(p) % 5 + 3*d + 6`, and the values are those of Python.

use super::guards::{LeafPath, Property, Step};
use super::*;

/// `expr_str` of torch 2.8 and 2.15, the value Python gives.
const SREPR: &[(&str, Value)] = &[
    (
        "Add(FloorDiv(Add(Symbol('s0', positive=True, integer=True), Integer(-1)), Integer(2)), Integer(1))",
        Value::Int(2),
    ),
    ("Add(FloorDiv(Symbol('s77', positive=True, integer=True), Integer(2)), Integer(1))", Value::Int(3)),
    (
        "Add(Max(Symbol('s17', positive=True, integer=True), Symbol('s77', positive=True, integer=True)), Mul(Integer(-1), Min(Symbol('s17', positive=True, integer=True), Symbol('s77', positive=True, integer=True))))",
        Value::Int(6),
    ),
    (
        "Add(Max(Symbol('s17', positive=True, integer=True), Symbol('s77', positive=True, integer=True)), Mul(Integer(-1), Min(Symbol('s17', positive=True, integer=True), Symbol('s77', positive=True, integer=True))), Integer(1))",
        Value::Int(7),
    ),
    ("Add(Mod(Symbol('s77', positive=True, integer=True), Integer(4)), Integer(2))", Value::Int(2)),
    ("Add(Mul(Integer(2), Symbol('s77', positive=True, integer=True)), Integer(-2))", Value::Int(6)),
    (
        "Add(Mul(Symbol('s17', positive=True, integer=True), Symbol('s77', positive=True, integer=True)), Integer(-1))",
        Value::Int(39),
    ),
    ("Add(Symbol('s0', positive=True, integer=True), Integer(-2))", Value::Int(2)),
    (
        "Add(Symbol('s17', positive=True, integer=True), Mul(Integer(2), Symbol('s77', positive=True, integer=True)))",
        Value::Int(18),
    ),
    ("Add(Symbol('s17', positive=True, integer=True), Symbol('s77', positive=True, integer=True))", Value::Int(14)),
    (
        "Add(TruncToInt(Mul(Float('0.5', precision=53), ToFloat(Symbol('s77', positive=True, integer=True)))), Integer(1))",
        Value::Int(3),
    ),
    ("FloatPow(ToFloat(Symbol('s77', positive=True, integer=True)), Float('0.5', precision=53))", Value::Float(2.0)),
    ("FloorDiv(Mul(Integer(-1), Symbol('s17', positive=True, integer=True)), Integer(3))", Value::Int(-4)),
    (
        "FloorDiv(Pow(Add(Symbol('s17', positive=True, integer=True), Symbol('s77', positive=True, integer=True)), Integer(2)), Integer(7))",
        Value::Int(28),
    ),
    ("FloorDiv(Symbol('s77', positive=True, integer=True), Integer(2))", Value::Int(2)),
    ("GreaterThan(Symbol('u0', integer=True), Integer(1))", Value::Bool(true)),
    (
        "IntTrueDiv(Symbol('s77', positive=True, integer=True), Symbol('s17', positive=True, integer=True))",
        Value::Float(0.4),
    ),
    ("LessThan(Symbol('u0', integer=True), Integer(12))", Value::Bool(true)),
    (
        "Max(Integer(1), Add(FloorDiv(Add(Symbol('s0', positive=True, integer=True), Integer(-3)), Integer(2)), Integer(-1)))",
        Value::Int(1),
    ),
    ("Max(Integer(1), Add(Symbol('s0', positive=True, integer=True), Integer(-2)))", Value::Int(2)),
    (
        "Max(Integer(1), TruncToInt(Mul(Float('1.5', precision=53), ToFloat(Symbol('s0', positive=True, integer=True)))))",
        Value::Int(6),
    ),
    ("Max(Symbol('s17', positive=True, integer=True), Symbol('s77', positive=True, integer=True))", Value::Int(10)),
    (
        "Min(Mul(Integer(8), Symbol('s27', positive=True, integer=True)), Mul(Integer(8), Symbol('s27', positive=True, integer=True), Symbol('s77', positive=True, integer=True)))",
        Value::Int(72),
    ),
    ("Min(Symbol('s17', positive=True, integer=True), Symbol('s77', positive=True, integer=True))", Value::Int(4)),
    ("Mod(Symbol('s77', positive=True, integer=True), Integer(4))", Value::Int(0)),
    (
        "Mul(Add(FloorDiv(Add(Symbol('s0', positive=True, integer=True), Integer(-1)), Integer(2)), Integer(1)), Add(FloorDiv(Add(Symbol('s53', positive=True, integer=True), Integer(-1)), Integer(2)), Integer(1)))",
        Value::Int(14),
    ),
    ("Mul(Float('0.5', precision=53), ToFloat(Symbol('s77', positive=True, integer=True)))", Value::Float(2.0)),
    (
        "Mul(Integer(-1), FloorDiv(Mul(Integer(-1), Symbol('s17', positive=True, integer=True)), Integer(3)))",
        Value::Int(4),
    ),
    ("Mul(Integer(-1), Symbol('s17', positive=True, integer=True))", Value::Int(-10)),
    (
        "Mul(Integer(10), Max(Integer(1), Add(FloorDiv(Add(Symbol('s0', positive=True, integer=True), Integer(-3)), Integer(2)), Integer(1))), Max(Integer(1), Add(FloorDiv(Add(Symbol('s53', positive=True, integer=True), Integer(-3)), Integer(2)), Integer(1))))",
        Value::Int(60),
    ),
    (
        "Mul(Integer(10), Max(Integer(1), Add(Symbol('s0', positive=True, integer=True), Integer(-2))), Max(Integer(1), Add(Symbol('s53', positive=True, integer=True), Integer(-2))))",
        Value::Int(220),
    ),
    ("Mul(Integer(2), Pow(Symbol('s27', positive=True, integer=True), Integer(2)))", Value::Int(162)),
    (
        "Mul(Integer(2), Symbol('s0', positive=True, integer=True), Symbol('s53', positive=True, integer=True))",
        Value::Int(104),
    ),
    (
        "Mul(Max(Integer(1), Add(FloorDiv(Add(Symbol('s0', positive=True, integer=True), Integer(-3)), Integer(2)), Integer(-1))), Max(Integer(1), Add(FloorDiv(Add(Symbol('s53', positive=True, integer=True), Integer(-3)), Integer(2)), Integer(-1))))",
        Value::Int(4),
    ),
    (
        "Mul(Max(Integer(1), Add(Symbol('s0', positive=True, integer=True), Integer(-2))), Max(Integer(1), Add(Symbol('s53', positive=True, integer=True), Integer(-2))))",
        Value::Int(22),
    ),
    (
        "Mul(Max(Integer(1), TruncToInt(Mul(Float('1.5', precision=53), ToFloat(Symbol('s0', positive=True, integer=True))))), Max(Integer(1), TruncToInt(Mul(Float('1.5', precision=53), ToFloat(Symbol('s53', positive=True, integer=True))))))",
        Value::Int(114),
    ),
    ("Mul(Symbol('s0', positive=True, integer=True), Symbol('s53', positive=True, integer=True))", Value::Int(52)),
    (
        "Pow(Add(Symbol('s17', positive=True, integer=True), Symbol('s77', positive=True, integer=True)), Integer(2))",
        Value::Int(196),
    ),
    ("Pow(Symbol('s27', positive=True, integer=True), Integer(2))", Value::Int(81)),
    ("StrictGreaterThan(Symbol('s77', positive=True, integer=True), Integer(4))", Value::Bool(false)),
    ("StrictLessThan(Symbol('u0', integer=True), Integer(9))", Value::Bool(true)),
    ("Symbol('s0', positive=True, integer=True)", Value::Int(4)),
    ("Symbol('s86', integer=True)", Value::Int(13)),
    ("ToFloat(Symbol('s77', positive=True, integer=True))", Value::Float(4.0)),
    ("TruncToInt(Mul(Float('0.5', precision=53), ToFloat(Symbol('s77', positive=True, integer=True))))", Value::Int(2)),
    ("TruncToInt(Mul(Float('1.5', precision=53), ToFloat(Symbol('s0', positive=True, integer=True))))", Value::Int(6)),
    (
        "Add(Max(Symbol('s17', positive=True, integer=True), Symbol('s77', positive=True, integer=True)), Integer(1))",
        Value::Int(11),
    ),
    (
        "Equality(Mod(Add(Symbol('s77', positive=True, integer=True), Symbol('s94', positive=True, integer=True)), Integer(4)), Integer(0))",
        Value::Bool(false),
    ),
    (
        "LessThan(Min(Symbol('s17', positive=True, integer=True), Symbol('s77', positive=True, integer=True)), Add(Max(Symbol('s17', positive=True, integer=True), Symbol('s77', positive=True, integer=True)), Integer(1)))",
        Value::Bool(true),
    ),
    (
        "Mod(Add(Symbol('s77', positive=True, integer=True), Symbol('s94', positive=True, integer=True)), Integer(4))",
        Value::Int(2),
    ),
    ("FloorDiv(Add(Symbol('u1', integer=True), Integer(2)), Integer(3))", Value::Int(2)),
    ("Add(PythonMod(Symbol('u0', integer=True), Integer(7)), Integer(1))", Value::Int(5)),
    ("Max(Integer(5), Symbol('u0', integer=True))", Value::Int(5)),
    (
        "Piecewise(ExprCondPair(Symbol('s77', integer=True, positive=True), StrictGreaterThan(Symbol('s77', positive=True, integer=True), Integer(5))), ExprCondPair(Symbol('s17', positive=True, integer=True), true))",
        Value::Int(10),
    ),
    (
        "TruncToInt(Mul(Float('1.7', precision=53), ToFloat(Symbol('s53', positive=True, integer=True))))",
        Value::Int(22),
    ),
];

/// `expr_str` of torch 2.5, keys of `range_constraints`, shapes in printed programs.
const INFIX: &[(&str, Value)] = &[
    ("16*s0", Value::Int(64)),
    ("3*s0 + 4", Value::Int(16)),
    ("8*s0 + 8", Value::Int(40)),
    ("s0", Value::Int(4)),
    ("s0 + 1", Value::Int(5)),
    ("s0 > 4", Value::Bool(false)),
    ("u1 >= 2", Value::Bool(true)),
    ("((s0 - 3)//2) + 1", Value::Int(1)),
    ("TruncToInt(1.7*ToFloat(s0))", Value::Int(6)),
    ("Mod(s0, 4) + 2", Value::Int(2)),
    ("PythonMod(u1, 7) + 1", Value::Int(6)),
    ("Max(5, u1)", Value::Int(5)),
    ("((u1 + 2)//3)", Value::Int(2)),
    ("((s0**2 + 2*s0*s1 + s1**2)//7)", Value::Int(11)),
    ("s77 + 1", Value::Int(5)),
    ("3*s77 + 4", Value::Int(16)),
    ("2*s74", Value::Int(24)),
    ("3*s25", Value::Int(21)),
    ("2*s46", Value::Int(12)),
    ("Eq(Mod(s77, 4), 0)", Value::Bool(true)),
    ("Ne(s0, 1)", Value::Bool(true)),
    ("-(((-s17)//3))", Value::Int(4)),
    ("Max(s17, s77) - Min(s17, s77) + 1", Value::Int(7)),
    ("Piecewise((s0, s0 > 5), (s1, True))", Value::Int(5)),
    ("(Mod(s77, 4)) + 2", Value::Int(2)),
];

/// `guards_code` of torch 2.15.
const GUARDS: &[(&str, bool)] = &[
    ("(((-1) + (((-3) + L['x'].size()[3]) // 2))*((-16) + 16*(((-3) + L['x'].size()[2]) // 2))) != 0", true),
    ("(((-96) + 32*(((-3) + L['x'].size()[2]) // 2))*((-3) + (((-3) + L['x'].size()[3]) // 2))) != 0", true),
    ("((-1) + (((-3) + L['x'].size()[2]) // 2)) != 1", true),
    ("((-1) + (((-3) + L['x'].size()[3]) // 2))*((-16) + 16*(((-3) + L['x'].size()[2]) // 2)) >= 2", true),
    ("((-12) + 4*(((-3) + L['x'].size()[2]) // 2))*((-3) + (((-3) + L['x'].size()[3]) // 2)) >= 2", true),
    ("((-2) + L['x'].size()[2]) != 1", true),
    ("((L['x'].size()[0] + L['y'].size()[1]) % 4) == 0", false),
    ("(-1) + (((-3) + L['x'].size()[2]) // 2) >= 3", true),
    ("(-1)*(((-1)*L['y'].size()[0]) // 3) >= 2", true),
    ("(1 + (((-1) + L['x'].size()[2]) // 2)) != 1", true),
    ("(1 + (((-1) + L['x'].size()[3]) // 2))*(1 + (((-1) + L['x'].size()[2]) // 2)) >= 2", true),
    (
        "(1 + ((-1)*torch.sym_min(L['y'].size()[0], L['x'].size()[0])) + torch.sym_max(L['y'].size()[0], L['x'].size()[0])) != 1",
        false,
    ),
    ("(L['x'].size()[0] % (L['x'].size()[0] // 2)) == 0", false),
    ("(L['x'].size()[0] // (L['x'].size()[0] // 2)) != 1", true),
    ("(L['x'].size()[0] // (L['x'].size()[0] // 2)) == 2", true),
    ("(L['x'].size()[0] // 2) != L['x'].size()[0]", true),
    ("(L['x'].size()[1]*L['x'].size()[0]) == (6*(L['x'].size()[1] // 3)*(L['x'].size()[0] // 2))", false),
    (
        "(torch.sym_max(1, (-1) + (((-3) + L['x'].size()[3]) // 2))*torch.sym_max(1, (-1) + (((-3) + L['x'].size()[2]) // 2))) != 1",
        true,
    ),
    ("(torch.sym_max(1, (-2) + L['x'].size()[3])*torch.sym_max(1, (-2) + L['x'].size()[2])) != 1", true),
    ("1 + (((-3) + L['x'].size()[2]) // 2) >= 3", true),
    (
        "1 + ((-1)*torch.sym_min(L['y'].size()[0], L['x'].size()[0])) + torch.sym_max(L['y'].size()[0], L['x'].size()[0]) >= 0",
        true,
    ),
    ("2*(((-1) + L['x'].size()[2]) // 2) < L['x'].size()[2]", true),
    ("2*(((-3) + L['x'].size()[2]) // 2) < (-2) + L['x'].size()[2]", true),
    ("L['a'].size()[1] == L['b'].size()[0]", false),
    ("L['args']['others'][0].size()[0] == (2*L['args']['x'].size()[0])", false),
    ("L['args']['x'].size()[1] == (1 + L['args']['x'].size()[0])", false),
    ("L['n'] >= 0", true),
    ("L['x'].size()[0] == ((-1) + L['y'].size()[0])", false),
    ("L['x'].size()[0] == 4", false),
    ("L['x'].size()[1] == L['y'].size()[0]", false),
    ("L['x'].size()[2] >= 3", true),
    ("L['x2'].size()[0] == L['x1'].size()[0]", true),
    ("L['y'].size()[0] == (2*L['x'].size()[0])", false),
    ("L['y'].size()[0] == (4 + 3*L['x'].size()[0])", false),
    ("L['y'].size()[0] >= 16", false),
    ("torch.sym_min(8*L['x'].size()[1], 8*L['x'].size()[1]*L['x'].size()[0]) == (8*L['x'].size()[1])", true),
];

fn number(symbol: &str) -> Option<i64> {
    symbol.trim_start_matches(char::is_alphabetic).parse::<i64>().ok().map(|n| n % 11 + 4)
}

fn guard(text: &str) -> Result<Expr, String> {
    guards::parse(text, &mut |path| {
        let root = LeafPath { property: Property::Value, ..path.clone() };
        Ok(Expr::Int(match path.property {
            Property::Size(dim) => root.to_string().len() as i64 % 5 + 3 * dim as i64 + 6,
            Property::Value => 7,
        }))
    })
}

#[test]
fn srepr_of_archives() {
    for (text, value) in SREPR {
        let e = parse_srepr(text).unwrap();
        assert_eq!(e.eval(&number), Some(*value), "{text}");
        assert_eq!(parse(text), Ok(e.clone()));
        assert_eq!(parse(&e.to_string()), Ok(e), "{text}");
        assert!(parse_infix(text).is_err(), "{text}");
    }
}

#[test]
fn infix_of_archives() {
    for (text, value) in INFIX {
        let e = parse_infix(text).unwrap();
        assert_eq!(e.eval(&number), Some(*value), "{text}");
        assert_eq!(parse(text), Ok(e.clone()));
        assert_eq!(parse(&e.to_string()), Ok(e), "{text}");
    }
}

#[test]
fn guards_of_archives() {
    for (text, holds) in GUARDS {
        assert_eq!(guard(text), Ok(Expr::Bool(*holds)), "{text}");
    }
}

#[test]
fn both_notations_are_one_expression() {
    for (srepr, infix) in [
        ("Mul(Integer(4), Symbol('s77', positive=True, integer=True))", "4*s77"),
        ("Add(Symbol('s77', integer=True), Mul(Integer(-1), Symbol('s17')))", "s77 - s17"),
        ("Pow(Add(Symbol('s0'), Symbol('s1')), Integer(2))", "s0**2 + 2*s0*s1 + s1**2"),
        ("Mul(Float('0.5', precision=53), ToFloat(Symbol('s7')))", "ToFloat(s7)*0.5"),
        ("GreaterThan(Symbol('u0', integer=True), Integer(2))", "u0 >= 2"),
        ("And(Equality(Symbol('s0'), Integer(2)), Not(Equality(Symbol('s1'), Integer(2))))", "Eq(s0, 2) & Ne(s1, 2)"),
        ("CleanDiv(Symbol('s0'), Integer(2))", "(s0//2)"),
        ("ModularIndexing(Symbol('s0'), Integer(2), Integer(3))", "Mod((s0//2), 3)"),
        ("LShift(Symbol('s0'), Integer(3))", "8*s0"),
    ] {
        assert_eq!(parse(srepr), parse(infix), "{srepr}");
        assert!(parse(srepr).is_ok(), "{srepr}");
    }
}

#[test]
fn printed_as_torch_prints() {
    // Range constraints and shapes of printed programs.
    for text in [
        "s77 + 1",
        "3*s77 + 4",
        "2*s74",
        "s77 - 1",
        "s17*s77 - 1",
        "s17 + s77",
        "8*s27*s77",
        "2*s77 - 2",
        "TruncToInt(0.5*ToFloat(s77)) + 1",
        "TruncToInt(1.5*ToFloat(s53))",
        "(((s53 - 3)//2)) + 1",
        "(((s0 - 3)//2)) - 3",
        "((s77//2)) + 1",
        "-(((-s17)//3))",
        "(Mod(s77, 4)) + 2",
        "Max(s17, s77) - Min(s17, s77) + 1",
        "((s0**2 + 2*s0*s1 + s1**2)//7)",
        "Eq(Mod(s77, 4), 0)",
        "u0 <= 8",
        "(s1 < 3) & (s0 > 4)",
    ] {
        assert_eq!(parse_infix(text).unwrap().to_string(), text);
    }
}

#[test]
fn python_precedence() {
    for (text, value) in [
        ("-2**2", -4),
        ("2**3**2", 512),
        ("7 - 2 - 1", 4),
        ("-7 // 2", -4),
        ("-7 % 4", 1),
        ("2 * 7 // 4 * 3", 9),
        ("7 // 2 * 2 % 4", 2),
        ("1 + 2 * 3 - 4", 3),
        ("- - 3", 3),
        ("1 << 2 + 1", 8),
    ] {
        assert_eq!(parse_infix(text), Ok(Expr::Int(value)), "{text}");
    }
    for (text, holds) in [
        ("1 < 2 < 3", true),
        ("1 < 3 < 2", false),
        ("not 1 == 2", true),
        ("1 == 2 or 3 == 3 and 2 == 2", true),
        ("not (1 == 1 and 2 == 3)", true),
        ("(3 if 1 == 2 else 5) == 5", true),
        ("math.trunc(float(7) / 2) == 3", true),
        ("torch.sym_not(1 == 2)", true),
        ("max(1, 2) + min(1, 2) == 3", true),
    ] {
        assert_eq!(guard(text), Ok(Expr::Bool(holds)), "{text}");
    }
}

#[test]
fn leaves_of_guards() {
    let mut seen = Vec::new();
    let text = "L['args']['others'][12].size()[3] == L[\"größe\"] * L['x'].size()[0]";
    let e = guards::parse(text, &mut |path| {
        seen.push(path.clone());
        Ok(Expr::symbol(&format!("s{}", seen.len())))
    });
    assert_eq!(e, parse_infix("Eq(s1, s2*s3)"));
    assert_eq!(seen[0].steps, [Step::Key("others".to_owned()), Step::Index(12)]);
    assert_eq!(seen[0].property, Property::Size(3));
    assert_eq!(seen[0].to_string(), "L['args']['others'][12].size()[3]");
    assert_eq!((&*seen[1].argument, seen[1].property), ("größe", Property::Value));
    let refused = guards::parse("L['x'] == 1", &mut |path| Err(format!("no input {path}")));
    assert_eq!(refused, Err("cannot read `L['x'] == 1`: no input L['x']".to_owned()));
}

#[test]
fn other_guards_are_refused() {
    for text in [
        "",
        "L['x'].size()[0]",
        "L['x'].stride()[0] == 1",
        "L['x'].storage_offset() == 0",
        "L['x'].size() == 1",
        "L['x'].size()[-1] == 1",
        "L['x'].size()[0].real == 1",
        "L['x'].dtype == 3",
        "L[0] == 1",
        "L['x'][y] == 1",
        "L == 1",
        "s0 == 1",
        "Symbol('s0') == 1",
        "L['x'] is None",
        "L['x'] == 'text'",
        "L['x'] in (1, 2)",
        "hasattr(L['x'], 'y')",
        "__import__('os').system('true')",
        "(lambda: 1)() == 1",
        "L['x'].size()[0] == 1; 1",
        "L['x'] == 1 and",
        "L['a\\'b'] == 1",
        "1 + (1 == 1) == 2",
        "not 3",
    ] {
        assert!(guard(text).is_err(), "{text}");
    }
}

#[test]
fn other_expressions_are_refused() {
    for text in [
        "",
        "s0 +",
        "s0 s1",
        "(s0",
        "s0)",
        "s0 + True",
        "Max()",
        "Mod(s0)",
        "Eq(s0, True)",
        "And(s0, s1)",
        "(s0/2)//3",
        "1_000",
        "s0**-1",
        "9223372036854775808",
        "-9223372036854775809",
        "1e400",
        "oo",
        "int_oo",
        "fn",
        "s0.real",
        "s\u{e9}0",
        "Symbol('s0')+1",
        "Symbol('s0; drop')",
        "Symbol('self')",
        "Symbol(s0)",
        "Integer(1.5)",
        "Integer(99999999999999999999)",
        "Float('inf', precision=53)",
        "Float('x', precision=53)",
        "Rational(1, 2) + Integer(1)",
        "Add(Integer(1), s0)",
        "Add(Integer(1) Integer(2))",
        "Piecewise(ExprCondPair(Integer(1), Equality(Symbol('s0'), Integer(2))))",
        "__import__('os')",
        "eval(s0)",
        "Add(Symbol('s0', positive=__import__), Integer(1))extra",
    ] {
        let fault = parse(text).expect_err(text);
        assert!(fault.starts_with("cannot read `"), "{fault}");
    }
}

#[test]
fn hostile_texts_end_quickly() {
    let nested = |n: usize| format!("{}s0{}", "(".repeat(n), ")".repeat(n));
    assert_eq!(parse(&nested(90)), Ok(Expr::symbol("s0")));
    assert!(parse(&nested(101)).unwrap_err().contains("nested deeper"));
    let megabyte = "(".repeat(1 << 20);
    let fault = parse(&megabyte).unwrap_err();
    assert!(fault.contains("longer than") && fault.len() < 1000);
    for text in [
        "-".repeat(16_000) + "s0",
        "s0**".repeat(4_000) + "s0",
        "s0//".repeat(4_000) + "s1",
        "Max(1,".repeat(2_600),
        "Add(".repeat(4_000),
        "not ".repeat(4_000) + "1 == 1",
        (0..90).fold("s0".to_owned(), |e, _| format!("Max(({e} + 1)*(s1 + 1), 1)")),
        (0..90).fold("s0".to_owned(), |e, _| format!("({e} + (s0//7))*(s1 + s2 + s3)")),
        (0..1_500).map(|i| format!("(s{i} + 2)")).collect::<Vec<_>>().join("*"),
    ] {
        assert!(parse_infix(&text).is_err());
    }
    let sum = (0..2_000).map(|i| format!("s{i}")).collect::<Vec<_>>().join(" + ");
    assert_eq!(parse(&sum).unwrap().symbols().len(), 2_000);
    let piecewise = "Piecewise(".to_owned() + &"(s0, s0 > 1), ".repeat(1_000) + "(s1, True))";
    assert!(parse(&piecewise).is_err());
}
