//! The inner loops in Rust, for targets without instructions of their own: what those in `arch` must give, bit by bit.

use super::records::{PIXELS, TAPS, depthwise_words, groups, tile_words, vector_words};
use super::{Window, halves, scaled};

/// Widens bytes to a pixel's words of a tile of patches: four bytes become the two words `(0, 2)` and `(1, 3)`, words stand
/// [`PIXELS`] apart. Takes as many fours as both slices have.
pub fn widen(from: &[i8], to: &mut [i32]) {
    let mut words = to.iter_mut().step_by(PIXELS);
    for &[a, b, c, d] in from.as_chunks().0 {
        let (Some(even), Some(odd)) = (words.next(), words.next()) else { return };
        *even = halves(a, c);
        *odd = halves(b, d);
    }
}

/// The patches of three pixels: of each `rows` rows of `len` bytes, `step` apart, each widened to whole fours. False if that
/// would read beyond the input, or if there is no room.
pub fn patches(x: &[i8], starts: [usize; PIXELS], [rows, step, len]: [usize; 3], to: &mut [i32]) -> bool {
    let fours = len.div_ceil(4);
    if starts.iter().any(|start| *start > x.len()) {
        return false;
    }
    for (pixel, start) in starts.into_iter().enumerate() {
        for row in 0..rows {
            let at = start + row * step;
            let Some(from) = x.get(at..at + 4 * fours) else { return false };
            let Some(to) = to.get_mut(row * fours * 2 * PIXELS + pixel..) else { return false };
            widen(from, to);
        }
    }
    true
}

/// Output channels `0..2 * pairs` of three pixels.
pub fn tile(
    patches: &[i32],
    records: &[i32],
    turns: usize,
    zero: i32,
    y: &mut [i8],
    offsets: [usize; PIXELS],
    pairs: usize,
) {
    for (pair, record) in records.chunks_exact(tile_words(turns).max(1)).take(pairs).enumerate() {
        let &[raw, even, ref words @ .., even_factor, odd_factor] = record else { return };
        for (pixel, offset) in offsets.into_iter().enumerate() {
            let patch = patches.iter().skip(pixel).step_by(PIXELS).copied();
            let sums = patch.zip(words).fold([raw, even], |sums, (x, w)| products(sums, x, *w));
            write(y, offset + 2 * pair, sums, [even_factor, odd_factor], zero);
        }
    }
}

/// Output channels `0..2 * pairs` of one vector of inputs, whose length is a multiple of 4.
pub fn vector(x: &[i8], records: &[i32], zero: i32, y: &mut [i8], pairs: usize) {
    let fours = x.len() / 4;
    let (mut records, mut channel) = (records, 0);
    for (pairs, count) in groups(pairs) {
        for _ in 0..count {
            let Some((record, rest)) = records.split_at_checked(vector_words(fours, pairs)) else { return };
            for pair in 0..pairs {
                let at = |i: usize| record.get(i).copied().unwrap_or_default();
                let mut sums = [at(2 * pair), at(2 * pair + 1)];
                let mut words = record.iter().skip(2 * pairs + pair).step_by(pairs);
                for &[a, b, c, d] in x.as_chunks().0 {
                    for x in [halves(a, c), halves(b, d)] {
                        sums = products(sums, x, words.next().copied().unwrap_or_default());
                    }
                }
                let factors = 2 * pairs * (1 + fours) + 2 * pair;
                write(y, channel, sums, [at(factors), at(factors + 1)], zero);
                channel += 2;
            }
            records = rest;
        }
    }
}

/// `pixels` neighbouring outputs of a depthwise convolution, four channels at a time. `taps` are where the first of them
/// reads in `x`, `usize::MAX` for a tap outside the image, which reads `outside`; then there is only one pixel.
pub fn depthwise(window: &Window<'_>, taps: &[usize], y: &mut [i8]) {
    let &Window { x, outside, records, channels, pixels, x_step, y_step, format } = window;
    if taps.len() > TAPS {
        return;
    }
    let read = |tap: usize, pixel: usize, channel: usize| match tap {
        usize::MAX => outside.get(channel),
        _ => x.get(tap + pixel * x_step + channel),
    };
    for pixel in 0..pixels {
        for (four, record) in
            records.chunks_exact(depthwise_words(taps.len() / 2).max(1)).take(channels / 4).enumerate()
        {
            for lane in 0..4 {
                let channel = 4 * four + lane;
                let at = |i: usize| record.get(i).copied().unwrap_or_default();
                let mut sum = at(lane);
                for (pair, taps) in taps.as_chunks().0.iter().enumerate() {
                    let [a, b] = taps.map(|tap| read(tap, pixel, channel).copied().unwrap_or_default());
                    sum = sum.wrapping_add(both(halves(a, b), at(4 * (1 + pair) + lane)));
                }
                if let Some(to) = y.get_mut(pixel * y_step + channel) {
                    *to = scaled(sum, at(record.len() - 4 + lane), format.zero);
                }
            }
        }
    }
}

/// The sum of the products of both halves.
fn both(a: i32, b: i32) -> i32 {
    i32::from(a as i16).wrapping_mul(i32::from(b as i16)).wrapping_add((a >> 16).wrapping_mul(b >> 16))
}

/// Adds the products with a raw word, and those with its low bytes.
fn products([raw, even]: [i32; 2], x: i32, w: i32) -> [i32; 2] {
    let low = halves(w as i8, (w >> 16) as i8);
    [raw.wrapping_add(both(x, w)), even.wrapping_add(both(x, low))]
}

fn write(y: &mut [i8], at: usize, [raw, even]: [i32; 2], factors: [i32; 2], zero: i32) {
    if let Some([first, second]) = y.get_mut(at..at + 2) {
        *first = scaled(even, factors[0], zero);
        *second = scaled(raw.wrapping_sub(even) >> 8, factors[1], zero);
    }
}
