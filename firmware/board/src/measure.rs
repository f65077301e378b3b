//! What a run cost: instructions, stack, and the sizes of the image.
//!
//! Under `-icount shift=0` the emulator lets virtual time pass by one nanosecond for each instruction, whatever the host's
//! load; a tick of the counter below is therefore an exact number of instructions. It says nothing about cycles.
use core::ptr::addr_of;

const PAINT: u32 = 0xA5C3_E1F7;
/// Stack below the caller of [`paint_stack`] that its own loop may be using.
const MARGIN: usize = 128;

unsafe extern "C" {
    static __vector_table: u32;
    static __sidata: u32;
    static __sdata: u32;
    static __edata: u32;
    static __sbss: u32;
    static __ebss: u32;
    static _stack_start: u32;
    static _stack_end: u32;
}

/// Sizes of the linked image, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Footprint {
    /// Code, constants (weights among them) and the initial values of `.data`.
    pub flash: usize,
    /// `.data` and `.bss`, without the stack.
    pub static_ram: usize,
}

/// The sizes of this image, from the linker's symbols.
pub fn footprint() -> Footprint {
    // Only addresses are taken, nothing is read.
    let data = addr_of!(__edata) as usize - addr_of!(__sdata) as usize;
    let bss = addr_of!(__ebss) as usize - addr_of!(__sbss) as usize;
    let load_end = addr_of!(__sidata) as usize + data;
    Footprint { flash: load_end - addr_of!(__vector_table) as usize, static_ram: data + bss }
}

/// Fills the unused stack with a pattern, for [`stack_used`] to find.
#[inline(never)]
pub fn paint_stack() {
    let mut word = addr_of!(_stack_end) as usize;
    let end = stack_pointer() - MARGIN;
    while word < end {
        // SAFETY: `[_stack_end, sp - MARGIN)` is memory the linker reserved for the stack and that no frame uses yet.
        unsafe { core::ptr::write_volatile(word as *mut u32, PAINT) };
        word += 4;
    }
}

/// Bytes from the top of the stack to the lowest word overwritten since [`paint_stack`]: what must be reserved, callers
/// included.
#[inline(never)]
pub fn stack_used() -> usize {
    let mut word = addr_of!(_stack_end) as usize;
    let top = addr_of!(_stack_start) as usize;
    // SAFETY: the words between `_stack_end` and `_stack_start` are readable memory, aligned by the linker script.
    while word < top && unsafe { core::ptr::read_volatile(word as *const u32) } == PAINT {
        word += 4;
    }
    top - word
}

/// Bytes of stack in use, the caller's included.
#[inline(never)]
pub fn stack_depth() -> usize {
    addr_of!(_stack_start) as usize - stack_pointer()
}

/// Where the emulator's plugin (`xtask/plugin/count.c`) starts to count: behind the call of this function.
#[inline(never)]
#[unsafe(export_name = "exported_board_start")]
pub extern "C" fn start_counting() {
    // SAFETY: does nothing. Its body differs from the one below, so that no linker merges the two.
    unsafe { core::arch::asm!("nop", options(nostack, preserves_flags)) }
}

/// Where the emulator's plugin stops to count.
#[inline(never)]
#[unsafe(export_name = "exported_board_stop")]
pub extern "C" fn stop_counting() {
    // SAFETY: does nothing.
    unsafe { core::arch::asm!("nop", "nop", options(nostack, preserves_flags)) }
}

fn stack_pointer() -> usize {
    let sp: usize;
    // SAFETY: copies a register.
    unsafe {
        #[cfg(target_arch = "arm")]
        core::arch::asm!("mov {}, sp", out(reg) sp, options(nomem, nostack, preserves_flags));
        #[cfg(target_arch = "riscv32")]
        core::arch::asm!("mv {}, sp", out(reg) sp, options(nomem, nostack, preserves_flags));
    }
    sp
}

/// Ticks since the first call, which starts the counter. Under `-icount shift=0` a tick is 40 instructions on the mps2
/// boards (SysTick at 25 MHz), 50 on `mps2-an505` (20 MHz), 31.25 on
/// `mps3-an547` (32 MHz), and 1 on riscv32 (`minstret`).
#[cfg(target_arch = "riscv32")]
pub fn ticks() -> u64 {
    loop {
        let (high, low, again): (u32, u32, u32);
        // SAFETY: reads counters, which machine mode may always do.
        unsafe {
            core::arch::asm!("csrr {}, minstreth", "csrr {}, minstret", "csrr {}, minstreth",
                out(reg) high, out(reg) low, out(reg) again, options(nostack));
        }
        if high == again {
            return u64::from(high) << 32 | u64::from(low);
        }
    }
}

#[cfg(target_arch = "arm")]
pub use systick::ticks;

#[cfg(target_arch = "arm")]
mod systick {
    //! SysTick has 24 bits; its interrupt counts the wraps.
    use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

    const CONTROL: *mut u32 = 0xE000_E010 as *mut u32;
    const RELOAD: *mut u32 = 0xE000_E014 as *mut u32;
    const CURRENT: *mut u32 = 0xE000_E018 as *mut u32;
    const MAX: u32 = 0xFF_FFFF;
    /// Core clock, interrupt, enable.
    const ON: u32 = 0b111;

    static WRAPS: AtomicU32 = AtomicU32::new(0);

    /// Ticks since the first call, which starts the counter. Under `-icount shift=0` a tick is 40 instructions on the
    /// mps2 boards (SysTick at 25 MHz), 50 on `mps2-an505` (20 MHz), 31.25
    /// on `mps3-an547` (32 MHz), and 1 on riscv32 (`minstret`).
    pub fn ticks() -> u64 {
        // SAFETY: SysTick's registers exist on every core of this crate, and only this module uses them.
        unsafe {
            if CONTROL.read_volatile() & 1 == 0 {
                RELOAD.write_volatile(MAX);
                CURRENT.write_volatile(0);
                CONTROL.write_volatile(ON);
                // Its first tick loads the reload value; until then zero would read as a whole period.
                while CURRENT.read_volatile() == 0 {}
            }
        }
        loop {
            let wraps = WRAPS.load(Relaxed);
            // SAFETY: as above.
            let left = unsafe { CURRENT.read_volatile() } & MAX;
            if wraps == WRAPS.load(Relaxed) {
                return (u64::from(wraps) << 24) + u64::from(MAX - left);
            }
        }
    }

    // SAFETY: the name is the one that the vector tables (ours and cortex-m-rt's) give the SysTick handler, and the
    // signature is that of a handler.
    #[unsafe(export_name = "SysTick")]
    extern "C" fn wrapped() {
        // Load and store, as ARMv6-M has no read-modify-write; only this handler writes.
        WRAPS.store(WRAPS.load(Relaxed).wrapping_add(1), Relaxed);
    }
}
