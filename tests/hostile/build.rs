//! The same models by the build-script route.

use exported_codegen::Builder;

fn main() {
    // The programs of `src/bin` must not compile; `tests/refused.rs` sets this to see what the compiler says.
    println!("cargo:rustc-check-cfg=cfg(refused)");
    println!("cargo:rerun-if-env-changed=EXPORTED_REFUSED");
    if std::env::var_os("EXPORTED_REFUSED").is_some() {
        println!("cargo:rustc-cfg=refused");
    }
    let models = [
        "interface/keyword_names",
        "interface/nested_structures",
        "layouts/buffer_mutation.2.15.0",
        "conv/conv2d_residual_block",
        "contract/changed_arguments",
        "contract/changed_plane",
        "custom/custom",
        "contract/loops",
        "contract/frozen",
        "contract/checked_state",
    ];
    for model in models {
        Builder::new(format!("../fixtures/{model}.pt2")).program(true).runtime("::renamed::rt").compile();
    }
}
