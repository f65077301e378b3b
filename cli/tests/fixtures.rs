//! The archives of this repository against PyTorch: every case, every reject, as `cargo exported verify` judges them.

use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Archives that must not compile; `tests/bad_input` and the manifests say with which words.
const REFUSED: &str = "fixtures/refused/";

#[test]
fn every_fixture_gives_pytorchs_numbers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let report = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fixtures.json");
    let output = Command::new(env!("CARGO_BIN_EXE_cargo-exported"))
        .args(["exported", "verify", "--allow-unsupported", "--ops"])
        .arg(root.join("tests/fixtures/ops/scaled_relu.rs"))
        .arg("--json")
        .arg(&report)
        .args(["tests/fixtures", "examples"].map(|folder| root.join(folder)))
        .current_dir(root)
        .output()
        .expect("the binary runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&std::fs::read(report).expect("a report")).expect("JSON");
    let archives = report["archives"].as_array().expect("archives");
    let wrong: Vec<&Value> = archives.iter().filter(|entry| !as_meant(entry)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(archives.len() > 200, "{} archives", archives.len());
}

/// Whether an archive that is to be refused was, and any other one passed with at least one case.
fn as_meant(entry: &Value) -> bool {
    let (path, status) = (entry["path"].as_str().unwrap_or_default(), entry["status"].as_str().unwrap_or_default());
    if path.contains(REFUSED) { status != "pass" } else { status == "pass" && entry["cases"].as_u64() > Some(0) }
}

#[test]
fn every_quantized_layer_gives_pytorchs_integers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    for quantization in ["fused", "faithful"] {
        let output = Command::new(env!("CARGO_BIN_EXE_cargo-exported"))
            .args(["exported", "verify", "--layers", "--quantization", quantization])
            .arg(root.join("tests/fixtures/quantized"))
            .current_dir(root)
            .output()
            .expect("the binary runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{quantization}: {text}\n{}", String::from_utf8_lossy(&output.stderr));
    }
}
