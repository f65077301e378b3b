//! Compiles the archives that the variable EXPORTED_MODEL names, separated as in PATH. `main.rs` runs the first,
//! `bin/reach.rs` links them all. The result of a model that is the only one is called `result`. EXPORTED_OPTIMIZE `size`
//! favours size, EXPORTED_MULTIPLY_ADD `separate` chooses two instructions, EXPORTED_IO `quantized` integers at the ends.

use exported_codegen::options::{InputMemory, Io, MultiplyAdd, Optimize};
use std::fmt::Write as _;

fn main() {
    for name in ["EXPORTED_MODEL", "EXPORTED_OPTIMIZE", "EXPORTED_MULTIPLY_ADD", "EXPORTED_IO"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    println!("cargo:rustc-link-arg-bins=-Tboard.x");
    let (Some(paths), Some(folder)) = (std::env::var_os("EXPORTED_MODEL"), std::env::var_os("OUT_DIR")) else {
        eprintln!("set EXPORTED_MODEL to the path of a .pt2 file with one input");
        std::process::exit(1);
    };
    let (mut modules, mut models) = (String::new(), String::new());
    let only = std::env::split_paths(&paths).nth(1).is_none();
    for (i, path) in std::env::split_paths(&paths).enumerate() {
        let name = format!("model{i}");
        // Training mode is asked for because fixtures of it stand among the others; it changes nothing elsewhere.
        let mut builder = exported_codegen::Builder::new(path).name(&*name).program(true).train_mode(true);
        if std::env::var("EXPORTED_OPTIMIZE").is_ok_and(|word| word == "size") {
            builder = builder.optimize(Optimize::Size);
        }
        if std::env::var("EXPORTED_MULTIPLY_ADD").is_ok_and(|word| word == "separate") {
            builder = builder.multiply_add(MultiplyAdd::Separate);
        }
        if std::env::var("EXPORTED_IO").is_ok_and(|word| word == "quantized") {
            builder = builder.io(Io::Quantized);
        }
        if std::env::var_os("CARGO_FEATURE_WORKSPACE").is_some() {
            builder = builder.inputs(InputMemory::Workspace);
        }
        if only { builder.outputs(["result"]) } else { builder }.compile();
        _ = writeln!(modules, "mod {name} {{ include!(concat!(env!(\"OUT_DIR\"), \"/{name}.rs\")); }}");
        _ = writeln!(models, "    call(&mut {name}::Model::new());");
    }
    let text = format!("{modules}\nfn each(mut call: impl FnMut(&mut dyn Program)) {{\n{models}}}\n");
    if let Err(error) = std::fs::write(std::path::Path::new(&folder).join("models.rs"), text) {
        eprintln!("cannot write the list of models: {error}");
        std::process::exit(1);
    }
}
