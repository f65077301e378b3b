//! What runs on the emulated boards: their own self-test, and the firmware example.

use crate::boards::{BOARDS, Board};
use crate::elf::Elf;
use crate::tools::{Toolchain, ensure_qemu, output, root, run};
use std::path::{Path, PathBuf};

/// The four pretrained MLPerf Tiny networks.
pub const TINY: &[&str] = &["dscnn_kws_f32", "resnet8_f32", "mobilenet_vww_f32", "fc_ad_f32"];

/// Values for the self-test: their running sums are exact.
const NUMBERS: &[f32] = &[1.5, 2.25, -1.0, 0.125, 7.0];

pub fn firmware() -> Result<(), String> {
    ensure_qemu()?;
    BOARDS.iter().try_for_each(self_test)?;
    let (folder, target) = ("examples/digits-firmware", "thumbv7em-none-eabihf");
    let toolchain = Toolchain::of(target)?;
    run(toolchain.cargo(target, &["run", "--release"]).current_dir(root().join(folder)))
}

/// Start-up, output, files both ways, counters and exit status of one board.
fn self_test(board: &Board) -> Result<(), String> {
    println!("{}: {}", board.name, board.core);
    let toolchain = Toolchain::of(board.target)?;
    let project = root().join("firmware/board");
    run(toolchain.cargo(board.target, &["build", "--release", "--example", "hello"]).current_dir(&project))?;
    let image = target_folder(&project, &toolchain).join(board.target).join("release/examples/hello");
    let folder = project.join("target/run").join(board.name);
    let fail = |e: std::io::Error| format!("{}: {e}", folder.display());
    std::fs::create_dir_all(&folder).map_err(fail)?;
    let count = [NUMBERS.len() as f32];
    let bytes: Vec<u8> = count.iter().chain(NUMBERS).flat_map(|x| x.to_le_bytes()).collect();
    std::fs::write(folder.join("numbers.in"), bytes).map_err(fail)?;
    run(&mut board.emulate(&image, &folder))?;
    let answer = std::fs::read(folder.join("numbers.out")).map_err(fail)?;
    let sums = NUMBERS.iter().scan(0.0, |sum: &mut f32, x| {
        *sum += x;
        Some(*sum)
    });
    let expected: Vec<u8> = sums.flat_map(f32::to_le_bytes).collect();
    let Some((sums, [a, b, c, d])) = answer.split_last_chunk() else { return Err("no numbers came back".to_owned()) };
    let instructions = f32::from_le_bytes([*a, *b, *c, *d]) as u64 * board.instructions_per_tick;
    match (sums == expected, instructions.abs_diff(2_000_000)) {
        (true, 0..=200) => Ok(()),
        (true, _) => Err(format!("{}: counted {instructions} instructions instead of two million", board.name)),
        (false, _) => Err(format!("{}: wrong sums", board.name)),
    }
}

/// What must not be reachable from a model: names in the image, of functions and of what they call.
const FORBIDDEN: &[&str] =
    &["panic", "core3fmt", "core::fmt", "unwind", "slice_index", "unwrap_failed", "__aeabi_unwind"];

/// Boards and optimizations at which images are inspected: what gets linked depends on what is inlined and on which
/// arithmetic the core lacks.
const INSPECTED: &[(&str, &str)] = &[("m4f", "s"), ("m4f", "3"), ("riscv32", "s")];

/// Fixtures that are no models for a device: refused ones, and control flow.
const NOT_COMPILED: &[&str] = &["refused", "cond_on_shape.2.15.0.pt2"];

/// Refuses images that can panic: one of all fixtures together, so of every kernel they use, and one of each network, which
/// also must give the same result layer by layer. Prints what the networks cost.
pub fn sizes() -> Result<(), String> {
    ensure_qemu()?;
    let mut faults = Vec::new();
    let models = fixtures()?;
    for (board, level) in INSPECTED {
        println!("{} models in one image, {board}, optimization {level}", models.len());
        let image = Image::build("exported-reach", &models, board_named(board)?, level, &[])?;
        faults.extend(image.forbidden()?.iter().map(|symbol| format!("{board}, {level}: {symbol}")));
    }
    let board = board_named("m4f")?;
    costs_on(&[board], &mut faults)?;
    for (model, level) in networks().iter().zip(["s", "3"].iter().cycle()) {
        let image = Image::build("exported-image", std::slice::from_ref(model), board, level, &["--features", "step"])?;
        image.run(board).map_err(|e| format!("{}, layer by layer: {e}", name(model)))?;
        faults.extend(image.forbidden()?.iter().map(|symbol| format!("{}, layer by layer: {symbol}", name(model))));
    }
    verdict(&faults)
}

/// Prints what the networks cost on every board.
pub fn costs() -> Result<(), String> {
    ensure_qemu()?;
    let mut faults = Vec::new();
    costs_on(&BOARDS.iter().collect::<Vec<_>>(), &mut faults)?;
    verdict(&faults)
}

fn verdict(faults: &[String]) -> Result<(), String> {
    if faults.is_empty() { Ok(()) } else { Err(format!("images link what they must not:\n  {}", faults.join("\n  "))) }
}

