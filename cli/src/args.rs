//! The command line.

use crate::boards::Place;
use exported_codegen::options::{
    Io, Layout, MultiplyAdd, Optimize, Options, Quantization, Target, Winograd, parse_bytes,
};
use lexopt::{Arg, Parser, ValueExt};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Printed by `--help` and after wrong usage.
pub const USAGE: &str = "\
Inspect, check, compile and verify torch.export archives (.pt2)

Usage: cargo exported COMMAND [OPTIONS] FILE…

Commands:
  inspect FILE        print the program as Python's `print(ep)` does, then what
                      else the archive says: versions, extra files               [--python: only the first]
  check FILE…         tell whether archives compile, with every reason why not   [--json]
  emit FILE           write the generated Rust                                   [-o FILE]
  report FILE         layers and modules: time, weights, memory plan             [--json] [--modules] [--svg FILE]
  verify PATH…        compile, run and compare with the golden files beside the archives, in files and folders

Options of check, emit and report:
  --target TRIPLE           where the code will run (default: this machine)
  --target-cpu CPU          as rustc's -Ctarget-cpu
  --optimize speed|size     what to favour
  --quantization fused|faithful
                            quantized graphs on integers, or as PyTorch computes them
  --io program|quantized    inputs and outputs as the program has them, or the integers behind them
  --multiply-add fused|separate
                            f32 on a Cortex-M with an FPU (default: as the core that --target-cpu names is fastest)
  --winograd auto|off|f2|f4 3x3 convolutions by Winograd's method (default: those that gain, on hosts)
  --cap DIM=N               upper bound of a dim without one: `x.0=8` (argument and dim) or `s77=8` (symbol)
  --layout ARGUMENT=nhwc    the caller passes this input channels-last
  --output-name N=NAME      name of output N
  --train-mode              batch normalization from the statistics of the batch; the running ones become state
  --module PATH             only this module of the program (`preserve_module_call_signature`)
  --pure OPERATOR           of a custom operator (`fixtures::scaled_relu`) only the results matter
  --extra-file NAME         make an extra file of the archive a constant
  --ram SIZE                most workspace and state: `48K`, `1M`, `65536`; fails above it
  --flash SIZE              most weights and initial state, likewise; code comes on top
  --weights-section NAME    link section of the weights
  --program                 with the flat door (`rt::program`)
  --name NAME               name of the model (default: the file's)

Options of verify:
  --json FILE               also write the report as JSON
  --allow-unsupported       exit with 0 although the compiler refused archives, in words
  --release                 build with cargo's release profile
  --target PLACE            run in an emulator: as firmware, which counts instructions and stack (m3, m4f, m7, m33, m55, m0,
                            riscv32), or as a process (aarch64; the environment variable QEMU_CPU chooses its core)
  --optimize speed|size     what to favour
  --multiply-add fused|separate
                            f32 on a Cortex-M with an FPU
  --quantization fused|faithful
                            quantized graphs on integers, or as PyTorch computes them
  --ops FILE                Rust that implements custom operators (`Ops`, with the traits of `super::ops`), for archives
                            without a `<name>.ops.rs` beside them
  --winograd auto|off|f2|f4 3x3 convolutions by Winograd's method
  --layers                  check each quantized layer alone, fed with PyTorch's integers
  --level LEVEL             instruction set: portable, avx2, avx512, neon (default: the best the machine has)
  --timeout SECONDS         for all calls of one model (default: 120; in an emulator 600)
  --manifest-path FILE      Cargo.toml of the project whose runtime and target folder to use

  -h, --help  -V, --version

Exit status: 0 all well; 1 an archive is refused, or did not pass; 2 wrong usage.
";

/// What to do.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Command {
    Help,
    Version,
    Inspect { file: PathBuf, python: bool },
    Check { files: Vec<PathBuf>, json: bool, choices: Choices },
    Emit { file: PathBuf, output: Option<PathBuf>, choices: Choices },
    Report { file: PathBuf, form: ReportForm, svg: Option<PathBuf>, choices: Choices },
    Verify(Verify),
}

/// What `report` prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ReportForm {
    #[default]
    Layers,
    Modules,
    Json,
}

/// Options of the compiler as given.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Choices {
    pub target: Option<String>,
    pub target_cpu: Option<String>,
    pub optimize: Optimize,
    pub multiply_add: Option<MultiplyAdd>,
    pub quantization: Quantization,
    pub io: Io,
    pub winograd: Winograd,
    pub train_mode: bool,
    pub caps: Vec<(String, i64)>,
    pub layouts: Vec<(String, Layout)>,
    pub output_names: Vec<(usize, String)>,
    pub extra_files: Vec<String>,
    pub pure_operators: Vec<String>,
    pub module: Option<String>,
    pub ram: Option<u64>,
    pub flash: Option<u64>,
    pub weights_section: Option<String>,
    pub program: bool,
    pub name: Option<String>,
}

