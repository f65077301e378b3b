//! Archives made here, byte by byte, in the three layouts.

use super::*;
use crate::diag::Kind;
use crate::schema::ScalarType;

/// A zip with stored members, as torch and Python write it.
fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, contents) in members {
        let offset = u32::try_from(file.len()).expect("small");
        let size = (contents.len() as u32).to_le_bytes();
        let name_len = (name.len() as u16).to_le_bytes();
        let common = [&crc32fast::hash(contents).to_le_bytes()[..], &size, &size, &name_len, &[0; 2]].concat();
        file.extend([b"PK\x03\x04", &[0; 10][..], &common, name.as_bytes(), contents].concat());
        directory.extend([b"PK\x01\x02", &[0; 12][..], &common, &[0; 10]].concat());
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (start, size, count) = (file.len() as u32, directory.len() as u32, (members.len() as u16).to_le_bytes());
    file.extend(directory);
    file.extend(
        [b"PK\x05\x06\0\0\0\0", &count[..], &count, &size.to_le_bytes(), &start.to_le_bytes(), &[0, 0]].concat(),
    );
    file
}

const TABLE: &str = r#"{"config": {"w": {"path_name": "weight_0", "is_param": true, "use_pickle": false, "tensor_meta":
    {"dtype": 3, "sizes": [{"as_int": 2}, {"as_int": 2}], "requires_grad": true, "device": {"type": "cpu", "index": null},
    "strides": [{"as_int": 1}, {"as_int": 2}], "storage_offset": {"as_int": 1}, "layout": 7}}}}"#;
const NO_TENSORS: &[u8] = br#"{"config": {}}"#;
const STORAGE: &[u8] = &[0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 9, 9];

fn raw(table: &str, byteorder: &[u8]) -> Vec<u8> {
    zip(&[
        ("r/data/weights/weight_0", STORAGE),
        ("r/data/weights/model_weights_config.json", table.as_bytes()),
        ("r/data/constants/model_constants_config.json", NO_TENSORS),
        ("r/models/model.json", b"{}"),
        ("r/data/sample_inputs/model.pt", b"never read"),
        ("r/extra/dir/a.txt", b"hello"),
        ("r/archive_format", b"pt2"),
        ("r/byteorder", byteorder),
    ])
}

fn read_default(bytes: &[u8]) -> Result<Archive<'_>, Errors> {
    read(bytes, &Limits::default())
}

fn refusal(bytes: &[u8]) -> Diagnostic {
    read_default(bytes).expect_err("must be refused").0.swap_remove(0)
}

/// `{name: value}` where `value` leaves one object on the stack.
fn saved(value: &[u8]) -> Vec<u8> {
    let pickle = [b"\x80\x02}X\x01\0\0\0w", value, b"s."].concat();
    zip(&[("archive/data.pkl", &pickle), ("archive/byteorder", b"little"), ("archive/data/0", STORAGE)])
}

/// `torch._utils._rebuild_tensor_v2(storage, 1, (2, 2), (1, 2), False, OrderedDict())`
fn tensor_call(function: &str, class: &str, numel: u8, after: &[u8]) -> Vec<u8> {
    let storage = format!("(X\x07\0\0\0storagec{class}\nX\x01\0\0\x000X\x03\0\0\0cpuK");
    let rest = [&[numel][..], b"tQK\x01K\x02K\x02\x86K\x01K\x02\x86\x89ccollections\nOrderedDict\n)R", after].concat();
    [format!("c{function}\n(").as_bytes(), storage.as_bytes(), &rest, b"tR"].concat()
}

fn v2() -> Vec<u8> {
    tensor_call("torch._utils\n_rebuild_tensor_v2", "torch\nShortStorage", 6, b"")
}

fn legacy(weights: &[u8]) -> Vec<u8> {
    let empty = zip(&[("archive/data.pkl", b"\x80\x02}.")]);
    zip(&[
        ("serialized_exported_program.json", b"{}"),
        ("serialized_state_dict.pt", weights),
        ("serialized_constants.pt", &empty),
        ("serialized_example_inputs.pt", b"never read"),
        ("version", b"7.3"),
        ("extra_files/b.txt", b"text"),
    ])
}

