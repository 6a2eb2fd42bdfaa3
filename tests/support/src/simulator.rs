//! The simulator of Zoom: its limits and meetings, and the calls it received.

use std::collections::HashSet;

use zoom_sim::{Call, Meeting, Sim, SimConfig};

use crate::rate;

/// Starts a simulator with the default configuration after `adjust` has changed it.
pub fn sim(adjust: impl FnOnce(&mut SimConfig)) -> Sim {
    let mut config = SimConfig::default();
    adjust(&mut config);
    Sim::start(config).expect("the simulator starts")
}

pub fn calls_for(sim: &Sim, meeting: &str) -> Vec<Call> {
    let mut calls = sim.qos_calls();
    calls.retain(|call| call.meeting.as_deref() == Some(meeting));
    calls
}

/// The page of each call, counted from 0.
pub fn pages(calls: &[Call]) -> Vec<usize> {
    calls.iter().map(|call| call.page.unwrap()).collect()
}

/// The default secrets that the service and this simulator share, and the credentials in the recorded calls.
pub fn secrets(sim: &Sim) -> Vec<String> {
    let header = |call: &Call| call.header("authorization").map(str::to_owned);
    let sent: HashSet<_> = sim.calls().iter().filter_map(header).collect();
    let sent = sent.iter().map(|value| value.split(' ').next_back().unwrap().to_owned());
    ["sim-secret", "sim-client", "sim-account"].map(str::to_owned).into_iter().chain(sent).collect()
}

/// Adds `count` meetings of one page, numbered from `first` on, and returns their paths.
pub fn add_meetings(sim: &Sim, first: usize, count: usize) -> Vec<String> {
    let ids: Vec<_> =
        (first..first + count).map(|number| format!("{:011}", 91_000_000_000 + number)).collect();
    for id in &ids {
        sim.add_meeting(Meeting::generated(id, 1, 1));
    }
    ids.iter().map(|id| format!("/qos/{id}")).collect()
}

/// The most calls in any second, as the simulator received them.
pub fn most_in_a_second(calls: &[Call]) -> usize {
    rate::most_in_a_second(calls.iter().map(|call| call.at))
}

/// How many calls the simulator refused with 429.
pub fn refused_by_zoom(sim: &Sim) -> usize {
    sim.qos_calls().iter().filter(|call| call.status == Some(429)).count()
}

/// Pages of ten participants with random text, which hardly compresses. Each page has about this many `bytes`.
pub fn incompressible_pages(id: &str, pages: usize, bytes: usize) -> Vec<String> {
    let noise = |_| char::from(b'!' + fastrand::u8(..90)).to_string().replace(['\\', '"'], "x");
    let row = |number: usize| {
        let noise: String = (0..bytes / 10).map(noise).collect();
        format!(r#"{{"user_id":"{id}-{number}","noise":"{noise}"}}"#)
    };
    let page = |page: usize| {
        let rows: Vec<_> = (0..10).map(|number| row(page * 10 + number)).collect();
        format!("[{}]", rows.join(","))
    };
    (0..pages).map(page).collect()
}
