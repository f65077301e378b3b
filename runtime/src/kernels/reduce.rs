//! Reductions of `x: [outer, n, inner]` over its middle dim to `y: [outer, inner]`.
//!
//! A reduction is a [`Rule`]; two drivers apply one: along a contiguous row into 16 partial results, or down the columns of
//! a slab, 16 at a time. Both add up blocks of steps, blocks of blocks, and then the total, so that the rounding error of a
//! sum is about that of torch's cascade; the order depends on the sizes only, so all levels give the same bits.

use super::num::{Float, Number, Real, Wide, holds};
use crate::{Element, N16, Op, Simd, Vector};

/// Partial results kept side by side.
pub(crate) const LANES: usize = 16;
/// Steps between two additions to a subtotal, and subtotals' additions between two to the total.
const BLOCK: usize = 16;

/// How elements of type `T` combine.
pub trait Rule<T: Number>: Copy {
    /// A partial result.
    type Acc: Copy;
    /// What is stored.
    type Out: Element;
    /// Of nothing.
    fn start(self) -> Self::Acc;
    /// With one more element, the `k`th along the reduced dim.
    fn step<S: Simd>(self, s: S, acc: Self::Acc, x: T, k: usize) -> Self::Acc;
    /// [`Rule::step`] of every lane with its own rule. The lanes' elements are `stride` apart along the reduced dim.
    #[inline(always)]
    fn step_all<S: Simd>(
        rules: &[Self; LANES],
        s: S,
        acc: &mut [Self::Acc; LANES],
        x: &[T; LANES],
        k: usize,
        stride: usize,
    ) {
        for (lane, ((a, &v), rule)) in acc.iter_mut().zip(x).zip(rules).enumerate() {
            *a = rule.step(s, *a, v, k + lane * stride);
        }
    }
    /// Of two disjoint sets.
    fn join(self, a: Self::Acc, b: Self::Acc) -> Self::Acc;
    /// The result over `n` elements.
    fn finish<S: Simd>(self, s: S, acc: Self::Acc, n: usize) -> Self::Out;
}

/// `acc = step(acc, x)` in registers.
#[inline(always)]
fn in_registers<T: Number, S: Simd>(
    s: S,
    acc: &mut [T::Wide; LANES],
    x: &[T; LANES],
    step: impl Fn(Lanes<T, S>, Lanes<T, S>) -> Lanes<T, S>,
) {
    let mut room = [T::Wide::ZERO; LANES];
    let x = Lanes::<T, S>::load(s, T::widen_all(x, &mut room));
    step(Lanes::<T, S>::load(s, acc), x).store(s, acc);
}

/// [`LANES`] partial results in registers.
type Lanes<T, S> = <<T as Number>::Wide as Wide>::Row<S, N16>;

/// Reduces one contiguous row.
#[inline(always)]
pub(crate) fn row<T: Number, R: Rule<T>, S: Simd>(s: S, rule: R, x: &[T]) -> R::Acc {
    let mut total = [rule.start(); LANES];
    let mut k = 0;
    for blocks in x.chunks(LANES * BLOCK * BLOCK) {
        let mut subtotal = [rule.start(); LANES];
        for block in blocks.chunks(LANES * BLOCK) {
            let mut acc = [rule.start(); LANES];
            let (whole, rest) = block.as_chunks::<LANES>();
            for chunk in whole {
                R::step_all(&[rule; LANES], s, &mut acc, chunk, k, 1);
                k += LANES;
            }
            for (lane, (a, &v)) in acc.iter_mut().zip(rest).enumerate() {
                *a = rule.step(s, *a, v, k + lane);
            }
            join_all(&[rule; LANES], &mut subtotal, &acc);
        }
        join_all(&[rule; LANES], &mut total, &subtotal);
    }
    fold(rule, total)
}

