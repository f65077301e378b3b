//! Instruction sets: tokens, detection, entry into `#[target_feature]` contexts. With `memory` the only `unsafe` code.
#![allow(unsafe_code)]

#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
pub mod aarch64;
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
mod aarch64_dot4;
#[cfg(arm_dsp)]
pub mod dsp;
#[cfg(arm_mve)]
pub mod mve;
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
    #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
    use aarch64::sqrt32;
    #[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", target_feature = "neon"))))]
    use libm::sqrtf as sqrt32;
    #[cfg(target_arch = "x86_64")]
    use x86_64::sqrt32;
    sqrt32(x)
}

/// Square root, correctly rounded.
#[inline(always)]
pub fn sqrt64(x: f64) -> f64 {
    #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
    use aarch64::sqrt64;
    #[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", target_feature = "neon"))))]
    use libm::sqrt as sqrt64;
    #[cfg(target_arch = "x86_64")]
    use x86_64::sqrt64;
    sqrt64(x)
}
