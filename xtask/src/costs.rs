//! What networks and single layers cost on microcontrollers, and the record of it, `firmware/costs.txt`: growth is a fault until it is recorded.

use crate::boards::{BOARDS, Board};
use crate::firmware::{OWN, families, networks, quantized};
use crate::image::{BYTES, BYTES_SIZE, Image, Mode, SEPARATE, SIZE, SPEED, WORKSPACE, name};
use crate::tools::{ensure_qemu, output, root};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Columns of numbers.
const COLUMNS: [&str; 6] = ["flash", "code", "RAM", "touched", "stack", "instructions"];

/// Per cent that a number may grow: compilers differ.
const SAME_COMPILER: u64 = 2;
const OTHER_COMPILER: u64 = 15;
/// And by so much anyway, in bytes or instructions.
const SLACK: u64 = 64;

const ABOUT: &str = "\
# What a call of a network costs: written by `cargo xtask bless-costs`, compared by `cargo xtask sizes`.
#
# flash         bytes of the image: code, constants, weights, start-up
# code          the same without the weights
# RAM           bytes that the image reserves, input included, without the stack
# touched       distinct bytes of RAM that the call reads or writes, input and stack included
# stack         bytes that `forward` takes of the stack, by watermark, callers not included
# instructions  executed by the call; they are not cycles
#
# speed: opt-level 3; size: opt-level s and `optimize = \"size\"`; separate: as speed, with vmul and vadd instead of vfma;
# workspace: as speed, with `inputs = \"workspace\"`; bytes, bytes-s: as speed and size, with integers in and out besides.
";

/// Of the quantized networks of MLPerf Tiny: what TensorFlow Lite Micro with CMSIS-NN touches of RAM.
const LEAST_TOUCHED_ELSEWHERE: [(&str, u64); 4] =
    [("dscnn_kws", 22_927), ("resnet8", 54_922), ("mobilenet_vww", 99_699), ("fc_ad", 2_240)];
/// And the most code that they may take for size, in bytes.
const MOST_CODE: u64 = 24 << 10;

/// Names of network, board and mode.
type Key = [String; 3];
/// Numbers in the order of [`COLUMNS`].
type Row = [u64; 6];
type Table = BTreeMap<Key, Row>;

/// Prints the costs of the networks whose path holds the word of the variable EXPORTED_NETWORK, of all without it.
pub fn print() -> Result<(), String> {
    measure(&word(), None).map(|_| ())
}

fn word() -> String {
    std::env::var("EXPORTED_NETWORK").unwrap_or_default()
}

/// Prints and records them; other rows stay.
pub fn bless() -> Result<(), String> {
    let (_, mut table) = recorded()?;
    table.extend(measure(&word(), None)?);
    let mut text = format!("{ABOUT}#\n# {}\n\n", compiler()?);
    text.push_str(&line(["network", "board", "mode"], COLUMNS));
    for (key, row) in &table {
        text.push_str(&numbers(key, row));
    }
    std::fs::write(path(), text).map_err(|e| format!("{}: {e}", path().display()))
}

/// What has become more expensive than recorded, or cannot run, or is not recorded.
pub fn compared() -> Result<Vec<String>, String> {
    let (same_compiler, old) = recorded()?;
    let per_cent = if same_compiler { SAME_COMPILER } else { OTHER_COMPILER };
    let mut faults = Vec::new();
    for (key, row) in measure("", Some(&mut faults))? {
        let name = key.join(" ");
        faults.extend(beyond(&key, &row).map(|what| format!("{name}: {what}")));
        let Some(old) = old.get(&key) else {
            faults.push(format!("{name}: not in firmware/costs.txt; `cargo xtask bless-costs` records it"));
            continue;
        };
        for ((column, new), old) in COLUMNS.iter().zip(row).zip(old) {
            if new > old + old * per_cent / 100 + SLACK {
                faults.push(format!("{name}: {column} {new} instead of {old}; `cargo xtask bless-costs` accepts it"));
            }
        }
    }
    Ok(faults)
}

