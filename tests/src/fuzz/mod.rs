//! Bodies of the fuzz targets: each takes any bytes and returns, or panics when the compiler is wrong.
//!
//! `fuzz/` runs them under libFuzzer; `tests/tests/fuzz.rs` replays `fuzz/corpus` on them. Wrong is a panic, an overflow,
//! memory or time without measure (libFuzzer's limits), and a diagnostic that blames the compiler itself: whatever stands
//! in an archive, the fault is the archive's.

pub mod differential;
pub mod mutate;

use crate::zip::Zip;
use exported_codegen::archive::{self, Limits};
use exported_codegen::diag::{Errors, Kind};
use exported_codegen::options::{Optimize, Options, Quantization, Target, WeightsForm};
use exported_codegen::sym::{Expr, Interval, Ranges, Symbol};
use std::collections::BTreeMap;

/// Name of a target and its body.
pub type Body = (&'static str, fn(&[u8]));

/// All targets. `fuzz/fuzz_targets` has one file for each.
pub const TARGETS: &[Body] = &[
    ("reader", reader),
    ("pickle", pickle),
    ("expression", expression),
    ("compile", compile),
    ("differential", differential::differential),
];

/// The archive reader on any file.
pub fn reader(data: &[u8]) {
    if let Ok(archive) = archive::read(data, &Limits::default()) {
        for tensor in archive.weights.values().chain(archive.constants.values()) {
            assert_eq!(tensor.bytes().len(), tensor.numel() * tensor.dtype().size());
        }
    }
}

/// The unpickler: the data is the pickle of the weights in an archive that is otherwise good.
pub fn pickle(data: &[u8]) {
    reader(&around_pickle(data));
}

/// An archive of torch 2.8 whose weights have this pickle, and one storage of 64 bytes.
fn around_pickle(pickle: &[u8]) -> Vec<u8> {
    let torch_save = |pickle: &[u8]| {
        let storage = vec![7; 64];
        let zip = Zip(Vec::new()).with("model/data.pkl", pickle).with("model/byteorder", "little");
        zip.with("model/data/0", storage).with("model/version", "3\n").bytes()
    };
    Zip(Vec::new())
        .with("m/archive_format", "pt2")
        .with("m/models/model.json", "{}")
        .with("m/data/weights/model.pt", torch_save(pickle))
        .with("m/data/constants/model.pt", torch_save(b"\x80\x02}q\x00."))
        .with("m/byteorder", "little")
        .bytes()
}

/// The parser of size expressions, and what the compiler does with one: its interval holds for every value in range, and
/// printing it as Rust works.
pub fn expression(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(expr) = exported_codegen::sym::parse(text) else { return };
    let range = Interval::new(2, 9);
    let symbols = expr.symbols();
    let ranges = Ranges(symbols.iter().map(|s| (s.clone(), range)).collect());
    let interval = expr.interval(&ranges);
    for value in [2, 5, 9] {
        let at = |_: &str| Some(value);
        let Some(result) = expr.eval(&at).and_then(|v| v.as_int()) else { continue };
        assert!(interval.contains(result), "`{expr}` is {result} at {value}, outside of {interval:?}");
        let values: BTreeMap<Symbol, Expr> = symbols.iter().map(|s| (s.clone(), Expr::Int(value))).collect();
        let substituted = expr.substitute(&values).eval(&at).and_then(|v| v.as_int());
        assert_eq!(substituted, Some(result), "`{expr}` at {value}");
    }
    let _ = (expr.prove(&ranges), expr.rust().to_string());
}

/// The whole compiler, file form of the code included.
pub fn compile(data: &[u8]) {
    let hash = crc32fast::hash(data);
    let target = ["x86_64-unknown-linux-gnu", "thumbv7em-none-eabihf"][hash as usize & 1];
    let mut options = Options::new("model", Target::new(target));
    options.program = hash & 2 != 0;
    options.optimize = if hash & 4 != 0 { Optimize::Size } else { Optimize::Speed };
    options.quantization = if hash & 8 != 0 { Quantization::Faithful } else { Quantization::Fused };
    let output = exported_codegen::compile(data, &options);
    let file = output.and_then(|output| output.file(&WeightsForm::Include("\"weights\"".into())));
    if let Err(errors) = file {
        blames_the_archive(&errors);
    }
}

fn blames_the_archive(errors: &Errors) {
    assert!(!errors.0.is_empty(), "an error without a diagnostic");
    if let Some(bug) = errors.0.iter().find(|d| d.kind == Kind::Bug) {
        panic!("{bug}");
    }
}
