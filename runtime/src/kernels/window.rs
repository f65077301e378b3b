//! Where a tile of a convolution reads and writes: geometry without arithmetic on tensors, so one compiled copy serves
//! every number format and instruction set.

use super::arith::ZERO_RUN;
use super::depthwise::taps_inside;

/// Rows that a tile may have at any level.
pub const MAX_ROWS: usize = 8;

/// Runs planned at once: the taps of a 3x3 kernel.
pub const RUNS: usize = 9;

/// One spatial dim: output number `q` reads input coordinates `start + q * step + tap_start + t * tap_step` for each tap
/// `t`, with weight `weight_start + t * weight_step`, and is written at `out_start + q * out_step`.
#[derive(Clone, Copy, Default)]
pub(crate) struct Axis {
    pub size: usize,
    pub count: usize,
    pub start: isize,
    pub step: isize,
    pub taps: usize,
    pub tap_start: isize,
    pub tap_step: isize,
    pub weight_start: usize,
    pub weight_step: usize,
    pub out_start: usize,
    pub out_step: usize,
}

impl Axis {
    /// The dims of an ordinary convolution: sizes of input and output, kernel, step of the window, distance of taps, and
    /// pixels before the image.
    #[inline(always)]
    pub fn windows(
        [size, out]: [[usize; 3]; 2],
        kernel: [usize; 3],
        stride: [usize; 3],
        dilation: [usize; 3],
        padding: [usize; 3],
    ) -> [Axis; 3] {
        let axis = |d: usize| Axis {
            size: size[d],
            count: out[d],
            start: -(padding[d] as isize),
            step: stride[d] as isize,
            taps: kernel[d],
            tap_step: dilation[d] as isize,
            tap_start: 0,
            weight_start: 0,
            weight_step: 1,
            out_start: 0,
            out_step: 1,
        };
        [axis(0), axis(1), axis(2)]
    }

    /// The outputs congruent to `phase` modulo the stride of a transposed convolution. Output `q * stride + phase` gets
    /// tap `k` from input `q + (phase + padding - k * dilation) / stride` where that divides.
    pub fn phase(phase: usize, out: usize, stride: usize, kernel: usize, dilation: usize, padding: usize) -> Axis {
        let base = (phase + padding) as isize;
        let shift = |k: usize| {
            let distance = base - (k * dilation) as isize;
            let quotient = distance.checked_div_euclid(stride as isize)?;
            (quotient * stride as isize == distance).then_some(quotient)
        };
        let mut hits = (0..kernel).filter_map(|k| shift(k).map(|s| (k, s)));
        let first = hits.next();
        let second = hits.next();
        let taps = first.map_or(0, |_| 1 + second.map_or(0, |_| 1 + hits.count()));
        let (weight_start, tap_start) = first.unwrap_or((0, 0));
        let (next, next_shift) = second.unwrap_or((weight_start + 1, tap_start));
        Axis {
            size: 0,
            count: (out - phase).div_ceil(stride.max(1)),
            start: 0,
            step: 1,
            taps,
            tap_start,
            tap_step: next_shift - tap_start,
            weight_start,
            weight_step: next - weight_start,
            out_start: phase,
            out_step: stride,
        }
    }
}

/// A stretch of the inner dimension: where each row of the tile reads (`usize::MAX`: outside the image), and the row of
/// the panel that meets its first element.
#[derive(Clone, Copy, Debug, Default)]
pub struct Run {
    pub starts: [usize; MAX_ROWS],
    pub weight: usize,
    pub len: usize,
    /// Distance from the base of a window.
    pub shift: usize,
}

/// Where one output pixel reads: coordinates of tap 0, and their offset in the input.
#[derive(Clone, Copy, Default)]
struct Window {
    origin: [isize; 3],
    base: isize,
}

/// Image and output numbers per dim of a pixel number; stepping is cheaper than dividing.
#[derive(Clone, Copy, Default)]
struct Cursor {
    pixel: usize,
    image: usize,
    at: [usize; 3],
}

