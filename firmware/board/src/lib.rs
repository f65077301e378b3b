//! Start-up, semihosting and measurement for the boards that QEMU emulates and on which generated code is verified:
//! `mps2-an385` (Cortex-M3), `mps2-an386` (M4F), `mps2-an500` (M7), `mps2-an505` (M33), `mps3-an547` (M55) and riscv32 `virt`.
//!
//! ```ignore
//! #![no_std]
//! #![no_main]
//! exported_board::entry!(main);
//!
//! fn main() -> ! {
//!     exported_board::print("hello\n");
//!     exported_board::exit(0)
//! }
//! ```
//!
//! Link with `-Tboard.x`. Everything here talks to a debugger or an emulator: without one, a semihosting call faults.
//! It has no dependencies, so that a verification works offline and knows all code of the image; it holds every `unsafe`
//! that such a firmware needs.
#![no_std]

mod host;
mod measure;

#[cfg(feature = "rt")]
mod fatal;
#[cfg(all(feature = "rt", target_arch = "arm"))]
#[path = "start_arm.rs"]
mod start;
#[cfg(all(feature = "rt", target_arch = "riscv32"))]
#[path = "start_riscv.rs"]
mod start;

pub use host::{File, Stdout, exit, print};
pub use measure::{Footprint, footprint, paint_stack, stack_depth, stack_used, start_counting, stop_counting, ticks};

/// Names the function (`fn() -> !`) that runs after start-up.
#[cfg(feature = "rt")]
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        #[doc(hidden)]
        #[unsafe(export_name = "exported_board_main")]
        extern "C" fn exported_board_main() -> ! {
            let main: fn() -> ! = $main;
            main()
        }
    };
}
