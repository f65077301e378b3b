//! x86-64: products of four bytes added in one lane, by VNNI where the processor has it, else in two steps of AVX2.

use crate::kernels::arith::Narrow;
use crate::kernels::dot4::depthwise::{self, Taps};
use crate::kernels::dot4::{Part, Sums, WIDTH};
use core::arch::x86_64::*;
use core::mem::MaybeUninit;
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
                let x = _mm512_set1_epi32(x);
                let x = if X::TURN == 0 { x } else { _mm512_xor_si512(x, turn) };
                for p in 0..PANELS {
                    sums[p] = _mm512_dpbusd_epi32(sums[p], x, weights[p]);
                }
            }
        }
    }
    // SAFETY: a register of 512 bits is 16 numbers.
    unsafe { core::mem::transmute_copy(&local) }
}

/// The upper halves of products, rounded to the nearest: of the even lanes and of the odd ones, which need no shuffle.
///
/// # Safety
/// AVX-512 F is there.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) unsafe fn high_products(a: &[i32; WIDTH], b: &[i32; WIDTH]) -> [i32; WIDTH] {
    // SAFETY: an array has as many numbers as the register.
    let (a, b) = unsafe { (_mm512_loadu_si512(a.as_ptr().cast()), _mm512_loadu_si512(b.as_ptr().cast())) };
    let half = _mm512_set1_epi64(1 << 31);
    let even = _mm512_add_epi64(_mm512_mul_epi32(a, b), half);
    let odd = _mm512_mul_epi32(_mm512_srli_epi64::<32>(a), _mm512_srli_epi64::<32>(b));
    let odd = _mm512_add_epi64(odd, half);
    let both = _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64::<32>(even), odd);
    // SAFETY: a register of 512 bits is 16 numbers.
    unsafe { core::mem::transmute(both) }
}

/// Rows of a block.
const TALL: usize = 4;

/// Numbers of a row that are wide at a time.
const ROOM: usize = 512;

/// Four rows at a time: products of 16-bit numbers, in pairs, for four channels in a register. Rows are widened once for all
/// channels.
///
/// # Safety
/// AVX2 is there.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn sums_avx2<X: Narrow, const ROWS: usize, const PANELS: usize>(
    part: &Part<'_, X>,
) -> Sums<ROWS, PANELS> {
    let mut sums = [[[0; WIDTH]; PANELS]; ROWS];
    let mut row = 0;
    while row < ROWS {
        // SAFETY: the caller's obligation.
        unsafe {
            if ROWS < TALL {
                block::<X, ROWS, PANELS, 1, 4, 1>(part, &mut sums, row);
                row += 1;
            } else {
                // The last rows begin early enough to be `TALL`: sums are written anew, not added to.
                block::<X, ROWS, PANELS, TALL, 2, 2>(part, &mut sums, row.min(ROWS.saturating_sub(TALL)));
                row += TALL;
            }
        }
    }
    sums
}

/// `R` rows from `row` times all panels, `Q` quarters of a panel at a time, of which it has `TIMES` such.
///
/// # Safety
/// AVX2 is there.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn block<
    X: Narrow,
    const ROWS: usize,
    const PANELS: usize,
    const R: usize,
    const Q: usize,
    const TIMES: usize,
>(
    part: &Part<'_, X>,
    sums: &mut Sums<ROWS, PANELS>,
    row: usize,
) {
    const { assert!(Q * TIMES == 4) };
    let mut local = [[[[_mm256_setzero_si256(); Q]; R]; TIMES]; PANELS];
    let mut wide = MaybeUninit::<[[i16; ROOM]; R]>::uninit();
    let wide = wide.as_mut_ptr().cast::<i16>();
    for line in part.lines {
        let Some(panels) = part.panels::<ROWS, PANELS>(line) else { break };
        let mut from = 0;
        while from < line.fours {
            let fours = (line.fours - from).min(ROOM / 4);
            // SAFETY: `panels` compared the length of the line with where the last row ends; `R` rows of `ROOM` fit. A panel has
            // `line.fours` elements.
            unsafe {
                let x = line.x.as_ptr().add(row * part.step + 4 * from);
                let pitch = widen_rows::<X, R>(x, part.step, wide, 4 * fours);
                for (local, panel) in local.iter_mut().zip(panels) {
                    for (i, local) in local.iter_mut().enumerate() {
                        let weights = panel.as_ptr().add(from).cast::<i8>().add(16 * Q * i);
                        multiply(local, wide, pitch, weights, fours);
                    }
                }
            }
            from += fours;
        }
    }
    for (p, local) in local.iter().enumerate() {
        for (i, sums) in sums.iter_mut().skip(row).take(R).enumerate() {
            for half in 0..2 {
                let [low, high] = [2 * half, 2 * half + 1].map(|quarter| local[quarter / Q][i][quarter % Q]);
                let joined = _mm256_permute4x64_epi64::<0b1101_1000>(_mm256_hadd_epi32(low, high));
                let to = &mut sums[p].as_chunks_mut::<8>().0[half];
                // SAFETY: 8 numbers are written to 8.
                unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), joined) }
            }
        }
    }
}

