//! AArch64: products of four bytes added in one lane, by `sdot` where the processor has it, else by `smull` and `sadalp`.
//! Both take signed bytes.

use crate::kernels::arith::Narrow;
use crate::kernels::dot4::{Part, Sums, WIDTH};
use core::arch::aarch64::*;
use core::arch::asm;

/// Registers of a row of one panel.
const SIDE: usize = WIDTH / 4;
/// Rows of one panel at a time: as many sums, a row of weights and as many inputs fit 32 registers.
const TALL: usize = 4;

/// Whether `sdot` is there: because the build's target has it, or, with the feature `std`, because the system says so. (The
/// register that tells is not for programs everywhere.)
#[inline(always)]
fn dotprod() -> bool {
    #[cfg(all(feature = "std", not(target_feature = "dotprod")))]
    return std::arch::is_aarch64_feature_detected!("dotprod");
    #[cfg(not(all(feature = "std", not(target_feature = "dotprod"))))]
    cfg!(target_feature = "dotprod")
}

/// The sums of a tile.
#[inline(always)]
pub(super) fn sums<X: Narrow, const ROWS: usize, const PANELS: usize>(part: &Part<'_, X>) -> Sums<ROWS, PANELS> {
    if dotprod() {
        // SAFETY: `sdot` is there.
        unsafe { sums_sdot(part) }
    } else {
        sums_smull(part)
    }
}

/// # Safety
/// * The processor has the dot product instructions.
#[target_feature(enable = "dotprod")]
unsafe fn sums_sdot<X: Narrow, const ROWS: usize, const PANELS: usize>(part: &Part<'_, X>) -> Sums<ROWS, PANELS> {
    let mut sums = [[[0; WIDTH]; PANELS]; ROWS];
    if ROWS < TALL {
        for row in 0..ROWS {
            // SAFETY: the caller's obligation.
            unsafe { block_sdot::<X, ROWS, PANELS, 1, PANELS>(part, &mut sums, row, 0) }
        }
        return sums;
    }
    for panel in 0..PANELS {
        let mut row = 0;
        while row < ROWS {
            // The last rows begin early enough to be `TALL`: sums are written anew, not added to.
            let first = row.min(ROWS - TALL);
            // SAFETY: the caller's obligation.
            unsafe { block_sdot::<X, ROWS, PANELS, TALL, 1>(part, &mut sums, first, panel) }
            row += TALL;
        }
    }
    sums
}

/// `R` rows from `row` times `P` panels from `panel`.
///
/// # Safety
/// * The processor has the dot product instructions.
#[target_feature(enable = "dotprod")]
#[inline]
unsafe fn block_sdot<X: Narrow, const ROWS: usize, const PANELS: usize, const R: usize, const P: usize>(
    part: &Part<'_, X>,
    sums: &mut Sums<ROWS, PANELS>,
    row: usize,
    panel: usize,
) {
    let mut local = [[[vdupq_n_s32(0); SIDE]; P]; R];
    for line in part.lines {
        let Some(panels) = part.panels::<ROWS, PANELS>(line) else { break };
        let x = line.x.as_ptr();
        let mut k = 0;
        // Sixteen bytes of each row, which meet four rows of weights by their lanes.
        while k + 4 <= line.fours {
            let mut rows = [vdupq_n_s8(0); R];
            for (i, bytes) in rows.iter_mut().enumerate() {
                // SAFETY: `panels` compared the length of the line with where the last row ends; sixteen bytes of it remain.
                *bytes = turned::<X>(unsafe { vld1q_s8(x.add((row + i) * part.step + 4 * k).cast()) });
            }
            // SAFETY: a panel has `fours` elements; the instructions are there.
            unsafe {
                step::<0, ROWS, PANELS, R, P>(&mut local, &rows, &panels, panel, k);
                step::<1, ROWS, PANELS, R, P>(&mut local, &rows, &panels, panel, k + 1);
                step::<2, ROWS, PANELS, R, P>(&mut local, &rows, &panels, panel, k + 2);
                step::<3, ROWS, PANELS, R, P>(&mut local, &rows, &panels, panel, k + 3);
            }
            k += 4;
        }
        while k < line.fours {
            let mut rows = [vdupq_n_s8(0); R];
            for (i, bytes) in rows.iter_mut().enumerate() {
                // SAFETY: as above; four bytes remain.
                let four = unsafe { word(x.add((row + i) * part.step + 4 * k)) };
                *bytes = turned::<X>(vreinterpretq_s8_s32(vdupq_n_s32(four)));
            }
            // SAFETY: as above.
            unsafe { step::<0, ROWS, PANELS, R, P>(&mut local, &rows, &panels, panel, k) }
            k += 1;
        }
    }
    for (i, local) in local.iter().enumerate() {
        for (p, local) in local.iter().enumerate() {
            for (lanes, to) in local.iter().zip(sums[row + i][panel + p].as_chunks_mut::<4>().0) {
                // SAFETY: four numbers are written to four.
                unsafe { vst1q_s32(to.as_mut_ptr(), *lanes) }
            }
        }
    }
}

