//! The command `chunked-wal`, for logs of any types.

use std::process::ExitCode;

fn main() -> ExitCode {
    chunked_wal::tools::Tool::raw().main()
}
