//! Reads the participants of a snapshot one after the other, without the whole body in memory.

use std::io;

use bytes::Bytes;

use super::{Snapshot, decoder::BodyDecoder};

/// How much is decoded at once.
const CHUNK: usize = 64 * 1024;

/// The participants in a range of a snapshot, as its body has them.
pub struct ParticipantReader<'s> {
    snapshot: &'s Snapshot,
    next: usize,
    end: usize,
    /// Bytes of the range that are decoded and not yet read.
    decoded: Bytes,
    /// The rest of the range; `None` if the uncompressed body was available.
    decoder: Option<BodyDecoder>,
    participant: Vec<u8>,
}

impl<'s> ParticipantReader<'s> {
    /// At most `size` participants from number `offset` on. `plain` is the uncompressed body, if it is available.
    pub(super) fn new(snapshot: &'s Snapshot, offset: usize, size: usize, plain: Option<&Bytes>) -> Self {
        let range = snapshot.row_range(offset, size);
        let available = plain.and_then(|plain| range.of(plain));
        let decoder = available.is_none().then(|| snapshot.decoder(range.at, range.length));
        let end = offset.saturating_add(size).min(snapshot.rows());
        let decoded = available.unwrap_or_default();
        Self { snapshot, next: offset, end, decoded, decoder, participant: Vec::new() }
    }

    /// The next participant; `None` after the last one.
    ///
    /// # Errors
    /// The stored bytes are corrupt, which would be a bug.
    pub fn read(&mut self) -> io::Result<Option<&[u8]>> {
        if self.next >= self.end {
            return Ok(None);
        }
        let length = self.snapshot.rows.length(self.next);
        self.next += 1;
        self.participant.clear();
        self.take(length)?;
        if self.next < self.end {
            // The comma between two participants.
            self.take(1)?;
            self.participant.truncate(length);
        }
        Ok(Some(&self.participant))
    }

    fn take(&mut self, mut length: usize) -> io::Result<()> {
        while length > 0 {
            if self.decoded.is_empty() {
                let decoder = self.decoder.as_mut().ok_or(io::ErrorKind::UnexpectedEof)?;
                // Empty while the decoder skips to the range.
                self.decoded = decoder.next(CHUNK)?.ok_or(io::ErrorKind::UnexpectedEof)?;
                continue;
            }
            let part = self.decoded.split_to(length.min(self.decoded.len()));
            self.participant.extend_from_slice(&part);
            length -= part.len();
        }
        Ok(())
    }
}
