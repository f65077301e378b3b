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

/// The boards that differ in what gets linked: hardware and software floats, two instruction sets.
const REPRESENTATIVE: &[&str] = &["m4f", "m0", "riscv32"];

/// Builds each network alone, at both optimizations, runs it, prints what it costs, and refuses an image that can panic.
pub fn sizes() -> Result<(), String> {
    ensure_qemu()?;
    println!(
        "{:<20} {:<8} {:>3} {:>9} {:>9} {:>7} {:>13}",
        "network", "board", "opt", "flash", "RAM", "stack", "instructions"
    );
    let mut faults = Vec::new();
    for model in networks() {
        for board in BOARDS.iter().filter(|board| REPRESENTATIVE.contains(&board.name)) {
            for level in ["s", "3"] {
                let name = model.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                let image = Image::build(&model, board, level, &[])?;
                let [ticks, stack] = image.run(board)?;
                let (flash, ram) = (image.elf()?.flash(), image.elf()?.ram());
                let instructions = ticks * board.instructions_per_tick;
                println!("{name:<20} {:<8} {level:>3} {flash:>9} {ram:>9} {stack:>7} {instructions:>13}", board.name);
                let stepwise = Image::build(&model, board, level, &["--features", "step"])?;
                stepwise.run(board)?;
                for image in [&image, &stepwise] {
                    faults
                        .extend(image.forbidden()?.iter().map(|symbol| format!("{name} on {}: {symbol}", board.name)));
                }
            }
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(format!("images link what they must not:\n  {}", faults.join("\n  "))) }
}

/// The example's networks, and the pretrained ones where they are present.
fn networks() -> Vec<PathBuf> {
    let shared = root().join("../shared/models/tiny");
    let tiny = TINY.iter().map(|name| shared.join(format!("{name}.2.15.0.pt2"))).filter(|path| path.is_file());
    [root().join("examples/digits/digits.pt2")].into_iter().chain(tiny).collect()
}

/// The firmware of one model.
struct Image(Vec<u8>);

impl Image {
    fn build(model: &Path, board: &Board, level: &str, features: &[&str]) -> Result<Self, String> {
        let project = root().join("firmware/image");
        let toolchain = Toolchain::of(board.target)?;
        let mut build = toolchain.cargo(board.target, &["build", "--release", "--quiet"]);
        build.args(features).current_dir(&project);
        output(build.env("EXPORTED_MODEL", model).env("CARGO_PROFILE_RELEASE_OPT_LEVEL", level))?;
        let path = target_folder(&project, &toolchain).join(board.target).join("release/exported-image");
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
