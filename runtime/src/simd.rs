//! The SIMD token and the one place that enters a `#[target_feature]` context.
//!
//! A kernel or generated loop is an [`Op`], generic over a token `S: Simd` that exists only when the CPU has the
//! instructions it stands for. [`dispatch`] runs it with the token of a [`Level`]; everything `#[inline(always)]` below
//! `call` is then compiled with those instructions, so neither kernels nor generated code contain `unsafe`.

/// Instruction set in use. `Portable` gives the same bits on every target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Level {
    /// What the build's target guarantees; fixed summation order.
    Portable,
    /// x86-64 with AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

/// Proof that a level's instructions may be used.
pub trait Simd: Copy {
    /// `a * b + c`; one rounding where the level has the instruction, else two.
    fn mul_add(self, a: f32, b: f32, c: f32) -> f32;
}

/// The token of [`Level::Portable`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Portable;

impl Simd for Portable {
    #[inline(always)]
    fn mul_add(self, a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
}

/// Work that runs at any level.
pub trait Op {
    /// What it gives.
    type Output;
    /// Runs it; must be `#[inline(always)]`, as everything hot below it.
    fn call<S: Simd>(self, s: S) -> Self::Output;
}

/// Runs `op` with the instructions of `level`.
#[inline(always)]
pub fn dispatch<O: Op>(level: Level, op: O) -> O::Output {
    match level {
        Level::Portable => op.call(Portable),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => crate::arch::x86_64::avx2(op),
    }
}
