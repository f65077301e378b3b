//! The SIMD token, vectors, panels, and the one place that enters a `#[target_feature]` context.
//!
//! A kernel or generated loop is an [`Op`], generic over a token `S: Simd` that exists only when the CPU has the
//! instructions it stands for. [`dispatch`] runs it with the token of a [`Level`]; everything `#[inline(always)]` below
//! `call` is then compiled with those instructions, so neither kernels nor generated code contain `unsafe`.
//!
//! Kernels compute on a [`Vector`]: the native one of the level ([`Simd::F32`]), the one that holds a row of a weight
//! [`Panel`] ([`Panel::F32`]), or an array of any element type ([`Lanes`]). So one kernel source serves all levels,
//! panel widths and dtypes.

use crate::kernels::arith::F32;
use crate::kernels::arith::Narrow;
use crate::kernels::conv::Images;
use crate::kernels::depthwise::{Depthwise, Window};
use crate::kernels::dot4;
use crate::kernels::epilogue::Epilogue;
use crate::kernels::matmul::Rows;
use crate::kernels::tile::{Four, Halves, Tiles, Two};
use core::ops::Range;

/// Instruction set in use. `Portable` gives the same bits on every target, for models compiled with the same options (the
/// default of `winograd` is not the same everywhere).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Level {
    /// What the build's target guarantees; fixed summation order.
    Portable,
    /// x86-64 with AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ and VL.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AArch64 with Advanced SIMD.
    #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
    Neon,
}

