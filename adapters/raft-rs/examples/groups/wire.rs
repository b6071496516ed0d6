//! Frames on Unix sockets: a process has one socket, for members and clients alike.
//!
//! ```text
//! frame   kind, 1 byte │ group or number │ bytes, with their length
//! ```

use std::io::{self, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chunked_wal::codeq::{Decode, Encode};

/// How long a process may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A message between members of the group. No answer.
    Message,
    /// A client's write, to the group.
    Write,
    /// A client asks for all that every group has applied.
    Read,
    /// A client asks for a few [`Numbers`].
    Status,
    /// The answer: it is done.
    Done,
    /// The answer: nothing was done, because the member with this number leads; 0 if none is known.
    Refused,
}

const KINDS: [Kind; 6] = [Kind::Message, Kind::Write, Kind::Read, Kind::Status, Kind::Done, Kind::Refused];

#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    pub(crate) number: u64,
    pub(crate) bytes: Vec<u8>,
}

impl Frame {
    pub(crate) fn new(kind: Kind, number: u64, bytes: Vec<u8>) -> Self {
        Frame { kind, number, bytes }
    }
}

impl Encode for Frame {
    fn encode<W: Write>(&self, mut w: W) -> io::Result<usize> {
        let head = (self.kind as u8).encode(&mut w)? + self.number.encode(&mut w)?;
        Ok(head + self.bytes.encode(w)?)
    }
}

impl Decode for Frame {
    fn decode<R: io::Read>(mut r: R) -> io::Result<Self> {
        let kind = KINDS.get(usize::from(u8::decode(&mut r)?)).copied();
        let kind = kind.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no kind of frame"))?;
        Ok(Frame { kind, number: Decode::decode(&mut r)?, bytes: Decode::decode(r)? })
    }
}

/// What a process says about itself. Sizes are in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Numbers {
    /// The groups whose member here leads.
    pub(crate) leads: u64,
    /// The groups of which it knows no leader.
    pub(crate) leaderless: u64,
    /// The log, what is alive in it, and what was appended anew since the process started.
    pub(crate) log: u64,
    pub(crate) alive: u64,
    pub(crate) moved: u64,
}

impl Encode for Numbers {
    fn encode<W: Write>(&self, w: W) -> io::Result<usize> {
        ((self.leads, self.leaderless), (self.log, (self.alive, self.moved))).encode(w)
    }
}

impl Decode for Numbers {
    fn decode<R: io::Read>(r: R) -> io::Result<Self> {
        let ((leads, leaderless), (log, (alive, moved))) = Decode::decode(r)?;
        Ok(Numbers { leads, leaderless, log, alive, moved })
    }
}

/// The socket of a process.
pub(crate) fn socket(dir: &Path, id: u64) -> PathBuf {
    dir.join(format!("{id}.socket"))
}

/// A client's connection to a process.
#[derive(Debug)]
pub(crate) struct Connection(BufReader<UnixStream>);

impl Connection {
    pub(crate) fn open(dir: &Path, id: u64) -> io::Result<Self> {
        let stream = UnixStream::connect(socket(dir, id))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Connection(BufReader::new(stream)))
    }

    /// Sends a question and waits for the answer.
    pub(crate) fn ask(&mut self, question: &Frame) -> io::Result<Frame> {
        let mut bytes = Vec::new();
        question.encode(&mut bytes)?;
        self.0.get_mut().write_all(&bytes)?;
        Frame::decode(&mut self.0)
    }
}
