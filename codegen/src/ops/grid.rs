//! `affine_grid`, and `grid_sample` on images and volumes: positions are formulas, the pixels around them are gathered and
//! weighted.

use super::{Outs, Row, map, one, row};
use crate::diag::Diagnostic;
use crate::import::Call;
use crate::ir::{Binary, ExprId, ExprNode, Formula, Op, Unary, ValueId};
use crate::ops::view::take;
use crate::sym::Expr;
use exported_runtime::DType;

type Result<T> = std::result::Result<T, Diagnostic>;

const NOTE: &str = "of images and volumes of known size";

/// The rows.
pub const ROWS: &[Row] = &[
    row("aten.grid_sampler.default", sample).noted(NOTE),
    row("aten.grid_sampler_2d.default", sample).noted(NOTE),
    row("aten.grid_sampler_3d.default", sample).noted(NOTE),
    row("aten.affine_grid_generator.default", affine_grid),
];

/// The products of the matrices `theta` with every position `(x, y, 1)` of an image, or `(x, y, z, 1)` of a volume.
fn affine_grid(call: &mut Call<'_>) -> Result<Outs> {
    let (theta, size) = (call.tensor("theta")?, call.ints("size")?);
    let (dtype, spatial) = (call.dtype_of(theta), size.len().saturating_sub(2));
    let matrices = [Expr::Int(*size.first().unwrap_or(&0)), Expr::from(spatial), Expr::from(spatial + 1)];
    if !(2..=3).contains(&spatial) || call.shape(theta) != matrices || !dtype.is_float() {
        return Err(call.damaged(format!("a grid of {size:?} of {}", call.ty(theta))));
    }
    let align_corners = call.bool("align_corners")?;
    let wide = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let mut row = vec![Expr::Int(1); spatial + 2];
    (row[0], row[spatial + 1]) = (matrices[0].clone(), matrices[1].clone());
    let mut columns = Vec::new();
    for column in 0..=spatial {
        let column = take(call, theta, 2, Expr::from(column))?;
        columns.push(call.reshape(column, &row)?);
    }
    let shape = [&size[..1], &size[2..], &[spatial as i64]].concat().into_iter().map(Expr::Int).collect();
    let mut formula = Formula::new(&vec![dtype; columns.len()]);
    let f = &mut formula;
    let mut total = f.param(spatial);
    // The last dim of the image is the first coordinate; the first dim of the grid is that of the batch.
    for (column, dim) in (1..=spatial).rev().enumerate() {
        let (position, factor) = (even_position(f, wide, dim, size[dim + 1], align_corners), f.param(column));
        let position = f.cast(dtype, position);
        let product = f.binary(Binary::Mul, factor, position);
        total = f.binary(Binary::Add, total, product);
    }
    formula.results.push(total);
    one(call.push(Op::Pointwise { formula, shape }, &columns)?)
}

/// Where the elements of a dim lie between -1 and 1, which are the middles of the outer ones or their edges.
fn even_position(f: &mut Formula, wide: DType, dim: usize, size: i64, align_corners: bool) -> ExprId {
    let last = (size - 1) as f64;
    let divisor = if align_corners { last } else { size as f64 };
    if size <= 1 {
        return f.float(wide, 0.0);
    }
    let index = f.push(ExprNode::Coord(dim as u32));
    let index = f.cast(wide, index);
    let (middle, step) = (f.float(wide, last / 2.0), f.float(wide, 2.0 / divisor));
    let offset = f.binary(Binary::Sub, index, middle);
    f.binary(Binary::Mul, offset, step)
}

/// What lies between pixels.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Linear,
    Nearest,
    Cubic,
}

impl Mode {
    /// The pixels a position needs along a dim, counted from the one at or before it.
    fn taps(self) -> &'static [i64] {
        match self {
            Mode::Linear => &[0, 1],
            Mode::Nearest => &[0],
            Mode::Cubic => &[-1, 0, 1, 2],
        }
    }
}

/// How positions outside of the image are treated, and what -1 and 1 mean. Formulas are those of torch's kernels, one of images
/// and one of volumes, for every step of them is rounded to 16 bits there.
struct Rule {
    mode: Mode,
    padding: i64,
    align_corners: bool,
    dtype: DType,
    /// Torch's kernel of images, not that of volumes.
    image: bool,
}

