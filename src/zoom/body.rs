//! Reads the body of a response, within limits on its time and its size.
//!
//! A page of ten people after ten hours is about 17 MiB, and Zoom may need longer than `zoom.request_timeout` to send
//! it. Therefore, that timeout applies to each gap between two parts, and a multiple of it to the complete call.
//! `zoom/memory.rs` bounds the memory of all pages together.

use std::time::Duration;

use awc::error::PayloadError;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::time::{Instant, timeout_at};

use super::{
    decoder::{Corrupt, Decoder},
    memory::{BodyBytes, NoRoom},
};

/// The maximum number of bytes that are allocated before the first part arrives, however large the announced body is.
const INITIAL_CAPACITY: usize = 64 * 1024;
/// The maximum number of bytes of a body that are searched for an error. Zoom's error bodies have a few hundred bytes,
/// and a proxy's error page begins with its message.
pub(super) const BEGINNING: usize = 64 * 1024;
/// The maximum time for the body of a 429. Calls stop only when the 429 has been classified, and its status alone is
/// enough for that, so a slow body must not delay the pause.
const RATE_LIMIT_BODY: Duration = Duration::from_secs(1);

pub(super) struct BodyLimits {
    /// The maximum wait for the next part.
    pub(super) gap: Duration,
    /// The time by which the body must have arrived. [`read_whole`] extends it by its waits for memory.
    pub(super) deadline: Instant,
}

impl BodyLimits {
    pub(super) fn for_status(self, status: u16) -> Self {
        match status {
            429 => Self { deadline: self.deadline.min(Instant::now() + RATE_LIMIT_BODY), ..self },
            _ => self,
        }
    }

    fn next_part_by(&self) -> Instant {
        self.deadline.min(Instant::now() + self.gap)
    }
}

pub(super) enum BodyError {
    /// The body is larger than permitted, or announced to be.
    TooLarge,
    /// The body is shorter than its `Content-Length`. awc does not report this error.
    TooShort,
    TimedOut,
    Broken(PayloadError),
    NoRoom,
}

impl From<NoRoom> for BodyError {
    fn from(_: NoRoom) -> Self {
        Self::NoRoom
    }
}

impl From<Corrupt> for BodyError {
    fn from(_: Corrupt) -> Self {
        Self::Broken(PayloadError::EncodingCorrupted)
    }
}

/// Reads a body of at most `most` bytes to its end; `announced` is its `Content-Length`.
pub(super) async fn read_whole<S>(
    mut body: S,
    decoder: Decoder,
    announced: Option<usize>,
    mut limits: BodyLimits,
    most: usize,
    counted: &mut BodyBytes,
) -> Result<Bytes, BodyError>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    if announced.is_some_and(|length| length > most) {
        return Err(BodyError::TooLarge);
    }
    let mut partial = PartialBody::new(decoder, announced, counted);
    loop {
        let part = timeout_at(limits.next_part_by(), body.next()).await.map_err(|_| BodyError::TimedOut)?;
        let Some(part) = part else { break };
        limits.deadline += partial.push(part.map_err(BodyError::Broken)?, most).await?;
        if partial.bytes.len() > most {
            return Err(BodyError::TooLarge);
        }
    }
    if !partial.decoder.is_whole() {
        return Err(Corrupt.into());
    }
    if announced.is_some_and(|length| length != partial.bytes.len()) {
        return Err(BodyError::TooShort);
    }
    Ok(partial.bytes.into())
}

/// Reads up to [`BEGINNING`] bytes: fewer if the body ends, breaks off or stalls, and none if it is corrupt or gets no
/// memory. An error response counts even without its body. awc closes the connection of a body that is not read to
/// its end.
pub(super) async fn read_beginning<S>(
    mut body: S,
    decoder: Decoder,
    announced: Option<usize>,
    limits: BodyLimits,
    counted: &mut BodyBytes,
) -> Bytes
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    let mut partial = PartialBody::new(decoder, announced, counted);
    let deadline = limits.deadline;
    let read = async {
        while let Ok(Some(Ok(part))) = timeout_at(limits.next_part_by(), body.next()).await {
            partial.push(part, BEGINNING).await.ok()?;
            if partial.bytes.len() > BEGINNING {
                partial.bytes.truncate(BEGINNING);
                break;
            }
        }
        Some(partial.bytes)
    };
    // Each part has a timeout of its own. The deadline also bounds the wait for memory.
    timeout_at(deadline, read).await.ok().flatten().unwrap_or_default().into()
}

/// The part of a body that has arrived, decompressed.
struct PartialBody<'c> {
    bytes: Vec<u8>,
    decoder: Decoder,
    counted: &'c mut BodyBytes,
}

impl<'c> PartialBody<'c> {
    fn new(decoder: Decoder, announced: Option<usize>, counted: &'c mut BodyBytes) -> Self {
        let capacity = announced.unwrap_or_default().min(INITIAL_CAPACITY);
        Self { bytes: Vec::with_capacity(capacity), decoder, counted }
    }

    /// Appends a part, and stops early once there are more than `most` bytes. Returns how long it waited for memory.
    async fn push(&mut self, mut part: Bytes, most: usize) -> Result<Duration, BodyError> {
        let mut waited = Duration::ZERO;
        loop {
            let (step, before) = (self.decoder.step(&part), self.bytes.len());
            let asked = Instant::now();
            self.counted.grow(step).await?;
            waited += asked.elapsed();
            let is_more = self.decoder.decode(&mut part, &mut self.bytes)?;
            if is_more {
                // A part can decompress to a thousand times its size; let other tasks run in between.
                tokio::task::yield_now().await;
            }
            self.counted.shrink(step.saturating_sub(self.bytes.len() - before));
            if !is_more || self.bytes.len() > most {
                return Ok(waited);
            }
        }
    }
}