fn shorts(tensor: &Tensor<'_>) -> Vec<i16> {
    tensor.bytes().chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect()
}

#[test]
fn raw_layout() {
    let bytes = raw(TABLE, b"little");
    let archive = read_default(&bytes).expect("valid");
    assert_eq!((archive.format, &*archive.model, &*archive.program), (Format::Raw, "model", "{}"));
    let w = &archive.weights["w"];
    assert_eq!((w.dtype(), w.shape(), w.is_param), (ScalarType::Short, &[2, 2][..], true));
    assert_eq!(shorts(w), [1, 3, 2, 4]);
    assert!(archive.constants.is_empty());
    assert_eq!(archive.extra_files["dir/a.txt"], b"hello");
}

#[test]
fn raw_layout_of_a_big_endian_machine() {
    let bytes = raw(TABLE, b"big");
    assert_eq!(shorts(&read_default(&bytes).expect("valid").weights["w"]), [256, 768, 512, 1024]);
}

#[test]
fn legacy_layout() {
    let bytes = legacy(&saved(&v2()));
    let archive = read_default(&bytes).expect("valid");
    assert_eq!(archive.format, Format::Legacy);
    assert_eq!(shorts(&archive.weights["w"]), [1, 3, 2, 4]);
    assert!(!archive.weights["w"].is_param);
    assert_eq!(archive.extra_files["b.txt"], b"text");
}

#[test]
fn pickled_layout_with_separators_of_another_system() {
    let (weights, empty) = (saved(&v2()), zip(&[("x/data.pkl", b"\x80\x02}.")]));
    let bytes = zip(&[
        (r"r\models\net.json", b"{}"),
        (r"r\data\weights\net.pt", &weights),
        (r"r\data\constants\net.pt", &empty),
        (r"r\archive_format", b"pt2"),
    ]);
    let archive = read_default(&bytes).expect("valid");
    assert_eq!((archive.format, &*archive.model), (Format::Pickled, "net"));
    assert_eq!(shorts(&archive.weights["w"]), [1, 3, 2, 4]);
}

#[test]
fn all_ways_to_pickle_a_plain_tensor() {
    let v3 = tensor_call("torch._utils\n_rebuild_tensor_v3", "torch.storage\nUntypedStorage", 12, b"ctorch\nuint16\n");
    let parameter = [b"ctorch._utils\n_rebuild_parameter\n(", &v2()[..], b"\x88}tR"].concat();
    let with_state = [b"ctorch._utils\n_rebuild_parameter_with_state\n(", &v2()[..], b"\x88}}tR"].concat();
    let v2 = v2();
    let (function, args) = v2.split_at(v2.iter().position(|b| *b == b'(').expect("a mark"));
    let args = &args[..args.len() - 1];
    let from_type =
        [b"ctorch._tensor\n_rebuild_from_type_v2\n(", function, b"ctorch.nn.parameter\nBuffer\n", args, b"}tR"];
    for (value, dtype, is_param) in [
        (v3, ScalarType::UInt16, false),
        (parameter, ScalarType::Short, true),
        (with_state, ScalarType::Short, true),
        (from_type.concat(), ScalarType::Short, false),
    ] {
        let bytes = legacy(&saved(&value));
        let archive = read_default(&bytes).unwrap_or_else(|e| panic!("{e}"));
        let w = &archive.weights["w"];
        assert_eq!((w.dtype(), w.is_param), (dtype, is_param));
        assert_eq!(shorts(w), [1, 3, 2, 4]);
    }
}

#[test]
fn tied_names_are_one_tensor() {
    let pair = [&b"(X\x01\0\0\0a"[..], &v2(), b"q\x07X\x01\0\0\0bh\x07u."].concat();
    let pickle = [b"\x80\x02}", &pair[..]].concat();
    let weights = zip(&[("archive/data.pkl", &pickle), ("archive/data/0", STORAGE)]);
    let bytes = legacy(&weights);
    let archive = read_default(&bytes).expect("valid");
    assert_eq!(archive.weights["a"].identity(), archive.weights["b"].identity());
}

