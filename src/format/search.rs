//! After an invalid frame: is there proof that the frame was durable once?
//!
//! ```text
//!   valid frames | at: invalid | ?  ?  ?  frame, unsynced ─┐  ?  ?
//!                ^                                         │
//!                └────── synced beyond `at`? ◄─────────────┘  then decay, not a crash
//! ```
//!
//! - Every 8-byte position is tried: `check`, then whether this build could have written it, then the
//!   bounds, then the CRC.
//! - A sound frame is passed over as a whole. Its CRC says that all its bytes are its own, so no
//!   frame that this log wrote can begin inside; a payload that looks like one is user data.
//! - A frame that only began to be written proves nothing, but after a sync mark it must be seen:
//!   new frames over it could fill in just the bytes that it lacks, and bring it back to life.
//! - Linear in any bytes looked at: `check` is keyed by the salt, which no payload knows, so a CRC
//!   is computed for the log's own frames, which don't overlap, and for one other position in 4
//!   billion. Holes are skipped, not read.

use std::io;

use super::place::{Origin, crc_ok};
use super::window::{Window, is_zero};
use super::{FRAME_HEADER_LEN, FrameHeader, Kind, ReadAt, UNSYNCED_UNKNOWN, array_at};
use crate::error::Proof;

/// The result of a search.
#[derive(Debug)]
pub(crate) enum Search {
    /// The bytes at the position in question were durable once.
    Proven(Proof),
    /// No proof. `end`: the position after the furthest frame that is sound or begun, if there is
    /// any. `synced`: the highest offset that sound ones prove, 0 for none.
    Unproven { end: Option<u64>, synced: u64 },
}

/// Looks for sound frames from the position `from` on, for proof that everything up to and beyond the
/// global offset `at` had been durable. From `until` on there are only zeros.
///
/// `begun` decides, from a header with a right `check` and its offset, whether to count it as a frame of this
/// chunk even if the rest of the frame is missing.
pub(crate) fn search<R: ReadAt>(
    window: &mut Window<R>,
    origin: &Origin,
    at: u64,
    from: u64,
    until: u64,
    begun: impl Fn(&FrameHeader, u64) -> bool,
) -> io::Result<Search> {
    let (mut end, mut synced) = (None, 0);
    let mut next = from;
    while let Some((position, header)) = next_candidate(window, origin, next, until)? {
        next = position + 8;
        let (offset, size) = (origin.offset(position), header.frame_size());
        let rest = window.rest(position);
        if begun(&header, offset) {
            end = end.max(Some(position + size.min(rest)));
        }
        if size > rest || !crc_ok(window, origin, &header, position)? {
            continue;
        }
        if let Some(proof) = proof_of(&header, offset, at) {
            return Ok(Search::Proven(proof));
        }
        next = position + size;
        end = end.max(Some(next));
        synced = synced.max(header.synced(offset).unwrap_or(0));
    }
    Ok(Search::Unproven { end, synced })
}

/// What the sound frame `header` at `offset` proves about an earlier frame at `at`.
fn proof_of(header: &FrameHeader, offset: u64, at: u64) -> Option<Proof> {
    match Kind::from_u8(header.kind) {
        Some(Kind::Seal) => Some(Proof::Seal { offset }),
        Some(Kind::SyncMark) => Some(Proof::SyncMark { offset }),
        _ => header.synced(offset).filter(|s| *s > at).map(|synced| Proof::LaterFrame { offset, synced }),
    }
}

/// The first position from `from` on with a header whose `check` is right and that this build could have
/// written.
fn next_candidate<R: ReadAt>(
    window: &mut Window<R>,
    origin: &Origin,
    mut from: u64,
    until: u64,
) -> io::Result<Option<(u64, FrameHeader)>> {
    while from < until && window.rest(from) >= FRAME_HEADER_LEN as u64 {
        let bytes = window.at_least(from, FRAME_HEADER_LEN)?;
        if let Some((at, header)) = candidate_in(bytes, origin, from) {
            return Ok(Some((from + at as u64, header)));
        }
        // The last word was seen as the second half of a header only.
        let last = (bytes.len() - 8) / 8 * 8;
        // In pieces, so that one look at other bytes ends it.
        let in_hole = bytes.chunks(512).all(is_zero);
        from += last as u64;
        if in_hole {
            match window.source().next_data(from)? {
                None => return Ok(None),
                // The first half of a header may be zeros, and end in the hole.
                Some(data) => from = from.max(data.saturating_sub(8) / 8 * 8),
            }
        }
    }
    Ok(None)
}

/// The index of the first header in `bytes`, which are at `position`, whose `check` is right and that
/// this build could have written.
fn candidate_in(bytes: &[u8], origin: &Origin, position: u64) -> Option<(usize, FrameHeader)> {
    let first_offset = origin.offset(position);
    let mut checks = origin.salt.checks_from(first_offset);
    for (i, header) in headers_in(bytes).enumerate() {
        // Nearly always false, and all that a position costs: one multiplication.
        if checks.check(u64::from_le_bytes(array_at(header, 4))) == u32::from_le_bytes(array_at(header, 12)) {
            let (at, header) = (i * 8, FrameHeader::parse(header));
            if is_writable(&header, origin, first_offset + at as u64) {
                return Some((at, header));
            }
        }
        checks.advance();
    }
    None
}

/// The candidates for a header: 16 bytes at every multiple of 8.
fn headers_in(bytes: &[u8]) -> impl Iterator<Item = &[u8; FRAME_HEADER_LEN]> {
    bytes.windows(FRAME_HEADER_LEN).step_by(8).filter_map(|header| header.first_chunk())
}

/// Whether this build could have written such a header at this offset.
fn is_writable(header: &FrameHeader, origin: &Origin, offset: u64) -> bool {
    origin.knows(header) && (header.unsynced == UNSYNCED_UNKNOWN || header.synced(offset).is_some())
}

/// The position of the first sound frame of this chunk's life that starts at `from` or after it.
pub(super) fn next_sound<R: ReadAt>(
    window: &mut Window<R>,
    origin: &Origin,
    from: u64,
) -> io::Result<Option<u64>> {
    let (mut next, until) = (from, window.len());
    while let Some((position, header)) = next_candidate(window, origin, next, until)? {
        if header.frame_size() <= window.rest(position) && crc_ok(window, origin, &header, position)? {
            return Ok(Some(position));
        }
        next = position + 8;
    }
    Ok(None)
}
