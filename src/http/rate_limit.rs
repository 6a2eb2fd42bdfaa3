//! `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11): the limits, and the calls left of
//! each.
//!
//! The unit is Zoom calls, not requests: hits cost none and have neither field. The numbers come from the quota's last
//! published status, the caller's ledger and the failure, so adding the fields does not wait for the fetcher.

use std::{
    fmt::Write as _,
    time::{Instant, SystemTime},
};

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

use super::retry_after::{seconds_until, whole_seconds};
use crate::{
    callers::{CallAllowance, Caller},
    failure::{CallerLimit, Failure, Reason, RefusedBy},
    quota::QuotaStatus,
};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The largest integer of a structured field (RFC 9651, 3.3.1).
const MAX_INTEGER: u64 = 999_999_999_999_999;

/// The formats of the fields as regular expressions, for `/openapi.json`.
pub(super) const POLICY_PATTERN: &str =
    "^\"second\";q=[0-9]+;w=1, \"day\";q=[0-9]+;w=86400(, \"caller\";q=[0-9]+;w=60)?$";
pub(super) const LIMIT_PATTERN: &str =
    "^(\"second\";r=0(;t=[0-9]+)?, )?\"day\";r=[0-9]+;t=[0-9]+(, \"caller\";r=[0-9]+(;t=[0-9]+)?)?$";

