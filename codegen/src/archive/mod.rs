//! From bytes to the members of a `torch.export` archive.
//!
//! Takes the file as one slice and borrows from it; gives an [`Archive`]. Which of torch's three layouts it is follows
//! from the members found, never from version texts.

mod tensor;

pub use tensor::{Identity, Tensor};

use std::borrow::Cow;
use std::collections::BTreeMap;

/// The members of an archive that a compiler needs.
#[derive(Clone, Debug)]
pub struct Archive<'a> {
    /// Which form the file has.
    pub format: Format,
    /// Name of the model (`model` unless the user chose one).
    pub model: String,
    /// The serialized `ExportedProgram`, a JSON text (2.5 writes bare `Infinity`).
    pub program: Cow<'a, str>,
    /// Parameters and persistent buffers by fully qualified name.
    pub weights: BTreeMap<String, Tensor<'a>>,
    /// Non-persistent buffers and lifted constants by fully qualified name.
    pub constants: BTreeMap<String, Tensor<'a>>,
    /// Extra files by name.
    pub extra_files: BTreeMap<String, &'a [u8]>,
}

/// The three forms `torch.export.save` has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Up to torch 2.7: `serialized_exported_program.json`, weights in a `torch.save` file.
    Legacy,
    /// torch 2.8: `models/*.json`, weights in a `torch.save` file.
    Pickled,
    /// torch 2.9 and later: `models/*.json`, one member per storage.
    Raw,
}

impl Format {
    /// The words shown by `inspect`.
    pub fn name(self) -> &'static str {
        match self {
            Format::Legacy => "legacy (torch 2.5 to 2.7)",
            Format::Pickled => "archive with pickled weights (torch 2.8)",
            Format::Raw => "archive with raw weights (torch 2.9 and later)",
        }
    }
}
