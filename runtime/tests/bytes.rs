//! Tables, softmax and products of activations on bytes, against the same in f64.

use exported_runtime::kernels::arith::Rescale;
use exported_runtime::kernels::bytes::{Lookup, MatMul, Softmax};
use exported_runtime::{Op, Portable};

#[test]
fn a_table_is_read_by_the_bits_of_a_byte() {
    let table: Vec<i8> = (0..256).map(|i| (i as u8 as i8).wrapping_neg()).collect();
    let mut y = [0i8; 4];
    Lookup { x: &[-128i8, -1, 0, 127], table: &table, y: &mut y }.call(Portable);
    assert_eq!(y, [-128, 1, 0, -127]);
}

#[test]
fn softmax_of_columns() {
    let scale = 0.1f64;
    let table: Vec<i32> =
        (0..256).map(|d| ((-scale * f64::from(d)).exp() * f64::from(1 << 28)).round() as i32).collect();
    let x = [10i8, -20, 30, 40, 5, 60];
    let mut y = [0i8; 6];
    let format = Rescale { input_zero: 0, output_zero: -128, factor: 1 << 30, shift: 22 };
    Softmax { x: &x, table: &table, y: &mut y, outer: 1, n: 3, inner: 2, format, low: -128, high: 127 }.call(Portable);
    for column in 0..2 {
        let e: Vec<f64> = (0..3).map(|i| (scale * f64::from(x[2 * i + column])).exp()).collect();
        let sum: f64 = e.iter().sum();
        for (i, e) in e.iter().enumerate() {
            let expected = (e / sum * 256.0 - 128.0).round().min(127.0);
            assert_eq!(f64::from(y[2 * i + column]), expected);
        }
    }
}

#[test]
fn products_take_zero_points_from_both_sides() {
    // Column by column, and transposed.
    for b_strides in [[0, 0, 3, 1], [0, 0, 1, 2]] {
        let (a, b) = ([1i8, 2, 3, 4], [5u8, 6, 7, 8, 9, 10]);
        let (mut y, mut scratch) = ([0i8; 6], [0; 3]);
        let format = Rescale { input_zero: 1, output_zero: -3, factor: 1, shift: 1 };
        let [rows, inner, columns] = [2, 2, 3];
        MatMul {
            a: &a,
            b: &b,
            y: &mut y,
            scratch: &mut scratch,
            batch: [1, 1],
            rows,
            inner,
            columns,
            a_strides: [0, 0, 2, 1],
            b_strides,
            weight_zero: 4,
            format,
            low: -128,
            high: 127,
        }
        .call(Portable);
        for (i, y) in y.iter().enumerate() {
            let (m, n) = (i / 3, i % 3);
            let product = |k: usize| {
                let w = b[k * b_strides[2] + n * b_strides[3]];
                (i32::from(a[2 * m + k]) - 1) * (i32::from(w) - 4)
            };
            let sum = f64::from(product(0) + product(1));
            assert_eq!(f64::from(*y), (sum / 2.0).round_ties_even() - 3.0);
        }
    }
}
