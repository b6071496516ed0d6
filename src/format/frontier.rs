//! How far a chunk goes that another process is writing, and how much of it is durable.
//!
//! ```text
//! header | record | record | record, unsynced ─┐ | ?    a frame in flight, zeros, old bytes: all the same
//!                          ▲                   │ ^ end: the next look goes on here
//!                          └── synced ◄────────┘
//! ```
//!
//! - It judges nothing: where there is no whole frame, the records end for now. The next look may find one.
//! - A look reads what is after `end`, so following a chunk costs as much as was written to it. It goes on there
//!   if the record before is where it was: [`Frontier::holds`].
//! - The end is never inside a batch: its records count once the last one is there.
//! - `synced` comes from sound frames, and from nothing else. A chunk's final name is no proof here: the
//!   rename may not be durable yet.
//! - Memory: one window, for any length in a frame.

use std::io;

use super::place::{Origin, Place, classify};
use super::window::Window;
use super::{FRAME_HEADER_LEN, FrameHeader, HEADER_LEN, Header, Kind, ReadAt, Seal, read_exact_at};

/// The end of the sound records of a chunk, and the offset that they prove to be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frontier {
    /// The header of the chunk.
    pub(crate) header: Header,
    /// The global offset after the last record.
    pub(crate) end: u64,
    /// All below was durable; 0 if no frame says so.
    pub(crate) synced: u64,
    /// The records seen, checkpoints included, and those that a repair took out, as in a seal.
    pub(crate) records: u64,
    /// The position of the last record, and its header, by which it is known again.
    last: Option<(u64, FrameHeader)>,
    /// The bytes at `end`, where no frame begins with them: as long as they and the last record stay, so
    /// does the rest.
    unchanged_while: Option<FrameHeader>,
}

impl Frontier {
    /// Bytes to read at a time where little is new, and space allocated ahead follows.
    pub(crate) const READ_ON: usize = 16 << 10;

    /// Before the first frame of a chunk.
    pub(crate) fn new(header: &Header) -> Self {
        let end = header.chunk_id.saturating_add(HEADER_LEN);
        Frontier { header: *header, end, synced: 0, records: 0, last: None, unchanged_while: None }
    }

    /// The same frontier, moved back to `synced`, because a crash may have taken the records after it. Counts
    /// the records from there on.
    pub(crate) fn back_to_synced(&self) -> Self {
        let new = Frontier::new(&self.header);
        Frontier { end: self.synced.max(new.end), synced: self.synced, ..new }
    }

    /// The global offset below which all is durable. The chunk before was sealed before this one got its name.
    pub(crate) fn durable(&self) -> u64 {
        self.synced.max(self.header.chunk_id)
    }

    fn position(&self) -> u64 {
        self.end - self.header.chunk_id
    }

    /// Whether the last record, if there is one, is still where it was. A file that was cut, or that lost
    /// unsynced bytes with its server, has another one there or none.
    pub(crate) fn holds<R: ReadAt>(&self, source: R) -> io::Result<bool> {
        let Some((position, header)) = self.last else { return Ok(true) };
        if source.len() < self.position() {
            return Ok(false);
        }
        let mut found = [0; FRAME_HEADER_LEN];
        read_exact_at(&source, &mut found, position)?;
        Ok(FrameHeader::parse(&found) == header)
    }

    /// Whether nothing was written at `end` since the last look.
    pub(crate) fn is_unchanged<R: ReadAt>(&self, source: R) -> io::Result<bool> {
        let mut found = [0; FRAME_HEADER_LEN];
        let n = source.read_at(&mut found, self.position())?;
        Ok(n == found.len() && Some(FrameHeader::parse(&found)) == self.unchanged_while)
    }

    /// Goes on over the sound records that follow, and takes the proofs in them and in the frame after them.
    pub(crate) fn advance<R: ReadAt>(&mut self, source: R, read_size: usize) -> io::Result<()> {
        let origin = Origin::of(&self.header);
        // There is no frame beyond the last global offset.
        let len = source.len().min(u64::MAX - origin.chunk_id);
        let mut window = Window::new(source, len, read_size);
        // Ahead of `self` in a batch.
        let mut ahead = *self;
        while let Place::Sound(header) = classify(&mut window, &origin, ahead.position())? {
            // A frame that this version doesn't write belongs to a later one.
            if !origin.knows(&header) || !ahead.take(&header, window.held(ahead.position())) {
                break;
            }
            if !header.has_more() {
                *self = ahead;
            }
        }
        self.synced = self.synced.max(ahead.synced.min(self.end));
        let next = match window.rest(self.position()) >= FRAME_HEADER_LEN as u64 {
            true => Some(window.header(self.position())?),
            false => None,
        };
        let begun = |header: &FrameHeader| header.check_ok(&origin.salt, self.end) && !header.is_mark();
        self.unchanged_while = next.filter(|header| !begun(header));
        Ok(())
    }

    /// Takes the sound frame at `end`, of which the window holds `bytes`; `false` if it ends the records.
    fn take(&mut self, header: &FrameHeader, bytes: &[u8]) -> bool {
        let is_first = self.position() == HEADER_LEN;
        let (is_record, synced) = match Kind::from_u8(header.kind) {
            Some(Kind::Action | Kind::Void) if is_first => (false, None),
            Some(Kind::Checkpoint) if is_first && header.has_more() => (false, None),
            Some(Kind::Action | Kind::Checkpoint | Kind::Void) => (true, header.synced(self.end)),
            Some(Kind::Seal) if Seal::in_frame(bytes).map(|seal| seal.data_len) != Some(self.position()) => {
                (false, None)
            }
            // Both say that all before them is durable.
            Some(Kind::Seal | Kind::SyncMark) => (false, Some(self.end)),
            None => (false, None),
        };
        self.synced = self.synced.max(synced.unwrap_or(0));
        if is_record {
            self.last = Some((self.position(), *header));
            self.records += 1;
            self.end += header.frame_size();
        }
        is_record
    }
}
