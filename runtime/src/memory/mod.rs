//! Bytes and the typed views of them: weights, workspace, arena, state, nested arrays.
//!
//! Takes memory of three kinds (constants baked into the program, a workspace the caller lends, the state of a model)
//! and gives kernels ordinary slices of it. Generated code contains no `unsafe`; whatever it asks for is checked here,
//! and a wrong request gives an *empty* slice, on which every kernel returns at once. Nothing here panics.
//!
//! This is one of the two modules of the crate that contain `unsafe` (the other is `arch`). It rests on three facts:
//! * every [`Element`](crate::Element) type accepts every bit pattern and has no padding, so that a view of initialised,
//!   aligned bytes is always valid;
//! * [`Workspace`], [`State`] and [`Weights`] hand out initialised bytes only;
//! * [`Arena`] is the only one that hands out several mutable slices, after checking that they are disjoint.
//!
//! Elements lie in memory as the little-endian numbers of the archive, which is why big-endian targets are refused.

#![allow(unsafe_code, reason = "fenced here: see the module comment")]

#[cfg(target_endian = "big")]
compile_error!("`exported` bakes weights as little-endian numbers and does not support big-endian targets");

mod arena;
mod nested;
mod once;
mod state;
mod strips;
mod tensor;
mod view;
mod weights;
mod workspace;

pub use arena::Arena;
pub use nested::{
    Item, Nested, flat, flat_mut, items, items_mut, nested, nested_mut, nested_slice, nested_slice_mut, rows, rows_mut,
};
pub use state::State;
pub(crate) use strips::{Columns, Strips, StripsMut};
pub use tensor::{TensorMut, TensorRef};
pub use view::{bools, bools_mut, cast, cast_mut, copy_into, part, part_mut};
pub use weights::Weights;
pub use workspace::{ALIGNMENT, StaticWorkspace, Workspace};
