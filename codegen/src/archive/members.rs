//! The members of a zip file, borrowed from its bytes.
//!
//! Takes a whole zip, also one nested in another; gives names and ranges. torch stores every member uncompressed, which
//! is what makes borrowing possible: a compressed member is kept in the list, so that it can be named, and refused when
//! somebody asks for it. Sizes and checksums come from the directory, as torch leaves those of local headers 0.

use super::directory::{Directory, Entry};
use super::{Limits, foreign};
use crate::diag::Diagnostic;
use std::collections::BTreeMap;

/// Names and contents of a zip.
#[derive(Debug)]
pub(super) struct Members<'a> {
    by_name: BTreeMap<String, Member<'a>>,
    /// Name of the first member in the directory.
    first: String,
    /// What messages call the file: empty, or the member of the outer zip.
    within: String,
}

#[derive(Clone, Copy, Debug)]
struct Member<'a> {
    /// The bytes as they stand in the file.
    stored: &'a [u8],
    crc32: u32,
    /// Why the bytes are not the contents.
    obstacle: Option<Obstacle>,
}

#[derive(Clone, Copy, Debug)]
enum Obstacle {
    /// By that method.
    Compressed(u16),
    Encrypted,
}

impl<'a> Members<'a> {
    /// Reads the directory of a zip. `within` names it in messages.
    ///
    /// # Errors
    /// A damaged directory, too many members, members outside the file or on top of each other, a name used twice.
    pub(super) fn read(bytes: &'a [u8], within: &str, limits: &Limits) -> Result<Self, Diagnostic> {
        let at = |fault| in_file(within, fault);
        let Some(mut directory) = Directory::find(bytes).map_err(at)? else {
            return Err(at(foreign::not_a_zip(bytes)));
        };
        if directory.count() > limits.members as u64 {
            let (count, limit) = (directory.count(), limits.members);
            return Err(at(Diagnostic::damaged(format!(
                "the zip has {count} members, more than the limit of {limit}"
            ))));
        }
        let mut members = Members { by_name: BTreeMap::new(), first: String::new(), within: within.to_owned() };
        let mut ranges = Vec::new();
        while let Some(entry) = directory.next().map_err(at)? {
            members.insert(&entry, bytes, &mut ranges).map_err(at)?;
        }
        check_disjoint(ranges).map_err(at)?;
        Ok(members)
    }

    fn insert(
        &mut self,
        entry: &Entry<'_>,
        bytes: &'a [u8],
        ranges: &mut Vec<(usize, usize)>,
    ) -> Result<(), Diagnostic> {
        let name = member_name(entry.name)?;
        if name.ends_with('/') {
            return Ok(());
        }
        let (start, end) = entry
            .range(bytes)
            .ok_or_else(|| Diagnostic::damaged(format!("member `{name}` does not lie inside the file")))?;
        ranges.push((start, end));
        let obstacle = if entry.encrypted {
            Some(Obstacle::Encrypted)
        } else if entry.method != 0 {
            Some(Obstacle::Compressed(entry.method))
        } else if entry.size != entry.stored_size {
            return Err(Diagnostic::damaged(format!(
                "member `{name}` is stored in {} bytes but claims {}",
                entry.stored_size, entry.size
            )));
        } else {
            None
        };
        if self.by_name.is_empty() {
            self.first.clone_from(&name);
        }
        let member = Member { stored: &bytes[start..end], crc32: entry.crc32, obstacle };
        match self.by_name.insert(name.clone(), member) {
            None => Ok(()),
            Some(_) => Err(Diagnostic::damaged(format!("the zip has two members named `{name}`"))),
        }
    }

    /// Name of the first member, empty in an empty zip.
    pub(super) fn first(&self) -> &str {
        &self.first
    }

    /// All names in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// Names that begin with `prefix`, in order, without it.
    pub(super) fn under(&self, prefix: &str) -> impl Iterator<Item = &str> {
        let len = prefix.len();
        let prefix = prefix.to_owned();
        let after = self.by_name.range(prefix.clone()..);
        after.map(|(name, _)| name.as_str()).take_while(move |name| name.starts_with(&prefix)).map(move |n| &n[len..])
    }

    /// Whether there is a member of that name.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// Contents of a member, checked against its checksum.
    ///
    /// # Errors
    /// No such member; it is compressed or encrypted; the checksum differs.
    pub(super) fn get(&self, name: &str) -> Result<&'a [u8], Diagnostic> {
        let bytes = self.get_unchecked(name)?;
        let expected = self.by_name.get(name).map_or(0, |m| m.crc32);
        if crc32fast::hash(bytes) != expected {
            let message = format!("member `{name}` does not have its checksum: its bytes were changed");
            return Err(in_file(&self.within, Diagnostic::damaged(message)));
        }
        Ok(bytes)
    }

    /// Contents of a member whose bytes another checksum vouches for (torch lets users turn inner checksums off).
    ///
    /// # Errors
    /// No such member; it is compressed or encrypted.
    pub(super) fn get_unchecked(&self, name: &str) -> Result<&'a [u8], Diagnostic> {
        let fault = match self.by_name.get(name) {
            None => Diagnostic::damaged(format!("the archive has no member `{name}`")),
            Some(Member { stored, obstacle: None, .. }) => return Ok(stored),
            Some(Member { obstacle: Some(Obstacle::Encrypted), .. }) => {
                Diagnostic::unsupported(format!("member `{name}` is encrypted"))
                    .help("save the program again with `torch.export.save`, which does not encrypt")
            }
            Some(Member { obstacle: Some(Obstacle::Compressed(method)), .. }) => Diagnostic::unsupported(format!(
                "member `{name}` is compressed ({}), but torch writes members uncompressed",
                if *method == 8 { "deflate".to_owned() } else { format!("method {method}") }
            ))
            .help(
                "some tool packed this file again: use the file that `torch.export.save` wrote, or extract it and \
                 pack it without compression (`zip -0 -r`)",
            ),
        };
        Err(in_file(&self.within, fault))
    }
}

/// A fault of a zip inside a zip says so.
fn in_file(within: &str, mut fault: Diagnostic) -> Diagnostic {
    if !within.is_empty() {
        fault.message = format!("in member `{within}`: {}", fault.message);
    }
    fault
}

/// Tools of other systems separate with `\`, which torch's names never need.
fn member_name(raw: &[u8]) -> Result<String, Diagnostic> {
    match std::str::from_utf8(raw) {
        Ok(name) => Ok(name.replace('\\', "/")),
        Err(_) => Err(Diagnostic::damaged(format!("member name `{}` is not UTF-8", String::from_utf8_lossy(raw)))),
    }
}

/// Members that share bytes are how a small file claims to be a large one.
fn check_disjoint(mut ranges: Vec<(usize, usize)>) -> Result<(), Diagnostic> {
    ranges.retain(|(start, end)| start < end);
    ranges.sort_unstable();
    match ranges.windows(2).find(|pair| pair[0].1 > pair[1].0) {
        None => Ok(()),
        Some(pair) => Err(Diagnostic::damaged(format!("two members of the zip share the bytes from {}", pair[1].0))),
    }
}
