//! What is written is read back, whatever a user's command looks like; and what can't be read is a typed
//! error that takes no memory.
#![allow(unsafe_code, reason = "an allocator that counts")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::io;
use std::io::{Cursor, Read, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use chunked_wal::codeq::{Decode, Encode};
use chunked_wal::storage::MemoryStorage;
use chunked_wal::{ChunkId, ChunkedWal, Config, Error, Segment, StateMachine, WalRecord, WalTypes};
use chunked_wal_openraft::{Action, Checkpoint, Limits, LogStore, Meta, OpenError, RaftWal};
use openraft::storage::RaftLogStorageExt;
use openraft::{Entry, EntryPayload, Membership, RaftLogReader, RaftTypeConfig, Vote};
use serde::{Deserialize, Serialize};

use common::{Texts, entry, log_id, run};

/// The system's allocator, which remembers the largest piece asked for.
struct Largest;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to `System` as it came; counting touches a static number.
unsafe impl GlobalAlloc for Largest {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), SeqCst);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Largest = Largest;

/// What serde can do that a format without names can't read back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Command {
    Unit,
    Flattened {
        id: u64,
        #[serde(flatten)]
        rest: BTreeMap<String, Any>,
    },
    Skipping {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        a: Option<u32>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        b: Vec<u8>,
        c: u8,
    },
    Tagged(Tagged),
    Wide(i128, f64, char, [u16; 3]),
    Keys(BTreeMap<(u8, i32), Option<bool>>),
    Text(String),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Any {
    Number(i64),
    Text(String),
    List(Vec<Any>),
    Bytes { bytes: Vec<u8> },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    One { n: u8 },
    Two,
}

openraft::declare_raft_types!(Commands: D = Command, R = ());

/// The same, some releases later: one field more, one fewer, another order, a new variant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Later {
    New,
    Skipping {
        c: u8,
        #[serde(default)]
        d: Option<String>,
        #[serde(default)]
        a: Option<u32>,
    },
    Unit,
}

openraft::declare_raft_types!(LaterCommands: D = Later, R = ());

fn open<C: RaftTypeConfig<Entry: Clone>>(disk: &MemoryStorage) -> Result<LogStore<C>, OpenError> {
    let options = ChunkedWal::<RaftWal<C>>::options(Config::new("/log")).storage(Arc::new(disk.clone()));
    let mut limits = Limits::default();
    limits.recent_max_bytes = 0;
    LogStore::open_with(options, limits)
}

fn numbered<C: RaftTypeConfig<NodeId = u64>>(payloads: Vec<EntryPayload<C>>) -> Vec<Entry<C>> {
    let entry = |(index, payload)| Entry { log_id: log_id(1, index), payload };
    (0..).zip(payloads).map(entry).collect()
}

#[test]
fn any_command_that_serde_can_write_is_read_back() {
    let any = [("a", Any::Number(-5)), ("b", Any::Text("ä".into())), ("c", Any::List(vec![Any::Number(1)]))];
    let mut rest: BTreeMap<_, _> = any.into_iter().map(|(key, value)| (key.to_string(), value)).collect();
    rest.insert("bytes".to_string(), Any::Bytes { bytes: (0..=255).collect() });
    let commands = [
        Command::Unit,
        Command::Flattened { id: 7, rest },
        Command::Skipping { a: None, b: vec![], c: 1 },
        Command::Skipping { a: Some(2), b: vec![200; 300], c: 3 },
        Command::Tagged(Tagged::One { n: 4 }),
        Command::Tagged(Tagged::Two),
        Command::Wide(i128::MIN, f64::MIN_POSITIVE, '\u{10ffff}', [0, 1, u16::MAX]),
        Command::Keys([((1, -1), None), ((2, i32::MIN), Some(true))].into()),
        Command::Text(String::new()),
        Command::Text("x".repeat(100_000)),
    ];
    let membership = Membership::new(vec![[1, 2].into(), [2, 3].into()], None);
    let payloads = commands.map(EntryPayload::Normal).into_iter();
    let written =
        numbered(payloads.chain([EntryPayload::Blank, EntryPayload::Membership(membership)]).collect());
    let disk = MemoryStorage::default();
    run(async {
        let mut store = open::<Commands>(&disk).unwrap();
        store.blocking_append(written.clone()).await.unwrap();
        store.close().unwrap();
        let mut store = open::<Commands>(&disk).unwrap();
        assert_eq!(store.try_get_log_entries(0..).await.unwrap(), written);
    });
}

