//! What the clients did and saw: a history for each key.
//!
//! - A history has the order in which operations started and ended, as one observer saw it: the
//!   driver. An operation starts before its request is sent, and ends after its answer has arrived.
//! - Each written value is written once, so a read tells which write it saw.
//! - A write without an answer is open: it may take effect at any later time, or never. Its client goes
//!   on under another name, because one client has one operation at a time.
//! - A read without an answer, and a write that certainly was not proposed, leave no trace.
//! - Histories are short, because the time of the check is exponential: a key with enough operations
//!   is replaced by a new one.

use std::fmt;
use std::time::{Duration, Instant};

use fastrand::Rng;
use parking_lot::Mutex;

use crate::Outcome;
use crate::server::types::Map;

/// The keys in use at any time.
const ACTIVE_KEYS: usize = 3;

/// The operations that start on one key.
const OPERATIONS_MAX: usize = 24;

/// The open writes after which a key is replaced.
const OPEN_MAX: usize = 2;

/// The length of a value as the servers store it.
const VALUE_LEN: usize = 400;

pub(crate) type Value = u64;

pub(crate) fn key_name(key: usize) -> String {
    format!("key-{key}")
}

pub(crate) fn value_text(value: Value) -> String {
    format!("{value:0>VALUE_LEN$}")
}

pub(crate) fn value_of(text: &str) -> Outcome<Value> {
    text.parse().map_err(|_| format!("'{text}' is no value that a client has written").into())
}

/// A client. After an operation without an answer it is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ClientId {
    pub(crate) number: u64,
    pub(crate) life: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Write(Value),
    Read,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Starts(ClientId, Operation),
    Wrote(ClientId),
    /// `None`: the key did not exist.
    Read(ClientId, Option<Value>),
}

/// What happened to one key, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    pub(crate) events: Vec<Event>,
    started: usize,
    open: usize,
}

impl History {
    fn is_full(&self) -> bool {
        self.started >= OPERATIONS_MAX || self.open >= OPEN_MAX
    }

    /// Takes back the last start of a client.
    fn cancel(&mut self, client: ClientId) {
        let is_start = |event: &Event| matches!(event, Event::Starts(by, _) if *by == client);
        if let Some(at) = self.events.iter().rposition(is_start) {
            self.events.remove(at);
            self.started -= 1;
        }
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.events.iter().try_for_each(|event| writeln!(f, "  {event}"))
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {}.{}", self.number, self.life)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Starts(client, Operation::Write(value)) => write!(f, "{client} writes {value} …"),
            Event::Starts(client, Operation::Read) => write!(f, "{client} reads …"),
            Event::Wrote(client) => write!(f, "{client} … has written"),
            Event::Read(client, Some(value)) => write!(f, "{client} … has read {value}"),
            Event::Read(client, None) => write!(f, "{client} … has read that there is no value"),
        }
    }
}

/// An operation that has started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Started {
    pub(crate) key: usize,
    pub(crate) client: ClientId,
    pub(crate) operation: Operation,
    at: Instant,
}

/// The histories of all keys, shared by the clients.
#[derive(Debug)]
pub(crate) struct Histories {
    shared: Mutex<Shared>,
}

#[derive(Debug)]
struct Shared {
    histories: Vec<History>,
    active: Vec<usize>,
    last_value: Value,
    totals: Totals,
    last_answer: Instant,
}

/// The operations of all clients.
#[derive(Debug, Clone, Default)]
pub(crate) struct Totals {
    pub(crate) writes: usize,
    pub(crate) reads: usize,
    /// Writes without an answer.
    pub(crate) open: usize,
    /// The time of each answered operation.
    pub(crate) latencies: Vec<Duration>,
    /// The longest time in which no operation was answered: only a leader answers one, and only with a
    /// majority.
    pub(crate) without_leader: Duration,
}

impl Histories {
    pub(crate) fn new() -> Self {
        let shared = Shared {
            histories: vec![History::default(); ACTIVE_KEYS],
            active: (0..ACTIVE_KEYS).collect(),
            last_value: 0,
            totals: Totals::default(),
            last_answer: Instant::now(),
        };
        Histories { shared: Mutex::new(shared) }
    }

    /// Starts an operation on a key in use: each second one is a write.
    pub(crate) fn start(&self, client: ClientId, rng: &mut Rng) -> Started {
        let shared = &mut *self.shared.lock();
        let slot = rng.usize(..ACTIVE_KEYS);
        let key = shared.usable_key(slot);
        let operation = if rng.bool() {
            shared.last_value += 1;
            Operation::Write(shared.last_value)
        } else {
            Operation::Read
        };
        shared.start(key, client, operation)
    }

    /// Ends an operation; `read` is what a read has read.
    pub(crate) fn end(&self, started: Started, read: Option<Value>) {
        let shared = &mut *self.shared.lock();
        let event = match started.operation {
            Operation::Write(_) => Event::Wrote(started.client),
            Operation::Read => Event::Read(started.client, read),
        };
        shared.histories[started.key].events.push(event);
        shared.answered(&started);
    }