/// Reduces up to [`LANES`] columns of a slab of rows of `inner` elements, beginning with column `first`; lane `i` has its
/// own rule.
#[inline(always)]
pub(crate) fn columns<T: Number, R: Rule<T>, S: Simd>(
    s: S,
    rules: &[R; LANES],
    slab: &[T],
    inner: usize,
    first: usize,
) -> [R::Acc; LANES] {
    let inner = inner.max(1);
    let mut total = rules.map(|rule| rule.start());
    let mut k = 0;
    for blocks in slab.chunks(inner.saturating_mul(BLOCK * BLOCK).max(1)) {
        let mut subtotal = rules.map(|rule| rule.start());
        for block in blocks.chunks(inner.saturating_mul(BLOCK).max(1)) {
            let mut acc = rules.map(|rule| rule.start());
            for line in block.chunks_exact(inner) {
                let line = line.get(first..).unwrap_or_default();
                if let Some(line) = line.first_chunk::<LANES>() {
                    R::step_all(rules, s, &mut acc, line, k, 0);
                } else {
                    for ((a, &v), rule) in acc.iter_mut().zip(line).zip(rules) {
                        *a = rule.step(s, *a, v, k);
                    }
                }
                k += 1;
            }
            join_all(rules, &mut subtotal, &acc);
        }
        join_all(rules, &mut total, &subtotal);
    }
    total
}

#[inline(always)]
fn join_all<T: Number, R: Rule<T>>(rules: &[R; LANES], total: &mut [R::Acc; LANES], acc: &[R::Acc; LANES]) {
    for ((t, &a), rule) in total.iter_mut().zip(acc).zip(rules) {
        *t = rule.join(*t, a);
    }
}

/// Folds the lanes in halves.
#[inline(always)]
fn fold<T: Number, R: Rule<T>>(rule: R, mut lanes: [R::Acc; LANES]) -> R::Acc {
    let mut width = LANES / 2;
    while width > 0 {
        let (low, high) = lanes.split_at_mut(width.min(LANES));
        for (a, &b) in low.iter_mut().zip(high.iter()) {
            *a = rule.join(*a, b);
        }
        width /= 2;
    }
    let [first, ..] = lanes;
    first
}

/// Checks the sizes and runs one driver over the whole.
#[inline(always)]
fn reduce<T: Number, R: Rule<T>, S: Simd>(s: S, rule: R, x: &[T], y: &mut [R::Out], dims: [usize; 3]) {
    let [outer, n, inner] = dims;
    if !holds(x.len(), &dims) || !holds(y.len(), &[outer, inner]) {
        return;
    }
    if x.is_empty() {
        for y in y {
            *y = rule.finish(s, rule.start(), n);
        }
    } else if inner == 1 {
        for (y, x) in y.iter_mut().zip(x.chunks_exact(n.max(1))) {
            *y = rule.finish(s, row(s, rule, x), n);
        }
    } else {
        let slabs = x.chunks_exact(n.max(1).saturating_mul(inner));
        for (y, slab) in y.chunks_exact_mut(inner.max(1)).zip(slabs) {
            for (j, y) in y.chunks_mut(LANES).enumerate() {
                let acc = columns(s, &[rule; LANES], slab, inner, j * LANES);
                for (y, a) in y.iter_mut().zip(acc) {
                    *y = rule.finish(s, a, n);
                }
            }
        }
    }
}

macro_rules! kernels {
    ($($(#[$doc:meta])* $name:ident: $rule:ident, $bound:ident, $out:ty;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name<'a, T: $bound> {
            /// `[outer, n, inner]`.
            pub x: &'a [T],
            /// `[outer, inner]`.
            pub y: &'a mut [$out],
            /// Dims before the reduced one.
            pub outer: usize,
            /// The reduced dim.
            pub n: usize,
            /// Dims after it.
            pub inner: usize,
        }

        impl<T: $bound> Op for $name<'_, T> {
            type Output = ();
            #[inline(always)]
            fn call<S: Simd>(self, s: S) {
                reduce(s, $rule, self.x, self.y, [self.outer, self.n, self.inner]);
            }
        }
    )*};
}

