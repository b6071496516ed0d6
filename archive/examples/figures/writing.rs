//! A log at a steady rate, alone and archived in turns: the time of an append and of a sync, what a lost machine would
//! have cost, and the bytes uploaded for each byte logged.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chunked_wal::raw::{Payload, Raw};
use chunked_wal::{ChunkId, ChunkedWal, Config, Segment, StateMachine, WalRecord};
use chunked_wal_archive::object_store::ObjectStore;
use chunked_wal_archive::{Archiver, local_store};

use crate::distant::{BYTES_PER_S as LINE, Distant, NARROW_BYTES_PER_S};
use crate::stats::quantile;

pub(crate) const RECORD: usize = 1000;
pub(crate) const BYTES_PER_S: f64 = 50e6;
/// Records are appended together, and then synced, this often.
const TURN: Duration = Duration::from_millis(5);
const TURNS: u32 = 600;
/// What a loss would cost is looked up this often.
const TURNS_PER_LOOK: u32 = 10;

/// Where the log is archived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    Alone,
    /// In a directory on the same disk.
    Directory,
    /// In a store at a distance.
    Distant,
    /// The same, behind a line that is hardly faster than the log.
    Narrow,
    /// Nowhere: the store is away all the time.
    Away,
}

pub(crate) const CASES: [Case; 5] = [Case::Alone, Case::Directory, Case::Distant, Case::Narrow, Case::Away];

/// By case, then by round.
pub(crate) type Writing = [Figures; 5];

#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) append_p99_ns: Vec<f64>,
    pub(crate) sync_p50_us: Vec<f64>,
    pub(crate) sync_p99_us: Vec<f64>,
    /// How long the oldest durable record that was not archived had been durable.
    pub(crate) lag_p50_ms: Vec<f64>,
    pub(crate) lag_max_ms: Vec<f64>,
    pub(crate) uploaded_per_logged: Vec<f64>,
}

/// Keeps nothing.
pub(crate) struct Nothing;

impl StateMachine<Raw> for Nothing {
    type Error = std::convert::Infallible;

    fn apply(&mut self, _: &WalRecord<Raw>, _: ChunkId, _: Segment) -> Result<(), Self::Error> {
        Ok(())
    }

    fn checkpoint(&self) -> Payload {
        Payload::default()
    }
}

pub(crate) fn round(dir: &Path, round: usize, writing: &mut Writing) {
    for case in (0..CASES.len()).map(|i| (i + round) % CASES.len()) {
        let (log, store) = (dir.join("log"), dir.join("store"));
        write(&log, CASES[case].store(&store), CASES[case], &mut writing[case]);
        remove(&log);
        remove(&store);
    }
}

/// Removes a file, or a directory with all that is in it, and waits until the disk has done so.
pub(crate) fn remove(path: &Path) {
    if path.is_dir() {
        std::fs::remove_dir_all(path).unwrap();
    } else if path.exists() {
        std::fs::remove_file(path).unwrap();
    }
    std::fs::File::open(path.parent().unwrap()).unwrap().sync_all().unwrap();
}

impl Case {
    fn store(self, dir: &Path) -> Option<Arc<dyn ObjectStore>> {
        match self {
            Case::Alone => None,
            Case::Directory => Some(local_store(dir).unwrap()),
            Case::Distant => Some(Distant::new(LINE)),
            Case::Narrow => Some(Distant::new(NARROW_BYTES_PER_S)),
            Case::Away => Some(Distant::away()),
        }
    }
}

fn write(log: &Path, store: Option<Arc<dyn ObjectStore>>, case: Case, figures: &mut Figures) {
    let mut wal = ChunkedWal::<Raw>::open(Config::new(log), &mut Nothing).unwrap();
    let archiver = store.map(|store| Archiver::attach(&wal, store).unwrap());
    let record = WalRecord::Action(Payload(vec![7; RECORD]));
    let records = (BYTES_PER_S * TURN.as_secs_f64() / RECORD as f64) as usize;
    let (mut appends, mut syncs, mut lags) = (Vec::new(), Vec::new(), Vec::new());
    let mut synced: Vec<(Instant, u64)> = Vec::new();
    let started = Instant::now();
    for turn in 1..=TURNS {
        for _ in 0..records {
            let began = Instant::now();
            wal.append(&record).unwrap();
            appends.push(began.elapsed().as_nanos() as f64);
        }
        let began = Instant::now();
        wal.sync().unwrap();
        syncs.push(began.elapsed().as_secs_f64() * 1e6);
        wal.try_close_full_chunk(&Nothing).unwrap();
        synced.push((Instant::now(), wal.progress().synced));
        if let Some(archiver) = archiver.as_ref().filter(|_| turn % TURNS_PER_LOOK == 0) {
            let end = archiver.status().end;
            let lost = synced.iter().find(|(_, offset)| *offset > end);
            lags.push(lost.map_or(0.0, |(at, _)| at.elapsed().as_secs_f64() * 1e3));
        }
        std::thread::sleep((TURN * turn).saturating_sub(started.elapsed()));
    }
    figures.append_p99_ns.push(quantile(&mut appends, 0.99));
    figures.sync_p50_us.push(quantile(&mut syncs, 0.5));
    figures.sync_p99_us.push(quantile(&mut syncs, 0.99));
    if let Some(archiver) = archiver.filter(|_| case != Case::Away) {
        figures.lag_p50_ms.push(quantile(&mut lags, 0.5));
        figures.lag_max_ms.push(quantile(&mut lags, 1.0));
        let status = archiver.close(Duration::from_secs(60)).unwrap();
        assert_eq!(status.end, wal.progress().synced);
        figures.uploaded_per_logged.push(status.uploaded_bytes as f64 / status.end as f64);
    }
    wal.close().unwrap();
}

/// Writes a log of so many bytes as fast as it can, and closes it.
pub(crate) fn write_log(dir: &Path, bytes: u64) {
    let mut wal = ChunkedWal::<Raw>::open(Config::new(dir), &mut Nothing).unwrap();
    let record = WalRecord::Action(Payload(vec![7; RECORD]));
    while wal.progress().appended < bytes {
        wal.append(&record).unwrap();
        wal.try_close_full_chunk(&Nothing).unwrap();
    }
    wal.close().unwrap();
}
