//! Pointwise fusion: formulas of producers move into their consumers, so that intermediate results never reach memory.
//!
//! A producer is merged
//! * into its only user;
//! * into each of its users, when it is cheap and reads at most one tensor: computing it again costs no more than
//!   loading it;
//! * into one user as a further result of the same loop, when others need it, too, and all of those come later.
//!
//! Shapes must agree (a producer without operands may also broadcast), so nothing is computed more often than before
//! except cheap formulas. Roundings stay: what was stored as f16 is still converted to f16 on its way. Constants of one
//! element become literals first.

use super::dce::roots;
use crate::diag::Diagnostic;
use crate::ir::{Constant, ExprId, ExprNode, Formula, Graph, Literal, Node, Op, ValueId, eval};
use crate::options::Options;
use crate::sym::Expr;
use exported_runtime::DType;
use std::collections::BTreeMap;

/// Operands of one loop: each needs a pointer.
const OPERANDS: usize = 10;
/// Results of one loop.
const RESULTS: usize = 4;
/// Nodes of one formula.
const NODES: usize = 160;
/// Nodes of a formula that is computed again for each user.
const CHEAP: usize = 4;

/// Fuses pointwise nodes.
///
/// # Errors
/// None.
pub fn run(graph: &mut Graph, _: &Options) -> Result<bool, Diagnostic> {
    let mut fusion = Fusion::new(graph);
    let literals = fusion.inline_literals(graph);
    let mut merged = false;
    for consumer in 0..fusion.nodes.len() {
        while fusion.absorb_one(consumer) {
            merged = true;
        }
    }
    graph.nodes = fusion.nodes.into_iter().flatten().collect();
    Ok(merged || literals)
}

struct Fusion {
    /// Nodes in order; `None` where one was merged away.
    nodes: Vec<Option<Node>>,
    /// Node that defines each value.
    producer: Vec<Option<usize>>,
    /// Nodes that read each value, each once.
    users: Vec<Vec<usize>>,
    /// Values that leave the graph.
    kept: Vec<bool>,
}

/// How a producer is merged.
enum Merge {
    /// Into the only user.
    Move,
    /// Into this and all other users.
    Repeat,
    /// As further results of the consumer's loop.
    Join,
}

impl Fusion {
    fn new(graph: &Graph) -> Self {
        let mut fusion = Fusion {
            nodes: graph.nodes.iter().cloned().map(Some).collect(),
            producer: vec![None; graph.values.len()],
            users: vec![Vec::new(); graph.values.len()],
            kept: roots(graph),
        };
        for (index, node) in graph.nodes.iter().enumerate() {
            node.outputs.iter().for_each(|v| fusion.producer[v.0 as usize] = Some(index));
            fusion.add_user(index, &node.inputs);
        }
        fusion
    }

    fn add_user(&mut self, index: usize, inputs: &[ValueId]) {
        for v in inputs {
            let users = &mut self.users[v.0 as usize];
            if !users.contains(&index) {
                users.push(index);
            }
        }
    }

    fn remove_user(&mut self, index: usize) {
        if let Some(node) = &self.nodes[index] {
            node.inputs.iter().for_each(|v| self.users[v.0 as usize].retain(|u| *u != index));
        }
    }

    fn pointwise(&self, index: usize) -> Option<(&Node, &Formula, &[Expr])> {
        match self.nodes[index].as_ref() {
            Some(node) => match &node.op {
                Op::Pointwise { formula, shape } => Some((node, formula, shape)),
                _ => None,
            },
            None => None,
        }
    }

