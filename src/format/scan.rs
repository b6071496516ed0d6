//! Reads a chunk: its records one by one, then one end.
//!
//! ```text
//!                  Sound record ──► Frame, and on to the next
//!                  Sound seal   ──► Sealed, or Corrupt if it disagrees
//!  inspect(at) ──► Sound mark   ──► frames after it? no: Clean. yes: Torn, or Corrupt if they prove it
//!                  Sound, other ──► Unsupported
//!                  Sound record, more of its batch to come ──► find the last one first: `batch`
//!                  Empty        ──► zeros to the end of a new file? Clean.  else as Damaged
//!                  Damaged      ──► later proof? yes: Corrupt.  no: Torn
//! ```
//!
//! - The first frame is a checkpoint, proven by the file's final name; with a successor, the chunk
//!   is sealed. Where that fails the end is `Corrupt` with no search.
//! - All offsets are global; `position` is one in the file.
//! - A read error is an error. Nothing is concluded from it, and the scan can be asked again.
//! - No record of a batch is returned before all of the batch is seen to be sound. If a batch is not whole, the
//!   records end before it, and what ends them is at the place where the batch breaks off.
//! - Memory: one window, which grows only for a record whose header checks out and which the file
//!   has room for, and for a batch whose frames are sound.

use std::convert::Infallible;
use std::io;
use std::ops::Range;

use super::batch::{self, BatchEnd};
use super::bounds::SEARCH_MAX;
use super::payload::decode;
use super::place::{Origin, Place, inspect};
use super::seal::SEAL_PAYLOAD_LEN;
use super::search::{Search, next_sound, search};
use super::void::{VOID_LEN_MIN, is_void, voided_crc};
use super::window::Window;
use super::{
    Block, DataCrc, FLAG_CLOSED, FLAG_LZ4, FLAG_MORE, FRAME_HEADER_LEN, FrameHeader, HEADER_LEN, Header,
    Kind, Owner, ReadAt, SEAL_LEN, SYNC_MARK_LEN, Seal, sound_frame,
};
use crate::error::{Damage, Proof};
use crate::position::Segment;

/// A record of a chunk, borrowed from the scan's buffer until the next one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    /// The global offset of the frame.
    pub(crate) offset: u64,
    /// Bytes of the whole frame.
    pub(crate) size: u64,
    /// An action or a checkpoint.
    pub(crate) kind: Kind,
    pub(crate) flags: u8,
    /// As it is stored.
    pub(crate) payload: &'a [u8],
    /// Of the payload.
    pub(crate) owner: Owner<'a>,
}

impl<'a> Frame<'a> {
    /// The record's frame that `bytes`, which are at `offset`, start with.
    #[inline]
    pub(crate) fn new(offset: u64, header: &FrameHeader, bytes: &'a [u8], owner: Owner<'a>) -> Self {
        let checkpoint = header.kind == Kind::Checkpoint as u8;
        Frame {
            offset,
            size: header.frame_size(),
            kind: if checkpoint { Kind::Checkpoint } else { Kind::Action },
            flags: header.flags,
            payload: &bytes[FRAME_HEADER_LEN..][..header.len as usize],
            owner,
        }
    }

    #[inline]
    pub(crate) fn segment(&self) -> Segment {
        Segment::new(self.offset, self.size)
    }

    /// Whether the payload is stored as the codec wrote it.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.flags & FLAG_LZ4 == 0
    }

    /// Whether the next record is in the same batch.
    pub(crate) fn has_more(&self) -> bool {
        self.flags & FLAG_MORE != 0
    }

    pub(crate) fn is_compressed(&self) -> bool {
        self.flags & FLAG_LZ4 != 0
    }

    /// The payload as the codec wrote it: as it is stored, or decoded into `scratch`; `None` if it
    /// can't be decoded.
    #[inline]
    pub(crate) fn raw_payload<'s>(&self, scratch: &'s mut Vec<u8>) -> Option<&'s [u8]>
    where
        'a: 's,
    {
        decode(self.flags, self.payload, scratch)
    }
}

