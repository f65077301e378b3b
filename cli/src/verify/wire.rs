//! Jobs and results as bytes, the host's side of `harness/job.rs` (the format stands there).

use crate::golden::{Tensor, Value};
use exported_runtime::DType;

/// What a call gave.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The values of all outputs.
    Outputs(Vec<Value>),
    /// The call was refused, with this message.
    Refused(String),
}

/// What a call cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// In the program's ticks.
    pub ticks: u64,
    /// Most bytes of stack, callers not included; 0 where it was not watched.
    pub stack: u64,
}

/// All that a verification program wrote.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answers {
    /// Per output: the input whose value after the call it is, or none for a user output.
    pub mutates: Vec<Option<usize>>,
    /// The calls that ended, in order; fewer than asked for if the program broke off.
    pub calls: Vec<Answer>,
    /// What each call cost.
    pub costs: Vec<Cost>,
}

/// One call of a job.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Start from the archive's state.
    pub reset: bool,
    /// The inputs.
    pub inputs: &'a [Value],
}

/// Writes a job.
pub fn job(level: u32, calls: &[Call<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    word(&mut out, calls.len());
    out.extend(level.to_le_bytes());
    for call in calls {
        word(&mut out, usize::from(call.reset));
        word(&mut out, call.inputs.len());
        call.inputs.iter().for_each(|value| put(&mut out, value));
    }
    out
}

/// Room that the inputs of a call need in the pool of the verification program.
pub fn pool_bytes(inputs: &[Value]) -> usize {
    let bytes = |value: &Value| match value {
        Value::Tensor(t) => t.data.len().next_multiple_of(16),
        Value::Str(s) => s.len().next_multiple_of(16),
        _ => 0,
    };
    inputs.iter().map(bytes).sum()
}

fn word(out: &mut Vec<u8>, n: usize) {
    out.extend(u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes());
}

fn put(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::None => word(out, 0),
        Value::Bool(b) => {
            word(out, 1);
            word(out, usize::from(*b));
        }
        Value::Int(n) => {
            word(out, 2);
            out.extend(n.to_le_bytes());
        }
        Value::Float(x) => {
            word(out, 3);
            out.extend(x.to_le_bytes());
        }
        Value::Str(s) => {
            word(out, 4);
            word(out, s.len());
            out.extend(s.as_bytes());
        }
        Value::Tensor(t) => {
            word(out, 5);
            word(out, t.dtype as usize);
            word(out, t.shape.len());
            t.shape.iter().for_each(|size| out.extend((*size as u64).to_le_bytes()));
            out.extend((t.data.len() as u64).to_le_bytes());
            out.extend(&t.data);
        }
    }
}

/// Reads as much of a result as is whole.
pub fn answers(bytes: &[u8]) -> Answers {
    let mut answers = Answers::default();
    let mut rest = Reader(bytes);
    let Some(mutates) = rest.mutates() else { return answers };
    answers.mutates = mutates;
    while let Some((answer, cost)) = rest.answer(answers.mutates.len()) {
        answers.calls.push(answer);
        answers.costs.push(cost);
    }
    answers
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn word(&mut self) -> Option<usize> {
        let (taken, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        usize::try_from(u32::from_le_bytes(*taken)).ok()
    }

    fn long(&mut self) -> Option<u64> {
        let (taken, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*taken))
    }

    fn size(&mut self) -> Option<usize> {
        self.long().and_then(|n| usize::try_from(n).ok())
    }

    fn text(&mut self) -> Option<String> {
        let length = self.word()?;
        Some(String::from_utf8_lossy(self.take(length)?).into_owned())
    }

    fn mutates(&mut self) -> Option<Vec<Option<usize>>> {
        let count = self.word()?;
        (0..count).map(|_| self.word().map(|input| input.checked_sub(1))).collect()
    }

    fn answer(&mut self, outputs: usize) -> Option<(Answer, Cost)> {
        let answer = match self.word()? {
            0 => Answer::Outputs((0..outputs).map(|_| self.value()).collect::<Option<_>>()?),
            _ => Answer::Refused(self.text()?),
        };
        Some((answer, Cost { ticks: self.long()?, stack: self.long()? }))
    }

    fn value(&mut self) -> Option<Value> {
        Some(match self.word()? {
            0 => Value::None,
            1 => Value::Bool(self.word()? != 0),
            2 => Value::Int(self.long()? as i64),
            3 => Value::Float(f64::from_bits(self.long()?)),
            4 => Value::Str(self.text()?),
            5 => {
                let dtype = *DType::ALL.get(self.word()?)?;
                let rank = self.word()?;
                let shape: Vec<usize> = (0..rank).map(|_| self.size()).collect::<Option<_>>()?;
                let bytes = self.size()?;
                Value::Tensor(Tensor { dtype, shape, data: self.take(bytes)?.to_vec() })
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_answers_are_read_and_broken_ones_are_not() {
        let mut bytes = Vec::new();
        [2, 0, 2].iter().for_each(|n| word(&mut bytes, *n));
        word(&mut bytes, 0);
        let values = [
            Value::Tensor(Tensor { dtype: DType::I16, shape: vec![1, 2], data: vec![1, 2, 3, 4] }),
            Value::Float(-0.5),
        ];
        values.iter().for_each(|value| put(&mut bytes, value));
        bytes.extend([7u64, 70].iter().flat_map(|n| n.to_le_bytes()));
        word(&mut bytes, 1);
        word(&mut bytes, 2);
        bytes.extend(b"no");
        bytes.extend([9u64, 0].iter().flat_map(|n| n.to_le_bytes()));
        let whole = answers(&bytes);
        assert_eq!(whole.mutates, [None, Some(1)]);
        assert_eq!(whole.calls, [Answer::Outputs(values.to_vec()), Answer::Refused("no".into())]);
        assert_eq!(whole.costs, [Cost { ticks: 7, stack: 70 }, Cost { ticks: 9, stack: 0 }]);
        for cut in 12..bytes.len() {
            assert!(answers(&bytes[..cut]).calls.len() < 2);
        }
        assert_eq!(answers(&bytes[..11]), Answers::default());
    }
}
