//! Layers from signed bytes to signed bytes on cores with Helium (MVE), which add sixteen products in one instruction.
//!
//! Two pixels at a time pass over the weights of all output channels, three at a time. Pixels of 1x1 layers are read where
//! they stand; others are copied into patches, which in vectors costs less than lines would where many channels read them.
//! What outputs are is as in [`super`].

mod conv;
mod linear;
#[cfg(not(arm_mve))]
pub(super) mod portable;
pub mod records;

pub use conv::{Conv, scratch_len};
pub use linear::{Linear, LinearRow};

#[cfg(arm_mve)]
pub(super) use crate::arch::mve as body;
#[cfg(not(arm_mve))]
pub(super) use portable as body;
