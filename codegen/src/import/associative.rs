//! `associative_scan`: a scan that begins with the first entries of its sequences, and gives what it carries.
//!
//! Torch combines in the order of a tree. The function is associative, so any order will do; one round after the other is what
//! a device can run.

use super::Importer;
use super::control::{Kind, arguments, malformed, tensors};
use crate::diag::{Diagnostic, Origin};
use crate::ir::{Guard, Op, ValueId, View};
use crate::schema::{self, Argument};
use crate::sym::Expr;

type Result<T> = std::result::Result<T, Diagnostic>;

impl<'a> Importer<'a> {
    /// `associative_scan(body, sequences, operands)`.
    pub(super) fn associative_scan(&mut self, node: &'a schema::Node, origin: &Origin) -> Result<()> {
        let [Argument::Graph(body), sequences, rest @ ..] = &arguments(node)[..] else {
            return Err(malformed(&node.target));
        };
        let (sequences, rest) = (self.operands(&[sequences])?, self.operands(rest)?);
        let (mut heads, mut first, mut later) = (Vec::new(), Vec::new(), Vec::new());
        let mut length = None;
        for x in tensors(&sequences) {
            let shape = self.graph.ty(x).shape.clone();
            let Some((size, inner)) = shape.split_first() else {
                return Err(Diagnostic::damaged("a sequence without dims"));
            };
            let left = Expr::sub(size, 1);
            let part = |start: i64, len: Expr| View::Slice { dim: 0, start: Expr::Int(start), len, step: 1 };
            let head = self.add(Op::View(part(0, Expr::Int(1))), vec![x], origin)?;
            first.extend(self.add(Op::View(View::Reshape(inner.to_vec())), head.clone(), origin)?);
            later.extend(self.add(Op::View(part(1, left.clone())), vec![x], origin)?);
            heads.extend(head);
            self.not_empty(size, origin);
            length = Some(left);
        }
        let length = length.ok_or_else(|| malformed(&node.target))?;
        let item = |v: &ValueId| Kind::Tensor(self.graph.ty(*v).clone());
        let mut kinds: Vec<Kind> = first.iter().chain(&first).map(item).collect();
        kinds.extend(self.types(&rest));
        let mut body = Box::new(self.subgraph(body, &kinds, origin)?);
        body.outputs.extend(body.outputs.clone());
        let count = first.len();
        let inputs = [first, later, tensors(&rest)].concat();
        let results = self.add(Op::Scan { carried: count, sequences: count, length, body }, inputs, origin)?;
        let names = node.outputs.iter().flat_map(Argument::names);
        for ((name, head), tail) in names.zip(heads).zip(results.into_iter().skip(count)) {
            for whole in self.add(Op::Concat { dim: 0 }, vec![head, tail], origin)? {
                self.names.define(name, whole);
            }
            self.check_recorded(name)?;
        }
        Ok(())
    }

    fn not_empty(&mut self, size: &Expr, origin: &Origin) {
        let condition = Expr::ge(size, 1);
        if condition.prove(&crate::check::relaxed(&self.graph)) != Some(true) {
            let message = format!("Expected {condition}, for there is nothing to combine");
            self.assumed.push(Guard { condition, message, origin: Some(origin.clone()) });
        }
    }

    /// Adds a node; gives its results.
    fn add(&mut self, op: Op, inputs: Vec<ValueId>, origin: &Origin) -> Result<Vec<ValueId>> {
        self.graph.push(op, &inputs, &origin.node, origin).map_err(Diagnostic::unsupported)
    }
}
