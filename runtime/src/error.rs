//! What a model says no with on the device.

/// Why a call was refused. Nothing was computed unless the variant says so, and the model's state is as before.
///
/// `index` counts the entries of the generated module's `INPUTS`, `GUARDS` or `ASSERTS`, where the words are; the
/// firmware need not carry them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// The workspace has fewer bytes than the model's `WORKSPACE_BYTES`.
    Workspace,
    /// Size `dim` of input `input` is outside its range, of a form that no symbol satisfies, or differs from the size
    /// another input gave the same symbol.
    Shape {
        /// Position among the tensor inputs.
        input: u16,
        /// Position in its shape.
        dim: u16,
    },
    /// A run-time integer argument is outside its range, or an argument differs from the value frozen at export.
    Argument {
        /// Position among the inputs.
        input: u16,
    },
    /// A condition of the model on its input sizes does not hold.
    Guard {
        /// Position in `GUARDS`.
        index: u16,
    },
    /// A condition of the model on computed values does not hold; found while running.
    Assert {
        /// Position in `ASSERTS`.
        index: u16,
    },
    /// An index read from a tensor (embedding, gather, scatter) lies outside the dim it selects from; found while running.
    IndexOutOfRange {
        /// The index as read.
        index: i64,
        /// Size of the dim.
        size: usize,
    },
    /// A size is larger than the memory for it: a buffer of the caller, or the plan for a size that depends on data.
    Capacity,
    /// A custom operator failed; found while running.
    Operator {
        /// Its own reason.
        code: u16,
    },
    /// Saved state of another length, hence of another model.
    State,
    /// Number, dtype or shape of the values given to the flat interface is not that of the model.
    Signature,
    /// Generated code contradicts itself: a fault of `exported`, please report it.
    Internal,
}

impl Error {
    /// The name of the variant, for logs.
    pub const fn name(self) -> &'static str {
        match self {
            Error::Workspace => "workspace too small",
            Error::Shape { .. } => "input size refused",
            Error::Argument { .. } => "argument refused",
            Error::Guard { .. } => "guard does not hold",
            Error::Assert { .. } => "assertion failed",
            Error::IndexOutOfRange { .. } => "index out of range",
            Error::Capacity => "data-dependent size too large",
            Error::Operator { .. } => "custom operator failed",
            Error::State => "state of another model",
            Error::Signature => "signature mismatch",
            Error::Internal => "internal error",
        }
    }
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())?;
        match self {
            Error::Shape { input, dim } => write!(f, " (input {input}, dim {dim})"),
            Error::Argument { input } => write!(f, " (input {input})"),
            Error::Guard { index } | Error::Assert { index } => write!(f, " (number {index})"),
            Error::Operator { code } => write!(f, " (code {code})"),
            Error::IndexOutOfRange { index, size } => write!(f, " ({index} for size {size})"),
            _ => Ok(()),
        }
    }
}

impl core::error::Error for Error {}

#[cfg(feature = "serde")]
impl serde_core::Serialize for Error {
    /// As the text of `Display`.
    fn serialize<S: serde_core::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn errors_are_small_and_readable() {
        assert!(size_of::<Error>() <= 24);
        assert_eq!(Error::Shape { input: 1, dim: 0 }.to_string(), "input size refused (input 1, dim 0)");
        assert_eq!(Error::Workspace.to_string(), "workspace too small");
    }
}
