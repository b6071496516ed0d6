//! Numbers that look random: [`random_u64`] for salts, log ids and spare names, which must differ, not be
//! secret; [`splitmix64`] where a seed must give the same numbers again.

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

/// The step of splitmix64 from one number to the next.
pub(crate) const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// Returns the `n`th output of the generator splitmix64 (Steele, Lea, Flood 2014) with this seed.
pub(crate) fn splitmix64(seed: u64, n: u64) -> u64 {
    mix(seed.wrapping_add(n.wrapping_mul(STEP)))
}

/// The finalizer of splitmix64: a permutation of all numbers that changes about half of the bits.
pub(crate) fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn numbers_differ() {
        let drawn: HashSet<u64> = (0..10_000).map(|_| super::random_u64()).collect();
        assert_eq!(drawn.len(), 10_000);
    }

    #[test]
    fn splitmix64_is_the_published_one() {
        // The first outputs for the seed 1234567, as of the reference implementation in C.
        let first = [1, 2, 3].map(|n| super::splitmix64(1_234_567, n));
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }
}