/// Options of `verify`.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Verify {
    pub paths: Vec<PathBuf>,
    pub json: Option<PathBuf>,
    pub allow_unsupported: bool,
    pub release: bool,
    pub place: Place,
    pub optimize: Optimize,
    pub multiply_add: Option<MultiplyAdd>,
    pub quantization: Quantization,
    pub winograd: Winograd,
    pub layers: bool,
    pub level: u32,
    pub manifest: Option<PathBuf>,
    pub timeout: u64,
    pub ops: Option<PathBuf>,
}

impl Choices {
    /// The compiler's options for one archive.
    pub fn options(&self, archive: &Path) -> Options {
        let stem = || archive.file_stem().map_or_else(|| "model".into(), |stem| stem.to_string_lossy().into_owned());
        let mut target = Target::new(self.target.as_deref().unwrap_or(env!("HOST")));
        target.cpu = self.target_cpu.clone();
        let mut options = Options::new(self.name.clone().unwrap_or_else(stem), target);
        options.optimize = self.optimize;
        options.multiply_add = self.multiply_add;
        options.quantization = self.quantization;
        options.io = self.io;
        options.winograd = self.winograd;
        options.train_mode = self.train_mode;
        options.caps = self.caps.iter().cloned().collect();
        options.layouts = self.layouts.iter().cloned().collect();
        options.output_names = self.output_names.iter().cloned().collect();
        options.extra_files = self.extra_files.clone();
        options.pure_operators = self.pure_operators.clone();
        options.module = self.module.clone();
        options.ram = self.ram;
        options.flash = self.flash;
        options.weights_section = self.weights_section.clone();
        options.program = self.program;
        options
    }
}

/// Reads the command line; the name that cargo puts before the arguments of a subcommand is skipped.
///
/// # Errors
/// What is wrong with it.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    if arguments.first().is_some_and(|first| first == "exported") {
        arguments.remove(0);
    }
    let mut parser = Parser::from_args(arguments);
    let command = match parser.next().map_err(text)? {
        None | Some(Arg::Short('h') | Arg::Long("help")) => return Ok(Command::Help),
        Some(Arg::Short('V') | Arg::Long("version")) => return Ok(Command::Version),
        Some(Arg::Value(word)) => word.string().map_err(text)?,
        Some(other) => return Err(text(other.unexpected())),
    };
    match command.as_str() {
        "verify" => verify(&mut parser),
        "inspect" | "check" | "emit" | "report" => compile(&command, &mut parser),
        "help" => Ok(Command::Help),
        other => Err(format!("there is no command `{other}`")),
    }
}

fn compile(command: &str, parser: &mut Parser) -> Result<Command, String> {
    let mut choices = Choices::default();
    let (mut files, mut json, mut python, mut output) = (Vec::new(), false, false, None);
    let (mut modules, mut svg) = (false, None);
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Arg::Value(file) => files.push(PathBuf::from(file)),
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help),
            Arg::Long("json") if matches!(command, "check" | "report") => json = true,
            Arg::Long("python") if command == "inspect" => python = true,
            Arg::Long("modules") if command == "report" => modules = true,
            Arg::Long("svg") if command == "report" => svg = Some(path(parser)?),
            Arg::Short('o') | Arg::Long("output") if command == "emit" => output = Some(path(parser)?),
            Arg::Long(name) if command != "inspect" => {
                let name = name.to_owned();
                choice(&mut choices, &name, parser)?;
            }
            other => return Err(text(other.unexpected())),
        }
    }
    if command == "check" {
        return if files.is_empty() {
            Err("check: which file?".into())
        } else {
            Ok(Command::Check { files, json, choices })
        };
    }
    let [file] =
        <[PathBuf; 1]>::try_from(files).map_err(|files| format!("{command}: one file, not {}", files.len()))?;
    Ok(match command {
        "inspect" => Command::Inspect { file, python },
        "emit" => Command::Emit { file, output, choices },
        _ => {
            let form = match (json, modules) {
                (true, false) => ReportForm::Json,
                (false, true) => ReportForm::Modules,
                (false, false) => ReportForm::Layers,
                (true, true) => return Err("report: either --json, which has the modules too, or --modules".into()),
            };
            Command::Report { file, form, svg, choices }
        }
    })
}

