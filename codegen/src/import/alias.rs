//! Tensors by name, views and writes.
//!
//! A *base* is a tensor with a storage of its own; a name is a chain of views over a base. Writing through a name makes
//! a new value of the base (the inverse of the chain, applied to the written value), and every other name of the same
//! base sees it, because names are read by replaying their chain on the base's current value.

use crate::diag::{Diagnostic, Origin};
use crate::ir::{Graph, Op, ValueId, View};
use crate::sym::Expr;
use std::collections::HashMap;

/// A tensor name: a chain of views over a base.
#[derive(Clone, Debug)]
pub(super) struct Tensor {
    base: usize,
    chain: Vec<View>,
    /// Version of the base for which `value` holds.
    version: u32,
    value: ValueId,
}

#[derive(Debug)]
struct Base {
    value: ValueId,
    version: u32,
    /// Other memory stands for a part of it, so that a write would be seen by one of the two only.
    copied: bool,
}

/// All tensors by name.
#[derive(Debug, Default)]
pub(super) struct Names {
    names: HashMap<String, Tensor>,
    bases: Vec<Base>,
    /// The node being imported: what replayed and inverted views are attributed to.
    pub origin: Origin,
}

type Result<T> = std::result::Result<T, Diagnostic>;

impl Names {
    /// A name with a storage of its own.
    pub fn define(&mut self, name: &str, value: ValueId) {
        self.bases.push(Base { value, version: 0, copied: false });
        let tensor = Tensor { base: self.bases.len() - 1, chain: Vec::new(), version: 0, value };
        self.names.insert(name.to_string(), tensor);
    }

    /// A name whose value came from `source` by views alone shares its storage; otherwise it has one of its own.
    pub fn define_view(&mut self, graph: &Graph, name: &str, value: ValueId, source: &Tensor) {
        let Some(steps) = views_between(graph, source.value, value) else {
            return self.define(name, value);
        };
        let mut tensor = source.clone();
        tensor.chain.extend(steps);
        tensor.value = value;
        self.names.insert(name.to_string(), tensor);
    }

    /// As [`Names::define_view`], for a view that torch always makes: where it takes a copy here, neither may be written to.
    pub fn define_true_view(&mut self, graph: &Graph, name: &str, value: ValueId, source: &Tensor) {
        self.define_view(graph, name, value, source);
        let base = self.names.get(name).map_or(source.base, |tensor| tensor.base);
        if base != source.base {
            self.bases[base].copied = true;
            self.bases[source.base].copied = true;
        }
    }

    /// `name` is another word for `target`.
    pub fn alias(&mut self, name: &str, target: &str) -> Result<()> {
        let tensor = self.names.get(target).cloned().ok_or_else(|| undefined(target))?;
        self.names.insert(name.to_string(), tensor);
        Ok(())
    }

    /// Replaces the names by those of a subgraph, each another word for an outer one; gives the outer names.
    pub fn enter(&mut self, placeholders: &[(&str, &str)]) -> Result<HashMap<String, Tensor>> {
        let mut inner = HashMap::new();
        for (name, outer) in placeholders {
            let tensor = self.names.get(*outer).cloned().ok_or_else(|| undefined(outer))?;
            inner.insert(name.to_string(), tensor);
        }
        Ok(std::mem::replace(&mut self.names, inner))
    }

    /// Back to the outer names, with results of the subgraph under new names.
    pub fn leave(&mut self, outer: HashMap<String, Tensor>, results: &[(&str, &str)]) -> Result<()> {
        let inner = std::mem::replace(&mut self.names, outer);
        for (name, result) in results {
            let tensor = inner.get(*result).cloned().ok_or_else(|| undefined(result))?;
            self.names.insert(name.to_string(), tensor);
        }
        Ok(())
    }

