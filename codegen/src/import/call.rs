//! What the rule of an operator row sees: its arguments by name, defaults filled in, and a builder of graph nodes.

use crate::diag::{Diagnostic, Origin};
use crate::ir::{Constant, Formula, Graph, Guard, InputKind, Node, Op, TensorType, ValueId, View, infer};
use crate::ops::Schema;
use crate::sym::{Expr, Symbol};
use exported_runtime::DType;
use std::collections::BTreeMap;

/// A number of the call: a Python scalar or a symbolic one.
#[derive(Clone, Debug, PartialEq)]
pub enum Number {
    /// An integer, maybe symbolic.
    Int(Expr),
    /// A float.
    Float(f64),
    /// A symbolic float.
    SymFloat(Expr),
    /// A truth value, maybe symbolic.
    Bool(Expr),
}

/// An argument with names resolved.
#[derive(Clone, Debug, PartialEq)]
pub enum Arg {
    /// `None`.
    None,
    /// A tensor.
    Tensor(ValueId),
    /// A list of tensors, `None` entries allowed (`index`).
    Tensors(Vec<Option<ValueId>>),
    /// A scalar.
    Number(Number),
    /// A list of integers, maybe symbolic.
    Ints(Vec<Expr>),
    /// A list of floats.
    Floats(Vec<f64>),
    /// A list of truth values.
    Bools(Vec<bool>),
    /// A text.
    Str(String),
    /// A dtype.
    Dtype(DType),
    /// A device, layout or memory format: checked by `import`, nothing to compute with.
    Ignored,
}

/// A tensor or a scalar, where the schema takes either or `import` found a number in a tensor's place.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// A tensor.
    Tensor(ValueId),
    /// A scalar.
    Number(Number),
}

/// One call of an operator.
pub struct Call<'a> {
    pub(super) graph: &'a mut Graph,
    pub(super) origin: &'a Origin,
    pub(super) schema: &'a Schema,
    pub(super) arguments: BTreeMap<String, Arg>,
    pub(super) name: &'a str,
    /// Type that the archive recorded for the first result.
    pub(super) recorded: Option<TensorType>,
    /// Conditions on sizes that torch took for granted when exporting, and a call may break.
    pub(super) assumed: &'a mut Vec<Guard>,
    /// Whether statistics of the batch are wanted ([`crate::options::Options::train_mode`]).
    pub(super) train_mode: bool,
}

type Result<T> = std::result::Result<T, Diagnostic>;

