//! The sections: which key has which rule, what keys mean together, and which part's `Config` they fill.
//!
//! Every function reads all its keys before it gives up on one, so that every problem is noted.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::{
    egress,
    problem::Origin,
    reader::Reader,
    rules::{
        Choice, Count, Directives, FilePath, Span,
        address::{Base, Listener, is_open_to_readers},
    },
};
use crate::{
    cache::{CacheConfig, StaleConfig},
    callers::{CallersConfig, CallersFile, Issue},
    egress::{EnvironmentProxies, MoreRoots},
    server::{ServerConfig, Timeouts},
    snapshot::FreshnessConfig,
    telemetry::{LogFormat, TelemetryConfig},
    trace::TraceConfig,
    zoom::ZoomConfig,
};

/// `[server]`, but for `wait`.
pub(super) fn server(reader: &mut Reader) -> Option<ServerConfig> {
    let listen = reader.required("server.listen", &Listener);
    let ops_listen = ops_listen(reader);
    let workers = workers(reader);
    let drain_delay = reader.required("server.drain_delay", &Span::OrZero);
    let shutdown_timeout = reader.required("server.shutdown_timeout", &Span::Positive);
    let max_connections = reader.required("server.max_connections", &Count(1..=MOST_CONNECTIONS));
    let timeouts = timeouts(reader);
    if let (Some(one), Some(other), Some(at)) = (listen, ops_listen, reader.origin("server.ops_listen"))
        && collide(one, other)
    {
        let first = reader.origin("server.listen").map(|at| format!(" ({at})")).unwrap_or_default();
        let what =
            format!("{other} collides with server.listen, {one}{first}; give one of them another port");
        reader.problem("server.ops_listen", &at, what);
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

/// More than a process can have open: a slip of the hand.
const MOST_CONNECTIONS: u32 = 1_000_000;

/// When a connection is given up.
fn timeouts(reader: &mut Reader) -> Option<Timeouts> {
    let head = reader.required("server.head_timeout", &Span::Positive);
    let idle = reader.required("server.idle_timeout", &Span::Positive);
    let write = reader.required("server.write_timeout", &Span::Positive);
    Some(Timeouts { head: head?, idle: idle?, write: write? })
}

/// Where operators ask.
pub(super) fn ops_listen(reader: &mut Reader) -> Option<SocketAddr> {
    reader.required("server.ops_listen", &Listener)
}

/// The longest that a caller is kept waiting.
pub(super) fn wait(reader: &mut Reader) -> Option<Duration> {
    reader.required("server.wait", &Span::Positive)
}

/// As many as there are CPUs for us, unless set.
fn workers(reader: &mut Reader) -> usize {
    const KEY: &str = "server.workers";
    /// More threads than this is a slip of the hand.
    const MOST: u32 = 1024;
    let set = reader.optional(KEY, &Count(1..=MOST)).and_then(|count| usize::try_from(count).ok());
    set.unwrap_or_else(|| {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        reader.show_derived(KEY, &cpus.to_string(), "the CPUs available to this process");
        cpus
    })
}

/// Whether only one of the two can be listened on. Port 0 means any free one.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let overlap =
        one.is_ipv4() == other.is_ipv4() && (one.ip().is_unspecified() || other.ip().is_unspecified());
    one.port() == other.port() && one.port() != 0 && (one.ip() == other.ip() || overlap)
}

/// For a message about an address of Zoom's.
const ZOOM: &str = "https://api.zoom.us/v2";

/// `[zoom]`.
pub(super) fn zoom(
    reader: &mut Reader,
    proxies: &EnvironmentProxies,
    roots: &MoreRoots,
) -> Option<ZoomConfig> {
    let api_base_url = reader.required("zoom.api_base_url", &Base { trimmed: true, example: ZOOM });
    let oauth_url = reader.required("zoom.oauth_url", &Base { trimmed: false, example: ZOOM });
    let account_id = reader.secret("zoom.account_id", "zoom.account_id_file");
    let client_id = reader.secret("zoom.client_id", "zoom.client_id_file");
    let client_secret = reader.secret("zoom.client_secret", "zoom.client_secret_file");
    let connect_timeout = reader.required("zoom.connect_timeout", &Span::Positive);
    let request_timeout = reader.required("zoom.request_timeout", &Span::Positive);
    let max_body = reader.size("zoom.max_body");
    let [api_proxy, oauth_proxy] =
        egress::zoom_proxies(reader, proxies, [api_base_url.as_ref(), oauth_url.as_ref()]);
    let more_roots = egress::zoom_roots(reader, roots);
    for (key, url) in [("zoom.api_base_url", &api_base_url), ("zoom.oauth_url", &oauth_url)] {
        if let (Some(url), Some(at)) = (url, reader.origin(key))
            && is_open_to_readers(url)
        {
            reader.warn(key, &at, "http sends secrets unencrypted to another machine; use https".to_owned());
        }
    }
    if let (Some(url), Some(at)) = (&api_base_url, reader.origin("zoom.api_base_url"))
        // Any other path was written on purpose: a gateway's, for example.
        && url.path().trim_matches('/').is_empty()
    {
        let what = format!("has no path: Zoom's API is below /v2; write one like \"{ZOOM}\"");
        reader.warn("zoom.api_base_url", &at, what);
    }
    if let (Some(connect), Some(request), Some(at)) =
        (connect_timeout, request_timeout, reader.origin("zoom.connect_timeout"))
        && connect > request
        // A short request_timeout alone is no contradiction: it ends the connecting, too.
        && !matches!(at, Origin::Default)
    {
        let other = reader.origin("zoom.request_timeout").map(|at| format!(" ({at})")).unwrap_or_default();
        let (connect, request) = (humantime::format_duration(connect), humantime::format_duration(request));
        let what = format!("{connect} is longer than zoom.request_timeout, {request}{other}; shorten it");
        reader.problem("zoom.connect_timeout", &at, what);
    }
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

/// `[cache]`, the half that says how much and how long refusals.
pub(super) fn cache(reader: &mut Reader) -> Option<CacheConfig> {
    let max_bytes = reader.size("cache.max_bytes");
    let not_found_live = reader.required("cache.not_found_live", &Span::OrZero);
    let not_found_past = reader.required("cache.not_found_past", &Span::OrZero);
    let refusal = reader.required("cache.refusal", &Span::OrZero);
    let stale = stale(reader);
    Some(CacheConfig {
        max_bytes: u64::try_from(max_bytes?).ok()?,
        not_found_live: not_found_live?,
        not_found_past: not_found_past?,
        refusal: refusal?,
        stale: stale?,
    })
}

/// `[cache]`, the keys that say when a snapshot serves that is not fresh, or a fresh one though a caller wants a newer.
fn stale(reader: &mut Reader) -> Option<StaleConfig> {
    let while_revalidate = reader.required("cache.stale_while_revalidate", &Span::OrZero);
    let if_error = reader.required("cache.stale_if_error", &Span::OrZero);
    let refresh_floor = reader.required("cache.refresh_floor", &Span::OrZero);
    Some(StaleConfig {
        while_revalidate: while_revalidate?,
        if_error: if_error?,
        refresh_floor: refresh_floor?,
    })
}

/// `[cache]`, the half that says how long snapshots are fresh.
pub(super) fn freshness(reader: &mut Reader) -> Option<FreshnessConfig> {
    let live_fresh = reader.required("cache.live_fresh", &Span::Positive);
    let empty_live_fresh = reader.required("cache.not_found_live", &Span::OrZero);
    let past_fresh = reader.required("cache.past_fresh", &Span::Positive);
    let past_by_number_fresh = reader.required("cache.past_by_number_fresh", &Span::Positive);
    let settle = reader.required("cache.settle", &Span::OrZero);
    Some(FreshnessConfig {
        live_fresh: live_fresh?,
        empty_live_fresh: empty_live_fresh?,
        past_fresh: past_fresh?,
        past_by_number_fresh: past_by_number_fresh?,
        settle: settle?,
    })
}

/// `callers.file`, which need not be there yet.
pub(super) fn callers_path(reader: &mut Reader) -> Option<PathBuf> {
    reader.optional("callers.file", &FilePath)
}

/// `[callers]`, with all that is wrong in the file.
pub(super) fn callers(reader: &mut Reader) -> Option<CallersConfig> {
    const KEY: &str = "callers.file";
    let path = callers_path(reader);
    let Some(at) = reader.origin(KEY) else { return Some(CallersConfig { file: None }) };
    let path = path?;
    match CallersFile::read(&path) {
        Ok(file) => {
            reader.remark(KEY, &format!("callers: {}", file.count()));
            Some(CallersConfig { file: Some(file) })
        }
        Err(issues) => {
            for Issue { line, message } in issues {
                match line {
                    Some(line) => reader.problem_in_file(&path, line, message),
                    None => reader.problem(KEY, &at, format!("the file {message}")),
                }
            }
            None
        }
    }
}

/// `[telemetry]`.
pub(super) fn telemetry(reader: &mut Reader) -> Option<TelemetryConfig> {
    let formats = Choice(&[("json", LogFormat::Json), ("text", LogFormat::Text)]);
    let log_format = reader.required("telemetry.log_format", &formats);
    let log_level = reader.required("telemetry.log_level", &Directives);
    Some(TelemetryConfig { log_format: log_format?, log_level: log_level? })
}

/// The rest of `[telemetry]`. What spans say is no secret, so that http may leave the machine.
pub(super) fn trace(reader: &mut Reader, proxies: &EnvironmentProxies, more_roots: MoreRoots) -> TraceConfig {
    let endpoint = Base { trimmed: true, example: "http://otel-collector:4318" };
    let otlp_endpoint = reader.optional("telemetry.otlp_endpoint", &endpoint);
    let proxy = otlp_endpoint.as_ref().and_then(|url| proxies.of(url)).cloned();
    TraceConfig { otlp_endpoint, proxy, more_roots }
}
