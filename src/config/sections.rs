//! The sections: which key has which rule, how keys depend on each other, and which part's configuration they fill.
//!
//! Every function reads all its keys before it returns `None`, so that every problem is reported.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::{
    egress,
    problem::Origin,
    reader::Reader,
    rules::{
        address::{BaseUrlRule, SocketAddrRule, is_unencrypted},
        quantity::{DurationRule, IntegerRule},
        text::{ChoiceRule, FilePathRule, LogFilterRule},
    },
};
use crate::{
    cache::{CacheConfig, CachePolicy},
    callers::{CallersConfig, CallersFile, Issue},
    egress::{EnvironmentProxies, MoreRoots},
    server::{ServerConfig, Timeouts},
    snapshot::FreshnessConfig,
    telemetry::{LogFormat, TelemetryConfig},
    trace::TraceConfig,
    zoom::ZoomConfig,
};

/// More than a process can open: a typo.
const MAX_CONNECTIONS: u32 = 1_000_000;
/// More threads would be a typo.
const MAX_WORKERS: u32 = 1024;

/// `[server]` without `wait`.
pub(super) fn server(reader: &mut Reader) -> Option<ServerConfig> {
    let listen = reader.required("server.listen", &SocketAddrRule);
    let ops_listen = ops_listen(reader);
    let workers = workers(reader);
    let drain_delay = reader.required("server.drain_delay", &DurationRule::OrZero);
    let shutdown_timeout = reader.required("server.shutdown_timeout", &DurationRule::Positive);
    let max_connections = reader.required("server.max_connections", &IntegerRule(1..=MAX_CONNECTIONS));
    let timeouts = timeouts(reader);
    if let (Some(listen), Some(ops_listen)) = (listen, ops_listen)
        && collide(listen, ops_listen)
    {
        let origin = origin_in_parentheses(reader, "server.listen");
        let message = format!(
            "{ops_listen} collides with server.listen, {listen}{origin}; give one of them another port"
        );
        reader.reject("server.ops_listen", message);
    }
    Some(ServerConfig {
        listen: listen?,
        ops_listen: ops_listen?,
        workers,
        drain_delay: drain_delay?,
        shutdown_timeout: shutdown_timeout?,
        max_connections: max_connections?,
        timeouts: timeouts?,
    })
}

fn timeouts(reader: &mut Reader) -> Option<Timeouts> {
    let head = reader.required("server.head_timeout", &DurationRule::Positive);
    let idle = reader.required("server.idle_timeout", &DurationRule::Positive);
    let write = reader.required("server.write_timeout", &DurationRule::Positive);
    Some(Timeouts { head: head?, idle: idle?, write: write? })
}

pub(super) fn ops_listen(reader: &mut Reader) -> Option<SocketAddr> {
    reader.required("server.ops_listen", &SocketAddrRule)
}

pub(super) fn wait(reader: &mut Reader) -> Option<Duration> {
    reader.required("server.wait", &DurationRule::Positive)
}

fn workers(reader: &mut Reader) -> usize {
    const KEY: &str = "server.workers";
    let set =
        reader.optional(KEY, &IntegerRule(1..=MAX_WORKERS)).and_then(|count| usize::try_from(count).ok());
    set.unwrap_or_else(|| {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        reader.display(KEY, &cpus.to_string(), "the CPUs available to this process");
        cpus
    })
}

/// Whether only one of the two can be listened on. Port 0 means any free port.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let overlap =
        one.is_ipv4() == other.is_ipv4() && (one.ip().is_unspecified() || other.ip().is_unspecified());
    one.port() == other.port() && one.port() != 0 && (one.ip() == other.ip() || overlap)
}

/// An example for messages.
const ZOOM: &str = "https://api.zoom.us/v2";

/// `[zoom]`.
pub(super) fn zoom(
    reader: &mut Reader,
    proxies: &EnvironmentProxies,
    roots: &MoreRoots,
) -> Option<ZoomConfig> {
    let api_base_url = reader.required("zoom.api_base_url", &BaseUrlRule { trimmed: true, example: ZOOM });
    let oauth_url = reader.required("zoom.oauth_url", &BaseUrlRule { trimmed: false, example: ZOOM });
    let account_id = reader.secret("zoom.account_id", "zoom.account_id_file");
    let client_id = reader.secret("zoom.client_id", "zoom.client_id_file");
    let client_secret = reader.secret("zoom.client_secret", "zoom.client_secret_file");
    let connect_timeout = reader.required("zoom.connect_timeout", &DurationRule::Positive);
    let request_timeout = reader.required("zoom.request_timeout", &DurationRule::Positive);
    let max_body = reader.size("zoom.max_body");
    let [api_proxy, oauth_proxy] =
        egress::zoom_proxies(reader, proxies, [api_base_url.as_ref(), oauth_url.as_ref()]);
    let more_roots = egress::zoom_roots(reader, roots);
    for (key, url) in [("zoom.api_base_url", &api_base_url), ("zoom.oauth_url", &oauth_url)] {
        if url.as_ref().is_some_and(is_unencrypted) {
            reader.warn(key, "http sends secrets unencrypted to another machine; use https");
        }
    }
    // Any other path is intended: it may be a gateway's.
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
        connect_timeout: connect_timeout?,
        request_timeout: request_timeout?,
        max_body: max_body?,
        api_proxy,
        oauth_proxy,
        more_roots,
    })
}

