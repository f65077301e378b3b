//! Where programs run besides this machine. The emulated boards on which firmware runs: which target and which QEMU machine,
//! and what a tick of the firmware's counter is worth; the firmware side is the crate `exported-board`. And other processors
//! under this operating system, whose programs QEMU runs as processes. `xtask` includes this file too.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

/// One emulated board.
#[derive(Debug, Clone)]
pub struct Board {
    /// What `--target` calls it.
    pub name: &'static str,
    /// The core, for people.
    pub core: &'static str,
    /// Target triple that the firmware is built for.
    pub target: &'static str,
    emulator: &'static str,
    /// The package of Debian that has the emulator.
    package: &'static str,
    machine: &'static [&'static str],
    /// The core as the compiler calls it, where it has instructions that the triple does not promise.
    pub cpu: Option<&'static str>,
    /// Its memory map in `exported-board`, for the environment variable `EXPORTED_BOARD`; the triple alone does not tell.
    pub memory: &'static str,
    /// Bytes of flash.
    pub flash: usize,
    /// Ticks per second of `exported_board::ticks`; under `-icount shift=0` an instruction takes 1 ns.
    ticks_per_second: u64,
}

/// All boards that we verify on.
pub const BOARDS: &[Board] = &[
    Board {
        name: "m3",
        core: "Cortex-M3, soft float",
        target: "thumbv7m-none-eabi",
        emulator: "qemu-system-arm",
        package: "qemu-system-arm",
        machine: &["-M", "mps2-an385"],
        cpu: None,
        memory: "mps2",
        flash: 4 << 20,
        ticks_per_second: 25_000_000,
    },
    Board {
        name: "m4f",
        core: "Cortex-M4F",
        target: "thumbv7em-none-eabihf",
        emulator: "qemu-system-arm",
        package: "qemu-system-arm",
        machine: &["-M", "mps2-an386"],
        cpu: None,
        memory: "mps2",
        flash: 4 << 20,
        ticks_per_second: 25_000_000,
    },
    Board {
        name: "m7",
        core: "Cortex-M7",
        target: "thumbv7em-none-eabihf",
        emulator: "qemu-system-arm",
        package: "qemu-system-arm",
        machine: &["-M", "mps2-an500"],
        cpu: None,
        memory: "mps2",
        flash: 4 << 20,
        ticks_per_second: 25_000_000,
    },
    Board {
        name: "m33",
        core: "Cortex-M33",
        target: "thumbv8m.main-none-eabihf",
        emulator: "qemu-system-arm",
        package: "qemu-system-arm",
        machine: &["-M", "mps2-an505"],
        cpu: None,
        memory: "mps2-an505",
        flash: 4 << 20,
        ticks_per_second: 20_000_000,
    },
    Board {
        name: "m55",
        core: "Cortex-M55",
        target: "thumbv8m.main-none-eabihf",
        emulator: "qemu-system-arm",
        package: "qemu-system-arm",
        machine: &["-M", "mps3-an547"],
        cpu: Some("cortex-m55"),
        memory: "mps3-an547",
        flash: 512 << 10,
        ticks_per_second: 32_000_000,
    },
    Board {
        name: "m0",
        core: "ARMv6-M code on a Cortex-M3",
        target: "thumbv6m-none-eabi",
        emulator: "qemu-system-arm",
        package: "qemu-system-arm",
        machine: &["-M", "mps2-an385"],
        cpu: None,
        memory: "mps2",
        flash: 4 << 20,
        ticks_per_second: 25_000_000,
    },
    Board {
        name: "riscv32",
        core: "RV32IMAC",
        target: "riscv32imac-unknown-none-elf",
        emulator: "qemu-system-riscv32",
        package: "qemu-system-misc",
        machine: &["-M", "virt", "-bios", "none"],
        cpu: None,
        memory: "virt",
        flash: 16 << 20,
        ticks_per_second: 1_000_000_000,
    },
];

/// Another processor under this operating system.
#[derive(Debug)]
pub struct Foreign {
    /// What `--target` calls it.
    pub name: &'static str,
    /// Target triple that programs are built for; its own linker suffices.
    pub target: &'static str,
    /// What runs them; the environment variable `QEMU_CPU` chooses the core.
    pub emulator: &'static str,
    /// The package of Debian that has it.
    pub package: &'static str,
    /// A core without the instructions that are asked for at run time; the emulator's own choice has them all.
    pub plain_core: &'static str,
}

/// All of them.
pub const FOREIGN: &[Foreign] = &[Foreign {
    name: "aarch64",
    target: "aarch64-unknown-linux-musl",
    emulator: "qemu-aarch64",
    package: "qemu-user",
    plain_core: "cortex-a53",
}];

/// Where programs run.
#[derive(Clone, Copy, Debug, Default)]
pub enum Place {
    /// Here.
    #[default]
    Host,
    /// In an emulator, as a process.
    Foreign(&'static Foreign),
    /// In an emulator, as firmware.
    Board(&'static Board),
}

impl Place {
    /// The place of this name, one of [`Place::names`].
    pub fn named(name: &str) -> Option<Place> {
        let board = || BOARDS.iter().find(|board| board.name == name).map(Place::Board);
        FOREIGN.iter().find(|foreign| foreign.name == name).map(Place::Foreign).or_else(board)
    }

    /// Names of all places but this one.
    pub fn names() -> Vec<&'static str> {
        BOARDS.iter().map(|board| board.name).chain(FOREIGN.iter().map(|foreign| foreign.name)).collect()
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Place::Host => "host",
            Place::Foreign(foreign) => foreign.name,
            Place::Board(board) => board.name,
        }
    }

    /// Its target triple, unless it is that of this machine.
    pub fn target(self) -> Option<&'static str> {
        match self {
            Place::Host => None,
            Place::Foreign(foreign) => Some(foreign.target),
            Place::Board(board) => Some(board.target),
        }
    }

    /// The board, if it is one.
    pub fn board(self) -> Option<&'static Board> {
        match self {
            Place::Board(board) => Some(board),
            _ => None,
        }
    }

    /// The emulator, and the package of Debian that has it.
    pub fn emulator(self) -> Option<(&'static str, &'static str)> {
        match self {
            Place::Host => None,
            Place::Foreign(foreign) => Some((foreign.emulator, foreign.package)),
            Place::Board(board) => Some((board.emulator, board.package)),
        }
    }
}

impl Board {
    /// Instructions in so many ticks.
    pub fn instructions(&self, ticks: u64) -> u64 {
        (u128::from(ticks) * 1_000_000_000 / u128::from(self.ticks_per_second)) as u64
    }

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