/// Runs the body for every `i` below a constant of at most 8, or at most 16 where that is said, written out: `opt-level = "s"`
/// unrolls no loop, and an array that a loop counter indexes cannot live in registers. What a constant rules out is not compiled:
/// of two such loops in each other that would be most of a program.
macro_rules! unrolled {
    ($n:ident, $i:ident, $body:block) => {
        unrolled!(@named 8, $n, $i, $body, 0 1 2 3 4 5 6 7)
    };
    ($n:ident <= 16, $i:ident, $body:block) => {
        unrolled!(@named 16, $n, $i, $body, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    (($n:expr) <= 16, $i:ident, $body:block) => {
        unrolled!(@computed $n, $i, $body, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    // A constant of a type: thousands of constant blocks would each be a body for the compiler to look through.
    (@named $most:literal, $n:ident, $i:ident, $body:block, $($k:literal)*) => {
        $(if $crate::simd::Below::<$k, $n, $most>::YES {
            let $i = $k;
            $body
        })*
    };
    (@computed $n:expr, $i:ident, $body:block, $($k:literal)*) => {
        $(if const { $k < $n } {
            let $i = $k;
            $body
        })*
    };
}
pub(crate) use unrolled;

/// Whether one constant is below another, which is at most a third, for [`unrolled`].
pub(crate) struct Below<const I: usize, const N: usize, const MOST: usize>;

impl<const I: usize, const N: usize, const MOST: usize> Below<I, N, MOST> {
    pub(crate) const YES: bool = {
        assert!(N <= MOST);
        I < N
    };
}

/// Proof that a level's instructions may be used.
pub trait Simd: Copy + 'static {
    /// The widest f32 vector of the level.
    type F32: Vector<Self, Elem = f32>;
    /// Four f32 in as few registers as possible.
    type F32x4: Vector<Self, Elem = f32>;
    /// Eight f32 in as few registers as possible.
    type F32x8: Vector<Self, Elem = f32>;
    /// Sixteen f32 in as few registers as possible.
    type F32x16: Vector<Self, Elem = f32>;
    /// Panels as wide as [`Simd::F32`].
    type Narrow: Panel;
    /// Register tiles over panels of 16: those whose accumulators, a row of weights and a splat fit.
    type Tiles: Tiles;

    /// `a * b + c`; one rounding where the level has the instruction, else two.
    fn mul_add(self, a: f32, b: f32, c: f32) -> f32;

    /// Says that the memory `at` elements behind the start of `near` will be read; any place will do, nothing is read now.
    #[inline(always)]
    fn prefetch<T>(self, _near: &[T], _at: usize) {}

    /// The sums of a tile of bytes.
    #[inline(always)]
    fn dot4<X: Narrow, const ROWS: usize, const PANELS: usize>(
        self,
        part: &dot4::Part<'_, X>,
    ) -> dot4::Sums<ROWS, PANELS> {
        dot4::sums(part)
    }

    /// The sums of a tile of a depthwise convolution of bytes.
    #[inline(always)]
    fn taps<X: Narrow, const OUTPUTS: usize>(
        self,
        taps: &dot4::depthwise::Taps<'_, X>,
    ) -> [[i32; dot4::WIDTH]; OUTPUTS] {
        dot4::depthwise::sums(taps)
    }

    /// The upper halves of products, rounded to the nearest, half of one up.
    #[inline(always)]
    fn high_products(self, a: &[i32; dot4::WIDTH], b: &[i32; dot4::WIDTH]) -> [i32; dot4::WIDTH] {
        core::array::from_fn(|i| ((i64::from(a[i]) * i64::from(b[i]) + (1 << 31)) >> 32) as i32)
    }

    /// Runs `op` as a function of its own that is shared by all callers: one copy of a large kernel per level, where
    /// calling it directly would inline a copy per layer.
    fn outline<O: Op>(self, op: O) -> O::Output;
}

/// A number that vectors hold and kernels accumulate in. Integers wrap.
pub trait Num: Copy + Default + PartialOrd + 'static {
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// Least value; minus infinity.
    const LEAST: Self;
    /// Sum.
    fn plus(self, other: Self) -> Self;
    /// Difference.
    fn minus(self, other: Self) -> Self;
    /// Product.
    fn times(self, other: Self) -> Self;
    /// Quotient; of integers truncated, and 0 where there is none.
    fn over(self, other: Self) -> Self;
    /// A count as a number, wrapped or rounded to the type.
    fn count(n: usize) -> Self;
    /// The greater one; NaN if either is.
    #[inline(always)]
    fn greater(self, other: Self) -> Self {
        if self > other || self.is_nan() { self } else { other }
    }
    /// The lesser one; NaN if either is.
    #[inline(always)]
    fn lesser(self, other: Self) -> Self {
        if self < other || self.is_nan() { self } else { other }
    }
    /// Not equal to itself.
    #[inline(always)]
    #[allow(clippy::eq_op)]
    fn is_nan(self) -> bool {
        self != self
    }
}

macro_rules! nums {
    ($($t:ty: $zero:literal $one:literal $least:expr, $add:ident $sub:ident $mul:ident $div:expr);*) => {$(
        impl Num for $t {
            const ZERO: Self = $zero;
            const ONE: Self = $one;
            const LEAST: Self = $least;
            #[inline(always)]
            fn plus(self, other: Self) -> Self { self.$add(other) }
            #[inline(always)]
            fn minus(self, other: Self) -> Self { self.$sub(other) }
            #[inline(always)]
            fn times(self, other: Self) -> Self { self.$mul(other) }
            #[inline(always)]
            fn over(self, other: Self) -> Self { $div(self, other) }
            #[inline(always)]
            fn count(n: usize) -> Self { n as $t }
        }
    )*};
}
use core::ops::{Add, Mul, Sub};
nums!(
    f32: 0.0 1.0 f32::NEG_INFINITY, add sub mul |a, b| a / b;
    f64: 0.0 1.0 f64::NEG_INFINITY, add sub mul |a, b| a / b;
    u8: 0 1 0, wrapping_add wrapping_sub wrapping_mul |a: u8, b| a.checked_div(b).unwrap_or(0);
    i8: 0 1 i8::MIN, wrapping_add wrapping_sub wrapping_mul |a: i8, b| a.checked_div(b).unwrap_or(0);
    i16: 0 1 i16::MIN, wrapping_add wrapping_sub wrapping_mul |a: i16, b| a.checked_div(b).unwrap_or(0);
    i32: 0 1 i32::MIN, wrapping_add wrapping_sub wrapping_mul |a: i32, b| a.checked_div(b).unwrap_or(0);
    i64: 0 1 i64::MIN, wrapping_add wrapping_sub wrapping_mul |a: i64, b| a.checked_div(b).unwrap_or(0);
    u16: 0 1 0, wrapping_add wrapping_sub wrapping_mul |a: u16, b| a.checked_div(b).unwrap_or(0);
    u32: 0 1 0, wrapping_add wrapping_sub wrapping_mul |a: u32, b| a.checked_div(b).unwrap_or(0);
    u64: 0 1 0, wrapping_add wrapping_sub wrapping_mul |a: u64, b| a.checked_div(b).unwrap_or(0)
);

/// Several numbers that are computed on together. Slices shorter than the vector are allowed everywhere: missing lanes
/// read as 0 and are not written, so tails need no code of their own; a slice whose length is known costs no check.
pub trait Vector<S: Simd>: Copy {
    /// One lane.
    type Elem: Num;
    /// Number of lanes.
    const LANES: usize;
    /// `value` in every lane.
    fn splat(s: S, value: Self::Elem) -> Self;
    /// The first lanes of `from`; 0 where it ends early.
    fn load(s: S, from: &[Self::Elem]) -> Self;
    /// Writes as many lanes as `to` has room for.
    fn store(self, s: S, to: &mut [Self::Elem]);
    /// Sum.
    fn add(self, s: S, other: Self) -> Self;
    /// Difference.
    fn sub(self, s: S, other: Self) -> Self;
    /// Product.
    fn mul(self, s: S, other: Self) -> Self;
    /// Quotient.
    fn div(self, s: S, other: Self) -> Self;
    /// `self * factor + addend`, rounded as [`Simd::mul_add`].
    fn mul_add(self, s: S, factor: Self, addend: Self) -> Self;
    /// The greater lanes; NaN if either is.
    fn max(self, s: S, other: Self) -> Self;
    /// At least `low`, at most `high` (which are not NaN); NaN stays.
    fn clamp(self, s: S, low: Self, high: Self) -> Self;
    /// Lanes above 0 stay, the others are multiplied by `slope`.
    fn leaky(self, s: S, slope: Self) -> Self;
}

/// A vector of any element type as an array: the form of the portable level, and of all types but f32 everywhere.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Lanes<T, const N: usize>(pub [T; N]);

impl<T: Num, const N: usize> Lanes<T, N> {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(T, T) -> T) -> Self {
        const { assert!(N <= 16) };
        let mut out = self;
        unrolled!(N <= 16, i, {
            out.0[i] = f(out.0[i], other.0[i]);
        });
        out
    }
}

impl<S: Simd, T: Num, const N: usize> Vector<S> for Lanes<T, N> {
    type Elem = T;
    const LANES: usize = N;
    #[inline(always)]
    fn splat(_: S, value: T) -> Self {
        let mut out = [T::ZERO; N];
        unrolled!(N <= 16, i, {
            out[i] = value;
        });
        Lanes(out)
    }
    #[inline(always)]
    fn load(_: S, from: &[T]) -> Self {
        if let Some(whole) = from.first_chunk::<N>() {
            return Lanes(*whole);
        }
        let mut out = [T::ZERO; N];
        for (lane, value) in out.iter_mut().zip(from) {
            *lane = *value;
        }
        Lanes(out)
    }
    #[inline(always)]
    fn store(self, _: S, to: &mut [T]) {
        if let Some(whole) = to.first_chunk_mut::<N>() {
            *whole = self.0;
            return;
        }
        for (value, lane) in to.iter_mut().zip(self.0) {
            *value = lane;
        }
    }
    #[inline(always)]
    fn add(self, _: S, other: Self) -> Self {
        self.zip(other, T::plus)
    }
    #[inline(always)]
    fn sub(self, _: S, other: Self) -> Self {
        self.zip(other, T::minus)
    }
    #[inline(always)]
    fn mul(self, _: S, other: Self) -> Self {
        self.zip(other, T::times)
    }
    #[inline(always)]
    fn div(self, _: S, other: Self) -> Self {
        self.zip(other, T::over)
    }
    #[inline(always)]
    fn mul_add(self, _: S, factor: Self, addend: Self) -> Self {
        self.zip(factor, T::times).zip(addend, T::plus)
    }
    #[inline(always)]
    fn max(self, _: S, other: Self) -> Self {
        self.zip(other, T::greater)
    }
    #[inline(always)]
    fn clamp(self, _: S, low: Self, high: Self) -> Self {
        // Comparisons written so that NaN fails both and stays.
        let raised = self.zip(low, |x, low| if x < low { low } else { x });
        raised.zip(high, |x, high| if x > high { high } else { x })
    }
    #[inline(always)]
    fn leaky(self, _: S, slope: Self) -> Self {
        self.zip(slope, |x, slope| if x > T::ZERO { x } else { x.times(slope) })
    }
}

/// Two vectors side by side.
#[derive(Clone, Copy, Debug)]
pub struct Pair<V>(pub V, pub V);

impl<S: Simd, V: Vector<S>> Vector<S> for Pair<V> {
    type Elem = V::Elem;
    const LANES: usize = 2 * V::LANES;
    #[inline(always)]
    fn splat(s: S, value: V::Elem) -> Self {
        Pair(V::splat(s, value), V::splat(s, value))
    }
    #[inline(always)]
    fn load(s: S, from: &[V::Elem]) -> Self {
        let (low, high) = from.split_at_checked(V::LANES).unwrap_or((from, &[]));
        Pair(V::load(s, low), V::load(s, high))
    }
    #[inline(always)]
    fn store(self, s: S, to: &mut [V::Elem]) {
        if to.len() >= V::LANES
            && let Some((low, high)) = to.split_at_mut_checked(V::LANES)
        {
            self.0.store(s, low);
            self.1.store(s, high);
        } else {
            self.0.store(s, to);
        }
    }
    #[inline(always)]
    fn add(self, s: S, other: Self) -> Self {
        Pair(self.0.add(s, other.0), self.1.add(s, other.1))
    }
    #[inline(always)]
    fn sub(self, s: S, other: Self) -> Self {
        Pair(self.0.sub(s, other.0), self.1.sub(s, other.1))
    }
    #[inline(always)]
    fn mul(self, s: S, other: Self) -> Self {
        Pair(self.0.mul(s, other.0), self.1.mul(s, other.1))
    }
    #[inline(always)]
    fn div(self, s: S, other: Self) -> Self {
        Pair(self.0.div(s, other.0), self.1.div(s, other.1))
    }
    #[inline(always)]
    fn mul_add(self, s: S, factor: Self, addend: Self) -> Self {
        Pair(self.0.mul_add(s, factor.0, addend.0), self.1.mul_add(s, factor.1, addend.1))
    }
    #[inline(always)]
    fn max(self, s: S, other: Self) -> Self {
        Pair(self.0.max(s, other.0), self.1.max(s, other.1))
    }
    #[inline(always)]
    fn clamp(self, s: S, low: Self, high: Self) -> Self {
        Pair(self.0.clamp(s, low.0, high.0), self.1.clamp(s, low.1, high.1))
    }
    #[inline(always)]
    fn leaky(self, s: S, slope: Self) -> Self {
        Pair(self.0.leaky(s, slope.0), self.1.leaky(s, slope.1))
    }
}

/// Width of weight panels, chosen by the compiler from the target: [`N16`] on x86-64 and aarch64, [`N4`] elsewhere; where
/// a Cortex-M has an FPU, [`Fpu4`](crate::kernels::fpu::Fpu4), of the same layout.
pub trait Panel: Copy + 'static {
    /// Columns of a panel.
    const WIDTH: usize;
    /// Whether kernels have faster forms beside the general one: where panels are wide, code is not counted.
    const ROOM: bool = false;
    /// Register tiles of f32 at level `S`.
    type Tiles<S: Simd>: Tiles;
    /// Those of all other arithmetic: few shapes, for the time that compiling takes.
    type OtherTiles<S: Simd>: Tiles;
    /// One row of a panel in memory.
    type Row<T: Copy + Default + 'static>: AsRef<[T]> + AsMut<[T]> + Copy + Default;
    /// One row of f32 in registers.
    type F32<S: Simd>: Vector<S, Elem = f32>;
    /// One row of another type.
    type Lanes<S: Simd, T: Num>: Vector<S, Elem = T>;
    /// A panel as its rows.
    fn rows<T: Copy + Default + 'static>(panel: &[T]) -> &[Self::Row<T>];

    /// [`tile::accumulate`](crate::kernels::tile::accumulate) on f32 by a loop of the target's own; false if it has none.
    #[inline(always)]
    fn accumulate<S: Simd, const ROWS: usize, const PANELS: usize>(
        _sums: &mut [[Self::F32<S>; PANELS]; ROWS],
        _rows: [&[f32]; ROWS],
        _panels: [&[Self::Row<f32>]; PANELS],
    ) -> bool {
        false
    }
    /// [`Epilogue::write`] on f32, likewise.
    #[inline(always)]
    fn finish<S: Simd, const ROWS: usize, const PANELS: usize>(
        _epilogue: &Epilogue<'_, F32>,
        _sums: &[[Self::F32<S>; PANELS]; ROWS],
        _y: &mut [f32],
        _offsets: [usize; ROWS],
        _channels: Range<usize>,
    ) -> bool {
        false
    }
    /// All of `count` [`Rows`] of a product on f32, likewise.
    #[inline(always)]
    fn product(_rows: &mut Rows<'_, F32, Self>, _count: usize) -> bool {
        false
    }
    /// A whole convolution on f32, likewise; it needs the scratch memory of one that gathers.
    #[inline(always)]
    fn conv(_images: &mut Images<'_, F32, Self>) -> bool {
        false
    }
    /// A whole [`Depthwise`] on f32 whose slices fit, likewise.
    #[inline(always)]
    fn depthwise<W: Window>(_layer: &mut Depthwise<'_, F32, Self, W>) -> bool {
        false
    }
}

