//! AArch64: Advanced SIMD (NEON). It is part of every target that has floating-point registers, so nothing is asked at run
//! time and no function needs features of its own.

use super::aarch64_dot4;
use crate::kernels::arith::Narrow;
use crate::kernels::dot4::{Part, Sums};
use crate::kernels::tile::Six;
use crate::simd::{N4, Op, Pair, Simd, Vector};
use core::arch::aarch64::*;

/// Token: the build's target has NEON, as this module's `cfg` says.
#[derive(Clone, Copy, Debug)]
pub struct Neon;

impl Simd for Neon {
    type F32 = F32x4;
    type F32x4 = F32x4;
    type F32x8 = Pair<F32x4>;
    type F32x16 = Pair<Pair<F32x4>>;
    type Narrow = N4;
    // 6 x 4 accumulators, 4 of weights, and splats, of 32 registers: 24 products for 8 loads.
    type Tiles = Six;
    #[inline(always)]
    fn mul_add(self, a: f32, b: f32, c: f32) -> f32 {
        // SAFETY: NEON is there; LLVM makes it one scalar instruction, or a vector's where a loop allows.
        unsafe { vfmas_lane_f32::<0>(c, a, vdup_n_f32(b)) }
    }
    #[inline(always)]
    fn dot4<X: Narrow, const ROWS: usize, const PANELS: usize>(self, part: &Part<'_, X>) -> Sums<ROWS, PANELS> {
        aarch64_dot4::sums(part)
    }
    #[inline(never)]
    fn outline<O: Op>(self, op: O) -> O::Output {
        op.call(self)
    }
}

/// Four f32 in a register.
#[derive(Clone, Copy, Debug)]
pub struct F32x4(float32x4_t);

impl Vector<Neon> for F32x4 {
    type Elem = f32;
    const LANES: usize = 4;
    #[inline(always)]
    fn splat(_: Neon, value: f32) -> Self {
        // SAFETY: NEON is there; so for every block of this type.
        F32x4(unsafe { vdupq_n_f32(value) })
    }
    #[inline(always)]
    fn load(s: Neon, from: &[f32]) -> Self {
        match from.first_chunk::<4>() {
            // SAFETY: the array has as many elements as the register; unaligned loads are allowed.
            Some(whole) => F32x4(unsafe { vld1q_f32(whole.as_ptr()) }),
            None => load_part(s, from),
        }
    }
    #[inline(always)]
    fn store(self, _: Neon, to: &mut [f32]) {
        match to.first_chunk_mut::<4>() {
            // SAFETY: the array has as many elements as the register; unaligned stores are allowed.
            Some(whole) => unsafe { vst1q_f32(whole.as_mut_ptr(), self.0) },
            None => store_part(self, to),
        }
    }
    #[inline(always)]
    fn add(self, _: Neon, other: Self) -> Self {
        // SAFETY: NEON.
        F32x4(unsafe { vaddq_f32(self.0, other.0) })
    }
    #[inline(always)]
    fn sub(self, _: Neon, other: Self) -> Self {
        // SAFETY: NEON.
        F32x4(unsafe { vsubq_f32(self.0, other.0) })
    }
    #[inline(always)]
    fn mul(self, _: Neon, other: Self) -> Self {
        // SAFETY: NEON.
        F32x4(unsafe { vmulq_f32(self.0, other.0) })
    }
    #[inline(always)]
    fn div(self, _: Neon, other: Self) -> Self {
        // SAFETY: NEON.
        F32x4(unsafe { vdivq_f32(self.0, other.0) })
    }
    #[inline(always)]
    fn mul_add(self, _: Neon, factor: Self, addend: Self) -> Self {
        // SAFETY: NEON.
        F32x4(unsafe { vfmaq_f32(addend.0, self.0, factor.0) })
    }
    #[inline(always)]
    fn max(self, _: Neon, other: Self) -> Self {
        // SAFETY: NEON, whose `fmax` gives NaN if either is.
        F32x4(unsafe { vmaxq_f32(self.0, other.0) })
    }
    #[inline(always)]
    fn clamp(self, _: Neon, low: Self, high: Self) -> Self {
        // SAFETY: NEON, whose `fmax` and `fmin` give NaN if either is.
        F32x4(unsafe { vminq_f32(vmaxq_f32(self.0, low.0), high.0) })
    }
    #[inline(always)]
    fn leaky(self, _: Neon, slope: Self) -> Self {
        // SAFETY: NEON. A NaN is not above 0, and its product is NaN.
        F32x4(unsafe { vbslq_f32(vcgtzq_f32(self.0), self.0, vmulq_f32(self.0, slope.0)) })
    }
}

/// Fewer than four lanes: two, then one.
#[inline(always)]
fn load_part(s: Neon, from: &[f32]) -> F32x4 {
    let zero = F32x4::splat(s, 0.0).0;
    // SAFETY: NEON; arrays and references have as many elements as are read.
    let lanes = unsafe {
        match (from.split_first_chunk::<2>(), from.first()) {
            (Some((two, rest)), _) => {
                let two = vcombine_f32(vld1_f32(two.as_ptr()), vget_low_f32(zero));
                rest.first().map_or(two, |third| vld1q_lane_f32::<2>(third, two))
            }
            (None, Some(one)) => vld1q_lane_f32::<0>(one, zero),
            (None, None) => zero,
        }
    };
    F32x4(lanes)
}

/// Fewer than four lanes: two, then one.
#[inline(always)]
fn store_part(v: F32x4, to: &mut [f32]) {
    let (lane, rest) = match to.split_first_chunk_mut::<2>() {
        Some((two, rest)) => {
            // SAFETY: NEON; two elements are written to two.
            let third = unsafe {
                vst1_f32(two.as_mut_ptr(), vget_low_f32(v.0));
                vgetq_lane_f32::<2>(v.0)
            };
            (third, rest)
        }
        // SAFETY: NEON.
        None => (unsafe { vgetq_lane_f32::<0>(v.0) }, to),
    };
    if let Some(one) = rest.first_mut() {
        *one = lane;
    }
}

/// `fsqrt`; in a loop LLVM makes it a vector's.
#[inline(always)]
pub fn sqrt32(x: f32) -> f32 {
    // SAFETY: NEON.
    unsafe { vget_lane_f32::<0>(vsqrt_f32(vdup_n_f32(x))) }
}

/// `fsqrt` in double precision.
#[inline(always)]
pub fn sqrt64(x: f64) -> f64 {
    // SAFETY: NEON.
    unsafe { vget_lane_f64::<0>(vsqrt_f64(vdup_n_f64(x))) }
}
