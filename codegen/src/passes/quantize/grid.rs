//! Integers that stand for real numbers, and the integer formulas that lead from one grid to another.

use super::super::epilogue::number;
use crate::ir::{Binary, ExprId, ExprNode, Formula, Op, Requantize};
use exported_runtime::DType;

/// `q` stands for `(q - zero) * scale`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    pub scale: f64,
    pub zero: i32,
    pub dtype: DType,
}

impl Grid {
    /// From the arguments of an operator, the scale by its bits.
    pub fn new(scale: u64, zero_point: i64, dtype: DType) -> Self {
        let zero = zero_point.clamp(i64::from(i16::MIN), i64::from(i16::MAX)) as i32;
        Grid { scale: f64::from_bits(scale), zero, dtype }
    }

    /// Least and greatest integer stored.
    fn range(&self) -> (i32, i32) {
        match self.dtype {
            DType::U8 => (0, 255),
            DType::I16 => (i32::from(i16::MIN), i32::from(i16::MAX)),
            _ => (-128, 127),
        }
    }

    /// Most that a stored integer can be, either way; 255 for all bytes, since kernels turn signed ones into unsigned ones.
    pub fn magnitude(&self) -> i64 {
        if self.dtype == DType::I16 { 1 << 15 } else { 255 }
    }

    /// What each byte stands for, by its bits: `(q - zero) * scale`, every step rounded to f32.
    pub fn numbers(&self) -> Option<Vec<f32>> {
        let stored = |bits: u8| match self.dtype {
            DType::I8 => Some(i32::from(bits as i8)),
            DType::U8 => Some(i32::from(bits)),
            _ => None,
        };
        (0..=255).map(|bits| Some((stored(bits)? - self.zero) as f32 * self.scale as f32)).collect()
    }

    /// Greatest distance of a stored integer from the zero point.
    fn reach(&self) -> i64 {
        let (least, greatest) = self.range();
        i64::from((greatest - self.zero).max(self.zero - least))
    }
}

/// The grid of a result, and the bounds it is cut at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub grid: Grid,
    pub low: i32,
    pub high: i32,
}

impl Target {
    /// `None` where parameters are out of range.
    pub fn new(grid: Grid, min: i64, max: i64) -> Option<Self> {
        let (least, greatest) = grid.range();
        let low = i32::try_from(min.max(i64::from(least))).ok()?;
        let high = i32::try_from(max.min(i64::from(greatest))).ok()?;
        (low <= high && grid.scale.is_finite() && grid.scale > 0.0).then_some(Target { grid, low, high })
    }

    /// What a number is quantized to: as the reference, in f32.
    pub fn quantized(&self, x: f64) -> i32 {
        let scaled = (x as f32 * (1.0 / self.grid.scale) as f32).round_ties_even();
        (f64::from(scaled) + f64::from(self.grid.zero)).clamp(f64::from(self.low), f64::from(self.high)) as i32
    }

    /// Quantization to this grid.
    pub fn operation(&self) -> Op {
        Op::Quantize {
            scale: self.grid.scale.to_bits(),
            zero_point: i64::from(self.grid.zero),
            min: i64::from(self.low),
            max: i64::from(self.high),
            dtype: self.grid.dtype,
            axis: None,
        }
    }

    /// Also bounds the real result. Quantization does not change order, so the bounds may come after it.
    pub fn clamp(&mut self, low: f64, high: f64) {
        (self.low, self.high) = (self.quantized(low), self.quantized(high));
    }

    /// Whether every integer of that grid is one of this, and within the bounds.
    pub fn holds(&self, grid: &Grid) -> bool {
        let same =
            (grid.scale as f32, grid.zero, grid.dtype) == (self.grid.scale as f32, self.grid.zero, self.grid.dtype);
        same && (self.low, self.high) == grid.range()
    }

    /// The epilogue of sums whose factors have this shift.
    pub fn requantize(&self, input: &Grid, shift: u32) -> Requantize {
        Requantize {
            dtype: self.grid.dtype,
            input_zero: input.zero,
            output_zero: self.grid.zero,
            shift,
            bounds: (self.low, self.high),
        }
    }

    /// The epilogue of a mean of such integers, and its factor, which the kernel divides by the count.
    pub fn mean(&self, input: &Grid) -> Option<(Requantize, i32)> {
        let ratio = input.scale / self.grid.scale;
        let shift = shift_for(ratio, 30)?;
        Some((self.requantize(input, shift), fixed(ratio, shift) as i32))
    }
}

