//! Interpolation, channels-last where the operand stands so, else with one channel per plane.

use super::reduce::{kernel, read, row_major, write};
use super::{Field, Lowering, channels_last, numel};
use crate::ir::{Node, ResampleMode};
use crate::sym::Expr;

/// One kernel over `[outer, spatial.., inner]`.
pub(super) fn resample(
    cx: &mut Lowering<'_>,
    node: &Node,
    mode: ResampleMode,
    spatial: usize,
    out: &[Expr],
    scales: &[Option<u64>],
) {
    let (x, y) = (node.inputs[0], node.outputs[0]);
    let shape = cx.shape(x).to_vec();
    let (rows, last) = (row_major(shape.len()), channels_last(shape.len()));
    let order = if cx.place(x).is_dense(&rows) { rows } else { last };
    let (outer, inner) = match order[1] {
        1 => (shape[0].clone() * shape[1].clone(), Expr::Int(1)),
        _ => (shape[0].clone(), shape[1].clone()),
    };
    let region = cx.read_dense(x, &order);
    let place = cx.output_dense(y, &order);
    let three = |sizes: &[Expr]| {
        let lead = vec![Expr::Int(1); 3 - spatial];
        Field::Array(lead.iter().chain(sizes).cloned().map(Field::Usize).collect())
    };
    let ratios = vec![None; 3 - spatial];
    let ratio = |scale: &Option<u64>| scale.map_or(0.0, |s| 1.0 / f64::from_bits(s)).to_bits();
    let ratios = Field::Array(ratios.iter().chain(scales).map(|s| Field::F64(ratio(s))).collect());
    let mut fields = vec![
        ("x", read(region)),
        ("y", write(&place)),
        ("outer", Field::Usize(outer)),
        ("input", three(&shape[2..])),
        ("output", three(out)),
        ("inner", Field::Usize(inner)),
        ("ratio", ratios),
    ];
    let (path, taps) = match mode {
        ResampleMode::Nearest { exact } => {
            fields.push(("exact", Field::Bool(exact)));
            ("resample::Nearest", 1)
        }
        ResampleMode::Linear { align_corners } => {
            fields.push(("align_corners", Field::Bool(align_corners)));
            fields.push(("curve", Field::Path("resample::Curve::Linear".into())));
            ("resample::Interpolate", 1 << spatial)
        }
        ResampleMode::Cubic { align_corners } => {
            fields.push(("align_corners", Field::Bool(align_corners)));
            fields.push(("curve", Field::Path("resample::Curve::Cubic".into())));
            ("resample::Interpolate", 1 << (2 * spatial))
        }
    };
    cx.step(node, kernel(path, fields), numel(cx.shape(y)) * Expr::Int(taps));
}
