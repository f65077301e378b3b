//! Convolutions against sums in f64, at every level.

mod common;

use common::{Run, Values, assert_close, levels};
use exported_runtime::kernels::arith::{F32, Plain};
use exported_runtime::kernels::conv::{AnyStretch, Conv, ConvTranspose, Stretch, Stretches, scratch_len};
use exported_runtime::kernels::depthwise::{AnyWindow, Depthwise, Square, Window};
use exported_runtime::kernels::pack::{panels, panels_len};
use exported_runtime::{Level, N4, N16, Panel, dispatch};

const INF: f32 = f32::INFINITY;

#[derive(Clone, Debug)]
struct Case {
    batch: usize,
    groups: usize,
    channels: usize,
    columns: usize,
    size: [usize; 3],
    kernel: [usize; 3],
    stride: [usize; 3],
    dilation: [usize; 3],
    padding: [(usize, usize); 3],
    output_padding: [usize; 3],
    gather: bool,
    /// Rows of outputs that copied rows of the input are enough for; 0: none are copied.
    padded: usize,
    channels_first: bool,
    gap: usize,
}

const PLAIN: Case = Case {
    batch: 1,
    groups: 1,
    channels: 3,
    columns: 5,
    size: [1, 6, 7],
    kernel: [1, 3, 3],
    stride: [1; 3],
    dilation: [1; 3],
    padding: [(0, 0), (1, 1), (1, 1)],
    output_padding: [0; 3],
    gather: false,
    padded: 0,
    channels_first: false,
    gap: 0,
};

impl Case {
    fn out(&self, transposed: bool) -> [usize; 3] {
        std::array::from_fn(|d| {
            let reach = self.dilation[d] * (self.kernel[d] - 1) + 1;
            let (before, after) = self.padding[d];
            if transposed {
                (self.size[d] - 1) * self.stride[d] + reach + self.output_padding[d] - before - after
            } else {
                (self.size[d] + before + after - reach) / self.stride[d] + 1
            }
        })
    }

    fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    fn padded_len(&self) -> usize {
        let reach = |d: usize, count: usize| (count - 1) * self.stride[d] + self.dilation[d] * (self.kernel[d] - 1) + 1;
        if self.padded == 0 {
            return 0;
        }
        self.kernel[0] * reach(1, self.padded) * reach(2, self.out(false)[2]) * self.channels * self.groups
    }

    fn x_strides(&self) -> [usize; 5] {
        let [d, h, w] = self.size;
        let c = self.groups * self.channels;
        if self.channels_first {
            [c * d * h * w, h * w, w, 1, d * h * w]
        } else {
            let pixel = c + self.gap;
            [d * h * w * pixel, h * w * pixel, w * pixel, pixel, 1]
        }
    }
}

fn index(at: [usize; 3], size: [usize; 3]) -> usize {
    (at[0] * size[1] + at[1]) * size[2] + at[2]
}

fn unravel(i: usize, size: [usize; 3]) -> [usize; 3] {
    [i / (size[1] * size[2]), i / size[2] % size[1], i % size[2]]
}

/// Weight `[group][column][channel][tap]`, both kinds; result `[batch][out pixels][groups * columns]`.
fn reference(case: &Case, transposed: bool, x: &[f32], w: &[f32], bias: &[f32]) -> Vec<f64> {
    let (out, xs, taps) = (case.out(transposed), case.x_strides(), case.taps());
    let (pixels, width) = (out.iter().product::<usize>(), case.groups * case.columns);
    let mut y: Vec<f64> = (0..case.batch * pixels * width).map(|i| f64::from(bias[i % width])).collect();
    let (small, inputs) = (if transposed { case.size } else { out }, case.size.iter().product::<usize>());
    for n in 0..case.batch {
        for q in 0..(if transposed { inputs } else { pixels }) {
            let at = unravel(q, small);
            for t in 0..taps {
                let k = unravel(t, case.kernel);
                let there: [isize; 3] = std::array::from_fn(|d| {
                    (at[d] * case.stride[d] + k[d] * case.dilation[d]) as isize - case.padding[d].0 as isize
                });
                let big = if transposed { out } else { case.size };
                if (0..3).any(|d| there[d] < 0 || there[d] >= big[d] as isize) {
                    continue;
                }
                let there = there.map(|v| v as usize);
                let (input, output) = if transposed { (at, there) } else { (there, at) };
                for g in 0..case.groups {
                    for o in 0..case.columns {
                        for c in 0..case.channels {
                            let from = n * xs[0] + (0..3).map(|d| input[d] * xs[d + 1]).sum::<usize>();
                            let weight = w[((g * case.columns + o) * case.channels + c) * taps + t];
                            y[(n * pixels + index(output, out)) * width + g * case.columns + o] +=
                                f64::from(x[from + (g * case.channels + c) * xs[4]]) * f64::from(weight);
                        }
                    }
                }
            }
        }
    }
    y
}

