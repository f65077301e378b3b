//! x86-64: AVX2 with FMA, and AVX-512. Detection by `cpuid` and `xgetbv` from core, since the crate has no std; the answer is cached,
//! because `cpuid` traps in virtual machines.

use super::x86_dot4;
use crate::kernels::arith::Narrow;
use crate::kernels::dot4::depthwise::Taps;
use crate::kernels::dot4::{Part, Sums, WIDTH};
use crate::kernels::tile::{Eight, Six};
use crate::simd::{Half16, Level, N16, Op, Pair, Simd, Vector};
use core::arch::x86_64::*;
use core::sync::atomic::{AtomicU8, Ordering};
#[cfg(miri)]
use interpreted::{_mm512_cmp_ps_mask, _mm512_max_ps, _mm512_min_ps};

/// Token: AVX2 and FMA are there. Only [`avx2`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

impl Simd for Avx2 {
    type F32 = F32x8;
    type F32x4 = F32x4;
    type F32x8 = F32x8;
    type F32x16 = Pair<F32x8>;
    type Narrow = Half16;
    // 6 x 2 accumulators, 2 of weights, 1 splat of 16 registers; 12 x 8 and 4 x 24 are slower or spill.
    type Tiles = Six;
    #[inline(always)]
    fn mul_add(self, a: f32, b: f32, c: f32) -> f32 {
        // SAFETY: the token exists only where FMA was detected.
        unsafe { _mm_cvtss_f32(_mm_fmadd_ss(_mm_set_ss(a), _mm_set_ss(b), _mm_set_ss(c))) }
    }
    #[inline(always)]
    fn outline<O: Op>(self, op: O) -> O::Output {
        // SAFETY: the token exists only where AVX2 and FMA were detected.
        unsafe { apart(op) }
    }
    #[inline(always)]
    fn prefetch<T>(self, near: &[T], at: usize) {
        prefetch(near, at);
    }
    #[inline(always)]
    fn dot4<X: Narrow, const ROWS: usize, const PANELS: usize>(self, part: &Part<'_, X>) -> Sums<ROWS, PANELS> {
        // SAFETY: the token.
        unsafe { x86_dot4::sums_avx2(part) }
    }
    #[inline(always)]
    fn taps<X: Narrow, const OUTPUTS: usize>(self, taps: &Taps<'_, X>) -> [[i32; WIDTH]; OUTPUTS] {
        // SAFETY: the token.
        unsafe { x86_dot4::taps_avx2(taps) }
    }
}

/// Token: AVX-512 F, BW, DQ and VL are there, with all of [`Avx2`]. Only [`avx512`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Avx512(());

impl Simd for Avx512 {
    type F32 = F32x16;
    type F32x4 = F32x4;
    type F32x8 = F32x8;
    type F32x16 = F32x16;
    type Narrow = N16;
    // 8 x 2 accumulators, 2 of weights: 16 products for 10 loads.
    type Tiles = Eight;
    #[inline(always)]
    fn mul_add(self, a: f32, b: f32, c: f32) -> f32 {
        // SAFETY: the token exists only where FMA was detected.
        unsafe { _mm_cvtss_f32(_mm_fmadd_ss(_mm_set_ss(a), _mm_set_ss(b), _mm_set_ss(c))) }
    }
    #[inline(always)]
    fn outline<O: Op>(self, op: O) -> O::Output {
        // SAFETY: the token exists only where these instructions were detected.
        unsafe { apart_avx512(op) }
    }
    #[inline(always)]
    fn prefetch<T>(self, near: &[T], at: usize) {
        prefetch(near, at);
    }
    #[inline(always)]
    fn dot4<X: Narrow, const ROWS: usize, const PANELS: usize>(self, part: &Part<'_, X>) -> Sums<ROWS, PANELS> {
        x86_dot4::sums_avx512(part)
    }
    #[inline(always)]
    fn taps<X: Narrow, const OUTPUTS: usize>(self, taps: &Taps<'_, X>) -> [[i32; WIDTH]; OUTPUTS] {
        // SAFETY: the token; AVX-512 includes AVX2.
        unsafe { x86_dot4::taps_avx2(taps) }
    }
    #[inline(always)]
    fn high_products(self, a: &[i32; WIDTH], b: &[i32; WIDTH]) -> [i32; WIDTH] {
        // SAFETY: the token.
        unsafe { x86_dot4::high_products(a, b) }
    }
}

