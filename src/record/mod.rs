//! The parts that a user of the log brings: types ([`WalTypes`]), a [`StateMachine`] and a
//! [`Callback`].

mod batch;

use std::cell::Cell;
use std::io::Write;
use std::marker::PhantomData;
use std::sync::Arc;
use std::{fmt, io};

use codeq::{Codec, Encode};

use crate::error::{Error, Undecodable};
use crate::format::{Frame, Kind, Owner};
use crate::payload::PayloadRef;
use crate::position::{ChunkId, Segment};

pub use batch::Batch;

/// The types of one log, gathered so that everything else needs one parameter.
///
/// # What a codec may rely on, and what the log relies on
///
/// - `decode` gets a reader of exactly the bytes that `encode` wrote: it ends with the payload. So a codec needs no
///   length of its own, and may [read to the end](io::Read::read_to_end).
/// - `decode` must read all of them. Bytes that are left over are [`Error::Decode`].
/// - `encode` returns the number of bytes that it wrote; another number is [`Error::Encode`], and nothing is appended.
/// - The bytes were checked against their checksum: `decode` sees no damage, but it may see records of another version
///   of the type. Bytes that it doesn't know should be an error, not a panic.
/// - What it decodes must encode to the same bytes, up to their order. Builds with debug assertions check that for each
///   append; the feature `testing` has `testing::check_codec`.
///
/// ```
/// struct Log;
///
/// impl chunked_wal::WalTypes for Log {
///     type Action = String;
///     type Checkpoint = u64;
///     type Callback = std::sync::mpsc::Sender<Result<(), std::io::Error>>;
/// }
/// ```
pub trait WalTypes: 'static {
    /// The change that a record holds: appended by the program, and replayed into the state machine.
    type Action: Codec + fmt::Debug + Clone + Send + 'static;

    /// The state after all records before a chunk: small, or the name of a snapshot. The first record of every chunk is
    /// a checkpoint.
    type Checkpoint: Codec + fmt::Debug + Clone + PartialEq + Send + Sync + 'static;

    /// Called when a flush is done.
    type Callback: Callback;

    /// Decodes an action from its payload. Default: by the action's codec.
    ///
    /// For types that read from a slice faster than from a reader, or that keep the payload's memory instead of a copy
    /// ([`PayloadRef::share`](PayloadRef), feature `bytes`). It must return the value that the codec returns for the
    /// same bytes, and an error for bytes that it doesn't know or use. All reads of records call it;
    /// `testing::check_codec` uses the codec.
    ///
    /// ```
    /// use std::io;
    ///
    /// use chunked_wal::{PayloadRef, WalTypes};
    ///
    /// struct Log;
    /// impl WalTypes for Log {
    ///     type Action = String;
    ///     type Checkpoint = u64;
    ///     type Callback = ();
    ///
    ///     fn decode_action(payload: PayloadRef<'_>) -> io::Result<String> {
    ///         if payload.len() > 1000 {
    ///             return Err(io::Error::new(io::ErrorKind::InvalidData, "no name is that long"));
    ///         }
    ///         payload.decode()
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// They are reported as [`Error::Decode`].
    #[inline]
    fn decode_action(payload: PayloadRef<'_>) -> io::Result<Self::Action> {
        payload.decode()
    }
}

/// One record of the log.
pub enum WalRecord<W: WalTypes> {
    /// A change of the user's state.
    Action(W::Action),
    /// The state at this position. Every chunk starts with a checkpoint; a program may append more, for
    /// example after installing a snapshot.
    Checkpoint(W::Checkpoint),
}