/// A short `request_timeout` beside the default `connect_timeout` is no contradiction: it ends the connecting, too.
fn check_connect_timeout(reader: &mut Reader, connect: Option<Duration>, request: Option<Duration>) {
    let (Some(connect), Some(request)) = (connect, request) else { return };
    if connect > request && reader.origin("zoom.connect_timeout") != Some(Origin::Default) {
        let origin = origin_in_parentheses(reader, "zoom.request_timeout");
        let (connect, request) = (humantime::format_duration(connect), humantime::format_duration(request));
        let message = format!("{connect} is longer than zoom.request_timeout, {request}{origin}; shorten it");
        reader.reject("zoom.connect_timeout", message);
    }
}

fn origin_in_parentheses(reader: &Reader, key: &str) -> String {
    reader.origin(key).map(|origin| format!(" ({origin})")).unwrap_or_default()
}

/// The keys of `[cache]` about its size, remembered failures and stale answers.
pub(super) fn cache(reader: &mut Reader) -> Option<CacheConfig> {
    let max_bytes = reader.size("cache.max_bytes");
    let not_found_live = reader.required("cache.not_found_live", &DurationRule::OrZero);
    let not_found_past = reader.required("cache.not_found_past", &DurationRule::OrZero);
    let refusal = reader.required("cache.refusal", &DurationRule::OrZero);
    let policy = cache_policy(reader);
    Some(CacheConfig {
        max_bytes: u64::try_from(max_bytes?).ok()?,
        not_found_live: not_found_live?,
        not_found_past: not_found_past?,
        refusal: refusal?,
        policy: policy?,
    })
}

/// The keys of `[cache]` about serving stale snapshots, and about fetching while one is fresh.
fn cache_policy(reader: &mut Reader) -> Option<CachePolicy> {
    let while_revalidate = reader.required("cache.stale_while_revalidate", &DurationRule::OrZero);
    let if_error = reader.required("cache.stale_if_error", &DurationRule::OrZero);
    let refresh_floor = reader.required("cache.refresh_floor", &DurationRule::OrZero);
    Some(CachePolicy {
        while_revalidate: while_revalidate?,
        if_error: if_error?,
        refresh_floor: refresh_floor?,
    })
}

/// The keys of `[cache]` about how long snapshots are fresh.
pub(super) fn freshness(reader: &mut Reader) -> Option<FreshnessConfig> {
    let live_fresh = reader.required("cache.live_fresh", &DurationRule::Positive);
    let empty_live_fresh = reader.required("cache.not_found_live", &DurationRule::OrZero);
    let past_fresh = reader.required("cache.past_fresh", &DurationRule::Positive);
    let past_by_number_fresh = reader.required("cache.past_by_number_fresh", &DurationRule::Positive);
    let settle = reader.required("cache.settle", &DurationRule::OrZero);
    Some(FreshnessConfig {
        live_fresh: live_fresh?,
        empty_live_fresh: empty_live_fresh?,
        past_fresh: past_fresh?,
        past_by_number_fresh: past_by_number_fresh?,
        settle: settle?,
    })
}

/// `callers.file`. The file need not exist.
pub(super) fn callers_path(reader: &mut Reader) -> Option<PathBuf> {
    reader.optional("callers.file", &FilePathRule)
}

/// `[callers]`. Reads the file and reports every problem in it.
pub(super) fn callers(reader: &mut Reader) -> Option<CallersConfig> {
    const KEY: &str = "callers.file";
    let path = callers_path(reader);
    if !reader.is_set(KEY) {
        return Some(CallersConfig { file: None });
    }
    let path = path?;
    match CallersFile::read(&path) {
        Ok(file) => {
            reader.annotate(KEY, &format!("callers: {}", file.count()));
            Some(CallersConfig { file: Some(file) })
        }
        Err(issues) => {
            for Issue { line, message } in issues {
                match line {
                    Some(line) => reader.reject_line(&path, line, message),
                    None => reader.reject(KEY, format!("the file {message}")),
                }
            }
            None
        }
    }
}

/// `[telemetry]` without `otlp_endpoint`.
pub(super) fn telemetry(reader: &mut Reader) -> Option<TelemetryConfig> {
    let formats = ChoiceRule(&[("json", LogFormat::Json), ("text", LogFormat::Text)]);
    let log_format = reader.required("telemetry.log_format", &formats);
    let log_level = reader.required("telemetry.log_level", &LogFilterRule);
    Some(TelemetryConfig { log_format: log_format?, log_level: log_level? })
}

/// `telemetry.otlp_endpoint`. Spans contain no secrets, so plain http to another machine needs no warning.
pub(super) fn trace(reader: &mut Reader, proxies: &EnvironmentProxies, more_roots: MoreRoots) -> TraceConfig {
    let rule = BaseUrlRule { trimmed: true, example: "http://otel-collector:4318" };
    let otlp_endpoint = reader.optional("telemetry.otlp_endpoint", &rule);
    let proxy = otlp_endpoint.as_ref().and_then(|url| proxies.proxy_for(url)).cloned();
    TraceConfig { otlp_endpoint, proxy, more_roots }
}