/// Returns whether the response to a failure of the fetcher has the fields: it does if a call may have been made, or was
/// refused.
pub(super) fn applies_to(reason: Reason) -> bool {
    !matches!(reason, Reason::NotCached | Reason::ShuttingDown)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limits {
    per_second: u64,
    per_day: u64,
    day_remaining: u64,
    /// Seconds until 00:00 UTC.
    day_ends_in: u64,
    /// `None` if the caller has no limit of its own.
    caller: Option<CallAllowance>,
}

/// The limit that refused the call, and the seconds until a retry may succeed.
type Rejection = (RefusedBy, Option<u64>);

/// Adds `RateLimit-Policy` and `RateLimit`. `failure` is set if the response has nothing new from Zoom.
pub(super) fn add(headers: &mut HeaderMap, quota: QuotaStatus, caller: &Caller, failure: Option<&Failure>) {
    let now = Instant::now();
    let limits = Limits::new(quota, caller, now);
    let rejection = failure.and_then(|failure| {
        // The fields have no policy for the limits of a caller's day.
        let is_minute = failure.caller_limit.is_none_or(|limit| limit == CallerLimit::PerMinute);
        let by = failure.refused_by().filter(|by| *by != RefusedBy::Caller || is_minute)?;
        Some((by, seconds_until(failure.retry_at, now)))
    });
    for (name, value) in
        [(RATE_LIMIT_POLICY, limits.policy()), (RATE_LIMIT, limits.remaining(rejection, now))]
    {
        if let Ok(value) = HeaderValue::from_maybe_shared(value) {
            headers.insert(name, value);
        }
    }
}

impl Limits {
    fn new(quota: QuotaStatus, caller: &Caller, now: Instant) -> Self {
        Self {
            per_second: quota.per_second.into(),
            per_day: quota.per_day.min(MAX_INTEGER),
            day_remaining: quota.day_left().min(MAX_INTEGER),
            day_ends_in: whole_seconds(QuotaStatus::day_resets_in(SystemTime::now())),
            caller: caller.allowance(now),
        }
    }

    fn policy(&self) -> String {
        let mut text = format!("\"second\";q={};w=1, \"day\";q={};w=86400", self.per_second, self.per_day);
        if let Some(CallAllowance { limit, .. }) = self.caller {
            write!(text, ", \"caller\";q={limit};w=60").ok();
        }
        text
    }

    /// Returns the value of `RateLimit`. The limit per second is listed only if it or a full queue refused the call: any
    /// number but 0 would be outdated on arrival. The limit that refused the call has nothing left until `Retry-After`.
    fn remaining(&self, rejection: Option<Rejection>, now: Instant) -> String {
        let mut text = String::new();
        let (by, retry_after) = rejection.map_or((None, None), |(by, retry_after)| (Some(by), retry_after));
        if let Some(RefusedBy::BudgetSecond | RefusedBy::ZoomSecond | RefusedBy::Queue) = by {
            add_item(&mut text, "second", 0, retry_after);
        }
        match by {
            Some(RefusedBy::BudgetDay | RefusedBy::ZoomDay) => {
                add_item(&mut text, "day", 0, Some(retry_after.unwrap_or(self.day_ends_in)));
            }
            _ => add_item(&mut text, "day", self.day_remaining, Some(self.day_ends_in)),
        }
        match (self.caller, by) {
            (Some(_), Some(RefusedBy::Caller)) => add_item(&mut text, "caller", 0, retry_after),
            (Some(CallAllowance { left, more_at, .. }), _) => {
                add_item(&mut text, "caller", left.into(), seconds_until(more_at, now));
            }
            (None, _) => {}
        }
        text
    }
}

fn add_item(list: &mut String, policy: &str, remaining: u64, resets_in: Option<u64>) {
    let comma = if list.is_empty() { "" } else { ", " };
    write!(list, "{comma}\"{policy}\";r={remaining}").ok();
    if let Some(seconds) = resets_in {
        write!(list, ";t={seconds}").ok();
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, time::Duration};

    use super::*;

    const LIMITS: Limits =
        Limits { per_second: 36, per_day: 54_000, day_remaining: 53_000, day_ends_in: 3_600, caller: None };

    fn room(limit: u32, left: u32, more_at: Option<Instant>) -> CallAllowance {
        CallAllowance { limit: NonZeroU32::new(limit).unwrap(), left, more_at }
    }

    fn refused(by: RefusedBy, seconds: u64) -> Rejection {
        (by, Some(seconds))
    }

    #[test]
    fn each_limit_has_a_policy() {
        let now = Instant::now();
        assert_eq!(LIMITS.policy(), r#""second";q=36;w=1, "day";q=54000;w=86400"#);
        assert_eq!(LIMITS.remaining(None, now), r#""day";r=53000;t=3600"#);
        let more_at = now + Duration::from_millis(41_001);
        let limits = Limits { caller: Some(room(60, 58, Some(more_at))), ..LIMITS };
        assert_eq!(limits.policy(), r#""second";q=36;w=1, "day";q=54000;w=86400, "caller";q=60;w=60"#);
        assert_eq!(limits.remaining(None, now), r#""day";r=53000;t=3600, "caller";r=58;t=42"#);
        let unspent = Limits { caller: Some(room(60, 60, None)), ..LIMITS };
        assert_eq!(unspent.remaining(None, now), r#""day";r=53000;t=3600, "caller";r=60"#);
    }

    #[test]
    fn the_limit_that_refused_has_nothing_left_until_a_retry_can_help() {
        let now = Instant::now();
        for by in [RefusedBy::BudgetSecond, RefusedBy::ZoomSecond, RefusedBy::Queue] {
            assert_eq!(
                LIMITS.remaining(Some(refused(by, 7)), now),
                r#""second";r=0;t=7, "day";r=53000;t=3600"#
            );
        }
        for by in [RefusedBy::BudgetDay, RefusedBy::ZoomDay] {
            assert_eq!(LIMITS.remaining(Some(refused(by, 90)), now), r#""day";r=0;t=90"#);
        }
        let limits = Limits { caller: Some(room(2, 1, None)), ..LIMITS };
        assert_eq!(
            limits.remaining(Some(refused(RefusedBy::Caller, 9)), now),
            r#""day";r=53000;t=3600, "caller";r=0;t=9"#
        );
        assert_eq!(
            LIMITS.remaining(Some(refused(RefusedBy::Credentials, 30)), now),
            r#""day";r=53000;t=3600"#
        );
    }
}