thread_local! {
    /// The buffer that the thread's last payload was decompressed into.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A larger buffer is not kept.
const SCRATCH_KEPT: usize = 1 << 20;

/// What a frame is made of: a record, or one that was encoded before.
pub(crate) trait ToPayload {
    fn kind(&self) -> Kind;

    /// Writes the payload; returns the length that the codec claims to have written.
    fn encode_payload(&self, writer: impl Write) -> io::Result<usize>;

    /// Checks that the codec decodes the payload that it has just encoded for this record.
    fn check_payload(&self, payload: &[u8]) -> io::Result<()>;
}

impl<W: WalTypes> ToPayload for WalRecord<W> {
    #[inline]
    fn kind(&self) -> Kind {
        match self {
            WalRecord::Action(_) => Kind::Action,
            WalRecord::Checkpoint(_) => Kind::Checkpoint,
        }
    }

    #[inline]
    fn encode_payload(&self, writer: impl Write) -> io::Result<usize> {
        match self {
            WalRecord::Action(action) => action.encode(writer),
            WalRecord::Checkpoint(checkpoint) => checkpoint.encode(writer),
        }
    }

    /// Types need no `PartialEq`: the decoded record is encoded again and the bytes are compared. They
    /// are compared without their order, because a map without an order of its own may write its
    /// entries in another order.
    fn check_payload(&self, payload: &[u8]) -> io::Result<()> {
        let decoded = Self::decode_payload(self.kind(), PayloadRef::from(payload))
            .map_err(|error| misread(format!("decoding it fails: {error}")))?;
        let mut tally = Tally::of(payload);
        let encoded = decoded.encode_payload(&mut tally);
        encoded.map_err(|error| misread(format!("encoding what it decoded fails: {error}")))?;
        if tally.is_even() { Ok(()) } else { Err(misread("it decodes to another record".to_string())) }
    }
}

impl<W: WalTypes> WalRecord<W> {
    /// Decodes a record from its frame. Payload bytes that the codec leaves unread are an error.
    #[inline]
    pub(crate) fn decode(frame: &Frame<'_>) -> Result<Self, Undecodable> {
        if !frame.is_plain() {
            return Self::decode_transformed(frame);
        }
        let payload = PayloadRef::new(frame.payload, frame.owner);
        // Not by `map_err`, which would move the record once more.
        match Self::decode_payload(frame.kind, payload) {
            Ok(record) => Ok(record),
            Err(e) => Err(Undecodable::Codec(e)),
        }
    }

    /// Decodes a record and gives it to `use_it`, without a move on the way: a move of bytes that were just written
    /// waits for them.
    #[inline(always)]
    pub(crate) fn decode_for<T>(
        frame: &Frame<'_>,
        use_it: impl FnOnce(&Self) -> T,
        failed: impl FnOnce(Undecodable) -> T,
    ) -> T {
        if frame.kind == Kind::Action && frame.is_plain() {
            return match W::decode_action(PayloadRef::new(frame.payload, frame.owner)) {
                Ok(action) => use_it(&WalRecord::Action(action)),
                Err(e) => failed(Undecodable::Codec(e)),
            };
        }
        match Self::decode(frame) {
            Ok(record) => use_it(&record),
            Err(e) => failed(e),
        }
    }

    /// Not inlined: a record that is stored as it is must not pay for it.
    #[inline(never)]
    fn decode_transformed(frame: &Frame<'_>) -> Result<Self, Undecodable> {
        // A codec that reads a record inside its own decoding finds the buffer taken, and gets a new
        // one.
        let mut scratch = SCRATCH.try_with(Cell::take).unwrap_or_default();
        let payload = frame.raw_payload(&mut scratch).ok_or(Undecodable::Compressed)?;
        let payload = PayloadRef::new(payload, Owner::none());
        let decoded = Self::decode_payload(frame.kind, payload).map_err(Undecodable::Codec);
        if scratch.capacity() <= SCRATCH_KEPT {
            let _thread_is_ending = SCRATCH.try_with(|place| place.set(scratch));
        }
        decoded
    }

    #[inline]
    fn decode_payload(kind: Kind, payload: PayloadRef<'_>) -> io::Result<Self> {
        match kind {
            Kind::Checkpoint => payload.decode().map(WalRecord::Checkpoint),
            _ => W::decode_action(payload).map(WalRecord::Action),
        }
    }
}

fn misread(why: String) -> io::Error {
    let message = format!(
        "the codec can't read back what it wrote ({why}): the log could not be opened again; this is checked in \
         builds with debug assertions only"
    );
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// How often each byte occurs in the first encoding, less how often in the second.
struct Tally([i64; 256]);

impl Tally {
    fn of(bytes: &[u8]) -> Self {
        let mut tally = Tally([0; 256]);
        bytes.iter().for_each(|byte| tally.0[usize::from(*byte)] += 1);
        tally
    }

    fn is_even(&self) -> bool {
        self.0.iter().all(|n| *n == 0)
    }
}

impl Write for Tally {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        bytes.iter().for_each(|byte| self.0[usize::from(*byte)] -= 1);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: WalTypes> fmt::Debug for WalRecord<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WalRecord::Action(action) => f.debug_tuple("Action").field(action).finish(),
            WalRecord::Checkpoint(checkpoint) => f.debug_tuple("Checkpoint").field(checkpoint).finish(),
        }
    }
}

