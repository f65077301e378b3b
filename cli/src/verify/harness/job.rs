//! Runs the calls of one job on one model and writes down what came back. Part of every verification program, on the
//! host and on boards; it knows neither the model nor where bytes come from.
//!
//! Job: `calls: u32`, `level: u32`, then per call `reset: u32`, `count: u32` and that many values. Result: `count: u32` of
//! the outputs, per output the input it is the new value of plus one (or 0), then per call `0: u32` and the values of all
//! outputs, or `1: u32` and a text, both followed by `ticks: u64` and `stack: u64`. A value is a tag, then a number, a text
//! (`length: u32`, bytes) or `dtype: u32` (in the order of `DType::ALL`), `rank: u32`, `rank` sizes and the byte count as
//! `u64`, bytes. All numbers are little-endian.

use core::fmt::Write;
use exported_runtime::program::{DescribedCall, Port, PortKind, Program, Value, ValueMut};
use exported_runtime::{DType, Level, Workspace};

/// Where bytes come from and go to, and what time it is.
pub trait Io {
    /// Fills `bytes`; false if the job ended before.
    fn read(&mut self, bytes: &mut [u8]) -> bool;
    /// Appends to the result; false if it was not taken.
    fn write(&mut self, bytes: &[u8]) -> bool;
    /// A counter that grows with the work done.
    fn ticks(&mut self) -> u64;
    /// From here on the stack is watched, if it can be.
    fn watch_stack(&mut self) {}
    /// Most bytes of it that were used since, without those of the function that began to watch; 0 if it cannot be watched.
    fn stack(&mut self) -> u64 {
        0
    }
}

/// Dims that a tensor may have.
const RANK: usize = 16;

/// Runs a job. `pool` holds the tensors of one call, `PORTS` is the greatest number of inputs or outputs.
///
/// # Errors
/// What went wrong with the job itself; a refused call is a result.
pub fn run<const PORTS: usize>(
    program: &mut dyn Program,
    workspace: &mut Workspace<'_>,
    pool: &mut [u8],
    io: &mut impl Io,
) -> Result<(), &'static str> {
    let (calls, level) = (word(io)?, level(word(io)?)?);
    let ports = program.signature().outputs;
    put(io, &(ports.len() as u32).to_le_bytes())?;
    for port in ports {
        put(io, &port.mutates.map_or(0, |input| input as u32 + 1).to_le_bytes())?;
    }
    for _ in 0..calls {
        call::<PORTS>(program, level, workspace, &mut *pool, io)?;
    }
    Ok(())
}

fn call<const PORTS: usize>(
    program: &mut dyn Program,
    level: Level,
    workspace: &mut Workspace<'_>,
    mut pool: &mut [u8],
    io: &mut impl Io,
) -> Result<(), &'static str> {
    if word(io)? != 0 {
        program.reset();
    }
    let mut input_shapes = [[0; RANK]; PORTS];
    let mut inputs = [Value::None; PORTS];
    let inputs = inputs.get_mut(..word(io)? as usize).ok_or("more inputs than announced")?;
    for (input, shape) in inputs.iter_mut().zip(&mut input_shapes) {
        *input = read_value(io, shape, &mut pool)?;
    }
    let ports = program.signature().outputs;
    let mut output_shapes = [[0; RANK]; PORTS];
    let mut outputs = [const { ValueMut::None }; PORTS];
    let outputs = outputs.get_mut(..ports.len()).ok_or("more outputs than announced")?;
    for ((output, shape), port) in outputs.iter_mut().zip(&mut output_shapes).zip(ports) {
        *output = room_for(port, shape, &mut pool)?;
    }
    io.watch_stack();
    let start = io.ticks();
    let outcome = program.forward_flat(level, workspace, inputs, outputs);
    let ticks = io.ticks() - start;
    let stack = io.stack();
    match outcome {
        Ok(()) => {
            put(io, &0u32.to_le_bytes())?;
            outputs.iter().zip(ports).try_for_each(|(output, port)| write_value(io, output, port))?;
        }
        Err(error) => {
            put(io, &1u32.to_le_bytes())?;
            write_error(io, &error.describe(program.words(), inputs))?;
        }
    }
    put(io, &ticks.to_le_bytes())?;
    put(io, &stack.to_le_bytes())
}

fn level(code: u32) -> Result<Level, &'static str> {
    match code {
        0 => Ok(Level::detect()),
        1 => Ok(Level::Portable),
        #[cfg(target_arch = "x86_64")]
        2 if Level::detect() >= Level::Avx2 => Ok(Level::Avx2),
        #[cfg(target_arch = "x86_64")]
        3 if Level::detect() >= Level::Avx512 => Ok(Level::Avx512),
        #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
        4 => Ok(Level::Neon),
        _ => Err("this machine does not have the requested level"),
    }
}

