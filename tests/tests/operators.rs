//! The operator table against PyTorch and against its document.
//!
//! Every row is called in a fixture whose numbers `cargo exported verify` compares with PyTorch's (`fixtures/rows` holds one
//! call of each), and every such call is refused when the archive says that PyTorch's result has another type.
//! `docs/ops.md` is printed from the table; `cargo xtask bless` writes it again.

use exported_codegen::ops::{self, Row};
use exported_codegen::options::{Options, Target};
use exported_tests::zip::Zip;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// Core overloads without a row: `target: what becomes of it`.
const OTHERWISE: &str = include_str!("operators/core.txt");
/// `target: dtypes`, of the call in `fixtures/rows`; written by `rows.py --dtypes`.
const DTYPES: &str = include_str!("operators/dtypes.txt");
/// What models cost on emulated boards.
const COSTS: &str = include_str!("../../firmware/costs.txt");
/// Samples of PyTorch's databases that do not verify, as a table in Markdown.
const SAMPLES: &str = include_str!("operators/samples.md");

fn rows() -> impl Iterator<Item = &'static Row> {
    ops::TABLES.iter().flat_map(|table| table.iter())
}

/// What torch exports as its operand itself, or leaves out, so that no number depends on the node.
const IDENTITIES: [&str; 13] = [
    "aten.alpha_dropout.default",
    "aten.atleast_1d.default",
    "aten.atleast_2d.default",
    "aten.conj.default",
    "aten.conj_physical.default",
    "aten.dropout.default",
    "aten.feature_alpha_dropout.default",
    "aten.feature_dropout.default",
    "aten.lift_fresh.default",
    "aten.native_dropout.default",
    "aten.positive.default",
    "aten.real.default",
    "aten.resolve_conj.default",
];

/// Its dtypes in a graph are not those of torch's own answer.
const CONTRADICTORY: [&str; 1] = ["quantized_decomposed.choose_qparams_per_token.default"];

/// What nobody can check: the contents of memory that nothing was written to.
fn is_undefined(row: &Row) -> bool {
    row.note.contains("leaves memory as it is")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Fixtures with a golden file.
fn archives() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for group in fs::read_dir(root().join("tests/fixtures")).expect("the fixtures are there").flatten() {
        let files = fs::read_dir(group.path()).into_iter().flatten().flatten().map(|file| file.path());
        found.extend(files.filter(|path| {
            path.extension().is_some_and(|e| e == "pt2") && path.with_extension("golden.safetensors").exists()
        }));
    }
    found.sort();
    found
}

/// The graph of an archive, as torch's JSON.
fn program(zip: &Zip) -> Value {
    let member = zip.0.iter().find(|(name, _)| name.ends_with("models/model.json"));
    member.and_then(|(_, text)| serde_json::from_slice(text).ok()).unwrap_or_default()
}

/// Names of the tensors of an argument.
fn of_argument(value: &Value) -> impl Iterator<Item = &str> {
    let many =
        ["as_tensors", "as_optional_tensors"].into_iter().flat_map(|kind| value[kind].as_array().into_iter().flatten());
    let many = many.filter_map(|t| t["name"].as_str().or_else(|| t["as_tensor"]["name"].as_str()));
    value["as_tensor"]["name"].as_str().into_iter().chain(many)
}

/// Names of the tensors in a list of arguments or results.
fn tensors(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().flat_map(of_argument).collect()
}

/// Target, operands and results of every node.
fn nodes(graph: &Value) -> impl Iterator<Item = (&str, Vec<&str>, Vec<&str>)> {
    let nodes = graph["nodes"].as_array().into_iter().flatten();
    nodes.filter_map(|node| {
        let operands = node["inputs"].as_array()?.iter().flat_map(|input| of_argument(&input["arg"])).collect();
        Some((node["target"].as_str()?.strip_prefix("torch.ops.")?, operands, tensors(&node["outputs"])))
    })
}