fn choice(choices: &mut Choices, name: &str, parser: &mut Parser) -> Result<(), String> {
    match name {
        "target" => choices.target = Some(word(parser)?),
        "target-cpu" => choices.target_cpu = Some(word(parser)?),
        "optimize" => choices.optimize = optimize(&word(parser)?)?,
        "multiply-add" => choices.multiply_add = Some(multiply_add(&word(parser)?)?),
        "quantization" => choices.quantization = quantization(&word(parser)?)?,
        "io" => {
            choices.io = match word(parser)?.as_str() {
                "program" => Io::Program,
                "quantized" => Io::Quantized,
                other => return Err(format!("--io: `{other}` is neither `program` nor `quantized`")),
            }
        }
        "winograd" => choices.winograd = winograd(&word(parser)?)?,
        "train-mode" => choices.train_mode = true,
        "cap" => {
            let (dim, n) = pair(parser, "--cap DIM=N")?;
            choices.caps.push((dim, n.parse().map_err(|_| format!("--cap: `{n}` is no number"))?));
        }
        "layout" => choices.layouts.push(match pair(parser, "--layout ARGUMENT=nhwc")? {
            (argument, order) if order == "nhwc" => (argument, Layout::ChannelsLast),
            (argument, order) if order == "torch" => (argument, Layout::Torch),
            (_, order) => return Err(format!("--layout: `{order}` is neither `nhwc` nor `torch`")),
        }),
        "output-name" => {
            let (n, name) = pair(parser, "--output-name N=NAME")?;
            choices.output_names.push((n.parse().map_err(|_| format!("--output-name: `{n}` is no number"))?, name));
        }
        "pure" => choices.pure_operators.push(word(parser)?),
        "module" => choices.module = Some(word(parser)?),
        "extra-file" => choices.extra_files.push(word(parser)?),
        "ram" => choices.ram = Some(parse_bytes(&word(parser)?).map_err(|e| format!("--ram: {e}"))?),
        "flash" => choices.flash = Some(parse_bytes(&word(parser)?).map_err(|e| format!("--flash: {e}"))?),
        "weights-section" => choices.weights_section = Some(word(parser)?),
        "program" => choices.program = true,
        "name" => choices.name = Some(word(parser)?),
        other => return Err(format!("there is no option `--{other}` here")),
    }
    Ok(())
}

fn verify(parser: &mut Parser) -> Result<Command, String> {
    let mut verify = Verify { timeout: 120, ..Verify::default() };
    let mut timeout = None;
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Arg::Value(file) => verify.paths.push(PathBuf::from(file)),
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help),
            Arg::Long("json") => verify.json = Some(path(parser)?),
            Arg::Long("allow-unsupported") => verify.allow_unsupported = true,
            Arg::Long("release") => verify.release = true,
            Arg::Long("target") => verify.place = place(&word(parser)?)?,
            Arg::Long("optimize") => verify.optimize = optimize(&word(parser)?)?,
            Arg::Long("multiply-add") => verify.multiply_add = Some(multiply_add(&word(parser)?)?),
            Arg::Long("quantization") => verify.quantization = quantization(&word(parser)?)?,
            Arg::Long("winograd") => verify.winograd = winograd(&word(parser)?)?,
            Arg::Long("layers") => verify.layers = true,
            Arg::Long("ops") => verify.ops = Some(path(parser)?),
            Arg::Long("level") => verify.level = level(&word(parser)?)?,
            Arg::Long("timeout") => timeout = Some(word(parser)?),
            Arg::Long("manifest-path") => verify.manifest = Some(path(parser)?),
            other => return Err(text(other.unexpected())),
        }
    }
    if let Some(timeout) = timeout {
        verify.timeout = timeout.parse().map_err(|_| format!("--timeout: `{timeout}` is no number of seconds"))?;
    } else if verify.place.target().is_some() {
        verify.timeout = 600;
    }
    if verify.paths.is_empty() {
        return Err("verify: which files or folders?".into());
    }
    Ok(Command::Verify(verify))
}

fn place(name: &str) -> Result<Place, String> {
    if name == "host" || name == env!("HOST") {
        return Ok(Place::Host);
    }
    let names = || Place::names().join(", ");
    Place::named(name).ok_or_else(|| format!("--target: `{name}` is not emulated; there are {}", names()))
}

fn optimize(word: &str) -> Result<Optimize, String> {
    match word {
        "speed" => Ok(Optimize::Speed),
        "size" => Ok(Optimize::Size),
        other => Err(format!("--optimize: `{other}` is neither `speed` nor `size`")),
    }
}

