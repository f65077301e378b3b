//! Which convolutions are computed by Winograd's method, as options and target say.

use exported_codegen::options::{Optimize, Options, Target, Winograd};
use exported_codegen::{Model, analyze, lower::Work};
use std::path::Path;

fn model(triple: &str, change: impl Fn(&mut Options)) -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/conv/conv2d_wide.pt2");
    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut options = Options::new("wide", Target::new(triple));
    change(&mut options);
    analyze(&bytes, &options).unwrap_or_else(|e| panic!("{e}"))
}

/// Kernels with weights, with their first generic argument.
fn layers(model: &Model) -> Vec<String> {
    let kernels = model.steps.steps.iter().filter_map(|step| match &step.work {
        Work::Kernel(kernel) => Some(kernel),
        _ => None,
    });
    kernels.map(|kernel| format!("{} {}", kernel.path, kernel.generics[0])).collect()
}

fn growth(model: &Model) -> usize {
    model.steps.buffers.iter().map(|buffer| buffer.growth).sum()
}

const HOST: &str = "x86_64-unknown-linux-gnu";
const F2: &str = "winograd::Winograd rt::kernels::winograd::F2";
const F4: &str = "winograd::Winograd rt::kernels::winograd::F4";
const DIRECT: &str = "conv::Conv rt::kernels::arith::F32";

#[test]
fn options_choose_the_method() {
    let chosen = |winograd| model(HOST, |options| options.winograd = winograd);
    assert_eq!(layers(&chosen(Winograd::Auto)), [F4; 3]);
    assert_eq!(layers(&chosen(Winograd::Off)), [DIRECT; 3]);
    let (two, four) = (chosen(Winograd::F2), chosen(Winograd::F4));
    assert_eq!((layers(&two), layers(&four)), (vec![F2.to_string(); 3], vec![F4.to_string(); 3]));
    // Three layers of 16, 20 and 20 channels to 20 and 17 columns in panels of 16: 7 and 27 positions more than 9 taps.
    let plane = 4 * 32 * (16 + 20 + 20);
    assert_eq!((growth(&two), growth(&four)), (7 * plane, 27 * plane));
    assert_eq!(growth(&chosen(Winograd::Off)), 0);
}

#[test]
fn the_default_follows_the_target() {
    for triple in ["aarch64-unknown-linux-gnu", "aarch64-apple-darwin"] {
        assert_eq!(layers(&model(triple, |_| {})), [F4; 3], "{triple}");
    }
    for triple in
        ["thumbv7em-none-eabihf", "x86_64-unknown-none", "aarch64-unknown-none", "riscv32imac-unknown-none-elf"]
    {
        assert_eq!(layers(&model(triple, |_| {})), [DIRECT; 3], "{triple}");
    }
    assert_eq!(layers(&model(HOST, |options| options.optimize = Optimize::Size)), [DIRECT; 3]);
    // Asked for, it is taken everywhere.
    assert_eq!(layers(&model("thumbv7em-none-eabihf", |options| options.winograd = Winograd::F2)), [F2; 3]);
}
