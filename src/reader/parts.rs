//! Parts of a record's payload without the whole, for the blob store, whose payloads have checksums of their own.

use super::{LogView, Source};
use crate::error::{Damage, Error, Result};
use crate::format::{FRAME_HEADER_LEN, FrameHeader};
use crate::position::Segment;

/// A frame whose header was read and is right. Its CRC was not checked.
pub(crate) struct FrameParts<'v, C> {
    view: &'v LogView<C>,
    source: Source,
    offset: u64,
    pub(crate) header: FrameHeader,
}

impl<C> LogView<C> {
    /// Finds the frame at `segment`.
    pub(crate) fn frame_parts(&self, segment: Segment) -> Result<FrameParts<'_, C>> {
        let Segment { offset, size, .. } = segment;
        self.check()?;
        let source = self.locate(segment)?;
        let mut bytes = [0; FRAME_HEADER_LEN];
        self.read_exact(&source, offset, &mut bytes)?;
        let header = FrameHeader::believed(&bytes, offset, size, source.chunk().salt()).ok();
        match header.filter(|header| header.frame_size() == size) {
            Some(header) => Ok(FrameParts { view: self, source, offset, header }),
            None => Err(self.no_frame(source.chunk(), offset, size)),
        }
    }
}

impl<C> FrameParts<'_, C> {
    /// Fills `buf` from the payload's bytes at `position`, unchecked. The caller stays inside the payload.
    pub(crate) fn read(&self, position: u64, buf: &mut [u8]) -> Result<()> {
        self.view.read_exact(&self.source, self.offset_of(position), buf)
    }

    /// The error of a part at `position` whose checksum fails.
    pub(crate) fn corrupt(&self, position: u64) -> Error {
        self.view.corrupt(self.source.chunk().id(), self.offset_of(position), Damage::BlobBlock)
    }

    fn offset_of(&self, position: u64) -> u64 {
        self.offset + FRAME_HEADER_LEN as u64 + position
    }
}
