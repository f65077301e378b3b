//! The families with a real algorithm: plain structs of slices and sizes that implement [`crate::Op`].
//!
//! Every kernel compares its slices' lengths with its sizes once, at entry, and leaves everything untouched when they
//! disagree; after that nothing can panic. Tensors are dense: sizes written `[a, b, c]` are row-major dims.

pub mod norm;
pub mod num;
pub mod reduce;
pub mod softmax;
