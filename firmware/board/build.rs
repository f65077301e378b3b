//! Puts the linker script of an emulated board where the final link finds it as `-Tboard.x`. The environment variable
//! `EXPORTED_BOARD` names its memory map (a file in `link`); without it, it is that of the first board of the target.
use std::{env, fs, path::Path};

fn main() {
    println!("cargo:rerun-if-changed=link");
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let target = env::var("TARGET").expect("cargo sets TARGET");
    println!("cargo:rerun-if-env-changed=EXPORTED_BOARD");
    let of_target = match target.split('-').next() {
        Some(arch) if arch.starts_with("riscv32") => "virt",
        Some("thumbv8m.main") => "mps2-an505",
        _ => "mps2",
    };
    let memory = match env::var("EXPORTED_BOARD").as_deref().unwrap_or(of_target) {
        "virt" => include_str!("link/virt.x"),
        "mps2-an505" => include_str!("link/mps2-an505.x"),
        "mps3-an547" => include_str!("link/mps3-an547.x"),
        "mps2" => include_str!("link/mps2.x"),
        "inspected" => include_str!("link/inspected.x"),
        other => panic!("EXPORTED_BOARD: there is no memory map `{other}` in {}/link", env!("CARGO_MANIFEST_DIR")),
    };
    let script = format!("{memory}\n{}", include_str!("link/sections.x"));
    fs::write(Path::new(&out).join("board.x"), script).expect("OUT_DIR is writable");
    println!("cargo:rustc-link-search={out}");
    println!("cargo:rustc-link-arg-examples=-Tboard.x");
}
