//! The metrics of the service and of its process, in the Prometheus text format.
//!
//! No label contains unvalidated input. The values of most labels are the words of an enum, which `vocabulary!`
//! declares in `metrics/labels.rs` or in the module that the words belong to. The names of callers and issuers come
//! from the validated callers' file.

mod labels;
mod table;

use std::time::Duration;

use prometheus::TextEncoder;

pub use labels::{CallResult, Cause, ConnectionRefusal, Outcome, RedisValue, RenewalResult};
pub use table::Metrics;

use crate::failure::LimitKind;

pub(crate) struct CallerGauges<'a> {
    pub(crate) name: &'a str,
    /// The number of the caller's queued calls.
    pub(crate) waiting: usize,
    /// How long the oldest of these calls has waited.
    pub(crate) oldest: Duration,
    /// The caller's calls of the day: used calls, reserved calls, and its share by weight.
    pub(crate) day_calls: (u64, f64, f64),
}

impl Metrics {
    pub(crate) fn request(&self, outcome: Outcome, status: u16, duration: Duration) {
        let mut digits = itoa::Buffer::new();
        self.requests.with_label_values(&[outcome.as_str(), digits.format(status)]).inc();
        self.request_duration.with_label_values(&[outcome.as_str()]).observe(duration.as_secs_f64());
    }

    pub(crate) fn zoom_call(&self, result: CallResult) {
        self.zoom_calls.with_label_values(&[result.as_str()]).inc();
    }

    /// Sets whether Redis is in use. The first call makes the metrics of Redis appear, so that they do not exist
    /// without Redis.
    pub(crate) fn redis_up(&self, up: bool) {
        self.redis_up.set(i64::from(up));
        self.show_redis();
    }

    pub(crate) fn redis_values_rejected(&self, kind: RedisValue, values: u64) {
        self.redis_values_rejected.with_label_values(&[kind.as_str()]).inc_by(values);
    }

    pub(crate) fn count_access_token_renewals(&self, result: RenewalResult) {
        self.access_token_renewals.with_label_values(&[result.as_str()]).inc();
    }

    pub(crate) fn set_cooldown_active(&self, kind: LimitKind, active: bool) {
        self.cooldown_active.with_label_values(&[kind.as_str()]).set(i64::from(active));
    }

    /// Adds a caller's counters with the value 0, because a rate needs a sample before the first call.
    pub(crate) fn init_caller(&self, name: &str) {
        self.caller_calls.with_label_values(&[name]).inc_by(0);
        self.caller_refusals.with_label_values(&[name]).inc_by(0);
    }

    /// Sets the gauges of each caller. Call this right before the metrics are read.
    pub(crate) fn set_callers<'a>(&self, callers: impl Iterator<Item = CallerGauges<'a>>) {
        // Callers that are no longer in the callers' file disappear.
        self.caller_permits_queued.reset();
        self.caller_oldest_wait.reset();
        self.caller_day_calls_used.reset();
        self.caller_day_calls_reserved.reset();
        self.caller_day_calls_share.reset();
        for CallerGauges { name, waiting, oldest, day_calls: (used, reserved, share) } in callers {
            let used = i64::try_from(used).unwrap_or(i64::MAX);
            self.caller_day_calls_used.with_label_values(&[name]).set(used);
            self.caller_day_calls_reserved.with_label_values(&[name]).set(reserved.floor());
            self.caller_day_calls_share.with_label_values(&[name]).set(share.floor());
            let waiting = i64::try_from(waiting).unwrap_or(i64::MAX);
            self.caller_permits_queued.with_label_values(&[name]).set(waiting);
            self.caller_oldest_wait.with_label_values(&[name]).set(oldest.as_secs_f64());
        }
    }

    /// Sets the number of keys of each issuer. Issuers that are no longer in the callers' file disappear.
    pub(crate) fn set_issuers<'a>(&self, issuers: impl Iterator<Item = (&'a str, usize)>) {
        self.issuer_keys.reset();
        for (name, keys) in issuers {
            self.issuer_keys.with_label_values(&[name]).set(i64::try_from(keys).unwrap_or(i64::MAX));
        }
    }

    pub(crate) fn exposition(&self) -> Option<String> {
        TextEncoder::new().encode_to_string(&self.gather()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_under_their_metrics_and_labels() {
        let metrics = Metrics::default();
        metrics.request(Outcome::Hit, 200, Duration::from_micros(40));
        metrics.zoom_call(CallResult::RateLimited);
        metrics.set_cooldown_active(LimitKind::PerDay, true);
        let text = metrics.exposition().unwrap();
        for name in ["process_resident_memory_bytes", "process_open_fds", "process_cpu_seconds_total"] {
            assert!(text.lines().any(|line| line.starts_with(&format!("{name} "))), "{name} is missing");
        }
        for line in [
            "zoom_qos_proxy_requests_total{outcome=\"hit\",status=\"200\"} 1",
            "zoom_qos_proxy_request_duration_seconds_count{outcome=\"hit\"} 1",
            "zoom_qos_proxy_zoom_calls_total{result=\"rate_limited\"} 1",
            "zoom_qos_proxy_cooldown_active{kind=\"per_day\"} 1",
            "zoom_qos_proxy_cooldown_active{kind=\"per_second\"} 0",
            concat!("zoom_qos_proxy_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is missing in:\n{text}");
        }
    }
}
