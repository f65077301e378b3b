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
        (&json["footprint"]["inputs"], &json["footprint"]["outputs"]),
        (&(8 * 6 * 4).into(), &(8 * 4 * 4).into())
    );
    assert_eq!(json["layers"][0]["output"], "f32[s77, 9]");
    let number = |part: &str, key: &str| json[part][key].as_u64().expect("a number");
    let least = number("totals", "workspace_lower_bound");
    assert!(least >= 8 * (9 + 4) * 4 && number("footprint", "workspace") >= least);
    assert!(json["layers"][0]["source"].as_str().is_some_and(|source| source.contains(".py:")));
    assert!(json["layers"][0]["code"].as_str().is_some_and(|code| !code.is_empty()));
    let shares = json["layers"].as_array().expect("layers").iter().map(|layer| layer["time_share"].as_f64());
    assert!((shares.sum::<Option<f64>>().expect("numbers") - 1.0).abs() < 1e-9);
    let text = text(&exported(&["report", "interface/dynamic_batch_mlp.pt2"]).stdout);
    assert!(text.contains("workspace") && text.contains("least possible"), "{text}");
}

#[test]
fn report_counts_what_is_stored_and_what_is_kept() {
    let output = exported(&["report", "layouts/buffer_mutation.2.15.0.pt2", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let number = |part: &str, key: &str| json[part][key].as_u64().expect("a number");
    let parts = |names: &[&str]| names.iter().map(|name| number("footprint", name)).sum::<u64>();
    assert_eq!(number("totals", "flash_bytes"), parts(&["weights", "padding", "initial_state"]));
    assert_eq!(number("totals", "ram_bytes"), parts(&["workspace", "state"]));
    assert!(parts(&["state"]) > 0);
    let code = text(&exported(&["emit", "layouts/buffer_mutation.2.15.0.pt2"]).stdout).replace('_', "");
    for (constant, part, key) in [
        ("STATEBYTES: usize", "footprint", "state"),
        ("INITIALSTATEBYTES: usize", "footprint", "initial_state"),
        ("WORKSPACEBYTES: usize", "footprint", "workspace"),
        ("OUTPUTBYTES: usize", "footprint", "outputs"),
        ("INPUTBYTES: usize", "footprint", "inputs"),
        ("MACS: u64", "totals", "macs"),
    ] {
        let line = format!("pub const {constant} = {};", number(part, key));
        assert!(code.contains(&line), "no `{line}`");
    }
}

#[test]
fn report_measures_how_far_quantized_layers_are_from_pytorch() {
    let deviation = |arguments: &[&str]| {
        let output = exported(&[&["report", "--json"], arguments].concat());
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        json["deviation"].clone()
    };
    let fused = deviation(&["quantized/residual.pt2"]);
    assert!(fused["layers"].as_u64() > Some(5) && fused["integers"].as_u64() > Some(1000), "{fused}");
    assert!(fused["quanta"].as_u64() <= Some(1) && fused["differ"].as_u64() < Some(20), "{fused}");
    let faithful = deviation(&["quantized/residual.pt2", "--quantization", "faithful"]);
    assert!(faithful["integers"] == fused["integers"] && faithful["differ"].as_u64() <= Some(1), "{faithful}");
    // There is nothing to measure in floats.
    assert!(deviation(&["networks/residual.pt2"]).is_null());
    let text = text(&exported(&["report", "quantized/dense.pt2"]).stdout);
    let line = text.lines().find(|line| line.starts_with("deviation: ")).expect("a line");
    assert!(line.contains(" integers in ") && line.contains(" differ from PyTorch's"), "{line}");
}

#[test]
fn modules_hold_their_layers() {
    let file = "networks/residual.pt2";
    let output = exported(&["report", file, "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let modules = json["modules"].as_array().expect("modules");
    assert_eq!((&modules[0]["path"], &modules[0]["macs"]), (&"".into(), &json["totals"]["macs"]));
    for layer in json["layers"].as_array().expect("layers") {
        let path = &layer["module"];
        let module = modules.iter().find(|module| &module["path"] == path).expect("the module of a layer");
        assert!(module["macs"].as_u64() >= layer["macs"].as_u64() && module["layers"].as_u64() > Some(0));
    }
    let output = text(&exported(&["report", file, "--modules"]).stdout);
    assert!(output.contains("(model)") && !output.contains("offset"), "{output}");
}

#[test]
fn the_picture_is_xml_with_every_buffer() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plan.svg");
    let output = exported(&["report", "networks/residual.pt2", "--json", "--svg", &path.to_string_lossy()]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let picture = std::fs::read_to_string(&path).expect("written");
    let document = roxmltree::Document::parse(&picture).expect("XML");
    let titles = document.descendants().filter(|node| node.has_tag_name(("http://www.w3.org/2000/svg", "title")));
    assert_eq!(titles.count(), json["memory"].as_array().expect("a plan").len());
    let peak = json["totals"]["peak_layer"].as_str().expect("a name");
    assert!(
        document.descendants().any(|node| node.text().is_some_and(|text| text.contains(&format!("during {peak}"))))
    );
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
fn budgets_hold_to_the_byte_and_count_padding_and_state() {
    for file in ["interface/dynamic_batch_mlp.pt2", "layouts/buffer_mutation.2.15.0.pt2", "networks/residual.pt2"] {
        let json: serde_json::Value =
            serde_json::from_slice(&exported(&["report", file, "--json"]).stdout).expect("JSON");
        for (option, total) in [("--ram", "ram_bytes"), ("--flash", "flash_bytes")] {
            let needed = json["totals"][total].as_u64().expect("a number");
            let status = |budget: u64| exported(&["check", file, option, &budget.to_string()]).status.code();
            assert_eq!(status(needed), Some(0), "{file} {option} {needed}");
            assert!(needed == 0 || status(needed - 1) == Some(1), "{file} {option} {needed} - 1");
        }
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