kernels! {
    /// Sum; integers wrap and give i64.
    Sum: SumRule, Number, T::Wide;
    /// Sum of floats, rounded once to the element type.
    FloatSum: FloatSumRule, Float, T;
    /// Product; integers wrap and give i64.
    Prod: ProdRule, Number, T::Wide;
    /// Product of floats, rounded once to the element type.
    FloatProd: FloatProdRule, Float, T;
    /// Mean; NaN of nothing.
    Mean: MeanRule, Float, T;
    /// Maximum; NaN wins.
    Max: MaxRule, Number, T;
    /// Minimum; NaN wins.
    Min: MinRule, Number, T;
    /// 1 if any element is nonzero (NaN is).
    Any: AnyRule, Number, u8;
    /// 1 if all elements are nonzero.
    All: AllRule, Number, u8;
    /// Index of the first maximum; the first NaN counts as one.
    ArgMax: ArgMaxRule, Number, i64;
    /// Index of the first minimum; the first NaN counts as one.
    ArgMin: ArgMinRule, Number, i64;
    /// Number of nonzero elements as a float: the 0-norm.
    Norm0: Norm0Rule, Float, T;
    /// Sum of magnitudes.
    Norm1: Norm1Rule, Float, T;
    /// Root of the sum of squares.
    Norm2: Norm2Rule, Float, T;
    /// Greatest magnitude.
    NormInf: NormInfRule, Float, T;
    /// Least magnitude.
    NormNegInf: NormNegInfRule, Float, T;
}

macro_rules! rules {
    ($($name:ident<$bound:ident>: $acc:ty => $out:ty, $start:expr,
        |$a:pat_param, $x:pat_param, $k:pat_param| $step:expr, |$p:pat_param, $q:pat_param| $join:expr, |$r:pat_param, $n:pat_param| $finish:expr $(, $method:ident)?;)*) => {$(
        #[derive(Clone, Copy)]
        struct $name;
        impl<T: $bound> Rule<T> for $name {
            type Acc = $acc;
            type Out = $out;
            #[inline(always)]
            fn start(self) -> $acc {
                $start
            }
            #[inline(always)]
            fn step<S: Simd>(self, _s: S, $a: $acc, $x: T, $k: usize) -> $acc {
                $step
            }
            $(
                #[inline(always)]
                fn step_all<S: Simd>(_: &[Self; LANES], s: S, acc: &mut [$acc; LANES], x: &[T; LANES], _: usize, _: usize) {
                    in_registers(s, acc, x, |a, x| a.$method(s, x));
                }
            )?
            #[inline(always)]
            fn join(self, $p: $acc, $q: $acc) -> $acc {
                $join
            }
            #[inline(always)]
            fn finish<S: Simd>(self, _s: S, $r: $acc, $n: usize) -> $out {
                $finish
            }
        }
    )*};
}

