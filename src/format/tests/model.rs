//! The scan against a second one that holds the whole file, tries everything and is slow, over
//! random chunks with random damage.

use proptest::prelude::*;

use super::*;
use crate::error::{Damage, Proof};

struct Model<'a> {
    bytes: &'a [u8],
    header: &'a Header,
}

/// A sound frame: position, size, header.
type Sound = (usize, usize, FrameHeader);

impl Model<'_> {
    fn offset(&self, at: usize) -> u64 {
        self.header.chunk_id + at as u64
    }

    fn look(&self, at: usize) -> Result<Sound, (Option<Damage>, usize)> {
        let rest = self.bytes.get(at..).unwrap_or(&[]);
        let head = &rest[..rest.len().min(16)];
        if head.iter().all(|b| *b == 0) {
            return Err((None, 0));
        }
        if head.len() < 16 {
            return Err((Some(Damage::FrameHeader), 0));
        }
        let h = FrameHeader::parse(&array_at(rest, 0));
        let (salt, offset) = (self.header.salt, self.offset(at));
        let raw = Raw { kind: h.kind, flags: h.flags, unsynced: h.unsynced, salt, offset };
        if h.kind == 0 || h.check != check_of(raw, h.len) {
            return Err((Some(Damage::FrameHeader), 0));
        }
        let size = 16 + (h.len as usize).next_multiple_of(8);
        if size > rest.len() {
            return Err((Some(Damage::FrameCutShort), rest.len()));
        }
        if raw_crc(&rest[..size], salt, offset) != h.crc {
            return Err((Some(Damage::FrameChecksum), size));
        }
        Ok((at, size, h))
    }

    fn later(&self, from: usize) -> Vec<Sound> {
        let mut all = Vec::new();
        let mut at = from;
        while at < self.bytes.len() {
            match self.look(at) {
                Ok(sound) if self.writable(at) => {
                    all.push(sound);
                    at += sound.1;
                }
                _ => at += 8,
            }
        }
        all
    }

    /// Whether this build could have written such a header there.
    fn writable(&self, at: usize) -> bool {
        let h = FrameHeader::parse(&array_at(self.bytes, at));
        let kind = match h.kind {
            1 | 2 => true,
            3 => h.len == 24,
            4 => h.len == 0 && h.unsynced == 0,
            5 => h.len >= 8,
            _ => false,
        };
        kind && h.flags & !flags_of(h.kind) == 0
            && (h.unsynced == UNSYNCED_UNKNOWN || u64::from(h.unsynced) * 8 <= self.offset(at))
    }

    fn proof(&self, (at, _, h): &Sound, hole: usize) -> Option<Proof> {
        let offset = self.offset(*at);
        match (h.kind, h.len) {
            (3, 24) => Some(Proof::Seal { offset }),
            (4, 0) => Some(Proof::SyncMark { offset }),
            _ if h.unsynced == UNSYNCED_UNKNOWN || u64::from(h.unsynced) * 8 > offset => None,
            _ => {
                let synced = offset - u64::from(h.unsynced) * 8;
                (synced > self.offset(hole)).then_some(Proof::LaterFrame { offset, synced })
            }
        }
    }

    /// The records, the end, and the place where they end.
    fn scan(&self, successor: bool) -> (Vec<Record>, ScanEnd, usize) {
        let (mut records, mut count) = (Vec::new(), 0);
        let mut crcs = Vec::new();
        // Where the last whole batch ends, and how much of the lists is of whole batches. A voided record is no
        // batch of its own.
        let mut whole = (64, 0, 0, 0);
        let mut at = 64;
        let end = loop {
            let in_batch = whole.0 < at;
            match self.look(at) {
                Ok((_, size, h)) if h.flags & !2 == 0 && self.counts(at, &h) => {
                    if h.kind == 5 {
                        crcs.extend(&self.bytes[at + 16..at + 20]);
                    } else {
                        let payload = self.bytes[at + 16..][..h.len as usize].to_vec();
                        let kind = if h.kind == 1 { Kind::Action } else { Kind::Checkpoint };
                        records.push(Record { offset: self.offset(at), size: size as u64, kind, payload });
                        crcs.extend(h.crc.to_le_bytes());
                    }
                    (at, count) = (at + size, count + 1);
                    if h.flags == 0 || (h.kind == 5 && !in_batch) {
                        whole = (at, count, crcs.len(), records.len());
                    }
                }
                Ok((_, _, h)) => {
                    let end = self.end_at_frame(at, h, count, &crcs, successor);
                    let offset = self.offset(at);
                    let corrupt =
                        |proof| ScanEnd::Corrupt { at: offset, damage: Damage::BatchCutShort, proof };
                    break match (h.kind, end) {
                        (_, end @ ScanEnd::Unsupported { .. }) => end,
                        (3, _) if in_batch => corrupt(Proof::Seal { offset }),
                        (4, _) if in_batch => corrupt(Proof::SyncMark { offset }),
                        (_, end) => end,
                    };
                }
                Err((damage, reach)) => break self.end_at_hole(at, whole.0, damage, reach, successor),
            }
        };
        records.truncate(whole.3);
        (records, end, whole.0)
    }

    /// Whether a sound frame counts as a record there.
    fn counts(&self, at: usize, h: &FrameHeader) -> bool {
        match h.kind {
            1 => at > 64,
            2 => at > 64 || h.flags == 0,
            5 => at > 64 && h.len >= 8,
            _ => false,
        }
    }

    fn end_at_frame(
        &self,
        place: usize,
        h: FrameHeader,
        records: u64,
        crcs: &[u8],
        successor: bool,
    ) -> ScanEnd {
        let at = self.offset(place);
        let unsupported = |what, found: u64, known| ScanEnd::Unsupported { at, what, found, known };
        match h.kind {
            6.. => return unsupported("frame kind", h.kind.into(), 5),
            kind if h.flags & !flags_of(kind) != 0 => {
                return unsupported("frame flags", h.flags.into(), flags_of(kind).into());
            }
            _ if place == 64 => {
                return ScanEnd::Corrupt { at, damage: Damage::FirstFrameKind, proof: Proof::FinalName };
            }
            3 if h.len != 24 => return unsupported("seal length", h.len.into(), 24),
            3 => {
                let data_crc = crc32c(crcs);
                let right = Seal { records, data_len: place as u64, data_crc };
                if Seal::in_frame(&self.bytes[place..]) == Some(right) {
                    return ScanEnd::Sealed { data_end: at, records, file_end: at + 40 };
                }
                return ScanEnd::Corrupt {
                    at,
                    damage: Damage::SealMismatch,
                    proof: Proof::Seal { offset: at },
                };
            }
            5 => return unsupported("void frame length", h.len.into(), 8),
            _ if h.len != 0 => return unsupported("sync mark length", h.len.into(), 0),
            _ if h.unsynced != 0 => return unsupported("sync mark", h.unsynced.into(), 0),
            _ if successor => {
                return ScanEnd::Corrupt { at, damage: Damage::NotSealed, proof: Proof::Successor };
            }
            _ => (),
        }
        let later = self.later(place + 16);
        if let Some(proof) = later.iter().find_map(|sound| self.proof(sound, place)) {
            return ScanEnd::Corrupt { at, damage: Damage::FrameHeader, proof };
        }
        match self.begun_end(place, &later).max(later.last().map(|last| last.0 + last.1)) {
            None => {
                let mark = if h.flags == 0 { Mark::Idle } else { Mark::Closed };
                ScanEnd::Clean { data_end: at, mark: Some(mark) }
            }
            Some(end) => {
                let end = if self.header.earlier_life() { end } else { self.nonzero_end() };
                ScanEnd::Torn { data_end: at, lost: (end - place) as u64 }
            }
        }
    }

    /// Where the furthest frame ends of which only the header is there.
    fn begun_end(&self, mark: usize, sound: &[Sound]) -> Option<usize> {
        let inside = |at: usize| sound.iter().any(|s| (s.0..s.0 + s.1).contains(&at));
        let ends = (mark + 16..self.bytes.len()).step_by(8).filter(|at| !inside(*at)).filter_map(|at| {
            let (Some(Damage::FrameCutShort | Damage::FrameChecksum), reach) = self.look(at).err()? else {
                return None;
            };
            if !self.writable(at) {
                return None;
            }
            let unsynced = FrameHeader::parse(&array_at(self.bytes, at)).unsynced;
            let knew_mark = unsynced != UNSYNCED_UNKNOWN && unsynced as usize * 8 == at - mark;
            (knew_mark || !self.header.earlier_life()).then_some(at + reach)
        });
        ends.max()
    }

    fn end_at_hole(
        &self,
        place: usize,
        whole: usize,
        damage: Option<Damage>,
        reach: usize,
        successor: bool,
    ) -> ScanEnd {
        let (at, data_end) = (self.offset(place), self.offset(whole));
        if place == 64 {
            let damage = damage.unwrap_or(Damage::FrameHeader);
            return ScanEnd::Corrupt { at, damage, proof: Proof::FinalName };
        }
        if successor {
            let damage = damage.unwrap_or(Damage::NotSealed);
            return ScanEnd::Corrupt { at, damage, proof: Proof::Successor };
        }
        let later = self.later(place + 8);
        if let Some(proof) = later.iter().find_map(|sound| self.proof(sound, place)) {
            return ScanEnd::Corrupt { at, damage: damage.unwrap_or(Damage::FrameHeader), proof };
        }
        if self.header.earlier_life() {
            let end = later.last().map_or(place, |last| last.0 + last.1).max(place + reach);
            return ScanEnd::Torn { data_end, lost: (end - whole) as u64 };
        }
        match self.nonzero_end() {
            end if end <= whole => ScanEnd::Clean { data_end, mark: None },
            end => ScanEnd::Torn { data_end, lost: (end - whole) as u64 },
        }
    }

    fn nonzero_end(&self) -> usize {
        self.bytes.iter().rposition(|b| *b != 0).map_or(0, |i| i + 1)
    }
}

