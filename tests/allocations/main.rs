//! Memory, under an allocator that counts: steady work takes none, and lengths in damaged files take none.
#![allow(unsafe_code, reason = "an allocator that counts")]

#[path = "../common/mod.rs"]
mod common;
mod flushing;
mod hostile;
#[cfg(feature = "bytes")]
mod sharing;
mod steady;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicU64, AtomicUsize};

/// The system's allocator, which counts.
struct Counting;

/// Allocations of all threads.
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

/// Bytes that all threads hold, and the most that they held at once.
static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Allocations of this thread.
    static OF_THREAD: Cell<usize> = const { Cell::new(0) };
}

fn count(bytes: usize) {
    ALLOCATIONS.fetch_add(1, SeqCst);
    OF_THREAD.set(OF_THREAD.get() + 1);
    let held = HELD.fetch_add(bytes, SeqCst) + bytes;
    PEAK.fetch_max(held, SeqCst);
}

// SAFETY: every call goes to `System` unchanged. Counting touches static numbers and a const-initialized
// thread-local without a destructor, which neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), SeqCst);
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One test, because allocations of tests that run at the same time would be counted, too.
#[test]
fn memory_is_taken_once_and_never_because_a_file_says_so() {
    steady::steady_work_allocates_nothing_for_a_record();
    flushing::appending_and_flushing_allocate_nothing_once_buffers_go_round();
    hostile::hostile_lengths_take_no_memory();
    #[cfg(feature = "bytes")]
    sharing::sharing_takes_a_buffer_only_where_one_is_kept();
}