#[test]
fn every_row_has_a_call_whose_numbers_are_compared() {
    let mut compared = BTreeSet::new();
    for zip in archives().iter().filter_map(|path| Zip::parse(&fs::read(path).ok()?)) {
        let program = program(&zip);
        let graph = &program["graph_module"]["graph"];
        let mut counts: BTreeSet<&str> = tensors(&graph["outputs"]).into_iter().collect();
        for (target, operands, results) in nodes(graph).collect::<Vec<_>>().into_iter().rev() {
            if results.iter().any(|result| counts.contains(result)) {
                counts.extend(operands);
                compared.insert(target.to_owned());
            }
        }
    }
    let counted = rows()
        .filter(|row| !is_undefined(row) && !IDENTITIES.contains(&row.target) && !CONTRADICTORY.contains(&row.target));
    let missing: Vec<&str> = counted.map(|row| row.target).filter(|target| !compared.contains(*target)).collect();
    assert!(missing.is_empty(), "a line of `fixtures/python/rows.py` is missing for {missing:?}");
}

#[test]
fn every_row_refuses_a_result_of_another_type() {
    let (mut accepted, mut refused_rows) = (Vec::new(), BTreeSet::new());
    let group = |path: &PathBuf, name: &str| path.parent().is_some_and(|group| group.ends_with(name));
    // `rows` has a call of nearly every row; operators of quantized programs and of sizes read from data stand elsewhere.
    let groups = ["rows", "quantized", "contract"];
    for path in archives().iter().filter(|path| groups.iter().any(|name| group(path, name))) {
        let zip = Zip::open(&fs::read(path).expect("a fixture"));
        let graph = program(&zip)["graph_module"]["graph"].take();
        let mut left: BTreeSet<usize> = (0..nodes(&graph).count()).collect();
        // What depends on a refused node is not looked at: rounds, each of nodes that do not depend on each other.
        loop {
            let refused = refused_nodes(&zip, &left);
            let before = left.len();
            left.retain(|node| !refused.contains(node));
            if left.is_empty() || left.len() == before {
                break;
            }
        }
        let targets: Vec<&str> = nodes(&graph).map(|(target, ..)| target).collect();
        let refused = targets.iter().enumerate().filter(|(node, _)| !left.contains(node));
        refused_rows.extend(refused.map(|(_, target)| (*target).to_owned()));
        if !group(path, "rows") {
            continue;
        }
        accepted.extend(left.into_iter().map(|node| targets[node].to_owned()).filter(|t| ops::find(t).is_some()));
    }
    assert!(accepted.is_empty(), "accepted with a result of another dtype: {accepted:?}");
    let counted = rows().filter(|row| !is_undefined(row) && !IDENTITIES.contains(&row.target));
    let counted = counted.map(|row| row.target).filter(|target| !CONTRADICTORY.contains(target));
    let untried: Vec<&str> = counted.filter(|target| !refused_rows.contains(*target)).collect();
    assert!(untried.is_empty(), "a line of `fixtures/python/rows.py` is missing for {untried:?}");
}

/// Gives results of nodes among `candidates` another dtype and says which were refused for it.
fn refused_nodes(zip: &Zip, candidates: &BTreeSet<usize>) -> BTreeSet<usize> {
    let mut program = program(zip);
    let graph = &mut program["graph_module"]["graph"];
    let (mut tainted, mut changed) = (BTreeSet::new(), BTreeMap::new());
    for (number, (_, operands, results)) in nodes(graph).enumerate() {
        let depends = operands.iter().any(|operand| tainted.contains(*operand));
        if !depends && candidates.contains(&number) {
            changed.extend(results.iter().map(|result| ((*result).to_owned(), number)));
        }
        if depends || candidates.contains(&number) {
            tainted.extend(results.into_iter().map(str::to_owned));
        }
    }
    for result in changed.keys() {
        let dtype = &mut graph["tensor_values"][result]["dtype"];
        // torch's numbers of float32 and float64.
        *dtype = if *dtype == 7 { 8.into() } else { 7.into() };
    }
    let file = zip.clone().set("models/model.json", program.to_string()).bytes();
    let mut options = Options::new("changed", Target::new("x86_64-unknown-linux-gnu"));
    options.train_mode = true;
    let errors = exported_codegen::compile(&file, &options).map(drop).err().unwrap_or_default();
    // "`name` is recorded as ..".
    let named = errors.0.iter().filter(|e| e.message.contains("` is recorded as"));
    named.filter_map(|e| changed.get(e.message.split('`').nth(1)?).copied()).collect()
}