/// Where and how the records of a chunk end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ScanEnd {
    /// A seal that agrees with the records. `file_end`: the global offset right after it, to which
    /// the file is to be cut if it isn't.
    Sealed { data_end: u64, records: u64, file_end: u64 },
    /// A sync mark, or only zeros in a file without an earlier life.
    Clean { data_end: u64, mark: Option<Mark> },
    /// A crash interrupted writes that were not acknowledged; `lost` bytes of them are there. 0 if none is
    /// seen, in a file with an earlier life, whose old bytes look the same: the log ended whole.
    Torn { data_end: u64, lost: u64 },
    /// The frame at `at` was durable once and no longer checks out.
    Corrupt { at: u64, damage: Damage, proof: Proof },
    /// A frame in its place with right check and CRC that this build can't read.
    Unsupported { at: u64, what: &'static str, found: u64, known: u64 },
}

/// The meaning of a sync mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Everything before it was durable. Records may have been written over it since, in part.
    Idle,
    /// And the log was closed: nothing was written since.
    Closed,
}

/// How far to look after a closing mark, where this log wrote nothing unless the disk has lost the write
/// that replaced the mark: then the first records of that write are near. As far as the usual
/// read buffer reaches anyway.
const SEARCH_BEHIND_CLOSED: u64 = 1 << 20;

/// [`Seen::batches_end`] of a scan that returns the records of a batch whether or not the batch is whole.
const ONE_BY_ONE: u64 = u64::MAX;

/// Reads a chunk's frames in order.
pub(crate) struct Scan<R: ReadAt> {
    window: Window<R>,
    origin: Origin,
    earlier_life: bool,
    successor: bool,
    seen: Seen,
    end: Option<ScanEnd>,
}

/// The records that a scan has seen, and what they prove.
struct Seen {
    /// Whether the scan started after the first record.
    is_partial: bool,
    /// The position of the next frame: everything before it is sound.
    position: u64,
    /// Frames below this position are in a whole batch, or may be taken one by one.
    batches_end: u64,
    /// See [`Scan::proven`].
    proven: u64,
    records: u64,
    data_crc: DataCrc,
    last_segment: Option<(u64, u64)>,
}

impl<R: ReadAt> Scan<R> {
    /// A scan of the chunk in `source`, starting after its `header`. `successor`: another chunk
    /// follows this one in the log.
    pub(crate) fn new(source: R, header: &Header, successor: bool, read_buffer_size: usize) -> Self {
        // There is no frame beyond the last global offset: to the scan, the file ends there.
        let len = source.len().min(u64::MAX - header.chunk_id);
        let origin = Origin::of(header);
        Self {
            window: Window::new(source, len, read_buffer_size),
            earlier_life: header.earlier_life(),
            successor,
            seen: Seen {
                is_partial: false,
                position: HEADER_LEN,
                batches_end: 0,
                proven: origin.offset(HEADER_LEN),
                records: 0,
                data_crc: DataCrc::default(),
                last_segment: None,
            },
            origin,
            end: None,
        }
    }

    /// The same scan, starting at `position` in the file: after the header, or where a frame is known
    /// to start. After the first record it can't compare a seal with the records, nor count them.
    pub(crate) fn beginning_at(mut self, position: u64) -> Self {
        self.seen.position = position.max(HEADER_LEN);
        self.seen.is_partial = position > HEADER_LEN;
        self
    }

    /// The same scan, which returns the records of a batch whether or not the batch is whole: for a caller who knows
    /// that it is, and reads only part of it.
    pub(crate) fn one_by_one(mut self) -> Self {
        self.seen.batches_end = ONE_BY_ONE;
        self
    }

