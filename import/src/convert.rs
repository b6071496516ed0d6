//! [`Convert`]: how the old records become the new ones; [`AsIs`] and [`Each`] for the logs of chunked-wal 0.2.
//!
//! A new log has a chunk for each chunk of the old one, with the same records in the same order. So a converter sees
//! the checkpoint with which each chunk starts, and the records after it.

use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::{fmt, io};

use chunked_wal::raw::{Payload, Raw};
use chunked_wal::{ChunkId, Segment, WalRecord, WalTypes};
use chunked_wal_02::wal::wal_record::CHECKPOINT_RECORD_TYPE;
use chunked_wal_02::{WALRecord as OldRecord, WalTypes as OldTypes};
use serde_json::{Map, Value};

use crate::error::BoxError;

/// How the records of an old log become those of a new one.
///
/// An import makes two of them: one for the records that it writes, and one for the check, which reads both logs
/// again. So a converter must do the same each time.
pub trait Convert {
    /// The types of the old log, with the codecs that wrote it.
    type Old: OldTypes;
    /// The types of the new log.
    type New: WalTypes;

    /// Converts the checkpoint with which a chunk starts: the state after all records before it.
    ///
    /// `payload` has the bytes that the checkpoint's codec wrote.
    ///
    /// # Errors
    ///
    /// Any; it stops the import.
    fn checkpoint(
        &mut self,
        old: <Self::Old as OldTypes>::Checkpoint,
        payload: &[u8],
    ) -> Result<<Self::New as WalTypes>::Checkpoint, BoxError>;

    /// Converts another record, and pushes what becomes of it to `new`: one record, several, or none.
    ///
    /// `payload` has the bytes that the record's codec wrote.
    ///
    /// # Errors
    ///
    /// Any; it stops the import.
    fn record(
        &mut self,
        old: OldRecord<Self::Old>,
        payload: &[u8],
        new: &mut Vec<WalRecord<Self::New>>,
    ) -> Result<(), BoxError>;

    /// Called for each record that [`record`](Self::record) has pushed, in their order, with its place in the new log:
    /// before the next old record is converted.
    fn placed(&mut self, _chunk_id: ChunkId, _place: Segment) {}

    /// Called after the last record.
    ///
    /// # Errors
    ///
    /// Any, if the log as a whole can't be imported.
    fn finish(&mut self) -> Result<(), BoxError> {
        Ok(())
    }

    /// Returns what the report says about the records, by name.
    fn notes(&self) -> Map<String, Value> {
        Map::new()
    }

    /// Returns what is known of the old records' bytes.
    fn old_format(&self) -> OldFormat {
        OldFormat::default()
    }
}

/// What is known of the old records' bytes, beside their codecs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldFormat {
    /// The types in words, as in "a log, but not of …".
    pub types: &'static str,
    /// The types of records, by their first 4 bytes, whose codecs end them in a checksum over all of it. The log itself
    /// does so for checkpoints, type 5. A record that a checksum proves tells damage from a torn tail.
    pub checksummed: RangeInclusive<u32>,
}

impl Default for OldFormat {
    fn default() -> Self {
        let checksummed = CHECKPOINT_RECORD_TYPE..=CHECKPOINT_RECORD_TYPE;
        OldFormat { types: "the types that this program imports", checksummed }
    }
}

/// Copies the payloads of a chunked-wal 0.2 log byte by byte. The new log's codecs must read what the old ones wrote.
///
/// [`Codec`](codeq::Codec) is the same trait for both versions, so the same types can be opened with both. In
/// 0.2 an action's payload starts with the 4 bytes of its type, which the action's own codec writes; this is still so.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use chunked_wal_import::AsIs;
/// # use chunked_wal_02::WalTypes;
/// # fn import<OldLog: WalTypes>() -> ExitCode {
/// // `OldLog` implements `WalTypes` of chunked-wal 0.2.
/// chunked_wal_import::main(AsIs::<OldLog>::new)
/// # }
/// ```
pub struct AsIs<W>(PhantomData<W>);

impl<W> AsIs<W> {
    /// Makes the converter.
    pub fn new() -> Self {
        AsIs(PhantomData)
    }
}

impl<W> Default for AsIs<W> {
    fn default() -> Self {
        AsIs::new()
    }
}

impl<W> fmt::Debug for AsIs<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AsIs")
    }
}

impl<W: OldTypes> Convert for AsIs<W> {
    type Old = W;
    type New = Raw;

    fn checkpoint(&mut self, _: W::Checkpoint, payload: &[u8]) -> Result<Payload, BoxError> {
        Ok(Payload(payload.to_vec()))
    }

    fn record(
        &mut self,
        old: OldRecord<W>,
        payload: &[u8],
        new: &mut Vec<WalRecord<Raw>>,
    ) -> Result<(), BoxError> {
        let payload = Payload(payload.to_vec());
        new.push(match old {
            OldRecord::Action(_) => WalRecord::Action(payload),
            OldRecord::Checkpoint(_) => WalRecord::Checkpoint(payload),
        });
        Ok(())
    }
}

/// Converts each action and each checkpoint by a function.
///
/// ```no_run
/// use chunked_wal_import::{Each, Import};
/// # use chunked_wal::WalTypes;
/// # use chunked_wal_02::WalTypes as OldTypes;
/// # fn import<OldLog, NewLog>() -> Result<(), chunked_wal_import::Error>
/// # where
/// #     OldLog: OldTypes,
/// #     NewLog: WalTypes<Action: From<OldLog::Action>, Checkpoint: From<OldLog::Checkpoint>>,
/// # {
/// let convert = || Each::<OldLog, NewLog, _, _>::new(|action| Ok(action.into()), |state| Ok(state.into()));
/// let report = Import::new("orders.old", "orders").run(convert)?;
/// println!("{report}");
/// # Ok(())
/// # }
/// ```
pub struct Each<Old, New, A, C> {
    action: A,
    checkpoint: C,
    _types: PhantomData<(Old, New)>,
}

impl<Old, New, A, C> Each<Old, New, A, C>
where
    Old: OldTypes,
    New: WalTypes,
    A: FnMut(Old::Action) -> io::Result<New::Action>,
    C: FnMut(Old::Checkpoint) -> io::Result<New::Checkpoint>,
{
    /// Makes the converter from the two functions.
    pub fn new(action: A, checkpoint: C) -> Self {
        Each { action, checkpoint, _types: PhantomData }
    }
}

impl<Old, New, A, C> fmt::Debug for Each<Old, New, A, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Each").finish_non_exhaustive()
    }
}

impl<Old, New, A, C> Convert for Each<Old, New, A, C>
where
    Old: OldTypes,
    New: WalTypes,
    A: FnMut(Old::Action) -> io::Result<New::Action>,
    C: FnMut(Old::Checkpoint) -> io::Result<New::Checkpoint>,
{
    type Old = Old;
    type New = New;

    fn checkpoint(&mut self, old: Old::Checkpoint, _: &[u8]) -> Result<New::Checkpoint, BoxError> {
        Ok((self.checkpoint)(old)?)
    }

    fn record(
        &mut self,
        old: OldRecord<Old>,
        _: &[u8],
        new: &mut Vec<WalRecord<New>>,
    ) -> Result<(), BoxError> {
        new.push(match old {
            OldRecord::Action(action) => WalRecord::Action((self.action)(action)?),
            OldRecord::Checkpoint(checkpoint) => WalRecord::Checkpoint((self.checkpoint)(checkpoint)?),
        });
        Ok(())
    }
}
