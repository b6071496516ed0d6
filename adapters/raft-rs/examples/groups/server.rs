//! A process: a member of each group, all in one log.
//!
//! ```text
//! sockets ─► a thread for each ─┐
//! the log's callbacks ──────────┼─► events ─► one thread: step, tick, run ─► a thread for each other process
//! time ─────────────────────────┘                    └─► answers to clients
//! ```
//!
//! The one thread never waits for the disk: it runs a member again when the log's callback has come.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use chunked_wal::codeq::{Decode, Encode};
use chunked_wal_groups::Config;
use chunked_wal_raft_rs::{GroupStore, Groups, Node};
use protobuf::Message as _;
use raft::eraftpb::Message;

use crate::wire::{Frame, Kind, Numbers, socket};
use crate::{Outcome, PROCESSES, preferred};

/// The variable with a [`Start`]: the process is a server.
const VARIABLE: &str = "RAFT_GROUPS_PROCESS";

/// Raft's unit of time: an election takes place after 10 to 20 of them without a leader.
const TICK: Duration = Duration::from_millis(100);

/// When a new group's preferred leader asks for votes, in ticks: once all processes have had time to start.
const FIRST_ELECTION: u64 = 5;

/// The number of writes after which a group makes a snapshot.
const SNAPSHOT_AFTER: usize = 20;

/// What a process needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    pub(crate) id: u64,
    pub(crate) groups: u64,
    pub(crate) dir: PathBuf,
}

impl Start {
    /// Returns what the driver has passed to this process, if it is a server.
    pub(crate) fn given() -> Option<Self> {
        let given = std::env::var(VARIABLE).ok()?;
        let mut words = given.splitn(3, ' ');
        let (id, groups) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(Start { id, groups, dir: words.next()?.into() })
    }

    /// Returns the variable and its value for a process that is to be this server.
    pub(crate) fn variable(&self) -> (&'static str, String) {
        (VARIABLE, format!("{} {} {}", self.id, self.groups, self.dir.display()))
    }
}

/// What makes a member go on.
enum Event {
    /// A message from another member of the group.
    Message(u64, Box<Message>),
    /// A client's question, and where the answer goes.
    Question(Frame, Sender<Frame>),
    /// Something of the group is durable.
    Persisted(u64),
}

struct Member {
    node: Node<GroupStore>,
    /// Clients that wait for their writes.
    writes: BTreeMap<Vec<u8>, Sender<Frame>>,
    /// How much of what is applied was answered, and is in the snapshot.
    answered: usize,
    in_snapshot: usize,
}

struct Server {
    id: u64,
    log: Groups,
    members: Vec<Member>,
    /// Members that may have something to do.
    awake: BTreeSet<u64>,
    /// The other processes: where messages go, and when the last one came.
    peers: BTreeMap<u64, Sender<Vec<Frame>>>,
    heard: BTreeMap<u64, Instant>,
    ticks: u64,
}

/// Serves until standard input ends, with the driver.
pub(crate) fn run(start: Start) -> Outcome<()> {
    thread::spawn(|| {
        let _ended = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        std::process::exit(0);
    });
    let (to_events, events) = channel();
    let mut server = Server::open(&start, &to_events)?;
    let path = socket(&start.dir, start.id);
    let _was_not_there = std::fs::remove_file(&path);
    let listener = UnixListener::bind(path)?;
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let to_events = to_events.clone();
            thread::spawn(move || receive(stream, &to_events));
        }
    });
    server.serve(&events)
}

/// Passes the frames of a connection on, and the answers back, until it ends.
fn receive(stream: UnixStream, to_events: &Sender<Event>) -> Outcome<()> {
    let mut answers = stream.try_clone()?;
    let mut stream = BufReader::new(stream);
    loop {
        let frame = Frame::decode(&mut stream)?;
        if frame.kind == Kind::Message {
            let message = Message::parse_from_bytes(&frame.bytes)?;
            to_events.send(Event::Message(frame.number, Box::new(message)))?;
            continue;
        }
        let (to_answer, answer) = channel();
        to_events.send(Event::Question(frame, to_answer))?;
        let mut bytes = Vec::new();
        answer.recv()?.encode(&mut bytes)?;
        answers.write_all(&bytes)?;
    }
}

/// Sends messages to a process. What can't be sent is dropped: raft sends it again.
fn send(dir: &Path, id: u64, batches: &Receiver<Vec<Frame>>) {
    let mut connected: Option<UnixStream> = None;
    let mut bytes = Vec::new();
    while let Ok(batch) = batches.recv() {
        bytes.clear();
        let encoded = batch.iter().try_for_each(|frame| frame.encode(&mut bytes).map(drop));
        connected = connected.or_else(|| UnixStream::connect(socket(dir, id)).ok());
        let sent = connected.as_mut().is_some_and(|stream| stream.write_all(&bytes).is_ok());
        if encoded.is_err() || !sent {
            connected = None;
        }
    }
}

impl Server {
    fn open(start: &Start, to_events: &Sender<Event>) -> Outcome<Self> {
        let mut config = Config::new(start.dir.join(format!("log-{}", start.id)));
        // Small, so that space is reclaimed in a run of some seconds.
        config.wal.chunk_max_size = 128 << 10;
        std::fs::create_dir_all(&config.wal.dir)?;
        let log = Groups::open(config)?;
        let mut members = Vec::new();
        for group in 0..start.groups {
            let to_events = to_events.clone();
            let store = GroupStore::open(&log, group, &PROCESSES)?.on_persisted(move || {
                let _server_has_ended = to_events.send(Event::Persisted(group));
            });
            let node = Node::new(start.id, store)?;
            let applied = node.applied().len();
            members.push(Member { node, writes: BTreeMap::new(), answered: applied, in_snapshot: applied });
        }
        let mut peers = BTreeMap::new();
        for id in PROCESSES.into_iter().filter(|id| *id != start.id) {
            let (to_peer, batches) = channel();
            let dir = start.dir.clone();
            thread::spawn(move || send(&dir, id, &batches));
            peers.insert(id, to_peer);
        }
        let (awake, heard) = (BTreeSet::new(), BTreeMap::new());
        Ok(Server { id: start.id, log, members, awake, peers, heard, ticks: 0 })
    }

