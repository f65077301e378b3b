//! The sections that run on the host.

use crate::boards::{BOARDS, FOREIGN, Place};
use crate::firmware::TINY;
use crate::image::name;
use crate::tools::{Toolchain, cargo, ensure_foreign, ensure_qemu, ensure_toolchain, output, root, run};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Folders that are workspaces of their own.
pub const OUTSIDE: &[(&str, &str)] = &[
    ("firmware/board", "thumbv7em-none-eabihf"),
    ("firmware/image", "thumbv7em-none-eabihf"),
    ("examples/digits-firmware", "thumbv7em-none-eabihf"),
];

/// A workspace of its own for the host: it takes a nightly compiler to run, none to be checked.
const FUZZ: &str = "fuzz";

/// What the runtime must build for; the emulated ones are among them.
const BARE_METAL: &[&str] = &[
    "thumbv6m-none-eabi",
    "thumbv7m-none-eabi",
    "thumbv7em-none-eabi",
    "thumbv7em-none-eabihf",
    "thumbv8m.main-none-eabi",
    "thumbv8m.main-none-eabihf",
    "riscv32imac-unknown-none-elf",
    "riscv32imafc-unknown-none-elf",
    "aarch64-unknown-none",
    "wasm32-unknown-unknown",
];

/// Sections that run at the same time must not install anything.
pub fn install() -> Result<(), String> {
    ensure_qemu()?;
    FOREIGN.iter().try_for_each(ensure_foreign)?;
    let boards = BOARDS.iter().map(|board| board.target);
    boards.chain(BARE_METAL.iter().copied()).try_for_each(|target| Toolchain::of(target).map(|_| ()))?;
    ensure_toolchain("nightly", &["miri", "rust-src"])?;
    ensure_toolchain(&msrv_version()?, &[])
}

pub fn fmt() -> Result<(), String> {
    run(&mut cargo(&["fmt", "--all", "--check"]))?;
    run(cargo(&["fmt", "--check"]).current_dir(root().join(FUZZ)))?;
    each_outside(|folder, _| run(cargo(&["fmt", "--check"]).current_dir(root().join(folder))))
}

pub fn clippy() -> Result<(), String> {
    run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"]))?;
    run(cargo(&["clippy", "--", "-D", "warnings"]).current_dir(root().join(FUZZ)))?;
    each_outside(|folder, target| {
        let toolchain = Toolchain::of(target)?;
        let mut command = toolchain.cargo(target, &["clippy", "--release"]);
        // What `firmware/image` compiles; the others do not look at it.
        command.env("EXPORTED_MODEL", root().join("examples/digits/digits.pt2"));
        run(command.args(["--", "-D", "warnings"]).current_dir(root().join(folder)))
    })
}

pub fn test() -> Result<(), String> {
    run(&mut cargo(&["run", "-p", "digits"]))?;
    run(&mut cargo(&["test"]))
}

pub fn docs() -> Result<(), String> {
    run(cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-Dwarnings"))
}

pub fn msrv() -> Result<(), String> {
    let version = msrv_version()?;
    ensure_toolchain(&version, &[])?;
    let toolchain = format!("+{version}");
    run(cargo(&[&toolchain, "check", "--workspace"]).env("CARGO_TARGET_DIR", root().join("target/msrv")))
}

fn msrv_version() -> Result<String, String> {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).map_err(|e| e.to_string())?;
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = "));
    Ok(version.ok_or("no rust-version in Cargo.toml")?.trim_matches('"').to_owned())
}

pub fn bare_metal() -> Result<(), String> {
    let of_runtime = ["--release", "-p", "exported-runtime", "--no-default-features"];
    for (number, target) in BARE_METAL.iter().enumerate() {
        let toolchain = Toolchain::of(target)?;
        // With what needs neither std nor a heap; and without, which leaves out the same code everywhere.
        let features = ["--features", "defmt,postcard,program,serde"];
        run(toolchain.cargo(target, &["build"]).args(of_runtime).args(features))?;
        if number == 0 {
            run(toolchain.cargo(target, &["check"]).args(of_runtime))?;
        }
    }
    Ok(())
}

