//! What is counted: one registry of our own, in the Prometheus text format, and beside it what every program tells of its process.
//!
//! No label is built from input: every label's values are listed in `metrics/labels.rs`, but for the names of callers,
//! which come from the validated callers' file.

mod labels;

use std::{sync::Once, time::Duration};

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder, core::Collector, process_collector::ProcessCollector,
};

use labels::status_text;
pub use labels::{CallResult, Cause, ConnectionRefusal, Outcome, RedisValue, RenewalResult};

use crate::failure::{LimitKind, RefusedBy};

/// A hit takes some microseconds, a miss some hundred milliseconds for each page, and no request more than
/// `server.wait`, 12 s unless configured.
const REQUEST_BUCKETS: [f64; 19] = [
    1e-6, 2.5e-6, 5e-6, 10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 1e-3, 5e-3, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 20.0,
];

/// Every metric of the service.
pub struct Metrics {
    registry: Registry,
    /// `process_*`: memory, processor time, open files; under the names that they have everywhere.
    process: Registry,
    requests: IntCounterVec,
    request_duration: HistogramVec,
    refusals: IntCounterVec,
    stale_answers: IntCounterVec,
    zoom_calls: IntCounterVec,
    /// From sending a call to the last byte of its answer, in seconds.
    pub zoom_call_duration: Histogram,
    /// From asking for a permit to having it, in seconds.
    pub permit_wait: Histogram,
    /// Calls waiting for a permit.
    pub permits_queued: IntGauge,
    /// Calls permitted in any second.
    pub second_calls_limit: IntGauge,
    /// Calls made since 00:00 UTC.
    pub day_calls_used: IntGauge,
    /// Calls permitted in a UTC day.
    pub day_calls_limit: IntGauge,
    /// Calls that the day will have seen at 00:00 UTC, at the present pace.
    pub day_calls_forecast: Gauge,
    /// How many times `cache.live_fresh` live snapshots stay fresh.
    pub live_fresh_stretch: Gauge,
    /// Flights under way.
    pub flights_active: IntGauge,
    /// Bytes of all meetings being fetched.
    pub fetch_bytes: IntGauge,
    /// From take-off to landing, failed ones too, in seconds.
    pub flight_duration: Histogram,
    /// Pages of a landed flight.
    pub flight_pages: Histogram,
    /// Entries in the cache.
    pub cache_entries: IntGauge,
    /// Bytes in the cache.
    pub cache_bytes: IntGauge,
    /// Entries pushed out by the bound.
    pub cache_evictions: IntCounter,
    /// Age of a snapshot when served, in seconds.
    pub snapshot_age: Histogram,
    /// Zoom calls that hits and waits for a flight made unnecessary.
    pub calls_saved: IntCounter,
    renewals: IntCounterVec,
    unparsed: IntCounterVec,
    cooldown: IntGaugeVec,
    caller_calls: IntCounterVec,
    /// 0 while the callers' file is broken, and an older list in use.
    pub callers_file_ok: IntGauge,
    caller_permits_queued: IntGaugeVec,
    caller_oldest_wait: GaugeVec,
    /// 0 while Zoom refuses the credentials.
    pub credentials_ok: IntGauge,
    /// 0 while the day's count cannot be written.
    pub state_file_ok: IntGauge,
    /// Log lines lost because the writer could not keep up.
    pub log_lines_dropped: IntCounter,
    connections: IntGaugeVec,
    connections_refused: IntCounterVec,
    redis_up: IntGauge,
    redis_values_rejected: IntCounterVec,
    redis_is_used: Once,
    build_info: IntGauge,
}

impl Metrics {
    /// Counts a `/qos` request and its duration.
    pub fn request(&self, outcome: Outcome, status: u16, duration: Duration) {
        self.requests.with_label_values(&[outcome.as_str(), status_text(status)]).inc();
        self.request_duration.with_label_values(&[outcome.as_str()]).observe(duration.as_secs_f64());
    }

