//! The table of all metrics. To add a metric, follow the checklist in CONTRIBUTING.md.

use std::sync::Once;

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, process_collector::ProcessCollector, proto::MetricFamily,
};

use super::labels::{CallResult, ConnectionRefusal, RedisValue, RenewalResult};
use crate::failure::{LimitKind, RefusedBy};

/// A hit takes a few microseconds, and a miss takes about a hundred milliseconds for each page. A request waits for its
/// flight for at most `server.wait`, which is 12 s by default.
const REQUEST_BUCKETS: [f64; 19] = [
    1e-6, 2.5e-6, 5e-6, 10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 1e-3, 5e-3, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 20.0,
];
/// 25 ms × 2^n, up to 12.8 s. Zoom responds in about 100 ms, and `zoom.request_timeout` bounds the wait.
const CALL_BUCKETS: Buckets = Buckets { first: 0.025, factor: 2.0, count: 10 };
const FLIGHT_BUCKETS: Buckets = Buckets { first: 0.05, factor: 2.0, count: 12 };
const WAIT_BUCKETS: Buckets = Buckets { first: 0.001, factor: 4.0, count: 8 };
/// 1 s × 4^n, up to three days. By default, a settled past meeting is served for about a day, and for another hour if
/// Zoom fails.
const AGE_BUCKETS: Buckets = Buckets { first: 1.0, factor: 4.0, count: 10 };
const PAGE_BUCKETS: Buckets = Buckets { first: 1.0, factor: 2.0, count: 9 };

struct Buckets {
    first: f64,
    factor: f64,
    count: usize,
}

/// Makes a metric of one of the types of the `prometheus` crate.
macro_rules! metric {
    (Histogram, $name:literal, $help:literal, $buckets:expr) => {{
        let Buckets { first, factor, count } = $buckets;
        let buckets = prometheus::exponential_buckets(first, factor, count)?;
        Histogram::with_opts(HistogramOpts::new($name, $help).buckets(buckets))
    }};
    (HistogramVec, $name:literal, $help:literal, $labels:expr) => {
        HistogramVec::new(HistogramOpts::new($name, $help).buckets(REQUEST_BUCKETS.to_vec()), $labels)
    };
    ($labelled:ident, $name:literal, $help:literal, $labels:expr) => {
        $labelled::new(Opts::new($name, $help), $labels)
    };
    ($plain:ident, $name:literal, $help:literal) => {
        $plain::new($name, $help)
    };
}

/// Declares [`Metrics`]. Each metric has a field, a type, a name, a help text, and labels or buckets if its type needs
/// them.
macro_rules! metrics {
    ($($field:ident: $type:ident = $name:literal, $help:literal $(, $extra:expr)?;)*) => {
        /// Every metric of the service.
        pub struct Metrics {
            registry: Registry,
            /// `process_*`: memory, CPU time, open files. These metrics have no prefix.
            process: Registry,
            redis_is_shown: Once,
            $(pub(crate) $field: $type,)*
        }

        impl Metrics {
            fn try_new() -> prometheus::Result<Self> {
                let registry = Registry::new_custom(Some("zoom_qos_proxy".to_owned()), None)?;
                $(let $field = metric!($type, $name, $help $(, $extra)?)?;)*
                $(if !REDIS_ONLY.contains(&$name) {
                    registry.register(Box::new($field.clone()))?;
                })*
                let process = Registry::new();
                process.register(Box::new(ProcessCollector::for_self()))?;
                Ok(Self { registry, process, redis_is_shown: Once::new(), $($field,)* })
            }
        }
    };
}

/// The metrics that appear only with Redis.
const REDIS_ONLY: [&str; 2] = ["redis_up", "redis_values_rejected_total"];

