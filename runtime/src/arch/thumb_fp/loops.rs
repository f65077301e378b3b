//! The loops themselves, and their arguments.

use super::{Bounds, Four, Sums};
use core::arch::naked_asm;

/// Argument of the loops over four rows; the step in bytes. The assembly below reads it in this order.
#[repr(C)]
pub(super) struct Rows {
    pub(super) rows: [*const f32; 4],
    pub(super) panels: *const Four,
    pub(super) inner: usize,
    pub(super) y: *mut f32,
    pub(super) y_step: usize,
    pub(super) count: usize,
    /// What the sums of every panel begin with.
    pub(super) start: *const f32,
}

/// Argument of [`finish`]; steps in bytes. The assembly below reads it in this order.
#[repr(C)]
pub(super) struct Finish {
    pub(super) sums: *const Sums,
    pub(super) y: *mut f32,
    pub(super) bias: *const Four,
    pub(super) count: usize,
    pub(super) y_step: usize,
    pub(super) bias_step: usize,
    pub(super) bounds: Bounds,
}

/// Argument of the depthwise loops; steps in bytes, modulo 2^32. The assembly below reads it in this order.
#[repr(C)]
pub(super) struct Depthwise {
    pub(super) x: *const f32,
    pub(super) weights: *const Four,
    pub(super) x_tap: usize,
    pub(super) w_tap: usize,
    pub(super) x_row: usize,
    pub(super) w_row: usize,
    pub(super) y: *mut f32,
    pub(super) columns: usize,
    pub(super) rows: usize,
    pub(super) groups: usize,
    pub(super) zeros: *const [f32; 16],
    pub(super) add: usize,
    pub(super) x_block: usize,
    pub(super) w_block: usize,
    pub(super) x_pixel: usize,
    pub(super) y_pixel: usize,
    pub(super) pixels: usize,
}

/// The text of `acc[j] += x * w[j]`, registers by number.
macro_rules! fused {
    ($x:literal, $($acc:literal)*, $($w:literal)*) => {
        concat!($("vfma.f32 s", $acc, ", s", $x, ", s", $w, "\n"),*)
    };
}

/// As [`fused`], four products and then four sums, so that none waits for the one before it.
macro_rules! separate {
    ($p:literal $q:literal $r:literal $s:literal; $x:literal,
     $a:literal $b:literal $c:literal $d:literal, $i:literal $j:literal $k:literal $l:literal) => {
        concat!(
            "vmul.f32 s",
            $p,
            ", s",
            $x,
            ", s",
            $i,
            "\n",
            "vmul.f32 s",
            $q,
            ", s",
            $x,
            ", s",
            $j,
            "\n",
            "vmul.f32 s",
            $r,
            ", s",
            $x,
            ", s",
            $k,
            "\n",
            "vmul.f32 s",
            $s,
            ", s",
            $x,
            ", s",
            $l,
            "\n",
            "vadd.f32 s",
            $a,
            ", s",
            $a,
            ", s",
            $p,
            "\n",
            "vadd.f32 s",
            $b,
            ", s",
            $b,
            ", s",
            $q,
            "\n",
            "vadd.f32 s",
            $c,
            ", s",
            $c,
            ", s",
            $r,
            "\n",
            "vadd.f32 s",
            $d,
            ", s",
            $d,
            ", s",
            $s,
            "\n",
        )
    };
}

/// With temporaries in s12 to s15.
macro_rules! separate_low {
    ($($rest:tt)*) => { separate!(12 13 14 15; $($rest)*) };
}

/// With temporaries in s24 to s27.
macro_rules! separate_high {
    ($($rest:tt)*) => { separate!(24 25 26 27; $($rest)*) };
}

