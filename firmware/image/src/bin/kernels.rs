//! Compares the f32 kernels of the target with the portable ones, on the device, for random parameters: separate products give
//! the same bits, fused ones nearly the same numbers. The exit status is 0 if all agree. No model takes part.
#![no_std]
#![no_main]

use exported::rt::kernels::arith::F32;
use exported::rt::kernels::conv::{AnyStretch, Conv, scratch_len};
use exported::rt::kernels::depthwise::{AnyWindow, Depthwise};
use exported::rt::kernels::matmul::Linear;
use exported::rt::{Fpu4, Level, N4, Panel, dispatch};

exported_board::entry!(main);

const ROUNDS: u32 = 400;
/// Elements of each tensor, more than any case needs.
const MOST: usize = 6000;

static TENSORS: exported::rt::StaticWorkspace<{ 6 * 4 * MOST }> = exported::rt::StaticWorkspace::new();

fn main() -> ! {
    exported_board::exit(if run() == Some(true) { 0 } else { 1 })
}

fn run() -> Option<bool> {
    let mut memory = TENSORS.take()?;
    let mut arena = memory.arena(6 * 4 * MOST).ok()?;
    let part = |i: usize| (4 * MOST * i, 4 * MOST);
    let ([], parts) = arena.regions([], [part(0), part(1), part(2), part(3), part(4), part(5)]);
    let [x, weights, residual, scratch, expected, found] = parts.map(exported::rt::cast_mut::<f32>);
    let mut random = Random(1);
    for _ in 0..ROUNDS {
        for tensor in [&mut *x, &mut *weights, &mut *residual] {
            tensor.iter_mut().for_each(|to| *to = random.number());
        }
        let case = Case::any(&mut random);
        for kind in [compute::<LinearOf>, compute::<ConvOf>, compute::<DepthwiseOf>] {
            kind(&case, &Tensors { x, weights, residual }, scratch, expected, Which::Portable);
            kind(&case, &Tensors { x, weights, residual }, scratch, found, Which::Separate);
            if expected.iter().zip(&*found).any(|(a, b)| a.to_bits() != b.to_bits()) {
                return Some(false);
            }
            kind(&case, &Tensors { x, weights, residual }, scratch, found, Which::Fused);
            if expected.iter().zip(&*found).any(|(a, b)| (a - b).abs() > 1e-4) {
                return Some(false);
            }
        }
    }
    Some(true)
}

struct Random(u32);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.0 >> 8
    }

    /// Less than `end`.
    fn below(&mut self, end: usize) -> usize {
        self.next() as usize % end.max(1)
    }

    /// Between -1 and 1.
    fn number(&mut self) -> f32 {
        self.next() as f32 / (1 << 23) as f32 - 1.0
    }
}

struct Tensors<'a> {
    x: &'a [f32],
    weights: &'a [f32],
    residual: &'a [f32],
}

#[derive(Clone, Copy)]
enum Which {
    Portable,
    Separate,
    Fused,
}

/// Parameters that all three kernels read what they need of.
struct Case {
    batch: usize,
    groups: usize,
    channels: usize,
    columns: usize,
    size: [usize; 3],
    kernel: [usize; 3],
    stride: [usize; 3],
    dilation: [usize; 3],
    padding: [usize; 3],
    pad: usize,
    bias: bool,
    slope: bool,
    residual: bool,
    in_place: bool,
    low: f32,
    high: f32,
}

impl Case {
    fn any(random: &mut Random) -> Case {
        let mut three = |first: usize, end: usize| core::array::from_fn(|_| first + random.below(end));
        let (kernel, stride, dilation, padding): ([usize; 3], [usize; 3], [usize; 3], [usize; 3]) =
            (three(1, 3), three(1, 2), three(1, 2), three(0, 3));
        let room: [usize; 3] = three(0, 3);
        let size = core::array::from_fn(|d| {
            let reach = kernel.get(d).unwrap_or(&1).saturating_sub(1) * dilation.get(d).unwrap_or(&1) + 1;
            let outside = 2 * padding.get(d).unwrap_or(&0);
            (reach + room.get(d).unwrap_or(&0)).saturating_sub(outside).max(1)
        });
        let residual = random.below(4);
        Case {
            batch: 1 + random.below(2),
            groups: 1 + random.below(2),
            channels: 1 + random.below(6),
            columns: 1 + random.below(9),
            size,
            kernel,
            stride,
            dilation,
            padding,
            pad: random.below(3),
            bias: random.below(3) > 0,
            slope: random.below(4) == 0,
            residual: residual == 0,
            in_place: residual == 1,
            low: if random.below(2) == 0 { 0.0 } else { f32::NEG_INFINITY },
            high: if random.below(3) == 0 { 0.5 } else { f32::INFINITY },
        }
    }