fn pack<P: Panel>(case: &Case, w: &[f32]) -> Vec<f32> {
    let (taps, inner) = (case.taps(), case.taps() * case.channels);
    let mut to = vec![];
    for g in 0..case.groups {
        let mut part = vec![0.0; panels_len(P::WIDTH, inner, case.columns)];
        let at = |k: usize, o: usize| {
            w[((g * case.columns + o) * case.channels + k % case.channels) * taps + k / case.channels]
        };
        panels(P::WIDTH, inner, case.columns, at, &mut part);
        to.extend(part);
    }
    to
}

fn check<P: Run>(case: &Case, transposed: bool, level: Level, panel: P) {
    check_stretches(case, transposed, level, panel, AnyStretch);
}

fn check_stretches<P: Run, W: Stretches>(case: &Case, transposed: bool, level: Level, panel: P, stretch: W) {
    let mut v = Values::new(11);
    // Narrow panels copy patches or nothing, wide ones rows or, where windows stay inside, nothing.
    let leaves = case.padding != [(0, 0); 3];
    let case = &Case {
        channels_first: case.channels_first && (P::ROOM || case.gather),
        gather: case.gather && !P::ROOM,
        padded: if P::ROOM && (leaves || case.channels_first) { case.padded.max(1) } else { case.padded },
        ..case.clone()
    };
    let xs = case.x_strides();
    let x = v.vec(xs[0] * case.batch);
    let outputs = case.groups * case.columns;
    let w = v.vec(outputs * case.channels * case.taps());
    let bias = v.vec(outputs);
    let out = case.out(transposed);
    let pixels = case.batch * out.iter().product::<usize>();
    let stride = outputs + case.gap;
    let in_place = case.batch == 1;
    let mut y = v.vec(pixels * stride);
    let mut expected: Vec<f64> = y.iter().map(|v| f64::from(*v)).collect();
    for (pixel, row) in reference(case, transposed, &x, &w, &bias).chunks(outputs).enumerate() {
        for (o, value) in row.iter().enumerate() {
            // In place, what `y` held is the residual; then a clamp.
            let e = &mut expected[pixel * stride + o];
            *e = (if in_place { *e } else { 0.0 } + value).max(-0.5);
        }
    }
    let weights = pack::<P>(case, &w);
    let mut scratch = vec![f32::NAN; if case.gather { scratch_len(P::WIDTH, case.taps() * case.channels) } else { 0 }];
    let mut padded = vec![f32::NAN; case.padded_len()];
    let y_strides = [out.iter().product::<usize>() * stride, out[1] * out[2] * stride, out[2] * stride, stride];
    let padding = case.padding.map(|p| p.0);
    let Case { batch, groups, channels, columns, size, kernel, dilation, .. } = case.clone();
    if transposed {
        let op = ConvTranspose::<F32, P> {
            x: &x,
            weights: &weights,
            bias: Some(&bias),
            scale: None,
            zero_point: None,
            slope: None,
            residual: None,
            in_place,
            y: &mut y,
            batch,
            groups,
            channels,
            columns,
            size,
            out,
            kernel,
            stride: case.stride,
            dilation,
            padding,
            x_strides: xs,
            y_strides,
            low: -0.5,
            high: INF,
            format: (),
            panel,
        };
        P::run(level, op);
    } else {
        let op = Conv::<F32, P, W> {
            x: &x,
            weights: &weights,
            bias: Some(&bias),
            scale: None,
            zero_point: None,
            slope: None,
            residual: None,
            in_place,
            y: &mut y,
            scratch: case.gather.then_some(&mut scratch[..]),
            padded: (case.padded > 0).then_some(&mut padded[..]),
            batch,
            groups,
            channels,
            columns,
            size,
            out,
            kernel,
            stride: case.stride,
            dilation,
            padding,
            x_strides: xs,
            y_strides,
            low: -0.5,
            high: INF,
            format: (),
            panel,
            stretch,
        };
        P::run(level, op);
    }
    // Rounding grows with the number of products; a tap too many or too few would be off by tenths.
    let tolerance = 2e-5 + 1e-8 * (case.taps() * case.channels) as f64;
    assert_close(&y, &expected, tolerance, &format!("{case:?} transposed {transposed} {level:?} {}", P::WIDTH));
}

