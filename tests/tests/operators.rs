//! `OPERATORS.md`, the document of supported operators, is printed from the operator table. The test fails when the two
//! differ; `cargo xtask bless` writes the document again.

use exported_codegen::ops::{self, Row};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

#[test]
fn the_document_of_operators_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../OPERATORS.md");
    let text = document();
    if std::env::var_os("EXPORTED_BLESS").is_some() {
        std::fs::write(&path, &text).expect("the tree is writable");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default().replace('\r', "");
    assert!(written == text, "OPERATORS.md is not what the table says; run `cargo xtask bless`");
}

fn document() -> String {
    let rows: Vec<&Row> = ops::TABLES.iter().flat_map(|table| table.iter()).collect();
    let core: BTreeSet<&str> = ops::core_targets().collect();
    let covered = rows.iter().filter(|row| core.contains(row.target)).count();
    let mut text = format!(
        "# Supported operators\n\n\
         {} overloads; of the {} that PyTorch tags as core, {covered}. In-place variants (`add_`) count as their functional \
         ones. Overloads that are core are **bold**. This file is printed from the operator table: `cargo xtask bless`.\n\n\
         | operator | overloads | notes |\n|---|---|---|\n",
        rows.len(),
        core.len()
    );
    let mut operators: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        operators.entry(row.target.rsplit_once('.').map_or(row.target, |(name, _)| name)).or_default().push(row);
    }
    for (name, mut overloads) in operators {
        overloads.sort_by_key(|row| row.target);
        let shown = overloads.iter().map(|row| {
            let overload = row.target.rsplit_once('.').map_or("", |(_, overload)| overload);
            if core.contains(row.target) { format!("**`{overload}`**") } else { format!("`{overload}`") }
        });
        let notes: BTreeSet<&str> = overloads.iter().map(|row| row.note).filter(|note| !note.is_empty()).collect();
        let (shown, notes) = (shown.collect::<Vec<_>>().join(", "), Vec::from_iter(notes).join("; "));
        let _ = writeln!(text, "| `{}` | {shown} | {notes} |", name.strip_prefix("aten.").unwrap_or(name));
    }
    let missing: Vec<_> = core.iter().filter(|target| ops::find(target).is_none()).map(|t| format!("`{t}`")).collect();
    if !missing.is_empty() {
        let _ = writeln!(text, "\nCore overloads that are not supported: {}.", missing.join(", "));
    }
    text
}
