//! How a record is shown: decoded with the types of its log.

use std::{fmt, io};

use serde::Serialize;
use serde_json::Value;

use crate::payload::PayloadRef;
use crate::raw::RecordKind;
use crate::record::WalTypes;

type Show<T> = fn(RecordKind, PayloadRef<'_>) -> io::Result<T>;

/// The types of a log, as functions: the commands themselves are not generic.
#[derive(Clone, Copy)]
pub(super) struct Types {
    text: Show<String>,
    json: Show<Value>,
    check: Show<()>,
}

impl fmt::Debug for Types {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Types").finish_non_exhaustive()
    }
}

impl Types {
    pub(super) fn debug<W: WalTypes>() -> Self {
        Types {
            text: text::<W>,
            json: |kind, payload| text::<W>(kind, payload).map(Value::String),
            check: |kind, payload| match kind {
                RecordKind::Action => W::decode_action(payload).map(drop),
                RecordKind::Checkpoint => payload.decode::<W::Checkpoint>().map(drop),
            },
        }
    }

    pub(super) fn json<W: WalTypes<Action: Serialize, Checkpoint: Serialize>>() -> Self {
        Types {
            json: |kind, payload| match kind {
                RecordKind::Action => W::decode_action(payload).map(|action| json(&action)),
                RecordKind::Checkpoint => payload.decode::<W::Checkpoint>().map(|state| json(&state)),
            },
            ..Types::debug::<W>()
        }
    }

    /// The record as text for people, on one line.
    pub(super) fn text(&self, kind: RecordKind, payload: &[u8]) -> io::Result<String> {
        (self.text)(kind, payload.into())
    }

    pub(super) fn value(&self, kind: RecordKind, payload: &[u8]) -> io::Result<Value> {
        (self.json)(kind, payload.into())
    }

    /// Whether the codec can decode the record.
    pub(super) fn check(&self, kind: RecordKind, payload: &[u8]) -> io::Result<()> {
        (self.check)(kind, payload.into())
    }
}

fn text<W: WalTypes>(kind: RecordKind, payload: PayloadRef<'_>) -> io::Result<String> {
    Ok(match kind {
        RecordKind::Action => format!("{:?}", W::decode_action(payload)?),
        RecordKind::Checkpoint => format!("{:?}", payload.decode::<W::Checkpoint>()?),
    })
}

fn json<T: Serialize + fmt::Debug>(record: &T) -> Value {
    serde_json::to_value(record).unwrap_or_else(|_| Value::String(format!("{record:?}")))
}
