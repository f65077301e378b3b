//! What is wrong with the meaning of a well-formed program.

use crate::{Case, RAW, STATELESS, case};
use exported_tests::zip::Zip;

const PROGRAM: &str = "models/model.json";
const TRAINING: [&[u8]; 2] = [
    include_bytes!("../../fixtures/refused/batch_norm_in_training.pt2"),
    include_bytes!("../../fixtures/refused/dropout_in_training.pt2"),
];

/// `sin(x) + cos(y)` with every occurrence of a text replaced.
fn sin_cos(changes: &[(&str, &str)]) -> Vec<u8> {
    changed(STATELESS[2], changes)
}

fn changed(file: &[u8], changes: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = Zip::open(file);
    let mut text = String::from_utf8(zip.member(PROGRAM).clone()).expect("UTF-8");
    for (from, to) in changes {
        assert!(text.contains(from), "`{from}` is not in the program");
        text = text.replace(from, to);
    }
    zip.set(PROGRAM, text).bytes()
}

/// With rows of a symbolic number, and bounds for it.
fn symbolic(expression: &str, range: &str) -> Vec<u8> {
    let size = format!("\"sizes\": [{{\"as_expr\": {{\"expr_str\": {expression:?}, \"hint\": null}}}}");
    let ranges = format!("\"range_constraints\": {{{range}}}");
    sin_cos(&[("\"sizes\": [{\"as_int\": 10}", &size), ("\"range_constraints\": {}", &ranges)])
}

fn guarded(guard: &str) -> Vec<u8> {
    let guards = format!("\"guards_code\": [{guard:?}]");
    sin_cos(&[("\"guards_code\": []", &guards)])
}

pub fn cases() -> Vec<Case> {
    let mut cases = names();
    cases.extend(expressions());
    cases.extend(shapes());
    cases
}