/// The greatest shift, at most 62, with `ratio * 2^shift < 2^bits`; at least 1 or none.
pub(super) fn shift_for(ratio: f64, bits: i32) -> Option<u32> {
    if !(ratio.is_finite() && ratio > 0.0) {
        return None;
    }
    (1..=62u32).rev().find(|&shift| fixed(ratio, shift) < 1i64 << bits)
}

/// `ratio * 2^shift`, rounded; scaling by a power of two is exact.
pub(super) fn fixed(ratio: f64, shift: u32) -> i64 {
    (ratio * (1u64 << shift) as f64).round_ties_even() as i64
}

/// `ratio * 2^32` as one of the two integers next to it, such that `sum * factor / 2^32` is never half an integer for sums up
/// to `greatest`: then all ways to round are the same. Sums must be below 2^24, so that before rounding a result is off by
/// less than 1/256. `None` where ties are real, or the factor has more than 31 bits.
pub(super) fn upper_factor(ratio: f64, greatest: i64) -> Option<i32> {
    let exact = ratio * (1u64 << 32) as f64;
    let (nearest, other) = match exact.round_ties_even() {
        nearest if nearest < exact => (nearest, exact.ceil()),
        nearest => (nearest, exact.floor()),
    };
    // A tie is a product of 2^31 times an odd number, so the sum has all the zero bits that the factor lacks.
    let unambiguous = |factor: &i32| *factor == 0 || greatest < 1 << (31 - factor.trailing_zeros().min(31));
    let whole = |x: f64| i32::try_from(x as i64).ok();
    if !exact.is_finite() || greatest >= 1 << 24 {
        return None;
    }
    whole(nearest).filter(unambiguous).or_else(|| whole(other).filter(unambiguous).filter(|_| nearest != exact))
}

/// From integers of one grid to the target's.
pub(super) fn conversion(grid: &Grid, target: &Target) -> Option<Formula> {
    combination(&[*grid], &[1.0], 0.0, target)
}

/// The integer form of a formula over dequantized tensors: a sum of operands with factors, or the product of two.
pub(super) fn pointwise(f: &Formula, grids: &[Grid], target: &Target) -> Option<Formula> {
    let &[result] = f.results.as_slice() else { return None };
    if grids.is_empty() || f.params.iter().any(|d| *d != DType::F32) {
        return None;
    }
    if let ExprNode::Binary(Binary::Mul, a, b) = f.nodes[result.0 as usize]
        && let (ExprNode::Param(i), ExprNode::Param(j)) = (f.nodes[a.0 as usize], f.nodes[b.0 as usize])
    {
        return product(grids, [i as usize, j as usize], target);
    }
    let mut factors = vec![0.0; grids.len()];
    let mut addend = 0.0;
    linear(f, result, 1.0, &mut factors, &mut addend)?;
    combination(grids, &factors, addend, target)
}

/// Adds `times` the expression, if it is linear in the operands.
fn linear(f: &Formula, e: ExprId, times: f64, factors: &mut [f64], addend: &mut f64) -> Option<()> {
    let number = |e: ExprId| number(f, e).filter(|x| x.is_finite());
    match f.nodes[e.0 as usize] {
        ExprNode::Param(i) => *factors.get_mut(i as usize)? += times,
        ExprNode::Const(..) => *addend += times * number(e)?,
        ExprNode::Binary(Binary::Add, a, b) => {
            linear(f, a, times, factors, addend)?;
            linear(f, b, times, factors, addend)?;
        }
        ExprNode::Binary(Binary::Sub, a, b) => {
            linear(f, a, times, factors, addend)?;
            linear(f, b, -times, factors, addend)?;
        }
        ExprNode::Binary(Binary::Mul, a, b) => match (number(a), number(b)) {
            (Some(number), _) => linear(f, b, times * number, factors, addend)?,
            (_, Some(number)) => linear(f, a, times * number, factors, addend)?,
            _ => return None,
        },
        ExprNode::Binary(Binary::Div, a, b) => linear(f, a, times / number(b).filter(|n| *n != 0.0)?, factors, addend)?,
        _ => return None,
    }
    Some(())
}

/// `clamp(factor * x + addend)` of one operand, rising.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ramp {
    pub factor: f64,
    pub addend: f64,
    /// Least and greatest result.
    pub bounds: [f64; 2],
}

impl Ramp {
    fn map(self, factor: f64, addend: f64) -> Ramp {
        let result = |x: f64| x * factor + addend;
        Ramp { factor: self.factor * factor, addend: result(self.addend), bounds: self.bounds.map(result) }
    }

    fn cut(self, bound: impl Fn(f64) -> f64) -> Ramp {
        Ramp { bounds: self.bounds.map(bound), ..self }
    }
}

