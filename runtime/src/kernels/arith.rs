//! The arithmetic of a matmul or convolution: types of input, weight, accumulator and output, and how they convert.
//!
//! Layout, packing, tiles and epilogue are written once over [`Arith`]; a number format is one implementation of it.

use crate::simd::{Num, Panel, Simd, Vector};
use crate::{Bf16, Element, F16};
use core::marker::PhantomData;

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
    /// Whether weights carry a zero point and a scale per output channel: `(w - zero_point) * scale`. The product with
    /// the scale is taken once, after the sum.
    const QUANTIZED: bool = false;

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
}

/// f32 throughout.
#[derive(Clone, Copy, Debug)]
pub struct F32;

impl Arith for F32 {
    type X = f32;
    type W = f32;
    type A = f32;
    type Y = f32;
    type V<S: Simd, P: Panel> = P::F32<S>;
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
    const QUANTIZED: bool = true;
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

/// f16 or bf16 in memory, sums in f32, rounded once at the end.
#[derive(Clone, Copy, Debug)]
pub struct Half<T>(PhantomData<T>);

impl<T: HalfFloat> Arith for Half<T> {
    type X = T;
    type W = T;
    type A = f32;
    type Y = T;
    type V<S: Simd, P: Panel> = P::F32<S>;
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
