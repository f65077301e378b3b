//! Interpolation to other spatial sizes.

use super::{Outs, Row, one, row};
use crate::diag::Diagnostic;
use crate::import::Call;
use crate::ir::{Op, ResampleMode};
use crate::sym::Expr;

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
];

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
