//! Steady appending and flushing takes no memory: buffers go round.
#![allow(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use chunked_wal::{ChunkId, Flush, Segment, StateMachine, WalRecord, WalTypes};

use crate::common::*;

/// Of actions that take no memory, since an append decodes them in a build for tests.
struct Numbers;

impl WalTypes for Numbers {
    type Action = u64;
    type Checkpoint = u64;
    type Callback = ();
}

struct Nothing;

impl StateMachine<Numbers> for Nothing {
    type Error = String;

    fn apply(&mut self, _: &WalRecord<Numbers>, _: ChunkId, _: Segment) -> Result<(), String> {
        Ok(())
    }

    fn checkpoint(&self) -> u64 {
        0
    }
}

/// The system's allocator, which counts for each thread.
struct Counting;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to `System` as it came; counting touches a const-initialized thread-local
// without a destructor, which neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn appending_and_flushing_allocate_nothing_once_buffers_go_round() {
    let disk = Disk::with(|config| config.chunk_max_size = 1 << 20);
    let mut wal = disk.options::<Numbers>().open(&mut Nothing).unwrap();
    let record = WalRecord::Action(7);
    let mut append_and_flush = |times| {
        let before = ALLOCATED.get();
        for i in 0..times {
            for _ in 0..=i % 7 {
                wal.append(&record).unwrap();
            }
            wal.flush(Flush::Sync, None).unwrap();
            wal.flush_ticket(Flush::Sync).unwrap().wait().unwrap();
        }
        ALLOCATED.get() - before
    };
    assert!(append_and_flush(100) > 0, "the counter counts");
    assert_eq!(append_and_flush(1000), 0);
}
