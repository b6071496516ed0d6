//! Logs of chunked-wal 0.2 with types of their own, whose codecs both versions use.

use std::fs;
use std::io;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use chunked_wal::raw::{Payload, Raw};
use chunked_wal::{ChunkId, ChunkedWal, Config, Segment, StateMachine, WalReader, WalRecord, WalTypes};
use chunked_wal_import::chunked_wal_02::{self, WAL};
use chunked_wal_import::{AsIs, Each, Error, Import, LogWal, ToOpenraft};
use codeq::{Decode, Encode};

use crate::common::{Place, chunks, once_unlocked, untouched};

/// An action without a checksum: its type, and a text with its length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text(pub(crate) String);

impl Encode for Text {
    fn encode<W: Write>(&self, mut writer: W) -> io::Result<usize> {
        Ok(1_u32.encode(&mut writer)? + self.0.encode(&mut writer)?)
    }

    fn type_id(&self) -> Option<u32> {
        Some(1)
    }
}

impl Decode for Text {
    fn decode<R: Read>(mut reader: R) -> io::Result<Self> {
        match u32::decode(&mut reader)? {
            1 => Ok(Text(String::decode(&mut reader)?)),
            other => {
                Err(io::Error::new(io::ErrorKind::InvalidData, format!("no action has the type {other}")))
            }
        }
    }
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct OldTexts;

impl chunked_wal_02::WalTypes for OldTexts {
    type Action = Text;
    type Checkpoint = String;
    type Callback = SyncSender<io::Result<()>>;
}

/// The same types for this version.
pub(crate) struct NewTexts;

impl WalTypes for NewTexts {
    type Action = Text;
    type Checkpoint = String;
    type Callback = ();
}

/// The texts so far; a checkpoint has them all.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Texts(pub(crate) String);

impl chunked_wal_02::StateMachine<OldTexts> for Texts {
    type Error = io::Error;

    fn apply(
        &mut self,
        record: &chunked_wal_02::WALRecord<OldTexts>,
        _: chunked_wal_02::ChunkId,
        _: chunked_wal_02::Segment,
    ) -> io::Result<()> {
        match record {
            chunked_wal_02::WALRecord::Action(text) => self.0.push_str(&text.0),
            chunked_wal_02::WALRecord::Checkpoint(texts) => self.0.clone_from(texts),
        }
        Ok(())
    }

    fn checkpoint(&self) -> String {
        self.0.clone()
    }
}

impl StateMachine<NewTexts> for Texts {
    type Error = String;

    /// A checkpoint that isn't the state so far is refused.
    fn apply(&mut self, record: &WalRecord<NewTexts>, _: ChunkId, _: Segment) -> Result<(), String> {
        match record {
            WalRecord::Action(text) => self.0.push_str(&text.0),
            WalRecord::Checkpoint(texts) if self.0.is_empty() || self.0 == *texts => self.0.clone_from(texts),
            WalRecord::Checkpoint(texts) => return Err(format!("{texts}, not {}", self.0)),
        }
        Ok(())
    }

