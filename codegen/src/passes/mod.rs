//! Graph to graph. Each pass keeps the meaning; [`verify()`](crate::ir::verify()) runs after every one of them, in every build.

mod batch_norm;
mod capture;
pub mod cut;
mod dce;
mod edit;
mod epilogue;
mod flatten;
mod fold;
mod fuse;
pub mod io;
mod pad;
mod quantize;
mod quantized;
#[cfg(test)]
mod tests;

use crate::diag::{Diagnostic, Errors};
use crate::ir::{Graph, verify};
use crate::options::Options;

/// A rewrite of the whole graph; tells whether it changed anything.
pub type Pass = fn(&mut Graph, &Options) -> Result<bool, Diagnostic>;

/// The passes in order.
pub const PASSES: &[(&str, Pass)] = &[
    // Constants reach the subgraphs that read them, so that those are optimized as any graph.
    ("capture", capture::run),
    ("widened", quantized::widened),
    // Scales and biases become numbers; integer weights stay, as dequantization is not folded.
    ("fold", fold::run),
    ("signed", quantize::signed::run),
    ("quantize", quantize::run),
    ("quantized", quantized::run),
    ("fold", fold::run),
    ("batch_norm", batch_norm::run),
    ("pad", pad::run),
    ("dce", dce::run),
    // Kernels take what they can into their epilogues; what is left becomes loops.
    ("epilogue", epilogue::run),
    ("flatten", flatten::run),
    ("fuse", fuse::run),
    ("dce", dce::run),
];

/// Runs all of them, on subgraphs too.
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
    for node in &mut graph.nodes {
        node.op.graphs_mut().into_iter().try_for_each(|inner| run(inner, options))?;
    }
    Ok(())
}
