//! Random small graphs, compiled against evaluated.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| exported_tests::fuzz::differential::differential(data));
