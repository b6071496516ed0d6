//! The tour: a child process imports real text and is killed meanwhile; the records that were
//! acknowledged must be there, in order, and nothing else.

use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io};

use chunked_wal::WalRecord;

use crate::import::{GROUP, IN_FLIGHT_MAX};
use crate::record::{Action, Map};
use crate::report::{Progress, Story, bytes, count, counted, latency, time};
use crate::store::{Missing, Store};
use crate::victim::Killed;
use crate::{Outcome, import, input, victim};

/// The child is killed when this percentage of the records is acknowledged; earlier on the next try, if
/// it finished before the kill.
const KILL_AT: [RangeInclusive<u64>; 4] = [55..=75, 35..=55, 25..=35, 15..=25];

/// Fewer records would be written before the kill could come: shorter input is imported again and
/// again.
const RECORDS_MIN: usize = 4000;

/// How many chunks the whole import should fill, about, and the least for a tour over several chunks.
const CHUNKS: u64 = 16;
const CHUNKS_MIN: u64 = 4;

/// The prefix of a key that no file has.
const IMPORTED: &str = "imported/";

/// How long to wait for an archiver.
const HELD_MAX: Duration = Duration::from_secs(30);

/// Runs the tour over the text in `path`, or over this repository's, in a directory of its own.
pub(crate) fn run(dir: Option<&Path>, path: Option<&Path>) -> Outcome<()> {
    let files = input::read(&path.map_or_else(input::default_path, Path::to_owned))?;
    let Some(dir) = dir else {
        let temporary = tempfile::tempdir()?;
        let done = Tour::new(files, temporary.path(), io::stdout().lock())?.run();
        if done.as_ref().is_err_and(|e| !crate::is_broken_pipe(&**e)) {
            // Evidence.
            let kept = temporary.keep();
            let _stderr_closed = writeln!(io::stderr(), "kv: what the tour left is in '{}'", kept.display());
        }
        return done;
    };
    if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(format!("'{}' is not empty; the tour wants a directory of its own", dir.display()).into());
    }
    Tour::new(files, dir, io::stdout().lock())?.run()
}

struct Tour<W> {
    story: Story<W>,
    dir: PathBuf,
    chunk_max_size: u64,
    files: Map,
    /// The import, in order: record `i` of the log must be `plan[i]`.
    plan: Vec<Action>,
    /// The plan, encoded for the child.
    encoded: Vec<u8>,
    one: Vec<Duration>,
    many: Vec<Duration>,
    rows: Vec<[String; 5]>,
}

impl<W: Write> Tour<W> {
    fn new(files: Map, dir: &Path, out: W) -> Outcome<Self> {
        let once = input::actions(&files);
        let times = RECORDS_MIN.div_ceil(once.len());
        let plan: Vec<_> = once.iter().cycle().take(once.len() * times).cloned().collect();
        let encoded = victim::encode(&plan)?;
        let frames = encoded.len() as u64 + 20 * plan.len() as u64;
        Ok(Tour {
            story: Story::new(out),
            dir: dir.to_owned(),
            chunk_max_size: (frames / CHUNKS).clamp(1 << 10, 1 << 20),
            files,
            plan,
            encoded,
            one: Vec::new(),
            many: Vec::new(),
            rows: vec![["", "records", "chunks", "log", "time"].map(String::from)],
        })
    }

    fn run(mut self) -> Outcome<()> {
        self.story.line("kv: a durable key-value store on a chunked write-ahead log\n")?;
        let (killed, store) = self.import_and_kill()?;
        self.check_recovered(&killed, &store)?;
        let lost = store.recovery().torn_tail.map_or(0, |torn| torn.lost);
        let recovered = store.applied();
        let store = self.import_rest(store)?;
        self.snapshot(store)?;
        self.reopen()?;

        self.story.table(&self.rows)?;
        let sums = [
            ["records acknowledged".into(), count(killed.acknowledged)],
            ["records recovered".into(), count(recovered)],
            ["bytes cut off, half-written".into(), count(lost)],
        ];
        self.story.table(&sums)?;
        let many = format!("{GROUP} to a flush, {IN_FLIGHT_MAX} flushes waiting");
        let head = ["durable append, to its acknowledgement", "samples", "p50", "p99"].map(String::from);
        let rows = [head, latency("one at a time", &self.one), latency(&many, &self.many)];
        Ok(self.story.table(&rows)?)
    }