/// Adds products of rows, `pitch` apart, and `Q` quarters of a panel: each channel has two sums until the end.
///
/// # Safety
/// AVX2 is there, a row has `4 * fours` numbers, a panel `fours` elements.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn multiply<const R: usize, const Q: usize>(
    sums: &mut [[__m256i; Q]; R],
    x: *const i16,
    pitch: usize,
    weights: *const i8,
    fours: usize,
) {
    let mut local = *sums;
    for k in 0..fours {
        let mut wide = [_mm256_setzero_si256(); Q];
        for (j, wide) in wide.iter_mut().enumerate() {
            // SAFETY: an element of a panel has 64 bytes.
            *wide = _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(weights.add(4 * WIDTH * k + 16 * j).cast()) });
        }
        for (i, sums) in local.iter_mut().enumerate() {
            // SAFETY: the caller's obligation.
            let x = _mm256_set1_epi64x(unsafe { x.add(i * pitch + 4 * k).cast::<i64>().read_unaligned() });
            for (sum, wide) in sums.iter_mut().zip(&wide) {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(x, *wide));
            }
        }
    }
    *sums = local;
}

/// Widens `R` rows, `step` apart; the distance at which they then stand: rows that overlap still do.
///
/// # Safety
/// AVX2 is there; rows of `len` numbers are to be read, and as many to be written.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn widen_rows<X: Narrow, const R: usize>(x: *const X, step: usize, to: *mut i16, len: usize) -> usize {
    // SAFETY: the caller's obligation.
    unsafe {
        if step <= len {
            widen(x, to, (R - 1) * step + len);
            return step;
        }
        for i in 0..R {
            widen(x.add(i * step), to.add(i * len), len);
        }
    }
    len
}

/// Bytes as the unsigned ones that meet weights, in 16 bits each.
///
/// # Safety
/// AVX2 is there; so many are to be read and written, at least four.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn widen<X: Narrow>(from: *const X, to: *mut i16, len: usize) {
    let turn = _mm_set1_epi8(X::TURN as i8);
    let mut i = 0;
    while i < len {
        // The last ones begin early enough to be whole.
        // SAFETY: 16 are there, or four.
        unsafe {
            if len >= 16 {
                let at = i.min(len - 16);
                let bytes = _mm_xor_si128(_mm_loadu_si128(from.add(at).cast()), turn);
                _mm256_storeu_si256(to.add(at).cast(), _mm256_cvtepu8_epi16(bytes));
                i += 16;
            } else {
                let at = i.min(len - 4);
                let bytes = _mm_xor_si128(_mm_cvtsi32_si128(word(from.add(at))), turn);
                _mm_storel_epi64(to.add(at).cast(), _mm_cvtepu8_epi16(bytes));
                i += 4;
            }
        }
    }
}

/// The sums of a tile of a depthwise convolution: products of 16-bit numbers, of two taps in a pair.
///
/// # Safety
/// AVX2 is there.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn taps_avx2<X: Narrow, const OUTPUTS: usize>(taps: &Taps<'_, X>) -> [[i32; WIDTH]; OUTPUTS] {
    if !taps.is_whole(OUTPUTS) {
        return depthwise::sums(taps);
    }
    let mut sums = [[_mm256_setzero_si256(); 2]; OUTPUTS];
    for (i, pair) in taps.offsets.chunks(2).enumerate() {
        let [a, b] = [pair[0], pair[pair.len() - 1]];
        // SAFETY: `is_whole`: the slices reach to the last tap.
        let (x, weights) = unsafe {
            let row = taps.weights.as_ptr().add(2 * i * taps.blocks);
            let first = _mm_loadu_si128(row.cast());
            // A last tap without another meets 0 beside it.
            let second =
                if pair.len() == 2 { _mm_loadu_si128(row.add(taps.blocks).cast()) } else { _mm_setzero_si128() };
            (taps.x.as_ptr(), pairs::<i8>(first, second))
        };
        for (t, sums) in sums.iter_mut().enumerate() {
            // SAFETY: as above.
            let bytes = [a, b].map(|tap| unsafe { _mm_loadu_si128(x.add(tap + t * taps.step).cast()) });
            for (sum, (x, w)) in sums.iter_mut().zip(pairs::<X>(bytes[0], bytes[1]).into_iter().zip(weights)) {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(x, w));
            }
        }
    }
    // SAFETY: two registers of 256 bits are 16 numbers.
    unsafe { core::mem::transmute_copy(&sums) }
}

/// Bytes of two taps side by side, in 16 bits each: of the lower channels, of the upper ones.
#[target_feature(enable = "avx2")]
#[inline]
fn pairs<X: Narrow>(a: __m128i, b: __m128i) -> [__m256i; 2] {
    [_mm_unpacklo_epi8(a, b), _mm_unpackhi_epi8(a, b)].map(|bytes| match X::TURN {
        0 => _mm256_cvtepu8_epi16(bytes),
        _ => _mm256_cvtepi8_epi16(bytes),
    })
}
