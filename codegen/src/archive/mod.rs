//! From bytes to the members of a `torch.export` archive.
//!
//! Takes the file as one slice and borrows from it; gives an [`Archive`]. Which of torch's three layouts it is follows
//! from the members found, never from version texts. Sample inputs are never looked at: they may hold pickled classes of
//! the user.

mod directory;
mod foreign;
mod limits;
mod members;
mod pickle;
mod raw;
mod tensor;
#[cfg(test)]
mod tests;
mod torch_save;

pub use limits::Limits;
pub use tensor::{Identity, Tensor};

use crate::diag::{Diagnostic, Errors};
use limits::Ledger;
use members::Members;
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

const LEGACY_PROGRAM: &str = "serialized_exported_program.json";

/// Finds and checks the members of an archive.
///
/// # Errors
/// Says what the file is when it is no archive; names every member and tensor that is missing, damaged, beyond `limits`
/// or of a kind that is not read.
pub fn read<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Archive<'a>, Errors> {
    let members = open(bytes, limits)?;
    let parts = if members.contains(LEGACY_PROGRAM) { Parts::legacy() } else { Parts::find(&members)? };
    let mut ledger = Ledger::new(limits);
    let mut errors = Errors::default();
    let program = kept(ledger.text(&members, &parts.program).map_err(Errors::from), &mut errors);
    let weights = kept(parts.weights.read(&members, &parts.root, &mut ledger), &mut errors);
    let constants = kept(parts.constants.read(&members, &parts.root, &mut ledger), &mut errors);
    let mut extra_files = BTreeMap::new();
    for name in members.under(&parts.extra) {
        if let Some(contents) = kept(members.get(&format!("{}{name}", parts.extra)).map_err(Errors::from), &mut errors)
        {
            extra_files.insert(name.to_owned(), contents);
        }
    }
    errors.into_result(Archive {
        format: parts.format,
        model: parts.model,
        program: Cow::Borrowed(program.unwrap_or_default()),
        weights: weights.unwrap_or_default(),
        constants: constants.unwrap_or_default(),
        extra_files,
    })
}

/// Moves the faults of one part to those of all.
fn kept<T>(result: Result<T, Errors>, errors: &mut Errors) -> Option<T> {
    result.map_err(|faults| errors.extend(faults)).ok()
}

fn open<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Members<'a>, Diagnostic> {
    // The end of a zip can stand in any file; torch's begin with a member.
    if bytes.starts_with(b"PK") { Members::read(bytes, "", limits) } else { Err(foreign::not_a_zip(bytes)) }
}

/// Which member is what.
struct Parts {
    format: Format,
    model: String,
    /// Folder of the archive, empty or with its slash.
    root: String,
    program: String,
    weights: Tensors,
    constants: Tensors,
    /// Folder of the extra files.
    extra: String,
}

/// Where tensors are.
enum Tensors {
    /// In a `torch.save` file.
    Saved(String),
    /// In a folder: the table, and one member per storage.
    Raw { folder: String, table: String },
}

impl Tensors {
    fn read<'a>(
        &self,
        members: &Members<'a>,
        root: &str,
        ledger: &mut Ledger,
    ) -> Result<BTreeMap<String, Tensor<'a>>, Errors> {
        match self {
            Tensors::Saved(path) => torch_save::read(members.get(path)?, path, ledger),
            Tensors::Raw { folder, table } => raw::read(members, folder, table, big_endian(members, root)?, ledger),
        }
    }
}

impl Parts {
    fn legacy() -> Self {
        Parts {
            format: Format::Legacy,
            model: "model".to_owned(),
            root: String::new(),
            program: LEGACY_PROGRAM.to_owned(),
            weights: Tensors::Saved("serialized_state_dict.pt".to_owned()),
            constants: Tensors::Saved("serialized_constants.pt".to_owned()),
            extra: "extra_files/".to_owned(),
        }
    }

    /// The root folder bears the name the file had when it was saved.
    fn find(members: &Members<'_>) -> Result<Self, Diagnostic> {
        let roots = members.names().filter_map(|name| name.strip_suffix("archive_format"));
        let root = roots.filter(|root| root.is_empty() || root.ends_with('/')).min_by_key(|root| root.len());
        let root = root.or_else(|| members.first().split_inclusive('/').next()).unwrap_or_default().to_owned();
        let folder = format!("{root}models/");
        let models: Vec<&str> = members.under(&folder).filter_map(|name| name.strip_suffix(".json")).collect();
        let model = match models[..] {
            [] => return Err(foreign::not_an_archive(members, &root)),
            [model] => model.to_owned(),
            _ => {
                let message = format!("the archive holds {} models: `{}`", models.len(), models.join("`, `"));
                return Err(Diagnostic::unsupported(message).help("save each model in an archive of its own"));
            }
        };
        let (format, weights) = tensors(members, &root, "weights", &model)?;
        let (_, constants) = tensors(members, &root, "constants", &model)?;
        Ok(Parts {
            format,
            program: format!("{folder}{model}.json"),
            weights,
            constants,
            extra: format!("{root}extra/"),
            model,
            root,
        })
    }
}

/// Pickled or raw, whichever is there.
fn tensors(members: &Members<'_>, root: &str, kind: &str, model: &str) -> Result<(Format, Tensors), Diagnostic> {
    let folder = format!("{root}data/{kind}/");
    let (saved, table) = (format!("{folder}{model}.pt"), format!("{model}_{kind}_config.json"));
    if members.contains(&format!("{folder}{table}")) {
        return Ok((Format::Raw, Tensors::Raw { folder, table }));
    }
    if members.contains(&saved) {
        return Ok((Format::Pickled, Tensors::Saved(saved)));
    }
    Err(Diagnostic::damaged(format!(
        "the archive holds neither `{folder}{table}` nor `{saved}`: its {kind} are missing"
    )))
}

/// Byte order of raw numbers; files without the member are older than the choice.
fn big_endian(members: &Members<'_>, root: &str) -> Result<bool, Diagnostic> {
    let name = format!("{root}byteorder");
    if !members.contains(&name) {
        return Ok(false);
    }
    match members.get_unchecked(&name)? {
        b"little" => Ok(false),
        b"big" => Ok(true),
        other => {
            let other = String::from_utf8_lossy(&other[..other.len().min(16)]);
            Err(Diagnostic::damaged(format!("byte order `{other}`, expected `little` or `big`")))
        }
    }
}
