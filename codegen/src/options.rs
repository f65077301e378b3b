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
    /// Upper bounds of dims the archive leaves unbounded, by symbol or by the name of the user's `Dim`.
    pub caps: BTreeMap<String, i64>,
    /// Memory order of user-visible inputs, by argument name.
    pub layouts: BTreeMap<String, Layout>,
    /// New names of outputs, by position.
    pub output_names: BTreeMap<usize, String>,
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

/// Memory order of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// As PyTorch: row-major over the logical dims.
    Torch,
    /// Channels last (`NHWC`): the type of the argument follows the memory order.
    ChannelsLast,
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

    /// The architecture part of the triple.
    pub fn arch(&self) -> &str {
        self.triple.split('-').next().unwrap_or_default()
    }

    /// Width of weight panels in elements: 16 where there are vector registers, 4 elsewhere.
    pub fn panel(&self) -> usize {
        if matches!(self.arch(), "x86_64" | "aarch64") { 16 } else { 4 }
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
    /// Defaults for a model of this name on this target.
    pub fn new(name: impl Into<String>, target: Target) -> Self {
        Options {
            name: name.into(),
            target,
            optimize: Optimize::Speed,
            caps: BTreeMap::new(),
            layouts: BTreeMap::new(),
            output_names: BTreeMap::new(),
            weights_section: None,
            extra_files: Vec::new(),
            program: false,
            runtime_path: "::exported::rt".into(),
            weights: WeightsForm::Literal,
        }
    }
}