/// The flags that a frame of this kind may have.
fn flags_of(kind: u8) -> u8 {
    match kind {
        1 | 2 | 5 => FLAG_MORE,
        MARK => FLAG_CLOSED,
        _ => 0,
    }
}

/// What is written to a chunk, one after the other.
#[derive(Debug, Clone)]
enum Put {
    /// A frame that knew as durable all bytes before it but the last ones; the number of those.
    Record(usize, u32),
    /// The same, in a batch that goes on after it.
    More(usize, u32),
    /// A mark that the next thing overwrites, or one that stays.
    Mark {
        stays: bool,
        closed: bool,
    },
    Seal,
    Odd(u8, u8, usize, u32),
    Begun(usize, u32),
    Stale(usize),
    Zeros(usize),
    Noise(Vec<u8>),
}

/// What is done to the bytes afterwards; places are taken modulo the length.
#[derive(Debug, Clone)]
enum Hurt {
    Flip(usize),
    Zero(usize, usize),
    Copy(usize, usize, usize),
    Cut(usize),
    Extend(usize),
}

fn put() -> impl Strategy<Value = Put> {
    let unsynced = prop_oneof![5 => 0u32..300, 2 => Just(0), 1 => Just(UNSYNCED_UNKNOWN)];
    prop_oneof![
        9 => (0usize..90, unsynced.clone()).prop_map(|(n, u)| Put::Record(n, u)),
        4 => (0usize..90, unsynced.clone()).prop_map(|(n, u)| Put::More(n, u)),
        2 => any::<(bool, bool)>().prop_map(|(stays, closed)| Put::Mark { stays, closed }),
        1 => Just(Put::Seal),
        1 => (1u8..7, 0u8..4, 0usize..40, unsynced).prop_map(|(k, f, n, u)| Put::Odd(k, f, n, u)),
        1 => (8usize..90, 0u32..100).prop_map(|(n, u)| Put::Begun(n, u)),
        1 => (0usize..90).prop_map(Put::Stale),
        1 => (1usize..40).prop_map(|n| Put::Zeros(n * 8)),
        1 => prop::collection::vec(any::<u8>(), 8..64).prop_map(Put::Noise),
    ]
}

