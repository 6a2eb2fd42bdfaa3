//! Reads the sections: applies the rule of each key, checks keys that depend on each other, and fills the struct of
//! each part.
//!
//! Every function reads all its keys before it returns, so that their problems are reported together.

use std::{net::SocketAddr, time::Duration};

use super::{
    egress,
    problem::Origin,
    reader::Reader,
    rules::{
        address::{base_url, is_unencrypted, trimmed_base_url},
        quantity::{integer, summary_limit},
        text::{boolean, choice, log_filter},
    },
};
use crate::{
    cache::{CacheConfig, CachePolicy},
    egress::{EnvironmentProxies, MoreRoots},
    server::{ServerConfig, Timeouts},
    snapshot::FreshnessConfig,
    telemetry::{LogFormat, TelemetryConfig},
    trace::TraceConfig,
    view::summary::{SummaryLimit, SummaryLimits},
    zoom::ZoomConfig,
};

/// The maximum of `server.max_connections`. A larger number is probably a typo: by default, Linux lets a process open
/// about a million files (`fs.nr_open`).
const MAX_CONNECTIONS: u32 = 1_000_000;
/// The maximum of `server.workers`. A larger number is probably a typo.
const MAX_WORKERS: u32 = 1024;

/// Reads `[server]` except `wait`.
pub(super) fn server(reader: &mut Reader) -> ServerConfig {
    let config = ServerConfig {
        listen: reader.address("server.listen"),
        ops_listen: reader.address("server.ops_listen"),
        workers: workers(reader),
        drain_delay: reader.duration("server.drain_delay"),
        shutdown_timeout: reader.positive_duration("server.shutdown_timeout"),
        max_connections: reader.integer("server.max_connections", &(1..=MAX_CONNECTIONS)),
        timeouts: Timeouts {
            head: reader.positive_duration("server.head_timeout"),
            idle: reader.positive_duration("server.idle_timeout"),
            write: reader.positive_duration("server.write_timeout"),
        },
    };
    let (listen, ops_listen) = (config.listen, config.ops_listen);
    if collide(listen, ops_listen) {
        let origin = origin_in_parentheses(reader, "server.listen");
        let message = format!(
            "{ops_listen} collides with server.listen, {listen}{origin}; give one of them another port"
        );
        reader.reject("server.ops_listen", message);
    }
    config
}

fn workers(reader: &mut Reader) -> usize {
    const KEY: &str = "server.workers";
    let set = reader.optional(KEY, |raw| integer(raw, &(1..=MAX_WORKERS)));
    set.and_then(|count| usize::try_from(count).ok()).unwrap_or_else(|| {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        reader.display(KEY, &cpus.to_string(), "the CPUs available to this process");
        cpus
    })
}

/// Returns whether the addresses overlap within IPv4 or within IPv6. Port 0 means any free port, so it never collides.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let overlap =
        one.is_ipv4() == other.is_ipv4() && (one.ip().is_unspecified() || other.ip().is_unspecified());
    one.port() == other.port() && one.port() != 0 && (one.ip() == other.ip() || overlap)
}

/// An example of a base URL for messages.
const ZOOM: &str = "https://api.zoom.us/v2";

pub(super) fn zoom(
    reader: &mut Reader,
    proxies: &EnvironmentProxies,
    roots: &MoreRoots,
) -> Option<ZoomConfig> {
    let api_base_url = reader.required("zoom.api_base_url", |raw| trimmed_base_url(raw, ZOOM));
    let oauth_url = reader.required("zoom.oauth_url", |raw| base_url(raw, ZOOM));
    let account_id = reader.secret("zoom.account_id", "zoom.account_id_file");
    let client_id = reader.secret("zoom.client_id", "zoom.client_id_file");
    let client_secret = reader.secret("zoom.client_secret", "zoom.client_secret_file");
    let connect_timeout = reader.positive_duration("zoom.connect_timeout");
    let request_timeout = reader.positive_duration("zoom.request_timeout");
    let max_body = reader.size("zoom.max_body");
    let [api_proxy, oauth_proxy] =
        egress::zoom_proxies(reader, proxies, [api_base_url.as_ref(), oauth_url.as_ref()]);
    let more_roots = egress::zoom_roots(reader, roots);
    for (key, url) in [("zoom.api_base_url", &api_base_url), ("zoom.oauth_url", &oauth_url)] {
        if url.as_ref().is_some_and(is_unencrypted) {
            reader.warn(key, "http sends secrets unencrypted to another machine; use https");
        }
    }
    // Only an empty path is reported. Any other path may be intended, because a gateway may use it.
    if api_base_url.as_ref().is_some_and(|url| url.path().trim_matches('/').is_empty()) {
        let message = format!("has no path: Zoom's API is below /v2; write one like \"{ZOOM}\"");
        reader.warn("zoom.api_base_url", message);
    }
    check_connect_timeout(reader, connect_timeout, request_timeout);
    Some(ZoomConfig {
        api_base_url: api_base_url?,
        oauth_url: oauth_url?,
        account_id: account_id?,
        client_id: client_id?,
        client_secret: client_secret?,
        connect_timeout,
        request_timeout,
        max_body,
        api_proxy,
        oauth_proxy,
        more_roots,
    })
}