/// The runtime's suites on processors that only an emulator has, at all their levels.
pub fn foreign() -> Result<(), String> {
    for foreign in FOREIGN {
        ensure_foreign(foreign)?;
        let on = |command, more: &[&str]| {
            let arguments = ["-p", "exported-runtime", "--release", "--features", "std", "--target", foreign.target];
            let mut command = cargo(&[command]);
            command.args(arguments).args(more);
            command
        };
        run(&mut on("clippy", &["--all-targets", "--", "-D", "warnings"]))?;
        run(&mut on("test", &["--lib", "--tests"]))?;
        run(on("test", &["--test", "quantized"]).env("QEMU_CPU", foreign.plain_core))?;
    }
    Ok(())
}

pub fn conformance() -> Result<(), String> {
    let models = root().join("../shared/models");
    if !models.is_dir() {
        println!("../shared/models is absent: only the fixtures of this repository are verified");
    }
    let needed = [("quantized", "tiny"), ("layers", "tiny"), ("print", "print")];
    let (there, absent): (Vec<_>, Vec<_>) = needed.into_iter().partition(|(_, folder)| models.join(folder).is_dir());
    for (test, folder) in absent {
        println!("the test `{test}` is not run on ../shared/models/{folder}, which is absent");
    }
    let tests: Vec<&str> = there.into_iter().flat_map(|(test, _)| ["--test", test]).collect();
    if !tests.is_empty() {
        let arguments = [&["test"], &tests[..], &["--", "--ignored", "--nocapture"]].concat();
        run(cargo(&arguments).env("EXPORTED_MODELS", &models))?;
    }
    groups("host", &models, &["tiny", "vision", "seed", "seq", "dyn", "stateful"])?;
    boards(&models)?;
    // What a program promises holds on a device, too.
    groups("m4f", &models, &["seed", "dyn", "stateful"])
}

/// Groups of `models`, with the custom operator they call; nothing of them may be refused. (The fixtures of this repository are
/// verified by `cargo test`.)
fn groups(place: &str, models: &Path, names: &[&str]) -> Result<(), String> {
    let (there, absent): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| models.join(name).is_dir());
    if !absent.is_empty() {
        println!("{place}: not verified, for ../shared/models has no {absent:?}");
    }
    if there.is_empty() {
        return Ok(());
    }
    let ops = root().join("tests/fixtures/ops/scaled_relu.rs");
    let paths: Vec<PathBuf> = std::iter::once(ops).chain(there.iter().map(|name| models.join(name))).collect();
    verify(place, &["--ops"], &paths)
}

/// The networks on every emulated board and processor.
fn boards(models: &Path) -> Result<(), String> {
    ensure_qemu()?;
    for board in BOARDS {
        Toolchain::of(board.target)?;
    }
    FOREIGN.iter().try_for_each(ensure_foreign)?;
    // It leaves out what is not installed, as it may have been when all tests ran.
    run(&mut cargo(&["test", "--test", "verify", "other_places"]))?;
    let own = ["digits/digits.pt2", "digits/digits_int8.pt2", "build-script/models/gate.pt2"];
    let own: Vec<PathBuf> = own.iter().map(|n| root().join("examples").join(n)).collect();
    let tiny = |name: &str| Some(models.join(format!("tiny/{name}.2.15.0.pt2"))).filter(|path| path.is_file());
    let floats: Vec<PathBuf> = TINY.iter().filter_map(|name| tiny(name)).collect();
    let quantized: Vec<PathBuf> = TINY.iter().filter_map(|name| tiny(&name.replace("_f32", "_int8"))).collect();
    for place in Place::names() {
        let board = Place::named(place).and_then(Place::board);
        let mut networks = [&own[..], &quantized[..], &floats[..]].concat();
        // Where floats are calls of a library, the small networks show as much in a tenth of the time.
        let soft = board.is_some_and(|board| !board.target.ends_with("eabihf"));
        let flash = board.map_or(u64::MAX, |board| board.flash as u64);
        networks.retain(|path| {
            let fits = path.metadata().is_ok_and(|file| file.len() < flash);
            let tried = fits && !(soft && floats.contains(path));
            if !tried {
                let why = if fits { "no FPU" } else { "larger than its flash" };
                println!("{place}: {} is not tried: {why}", name(path));
            }
            tried
        });
        verify(place, &[], &networks)?;
        // Each quantized layer alone, on the reference's integers, and every kernel for these.
        networks.retain(|path| path.to_string_lossy().contains("_int8"));
        networks.push(root().join("tests/fixtures/quantized"));
        verify(place, &["--layers"], &networks)?;
    }
    Ok(())
}

