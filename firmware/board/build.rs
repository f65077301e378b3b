//! Puts the linker script of the target's emulated board where the final link finds it as `-Tboard.x`.
//! The target triple alone names the board: each one that we emulate has its own triple or shares the memory map.
use std::{env, fs, path::Path};

fn main() {
    println!("cargo:rerun-if-changed=link");
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let memory = if target.starts_with("riscv32") {
        include_str!("link/virt.x")
    } else if target.starts_with("thumbv8m.main") {
        include_str!("link/mps2-an505.x")
    } else {
        include_str!("link/mps2.x")
    };
    let script = format!("{memory}\n{}", include_str!("link/sections.x"));
    fs::write(Path::new(&out).join("board.x"), script).expect("OUT_DIR is writable");
    println!("cargo:rustc-link-search={out}");
    println!("cargo:rustc-link-arg-examples=-Tboard.x");
}