#[test]
fn names_outside_the_list_are_refused() {
    for (value, name) in [
        (&b"cos\nsystem\nX\x02\0\0\0ls\x85R"[..], "os.system"),
        (b"ctorch._utils\n_rebuild_qtensor\n)R", "torch._utils._rebuild_qtensor"),
        (b"cbuiltins\neval\nX\x01\0\0\x001\x85R", "builtins.eval"),
        (&tensor_call("torch._utils\n_rebuild_tensor_v2", "torch\nQInt8Storage", 6, b""), "torch.QInt8Storage"),
        (&tensor_call("mine\n_rebuild_tensor_v2", "torch\nShortStorage", 6, b""), "mine._rebuild_tensor_v2"),
    ] {
        let fault = refusal(&legacy(&saved(value)));
        assert_eq!(fault.kind, Kind::Unsupported, "{fault}");
        assert!(fault.message.contains(&format!("`{name}`")), "{fault}");
    }
}

#[test]
fn malformed_pickled_tensors_are_refused() {
    let replaced = |from: &[u8], to: &[u8]| {
        let v2 = v2();
        let at = v2.windows(from.len()).position(|w| w == from).expect("in the pickle");
        [&v2[..at], to, &v2[at + from.len()..]].concat()
    };
    for value in [
        b"K\x05".to_vec(),
        b"N".to_vec(),
        b"}".to_vec(),
        replaced(b"K\x06t", b"K\x07t"),
        replaced(b"K\x01K\x02K\x02", b"J\xff\xff\xff\xffK\x02K\x02"),
        replaced(b"QK\x01K\x02K\x02\x86", b"QK\x01K\x02K\x09\x86"),
        replaced(b"QK\x01K\x02K\x02\x86", b"QK\x01K\x02\x85"),
        replaced(b"X\x01\0\0\x000", b"X\x01\0\0\x001"),
        replaced(b"storagec", b"storingsc"),
        tensor_call("torch._utils\n_rebuild_tensor_v2", "torch\nShortStorage", 6, b"}X\x04\0\0\0conj\x88s"),
    ] {
        assert!(read_default(&legacy(&saved(&value))).is_err(), "{}", value.escape_ascii());
    }
}

#[test]
fn calls_nested_deeper_than_any_tensor_needs_are_refused() {
    let mut value = v2();
    for _ in 0..100 {
        value = [b"ctorch._utils\n_rebuild_parameter\n(", &value[..], b"\x88}tR"].concat();
    }
    assert!(read_default(&legacy(&saved(&value))).is_err());
}

#[test]
fn other_files_are_named() {
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (Vec::new(), "empty"),
        (raw(TABLE, b"little")[..200].to_vec(), "truncated"),
        (b"version https://git-lfs.github.com/spec/v1\n".to_vec(), "git-lfs"),
        ([&100u64.to_le_bytes()[..], b"{\"a\": 1}"].concat(), "safetensors"),
        (b"\x08\x08\x12\x07pytorch".to_vec(), "ONNX"),
        (b"\x80\x02\x8a\nl\xfc".to_vec(), "pickle"),
        (b"\x1c\0\0\0ET12".to_vec(), "ExecuTorch"),
        (b"\x1c\0\0\0TFL3".to_vec(), "TensorFlow Lite"),
        (b"some words".to_vec(), "no zip file"),
        (zip(&[("m/data.pkl", b""), ("m/constants.pkl", b""), ("m/code/a.py", b"")]), "TorchScript"),
        (zip(&[("m/data.pkl", b""), ("m/version", b"3\n")]), "state dict"),
        (zip(&[("m/archive_format", b"pt2"), ("m/data/aotinductor/model/x.so", b"")]), "AOTInductor"),
        (zip(&[("arr_0.npy", b"")]), "NumPy"),
        (zip(&[("readme.txt", b"")]), "readme.txt"),
        (zip(&[]), "empty"),
        (zip(&[("m/archive_format", b"pt2")]), "no exported program"),
    ];
    for (bytes, words) in cases {
        let fault = refusal(&bytes);
        assert!(fault.message.contains(words), "{fault}");
        assert!(fault.help.is_some(), "{fault}");
    }
}

