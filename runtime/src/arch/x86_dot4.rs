//! x86-64: products of four bytes added in one lane, by VNNI where the processor has it, else in two steps of AVX2.

use crate::kernels::arith::Narrow;
use crate::kernels::dot4::{Part, Sums, WIDTH};
use core::arch::x86_64::*;
use core::sync::atomic::{AtomicU8, Ordering};

/// Whether AVX-512 VNNI is there; asked once, where the program is not compiled for it, because `cpuid` traps in virtual machines.
#[inline(always)]
fn vnni() -> bool {
    if cfg!(target_feature = "avx512vnni") {
        return true;
    }
    static KNOWN: AtomicU8 = AtomicU8::new(0);
    match KNOWN.load(Ordering::Relaxed) {
        0 => {
            // Leaf 7 exists wherever AVX-512 does, which callers made sure of.
            let found = super::x86_64::cpuid(7).ecx & 1 << 11 != 0;
            KNOWN.store(1 + u8::from(found), Ordering::Relaxed);
            found
        }
        known => known == 2,
    }
}

/// The sums of a tile, where AVX-512 is there.
#[inline(always)]
pub(super) fn sums_avx512<X: Narrow, const ROWS: usize, const PANELS: usize>(part: &Part<'_, X>) -> Sums<ROWS, PANELS> {
    if vnni() {
        // SAFETY: VNNI was detected, the other features by the caller.
        unsafe { sums_vnni(part) }
    } else {
        // SAFETY: AVX-512 includes AVX2.
        unsafe { sums_avx2(part) }
    }
}

/// Four bytes as one number.
///
/// # Safety
/// They are there.
#[inline(always)]
unsafe fn word<X: Narrow>(x: *const X) -> i32 {
    const { assert!(size_of::<X>() == 1) };
    // SAFETY: the four are integers of 8 bits; byte by byte, LLVM would shift them together.
    unsafe { x.cast::<i32>().read_unaligned() }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn sums_vnni<X: Narrow, const ROWS: usize, const PANELS: usize>(part: &Part<'_, X>) -> Sums<ROWS, PANELS> {
    // Were its lanes known to be equal, LLVM would turn bits before they are spread, in other registers.
    let turn = core::hint::black_box(_mm512_set1_epi8(X::TURN as i8));
    let mut local = [[_mm512_setzero_si512(); PANELS]; ROWS];
    for line in part.lines {
        let Some(panels) = part.panels::<ROWS, PANELS>(line) else { break };
        let x = line.x.as_ptr();
        for k in 0..line.fours {
            let mut weights = [_mm512_setzero_si512(); PANELS];
            for p in 0..PANELS {
                // SAFETY: a panel has `fours` elements.
                weights[p] = unsafe { _mm512_loadu_si512(panels[p].as_ptr().add(k).cast()) };
            }
            for (i, sums) in local.iter_mut().enumerate() {
                // SAFETY: `panels` compared the length of the line with where the last row ends.
                let x = unsafe { word(x.add(i * part.step + 4 * k)) };
                let x = _mm512_xor_si512(_mm512_set1_epi32(x), turn);
                for p in 0..PANELS {
                    sums[p] = _mm512_dpbusd_epi32(sums[p], x, weights[p]);
                }
            }
        }
    }
    // SAFETY: a register of 512 bits is 16 numbers.
    unsafe { core::mem::transmute_copy(&local) }
}

/// Two rows at a time: products of 16-bit numbers, in pairs, for four channels in a register.
///
/// # Safety
/// AVX2 is there.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn sums_avx2<X: Narrow, const ROWS: usize, const PANELS: usize>(
    part: &Part<'_, X>,
) -> Sums<ROWS, PANELS> {
    let mut sums = [[[0; WIDTH]; PANELS]; ROWS];
    let turn = i32::from_ne_bytes([X::TURN; 4]);
    for p in 0..PANELS {
        let mut row = 0;
        while row < ROWS {
            let pair = [row, (row + 1).min(ROWS - 1)];
            let mut local = [[_mm256_setzero_si256(); 4]; 2];
            for line in part.lines {
                let Some(panels) = part.panels::<ROWS, PANELS>(line) else { break };
                for (k, weights) in panels[p].iter().enumerate() {
                    let mut x = [_mm256_setzero_si256(); 2];
                    for i in 0..2 {
                        // SAFETY: `panels` compared the length of the line with where the last row ends.
                        let four = unsafe { word(line.x.as_ptr().add(pair[i] * part.step + 4 * k)) };
                        x[i] = _mm256_cvtepu8_epi16(_mm_set1_epi32(four ^ turn));
                    }
                    for (j, weights) in weights.as_chunks::<WIDTH>().0.iter().enumerate() {
                        // SAFETY: 16 bytes are read from 16.
                        let weights = _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(weights.as_ptr().cast()) });
                        for i in 0..2 {
                            local[i][j] = _mm256_add_epi32(local[i][j], _mm256_madd_epi16(x[i], weights));
                        }
                    }
                }
            }
            for (row, [a, b, c, d]) in pair.into_iter().zip(local) {
                for (half, (low, high)) in [(a, b), (c, d)].into_iter().enumerate() {
                    let joined = _mm256_permute4x64_epi64::<0b1101_1000>(_mm256_hadd_epi32(low, high));
                    let to = &mut sums[row][p].as_chunks_mut::<8>().0[half];
                    // SAFETY: 8 numbers are written to 8.
                    unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), joined) }
                }
                if pair[0] == pair[1] {
                    break;
                }
            }
            row += 2;
        }
    }
    sums
}
