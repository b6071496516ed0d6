//! The fastest checksum of 32 bits for a length: CRC-32C, by the processor's instruction up to some hundred bytes, by
//! `crc-fast` beyond.

use std::arch::x86_64::_mm_crc32_u8;
use std::arch::x86_64::_mm_crc32_u64;

/// The most bytes that the instruction takes faster than the library.
const SHORT_MAX: usize = 272;

/// The CRC-32C of these bytes.
#[inline]
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    if bytes.len() <= SHORT_MAX && is_x86_feature_detected!("sse4.2") {
        #[expect(unsafe_code, reason = "the processor's own instruction")]
        // SAFETY: the processor has it.
        return unsafe { by_instruction(bytes) };
    }
    crc_fast::crc32_iscsi(bytes)
}

#[target_feature(enable = "sse4.2")]
fn by_instruction(bytes: &[u8]) -> u32 {
    let (eights, ones) = bytes.as_chunks();
    let mut register = u64::from(!0_u32);
    for eight in eights {
        register = _mm_crc32_u64(register, u64::from_le_bytes(*eight));
    }
    let mut register = register as u32;
    for one in ones {
        register = _mm_crc32_u8(register, *one);
    }
    !register
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_agree() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        let bytes: Vec<u8> = (0..400_u32).map(|i| (i * i % 251) as u8).collect();
        for len in 0..bytes.len() {
            assert_eq!(crc32c(&bytes[..len]), crc_fast::crc32_iscsi(&bytes[..len]), "{len} bytes");
        }
    }
}
