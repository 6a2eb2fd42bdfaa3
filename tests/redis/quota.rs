//! The shared quota: calls in a second and in a day, cool-downs, and each replica's part.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use test_support::{
    rate::{Calls, most_in_a_second},
    redis_server::Server,
    relay::Relay,
    replica::{call_in_slot, config, next_slot, on_its_own_thread, up},
    wait::{PATIENCE, pause_async, reached, settled},
};
use zoom_qos_proxy::{
    cluster::{
        Cluster,
        events::Event,
        quota_reply::{Blocker, SharedDay, SlotReply},
    },
    failure::LimitKind,
};

/// Makes calls like a replica whose queue always contains `waiting` calls.
async fn saturate(shared: &Cluster, me: usize, waiting: u64, until: Instant, calls: &Calls) {
    shared.set_demand(waiting, 0);
    let drawing = (0..20).map(|place| {
        let (shared, calls) = (shared.clone(), Arc::clone(calls));
        actix_rt::spawn(async move {
            while Instant::now() < until {
                settled(async || {
                    let may_reserve = place < shared.may_reserve(waiting) || Instant::now() >= until;
                    may_reserve.then_some(())
                })
                .await;
                call_in_slot(&shared, next_slot(&shared).await, me, &calls).await;
            }
        })
    });
    for drawn in drawing.collect::<Vec<_>>() {
        drawn.await.unwrap();
    }
}

/// Returns the calls per second after `from`, the most calls in any second of the run, and each replica's part of the
/// calls after `from`.
fn measured(calls: &Calls, replicas: usize, from: Instant, seconds: f64) -> (f64, usize, Vec<f64>) {
    let calls = calls.lock().unwrap();
    let most = most_in_a_second(calls.iter().map(|(at, _)| *at));
    let until = from + Duration::from_secs_f64(seconds);
    let late: Vec<_> = calls.iter().filter(|(at, _)| (from..until).contains(at)).collect();
    let whose = |replica| late.iter().filter(|(_, whose)| *whose == replica).count() as f64;
    let part = |replica| whose(replica) / late.len() as f64;
    (late.len() as f64 / seconds, most, (0..replicas).map(part).collect())
}

fn run(per_second: u32, queues: [u64; 3]) -> (f64, usize, Vec<f64>) {
    let server = Server::start();
    let calls = Calls::default();
    // At first, the server keeps back the shares of replicas that have not joined yet. That time is not measured.
    let (settle, seconds) = (Duration::from_secs(3), 6.0);
    let (begin, url) = (Instant::now() + settle, server.url());
    let end = begin + Duration::from_secs_f64(seconds);
    let replicas = queues.into_iter().enumerate().map(|(me, waiting)| {
        let (url, calls) = (url.clone(), Arc::clone(&calls));
        on_its_own_thread(move || async move {
            let (shared, _heard) = up(config(&url, per_second, 3)).await;
            saturate(&shared, me, waiting, end, &calls).await;
        })
    });
    for replica in replicas.collect::<Vec<_>>() {
        replica.join().unwrap();
    }
    measured(&calls, 3, begin, seconds)
}

#[actix_rt::test]
async fn a_permit_takes_one_round_trip_and_no_wait_when_idle() {
    let server = Server::start();
    let (shared, _heard) = up(config(&server.url(), 40, 1)).await;
    next_slot(&shared).await;
    let evals = || {
        let statistics: String = server.command(&["INFO", "commandstats"]);
        let line = statistics.lines().find(|line| line.starts_with("cmdstat_evalsha:")).unwrap();
        line.split(['=', ',']).nth(1).unwrap().parse::<u64>().unwrap()
    };
    let (before, asked) = (evals(), Instant::now());
    for _ in 0..20 {
        let slot = next_slot(&shared).await;
        reached(slot.from).await;
    }
    let (after, took) = (evals(), asked.elapsed());
    let beats = took.as_millis() / 300 + 2;
    assert!(
        u128::from(after - before) <= 20 + beats,
        "{} scripts for 20 permits in {took:?}",
        after - before
    );
    // Longer than the 26 ms between two slots, so the next slot can start immediately.
    pause_async(Duration::from_millis(100)).await;
    let asked = Instant::now();
    let slot = next_slot(&shared).await;
    assert!(slot.from <= Instant::now() + Duration::from_millis(2), "{:?} ahead", slot.from - asked);
}

/// A slot that has passed when the replica receives it is lost.
#[actix_rt::test]
async fn a_slot_is_still_usable_after_a_slow_round_trip() {
    let server = Server::start();
    let wire = Relay::to(server.port);
    let (shared, _heard) = up(config(&wire.url(), 40, 1)).await;
    next_slot(&shared).await;
    wire.late(Duration::from_millis(100));
    // The replica measures the delay with the first late reply.
    next_slot(&shared).await;
    for _ in 0..10 {
        let slot = next_slot(&shared).await;
        assert!(slot.until > Instant::now(), "{:?} too late", slot.until.elapsed());
        reached(slot.from).await;
    }
}

