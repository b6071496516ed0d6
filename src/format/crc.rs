//! CRC-32C (Castagnoli), the checksum of everything that the crate writes.
//!
//! - Few bytes are taken by the processor's own instruction, 8 in one step (x86-64 with SSE4.2, ARMv8 with CRC): records
//!   are small, and the library's preparations cost more than their bytes.
//! - Many bytes, and all of them where the processor lacks the instruction, are taken by the library `crc-fast`, which
//!   multiplies without carries: several times as fast from some hundred bytes on.
//! - Both yield the same values. The format knows only these; see `docs/design/format.md`.
#![allow(unsafe_code, reason = "the instruction, once the processor is known to have it")]

use crc_fast::{CrcAlgorithm, Digest};

/// The most bytes that the instruction takes faster than the library.
const SHORT_MAX: usize = 384;

/// A running CRC-32C.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crc {
    /// The CRC of the bytes taken, all bits flipped.
    register: u32,
}

impl Default for Crc {
    fn default() -> Self {
        Crc { register: !0 }
    }
}

impl Crc {
    /// The CRC of these bytes.
    #[inline]
    pub(crate) fn of(bytes: &[u8]) -> u32 {
        let mut crc = Crc::default();
        crc.take([], bytes);
        crc.value()
    }

    #[inline]
    pub(crate) fn value(self) -> u32 {
        !self.register
    }

    /// Takes the bytes of some words, the lowest byte of each first, and then `bytes`.
    #[inline]
    pub(crate) fn take<const N: usize>(&mut self, words: [u64; N], bytes: &[u8]) {
        let is_short = bytes.len() <= SHORT_MAX;
        self.register = match is_short.then(|| by_instruction(self.register, words, bytes)).flatten() {
            Some(register) => register,
            None => long(self.register, words, bytes),
        };
    }
}

/// The register after words and any number of bytes, on any processor. A function of its own, so that [`Crc::take`] has
/// none of its code.
#[inline(never)]
fn long<const N: usize>(register: u32, words: [u64; N], bytes: &[u8]) -> u32 {
    let after_words = by_instruction(register, words, &[])
        .unwrap_or_else(|| by_library(register, words.map(u64::to_le_bytes).as_flattened()));
    by_library(after_words, bytes)
}

/// The register after words and at most [`SHORT_MAX`] bytes; `None` if the processor lacks the instruction.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline]
fn by_instruction<const N: usize>(register: u32, words: [u64; N], bytes: &[u8]) -> Option<u32> {
    // SAFETY: the processor has the features that the function is compiled for.
    instruction::is_there().then(|| unsafe { instruction::take(register, words, bytes) })
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn by_instruction<const N: usize>(_: u32, _: [u64; N], _: &[u8]) -> Option<u32> {
    None
}

/// The register after these bytes, on any processor.
fn by_library(register: u32, bytes: &[u8]) -> u32 {
    let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, register.into());
    digest.update(bytes);
    digest.get_state() as u32
}

#[cfg(target_arch = "x86_64")]
mod instruction {
    use std::arch::x86_64::{
        _mm_clmulepi64_si128, _mm_crc32_u8, _mm_crc32_u32, _mm_crc32_u64, _mm_cvtsi64_si128,
        _mm_cvtsi128_si64,
    };

    use super::SHORT_MAX;

    /// The fewest bytes that are faster in three runs at once than in one: a step waits three cycles for the step
    /// before it, while the processor could begin one in each cycle. Joining the runs takes about as long as five steps.
    const RUNS_MIN: usize = 128;

    /// `x` to the power of 64 n - 33 modulo the polynomial, bits reversed, for `n` from 1 on. The step of a word
    /// multiplies it by `x` to the power of 32, and a product of two reversed words by `x`: so the step of a register's
    /// product with the power yields what the register is after `n` words of zeros.
    static POWERS: [u32; SHORT_MAX / 8] = powers();

    const fn powers() -> [u32; SHORT_MAX / 8] {
        let mut powers = [0; SHORT_MAX / 8];
        // One, as bits are reversed.
        let mut power: u32 = 1 << 31;
        let mut exponent = 0;
        let mut n = 1;
        while n < powers.len() {
            while exponent < 64 * n - 33 {
                power = power >> 1 ^ (0x82F6_3B78 * (power & 1));
                exponent += 1;
            }
            powers[n] = power;
            n += 1;
        }
        powers
    }

    /// Whether the processor has the instructions; `std` asks it once.
    #[inline]
    pub(super) fn is_there() -> bool {
        is_x86_feature_detected!("sse4.2") && is_x86_feature_detected!("pclmulqdq")
    }

    /// The register after words and at most [`SHORT_MAX`] bytes.
    #[target_feature(enable = "sse4.2,pclmulqdq")]
    pub(super) fn take<const N: usize>(mut register: u32, words: [u64; N], bytes: &[u8]) -> u32 {
        for word in words {
            register = _mm_crc32_u64(register.into(), word) as u32;
        }
        if bytes.len() >= RUNS_MIN { in_runs(register, bytes) } else { in_one_run(register, bytes) }
    }

