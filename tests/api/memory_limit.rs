//! Scenarios that take much memory stay within the chart's memory limit.

use std::{io::Write as _, thread, time::Duration};

use flate2::{Compression, write::GzEncoder};
use test_support::{
    client::{Answer, Connection, at_once},
    raw_zoom::{RawZoom, Step, answer, page},
    service::Service,
    simulator::{incompressible_pages, sim},
    wait::wait_for,
};
use zoom_sim::{Meeting, Sim};

const MIB: u64 = 1 << 20;
const CACHE_MIB: u64 = 16;
const FETCH_MIB: u64 = 16;
/// The default of `limits.max_queued`.
const QUEUED: u64 = 1_000;
/// `limits.memory` as the chart's `_memory.tpl` computes it, without the memory for connections.
const CHART_MIB: u64 =
    (CACHE_MIB * 13).div_ceil(10) + 48 + FETCH_MIB * 9 / 4 + 2 * FETCH_MIB + (QUEUED * 32).div_ceil(1_024);
/// The memory that the chart adds for each connection, and once for the hundred connections with large buffers. Only
/// the test with many connections needs it.
const CONNECTION_KIB: u64 = 40;
const LARGE_BUFFERS_MIB: u64 = 50;
/// The tests run unoptimised code. It takes 24 MiB of resident memory instead of 10 MiB in the image: 14 MiB more,
/// rounded up.
const DEV_MIB: u64 = 16;
const LIMIT_MIB: u64 = CHART_MIB + DEV_MIB;
/// A margin for memory that `RLIMIT_DATA` counts although it is not resident: stacks, and what the allocator reserves.
const MAPPED_MIB: u64 = 96;

/// The environment variable with which the image tunes glibc's allocator.
fn allocator_settings() -> &'static str {
    let lines = include_str!("../../Dockerfile").lines();
    lines
        .filter_map(|line| line.strip_prefix("ENV "))
        .find(|line| line.starts_with("GLIBC_TUNABLES="))
        .unwrap()
}

/// Starts a service that cannot map more than `LIMIT_MIB` and `MAPPED_MIB` together. A cgroup would count only resident
/// pages, but creating one needs root.
fn start(sim: &Sim, settings: &[(&str, &str)]) -> Service {
    let (cache, fetch) = (format!("{CACHE_MIB}MiB"), format!("{FETCH_MIB}MiB"));
    let ours = [
        ("cache.max_bytes", cache.as_str()),
        ("limits.max_fetch_bytes", &fetch),
        ("limits.heavy_per_second", "5000"),
        ("limits.heavy_per_day", "1000000"),
        ("server.wait", "10s"),
        ("telemetry.log_level", "error,zoom_qos_proxy::app=info"),
    ];
    let limit = format!("--data={}", (LIMIT_MIB + MAPPED_MIB) * MIB);
    let by = ["/usr/bin/env", allocator_settings(), "/usr/bin/prlimit", &limit];
    Service::start_by(sim, &[&ours[..], settings].concat(), &by)
}

/// Asserts that the service never exceeded `LIMIT_MIB`, and still answers.
fn assert_survived(service: Service, what: &str) {
    assert_stayed_below(LIMIT_MIB, service, what);
}

fn assert_stayed_below(limit: u64, service: Service, what: &str) {
    let most = service.most_resident() / MIB;
    println!("{what}: {most} MiB at most, {} MiB now, of {limit} MiB", service.resident() / MIB);
    assert!(most <= limit, "{what}: {most} MiB of {limit} MiB");
    wait_for(|| (service.metric("zoom_qos_proxy_fetch_bytes") == 0.0).then_some(()));
    assert_eq!(service.ops_get("/healthz").status, 200);
    service.finish(&[]);
}

fn whole(answers: &[Answer]) -> usize {
    let known = |answer: &Answer| {
        answer.status == 200 || answer.status >= 500 && answer.problem() != "internal_error"
    };
    assert!(answers.iter().all(known));
    answers.iter().filter(|answer| answer.status == 200).count()
}

fn paths(count: u64) -> Vec<String> {
    (0..count).map(|number| format!("/qos/{}", 91_000_000_000 + number)).collect()
}

