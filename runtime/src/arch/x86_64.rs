//! x86-64: AVX2 with FMA. Detection by `cpuid` and `xgetbv` from core, since the crate has no std; the answer is cached,
//! because `cpuid` traps in virtual machines.

use crate::simd::{Level, Op, Simd};
use core::arch::x86_64::{__cpuid, __cpuid_count, _mm_cvtss_f32, _mm_fmadd_ss, _mm_set_ss, _xgetbv};
use core::sync::atomic::{AtomicU8, Ordering};

/// Token: AVX2 and FMA are there. Only [`avx2`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

impl Simd for Avx2 {
    #[inline(always)]
    fn mul_add(self, a: f32, b: f32, c: f32) -> f32 {
        // SAFETY: the token exists only where FMA was detected.
        unsafe { _mm_cvtss_f32(_mm_fmadd_ss(_mm_set_ss(a), _mm_set_ss(b), _mm_set_ss(c))) }
    }
}

/// Runs `op` with AVX2 and FMA if the CPU has them, else portably: a forced level can never execute a missing instruction.
#[inline(always)]
pub fn avx2<O: Op>(op: O) -> O::Output {
    #[target_feature(enable = "avx2,fma")]
    fn enter<O: Op>(op: O) -> O::Output {
        op.call(Avx2(()))
    }
    if detect() < Level::Avx2 {
        return op.call(crate::simd::Portable);
    }
    // SAFETY: `detect` found AVX2 and FMA, and the operating system saves the registers.
    unsafe { enter(op) }
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
    if __cpuid(0).eax < 7 {
        return Level::Portable;
    }
    let need = OSXSAVE | AVX | FMA;
    if __cpuid(1).ecx & need != need || __cpuid_count(7, 0).ebx & AVX2 == 0 {
        return Level::Portable;
    }
    // SAFETY: OSXSAVE is set, so `xgetbv` exists.
    let saved = unsafe { xcr0() };
    if saved & 6 == 6 { Level::Avx2 } else { Level::Portable }
}

/// # Safety
/// * The CPU has `xgetbv` (cpuid leaf 1, OSXSAVE).
#[target_feature(enable = "xsave")]
unsafe fn xcr0() -> u64 {
    // SAFETY: the caller's obligation.
    unsafe { _xgetbv(0) }
}
