//! A log of many chunks, of one record each: open, memory, listing, drain.

use std::path::Path;

use anyhow::Result;

use super::Options;
use super::disk_use;
use super::mib;
use super::ms;
use super::timed;
use crate::child::Task;
use crate::child::What;
use crate::peer::Log;
use crate::peer::Peer;
use crate::peer::Setup;
use crate::peer::payload;
use crate::peers::ours::Ours;
use crate::table::number;

pub(super) fn run(options: &Options, dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    println!("## A log of {} chunks\n", options.chunks);
    println!("| chunks | made, chunks/s | open, ms | memory, MiB | open files | listing, ms | disk, MiB |");
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    // A chunk is full as soon as it has a record, so that every append starts a new one.
    let setup = Setup { at_checkpoint: true, ..Setup::keeping(64) };
    let open = Task {
        what: What::Open,
        peer: Ours::Plain.name().to_owned(),
        dir: dir.to_owned(),
        setup: setup.clone(),
    };
    let mut made = 0;
    for chunks in [options.chunks / 100, options.chunks / 10, options.chunks] {
        let mut log = Ours::Plain.open_own(dir, &setup)?;
        log.set_payload(&payload(16));
        let ((), making) = timed(|| {
            while made + log.rotations < chunks {
                log.append_many(64)?;
                log.sync()?;
            }
            log.wait_idle()
        })?;
        let rate = log.rotations as f64 / making.as_secs_f64();
        made += log.rotations;
        drop(log);
        let (log, opened) = timed(|| Ours::Plain.open_own(dir, &setup))?;
        let (listed, listing) = timed(|| Ok(log.closed_chunks()))?;
        drop(log);
        let measured = open.run()?;
        println!(
            "| {listed} | {} | {} | {} | {} | {} | {} |",
            number(rate),
            number(ms(opened)),
            number(mib(measured["bytes"] as u64)),
            measured["files"],
            number(ms(listing)),
            number(mib(disk_use(dir)?.0)),
        );
    }
    let mut log = Ours::Plain.open_own(dir, &setup)?;
    let (chunks, drained) = timed(|| log.drain())?;
    let ((), removed) = timed(|| log.wait_idle())?;
    println!(
        "\nDrained: {chunks} chunks, {} ms in the call, {} ms until the files were gone; {} files left.\n",
        number(ms(drained)),
        number(ms(removed)),
        disk_use(dir)?.1,
    );
    drop(log);
    Ok(std::fs::remove_dir_all(dir)?)
}