    /// Output size.
    fn out(&self) -> [usize; 3] {
        core::array::from_fn(|d| {
            let at = |list: &[usize; 3]| list.get(d).copied().unwrap_or(1);
            let reach = (at(&self.kernel) - 1) * at(&self.dilation) + 1;
            let whole = at(&self.size) + 2 * at(&self.padding);
            whole.checked_sub(reach).map_or(0, |rest| rest / at(&self.stride) + 1)
        })
    }

    fn optional<'a>(&self, given: bool, from: &'a [f32], start: usize) -> Option<&'a [f32]> {
        from.get(start..).filter(|_| given)
    }
}

/// Strides of channels-last images: image, d, h, w.
fn strides([_, h, w]: [usize; 3], d: usize, channels: usize) -> [usize; 4] {
    [d * h * w * channels, h * w * channels, w * channels, channels]
}

/// A kernel whose parameters come from a case.
trait Kernel {
    fn run<P: Panel>(case: &Case, t: &Tensors<'_>, scratch: &mut [f32], y: &mut [f32], panel: P);
}

fn compute<K: Kernel>(case: &Case, t: &Tensors<'_>, scratch: &mut [f32], y: &mut [f32], which: Which) {
    y.fill(0.25);
    match which {
        Which::Portable => K::run(case, t, scratch, y, N4),
        Which::Separate => K::run(case, t, scratch, y, Fpu4::<false>),
        Which::Fused => K::run(case, t, scratch, y, Fpu4::<true>),
    }
}

struct LinearOf;

impl Kernel for LinearOf {
    fn run<P: Panel>(case: &Case, t: &Tensors<'_>, _: &mut [f32], y: &mut [f32], panel: P) {
        let [rows, inner, columns] =
            [case.size[0] * case.size[1] + case.pad, 4 * case.channels + case.pad, 2 * case.columns];
        let op = Linear::<F32, P> {
            x: t.x,
            weights: t.weights,
            bias: case.optional(case.bias, t.residual, 100),
            scale: None,
            zero_point: None,
            slope: case.optional(case.slope, t.residual, 200),
            residual: case.optional(case.residual, t.residual, 0),
            in_place: case.in_place,
            y,
            rows,
            inner,
            columns,
            x_stride: inner + case.pad,
            y_stride: columns + case.pad,
            low: case.low,
            high: case.high,
            format: (),
            panel,
        };
        dispatch(Level::Portable, op);
    }
}

struct ConvOf;

impl Kernel for ConvOf {
    fn run<P: Panel>(case: &Case, t: &Tensors<'_>, scratch: &mut [f32], y: &mut [f32], panel: P) {
        let inner = case.kernel.iter().product::<usize>() * case.channels;
        let out = case.out();
        let [n, d, h, w] = strides(case.size, case.size[0], case.channels * case.groups);
        let op = Conv::<F32, P, AnyStretch> {
            x: t.x,
            weights: t.weights,
            bias: case.optional(case.bias, t.residual, 100),
            scale: None,
            zero_point: None,
            slope: case.optional(case.slope, t.residual, 200),
            residual: case.optional(case.residual, t.residual, 0),
            in_place: case.in_place,
            y,
            scratch: scratch.get_mut(..scratch_len(4, inner)),
            padded: None,
            batch: case.batch,
            groups: case.groups,
            channels: case.channels,
            columns: case.columns,
            size: case.size,
            out,
            kernel: case.kernel,
            stride: case.stride,
            dilation: case.dilation,
            padding: case.padding,
            x_strides: [n, d, h, w, 1],
            y_strides: strides(out, out[0], case.columns * case.groups),
            low: case.low,
            high: case.high,
            format: (),
            panel,
            stretch: AnyStretch,
        };
        dispatch(Level::Portable, op);
    }
}

struct DepthwiseOf;

impl Kernel for DepthwiseOf {
    fn run<P: Panel>(case: &Case, t: &Tensors<'_>, _: &mut [f32], y: &mut [f32], panel: P) {
        let out = case.out();
        let channels = case.channels * case.columns;
        let op = Depthwise::<F32, P, AnyWindow> {
            x: t.x,
            weights: t.weights,
            bias: case.optional(case.bias, t.residual, 100),
            scale: None,
            zero_point: None,
            slope: case.optional(case.slope, t.residual, 200),
            residual: case.optional(case.residual, t.residual, 0),
            in_place: case.in_place,
            y,
            batch: case.batch,
            channels,
            size: case.size,
            out,
            kernel: case.kernel,
            stride: case.stride,
            dilation: case.dilation,
            padding: case.padding,
            x_strides: strides(case.size, case.size[0], channels),
            y_strides: strides(out, out[0], channels + case.pad),
            low: case.low,
            high: case.high,
            format: (),
            panel,
            window: AnyWindow,
        };
        dispatch(Level::Portable, op);
    }
}
