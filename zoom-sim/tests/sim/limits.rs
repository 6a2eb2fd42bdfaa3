//! The account's limits.

use std::time::{Duration, Instant};

use zoom_sim::{Fault, FaultKind, Sim, SimConfig};

use crate::client::{Client, EXAMPLE};

const SECOND: Duration = Duration::from_secs(1);

fn limited(per_second: u32, per_day: u64) -> (Sim, Client) {
    let sim = Sim::start(SimConfig { per_second, per_day, ..SimConfig::default() }).unwrap();
    let client = Client::authorized(&sim);
    (sim, client)
}

#[test]
fn the_sliding_window_admits_exactly_its_number_in_any_second() {
    let (sim, mut client) = limited(5, 60_000);
    let mut answered_well = 0;
    while answered_well < 11 {
        answered_well += usize::from(client.qos(EXAMPLE, "").status() == 200);
    }
    let calls = sim.qos_calls();
    let mut admitted: Vec<Instant> = Vec::new();
    for call in &calls {
        let in_window = admitted.iter().filter(|earlier| call.at - **earlier < SECOND).count();
        assert_eq!(call.status, Some(if in_window < 5 { 200 } else { 429 }));
        if call.status == Some(200) {
            admitted.push(call.at);
        }
    }
    assert_eq!(admitted.len(), 11);
}

#[test]
fn a_full_second_is_refused_with_zooms_words_and_headers() {
    let (_sim, mut client) = limited(1, 60_000);
    assert_eq!(client.qos(EXAMPLE, "").header("x-ratelimit-category"), Some("Heavy"));
    let refused = client.qos(EXAMPLE, "");
    let message = "You have reached the maximum per-second rate limit for this API. Try again later.";
    assert_eq!(refused.error(), (429, 429, message.to_owned()));
    for line in ["X-RateLimit-Category: Heavy", "X-RateLimit-Type: QPS", "X-RateLimit-Limit: 1"] {
        assert!(refused.head.contains(line), "{}", refused.head);
    }
    assert_eq!(refused.header("X-RateLimit-Remaining"), Some("0"));
    let retry: jiff::Timestamp = refused.header("Retry-After").unwrap().parse().unwrap();
    assert!(retry > jiff::Timestamp::now(), "an instant to come");
}

#[test]
fn without_rate_headers_only_the_message_names_the_limit() {
    let config = SimConfig { per_day: 0, rate_headers: false, ..SimConfig::default() };
    let sim = Sim::start(config).unwrap();
    let refused = Client::authorized(&sim).qos(EXAMPLE, "");
    assert_eq!(refused.status(), 429);
    assert!(!refused.head.to_ascii_lowercase().contains("ratelimit"), "{}", refused.head);
    assert_eq!(refused.header("Retry-After"), None);
    assert!(refused.text().contains("maximum daily rate limit"));
}

#[test]
fn the_daily_limit_admits_exactly_its_number() {
    let (sim, mut client) = limited(40, 10);
    sim.set_day_used(8);
    assert_eq!(client.qos(EXAMPLE, "").status(), 200);
    assert_eq!(client.qos("1", "").status(), 404, "a call that finds nothing counts too");
    let refused = client.qos(EXAMPLE, "");
    let (status, code, message) = refused.error();
    assert_eq!((status, code), (429, 429));
    assert!(message.starts_with("You have reached the maximum daily rate limit for this API."));
    assert_eq!(refused.header("X-RateLimit-Type"), Some("Daily-limit"));
    assert!(refused.header("Retry-After").unwrap().ends_with("T00:00:00Z"));
    sim.set_day_used(0);
    assert_eq!(client.qos(EXAMPLE, "").status(), 200);
}

#[test]
fn refused_calls_and_refused_tokens_do_not_count() {
    let (sim, mut client) = limited(40, 1);
    let mut stranger = Client::connect(sim.addr());
    assert_eq!(stranger.qos(EXAMPLE, "").status(), 401);
    sim.inject(Fault::new(FaultKind::RateMystery { retry_after: None }));
    assert_eq!(client.qos(EXAMPLE, "").status(), 429);
    assert_eq!(client.qos(EXAMPLE, "").status(), 200);
    assert_eq!(client.qos(EXAMPLE, "").status(), 429);
}

#[test]
fn a_fault_comes_before_the_limits_and_counts_in_them() {
    let (sim, mut client) = limited(40, 1);
    sim.inject(Fault::new(FaultKind::ServerErrorHtml(500)).times(2));
    assert_eq!(client.qos(EXAMPLE, "").status(), 500);
    assert_eq!(client.qos(EXAMPLE, "").status(), 500);
    assert_eq!(client.qos(EXAMPLE, "").status(), 429);
}
