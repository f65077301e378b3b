//! The conversions of PT2E programs, faithful to torch's reference arithmetic:
//! `quantize(x) = clamp(round_half_even(x * (1 / scale)) + zero_point, min, max)`, `dequantize(q) = (q - zero_point) * scale`,
//! every step rounded to f32.
//!
//! Both are operations of their own until the passes have seen what can be computed on integers. Parameters that the
//! program chooses at run time, per tensor or per row (dynamic quantization), and quantization with them are formulas.

use super::reduce::reduce;
use super::{Out, Outs, Row, map, one, row};
use crate::diag::Diagnostic;
use crate::import::Call;
use crate::ir::{Binary, ExprId, Formula, Op, ReduceKind, Unary, ValueId};
use crate::lower::layer::floats;
use crate::sym::Expr;
use exported_runtime::DType;

type Result<T> = std::result::Result<T, Diagnostic>;

/// The rows.
pub const ROWS: &[Row] = &[
    row("quantized_decomposed.quantize_per_tensor.default", quantize_per_tensor),
    row("quantized_decomposed.quantize_per_tensor.tensor", quantize_per_tensor),
    row("quantized_decomposed.quantize_per_tensor.tensor2", quantize_per_tensor),
    row("quantized_decomposed.quantize_per_channel.default", quantize_per_channel),
    row("quantized_decomposed.quantize_per_token.default", quantize_per_token),
    row("quantized_decomposed.quantize_per_channel_group.default", quantize_per_group),
    row("quantized_decomposed.dequantize_per_tensor.default", dequantize_per_tensor),
    row("quantized_decomposed.dequantize_per_tensor.tensor", dequantize_per_tensor),
    row("quantized_decomposed.dequantize_per_tensor.tensor2", dequantize_per_tensor),
    row("quantized_decomposed.dequantize_per_channel.default", dequantize_per_channel),
    row("quantized_decomposed.dequantize_per_token.default", dequantize_per_token),
    row("quantized_decomposed.dequantize_per_channel_group.default", dequantize_per_group),
    row("quantized_decomposed.choose_qparams.tensor", choose_parameters),
    row("quantized_decomposed.choose_qparams_symmetric.tensor", choose_parameters),
    row("quantized_decomposed.choose_qparams_per_token.default", choose_per_token),
    row("quantized_decomposed.choose_qparams_per_token_asymmetric.default", choose_per_token_asymmetric),
    row("quantized_decomposed._choose_qparams_per_token_asymmetric_impl.default", choose_per_token_asymmetric),
    row("quantized_decomposed.fake_quant_per_channel.default", fake_quantize),
    row("quantized_decomposed.convert_element_type.no_fuse", convert_element_type),
    row("torchao.choose_qparams_affine.default", choose_affine),
    row("torchao.quantize_affine.default", quantize_affine),
    row("torchao.dequantize_affine.default", dequantize_affine),
];

/// The tensor to quantize, its integer type and bounds.
fn quantization(call: &Call<'_>) -> Result<(ValueId, DType, i64, i64)> {
    let x = float_input(call)?;
    let dtype = integer_type(call, "dtype")?;
    Ok((x, dtype, number(call, "quant_min")?, number(call, "quant_max")?))
}

fn float_input(call: &Call<'_>) -> Result<ValueId> {
    let x = call.tensor("input")?;
    match call.dtype_of(x) {
        DType::F32 => Ok(x),
        _ => Err(call.unsupported(format!("quantization of {}", call.ty(x)))),
    }
}

fn integer_type(call: &Call<'_>, name: &str) -> Result<DType> {
    let dtype = call.dtype(name)?.filter(|d| d.is_int());
    dtype.ok_or_else(|| call.unsupported("quantization to something that is no integer"))
}

/// An integer argument, also as a constant tensor of one element.
fn number(call: &Call<'_>, name: &str) -> Result<i64> {
    match call.tensor(name) {
        Ok(v) => {
            let found = constant(call, v).map(|x| x as i64);
            found.ok_or_else(|| call.unsupported(format!("`{name}` is a tensor that is known at run time only")))
        }
        Err(_) => call.int(name),
    }
}