#[test]
fn a_command_may_gain_lose_and_reorder_fields() {
    let disk = MemoryStorage::default();
    let skipping = Command::Skipping { a: Some(1), b: vec![2], c: 3 };
    run(async {
        let mut store = open::<Commands>(&disk).unwrap();
        let old = vec![EntryPayload::Normal(skipping), EntryPayload::Normal(Command::Unit)];
        store.blocking_append(numbered(old)).await.unwrap();
        store.close().unwrap();
        let mut store = open::<LaterCommands>(&disk).unwrap();
        let later = [Later::Skipping { c: 3, d: None, a: Some(1) }, Later::Unit];
        let later = numbered(later.map(EntryPayload::Normal).into());
        assert_eq!(store.try_get_log_entries(0..).await.unwrap(), later);
    });
}

/// Bytes as they are.
#[derive(Debug, Clone, PartialEq)]
struct Raw(Vec<u8>);

impl Encode for Raw {
    fn encode<W: Write>(&self, mut w: W) -> io::Result<usize> {
        w.write_all(&self.0)?;
        Ok(self.0.len())
    }
}

impl Decode for Raw {
    fn decode<R: Read>(mut r: R) -> io::Result<Self> {
        let mut bytes = Vec::new();
        r.read_to_end(&mut bytes)?;
        Ok(Raw(bytes))
    }
}

/// A log whose frames are sound, whatever is in them.
struct RawWal;

impl WalTypes for RawWal {
    type Action = Raw;
    type Checkpoint = Raw;
    type Callback = ();
}

struct Nothing(Raw);

impl StateMachine<RawWal> for Nothing {
    type Error = String;

    fn apply(&mut self, _: &WalRecord<RawWal>, _: ChunkId, _: Segment) -> Result<(), String> {
        Ok(())
    }

    fn checkpoint(&self) -> Raw {
        self.0.clone()
    }
}

fn bytes_of(value: &impl Encode) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.encode(&mut bytes).unwrap();
    bytes
}

/// Another program, which doesn't know where its log puts the entries, writes chunks: their checkpoints have
/// no index.
#[test]
fn chunks_without_an_index_are_read() {
    let disk = MemoryStorage::default();
    let meta = |first: u64, last: u64, purged: Option<u64>| {
        let (last, purged) = (Some(log_id(1, last)), purged.map(|index| log_id(1, index)));
        Raw(bytes_of(&Meta::<Texts> { vote: None, committed: None, purged, last, first, user_data: None }))
    };
    let options = ChunkedWal::<RawWal>::options(Config::new("/log")).storage(Arc::new(disk.clone()));
    let mut wal = options.open(&mut Nothing(Raw(bytes_of(&Meta::<Texts>::default())))).unwrap();
    let append = |wal: &mut ChunkedWal<RawWal>, action: Action<Texts>| {
        wal.append(&WalRecord::Action(Raw(bytes_of(&action)))).unwrap();
    };
    let put = |index: u64| Action::Entry(Arc::new(entry(1, index, &format!("1-{index}"))));
    (3..9).for_each(|index| append(&mut wal, put(index)));
    append(&mut wal, Action::Truncate { since: 7, last: Some(log_id(1, 6)) });
    append(&mut wal, put(7));
    wal.close_open_chunk_with(meta(3, 7, None)).unwrap();
    append(&mut wal, put(8));
    append(&mut wal, Action::Purge(log_id(1, 4)));
    append(&mut wal, put(9));
    wal.close_open_chunk_with(meta(5, 9, Some(4))).unwrap();
    wal.close_open_chunk_with(meta(5, 9, Some(4))).unwrap();
    wal.close().unwrap();
    run(async {
        for (next, verified) in (10..).zip([false, true, false]) {
            let open = if verified { common::open_verified } else { common::open };
            let mut store = open(&disk, Config::new("/log")).unwrap();
            assert_eq!(common::all(&mut store).await, common::entries(1, 5..next));
            store.blocking_append([entry(1, next, &format!("1-{next}"))]).await.unwrap();
            store.close().unwrap();
        }
    });
}

