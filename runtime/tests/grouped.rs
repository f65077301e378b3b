//! Linear layers with numbers per group of inputs.

use exported_runtime::kernels::grouped::{Bytes, Linear, Nibbles, Weights};
use exported_runtime::{Op, Portable};

fn run<W: Weights<4>>(stored: W, weights: &[u8]) -> [f32; 10] {
    let (x, scale) = ([1.0, 2.0, 3.0, -1.0, 0.5, 4.0], [0.5; 16]);
    let mut zero = [0.0; 16];
    zero[1] = 2.0;
    let mut y = [0.0; 10];
    let bias = [1.0, 0.0, 0.0, 0.0, 0.25];
    let [rows, inner, columns, group] = [2, 3, 5, 2];
    Linear {
        x: &x,
        weights,
        scale: &scale,
        zero_point: &zero,
        bias: Some(&bias),
        y: &mut y,
        rows,
        inner,
        columns,
        x_stride: 3,
        y_stride: 5,
        group,
        stored,
    }
    .call(Portable);
    y
}

#[test]
fn groups_have_their_own_numbers() {
    let ints = [[1i8, -2, 3, 7], [-8, 0, 1, 2], [5, -5, 4, -4], [6, 0, 0, 0], [-1, 0, 0, 0], [2, 0, 0, 0]];
    let bytes: Vec<u8> = ints.iter().flatten().map(|w| *w as u8).collect();
    let nibble = |w: i8| (w + 8) as u8;
    let halves = |row: &[i8; 4]| [nibble(row[0]) | nibble(row[2]) << 4, nibble(row[1]) | nibble(row[3]) << 4];
    let nibbles: Vec<u8> = ints.iter().flat_map(halves).collect();
    let y = run(Bytes, &bytes);
    // 0.5 * (1 * 1 - 8 * 2 + 5 * 3) + 1; 0.5 * (-2 - 2 * 3 - 5 * 3); the fifth column is the second panel's first.
    assert_eq!((y[0], y[1], y[4]), (1.0, -11.5, 0.5 * (6.0 - 2.0 + 6.0) + 0.25));
    assert_eq!(run(Nibbles, &nibbles), y);
}
