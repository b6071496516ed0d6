//! splitmix64 (Steele, Lea, Flood 2014): numbers that a seed determines, and the keys of a frame's check.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]

/// The `n`th output of splitmix64 with this seed.
pub fn splitmix64(seed: u64, n: u64) -> u64 {
    let x = seed.wrapping_add(n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ x >> 31
}

/// The outputs of splitmix64, one after the other.
#[derive(Debug, Clone)]
pub struct Random {
    seed: u64,
    n: u64,
}

impl Random {
    pub fn new(seed: u64) -> Self {
        Random { seed, n: 0 }
    }

    pub fn next(&mut self) -> u64 {
        self.n += 1;
        splitmix64(self.seed, self.n)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}
