//! Bad files: each gives an error in words, without a panic, within ten seconds and a quarter of a gigabyte.
//!
//! Every file is made here, by one change to a small archive that torch wrote (`fixtures/layouts`). The changes stand in
//! `zips`, `pickles`, `programs` and `models`, each with words that the error must contain.

mod memory;
mod models;
mod pickles;
mod programs;
mod zips;

use exported_codegen::diag::Errors;
use exported_codegen::options::{Options, Target};
use exported_tests::zip::Zip;
use std::panic::catch_unwind;
use std::time::{Duration, Instant};

const MAX_TIME: Duration = Duration::from_secs(10);
const MAX_HEAP: usize = 256 << 20;

/// What a bad file is called, the file, and words of its error.
type Case = (String, Vec<u8>, &'static str);

fn case(name: &str, file: impl Into<Vec<u8>>, words: &'static str) -> Case {
    (name.to_owned(), file.into(), words)
}

const LEGACY: &[u8] = include_bytes!("../../fixtures/layouts/buffer_mutation.2.5.1.pt2");
const PICKLED: &[u8] = include_bytes!("../../fixtures/layouts/buffer_mutation.2.8.0.pt2");
const RAW: &[u8] = include_bytes!("../../fixtures/layouts/buffer_mutation.2.15.0.pt2");
const STATELESS: [&[u8]; 3] = [
    include_bytes!("../../fixtures/layouts/sin_cos.2.5.1.pt2"),
    include_bytes!("../../fixtures/layouts/sin_cos.2.8.0.pt2"),
    include_bytes!("../../fixtures/layouts/sin_cos.2.15.0.pt2"),
];

fn compile(file: &[u8]) -> Result<(), Errors> {
    let target = Target::new("x86_64-unknown-linux-gnu");
    exported_codegen::compile(file, &Options::new("model", target)).map(drop)
}

#[test]
fn the_files_are_good_before_they_are_changed() {
    for file in STATELESS.into_iter().chain([LEGACY, PICKLED, RAW]) {
        compile(file).unwrap_or_else(|e| panic!("{e}"));
        compile(&Zip::open(file).bytes()).unwrap_or_else(|e| panic!("repacked: {e}"));
    }
}

#[test]
fn bad_files_are_refused_in_words() {
    let _alone = memory::alone();
    let makers: [fn() -> Vec<Case>; 6] =
        [zips::foreign, zips::truncated, zips::damaged, pickles::cases, programs::cases, models::cases];
    let (mut count, mut wrong) = (0, Vec::new());
    for (name, file, words) in makers.into_iter().flat_map(|make| make()) {
        count += 1;
        if let Err(why) = refuse(&file, words) {
            wrong.push(format!("{name}: {why}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count >= 40, "only {count} bad files");
}

/// Says what the compiler did wrong with a bad file.
fn refuse(file: &[u8], words: &str) -> Result<(), String> {
    let start = Instant::now();
    let (result, heap) = memory::peak_of(|| catch_unwind(|| compile(file)));
    let time = start.elapsed();
    let text = result.map_err(|_| "panicked")?.err().ok_or("accepted")?.to_string();
    if text.is_empty() || !text.contains(words) {
        return Err(format!("`{words}` is not in the error: {text}"));
    }
    if time > MAX_TIME || heap > MAX_HEAP {
        return Err(format!("took {time:?} and {} MiB", heap >> 20));
    }
    Ok(())
}

/// A flipped byte may hit one that nobody reads: then the file is as good as before.
#[test]
fn flipped_bytes_never_panic() {
    let _alone = memory::alone();
    for file in STATELESS.into_iter().chain([LEGACY, PICKLED, RAW]) {
        for at in (0..file.len()).step_by(13) {
            let mut file = file.to_vec();
            file[at] ^= 1 << (at % 8);
            let (result, heap) = memory::peak_of(|| catch_unwind(|| compile(&file).is_ok()));
            assert!(result.is_ok(), "byte {at}: panicked");
            assert!(heap < MAX_HEAP, "byte {at}: took {} MiB", heap >> 20);
        }
    }
}

/// The same behind correct checksums.
#[test]
fn flipped_bytes_of_a_program_never_panic() {
    let _alone = memory::alone();
    let zip = Zip::open(RAW);
    flip("model.json", &zip, 7, Zip::bytes);
    flip("model_weights_config.json", &zip, 1, Zip::bytes);
}

#[test]
fn flipped_bytes_of_pickled_weights_never_panic() {
    let _alone = memory::alone();
    let zip = Zip::open(PICKLED);
    let weights = Zip::open(zip.clone().member("weights/model.pt"));
    flip("data.pkl", &weights, 1, |weights| zip.clone().set("weights/model.pt", weights.bytes()).bytes());
}

/// Compiles what `pack` makes of a zip, for every `stride`th byte of a member.
fn flip(member: &str, zip: &Zip, stride: usize, pack: impl Fn(&Zip) -> Vec<u8>) {
    let contents = zip.clone().member(member).clone();
    for at in (0..contents.len()).step_by(stride) {
        let mut contents = contents.clone();
        contents[at] ^= 1 << (at % 7);
        let file = pack(&zip.clone().set(member, contents));
        assert!(catch_unwind(|| compile(&file).is_ok()).is_ok(), "{member}, byte {at}: panicked");
    }
}
