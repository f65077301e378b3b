//! A graph made of bytes: each decision takes one, and 0 stands for those that are missing. Whatever the bytes are, the
//! graph is valid: an operation that does not fit its operands is left out.

use exported_codegen::ir::{
    Binary, Constant, Conv, Epilogue, ExprId, ExprNode, Formula, Graph, Input, InputKind, Literal, Node, Op, Output,
    OutputKind, PadMode, PathPart, ReduceKind, TensorType, Unary, ValueId, View, infer,
};
use exported_codegen::options::{InputMemory, Optimize, Options, Target, Winograd};
use exported_codegen::sym::Expr;
use exported_runtime::DType;

/// What is compared.
pub struct Case {
    /// The program.
    pub graph: Graph,
    /// Its inputs, in order.
    pub inputs: Vec<Constant>,
    /// How it is compiled.
    pub options: Options,
}

/// Most operations.
const NODES: usize = 24;
/// Most elements of a tensor.
const ELEMENTS: usize = 1 << 12;
/// Values that operations are fed with lie between this and its negative.
const GREATEST: i64 = 9;

/// The case in these bytes.
pub fn case(data: &[u8]) -> Case {
    let mut maker = Maker { data, graph: Graph::default(), values: Vec::new(), inputs: Vec::new() };
    let (options, extra) = (maker.options(), maker.below(256));
    for _ in 0..=maker.below(3) {
        maker.input();
    }
    while !maker.data.is_empty() && maker.graph.nodes.len() < NODES {
        maker.operation();
    }
    maker.outputs(extra);
    Case { graph: maker.graph, inputs: maker.inputs, options }
}

struct Maker<'a> {
    data: &'a [u8],
    graph: Graph,
    /// What operations may read.
    values: Vec<ValueId>,
    inputs: Vec<Constant>,
}