fn hurt() -> impl Strategy<Value = Hurt> {
    let place = 0usize..10_000;
    prop_oneof![
        3 => place.clone().prop_map(Hurt::Flip),
        2 => (place.clone(), 1usize..100).prop_map(|(at, n)| Hurt::Zero(at, n)),
        1 => (place.clone(), place.clone(), 1usize..100).prop_map(|(from, to, n)| Hurt::Copy(from, to, n)),
        1 => place.prop_map(Hurt::Cut),
        1 => (1usize..700).prop_map(Hurt::Extend),
    ]
}

fn build(header: Header, puts: &[Put], hurts: &[Hurt]) -> Vec<u8> {
    let mut chunk = Chunk::new(header);
    for (i, put) in puts.iter().enumerate() {
        match put {
            Put::Record(n, unsynced) => {
                let synced = chunk.end().saturating_sub(u64::from(*unsynced));
                chunk.action(&vec![*n as u8; *n], synced);
            }
            Put::More(n, unsynced) => {
                let synced = chunk.end().saturating_sub(u64::from(*unsynced));
                chunk.more(&vec![*n as u8; *n], synced);
            }
            Put::Mark { stays, closed } => {
                let flags = if *closed { FLAG_CLOSED } else { 0 };
                let at = chunk.frame(Raw { flags, ..chunk.raw(MARK, chunk.end()) }, b"");
                if !stays && i + 1 < puts.len() {
                    chunk.bytes.truncate(chunk.at(at));
                }
            }
            Put::Seal => {
                chunk.seal();
            }
            Put::Odd(kind, flags, n, unsynced) => {
                let raw = Raw { flags: *flags, unsynced: *unsynced, ..chunk.raw(*kind, 0) };
                chunk.frame(raw, &vec![3; *n]);
            }
            Put::Begun(n, unsynced) => {
                let raw = Raw { unsynced: unsynced / 8, ..chunk.raw(ACTION, 0) };
                let at = chunk.frame(raw, &vec![5; *n]);
                let cut = chunk.at(at) + 16;
                chunk.bytes[cut..].fill(0);
            }
            Put::Stale(n) => {
                let raw = Raw { salt: 1, ..chunk.raw(ACTION, 0) };
                chunk.frame(raw, &vec![4; *n]);
            }
            Put::Zeros(n) => chunk.zeros(*n),
            Put::Noise(noise) => {
                chunk.bytes.extend(noise);
                chunk.zeros(chunk.bytes.len().next_multiple_of(8) - chunk.bytes.len());
            }
        }
    }
    damage(chunk.bytes, hurts)
}

