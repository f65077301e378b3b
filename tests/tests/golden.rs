//! The generated Rust of a handful of models, as people read it. `EXPORTED_BLESS=1` rewrites the files.

use exported_codegen::options::{Options, Target, WeightsForm};
use std::path::Path;

const MODELS: [&str; 5] = [
    // Names that are keywords.
    "interface/keyword_names",
    // Structs within structs, a constant output.
    "interface/nested_structures",
    // Sizes that depend on the call.
    "interface/dynamic_batch_mlp",
    // State.
    "layouts/buffer_mutation.2.15.0",
    // Kernels with epilogues, weights.
    "conv/conv2d_residual_block",
];

fn generate(model: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(root.join(format!("fixtures/{model}.pt2"))).unwrap_or_else(|e| panic!("{model}: {e}"));
    let name = model.rsplit('/').next().unwrap_or(model);
    let options = Options::new(name, Target::new("thumbv7em-none-eabihf"));
    let output = exported_codegen::compile(&bytes, &options).unwrap_or_else(|e| panic!("{model}: {e}"));
    output.file(&WeightsForm::Include(format!("\"{name}.weights\""))).unwrap_or_else(|e| panic!("{model}: {e}"))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
}

#[test]
fn generated_code_is_as_it_was() {
    let mut changed = Vec::new();
    for model in MODELS {
        let text = generate(model);
        assert_eq!(text, generate(model), "{model}: two runs differ");
        assert!(words(&text).all(|word| word != "unsafe"), "{model}: the word `unsafe`");
        let name = model.rsplit('/').next().unwrap_or(model);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("golden/{name}.rs"));
        let old = std::fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
        if old == text {
            continue;
        }
        if std::env::var_os("EXPORTED_BLESS").is_some() {
            std::fs::write(&path, &text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            continue;
        }
        let line = old.lines().zip(text.lines()).position(|(a, b)| a != b);
        let line = line.unwrap_or_else(|| old.lines().count().min(text.lines().count()));
        let at = |text: &str| text.lines().nth(line).unwrap_or("(end)").to_string();
        changed.push(format!("{name}.rs:{}\n  was {}\n  is  {}", line + 1, at(&old), at(&text)));
    }
    assert!(changed.is_empty(), "{}\nif this is meant, run with EXPORTED_BLESS=1", changed.join("\n"));
}

#[test]
fn weights_and_code_follow_the_target() {
    let model = "conv/conv2d_residual_block";
    let bytes = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/{model}.pt2")));
    let bytes = bytes.unwrap_or_else(|e| panic!("{model}: {e}"));
    let compile = |triple| {
        let options = Options::new("m", Target::new(triple));
        exported_codegen::compile(&bytes, &options).unwrap_or_else(|e| panic!("{triple}: {e}"))
    };
    let (host, device) = (compile("x86_64-unknown-linux-gnu"), compile("thumbv7em-none-eabihf"));
    assert_ne!(host.weights, device.weights, "panels differ in width");
    assert_eq!(device, compile("thumbv7em-none-eabihf"));
}
