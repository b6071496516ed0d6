//! An archive on a server that speaks S3's API: moto, from PyPI. `.ci/run` installs it and runs this test.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chunked_wal::raw::{Payload, Raw};
use chunked_wal::{ChunkId, ChunkedWal, Config, Segment, StateMachine, WalRecord};
use chunked_wal_archive::object_store::ObjectStore;
use chunked_wal_archive::object_store::aws::AmazonS3Builder;
use chunked_wal_archive::{Archive, Archiver, Error, Keep, PruneMode};

const BUCKET: &str = "archive";
const LONG: Duration = Duration::from_secs(60);

/// A server on a port of its own, until it is dropped.
struct Server {
    child: Child,
    url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended_before = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Server {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let command = std::env::var("MOTO_SERVER").unwrap_or_else(|_| "moto_server".into());
        let mut child = Command::new(command)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Its log is read, so that it never blocks.
        let log = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || log.lines().for_each(drop));
        let address = format!("127.0.0.1:{port}");
        let started = Instant::now();
        while TcpStream::connect(&address).is_err() {
            assert!(started.elapsed() < LONG, "the server doesn't start");
            std::thread::sleep(Duration::from_millis(50));
        }
        let server = Server { child, url: format!("http://{address}") };
        server.make_bucket(&address);
        server
    }

    /// A request that the store's client has no call for.
    fn make_bucket(&self, address: &str) {
        use std::io::{Read, Write};
        let mut stream = TcpStream::connect(address).unwrap();
        write!(
            stream,
            "PUT /{BUCKET} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    fn store(&self) -> Arc<dyn ObjectStore> {
        let builder = AmazonS3Builder::new().with_endpoint(&self.url).with_allow_http(true);
        let builder = builder.with_region("us-east-1").with_bucket_name(BUCKET);
        Arc::new(builder.with_access_key_id("key").with_secret_access_key("secret").build().unwrap())
    }

    fn command(&self, args: &[&str]) -> Output {
        let output = Command::new(env!("CARGO_BIN_EXE_chunked-wal-archive"))
            .args(args)
            .env("AWS_ENDPOINT", &self.url)
            .env("AWS_ALLOW_HTTP", "true")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "key")
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output
    }
}

/// Ignores its records.
struct Nothing;

impl StateMachine<Raw> for Nothing {
    type Error = std::convert::Infallible;

    fn apply(&mut self, _: &WalRecord<Raw>, _: ChunkId, _: Segment) -> Result<(), Self::Error> {
        Ok(())
    }

    fn checkpoint(&self) -> Payload {
        Payload::default()
    }
}

fn open(dir: &Path) -> ChunkedWal<Raw> {
    let mut config = Config::new(dir);
    config.chunk_max_size = 64 << 10;
    ChunkedWal::open(config, &mut Nothing).unwrap()
}

fn append(wal: &mut ChunkedWal<Raw>, records: u8) {
    for n in 0..records {
        wal.append(&WalRecord::Action(Payload(vec![n; 1000]))).unwrap();
        wal.try_close_full_chunk(&Nothing).unwrap();
    }
    wal.sync().unwrap();
}

fn assert_same(restored: &Path, original: &Path) {
    let mut chunks = 0;
    for entry in std::fs::read_dir(restored).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        assert!(std::fs::read(original.join(path.file_name().unwrap())).unwrap().starts_with(&bytes));
        chunks += 1;
    }
    assert!(chunks > 0);
}

#[test]
#[ignore = "needs moto_server, which .ci/run installs"]
fn an_archive_on_a_server_that_speaks_s3() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let log_dir = dir.path().join("log");
    let mut wal = open(&log_dir);
    append(&mut wal, 200);
    let first = Archiver::attach(&wal, server.store()).unwrap();
    first.wait_archived(wal.progress().synced, LONG).unwrap();
    append(&mut wal, 100);
    first.wait_archived(wal.progress().synced, LONG).unwrap();

    // Create-if-absent is what fences: the server has to know it.
    let second = Archiver::attach(&wal, server.store()).unwrap();
    append(&mut wal, 10);
    second.wait_archived(wal.progress().synced, LONG).unwrap();
    let started = Instant::now();
    while first.error().is_none() {
        append(&mut wal, 1);
        assert!(started.elapsed() < LONG, "the first archiver wasn't fenced");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(matches!(first.error(), Some(Error::Fenced { .. })), "{:?}", first.error());
    let end = wal.progress().synced;
    second.wait_archived(end, LONG).unwrap();
    second.close(LONG).unwrap();

    let archive = Archive::new(server.store());
    let restored = dir.path().join("restored");
    let from = chunked_wal_archive::RestoreFrom::Oldest;
    let found = archive.restore(from, Default::default(), &restored, &Default::default()).unwrap();
    assert_eq!(found.end, end);
    assert_same(&restored, &log_dir);
    archive.prune(Keep::Bytes(0), PruneMode::Apply).unwrap();
    let verified = archive.verify(&Default::default()).unwrap();
    assert_eq!((verified.findings, verified.chunks), (vec![], 1));
}

#[test]
#[ignore = "needs moto_server, which .ci/run installs"]
fn the_command_takes_a_place_in_a_bucket() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let [log, restored] = ["log", "restored"].map(|name| dir.path().join(name));
    let mut wal = open(&log);
    append(&mut wal, 100);
    wal.close().unwrap();
    let store = format!("s3://{BUCKET}/some/place");
    server.command(&["run", log.to_str().unwrap(), &store, "--once"]);
    let status = server.command(&["status", &store, "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert!(status["end"].as_u64() > Some(100_000), "{status}");
    server.command(&["restore", &store, restored.to_str().unwrap()]);
    assert_same(&restored, &log);
}
