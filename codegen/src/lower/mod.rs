//! From the graph to steps: every value gets a place, every node becomes a runtime kernel, a generated loop or nothing.
//!
//! Takes a checked, optimized [`Graph`]; gives [`Steps`]. The decision a reader would question: layout is not a property
//! of values in the graph but of their places. A node's lowering states which memory order it reads and writes; an
//! operand that stands otherwise is copied once, here, by a [`Loop`]. Views are arithmetic on places. Values whose
//! consumer is a concatenation are computed where it wants them (`wishes`), and a pointwise result takes the place of
//! an operand that nobody reads later.

mod bytes;
mod control;
mod conv;
mod custom;
mod dot4;
mod index;
mod int8;
pub(crate) mod layer;
mod loops;
mod matmul;
mod place;
mod pool;
mod reduce;
mod resample;
mod rnn;
mod step;
mod view;
mod winograd;
mod wishes;

pub use place::channels_last;
pub use step::*;

use crate::diag::{Diagnostic, Errors};
use crate::ir::infer::Rnn;
use crate::ir::{Constant, Graph, InputKind, Node, Op, OutputKind, ValueId};
use crate::options::{InputMemory, Options};
use crate::sym::Expr;
use exported_runtime::DType;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Lowers a whole graph.
///
/// # Errors
/// Every node that has no lowering.
pub fn lower(graph: &Graph, options: &Options) -> Result<Steps, Errors> {
    let mut lowering = Lowering::new(graph, options);
    let mut errors = Errors::default();
    for (index, node) in graph.nodes.iter().enumerate() {
        lowering.current = index;
        if let Err(fault) = lowering.node(node) {
            errors.push(if fault.origin.is_some() { fault } else { fault.at(&node.origin) });
            lowering.place_anyway(node);
        }
    }
    lowering.current = graph.nodes.len();
    lowering.place_outputs();
    lowering.commit_state();
    errors.into_result(lowering.steps)
}

/// The work in progress: what the lowering functions of the families call.
pub struct Lowering<'g> {
    /// The graph.
    pub graph: &'g Graph,
    /// What the user asked for.
    pub options: &'g Options,
    steps: Steps,
    places: Vec<Option<Place>>,
    /// The constant behind each value.
    constants: Vec<Option<&'g Constant>>,
    /// Where a consumer wants a value to be computed.
    presets: Vec<Option<Place>>,
    /// Memory order each value should have when its producer is free to choose.
    orders: Vec<Vec<usize>>,
    /// Node index of the last use of each value; `usize::MAX` for outputs and state.
    last_use: Vec<usize>,
    /// Buffers from this one on belong to this graph; those before stand in the graph around it.
    first_own: usize,
    /// Values that stand in each buffer.
    residents: Vec<Vec<ValueId>>,
    weights: BTreeMap<Arc<[u8]>, BufferId>,
    /// Dense copies made so far, by value and order, so that two consumers share one.
    copies: BTreeMap<(ValueId, Vec<usize>), Place>,
    names: BTreeMap<String, usize>,
    current: usize,
}

impl<'g> Lowering<'g> {
    fn new(graph: &'g Graph, options: &'g Options) -> Self {
        let mut lowering = Lowering::bare(graph, options);
        for (i, input) in graph.inputs.iter().enumerate() {
            if let InputKind::Tensor(v) = input.kind {
                let storage = match options.inputs {
                    InputMemory::Caller => Storage::Input(i),
                    InputMemory::Workspace => Storage::Entered(i),
                };
                lowering.enter(v, &input.name, storage);
            }
        }
        for (i, state) in graph.state.iter().enumerate() {
            lowering.enter(state.read, &state.name, Storage::State(i));
        }
        lowering.preset_concats();
        lowering
    }

