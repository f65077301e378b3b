//! Instruction sets: tokens, detection, entry into `#[target_feature]` contexts. With `memory` the only `unsafe` code.
#![allow(unsafe_code)]

#[cfg(arm_dsp)]
pub mod dsp;
#[cfg(arm_fpu)]
pub mod thumb_fp;
#[cfg(target_arch = "x86_64")]
pub mod x86_64;
#[cfg(target_arch = "x86_64")]
mod x86_dot4;

/// Square root, correctly rounded; the instruction where the target's baseline has one that stable Rust can name.
/// (On Cortex-M with an FPU it is `libm`'s integer algorithm: about 60 cycles instead of 14.)
#[inline(always)]
pub fn sqrt32(x: f32) -> f32 {
    #[cfg(target_arch = "x86_64")]
    return x86_64::sqrt32(x);
    #[cfg(not(target_arch = "x86_64"))]
    libm::sqrtf(x)
}

/// Square root, correctly rounded.
#[inline(always)]
pub fn sqrt64(x: f64) -> f64 {
    #[cfg(target_arch = "x86_64")]
    return x86_64::sqrt64(x);
    #[cfg(not(target_arch = "x86_64"))]
    libm::sqrt(x)
}
