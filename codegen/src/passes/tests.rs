//! The passes around layers, on small graphs.

use super::{batch_norm, dce, epilogue, pad, quantized};
use crate::ir::{
    Binary, Constant, Conv, Epilogue, ExprId, Formula, Graph, Input, InputKind, Node, Op, Output, OutputKind, PadMode,
    TensorType, ValueId, infer, verify,
};
use crate::lower::layer::floats;
use crate::options::{Options, Target};
use crate::sym::Expr;
use exported_runtime::DType;

/// A graph under construction.
struct Net(Graph);

impl Net {
    fn new() -> Self {
        Net(Graph::default())
    }

    fn input(&mut self, name: &str, shape: &[i64]) -> ValueId {
        let ty = TensorType { dtype: DType::F32, shape: shape.iter().map(|&s| Expr::Int(s)).collect() };
        let v = self.0.add_value(name, ty);
        self.0.inputs.push(Input::new(name, vec![], InputKind::Tensor(v)));
        v
    }

    fn push(&mut self, op: Op, inputs: &[ValueId]) -> ValueId {
        let types: Vec<TensorType> = inputs.iter().map(|&v| self.0.ty(v).clone()).collect();
        let types = infer::infer(&op, &types, &self.0).expect("fits");
        let outputs: Vec<ValueId> = types.into_iter().map(|ty| self.0.add_value("v", ty)).collect();
        let first = outputs[0];
        self.0.nodes.push(Node { op, inputs: inputs.to_vec(), outputs, origin: Default::default() });
        first
    }

    fn constant(&mut self, dtype: DType, shape: &[usize], data: Vec<u8>) -> ValueId {
        let constant = Constant { name: "c".into(), dtype, shape: shape.to_vec(), data: data.into() };
        let id = self.0.add_constant(constant);
        self.push(Op::Constant(id), &[])
    }

    fn floats(&mut self, shape: &[usize], numbers: &[f32]) -> ValueId {
        self.constant(DType::F32, shape, numbers.iter().flat_map(|x| x.to_le_bytes()).collect())
    }

    fn conv(&mut self, x: ValueId, weight: ValueId) -> ValueId {
        let conv = Conv {
            spatial: 2,
            stride: [1; 3],
            padding: [(0, 0); 3],
            dilation: [1; 3],
            groups: 1,
            transposed: false,
            output_padding: [0; 3],
        };
        self.push(Op::Conv(conv, Epilogue::default()), &[x, weight])
    }

    fn pointwise(&mut self, inputs: &[ValueId], build: impl FnOnce(&mut Formula, &[ExprId]) -> ExprId) -> ValueId {
        let mut f = Formula::new(&vec![DType::F32; inputs.len()]);
        let params: Vec<ExprId> = (0..inputs.len()).map(|i| f.param(i)).collect();
        let result = build(&mut f, &params);
        f.results.push(result);
        let shapes: Vec<Vec<Expr>> = inputs.iter().map(|&v| self.0.ty(v).shape.clone()).collect();
        let shape = infer::broadcast(&shapes).expect("broadcasts");
        self.push(Op::Pointwise { formula: f, shape }, inputs)
    }

    fn add(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.pointwise(&[a, b], |f, p| f.binary(Binary::Add, p[0], p[1]))
    }

    fn relu(&mut self, x: ValueId) -> ValueId {
        self.pointwise(&[x], |f, p| {
            let zero = f.float(DType::F32, 0.0);
            f.binary(Binary::Max, p[0], zero)
        })
    }

    fn output(&mut self, v: ValueId) {
        self.0.outputs.push(Output { path: vec![], kind: OutputKind::Tensor(v), mutates: None });
    }

    /// Runs passes and gives the operations that are left, without constants.
    fn run(&mut self, passes: &[super::Pass]) -> Vec<Op> {
        let options = Options::new("m", Target::new("x86_64-unknown-linux-gnu"));
        for pass in passes.iter().chain([&(dce::run as super::Pass)]) {
            pass(&mut self.0, &options).expect("runs");
            verify(&self.0).expect("sound");
        }
        self.0.nodes.iter().map(|n| n.op.clone()).filter(|op| !matches!(op, Op::Constant(_))).collect()
    }

    /// Operand `i` of the only layer, as numbers.
    fn operand(&self, i: usize) -> Vec<f64> {
        let layer = self.0.nodes.iter().find(|n| matches!(n.op, Op::Conv(..) | Op::Linear(_))).expect("a layer");
        self.0.constant_of(layer.inputs[i]).and_then(floats).expect("numbers")
    }
}

const RELU: Option<(u64, u64)> = Some((0f64.to_bits(), f64::INFINITY.to_bits()));

#[test]
fn the_later_of_two_convolutions_takes_sum_and_activation() {
    let mut net = Net::new();
    let x = net.input("x", &[1, 1, 4, 4]);
    let weight = net.floats(&[2, 1, 1, 1], &[1.0, 2.0]);
    let (a, b) = (net.conv(x, weight), net.conv(x, weight));
    let sum = net.add(a, b);
    let y = net.relu(sum);
    net.output(y);
    let ops = net.run(&[epilogue::run]);
    let [Op::Conv(_, first), Op::Conv(_, second)] = ops.as_slice() else { panic!("{ops:?}") };
    assert_eq!(*first, Epilogue::default());
    assert_eq!(*second, Epilogue { residual: true, clamp: RELU, ..Epilogue::default() });
}

