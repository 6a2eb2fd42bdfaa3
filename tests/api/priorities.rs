//! Work that takes milliseconds yields to the threads that serve hits.

use std::fs;

use test_support::{client::Answer, service::Service, simulator::sim};
use zoom_sim::Meeting;

const PATH: &str = "/qos/91111111111";

/// The number of the field of `/proc/PID/stat` that contains the niceness.
const NICENESS: usize = 19;
/// The highest niceness, which is the lowest priority.
const MOST: i64 = 19;

/// Reads the `stat` file of a process or thread, and returns a function that returns its fields by their numbers.
fn stat(path: &str) -> impl Fn(usize) -> Option<i64> + use<> {
    let text = fs::read_to_string(format!("{path}/stat")).unwrap_or_default();
    // Field 3 follows the process name, which is in parentheses and may contain spaces.
    move |field| text.rsplit_once(')')?.1.split_whitespace().nth(field - 3)?.parse().ok()
}

/// Returns two CPU times in clock ticks: of the threads with at most this niceness, and of the nicer threads.
fn ticks(service: &Service, niceness: i64) -> (i64, i64) {
    let mut ticks = (0, 0);
    for thread in fs::read_dir(format!("/proc/{}/task", service.pid())).unwrap() {
        let field = stat(thread.unwrap().path().to_str().unwrap());
        // User and system time. A thread that has ended in the meantime counts as zero.
        let used = field(14).unwrap_or_default() + field(15).unwrap_or_default();
        *if field(NICENESS) > Some(niceness) { &mut ticks.1 } else { &mut ticks.0 } += used;
    }
    ticks
}

#[test]
fn fetches_and_views_run_mostly_on_low_priority_threads() {
    let niceness = stat("/proc/self")(NICENESS).unwrap();
    if niceness >= MOST {
        return println!("skipped: this test runs at niceness {MOST}, and no thread can be nicer");
    }
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("91111111111", 60, 30));
    let service = Service::start(&sim, &[("server.workers", "1")]);
    let check = |ask: &dyn Fn() -> Answer| {
        let before = ticks(&service, niceness);
        assert_eq!(ask().status, 200);
        let after = ticks(&service, niceness);
        let (normal, low) = (after.0 - before.0, after.1 - before.1);
        assert!(low > 2 * normal, "{low} ticks at low priority, {normal} at normal priority");
    };
    check(&|| service.get(PATH));
    for view in ["?format=csv", "/summary"] {
        check(&|| service.get(&format!("{PATH}{view}")));
    }
    service.finish(&[]);
}