/// Panels of 4.
#[derive(Clone, Copy, Debug)]
pub struct N4;

/// Panels of 16.
#[derive(Clone, Copy, Debug)]
pub struct N16;

/// No panels, one channel after the other: pooling in the least code.
#[derive(Clone, Copy, Debug)]
pub struct N1;

impl Panel for N1 {
    const WIDTH: usize = 1;
    type Row<T: Copy + Default + 'static> = [T; 1];
    type F32<S: Simd> = Lanes<f32, 1>;
    type Lanes<S: Simd, T: Num> = Lanes<T, 1>;
    type Tiles<S: Simd> = Two;
    type OtherTiles<S: Simd> = Two;
    #[inline(always)]
    fn rows<T: Copy + Default + 'static>(panel: &[T]) -> &[[T; 1]] {
        panel.as_chunks().0
    }
}

impl Panel for N4 {
    const WIDTH: usize = 4;
    type Row<T: Copy + Default + 'static> = [T; 4];
    type F32<S: Simd> = S::F32x4;
    type Lanes<S: Simd, T: Num> = Lanes<T, 4>;
    type Tiles<S: Simd> = Four;
    type OtherTiles<S: Simd> = Four;
    #[inline(always)]
    fn rows<T: Copy + Default + 'static>(panel: &[T]) -> &[[T; 4]] {
        panel.as_chunks().0
    }
}

