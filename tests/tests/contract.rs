//! What is refused, and in which words: operators, modes and options that a call's results alone do not show.

use exported_codegen::options::{Options, Target, WeightsForm};
use exported_codegen::{Builder, Errors, Output, compile};
use std::path::Path;

fn compiled(name: &str, change: impl FnOnce(&mut Options)) -> Result<Output, Errors> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/{name}.pt2"));
    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut options = Options::new("m", Target::new("thumbv7em-none-eabihf"));
    change(&mut options);
    compile(&bytes, &options)
}

fn fault(name: &str, change: impl FnOnce(&mut Options)) -> String {
    match compiled(name, change) {
        Ok(_) => panic!("{name} compiles"),
        Err(errors) => errors.to_string(),
    }
}

fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}

#[test]
fn a_custom_operator_that_changes_its_argument_is_refused() {
    let text = fault("refused/custom_without_result", |_| {});
    has(
        &text,
        &["a custom operator without a result changes its arguments", "at node `add`", "from refused.py:", "help: "],
    );
}

#[test]
fn what_only_torch_sees_is_refused_once_and_with_the_remedy() {
    let text = fault("refused/autocast_in_parts", |_| {});
    has(&text, &["unsupported: `einsum` under `torch.autocast(\"cpu\")`", "bf16", "help: `ep.run_decompositions()`"]);
    let text = fault("refused/mapped_by_vmap", |_| {});
    has(&text, &["unsupported: operators under `torch.vmap`", "help: `ep.run_decompositions()`"]);
    assert_eq!(text.matches("torch.vmap").count(), 1, "{text}");
}

#[test]
fn custom_operators_are_known_by_name() {
    let output = compiled("custom/overloaded", |o| o.pure_operators = vec!["fixtures::next".into()]).expect("compiles");
    assert_eq!(output.operators, ["fixtures::next"]);
    let text = fault("custom/custom", |o| o.pure_operators = vec!["fixtures::next".into()]);
    has(
        &text,
        &["the model calls no custom operator `fixtures::next`", "it calls `fixtures::blend`, `fixtures::select`"],
    );
}

#[test]
fn a_build_script_fails_above_its_budgets() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/networks/residual.pt2");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("budgets");
    std::fs::create_dir_all(&folder).expect("a folder");
    let written = folder.join("residual.rs");
    // What an earlier run left.
    let _ = std::fs::remove_file(&written);
    let builder = || Builder::new(&model).target(Target::new("thumbv7em-none-eabihf")).out_dir(&folder);
    let errors = builder().ram(1 << 10).flash(2 << 10).try_compile().expect_err("too small").to_string();
    for words in
        ["bytes of RAM (workspace ", "exceed the budget of 1024", "bytes of flash (weights ", "of layer `", ".py:"]
    {
        assert!(errors.contains(words), "no `{words}` in {errors}");
    }
    assert!(!written.exists());
    builder().ram(1 << 20).flash(1 << 20).try_compile().expect("large enough");
}

#[test]
fn training_mode_is_refused_unless_asked_for() {
    let name = "refused/batch_norm_in_training";
    has(
        &fault(name, |_| {}),
        &["violated constraint: ", "batch normalization", "`model.eval()`", "`train_mode = true`"],
    );
    let output = compiled(name, |options| options.train_mode = true).expect("compiles");
    let code = output.file(&WeightsForm::Literal).expect("prints");
    // Two statistics of three channels in f32, and the number of batches, each at a multiple of 16.
    assert!(code.contains("pub const STATE_BYTES: usize = 40;"), "another state");
    let text = fault("refused/dropout_in_training", |options| options.train_mode = true);
    has(&text, &["dropout in training mode draws random numbers", "`model.eval()`"]);
}
