//! x86-64: AVX2 with FMA. Detection by `cpuid` and `xgetbv` from core, since the crate has no std; the answer is cached,
//! because `cpuid` traps in virtual machines.

use crate::simd::{Level, Op, Pair, Simd, Vector};
use core::arch::x86_64::*;
use core::sync::atomic::{AtomicU8, Ordering};

/// Token: AVX2 and FMA are there. Only [`avx2`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

impl Simd for Avx2 {
    type F32 = F32x8;
    type F32x4 = F32x4;
    type F32x16 = Pair<F32x8>;
    // 6 x 2 accumulators, 2 of weights, 1 splat of 16 registers; 12 x 8 and 4 x 24 are slower or spill.
    const TILE_ROWS: usize = 6;
    #[inline(always)]
    fn mul_add(self, a: f32, b: f32, c: f32) -> f32 {
        // SAFETY: the token exists only where FMA was detected.
        unsafe { _mm_cvtss_f32(_mm_fmadd_ss(_mm_set_ss(a), _mm_set_ss(b), _mm_set_ss(c))) }
    }
    #[inline(always)]
    fn outline<O: Op>(self, op: O) -> O::Output {
        // SAFETY: the token exists only where AVX2 and FMA were detected.
        unsafe { enter(op) }
    }
}

/// Eight f32 in a register.
#[derive(Clone, Copy, Debug)]
pub struct F32x8(__m256);

/// Four f32 in a register.
#[derive(Clone, Copy, Debug)]
pub struct F32x4(__m128);

/// One vector type: its register, lanes, and the intrinsics by name.
macro_rules! vector {
    ($name:ident, $lanes:literal, $set1:ident $loadu:ident $storeu:ident $add:ident $sub:ident $mul:ident $div:ident $fmadd:ident
     $max:ident $min:ident $unordered:expr, $positive:expr, $blendv:ident) => {
        impl Vector<Avx2> for $name {
            type Elem = f32;
            const LANES: usize = $lanes;
            #[inline(always)]
            fn splat(_: Avx2, value: f32) -> Self {
                // SAFETY: the token exists only where AVX2 and FMA were detected; so for every block of this type.
                $name(unsafe { $set1(value) })
            }
            #[inline(always)]
            fn load(_: Avx2, from: &[f32]) -> Self {
                if let Some(whole) = from.first_chunk::<$lanes>() {
                    // SAFETY: the array has as many elements as the register; unaligned loads are allowed.
                    return $name(unsafe { $loadu(whole.as_ptr()) });
                }
                let mut part = [0.0; $lanes];
                for (lane, value) in part.iter_mut().zip(from) {
                    *lane = *value;
                }
                // SAFETY: as above.
                $name(unsafe { $loadu(part.as_ptr()) })
            }
            #[inline(always)]
            fn store(self, _: Avx2, to: &mut [f32]) {
                if let Some(whole) = to.first_chunk_mut::<$lanes>() {
                    // SAFETY: the array has as many elements as the register; unaligned stores are allowed.
                    return unsafe { $storeu(whole.as_mut_ptr(), self.0) };
                }
                let mut part = [0.0; $lanes];
                // SAFETY: as above.
                unsafe { $storeu(part.as_mut_ptr(), self.0) };
                for (value, lane) in to.iter_mut().zip(part) {
                    *value = lane;
                }
            }
            #[inline(always)]
            fn add(self, _: Avx2, other: Self) -> Self {
                // SAFETY: the token.
                $name(unsafe { $add(self.0, other.0) })
            }
            #[inline(always)]
            fn sub(self, _: Avx2, other: Self) -> Self {
                // SAFETY: the token.
                $name(unsafe { $sub(self.0, other.0) })
            }
            #[inline(always)]
            fn mul(self, _: Avx2, other: Self) -> Self {
                // SAFETY: the token.
                $name(unsafe { $mul(self.0, other.0) })
            }
            #[inline(always)]
            fn div(self, _: Avx2, other: Self) -> Self {
                // SAFETY: the token.
                $name(unsafe { $div(self.0, other.0) })
            }
            #[inline(always)]
            fn mul_add(self, _: Avx2, factor: Self, addend: Self) -> Self {
                // SAFETY: the token.
                $name(unsafe { $fmadd(self.0, factor.0, addend.0) })
            }
            #[inline(always)]
            fn max(self, _: Avx2, other: Self) -> Self {
                // SAFETY: the token. `max` gives the second operand if one is NaN, so only a NaN in `self` is lost.
                $name(unsafe { $blendv($max(self.0, other.0), self.0, $unordered(self.0)) })
            }
            #[inline(always)]
            fn clamp(self, _: Avx2, low: Self, high: Self) -> Self {
                // SAFETY: the token. `max` and `min` give the second operand if one is NaN: it stays.
                $name(unsafe { $min(high.0, $max(low.0, self.0)) })
            }
            #[inline(always)]
            fn leaky(self, _: Avx2, slope: Self) -> Self {
                // SAFETY: the token.
                $name(unsafe { $blendv($mul(self.0, slope.0), self.0, $positive(self.0)) })
            }
        }
    };
}
vector!(F32x8, 8, _mm256_set1_ps _mm256_loadu_ps _mm256_storeu_ps _mm256_add_ps _mm256_sub_ps _mm256_mul_ps _mm256_div_ps _mm256_fmadd_ps
    _mm256_max_ps _mm256_min_ps (|x| _mm256_cmp_ps::<_CMP_UNORD_Q>(x, x)),
    (|x| _mm256_cmp_ps::<_CMP_GT_OQ>(x, _mm256_setzero_ps())), _mm256_blendv_ps);
vector!(F32x4, 4, _mm_set1_ps _mm_loadu_ps _mm_storeu_ps _mm_add_ps _mm_sub_ps _mm_mul_ps _mm_div_ps _mm_fmadd_ps
    _mm_max_ps _mm_min_ps (|x| _mm_cmpunord_ps(x, x)),
    (|x| _mm_cmpgt_ps(x, _mm_setzero_ps())), _mm_blendv_ps);

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

/// The best level of this CPU, asked once.
#[inline]
pub fn detect() -> Level {
    static KNOWN: AtomicU8 = AtomicU8::new(0);
    match KNOWN.load(Ordering::Relaxed) {
        0 => {
            let level = ask();
            KNOWN.store(1 + u8::from(level == Level::Avx2), Ordering::Relaxed);
            level
        }
        1 => Level::Portable,
        _ => Level::Avx2,
    }
}

#[cold]
fn ask() -> Level {
    const OSXSAVE: u32 = 1 << 27;
    const AVX: u32 = 1 << 28;
    const FMA: u32 = 1 << 12;
    const AVX2: u32 = 1 << 5;
    if cpuid(0).eax < 7 {
        return Level::Portable;
    }
    let need = OSXSAVE | AVX | FMA;
    if cpuid(1).ecx & need != need || cpuid(7).ebx & AVX2 == 0 {
        return Level::Portable;
    }
    // SAFETY: OSXSAVE is set, so `xgetbv` exists.
    let saved = unsafe { xcr0() };
    if saved & 6 == 6 { Level::Avx2 } else { Level::Portable }
}

/// Leaf 0, 1 or 7 (its first part) of `cpuid`. Newer compilers know that the intrinsic is safe.
#[allow(unused_unsafe)]
fn cpuid(leaf: u32) -> CpuidResult {
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
