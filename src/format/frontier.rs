//! How far a chunk goes that somebody else is writing, and how much of it is durable.
//!
//! ```text
//! from                                       end
//! | record | record | record, unsynced ─┐ | ?    a frame in flight, zeros, old bytes: all the same
//!                   ▲                   │
//!                   └── synced ◄────────┘
//! ```
//!
//! - It judges nothing: where no whole frame stands, the records end for now.
//! - A later look may go on at `end` if the frame before it is still there: [`Frontier::holds`].
//! - `synced` comes from frames that check out, and from nothing else. A chunk's final name is no
//!   proof here: the rename may not be durable yet.

use std::io;

use super::place::{Place, inspect};
use super::seal::SEAL_PAYLOAD_LEN;
use super::search::Origin;
use super::void::is_void;
use super::window::Window;
use super::{FRAME_HEADER_LEN, FrameHeader, HEADER_LEN, Header, Kind, ReadAt, Seal, read_exact_at};

/// Where the sound frames of a chunk end, and what they prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frontier {
    /// The global offset behind the last record.
    pub(crate) end: u64,
    /// All below was durable; 0 if nothing says so.
    pub(crate) synced: u64,
    /// The bytes at `end`, where no frame begins with them: as long as they and the last record stay, so
    /// does the rest.
    pub(crate) unchanged_while: Option<[u8; FRAME_HEADER_LEN]>,
    /// The global offset of the last record and the bytes of its header, its checksum among them; none
    /// if no record was seen.
    pub(crate) last: Option<(u64, [u8; FRAME_HEADER_LEN])>,
}

impl Frontier {
    /// Whether the last record, if there is one, is still where it was. A file that was cut, or that lost unsynced bytes
    /// with its server, has another one there or none.
    pub(crate) fn holds<R: ReadAt>(&self, source: R, header: &Header) -> io::Result<bool> {
        let Some((offset, last)) = self.last else { return Ok(true) };
        if source.len() < self.end - header.chunk_id {
            return Ok(false);
        }
        let mut found = [0; FRAME_HEADER_LEN];
        read_exact_at(&source, &mut found, offset - header.chunk_id)?;
        Ok(found == last)
    }
}

/// Goes over the frames of the chunk in `source`, from the global offset `from` on, where one begins
/// or may begin.
pub(crate) fn frontier<R: ReadAt>(
    source: R,
    header: &Header,
    from: u64,
    read_buffer_size: usize,
) -> io::Result<Frontier> {
    let origin = Origin::of(header);
    let len = source.len().min(u64::MAX - header.chunk_id);
    let mut window = Window::new(source, len, read_buffer_size);
    let mut position = from - header.chunk_id;
    let (mut synced, mut last) = (0, None);
    while let Place::Sound(frame) = inspect(&mut window, &origin, position)? {
        let offset = origin.offset(position);
        match Kind::from_u8(frame.kind) {
            Some(Kind::Action) if position == HEADER_LEN => break,
            Some(Kind::Action | Kind::Checkpoint) if frame.flags & !origin.record_flags == 0 => {
                synced = synced.max(frame.synced(offset).unwrap_or(0));
                last = window.held(position).first_chunk().map(|bytes| (offset, *bytes));
                position += frame.frame_size();
            }
            Some(Kind::Void) if position != HEADER_LEN && is_void(&frame) => {
                synced = synced.max(frame.synced(offset).unwrap_or(0));
                last = window.held(position).first_chunk().map(|bytes| (offset, *bytes));
                position += frame.frame_size();
            }
            Some(Kind::Seal) if is_seal_at(&window, &frame, position) => {
                synced = offset;
                break;
            }
            Some(Kind::SyncMark) if frame.is_mark() => {
                synced = offset;
                break;
            }
            // Nothing that this version writes: its own reader may know.
            _ => break,
        }
    }
    let unchanged_while = match window.rest(position) >= FRAME_HEADER_LEN as u64 {
        true => Some(*window.at_least(position, FRAME_HEADER_LEN)?.first_chunk().unwrap_or(&[0; _])),
        false => None,
    };
    let end = origin.offset(position);
    let begun = |bytes: &[u8; FRAME_HEADER_LEN]| {
        let header = FrameHeader::parse(bytes);
        header.check_ok(&origin.salt, end) && !header.is_mark()
    };
    Ok(Frontier { end, synced, unchanged_while: unchanged_while.filter(|bytes| !begun(bytes)), last })
}

/// Whether the window holds a seal at `position` that means this place.
fn is_seal_at<R: ReadAt>(window: &Window<R>, frame: &FrameHeader, position: u64) -> bool {
    let payload = window.held(position).get(FRAME_HEADER_LEN..FRAME_HEADER_LEN + SEAL_PAYLOAD_LEN);
    let seal = payload.filter(|_| frame.len as usize == SEAL_PAYLOAD_LEN).and_then(Seal::parse);
    frame.flags == 0 && seal.is_some_and(|seal| seal.data_len == position)
}