/// Builds and runs every network whose path holds the word; pushes what the images must not link.
fn measure(word: &str, mut faults: Option<&mut Vec<String>>) -> Result<Table, String> {
    ensure_qemu()?;
    let mut table = Table::new();
    print!("{}", line(["network", "board", "mode"], COLUMNS));
    let models = [networks(), quantized(), families()?].concat();
    for model in models.iter().filter(|model| model.to_string_lossy().contains(word)) {
        for (board, mode) in runs(model) {
            let image = Image::build("exported-image", std::slice::from_ref(model), board, mode, &[])?;
            let (counts, elf) = (image.run(board)?, image.elf()?);
            let (flash, ram) = (elf.flash() as u64, elf.ram() as u64);
            let key = [name(model), board.name.to_owned(), mode.name.to_owned()];
            let row =
                [flash, flash - counts.weights.min(flash), ram, counts.touched, counts.stack, counts.instructions];
            print!("{}", numbers(&key, &row));
            if let Some(faults) = &mut faults {
                faults.extend(image.forbidden()?.iter().map(|symbol| format!("{}: {symbol}", key.join(" "))));
            }
            table.insert(key, row);
        }
    }
    Ok(table)
}

/// Which bound of quantized networks with integers in and out a row is beyond.
fn beyond([network, _, mode]: &Key, &[_, code, _, touched, ..]: &Row) -> Option<String> {
    let quantized = LEAST_TOUCHED_ELSEWHERE.iter().find(|(name, _)| network.starts_with(&format!("{name}_int8")));
    let &(_, elsewhere) = quantized.filter(|_| *mode != SPEED.name)?;
    if touched >= elsewhere {
        return Some(format!("touches {touched} bytes of RAM, TensorFlow Lite Micro {elsewhere}"));
    }
    (*mode == BYTES_SIZE.name && code > MOST_CODE).then(|| format!("{code} bytes of code, more than {MOST_CODE}"))
}

/// Our own networks run everywhere; the pretrained ones, which are large, where an FPU helps them; of single layers only the
/// size counts.
fn runs(model: &Path) -> Vec<(&'static Board, &'static Mode)> {
    if model.parent().is_some_and(|folder| folder.ends_with("families")) {
        return BOARDS.iter().filter(|board| board.name == "m4f").map(|board| (board, &SIZE)).collect();
    }
    if name(model).contains("_int8") {
        return BOARDS
            .iter()
            .filter(|board| ["m4f", "m55"].contains(&board.name))
            .flat_map(|b| [(b, &SPEED), (b, &BYTES), (b, &BYTES_SIZE)])
            .collect();
    }
    let own = OWN.iter().any(|own| root().join(own) == model);
    let mut runs = Vec::new();
    // The Cortex-M7 runs the same image as the M4F, and the M55, on f32, as the M33.
    for board in BOARDS.iter().filter(|board| !["m7", "m55"].contains(&board.name)) {
        let fpu = board.target.ends_with("eabihf");
        if own || board.name == "m4f" {
            runs.extend([(board, &SPEED), (board, &SIZE)]);
            runs.extend(fpu.then_some((board, &SEPARATE)));
            runs.extend(fpu.then_some((board, &WORKSPACE)));
        }
    }
    runs
}

/// The table, and whether this compiler wrote it.
fn recorded() -> Result<(bool, Table), String> {
    let Ok(text) = std::fs::read_to_string(path()) else { return Ok((false, Table::new())) };
    let mut table = Table::new();
    let rows = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#') && !line.starts_with("network"));
    for row in rows {
        let mut words = row.split_whitespace();
        let key: Vec<String> = words.by_ref().take(3).map(String::from).collect();
        let numbers: Option<Vec<u64>> = words.map(|word| word.parse().ok()).collect();
        let (Ok(key), Some(Ok(numbers))) = (key.try_into(), numbers.map(TryInto::try_into)) else {
            return Err(format!("{}: no row of the table: {row}", path().display()));
        };
        table.insert(key, numbers);
    }
    Ok((text.contains(&compiler()?), table))
}

fn compiler() -> Result<String, String> {
    Ok(output(Command::new("rustc").arg("--version"))?.trim().to_owned())
}

fn path() -> PathBuf {
    root().join("firmware/costs.txt")
}

fn numbers(key: &Key, row: &Row) -> String {
    line(key.each_ref().map(String::as_str), row.map(|n| n.to_string()).each_ref().map(String::as_str))
}

fn line([network, board, mode]: [&str; 3], [flash, code, ram, touched, stack, instructions]: [&str; 6]) -> String {
    format!(
        "{network:<26} {board:<8} {mode:<9} {flash:>8} {code:>7} {ram:>7} {touched:>8} {stack:>6} {instructions:>13}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_is_read_and_covers_our_networks() {
        let (_, table) = recorded().unwrap();
        let own = OWN.iter().map(|path| root().join(path));
        for model in own.chain(families().unwrap()) {
            for (board, mode) in runs(&model) {
                let key = [name(&model), board.name.to_owned(), mode.name.to_owned()];
                assert!(table.contains_key(&key), "{key:?}");
            }
        }
    }
}