metrics! {
    requests: IntCounterVec =
        "requests_total", "Requests for meetings, including refused ones", &["outcome", "status"];
    request_duration: HistogramVec =
        "request_duration_seconds", "Time to answer a request for a meeting", &["outcome"];
    refusals: IntCounterVec =
        "refusals_total", "Requests for meetings refused by a limit or for the credentials, even if served stale", &["by"];
    stale_answers: IntCounterVec =
        "stale_answers_total", "Answers from a stale snapshot, by the detail of their Cache-Status", &["detail"];
    zoom_calls: IntCounterVec = "zoom_calls_total", "Calls to Zoom's QoS endpoint", &["result"];
    zoom_call_duration: Histogram =
        "zoom_call_duration_seconds", "Time from sending a call to the last byte of its response", CALL_BUCKETS;
    permit_wait: Histogram =
        "permit_wait_seconds", "Time from asking for a permit to getting it", WAIT_BUCKETS;
    permits_queued: IntGauge = "permits_queued", "Calls waiting for a permit";
    second_calls_limit: IntGauge = "second_calls_limit", "Calls permitted in any second";
    day_calls_used: IntGauge = "day_calls_used", "Calls made since 00:00 UTC";
    day_calls_limit: IntGauge = "day_calls_limit", "Calls permitted in a UTC day";
    day_calls_forecast: Gauge = "day_calls_forecast", "Calls of the whole UTC day at the present rate";
    live_fresh_stretch: Gauge =
        "live_fresh_stretch", "How many times cache.live_fresh live snapshots stay fresh, averaged over calls";
    flights_active: IntGauge = "flights_active", "Meetings being fetched";
    fetch_bytes: IntGauge = "fetch_bytes", "Memory of meetings being fetched";
    flight_duration: Histogram =
        "flight_duration_seconds", "Time to fetch a whole meeting, or to fail", FLIGHT_BUCKETS;
    flight_pages: Histogram = "flight_pages", "Pages of a fetched meeting", PAGE_BUCKETS;
    cache_entries: IntGauge = "cache_entries", "Cached snapshots and failures";
    cache_bytes: IntGauge = "cache_bytes", "Memory of the cache";
    cache_evictions: IntCounter = "cache_evictions_total", "Entries evicted because the cache was full";
    snapshot_age: Histogram = "snapshot_age_seconds", "Age of a snapshot when it was served", AGE_BUCKETS;
    calls_saved: IntCounter = "calls_saved_total", "Zoom calls saved by the cache and by shared flights";
    access_token_renewals: IntCounterVec =
        "access_token_renewals_total", "Attempts to get an access token", &["result"];
    values_unparsed: IntCounterVec = "values_unparsed_total", "Values passed on as Zoom wrote them", &["field"];
    cooldown_active: IntGaugeVec = "cooldown_active", "1 while a 429 of this kind stops all calls", &["kind"];
    caller_calls: IntCounterVec =
        "caller_calls_total", "Calls to Zoom's QoS endpoint for a caller of the callers' file", &["caller"];
    caller_refusals: IntCounterVec =
        "caller_refusals_total", "Requests refused because of a limit of the caller", &["caller"];
    caller_day_calls_used: IntGaugeVec =
        "caller_day_calls_used", "Calls for a caller since 00:00 UTC", &["caller"];
    caller_day_calls_reserved: GaugeVec =
        "caller_day_calls_reserved", "Calls of the day that are still reserved to a caller", &["caller"];
    caller_day_calls_share: GaugeVec =
        "caller_day_calls_share", "A caller's part of the day's permitted calls by weight", &["caller"];
    callers_file_ok: IntGauge =
        "callers_file_ok", "0 while the callers' file is invalid and an older list is in use";
    issuer_keys: IntGaugeVec =
        "issuer_keys", "Keys of an issuer of the callers' file that can verify tokens", &["issuer"];
    caller_permits_queued: IntGaugeVec =
        "caller_permits_queued", "Calls of one caller waiting for a permit", &["caller"];
    caller_oldest_wait: GaugeVec =
        "caller_oldest_wait_seconds", "How long the caller's oldest call has waited for a permit; 0 if none waits", &["caller"];
    credentials_ok: IntGauge = "credentials_ok", "0 while Zoom refuses the credentials";
    state_file_ok: IntGauge = "state_file_ok", "0 while limits.state_file cannot be written";
    log_lines_dropped: IntCounter =
        "log_lines_dropped_total", "Log lines lost because the output was too slow, full or closed";
    connections: IntGaugeVec = "connections", "Open connections", &["listener"];
    connections_refused: IntCounterVec =
        "connections_refused_total", "Connections closed because of their peer", &["reason"];
    redis_up: IntGauge = "redis_up", "1 while Redis is in use";
    redis_values_rejected: IntCounterVec =
        "redis_values_rejected_total", "Values read from Redis that are out of bounds and were ignored", &["kind"];
    build_info: IntGaugeVec = "build_info", "The running version", &["version"];
}

impl Metrics {
    /// Sets gauges that are not 0 at the start, unless another module sets them. Adds a counter with the value 0 for each
    /// value of a label, because a rate misses the first event if there is no sample before it.
    ///
    /// Three counters appear only with their first event. For `requests_total`, most pairs of outcome and status cannot
    /// occur. For `stale_answers_total` and `values_unparsed_total`, the values of the labels are defined in `http` and
    /// `clean`, which this module does not import. `caller_calls_total` and `caller_refusals_total` are added when the
    /// callers are known.
    fn initialize(&self) {
        self.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        self.live_fresh_stretch.set(1.0);
        self.credentials_ok.set(1);
        self.state_file_ok.set(1);
        for kind in [LimitKind::PerSecond, LimitKind::PerDay] {
            self.set_cooldown_active(kind, false);
        }
        for by in RefusedBy::ALL {
            self.refusals.with_label_values(&[by.as_str()]).inc_by(0);
        }
        for kind in RedisValue::ALL {
            self.redis_values_rejected(kind, 0);
        }
        for reason in ConnectionRefusal::ALL {
            self.connections_refused.with_label_values(&[reason.as_str()]).inc_by(0);
        }
        for result in RenewalResult::ALL {
            self.access_token_renewals.with_label_values(&[result.as_str()]).inc_by(0);
        }
        for result in CallResult::all() {
            self.zoom_calls.with_label_values(&[result.as_str()]).inc_by(0);
        }
    }

    pub(super) fn show_redis(&self) {
        self.redis_is_shown.call_once(|| {
            // Registering fails only for duplicates, and this runs once.
            drop(self.registry.register(Box::new(self.redis_up.clone())));
            drop(self.registry.register(Box::new(self.redis_values_rejected.clone())));
        });
    }

    pub(super) fn gather(&self) -> Vec<MetricFamily> {
        let mut families = self.registry.gather();
        families.append(&mut self.process.gather());
        families
    }
}

impl Default for Metrics {
    #[expect(clippy::expect_used, reason = "at start, and only if the table has a name twice")]
    fn default() -> Self {
        let metrics = Self::try_new().expect("every metric has a name of its own");
        metrics.initialize();
        metrics
    }
}
