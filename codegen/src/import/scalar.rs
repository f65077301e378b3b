//! Scalar nodes: sizes, arithmetic on them and assertions. They compute at import time, as expressions.

use super::{Importer, Number};
use crate::diag::{Diagnostic, Origin};
use crate::ir::{Guard, Op, TensorType};
use crate::schema::{Argument, NameOr, Node, Sym, SymInt};
use crate::sym::{Expr, Interval, Symbol};
use exported_runtime::DType;

type Result<T> = std::result::Result<T, Diagnostic>;

/// Whether a target computes with scalars only (or asserts something about them).
pub(super) fn is_scalar(target: &str) -> bool {
    let exact = [
        "aten.sym_size.int",
        "aten.sym_size.default",
        "aten.sym_numel.default",
        "aten.sym_stride.int",
        "aten.sym_storage_offset.default",
        "aten._assert_scalar.default",
        "aten._assert_async.default",
        "aten._assert_async.msg",
        "aten.sym_constrain_range.default",
        "aten.sym_constrain_range_for_size.default",
        "aten._assert_tensor_metadata.default",
        "aten.item.default",
        "aten._local_scalar_dense.default",
    ];
    exact.contains(&target)
        || ["_operator.", "math.", "torch.sym_", "torch._sym_"].iter().any(|p| target.starts_with(p))
}

impl<'a> Importer<'a> {
    /// The scalar of that name.
    pub(super) fn scalar(&self, name: &str) -> Result<Number> {
        self.scalars
            .get(name)
            .cloned()
            .ok_or_else(|| Diagnostic::damaged(format!("scalar `{name}` is used before it is defined")))
    }

    pub(super) fn sym_int(&self, size: &NameOr<i64>) -> Result<Expr> {
        match size {
            NameOr::Value(v) => Ok(Expr::Int(*v)),
            NameOr::Name(name) => match self.scalar(name)? {
                Number::Int(e) => Ok(e),
                _ => Err(Diagnostic::damaged(format!("`{name}` is no integer"))),
            },
        }
    }

    pub(super) fn scalar_node(&mut self, node: &'a Node, origin: &Origin) -> Result<()> {
        let short = origin.target.rsplit_once('.').map_or("", |(_, name)| name);
        let value = match origin.target.as_str() {
            "aten._assert_scalar.default" => return self.assert_scalar(node, origin),
            "aten._assert_async.default" | "aten._assert_async.msg" => return self.assert_tensor(node, origin),
            // Bounds of unbacked symbols stand in the range table; metadata of tensors is static here.
            "aten.sym_constrain_range.default" | "aten.sym_constrain_range_for_size.default" => return Ok(()),
            "aten._assert_tensor_metadata.default" => return self.assert_metadata(node),
            "aten.item.default" | "aten._local_scalar_dense.default" => return self.item(node, origin),
            "aten.sym_stride.int" | "aten.sym_storage_offset.default" => {
                return Err(Diagnostic::unsupported("arithmetic on strides or storage offsets"));
            }
            "aten.sym_size.int" => Number::Int(self.size(node)?),
            "aten.sym_numel.default" => {
                let shape = self.shape_of(node)?;
                Number::Int(Expr::product(shape))
            }
            _ => self.compute(short, node)?,
        };
        let name = node.outputs.iter().flat_map(Argument::names).next();
        let name = name.ok_or_else(|| Diagnostic::damaged("a scalar operation without a result"))?;
        self.check_scalar(name, &value)?;
        self.scalars.insert(name, value);
        Ok(())
    }

