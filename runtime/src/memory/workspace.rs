//! The memory a model computes in, lent by the caller.

use super::arena::Arena;
use super::once::Once;
use crate::Error;
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;

/// Alignment that a workspace has at least; the plan of a model places every tensor on a multiple of it. Those that this
/// crate makes on hosts are aligned to lines of the cache, which kernels like but do not need.
pub const ALIGNMENT: usize = 16;

/// One unit of an owned workspace: a line of the cache, so that vectors lie in one.
#[cfg(feature = "alloc")]
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Block([u8; 64]);

/// Memory for the intermediate tensors of one `forward`: aligned, initialised bytes.
///
/// Models may take turns on one workspace that is large enough for each of them. It comes from a [`StaticWorkspace`],
/// from bytes of the caller ([`Workspace::new`]) or, with the feature `alloc`, from the heap (`Workspace::boxed`).
#[derive(Debug)]
pub struct Workspace<'a>(Memory<'a>);

enum Memory<'a> {
    Lent(&'a mut [u8]),
    #[cfg(feature = "alloc")]
    Owned(alloc::boxed::Box<[Block]>),
}

impl<'a> Workspace<'a> {
    /// Uses `memory`: skips up to 15 bytes until the start is aligned, and zeroes the rest.
    ///
    /// Whether it is large enough is checked by the model, against its `WORKSPACE_BYTES`.
    pub fn new(memory: &'a mut [MaybeUninit<u8>]) -> Self {
        let skip = memory.as_ptr().align_offset(ALIGNMENT);
        let memory = memory.get_mut(skip..).unwrap_or_default();
        memory.fill(MaybeUninit::new(0));
        // SAFETY: every byte of `memory` was initialised by the line above; `MaybeUninit<u8>` has the layout of `u8`.
        // The result takes over the borrow, and `u8` has no invalid bit pattern that could be left behind.
        let memory = unsafe { core::slice::from_raw_parts_mut(memory.as_mut_ptr().cast::<u8>(), memory.len()) };
        Workspace(Memory::Lent(memory))
    }

    /// Allocates `bytes` bytes, rounded up to a multiple of 64, in place: nothing of that size crosses the stack.
    #[cfg(feature = "alloc")]
    pub fn boxed(bytes: usize) -> Workspace<'static> {
        let mut blocks = alloc::boxed::Box::<[Block]>::new_uninit_slice(bytes.div_ceil(size_of::<Block>()));
        blocks.fill(MaybeUninit::new(Block([0; 64])));
        // SAFETY: every element was initialised by the line above.
        Workspace(Memory::Owned(unsafe { blocks.assume_init() }))
    }

    /// Bytes available.
    #[inline]
    pub fn len(&self) -> usize {
        match &self.0 {
            Memory::Lent(bytes) => bytes.len(),
            #[cfg(feature = "alloc")]
            Memory::Owned(blocks) => size_of_val::<[Block]>(blocks),
        }
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first `bytes` bytes, for one run of a model.
    ///
    /// # Errors
    /// [`Error::Workspace`] when there are fewer.
    #[inline]
    pub fn arena(&mut self, bytes: usize) -> Result<Arena<'_>, Error> {
        self.bytes_mut().get_mut(..bytes).map(Arena::new).ok_or(Error::Workspace)
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Memory::Lent(bytes) => bytes,
            #[cfg(feature = "alloc")]
            Memory::Owned(blocks) => {
                let bytes = size_of_val::<[Block]>(blocks);
                // SAFETY: the blocks are `bytes` initialised bytes without padding (`repr(C)`, one array of 64 bytes,
                // alignment 64), alignment 1 suffices for `u8`, and the result borrows them mutably.
                unsafe { core::slice::from_raw_parts_mut(blocks.as_mut_ptr().cast::<u8>(), bytes) }
            }
        }
    }
}

impl core::fmt::Debug for Memory<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Memory::Lent(bytes) => write!(f, "{} bytes", bytes.len()),
            #[cfg(feature = "alloc")]
            Memory::Owned(blocks) => write!(f, "{} bytes", size_of_val::<[Block]>(blocks)),
        }
    }
}

