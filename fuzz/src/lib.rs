//! What the targets share: the mutator of archives behind libFuzzer's interface.

use exported_tests::fuzz::mutate;

/// Changes the archive in `data[..size]` in place; gives its new size. A result that does not fit is not taken.
pub fn archive(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut bytewise = |bytes: &mut Vec<u8>| {
        let len = bytes.len();
        bytes.resize(len + 64, 0);
        let (room, new) = (bytes.len(), libfuzzer_sys::fuzzer_mutate(bytes, len, len + 64));
        bytes.truncate(new.min(room));
    };
    let new = mutate::archive(&data[..size], seed, &mut bytewise);
    let room = max_size.min(data.len());
    if new.len() > room {
        return size;
    }
    data[..new.len()].copy_from_slice(&new);
    new.len()
}
