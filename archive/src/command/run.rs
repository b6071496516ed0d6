//! `run`: archives a log that another process has open.

use std::path::Path;
use std::time::Duration;

use chunked_wal::raw::Listing;
use chunked_wal::{PinOptions, Subscriber};
use indicatif::ProgressBar;

use super::{Failure, RunArgs, print};
use crate::archiver::{Archiver, ArchiverStatus, OnMissing, SUBSCRIBER};
use crate::error::Error;

/// How long `--once` tries.
const ONCE: Duration = Duration::from_secs(3600);

pub(super) fn run(args: &RunArgs, json: bool) -> Result<(), Failure> {
    while args.wait && !args.log.is_dir() {
        std::thread::sleep(args.pause);
    }
    if !args.log.is_dir() {
        let line = format!("'{}': there is no such directory", args.log.display());
        return Err(Failure { status: 4, line });
    }
    let listing = Listing::of(&args.log).map_err(Error::from)?;
    if args.once && listing.chunks.is_empty() {
        let line = format!("'{}': there is no log in it yet", args.log.display());
        return Err(Failure { status: 6, line });
    }
    let on_missing = if args.skip_missing { OnMissing::Skip } else { OnMissing::Stop };
    let options = Archiver::of_directory(&args.log).pause(args.pause).on_missing(on_missing);
    let options = match (args.no_pin, args.pin_max_bytes) {
        (true, _) => options.without_pin(),
        (false, None) => options,
        (false, Some(bytes)) => {
            let pin = PinOptions::new().max_bytes(bytes);
            options.subscriber(Subscriber::options(&args.log, SUBSCRIBER).pin(pin))
        }
    };
    let archiver = options.start(args.store.open()?)?;
    if args.once {
        let status = archiver.close(ONCE)?;
        print::archiver(&status, json);
        return Ok(());
    }
    follow(&archiver, json)
}

/// Ends the subscription of earlier runs.
pub(super) fn release(log: &Path) -> Result<(), Failure> {
    let subscriber = Subscriber::options(log, SUBSCRIBER).start_over().open().map_err(Error::from)?;
    Ok(subscriber.remove().map_err(Error::from)?)
}

/// Shows how far the archiver is, until it stops.
fn follow(archiver: &Archiver, json: bool) -> Result<(), Failure> {
    let spinner = print::spinner();
    let mut shown = ArchiverStatus::default();
    loop {
        if let Some(error) = archiver.error() {
            spinner.finish_and_clear();
            return Err(error.into());
        }
        let status = archiver.status();
        if status != shown {
            show(&spinner, &status, json);
            shown = status;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn show(spinner: &ProgressBar, status: &ArchiverStatus, json: bool) {
    if json {
        print::archiver(status, json);
    } else if spinner.is_hidden() {
        if let Some(error) = &status.last_error {
            eprintln!("chunked-wal-archive: {error}; trying again");
        }
    } else {
        spinner.set_message(print::line(status));
        spinner.tick();
    }
}