/// What opening says to a log that begins with this checkpoint and goes on with this action.
fn open_raw(checkpoint: &[u8], action: &[u8]) -> Result<(), OpenError> {
    let disk = MemoryStorage::default();
    let mut nothing = Nothing(Raw(checkpoint.to_vec()));
    let mut config = Config::new("/log");
    config.chunk_max_size = 1024;
    let options = ChunkedWal::<RawWal>::options(config).storage(Arc::new(disk.clone()));
    let mut wal = options.open(&mut nothing).unwrap();
    wal.append(&WalRecord::Action(Raw(action.to_vec()))).unwrap();
    wal.close().unwrap();
    open::<Texts>(&disk).map(drop)
}

#[test]
fn bytes_that_mean_nothing_are_a_typed_error() {
    let meta = bytes_of(&Meta::<Texts>::default());
    let truncate = Action::Truncate { since: 3, last: Some(log_id(1, 2)) };
    let actions: [Action<Texts>; 5] = [
        Action::Vote(Vote::new(1, 2)),
        Action::Committed(Some(log_id(1, 2))),
        Action::Entry(Arc::new(entry(1, 2, "text"))),
        truncate,
        Action::Purge(log_id(1, 2)),
    ];
    open_raw(&meta, &bytes_of(&actions[2])).unwrap();
    let typed = |opened: Result<(), OpenError>| match opened {
        Ok(()) | Err(OpenError::EntriesMissing { .. }) => {}
        Err(OpenError::Wal(Error::Decode { .. } | Error::StateMachine { .. })) => {}
        Err(other) => panic!("{other}"),
    };
    let mut refused = 0;
    for bytes in actions.iter().map(bytes_of) {
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xc1, 0xc6, 0xdb, 0xdd, 0xdf, 0xff, bytes[at] ^ 1] {
                let mut wrong = bytes.clone();
                wrong[at] = value;
                let opened = open_raw(&meta, &wrong);
                refused += u64::from(opened.is_err());
                typed(opened);
            }
            assert!(open_raw(&meta, &bytes[..at]).is_err(), "cut to {at}: {bytes:?}");
        }
        assert!(open_raw(&meta, &[bytes, vec![0]].concat()).is_err(), "a byte too many");
    }
    for at in 0..meta.len() {
        for value in [0, 0x80, 0xc1, 0xdd, 0xdf, 0xff] {
            let mut wrong = meta.clone();
            wrong[at] = value;
            typed(open_raw(&wrong, &bytes_of(&actions[0])));
        }
    }
    assert!(refused > 500, "{refused}");
}

#[test]
fn a_length_takes_no_memory_and_depth_no_stack() {
    let entry = |payload: &[u8]| {
        let mut bytes = bytes_of(&Action::<Commands>::Entry(Arc::new(Entry {
            log_id: log_id(1, 1),
            payload: EntryPayload::Normal(Command::Unit),
        })));
        // The last value is the unit variant's name.
        let name = bytes.windows(4).position(|window| window == b"Unit").unwrap() - 1;
        bytes.truncate(name);
        bytes.extend(payload);
        bytes
    };
    let variant = |name: &str, value: &[u8]| {
        let name = [&[0xa0 | name.len() as u8], name.as_bytes()].concat();
        entry(&[&[0x81], &name[..], value].concat())
    };
    assert!(Action::<Commands>::decode(&variant("Text", &[0xa1, b'x'])[..]).is_ok());
    let huge = [0xff; 4];
    let field_b = [&[0x81, 0xa1, b'b'][..], &[0xdd], &huge].concat();
    let nested = [&[0x82, 0xa2, b'i', b'd', 1, 0xa1, b'x'][..], &[0x91; 100_000]].concat();
    for (what, bytes) in [
        ("a string of 4 GiB", variant("Text", &[&[0xdb], &huge[..]].concat())),
        ("bytes of 4 GiB for a string", variant("Text", &[&[0xc6], &huge[..]].concat())),
        ("a list of 2^32", variant("Skipping", &field_b)),
        ("a map of 2^32", variant("Keys", &[&[0xdf], &huge[..]].concat())),
        ("fields without end", variant("Skipping", &[&[0xdf], &huge[..]].concat())),
        ("a list in a list in a list", variant("Flattened", &nested)),
    ] {
        LARGEST.store(0, SeqCst);
        Action::<Commands>::decode(&bytes[..]).expect_err(what);
        // serde takes at most 1 MiB on a length's word.
        let largest = LARGEST.load(SeqCst);
        assert!(largest <= 2 << 20, "{what}: {largest} bytes");
    }
}

