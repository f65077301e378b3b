//! PyTorch's type promotion.
//!
//! Operands fall into three classes: tensors with dims, 0-d tensors, Python numbers. A lower class changes the dtype
//! only when its category (bool < integer < float) is higher, as in `c10::promoteTypes` and `at::result_type`.

use crate::diag::Diagnostic;
use crate::import::{Call, Number, Operand};
use crate::ir::ValueId;
use exported_runtime::DType;

/// The dtype both convert to.
///
/// # Errors
/// A message for the unsigned types PyTorch itself refuses to mix.
pub fn promote(a: DType, b: DType) -> Result<DType, String> {
    use DType::*;
    let barebones = |d: DType| matches!(d, U16 | U32 | U64);
    Ok(match (a, b) {
        _ if a == b => a,
        (Bool, x) | (x, Bool) => x,
        _ if a.is_float() && b.is_float() => match (a, b) {
            (F64, _) | (_, F64) => F64,
            _ => F32,
        },
        _ if a.is_float() => a,
        _ if b.is_float() => b,
        _ if barebones(a) || barebones(b) => {
            return Err(format!("PyTorch does not promote `{}` with `{}`", a.name(), b.name()));
        }
        (U8, I8) | (I8, U8) => I16,
        (U8, x) | (x, U8) => x,
        _ if a.size() >= b.size() => a,
        _ => b,
    })
}

/// The dtype all of these tensors are brought to, whatever their ranks: that of a concatenation of them.
///
/// # Errors
/// As [`promote`].
pub fn common_dtype(call: &Call<'_>, tensors: &[ValueId]) -> Result<DType, Diagnostic> {
    let mut dtypes = tensors.iter().map(|&t| call.dtype_of(t));
    let first = dtypes.next().unwrap_or(DType::F32);
    dtypes.try_fold(first, promote).map_err(|m| call.unsupported(m))
}

/// Integers and bool compute as f32 where a function needs floats.
pub fn to_float(dtype: DType) -> DType {
    if dtype.is_float() { dtype } else { DType::F32 }
}

/// Truth values count as i64 in arithmetic with Python's integers.
pub fn without_bool(dtype: DType) -> DType {
    if dtype == DType::Bool { DType::I64 } else { dtype }
}

/// `at::result_type` of the operands.
///
/// # Errors
/// As [`promote`].
pub fn result_type(call: &Call<'_>, operands: &[&Operand]) -> Result<DType, Diagnostic> {
    let mut classes: [Option<DType>; 3] = [None; 3];
    for operand in operands {
        let (class, dtype) = match operand {
            Operand::Tensor(v) => (usize::from(call.rank(*v) == 0), call.dtype_of(*v)),
            Operand::Number(n) => (2, number_dtype(n)),
        };
        let merged = match classes[class] {
            None => dtype,
            Some(known) => promote(known, dtype).map_err(|m| call.unsupported(m))?,
        };
        classes[class] = Some(merged);
    }
    let combined = combine(classes[1], classes[2]).and_then(|low| combine(classes[0], low));
    combined.map_err(|m| call.unsupported(m)).map(|d| d.unwrap_or(DType::F32))
}

/// The dtype of a Python number among tensors.
pub fn number_dtype(number: &Number) -> DType {
    match number {
        Number::Int(_) => DType::I64,
        Number::Float(_) | Number::SymFloat(_) => DType::F32,
        Number::Bool(_) => DType::Bool,
    }
}

/// `combine_categories` of PyTorch.
fn combine(higher: Option<DType>, lower: Option<DType>) -> Result<Option<DType>, String> {
    Ok(match (higher, lower) {
        (Some(h), Some(l)) if !h.is_float() && (h == DType::Bool || l.is_float()) => Some(promote(h, l)?),
        (Some(h), _) => Some(h),
        (None, l) => l,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use DType::*;

    #[test]
    fn promotion_table() {
        for (a, b, both) in [
            (U8, I8, I16),
            (U8, I32, I32),
            (I16, I64, I64),
            (F16, Bf16, F32),
            (F16, F32, F32),
            (I64, F16, F16),
            (Bool, U8, U8),
            (F32, F64, F64),
            (U16, F32, F32),
            (U32, U32, U32),
        ] {
            assert_eq!((promote(a, b), promote(b, a)), (Ok(both), Ok(both)), "{a:?} {b:?}");
        }
        assert!(promote(U16, I32).is_err());
    }

    #[test]
    fn lower_classes_raise_the_category_only() {
        assert_eq!(combine(Some(F16), Some(F64)), Ok(Some(F16)));
        assert_eq!(combine(Some(I8), Some(I64)), Ok(Some(I8)));
        assert_eq!(combine(Some(I8), Some(F64)), Ok(Some(F64)));
        assert_eq!(combine(Some(Bool), Some(I64)), Ok(Some(I64)));
        assert_eq!(combine(None, Some(Bool)), Ok(Some(Bool)));
    }
}
