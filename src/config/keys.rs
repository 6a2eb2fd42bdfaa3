//! The names of the keys that may be set. Their rules are in `sections.rs` and in the other files of this folder.

/// The beginning of an environment variable that sets a key.
pub(super) const PREFIX: &str = "QOS_PROXY__";

/// Every accepted key, in the order in which `check-config` prints them.
///
/// A new key must also be read, in `sections.rs` or another file of this folder, and documented in
/// `config/default.toml`.
pub(super) const ACCEPTED: &[&str] = &[
    "server.listen",
    "server.ops_listen",
    "server.workers",
    "server.wait",
    "server.drain_delay",
    "server.shutdown_timeout",
    "server.max_connections",
    "server.head_timeout",
    "server.idle_timeout",
    "server.write_timeout",
    "zoom.api_base_url",
    "zoom.oauth_url",
    "zoom.account_id",
    "zoom.account_id_file",
    "zoom.client_id",
    "zoom.client_id_file",
    "zoom.client_secret",
    "zoom.client_secret_file",
    "zoom.connect_timeout",
    "zoom.request_timeout",
    "zoom.max_body",
    "zoom.proxy",
    "zoom.proxy_file",
    "zoom.ca_file",
    "limits.plan",
    "limits.heavy_per_second",
    "limits.heavy_per_day",
    "limits.headroom_percent",
    "limits.reserve_percent",
    "limits.max_queued",
    "limits.max_fetch_bytes",
    "limits.state_file",
    "limits.max_stretch",
    "cache.max_bytes",
    "cache.live_fresh",
    "cache.past_fresh",
    "cache.past_by_number_fresh",
    "cache.settle",
    "cache.stale_while_revalidate",
    "cache.stale_if_error",
    "cache.not_found_live",
    "cache.not_found_past",
    "cache.refusal",
    "cache.refresh_floor",
    "callers.file",
    "callers.anonymous_hide",
    "ops.key_sha256",
    "ops.key_sha256_file",
    "summary.latency_ms",
    "summary.jitter_ms",
    "summary.loss_percent",
    "summary.cpu_percent",
    "redis.url",
    "redis.url_file",
    "redis.replicas",
    "redis.timeout",
    "redis.ca_file",
    "redis.encryption_key",
    "redis.encryption_key_file",
    "telemetry.log_format",
    "telemetry.log_level",
    "telemetry.log_meeting_ids",
    "telemetry.otlp_endpoint",
];

/// Returns this `section.key` if it may be set.
pub(super) fn accepted(name: &str) -> Option<&'static str> {
    ACCEPTED.iter().copied().find(|key| *key == name)
}

pub(super) fn is_section(name: &str) -> bool {
    ACCEPTED.iter().any(|key| split(key).0 == name)
}

pub(super) fn split(key: &str) -> (&str, &str) {
    key.split_once('.').unwrap_or(("", key))
}

/// Returns the accepted key that was probably meant: `name` itself, or else a key of another section with the same
/// name, or else a key that differs in at most three letters, or fewer if the name is short.
pub(super) fn closest(name: &str) -> Option<&'static str> {
    const MAX_LENGTH: usize = 64;
    if name.len() > MAX_LENGTH {
        return None;
    }
    let last = name.rsplit('.').next().unwrap_or(name);
    // A word that differs from "port" in three letters is another word. A word that differs from "headroom_percent"
    // in three is a typo.
    let max_distance = (1 + last.len() / 3).min(3);
    let same_name = || ACCEPTED.iter().copied().find(|key| split(key).1 == last);
    accepted(name).or_else(same_name).or_else(|| {
        let (distance, key) = ACCEPTED.iter().map(|key| (strsim::levenshtein(name, key), *key)).min()?;
        (distance <= max_distance).then_some(key)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_in_the_table_once() {
        let mut all: Vec<_> = ACCEPTED.iter().collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), ACCEPTED.len());
    }
}
