//! Reads the participants of a snapshot one after the other, without the whole body in memory.

use std::io;

use bytes::Bytes;

use super::{decoder::BodyDecoder, document::RowIndex};

/// How much is decoded at once.
const CHUNK: usize = 64 * 1024;

/// The participants in a range of a snapshot, as its body has them.
pub struct ParticipantReader<'s> {
    rows: &'s RowIndex,
    next: usize,
    end: usize,
    /// Bytes of the range that are decoded and not yet read.
    decoded: Bytes,
    /// The rest of the range.
    decoder: BodyDecoder,
    participant: Vec<u8>,
}

impl<'s> ParticipantReader<'s> {
    /// The participants from number `next` to before number `end`. `available` and then `decoder` have their bytes.
    pub(super) fn new(
        rows: &'s RowIndex,
        (next, end): (usize, usize),
        (available, decoder): (Bytes, BodyDecoder),
    ) -> Self {
        Self { rows, next, end, decoded: available, decoder, participant: Vec::new() }
    }

    /// The next participant; `None` after the last one.
    ///
    /// # Errors
    /// The stored bytes are corrupt, which would be a bug.
    pub fn read(&mut self) -> io::Result<Option<&[u8]>> {
        if self.next >= self.end {
            return Ok(None);
        }
        let length = self.rows.length(self.next);
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
                // Empty while the decoder skips to the range.
                self.decoded = self.decoder.next(CHUNK)?.ok_or(io::ErrorKind::UnexpectedEof)?;
                continue;
            }
            let part = self.decoded.split_to(length.min(self.decoded.len()));
            self.participant.extend_from_slice(&part);
            length -= part.len();
        }
        Ok(())
    }
}
