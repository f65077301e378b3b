//! The flat door: one uniform way to call any compiled model, for harnesses, device servers and tools.
//!
//! The typed API of a generated module has a struct per model; here inputs and outputs are lists of [`Value`] and
//! [`ValueMut`] in the order of the exported signature, and [`Signature`] says what they must be. Tensors are bytes in
//! row-major order and native byte order, because a caller that does not know the types of a model cannot name slices of
//! them; `bool` elements are one byte, 0 or 1. A model implements [`Program`] by checking and converting, then calling
//! its own `forward`.
//!
//! A user input that the program changes in place stays an ordinary input here: its value after the call is one more
//! output, after the user outputs ([`Port::mutates`]).

use crate::words::{Frozen, Place, Words};
use crate::{DType, Demand, Error, Level, Workspace};

/// A model behind the flat door. The implementation is generated; the trait is object-safe.
pub trait Program {
    /// What the program takes and gives.
    fn signature(&self) -> &'static Signature;

    /// One call. On success every entry of `outputs` holds its value and shape; on an error neither state nor outputs
    /// have a defined new value, except that state is as before whenever the error comes from the checks at the entry.
    ///
    /// `level` is the instruction set that the kernels use, clamped to what this CPU has.
    ///
    /// # Errors
    /// [`CallError`] names the first input or output that does not fit the signature, or holds the model's own error.
    fn forward_flat(
        &mut self,
        level: Level,
        workspace: &mut Workspace<'_>,
        inputs: &[Value<'_>],
        outputs: &mut [ValueMut<'_>],
    ) -> Result<(), CallError> {
        self.forward_watched(level, workspace, inputs, outputs, None)
    }

    /// [`Program::forward_flat`] that calls `watch` with the index of every layer behind it, for profiling.
    ///
    /// # Errors
    /// As [`Program::forward_flat`].
    fn forward_watched(
        &mut self,
        level: Level,
        workspace: &mut Workspace<'_>,
        inputs: &[Value<'_>],
        outputs: &mut [ValueMut<'_>],
        watch: Option<&mut dyn FnMut(usize)>,
    ) -> Result<(), CallError>;

    /// Gives every mutated buffer the value it has in the archive.
    fn reset(&mut self);

    /// The words of the model, for [`CallError::describe`].
    fn words(&self) -> &'static Words;
}

/// What a program takes and gives, and what it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Name of the model.
    pub name: &'static str,
    /// User inputs in the order of the exported signature, specialized constants included.
    pub inputs: &'static [Port],
    /// User outputs, then one port per user input that the program changes.
    pub outputs: &'static [Port],
    /// Bytes that [`Program::forward_flat`] needs in its workspace.
    pub workspace_bytes: usize,
    /// Bytes of the mutated buffers.
    pub state_bytes: usize,
    /// Bytes of the weights.
    pub weight_bytes: usize,
}

/// One input or output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// Name of the argument, or key of the output.
    pub name: &'static str,
    /// What value goes through.
    pub kind: PortKind,
    /// On an output: the input whose value after the call this is.
    pub mutates: Option<usize>,
}

/// The kind of a [`Port`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PortKind {
    /// A tensor; one range per dim, outermost first.
    Tensor {
        /// Element type.
        dtype: DType,
        /// Sizes that can occur, before relations between dims.
        dims: &'static [Dim],
    },
    /// An integer (a symbolic size, or a specialized constant).
    Int,
    /// A floating-point number.
    Float,
    /// A truth value.
    Bool,
    /// A text, always a specialized constant.
    Str,
    /// Python's `None`.
    None,
}

/// The sizes that a dim can have, bounds included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dim {
    /// Least size.
    pub min: usize,
    /// Greatest size; memory is planned for it.
    pub max: usize,
}

