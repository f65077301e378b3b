//! What an error means, in the words of the program it came from.
//!
//! Generated code has one table of words per model and a function `describe` that joins the two. Nothing else names the
//! table, so that an image in which nobody describes errors contains neither texts nor formatting.
//!
//! Sentences are PyTorch's own where it has one for the same fault, so that a message can be looked up and compared;
//! the name of the argument in Rust follows in parentheses.

use crate::error::{Demand, Error};
use core::fmt::{Display, Formatter, Result};

/// The words of a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Words {
    /// All arguments, in the order in which errors count them.
    pub arguments: &'static [Argument],
    /// What the program demands of sizes, beyond single dims.
    pub guards: &'static [&'static str],
    /// What the program demands of computed values.
    pub asserts: &'static [&'static str],
}

/// The words about one argument.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Argument {
    /// How Python reaches it: `*args[0]['x']`.
    pub python: &'static str,
    /// Its path in `Inputs`: `batch.x`.
    pub name: &'static str,
    /// What it must be: `f32[s77, 3]`, `int`, or the frozen value.
    pub kind: &'static str,
    /// A frozen value; `None` for what differs from call to call.
    pub frozen: Option<Frozen>,
    /// Dims that must be of a form, and the form: `(0, "2*s44, where s44 is an integer")`. An integer has dim 0.
    pub forms: &'static [(u16, &'static str)],
}

/// A Python value that was frozen at export.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Frozen {
    /// `int`
    Int(i64),
    /// `float`
    Float(f64),
    /// `bool`
    Bool(bool),
    /// `str`
    Str(&'static str),
    /// `None`
    None,
}

impl Words {
    /// No words: errors are described by position.
    pub const NONE: Words = Words { arguments: &[], guards: &[], asserts: &[] };
}

impl Error {
    /// The error with the words of the program it came from.
    pub const fn describe(self, words: &'static Words) -> Described {
        Described { error: self, words }
    }
}

/// An error that can be printed; made by [`Error::describe`].
#[derive(Clone, Copy, Debug)]
pub struct Described {
    error: Error,
    words: &'static Words,
}

impl Display for Described {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let numbered = |f: &mut Formatter<'_>, texts: &[&str], index: u16| match texts.get(usize::from(index)) {
            Some(text) => f.write_str(text),
            None => write!(f, "{} (number {index})", self.error.name()),
        };
        match self.error {
            Error::Shape { input, dim, demand, bound, found } => {
                self.number(f, Place { input, dim: Some(dim), words: self.words }, demand, bound, found)
            }
            Error::Argument { input, demand, bound, found } => {
                self.number(f, Place { input, dim: None, words: self.words }, demand, bound, found)
            }
            Error::Constant { input, found } => self.constant(f, input, found),
            Error::Length { input, found } => {
                let kind = self.words.argument(input).map_or("its elements", |argument| argument.kind);
                let place = Place { input, dim: None, words: self.words };
                write!(f, "Expected a slice at {place} of the elements of {kind}, but got {found}")?;
                place.in_rust(f)
            }
            Error::Guard { index } => numbered(f, self.words.guards, index),
            Error::Assert { index } => numbered(f, self.words.asserts, index),
            Error::IndexOutOfRange { index, size } => write!(f, "index out of range: {index} for size {size}"),
            Error::Operator { code } => write!(f, "{} (code {code})", self.error.name()),
            _ => f.write_str(self.error.name()),
        }
    }
}

impl Described {
    fn number(&self, f: &mut Formatter<'_>, place: Place, demand: Demand, bound: i64, found: i64) -> Result {
        let relation = match demand {
            Demand::Static | Demand::Equal => "equal to",
            Demand::AtLeast => ">=",
            Demand::AtMost => "<=",
            Demand::Form => {
                let forms = self.words.argument(place.input).map_or(&[][..], |argument| argument.forms);
                let form = forms.iter().find(|(dim, _)| *dim == place.dim.unwrap_or(0));
                let input = if forms.is_empty() { "" } else { "input " };
                write!(f, "Expected {input}{place} = {found} to be of the form ")?;
                match form {
                    Some((_, form)) => f.write_str(form)?,
                    None => write!(f, "{bound}*s + n, where s is a positive integer")?,
                }
                return place.in_rust(f);
            }
        };
        let input = if self.words.argument(place.input).is_some() { "input at " } else { "" };
        write!(f, "Expected {input}{place} to be {relation} {bound}, but got {found}")?;
        place.in_rust(f)?;
        match demand {
            Demand::Static => f.write_str(
                ". If you meant for this dimension to be dynamic, please re-export and specify dynamic_shapes \
                 (e.g. with Dim.DYNAMIC)",
            ),
            _ => Ok(()),
        }
    }

