//! The command line.

use crate::boards::Place;
use exported_codegen::options::{
    Layout, MultiplyAdd, Optimize, Options, Quantization, Target, Winograd, Word, parse_bytes,
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
  report FILE         layers and modules: time, weights, memory plan; how far quantized layers are from PyTorch's in the
                      golden file beside the archive                             [--json] [--modules] [--svg FILE]
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
  --inputs caller|workspace where the inputs stand (`InputMemory`)
  --bounds torch|strict     which lower bounds of dims are enforced
  --max-rounds N            most rounds of a `while_loop`
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
    Check { files: Vec<PathBuf>, json: bool, options: Options },
    Emit { file: PathBuf, output: Option<PathBuf>, options: Options },
    Report { file: PathBuf, form: ReportForm, svg: Option<PathBuf>, options: Options },
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

/// The options for one archive: unless named, the model is called like its file.
pub fn named(options: &Options, archive: &Path) -> Options {
    let mut options = options.clone();
    if options.name.is_empty() {
        options.name = archive.file_stem().map_or_else(|| "model".into(), |stem| stem.to_string_lossy().into_owned());
    }
    options
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
    let mut options = Options::new("", Target::new(env!("HOST")));
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
                option(&mut options, &name, parser)?;
            }
            other => return Err(text(other.unexpected())),
        }
    }
    if command == "check" {
        return if files.is_empty() {
            Err("check: which file?".into())
        } else {
            Ok(Command::Check { files, json, options })
        };
    }
    let [file] =
        <[PathBuf; 1]>::try_from(files).map_err(|files| format!("{command}: one file, not {}", files.len()))?;
    Ok(match command {
        "inspect" => Command::Inspect { file, python },
        "emit" => Command::Emit { file, output, options },
        _ => {
            let form = match (json, modules) {
                (true, false) => ReportForm::Json,
                (false, true) => ReportForm::Modules,
                (false, false) => ReportForm::Layers,
                (true, true) => return Err("report: either --json, which has the modules too, or --modules".into()),
            };
            Command::Report { file, form, svg, options }
        }
    })
}

fn option(options: &mut Options, name: &str, parser: &mut Parser) -> Result<(), String> {
    match name {
        "target" => options.target.triple = word(parser)?,
        "target-cpu" => options.target.cpu = Some(word(parser)?),
        "optimize" => options.optimize = choice(name, parser)?,
        "multiply-add" => options.multiply_add = Some(choice(name, parser)?),
        "quantization" => options.quantization = choice(name, parser)?,
        "io" => options.io = choice(name, parser)?,
        "inputs" => options.inputs = choice(name, parser)?,
        "bounds" => options.bounds = choice(name, parser)?,
        "max-rounds" => {
            let rounds = word(parser)?;
            options.max_rounds = Some(rounds.parse().map_err(|_| format!("--max-rounds: `{rounds}` is no number"))?);
        }
        "winograd" => options.winograd = choice(name, parser)?,
        "train-mode" => options.train_mode = true,
        "cap" => {
            let (dim, n) = pair(parser, "--cap DIM=N")?;
            let n = n.parse().map_err(|_| format!("--cap: `{n}` is no number"))?;
            options.caps.insert(dim, n);
        }
        "layout" => {
            let (argument, order) = pair(parser, "--layout ARGUMENT=nhwc")?;
            let layout = Layout::of(&order).map_err(|expected| format!("--layout: `{order}`: {expected}"))?;
            options.layouts.insert(argument, layout);
        }
        "output-name" => {
            let (n, name) = pair(parser, "--output-name N=NAME")?;
            let n = n.parse().map_err(|_| format!("--output-name: `{n}` is no number"))?;
            options.output_names.insert(n, name);
        }
        "pure" => options.pure_operators.push(word(parser)?),
        "module" => options.module = Some(word(parser)?),
        "extra-file" => options.extra_files.push(word(parser)?),
        "ram" => options.ram = Some(parse_bytes(&word(parser)?).map_err(|e| format!("--ram: {e}"))?),
        "flash" => options.flash = Some(parse_bytes(&word(parser)?).map_err(|e| format!("--flash: {e}"))?),
        "weights-section" => options.weights_section = Some(word(parser)?),
        "program" => options.program = true,
        "name" => options.name = word(parser)?,
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
            Arg::Long("optimize") => verify.optimize = choice("optimize", parser)?,
            Arg::Long("multiply-add") => verify.multiply_add = Some(choice("multiply-add", parser)?),
            Arg::Long("quantization") => verify.quantization = choice("quantization", parser)?,
            Arg::Long("winograd") => verify.winograd = choice("winograd", parser)?,
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

/// The value of an option that has a few words.
fn choice<T: Word>(option: &str, parser: &mut Parser) -> Result<T, String> {
    let word = word(parser)?;
    T::of(&word).map_err(|expected| format!("--{option}: `{word}`: {expected}"))
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
        let Ok(Command::Check { files, json: true, options }) =
            parsed("check m.pt2 --json --cap x.0=8 --layout x=nhwc --output-name 0=scores --optimize size")
        else {
            panic!("check")
        };
        assert_eq!(files, [Path::new("m.pt2")]);
        let options = named(&options, Path::new("folder/m.pt2"));
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
            ("check a --optimize fast", "`fast`: expected \"speed\" or \"size\""),
            ("verify a --target m5", "`m5` is not emulated; there are m3"),
            ("verify a --timeout soon", "`soon` is no number"),
            ("check a --winograd f6", "`f6`: expected \"auto\", \"off\""),
            ("verify a --level mmx", "`mmx` is none of"),
            ("verify a --multiply-add both", "`both`: expected \"fused\" or \"separate\""),
            ("emit a --layout x=chw", "`chw`: expected \"nhwc\""),
            ("emit a --json", "--json"),
        ] {
            let error = parsed(line).err().unwrap_or_default();
            assert!(error.contains(fault), "{line}: {error}");
        }
    }
}
