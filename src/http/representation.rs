//! The representation of a snapshot that a response carries (RFC 9110, 3.2): the whole meeting in one coding, a slice, a
//! view, or a page.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use actix_web::{body::BoxBody, http::header::HeaderMap, web};
use bytes::Bytes;

use super::{
    body::{CHUNK, ChunkedBody, Source},
    media_type::MediaType,
    negotiation,
    pages::MeetingPage,
    paging::{PageToken, Slice},
    problem::Problem,
    rendering::Rendering,
    state::AppState,
    views,
};
use crate::{
    snapshot::{BodyDecoder, Coding, RowRange, Snapshot, Tag},
    view::{snapshot_view::View, visible::Redaction, whole::slice_foot},
};

/// The largest body, in bytes, that a worker unpacks itself: handing it to another thread would take longer.
const UNPACKED_INLINE: u64 = 64 * 1024;

/// The part or form of a snapshot that a request selects.
pub(super) enum RequestedForm {
    Whole,
    Slice(Slice),
    /// A page in Zoom's shape.
    ZoomPage(Slice),
    View(View),
    Page(MeetingPage),
}

impl RequestedForm {
    /// Returns whether the response is the first or the only one for this snapshot, not a later page.
    pub(super) fn is_first(&self) -> bool {
        match self {
            Self::Slice(slice) | Self::ZoomPage(slice) => slice.offset == 0,
            Self::Whole | Self::View(_) | Self::Page(_) => true,
        }
    }
}

pub(super) enum Representation {
    Whole(Coding),
    /// A slice of the cached body. It is not compressed, because a compressed slice could hardly be reused.
    Slice {
        slice: Slice,
        cut: RowRange,
    },
    Made {
        rendering: Rendering,
        redaction: Option<Redaction>,
        coding: Coding,
    },
}

impl Representation {
    /// Selects the representation of the requested form. If fields must be hidden, even the whole meeting and its
    /// slices are made as views.
    pub(super) fn select(
        snapshot: &Snapshot,
        form: RequestedForm,
        headers: &HeaderMap,
        redaction: Option<Redaction>,
    ) -> Result<Self, Problem> {
        let keys = redaction.as_ref().map(Redaction::keys);
        let view = match (form, keys) {
            (RequestedForm::Whole, None) => {
                return Ok(Self::Whole(negotiation::coding(headers, |coding| snapshot.stores(coding))));
            }
            (RequestedForm::Slice(slice), None) => {
                return Ok(Self::Slice { slice, cut: slice.range_in(snapshot) });
            }
            (RequestedForm::Whole, Some(_)) => View::Whole,
            (RequestedForm::Slice(slice), Some(_)) => View::Slice(slice.view_page(snapshot, keys)?),
            (RequestedForm::ZoomPage(slice), _) => View::ZoomPage(slice.view_page(snapshot, keys)?),
            (RequestedForm::View(view), _) => view,
            (RequestedForm::Page(page), _) => {
                return Ok(Self::made(Rendering::Page(page), redaction, headers));
            }
        };
        Ok(Self::made(Rendering::View(view), redaction, headers))
    }

    fn made(rendering: Rendering, redaction: Option<Redaction>, headers: &HeaderMap) -> Self {
        Self::Made { rendering, redaction, coding: negotiation::coding(headers, |_| true) }
    }

    /// Returns the strong entity tag, which differs for each representation.
    pub(super) fn etag(&self, snapshot: &Snapshot) -> Bytes {
        match self {
            Self::Whole(coding) => snapshot.etag(*coding),
            Self::Slice { slice: Slice { offset, size }, .. } => {
                format!("\"{}-{offset}-{size}\"", snapshot.tag).into()
            }
            // A later version of this service may write the same view differently, so the tag contains the version.
            Self::Made { rendering, redaction, coding } => {
                let tag = match redaction {
                    None => snapshot.tag,
                    Some(redaction) => Tag(redaction.keys().alias_of_tag(snapshot.tag.0)),
                };
                let (name, coding) = (rendering.name_for(redaction.as_ref()), coding.as_str());
                format!("\"{tag}-{name}-{coding}-{}\"", env!("CARGO_PKG_VERSION")).into()
            }
        }
    }

    /// Returns whether the view is of a participant that the snapshot may not have.
    pub(super) fn may_be_missing(&self) -> bool {
        matches!(self, Self::Made { rendering, .. } if rendering.participant().is_some())
    }

    /// Returns the media type; `None` for a page, which is HTML.
    pub(super) fn media_type(&self) -> Option<MediaType> {
        let Self::Made { rendering, .. } = self else { return Some(MediaType::Json) };
        match rendering {
            Rendering::View(View::Rows { format, .. }) => Some(MediaType::Rows(*format)),
            Rendering::View(_) => Some(MediaType::Json),
            Rendering::Page(_) => None,
        }
    }

    /// Returns whether the representation may depend on `Accept`, which pages and Zoom's own paths ignore.
    pub(super) fn is_negotiated(&self) -> bool {
        let Self::Made { rendering, .. } = self else { return true };
        !matches!(
            rendering,
            Rendering::View(View::ZoomPage(_) | View::ZoomParticipant { .. }) | Rendering::Page(_)
        )
    }