impl Port {
    /// Bytes that the tensor has at most; 0 for another kind.
    pub const fn max_bytes(&self) -> usize {
        let PortKind::Tensor { dtype, dims } = self.kind else { return 0 };
        let mut bytes = dtype.size();
        let mut rest = dims;
        while let [dim, tail @ ..] = rest {
            bytes = bytes.saturating_mul(dim.max);
            rest = tail;
        }
        bytes
    }

    /// Number of dims of the tensor; 0 for another kind.
    pub const fn rank(&self) -> usize {
        match self.kind {
            PortKind::Tensor { dims, .. } => dims.len(),
            _ => 0,
        }
    }

    /// The first size above its maximum, as the error of a call.
    fn beyond(&self, input: usize, shape: &[usize]) -> Option<Error> {
        let PortKind::Tensor { dims, .. } = self.kind else { return None };
        let mut sizes = shape.iter().zip(dims).enumerate();
        let (dim, (&size, range)) = sizes.find(|(_, (size, range))| **size > range.max)?;
        let (input, dim, bound, found) = (input as u16, dim as u16, range.max as i64, size as i64);
        Some(Error::Shape { input, dim, demand: Demand::AtMost, bound, found })
    }
}

/// An input of a call.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value<'a> {
    /// A tensor, row-major; `data` is aligned for `dtype`.
    Tensor {
        /// Element type.
        dtype: DType,
        /// Sizes, outermost first.
        shape: &'a [usize],
        /// Its elements.
        data: &'a [u8],
    },
    /// An integer.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A text.
    Str(&'a str),
    /// Python's `None`.
    None,
}

/// Where an output of a call goes. The kind must be the port's.
#[derive(Debug, PartialEq)]
#[non_exhaustive]
pub enum ValueMut<'a> {
    /// A tensor.
    Tensor {
        /// Receives the sizes; one entry per dim of the port.
        shape: &'a mut [usize],
        /// Receives the elements in its first bytes; aligned for the port's dtype, and large enough for the sizes of
        /// this call ([`Port::max_bytes`] is enough for any).
        data: &'a mut [u8],
    },
    /// An integer.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A text.
    Str(&'static str),
    /// Python's `None`.
    None,
}

/// Why a call through the flat door was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallError {
    /// The number of inputs is not that of the signature.
    InputCount {
        /// How many the signature has.
        expected: usize,
        /// How many came.
        found: usize,
    },
    /// The number of outputs is not that of the signature.
    OutputCount {
        /// How many the signature has.
        expected: usize,
        /// How many came.
        found: usize,
    },
    /// An input is of another kind than its port (an integer for a tensor).
    InputKind {
        /// Index of the input.
        input: usize,
    },
    /// An input tensor has another element type than its port.
    InputDType {
        /// Index of the input.
        input: usize,
    },
    /// An input tensor has another number of dims than its port.
    InputRank {
        /// Index of the input.
        input: usize,
    },
    /// The bytes of an input tensor are not as many as its shape says, or are not aligned for its element type, or a
    /// `bool` element is neither 0 nor 1.
    InputData {
        /// Index of the input.
        input: usize,
    },
    /// An input has another value than the one the program was specialized for.
    InputConstant {
        /// Index of the input.
        input: usize,
    },
    /// An output is of another kind than its port, too small, or not aligned.
    OutputBuffer {
        /// Index of the output.
        output: usize,
    },
    /// The model itself refused: a size, a relation between inputs, an assertion of the program, a workspace too small.
    Model(Error),
}

impl From<Error> for CallError {
    fn from(error: Error) -> Self {
        CallError::Model(error)
    }
}

