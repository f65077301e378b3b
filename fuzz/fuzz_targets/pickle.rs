//! The unpickler.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| exported_tests::fuzz::pickle(data));
