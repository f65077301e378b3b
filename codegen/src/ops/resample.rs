//! Interpolation to other spatial sizes.

use super::matmul::matmul;
use super::view::swapped;
use super::{Outs, Row, map, one, row};
use crate::diag::Diagnostic;
use crate::import::Call;
use crate::ir::{Binary, Op, ResampleMode, ValueId};
use crate::sym::Expr;
use exported_runtime::DType;

type Result<T> = std::result::Result<T, Diagnostic>;

/// The rows.
pub const ROWS: &[Row] = &[
    row("aten.upsample_nearest1d.default", |call| nearest(call, 1)),
    row("aten.upsample_nearest1d.vec", |call| nearest(call, 1)),
    row("aten.upsample_nearest2d.default", |call| nearest(call, 2)),
    row("aten.upsample_nearest2d.vec", |call| nearest(call, 2)),
    row("aten.upsample_nearest3d.default", |call| nearest(call, 3)),
    row("aten.upsample_nearest3d.vec", |call| nearest(call, 3)),
    row("aten._upsample_nearest_exact1d.default", |call| nearest(call, 1)),
    row("aten._upsample_nearest_exact1d.vec", |call| nearest(call, 1)),
    row("aten._upsample_nearest_exact2d.default", |call| nearest(call, 2)),
    row("aten._upsample_nearest_exact2d.vec", |call| nearest(call, 2)),
    row("aten._upsample_nearest_exact3d.default", |call| nearest(call, 3)),
    row("aten._upsample_nearest_exact3d.vec", |call| nearest(call, 3)),
    row("aten.upsample_linear1d.default", |call| linear(call, 1)),
    row("aten.upsample_linear1d.vec", |call| linear(call, 1)),
    row("aten.upsample_bilinear2d.default", |call| linear(call, 2)),
    row("aten.upsample_bilinear2d.vec", |call| linear(call, 2)),
    row("aten.upsample_trilinear3d.default", |call| linear(call, 3)),
    row("aten.upsample_trilinear3d.vec", |call| linear(call, 3)),
    row("aten.upsample_bicubic2d.default", cubic),
    row("aten.upsample_bicubic2d.vec", cubic),
    row("aten._upsample_bilinear2d_aa.default", |call| antialiased(call, triangle, 1.0)).noted(MATRICES),
    row("aten._upsample_bilinear2d_aa.vec", |call| antialiased(call, triangle, 1.0)).noted(MATRICES),
    row("aten._upsample_bicubic2d_aa.default", |call| antialiased(call, cubic_kernel, 2.0)).noted(MATRICES),
    row("aten._upsample_bicubic2d_aa.vec", |call| antialiased(call, cubic_kernel, 2.0)).noted(MATRICES),
];

const MATRICES: &str = "sizes must be fixed; one product with a constant matrix per dim";

fn nearest(call: &mut Call<'_>, spatial: usize) -> Result<Outs> {
    let exact = call.target().contains("exact");
    resample(call, ResampleMode::Nearest { exact }, spatial)
}

fn linear(call: &mut Call<'_>, spatial: usize) -> Result<Outs> {
    let align_corners = call.bool("align_corners")?;
    if spatial == 2 && is_of_bytes(call)? {
        return of_bytes(call, &|i, size, step| neighbours(i, size, step, align_corners, triangle, 1));
    }
    resample(call, ResampleMode::Linear { align_corners }, spatial)
}

fn cubic(call: &mut Call<'_>) -> Result<Outs> {
    let align_corners = call.bool("align_corners")?;
    if is_of_bytes(call)? {
        return of_bytes(call, &|i, size, step| neighbours(i, size, step, align_corners, sharp_kernel, 2));
    }
    resample(call, ResampleMode::Cubic { align_corners }, 2)
}

fn resample(call: &mut Call<'_>, mode: ResampleMode, spatial: usize) -> Result<Outs> {
    let x = image(call)?;
    let shape = call.shape(x);
    if shape.len() != spatial + 2 {
        return Err(call.damaged(format!("interpolation over {spatial} dims of a tensor with {}", shape.len())));
    }
    let scales = scales(call, spatial)?;
    let out = match call.optional_sym_ints("output_size")? {
        Some(out) => out,
        None => scaled(call, &shape[2..], &scales)?,
    };
    let scales = scales.into_iter().map(|s| s.filter(|s| *s > 0.0).map(f64::to_bits)).collect();
    one(call.push(Op::Resample { mode, spatial, out, scales }, &[x])?)
}

