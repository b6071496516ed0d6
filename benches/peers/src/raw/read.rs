//! S7: one frame at a random place of a file, by `pread` or from a memory map.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::Context as _;
use anyhow::Result;
use anyhow::ensure;
use memmap2::Mmap;

use super::frame;
use super::replay;
use crate::peer::Found;
use crate::peer::RandomReads;
use crate::peer::found;

/// A file of frames of one size.
#[derive(Debug)]
pub(crate) struct Frames {
    file: File,
    size: usize,
}

impl Frames {
    pub(crate) fn create(dir: &Path, payload: &[u8], count: u64) -> Result<Self> {
        let path = dir.join("file");
        replay::fill(&path, payload, count)?;
        Ok(Frames { file: File::open(path)?, size: frame::HEADER + payload.len() })
    }

    /// The same file, mapped.
    pub(crate) fn map(self) -> Result<MappedFrames> {
        #[expect(unsafe_code, reason = "mapping a file is")]
        // SAFETY: the file is in the run's own directory: no process writes to it or cuts it while it is mapped.
        let map = unsafe { Mmap::map(&self.file)? };
        Ok(MappedFrames { map, size: self.size })
    }
}

impl RandomReads for Frames {
    fn find<'a>(&'a self, records: &[u64]) -> Box<dyn Found + 'a> {
        let places = records.iter().map(|record| record * self.size as u64);
        found(places, |place| {
            let mut bytes = [0; 512];
            let bytes = bytes.get_mut(..self.size).context("a frame of more than 512 bytes")?;
            self.file.read_exact_at(bytes, *place)?;
            check(bytes)
        })
    }
}

/// A mapped file of frames of one size.
#[derive(Debug)]
pub(crate) struct MappedFrames {
    map: Mmap,
    size: usize,
}

impl RandomReads for MappedFrames {
    fn find<'a>(&'a self, records: &[u64]) -> Box<dyn Found + 'a> {
        let places = records.iter().map(|record| *record as usize * self.size);
        found(places, |start| check(self.map.get(*start..*start + self.size).context("no such frame")?))
    }
}

fn check(bytes: &[u8]) -> Result<usize> {
    ensure!(frame::walk(bytes) == (1, bytes.len()), "not a frame");
    Ok(bytes.len() - frame::HEADER)
}
