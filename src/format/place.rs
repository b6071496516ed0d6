//! What stands at one place of a chunk, without a word on what that means.

use std::io;

use super::search::{Origin, crc_ok};
use super::window::Window;
use super::{FRAME_HEADER_LEN, FrameHeader, ReadAt};
use crate::error::Damage;

/// What stands at a position where a frame may begin.
pub(super) enum Place {
    /// A frame of this chunk, whole and right.
    Sound(FrameHeader),
    /// Zeros, or the end of the file.
    Empty,
    /// `reach`: the position to which a header with a right `check` says the frame goes, inside the
    /// file; the position itself if there is none.
    Damaged { damage: Damage, reach: u64 },
}

/// Looks at what stands at `position`; the window then holds the whole of a sound frame.
pub(super) fn inspect<R: ReadAt>(
    window: &mut Window<R>,
    origin: &Origin,
    position: u64,
) -> io::Result<Place> {
    let offset = origin.offset(position);
    let rest = window.rest(position);
    let head = rest.min(FRAME_HEADER_LEN as u64) as usize;
    if window.at_least(position, head)?[..head].iter().all(|b| *b == 0) {
        return Ok(Place::Empty);
    }
    if head < FRAME_HEADER_LEN {
        return Ok(Place::Damaged { damage: Damage::FrameHeader, reach: position });
    }
    let header = window.header(position)?;
    if !header.check_ok(&origin.salt, offset) {
        return Ok(Place::Damaged { damage: Damage::FrameHeader, reach: position });
    }
    let size = header.frame_size();
    if size > rest {
        return Ok(Place::Damaged { damage: Damage::FrameCutShort, reach: position + rest });
    }
    // What is larger than the buffer is checked in pieces first: the buffer grows for sound frames alone.
    if size > window.size() as u64 && !crc_ok(window, origin, &header, position, size)? {
        return Ok(Place::Damaged { damage: Damage::FrameChecksum, reach: position + size });
    }
    // On a machine that can't address it, the buffer's allocation fails: an error, no verdict.
    let n = usize::try_from(size).unwrap_or(usize::MAX);
    let frame = &window.at_least(position, n)?[..n];
    if !header.crc_ok(frame, offset, &origin.salt) {
        return Ok(Place::Damaged { damage: Damage::FrameChecksum, reach: position + size });
    }
    Ok(Place::Sound(header))
}
