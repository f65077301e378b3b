//! Vector table and reset code of the Cortex-M boards. Reset is assembly: no Rust may run before memory is set up.
use crate::fatal::faulted;

unsafe extern "C" {
    fn Reset() -> !;
    fn SysTick();
    static _stack_start: u32;
}

/// An entry of the vector table.
#[repr(C)]
union Vector {
    address: *const u32,
    reset: unsafe extern "C" fn() -> !,
    fault: extern "C" fn() -> !,
    handler: unsafe extern "C" fn(),
    reserved: usize,
}

// SAFETY: the table is never written.
unsafe impl Sync for Vector {}

const FAULT: Vector = Vector { fault: faulted };
const RESERVED: Vector = Vector { reserved: 0 };

#[used]
// SAFETY: the linker script places this section, and nothing else, where the core looks for its vectors.
#[unsafe(link_section = ".vector_table")]
static VECTORS: [Vector; 16] = [
    Vector { address: &raw const _stack_start },
    Vector { reset: Reset },
    FAULT, // NMI
    FAULT, // HardFault
    FAULT, // MemManage
    FAULT, // BusFault
    FAULT, // UsageFault
    FAULT, // SecureFault
    RESERVED,
    RESERVED,
    RESERVED,
    FAULT, // SVCall
    FAULT, // DebugMonitor
    RESERVED,
    FAULT, // PendSV
    Vector { handler: SysTick },
];

core::arch::global_asm!(
    ".section .text.Reset, \"ax\"",
    ".global Reset",
    ".type Reset, %function",
    ".thumb_func",
    "Reset:",
    // .data from flash
    "ldr r0, =__sdata",
    "ldr r1, =__edata",
    "ldr r2, =__sidata",
    "b 2f",
    "1: ldmia r2!, {{r3}}",
    "stmia r0!, {{r3}}",
    "2: cmp r0, r1",
    "bne 1b",
    // .bss to zero
    "ldr r0, =__sbss",
    "ldr r1, =__ebss",
    "movs r2, #0",
    "b 4f",
    "3: stmia r0!, {{r2}}",
    "4: cmp r0, r1",
    "bne 3b",
    "bl exported_board_fpu",
    "bl exported_board_main",
    "udf #0",
    ".ltorg",
    ".size Reset, . - Reset",
);

// Full access to coprocessors 10 and 11 (CPACR), before any function that saves floating-point registers.
#[cfg(target_abi = "eabihf")]
core::arch::global_asm!(
    ".section .text.exported_board_fpu, \"ax\"",
    ".global exported_board_fpu",
    ".thumb_func",
    "exported_board_fpu:",
    "ldr r0, =0xE000ED88",
    "ldr r1, [r0]",
    "ldr r2, =0x00F00000",
    "orrs r1, r2",
    "str r1, [r0]",
    "dsb",
    "isb",
    "bx lr",
    ".ltorg",
);

#[cfg(not(target_abi = "eabihf"))]
core::arch::global_asm!(
    ".section .text.exported_board_fpu, \"ax\"",
    ".global exported_board_fpu",
    ".thumb_func",
    "exported_board_fpu: bx lr",
);
