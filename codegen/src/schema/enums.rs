//! Numbered enumerations of the format. The numbers are torch's serialization numbers, not those of c10.

use exported_runtime::DType;

/// Element type as the archive states it, also those that nothing here computes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum ScalarType {
    Unknown,
    Byte,
    Char,
    Short,
    Int,
    Long,
    Half,
    Float,
    Double,
    ComplexHalf,
    ComplexFloat,
    ComplexDouble,
    Bool,
    BFloat16,
    UInt16,
    Float8E4M3Fn,
    Float8E5M2,
    Float8E4M3FnUz,
    Float8E5M2FnUz,
    Float8E8M0Fnu,
    UInt32,
    UInt64,
}

/// One row per [`ScalarType`]: number in the archive, name in torch, bytes per element.
const SCALAR_TYPES: [(ScalarType, i64, &str, usize); 22] = [
    (ScalarType::Unknown, 0, "unknown", 0),
    (ScalarType::Byte, 1, "uint8", 1),
    (ScalarType::Char, 2, "int8", 1),
    (ScalarType::Short, 3, "int16", 2),
    (ScalarType::Int, 4, "int32", 4),
    (ScalarType::Long, 5, "int64", 8),
    (ScalarType::Half, 6, "float16", 2),
    (ScalarType::Float, 7, "float32", 4),
    (ScalarType::Double, 8, "float64", 8),
    (ScalarType::ComplexHalf, 9, "complex32", 4),
    (ScalarType::ComplexFloat, 10, "complex64", 8),
    (ScalarType::ComplexDouble, 11, "complex128", 16),
    (ScalarType::Bool, 12, "bool", 1),
    (ScalarType::BFloat16, 13, "bfloat16", 2),
    (ScalarType::UInt16, 28, "uint16", 2),
    (ScalarType::Float8E4M3Fn, 29, "float8_e4m3fn", 1),
    (ScalarType::Float8E5M2, 30, "float8_e5m2", 1),
    (ScalarType::Float8E4M3FnUz, 31, "float8_e4m3fnuz", 1),
    (ScalarType::Float8E5M2FnUz, 32, "float8_e5m2fnuz", 1),
    (ScalarType::Float8E8M0Fnu, 33, "float8_e8m0fnu", 1),
    (ScalarType::UInt32, 34, "uint32", 4),
    (ScalarType::UInt64, 35, "uint64", 8),
];

impl ScalarType {
    /// By number in the archive.
    pub fn from_code(code: i64) -> Option<Self> {
        SCALAR_TYPES.iter().find(|row| row.1 == code).map(|row| row.0)
    }

    /// By name in torch (`float32`).
    pub fn from_name(name: &str) -> Option<Self> {
        SCALAR_TYPES.iter().find(|row| row.2 == name).map(|row| row.0)
    }

    /// Name in torch (`float32`).
    pub fn name(self) -> &'static str {
        SCALAR_TYPES[self as usize].2
    }

    /// Bytes per element; 0 for [`ScalarType::Unknown`].
    pub fn size(self) -> usize {
        SCALAR_TYPES[self as usize].3
    }

    /// Whether an element is a pair of floats.
    pub fn is_complex(self) -> bool {
        matches!(self, ScalarType::ComplexHalf | ScalarType::ComplexFloat | ScalarType::ComplexDouble)
    }

    /// Our own type, for those that are supported.
    pub fn to_dtype(self) -> Option<DType> {
        Some(match self {
            ScalarType::Byte => DType::U8,
            ScalarType::Char => DType::I8,
            ScalarType::Short => DType::I16,
            ScalarType::Int => DType::I32,
            ScalarType::Long => DType::I64,
            ScalarType::Half => DType::F16,
            ScalarType::Float => DType::F32,
            ScalarType::Double => DType::F64,
            ScalarType::Bool => DType::Bool,
            ScalarType::BFloat16 => DType::Bf16,
            ScalarType::UInt16 => DType::U16,
            ScalarType::UInt32 => DType::U32,
            ScalarType::UInt64 => DType::U64,
            _ => return None,
        })
    }
}

/// Layout of a tensor; everything but `Strided` is refused by `import`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Layout {
    Unknown,
    SparseCoo,
    SparseCsr,
    SparseCsc,
    SparseBsr,
    SparseBsc,
    Mkldnn,
    Strided,
}

impl Layout {
    /// By number in the archive.
    pub fn from_code(code: i64) -> Option<Self> {
        use Layout::{Mkldnn, SparseBsc, SparseBsr, SparseCoo, SparseCsc, SparseCsr, Strided, Unknown};
        let all = [Unknown, SparseCoo, SparseCsr, SparseCsc, SparseBsr, SparseBsc, Mkldnn, Strided];
        all.get(usize::try_from(code).ok()?).copied()
    }
}

/// Memory format argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum MemoryFormat {
    Unknown,
    Contiguous,
    ChannelsLast,
    ChannelsLast3d,
    Preserve,
}

impl MemoryFormat {
    /// By number in the archive.
    pub fn from_code(code: i64) -> Option<Self> {
        use MemoryFormat::{ChannelsLast, ChannelsLast3d, Contiguous, Preserve, Unknown};
        let all = [Unknown, Contiguous, ChannelsLast, ChannelsLast3d, Preserve];
        all.get(usize::try_from(code).ok()?).copied()
    }
}

/// Device of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// `cpu`, `cuda`, `meta`, … (torch's `type`).
    pub kind: String,
    /// Which one.
    pub index: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_at_their_own_number() {
        for (i, (ty, code, name, size)) in SCALAR_TYPES.into_iter().enumerate() {
            assert_eq!(ty as usize, i);
            assert_eq!(ScalarType::from_code(code), Some(ty));
            assert_eq!(ScalarType::from_name(name), Some(ty));
            if let Some(dtype) = ty.to_dtype() {
                assert_eq!(dtype.size(), size);
            }
        }
        assert_eq!(ScalarType::from_code(14), None);
        assert_eq!(Layout::from_code(7), Some(Layout::Strided));
        assert_eq!(Layout::from_code(-1), None);
        assert_eq!(MemoryFormat::from_code(4), Some(MemoryFormat::Preserve));
    }
}
