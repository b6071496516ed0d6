//! Reports the changes of a log, or of an SQLite WAL, until interrupted.
//!
//! ```text
//! cargo run --features monitor --example monitor -- DIRECTORY
//! cargo run --features monitor --example monitor -- app.db-wal
//! ```
//!
//! `--checkpoints` reads the index of an SQLite WAL too; `--poll` polls instead of using the operating
//! system's watch.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use chunked_wal::Error;
use chunked_wal::monitor::{MonitorOptions, SqliteFile, SqliteState, WalMonitor, Watch};

fn main() -> ExitCode {
    let mut options = MonitorOptions::new();
    let mut path = None;
    for argument in std::env::args_os().skip(1) {
        match argument.to_str() {
            Some("--checkpoints") => options = options.read_wal_index(),
            Some("--poll") => options = options.watch(Watch::Poll),
            _ => path = Some(PathBuf::from(argument)),
        }
    }
    let Some(path) = path else {
        eprintln!("monitor [--poll] [--checkpoints] DIRECTORY | FILE-wal");
        return ExitCode::from(2);
    };
    let outcome = if path.to_string_lossy().ends_with("-wal") {
        options.open_sqlite(&path).and_then(|monitor| follow(monitor, &path, sqlite))
    } else {
        options.open(&path).and_then(|monitor| {
            follow(monitor, &path, |log| {
                format!(
                    "{} records in {} chunks, up to {}, durable up to {}",
                    log.records, log.chunks, log.end, log.durable
                )
            })
        })
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn follow<S>(mut monitor: WalMonitor<S>, path: &Path, say: impl Fn(&S) -> String) -> Result<(), Error>
where
    S: Clone + PartialEq + Debug + Send + 'static,
{
    let started = Instant::now();
    println!("{}: {}", path.display(), say(&monitor.state()));
    for event in monitor.events() {
        let at = started.elapsed().as_secs_f64();
        match event {
            Ok(event) => println!("[{at:7.3}] {}: {}", event.changes, say(&event.state)),
            Err(error) => println!("[{at:7.3}] {error}"),
        }
    }
    Ok(())
}

fn sqlite(wal: &SqliteState) -> String {
    let checkpointed = match wal.checkpointed_frames {
        Some(frames) => format!(", {frames} of them checkpointed"),
        None => String::new(),
    };
    match wal.file {
        SqliteFile::Valid => format!(
            "{} frames, {} committed{checkpointed}; database of {} pages",
            wal.frames, wal.committed_frames, wal.database_pages
        ),
        SqliteFile::Invalid(defect) => defect.to_string(),
        SqliteFile::Empty => "empty".to_string(),
        _ => "not there".to_string(),
    }
}
