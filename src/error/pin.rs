//! What is wrong with a pin.

use std::path::PathBuf;
use std::{fmt, io};

/// Why a pin can't be set, moved or opened again.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PinFault {
    /// The log is kept for this pin no longer: it was behind its cap, or the log was over its soft budget.
    Broken {
        /// The global offset at which the pin was when it broke. Records from here on may be gone.
        offset: u64,
    },
    /// A subscriber of this name is open, in this process or another.
    InUse {
        /// The subscriber's file.
        path: PathBuf,
    },
    /// The name can't be that of a subscriber.
    Name,
    /// The subscriber's file is of another log.
    OtherLog {
        /// The subscriber's file.
        path: PathBuf,
    },
    /// No place can be read in the subscriber's file.
    Damaged {
        /// The subscriber's file.
        path: PathBuf,
    },
    /// The subscriber's place, or the one where it is to begin, is after the log's last record: the log is an older copy,
    /// or lost its end.
    AheadOfLog {
        /// The global offset of the place.
        offset: u64,
        /// The global offset after the log's last record.
        end: u64,
    },
    /// A pin moves forward only.
    Backwards {
        /// The global offset asked for.
        offset: u64,
        /// The global offset at which the pin is.
        current: u64,
    },
    /// A crash could take back what is before the offset, and the log would go on with other records there.
    NotDurable {
        /// The global offset asked for.
        offset: u64,
        /// The global offset up to which the log is durable.
        synced: u64,
    },
}

impl PinFault {
    pub(super) fn io_kind(&self) -> io::ErrorKind {
        match self {
            PinFault::Broken { .. } => io::ErrorKind::NotFound,
            PinFault::InUse { .. } => io::ErrorKind::WouldBlock,
            PinFault::OtherLog { .. } | PinFault::Damaged { .. } | PinFault::AheadOfLog { .. } => {
                io::ErrorKind::InvalidData
            }
            PinFault::Name | PinFault::Backwards { .. } | PinFault::NotDurable { .. } => {
                io::ErrorKind::InvalidInput
            }
        }
    }
}

impl fmt::Display for PinFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PinFault::Broken { offset } => write!(
                f,
                "it broke at offset {offset}, and the log may have removed records from there on; read the state that \
                 they led to from elsewhere, then start over (a subscriber: `start_over`)"
            ),
            PinFault::InUse { path } => write!(
                f,
                "'{}' is in use: this process or another has the subscriber open; close it first, or use another name",
                path.display()
            ),
            PinFault::Name => f.write_str(
                "a subscriber's name has 1 to 64 characters, each a letter of ASCII, a digit, '-' or '_'",
            ),
            PinFault::OtherLog { path } => write!(
                f,
                "'{}' is of another log: is the right directory given? If so, remove that file",
                path.display()
            ),
            PinFault::Damaged { path } => write!(
                f,
                "'{}' is damaged, so the subscriber's place is lost; remove the file to start with the oldest record",
                path.display()
            ),
            PinFault::AheadOfLog { offset, end } => write!(
                f,
                "it is at offset {offset}, but the log ends at {end}: was the log restored from an older copy? Bring the \
                 subscriber's data to the log's state, then start over (`start_over`)"
            ),
            PinFault::Backwards { offset, current } => {
                write!(
                    f,
                    "it is at offset {current} already and can't move back to {offset}; nothing has changed"
                )
            }
            PinFault::NotDurable { offset, synced } => write!(
                f,
                "it can't move to offset {offset} yet, because the log is durable only before {synced}; sync the log \
                 first, or follow it with `ReadUpTo::Durable`"
            ),
        }
    }
}
