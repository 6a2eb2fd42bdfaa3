//! The queue as callers see it: a backfill of one caller leaves the others their share, and a disconnected caller
//! leaves the queue.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use test_support::{
    callers::{KEY, OTHER_KEY, entry, get_as, in_status, start, two_callers},
    client::{Answer, at_once, read_answer},
    service::Service,
    simulator::{calls_for, sim},
    wait::wait_for,
};
use zoom_sim::{Fault, FaultKind, Meeting, Sim};

const LIMIT: [(&str, &str); 2] = [("limits.heavy_per_second", "40"), ("limits.headroom_percent", "0")];
const INTERVAL: Duration = Duration::from_millis(25);

fn add(sim: &Sim, first: u64, count: u64) -> Vec<String> {
    let ids = (first..first + count).map(|number| number.to_string());
    ids.inspect(|id| sim.add_meeting(Meeting::generated(id, 1, 1))).collect()
}

/// Requests a cold meeting, and returns how long this caller waits for it.
fn timed(service: &Service, key: &str, id: &str) -> Duration {
    let began = Instant::now();
    let answer = get_as(service, key, &format!("/qos/{id}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    began.elapsed()
}

/// Waits until this many one-page meetings have queued for their call or made it.
fn wait_until_asked_for(sim: &Sim, service: &Service, meetings: usize) {
    wait_for(|| {
        let queued = service.metric("zoom_qos_proxy_permits_queued");
        let made = u32::try_from(sim.qos_calls().len()).unwrap();
        (queued + f64::from(made) >= f64::from(u32::try_from(meetings).unwrap())).then_some(())
    });
}

#[test]
fn permits_are_shared_by_weight_while_both_wait() {
    let sim = sim(|config| config.latency = Duration::from_millis(20));
    let (heavy, light) = (add(&sim, 91_000_000_000, 120), add(&sim, 92_000_000_000, 120));
    let callers = entry("heavy", KEY, "weight = 3") + &entry("light", OTHER_KEY, "weight = 1");
    let settings = [LIMIT[0], LIMIT[1], ("server.wait", "60s")];
    let (service, _folder, _) = start(&sim, &callers, &settings);
    // Zoom's 429 pauses all calls. So all flights queue before the first is served, even on a slow machine.
    sim.inject(Fault::new(FaultKind::RateSecond { retry_after: Some("10".to_owned()), headers: false }));
    std::thread::scope(|scope| {
        for (key, ids) in [(KEY, &heavy), (OTHER_KEY, &light)] {
            for id in ids {
                let service = &service;
                scope.spawn(move || assert_eq!(get_as(service, key, &format!("/qos/{id}")).status, 200));
            }
        }
        wait_for(|| (service.metric("zoom_qos_proxy_permits_queued") >= 239.0).then_some(()));
        assert!(sim.qos_calls().len() < 5, "the flights still wait for the end of the pause");
        sim.clear_calls();
    });
    // Both callers have flights in the queue from call 30 to call 130. The caller of weight 3 has none left after about
    // 160 calls.
    let calls = sim.qos_calls();
    let of_heavy = |calls: &[zoom_sim::Call]| {
        calls.iter().filter(|call| call.meeting.as_ref().is_some_and(|id| heavy.contains(id))).count()
    };
    let share = of_heavy(&calls[30..130]);
    println!("{share} of 100 calls for the caller of weight 3 beside one of weight 1");
    assert!((70..=80).contains(&share), "{share} of 100");
    service.finish(&["Zoom refuses calls by rate limit"]);
}

/// One call a second.
const SLOWLY: [(&str, &str); 2] = [("limits.heavy_per_second", "1"), ("limits.headroom_percent", "0")];

/// Sends a request, and returns the connection without waiting for the answer.
fn asks(service: &Service, id: &str) -> TcpStream {
    let mut caller = TcpStream::connect(service.addr).unwrap();
    write!(caller, "GET /qos/{id} HTTP/1.1\r\nHost: service\r\n\r\n").unwrap();
    caller
}

/// Waits for 30 ms. If a client closes its sending side within 20 ms, the service assumes that it still reads. Later,
/// the service treats the close as a disconnect.
fn wait_until_it_has_waited() {
    let then = Instant::now() + Duration::from_millis(30);
    wait_for(|| (Instant::now() > then).then_some(()));
}

fn a_flight_gives_up_its_place_when_its_caller(hangs_up: impl FnOnce(TcpStream)) {
    let sim = sim(|_| ());
    let ids = add(&sim, 91_000_000_000, 5);
    let service = Service::start(&sim, &SLOWLY);
    let (given_up, others) = ids.split_last().unwrap();
    std::thread::scope(|scope| {
        let first =
            scope.spawn(|| at_once(service.addr, others.iter().map(|id| format!("/qos/{id}")).collect()));
        wait_until_asked_for(&sim, &service, others.len());
        let caller = asks(&service, given_up);
        wait_until_asked_for(&sim, &service, ids.len());
        wait_until_it_has_waited();
        hangs_up(caller);
        for answer in first.join().unwrap() {
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    });
    wait_for(|| (service.metric("zoom_qos_proxy_flights_active") == 0.0).then_some(()));
    assert_eq!(calls_for(&sim, given_up).len(), 0, "no caller waits for this meeting any more");
    assert_eq!(sim.qos_calls().len(), 4);
    wait_for(|| service.printed().into_iter().find(|line| line.contains("\"status\":499")));
    let later = service.get(&format!("/qos/{given_up}"));
    assert_eq!(
        later.cache_status(),
        "zoom-qos-proxy; fwd=uri-miss; fwd-status=200; stored",
        "the later request starts its own flight"
    );
    service.finish(&[]);
}

#[test]
fn a_flight_whose_callers_all_disconnected_makes_no_call() {
    // Dropping the connection sends a FIN.
    a_flight_gives_up_its_place_when_its_caller(drop);
}

#[test]
fn a_flight_whose_callers_were_all_killed_makes_no_call() {
    a_flight_gives_up_its_place_when_its_caller(|caller| {
        let socket = socket2::Socket::from(caller);
        // Dropping the connection now sends a reset.
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    });
}

#[test]
fn disconnected_callers_do_not_lengthen_a_newcomers_retry_after() {
    let sim = sim(|_| ());
    let ids = add(&sim, 91_000_000_000, 7);
    let service = Service::start(&sim, &[SLOWLY[0], SLOWLY[1], ("server.wait", "4500ms")]);
    assert_eq!(service.get(&format!("/qos/{}", ids[0])).status, 200);
    let waiting: Vec<_> = ids[1..5].iter().map(|id| asks(&service, id)).collect();
    wait_until_asked_for(&sim, &service, 5);
    let asked = Instant::now();
    let refused = service.get(&format!("/qos/{}", ids[5]));
    assert_eq!(refused.problem(), "zoom_rate_limited", "four calls are before it, and it waits for 4.5 s");
    assert!(asked.elapsed() < Duration::from_secs(1), "rejected immediately");
    wait_until_it_has_waited();
    drop(waiting);
    let answer = wait_for(|| Some(service.get(&format!("/qos/{}", ids[6]))).filter(|it| it.status == 200));
    assert!(answer.cache_status().contains("fwd=uri-miss"), "{}", answer.cache_status());
    assert!(sim.qos_calls().len() <= 3, "{:?}", sim.qos_calls());
    service.finish(&[]);
}

/// Some clients shut down their sending side after the request, and still read the response.
#[test]
fn a_caller_that_closed_its_sending_side_gets_the_complete_response() {
    let sim = sim(|config| config.latency = Duration::from_millis(200));
    sim.add_meeting(Meeting::generated("91111111111", 50, 45));
    let service = Service::start(&sim, &[]);
    for how in ["fwd=uri-miss", "; hit;"] {
        let caller = asks(&service, "91111111111");
        caller.shutdown(std::net::Shutdown::Write).unwrap();
        let answer = read_answer(caller);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.cache_status().contains(how), "{}", answer.cache_status());
        assert_eq!(answer.json()["total_records"], 50);
        assert!(answer.body.len() > 1_000_000, "the body is larger than all socket buffers");
    }
    service.finish(&[]);
}

#[test]
fn a_half_closed_caller_that_lost_its_place_gets_the_reason() {
    let sim = sim(|_| ());
    let ids = add(&sim, 91_000_000_000, 2);
    let service = Service::start(&sim, &SLOWLY);
    assert_eq!(service.get(&format!("/qos/{}", ids[0])).status, 200);
    let caller = asks(&service, &ids[1]);
    wait_until_asked_for(&sim, &service, 2);
    wait_until_it_has_waited();
    caller.shutdown(std::net::Shutdown::Write).unwrap();
    let answer = read_answer(caller);
    assert_eq!((answer.status, answer.problem().as_str()), (503, "zoom_rate_limited"));
    assert!(answer.retry_after() <= 2);
    assert_eq!(sim.qos_calls().len(), 1);
    service.finish(&[]);
}

#[test]
fn a_pipelined_second_request_is_not_taken_for_a_disconnect() {
    let sim = sim(|_| ());
    let ids = add(&sim, 91_000_000_000, 3);
    let service = Service::start(&sim, &SLOWLY);
    assert_eq!(service.get(&format!("/qos/{}", ids[0])).status, 200);
    let mut caller = asks(&service, &ids[1]);
    wait_until_asked_for(&sim, &service, 2);
    write!(caller, "GET /qos/{} HTTP/1.1\r\nHost: service\r\nConnection: close\r\n\r\n", ids[2]).unwrap();
    let mut both = String::new();
    caller.read_to_string(&mut both).unwrap();
    assert_eq!(both.matches("\"total_records\":1").count(), 2, "{both}");
    assert_eq!(sim.qos_calls().len(), 3);
    service.finish(&[]);
}

#[test]
fn a_flight_moves_up_when_a_less_loaded_caller_joins_it() {
    let sim = sim(|_| ());
    let ids = add(&sim, 91_000_000_000, 12);
    let settings = [("limits.heavy_per_second", "2"), ("limits.headroom_percent", "0")];
    let (service, _folder, _) = start(&sim, &two_callers(""), &settings);
    let last = ids.last().unwrap();
    let service_ref = &service;
    std::thread::scope(|scope| {
        for id in &ids[..11] {
            scope.spawn(move || assert_eq!(get_as(service_ref, KEY, &format!("/qos/{id}")).status, 200));
        }
        wait_until_asked_for(&sim, &service, 11);
        scope.spawn(|| assert_eq!(get_as(&service, KEY, &format!("/qos/{last}")).status, 200));
        wait_until_asked_for(&sim, &service, 12);
        let before = sim.qos_calls().len();
        let joined = get_as(&service, OTHER_KEY, &format!("/qos/{last}"));
        assert_eq!(joined.status, 200);
        let calls = sim.qos_calls();
        let place = calls.iter().position(|call| call.meeting.as_ref() == Some(last)).unwrap();
        assert!(
            place <= before + 3,
            "call {place}, although only {before} were made when the second caller joined"
        );
    });
    assert_eq!(sim.qos_calls().len(), 12);
    service.finish(&[]);
}

/// A full queue evicts flights of the caller that filled it.
#[test]
fn a_full_queue_makes_room_for_a_less_loaded_caller() {
    let sim = sim(|_| ());
    let ids = add(&sim, 91_000_000_000, 40);
    let settings =
        [("limits.heavy_per_second", "4"), ("limits.headroom_percent", "0"), ("limits.max_queued", "10")];
    let (service, _folder, _) = start(&sim, &two_callers(""), &settings);
    let (one, many) = ids.split_last().unwrap();
    let service_ref = &service;
    let refused = std::thread::scope(|scope| {
        let callers: Vec<_> = many
            .iter()
            .map(|id| scope.spawn(move || get_as(service_ref, KEY, &format!("/qos/{id}"))))
            .collect();
        wait_for(|| (service.metric("zoom_qos_proxy_permits_queued") >= 10.0).then_some(()));
        assert_eq!(get_as(&service, OTHER_KEY, &format!("/qos/{one}")).status, 200);
        let answers = callers.into_iter().map(|caller| caller.join().unwrap());
        answers.filter(|answer| answer.status != 200 && answer.problem() == "overloaded").count()
    });
    assert!(refused >= 20, "{refused} of {}", many.len());
    service.finish(&[]);
}

/// These tests depend on timing and need the machine to themselves. `make tests` runs them one at a time, after the
/// others.
mod alone {
    use super::*;

    #[test]
    fn one_cold_meeting_does_not_wait_behind_another_callers_five_hundred() {
        // The simulator shares its process with five hundred clients, so it may read calls late and in bursts. It
        // allows 60 calls a second, because this test is about order, not speed.
        let sim = sim(|config| (config.latency, config.per_second) = (Duration::from_millis(100), 60));
        let (backfill, single) = (add(&sim, 91_000_000_000, 500), add(&sim, 92_000_000_000, 40));
        // At 40 a second, the 540 calls take longer than the default of `server.wait`, so callers wait longer here.
        let settings = [LIMIT[0], LIMIT[1], ("server.wait", "30s")];
        let (service, _folder, _) = start(&sim, &two_callers(""), &settings);
        let (unloaded, loaded) = single.split_at(20);
        let mut unloaded: Vec<_> = unloaded.iter().map(|id| timed(&service, OTHER_KEY, id)).collect();
        unloaded.sort_unstable();
        let service_ref = &service;
        let mut took = std::thread::scope(|scope| {
            for id in &backfill {
                scope.spawn(move || assert_eq!(get_as(service_ref, KEY, &format!("/qos/{id}")).status, 200));
            }
            wait_for(|| {
                (in_status(&service, "support-tools")["calls_waiting"].as_u64()? > 400).then_some(())
            });
            assert!(in_status(&service, "support-tools")["oldest_wait_seconds"].is_f64());
            let took: Vec<_> = loaded.iter().map(|id| timed(&service, OTHER_KEY, id)).collect();
            assert!(
                in_status(&service, "support-tools")["calls_waiting"].as_u64().unwrap() > 100,
                "the other caller's queue was not empty"
            );
            took
        });
        took.sort_unstable();
        let (usual, p95) = (unloaded[10], took[18]);
        println!("one cold meeting: {usual:?} unloaded, {p95:?} (p95) beside 500 of another caller");
        assert!(p95 <= 2 * (usual + 2 * INTERVAL), "{p95:?}, unloaded {usual:?}");
        let failed: Vec<_> = sim.qos_calls().into_iter().filter(|call| call.status != Some(200)).collect();
        assert_eq!((sim.qos_calls().len(), failed.len()), (540, 0), "{failed:?}");
        service.finish(&[]);
    }

    /// Five callers fetch sixty meetings each, while Zoom fails in five ways.
    #[test]
    fn five_callers_under_faults_use_the_whole_limit_without_exceeding_it() {
        let sim = sim(|config| config.latency = Duration::from_millis(60));
        let keys = ["zqp_one", "zqp_two", "zqp_three", "zqp_four", "zqp_five"];
        let entries = keys.iter().zip(["one", "two", "three", "four", "five"]);
        let callers: String = entries.map(|(key, name)| entry(name, key, "")).collect();
        let settings = [LIMIT[0], LIMIT[1], ("server.wait", "60s"), ("zoom.request_timeout", "2s")];
        let (service, _folder, _) = start(&sim, &callers, &settings);
        let injected = 3;
        for number in 0..injected {
            // Each fault hits a different meeting, so no flight meets two faults.
            let befall = |kind: FaultKind, meeting: usize| {
                let id = (91_000_000_000 + 1_000 * meeting + number).to_string();
                sim.inject(Fault::new(kind).for_meeting(id));
            };
            befall(FaultKind::RateSecond { retry_after: Some("1".to_owned()), headers: false }, 0);
            befall(FaultKind::ServerErrorHtml(503), 1);
            befall(FaultKind::Truncated, 2);
            befall(FaultKind::ResetBeforeAnswer, 3);
            befall(FaultKind::TokenExpired, 4);
        }
        let answers: Vec<_> = std::thread::scope(|scope| {
            let mut asked = Vec::new();
            for (number, key) in (0_u64..).zip(keys) {
                for meeting in 0..60 {
                    let id = (91_000_000_000 + 1_000 * number + meeting).to_string();
                    let participants = usize::try_from(1 + meeting % 3 * 10).unwrap();
                    sim.add_meeting(Meeting::generated(&id, participants, 1));
                    let service = &service;
                    asked.push(scope.spawn(move || get_as(service, key, &format!("/qos/{id}"))));
                }
            }
            asked.into_iter().map(|caller| caller.join().unwrap()).collect()
        });
        let failed: Vec<_> = answers.iter().filter(|answer| answer.status != 200).map(Answer::text).collect();
        assert!(failed.is_empty(), "{failed:?}");
        let calls = sim.qos_calls();
        let refused = calls.iter().filter(|call| call.status == Some(429)).count();
        assert_eq!(refused, injected, "no 429 except the injected ones");
        // Only the first four fifths of the calls are measured, because the queue is never empty during them. At the
        // end, only the pages of the last meetings remain, one after another. Gaps of 0.5 s or more are pauses and do
        // not count.
        let busy = &calls[..calls.len() * 4 / 5];
        let gaps = busy.windows(2).map(|two| (two[1].at - two[0].at).as_secs_f64());
        let (mut active, mut counted) = (0.0, 0.0);
        for gap in gaps.filter(|gap| *gap < 0.5) {
            active += gap;
            counted += 1.0;
        }
        let used = counted / active / 40.0;
        println!("used {:.1} % of 40 calls a second over {} calls", used * 100.0, busy.len());
        assert!(used >= 0.95, "{used}");
        service.finish(&["Zoom refuses calls by rate limit", "access token", "Zoom cannot be reached"]);
    }
}
