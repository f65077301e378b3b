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

/// An integer weight.
struct Weight {
    value: ValueId,
    name: String,
    /// What each output channel is computed with.
    rows: Vec<Vec<u8>>,
    /// Of each output channel.
    scales: Vec<f64>,
}

/// The elements of each output channel in `[inputs, outputs / groups, ..]`.
fn transposed_rows(constant: &Constant, groups: usize) -> Option<Vec<Vec<u8>>> {
    let (&[inputs, columns], taps) = constant.shape.split_first_chunk::<2>()?;
    let (taps, channels) = (taps.iter().product::<usize>(), inputs.checked_div(groups)?);
    let row = |o: usize| {
        let (group, column) = (o / columns, o % columns);
        let starts = (0..channels).map(move |c| ((group * channels + c) * columns + column) * taps);
        starts.flat_map(|start| constant.data[start..start + taps].iter().copied()).collect()
    };
    Some((0..columns * groups).map(row).collect())
}

impl Maker<'_> {
    /// The layer on integers, if its weight is a constant i8 tensor without zero points; `addend` is added to each result.
    pub(super) fn layer(&mut self, node: &Node, epilogue: Epilogue, target: &Target, addend: f64) -> Option<ValueId> {
        if epilogue != Epilogue::with_bias(epilogue.bias) {
            return None;
        }
        let (x, input) = self.source(node.inputs[0])?;
        let weight = self.weight(node)?;
        let scales = &weight.scales;
        let bias = match epilogue.bias {
            true => self.bias(node.inputs[2])?,
            false => vec![0.0; scales.len()],
        };
        let transposed = matches!(&node.op, Op::Conv(c, _) if c.transposed);
        let channels: Option<Vec<Channel>> = weight
            .rows
            .iter()
            .zip(scales.iter().zip(&bias))
            .map(|(row, (scale, bias))| channel(row, *scale, bias + addend, [&input, &target.grid], transposed))
            .collect();
        let channels = channels.filter(|c| c.len() == scales.len())?;
        let (factors, shift) = factors(&channels)?;
        let biases: Vec<i32> = channels.iter().map(|c| c.bias).collect();
        let factor = self.constant(&format!("{}.factor", weight.name), &factors)?;
        let bias = self.constant(&format!("{}.bias", weight.name), &biases)?;
        let requantize = Some(target.requantize(&input, shift));
        let epilogue = Epilogue { requantize, bias: true, ..Epilogue::default() };
        let op = match &node.op {
            Op::Conv(c, _) => Op::Conv(c.clone(), epilogue),
            _ => Op::Linear(epilogue),
        };
        self.push(op, &[x, weight.value, factor, bias])
    }

    /// The i8 constant behind the weight of a layer, by output channel.
    fn weight(&self, node: &Node) -> Option<Weight> {
        let source = self.producer(node.inputs[1])?;
        let Op::Dequantize { scale, zero_point, axis } = source.op else { return None };
        let constant = self.graph.constant_of(source.inputs[0]).filter(|c| c.dtype == DType::I8)?;
        let rows = match &node.op {
            Op::Conv(c, _) if c.transposed => transposed_rows(constant, c.groups)?,
            _ => {
                let channels = *constant.shape.first()?;
                let len = (constant.data.len() / channels.max(1)).max(1);
                constant.data.chunks_exact(len).map(<[u8]>::to_vec).collect()
            }
        };
        let along = usize::from(matches!(&node.op, Op::Conv(c, _) if c.transposed));
        let (scales, zero_points) = match axis {
            None => (vec![f64::from_bits(scale)], vec![zero_point as f64]),
            Some(axis) if axis == along => (self.numbers(source.inputs[1])?, self.numbers(source.inputs[2])?),
            Some(_) => return None,
        };
        let plain = zero_points.iter().all(|z| *z == 0.0) && scales.iter().all(|s| s.is_finite() && *s > 0.0);
        // Groups of a transposed convolution share the scales of their columns.
        let scales: Vec<f64> = scales.iter().copied().cycle().take(rows.len()).collect();
        let name = constant.name.clone();
        (plain && scales.len() == rows.len()).then_some(Weight { value: source.inputs[0], name, rows, scales })
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

    pub(super) fn numbers(&self, v: ValueId) -> Option<Vec<f64>> {
        floats(self.graph.constant_of(v)?)
    }

    /// A vector of integers.
    pub(super) fn constant(&mut self, name: &str, numbers: &[i32]) -> Option<ValueId> {
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

/// Numbers of one channel; `None` where sums may leave 32 bits, or where the unit of the sum is too coarse for the bias. Of a
/// transposed convolution any part of the weights may be summed.
fn channel(weights: &[u8], scale: f64, bias: f64, [input, output]: [&Grid; 2], transposed: bool) -> Option<Channel> {
    debug_assert!(narrow(input.dtype));
    let weights = weights.iter().map(|w| i64::from(*w as i8));
    let (sum, size) = weights.fold((0i64, 0i64), |(sum, size), w| (sum + w, size + w.abs()));
    let mut unit = input.scale * scale;
    if size == 0 {
        // Only the bias counts: any unit does, and the observer's may be so small that the bias would not fit. One that is no
        // power of two cannot make ties.
        unit = output.scale / f64::from((1 << 15) + 1);
    }
    let (ratio, exact) = (unit / output.scale, bias / unit);
    let rounded = exact.round_ties_even();
    if !rounded.is_finite() || (rounded - exact).abs() * ratio > 0.5 || rounded.abs() > f64::from(i32::MAX) {
        return None;
    }
    let bias = rounded as i64 - i64::from(input.zero) * sum;
    let parts = if transposed { size * i64::from(input.zero).abs() } else { 0 };
    let greatest = input.magnitude() * size + bias.abs() + parts;
    let fits = greatest < i64::from(i32::MAX) && greatest as f64 * ratio < f64::from(i32::MAX);
    fits.then_some(Channel { ratio, bias: i32::try_from(bias).ok()?, greatest })
}