/// Where `gather` is set, with a residual.
fn depthwise<P: Run, W: Window>(case: &Case, level: Level, panel: P, window: W) {
    let mut v = Values::new(13);
    let (xs, out, channels) = (case.x_strides(), case.out(false), case.groups);
    let x = v.vec(xs[0] * case.batch);
    let w = v.vec(channels * case.taps());
    let bias = v.vec(channels);
    let pixels = case.batch * out.iter().product::<usize>();
    let stride = channels + case.gap;
    let mut y = vec![7.0; pixels * stride];
    let residual = v.vec(y.len());
    let mut expected = vec![7.0; y.len()];
    for (pixel, row) in reference(case, false, &x, &w, &bias).chunks(channels).enumerate() {
        for (o, value) in row.iter().enumerate() {
            let at = pixel * stride + o;
            let addend = if case.gather { f64::from(residual[at]) } else { 0.0 };
            expected[at] = (value + addend).clamp(-0.3, 1.0);
        }
    }
    let padded = channels.next_multiple_of(P::WIDTH);
    let mut weights = vec![0.0; padded * case.taps()];
    for c in 0..channels {
        for t in 0..case.taps() {
            weights[t * padded + c] = w[c * case.taps() + t];
        }
    }
    let op = Depthwise::<F32, P, W> {
        x: &x,
        weights: &weights,
        bias: Some(&bias),
        scale: None,
        zero_point: None,
        slope: None,
        residual: case.gather.then_some(&residual),
        in_place: false,
        y: &mut y,
        batch: case.batch,
        channels,
        size: case.size,
        out,
        kernel: case.kernel,
        stride: case.stride,
        dilation: case.dilation,
        padding: case.padding.map(|p| p.0),
        x_strides: [xs[0], xs[1], xs[2], xs[3]],
        y_strides: [out.iter().product::<usize>() * stride, out[1] * out[2] * stride, out[2] * stride, stride],
        low: -0.3,
        high: 1.0,
        format: (),
        panel,
        window,
    };
    P::run(level, op);
    assert_close(&y, &expected, 1e-5, &format!("depthwise {case:?} {level:?}"));
}

fn random(v: &mut Values) -> Case {
    let spatial = 1 + v.below(3);
    let mut case = Case {
        batch: 1 + v.below(2),
        groups: 1 + v.below(3),
        channels: [1, 2, 3, 4, 8, 17, 130][v.below(7)],
        columns: [1, 3, 4, 16, 21, 24, 33][v.below(7)],
        gap: v.below(2) * 3,
        gather: v.below(2) == 0,
        ..PLAIN
    };
    if !case.gather {
        case.padded = v.below(4);
    }
    case.channels_first = (case.gather || case.padded > 0) && v.below(2) == 0;
    for d in 0..3 {
        let used = d + spatial >= 3;
        let kernel = if used { 1 + v.below(4) } else { 1 };
        case.kernel[d] = kernel;
        case.dilation[d] = if used { 1 + v.below(3) } else { 1 };
        case.stride[d] = if used { 1 + v.below(3) } else { 1 };
        case.padding[d] = if used { (v.below(kernel), v.below(kernel)) } else { (0, 0) };
        case.output_padding[d] = if used { v.below(case.stride[d]) } else { 0 };
        let reach = case.dilation[d] * (kernel - 1) + 1;
        case.size[d] = if used { reach + v.below(if spatial == 3 { 3 } else { 8 }) } else { 1 };
    }
    case
}

#[test]
fn plain_convolution() {
    for level in levels() {
        check(&PLAIN, false, level, N16);
        if level == Level::Portable {
            check(&PLAIN, false, level, N4);
        }
    }
}

#[test]
fn any_parameters() {
    let mut v = Values::new(1);
    for _ in 0..200 {
        let case = random(&mut v);
        for level in levels() {
            check(&case, false, level, N16);
            if level == Level::Portable {
                check(&case, false, level, N4);
            }
        }
    }
}

