//! Payloads as actions of a typed log.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::io::Read as _;

use chunked_wal::codeq::Decode;
use chunked_wal::codeq::Encode;

/// A payload in memory of its own. The log's frame knows its length.
#[derive(Clone, Default)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Encode for Bytes {
    fn encode<W: io::Write>(&self, mut writer: W) -> io::Result<usize> {
        writer.write_all(&self.0)?;
        Ok(self.0.len())
    }
}

impl Decode for Bytes {
    fn decode<R: io::Read>(mut reader: R) -> io::Result<Self> {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes)?;
        Ok(Bytes(bytes))
    }
}

/// How many bytes a payload has: all of them are read, none kept.
#[derive(Debug, Clone)]
pub(crate) struct Counted(pub(crate) usize);

impl Encode for Counted {
    fn encode<W: io::Write>(&self, mut writer: W) -> io::Result<usize> {
        io::copy(&mut io::repeat(0).take(self.0 as u64), &mut writer)?;
        Ok(self.0)
    }
}

impl Decode for Counted {
    fn decode<R: io::Read>(mut reader: R) -> io::Result<Self> {
        thread_local! {
            static BYTES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        BYTES.with_borrow_mut(|bytes| {
            bytes.clear();
            reader.read_to_end(bytes).map(Counted)
        })
    }
}
