//! The unexpressionr.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| exported_tests::fuzz::expression(data));
