//! Records on standard output, and other text for people.

use std::ffi::OsStr;
use std::io;
use std::io::{BufWriter, StdoutLock, Write};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use indicatif::{BinaryBytes, HumanCount};
use serde_json::json;

use super::args::{Format, Kind, PrintArgs};
use super::outcome::Failure;
use super::types::Types;
use crate::position::ChunkId;
use crate::raw::RawRecord;

/// Prints records in the requested format.
pub(super) struct Printer {
    kind: Option<Kind>,
    limit: Option<u64>,
    format: Format,
    types: Option<Types>,
    out: BufWriter<StdoutLock<'static>>,
    line: Vec<u8>,
    printed: u64,
}

impl Printer {
    pub(super) fn new(args: &PrintArgs, types: Option<Types>) -> Result<Self, Failure> {
        let default = if types.is_some() { Format::Decoded } else { Format::Hex };
        let format = args.format().unwrap_or(default);
        if format == Format::Decoded && types.is_none() {
            let line = "this command knows no types, so it can't decode records: choose another --format, or build \
                        a command for your types with `chunked_wal::tools::main`";
            return Err(Failure::usage(line));
        }
        let PrintArgs { kind, limit, .. } = *args;
        let out = BufWriter::new(io::stdout().lock());
        Ok(Printer { kind, limit, format, types, out, line: Vec::new(), printed: 0 })
    }

    /// Whether the requested number of records was printed.
    pub(super) fn is_done(&self) -> bool {
        self.limit.is_some_and(|limit| self.printed >= limit)
    }

    /// Prints a record, if it has the requested kind. Returns the codec's error if its types can't decode it;
    /// then its bytes are printed instead.
    pub(super) fn print(
        &mut self,
        chunk: ChunkId,
        record: &RawRecord<'_>,
    ) -> Result<io::Result<()>, Failure> {
        if self.kind.is_some_and(|kind| !kind.is(record.kind)) {
            return Ok(Ok(()));
        }
        self.printed += 1;
        self.line.clear();
        let decoded = match self.format {
            Format::Raw => {
                self.line.extend_from_slice(record.payload);
                Ok(())
            }
            Format::Json => self.json(chunk, record)?,
            Format::Decoded | Format::Hex | Format::Utf8 => self.text(record)?,
        };
        self.out.write_all(&self.line)?;
        Ok(decoded)
    }

    fn json(&mut self, chunk: ChunkId, record: &RawRecord<'_>) -> io::Result<io::Result<()>> {
        let RawRecord { offset, size, kind, payload, batch_goes_on, .. } = record;
        let mut object =
            json!({ "chunk": chunk.0, "offset": offset, "size": size, "kind": kind.to_string() });
        if *batch_goes_on {
            object["batch_goes_on"] = true.into();
        }
        let decoded = self.types.map(|types| types.value(*kind, payload)).transpose();
        if let Ok(Some(record)) = decoded {
            object["record"] = record;
            writeln!(self.line, "{object}")?;
            return Ok(Ok(()));
        }
        object["payload_hex"] = hex(payload).into();
        if let Ok(text) = std::str::from_utf8(payload) {
            object["text"] = text.into();
        }
        if let Err(error) = &decoded {
            object["undecodable"] = error.to_string().into();
        }
        writeln!(self.line, "{object}")?;
        Ok(decoded.map(drop))
    }

    fn text(&mut self, record: &RawRecord<'_>) -> io::Result<io::Result<()>> {
        let RawRecord { offset, size, kind, payload, .. } = record;
        write!(self.line, "{offset:>14} {kind:<10} {size:>8}  ")?;
        let mut decoded = Ok(());
        match (self.format, self.types) {
            (Format::Utf8, _) => printable(payload, &mut self.line),
            (Format::Decoded, Some(types)) => match types.text(*kind, payload) {
                // A type's own text may have control characters.
                Ok(text) => visible(&text, &mut self.line),
                Err(error) => {
                    write!(self.line, "not decoded: {}", hex(payload))?;
                    decoded = Err(error);
                }
            },
            _ => self.line.extend_from_slice(hex(payload).as_bytes()),
        }
        self.line.push(b'\n');
        Ok(decoded)
    }

    /// Flushes, so that a reader of the output sees the printed records.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.out.flush()?)
    }
}

/// Writes to standard output.
pub(super) fn all(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |n: u8| char::from(DIGITS[usize::from(n & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// Text as it is; control characters, backslashes and bytes that are not text are escaped.
fn printable(bytes: &[u8], line: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        visible(&chunk.valid().replace('\\', "\\\\"), line);
        for byte in chunk.invalid() {
            line.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
        }
    }
}

/// Text as it is; control characters are escaped.
fn visible(text: &str, line: &mut Vec<u8>) {
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => line.extend(c.escape_default().map(|c| c as u8)),
            c if c.is_ascii_control() => line.extend_from_slice(format!("\\x{:02x}", c as u8).as_bytes()),
            c if c.is_control() => line.extend_from_slice(c.escape_unicode().to_string().as_bytes()),
            c => line.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// The program's name: a user's own binary has another one.
pub(super) fn program() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let path = std::env::args_os().next().map(PathBuf::from);
        let name = path.as_deref().and_then(Path::file_name).and_then(OsStr::to_str);
        name.unwrap_or("chunked-wal").to_string()
    })
}

/// Prints one line to standard error.
pub(super) fn complain(line: &str) {
    eprintln!("{}: {line}", program());
}

/// A number of bytes for people.
pub(super) fn bytes(n: u64) -> String {
    BinaryBytes(n).to_string()
}

/// A count for people: `1,234`. Offsets have no groups, because they are given back to the command.
pub(super) fn number(n: u64) -> String {
    HumanCount(n).to_string()
}

/// A duration in microseconds, for people.
pub(super) fn micros(duration: Duration) -> String {
    format!("{} µs", number(duration.as_micros() as u64))
}

/// `1 chunk`, `2 chunks`.
pub(super) fn count(n: u64, what: &str) -> String {
    format!("{} {what}{}", number(n), if n == 1 { "" } else { "s" })
}

/// Describes a torn tail. `cut_at` is the size of the file, if the file ends within the torn write. A
/// crash may leave that, where the disk has lost a size that was only reserved; an interrupted copy
/// may, too.
pub(super) fn torn(lost: u64, at: u64, cut_at: Option<u64>) -> String {
    let torn =
        format!("a torn write of {} after offset {at}; the next open cuts it off", count(lost, "byte"));
    match cut_at {
        Some(len) => format!(
            "{torn}; the file ends within that write, after {}, though a log reserves space after its records: if the file was cut short, acknowledged records are missing",
            count(len, "byte")
        ),
        None => torn,
    }
}

/// Describes the lost bytes between sound records.
pub(super) fn skipped(offsets: &Range<u64>) -> String {
    let Range { start, end } = offsets;
    format!("skipped {} from offset {start} to {end}", count(end - start, "byte"))
}

/// A name from outside, for a list of names on a terminal: in quotes and escaped, unless all of it is
/// plain.
pub(super) fn name(name: &OsStr) -> String {
    let plain = |text: &str| text.chars().all(|c| c.is_alphanumeric() || "._-+=@#~:".contains(c));
    match name.to_str() {
        Some(text) if plain(text) => text.to_string(),
        _ => format!("{name:?}"),
    }
}

/// A path for JSON. A path that is not UTF-8 is escaped here, so that two such paths don't become the
/// same.
pub(super) fn path(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    path.to_str().map_or_else(|| path.as_os_str().as_bytes().escape_ascii().to_string(), str::to_string)
}