/// Sums of four rows in s16 to s31, two elements of each row in s0 to s7; a turn takes two of the inner dimension.
/// `$load` the weights of the first, `$reload` those of the second, in the registers named last.
macro_rules! four_rows {
    ($name:ident, $mac:ident, $load:literal, $reload:literal, $w:literal $v:literal $u:literal $t:literal) => {
        /// # Safety
        /// `inner` numbers are readable in each row, `count` times as many groups in `panels`, 16 numbers at `start`; `count`
        /// groups are writable in each of four rows of `y`. `count` is not 0.
        #[unsafe(naked)]
        pub(super) unsafe extern "C" fn $name(work: *const Rows) {
            naked_asm!(
                ".fpu fpv4-sp-d16",
                "push {{r4-r11}}",
                "vpush {{s16-s31}}",
                "ldmia r0, {{r1-r10}}",
                "1: vldmia r10, {{s16-s31}}",
                "lsrs r11, r6, #1",
                "beq 3f",
                "2:",
                "vldmia r1!, {{s0-s1}}",
                "vldmia r2!, {{s2-s3}}",
                "vldmia r3!, {{s4-s5}}",
                "vldmia r4!, {{s6-s7}}",
                $load,
                $mac!(0, 16 17 18 19, 8 9 10 11),
                $mac!(2, 20 21 22 23, 8 9 10 11),
                $mac!(4, 24 25 26 27, 8 9 10 11),
                $mac!(6, 28 29 30 31, 8 9 10 11),
                $reload,
                $mac!(1, 16 17 18 19, $w $v $u $t),
                $mac!(3, 20 21 22 23, $w $v $u $t),
                $mac!(5, 24 25 26 27, $w $v $u $t),
                $mac!(7, 28 29 30 31, $w $v $u $t),
                "subs r11, r11, #1",
                "bne 2b",
                "3: lsls r12, r6, #31",
                "beq 4f",
                "vldmia r1!, {{s0}}",
                "vldmia r2!, {{s2}}",
                "vldmia r3!, {{s4}}",
                "vldmia r4!, {{s6}}",
                "vldmia r5!, {{s8-s11}}",
                $mac!(0, 16 17 18 19, 8 9 10 11),
                $mac!(2, 20 21 22 23, 8 9 10 11),
                $mac!(4, 24 25 26 27, 8 9 10 11),
                $mac!(6, 28 29 30 31, 8 9 10 11),
                "4: vstmia r7, {{s16-s19}}",
                "add r12, r7, r8",
                "vstmia r12, {{s20-s23}}",
                "add r12, r12, r8",
                "vstmia r12, {{s24-s27}}",
                "add r12, r12, r8",
                "vstmia r12, {{s28-s31}}",
                // The next panel, with the rows from their beginning.
                "adds r7, r7, #16",
                "sub r1, r1, r6, lsl #2",
                "sub r2, r2, r6, lsl #2",
                "sub r3, r3, r6, lsl #2",
                "sub r4, r4, r6, lsl #2",
                "subs r9, r9, #1",
                "bne 1b",
                "vpop {{s16-s31}}",
                "pop {{r4-r11}}",
                "bx lr",
            )
        }
    };
}
four_rows!(four_rows_fused, fused, "vldmia r5!, {{s8-s15}}", "", 12 13 14 15);
four_rows!(four_rows_separate, separate_low, "vldmia r5!, {{s8-s11}}", "vldmia r5!, {{s8-s11}}", 8 9 10 11);

/// [`one_row`]: sums in s0 to s3; a turn takes eight of the inner dimension, sixteen weights per load.
macro_rules! one_row {
    ($name:ident, $mac:ident) => {
        /// # Safety
        /// `row` points to `count` readable numbers, `panel` to `count` groups of four.
        #[unsafe(naked)]
        pub(super) unsafe extern "C" fn $name(sums: *mut Sums, row: *const f32, panel: *const Four, count: usize) {
            naked_asm!(
                ".fpu fpv4-sp-d16",
                "vpush {{s16-s27}}",
                "vldmia r0, {{s0-s3}}",
                "lsrs r12, r3, #3",
                "beq 3f",
                "2:",
                ".rept 2",
                "vldmia r1!, {{s4-s7}}",
                "vldmia r2!, {{s8-s23}}",
                $mac!(4, 0 1 2 3, 8 9 10 11),
                $mac!(5, 0 1 2 3, 12 13 14 15),
                $mac!(6, 0 1 2 3, 16 17 18 19),
                $mac!(7, 0 1 2 3, 20 21 22 23),
                ".endr",
                "subs r12, r12, #1",
                "bne 2b",
                "3: ands r3, r3, #7",
                "beq 5f",
                "4:",
                "vldmia r1!, {{s4}}",
                "vldmia r2!, {{s8-s11}}",
                $mac!(4, 0 1 2 3, 8 9 10 11),
                "subs r3, r3, #1",
                "bne 4b",
                "5: vstmia r0, {{s0-s3}}",
                "vpop {{s16-s27}}",
                "bx lr",
            )
        }
    };
}
one_row!(one_row_fused, fused);
one_row!(one_row_separate, separate_high);

