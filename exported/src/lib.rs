//! PyTorch models, exported with `torch.export`, compiled into heap-free, panic-free `no_std` Rust.
//!
//! ```ignore
//! mod kws { exported::include_exported!("kws.pt2"); }
//!
//! static WORKSPACE: kws::StaticWorkspace = kws::StaticWorkspace::new();
//!
//! let mut workspace = WORKSPACE.take().unwrap();
//! let mut model = kws::Model::new();
//! let out = model.forward(&mut workspace, kws::Inputs { features: &frame })?;
//! ```
//!
//! [`include_exported!`] documents the macro; what it generates documents itself, by the model's own names. [`rt`] is
//! what generated code stands on: workspaces, errors, tensors.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "macro")]
#[doc(hidden)]
pub use exported_macros as __macros;
pub use exported_runtime as rt;
pub use exported_runtime::{Error, StaticWorkspace, Workspace};

#[cfg(feature = "macro")]
include!(concat!(env!("OUT_DIR"), "/include_exported.rs"));
