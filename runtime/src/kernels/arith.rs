//! The arithmetic of a matmul or convolution: types of input, weight, accumulator and output, and how they convert.
//!
//! Layout, packing, tiles and epilogue are written once over [`Arith`]; a number format is one implementation of it.

use super::conv::Images;
use super::depthwise::{Depthwise, Window};
use super::epilogue::Epilogue;
use super::matmul::Rows;
use super::tile::{Sums, Tiles};
use crate::simd::{Num, Panel, Simd, Vector};
use crate::{Bf16, Element, F16};
use core::marker::PhantomData;
use core::ops::Range;

/// Length of [`Zeroed::ZEROS`], the longest stretch of an input that padding stands in for at once.
pub const ZERO_RUN: usize = 128;

/// An element with a stretch of zeros that stands in for input outside the image.
pub trait Zeroed: Element {
    /// Zeros.
    const ZEROS: &'static [Self; ZERO_RUN];
}

macro_rules! zeroed {
    ($($t:ty: $zero:expr),*) => {$(
        impl Zeroed for $t {
            const ZEROS: &'static [Self; ZERO_RUN] = &[$zero; ZERO_RUN];
        }
    )*};
}
zeroed!(f32: 0.0, f64: 0.0, u8: 0, i8: 0, i16: 0, i32: 0, i64: 0, u16: 0, u32: 0, u64: 0, F16: F16(0), Bf16: Bf16(0));

/// Types of one layer.
pub trait Arith: Copy + 'static {
    /// Element of the input.
    type X: Zeroed;
    /// Element of the packed weights.
    type W: Element;
    /// What sums are kept in; also the type of bias, scale, slope and bounds.
    type A: Num;
    /// Element of the output.
    type Y: Element;
    /// A row of accumulators.
    type V<S: Simd, P: Panel>: Vector<S, Elem = Self::A>;
    /// Register tiles.
    type Tiles<S: Simd, P: Panel>: Tiles;
    /// Whether weights carry a zero point and a scale per output channel: `(w - zero_point) * scale`. The product with
    /// the scale is taken once, after the sum.
    const QUANTIZED: bool = false;
    /// Whether sums are brought to the scale of an integer output: [`Arith::rescale`] and [`Arith::mean`] do more than
    /// their name says, and the input outside an image is not 0.
    const REQUANTIZED: bool = false;
    /// Whether tiles that add a residual in registers are compiled, one way for each place where it may lie: much code.
    const RESIDUALS: bool = false;
    /// What the numbers stand for, beyond their types.
    type Format: Copy;
    /// A stretch of input outside the image.
    type Padding: AsRef<[Self::X]> + Copy;

    /// Input outside the image.
    fn padding(format: Self::Format) -> Self::Padding;
    /// A sum on the scale of the output, `factor` one per channel. As it is, unless requantized.
    #[inline(always)]
    fn rescale<S: Simd, P: Panel>(_: S, sums: Self::V<S, P>, _factor: Self::V<S, P>, _: Self::Format) -> Self::V<S, P> {
        sums
    }
    /// A sum of inputs after each of them. As it is, unless it is kept as narrow as they are.
    #[inline(always)]
    fn partial(sum: Self::A) -> Self::A {
        sum
    }
    /// [`Arith::partial`] of each lane.
    #[inline(always)]
    fn partials<S: Simd, P: Panel>(_: S, sums: Self::V<S, P>) -> Self::V<S, P> {
        sums
    }
    /// The mean of `inside` inputs and padding, from their sum.
    #[inline(always)]
    fn mean(sum: Self::A, divisor: usize, _inside: usize, _: Self::Format) -> Self::A {
        sum.over(Self::A::count(divisor))
    }
    /// [`Arith::mean`] of each lane.
    #[inline(always)]
    fn means<S: Simd, P: Panel>(
        s: S,
        sums: Self::V<S, P>,
        divisor: usize,
        _inside: usize,
        _: Self::Format,
    ) -> Self::V<S, P> {
        sums.div(s, Vector::splat(s, Self::A::count(divisor)))
    }
    /// Input element.
    fn input(x: Self::X) -> Self::A;
    /// Output element.
    fn output(sum: Self::A) -> Self::Y;
    /// Adjacent input elements; missing ones are 0.
    fn inputs<S: Simd, P: Panel>(s: S, from: &[Self::X]) -> Self::V<S, P>;
    /// One row of a panel.
    fn weights<S: Simd, P: Panel>(s: S, row: &P::Row<Self::W>) -> Self::V<S, P>;
    /// Output elements read back, as a residual; missing ones are 0.
    fn read<S: Simd, P: Panel>(s: S, from: &[Self::Y]) -> Self::V<S, P>;
    /// Writes as many lanes as there is room for.
    fn write<S: Simd, P: Panel>(s: S, values: Self::V<S, P>, to: &mut [Self::Y]);

    /// [`accumulate`](super::tile::accumulate) by a loop of the target's own; false if it has none for this arithmetic.
    #[inline(always)]
    fn accumulate<S: Simd, P: Panel, const ROWS: usize, const PANELS: usize>(
        _sums: &mut Sums<Self, S, P, ROWS, PANELS>,
        _rows: [&[Self::X]; ROWS],
        _panels: [&[P::Row<Self::W>]; PANELS],
    ) -> bool {
        false
    }
    /// [`Epilogue::write`] of these channels, likewise.
    #[inline(always)]
    fn finish<S: Simd, P: Panel, const ROWS: usize, const PANELS: usize>(
        _epilogue: &Epilogue<'_, Self>,
        _sums: &Sums<Self, S, P, ROWS, PANELS>,
        _y: &mut [Self::Y],
        _offsets: [usize; ROWS],
        _channels: Range<usize>,
    ) -> bool {
        false
    }
    /// All of `count` [`Rows`] of a product, likewise.
    #[inline(always)]
    fn product<P: Panel>(_rows: &mut Rows<'_, Self, P>, _count: usize) -> bool {
        false
    }
    /// A whole [`Conv`](super::conv::Conv), likewise.
    #[inline(always)]
    fn conv<P: Panel>(_images: &mut Images<'_, Self, P>) -> bool {
        false
    }
    /// A whole [`Depthwise`] whose slices fit, likewise.
    #[inline(always)]
    fn depthwise<P: Panel, W: Window>(_layer: &mut Depthwise<'_, Self, P, W>) -> bool {
        false
    }
}

