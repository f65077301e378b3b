//! What holds for the tree as a whole: licences, names that must not occur, lengths, where unsafe code lives.

use std::fs;
use std::path::{Path, PathBuf};

/// Longer files, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[];
const MAX_LINES: usize = 620;

/// The only sources with `unsafe` in them.
const UNSAFE_SOURCES: &[&str] =
    &["runtime/src/memory", "runtime/src/arch", "firmware/board", "tests/tests/bad_input/memory.rs"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lie in the workspace").to_owned()
}

/// Every file of the tree, as a path relative to the root with `/` between its parts.
fn files() -> Vec<String> {
    fn walk(folder: &Path, root: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).expect("the tree is readable") {
            let path = entry.expect("the tree is readable").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if ["target", ".git", "__pycache__"].contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                walk(&path, root, found);
            } else {
                let relative = path.strip_prefix(root).expect("walked from the root");
                found
                    .push(relative.components().map(|c| c.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/"));
            }
        }
    }
    let mut found = Vec::new();
    walk(&root(), &root(), &mut found);
    found.sort();
    found
}

fn sources() -> impl Iterator<Item = (String, String)> {
    let sources = files().into_iter().filter(|file| file.ends_with(".rs"));
    sources.map(|file| (file.clone(), fs::read_to_string(root().join(file)).expect("sources are UTF-8")))
}

#[track_caller]
fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn every_package_carries_both_licences() {
    let manifests = files().into_iter().filter(|f| f.ends_with("Cargo.toml") && !f.starts_with("tests/fixtures"));
    let mut missing = Vec::new();
    for manifest in manifests {
        let folder = root().join(&manifest).parent().expect("a manifest lies in a folder").to_owned();
        let text = fs::read_to_string(root().join(&manifest)).expect("manifests are UTF-8");
        if !(text.contains("license.workspace = true") || text.contains("license = \"MIT OR Apache-2.0\"")) {
            missing.push(format!("{manifest}: no licence named"));
        }
        for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
            let same = fs::read(folder.join(licence)).ok() == fs::read(root().join(licence)).ok();
            // Examples are for copying and are not published; the files of the root speak for them.
            if !same && !text.contains("publish = false") {
                missing.push(format!("{manifest}: no {licence}, or not that of the root"));
            }
        }
    }
    none("packages without a licence", &missing);
}

#[test]
fn nothing_names_a_machine() {
    // Put together here, so that this file does not name them either.
    let folders = ["root", "home", "work", "Users", "usr/lib/python3", "opt"].map(|name| format!("/{name}/"));
    // What a user's folder is called in tests of messages.
    let fictional = format!("{}me/", folders[1]);
    let hosts =
        ["static.crates", "index.crates", "deb.debian", "pythonhosted", "files.python"].map(|h| format!("{h}."));
    let mut found = Vec::new();
    for file in files() {
        let bytes = fs::read(root().join(&file)).expect("the tree is readable");
        for name in folders.iter().chain(&hosts) {
            if contains_path(&bytes, name.as_bytes(), fictional.as_bytes()) {
                found.push(format!("{file}: {name}"));
            }
        }
    }
    none("absolute paths and hosts", &found);
}

/// Whether `name` occurs where a path begins (`target/root/` names no machine), and not as part of `allowed`.
fn contains_path(bytes: &[u8], name: &[u8], allowed: &[u8]) -> bool {
    let starts = |at: usize| at == 0 || !(bytes[at - 1].is_ascii_alphanumeric() || b"._-}*)".contains(&bytes[at - 1]));
    bytes
        .windows(name.len())
        .enumerate()
        .any(|(at, window)| window == name && starts(at) && !bytes[at..].starts_with(allowed))
}

#[test]
fn nothing_is_left_to_be_done() {
    let words = [
        "to".to_owned() + "do!(",
        "unimplemented!".to_owned() + "(",
        "dbg!".to_owned() + "(",
        "TO".to_owned() + "DO",
        "FIX".to_owned() + "ME",
        "To be ".to_owned() + "written",
    ];
    let mut found = Vec::new();
    for (file, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            found.extend(words.iter().filter(|w| line.contains(*w)).map(|w| format!("{file}:{}: {w}", number + 1)));
        }
    }
    none("work left", &found);
}

#[test]
fn files_are_short_enough_to_read() {
    let long = sources().filter(|(file, text)| {
        text.lines().count() > MAX_LINES && !LONG_FILES.iter().any(|(allowed, _)| file == allowed)
    });
    let found: Vec<_> = long.map(|(file, text)| format!("{file}: {} lines", text.lines().count())).collect();
    none("files that need cutting, or a reason in LONG_FILES", &found);
}

#[test]
fn every_module_says_what_it_is() {
    let silent = sources().filter(|(_, text)| {
        let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        !(first.starts_with("//!") || first.starts_with("// @generated"))
    });
    none("files without a module comment", &silent.map(|(file, _)| file).collect::<Vec<_>>());
}

#[test]
fn unsafe_code_lives_in_few_places() {
    let keyword = "uns".to_owned() + "afe";
    let mut found = Vec::new();
    for (file, text) in sources() {
        if UNSAFE_SOURCES.iter().any(|allowed| file.starts_with(allowed)) {
            continue;
        }
        let code = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
        for (number, line) in code.filter(|(_, line)| is_word(line, &keyword)) {
            // As a name of the lint, and in texts, the word does no harm.
            if !line.contains('"') {
                found.push(format!("{file}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    none("unsafe code outside the modules that may hold it", &found);
    for package in ["codegen", "macros", "cli", "xtask"] {
        let main = ["lib.rs", "main.rs"].map(|name| root().join(package).join("src").join(name));
        for path in main.iter().filter(|path| path.is_file()) {
            let text = fs::read_to_string(path).expect("sources are UTF-8");
            assert!(text.contains(&format!("#![forbid({keyword}_code)]")), "{} does not forbid it", path.display());
        }
    }
}

/// Whether `word` occurs in `line` as a word of its own.
fn is_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let part_of_name = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        !part_of_name(line[..at].chars().next_back()) && !part_of_name(line[at + word.len()..].chars().next())
    })
}

#[test]
fn shipped_models_are_in_the_notice() {
    let notice = fs::read_to_string(root().join("NOTICE")).expect("NOTICE lies in the root");
    let models = files().into_iter().filter(|f| f.ends_with(".pt2") || f.ends_with(".bin"));
    let unnamed: Vec<_> =
        models.filter(|f| !notice.contains(f.as_str()) && !f.starts_with("tests/fixtures/")).collect();
    none("weights or data without an entry in NOTICE", &unnamed);
}

#[test]
fn readme_tells_the_truth_about_versions() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the workspace has a manifest");
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md lies in the root");
    let value = |key: &str| {
        let line = manifest.lines().find_map(|line| line.strip_prefix(key)).expect("the key is in the manifest");
        line.trim_matches([' ', '=', '"']).to_owned()
    };
    let (version, rust) = (value("version"), value("rust-version"));
    let minor = version.rsplit_once('.').map_or(version.as_str(), |(minor, _)| minor);
    assert!(readme.contains(&format!("\"{minor}\"")), "the README does not name version {minor}");
    assert!(readme.contains(&format!("Rust {rust}")), "the README does not name Rust {rust}");
    let changes = fs::read_to_string(root().join("CHANGELOG.md")).expect("CHANGELOG.md lies in the root");
    assert!(changes.contains(&version) || changes.contains("[Unreleased]"), "the changelog does not name {version}");
}