    fn checkpoint(&self) -> String {
        self.0.clone()
    }
}

/// Writes texts into a log of version 0.2, in chunks of a few records.
pub(crate) fn write_texts(dir: &Path, texts: &[&str]) {
    let mut config = chunked_wal_02::Config::new(dir.display());
    config.chunk_max_records = Some(4);
    let mut state = Texts::default();
    let config = Arc::new(config);
    let mut wal = once_unlocked(|| {
        chunked_wal_02::ChunkedWal::<OldTexts>::open(config.clone(), &mut state, Arc::new(|_, _| {}))
    });
    for text in texts {
        let record = chunked_wal_02::WALRecord::Action(Text((*text).into()));
        wal.append(&record).unwrap();
        let (id, segment) = (wal.open_chunk_id(), wal.last_segment());
        chunked_wal_02::StateMachine::apply(&mut state, &record, id, segment).unwrap();
        wal.try_close_full_chunk(&state).unwrap();
    }
    let (sender, receiver) = sync_channel(1);
    wal.send_pending(true, Some(sender)).unwrap();
    receiver.recv().unwrap().unwrap();
}

pub(crate) const TEXTS: [&str; 11] =
    ["one", "two", "", "four", "five", "six", "7", "eight", "nine", "ten", "eleven"];

/// The records of a log of this version, by chunk.
fn records(dir: &Path) -> Vec<(ChunkId, WalRecord<NewTexts>)> {
    let reader = WalReader::<NewTexts>::open_read_only(dir).unwrap();
    reader.records().map(|record| record.unwrap()).map(|(chunk, _, record)| (chunk, record)).collect()
}

#[test]
fn payloads_are_copied_and_the_same_codecs_read_them() {
    let place = Place::new();
    write_texts(&place.old(), &TEXTS);
    let report = untouched(&place.old(), || {
        Import::new(place.old(), place.new_log()).run(AsIs::<OldTexts>::new).unwrap()
    });
    assert_eq!(report.chunks, chunks(&place.old()).len() as u64);
    assert_eq!((report.chunks, report.old_records, report.new_records), (4, 15, 15));
    let mut state = Texts::default();
    let mut wal = ChunkedWal::<NewTexts>::open(Config::new(place.new_log()), &mut state).unwrap();
    assert_eq!(state.0, TEXTS.concat());
    wal.append_and_apply(Text("twelve".into()), &mut state).unwrap();
    wal.close().unwrap();
    let found = records(&place.new_log());
    assert_eq!(found.len(), 16);
    // Each chunk has its checkpoint and 3 texts, as in the old log.
    for (i, chunk) in found.chunks(4).enumerate() {
        assert!(chunk.iter().all(|(id, _)| *id == chunk[0].0), "{found:?}");
        let before: String = TEXTS[..3 * i].concat();
        assert!(matches!(&chunk[0].1, WalRecord::Checkpoint(texts) if *texts == before), "{found:?}");
    }
}

#[test]
fn records_are_converted_by_functions() {
    let place = Place::new();
    write_texts(&place.old(), &TEXTS);
    let convert = || {
        Each::<OldTexts, NewTexts, _, _>::new(
            |text: Text| Ok(Text(text.0.to_uppercase())),
            |texts: String| Ok(texts.to_uppercase()),
        )
    };
    untouched(&place.old(), || Import::new(place.old(), place.new_log()).run(convert)).unwrap();
    let mut state = Texts::default();
    ChunkedWal::<NewTexts>::open(Config::new(place.new_log()), &mut state).unwrap();
    assert_eq!(state.0, TEXTS.concat().to_uppercase());
    Import::new(place.old(), place.new_log()).check(convert).unwrap();
    let error = Import::new(place.old(), place.new_log()).check(AsIs::<OldTexts>::new).unwrap_err();
    assert!(matches!(error, Error::Differs { what: "the record has other bytes", .. }), "{error}");
}

#[test]
fn a_converter_that_refuses_stops_the_import_at_the_record() {
    let place = Place::new();
    write_texts(&place.old(), &TEXTS);
    let convert = || {
        let refuse = |text: Text| match text.0.as_str() {
            "five" => Err(io::Error::other("no fives")),
            _ => Ok(text),
        };
        Each::<OldTexts, NewTexts, _, _>::new(refuse, Ok)
    };
    let error =
        untouched(&place.old(), || Import::new(place.old(), place.new_log()).run(convert)).unwrap_err();
    let Error::NotConvertible { path, position, .. } = &error else { panic!("{error}") };
    assert_eq!(*path, chunks(&place.old())[1]);
    // After the checkpoint `onetwo`, of 4 + 4 + 6 + 8 bytes, and `four`, of 4 + 4 + 4.
    assert_eq!(*position, 34);
    assert!(error.to_string().contains("no fives"), "{error}");
    place.assert_nothing_new();
}

#[test]
fn a_log_of_other_types_is_not_called_damaged() {
    let place = Place::new();
    write_texts(&place.old(), &TEXTS);
    let import = || Import::new(place.old(), place.new_log()).run(ToOpenraft::<LogWal>::new);
    let error = untouched(&place.old(), import).unwrap_err();
    assert!(matches!(error, Error::OtherTypes { .. }), "{error}");
    place.assert_nothing_new();
}

#[test]
fn a_log_of_this_version_needs_no_import() {
    let place = Place::new();
    ChunkedWal::<NewTexts>::open(Config::new(place.old()), &mut Texts::default()).unwrap();
    let error = Import::new(place.old(), place.new_log()).run(AsIs::<OldTexts>::new).unwrap_err();
    assert!(matches!(error, Error::NeedsNone { .. }), "{error}");
}

#[test]
fn opening_an_old_directory_names_the_importer() {
    let place = Place::new();
    write_texts(&place.old(), &TEXTS);
    let before: Vec<_> = chunks(&place.old()).iter().map(|path| fs::read(path).unwrap()).collect();
    let error = ChunkedWal::<NewTexts>::open(Config::new(place.old()), &mut Texts::default()).unwrap_err();
    assert!(error.to_string().contains("chunked-wal-import"), "{error}");
    assert_eq!(chunks(&place.old()).iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>(), before);
}

/// Opens the new log as bytes and changes it.
fn change(dir: &Path, change: impl FnOnce(&mut ChunkedWal<Raw>)) {
    struct Any;
    impl StateMachine<Raw> for Any {
        type Error = String;

        fn apply(&mut self, _: &WalRecord<Raw>, _: ChunkId, _: Segment) -> Result<(), String> {
            Ok(())
        }

        fn checkpoint(&self) -> Payload {
            Payload::default()
        }
    }
    let mut wal = ChunkedWal::<Raw>::open(Config::new(dir), &mut Any).unwrap();
    change(&mut wal);
    wal.close().unwrap();
}

fn append(wal: &mut ChunkedWal<Raw>, record: &WalRecord<Raw>) {
    wal.append(record).unwrap();
}

#[test]
fn the_check_finds_each_difference() {
    let place = Place::new();
    write_texts(&place.old(), &TEXTS[..10]);
    let import = || Import::new(place.old(), place.new_log());
    let difference = || match import().check(AsIs::<OldTexts>::new) {
        Err(Error::Differs { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    let payload = |text: &str| Payload(Text(text.into()).encode_to_vec().unwrap());
    let action = |text| WalRecord::Action(payload(text));
    let checkpoint = || WalRecord::Checkpoint(payload("any"));
    let anew = || {
        fs::remove_dir_all(place.new_log()).unwrap();
        import().run(AsIs::<OldTexts>::new).unwrap();
    };
    import().run(AsIs::<OldTexts>::new).unwrap();
    change(&place.new_log(), |wal| append(wal, &action("eleven")));
    assert_eq!(difference(), "another record follows");
    // Now the old log has that record, too.
    write_texts(&place.old(), &["eleven"]);
    import().check(AsIs::<OldTexts>::new).unwrap();
    write_texts(&place.old(), &["twelve"]);
    assert_eq!(difference(), "it ends");
    write_texts(&place.old(), &["13"]);
    anew();
    change(&place.new_log(), |wal| append(wal, &checkpoint()));
    write_texts(&place.old(), &["14"]);
    assert_eq!(difference(), "the record has another kind");
    anew();
    change(&place.new_log(), |wal| append(wal, &action("fifteen")));
    write_texts(&place.old(), &["15"]);
    assert_eq!(difference(), "the record has other bytes");
    anew();
    // The newest chunk has room for two more texts; after them, the old log starts another one.
    write_texts(&place.old(), &["16"]);
    anew();
    change(&place.new_log(), |wal| {
        ["17", "18"].iter().for_each(|text| append(wal, &action(text)));
        append(wal, &checkpoint());
    });
    write_texts(&place.old(), &["17", "18"]);
    assert_eq!(difference(), "a chunk starts elsewhere");
}
