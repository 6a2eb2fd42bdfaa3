//! Encodes failures as JSON for other replicas, in events and in the records of refusals. Pure.

use std::{sync::Arc, time::Instant};

use serde::{Deserialize, Serialize};

use super::{
    bounds::{self, Rejected},
    clock::{Micros, ServerClock},
};
use crate::failure::{Failure, Lasting, LimitKind, Reason, ZoomError};

/// A failure as JSON. A replica of an older version may not know the reason, and then ignores the failure.
#[derive(Serialize, Deserialize)]
struct EncodedFailure {
    reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lasting: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_at: Option<Micros>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zoom: Option<ZoomError>,
}

/// The reasons that are meaningful to every replica. The other reasons concern one process or one caller.
const SHARED: [Reason; 8] = [
    Reason::MeetingNotFound,
    Reason::NotAMeeting,
    Reason::MeetingTooOld,
    Reason::ZoomRejectedCredentials,
    Reason::ZoomFailed,
    Reason::ZoomTimedOut,
    Reason::ZoomRateLimited,
    Reason::ZoomDailyQuotaSpent,
];

/// Encodes a failure as JSON. Returns `None` for a reason that is not meaningful to every replica.
pub(crate) fn encode(failure: &Failure, clock: &ServerClock) -> Option<String> {
    let reason = SHARED.iter().find(|reason| **reason == failure.reason)?.as_str();
    let zoom = failure.zoom.as_deref().cloned();
    let retry_at = failure.retry_at.map(|at| clock.at(at));
    let lasting = failure.lasting.map(|lasting| lasting.as_str().to_owned());
    serde_json::to_string(&EncodedFailure { reason: reason.to_owned(), lasting, retry_at, zoom }).ok()
}

/// Decodes a failure. Returns `None` if the text is not a failure, has an unknown reason, or is out of bounds.
pub(crate) fn decode(text: &str, clock: &ServerClock, now: Instant) -> Option<Failure> {
    try_decode(text, clock, now).ok().flatten()
}

/// Decodes a failure. Returns `None` if the text is not a failure or has an unknown reason. Fails if a value is out of
/// bounds.
pub(crate) fn try_decode(text: &str, clock: &ServerClock, now: Instant) -> Result<Option<Failure>, Rejected> {
    if text.len() > bounds::LONGEST_FAILURE {
        return Err(Rejected);
    }
    let Ok(encoded) = serde_json::from_str::<EncodedFailure>(text) else { return Ok(None) };
    let Some(reason) = SHARED.iter().find(|reason| reason.as_str() == encoded.reason) else {
        return Ok(None);
    };
    if encoded.zoom.as_ref().is_some_and(|zoom_error| !(100..1000).contains(&zoom_error.status)) {
        return Err(Rejected);
    }
    let retry_at = encoded.retry_at.map(|at| clock.when(at)).transpose()?.map(|at| at.max(now));
    let lasting = encoded.lasting.as_deref();
    let lasting = lasting.and_then(|word| Lasting::ALL.into_iter().find(|lasting| lasting.as_str() == word));
    Ok(Some(Failure {
        reason: *reason,
        lasting,
        caller_limit: None,
        retry_at,
        zoom: encoded.zoom.map(Arc::new),
    }))
}

/// Returns the reason that the failure of a cool-down of this kind has.
pub(crate) fn cooldown_reason(kind: LimitKind) -> Reason {
    match kind {
        LimitKind::PerSecond => Reason::ZoomRateLimited,
        LimitKind::PerDay => Reason::ZoomDailyQuotaSpent,
    }
}

/// Checks the failure in a cool-down event: its reason must be [`cooldown_reason`]. During the cool-down, requests for
/// all meetings are rejected with this failure, so a forged one would do much harm. Text that is not a failure or has
/// an unknown reason is accepted, because a later version may have sent it.
pub(super) fn check_cooldown(
    kind: LimitKind,
    text: &str,
    clock: &ServerClock,
    now: Instant,
) -> Result<(), Rejected> {
    let is_of_kind = |failure: Failure| failure.reason == cooldown_reason(kind) && failure.lasting.is_none();
    if try_decode(text, clock, now)?.is_none_or(is_of_kind) { Ok(()) } else { Err(Rejected) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::failure::RedactedText;

    #[test]
    fn a_failure_means_the_same_to_a_replica_whose_clock_began_elsewhere() {
        let now = Instant::now();
        let here = ServerClock::observe(now, now, 1_800_000_000_000_000).unwrap();
        let later = now + Duration::from_secs(100);
        let there = ServerClock::observe(later, later, 1_800_000_000_000_000).unwrap();
        let zoom_error = ZoomError {
            status: 404,
            code: Some(3001),
            message: Some(RedactedText::from_replica("Meeting does not exist: \"1\"")),
            tracking_id: None,
        };
        for reason in SHARED {
            let failure = Failure::new(reason)
                .retry_at(now + Duration::from_secs(7))
                .with_zoom_error(zoom_error.clone());
            let read = decode(&encode(&failure, &here).unwrap(), &there, later).unwrap();
            assert_eq!((read.reason, read.zoom.as_deref()), (reason, Some(&zoom_error)));
            assert_eq!((read.retry_at, read.lasting), (Some(later + Duration::from_secs(7)), None));
        }
        for lasting in Lasting::ALL {
            let read = decode(&encode(&Failure::lasting(lasting), &here).unwrap(), &there, later).unwrap();
            assert_eq!(read.lasting, Some(lasting));
        }
    }

    #[test]
    fn unknown_reasons_and_those_of_one_process_are_not_shared() {
        let now = Instant::now();
        let clock = ServerClock::observe(now, now, 1).unwrap();
        for reason in Reason::ALL {
            let is_shared = SHARED.contains(&reason);
            assert_eq!(encode(&Failure::new(reason), &clock).is_some(), is_shared, "{reason:?}");
        }
        for text in ["", "{}", "{\"reason\":\"of_a_later_version\"}", "[]"] {
            assert!(decode(text, &clock, now).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_or_names_a_time_more_than_48_h_ahead(
            reason in prop::sample::select(&["zoom_failed", "meeting_not_found", "x"][..]),
            retry_at: u64,
            status: u16,
            message in ".{0,40}",
            there in 0..1_u64 << 53,
            torn in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let now = Instant::now();
            let clock = ServerClock::observe(now, now, there).unwrap();
            let zoom = serde_json::json!({ "status": status, "message": message });
            let text = serde_json::json!({ "reason": reason, "retry_at": retry_at, "zoom": zoom }).to_string();
            for text in [text.as_str(), &String::from_utf8_lossy(&torn)] {
                if let Some(failure) = decode(text, &clock, now) {
                    prop_assert!(failure.retry_at.is_none_or(|at| at <= now + bounds::AHEAD_AT_MOST));
                }
            }
        }
    }
}
