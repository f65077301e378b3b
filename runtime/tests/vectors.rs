//! Vectors of f32 at every level against scalar arithmetic: slices of every length, at places that no register's alignment
//! fits, and NaN. Small enough for an interpreter that looks for undefined behaviour.

mod common;

use common::levels;
use exported_runtime::{Op, Simd, Vector, dispatch};

/// Longer than the widest register.
const MOST: usize = 18;
const UNTOUCHED: f32 = 77.0;

/// Sums and products of these are exact, so that fused and separate roundings agree.
fn value(i: usize) -> f32 {
    [0.25, -1.5, f32::NAN, 3.0, f32::INFINITY, -0.75, 2.0, -8.0, 0.5, f32::NEG_INFINITY, 1.0][i % 11]
}

type Scalar = fn(f32, f32, f32) -> f32;

/// In the order of [`Vectors::results`].
const EXPECTED: [Scalar; 8] = [
    |a, b, _| a + b,
    |a, b, _| a - b,
    |a, b, _| a * b,
    |a, b, _| a / b,
    |a, b, c| a * b + c,
    |a, b, _| if a.is_nan() || b.is_nan() { f32::NAN } else { a.max(b) },
    |a, _, _| if a.is_nan() { a } else { a.clamp(-1.0, 2.0) },
    |a, b, _| if a > 0.0 { a } else { a * b },
];

struct Vectors<'a> {
    operands: [&'a [f32]; 3],
    results: [&'a mut [f32]; 8],
}

impl Vectors<'_> {
    fn results<S: Simd, V: Vector<S, Elem = f32>>(&mut self, s: S) {
        let [a, b, c] = self.operands.map(|operand| V::load(s, operand));
        let clamped = a.clamp(s, V::splat(s, -1.0), V::splat(s, 2.0));
        let all = [
            a.add(s, b),
            a.sub(s, b),
            a.mul(s, b),
            a.div(s, b),
            a.mul_add(s, b, c),
            a.max(s, b),
            clamped,
            a.leaky(s, b),
        ];
        for (result, to) in all.into_iter().zip(&mut self.results) {
            result.store(s, to);
        }
    }
}

/// One type of vector: by number, as a generic parameter would need the level's own types.
struct Kind<'a>(usize, Vectors<'a>);

impl Op for Kind<'_> {
    type Output = usize;
    fn call<S: Simd>(mut self, s: S) -> usize {
        match self.0 {
            0 => self.1.results::<S, S::F32>(s),
            1 => self.1.results::<S, S::F32x4>(s),
            2 => self.1.results::<S, S::F32x8>(s),
            _ => self.1.results::<S, S::F32x16>(s),
        }
        [S::F32::LANES, S::F32x4::LANES, S::F32x8::LANES, S::F32x16::LANES][self.0]
    }
}

#[test]
fn lanes_are_those_of_scalars_and_no_others_are_written() {
    let operands: Vec<Vec<f32>> = (0..3).map(|k| (0..=MOST).map(|i| value(i * (k + 1) + 3 * k)).collect()).collect();
    for level in levels() {
        for (kind, len) in (0..4).flat_map(|kind| (0..MOST).map(move |len| (kind, len))) {
            let mut memory = [[UNTOUCHED; MOST + 1]; 8];
            let [a, b, c] = [0, 1, 2].map(|k| &operands[k][1..=len]);
            let results = memory.each_mut().map(|row| &mut row[1..=len]);
            let lanes = dispatch(level, Kind(kind, Vectors { operands: [a, b, c], results }));
            for (row, expected) in memory.iter().zip(EXPECTED) {
                for (i, found) in row.iter().enumerate() {
                    let written = (1..=len.min(lanes)).contains(&i);
                    let expected = if written { expected(a[i - 1], b[i - 1], c[i - 1]) } else { UNTOUCHED };
                    let same = *found == expected || found.is_nan() && expected.is_nan();
                    assert!(same, "{level:?}, vectors of {lanes}, {len} elements: {found} at {i}, not {expected}");
                }
            }
        }
    }
}
