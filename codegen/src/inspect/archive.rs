//! What an archive says beside the program: its versions and the files that the user put in.

use super::python;
use crate::archive::Archive;
use crate::schema::Program;
use std::fmt::Write;

/// Versions by the names that torch gives them, guards, extra files with their sizes.
pub fn archive(archive: &Archive, program: &Program) -> String {
    let opsets = program.opset_version.iter().map(|(name, version)| format!("{}: {version}", python::string(name)));
    let schema = program.schema_version;
    let mut text = format!(
        "Archive:\n    format: {}\n    schema_version: {}.{}\n    opset_version: {{{}}}\n    verifiers: {}\n",
        archive.format.name(),
        schema.major,
        schema.minor,
        opsets.collect::<Vec<_>>().join(", "),
        python::list(&program.verifiers, |name| python::string(name)),
    );
    if !program.torch_version.is_empty() {
        let _ = writeln!(text, "    torch_version: {}", program.torch_version);
    }
    let preserved = program.graph_module.module_call_graph.iter().filter(|entry| entry.signature.is_some());
    list(&mut text, "guards", program.guards_code.iter().cloned());
    list(&mut text, "preserved modules", preserved.map(|e| e.fqn.clone()).filter(|fqn| !fqn.is_empty()));
    let size = |(name, bytes): (&String, &&[u8])| format!("{name} ({} bytes)", bytes.len());
    list(&mut text, "extra files", archive.extra_files.iter().map(size));
    text
}

fn list(text: &mut String, what: &str, items: impl Iterator<Item = String>) {
    for (i, item) in items.enumerate() {
        if i == 0 {
            let _ = writeln!(text, "    {what}:");
        }
        let _ = writeln!(text, "        {item}");
    }
}
