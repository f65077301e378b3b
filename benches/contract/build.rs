//! Compiles the model that `BENCH_MODEL` names (a `.pt2` file); without it the digits example, so that the package always
//! builds. Beside it, what `cargo exported report` estimates of each layer.

use cargo_exported::report::Report;
use exported_codegen::options::Target;
use exported_codegen::{Builder, Options};
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-env-changed=BENCH_MODEL");
    let model = variable("BENCH_MODEL").unwrap_or_else(|| "../../examples/digits/digits.pt2".into());
    Builder::new(&model).name("model").program(true).compile();
    let estimates = estimates(&model).unwrap_or_default();
    let out = variable("OUT_DIR").unwrap_or_default();
    if let Err(fault) = std::fs::write(Path::new(&out).join("estimates.rs"), format!("[{estimates}]")) {
        println!("cargo::error={out}: {fault}");
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Multiply-accumulates and share of time of each layer.
fn estimates(model: &str) -> Option<String> {
    let features = variable("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    let flags = variable("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let options = Options::new("model", Target::from_cargo(&variable("TARGET")?, &flags, &features));
    let report = Report::new(&exported_codegen::analyze(&std::fs::read(model).ok()?, &options).ok()?, &options);
    Some(report.layers.iter().map(|layer| format!("({}, {:e}),", layer.macs, layer.time_share)).collect())
}
