//! Tells the crate whether its target may have Arm's DSP instructions or a Cortex-M's FPU, which stable
//! `cfg(target_feature)` does not show.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(arm_dsp, arm_fpu, arm_mve, arm_v8m)");
    let target = std::env::var("TARGET").unwrap_or_default();
    let v8m = target.starts_with("thumbv8m.main-");
    if v8m {
        println!("cargo:rustc-cfg=arm_v8m");
    }
    if v8m || target.starts_with("thumbv7em-") {
        println!("cargo:rustc-cfg=arm_dsp");
        if target.ends_with("-eabihf") {
            println!("cargo:rustc-cfg=arm_fpu");
            // The compiler calls these kernels only for cores that have it.
            if v8m {
                println!("cargo:rustc-cfg=arm_mve");
            }
        }
    }
}