/// f32 throughout.
#[derive(Clone, Copy, Debug)]
pub struct F32;

impl Arith for F32 {
    const RESIDUALS: bool = true;
    type X = f32;
    type W = f32;
    type A = f32;
    type Y = f32;
    type V<S: Simd, P: Panel> = P::F32<S>;
    type Tiles<S: Simd, P: Panel> = P::Tiles<S>;
    type Format = ();
    type Padding = &'static [f32; ZERO_RUN];
    #[inline(always)]
    fn padding((): ()) -> Self::Padding {
        <f32>::ZEROS
    }
    #[inline(always)]
    fn input(x: f32) -> f32 {
        x
    }
    #[inline(always)]
    fn output(sum: f32) -> f32 {
        sum
    }
    #[inline(always)]
    fn inputs<S: Simd, P: Panel>(s: S, from: &[f32]) -> P::F32<S> {
        Vector::load(s, from)
    }
    #[inline(always)]
    fn weights<S: Simd, P: Panel>(s: S, row: &P::Row<f32>) -> P::F32<S> {
        Vector::load(s, row.as_ref())
    }
    #[inline(always)]
    fn read<S: Simd, P: Panel>(s: S, from: &[f32]) -> P::F32<S> {
        Vector::load(s, from)
    }
    #[inline(always)]
    fn write<S: Simd, P: Panel>(s: S, values: P::F32<S>, to: &mut [f32]) {
        values.store(s, to);
    }
    #[inline(always)]
    fn accumulate<S: Simd, P: Panel, const ROWS: usize, const PANELS: usize>(
        sums: &mut Sums<Self, S, P, ROWS, PANELS>,
        rows: [&[f32]; ROWS],
        panels: [&[P::Row<f32>]; PANELS],
    ) -> bool {
        P::accumulate::<S, ROWS, PANELS>(sums, rows, panels)
    }
    #[inline(always)]
    fn finish<S: Simd, P: Panel, const ROWS: usize, const PANELS: usize>(
        epilogue: &Epilogue<'_, Self>,
        sums: &Sums<Self, S, P, ROWS, PANELS>,
        y: &mut [f32],
        offsets: [usize; ROWS],
        channels: Range<usize>,
    ) -> bool {
        P::finish::<S, ROWS, PANELS>(epilogue, sums, y, offsets, channels)
    }
    #[inline(always)]
    fn product<P: Panel>(rows: &mut Rows<'_, Self, P>, count: usize) -> bool {
        P::product(rows, count)
    }
    #[inline(always)]
    fn conv<P: Panel>(images: &mut Images<'_, Self, P>) -> bool {
        P::conv(images)
    }
    #[inline(always)]
    fn depthwise<P: Panel, W: Window>(layer: &mut Depthwise<'_, Self, P, W>) -> bool {
        P::depthwise(layer)
    }
}

