//! Custom operators: what a call of one says.
//!
//! An archive holds no schemas. What is known of an operator is what its calls show: the arguments they give, by name and
//! in order, and the types of the results. An argument that equals its default is not in the file.

use super::TensorType;
use crate::sym::Expr;
use exported_runtime::DType;

/// A call of a custom operator.
#[derive(Clone, Debug, PartialEq)]
pub struct Custom {
    /// Target without `torch.ops.` (`fixtures.scaled_relu.default`).
    pub target: String,
    /// The arguments that the call gives, by name.
    pub arguments: Vec<(String, Given)>,
    /// Types of the results, as the archive recorded them.
    pub results: Vec<TensorType>,
    /// The user says that nothing but its results matters: a call whose results nobody needs may be left out.
    pub pure: bool,
}

/// An argument of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    /// `None`.
    None,
    /// A tensor: index of an operand of the node.
    Tensor(usize),
    /// A list of tensors.
    Tensors(Vec<usize>),
    /// An integer, maybe symbolic.
    Int(Expr),
    /// A float, maybe symbolic.
    Float(Expr),
    /// A truth value, maybe symbolic.
    Bool(Expr),
    /// A text.
    Str(String),
    /// A list of integers, maybe symbolic.
    Ints(Vec<Expr>),
    /// A list of floats.
    Floats(Vec<f64>),
    /// A list of truth values.
    Bools(Vec<bool>),
    /// A dtype.
    Dtype(DType),
}

impl Custom {
    /// Types of the results on operands of these types: nothing but what was recorded is known.
    ///
    /// # Errors
    /// Arguments that are no operands.
    pub fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        let is_there = |given: &Given| match given {
            Given::Tensor(i) => *i < inputs.len(),
            Given::Tensors(list) => list.iter().all(|i| *i < inputs.len()),
            _ => true,
        };
        match self.arguments.iter().all(|(_, given)| is_there(given)) {
            true => Ok(self.results.clone()),
            false => Err(format!("`{}` has only {} operands", self.name(), inputs.len())),
        }
    }

    /// `fixtures::scaled_relu`, as Python registers it; another overload than the default one is named, too.
    pub fn name(&self) -> String {
        let mut parts = self.target.splitn(3, '.');
        let [namespace, name, overload] = [parts.next(), parts.next(), parts.next()].map(Option::unwrap_or_default);
        match overload {
            "" | "default" => format!("{namespace}::{name}"),
            overload => format!("{namespace}::{name}.{overload}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_registration() {
        let name = |target: &str| {
            let target = target.to_string();
            Custom { target, arguments: vec![], results: vec![], pure: false }.name()
        };
        assert_eq!(name("mylib.twice.default"), "mylib::twice");
        assert_eq!(name("mylib.twice.out"), "mylib::twice.out");
    }
}
