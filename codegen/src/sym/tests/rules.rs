//! Single rules of the constructors, bounds and proofs, against values worked out by hand.

use super::*;

fn s(name: &str) -> Expr {
    Expr::symbol(name)
}

fn ranges(of: &[(&str, i64, i64)]) -> Ranges {
    Ranges(of.iter().map(|(s, min, max)| ((*s).into(), Interval::new(*min, *max))).collect())
}

fn read(text: &str) -> Expr {
    parse_infix(text).unwrap()
}

/// Bounds of the expression in `text`.
fn bounds(text: &str, ranges: &Ranges) -> (Option<i64>, Option<i64>) {
    let Interval { min, max } = read(text).interval(ranges);
    (min, max)
}

#[test]
fn sums_and_products_have_one_form() {
    let (a, b) = (s("s0"), s("s1"));
    assert_eq!((&a + &b) * 2, Expr::mul(2, &a) + &b * 2);
    assert_eq!(Expr::sub(&a, &a), Expr::Int(0));
    assert_eq!((&a + &b) * (&a - &b), Expr::pow(&a, 2) - Expr::pow(&b, 2));
    assert_eq!(Expr::pow(&a + 1, 2), Expr::sum([&a * &a, &a * 2, 1.into()]));
    assert_eq!(Expr::pow(&a, 0), Expr::Int(1));
    assert_eq!(Expr::pow(Expr::pow(&a, 2), 3), Expr::pow(&a, 6));
    assert_eq!(Expr::mul(&a, 0), Expr::Int(0));
    assert_eq!(a.clone() + 0, a);
}

#[test]
fn sums_that_grow_too_far_stay_products() {
    let sum = |from: usize| Expr::sum((from..from + 20).map(|i| s(&format!("s{i}"))));
    let (a, b) = (sum(100), sum(200));
    let product = Expr::mul(&a, &b);
    assert_eq!(product, Expr::Op(Func::Mul, [a.clone(), b.clone()].into()));
    assert_eq!(Expr::mul(&b, &a), product);
    assert_eq!(Expr::sub(&product, &product), Expr::Int(0));
    assert_eq!(parse_infix(&product.to_string()), Ok(product));
}

#[test]
fn overflow_leaves_the_operator() {
    let sum = Expr::add(i64::MAX, 1);
    assert_eq!(sum, Expr::Op(Func::Add, [Expr::Int(i64::MAX), Expr::Int(1)].into()));
    assert_eq!(sum.eval(&|_| None), None);
    assert_eq!(Expr::floordiv(i64::MIN, -1).eval(&|_| None), None);
    assert_eq!(Expr::modulo(i64::MIN, -1), Expr::Int(0));
    assert_eq!(Expr::neg(i64::MIN).as_int(), None);
    assert_eq!(Expr::lshift(1, 62), Expr::Int(1 << 62));
    assert_eq!(Expr::lshift(1, 63).as_int(), None);
    assert_eq!((s("s0") * i64::MAX).eval(&|_| Some(2)), None);
    assert_eq!(read("-9223372036854775808"), Expr::Int(i64::MIN));
    assert_eq!(read("s0 + -9223372036854775808").to_string(), "s0 + -9223372036854775808");
}

#[test]
fn division_simplifies_where_it_is_exact() {
    let a = s("s0");
    assert_eq!(Expr::floordiv(&a * 4, 4), a);
    assert_eq!(Expr::floordiv(&a * 4 + 7, 4), &a + 1);
    assert_eq!(Expr::floordiv(&a * 4 - 7, 4), &a - 2);
    assert_eq!(Expr::floordiv(&a * 2 + 1, 4), Expr::floordiv(&a, 2));
    assert_eq!(Expr::floordiv(Expr::floordiv(&a, 2), 3), Expr::floordiv(&a, 6));
    assert_eq!(Expr::floordiv(&a, -2), Expr::floordiv(Expr::neg(&a), 2));
    assert_eq!(Expr::floordiv(-7, 2), Expr::Int(-4));
    assert_eq!(Expr::modulo(&a * 4 + 6, 2), Expr::Int(0));
    assert_eq!(Expr::modulo(&a * 4 + 7, 2), Expr::Int(1));
    assert_eq!(Expr::modulo(&a + 9, 4), Expr::modulo(&a + 1, 4));
    assert_eq!(Expr::modulo(&a * 2, 4), Expr::modulo(&a, 2) * 2);
    assert_eq!(Expr::modulo(Expr::modulo(&a, 12), 4), Expr::modulo(&a, 4));
    assert_eq!(Expr::modulo(-7, 4), Expr::Int(1));
    assert_eq!(Expr::modulo(7, -4), Expr::Int(-1));
    // By zero the quotient has no value, and may be given one.
    assert_eq!(Expr::floordiv(&a * 2, &a), Expr::Int(2));
    assert_eq!(Expr::floordiv(&a * s("s1") * 8, &a * 4), s("s1") * 2);
    assert_eq!(Expr::floordiv(&a, 0).eval(&|_| Some(1)), None);
}

