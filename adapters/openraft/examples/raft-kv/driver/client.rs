//! A client: writes and reads keys, and records what it sees.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use fastrand::Rng;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Outcome;
use crate::driver::NODES;
use crate::driver::history::{
    ClientId, Histories, Operation, Started, Value, key_name, value_of, value_text,
};
use crate::server::addresses::Addresses;
use crate::server::types::{Answer, NodeId, Read, Write};

/// How long a server may take to answer before another is asked.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long to wait while there is no leader.
const PAUSE: Duration = Duration::from_millis(20);

/// Knows the leader, and asks it.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) id: ClientId,
    pub(crate) addresses: Addresses,
    pub(crate) http: reqwest::Client,
    pub(crate) histories: Arc<Histories>,
    pub(crate) leader: NodeId,
}

impl Client {
    /// Writes and reads until it is stopped.
    pub(crate) async fn run(mut self, mut rng: Rng, stop: Arc<AtomicBool>) -> Outcome<()> {
        while !stop.load(Relaxed) {
            let started = self.histories.start(self.id, &mut rng);
            // One that led until now may still believe that it leads, and must not answer a read.
            let is_any = started.operation == Operation::Read && rng.u8(..8) == 0;
            let asked = if is_any { rng.u64(1..=NODES) } else { self.leader };
            self.finish(started, asked).await?;
        }
        Ok(())
    }

    /// Carries out an operation at a server, and records how it ended.
    async fn finish(&mut self, started: Started, asked: NodeId) -> Outcome<()> {
        match self.ask(&started, asked).await? {
            Answer::Done(read) => {
                self.histories.end(started, read);
                return Ok(());
            }
            Answer::NotLeader(other) => {
                self.histories.cancel(started);
                if let Some(other) = other.filter(|other| *other != self.leader) {
                    self.leader = other;
                    return Ok(());
                }
            }
            Answer::Unknown(_) => {
                self.histories.leave_open(started);
                self.id.life += 1;
            }
        }
        if asked == self.leader {
            self.leader = self.leader % NODES + 1;
        }
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }

    async fn ask(&self, started: &Started, asked: NodeId) -> Outcome<Answer<Option<Value>>> {
        let key = key_name(started.key);
        match started.operation {
            Operation::Write(value) => {
                let write = Write { key, value: value_text(value) };
                try_map(self.post(asked, "/write", &write).await, |()| Ok(None))
            }
            Operation::Read => {
                let parse = |text: Option<String>| text.as_deref().map(value_of).transpose();
                try_map(self.post(asked, "/read", &Read { key }).await, parse)
            }
        }
    }

    async fn post<T: DeserializeOwned>(
        &self,
        asked: NodeId,
        path: &str,
        question: &impl Serialize,
    ) -> Answer<T> {
        // A server that doesn't listen has got nothing.
        let Ok(url) = self.addresses.url(asked, path) else { return Answer::NotLeader(None) };
        let sent = self.http.post(url).json(question).timeout(PATIENCE).send().await;
        let answer = match sent {
            Ok(answer) => answer.json().await,
            Err(error) if error.is_connect() => return Answer::NotLeader(None),
            Err(error) => Err(error),
        };
        answer.unwrap_or_else(|error| Answer::Unknown(error.to_string()))
    }
}

fn try_map<T, U>(answer: Answer<T>, map: impl FnOnce(T) -> Outcome<U>) -> Outcome<Answer<U>> {
    Ok(match answer {
        Answer::Done(value) => Answer::Done(map(value)?),
        Answer::NotLeader(other) => Answer::NotLeader(other),
        Answer::Unknown(error) => Answer::Unknown(error),
    })
}