impl core::fmt::Display for CallError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            CallError::InputCount { expected, found } => write!(f, "expected {expected} inputs, found {found}"),
            CallError::OutputCount { expected, found } => write!(f, "expected {expected} outputs, found {found}"),
            CallError::InputKind { input } => write!(f, "input {input} is of another kind than the signature says"),
            CallError::InputDType { input } => write!(f, "input {input} has another dtype than the signature says"),
            CallError::InputRank { input } => write!(f, "input {input} has another rank than the signature says"),
            CallError::InputData { input } => {
                write!(f, "the bytes of input {input} do not fit its shape, alignment or dtype")
            }
            CallError::InputConstant { input } => {
                write!(f, "input {input} has another value than the one the program was specialized for")
            }
            CallError::OutputBuffer { output } => {
                write!(f, "output {output} is of another kind than the signature says, too small or not aligned")
            }
            CallError::Model(error) => write!(f, "{error}"),
        }
    }
}

impl core::error::Error for CallError {}

impl CallError {
    /// The error with the words of the program it came from and the inputs it is about.
    pub const fn describe<'a>(self, words: &'static Words, inputs: &'a [Value<'a>]) -> DescribedCall<'a> {
        DescribedCall { error: self, words, inputs }
    }
}

/// An error of a call that can be printed; made by [`CallError::describe`].
#[derive(Clone, Copy, Debug)]
pub struct DescribedCall<'a> {
    error: CallError,
    words: &'static Words,
    inputs: &'a [Value<'a>],
}

impl core::fmt::Display for DescribedCall<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (words, inputs) = (self.words, self.inputs);
        let about = |input: usize| {
            let value = inputs.get(input)?;
            let position = u16::try_from(input).ok()?;
            Some((words.argument(position)?, *value, Place { input: position, dim: None, words }))
        };
        let (argument, value, place) = match self.error {
            CallError::Model(error) => return error.describe(words).fmt(f),
            CallError::InputKind { input }
            | CallError::InputDType { input }
            | CallError::InputRank { input }
            | CallError::InputConstant { input } => match about(input) {
                Some(known) => known,
                None => return self.error.fmt(f),
            },
            _ => return self.error.fmt(f),
        };
        match (self.error, argument.frozen) {
            (CallError::InputRank { .. }, _) => {
                let kind = argument.kind;
                write!(
                    f,
                    "Unexpected number of dimensions in input at {place}.shape (expected {kind}, got {})",
                    Found(value)
                )?;
            }
            (_, Some(frozen)) => {
                write!(f, "Expected input at {place} to be equal to {frozen}, but got {}", Found(value))?;
            }
            _ => write!(f, "Expected input at {place} to be {}, but got {}", argument.kind, Found(value))?,
        }
        place.in_rust(f)
    }
}

/// An input as a message shows it: tensors by their type.
struct Found<'a>(Value<'a>);

impl core::fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            Value::Tensor { dtype, shape, .. } => write!(f, "{}{shape:?}", dtype.name()),
            Value::Int(v) => Frozen::Int(v).fmt(f),
            Value::Float(v) => Frozen::Float(v).fmt(f),
            Value::Bool(v) => Frozen::Bool(v).fmt(f),
            Value::Str(v) => f.write_str(v),
            Value::None => Frozen::None.fmt(f),
        }
    }
}

impl<'a> Value<'a> {
    /// The elements of a tensor that a port describes: kind, dtype, rank, static sizes, byte count and `bool` values
    /// checked. `input` is the index to name in an error. What remains to the caller are alignment, and the checks of
    /// dynamic sizes, which have an order of their own.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn tensor(&self, input: usize, port: &Port) -> Result<(&'a [usize], &'a [u8]), CallError> {
        let (PortKind::Tensor { dtype: expected, dims }, Value::Tensor { dtype, shape, data }) = (port.kind, *self)
        else {
            return Err(CallError::InputKind { input });
        };
        if dtype != expected {
            return Err(CallError::InputDType { input });
        }
        if shape.len() != dims.len() {
            return Err(CallError::InputRank { input });
        }
        let mut bytes = dtype.size();
        for (dim, (&size, range)) in shape.iter().zip(dims).enumerate() {
            if range.min == range.max && size != range.max {
                let (input, dim) = (input as u16, dim as u16);
                let (bound, found) = (range.max as i64, size as i64);
                return Err(Error::Shape { input, dim, demand: Demand::Static, bound, found }.into());
            }
            bytes = bytes.checked_mul(size).ok_or(CallError::InputData { input })?;
        }
        if data.len() != bytes || (dtype == DType::Bool && data.iter().any(|&b| b > 1)) {
            return Err(CallError::InputData { input });
        }
        Ok((shape, data))
    }
}

