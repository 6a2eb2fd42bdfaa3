//! The memory that the process really uses, rather than the bytes that its own accounting reports.

use std::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use test_support::{
    client::{Connection, at_once},
    raw_zoom::{RawZoom, Step, answer, page},
    service::Service,
    simulator::{calls_for, incompressible_pages, sim},
    wait::wait_for,
};
use zoom_sim::Meeting;

const BOUND: u64 = 32 << 20;
const MEETINGS: u64 = 50_000;
/// The bytes that everything except snapshots may take: code, threads, and the buffers of connections and flights.
const BASE: u64 = 48 << 20;
/// The bytes that 150 flights may add while they wait for their second page. When each flight had its own compressor,
/// they added 240 MiB.
const GROWTH: u64 = 60 << 20;

#[test]
fn a_meeting_over_the_fetch_limit_fails_and_the_failure_is_cached() {
    let sim = sim(|_| ());
    let id = "91111111111";
    sim.add_meeting(Meeting::raw_pages(id, incompressible_pages(id, 20, 100_000)));
    let service = Service::start(&sim, &[("limits.max_fetch_bytes", "1MiB")]);
    for _ in 0..3 {
        let answer = service.get(&format!("/qos/{id}"));
        assert_eq!((answer.status, answer.problem().as_str()), (502, "zoom_failed"));
        assert!(answer.json()["detail"].as_str().unwrap().contains("larger"));
        assert!((25..=30).contains(&answer.retry_after()));
    }
    assert!((10..=15).contains(&calls_for(&sim, id).len()), "{}", calls_for(&sim, id).len());
    assert_eq!(service.metric("zoom_qos_proxy_fetch_bytes"), 0.0, "all of it is released");
    service.finish(&["flight failed", "larger than limits.max_fetch_bytes"]);
}

#[test]
fn flights_that_do_not_fit_into_memory_together_wait_for_each_other() {
    let sim = sim(|config| (config.per_second, config.latency) = (1_000, Duration::from_millis(50)));
    let ids: Vec<_> = (0..12).map(|number| format!("{}", 91_000_000_000_u64 + number)).collect();
    for id in &ids {
        sim.add_meeting(Meeting::raw_pages(id, incompressible_pages(id, 6, 50_000)));
    }
    let settings = [("limits.max_fetch_bytes", "1MiB"), ("limits.heavy_per_second", "500")];
    let service = Service::start(&sim, &settings);
    let (most, answers) = thread::scope(|scope| {
        let paths = ids.iter().map(|id| format!("/qos/{id}")).collect();
        let asked = scope.spawn(|| at_once(service.addr, paths));
        let mut most = 0.0_f64;
        wait_for(|| {
            most = most.max(service.metric("zoom_qos_proxy_fetch_bytes"));
            asked.is_finished().then_some(())
        });
        (most, asked.join().unwrap())
    });
    println!("at most {most} bytes");
    assert!(most > 100_000.0 && most <= 1_048_576.0 + 60_000.0, "{most}");
    for answer in &answers {
        assert!(answer.status == 200 || answer.problem() == "overloaded", "{}", answer.text());
    }
    let whole = answers.iter().filter(|answer| answer.status == 200).count();
    assert!(whole >= 8, "{whole} of 12 are fetched");
    service.finish(&["limits.heavy_per_second"]);
}

#[test]
fn when_every_flight_waits_the_youngest_fails_and_the_others_complete() {
    // The three flights advance together. Each holds one page, and then there is no memory for a second page of any of
    // them.
    let sim = sim(|config| (config.per_second, config.latency) = (1_000, Duration::from_millis(300)));
    let ids: Vec<_> = (0..3).map(|number| format!("{}", 91_000_000_000_u64 + number)).collect();
    for id in &ids {
        sim.add_meeting(Meeting::raw_pages(id, incompressible_pages(id, 3, 400_000)));
    }
    let service =
        Service::start(&sim, &[("limits.max_fetch_bytes", "1MiB"), ("limits.heavy_per_second", "500")]);
    let answers = at_once(service.addr, ids.iter().map(|id| format!("/qos/{id}")).collect());
    let whole = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(whole, 2, "{:?}", answers.iter().map(|answer| answer.status).collect::<Vec<_>>());
    let refused = answers.iter().find(|answer| answer.status != 200).unwrap();
    assert_eq!((refused.problem().as_str(), refused.retry_after()), ("overloaded", 5));
    assert_eq!(service.metric("zoom_qos_proxy_flights_active"), 0.0);
    service.finish(&["limits.heavy_per_second"]);
}

