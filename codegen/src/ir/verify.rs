//! To be written.
use super::Graph;
/// To be written.
pub fn verify(_graph: &Graph) -> Result<(), crate::diag::Diagnostic> {
    Ok(())
}
