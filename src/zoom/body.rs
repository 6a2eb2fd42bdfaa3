//! Bodies of answers while they are read: how long each may pause, and how large it may become.
//!
//! A page of ten people after ten hours is 17 MiB, and Zoom may write for longer than one timeout: what counts is that it
//! goes on writing. How much memory all of them take together: `zoom/memory.rs`.

use std::pin::pin;

use awc::error::PayloadError;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::time::{Instant, timeout_at};

use super::{
    beginning::Patience,
    decoder::{Corrupt, Decoder},
    memory::{BodyBytes, NoRoom},
};

/// Room for so many bytes is taken before any has come.
const AT_FIRST: usize = 64 * 1024;

/// Why a body did not arrive whole.
pub(super) enum BodyError {
    /// Larger than it may be, or announced to be.
    TooLarge,
    /// Nothing came for too long.
    TimedOut,
    /// It broke off.
    Broken(PayloadError),
    /// Others need the memory.
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

/// How much of a body is read, in bytes after its coding is undone.
#[derive(Clone, Copy)]
pub(super) enum Extent {
    /// All of it; one that is larger than this is an error.
    Whole(usize),
    /// The beginning. The connection of a body that has more is closed, as nobody reads the rest.
    Beginning(usize),
}

/// What was read of a body.
pub(super) struct Body {
    pub(super) bytes: Bytes,
    /// Whether its end was read.
    pub(super) is_whole: bool,
}

/// Reads a body with `announced` bytes expected.
pub(super) async fn read<S>(
    body: S,
    mut decoder: Decoder,
    announced: Option<usize>,
    Patience { gap, mut deadline }: Patience,
    extent: Extent,
    counted: &mut BodyBytes,
) -> Result<Body, BodyError>
where
    S: Stream<Item = Result<Bytes, PayloadError>>,
{
    let (Extent::Whole(most) | Extent::Beginning(most)) = extent;
    if matches!(extent, Extent::Whole(_)) && announced.is_some_and(|length| length > most) {
        return Err(BodyError::TooLarge);
    }
    let mut body = pin!(body);
    // What is announced need not come, and room for it could be refused.
    let mut read = Vec::with_capacity(announced.unwrap_or_default().min(AT_FIRST));
    loop {
        let part = timeout_at(deadline.min(Instant::now() + gap), body.next())
            .await
            .map_err(|_| BodyError::TimedOut)?;
        let Some(part) = part else {
            // Of the beginning, what came is enough.
            let is_cut = !decoder.is_whole() && matches!(extent, Extent::Whole(_));
            return if is_cut {
                Err(Corrupt.into())
            } else {
                Ok(Body { bytes: read.into(), is_whole: true })
            };
        };
        let mut part = part.map_err(BodyError::Broken)?;
        let mut is_more = true;
        while is_more {
            let (step, before) = (decoder.step(&part), read.len());
            let waits = Instant::now();
            counted.grow(step).await?;
            deadline += waits.elapsed();
            is_more = decoder.decode(&mut part, &mut read)?;
            if is_more {
                // A part can be a thousand times as large as it came, and others are to have their turn.
                tokio::task::yield_now().await;
            }
            counted.shrink(step.saturating_sub(read.len() - before));
            if read.len() > most {
                if matches!(extent, Extent::Whole(_)) {
                    return Err(BodyError::TooLarge);
                }
                read.truncate(most);
                return Ok(Body { bytes: read.into(), is_whole: false });
            }
        }
    }
}
