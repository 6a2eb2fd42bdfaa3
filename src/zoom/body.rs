//! Bodies of answers while they are read: how long each may pause, and how large it may become.
//!
//! A page of ten people after ten hours is 17 MiB, and Zoom may write for longer than one timeout: what counts is that it
//! goes on writing. How much memory all of them take together: `zoom/memory.rs`.

use std::{pin::pin, time::Duration};

use awc::error::PayloadError;
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};

use super::memory::{BodyBytes, NoRoom};

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

/// How much of a body is read, in bytes.
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

/// Reads a body, with `gap` at most between two parts of it, and `announced` bytes expected.
pub(super) async fn read<S>(
    body: S,
    announced: Option<usize>,
    gap: Duration,
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
    // Memory that is not written to is not taken.
    let mut read = BytesMut::with_capacity(announced.unwrap_or_default().min(most));
    loop {
        let part = tokio::time::timeout(gap, body.next()).await.map_err(|_| BodyError::TimedOut)?;
        let Some(part) = part else { return Ok(Body { bytes: read.freeze(), is_whole: true }) };
        let mut part = part.map_err(BodyError::Broken)?;
        let room = most.saturating_sub(read.len());
        if part.len() > room {
            match extent {
                Extent::Whole(_) => return Err(BodyError::TooLarge),
                Extent::Beginning(_) => part.truncate(room),
            }
            counted.grow(part.len()).await?;
            read.extend_from_slice(&part);
            return Ok(Body { bytes: read.freeze(), is_whole: false });
        }
        counted.grow(part.len()).await?;
        read.extend_from_slice(&part);
    }
}
