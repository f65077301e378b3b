//! From answers to a verdict: what a golden file and the answers to its calls say about an archive.

use super::run::Outcome;
use super::wire::{Answer, Call};
use super::words;
use crate::golden::{Case, Comparison, Golden, Value, compare};
use serde::{Serialize, Serializer};
use std::collections::BTreeSet;
use std::fmt;

/// What became of an archive. The names are those of the summary in the JSON report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Every case gave torch's values, every reject was refused.
    Pass,
    /// A value is wrong, or what is said of a call that must be refused.
    Mismatch,
    /// The compiler does not support something in it, and says what.
    Unsupported,
    /// The compiler refuses it for a fault of the archive's own.
    Refused,
    /// A call that must be refused was accepted.
    WronglyAccepted,
    /// A call, or the whole archive, was refused although torch runs it.
    WronglyRefused,
    /// A panic, generated code that does not compile, an internal error.
    Bug,
    /// There is no usable golden file, so nothing is proved.
    NoGolden,
}

/// All of them, in the order of tables.
pub const STATUSES: [Status; 8] = [
    Status::Pass,
    Status::Mismatch,
    Status::Unsupported,
    Status::Refused,
    Status::WronglyAccepted,
    Status::WronglyRefused,
    Status::Bug,
    Status::NoGolden,
];

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Status::Pass => "pass",
            Status::Mismatch => "mismatch",
            Status::Unsupported => "unsupported",
            Status::Refused => "refused",
            Status::WronglyAccepted => "wrongly accepted",
            Status::WronglyRefused => "wrongly refused",
            Status::Bug => "bug",
            Status::NoGolden => "no golden",
        })
    }
}

/// The output that came closest to the tolerance, or went furthest beyond it, and its greatest differences.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Worst {
    /// Number of the case.
    pub case: usize,
    /// Number of the output; the new values of changed inputs count on after the user outputs.
    pub output: usize,
    /// Greatest absolute difference; `null` where a NaN or an infinity met something else, or shapes differ.
    #[serde(serialize_with = "finite")]
    pub abs: f64,
    /// Greatest relative difference, likewise.
    #[serde(serialize_with = "finite")]
    pub rel: f64,
    /// Greatest distance in units in the last place.
    pub ulp: u64,
    /// Greatest ratio of a difference to what was allowed.
    #[serde(skip)]
    pub ratio: f64,
}

fn finite<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    value.is_finite().then_some(*value).serialize(serializer)
}

/// Why an archive did not pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// What kind of fault.
    pub kind: String,
    /// What was found.
    pub message: String,
    /// Node of the graph, if the fault lies at one.
    pub node: Option<String>,
    /// Python line of that node.
    pub source: Option<String>,
}

impl Reason {
    /// A reason without a place in the graph.
    pub fn new(kind: &str, message: impl Into<String>) -> Reason {
        Reason { kind: kind.into(), message: message.into(), ..Reason::default() }
    }
}

/// The verdict on an archive.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What became of it.
    pub status: Status,
    /// The worst output, if any values were compared.
    pub worst: Option<Worst>,
    /// Why it did not pass; all of it.
    pub reasons: Vec<Reason>,
}

/// The calls that a golden file asks for: all cases, then all rejects.
pub fn calls(golden: &Golden) -> Vec<Call<'_>> {
    let cases = golden.cases.iter().map(|case| Call { reset: !case.continues, inputs: &case.inputs });
    let rejects = golden.rejects.iter().map(|reject| Call { reset: true, inputs: &reject.inputs });
    cases.chain(rejects).collect()
}