/// The element of a constant of one element.
fn constant(call: &Call<'_>, v: ValueId) -> Option<f64> {
    let constant = call.graph().constant_of(v)?;
    let numbers = match constant.dtype {
        DType::I64 => constant.data.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b) as f64).collect(),
        _ => floats(constant)?,
    };
    <[f64; 1]>::try_from(numbers).ok().map(|[x]| x)
}

/// Scale and zero point of a whole tensor.
enum Parameters {
    /// Known at build time: bits of the scale.
    Known(u64, i64),
    /// Tensors of one element.
    Tensors(ValueId, ValueId),
}

impl Parameters {
    fn of(call: &Call<'_>) -> Result<Self> {
        let (Ok(scale), Ok(zero_point)) = (call.tensor("scale"), call.tensor("zero_point")) else {
            return Ok(Parameters::Known(call.float("scale")?.to_bits(), call.int("zero_point")?));
        };
        Ok(match (constant(call, scale), constant(call, zero_point)) {
            (Some(scale), Some(zero_point)) => Parameters::Known(scale.to_bits(), zero_point as i64),
            _ => Parameters::Tensors(scale, zero_point),
        })
    }
}

fn quantize_per_tensor(call: &mut Call<'_>) -> Result<Outs> {
    let (x, dtype, min, max) = quantization(call)?;
    match Parameters::of(call)? {
        Parameters::Known(scale, zero_point) => {
            one(call.push(Op::Quantize { scale, zero_point, min, max, dtype, axis: None }, &[x])?)
        }
        Parameters::Tensors(scale, zero_point) => {
            let [scale, zero_point] = scalars(call, [scale, zero_point])?;
            one(map(call, &[x, scale, zero_point], |f, p| {
                let inverse = inverse(f, p[1], DType::F64);
                quantized_by(f, p[0], inverse, p[2], [min, max], dtype)
            })?)
        }
    }
}

/// Tensors of one element without dims, so that they broadcast to any shape.
fn scalars(call: &mut Call<'_>, values: [ValueId; 2]) -> Result<[ValueId; 2]> {
    let [a, b] = values;
    Ok([call.reshape(a, &[])?, call.reshape(b, &[])?])
}

/// `1 / scale`, formed in this dtype and rounded to f32.
fn inverse(f: &mut Formula, scale: ExprId, dtype: DType) -> ExprId {
    let scale = f.cast(dtype, scale);
    let unit = f.float(dtype, 1.0);
    let inverse = f.binary(Binary::Div, unit, scale);
    f.cast(DType::F32, inverse)
}

/// `clamp(round(x * inverse) + zero_point)`, in f32.
fn quantized_by(
    f: &mut Formula,
    x: ExprId,
    inverse: ExprId,
    zero_point: ExprId,
    [min, max]: [i64; 2],
    dtype: DType,
) -> ExprId {
    let scaled = f.binary(Binary::Mul, x, inverse);
    let rounded = f.unary(Unary::Round, scaled);
    let zero_point = f.cast(DType::F32, zero_point);
    let shifted = f.binary(Binary::Add, rounded, zero_point);
    let cut = clamp(f, shifted, [min as f64, max as f64]);
    f.cast(dtype, cut)
}

fn clamp(f: &mut Formula, x: ExprId, [min, max]: [f64; 2]) -> ExprId {
    let dtype = f.dtype(x);
    let (min, max) = (f.float(dtype, min), f.float(dtype, max));
    let raised = f.binary(Binary::Max, x, min);
    f.binary(Binary::Min, raised, max)
}

/// `(q - zero_point) * scale`, in this dtype.
fn dequantized_by(f: &mut Formula, q: ExprId, scale: ExprId, zero_point: ExprId, dtype: DType) -> ExprId {
    let [q, scale, zero_point] = [q, scale, zero_point].map(|e| f.cast(dtype, e));
    let shifted = f.binary(Binary::Sub, q, zero_point);
    f.binary(Binary::Mul, shifted, scale)
}

fn quantize_per_channel(call: &mut Call<'_>) -> Result<Outs> {
    let (x, dtype, min, max) = quantization(call)?;
    let (scales, zero_points, _) = channel_parameters(call, x)?;
    one(map(call, &[x, scales, zero_points], |f, p| {
        let inverse = inverse(f, p[1], DType::F32);
        quantized_by(f, p[0], inverse, p[2], [min, max], dtype)
    })?)
}

