//! Random numbers for salts, log ids and spare names: they must differ, not be secret.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::SystemTime;

/// Returns a number that no other call, in this process or another, is likely to have returned.
pub(crate) fn random_u64() -> u64 {
    // Each `RandomState` has its own keys, drawn from the operating system once per thread and stepped
    // since. Time and process id guard against a copied process image that draws the same keys.
    let mut hasher = RandomState::new().build_hasher();
    if let Ok(now) = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        hasher.write_u128(now.as_nanos());
    }
    hasher.write_u32(std::process::id());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn numbers_differ() {
        let drawn: HashSet<u64> = (0..10_000).map(|_| super::random_u64()).collect();
        assert_eq!(drawn.len(), 10_000);
    }
}