#[test]
fn extremes_and_conditions_are_flat_sorted_and_folded() {
    let (a, b) = (s("s0"), s("s1"));
    assert_eq!(Expr::max(Expr::max(&b, 3), Expr::max(&a, 5)), read("Max(5, s0, s1)"));
    assert_eq!(Expr::max(&a, &a + 1), &a + 1);
    assert_eq!(Expr::min(&a, &a + 1), a);
    assert_eq!(Expr::gt(&a + 1, &a), Expr::Bool(true));
    assert_eq!(Expr::lt(3, &a), Expr::gt(&a, 3));
    assert_eq!(Expr::eq(&a + 1, &b), Expr::eq(&b - 1, &a));
    assert_eq!(Expr::not(Expr::le(&a, &b)), Expr::gt(&a, &b));
    assert_eq!(Expr::and(Expr::gt(&a, 1), true), Expr::gt(&a, 1));
    assert_eq!(Expr::or(Expr::gt(&a, 1), true), Expr::Bool(true));
    assert_eq!(Expr::and(Expr::gt(&a, 1), Expr::eq(&b, 1)), Expr::and(Expr::eq(&b, 1), Expr::gt(&a, 1)));
    assert_eq!(Expr::ite(Expr::gt(&a, 1), &b, &b), b);
    // NaN is neither less nor greater.
    let negated = Expr::not(Expr::lt(s("zuf0"), 1));
    assert_eq!(negated.eval_with(&|_| Some(Value::Float(f64::NAN))), Some(Value::Bool(true)));
}

#[test]
fn undecided_operands_do_not_hide_a_decision() {
    let undefined = Expr::eq(Expr::floordiv(s("s0"), s("s1")), 1);
    let guarded = Expr::and(Expr::ne(s("s1"), 0), &undefined);
    let env = |name: &str| Some(if name == "s1" { 0 } else { 5 });
    assert_eq!(undefined.eval(&env), None);
    assert_eq!(guarded.eval(&env), Some(Value::Bool(false)));
}

#[test]
fn floats_follow_f64() {
    // What torch recorded for interpolate(scale_factor=1.7).
    let e = read("TruncToInt(1.7*ToFloat(s0))");
    for (size, expected) in [(10, 17), (7, 11), (3, 5), (-3, -5)] {
        assert_eq!(e.eval(&|_| Some(size)), Some(Value::Int(expected)), "{size}");
    }
    assert_eq!(Expr::round(Expr::float(2.5)), Expr::Int(2));
    assert_eq!(Expr::floor(Expr::float(-0.5)), Expr::Int(-1));
    assert_eq!(Expr::ceil(Expr::float(-0.5)), Expr::Int(0));
    assert_eq!(Expr::trunc(Expr::float(1e300)).as_int(), None);
    assert_eq!(Expr::truediv(7, 2), Expr::float(3.5));
    assert_eq!(Expr::truediv(7, 0).eval(&|_| None), None);
    assert_eq!(Expr::sqrt(9), Expr::float(3.0));
    assert_eq!(Expr::pow(Expr::float(2.0), 3), Expr::float(8.0));
    // (0.1 + 0.2) + 0.3 is not 0.1 + (0.2 + 0.3).
    let (x, y) = (s("zuf0"), s("zuf1"));
    let left = Expr::add(Expr::add(&x, &y), Expr::float(0.3));
    let right = Expr::add(&x, Expr::add(&y, Expr::float(0.3)));
    let env = |name: &str| Some(Value::Float(if name == "zuf0" { 0.1 } else { 0.2 }));
    assert_eq!(left.eval_with(&env), Some(Value::Float(0.1 + 0.2 + 0.3)));
    assert_eq!(right.eval_with(&env), Some(Value::Float(0.1 + (0.2 + 0.3))));
    for e in [left, right, Expr::sub(&x, &y * &x), Expr::neg(&x * &y), Expr::mul(-2, &x * &y), Expr::sub(1, &x)] {
        assert_eq!(parse_infix(&e.to_string()), Ok(e));
    }
}

