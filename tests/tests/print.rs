//! `inspect` shows what Python's `print(exported_program)` shows, character for character, in the words of the release of
//! torch that wrote the archive.

use exported_codegen::{archive, inspect, schema};
use std::path::{Path, PathBuf};

/// The text files below `folder`, sorted.
fn texts(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let paths = entries.map(|entry| entry.unwrap_or_else(|e| panic!("{}: {e}", folder.display())).path());
    let mut paths: Vec<PathBuf> =
        paths.flat_map(|path| if path.is_dir() { texts(&path) } else { vec![path] }).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    paths
}

/// The first line in which the text of an archive differs from Python's.
fn difference(archive: &Path, text: &Path) -> Result<(), String> {
    let file = std::fs::read(archive).map_err(|e| e.to_string())?;
    let expected = std::fs::read_to_string(text).map_err(|e| e.to_string())?.replace("\r\n", "\n");
    let members = archive::read(&file, &archive::Limits::default()).map_err(|e| e.to_string())?;
    let found = inspect::print(&schema::parse(&members.program).map_err(|e| e.to_string())?);
    if found == expected {
        return Ok(());
    }
    let same = found.lines().zip(expected.lines()).take_while(|(a, b)| a == b).count();
    let at = |text: &str| text.lines().nth(same).unwrap_or("(end)").to_owned();
    Err(format!("line {}\n  here   {}\n  Python {}", same + 1, at(&found), at(&expected)))
}

/// Compares every text below `texts_in` with the archive of the same name below `archives_in`; gives how many there were.
fn compare_all(texts_in: &Path, archives_in: &Path) -> usize {
    let all = texts(texts_in);
    let faults = all.iter().filter_map(|text| {
        let name = text.strip_prefix(texts_in).ok()?;
        let fault = difference(&archives_in.join(name).with_extension("pt2"), text).err()?;
        Some(format!("{}: {fault}\n", name.display()))
    });
    let faults: Vec<String> = faults.collect();
    assert!(faults.is_empty(), "{} of {} differ:\n{}", faults.len(), all.len(), faults.concat());
    all.len()
}

#[test]
fn archives_of_every_release_are_printed_as_it_prints_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/layouts");
    assert!(compare_all(&folder, &folder) >= 11);
}

#[test]
#[ignore = "needs EXPORTED_MODELS, a folder with archives and Python's texts in `print`: cargo xtask conformance"]
fn all_models_are_printed_as_python_prints_them() {
    let models = std::env::var_os("EXPORTED_MODELS").expect("EXPORTED_MODELS is not set");
    let models = Path::new(&models);
    let count = compare_all(&models.join("print"), models);
    assert!(count > 0, "no texts in {}", models.display());
    println!("{count} texts are equal");
}
