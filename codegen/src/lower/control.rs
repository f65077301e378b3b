//! Control flow: the steps of subgraphs between branches and jumps.
//!
//! The decision a reader would question: steps stay one flat list. A branch leads to one of two stretches of it, a loop is
//! a jump back to a branch; so every step remains a turn of `step()`, and the planner sees alternatives as stretches whose
//! buffers never meet. What a loop carries has a buffer of its own; new values are computed beside it and written at the
//! end of a round, after everything that reads the old ones.

use super::{Condition, Lowering, Place, Step, Storage, Work, numel};
use crate::diag::Diagnostic;
use crate::ir::{Graph, InputKind, Node, Op, OutputKind, ValueId};
use crate::sym::{Expr, Symbol};

type Result<T> = std::result::Result<T, Diagnostic>;

/// Lowers the current node.
///
/// # Errors
/// A node of a subgraph that has no lowering.
pub(super) fn control(cx: &mut Lowering<'_>) -> Result<()> {
    let graph = cx.graph;
    let Some(node) = graph.nodes.get(cx.current) else { return Ok(()) };
    match &node.op {
        Op::Cond { on_size, branches } => cond(cx, node, on_size.as_ref(), branches),
        Op::While { carried, condition, body } => while_loop(cx, node, *carried, condition, body),
        Op::Scan { carried, sequences, length, body } => scan(cx, node, (*carried, *sequences), length, body),
        other => Err(Diagnostic::bug(format!("{other:?} is no control flow"))),
    }
}

fn cond<'g>(cx: &mut Lowering<'g>, node: &Node, on_size: Option<&Expr>, branches: &'g [Graph; 2]) -> Result<()> {
    let (condition, operands) = match (on_size, node.inputs.split_first()) {
        (Some(size), _) => (Condition::Size(size.clone()), &node.inputs[..]),
        (None, Some((&predicate, operands))) => (Condition::Data(cx.read_any_dense(predicate).0), operands),
        (None, None) => return Err(Diagnostic::bug("a branch without a condition")),
    };
    let operands: Vec<Place> = operands.iter().map(|&v| cx.place(v)).collect();
    let results: Vec<Place> = node.outputs.iter().map(|&v| cx.output_dense(v, &row_major(cx.shape(v)))).collect();
    let wishes: Vec<Option<Place>> = results.iter().cloned().map(Some).collect();
    let branch = cx.control_step(node, "if", Work::Branch { condition, otherwise: 0 });
    let first = nested(cx, &branches[0], &operands, &wishes)?;
    deliver(cx, &first, &results);
    let jump = cx.control_step(node, "else", Work::Jump { to: 0 });
    cx.lead_here(branch);
    let second = nested(cx, &branches[1], &operands, &wishes)?;
    deliver(cx, &second, &results);
    cx.lead_here(jump);
    Ok(())
}

fn while_loop<'g>(
    cx: &mut Lowering<'g>,
    node: &Node,
    carried: usize,
    condition: &'g Graph,
    body: &'g Graph,
) -> Result<()> {
    let places = carry(cx, node, carried);
    let mut operands = places.clone();
    operands.extend(node.inputs[carried..].iter().map(|&v| cx.place(v)));
    let round = cx.options.max_rounds.map(|most| (cx.counter(), most));
    if let Some((round, _)) = &round {
        cx.control_step(node, "begin", Work::Bind { symbol: round.clone(), value: Expr::Int(0) });
    }
    let head = cx.steps.steps.len();
    let predicate = nested(cx, condition, &operands, &[None])?;
    let Some(predicate) = predicate.first() else { return Err(Diagnostic::bug("a loop without a condition")) };
    let condition = Condition::Data(predicate.region(Default::default()));
    let branch = cx.control_step(node, "while", Work::Branch { condition, otherwise: 0 });
    if let Some((round, most)) = round {
        let index = Expr::Symbol(round.clone());
        let place = node.origin.source.as_ref().map(|s| format!(" of {s}")).unwrap_or_default();
        let message = format!("The loop{place} takes more than {most} rounds");
        let condition = Expr::lt(index.clone(), Expr::Int(most));
        cx.control_step(node, "limit", Work::Check { condition, message });
        cx.control_step(node, "count", Work::Bind { symbol: round, value: index + Expr::Int(1) });
    }
    let new = nested(cx, body, &operands, &vec![None; carried])?;
    commit(cx, &new, &places);
    cx.control_step(node, "again", Work::Jump { to: head });
    cx.lead_here(branch);
    Ok(())
}

fn scan<'g>(
    cx: &mut Lowering<'g>,
    node: &Node,
    (carried, sequences): (usize, usize),
    length: &Expr,
    body: &'g Graph,
) -> Result<()> {
    let places = carry(cx, node, carried);
    let stacked = &node.outputs[carried..];
    let stacked: Vec<Place> = stacked.iter().map(|&v| cx.output_dense(v, &row_major(cx.shape(v)))).collect();
    let round = cx.counter();
    let index = Expr::Symbol(round.clone());
    let mut operands = places.clone();
    for (i, &v) in node.inputs[carried..].iter().enumerate() {
        let place = cx.place(v);
        operands.push(if i < sequences { entry(&place, &index) } else { place });
    }
    let mut wishes = vec![None; carried];
    wishes.extend(stacked.iter().map(|place| Some(entry(place, &index))));
    cx.control_step(node, "begin", Work::Bind { symbol: round.clone(), value: Expr::Int(0) });
    let head = cx.steps.steps.len();
    let condition = Condition::Size(Expr::lt(index.clone(), length.clone()));
    let branch = cx.control_step(node, "next", Work::Branch { condition, otherwise: 0 });
    let new = nested(cx, body, &operands, &wishes)?;
    let (new, results) = new.split_at(carried.min(new.len()));
    let targets: Vec<Place> = wishes.into_iter().flatten().collect();
    deliver(cx, results, &targets);
    commit(cx, new, &places);
    cx.control_step(node, "count", Work::Bind { symbol: round, value: index + Expr::Int(1) });
    cx.control_step(node, "again", Work::Jump { to: head });
    cx.lead_here(branch);
    Ok(())
}

