//! S3, S4 and S10: one thread copies and checksums, a second writes a MiB at a time and has the system
//! start on its way to the disk at once, so that the sync at the end finds little left to do.

use std::path::Path;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::Result;
use anyhow::anyhow;

use super::file::FileState;
use super::file::Ring;
use super::frame;

const BUFFER: usize = 1 << 20;

/// Buffers that may be on their way; past it the appender waits.
const BUFFERS: usize = 32;

/// The appender's side.
#[derive(Debug)]
pub(crate) struct Pipeline {
    buffer: Vec<u8>,
    /// None once the writer is to end.
    jobs: Option<SyncSender<Job>>,
    empty: Receiver<Vec<u8>>,
    synced: Receiver<Result<()>>,
    writer: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Job {
    Write(Vec<u8>),
    Sync,
}

impl Pipeline {
    pub(crate) fn start(dir: &Path, len: u64, state: FileState) -> Result<Self> {
        let mut ring = Ring::create_in(&dir.join("file"), len, state)?;
        let (jobs, work) = sync_channel(2 * BUFFERS);
        let (emptied, empty) = sync_channel(BUFFERS);
        let (report, synced) = sync_channel(1);
        for _ in 0..BUFFERS {
            emptied.send(Vec::with_capacity(2 * BUFFER))?;
        }
        let writer = std::thread::spawn(move || {
            let mut outcome = Ok(());
            for job in work {
                match job {
                    Job::Write(mut bytes) => {
                        outcome = outcome.and_then(|()| {
                            ring.write(&bytes)?;
                            ring.write_back(bytes.len())
                        });
                        bytes.clear();
                        let _appender_gone = emptied.send(bytes);
                    }
                    Job::Sync => {
                        let result = std::mem::replace(&mut outcome, Ok(()));
                        let result = result.and_then(|()| Ok(ring.file.sync_data()?));
                        let _appender_gone = report.send(result);
                    }
                }
            }
        });
        let buffer = Vec::with_capacity(2 * BUFFER);
        Ok(Pipeline { buffer, jobs: Some(jobs), empty, synced, writer: Some(writer) })
    }

    /// Appends `count` times, then waits until all of it is durable; returns when the last record was
    /// appended.
    pub(crate) fn append_then_sync(&mut self, payload: &[u8], count: u64) -> Result<Instant> {
        for _ in 0..count {
            frame::push(&mut self.buffer, payload);
            if self.buffer.len() >= BUFFER {
                self.hand_over()?;
            }
        }
        let appended = Instant::now();
        self.hand_over()?;
        self.send(Job::Sync)?;
        self.synced.recv()??;
        Ok(appended)
    }

    fn hand_over(&mut self) -> Result<()> {
        let empty = self.empty.recv()?;
        let full = std::mem::replace(&mut self.buffer, empty);
        self.send(Job::Write(full))
    }

    fn send(&self, job: Job) -> Result<()> {
        let jobs = self.jobs.as_ref().ok_or_else(|| anyhow!("the writer has ended"))?;
        jobs.send(job).map_err(|_| anyhow!("the writer has ended"))
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            let _ended = writer.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_records_are_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let mut pipeline = Pipeline::start(dir.path(), 8 << 20, FileState::Allocated).unwrap();
        pipeline.append_then_sync(&[7; 1000], 3000).unwrap();
        pipeline.append_then_sync(&[8; 1000], 1000).unwrap();
        let (frames, _) = frame::walk(&std::fs::read(dir.path().join("file")).unwrap());
        assert_eq!(frames, 4000);
    }
}
