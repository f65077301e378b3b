//! A mirror of torch's serialized `ExportedProgram`: typed, checked for form, not interpreted.
//!
//! Takes the program text of an [`Archive`](crate::archive::Archive), gives a [`Program`]. Differences between the torch
//! versions (absent keys, bare `Infinity`, `as_int: true`) end here; meaning begins in [`import`](crate::import).

mod decode;
mod enums;
mod json;
mod parse;
mod program;
mod submodule;
#[cfg(test)]
mod tests;
mod tree;
mod unions;

pub use enums::{Device, Layout, MemoryFormat, ScalarType};
pub use parse::parse;
pub(crate) use parse::{MAX_RANK, Payload, parse_payloads};
pub use program::*;
pub use submodule::submodule;
pub use tree::{Key, TreeSpec};