/// Recognizes a ramp, such as hardsigmoid.
pub(super) fn ramp(f: &Formula) -> Option<Ramp> {
    let (&[result], &[DType::F32]) = (f.results.as_slice(), f.params.as_slice()) else { return None };
    let ramp = rising(f, result)?;
    let [low, high] = ramp.bounds;
    let finite = ramp.factor.is_finite() && ramp.addend.is_finite();
    (finite && ramp.factor > 0.0 && low <= high).then_some(ramp)
}

fn rising(f: &Formula, e: ExprId) -> Option<Ramp> {
    let (op, a, b) = match f.nodes[e.0 as usize] {
        ExprNode::Param(_) => {
            return Some(Ramp { factor: 1.0, addend: 0.0, bounds: [f64::NEG_INFINITY, f64::INFINITY] });
        }
        ExprNode::Binary(op, a, b) => (op, a, b),
        _ => return None,
    };
    let (of, n, first) = match (number(f, a), number(f, b)) {
        (None, Some(n)) => (rising(f, a)?, n, true),
        (Some(n), None) => (rising(f, b)?, n, false),
        _ => return None,
    };
    match op {
        Binary::Add => Some(of.map(1.0, n)),
        Binary::Sub if first => Some(of.map(1.0, -n)),
        Binary::Mul if n > 0.0 => Some(of.map(n, 0.0)),
        Binary::Div if first && n > 0.0 => Some(of.map(1.0 / n, 0.0)),
        Binary::Max => Some(of.cut(|x| x.max(n))),
        Binary::Min => Some(of.cut(|x| x.min(n))),
        _ => None,
    }
}

/// `sum of factor * operand + addend`, in i32 for bytes: factors have as many bits as leave room for the sum. Before rounding a
/// result is within `(1 + sum of reaches) / 2^(shift + 1)` of the exact one.
fn combination(grids: &[Grid], factors: &[f64], addend: f64, target: &Target) -> Option<Formula> {
    let ratios: Vec<f64> = grids.iter().zip(factors).map(|(g, f)| f * g.scale / target.grid.scale).collect();
    let addend = addend / target.grid.scale;
    let room = |shift: u32| {
        let sum = grids.iter().zip(&ratios).map(|(g, r)| fixed(r.abs(), shift).saturating_mul(g.reach()));
        let zero =
            grids.iter().zip(&ratios).map(|(g, r)| fixed(r.abs(), shift).saturating_mul(i64::from(g.zero.abs())));
        let all = sum.chain(zero).fold(fixed(addend.abs(), shift), i64::saturating_add);
        all.saturating_add(1 << shift) < i64::from(i32::MAX)
    };
    // Of 16-bit operands the sum is taken in i64, or their factors would have too few bits.
    let wide = target.grid.dtype == DType::I16 || grids.iter().any(|g| g.dtype == DType::I16);
    let dtype = if wide { DType::I64 } else { DType::I32 };
    let shift = match wide {
        true => shift_for(ratios.iter().fold(addend.abs(), |most, r| most.max(r.abs())), 31)?,
        false => (1..=30u32).rev().find(|&shift| room(shift))?,
    };
    let constant =
        grids.iter().zip(&ratios).fold(fixed(addend, shift), |sum, (g, r)| sum - fixed(*r, shift) * i64::from(g.zero));
    let dtypes: Vec<DType> = grids.iter().map(|g| g.dtype).collect();
    let mut f = Formula::new(&dtypes);
    let mut sum = f.int(dtype, constant);
    for (i, ratio) in ratios.iter().enumerate() {
        let (x, factor) = (f.param(i), f.int(dtype, fixed(*ratio, shift)));
        let x = f.cast(dtype, x);
        let term = f.binary(Binary::Mul, x, factor);
        sum = f.binary(Binary::Add, sum, term);
    }
    Some(finished(f, sum, shift, dtype, target))
}

/// The product of two operands, in i64.
fn product(grids: &[Grid], operands: [usize; 2], target: &Target) -> Option<Formula> {
    let [a, b] = operands.map(|i| grids.get(i));
    let (a, b) = (a?, b?);
    let ratio = a.scale * b.scale / target.grid.scale;
    let shift = shift_for(ratio, 31)?;
    let dtypes: Vec<DType> = grids.iter().map(|g| g.dtype).collect();
    let mut f = Formula::new(&dtypes);
    let parts = operands.map(|i| {
        let (x, zero) = (f.param(i), f.int(DType::I64, i64::from(grids[i].zero)));
        let x = f.cast(DType::I64, x);
        f.binary(Binary::Sub, x, zero)
    });
    let both = f.binary(Binary::Mul, parts[0], parts[1]);
    let factor = f.int(DType::I64, fixed(ratio, shift));
    let scaled = f.binary(Binary::Mul, both, factor);
    Some(finished(f, scaled, shift, DType::I64, target))
}

