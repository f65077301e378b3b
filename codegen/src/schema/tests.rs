//! Programs written by hand, with what each torch version does differently.

use super::*;
use crate::diag::{Errors, Kind};

const META: &str = r#"{"dtype": 7, "sizes": [{"as_expr": {"expr_str": "s0", "hint": {"as_int": 4}}}, {"as_int": 3}],
    "requires_grad": false, "device": {"type": "cpu"}, "strides": [{"as_int": 3}, {"as_int": 1}],
    "storage_offset": {"as_int": 0}, "layout": 7}"#;

const LEAF: &str = r#"{\"type\": null, \"context\": null, \"children_spec\": []}"#;

/// A program of one node whose only argument is `arg`.
fn program(arg: &str) -> String {
    format!(
        r#"{{"graph_module": {{"graph": {{
            "inputs": [{{"as_tensor": {{"name": "x"}}}}, {{"as_int": true}}],
            "outputs": [{{"as_tensor": {{"name": "y"}}}}],
            "nodes": [{{"target": "torch.ops.aten.f.default", "inputs": [{{"name": "a", "arg": {arg}, "kind": 2}}],
                "outputs": [{{"as_tensor": {{"name": "y"}}}}], "metadata": {{"stack_trace": "a\nb"}}}}],
            "tensor_values": {{"x": {META}, "y": {META}}},
            "sym_int_values": {{"n": {{"as_expr": {{"expr_str": "u0", "hint": null}}}}}},
            "sym_bool_values": {{"b": {{"as_bool": true}}}}, "a_key_of_the_future": [1]}},
        "signature": {{
            "input_specs": [{{"user_input": {{"arg": {{"as_tensor": {{"name": "x"}}}}}}}},
                {{"constant_input": {{"name": "flag", "value": {{"as_int": true}}}}}}],
            "output_specs": [{{"buffer_mutation": {{"arg": {{"name": "y"}}, "buffer_name": "h"}}}}]}},
        "module_call_graph": [{{"fqn": "", "signature": {{"inputs": [], "outputs": [],
            "in_spec": "[1, {{\"type\": \"builtins.tuple\", \"context\": \"null\", \"children_spec\": [{LEAF}]}}]",
            "out_spec": "[1, {LEAF}]"}}}}, {{"fqn": "sub"}}]}},
        "opset_version": {{"aten": 10}},
        "range_constraints": {{"s0 + 1": {{"min_val": 2, "max_val": Infinity}}, "s0": {{"min_val": -Infinity, "max_val": 7}},
            "u0": {{"min_val": null, "max_val": null}}}},
        "schema_version": {{"major": 7, "minor": 3}}, "verifiers": ["ATEN"], "torch_version": "2.5.1"}}"#
    )
}

fn argument(arg: &str) -> Result<Argument, Errors> {
    let mut program = parse(&program(arg))?;
    Ok(program.graph_module.graph.nodes.swap_remove(0).inputs.swap_remove(0).arg)
}

fn fault(text: &str) -> String {
    parse(text).expect_err("must be refused").to_string()
}

