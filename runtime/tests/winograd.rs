//! Winograd's method against sums in f64: geometry at every level, and the stated error.

mod common;

use common::{Run, Values, assert_close, levels};
use exported_runtime::kernels::winograd::{F2, F4, TILES, Tile, Winograd, scratch_len, transformed};
use exported_runtime::{Level, N4, N16, Panel, Portable, Simd, Vector, dispatch};

/// One layer. Pixels of `x` and `y` are `gap` further apart than they must be, rows one pixel more.
#[derive(Clone, Copy, Debug)]
struct Case {
    batch: usize,
    channels: usize,
    columns: usize,
    size: [usize; 2],
    /// Before and after, rows and columns.
    padding: [(usize, usize); 2],
    gap: usize,
    block: usize,
    bias: bool,
    slope: bool,
    /// 1: from a tensor, 2: from `y`.
    residual: usize,
    bounds: (f32, f32),
}

const PLAIN: Case = Case {
    batch: 1,
    channels: 16,
    columns: 16,
    size: [8, 8],
    padding: [(1, 1); 2],
    gap: 0,
    block: TILES,
    bias: false,
    slope: false,
    residual: 0,
    bounds: (f32::NEG_INFINITY, f32::INFINITY),
};

impl Case {
    fn out(&self) -> [usize; 2] {
        [0, 1].map(|d| self.size[d] + self.padding[d].0 + self.padding[d].1 - 2)
    }

    fn strides(&self, [h, w]: [usize; 2], channels: usize) -> [usize; 3] {
        let pixel = channels + self.gap;
        [h * (w + 1) * pixel, (w + 1) * pixel, pixel]
    }
}

struct Data {
    x: Vec<f32>,
    w: Vec<f32>,
    bias: Vec<f32>,
    slope: Vec<f32>,
    /// What `y` holds before.
    y: Vec<f32>,
    residual: Vec<f32>,
}

impl Data {
    fn new(case: &Case) -> Self {
        let mut v = Values::new(5);
        let len = case.strides(case.out(), case.columns)[0] * case.batch;
        Data {
            x: v.vec(case.strides(case.size, case.channels)[0] * case.batch),
            w: v.vec(case.columns * case.channels * 9),
            bias: v.vec(case.columns),
            slope: v.vec(case.columns),
            y: v.vec(len),
            residual: v.vec(len),
        }
    }
}

fn pack<T: Tile<OUT, IN>, P: Panel, const OUT: usize, const IN: usize>(case: &Case, w: &[f32]) -> Vec<f32> {
    let panels = case.columns.div_ceil(P::WIDTH);
    let mut to = vec![0.0; IN * IN * panels * case.channels * P::WIDTH];
    for (pair, taps) in w.chunks(9).enumerate() {
        let (column, channel) = (pair / case.channels, pair % case.channels);
        let kernel = [0, 1, 2].map(|i| [0, 1, 2].map(|j| f64::from(taps[3 * i + j])));
        for (position, value) in transformed::<T, OUT, IN>(kernel).as_flattened().iter().enumerate() {
            let row = (position * panels + column / P::WIDTH) * case.channels + channel;
            to[row * P::WIDTH + column % P::WIDTH] = *value as f32;
        }
    }
    to
}

fn run<T: Tile<OUT, IN>, P: Run, const OUT: usize, const IN: usize>(
    case: &Case,
    data: &Data,
    level: Level,
    tile: T,
    panel: P,
) -> Vec<f32> {
    let weights = pack::<T, P, OUT, IN>(case, &data.w);
    let mut y = data.y.clone();
    // Whatever the memory held before must not matter.
    let mut scratch = vec![f32::NAN; scratch_len(IN * IN, case.block, case.channels, case.columns)];
    P::run(
        level,
        Winograd::<T, P, OUT, IN> {
            x: &data.x,
            weights: &weights,
            bias: case.bias.then_some(&data.bias),
            slope: case.slope.then_some(&data.slope),
            residual: (case.residual == 1).then_some(&data.residual),
            in_place: case.residual == 2,
            y: &mut y,
            scratch: &mut scratch,
            batch: case.batch,
            channels: case.channels,
            columns: case.columns,
            size: case.size,
            out: case.out(),
            padding: case.padding.map(|p| p.0),
            x_strides: case.strides(case.size, case.channels),
            y_strides: case.strides(case.out(), case.columns),
            block: case.block,
            low: case.bounds.0,
            high: case.bounds.1,
            tile,
            panel,
        },
    );
    y
}

