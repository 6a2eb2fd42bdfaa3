//! Reads the participants of a snapshot one after another, without decompressing the complete body into memory.

use std::io;

use bytes::Bytes;

use super::{decoder::BodyDecoder, document::RowIndex};

/// The maximum number of bytes that are decoded at a time.
const CHUNK: usize = 64 * 1024;

/// Reads a range of a snapshot's participants, each with its exact text in the body.
pub(crate) struct ParticipantReader<'s> {
    rows: &'s RowIndex,
    next: usize,
    end: usize,
    /// Bytes of the range that are decoded but not yet read.
    decoded: Bytes,
    decoder: BodyDecoder,
    participant: Vec<u8>,
}

impl<'s> ParticipantReader<'s> {
    /// Reads the participants from number `next` up to, but not including, number `end`. Their bytes come from
    /// `available`, then from `decoder`.
    pub(super) fn new(
        rows: &'s RowIndex,
        (next, end): (usize, usize),
        (available, decoder): (Bytes, BodyDecoder),
    ) -> Self {
        Self { rows, next, end, decoded: available, decoder, participant: Vec::new() }
    }

    /// Returns the next participant; `None` after the last one.
    pub(crate) fn read(&mut self) -> io::Result<Option<&[u8]>> {
        if self.next >= self.end {
            return Ok(None);
        }
        let length = self.rows.length(self.next);
        self.next += 1;
        self.participant.clear();
        self.take(length)?;
        if self.next < self.end {
            // Also reads the comma between two participants, and drops it.
            self.take(1)?;
            self.participant.truncate(length);
        }
        Ok(Some(&self.participant))
    }

    fn take(&mut self, mut length: usize) -> io::Result<()> {
        while length > 0 {
            if self.decoded.is_empty() {
                // The result is empty while the decoder skips to the range.
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