/// f32 activations and sums, i8 weights: the weight-only form of a quantized layer, exact to f32 rounding.
#[derive(Clone, Copy, Debug)]
pub struct I8Weights;

impl Arith for I8Weights {
    type X = f32;
    type W = i8;
    type A = f32;
    type Y = f32;
    type V<S: Simd, P: Panel> = P::F32<S>;
    type Tiles<S: Simd, P: Panel> = P::OtherTiles<S>;
    const QUANTIZED: bool = true;
    type Format = ();
    type Padding = &'static [f32; ZERO_RUN];
    #[inline(always)]
    fn padding((): ()) -> Self::Padding {
        <f32>::ZEROS
    }
    #[inline(always)]
    fn input(x: f32) -> f32 {
        x
    }
    #[inline(always)]
    fn output(sum: f32) -> f32 {
        sum
    }
    #[inline(always)]
    fn inputs<S: Simd, P: Panel>(s: S, from: &[f32]) -> P::F32<S> {
        Vector::load(s, from)
    }
    #[inline(always)]
    fn weights<S: Simd, P: Panel>(s: S, row: &P::Row<i8>) -> P::F32<S> {
        let mut wide = P::Row::<f32>::default();
        for (w, q) in wide.as_mut().iter_mut().zip(row.as_ref()) {
            *w = f32::from(*q);
        }
        Vector::load(s, wide.as_ref())
    }
    #[inline(always)]
    fn read<S: Simd, P: Panel>(s: S, from: &[f32]) -> P::F32<S> {
        Vector::load(s, from)
    }
    #[inline(always)]
    fn write<S: Simd, P: Panel>(s: S, values: P::F32<S>, to: &mut [f32]) {
        values.store(s, to);
    }
}

/// One type throughout: f64, or integers, which wrap as PyTorch's do.
#[derive(Clone, Copy, Debug)]
pub struct Plain<T>(PhantomData<T>);

impl<T: Zeroed + Num> Arith for Plain<T> {
    type X = T;
    type W = T;
    type A = T;
    type Y = T;
    type V<S: Simd, P: Panel> = P::Lanes<S, T>;
    type Tiles<S: Simd, P: Panel> = P::OtherTiles<S>;
    type Format = ();
    type Padding = &'static [T; ZERO_RUN];
    #[inline(always)]
    fn padding((): ()) -> Self::Padding {
        <T>::ZEROS
    }
    #[inline(always)]
    fn input(x: T) -> T {
        x
    }
    #[inline(always)]
    fn output(sum: T) -> T {
        sum
    }
    #[inline(always)]
    fn inputs<S: Simd, P: Panel>(s: S, from: &[T]) -> P::Lanes<S, T> {
        Vector::load(s, from)
    }
    #[inline(always)]
    fn weights<S: Simd, P: Panel>(s: S, row: &P::Row<T>) -> P::Lanes<S, T> {
        Vector::load(s, row.as_ref())
    }
    #[inline(always)]
    fn read<S: Simd, P: Panel>(s: S, from: &[T]) -> P::Lanes<S, T> {
        Vector::load(s, from)
    }
    #[inline(always)]
    fn write<S: Simd, P: Panel>(s: S, values: P::Lanes<S, T>, to: &mut [T]) {
        values.store(s, to);
    }
}

/// Zero points and scale of a layer on integers. A sum becomes an output as `sum * factor / 2^shift + output_zero`,
/// rounded half to even.
#[derive(Clone, Copy, Debug)]
pub struct Rescale {
    /// The input that stands for 0; fills the surroundings of images.
    pub input_zero: i32,
    /// The output that stands for 0.
    pub output_zero: i32,
    /// Factor of a mean; layers with weights have one per channel.
    pub factor: i32,
    /// At least 1.
    pub shift: u32,
}

/// `x * factor / 2^shift`, rounded half to even; `shift` is 1 to 62 and the result fits.
///
/// This is exact. Where `factor` stands for a real number rounded to `shift` bits, the result before rounding is off by at
/// most `|x| / 2^(shift + 1)`.
#[inline(always)]
pub fn rescaled(x: i32, factor: i32, shift: u32) -> i32 {
    let shift = shift & 63;
    let product = i64::from(x) * i64::from(factor);
    let below_half = ((1i64 << shift) >> 1) - 1;
    ((product + below_half + ((product >> shift) & 1)) >> shift) as i32
}

