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