#[test]
fn the_document_of_operators_is_the_table() {
    let path = root().join("docs/ops.md");
    let text = document();
    if std::env::var_os("EXPORTED_BLESS").is_some() {
        fs::write(&path, &text).expect("the tree is writable");
    }
    let written = fs::read_to_string(&path).unwrap_or_default().replace('\r', "");
    assert!(written == text, "docs/ops.md is not what the table says; run `cargo xtask bless`");
}

/// The entries `target: text` of a data file.
fn entries(file: &'static str) -> BTreeMap<&'static str, &'static str> {
    file.lines().filter_map(|line| line.split_once(": ")).collect()
}

/// Every Core overload has a row or an explanation, and none has both.
#[test]
fn the_state_of_every_core_overload_is_known() {
    let without: BTreeSet<&str> = ops::core_targets().filter(|target| ops::find(target).is_none()).collect();
    let explained: BTreeSet<&str> = entries(OTHERWISE).into_keys().collect();
    assert_eq!(without, explained);
}

fn document() -> String {
    let core: BTreeSet<&str> = ops::core_targets().collect();
    let covered = core.iter().filter(|target| ops::find(target).is_some()).count();
    let mut text = format!(
        "# Supported operators\n\n\
         {} overloads; of the {} that PyTorch 2.15 tags as core, {covered} and those below. In-place variants (`add_`) count \
         as their functional ones. Overloads that are core are **bold**. Dtypes are those that PyTorch accepts in the call \
         of `tests/fixtures/python/rows.py` and that compile; other arguments may have others. This file is printed from \
         the operator table: `cargo xtask bless`.\n\n\
         | operator | overloads | dtypes | notes |\n|---|---|---|---|\n",
        rows().count(),
        core.len()
    );
    let dtypes = entries(DTYPES);
    let mut operators: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows() {
        operators.entry(row.target.rsplit_once('.').map_or(row.target, |(name, _)| name)).or_default().push(row);
    }
    for (name, mut overloads) in operators {
        overloads.sort_by_key(|row| row.target);
        let shown = overloads.iter().map(|row| {
            let overload = row.target.rsplit_once('.').map_or("", |(_, overload)| overload);
            if core.contains(row.target) { format!("**`{overload}`**") } else { format!("`{overload}`") }
        });
        let mut all: Vec<&str> = Vec::new();
        for dtype in overloads.iter().filter_map(|row| dtypes.get(row.target)).flat_map(|list| list.split(' ')) {
            if !all.contains(&dtype) {
                all.push(dtype);
            }
        }
        let notes: BTreeSet<&str> = overloads.iter().map(|row| row.note).filter(|note| !note.is_empty()).collect();
        let (shown, notes) = (shown.collect::<Vec<_>>().join(", "), Vec::from_iter(notes).join("; "));
        let name = name.strip_prefix("aten.").unwrap_or(name);
        let _ = writeln!(text, "| `{name}` | {shown} | {} | {notes} |", all.join(" "));
    }
    text.push_str("\n## Core overloads without a row\n\n| overload | state |\n|---|---|\n");
    for (target, state) in entries(OTHERWISE) {
        let _ = writeln!(text, "| `{target}` | {state} |");
    }
    let _ = write!(text, "\n{}\n{SAMPLES}", code_sizes());
    text
}

/// What `firmware/costs.txt` says of the models that stand for a family of kernels each.
fn code_sizes() -> String {
    let folder = fs::read_dir(root().join("tests/fixtures/families")).expect("the fixtures are there");
    let paths = folder.flatten().map(|file| file.path()).filter(|path| path.extension().is_some_and(|e| e == "pt2"));
    let models: BTreeSet<String> =
        paths.filter_map(|path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned())).collect();
    let mut text = "## Code of single layers\n\n\
        Bytes of an image for a Cortex-M4F (`thumbv7em-none-eabihf`) without its weights, opt-level `s` and \
        `optimize = \"size\"`: start-up, the call of one layer, and what that links. `cargo xtask bless-costs` records \
        them in `firmware/costs.txt`; `cargo xtask sizes` fails when one grows.\n\n\
        | model | code | stack of the call |\n|---|---:|---:|\n"
        .to_owned();
    for row in COSTS.lines() {
        if let [model, "m4f", "size", _, code, _, _, stack, _] = Vec::from_iter(row.split_whitespace())[..]
            && models.contains(model)
        {
            let _ = writeln!(text, "| `{model}` | {code} | {stack} |");
        }
    }
    text
}