/// Into the second-level cache: the first one is full of what is used now.
#[inline(always)]
fn prefetch<T>(near: &[T], at: usize) {
    // SAFETY: SSE is part of x86-64; the instruction does nothing where there is no memory.
    unsafe { _mm_prefetch::<_MM_HINT_T1>(near.as_ptr().wrapping_add(at).cast()) }
}

/// Sixteen f32 in a register.
#[derive(Clone, Copy, Debug)]
pub struct F32x16(__m512);

/// Eight f32 in a register.
#[derive(Clone, Copy, Debug)]
pub struct F32x8(__m256);

/// Four f32 in a register.
#[derive(Clone, Copy, Debug)]
pub struct F32x4(__m128);

/// One vector type at one level: its token, register, lanes, the intrinsics by name, and how a slice shorter than the
/// register is read and written, NaN kept by `max`, and lanes above 0 chosen.
macro_rules! vector {
    ($token:ident $name:ident, $lanes:literal, $set1:ident $loadu:ident $storeu:ident $add:ident $sub:ident $mul:ident $div:ident $fmadd:ident
     $max:ident $min:ident $load_part:ident $store_part:ident $if_unordered:expr, $if_positive:expr) => {
        impl Vector<$token> for $name {
            type Elem = f32;
            const LANES: usize = $lanes;
            #[inline(always)]
            fn splat(_: $token, value: f32) -> Self {
                // SAFETY: the token exists only where its instructions were detected; so for every block of this type.
                $name(unsafe { $set1(value) })
            }
            #[inline(always)]
            fn load(s: $token, from: &[f32]) -> Self {
                if let Some(whole) = from.first_chunk::<$lanes>() {
                    // SAFETY: the array has as many elements as the register; unaligned loads are allowed.
                    return $name(unsafe { $loadu(whole.as_ptr()) });
                }
                // A masked load of nothing from an address that is not mapped, as that of an empty slice, is slow.
                if from.is_empty() {
                    return Self::splat(s, 0.0);
                }
                // SAFETY: the slice is shorter than the register.
                $name(unsafe { $load_part(from) })
            }
            #[inline(always)]
            fn store(self, _: $token, to: &mut [f32]) {
                if let Some(whole) = to.first_chunk_mut::<$lanes>() {
                    // SAFETY: the array has as many elements as the register; unaligned stores are allowed.
                    return unsafe { $storeu(whole.as_mut_ptr(), self.0) };
                }
                // SAFETY: the slice is shorter than the register.
                unsafe { $store_part(self.0, to) }
            }
            #[inline(always)]
            fn add(self, _: $token, other: Self) -> Self {
                // SAFETY: the token.
                $name(unsafe { $add(self.0, other.0) })
            }
            #[inline(always)]
            fn sub(self, _: $token, other: Self) -> Self {
                // SAFETY: the token.
                $name(unsafe { $sub(self.0, other.0) })
            }
            #[inline(always)]
            fn mul(self, _: $token, other: Self) -> Self {
                // SAFETY: the token.
                $name(unsafe { $mul(self.0, other.0) })
            }
            #[inline(always)]
            fn div(self, _: $token, other: Self) -> Self {
                // SAFETY: the token.
                $name(unsafe { $div(self.0, other.0) })
            }
            #[inline(always)]
            fn mul_add(self, _: $token, factor: Self, addend: Self) -> Self {
                // SAFETY: the token.
                $name(unsafe { $fmadd(self.0, factor.0, addend.0) })
            }
            #[inline(always)]
            fn max(self, _: $token, other: Self) -> Self {
                // SAFETY: the token. `max` gives the second operand if one is NaN, so only a NaN in `self` is lost.
                $name(unsafe { $if_unordered(self.0, self.0, $max(self.0, other.0)) })
            }
            #[inline(always)]
            fn clamp(self, _: $token, low: Self, high: Self) -> Self {
                // SAFETY: the token. `max` and `min` give the second operand if one is NaN: it stays.
                $name(unsafe { $min(high.0, $max(low.0, self.0)) })
            }
            #[inline(always)]
            fn leaky(self, _: $token, slope: Self) -> Self {
                // SAFETY: the token.
                $name(unsafe { $if_positive(self.0, self.0, $mul(self.0, slope.0)) })
            }
        }
    };
}
macro_rules! xmm {
    ($token:ident) => {
        vector!($token F32x4, 4, _mm_set1_ps _mm_loadu_ps _mm_storeu_ps _mm_add_ps _mm_sub_ps _mm_mul_ps _mm_div_ps _mm_fmadd_ps
            _mm_max_ps _mm_min_ps load_part4 store_part4
            (|x, yes, no| _mm_blendv_ps(no, yes, _mm_cmpunord_ps(x, x))),
            (|x, yes, no| _mm_blendv_ps(no, yes, _mm_cmpgt_ps(x, _mm_setzero_ps()))));
    };
}
xmm!(Avx2);
xmm!(Avx512);
macro_rules! ymm {
    ($token:ident) => {
        vector!($token F32x8, 8, _mm256_set1_ps _mm256_loadu_ps _mm256_storeu_ps _mm256_add_ps _mm256_sub_ps _mm256_mul_ps _mm256_div_ps _mm256_fmadd_ps
            _mm256_max_ps _mm256_min_ps load_part8 store_part8
            (|x, yes, no| _mm256_blendv_ps(no, yes, _mm256_cmp_ps::<_CMP_UNORD_Q>(x, x))),
            (|x, yes, no| _mm256_blendv_ps(no, yes, _mm256_cmp_ps::<_CMP_GT_OQ>(x, _mm256_setzero_ps()))));
    };
}
ymm!(Avx2);
ymm!(Avx512);
vector!(Avx512 F32x16, 16, _mm512_set1_ps _mm512_loadu_ps _mm512_storeu_ps _mm512_add_ps _mm512_sub_ps _mm512_mul_ps _mm512_div_ps _mm512_fmadd_ps
    _mm512_max_ps _mm512_min_ps load_part16 store_part16
    (|x, yes, no| _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x), no, yes)),
    (|x, yes, no| _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(x, _mm512_setzero_ps()), no, yes)));

