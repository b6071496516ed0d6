//! SQLite, the familiar reference: a table with an insert for each record, WAL mode, `synchronous=FULL`.

use std::path::Path;

use anyhow::Result;
use anyhow::ensure;
use parking_lot::Mutex;
use rusqlite::Connection;

use crate::peer::Fit;
use crate::peer::Found;
use crate::peer::Log;
use crate::peer::Peer;
use crate::peer::RandomReads;
use crate::peer::Setup;
use crate::peer::SharedLog;
use crate::peer::found;
use crate::workload::Workload;

const INSERT: &str = "INSERT INTO log (data) VALUES (?1)";
const READ: &str = "SELECT data FROM log WHERE id = ?1";

/// The most bytes of a transaction where a record needs none of its own.
const TRANSACTION_BYTES: u64 = 256 << 20;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Sqlite;

impl Peer for Sqlite {
    fn name(&self) -> &'static str {
        "SQLite"
    }

    fn fit(&self, workload: Workload) -> Fit {
        match workload {
            Workload::S3 => Fit::No("a commit blocks: nothing can be handed over and waited for later"),
            Workload::S6 => Fit::No("a table, not a log to replay"),
            Workload::S8 => Fit::No("has no segments that end"),
            _ => Fit::Yes,
        }
    }

    fn open(&self, dir: &Path, setup: &Setup) -> Result<Box<dyn Log>> {
        let forget_after = setup.forget.then_some(setup.chunk_bytes);
        let connection = connect(dir)?;
        Ok(Box::new(SqliteLog { connection, payload: Vec::new(), gathered: 0, forget_after, appended: 0 }))
    }

    fn replay(&self, dir: &Path, _setup: &Setup) -> Result<u64> {
        let connection = connect(dir)?;
        let mut statement = connection.prepare("SELECT data FROM log ORDER BY id")?;
        let mut rows = statement.query([])?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            ensure!(!row.get_ref(0)?.as_blob()?.is_empty(), "an empty record");
            count += 1;
        }
        Ok(count)
    }

    fn random_reads(&self, dir: &Path, payload: &[u8], count: u64) -> Result<Box<dyn RandomReads>> {
        let mut log = self.open(dir, &Setup::keeping(1 << 30))?;
        log.set_payload(payload);
        log.append_many(count)?;
        log.sync()?;
        drop(log);
        Ok(Box::new(Reads([connect(dir)?, connect(dir)?].map(Mutex::new))))
    }
}

fn connect(dir: &Path) -> Result<Connection> {
    let connection = Connection::open(dir.join("log.sqlite"))?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA cache_size = -65536;
         CREATE TABLE IF NOT EXISTS log (id INTEGER PRIMARY KEY, data BLOB NOT NULL);",
    )?;
    Ok(connection)
}

struct SqliteLog {
    connection: Connection,
    payload: Vec<u8>,
    /// Bytes of the transaction under way; none if there are none.
    gathered: u64,
    forget_after: Option<u64>,
    appended: u64,
}

impl SqliteLog {
    fn insert(&mut self) -> Result<()> {
        self.connection.prepare_cached(INSERT)?.execute([&self.payload])?;
        self.appended += self.payload.len() as u64;
        Ok(())
    }

    fn forget(&mut self) -> Result<()> {
        if self.forget_after.is_some_and(|bytes| self.appended >= bytes) {
            self.appended = 0;
            self.connection.execute("DELETE FROM log WHERE id < (SELECT max(id) FROM log)", [])?;
        }
        Ok(())
    }
}

impl Log for SqliteLog {
    fn set_payload(&mut self, payload: &[u8]) {
        self.payload = payload.to_vec();
    }

    fn append(&mut self) -> Result<()> {
        if self.gathered == 0 {
            self.connection.prepare_cached("BEGIN")?.execute([])?;
        }
        self.insert()?;
        self.gathered += self.payload.len() as u64;
        if self.gathered >= TRANSACTION_BYTES { self.sync() } else { Ok(()) }
    }

    fn sync(&mut self) -> Result<()> {
        if self.gathered > 0 {
            self.gathered = 0;
            self.connection.prepare_cached("COMMIT")?.execute([])?;
        }
        self.forget()
    }

    fn append_durable(&mut self) -> Result<()> {
        self.insert()?;
        self.forget()
    }

    fn share(self: Box<Self>) -> Box<dyn SharedLog> {
        Box::new(Mutex::new(*self))
    }
}

/// A connection for each of two readers.
struct Reads([Mutex<Connection>; 2]);

impl RandomReads for Reads {
    fn find<'a>(&'a self, records: &[u64]) -> Box<dyn Found + 'a> {
        found(records.iter().map(|record| *record as i64 + 1), |id| {
            let [first, second] = &self.0;
            let connection = first.try_lock().unwrap_or_else(|| second.lock());
            let mut statement = connection.prepare_cached(READ)?;
            Ok(statement.query_row([*id], |row| Ok(row.get_ref(0)?.as_blob()?.len()))?)
        })
    }
}
