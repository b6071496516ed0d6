//! Classifies one position of a chunk where a frame may start. All code that reads a chunk decides here
//! whether a frame is sound:
//!
//! ```text
//! 16 bytes ──► zeros, or the end of the file? Empty
//!          ──► check right?                     no: Damaged, FrameHeader
//!          ──► room for the whole frame?        no: Damaged, FrameCutShort
//!          ──► crc right?                       no: Damaged, FrameChecksum
//!          ──► Sound; whether this build knows the frame: Origin::knows
//! ```
//!
//! - [`sound_frame`](super::sound_frame) says the same of a frame in memory, by the same steps.
//! - A length is not believed before its `check`, nor does the window grow for one before its CRC: a frame
//!   larger than the window is checked in pieces first.

use std::io;

use super::seal::is_seal;
use super::void::is_void;
use super::window::Window;
use super::{FLAG_CLOSED, FLAG_MORE, FRAME_HEADER_LEN, FrameHeader, Header, Kind, ReadAt, Salt, sound_frame};
use crate::error::Damage;

/// The identity of this life of this chunk, which enters the check and the CRC of its frames.
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
    pub(super) fn flags_known(&self, kind: u8) -> u8 {
        match Kind::from_u8(kind) {
            Some(Kind::Action | Kind::Checkpoint) => self.record_flags,
            Some(Kind::SyncMark) => FLAG_CLOSED,
            Some(Kind::Void) => FLAG_MORE,
            _ => 0,
        }
    }

    /// Whether this version writes such a frame here: kind, flags and length go together.
    pub(super) fn knows(&self, header: &FrameHeader) -> bool {
        match Kind::from_u8(header.kind) {
            Some(Kind::Action | Kind::Checkpoint) => header.flags & !self.record_flags == 0,
            Some(Kind::Seal) => is_seal(header),
            Some(Kind::SyncMark) => header.is_mark(),
            Some(Kind::Void) => is_void(header),
            None => false,
        }
    }

    /// The global offset of a file position. Positions that would pass the last offset are kept out
    /// of the window, so nothing is ever read at a saturated one.
    pub(crate) fn offset(&self, position: u64) -> u64 {
        self.chunk_id.saturating_add(position)
    }
}

/// The bytes at a position where a frame may start.
pub(crate) enum Place {
    /// A frame of this chunk, whole and right, of any kind.
    Sound(FrameHeader),
    /// Zeros, or the end of the file.
    Empty,
    /// `reach`: the position to which a header with a right `check` says the frame goes, inside the
    /// file; the position itself if there is none.
    Damaged { damage: Damage, reach: u64 },
}

/// Classifies `position`; the window then holds the whole of a sound frame.
pub(crate) fn inspect<R: ReadAt>(
    window: &mut Window<R>,
    origin: &Origin,
    position: u64,
) -> io::Result<Place> {
    let place = classify(window, origin, position)?;
    let Place::Sound(header) = &place else { return Ok(place) };
    let size = header.frame_size();
    if size > window.size() as u64 {
        // On a machine that can't address it, the buffer's allocation fails: an error, no verdict.
        let n = usize::try_from(size).unwrap_or(usize::MAX);
        let frame = &window.at_least(position, n)?[..n];
        // The buffer was read anew after the check in pieces.
        if !header.crc_ok(frame, origin.offset(position), &origin.salt) {
            return Ok(Place::Damaged { damage: Damage::FrameChecksum, reach: position + size });
        }
    }
    Ok(place)
}

/// Classifies `position` in the memory that the window has; the window then holds a sound frame that is no
/// larger than it.
pub(super) fn classify<R: ReadAt>(
    window: &mut Window<R>,
    origin: &Origin,
    position: u64,
) -> io::Result<Place> {
    let offset = origin.offset(position);
    // Nearly always all of it is in the buffer already.
    if let Ok(header) = sound_frame(window.held(position), offset, &origin.salt) {
        return Ok(Place::Sound(header));
    }
    let rest = window.rest(position);
    let head_len = rest.min(FRAME_HEADER_LEN as u64) as usize;
    let head = &window.at_least(position, head_len)?[..head_len];
    if head.iter().all(|b| *b == 0) {
        return Ok(Place::Empty);
    }
    let header = match FrameHeader::believed(head, offset, rest, &origin.salt) {
        Ok(header) => header,
        Err(damage) => {
            let reach = if damage == Damage::FrameCutShort { position + rest } else { position };
            return Ok(Place::Damaged { damage, reach });
        }
    };
    if crc_ok(window, origin, &header, position)? {
        return Ok(Place::Sound(header));
    }
    Ok(Place::Damaged { damage: Damage::FrameChecksum, reach: position + header.frame_size() })
}

/// Whether the CRC of the frame with this header is right; the frame ends inside the file. It is read in
/// pieces: a frame that may not be one must not make the buffer grow.
pub(super) fn crc_ok<R: ReadAt>(
    window: &mut Window<R>,
    origin: &Origin,
    header: &FrameHeader,
    position: u64,
) -> io::Result<bool> {
    let (offset, size) = (origin.offset(position), header.frame_size());
    if size <= window.size() as u64 {
        let n = size as usize;
        return Ok(header.crc_ok(&window.at_least(position, n)?[..n], offset, &origin.salt));
    }
    let mut crc = header.crc_of(offset, &origin.salt, &[]);
    let end = position + size;
    let mut from = position + FRAME_HEADER_LEN as u64;
    while from < end {
        let piece = window.at_least(from, 1)?;
        let n = (end - from).min(piece.len() as u64);
        crc.take([], &piece[..n as usize]);
        from += n;
    }
    Ok(crc.value() == header.crc)
}
