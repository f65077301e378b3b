//! Finds archives: files named on the command line, and every `.pt2` file in folders.

use std::fs;
use std::path::{Path, PathBuf};

/// The archives below `paths`, each once, sorted within each path.
///
/// # Errors
/// A path that does not exist or cannot be read, or in which there is no archive.
pub fn archives(paths: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    for path in paths {
        let before = found.len();
        let unreadable = |e: std::io::Error| format!("{}: {e}", path.display());
        if fs::metadata(path).map_err(unreadable)?.is_dir() {
            walk(path, &mut found).map_err(unreadable)?;
            found[before..].sort();
        } else {
            found.push(path.clone());
        }
        if found.len() == before {
            return Err(format!("{}: no .pt2 file found", path.display()));
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|path| seen.insert(fs::canonicalize(path).unwrap_or_else(|_| path.clone())));
    Ok(found)
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let (kind, path) = entry.map(|e| (e.file_type(), e.path()))?;
        if kind?.is_dir() {
            walk(&path, found)?;
        } else if path.extension().is_some_and(|e| e == "pt2") {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_searched_and_files_taken_once() {
        let root = std::env::temp_dir().join(format!("exported-find-{}", std::process::id()));
        fs::create_dir_all(root.join("a/b")).expect("a folder");
        fs::create_dir_all(root.join("empty")).expect("a folder");
        for name in ["z.pt2", "a/y.pt2", "a/b/x.pt2", "a/x.golden.safetensors", "other"] {
            fs::write(root.join(name), "").expect("a file");
        }
        let found = archives(&[root.join("z.pt2"), root.clone(), root.join("other")]).expect("archives");
        let names: Vec<_> = found.iter().map(|p| p.strip_prefix(&root).expect("below")).collect();
        assert_eq!(names, [Path::new("z.pt2"), Path::new("a/b/x.pt2"), Path::new("a/y.pt2"), Path::new("other")]);
        assert!(archives(&[root.join("empty")]).expect_err("empty").contains("no .pt2 file"));
        assert!(archives(&[root.join("absent")]).is_err());
        fs::remove_dir_all(&root).expect("removed");
    }
}