/// `clamp(round_half_even(sum / 2^shift) + zero)` as the target's type.
pub(super) fn finished(mut f: Formula, sum: ExprId, shift: u32, dtype: DType, target: &Target) -> Formula {
    let count = f.int(dtype, i64::from(shift));
    let floor = f.binary(Binary::Shr, sum, count);
    let one = f.int(dtype, 1);
    let odd = f.binary(Binary::And, floor, one);
    let below_half = f.int(dtype, (1i64 << (shift - 1)) - 1);
    let raised = f.binary(Binary::Add, sum, below_half);
    let raised = f.binary(Binary::Add, raised, odd);
    let rounded = f.binary(Binary::Shr, raised, count);
    let zero = f.int(dtype, i64::from(target.grid.zero));
    let shifted = f.binary(Binary::Add, rounded, zero);
    let low = f.int(dtype, i64::from(target.low));
    let high = f.int(dtype, i64::from(target.high));
    let at_least = f.binary(Binary::Max, shifted, low);
    let cut = f.binary(Binary::Min, at_least, high);
    let result = f.cast(target.grid.dtype, cut);
    f.results.push(result);
    f
}

#[cfg(test)]
mod tests {
    use super::{Ramp, ramp, upper_factor};
    use crate::ir::{Binary, Formula};
    use exported_runtime::DType;

    /// `op` of the operand and these numbers, in a row.
    fn chain(steps: &[(Binary, f64)]) -> Formula {
        let mut f = Formula::new(&[DType::F32]);
        let mut x = f.param(0);
        for (op, n) in steps {
            let n = f.float(DType::F32, *n);
            x = f.binary(*op, x, n);
        }
        f.results.push(x);
        f
    }

    #[test]
    fn ramps_are_what_rises_in_a_line_between_bounds() {
        use Binary::{Add, Div, Max, Min, Mul, Sub};
        let found = ramp(&chain(&[(Add, 3.0), (Max, 0.0), (Min, 6.0), (Div, 4.0)]));
        assert_eq!(found, Some(Ramp { factor: 0.25, addend: 0.75, bounds: [0.0, 1.5] }));
        let found = ramp(&chain(&[(Min, 2.0), (Mul, 0.5), (Sub, 1.0)]));
        assert_eq!(found, Some(Ramp { factor: 0.5, addend: -1.0, bounds: [f64::NEG_INFINITY, 0.0] }));
        for (op, n) in [(Mul, -1.0), (Mul, 0.0), (Div, 0.0), (Add, f64::INFINITY), (Binary::Pow, 2.0)] {
            assert_eq!(ramp(&chain(&[(op, n)])), None, "{op:?} {n}");
        }
        assert_eq!(
            ramp(&chain(&[(Max, 2.0), (Min, 1.0), (Max, 3.0), (Min, 2.0)])),
            Some(Ramp { factor: 1.0, addend: 0.0, bounds: [2.0, 2.0] })
        );
    }

    /// Whether some sum up to `greatest` times the factor is an odd multiple of 2^31.
    fn ties(factor: i32, greatest: i64) -> bool {
        (1..=greatest).any(|sum| (sum * i64::from(factor)) as u32 == 1 << 31)
    }

    #[test]
    fn factors_of_upper_words_are_near_and_make_no_ties() {
        for i in 1..400 {
            let (ratio, greatest) = (f64::from(i) * 1.234_567e-5, i64::from(i) * 500);
            let Some(factor) = upper_factor(ratio, greatest) else { unreachable!("{ratio}") };
            assert!((f64::from(factor) - ratio * (1u64 << 32) as f64).abs() <= 1.0, "{ratio}");
            assert!(!ties(factor, greatest), "{ratio} {factor}");
        }
        // The nearest has 20 zero bits, which sums of 12 bits reach: its neighbour is taken.
        let ratio = (f64::from(1 << 20) + 0.25) / (1u64 << 32) as f64;
        assert_eq!(upper_factor(ratio, 2047), Some(1 << 20));
        assert_eq!(upper_factor(ratio, 2048), Some((1 << 20) + 1));
    }

    #[test]
    fn upper_words_are_not_for_ties_large_sums_and_large_factors() {
        let power = f64::from(1 << 20) / (1u64 << 32) as f64;
        assert_eq!(upper_factor(power, 2047), Some(1 << 20));
        assert_eq!(upper_factor(power, 2048), None);
        assert_eq!(upper_factor(0.1, 1 << 24), None);
        assert_eq!(upper_factor(0.5, 100), None);
        assert_eq!(upper_factor(f64::NAN, 1), None);
    }
}
