//! `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11): what may be spent, and who refused.
//!
//! The unit is calls to Zoom, not requests: what is cached costs none, and is answered without these fields. Everything
//! is read from shared numbers; nobody is asked, and nothing waits.

use std::{
    fmt::Write as _,
    time::{Instant, SystemTime},
};

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

use super::problem::seconds_until;
use crate::{
    callers::{Caller, Room},
    failure::{Failure, Reason, RefusedBy},
    quota::QuotaStatus,
};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

const DAY_SECONDS: u64 = 86_400;
/// The largest integer of a structured field (RFC 9651, 3.3.1).
const LARGEST: u64 = 999_999_999_999_999;

/// What the two fields match, for the description.
pub(super) const POLICY_PATTERN: &str =
    "^\"second\";q=[0-9]+;w=1, \"day\";q=[0-9]+;w=86400(, \"caller\";q=[0-9]+;w=60)?$";
pub(super) const LIMIT_PATTERN: &str =
    "^(\"second\";r=0(;t=[0-9]+)?, )?\"day\";r=[0-9]+;t=[0-9]+(, \"caller\";r=[0-9]+(;t=[0-9]+)?)?$";

/// Whether a failure of this kind, met on the way to Zoom, is answered with the fields: a call was made, or refused.
pub(super) fn is_told_with(reason: Reason) -> bool {
    !matches!(reason, Reason::NotCached | Reason::ShuttingDown)
}

/// What may be spent as an answer tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limits {
    per_second: u64,
    per_day: u64,
    day_left: u64,
    /// Seconds until 00:00 UTC.
    day_ends_in: u64,
    caller: Option<Room>,
}

/// Who refused a request, and in how many seconds asking again can help.
#[derive(Debug, Clone, Copy)]
struct Refused {
    by: RefusedBy,
    again_in: Option<u64>,
}

/// Puts both fields among these headers. `failure` is why there is nothing new from Zoom, if that is so.
pub(super) fn tell(headers: &mut HeaderMap, quota: QuotaStatus, caller: &Caller, failure: Option<&Failure>) {
    let now = Instant::now();
    let limits = Limits::new(quota, caller, now);
    let refused = failure.and_then(|failure| {
        Some(Refused { by: failure.refused_by()?, again_in: seconds_until(failure.retry_at, now) })
    });
    for (name, value) in [(RATE_LIMIT_POLICY, limits.policy()), (RATE_LIMIT, limits.left(refused, now))] {
        if let Ok(value) = HeaderValue::from_maybe_shared(value) {
            headers.insert(name, value);
        }
    }
}

impl Limits {
    fn new(quota: QuotaStatus, caller: &Caller, now: Instant) -> Self {
        let per_day = quota.per_day.min(LARGEST);
        let since_1970 = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
        Self {
            per_second: quota.per_second.into(),
            per_day,
            day_left: per_day.saturating_sub(quota.day_used),
            day_ends_in: DAY_SECONDS - since_1970 % DAY_SECONDS,
            caller: caller.room(now),
        }
    }

    fn policy(&self) -> String {
        let mut text = format!("\"second\";q={};w=1, \"day\";q={};w=86400", self.per_second, self.per_day);
        if let Some(Room { ceiling, .. }) = self.caller {
            write!(text, ", \"caller\";q={ceiling};w=60").ok();
        }
        text
    }

    /// Of the second only that nothing is left: what is, is past before it is read. Who refused has nothing left until
    /// `Retry-After`.
    fn left(&self, refused: Option<Refused>, now: Instant) -> String {
        let mut text = String::new();
        let again_in = refused.and_then(|refused| refused.again_in);
        let by = refused.map(|refused| refused.by);
        if let Some(RefusedBy::BudgetSecond | RefusedBy::ZoomSecond | RefusedBy::Queue) = by {
            item(&mut text, "second", 0, again_in);
        }
        match by {
            Some(RefusedBy::BudgetDay | RefusedBy::ZoomDay) => {
                item(&mut text, "day", 0, Some(again_in.unwrap_or(self.day_ends_in)));
            }
            _ => item(&mut text, "day", self.day_left, Some(self.day_ends_in)),
        }
        match (self.caller, by) {
            (Some(_), Some(RefusedBy::Caller)) => item(&mut text, "caller", 0, again_in),
            (Some(Room { left, more_at, .. }), _) => {
                item(&mut text, "caller", left.into(), seconds_until(more_at, now));
            }
            (None, _) => {}
        }
        text
    }
}

/// One more member of the list.
fn item(list: &mut String, policy: &str, left: u64, until: Option<u64>) {
    let comma = if list.is_empty() { "" } else { ", " };
    write!(list, "{comma}\"{policy}\";r={left}").ok();
    if let Some(seconds) = until {
        write!(list, ";t={seconds}").ok();
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, time::Duration};

    use super::*;

    const LIMITS: Limits =
        Limits { per_second: 36, per_day: 54_000, day_left: 53_000, day_ends_in: 3_600, caller: None };

    fn room(ceiling: u32, left: u32, more_at: Option<Instant>) -> Room {
        Room { ceiling: NonZeroU32::new(ceiling).unwrap(), left, more_at }
    }

    fn refused(by: RefusedBy, seconds: u64) -> Refused {
        Refused { by, again_in: Some(seconds) }
    }

    #[test]
    fn a_policy_is_told_for_each_limit_that_there_is() {
        let now = Instant::now();
        assert_eq!(LIMITS.policy(), r#""second";q=36;w=1, "day";q=54000;w=86400"#);
        assert_eq!(LIMITS.left(None, now), r#""day";r=53000;t=3600"#);
        let more_at = now + Duration::from_millis(41_001);
        let limits = Limits { caller: Some(room(60, 58, Some(more_at))), ..LIMITS };
        assert_eq!(limits.policy(), r#""second";q=36;w=1, "day";q=54000;w=86400, "caller";q=60;w=60"#);
        assert_eq!(limits.left(None, now), r#""day";r=53000;t=3600, "caller";r=58;t=42"#);
        let unspent = Limits { caller: Some(room(60, 60, None)), ..LIMITS };
        assert_eq!(unspent.left(None, now), r#""day";r=53000;t=3600, "caller";r=60"#);
    }

    #[test]
    fn who_refused_has_nothing_left_until_asking_again_can_help() {
        let now = Instant::now();
        for by in [RefusedBy::BudgetSecond, RefusedBy::ZoomSecond, RefusedBy::Queue] {
            assert_eq!(LIMITS.left(Some(refused(by, 7)), now), r#""second";r=0;t=7, "day";r=53000;t=3600"#);
        }
        for by in [RefusedBy::BudgetDay, RefusedBy::ZoomDay] {
            assert_eq!(LIMITS.left(Some(refused(by, 90)), now), r#""day";r=0;t=90"#);
        }
        let limits = Limits { caller: Some(room(2, 1, None)), ..LIMITS };
        assert_eq!(
            limits.left(Some(refused(RefusedBy::Caller, 9)), now),
            r#""day";r=53000;t=3600, "caller";r=0;t=9"#
        );
        assert_eq!(LIMITS.left(Some(refused(RefusedBy::Credentials, 30)), now), r#""day";r=53000;t=3600"#);
    }
}
