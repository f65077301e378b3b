//! What runs on the emulated boards: their own self-test, and the firmware example.

use crate::boards::{BOARDS, Board};
use crate::costs;
use crate::image::{Image, Mode, SIZE, SPEED, board_named, name, target_folder};
use crate::tools::{Toolchain, ensure_qemu, root, run};
use std::path::{Path, PathBuf};

/// The four pretrained MLPerf Tiny networks.
pub const TINY: &[&str] = &["dscnn_kws_f32", "resnet8_f32", "mobilenet_vww_f32", "fc_ad_f32"];

/// Networks of this repository with one float32 input, whose cost is recorded for every board.
pub const OWN: &[&str] = &[
    "examples/digits/digits.pt2",
    "tests/fixtures/networks/separable.pt2",
    "tests/fixtures/networks/residual.pt2",
    "tests/fixtures/networks/dense.pt2",
];

/// Values for the self-test: their running sums are exact.
const NUMBERS: &[f32] = &[1.5, 2.25, -1.0, 0.125, 7.0];

pub fn firmware() -> Result<(), String> {
    ensure_qemu()?;
    BOARDS.iter().try_for_each(self_test)?;
    // Their kernels are their own; the image needs a model to build, and does not look at it.
    let model = [root().join("examples/digits/digits.pt2")];
    for board in BOARDS.iter().filter(|board| board.target.ends_with("eabihf")) {
        println!("{}: its f32 kernels against the portable ones", board.name);
        Image::build("exported-kernels", &model, board, &SPEED, &[])?.check(board)?;
    }
    let (folder, target) = ("examples/digits-firmware", "thumbv7em-none-eabihf");
    let toolchain = Toolchain::of(target)?;
    run(toolchain.cargo(target, &["run", "--release"]).current_dir(root().join(folder)))
}

/// Start-up, output, files both ways, counters and exit status of one board.
fn self_test(board: &Board) -> Result<(), String> {
    println!("{}: {}", board.name, board.core);
    let toolchain = Toolchain::of(board.target)?;
    let project = root().join("firmware/board");
    let mut build = toolchain.cargo(board.target, &["build", "--release", "--example", "hello"]);
    run(build.current_dir(&project).env("EXPORTED_BOARD", board.memory))?;
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
    let instructions = board.instructions(f32::from_le_bytes([*a, *b, *c, *d]) as u64);
    match (sums == expected, instructions.abs_diff(2_000_000)) {
        (true, 0..=200) => Ok(()),
        (true, _) => Err(format!("{}: counted {instructions} instructions instead of two million", board.name)),
        (false, _) => Err(format!("{}: wrong sums", board.name)),
    }
}

/// Boards and optimizations at which images are inspected: what gets linked depends on what is inlined and on which
/// arithmetic the core lacks.
const INSPECTED: &[(&str, Mode)] = &[("m4f", SIZE), ("m4f", SPEED), ("riscv32", SIZE)];

/// Images that hold all fixtures together: one alone would take the compiler too much memory.
const IMAGES: usize = 3;

/// The memory map of images that never run, in `exported-board`: a board's flash would not hold a third of all fixtures.
const ANY_SIZE: &str = "inspected";

/// Fixtures that are no models for a device: refused ones, and control flow.
const NOT_COMPILED: &[&str] = &["refused", "cond_on_shape.2.15.0.pt2"];

/// Refuses images that can panic: those of all fixtures, so of every kernel they use, and one of each network, which
/// also must give the same result layer by layer. Refuses networks that cost more than the table says.
pub fn sizes() -> Result<(), String> {
    ensure_qemu()?;
    let mut faults = Vec::new();
    let models = fixtures()?;
    for (board, mode) in INSPECTED {
        let mut board = board_named(board)?.clone();
        board.memory = ANY_SIZE;
        for image in 0..IMAGES {
            let models: Vec<PathBuf> = models.iter().skip(image).step_by(IMAGES).cloned().collect();
            println!("{} models in one image, {}, {}", models.len(), board.name, mode.name);
            let image = Image::build("exported-reach", &models, &board, mode, &[])?;
            faults.extend(image.forbidden()?.iter().map(|symbol| format!("{}, {}: {symbol}", board.name, mode.name)));
        }
    }
    let board = board_named("m4f")?;
    for (model, mode) in networks().iter().zip([SPEED, SIZE].iter().cycle()) {
        let image = Image::build("exported-image", std::slice::from_ref(model), board, mode, &["--features", "step"])?;
        image.run(board).map_err(|e| format!("{}, layer by layer: {e}", name(model)))?;
        faults.extend(image.forbidden()?.iter().map(|symbol| format!("{}, layer by layer: {symbol}", name(model))));
    }
    faults.extend(costs::compared()?);
    verdict(&faults)
}

fn verdict(faults: &[String]) -> Result<(), String> {
    if faults.is_empty() {
        Ok(())
    } else {
        Err(format!("images link what they must not, or cost more:\n  {}", faults.join("\n  ")))
    }
}

/// The networks, and every fixture that compiles by itself, without operators that a file beside it implements.
fn fixtures() -> Result<Vec<PathBuf>, String> {
    let mut models = networks();
    let named = |path: &PathBuf| path.file_name().is_some_and(|n| NOT_COMPILED.iter().any(|not| n == *not));
    let compiled = |path: &PathBuf| !named(path) && !path.with_extension("ops.rs").exists();
    for family in entries(&root().join("tests/fixtures"))?.into_iter().filter(|path| path.is_dir()).filter(compiled) {
        models.extend(archives(&family)?.into_iter().filter(compiled));
    }
    Ok(models)
}

/// The archives of a folder.
fn archives(folder: &Path) -> Result<Vec<PathBuf>, String> {
    Ok(entries(folder)?.into_iter().filter(|path| path.extension().is_some_and(|e| e == "pt2")).collect())
}

/// What a folder holds, in order.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    Ok(paths)
}

/// Our own networks, and the pretrained ones where they are present.
pub fn networks() -> Vec<PathBuf> {
    let tiny = pretrained(|name| name.to_owned());
    OWN.iter().map(|path| root().join(path)).chain(tiny).collect()
}

/// One small model per family of kernels, each with one float32 input and one output.
pub fn families() -> Result<Vec<PathBuf>, String> {
    archives(&root().join("tests/fixtures/families"))
}

/// The pretrained networks on bytes, where they are present.
pub fn quantized() -> Vec<PathBuf> {
    pretrained(|name| name.replace("_f32", "_int8"))
}

fn pretrained(name: fn(&str) -> String) -> Vec<PathBuf> {
    let shared = root().join("../shared/models/tiny");
    let paths = TINY.iter().map(|of| shared.join(format!("{}.2.15.0.pt2", name(of))));
    paths.filter(|path| path.is_file()).collect()
}