    /// Steps 1 to 3, repeated with an earlier kill if the child was faster, because the kill must come
    /// during the writes.
    fn import_and_kill(&mut self) -> Outcome<(Killed, Store)> {
        let lines = self.files.values().map(|lines| lines.len() as u64).sum();
        let files = counted(self.files.len() as u64, "file");
        let records = counted(self.plan.len() as u64, "record");
        let input = format!("{records} of {} in {files}, by a child process", counted(lines, "line"));
        self.story.step("import", &input)?;
        for percent in KILL_AT {
            let kill_at = self.plan.len() as u64 * random_in(percent) / 100;
            let mut progress = Progress::new(self.plan.len() as u64);
            let killed = victim::import_and_kill(
                &self.dir,
                self.chunk_max_size,
                &self.encoded,
                kill_at,
                &mut progress,
            )?;
            progress.stop();
            if let Some(killed) = killed {
                let started = Instant::now();
                let store = Store::open(&self.dir, self.chunk_max_size, Missing::Fail)?;
                if store.applied() < self.plan.len() as u64 {
                    self.report_kill(&killed, &store, started.elapsed())?;
                    return Ok((killed, store));
                }
            }
            fs::remove_dir_all(self.dir.join("log"))?;
        }
        Err("the child finished before the kill, each time; give more text to import".into())
    }

    fn report_kill(&mut self, killed: &Killed, store: &Store, reopening: Duration) -> Outcome<()> {
        let late = killed.acknowledged - killed.kill_at;
        let kill = format!(
            "SIGKILL in mid-write, {} acknowledged ({} of them still in the pipe then)",
            count(killed.acknowledged),
            count(late)
        );
        self.story.step("kill", &kill)?;
        self.one.extend(&killed.one);
        self.many.extend(&killed.many);
        let acknowledged = count(killed.acknowledged);
        self.rows.push(["import, killed".into(), acknowledged, "-".into(), "-".into(), time(killed.took)]);
        let found = store.recovery();
        let cut = match found.torn_tail {
            None => "no half-written record".to_string(),
            Some(torn) => format!("a half-written tail of {} bytes cut off", torn.lost),
        };
        let chunks = counted(found.chunks, "chunk");
        let text = format!("{} from {chunks}, {cut}", counted(store.applied(), "record"));
        self.story.step("reopen", &text)?;
        self.row("replay", store.applied(), found.chunks, found.bytes, reopening);
        Ok(())
    }

    fn check_recovered(&mut self, killed: &Killed, store: &Store) -> Outcome<()> {
        let recovered = store.applied();
        if recovered < killed.acknowledged {
            let acknowledged = count(killed.acknowledged);
            let recovered = count(recovered);
            return Err(
                format!("check failed: {acknowledged} acknowledged, only {recovered} recovered").into()
            );
        }
        let plan = &self.plan[..usize::try_from(recovered)?];
        check_log(store, plan)?;
        let mut expected = Map::new();
        plan.iter().for_each(|action| action.apply_to(&mut expected));
        check_map(store, &expected)?;
        self.story.holds("every acknowledged record is there")?;
        self.story.holds("all in the order of the import, each once, and nothing else")?;
        Ok(())
    }

    /// Step 4: this process imports the rest, into the same log.
    fn import_rest(&mut self, mut store: Store) -> Outcome<Store> {
        let rest = self.plan[usize::try_from(store.applied())?..].to_vec();
        let records = rest.len() as u64;
        self.story.step("go on", &format!("the other {}, by this process", counted(records, "record")))?;
        let started = Instant::now();
        let many = &mut self.many;
        import::in_groups(&mut store, &mut rest.into_iter().map(Ok), |acknowledged| {
            many.push(acknowledged.took);
            Ok(())
        })?;
        let took = started.elapsed();
        check_log(&store, &self.plan)?;
        check_map(&store, &self.files)?;
        self.story.holds("the log is the import, record by record; each key has its file's lines")?;
        let chunks = store.closed_chunks() as u64 + 1;
        if chunks < CHUNKS_MIN {
            return Err(format!("check failed: the import filled only {}", counted(chunks, "chunk")).into());
        }
        self.row("import of the rest", records, chunks, store.wal().on_disk_size(), took);
        Ok(store)
    }

