//! Interpolation to other spatial sizes.

use super::matmul::matmul;
use super::view::swapped;
use super::{Outs, Row, one, row};
use crate::diag::Diagnostic;
use crate::import::Call;
use crate::ir::{Op, ResampleMode};
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
    resample(call, ResampleMode::Linear { align_corners }, spatial)
}

fn cubic(call: &mut Call<'_>) -> Result<Outs> {
    let align_corners = call.bool("align_corners")?;
    resample(call, ResampleMode::Cubic { align_corners }, 2)
}

fn resample(call: &mut Call<'_>, mode: ResampleMode, spatial: usize) -> Result<Outs> {
    let x = call.tensor(if call.target().ends_with(".vec") { "input" } else { "self" })?;
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
    let x = call.tensor(if call.target().ends_with(".vec") { "input" } else { "self" })?;
    let (shape, dtype, align_corners) = (call.shape(x), call.dtype_of(x), call.bool("align_corners")?);
    if shape.len() != 4 || !dtype.is_float() {
        return Err(call.unsupported(format!("antialiased interpolation of {}", call.ty(x))));
    }
    let scales = scales(call, 2)?;
    let out = match call.optional_sym_ints("output_size")? {
        Some(out) => out,
        None => scaled(call, &shape[2..], &scales)?,
    };
    let wide = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let mut y = call.cast(x, wide)?;
    for d in [1, 0] {
        let sizes = (shape[2 + d].as_int(), out.get(d).and_then(Expr::as_int));
        let (Some(size), Some(out)) = sizes else {
            return Err(call.unsupported("antialiased interpolation between sizes that depend on the input"));
        };
        let given = scales[d].filter(|s| *s > 0.0).map(|s| 1.0 / s);
        let scale = match given {
            _ if align_corners && out > 1 => (size - 1) as f64 / (out - 1) as f64,
            _ if align_corners => 0.0,
            given => given.unwrap_or(size as f64 / out as f64),
        };
        let weights: Vec<f64> = (0..out).flat_map(|i| mixture(i, size, scale, kernel, radius)).collect();
        let bytes = match wide {
            DType::F64 => weights.iter().flat_map(|w| w.to_le_bytes()).collect(),
            _ => weights.iter().flat_map(|w| (*w as f32).to_le_bytes()).collect(),
        };
        let matrix = call.constant(wide, &[out as usize, size as usize], bytes)?;
        y = if d == 0 {
            matmul(call, matrix, y)?
        } else {
            let matrix = swapped(call, matrix, 0, 1)?;
            matmul(call, y, matrix)?
        };
    }
    one(call.cast(y, dtype)?)
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

/// Cubic convolution with a = -0.5.
fn cubic_kernel(x: f64) -> f64 {
    let x = x.abs();
    match x {
        _ if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
        _ if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
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