impl Call<'_> {
    /// Target without `torch.ops.`; rules shared by several rows look at it.
    pub fn target(&self) -> &'static str {
        self.schema.target
    }

    /// The graph so far.
    pub fn graph(&self) -> &Graph {
        self.graph
    }

    /// Whether the user asked for batch normalization in training mode.
    pub fn train_mode(&self) -> bool {
        self.train_mode
    }

    /// Type of a value.
    pub fn ty(&self, value: ValueId) -> &TensorType {
        self.graph.ty(value)
    }

    /// Sizes of a value.
    pub fn shape(&self, value: ValueId) -> Vec<Expr> {
        self.ty(value).shape.clone()
    }

    /// Element type of a value.
    pub fn dtype_of(&self, value: ValueId) -> DType {
        self.ty(value).dtype
    }

    /// Number of dims of a value.
    pub fn rank(&self, value: ValueId) -> usize {
        self.ty(value).shape.len()
    }

    /// The argument, if it is given or has a default other than `None`.
    pub fn arg(&self, name: &str) -> Option<&Arg> {
        self.arguments.get(name).filter(|a| **a != Arg::None)
    }

    /// A fault at this node: something valid that is not supported.
    pub fn unsupported(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::unsupported(message).at(self.origin)
    }

    /// A fault at this node: the file contradicts itself or torch's schema.
    pub fn damaged(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::damaged(message).at(self.origin)
    }

    /// A fault at this node: a promise that cannot be kept (train mode, …).
    pub fn violated(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::violated(message).at(self.origin)
    }

    fn wrong(&self, name: &str, expected: &str) -> Diagnostic {
        match self.arg(name) {
            None => self.damaged(format!("argument `{name}` is missing, expected {expected}")),
            Some(found) => self.damaged(format!("argument `{name}` is {}, expected {expected}", describe(found))),
        }
    }

    /// A tensor argument.
    pub fn tensor(&self, name: &str) -> Result<ValueId> {
        match self.arg(name) {
            Some(Arg::Tensor(v)) => Ok(*v),
            _ => Err(self.wrong(name, "a tensor")),
        }
    }

    /// A tensor argument that may be `None`.
    pub fn optional_tensor(&self, name: &str) -> Result<Option<ValueId>> {
        self.arg(name).map(|_| self.tensor(name)).transpose()
    }

    /// A list of tensors.
    pub fn tensors(&self, name: &str) -> Result<Vec<ValueId>> {
        match self.arg(name) {
            Some(Arg::Tensors(l)) if l.iter().all(Option::is_some) => Ok(l.iter().flatten().copied().collect()),
            None | Some(Arg::Ints(_)) => Ok(Vec::new()),
            _ => Err(self.wrong(name, "a list of tensors")),
        }
    }

    /// A list of tensors and `None`s.
    pub fn optional_tensors(&self, name: &str) -> Result<Vec<Option<ValueId>>> {
        match self.arg(name) {
            Some(Arg::Tensors(l)) => Ok(l.clone()),
            None => Ok(Vec::new()),
            _ => Err(self.wrong(name, "a list of tensors")),
        }
    }

    /// A tensor, or a number in its place.
    pub fn operand(&self, name: &str) -> Result<Operand> {
        match self.arg(name) {
            Some(Arg::Tensor(v)) => Ok(Operand::Tensor(*v)),
            Some(Arg::Number(n)) => Ok(Operand::Number(n.clone())),
            _ => Err(self.wrong(name, "a tensor or a number")),
        }
    }

    /// A number.
    pub fn number(&self, name: &str) -> Result<Number> {
        self.optional_number(name)?.ok_or_else(|| self.wrong(name, "a number"))
    }

    /// A number that may be `None`.
    pub fn optional_number(&self, name: &str) -> Result<Option<Number>> {
        match self.arg(name) {
            None => Ok(None),
            Some(Arg::Number(n)) => Ok(Some(n.clone())),
            _ => Err(self.wrong(name, "a number")),
        }
    }

    /// An integer, maybe symbolic.
    pub fn sym_int(&self, name: &str) -> Result<Expr> {
        self.optional_sym_int(name)?.ok_or_else(|| self.wrong(name, "an integer"))
    }

    /// An integer, maybe symbolic, or `None`.
    pub fn optional_sym_int(&self, name: &str) -> Result<Option<Expr>> {
        match self.optional_number(name)? {
            None => Ok(None),
            Some(Number::Int(e)) => Ok(Some(e)),
            Some(Number::Bool(Expr::Bool(b))) => Ok(Some(Expr::Int(i64::from(b)))),
            Some(_) => Err(self.wrong(name, "an integer")),
        }
    }

    /// A known integer.
    pub fn int(&self, name: &str) -> Result<i64> {
        self.sym_int(name)?
            .as_int()
            .ok_or_else(|| self.unsupported(format!("argument `{name}` depends on the input sizes")))
    }

    /// A known integer or `None`.
    pub fn optional_int(&self, name: &str) -> Result<Option<i64>> {
        self.arg(name).map(|_| self.int(name)).transpose()
    }

    /// A list of integers, maybe symbolic; a single integer counts as a list of one.
    pub fn sym_ints(&self, name: &str) -> Result<Vec<Expr>> {
        match self.arg(name) {
            Some(Arg::Ints(l)) => Ok(l.clone()),
            Some(Arg::Tensors(l)) if l.is_empty() => Ok(Vec::new()),
            Some(Arg::Floats(l)) if l.is_empty() => Ok(Vec::new()),
            Some(Arg::Number(Number::Int(e))) => Ok(vec![e.clone()]),
            _ => Err(self.wrong(name, "a list of integers")),
        }
    }

    /// A list of integers or `None`.
    pub fn optional_sym_ints(&self, name: &str) -> Result<Option<Vec<Expr>>> {
        self.arg(name).map(|_| self.sym_ints(name)).transpose()
    }

    /// A list of known integers.
    pub fn ints(&self, name: &str) -> Result<Vec<i64>> {
        let list = self.sym_ints(name)?;
        let known: Option<Vec<i64>> = list.iter().map(Expr::as_int).collect();
        known.ok_or_else(|| self.unsupported(format!("argument `{name}` depends on the input sizes")))
    }

    /// A list of known integers or `None`.
    pub fn optional_ints(&self, name: &str) -> Result<Option<Vec<i64>>> {
        self.arg(name).map(|_| self.ints(name)).transpose()
    }

    /// A list of floats or `None`.
    pub fn optional_floats(&self, name: &str) -> Result<Option<Vec<f64>>> {
        match self.arg(name) {
            None => Ok(None),
            Some(Arg::Floats(l)) => Ok(Some(l.clone())),
            Some(Arg::Ints(l)) if l.iter().all(|e| e.as_int().is_some()) => {
                Ok(Some(l.iter().filter_map(Expr::as_int).map(|v| v as f64).collect()))
            }
            _ => Err(self.wrong(name, "a list of floats")),
        }
    }

    /// A float (an integer counts as one).
    pub fn float(&self, name: &str) -> Result<f64> {
        self.optional_float(name)?.ok_or_else(|| self.wrong(name, "a float"))
    }

    /// A float or `None`.
    pub fn optional_float(&self, name: &str) -> Result<Option<f64>> {
        match self.optional_number(name)? {
            None => Ok(None),
            Some(Number::Float(f)) => Ok(Some(f)),
            Some(Number::Int(Expr::Int(v))) => Ok(Some(v as f64)),
            Some(Number::Bool(Expr::Bool(b))) => Ok(Some(f64::from(u8::from(b)))),
            Some(_) => Err(self.unsupported(format!("argument `{name}` depends on the input sizes"))),
        }
    }

    /// A truth value (torch 2.5 may write 0 or 1).
    pub fn bool(&self, name: &str) -> Result<bool> {
        match self.arg(name) {
            Some(Arg::Number(Number::Bool(Expr::Bool(b)))) => Ok(*b),
            Some(Arg::Number(Number::Int(Expr::Int(v)))) if *v == 0 || *v == 1 => Ok(*v == 1),
            _ => Err(self.wrong(name, "a truth value")),
        }
    }

    /// A text.
    pub fn str(&self, name: &str) -> Result<&str> {
        match self.arg(name) {
            Some(Arg::Str(s)) => Ok(s),
            _ => Err(self.wrong(name, "a text")),
        }
    }

    /// A dtype or `None`.
    pub fn dtype(&self, name: &str) -> Result<Option<DType>> {
        match self.arg(name) {
            None => Ok(None),
            Some(Arg::Dtype(d)) => Ok(Some(*d)),
            _ => Err(self.wrong(name, "a dtype")),
        }
    }

    /// Argument `name` as a dim of a tensor of this rank, normalized. A 0-d tensor has one dim for this purpose.
    pub fn dim(&self, name: &str, rank: usize) -> Result<usize> {
        self.normalize_dim(self.int(name)?, rank)
    }

    /// Argument `name` as dims, normalized, duplicates refused; `None` and `[]` mean all of them.
    pub fn dims(&self, name: &str, rank: usize) -> Result<Vec<usize>> {
        let list = self.optional_ints(name)?.unwrap_or_default();
        if list.is_empty() {
            return Ok((0..rank).collect());
        }
        let dims: Vec<usize> = list.iter().map(|&d| self.normalize_dim(d, rank)).collect::<Result<_>>()?;
        if (1..dims.len()).any(|i| dims[..i].contains(&dims[i])) {
            return Err(self.damaged(format!("argument `{name}` names a dim twice: {list:?}")));
        }
        Ok(dims.into_iter().filter(|&d| d < rank).collect())
    }

    /// A dim in `-rank..rank`, made non-negative.
    pub fn normalize_dim(&self, dim: i64, rank: usize) -> Result<usize> {
        let extent = rank.max(1) as i64;
        if dim < -extent || dim >= extent {
            return Err(self.damaged(format!("dim {dim} is outside of {}..{extent}", -extent)));
        }
        Ok(if dim < 0 { dim + extent } else { dim } as usize)
    }

    /// Adds a node; types of its results are inferred.
    pub fn push_all(&mut self, op: Op, inputs: &[ValueId]) -> Result<Vec<ValueId>> {
        self.graph.push(op, inputs, self.name, self.origin).map_err(|m| self.damaged(m))
    }

    /// Whether a condition on sizes holds, as far as their ranges and what was asserted before tell. Ranges begin at 2 where a
    /// call may have 0 or 1: what such a call would break is checked when it is made.
    pub fn decided(&mut self, condition: Expr) -> Option<bool> {
        let asserted = |node: &Node| matches!(&node.op, Op::Assert { condition: known, .. } if *known == condition);
        // What needs no symbols was not asserted, and need not be looked for.
        if condition.as_bool().is_none() && self.graph.nodes.iter().any(asserted) {
            return Some(true);
        }
        let verdict = condition.prove(&self.graph.ranges)?;
        self.require(if verdict { condition } else { Expr::not(condition) });
        Some(verdict)
    }

    /// What must hold of the sizes of a call: checked at its entry, or here if it is of numbers read from data.
    pub fn require(&mut self, condition: Expr) {
        let mut ranges = crate::check::relaxed(self.graph);
        let from_data = |symbol: &Symbol| symbol.starts_with('u');
        // Those are checked against their whole range where they are read.
        let stated = self.graph.ranges.0.iter().filter(|(symbol, _)| from_data(symbol));
        ranges.0.extend(stated.map(|(symbol, range)| (symbol.clone(), *range)));
        if condition.prove(&ranges) == Some(true) {
            return;
        }
        let message = format!("Expected {condition}, which the exported program takes for granted");
        let origin = self.origin.clone();
        if condition.symbols().iter().any(from_data) {
            self.graph.assert(condition, message, &origin);
        } else if self.assumed.iter().all(|known| known.condition != condition) {
            self.assumed.push(Guard { condition, message, origin: Some(origin) });
        }
    }

    /// The symbol that the archive recorded as size of a dim of the first result, if no input determines it.
    pub fn recorded_symbol(&self, dim: usize) -> Option<Symbol> {
        let Some(Expr::Symbol(symbol)) = self.recorded.as_ref()?.shape.get(dim) else { return None };
        let given = self.graph.inputs.iter().any(|input| match &input.kind {
            InputKind::Tensor(v) => self.graph.ty(*v).shape.iter().any(|size| size.mentions(symbol)),
            InputKind::Int(value) => value.mentions(symbol),
            InputKind::Constant(_) => false,
        });
        (!given).then(|| symbol.clone())
    }

    /// Lets a symbol have the value of an integer tensor from here on.
    pub fn bind_item(&mut self, value: ValueId, symbol: &Symbol) -> Result<()> {
        self.push_all(Op::Item { symbol: symbol.clone() }, &[value]).map(|_| ())
    }

    /// Adds a node with one result.
    pub fn push(&mut self, op: Op, inputs: &[ValueId]) -> Result<ValueId> {
        let outputs = self.push_all(op, inputs)?;
        outputs.first().copied().ok_or_else(|| self.damaged("an operation without a result"))
    }

    /// A pointwise node; operands broadcast against each other.
    pub fn pointwise(&mut self, formula: Formula, inputs: &[ValueId]) -> Result<ValueId> {
        let shapes: Vec<Vec<Expr>> = inputs.iter().map(|&v| self.shape(v)).collect();
        let shape = infer::broadcast(&shapes).map_err(|m| self.damaged(m))?;
        self.push(Op::Pointwise { formula, shape }, inputs)
    }

    /// A constant tensor: row-major little-endian elements.
    pub fn constant(&mut self, dtype: DType, shape: &[usize], data: Vec<u8>) -> Result<ValueId> {
        let name = self.name.to_string();
        let id = self.graph.add_constant(Constant { name, dtype, shape: shape.to_vec(), data: data.into() });
        self.push(Op::Constant(id), &[])
    }

    /// `x` with other sizes, elements in row-major order; `x` itself when the sizes are equal.
    pub fn reshape(&mut self, x: ValueId, shape: &[Expr]) -> Result<ValueId> {
        let shape: Vec<Expr> = shape.iter().map(|size| self.graph.shortened(size.clone())).collect();
        if self.ty(x).shape == shape {
            return Ok(x);
        }
        self.push(Op::View(View::Reshape(shape)), &[x])
    }

    /// Output dim `i` is dim `perm[i]` of `x`.
    pub fn permute(&mut self, x: ValueId, perm: &[usize]) -> Result<ValueId> {
        if perm.iter().enumerate().all(|(i, &p)| i == p) {
            return Ok(x);
        }
        self.push(Op::View(View::Permute(perm.to_vec())), &[x])
    }

    /// Size-1 dims repeated, new leading dims added.
    pub fn expand(&mut self, x: ValueId, shape: &[Expr]) -> Result<ValueId> {
        if self.ty(x).shape == shape {
            return Ok(x);
        }
        self.push(Op::View(View::Expand(shape.to_vec())), &[x])
    }

    /// `len` entries of dim `dim` from `start` in steps.
    pub fn slice(&mut self, x: ValueId, dim: usize, start: Expr, len: Expr, step: i64) -> Result<ValueId> {
        if step == 1 && start == Expr::Int(0) && self.ty(x).shape.get(dim) == Some(&len) {
            return Ok(x);
        }
        self.push(Op::View(View::Slice { dim, start, len, step }), &[x])
    }

    /// Conversion; `x` itself when the dtype is right already.
    pub fn cast(&mut self, x: ValueId, dtype: DType) -> Result<ValueId> {
        let from = self.dtype_of(x);
        if from == dtype {
            return Ok(x);
        }
        let mut formula = Formula::new(&[from]);
        let param = formula.param(0);
        let result = formula.cast(dtype, param);
        formula.results.push(result);
        self.pointwise(formula, &[x])
    }
}

fn describe(arg: &Arg) -> String {
    match arg {
        Arg::None => "None".into(),
        Arg::Tensor(_) => "a tensor".into(),
        Arg::Tensors(_) => "a list of tensors".into(),
        Arg::Number(Number::Int(_)) => "an integer".into(),
        Arg::Number(Number::Float(_) | Number::SymFloat(_)) => "a float".into(),
        Arg::Number(Number::Bool(_)) => "a truth value".into(),
        Arg::Ints(_) => "a list of integers".into(),
        Arg::Floats(_) => "a list of floats".into(),
        Arg::Bools(_) => "a list of truth values".into(),
        Arg::Str(s) => format!("the text `{s}`"),
        Arg::Dtype(d) => format!("the dtype `{}`", d.name()),
        Arg::Ignored => "a device, layout or memory format".into(),
    }
}