    /// `x.item()`. A number becomes a symbol that has its value from here on, a truth value the condition that its symbol
    /// is 1. To operators that take a tensor or a number, a float is also the tensor it is; its symbol has a value only
    /// where something is computed with it.
    fn item(&mut self, node: &'a Node, origin: &Origin) -> Result<()> {
        let value = match node.inputs.first().map(|i| &i.arg) {
            Some(Argument::Tensor(name)) => self.tensor(name)?,
            _ => return Err(Diagnostic::damaged("`.item()` of something that is no tensor")),
        };
        let known = self.graph.ty(value).is_single();
        match node.outputs.first() {
            Some(Argument::SymFloat(NameOr::Name(name))) if known && self.graph.ty(value).dtype.is_float() => {
                let op = Op::View(crate::ir::View::Reshape(Vec::new()));
                let ty = TensorType { dtype: self.graph.ty(value).dtype, shape: Vec::new() };
                let scalar = self.graph.add_value(name, ty);
                self.graph.nodes.push(crate::ir::Node {
                    op,
                    inputs: vec![value],
                    outputs: vec![scalar],
                    origin: origin.clone(),
                });
                self.items.insert(name, scalar);
                if self.computed_with(name) {
                    let recorded = self.scope.sym_float_values.get(name);
                    let symbol = self.recorded_item(name, recorded)?;
                    self.scalars.insert(name, Number::SymFloat(Expr::Symbol(symbol.clone())));
                    self.push_item(symbol, value, origin);
                }
                Ok(())
            }
            Some(Argument::SymBool(NameOr::Name(name))) if known && self.graph.ty(value).dtype == DType::Bool => {
                let recorded = self.scope.sym_bool_values.get(name);
                let symbol = self.recorded_item(name, recorded)?;
                self.scalars.insert(name, Number::Bool(Expr::eq(Expr::Symbol(symbol.clone()), 1)));
                self.push_item(symbol, value, origin);
                Ok(())
            }
            Some(Argument::SymInt(NameOr::Name(name))) if known && self.graph.ty(value).dtype.is_int() => {
                let recorded = self.scope.sym_int_values.get(name);
                let symbol = self.recorded_item(name, recorded)?;
                self.scalars.insert(name, Number::Int(Expr::Symbol(symbol.clone())));
                self.push_item(symbol, value, origin);
                Ok(())
            }
            _ => Err(Diagnostic::damaged("`.item()` of another kind than its tensor, or of more than one element")),
        }
    }

    /// The symbol of a number that is read; of a truth value the archive records `u0 == 1`.
    pub(super) fn recorded_item<T>(&self, name: &str, recorded: Option<&Sym<T>>) -> Result<Symbol> {
        let expr = match recorded {
            Some(Sym::Expr(e)) => crate::sym::parse(&e.expr_str).map_err(Diagnostic::damaged)?,
            _ => return Err(Diagnostic::damaged(format!("`{name}` has no recorded symbol"))),
        };
        let symbols = expr.symbols();
        match (symbols.first(), symbols.len()) {
            (Some(symbol), 1) => Ok(symbol.clone()),
            _ => Err(Diagnostic::damaged(format!("`{name}` is recorded as `{expr}`"))),
        }
    }

    pub(super) fn push_item(&mut self, symbol: Symbol, value: crate::ir::ValueId, origin: &Origin) {
        self.unbacked.insert(symbol.clone());
        let (op, origin) = (Op::Item { symbol }, origin.clone());
        self.graph.nodes.push(crate::ir::Node { op, inputs: vec![value], outputs: vec![], origin });
    }

    /// Whether a scalar is more than an argument of tensor operators.
    fn computed_with(&self, name: &str) -> bool {
        let computes = |node: &&Node| is_scalar(&node.target) || node.target.contains("higher_order");
        let inputs = self.scope.nodes.iter().filter(computes).flat_map(|n| n.inputs.iter().map(|input| &input.arg));
        inputs.chain(&self.scope.outputs).any(|argument| argument.names().any(|used| used == name))
    }

    /// A recorded integer must agree with ours where both are known. (Recorded truth values are what torch concluded,
    /// not what holds: they are not looked at.)
    fn check_scalar(&self, name: &str, value: &Number) -> Result<()> {
        let recorded = self.scope.sym_int_values.get(name);
        match (recorded, value) {
            (Some(SymInt::Value(r)), Number::Int(Expr::Int(v))) if r != v => {
                Err(Diagnostic::damaged(format!("`{name}` is recorded as {r}, but the operation gives {v}")))
            }
            _ => Ok(()),
        }
    }

