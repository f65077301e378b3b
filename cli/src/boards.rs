//! The emulated boards on which firmware runs: which target and which QEMU machine, and what a tick of the firmware's
//! counter is worth. The firmware side is the crate `exported-board`. `xtask` includes this file too.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

/// One emulated board.
#[derive(Debug)]
pub struct Board {
    /// What `--target` calls it.
    pub name: &'static str,
    /// The core, for people.
    pub core: &'static str,
    /// Target triple that the firmware is built for.
    pub target: &'static str,
    emulator: &'static str,
    machine: &'static [&'static str],
    /// Instructions per tick of `exported_board::ticks` under `-icount shift=0`, where an instruction takes 1 ns.
    pub instructions_per_tick: u64,
}

/// All boards that we verify on.
pub const BOARDS: &[Board] = &[
    Board {
        name: "m3",
        core: "Cortex-M3, soft float",
        target: "thumbv7m-none-eabi",
        emulator: "qemu-system-arm",
        machine: &["-M", "mps2-an385"],
        instructions_per_tick: 40,
    },
    Board {
        name: "m4f",
        core: "Cortex-M4F",
        target: "thumbv7em-none-eabihf",
        emulator: "qemu-system-arm",
        machine: &["-M", "mps2-an386"],
        instructions_per_tick: 40,
    },
    Board {
        name: "m7",
        core: "Cortex-M7",
        target: "thumbv7em-none-eabihf",
        emulator: "qemu-system-arm",
        machine: &["-M", "mps2-an500"],
        instructions_per_tick: 40,
    },
    Board {
        name: "m33",
        core: "Cortex-M33",
        target: "thumbv8m.main-none-eabihf",
        emulator: "qemu-system-arm",
        machine: &["-M", "mps2-an505"],
        instructions_per_tick: 50,
    },
    Board {
        name: "m0",
        core: "ARMv6-M code on a Cortex-M3",
        target: "thumbv6m-none-eabi",
        emulator: "qemu-system-arm",
        machine: &["-M", "mps2-an385"],
        instructions_per_tick: 40,
    },
    Board {
        name: "riscv32",
        core: "RV32IMAC",
        target: "riscv32imac-unknown-none-elf",
        emulator: "qemu-system-riscv32",
        machine: &["-M", "virt", "-bios", "none"],
        instructions_per_tick: 1,
    },
];

impl Board {
    /// The emulator, ready to run `image` in `folder`: files that the firmware opens are relative to it, its output and
    /// exit status become the emulator's.
    pub fn emulate(&self, image: &Path, folder: &Path) -> Command {
        let mut command = Command::new(self.emulator);
        command.current_dir(folder).args(self.machine);
        command.args(["-nographic", "-monitor", "none", "-serial", "none", "-icount", "shift=0"]);
        command.args(["-semihosting-config", "enable=on,target=native"]);
        command.arg("-kernel").arg(OsString::from(image));
        command
    }
}
