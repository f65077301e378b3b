//! What a user reads when his program must not compile. Only our own words and positions are compared, as the compiler's
//! change from release to release.

use std::process::Command;

/// Errors of one program of `src/bin`, as cargo's command `how` finds them.
fn errors(how: &str, program: &str) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args([how, "--quiet", "--offline", "--color", "never", "--bin", program]);
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
fn calls_that_do_not_fit_the_signature_are_type_errors() {
    let text = errors("check", "wrong_calls");
    has(&text, &["mismatched types", "wrong_calls.rs:10:", "expected an array with a size of 3", "a size of 2"]);
    has(&text, &["missing field `match`", "wrong_calls.rs:14:"]);
    has(&text, &["wrong_calls.rs:19:", "expected `&[[f32; 3]; 2]`, found `&[[i32; 3]; 2]`"]);
}

#[test]
fn arrays_of_sizes_that_the_model_does_not_accept_are_errors_when_built() {
    let text = errors("build", "wrong_sizes");
    for (words, call) in [
        ("Expected input at *args[0].shape[0] to be <= 6 (dim 0 of `x`)", "arrays::<7, 8>"),
        ("Expected input at *args[0].shape[0] to be >= 3 (dim 0 of `x`)", "arrays::<2, 3>"),
        ("Expected input at *args[1].shape[0] to be equal to s77 + 1 (dim 0 of `y`)", "arrays::<4, 4>"),
        ("Guard failed: ((y.size()[0] + x.size()[0]) % 4) == 0", "arrays::<3, 4>"),
    ] {
        has(&text, &[words, call]);
    }
    has(&text, &["wrong_sizes.rs:15:", "wrong_sizes.rs:19:"]);
}

#[test]
fn a_missing_operator_is_named_with_its_line() {
    let text = errors("check", "missing_operator");
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
    let text = errors("check", "refused_models");
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
        &["unknown option `optimise`", "there are name, optimize, inputs, multiply_add, quantization, io, winograd"],
    );
    has(&text, &["two outputs are called `a`"]);
    has(&text, &["`x` cannot stand in the workspace", "tensors of constant sizes"]);
    has(&text, &["the archive has no extra file `labels.txt`; it has none"]);
    has(
        &text,
        &["exceed the budget of 1024; the largest:", "exceed the budget of 2048; the largest:", "of layer `", ".py:"],
    );
    has(
        &text,
        &[
            "dim 0 of `input` (`s",
            "has no upper bound, so its memory cannot be planned",
            ": torch.export.Dim(\"",
            "or cap it here: `cap(\"input.0\" = ",
        ],
    );
    assert!(!text.contains("panicked"), "{text}");
}
