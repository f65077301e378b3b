//! Words for files that are something else: what the file is, and what to do about it.

use super::members::Members;
use crate::diag::Diagnostic;

const EXPORT: &str = "export the model with `torch.export.save(torch.export.export(model, args), \"model.pt2\")`";

/// Bytes that are no zip.
pub(super) fn not_a_zip(bytes: &[u8]) -> Diagnostic {
    if bytes.is_empty() {
        return Diagnostic::damaged("the file is empty").help(EXPORT);
    }
    if bytes.starts_with(b"PK\x03\x04") {
        return Diagnostic::damaged(
            "the zip directory at the end of the file is missing: the file is truncated or damaged",
        )
        .help("copy or download the file again, or save the program again");
    }
    if bytes.starts_with(b"version https://git-lfs") {
        return Diagnostic::damaged("this is a git-lfs pointer, not the file itself").help("run `git lfs pull`");
    }
    let what = match kind(bytes) {
        Some(what) => format!("this is {what}, not a `torch.export` archive"),
        None => "this is no zip file, so no `torch.export` archive".to_owned(),
    };
    Diagnostic::damaged(what).help(EXPORT)
}

/// By the first bytes; offset, magic, words.
fn kind(bytes: &[u8]) -> Option<&'static str> {
    const MAGICS: [(usize, &[u8], &str); 16] = [
        (4, b"TFL3", "a TensorFlow Lite model"),
        (4, b"ET", "an ExecuTorch program (.pte)"),
        (0, b"GGUF", "a GGUF model"),
        (0, b"\x89HDF", "an HDF5 file (Keras)"),
        (0, b"\x93NUMPY", "a NumPy array (.npy)"),
        (0, b"\x7fELF", "a compiled library or program"),
        (0, b"\x1f\x8b", "a gzip file"),
        (0, b"\x28\xb5\x2f\xfd", "a zstd file"),
        (0, b"7z\xbc\xaf", "a 7z file"),
        (257, b"ustar", "a tar file (as `torch.save` wrote long ago)"),
        (0, b"\x80\x02", "a bare pickle (as `torch.save` wrote before torch 1.6)"),
        (0, b"\x80\x03", "a bare pickle"),
        (0, b"\x80\x04", "a bare pickle"),
        (0, b"\x80\x05", "a bare pickle"),
        (0, b"<", "an HTML or XML page"),
        (0, b"{", "a JSON text"),
    ];
    if bytes.get(8) == Some(&b'{') && bytes.get(6..8) == Some(&[0, 0]) {
        return Some("a safetensors file, which holds weights but no program");
    }
    // Protobuf: field 1 (ir_version), a small number, field 2 (producer name) or 7 (graph).
    if let [0x08, version, 0x12 | 0x3a, ..] = bytes
        && *version < 32
    {
        return Some("an ONNX model");
    }
    MAGICS.iter().find(|(at, magic, _)| bytes.get(*at..).is_some_and(|b| b.starts_with(magic))).map(|m| m.2)
}

/// A zip that holds no program. `root` is the folder that torch puts everything in.
pub(super) fn not_an_archive(members: &Members<'_>, root: &str) -> Diagnostic {
    let has = |name: &str| members.contains(&format!("{root}{name}"));
    let any_under = |folder: &str| members.under(&format!("{root}{folder}")).next().is_some();
    let any_ends = |suffix: &str| members.names().any(|name| name.ends_with(suffix));
    if any_under("data/aotinductor/") || (any_ends(".so") && any_ends(".cpp")) {
        return Diagnostic::unsupported(
            "this is an AOTInductor package: machine code, without the program it came from",
        )
        .help("save the exported program itself with `torch.export.save`, before `aoti_compile_and_package`");
    }
    if any_under("data/executorch/") {
        return Diagnostic::unsupported("this archive holds an ExecuTorch program, but no exported one").help(EXPORT);
    }
    if has("constants.pkl") || any_under("code/") {
        return Diagnostic::unsupported("this is a TorchScript file (torch.jit.save), not a `torch.export` archive")
            .help(EXPORT);
    }
    if any_under(".data/extern_modules") {
        return Diagnostic::unsupported("this is a `torch.package` file, not a `torch.export` archive").help(EXPORT);
    }
    if any_ends("data.pkl") {
        return Diagnostic::unsupported(
            "this is a `torch.save` file (a state dict or a pickled module): weights, but no program",
        )
        .help(EXPORT);
    }
    if any_ends(".npy") {
        return Diagnostic::unsupported("this is a NumPy file (.npz), not a `torch.export` archive").help(EXPORT);
    }
    if any_ends("model.weights.h5") {
        return Diagnostic::unsupported("this is a Keras file, not a `torch.export` archive").help(EXPORT);
    }
    if has("archive_format") {
        return Diagnostic::unsupported("this PT2 archive holds no exported program (no `models/*.json`)").help(EXPORT);
    }
    let first =
        if members.first().is_empty() { "it is empty".into() } else { format!("it begins with `{}`", members.first()) };
    Diagnostic::damaged(format!("this zip is no `torch.export` archive: {first}")).help(EXPORT)
}
