//! Convolutions and linear layers on integers: factors and biases per output channel.

use super::grid::{Grid, Target, fixed, shift_for, upper_factor};
use super::{Maker, narrow};
use crate::ir::{Constant, Epilogue, Node, Op, TensorType, ValueId};
use crate::lower::layer::floats;
use crate::sym::Expr;
use exported_runtime::DType;

/// What the sums of one output channel need.
struct Channel {
    /// Quanta of the result per unit of the sum.
    ratio: f64,
    /// In units of the sum, with what the zero point of the input contributes.
    bias: i32,
    /// Most that a sum can be, either way.
    greatest: i64,
}

/// One factor per channel, and the shift of all: 32 where that is precise enough and no sum can be half a quantum, since
/// the upper half of a product is the cheapest part of it; else as many bits as there are.
fn factors(channels: &[Channel]) -> Option<(Vec<i32>, u32)> {
    let upper: Option<Vec<i32>> = channels.iter().map(|c| upper_factor(c.ratio, c.greatest)).collect();
    if let Some(factors) = upper {
        return Some((factors, 32));
    }
    let greatest = channels.iter().fold(0.0, |most: f64, c| most.max(c.ratio));
    let shift = shift_for(greatest, 31)?;
    Some((channels.iter().map(|c| fixed(c.ratio, shift) as i32).collect(), shift))
}

impl Maker<'_> {
    /// The layer on integers, if its weight is a constant i8 tensor without zero points.
    pub(super) fn layer(&mut self, node: &Node, epilogue: Epilogue, target: &Target) -> Option<ValueId> {
        if epilogue != Epilogue::with_bias(epilogue.bias) {
            return None;
        }
        let (x, input) = self.source(node.inputs[0])?;
        let (weight, scales) = self.weight(node.inputs[1])?;
        let bias = match epilogue.bias {
            true => self.bias(node.inputs[2])?,
            false => vec![0.0; scales.len()],
        };
        let constant = self.graph.constant_of(weight)?.clone();
        let rows = constant.data.chunks_exact((constant.data.len() / scales.len().max(1)).max(1));
        let channels: Option<Vec<Channel>> = rows
            .zip(scales.iter().zip(&bias))
            .map(|(row, (scale, bias))| channel(row, *scale, *bias, &input, target))
            .collect();
        let channels = channels.filter(|c| c.len() == scales.len())?;
        let (factors, shift) = factors(&channels)?;
        let biases: Vec<i32> = channels.iter().map(|c| c.bias).collect();
        let factor = self.constant(&format!("{}.factor", constant.name), &factors)?;
        let bias = self.constant(&format!("{}.bias", constant.name), &biases)?;
        let requantize = Some(target.requantize(&input, shift));
        let epilogue = Epilogue { requantize, bias: true, ..Epilogue::default() };
        let op = match &node.op {
            Op::Conv(c, _) => Op::Conv(c.clone(), epilogue),
            _ => Op::Linear(epilogue),
        };
        self.push(op, &[x, weight, factor, bias])
    }

    /// The i8 constant behind a weight, and its scale per output channel.
    fn weight(&self, v: ValueId) -> Option<(ValueId, Vec<f64>)> {
        let node = self.producer(v)?;
        let Op::Dequantize { scale, zero_point, axis } = node.op else { return None };
        let constant = self.graph.constant_of(node.inputs[0]).filter(|c| c.dtype == DType::I8)?;
        let channels = *constant.shape.first()?;
        let (scales, zero_points) = match axis {
            None => (vec![f64::from_bits(scale); channels], vec![zero_point as f64]),
            Some(0) => (self.numbers(node.inputs[1])?, self.numbers(node.inputs[2])?),
            Some(_) => return None,
        };
        let plain = zero_points.iter().all(|z| *z == 0.0) && scales.iter().all(|s| s.is_finite() && *s > 0.0);
        (plain && scales.len() == channels).then_some((node.inputs[0], scales))
    }

    /// A constant bias, in floats or dequantized from integers.
    fn bias(&self, v: ValueId) -> Option<Vec<f64>> {
        let node = self.producer(v)?;
        let (scales, zero_points) = match node.op {
            Op::Dequantize { scale, zero_point, axis: None } => (vec![f64::from_bits(scale)], vec![zero_point as f64]),
            Op::Dequantize { axis: Some(0), .. } => (self.numbers(node.inputs[1])?, self.numbers(node.inputs[2])?),
            _ => return self.numbers(v),
        };
        let stored = self.numbers(node.inputs[0])?;
        let pick = |list: &[f64], i: usize| list.get(i).or(list.first()).copied();
        let real = |(i, q): (usize, &f64)| Some((q - pick(&zero_points, i)?) * pick(&scales, i)?);
        stored.iter().enumerate().map(real).collect()
    }

    fn numbers(&self, v: ValueId) -> Option<Vec<f64>> {
        floats(self.graph.constant_of(v)?)
    }

    /// A vector of integers.
    fn constant(&mut self, name: &str, numbers: &[i32]) -> Option<ValueId> {
        let data: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        let shape = vec![numbers.len()];
        let ty = TensorType { dtype: DType::I32, shape: vec![Expr::from(numbers.len())] };
        let id = self.graph.add_constant(Constant { name: name.into(), dtype: DType::I32, shape, data: data.into() });
        let value = self.graph.add_value(name, ty);
        let origin = self.origin.clone();
        self.nodes.push(Node { op: Op::Constant(id), inputs: vec![], outputs: vec![value], origin });
        Some(value)
    }
}

/// Numbers of one channel; `None` where sums may leave 32 bits, or where the unit of the sum is too coarse for the bias.
fn channel(weights: &[u8], scale: f64, bias: f64, input: &Grid, target: &Target) -> Option<Channel> {
    debug_assert!(narrow(input.dtype));
    let weights = weights.iter().map(|w| i64::from(*w as i8));
    let (sum, size) = weights.fold((0i64, 0i64), |(sum, size), w| (sum + w, size + w.abs()));
    let mut unit = input.scale * scale;
    if size == 0 {
        // Only the bias counts: any unit does, and the observer's may be so small that the bias would not fit. One that is no
        // power of two cannot make ties.
        unit = target.grid.scale / f64::from((1 << 15) + 1);
    }
    let (ratio, exact) = (unit / target.grid.scale, bias / unit);
    let rounded = exact.round_ties_even();
    if !rounded.is_finite() || (rounded - exact).abs() * ratio > 0.5 || rounded.abs() > f64::from(i32::MAX) {
        return None;
    }
    let bias = rounded as i64 - i64::from(input.zero) * sum;
    let greatest = 255 * size + bias.abs();
    let fits = greatest < i64::from(i32::MAX) && greatest as f64 * ratio < f64::from(i32::MAX);
    fits.then_some(Channel { ratio, bias: i32::try_from(bias).ok()?, greatest })
}