// By hand, because a derive would ask `W` itself to be `Clone` and `PartialEq`.
impl<W: WalTypes> Clone for WalRecord<W> {
    fn clone(&self) -> Self {
        match self {
            WalRecord::Action(action) => WalRecord::Action(action.clone()),
            WalRecord::Checkpoint(checkpoint) => WalRecord::Checkpoint(checkpoint.clone()),
        }
    }
}

impl<W: WalTypes<Action: PartialEq>> PartialEq for WalRecord<W> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (WalRecord::Action(a), WalRecord::Action(b)) => a == b,
            (WalRecord::Checkpoint(a), WalRecord::Checkpoint(b)) => a == b,
            _ => false,
        }
    }
}

impl<W: WalTypes<Action: Eq, Checkpoint: Eq>> Eq for WalRecord<W> {}

/// A record that is encoded already, to be appended with
/// [`ChunkedWal::append_encoded`](crate::ChunkedWal::append_encoded): where encoding costs more than a copy, other
/// threads can do it, and the appender only copies.
///
/// ```
/// # use chunked_wal::raw::{Payload, Raw};
/// # use chunked_wal::{ChunkId, ChunkedWal, Config, Segment, StateMachine};
/// # struct Nothing;
/// # impl StateMachine<Raw> for Nothing {
/// #     type Error = std::convert::Infallible;
/// #     fn apply(&mut self, _: &WalRecord<Raw>, _: ChunkId, _: Segment) -> Result<(), Self::Error> { Ok(()) }
/// #     fn checkpoint(&self) -> Payload { Payload::default() }
/// # }
/// # let dir = tempfile::tempdir()?;
/// # let mut wal = ChunkedWal::<Raw>::open(Config::new(dir.path()), &mut Nothing)?;
/// use chunked_wal::{Encoded, WalRecord};
///
/// let record = WalRecord::Action(Payload(b"costly".to_vec()));
/// let encoding = std::thread::spawn(move || Encoded::<Raw>::new(&record));
/// let segment = wal.append_encoded(&encoding.join().unwrap()?)?;
/// assert_eq!(wal.read_record(segment)?, WalRecord::Action(Payload(b"costly".to_vec())));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Encoded<W: WalTypes> {
    kind: Kind,
    payload: Vec<u8>,
    types: PhantomData<fn() -> W>,
}

impl<W: WalTypes> Encoded<W> {
    /// Encodes a record. A codec's panic goes through to the caller.
    ///
    /// In builds with debug assertions the record is decoded again, as an append does it.
    ///
    /// # Errors
    ///
    /// [`Error::Encode`] if the codec fails, returns another length than it wrote, or can't read back what it wrote.
    pub fn new(record: &WalRecord<W>) -> Result<Self, Error> {
        let mut payload = Vec::new();
        let encode_error = |e| Error::Encode { source: Arc::new(e) };
        let claimed = record.encode_payload(&mut payload).map_err(encode_error)?;
        if claimed != payload.len() {
            return Err(misstated(claimed, payload.len()));
        }
        if cfg!(debug_assertions) {
            record.check_payload(&payload).map_err(encode_error)?;
        }
        Ok(Encoded { kind: record.kind(), payload, types: PhantomData })
    }

