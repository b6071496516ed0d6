//! The types of a log under test.

use std::io;
use std::marker::PhantomData;

use crate::error::Error;
use crate::payload::PayloadRef;
use crate::record::{CallbackFn, WalRecord, WalTypes};

/// The user's types, with the test's own callback.
pub(crate) struct TestTypes<W>(PhantomData<fn() -> W>);

impl<W: WalTypes> WalTypes for TestTypes<W> {
    type Action = W::Action;
    type Checkpoint = W::Checkpoint;
    type Callback = CallbackFn<Box<dyn FnOnce(Result<(), Error>) + Send>>;

    fn decode_action(payload: PayloadRef<'_>) -> io::Result<Self::Action> {
        W::decode_action(payload)
    }
}

/// Converts a record of the test's types to the user's.
pub(crate) fn user_record<W: WalTypes>(record: WalRecord<TestTypes<W>>) -> WalRecord<W> {
    match record {
        WalRecord::Action(action) => WalRecord::Action(action),
        WalRecord::Checkpoint(checkpoint) => WalRecord::Checkpoint(checkpoint),
    }
}