    /// The next record; `None` once the end is reached, which [`end`](Self::end) then returns.
    pub(crate) fn next(&mut self) -> io::Result<Option<Frame<'_>>> {
        let Some(header) = self.step()? else { return Ok(None) };
        let position = self.seen.position - header.frame_size();
        let offset = self.origin.offset(position);
        Ok(Some(Frame::new(offset, &header, self.window.held(position), self.window.owner())))
    }

    /// Gives the records to `visit` that are in the buffer already, up to one that it refuses. Nearly
    /// all are found here, with no other case in the way.
    #[inline]
    pub(crate) fn visit_held<E>(
        &mut self,
        mut visit: impl FnMut(&Frame<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Scan { window, origin, seen, .. } = self;
        let mut rest = window.held(seen.position);
        // The first record is a case of its own.
        if self.end.is_some() || seen.is_first() {
            return Ok(());
        }
        loop {
            let offset = origin.offset(seen.position);
            let Ok(header) = sound_frame(rest, offset, &origin.salt) else { return Ok(()) };
            if !is_later_record(&header, origin.record_flags) {
                return Ok(());
            }
            if seen.begins_batch(&header) {
                let Some(end) = batch::end_in(rest, origin, seen.position) else { return Ok(()) };
                seen.batches_end = end;
            }
            seen.accept_later(&header, offset);
            let frame = Frame::new(offset, &header, rest, window.owner());
            rest = &rest[frame.size as usize..];
            visit(&frame)?;
        }
    }

    /// Puts the next records into an empty block: at least one, and then those that are in the buffer
    /// already. The block stays empty once the end is reached.
    pub(crate) fn next_block(&mut self, block: &mut Block) -> io::Result<()> {
        let Some(first) = self.step()? else { return Ok(()) };
        let from = self.seen.position - first.frame_size();
        let Ok(()) = self.visit_held(|_| Ok::<_, Infallible>(()));
        block.offset = self.origin.offset(from);
        block.frames = self.window.trade(from..self.seen.position, &mut block.memory);
        Ok(())
    }

    /// Moves past the next record, which the window then holds, over any void frames before it; `None` once
    /// the end is reached.
    fn step(&mut self) -> io::Result<Option<FrameHeader>> {
        while self.end.is_none() {
            if let Some(record) = self.step_once()? {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// Moves past one frame, or sets the end; `None` if it is no record.
    fn step_once(&mut self) -> io::Result<Option<FrameHeader>> {
        let (offset, position) = (self.offset(), self.seen.position);
        let place = inspect(&mut self.window, &self.origin, position)?;
        if let Place::Sound(header) = &place
            && self.seen.is_record(header, self.origin.record_flags)
            && self.seen.begins_batch(header)
            && let Some(end) = self.end_of_batch()?
        {
            self.end = Some(end);
            return Ok(None);
        }
        let end = match place {
            Place::Sound(header) if self.seen.is_record(&header, self.origin.record_flags) => {
                self.seen.accept(&header, offset);
                return Ok(Some(header));
            }
            Place::Sound(header) if !self.seen.is_first() && is_void(&header) => {
                let crc = voided_crc(self.window.held(position));
                self.seen.pass_void(&header, offset, crc);
                return Ok(None);
            }
            // The batch was whole when it was looked at, and records of it were returned.
            _ if self.seen.is_in_batch() => return Err(changed(offset)),
            place => self.end_at(position, &place)?,
        };
        self.end = Some(end);
        Ok(None)
    }

    /// The end of the records before the batch that begins at the position, if the batch is not whole.
    fn end_of_batch(&mut self) -> io::Result<Option<ScanEnd>> {
        let position = self.seen.position;
        let (at, place) = match batch::find_end(&mut self.window, &self.origin, position)? {
            BatchEnd::Whole { end } => {
                self.seen.batches_end = end;
                return Ok(None);
            }
            BatchEnd::Broken { at, place, synced } => {
                self.seen.prove(Some(synced.min(self.origin.offset(position))));
                (at, place)
            }
        };
        self.end_at(at, &place).map(Some)
    }

    /// The end that the `place` at the position `at` makes: at the next frame, or further on if that begins a batch
    /// which breaks off there.
    fn end_at(&mut self, at: u64, place: &Place) -> io::Result<ScanEnd> {
        match place {
            Place::Sound(header) => self.end_at_frame(at, header),
            Place::Empty => self.end_without_frame(at, None, at),
            Place::Damaged { damage, reach } => self.end_without_frame(at, Some(*damage), *reach),
        }
    }

    /// How the records end, after [`next`](Self::next) has returned `None`.
    pub(crate) fn end(&self) -> Option<&ScanEnd> {
        self.end.as_ref()
    }

    /// Moves on from an end in damage or in a torn write to the next sound frame after it, and returns the
    /// global offsets skipped; `None` if there is no such end or no such frame. From then on it returns the records
    /// of batches one by one: if a batch broke off, its sound records come first, and the range is empty.
    ///
    /// From there on no proof is searched for at each damaged place, so the whole stays linear: the first
    /// end is the verdict on the chunk, and later ones only say that records end there.
    pub(crate) fn skip_damage(&mut self) -> io::Result<Option<Range<u64>>> {
        if !matches!(self.end, Some(ScanEnd::Corrupt { .. } | ScanEnd::Torn { .. })) {
            return Ok(None);
        }
        let (from, at) = (self.offset(), self.seen.position);
        let in_batch = match inspect(&mut self.window, &self.origin, at)? {
            Place::Sound(header) => self.seen.begins_batch(&header),
            Place::Empty | Place::Damaged { .. } => false,
        };
        let next = if in_batch { at } else { at + 8 };
        let Some(position) = next_sound(&mut self.window, &self.origin, next)? else { return Ok(None) };
        (self.seen.position, self.seen.is_partial) = (position, true);
        self.seen.batches_end = ONE_BY_ONE;
        (self.successor, self.end) = (true, None);
        Ok(Some(from..self.offset()))
    }

    /// The global offset below which everything in this chunk was durable, as far as the frames seen
    /// prove it; the final name proves the header and the first frame. Never beyond `data_end`.
    pub(crate) fn proven(&self) -> u64 {
        self.seen.proven
    }

    /// How many records there were, those that a repair took out among them.
    pub(crate) fn records(&self) -> u64 {
        self.seen.records
    }

    /// The CRC over the stored CRCs of these records.
    pub(crate) fn data_crc(&self) -> DataCrc {
        self.seen.data_crc.clone()
    }

    /// Global offset and size of the last record returned.
    pub(crate) fn last_segment(&self) -> Option<(u64, u64)> {
        self.seen.last_segment
    }

    pub(crate) fn source(&self) -> &R {
        self.window.source()
    }

    /// The size of its reads in bytes, but for records that are larger.
    pub(crate) fn read_size(&self) -> usize {
        self.window.size()
    }

    /// Whether the last record returned belongs to a batch that goes on after it.
    pub(crate) fn is_in_batch(&self) -> bool {
        self.seen.is_in_batch()
    }

    /// The global offset after the last frame seen.
    pub(crate) fn offset(&self) -> u64 {
        self.origin.offset(self.seen.position)
    }

    /// The end that a sound frame makes that is no record here.
    fn end_at_frame(&mut self, position: u64, header: &FrameHeader) -> io::Result<ScanEnd> {
        let at = self.origin.offset(position);
        let in_batch = position > self.seen.position;
        let unsupported =
            |what, found, known| Ok(ScanEnd::Unsupported { at, what, found, known: u64::from(known) });
        let Some(kind) = Kind::from_u8(header.kind) else {
            return unsupported("frame kind", header.kind.into(), Kind::Void as u32);
        };
        let flags_known = self.origin.flags_known(header.kind);
        if header.flags & !flags_known != 0 {
            return unsupported("frame flags", header.flags.into(), flags_known.into());
        }
        match kind {
            _ if self.seen.is_first() => {
                let damage = Damage::FirstFrameKind;
                Ok(ScanEnd::Corrupt { at, damage, proof: Proof::FinalName })
            }
            Kind::SyncMark if header.len != 0 => unsupported("sync mark length", header.len.into(), 0),
            Kind::SyncMark if !header.is_mark() => unsupported("sync mark", header.unsynced.into(), 0),
            Kind::SyncMark if in_batch => Ok(self.end_in_batch(at, Proof::SyncMark { offset: at })),
            Kind::SyncMark if header.flags & FLAG_CLOSED != 0 => self.end_at_mark(Mark::Closed),
            Kind::SyncMark => self.end_at_mark(Mark::Idle),
            Kind::Void => unsupported("void frame length", header.len.into(), VOID_LEN_MIN),
            _ if header.len as usize != SEAL_PAYLOAD_LEN => {
                unsupported("seal length", header.len.into(), SEAL_PAYLOAD_LEN as u32)
            }
            _ if in_batch => Ok(self.end_in_batch(at, Proof::Seal { offset: at })),
            _ => Ok(self.end_at_seal()),
        }
    }

    /// A batch that ends in a frame which is only written where all before it is durable and whole.
    fn end_in_batch(&self, at: u64, proof: Proof) -> ScanEnd {
        ScanEnd::Corrupt { at, damage: Damage::BatchCutShort, proof }
    }

    fn end_at_seal(&mut self) -> ScanEnd {
        let at = self.offset();
        let expected = Seal {
            records: self.seen.records,
            data_len: self.seen.position,
            data_crc: self.seen.data_crc.value(),
        };
        let found = Seal::in_frame(self.window.held(self.seen.position));
        let agrees = if self.seen.is_partial {
            found.map(|s| s.data_len) == Some(expected.data_len)
        } else {
            found == Some(expected)
        };
        if !agrees {
            let proof = Proof::Seal { offset: at };
            return ScanEnd::Corrupt { at, damage: Damage::SealMismatch, proof };
        }
        self.seen.prove(Some(at));
        let file_end = self.origin.offset(self.seen.position + SEAL_LEN);
        ScanEnd::Sealed { data_end: at, records: self.seen.records, file_end }
    }

    fn end_at_mark(&mut self, mark: Mark) -> io::Result<ScanEnd> {
        let at = self.offset();
        self.seen.prove(Some(at));
        if self.successor {
            return Ok(ScanEnd::Corrupt { at, damage: Damage::NotSealed, proof: Proof::Successor });
        }
        // A new file holds nothing of another life. In an old one, a header that knew as durable
        // just what this mark says is none by chance.
        let earlier_life = self.earlier_life;
        let begun = |header: &FrameHeader, offset| !earlier_life || header.synced(offset) == Some(at);
        let position = self.seen.position;
        let from = position + SYNC_MARK_LEN;
        if mark == Mark::Closed {
            let near = self.search(position, from, from + SEARCH_BEHIND_CLOSED, begun)?;
            if let Search::Unproven { end: None, .. } = near {
                return Ok(ScanEnd::Clean { data_end: at, mark: Some(mark) });
            }
        }
        let (tail, found) = self.search_behind(position, from, begun)?;
        Ok(match found {
            Search::Proven(proof) => ScanEnd::Corrupt { at, damage: Damage::FrameHeader, proof },
            Search::Unproven { end: None, .. } => ScanEnd::Clean { data_end: at, mark: Some(mark) },
            // Abandoned frames: a record appended here could complete one, or make it follow.
            Search::Unproven { end: Some(end), .. } => {
                let lost = tail.unwrap_or(end) - self.seen.position;
                ScanEnd::Torn { data_end: at, lost }
            }
        })
    }

    /// The end where there is no sound frame at `position`: `damage` is `None` if there are only zeros.
    fn end_without_frame(
        &mut self,
        position: u64,
        damage: Option<Damage>,
        reach: u64,
    ) -> io::Result<ScanEnd> {
        let (at, data_end) = (self.origin.offset(position), self.offset());
        let corrupt = |nothing, proof| ScanEnd::Corrupt { at, damage: damage.unwrap_or(nothing), proof };
        if self.seen.is_first() {
            return Ok(corrupt(Damage::FrameHeader, Proof::FinalName));
        }
        if self.successor {
            return Ok(corrupt(Damage::NotSealed, Proof::Successor));
        }
        let (tail, found) = self.search_behind(position, position + 8, |_, _| false)?;
        Ok(match found {
            _ if tail == Some(self.seen.position) => ScanEnd::Clean { data_end, mark: None },
            Search::Proven(proof) => corrupt(Damage::FrameHeader, proof),
            Search::Unproven { end, synced } => {
                // Not beyond `at`, or it would be proof of damage: it concerns the records before.
                self.seen.prove(Some(synced.min(data_end)));
                let lost = tail.unwrap_or(reach.max(end.unwrap_or(0))) - self.seen.position;
                ScanEnd::Torn { data_end, lost }
            }
        })
    }

    /// Searches from the position `from` on for proof that the bytes at `position` were durable. In a file without
    /// an earlier life also finds where the last byte ends that isn't zero (the scan's position if none follows): the
    /// search goes no further, and all up to there is of this life.
    fn search_behind(
        &mut self,
        position: u64,
        from: u64,
        begun: impl Fn(&FrameHeader, u64) -> bool,
    ) -> io::Result<(Option<u64>, Search)> {
        let tail = if self.earlier_life { None } else { Some(self.window.nonzero_end(self.seen.position)?) };
        let until = tail.unwrap_or(self.window.len());
        Ok((tail, self.search(position, from, until, begun)?))
    }

    fn search(
        &mut self,
        position: u64,
        from: u64,
        until: u64,
        begun: impl Fn(&FrameHeader, u64) -> bool,
    ) -> io::Result<Search> {
        let until = until.min(self.window.len()).min(from.saturating_add(SEARCH_MAX));
        let at = self.origin.offset(position);
        search(&mut self.window, &self.origin, at, from, until, begun)
    }
}

impl Seen {
    /// Whether the first frame of the chunk is still to come.
    fn is_first(&self) -> bool {
        self.records == 0 && !self.is_partial
    }

    /// Whether a sound frame is a record, in a place where there may be one.
    fn is_record(&self, header: &FrameHeader, record_flags: u8) -> bool {
        // A chunk begins with one record that is no part of a batch.
        let may_be_here = !self.is_first() || (header.kind == Kind::Checkpoint as u8 && !header.has_more());
        may_be_here && is_later_record(header, record_flags)
    }

    /// Whether the frame is the first of a batch of which the others were not looked at yet.
    #[inline]
    fn begins_batch(&self, header: &FrameHeader) -> bool {
        header.has_more() && self.position >= self.batches_end
    }

    /// Whether the next frame is in a batch that is whole, of which records were returned.
    fn is_in_batch(&self) -> bool {
        self.position < self.batches_end && self.batches_end != ONE_BY_ONE
    }

    /// Takes the record at the position, which is at the global `offset`, and moves past it.
    fn accept(&mut self, header: &FrameHeader, offset: u64) {
        // The final name proves the first record.
        let first = self.is_first().then(|| offset + header.frame_size());
        self.accept_later(header, offset);
        self.prove(first);
    }

    /// The same for any record but the first.
    #[inline(always)]
    fn accept_later(&mut self, header: &FrameHeader, offset: u64) {
        let size = header.frame_size();
        self.position += size;
        self.prove(header.synced(offset));
        self.records += 1;
        self.data_crc.push(header.crc);
        self.last_segment = Some((offset, size));
    }

    /// Moves past the void frame at the position; the record that was there counts with its `crc`.
    fn pass_void(&mut self, header: &FrameHeader, offset: u64, crc: u32) {
        self.position += header.frame_size();
        self.prove(header.synced(offset));
        self.records += 1;
        self.data_crc.push(crc);
    }

    #[inline]
    fn prove(&mut self, synced: Option<u64>) {
        self.proven = self.proven.max(synced.unwrap_or(0));
    }
}

/// Whether a sound frame is a record, in a place where any record may be: after the first.
#[inline]
fn is_later_record(header: &FrameHeader, record_flags: u8) -> bool {
    let is_record = header.kind == Kind::Action as u8 || header.kind == Kind::Checkpoint as u8;
    is_record && header.flags & !record_flags == 0
}

fn changed(offset: u64) -> io::Error {
    let why = format!("the batch of the record at offset {offset} changed while it was read");
    io::Error::other(why)
}
