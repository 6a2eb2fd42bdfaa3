//! Serves hits over sockets, with log lines, from a cache of `MEETINGS` meetings: `filled MEETINGS`.
//!
//! Listens with one worker and prints its address. There is no Zoom, so only cached meetings are served. Their numbers begin
//! at `90000000000`, and all have the same small body.
#![expect(clippy::print_stdout, reason = "prints the address")]

use std::{
    env,
    error::Error,
    ffi::OsString,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant, SystemTime},
};

use actix_web::{App, HttpServer, web::Data};
use zoom_qos_proxy::{
    cache::Cache,
    callers::Callers,
    config::Config,
    fetcher::{Dependencies, Fetcher},
    hiding::CurrentKeys,
    http::{self, AppState, Listener, TokenThread, ViewMaker},
    meeting_id::MeetingId,
    metrics::Metrics,
    quota::LocalQuota,
    snapshot::{FreshnessConfig, MeetingKind, MeetingType, Snapshot, SnapshotBuilder, SnapshotKey},
    telemetry,
    trace::Tracer,
};

const FIRST: u64 = 90_000_000_000;
const BODY: &[u8] = &[b'1'; 8];
const DAY: Duration = Duration::from_secs(86_400);

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let meetings: u64 = env::args().nth(1).ok_or("filled MEETINGS")?.parse()?;
    let secrets = ["ACCOUNT_ID", "CLIENT_ID", "CLIENT_SECRET"];
    let mut environment: Vec<(OsString, OsString)> = env::vars_os().collect();
    environment.extend(secrets.map(|key| (format!("QOS_PROXY__ZOOM__{key}").into(), "bench".into())));
    environment.push(("QOS_PROXY__CACHE__MAX_BYTES".into(), "16GiB".into()));
    let (config, _) = Config::load(&[], environment).map_err(|problems| problems.to_string())?;
    let _logs = telemetry::start(&config.telemetry).map_err(|error| error.to_string())?;
    let metrics = Arc::new(Metrics::default());
    let cache = Cache::new(config.cache, &metrics);
    for number in 0..meetings {
        if !cache.insert(snapshot(FIRST + number)?).1 {
            return Err("the cache rejects a meeting".into());
        }
    }
    cache.run_maintenance();
    if cache.entry_count() != meetings {
        return Err(format!("{} meetings are in the cache", cache.entry_count()).into());
    }
    let (callers, _watcher) = Callers::open(config.callers, config.anonymous_hide, &metrics);
    let dependencies = Dependencies {
        quota: LocalQuota::open(&config.quota, &metrics)?,
        config: config.fetcher,
        zoom: config.zoom,
        freshness: config.freshness,
        cache: cache.clone(),
        metrics: Arc::clone(&metrics),
        tracer: Tracer::default(),
        cluster: None,
        callers: callers.clone(),
    };
    // The fetcher never runs: a hit does not need it.
    let (fetcher, _launch) = Fetcher::prepare(dependencies);
    let state = Data::new(AppState {
        callers,
        cache,
        fetcher,
        metrics,
        hiding_keys: CurrentKeys::derive("bench")?,
        views: ViewMaker::new(1, Duration::from_secs(12))?,
        token_thread: TokenThread::start()?,
        summary_limits: config.summary,
        operators_key: None,
        log_meeting_ids: config.telemetry.log_meeting_ids,
        is_open_to_network: false,
        draining: AtomicBool::new(false),
        tracer: Tracer::default(),
    });
    let factory = move || App::new().configure(http::routes(Listener::Callers, &state));
    let server = HttpServer::new(factory)
        .workers(1)
        .keep_alive(Duration::from_secs(75))
        .tcp_nodelay(true)
        .bind(("127.0.0.1", 0))?;
    for address in server.addrs() {
        println!("filled listens on http://{address}");
    }
    Ok(server.run().await?)
}

fn snapshot(number: u64) -> Result<Snapshot, Box<dyn Error>> {
    let meeting = MeetingId::parse(&number.to_string())?;
    let mut builder = SnapshotBuilder::default();
    builder.begin_page().extend_from_slice(BODY);
    builder.end_page(std::slice::from_ref(&(0..BODY.len())), None);
    let key = SnapshotKey { meeting, kind: MeetingKind::Meeting, meeting_type: MeetingType::Live };
    let fresh = FreshnessConfig::always(DAY);
    Ok(builder.finish(key, &fresh, Instant::now(), SystemTime::now(), 1.0, 0)?)
}