fn fake_quantize(call: &mut Call<'_>) -> Result<Outs> {
    let x = float_input(call)?;
    let (min, max) = (call.int("quant_min")?, call.int("quant_max")?);
    let (scales, zero_points, _) = channel_parameters(call, x)?;
    one(map(call, &[x, scales, zero_points], |f, p| {
        let inverse = inverse(f, p[1], DType::F32);
        let q = quantized_by(f, p[0], inverse, p[2], [min, max], DType::I32);
        dequantized_by(f, q, p[1], p[2], DType::F32)
    })?)
}

/// Scales and zero points as f32, shaped to broadcast along the axis; and the axis.
fn channel_parameters(call: &mut Call<'_>, x: ValueId) -> Result<(ValueId, ValueId, usize)> {
    let axis = call.dim("axis", call.rank(x))?;
    let scales = call.tensor("scales")?;
    let scales = call.cast(scales, DType::F32)?;
    let zero_points = match call.optional_tensor("zero_points")? {
        Some(zero_points) => call.cast(zero_points, DType::F32)?,
        None => zeros_like(call, scales)?,
    };
    let mut shape = vec![Expr::Int(1); call.rank(x)];
    if let (Some(size), Some(channels)) = (shape.get_mut(axis), call.shape(scales).first()) {
        *size = channels.clone();
    }
    Ok((call.reshape(scales, &shape)?, call.reshape(zero_points, &shape)?, axis))
}

/// As many zeros as there are scales, in one dim.
fn zeros_like(call: &mut Call<'_>, scales: ValueId) -> Result<ValueId> {
    let count = super::view::numel(&call.shape(scales)).as_int();
    let count = count.ok_or_else(|| call.unsupported("scales whose number depends on the input"))?;
    super::norm::filled(call, DType::F32, count, 0.0)
}

/// The integer tensor to dequantize.
fn quantized(call: &Call<'_>, out: &str) -> Result<ValueId> {
    let q = call.tensor("input")?;
    if !call.dtype_of(q).is_int() {
        return Err(call.damaged(format!("dequantization of {}", call.ty(q))));
    }
    match call.dtype(out)? {
        None | Some(DType::F32) => Ok(q),
        Some(other) => Err(call.unsupported(format!("dequantization to {}", other.name()))),
    }
}

fn dequantize_per_tensor(call: &mut Call<'_>) -> Result<Outs> {
    let q = quantized(call, "out_dtype")?;
    match Parameters::of(call)? {
        Parameters::Known(scale, zero_point) => one(call.push(Op::Dequantize { scale, zero_point, axis: None }, &[q])?),
        Parameters::Tensors(scale, zero_point) => {
            let [scale, zero_point] = scalars(call, [scale, zero_point])?;
            one(map(call, &[q, scale, zero_point], |f, p| dequantized_by(f, p[0], p[1], p[2], DType::F32))?)
        }
    }
}

fn dequantize_per_channel(call: &mut Call<'_>) -> Result<Outs> {
    let q = quantized(call, "out_dtype")?;
    let (scales, zero_points, axis) = channel_parameters(call, q)?;
    let channels = call.shape(q)[axis].clone();
    one(along(call, q, [scales, zero_points], axis, channels)?)
}

/// Dequantization with parameters along one dim.
fn along(call: &mut Call<'_>, q: ValueId, parameters: [ValueId; 2], axis: usize, size: Expr) -> Result<ValueId> {
    let [scales, zero_points] = parameters;
    let scales = call.reshape(scales, std::slice::from_ref(&size))?;
    let zero_points = call.reshape(zero_points, &[size])?;
    call.push(Op::Dequantize { scale: 0, zero_point: 0, axis: Some(axis) }, &[q, scales, zero_points])
}

/// Scales and zero points of rows have the dims of the tensor, the last of size 1, and decide the dtype that is computed in.
fn quantize_per_token(call: &mut Call<'_>) -> Result<Outs> {
    let (x, dtype, min, max) = quantization(call)?;
    let (scales, zero_points) = (call.tensor("scales")?, call.tensor("zero_points")?);
    let wide = widest(call, scales);
    one(map(call, &[x, scales, zero_points], |f, p| rounded_late(f, [p[0], p[1], p[2]], wide, [min, max], dtype))?)
}

