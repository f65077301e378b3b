//! Pooling over 1 to 3 spatial dims: windows with PyTorch's rules ([`MaxPool`], [`AvgPool`]), or the input divided into a
//! given number of parts ([`AdaptivePool`]).
//!
//! All strides are free. Where channels are adjacent in input and output, a vector of them is computed at once; else one
//! channel at a time. Sums run over the window in depth, height, width order in the accumulator's type, one division
//! at the end.

use super::arith::Arith;
use super::depthwise::{extent, taps_inside};
use super::tile::from;
use crate::simd::{Num, Op, Panel, Simd, Vector};

/// Maximum of each window; NaN wins. A window starts at `q * stride - padding` and has taps `dilation` apart; positions
/// outside the image do not count. If every value is minus infinity, the first position inside is the maximum's.
///
/// If a slice is too short for the geometry, nothing is written.
pub struct MaxPool<'a, K: Arith, P: Panel> {
    /// Input.
    pub x: &'a [K::X],
    /// Output.
    pub y: &'a mut [K::Y],
    /// Position of the maximum in the flattened spatial input, lying as `y` does, if wanted. Of several equal
    /// ones the first counts, of several NaN the last (as in PyTorch).
    pub indices: Option<&'a mut [i64]>,
    /// Images.
    pub batch: usize,
    /// Channels.
    pub channels: usize,
    /// Input size, `[d, h, w]`.
    pub size: [usize; 3],
    /// Output size.
    pub out: [usize; 3],
    /// Window.
    pub kernel: [usize; 3],
    /// Step.
    pub stride: [usize; 3],
    /// Padding before.
    pub padding: [usize; 3],
    /// Distance of taps.
    pub dilation: [usize; 3],
    /// Input strides: image, channel, d, h, w.
    pub x_strides: [usize; 5],
    /// Output strides: image, channel, d, h, w.
    pub y_strides: [usize; 5],
    /// Panel width: vectors of that many channels.
    pub panel: P,
}

/// Mean of each window, divided by `divisor` if that is not 0, else by the window's size: with the padded positions if
/// `count_include_pad` (but not those beyond the padding, where `ceil_mode` made the window hang over), without them
/// otherwise. Padded positions count as 0; a window entirely outside gives 0.
///
/// If a slice is too short for the geometry, nothing is written.
pub struct AvgPool<'a, K: Arith, P: Panel> {
    /// Input.
    pub x: &'a [K::X],
    /// Output.
    pub y: &'a mut [K::Y],
    /// Images.
    pub batch: usize,
    /// Channels.
    pub channels: usize,
    /// Input size, `[d, h, w]`.
    pub size: [usize; 3],
    /// Output size.
    pub out: [usize; 3],
    /// Window.
    pub kernel: [usize; 3],
    /// Step.
    pub stride: [usize; 3],
    /// Padding on both sides.
    pub padding: [usize; 3],
    /// Padded positions are part of the mean.
    pub count_include_pad: bool,
    /// Divisor in place of the count; 0: none.
    pub divisor: usize,
    /// Input strides: image, channel, d, h, w.
    pub x_strides: [usize; 5],
    /// Output strides: image, channel, d, h, w.
    pub y_strides: [usize; 5],
    /// What the numbers stand for.
    pub format: K::Format,
    /// Least mean.
    pub low: K::A,
    /// Greatest mean.
    pub high: K::A,
    /// Panel width: vectors of that many channels.
    pub panel: P,
}