    /// Constants of one element move into the formulas that read them.
    fn inline_literals(&mut self, graph: &Graph) -> bool {
        let mut literals: BTreeMap<ValueId, ExprNode> = BTreeMap::new();
        for node in &graph.nodes {
            if let Op::Constant(id) = node.op {
                let literal = graph.constants.get(id.0 as usize).and_then(literal);
                literals.extend(node.outputs.iter().copied().zip(literal));
            }
        }
        let mut changed = false;
        for index in 0..self.nodes.len() {
            let Some((node, formula, shape)) = self.pointwise(index) else { continue };
            if !node.inputs.iter().any(|v| literals.contains_key(v)) {
                continue;
            }
            let mut merged = Merged::default();
            let known = |v: ValueId| literals.get(&v).copied();
            let results = merged.add(formula, &node.inputs, 0, shape, &known, &BTreeMap::new());
            let mut node = node.clone();
            node.inputs = merged.finish(results, &mut node.op);
            self.replace(index, node);
            changed = true;
        }
        changed
    }

    fn replace(&mut self, index: usize, node: Node) {
        self.remove_user(index);
        self.add_user(index, &node.inputs);
        node.outputs.iter().for_each(|v| self.producer[v.0 as usize] = Some(index));
        self.nodes[index] = Some(node);
    }

    /// Merges one producer into the consumer, if any can be.
    fn absorb_one(&mut self, consumer: usize) -> bool {
        let Some((node, ..)) = self.pointwise(consumer) else { return false };
        let mut producers: Vec<usize> = node.inputs.iter().filter_map(|v| self.producer[v.0 as usize]).collect();
        producers.dedup();
        for producer in producers {
            match self.decide(producer, consumer) {
                Some(Merge::Repeat) => {
                    let users = self.all_users(producer);
                    users.iter().for_each(|&user| self.merge(producer, user, false));
                    self.remove(producer);
                    return true;
                }
                Some(Merge::Move) => {
                    self.merge(producer, consumer, false);
                    self.remove(producer);
                    return true;
                }
                Some(Merge::Join) => {
                    self.merge(producer, consumer, true);
                    self.remove_user(producer);
                    self.nodes[producer] = None;
                    return true;
                }
                None => {}
            }
        }
        false
    }

    fn all_users(&self, producer: usize) -> Vec<usize> {
        let outputs = self.nodes[producer].iter().flat_map(|n| &n.outputs);
        let mut users: Vec<usize> = outputs.flat_map(|v| self.users[v.0 as usize].iter().copied()).collect();
        users.sort_unstable();
        users.dedup();
        users
    }

    fn remove(&mut self, index: usize) {
        self.remove_user(index);
        if let Some(node) = self.nodes[index].take() {
            node.outputs.iter().for_each(|v| self.producer[v.0 as usize] = None);
        }
    }

    fn decide(&self, producer: usize, consumer: usize) -> Option<Merge> {
        let (node, formula, _) = self.pointwise(producer)?;
        let users = self.all_users(producer);
        let kept = node.outputs.iter().any(|v| self.kept[v.0 as usize]);
        let fits = |user: usize| self.fits(producer, user, 0);
        if !kept && users == [consumer] {
            return fits(consumer).then_some(Merge::Move);
        }
        let operations = formula.nodes.iter().filter(|n| n.operands().next().is_some()).count();
        let cheap = !formula.is_expensive() && operations <= CHEAP && node.inputs.len() <= 1;
        if !kept && cheap && node.outputs.len() == 1 && users.iter().all(|&user| fits(user)) {
            return Some(Merge::Repeat);
        }
        // The joint loop runs where the consumer stands: nothing may need the producer's results before, and nothing
        // but views and other loops may lie between, or operands would live longer than they did.
        let early = users.iter().any(|&user| user < consumer);
        let calm = self.nodes[producer + 1..consumer]
            .iter()
            .flatten()
            .all(|between| matches!(between.op, Op::Pointwise { .. } | Op::View(_) | Op::Constant(_)));
        let alike = self.pointwise(consumer).is_some_and(|(_, _, shape)| Some(shape) == self.shape(producer));
        (!early && calm && alike && self.fits(producer, consumer, node.outputs.len())).then_some(Merge::Join)
    }

    fn shape(&self, index: usize) -> Option<&[Expr]> {
        self.pointwise(index).map(|(_, _, shape)| shape)
    }

