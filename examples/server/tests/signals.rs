//! The server under signals: SIGTERM answers what is under way and ends with 0; SIGKILL loses nothing acknowledged.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(dir: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_chunked-wal-server"))
            .arg(dir)
            .arg("127.0.0.1:0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines.find_map(|line| Some(line.unwrap().strip_prefix("listening on ")?.to_string()));
        // The rest of its output must not fill the pipe.
        thread::spawn(move || lines.for_each(drop));
        Server { child, address: address.unwrap() }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }
}

/// One request after the other on one connection.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: &str) -> std::io::Result<Self> {
        Ok(Client(BufReader::new(TcpStream::connect(address)?)))
    }

    fn send(&mut self, text: &str) -> std::io::Result<()> {
        self.0.get_mut().write_all(text.as_bytes())
    }

    fn request(&mut self, method: &str, key: &str, body: &str) -> std::io::Result<(u16, String)> {
        self.send(&format!(
            "{method} /{key} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))?;
        self.answer()
    }

    fn answer(&mut self) -> std::io::Result<(u16, String)> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or(std::io::ErrorKind::UnexpectedEof)?;
        let mut len = 0;
        loop {
            line.clear();
            self.0.read_line(&mut line)?;
            match line.trim_end().to_ascii_lowercase().split_once(": ") {
                None => break,
                Some(("content-length", value)) => len = value.parse().unwrap(),
                Some(_) => {}
            }
        }
        let mut body = vec![0; len];
        self.0.read_exact(&mut body)?;
        Ok((status, String::from_utf8(body).unwrap()))
    }
}

fn value(number: u64) -> String {
    format!("{number} ").repeat(800)
}

/// Clients that write until the server is gone; returns the numbers that were acknowledged.
fn write_until_gone(address: &str, next: &AtomicU64) -> Vec<u64> {
    let write = || {
        let mut acknowledged = Vec::new();
        let Ok(mut client) = Client::connect(address) else { return acknowledged };
        loop {
            let number = next.fetch_add(1, Relaxed);
            match client.request("PUT", &format!("key-{number}"), &value(number)) {
                Ok((204, _)) => acknowledged.push(number),
                Ok(other) => panic!("{other:?}"),
                Err(_) => return acknowledged,
            }
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(write)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

fn check(address: &str, acknowledged: &[u64]) {
    let mut client = Client::connect(address).unwrap();
    for number in acknowledged {
        let answer = client.request("GET", &format!("key-{number}"), "").unwrap();
        assert_eq!(answer, (200, value(*number)), "key-{number}");
    }
}

#[test]
fn a_killed_server_has_lost_nothing_that_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let next = AtomicU64::new(0);
    let mut acknowledged = Vec::new();
    for round in 0..4 {
        let mut server = Server::start(dir.path());
        check(&server.address, &acknowledged);
        acknowledged.extend(thread::scope(|scope| {
            let writing = scope.spawn(|| write_until_gone(&server.address, &next));
            thread::sleep(Duration::from_millis(700 + 130 * round));
            server.signal("-KILL");
            writing.join().unwrap()
        }));
        assert!(!server.child.wait().unwrap().success());
    }
    let mut server = Server::start(dir.path());
    check(&server.address, &acknowledged);
    server.signal("-TERM");
    assert!(server.child.wait().unwrap().success());
    let snapshots = std::fs::read_dir(dir.path().join("snapshots")).unwrap().count();
    println!("{} acknowledged, {snapshots} files in snapshots/", acknowledged.len());
    assert!(snapshots > 0, "no snapshot with {} values", acknowledged.len());
}

#[test]
fn a_terminated_server_answers_what_is_under_way_and_ends_with_0() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    let mut slow = Client::connect(&server.address).unwrap();
    slow.send("PUT /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nha").unwrap();
    let next = AtomicU64::new(0);
    let acknowledged = thread::scope(|scope| {
        let writing = scope.spawn(|| write_until_gone(&server.address, &next));
        thread::sleep(Duration::from_millis(500));
        server.signal("-TERM");
        while Client::connect(&server.address).is_ok() {
            thread::sleep(Duration::from_millis(10));
        }
        // The request that had begun is finished after the signal.
        slow.send("lf").unwrap();
        assert_eq!(slow.answer().unwrap(), (204, String::new()));
        drop(slow);
        writing.join().unwrap()
    });
    assert!(server.child.wait().unwrap().success());
    assert!(!acknowledged.is_empty());

    let mut server = Server::start(dir.path());
    check(&server.address, &acknowledged);
    let mut client = Client::connect(&server.address).unwrap();
    assert_eq!(client.request("GET", "slow", "").unwrap(), (200, "half".to_string()));
    assert_eq!(client.request("DELETE", "slow", "").unwrap().0, 204);
    assert_eq!(client.request("GET", "slow", "").unwrap().0, 404);
    drop(client);
    server.signal("-TERM");
    assert!(server.child.wait().unwrap().success());
}