/// Compares the answers to [`calls`] with the golden file; of the outputs in `undefined` only dtype and shape.
pub fn judge(golden: &Golden, outcome: &Outcome, undefined: &BTreeSet<usize>) -> Verdict {
    let mutates = &outcome.answers.mutates[..];
    let mut judge = Judge { golden, mutates, undefined, worst: None, faults: Vec::new() };
    let mut answers = outcome.answers.calls.iter();
    for (number, case) in golden.cases.iter().enumerate() {
        match answers.next() {
            Some(Answer::Outputs(outputs)) => judge.case(number, case, outputs),
            Some(Answer::Refused(message)) => {
                judge.fault(Status::WronglyRefused, format!("case {number} was refused: {message}"));
            }
            None => judge.fault(Status::Bug, format!("case {number} has no answer")),
        }
    }
    for (number, reject) in golden.rejects.iter().enumerate() {
        match answers.next() {
            Some(Answer::Refused(ours)) => {
                if let Some(fault) = reject.torch_error.as_deref().and_then(|torch| words::fault(torch, ours)) {
                    judge.fault(Status::Mismatch, format!("reject {number} {fault}"));
                }
            }
            Some(Answer::Outputs(_)) if !reject.torch_raises => {}
            Some(Answer::Outputs(_)) => {
                judge.fault(Status::WronglyAccepted, format!("reject {number} was accepted: {}", reject.why));
            }
            None => judge.fault(Status::Bug, format!("reject {number} has no answer")),
        }
    }
    if let Some(failure) = &outcome.failure {
        // Says more than the answers that are missing because of it.
        judge.faults.retain(|(status, _)| *status != Status::Bug);
        judge.fault(Status::Bug, failure.clone());
    }
    judge.verdict()
}

struct Judge<'a> {
    golden: &'a Golden,
    mutates: &'a [Option<usize>],
    undefined: &'a BTreeSet<usize>,
    worst: Option<Worst>,
    faults: Vec<(Status, Reason)>,
}