    fn constant(&self, f: &mut Formatter<'_>, input: u16, found: i64) -> Result {
        let place = Place { input, dim: None, words: self.words };
        let Some(frozen) = self.words.argument(input).and_then(|argument| argument.frozen) else {
            return write!(f, "{} ({place})", self.error.name());
        };
        write!(f, "Expected input at {place} to be equal to {frozen}")?;
        match frozen {
            Frozen::Int(_) => write!(f, ", but got {found}")?,
            Frozen::Float(_) => write!(f, ", but got {}", Frozen::Float(f64::from_bits(found as u64)))?,
            Frozen::Bool(_) => write!(f, ", but got {}", Frozen::Bool(found != 0))?,
            Frozen::Str(_) | Frozen::None => {}
        }
        place.in_rust(f)
    }
}

impl Words {
    pub(crate) fn argument(&self, input: u16) -> Option<&'static Argument> {
        self.arguments.get(usize::from(input))
    }
}

/// An argument, or a dim of one.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) input: u16,
    pub(crate) dim: Option<u16>,
    pub(crate) words: &'static Words,
}

impl Place {
    /// The name in Rust, where there is one.
    pub(crate) fn in_rust(&self, f: &mut Formatter<'_>) -> Result {
        match (self.words.argument(self.input), self.dim) {
            (Some(argument), Some(dim)) => write!(f, " (dim {dim} of `{}`)", argument.name),
            (Some(argument), None) => write!(f, " (`{}`)", argument.name),
            (None, _) => Ok(()),
        }
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match (self.words.argument(self.input), self.dim) {
            (Some(argument), Some(dim)) => write!(f, "{}.shape[{dim}]", argument.python),
            (Some(argument), None) => f.write_str(argument.python),
            (None, Some(dim)) => write!(f, "dim {dim} of input {}", self.input),
            (None, None) => write!(f, "input {}", self.input),
        }
    }
}

impl Display for Frozen {
    /// As Python's `str`, except for the exponents of very small and large floats.
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Frozen::Int(value) => write!(f, "{value}"),
            Frozen::Float(value) if value.is_nan() => f.write_str("nan"),
            Frozen::Float(value) => write!(f, "{value:?}"),
            Frozen::Bool(true) => f.write_str("True"),
            Frozen::Bool(false) => f.write_str("False"),
            Frozen::Str(text) => f.write_str(text),
            Frozen::None => f.write_str("None"),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    const WORDS: Words = Words {
        arguments: &[
            Argument {
                python: "*args[0]['x']",
                name: "batch.x",
                kind: "f32[2*s44, 3]",
                frozen: None,
                forms: &[(0, "2*s44, where s44 is an integer")],
            },
            Argument { python: "*args[1]", name: "gain", kind: "float", frozen: Some(Frozen::Float(2.5)), forms: &[] },
            Argument { python: "*args[2]", name: "mode", kind: "str", frozen: Some(Frozen::Str("relu")), forms: &[] },
        ],
        guards: &["Guard failed: x.size()[0] % 4 == 0"],
        asserts: &[],
    };

    fn shape(demand: Demand, bound: i64, found: i64) -> Error {
        Error::Shape { input: 0, dim: 0, demand, bound, found }
    }

    #[test]
    fn sentences_are_pytorchs_with_the_name_in_rust() {
        let text = |error: Error| error.describe(&WORDS).to_string();
        assert_eq!(
            text(shape(Demand::AtLeast, 3, 2)),
            "Expected input at *args[0]['x'].shape[0] to be >= 3, but got 2 (dim 0 of `batch.x`)"
        );
        assert_eq!(
            text(shape(Demand::Form, 2, 7)),
            "Expected input *args[0]['x'].shape[0] = 7 to be of the form 2*s44, where s44 is an integer (dim 0 of `batch.x`)"
        );
        let help = text(shape(Demand::Static, 3, 4));
        assert!(help.starts_with("Expected input at *args[0]['x'].shape[0] to be equal to 3, but got 4 ("), "{help}");
        assert!(help.ends_with("please re-export and specify dynamic_shapes (e.g. with Dim.DYNAMIC)"), "{help}");
        assert_eq!(text(Error::Guard { index: 0 }), "Guard failed: x.size()[0] % 4 == 0");
        let gain = Error::Constant { input: 1, found: 2f64.to_bits() as i64 };
        assert_eq!(text(gain), "Expected input at *args[1] to be equal to 2.5, but got 2.0 (`gain`)");
        let mode = Error::Constant { input: 2, found: 0 };
        assert_eq!(text(mode), "Expected input at *args[2] to be equal to relu (`mode`)");
        let length = Error::Length { input: 0, found: 5 };
        assert_eq!(
            text(length),
            "Expected a slice at *args[0]['x'] of the elements of f32[2*s44, 3], but got 5 (`batch.x`)"
        );
    }

    #[test]
    fn without_words_there_are_positions() {
        assert_eq!(shape(Demand::Equal, 3, 2).to_string(), "Expected dim 0 of input 0 to be equal to 3, but got 2");
        let text = shape(Demand::Form, 2, 7).to_string();
        assert_eq!(text, "Expected dim 0 of input 0 = 7 to be of the form 2*s + n, where s is a positive integer");
        let constant = Error::Constant { input: 2, found: 0 };
        assert_eq!(constant.to_string(), "argument differs from the frozen value (input 2)");
        assert_eq!(Error::Assert { index: 1 }.describe(&WORDS).to_string(), "assertion failed (number 1)");
    }
}
