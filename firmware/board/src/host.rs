//! Semihosting: output, files of the host, and the exit status.
//!
//! Files are relative to the emulator's working directory. Raw bytes go through a [`File`] rather than standard output,
//! so that a message of a failing program never ends up among the data.
use core::fmt;

const SYS_OPEN: usize = 0x01;
const SYS_CLOSE: usize = 0x02;
const SYS_WRITE: usize = 0x05;
const SYS_READ: usize = 0x06;
const SYS_EXIT_EXTENDED: usize = 0x20;

const OPEN_READ_BINARY: usize = 1;
const OPEN_WRITE_BINARY: usize = 5;
const APPLICATION_EXIT: usize = 0x2_0026;

/// A file on the host. Closed when dropped.
pub struct File(usize);

impl File {
    /// Opens an existing file for reading. `name` ends with a NUL byte; `None` if it does not or the host refuses.
    pub fn open(name: &str) -> Option<Self> {
        Self::with_mode(name, OPEN_READ_BINARY)
    }

    /// Creates or truncates a file for writing. `name` ends with a NUL byte.
    pub fn create(name: &str) -> Option<Self> {
        Self::with_mode(name, OPEN_WRITE_BINARY)
    }

    fn with_mode(name: &str, mode: usize) -> Option<Self> {
        let length = name.strip_suffix('\0')?.len();
        let handle = call(SYS_OPEN, &[name.as_ptr() as usize, mode, length]);
        (handle != usize::MAX).then_some(Self(handle))
    }

    /// Fills `buffer` from the file; false if the file ended before.
    #[must_use]
    pub fn read_exact(&mut self, buffer: &mut [u8]) -> bool {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            // The host answers with the number of bytes it did not read.
            let missing = call(SYS_READ, &[self.0, rest.as_mut_ptr() as usize, rest.len()]);
            if missing >= rest.len() {
                return false;
            }
            done += rest.len() - missing;
        }
        true
    }

    /// Writes all of `bytes`; false if the host took less.
    #[must_use]
    pub fn write(&mut self, bytes: &[u8]) -> bool {
        call(SYS_WRITE, &[self.0, bytes.as_ptr() as usize, bytes.len()]) == 0
    }
}

impl Drop for File {
    fn drop(&mut self) {
        call(SYS_CLOSE, &[self.0]);
    }
}

/// Standard output of the emulator, for `write!`. Each piece is one call to the host.
pub struct Stdout;

impl fmt::Write for Stdout {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        print(text);
        Ok(())
    }
}

/// Prints `text` on the emulator's standard output.
pub fn print(text: &str) {
    // `:tt` opened for writing is standard output. Opening it each time costs one call and needs no global state.
    if let Some(mut out) = File::create(":tt\0") {
        let _ = out.write(text.as_bytes());
    }
}

/// Ends the emulation with this exit status.
pub fn exit(status: u8) -> ! {
    loop {
        call(SYS_EXIT_EXTENDED, &[APPLICATION_EXIT, usize::from(status)]);
    }
}

fn call(operation: usize, arguments: &[usize]) -> usize {
    let result;
    // SAFETY: the instruction sequence is the one the semihosting specification reserves; the host reads `arguments` and
    // the memory they describe, which the callers above own, and returns in the first argument register. The asm is not
    // `nomem`, so the compiler assumes that memory changes.
    unsafe {
        #[cfg(target_arch = "arm")]
        core::arch::asm!("bkpt 0xAB", inout("r0") operation => result, in("r1") arguments.as_ptr(), options(nostack));
        #[cfg(target_arch = "riscv32")]
        core::arch::asm!(
            ".balign 16",
            ".option push",
            ".option norvc",
            "slli x0, x0, 0x1f",
            "ebreak",
            "srai x0, x0, 7",
            ".option pop",
            inout("a0") operation => result, in("a1") arguments.as_ptr(), options(nostack)
        );
    }
    result
}