    /// Step 5: a snapshot instead of the chunks, and one record after it.
    fn snapshot(&mut self, mut store: Store) -> Outcome<()> {
        let started = Instant::now();
        let snapshot = store.snapshot()?;
        let took = started.elapsed();
        let mut removed = snapshot.chunks_removed;
        // An archiver of this log keeps the chunks that it has not archived yet.
        while store.chunks_held() > 0 && started.elapsed() < HELD_MAX {
            std::thread::sleep(Duration::from_millis(20));
            removed += store.remove_superfluous()?;
        }
        let removed = counted(removed as u64, "chunk");
        let text = format!(
            "{} in a file of its own; {removed} before it removed",
            bytes(snapshot.bytes.unwrap_or(0))
        );
        self.story.step("snapshot", &text)?;
        let (chunks, log) = (store.closed_chunks() as u64 + 1, store.wal().on_disk_size());
        self.row("snapshot", store.applied(), chunks, log, took);

        let files = counted(self.files.len() as u64, "file");
        store.append(Action::set(IMPORTED, &files))?;
        store.sync()?;
        self.files.insert(IMPORTED.to_string(), vec![files]);
        store.close()
    }

    /// Step 6: the same state, from the snapshot and the rest of the log.
    fn reopen(&mut self) -> Outcome<()> {
        let started = Instant::now();
        let store = Store::open(&self.dir, self.chunk_max_size, Missing::Fail)?;
        let took = started.elapsed();
        let found = store.recovery().clone();
        // The log's count includes the checkpoint at the start of each chunk.
        let later = found.records - found.chunks;
        let from =
            format!("the snapshot, {} and {}", counted(found.chunks, "chunk"), counted(later, "record"));
        self.story.step("reopen", &format!("from {from} after it"))?;
        check_map(&store, &self.files)?;
        if (store.applied(), found.chunks, later) != (self.plan.len() as u64 + 1, 1, 1) {
            return Err(format!("check failed: 1 chunk and 1 record should be left, found {from}").into());
        }
        self.story.holds("each key has its file's lines, as before")?;
        self.row("replay", later, found.chunks, found.bytes, took);
        store.close()
    }

    fn row(&mut self, step: &str, records: u64, chunks: u64, log: u64, took: Duration) {
        self.rows.push([step.to_string(), count(records), count(chunks), bytes(log), time(took)]);
    }
}

/// Checks that the log's actions, read back from its chunks, are these: in order, each once, and no
/// others.
fn check_log(store: &Store, expected: &[Action]) -> Outcome<()> {
    let mut count = 0;
    for record in store.wal().records() {
        let (chunk_id, segment, WalRecord::Action(found)) = record? else { continue };
        if expected.get(count) != Some(&found) {
            let place = format!("record {count}, at {} in {chunk_id}", segment.offset);
            let imported = expected.get(count).map_or("no such record".to_string(), short);
            return Err(
                format!("check failed: {place}, is {}, imported was {imported}", short(&found)).into()
            );
        }
        count += 1;
    }
    match expected.get(count) {
        None => Ok(()),
        Some(missing) => Err(format!("check failed: record {count}, {}, is missing", short(missing)).into()),
    }
}

/// Describes an action in a few words, however long its line is.
fn short(action: &Action) -> String {
    let text = format!("{action:?}");
    if text.chars().count() > 100 { text.chars().take(97).collect::<String>() + "..." } else { text }
}

fn check_map(store: &Store, expected: &Map) -> Outcome<()> {
    let found = store.map();
    if found == expected {
        return Ok(());
    }
    let differs = |key: &&String| found.get(*key) != expected.get(*key);
    let key = expected.keys().chain(found.keys()).find(differs).map_or("", String::as_str);
    Err(format!("check failed: the key '{key}' has other values than were imported").into())
}

/// A different number of the range each time.
fn random_in(range: RangeInclusive<u64>) -> u64 {
    let (start, end) = range.into_inner();
    start + RandomState::new().hash_one(start) % (end - start + 1)
}