    /// Without inputs and wishes.
    fn bare(graph: &'g Graph, options: &'g Options) -> Self {
        let count = graph.values.len();
        Lowering {
            graph,
            options,
            steps: Steps::default(),
            places: vec![None; count],
            constants: graph.constants_of_values(),
            presets: vec![None; count],
            orders: wishes::orders(graph),
            last_use: last_uses(graph),
            first_own: 0,
            residents: Vec::new(),
            weights: BTreeMap::new(),
            copies: BTreeMap::new(),
            names: BTreeMap::new(),
            current: 0,
        }
    }

    /// A value that exists before the first step: dense, row-major (or as the user asked for this input).
    fn enter(&mut self, v: ValueId, name: &str, storage: Storage) {
        let ty = self.graph.ty(v);
        let rank = ty.shape.len();
        let order = match storage {
            Storage::Input(_) | Storage::Entered(_) => input_order(self.options, name, rank),
            _ => (0..rank).collect(),
        };
        let buffer = self.buffer(name, ty.dtype, numel(&ty.shape), storage);
        self.set_place(v, Place::dense(buffer, ty.dtype, &ty.shape, &order));
    }

    fn node(&mut self, node: &Node) -> Result<(), Diagnostic> {
        match &node.op {
            Op::Constant(_) => Ok(()),
            Op::View(v) => view::view(self, node, v),
            Op::Pointwise { formula, shape } => loops::pointwise(self, node, formula, shape),
            Op::Concat { dim } => view::concat(self, node, *dim),
            Op::Pad { pads, mode } => view::pad(self, node, pads, mode),
            Op::SliceScatter { dim, start, len, step } => view::slice_scatter(self, node, *dim, start, len, *step),
            Op::Linear(epilogue) => matmul::linear(self, node, epilogue),
            Op::MatMul(epilogue) => matmul::matmul(self, node, epilogue),
            Op::Conv(c, epilogue) => conv::conv(self, node, c, epilogue),
            Op::Pool(p) => pool::pool(self, node, p),
            Op::AdaptivePool { max, spatial, requantize, .. } => {
                pool::adaptive(self, node, *max, *spatial, *requantize)
            }
            Op::Lookup | Op::QuantizedSoftmax { .. } | Op::QuantizedMatMul { .. } | Op::GroupedLinear { .. } => {
                bytes::lower(self, node)
            }
            Op::Cond { .. } | Op::While { .. } | Op::Scan { .. } => control::control(self),
            Op::Custom(call) => {
                custom::custom(self, node, call);
                Ok(())
            }
            Op::Item { symbol } => {
                let (region, _) = self.read_any_dense(node.inputs[0]);
                self.step(node, Work::Load { symbol: symbol.clone(), region }, Expr::Int(0));
                Ok(())
            }
            Op::Assert { condition, message } => {
                let work = Work::Check { condition: condition.clone(), message: message.clone() };
                self.step(node, work, Expr::Int(0));
                Ok(())
            }
            Op::Reduce { .. }
            | Op::Softmax { .. }
            | Op::LayerNorm { .. }
            | Op::GroupNorm { .. }
            | Op::Cumulative { .. }
            | Op::Sort { .. }
            | Op::TopK { .. } => reduce::lower(self, node),
            Op::Embedding
            | Op::Nonzero
            | Op::IndexSelect { .. }
            | Op::Gather { .. }
            | Op::Scatter { .. }
            | Op::Index { .. }
            | Op::IndexPut { .. }
            | Op::EmbeddingBag { .. } => index::lower(self, node),
            Op::Resample { mode, spatial, out, scales } => {
                resample::resample(self, node, *mode, *spatial, out, scales);
                Ok(())
            }
            &Op::Rnn { kind, layers, bidirectional, batch_first, bias } => {
                rnn::rnn(self, node, Rnn { kind, layers, bidirectional, batch_first, bias })
            }
            other => Err(Diagnostic::unsupported(format!("no kernel for {other:?}")).at(&node.origin)),
        }
    }

    /// Gives results of a node that failed to lower a place, so that the faults of later nodes are found, too.
    fn place_anyway(&mut self, node: &Node) {
        for &v in &node.outputs {
            if self.places[v.0 as usize].is_none() {
                let order: Vec<usize> = (0..self.graph.ty(v).shape.len()).collect();
                self.output_dense(v, &order);
            }
        }
    }

