//! How Python writes values.

use crate::schema::{Device, Layout, MemoryFormat, NameOr, ScalarType};
use std::fmt::Write;

pub(super) fn bool(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

/// `repr(float)`: the shortest digits that read back equal, with an exponent below 1e-4 and from 1e16 on.
pub(super) fn float(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let magnitude = value.abs();
    if magnitude == 0.0 || (1e-4..1e16).contains(&magnitude) {
        return format!("{value:?}");
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |e| ('-', e));
    format!("{digits}e{sign}{exponent:0>2}")
}

/// `repr(str)`: double quotes only around text that has single ones and no double ones.
pub(super) fn string(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => out.extend(['\\', c]),
            c if c.is_control() && u32::from(c) < 0x100 => drop(write!(out, "\\x{:02x}", u32::from(c))),
            c if c.is_control() => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

pub(super) fn list<T>(items: &[T], item: impl Fn(&T) -> String) -> String {
    format!("[{}]", items.iter().map(item).collect::<Vec<_>>().join(", "))
}

pub(super) fn name_or<T>(value: &NameOr<T>, plain: impl Fn(&T) -> String) -> String {
    match value {
        NameOr::Name(name) => name.clone(),
        NameOr::Value(value) => plain(value),
    }
}

pub(super) fn device(device: &Device) -> String {
    let index = device.index.map(|i| format!(", index={i}")).unwrap_or_default();
    format!("device(type='{}'{index})", device.kind)
}

pub(super) fn layout(layout: Layout) -> &'static str {
    match layout {
        Layout::Unknown => "torch.unknown_layout",
        Layout::SparseCoo => "torch.sparse_coo",
        Layout::SparseCsr => "torch.sparse_csr",
        Layout::SparseCsc => "torch.sparse_csc",
        Layout::SparseBsr => "torch.sparse_bsr",
        Layout::SparseBsc => "torch.sparse_bsc",
        Layout::Mkldnn => "torch._mkldnn",
        Layout::Strided => "torch.strided",
    }
}

pub(super) fn memory_format(format: MemoryFormat) -> &'static str {
    match format {
        MemoryFormat::Unknown => "torch.unknown_format",
        MemoryFormat::Contiguous => "torch.contiguous_format",
        MemoryFormat::ChannelsLast => "torch.channels_last",
        MemoryFormat::ChannelsLast3d => "torch.channels_last_3d",
        MemoryFormat::Preserve => "torch.preserve_format",
    }
}

/// The short names of annotations: `f32`, `b8`.
pub(super) fn short_dtype(dtype: ScalarType) -> String {
    let name = dtype.name();
    match dtype {
        ScalarType::Bool => "b8".to_owned(),
        ScalarType::BFloat16 => "bf16".to_owned(),
        _ => {
            let start = name.find(|c: char| c.is_ascii_digit()).unwrap_or(0);
            let letter = name.chars().next().unwrap_or('?');
            format!("{letter}{}", name[start..].replace('_', ""))
        }
    }
}

/// What stands between operands, for functions of Python's `operator` module.
pub(super) fn operator(name: &str) -> Option<&'static str> {
    Some(match name {
        "add" => "+",
        "sub" => "-",
        "mul" => "*",
        "floordiv" => "//",
        "truediv" => "/",
        "mod" => "%",
        "pow" => "**",
        "lshift" => "<<",
        "rshift" => ">>",
        "and_" => "&",
        "or_" => "|",
        "xor" => "^",
        "eq" => "==",
        "ne" => "!=",
        "lt" => "<",
        "gt" => ">",
        "le" => "<=",
        "ge" => ">=",
        _ => return None,
    })
}

/// The same before one operand.
pub(super) fn prefix(name: &str) -> Option<&'static str> {
    Some(match name {
        "neg" => "-",
        "pos" => "+",
        "invert" => "~",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_as_repr() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (1.25e-7, "1.25e-07"),
            (-3e-120, "-3e-120"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(float(value), text);
        }
    }

    #[test]
    fn texts_as_repr() {
        for (value, text) in [
            ("ij,jk->ik", "'ij,jk->ik'"),
            ("it's", "\"it's\""),
            ("\"it's\"", "'\"it\\'s\"'"),
            ("a\nb\\", "'a\\nb\\\\'"),
            ("\u{1}é", "'\\x01é'"),
        ] {
            assert_eq!(string(value), text);
        }
    }

    #[test]
    fn short_names_of_element_types() {
        use ScalarType::{BFloat16, Bool, Byte, ComplexFloat, Float, Float8E4M3Fn, Long, UInt16};
        let names = [Float, Long, Byte, UInt16, Bool, BFloat16, ComplexFloat, Float8E4M3Fn].map(short_dtype);
        assert_eq!(names, ["f32", "i64", "u8", "u16", "b8", "bf16", "c64", "f8e4m3fn"]);
    }
}