    /// Counts a `/qos` request that was turned down, or answered with a stale snapshot instead.
    pub fn refusal(&self, by: RefusedBy) {
        self.refusals.with_label_values(&[by.as_str()]).inc();
    }

    /// Counts an answer from a snapshot that was not fresh. `detail` is the word of `Cache-Status`: `revalidating`, or
    /// the code of a problem.
    pub fn stale_answer(&self, detail: &'static str) {
        self.stale_answers.with_label_values(&[detail]).inc();
    }

    /// Open connections of this listener: `callers` or `ops`.
    #[must_use]
    pub fn connections(&self, listener: &'static str) -> IntGauge {
        self.connections.with_label_values(&[listener])
    }

    /// Counts a connection that was ended for what its peer did.
    pub fn connection_refused(&self, reason: ConnectionRefusal) {
        self.connections_refused.with_label_values(&[reason.as_str()]).inc();
    }

    /// Counts a call to Zoom.
    pub fn zoom_call(&self, result: CallResult) {
        self.zoom_calls.with_label_values(&[result.as_str()]).inc();
    }

    /// Shows whether Redis is in use. Not there before: without Redis there is nothing to show.
    pub fn redis_up(&self, up: bool) {
        self.redis_up.set(i64::from(up));
        self.redis_is_used.call_once(|| {
            // The names that the list below leaves out.
            drop(self.registry.register(Box::new(self.redis_up.clone())));
            drop(self.registry.register(Box::new(self.redis_values_rejected.clone())));
        });
    }

    /// Counts what was read from Redis and counts as not there.
    pub fn redis_values_rejected(&self, kind: RedisValue, values: u64) {
        self.redis_values_rejected.with_label_values(&[kind.as_str()]).inc_by(values);
    }

    /// Counts an attempt to get an access token.
    pub fn renewal(&self, result: RenewalResult) {
        self.renewals.with_label_values(&[result.as_str()]).inc();
    }

    /// Counts values whose text was passed on unparsed. `field` is one of a fixed list, not Zoom's text.
    pub fn unparsed(&self, field: &'static str, count: u64) {
        self.unparsed.with_label_values(&[field]).inc_by(count);
    }

    /// Shows whether a limit is cooling down.
    pub fn cooldown(&self, kind: LimitKind, active: bool) {
        self.cooldown.with_label_values(&[kind.as_str()]).set(i64::from(active));
    }

    /// Counts a call to Zoom for the caller whose request started the flight. `name` is a caller's of the callers' file.
    pub fn caller_call(&self, name: &str) {
        self.caller_calls.with_label_values(&[name]).inc();
    }

    /// Shows a caller's calls from the first one on: a rate needs the 0 before it.
    pub fn caller_is_known(&self, name: &str) {
        self.caller_calls.with_label_values(&[name]).inc_by(0);
    }

