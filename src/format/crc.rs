//! CRC-32 (IEEE), word by word.
//!
//! Records are small and every frame's CRC begins with 20 bytes that are no payload, so what counts
//! is a short input: whole words here, by tables of their own (slicing-by-16: Kounavis and Berry,
//! "Novel table lookup-based algorithms for high-performance CRC generation", 2008), and only long
//! runs by `crc32fast`, which uses the processor's instructions from 128 bytes on and takes what is
//! left over byte by byte.

/// From here on `crc32fast` is faster.
const LONG: usize = 128;

/// The polynomial, bits reversed.
const POLYNOMIAL: u32 = 0xEDB8_8320;

/// `TABLES[k][b]`: what the byte `b` does to the CRC `k` bytes later.
static TABLES: [[u32; 256]; 16] = tables();

const fn tables() -> [[u32; 256]; 16] {
    let mut tables = [[0; 256]; 16];
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
    while k < 16 {
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
    /// The register: the CRC of what was taken, all bits flipped.
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

    /// Takes four bytes.
    #[inline]
    pub(super) fn four(&mut self, bytes: [u8; 4]) {
        self.register = folded(3, self.register ^ u32::from_le_bytes(bytes));
    }

    /// Takes eight bytes.
    #[inline]
    pub(super) fn eight(&mut self, bytes: [u8; 8]) {
        let [a, b] = halves(bytes);
        self.register = folded(7, self.register ^ a) ^ folded(3, b);
    }

    /// Takes any number of bytes.
    #[inline]
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        if rest.len() >= LONG {
            // In whole runs of 16 bytes: what is left over is faster here.
            let (long, short) = rest.split_at(rest.len() & !15);
            let mut hasher = crc32fast::Hasher::new_with_initial(self.value());
            hasher.update(long);
            self.register = !hasher.finalize();
            rest = short;
        }
        let (sixteens, rest) = rest.as_chunks::<16>();
        for sixteen in sixteens {
            self.sixteen(sixteen);
        }
        let (eights, rest) = rest.as_chunks();
        for eight in eights {
            self.eight(*eight);
        }
        let (fours, rest) = rest.as_chunks();
        for four in fours {
            self.four(*four);
        }
        for byte in rest {
            self.register = self.register >> 8 ^ TABLES[0][(self.register as u8 ^ byte) as usize];
        }
    }

    #[inline]
    fn sixteen(&mut self, bytes: &[u8; 16]) {
        let (first, second) = bytes.split_at(8);
        let [a, b] = halves(super::array_at(first, 0));
        let [c, d] = halves(super::array_at(second, 0));
        self.register = folded(15, self.register ^ a) ^ folded(11, b) ^ folded(7, c) ^ folded(3, d);
    }
}

/// Eight bytes as two words.
#[inline]
fn halves(bytes: [u8; 8]) -> [u32; 2] {
    let word = u64::from_le_bytes(bytes);
    [word as u32, (word >> 32) as u32]
}

/// What a word does to the CRC once as many bytes have followed its first one as `ahead` says.
#[inline]
fn folded(ahead: usize, word: u32) -> u32 {
    let [a, b, c, d] = word.to_le_bytes();
    TABLES[ahead][a as usize]
        ^ TABLES[ahead - 1][b as usize]
        ^ TABLES[ahead - 2][c as usize]
        ^ TABLES[ahead - 3][d as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_crc32fast_at_every_length_however_it_is_fed() {
        let bytes: Vec<u8> = (0..700u32).map(|i| (i * i % 251) as u8).collect();
        for len in 0..bytes.len() {
            let bytes = &bytes[..len];
            let expected = crc32fast::hash(bytes);
            let mut whole = Crc::default();
            whole.bytes(bytes);
            assert_eq!(whole.value(), expected, "{len} bytes");

            let mut parts = Crc::default();
            let mut rest = bytes;
            if let Some((four, behind)) = rest.split_first_chunk() {
                parts.four(*four);
                rest = behind;
            }
            if let Some((eight, behind)) = rest.split_first_chunk() {
                parts.eight(*eight);
                rest = behind;
            }
            parts.bytes(rest);
            assert_eq!(parts.value(), expected, "{len} bytes in parts");
        }
    }
}
