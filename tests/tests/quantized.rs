//! What remains of a quantized program: integers from the first quantization to the last dequantization, and no float
//! copy of a weight.

use exported_codegen::lower::{Buffer, Steps, Storage, Work};
use exported_codegen::options::{Options, Quantization, Target};
use exported_codegen::{Model, analyze};
use std::path::Path;

fn model(name: &str, quantization: Quantization) -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/quantized/{name}.pt2"));
    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let options = Options { quantization, ..Options::new("m", Target::new("thumbv7em-none-eabihf")) };
    analyze(&bytes, &options).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Names of the steps that touch floats.
fn on_floats(steps: &Steps) -> Vec<&str> {
    let is_float = |buffer: &Buffer| buffer.dtype.is_float();
    let touches = |work: &Work| match work {
        Work::Kernel(k) => k.regions().iter().any(|(r, _)| is_float(&steps.buffers[r.buffer.0 as usize])),
        Work::Loop(l) => l.inputs.iter().chain(&l.outputs).any(|p| is_float(&steps.buffers[p.buffer.0 as usize])),
        _ => true,
    };
    steps.steps.iter().filter(|step| touches(&step.work)).map(|step| step.name.as_str()).collect()
}

#[test]
fn no_float_remains_between_the_first_and_the_last_conversion() {
    for (name, expected) in [
        ("residual", ["quantize_per_tensor", "dequantize_per_tensor", "softmax"].as_slice()),
        ("dense", &["quantize_per_tensor", "dequantize_per_tensor"]),
        ("dense_one_scale", &["quantize_per_tensor", "dequantize_per_tensor"]),
        ("branches", &["quantize_per_tensor", "tanh", "mean"]),
    ] {
        let fused = model(name, Quantization::Fused);
        assert_eq!(on_floats(&fused.steps), expected, "{name}");
        let faithful = model(name, Quantization::Faithful);
        assert!(on_floats(&faithful.steps).len() > expected.len(), "{name}");
    }
}

#[test]
fn weights_are_stored_once_as_integers() {
    for name in ["residual", "dense", "dense_one_scale", "branches"] {
        let fused = model(name, Quantization::Fused);
        let weights = fused.steps.buffers.iter().filter(|b| matches!(b.storage, Storage::Weights(_)));
        let floats: Vec<&str> = weights.filter(|b| b.dtype.is_float()).map(|b| b.name.as_str()).collect();
        assert!(floats.is_empty(), "{name}: {floats:?}");
    }
}
