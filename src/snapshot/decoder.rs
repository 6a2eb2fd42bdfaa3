//! Decompresses a body part by part as a caller reads it, so that the uncompressed body of a large meeting is never in
//! memory as a whole, however slowly the caller reads.

use std::io::{self, Read as _};

use bytes::{Bytes, buf::Reader};
use flate2::bufread::GzDecoder;

/// Decodes a range of a body: `left` bytes after the first `skip`.
///
/// It decodes gzip although zstd is faster, because a gzip decoder takes 40 KB, but a zstd decoder 1 MiB for its window, and
/// there is one for each caller.
pub struct BodyDecoder {
    gzip: Box<GzDecoder<Reader<Bytes>>>,
    skip: u64,
    left: u64,
}

impl BodyDecoder {
    pub(crate) fn new(gzip: Bytes, skip: u64, left: u64) -> Self {
        Self { gzip: Box::new(GzDecoder::new(bytes::Buf::reader(gzip))), skip, left }
    }

    /// Returns the bytes of the range that are not read yet.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// Decodes up to `at_most` bytes, and returns those in the range: an empty part while it skips to the range, and
    /// `None` at the end.
    ///
    /// # Errors
    /// The gzip is corrupt, which would be a bug.
    pub fn next(&mut self, at_most: usize) -> io::Result<Option<Bytes>> {
        if self.left == 0 {
            return Ok(None);
        }
        let wanted = usize::try_from(self.skip.saturating_add(self.left)).unwrap_or(usize::MAX).min(at_most);
        let mut decoded = vec![0; wanted];
        self.gzip.read_exact(&mut decoded)?;
        let skipped = wanted.min(usize::try_from(self.skip).unwrap_or(usize::MAX));
        let kept = wanted - skipped;
        self.skip -= u64::try_from(skipped).unwrap_or(self.skip);
        self.left -= u64::try_from(kept).unwrap_or(self.left);
        Ok(Some(Bytes::from(decoded).slice(skipped..)))
    }
}
