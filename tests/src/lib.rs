//! What tests across crates share. The tests themselves live in `tests/tests`.
#![forbid(unsafe_code)]

pub mod fuzz;
pub mod zip;
