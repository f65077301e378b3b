//! Budgets of RAM and flash: what the user asked for against what the plan needs.
//!
//! RAM is the workspace and the state; inputs stay where the caller has them, and the stack is the program's. Flash is the
//! weights as kernels read them: how large the code gets is not known before the link.

use crate::Model;
use crate::diag::{Diagnostic, Errors, Origin};
use crate::lower::{BufferId, Storage};
use crate::options::Options;
use std::collections::BTreeSet;

/// How many contributors a diagnostic names.
const NAMED: usize = 5;

/// Bytes, what they hold, and the layer they are there for.
struct Contributor<'a> {
    bytes: usize,
    name: &'a str,
    layer: &'a str,
    origin: &'a Origin,
}

/// Compares a model with the budgets of the options.
///
/// # Errors
/// One fault for each budget that is exceeded, with the largest contributors.
pub fn check(model: &Model, options: &Options) -> Result<(), Errors> {
    let mut errors = Errors::default();
    let (workspace, state) = (model.plan.bytes as u64, model.state_bytes());
    if let Some(budget) = options.ram.filter(|budget| workspace + state > *budget) {
        let what = format!("{} bytes of RAM (workspace {workspace}, state {state})", workspace + state);
        let help = "smaller inputs, lower bounds of dynamic dims, or int8 tensors (a quarter of f32) need less";
        errors.push(exceeded(&what, budget, alive_at_peak(model), help));
    }
    let weights = model.weight_bytes();
    if let Some(budget) = options.flash.filter(|budget| weights > *budget) {
        let what = format!("{weights} bytes of weights in flash");
        errors.push(exceeded(
            &what,
            budget,
            weights_of(model),
            "fewer channels or int8 weights (a quarter of f32) need less",
        ));
    }
    errors.into_result(())
}

fn exceeded(what: &str, budget: u64, mut contributors: Vec<Contributor<'_>>, help: &str) -> Diagnostic {
    contributors.sort_by_key(|c| std::cmp::Reverse(c.bytes));
    let mut message = format!("{what} exceed the budget of {budget}; the largest:");
    for Contributor { bytes, name, layer, origin } in contributors.iter().take(NAMED) {
        message += &format!("\n    {bytes} bytes: `{name}` of layer `{layer}`");
        message.extend(origin.source.iter().map(|source| format!(", {source}")));
        message.extend(origin.code.iter().map(|code| format!(": {code}")));
    }
    Diagnostic::violated(message).help(help)
}

/// The buffers alive when most of the workspace is.
fn alive_at_peak<'a>(model: &'a Model) -> Vec<Contributor<'a>> {
    let (plan, steps) = (&model.plan, &model.steps);
    let contributor = |(index, buffer): (usize, &'a crate::lower::Buffer)| {
        let (first, last) = (*plan.lives.get(index)?)?;
        let step = steps.steps.get(first).filter(|_| (first..=last).contains(&plan.peak_step))?;
        let bytes = *plan.sizes.get(index)?;
        Some(Contributor { bytes, name: &buffer.name, layer: &step.name, origin: &step.origin })
    };
    steps.buffers.iter().enumerate().filter_map(contributor).collect()
}

/// All weights, each with the first layer that reads it.
fn weights_of(model: &Model) -> Vec<Contributor<'_>> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for step in &model.steps.steps {
        for BufferId(index) in step.work.buffers() {
            let Some(buffer) = model.steps.buffers.get(index as usize) else { continue };
            if matches!(buffer.storage, Storage::Weights(_)) && seen.insert(index) {
                let bytes = model.plan.sizes.get(index as usize).copied().unwrap_or(0);
                found.push(Contributor { bytes, name: &buffer.name, layer: &step.name, origin: &step.origin });
            }
        }
    }
    found
}
