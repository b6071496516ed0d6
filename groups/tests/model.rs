//! Random changes of random groups, while space is reclaimed: the log has what a model has, also when it is opened
//! anew.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::{Duration, Instant};

use chunked_wal_groups::{Config, GroupLog};
use common::{Dice, Entry, Model, commit};

fn config(dir: &std::path::Path) -> Config {
    let mut config = Config::new(dir);
    config.wal.chunk_max_size = 4096;
    config
}

/// Waits until no more space is taken than there may be.
fn wait_for_space(log: &GroupLog<Entry>) {
    let begun = Instant::now();
    while log.space().log > log.space().allowed {
        assert!(begun.elapsed() < Duration::from_secs(20), "not reclaimed: {:?}", log.space());
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn the_log_has_what_the_model_has() {
    for seed in 0..5 {
        let dir = tempfile::tempdir().unwrap();
        let mut dice = Dice(seed);
        let mut model = Model::default();
        let mut moved = 0;
        for _ in 0..8 {
            let log = GroupLog::<Entry>::open(config(dir.path())).unwrap();
            assert_eq!(Model::of(&log).unwrap().groups, model.groups, "seed {seed}, opened");
            for step in 0..400 {
                let changes = model.draw(&mut dice, 30, 200);
                let ticket = commit(&log, &changes).unwrap();
                if dice.below(10) == 0 {
                    ticket.wait().unwrap();
                }
                if step % 40 == 0 {
                    assert_eq!(Model::of(&log).unwrap().groups, model.groups, "seed {seed}, step {step}");
                }
            }
            wait_for_space(&log);
            assert_eq!(Model::of(&log).unwrap().groups, model.groups, "seed {seed}, reclaimed");
            moved += log.space().moved;
            log.close().unwrap();
        }
        assert!(moved > 10_000, "seed {seed}: only {moved} bytes were moved");
    }
}