/// f64, or f32 for everything less.
fn widest(call: &Call<'_>, scales: ValueId) -> DType {
    if call.dtype_of(scales) == DType::F64 { DType::F64 } else { DType::F32 }
}

/// `clamp(round(x * (1 / scale) + zero_point))`: rounded after the zero point is added.
fn rounded_late(f: &mut Formula, [x, scale, zero]: [ExprId; 3], wide: DType, range: [i64; 2], dtype: DType) -> ExprId {
    let [x, scale, zero] = [x, scale, zero].map(|e| f.cast(wide, e));
    let unit = f.float(wide, 1.0);
    let inverse = f.binary(Binary::Div, unit, scale);
    let scaled = f.binary(Binary::Mul, x, inverse);
    let shifted = f.binary(Binary::Add, scaled, zero);
    let rounded = f.unary(Unary::Round, shifted);
    let cut = clamp(f, rounded, range.map(|n| n as f64));
    f.cast(dtype, cut)
}

fn dequantize_per_token(call: &mut Call<'_>) -> Result<Outs> {
    let q = quantized(call, "output_dtype")?;
    let (scales, zero_points) = (call.tensor("scales")?, call.tensor("zero_points")?);
    let wide = widest(call, scales);
    one(map(call, &[q, scales, zero_points], |f, p| {
        let real = dequantized_by(f, p[0], p[1], p[2], wide);
        f.cast(DType::F32, real)
    })?)
}

/// Rows of `[rows * size / group, group]`, and one scale and zero point for each.
fn groups(call: &mut Call<'_>, x: ValueId) -> Result<(ValueId, ValueId, ValueId, Expr)> {
    let group = call.int("group_size")?;
    let shape = call.shape(x);
    let sizes: Option<Vec<i64>> = shape.iter().map(Expr::as_int).collect();
    let &[rows, size] = sizes.as_deref().unwrap_or(&[]) else {
        return Err(call.unsupported(format!("groups of {}", call.ty(x))));
    };
    let group = group.min(size);
    if group < 1 || size % group != 0 {
        return Err(call.damaged(format!("groups of {group} in rows of {size}")));
    }
    let count = Expr::Int(rows * (size / group));
    let x = call.reshape(x, &[count.clone(), Expr::Int(group)])?;
    let scales = call.tensor("scales")?;
    let scales = call.cast(scales, DType::F32)?;
    let zero_points = match call.optional_tensor("zero_points")? {
        Some(zero_points) => call.cast(zero_points, DType::F32)?,
        None => zeros_like(call, scales)?,
    };
    Ok((x, scales, zero_points, count))
}

fn quantize_per_group(call: &mut Call<'_>) -> Result<Outs> {
    let (x, dtype, min, max) = quantization(call)?;
    let shape = call.shape(x);
    let (x, scales, zero_points, count) = groups(call, x)?;
    let column = [count, Expr::Int(1)];
    let (scales, zero_points) = (call.reshape(scales, &column)?, call.reshape(zero_points, &column)?);
    let parts = [x, scales, zero_points];
    let q = map(call, &parts, |f, p| rounded_late(f, [p[0], p[1], p[2]], DType::F32, [min, max], dtype))?;
    one(call.reshape(q, &shape)?)
}

fn dequantize_per_group(call: &mut Call<'_>) -> Result<Outs> {
    let q = quantized(call, "output_dtype")?;
    let shape = call.shape(q);
    let (q, scales, zero_points, count) = groups(call, q)?;
    let real = along(call, q, [scales, zero_points], 0, count)?;
    one(call.reshape(real, &shape)?)
}

/// How a grid is laid over numbers between a least and a greatest.
#[derive(Clone, Copy, PartialEq)]
enum Mapping {
    /// The zero point is where 0 falls.
    Asymmetric,
    /// The zero point is given; the range is as wide on both sides.
    Symmetric { zero: i64 },
    /// Likewise, from the side that needs the greater scale.
    SymmetricNoClipping { zero: i64 },
}

