//! Types of a user's own, through serde.
#![cfg(feature = "serde")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Debug;

use chunked_wal::codec::{Json, MessagePack, Postcard};
use chunked_wal::codeq::{Codec, Decode, Encode};
use chunked_wal::testing::check_codec;
use chunked_wal::{ChunkId, ChunkedWal, Config, Segment, StateMachine, WalRecord, WalTypes};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Command {
    Set { key: String, value: u64 },
    Delete(String),
    Clear,
}
chunked_wal::serde_codec!(Command as MessagePack);

fn commands() -> [Command; 3] {
    [Command::Set { key: "a".into(), value: 1000 }, Command::Delete("a".into()), Command::Clear]
}

struct Log;

impl WalTypes for Log {
    type Action = Command;
    type Checkpoint = Json<BTreeMap<String, u64>>;
    type Callback = ();
}

#[derive(Default)]
struct Store(BTreeMap<String, u64>);

impl StateMachine<Log> for Store {
    type Error = Infallible;

    fn apply(&mut self, record: &WalRecord<Log>, _: ChunkId, _: Segment) -> Result<(), Infallible> {
        match record {
            WalRecord::Action(Command::Set { key, value }) => drop(self.0.insert(key.clone(), *value)),
            WalRecord::Action(Command::Delete(key)) => drop(self.0.remove(key)),
            WalRecord::Action(Command::Clear) => self.0.clear(),
            WalRecord::Checkpoint(Json(all)) => self.0.clone_from(all),
        }
        Ok(())
    }

    fn checkpoint(&self) -> Json<BTreeMap<String, u64>> {
        Json(self.0.clone())
    }
}

#[test]
fn a_log_of_an_enum_replays_over_rotations() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new(dir.path());
    config.chunk_max_size = 4096;
    let mut store = Store::default();
    let mut wal = ChunkedWal::<Log>::open(config.clone(), &mut store).unwrap();
    for i in 0..200 {
        let set = Command::Set { key: format!("key {}", i % 50), value: i };
        wal.append_and_apply(set, &mut store).unwrap();
        wal.append_and_apply(Command::Delete(format!("key {}", i % 7)), &mut store).unwrap();
    }
    assert!(wal.wait_idle().is_ok() && std::fs::read_dir(dir.path()).unwrap().count() > 3, "it has rotated");
    wal.close().unwrap();
    let mut again = Store::default();
    ChunkedWal::<Log>::open(config, &mut again).unwrap();
    assert_eq!(again.0, store.0);
}

fn bytes(value: &impl Encode) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.encode(&mut bytes).unwrap();
    bytes
}

/// What a log has on the disk must stay readable, so the bytes may never change.
#[test]
fn every_format_has_its_bytes() {
    let [set, delete, clear] = commands();
    assert_eq!(bytes(&MessagePack(&set)), b"\x81\xa3Set\x82\xa3key\xa1a\xa5value\xcd\x03\xe8");
    assert_eq!(bytes(&MessagePack(&delete)), b"\x81\xa6Delete\xa1a");
    assert_eq!(bytes(&MessagePack(&clear)), b"\xa5Clear");
    assert_eq!(bytes(&set), bytes(&MessagePack(&set)), "the macro's codec is the newtype's");
    assert_eq!(bytes(&Postcard(&set)), b"\x00\x01a\xe8\x07");
    assert_eq!(bytes(&Postcard(&delete)), b"\x01\x01a");
    assert_eq!(bytes(&Postcard(&clear)), b"\x02");
    assert_eq!(bytes(&Json(&set)), br#"{"Set":{"key":"a","value":1000}}"#);
    assert_eq!(bytes(&Json(&delete)), br#"{"Delete":"a"}"#);
    assert_eq!(bytes(&Json(&clear)), br#""Clear""#);
}

#[test]
fn every_format_reads_back_what_it_writes_and_nothing_else() {
    fn check<T: Codec + PartialEq + Debug>(value: T) {
        check_codec(&value).unwrap();
        let sound = bytes(&value);
        // Cut anywhere it is an error. One byte more is an error of the codec, or left to the log to find.
        for end in 0..sound.len() {
            assert!(T::decode(&sound[..end]).is_err(), "{value:?} cut at {end}");
        }
        let longer = [&sound[..], &[0]].concat();
        let mut rest = &longer[..];
        assert!(T::decode(&mut rest).is_err() || rest == [0], "{value:?}");
    }
    for command in commands() {
        check(MessagePack(command.clone()));
        check(Postcard(command.clone()));
        check(Json(command));
    }
    let state: BTreeMap<String, u64> = [("a".to_string(), u64::MAX)].into();
    check(MessagePack(state.clone()));
    check(Postcard(state.clone()));
    check(Json(state));
}

/// The types of a later version of the program: a variant in the middle, a field more, one less, one renamed.
#[derive(Debug, PartialEq, Deserialize)]
enum Later {
    Set {
        #[serde(alias = "key")]
        name: String,
        #[serde(default)]
        expires: Option<u64>,
    },
    Touch(String),
    Delete(String),
    Clear,
}

#[test]
fn formats_with_names_survive_the_changes_in_their_table() {
    let later = [Later::Set { name: "a".into(), expires: None }, Later::Delete("a".into()), Later::Clear];
    for (command, later) in commands().iter().zip(later) {
        assert_eq!(MessagePack::<()>::read::<Later>(&bytes(&MessagePack(command))[..]).unwrap(), later);
        assert_eq!(Json::<()>::read::<Later>(&bytes(&Json(command))[..]).unwrap(), later);
    }
}

#[test]
fn postcard_takes_new_variants_at_the_end_and_new_names() {
    #[derive(Debug, PartialEq, Deserialize)]
    enum Renamed {
        Put { name: String, number: u64 },
        Delete(String),
        Clear,
        Touch(String),
    }
    let renamed =
        [Renamed::Put { name: "a".into(), number: 1000 }, Renamed::Delete("a".into()), Renamed::Clear];
    for (command, renamed) in commands().iter().zip(renamed) {
        assert_eq!(Postcard::<()>::read::<Renamed>(&bytes(&Postcard(command))[..]).unwrap(), renamed);
    }
}

/// A length of four billion in a few bytes.
#[test]
fn no_memory_is_taken_for_a_length_without_bytes() {
    assert!(MessagePack::<Vec<u8>>::decode(&b"\xdd\xff\xff\xff\xff\x01"[..]).is_err());
    assert!(MessagePack::<String>::decode(&b"\xdb\xff\xff\xff\xff\x01"[..]).is_err());
    assert!(Postcard::<Vec<u8>>::decode(&b"\xff\xff\xff\xff\x0f\x01"[..]).is_err());
}
