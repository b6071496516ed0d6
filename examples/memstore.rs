//! A store of memories: texts of any size with tags, settings, and streams that only grow. It is killed
//! in mid-write, again and again, and replayed.
//!
//! ```text
//! cargo run --release --features blob --example memstore
//!
//! dir/log     actions, a few dozen bytes each: which memory, which tags, where its text is
//! dir/blobs   the texts
//! ```
//!
//! The parent starts itself as a child that writes, kills it (SIGKILL), opens the store and checks
//! everything in it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use chunked_wal::blob::{BlobConfig, BlobRef, BlobStore, BlobWal};
use chunked_wal::codeq::{Decode, Encode};
use chunked_wal::{ChunkId, ChunkedWal, Config, Segment, StateMachine, WalRecord, WalTypes};

const KILLS: u64 = 10;

/// A change of the store. Texts are named, not held.
#[derive(Debug, Clone, PartialEq)]
enum Action {
    AppendMemory { id: u64, text: BlobRef, tags: Vec<String> },
    Set { key: String, value: String },
    Delete { id: u64 },
    AppendStream { stream: String, text: BlobRef },
}

impl Encode for Action {
    fn encode<W: Write>(&self, mut w: W) -> io::Result<usize> {
        let mut n = 0;
        match self {
            Action::AppendMemory { id, text, tags } => {
                n += 1u8.encode(&mut w)? + id.encode(&mut w)? + text.encode(&mut w)?;
                n += (tags.len() as u32).encode(&mut w)?;
                for tag in tags {
                    n += tag.encode(&mut w)?;
                }
            }
            Action::Set { key, value } => {
                n += 2u8.encode(&mut w)? + key.encode(&mut w)? + value.encode(&mut w)?;
            }
            Action::Delete { id } => n += 3u8.encode(&mut w)? + id.encode(&mut w)?,
            Action::AppendStream { stream, text } => {
                n += 4u8.encode(&mut w)? + stream.encode(&mut w)? + text.encode(&mut w)?;
            }
        }
        Ok(n)
    }
}

impl Decode for Action {
    fn decode<R: Read>(mut r: R) -> io::Result<Self> {
        Ok(match u8::decode(&mut r)? {
            1 => {
                let (id, text) = (u64::decode(&mut r)?, BlobRef::decode(&mut r)?);
                let count = u32::decode(&mut r)?;
                let tags = (0..count).map(|_| String::decode(&mut r)).collect::<io::Result<_>>()?;
                Action::AppendMemory { id, text, tags }
            }
            2 => Action::Set { key: String::decode(&mut r)?, value: String::decode(&mut r)? },
            3 => Action::Delete { id: u64::decode(&mut r)? },
            4 => Action::AppendStream { stream: String::decode(&mut r)?, text: BlobRef::decode(&mut r)? },
            tag => return Err(io::Error::new(io::ErrorKind::InvalidData, format!("no action {tag}"))),
        })
    }
}

struct Memories;

impl WalTypes for Memories {
    type Action = Action;
    /// The number of actions before. All chunks are kept, so the checkpoint need not be the state.
    type Checkpoint = u64;
    type Callback = ();
}

/// The state: an index over the blobs.
#[derive(Default)]
struct Index {
    actions: u64,
    memories: BTreeMap<u64, (BlobRef, Vec<String>)>,
    settings: BTreeMap<String, String>,
    streams: BTreeMap<String, Vec<BlobRef>>,
}

impl StateMachine<Memories> for Index {
    type Error = Infallible;

    fn apply(&mut self, record: &WalRecord<Memories>, _: ChunkId, _: Segment) -> Result<(), Infallible> {
        let WalRecord::Action(action) = record else { return Ok(()) };
        self.actions += 1;
        match action.clone() {
            Action::AppendMemory { id, text, tags } => drop(self.memories.insert(id, (text, tags))),
            Action::Set { key, value } => drop(self.settings.insert(key, value)),
            Action::Delete { id } => drop(self.memories.remove(&id)),
            Action::AppendStream { stream, text } => self.streams.entry(stream).or_default().push(text),
        }
        Ok(())
    }

    fn checkpoint(&self) -> u64 {
        self.actions
    }
}

struct MemStore {
    log: BlobWal<Memories>,
    index: Index,
}

impl MemStore {
    fn open(dir: &Path) -> Result<Self, chunked_wal::Error> {
        let mut index = Index::default();
        let mut config = Config::new(dir.join("log"));
        config.chunk_max_size = 64 << 10;
        let wal = ChunkedWal::open(config, &mut index)?;
        let mut config = BlobConfig::new(dir.join("blobs"));
        config.chunk_max_size = 4 << 20;
        Ok(MemStore { log: BlobWal::new(wal, BlobStore::open(config)?), index })
    }