/// Names that mean nothing, two things, or themselves.
fn names() -> Vec<Case> {
    let argument = "{\"name\": \"self\", \"arg\": {\"as_tensor\": {\"name\": \"x\"}}";
    let sin_of = |arg: &str| sin_cos(&[(argument, &format!("{{\"name\": \"self\", \"arg\": {arg}"))]);
    let output = "\"outputs\": [{\"as_tensor\": {\"name\": \"cos\"}}]";
    vec![
        case("batch norm in training mode", TRAINING[0], "batch_norm"),
        case("dropout in training mode", TRAINING[1], "training mode"),
        case(
            "a node that reads itself",
            sin_of("{\"as_tensor\": {\"name\": \"sin\"}}"),
            "`sin` is used before it is defined",
        ),
        case("nodes in a circle", sin_of("{\"as_tensor\": {\"name\": \"add\"}}"), "`add` is used before it is defined"),
        case("a value nobody makes", sin_of("{\"as_tensor\": {\"name\": \"z\"}}"), "`z` is used before it is defined"),
        case(
            "a value made twice",
            sin_cos(&[(output, "\"outputs\": [{\"as_tensor\": {\"name\": \"sin\"}}]")]),
            "`cos` is used before",
        ),
        case(
            "an input made again",
            sin_cos(&[(output, "\"outputs\": [{\"as_tensor\": {\"name\": \"x\"}}]")]),
            "`cos` is used before",
        ),
        case(
            "a value without type",
            sin_cos(&[("\"sin\": {\"dtype\"", "\"sine\": {\"dtype\"")]),
            "`sin` has no recorded type",
        ),
        case(
            "an output nobody makes",
            sin_cos(&[(
                "\"outputs\": [{\"as_tensor\": {\"name\": \"add\"}}], \"nodes\"",
                "\"outputs\": [{\"as_tensor\": {\"name\": \"sum\"}}], \"nodes\"",
            )]),
            "output 0 of the graph is `sum`",
        ),
        case("an operator nobody knows", sin_cos(&[("aten.sin.default", "aten.sine.default")]), "aten.sine.default"),
        case("a target with code", sin_cos(&[("torch.ops.aten.sin.default", "os.system('ls')")]), "os.system"),
        case(
            "an argument too few",
            sin_cos(&[(
                "{\"name\": \"other\", \"arg\": {\"as_tensor\": {\"name\": \"cos\"}}, \"kind\": 1}",
                "{\"name\": \"alpha\", \"arg\": {\"as_int\": 1}, \"kind\": 1}",
            )]),
            "argument `other` is missing",
        ),
        case("an argument of the wrong kind", sin_of("{\"as_string\": \"x\"}"), "expected a tensor"),
        case("a list of tensors for a tensor", sin_of("{\"as_tensors\": [{\"name\": \"x\"}]}"), "expected a tensor"),
        case(
            "a weight that is not stored",
            changed(RAW, &[("\"buffer_name\": \"my_buffer1\"", "\"buffer_name\": \"gone\"")]),
            "gone",
        ),
        case(
            "a parameter that is not stored",
            changed(RAW, &[("\"parameter_name\": \"my_parameter\"", "\"parameter_name\": \"gone\"")]),
            "gone",
        ),
        case(
            "an input nobody describes",
            sin_cos(&[(
                "\"user_input\": {\"arg\": {\"as_tensor\": {\"name\": \"y\"}}}",
                "\"user_input\": {\"arg\": {\"as_tensor\": {\"name\": \"z\"}}}",
            )]),
            "signature describes `z`",
        ),
        case(
            "two inputs of one name",
            sin_cos(&[("{\"as_tensor\": {\"name\": \"y\"}}", "{\"as_tensor\": {\"name\": \"x\"}}")]),
            "two inputs of the graph are named `x`",
        ),
        case(
            "a result too many",
            sin_cos(&[(
                output,
                "\"outputs\": [{\"as_tensor\": {\"name\": \"cos\"}}, {\"as_tensor\": {\"name\": \"x\"}}]",
            )]),
            "names 2 results",
        ),
        case("a result too few", sin_cos(&[(output, "\"outputs\": []")]), "`cos` is used before"),
    ]
}

/// Size expressions and guards: texts that somebody must read.
fn expressions() -> Vec<Case> {
    let range = "\"s0\": {\"min_val\": 2, \"max_val\": 8}";
    let s0 = "Symbol('s0', integer=True)";
    let deep = format!("{}{s0}{}", "Add(Integer(1), ".repeat(10_000), ")".repeat(10_000));
    let wide = format!("Add({s0}{})", format!(", {s0}").repeat(100_000));
    let power = format!("{}{s0}{}", "Pow(".repeat(30), ", Integer(9))".repeat(30));
    let parentheses = format!("{}s0{}", "(".repeat(100_000), ")".repeat(100_000));
    vec![
        case("code in a size", symbolic("__import__('os').system('ls')", range), "__import__"),
        case("code in an srepr size", symbolic("Add(Symbol('s0'), eval('1'))", range), "eval"),
        case("half an expression", symbolic("Add(Symbol('s0'), ", range), "cannot read"),
        case("an unknown function", symbolic("Zeta(Symbol('s0'))", range), "Zeta"),
        case("a symbol that is a text", symbolic("Symbol(s0)", range), "cannot read"),
        case("a deep expression", symbolic(&deep, range), "cannot read"),
        case("a wide expression", symbolic(&wide, range), "cannot read"),
        case("a tower of powers", symbolic(&power, range), "do not follow"),
        case("many parentheses", symbolic(&parentheses, range), "cannot read"),
        case("a division by zero", symbolic("FloorDiv(Symbol('s0'), Integer(0))", range), "do not follow"),
        case(
            "a number of 100 digits",
            symbolic(&format!("Add(Symbol('s0'), Integer({}))", "9".repeat(100)), range),
            "cannot read",
        ),
        case("a symbol without range", symbolic(s0, "\"s1\": {\"min_val\": 2, \"max_val\": 8}"), "no upper bound"),
        case(
            "a symbol without upper bound",
            symbolic(s0, "\"s0\": {\"min_val\": 2, \"max_val\": null}"),
            "no upper bound",
        ),
        case("an empty range", symbolic(s0, "\"s0\": {\"min_val\": 8, \"max_val\": 2}"), "from 8 to 2 is empty"),
        case(
            "a range of 2^62",
            symbolic(s0, "\"s0\": {\"min_val\": 2, \"max_val\": 4611686018427387904}"),
            "no greatest size",
        ),
        case(
            "a range with code",
            symbolic(s0, "\"s0\": {\"min_val\": 2, \"max_val\": 8}, \"eval('1')\": {\"min_val\": 1, \"max_val\": 2}"),
            "eval",
        ),
        case("a guard with code", guarded("__import__('os').system('ls') == 0"), "__import__"),
        case("a guard about nothing", guarded("L['z'].size()[0] == 1"), "no argument at L['z']"),
        case("half a guard", guarded("L['x'].size()[0] =="), "cannot read"),
        case("a deep guard", guarded(&format!("{}1 == 1", "(".repeat(100_000))), "cannot read"),
    ]
}

