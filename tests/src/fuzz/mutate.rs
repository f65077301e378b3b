//! Changes to archives that get past checksums and syntax: members are taken apart, changed by what they are, and packed
//! again.

use crate::zip::Zip;
use exported_codegen::ops;
use std::ops::Range;

/// Changes bytes somehow; libFuzzer's own mutation.
pub type Bytewise<'a> = &'a mut dyn FnMut(&mut Vec<u8>);

/// A small generator of numbers, so that a seed gives the same change again.
pub struct Random(pub u64);

impl Random {
    /// The next number below `n`; 0 for 0.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len()))
    }
}

/// One to three changes to an archive, mostly inside its members.
pub fn archive(file: &[u8], seed: u32, bytewise: Bytewise<'_>) -> Vec<u8> {
    let mut random = Random(u64::from(seed));
    let Some(mut zip) = Zip::parse(file).filter(|zip| !zip.0.is_empty() && random.below(50) > 0) else {
        let mut file = file.to_vec();
        bytewise(&mut file);
        return file;
    };
    for _ in 0..=random.below(3) {
        if !zip.0.is_empty() {
            change_member(&mut zip, &mut random, bytewise);
        }
    }
    zip.bytes()
}

fn change_member(zip: &mut Zip, random: &mut Random, bytewise: Bytewise<'_>) {
    let program = |name: &str| name.contains("/models/") || name.starts_with("serialized_exported_program");
    let count = zip.0.len();
    let chosen = match zip.0.iter().position(|(name, _)| program(name)) {
        // What the program says is what most of the compiler reads.
        Some(program) if random.below(4) > 0 => program,
        _ => random.below(count),
    };
    match random.below(60) {
        0 => drop(zip.0.remove(chosen)),
        1 => zip.0[chosen].0 = zip.0[random.below(count)].0.clone(),
        2 => bytewise(&mut zip.0[chosen].1),
        _ => {
            let contents = &mut zip.0[chosen].1;
            *contents = match contents.first() {
                Some(b'{') => json(contents, random, bytewise),
                Some(b'P') => archive(contents, random.below(1 << 32) as u32, bytewise),
                _ => {
                    bytewise(contents);
                    return;
                }
            };
        }
    }
}

/// One change to a JSON text that leaves it JSON, mostly.
fn json(text: &[u8], random: &mut Random, bytewise: Bytewise<'_>) -> Vec<u8> {
    let values = values(text);
    let Some(value) = (0..20).find_map(|_| random.pick(&values).filter(|v| interesting(text, v)).cloned()) else {
        return text.to_vec();
    };
    let old = &text[value.clone()];
    let same_kind = |v: &&Range<usize>| text[v.start] == old[0] && **v != value;
    let new = match random.below(8) {
        // Another value of the document, of the same kind or of any.
        0..3 => {
            let others: Vec<_> = values.iter().filter(same_kind).collect();
            random.pick(&others).map_or_else(|| b"null".to_vec(), |v| text[(*v).clone()].to_vec())
        }
        3 => random.pick(&values).map(|v| text[v.clone()].to_vec()).unwrap_or_default(),
        4 => return without(text, value),
        5 => [old, b", ", old].concat(),
        _ => changed(old, random, bytewise),
    };
    splice(text, value, &new)
}

/// Long texts (stack traces, schemas) are hardly read; they would take most of the changes.
fn interesting(text: &[u8], value: &Range<usize>) -> bool {
    text[value.start] != b'"' || value.len() < 60
}

/// A scalar of the same kind; lists and objects as they are.
fn changed(old: &[u8], random: &mut Random, bytewise: Bytewise<'_>) -> Vec<u8> {
    const NUMBERS: &[&str] = &[
        "0",
        "1",
        "-1",
        "2",
        "3",
        "5",
        "7",
        "8",
        "64",
        "255",
        "65536",
        "2147483648",
        "4294967296",
        "1099511627776",
        "9223372036854775807",
        "-9223372036854775808",
        "1e308",
        "0.5",
        "-0.0",
        "NaN",
        "Infinity",
    ];
    match old[0] {
        b'"' if old.starts_with(b"\"torch.ops.") => {
            let row = random.pick(ops::TABLES).and_then(|table| random.pick(table));
            format!("\"torch.ops.{}\"", row.map_or("aten.add.Tensor", |row| row.target)).into_bytes()
        }
        b'"' => {
            let mut inner = old[1..old.len() - 1].to_vec();
            bytewise(&mut inner);
            inner.retain(|c| !matches!(c, b'"' | b'\\' | 0..32 | 127..));
            [b"\"", &inner[..], b"\""].concat()
        }
        b't' => b"false".to_vec(),
        b'f' => b"true".to_vec(),
        b'n' => b"{}".to_vec(),
        b'-' | b'0'..=b'9' => {
            let near = std::str::from_utf8(old).ok().and_then(|text| text.parse::<i64>().ok());
            match near.filter(|_| random.below(2) == 0) {
                Some(n) => n.wrapping_add(random.below(5) as i64 - 2).to_string().into_bytes(),
                None => random.pick(NUMBERS).copied().unwrap_or("0").as_bytes().to_vec(),
            }
        }
        _ => old.to_vec(),
    }
}

