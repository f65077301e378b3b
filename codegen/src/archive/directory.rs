//! The directory at the end of a zip file.
//!
//! Takes the bytes of a whole zip; gives its entries. Only what a torch file needs is here: one disk, nothing before the
//! first member, zip64 records where present (torch always writes them). It is our own, because libraries reserve room for
//! as many entries as a file claims, and because members must be borrowed, not read.

use crate::diag::Diagnostic;

/// One member as the directory describes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a [u8],
    pub(super) encrypted: bool,
    /// 0 is stored.
    pub(super) method: u16,
    pub(super) crc32: u32,
    /// Bytes in the file.
    pub(super) stored_size: u64,
    /// Bytes of the contents.
    pub(super) size: u64,
    header_offset: u64,
}

/// The directory: how many entries it claims, and its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Directory<'a> {
    count: u64,
    bytes: &'a [u8],
}

const END: &[u8] = b"PK\x05\x06";
const END_SIZE: usize = 22;
const LOCATOR: &[u8] = b"PK\x06\x07";
const LOCATOR_SIZE: usize = 20;
const END_64: &[u8] = b"PK\x06\x06";
const HEADER: &[u8] = b"PK\x01\x02";
const HEADER_SIZE: usize = 46;
const LOCAL: &[u8] = b"PK\x03\x04";
const LOCAL_SIZE: usize = 30;

impl<'a> Directory<'a> {
    /// Finds the directory; `None` if the file has no end record.
    ///
    /// # Errors
    /// An end record that points nowhere.
    pub(super) fn find(file: &'a [u8]) -> Result<Option<Self>, Diagnostic> {
        let Some(end) = find_end(file) else { return Ok(None) };
        let record = &file[end..];
        let disks = [u16_at(record, 4), u16_at(record, 6)];
        let mut count = u16_at(record, 10).map(u64::from);
        let mut size = u32_at(record, 12).map(u64::from);
        let mut offset = u32_at(record, 16).map(u64::from);
        let mut directory_end = end;
        let locator = end.checked_sub(LOCATOR_SIZE).map(|at| &file[at..]).filter(|l| l.starts_with(LOCATOR));
        if let Some(locator) = locator {
            directory_end = u64_at(locator, 8).and_then(|at| usize::try_from(at).ok()).unwrap_or(usize::MAX);
            let record = file.get(directory_end..).filter(|r| r.starts_with(END_64)).unwrap_or_default();
            (count, size, offset) = (u64_at(record, 32), u64_at(record, 40), u64_at(record, 48));
        } else if disks != [Some(0), Some(0)] {
            return Err(Diagnostic::damaged("the zip is one part of several"));
        }
        let before_end = file.get(..directory_end);
        let bytes = || before_end?.get(usize::try_from(offset?).ok()?..);
        match (count, size, bytes()) {
            // A gap would be room for another zip, and readers differ in which of the two they see.
            (Some(count), Some(size), Some(bytes)) if bytes.len() as u64 == size => {
                Ok(Some(Directory { count, bytes }))
            }
            _ => Err(Diagnostic::damaged("the end of the zip does not point to the directory before it")),
        }
    }

    /// How many entries the file claims to have; not to be believed before they are seen.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The next entry, `None` behind the last.
    ///
    /// # Errors
    /// Malformed or fewer than claimed.
    pub(super) fn next(&mut self) -> Result<Option<Entry<'a>>, Diagnostic> {
        if self.count == 0 {
            return Ok(None);
        }
        let (entry, len) =
            entry(self.bytes).ok_or_else(|| Diagnostic::damaged("the zip directory is damaged or cut off"))?;
        self.count -= 1;
        self.bytes = &self.bytes[len..];
        Ok(Some(entry))
    }
}

impl Entry<'_> {
    /// Start and end of the member's bytes: behind its local header, whose two lengths may differ from the directory's.
    pub(super) fn range(&self, file: &[u8]) -> Option<(usize, usize)> {
        let header_start = usize::try_from(self.header_offset).ok()?;
        let header = file.get(header_start..).filter(|h| h.starts_with(LOCAL))?;
        let lengths = usize::from(u16_at(header, 26)?) + usize::from(u16_at(header, 28)?);
        let start = header_start.checked_add(LOCAL_SIZE + lengths)?;
        let end = start.checked_add(usize::try_from(self.stored_size).ok()?)?;
        (end <= file.len()).then_some((start, end))
    }
}

/// The last end record whose comment fills the file exactly.
fn find_end(file: &[u8]) -> Option<usize> {
    let last = file.len().checked_sub(END_SIZE)?;
    let first = last.saturating_sub(usize::from(u16::MAX));
    (first..=last).rev().find(|&at| {
        let record = &file[at..];
        record.starts_with(END) && u16_at(record, 20).is_some_and(|comment| usize::from(comment) == last - at)
    })
}

/// An entry at the front, and its length.
fn entry(bytes: &[u8]) -> Option<(Entry<'_>, usize)> {
    if !bytes.starts_with(HEADER) {
        return None;
    }
    let (name_len, extra_len) = (usize::from(u16_at(bytes, 28)?), usize::from(u16_at(bytes, 30)?));
    let comment_len = usize::from(u16_at(bytes, 32)?);
    let end = HEADER_SIZE + name_len + extra_len + comment_len;
    let rest = bytes.get(HEADER_SIZE..end)?;
    let mut wide = WideFields(zip64_extra(&rest[name_len..name_len + extra_len]));
    // The order in the extra field is fixed: contents, stored, offset.
    let size = wide.or(u32_at(bytes, 24)?)?;
    let stored_size = wide.or(u32_at(bytes, 20)?)?;
    let header_offset = wide.or(u32_at(bytes, 42)?)?;
    let entry = Entry {
        name: &rest[..name_len],
        encrypted: u16_at(bytes, 8)? & 1 != 0,
        method: u16_at(bytes, 10)?,
        crc32: u32_at(bytes, 16)?,
        stored_size,
        size,
        header_offset,
    };
    Some((entry, end))
}

/// Contents of the extra field that holds 64-bit values.
fn zip64_extra(mut extra: &[u8]) -> &[u8] {
    while let (Some(id), Some(len)) = (u16_at(extra, 0), u16_at(extra, 2)) {
        let Some(contents) = extra[4..].get(..usize::from(len)) else { break };
        if id == 1 {
            return contents;
        }
        extra = &extra[4 + contents.len()..];
    }
    &[]
}

/// The 64-bit values not taken yet.
struct WideFields<'a>(&'a [u8]);

impl WideFields<'_> {
    /// A 32-bit field, or the next wide one when it is saturated.
    fn or(&mut self, narrow: u32) -> Option<u64> {
        if narrow != u32::MAX {
            return Some(u64::from(narrow));
        }
        let value = u64_at(self.0, 0)?;
        self.0 = &self.0[8..];
        Some(value)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
