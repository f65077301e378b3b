//! `grid_sample` on images: positions are formulas, the pixels around them are gathered and weighted.

use super::{Outs, Row, map, one, row};
use crate::diag::Diagnostic;
use crate::import::Call;
use crate::ir::{Binary, ExprId, Formula, Op, Unary, ValueId};
use crate::ops::view::take;
use crate::sym::Expr;
use exported_runtime::DType;

type Result<T> = std::result::Result<T, Diagnostic>;

const NOTE: &str = "bilinear and nearest, on images of known size";

/// The rows.
pub const ROWS: &[Row] =
    &[row("aten.grid_sampler.default", sample).noted(NOTE), row("aten.grid_sampler_2d.default", sample).noted(NOTE)];

/// How positions outside of the image are treated, and what -1 and 1 mean.
struct Rule {
    padding: i64,
    align_corners: bool,
    dtype: DType,
}

impl Rule {
    fn with(&self, f: &mut Formula, op: Binary, x: ExprId, constant: f64) -> ExprId {
        let constant = f.float(self.dtype, constant);
        f.binary(op, x, constant)
    }

    /// The position in pixels along a dim of this size.
    fn position(&self, f: &mut Formula, x: ExprId, size: f64) -> ExprId {
        let x = self.with(f, Binary::Add, x, 1.0);
        let x = if self.align_corners {
            let half = self.with(f, Binary::Div, x, 2.0);
            self.with(f, Binary::Mul, half, size - 1.0)
        } else {
            let scaled = self.with(f, Binary::Mul, x, size);
            let shifted = self.with(f, Binary::Sub, scaled, 1.0);
            self.with(f, Binary::Div, shifted, 2.0)
        };
        let x = if self.padding == 2 { self.reflected(f, x, size) } else { x };
        if self.padding == 0 { x } else { self.limited(f, x, size - 1.0) }
    }

    fn limited(&self, f: &mut Formula, x: ExprId, last: f64) -> ExprId {
        let x = self.with(f, Binary::Max, x, 0.0);
        self.with(f, Binary::Min, x, last)
    }

    /// Mirrored at the ends until it lies between them.
    fn reflected(&self, f: &mut Formula, x: ExprId, size: f64) -> ExprId {
        let (low, span) = if self.align_corners { (0.0, size - 1.0) } else { (-0.5, size) };
        if span == 0.0 {
            return f.float(self.dtype, 0.0);
        }
        let from_low = self.with(f, Binary::Sub, x, low);
        let distance = f.unary(Unary::Abs, from_low);
        let rest = self.with(f, Binary::Fmod, distance, span);
        let turns = self.with(f, Binary::Div, distance, span);
        let turns = f.unary(Unary::Floor, turns);
        let odd = self.with(f, Binary::Fmod, turns, 2.0);
        let forth = self.with(f, Binary::Add, rest, low);
        let end = f.float(self.dtype, span + low);
        let back = f.binary(Binary::Sub, end, rest);
        let is_even = self.with(f, Binary::Eq, odd, 0.0);
        f.select(is_even, forth, back)
    }

    /// The pixel `step` after the one at or before `x`: its number within the dim, and its weight (0 outside).
    fn pixel(&self, f: &mut Formula, x: ExprId, step: f64, size: f64, nearest: bool) -> (ExprId, ExprId) {
        let first = f.unary(if nearest { Unary::Round } else { Unary::Floor }, x);
        let pixel = self.with(f, Binary::Add, first, step);
        let ahead = f.binary(Binary::Sub, x, first);
        let weight = match (nearest, step == 0.0) {
            (true, _) => f.float(self.dtype, 1.0),
            (false, true) => {
                let next = self.with(f, Binary::Add, first, 1.0);
                f.binary(Binary::Sub, next, x)
            }
            (false, false) => ahead,
        };
        let kept = self.limited(f, pixel, size - 1.0);
        let (inside, zero) = (f.binary(Binary::Eq, kept, pixel), f.float(self.dtype, 0.0));
        (kept, f.select(inside, weight, zero))
    }
}

fn sample(call: &mut Call<'_>) -> Result<Outs> {
    let (x, grid) = (call.tensor("input")?, call.tensor("grid")?);
    let (mode, padding) = (call.int("interpolation_mode")?, call.int("padding_mode")?);
    let (shape, places) = (call.shape(x), call.shape(grid));
    let ([batch, channels, h, w], [count, rows, columns, two]) = (&shape[..], &places[..]) else {
        return Err(call.unsupported("`grid_sample` of anything but images"));
    };
    let dtype = call.dtype_of(x);
    if batch != count || *two != Expr::Int(2) || dtype != call.dtype_of(grid) {
        return Err(call.damaged(format!("a grid of {} for an image of {}", call.ty(grid), call.ty(x))));
    }
    let (Some(height), Some(width)) = (h.as_int(), w.as_int()) else {
        return Err(call.unsupported("`grid_sample` of an image whose size depends on the input"));
    };
    if !(0..=1).contains(&mode) || !(0..=2).contains(&padding) || !matches!(dtype, DType::F32 | DType::F64) {
        return Err(call.unsupported("`grid_sample` other than bilinear and nearest, in f32 and f64"));
    }
    let rule = Rule { padding, align_corners: call.bool("align_corners")?, dtype };
    let positions = rows.clone() * columns.clone();
    let grid = call.reshape(grid, &[batch.clone(), Expr::Int(1), positions.clone(), Expr::Int(2)])?;
    let (gx, gy) = (take(call, grid, 3, Expr::Int(0))?, take(call, grid, 3, Expr::Int(1))?);
    let flat = call.reshape(x, &[batch.clone(), channels.clone(), h.clone() * w.clone()])?;
    let gathered = [batch.clone(), channels.clone(), positions];
    let steps: &[(f64, f64)] =
        if mode == 1 { &[(0.0, 0.0)] } else { &[(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)] };
    let mut total: Option<ValueId> = None;
    for &(right, down) in steps {
        let corner = |f: &mut Formula, p: &[ExprId]| {
            let (x, y) = (rule.position(f, p[0], width as f64), rule.position(f, p[1], height as f64));
            (rule.pixel(f, x, right, width as f64, mode == 1), rule.pixel(f, y, down, height as f64, mode == 1))
        };
        let number = map(call, &[gx, gy], |f, p| {
            let ((x, _), (y, _)) = corner(f, p);
            let (x, y, width) = (f.cast(DType::I64, x), f.cast(DType::I64, y), f.int(DType::I64, width));
            let row = f.binary(Binary::Mul, y, width);
            f.binary(Binary::Add, row, x)
        })?;
        let weight = map(call, &[gx, gy], |f, p| {
            let ((_, x), (_, y)) = corner(f, p);
            f.binary(Binary::Mul, x, y)
        })?;
        let number = call.expand(number, &gathered)?;
        let pixels = call.push(Op::Gather { dim: 2 }, &[flat, number])?;
        total = Some(match total {
            None => map(call, &[pixels, weight], |f, p| f.binary(Binary::Mul, p[0], p[1]))?,
            Some(total) => map(call, &[total, pixels, weight], |f, p| {
                let part = f.binary(Binary::Mul, p[1], p[2]);
                f.binary(Binary::Add, p[0], part)
            })?,
        });
    }
    let total = total.ok_or_else(|| call.damaged("a grid without corners"))?;
    one(call.reshape(total, &[batch.clone(), channels.clone(), rows.clone(), columns.clone()])?)
}
