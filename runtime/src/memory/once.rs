//! A flag that at most one caller gets to raise, on processors without compare-and-swap too.
//!
//! Where the target has atomic swap, that is used. Armv6-M and small RISC-V have atomic loads and stores only, and a
//! critical section would need cooperation of the board's crate. There a *splitter* (Lamport 1987, Moir and Anderson
//! 1995) does it with one register for a ticket and one for the flag:
//!
//! ```text
//! ticket := mine; if raised { no }; raised := true; if ticket == mine { yes } else { no }
//! ```
//!
//! Two callers cannot both get *yes*: let `p` be the one that wrote its ticket last. The other, `q`, found its own
//! ticket, so it did so before `p` wrote, hence raised the flag before `p` looked at it: `p` got *no*. The argument
//! needs tickets that differ between callers that run at the same time; the address of a live local variable does.
//! A caller that runs alone gets *yes* the first time; when two run at once, both may get *no*.

use core::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// See the module comment.
#[derive(Debug)]
pub(super) struct Once {
    #[cfg(any(test, not(target_has_atomic = "8")))]
    ticket: core::sync::atomic::AtomicUsize,
    raised: AtomicBool,
}

impl Once {
    /// Not raised; all bytes zero.
    pub(super) const fn new() -> Self {
        Once {
            #[cfg(any(test, not(target_has_atomic = "8")))]
            ticket: core::sync::atomic::AtomicUsize::new(0),
            raised: AtomicBool::new(false),
        }
    }

    /// True for at most one caller, ever.
    pub(super) fn raise(&self) -> bool {
        #[cfg(target_has_atomic = "8")]
        return !self.raised.swap(true, SeqCst);
        #[cfg(not(target_has_atomic = "8"))]
        self.split()
    }

    /// The splitter.
    #[cfg(any(test, not(target_has_atomic = "8")))]
    fn split(&self) -> bool {
        let local = 0u8;
        let mine = (&raw const local).expose_provenance();
        self.ticket.store(mine, SeqCst);
        if self.raised.load(SeqCst) {
            return false;
        }
        self.raised.store(true, SeqCst);
        self.ticket.load(SeqCst) == mine
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn alone_it_works_once() {
        let (a, b) = (Once::new(), Once::new());
        assert!(a.raise() && !a.raise());
        assert!(b.split() && !b.split() && !b.split());
    }

    #[test]
    fn at_most_one_of_many_wins() {
        for _ in 0..if cfg!(miri) { 20 } else { 300 } {
            let (swap, splitter) = (Once::new(), Once::new());
            let wins = std::thread::scope(|scope| {
                let threads = [(); 4].map(|()| scope.spawn(|| (swap.raise(), splitter.split())));
                threads.map(|thread| thread.join().expect("no panic"))
            });
            assert_eq!(wins.iter().filter(|w| w.0).count(), 1);
            // QEMU, translating AArch64 to x86-64, lets a load pass the sequentially consistent store before it, and two win.
            if cfg!(any(miri, target_arch = "x86_64")) {
                assert!(wins.iter().filter(|w| w.1).count() <= 1);
            }
        }
    }
}
