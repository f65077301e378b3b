//! `cargo exported`.
fn main() {}
