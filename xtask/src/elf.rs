//! What an image consists of: sizes of its sections, names of its functions. 32-bit little-endian ELF only.

/// A parsed image.
pub struct Elf<'a> {
    bytes: &'a [u8],
    sections: Vec<Section>,
}

struct Section {
    kind: u32,
    flags: u32,
    offset: usize,
    size: usize,
    link: usize,
}

const WRITABLE: u32 = 1;
const ALLOCATED: u32 = 2;
const SYMBOL_TABLE: u32 = 2;
const NO_BITS: u32 = 8;

impl<'a> Elf<'a> {
    /// Reads the section table.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        if bytes.get(..6)? != [0x7F, b'E', b'L', b'F', 1, 1] {
            return None;
        }
        let (table, entry, count) = (word(bytes, 32)? as usize, half(bytes, 46)?, half(bytes, 48)?);
        let section = |i| {
            let field = |n: usize| word(bytes, table + i * entry + 4 * n);
            Some(Section {
                kind: field(1)?,
                flags: field(2)?,
                offset: field(4)? as usize,
                size: field(5)? as usize,
                link: field(6)? as usize,
            })
        };
        Some(Self { bytes, sections: (0..count).map(section).collect::<Option<_>>()? })
    }

    /// Bytes that are stored in flash.
    pub fn flash(&self) -> usize {
        self.loaded().filter(|section| section.kind != NO_BITS).map(|section| section.size).sum()
    }

    /// Bytes of RAM that the image reserves, without the stack.
    pub fn ram(&self) -> usize {
        self.loaded().filter(|section| section.flags & WRITABLE != 0).map(|section| section.size).sum()
    }

    fn loaded(&self) -> impl Iterator<Item = &Section> {
        self.sections.iter().filter(|section| section.flags & ALLOCATED != 0)
    }

    /// The names of all symbols.
    pub fn symbols(&self) -> Vec<&'a str> {
        let tables = self.sections.iter().filter(|section| section.kind == SYMBOL_TABLE);
        tables.flat_map(|table| (0..table.size / 16).filter_map(|i| self.name(table, i))).collect()
    }

    /// The address of a symbol.
    pub fn address(&self, name: &str) -> Option<u32> {
        let tables = self.sections.iter().filter(|section| section.kind == SYMBOL_TABLE);
        let mut symbols = tables.flat_map(|table| (0..table.size / 16).map(move |i| (table, i)));
        let (table, index) = symbols.find(|(table, i)| self.name(table, *i) == Some(name))?;
        word(self.bytes, table.offset + 16 * index + 4)
    }

    fn name(&self, table: &Section, index: usize) -> Option<&'a str> {
        let names = self.sections.get(table.link)?;
        let text = self.bytes.get(names.offset..names.offset + names.size)?;
        let text = text.get(word(self.bytes, table.offset + 16 * index)? as usize..)?;
        str::from_utf8(text.split(|&byte| byte == 0).next()?).ok().filter(|name| !name.is_empty())
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?)))
}
