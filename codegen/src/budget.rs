//! Budgets of RAM and flash: what the user asked for against what the plan needs.
//!
//! RAM is the workspace and the state; inputs stay where the caller has them, and the stack is the program's. Flash is the
//! weights as kernels read them, the padding between them, and the initial state: how large the code gets is not known
//! before the link.

use crate::Model;
use crate::diag::{Diagnostic, Errors, Origin};
use crate::footprint::{Footprint, first_reads};
use crate::lower::{Buffer, Storage};
use crate::options::Options;

/// How many contributors a diagnostic names.
const NAMED: usize = 5;

/// Bytes, what they hold, and the layer they are there for.
struct Contributor<'a> {
    bytes: usize,
    name: &'a str,
    layer: Option<(&'a str, &'a Origin)>,
}

/// Compares a model with the budgets of the options.
///
/// # Errors
/// One fault for each budget that is exceeded, with the largest contributors.
pub fn check(model: &Model, options: &Options) -> Result<(), Errors> {
    let mut errors = Errors::default();
    let needs = Footprint::new(model);
    if let Some(budget) = options.ram.filter(|budget| needs.ram() > *budget) {
        let Footprint { workspace, state, .. } = needs;
        let what = format!("{} bytes of RAM (workspace {workspace}, state {state})", needs.ram());
        let help = "smaller inputs, lower bounds of dynamic dims, or int8 tensors (a quarter of f32) need less";
        let contributors = alive_at_peak(model).into_iter().chain(state_of(model)).collect();
        errors.push(exceeded(&what, budget, contributors, help));
    }
    if let Some(budget) = options.flash.filter(|budget| needs.flash() > *budget) {
        let Footprint { weights, padding, initial_state, .. } = needs;
        let parts = format!("weights {weights}, padding {padding}, initial state {initial_state}");
        let what = format!("{} bytes of flash ({parts}) without code", needs.flash());
        let help = "fewer channels or int8 weights (a quarter of f32) need less";
        let stored = state_of(model).into_iter().filter(|_| initial_state > 0);
        errors.push(exceeded(&what, budget, weights_of(model).into_iter().chain(stored).collect(), help));
    }
    errors.into_result(())
}

fn exceeded(what: &str, budget: u64, mut contributors: Vec<Contributor<'_>>, help: &str) -> Diagnostic {
    contributors.sort_by_key(|c| std::cmp::Reverse(c.bytes));
    let mut message = format!("{what} exceed the budget of {budget}; the largest:");
    for Contributor { bytes, name, layer } in contributors.iter().take(NAMED) {
        message += &format!("\n    {bytes} bytes: `{name}`");
        let Some((layer, origin)) = layer else {
            message += ", state";
            continue;
        };
        message += &format!(" of layer `{layer}`");
        message.extend(origin.source.iter().map(|source| format!(", {source}")));
        message.extend(origin.code.iter().map(|code| format!(": {code}")));
    }
    Diagnostic::violated(message).help(help)
}

/// The buffers alive when most of the workspace is.
fn alive_at_peak(model: &Model) -> Vec<Contributor<'_>> {
    let (plan, steps) = (&model.plan, &model.steps);
    let contributor = |index: usize| {
        let (first, last) = (*plan.lives.get(index)?)?;
        let step = steps.steps.get(first).filter(|_| (first..=last).contains(&plan.peak_step))?;
        Some(contributor(model, index, Some((&step.name, &step.origin))))
    };
    (0..steps.buffers.len()).filter_map(contributor).collect()
}

/// All weights, each with the first layer that reads it.
fn weights_of(model: &Model) -> Vec<Contributor<'_>> {
    let reads = first_reads(&model.steps);
    let steps = model.steps.steps.iter().zip(reads);
    steps
        .flat_map(|(step, read)| {
            read.into_iter().map(move |index| contributor(model, index, Some((step.name.as_str(), &step.origin))))
        })
        .collect()
}

/// The mutated buffers.
fn state_of(model: &Model) -> Vec<Contributor<'_>> {
    let is_state = |buffer: &Buffer| matches!(buffer.storage, Storage::State(_));
    let buffers = model.steps.buffers.iter().enumerate().filter(|(_, buffer)| is_state(buffer));
    buffers.map(|(index, _)| contributor(model, index, None)).collect()
}

fn contributor<'a>(model: &'a Model, index: usize, layer: Option<(&'a str, &'a Origin)>) -> Contributor<'a> {
    let bytes = model.plan.sizes.get(index).copied().unwrap_or(0);
    Contributor { bytes, name: model.steps.buffers.get(index).map_or("", |buffer| &buffer.name), layer }
}
