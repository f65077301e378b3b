//! Instruction sets: tokens, detection, entry into `#[target_feature]` contexts. With `memory` the only `unsafe` code.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
pub mod x86_64;