/// Scale (in f32, at least `eps`) and zero point (a whole number in f32) from least and greatest numbers.
fn choose(
    call: &mut Call<'_>,
    [least, greatest]: [ValueId; 2],
    [min, max]: [i64; 2],
    eps: f64,
    mapping: Mapping,
) -> Result<[ValueId; 2]> {
    let range = (max - min) as f64;
    let scale = map(call, &[least, greatest], |f, p| {
        let zero = f.float(DType::F32, 0.0);
        let (low, high) = (f.binary(Binary::Min, p[0], zero), f.binary(Binary::Max, p[1], zero));
        let scale = match mapping {
            Mapping::Asymmetric => {
                let (width, range) = (f.binary(Binary::Sub, high, low), f.float(DType::F32, range));
                f.binary(Binary::Div, width, range)
            }
            Mapping::Symmetric { .. } => {
                let below = f.unary(Unary::Neg, low);
                let (reach, half) = (f.binary(Binary::Max, below, high), f.float(DType::F32, range / 2.0));
                f.binary(Binary::Div, reach, half)
            }
            Mapping::SymmetricNoClipping { .. } => {
                let (least, greatest) = (f.float(DType::F32, min as f64), f.float(DType::F32, max as f64));
                let (below, above) = (f.binary(Binary::Div, low, least), f.binary(Binary::Div, high, greatest));
                f.binary(Binary::Max, below, above)
            }
        };
        let eps = f.float(DType::F32, eps);
        f.binary(Binary::Max, scale, eps)
    })?;
    let zero_point = map(call, &[least, scale], |f, p| match mapping {
        Mapping::Asymmetric => {
            let zero = f.float(DType::F32, 0.0);
            let low = f.binary(Binary::Min, p[0], zero);
            let steps = f.binary(Binary::Div, low, p[1]);
            let (steps, least) = (f.unary(Unary::Round, steps), f.float(DType::F32, min as f64));
            let zero_point = f.binary(Binary::Sub, least, steps);
            clamp(f, zero_point, [min as f64, max as f64])
        }
        Mapping::Symmetric { zero } | Mapping::SymmetricNoClipping { zero } => f.float(DType::F32, zero as f64),
    })?;
    Ok([scale, zero_point])
}

/// Least and greatest of the elements over these dims.
fn extremes(call: &mut Call<'_>, x: ValueId, dims: &[usize], keepdim: bool) -> Result<[ValueId; 2]> {
    let least = reduce(call, x, ReduceKind::Min, dims.to_vec(), keepdim)?;
    Ok([least, reduce(call, x, ReduceKind::Max, dims.to_vec(), keepdim)?])
}

fn tensors(values: [ValueId; 2]) -> Outs {
    values.map(Out::Tensor).to_vec()
}

fn choose_parameters(call: &mut Call<'_>) -> Result<Outs> {
    let x = float_input(call)?;
    let range = [call.int("quant_min")?, call.int("quant_max")?];
    let mapping = match (call.target().contains("symmetric"), integer_type(call, "dtype")?) {
        (false, _) => Mapping::Asymmetric,
        (true, DType::U8) => Mapping::Symmetric { zero: 128 },
        (true, _) => Mapping::Symmetric { zero: 0 },
    };
    let eps = call.float("eps")?;
    let all: Vec<usize> = (0..call.rank(x)).collect();
    let bounds = extremes(call, x, &all, false)?;
    let [scale, zero_point] = choose(call, bounds, range, eps, mapping)?;
    let (scale, zero_point) = (call.cast(scale, DType::F64)?, call.cast(zero_point, DType::I64)?);
    Ok(tensors([call.reshape(scale, &[Expr::Int(1)])?, call.reshape(zero_point, &[Expr::Int(1)])?]))
}

/// The last dim, which rows have.
fn last(call: &Call<'_>, x: ValueId) -> Result<usize> {
    call.rank(x).checked_sub(1).ok_or_else(|| call.damaged("a tensor without dims has no rows"))
}

fn choose_per_token(call: &mut Call<'_>) -> Result<Outs> {
    let x = float_input(call)?;
    let last = last(call, x)?;
    let [least, greatest] = extremes(call, x, &[last], true)?;
    let scales = map(call, &[least, greatest], |f, p| {
        let below = f.unary(Unary::Neg, p[0]);
        let reach = f.binary(Binary::Max, below, p[1]);
        let (least, range) = (f.float(DType::F32, 1e-5), f.float(DType::F32, 127.0));
        let reach = f.binary(Binary::Max, reach, least);
        f.binary(Binary::Div, reach, range)
    })?;
    let zero_points = map(call, &[scales], |f, _| f.int(DType::I64, 0))?;
    Ok(tensors([call.cast(scales, DType::F64)?, zero_points]))
}