/// The weight of a pixel outside of the image, which counts as 0 whatever stands where it is read.
const OUTSIDE: f64 = f64::INFINITY;

impl Rule {
    fn with(&self, f: &mut Formula, op: Binary, x: ExprId, constant: f64) -> ExprId {
        let constant = f.float(self.dtype, constant);
        f.binary(op, x, constant)
    }

    /// The position in pixels along a dim of this size.
    fn position(&self, f: &mut Formula, x: ExprId, size: f64) -> ExprId {
        let x = self.with(f, Binary::Add, x, 1.0);
        if self.image {
            let scaled = self.with(f, Binary::Mul, x, if self.align_corners { size - 1.0 } else { size } / 2.0);
            return if self.align_corners { scaled } else { self.with(f, Binary::Sub, scaled, 0.5) };
        }
        if self.align_corners {
            let half = self.with(f, Binary::Div, x, 2.0);
            return self.with(f, Binary::Mul, half, size - 1.0);
        }
        let scaled = self.with(f, Binary::Mul, x, size);
        let shifted = self.with(f, Binary::Sub, scaled, 1.0);
        self.with(f, Binary::Div, shifted, 2.0)
    }

    /// A position brought into the image, if the padding does that.
    fn padded(&self, f: &mut Formula, x: ExprId, size: f64) -> ExprId {
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
        if self.image {
            let turns = self.with(f, Binary::Div, distance, 2.0 * span);
            let turns = f.unary(Unary::Trunc, turns);
            let whole = self.with(f, Binary::Mul, turns, 2.0 * span);
            let forth = f.binary(Binary::Sub, distance, whole);
            let twice = f.float(self.dtype, 2.0 * span);
            let back = f.binary(Binary::Sub, twice, forth);
            let nearer = f.binary(Binary::Min, forth, back);
            return self.with(f, Binary::Add, nearer, low);
        }
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

    /// The pixel `tap` after the one at or before `x`: its number within the dim, and its weight.
    fn pixel(&self, f: &mut Formula, x: ExprId, tap: i64, size: i64) -> (ExprId, ExprId) {
        let length = size as f64;
        let x = self.position(f, x, length);
        // Cubic interpolation pads each of its pixels, the others the position.
        let x = if self.mode == Mode::Cubic { x } else { self.padded(f, x, length) };
        let first = f.unary(if self.mode == Mode::Nearest { Unary::Round } else { Unary::Floor }, x);
        let pixel = if self.mode == Mode::Cubic {
            let pixel = self.with(f, Binary::Add, first, tap as f64);
            let pixel = self.padded(f, pixel, length);
            f.cast(DType::I64, pixel)
        } else {
            let (first, tap) = (f.cast(DType::I64, first), f.int(DType::I64, tap));
            f.binary(Binary::Add, first, tap)
        };
        let weight = self.weight(f, x, first, tap);
        let (zero, last) = (f.int(DType::I64, 0), f.int(DType::I64, size - 1));
        let kept = f.binary(Binary::Max, pixel, zero);
        let kept = f.binary(Binary::Min, kept, last);
        let (inside, outside) = (f.binary(Binary::Eq, kept, pixel), f.float(self.dtype, OUTSIDE));
        (kept, f.select(inside, weight, outside))
    }

    /// `total + pixel * weight`, or the first of such parts.
    fn part(&self, f: &mut Formula, total: Option<ExprId>, pixel: ExprId, weight: ExprId) -> ExprId {
        let product = f.binary(Binary::Mul, pixel, weight);
        let (is_outside, zero) = (self.with(f, Binary::Eq, weight, OUTSIDE), f.float(self.dtype, 0.0));
        let part = f.select(is_outside, zero, product);
        total.map_or(part, |total| f.binary(Binary::Add, total, part))
    }

    fn weight(&self, f: &mut Formula, x: ExprId, first: ExprId, tap: i64) -> ExprId {
        match self.mode {
            Mode::Nearest => f.float(self.dtype, 1.0),
            Mode::Linear if tap == 1 => f.binary(Binary::Sub, x, first),
            Mode::Linear if self.image => {
                let (one, after) = (f.float(self.dtype, 1.0), f.binary(Binary::Sub, x, first));
                f.binary(Binary::Sub, one, after)
            }
            Mode::Linear => {
                let next = self.with(f, Binary::Add, first, 1.0);
                f.binary(Binary::Sub, next, x)
            }
            Mode::Cubic => {
                let t = f.binary(Binary::Sub, x, first);
                let shift = f.float(self.dtype, tap as f64);
                let distance = f.binary(Binary::Sub, t, shift);
                let distance = f.unary(Unary::Abs, distance);
                self.cubic(f, distance, tap == 0 || tap == 1)
            }
        }
    }

    /// The kernel of cubic convolution with a = -0.75, within a distance of 1 or between 1 and 2.
    fn cubic(&self, f: &mut Formula, x: ExprId, near: bool) -> ExprId {
        const A: f64 = -0.75;
        if near {
            let inner = self.with(f, Binary::Mul, x, A + 2.0);
            let inner = self.with(f, Binary::Sub, inner, A + 3.0);
            let once = f.binary(Binary::Mul, inner, x);
            let twice = f.binary(Binary::Mul, once, x);
            return self.with(f, Binary::Add, twice, 1.0);
        }
        let inner = self.with(f, Binary::Mul, x, A);
        let inner = self.with(f, Binary::Sub, inner, 5.0 * A);
        let once = f.binary(Binary::Mul, inner, x);
        let once = self.with(f, Binary::Add, once, 8.0 * A);
        let twice = f.binary(Binary::Mul, once, x);
        self.with(f, Binary::Sub, twice, 4.0 * A)
    }
}

fn sample(call: &mut Call<'_>) -> Result<Outs> {
    let (x, grid) = (call.tensor("input")?, call.tensor("grid")?);
    let (shape, places) = (call.shape(x), call.shape(grid));
    let dtype = call.dtype_of(x);
    let spatial = shape.len().saturating_sub(2);
    let fits = (2..=3).contains(&spatial) && places.len() == shape.len() && places[0] == shape[0];
    if !fits || places[spatial + 1] != Expr::from(spatial) || dtype != call.dtype_of(grid) || !dtype.is_float() {
        return Err(call.damaged(format!("a grid of {} for an image of {}", call.ty(grid), call.ty(x))));
    }
    let mode = match call.int("interpolation_mode")? {
        0 => Mode::Linear,
        1 => Mode::Nearest,
        2 if spatial == 2 => Mode::Cubic,
        other => return Err(call.damaged(format!("interpolation {other} over {spatial} dims"))),
    };
    let padding = call.int("padding_mode")?;
    if !(0..=2).contains(&padding) {
        return Err(call.damaged(format!("padding {padding}")));
    }
    let rule = Rule { mode, padding, align_corners: call.bool("align_corners")?, dtype, image: spatial == 2 };
    sampled(call, &rule, x, grid)
}

/// The weighted sum over the pixels around each position.
fn sampled(call: &mut Call<'_>, rule: &Rule, x: ValueId, grid: ValueId) -> Result<Outs> {
    let (shape, places) = (call.shape(x), call.shape(grid));
    let spatial = shape.len() - 2;
    let sizes: Option<Vec<i64>> = shape[2..].iter().map(Expr::as_int).collect();
    let sizes = sizes.ok_or_else(|| call.unsupported("`grid_sample` of an image whose size depends on the input"))?;
    let positions = Expr::product(places[1..=spatial].iter().cloned());
    let flat_grid = [places[0].clone(), Expr::Int(1), positions.clone(), Expr::from(spatial)];
    let grid = call.reshape(grid, &flat_grid)?;
    // The grid names the last dim first.
    let coordinates =
        (0..spatial).map(|d| take(call, grid, 3, Expr::from(spatial - 1 - d))).collect::<Result<Vec<_>>>()?;
    let flat = call.reshape(x, &[shape[0].clone(), shape[1].clone(), Expr::product(shape[2..].iter().cloned())])?;
    let around =
        Around { rule, image: flat, coordinates, sizes, shape: [shape[0].clone(), shape[1].clone(), positions] };
    let total = if rule.mode == Mode::Cubic { around.rows(call)? } else { around.corners(call)? };
    let result = [&shape[..2], &places[1..=spatial]].concat();
    one(call.reshape(total, &result)?)
}

/// The pixels around positions.
struct Around<'a> {
    rule: &'a Rule,
    /// Its spatial dims are one.
    image: ValueId,
    /// Of the positions, the first dim's first.
    coordinates: Vec<ValueId>,
    /// Of the spatial dims.
    sizes: Vec<i64>,
    /// Of the result, its spatial dims one.
    shape: [Expr; 3],
}