    /// Nothing was done.
    pub(crate) fn cancel(&self, started: Started) {
        self.shared.lock().histories[started.key].cancel(started.client);
    }

    /// There was no answer: a write may take effect or not.
    pub(crate) fn leave_open(&self, started: Started) {
        let shared = &mut *self.shared.lock();
        let history = &mut shared.histories[started.key];
        match started.operation {
            Operation::Write(_) => {
                history.open += 1;
                shared.totals.open += 1;
            }
            Operation::Read => history.cancel(started.client),
        }
    }

    /// Records that a client now reads all keys.
    pub(crate) fn read_all(&self, client: ClientId, map: &Map) -> Outcome<()> {
        for (key, history) in self.shared.lock().histories.iter_mut().enumerate() {
            let read = map.get(&key_name(key)).map(|text| value_of(text)).transpose()?;
            history.events.extend([Event::Starts(client, Operation::Read), Event::Read(client, read)]);
        }
        Ok(())
    }

    /// Returns the histories, by key, and the totals.
    pub(crate) fn all(&self) -> (Vec<History>, Totals) {
        let shared = self.shared.lock();
        (shared.histories.clone(), shared.totals.clone())
    }
}

impl fmt::Display for Histories {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, history) in self.shared.lock().histories.iter().enumerate() {
            write!(f, "key {key}:\n{history}")?;
        }
        Ok(())
    }
}

impl Shared {
    fn usable_key(&mut self, slot: usize) -> usize {
        if self.histories[self.active[slot]].is_full() {
            self.active[slot] = self.histories.len();
            self.histories.push(History::default());
        }
        self.active[slot]
    }

    fn start(&mut self, key: usize, client: ClientId, operation: Operation) -> Started {
        let history = &mut self.histories[key];
        history.started += 1;
        history.events.push(Event::Starts(client, operation));
        Started { key, client, operation, at: Instant::now() }
    }

    fn answered(&mut self, started: &Started) {
        let now = Instant::now();
        let totals = &mut self.totals;
        match started.operation {
            Operation::Write(_) => totals.writes += 1,
            Operation::Read => totals.reads += 1,
        }
        totals.latencies.push(now - started.at);
        totals.without_leader = totals.without_leader.max(now - self.last_answer);
        self.last_answer = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: ClientId = ClientId { number: 1, life: 0 };

    /// Starts operations until one is a write.
    fn start_write(histories: &Histories, rng: &mut Rng) -> Started {
        loop {
            let started = histories.start(CLIENT, rng);
            match started.operation {
                Operation::Write(_) => return started,
                Operation::Read => histories.cancel(started),
            }
        }
    }

    #[test]
    fn what_was_not_done_leaves_no_trace() {
        let (histories, mut rng) = (Histories::new(), Rng::with_seed(1));
        for _ in 0..100 {
            histories.cancel(start_write(&histories, &mut rng));
        }
        let (all, totals) = histories.all();
        assert_eq!((all.len(), totals.writes), (ACTIVE_KEYS, 0));
        assert!(all.iter().all(|history| history.events.is_empty()));
    }

    #[test]
    fn an_open_write_stays_open_and_a_key_with_too_many_is_replaced() {
        let (histories, mut rng) = (Histories::new(), Rng::with_seed(1));
        for _ in 0..100 {
            histories.leave_open(start_write(&histories, &mut rng));
        }
        let (all, totals) = histories.all();
        assert_eq!(totals.open, 100);
        let events: usize = all.iter().map(|history| history.events.len()).sum();
        assert_eq!(events, 100);
        assert!(all.iter().all(|history| history.events.len() <= OPEN_MAX));
    }

    #[test]
    fn a_key_with_enough_operations_is_replaced() {
        let (histories, mut rng) = (Histories::new(), Rng::with_seed(1));
        for _ in 0..1000 {
            let started = histories.start(CLIENT, &mut rng);
            histories.end(started, None);
        }
        let (all, totals) = histories.all();
        assert_eq!(totals.writes + totals.reads, 1000);
        assert!(all.iter().all(|history| history.events.len() <= 2 * OPERATIONS_MAX));
        assert!(all.len() >= 1000 / OPERATIONS_MAX);
    }

    #[test]
    fn the_last_read_is_of_every_key() {
        let (histories, mut rng) = (Histories::new(), Rng::with_seed(1));
        let started = start_write(&histories, &mut rng);
        let Operation::Write(value) = started.operation else { return };
        histories.end(started, None);
        let map = Map::from([(key_name(started.key), value_text(value))]);
        histories.read_all(CLIENT, &map).unwrap();
        for (key, history) in histories.all().0.iter().enumerate() {
            let read = (key == started.key).then_some(value);
            assert_eq!(history.events.last(), Some(&Event::Read(CLIENT, read)));
        }
        let wrong = Map::from([(key_name(0), "other".to_string())]);
        assert!(histories.read_all(CLIENT, &wrong).is_err());
    }
}
