//! The safetensors container: a JSON header (`name → dtype, shape, data_offsets`, and `__metadata__`), then raw bytes.
//!
//! Read by hand: a hundred lines that check every number beat a dependency here.

use super::Tensor;
use exported_runtime::DType;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Container {
    /// Tensors by name, row-major and little-endian.
    pub tensors: BTreeMap<String, Tensor>,
    /// The texts under `__metadata__`.
    pub metadata: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Tensor { dtype: String, shape: Vec<usize>, data_offsets: [usize; 2] },
    Metadata(BTreeMap<String, String>),
}

/// Reads a whole file.
///
/// # Errors
/// What is wrong with it, in words: too short, no valid header, an unknown dtype, offsets that do not fit.
pub fn read(bytes: &[u8]) -> Result<Container, String> {
    let (length, rest) = bytes.split_first_chunk::<8>().ok_or("shorter than its eight-byte length field")?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok().filter(|&n| n <= rest.len());
    let (header, data) = rest.split_at(length.ok_or("the header is longer than the file")?);
    let header: BTreeMap<String, Entry> =
        serde_json::from_slice(header).map_err(|e| format!("the header is not a safetensors header: {e}"))?;
    let mut container = Container::default();
    for (name, entry) in header {
        match entry {
            Entry::Metadata(texts) if name == "__metadata__" => container.metadata = texts,
            Entry::Metadata(_) => return Err(format!("`{name}` has no dtype, shape and data_offsets")),
            Entry::Tensor { dtype, shape, data_offsets } => {
                let tensor = tensor(&dtype, shape, data_offsets, data).map_err(|e| format!("tensor `{name}`: {e}"))?;
                container.tensors.insert(name, tensor);
            }
        }
    }
    Ok(container)
}

fn tensor(dtype: &str, shape: Vec<usize>, [start, end]: [usize; 2], data: &[u8]) -> Result<Tensor, String> {
    let dtype = dtype_of(dtype).ok_or_else(|| format!("dtype `{dtype}` is not supported"))?;
    let bytes = data.get(start..end).ok_or_else(|| format!("offsets {start}..{end} lie outside the file"))?;
    let expected = shape.iter().try_fold(dtype.size(), |n, &size| n.checked_mul(size));
    if expected != Some(bytes.len()) {
        return Err(format!("shape {shape:?} of {} does not need {} bytes", dtype.name(), bytes.len()));
    }
    Ok(Tensor { dtype, shape, data: bytes.to_vec() })
}

/// The dtype that a name of the format stands for.
fn dtype_of(name: &str) -> Option<DType> {
    Some(match name {
        "BOOL" => DType::Bool,
        "U8" => DType::U8,
        "I8" => DType::I8,
        "I16" => DType::I16,
        "U16" => DType::U16,
        "I32" => DType::I32,
        "U32" => DType::U32,
        "I64" => DType::I64,
        "U64" => DType::U64,
        "F16" => DType::F16,
        "BF16" => DType::Bf16,
        "F32" => DType::F32,
        "F64" => DType::F64,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(data);
        bytes
    }

    #[test]
    fn tensors_and_texts_are_read() {
        let header = r#"{"__metadata__":{"manifest":"{}"},
            "b":{"dtype":"I16","shape":[2],"data_offsets":[4,8]},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}"#;
        let container = read(&file(header, &[0, 0, 128, 63, 1, 0, 255, 255])).expect("well formed");
        assert_eq!(container.metadata["manifest"], "{}");
        let a = Tensor { dtype: DType::F32, shape: vec![], data: vec![0, 0, 128, 63] };
        let b = Tensor { dtype: DType::I16, shape: vec![2], data: vec![1, 0, 255, 255] };
        assert_eq!((&container.tensors["a"], &container.tensors["b"]), (&a, &b));
    }

    #[test]
    fn damage_is_named() {
        let one = |entry: &str| read(&file(&format!(r#"{{"x":{entry}}}"#), &[0; 8])).expect_err("damaged");
        assert!(read(&[1, 2, 3]).expect_err("short").contains("eight-byte"));
        assert!(read(&u64::MAX.to_le_bytes()).expect_err("length").contains("longer than the file"));
        assert!(one(r#"{"dtype":"F32","shape":[2],"data_offsets":[4,12]}"#).contains("outside the file"));
        assert!(one(r#"{"dtype":"F32","shape":[2],"data_offsets":[8,0]}"#).contains("outside the file"));
        assert!(one(r#"{"dtype":"F32","shape":[3],"data_offsets":[0,8]}"#).contains("does not need 8 bytes"));
        assert!(one(r#"{"dtype":"F8","shape":[8],"data_offsets":[0,8]}"#).contains("`F8` is not supported"));
        assert!(one(r#"{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}"#).contains("does not"));
        assert!(one(r#"{"dtype":"F32"}"#).contains("no dtype, shape and data_offsets"));
        assert!(one("3").contains("not a safetensors header"));
    }
}
