//! Quantized layers, each fed with the reference's integers: what is right.
//!
//! No integer may be off by more than one (the comparison of outputs sees to that), and that only where the exact value
//! lies near a rounding tie, so rarely: a floor in place of rounding, a zero point off by one or a small bias lost are
//! off by one, too, but everywhere. Means are met with ties by nature: that of four integers on its own grid is half a quantum
//! off in a quarter of all cases, where the reference's f32 decides.

use super::run::Outcome;
use super::verdict::{Reason, Status, Verdict};
use super::wire::Answer;
use crate::golden::Golden;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Share of a layer's integers that may be off by one: ties are met by chance.
const SHARE: f64 = 0.01;
/// Of a mean, of which a floor would change more.
const SHARE_OF_MEAN: f64 = 0.25;
/// As many may be in a layer however small.
const FEW: usize = 2;

/// Integers of a layer in all cases, those that differ, and by how many quanta at most.
#[derive(Clone, Copy, Debug, Default)]
pub struct Layer {
    all: usize,
    differ: usize,
    quanta: u64,
    mean: bool,
}

/// How far a network's integers are from the reference's, each layer fed with the reference's integers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Deviation {
    /// Quantized layers.
    pub layers: usize,
    /// Their integers in all cases.
    pub integers: usize,
    /// How many of them differ.
    pub differ: usize,
    /// By how many quanta at most.
    pub quanta: u64,
    /// The layer with the largest share of them.
    pub most_in: Option<String>,
}

/// Tallies all layers, by the name of the node that quantizes; `means` are the numbers of those that are means.
pub fn deviations<'g>(golden: &'g Golden, outcome: &Outcome, means: &BTreeSet<usize>) -> BTreeMap<&'g str, Layer> {
    let mut layers: BTreeMap<&str, Layer> = BTreeMap::new();
    for (case, answer) in golden.cases.iter().zip(&outcome.answers.calls) {
        let Answer::Outputs(outputs) = answer else { continue };
        for (number, (name, distances)) in Golden::deviations(case, outputs).into_iter().enumerate() {
            let layer = layers.entry(name).or_default();
            layer.mean = means.contains(&number);
            layer.all += distances.len();
            layer.differ += distances.iter().filter(|d| **d > 0).count();
            layer.quanta = distances.into_iter().fold(layer.quanta, u64::max);
        }
    }
    layers
}

impl Deviation {
    /// Of all layers together.
    pub fn of(layers: &BTreeMap<&str, Layer>) -> Deviation {
        let share = |l: &Layer| l.differ as f64 / l.all.max(1) as f64;
        let most = layers.iter().max_by(|a, b| share(a.1).total_cmp(&share(b.1))).filter(|(_, l)| l.differ > 0);
        Deviation {
            layers: layers.len(),
            integers: layers.values().map(|l| l.all).sum(),
            differ: layers.values().map(|l| l.differ).sum(),
            quanta: layers.values().map(|l| l.quanta).max().unwrap_or_default(),
            most_in: most.map(|(name, l)| format!("`{name}`: {} of {}", l.differ, l.all)),
        }
    }
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Deviation { layers, integers, differ, quanta, most_in } = self;
        write!(f, "{differ} of {integers} integers in {layers} layers differ from PyTorch's")?;
        most_in.iter().try_for_each(|most| write!(f, ", by {quanta} at most, most in {most}"))
    }
}

/// Adds what is wrong to the verdict.
pub fn judge(layers: &BTreeMap<&str, Layer>, verdict: &mut Verdict) {
    for (name, layer) in layers {
        let share = if layer.mean { SHARE_OF_MEAN } else { SHARE };
        if layer.differ as f64 > share * layer.all as f64 + FEW as f64 {
            let message = format!("layer `{name}`: {} of {} integers differ", layer.differ, layer.all);
            let kind = Status::Mismatch.to_string();
            verdict.reasons.push(Reason { kind, message, node: Some((*name).into()), source: None });
            if verdict.status == Status::Pass {
                verdict.status = Status::Mismatch;
            }
        }
    }
}
