//! The host-side tool behind `cargo exported`.
#![forbid(unsafe_code)]

pub mod args;
pub mod boards;
pub mod check;
pub mod commands;
pub mod golden;
pub mod report;
pub mod verify;