/// Logs of earlier releases hold these bytes.
#[test]
fn records_keep_their_bytes() {
    let log_id_1_2: &[u8] = b"\x82\xa9leader_id\x82\xa4term\x01\xa7node_id\x00\xa5index\x02";
    let vote_1_2: &[u8] = b"\x82\xa9leader_id\x82\xa4term\x01\xa7node_id\x02\xa9committed\xc2";
    let entry_text: &[u8] = b"\xa7payload\x81\xa6Normal\xa4text";
    let records: [(Action<Texts>, &[&[u8]]); 7] = [
        (Action::Vote(Vote::new(1, 2)), &[b"\x01", vote_1_2]),
        (Action::Committed(Some(log_id(1, 2))), &[b"\x02", log_id_1_2]),
        (Action::Committed(None), &[b"\x02\xc0"]),
        (Action::Entry(Arc::new(entry(1, 2, "text"))), &[b"\x03\x82\xa6log_id", log_id_1_2, entry_text]),
        (Action::Truncate { since: 3, last: Some(log_id(1, 2)) }, &[b"\x04\x92\x03", log_id_1_2]),
        (Action::Truncate { since: 0, last: None }, &[b"\x04\x92\x00\xc0"]),
        (Action::Purge(log_id(1, 2)), &[b"\x05", log_id_1_2]),
    ];
    for (record, bytes) in records {
        assert_eq!(bytes_of(&record), bytes.concat(), "{record:?}");
    }
    let id = Some(log_id(1, 2));
    let meta = Meta::<Texts> {
        vote: Some(Vote::new(1, 2)),
        committed: id,
        purged: None,
        last: id,
        first: 1,
        user_data: None,
    };
    let mut expected = [b"\x85\xa4vote", vote_1_2].concat();
    expected.extend([b"\xa9committed", log_id_1_2, b"\xa6purged\xc0"].concat());
    expected.extend([b"\xa4last", log_id_1_2, b"\xa5first\x01"].concat());
    assert_eq!(bytes_of(&meta), expected);
    let checkpoint = Checkpoint { meta, index: None };
    assert_eq!(bytes_of(&checkpoint), expected);
    let empty = Checkpoint { index: Some(Arc::default()), ..checkpoint };
    assert_eq!(bytes_of(&empty), [&expected[..], &[1, 0]].concat());
    // The entry 2 with 344 bytes at the offset 512.
    let index = [&expected[..], &[1, 1, 2, 64, 86]].concat();
    assert_eq!(bytes_of(&Checkpoint::<Texts>::decode(&index[..]).unwrap()), index);
    for wrong in [&[0][..], &[2, 0], &[1], &[1, 1, 2, 64]] {
        Checkpoint::<Texts>::decode(&[&expected[..], wrong].concat()[..]).unwrap_err();
    }
}

/// As the example `raft-log` shows them.
#[test]
fn records_are_shown_as_json() {
    let shown = |action: Action<Texts>| serde_json::to_value(action).unwrap();
    let entry = shown(Action::Entry(Arc::new(entry(3, 7, "text"))));
    assert_eq!(
        (&entry["Entry"]["log_id"]["index"], &entry["Entry"]["payload"]["Normal"]),
        (&7.into(), &"text".into())
    );
    let truncate = shown(Action::Truncate { since: 8, last: Some(log_id(3, 7)) });
    assert_eq!(
        (&truncate["Truncate"]["since"], &truncate["Truncate"]["last"]["index"]),
        (&8.into(), &7.into())
    );
    assert!(shown(Action::Vote(Vote::new(3, 1)))["Vote"].is_object());
    let checkpoint = Checkpoint::<Texts> { meta: Meta::default(), index: Some(Arc::default()) };
    let checkpoint = serde_json::to_value(checkpoint).unwrap();
    assert_eq!((&checkpoint["first"], &checkpoint["index"]["count"]), (&0.into(), &0.into()));
}