    // Places of operands.

    /// Where a value stands; a constant is laid down row-major at its first use.
    pub fn place(&mut self, v: ValueId) -> Place {
        if let Some(place) = &self.places[v.0 as usize] {
            return place.clone();
        }
        let ty = self.graph.ty(v).clone();
        let order: Vec<usize> = (0..ty.shape.len()).collect();
        if let Some(constant) = self.constant_of(v) {
            let buffer = self.weights(&constant.name, constant.dtype, constant.data.clone()).buffer;
            let place = Place::dense(buffer, ty.dtype, &ty.shape, &order);
            self.set_place(v, place.clone());
            return place;
        }
        // Only after a fault of the producer.
        self.output_dense(v, &order)
    }

    /// The constant behind a value.
    pub fn constant_of(&self, v: ValueId) -> Option<&'g Constant> {
        self.constants[v.0 as usize]
    }

    /// Sizes of a value.
    pub fn shape(&self, v: ValueId) -> &'g [Expr] {
        &self.graph.ty(v).shape
    }

    /// Element type of a value.
    pub fn dtype(&self, v: ValueId) -> DType {
        self.graph.ty(v).dtype
    }

    /// The value, dense in this memory order (dims outermost first); copied if it stands otherwise.
    pub fn read_dense(&mut self, v: ValueId, order: &[usize]) -> Region {
        let place = self.place(v);
        let place = if place.is_dense(order) { place } else { self.copy_dense(v, &place, order) };
        Region { buffer: place.buffer, offset: place.offset.clone(), len: numel(&place.shape), access: Access::Whole }
    }

    /// The value, dense in whichever order it stands; copied to row-major if it has gaps or repeats.
    pub fn read_any_dense(&mut self, v: ValueId) -> (Region, Vec<usize>) {
        let order = self.place(v).dense_order().unwrap_or_else(|| (0..self.shape(v).len()).collect());
        (self.read_dense(v, &order), order)
    }

    /// The value with its channels (dim 1) next to each other in memory; other strides as they come, never negative.
    /// Copied to dense channels-last where it stands otherwise.
    pub fn read_channels_last(&mut self, v: ValueId) -> Place {
        let place = self.place(v);
        let rank = place.shape.len();
        let one = Expr::Int(1);
        let adjacent = rank < 2 || place.strides[1] == one || place.shape[1] == one;
        let forward = place.strides.iter().all(|s| s.as_int().is_none_or(|s| s >= 0));
        if adjacent && forward {
            return place;
        }
        self.copy_dense(v, &place, &channels_last(rank))
    }

    /// A dense copy of a value in this order.
    fn copy_dense(&mut self, v: ValueId, from: &Place, order: &[usize]) -> Place {
        if let Some(done) = self.copies.get(&(v, order.to_vec())) {
            return done.clone();
        }
        let name = format!("{}_copy", self.graph.value(v).name);
        let buffer = self.buffer(&name, from.dtype, numel(&from.shape), Storage::Arena);
        let to = Place::dense(buffer, from.dtype, &from.shape, order);
        // Whoever reads the copy reads the value: it must outlive the same uses.
        self.residents[buffer.0 as usize].push(v);
        self.copies.insert((v, order.to_vec()), to.clone());
        self.copy(from, &to, "copy");
        to
    }

    /// A step that copies one place to another of the same shape; through memory of its own where the two share a
    /// stretch.
    pub fn copy(&mut self, from: &Place, to: &Place, suffix: &str) {
        if may_overlap(from, to) {
            let order: Vec<usize> = (0..from.shape.len()).collect();
            let buffer = self.buffer("bounce", from.dtype, numel(&from.shape), Storage::Arena);
            let bounce = Place::dense(buffer, from.dtype, &from.shape, &order);
            self.copy(from, &bounce, suffix);
            return self.copy(&bounce, to, suffix);
        }
        let Some(node) = self.graph.nodes.get(self.current).or(self.graph.nodes.last()) else {
            return self.copy_without_node(from, to, suffix);
        };
        let work = Work::Loop(loops::copy(from, to));
        self.push_step(node, suffix, work, Expr::Int(0));
    }

    /// A graph without nodes that returns its input.
    fn copy_without_node(&mut self, from: &Place, to: &Place, suffix: &str) {
        let node = Node { op: Op::Concat { dim: 0 }, inputs: vec![], outputs: vec![], origin: Default::default() };
        self.push_step(&node, suffix, Work::Loop(loops::copy(from, to)), Expr::Int(0));
    }

    // Places of results.

    /// A dense place for a result in this memory order. A consumer's wish is honoured when it is dense in it, too.
    pub fn output_dense(&mut self, v: ValueId, order: &[usize]) -> Place {
        match self.preset(v).filter(|p| p.is_dense(order)) {
            Some(preset) => self.accept(v, preset),
            None => self.new_output(v, order),
        }
    }

    /// A place for a result whose channels (dim 1) are adjacent; other strides as a consumer wishes, else dense.
    pub fn output_channels_last(&mut self, v: ValueId) -> Place {
        let one = Expr::Int(1);
        let fits = |p: &Place| p.shape.len() < 2 || p.strides[1] == one || p.shape[1] == one;
        match self.preset(v).filter(fits) {
            Some(preset) => self.accept(v, preset),
            None => self.new_output(v, &channels_last(self.shape(v).len())),
        }
    }

    /// A place for a result in whatever strides a consumer wishes, else dense in the order the value should have.
    pub fn output_any(&mut self, v: ValueId) -> Place {
        match self.preset(v) {
            Some(preset) => self.accept(v, preset),
            None => self.new_output(v, &self.orders[v.0 as usize].clone()),
        }
    }

    /// The place a consumer wishes for this result of the current node, unless an operand or another result stands in
    /// the same stretch of memory: a step's slices must be disjoint, even where their elements interleave.
    fn preset(&self, v: ValueId) -> Option<Place> {
        let preset = self.presets[v.0 as usize].clone()?;
        let node = self.graph.nodes.get(self.current)?;
        let clash = node.inputs.iter().chain(&node.outputs).any(|&other| {
            other != v && self.places[other.0 as usize].as_ref().is_some_and(|p| may_overlap(p, &preset))
        });
        (!clash).then_some(preset)
    }

    fn accept(&mut self, v: ValueId, place: Place) -> Place {
        self.set_place(v, place.clone());
        place
    }

    fn new_output(&mut self, v: ValueId, order: &[usize]) -> Place {
        let value = self.graph.value(v);
        let buffer = self.buffer(&value.name, value.ty.dtype, numel(&value.ty.shape), Storage::Arena);
        self.accept(v, Place::dense(buffer, value.ty.dtype, &value.ty.shape, order))
    }

    /// Lets result `v` take the place of operand `x`, if nobody reads `x` (or anything else in its buffer) after the
    /// current node, and if no consumer wants `v` elsewhere. The step may then overwrite `x` element by element; any
    /// other operand in that buffer stands exactly where `x` does.
    pub fn output_over(&mut self, v: ValueId, x: ValueId) -> Option<Place> {
        let place = self.place(x);
        let buffer = &self.steps.buffers[place.buffer.0 as usize];
        let ty = self.graph.ty(v);
        let fits = buffer.storage == Storage::Arena
            && place.buffer.0 as usize >= self.first_own
            && held_as(place.dtype) == held_as(ty.dtype)
            && place.shape == ty.shape
            && place.dense_order().is_some()
            && self.presets[v.0 as usize].as_ref().is_none_or(|p| *p == Place { dtype: ty.dtype, ..place.clone() });
        let node = self.graph.nodes.get(self.current)?;
        let aligned = node.inputs.iter().chain(&node.outputs).all(|&other| {
            let there = self.places[other.0 as usize].as_ref();
            there.is_none_or(|p| p.buffer != place.buffer || (p == &place && !node.outputs.contains(&other)))
        });
        if !fits || !aligned || !self.is_free_after(place.buffer) {
            return None;
        }
        Some(self.accept(v, Place { dtype: ty.dtype, ..place }))
    }

    /// Whether nothing in this buffer is read after the current node.
    fn is_free_after(&self, buffer: BufferId) -> bool {
        self.residents[buffer.0 as usize].iter().all(|r| self.last_use[r.0 as usize] <= self.current)
    }

    /// Lets `v` stand at `place` (a view of an operand, or a result).
    pub fn set_place(&mut self, v: ValueId, place: Place) {
        self.residents[place.buffer.0 as usize].push(v);
        self.places[v.0 as usize] = Some(place);
    }

    // Buffers.

    fn buffer(&mut self, name: &str, dtype: DType, len: Expr, storage: Storage) -> BufferId {
        let len = self.graph.shortened(len);
        self.steps.buffers.push(Buffer { name: name.to_string(), dtype, len, storage, growth: 0 });
        self.residents.push(Vec::new());
        BufferId(self.steps.buffers.len() as u32 - 1)
    }

    /// Memory of this step alone, uninitialised.
    pub fn scratch(&mut self, name: &str, dtype: DType, len: Expr) -> Region {
        let buffer = self.buffer(name, dtype, len.clone(), Storage::Scratch);
        Region { buffer, offset: Expr::Int(0), len, access: Access::Whole }
    }

    /// Baked data, little-endian as the kernel reads it; equal data is stored once.
    pub fn weights(&mut self, name: &str, dtype: DType, data: Arc<[u8]>) -> Region {
        let len = Expr::from(data.len() / dtype.size());
        let buffer = match self.weights.get(&data) {
            Some(&known) if self.steps.buffers[known.0 as usize].dtype == dtype => known,
            _ => {
                let new = self.buffer(name, dtype, len.clone(), Storage::Weights(data.clone()));
                self.weights.insert(data, new);
                new
            }
        };
        Region { buffer, offset: Expr::Int(0), len, access: Access::Whole }
    }

    // Steps.

    /// Adds the step of a node.
    pub fn step(&mut self, node: &Node, work: Work, macs: Expr) {
        self.push_step(node, "", work, macs);
    }

    /// Adds one of several steps of a node; `suffix` tells them apart.
    pub fn push_step(&mut self, node: &Node, suffix: &str, work: Work, macs: Expr) {
        let name = self.unique_name(&function_name(node, suffix));
        let results = node
            .outputs
            .iter()
            .filter_map(|v| Some((self.graph.value(*v).name.clone(), self.places[v.0 as usize].clone()?)))
            .collect();
        let nodes = vec![node.origin.node.clone()];
        self.steps.steps.push(Step { name, origin: node.origin.clone(), nodes, results, work, macs });
    }

    fn unique_name(&mut self, name: &str) -> String {
        let count = self.names.entry(name.to_string()).or_insert(0);
        *count += 1;
        match *count {
            1 => name.to_string(),
            n => self.unique_name(&format!("{name}_{n}")),
        }
    }

    // The end of a call.

    /// Outputs are dense and row-major in the arena (the new value of an input: in the order of that input), each in
    /// memory of its own (or shared, when equal).
    fn place_outputs(&mut self) {
        for output in &self.graph.outputs {
            let region = match output.kind {
                OutputKind::Tensor(v) => {
                    let place = self.place(v);
                    let order = match output.mutates {
                        Some(input) => input_order(self.options, &self.graph.inputs[input].name, place.shape.len()),
                        None => (0..place.shape.len()).collect(),
                    };
                    let in_arena = self.steps.buffers[place.buffer.0 as usize].storage == Storage::Arena;
                    let place =
                        if in_arena && place.is_dense(&order) { place } else { self.copy_dense(v, &place, &order) };
                    Some(Region {
                        len: numel(&place.shape),
                        buffer: place.buffer,
                        offset: place.offset,
                        access: Access::Whole,
                    })
                }
                _ => None,
            };
            self.steps.outputs.push(region);
        }
    }

    /// Writes new values of mutated buffers back: last, as everything before reads the old ones and a call commits only
    /// on success. A new value that is (a view of) another old one is saved before the first commit overwrites it.
    fn commit_state(&mut self) {
        let mut commits = Vec::new();
        for state in &self.graph.state {
            let (from, to) = (self.place(state.write), self.place(state.read));
            if from == to {
                continue;
            }
            let order: Vec<usize> = (0..from.shape.len()).collect();
            let in_state = matches!(self.steps.buffers[from.buffer.0 as usize].storage, Storage::State(_));
            let from = if in_state { self.copy_dense(state.write, &from, &order) } else { from };
            commits.push((from, to));
        }
        for (from, to) in commits {
            self.copy(&from, &to, "commit");
        }
    }
}