/// What Miri has no instructions for, by halves.
#[cfg(miri)]
mod interpreted {
    use core::arch::x86_64::*;
    use core::mem::transmute;

    #[target_feature(enable = "avx512f")]
    pub fn _mm512_max_ps(a: __m512, b: __m512) -> __m512 {
        // SAFETY: a register is its halves.
        let ([a, c], [b, d]): ([__m256; 2], [__m256; 2]) = unsafe { (transmute(a), transmute(b)) };
        // SAFETY: as above.
        unsafe { transmute([_mm256_max_ps(a, b), _mm256_max_ps(c, d)]) }
    }

    #[target_feature(enable = "avx512f")]
    pub fn _mm512_min_ps(a: __m512, b: __m512) -> __m512 {
        // SAFETY: a register is its halves.
        let ([a, c], [b, d]): ([__m256; 2], [__m256; 2]) = unsafe { (transmute(a), transmute(b)) };
        // SAFETY: as above.
        unsafe { transmute([_mm256_min_ps(a, b), _mm256_min_ps(c, d)]) }
    }

    #[target_feature(enable = "avx512f")]
    pub fn _mm512_cmp_ps_mask<const HOW: i32>(a: __m512, b: __m512) -> __mmask16 {
        // SAFETY: a register is its halves.
        let ([a, c], [b, d]): ([__m256; 2], [__m256; 2]) = unsafe { (transmute(a), transmute(b)) };
        let halves =
            [_mm256_cmp_ps::<HOW>(a, b), _mm256_cmp_ps::<HOW>(c, d)].map(|half| _mm256_movemask_ps(half) as u16);
        halves[0] | halves[1] << 8
    }
}

/// # Safety
/// * The CPU has AVX, and `from` fewer than four elements.
#[inline(always)]
unsafe fn load_part4(from: &[f32]) -> __m128 {
    // SAFETY: only lanes below the length are read.
    unsafe {
        let mask = _mm_cmpgt_epi32(_mm_set1_epi32(from.len() as i32), _mm_setr_epi32(0, 1, 2, 3));
        _mm_maskload_ps(from.as_ptr(), mask)
    }
}

