//! What the user may say about a compilation, in the macro and in the builder alike.

use std::collections::BTreeMap;

/// Options of one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Name in documentation and reports; the file stem unless said otherwise.
    pub name: String,
    /// Where the code will run.
    pub target: Target,
    /// What to favour.
    pub optimize: Optimize,
    /// Where the inputs of a call stand.
    pub inputs: InputMemory,
    /// How products of f32 are added up on a Cortex-M with an FPU; `None`: as is fastest there.
    pub multiply_add: Option<MultiplyAdd>,
    /// How quantized graphs are computed.
    pub quantization: Quantization,
    /// What quantized inputs and outputs look like.
    pub io: Io,
    /// Which convolutions are computed by Winograd's method.
    pub winograd: Winograd,
    /// Cut the program into its quantized layers ([`crate::passes::cut`]), for verification.
    pub layers: bool,
    /// Upper bounds of dims the archive leaves unbounded, by symbol or by the name of the user's `Dim`.
    pub caps: BTreeMap<String, i64>,
    /// Which lower bounds of dims are enforced.
    pub bounds: Bounds,
    /// Rounds that a `while_loop` may take; a call that needs more fails with [`rt::Error::Assert`](exported_runtime::Error::Assert).
    pub max_rounds: Option<i64>,
    /// Batch normalization in training mode is computed as PyTorch does: from the statistics of the batch, with the running
    /// statistics as state. Otherwise it is refused, for most often somebody forgot `model.eval()`.
    pub train_mode: bool,
    /// Custom operators of which nothing but the results matters (`fixtures::scaled_relu`): a call whose results nobody
    /// needs is left out.
    pub pure_operators: Vec<String>,
    /// Not the program but one module of it, whose call the archive describes (`preserve_module_call_signature`).
    pub module: Option<String>,
    /// Memory order of user-visible inputs, by argument name.
    pub layouts: BTreeMap<String, Layout>,
    /// New names of outputs, by position.
    pub output_names: BTreeMap<usize, String>,
    /// Most bytes of workspace and state.
    pub ram: Option<u64>,
    /// Most bytes of weights, the padding between them, and initial state; code is not known before the link.
    pub flash: Option<u64>,
    /// Link section of the weights; its attribute needs `allow(unsafe_code)` at the user's side.
    pub weights_section: Option<String>,
    /// Extra files of the archive that become constants.
    pub extra_files: Vec<String>,
    /// Emit the implementation of the flat door (`rt::program`).
    pub program: bool,
    /// Path of the runtime in generated code.
    pub runtime_path: String,
    /// How the weights reach the code.
    pub weights: WeightsForm,
}

/// How the weights reach the code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WeightsForm {
    /// One byte-string literal.
    Literal,
    /// `include_bytes!` of this text, resolved by rustc where the code stands (`concat!(env!("OUT_DIR"), ..)` allowed).
    Include(String),
}

/// What to favour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Optimize {
    /// Least time.
    #[default]
    Speed,
    /// Least flash.
    Size,
}

/// Where the inputs of a call stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InputMemory {
    /// In the caller's memory, where they stay as they are.
    #[default]
    Caller,
    /// In the workspace, where `Model::forward_with` has them filled: later layers use their memory, so that a call needs
    /// less of it in all. Inputs of constant sizes only.
    Workspace,
}

/// How products of f32 are added up on a Cortex-M with an FPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MultiplyAdd {
    /// `vfma`: one instruction, one rounding. Least code; ahead in LLVM's model of the Cortex-M7.
    Fused,
    /// `vmul` and `vadd`: two instructions and roundings. Faster on the Cortex-M4, where Arm publishes 3 cycles for a `vfma`
    /// and 1 for each of these (Cortex-M4 Technical Reference Manual, FPU instruction set).
    Separate,
}

/// How quantized graphs are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quantization {
    /// On integers where possible: each requantization differs from PyTorch's by one quantum at most.
    #[default]
    Fused,
    /// As PyTorch does: dequantized, computed in floats, quantized again.
    Faithful,
}

/// What quantized inputs and outputs look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Io {
    /// As the program has them: it quantizes floats.
    #[default]
    Program,
    /// The integers themselves, where an input is only quantized and an output only dequantized; scales and zero points
    /// are constants of the module (`IMAGE_SCALE`, `IMAGE_ZERO_POINT`).
    Quantized,
}

/// Which convolutions are computed by Winograd's method: 3x3, of step 1, in f32.
///
/// It multiplies less than the definition does and rounds otherwise. `F2` has 1.78 times the weights and amplifies
/// rounding errors by at most 16, `F4` 4 times the weights and at most 205 times the errors
/// ([`exported_runtime::kernels::winograd`] has the bounds, and what random layers measured: a hundredth of them). An infinite
/// or NaN input spreads to the neighbouring outputs of its tile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Winograd {
    /// Where it is faster, each layer with the tiles that suit it; never on bare metal nor where size matters.
    #[default]
    Auto,
    /// None.
    Off,
    /// All that can be, in tiles of 2x2 outputs.
    F2,
    /// All that can be, in tiles of 4x4 outputs.
    F4,
}

