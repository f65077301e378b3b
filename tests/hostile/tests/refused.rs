//! What a user reads when his program must not compile.

use std::process::Command;

/// Errors of one program of `src/bin`.
fn errors(program: &str) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["check", "--quiet", "--offline", "--color", "never", "--bin", program]);
    command.current_dir(env!("CARGO_MANIFEST_DIR")).env("EXPORTED_REFUSED", "1");
    let output = command.output().unwrap_or_else(|e| panic!("cargo: {e}"));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{program} compiles");
    text
}

fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}

#[test]
fn a_wrong_shape_is_a_type_error() {
    let text = errors("wrong_shape");
    has(
        &text,
        &["mismatched types", "wrong_shape.rs:6", "expected an array with a size of 3, found one with a size of 2"],
    );
}

#[test]
fn a_missing_operator_is_named_with_its_line() {
    let text = errors("missing_operator");
    has(
        &text,
        &[
            "missing_operator.rs:21:",
            "`Operators` does not implement the custom operator `fixtures::next`",
            "the model calls `fixtures::next` at custom.py:",
            "implement the trait `ops::FixturesNext2`",
        ],
    );
}

#[test]
fn each_fault_of_a_model_is_reported_at_its_path() {
    let text = errors("refused_models");
    has(
        &text,
        &[
            "refused_models.rs:4:32",
            "`../../../fixtures/refused/dropout_in_training.pt2`: violated constraint: dropout in training mode",
            "at node `dropout`",
            "help: ",
        ],
    );
    has(&text, &["refused_models.rs:8:32", "cannot read `", "no_such_file.pt2"]);
    has(
        &text,
        &["unknown option `optimise`", "there are name, optimize, inputs, multiply_add, quantization, winograd, cap"],
    );
    has(&text, &["two outputs are called `a`"]);
    has(&text, &["`x` cannot stand in the workspace", "tensors of constant sizes"]);
    has(&text, &["the archive has no extra file `labels.txt`; it has none"]);
    has(
        &text,
        &["exceed the budget of 1024; the largest:", "exceed the budget of 2048; the largest:", "of layer `", ".py:"],
    );
    assert!(!text.contains("panicked"), "{text}");
}