/// The first half of an [`N16`] panel, where the other one is padding.
#[derive(Clone, Copy, Debug)]
pub struct Half16;

impl Panel for Half16 {
    const WIDTH: usize = 8;
    const ROOM: bool = true;
    type Row<T: Copy + Default + 'static> = [T; 16];
    type F32<S: Simd> = S::F32x8;
    type Lanes<S: Simd, T: Num> = Lanes<T, 8>;
    type Tiles<S: Simd> = Halves;
    type OtherTiles<S: Simd> = Halves;
    #[inline(always)]
    fn rows<T: Copy + Default + 'static>(panel: &[T]) -> &[[T; 16]] {
        panel.as_chunks().0
    }
}

impl Panel for N16 {
    const WIDTH: usize = 16;
    const ROOM: bool = true;
    type Row<T: Copy + Default + 'static> = [T; 16];
    type F32<S: Simd> = S::F32x16;
    type Lanes<S: Simd, T: Num> = Lanes<T, 16>;
    type Tiles<S: Simd> = S::Tiles;
    type OtherTiles<S: Simd> = Four;
    #[inline(always)]
    fn rows<T: Copy + Default + 'static>(panel: &[T]) -> &[[T; 16]] {
        panel.as_chunks().0
    }
}

/// The token of [`Level::Portable`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Portable;

impl Simd for Portable {
    type F32 = Lanes<f32, 4>;
    type F32x4 = Lanes<f32, 4>;
    type F32x8 = Lanes<f32, 8>;
    type F32x16 = Lanes<f32, 16>;
    type Narrow = N4;
    type Tiles = Two;
    #[inline(always)]
    fn mul_add(self, a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
    #[inline(never)]
    fn outline<O: Op>(self, op: O) -> O::Output {
        op.call(self)
    }
}

/// Work that runs at any level.
pub trait Op {
    /// What it gives.
    type Output;
    /// Runs it; must be `#[inline(always)]`, as everything hot below it.
    fn call<S: Simd>(self, s: S) -> Self::Output;
}

/// Runs `op` with the instructions of `level`.
#[inline(always)]
pub fn dispatch<O: Op>(level: Level, op: O) -> O::Output {
    match level {
        Level::Portable => op.call(Portable),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => crate::arch::x86_64::avx2(op),
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => crate::arch::x86_64::avx512(op),
        #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
        Level::Neon => op.call(crate::arch::aarch64::Neon),
    }
}
