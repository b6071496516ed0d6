//! A client: writes one key after the other, and retries each until it is acknowledged.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::types::{Answer, Map, NODES, NodeId, Write};
use crate::{Outcome, address};

/// How long a server may take to answer before another is asked.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long to wait while there is no leader.
const PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) number: u64,
    pub(crate) cluster: PathBuf,
    pub(crate) http: reqwest::Client,
    pub(crate) stop: Arc<AtomicBool>,
}

/// The results of a client.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// The acknowledged writes.
    pub(crate) acknowledged: Map,
    /// The time from the first try to the acknowledgement, of each write.
    pub(crate) latencies: Vec<Duration>,
    pub(crate) retries: u64,
}

impl Client {
    /// Writes until it is stopped.
    pub(crate) async fn run(self) -> Written {
        let mut written = Written::default();
        let mut leader = 1;
        for n in 0_u64.. {
            let write = self.write(n);
            let began = Instant::now();
            loop {
                if self.stop.load(Relaxed) {
                    return written;
                }
                match self.ask(leader, &write).await {
                    Ok(Answer::Done) => break,
                    Ok(Answer::Leader(Some(other))) if other != leader => leader = other,
                    // The write may have been stored. Repeating it does no harm.
                    Ok(Answer::Leader(_) | Answer::Failed(_)) | Err(_) => {
                        leader = leader % NODES + 1;
                        tokio::time::sleep(PAUSE).await;
                    }
                }
                written.retries += 1;
            }
            written.latencies.push(began.elapsed());
            written.acknowledged.insert(write.key, write.value);
        }
        written
    }

    /// Each write has its own key, so that the check at the end can look for each.
    fn write(&self, n: u64) -> Write {
        let key = format!("client-{}-write-{n}", self.number);
        let value = format!("{:016x}", (self.number << 32 | n).wrapping_mul(0x9E37_79B9_7F4A_7C15)).repeat(4);
        Write { key, value }
    }

    async fn ask(&self, id: NodeId, write: &Write) -> Outcome<Answer> {
        let url = address::url(&self.cluster, id, "/write")?;
        Ok(self.http.post(url).json(write).timeout(PATIENCE).send().await?.json().await?)
    }
}
