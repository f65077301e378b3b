//! What a model says no with on the device.

use crate::words::Words;

/// Why a call was refused. Nothing was computed unless the variant says so, and the model's state is as before.
///
/// The words of the program (`*args[0].shape[1]`, the texts of its assertions) are not in here, so that firmware need not
/// carry them: the generated module's `describe` adds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// The workspace has fewer bytes than the model's `WORKSPACE_BYTES`.
    Workspace,
    /// Size `dim` of input `input` is outside its range, of a form that no symbol satisfies, or differs from the size
    /// another input gave the same symbol.
    Shape {
        /// Position among the inputs.
        input: u16,
        /// Position in its shape.
        dim: u16,
        /// What it must be.
        demand: Demand,
        /// The number in the demand.
        bound: i64,
        /// The size that came.
        found: i64,
    },
    /// A slice has not as many elements as the argument it was given for.
    Length {
        /// Position among the inputs.
        input: u16,
        /// Its number of elements.
        found: usize,
    },
    /// A run-time integer is outside its range, or not what another argument makes it.
    Argument {
        /// Position among the inputs.
        input: u16,
        /// What it must be.
        demand: Demand,
        /// The number in the demand.
        bound: i64,
        /// The number that came.
        found: i64,
    },
    /// An argument differs from the value frozen at export.
    Constant {
        /// Position among the inputs.
        input: u16,
        /// What came: an integer, 0 or 1 for a bool, the bits of a float; 0 for a text, which does not fit.
        found: i64,
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
    /// Saved state that is not the model's; nothing of it was taken over.
    State {
        /// What is wrong with it.
        fault: StateFault,
    },
    /// Number, dtype or shape of the values given to the flat interface is not that of the model.
    Signature,
    /// Generated code contradicts itself: a fault of `exported`, please report it.
    Internal,
}

/// What a number that the caller determines must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Demand {
    /// Equal to the size at export, which is the only one the program computes with.
    Static,
    /// Equal to what other arguments of the call make it.
    Equal,
    /// At least the bound.
    AtLeast,
    /// At most the bound.
    AtMost,
    /// Of a form such as `3*s + 4` for a positive integer `s`; the bound is the factor.
    Form,
}

/// Why saved state was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum StateFault {
    /// It is no saved state, was cut off, or is in the form of another version.
    Format,
    /// It belongs to another model, or to this one compiled otherwise.
    Fingerprint,
    /// It has not as many bytes as the model's.
    Length,
}

impl Error {
    /// The name of the variant, for logs.
    pub const fn name(self) -> &'static str {
        match self {
            Error::Workspace => "workspace too small",
            Error::Shape { .. } => "input size refused",
            Error::Length { .. } => "slice of another length",
            Error::Argument { .. } => "argument refused",
            Error::Constant { .. } => "argument differs from the frozen value",
            Error::Guard { .. } => "guard does not hold",
            Error::Assert { .. } => "assertion failed",
            Error::IndexOutOfRange { .. } => "index out of range",
            Error::Capacity => "data-dependent size too large",
            Error::Operator { .. } => "custom operator failed",
            Error::State { fault: StateFault::Format } => "no saved state",
            Error::State { fault: StateFault::Fingerprint } => "state of another model",
            Error::State { fault: StateFault::Length } => "state of another length",
            Error::Signature => "signature mismatch",
            Error::Internal => "internal error",
        }
    }
}

impl core::fmt::Display for Error {
    /// Positions where [`Error::describe`] has names.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.describe(&Words::NONE).fmt(f)
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
        let shape = Error::Shape { input: 1, dim: 0, demand: Demand::AtLeast, bound: 3, found: 2 };
        assert_eq!(shape.to_string(), "Expected dim 0 of input 1 to be >= 3, but got 2");
        assert_eq!(Error::Guard { index: 4 }.to_string(), "guard does not hold (number 4)");
        assert_eq!(Error::Workspace.to_string(), "workspace too small");
    }
}
