//! Serves a log's metrics to Prometheus while it appends.
//!
//! ```text
//! cargo run --release -p chunked-wal-prometheus              # until interrupted
//! cargo run --release -p chunked-wal-prometheus -- --once    # after a moment asks itself, prints, ends
//! curl http://127.0.0.1:9184/metrics
//! ```

use std::io;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use chunked_wal::{ChunkId, ChunkedWal, Config, Flush, Segment, StateMachine, WalRecord, WalTypes};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

struct Notes;

impl WalTypes for Notes {
    type Action = String;
    type Checkpoint = u64;
    type Callback = ();
}

struct Count(u64);

impl StateMachine<Notes> for Count {
    type Error = std::convert::Infallible;

    fn apply(&mut self, record: &WalRecord<Notes>, _: ChunkId, _: Segment) -> Result<(), Self::Error> {
        match record {
            WalRecord::Action(_) => self.0 += 1,
            WalRecord::Checkpoint(count) => self.0 = *count,
        }
        Ok(())
    }

    fn checkpoint(&self) -> u64 {
        self.0
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let once = std::env::args().any(|argument| argument == "--once");
    // Before the log is opened, because the log registers its metrics then.
    let buckets = [0.000_1, 0.001, 0.01, 0.1, 1.0];
    let seconds = metrics_exporter_prometheus::Matcher::Suffix("_seconds".to_string());
    let metrics = PrometheusBuilder::new().set_buckets_for_metric(seconds, &buckets)?.install_recorder()?;

    // Any free port, if only this program asks.
    let listener = TcpListener::bind(("127.0.0.1", if once { 0 } else { 9184 }))?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || serve(&listener, &metrics));

    let dir = std::env::temp_dir().join(format!("chunked-wal-prometheus-{}", std::process::id()));
    let mut config = Config::new(&dir);
    config.chunk_max_size = 64 << 10;
    let mut count = Count(0);
    let mut wal = ChunkedWal::<Notes>::open(config, &mut count)?;
    println!("a log in '{}', its metrics at http://{address}/metrics", dir.display());

    let started = Instant::now();
    for n in 0u64.. {
        wal.append_and_apply(format!("note {n}"), &mut count)?;
        let ticket = wal.flush_ticket(Flush::Sync)?;
        wal.append_and_apply("written down meanwhile".to_string(), &mut count)?;
        ticket.wait()?;
        let removable = wal.drain_closed_chunks_while(|counted| counted + 2000 < count.0);
        wal.remove_chunks(removable)?;
        // Some rotations and removals are in it by then, on a disk of any speed.
        if once && started.elapsed() > Duration::from_millis(300) {
            println!("{}", ask(address)?);
            break;
        }
        if !once {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    wal.close()?;
    std::fs::remove_dir_all(dir)?;
    Ok(())
}

/// Answers every request with the metrics. A real program would use an HTTP server.
fn serve(listener: &TcpListener, metrics: &PrometheusHandle) {
    for connection in listener.incoming() {
        if let Err(error) = connection.and_then(|connection| answer(connection, metrics)) {
            eprintln!("a request was not answered: {error}");
        }
    }
}

fn answer(mut connection: TcpStream, metrics: &PrometheusHandle) -> io::Result<()> {
    connection.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut request = BufReader::new((&connection).take(16 << 10));
    let mut line = String::new();
    while request.read_line(&mut line)? > 2 {
        line.clear();
    }
    metrics.run_upkeep(); // what the recorder's own server would do now and then
    let body = metrics.render();
    let length = body.len();
    write!(
        connection,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// Asks as Prometheus does, and returns the body of the answer.
fn ask(address: SocketAddr) -> io::Result<String> {
    let mut connection = TcpStream::connect(address)?;
    connection.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    Ok(answer.split_once("\r\n\r\n").map_or(answer.clone(), |(_, body)| body.to_string()))
}