#[test]
fn bounds_of_the_usual_sizes() {
    let r = ranges(&[("s0", 4, 20), ("s1", 2, 5), ("u0", -3, 3)]);
    for (text, min, max) in [
        ("s0", 4, 20),
        ("3*s0 + 4", 16, 64),
        ("s0*s1", 8, 100),
        ("s0 - s1", -1, 18),
        ("((s0 - 3)//2) + 1", 1, 9),
        ("-(((-s0)//3))", 2, 7),
        ("s0//s1", 0, 10),
        ("s1//u0", -5, 5),
        ("Mod(s0, 4)", 0, 3),
        ("Mod(s1, 7)", 2, 5),
        ("Mod(s0, s1)", 0, 4),
        ("Mod(u0, 3)", 0, 2),
        ("Mod(s0, -3)", -2, 0),
        ("Max(1, s0 - 6)", 1, 14),
        ("Min(s0, s1)", 2, 5),
        ("u0**2", 0, 9),
        ("u0**3", -27, 27),
        ("TruncToInt(1.5*ToFloat(s0))", 6, 30),
        ("TruncToInt(IntTrueDiv(s0, s1))", 0, 10),
        ("CeilToInt(FloatPow(ToFloat(s0), 0.5))", 2, 5),
        ("Piecewise((s0, s0 > s1), (s1, True))", 2, 20),
    ] {
        assert_eq!(bounds(text, &r), (Some(min), Some(max)), "{text}");
    }
    let open = Ranges([("s0".into(), Interval { min: Some(2), max: None })].into());
    assert_eq!(bounds("s0*s0 + 1", &open), (Some(5), None));
    assert_eq!(bounds("-s0", &open), (None, Some(-2)));
    assert_eq!(bounds("s0//2", &open), (Some(1), None));
    assert_eq!(bounds("Mod(s0, 8)", &open), (Some(0), Some(7)));
    assert_eq!(bounds("Min(s0, 64)", &open), (Some(2), Some(64)));
    assert_eq!(bounds("10//s0", &open), (Some(0), Some(5)));
    assert_eq!(bounds("s9", &open), (None, None));
}

#[test]
fn proofs_of_the_usual_conditions() {
    let r = Ranges([("s0".into(), Interval { min: Some(4), max: None }), ("s1".into(), Interval::new(2, 5))].into());
    for (text, verdict) in [
        ("s0 + 1 > s0", Some(true)),
        ("s0 >= 4", Some(true)),
        ("s0 < 4", Some(false)),
        ("s0 > 4", None),
        ("Ne(s0, 3)", Some(true)),
        ("Eq(s1, 7)", Some(false)),
        ("Eq(2*s0, 7)", Some(false)),
        ("Ne(2*s0 + 4*s1, 7)", Some(true)),
        ("s0 > (s0//2)", Some(true)),
        ("2*((s0 - 3)//2) < s0 - 2", Some(true)),
        ("Eq(((s0 + 1)//2) - 2, ((s0 - 3)//2))", Some(true)),
        ("Max(s0, s1) - Min(s0, s1) + 1 >= 1", Some(true)),
        ("Max(s0, s1) < Min(s0, s1)", Some(false)),
        ("Eq(Max(1, s0), s0)", Some(true)),
        ("Eq(Min(8*s1, 8*s1*s0), 8*s1)", Some(true)),
        ("Max(1, s0 - 2)*Max(1, s1) >= 4", Some(true)),
        ("(s0 >= 4) & (s1 <= 5)", Some(true)),
        ("(s0 >= 9) & (s1 > 5)", Some(false)),
        ("(s0 >= 9) | (s1 <= 5)", Some(true)),
        ("~((s0 >= 9) | (s1 <= 5))", Some(false)),
        ("TruncToInt(1.5*ToFloat(s1)) >= 3", Some(true)),
        ("1.5*ToFloat(s1) > 2.5", Some(true)),
        // Only trying all four values shows these.
        ("Mod(s1*(s1 + 1), 2) < 1", Some(true)),
        ("Eq(Mod(s1, 6), 0)", Some(false)),
        ("Eq(Mod(s1, 2), 0)", None),
        ("Eq(s9, s0)", None),
    ] {
        assert_eq!(read(text).prove(&r), verdict, "{text}");
    }
}

