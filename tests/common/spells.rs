//! A log whose codec obeys the record's own text, and whose callbacks are closures.

use std::io::{Read, Write};
use std::sync::Arc;
use std::{fmt, io};

use chunked_wal::codeq::{Decode, Encode};
use chunked_wal::{CallbackFn, ChunkId, ChunkedWal, Error, Segment, StateMachine, WalRecord, WalTypes};

/// Records are [`Spell`]s, actions and checkpoints alike.
#[derive(Debug)]
pub struct Spells;

impl WalTypes for Spells {
    type Action = Spell;
    type Checkpoint = Spell;
    type Callback = CallbackFn<Box<dyn FnOnce(Result<(), Error>) + Send>>;
}

pub type SpellWal = ChunkedWal<Spells>;

/// A closure as the callback that [`Spells`] have.
pub fn callback(
    f: impl FnOnce(Result<(), Error>) + Send + 'static,
) -> Option<<Spells as WalTypes>::Callback> {
    Some(CallbackFn(Box::new(f)))
}

/// What encodes a spell.
type Encoder = Arc<dyn Fn(&mut dyn Write) -> io::Result<usize> + Send + Sync>;

/// A word that may bring its own way of being encoded.
#[derive(Clone)]
pub struct Spell {
    pub word: String,
    encoder: Option<Encoder>,
}

impl Spell {
    pub fn new(word: &str) -> Self {
        Spell { word: word.to_string(), encoder: None }
    }

    pub fn encoded_by(f: impl Fn(&mut dyn Write) -> io::Result<usize> + Send + Sync + 'static) -> Self {
        Spell { word: String::new(), encoder: Some(Arc::new(f)) }
    }
}

impl PartialEq for Spell {
    fn eq(&self, other: &Self) -> bool {
        self.word == other.word
    }
}

impl fmt::Debug for Spell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.word.fmt(f)
    }
}

impl Encode for Spell {
    fn encode<W: Write>(&self, mut w: W) -> io::Result<usize> {
        match &self.encoder {
            None => self.word.encode(w),
            Some(encoder) => encoder(&mut w),
        }
    }
}

impl Decode for Spell {
    fn decode<R: Read>(r: R) -> io::Result<Self> {
        Ok(Spell { word: String::decode(r)?, encoder: None })
    }
}

/// An action.
pub fn spell(word: &str) -> WalRecord<Spells> {
    WalRecord::Action(Spell::new(word))
}

/// The words of the actions, in order.
#[derive(Debug, Default)]
pub struct Book(pub Vec<String>);

impl StateMachine<Spells> for Book {
    type Error = String;

    fn apply(&mut self, record: &WalRecord<Spells>, _: ChunkId, _: Segment) -> Result<(), String> {
        if let WalRecord::Action(spell) = record {
            self.0.push(spell.word.clone());
        }
        Ok(())
    }

    fn checkpoint(&self) -> Spell {
        Spell::new(&self.0.len().to_string())
    }
}
