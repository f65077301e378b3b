//! Replays `fuzz/corpus` on the fuzz targets, whose files are what once was a finding or leads deep into the compiler.

use exported_tests::fuzz::differential::differential;
use exported_tests::fuzz::{TARGETS, mutate};
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

/// Bytes of the corpus: it is in everybody's clone.
const MAX_BYTES: u64 = 1 << 20;

fn fuzz_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

/// The files of a folder, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("readable").path()).collect();
    files.sort();
    files
}

#[test]
fn every_target_has_a_file_and_a_corpus() {
    let names: Vec<String> = TARGETS.iter().map(|(name, _)| format!("{name}.rs")).collect();
    let mut sources: Vec<String> = files(&fuzz_folder().join("fuzz_targets"))
        .iter()
        .map(|path| path.file_name().expect("a name").to_string_lossy().into_owned())
        .collect();
    sources.sort_by_key(|name| names.iter().position(|n| n == name));
    assert_eq!(sources, names);
    for (name, _) in TARGETS {
        assert!(!files(&fuzz_folder().join("corpus").join(name)).is_empty(), "{name} has no corpus");
    }
}

#[test]
fn the_corpus_has_no_finding() {
    let (mut bytes, mut wrong) = (0, Vec::new());
    for (name, body) in TARGETS {
        for path in files(&fuzz_folder().join("corpus").join(name)) {
            let data = fs::read(&path).expect("readable");
            bytes += data.len() as u64;
            if catch_unwind(|| body(&data)).is_err() {
                wrong.push(path.display().to_string());
            }
        }
    }
    assert!(wrong.is_empty(), "panicked:\n{}", wrong.join("\n"));
    assert!(bytes < MAX_BYTES, "the corpus has {bytes} bytes");
}

/// Bytes of a random length from a seed.
fn noise(seed: u64) -> Vec<u8> {
    let mut random = mutate::Random(seed);
    (0..8 + random.below(120)).map(|_| random.below(256) as u8).collect()
}

/// `EXPORTED_CASES` says how many.
#[test]
fn random_graphs_compute_what_they_say() {
    let count = std::env::var("EXPORTED_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(400);
    let wrong: Vec<u64> = (0..count).filter(|seed| catch_unwind(|| differential(&noise(*seed))).is_err()).collect();
    assert!(wrong.is_empty(), "wrong: {wrong:?}");
}

/// A mutator whose archives fail at their checksums would make the fuzzer blind.
#[test]
fn changed_archives_lead_past_the_reader() {
    let seed = include_bytes!("../fixtures/conv/conv2d_two_users.pt2");
    let (mut read, mut different) = (0, 0);
    for i in 0..200 {
        let mut bytewise = |bytes: &mut Vec<u8>| {
            if let Some(byte) = bytes.get_mut(i as usize) {
                *byte ^= 1;
            }
        };
        let file = mutate::archive(seed, i, &mut bytewise);
        different += usize::from(file != seed);
        let archive = exported_codegen::archive::read(&file, &Default::default());
        read += usize::from(archive.is_ok_and(|a| exported_codegen::schema::parse(&a.program).is_ok()));
    }
    assert!(different > 190 && read > 60, "{different} of 200 differ, {read} are read");
}