rules! {
    SumRule<Number>: T::Wide => T::Wide, T::Wide::ZERO, |a, x, _| a.add(x.widen()), |a, b| a.add(b), |a, _| a, add;
    FloatSumRule<Float>: T::Wide => T, T::Wide::ZERO, |a, x, _| a.add(x.widen()), |a, b| a.add(b), |a, _| T::narrow(a), add;
    ProdRule<Number>: T::Wide => T::Wide, T::Wide::ONE, |a, x, _| a.mul(x.widen()), |a, b| a.mul(b), |a, _| a, mul;
    FloatProdRule<Float>: T::Wide => T, T::Wide::ONE, |a, x, _| a.mul(x.widen()), |a, b| a.mul(b), |a, _| T::narrow(a), mul;
    MeanRule<Float>: T::Wide => T, T::Wide::ZERO, |a, x, _| a.add(x.widen()), |a, b| a.add(b),
        |a, n| T::narrow(a.div(T::Wide::from_usize(n))), add;
    MaxRule<Number>: T::Wide => T, T::Wide::LOWEST, |a, x, _| a.max(x.widen()), |a, b| a.max(b), |a, _| T::narrow(a), max;
    MinRule<Number>: T::Wide => T, T::Wide::HIGHEST, |a, x, _| a.min(x.widen()), |a, b| a.min(b), |a, _| T::narrow(a);
    AnyRule<Number>: bool => u8, false, |a, x, _| a | (x.widen() != T::Wide::ZERO), |a, b| a | b, |a, _| u8::from(a);
    AllRule<Number>: bool => u8, true, |a, x, _| a & (x.widen() != T::Wide::ZERO), |a, b| a & b, |a, _| u8::from(a);
    Norm0Rule<Float>: usize => T, 0, |a, x, _| a + usize::from(x.widen() != T::Wide::ZERO), |a, b| a + b,
        |a, _| T::narrow(T::Wide::from_usize(a));
    Norm1Rule<Float>: T::Wide => T, T::Wide::ZERO, |a, x, _| a.add(x.widen().abs()), |a, b| a.add(b), |a, _| T::narrow(a);
    Norm2Rule<Float>: T::Wide => T, T::Wide::ZERO, |a, x, _| a.add(x.widen().mul(x.widen())), |a, b| a.add(b),
        |a, _| T::narrow(a.sqrt());
    NormInfRule<Float>: T::Wide => T, T::Wide::ZERO, |a, x, _| a.max(x.widen().abs()), |a, b| a.max(b), |a, _| T::narrow(a);
    NormNegInfRule<Float>: T::Wide => T, T::Wide::HIGHEST, |a, x, _| a.min(x.widen().abs()), |a, b| a.min(b), |a, _| T::narrow(a);
    ArgMaxRule<Number>: Best<T::Wide> => i64, None, |a, x, k| better(a, (x.widen(), k), T::Wide::above),
        |a, b| best(a, b, T::Wide::above), |a, _| a.map_or(0, |(_, k)| k as i64);
    ArgMinRule<Number>: Best<T::Wide> => i64, None, |a, x, k| better(a, (x.widen(), k), below),
        |a, b| best(a, b, below), |a, _| a.map_or(0, |(_, k)| k as i64);
}

/// The winner so far and where it stood.
type Best<W> = Option<(W, usize)>;

#[inline(always)]
fn below<W: Wide>(a: W, b: W) -> bool {
    a < b || (a.is_nan() && !b.is_nan())
}

#[inline(always)]
fn better<W: Wide>(best: Best<W>, new: (W, usize), wins: fn(W, W) -> bool) -> Best<W> {
    match best {
        Some(old) if !(wins(new.0, old.0) || (!wins(old.0, new.0) && new.1 < old.1)) => Some(old),
        _ => Some(new),
    }
}

#[inline(always)]
fn best<W: Wide>(a: Best<W>, b: Best<W>, wins: fn(W, W) -> bool) -> Best<W> {
    match b {
        Some(b) => better(a, b, wins),
        None => a,
    }
}

/// p-norm for any p: `sum(|x|^p)^(1/p)`.
#[derive(Debug)]
pub struct NormP<'a, T: Float> {
    /// `[outer, n, inner]`.
    pub x: &'a [T],
    /// `[outer, inner]`.
    pub y: &'a mut [T],
    /// Dims before the reduced one.
    pub outer: usize,
    /// The reduced dim.
    pub n: usize,
    /// Dims after it.
    pub inner: usize,
    /// The exponent; neither 0 nor infinite.
    pub p: f64,
}

impl<T: Float> Op for NormP<'_, T> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        let p = T::Wide::from_f64(self.p);
        let root = T::Wide::from_f64(1.0 / self.p);
        reduce(s, NormPRule { p, root }, self.x, self.y, [self.outer, self.n, self.inner]);
    }
}

#[derive(Clone, Copy)]
struct NormPRule<W> {
    p: W,
    root: W,
}

