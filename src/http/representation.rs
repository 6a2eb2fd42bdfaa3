//! In which form a snapshot goes over the wire: whole in one of its codings, or a slice; and where its bytes come from.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use actix_web::{http::header::HeaderMap, web};
use bytes::Bytes;

use super::{
    State,
    body::{InParts, Middle, PART},
    negotiation,
    paging::{PageToken, Slice},
};
use crate::snapshot::{Coding, Cut, Snapshot};

/// To unpack this much takes a worker less time than to hand it to another thread.
const UNPACKED_AT_ONCE: u64 = 64 * 1024;

/// The representation that is selected for a request.
pub(super) enum Form {
    /// The whole meeting.
    Whole(Coding),
    /// Some of its participants. As they are: no two callers cut alike, so no coding could be kept.
    Slice { slice: Slice, cut: Cut },
}

/// The bytes of an answer.
pub(super) enum Body {
    /// Fits in one write.
    Small(Bytes),
    /// Handed over as the caller reads it.
    InParts(InParts),
}

impl Form {
    pub(super) fn of(snapshot: &Snapshot, slice: Option<Slice>, headers: &HeaderMap) -> Self {
        let Some(slice) = slice else {
            return Self::Whole(negotiation::coding(headers, |coding| snapshot.keeps(coding)));
        };
        let cut = snapshot.cut(slice.offset(), slice.size.into());
        if cut.more {
            // From now on somebody has a token of it.
            snapshot.note_paged();
        }
        Self::Slice { slice, cut }
    }

    /// Strong, and another for each form.
    pub(super) fn etag(&self, snapshot: &Snapshot) -> Bytes {
        match self {
            Self::Whole(coding) => snapshot.etag(*coding),
            Self::Slice { slice: Slice { offset, size }, .. } => {
                format!("\"{}-{offset}-{size}\"", snapshot.tag).into()
            }
        }
    }

    /// `only_length`: nobody will read it, so there is nothing in it.
    pub(super) async fn body(&self, state: &State, snapshot: &Arc<Snapshot>, only_length: bool) -> Body {
        match self {
            Self::Whole(coding) => {
                let stored = match (snapshot.body(*coding), coding) {
                    // Its length is known when it is made.
                    (None, Coding::Zstd) => state.cache.zstd(snapshot),
                    (stored, _) => stored,
                };
                if only_length {
                    let length = stored.map_or(snapshot.length, |stored| length_of(&stored));
                    return Body::InParts(InParts::whole(Middle::Nothing(length)));
                }
                let stored = match stored {
                    Some(stored) => Some(stored),
                    // One that was to be zstd and cannot be had would be a bug; then there is nothing to be sent.
                    None if *coding != Coding::Identity => Some(Bytes::new()),
                    None => plain(state, snapshot).await,
                };
                match stored {
                    Some(body) if body.len() <= PART => Body::Small(body),
                    Some(body) => Body::InParts(InParts::whole(Middle::Stored(body))),
                    None => {
                        Body::InParts(InParts::whole(Middle::packed(snapshot.unpacker(0, snapshot.length))))
                    }
                }
            }
            Self::Slice { slice, cut } => {
                let head = snapshot.head();
                let foot = if cut.more {
                    let token = PageToken { tag: snapshot.tag, slice: slice.next() }.write();
                    format!("],\"page_size\":{},\"next_page_token\":\"{token}\"}}", slice.size)
                } else {
                    format!("],\"page_size\":{},\"next_page_token\":null}}", slice.size)
                };
                let middle = if only_length {
                    Middle::Nothing(cut.length)
                } else {
                    match plain(state, snapshot).await.and_then(|plain| cut.of(&plain)) {
                        Some(rows) if rows.len() <= PART => {
                            return Body::Small([head.as_bytes(), &rows, foot.as_bytes()].concat().into());
                        }
                        Some(rows) => Middle::Stored(rows),
                        None => Middle::packed(snapshot.unpacker(cut.at, cut.length)),
                    }
                };
                Body::InParts(InParts::between(head.into(), middle, foot.into()))
            }
        }
    }
}

fn length_of(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// The body as it is, where it is at hand or small enough to be unpacked whole.
async fn plain(state: &State, snapshot: &Arc<Snapshot>) -> Option<Bytes> {
    let plain = state.cache.plain(snapshot);
    let is_small_enough =
        usize::try_from(snapshot.length).is_ok_and(|length| length <= state.cache.plain_at_most());
    if plain.is_some() || !is_small_enough {
        return plain;
    }
    if snapshot.length <= UNPACKED_AT_ONCE {
        return state.cache.unpacked(snapshot);
    }
    let (cache, shared) = (state.cache.clone(), Arc::clone(snapshot));
    // It panics where there is no thread and none can be had. Then the caller waits for this worker.
    match catch_unwind(AssertUnwindSafe(|| web::block(move || cache.unpacked(&shared)))) {
        Ok(unpacked) => unpacked.await.ok()?,
        Err(_) => state.cache.unpacked(snapshot),
    }
}
