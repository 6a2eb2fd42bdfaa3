//! The table of keys: what may be set.
//!
//! Values and their rules are not here; `sections.rs` knows those.

/// Every key that is accepted, in the order in which `check-config` prints them.
///
/// A new one is read in `sections.rs` or beside it, and described in `config/default.toml`.
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
    "redis.url",
    "redis.url_file",
    "redis.replicas",
    "redis.timeout",
    "redis.ca_file",
    "redis.encryption_key",
    "redis.encryption_key_file",
    "telemetry.log_format",
    "telemetry.log_level",
    "telemetry.otlp_endpoint",
];

/// What the table says about a name.
pub(super) enum Known {
    /// May be set.
    Accepted(&'static str),
    /// Nobody's name; perhaps this one was meant.
    Unknown(Option<&'static str>),
}

/// Looks a `section.key` up.
pub(super) fn look_up(name: &str) -> Known {
    match ACCEPTED.iter().find(|key| **key == name) {
        Some(key) => Known::Accepted(key),
        None => Known::Unknown(closest(name)),
    }
}

/// Whether any key is in this section.
pub(super) fn is_section(name: &str) -> bool {
    ACCEPTED.iter().any(|key| split(key).0 == name)
}

/// `section.key` in its two parts.
pub(super) fn split(key: &str) -> (&str, &str) {
    key.split_once('.').unwrap_or(("", key))
}

/// The accepted key that was perhaps meant: the same name in another section (or none), else one that differs in
/// at most three letters, fewer if it is short.
fn closest(name: &str) -> Option<&'static str> {
    const LONGEST_NAME: usize = 64;
    if name.len() > LONGEST_NAME {
        return None;
    }
    let last = name.rsplit('.').next().unwrap_or(name);
    // Two letters off in "port" is another word; three in "headroom_procent" is a slip.
    let farthest = (1 + last.len() / 3).min(3);
    let same_name = ACCEPTED.iter().copied().find(|key| split(key).1 == last);
    same_name.or_else(|| {
        let near = ACCEPTED.iter().map(|key| (strsim::levenshtein(name, key), *key)).min()?;
        (near.0 <= farthest).then_some(near.1)
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