/// Interpolation by a kernel that is as wide as the pixels of the smaller image: a matrix from columns to columns, then one from
/// rows to rows.
fn antialiased(call: &mut Call<'_>, kernel: fn(f64) -> f64, radius: f64) -> Result<Outs> {
    if is_of_bytes(call)? {
        return of_bytes(call, &|i, size, step| mixture(i, size, step, kernel, radius));
    }
    let Sides { x, sides } = Sides::of(call)?;
    let dtype = call.dtype_of(x);
    if !dtype.is_float() {
        return Err(call.unsupported(format!("antialiased interpolation of {}", call.ty(x))));
    }
    let wide = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let mut y = call.cast(x, wide)?;
    for (d, side) in sides {
        let weights = side.weights(&|i, size, step| mixture(i, size, step, kernel, radius));
        let bytes = match wide {
            DType::F64 => weights.iter().flat_map(|w| w.to_le_bytes()).collect(),
            _ => weights.iter().flat_map(|w| (*w as f32).to_le_bytes()).collect(),
        };
        let matrix = call.constant(wide, &[side.out as usize, side.size as usize], bytes)?;
        y = multiplied(call, y, matrix, d)?;
    }
    one(call.cast(y, dtype)?)
}

/// One dim of an image: its size before and after, and how far pixels of the result lie apart.
struct Side {
    size: i64,
    out: i64,
    step: f64,
}

impl Side {
    /// A row of weights for each pixel of the result.
    fn weights(&self, row: &dyn Fn(i64, i64, f64) -> Vec<f64>) -> Vec<f64> {
        (0..self.out).flat_map(|i| row(i, self.size, self.step)).collect()
    }
}

/// What an interpolation of images by matrices is about: columns first, then rows.
struct Sides {
    x: ValueId,
    sides: [(usize, Side); 2],
}

impl Sides {
    fn of(call: &mut Call<'_>) -> Result<Sides> {
        let (x, align_corners) = (image(call)?, call.bool("align_corners")?);
        let shape = call.shape(x);
        if shape.len() != 4 {
            return Err(call.unsupported(format!("interpolation of an image of {}", call.ty(x))));
        }
        let scales = scales(call, 2)?;
        let out = match call.optional_sym_ints("output_size")? {
            Some(out) => out,
            None => scaled(call, &shape[2..], &scales)?,
        };
        let side = |d: usize| {
            let (Some(size), Some(out)) = (shape[2 + d].as_int(), out.get(d).and_then(Expr::as_int)) else {
                return Err(call.unsupported("interpolation by matrices between sizes that depend on the input"));
            };
            let step = match scales[d].filter(|s| *s > 0.0).map(|s| 1.0 / s) {
                _ if align_corners && out > 1 => (size - 1) as f64 / (out - 1) as f64,
                _ if align_corners => 0.0,
                given => given.unwrap_or(size as f64 / out as f64),
            };
            Ok((d, Side { size, out, step }))
        };
        Ok(Sides { x, sides: [side(1)?, side(0)?] })
    }
}

/// Columns of `y` mixed by a matrix, or rows.
fn multiplied(call: &mut Call<'_>, y: ValueId, matrix: ValueId, d: usize) -> Result<ValueId> {
    if d == 0 {
        return matmul(call, matrix, y);
    }
    let matrix = swapped(call, matrix, 0, 1)?;
    matmul(call, y, matrix)
}

fn image(call: &Call<'_>) -> Result<ValueId> {
    call.tensor(if call.target().ends_with(".vec") { "input" } else { "self" })
}

fn is_of_bytes(call: &Call<'_>) -> Result<bool> {
    Ok(call.dtype_of(image(call)?) == DType::U8)
}

/// Images of bytes, as torch has them: weights are 16-bit integers, and what is between columns and rows are bytes, too.
fn of_bytes(call: &mut Call<'_>, row: &dyn Fn(i64, i64, f64) -> Vec<f64>) -> Result<Outs> {
    let Sides { x, sides } = Sides::of(call)?;
    let mut y = call.cast(x, DType::I32)?;
    for (d, side) in sides.into_iter().filter(|(_, side)| side.size != side.out) {
        let (weights, shift) = fixed_point(&side.weights(row));
        let bytes = weights.iter().flat_map(|w| w.to_le_bytes()).collect();
        let matrix = call.constant(DType::I32, &[side.out as usize, side.size as usize], bytes)?;
        let sums = multiplied(call, y, matrix, d)?;
        y = map(call, &[sums], |f, p| {
            let [half, shift, low, high] = [(1 << shift) >> 1, shift, 0, 255].map(|n| f.int(DType::I32, n));
            let sum = f.binary(Binary::Add, p[0], half);
            let byte = f.binary(Binary::Shr, sum, shift);
            let byte = f.binary(Binary::Max, byte, low);
            f.binary(Binary::Min, byte, high)
        })?;
    }
    one(call.cast(y, DType::U8)?)
}

