//! A batch: records that a reader takes together or not at all.
//!
//! ```text
//! | record, more | record, more | record |       whole
//! | record, more | record, more | ?              broken: none of them counts
//! ^ position                    ^ at
//! ```
//!
//! - The flag *more* says that the next frame belongs to the batch too; a record without it is the last. A single
//!   record is a batch of its own.
//! - A whole batch is left in the window, so that its records can be returned without another read. The window grows
//!   for it only once every frame was found sound, in pieces if the batch is larger than the window.
//! - The frames of a batch are made before any of them is accepted, so none of them proves anything about another.

use std::io;

use super::place::{Origin, Place, inspect};
use super::window::Window;
use super::{FrameHeader, Kind, ReadAt, sound_frame};

/// How a batch ends.
pub(super) enum BatchEnd {
    /// All of it is sound, and held by the window. `end`: the position after it.
    Whole { end: u64 },
    /// At the position `at` is not the next record of it. `synced`: the highest offset that its sound frames prove
    /// to have been durable.
    Broken { at: u64, place: Place, synced: u64 },
}

/// Looks for the last frame of the batch whose first frame, which is sound, is at `position`.
pub(super) fn find_end<R: ReadAt>(
    window: &mut Window<R>,
    origin: &Origin,
    position: u64,
) -> io::Result<BatchEnd> {
    if let Some(end) = end_in_window(window, origin, position) {
        return Ok(BatchEnd::Whole { end });
    }
    // Most batches are smaller than the window, and held as a whole once it begins with them.
    let held = window.rest(position).min(window.size() as u64) as usize;
    window.at_least(position, held)?;
    if let Some(end) = end_in_window(window, origin, position) {
        return Ok(BatchEnd::Whole { end });
    }
    let (mut at, mut synced) = (position, 0);
    loop {
        let place = inspect(window, origin, at)?;
        let Place::Sound(header) = &place else { return Ok(BatchEnd::Broken { at, place, synced }) };
        if !may_be_in_batch(header, origin) {
            return Ok(BatchEnd::Broken { at, place, synced });
        }
        synced = synced.max(header.synced(origin.offset(at)).unwrap_or(0));
        at += header.frame_size();
        if !header.has_more() {
            break;
        }
    }
    let size = usize::try_from(at - position).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    window.at_least(position, size)?;
    match end_in_window(window, origin, position) {
        Some(end) => Ok(BatchEnd::Whole { end }),
        None => Err(io::Error::other("a batch of records changed while it was read")),
    }
}

/// The position after the batch at `position`, if the window holds it as a whole and all of it is sound.
fn end_in_window<R: ReadAt>(window: &Window<R>, origin: &Origin, position: u64) -> Option<u64> {
    end_in(window.held(position), origin, position)
}

/// The position after the batch at `position`, if `bytes`, which are those from there on, begin with all of it and it
/// is sound.
pub(super) fn end_in(bytes: &[u8], origin: &Origin, position: u64) -> Option<u64> {
    let (mut at, mut rest) = (position, bytes);
    loop {
        let header = sound_frame(rest, origin.offset(at), &origin.salt).ok()?;
        if !may_be_in_batch(&header, origin) {
            return None;
        }
        rest = rest.get(header.frame_size() as usize..)?;
        at += header.frame_size();
        if !header.has_more() {
            return Some(at);
        }
    }
}

/// Whether the frame is a record that this build reads, or the place of one that a repair took out.
fn may_be_in_batch(header: &FrameHeader, origin: &Origin) -> bool {
    let kind = Kind::from_u8(header.kind);
    matches!(kind, Some(Kind::Action | Kind::Checkpoint | Kind::Void)) && origin.knows(header)
}