/// As XNNPACK chooses them: the zero point has the smaller error of the two that the ends of the range suggest.
fn choose_per_token_asymmetric(call: &mut Call<'_>) -> Result<Outs> {
    let x = float_input(call)?;
    let last = last(call, x)?;
    let (min, max) = (-128.0, 127.0);
    let bounds = extremes(call, x, &[last], true)?;
    let [scales, _] = choose(call, bounds, [-128, 127], f64::from(f32::EPSILON), Mapping::Asymmetric)?;
    let zero_points = map(call, &[bounds[0], bounds[1], scales], |f, p| {
        let zero = f.float(DType::F32, 0.0);
        let (low, high) = (f.binary(Binary::Min, p[0], zero), f.binary(Binary::Max, p[1], zero));
        let (low, high) = (f.binary(Binary::Div, low, p[2]), f.binary(Binary::Div, high, p[2]));
        let (least, greatest) = (f.float(DType::F32, min), f.float(DType::F32, max));
        let (below, above) = (f.binary(Binary::Add, least, low), f.binary(Binary::Add, greatest, high));
        let error = f.binary(Binary::Add, below, above);
        let positive = f.binary(Binary::Gt, error, zero);
        let (from_low, from_high) = (f.binary(Binary::Sub, least, low), f.binary(Binary::Sub, greatest, high));
        let chosen = f.select(positive, from_low, from_high);
        let cut = clamp(f, chosen, [min, max]);
        f.unary(Unary::Round, cut)
    })?;
    Ok(tensors([call.cast(scales, DType::F64)?, call.cast(zero_points, DType::I64)?]))
}

fn convert_element_type(call: &mut Call<'_>) -> Result<Outs> {
    let x = call.tensor("input")?;
    let dtype = call.dtype("dtype")?.ok_or_else(|| call.damaged("conversion to no dtype"))?;
    one(call.cast(x, dtype)?)
}

/// A tensor seen as blocks: each dim of `block_size` elements per block is split in two, unless a block is one entry or
/// the whole dim.
struct Blocks {
    split: Vec<Expr>,
    /// The same with 1 for dims within blocks.
    outer: Vec<Expr>,
    /// Those dims.
    inner: Vec<usize>,
    /// Blocks per dim of the tensor.
    count: Vec<Expr>,
}

impl Blocks {
    fn of(call: &Call<'_>, x: ValueId) -> Result<Self> {
        let (shape, sizes) = (call.shape(x), call.sym_ints("block_size")?);
        if sizes.len() != shape.len() {
            return Err(call.damaged(format!("blocks of {} dims in {}", sizes.len(), call.ty(x))));
        }
        let mut blocks = Blocks { split: vec![], outer: vec![], inner: vec![], count: vec![] };
        for (size, block) in shape.into_iter().zip(sizes) {
            if block == Expr::Int(1) {
                blocks.split.push(size.clone());
                blocks.outer.push(size.clone());
                blocks.count.push(size);
                continue;
            }
            let count = match (size.as_int(), block.as_int()) {
                _ if size == block => Expr::Int(1),
                (Some(size), Some(block)) if block > 0 && size % block == 0 => Expr::Int(size / block),
                _ => return Err(call.unsupported(format!("blocks of {block} in a dim of {size}"))),
            };
            if count != Expr::Int(1) {
                blocks.split.push(count.clone());
                blocks.outer.push(count.clone());
            }
            blocks.inner.push(blocks.split.len());
            blocks.split.push(block);
            blocks.outer.push(Expr::Int(1));
            blocks.count.push(count);
        }
        Ok(blocks)
    }
}

/// Least and greatest integer, given or the dtype's.
fn integer_range(call: &Call<'_>, dtype: DType) -> Result<[i64; 2]> {
    let (least, greatest) = match dtype {
        DType::I8 => (-128, 127),
        DType::U8 => (0, 255),
        DType::I16 => (-32768, 32767),
        DType::I32 => (i64::from(i32::MIN), i64::from(i32::MAX)),
        other => return Err(call.unsupported(format!("quantization to {}", other.name()))),
    };
    let given = |name: &str, otherwise: i64| Ok(call.optional_float(name)?.map_or(otherwise, |x| x as i64));
    Ok([given("quant_min", least)?, given("quant_max", greatest)?])
}

