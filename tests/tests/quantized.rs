//! What remains of a quantized program: integers from the first quantization to the last dequantization, and no float
//! copy of a weight.

use exported_codegen::lower::{Buffer, Steps, Storage, Work};
use exported_codegen::options::{Io, Options, Quantization, Target, WeightsForm};
use exported_codegen::{Model, analyze, compile};
use exported_runtime::DType;
use std::path::Path;

fn model(name: &str, quantization: Quantization) -> Model {
    model_at(&Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/quantized/{name}.pt2")), quantization)
}

fn model_at(path: &Path, quantization: Quantization) -> Model {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let options = Options { quantization, ..Options::new("m", Target::new("thumbv7em-none-eabihf")) };
    analyze(&bytes, &options).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
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

const FOUR_RESULTS: [&str; 5] = [
    "quantize_per_tensor",
    "dequantize_per_tensor",
    "dequantize_per_tensor_2",
    "dequantize_per_tensor_3",
    "dequantize_per_tensor_4",
];

#[test]
fn no_float_remains_between_the_first_and_the_last_conversion() {
    for (name, expected) in [
        ("residual", ["quantize_per_tensor", "dequantize_per_tensor", "softmax"].as_slice()),
        ("dense", &["quantize_per_tensor", "dequantize_per_tensor"]),
        ("dense_one_scale", &["quantize_per_tensor", "dequantize_per_tensor"]),
        ("branches", &["quantize_per_tensor", "tanh", "mean"]),
        ("functions", &["quantize_per_tensor", "dequantize_per_tensor", "dequantize_per_tensor_2"]),
        ("products", &FOUR_RESULTS),
        ("resized", &FOUR_RESULTS),
        ("gated", &["quantize_per_tensor", "dequantize_per_tensor"]),
        (
            "recurrent",
            &[
                "quantize_per_tensor",
                "dequantize_per_tensor",
                "dequantize_per_tensor_2",
                "norm_layer_norm",
                "dequantize_per_tensor_3",
            ],
        ),
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

/// Kernels of the layers.
fn kernels(steps: &Steps) -> Vec<&str> {
    let path = |work: &Work| match work {
        Work::Kernel(k) => Some(k.path),
        _ => None,
    };
    steps.steps.iter().filter_map(|step| path(&step.work)).filter(|path| path.contains("::")).collect()
}

#[test]
fn any_channels_and_unsigned_bytes_reach_the_instructions_for_bytes() {
    // Depthwise channels that are no multiple of 4, and fewer than 4. Of the program on unsigned bytes one layer has weights of
    // -128, which do not fit records, and the last makes floats.
    for (name, expected) in [
        ("mobile", ["int8::Conv", "int8::Conv", "int8::Depthwise", "int8::Linear"]),
        ("unsigned", ["int8::Conv", "conv::Conv", "int8::Depthwise", "matmul::Linear"]),
    ] {
        let model = model(name, Quantization::Fused);
        assert_eq!(kernels(&model.steps), expected, "{name}");
        let unsigned: Vec<&str> =
            model.steps.buffers.iter().filter(|b| b.dtype == DType::U8).map(|b| b.name.as_str()).collect();
        assert!(unsigned.is_empty(), "{name}: {unsigned:?}");
    }
}

/// Bytes of the weights of each dtype.
fn weights(model: &Model, float: bool) -> usize {
    let buffers = model.steps.buffers.iter().filter(|b| b.dtype.is_float() == float);
    let sizes = buffers.map(|b| if let Storage::Weights(data) = &b.storage { data.len() } else { 0 });
    sizes.sum()
}

#[test]
fn weights_of_few_bits_are_stored_as_such() {
    // The float parts are scales, zero points and biases.
    for (name, integers, floats) in [
        ("weights_8bit", 64 * 32 + 32 * 20, 4 * 4 * (32 + 20)),
        ("weights_8bit_affine", 64 * 32 + 32 * 20, 4 * 4 * (32 + 20)),
        ("weights_4bit", 64 * 32 / 2 + 32 * 20, 4 * 5 * 32 + 4 * 3 * 20),
        ("words_8bit", 11 * 64 + 64 * 12, 4 * 2 * 11 + 4 * 4 * 12),
        ("words_4bit", (11 * 64 + 64 * 12) / 2, 4 * 2 * 2 * 11 + 4 * 5 * 12),
    ] {
        let model = model(name, Quantization::Fused);
        assert!(weights(&model, false) <= integers, "{name}: {} bytes of integers", weights(&model, false));
        assert!(weights(&model, true) <= floats, "{name}: {} bytes of floats", weights(&model, true));
    }
}

#[test]
fn integers_go_in_and_out_where_the_caller_wants_them() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/quantized/dense.pt2");
    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let options = Options { io: Io::Quantized, ..Options::new("m", Target::new("thumbv7em-none-eabihf")) };
    let model = analyze(&bytes, &options).unwrap_or_else(|e| panic!("{e}"));
    assert!(on_floats(&model.steps).is_empty(), "{:?}", on_floats(&model.steps));
    let code = compile(&bytes, &options)
        .and_then(|output| output.file(&WeightsForm::Literal))
        .unwrap_or_else(|e| panic!("{e}"));
    for expected in ["pub const X_SCALE: f32", "pub const X_ZERO_POINT: i32", "pub const OUTPUT_SCALE: f32", "i8"] {
        assert!(code.contains(expected), "{expected}: {code}");
    }
    // A program without quantized inputs has nothing to offer.
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/quantized/weights_8bit.pt2");
    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert!(analyze(&bytes, &options).is_err_and(|e| e.to_string().contains("only quantized")));
}

/// What must hold of the int8 networks of MLPerf Tiny: name, steps on floats, least workspace. That of the autoencoder holds its
/// result in floats.
const BENCHMARKS: [(&str, &[&str], usize); 4] = [
    ("dscnn_kws", &["quantize_per_tensor", "dequantize_per_tensor", "softmax"], 16_000),
    ("resnet8", &["quantize_per_tensor", "dequantize_per_tensor", "softmax"], 49_152),
    ("mobilenet_vww", &["quantize_per_tensor", "dequantize_per_tensor", "softmax"], 55_296),
    ("fc_ad", &["quantize_per_tensor", "dequantize_per_tensor"], 640 + 4 * 640),
];

#[test]
#[ignore = "needs the MLPerf Tiny networks: EXPORTED_MODELS names the folder above `tiny`"]
fn benchmarks_are_on_integers_in_little_more_than_the_least_memory() {
    let models = std::env::var_os("EXPORTED_MODELS").expect("EXPORTED_MODELS");
    for (name, expected, least) in BENCHMARKS {
        for torch in ["2.8.0", "2.15.0"] {
            let path = Path::new(&models).join(format!("tiny/{name}_int8.{torch}.pt2"));
            let model = model_at(&path, Quantization::Fused);
            assert_eq!(on_floats(&model.steps), expected, "{name} {torch}");
            assert_eq!(weights(&model, true), 0, "{name} {torch}");
            let bytes = model.plan.bytes;
            println!(
                "{name} {torch}: {bytes} bytes of workspace, least {least}; {} of weights",
                weights(&model, false)
            );
            assert!(bytes as usize * 100 <= least * 103, "{name} {torch}: {bytes} bytes of workspace, least {least}");
            if name == "fc_ad" {
                let archive = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                let options = Options { io: Io::Quantized, ..Options::new("m", Target::new("thumbv7em-none-eabihf")) };
                let model = analyze(&archive, &options).unwrap_or_else(|e| panic!("{e}"));
                assert!(model.plan.bytes * 100 <= 768 * 103, "{torch}: {} bytes on integers", model.plan.bytes);
            }
        }
    }
}
