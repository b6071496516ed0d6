//! How the log is kept until it is archived.

use std::sync::Arc;

use chunked_wal::storage::Storage;
use chunked_wal::{Error as WalError, PinFault, SubscribeOptions, Subscriber, WalPin};

use crate::error::{Error, Result};

/// What keeps the log, as it was asked for.
#[derive(Debug, Clone)]
pub(super) enum Holder {
    Nothing,
    Pin(Arc<WalPin>),
    Subscriber(SubscribeOptions),
}

/// What keeps the log.
#[derive(Debug)]
pub(super) enum Held {
    Nothing,
    Pin(Arc<WalPin>),
    /// Opened once the log is there, and no other archiver has it.
    Subscriber(SubscribeOptions, Option<Box<Subscriber>>),
}

impl Held {
    pub(super) fn new(holder: Holder, storage: Arc<dyn Storage>) -> Self {
        match holder {
            Holder::Nothing => Held::Nothing,
            Holder::Pin(pin) => Held::Pin(pin),
            // Whether chunks are missing, the archive and the log say.
            Holder::Subscriber(options) => Held::Subscriber(options.storage(storage).start_over(), None),
        }
    }

    /// Keeps the log, but what is archived before a global offset no longer.
    pub(super) fn let_go_before(&mut self, offset: u64) -> Result<()> {
        match self {
            Held::Nothing => Ok(()),
            Held::Pin(pin) => unless_broken(pin.advance(offset.max(pin.offset()))).map(drop),
            Held::Subscriber(options, open) => {
                let subscriber = match open {
                    Some(subscriber) => subscriber,
                    None => match options.clone().open() {
                        Ok(subscriber) => open.insert(Box::new(subscriber)),
                        // An archiver that has been fenced, and does not know it yet, still has it.
                        Err(WalError::Pin { reason: PinFault::InUse { .. }, .. }) => return Ok(()),
                        // A log that is about to be made, or was moved away.
                        Err(WalError::NotFound { .. }) => return Ok(()),
                        Err(source) => return Err(Error::Pin { source }),
                    },
                };
                if offset > subscriber.offset() && !unless_broken(subscriber.advance(offset))? {
                    *open = None;
                }
                Ok(())
            }
        }
    }
}

/// Whether it still keeps the log; else the chunks that it lost are found missing.
fn unless_broken(advanced: Result<(), WalError>) -> Result<bool> {
    match advanced {
        Ok(()) => Ok(true),
        Err(WalError::Pin { reason: PinFault::Broken { .. }, .. }) => Ok(false),
        Err(source) => Err(Error::Pin { source }),
    }
}