    /// Whether the merged loop stays within its limits and the shapes allow it.
    fn fits(&self, producer: usize, consumer: usize, more_results: usize) -> bool {
        let (Some((p, p_formula, p_shape)), Some((c, c_formula, c_shape))) =
            (self.pointwise(producer), self.pointwise(consumer))
        else {
            return false;
        };
        let repeats = p.inputs.is_empty() && p_shape.len() <= c_shape.len() && !p_formula.is_expensive();
        let new = p.inputs.iter().filter(|v| !c.inputs.contains(v)).count();
        let gone = c.inputs.iter().filter(|v| p.outputs.contains(v)).count();
        (p_shape == c_shape || repeats)
            && c.inputs.len() + new - gone <= OPERANDS
            && c.outputs.len() + more_results <= RESULTS
            && p_formula.nodes.len() + c_formula.nodes.len() <= NODES
    }

    /// Puts the producer's formula into the consumer's; with `join` its results are results of the loop, too.
    fn merge(&mut self, producer: usize, consumer: usize, join: bool) {
        let (Some((p, p_formula, p_shape)), Some((c, c_formula, c_shape))) =
            (self.pointwise(producer), self.pointwise(consumer))
        else {
            return;
        };
        let mut merged = Merged::default();
        let lead = c_shape.len() - p_shape.len().min(c_shape.len());
        let none = |_| None;
        let values = merged.add(p_formula, &p.inputs, lead, p_shape, &none, &BTreeMap::new());
        let given: BTreeMap<ValueId, ExprId> = p.outputs.iter().copied().zip(values.iter().copied()).collect();
        let mut results = merged.add(c_formula, &c.inputs, 0, c_shape, &none, &given);
        let mut node = c.clone();
        if join {
            node.outputs.extend(&p.outputs);
            results.extend(values);
        }
        node.inputs = merged.finish(results, &mut node.op);
        self.replace(consumer, node);
    }
}

/// A formula put together from several.
#[derive(Default)]
struct Merged {
    formula: Formula,
    inputs: Vec<ValueId>,
}

impl Merged {
    /// Adds a formula; gives its results. Operands are looked up among `given` values of this formula, then among
    /// literals, else become parameters. `lead` dims stand before those of the formula.
    fn add(
        &mut self,
        formula: &Formula,
        inputs: &[ValueId],
        lead: usize,
        shape: &[Expr],
        literals: &dyn Fn(ValueId) -> Option<ExprNode>,
        given: &BTreeMap<ValueId, ExprId>,
    ) -> Vec<ExprId> {
        let mut ids: Vec<ExprId> = Vec::with_capacity(formula.nodes.len());
        for node in &formula.nodes {
            let id = match *node {
                ExprNode::Param(k) => {
                    let (value, dtype) = (inputs[k as usize], formula.params[k as usize]);
                    match (given.get(&value), literals(value)) {
                        (Some(&id), _) => id,
                        (None, Some(literal)) => self.formula.push(literal),
                        (None, None) => self.operand(value, dtype),
                    }
                }
                ExprNode::Size(k) => {
                    let size = &formula.sizes[k as usize];
                    let known = self.formula.sizes.iter().position(|s| s == size);
                    let index = known.unwrap_or_else(|| {
                        self.formula.sizes.push(size.clone());
                        self.formula.sizes.len() - 1
                    });
                    self.formula.push(ExprNode::Size(index as u32))
                }
                // A dim of size 1 may repeat in the merged loop; its coordinate stays 0.
                ExprNode::Coord(d) if shape.get(d as usize) == Some(&Expr::Int(1)) => self.formula.int(DType::I64, 0),
                ExprNode::Coord(d) => self.formula.push(ExprNode::Coord(d + lead as u32)),
                other => self.formula.push(other.with_operands(|id| ids[id.0 as usize])),
            };
            ids.push(id);
        }
        formula.results.iter().map(|r| ids[r.0 as usize]).collect()
    }

    fn operand(&mut self, value: ValueId, dtype: DType) -> ExprId {
        let known = self.inputs.iter().position(|v| *v == value);
        let index = known.unwrap_or_else(|| {
            self.inputs.push(value);
            self.formula.params.push(dtype);
            self.inputs.len() - 1
        });
        self.formula.param(index)
    }

