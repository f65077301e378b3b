//! What is wrong with pickled weights.

use crate::{Case, LEGACY, PICKLED, case};
use exported_tests::zip::Zip;

const WEIGHTS: &str = "data/weights/model.pt";

/// The archive with another weights file.
fn with_weights(weights: &Zip) -> Vec<u8> {
    Zip::open(PICKLED).set(WEIGHTS, weights.bytes()).bytes()
}

fn weights() -> Zip {
    Zip::open(Zip::open(PICKLED).member(WEIGHTS))
}

/// The archive with another pickle.
fn with_pickle(pickle: impl Into<Vec<u8>>) -> Vec<u8> {
    with_weights(&weights().set("data.pkl", pickle))
}

/// The archive with a change inside its pickle.
fn changed(from: &[u8], to: &[u8]) -> Vec<u8> {
    with_weights(&weights().replace("data.pkl", from, to))
}

/// A pickled dict with one value.
fn holding(value: &[u8]) -> Vec<u8> {
    with_pickle([b"\x80\x02}X\x0c\0\0\0my_parameter", value, b"s."].concat())
}

pub fn cases() -> Vec<Case> {
    let mut cases = hostile();
    cases.extend(bombs());
    cases.extend(malformed());
    cases
}

/// Pickles that would do something if anybody executed them.
fn hostile() -> Vec<Case> {
    let system = b"cos\nsystem\nX\x0c\0\0\0rm -rf here!\x85R";
    let system_4 =
        b"\x80\x04\x95\x20\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x02ls\x94\x85\x94R\x94.";
    let legacy = Zip::open(LEGACY);
    let state = Zip::open(legacy.clone().member("serialized_state_dict.pt"));
    let state = state.replace("data.pkl", "torch._utils\n_rebuild_parameter_with_state\n", "builtins\nexec\n").bytes();
    vec![
        case("os.system", holding(system), "`os.system`"),
        case("os.system as the whole", with_pickle([b"\x80\x02", &system[..], b"."].concat()), "`os.system`"),
        case("posix.system in protocol 4", with_pickle(system_4), "`posix.system`"),
        case(
            "eval in place of a rebuild",
            changed(b"torch._utils\n_rebuild_parameter", b"builtins\neval"),
            "`builtins.eval`",
        ),
        case("exec in a 2.5 file", legacy.set("serialized_state_dict.pt", state).bytes(), "`builtins.exec`"),
        case(
            "a storage class that is none",
            changed(b"torch\nFloatStorage", b"subprocess\nPopen"),
            "`subprocess.Popen`",
        ),
        case("a quantized tensor", holding(b"ctorch._utils\n_rebuild_qtensor\n)R"), "`torch._utils._rebuild_qtensor`"),
        case("a class of the user", holding(b"c__main__\nSecret\n)\x81}b"), "`__main__.Secret`"),
        case(
            "a subclass",
            holding(b"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_tensor_v2\nca\nB\n)}tR"),
            "`a.B`",
        ),
        case("an old class instance", holding(b"(i__main__\nX\n"), "opcode 0x69"),
        case("an extension code", holding(b"\x82\x01"), "opcode 0x82"),
    ]
}

