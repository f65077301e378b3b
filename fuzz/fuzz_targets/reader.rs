//! The archive reader, on archives whose members change.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| exported_tests::fuzz::reader(data));
libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    exported_fuzz::archive(data, size, max_size, seed)
});
