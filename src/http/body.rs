//! A response body that actix gets in chunks, either from bytes in memory or decompressed chunk by chunk.
//!
//! actix copies each chunk into the connection's write buffer. Many slow readers of a large meeting therefore share
//! its one cached copy, and each reader takes memory for only one more chunk.

use std::{
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;
use tokio::task::yield_now;

use crate::snapshot::BodyDecoder;

/// The size of a chunk. Decompressing a chunk takes about 40 µs, during which the worker serves no other request.
pub(super) const CHUNK: usize = 64 * 1024;
/// The size of the first chunk of stored bytes, which only have to be copied. Every chunk costs a system call and
/// may wake the reader. An hour of a meeting of 80 participants, as gzip, fits into the first chunk. The rest is
/// sent in small chunks, so that a slow reader takes little memory.
const FIRST_CHUNK: usize = 512 * 1024;

/// A head, the bytes of a source, and a foot. A slice has its own head and foot around the cached rows; a complete body
/// has neither.
pub(super) struct ChunkedBody {
    head: Bytes,
    source: Source,
    foot: Bytes,
    length: u64,
    /// Whether the first chunk of a stored source has been returned.
    begun: bool,
}

/// The bytes between head and foot.
pub(super) enum Source {
    /// Complete bytes, which share the memory of the cached body if there is one.
    Stored(Bytes),
    /// Decompressed while it is read. `yielded` is set after a poll that decompressed a chunk, and the next poll
    /// then lets other tasks run.
    Packed { unpacker: BodyDecoder, yielded: bool },
    /// Only the length, for the response to a `HEAD`: actix would poll for all bytes and send none of them.
    LengthOnly(u64),
}

impl Source {
    pub(super) fn packed(unpacker: BodyDecoder) -> Self {
        Self::Packed { unpacker, yielded: false }
    }

    fn length(&self) -> u64 {
        match self {
            Self::Stored(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            Self::Packed { unpacker, .. } => unpacker.left(),
            Self::LengthOnly(length) => *length,
        }
    }
}

impl ChunkedBody {
    pub(super) fn whole(source: Source) -> Self {
        Self::between(Bytes::new(), source, Bytes::new())
    }

    pub(super) fn between(head: Bytes, source: Source, foot: Bytes) -> Self {
        let around = u64::try_from(head.len() + foot.len()).unwrap_or(u64::MAX);
        let length = source.length() + around;
        Self { head, source, foot, length, begun: false }
    }

    fn next(&mut self) -> Poll<Option<io::Result<Bytes>>> {
        if !self.head.is_empty() && !matches!(self.source, Source::LengthOnly(_)) {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.head))));
        }
        let chunk = match &mut self.source {
            Source::Stored(bytes) => {
                let most = if self.begun { CHUNK } else { FIRST_CHUNK };
                self.begun = true;
                let size = most.min(bytes.len());
                (size > 0).then(|| bytes.split_to(size))
            }
            Source::Packed { yielded: yielded @ true, .. } => {
                *yielded = false;
                return Poll::Pending;
            }
            Source::Packed { unpacker, yielded } => {
                *yielded = true;
                match unpacker.next(CHUNK) {
                    // The unpacker has not reached the slice yet. Other tasks run before it continues.
                    Ok(Some(chunk)) if chunk.is_empty() => return Poll::Pending,
                    Ok(chunk) => chunk,
                    Err(error) => return Poll::Ready(Some(Err(error))),
                }
            }
            Source::LengthOnly(_) => return Poll::Ready(None),
        };
        let foot = || Some(std::mem::take(&mut self.foot)).filter(|foot| !foot.is_empty());
        Poll::Ready(chunk.or_else(foot).map(Ok))
    }
}

impl MessageBody for ChunkedBody {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.length)
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let next = self.next();
        if next.is_pending() {
            // The next bytes are already available. Yielding only lets other requests run first. Waking this task
            // directly would not help: tokio runs up to 61 tasks before it looks for new requests, and if this is
            // the only task, tokio runs it 61 times.
            let yielded = pin!(yield_now()).poll(context);
            debug_assert!(yielded.is_pending(), "the first poll only asks to be woken later");
        }
        next
    }
}