impl Around<'_> {
    /// Pixels times the products of their weights along all dims.
    fn corners(&self, call: &mut Call<'_>) -> Result<ValueId> {
        let mut total = None;
        for taps in corners(self.rule.mode.taps(), self.sizes.len()) {
            let (pixels, weight) = (self.pixels(call, &taps)?, self.product(call, &taps)?);
            total = Some(self.add(call, total, pixels, weight)?);
        }
        total.ok_or_else(|| call.damaged("a grid without corners"))
    }

    /// Sums along rows first, then over the rows.
    fn rows(&self, call: &mut Call<'_>) -> Result<ValueId> {
        let taps = self.rule.mode.taps();
        let mut weights = Vec::new();
        for (&coordinate, &size) in self.coordinates.iter().zip(&self.sizes) {
            let weight =
                |call: &mut Call<'_>, tap| map(call, &[coordinate], |f, p| self.rule.pixel(f, p[0], tap, size).1);
            weights.push(taps.iter().map(|&tap| weight(call, tap)).collect::<Result<Vec<_>>>()?);
        }
        let mut total = None;
        for (&y, &weight) in taps.iter().zip(&weights[0]) {
            let mut row = None;
            for (&x, &weight) in taps.iter().zip(&weights[1]) {
                let pixels = self.pixels(call, &[y, x])?;
                row = Some(self.add(call, row, pixels, weight)?);
            }
            if let Some(row) = row {
                total = Some(self.add(call, total, row, weight)?);
            }
        }
        total.ok_or_else(|| call.damaged("a grid without rows"))
    }

    fn add(&self, call: &mut Call<'_>, total: Option<ValueId>, pixels: ValueId, weight: ValueId) -> Result<ValueId> {
        let operands: Vec<ValueId> = [pixels, weight].into_iter().chain(total).collect();
        map(call, &operands, |f, p| self.rule.part(f, p.get(2).copied(), p[0], p[1]))
    }

    /// One of the pixels around each position.
    fn pixels(&self, call: &mut Call<'_>, taps: &[i64]) -> Result<ValueId> {
        let number = map(call, &self.coordinates, |f, p| {
            let mut at = f.int(DType::I64, 0);
            for ((&x, &tap), &size) in p.iter().zip(taps).zip(&self.sizes) {
                let (pixel, size) = (self.rule.pixel(f, x, tap, size).0, f.int(DType::I64, size));
                let row = f.binary(Binary::Mul, at, size);
                at = f.binary(Binary::Add, row, pixel);
            }
            at
        })?;
        let number = call.expand(number, &self.shape)?;
        call.push(Op::Gather { dim: 2 }, &[self.image, number])
    }

    /// The weight of one of the pixels around each position; outside, if it is so along any dim.
    fn product(&self, call: &mut Call<'_>, taps: &[i64]) -> Result<ValueId> {
        map(call, &self.coordinates, |f, p| {
            let along = p.iter().zip(taps).zip(&self.sizes).rev();
            let weights: Vec<ExprId> = along.map(|((&x, &tap), &size)| self.rule.pixel(f, x, tap, size).1).collect();
            weights[1..].iter().fold(weights[0], |product, &weight| {
                let both = f.binary(Binary::Mul, product, weight);
                let (first, second) =
                    (self.rule.with(f, Binary::Eq, product, OUTSIDE), self.rule.with(f, Binary::Eq, weight, OUTSIDE));
                let (is_outside, outside) = (f.binary(Binary::Or, first, second), f.float(self.rule.dtype, OUTSIDE));
                f.select(is_outside, outside, both)
            })
        })
    }
}

/// All combinations of taps, the last dim's changing fastest.
fn corners(taps: &[i64], dims: usize) -> Vec<Vec<i64>> {
    (0..dims).fold(vec![Vec::new()], |all, _| {
        all.iter().flat_map(|corner| taps.iter().map(move |&tap| [corner.as_slice(), &[tap]].concat())).collect()
    })
}