fn roomy() -> Sim {
    sim(|config| (config.per_second, config.per_day) = (100_000, 10_000_000))
}

#[test]
fn eight_hundred_trickling_flights_fit_the_charts_memory_limit() {
    let sim = roomy();
    let zoom = RawZoom::start(|_| {
        let bytes = answer(&page(&"x".repeat(100_000)));
        let parts = bytes.chunks(bytes.len() / 12 + 1);
        parts.flat_map(|part| [Step::Send(part.to_vec()), Step::Pause(Duration::from_millis(250))]).collect()
    });
    let service = start(&sim, &[("zoom.api_base_url", &zoom.api_base_url())]);
    let answers = at_once(service.addr, paths(800));
    println!("{} of 800", whole(&answers));
    assert_survived(service, "800 trickling flights");
}

#[test]
fn a_hundred_gzip_bombs_fit_the_charts_memory_limit() {
    let sim = roomy();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(page(&"x".repeat(60_000_000)).as_bytes()).unwrap();
    let bomb = gzip.finish().unwrap();
    println!("{} bytes on the wire", bomb.len());
    let head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length:";
    let bomb = [format!("{head} {}\r\n\r\n", bomb.len()).as_bytes(), &bomb].concat();
    let zoom = RawZoom::start(move |_| vec![Step::Send(bomb.clone())]);
    let service = start(&sim, &[("zoom.api_base_url", &zoom.api_base_url()), ("server.wait", "60s")]);
    let answers = at_once(service.addr, paths(100));
    assert_eq!(whole(&answers), 0, "each page exceeds limits.max_fetch_bytes");
    assert!(answers.iter().any(|answer| answer.problem() == "zoom_failed"));
    assert_survived(service, "a hundred gzip bombs");
}

#[test]
fn lengths_that_are_only_announced_take_no_memory() {
    let sim = roomy();
    let zoom = RawZoom::start(|_| {
        let begun = b"HTTP/1.1 200 OK\r\nContent-Length: 15000000\r\n\r\n{".to_vec();
        vec![Step::Send(begun), Step::Pause(Duration::from_secs(2)), Step::Close]
    });
    let service = start(&sim, &[("zoom.api_base_url", &zoom.api_base_url())]);
    assert_eq!(whole(&at_once(service.addr, paths(150))), 0);
    assert_survived(service, "150 lengths of 15 MB");
}

#[test]
fn twenty_incompressible_pages_fit_the_charts_memory_limit() {
    let sim = roomy();
    let id = "91000000000";
    sim.add_meeting(Meeting::raw_pages(id, incompressible_pages(id, 20, 600_000)));
    let service = start(&sim, &[]);
    println!("{} of 1", whole(&at_once(service.addr, paths(1))));
    assert_survived(service, "twenty incompressible pages");
}

#[test]
fn finishing_a_large_meeting_holds_its_codings_only_once() {
    let sim = roomy();
    let id = "91000000000";
    // The 60 MB of pages do not compress below 47 MiB. The zstd and gzip codings together take twice that.
    sim.add_meeting(Meeting::raw_pages(id, incompressible_pages(id, 20, 3_000_000)));
    let settings =
        [("limits.max_fetch_bytes", "64MiB"), ("cache.max_bytes", "256MiB"), ("server.wait", "60s")];
    let service = Service::start(&sim, &settings);
    let before = service.resident() / MIB;
    assert_eq!(service.get(&format!("/qos/{id}")).status, 200);
    let grown = service.most_resident() / MIB - before;
    println!("{grown} MiB");
    assert!(service.metric("zoom_qos_proxy_cache_bytes") > 90e6);
    assert!(grown < 170, "{grown} MiB");
    service.finish(&[]);
}