#[test]
fn damaged_zips_are_refused() {
    let good = raw(TABLE, b"little");
    let changed = |from: &[u8], to: &[u8]| {
        let at = good.windows(from.len()).rposition(|w| w == from).expect("in the file");
        [&good[..at], to, &good[at + from.len()..]].concat()
    };
    let mut member = good.clone();
    member[60] ^= 1;
    let mut deflated = good.clone();
    let header = good.windows(4).position(|w| w == b"PK\x01\x02").expect("a directory");
    deflated[header + 10] = 8;
    let mut encrypted = good.clone();
    encrypted[header + 8] = 1;
    let mut overlapping = good.clone();
    let second = header + 46 + "r/data/weights/weight_0".len();
    overlapping.copy_within(header + 20..header + 28, second + 20);
    overlapping.copy_within(header + 42..header + 46, second + 42);
    for (bytes, words) in [
        (member, "checksum"),
        (deflated, "compressed (deflate)"),
        (encrypted, "encrypted"),
        (overlapping, "share the bytes"),
        (changed(b"\x08\0\x08\0", b"\x09\0\x09\0"), "cut off"),
        (changed(b"model_weights_config.json", b"model_weights_config.text"), "neither"),
        (changed(b"weight_0PK", b"weight_1PK"), "no member `r/data/weights/weight_0`"),
        (raw(TABLE, b"middle"), "byte order"),
        (raw(&TABLE.replace("offset\": {\"as_int\": 1}", "offset\": {\"as_int\": 9}"), b"little"), "storage has 12"),
        (raw(&TABLE.replace("\"dtype\": 3", "\"dtype\": 99"), b"little"), "99 is no element type"),
        (raw(&TABLE.replace("\"dtype\": 3", "\"dtype\": 0"), b"little"), "unknown element type"),
        (raw(&TABLE.replace("\"use_pickle\": false", "\"use_pickle\": true"), b"little"), "pickled Python object"),
        (raw(&TABLE.replace("\"layout\": 7", "\"layout\": 1"), b"little"), "only strided"),
        (raw(&TABLE.replace("\"path_name\": \"weight_0\"", "\"path_name\": 5"), b"little"), "config.w.path_name"),
    ] {
        let fault = read_default(&bytes).err().unwrap_or_else(|| panic!("{words}: accepted"));
        assert!(fault.to_string().contains(words), "{words}: {fault}");
    }
}

#[test]
fn every_fault_is_reported() {
    let good = TABLE.trim_start_matches("{\"config\": {").strip_suffix("}}").expect("two objects end");
    let bad = good.replace("weight_0", "weight_7");
    let table = format!(
        "{{\"config\": {{{good}, {}, {}}}}}",
        bad.replacen("\"w\"", "\"v\"", 1),
        bad.replacen("\"w\"", "\"u\"", 1)
    );
    let errors = read_default(&raw(&table, b"little")).expect_err("two storages are missing");
    assert_eq!(errors.0.len(), 2, "{errors}");
}

#[test]
fn limits_hold() {
    let bytes = raw(TABLE, b"little");
    let refused = |limits| read(&bytes, &limits).is_err();
    assert!(refused(Limits { members: 7, ..Limits::default() }));
    assert!(refused(Limits { text_bytes: 100, ..Limits::default() }));
    let expanded = TABLE.replace("\"as_int\": 2}, {\"as_int\": 2}", "\"as_int\": 99999999}, {\"as_int\": 2}");
    let expanded = expanded.replace("\"as_int\": 1}, {\"as_int\": 2}", "\"as_int\": 0}, {\"as_int\": 0}");
    let fault = refusal(&raw(&expanded, b"little"));
    assert!(fault.message.contains("limit"), "{fault}");
    let saved = legacy(&saved(&v2()));
    assert!(read(&saved, &Limits { pickle_items: 20, ..Limits::default() }).is_err());
}