    /// The payload: what the codec wrote.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }
}

impl<W: WalTypes> ToPayload for Encoded<W> {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn encode_payload(&self, mut writer: impl Write) -> io::Result<usize> {
        writer.write_all(&self.payload).map(|()| self.payload.len())
    }

    /// It was checked when it was encoded.
    fn check_payload(&self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

impl<W: WalTypes> Clone for Encoded<W> {
    fn clone(&self) -> Self {
        Encoded { kind: self.kind, payload: self.payload.clone(), types: PhantomData }
    }
}

impl<W: WalTypes> fmt::Debug for Encoded<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Encoded({:?}, {} bytes)", self.kind, self.payload.len())
    }
}

/// The error of a codec that returned another length than it wrote.
pub(crate) fn misstated(claimed: usize, written: usize) -> Error {
    let message = format!("the codec returned {claimed} bytes but wrote {written}");
    Error::Encode { source: Arc::new(io::Error::new(io::ErrorKind::InvalidData, message)) }
}

/// The state that the log is replayed into.
///
/// A new log only calls [`checkpoint`](Self::checkpoint) and applies nothing. Replay starts with the
/// first checkpoint of the oldest chunk kept. Where checkpoints name snapshots, that checkpoint may be
/// older than the one that justified a removal, if a crash came before the removal was done.
pub trait StateMachine<W: WalTypes> {
    /// The reason why a record can't be applied. `String`, `&str`, [`io::Error`] and
    /// [`Infallible`](std::convert::Infallible) work.
    type Error: Into<Box<dyn std::error::Error + Send + Sync>>;

    /// Applies a record as a whole, or returns an error and changes nothing.
    ///
    /// A `Checkpoint` replaces the state by the state that it names.
    fn apply(
        &mut self,
        record: &WalRecord<W>,
        chunk_id: ChunkId,
        segment: Segment,
    ) -> Result<(), Self::Error>;

    /// Returns the state after the last applied record. Opening a log calls this too, where it has to
    /// start a new chunk.
    fn checkpoint(&self) -> W::Checkpoint;
}

/// Applies a record; the error of one that is refused says where the record is.
#[inline]
pub(crate) fn apply<W: WalTypes, SM: StateMachine<W>>(
    state_machine: &mut SM,
    record: &WalRecord<W>,
    chunk_id: ChunkId,
    segment: Segment,
) -> Result<(), Error> {
    state_machine.apply(record, chunk_id, segment).map_err(|error| {
        let source = Arc::from(error.into());
        Error::StateMachine { chunk_id, offset: segment.offset, source }
    })
}

/// Called exactly once, when a flush is done or has failed.
///
/// Callbacks run on the flush worker's thread, in the order of their flushes. A callback that blocks
/// (in a bounded channel that is full) delays every later flush. A callback that panics is caught,
/// logged and counted. In a callback, blocking methods of the log return [`Error::WouldDeadlock`].
///
/// Don't take a mutex in a callback that the appender may hold while it appends or flushes: with a full
/// queue the appender waits for callbacks, this one among them, and both wait forever.
///
/// Implemented for `()`, for the senders of `std` and crossbeam channels that carry `Result<(), E>`
/// where `E: From<Error>` ([`io::Error`] among them), for [`CallbackFn`],
/// [`FlushSender`](crate::FlushSender), and, with the feature `tokio`, for tokio's `oneshot::Sender`. A
/// dropped receiver is no error.
pub trait Callback: Send + 'static {
    /// Receives the result: `Ok` once the records are written or synced, as the flush's mode requested.
    fn complete(self, result: Result<(), Error>);
}

impl Callback for () {
    fn complete(self, _result: Result<(), Error>) {}
}

impl<E: From<Error> + Send + 'static> Callback for std::sync::mpsc::Sender<Result<(), E>> {
    fn complete(self, result: Result<(), Error>) {
        let _receiver_gone = self.send(result.map_err(E::from));
    }
}

