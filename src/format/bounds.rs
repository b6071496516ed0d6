//! How far from the durable end of a log a frame can begin, and so how far a search for proof must look.
//!
//! ```text
//! durable | written, not synced | waits in the open buffer and in the queue | the last record or batch
//!         |     UNSYNCED_MAX    |             2 x PENDING_LIMIT             |    RECORD_SIZE_LIMIT
//!         |<------------------------------- SEARCH_MAX ------------------------------------>|
//! ```
//!
//! A limit of the writer that grows without the search makes recovery take damage for a crash: the frame that
//! proves the damage begins beyond the search. So the limits are here together, and the sum is asserted.

use super::FRAME_HEADER_LEN;

/// The worker syncs by itself once this number of bytes is written and not durable.
pub(crate) const UNSYNCED_MAX: u64 = 2 << 30;

/// The most bytes that the open buffer and the flush queue may hold, each.
pub(crate) const PENDING_LIMIT: u64 = 1 << 30;

/// The largest payload of a record: the largest value of a frame's length field, with room for the header and the
/// padding. And the most bytes that the frames of a batch may take.
pub(crate) const RECORD_SIZE_LIMIT: u64 = u32::MAX as u64 - 64;

/// After a position in question, a frame that the log wrote begins no further away than this. So the cost of
/// a search has a bound in a chunk of any size.
pub(super) const SEARCH_MAX: u64 = 8 << 30;

const _: () = assert!(
    UNSYNCED_MAX + 2 * PENDING_LIMIT + RECORD_SIZE_LIMIT.next_multiple_of(8) + FRAME_HEADER_LEN as u64
        <= SEARCH_MAX
);
