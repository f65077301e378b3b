//! What runs on the device: dtypes, scalar functions, kernels, workspace and dispatch. `no_std`, no heap, no panic.
#![no_std]

pub mod dtype;

pub use dtype::DType;