fn room_for<'p, 'q: 'p>(port: &Port, shape: &'p mut [usize], pool: &mut &'q mut [u8]) -> Result<ValueMut<'p>, &'static str> {
    Ok(match port.kind {
        PortKind::Tensor { .. } => ValueMut::Tensor {
            shape: shape.get_mut(..port.rank()).ok_or("an output has too many dims")?,
            data: carve(pool, port.max_bytes())?,
        },
        PortKind::Int => ValueMut::Int(0),
        PortKind::Float => ValueMut::Float(0.0),
        PortKind::Bool => ValueMut::Bool(false),
        PortKind::Str => ValueMut::Str(""),
        _ => ValueMut::None,
    })
}

fn read_value<'p, 'q: 'p>(
    io: &mut impl Io,
    shape: &'p mut [usize],
    pool: &mut &'q mut [u8],
) -> Result<Value<'p>, &'static str> {
    Ok(match word(io)? {
        0 => Value::None,
        1 => Value::Bool(word(io)? != 0),
        2 => Value::Int(long(io)? as i64),
        3 => Value::Float(f64::from_bits(long(io)?)),
        4 => {
            let bytes = carve(pool, word(io)? as usize)?;
            get(io, bytes)?;
            Value::Str(core::str::from_utf8(bytes).map_err(|_| "a text is not UTF-8")?)
        }
        5 => {
            let dtype = *DType::ALL.get(word(io)? as usize).ok_or("unknown dtype")?;
            let shape = shape.get_mut(..word(io)? as usize).ok_or("an input has too many dims")?;
            for size in shape.iter_mut() {
                *size = long(io)? as usize;
            }
            let data = carve(pool, long(io)? as usize)?;
            get(io, data)?;
            Value::Tensor { dtype, shape, data }
        }
        _ => return Err("unknown kind of value"),
    })
}

fn write_value(io: &mut impl Io, value: &ValueMut<'_>, port: &Port) -> Result<(), &'static str> {
    match value {
        ValueMut::Bool(b) => put(io, &1u32.to_le_bytes()).and_then(|()| put(io, &u32::from(*b).to_le_bytes())),
        ValueMut::Int(n) => put(io, &2u32.to_le_bytes()).and_then(|()| put(io, &n.to_le_bytes())),
        ValueMut::Float(x) => put(io, &3u32.to_le_bytes()).and_then(|()| put(io, &x.to_le_bytes())),
        ValueMut::Str(text) => put(io, &4u32.to_le_bytes()).and_then(|()| write_text(io, text)),
        ValueMut::Tensor { shape, data } => write_tensor(io, port, shape, data),
        _ => put(io, &0u32.to_le_bytes()),
    }
}

fn write_tensor(io: &mut impl Io, port: &Port, shape: &[usize], data: &[u8]) -> Result<(), &'static str> {
    let PortKind::Tensor { dtype, .. } = port.kind else { return Err("a tensor where the signature has none") };
    put(io, &5u32.to_le_bytes())?;
    put(io, &(dtype as u32).to_le_bytes())?;
    put(io, &(shape.len() as u32).to_le_bytes())?;
    for size in shape {
        put(io, &(*size as u64).to_le_bytes())?;
    }
    let bytes = shape.iter().try_fold(dtype.size(), |n, size| n.checked_mul(*size));
    let data = bytes.and_then(|n| data.get(..n)).ok_or("an output is larger than its signature says")?;
    put(io, &(data.len() as u64).to_le_bytes())?;
    put(io, data)
}

fn write_text(io: &mut impl Io, text: &str) -> Result<(), &'static str> {
    put(io, &(text.len() as u32).to_le_bytes())?;
    put(io, text.as_bytes())
}

fn write_error(io: &mut impl Io, error: &DescribedCall<'_>) -> Result<(), &'static str> {
    let mut text = Text { bytes: [0; 512], length: 0 };
    // A longer message is cut.
    let _ = write!(text, "{error}");
    put(io, &(text.length as u32).to_le_bytes())?;
    put(io, text.bytes.get(..text.length).unwrap_or_default())
}

/// A text of bounded length.
struct Text {
    bytes: [u8; 512],
    length: usize,
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(core::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// The next `bytes` bytes of the pool; what remains starts on a multiple of 16.
fn carve<'p>(pool: &mut &'p mut [u8], bytes: usize) -> Result<&'p mut [u8], &'static str> {
    const FULL: &str = "the tensors of a call do not fit the pool";
    let padded = bytes.checked_next_multiple_of(16).ok_or(FULL)?;
    let (piece, rest) = core::mem::take(pool).split_at_mut_checked(padded).ok_or(FULL)?;
    *pool = rest;
    piece.get_mut(..bytes).ok_or(FULL)
}

fn get(io: &mut impl Io, bytes: &mut [u8]) -> Result<(), &'static str> {
    if io.read(bytes) { Ok(()) } else { Err("the job ends too early") }
}

fn put(io: &mut impl Io, bytes: &[u8]) -> Result<(), &'static str> {
    if io.write(bytes) { Ok(()) } else { Err("the result cannot be written") }
}

fn word(io: &mut impl Io) -> Result<u32, &'static str> {
    let mut bytes = [0; 4];
    get(io, &mut bytes).map(|()| u32::from_le_bytes(bytes))
}

fn long(io: &mut impl Io) -> Result<u64, &'static str> {
    let mut bytes = [0; 8];
    get(io, &mut bytes).map(|()| u64::from_le_bytes(bytes))
}
