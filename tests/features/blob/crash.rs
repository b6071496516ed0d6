//! A log and its blobs are cut at every operation of their disk. After any crash the acknowledged records are there,
//! and every record in the log names a blob that is there, byte for byte.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use chunked_wal::blob::{BlobConfig, BlobRef, BlobStore, BlobWal};
use chunked_wal::storage::MemoryStorage;
use chunked_wal::{ChunkId, ChunkedWal, Config, Flush, Segment, StateMachine, WalRecord, WalTypes};

/// An action is a blob's number and where it is.
struct Named;

impl WalTypes for Named {
    type Action = (u64, BlobRef);
    type Checkpoint = u64;
    type Callback = ();
}

/// The blobs that are named in the log since its oldest checkpoint, and how many there were in all.
#[derive(Default)]
struct Names {
    kept: Vec<(u64, BlobRef)>,
    count: u64,
}

impl StateMachine<Named> for Names {
    type Error = Infallible;

    fn apply(&mut self, record: &WalRecord<Named>, _: ChunkId, _: Segment) -> Result<(), Infallible> {
        match record {
            WalRecord::Action(named) => {
                self.kept.push(*named);
                self.count += 1;
            }
            WalRecord::Checkpoint(count) => self.count = *count,
        }
        Ok(())
    }

    fn checkpoint(&self) -> u64 {
        self.count
    }
}

fn payload(number: u64) -> Vec<u8> {
    let len = [40, 600, 40, 5000, 0, 1500][number as usize % 6];
    // Equal except for their first bytes, so that one blob's bytes could pass for another's.
    let mut text = format!("{number} ").into_bytes();
    text.resize(len, b'x');
    text
}

fn open(disk: &MemoryStorage) -> (BlobWal<Named>, Names) {
    let storage = Arc::new(disk.clone());
    let mut names = Names::default();
    let mut config = Config::new("/log");
    config.chunk_max_size = 400;
    // So small that the log writes by itself long before it is flushed.
    config.open_buffer_max_bytes = 64;
    let wal = ChunkedWal::options(config).storage(storage.clone()).open(&mut names).unwrap();
    let mut config = BlobConfig::new("/blobs");
    config.chunk_max_size = 4096;
    let blobs = BlobStore::open_on(config, storage).unwrap();
    (BlobWal::new(wal, blobs), names)
}

/// The disk before an operation, how many records were acknowledged by then, and the first that names a
/// blob which is still needed.
struct Cut {
    disk: MemoryStorage,
    acknowledged: u64,
    needed_from: u64,
}

/// Appends batches, with and without waiting; every so often old blobs are removed.
fn work(disk: &MemoryStorage, rounds: u64) -> Vec<Cut> {
    let cuts = Arc::new(Mutex::new(Vec::new()));
    let known = Arc::new(Mutex::new((0, 0)));
    let (watched, list, marks) = (disk.clone(), cuts.clone(), known.clone());
    disk.on_operation(move |op| {
        if op.kind.is_change() {
            let (acknowledged, needed_from) = *marks.lock().unwrap();
            list.lock().unwrap().push(Cut { disk: watched.kill(), acknowledged, needed_from });
        }
    });
    let (mut joined, mut names) = open(disk);
    for round in 0..rounds {
        let numbers = names.count..names.count + 1 + round % 4;
        let named: Vec<_> =
            numbers.map(|number| (number, joined.append_blob(&payload(number)).unwrap())).collect();
        let wal = joined.wal().unwrap();
        for action in named {
            wal.append_and_apply(action, &mut names).unwrap();
        }
        match round % 3 {
            0 => {}
            1 => drop(wal.flush_ticket(Flush::Write).unwrap()),
            _ => {
                wal.sync().unwrap();
                known.lock().unwrap().0 = names.count;
            }
        }
        if round % 8 == 7 {
            let oldest = names.kept[names.kept.len() / 2];
            known.lock().unwrap().1 = oldest.0;
            joined.remove_blobs_before(oldest.1).unwrap();
            known.lock().unwrap().0 = names.count;
        }
    }
    joined.close().unwrap();
    disk.on_operation(|_| {});
    std::mem::take(&mut *cuts.lock().unwrap())
}

/// Opens both, and reads every blob that a record names; then goes on.
fn judge(disk: &MemoryStorage, cut: &Cut) {
    let (mut joined, mut names) = open(disk);
    assert!(names.count >= cut.acknowledged, "{} of {}", names.count, cut.acknowledged);
    for (number, blob) in names.kept.iter().filter(|(number, _)| *number >= cut.needed_from) {
        let read = joined.read_blob(*blob).unwrap_or_else(|e| panic!("blob {number}: {e}"));
        assert_eq!(*read, payload(*number), "blob {number}");
    }
    let blob = joined.append_blob(&payload(names.count)).unwrap();
    joined.wal().unwrap().append_and_apply((names.count, blob), &mut names).unwrap();
    assert_eq!(*joined.read_blob(blob).unwrap(), payload(names.count - 1));
    joined.close().unwrap();
}

#[test]
fn after_any_crash_every_record_names_a_blob_that_is_there() {
    let disk = MemoryStorage::default();
    let cuts = work(&disk, 40);
    let mut judged = 0;
    for (at, cut) in cuts.iter().enumerate() {
        judge(&cut.disk.kill(), cut);
        for seed in 0..5 {
            judge(&cut.disk.crash(if seed < 2 { seed } else { seed * 1000 + at as u64 }), cut);
            judged += 1;
        }
    }
    println!("{} cuts, {judged} disks", cuts.len());
    assert!(cuts.len() > 200, "{}", cuts.len());
}