#[actix_rt::test]
async fn a_429_seen_by_one_replica_stops_all_within_100_ms() {
    let server = Server::start();
    let (one, _) = up(config(&server.url(), 40, 3)).await;
    let (two, mut heard) = up(config(&server.url(), 40, 3)).await;
    next_slot(&two).await;
    let (begun, until) = (Instant::now(), Instant::now() + Duration::from_secs(3));
    one.cool_down(LimitKind::PerSecond, until, "{\"reason\":\"zoom_rate_limited\"}").await;
    let event = tokio::time::timeout(PATIENCE, heard.recv()).await.unwrap().unwrap();
    let took = begun.elapsed();
    println!("another replica knows of a cool-down after {took:?}");
    assert!(took < Duration::from_millis(100), "{took:?}");
    assert!(matches!(event, Event::CoolDown { kind: LimitKind::PerSecond, .. }), "{event:?}");
    let known = two.cooldown_until(LimitKind::PerSecond).unwrap();
    assert!(known.max(until) - known.min(until) < Duration::from_millis(50));
    let SlotReply::RetryAt { at, blocker } = two.reserve_slot().await.unwrap() else {
        panic!("a slot was granted during a cool-down")
    };
    assert_eq!(blocker, Blocker::Cooldown(LimitKind::PerSecond));
    assert!(at.max(until) - at.min(until) < Duration::from_millis(50));
    // A shorter cool-down does not replace a longer one.
    two.cool_down(LimitKind::PerSecond, Instant::now() + Duration::from_millis(10), "").await;
    let SlotReply::RetryAt { at: still, .. } = one.reserve_slot().await.unwrap() else {
        panic!("the cool-down was shortened")
    };
    assert!(still.max(until) - still.min(until) < Duration::from_millis(50));
}

#[actix_rt::test]
async fn replicas_share_one_daily_count_that_follows_zooms() {
    let server = Server::start();
    let small = |per_day| zoom_qos_proxy::cluster::ClusterConfig { per_day, ..config(&server.url(), 40, 2) };
    let (one, _) = up(small(20)).await;
    let (two, _) = up(small(20)).await;
    for shared in [&one, &two, &one] {
        next_slot(shared).await;
    }
    let slot = next_slot(&two).await;
    assert_eq!(two.day(Instant::now()), SharedDay { date: slot.day, used: 4, taken: 0 });
    two.release_slot(slot.day).await;
    let used = settled(|| async { Some(one.day(Instant::now())).filter(|day| day.used == 3) });
    assert_eq!(used.await.taken, 0, "a heartbeat reports the released slot to the others");
    one.report_remaining(2, Instant::now()).await;
    let wall = one.clock().unwrap().wall(Instant::now());
    let since_midnight = wall.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() % 86_400;
    if since_midnight < 310 {
        println!("skipped: soon after midnight Zoom's count is ignored");
        return;
    }
    settled(|| async { Some(two.day(Instant::now())).filter(|day| (day.used, day.taken) == (18, 15)) }).await;
    next_slot(&one).await;
    next_slot(&two).await;
    for shared in [&one, &two] {
        let SlotReply::RetryAt { at, blocker: Blocker::DaySpent } = shared.reserve_slot().await.unwrap()
        else {
            panic!("the day is not spent")
        };
        let left = at.duration_since(Instant::now()).as_secs();
        assert!(left.abs_diff(86_400 - since_midnight) <= 2, "{left} s until midnight");
    }
}

/// These tests depend on timing and need the machine to themselves: `make tests` runs them one at a time, after the
/// others.
mod alone {
    use super::*;

    #[test]
    fn three_replicas_together_use_all_of_the_second_and_never_more() {
        for permitted in [36, 10] {
            let (pace, most, parts) = run(permitted, [100, 100, 100]);
            println!(
                "{permitted} permitted: {pace:.1} calls a second, {most} in the fullest, parts {parts:.2?}"
            );
            assert!(most <= permitted as usize, "{most} calls in a second");
            assert!(pace >= 0.95 * f64::from(permitted), "{pace} calls a second");
            assert!(parts.iter().all(|part| (0.25..0.42).contains(part)), "{parts:?}");
        }
    }

    #[test]
    fn permits_go_where_calls_wait_and_not_in_equal_parts() {
        let (pace, most, parts) = run(40, [600, 200, 10]);
        println!("40 permitted: {pace:.1} calls a second, {most} in the fullest, parts {parts:.2?}");
        assert!(most <= 40 && pace >= 38.0, "{most} calls in a second, {pace} in the mean");
        assert!(parts[0] > 0.55 && parts[1] > 0.12 && parts[2] > 0.02, "{parts:?}");
        assert!(parts[0] > 2.0 * parts[1], "{parts:?}");
    }
}
