//! A store that is closed and opened again before every operation, those of its readers included.

use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use futures_util::{Stream, StreamExt, stream};
use openraft::storage::{IOFlushed, LeaderBoundedStreamResult, RaftLogStorage};
use openraft::type_config::alias::{EntryOf, LeaderIdOf};
use openraft::{LogState, OptionalSend, RaftLogReader};
use tokio::sync::{Mutex, MutexGuard};

use crate::common::{LogId, Store, Texts, Vote};

static REOPENED: AtomicU64 = AtomicU64::new(0);

/// How many times a store was opened again.
pub(crate) fn count() -> u64 {
    REOPENED.load(Relaxed)
}

type Open = dyn Fn() -> Store + Send + Sync;

#[derive(Clone)]
pub(crate) struct Reopening {
    open: Arc<Open>,
    store: Arc<Mutex<Option<Store>>>,
}

impl Reopening {
    pub(crate) fn new(open: impl Fn() -> Store + Send + Sync + 'static) -> Self {
        Reopening { open: Arc::new(open), store: Arc::new(Mutex::new(None)) }
    }

    async fn reopen(&self) -> Reopened<'_> {
        let mut store = self.store.lock().await;
        if let Some(open) = store.take() {
            open.close().unwrap();
            REOPENED.fetch_add(1, Relaxed);
        }
        *store = Some((self.open)());
        Reopened(store)
    }
}

struct Reopened<'a>(MutexGuard<'a, Option<Store>>);

impl Reopened<'_> {
    fn store(&mut self) -> &mut Store {
        self.0.as_mut().unwrap()
    }
}

impl RaftLogReader<Texts> for Reopening {
    async fn leader_bounded_stream<RB>(
        &mut self,
        leader: LeaderIdOf<Texts>,
        range: RB,
    ) -> impl Stream<Item = LeaderBoundedStreamResult<Texts>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let mut reopened = self.reopen().await;
        let stream = reopened.store().leader_bounded_stream(leader, range).await;
        stream::iter(stream.collect::<Vec<_>>().await)
    }

    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<EntryOf<Texts>, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let mut reopened = self.reopen().await;
        let stream = reopened.store().entries_stream(range).await;
        stream::iter(stream.collect::<Vec<_>>().await)
    }

    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<EntryOf<Texts>>, io::Error> {
        self.reopen().await.store().try_get_log_entries(range).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        self.reopen().await.store().read_vote().await
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<EntryOf<Texts>>, io::Error> {
        self.reopen().await.store().limited_get_log_entries(start, end).await
    }
}

impl RaftLogStorage<Texts> for Reopening {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Texts>, io::Error> {
        self.reopen().await.store().get_log_state().await
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.reopen().await.store().save_vote(vote).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.reopen().await.store().save_committed(committed).await
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        self.reopen().await.store().read_committed().await
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Texts>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = EntryOf<Texts>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.reopen().await.store().append(entries, callback).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        self.reopen().await.store().truncate_after(last).await
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        self.reopen().await.store().purge(upto).await
    }
}
