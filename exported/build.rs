//! Tells `include_exported!` what the model is compiled for.
//!
//! A proc macro runs on the host and sees no target, and on Arm `cfg(target_feature)` shows neither DSP nor Helium.
//! This script is built for the same target as the user's crate, so it writes the target and the compiler flags into
//! the definition of the macro.

use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/include_exported.in");
    println!("cargo:rerun-if-env-changed=CARGO_ENCODED_RUSTFLAGS");
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let program = std::env::var_os("CARGO_FEATURE_PROGRAM").is_some();
    let definition = include_str!("src/include_exported.in")
        .replace("@TARGET@", &format!("{:?}", variable("TARGET")))
        .replace("@FLAGS@", &format!("{:?}", variable("CARGO_ENCODED_RUSTFLAGS")))
        .replace("@FEATURES@", &format!("{:?}", variable("CARGO_CFG_TARGET_FEATURE")))
        .replace("@PROGRAM@", if program { "true" } else { "false" });
    let path = Path::new(&variable("OUT_DIR")).join("include_exported.rs");
    if let Err(error) = std::fs::write(&path, definition) {
        eprintln!("cannot write {}: {error}", path.display());
        std::process::exit(1);
    }
}