/// `acc[i] += x[i] * w[i]`, sums from s16 or s24 on, weights in s0 to s7, input in s8 to s15.
macro_rules! lanes_fused {
    ($($acc:literal $x:literal $w:literal),*) => {
        concat!($("vfma.f32 s", $acc, ", s", $x, ", s", $w, "\n"),*)
    };
}

/// As [`lanes_fused`]; the products replace the input.
macro_rules! lanes_separate {
    ($($acc:literal $x:literal $w:literal),*) => {
        concat!(
            $("vmul.f32 s", $x, ", s", $x, ", s", $w, "\n",)*
            $("vadd.f32 s", $acc, ", s", $acc, ", s", $x, "\n"),*
        )
    };
}

/// [`depthwise`]: of each pixel, sixteen channels at a time through all taps, then four. A pixel begins with what the argument
/// holds, where input and output are moved on.
macro_rules! depthwise {
    ($name:ident, $mac:ident) => {
        /// # Safety
        /// Of every pixel, all taps' groups are readable in `x` and `weights`, and `groups` of `y` writable; `rows`, `columns`
        /// and `pixels` are not 0.
        #[unsafe(naked)]
        pub(super) unsafe extern "C" fn $name(work: *mut Depthwise) {
            naked_asm!(
                ".fpu fpv4-sp-d16",
                "push {{r4-r11, lr}}",
                "vpush {{s16-s31}}",
                "0: ldmia r0, {{r1, r2, r5-r12}}",
                "subs r12, r12, #4",
                "blt 6f",
                // Sixteen channels.
                "1: ldrd r3, r4, [r0, #40]",
                "cbz r4, 2f",
                "mov r3, r9",
                "2: vldmia r3, {{s16-s31}}",
                "mov r4, r11",
                "3: mov r3, r10",
                "4:",
                "vldmia r2!, {{s0-s7}}",
                "vldmia r1!, {{s8-s15}}",
                $mac!(16 8 0, 17 9 1, 18 10 2, 19 11 3, 20 12 4, 21 13 5, 22 14 6, 23 15 7),
                "vldmia r2, {{s0-s7}}",
                "vldmia r1, {{s8-s15}}",
                $mac!(24 8 0, 25 9 1, 26 10 2, 27 11 3, 28 12 4, 29 13 5, 30 14 6, 31 15 7),
                "add r1, r1, r5",
                "add r2, r2, r6",
                "subs r3, r3, #1",
                "bne 4b",
                "add r1, r1, r7",
                "add r2, r2, r8",
                "subs r4, r4, #1",
                "bne 3b",
                "vstmia r9!, {{s16-s31}}",
                "ldrd r3, r4, [r0, #48]",
                "add r1, r1, r3",
                "add r2, r2, r4",
                "subs r12, r12, #4",
                "bge 1b",
                // Four, with steps from where their loads begin.
                "6: adds r12, r12, #4",
                "beq 8f",
                "adds r5, r5, #32",
                "adds r6, r6, #32",
                "7: ldrd r3, r4, [r0, #40]",
                "cbz r4, 2f",
                "mov r3, r9",
                "2: vldmia r3, {{s16-s19}}",
                "mov r4, r11",
                "3: mov r3, r10",
                "4:",
                "vldmia r2, {{s0-s3}}",
                "vldmia r1, {{s8-s11}}",
                $mac!(16 8 0, 17 9 1, 18 10 2, 19 11 3),
                "add r1, r1, r5",
                "add r2, r2, r6",
                "subs r3, r3, #1",
                "bne 4b",
                "add r1, r1, r7",
                "add r2, r2, r8",
                "subs r4, r4, #1",
                "bne 3b",
                "vstmia r9!, {{s16-s19}}",
                "ldrd r3, r4, [r0, #48]",
                "sub r3, r3, #48",
                "sub r4, r4, #48",
                "add r1, r1, r3",
                "add r2, r2, r4",
                "subs r12, r12, #1",
                "bne 7b",
                // The next pixel.
                "8: ldr r1, [r0]",
                "ldr r2, [r0, #24]",
                "ldrd r3, r4, [r0, #56]",
                "ldr r5, [r0, #64]",
                "add r1, r1, r3",
                "add r2, r2, r4",
                "str r1, [r0]",
                "str r2, [r0, #24]",
                "subs r5, r5, #1",
                "str r5, [r0, #64]",
                "bne 0b",
                "vpop {{s16-s31}}",
                "pop {{r4-r11, pc}}",
            )
        }
    };
}
depthwise!(depthwise_fused, lanes_fused);
depthwise!(depthwise_separate, lanes_separate);

