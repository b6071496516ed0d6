//! How far a chunk can be read that somebody else is still writing: sound frames, and no verdict on
//! what follows them.
//!
//! ```text
//! header | record | record | record | sync mark, seal, or a write that is under way
//!                                   ^ position: the next look goes on here
//! ```
//!
//! - Only what stands behind the position is read, so following a chunk costs what was written to it.
//! - What is not a sound record ends a look. It may be one the next time, so it is nobody's fault.
//! - Memory: one small window, whatever a frame's length says; its checksum is computed in pieces.

use std::io;

use super::search::{Origin, crc_ok};
use super::void::is_void;
use super::window::Window;
use super::{FRAME_HEADER_LEN, FrameHeader, HEADER_LEN, Header, Kind, ReadAt, read_exact_at};

/// Bytes read at a time.
const WINDOW: usize = 16 << 10;

/// A place in a chunk: everything before it has been read and is sound.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    header: Header,
    position: u64,
    records: u64,
    durable: u64,
    /// Where the last record stands, and its header, by which it is known again.
    last: Option<(u64, FrameHeader)>,
}

impl Cursor {
    /// In front of a chunk's first frame.
    pub(crate) fn new(header: &Header) -> Self {
        // Its predecessor was sealed before it got its name. Its own beginning is durable too, but
        // whether its name is can't be seen before the next proof.
        let durable = header.chunk_id;
        Cursor { header: *header, position: HEADER_LEN, records: 0, durable, last: None }
    }

    /// The header of the chunk that this is a place in.
    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// The global offset behind the last sound record.
    pub(crate) fn end(&self) -> u64 {
        self.header.chunk_id.saturating_add(self.position)
    }

    /// Records before it, checkpoints included.
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// The global offset below which all is durable, as far as the frames seen prove it.
    pub(crate) fn durable(&self) -> u64 {
        self.durable
    }

    /// Whether what was read is still there: the last record stands where it stood. A file that was
    /// cut, or that lost unsynced bytes with its server, has others there or none.
    pub(crate) fn holds<R: ReadAt>(&self, source: R) -> io::Result<bool> {
        let Some((position, header)) = self.last else { return Ok(true) };
        if source.len() < self.position {
            return Ok(false);
        }
        let mut found = [0; FRAME_HEADER_LEN];
        read_exact_at(&source, &mut found, position)?;
        Ok(FrameHeader::parse(&found) == header)
    }

    /// Goes on over the sound records that follow.
    pub(crate) fn advance<R: ReadAt>(&mut self, source: R) -> io::Result<()> {
        let origin = Origin::of(&self.header);
        // There is no frame beyond the last global offset.
        let len = source.len().min(u64::MAX - origin.chunk_id);
        let mut window = Window::new(source, len, WINDOW);
        while self.step(&mut window, &origin)? {}
        Ok(())
    }

    /// Moves behind the next record; `false` if none stands there.
    fn step<R: ReadAt>(&mut self, window: &mut Window<R>, origin: &Origin) -> io::Result<bool> {
        let (position, offset) = (self.position, origin.offset(self.position));
        let rest = window.rest(position);
        if rest < FRAME_HEADER_LEN as u64 {
            return Ok(false);
        }
        let header = window.header(position)?;
        let size = header.frame_size();
        let flags_fit = header.flags & !origin.flags_known(header.kind) == 0;
        if !header.check_ok(&origin.salt, offset) || size > rest || !flags_fit {
            return Ok(false);
        }
        if !crc_ok(window, origin, &header, position, size)? {
            return Ok(false);
        }
        let synced = match Kind::from_u8(header.kind) {
            Some(Kind::Action | Kind::Checkpoint | Kind::Void) => header.synced(offset).unwrap_or(0),
            // Both say that all before them is durable.
            Some(Kind::Seal | Kind::SyncMark) => offset,
            None => 0,
        };
        self.durable = self.durable.max(synced);
        // What a repair took out counts as the record did, as it does for the seal.
        let is_record =
            matches!(Kind::from_u8(header.kind), Some(Kind::Action | Kind::Checkpoint)) || is_void(&header);
        if is_record {
            self.last = Some((position, header));
            self.position += size;
            self.records += 1;
        }
        Ok(is_record)
    }
}
