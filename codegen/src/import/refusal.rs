//! Words for operators that cannot be compiled.

use super::functional_target;
use crate::diag::Diagnostic;
use crate::ops::{self, Schema};

/// Begins the targets of what opens and closes a region of `torch.vmap` in training IR.
pub(super) const VMAP: &str = "torch._functorch.predispatch.";

/// Said once, of all of them.
pub(super) fn vmap() -> Diagnostic {
    Diagnostic::unsupported("operators under `torch.vmap`, with a dim that the archive does not record")
        .help("`ep.run_decompositions()` before saving writes them with that dim")
}

/// Operators that are refused for what they mean, with the remedy. Dropout and its kin carry torch's tag for randomness,
/// but are the identity when not training: where there is a row (for an in-place form, the functional one's), it decides.
pub(super) fn refusal(target: &str) -> Option<Diagnostic> {
    let row = ops::find(target).or_else(|| ops::find(&functional_target(target)));
    let random = Schema::find(target)?.has_tag("nondeterministic_seeded") && row.is_none();
    random.then(|| {
        Diagnostic::violated(format!("`{target}` draws random numbers"))
            .help("call `model.eval()` before `torch.export.export`, or pass the random tensor as an input")
    })
}

/// An operator without a row.
pub(super) fn unsupported_operator(target: &str) -> Diagnostic {
    let base = target.rsplit_once('.').map_or(target, |(b, _)| b);
    let near: Vec<&str> = ops::TABLES
        .iter()
        .flat_map(|t| t.iter())
        .map(|r| r.target)
        .filter(|t| t.rsplit_once('.').is_some_and(|(b, _)| b == base))
        .collect();
    let diagnostic = Diagnostic::unsupported(format!("operator `{target}`"));
    match near.is_empty() {
        true => {
            diagnostic.help("try `ep.run_decompositions()` before saving: many operators decompose into supported ones")
        }
        false => diagnostic.help(format!("supported forms: {}", near.join(", "))),
    }
}
