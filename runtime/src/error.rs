//! What a model answers at run time when it must say no.

use core::fmt;

/// Why a call failed. Small and `Copy`: no text is carried on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// An index read from a tensor lies outside the dim it selects from.
    IndexOutOfRange {
        /// The index as read.
        index: i64,
        /// Size of the dim.
        size: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::IndexOutOfRange { index, size } => write!(f, "index {index} is out of range for size {size}"),
        }
    }
}

impl core::error::Error for Error {}