/// Builds each network alone, for size and for speed, runs it, and prints a row.
fn costs_on(boards: &[&Board], faults: &mut Vec<String>) -> Result<(), String> {
    println!(
        "{:<20} {:<8} {:>3} {:>9} {:>9} {:>7} {:>13}",
        "network", "board", "opt", "flash", "RAM", "stack", "instructions"
    );
    for model in &networks() {
        for board in boards {
            for level in ["s", "3"] {
                let image = Image::build("exported-image", std::slice::from_ref(model), board, level, &[])?;
                let [ticks, stack] = image.run(board)?;
                let (flash, ram, name) = (image.elf()?.flash(), image.elf()?.ram(), name(model));
                let instructions = ticks * board.instructions_per_tick;
                println!("{name:<20} {:<8} {level:>3} {flash:>9} {ram:>9} {stack:>7} {instructions:>13}", board.name);
                faults.extend(image.forbidden()?.iter().map(|s| format!("{name} on {}, {level}: {s}", board.name)));
            }
        }
    }
    Ok(())
}

fn board_named(name: &str) -> Result<&'static Board, String> {
    BOARDS.iter().find(|board| board.name == name).ok_or_else(|| format!("there is no board `{name}`"))
}

fn name(model: &Path) -> String {
    model.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The networks, and every fixture that compiles.
fn fixtures() -> Result<Vec<PathBuf>, String> {
    let mut models = networks();
    let folder = root().join("tests/fixtures");
    let entries = |path: &Path| -> Result<Vec<PathBuf>, String> {
        let entries = std::fs::read_dir(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        Ok(paths)
    };
    let compiled = |path: &PathBuf| path.file_name().is_none_or(|n| NOT_COMPILED.iter().all(|not| n != *not));
    for family in entries(&folder)?.into_iter().filter(|path| path.is_dir()).filter(compiled) {
        models
            .extend(entries(&family)?.into_iter().filter(|p| p.extension().is_some_and(|e| e == "pt2") && compiled(p)));
    }
    Ok(models)
}

/// The example's networks, and the pretrained ones where they are present.
fn networks() -> Vec<PathBuf> {
    let shared = root().join("../shared/models/tiny");
    let tiny = TINY.iter().map(|name| shared.join(format!("{name}.2.15.0.pt2"))).filter(|path| path.is_file());
    [root().join("examples/digits/digits.pt2")].into_iter().chain(tiny).collect()
}

/// A program of `firmware/image`.
struct Image(Vec<u8>);

impl Image {
    fn build(program: &str, models: &[PathBuf], board: &Board, level: &str, features: &[&str]) -> Result<Self, String> {
        let project = root().join("firmware/image");
        let models = std::env::join_paths(models).map_err(|e| e.to_string())?;
        let toolchain = Toolchain::of(board.target)?;
        let mut build = toolchain.cargo(board.target, &["build", "--release", "--quiet", "--bin", program]);
        build.args(features).current_dir(&project);
        output(build.env("EXPORTED_MODEL", models).env("CARGO_PROFILE_RELEASE_OPT_LEVEL", level))?;
        let path = target_folder(&project, &toolchain).join(board.target).join("release").join(program);
        std::fs::read(&path).map(Image).map_err(|e| format!("{}: {e}", path.display()))
    }

    fn elf(&self) -> Result<Elf<'_>, String> {
        Elf::parse(&self.0).ok_or_else(|| "not a 32-bit ELF image".to_owned())
    }

    /// Runs the image; ticks and bytes of stack.
    fn run(&self, board: &Board) -> Result<[u64; 2], String> {
        let folder = root().join("firmware/image/target/run");
        let fail = |e: std::io::Error| format!("{}: {e}", folder.display());
        std::fs::create_dir_all(&folder).map_err(fail)?;
        std::fs::write(folder.join("image.elf"), &self.0).map_err(fail)?;
        output(&mut board.emulate(&folder.join("image.elf"), &folder))?;
        let cost = std::fs::read(folder.join("cost.out")).map_err(fail)?;
        let ([a, b], []) = cost.as_chunks::<8>() else { return Err("the firmware did not report its cost".to_owned()) };
        Ok([u64::from_le_bytes(*a), u64::from_le_bytes(*b)])
    }

    /// Symbols, or a text, by which the image could panic or format. The board's own panic handler is linked only if
    /// something can call it.
    fn forbidden(&self) -> Result<Vec<String>, String> {
        let symbols = self.elf()?.symbols();
        if !symbols.contains(&"Reset") {
            return Err("an image without symbols cannot be inspected".to_owned());
        }
        let mut found: Vec<String> = symbols
            .iter()
            .filter(|name| FORBIDDEN.iter().any(|word| name.contains(word)))
            .map(|s| (*s).to_owned())
            .collect();
        if self.0.windows(12).any(|text| text == b"panicked at ") {
            found.push("the panic handler's text".to_owned());
        }
        Ok(found)
    }
}

fn target_folder(project: &Path, toolchain: &Toolchain) -> PathBuf {
    match toolchain {
        Toolchain::Rustup => project.join("target"),
        Toolchain::Debian(_) => root().join("target/debian"),
    }
}
