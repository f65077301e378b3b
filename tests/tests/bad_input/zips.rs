//! What is wrong with the file as a zip.

use crate::{Case, LEGACY, PICKLED, RAW, case};
use exported_tests::zip::{Zip, end};

/// Files of other kinds.
pub fn foreign() -> Vec<Case> {
    let raw = || Zip::open(RAW);
    let weights = || Zip::open(PICKLED).member("weights/model.pt").clone();
    let huge_header = [&u64::MAX.to_le_bytes()[..], b"{}"].concat();
    vec![
        case("nothing", "", "the file is empty"),
        case("one byte", "P", "no zip file"),
        case("words", "lorem ipsum", "no zip file"),
        case("zeros", vec![0; 100_000], "no zip file"),
        case("two letters of a zip", "PK", "no zip file"),
        case("git-lfs pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "git lfs pull"),
        case("safetensors", [&16u64.to_le_bytes()[..], b"{\"__metadata__\":{"].concat(), "safetensors"),
        case("header of a huge safetensors", huge_header, "no zip file"),
        case("ONNX", b"\x08\x09\x12\x07pytorch\x1a\x062.15.0:", "ONNX"),
        case("torch.save before 1.6", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "bare pickle"),
        case("ExecuTorch", b"\x18\0\0\0ET12\0\0\0\0", "ExecuTorch"),
        case("TensorFlow Lite", b"\x1c\0\0\0TFL3\x14\0", "TensorFlow Lite"),
        case("a web page", "<!DOCTYPE html><html>404</html>", "HTML"),
        case("gzip", b"\x1f\x8b\x08\0\0\0\0\0", "gzip"),
        case("an empty zip", Zip(Vec::new()).bytes(), "it is empty"),
        case("a zip of texts", Zip(Vec::new()).with("readme.txt", "hello").bytes(), "begins with `readme.txt`"),
        case("a state dict", weights(), "weights, but no program"),
        case("TorchScript", raw().renamed("models/model.json", "code/__torch__.py").bytes(), "TorchScript"),
        case("AOTInductor", raw().renamed("models/model.json", "data/aotinductor/model/a.so").bytes(), "AOTInductor"),
        case("ExecuTorch in PT2", raw().renamed("models/model.json", "data/executorch/m.pte").bytes(), "ExecuTorch"),
        case("no model", raw().without("models/model.json").bytes(), "no exported program"),
        case("NumPy", Zip(Vec::new()).with("arr_0.npy", "").bytes(), "NumPy"),
    ]
}

/// Prefixes, and archives without their beginning.
pub fn truncated() -> Vec<Case> {
    let mut cases = Vec::new();
    for (version, file) in [("2.5.1", LEGACY), ("2.8.0", PICKLED), ("2.15.0", RAW)] {
        let lengths = (1..16).map(|i| file.len() * i / 16).chain([1, 3, 4, 30, file.len() - 22, file.len() - 1]);
        for len in lengths {
            cases.push(case(&format!("{version} cut to {len} bytes"), &file[..len], ""));
        }
        for start in [1, 4, 1000] {
            cases.push(case(&format!("{version} without its first {start} bytes"), &file[start..], ""));
        }
        let middle = [&file[..2000], &file[2500..]].concat();
        cases.push(case(&format!("{version} without 500 bytes of its middle"), middle, ""));
        cases.push(case(&format!("{version} with garbage behind"), [file, b"garbage"].concat(), "truncated"));
    }
    cases
}

/// Archives whose directory or members are wrong.
pub fn damaged() -> Vec<Case> {
    let raw = || Zip::open(RAW);
    let mut cases = lies();
    cases.extend([
        case("two programs", two_models(), "holds 2 models: `model`, `other`"),
        case("no weights", raw().without("model_weights_config.json").bytes(), "weights are missing"),
        case("no constants", raw().without("model_constants_config.json").bytes(), "constants are missing"),
        case(
            "no storage",
            raw().without("weight_1").bytes(),
            "no member `buffer_mutation.2.15.0/data/weights/weight_1`",
        ),
        case("empty storage", raw().set("weight_1", "").bytes(), "storage has 0"),
        case("unknown byte order", raw().set("/byteorder", "middle").bytes(), "byte order `middle`"),
        case(
            "no 2.5 weights",
            Zip::open(LEGACY).without("serialized_state_dict.pt").bytes(),
            "serialized_state_dict.pt",
        ),
        case(
            "no 2.5 constants",
            Zip::open(LEGACY).without("serialized_constants.pt").bytes(),
            "serialized_constants.pt",
        ),
        case("no 2.8 constants", Zip::open(PICKLED).without("constants/model.pt").bytes(), "constants are missing"),
        case("a changed weight", changed(&raw().bytes(), b"data/weights/weight_0", 21), "checksum"),
        case("a changed program", changed(RAW, b"graph_module", 10), "checksum"),
        case("a changed pickle", changed(PICKLED, b"_rebuild_tensor_v2", 3), "checksum"),
        case("a name twice", raw().with("buffer_mutation.2.15.0/byteorder", "big").bytes(), "two members named"),
        case(
            "a name twice by its separators",
            raw().with(r"buffer_mutation.2.15.0\byteorder", "big").bytes(),
            "two members",
        ),
        case("one end for two zips", [raw().bytes(), raw().bytes()].concat(), "does not point"),
        case("many members", many_members(), "more than the limit"),
        case("members that nest", nested(), ""),
    ]);
    cases
}

/// Directories that claim what is not so.
fn lies() -> Vec<Case> {
    let zip = Zip::open(RAW);
    let every = |words, change: fn(&mut exported_tests::zip::Row)| (zip.bytes_with(change), words);
    let files = [
        ("compressed", every("compressed (deflate)", |row| row.method = 8)),
        ("strangely compressed", every("method 93", |row| row.method = 93)),
        ("encrypted", every("is encrypted", |row| row.flags = 1)),
        ("a bomb", every("compressed (deflate)", |row| (row.method, row.size) = (8, u32::MAX - 1))),
        ("stored, but larger", every("but claims", |row| row.size += 1)),
        ("beyond the file", every("inside the file", |row| (row.stored_size, row.size) = (1 << 30, 1 << 30))),
        ("offsets beyond the file", every("inside the file", |row| row.offset = 1 << 30)),
        ("offsets into a member", every("inside the file", |row| row.offset += 1)),
        ("all members at one place", every("", |row| row.offset = 0)),
        (
            "a petabyte",
            every("inside the file", |row| {
                (row.size, row.stored_size, row.wide) = (u32::MAX, u32::MAX, vec![1 << 50, 1 << 50]);
            }),
        ),
        (
            "sizes that overflow",
            every("inside the file", |row| {
                (row.size, row.stored_size, row.wide) = (u32::MAX, u32::MAX, vec![u64::MAX, u64::MAX]);
            }),
        ),
        ("saturated sizes without their zip64 field", every("directory is damaged", |row| row.size = u32::MAX)),
        ("wrong checksums", every("checksum", |row| row.crc32 ^= 1)),
        ("names that are no text", (binary_names(), "not UTF-8")),
    ];
    let mut cases: Vec<Case> = files.into_iter().map(|(name, (file, words))| case(name, file, words)).collect();
    let body = &zip.bytes()[..zip.bytes().len() - 22];
    let ends = [
        ("no entries, though there are some", end(0, 0, 0), "does not point"),
        ("more entries than there are", end(u16::MAX, 900, body.len() as u32 - 900), ""),
        ("a directory beyond the file", end(3, 900, u32::MAX), "does not point"),
        ("a directory that is no directory", end(3, body.len() as u32, 0), "directory is damaged"),
        ("a directory of huge size", end(3, u32::MAX, 0), "does not point"),
        ("a directory with a gap behind", end(3, 900, 0), "does not point"),
        ("2^63 entries", zip64_end(body, 1 << 63), "more than the limit"),
        ("a million entries", zip64_end(body, 1 << 20), "more than the limit"),
    ];
    cases.extend(ends.into_iter().map(|(name, end, words)| case(name, [body, &end].concat(), words)));
    cases
}

fn two_models() -> Vec<u8> {
    let zip = Zip::open(RAW);
    let program = zip.clone().member("model.json").clone();
    zip.with("buffer_mutation.2.15.0/models/other.json", program).bytes()
}

/// Flips a bit `distance` bytes behind the start of a text's first occurrence.
fn changed(file: &[u8], text: &[u8], distance: usize) -> Vec<u8> {
    let mut file = file.to_vec();
    let at = file.windows(text.len()).position(|w| w == text).expect("in the file");
    file[at + distance] ^= 4;
    file
}

fn many_members() -> Vec<u8> {
    let mut zip = Zip(Vec::new());
    (0..65_535).for_each(|i| zip = std::mem::replace(&mut zip, Zip(Vec::new())).with(&format!("{i}"), ""));
    // One more than sixteen bits can say.
    let mut file = zip.bytes();
    file.truncate(file.len() - 22);
    let end = zip64_end(&file, 65_537);
    [file, end].concat()
}

/// A zip64 end that claims `count` entries in the last 900 bytes of `body`.
fn zip64_end(body: &[u8], count: u64) -> Vec<u8> {
    let numbers = [count, count, 900, body.len() as u64 - 900].map(u64::to_le_bytes).concat();
    let record = [b"PK\x06\x06\x2c\0\0\0\0\0\0\0", &[0; 12][..], &numbers].concat();
    let locator = [b"PK\x06\x07\0\0\0\0", &(body.len() as u64).to_le_bytes()[..], &[1, 0, 0, 0]].concat();
    [record, locator, end(u16::MAX, u32::MAX, u32::MAX)].concat()
}

fn binary_names() -> Vec<u8> {
    let name = "buffer_mutation.2.15.0/byteorder";
    let mut file = Zip::open(RAW).bytes();
    let at = file.windows(name.len()).rposition(|w| w == name.as_bytes()).expect("in the directory");
    file[at] = 0xff;
    file
}

/// An archive in whose weights the archive stands again, and so on.
fn nested() -> Vec<u8> {
    (0..50).fold(PICKLED.to_vec(), |inner, _| {
        let inner = if inner.len() > 1 << 20 { PICKLED.to_vec() } else { inner };
        Zip::open(PICKLED).set("weights/model.pt", inner).bytes()
    })
}
