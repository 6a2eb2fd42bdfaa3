//! A body as it is handed to actix: part by part, out of the cache's memory or unpacked on the way.
//!
//! actix copies what it is given into the connection's write buffer. So a large body goes there as the caller reads it:
//! many slow readers of a large meeting cost no more memory than its one copy.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;

use crate::snapshot::Unpacker;

/// What is handed over at once. To unpack it takes some 40 µs, which is how long a worker may be kept from others.
pub(super) const PART: usize = 64 * 1024;
/// The first of bytes that only have to be copied: each part costs a call of the system and may wake the reader up, and a
/// meeting of an hour is one part. Whoever reads it slowly gets the rest in small ones, which is what it holds of our memory.
const FIRST_PART: usize = 1024 * 1024;

/// Three pieces, one behind the other; the outer ones are those that a slice has of its own.
pub(super) struct InParts {
    before: Bytes,
    middle: Middle,
    after: Bytes,
    length: u64,
    /// A part of the middle was handed over.
    begun: bool,
}

pub(super) enum Middle {
    /// Shares the cache's memory.
    Stored(Bytes),
    /// Unpacked as it is read; `true`: a part was just given out, and others may want the worker.
    Packed(Unpacker, bool),
    /// So many bytes that nobody will read: the answer to a `HEAD`. actix would ask for all of them.
    Nothing(u64),
}

impl Middle {
    fn length(&self) -> u64 {
        match self {
            Self::Stored(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            Self::Packed(unpacker, _) => unpacker.left(),
            Self::Nothing(length) => *length,
        }
    }

    pub(super) fn packed(unpacker: Unpacker) -> Self {
        Self::Packed(unpacker, false)
    }
}

impl InParts {
    pub(super) fn whole(middle: Middle) -> Self {
        Self::between(Bytes::new(), middle, Bytes::new())
    }

    pub(super) fn between(before: Bytes, middle: Middle, after: Bytes) -> Self {
        let around = u64::try_from(before.len() + after.len()).unwrap_or(u64::MAX);
        let length = middle.length() + around;
        Self { before, middle, after, length, begun: false }
    }

    fn next(&mut self) -> Poll<Option<io::Result<Bytes>>> {
        if !self.before.is_empty() && !matches!(self.middle, Middle::Nothing(_)) {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.before))));
        }
        let part = match &mut self.middle {
            Middle::Stored(bytes) => {
                let most = if self.begun { PART } else { FIRST_PART };
                self.begun = true;
                let part = most.min(bytes.len());
                (part > 0).then(|| bytes.split_to(part))
            }
            Middle::Packed(_, given @ true) => {
                *given = false;
                return Poll::Pending;
            }
            Middle::Packed(unpacker, given) => {
                *given = true;
                match unpacker.next(PART) {
                    // Still on the way to where the slice begins.
                    Ok(Some(part)) if part.is_empty() => return Poll::Pending,
                    Ok(part) => part,
                    Err(error) => return Poll::Ready(Some(Err(error))),
                }
            }
            Middle::Nothing(_) => return Poll::Ready(None),
        };
        let part = part.or_else(|| Some(std::mem::take(&mut self.after)).filter(|after| !after.is_empty()));
        Poll::Ready(part.map(Ok))
    }
}

impl MessageBody for InParts {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.length)
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let next = self.next();
        if next.is_pending() {
            // It is ready as soon as others had their turn.
            context.waker().wake_by_ref();
        }
        next
    }
}
