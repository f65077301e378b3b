//! What is no layer: functions of one tensor by tables, the greater of two, softmax, products of activations, means and sums.

use super::grid::{Grid, Target, shift_for};
use super::{Maker, narrow};
use crate::ir::{Binary, Constant, ExprNode, Formula, Node, Op, TensorType, ValueId, View, eval};
use crate::sym::Expr;
use exported_runtime::DType;

/// Elements that a mean may have: its factor loses as many bits.
const MOST: i64 = 1 << 16;

/// Bits behind the point that a sum must have.
const LEAST_SHIFT: u32 = 12;

/// The two operands whose maximum or minimum a formula is.
pub(super) fn greater(f: &Formula) -> Option<(Binary, [usize; 2])> {
    let (&[result], &[DType::F32, DType::F32]) = (f.results.as_slice(), f.params.as_slice()) else { return None };
    let ExprNode::Binary(op @ (Binary::Max | Binary::Min), a, b) = f.nodes[result.0 as usize] else { return None };
    match (f.nodes[a.0 as usize], f.nodes[b.0 as usize]) {
        (ExprNode::Param(i), ExprNode::Param(j)) => Some((op, [i as usize, j as usize])),
        _ => None,
    }
}

/// A float tensor as a function of one byte.
struct Tabulated {
    /// The float tensor that stands for the bytes.
    leaf: ValueId,
    /// Results by the bits of the byte.
    numbers: Vec<f32>,
}