fn splice(text: &[u8], at: Range<usize>, new: &[u8]) -> Vec<u8> {
    [&text[..at.start], new, &text[at.end..]].concat()
}

/// The text without a value, its key, and the comma behind it or before it.
fn without(text: &[u8], value: Range<usize>) -> Vec<u8> {
    let Range { mut start, mut end } = value;
    let space = |c: &u8| c.is_ascii_whitespace();
    let behind = end + text[end..].iter().take_while(|c| space(c)).count();
    let before = |at: usize| at - text[..at].iter().rev().take_while(|c| space(c)).count();
    if text[..before(start)].ends_with(b":") {
        let key = before(before(start) - 1);
        start = text[..key.saturating_sub(1)].iter().rposition(|c| *c == b'"').unwrap_or(start);
    }
    if text.get(behind) == Some(&b',') {
        end = behind + 1;
    } else if text[..before(start)].ends_with(b",") {
        start = before(start) - 1;
    }
    splice(text, start..end, b"")
}

/// Where the values of a JSON text stand, keys excluded; as far as it is JSON.
fn values(text: &[u8]) -> Vec<Range<usize>> {
    let (mut found, mut open, mut at) = (Vec::new(), Vec::new(), 0);
    while let Some(c) = text.get(at) {
        let end = match c {
            b'{' | b'[' => {
                open.push(at);
                at + 1
            }
            b'}' | b']' => {
                found.extend(open.pop().map(|start| start..at + 1));
                at + 1
            }
            b'"' => {
                let end = end_of_string(text, at);
                if end == text.len() {
                    // Nothing closes it.
                    break;
                }
                let is_key = text[end..].iter().find(|c| !c.is_ascii_whitespace()) == Some(&b':');
                found.extend((!is_key).then_some(at..end));
                end
            }
            b'-' | b'+' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                let word = |c: &&u8| c.is_ascii_alphanumeric() || b"+-.".contains(c);
                let end = at + text[at..].iter().take_while(word).count();
                found.push(at..end);
                end
            }
            _ => at + 1,
        };
        at = end;
    }
    found
}

fn end_of_string(text: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < text.len() && text[at] != b'"' {
        at += if text[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_and_taken_out() {
        let text = br#"{"a": [1, -2.5e3, "x\"y"], "b": {"c": true}, "d": null}"#;
        let all: Vec<&[u8]> = values(text).into_iter().map(|v| &text[v]).collect();
        let expected: [&[u8]; 8] =
            [b"1", b"-2.5e3", br#""x\"y""#, br#"[1, -2.5e3, "x\"y"]"#, b"true", br#"{"c": true}"#, b"null", text];
        assert_eq!(all, expected);
        let without = |value: &[u8]| {
            let at = text.windows(value.len()).position(|w| w == value).expect("a value");
            String::from_utf8(super::without(text, at..at + value.len())).expect("UTF-8")
        };
        assert_eq!(without(b"1"), r#"{"a": [ -2.5e3, "x\"y"], "b": {"c": true}, "d": null}"#);
        assert_eq!(without(b"null"), r#"{"a": [1, -2.5e3, "x\"y"], "b": {"c": true}}"#);
        assert_eq!(without(b"true"), r#"{"a": [1, -2.5e3, "x\"y"], "b": {}, "d": null}"#);
        for broken in [&b"{1, \""[..], b"{\"a", b"[\"\\"] {
            assert!(values(broken).iter().all(|v| broken[v.start] != b'"'), "a string without an end");
        }
    }
}
