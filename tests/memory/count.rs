//! An allocator that counts, for each thread: how often memory was asked for, and how much of it is in use.

#![expect(unsafe_code, reason = "an allocator can be nothing else")]

use core::cell::Cell;
use std::alloc::{GlobalAlloc, Layout, System};

thread_local! {
    // Constants without destructor: reading them allocates nothing.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static OCTETS: Cell<i64> = const { Cell::new(0) };
    static PEAK: Cell<i64> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn took(octets: i64) {
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + u64::from(octets > 0)));
    let _ = OCTETS.try_with(|count| {
        count.set(count.get() + octets);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(count.get())));
    });
}

// SAFETY: everything is passed on to the system's allocator as it came; counting touches no memory of its own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size().cast_signed() as i64);
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        took(-(layout.size().cast_signed() as i64));
        // SAFETY: as above; the memory came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Memory that moves counts as an allocation, also where it becomes less.
        took(-(layout.size().cast_signed() as i64));
        took(size.cast_signed() as i64);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// How often this thread asked for memory so far.
pub(crate) fn allocations() -> u64 {
    ALLOCATIONS.get()
}

/// Octets that this thread uses: what it took and has not given back.
pub(crate) fn octets() -> i64 {
    OCTETS.get()
}

/// The most that it used at once, since it was asked last.
pub(crate) fn peak() -> i64 {
    PEAK.replace(OCTETS.get())
}

#[test]
fn allocations_are_counted() {
    let (count, used) = (allocations(), octets());
    let memory = std::hint::black_box(vec![0_u8; 1000]);
    assert_eq!((allocations() - count, octets() - used), (1, 1000));
    drop(memory);
    assert_eq!((allocations() - count, octets() - used), (1, 0));
}