/// Memory order of a tensor the caller passes: row-major, or as the user asked for this input.
pub(crate) fn input_order(options: &Options, name: &str, rank: usize) -> Vec<usize> {
    match options.layouts.get(name) {
        Some(crate::options::Layout::ChannelsLast) if rank >= 3 => channels_last(rank),
        _ => (0..rank).collect(),
    }
}

/// The memory order each value will have where its producer is free to choose.
pub(crate) fn memory_orders(graph: &Graph) -> Vec<Vec<usize>> {
    wishes::orders(graph)
}

/// Whether two places may share a stretch of memory (not only elements).
fn may_overlap(a: &Place, b: &Place) -> bool {
    if a.buffer != b.buffer {
        return false;
    }
    match (a.bounds(), b.bounds()) {
        (Some((a_start, a_end)), Some((b_start, b_end))) => a_start < b_end && b_start < a_end,
        _ => true,
    }
}

/// The dtype whose element type holds this one: bool is `u8` in memory.
fn held_as(dtype: DType) -> DType {
    if dtype == DType::Bool { DType::U8 } else { dtype }
}

/// Number of elements.
pub fn numel(shape: &[Expr]) -> Expr {
    shape.iter().fold(Expr::Int(1), |n, s| n * s.clone())
}

/// A dense value seen along one dim: `(outer, n, inner)` with `inner` elements between neighbours. `order` is its memory
/// order.
pub fn around_dim(shape: &[Expr], order: &[usize], dim: usize) -> (Expr, Expr, Expr) {
    let at = order.iter().position(|&d| d == dim).unwrap_or(order.len());
    let product = |dims: &[usize]| dims.iter().fold(Expr::Int(1), |n, &d| n * shape[d].clone());
    let n = shape.get(dim).cloned().unwrap_or(Expr::Int(1));
    (product(&order[..at.min(order.len())]), n, product(order.get(at + 1..).unwrap_or_default()))
}

fn last_uses(graph: &Graph) -> Vec<usize> {
    let mut last = vec![0; graph.values.len()];
    for (index, node) in graph.nodes.iter().enumerate() {
        node.inputs.iter().for_each(|v| last[v.0 as usize] = index);
    }
    for output in &graph.outputs {
        if let OutputKind::Tensor(v) = output.kind {
            last[v.0 as usize] = usize::MAX;
        }
    }
    for state in &graph.state {
        last[state.read.0 as usize] = usize::MAX;
        last[state.write.0 as usize] = usize::MAX;
    }
    last
}

/// `features_0_conv2d`: module path and operator as an identifier.
fn function_name(node: &Node, suffix: &str) -> String {
    let origin = &node.origin;
    let operator = origin.target.split('.').nth(1).unwrap_or("step").trim_matches('_');
    let mut name = String::new();
    for part in [origin.module.as_str(), operator, suffix] {
        if part.is_empty() {
            continue;
        }
        if !name.is_empty() {
            name.push('_');
        }
        name.extend(part.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }));
    }
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert_str(0, "step_");
    }
    name
}
