//! The host-side tool behind `cargo exported`.
#![forbid(unsafe_code)]

pub mod boards;
pub mod golden;
pub mod verify;