impl Cursor {
    #[inline]
    fn seek(&mut self, pixel: usize, axes: &[Axis; 3]) {
        if self.pixel == pixel {
            return;
        }
        let mut rest = pixel;
        for (at, axis) in self.at.iter_mut().zip(axes).rev() {
            let count = axis.count.max(1);
            *at = rest % count;
            rest /= count;
        }
        self.image = rest;
        self.pixel = pixel;
    }

    /// Pixels from this one to the end of its line.
    #[inline]
    fn left(&self, axes: &[Axis; 3]) -> usize {
        axes[2].count.saturating_sub(self.at[2]).max(1)
    }

    /// Goes on by some pixels, not beyond the first of the next line.
    #[inline]
    fn step(&mut self, pixels: usize, axes: &[Axis; 3]) {
        self.pixel += pixels;
        let mut more = pixels;
        for (at, axis) in self.at.iter_mut().zip(axes).rev() {
            *at += more;
            if *at < axis.count {
                return;
            }
            *at = 0;
            more = 1;
        }
        self.image += 1;
    }
}

/// Position in the inner dimension: kernel row, tap in it, channels done.
#[derive(Clone, Copy, Default)]
struct Position {
    d: usize,
    h: usize,
    w: usize,
    channel: usize,
}

/// The plan of one tile: its windows, and as many runs as fit.
pub(crate) struct Plan {
    pub axes: [Axis; 3],
    pub kernel: [usize; 3],
    pub x_strides: [usize; 5],
    pub y_strides: [usize; 4],
    /// Channels of a group.
    pub channels: usize,
    /// Input outside the image is 0: runs of nothing else are left out.
    pub zeros: bool,
    /// Offset of the group's channels in the input.
    pub first_channel: usize,
    /// Where each row of the tile is written.
    pub offsets: [usize; MAX_ROWS],
    runs: [Run; RUNS],
    len: usize,
    windows: [Window; MAX_ROWS],
    rows: usize,
    cursor: Cursor,
    position: Position,
    /// Pixel of the tile whose runs are all in `runs`.
    complete: Option<usize>,
    /// Whether every tap of the tile lies inside the image: then its runs differ from those of another such tile only
    /// by the bases of its windows.
    interior: bool,
    /// The same of each row.
    whole: [bool; MAX_ROWS],
    /// `runs` are all those of an interior tile.
    reusable: bool,
}

#[inline(always)]
fn inside(coordinate: isize, size: usize) -> bool {
    (coordinate as usize) < size
}

impl Plan {
    pub fn new(
        axes: [Axis; 3],
        kernel: [usize; 3],
        x_strides: [usize; 5],
        y_strides: [usize; 4],
        channels: usize,
        zeros: bool,
    ) -> Plan {
        Plan {
            axes,
            kernel,
            x_strides,
            y_strides,
            channels,
            zeros,
            first_channel: 0,
            offsets: [0; MAX_ROWS],
            runs: [Run::default(); RUNS],
            len: 0,
            windows: [Window::default(); MAX_ROWS],
            rows: 0,
            cursor: Cursor { pixel: usize::MAX, ..Cursor::default() },
            position: Position::default(),
            complete: None,
            interior: false,
            whole: [false; MAX_ROWS],
            reusable: false,
        }
    }

    /// Goes to the group whose first input channel this is.
    pub fn enter_group(&mut self, first_channel: usize) {
        self.first_channel = first_channel;
        self.complete = None;
    }

    /// Begins the tile of `rows` pixels from `pixel` and plans its first runs; nothing to do if they are still there.
    #[inline(always)]
    pub fn begin(&mut self, pixel: usize, rows: usize) -> &[Run] {
        if self.complete != Some(pixel) {
            self.enter(pixel, rows);
            if self.interior && self.reusable {
                self.shift();
                self.complete = Some(pixel);
            } else {
                self.position = Position::default();
                let more = self.fill();
                self.complete = (!more).then_some(pixel);
                self.reusable = self.interior && !more;
            }
        }
        self.runs.get(..self.len).unwrap_or(&[])
    }

    /// The next runs of the tile, if [`Plan::begin`] or the last call did not reach the end.
    #[inline(always)]
    pub fn next(&mut self) -> Option<&[Run]> {
        if self.complete.is_some() || self.position.d >= self.axes[0].taps {
            return None;
        }
        self.fill();
        self.runs.get(..self.len)
    }

