//! What is wrong with the JSON texts.

use crate::{Case, LEGACY, RAW, case};
use exported_tests::zip::Zip;

const PROGRAM: &str = "models/model.json";
const TABLE: &str = "model_weights_config.json";

fn with_program(text: impl Into<Vec<u8>>) -> Vec<u8> {
    Zip::open(RAW).set(PROGRAM, text).bytes()
}

fn program(from: &str, to: &str) -> Vec<u8> {
    Zip::open(RAW).replace(PROGRAM, from, to).bytes()
}

fn table(from: &str, to: &str) -> Vec<u8> {
    Zip::open(RAW).replace(TABLE, from, to).bytes()
}

pub fn cases() -> Vec<Case> {
    let mut cases = texts();
    cases.extend(values());
    cases.extend(tables());
    cases
}

/// Texts that are no program at all.
fn texts() -> Vec<Case> {
    let text = String::from_utf8(Zip::open(RAW).member(PROGRAM).clone()).expect("UTF-8");
    let bombs = [
        ("open brackets", "[".repeat(1_000_000), "recursion limit"),
        ("open objects", "{\"a\":".repeat(1_000_000), "recursion limit"),
        ("ten million lists", format!("[{}[]]", "[],".repeat(10_000_000)), "more than 96 MiB"),
        (
            "ten million nodes",
            text.replacen("\"nodes\": [", &format!("\"nodes\": [{}", "{},".repeat(10_000_000)), 1),
            "MiB",
        ),
        (
            "a million faults",
            text.replacen("\"nodes\": [", &format!("\"nodes\": [{}", "{},".repeat(500_000)), 1),
            "`target`",
        ),
    ];
    let mut cases: Vec<Case> =
        bombs.into_iter().map(|(name, text, words)| case(name, with_program(text), words)).collect();
    cases.extend([
        case("an empty program", with_program(""), "not valid JSON"),
        case("null", with_program("null"), "expected an object, found `null`"),
        case("an empty object", with_program("{}"), "`schema_version` is missing"),
        case("half a program", with_program(&text[..text.len() / 2]), "not valid JSON"),
        case("two programs in one", with_program(text.repeat(2)), "trailing characters"),
        case("a program that is not UTF-8", with_program([&text.as_bytes()[..50], b"\xff"].concat()), "not UTF-8"),
        case("a key twice", program("\"verifiers\"", "\"torch_version\": \"1\", \"verifiers\""), "occurs twice"),
        case("format 9", program("\"major\": 8", "\"major\": 9"), "format version 9.20"),
        case("format 5", program("\"major\": 8", "\"major\": 5"), "export the model again"),
        case("format 2^70", program("\"major\": 8", "\"major\": 1180591620717411303424"), "an integer of 64 bits"),
        case("no nodes", program("\"nodes\"", "\"edges\""), "`nodes` is missing"),
        case("bare words nobody writes", program("\"as_float\": 1.0", "\"as_float\": -NaN"), "not valid JSON"),
        case(
            "a 2.5 program without graph",
            Zip::open(LEGACY).replace("program.json", "\"graph\"", "\"graf\"").bytes(),
            "`graph`",
        ),
    ]);
    cases
}

