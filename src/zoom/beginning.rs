//! The body of an answer that is no 2xx. Its head counts, whatever becomes of the body: a cut or stalled body is judged by the
//! part that arrived.

use std::time::Duration;

use awc::error::PayloadError;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::time::{Instant, timeout_at};

use super::{
    BodyBytes,
    body::{self, Body, Extent},
    decoder::Decoder,
};

/// Bytes of an error's body that are read and judged: Zoom's are some hundred, and a proxy's page says nothing later on
/// that its beginning does not.
pub(super) const JUDGED: usize = 64 * 1024;
/// How long the body of a 429 may take. Its head is enough to pause all calls, and until then the others go on.
const RATE_LIMIT_BODY: Duration = Duration::from_secs(1);

/// How long a body is waited for.
pub(super) struct Patience {
    /// Between two parts.
    pub(super) gap: Duration,
    /// For all of it, but for the time in which it is not read on.
    pub(super) deadline: Instant,
}

impl Patience {
    /// For the body of an answer with this status.
    pub(super) fn for_status(self, status: u16) -> Self {
        match status {
            429 => Self { deadline: self.deadline.min(Instant::now() + RATE_LIMIT_BODY), ..self },
            _ => self,
        }
    }
}

/// The first [`JUDGED`] bytes, or fewer where the body ends, breaks off or stalls. The connection of a body whose end was not
/// read is closed.
pub(super) async fn read<S>(
    body: S,
    decoder: Decoder,
    announced: Option<usize>,
    patience: Patience,
    counted: &mut BodyBytes,
) -> Bytes
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    let Patience { gap, deadline } = patience;
    let parts = stream::unfold(body, async |mut body| {
        let part = timeout_at(deadline.min(Instant::now() + gap), body.next()).await;
        part.ok().flatten()?.ok().map(|part| (Ok(part), body))
    });
    // `parts` ends in time by itself; the wait for memory does not.
    let read = body::read(
        parts,
        decoder,
        announced,
        Patience { gap: gap * 2, deadline },
        Extent::Beginning(JUDGED),
        counted,
    );
    match timeout_at(deadline, read).await {
        Ok(Ok(Body { bytes, .. })) => bytes,
        Ok(Err(_)) | Err(_) => Bytes::new(),
    }
}