    /// Windows and output offsets of the tile.
    #[inline(never)]
    pub fn enter(&mut self, pixel: usize, rows: usize) {
        self.cursor.seek(pixel, &self.axes);
        self.rows = rows.min(MAX_ROWS);
        let w = self.axes[2];
        let (right, right_base) = (w.step, w.step * self.x_strides[3] as isize);
        let right_offset = w.out_step * self.y_strides[3];
        let last = (w.taps as isize - 1) * w.tap_step;
        self.interior = true;
        let mut row = 0;
        while row < self.rows {
            let (mut window, mut offset, row_inside) = self.first();
            let end = row + self.cursor.left(&self.axes).min(self.rows - row);
            let (Some(windows), Some(offsets), Some(wholes)) =
                (self.windows.get_mut(row..end), self.offsets.get_mut(row..end), self.whole.get_mut(row..end))
            else {
                return;
            };
            for ((to, to_offset), to_whole) in windows.iter_mut().zip(offsets).zip(wholes) {
                (*to, *to_offset) = (window, offset);
                let origin = window.origin[2];
                *to_whole = row_inside && inside(origin, w.size) && inside(origin + last, w.size);
                self.interior &= *to_whole;
                window.origin[2] += right;
                window.base += right_base;
                offset += right_offset;
            }
            self.cursor.step(end - row, &self.axes);
            row = end;
        }
    }

    /// Window and output offset of the cursor's pixel, and whether its taps lie inside except for their column.
    #[inline]
    fn first(&self) -> (Window, usize, bool) {
        let Cursor { image, at, .. } = self.cursor;
        let mut window = Window::default();
        let mut base = (image * self.x_strides[0] + self.first_channel * self.x_strides[4]) as isize;
        let mut offset = image * self.y_strides[0];
        let mut row_inside = true;
        for d in 0..3 {
            let axis = &self.axes[d];
            let origin = axis.start + at[d] as isize * axis.step + axis.tap_start;
            window.origin[d] = origin;
            base += origin * self.x_strides[d + 1] as isize;
            offset += (axis.out_start + at[d] * axis.out_step) * self.y_strides[d + 1];
            let last = origin + (axis.taps as isize - 1) * axis.tap_step;
            row_inside &= d == 2 || inside(origin, axis.size) && inside(last, axis.size);
        }
        window.base = base;
        (window, offset, row_inside)
    }

    /// Moves the runs of an interior tile to this one.
    fn shift(&mut self) {
        for run in self.runs.iter_mut().take(self.len) {
            for (start, window) in run.starts.iter_mut().zip(&self.windows) {
                *start = (window.base as usize).wrapping_add(run.shift);
            }
        }
    }

    /// Whether a kernel row may be one run: its taps are neighbours in input and weights.
    pub fn contiguous(&self) -> bool {
        let w = &self.axes[2];
        w.tap_step == 1 && w.weight_step == 1 && self.x_strides[4] == 1 && self.x_strides[3] == self.channels
    }

