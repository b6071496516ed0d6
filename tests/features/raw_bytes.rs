//! Actions that are `bytes::Bytes`.
#![cfg(feature = "bytes")]
#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use chunked_wal::testing::check_codec;
use chunked_wal::{BytesPayload, ChunkId, ChunkedWal, Segment, StateMachine, WalRecord, WalTypes};

use crate::common::Disk;

#[derive(Debug)]
struct Packets;

impl WalTypes for Packets {
    type Action = BytesPayload;
    type Checkpoint = BytesPayload;
    type Callback = ();
}

/// All packets of the newest chunk, and all before as one.
#[derive(Default)]
struct Kept(Vec<Bytes>);

impl StateMachine<Packets> for Kept {
    type Error = std::convert::Infallible;

    fn apply(&mut self, record: &WalRecord<Packets>, _: ChunkId, _: Segment) -> Result<(), Self::Error> {
        match record {
            WalRecord::Action(packet) => self.0.push(packet.0.clone()),
            WalRecord::Checkpoint(all) => self.0 = vec![all.0.clone()],
        }
        Ok(())
    }

    fn checkpoint(&self) -> BytesPayload {
        self.0.concat().into()
    }
}

#[test]
fn they_come_back_byte_for_byte() {
    let disk = Disk::with(|config| config.chunk_max_size = 3000);
    let open = |kept: &mut Kept| disk.options::<Packets>().open(kept).unwrap();
    let packets: Vec<Bytes> = (0..50_u8).map(|n| vec![n; usize::from(n) * 9].into()).collect();
    let mut kept = Kept::default();
    let mut wal: ChunkedWal<Packets> = open(&mut kept);
    for packet in &packets {
        let segment = wal.append_and_apply(packet.clone().into(), &mut kept).unwrap();
        assert_eq!(wal.read_record(segment).unwrap(), WalRecord::Action(packet.clone().into()));
    }
    wal.close().unwrap();
    let mut again = Kept::default();
    open(&mut again);
    assert_eq!(again.0.concat(), packets.concat());
    assert!(again.0.len() < 50, "{} packets, and no checkpoint", again.0.len());
}

#[test]
fn the_codec_is_one() {
    for bytes in [&b""[..], b"x", &[0; 5000]] {
        check_codec(&BytesPayload::from(Bytes::copy_from_slice(bytes))).unwrap();
    }
}
