//! One entrance for development: `cargo xtask COMMAND`. Each command is a section of the continuous integration, which is
//! `cargo xtask ci`: all of them, every failure collected, with the time that each took.
#![forbid(unsafe_code)]

#[path = "../../cli/src/boards.rs"]
#[allow(dead_code, reason = "the command line tool needs more of it")]
mod boards;
mod ci;
mod costs;
mod elf;
mod firmware;
mod host;
mod image;
mod sections;
mod tools;

use std::process::ExitCode;

type Section = fn() -> Result<(), String>;

/// Name, what it does, how. `ci` starts them in this order, the first one alone, then two at a time: neighbours build in
/// different folders, or one would wait for the other.
const SECTIONS: &[(&str, &str, Section)] = &[
    ("install", "emulators, targets and toolchains that the others need", sections::install),
    ("fmt", "formatting", sections::fmt),
    ("clippy", "lints, warnings denied", sections::clippy),
    ("sizes", "no image may be able to panic, no network may cost more than firmware/costs.txt says", firmware::sizes),
    ("test", "the README's two commands: run the digits, then all tests", sections::test),
    (
        "conformance",
        "`cargo exported verify` on the models in ../shared, where present, on the host and on the boards",
        sections::conformance,
    ),
    ("foreign", "the runtime's suites on other processors, emulated: AArch64 with NEON", sections::foreign),
    ("miri", "the runtime's unsafe modules under Miri, with AVX-512, too", sections::miri),
    ("firmware", "the emulated boards, and the firmware example on one of them", firmware::firmware),
    ("bare-metal", "the runtime builds for every target", sections::bare_metal),
    ("msrv", "the workspace checks with the oldest compiler it promises", sections::msrv),
    ("docs", "documentation, warnings denied", sections::docs),
    ("package", "packaging dry run, in dependency order", sections::package),
];

/// Commands that change or print something, and are no part of `ci`.
const TOOLS: &[(&str, &str, Section)] = &[
    ("bless", "runs the tests so that they rewrite their golden files", sections::bless),
    (
        "costs",
        "prints flash, RAM, stack and instructions of each network (EXPORTED_NETWORK: a word in its path)",
        costs::print,
    ),
    (
        "host",
        "prints how long a release build of MobileNetV2 takes from scratch, and how large the program is",
        host::print,
    ),
    ("bless-costs", "the same, and records them in firmware/costs.txt", costs::bless),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let names: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let sections = names.iter().map(|name| SECTIONS.iter().chain(TOOLS).find(|s| s.0 == *name));
    match (names.as_slice(), sections.collect::<Option<Vec<_>>>()) {
        ([], _) => usage(),
        (["ci"], _) => ci::all(SECTIONS),
        (_, Some(chosen)) => ci::in_order(&chosen),
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: cargo xtask ci | COMMAND…\n");
    for (name, what, _) in SECTIONS.iter().chain(TOOLS) {
        eprintln!("  {name:<12} {what}");
    }
    ExitCode::from(2)
}
