//! A [`Script`] as one line of text: formatting and parsing.
//!
//! ```text
//! size=512 records=4 spares=1 buffer=100 queue=300 batch=1 read=512 zeros=4096 renames=torn pace=calm; a7x3 s r k x9
//! └── settings of the log and the disk ───────────────────────────────────────────────────────────────┘  └── steps ─┘
//! ```

use std::fmt;
use std::str::FromStr;

use crate::storage::{FaultHow, TornRenames};
use crate::testing::script::{Pace, Script, Step};

/// The default of `records=`.
const UNLIMITED: &str = "unlimited";

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Script { chunk_max_size, chunk_max_records, spare_chunks, open_buffer_max_bytes, .. } = self;
        let Script { flush_queue_max_bytes, flush_batch_max_items, read_buffer_size, .. } = self;
        write!(f, "size={chunk_max_size} ")?;
        match *chunk_max_records {
            u64::MAX => write!(f, "records={UNLIMITED} ")?,
            records => write!(f, "records={records} ")?,
        }
        write!(f, "spares={spare_chunks} ")?;
        write!(f, "buffer={open_buffer_max_bytes} queue={flush_queue_max_bytes} ")?;
        write!(f, "batch={flush_batch_max_items} read={read_buffer_size} ")?;
        write!(f, "zeros={} ", self.zero_ahead_bytes)?;
        let torn = if self.torn_renames == TornRenames::Possible { "torn" } else { "whole" };
        write!(f, "renames={torn} pace={};", self.pace)?;
        self.steps.iter().try_for_each(|step| write!(f, " {step}"))
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Pace::Calm => "calm",
            Pace::Rush => "rush",
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Append { from, count } => write!(f, "a{from}x{count}"),
            Step::Batch { from, count } => write!(f, "B{from}x{count}"),
            Step::Burst { from, count } => write!(f, "b{from}x{count}"),
            Step::Checkpoint => f.write_str("p"),
            Step::Write => f.write_str("w"),
            Step::Sync => f.write_str("s"),
            Step::Rotate => f.write_str("r"),
            Step::Remove { chunks } => write!(f, "d{chunks}"),
            Step::RemoveAtOnce { chunks } => write!(f, "D{chunks}"),
            Step::Idle => f.write_str("i"),
            Step::Close => f.write_str("c"),
            Step::Kill => f.write_str("k"),
            Step::Crash { seed } => write!(f, "x{seed}"),
            Step::Fault { after, how } => {
                let known = FAULTS.iter().find(|(_, known)| known == how);
                write!(f, "f{after}{}", known.map_or("io", |(word, _)| word))
            }
        }
    }
}

const FAULTS: [(&str, FaultHow); 3] =
    [("io", FaultHow::Io), ("done", FaultHow::DoneButIo), ("lie", FaultHow::SyncLies)];

impl FromStr for Step {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("'{text}' is not a step of a crash test's script");
        let number = |text: &str| text.parse::<u64>().map_err(|_| unknown());
        let letter = text.chars().next().ok_or_else(unknown)?;
        let rest = &text[letter.len_utf8()..];
        let run = || {
            let (from, count) = rest.split_once('x').ok_or_else(unknown)?;
            Ok::<_, String>((number(from)?, number(count)?))
        };
        Ok(match (letter, rest) {
            ('a', _) => run().map(|(from, count)| Step::Append { from, count })?,
            ('B', _) => run().map(|(from, count)| Step::Batch { from, count })?,
            ('b', _) => run().map(|(from, count)| Step::Burst { from, count })?,
            ('p', "") => Step::Checkpoint,
            ('w', "") => Step::Write,
            ('s', "") => Step::Sync,
            ('r', "") => Step::Rotate,
            ('d', _) => Step::Remove { chunks: number(rest)? },
            ('D', _) => Step::RemoveAtOnce { chunks: number(rest)? },
            ('i', "") => Step::Idle,
            ('c', "") => Step::Close,
            ('k', "") => Step::Kill,
            ('x', _) => Step::Crash { seed: number(rest)? },
            ('f', _) => {
                let digits = rest.trim_end_matches(char::is_alphabetic);
                let word = &rest[digits.len()..];
                let (_, how) = *FAULTS.iter().find(|(known, _)| *known == word).ok_or_else(unknown)?;
                Step::Fault { after: number(digits)?, how }
            }
            _ => return Err(unknown()),
        })
    }
}

impl FromStr for Script {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut script = Script::default();
        for word in text.split([' ', ';', '\n']).filter(|word| !word.is_empty()) {
            match word.split_once('=') {
                Some((name, value)) => script.set(name, value)?,
                None => script.steps.push(word.parse()?),
            }
        }
        Ok(script)
    }
}

impl Script {
    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let number = || value.parse::<u64>().map_err(|_| format!("'{value}' is not a number, for '{name}='"));
        match name {
            "size" => self.chunk_max_size = number()?,
            "records" if value == UNLIMITED => self.chunk_max_records = u64::MAX,
            "records" => self.chunk_max_records = number()?,
            "spares" => self.spare_chunks = number()?,
            "buffer" => self.open_buffer_max_bytes = number()?,
            "queue" => self.flush_queue_max_bytes = number()?,
            "batch" => self.flush_batch_max_items = number()?,
            "read" => self.read_buffer_size = number()?,
            "zeros" => self.zero_ahead_bytes = number()?,
            "renames" if value == "whole" => self.torn_renames = TornRenames::Impossible,
            "renames" if value == "torn" => self.torn_renames = TornRenames::Possible,
            "pace" if value == "calm" => self.pace = Pace::Calm,
            "pace" if value == "rush" => self.pace = Pace::Rush,
            _ => return Err(format!("'{name}={value}' is not a setting of a crash test's script")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_without_a_limit_of_records_says_so() {
        let script = Script { chunk_max_records: u64::MAX, ..Script::default() };
        let text = script.to_string();
        assert!(text.contains(" records=unlimited "), "{text}");
        let read: Script = text.parse().unwrap();
        assert_eq!(read.chunk_max_records, u64::MAX);
        // A script of before.
        let read: Script = format!("records={};", u64::MAX).parse().unwrap();
        assert_eq!(read.to_string(), text);
    }
}
