//! The algorithmic families: plain structs of slices and parameters implementing [`crate::Op`].
//!
//! Every kernel checks its slices once at entry; if one is too short for the stated geometry nothing is written. After
//! that no path panics. Inner loops hold no index arithmetic that needs a check.

// Loops of constant length over several arrays at once read better by index; LLVM unrolls them and drops the checks.
#![allow(clippy::needless_range_loop)]

pub mod arith;
pub mod bytes;
pub mod conv;
pub mod depthwise;
pub mod dot4;
pub mod epilogue;
pub mod fpu;
pub mod grouped;
pub mod index;
pub mod int8;
pub mod matmul;
pub mod norm;
pub mod num;
pub mod pack;
mod padded;
pub mod pool;
pub mod reduce;
pub mod resample;
pub mod rnn;
pub mod scan;
mod small;
pub mod softmax;
pub mod sort;
mod stripe;
pub mod tile;
mod window;
pub mod winograd;