    /// Shows what each caller has in the queue, and of no other: a name and its calls that wait, and for how long the
    /// oldest has. As of the moment, so to be called when somebody looks.
    pub fn show_queues<'a>(&self, callers: impl Iterator<Item = (&'a str, usize, Duration)>) {
        // Who is no longer in the callers' file goes.
        self.caller_permits_queued.reset();
        self.caller_oldest_wait.reset();
        for (name, waiting, oldest) in callers {
            let waiting = i64::try_from(waiting).unwrap_or(i64::MAX);
            self.caller_permits_queued.with_label_values(&[name]).set(waiting);
            self.caller_oldest_wait.with_label_values(&[name]).set(oldest.as_secs_f64());
        }
    }

    /// All of it as Prometheus text, or `None` if it cannot be written.
    #[must_use]
    pub fn exposition(&self) -> Option<String> {
        let mut families = self.registry.gather();
        families.append(&mut self.process.gather());
        TextEncoder::new().encode_to_string(&families).ok()
    }

    /// # Errors
    /// Only for a name that is wrong or used twice, which the first test that makes `Metrics` would show.
    #[expect(clippy::too_many_lines, reason = "one list of all there are")]
    fn try_new() -> prometheus::Result<Self> {
        let new = Registrar(Registry::new_custom(Some("zoom_qos_proxy".to_owned()), None)?);
        // Zoom answers in some 100 ms and is cut off at `zoom.request_timeout`: 25 ms x 2^n reaches 12.8 s.
        let call_buckets = prometheus::exponential_buckets(0.025, 2.0, 10)?;
        let flight_buckets = prometheus::exponential_buckets(0.05, 2.0, 12)?;
        let wait_buckets = prometheus::exponential_buckets(0.001, 4.0, 8)?;
        // A settled past meeting serves for a day and, where Zoom fails, an hour more: 1 s x 4^9 is three days.
        let age_buckets = prometheus::exponential_buckets(1.0, 4.0, 10)?;
        let page_buckets = prometheus::exponential_buckets(1.0, 2.0, 9)?;
        let request_duration =
            HistogramOpts::new("request_duration_seconds", "Time to answer a request for /qos")
                .buckets(REQUEST_BUCKETS.to_vec());
        let build =
            Opts::new("build_info", "The running version").const_label("version", env!("CARGO_PKG_VERSION"));
        let metrics = Self {
            requests: new.counters(
                "requests_total",
                "Requests for /qos, refused ones too",
                &["outcome", "status"],
            )?,
            request_duration: new.keep(HistogramVec::new(request_duration, &["outcome"])?)?,
            refusals: new.counters(
                "refusals_total",
                "Requests for /qos refused by a limit or for the credentials, stale answers instead included",
                &["by"],
            )?,
            stale_answers: new.counters(
                "stale_answers_total",
                "Answers from a snapshot that was not fresh, by the detail of their Cache-Status",
                &["detail"],
            )?,
            zoom_calls: new.counters("zoom_calls_total", "Calls to the QoS endpoint of Zoom", &["result"])?,
            zoom_call_duration: new.histogram(
                "zoom_call_duration_seconds",
                "Time from sending a call to the last byte of its answer",
                call_buckets,
            )?,
            permit_wait: new.histogram(
                "permit_wait_seconds",
                "Time from asking for a permit to having it",
                wait_buckets,
            )?,
            permits_queued: new.gauge("permits_queued", "Calls that wait for a permit")?,
            second_calls_limit: new.gauge("second_calls_limit", "Calls permitted in any second")?,
            day_calls_used: new.gauge("day_calls_used", "Calls made since 00:00 UTC")?,
            day_calls_limit: new.gauge("day_calls_limit", "Calls permitted in a UTC day")?,
            day_calls_forecast: new
                .keep(Gauge::new("day_calls_forecast", "Calls of the whole UTC day at the present pace")?)?,
            live_fresh_stretch: new.keep(Gauge::new(
                "live_fresh_stretch",
                "How many times cache.live_fresh live snapshots stay fresh, the mean by calls",
            )?)?,
            flights_active: new.gauge("flights_active", "Meetings being fetched")?,
            fetch_bytes: new.gauge("fetch_bytes", "Memory of meetings being fetched")?,
            flight_duration: new.histogram(
                "flight_duration_seconds",
                "Time to fetch a whole meeting, or to fail",
                flight_buckets,
            )?,
            flight_pages: new.histogram("flight_pages", "Pages of a fetched meeting", page_buckets)?,
            cache_entries: new.gauge("cache_entries", "Snapshots and refusals remembered")?,
            cache_bytes: new.gauge("cache_bytes", "Memory of what is remembered")?,
            cache_evictions: new
                .counter("cache_evictions_total", "Entries pushed out because the cache was full")?,
            snapshot_age: new.histogram(
                "snapshot_age_seconds",
                "Age of a snapshot when it was served",
                age_buckets,
            )?,
            calls_saved: new.counter(
                "calls_saved_total",
                "Zoom calls that the cache and shared flights made unnecessary",
            )?,
            renewals: new.counters(
                "access_token_renewals_total",
                "Attempts to get an access token",
                &["result"],
            )?,
            unparsed: new.counters(
                "values_unparsed_total",
                "Values passed on as Zoom wrote them",
                &["field"],
            )?,
            cooldown: new.gauges(
                "cooldown_active",
                "1 while a 429 of this kind stops all calls",
                &["kind"],
            )?,
            caller_calls: new.counters(
                "caller_calls_total",
                "Calls to the QoS endpoint of Zoom for a caller of the callers' file",
                &["caller"],
            )?,
            callers_file_ok: new
                .gauge("callers_file_ok", "0 while the callers' file is broken and an older list in use")?,
            caller_permits_queued: new.gauges(
                "caller_permits_queued",
                "Calls that wait for a permit, of one caller",
                &["caller"],
            )?,
            caller_oldest_wait: new.keep(GaugeVec::new(
                Opts::new(
                    "caller_oldest_wait_seconds",
                    "For how long the caller's oldest call has waited for a permit; 0 when none waits",
                ),
                &["caller"],
            )?)?,
            credentials_ok: new.gauge("credentials_ok", "0 while Zoom refuses the credentials")?,
            state_file_ok: new.gauge("state_file_ok", "0 while limits.state_file cannot be written")?,
            log_lines_dropped: new.counter(
                "log_lines_dropped_total",
                "Log lines lost: the output was too slow, full or closed",
            )?,
            connections: new.gauges("connections", "Open connections", &["listener"])?,
            connections_refused: new.counters(
                "connections_refused_total",
                "Connections ended for what their peer did",
                &["reason"],
            )?,
            redis_up: IntGauge::new("redis_up", "1 while Redis is in use")?,
            redis_values_rejected: IntCounterVec::new(
                Opts::new(
                    "redis_values_rejected_total",
                    "Values read from Redis that are out of bounds and count as not there",
                ),
                &["kind"],
            )?,
            redis_is_used: Once::new(),
            build_info: new.keep(IntGauge::with_opts(build)?)?,
            registry: new.0,
            process: Registry::new(),
        };
        metrics.process.register(Box::new(ProcessCollector::for_self()))?;
        metrics.begin();
        Ok(metrics)
    }

    /// What is not 0 when nothing has happened yet, and what is there before it happens.
    fn begin(&self) {
        self.build_info.set(1);
        self.live_fresh_stretch.set(1.0);
        self.credentials_ok.set(1);
        self.state_file_ok.set(1);
        for kind in [LimitKind::PerSecond, LimitKind::PerDay] {
            self.cooldown(kind, false);
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
        // There from the start, or their first events would be missing in every rate.
        for result in CallResult::ALL {
            self.zoom_calls.with_label_values(&[result.as_str()]).inc_by(0);
        }
    }
}

impl Default for Metrics {
    #[expect(clippy::expect_used, reason = "at start, and only for a name given twice in the list above")]
    fn default() -> Self {
        Self::try_new().expect("every metric has a name of its own")
    }
}

/// Makes a metric and registers it in one step, so that none is forgotten.
struct Registrar(Registry);

impl Registrar {
    fn keep<C: Collector + Clone + 'static>(&self, metric: C) -> prometheus::Result<C> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.keep(IntGauge::new(name, help)?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        self.keep(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.keep(IntCounter::new(name, help)?)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
        self.keep(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn histogram(&self, name: &str, help: &str, buckets: Vec<f64>) -> prometheus::Result<Histogram> {
        self.keep(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_shown_under_its_name() {
        let metrics = Metrics::default();
        metrics.request(Outcome::Hit, 200, Duration::from_micros(40));
        metrics.zoom_call(CallResult::RateLimited);
        metrics.cooldown(LimitKind::PerDay, true);
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