/// `$s` becomes `$bound` if the comparison says so; false for NaN.
macro_rules! bound {
    ($bound:literal $when:literal: $($s:literal)*) => {
        concat!($("vcmp.f32 s", $s, ", ", $bound, "\nvmrs APSR_nzcv, FPSCR\nit ", $when, "\nvmov", $when, ".f32 s", $s, ", ", $bound, "\n"),*)
    };
}

/// Adds bias and old output, applies the bounds, writes; a group of four per turn.
///
/// # Safety
/// `count` is not 0; that many groups of four are readable at `sums`, at `bias` by its step, and writable at `y` by its step.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn finish(work: *const Finish) {
    naked_asm!(
        ".fpu fpv4-sp-d16",
        "push {{r4-r9}}",
        "ldmia r0!, {{r1-r4, r8, r9}}",
        "vldmia r0!, {{s8-s9}}",
        "ldrb r5, [r0]",
        "ldrb r6, [r0, #1]",
        "ldrb r7, [r0, #2]",
        // Most layers raise to 0 and do nothing else: a loop without a question.
        "orrs r12, r6, r7",
        "bne 1f",
        "cbz r5, 1f",
        "0: vldmia r1!, {{s0-s3}}",
        "vldmia r3, {{s4-s7}}",
        "add r3, r3, r9",
        "vadd.f32 s0, s0, s4",
        "vadd.f32 s1, s1, s5",
        "vadd.f32 s2, s2, s6",
        "vadd.f32 s3, s3, s7",
        bound!("s8" "mi": 0 1 2 3),
        "vstmia r2, {{s0-s3}}",
        "add r2, r2, r8",
        "subs r4, r4, #1",
        "bne 0b",
        "b 5f",
        "1: vldmia r1!, {{s0-s3}}",
        "vldmia r3, {{s4-s7}}",
        "add r3, r3, r9",
        "vadd.f32 s0, s0, s4",
        "vadd.f32 s1, s1, s5",
        "vadd.f32 s2, s2, s6",
        "vadd.f32 s3, s3, s7",
        "cbz r7, 2f",
        "vldmia r2, {{s4-s7}}",
        "vadd.f32 s0, s0, s4",
        "vadd.f32 s1, s1, s5",
        "vadd.f32 s2, s2, s6",
        "vadd.f32 s3, s3, s7",
        "2: cbz r5, 3f",
        // Negative only if less: what is not ordered stays.
        bound!("s8" "mi": 0 1 2 3),
        "3: cbz r6, 4f",
        bound!("s9" "gt": 0 1 2 3),
        "4: vstmia r2, {{s0-s3}}",
        "add r2, r2, r8",
        "subs r4, r4, #1",
        "bne 1b",
        "5: pop {{r4-r9}}",
        "bx lr",
    )
}

/// Steps in bytes.
///
/// # Safety
/// `taps` times `channels` numbers, at least one, are readable at `x` by these steps, and writable at `to`.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn copy_apart(
    x: *const f32,
    to: *mut f32,
    channels: usize,
    taps: usize,
    tap: usize,
    channel: usize,
) {
    naked_asm!(
        "push {{r4-r7}}",
        "ldrd r4, r5, [sp, #16]",
        "1: mov r6, r0",
        "mov r12, r2",
        "2: ldr r7, [r6]",
        "add r6, r6, r5",
        "str r7, [r1], #4",
        "subs r12, r12, #1",
        "bne 2b",
        "add r0, r0, r4",
        "subs r3, r3, #1",
        "bne 1b",
        "pop {{r4-r7}}",
        "bx lr",
    )
}
