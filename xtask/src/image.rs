//! Firmware of `firmware/image`: builds it, runs it on an emulated board, and looks at what it links.

use crate::boards::{BOARDS, Board};
use crate::elf::Elf;
use crate::tools::{Toolchain, output, root};
use std::path::{Path, PathBuf};
use std::process::Command;

/// How an image is optimized.
pub struct Mode {
    /// Its name in tables.
    pub name: &'static str,
    level: &'static str,
    optimize: &'static str,
    multiply_add: &'static str,
    io: &'static str,
    features: &'static [&'static str],
}

/// For speed; with `vfma` where there is one.
pub const SPEED: Mode = Mode { name: "speed", level: "3", optimize: "speed", multiply_add: "", io: "", features: &[] };
/// For speed, with separate multiplications and additions.
pub const SEPARATE: Mode = Mode { name: "separate", multiply_add: "separate", ..SPEED };
/// For size.
pub const SIZE: Mode = Mode { name: "size", level: "s", optimize: "size", ..SPEED };
/// For speed, with inputs that stand in the workspace.
pub const WORKSPACE: Mode = Mode { name: "workspace", features: &["--features", "workspace"], ..SPEED };
/// For speed, with integers in and out, the input in the workspace.
pub const BYTES: Mode = Mode { name: "bytes", io: "quantized", ..WORKSPACE };
/// The same for size.
pub const BYTES_SIZE: Mode = Mode { name: "bytes-s", io: "quantized", features: WORKSPACE.features, ..SIZE };

/// What a call of a model cost.
pub struct Counts {
    /// Instructions executed.
    pub instructions: u64,
    /// Distinct bytes of RAM read or written: workspace, input, state and stack.
    pub touched: u64,
    /// Bytes of stack below the caller of `forward`.
    pub stack: u64,
    /// Bytes of weights in the image.
    pub weights: u64,
}

/// What must not be reachable from a model: names in the image, of functions and of what they call.
const FORBIDDEN: &[&str] =
    &["panic", "core3fmt", "core::fmt", "unwind", "slice_index", "unwrap_failed", "__aeabi_unwind"];

/// A program of `firmware/image`, and its name.
pub struct Image(Vec<u8>, String);

impl Image {
    /// Builds it for these models.
    pub fn build(
        program: &str,
        models: &[PathBuf],
        board: &Board,
        mode: &Mode,
        features: &[&str],
    ) -> Result<Self, String> {
        let project = root().join("firmware/image");
        let models = std::env::join_paths(models).map_err(|e| e.to_string())?;
        let toolchain = Toolchain::of(board.target)?;
        let mut build = toolchain.cargo(board.target, &["build", "--release", "--quiet", "--bin", program]);
        if let Some(cpu) = board.cpu {
            toolchain.core(&mut build, cpu);
        }
        build.args(features).args(mode.features).current_dir(&project).env("EXPORTED_BOARD", board.memory);
        build.env("EXPORTED_MODEL", models).env("CARGO_PROFILE_RELEASE_OPT_LEVEL", mode.level);
        output(
            build
                .env("EXPORTED_OPTIMIZE", mode.optimize)
                .env("EXPORTED_MULTIPLY_ADD", mode.multiply_add)
                .env("EXPORTED_IO", mode.io),
        )?;
        let path = target_folder(&project, &toolchain).join(board.target).join("release").join(program);
        let image = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Image(image, program.to_owned()))
    }

    /// What it consists of.
    pub fn elf(&self) -> Result<Elf<'_>, String> {
        Elf::parse(&self.0).ok_or_else(|| "not a 32-bit ELF image".to_owned())
    }

    /// Writes the image where it runs, each program in its own place; the folder.
    fn placed(&self) -> Result<PathBuf, String> {
        let folder = root().join("firmware/image/target/run").join(&self.1);
        let fail = |e: std::io::Error| format!("{}: {e}", folder.display());
        std::fs::create_dir_all(&folder).map_err(fail)?;
        std::fs::write(folder.join("image.elf"), &self.0).map_err(fail)?;
        Ok(folder)
    }

    /// Runs an image whose exit status says whether all is well.
    pub fn check(&self, board: &Board) -> Result<(), String> {
        let folder = self.placed()?;
        output(&mut board.emulate(&folder.join("image.elf"), &folder)).map(|_| ())
    }

    /// Runs the image under the counting plugin.
    pub fn run(&self, board: &Board) -> Result<Counts, String> {
        let folder = self.placed()?;
        let fail = |e: std::io::Error| format!("{}: {e}", folder.display());
        let elf = self.elf()?;
        let address = |name: &str| elf.address(name).ok_or_else(|| format!("the image has no symbol `{name}`"));
        // The lowest bit of a function's address says that it is Thumb code.
        let (start, stop) = (address("exported_board_start")? & !1, address("exported_board_stop")? & !1);
        let (ram, ram_end) = (address("__sdata")?, address("_stack_start")?);
        let mut command = board.emulate(&folder.join("image.elf"), &folder);
        let plugin = plugin()?;
        let arguments = format!("start={start},stop={stop},ram={ram},ram_end={ram_end},out=counts.out");
        output(command.arg("-plugin").arg(format!("file={},{arguments}", plugin.display())))?;
        let cost = std::fs::read(folder.join("cost.out")).map_err(fail)?;
        let ([ticks, stack, weights], []) = cost.as_chunks::<8>() else {
            return Err("the firmware did not report its cost".to_owned());
        };
        let [ticks, stack, weights] = [ticks, stack, weights].map(|bytes| u64::from_le_bytes(*bytes));
        let text = std::fs::read_to_string(folder.join("counts.out")).map_err(fail)?;
        let number = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        let (Some(instructions), Some(touched)) = (number("instructions "), number("ram ")) else {
            return Err("the plugin did not report".to_owned());
        };
        // The firmware's own counter goes by ticks, and sees itself.
        if instructions.abs_diff(board.instructions(ticks)) > 100 + board.instructions(2) {
            return Err(format!("the plugin counted {instructions} instructions, the firmware {ticks} ticks"));
        }
        Ok(Counts { instructions, touched, stack, weights })
    }

    /// Symbols, or a text, by which the image could panic or format. The board's own panic handler is linked only if
    /// something can call it.
    pub fn forbidden(&self) -> Result<Vec<String>, String> {
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

/// Where cargo puts what it builds of a project.
pub fn target_folder(project: &Path, toolchain: &Toolchain) -> PathBuf {
    match toolchain {
        Toolchain::Rustup => project.join("target"),
        Toolchain::Debian(_) => root().join("target/debian"),
    }
}

/// The board of this name.
pub fn board_named(name: &str) -> Result<&'static Board, String> {
    BOARDS.iter().find(|board| board.name == name).ok_or_else(|| format!("there is no board `{name}`"))
}

/// What a model is called.
pub fn name(model: &Path) -> String {
    model.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The counting plugin, built.
fn plugin() -> Result<PathBuf, String> {
    let library = root().join("target/count.so");
    let source = root().join("xtask/plugin/count.c");
    output(Command::new("cc").args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(source))?;
    Ok(library)
}
