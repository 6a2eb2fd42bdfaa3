//! The origin of a response's snapshot, and the `Cache-Status` and `Cache-Control` headers that describe it.

use std::cell::RefCell;

use actix_web::http::header::HeaderValue;
use bytes::Bytes;

use super::{pages::StaleReason, problem::Problem};
use crate::{cache::policy::FetchReason, failure::Failure, metrics::Outcome};

/// The origin of a response's snapshot.
pub(super) enum Provenance {
    /// The cache, or the snapshot that a page token names. No refresh was started.
    Hit,
    /// The cache or another replica's record, after the caller had waited for the fetcher. The snapshot's age is
    /// computed when the response is built.
    LateHit,
    /// The cache, stale; a refresh was requested.
    Revalidating,
    /// The cache, because a fetch failed or was refused.
    StaleInstead(Failure),
    Flight {
        /// The reason why the cache could not serve the request.
        why: FetchReason,
        /// Whether another request started the flight.
        collapsed: bool,
        /// Whether the cache keeps the snapshot.
        stored: bool,
    },
}

impl Provenance {
    /// Returns whether the response shows the age of its snapshot at the arrival of the request, not the age after a wait.
    pub(super) fn is_cached(&self) -> bool {
        matches!(self, Self::Hit | Self::Revalidating)
    }

    /// Returns the outcome for metrics and log. A hit can be stale: for example with `only-if-cached`, or as a slice of an
    /// older snapshot.
    pub(super) fn outcome(&self, is_fresh: bool) -> Outcome {
        match self {
            Self::Hit | Self::LateHit | Self::StaleInstead(_) if is_fresh => Outcome::Hit,
            Self::Hit | Self::LateHit | Self::Revalidating | Self::StaleInstead(_) => Outcome::Stale,
            Self::Flight { collapsed: true, .. } => Outcome::Collapsed,
            Self::Flight { collapsed: false, .. } => Outcome::Miss,
        }
    }

    /// Returns the `detail` of `Cache-Status`, which is also the label that counts stale responses.
    pub(super) fn detail(&self) -> Option<&'static str> {
        match self {
            Self::Revalidating => Some("revalidating"),
            Self::StaleInstead(failure) => Some(failure.reason.as_str()),
            Self::Hit | Self::LateHit | Self::Flight { .. } => None,
        }
    }

    /// Returns why the snapshot is not the newest data, in words for a page.
    pub(super) fn stale_reason(&self, is_fresh: bool) -> Option<StaleReason> {
        let words = match self {
            Self::StaleInstead(failure) => format!("{}.", Problem::NoSnapshot(failure.clone()).row().title),
            Self::Revalidating => {
                "A newer version is being fetched: reload the page in a few seconds.".to_owned()
            }
            // For example, the request had `only-if-cached`.
            Self::Hit | Self::LateHit if !is_fresh => {
                "It is past its freshness, and this request started no refresh: reload the page.".to_owned()
            }
            Self::Hit | Self::LateHit | Self::Flight { .. } => return None,
        };
        Some(StaleReason { code: self.detail().unwrap_or("stale"), words })
    }

    /// Returns the value of `Cache-Status` (RFC 9211). `ttl` is negative for a stale snapshot.
    pub(super) fn cache_status(&self, ttl: i64) -> HeaderValue {
        match self {
            Self::Hit | Self::LateHit | Self::Revalidating | Self::StaleInstead(_) => {
                let mut digits = itoa::Buffer::new();
                let (separator, detail) = self.detail().map_or(("", ""), |detail| ("; detail=", detail));
                header_value(&["zoom-qos-proxy; hit; ttl=", digits.format(ttl), separator, detail])
            }
            Self::Flight { why, collapsed, stored } => {
                let stored = if *stored { "; stored" } else { "" };
                let collapsed = if *collapsed { "; collapsed" } else { "" };
                header_value(&["zoom-qos-proxy; fwd=", why.as_str(), "; fwd-status=200", stored, collapsed])
            }
        }
    }
}

pub(super) fn cache_control(max_age: u64) -> HeaderValue {
    header_value(&["private, max-age=", itoa::Buffer::new().format(max_age)])
}

/// The headers of a hit that is fresh for `seconds` more seconds.
#[derive(Clone)]
pub(super) struct FreshHit {
    seconds: u64,
    pub(super) cache_control: HeaderValue,
    pub(super) cache_status: HeaderValue,
}

impl FreshHit {
    pub(super) fn of(seconds: u64) -> Self {
        const KEPT: usize = 64;
        thread_local! {
            /// The headers made last, each at the index `seconds % KEPT`. A worker often needs the same headers again.
            /// Making them takes as long as two cache look-ups, because each letter of a header's value is checked.
            static LAST: RefCell<[Option<FreshHit>; KEPT]> = const { RefCell::new([const { None }; KEPT]) };
        }
        LAST.with_borrow_mut(|last| {
            let mut place = usize::try_from(seconds).ok().and_then(|seconds| last.get_mut(seconds % KEPT));
            if let Some(Some(known)) = &place
                && known.seconds == seconds
            {
                return known.clone();
            }
            let cache_status = Provenance::Hit.cache_status(i64::try_from(seconds).unwrap_or(i64::MAX));
            let made = Self { seconds, cache_control: cache_control(seconds), cache_status };
            if let Some(place) = &mut place {
                **place = Some(made.clone());
            }
            made
        })
    }
}

/// Joins the parts of a header value. `format!` would take as long as the cache look-up of a hit.
pub(super) fn header_value(parts: &[&str]) -> HeaderValue {
    // Every part is a constant, a number, or made of letters, digits and `_`, so no character is invalid in a header.
    HeaderValue::from_maybe_shared(Bytes::from(parts.concat())).unwrap_or(HeaderValue::from_static(""))
}