/// Values of the wrong form.
fn values() -> Vec<Case> {
    let deep = format!("{}1{}", "{\"as_string_to_argument\": {\"k\": ".repeat(200), "}}".repeat(200));
    let nested = "[".repeat(200);
    [
        ("a list for a graph", "\"graph\": {", "\"graph\": [], \"x\": {", "`graph_module.graph` of the program"),
        ("a text for nodes", "\"nodes\": [", "\"nodes\": \"x\", \"x\": [", "`graph_module.graph.nodes`"),
        ("a number for a target", "\"torch.ops.aten.mul.Tensor\"", "7", "`graph_module.graph.nodes[1].target`"),
        ("a text for a number", "{\"as_float\": 1.0}", "{\"as_float\": \"one\"}", "nodes[4].inputs[1].arg.as_float"),
        (
            "an unknown argument",
            "{\"as_float\": 1.0}",
            "{\"as_quaternion\": 1.0}",
            "`as_quaternion` is no kind of argument",
        ),
        ("no argument", "{\"as_float\": 1.0}", "{}", "0 keys"),
        ("two arguments in one", "{\"as_float\": 1.0}", "{\"as_float\": 1.0, \"as_int\": 1}", "2 keys"),
        ("arguments in arguments", "{\"as_float\": 1.0}", &deep, "recursion limit"),
        ("an integer of 65 bits", "{\"as_float\": 1.0}", "{\"as_int\": 18446744073709551616}", "an integer of 64 bits"),
        ("a float for an integer", "{\"as_float\": 1.0}", "{\"as_int\": 1.0}", "found `1.0`"),
        ("an unknown element type", "\"dtype\": 7", "\"dtype\": 77", "77 is no element type"),
        ("a negative element type", "\"dtype\": 7", "\"dtype\": -1", "-1 is no element type"),
        ("an unknown layout", "\"layout\": 7", "\"layout\": 8", "8 is no layout"),
        ("a size without value", "\"sizes\": []", "\"sizes\": [null]", "sizes[0]"),
        ("an unknown kind", "\"kind\": 1", "\"kind\": 3", "3 is no argument kind"),
        ("an unknown input", "{\"parameter\":", "{\"hyperparameter\":", "`hyperparameter` is no kind of input"),
        ("an unknown output", "{\"user_output\":", "{\"user_wish\":", "`user_wish` is no kind of output"),
        (
            "an input too many",
            "\"inputs\": [",
            "\"inputs\": [{\"as_none\": true}, ",
            "6 inputs, but the signature describes 5",
        ),
        (
            "an output too many",
            "\"outputs\": [",
            "\"outputs\": [{\"as_none\": true}, ",
            "2 outputs, but the signature describes 1",
        ),
        ("a tree spec that is no JSON", "\"[1, {", "\"[1, (", "tree spec is not valid JSON"),
        ("a tree spec of version 2", "\"[1, {", "\"[2, {", "tree spec version `2`"),
        ("a tree spec without end", "\"[1, {", &format!("\"{nested}1, {{"), "tree spec is not valid JSON"),
        ("a dict without keys", "\\\"context\\\": \\\"[]\\\"", "\\\"context\\\": \\\"[1]\\\"", "whose keys are"),
        (
            "a range without bounds",
            "\"range_constraints\": {",
            "\"range_constraints\": {\"s0\": [2, 3]",
            "range_constraints.s0",
        ),
        ("metadata that is no text", "\"stack_trace\": \"", "\"number\": 1, \"stack_trace\": \"", "metadata.number"),
    ]
    .into_iter()
    .map(|(name, from, to, words)| case(name, program(from, to), words))
    .collect()
}

/// Weights tables that are wrong.
fn tables() -> Vec<Case> {
    let huge = "\"sizes\": [{\"as_int\": 4611686018427387904}, {\"as_int\": 4}], \"requires_grad\": true";
    let expanded = "\"sizes\": [{\"as_int\": 1099511627776}], \"requires_grad\": true";
    let symbolic = "\"sizes\": [{\"as_expr\": {\"expr_str\": \"s0\", \"hint\": null}}], \"requires_grad\": true";
    let sizes = "\"sizes\": [], \"requires_grad\": true";
    let strides = |file: Vec<u8>, to: &str| Zip::open(&file).replace(TABLE, "\"strides\": []", to).bytes();
    let zero = "\"strides\": [{\"as_int\": 0}]";
    let zeros = "\"strides\": [{\"as_int\": 0}, {\"as_int\": 0}]";
    vec![
        case("an empty table", Zip::open(RAW).set(TABLE, "").bytes(), "not valid JSON"),
        case("a table without config", Zip::open(RAW).set(TABLE, "{}").bytes(), "`config` is missing"),
        case(
            "a table of a list",
            Zip::open(RAW).set(TABLE, "{\"config\": []}").bytes(),
            "expected an object, found a list",
        ),
        case("a path that is a number", table("\"weight_0\"", "0"), "`config.my_parameter.path_name` in member"),
        case("a path out of the archive", table("\"weight_0\"", "\"../../../etc/passwd\""), "no member"),
        case("a pickled weight", table("\"use_pickle\": false", "\"use_pickle\": true"), "pickled Python object"),
        case(
            "a weight without type",
            table("\"tensor_meta\": {", "\"tensor_meta\": null, \"x\": {"),
            "pickled Python object",
        ),
        case("a sparse weight", table("\"layout\": 7", "\"layout\": 2"), "only strided tensors"),
        case("a weight of unknown type", table("\"dtype\": 7", "\"dtype\": 0"), "unknown element type"),
        case("a weight of a future type", table("\"dtype\": 7", "\"dtype\": 1000"), "1000 is no element type"),
        case("a larger weight", table("\"dtype\": 7", "\"dtype\": 8"), "need 8 bytes, but the storage has 4"),
        case("a weight twice", table("\"my_buffer1\"", "\"my_parameter\""), "`my_parameter` occurs twice"),
        case("a size that overflows", strides(table(sizes, huge), zeros), "overflow"),
        case("an expanded weight of 4 TB", strides(table(sizes, expanded), zero), "further beyond their storages"),
        case("a symbolic weight", strides(table(sizes, symbolic), zero), "symbolic size `s0`"),
        case("sizes without strides", table(sizes, expanded), "1 sizes (at most 64) and 0 strides"),
        case(
            "a negative offset",
            table("\"storage_offset\": {\"as_int\": 0}", "\"storage_offset\": {\"as_int\": -1}"),
            "-1 is not",
        ),
    ]
}