#[test]
fn an_answered_snapshot_is_freed_once_it_is_purged() {
    let sim = roomy();
    let id = "91000000000";
    sim.add_meeting(Meeting::raw_pages(id, incompressible_pages(id, 20, 3_000_000)));
    let settings = [
        ("limits.max_fetch_bytes", "64MiB"),
        ("cache.max_bytes", "256MiB"),
        ("server.wait", "60s"),
        ("server.workers", "1"),
    ];
    let service = Service::start(&sim, &settings);
    let resident = || f64::from(u32::try_from(service.resident() / MIB).unwrap());
    let metric = |name: &str| service.metric(&format!("zoom_qos_proxy_{name}"));
    let before = resident();
    assert_eq!(service.get(&format!("/qos/{id}")).status, 200);
    wait_for(|| (metric("fetch_bytes") == 0.0).then_some(()));
    // The two codings take 94 MiB. The allocator retains 20 to 60 MiB more of the flight's memory, depending on how its
    // threads interleave. So only the difference that the purge makes shows whether the codings are freed.
    let (codings, answered) = (metric("cache_bytes") / f64::from(1 << 20), resident());
    assert!(
        codings > 90.0 && answered > before + codings,
        "{codings} MiB, resident {before}, then {answered}"
    );
    service.ops_purge();
    // The memory is freed although the worker that answered gets no further request.
    wait_for(|| (resident() < answered - codings * 0.9).then_some(()));
    service.finish(&[]);
}

#[test]
fn a_backfill_of_three_hundred_meetings_fits_the_charts_memory_limit() {
    let sim = sim(|config| {
        (config.per_second, config.per_day, config.latency) = (100_000, 10_000_000, Duration::from_secs(2));
    });
    let pages = Meeting::generated("91234567890", 20, 10).pages();
    for path in paths(300) {
        sim.add_meeting(Meeting::raw_pages(path.trim_start_matches("/qos/"), pages.clone()));
    }
    let service = start(&sim, &[]);
    println!("{} of 300", whole(&at_once(service.addr, paths(300))));
    assert_survived(service, "a backfill of 300 meetings");
}

/// A response with one participant, whose name has this many random letters and digits.
fn noise(length: usize) -> Vec<u8> {
    answer(&page(&std::iter::repeat_with(fastrand::alphanumeric).take(length).collect::<String>()))
}

#[test]
fn cache_connections_and_flights_together_fit_the_charts_memory_limit() {
    const CONNECTIONS: u64 = 600;
    const CACHED: u64 = 3_000;
    const LARGE: &str = "91999999999";
    let sim = roomy();
    // Meetings whose ids begin with 91 have 1 to 20 KB, except `LARGE`, and are cached. Those that begin with 92 are
    // sent slowly, in eight parts.
    let zoom = RawZoom::start(|asked| {
        if asked.is_for(LARGE) {
            return vec![Step::Send(noise(150_000))];
        }
        if asked.is_for("/91") {
            return vec![Step::Send(noise(fastrand::usize(1_000..20_000)))];
        }
        let bytes = noise(100_000);
        let parts = bytes.chunks(bytes.len() / 8 + 1);
        parts.flat_map(|part| [Step::Send(part.to_vec()), Step::Pause(Duration::from_millis(250))]).collect()
    });
    let connections = CONNECTIONS.to_string();
    let settings =
        [("zoom.api_base_url", &*zoom.api_base_url()), ("server.max_connections", connections.as_str())];
    let service = start(&sim, &settings);
    let fill = |part: u64| {
        let mut connection = Connection::open(service.addr);
        for path in paths(CACHED).iter().skip(usize::try_from(part).unwrap()).step_by(4) {
            assert_eq!(connection.ask("GET", path).status, 200);
        }
        connection
    };
    thread::scope(|scope| {
        let parts: Vec<_> = (0..4).map(|part| scope.spawn(move || fill(part))).collect();
        for part in parts {
            part.join().unwrap();
        }
    });
    assert!(service.metric("zoom_qos_proxy_cache_evictions_total") > 0.0, "the cache is full");
    let kept: Vec<_> = (0..CONNECTIONS * 2 / 3)
        .map(|_| {
            let mut connection = Connection::open(service.addr);
            connection.send_for_gzip(&format!("/qos/{LARGE}"));
            assert_eq!(connection.receive(false).status, 200);
            connection
        })
        .collect();
    let flights = (0..CONNECTIONS / 3).map(|number| format!("/qos/{}", 92_000_000_000 + number)).collect();
    println!("{} fetched", whole(&at_once(service.addr, flights)));
    drop(kept);
    let limit = LIMIT_MIB + (CONNECTIONS * CONNECTION_KIB).div_ceil(1_024) + LARGE_BUFFERS_MIB;
    assert_stayed_below(limit, service, "all together");
}
