//! Decompresses a body part by part as a caller reads it, so that the complete uncompressed body of a large meeting
//! need not be in memory, however slowly the caller reads.

use std::io::{self, Read};

use bytes::{Bytes, buf::Reader};
use flate2::bufread::DeflateDecoder;

/// The header of a gzip member (RFC 1952): deflate, no name, no time, unknown system.
pub(super) const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// The number of bytes that are decompressed at a time.
const STEP: usize = 64 * 1024;

/// Decodes a range of a body: `left` bytes after the first `skip`.
///
/// Decodes gzip although zstd is faster, because each caller needs a decoder of its own. A gzip decoder takes 40 KB,
/// and a zstd decoder takes 1 MiB.
pub struct BodyDecoder {
    blocks: Box<DeflateDecoder<Reader<Bytes>>>,
    skip: u64,
    left: u64,
}

impl BodyDecoder {
    /// `gzip` must have been made by this service, so that its header has no optional fields.
    pub(crate) fn new(mut gzip: Bytes, skip: u64, left: u64) -> Self {
        let header = GZIP_HEADER.len().min(gzip.len());
        Self::of_blocks(gzip.split_off(header), skip, left)
    }

    /// Decodes deflate blocks that do not refer to earlier blocks.
    pub(super) fn of_blocks(blocks: Bytes, skip: u64, left: u64) -> Self {
        Self { blocks: Box::new(DeflateDecoder::new(bytes::Buf::reader(blocks))), skip, left }
    }

    /// Returns how many bytes of the range have not been read yet.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// Decodes up to `at_most` bytes, and returns the part of them that is in the range. Returns an empty part
    /// before the range begins, and `None` at the end.
    ///
    /// # Errors
    /// The gzip is corrupt, which would be a bug.
    pub fn next(&mut self, at_most: usize) -> io::Result<Option<Bytes>> {
        if self.left == 0 {
            return Ok(None);
        }
        let wanted = usize::try_from(self.skip.saturating_add(self.left)).unwrap_or(usize::MAX).min(at_most);
        let mut decoded = vec![0; wanted];
        self.blocks.read_exact(&mut decoded)?;
        let skipped = wanted.min(usize::try_from(self.skip).unwrap_or(usize::MAX));
        let kept = wanted - skipped;
        self.skip -= u64::try_from(skipped).unwrap_or(self.skip);
        self.left -= u64::try_from(kept).unwrap_or(self.left);
        Ok(Some(Bytes::from(decoded).slice(skipped..)))
    }
}

/// Passes the body to `each`, in steps. Returns `None` if it has another length or is corrupt.
pub(super) fn read_all(mut body: impl Read, length: u64, mut each: impl FnMut(&[u8])) -> Option<()> {
    let (mut room, mut left) = (vec![0; STEP], length);
    loop {
        let read = body.read(&mut room).ok()?;
        if read == 0 {
            return (left == 0).then_some(());
        }
        left = left.checked_sub(u64::try_from(read).ok()?)?;
        each(room.get(..read)?);
    }
}