/// Which lower bounds of dims are enforced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bounds {
    /// Those above 2, as PyTorch does: it records 2 wherever nothing else is known, and still takes sizes 0 and 1.
    #[default]
    Torch,
    /// All that the archive records.
    Strict,
}

impl Bounds {
    /// The recorded bound, if it is enforced.
    pub fn enforced(self, min: Option<i64>) -> Option<i64> {
        min.filter(|&m| m > 2 || self == Bounds::Strict)
    }
}

/// Memory order of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// As PyTorch: row-major over the logical dims.
    Torch,
    /// Channels last (`NHWC`): the type of the argument follows the memory order.
    ChannelsLast,
}

/// An option whose values are words, the same ones in the macro and on the command line.
pub trait Word: Copy + 'static {
    /// All words. A value may have several.
    const WORDS: &'static [(&'static str, Self)];

    /// The value that a word stands for.
    ///
    /// # Errors
    /// Which words there are.
    fn of(word: &str) -> Result<Self, String> {
        let known = Self::WORDS.iter().find(|(name, _)| *name == word);
        known.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<String> = Self::WORDS.iter().map(|(name, _)| format!("\"{name}\"")).collect();
            match words.split_last() {
                Some((last, others)) if !others.is_empty() => format!("expected {} or {last}", others.join(", ")),
                _ => format!("expected {}", words.concat()),
            }
        })
    }
}

macro_rules! words {
    ($($option:ident: $($word:literal => $value:ident),+;)*) => {
        $(impl Word for $option {
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, $option::$value)),+];
        })*
    };
}

words! {
    Optimize: "speed" => Speed, "size" => Size;
    InputMemory: "caller" => Caller, "workspace" => Workspace;
    MultiplyAdd: "fused" => Fused, "separate" => Separate;
    Quantization: "fused" => Fused, "faithful" => Faithful;
    Io: "program" => Program, "quantized" => Quantized;
    Winograd: "auto" => Auto, "off" => Off, "f2" => F2, "f4" => F4;
    Bounds: "torch" => Torch, "strict" => Strict;
    Layout: "nhwc" => ChannelsLast, "nchw" => Torch, "channels_last" => ChannelsLast, "torch" => Torch;
}

/// Where the code will run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// rustc's name for it (`thumbv7em-none-eabihf`).
    pub triple: String,
    /// `-Ctarget-cpu`, if given.
    pub cpu: Option<String>,
    /// Enabled target features (`-Ctarget-feature=+x`).
    pub features: Vec<String>,
}

impl Target {
    /// A target by its triple alone.
    pub fn new(triple: impl Into<String>) -> Self {
        Target { triple: triple.into(), cpu: None, features: Vec::new() }
    }

    /// A target as cargo tells a build script about it: `TARGET`, `CARGO_ENCODED_RUSTFLAGS`, `CARGO_CFG_TARGET_FEATURE`.
    pub fn from_cargo(triple: &str, flags: &str, features: &str) -> Self {
        let mut target = Target::new(triple);
        let named = features.split(',').filter(|f| !f.is_empty()).map(String::from);
        let mut enabled: std::collections::BTreeSet<String> = named.collect();
        let mut flags = flags.split('\u{1f}');
        while let Some(flag) = flags.next() {
            // `-C x` may stand in two arguments.
            let option = match flag {
                "-C" | "--codegen" => flags.next(),
                _ => flag.strip_prefix("-C").or_else(|| flag.strip_prefix("--codegen=")),
            };
            let Some(option) = option else { continue };
            if let Some(cpu) = option.strip_prefix("target-cpu=") {
                target.cpu = Some(cpu.to_string());
            }
            for feature in option.strip_prefix("target-feature=").into_iter().flat_map(|list| list.split(',')) {
                match feature.strip_prefix('-') {
                    Some(off) => enabled.remove(off),
                    None => enabled.insert(feature.trim_start_matches('+').to_string()),
                };
            }
        }
        target.features = enabled.into_iter().collect();
        target
    }

    /// The architecture part of the triple.
    pub fn arch(&self) -> &str {
        self.triple.split('-').next().unwrap_or_default()
    }

    /// Width of weight panels in elements: 16 where there are vector registers, 4 elsewhere.
    pub fn panel(&self) -> usize {
        if matches!(self.arch(), "x86_64" | "aarch64") { 16 } else { 4 }
    }

    /// Whether the cores have Arm's DSP instructions. Of Armv8-M they may lack them: those with an FPU, or named, have them.
    pub fn dsp(&self) -> bool {
        match self.arch() {
            "thumbv7em" => true,
            "thumbv8m.main" => {
                let named = self.cpu.as_ref().is_some_and(|cpu| cpu != "generic");
                named || self.triple.ends_with("hf") || self.features.iter().any(|f| f == "dsp")
            }
            _ => false,
        }
    }

