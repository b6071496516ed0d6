//! Whole clusters. Their servers are this test binary again, with one test.

use super::*;

/// The part of the servers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn is_a_server_as_a_child() {
    if let Some(start) = node::Start::given().unwrap() {
        node::run(start).await.unwrap();
    }
}

/// A store that acknowledges before it syncs loses acknowledged writes with the power, and the check
/// notices.
#[tokio::test(flavor = "multi_thread")]
async fn early_acknowledgements_are_noticed() {
    let early = Run { time: Duration::ZERO, seed: 1, acknowledges: Acknowledges::Early };
    let dir = tempfile::tempdir().unwrap();
    let failed = run_in(dir.path(), early).await.unwrap_err().to_string();
    assert!(failed.starts_with("not linearizable: "), "{failed}");
    assert!(dir.path().join("histories").exists());
}
