//! An event that happens again and again, and wakes all threads that wait for it.
//!
//! ```text
//! seen = epoch() ─► look whether to wait at all ─► wait(seen)        happen(): epoch + 1, wake all
//! ```
//!
//! - A thread that takes the epoch before it looks misses nothing: `wait` returns at once if the event
//!   has happened since.
//! - One call wakes all threads, and they need no lock to go on. With a condition variable, some dozen
//!   threads that wait for one sync then queue for its lock, each woken by the thread before.

use std::time::Instant;

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) use futex::Event;

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) use super::locked::Event;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod futex {
    use std::sync::atomic::Ordering::SeqCst;
    use std::sync::atomic::{AtomicU32, AtomicUsize};

    use rustix::thread::futex;
    use rustix::thread::futex::Timespec;

    use super::Instant;

    #[derive(Debug, Default)]
    pub(crate) struct Event {
        epoch: AtomicU32,
        waiting: AtomicUsize,
    }

    impl Event {
        /// How often the event has happened.
        pub(crate) fn epoch(&self) -> u32 {
            self.epoch.load(SeqCst)
        }

        /// Waits until the event has happened since `seen`, or until a time; may also return for no
        /// reason.
        pub(crate) fn wait(&self, seen: u32, until: Option<Instant>) {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            // A time too far away for a `Timespec` is no limit.
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            self.waiting.fetch_add(1, SeqCst);
            // However the wait ends, the caller looks again.
            let _woken = futex::wait(&self.epoch, futex::Flags::PRIVATE, seen, left.as_ref());
            self.waiting.fetch_sub(1, SeqCst);
        }

        /// Wakes all waiting threads.
        pub(crate) fn happen(&self) {
            self.epoch.fetch_add(1, SeqCst);
            // A waiter that isn't counted yet finds another epoch than the one that it saw.
            if self.waiting.load(SeqCst) > 0 {
                let _count = futex::wake(&self.epoch, futex::Flags::PRIVATE, i32::MAX as u32);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;
    use std::sync::atomic::Ordering::SeqCst;
    use std::time::Duration;

    use super::*;

    /// The same tests for both kinds.
    macro_rules! each_kind {
        ($($name:ident: $kind:ty),*) => {$(
            mod $name {
                use super::*;

                #[test]
                fn an_event_between_look_and_wait_is_not_missed() {
                    const ROUNDS: u64 = 2_000;
                    let (event, reached) = (<$kind>::default(), AtomicU64::new(0));
                    std::thread::scope(|scope| {
                        for _ in 0..3 {
                            scope.spawn(|| {
                                for round in 1..=ROUNDS {
                                    loop {
                                        let seen = event.epoch();
                                        if reached.load(SeqCst) >= round {
                                            break;
                                        }
                                        event.wait(seen, None);
                                    }
                                }
                            });
                        }
                        for _ in 0..ROUNDS {
                            reached.fetch_add(1, SeqCst);
                            event.happen();
                        }
                    });
                }

                #[test]
                fn a_wait_ends_at_its_time() {
                    let event = <$kind>::default();
                    let started = Instant::now();
                    let until = started + Duration::from_millis(20);
                    while Instant::now() < until {
                        event.wait(event.epoch(), Some(until));
                    }
                    event.wait(event.epoch(), Some(started));
                }
            }
        )*};
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    each_kind!(futex_kind: super::super::futex::Event);
    each_kind!(locked_kind: crate::sync::locked::Event);
}