/// By definition; what lies between pixels stays as it was.
fn reference(case: &Case, data: &Data) -> Vec<f64> {
    let (out, xs) = (case.out(), case.strides(case.size, case.channels));
    let ys = case.strides(out, case.columns);
    let mut y: Vec<f64> = data.y.iter().map(|v| f64::from(*v)).collect();
    for n in 0..case.batch {
        for (p, q, o) in
            (0..out[0]).flat_map(|p| (0..out[1]).flat_map(move |q| (0..case.columns).map(move |o| (p, q, o))))
        {
            let mut sum = 0.0;
            for (i, j) in (0..3).flat_map(|i| (0..3).map(move |j| (i, j))) {
                let (h, w) = ((p + i).wrapping_sub(case.padding[0].0), (q + j).wrapping_sub(case.padding[1].0));
                if h < case.size[0] && w < case.size[1] {
                    for c in 0..case.channels {
                        let x = f64::from(data.x[n * xs[0] + h * xs[1] + w * xs[2] + c]);
                        sum += x * f64::from(data.w[(o * case.channels + c) * 9 + 3 * i + j]);
                    }
                }
            }
            let at = n * ys[0] + p * ys[1] + q * ys[2] + o;
            sum += if case.bias { f64::from(data.bias[o]) } else { 0.0 };
            sum += [0.0, f64::from(data.residual[at]), f64::from(data.y[at])][case.residual];
            if case.slope && sum <= 0.0 {
                sum *= f64::from(data.slope[o]);
            }
            y[at] = sum.max(f64::from(case.bounds.0)).min(f64::from(case.bounds.1));
        }
    }
    y
}

fn check(case: &Case) {
    let data = Data::new(case);
    let expected = reference(case, &data);
    for level in levels() {
        let what = format!("{case:?} at {level:?}");
        assert_close(&run(case, &data, level, F2, N16), &expected, 1e-5, &format!("F2, {what}"));
        assert_close(&run(case, &data, level, F4, N16), &expected, 2e-5, &format!("F4, {what}"));
        if level == Level::Portable {
            assert_close(&run(case, &data, level, F2, N4), &expected, 1e-5, &format!("F2, panels of 4, {what}"));
            assert_close(&run(case, &data, level, F4, N4), &expected, 2e-5, &format!("F4, panels of 4, {what}"));
        }
    }
}

#[test]
fn every_geometry() {
    check(&PLAIN);
    // Tiles that hang over, images smaller than a tile, one pixel.
    for size in [[1, 1], [2, 7], [5, 3], [9, 10], [13, 6]] {
        check(&Case { size, ..PLAIN });
    }
    // Zeros before only, behind only, none, more than the kernel reaches.
    for padding in [[(0, 0); 2], [(2, 0), (0, 1)], [(0, 2), (1, 0)], [(3, 4), (5, 2)]] {
        check(&Case { padding, size: [6, 7], ..PLAIN });
    }
    // Vectors that are not full.
    for (channels, columns) in [(1, 1), (3, 17), (17, 4), (24, 40), (33, 15)] {
        check(&Case { channels, columns, size: [6, 5], ..PLAIN });
    }
    check(&Case { batch: 3, size: [5, 6], gap: 3, channels: 20, columns: 18, ..PLAIN });
    // Blocks that end within an image, and that hold more than all.
    for block in [1, 2, 7, 100] {
        check(&Case { batch: 2, size: [11, 9], block, ..PLAIN });
    }
    check(&Case { batch: 0, ..PLAIN });
}

#[test]
fn every_epilogue() {
    for residual in 0..3 {
        let case = Case { bias: true, residual, columns: 20, size: [7, 6], gap: 1, ..PLAIN };
        check(&case);
        check(&Case { slope: true, ..case });
        check(&Case { bounds: (-0.25, 1.0), ..case });
    }
}

/// Greatest error over one unit of the bound: rounding × greatest input × sum of the weights of an output.
fn worst(case: &Case, data: &Data, y: &[f32]) -> f64 {
    let expected = reference(case, data);
    let x = data.x.iter().fold(0.0f32, |x, v| x.max(v.abs()));
    let sums = data.w.chunks(9 * case.channels).map(|w| w.iter().map(|v| f64::from(v.abs())).sum::<f64>());
    let sums: Vec<f64> = sums.collect();
    let errors = y.iter().zip(&expected).map(|(f, e)| (f64::from(*f) - e).abs());
    let units = errors.enumerate().map(|(i, error)| error / sums[i % case.columns]);
    units.fold(0.0, f64::max) / f64::from(x) / 2f64.powi(-24)
}