    /// Returns the value of `Content-Encoding`; `None` if the body is not compressed.
    pub(super) fn content_encoding(&self) -> Option<&'static str> {
        match self {
            Self::Whole(coding) | Self::Made { coding, .. } if *coding != Coding::Identity => {
                Some(coding.as_str())
            }
            Self::Whole(_) | Self::Made { .. } | Self::Slice { .. } => None,
        }
    }

    /// Builds the body. `length_only` is set for the response to a `HEAD`.
    ///
    /// # Errors
    /// The view could not be made, or its participant does not exist.
    pub(super) async fn body(
        &self,
        state: &AppState,
        snapshot: &Arc<Snapshot>,
        length_only: bool,
    ) -> Result<BoxBody, Problem> {
        match self {
            Self::Whole(coding) => Ok(whole(*coding, state, snapshot, length_only).await),
            // Boxed, so that the future of a hit needs no room for these.
            Self::Slice { slice, cut } => {
                Ok(Box::pin(sliced(*slice, *cut, state, snapshot, length_only)).await)
            }
            Self::Made { rendering, redaction, coding } => {
                let made_of = (rendering, redaction.as_ref());
                Box::pin(made(made_of, *coding, state, snapshot, length_only)).await
            }
        }
    }
}

async fn made(
    rendering: (&Rendering, Option<&Redaction>),
    coding: Coding,
    state: &AppState,
    snapshot: &Arc<Snapshot>,
    length_only: bool,
) -> Result<BoxBody, Problem> {
    let (body, stored) = views::get((&state.cache, &state.views), snapshot, rendering, coding).await?;
    let is_decoded = stored != coding;
    let source = if length_only {
        let length = u64::try_from(body.bytes.len()).unwrap_or(u64::MAX);
        Source::LengthOnly(if is_decoded { body.length } else { length })
    } else if is_decoded {
        Source::packed(BodyDecoder::new(body.bytes, 0, body.length))
    } else {
        Source::Stored(body.bytes)
    };
    Ok(BoxBody::new(ChunkedBody::whole(source)))
}

async fn whole(coding: Coding, state: &AppState, snapshot: &Arc<Snapshot>, length_only: bool) -> BoxBody {
    let stored = match (snapshot.body(coding), coding) {
        // Small bodies are stored as gzip alone. The zstd is made even for a `HEAD`, because only then is its length
        // known.
        (None, Coding::Zstd) => state.cache.bodies.zstd(snapshot),
        (stored, _) => stored,
    };
    if length_only {
        let length = stored.map_or(snapshot.length, |stored| u64::try_from(stored.len()).unwrap_or(u64::MAX));
        return BoxBody::new(ChunkedBody::whole(Source::LengthOnly(length)));
    }
    let stored = match stored {
        Some(stored) => Some(stored),
        // A missing coding can only be a bug. There is nothing to send then.
        None if coding != Coding::Identity => Some(Bytes::new()),
        None => plain(state, snapshot).await,
    };
    match stored {
        Some(body) if body.len() <= CHUNK => BoxBody::new(body),
        Some(body) => BoxBody::new(ChunkedBody::whole(Source::Stored(body))),
        None => {
            let unpacker = snapshot.decoder(0, snapshot.length);
            BoxBody::new(ChunkedBody::whole(Source::packed(unpacker)))
        }
    }
}

async fn sliced(
    slice: Slice,
    cut: RowRange,
    state: &AppState,
    snapshot: &Arc<Snapshot>,
    length_only: bool,
) -> BoxBody {
    let head = snapshot.head();
    let token = cut.more.then(|| PageToken::after(slice, snapshot).encode());
    let foot = slice_foot(slice.size, token.as_deref());
    let rows = if length_only {
        Source::LengthOnly(cut.length)
    } else {
        match plain(state, snapshot).await.and_then(|plain| cut.of(&plain)) {
            Some(rows) if rows.len() <= CHUNK => {
                return BoxBody::new(Bytes::from([head.as_bytes(), &rows, foot.as_bytes()].concat()));
            }
            Some(rows) => Source::Stored(rows),
            None => Source::packed(snapshot.decoder(cut.at, cut.length)),
        }
    };
    BoxBody::new(ChunkedBody::between(head.into(), rows, foot.into()))
}

/// Returns the uncompressed body if it is cached, or if it is small enough to be unpacked in one step.
async fn plain(state: &AppState, snapshot: &Arc<Snapshot>) -> Option<Bytes> {
    let plain = state.cache.bodies.plain(snapshot);
    let is_small_enough =
        usize::try_from(snapshot.length).is_ok_and(|length| length <= state.cache.bodies.largest());
    if plain.is_some() || !is_small_enough {
        return plain;
    }
    if snapshot.length <= UNPACKED_INLINE {
        return state.cache.bodies.decompressed(snapshot);
    }
    // Boxed, so that the future of a hit needs no room for this one.
    Box::pin(unpacked_elsewhere(state, snapshot)).await
}

async fn unpacked_elsewhere(state: &AppState, snapshot: &Arc<Snapshot>) -> Option<Bytes> {
    let (cache, shared) = (state.cache.clone(), Arc::clone(snapshot));
    // `block` panics if it needs a first thread and the system has none left. The worker then unpacks the body itself.
    match catch_unwind(AssertUnwindSafe(|| web::block(move || cache.bodies.decompressed(&shared)))) {
        Ok(unpacked) => unpacked.await.ok()?,
        Err(_) => state.cache.bodies.decompressed(snapshot),
    }
}
