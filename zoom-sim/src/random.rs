//! Pseudo-random numbers: a seeded stream for generated content, an unseeded one for tokens. Not cryptographic, because nothing
//! here is secret.

use std::hash::{BuildHasher, RandomState};

/// A `SplitMix64` stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dice(u64);

impl Dice {
    /// A stream that differs from run to run.
    pub(crate) fn unseeded() -> Self {
        Self(RandomState::new().hash_one("zoom-sim"))
    }

    /// A stream seeded by a string (FNV-1a), the same in every run.
    pub(crate) fn of(text: &str) -> Self {
        let hash = text
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        Self(hash)
    }

    /// An independent stream for part `n`.
    pub(crate) fn part(self, n: usize) -> Self {
        let mut of = Self(self.0 ^ (n as u64).wrapping_mul(0xd6e8_feb8_6659_fd93).rotate_left(17));
        Self(of.next())
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `low` up to, but not including, `high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % high.saturating_sub(low).max(1)
    }

    /// True with a probability of 1/`n`.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.next().is_multiple_of(n)
    }

    /// `8 * words` bytes.
    pub(crate) fn bytes(&mut self, words: usize) -> Vec<u8> {
        (0..words).flat_map(|_| self.next().to_be_bytes()).collect()
    }
}
