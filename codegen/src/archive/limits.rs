//! How much of a file is believed: bounds that are debited before memory is spent.

use super::members::Members;
use super::{Identity, Tensor};
use crate::diag::Diagnostic;
use std::collections::HashSet;

/// Bounds on what reading one archive may cost. Members are borrowed from the file, so only what is *built* needs bounds.
///
/// The defaults admit every model that fits a device and keep the cost of a hostile file under a quarter of a gigabyte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Members of a zip, also of a nested one.
    pub members: usize,
    /// Bytes of the program's JSON text, and of each weights table.
    pub text_bytes: usize,
    /// Objects and items that the pickles of an archive may build, together.
    pub pickle_items: usize,
    /// Bytes by which tensors, written out in full, may exceed the storages they are windows onto (expanded weights,
    /// several views of one storage).
    pub expanded_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { members: 1 << 16, text_bytes: 64 << 20, pickle_items: 1 << 20, expanded_bytes: 64 << 20 }
    }
}

/// What is left of the limits while one archive is read.
pub(super) struct Ledger {
    pub(super) limits: Limits,
    pub(super) pickle_items: usize,
    /// Bytes that further tensors may have written out: storages add to it, tensors take from it.
    writable: usize,
    storages: u32,
    /// Tied weights are written out once.
    seen: HashSet<Identity>,
}

impl Ledger {
    pub(super) fn new(limits: &Limits) -> Self {
        Ledger {
            limits: *limits,
            pickle_items: limits.pickle_items,
            writable: limits.expanded_bytes,
            storages: 0,
            seen: HashSet::new(),
        }
    }

    /// A member that must be text.
    pub(super) fn text<'a>(&self, members: &Members<'a>, name: &str) -> Result<&'a str, Diagnostic> {
        let bytes = members.get(name)?;
        if bytes.len() > self.limits.text_bytes {
            let (len, limit) = (bytes.len(), self.limits.text_bytes);
            return Err(Diagnostic::damaged(format!(
                "member `{name}` has {len} bytes, more than the limit of {limit}"
            )));
        }
        std::str::from_utf8(bytes).map_err(|_| Diagnostic::damaged(format!("member `{name}` is not UTF-8 text")))
    }

    /// Numbers a storage of that many bytes.
    pub(super) fn new_storage(&mut self, bytes: usize) -> u32 {
        self.writable = self.writable.saturating_add(bytes);
        self.storages += 1;
        self.storages - 1
    }

    /// Pays for writing a tensor out in logical order.
    pub(super) fn debit_tensor(&mut self, tensor: &Tensor<'_>) -> Result<(), Diagnostic> {
        if !self.seen.insert(tensor.identity().clone()) {
            return Ok(());
        }
        let bytes = tensor.numel() * tensor.dtype().size();
        self.writable = self.writable.checked_sub(bytes).ok_or_else(|| {
            Diagnostic::damaged(format!(
                "its {bytes} bytes bring the tensors of the archive further beyond their storages than the limit of {}",
                self.limits.expanded_bytes
            ))
        })?;
        Ok(())
    }
}