/// Pickles that cost more than they weigh.
fn bombs() -> Vec<Case> {
    let mut doubling = b"\x80\x02]q\0".to_vec();
    (0..200u8).for_each(|i| doubling.extend([b'(', b'h', i, b'h', i, b't', b'q', i + 1]));
    doubling.push(b'.');
    let deep = [b"N".to_vec(), b"\x85".repeat(400_000)].concat();
    vec![
        case("doubling tuples", with_pickle(doubling), "expected a dict of tensors, found a tuple"),
        case("deep tuples", holding(&deep), "expected a tensor, found a tuple"),
        case("deep lists", holding(&[b"]".repeat(400_000), b"a".repeat(399_999)].concat()), "found a list"),
        case("ten million values", with_pickle([b"\x80\x02", &b"N".repeat(10_000_000)[..]].concat()), "more objects"),
        case("ten million marks", with_pickle([b"\x80\x02", &b"(".repeat(10_000_000)[..]].concat()), "more objects"),
        case("ten million dicts", with_pickle([b"\x80\x02", &b"}".repeat(10_000_000)[..]].concat()), "more objects"),
        case(
            "ten million memo entries",
            with_pickle([b"\x80\x04N", &b"\x94".repeat(10_000_000)[..]].concat()),
            "more objects",
        ),
        case(
            "ten million recalls",
            with_pickle([b"\x80\x02Nq\0", &b"h\0".repeat(5_000_000)[..]].concat()),
            "more objects",
        ),
        case("a text of 4 GB", holding(b"X\xff\xff\xff\xff"), "ends in the middle"),
        case("a text of 2^64 bytes", holding(b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff"), "ends in the middle"),
        case("bytes of 2^63", holding(b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f"), "ends in the middle"),
        case("a number of 255 bytes", holding(&[b"\x8a\xff".to_vec(), vec![1; 255]].concat()), "beyond 64 bits"),
        case("calls in calls", holding(&b"ctorch._utils\n_rebuild_parameter\n(".repeat(10_000)), "empty stack"),
        case("a dict in itself", with_pickle(b"\x80\x02}q\0X\x01\0\0\0ah\0s."), "expected a tensor, found a dict"),
        case("a list in itself", with_pickle(b"\x80\x02]q\0h\0a."), "expected a dict of tensors, found a list"),
        case("expanded to 2^40 values", changed(b"QK\0))", b"QK\0\x8a\x06\0\0\0\0\0\x01\x85K\0\x85"), "the limit"),
    ]
}

/// Pickles that are wrong, and storages they do not fit.
fn malformed() -> Vec<Case> {
    let numel = |bytes: &[u8]| changed(b"K\x01tq\x08Q", &[bytes, b"tq\x08Q"].concat());
    let sizes = |bytes: &[u8]| changed(b"QK\0))", &[b"QK\0", bytes].concat());
    vec![
        case("no pickle", with_weights(&weights().without("data.pkl")), "no `data.pkl`"),
        case("an empty pickle", with_pickle(""), "ends in the middle"),
        case("half a pickle", with_pickle(&weights().member("data.pkl")[..150]), "ends in the middle"),
        case("protocol 99", with_pickle(b"\x80\x63}."), "protocol 99"),
        case("nothing on the stack", with_pickle(b"\x80\x02."), "empty stack"),
        case("a mark never set", with_pickle(b"\x80\x02Nt."), "a mark it never set"),
        case("a memo never filled", with_pickle(b"\x80\x02h\x09."), "never stored"),
        case("a name that is no text", with_pickle(b"\x80\x04K\x01K\x02\x93."), "no text"),
        case("a key without a value", with_pickle(b"\x80\x02}(Nu."), "key without a value"),
        case("a tensor named by a number", with_pickle(b"\x80\x02}K\x01Ns."), "name is no text"),
        case("a number for a tensor", holding(b"K\x01"), "expected a tensor, found `1`"),
        case("no weights zip", Zip::open(PICKLED).set(WEIGHTS, "text").bytes(), "in member"),
        case("half a weights zip", half_the_weights(), "in member"),
        case("no storage", with_weights(&weights().without("data/1")), "no member `archive/data/1`"),
        case("a short storage", with_weights(&weights().set("data/1", "abc")), "storage `1` has 3 bytes"),
        case("a storage of 2^31 values", numel(b"J\xff\xff\xff\x7f"), "fewer than its pickle states"),
        case("a storage of 2^62 values", numel(b"\x8a\x08\0\0\0\0\0\0\0\x40"), "fewer than its pickle states"),
        case("a storage of -1 values", numel(b"J\xff\xff\xff\xff"), "-1 is not a size"),
        case("a negative offset", changed(b"QK\0", b"QJ\xff\xff\xff\xff"), "-1 is not a size"),
        case("an offset beyond", changed(b"QK\0", b"QK\x05"), "but the storage has 4"),
        case("a size beyond", sizes(b"K\x09\x85K\x01\x85"), "but the storage has 4"),
        case("a stride beyond", sizes(b"K\x02\x85J\xff\xff\xff\x7f\x85"), "but the storage has 4"),
        case(
            "sizes that overflow",
            sizes(b"\x8a\x08\0\0\0\0\0\0\0\x40\x89\x86K\0K\0\x86"),
            "expected a size, found `false`",
        ),
        case("a product that overflows", sizes(b"\x8a\x05\0\0\0\0\x40\x8a\x05\0\0\0\0\x40\x86K\0K\0\x86"), "overflow"),
        case("strides that overflow", sizes(b"K\x03\x85\x8a\x08\0\0\0\0\0\0\0\x70\x85"), "overflow"),
        case("sizes without strides", sizes(b"K\x01\x85)"), "1 sizes (at most 64) and 0 strides"),
        case(
            "65 dims",
            sizes(&[b"(", &b"K\x01".repeat(65)[..], b"t(", &b"K\x01".repeat(65), b"t"].concat()),
            "65 sizes",
        ),
        case("half the arguments", changed(b"QK\0))", b"QK\0)"), "arguments"),
        case("an unknown byte order", with_weights(&weights().set("/byteorder", "pdp11")), "byte order `pdp11`"),
    ]
}

fn half_the_weights() -> Vec<u8> {
    let weights = weights().bytes();
    Zip::open(PICKLED).set(WEIGHTS, &weights[..weights.len() / 2]).bytes()
}
