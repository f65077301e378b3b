//! The rule of `torch.testing.assert_close`, and how far apart two values are.
//!
//! Floats are close when `|actual - expected| <= atol + rtol * |expected|`; NaN meets NaN, an infinity its equal.
//! Integers and booleans must be equal; shape and dtype must agree. Differences are computed in f64, where every element
//! type but 64-bit integers is exact; those are compared as integers.

use super::{Tensor, Value};
use exported_runtime::{Bf16, DType, F16};
use std::fmt::Write;

/// How far a floating-point value may be from the expected one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Relative to the expected value.
    pub rtol: f64,
    /// Absolute.
    pub atol: f64,
    /// Of integers, absolute.
    pub quanta: f64,
}

/// What came of comparing one output.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Greatest absolute difference; infinite where a NaN or an infinity met something else.
    pub abs: f64,
    /// Greatest difference relative to the expected value.
    pub rel: f64,
    /// Greatest distance in units in the last place; 0 for types that are not floating-point.
    pub ulp: u64,
    /// Greatest ratio of a difference to what was allowed; above 1 where the output is wrong.
    pub ratio: f64,
    /// Why the values are not close, in torch's words; `None` when they are.
    pub fault: Option<String>,
}

impl Comparison {
    const EQUAL: Comparison = Comparison { abs: 0.0, rel: 0.0, ulp: 0, ratio: 0.0, fault: None };

    fn different(fault: String) -> Comparison {
        Comparison { abs: f64::INFINITY, rel: f64::INFINITY, ulp: u64::MAX, ratio: f64::INFINITY, fault: Some(fault) }
    }
}

/// Compares what a program gave with what torch gave.
pub fn compare(actual: &Value, expected: &Value, tolerance: Tolerance) -> Comparison {
    match (actual, expected) {
        (Value::Tensor(a), Value::Tensor(e)) => tensors(a, e, tolerance),
        (Value::Float(a), Value::Float(e)) => {
            let scalar = |x: f64| Tensor { dtype: DType::F64, shape: vec![], data: x.to_le_bytes().to_vec() };
            tensors(&scalar(*a), &scalar(*e), tolerance)
        }
        (a, e) if a == e => Comparison::EQUAL,
        (a, e) => Comparison::different(format!("Expected {} but got {}.", describe(e), describe(a))),
    }
}

/// A value in a few words: `f32[2, 3]`, `int 7`.
pub fn describe(value: &Value) -> String {
    match value {
        Value::Tensor(t) => format!("{}{:?}", t.dtype.name(), t.shape),
        Value::Int(n) => format!("int {n}"),
        Value::Float(x) => format!("float {x}"),
        Value::Bool(b) => format!("bool {b}"),
        Value::Str(s) => format!("str {s:?}"),
        Value::None => "None".into(),
    }
}

fn tensors(actual: &Tensor, expected: &Tensor, tolerance: Tolerance) -> Comparison {
    if actual.shape != expected.shape {
        return Comparison::different(format!(
            "The values for attribute 'shape' do not match: {:?} != {:?}.",
            actual.shape, expected.shape
        ));
    }
    if actual.dtype != expected.dtype {
        return Comparison::different(format!(
            "The values for attribute 'dtype' do not match: {} != {}.",
            actual.dtype.name(),
            expected.dtype.name()
        ));
    }
    let tolerance = if expected.dtype.is_float() {
        tolerance
    } else {
        Tolerance { rtol: 0.0, atol: tolerance.quanta, ..tolerance }
    };
    let size = expected.dtype.size();
    let mut tally = Tally::default();
    for (i, (a, e)) in actual.data.chunks_exact(size).zip(expected.data.chunks_exact(size)).enumerate() {
        if a != e {
            tally.add(i, &Pair::of(expected.dtype, a, e), tolerance);
        }
    }
    tally.finish(expected, tolerance)
}

/// Two elements of different bits.
struct Pair {
    abs: f64,
    expected: f64,
    ulp: u64,
}

impl Pair {
    fn of(dtype: DType, actual: &[u8], expected: &[u8]) -> Pair {
        if dtype.is_float() {
            return Self::of_floats(dtype, actual, expected);
        }
        let (a, e) = (integer(dtype, actual), integer(dtype, expected));
        Pair { abs: a.abs_diff(e) as f64, expected: e as f64, ulp: 0 }
    }

    fn of_floats(dtype: DType, actual: &[u8], expected: &[u8]) -> Pair {
        let (a, e) = (float(dtype, actual), float(dtype, expected));
        if a == e || (a.is_nan() && e.is_nan()) {
            return Pair { abs: 0.0, expected: e, ulp: 0 };
        }
        if !a.is_finite() || !e.is_finite() {
            return Pair { abs: f64::INFINITY, expected: e, ulp: u64::MAX };
        }
        let ulp = ordered(actual).abs_diff(ordered(expected));
        Pair { abs: (a - e).abs(), expected: e, ulp: u64::try_from(ulp).unwrap_or(u64::MAX) }
    }

