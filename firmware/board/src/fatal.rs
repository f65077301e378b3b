//! Panics and faults end the emulation with a status of their own. No formatting: an image that links `core::fmt` does so
//! because the program under test does.
use crate::{exit, print};
use core::panic::PanicInfo;

/// Exit status after a panic, as of a program on the host.
const PANICKED: u8 = 101;
/// Exit status after a processor fault.
const FAULTED: u8 = 102;

#[panic_handler]
fn panicked(info: &PanicInfo) -> ! {
    print("panicked at ");
    if let Some(place) = info.location() {
        print(place.file());
        print(":");
        print_number(place.line());
    }
    print("\n");
    exit(PANICKED)
}

/// Where every unexpected exception ends.
pub(crate) extern "C" fn faulted() -> ! {
    print("processor fault\n");
    exit(FAULTED)
}

fn print_number(number: u32) {
    if number > 9 {
        print_number(number / 10);
    }
    let digit = [b'0' + (number % 10) as u8];
    print(core::str::from_utf8(&digit).unwrap_or("?"));
}