#[test]
fn a_product_with_another_reader_stays() {
    let mut net = Net::new();
    let x = net.input("x", &[1, 1, 4, 4]);
    let weight = net.floats(&[2, 1, 1, 1], &[1.0, 2.0]);
    let a = net.conv(x, weight);
    let y = net.relu(a);
    net.output(y);
    net.output(a);
    let ops = net.run(&[epilogue::run]);
    assert!(matches!(ops.as_slice(), [Op::Conv(_, e), Op::Pointwise { .. }] if *e == Epilogue::default()), "{ops:?}");
}

#[test]
fn nothing_is_added_behind_an_activation() {
    let mut net = Net::new();
    let x = net.input("x", &[1, 2, 4, 4]);
    let weight = net.floats(&[2, 2, 1, 1], &[1.0; 4]);
    let a = net.conv(x, weight);
    let relu = net.relu(a);
    let y = net.add(relu, x);
    net.output(y);
    let ops = net.run(&[epilogue::run]);
    assert!(matches!(ops.as_slice(), [Op::Conv(_, e), Op::Pointwise { .. }] if e.clamp == RELU && !e.residual));
}

#[test]
fn a_channel_vector_is_a_bias_and_a_pixel_row_is_none() {
    for (shape, fused) in [(vec![2, 1, 1], true), (vec![1, 1, 2], false)] {
        let mut net = Net::new();
        let x = net.input("x", &[1, 1, 2, 2]);
        let weight = net.floats(&[2, 1, 1, 1], &[1.0, 2.0]);
        let bias = net.floats(&shape, &[3.0, 4.0]);
        let a = net.conv(x, weight);
        let y = net.add(bias, a);
        net.output(y);
        let ops = net.run(&[epilogue::run]);
        assert_eq!(matches!(ops.as_slice(), [Op::Conv(_, e)] if e.bias), fused, "{ops:?}");
        if fused {
            assert_eq!(net.operand(2), [3.0, 4.0]);
        }
    }
}

#[test]
fn batch_norm_goes_into_the_convolution_before_it() {
    let mut net = Net::new();
    let x = net.input("x", &[1, 1, 4, 4]);
    let weight = net.floats(&[2, 1, 1, 1], &[1.0, 2.0]);
    let a = net.conv(x, weight);
    // gamma, beta, mean, variance
    let vectors = [[1.0, 2.0], [0.5, 0.0], [3.0, -1.0], [4.0, 0.25]].map(|v| net.floats(&[2], &v));
    let y = net.push(Op::BatchNorm { eps: 0f64.to_bits() }, &[a, vectors[0], vectors[1], vectors[2], vectors[3]]);
    net.output(y);
    let ops = net.run(&[batch_norm::run]);
    assert!(matches!(ops.as_slice(), [Op::Conv(_, e)] if e.bias), "{ops:?}");
    assert_eq!((net.operand(1), net.operand(2)), (vec![0.5, 8.0], vec![-1.0, 4.0]));
}

#[test]
fn batch_norm_of_an_input_is_pointwise() {
    let mut net = Net::new();
    let x = net.input("x", &[1, 2, 4, 4]);
    let vectors = [[1.0, 2.0], [0.5, 0.0], [3.0, -1.0], [4.0, 0.25]].map(|v| net.floats(&[2], &v));
    let y = net.push(Op::BatchNorm { eps: 0f64.to_bits() }, &[x, vectors[0], vectors[1], vectors[2], vectors[3]]);
    net.output(y);
    assert!(matches!(net.run(&[batch_norm::run]).as_slice(), [Op::Pointwise { .. }]));
}

#[test]
fn zero_pads_go_into_the_convolution_and_others_stay() {
    for (value, mode_folds) in [(0.0f64, true), (1.0, false)] {
        let mut net = Net::new();
        let x = net.input("x", &[1, 1, 4, 4]);
        let weight = net.floats(&[1, 1, 3, 3], &[1.0; 9]);
        let pads = vec![(0, 0), (0, 0), (1, 2), (0, 1)];
        let padded = net.push(Op::Pad { pads, mode: PadMode::Constant(value.to_bits()) }, &[x]);
        let y = net.conv(padded, weight);
        net.output(y);
        let ops = net.run(&[pad::run]);
        let folded = matches!(ops.as_slice(), [Op::Conv(c, _)] if c.padding == [(0, 0), (1, 2), (0, 1)]);
        assert_eq!(folded, mode_folds, "{ops:?}");
    }
}

#[test]
fn weights_of_8_bits_stay_integers() {
    let mut net = Net::new();
    let x = net.input("x", &[1, 2]);
    let weight = net.constant(DType::I8, &[3, 2], vec![1, 2, 3, 4, 5, 0xff]);
    let op = Op::Dequantize { scale: 0.5f64.to_bits(), zero_point: 1, axis: None };
    let weight = net.push(op, &[weight]);
    let y = net.push(Op::Linear(Epilogue::default()), &[x, weight]);
    net.output(y);
    let ops = net.run(&[quantized::run]);
    assert!(matches!(ops.as_slice(), [Op::Linear(e)] if e.dequantize), "{ops:?}");
    assert_eq!((net.operand(1)[5], net.operand(2), net.operand(3)), (-1.0, vec![0.5; 3], vec![1.0; 3]));
}