/// Weights times the largest power of two that leaves them 16 bits, and its exponent.
fn fixed_point(weights: &[f64]) -> (Vec<i32>, i64) {
    let greatest = weights.iter().copied().fold(0.0, f64::max);
    let fits = |shift: &i32| 0.5 + greatest * f64::from(1 << (shift + 1)) < f64::from(1 << 15);
    let shift = (0..22).find(|shift| !fits(shift)).unwrap_or(21);
    let rounded = |w: &f64| (w * f64::from(1 << shift) + 0.5f64.copysign(*w)) as i32;
    (weights.iter().map(rounded).collect(), i64::from(shift))
}

/// What each of `size` pixels gives to pixel `i` of the result, which has `radius` neighbours on either side; those outside are
/// the outermost.
fn neighbours(i: i64, size: i64, step: f64, align_corners: bool, kernel: fn(f64) -> f64, radius: i64) -> Vec<f64> {
    let at = if align_corners { step * i as f64 } else { step * (i as f64 + 0.5) - 0.5 };
    let at = if radius == 1 { at.max(0.0) } else { at };
    let first = (at.floor() as i64).min(size - 1);
    let rest = (at - first as f64).clamp(0.0, 1.0);
    let mut weights = vec![0.0; usize::try_from(size).unwrap_or(0)];
    for tap in 1 - radius..=radius {
        let pixel = (first + tap).clamp(0, (size - 1).max(0));
        if let Some(weight) = weights.get_mut(pixel as usize) {
            *weight += kernel(tap as f64 - rest);
        }
    }
    weights
}

/// What each of `size` pixels gives to pixel `i` of the result.
fn mixture(i: i64, size: i64, scale: f64, kernel: fn(f64) -> f64, radius: f64) -> Vec<f64> {
    let stretch = scale.max(1.0);
    let (center, support) = (scale * (i as f64 + 0.5), radius * stretch);
    let first = ((center - support + 0.5) as i64).max(0);
    let last = ((center + support + 0.5) as i64).min(size);
    let weight = |j: i64| {
        let inside = (first..last).contains(&j);
        if inside { kernel((j as f64 - center + 0.5) / stretch) } else { 0.0 }
    };
    let weights: Vec<f64> = (0..size).map(weight).collect();
    let total: f64 = weights.iter().sum();
    if total == 0.0 { weights } else { weights.into_iter().map(|w| w / total).collect() }
}

fn triangle(x: f64) -> f64 {
    (1.0 - x.abs()).max(0.0)
}

/// Cubic convolution with a = -0.5, for antialiasing.
fn cubic_kernel(x: f64) -> f64 {
    convolution(x.abs(), -0.5)
}

/// Cubic convolution with a = -0.75.
fn sharp_kernel(x: f64) -> f64 {
    convolution(x.abs(), -0.75)
}

fn convolution(x: f64, a: f64) -> f64 {
    match x {
        _ if x < 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
        _ if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * a,
        _ => 0.0,
    }
}

/// Scale factors given, one per spatial dim.
fn scales(call: &Call<'_>, spatial: usize) -> Result<Vec<Option<f64>>> {
    if call.target().ends_with(".vec") {
        return Ok(match call.optional_floats("scale_factors")? {
            Some(factors) if factors.len() == spatial => factors.into_iter().map(Some).collect(),
            Some(factors) => return Err(call.damaged(format!("{} scale factors", factors.len()))),
            None => vec![None; spatial],
        });
    }
    let names: &[&str] = match spatial {
        1 => &["scales"],
        2 => &["scales_h", "scales_w"],
        _ => &["scales_d", "scales_h", "scales_w"],
    };
    names.iter().map(|name| call.optional_float(name)).collect()
}

/// `floor(size * factor)` in double precision, as torch computes output sizes.
fn scaled(call: &Call<'_>, sizes: &[Expr], scales: &[Option<f64>]) -> Result<Vec<Expr>> {
    let one = |(size, scale): (&Expr, &Option<f64>)| match (size.as_int(), *scale) {
        (_, None) => Err(call.damaged("neither an output size nor a scale factor")),
        (Some(size), Some(scale)) => Ok(Expr::Int((size as f64 * scale).floor() as i64)),
        (None, Some(scale)) if scale.fract() == 0.0 => Ok(size.clone() * Expr::Int(scale as i64)),
        (None, Some(scale)) => Ok(Expr::trunc(Expr::to_float(size.clone()) * Expr::float(scale))),
    };
    sizes.iter().zip(scales).map(one).collect()
}
