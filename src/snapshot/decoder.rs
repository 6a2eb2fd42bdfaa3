//! The bytes of a body, out of its gzip coding, part by part as a caller reads them: a large meeting that a caller wants
//! as it is never stands in memory as a whole, however slowly it is read.

use std::{
    fmt,
    io::{self, Read as _},
};

use bytes::{Bytes, buf::Reader};
use flate2::bufread::GzDecoder;

/// Reads a part of a body: `left` bytes behind the first `skip`.
///
/// Out of gzip although zstd is faster: its decoder takes 40 KB instead of the window of 1 MiB, and callers are many.
pub struct Unpacker {
    gzip: Box<GzDecoder<Reader<Bytes>>>,
    skip: u64,
    left: u64,
}

impl fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpacker").field("skip", &self.skip).field("left", &self.left).finish_non_exhaustive()
    }
}

impl Unpacker {
    pub(super) fn new(gzip: Bytes, skip: u64, left: u64) -> Self {
        Self { gzip: Box::new(GzDecoder::new(bytes::Buf::reader(gzip))), skip, left }
    }

    /// Bytes of the part that are not read yet.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Unpacks up to `at_most` bytes. Gives those of them that belong to the part: none while it is still skipping;
    /// `None` at the end.
    ///
    /// # Errors
    /// When the coding is broken, which a bug of this service would be.
    pub fn next(&mut self, at_most: usize) -> io::Result<Option<Bytes>> {
        if self.left == 0 {
            return Ok(None);
        }
        let wanted = usize::try_from(self.skip.saturating_add(self.left)).unwrap_or(usize::MAX).min(at_most);
        let mut unpacked = vec![0; wanted];
        let mut filled = 0;
        while let Some(room) = unpacked.get_mut(filled..).filter(|room| !room.is_empty()) {
            match self.gzip.read(room)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => filled += read,
            }
        }
        let skipped = wanted.min(usize::try_from(self.skip).unwrap_or(usize::MAX));
        let given = wanted - skipped;
        self.skip -= u64::try_from(skipped).unwrap_or(self.skip);
        self.left -= u64::try_from(given).unwrap_or(self.left);
        Ok(Some(Bytes::from(unpacked).slice(skipped..)))
    }
}