    /// Plans from the position on until the table is full (then true) or the kernel ends.
    #[inline(never)]
    fn fill(&mut self) -> bool {
        let [ad, ah, aw] = self.axes;
        let windows = self.windows.get(..self.rows).unwrap_or(&[]);
        let last = (aw.taps as isize - 1) * aw.tap_step;
        let whole = self.contiguous()
            && windows.iter().all(|w| inside(w.origin[2], aw.size) && inside(w.origin[2] + last, aw.size));
        let (taps, len) = if whole { (1, aw.taps * self.channels) } else { (aw.taps, self.channels) };
        let mut p = self.position;
        self.len = 0;
        if self.axes.iter().any(|a| a.taps == 0) {
            return false;
        }
        while p.d < ad.taps {
            let (dd, dh) = (p.d as isize * ad.tap_step, p.h as isize * ah.tap_step);
            let shift = dd * self.x_strides[1] as isize + dh * self.x_strides[2] as isize;
            let kernel_row =
                (ad.weight_start + p.d * ad.weight_step) * self.kernel[1] + (ah.weight_start + p.h * ah.weight_step);
            while p.w < taps {
                let dw = p.w as isize * aw.tap_step;
                let shift = shift + dw * self.x_strides[3] as isize;
                let weight = (kernel_row * self.kernel[2] + aw.weight_start + p.w * aw.weight_step) * self.channels;
                let mut starts = [usize::MAX; MAX_ROWS];
                let mut present = 0;
                for (start, window) in starts.iter_mut().zip(windows) {
                    let here = inside(window.origin[0] + dd, ad.size)
                        && inside(window.origin[1] + dh, ah.size)
                        && (whole || inside(window.origin[2] + dw, aw.size));
                    if here {
                        *start = (window.base + shift) as usize;
                        present += 1;
                    }
                }
                if present == 0 && self.zeros {
                    p.w += 1;
                    continue;
                }
                let most = if present == windows.len() { len } else { len.min(ZERO_RUN) };
                while p.channel < len {
                    let Some(run) = self.runs.get_mut(self.len) else {
                        self.position = p;
                        return true;
                    };
                    let part = most.min(len - p.channel);
                    // `MAX` stays out of any slice whatever is added.
                    *run = Run {
                        starts: starts.map(|s| s.saturating_add(p.channel)),
                        weight: weight + p.channel,
                        len: part,
                        shift: (shift as usize).wrapping_add(p.channel),
                    };
                    self.len += 1;
                    p.channel += part;
                }
                (p.w, p.channel) = (p.w + 1, 0);
            }
            (p.w, p.h) = (0, p.h + 1);
            if p.h >= ah.taps {
                (p.h, p.d) = (0, p.d + 1);
            }
        }
        self.position = p;
        false
    }

    /// Where a row of the tile begins to read, if its patch lies inside the image, as rows of neighbours in one plane.
    #[inline(always)]
    pub fn base(&self, row: usize) -> Option<usize> {
        self.corner(row).filter(|_| self.axes[0].taps == 1)
    }

    /// Where the window of a row of the tile begins, if all of it lies inside and each of its rows in one stretch.
    #[inline(always)]
    pub fn corner(&self, row: usize) -> Option<usize> {
        let whole = self.contiguous() && *self.whole.get(row)?;
        self.windows.get(row).filter(|_| whole).map(|window| window.base as usize)
    }

    /// Copies the patch of a row of the tile from `x` to `to`, by what `convert` makes of an element, `outside` beyond the image,
    /// kernel rows `distance` apart.
    #[inline(always)]
    pub fn gather_row<T: Copy, U: Copy>(
        &self,
        row: usize,
        x: &[T],
        to: &mut [U],
        outside: U,
        distance: usize,
        convert: impl Fn(T) -> U + Copy,
    ) {
        let mut rest = to;
        let (line, mut done) = (self.axes[2].taps * self.channels, 0);
        self.stretches(row, |from, len| {
            if done == line {
                rest = core::mem::take(&mut rest).get_mut(distance - line..).unwrap_or_default();
                done = 0;
            }
            done += len;
            let (stretch, next) = core::mem::take(&mut rest).split_at_mut_checked(len).unwrap_or_default();
            match from.map(|at| super::tile::from(x, at)) {
                Some(from) if self.x_strides[4] == 1 => {
                    stretch.iter_mut().zip(from).for_each(|(t, f)| *t = convert(*f))
                }
                Some(from) => super::tile::spread(stretch.iter_mut(), from, self.x_strides[4], convert),
                None => stretch.fill(outside),
            }
            rest = next;
        });
    }

    /// Copies the patches of the tile's rows from `x` to `to`, `inner` elements each, `outside` beyond the image.
    #[inline(never)]
    pub fn gather<T: Copy>(&self, x: &[T], inner: usize, to: &mut [T], outside: T) {
        for (row, patch) in to.chunks_exact_mut(inner.max(1)).take(self.rows).enumerate() {
            if self.x_strides[4] != 1 {
                self.gather_apart(row, x, patch, outside);
                continue;
            }
            let mut rest = patch;
            self.stretches(row, |from, len| {
                let (stretch, next) = core::mem::take(&mut rest).split_at_mut_checked(len).unwrap_or_default();
                match from.map(|at| super::tile::from(x, at)) {
                    Some(from) => stretch.iter_mut().zip(from).for_each(|(t, f)| *t = *f),
                    None => stretch.fill(outside),
                }
                rest = next;
            });
        }
    }