/// In halves: a masked store without AVX-512 is microcode on some CPUs.
///
/// # Safety
/// * `to` has fewer than four elements.
#[inline(always)]
unsafe fn store_part4(v: __m128, to: &mut [f32]) {
    let (v, rest) = match to.split_at_mut_checked(2) {
        Some((two, rest)) => {
            // SAFETY: SSE2 is part of x86-64; the slice has room for both lanes, wherever it lies.
            let high = unsafe {
                _mm_storel_epi64(two.as_mut_ptr().cast(), _mm_castps_si128(v));
                _mm_movehl_ps(v, v)
            };
            (high, rest)
        }
        None => (v, to),
    };
    if let Some(one) = rest.first_mut() {
        // SAFETY: SSE is part of x86-64.
        *one = unsafe { _mm_cvtss_f32(v) };
    }
}

/// # Safety
/// * The CPU has AVX2, and `from` fewer than eight elements.
#[inline(always)]
unsafe fn load_part8(from: &[f32]) -> __m256 {
    // SAFETY: only lanes below the length are read.
    unsafe {
        let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        let mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(from.len() as i32), lanes);
        _mm256_maskload_ps(from.as_ptr(), mask)
    }
}

/// # Safety
/// * The CPU has AVX, and `to` fewer than eight elements.
#[inline(always)]
unsafe fn store_part8(v: __m256, to: &mut [f32]) {
    // SAFETY: the slice split off has four elements, what follows fewer.
    unsafe {
        let low = _mm256_castps256_ps128(v);
        let Some((four, rest)) = to.split_at_mut_checked(4) else { return store_part4(low, to) };
        _mm_storeu_ps(four.as_mut_ptr(), low);
        store_part4(_mm256_extractf128_ps::<1>(v), rest);
    }
}

/// # Safety
/// * The CPU has AVX-512 F, and `from` fewer than sixteen elements.
#[inline(always)]
unsafe fn load_part16(from: &[f32]) -> __m512 {
    // SAFETY: only lanes below the length are read.
    unsafe { _mm512_maskz_loadu_ps(first(from.len()), from.as_ptr()) }
}

/// # Safety
/// * The CPU has AVX-512 F, and `to` fewer than sixteen elements.
#[inline(always)]
unsafe fn store_part16(v: __m512, to: &mut [f32]) {
    // SAFETY: only lanes below the length are written.
    unsafe { _mm512_mask_storeu_ps(to.as_mut_ptr(), first(to.len()), v) }
}

/// The first `count < 16` lanes.
#[inline(always)]
fn first(count: usize) -> __mmask16 {
    1u16.wrapping_shl(count as u32).wrapping_sub(1)
}

/// `sqrtss`; in a loop LLVM makes it a vector.
#[inline(always)]
pub fn sqrt32(x: f32) -> f32 {
    // SAFETY: SSE is part of x86-64.
    unsafe { _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))) }
}

/// `sqrtsd`.
#[inline(always)]
pub fn sqrt64(x: f64) -> f64 {
    // SAFETY: SSE2 is part of x86-64.
    unsafe { _mm_cvtsd_f64(_mm_sqrt_sd(_mm_set_sd(x), _mm_set_sd(x))) }
}

/// Runs `op` with AVX2 and FMA if the CPU has them, else portably: a forced level can never execute a missing instruction.
#[inline(always)]
pub fn avx2<O: Op>(op: O) -> O::Output {
    if detect() < Level::Avx2 {
        return op.call(crate::simd::Portable);
    }
    // SAFETY: `detect` found AVX2 and FMA, and the operating system saves the registers.
    unsafe { enter(op) }
}

/// # Safety
/// * The CPU has AVX2 and FMA, and the operating system saves their registers.
#[target_feature(enable = "avx2,fma")]
#[inline(never)]
unsafe fn enter<O: Op>(op: O) -> O::Output {
    op.call(Avx2(()))
}

/// [`enter`] that is never inlined: rustc 1.95 forgets `inline(never)` of functions with features of their own, and LLVM
/// cannot inline those here, where there are none.
///
/// # Safety
/// * As of [`enter`].
#[inline(never)]
unsafe fn apart<O: Op>(op: O) -> O::Output {
    // SAFETY: the caller's obligation.
    unsafe { enter(op) }
}

