//! The table that people read and the JSON that programs read.

use super::layers::Deviation;
use super::verdict::{Reason, STATUSES, Status, Worst};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::{self, Write};

/// All that was found out.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// One entry per archive, in the order found.
    pub archives: Vec<Entry>,
}

/// What was found out about one archive.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// Its path.
    pub path: String,
    /// What became of it.
    pub status: Status,
    /// Cases in its golden file.
    pub cases: usize,
    /// Rejects in its golden file.
    pub rejects: usize,
    /// The worst output.
    pub worst: Option<Worst>,
    /// How far quantized layers are from PyTorch's, if they were checked alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deviation: Option<Deviation>,
    /// Why it did not pass.
    pub reasons: Vec<Reason>,
    /// What a reader must know about how it was verified.
    #[serde(skip)]
    pub notes: Vec<String>,
}

impl Report {
    /// How many archives have this status.
    pub fn count(&self, status: Status) -> usize {
        self.archives.iter().filter(|entry| entry.status == status).count()
    }

    /// Whether everything passed. `allow_unsupported` forgives what the compiler said no to, in words, at build time.
    pub fn passed(&self, allow_unsupported: bool) -> bool {
        !self.archives.is_empty()
            && self.archives.iter().all(|entry| match entry.status {
                Status::Pass => true,
                Status::Unsupported | Status::Refused => allow_unsupported,
                _ => false,
            })
    }

    /// `{"summary": {…}, "archives": […]}`.
    pub fn json(&self) -> serde_json::Result<String> {
        #[derive(Serialize)]
        struct Whole<'a> {
            summary: BTreeMap<Status, usize>,
            archives: &'a [Entry],
        }
        let summary = STATUSES.into_iter().map(|status| (status, self.count(status))).collect();
        serde_json::to_string_pretty(&Whole { summary, archives: &self.archives }).map(|text| text + "\n")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.archives.iter().map(|entry| entry.path.chars().count()).max().unwrap_or(0).max(7);
        writeln!(f, "{:width$}  {:16}  {:>5}  {:>7}  worst error", "archive", "status", "cases", "rejects")?;
        for entry in &self.archives {
            let Entry { path, status, cases, rejects, .. } = entry;
            let worst = entry.worst.as_ref().map(ToString::to_string).unwrap_or_default();
            let line = format!("{path:width$}  {status:16}  {cases:>5}  {rejects:>7}  {worst}");
            writeln!(f, "{}", line.trim_end())?;
            entry.deviation.iter().try_for_each(|deviation| writeln!(f, "    layers: {deviation}"))?;
            entry.notes.iter().try_for_each(|note| writeln!(f, "    note: {note}"))?;
            entry.reasons.iter().try_for_each(|reason| write!(f, "{reason}"))?;
        }
        let mut totals = String::new();
        for status in STATUSES {
            let count = self.count(status);
            if count > 0 {
                write!(totals, ", {count} {status}")?;
            }
        }
        write!(f, "{} archives: {}", self.archives.len(), totals.trim_start_matches(", "))
    }
}

impl fmt::Display for Worst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Worst { case, output, abs, rel, ulp, ratio } = self;
        if *ratio == 0.0 {
            return write!(f, "exact");
        }
        write!(f, "abs {abs:.1e}, rel {rel:.1e}, {ulp} ulp")?;
        if ratio.is_finite() {
            write!(f, ", {:.1} % of the tolerance", 100.0 * ratio)?;
        }
        write!(f, " (case {case}, output {output})")
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "    {}: {}", self.kind, self.message.trim_end().replace('\n', "\n      "))?;
        if let Some(node) = &self.node {
            write!(f, " (node `{node}`{})", self.source.as_ref().map(|s| format!(", {s}")).unwrap_or_default())?;
        }
        writeln!(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, status: Status) -> Entry {
        let worst = Worst { case: 1, output: 0, abs: 0.25, rel: f64::INFINITY, ulp: 9, ratio: 0.5 };
        let reason =
            Reason { node: Some("sin".into()), source: Some("m.py:4".into()), ..Reason::new("unsupported", "a\nb") };
        let (worst, reasons) = if status == Status::Pass { (Some(worst), vec![]) } else { (None, vec![reason]) };
        Entry { path: path.into(), status, cases: 2, rejects: 0, worst, deviation: None, reasons, notes: vec![] }
    }

    #[test]
    fn the_table_says_everything() {
        let mut first = entry("a.pt2", Status::Pass);
        first.notes.push("`s0` is capped at 8".into());
        let report = Report { archives: vec![first, entry("long/b.pt2", Status::Unsupported)] };
        assert_eq!(
            report.to_string(),
            "archive     status            cases  rejects  worst error\n\
             a.pt2       pass                  2        0  abs 2.5e-1, rel inf, 9 ulp, 50.0 % of the tolerance (case 1, output 0)\n    \
             note: `s0` is capped at 8\n\
             long/b.pt2  unsupported           2        0\n    \
             unsupported: a\n      b (node `sin`, m.py:4)\n\
             2 archives: 1 pass, 1 unsupported"
        );
    }

    #[test]
    fn the_json_has_the_documented_form() {
        let report = Report { archives: vec![entry("a.pt2", Status::Pass), entry("b.pt2", Status::WronglyAccepted)] };
        let json: serde_json::Value = serde_json::from_str(&report.json().expect("plain data")).expect("JSON");
        let expected = serde_json::json!({
            "summary": {"pass": 1, "mismatch": 0, "unsupported": 0, "refused": 0, "wrongly_accepted": 1,
                "wrongly_refused": 0, "bug": 0, "no_golden": 0},
            "archives": [
                {"path": "a.pt2", "status": "pass", "cases": 2, "rejects": 0,
                    "worst": {"case": 1, "output": 0, "abs": 0.25, "rel": null, "ulp": 9}, "reasons": []},
                {"path": "b.pt2", "status": "wrongly_accepted", "cases": 2, "rejects": 0, "worst": null, "reasons": [
                    {"kind": "unsupported", "message": "a\nb", "node": "sin", "source": "m.py:4"}]},
            ]
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn only_what_was_said_no_to_can_be_forgiven() {
        let report = |status| Report { archives: vec![entry("a", Status::Pass), entry("b", status)] };
        for status in STATUSES {
            assert_eq!(report(status).passed(false), status == Status::Pass, "{status}");
            let forgiven = matches!(status, Status::Pass | Status::Unsupported | Status::Refused);
            assert_eq!(report(status).passed(true), forgiven, "{status}");
        }
        assert!(!Report { archives: vec![] }.passed(true));
    }
}