impl<T: Float> Rule<T> for NormPRule<T::Wide> {
    type Acc = T::Wide;
    type Out = T;
    #[inline(always)]
    fn start(self) -> T::Wide {
        T::Wide::ZERO
    }
    #[inline(always)]
    fn step<S: Simd>(self, s: S, acc: T::Wide, x: T, _k: usize) -> T::Wide {
        acc.add(x.widen().abs().powf(s, self.p))
    }
    #[inline(always)]
    fn join(self, a: T::Wide, b: T::Wide) -> T::Wide {
        a.add(b)
    }
    #[inline(always)]
    fn finish<S: Simd>(self, s: S, acc: T::Wide, _n: usize) -> T {
        T::narrow(acc.powf(s, self.root))
    }
}

/// Variance, or standard deviation, in two passes: the mean, then the squared distances from it.
#[derive(Debug)]
pub struct Var<'a, T: Float> {
    /// `[outer, n, inner]`.
    pub x: &'a [T],
    /// `[outer, inner]`.
    pub y: &'a mut [T],
    /// Dims before the reduced one.
    pub outer: usize,
    /// The reduced dim.
    pub n: usize,
    /// Dims after it.
    pub inner: usize,
    /// Subtracted from `n` in the divisor, which is never below 0.
    pub correction: f64,
    /// Whether to take the root.
    pub root: bool,
}

impl<T: Float> Op for Var<'_, T> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        let count = T::Wide::from_usize(self.n);
        let left = self.n as f64 - self.correction;
        let divisor = T::Wide::from_f64(if left > 0.0 { left } else { 0.0 });
        let finish = |squares: T::Wide| {
            let var = squares.div(divisor);
            T::narrow(if self.root { var.sqrt() } else { var })
        };
        let sum = [WideSum; LANES];
        two_passes(
            [self.outer, self.n, self.inner],
            self.x,
            self.y,
            |x| {
                let mean = row(s, WideSum, x).div(count);
                finish(row(s, Distance(mean), x))
            },
            |slab, first| {
                let means = columns(s, &sum, slab, self.inner, first).map(|a| Distance(a.div(count)));
                columns(s, &means, slab, self.inner, first).map(finish)
            },
        );
    }
}

/// `log(sum(exp(x)))`, shifted by the maximum.
#[derive(Debug)]
pub struct LogSumExp<'a, T: Float> {
    /// `[outer, n, inner]`.
    pub x: &'a [T],
    /// `[outer, inner]`.
    pub y: &'a mut [T],
    /// Dims before the reduced one.
    pub outer: usize,
    /// The reduced dim.
    pub n: usize,
    /// Dims after it.
    pub inner: usize,
}

impl<T: Float> Op for LogSumExp<'_, T> {
    type Output = ();
    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        // As torch: an infinite maximum is not subtracted, infinity minus itself would be NaN.
        let shift = |max: T::Wide| if max.is_finite() { max } else { T::Wide::ZERO };
        two_passes(
            [self.outer, self.n, self.inner],
            self.x,
            self.y,
            |x| {
                let max = shift(row(s, WideMax, x));
                T::narrow(row(s, ExpSum(max), x).ln(s).add(max))
            },
            |slab, first| {
                let max = columns(s, &[WideMax; LANES], slab, self.inner, first).map(shift);
                let mut sums = columns(s, &max.map(ExpSum), slab, self.inner, first);
                for (sum, max) in sums.iter_mut().zip(max) {
                    *sum = sum.ln(s).add(max);
                }
                sums.map(T::narrow)
            },
        );
    }
}