/// Rejects a `connect_timeout` that is set and longer than `request_timeout`. If `connect_timeout` is the default, a
/// shorter `request_timeout` is no contradiction, because `request_timeout` also bounds the time for connecting.
fn check_connect_timeout(reader: &mut Reader, connect: Duration, request: Duration) {
    // 0 stands for a value that has already been rejected.
    if connect > request
        && !request.is_zero()
        && reader.origin("zoom.connect_timeout") != Some(Origin::Default)
    {
        let origin = origin_in_parentheses(reader, "zoom.request_timeout");
        let (connect, request) = (humantime::format_duration(connect), humantime::format_duration(request));
        let message = format!("{connect} is longer than zoom.request_timeout, {request}{origin}; shorten it");
        reader.reject("zoom.connect_timeout", message);
    }
}

fn origin_in_parentheses(reader: &Reader, key: &str) -> String {
    reader.origin(key).map(|origin| format!(" ({origin})")).unwrap_or_default()
}

/// Reads the keys of `[cache]` about its size, cached failures and stale responses.
pub(super) fn cache(reader: &mut Reader) -> CacheConfig {
    CacheConfig {
        max_bytes: u64::try_from(reader.size("cache.max_bytes")).unwrap_or(u64::MAX),
        not_found_live: reader.duration("cache.not_found_live"),
        not_found_past: reader.duration("cache.not_found_past"),
        refusal: reader.duration("cache.refusal"),
        policy: CachePolicy {
            while_revalidate: reader.duration("cache.stale_while_revalidate"),
            if_error: reader.duration("cache.stale_if_error"),
            refresh_floor: reader.duration("cache.refresh_floor"),
        },
    }
}

/// Reads the keys of `[cache]` about the freshness of snapshots.
pub(super) fn freshness(reader: &mut Reader) -> FreshnessConfig {
    FreshnessConfig {
        live_fresh: reader.positive_duration("cache.live_fresh"),
        empty_live_fresh: reader.duration("cache.not_found_live"),
        past_fresh: reader.positive_duration("cache.past_fresh"),
        past_by_number_fresh: reader.positive_duration("cache.past_by_number_fresh"),
        settle: reader.duration("cache.settle"),
    }
}

pub(super) fn summary(reader: &mut Reader) -> SummaryLimits {
    let mut limits = SummaryLimits::default();
    for limit in SummaryLimit::ALL {
        let key = match limit {
            SummaryLimit::Latency => "summary.latency_ms",
            SummaryLimit::Jitter => "summary.jitter_ms",
            SummaryLimit::Loss => "summary.loss_percent",
            SummaryLimit::Cpu => "summary.cpu_percent",
        };
        limits.set(limit, reader.required(key, |raw| summary_limit(raw, limit)).unwrap_or_default());
    }
    limits
}

/// Reads `[telemetry]` except `otlp_endpoint`.
pub(super) fn telemetry(reader: &mut Reader) -> TelemetryConfig {
    let formats = [("json", LogFormat::Json), ("text", LogFormat::Text)];
    let log_format = reader.required("telemetry.log_format", |raw| choice(raw, &formats));
    let log_level = reader.required("telemetry.log_level", log_filter);
    let log_meeting_ids = reader.required("telemetry.log_meeting_ids", boolean);
    // Wrong values were reported, so these defaults are never used.
    TelemetryConfig {
        log_format: log_format.unwrap_or(LogFormat::Json),
        log_level: log_level.unwrap_or_default(),
        log_meeting_ids: log_meeting_ids.unwrap_or_default(),
    }
}

/// Reads `telemetry.otlp_endpoint`. Spans contain no secrets, so http to another machine needs no warning.
pub(super) fn trace(reader: &mut Reader, proxies: &EnvironmentProxies, more_roots: MoreRoots) -> TraceConfig {
    let otlp_endpoint =
        reader.optional("telemetry.otlp_endpoint", |raw| trimmed_base_url(raw, "http://otel-collector:4318"));
    let proxy = otlp_endpoint.as_ref().and_then(|url| proxies.proxy_for(url)).cloned();
    TraceConfig { otlp_endpoint, proxy, more_roots }
}
