//! What the host says when it must say no.
//!
//! Every stage collects [`Diagnostic`]s and goes on as far as it can, so that a model with twelve faults gives twelve
//! lines in one build. Messages follow one style: lower-case start, no full stop, names in backticks, what was found,
//! what was expected; what to do stands in `help`.

use std::fmt;

/// Whose fault it is, and so what the reader can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The file is damaged, truncated, hostile or not a `torch.export` archive.
    Damaged,
    /// The program is valid, but something in it is not supported (yet).
    Unsupported,
    /// The program breaks, or cannot keep, a promise of `torch.export` as the options ask for it
    /// (train mode, an unbounded dimension, a specialization that does not hold).
    Violated,
    /// An option or argument of ours was used wrongly.
    Usage,
    /// Our own fault: please report it.
    Bug,
}

impl Kind {
    /// The word shown in reports and in `--json`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Damaged => "damaged file",
            Kind::Unsupported => "unsupported",
            Kind::Violated => "violated constraint",
            Kind::Usage => "wrong usage",
            Kind::Bug => "internal error",
        }
    }
}

/// Where a graph node came from: the user's own words for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Name of the node in the archive (`conv2d_3`).
    pub node: String,
    /// Operator as the archive names it (`aten.conv2d.default`), without the `torch.ops.` prefix.
    pub target: String,
    /// Module path (`features.0.conv`), empty at the top level.
    pub module: String,
    /// Class of the innermost module (`torch.nn.modules.conv.Conv2d`).
    pub class: String,
    /// `file.py:42` of the innermost frame outside the torch package; file name only, never a directory.
    pub source: Option<String>,
    /// The text of that line.
    pub code: Option<String>,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whose fault.
    pub kind: Kind,
    /// What was found and what was expected.
    pub message: String,
    /// The node, if the fault lies at one.
    pub origin: Option<Box<Origin>>,
    /// What to do.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A fault without a place.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Diagnostic { kind, message: message.into(), origin: None, help: None }
    }

    /// A fault of the file.
    pub fn damaged(message: impl Into<String>) -> Self {
        Self::new(Kind::Damaged, message)
    }

    /// Something that is not supported.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(Kind::Unsupported, message)
    }

    /// A promise that cannot be kept.
    pub fn violated(message: impl Into<String>) -> Self {
        Self::new(Kind::Violated, message)
    }

    /// Our own fault.
    pub fn bug(message: impl Into<String>) -> Self {
        Self::new(Kind::Bug, message).help("this is a fault of `exported`: please report it with the archive")
    }

    /// Names the node.
    #[must_use]
    pub fn at(mut self, origin: &Origin) -> Self {
        self.origin = Some(Box::new(origin.clone()));
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.name(), self.message)?;
        if let Some(o) = &self.origin {
            write!(f, "\n  at node `{}`", o.node)?;
            if !o.target.is_empty() {
                write!(f, " ({})", o.target)?;
            }
            if !o.module.is_empty() {
                write!(f, " in module `{}`", o.module)?;
            }
            if let Some(source) = &o.source {
                write!(f, "\n  from {source}")?;
                if let Some(code) = &o.code {
                    write!(f, ": {code}")?;
                }
            }
        }
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

/// All faults of one archive; never empty when returned as an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Errors(pub Vec<Diagnostic>);

impl Errors {
    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// Adds those of another stage.
    pub fn extend(&mut self, other: Errors) {
        self.0.extend(other.0);
    }

    /// `Ok(value)` when nothing was collected.
    ///
    /// # Errors
    /// The collected faults, if there are any.
    pub fn into_result<T>(self, value: T) -> Result<T, Errors> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl From<Diagnostic> for Errors {
    fn from(diagnostic: Diagnostic) -> Self {
        Errors(vec![diagnostic])
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, d) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n\n")?;
            }
            write!(f, "{d}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}