/// Window `q` of a dim spans `floor(q * size / out)..ceil((q + 1) * size / out)`; its mean, or its maximum as
/// [`MaxPool`]. `out = [1, 1, 1]` pools everything.
///
/// If a slice is too short for the geometry, nothing is written.
pub struct AdaptivePool<'a, K: Arith, P: Panel> {
    /// Input.
    pub x: &'a [K::X],
    /// Output.
    pub y: &'a mut [K::Y],
    /// As in [`MaxPool`]; none for a mean.
    pub indices: Option<&'a mut [i64]>,
    /// Maximum, not mean.
    pub max: bool,
    /// Images.
    pub batch: usize,
    /// Channels.
    pub channels: usize,
    /// Input size, `[d, h, w]`.
    pub size: [usize; 3],
    /// Output size.
    pub out: [usize; 3],
    /// Input strides: image, channel, d, h, w.
    pub x_strides: [usize; 5],
    /// Output strides: image, channel, d, h, w.
    pub y_strides: [usize; 5],
    /// What the numbers stand for.
    pub format: K::Format,
    /// Least mean.
    pub low: K::A,
    /// Greatest mean.
    pub high: K::A,
    /// Panel width: vectors of that many channels.
    pub panel: P,
}

/// Positions `start + t * step` for `t` in `0..count` along one dim, all inside; `full` counts padding, too.
#[derive(Clone, Copy, Default)]
struct Span {
    start: usize,
    step: usize,
    count: usize,
    full: usize,
}

impl Span {
    /// Window of a [`MaxPool`] or [`AvgPool`] (`dilation` 1) that starts at `q * stride - padding`.
    fn window(q: usize, size: usize, kernel: usize, stride: usize, padding: usize, dilation: usize) -> Span {
        let start = (q * stride) as isize - padding as isize;
        let (first, last) = taps_inside(start, size, kernel, dilation);
        let end = (start + kernel as isize).min((size + padding) as isize);
        Span {
            start: (start + (first * dilation) as isize).max(0) as usize,
            step: dilation,
            count: last - first,
            full: (end - start).max(0) as usize,
        }
    }

    /// Part `q` of `out`.
    fn part(q: usize, size: usize, out: usize) -> Span {
        let out = out.max(1);
        let (start, end) = (q * size / out, ((q + 1) * size).div_ceil(out));
        Span { start, step: 1, count: end - start, full: end - start }
    }
}

/// What is made of a window.
#[derive(Clone, Copy)]
enum Kind {
    Max,
    /// Divided by the count inside, with padding, or by a number.
    Mean,
    MeanWithPadding,
    SumOver(usize),
}

/// The common form; windows come from a function.
struct Windows<'a, K: Arith, P: Panel, F, const MAX: bool> {
    x: &'a [K::X],
    y: &'a mut [K::Y],
    indices: &'a mut [i64],
    batch: usize,
    channels: usize,
    size: [usize; 3],
    out: [usize; 3],
    x_strides: [usize; 5],
    y_strides: [usize; 5],
    kind: Kind,
    /// Of means.
    format: Option<K::Format>,
    low: K::A,
    high: K::A,
    /// Window of output `q` of a dim.
    span: F,
    panel: P,
}

impl<K: Arith, P: Panel> Op for MaxPool<'_, K, P> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        let MaxPool { size, kernel, stride, padding, dilation, .. } = self;
        s.outline(Windows::<K, P, _, true> {
            x: self.x,
            y: self.y,
            indices: self.indices.unwrap_or(&mut []),
            batch: self.batch,
            channels: self.channels,
            size,
            out: self.out,
            x_strides: self.x_strides,
            y_strides: self.y_strides,
            kind: Kind::Max,
            format: None,
            low: K::A::LEAST,
            high: K::A::LEAST,
            span: move |d: usize, q| Span::window(q, size[d], kernel[d], stride[d], padding[d], dilation[d]),
            panel: self.panel,
        });
    }
}