    /// The difference over what is allowed. A part of it that lies at NaN or infinity is out of all proportion.
    fn ratio(&self, tolerance: Tolerance) -> f64 {
        let allowed = tolerance.atol + tolerance.rtol * self.expected.abs();
        if self.abs == 0.0 {
            0.0
        } else if !self.abs.is_finite() || allowed == 0.0 {
            f64::INFINITY
        } else {
            self.abs / allowed
        }
    }
}

/// The number that an element holds.
pub(crate) fn float(dtype: DType, bytes: &[u8]) -> f64 {
    match (dtype, bytes) {
        (DType::F16, &[a, b]) => f64::from(F16(u16::from_le_bytes([a, b])).to_f32()),
        (DType::Bf16, &[a, b]) => f64::from(Bf16(u16::from_le_bytes([a, b])).to_f32()),
        (DType::F32, &[a, b, c, d]) => f64::from(f32::from_le_bytes([a, b, c, d])),
        (_, bytes) => f64::from_le_bytes(bytes.try_into().unwrap_or([0xff; 8])),
    }
}

fn integer(dtype: DType, bytes: &[u8]) -> i128 {
    let signed = matches!(dtype, DType::I8 | DType::I16 | DType::I32 | DType::I64);
    let negative = signed && bytes.last().is_some_and(|&b| b >= 0x80);
    let mut all = if negative { [0xff; 16] } else { [0; 16] };
    all[..bytes.len()].copy_from_slice(bytes);
    i128::from_le_bytes(all)
}

/// The bits of a little-endian float as an integer that grows with its value; neighbours differ by one.
fn ordered(bytes: &[u8]) -> i128 {
    let mut all = [0; 16];
    all[..bytes.len()].copy_from_slice(bytes);
    let sign = 1i128 << (8 * bytes.len() - 1);
    let magnitude = i128::from_le_bytes(all) & (sign - 1);
    if i128::from_le_bytes(all) & sign == 0 { magnitude } else { -magnitude }
}

/// The greatest of something, and where.
#[derive(Clone, Copy, Default)]
struct Greatest {
    value: f64,
    index: usize,
}

impl Greatest {
    fn add(&mut self, value: f64, index: usize) {
        if value > self.value {
            *self = Greatest { value, index };
        }
    }
}

#[derive(Default)]
struct Tally {
    mismatched: usize,
    abs: Greatest,
    rel: Greatest,
    ulp: u64,
    ratio: f64,
}

impl Tally {
    fn add(&mut self, index: usize, pair: &Pair, tolerance: Tolerance) {
        let ratio = pair.ratio(tolerance);
        self.mismatched += usize::from(ratio > 1.0);
        self.abs.add(pair.abs, index);
        // As in torch, a difference from zero is infinite relative to it.
        let relative = if pair.abs == 0.0 { 0.0 } else { pair.abs / pair.expected.abs() };
        self.rel.add(if relative.is_nan() { f64::INFINITY } else { relative }, index);
        self.ulp = self.ulp.max(pair.ulp);
        self.ratio = self.ratio.max(ratio);
    }

    fn finish(self, expected: &Tensor, tolerance: Tolerance) -> Comparison {
        let fault = (self.mismatched > 0).then(|| self.message(expected, tolerance));
        Comparison { abs: self.abs.value, rel: self.rel.value, ulp: self.ulp, ratio: self.ratio, fault }
    }

    fn message(&self, expected: &Tensor, tolerance: Tolerance) -> String {
        let total: usize = expected.shape.iter().product();
        let percent = 100.0 * self.mismatched as f64 / total as f64;
        let mut text = format!("Mismatched elements: {} / {total} ({percent:.1}%)", self.mismatched);
        let mut greatest = |kind: &str, of: Greatest, allowed: f64| {
            let place = index(of.index, &expected.shape);
            let _ = write!(text, "\nGreatest {kind} difference: {} at index {place}", of.value);
            if expected.dtype.is_float() {
                let _ = write!(text, " (up to {allowed} allowed)");
            }
        };
        greatest("absolute", self.abs, tolerance.atol);
        greatest("relative", self.rel, tolerance.rtol);
        text
    }
}

