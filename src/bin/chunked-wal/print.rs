//! Records on standard output, and other text for people.

use std::ffi::OsStr;
use std::io;
use std::io::{BufWriter, StdoutLock, Write};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use chunked_wal::ChunkId;
use chunked_wal::raw::RawRecord;
use indicatif::BinaryBytes;
use serde_json::json;

use crate::args::{Format, PrintArgs};
use crate::outcome::Failure;

/// Prints records in the requested format.
pub(crate) struct Printer<'a> {
    args: &'a PrintArgs,
    out: BufWriter<StdoutLock<'static>>,
    line: Vec<u8>,
    printed: u64,
}

impl<'a> Printer<'a> {
    pub(crate) fn new(args: &'a PrintArgs) -> Self {
        Printer { args, out: BufWriter::new(io::stdout().lock()), line: Vec::new(), printed: 0 }
    }

    /// Whether the requested number of records was printed.
    pub(crate) fn is_done(&self) -> bool {
        self.args.limit.is_some_and(|limit| self.printed >= limit)
    }

    /// Prints a record, if it has the requested kind.
    pub(crate) fn print(&mut self, chunk: ChunkId, record: &RawRecord<'_>) -> Result<(), Failure> {
        if self.args.kind.is_some_and(|kind| !kind.is(record.kind)) {
            return Ok(());
        }
        self.printed += 1;
        let RawRecord { offset, size, kind, payload, .. } = record;
        self.line.clear();
        match self.args.format {
            Format::Raw => self.line.extend_from_slice(payload),
            Format::Json => {
                let mut object = json!({
                    "chunk": chunk.0,
                    "offset": offset,
                    "size": size,
                    "kind": kind.to_string(),
                    "payload_hex": hex(payload),
                });
                if let Ok(text) = std::str::from_utf8(payload) {
                    object["text"] = text.into();
                }
                writeln!(self.line, "{object}")?;
            }
            Format::Hex => {
                write!(self.line, "{offset:>14} {kind:<10} {size:>8}  ")?;
                self.line.extend_from_slice(hex(payload).as_bytes());
                self.line.push(b'\n');
            }
            Format::Utf8 => {
                write!(self.line, "{offset:>14} {kind:<10} {size:>8}  ")?;
                printable(payload, &mut self.line);
                self.line.push(b'\n');
            }
        }
        Ok(self.out.write_all(&self.line)?)
    }

    /// Flushes, so that a reader of the output sees the printed records.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.out.flush()?)
    }
}

/// Writes to standard output.
pub(crate) fn all(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |n: u8| char::from(DIGITS[usize::from(n & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// Text as it is; control characters and bytes that are not text are escaped.
fn printable(bytes: &[u8], line: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => line.extend_from_slice(b"\\\\"),
                '\n' | '\r' | '\t' => line.extend(c.escape_default().map(|c| c as u8)),
                c if c.is_ascii_control() => line.extend_from_slice(format!("\\x{:02x}", c as u8).as_bytes()),
                c if c.is_control() => line.extend_from_slice(c.escape_unicode().to_string().as_bytes()),
                c => line.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        for byte in chunk.invalid() {
            line.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
        }
    }
}

/// A number of bytes for people.
pub(crate) fn bytes(n: u64) -> String {
    BinaryBytes(n).to_string()
}

/// `1 chunk`, `2 chunks`.
pub(crate) fn count(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Describes a torn tail. `cut_at` is the size of the file, if the file ends within the torn write. A
/// crash may leave that, where the disk has lost a size that was only reserved; an interrupted copy
/// may, too.
pub(crate) fn torn(lost: u64, at: u64, cut_at: Option<u64>) -> String {
    let torn = format!("a torn write of {lost} bytes after offset {at}; the next open cuts it off");
    match cut_at {
        Some(len) => format!(
            "{torn}; the file ends within that write, after {len} bytes, though a log reserves space after its records: if the file was cut short, acknowledged records are missing"
        ),
        None => torn,
    }
}

/// Describes the lost bytes between sound records.
pub(crate) fn skipped(offsets: &Range<u64>) -> String {
    let Range { start, end } = offsets;
    format!("skipped {} from offset {start} to {end}", count(end - start, "byte"))
}

/// A name from outside, for a list of names on a terminal: in quotes and escaped, unless all of it is
/// plain.
pub(crate) fn name(name: &OsStr) -> String {
    let plain = |text: &str| text.chars().all(|c| c.is_alphanumeric() || "._-+=@#~:".contains(c));
    match name.to_str() {
        Some(text) if plain(text) => text.to_string(),
        _ => format!("{name:?}"),
    }
}

/// A path for JSON. A path that is not UTF-8 is escaped here, so that two such paths don't become the
/// same.
pub(crate) fn path(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    path.to_str().map_or_else(|| path.as_os_str().as_bytes().escape_ascii().to_string(), str::to_string)
}