#[test]
fn linear_forms_and_divisors() {
    let linear = |text: &str, symbol: &str| read(text).solve_linear(symbol).map(|(c, o)| (c, o.to_string()));
    assert_eq!(linear("3*s0 + 4", "s0"), Some((3, "4".to_owned())));
    assert_eq!(linear("s0", "s0"), Some((1, "0".to_owned())));
    assert_eq!(linear("s1 - 2*s0", "s0"), Some((-2, "s1".to_owned())));
    for text in ["s1", "s0*s1", "s0**2", "s0 + (s0//2)", "4", "(s0//2)"] {
        assert_eq!(linear(text, "s0"), None, "{text}");
    }
    assert!(read("4*s0 + 8").multiple_of(4));
    assert!(!read("4*s0 + 6").multiple_of(4));
    assert!(read("4*s0*Max(2*s1, 6)").multiple_of(8));
    assert!(read("0").multiple_of(5));
    assert!(!read("5").multiple_of(0));
}

#[test]
fn code_reads_like_arithmetic() {
    for (text, code) in [
        ("s77 + 1", "s77 + 1"),
        ("3*s77 - 4", "3 * s77 - 4"),
        ("s17 - 2*s77*s94", "s17 - 2 * s77 * s94"),
        ("s77**2", "s77 * s77"),
        ("-s77", "- s77"),
        ("((s53 - 3)//2) + 1", "rt :: sym :: floor_div (s53 - 3 , 2) + 1"),
        ("Eq(Mod(s77, 4), 0)", "rt :: sym :: modulo (s77 , 4) == 0"),
        ("Max(1, s0, s1)", "rt :: sym :: max (rt :: sym :: max (1 , s0) , s1)"),
        ("TruncToInt(1.7*ToFloat(s0))", "rt :: sym :: trunc (1.7 * rt :: sym :: to_float (s0))"),
        ("(s0 > 2) & (s1 < 3)", "s1 < 3 && s0 > 2"),
        ("Piecewise((s0, s0 > 5), (s1, True))", "if s0 > 5 { s0 } else { s1 }"),
        ("zuf0 < 2", "zuf0 < 2.0"),
    ] {
        assert_eq!(read(text).rust().to_string(), code);
    }
    // Whatever the name, an identifier.
    assert_eq!(Expr::symbol("fn").rust().to_string(), "symbol_666e");
}

#[test]
fn exact_quotients() {
    let divide = |a: &str, b: &str| {
        let (a, b) = (parse(a).expect("reads"), parse(b).expect("reads"));
        a.exact_div(&b).map(|q| q.to_string())
    };
    assert_eq!(divide("16*s27", "s27").as_deref(), Some("16"));
    assert_eq!(divide("24*s27*s77", "3*s77").as_deref(), Some("8*s27"));
    assert_eq!(divide("s0**2 + 2*s0*s1 + s1**2", "s0 + s1").as_deref(), Some("s0 + s1"));
    assert_eq!(divide("0", "s0").as_deref(), Some("0"));
    assert_eq!(divide("s0 + 1", "s0"), None);
    assert_eq!(divide("3*s0", "2"), None);
    assert_eq!(divide("s0", "0"), None);
}