/// An integer that activations are stored as.
pub trait Stored: Zeroed {
    /// Exact.
    fn widen(self) -> i32;
    /// The low bits; the number fits.
    fn narrow(x: i32) -> Self;
}

/// One of 8 bits.
pub trait Narrow: Stored {
    /// What makes an unsigned byte of it, 128 more than a signed one.
    const TURN: u8;
    /// That byte, or where `signed` the signed one.
    #[inline(always)]
    fn turned(self, signed: bool) -> i32 {
        let byte = self.widen() as u8 ^ Self::TURN;
        i32::from(byte) - if signed { 128 } else { 0 }
    }
}

macro_rules! narrow {
    ($($t:ty),*) => {$(
        impl Stored for $t {
            #[inline(always)]
            fn widen(self) -> i32 { i32::from(self) }
            #[inline(always)]
            fn narrow(x: i32) -> Self { x as $t }
        }
    )*};
}
narrow!(i8, u8, i16);

impl Narrow for i8 {
    const TURN: u8 = 128;
}

impl Narrow for u8 {
    const TURN: u8 = 0;
}

/// A stretch of one value.
#[derive(Clone, Copy, Debug)]
pub struct Stretch<T>([T; ZERO_RUN]);

impl<T> AsRef<[T]> for Stretch<T> {
    #[inline(always)]
    fn as_ref(&self) -> &[T] {
        &self.0
    }
}

/// Quantized throughout: activations of 8 or 16 bits with a zero point, i8 weights without, sums in i32. The zero point of the input
/// is part of the bias: what is summed are the stored integers.
#[derive(Clone, Copy, Debug)]
pub struct Quantized<X, Y>(PhantomData<(X, Y)>);

impl<X: Stored, Y: Stored> Arith for Quantized<X, Y> {
    type X = X;
    type W = i8;
    type A = i32;
    type Y = Y;
    type V<S: Simd, P: Panel> = P::Lanes<S, i32>;
    type Tiles<S: Simd, P: Panel> = P::OtherTiles<S>;
    const REQUANTIZED: bool = true;
    type Format = Rescale;
    type Padding = Stretch<X>;
    #[inline(always)]
    fn padding(format: Rescale) -> Stretch<X> {
        Stretch([X::narrow(format.input_zero); ZERO_RUN])
    }
    #[inline(always)]
    fn rescale<S: Simd, P: Panel>(
        s: S,
        sums: P::Lanes<S, i32>,
        factor: P::Lanes<S, i32>,
        format: Rescale,
    ) -> P::Lanes<S, i32> {
        let (mut row, mut factors) = (P::Row::<i32>::default(), P::Row::<i32>::default());
        sums.store(s, row.as_mut());
        factor.store(s, factors.as_mut());
        for (x, factor) in row.as_mut().iter_mut().zip(factors.as_ref()) {
            *x = rescaled(*x, *factor, format.shift).wrapping_add(format.output_zero);
        }
        Vector::load(s, row.as_ref())
    }
    #[inline(always)]
    fn mean(sum: i32, divisor: usize, inside: usize, format: Rescale) -> i32 {
        let factor = format.factor.wrapping_add(divisor as i32 / 2).checked_div(divisor as i32).unwrap_or(0);
        let sum = sum.wrapping_sub((inside as i32).wrapping_mul(format.input_zero));
        rescaled(sum, factor, format.shift).wrapping_add(format.output_zero)
    }
    #[inline(always)]
    fn means<S: Simd, P: Panel>(
        s: S,
        sums: P::Lanes<S, i32>,
        divisor: usize,
        inside: usize,
        format: Rescale,
    ) -> P::Lanes<S, i32> {
        let mut row = P::Row::<i32>::default();
        sums.store(s, row.as_mut());
        for x in row.as_mut() {
            *x = Self::mean(*x, divisor, inside, format);
        }
        Vector::load(s, row.as_ref())
    }
    #[inline(always)]
    fn input(x: X) -> i32 {
        x.widen()
    }
    #[inline(always)]
    fn output(sum: i32) -> Y {
        Y::narrow(sum)
    }
    #[inline(always)]
    fn inputs<S: Simd, P: Panel>(s: S, from: &[X]) -> P::Lanes<S, i32> {
        let mut wide = P::Row::<i32>::default();
        for (w, x) in wide.as_mut().iter_mut().zip(from) {
            *w = x.widen();
        }
        Vector::load(s, wide.as_ref())
    }
    #[inline(always)]
    fn weights<S: Simd, P: Panel>(s: S, row: &P::Row<i8>) -> P::Lanes<S, i32> {
        let mut wide = P::Row::<i32>::default();
        for (w, q) in wide.as_mut().iter_mut().zip(row.as_ref()) {
            *w = i32::from(*q);
        }
        Vector::load(s, wide.as_ref())
    }
    #[inline(always)]
    fn read<S: Simd, P: Panel>(s: S, from: &[Y]) -> P::Lanes<S, i32> {
        let mut wide = P::Row::<i32>::default();
        for (w, y) in wide.as_mut().iter_mut().zip(from) {
            *w = y.widen();
        }
        Vector::load(s, wide.as_ref())
    }
    #[inline(always)]
    fn write<S: Simd, P: Panel>(s: S, values: P::Lanes<S, i32>, to: &mut [Y]) {
        let mut wide = P::Row::<i32>::default();
        values.store(s, wide.as_mut());
        for (y, w) in to.iter_mut().zip(wide.as_ref()) {
            *y = Y::narrow(*w);
        }
    }
}

