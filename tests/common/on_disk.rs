//! A log of small chunks in a real directory.

use std::path::Path;

use chunked_wal::Config;

use super::{List, Wal};

pub fn config(dir: &Path) -> Config {
    let mut config = Config::new(dir);
    config.chunk_max_size = 4096;
    config
}

pub fn open(dir: &Path) -> (Wal, List) {
    let mut list = List::default();
    let wal = Wal::open(config(dir), &mut list).unwrap();
    (wal, list)
}