#[test]
fn flights_that_wait_for_memory_are_bounded_by_max_queued() {
    let sim = sim(|config| (config.per_second, config.latency) = (1_000, Duration::from_secs(1)));
    let ids: Vec<_> = (0..100).map(|number| format!("{}", 91_000_000_000_u64 + number)).collect();
    for id in &ids {
        sim.add_meeting(Meeting::generated(id, 1, 2));
    }
    let settings = [
        ("limits.max_fetch_bytes", "1MiB"),
        ("limits.heavy_per_second", "500"),
        ("limits.max_queued", "20"),
        ("server.wait", "30s"),
    ];
    let service = Service::start(&sim, &settings);
    let answers = at_once(service.addr, ids.iter().map(|id| format!("/qos/{id}")).collect());
    let (whole, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert!(refused.iter().all(|answer| answer.problem() == "overloaded"));
    // Each flight reserves 64 KiB for its first page while its call waits for a permit. So 16 flights fit into 1 MiB,
    // and 20 more may wait.
    assert!((20..=37).contains(&whole.len()), "{} of 100 are fetched", whole.len());
    service.finish(&["limits.heavy_per_second"]);
}

/// A response of 700 KB. The first 1,000 bytes are sent in `pauses_before` pieces, and the last 1,000 in `pauses_after`
/// pieces. A pause of 700 ms follows each piece. The bytes between are sent without a pause.
fn in_three_parts(pauses_before: usize, pauses_after: usize) -> Vec<Step> {
    let bytes = answer(&page(&"x".repeat(700_000)));
    let (first, rest) = bytes.split_at(1_000);
    let (most, last) = rest.split_at(rest.len() - 1_000);
    let slowly = |bytes: &[u8], pauses: usize| {
        let pieces: Vec<_> = bytes.chunks(1_000_usize.div_ceil(pauses)).map(<[u8]>::to_vec).collect();
        pieces.into_iter().flat_map(|piece| [Step::Send(piece), Step::Pause(Duration::from_millis(700))])
    };
    let begins = slowly(first, pauses_before).chain([Step::Send(most.to_vec())]);
    begins.chain(slowly(last, pauses_after)).collect()
}

#[test]
fn waiting_for_memory_does_not_count_towards_zooms_timeouts() {
    let sim = sim(|_| ());
    let (first, others) = ("91000000000", ["91000000001", "91000000002"]);
    // A call may take six times `zoom.request_timeout`, without the time in which it waits for memory. The other two
    // calls hold the memory until they end, about 7 s after the first call started. Only then can the large part of the
    // first response be read.
    let zoom = RawZoom::start(
        move |asked| {
            if asked.is_for(first) { in_three_parts(5, 1) } else { in_three_parts(1, 7) }
        },
    );
    let settings = [
        ("zoom.api_base_url", &*zoom.api_base_url()),
        ("zoom.request_timeout", "1s"),
        ("limits.max_fetch_bytes", "1MiB"),
    ];
    let service = Service::start(&sim, &settings);
    let statuses = thread::scope(|scope| {
        let waits = scope.spawn(|| service.get(&format!("/qos/{first}")).status);
        // The third piece of the first response arrives after 1.4 s.
        wait_for(|| (service.metric("zoom_qos_proxy_fetch_bytes") > 500.0).then_some(()));
        let answers = at_once(service.addr, others.map(|id| format!("/qos/{id}")).to_vec());
        let others: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        (waits.join().unwrap(), others)
    });
    assert_eq!(statuses, (200, vec![200, 200]));
    assert_eq!(zoom.asked().len(), 3, "no page was requested twice");
    service.finish(&[]);
}

/// All flights get their first page at the same time, and then wait for their second. The test measures the memory
/// while they wait, not what the allocator retains later.
#[test]
fn flights_that_wait_for_their_next_page_take_little_memory() {
    const FLIGHTS: usize = 150;
    let (sim, answered) = (sim(|_| ()), Arc::new((Mutex::new(0), Condvar::new())));
    let rows = Meeting::generated("91234567890", 10, 10).pages().remove(0);
    let (gate, arrived) = (Arc::clone(&answered), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&arrived);
    let zoom = RawZoom::start(move |asked| {
        count.fetch_add(1, Ordering::Relaxed);
        let is_first = !asked.head[0].contains("next_page_token=");
        let (pages, changed) = &*gate;
        drop(
            changed.wait_while(pages.lock().unwrap(), |pages| *pages < if is_first { 1 } else { 2 }).unwrap(),
        );
        let token = if is_first { "second" } else { "" };
        let page = format!(r#"{{"next_page_token":"{token}","total_records":20,"participants":{rows}}}"#);
        vec![Step::Send(answer(&page))]
    });
    let answer_page = |number| {
        *answered.0.lock().unwrap() = number;
        answered.1.notify_all();
    };
    let (url, waits) = (zoom.api_base_url(), "60s");
    let settings = [
        ("zoom.api_base_url", url.as_str()),
        ("zoom.request_timeout", waits),
        ("limits.heavy_per_second", "5000"),
        ("limits.heavy_per_day", "1000000"),
    ];
    let service = Service::start(&sim, &settings);
    let (addr, all) = (service.addr, (0..FLIGHTS).map(|number| format!("/qos/{}", 91_000_000_000 + number)));
    let all = all.collect();
    let callers = thread::spawn(move || at_once(addr, all));
    wait_for(|| (arrived.load(Ordering::Relaxed) == FLIGHTS).then_some(()));
    let before = service.resident();
    answer_page(1);
    wait_for(|| (arrived.load(Ordering::Relaxed) == 2 * FLIGHTS).then_some(()));
    let grown = service.resident().saturating_sub(before);
    answer_page(2);
    callers.join().unwrap();
    println!("{} MiB for {FLIGHTS} pages that wait", grown >> 20);
    assert!(grown < GROWTH, "{} MiB", grown >> 20);
    service.finish(&["limits.", "flight failed"]);
}

#[test]
#[ignore = "takes minutes: make test-all runs it"]
fn resident_memory_stays_bounded_however_many_meetings_pass_through() {
    let sim = sim(|config| (config.per_second, config.per_day) = (1_000_000, 10_000_000));
    let settings = [
        ("cache.max_bytes", "32MiB"),
        ("limits.heavy_per_second", "100000"),
        ("limits.heavy_per_day", "10000000"),
        ("telemetry.log_level", "warn,zoom_qos_proxy::app=info"),
    ];
    // Meetings have one to seven participants, so that freed blocks do not fit new ones. Generating the pages once
    // saves time.
    let pages: Vec<_> =
        (1..=7).map(|participants| Meeting::generated("91234567890", participants, 6).pages()).collect();
    let pages = Arc::new(pages);
    let service = Arc::new(Service::start(&sim, &settings));
    let sim = Arc::new(sim);
    let callers: Vec<_> = (0..8)
        .map(|caller| {
            let (sim, service, pages) = (Arc::clone(&sim), Arc::clone(&service), Arc::clone(&pages));
            thread::spawn(move || {
                let (mut connection, mut sizes) = (Connection::open(service.addr), Vec::new());
                for number in (caller..MEETINGS).step_by(8) {
                    let id = (90_000_000_000 + number).to_string();
                    let pages = pages[usize::try_from(number % 7).unwrap()].clone();
                    sim.add_meeting(Meeting::raw_pages(&id, pages));
                    assert_eq!(connection.ask("GET", &format!("/qos/{id}")).status, 200);
                    sim.remove_meeting(&id);
                    sim.clear_calls();
                    if caller == 0 && number % 2_000 == 0 {
                        sizes.push((
                            number,
                            service.resident(),
                            service.metric("zoom_qos_proxy_cache_bytes"),
                        ));
                    }
                }
                sizes
            })
        })
        .collect();
    let sizes: Vec<_> = callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect();
    for (number, resident, counted) in &sizes {
        println!(
            "after {number} meetings: {} MiB resident, {:.0} MiB counted",
            resident >> 20,
            counted / 1_048_576.0
        );
    }
    let most = sizes.iter().map(|(_, resident, _)| *resident).max().unwrap();
    let limit = BOUND * 13 / 10 + BASE;
    assert!(most <= limit, "{} MiB of {} MiB", most >> 20, limit >> 20);
    let half = sizes.len() / 2;
    let (early, late) = (&sizes[half - 2..=half], &sizes[sizes.len() - 3..]);
    let average = |some: &[(u64, u64, f64)]| some.iter().map(|(_, resident, _)| resident).sum::<u64>() / 3;
    assert!(average(late) < average(early) * 11 / 10, "it keeps growing: {sizes:?}");
    assert!(
        service.metric("zoom_qos_proxy_cache_bytes") > 0.9 * 0.9 * f64::from(u32::try_from(BOUND).unwrap())
    );
    Arc::into_inner(service).unwrap().finish(&["is more than the"]);
}
