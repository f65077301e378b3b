//! One entrance for development: `cargo xtask COMMAND`. Each command is a section of the continuous integration, which is
//! `cargo xtask ci`: all of them in order, every failure collected, with the time that each took.
#![forbid(unsafe_code)]

#[path = "../../cli/src/boards.rs"]
#[allow(dead_code, reason = "the command line tool needs more of it")]
mod boards;
mod costs;
mod elf;
mod firmware;
mod host;
mod image;
mod sections;
mod tools;

use std::process::ExitCode;
use std::time::Instant;

type Section = fn() -> Result<(), String>;

/// Name, what it does, how. The order is that of `ci`: what fails fastest comes first.
const SECTIONS: &[(&str, &str, Section)] = &[
    ("fmt", "formatting", sections::fmt),
    ("clippy", "lints, warnings denied", sections::clippy),
    ("test", "the README's two commands: run the digits, then all tests", sections::test),
    ("docs", "documentation, warnings denied", sections::docs),
    ("msrv", "the workspace checks with the oldest compiler it promises", sections::msrv),
    ("bare-metal", "the runtime builds for every target", sections::bare_metal),
    ("firmware", "the emulated boards, and the firmware example on one of them", firmware::firmware),
    ("sizes", "no image may be able to panic, no network may cost more than firmware/costs.txt says", firmware::sizes),
    ("foreign", "the runtime's suites on other processors, emulated: AArch64 with NEON", sections::foreign),
    (
        "conformance",
        "`cargo exported verify` on the models in ../shared, where present, on the host and on the boards",
        sections::conformance,
    ),
    ("miri", "the runtime's unsafe modules under Miri", sections::miri),
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
    let chosen: Vec<_> = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["ci"] => SECTIONS.iter().collect(),
        names if !names.is_empty() => {
            match names.iter().map(|name| SECTIONS.iter().chain(TOOLS).find(|s| s.0 == *name)).collect::<Option<_>>() {
                Some(sections) => sections,
                None => return usage(),
            }
        }
        _ => return usage(),
    };
    let mut results = Vec::new();
    for &(name, what, section) in chosen {
        println!("\n=== {name}: {what}");
        let start = Instant::now();
        let result = section();
        if let Err(reason) = &result {
            println!("=== {name} failed: {reason}");
        }
        results.push((name, start.elapsed().as_secs(), result));
    }
    summary(&results)
}

fn summary(results: &[(&str, u64, Result<(), String>)]) -> ExitCode {
    println!();
    for (name, seconds, result) in results {
        let outcome = result.as_ref().map_or_else(|reason| format!("FAILED: {reason}"), |()| "passed".to_owned());
        println!("{name:<12} {seconds:>5} s  {outcome}");
    }
    let failed = results.iter().filter(|r| r.2.is_err()).count();
    println!("{} passed, {failed} failed", results.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn usage() -> ExitCode {
    eprintln!("usage: cargo xtask ci | COMMAND…\n");
    for (name, what, _) in SECTIONS.iter().chain(TOOLS) {
        eprintln!("  {name:<12} {what}");
    }
    ExitCode::from(2)
}
