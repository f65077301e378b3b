//! What runs on the emulated boards: their own self-test, and the firmware example.

use crate::boards::{BOARDS, Board};
use crate::tools::{Toolchain, ensure_qemu, output, root, run};
use std::path::{Path, PathBuf};

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

/// Prints, for every board, what the firmware example occupies.
pub fn sizes() -> Result<(), String> {
    let folder = root().join("examples/digits-firmware");
    println!("{:<10} {:>9} {:>9}", "board", "flash", "RAM");
    for board in BOARDS.iter().filter(|board| board.target.starts_with("thumb")) {
        let toolchain = Toolchain::of(board.target)?;
        output(toolchain.cargo(board.target, &["build", "--release", "--quiet"]).current_dir(&folder))?;
        let image = target_folder(&folder, &toolchain).join(board.target).join("release/digits-firmware");
        let bytes = std::fs::read(&image).map_err(|e| format!("{}: {e}", image.display()))?;
        let (flash, ram) = loaded(&bytes).ok_or("not a 32-bit ELF file")?;
        println!("{:<10} {flash:>9} {ram:>9}", board.name);
    }
    Ok(())
}

fn target_folder(project: &Path, toolchain: &Toolchain) -> PathBuf {
    match toolchain {
        Toolchain::Rustup => project.join("target"),
        Toolchain::Debian(_) => root().join("target/debian"),
    }
}

/// Bytes of the sections of an ELF image that are stored (flash) and that are writable (RAM).
fn loaded(elf: &[u8]) -> Option<(u32, u32)> {
    const WRITABLE: u32 = 1;
    const ALLOCATED: u32 = 2;
    const NO_BITS: u32 = 8;
    let word = |at: usize| Some(u32::from_le_bytes(elf.get(at..at + 4)?.try_into().ok()?));
    let half = |at: usize| Some(u16::from_le_bytes(elf.get(at..at + 2)?.try_into().ok()?) as usize);
    if elf.get(..6)? != [0x7F, b'E', b'L', b'F', 1, 1] {
        return None;
    }
    let (table, entry, count) = (word(32)? as usize, half(46)?, half(48)?);
    let (mut flash, mut ram) = (0, 0);
    for section in (0..count).map(|i| table + i * entry) {
        let (kind, flags, size) = (word(section + 4)?, word(section + 8)?, word(section + 20)?);
        if flags & ALLOCATED == 0 {
            continue;
        }
        flash += if kind == NO_BITS { 0 } else { size };
        ram += if flags & WRITABLE == 0 { 0 } else { size };
    }
    Some((flash, ram))
}
