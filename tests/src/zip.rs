//! Zip files taken apart and put together again, so that a mutation is one line.

/// Members in order.
#[derive(Clone, Debug)]
pub struct Zip(pub Vec<(String, Vec<u8>)>);

impl Zip {
    /// Takes apart a valid zip with stored members.
    ///
    /// # Panics
    /// When it is none.
    pub fn open(file: &[u8]) -> Self {
        Zip::parse(file).expect("a zip with stored members")
    }

    /// Takes apart a zip with stored members; `None` where that makes no sense.
    pub fn parse(file: &[u8]) -> Option<Self> {
        let end = file.windows(4).rposition(|w| w == b"PK\x05\x06")?;
        let (count, mut at) = (u16_at(file, end + 10)?, u32_at(file, end + 16)?);
        let mut members = Vec::new();
        for _ in 0..count {
            let (size, name_len, header) = (u32_at(file, at + 20)?, u16_at(file, at + 28)?, u32_at(file, at + 42)?);
            let start = header + 30 + u16_at(file, header + 26)? + u16_at(file, header + 28)?;
            let name = String::from_utf8(file.get(at + 46..at + 46 + name_len)?.to_vec()).ok()?;
            members.push((name, file.get(start..start + size)?.to_vec()));
            at += 46 + name_len + u16_at(file, at + 30)? + u16_at(file, at + 32)?;
        }
        Some(Zip(members))
    }

    /// The only member whose name ends so.
    ///
    /// # Panics
    /// When there is none, or several.
    pub fn member(&mut self, suffix: &str) -> &mut Vec<u8> {
        let mut found = self.0.iter_mut().filter(|(name, _)| name.ends_with(suffix));
        let (_, contents) = found.next().unwrap_or_else(|| panic!("no {suffix}"));
        assert!(found.next().is_none(), "several {suffix}");
        contents
    }

    /// Replaces the contents of a member.
    pub fn set(mut self, suffix: &str, contents: impl Into<Vec<u8>>) -> Self {
        *self.member(suffix) = contents.into();
        self
    }

    /// Replaces a text inside a member.
    ///
    /// # Panics
    /// When it does not occur.
    pub fn replace(mut self, suffix: &str, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Self {
        let (from, to) = (from.as_ref(), to.as_ref());
        let contents = self.member(suffix);
        let at = contents.windows(from.len()).position(|w| w == from);
        let at = at.unwrap_or_else(|| panic!("`{}` is not in {suffix}", from.escape_ascii()));
        contents.splice(at..at + from.len(), to.iter().copied());
        self
    }

    /// Takes a member out.
    pub fn without(mut self, suffix: &str) -> Self {
        self.member(suffix);
        self.0.retain(|(name, _)| !name.ends_with(suffix));
        self
    }

    /// Renames the members that contain a text.
    pub fn renamed(mut self, from: &str, to: &str) -> Self {
        self.0.iter_mut().for_each(|(name, _)| *name = name.replace(from, to));
        self
    }

    /// Adds a member.
    pub fn with(mut self, name: &str, contents: impl Into<Vec<u8>>) -> Self {
        self.0.push((name.to_owned(), contents.into()));
        self
    }

    /// Puts the zip together.
    pub fn bytes(&self) -> Vec<u8> {
        self.bytes_with(|_| {})
    }

    /// The same after `change` had its way with every row of the directory.
    pub fn bytes_with(&self, mut change: impl FnMut(&mut Row)) -> Vec<u8> {
        let (mut file, mut directory) = (Vec::new(), Vec::new());
        for (name, contents) in &self.0 {
            let mut row = Row {
                name: name.clone(),
                flags: 0,
                method: 0,
                crc32: crc32fast::hash(contents),
                stored_size: contents.len() as u32,
                size: contents.len() as u32,
                offset: file.len() as u32,
                wide: Vec::new(),
            };
            file.extend([b"PK\x03\x04", &[0; 10][..], &row.common(0), name.as_bytes(), contents].concat());
            change(&mut row);
            directory.extend(row.bytes());
        }
        let (start, size) = (file.len() as u32, directory.len() as u32);
        file.extend(directory);
        file.extend(end(self.0.len() as u16, size, start));
        file
    }
}

/// What the directory says about a member.
#[allow(missing_docs)]
pub struct Row {
    pub name: String,
    pub flags: u16,
    pub method: u16,
    pub crc32: u32,
    pub stored_size: u32,
    pub size: u32,
    pub offset: u32,
    /// 64-bit values of the zip64 field.
    pub wide: Vec<u64>,
}

impl Row {
    /// What local header and directory share.
    fn common(&self, extra_len: u16) -> Vec<u8> {
        let numbers = [self.crc32, self.stored_size, self.size].map(u32::to_le_bytes).concat();
        [numbers, [self.name.len() as u16, extra_len].map(u16::to_le_bytes).concat()].concat()
    }

    fn bytes(&self) -> Vec<u8> {
        let mut extra = Vec::new();
        if !self.wide.is_empty() {
            extra.extend([1u16, 8 * self.wide.len() as u16].map(u16::to_le_bytes).concat());
            self.wide.iter().for_each(|value| extra.extend(value.to_le_bytes()));
        }
        let start = [&b"PK\x01\x02\0\0\0\0"[..], &[self.flags, self.method].map(u16::to_le_bytes).concat(), &[0; 4]];
        let end = [&[0; 10][..], &self.offset.to_le_bytes(), self.name.as_bytes(), &extra].concat();
        [start.concat(), self.common(extra.len() as u16), end].concat()
    }
}

/// An end record.
pub fn end(count: u16, size: u32, start: u32) -> Vec<u8> {
    let counts = [count, count].map(u16::to_le_bytes).concat();
    [b"PK\x05\x06\0\0\0\0", &counts[..], &size.to_le_bytes(), &start.to_le_bytes(), &[0, 0]].concat()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    let pair = bytes.get(at..at.checked_add(2)?)?;
    Some(usize::from(u16::from_le_bytes([pair[0], pair[1]])))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u16_at(bytes, at)? | u16_at(bytes, at + 2)? << 16)
}