    fn serve(&mut self, events: &Receiver<Event>) -> Outcome<()> {
        let mut next_tick = Instant::now() + TICK;
        loop {
            match events.recv_timeout(next_tick.saturating_duration_since(Instant::now())) {
                Ok(event) => self.handle(event)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            // All that has come, so that one commit and one message serve many events.
            for event in events.try_iter().take(1000) {
                self.handle(event)?;
            }
            if Instant::now() >= next_tick {
                next_tick = Instant::now() + TICK;
                self.tick()?;
            }
            self.run_awake()?;
        }
    }

    fn handle(&mut self, event: Event) -> Outcome<()> {
        match event {
            Event::Persisted(group) => drop(self.awake.insert(group)),
            Event::Message(group, message) => {
                self.heard.insert(message.from, Instant::now());
                // An error is one of the message: of a member that is no more, for example.
                let _ignored = self.member(group)?.node.step(*message);
                self.awake.insert(group);
            }
            Event::Question(frame, answer) => self.answer(frame, answer)?,
        }
        Ok(())
    }

    fn member(&mut self, group: u64) -> Outcome<&mut Member> {
        let member = usize::try_from(group).ok().and_then(|at| self.members.get_mut(at));
        member.ok_or_else(|| format!("there is no group {group}").into())
    }

    fn answer(&mut self, question: Frame, answer: Sender<Frame>) -> Outcome<()> {
        let done = match question.kind {
            Kind::Write => return self.write(question, answer),
            Kind::Read => self.applied()?,
            _ => {
                let mut bytes = Vec::new();
                self.numbers().encode(&mut bytes)?;
                bytes
            }
        };
        let _client_is_gone = answer.send(Frame::new(Kind::Done, 0, done));
        Ok(())
    }

    fn write(&mut self, question: Frame, answer: Sender<Frame>) -> Outcome<()> {
        let member = self.member(question.number)?;
        // Only the leader proposes. Another member would pass the write on to the leader, and get no answer for the client.
        if member.node.leads() && member.node.propose(question.bytes.clone()).is_ok() {
            member.writes.insert(question.bytes, answer);
            self.awake.insert(question.number);
        } else {
            let leader = member.node.leader().unwrap_or(0);
            let _client_is_gone = answer.send(Frame::new(Kind::Refused, leader, Vec::new()));
        }
        Ok(())
    }

    /// What every group has applied, one after the other.
    fn applied(&self) -> Outcome<Vec<u8>> {
        let mut bytes = Vec::new();
        for member in &self.members {
            member.node.applied().concat().encode(&mut bytes)?;
        }
        Ok(bytes)
    }

    fn numbers(&self) -> Numbers {
        let space = self.log.space();
        let count = |is: fn(&Node<GroupStore>) -> bool| {
            self.members.iter().filter(|member| is(&member.node)).count() as u64
        };
        Numbers {
            leads: count(Node::leads),
            leaderless: count(|node| node.leader().is_none()),
            log: space.log,
            alive: space.alive,
            moved: space.moved,
        }
    }

    /// Lets time pass in every group, and gives the lead to the member that should have it.
    fn tick(&mut self) -> Outcome<()> {
        self.ticks += 1;
        let (id, heard) = (self.id, &self.heard);
        let lives = |id| heard.get(&id).is_some_and(|at| at.elapsed() < 3 * TICK);
        for (group, member) in (0..).zip(&mut self.members) {
            member.node.tick();
            let preferred = preferred(group);
            if member.node.term() == 0 && preferred == id && self.ticks == FIRST_ELECTION {
                member.node.campaign()?;
            }
            if member.node.leads() && preferred != id && lives(preferred) {
                member.node.transfer_leader(preferred);
            }
            self.awake.insert(group);
        }
        Ok(())
    }

    fn run_awake(&mut self) -> Outcome<()> {
        let mut batches: BTreeMap<u64, Vec<Frame>> = BTreeMap::new();
        for group in std::mem::take(&mut self.awake) {
            let member = self.member(group)?;
            for message in member.node.run()? {
                let frame = Frame::new(Kind::Message, group, message.write_to_bytes()?);
                batches.entry(message.to).or_default().push(frame);
            }
            member.applied()?;
        }
        for (id, batch) in batches {
            if let Some(to_peer) = self.peers.get(&id) {
                to_peer.send(batch)?;
            }
        }
        Ok(())
    }
}

impl Member {
    /// Answers the clients whose writes are applied now, and makes a snapshot after some.
    fn applied(&mut self) -> Outcome<()> {
        let applied = self.node.applied();
        for write in applied.get(self.answered..).unwrap_or_default() {
            if let Some(client) = self.writes.remove(write) {
                let _client_is_gone = client.send(Frame::new(Kind::Done, 0, Vec::new()));
            }
        }
        self.answered = applied.len();
        if !self.node.leads() {
            // The other writes may be committed or lost: they get no answer, and their connections close.
            self.writes.clear();
        }
        if self.answered >= self.in_snapshot + SNAPSHOT_AFTER {
            self.in_snapshot = self.answered;
            self.node.save_snapshot()?;
        }
        Ok(())
    }
}