impl<K: Arith, P: Panel> Op for AvgPool<'_, K, P> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        let AvgPool { size, kernel, stride, padding, .. } = self;
        let kind = match (self.divisor, self.count_include_pad) {
            (0, true) => Kind::MeanWithPadding,
            (0, false) => Kind::Mean,
            (divisor, _) => Kind::SumOver(divisor),
        };
        s.outline(Windows::<K, P, _, false> {
            x: self.x,
            y: self.y,
            indices: &mut [],
            batch: self.batch,
            channels: self.channels,
            size,
            out: self.out,
            x_strides: self.x_strides,
            y_strides: self.y_strides,
            kind,
            format: Some(self.format),
            low: self.low,
            high: self.high,
            span: move |d: usize, q| Span::window(q, size[d], kernel[d], stride[d], padding[d], 1),
            panel: self.panel,
        });
    }
}

impl<'a, K: Arith, P: Panel> AdaptivePool<'a, K, P> {
    #[inline(always)]
    fn windows<const MAX: bool>(self) -> Windows<'a, K, P, impl Fn(usize, usize) -> Span, MAX> {
        let AdaptivePool { size, out, .. } = self;
        Windows {
            x: self.x,
            y: self.y,
            indices: self.indices.unwrap_or(&mut []),
            batch: self.batch,
            channels: self.channels,
            size,
            out,
            x_strides: self.x_strides,
            y_strides: self.y_strides,
            kind: if MAX { Kind::Max } else { Kind::Mean },
            format: Some(self.format),
            low: self.low,
            high: self.high,
            span: move |d: usize, q| Span::part(q, size[d], out[d]),
            panel: self.panel,
        }
    }
}

impl<K: Arith, P: Panel> Op for AdaptivePool<'_, K, P> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        if self.max { s.outline(self.windows::<true>()) } else { s.outline(self.windows::<false>()) }
    }
}

impl<K: Arith, P: Panel, F: Fn(usize, usize) -> Span, const MAX: bool> Windows<'_, K, P, F, MAX> {
    fn fits(&self) -> Option<()> {
        let ([d, h, w], [od, oh, ow]) = (self.size, self.out);
        let y = extent(&[self.batch, self.channels, od, oh, ow], &self.y_strides)?;
        let fits = self.x.len() >= extent(&[self.batch, self.channels, d, h, w], &self.x_strides)?
            && self.y.len() >= y
            && (self.indices.is_empty() || self.indices.len() >= y);
        fits.then_some(())
    }
}

impl<K: Arith, P: Panel, F: Fn(usize, usize) -> Span, const MAX: bool> Op for Windows<'_, K, P, F, MAX> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(mut self, s: S) {
        if self.fits().is_none() {
            return;
        }
        let adjacent = self.x_strides[1] == 1 && self.y_strides[1] == 1;
        let vectors = P::WIDTH > 1 && adjacent && self.indices.is_empty() && self.channels > 1;
        let _ = self.panel;
        for image in 0..self.batch {
            for d in 0..self.out[0] {
                let sd = (self.span)(0, d);
                for h in 0..self.out[1] {
                    let sh = (self.span)(1, h);
                    for w in 0..self.out[2] {
                        let spans = [sd, sh, (self.span)(2, w)];
                        let x = image * self.x_strides[0];
                        let y = image * self.y_strides[0]
                            + d * self.y_strides[2]
                            + h * self.y_strides[3]
                            + w * self.y_strides[4];
                        if vectors {
                            self.many::<S>(s, &spans, x, y);
                        } else {
                            self.each(&spans, x, y);
                        }
                    }
                }
            }
        }
    }
}