fn damage(mut bytes: Vec<u8>, hurts: &[Hurt]) -> Vec<u8> {
    for hurt in hurts {
        let body = bytes.len() - 64;
        let place = |at: usize| 64 + at % body.max(1);
        match *hurt {
            _ if body == 0 => (),
            Hurt::Flip(bit) => bytes[place(bit / 8)] ^= 1 << (bit % 8),
            Hurt::Zero(at, n) => {
                let end = bytes.len().min(place(at) + n);
                bytes[place(at)..end].fill(0);
            }
            Hurt::Copy(from, to, n) => {
                let n = n.min(bytes.len() - place(from)).min(bytes.len() - place(to));
                bytes.copy_within(place(from)..place(from) + n, place(to));
            }
            Hurt::Cut(at) => bytes.truncate(place(at)),
            Hurt::Extend(n) => bytes.resize(bytes.len() + n, 0),
        }
    }
    bytes
}

fn agree(bytes: &[u8], header: &Header) {
    for successor in [false, true] {
        let (records, end, at) = Model { bytes, header }.scan(successor);
        for buffer in [0, 77, 4096] {
            let seen = scan_all(bytes, header, successor, buffer);
            assert_eq!(
                (&seen.records, &seen.end),
                (&records, &end),
                "buffer {buffer}, successor {successor}"
            );
            let data_end = header.chunk_id + at as u64;
            let first_end = records.first().map_or(data_end, |r| r.offset + r.size);
            assert!((first_end..=data_end).contains(&seen.proven), "{seen:?}");
        }
        let sealed = find_seal(bytes, header).unwrap().map(|seal| header.chunk_id + seal.data_len);
        if let (Some(at), ScanEnd::Sealed { data_end, .. }) = (sealed, &end) {
            assert!(at >= *data_end);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_scan_agrees_with_the_model(
        puts in prop::collection::vec(put(), 0..12),
        hurts in prop::collection::vec(hurt(), 0..4),
        earlier in any::<bool>(),
        chunk_id in prop_oneof![Just(0u64), Just(4096), Just(1 << 45), Just(u64::MAX - 65_535)],
    ) {
        let header = header(chunk_id, if earlier { FEATURE_EARLIER_LIFE } else { 0 });
        agree(&build(header, &puts, &hurts), &header);
    }

    #[test]
    fn noise_behind_a_header_ends_somewhere(
        noise in prop::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..600),
        earlier in any::<bool>(),
        checkpoint in any::<bool>(),
        chunk_id in any::<u64>(),
        near_end in 0u64..700,
    ) {
        let features = if earlier { FEATURE_EARLIER_LIFE } else { 0 };
        for chunk_id in [chunk_id, u64::MAX - near_end] {
            let header = header(chunk_id, features);
            let mut bytes = header.encode().to_vec();
            if checkpoint {
                let offset = chunk_id.saturating_add(64);
                bytes.extend(raw_frame(Raw { kind: CHECKPOINT, flags: 0, unsynced: 1, salt: SALT, offset }, b""));
            }
            bytes.extend(&noise);
            for successor in [false, true] {
                scan_all(&bytes[..], &header, successor, 64);
            }
            find_seal(&bytes[..], &header).unwrap();
        }
    }

    #[test]
    fn noise_is_no_header(noise in prop::collection::vec(any::<u8>(), 0..80)) {
        prop_assert!(Header::decode(&noise).is_err());
        let magic = [&header(0, 0).encode()[..10], &noise].concat();
        prop_assert!(Header::decode(&magic).is_err());
    }
}
