//! The limits: what Zoom's plan allows, and what of that is permitted here.

use std::{num::NonZeroU32, path::PathBuf};

use super::{
    reader::Reader,
    rules::{Choice, Count, FilePath},
};
use crate::{
    quota::{QuotaConfig, state_file},
    snapshot::FreshnessConfig,
    toml_document::one_line,
};

/// 30 s as long as a working day: more is a slip of the hand.
const MOST_STRETCH: u32 = 1_000;

/// What Zoom allows an account, for Heavy calls.
#[derive(Clone, Copy)]
struct Plan {
    name: &'static str,
    per_second: u32,
    per_day: u32,
}

/// The "Heavy" column of Zoom's rate limits by account type
/// (<https://developers.zoom.us/docs/api/rate-limits/>).
const PLANS: &[(&str, Plan)] = &[
    ("free", plan("free", 1, 1_000)),
    ("pro", plan("pro", 10, 30_000)),
    ("business", plan("business", 40, 60_000)),
];

const fn plan(name: &'static str, per_second: u32, per_day: u32) -> Plan {
    Plan { name, per_second, per_day }
}

/// `[limits]`, but for `max_queued`.
pub(super) fn quota(reader: &mut Reader, freshness: Option<&FreshnessConfig>) -> Option<QuotaConfig> {
    let plan = reader.required("limits.plan", &Choice(PLANS));
    let headroom = reader.required("limits.headroom_percent", &Count(0..=99));
    let allowed = |of: fn(Plan) -> u32| plan.map(|plan| (plan.name, of(plan)));
    let per_second = limit(reader, "limits.heavy_per_second", allowed(|plan| plan.per_second), headroom);
    let per_day = limit(reader, "limits.heavy_per_day", allowed(|plan| plan.per_day), headroom);
    let state_file = state_file(reader);
    let max_stretch = reader.required("limits.max_stretch", &Count(1..=MOST_STRETCH));
    Some(QuotaConfig {
        per_second: per_second?,
        per_day: per_day?.get().into(),
        state_file,
        max_stretch: max_stretch?,
        live_fresh: freshness?.live_fresh,
    })
}

/// With Redis it is not used, so nothing can be wrong with it.
fn state_file(reader: &mut Reader) -> Option<PathBuf> {
    const KEY: &str = "limits.state_file";
    let path = reader.optional(KEY, &FilePath)?;
    let is_used = reader.first_set(["redis.url", "redis.url_file"]).is_none();
    if let Some(at) = reader.origin(KEY).filter(|_| is_used)
        && let Err(error) = state_file::check_writable(&path)
    {
        reader.problem(KEY, &at, format!("the file cannot be written: {}", one_line(&error.to_string())));
    }
    Some(path)
}

/// Zoom calls that may wait for a permit.
pub(super) fn max_queued(reader: &mut Reader) -> Option<usize> {
    let count = reader.required("limits.max_queued", &Count(1..=u32::MAX))?;
    usize::try_from(count).ok()
}

/// What is permitted of one limit: the one that is set, else the plan's, less the headroom.
fn limit(
    reader: &mut Reader,
    key: &'static str,
    plan: Option<(&str, u32)>,
    headroom: Option<u32>,
) -> Option<NonZeroU32> {
    let set = reader.optional(key, &Count(1..=u32::MAX));
    let limit = match (set, plan) {
        (Some(limit), Some((plan, allowed))) => {
            if let Some(at) = reader.origin(key).filter(|_| limit > allowed) {
                let what = format!(
                    "{limit} is more than the {allowed} that Zoom allows a {plan} account; \
                     expect it to refuse calls with 429"
                );
                reader.warn(key, &at, what);
            }
            limit
        }
        (Some(limit), None) => limit,
        (None, Some((plan, allowed))) => {
            reader.show_derived(key, &allowed.to_string(), &format!("from limits.plan \"{plan}\""));
            allowed
        }
        (None, None) => return None,
    };
    let headroom = headroom?;
    let permitted = permitted(limit, headroom);
    reader.remark(key, &format!("permitted: {permitted} (headroom {headroom} %)"));
    Some(permitted)
}

/// limit × (100 − headroom) / 100, rounded down, at least 1.
fn permitted(limit: u32, headroom_percent: u32) -> NonZeroU32 {
    let part = u64::from(limit) * u64::from(100_u32.saturating_sub(headroom_percent)) / 100;
    u32::try_from(part).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN)
}