/// A workspace in a `static`: `BYTES` zeros in `.bss`, taken once.
///
/// ```
/// # use exported_runtime as rt;
/// static WORKSPACE: rt::StaticWorkspace<1024> = rt::StaticWorkspace::new();
/// let workspace = WORKSPACE.take().unwrap();
/// assert_eq!(workspace.len(), 1024);
/// assert!(WORKSPACE.take().is_none());
/// ```
#[cfg_attr(any(target_arch = "x86_64", target_arch = "aarch64"), repr(C, align(64)))]
#[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), repr(C, align(16)))]
pub struct StaticWorkspace<const BYTES: usize> {
    bytes: UnsafeCell<[u8; BYTES]>,
    taken: Once,
}

// SAFETY: the bytes are reached through `take` alone, which hands them out at most once (see `once`), so that sharing
// the static between threads, cores or interrupts never shares the bytes.
unsafe impl<const BYTES: usize> Sync for StaticWorkspace<BYTES> {}

impl<const BYTES: usize> StaticWorkspace<BYTES> {
    /// Not taken yet. The value is all zero bytes, so a static of it occupies no flash.
    #[allow(clippy::new_without_default, reason = "only useful in a static, where `default` cannot be called")]
    pub const fn new() -> Self {
        StaticWorkspace { bytes: UnsafeCell::new([0; BYTES]), taken: Once::new() }
    }

    /// The workspace, the first time; `None` ever after.
    ///
    /// Needs no compare-and-swap and no critical section. On targets without atomic swap (Armv6-M) two callers that
    /// interrupt each other may both get `None`; never do both get the workspace.
    pub fn take(&'static self) -> Option<Workspace<'static>> {
        if !self.taken.raise() {
            return None;
        }
        // SAFETY: `raise` is true at most once, so this is the only reference ever made to the cell's content, and the
        // static lives forever. The bytes were initialised by `new`.
        let bytes: &'static mut [u8; BYTES] = unsafe { &mut *self.bytes.get() };
        Some(Workspace(Memory::Lent(bytes)))
    }
}

impl<const BYTES: usize> core::fmt::Debug for StaticWorkspace<BYTES> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "StaticWorkspace<{BYTES}>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_send_and_sync<T: Send + Sync>() {}

    #[test]
    fn workspaces_are_send_and_sync() {
        is_send_and_sync::<Workspace<'static>>();
        is_send_and_sync::<StaticWorkspace<4>>();
    }

    #[test]
    fn a_static_is_taken_once() {
        static SPACE: StaticWorkspace<40> = StaticWorkspace::new();
        let mut space = SPACE.take().expect("first");
        assert!(SPACE.take().is_none());
        assert_eq!((space.len(), space.is_empty()), (40, false));
        assert_eq!(space.arena(41).err(), Some(Error::Workspace));
        let mut arena = space.arena(40).expect("fits");
        let ([], [all]) = arena.regions([], [(0, 40)]);
        assert!(all.iter().all(|b| *b == 0) && all.as_ptr().addr().is_multiple_of(ALIGNMENT));
        all[39] = 1;
    }

    #[test]
    fn lent_memory_is_aligned_and_zeroed() {
        let mut memory = [MaybeUninit::new(7u8); 80];
        for skip in 0..40 {
            let mut space = Workspace::new(&mut memory[skip..]);
            assert!(space.len() + 15 >= 80 - skip && space.len() <= 80 - skip);
            let len = space.len();
            let mut arena = space.arena(len).expect("fits");
            let ([], [all]) = arena.regions([], [(0, len)]);
            assert!(all.as_ptr().addr().is_multiple_of(ALIGNMENT) && all.iter().all(|b| *b == 0));
            all.fill(7);
        }
        assert!(Workspace::new(&mut []).is_empty());
        assert!(Workspace::new(&mut memory[..1]).len() <= 1);
    }

    #[cfg(feature = "alloc")]
    #[test]
    fn boxed_memory_is_aligned_and_zeroed() {
        let mut space = Workspace::boxed(100);
        assert_eq!(space.len(), 128, "whole lines of the cache");
        let mut arena = space.arena(100).expect("fits");
        let ([], [all]) = arena.regions([], [(0, 100)]);
        assert!(all.as_ptr().addr().is_multiple_of(ALIGNMENT) && all.iter().all(|b| *b == 0));
        assert!(Workspace::boxed(0).is_empty());
    }
}