impl Maker<'_> {
    fn below(&mut self, n: usize) -> usize {
        let Some((byte, rest)) = self.data.split_first() else { return 0 };
        self.data = rest;
        usize::from(*byte) % n.max(1)
    }

    fn options(&mut self) -> Options {
        let targets = ["x86_64-unknown-linux-gnu", "thumbv7m-none-eabi", "riscv32imac-unknown-none-elf"];
        let mut options = Options::new("m", Target::new(targets[self.below(targets.len())]));
        let choice = self.below(4);
        // Its transforms are no integers.
        options.winograd = Winograd::Off;
        options.optimize = if choice & 1 == 0 { Optimize::Speed } else { Optimize::Size };
        options.inputs = if choice & 2 == 0 { InputMemory::Caller } else { InputMemory::Workspace };
        options
    }

    fn shape(&mut self) -> Vec<usize> {
        let rank = [2, 1, 3, 4][self.below(4)];
        (0..rank).map(|_| [2, 3, 1, 4, 5][self.below(5)]).collect()
    }

    /// Small integers that depend on their place and on a byte.
    fn numbers(&mut self, dtype: DType, shape: Vec<usize>) -> Constant {
        let seed = self.below(256) as i64;
        let count: usize = shape.iter().product();
        let number = |i: i64| (i * 7 + seed * 13 + i * i * (seed % 5)) % (2 * GREATEST + 1) - GREATEST;
        let numbers = (0..count as i64).map(number);
        let data: Vec<u8> = match dtype {
            DType::F32 => numbers.flat_map(|n| (n as f32).to_le_bytes()).collect(),
            _ => numbers.flat_map(|n| (n as i32).to_le_bytes()).collect(),
        };
        Constant { name: "c".into(), dtype, shape, data: data.into() }
    }

    fn input(&mut self) {
        let dtype = [DType::F32, DType::F32, DType::I32][self.below(3)];
        let shape = self.shape();
        let data = self.numbers(dtype, shape);
        let name = format!("x{}", self.inputs.len());
        let ty = TensorType { dtype, shape: data.shape.iter().map(|s| Expr::from(*s)).collect() };
        let value = self.graph.add_value(&name, ty);
        self.graph.inputs.push(Input::new(name.clone(), vec![PathPart::Key(name)], InputKind::Tensor(value)));
        self.values.push(value);
        self.inputs.push(data);
    }

    fn constant(&mut self, dtype: DType, shape: Vec<usize>) -> ValueId {
        let constant = self.numbers(dtype, shape);
        let id = self.graph.add_constant(constant);
        self.push(Op::Constant(id), &[]).unwrap_or(ValueId(0))
    }

    /// Adds an operation if it fits its operands.
    fn push(&mut self, op: Op, inputs: &[ValueId]) -> Option<ValueId> {
        let types: Vec<TensorType> = inputs.iter().map(|v| self.graph.ty(*v).clone()).collect();
        let types = infer::infer(&op, &types, &self.graph).ok()?;
        let small = |ty: &TensorType| ty.static_shape().is_some_and(|s| s.iter().product::<usize>() <= ELEMENTS);
        if !types.iter().all(small) {
            return None;
        }
        let outputs: Vec<ValueId> = types.into_iter().map(|ty| self.graph.add_value("v", ty)).collect();
        let first = outputs[0];
        self.graph.nodes.push(Node { op, inputs: inputs.to_vec(), outputs, origin: Default::default() });
        Some(first)
    }

    /// One of the values, the last ones rather.
    fn pick(&mut self) -> ValueId {
        let back = self.below(8).min(self.values.len() - 1);
        self.values[self.values.len() - 1 - back]
    }

    fn sizes(&self, v: ValueId) -> Vec<usize> {
        self.graph.ty(v).static_shape().unwrap_or_default()
    }

    fn operation(&mut self) {
        let x = self.pick();
        let made = match self.below(16) {
            0..4 => self.pointwise(x),
            4..10 => self.view(x),
            10 | 11 => self.concat(x),
            12 => self.pad(x),
            13 => self.slice_scatter(x),
            14 => self.reduce(x),
            _ => self.product(x),
        };
        self.values.extend(made);
    }

    /// A chain of scalar operations over up to three operands, back into the range of small integers.
    fn pointwise(&mut self, x: ValueId) -> Option<ValueId> {
        let dtype = self.graph.ty(x).dtype;
        let mut operands = vec![x];
        for _ in 0..self.below(3) {
            let other = self.pick();
            let shapes: Vec<Vec<Expr>> =
                operands.iter().chain([&other]).map(|v| self.graph.ty(*v).shape.clone()).collect();
            if self.graph.ty(other).dtype == dtype && infer::broadcast(&shapes).is_ok() {
                operands.push(other);
            }
        }
        let shapes: Vec<Vec<Expr>> = operands.iter().map(|v| self.graph.ty(*v).shape.clone()).collect();
        let shape = infer::broadcast(&shapes).ok()?;
        let mut f = Formula::new(&vec![dtype; operands.len()]);
        let mut made: Vec<ExprId> = (0..operands.len()).map(|i| f.param(i)).collect();
        for _ in 0..=self.below(3) {
            let (a, b) = (made[made.len() - 1], made[self.below(made.len())]);
            let next = if dtype == DType::Bool { f.unary(Unary::Not, a) } else { self.scalar(&mut f, dtype, a, b) };
            let next = if dtype == DType::Bool { next } else { clamped(&mut f, dtype, next) };
            made.push(next);
        }
        let mut result = made[made.len() - 1];
        if self.below(8) == 7 && dtype != DType::Bool {
            result = f.binary(Binary::Lt, made[0], result);
        }
        f.results = vec![result];
        self.push(Op::Pointwise { formula: f, shape }, &operands)
    }

    fn scalar(&mut self, f: &mut Formula, dtype: DType, a: ExprId, b: ExprId) -> ExprId {
        match self.below(9) {
            0 => f.binary(Binary::Add, a, b),
            1 => f.binary(Binary::Sub, a, b),
            2 => f.binary(Binary::Mul, a, b),
            3 => f.binary(Binary::Max, a, b),
            4 => f.binary(Binary::Min, a, b),
            5 => f.unary(Unary::Abs, a),
            6 => f.unary(Unary::Neg, a),
            7 => {
                let c = f.binary(Binary::Lt, a, b);
                f.select(c, b, a)
            }
            _ => {
                let n = number(f, dtype, self.below(7) as i64 - 3);
                f.binary(Binary::Add, a, n)
            }
        }
    }

    fn view(&mut self, x: ValueId) -> Option<ValueId> {
        let shape = self.sizes(x);
        let rank = shape.len();
        let dim = self.below(rank);
        let view = match self.below(6) {
            0 => {
                let mut perm: Vec<usize> = (0..rank).collect();
                (0..rank).for_each(|i| perm.swap(i, self.below(rank)));
                View::Permute(perm)
            }
            1 => {
                let start = self.below(*shape.get(dim)?);
                let step = 1 + self.below(3) as i64;
                let most = (shape[dim] - start).div_ceil(step as usize);
                let len = 1 + self.below(most);
                View::Slice { dim, start: Expr::from(start), len: Expr::from(len), step }
            }
            2 => {
                let grown = shape.iter().map(|s| if *s == 1 { 1 + self.below(4) } else { *s });
                let grown: Vec<Expr> = grown.map(Expr::from).collect();
                let lead = self.below(3);
                View::Expand([(0..lead).map(|_| Expr::from(2usize)).collect(), grown].concat())
            }
            3 => View::Flip(vec![dim]),
            4 => View::Unfold { dim, size: 1 + self.below(3) as i64, step: 1 + self.below(2) as i64 },
            _ => View::Reshape(self.reshaped(&shape)),
        };
        self.push(Op::View(view), &[x])
    }

    /// Other sizes of as many elements: two dims merged, one split, or a 1 put in.
    fn reshaped(&mut self, shape: &[usize]) -> Vec<Expr> {
        let mut shape = shape.to_vec();
        let at = self.below(shape.len());
        match self.below(3) {
            0 if at + 1 < shape.len() => {
                let next = shape.remove(at + 1);
                shape[at] *= next;
            }
            1 if !shape.is_empty() => {
                let factor = (2..=shape[at]).find(|f| shape[at].is_multiple_of(*f)).unwrap_or(1);
                shape[at] /= factor;
                shape.insert(at, factor);
            }
            _ => shape.insert(at, 1),
        }
        shape.into_iter().map(Expr::from).collect()
    }

    fn concat(&mut self, x: ValueId) -> Option<ValueId> {
        let dim = self.below(self.sizes(x).len());
        let mut parts = vec![x];
        (0..=self.below(2)).for_each(|_| parts.push(self.pick()));
        let all = self.push(Op::Concat { dim }, &parts);
        all.or_else(|| self.push(Op::Concat { dim }, &[x, x]))
    }

    fn pad(&mut self, x: ValueId) -> Option<ValueId> {
        let pads: Vec<(i64, i64)> =
            self.sizes(x).iter().map(|_| (self.below(4) as i64 - 1, self.below(4) as i64 - 1)).collect();
        let shape = self.sizes(x);
        let empty =
            shape.iter().zip(&pads).any(|(size, (before, after))| *size as i64 + before.min(&0) + after.min(&0) < 1);
        let value = if self.graph.ty(x).dtype == DType::Bool { 1 } else { self.below(4) };
        let mode = PadMode::Constant((value as f64).to_bits());
        if empty { None } else { self.push(Op::Pad { pads, mode }, &[x]) }
    }

    /// Part of a tensor replaced by a slice of another, or of itself.
    fn slice_scatter(&mut self, x: ValueId) -> Option<ValueId> {
        let shape = self.sizes(x);
        let dim = self.below(shape.len());
        let start = self.below(*shape.get(dim)?);
        let step = 1 + self.below(2) as i64;
        let len = 1 + self.below((shape[dim] - start).div_ceil(step as usize));
        let from = self.pick();
        let (start, len) = (Expr::from(start), Expr::from(len));
        let first = View::Slice { dim, start: Expr::from(0usize), len: len.clone(), step: 1 };
        let source = if self.graph.ty(from) == self.graph.ty(x) { from } else { x };
        let source = self.push(Op::View(first), &[source])?;
        self.push(Op::SliceScatter { dim, start, len, step }, &[x, source])
    }

    fn reduce(&mut self, x: ValueId) -> Option<ValueId> {
        if self.graph.ty(x).dtype != DType::F32 {
            return None;
        }
        let rank = self.sizes(x).len();
        let mask = 1 + self.below((1 << rank) - 1);
        let dims = (0..rank).filter(|d| mask >> d & 1 == 1).collect();
        let kind = [ReduceKind::Sum, ReduceKind::Max, ReduceKind::Min][self.below(3)];
        let keepdim = self.below(2) == 1;
        let made = self.push(Op::Reduce { kind, dims, keepdim }, &[x])?;
        self.bounded(made)
    }

    /// A product with constant weights, of rows or of images, or with another tensor.
    fn product(&mut self, x: ValueId) -> Option<ValueId> {
        let shape = self.sizes(x);
        let last = *shape.last()?;
        if self.graph.ty(x).dtype != DType::F32 {
            return None;
        }
        let columns = 1 + self.below(5);
        let made = match (self.below(4), shape.as_slice()) {
            (0 | 1, [_, channels, height, width]) => {
                let kernel = [1 + self.below(3).min(height - 1), 1 + self.below(3).min(width - 1)];
                let depthwise = self.below(2) == 1;
                let weight = [if depthwise { *channels } else { columns }, if depthwise { 1 } else { *channels }];
                let weight = self.constant(DType::F32, [weight, kernel].concat());
                let conv = self.conv(if depthwise { *channels } else { 1 });
                self.push(Op::Conv(conv, Epilogue::default()), &[x, weight])
            }
            (2, [.., _, _]) if shape.len() <= 4 => {
                let transposed = (0..shape.len() - 2).chain([shape.len() - 1, shape.len() - 2]).collect();
                let other = self.push(Op::View(View::Permute(transposed)), &[x])?;
                self.push(Op::MatMul(Epilogue::default()), &[x, other])
            }
            _ => {
                let weight = self.constant(DType::F32, vec![columns, last]);
                self.push(Op::Linear(Epilogue::default()), &[x, weight])
            }
        };
        self.bounded(made?)
    }

    fn conv(&mut self, groups: usize) -> Conv {
        let stride = [1, 1 + self.below(2), 1 + self.below(2)];
        let padding = [(0, 0), (self.below(2), self.below(2)), (self.below(2), self.below(2))];
        let dilation = [1; 3];
        Conv { spatial: 2, stride, padding, dilation, groups, transposed: false, output_padding: [0; 3] }
    }

    /// A sum back in the range of small integers, so that the next one is exact, too.
    fn bounded(&mut self, x: ValueId) -> Option<ValueId> {
        let ty = self.graph.ty(x).clone();
        let mut f = Formula::new(&[ty.dtype]);
        let param = f.param(0);
        let result = clamped(&mut f, ty.dtype, param);
        f.results = vec![result];
        self.push(Op::Pointwise { formula: f, shape: ty.shape }, &[x])
    }

    /// All values that nothing reads, so that no operation is dead, and one that something may read.
    fn outputs(&mut self, extra: usize) {
        let unread = |v: &ValueId| self.graph.nodes.iter().all(|node| !node.inputs.contains(v));
        let mut chosen: Vec<ValueId> = self.values.iter().copied().filter(unread).collect();
        chosen.push(self.values[extra % self.values.len()]);
        for (index, value) in chosen.into_iter().enumerate() {
            let kind = OutputKind::Tensor(value);
            self.graph.outputs.push(Output { path: vec![PathPart::Index(index)], kind, mutates: None });
        }
    }
}

fn number(f: &mut Formula, dtype: DType, n: i64) -> ExprId {
    let literal = if dtype.is_float() { Literal::float(n as f64) } else { Literal::Int(n) };
    f.push(ExprNode::Const(dtype, literal))
}

fn clamped(f: &mut Formula, dtype: DType, x: ExprId) -> ExprId {
    let (low, high) = (number(f, dtype, -GREATEST), number(f, dtype, GREATEST));
    let below = f.binary(Binary::Min, x, high);
    f.binary(Binary::Max, below, low)
}