#[test]
fn stretches_of_constant_length() {
    let mut v = Values::new(23);
    for _ in 0..12 {
        for (channels, kernel, stride) in [(3, 3, 1), (3, 3, 2), (3, 7, 2), (1, 4, 2), (1, 5, 1), (4, 2, 3)] {
            let any = random(&mut v);
            let mut case = Case { groups: 1, channels, gather: false, padded: 1 + v.below(3), ..any };
            (case.kernel[2], case.stride[2], case.dilation[2]) = (kernel, stride, 1);
            case.padding[2] = (v.below(kernel), v.below(kernel));
            case.size[2] = kernel + v.below(30);
            for level in levels() {
                match (channels, kernel, stride) {
                    (3, 3, 1) => check_stretches(&case, false, level, N16, Stretch::<9, 3>),
                    (3, 3, _) => check_stretches(&case, false, level, N16, Stretch::<9, 6>),
                    (3, _, _) => check_stretches(&case, false, level, N16, Stretch::<21, 6>),
                    (1, 4, _) => check_stretches(&case, false, level, N16, Stretch::<4, 2>),
                    (1, _, _) => check_stretches(&case, false, level, N16, Stretch::<5, 1>),
                    _ => check_stretches(&case, false, level, N16, Stretch::<8, 12>),
                }
            }
        }
    }
}

#[test]
fn transposed_with_any_parameters() {
    let mut v = Values::new(2);
    for _ in 0..200 {
        let mut case = Case { gather: false, padded: 0, channels_first: false, ..random(&mut v) };
        for d in 0..3 {
            // A transposed output must not be empty, and padding is one number there.
            let full = (case.size[d] - 1) * case.stride[d] + case.dilation[d] * (case.kernel[d] - 1);
            let pad = case.padding[d].0.min(full / 2);
            case.padding[d] = (pad, pad);
        }
        for level in levels() {
            check(&case, true, level, N16);
            if level == Level::Portable {
                check(&case, true, level, N4);
            }
        }
    }
}

#[test]
fn depthwise_with_any_parameters() {
    let mut v = Values::new(3);
    for _ in 0..200 {
        let base = Case { channels: 1, columns: 1, channels_first: false, ..random(&mut v) };
        let case = Case { groups: [1, 4, 8, 16, 19, 40][v.below(6)], ..base };
        for level in levels() {
            depthwise(&case, level, N16, AnyWindow);
            if level == Level::Portable {
                depthwise(&case, level, N4, AnyWindow);
            }
        }
    }
}

#[test]
fn depthwise_of_usual_kernels() {
    let mut v = Values::new(17);
    for (kernel, stride) in [(3, 1), (3, 2), (5, 1), (5, 2)] {
        for width in 1..20 {
            let padding = kernel / 2;
            let case = Case {
                channels: 1,
                columns: 1,
                groups: [8, 16, 24, 32, 37][v.below(5)],
                size: [1, 1 + v.below(9), width],
                kernel: [1, kernel, kernel],
                stride: [1, 1 + v.below(2), stride],
                padding: [(0, 0), (padding, padding), (padding, padding - v.below(2))],
                gather: v.below(2) == 0,
                gap: 3 * v.below(2),
                ..PLAIN
            };
            if case.size[2] + 2 * padding < kernel + 1 {
                continue;
            }
            for level in levels() {
                match (kernel, stride) {
                    (3, 1) => depthwise(&case, level, N16, Square::<3, 1>),
                    (3, _) => depthwise(&case, level, N16, Square::<3, 2>),
                    (_, 1) => depthwise(&case, level, N16, Square::<5, 1>),
                    _ => depthwise(&case, level, N16, Square::<5, 2>),
                }
                // A layer that is not what was named is computed all the same.
                depthwise(&case, level, N16, Square::<3, 1>);
            }
        }
    }
}

#[test]
fn integers_wrap() {
    let mut y = [0i8; 2];
    let op = Conv::<Plain<i8>, N4, AnyStretch> {
        x: &[100, 50, 3],
        weights: &[2, 0, 0, 0, 1, 0, 0, 0],
        bias: None,
        scale: None,
        zero_point: None,
        slope: None,
        residual: None,
        in_place: false,
        y: &mut y,
        scratch: None,
        padded: None,
        batch: 1,
        groups: 1,
        channels: 1,
        columns: 1,
        size: [1, 1, 3],
        out: [1, 1, 2],
        kernel: [1, 1, 2],
        stride: [1; 3],
        dilation: [1; 3],
        padding: [0; 3],
        x_strides: [3, 3, 3, 1, 1],
        y_strides: [2, 2, 2, 1],
        low: i8::MIN,
        high: i8::MAX,
        format: (),
        panel: N4,
        stretch: AnyStretch,
    };
    dispatch(Level::Portable, op);
    assert_eq!(y, [250u8 as i8, 103]);
}
