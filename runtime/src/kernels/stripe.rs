//! Stripes: some rows of an image at a time, copied with the padding around them and channels side by side, so that every window
//! of some rows of outputs lies wholly in memory. A stripe stays in the second-level cache; copying it is one pass over the input,
//! small beside the products of a kernel of more than one tap.

use super::tile::{BLOCK, from, spread};
use super::window::Axis;

/// Elements of a stripe, where one output row does not need more.
pub const STRIPE: usize = BLOCK;

/// What is copied for a convolution, whose windows move forward.
#[derive(Clone, Copy)]
pub(crate) struct Stripes {
    pub axes: [Axis; 3],
    /// Image, d, h, w, channel.
    pub strides: [usize; 5],
    /// In all.
    pub channels: usize,
    pub images: usize,
}

/// The rows of outputs whose windows are in a stripe.
#[derive(Clone, Copy)]
pub(crate) struct Outputs {
    pub image: usize,
    pub d: usize,
    /// The first row.
    pub h: usize,
    pub count: usize,
    /// Elements of a row of the stripe.
    pub row: usize,
    /// Rows of the stripe, for each plane of the kernel.
    pub rows: usize,
}

impl Axis {
    /// Positions from the first tap of the first window to the last of the last one, of windows that move forward.
    pub(super) fn reach(&self) -> Option<usize> {
        let windows = self.count.checked_sub(1)?.checked_mul(self.step.unsigned_abs())?;
        windows.checked_add(self.taps.checked_sub(1)?.checked_mul(self.tap_step.unsigned_abs())?)?.checked_add(1)
    }
}

impl Stripes {
    /// Elements of a row of a stripe, and rows of it for one row of outputs; of a kernel of one depth.
    pub fn row(&self) -> Option<[usize; 2]> {
        let width = self.axes[2].reach()?.checked_mul(self.channels)?;
        let one = Axis { count: 1, ..self.axes[1] };
        Some([width, one.reach()?])
    }

    /// Elements of the least stripe.
    pub fn least(&self) -> Option<usize> {
        let [row, rows] = self.row()?;
        row.checked_mul(rows)?.checked_mul(self.axes[0].taps)
    }

    /// Copies one stripe after the other of all images, of at most `room` elements, by what `convert` makes of an element, and
    /// calls with each.
    #[inline(always)]
    pub fn each<T: Copy, U: Copy>(
        &self,
        x: &[T],
        stripe: &mut [U],
        room: usize,
        outside: U,
        convert: impl Fn(T) -> U + Copy,
        mut call: impl FnMut(&[U], Outputs),
    ) {
        let [ad, ah, _] = self.axes;
        let Some([row, least]) = self.row() else { return };
        // Rows of a plane, and of outputs.
        let Some(spare) = (room / (ad.taps * row).max(1)).checked_sub(least) else { return };
        let most = spare / ah.step.unsigned_abs().max(1) + 1;
        let blocks = ah.count.div_ceil(most);
        for image in 0..self.images {
            for d in 0..ad.count {
                let mut h = 0;
                for block in 0..blocks {
                    let count = (ah.count - h).div_ceil(blocks - block);
                    let rows = least + (count - 1) * ah.step.unsigned_abs();
                    let outputs = Outputs { image, d, h, count, row, rows };
                    self.copy(x, outputs, stripe, outside, convert);
                    call(stripe, outputs);
                    h += count;
                }
            }
        }
    }

    /// Fills a stripe: `rows` rows of as many planes as the kernel has.
    #[inline(always)]
    fn copy<T: Copy, U: Copy>(
        &self,
        x: &[T],
        Outputs { image, d, h, row, rows, .. }: Outputs,
        stripe: &mut [U],
        outside: U,
        convert: impl Fn(T) -> U + Copy,
    ) {
        let [ad, ah, aw] = self.axes;
        let [x_image, xd, xh, xw, xc] = self.strides;
        let corner = [ad.start + d as isize * ad.step, ah.start + h as isize * ah.step];
        let left = (aw.start.min(0).unsigned_abs() * self.channels).min(row);
        for (number, to) in stripe.chunks_exact_mut(row.max(1)).take(ad.taps * rows).enumerate() {
            let d = corner[0] + (number / rows) as isize * ad.tap_step;
            let h = corner[1] + (number % rows) as isize;
            if d < 0 || h < 0 || d as usize >= ad.size || h as usize >= ah.size {
                to.fill(outside);
                continue;
            }
            let at = image * x_image + d as usize * xd + h as usize * xh + aw.start.max(0) as usize * xw;
            let inside = (aw.size.saturating_sub(aw.start.max(0) as usize) * self.channels).min(row - left);
            let (before, rest) = to.split_at_mut_checked(left).unwrap_or_default();
            let (middle, after) = rest.split_at_mut_checked(inside).unwrap_or_default();
            before.fill(outside);
            after.fill(outside);
            pixels(from(x, at), xw, xc, self.channels, middle, convert);
        }
    }
}

/// Copies pixels, `pixel` apart with channels `channel` apart, to dense ones.
#[inline(always)]
fn pixels<T: Copy, U: Copy>(
    x: &[T],
    pixel: usize,
    channel: usize,
    channels: usize,
    to: &mut [U],
    convert: impl Fn(T) -> U + Copy,
) {
    if channel == 1 && pixel == channels {
        to.iter_mut().zip(x).for_each(|(t, x)| *t = convert(*x));
    } else if channel == 1 {
        // Pixels may overlap, or all be one.
        for (number, to) in to.chunks_exact_mut(channels.max(1)).enumerate() {
            to.iter_mut().zip(from(x, number * pixel)).for_each(|(t, x)| *t = convert(*x));
        }
    } else if (channels, pixel) == (3, 1) {
        let planes = [x, from(x, channel), from(x, channel.saturating_mul(2))];
        picture(planes, to.as_chunks_mut().0, convert);
    } else {
        for c in 0..channels {
            spread(to.iter_mut().skip(c).step_by(channels), from(x, c * channel), pixel, convert);
        }
    }
}

/// Interleaves three planes, sixteen pixels at a time: a block of a constant size is what LLVM shuffles in registers.
#[inline(always)]
fn picture<T: Copy, U: Copy>(planes: [&[T]; 3], to: &mut [[U; 3]], convert: impl Fn(T) -> U + Copy) {
    let (blocks, rest) = to.as_chunks_mut::<16>();
    let done = 16 * blocks.len();
    let [a, b, c] = planes.map(|plane| plane.as_chunks::<16>().0.iter());
    for (to, (a, (b, c))) in blocks.iter_mut().zip(a.zip(b.zip(c))) {
        *to = core::array::from_fn(|i| [a[i], b[i], c[i]].map(convert));
    }
    let [a, b, c] = planes.map(|plane| from(plane, done).iter());
    for (to, (a, (b, c))) in rest.iter_mut().zip(a.zip(b.zip(c))) {
        *to = [*a, *b, *c].map(convert);
    }
}
