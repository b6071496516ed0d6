//! The command `chunked-wal-archive`: see `--help`, and docs/guide/archive.md.

use std::process::ExitCode;

fn main() -> ExitCode {
    chunked_wal_archive::main()
}