/// Shapes and types that cannot be.
fn shapes() -> Vec<Case> {
    let rows = |n: &str| sin_cos(&[("\"sizes\": [{\"as_int\": 10}", &format!("\"sizes\": [{{\"as_int\": {n}}}"))]);
    let sin = "\"sin\": {\"dtype\": 7, \"sizes\": [{\"as_int\": 10}, {\"as_int\": 10}]";
    let x = "\"x\": {\"dtype\": 7, \"sizes\": [{\"as_int\": 10}, {\"as_int\": 10}]";
    let ranks = format!("\"sizes\": [{}{{\"as_int\": 10}}", "{\"as_int\": 1}, ".repeat(100));
    vec![
        case("negative sizes", rows("-10"), "is negative"),
        case("sizes beyond memory", rows("9223372036854775807"), "overflow"),
        case("sizes whose bytes overflow", rows("461168601842738790"), "overflow"),
        case(
            "a recorded shape that is another",
            sin_cos(&[(sin, &sin.replace("10}]", "11}]"))]),
            "`sin` is recorded as f32[10, 11]",
        ),
        case(
            "a recorded type that is another",
            sin_cos(&[(sin, &sin.replace("7,", "8,"))]),
            "`sin` is recorded as f64",
        ),
        case(
            "shapes that do not broadcast",
            sin_cos(&[(x, &x.replace("10}]", "9}]")), (sin, &sin.replace("10}]", "9}]"))]),
            "do not broadcast",
        ),
        case("hundred dims", sin_cos(&[("\"sizes\": [{\"as_int\": 10}", &ranks)]), "102 dims"),
        case("complex numbers", sin_cos(&[("\"dtype\": 7", "\"dtype\": 10")]), "complex64"),
        case("an unknown element type", sin_cos(&[("\"dtype\": 7", "\"dtype\": 0")]), "unknown"),
        case("a sparse input", sin_cos(&[("\"layout\": 7", "\"layout\": 1")]), "SparseCoo"),
        case(
            "a stored type that is another",
            changed(RAW, &[("\"b_my_buffer1\": {\"dtype\": 7", "\"b_my_buffer1\": {\"dtype\": 3")]),
            "`my_buffer1` is recorded as i16",
        ),
        case(
            "a stored shape that is another",
            changed(
                RAW,
                &[(
                    "\"b_my_buffer1\": {\"dtype\": 7, \"sizes\": []",
                    "\"b_my_buffer1\": {\"dtype\": 7, \"sizes\": [{\"as_int\": 5}]",
                )],
            ),
            "`my_buffer1` is recorded as f32[5]",
        ),
    ]
}
