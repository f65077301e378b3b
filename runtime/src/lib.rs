//! What runs on the device: dtypes, scalar functions, kernels, workspace and dispatch. `no_std`, no heap, no panic.
#![no_std]
#![deny(unsafe_code)]

pub mod arch;
pub mod dtype;
pub mod kernels;
pub mod simd;
pub mod sym;

pub use dtype::{Bf16, DType, Element, F16};
pub use simd::{Level, N4, N16, Op, Panel, Portable, Simd, Vector, dispatch};

impl Level {
    /// The best level of this CPU.
    #[inline]
    pub fn detect() -> Level {
        #[cfg(target_arch = "x86_64")]
        return arch::x86_64::detect();
        #[cfg(not(target_arch = "x86_64"))]
        Level::Portable
    }
}