impl Judge<'_> {
    fn fault(&mut self, status: Status, message: String) {
        self.faults.push((status, Reason::new(&status.to_string(), message)));
    }

    fn case(&mut self, number: usize, case: &Case, outputs: &[Value]) {
        let expected = self.expected(case);
        let found = outputs.len();
        if found != expected.len() {
            let expected = expected.len();
            self.fault(Status::Mismatch, format!("case {number}: expected {expected} outputs, found {found}"));
            return;
        }
        for (output, (actual, expected)) in outputs.iter().zip(expected).enumerate() {
            if self.undefined.contains(&output) && actual.is_like(expected) {
                continue;
            }
            let comparison = compare(actual, expected, self.golden.tolerance);
            self.remember(number, output, &comparison);
            if let Some(fault) = comparison.fault {
                self.fault(Status::Mismatch, format!("case {number}, output {output}: {fault}"));
            }
        }
    }

    /// What the outputs of a call must be: the user outputs, then the new values of changed inputs in the program's
    /// order. A change that the golden file does not list must not have happened, one that only it lists is missing.
    fn expected<'c>(&self, case: &'c Case) -> Vec<&'c Value> {
        let mut expected: Vec<&Value> = case.outputs.iter().collect();
        let changed: Vec<usize> = self.mutates.iter().flatten().copied().collect();
        for input in &changed {
            expected.extend(case.mutations.get(input).or(case.inputs.get(*input)));
        }
        expected.extend(case.mutations.iter().filter(|(input, _)| !changed.contains(input)).map(|(_, value)| value));
        expected
    }

    fn remember(&mut self, case: usize, output: usize, found: &Comparison) {
        if self.worst.as_ref().is_none_or(|worst| found.ratio > worst.ratio) {
            let Comparison { abs, rel, ulp, ratio, .. } = *found;
            self.worst = Some(Worst { case, output, abs, rel, ulp, ratio });
        }
    }

    fn verdict(self) -> Verdict {
        let gravest = [Status::Bug, Status::Mismatch, Status::WronglyAccepted, Status::WronglyRefused];
        let is_there = |status: &Status| self.faults.iter().any(|(fault, _)| fault == status);
        let status = gravest.into_iter().find(is_there).unwrap_or(Status::Pass);
        Verdict { status, worst: self.worst, reasons: self.faults.into_iter().map(|(_, reason)| reason).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::Answers;
    use super::*;
    use crate::golden::{Reject, Tensor, Tolerance, Wishes};
    use exported_runtime::DType;
    use std::collections::BTreeMap;

    fn vector(values: &[f32]) -> Value {
        let data = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        Value::Tensor(Tensor { dtype: DType::F32, shape: vec![values.len()], data })
    }

    const REFUSAL: &str = "Expected input at *args[0].shape[0] to be >= 1, but got 0";

    fn golden() -> Golden {
        let case = |x: f32| Case {
            inputs: vec![vector(&[x])],
            outputs: vec![vector(&[x + 1.0, 2.0]), vector(&[x, 7.0])],
            mutations: BTreeMap::new(),
            continues: false,
            nodes: BTreeMap::new(),
        };
        let reject = |torch_raises: bool| Reject {
            inputs: vec![vector(&[])],
            why: "x is empty".into(),
            torch_raises,
            torch_error: torch_raises.then(|| format!("RuntimeError: {REFUSAL}")),
        };
        Golden {
            integer_atol: None,
            torch: String::new(),
            tolerance: Tolerance { rtol: 0.0, atol: 1e-3, quanta: 0.0 },
            wishes: Wishes::default(),
            cases: vec![case(1.0), case(4.0)],
            rejects: vec![reject(true), reject(false)],
        }
    }

    fn right() -> Outcome {
        let outputs = |x: f32| Answer::Outputs(vec![vector(&[x + 1.0, 2.0]), vector(&[x, 7.0])]);
        let no = || Answer::Refused(REFUSAL.into());
        let calls = vec![outputs(1.0), outputs(4.0), no(), no()];
        Outcome {
            answers: Answers { mutates: vec![None, None], calls, costs: vec![Default::default(); 4] },
            failure: None,
        }
    }

    fn with(change: impl FnOnce(&mut Vec<Answer>)) -> Verdict {
        let mut outcome = right();
        change(&mut outcome.answers.calls);
        judge(&golden(), &outcome, &BTreeSet::new())
    }

    fn outputs(answer: &mut Answer) -> &mut Vec<Value> {
        let Answer::Outputs(outputs) = answer else { panic!("refused") };
        outputs
    }

    #[test]
    fn right_answers_pass() {
        let verdict = with(|_| {});
        assert_eq!((verdict.status, verdict.reasons.len()), (Status::Pass, 0));
        let close = with(|calls| outputs(&mut calls[1])[1] = vector(&[4.0005, 7.0]));
        assert_eq!(close.status, Status::Pass);
        let worst = close.worst.expect("compared");
        assert_eq!((worst.case, worst.output), (1, 1));
        assert!((worst.abs - 5e-4).abs() < 1e-6 && (worst.ratio - 0.5).abs() < 1e-3);
        let accepted = with(|calls| calls[3] = Answer::Outputs(vec![]));
        assert_eq!(accepted.status, Status::Pass, "where torch does not raise, both are right");
    }

    #[test]
    fn twice_the_tolerance_is_a_mismatch() {
        let verdict = with(|calls| outputs(&mut calls[1])[0] = vector(&[5.002, 2.0]));
        assert_eq!(verdict.status, Status::Mismatch);
        assert!(verdict.reasons[0].message.starts_with("case 1, output 0: Mismatched elements: 1 / 2 (50.0%)"));
        assert!(verdict.worst.is_some_and(|w| (w.case, w.output) == (1, 0) && (w.ratio - 2.0).abs() < 1e-2));
    }

    #[test]
    fn swapped_missing_and_mistyped_outputs_are_mismatches() {
        assert_eq!(with(|calls| outputs(&mut calls[0]).swap(0, 1)).status, Status::Mismatch);
        let missing = with(|calls| drop(outputs(&mut calls[0]).pop()));
        assert_eq!(missing.reasons[0].message, "case 0: expected 2 outputs, found 1");
        let mistyped = with(|calls| {
            let Value::Tensor(tensor) = &mut outputs(&mut calls[0])[0] else { panic!("a tensor") };
            tensor.dtype = DType::I32;
        });
        assert!(mistyped.reasons[0].message.contains("'dtype' do not match: i32 != f32"));
        let nested = with(|calls| {
            let Value::Tensor(tensor) = &mut outputs(&mut calls[0])[0] else { panic!("a tensor") };
            tensor.shape = vec![1, 2];
        });
        assert!(nested.reasons[0].message.contains("'shape' do not match"));
    }

    #[test]
    fn decisions_must_agree() {
        let refused = with(|calls| calls[1] = Answer::Refused("size".into()));
        assert_eq!(refused.status, Status::WronglyRefused);
        assert_eq!(refused.reasons[0].message, "case 1 was refused: size");
        let accepted = with(|calls| calls[2] = Answer::Outputs(vec![]));
        assert_eq!(accepted.status, Status::WronglyAccepted);
        assert_eq!(accepted.reasons[0].message, "reject 0 was accepted: x is empty");
        let otherwise = with(|calls| calls[2] = Answer::Refused("no".into()));
        assert_eq!(otherwise.status, Status::Mismatch);
        assert!(otherwise.reasons[0].message.starts_with("reject 0 was refused with `no`, where torch says `Expected"));
    }

    #[test]
    fn of_undefined_memory_dtype_and_shape_count() {
        let undefined = BTreeSet::from([1]);
        let mut outcome = right();
        outputs(&mut outcome.answers.calls[1])[1] = vector(&[0.0, 0.0]);
        assert_eq!(judge(&golden(), &outcome, &undefined).status, Status::Pass);
        assert_eq!(judge(&golden(), &outcome, &BTreeSet::from([0])).status, Status::Mismatch);
        outputs(&mut outcome.answers.calls[1])[1] = vector(&[0.0]);
        assert_eq!(judge(&golden(), &outcome, &undefined).status, Status::Mismatch);
    }

    #[test]
    fn a_missing_answer_is_a_bug() {
        let verdict = with(|calls| calls.truncate(3));
        assert_eq!((verdict.status, &*verdict.reasons[0].message), (Status::Bug, "reject 1 has no answer"));
        let crashed = Outcome { failure: Some("the program ended with 101".into()), ..right() };
        assert_eq!(judge(&golden(), &crashed, &BTreeSet::new()).status, Status::Bug);
        let died = Outcome { answers: Answers::default(), failure: Some("died".into()) };
        let nothing = judge(&golden(), &died, &BTreeSet::new());
        assert_eq!((nothing.status, nothing.reasons.len()), (Status::Bug, 1));
    }

    #[test]
    fn changed_inputs_are_compared_after_the_outputs() {
        let mut golden = golden();
        golden.cases.truncate(1);
        golden.rejects.clear();
        let mut outcome = right();
        outcome.answers.calls.truncate(1);
        outcome.answers.mutates = vec![None, None, Some(0)];
        outputs(&mut outcome.answers.calls[0]).push(vector(&[1.0]));
        assert_eq!(judge(&golden, &outcome, &BTreeSet::new()).status, Status::Pass, "not listed: unchanged");
        golden.cases[0].mutations.insert(0, vector(&[9.0]));
        assert_eq!(judge(&golden, &outcome, &BTreeSet::new()).status, Status::Mismatch);
        outputs(&mut outcome.answers.calls[0])[2] = vector(&[9.0]);
        assert_eq!(judge(&golden, &outcome, &BTreeSet::new()).status, Status::Pass);
        outcome.answers.mutates.pop();
        outputs(&mut outcome.answers.calls[0]).pop();
        assert_eq!(
            judge(&golden, &outcome, &BTreeSet::new()).status,
            Status::Mismatch,
            "a change that the program does not report"
        );
    }
}
