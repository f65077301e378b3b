//! The inner loops in Rust, for targets without the instructions: what those in `arch` must give, bit by bit.

use super::super::{Format, Window, scaled};
use super::records::{CHUNK, TURN, chunk_words, depthwise_words, row_groups, row_words, tile_groups, tile_words};

fn word(record: &[i32], at: usize) -> i32 {
    record.get(at).copied().unwrap_or_default()
}

/// The sum of one of `size` channels whose record this is.
fn sum(x: &[i8], record: &[i32], size: usize, channel: usize) -> i32 {
    let mut sum = word(record, channel);
    for (block, x) in x.chunks(16).enumerate() {
        for (k, x) in x.iter().enumerate() {
            let weight = word(record, size + (block * size + channel) * 4 + k / 4).to_le_bytes()[k % 4] as i8;
            sum = sum.wrapping_add(i32::from(*x) * i32::from(weight));
        }
    }
    sum
}

/// All output channels of a pixel: `y.len()`.
pub fn row(x: &[i8], records: &[i32], zero: i32, y: &mut [i8]) {
    let fits = row_words(x.len()).checked_mul(y.len()).is_some_and(|words| words <= records.len());
    if !fits || x.is_empty() {
        return;
    }
    let (mut rest, mut to) = (records, y.iter_mut());
    for size in row_groups(to.len()).into_iter().flat_map(|(size, count)| (0..count).map(move |_| size)) {
        let Some((record, next)) = rest.split_at_checked(size * row_words(x.len())) else { return };
        rest = next;
        for (i, y) in to.by_ref().take(size).enumerate() {
            *y = scaled(sum(x, record, size, i), word(record, record.len() - size + i), zero);
        }
    }
}

/// The records of a layer for two pixels at a time, of which there are enough.
pub struct Tiles<'a> {
    records: &'a [i32],
    inner: usize,
    columns: usize,
    format: Format,
}

impl<'a> Tiles<'a> {
    /// `None` if there are too few.
    pub fn new(records: &'a [i32], inner: usize, columns: usize, format: &Format) -> Option<Self> {
        let fits = inner > 0 && columns > 0 && records.len() >= tile_words(inner, columns);
        fits.then_some(Tiles { records, inner, columns, format: *format })
    }

    /// All output channels of two pixels, whose inputs begin at `starts` and outputs at `offsets`.
    pub fn pair(&self, x: &[i8], [starts, offsets]: [[usize; 2]; 2], y: &mut [i8]) {
        for (start, offset) in starts.into_iter().zip(offsets) {
            let x = x.get(start..start + self.inner);
            let (Some(x), Some(y)) = (x, y.get_mut(offset..offset + self.columns)) else { return };
            let mut rest = self.records;
            for y in y.chunks_mut(CHUNK) {
                let Some((chunk, next)) = rest.split_at_checked(chunk_words(self.inner, y.len())) else { return };
                rest = next;
                self.chunk(x, chunk, y);
            }
        }
    }

    fn chunk(&self, x: &[i8], chunk: &[i32], y: &mut [i8]) {
        let [threes, twos] = tile_groups(y.len());
        let Format { zero, low, high } = self.format;
        let mut factors = chunk.iter().skip(chunk.len() - y.len());
        let (mut groups, mut to) = (chunk, y.iter_mut());
        for size in core::iter::repeat_n(3, threes).chain(core::iter::repeat_n(2, twos)) {
            let Some((record, next)) = groups.split_at_checked(size * (row_words(self.inner) - 1)) else { return };
            groups = next;
            for i in 0..size {
                let (Some(y), Some(factor)) = (to.next(), factors.next()) else { break };
                *y = scaled(sum(x, record, size, i), *factor, zero).max(low).min(high);
            }
        }
    }
}

/// `pixels` neighbouring outputs of a depthwise convolution. `taps`, in whole turns, are where the first of them reads in `x`,
/// `usize::MAX` for a tap outside the image, which reads `outside`; then there is only one pixel.
pub fn depthwise(window: &Window<'_>, taps: &mut [usize], y: &mut [i8]) {
    let &Window { x, outside, records, channels, pixels, x_step, y_step, format } = window;
    let each = depthwise_words(taps.len() / TURN, 1);
    let read = |tap: usize, pixel: usize, channel: usize| match tap {
        usize::MAX => outside.get(channel),
        _ => x.get(tap + pixel * x_step + channel),
    };
    for pixel in 0..pixels {
        for channel in 0..channels {
            let (lane, at) = (channel % 8, channel / 8 * each);
            let Some(record) = records.get(at..at + each) else { return };
            let apart = lane % 2 * 4 + lane / 2;
            let mut sum = word(record, apart);
            for (i, tap) in taps.iter().enumerate() {
                let weight = word(record, 8 + 2 * i + lane / 4).to_le_bytes()[lane % 4] as i8;
                let x = read(*tap, pixel, channel).copied().unwrap_or_default();
                sum = sum.wrapping_add(i32::from(x) * i32::from(weight));
            }
            if let Some(y) = y.get_mut(pixel * y_step + channel) {
                let factor = word(record, record.len() - 8 + apart);
                *y = scaled(sum, factor, format.zero).max(format.low).min(format.high);
            }
        }
    }
}

/// Equally long lines.
pub struct Lines {
    count: usize,
    step: usize,
    len: usize,
}

impl Lines {
    /// `count` lines of `len` bytes, `step` apart.
    pub fn new(count: usize, step: usize, len: usize) -> Option<Lines> {
        (count > 0 && len > 0).then_some(Lines { count, step, len })
    }

    /// Copies them from `start` in `x`, next to each other.
    pub fn copy(&self, x: &[i8], start: usize, to: &mut [i8]) {
        for (i, to) in to.chunks_exact_mut(self.len).take(self.count).enumerate() {
            let at = start + i * self.step;
            let Some(from) = x.get(at..at + self.len) else { return };
            to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        }
    }
}