    /// Stores the formula with these results in the node; gives the node's operands.
    fn finish(mut self, results: Vec<ExprId>, op: &mut Op) -> Vec<ValueId> {
        self.formula.results = results;
        let used = self.formula.prune();
        if let Op::Pointwise { formula, .. } = op {
            *formula = self.formula;
        }
        used.into_iter().map(|k| self.inputs[k]).collect()
    }
}

/// The literal of a constant with one element.
fn literal(constant: &Constant) -> Option<ExprNode> {
    let dtype = constant.dtype;
    if constant.shape.iter().product::<usize>() != 1 {
        return None;
    }
    let mut formula = Formula::new(&[dtype]);
    let x = formula.param(0);
    let to = if dtype.is_float() { DType::F64 } else { DType::I64 };
    let y = formula.cast(to, x);
    formula.results.push(y);
    let value = eval::pointwise(&formula, &[], &[&Constant { shape: Vec::new(), ..constant.clone() }])?.pop()?;
    let bits = <[u8; 8]>::try_from(&value.data[..]).ok()?;
    Some(ExprNode::Const(
        dtype,
        match dtype {
            d if d.is_float() => Literal::Float(u64::from_le_bytes(bits)),
            DType::Bool => Literal::Bool(i64::from_le_bytes(bits) != 0),
            DType::U64 if i64::from_le_bytes(bits) < 0 => return None,
            _ => Literal::Int(i64::from_le_bytes(bits)),
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Binary, Output, OutputKind, TensorType, Unary, verify};
    use crate::options::Target;

    fn graph(inputs: usize) -> (Graph, Vec<ValueId>) {
        let mut graph = Graph::default();
        let values = (0..inputs)
            .map(|i| {
                let ty = TensorType { dtype: DType::F32, shape: vec![Expr::Int(8)] };
                let v = graph.add_value(&format!("x{i}"), ty);
                let kind = crate::ir::InputKind::Tensor(v);
                graph.inputs.push(crate::ir::Input::new(format!("x{i}"), Vec::new(), kind));
                v
            })
            .collect();
        (graph, values)
    }

    fn push(graph: &mut Graph, inputs: &[ValueId], body: impl FnOnce(&mut Formula, &[ExprId]) -> ExprId) -> ValueId {
        let mut f = Formula::new(&inputs.iter().map(|v| graph.ty(*v).dtype).collect::<Vec<_>>());
        let params: Vec<ExprId> = (0..inputs.len()).map(|k| f.param(k)).collect();
        let y = body(&mut f, &params);
        f.results.push(y);
        let shape = vec![Expr::Int(8)];
        let v = graph.add_value("v", TensorType { dtype: f.dtype(y), shape: shape.clone() });
        let op = Op::Pointwise { formula: f, shape };
        graph.nodes.push(Node { op, inputs: inputs.to_vec(), outputs: vec![v], origin: Default::default() });
        v
    }

    fn fuse(graph: &mut Graph, outputs: &[ValueId]) -> bool {
        let kinds = outputs.iter().map(|v| OutputKind::Tensor(*v));
        graph.outputs = kinds.map(|kind| Output { path: Vec::new(), kind, mutates: None }).collect();
        let changed = run(graph, &Options::new("m", Target::new("x86_64-unknown-linux-gnu"))).expect("fuses");
        verify(graph).expect("is a graph");
        changed
    }

    #[test]
    fn a_chain_becomes_one_loop_with_its_roundings() {
        let (mut g, x) = graph(1);
        let half = push(&mut g, &x, |f, p| f.cast(DType::F16, p[0]));
        let e = push(&mut g, &[half], |f, p| {
            let wide = f.cast(DType::F32, p[0]);
            f.unary(Unary::Exp, wide)
        });
        assert!(fuse(&mut g, &[e]));
        assert_eq!((g.nodes.len(), &g.nodes[0].inputs), (1, &x));
        let Op::Pointwise { formula, .. } = &g.nodes[0].op else { panic!("is pointwise") };
        assert!(formula.nodes.contains(&ExprNode::Cast(DType::F16, ExprId(0))));
    }

    #[test]
    fn expensive_values_are_shared_as_results() {
        let (mut g, x) = graph(1);
        let e = push(&mut g, &x, |f, p| f.unary(Unary::Exp, p[0]));
        let a = push(&mut g, &[e], |f, p| f.unary(Unary::Neg, p[0]));
        let b = push(&mut g, &[e], |f, p| f.unary(Unary::Abs, p[0]));
        assert!(fuse(&mut g, &[a, b, e]));
        assert_eq!(g.nodes.len(), 1);
        assert_eq!(g.nodes[0].outputs.len(), 3);
        let Op::Pointwise { formula, .. } = &g.nodes[0].op else { panic!("is pointwise") };
        assert_eq!(formula.nodes.iter().filter(|n| matches!(n, ExprNode::Unary(Unary::Exp, _))).count(), 1);
    }

    #[test]
    fn cheap_values_are_computed_again() {
        let (mut g, x) = graph(2);
        let n = push(&mut g, &x[..1], |f, p| f.unary(Unary::Neg, p[0]));
        let sort = g.add_value("sorted", g.ty(x[1]).clone());
        let a = push(&mut g, &[n], |f, p| f.unary(Unary::Exp, p[0]));
        let indices = g.add_value("indices", TensorType { dtype: DType::I64, shape: vec![Expr::Int(8)] });
        let op = Op::Sort { dim: 0, descending: false, method: crate::ir::SortMethod::Stable };
        g.nodes.push(Node { op, inputs: vec![x[1]], outputs: vec![sort, indices], origin: Default::default() });
        let b = push(&mut g, &[n, sort], |f, p| f.binary(Binary::Mul, p[0], p[1]));
        assert!(fuse(&mut g, &[a, b]));
        assert_eq!(g.nodes.len(), 3);
        assert_eq!(g.nodes[2].inputs, [x[0], sort]);
    }

    #[test]
    fn a_value_needed_in_between_stays() {
        let (mut g, x) = graph(1);
        let e = push(&mut g, &x, |f, p| f.unary(Unary::Exp, p[0]));
        let sort = g.add_value("sorted", g.ty(x[0]).clone());
        let indices = g.add_value("indices", TensorType { dtype: DType::I64, shape: vec![Expr::Int(8)] });
        let op = Op::Sort { dim: 0, descending: false, method: crate::ir::SortMethod::Stable };
        g.nodes.push(Node { op, inputs: vec![e], outputs: vec![sort, indices], origin: Default::default() });
        let b = push(&mut g, &[e, sort], |f, p| f.binary(Binary::Mul, p[0], p[1]));
        assert!(!fuse(&mut g, &[b]));
        assert_eq!(g.nodes.len(), 3);
    }

    #[test]
    fn constants_of_one_element_become_literals() {
        let (mut g, x) = graph(1);
        let data = F16_ONE_AND_A_HALF.to_le_bytes().to_vec().into();
        let id = g.add_constant(Constant { name: "c".into(), dtype: DType::F16, shape: vec![1], data });
        let c = g.add_value("c", TensorType { dtype: DType::F16, shape: vec![Expr::Int(1)] });
        g.nodes.push(Node { op: Op::Constant(id), inputs: Vec::new(), outputs: vec![c], origin: Default::default() });
        let y = push(&mut g, &[x[0], c], |f, p| {
            let wide = f.cast(DType::F32, p[1]);
            f.binary(Binary::Mul, p[0], wide)
        });
        assert!(fuse(&mut g, &[y]));
        let node = g.nodes.last().expect("is there");
        assert_eq!(node.inputs, x);
        let Op::Pointwise { formula, .. } = &node.op else { panic!("is pointwise") };
        assert!(formula.nodes.contains(&ExprNode::Const(DType::F16, Literal::float(1.5))));
    }

    const F16_ONE_AND_A_HALF: u16 = 0x3e00;
}
