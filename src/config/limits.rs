//! `[limits]`: the limits of Zoom's plan, and the part of them that this service may use.

use std::{num::NonZeroU32, path::PathBuf};

use super::{
    reader::Reader,
    rules::{
        quantity::integer,
        text::{choice, file_path},
    },
};
use crate::{
    quota::{QuotaConfig, state_file},
    snapshot::FreshnessConfig,
    toml_document::one_line,
};

/// The maximum of `limits.max_stretch`. With this factor, a snapshot that is fresh for 30 s would be fresh for a
/// working day, so a larger factor is probably a typo.
const MAX_STRETCH: u32 = 1_000;

/// The number of Heavy calls that Zoom allows an account, by its plan.
#[derive(Clone, Copy)]
struct Plan {
    name: &'static str,
    per_second: u32,
    per_day: u32,
}

const FREE: Plan = Plan { name: "free", per_second: 1, per_day: 1_000 };
const PRO: Plan = Plan { name: "pro", per_second: 10, per_day: 30_000 };
const BUSINESS: Plan = Plan { name: "business", per_second: 40, per_day: 60_000 };
/// The "Heavy" column of Zoom's rate limits by account type
/// (<https://developers.zoom.us/docs/api/rate-limits/>).
const PLANS: &[(&str, Plan)] = &[(FREE.name, FREE), (PRO.name, PRO), (BUSINESS.name, BUSINESS)];

/// Reads `[limits]` except `max_queued` and `max_fetch_bytes`.
pub(super) fn quota(reader: &mut Reader, freshness: &FreshnessConfig) -> QuotaConfig {
    let plan = reader.required("limits.plan", |raw| choice(raw, PLANS));
    let headroom = reader.integer("limits.headroom_percent", &(0..=99));
    let allowed = |of: fn(Plan) -> u32| plan.map(|plan| (plan.name, of(plan)));
    let per_second = limit(reader, "limits.heavy_per_second", allowed(|plan| plan.per_second), headroom);
    let per_day = limit(reader, "limits.heavy_per_day", allowed(|plan| plan.per_day), headroom);
    let state_file = state_file(reader);
    let reserve_percent = reader.integer("limits.reserve_percent", &(0..=100));
    let max_stretch = reader.integer("limits.max_stretch", &(1..=MAX_STRETCH));
    QuotaConfig {
        per_second,
        per_day: per_day.get().into(),
        state_file,
        reserve_percent,
        max_stretch,
        live_fresh: freshness.live_fresh,
    }
}

/// Reads the path, and checks that the file can be written, unless Redis keeps the day's count and the file is not used.
fn state_file(reader: &mut Reader) -> Option<PathBuf> {
    const KEY: &str = "limits.state_file";
    let path = reader.optional(KEY, file_path)?;
    if reader.first_set(["redis.url", "redis.url_file"]).is_none()
        && let Err(error) = state_file::check_writable(&path)
    {
        reader.reject(KEY, format!("the file cannot be written: {}", one_line(&error.to_string())));
    }
    Some(path)
}

/// Returns the permitted part of one limit. Subtracts the headroom from the limit that is set or, if none is set,
/// from the plan's limit.
fn limit(reader: &mut Reader, key: &'static str, plan: Option<(&str, u32)>, headroom: u32) -> NonZeroU32 {
    let set = reader.optional(key, |raw| integer(raw, &(1..=u32::MAX)));
    let limit = match (set, plan) {
        (Some(limit), Some((plan, allowed))) if limit > allowed => {
            let message = format!(
                "{limit} is more than the {allowed} that Zoom allows a {plan} account; \
                 expect it to refuse calls with 429"
            );
            reader.warn(key, message);
            limit
        }
        (Some(limit), _) => limit,
        (None, Some((plan, allowed))) => {
            reader.display(key, &allowed.to_string(), &format!("from limits.plan \"{plan}\""));
            allowed
        }
        // The plan is invalid, which was reported.
        (None, None) => return NonZeroU32::MIN,
    };
    let permitted = permitted(limit, headroom);
    reader.annotate(key, &format!("permitted: {permitted} (headroom {headroom} %)"));
    permitted
}

/// Returns limit × (100 − headroom) / 100, rounded down, but at least 1. Example: 36 of 40 with a headroom of 10 %.
fn permitted(limit: u32, headroom_percent: u32) -> NonZeroU32 {
    let permitted = u64::from(limit) * u64::from(100_u32.saturating_sub(headroom_percent)) / 100;
    u32::try_from(permitted).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN)
}
