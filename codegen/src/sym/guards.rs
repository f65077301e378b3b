//! `guards_code` (torch 2.9+): Python conditions on the arguments of a call, such as
//! `L['args']['others'][0].size()[0] == (2*L['args']['x'].size()[0])`.
//!
//! What a path means is the caller's affair: it resolves each [`LeafPath`] to the size's expression.

use std::fmt;

use super::lex::Token;
use super::parse::{Notation, Parser, read};
use super::{Expr, Kind};

/// A path into the caller's arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafPath {
    /// Name of the parameter of `forward`: `x` in `L['x']`.
    pub argument: String,
    /// Steps into nested containers.
    pub steps: Vec<Step>,
    /// What is asked of the value there.
    pub property: Property,
}

/// A step into a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// `['key']`
    Key(String),
    /// `[3]`
    Index(usize),
}

/// What a leaf stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property {
    /// The value itself, a number.
    Value,
    /// `.size()[dim]` of a tensor.
    Size(usize),
}

/// Gives each leaf its expression.
pub type Resolve<'r> = dyn FnMut(&LeafPath) -> Result<Expr, String> + 'r;

/// Reads a guard to a condition over what `resolve` makes of the leaves. Strides, storage offsets, attributes and
/// whatever else is no arithmetic on sizes and numbers is an error.
pub fn parse(text: &str, resolve: &mut Resolve) -> Result<Expr, String> {
    // A closure of our own shortens the lifetime inside the trait object to this call's.
    let mut resolve = |path: &LeafPath| resolve(path);
    let guard = read(text, Notation::Guard(&mut resolve))?;
    match guard.kind() {
        Kind::Bool => Ok(guard),
        _ => Err(format!("the guard `{text}` is no condition")),
    }
}

/// The rest of a path, after `L`.
pub(super) fn leaf(parser: &mut Parser) -> Result<LeafPath, String> {
    parser.expect(Token::Mark("["))?;
    let Token::Text(argument) = parser.next() else { return Err("`L` without the name of an argument".to_owned()) };
    parser.expect(Token::Mark("]"))?;
    let mut path = LeafPath { argument: argument.to_owned(), steps: Vec::new(), property: Property::Value };
    while parser.take(Token::Mark("[")) {
        path.steps.push(match parser.next() {
            Token::Text(key) => Step::Key(key.to_owned()),
            Token::Number(digits) => Step::Index(index(digits)?),
            _ => return Err(format!("a step into `{path}` that is neither a key nor an index")),
        });
        parser.expect(Token::Mark("]"))?;
    }
    if parser.take(Token::Mark(".")) {
        match parser.next() {
            Token::Name("size") => {}
            Token::Name(other) => return Err(format!("`.{other}` of `{path}`; only sizes can be checked")),
            _ => return Err(format!("no name after `{path}.`")),
        }
        parser.expect(Token::Mark("("))?;
        parser.expect(Token::Mark(")"))?;
        parser.expect(Token::Mark("["))?;
        let Token::Number(digits) = parser.next() else { return Err(format!("`{path}.size()` without a dim")) };
        path.property = Property::Size(index(digits)?);
        parser.expect(Token::Mark("]"))?;
    }
    Ok(path)
}

fn index(digits: &str) -> Result<usize, String> {
    digits.parse().map_err(|_| format!("`{digits}` is no index"))
}

impl fmt::Display for LeafPath {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "L['{}']", self.argument)?;
        for step in &self.steps {
            match step {
                Step::Key(key) => write!(f, "['{key}']")?,
                Step::Index(i) => write!(f, "[{i}]")?,
            }
        }
        match self.property {
            Property::Value => Ok(()),
            Property::Size(dim) => write!(f, ".size()[{dim}]"),
        }
    }
}