/// The tool as the tests built it: of one package alone, features would be others, and all be compiled again.
fn verify(place: &str, arguments: &[&str], paths: &[PathBuf]) -> Result<(), String> {
    let command = ["run", "--bin", "cargo-exported", "--", "exported", "verify", "--target", place];
    run(cargo(&command).args(arguments).args(paths))
}

pub fn miri() -> Result<(), String> {
    ensure_toolchain("nightly", &["miri", "rust-src"])?;
    let test = |arguments: &[&str]| {
        let mut command = cargo(&["+nightly", "miri", "test", "-p", "exported-runtime"]);
        command.args(arguments).env("CARGO_TARGET_DIR", root().join("target/miri"));
        command
    };
    run(&mut test(&["--lib", "--", "memory"]))?;
    // The interpreter has all of the instructions, whatever this processor has, once the compiler is told so. Of the kernels, which
    // have no unsafe code of their own and would take hours, those with loops of intrinsics.
    run(test(&["--features", "std", "--test", "vectors"]).env("RUSTFLAGS", AVX512))?;
    run(test(&["--features", "std", "--test", "quantized", "--", "products_of_four_bytes", "convolutions_of_bytes"])
        .env("RUSTFLAGS", AVX512))
}

const AVX512: &str = "-Ctarget-feature=+avx2,+fma,+avx512f,+avx512bw,+avx512dq,+avx512vl,+avx512vnni";

pub fn package() -> Result<(), String> {
    let dirty = output(Command::new("git").current_dir(root()).args(["status", "--porcelain"]))?;
    let allow: &[&str] = if dirty.is_empty() { &[] } else { &["--allow-dirty"] };
    let crates = ["exported-runtime", "exported-codegen", "exported-macros", "exported", "cargo-exported"];
    let built = root().join("target/packages");
    forget_packaged(&crates, &built)?;
    let names = crates.iter().flat_map(|name| ["-p", *name]);
    run(cargo(&["package"]).args(names).args(allow).env("CARGO_TARGET_DIR", &built))?;
    let target = "thumbv7em-none-eabihf";
    let toolchain = Toolchain::of(target)?;
    run(toolchain.cargo(target, &["package"]).args(allow).current_dir(root().join("firmware/board")))
}

/// Removes what Cargo unpacked and `built` of these crates when they were packaged before: it knows them by name and version, and
/// would check the crates that need them against those of the last time.
fn forget_packaged(crates: &[&str], built: &Path) -> Result<(), String> {
    let removed = |folder: &Path| std::fs::remove_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()));
    if built.exists() {
        removed(built)?;
    }
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home =
        home.or_else(|| Some(std::env::home_dir()?.join(".cargo"))).ok_or("neither CARGO_HOME nor HOME is set")?;
    let inside = |folder: &Path| folder.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    let named = |path: &Path, start: &str| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(start));
    // A registry in a folder has no host in its name.
    for registry in inside(&home.join("registry/src")).filter(|path| named(path, "-")) {
        for old in inside(&registry).filter(|path| crates.iter().any(|c| named(path, c))) {
            println!("removing {}", old.file_name().unwrap_or_default().display());
            removed(&old)?;
        }
    }
    Ok(())
}

pub fn bless() -> Result<(), String> {
    run(cargo(&["test", "--workspace"]).env("EXPORTED_BLESS", "1"))
}

fn each_outside(mut check: impl FnMut(&str, &str) -> Result<(), String>) -> Result<(), String> {
    OUTSIDE.iter().try_for_each(|(folder, target)| check(folder, target))
}