/// Entry `index` of dim 0.
fn entry(place: &Place, index: &Expr) -> Place {
    let mut entry = place.slice(0, index, &Expr::Int(1), 1);
    entry.shape.remove(0);
    entry.strides.remove(0);
    entry
}

fn row_major(shape: &[Expr]) -> Vec<usize> {
    (0..shape.len()).collect()
}

/// Buffers of what a loop carries, filled with the initial values; the first results of the node stand there.
fn carry(cx: &mut Lowering<'_>, node: &Node, carried: usize) -> Vec<Place> {
    let mut places = Vec::new();
    for (&initial, &result) in node.inputs.iter().zip(&node.outputs).take(carried) {
        let (name, ty) = (&cx.graph.value(result).name, cx.graph.ty(result));
        let buffer = cx.buffer(name, ty.dtype, numel(&ty.shape), Storage::Arena);
        let place = Place::dense(buffer, ty.dtype, &ty.shape, &row_major(&ty.shape));
        let from = cx.place(initial);
        cx.copy(&from, &place, "initial");
        cx.set_place(result, place.clone());
        places.push(place);
    }
    places
}

/// Copies results to where they are wanted, unless they stand there.
fn deliver(cx: &mut Lowering<'_>, from: &[Place], to: &[Place]) {
    for (from, to) in from.iter().zip(to).filter(|(from, to)| from != to) {
        cx.copy(from, to, "result");
    }
}

/// Gives what is carried its new values. One that is (a view of) an old value is saved first.
fn commit(cx: &mut Lowering<'_>, new: &[Place], carried: &[Place]) {
    let mut moves = Vec::new();
    for (from, to) in new.iter().zip(carried).filter(|(from, to)| from != to) {
        let from = match carried.iter().any(|old| old.buffer == from.buffer) {
            true => {
                let buffer = cx.buffer("carried", from.dtype, numel(&from.shape), Storage::Arena);
                let saved = Place::dense(buffer, from.dtype, &from.shape, &row_major(&from.shape));
                cx.copy(from, &saved, "carried");
                saved
            }
            false => from.clone(),
        };
        moves.push((from, to.clone()));
    }
    deliver(
        cx,
        &moves.iter().map(|m| m.0.clone()).collect::<Vec<_>>(),
        &moves.iter().map(|m| m.1.clone()).collect::<Vec<_>>(),
    );
}

/// Lowers a subgraph whose inputs stand at `operands`; gives where its results stand: where they are wished for, if their
/// producers can put them there.
fn nested<'g>(
    cx: &mut Lowering<'g>,
    graph: &'g Graph,
    operands: &[Place],
    wishes: &[Option<Place>],
) -> Result<Vec<Place>> {
    let mut inner = Lowering::bare(graph, cx.options);
    inner.steps = std::mem::take(&mut cx.steps);
    inner.names = std::mem::take(&mut cx.names);
    inner.weights = std::mem::take(&mut cx.weights);
    inner.first_own = inner.steps.buffers.len();
    inner.residents = vec![Vec::new(); inner.first_own];
    let inputs = graph.inputs.iter().filter_map(|input| match input.kind {
        InputKind::Tensor(v) => Some(v),
        _ => None,
    });
    inputs.zip(operands).for_each(|(v, place)| inner.set_place(v, place.clone()));
    let results: Vec<ValueId> = graph
        .outputs
        .iter()
        .filter_map(|output| match output.kind {
            OutputKind::Tensor(v) => Some(v),
            _ => None,
        })
        .collect();
    for (i, (&v, wish)) in results.iter().zip(wishes).enumerate() {
        inner.wish(v, wish.as_ref(), &results[..i]);
    }
    inner.preset_concats();
    let done = graph.nodes.iter().enumerate().try_for_each(|(index, node)| {
        inner.current = index;
        inner.node(node).map_err(|fault| if fault.origin.is_some() { fault } else { fault.at(&node.origin) })
    });
    let places = results.iter().map(|&v| inner.place(v)).collect();
    cx.steps = inner.steps;
    cx.names = inner.names;
    cx.weights = inner.weights;
    cx.residents.resize(cx.steps.buffers.len(), Vec::new());
    done.map(|()| places)
}

impl Lowering<'_> {
    /// Adds a step that only decides what comes next; gives its index.
    fn control_step(&mut self, node: &Node, suffix: &str, work: Work) -> usize {
        self.push_step(&Node { outputs: Vec::new(), ..node.clone() }, suffix, work, Expr::Int(0));
        self.steps.steps.len() - 1
    }

    /// Lets a branch or jump lead to the next step to be added.
    fn lead_here(&mut self, from: usize) {
        let here = self.steps.steps.len();
        if let Some(Step { work: Work::Branch { otherwise: to, .. } | Work::Jump { to }, .. }) =
            self.steps.steps.get_mut(from)
        {
            *to = here;
        }
    }

    /// A symbol that counts rounds.
    fn counter(&mut self) -> Symbol {
        let counted = self.steps.steps.iter().filter(|step| matches!(step.work, Work::Bind { .. })).count();
        // Two bindings belong to one counter, and symbols of torch have other letters.
        format!("round{counted}").into()
    }
}
