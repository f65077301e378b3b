//! The binary as people call it: exit statuses, and what goes where.

use std::path::Path;
use std::process::{Command, Output};

fn exported(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cargo-exported"));
    // As cargo does it for a subcommand.
    command
        .arg("exported")
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures"));
    command.output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn help_and_version_are_no_faults() {
    for arguments in [&[][..], &["--help"], &["help"], &["verify", "-h"]] {
        let output = exported(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(text(&output.stdout).contains("Usage: cargo exported COMMAND"));
    }
    assert_eq!(text(&exported(&["--version"]).stdout), format!("cargo-exported {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_usage_has_its_own_status() {
    for arguments in [&["frobnicate"][..], &["check"], &["verify", "no/such/folder"], &["report", "a", "--nonsense"]] {
        let output = exported(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).starts_with("error: "), "{arguments:?}");
    }
}

#[test]
fn check_says_no_on_standard_error_and_in_json() {
    for file in ["README.md", "no/such/file.pt2"] {
        let output = exported(&["check", file, "--json"]);
        assert_eq!(output.status.code(), Some(1), "{file}");
        assert!(text(&output.stderr).starts_with(&format!("{file}: refused\n")), "{}", text(&output.stderr));
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(json[0]["compiles"], false);
        assert_eq!(json[0]["reasons"][0]["kind"], "damaged file");
    }
}

#[test]
fn every_command_that_compiles_refuses_in_words() {
    for command in ["inspect", "emit", "report"] {
        let output = exported(&[command, "README.md"]);
        assert_eq!(output.status.code(), Some(1), "{command}");
        assert!(output.stdout.is_empty());
        assert!(text(&output.stderr).starts_with("README.md: refused\n  damaged file: "), "{}", text(&output.stderr));
    }
}

#[test]
fn report_counts_for_the_largest_call() {
    let output = exported(&["report", "interface/dynamic_batch_mlp.pt2", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    // Two layers over at most 8 rows: 6 to 9 and 9 to 4 numbers.
    let macs = |layer: usize| json["layers"][layer]["macs"].as_u64();
    assert_eq!((macs(0), macs(1)), (Some(8 * 6 * 9), Some(8 * 9 * 4)));
    assert_eq!(
        (&json["totals"]["input_bytes"], &json["totals"]["output_bytes"]),
        (&(8 * 6 * 4).into(), &(8 * 4 * 4).into())
    );
    assert_eq!(json["layers"][0]["output"], "f32[s77, 9]");
    let number = |key: &str| json["totals"][key].as_u64().expect("a number");
    assert!(
        number("workspace_lower_bound") >= 8 * (9 + 4) * 4
            && number("workspace_bytes") >= number("workspace_lower_bound")
    );
    let text = text(&exported(&["report", "interface/dynamic_batch_mlp.pt2"]).stdout);
    assert!(text.contains("workspace") && text.contains("least possible"), "{text}");
}

#[test]
fn budgets_name_what_is_largest() {
    let file = "interface/dynamic_batch_mlp.pt2";
    for command in ["check", "emit", "report"] {
        let output = exported(&[command, file, "--ram", "1K", "--flash", "4K"]);
        assert_eq!(output.status.code(), Some(0), "{command}: {}", text(&output.stderr));
        let output = exported(&[command, file, "--ram", "100", "--flash", "200"]);
        assert_eq!(output.status.code(), Some(1), "{command}");
        let errors = text(&output.stderr);
        for words in ["exceed the budget of 100;", "exceed the budget of 200;", "of layer `", ".py:"] {
            assert!(errors.contains(words), "{command}: no `{words}` in {errors}");
        }
        assert_eq!(output.stdout.is_empty(), command != "report", "a report is printed before it is refused");
    }
}

#[test]
fn emit_writes_code_and_weights() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let code = folder.join("mlp.rs");
    let output = exported(&["emit", "interface/dynamic_batch_mlp.pt2", "-o", &code.to_string_lossy()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let written = std::fs::read_to_string(&code).expect("written");
    assert!(written.contains("pub struct Inputs") && written.contains("include_bytes!(\"mlp.weights\")"));
    assert!(std::fs::metadata(folder.join("mlp.weights")).expect("written").len() > 4 * (9 * 6 + 9 + 4 * 9));
    let printed = exported(&["emit", "interface/dynamic_batch_mlp.pt2"]);
    assert!(text(&printed.stdout).contains("include_bytes!(\"dynamic_batch_mlp.weights\")"));
    assert!(text(&printed.stderr).contains("-o FILE also writes"));
}

#[test]
fn check_and_inspect_of_a_good_archive() {
    let output = exported(&["check", "interface/dynamic_batch_mlp.pt2", "layouts/sin_cos.2.5.1.pt2"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(
        text(&output.stdout),
        "interface/dynamic_batch_mlp.pt2: compiles\nlayouts/sin_cos.2.5.1.pt2: compiles\n"
    );
    let python = exported(&["inspect", "--python", "layouts/sin_cos.2.5.1.pt2"]);
    assert!(text(&python.stdout).starts_with("ExportedProgram:\n"));
    let all = exported(&["inspect", "layouts/sin_cos.2.5.1.pt2"]);
    let beside = text(&all.stdout);
    let beside = beside.strip_prefix(&text(&python.stdout)).expect("the program comes first");
    assert_eq!(
        beside,
        "\nArchive:\n    format: legacy (torch 2.5 to 2.7)\n    schema_version: 7.3\n    opset_version: {'aten': 10}\n    \
         verifiers: ['ATEN']\n    torch_version: 2.5.1+cu124\n"
    );
}