    /// The register after these bytes.
    #[inline]
    #[target_feature(enable = "sse4.2")]
    fn in_one_run(register: u32, bytes: &[u8]) -> u32 {
        let mut register = u64::from(register);
        let (eights, rest) = bytes.as_chunks();
        for eight in eights {
            register = _mm_crc32_u64(register, u64::from_le_bytes(*eight));
        }
        let (mut register, (fours, ones)) = (register as u32, rest.as_chunks());
        for four in fours {
            register = _mm_crc32_u32(register, u32::from_le_bytes(*four));
        }
        for one in ones {
            register = _mm_crc32_u8(register, *one);
        }
        register
    }

    /// The register after at least 3 words of bytes, of which three are taken at once.
    #[inline(never)]
    #[target_feature(enable = "sse4.2,pclmulqdq")]
    fn in_runs(register: u32, bytes: &[u8]) -> u32 {
        let (eights, _) = bytes.as_chunks();
        let n = eights.len() / 3;
        let (mut a, mut b, mut c) = (u64::from(register), 0, 0);
        for ((in_a, in_b), in_c) in eights[..n].iter().zip(&eights[n..2 * n]).zip(&eights[2 * n..]) {
            a = _mm_crc32_u64(a, u64::from_le_bytes(*in_a));
            b = _mm_crc32_u64(b, u64::from_le_bytes(*in_b));
            c = _mm_crc32_u64(c, u64::from_le_bytes(*in_c));
        }
        let register = _mm_crc32_u64(0, product(a, 2 * n) ^ product(b, n)) as u32 ^ c as u32;
        in_one_run(register, &bytes[24 * n..])
    }

    /// A word whose step, from 0, yields what the register is after `n` words of zeros.
    #[inline]
    #[target_feature(enable = "sse4.2,pclmulqdq")]
    fn product(register: u64, n: usize) -> u64 {
        let power = _mm_cvtsi64_si128(POWERS[n].into());
        _mm_cvtsi128_si64(_mm_clmulepi64_si128(_mm_cvtsi64_si128(register as i64), power, 0)) as u64
    }
}

#[cfg(target_arch = "aarch64")]
mod instruction {
    use std::arch::aarch64::{__crc32cb, __crc32cd, __crc32cw};
    use std::arch::is_aarch64_feature_detected;

    /// Whether the processor has the instruction; `std` asks it once.
    #[inline]
    pub(super) fn is_there() -> bool {
        is_aarch64_feature_detected!("crc")
    }

    /// The register after words and bytes.
    #[target_feature(enable = "crc")]
    pub(super) fn take<const N: usize>(mut register: u32, words: [u64; N], bytes: &[u8]) -> u32 {
        for word in words {
            register = __crc32cd(register, word);
        }
        let (eights, rest) = bytes.as_chunks();
        for eight in eights {
            register = __crc32cd(register, u64::from_le_bytes(*eight));
        }
        let (fours, ones) = rest.as_chunks();
        for four in fours {
            register = __crc32cw(register, u32::from_le_bytes(*four));
        }
        for one in ones {
            register = __crc32cb(register, *one);
        }
        register
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::tests::crc32c;

    #[test]
    fn published_values() {
        // RFC 3720, B.4, and the check value of the catalogues.
        let ascending: [u8; 32] = std::array::from_fn(|i| i as u8);
        let descending: [u8; 32] = std::array::from_fn(|i| 31 - i as u8);
        let mut read_command = [0; 48];
        read_command[0] = 0x01;
        read_command[1] = 0xC0;
        (read_command[16], read_command[22], read_command[27]) = (0x14, 0x04, 0x14);
        (read_command[31], read_command[32], read_command[40]) = (0x18, 0x28, 0x02);
        let cases: [(&[u8], u32); 6] = [
            (&[0; 32], 0x8A91_36AA),
            (&[0xFF; 32], 0x62A8_AB43),
            (&ascending, 0x46DD_794E),
            (&descending, 0x113F_DB5C),
            (&read_command, 0xD996_3A56),
            (b"123456789", 0xE306_9283),
        ];
        for (bytes, crc) in cases {
            assert_eq!(crc32c(bytes), crc);
            assert_eq!(Crc::of(bytes), crc);
            assert_eq!(!by_library(!0, bytes), crc);
        }
    }

    #[test]
    fn the_instruction_and_the_library_agree_at_every_length_however_they_are_fed() {
        // An interpreter (tests/nightly.sh) takes seconds for each.
        let lens = if cfg!(miri) { vec![0, 7, 29, SHORT_MAX + 1] } else { (0..1100).collect() };
        let bytes: Vec<u8> = (0..1124u32).map(|i| (i * i % 251) as u8).collect();
        let (words, bytes) = bytes.split_at(24);
        let words: [u64; 3] =
            std::array::from_fn(|i| u64::from_le_bytes(words[8 * i..][..8].try_into().unwrap()));
        for len in lens {
            let bytes = &bytes[..len];
            assert_eq!(Crc::of(bytes), crc32c(bytes), "{len} bytes");
            assert_eq!(!by_library(!0, bytes), crc32c(bytes), "{len} bytes, the library");
            if let Some(register) = by_instruction(!0, [], &bytes[..len.min(SHORT_MAX)]) {
                assert_eq!(!register, crc32c(&bytes[..len.min(SHORT_MAX)]), "{len} bytes, the instruction");
            }
            let whole = crc32c(&[words.map(u64::to_le_bytes).as_flattened(), bytes].concat());
            let mut parts = Crc::default();
            parts.take(words, &bytes[..len / 3]);
            parts.take([], &bytes[len / 3..]);
            assert_eq!(parts.value(), whole, "{len} bytes in parts");
        }
    }
}
