//! A hit in-process, without sockets: routing, id, cache, headers, metrics. Compared with a bare handler that returns the same
//! bytes.
//!
//! No subscriber is installed, so no log line is written. Run: `cargo bench --bench hit`.
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::{
    hint::black_box,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant, SystemTime},
};

use actix_rt::System;
use actix_web::{
    App, HttpResponse,
    body::to_bytes,
    http::header::{
        ACCEPT_ENCODING, AGE, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, LAST_MODIFIED, VARY,
    },
    test::{TestRequest, call_service, init_service},
    web::{self, Data},
};
use bytes::Bytes;
use divan::Bencher;
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
    trace::Tracer,
};

const MEETING: &str = "85746065432";
const BODIES: [usize; 2] = [8 * 1024, 800 * 1024];
const DAY: Duration = Duration::from_secs(86_400);

fn main() {
    divan::main();
}

fn snapshot_of(bytes: usize) -> Snapshot {
    let key = SnapshotKey {
        meeting: MeetingId::parse(MEETING).unwrap(),
        kind: MeetingKind::Meeting,
        meeting_type: MeetingType::Live,
    };
    let mut builder = SnapshotBuilder::default();
    builder.begin_page().resize(bytes, b' ');
    builder.end_page(std::slice::from_ref(&(0..bytes)), None);
    let fresh = FreshnessConfig::always(DAY);
    builder.finish(key, &fresh, Instant::now(), SystemTime::now(), 1.0, 0).unwrap()
}

fn state(bytes: usize) -> Data<AppState> {
    let secrets = ["ACCOUNT_ID", "CLIENT_ID", "CLIENT_SECRET"];
    let environment = secrets.map(|key| (format!("QOS_PROXY__ZOOM__{key}").into(), "bench".into()));
    let (config, _) = Config::load(&[], environment).unwrap();
    let metrics = Arc::new(Metrics::default());
    let cache = Cache::new(config.cache, &metrics);
    assert!(cache.insert(snapshot_of(bytes)).1);
    let (callers, _) = Callers::open(config.callers, config.anonymous_hide, &metrics);
    let dependencies = Dependencies {
        quota: LocalQuota::open(&config.quota, &metrics).unwrap(),
        config: config.fetcher,
        zoom: config.zoom,
        freshness: config.freshness,
        cluster: None,
        callers: callers.clone(),
        cache: cache.clone(),
        metrics: Arc::clone(&metrics),
        tracer: Tracer::default(),
    };
    // The fetcher never runs: a hit does not need it.
    let (fetcher, _launch) = Fetcher::prepare(dependencies);
    Data::new(AppState {
        callers,
        cache,
        fetcher,
        metrics,
        tracer: Tracer::default(),
        hiding_keys: CurrentKeys::derive("bench").unwrap(),
        views: ViewMaker::new(1, Duration::from_secs(12)).unwrap(),
        token_thread: TokenThread::start().unwrap(),
        summary_limits: config.summary,
        operators_key: None,
        log_meeting_ids: config.telemetry.log_meeting_ids,
        is_open_to_network: false,
        draining: AtomicBool::new(false),
    })
}

#[divan::bench(args = BODIES)]
fn hit(bencher: Bencher<'_, '_>, bytes: usize) {
    hit_that_accepts(bencher, bytes, "identity");
}

#[divan::bench(args = BODIES)]
fn hit_gzip(bencher: Bencher<'_, '_>, bytes: usize) {
    hit_that_accepts(bencher, bytes, "gzip");
}

fn hit_that_accepts(bencher: Bencher<'_, '_>, bytes: usize, coding: &str) {
    let system = System::new();
    let app = system.block_on(async {
        init_service(App::new().configure(http::routes(Listener::Callers, &state(bytes)))).await
    });
    let uri = format!("/qos/{MEETING}");
    bencher
        .with_inputs(|| TestRequest::get().uri(&uri).insert_header((ACCEPT_ENCODING, coding)).to_request())
        .bench_local_values(|request| {
            system.block_on(async {
                let response = call_service(&app, request).await;
                black_box(to_bytes(response.into_body()).await.ok())
            })
        });
}

#[divan::bench(args = BODIES)]
fn bare_handler_with_the_same_bytes(bencher: Bencher<'_, '_>, bytes: usize) {
    let system = System::new();
    let body: Bytes = snapshot_of(bytes).decompress().unwrap().into();
    let app = system.block_on(init_service(App::new().app_data(Data::new(body)).route(
        "/qos/{meeting_id}",
        web::get().to(|body: Data<Bytes>| async move {
            HttpResponse::Ok()
                .insert_header((CONTENT_TYPE, "application/json"))
                .insert_header((CACHE_CONTROL, "private, max-age=23"))
                .insert_header((AGE, "7"))
                .insert_header((VARY, "Accept-Encoding"))
                .insert_header((HeaderName::from_static("cache-status"), "zoom-qos-proxy; hit; ttl=23"))
                .insert_header((ETAG, "\"a81fbb83c54c94d62177647b14d41432\""))
                .insert_header((LAST_MODIFIED, "Mon, 23 Nov 2026 10:15:42 GMT"))
                .insert_header((HeaderName::from_static("x-request-id"), "3b0d5f3634cf4aa73a4ab0a0bf0fe165"))
                .body(body.get_ref().clone())
        }),
    )));
    let uri = format!("/qos/{MEETING}");
    bencher.with_inputs(|| TestRequest::get().uri(&uri).to_request()).bench_local_values(|request| {
        system.block_on(async {
            let response = call_service(&app, request).await;
            black_box(to_bytes(response.into_body()).await.ok())
        })
    });
}

#[divan::bench]
fn cache_look_up_alone(bencher: Bencher<'_, '_>) {
    let system = System::new();
    let state = system.block_on(async { state(8 * 1024) });
    let key = snapshot_of(1).key;
    bencher.bench_local(|| black_box(state.cache.get(black_box(&key), Instant::now())).is_some());
}
