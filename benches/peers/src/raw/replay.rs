//! S5: read a MiB at a time, check and count the frames.

use std::fs::File;
use std::io::Read;
use std::io::Write;
use std::path::Path;

use anyhow::Result;

use super::frame;

const BUFFER: usize = 1 << 20;

/// Writes a file of frames.
pub(crate) fn fill(path: &Path, payload: &[u8], count: u64) -> Result<()> {
    let mut file = std::io::BufWriter::with_capacity(BUFFER, File::create(path)?);
    let mut bytes = Vec::new();
    frame::push(&mut bytes, payload);
    for _ in 0..count {
        file.write_all(&bytes)?;
    }
    file.into_inner()?.sync_all()?;
    Ok(())
}

/// Reads the file, checks every frame, and counts them.
pub(crate) fn replay(path: &Path) -> Result<u64> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; BUFFER];
    let mut filled = 0;
    let mut count = 0;
    loop {
        let n = file.read(&mut buffer[filled..])?;
        if n == 0 {
            return Ok(count);
        }
        filled += n;
        let (frames, end) = frame::walk(&buffer[..filled]);
        count += frames;
        buffer.copy_within(end..filled, 0);
        filled -= end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_that_cross_a_read_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("frames");
        fill(&path, &[7; 1000], 5000).unwrap();
        assert_eq!(replay(&path).unwrap(), 5000);
    }
}
