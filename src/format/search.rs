//! Behind an invalid frame: is there proof that it had been durable?
//!
//! ```text
//!   valid frames | at: invalid | ?  ?  ?  frame, unsynced ─┐  ?  ?
//!                ^                                         │
//!                └────── synced beyond `at`? ◄─────────────┘  then decay, not a crash
//! ```
//!
//! - Every 8-byte position is tried: what this build could have written, then `check`, then the
//!   bounds, then the CRC.
//! - A sound frame is passed over as a whole. Its CRC says that all its bytes are its own, so no
//!   frame that this log wrote can begin inside; what looks like one there is user data.
//! - A frame that only began to be written proves nothing, but behind a sync mark it must be seen:
//!   new frames over it could fill in just the bytes that it lacks, and bring it back to life.
//! - The CRC work is bounded by a multiple of the file's size. Past it there is no verdict: to call
//!   the rest torn would be a guess.

use std::io;

use super::FRAME_HEADER_LEN;
use super::FrameHeader;
use super::Header;
use super::Kind;
use super::ReadAt;
use super::Salt;
use super::array_at;
use super::seal::SEAL_PAYLOAD_LEN;
use super::window::Window;
use super::window::first_nonzero;
use crate::error::Proof;

/// How many times the file's size of bytes may go through the CRC.
const WORK_MAX: u64 = 16;

/// What makes a frame one of this life of this chunk.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) chunk_id: u64,
    pub(crate) salt: Salt,
    /// The flags that a record may have here.
    pub(crate) record_flags: u8,
}

impl Origin {
    pub(crate) fn of(header: &Header) -> Self {
        let (chunk_id, record_flags) = (header.chunk_id, header.record_flags());
        Origin { chunk_id, salt: Salt::new(header.salt), record_flags }
    }

    /// The flags that a frame may have here if it is of this kind.
    pub(crate) fn flags_known(&self, kind: u8) -> u8 {
        match Kind::from_u8(kind) {
            Some(Kind::Action | Kind::Checkpoint) => self.record_flags,
            _ => 0,
        }
    }

    /// The global offset of a file position. Positions that would pass the last offset are kept out
    /// of the window, so nothing is ever read at a saturated one.
    pub(crate) fn offset(&self, position: u64) -> u64 {
        self.chunk_id.saturating_add(position)
    }
}

/// What a search came to.
#[derive(Debug)]
pub(crate) enum Search {
    /// What should stand at the place in question had been durable.
    Proven(Proof),
    /// No proof. `end`: the position behind the furthest frame that is sound or begun, if there is
    /// any. `synced`: the highest offset that sound ones prove, 0 for none.
    Unproven { end: Option<u64>, synced: u64 },
    /// Given up after so many bytes.
    TooMuch { examined: u64 },
}

/// Looks for sound frames behind the position `from`, for proof that everything up to and beyond the
/// global offset `at` had been durable. From `until` on there are only zeros.
///
/// `begun` tells of a header with a right `check` and its offset whether to take it for that of a
/// frame of this chunk even if the rest isn't there.
pub(crate) fn search<R: ReadAt>(
    window: &mut Window<R>,
    origin: &Origin,
    at: u64,
    from: u64,
    until: u64,
    begun: impl Fn(&FrameHeader, u64) -> bool,
) -> io::Result<Search> {
    let work_max = window.len().saturating_mul(WORK_MAX);
    let (mut examined, mut end, mut synced) = (0, None, 0);
    let mut next = from;
    while let Some((position, header)) = next_candidate(window, origin, next, until)? {
        next = position + 8;
        let (offset, size) = (origin.offset(position), header.frame_size());
        let rest = window.rest(position);
        if begun(&header, offset) {
            end = end.max(Some(position + size.min(rest)));
        }
        if size > rest {
            continue;
        }
        if size > work_max - examined {
            return Ok(Search::TooMuch { examined });
        }
        examined += size;
        if !crc_ok(window, origin, &header, position, size)? {
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

/// The first position from `from` on with a header whose `check` is right.
fn next_candidate<R: ReadAt>(
    window: &mut Window<R>,
    origin: &Origin,
    mut from: u64,
    until: u64,
) -> io::Result<Option<(u64, FrameHeader)>> {
    while from < until && window.rest(from) >= FRAME_HEADER_LEN as u64 {
        let bytes = window.at_least(from, FRAME_HEADER_LEN)?;
        match candidate_in(bytes, origin, from) {
            Some((at, header)) => return Ok(Some((from + at as u64, header))),
            // The last word was seen as the second half of a header only.
            None => from += (bytes.len() - 8) as u64 / 8 * 8,
        }
    }
    Ok(None)
}

/// The index of the first header in `bytes`, which stand at `position`, whose `check` is right.
fn candidate_in(bytes: &[u8], origin: &Origin, position: u64) -> Option<(usize, FrameHeader)> {
    let mut at = 0;
    while at + FRAME_HEADER_LEN <= bytes.len() {
        if bytes[at + 8] == 0 {
            // No kind, so no frame. Preallocated zeros come in megabytes: on to the next word that
            // can be a header's second.
            at += 8;
            if bytes[at..at + 8] == [0; 8] {
                at += first_nonzero(&bytes[at..])?;
                at -= 8;
            }
            continue;
        }
        let header = FrameHeader::parse(&array_at(bytes, at));
        let offset = origin.offset(position + at as u64);
        if is_writable(&header, origin, offset) && header.check_ok(&origin.salt, offset) {
            return Some((at, header));
        }
        at += 8;
    }
    None
}

/// Whether this build could have written such a header at this offset. Old bytes in a file used again
/// pass the 16-bit `check` by chance so often that a CRC for each would be too much work.
fn is_writable(header: &FrameHeader, origin: &Origin, offset: u64) -> bool {
    let len_fits = match Kind::from_u8(header.kind) {
        Some(Kind::Action | Kind::Checkpoint) => true,
        Some(Kind::Seal) => header.len as usize == SEAL_PAYLOAD_LEN,
        Some(Kind::SyncMark) => header.is_mark(),
        None => false,
    };
    let unsynced_fits = header.unsynced == u32::MAX || u64::from(header.unsynced) <= offset;
    len_fits && unsynced_fits && header.flags & !origin.flags_known(header.kind) == 0
}

/// Whether the CRC of a frame of `size` bytes is right. It is read in pieces: what is only perhaps a
/// frame must not make the buffer grow.
pub(super) fn crc_ok<R: ReadAt>(
    window: &mut Window<R>,
    origin: &Origin,
    header: &FrameHeader,
    position: u64,
    size: u64,
) -> io::Result<bool> {
    let mut crc = header.begin_crc(origin.offset(position), &origin.salt);
    let end = position + size;
    let mut from = position + FRAME_HEADER_LEN as u64;
    while from < end {
        let piece = window.at_least(from, 1)?;
        let n = (end - from).min(piece.len() as u64);
        crc.bytes(&piece[..n as usize]);
        from += n;
    }
    Ok(crc.value() == header.crc)
}