impl<E: From<Error> + Send + 'static> Callback for std::sync::mpsc::SyncSender<Result<(), E>> {
    fn complete(self, result: Result<(), Error>) {
        let _receiver_gone = self.send(result.map_err(E::from));
    }
}

impl<E: From<Error> + Send + 'static> Callback for crossbeam_channel::Sender<Result<(), E>> {
    fn complete(self, result: Result<(), Error>) {
        let _receiver_gone = self.send(result.map_err(E::from));
    }
}

#[cfg(feature = "tokio")]
impl<E: From<Error> + Send + 'static> Callback for tokio::sync::oneshot::Sender<Result<(), E>> {
    fn complete(self, result: Result<(), Error>) {
        let _receiver_gone = self.send(result.map_err(E::from));
    }
}

/// Makes a [`Callback`] from a closure.
///
/// Where the type must be named, box the closure: `CallbackFn<Box<dyn FnOnce(Result<(), Error>) + Send>>`.
#[derive(Clone, Copy)]
pub struct CallbackFn<F>(
    /// The closure to call.
    pub F,
);

impl<F: FnOnce(Result<(), Error>) + Send + 'static> Callback for CallbackFn<F> {
    fn complete(self, result: Result<(), Error>) {
        (self.0)(result)
    }
}

impl<F> fmt::Debug for CallbackFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallbackFn(..)")
    }
}

/// Reports how far a chunk is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkPersisted {
    /// The chunk.
    pub chunk_id: ChunkId,
    /// The global offset of the chunk's first byte.
    pub start: u64,
    /// The global offset below which all of the chunk is durable.
    pub synced: u64,
}

/// Called with each [`ChunkPersisted`] and the checkpoint of the chunk's predecessor, if one is kept.
pub(crate) type OnChunkPersisted<W> =
    Arc<dyn Fn(ChunkPersisted, Option<&<W as WalTypes>::Checkpoint>) + Send + Sync>;

#[cfg(test)]
mod tests {
    use super::*;

    struct NotEvenClone;
    impl WalTypes for NotEvenClone {
        type Action = String;
        type Checkpoint = u64;
        type Callback = ();
    }

    #[test]
    fn records_compare_clone_and_show_without_bounds_on_the_types() {
        let record = WalRecord::<NotEvenClone>::Action("a".to_string());
        assert_eq!(record.clone(), record);
        assert_ne!(record, WalRecord::Checkpoint(1));
        assert_eq!(format!("{record:?}"), "Action(\"a\")");
        assert_eq!(format!("{:?}", WalRecord::<NotEvenClone>::Checkpoint(7)), "Checkpoint(7)");
    }

    #[test]
    fn bytes_left_over_are_refused() {
        let payload = [0, 0, 0, 0, 0, 0, 0, 9, 1];
        let decode = |n| {
            let (kind, payload) = (Kind::Checkpoint, &payload[..n]);
            let owner = Owner::none();
            WalRecord::<NotEvenClone>::decode(&Frame { offset: 64, size: 32, kind, flags: 0, payload, owner })
        };
        let refused = |n| match decode(n) {
            Err(Undecodable::Codec(error)) => error.kind(),
            other => panic!("{other:?}"),
        };
        assert_eq!(decode(8).unwrap(), WalRecord::Checkpoint(9));
        assert_eq!(refused(9), io::ErrorKind::InvalidData);
        assert_eq!(refused(7), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn senders_of_any_error_are_callbacks() {
        let (tx, rx) = std::sync::mpsc::channel::<Result<(), io::Error>>();
        tx.complete(Err(Error::Closed));
        assert_eq!(rx.recv().unwrap().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        let (tx, rx) = crossbeam_channel::bounded::<Result<(), Error>>(1);
        tx.complete(Ok(()));
        assert!(rx.recv().unwrap().is_ok());
        let (tx, rx) = std::sync::mpsc::sync_channel::<Result<(), Error>>(1);
        drop(rx);
        tx.complete(Ok(()));
    }
}
