//! Reset code of the riscv32 board: machine mode, one hart, traps end the program.
use crate::fatal::faulted;

core::arch::global_asm!(
    ".section .vector_table, \"ax\"",
    ".global Reset",
    "Reset:",
    "la sp, _stack_start",
    "la t0, exported_board_trap",
    "csrw mtvec, t0",
    "csrw mcountinhibit, zero",
    // .data from where it was loaded
    "la t0, __sdata",
    "la t1, __edata",
    "la t2, __sidata",
    "j 2f",
    "1: lw t3, 0(t2)",
    "sw t3, 0(t0)",
    "addi t0, t0, 4",
    "addi t2, t2, 4",
    "2: bne t0, t1, 1b",
    // .bss to zero
    "la t0, __sbss",
    "la t1, __ebss",
    "j 4f",
    "3: sw zero, 0(t0)",
    "addi t0, t0, 4",
    "4: bne t0, t1, 3b",
    // `tail`, not `j`, which reaches no further than a megabyte of code.
    "tail exported_board_main",
    // mtvec wants four-byte alignment, which a function with compressed instructions does not promise.
    ".balign 4",
    "exported_board_trap: tail {fault}",
    fault = sym faulted,
);
