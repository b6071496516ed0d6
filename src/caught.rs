//! Panics of the user's code (callbacks, wakers, codecs, loggers, a storage), which must not end a thread
//! that others wait for.

use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

/// What `call` returns; `None` if it panics.
///
/// The panic's payload is leaked: dropping it is the user's code once more, and may panic again.
pub(crate) fn caught<T>(call: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(call)).map_err(std::mem::forget).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }

    #[test]
    fn a_payload_that_panics_when_it_is_dropped_is_not_dropped() {
        assert_eq!(caught(|| 7), Some(7));
        assert_eq!(caught(|| std::panic::panic_any(Bomb)), None::<()>);
    }
}