    fn shape_of(&mut self, node: &Node) -> Result<Vec<Expr>> {
        match node.inputs.first().map(|i| &i.arg) {
            Some(Argument::Tensor(name)) => {
                let value = self.tensor(name)?;
                Ok(self.graph.ty(value).shape.clone())
            }
            _ => Err(Diagnostic::damaged("the size of something that is no tensor")),
        }
    }

    fn size(&mut self, node: &Node) -> Result<Expr> {
        let shape = self.shape_of(node)?;
        let dim = match node.inputs.get(1).map(|i| &i.arg) {
            Some(Argument::Int(d)) => *d,
            _ => return Err(Diagnostic::damaged("the dim of `sym_size` is no integer")),
        };
        let index = if dim < 0 { dim + shape.len() as i64 } else { dim };
        let size = usize::try_from(index).ok().and_then(|i| shape.get(i).cloned());
        size.ok_or_else(|| Diagnostic::damaged(format!("dim {dim} of a tensor with {} dims", shape.len())))
    }

    fn compute(&self, name: &str, node: &Node) -> Result<Number> {
        let operands: Vec<Expr> = node.inputs.iter().map(|i| self.operand(&i.arg)).collect::<Result<_>>()?;
        let unknown = || Diagnostic::unsupported(format!("scalar operation `{}`", node.target));
        let expr = match (name, operands.as_slice()) {
            ("add", [a, b]) => Expr::add(a, b),
            ("sub", [a, b]) => Expr::sub(a, b),
            ("mul", [a, b]) => Expr::mul(a, b),
            ("floordiv", [a, b]) => Expr::floordiv(a, b),
            ("mod", [a, b]) => Expr::modulo(a, b),
            ("truediv", [a, b]) => Expr::truediv(a, b),
            ("pow", [a, b]) => Expr::pow(a, b),
            ("neg", [a]) => Expr::neg(a),
            ("pos", [a]) => a.clone(),
            ("lshift", [a, b]) => Expr::lshift(a, b),
            ("rshift", [a, b]) => Expr::rshift(a, b),
            ("eq", [a, b]) => Expr::eq(a, b),
            ("ne", [a, b]) => Expr::ne(a, b),
            ("lt", [a, b]) => Expr::lt(a, b),
            ("le", [a, b]) => Expr::le(a, b),
            ("gt", [a, b]) => Expr::gt(a, b),
            ("ge", [a, b]) => Expr::ge(a, b),
            ("and_", [a, b]) => Expr::and(a, b),
            ("or_", [a, b]) => Expr::or(a, b),
            ("not_" | "sym_not", [a]) => Expr::not(a),
            ("sym_max", [a, b]) => Expr::max(a, b),
            ("sym_min", [a, b]) => Expr::min(a, b),
            ("sym_float", [a]) => Expr::to_float(a),
            ("sym_int" | "trunc", [a]) => Expr::trunc(a),
            ("ceil", [a]) => Expr::ceil(a),
            ("floor", [a]) => Expr::floor(a),
            ("round", [a]) => Expr::round(a),
            ("sym_sqrt" | "_sym_sqrt" | "sqrt", [a]) => Expr::sqrt(a),
            ("sym_ite", [c, a, b]) => Expr::ite(c, a, b),
            _ => return Err(unknown()),
        };
        // Nodes share their operands, so a chain of few nodes can stand for an expression without end.
        if !expr.within_limits() {
            return Err(Diagnostic::unsupported("a size expression beyond all measure"));
        }
        Ok(number(self.graph.shortened(expr)))
    }

