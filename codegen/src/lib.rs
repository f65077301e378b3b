//! From a `torch.export` archive to static Rust.
//!
//! The modules are the path of a model: [`archive`] → [`schema`] → [`import`] → [`check`] → [`passes`] → [`lower`] →
//! [`plan`] → [`emit`].
#![forbid(unsafe_code)]

pub mod archive;
pub mod check;
pub mod diag;
pub mod emit;
pub mod import;
pub mod ir;
pub mod lower;
pub mod ops;
pub mod options;
pub mod passes;
pub mod plan;
pub mod schema;
pub mod sym;

pub use options::Options;