#[test]
fn errors_stay_within_the_bound_and_are_far_below_on_random_data() {
    for channels in [16, 64, 256] {
        let case = Case { channels, columns: 32, size: [12, 12], ..PLAIN };
        let data = Data::new(&case);
        for level in levels() {
            let (unit, y) = ((channels + 20) as f64, run(&case, &data, level, F2, N16));
            let found = worst(&case, &data, &y);
            assert!(found < unit * <F2 as Tile<2, 4>>::AMPLIFICATION, "bound of F2 at {level:?}");
            assert!(found < 1.0, "F2, {channels} channels at {level:?}: {found}");
            let found = worst(&case, &data, &run(&case, &data, level, F4, N16));
            assert!(found < unit * <F4 as Tile<4, 6>>::AMPLIFICATION, "bound of F4 at {level:?}");
            assert!(found < 3.0, "F4, {channels} channels at {level:?}: {found}");
        }
    }
}

type Row = <Portable as Simd>::F32;

/// Factors of a linear map, column by column.
fn matrix<const FROM: usize, const TO: usize>(map: impl Fn([Row; FROM]) -> [Row; TO]) -> [[f64; FROM]; TO] {
    let mut found = [[0.0; FROM]; TO];
    for from in 0..FROM {
        let mut unit = [Row::splat(Portable, 0.0); FROM];
        unit[from] = Row::splat(Portable, 1.0);
        for (to, value) in map(unit).into_iter().enumerate() {
            let mut lane = [0.0];
            value.store(Portable, &mut lane);
            found[to][from] = f64::from(lane[0]);
        }
    }
    found
}

fn transforms<T: Tile<OUT, IN>, const OUT: usize, const IN: usize>(_: T) {
    let input: [[f64; IN]; IN] = matrix(|d| T::input(Portable, d));
    let output: [[f64; IN]; OUT] = matrix(|m| T::output(Portable, m));
    let mut most = 0.0f64;
    for (i, from) in output.iter().enumerate() {
        for tap in 0..3 {
            // Of an output and a tap, at each position.
            let joint: Vec<f64> = from.iter().zip(T::KERNEL).map(|(a, g)| a * g[tap]).collect();
            let reach = input.iter().map(|row| row.iter().map(|b| b.abs()).sum::<f64>());
            most = most.max(joint.iter().zip(reach).map(|(f, reach)| f.abs() * reach).sum());
            for d in 0..IN {
                let factor: f64 = joint.iter().zip(&input).map(|(f, row)| f * row[d]).sum();
                let expected = if d == i + tap { 1.0 } else { 0.0 };
                assert!((factor - expected).abs() < 1e-12, "output {i}, tap {tap}, input {d}: {factor}");
            }
        }
    }
    assert_eq!(most * most, T::AMPLIFICATION);
}

#[test]
fn transforms_make_a_convolution_and_amplify_as_stated() {
    transforms(F2);
    transforms(F4);
}

#[test]
fn infinity_spreads_over_its_tiles_only() {
    let case = Case { size: [8, 8], columns: 1, channels: 1, ..PLAIN };
    let mut data = Data::new(&case);
    data.x[2 * 9 + 1] = f32::INFINITY;
    let found = run(&case, &data, Level::detect(), F4, N16);
    let is_nan = |row: usize, column: usize| found[row * 9 + column].is_nan();
    assert!((0..4).all(|row| (0..4).all(|column| is_nan(row, column))));
    assert!((0..8).all(|row| !is_nan(row, 6)));
}

#[test]
fn short_slices_write_nothing() {
    let case = Case { bias: true, residual: 1, ..PLAIN };
    let whole = Data::new(&case);
    type Cut = fn(&mut Data);
    let cuts: [Cut; 3] = [
        |d| d.x.truncate(d.x.len() - 16 - 16),
        |d| d.bias.truncate(15),
        |d| d.residual.truncate(d.residual.len() - 16 - 1),
    ];
    for cut in cuts {
        let mut data = Data::new(&case);
        cut(&mut data);
        assert_eq!(run(&case, &data, Level::detect(), F4, N16), whole.y);
    }
    let weights = pack::<F2, N16, 2, 4>(&case, &whole.w);
    let needed = scratch_len(16, case.block, case.channels, case.columns);
    for (weights, scratch, block) in
        [(&weights[1..], needed, TILES), (&weights[..], needed - 1, TILES), (&weights[..], needed, 0)]
    {
        let (mut y, mut scratch) = (whole.y.clone(), vec![0.0; scratch]);
        let op = Winograd::<F2, N16, 2, 4> {
            x: &whole.x,
            weights,
            bias: None,
            slope: None,
            residual: None,
            in_place: false,
            y: &mut y,
            scratch: &mut scratch,
            batch: 1,
            channels: 16,
            columns: 16,
            size: [8; 2],
            out: [8; 2],
            padding: [1; 2],
            x_strides: case.strides([8; 2], 16),
            y_strides: case.strides([8; 2], 16),
            block,
            low: f32::NEG_INFINITY,
            high: f32::INFINITY,
            tile: F2,
            panel: N16,
        };
        dispatch(Level::detect(), op);
        assert_eq!(y, whole.y);
    }
}