fn multiply_add(word: &str) -> Result<MultiplyAdd, String> {
    match word {
        "fused" => Ok(MultiplyAdd::Fused),
        "separate" => Ok(MultiplyAdd::Separate),
        other => Err(format!("--multiply-add: `{other}` is neither `fused` nor `separate`")),
    }
}

fn quantization(word: &str) -> Result<Quantization, String> {
    match word {
        "fused" => Ok(Quantization::Fused),
        "faithful" => Ok(Quantization::Faithful),
        other => Err(format!("--quantization: `{other}` is neither `fused` nor `faithful`")),
    }
}

fn winograd(word: &str) -> Result<Winograd, String> {
    let known = Winograd::WORDS.iter().find(|(name, _)| *name == word);
    known
        .map(|(_, winograd)| *winograd)
        .ok_or_else(|| format!("--winograd: `{word}` is none of `auto`, `off`, `f2`, `f4`"))
}

fn level(word: &str) -> Result<u32, String> {
    match word {
        "best" => Ok(0),
        "portable" => Ok(1),
        "avx2" => Ok(2),
        "avx512" => Ok(3),
        "neon" => Ok(4),
        other => Err(format!("--level: `{other}` is none of `best`, `portable`, `avx2`, `avx512`, `neon`")),
    }
}

fn pair(parser: &mut Parser, form: &str) -> Result<(String, String), String> {
    let word = word(parser)?;
    let halves = word.split_once('=').ok_or_else(|| format!("`{word}`: expected {form}"))?;
    Ok((halves.0.into(), halves.1.into()))
}

fn word(parser: &mut Parser) -> Result<String, String> {
    parser.value().and_then(ValueExt::string).map_err(text)
}

fn path(parser: &mut Parser) -> Result<PathBuf, String> {
    parser.value().map(PathBuf::from).map_err(text)
}

fn text(error: lexopt::Error) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(line.split(' ').filter(|word| !word.is_empty()).map(OsString::from))
    }

    #[test]
    fn commands_and_their_options() {
        let Ok(Command::Verify(verify)) =
            parsed("exported verify a b.pt2 --json=o.json --target m4f --level portable --release")
        else {
            panic!("verify")
        };
        assert_eq!(verify.paths, [Path::new("a"), Path::new("b.pt2")]);
        assert_eq!(verify.place.name(), "m4f");
        assert_eq!((verify.level, verify.release, verify.allow_unsupported), (1, true, false));
        assert_eq!(verify.timeout, 600);
        let Ok(Command::Check { files, json: true, choices }) =
            parsed("check m.pt2 --json --cap x.0=8 --layout x=nhwc --output-name 0=scores --optimize size")
        else {
            panic!("check")
        };
        assert_eq!(files, [Path::new("m.pt2")]);
        let options = choices.options(Path::new("folder/m.pt2"));
        assert_eq!((options.name.as_str(), options.caps["x.0"], options.optimize), ("m", 8, Optimize::Size));
        assert_eq!((options.layouts["x"], options.output_names[&0].as_str()), (Layout::ChannelsLast, "scores"));
        assert!(matches!(parsed("emit m.pt2 -o out.rs"), Ok(Command::Emit { output: Some(_), .. })));
        assert!(matches!(parsed("exported"), Ok(Command::Help)));
        assert!(matches!(parsed("verify --help"), Ok(Command::Help)));
    }

    #[test]
    fn wrong_usage_is_named() {
        for (line, fault) in [
            ("frobnicate", "no command `frobnicate`"),
            ("check", "which file"),
            ("verify", "which files"),
            ("report a b", "one file, not 2"),
            ("inspect", "one file, not 0"),
            ("inspect a --cap x=1", "--cap"),
            ("check a --cap x", "expected --cap DIM=N"),
            ("check a --cap x=y", "`y` is no number"),
            ("check a --nonsense", "--nonsense"),
            ("check a --optimize fast", "`fast` is neither"),
            ("verify a --target m5", "`m5` is not emulated; there are m3"),
            ("verify a --timeout soon", "`soon` is no number"),
            ("check a --winograd f6", "`f6` is none of"),
            ("verify a --level mmx", "`mmx` is none of"),
            ("verify a --multiply-add both", "`both` is neither `fused` nor `separate`"),
            ("emit a --layout x=chw", "`chw` is neither"),
            ("emit a --json", "--json"),
        ] {
            let error = parsed(line).err().unwrap_or_default();
            assert!(error.contains(fault), "{line}: {error}");
        }
    }
}
