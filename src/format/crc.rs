//! CRC-32 (IEEE) of short inputs.
//!
//! Records are small, and 20 of the bytes that a frame's CRC covers are no payload. `crc32fast` is as
//! fast as the processor from 16 bytes on and takes fewer byte by byte, so whole words are taken here,
//! eight bytes in one step by tables (slicing-by-8: Kounavis and Berry, "A systematic approach to
//! building high performance, software-based, CRC generators", 2005).

/// The least that `crc32fast` is fast for.
const RUN: usize = 16;

/// The polynomial, bits reversed.
const POLYNOMIAL: u32 = 0xEDB8_8320;

/// `TABLES[k][b]`: the effect of the byte `b` on the CRC `k` bytes later.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut k = 1;
    while k < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before: u32 = tables[k - 1][byte];
            tables[k][byte] = before >> 8 ^ tables[0][(before & 0xFF) as usize];
            byte += 1;
        }
        k += 1;
    }
    tables
}

/// A running CRC-32.
#[derive(Debug, Clone, Copy)]
pub(super) struct Crc {
    /// The register: the CRC of the bytes taken, all bits flipped.
    register: u32,
}

impl Default for Crc {
    fn default() -> Self {
        Crc { register: !0 }
    }
}

impl Crc {
    pub(super) fn value(self) -> u32 {
        !self.register
    }

    /// Takes the four bytes of a word, the lowest first.
    #[inline]
    pub(super) fn four(&mut self, word: u32) {
        self.register = ahead(3, self.register ^ word);
    }

    /// Takes the eight bytes of a word, the lowest first.
    #[inline]
    pub(super) fn eight(&mut self, word: u64) {
        // What doesn't wait for the register comes first.
        self.register = ahead(3, (word >> 32) as u32) ^ ahead(7, self.register ^ word as u32);
    }

    /// Takes bytes that begin with the word `first` as if they began with `instead`.
    #[inline]
    pub(super) fn bytes_but_first(&mut self, bytes: &[u8], first: u32, instead: u32) {
        // The first word only ever meets the register, which takes the difference.
        self.register ^= first ^ instead;
        self.bytes(bytes);
    }

    /// Takes any number of bytes.
    #[inline]
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        if bytes.len() >= RUN {
            let mut hasher = crc32fast::Hasher::new_with_initial(self.value());
            hasher.update(bytes);
            self.register = !hasher.finalize();
            return;
        }
        let (eights, rest) = bytes.as_chunks();
        for eight in eights {
            self.eight(u64::from_le_bytes(*eight));
        }
        for byte in rest {
            self.register = self.register >> 8 ^ TABLES[0][(self.register as u8 ^ byte) as usize];
        }
    }
}

/// What a word does to the CRC, `k + 1` bytes from its first one on.
#[inline]
fn ahead(k: usize, word: u32) -> u32 {
    let [a, b, c, d] = word.to_le_bytes();
    (TABLES[k - 3][d as usize] ^ TABLES[k - 2][c as usize])
        ^ (TABLES[k - 1][b as usize] ^ TABLES[k][a as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_crc32fast_at_every_length_however_it_is_fed() {
        let bytes: Vec<u8> = (0..700u32).map(|i| (i * i % 251) as u8).collect();
        for len in 12..bytes.len() {
            let bytes = &bytes[..len];
            let expected = crc32fast::hash(bytes);
            let mut whole = Crc::default();
            whole.bytes(bytes);
            assert_eq!(whole.value(), expected, "{len} bytes");

            let mut parts = Crc::default();
            parts.four(u32::from_le_bytes(bytes[..4].try_into().unwrap()));
            parts.eight(u64::from_le_bytes(bytes[4..12].try_into().unwrap()));
            parts.bytes(&bytes[12..]);
            assert_eq!(parts.value(), expected, "{len} bytes in parts");

            let first = u32::from_le_bytes(bytes[..4].try_into().unwrap());
            let mut other = bytes.to_vec();
            other[..4].fill(0x5A);
            let mut replaced = Crc::default();
            replaced.bytes_but_first(&other, 0x5A5A_5A5A, first);
            assert_eq!(replaced.value(), expected, "{len} bytes with a first word in place of another");
        }
    }
}