    /// The patch of a row of the tile where channels are not adjacent.
    fn gather_apart<T: Copy>(&self, row: usize, x: &[T], patch: &mut [T], outside: T) {
        let [ad, ah, aw] = self.axes;
        let Some(window) = self.windows.get(row) else { return };
        let column = window.origin[2];
        let last = column + aw.tap_step * (aw.taps as isize - 1);
        let whole = inside(column, aw.size) && inside(last, aw.size);
        let (first, end) = match aw.tap_step {
            _ if whole => (0, aw.taps),
            step => taps_inside(column, aw.size, aw.taps, step.unsigned_abs()),
        };
        let steps = [(aw.tap_step * self.x_strides[3] as isize) as usize, self.x_strides[4]];
        let mut rows = patch.chunks_exact_mut((aw.taps * self.channels).max(1));
        for td in 0..ad.taps {
            for th in 0..ah.taps {
                let Some(row) = rows.next() else { return };
                let (dd, dh) = (td as isize * ad.tap_step, th as isize * ah.tap_step);
                let present = inside(window.origin[0] + dd, ad.size) && inside(window.origin[1] + dh, ah.size);
                if !present || !whole {
                    row.fill(outside);
                }
                if present {
                    let base = window.base + dd * self.x_strides[1] as isize + dh * self.x_strides[2] as isize;
                    let at = (base as usize).wrapping_add(first.wrapping_mul(steps[0]));
                    let (first, end) = (first * self.channels, end * self.channels);
                    transpose(x, at, steps, row.get_mut(first..end).unwrap_or(&mut []), self.channels);
                }
            }
        }
    }

    /// The patch of a row of the tile as stretches of the input: where each begins, or `None` outside the image, and its
    /// length. Elements of a stretch are as far apart as channels.
    #[inline(always)]
    pub fn stretches(&self, row: usize, mut each: impl FnMut(Option<usize>, usize)) {
        let [ad, ah, aw] = self.axes;
        let Some(window) = self.windows.get(row) else { return };
        let (contiguous, row_len) = (self.contiguous(), aw.taps * self.channels);
        for td in 0..ad.taps {
            for th in 0..ah.taps {
                let (dd, dh) = (td as isize * ad.tap_step, th as isize * ah.tap_step);
                let present = inside(window.origin[0] + dd, ad.size) && inside(window.origin[1] + dh, ah.size);
                let base = window.base + dd * self.x_strides[1] as isize + dh * self.x_strides[2] as isize;
                if !present {
                    each(None, row_len);
                } else if contiguous {
                    let (first, last) = taps_inside(window.origin[2], aw.size, aw.taps, 1);
                    let (first, last) = (first * self.channels, last * self.channels);
                    if first > 0 {
                        each(None, first);
                    }
                    each(Some((base + first as isize) as usize), last - first);
                    if last < row_len {
                        each(None, row_len - last);
                    }
                } else {
                    for tap in 0..aw.taps {
                        let step = tap as isize * aw.tap_step;
                        let at = (base + step * self.x_strides[3] as isize) as usize;
                        each(inside(window.origin[2] + step, aw.size).then_some(at), self.channels);
                    }
                }
            }
        }
    }
}

/// `to[t * channels + c] = x[at + t * steps[0] + c * steps[1]]`. A function of its own, small enough for the registers of a
/// microcontroller: it is called for a handful of elements.
#[inline(never)]
fn transpose<T: Copy>(x: &[T], mut at: usize, steps: [usize; 2], to: &mut [T], channels: usize) {
    let (mut from, mut channel) = (at, 0);
    for to in to {
        let Some(x) = x.get(from) else { return };
        *to = *x;
        channel += 1;
        from = from.wrapping_add(steps[1]);
        if channel >= channels {
            at = at.wrapping_add(steps[0]);
            (from, channel) = (at, 0);
        }
    }
}