/// Runs `op` with AVX-512 if the CPU has it, else with the best that it has.
#[inline(always)]
pub fn avx512<O: Op>(op: O) -> O::Output {
    if detect() < Level::Avx512 {
        return avx2(op);
    }
    // SAFETY: `detect` found all of them, and the operating system saves the registers.
    unsafe { enter_avx512(op) }
}

/// # Safety
/// * The CPU has AVX2, FMA, AVX-512 F, BW, DQ and VL, and the operating system saves their registers.
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline(never)]
unsafe fn enter_avx512<O: Op>(op: O) -> O::Output {
    op.call(Avx512(()))
}

/// [`apart`] with AVX-512.
///
/// # Safety
/// * As of [`enter_avx512`].
#[inline(never)]
unsafe fn apart_avx512<O: Op>(op: O) -> O::Output {
    // SAFETY: the caller's obligation.
    unsafe { enter_avx512(op) }
}

/// What the program is compiled for (`-Ctarget-cpu`, `-Ctarget-feature`): no CPU that runs it has less.
const COMPILED_FOR: Level = if cfg!(all(
    target_feature = "fma",
    target_feature = "avx512f",
    target_feature = "avx512bw",
    target_feature = "avx512dq",
    target_feature = "avx512vl",
)) {
    Level::Avx512
} else if cfg!(all(target_feature = "avx2", target_feature = "fma")) {
    Level::Avx2
} else {
    Level::Portable
};

/// The best level of this CPU: what the program is compiled for, where that is the highest, else asked once.
#[inline]
pub fn detect() -> Level {
    if matches!(COMPILED_FOR, Level::Avx512) {
        return COMPILED_FOR;
    }
    static KNOWN: AtomicU8 = AtomicU8::new(0);
    match KNOWN.load(Ordering::Relaxed) {
        0 => {
            let level = ask().max(COMPILED_FOR);
            let code = match level {
                Level::Portable => 1,
                Level::Avx2 => 2,
                Level::Avx512 => 3,
            };
            KNOWN.store(code, Ordering::Relaxed);
            level
        }
        1 => Level::Portable,
        2 => Level::Avx2,
        _ => Level::Avx512,
    }
}

#[cold]
fn ask() -> Level {
    const OSXSAVE: u32 = 1 << 27;
    const AVX: u32 = 1 << 28;
    const FMA: u32 = 1 << 12;
    const AVX2: u32 = 1 << 5;
    const AVX512: u32 = 1 << 16 | 1 << 17 | 1 << 30 | 1 << 31; // F, DQ, BW, VL
    // What `xcr0` says is saved: SSE and AVX; masks and both parts of the wide registers.
    const YMM: u64 = 0b110;
    const ZMM: u64 = 0b1110_0000 | YMM;
    if cpuid(0).eax < 7 {
        return Level::Portable;
    }
    let need = OSXSAVE | AVX | FMA;
    let extended = cpuid(7).ebx;
    if cpuid(1).ecx & need != need || extended & AVX2 == 0 {
        return Level::Portable;
    }
    // SAFETY: OSXSAVE is set, so `xgetbv` exists.
    let saved = unsafe { xcr0() };
    if extended & AVX512 == AVX512 && saved & ZMM == ZMM {
        Level::Avx512
    } else if saved & YMM == YMM {
        Level::Avx2
    } else {
        Level::Portable
    }
}

/// Leaf 0, 1 or 7 (its first part) of `cpuid`. Newer compilers know that the intrinsic is safe.
#[allow(unused_unsafe)]
pub(super) fn cpuid(leaf: u32) -> CpuidResult {
    // SAFETY: every x86-64 CPU has the instruction; it only reads.
    unsafe { __cpuid_count(leaf, 0) }
}

/// # Safety
/// * The CPU has `xgetbv` (cpuid leaf 1, OSXSAVE).
#[target_feature(enable = "xsave")]
unsafe fn xcr0() -> u64 {
    // SAFETY: the caller's obligation.
    unsafe { _xgetbv(0) }
}
