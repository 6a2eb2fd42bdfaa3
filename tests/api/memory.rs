//! What the process really takes, not what it counts: the resident size over a churn of meetings far larger than the bound.

use std::{sync::Arc, thread};

use zoom_sim::Meeting;

use crate::service::{Connection, Service, sim};

const BOUND: u64 = 32 << 20;
const MEETINGS: u64 = 50_000;
/// Without a single snapshot: code, threads, buffers of connections and of flights.
const BASE: u64 = 48 << 20;

#[test]
#[ignore = "takes minutes: make test-all runs it"]
fn the_resident_size_levels_off_at_the_bound_however_many_meetings_pass_through() {
    let sim = sim(|config| (config.per_second, config.per_day) = (1_000_000, 10_000_000));
    let settings = [
        ("cache.max_bytes", "32MiB"),
        ("limits.heavy_per_second", "100000"),
        ("limits.heavy_per_day", "10000000"),
        ("telemetry.log_level", "warn,zoom_qos_proxy::app=info"),
    ];
    // From one participant to seven, so that what is let go does not fit what comes. The text is made once.
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
    assert!(average(late) < average(early) * 11 / 10, "it goes on growing: {sizes:?}");
    assert!(
        service.metric("zoom_qos_proxy_cache_bytes") > 0.9 * 0.9 * f64::from(u32::try_from(BOUND).unwrap())
    );
    Arc::into_inner(service).unwrap().finish(&["is more than the"]);
}