/// Adds the products with element `k` of each panel: lane `LANE` of the rows.
///
/// # Safety
/// * The processor has the dot product instructions, and every panel an element `k`.
#[target_feature(enable = "dotprod")]
#[inline]
unsafe fn step<const LANE: i32, const ROWS: usize, const PANELS: usize, const R: usize, const P: usize>(
    sums: &mut [[[int32x4_t; SIDE]; P]; R],
    rows: &[int8x16_t; R],
    panels: &[&[[i8; 4 * WIDTH]]; PANELS],
    panel: usize,
    k: usize,
) {
    for p in 0..P {
        for j in 0..SIDE {
            // SAFETY: the element is there, of 64 bytes.
            let weights = unsafe { vld1q_s8(panels[panel + p].as_ptr().add(k).cast::<i8>().add(16 * j)) };
            for (sums, row) in sums.iter_mut().zip(rows) {
                // SAFETY: the instruction is there.
                unsafe { sdot::<LANE>(&mut sums[p][j], weights, *row) }
            }
        }
    }
}

/// `sdot` by lane; the intrinsic is not stable.
///
/// # Safety
/// * The processor has the instruction.
#[target_feature(enable = "dotprod")]
#[inline]
unsafe fn sdot<const LANE: i32>(sum: &mut int32x4_t, weights: int8x16_t, x: int8x16_t) {
    // SAFETY: it only reads and writes these registers.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {weights:v}.16b, {x:v}.4b[{LANE}]",
            sum = inout(vreg) *sum,
            weights = in(vreg) weights,
            x = in(vreg) x,
            LANE = const LANE,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
}

/// Two rows at a time: products of 16 bits, added in pairs, so each channel has two sums until the end.
#[inline(always)]
fn sums_smull<X: Narrow, const ROWS: usize, const PANELS: usize>(part: &Part<'_, X>) -> Sums<ROWS, PANELS> {
    let mut sums = [[[0; WIDTH]; PANELS]; ROWS];
    for panel in 0..PANELS {
        let mut row = 0;
        while row + 2 <= ROWS {
            block_smull::<X, ROWS, PANELS, 2>(part, &mut sums, row, panel);
            row += 2;
        }
        if row < ROWS {
            block_smull::<X, ROWS, PANELS, 1>(part, &mut sums, row, panel);
        }
    }
    sums
}

#[inline(always)]
fn block_smull<X: Narrow, const ROWS: usize, const PANELS: usize, const R: usize>(
    part: &Part<'_, X>,
    sums: &mut Sums<ROWS, PANELS>,
    row: usize,
    panel: usize,
) {
    // SAFETY: NEON is there, as the module's `cfg` says; so for every block of this function.
    let zero = unsafe { vdupq_n_s32(0) };
    let mut local = [[[zero; 2]; SIDE]; R];
    for line in part.lines {
        let Some(panels) = part.panels::<ROWS, PANELS>(line) else { break };
        for (k, weights) in panels[panel].iter().enumerate() {
            // SAFETY: NEON.
            let mut x = [unsafe { vdupq_n_s8(0) }; R];
            for (i, bytes) in x.iter_mut().enumerate() {
                // SAFETY: `panels` compared the length of the line with where the last row ends.
                let four = unsafe { word(line.x.as_ptr().add((row + i) * part.step + 4 * k)) };
                // SAFETY: NEON.
                *bytes = turned::<X>(unsafe { vreinterpretq_s8_s32(vdupq_n_s32(four)) });
            }
            for (j, weights) in weights.as_chunks::<16>().0.iter().enumerate() {
                // SAFETY: NEON; sixteen bytes are read from sixteen.
                unsafe {
                    let weights = vld1q_s8(weights.as_ptr());
                    for i in 0..R {
                        let [low, high] = &mut local[i][j];
                        *low = vpadalq_s16(*low, vmull_s8(vget_low_s8(weights), vget_low_s8(x[i])));
                        *high = vpadalq_s16(*high, vmull_high_s8(weights, x[i]));
                    }
                }
            }
        }
    }
    for (i, local) in local.iter().enumerate() {
        for ([low, high], to) in local.iter().zip(sums[row + i][panel].as_chunks_mut::<4>().0) {
            // SAFETY: NEON; four numbers are written to four.
            unsafe { vst1q_s32(to.as_mut_ptr(), vpaddq_s32(*low, *high)) }
        }
    }
}

/// Inputs as signed bytes: unsigned ones less 128.
#[inline(always)]
fn turned<X: Narrow>(x: int8x16_t) -> int8x16_t {
    // SAFETY: NEON.
    unsafe { veorq_s8(x, vdupq_n_s8((X::TURN ^ 0x80) as i8)) }
}

/// Four bytes as one number.
///
/// # Safety
/// * They are there.
#[inline(always)]
unsafe fn word<X: Narrow>(x: *const X) -> i32 {
    const { assert!(size_of::<X>() == 1) };
    // SAFETY: the four are integers of 8 bits.
    unsafe { x.cast::<i32>().read_unaligned() }
}
