//! What the kernel suites share: levels, deterministic values, comparison.
#![allow(dead_code)]

use exported_runtime::{Level, N4, N16, Op, Panel, Portable, dispatch};

/// Every level of this CPU.
pub fn levels() -> Vec<Level> {
    #[cfg(target_arch = "x86_64")]
    let all = [Level::Portable, Level::Avx2, Level::Avx512];
    #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
    let all = [Level::Portable, Level::Neon];
    #[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", target_feature = "neon"))))]
    let all = [Level::Portable];
    all.into_iter().filter(|level| *level <= Level::detect()).collect()
}

/// Runs kernels over a panel at the levels that it is for: those of 4 belong to targets with none but the portable one, and
/// compiling kernels for levels that never meet them takes most of a suite's time.
pub trait Run: Panel {
    fn run<O: Op>(level: Level, op: O) -> O::Output;
}

impl Run for N16 {
    fn run<O: Op>(level: Level, op: O) -> O::Output {
        dispatch(level, op)
    }
}

impl Run for N4 {
    fn run<O: Op>(level: Level, op: O) -> O::Output {
        assert_eq!(level, Level::Portable);
        op.call(Portable)
    }
}

/// How often something drawn is tried: an interpreter, which looks for undefined behaviour and not for wrong numbers, takes minutes
/// for what a processor does in milliseconds.
pub fn rounds(count: usize) -> usize {
    if cfg!(miri) { count.div_ceil(150) } else { count }
}

/// A small generator, so that failures repeat.
pub struct Values(u64);

impl Values {
    pub fn new(seed: u64) -> Self {
        Values(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// In -1..1.
    pub fn f32(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    pub fn vec(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.f32()).collect()
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 20) as usize % bound
    }
}

/// Equal up to `tolerance` absolute and relative; NaN equals NaN.
pub fn assert_close(found: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: length");
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        let f = f64::from(*f);
        let close = (f - e).abs() <= tolerance * (1.0 + e.abs()) || f == *e || f.is_nan() && e.is_nan();
        assert!(close, "{what}: element {i} is {f}, expected {e}");
    }
}
