//! A process that cannot do its work exits. It does not continue to run and look healthy.

use test_support::{client::request, preload, service::Service, simulator::sim, wait::wait_for};

/// The exit code when a task ends that must run until shutdown (`EX_SOFTWARE`).
const BROKEN: i32 = 70;
const PATH: &str = "/qos/91111111111";

/// The outcome for a process that cannot create one of its threads.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// It serves requests as if nothing had happened.
    Serves,
    /// It exited with this code and a message.
    Ended(i32),
}

/// Starts the service, and makes the creation of the thread with this number fail. Returns the outcome.
fn fate(number: usize) -> Fate {
    let sim = sim(|_| ());
    sim.add_meeting(zoom_sim::Meeting::generated("91111111111", 3, 1));
    // The URLs contain host names, because resolving them needs a blocking thread.
    let by_name = |url: String| url.replace("127.0.0.1", "localhost");
    let (api, oauth) = (by_name(sim.api_base_url()), by_name(sim.oauth_url()));
    let settings = [("zoom.api_base_url", &*api), ("zoom.oauth_url", &oauth), ("server.workers", "2")];
    let by = preload::with(&[("FAIL_THREAD", &number.to_string())]);
    let by: Vec<_> = by.iter().map(String::as_str).collect();
    let (code, lines) = match Service::try_start_by(&sim, &settings, &by) {
        Err((status, lines)) => (status.code(), lines),
        Ok(mut service) => {
            // The process may exit after it has logged that it listens.
            let served = wait_for(|| {
                let ended = !service.is_running();
                let serves = !ended && service.is_ready_and_serves(PATH);
                (ended || serves).then_some(serves)
            });
            if served {
                service.finish(&["access token", "token endpoint", "panic"]);
                return Fate::Serves;
            }
            (service.wait().code(), service.printed())
        }
    };
    assert!(lines.iter().any(|line| !line.is_empty()), "thread {number}: it exits without a message");
    assert!(!lines.iter().any(|line| line.contains("\"stopped\"")), "it was not asked to stop: {lines:?}");
    Fate::Ended(code.unwrap_or_else(|| panic!("thread {number}: ended by a signal: {lines:?}")))
}

#[test]
fn a_process_denied_a_thread_exits_or_serves() {
    // The last numbers are higher than the number of threads that a process creates, so no creation fails.
    let fates: Vec<_> = (1..=14).map(fate).collect();
    println!("{fates:?}");
    for (number, fate) in (1..).zip(&fates) {
        assert!(matches!(fate, Fate::Serves | Fate::Ended(1 | BROKEN)), "thread {number}: {fate:?}");
    }
    assert!(fates.contains(&Fate::Ended(BROKEN)), "no process ended because a task ended: {fates:?}");
    assert_eq!(fates.last(), Some(&Fate::Serves));
}

#[test]
fn a_body_is_decompressed_even_if_no_thread_can_be_created() {
    let sim = sim(|_| ());
    sim.add_meeting(zoom_sim::Meeting::generated("91111111111", 300, 3));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("no-threads");
    let by = preload::with(&[("FAIL_WHILE", file.to_str().unwrap())]);
    let by: Vec<_> = by.iter().map(String::as_str).collect();
    let service = Service::start_by(&sim, &[("server.workers", "1")], &by);
    // The stored gzip is sent as it is, so nothing is decompressed yet.
    let first = request(service.addr, "GET", PATH, &[("accept-encoding", "gzip")]);
    assert_eq!((first.status, first.header("content-encoding")), (200, Some("gzip")));
    std::fs::write(&file, "").unwrap();
    let slice = service.get(&format!("{PATH}?page_size=10"));
    assert_eq!(slice.status, 200, "{}", slice.text());
    assert_eq!(slice.json()["participants"].as_array().unwrap().len(), 10);
    let whole = service.get(PATH);
    assert_eq!(whole.json()["participants"].as_array().unwrap().len(), 300);
    assert!(whole.body.len() > 64 << 10, "the body must be too large for the worker to decompress itself");
    std::fs::remove_file(&file).unwrap();
    assert_eq!(service.get(PATH).status, 200);
    service.finish(&["panic"]);
}