    /// The tensor of that name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.names.get(name)
    }

    /// Its current value.
    pub fn read(&mut self, graph: &mut Graph, name: &str) -> Result<ValueId> {
        let tensor = self.names.get_mut(name).ok_or_else(|| undefined(name))?;
        let base = &self.bases[tensor.base];
        if tensor.version != base.version {
            tensor.value =
                replay(graph, base.value, &tensor.chain, &self.origin)?.last().copied().unwrap_or(base.value);
            tensor.version = base.version;
        }
        Ok(tensor.value)
    }

    /// Whether anything was written to the storage of a name.
    pub fn is_written(&self, name: &str) -> bool {
        self.names.get(name).is_some_and(|t| self.bases[t.base].version > 0)
    }

    /// `name[...] = value`, in torch's sense: `value` is cast to the dtype and expanded to the shape of the tensor.
    pub fn write(&mut self, graph: &mut Graph, name: &str, value: ValueId) -> Result<()> {
        let tensor = self.names.get(name).cloned().ok_or_else(|| undefined(name))?;
        if self.bases[tensor.base].copied {
            return Err(Diagnostic::unsupported(
                "a write to a tensor that `as_strided` shows with overlapping strides",
            )
            .help("write the model with `unfold`, `expand`, slices and `permute`"));
        }
        let base = self.bases[tensor.base].value;
        let mut values = vec![base];
        values.extend(replay(graph, base, &tensor.chain, &self.origin)?);
        let old = values[values.len() - 1];
        let mut new = conform(graph, value, old, &self.origin)?;
        for (view, &before) in tensor.chain.iter().zip(&values).rev() {
            new = unview(graph, view, before, new, &self.origin)?;
        }
        let base = &mut self.bases[tensor.base];
        base.value = new;
        base.version += 1;
        Ok(())
    }
}

fn undefined(name: &str) -> Diagnostic {
    Diagnostic::damaged(format!("tensor `{name}` is used before it is defined"))
}

/// The views that lead from one value to another, in order; `None` if anything else lies between.
fn views_between(graph: &Graph, from: ValueId, to: ValueId) -> Option<Vec<View>> {
    let mut chain = Vec::new();
    let mut at = to;
    while at != from {
        let node = graph.nodes.iter().rev().find(|n| n.outputs.contains(&at))?;
        let Op::View(view) = &node.op else { return None };
        if matches!(view, View::Flip(_)) {
            return None;
        }
        chain.push(view.clone());
        at = node.inputs[0];
    }
    chain.reverse();
    Some(chain)
}

/// Values after each view of a chain.
fn replay(graph: &mut Graph, base: ValueId, chain: &[View], origin: &Origin) -> Result<Vec<ValueId>> {
    let mut values = Vec::new();
    let mut at = base;
    for view in chain {
        at = push(graph, Op::View(view.clone()), &[at], origin)?;
        values.push(at);
    }
    Ok(values)
}

/// `value` with dtype and shape of `like`.
fn conform(graph: &mut Graph, value: ValueId, like: ValueId, origin: &Origin) -> Result<ValueId> {
    let (have, want) = (graph.ty(value).clone(), graph.ty(like).clone());
    let mut value = value;
    if have.dtype != want.dtype {
        let mut formula = crate::ir::Formula::new(&[have.dtype]);
        let x = formula.param(0);
        let cast = formula.cast(want.dtype, x);
        formula.results.push(cast);
        value = push(graph, Op::Pointwise { formula, shape: have.shape.clone() }, &[value], origin)?;
    }
    if have.shape != want.shape {
        value = push(graph, Op::View(View::Expand(want.shape)), &[value], origin)?;
    }
    Ok(value)
}

/// The value before a view, given it and the value that its view must have.
fn unview(graph: &mut Graph, view: &View, before: ValueId, new: ValueId, origin: &Origin) -> Result<ValueId> {
    let op = match view {
        View::Reshape(_) => Op::View(View::Reshape(graph.ty(before).shape.clone())),
        View::Permute(perm) => {
            let mut inverse = vec![0; perm.len()];
            perm.iter().enumerate().for_each(|(i, &p)| inverse[p] = i);
            Op::View(View::Permute(inverse))
        }
        View::Slice { dim, start, len, step } => {
            let op = Op::SliceScatter { dim: *dim, start: start.clone(), len: len.clone(), step: *step };
            return push(graph, op, &[before, new], origin);
        }
        View::Expand(shape) if graph.ty(before).shape.iter().eq(trailing(shape, graph.ty(before).shape.len())) => {
            Op::View(View::Reshape(graph.ty(before).shape.clone()))
        }
        View::Expand(_) | View::Flip(_) | View::Unfold { .. } => {
            return Err(Diagnostic::unsupported("writing in place through a view that may show an element twice")
                .help("clone the tensor before writing to it"));
        }
    };
    push(graph, op, &[new], origin)
}

fn trailing(shape: &[Expr], n: usize) -> impl Iterator<Item = &Expr> {
    shape[shape.len().saturating_sub(n)..]
        .iter()
        .filter(move |_| shape[..shape.len() - n].iter().all(|s| *s == Expr::Int(1)))
}

fn push(graph: &mut Graph, op: Op, inputs: &[ValueId], origin: &Origin) -> Result<ValueId> {
    let name = graph.value(inputs[0]).name.clone();
    let results = graph.push(op, inputs, &name, origin).map_err(Diagnostic::damaged)?;
    results.first().copied().ok_or_else(|| Diagnostic::bug("an operation without a result"))
}
