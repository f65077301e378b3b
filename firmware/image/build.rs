//! Compiles the archive that the variable EXPORTED_MODEL names.

fn main() {
    println!("cargo:rerun-if-env-changed=EXPORTED_MODEL");
    println!("cargo:rustc-link-arg-bins=-Tboard.x");
    let Some(path) = std::env::var_os("EXPORTED_MODEL") else {
        eprintln!("set EXPORTED_MODEL to the path of a .pt2 file with one float32 input");
        std::process::exit(1);
    };
    exported_codegen::Builder::new(path).name("model").program(true).compile();
}