impl ValueMut<'_> {
    /// A copy of a tensor that the call changes, in the output for its new value. `output` is the index to name in an
    /// error, `input` the index and port of the argument.
    ///
    /// # Errors
    /// A size beyond the range of the program, for which an output need not have room; else [`CallError::OutputBuffer`]
    /// when this is no tensor, or is too small.
    pub fn copy_of(
        &mut self,
        output: usize,
        (input, port): (usize, &Port),
        shape: &[usize],
        elements: &[u8],
    ) -> Result<&mut [u8], CallError> {
        let ValueMut::Tensor { data, .. } = self else { return Err(CallError::OutputBuffer { output }) };
        match data.get_mut(..elements.len()) {
            Some(room) => {
                crate::copy_into(elements, room).map_err(|_| CallError::OutputBuffer { output })?;
                Ok(room)
            }
            None => Err(port.beyond(input, shape).map_or(CallError::OutputBuffer { output }, CallError::Model)),
        }
    }

    /// Writes a tensor: sizes and elements. `output` is the index to name in an error.
    ///
    /// # Errors
    /// [`CallError::OutputBuffer`] when this is no tensor, has another rank, or is too small.
    pub fn put_tensor(&mut self, output: usize, sizes: &[usize], bytes: &[u8]) -> Result<(), CallError> {
        let ValueMut::Tensor { shape, data } = self else { return Err(CallError::OutputBuffer { output }) };
        if shape.len() != sizes.len() {
            return Err(CallError::OutputBuffer { output });
        }
        crate::copy_into(bytes, data).map_err(|_| CallError::OutputBuffer { output })?;
        crate::copy_into(sizes, shape).map_err(|_| CallError::OutputBuffer { output })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: Port = Port {
        name: "x",
        kind: PortKind::Tensor { dtype: DType::I16, dims: &[Dim { min: 1, max: 3 }, Dim { min: 2, max: 2 }] },
        mutates: None,
    };

    fn tensor<'a>(dtype: DType, shape: &'a [usize], data: &'a [u8]) -> Value<'a> {
        Value::Tensor { dtype, shape, data }
    }

    #[test]
    fn tensors_are_written_where_they_fit() {
        let (mut shape, mut data) = ([0; 1], [0; 4]);
        let mut out = ValueMut::Tensor { shape: &mut shape, data: &mut data };
        assert_eq!(out.put_tensor(2, &[3], &[7, 8, 9]), Ok(()));
        assert_eq!(out.put_tensor(2, &[1, 1], &[7]), Err(CallError::OutputBuffer { output: 2 }));
        assert_eq!(out.put_tensor(2, &[5], &[7; 5]), Err(CallError::OutputBuffer { output: 2 }));
        assert_eq!((shape, data), ([3], [7, 8, 9, 0]));
        assert_eq!(ValueMut::None.put_tensor(0, &[], &[]), Err(CallError::OutputBuffer { output: 0 }));
    }

    #[test]
    fn changed_arguments_are_copied_where_they_fit() {
        let (mut shape, mut data) = ([0; 2], [0; 12]);
        let mut out = ValueMut::Tensor { shape: &mut shape, data: &mut data };
        assert_eq!(out.copy_of(1, (0, &PORT), &[1, 2], &[1, 2, 3, 4]), Ok(&mut [1, 2, 3, 4][..]));
        let beyond = Error::Shape { input: 0, dim: 0, demand: Demand::AtMost, bound: 3, found: 4 };
        assert_eq!(out.copy_of(1, (0, &PORT), &[4, 2], &[0; 16]), Err(CallError::Model(beyond)));
        let mut small = ValueMut::Tensor { shape: &mut [0; 2], data: &mut [0; 4] };
        assert_eq!(small.copy_of(1, (0, &PORT), &[2, 2], &[0; 8]), Err(CallError::OutputBuffer { output: 1 }));
        assert_eq!(ValueMut::None.copy_of(1, (0, &PORT), &[], &[]), Err(CallError::OutputBuffer { output: 1 }));
    }

    #[test]
    fn refusals_are_described_by_what_came() {
        extern crate std;
        use crate::words::Argument;
        use std::string::ToString;
        const WORDS: Words = Words {
            arguments: &[
                Argument { python: "*args[0]", name: "x", kind: "i16[s0, 2]", frozen: None, forms: &[] },
                Argument { python: "*args[1]", name: "n", kind: "int", frozen: Some(Frozen::Int(2)), forms: &[] },
            ],
            ..Words::NONE
        };
        let inputs = [tensor(DType::F32, &[3, 2, 1], &[]), Value::Str("two")];
        let text = |error: CallError| error.describe(&WORDS, &inputs).to_string();
        assert_eq!(
            text(CallError::InputRank { input: 0 }),
            "Unexpected number of dimensions in input at *args[0].shape (expected i16[s0, 2], got f32[3, 2, 1]) (`x`)"
        );
        let dtype = text(CallError::InputDType { input: 0 });
        assert_eq!(dtype, "Expected input at *args[0] to be i16[s0, 2], but got f32[3, 2, 1] (`x`)");
        let constant = text(CallError::InputConstant { input: 1 });
        assert_eq!(constant, "Expected input at *args[1] to be equal to 2, but got two (`n`)");
        assert_eq!(text(CallError::InputCount { expected: 2, found: 1 }), "expected 2 inputs, found 1");
    }

    #[test]
    fn sizes_of_a_port() {
        assert_eq!((PORT.max_bytes(), PORT.rank()), (12, 2));
        assert_eq!(Port { kind: PortKind::Int, ..PORT }.max_bytes(), 0);
        let scalar = Port { kind: PortKind::Tensor { dtype: DType::F64, dims: &[] }, ..PORT };
        assert_eq!((scalar.max_bytes(), scalar.rank()), (8, 0));
    }

    #[test]
    fn inputs_that_do_not_fit_are_refused_by_their_first_fault() {
        let data = [0; 8];
        assert_eq!(tensor(DType::I16, &[2, 2], &data).tensor(0, &PORT), Ok((&[2, 2][..], &data[..])));
        let refused = |value: Value<'_>| value.tensor(4, &PORT).err();
        assert_eq!(refused(Value::Int(3)), Some(CallError::InputKind { input: 4 }));
        assert_eq!(refused(tensor(DType::U16, &[2, 2], &data)), Some(CallError::InputDType { input: 4 }));
        assert_eq!(refused(tensor(DType::I16, &[2, 2, 1], &data)), Some(CallError::InputRank { input: 4 }));
        let size = Error::Shape { input: 4, dim: 1, demand: Demand::Static, bound: 2, found: 1 };
        assert_eq!(refused(tensor(DType::I16, &[2, 1], &data)), Some(CallError::Model(size)));
        assert_eq!(refused(tensor(DType::I16, &[4, 2], &[0; 16])), None, "dynamic sizes are the model's affair");
        assert_eq!(refused(tensor(DType::I16, &[3, 2], &data)), Some(CallError::InputData { input: 4 }));
        let flags = Port { kind: PortKind::Tensor { dtype: DType::Bool, dims: &[Dim { min: 2, max: 2 }] }, ..PORT };
        assert_eq!(tensor(DType::Bool, &[2], &[1, 2]).tensor(0, &flags), Err(CallError::InputData { input: 0 }));
    }
}