#[test]
fn a_whole_program() {
    let program = parse(&program(r#"{"as_none": []}"#)).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(program.schema_version, SchemaVersion { major: 7, minor: 3 });
    let ranges: Vec<_> = program.range_constraints.iter().map(|(k, r)| (k.as_str(), r.min_val, r.max_val)).collect();
    assert_eq!(ranges, [("s0 + 1", Some(2), None), ("s0", None, Some(7)), ("u0", None, None)]);
    let module = &program.graph_module;
    assert_eq!(module.graph.inputs[1], Argument::Bool(true));
    let meta = &module.graph.tensor_values["x"];
    let hint = Some(ConstantValue::Int(4));
    assert_eq!(meta.sizes, [Sym::Expr(SymExpr { expr_str: "s0".into(), hint }), Sym::Value(3)]);
    assert_eq!((meta.dtype, &*meta.device.kind, meta.layout), (ScalarType::Float, "cpu", Layout::Strided));
    let InputSpec::ConstantInput { name, value } = &module.signature.input_specs[1] else { panic!("not a constant") };
    assert_eq!((&**name, value), ("flag", &ConstantValue::Bool(true)));
    let call = program.root_call().expect("a root");
    assert_eq!((&call.in_spec, &call.out_spec), (&TreeSpec::Tuple(vec![TreeSpec::Leaf]), &TreeSpec::Leaf));
    assert_eq!(module.module_call_graph[1].signature, None);
    let node = &module.graph.nodes[0];
    assert_eq!((node.label(), node.inputs[0].kind), ("y", Some(ArgumentKind::Keyword)));
    assert_eq!(node.metadata["stack_trace"], "a\nb");
}

#[test]
fn every_kind_of_argument() {
    let name = |n: &str| n.to_owned();
    let graph = r#"{"inputs": [], "outputs": [], "nodes": [], "tensor_values": {}, "sym_int_values": {}, "sym_bool_values": {}}"#;
    let subgraph = Argument::Graph(Box::new(GraphArgument { name: name("g"), graph: Graph::default() }));
    let object = CustomObjArgument { name: name("o"), class_fqn: name("C") };
    let map = [(name("k"), Argument::Int(1))].into();
    let cases = [
        (r#"{"as_none": true}"#, Argument::None),
        (r#"{"as_tensor": {"name": "x"}}"#, Argument::Tensor(name("x"))),
        (r#"{"as_tensors": [{"name": "x"}]}"#, Argument::Tensors(vec![name("x")])),
        (r#"{"as_optional_tensor": {"as_none": true}}"#, Argument::OptionalTensor(None)),
        (
            r#"{"as_optional_tensors": [{"as_none": true}, {"as_tensor": {"name": "x"}}]}"#,
            Argument::OptionalTensors(vec![None, Some(name("x"))]),
        ),
        (r#"{"as_nested_tensors": [[{"name": "x"}], []]}"#, Argument::NestedTensors(vec![vec![name("x")], vec![]])),
        (r#"{"as_int": -9223372036854775808}"#, Argument::Int(i64::MIN)),
        (r#"{"as_int": false}"#, Argument::Bool(false)),
        (r#"{"as_ints": [1, 9223372036854775807]}"#, Argument::Ints(vec![1, i64::MAX])),
        (r#"{"as_int_lists": [[1], []]}"#, Argument::IntLists(vec![vec![1], vec![]])),
        (r#"{"as_float": 1e-05}"#, Argument::Float(1e-05)),
        (r#"{"as_float": 2}"#, Argument::Float(2.0)),
        (r#"{"as_float": -Infinity}"#, Argument::Float(f64::NEG_INFINITY)),
        (r#"{"as_float": "Infinity"}"#, Argument::Float(f64::INFINITY)),
        (r#"{"as_floats": [0.1]}"#, Argument::Floats(vec![0.1])),
        (r#"{"as_float_lists": [[0.1]]}"#, Argument::FloatLists(vec![vec![0.1]])),
        (r#"{"as_complex": {"real": 1.0, "imag": -2.0}}"#, Argument::Complex { real: 1.0, imag: -2.0 }),
        (r#"{"as_string": "Infinity"}"#, Argument::String(name("Infinity"))),
        (r#"{"as_strings": ["a"]}"#, Argument::Strings(vec![name("a")])),
        (r#"{"as_bool": true}"#, Argument::Bool(true)),
        (r#"{"as_bools": [true]}"#, Argument::Bools(vec![true])),
        (r#"{"as_sym_int": {"as_name": "n"}}"#, Argument::SymInt(NameOr::Name(name("n")))),
        (
            r#"{"as_sym_ints": [{"as_name": "n"}, {"as_int": 8}]}"#,
            Argument::SymInts(vec![NameOr::Name(name("n")), NameOr::Value(8)]),
        ),
        (r#"{"as_sym_float": {"as_float": 0.5}}"#, Argument::SymFloat(NameOr::Value(0.5))),
        (r#"{"as_sym_floats": [{"as_name": "f"}]}"#, Argument::SymFloats(vec![NameOr::Name(name("f"))])),
        (r#"{"as_sym_bool": {"as_bool": true}}"#, Argument::SymBool(NameOr::Value(true))),
        (r#"{"as_sym_bools": []}"#, Argument::SymBools(vec![])),
        (r#"{"as_scalar_type": 13}"#, Argument::ScalarType(ScalarType::BFloat16)),
        (r#"{"as_memory_format": 2}"#, Argument::MemoryFormat(MemoryFormat::ChannelsLast)),
        (r#"{"as_layout": 7}"#, Argument::Layout(Layout::Strided)),
        (
            r#"{"as_device": {"type": "cuda", "index": 1}}"#,
            Argument::Device(Device { kind: name("cuda"), index: Some(1) }),
        ),
        (&format!(r#"{{"as_graph": {{"name": "g", "graph": {graph}}}}}"#), subgraph),
        (r#"{"as_custom_obj": {"name": "o", "class_fqn": "C"}}"#, Argument::CustomObj(Box::new(object))),
        (r#"{"as_operator": "aten::add"}"#, Argument::Operator(name("aten::add"))),
        (r#"{"as_string_to_argument": {"k": {"as_int": 1}}}"#, Argument::StringToArgument(map)),
    ];
    for (text, expected) in cases {
        assert_eq!(argument(text), Ok(expected), "{text}");
    }
    assert!(matches!(argument(r#"{"as_float": "NaN"}"#), Ok(Argument::Float(nan)) if nan.is_nan()));
}

#[test]
fn faults_have_a_path() {
    const AT: &str = "graph_module.graph.nodes[0].inputs[0].arg";
    for (arg, words) in [
        (r#"{"as_int": "1"}"#, "`graph_module.graph.nodes[0].inputs[0].arg.as_int`"),
        (r#"{"as_int": 1.5}"#, "found `1.5`"),
        (r#"{"as_int": 9223372036854775808}"#, "an integer of 64 bits"),
        (r#"{"as_int": 1, "as_float": 1.0}"#, "2 keys"),
        ("{}", "0 keys"),
        ("7", "expected an object, found `7`"),
        (r#"{"as_wonder": 1}"#, "`as_wonder` is no kind of argument"),
        (r#"{"as_tensor": {"nam": "x"}}"#, "key `name` is missing"),
        (r#"{"as_scalar_type": 77}"#, "77 is no element type"),
        (r#"{"as_float": "infinite"}"#, "expected a number"),
        (r#"{"as_ints": [1, null]}"#, ".as_ints[1]`"),
        (r#"{"as_sym_int": {"as_bool": true}}"#, "`as_bool`"),
    ] {
        let message = argument(arg).expect_err("must be refused").to_string();
        assert!(message.contains(words) && message.contains(AT), "{message}");
    }
    assert_eq!(argument(r#"{"as_wonder": 1}"#).expect_err("unknown").0[0].kind, Kind::Unsupported);
}

#[test]
fn all_faults_of_lists_are_reported() {
    let errors = argument(r#"{"as_ints": [1, "a", 2, "b"]}"#).expect_err("two faults");
    assert_eq!(errors.0.len(), 2, "{errors}");
    let many = format!(r#"{{"as_ints": [{}1]}}"#, "null, ".repeat(10_000));
    assert!(argument(&many).expect_err("many faults").0.len() <= 60);
}

#[test]
fn other_versions_are_refused() {
    let version = |v: &str| fault(&program(r#"{"as_none": true}"#).replace(r#"{"major": 7, "minor": 3}"#, v));
    let newer = version(r#"{"major": 9, "minor": 0}"#);
    assert!(newer.contains("9.0 (written by torch 2.5.1)") && newer.contains("newer"), "{newer}");
    assert!(version(r#"{"major": 5, "minor": 1}"#).contains("torch 2.5 or later"));
    assert!(version("1").contains("version 1.0"));
    assert!(version("\"8\"").contains("schema_version"));
}

#[test]
fn malformed_programs_are_refused() {
    let good = program(r#"{"as_none": true}"#);
    assert!(fault("{").contains("not valid JSON"));
    assert!(fault("[]").contains("expected an object"));
    assert!(fault(&good.replace("\"range_constraints\"", "\"ranges\"")).contains("`range_constraints` is missing"));
    assert!(fault(&good.replace("[1, {\\\"", "[2, {\\\"")).contains("tree spec version `2`"));
    assert!(fault(&good.replace(r#", {"as_int": true}],"#, "],")).contains("the graph has 1 inputs"));
    assert!(fault(&good.replace("\"max_val\": 7", "\"max_val\": -Infinity")).contains("max_val"));
    let deep = format!("{}{}", "{\"as_string_to_argument\": {\"k\": ".repeat(100), "}}".repeat(100));
    assert!(fault(&program(&deep)).contains("recursion limit"));
}

#[test]
fn tree_specs() {
    let named = [("P".to_owned(), vec!["a".to_owned(), "b".to_owned()])].into();
    let leaf = r#"{"type": null, "context": null, "children_spec": []}"#;
    let spec = |name: &str, context: &str, children: usize| {
        let children = vec![leaf; children].join(", ");
        tree::parse(
            &format!(r#"[1, {{"type": {name:?}, "context": {context:?}, "children_spec": [{children}]}}]"#),
            &named,
        )
    };
    let leaves = |n| vec![TreeSpec::Leaf; n];
    let keys = vec![Key::String("x".into()), Key::Int(3), Key::Other("null".into())];
    assert_eq!(
        spec("builtins.dict", r#"["x", 3, null]"#, 3),
        Ok(TreeSpec::Dict { keys: keys.clone(), children: leaves(3) })
    );
    assert_eq!(
        spec("collections.OrderedDict", r#"["x", 3, null]"#, 3),
        Ok(TreeSpec::OrderedDict { keys, children: leaves(3) })
    );
    assert_eq!(spec("builtins.list", "null", 1), Ok(TreeSpec::List(leaves(1))));
    let fields = vec!["a".to_owned(), "b".to_owned()];
    let pair = TreeSpec::NamedTuple { name: "P".into(), fields: fields.clone(), children: leaves(2) };
    assert_eq!(spec("collections.namedtuple", "P", 2), Ok(pair));
    let none_fields = vec!["c".to_owned()];
    let dataclass = TreeSpec::Dataclass { name: "m.D".into(), fields, none_fields, children: leaves(2) };
    assert_eq!(spec("m.D", r#"[["a", "b"], ["c"]]"#, 2), Ok(dataclass));
    for (name, context) in [("m.D", "[[\"a\"], []]"), ("collections.namedtuple", "Q"), ("collections.deque", "null")] {
        let unknown = TreeSpec::Unknown { name: name.into(), context: context.into(), children: leaves(2) };
        assert_eq!(spec(name, context, 2), Ok(unknown));
    }
    assert!(spec("builtins.dict", "[\"x\"]", 2).is_err());
    assert!(spec("collections.namedtuple", "P", 1).is_err());
    assert!(tree::parse("{}", &named).is_err() && tree::parse("[1, 5]", &named).is_err());
}