    /// Appends a memory, which is durable when this returns: first the text, then the action that names
    /// it.
    fn append_memory(&mut self, id: u64, text: &str, tags: &[&str]) -> Result<(), chunked_wal::Error> {
        let tags = tags.iter().map(|tag| tag.to_string()).collect();
        let text = self.log.append_blob(text.as_bytes())?;
        self.apply(Action::AppendMemory { id, text, tags })
    }

    fn append_stream(&mut self, stream: &str, text: &str) -> Result<(), chunked_wal::Error> {
        let text = self.log.append_blob(text.as_bytes())?;
        self.apply(Action::AppendStream { stream: stream.to_string(), text })
    }

    fn apply(&mut self, action: Action) -> Result<(), chunked_wal::Error> {
        let wal = self.log.wal()?;
        wal.append_and_apply(action, &mut self.index)?;
        wal.sync()
    }

    fn text(&self, blob: BlobRef) -> Result<String, Box<dyn Error>> {
        Ok(String::from_utf8(self.log.read_blob(blob)?.to_vec())?)
    }
}

/// A text that names its owner, from a line to some hundred KiB.
fn text_of(name: &str, n: u64) -> String {
    format!("{name} {n}: what was remembered\n").repeat(1 + (n * n % 5000) as usize)
}

/// Changes the store until the process is killed; prints after each action how many are durable.
fn act_for_ever(dir: &Path) -> Result<(), Box<dyn Error>> {
    let mut store = MemStore::open(dir)?;
    let mut out = io::stdout().lock();
    loop {
        let n = store.index.actions;
        match n % 8 {
            3 => store.apply(Action::Set { key: format!("key {}", n % 5), value: n.to_string() })?,
            5 => store.apply(Action::Delete { id: n.saturating_sub(40) / 2 })?,
            1 | 7 => store.append_stream("diary", &text_of("diary", n))?,
            _ => store.append_memory(n, &text_of("memory", n), &["kept", &format!("n{n}")])?,
        }
        writeln!(out, "{}", store.index.actions)?;
    }
}

/// Checks everything: each text must be the one that was written.
fn look_at_all(store: &MemStore) -> Result<u64, Box<dyn Error>> {
    let mut bytes = 0;
    for (id, (text, tags)) in &store.index.memories {
        if store.text(*text)? != text_of("memory", *id) || tags[1] != format!("n{id}") {
            return Err(format!("memory {id} is not what was remembered").into());
        }
        bytes += text.length;
    }
    // The diary has the actions 1, 7, 9, 15 and so on.
    for (i, text) in store.index.streams.get("diary").into_iter().flatten().enumerate() {
        let n = (i as u64 / 2) * 8 + if i % 2 == 0 { 1 } else { 7 };
        if store.text(*text)? != text_of("diary", n) {
            return Err(format!("page {i} of the diary is not what was written").into());
        }
        bytes += text.length;
    }
    Ok(bytes)
}

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(dir) = std::env::args().nth(1) {
        return act_for_ever(Path::new(&dir));
    }
    let dir = tempfile::tempdir()?;
    for kill in 1..=KILLS {
        let mut child =
            Command::new(std::env::current_exe()?).arg(dir.path()).stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no pipe")?).lines();
        let mut durable = 0;
        for line in lines.by_ref().take((kill * 53 % 90) as usize + 1) {
            durable = line?.parse()?;
        }
        child.kill()?; // SIGKILL
        child.wait()?;
        for line in lines.map_while(Result::ok) {
            durable = line.parse().unwrap_or(durable); // was in the pipe
        }

        let store = MemStore::open(dir.path())?;
        let Index { actions, memories, settings, streams } = &store.index;
        let bytes = look_at_all(&store)?;
        println!(
            "killed after {durable} actions: {actions} are there; {} memories, {} settings, {} pages, {} KiB of text",
            memories.len(),
            settings.len(),
            streams.values().map(Vec::len).sum::<usize>(),
            bytes / 1024,
        );
        if *actions < durable {
            return Err("an action was lost".into());
        }
    }
    let store = MemStore::open(dir.path())?;
    let log: u64 = store.log.blobs().chunks().iter().map(|chunk| chunk.size).sum();
    println!("{} KiB in {} chunks of blobs", log / 1024, store.log.blobs().chunks().len());
    Ok(())
}