impl Maker<'_> {
    /// Maximum or minimum: quantization does not change order, so both operands are quantized before.
    pub(super) fn greater(
        &mut self,
        node: &Node,
        op: Binary,
        operands: [usize; 2],
        target: Target,
        alone: bool,
    ) -> Option<ValueId> {
        let Op::Pointwise { shape, .. } = &node.op else { return None };
        let a = self.onto(*node.inputs.get(operands[0])?, target, alone)?;
        let b = self.onto(*node.inputs.get(operands[1])?, target, alone)?;
        let dtype = target.grid.dtype;
        let mut f = Formula::new(&[dtype, dtype]);
        let (x, y) = (f.param(0), f.param(1));
        let result = f.binary(op, x, y);
        f.results.push(result);
        self.push(Op::Pointwise { formula: f, shape: shape.clone() }, &[a, b])
    }

    /// Pointwise operations on one tensor of bytes, one after the other or in branches that meet: a table of their results.
    pub(super) fn by_table(&mut self, node: &Node, target: &Target) -> Option<ValueId> {
        let Tabulated { leaf, numbers } = self.tabulated_by(node)?;
        let (x, _) = self.source(leaf)?;
        let entries = numbers.iter().map(|x| target.quantized(f64::from(*x)));
        let data: Vec<u8> = match target.grid.dtype {
            DType::I16 => entries.flat_map(|q| (q as i16).to_le_bytes()).collect(),
            _ => entries.map(|q| q as u8).collect(),
        };
        let table = self.table(target.grid.dtype, data)?;
        self.push(Op::Lookup, &[x, table])
    }

    fn table(&mut self, dtype: DType, data: Vec<u8>) -> Option<ValueId> {
        let name = format!("{}.table", self.name);
        let id = self.graph.add_constant(Constant { name: name.clone(), dtype, shape: vec![256], data: data.into() });
        let value = self.graph.add_value(&name, TensorType { dtype, shape: vec![Expr::Int(256)] });
        let origin = self.origin.clone();
        self.nodes.push(Node { op: Op::Constant(id), inputs: vec![], outputs: vec![value], origin });
        Some(value)
    }

    fn tabulated(&self, v: ValueId) -> Option<Tabulated> {
        let node = self.producer(v)?;
        match &node.op {
            Op::Pointwise { .. } => self.tabulated_by(&node),
            _ => Some(Tabulated { leaf: v, numbers: self.grid_of(v)?.numbers()? }),
        }
    }

    /// The grid of a float tensor that is dequantized and then only moved.
    fn grid_of(&self, v: ValueId) -> Option<Grid> {
        let node = self.producer(v)?;
        match node.op {
            Op::Dequantize { scale, zero_point, axis: None } => {
                let dtype = self.graph.ty(node.inputs[0]).dtype;
                narrow(dtype).then(|| Grid::new(scale, zero_point, dtype))
            }
            ref op if super::moves(op) => self.grid_of(node.inputs[0]),
            _ => None,
        }
    }

    /// A pointwise node whose operands are numbers or functions of the same byte, evaluated as the device would.
    fn tabulated_by(&self, node: &Node) -> Option<Tabulated> {
        let Op::Pointwise { formula, shape } = &node.op else { return None };
        let numbered = |n: &ExprNode| !matches!(n, ExprNode::Coord(_) | ExprNode::Size(_));
        if formula.results.len() != 1 || !formula.nodes.iter().all(numbered) {
            return None;
        }
        let mut leaf = None;
        let mut columns = Vec::new();
        for &v in &node.inputs {
            if let Some(constant) = self.graph.constant_of(v).filter(|c| c.shape.iter().product::<usize>() == 1) {
                columns.push(Constant { shape: vec![], ..constant.clone() });
                continue;
            }
            let operand = self.tabulated(v)?;
            if self.graph.ty(v).shape != *shape || *leaf.get_or_insert(operand.leaf) != operand.leaf {
                return None;
            }
            let data: Vec<u8> = operand.numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
            columns.push(Constant { name: String::new(), dtype: DType::F32, shape: vec![256], data: data.into() });
        }
        let results = eval::pointwise(formula, &[256], &columns.iter().collect::<Vec<_>>())?;
        let result = results.first().filter(|c| c.dtype == DType::F32)?;
        let numbers = result.data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        Some(Tabulated { leaf: leaf?, numbers })
    }

    /// Batch normalization by itself: a factor and an addend per channel. The sum is taken in i32, so that before rounding a
    /// result is within `128 / 2^shift` of the exact one.
    pub(super) fn normalized(&mut self, node: &Node, eps: f64, target: &Target) -> Option<ValueId> {
        let parts: Option<Vec<Vec<f64>>> = node.inputs[1..].iter().map(|&v| self.numbers(v)).collect();
        let [weight, bias, mean, var] = <[Vec<f64>; 4]>::try_from(parts?).ok()?;
        let (x, grid) = self.source(node.inputs[0])?;
        let channel = |c: usize| {
            let factor = weight[c] / (var[c] + eps).sqrt();
            let (factor, addend) = (factor * grid.scale, bias[c] - mean[c] * factor);
            (factor / target.grid.scale, (addend - factor * f64::from(grid.zero)) / target.grid.scale)
        };
        let channels: Vec<(f64, f64)> = (0..weight.len()).map(channel).collect();
        let greatest =
            channels.iter().map(|(factor, addend)| factor.abs() * 255.0 + addend.abs() + 1.0).fold(0.0, f64::max);
        let shift = super::grid::shift_for(greatest, 30).filter(|shift| (LEAST_SHIFT..31).contains(shift))?;
        let fixed = |x: f64| super::grid::fixed(x, shift) as i32;
        let factors: Vec<i32> = channels.iter().map(|c| fixed(c.0)).collect();
        let addends: Vec<i32> = channels.iter().map(|c| fixed(c.1)).collect();
        let mut shape = vec![Expr::Int(1); self.graph.ty(x).shape.len()];
        *shape.get_mut(1)? = Expr::from(channels.len());
        let mut operands = vec![x];
        for (name, numbers) in [("factor", factors), ("addend", addends)] {
            let name = format!("{}.{name}", self.name);
            let vector = self.constant(&name, &numbers)?;
            operands.push(self.push(Op::View(View::Reshape(shape.clone())), &[vector])?);
        }
        let mut f = Formula::new(&[grid.dtype, DType::I32, DType::I32]);
        let (q, factor, addend) = (f.param(0), f.param(1), f.param(2));
        let q = f.cast(DType::I32, q);
        let product = f.binary(Binary::Mul, q, factor);
        let sum = f.binary(Binary::Add, product, addend);
        let formula = super::grid::finished(f, sum, shift, DType::I32, target);
        let shape = self.graph.ty(x).shape.clone();
        (grid.dtype.size() == 1).then_some(())?;
        self.push(Op::Pointwise { formula, shape }, &operands)
    }

    /// Softmax of bytes: exponentials of all distances from the maximum are a table.
    pub(super) fn softmax(&mut self, node: &Node, dim: usize, target: &Target) -> Option<ValueId> {
        let n = self.graph.ty(node.inputs[0]).shape.get(dim)?.as_int().filter(|n| (1..=1 << 12).contains(n))?;
        let (x, grid) = self.source(node.inputs[0])?;
        if grid.dtype.size() != 1 || target.grid.dtype.size() != 1 {
            return None;
        }
        let unit = f64::from(1 << (30 - (n - 1).max(1).ilog2() - 1));
        let entry = |d: i32| ((-grid.scale * f64::from(d)).exp() * unit).round() as i32;
        let table = self.table(DType::I32, (0..256).flat_map(|d| entry(d).to_le_bytes()).collect())?;
        let ratio = 1.0 / target.grid.scale;
        let shift = shift_for(ratio, 31).filter(|shift| *shift <= 31)?;
        let factor = super::grid::fixed(ratio, shift) as i32;
        let requantize = target.requantize(&grid, shift);
        self.push(Op::QuantizedSoftmax { dim, requantize, factor }, &[x, table])
    }

    /// A product of two activations.
    pub(super) fn matmul(&mut self, node: &Node, target: &Target) -> Option<ValueId> {
        let inner = self.graph.ty(node.inputs[0]).shape.last()?.as_int()?;
        let rank = self.graph.ty(node.inputs[0]).shape.len();
        let ((a, left), (b, right)) = (self.source(node.inputs[0])?, self.source(node.inputs[1])?);
        let bytes = [left.dtype, right.dtype, target.grid.dtype].iter().all(|d| d.size() == 1);
        if !bytes || rank > 4 || inner.checked_mul(255 * 255)? >= i64::from(i32::MAX) {
            return None;
        }
        let ratio = left.scale * right.scale / target.grid.scale;
        let shift = shift_for(ratio, 31)?;
        let factor = super::grid::fixed(ratio, shift) as i32;
        let requantize = target.requantize(&left, shift);
        self.push(Op::QuantizedMatMul { requantize, weight_zero: right.zero, factor }, &[a, b])
    }

    /// A mean or sum: spatial dims of images as they lie, others moved to the end and seen as one.
    pub(super) fn mean(&mut self, node: &Node, dims: &[usize], target: &Target, sum: bool) -> Option<ValueId> {
        let shape = self.graph.ty(node.inputs[0]).shape.clone();
        let (rank, mut dims) = (shape.len(), dims.to_vec());
        dims.sort_unstable();
        let count =
            Expr::product(dims.iter().map(|&d| shape[d].clone())).as_int().filter(|n| (1..=MOST).contains(n))?;
        let (mut x, mut grid) = self.source(node.inputs[0])?;
        if sum {
            grid.scale *= count as f64;
        }
        let requantize = Some(target.mean(&grid)?);
        let mut spatial = rank.saturating_sub(2);
        if !(1..=3).contains(&spatial) || dims != (2..rank).collect::<Vec<usize>>() {
            let kept: Vec<usize> = (0..rank).filter(|d| !dims.contains(d)).collect();
            let first = dims.first().copied().unwrap_or(rank);
            let size = |list: Vec<usize>| Expr::product(list.into_iter().map(|d| shape[d].clone()));
            let (before, after) = kept.iter().copied().partition::<Vec<usize>, _>(|&d| d < first);
            x = self.push(Op::View(View::Permute([kept, dims].concat())), &[x])?;
            x = self.push(Op::View(View::Reshape(vec![size(before), size(after), Expr::Int(count)])), &[x])?;
            spatial = 1;
        }
        let mean = self.push(Op::AdaptivePool { max: false, spatial, out: [1; 3], requantize }, &[x])?;
        let shape: Vec<Expr> = self.graph.ty(node.outputs[0]).shape.clone();
        self.push(Op::View(View::Reshape(shape)), &[mean])
    }
}
