//! Graph to graph. Each pass keeps the meaning; [`verify`] runs after every one of them, in every build.

mod dce;
mod fold;

use crate::diag::{Diagnostic, Errors};
use crate::ir::{Graph, verify};
use crate::options::Options;

/// A rewrite of the whole graph; tells whether it changed anything.
pub type Pass = fn(&mut Graph, &Options) -> Result<bool, Diagnostic>;

/// The passes in order.
pub const PASSES: &[(&str, Pass)] = &[("fold", fold::run), ("dce", dce::run)];

/// Runs all of them.
///
/// # Errors
/// A breach of the graph's invariant, named after the pass.
pub fn run(graph: &mut Graph, options: &Options) -> Result<(), Errors> {
    verify(graph)?;
    for (name, pass) in PASSES {
        if pass(graph, options)? {
            verify(graph).map_err(|d| Diagnostic { message: format!("after pass `{name}`: {}", d.message), ..d })?;
        }
    }
    Ok(())
}