/// A 16-bit float that is widened to compute.
pub trait HalfFloat: Zeroed {
    /// Exact.
    fn widen(self) -> f32;
    /// Half to even.
    fn narrow(x: f32) -> Self;
}

macro_rules! halves {
    ($($t:ident),*) => {$(
        impl HalfFloat for $t {
            #[inline(always)]
            fn widen(self) -> f32 { self.to_f32() }
            #[inline(always)]
            fn narrow(x: f32) -> Self { $t::from_f32(x) }
        }
    )*};
}
halves!(F16, Bf16);

/// f16 or bf16 in memory, sums in f32, rounded once at the end; those of pooling after every input, if `NARROW`.
#[derive(Clone, Copy, Debug)]
pub struct Half<T, const NARROW: bool = false>(PhantomData<T>);

impl<T: HalfFloat, const NARROW: bool> Arith for Half<T, NARROW> {
    type X = T;
    type W = T;
    type A = f32;
    type Y = T;
    type V<S: Simd, P: Panel> = P::F32<S>;
    type Tiles<S: Simd, P: Panel> = P::OtherTiles<S>;
    type Format = ();
    type Padding = &'static [T; ZERO_RUN];
    #[inline(always)]
    fn padding((): ()) -> Self::Padding {
        <T>::ZEROS
    }
    #[inline(always)]
    fn partial(sum: f32) -> f32 {
        if NARROW { T::narrow(sum).widen() } else { sum }
    }
    #[inline(always)]
    fn partials<S: Simd, P: Panel>(s: S, sums: P::F32<S>) -> P::F32<S> {
        if !NARROW {
            return sums;
        }
        let mut row = P::Row::<f32>::default();
        sums.store(s, row.as_mut());
        for x in row.as_mut() {
            *x = Self::partial(*x);
        }
        Vector::load(s, row.as_ref())
    }
    #[inline(always)]
    fn input(x: T) -> f32 {
        x.widen()
    }
    #[inline(always)]
    fn output(sum: f32) -> T {
        T::narrow(sum)
    }
    #[inline(always)]
    fn inputs<S: Simd, P: Panel>(s: S, from: &[T]) -> P::F32<S> {
        Self::read::<S, P>(s, from)
    }
    #[inline(always)]
    fn weights<S: Simd, P: Panel>(s: S, row: &P::Row<T>) -> P::F32<S> {
        Self::read::<S, P>(s, row.as_ref())
    }
    #[inline(always)]
    fn read<S: Simd, P: Panel>(s: S, from: &[T]) -> P::F32<S> {
        let mut wide = P::Row::<f32>::default();
        for (w, x) in wide.as_mut().iter_mut().zip(from) {
            *w = x.widen();
        }
        Vector::load(s, wide.as_ref())
    }
    #[inline(always)]
    fn write<S: Simd, P: Panel>(s: S, values: P::F32<S>, to: &mut [T]) {
        let mut wide = P::Row::<f32>::default();
        values.store(s, wide.as_mut());
        for (y, w) in to.iter_mut().zip(wide.as_ref()) {
            *y = T::narrow(*w);
        }
    }
}
