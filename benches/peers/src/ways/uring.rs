//! io_uring: a write linked to a data sync, one call for both.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use anyhow::Context as _;
use anyhow::Result;
use anyhow::ensure;
use io_uring::IoUring;
use io_uring::opcode::Fsync;
use io_uring::opcode::Write;
use io_uring::squeue::Flags;
use io_uring::types::Fd;
use io_uring::types::FsyncFlags;

pub(super) struct Ring(IoUring);

impl Ring {
    pub(super) fn new() -> Result<Self> {
        Ok(Ring(IoUring::builder().setup_single_issuer().build(4).context("make a ring")?))
    }

    /// Writes the bytes, syncs the file's data after that, and waits for both.
    pub(super) fn write_and_sync(&mut self, file: &File, bytes: &[u8], offset: u64) -> Result<()> {
        let fd = Fd(file.as_raw_fd());
        let write = Write::new(fd, bytes.as_ptr(), bytes.len() as u32).offset(offset).build();
        // The sync starts once the write has succeeded.
        let write = write.flags(Flags::IO_LINK).user_data(0);
        let sync = Fsync::new(fd).flags(FsyncFlags::DATASYNC).build().user_data(1);
        #[expect(unsafe_code, reason = "the kernel reads the bytes after this call")]
        // SAFETY: `bytes` and `file` are borrowed until this function returns. It returns after both operations have
        // completed, or when the kernel refuses to take them, in which case it does not use them.
        unsafe {
            self.0.submission().push_multiple(&[write, sync]).context("no room in the ring")?;
        }
        let mut results = Vec::new();
        while results.len() < 2 {
            match self.0.submit_and_wait(2 - results.len()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                submitted => drop(submitted.context("submit")?),
            }
            results.extend(self.0.completion().map(|entry| (entry.user_data(), entry.result())));
        }
        for (operation, result) in results {
            ensure!(result >= 0, "{}", io::Error::from_raw_os_error(-result));
            let expected = if operation == 0 { bytes.len() as i32 } else { 0 };
            ensure!(result == expected, "{result} instead of {expected}");
        }
        Ok(())
    }
}