fn choose_affine(call: &mut Call<'_>) -> Result<Outs> {
    let x = float_input(call)?;
    let target = integer_type(call, "target_dtype")?;
    let [min, max] = integer_range(call, target)?;
    let zero = (max + min + 1) / 2;
    let mapping = match call.str("mapping_type")? {
        "ASYMMETRIC" => Mapping::Asymmetric,
        "SYMMETRIC" => Mapping::Symmetric { zero },
        "SYMMETRIC_NO_CLIPPING_ERR" => Mapping::SymmetricNoClipping { zero },
        other => return Err(call.unsupported(format!("mapping `{other}`"))),
    };
    let keep = call.arg("keepdim").is_some() && call.bool("keepdim")?;
    let eps = call.optional_float("eps")?.unwrap_or(f64::from(f32::MIN_POSITIVE));
    let scale_type = call.dtype("scale_dtype")?.unwrap_or(DType::F32);
    let zero_type = call.dtype("zero_point_dtype")?;
    let blocks = Blocks::of(call, x)?;
    let split = call.reshape(x, &blocks.split)?;
    let bounds = extremes(call, split, &blocks.inner, keep)?;
    let [mut scale, mut zero_point] = choose(call, bounds, [min, max], eps, mapping)?;
    if keep {
        (scale, zero_point) = (call.reshape(scale, &blocks.count)?, call.reshape(zero_point, &blocks.count)?);
    }
    let zero_type = zero_type.unwrap_or(if mapping == Mapping::Asymmetric { DType::I32 } else { DType::F32 });
    Ok(tensors([call.cast(scale, scale_type)?, call.cast(zero_point, zero_type)?]))
}

/// The zero points, unless there are none.
fn zero_points(call: &Call<'_>) -> Result<Option<ValueId>> {
    let given = call.optional_tensor("zero_point")?;
    Ok(given.filter(|&v| !call.shape(v).contains(&Expr::Int(0))))
}

fn quantize_affine(call: &mut Call<'_>) -> Result<Outs> {
    let x = float_input(call)?;
    let dtype = integer_type(call, "output_dtype")?;
    let range = integer_range(call, dtype)?;
    let shape = call.shape(x);
    let blocks = Blocks::of(call, x)?;
    let mut parts = vec![call.tensor("scale")?];
    parts.extend(zero_points(call)?);
    for part in &mut parts {
        *part = call.reshape(*part, &blocks.outer)?;
    }
    let parts = [vec![call.reshape(x, &blocks.split)?], parts].concat();
    let q = map(call, &parts, |f, p| {
        let inverse = inverse(f, p[1], DType::F32);
        let zero_point = p.get(2).copied().unwrap_or_else(|| f.float(DType::F32, 0.0));
        quantized_by(f, p[0], inverse, zero_point, range, dtype)
    })?;
    one(call.reshape(q, &shape)?)
}

/// As dequantization along a dim where blocks lie one after the other, which the passes know.
fn dequantize_affine(call: &mut Call<'_>) -> Result<Outs> {
    let q = quantized(call, "output_dtype")?;
    let shape = call.shape(q);
    let blocks = Blocks::of(call, q)?;
    let scale = call.tensor("scale")?;
    let scale = call.cast(scale, DType::F32)?;
    let zero = match zero_points(call)? {
        Some(v) => call.cast(v, DType::F32)?,
        None => zeros_like(call, scale)?,
    };
    let first = blocks.inner.first().copied().unwrap_or(blocks.split.len());
    if blocks.inner.iter().copied().eq(first..blocks.split.len()) {
        let (count, inner) = (super::view::numel(&blocks.split[..first]), super::view::numel(&blocks.split[first..]));
        let rows = call.reshape(q, &[count.clone(), inner])?;
        let real = along(call, rows, [scale, zero], 0, count)?;
        return one(call.reshape(real, &shape)?);
    }
    let (scale, zero) = (call.reshape(scale, &blocks.outer)?, call.reshape(zero, &blocks.outer)?);
    let split = call.reshape(q, &blocks.split)?;
    let real = map(call, &[split, scale, zero], |f, p| dequantized_by(f, p[0], p[1], p[2], DType::F32))?;
    one(call.reshape(real, &shape)?)
}