/// Runs a reduction that reads its operand more than once.
#[inline(always)]
fn two_passes<T: Float>(
    dims: [usize; 3],
    x: &[T],
    y: &mut [T],
    by_row: impl Fn(&[T]) -> T,
    by_column: impl Fn(&[T], usize) -> [T; LANES],
) {
    let [outer, n, inner] = dims;
    if !holds(x.len(), &dims) || !holds(y.len(), &[outer, inner]) {
        return;
    }
    if x.is_empty() {
        y.fill(by_row(&[]));
    } else if inner == 1 {
        for (y, x) in y.iter_mut().zip(x.chunks_exact(n.max(1))) {
            *y = by_row(x);
        }
    } else {
        let slabs = x.chunks_exact(n.max(1).saturating_mul(inner));
        for (y, slab) in y.chunks_exact_mut(inner.max(1)).zip(slabs) {
            for (j, y) in y.chunks_mut(LANES).enumerate() {
                for (y, value) in y.iter_mut().zip(by_column(slab, j * LANES)) {
                    *y = value;
                }
            }
        }
    }
}

macro_rules! wide_rules {
    ($($(#[$doc:meta])* $name:ident($field:ident), $start:ident, |$s:ident, $a:ident, $x:ident| $step:expr, $join:ident $(, $vector:expr)?;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(crate) struct $name<W>(pub(crate) W);
        impl<T: Float> Rule<T> for $name<T::Wide> {
            type Acc = T::Wide;
            type Out = T::Wide;
            #[inline(always)]
            fn start(self) -> T::Wide {
                T::Wide::$start
            }
            #[inline(always)]
            fn step<S: Simd>(self, $s: S, $a: T::Wide, x: T, _k: usize) -> T::Wide {
                let $field = self.0;
                let $x = x.widen();
                $step
            }
            $(
                #[inline(always)]
                fn step_all<S: Simd>(
                    rules: &[Self; LANES],
                    s: S,
                    acc: &mut [T::Wide; LANES],
                    x: &[T; LANES],
                    _: usize,
                    _: usize,
                ) {
                    let own = Lanes::<T, S>::load(s, &rules.map(|rule| rule.0));
                    in_registers(s, acc, x, |a, x| {
                        let step: fn(S, Lanes<T, S>, Lanes<T, S>, Lanes<T, S>) -> Lanes<T, S> = $vector;
                        step(s, a, x, own)
                    });
                }
            )?
            #[inline(always)]
            fn join(self, a: T::Wide, b: T::Wide) -> T::Wide {
                a.$join(b)
            }
            #[inline(always)]
            fn finish<S: Simd>(self, _s: S, acc: T::Wide, _n: usize) -> T::Wide {
                acc
            }
        }
    )*};
}

wide_rules! {
    /// Sum of squared distances from a mean.
    Distance(mean), ZERO, |_s, a, x| { let d = x.sub(mean); a.add(d.mul(d)) }, add,
        |s, a, x, mean| { let d = x.sub(s, mean); a.add(s, d.mul(s, d)) };
    /// Sum of `exp(x - shift)`.
    ExpSum(shift), ZERO, |s, a, x| a.add(x.sub(shift).exp(s)), add;
}

macro_rules! plain_wide_rules {
    ($($(#[$doc:meta])* $name:ident: $start:ident, $op:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(crate) struct $name;
        impl<T: Float> Rule<T> for $name {
            type Acc = T::Wide;
            type Out = T::Wide;
            #[inline(always)]
            fn start(self) -> T::Wide {
                T::Wide::$start
            }
            #[inline(always)]
            fn step<S: Simd>(self, _s: S, acc: T::Wide, x: T, _k: usize) -> T::Wide {
                acc.$op(x.widen())
            }
            #[inline(always)]
            fn step_all<S: Simd>(_: &[Self; LANES], s: S, acc: &mut [T::Wide; LANES], x: &[T; LANES], _: usize, _: usize) {
                in_registers(s, acc, x, |a, x| a.$op(s, x));
            }
            #[inline(always)]
            fn join(self, a: T::Wide, b: T::Wide) -> T::Wide {
                a.$op(b)
            }
            #[inline(always)]
            fn finish<S: Simd>(self, _s: S, acc: T::Wide, _n: usize) -> T::Wide {
                acc
            }
        }
    )*};
}

plain_wide_rules! {
    /// Sum, kept wide.
    WideSum: ZERO, add;
    /// Maximum, kept wide.
    WideMax: LOWEST, max;
}