    /// Whether the core has Helium (MVE) on integers: named, or by its feature, with a calling convention that knows its
    /// registers.
    pub fn mve(&self) -> bool {
        let named =
            self.cpu.as_ref().is_some_and(|cpu| ["cortex-m52", "cortex-m55", "cortex-m85"].contains(&cpu.as_str()));
        let feature = self.features.iter().any(|f| f == "mve" || f == "mve.fp");
        self.arch() == "thumbv8m.main" && self.fpu() && (named || feature)
    }

    /// Whether it is a Cortex-M with an FPU whose calling convention uses it.
    pub fn fpu(&self) -> bool {
        matches!(self.arch(), "thumbv7em" | "thumbv8m.main") && self.triple.ends_with("-none-eabihf")
    }

    /// What offsets in a workspace are multiples of: a vector that crosses lines of the cache is loaded at half the speed.
    pub fn alignment(&self) -> usize {
        if self.panel() == 16 { 64 } else { crate::plan::ALIGN }
    }

    /// Whether no operating system is below the program.
    pub fn is_bare_metal(&self) -> bool {
        self.triple.split('-').any(|part| part == "none")
    }

    /// Bits of `usize`.
    pub fn pointer_width(&self) -> u32 {
        match self.arch() {
            "x86_64" | "aarch64" | "riscv64gc" | "powerpc64le" | "loongarch64" | "s390x" | "sparc64" => 64,
            "msp430" | "avr" => 16,
            _ => 32,
        }
    }

    /// Whether it stores the most significant byte first.
    pub fn is_big_endian(&self) -> bool {
        let arch = self.arch();
        matches!(arch, "powerpc" | "powerpc64" | "s390x" | "sparc" | "sparc64" | "mips" | "mips64" | "m68k")
            || arch.starts_with("armeb")
            || arch.starts_with("aarch64_be")
    }
}

impl Options {
    /// How products are added up, if the target leaves a choice. The triple does not tell a Cortex-M4 from an M7; where the
    /// compiler flags do not either, the choice is `vfma`.
    pub fn multiply_add(&self) -> Option<MultiplyAdd> {
        let fastest = match self.target.cpu.as_deref() {
            Some("cortex-m4") => MultiplyAdd::Separate,
            _ => MultiplyAdd::Fused,
        };
        self.target.fpu().then(|| self.multiply_add.unwrap_or(fastest))
    }

    /// Defaults for a model of this name on this target.
    pub fn new(name: impl Into<String>, target: Target) -> Self {
        Options {
            name: name.into(),
            target,
            optimize: Optimize::Speed,
            inputs: InputMemory::Caller,
            multiply_add: None,
            quantization: Quantization::Fused,
            io: Io::Program,
            winograd: Winograd::Auto,
            layers: false,
            caps: BTreeMap::new(),
            bounds: Bounds::Torch,
            max_rounds: None,
            train_mode: false,
            pure_operators: Vec::new(),
            module: None,
            layouts: BTreeMap::new(),
            output_names: BTreeMap::new(),
            ram: None,
            flash: None,
            weights_section: None,
            extra_files: Vec::new(),
            program: false,
            runtime_path: "::exported::rt".into(),
            weights: WeightsForm::Literal,
        }
    }
}

/// A number of bytes as people write it: `65536`, `48K` (1024 bytes each), `1M`.
///
/// # Errors
/// What a size looks like.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 1 << 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 1 << 20),
        _ => (text, 1),
    };
    let number = digits.replace('_', "").parse::<u64>().ok().and_then(|n| n.checked_mul(unit));
    number.ok_or_else(|| format!("`{text}` is no size: expected bytes (`65536`), K (`48K`) or M (`1M`)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        let sizes = ["48K", "1M", "65536", "65_536", "0"].map(parse_bytes);
        assert_eq!(sizes, [48 << 10, 1 << 20, 65536, 65536, 0].map(Ok));
        for wrong in ["", "K", "-1", "48KB", "1.5M", "18446744073709551615K", "x"] {
            assert!(parse_bytes(wrong).is_err_and(|e| e.contains("is no size")), "{wrong}");
        }
    }

    #[test]
    fn flags_of_cargo_are_read() {
        let flags = "-Ctarget-cpu=cortex-m55\u{1f}-C\u{1f}target-feature=+mve,-dsp\u{1f}-Clto=fat\u{1f}--cfg\u{1f}x";
        let target = Target::from_cargo("thumbv8m.main-none-eabihf", flags, "dsp,thumb2");
        assert_eq!((target.arch(), target.cpu.as_deref()), ("thumbv8m.main", Some("cortex-m55")));
        assert_eq!(target.features, ["mve", "thumb2"]);
        assert_eq!(Target::from_cargo("x86_64-unknown-linux-gnu", "", "").features, [] as [String; 0]);
    }
}