    fn operand(&self, argument: &Argument) -> Result<Expr> {
        let of = |n: Number| match n {
            Number::Int(e) | Number::Bool(e) | Number::SymFloat(e) => e,
            Number::Float(f) => Expr::float(f),
        };
        Ok(match argument {
            Argument::Int(v) | Argument::SymInt(NameOr::Value(v)) => Expr::Int(*v),
            Argument::Float(v) | Argument::SymFloat(NameOr::Value(v)) => Expr::float(*v),
            Argument::Bool(v) | Argument::SymBool(NameOr::Value(v)) => Expr::Bool(*v),
            Argument::SymInt(NameOr::Name(n))
            | Argument::SymFloat(NameOr::Name(n))
            | Argument::SymBool(NameOr::Name(n)) => of(self.scalar(n)?),
            other => return Err(Diagnostic::damaged(format!("operand {other:?} is no scalar"))),
        })
    }

    /// A condition on sizes becomes an entry check, unless the ranges prove it.
    fn assert_scalar(&mut self, node: &'a Node, origin: &Origin) -> Result<()> {
        let condition = match node.inputs.first().map(|i| &i.arg) {
            Some(argument) => self.operand(argument)?,
            None => return Err(Diagnostic::damaged("an assertion without a condition")),
        };
        let message = stated(node).unwrap_or_else(|| format!("assertion {condition}"));
        // What a range says of a symbol read from data is what such assertions say: it proves none of them.
        let on_data = condition.symbols().iter().any(|s| self.unbacked.contains(s));
        match self.conditional || on_data {
            true if !on_data && condition.prove(&crate::check::relaxed(&self.graph)) == Some(true) => {}
            true => self.graph.assert(condition, message, origin),
            false => self.graph.guards.push(Guard { condition, message, origin: Some(origin.clone()) }),
        }
        Ok(())
    }

    /// That a tensor of one truth value is true: it is read like `.item()`, into a symbol of our own.
    fn assert_tensor(&mut self, node: &'a Node, origin: &Origin) -> Result<()> {
        let Some(Argument::Tensor(name)) = node.inputs.first().map(|i| &i.arg) else {
            return Err(Diagnostic::damaged("an assertion without a condition"));
        };
        let value = self.tensor(name)?;
        let TensorType { dtype, shape } = self.graph.ty(value);
        if *dtype != DType::Bool || shape.iter().any(|size| *size != Expr::Int(1)) {
            return Err(Diagnostic::unsupported(format!("an assertion of a tensor {}", self.graph.ty(value))));
        }
        let message = stated(node).unwrap_or_else(|| format!("`{name}` is true"));
        let symbol: Symbol = format!("asserted{}", self.graph.nodes.len()).into();
        self.graph.ranges.0.insert(symbol.clone(), Interval::new(0, 1));
        self.push_item(symbol.clone(), value, origin);
        self.graph.assert(Expr::eq(Expr::Symbol(symbol), 1), message, origin);
        Ok(())
    }

    fn assert_metadata(&mut self, node: &Node) -> Result<()> {
        let (Some(Argument::Tensor(name)), Some(Argument::ScalarType(expected))) =
            (node.inputs.first().map(|i| &i.arg), node.arg("dtype"))
        else {
            return Ok(());
        };
        let value = self.tensor(name)?;
        let found = self.graph.ty(value).dtype;
        if expected.to_dtype() == Some(found) {
            return Ok(());
        }
        Err(Diagnostic::violated(format!("`{name}` must have dtype {}, but has {}", expected.name(), found.name())))
    }
}

/// What an assertion says when it fails, if the program states it.
fn stated(node: &Node) -> Option<String> {
    match node.arg("assert_msg") {
        Some(Argument::String(text)) => Some(text.clone()),
        _ => None,
    }
}

/// An expression as a number of its kind.
fn number(expr: Expr) -> Number {
    use crate::sym::Kind;
    match (expr.kind(), &expr) {
        (Kind::Bool, _) => Number::Bool(expr),
        (Kind::Float, Expr::Float(bits)) => Number::Float(f64::from_bits(*bits)),
        (Kind::Float, _) => Number::SymFloat(expr),
        _ => Number::Int(expr),
    }
}
