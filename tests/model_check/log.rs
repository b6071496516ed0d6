//! A log of the crate's own appender's side, queue, worker and positions, without bytes.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::chunk::{ChunkFile, ChunkWriter, Disk, Tail};
use crate::config::IdleMark;
use crate::error::Result;
use crate::flush::{
    BatchLimit, ChunkBeginning, Flush, FlushSender, FlushTicket, HandOver, Housekeeper, Metrics, Pipeline,
    Positions, Queue, Quiet, Rotation, Spare, Worker,
};
use crate::format::{Header, Seal};
use crate::position::ChunkId;
use crate::record::{Callback, WalTypes};
use crate::sync::Mutex;

/// What the log holds.
#[derive(Debug)]
pub(crate) enum Model {}

impl WalTypes for Model {
    type Checkpoint = ();
    type Callback = FlushSender;
}

/// The owner of the log.
pub(crate) struct Appender {
    pub(crate) shared: Arc<Pipeline<Model>>,
    pub(crate) disk: Arc<Disk>,
    hand_over: HandOver<Model>,
    chunk: u64,
    pub(crate) end: u64,
}

impl Appender {
    /// A log in a chunk that is open, and the worker that serves it.
    pub(crate) fn new(
        queue_bytes_max: u64,
        limit: BatchLimit,
        disk: Arc<Disk>,
    ) -> (Self, Arc<Mutex<Worker<Model>>>) {
        let positions = Arc::new(Positions::new(0));
        let shared = Arc::new(Pipeline {
            queue: Queue::new(queue_bytes_max),
            positions: positions.clone(),
            tail: Arc::new(Tail::default()),
            metrics: Arc::new(Metrics::default()),
            housekeeper: Arc::new(Housekeeper::new(disk.clone(), positions)),
        });
        let worker = Arc::new(Mutex::new(Worker {
            shared: shared.clone(),
            storage: disk.clone(),
            dir: PathBuf::new(),
            limit,
            zero_ahead_bytes: 0,
            idle_mark: IdleMark::Written,
            on_chunk_persisted: None,
            unnamed: None,
            chunk: Some(ChunkWriter::new(&Header { chunk_id: 0 }, PathBuf::new(), disk.clone())),
            predecessor: None,
            batch: VecDeque::new(),
            quiet: Quiet::Unwatched,
        }));
        let hand_over = HandOver::new(worker.clone(), 0);
        (Appender { shared, disk, hand_over, chunk: 0, end: 0 }, worker)
    }

    /// Appends a record of `bytes` bytes; `false` if the log takes no more.
    pub(crate) fn append(&mut self, bytes: u64) -> bool {
        if self.shared.positions.check().is_err() {
            return false;
        }
        self.end += bytes;
        self.shared.positions.publish_appended(self.end);
        true
    }

    /// Waits for no room.
    pub(crate) fn ticket_now(&mut self, mode: Flush) -> FlushTicket {
        self.hand_over.ticket_now(self.end, mode)
    }

    pub(crate) fn sync(&mut self) -> Result<()> {
        self.hand_over.sync(self.end)
    }

    /// The callback is completed here if the flush is refused.
    pub(crate) fn flush(&mut self, mode: Flush, callback: Option<FlushSender>) -> Result<()> {
        let mut callback = callback;
        let handed_over = self.hand_over.flush(self.end, mode, &mut callback, 1, "flush");
        if let (Err(error), Some(callback)) = (&handed_over, callback) {
            callback.complete(Err(error.clone()));
        }
        handed_over
    }

    /// Goes over to a new chunk, which begins with one byte.
    pub(crate) fn rotate(&mut self) -> Result<()> {
        let bytes = self.hand_over.waiting(self.end) + 1;
        self.hand_over.wait_for_room(bytes, "rotate")?;
        let (header, end) = (Header { chunk_id: self.end }, self.end + 1);
        let ending = Some(Seal { records: 0, data_len: self.end - self.chunk, data_crc: 0 });
        let beginning = ChunkBeginning {
            file: Arc::new(ChunkFile(header)),
            path: PathBuf::new(),
            spare: Spare { path: PathBuf::new(), handle: self.disk.clone(), allocated: 0, zeroed: 0 },
            end,
            checkpoint: Some(()),
        };
        self.hand_over.rotate(Rotation { ending, beginning }, bytes, end)?;
        (self.chunk, self.end) = (self.end, end);
        self.shared.positions.publish_appended(end);
        Ok(())
    }
}