/// A flat index as torch prints it: `(1, 0, 2)`.
fn index(mut flat: usize, shape: &[usize]) -> String {
    let mut places: Vec<String> = Vec::with_capacity(shape.len());
    for &size in shape.iter().rev() {
        places.push((flat % size).to_string());
        flat /= size;
    }
    places.reverse();
    format!("({}{})", places.join(", "), if places.len() == 1 { "," } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIGHT: Tolerance = Tolerance { rtol: 1e-5, atol: 1e-6, quanta: 0.0 };

    fn f32s(shape: &[usize], values: &[f32]) -> Value {
        let data = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        Value::Tensor(Tensor { dtype: DType::F32, shape: shape.to_vec(), data })
    }

    fn i64s(values: &[i64]) -> Value {
        let data = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        Value::Tensor(Tensor { dtype: DType::I64, shape: vec![values.len()], data })
    }

    #[test]
    fn the_rule_of_assert_close() {
        let expected = f32s(&[2, 2], &[1.0, -2.0, 0.0, 100.0]);
        let with = |values: [f32; 4]| compare(&f32s(&[2, 2], &values), &expected, TIGHT);
        assert_eq!(with([1.0, -2.0, -0.0, 100.0]), Comparison::EQUAL);
        assert_eq!(with([1.0, -2.0, 9e-7, 100.0009]).fault, None);
        let wrong = with([1.0, -2.5, 2e-6, 100.0]);
        assert_eq!(
            wrong.fault.as_deref(),
            Some(
                "Mismatched elements: 2 / 4 (50.0%)\n\
                 Greatest absolute difference: 0.5 at index (0, 1) (up to 0.000001 allowed)\n\
                 Greatest relative difference: inf at index (1, 0) (up to 0.00001 allowed)"
            )
        );
        assert!(wrong.ratio > 1e4 && wrong.ulp > 1_000_000 && wrong.abs == 0.5);
    }

    #[test]
    fn just_inside_and_just_outside() {
        for (value, close) in [(1.000_010_9_f32, true), (1.000_011_3, false), (0.999_989_1, true), (0.999_988_7, false)]
        {
            let result = compare(&f32s(&[1], &[value]), &f32s(&[1], &[1.0]), TIGHT);
            assert_eq!(result.fault.is_none(), close, "{value}: {result:?}");
            assert_eq!(result.ratio <= 1.0, close);
        }
    }

    #[test]
    fn nan_meets_nan_and_infinity_its_equal() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        let close = |a: f32, e: f32| compare(&f32s(&[], &[a]), &f32s(&[], &[e]), TIGHT).fault.is_none();
        assert!(close(nan, -nan) && close(inf, inf) && close(-inf, -inf));
        assert!(!close(inf, -inf) && !close(nan, 1.0) && !close(1.0, nan) && !close(inf, f32::MAX) && !close(1.0, inf));
    }

    #[test]
    fn integers_are_exact_and_kinds_must_agree() {
        assert_eq!(compare(&i64s(&[i64::MAX, 3]), &i64s(&[i64::MAX, 3]), TIGHT), Comparison::EQUAL);
        let wrong = compare(
            &i64s(&[i64::MAX, -3]),
            &i64s(&[i64::MAX - 1, -3]),
            Tolerance { rtol: 1.0, atol: 9.0, quanta: 0.0 },
        );
        assert_eq!((wrong.abs, wrong.ratio), (1.0, f64::INFINITY));
        assert!(wrong.fault.expect("off by one").starts_with("Mismatched elements: 1 / 2 (50.0%)\nGreatest absolute"));
        let fault = |a: &Value, e: &Value| compare(a, e, TIGHT).fault.expect("different");
        assert!(
            fault(&f32s(&[2], &[1.0, 2.0]), &f32s(&[1, 2], &[1.0, 2.0]))
                .contains("'shape' do not match: [2] != [1, 2]")
        );
        assert!(fault(&i64s(&[0]), &f32s(&[1], &[0.0])).contains("'dtype' do not match: i64 != f32"));
        assert_eq!(fault(&Value::Int(2), &Value::Float(2.0)), "Expected float 2 but got int 2.");
        assert_eq!(fault(&Value::None, &i64s(&[])), "Expected i64[0] but got None.");
        assert_eq!(compare(&Value::Float(2.0), &Value::Float(2.0 + 1e-9), TIGHT).fault, None);
        assert!(compare(&Value::Float(2.0), &Value::Float(2.1), TIGHT).fault.is_some());
    }

    #[test]
    fn units_in_the_last_place() {
        let ulp = |a: f32, e: f32| compare(&f32s(&[1], &[a]), &f32s(&[1], &[e]), TIGHT).ulp;
        assert_eq!(ulp(1.0, f32::from_bits(1.0f32.to_bits() + 3)), 3);
        assert_eq!(ulp(f32::from_bits(2), -f32::from_bits(1)), 3);
        assert_eq!(ulp(0.0, -0.0), 0);
        let half =
            |bits: u16| Value::Tensor(Tensor { dtype: DType::Bf16, shape: vec![1], data: bits.to_le_bytes().to_vec() });
        let result = compare(&half(0x3f81), &half(0x3f80), Tolerance { rtol: 1.6e-2, atol: 1e-5, quanta: 0.0 });
        assert_eq!((result.ulp, result.abs, result.fault), (1, 0.007_812_5, None));
    }
}
