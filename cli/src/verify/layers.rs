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
use std::collections::{BTreeMap, BTreeSet};

/// Share of a layer's integers that may be off by one: ties are met by chance.
const SHARE: f64 = 0.01;
/// Of a mean, of which a floor would change more.
const SHARE_OF_MEAN: f64 = 0.25;
/// As many may be in a layer however small.
const FEW: usize = 2;

/// Integers of a layer in all cases, and those that differ.
#[derive(Clone, Copy, Debug, Default)]
pub struct Layer {
    all: usize,
    differ: usize,
    mean: bool,
}

/// Tallies all layers, by the name of the node that quantizes; `means` are the numbers of those that are means.
pub fn deviations<'g>(golden: &'g Golden, outcome: &Outcome, means: &BTreeSet<usize>) -> BTreeMap<&'g str, Layer> {
    let mut layers: BTreeMap<&str, Layer> = BTreeMap::new();
    for (case, answer) in golden.cases.iter().zip(&outcome.answers.calls) {
        let Answer::Outputs(outputs) = answer else { continue };
        for (number, (name, all, differ)) in Golden::deviations(case, outputs).into_iter().enumerate() {
            let layer = layers.entry(name).or_default();
            layer.mean = means.contains(&number);
            layer.all += all;
            layer.differ += differ;
        }
    }
    layers
}

/// The measured deviation in words.
pub fn note(layers: &BTreeMap<&str, Layer>) -> String {
    let (all, differ) = layers.values().fold((0, 0), |(all, differ), l| (all + l.all, differ + l.differ));
    let share = |l: &Layer| l.differ as f64 / l.all.max(1) as f64;
    let worst = layers.iter().max_by(|a, b| share(a.1).total_cmp(&share(b.1))).filter(|(_, l)| l.differ > 0);
    let worst = worst.map_or(String::new(), |(name, l)| format!(", most in `{name}`: {} of {}", l.differ, l.all));
    format!("{differ} of {all} integers in {} layers differ{worst}", layers.len())
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
