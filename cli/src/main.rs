//! `cargo exported COMMAND …`.
#![forbid(unsafe_code)]

use cargo_exported::commands::run;
use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(run(std::env::args_os().skip(1)))
}