impl<K: Arith, P: Panel, F, const MAX: bool> Windows<'_, K, P, F, MAX> {
    /// What the sum of a window is divided by, and how many inputs it has.
    fn divisor(&self, spans: &[Span; 3]) -> (usize, usize) {
        let counted = spans.iter().fold(1, |n, s| n * s.count);
        let divisor = match self.kind {
            Kind::Max => 1,
            Kind::Mean => counted.max(1),
            Kind::MeanWithPadding => spans.iter().fold(1, |n, s| n * s.full).max(1),
            Kind::SumOver(n) => n,
        };
        (divisor, counted)
    }

    /// One window of all channels, vector by vector.
    #[inline(always)]
    fn many<S: Simd>(&mut self, s: S, spans: &[Span; 3], x: usize, y: usize) {
        let mut first = 0;
        // The length of a whole vector is a constant: no load has to ask for it.
        while first + P::WIDTH <= self.channels {
            self.vector::<S>(s, spans, [x + first, y + first], P::WIDTH);
            first += P::WIDTH;
        }
        if first < self.channels {
            self.vector::<S>(s, spans, [x + first, y + first], self.channels - first);
        }
    }

    /// One window of `width` channels.
    #[inline(always)]
    fn vector<S: Simd>(&mut self, s: S, spans: &[Span; 3], [x, y]: [usize; 2], width: usize) {
        let [sd, sh, sw] = spans;
        let [_, _, xd, xh, xw] = self.x_strides;
        let mut sum = K::V::<S, P>::splat(s, if MAX { K::A::LEAST } else { K::A::ZERO });
        for d in 0..sd.count {
            for h in 0..sh.count {
                let mut at = x + (sd.start + d * sd.step) * xd + (sh.start + h * sh.step) * xh + sw.start * xw;
                for _ in 0..sw.count {
                    let part = self.x.get(at..at.wrapping_add(width)).unwrap_or(&[]);
                    let value = K::inputs::<S, P>(s, part);
                    sum = if MAX { sum.max(s, value) } else { K::partials::<S, P>(s, sum.add(s, value)) };
                    at += sw.step * xw;
                }
            }
        }
        if let (false, Some(format)) = (MAX, self.format) {
            let (divisor, inside) = self.divisor(spans);
            sum = K::means::<S, P>(s, sum, divisor, inside, format);
            if K::REQUANTIZED {
                let [low, high] = [self.low, self.high].map(|bound| K::V::<S, P>::splat(s, bound));
                sum = sum.clamp(s, low, high);
            }
        }
        if let Some(to) = self.y.get_mut(y..y.wrapping_add(width)) {
            K::write::<S, P>(s, sum, to);
        }
    }

    /// One window, channel by channel.
    #[inline(always)]
    fn each(&mut self, spans: &[Span; 3], x: usize, y: usize) {
        let (divisor, inside) = self.divisor(spans);
        for c in 0..self.channels {
            let base = x + c * self.x_strides[1];
            let at = y + c * self.y_strides[1];
            let (mut value, index) = self.window(spans, base);
            if let (false, Some(format)) = (MAX, self.format) {
                value = K::mean(value, divisor, inside, format);
                value = if value < self.low { self.low } else { value };
                value = if value > self.high { self.high } else { value };
            }
            if let Some(to) = self.y.get_mut(at) {
                *to = K::output(value);
            }
            if let Some(to) = self.indices.get_mut(at) {
                *to = index as i64;
            }
        }
    }

    /// Maximum and its position, or sum, of one window of one channel.
    #[inline(always)]
    fn window(&self, spans: &[Span; 3], base: usize) -> (K::A, usize) {
        let [sd, sh, sw] = spans;
        let [_, _, xd, xh, xw] = self.x_strides;
        let mut index = (sd.start * self.size[1] + sh.start) * self.size[2] + sw.start;
        let mut value = if MAX { K::A::LEAST } else { K::A::ZERO };
        for d in (0..sd.count).map(|i| sd.start + i * sd.step) {
            for h in (0..sh.count).map(|i| sh.start + i * sh.step) {
                let row = from(self.x, base + d * xd + h * xh);
                for w in (0..sw.count).map(|i| sw.start + i * sw.step) {
                    let Some(x) = row.get(w * xw) else { continue };
                    let x = K::input(*x);
                    if !MAX {
                        value = K::partial(value.plus(x));
                    } else if x > value || x.is_nan() {
                        (value, index) = (x, (d * self.size[1] + h) * self.size[2] + w);
                    }
                }
            }
        }
        (value, index)
    }
}
