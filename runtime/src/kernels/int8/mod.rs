//! Layers from signed bytes to signed bytes, for cores that add two 16-bit products in one instruction.
//!
//! Inputs are widened once per tile of three pixels, into *patches*: words of two halves, the words of the three pixels
//! next to each other. All output channels pass over a patch, two at a time, and read one stream of records
//! ([`records`]). Every output is `round(sum * factor / 2^32) + zero`, saturated, then bounded; the sum is exact in 32 bits.
//! Half a quantum is rounded up: the compiler takes these kernels only where no sum gives that, so the bits are those of
//! [`super::arith::rescaled`].

mod conv;
mod depthwise;
mod linear;
pub mod mve;
#[cfg(not(arm_dsp))]
mod portable;
pub mod records;

pub use conv::{Conv, patch_len, staging_len};
pub use depthwise::Depthwise;
pub use linear::{Linear, LinearRow, scratch_len};

#[cfg(arm_dsp)]
use crate::arch::dsp as body;
#[cfg(not(arm_dsp))]
use portable as body;

use records::{PIXELS, tile_words};

/// What the output of a layer is.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// The output that stands for 0.
    pub zero: i32,
    /// Least output.
    pub low: i8,
    /// Greatest output.
    pub high: i8,
}

impl Format {
    /// Cuts rows of outputs that begin at `starts` at the bounds; those of the type are none.
    #[inline(always)]
    fn bound(&self, y: &mut [i8], starts: impl IntoIterator<Item = usize>, columns: usize) {
        if self.low > i8::MIN || self.high < i8::MAX {
            for at in starts {
                for y in y.get_mut(at..at + columns).unwrap_or_default() {
                    *y = (*y).max(self.low).min(self.high);
                }
            }
        }
    }
}

/// Neighbouring outputs of a depthwise convolution.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    /// Input.
    pub x: &'a [i8],
    /// One per channel, for taps outside the image.
    pub outside: &'a [i8],
    /// One per four channels, or eight.
    pub records: &'a [i32],
    /// A multiple of 4.
    pub channels: usize,
    /// Outputs.
    pub pixels: usize,
    /// Distance of their windows.
    pub x_step: usize,
    /// Distance of outputs.
    pub y_step: usize,
    /// What outputs are; its bounds are left to the caller but by Helium's loop.
    pub format: Format,
}

/// A part of a layer with all output channels: what every tile of it needs.
struct Columns<'a> {
    records: &'a [i32],
    columns: usize,
    turns: usize,
    format: Format,
}

impl Columns<'_> {
    /// All columns of the pixels whose patches these are; pixel `i` is written at `offsets[i]`.
    #[inline(always)]
    fn tile(&self, patches: &[i32], y: &mut [i8], offsets: [usize; PIXELS]) {
        let pairs = self.columns / 2;
        body::tile(patches, self.records, self.turns, self.format.zero, y, offsets, pairs);
        if self.columns % 2 == 1 {
            let mut last = [0i8; 2 * PIXELS];
            let record = super::tile::from(self.records, pairs * tile_words(self.turns));
            body::tile(patches, record, self.turns, self.format.zero, &mut last, core::array::from_fn(|i| 2 * i), 1);
            for (at, &[even, _]) in offsets.into_iter().zip(last.as_chunks().0) {
                if let Some(y) = y.get_mut(at + self.columns - 1) {
                    *y = even;
                }
            }
        }
        self.format.bound(y, offsets, self.columns);
    }
}

/// Widens any number of bytes.
#[inline(always)]
fn widen(from: &[i8], to: &mut [i32]) {
    body::widen(from, to);
    let (fours, rest) = from.as_chunks::<4>();
    if !rest.is_empty() {
        let mut last = [0; 4];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        body::widen(&last, to.get_mut(fours.len() * 2 * PIXELS..).unwrap_or_default());
    }
}

/// Two bytes as the halves of a word.
#[inline(always)]
fn halves(low: i8, high: i8) -> i32 {
    i32::from(low) & 0xffff | i32::from(high) << 16
}

/// `sum * factor / 2^32 + zero`, rounded half up, saturated.
#[cfg(not(arm_mve))]
fn scaled(sum: i32, factor: i32, zero: i32) -> i8 {
    let product = (i64::from(sum) * i64::from(factor)).wrapping_add(1 << 31) >> 32;
    (product as i32).wrapping_add(zero).clamp(-128, 127) as i8
}
