//! Codecs that can't read back what they write are found when a record is appended, not when the log is opened.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::HashMap;
use std::io;
use std::io::{Read, Write};

use chunked_wal::testing::check_codec;
use chunked_wal::{ChunkedWal, Config, Error, codeq};

use crate::common::*;

/// Each variant has a codec of its own.
#[derive(Debug, Clone, PartialEq)]
enum Odd {
    Sound(String),
    /// Decoding it fails.
    Refused,
    /// Comes back as zero.
    Forgotten(u32),
    /// The last byte is not read.
    LeftOver,
    /// Written in the order of a hash map.
    Map(HashMap<u32, u32>),
}

impl codeq::Encode for Odd {
    fn encode<W: Write>(&self, mut w: W) -> io::Result<usize> {
        Ok(match self {
            Odd::Sound(word) => 0_u8.encode(&mut w)? + word.encode(&mut w)?,
            Odd::Refused => 1_u8.encode(&mut w)?,
            Odd::Forgotten(n) => 2_u8.encode(&mut w)? + n.encode(&mut w)?,
            Odd::LeftOver => 3_u8.encode(&mut w)? + 0_u8.encode(&mut w)?,
            Odd::Map(map) => {
                let mut n = 4_u8.encode(&mut w)? + (map.len() as u64).encode(&mut w)?;
                for (key, value) in map {
                    n += key.encode(&mut w)? + value.encode(&mut w)?;
                }
                n
            }
        })
    }
}

impl codeq::Decode for Odd {
    fn decode<R: Read>(mut r: R) -> io::Result<Self> {
        Ok(match u8::decode(&mut r)? {
            0 => Odd::Sound(String::decode(&mut r)?),
            1 => return Err(io::Error::other("I can't read this")),
            2 => u32::decode(&mut r).map(|_| Odd::Forgotten(0))?,
            3 => Odd::LeftOver,
            _ => {
                let len = u64::decode(&mut r)?;
                let pair = |_| Ok((u32::decode(&mut r)?, u32::decode(&mut r)?));
                Odd::Map((0..len).map(pair).collect::<io::Result<_>>()?)
            }
        })
    }
}

type Odds = LogOf<Odd>;

fn faults() -> [(Odd, &'static str); 3] {
    [
        (Odd::Refused, "I can't read this"),
        (Odd::Forgotten(7), "another record"),
        (Odd::LeftOver, "1 of 2 bytes unread"),
    ]
}

fn sound() -> Vec<Odd> {
    let map = (0..100).map(|i| (i, i * i)).collect();
    vec![Odd::Sound(String::new()), Odd::Sound("a".to_string()), Odd::Map(map)]
}

#[cfg(debug_assertions)]
#[test]
fn a_record_that_could_not_be_read_back_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut applied = Applied::<Odd>::default();
    let mut wal = ChunkedWal::<Odds>::open(Config::new(dir.path()), &mut applied).unwrap();
    for (odd, why) in faults() {
        for good in sound() {
            wal.append_and_apply(good, &mut applied).unwrap();
        }
        let (before, end) = (applied.actions.len(), wal.progress().appended);
        let error = wal.append_and_apply(odd, &mut applied).unwrap_err();
        assert!(matches!(&error, Error::Encode { .. }) && error.to_string().contains(why), "{error}");
        assert_eq!((applied.actions.len(), wal.progress().appended), (before, end));
    }
    wal.close().unwrap();
    let mut again = Applied::<Odd>::default();
    ChunkedWal::<Odds>::open(Config::new(dir.path()), &mut again).unwrap();
    assert_eq!(again.actions, applied.actions);
}

#[test]
fn the_helper_finds_the_same() {
    for (odd, why) in faults() {
        let error = check_codec(&odd).unwrap_err().to_string();
        assert!(error.contains(why) || error.contains("was decoded as Forgotten(0)"), "{error}");
    }
    sound().iter().for_each(|good| check_codec(good).unwrap());
}
