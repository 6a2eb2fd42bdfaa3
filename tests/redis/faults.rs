//! Redis is slow, frozen, killed, emptied, full, read-only or unreachable: no caller waits long, no second has more
//! calls than permitted, and recovery needs no operator.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use test_support::{
    rate::{Calls, most_in_a_second},
    records::{bytes, claimed, content, record_key},
    redis_server::Server,
    relay::Relay,
    replica::{call_in_slot, config, join, next_slot, on_its_own_thread, until, up},
    wait::{PATIENCE, pause, pause_async, reached, settled, wait_for},
};
use tokio::sync::{mpsc, watch};
use zoom_qos_proxy::{
    cluster::{
        ClaimResult, Cluster, ClusterConfig, PutResult,
        circuit_breaker::RedisStatus,
        events::Event,
        quota_reply::SlotReply,
        standalone::{LocalShare, Mode},
    },
    failure::LimitKind,
};

const MINUTE: Duration = Duration::from_secs(60);
/// Twice an operation's timeout of 250 ms, because the machine may be busy.
const BOUNDED: Duration = Duration::from_millis(500);

async fn bounded<T>(operation: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let done = operation.await;
    assert!(begun.elapsed() < BOUNDED, "it took {:?}", begun.elapsed());
    done
}

/// Asserts that operations fail quickly while Redis is unavailable, and work again after `comes_back`.
async fn is_away_and_comes_back(shared: &Cluster, comes_back: impl AsyncFnOnce()) {
    let of = record_key(90);
    // The first operations to fail wait for their timeout, and no longer.
    bounded(shared.reserve_slot()).await.ok();
    bounded(shared.look_up(&of)).await.ok();
    until(shared, RedisStatus::Unavailable).await;
    for _ in 0..100 {
        assert!(bounded(shared.reserve_slot()).await.is_err());
        assert!(bounded(shared.look_up(&of)).await.is_err());
        assert!(bounded(shared.claim(&of, 0)).await.is_err());
        assert_ne!(shared.mode(Instant::now()), Mode::Shared);
    }
    comes_back().await;
    until(shared, RedisStatus::Up).await;
    assert_eq!(shared.mode(Instant::now()), Mode::Shared);
    next_slot(shared).await;
    // Records also work again.
    let mine = settled(|| async {
        match shared.claim(&of, 0).await {
            Ok(ClaimResult::Granted(claimed)) => Some(claimed),
            _ => None,
        }
    });
    let mine = mine.await;
    let record = bytes(shared, &of, b"after");
    settled(|| async { shared.put(&mine, &record, MINUTE).await.ok() }).await;
    assert_eq!(content(shared, &of).await.unwrap(), b"after");
    shared.forget(&of, mine.fence).await.unwrap();
}

#[actix_rt::test]
async fn no_operation_waits_long_for_a_frozen_server() {
    let server = Server::start();
    let (shared, _heard) = up(config(&server.url(), 40, 2)).await;
    server.signal("-STOP");
    is_away_and_comes_back(&shared, async || server.signal("-CONT")).await;
    let _: String = server.command(&["CLIENT", "PAUSE", "2500", "ALL"]);
    is_away_and_comes_back(&shared, async || {}).await;
    // Commands that the server had buffered when it was frozen expire before it resumes, so they draw no permit.
    assert_eq!(shared.day(Instant::now()).used, 2, "one permit after each recovery");
}

#[actix_rt::test]
async fn a_restarted_server_is_found_again_although_it_lost_its_data() {
    let mut server = Server::start();
    let (shared, _heard) = up(config(&server.url(), 40, 2)).await;
    for _ in 0..5 {
        next_slot(&shared).await;
    }
    server.stop();
    is_away_and_comes_back(&shared, async || server.start_again()).await;
    assert_eq!(
        shared.day(Instant::now()).used,
        6,
        "five before and one after, because the replica remembers the count"
    );
}

#[actix_rt::test]
async fn a_full_or_read_only_server_counts_as_unavailable() {
    let server = Server::start();
    let (shared, _heard) = up(config(&server.url(), 40, 2)).await;
    let _: String = server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    is_away_and_comes_back(&shared, async || {
        let _: String = server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    })
    .await;
    let _: String = server.command(&["REPLICAOF", "127.0.0.1", "1"]);
    is_away_and_comes_back(&shared, async || {
        let _: String = server.command(&["REPLICAOF", "NO", "ONE"]);
    })
    .await;
}

/// The server loses its scripts continuously, even between two commands of one operation.
#[actix_rt::test]
async fn no_operation_fails_because_the_server_forgot_a_script() {
    let server = Server::start();
    let (shared, _heard) = up(config(&server.url(), 40, 2)).await;
    let stop = Arc::new(AtomicBool::new(false));
    let flusher = thread::spawn({
        let (stop, mut connection) = (Arc::clone(&stop), server.connection());
        move || {
            let mut flushed = 0;
            while !stop.load(Ordering::Relaxed) {
                redis::cmd("SCRIPT").arg("FLUSH").exec(&mut connection).unwrap();
                flushed += 1;
            }
            flushed
        }
    });
    let mut failed = 0;
    for number in 0..500 {
        failed += u32::from(bounded(shared.claim(&record_key(number), 0)).await.is_err());
        failed += u32::from(bounded(shared.reserve_slot()).await.is_err());
    }
    stop.store(true, Ordering::Relaxed);
    println!("the server forgot its scripts {} times", flusher.join().unwrap());
    assert_eq!(failed, 0, "failed operations of 1,000");
    assert_eq!(*shared.status().borrow(), RedisStatus::Up);
}

#[actix_rt::test]
async fn a_flush_resets_neither_the_rate_nor_the_daily_count() {
    let server = Server::start();
    let (shared, _heard) = up(config(&server.url(), 10, 1)).await;
    let mut last = Instant::now();
    for _ in 0..10 {
        last = next_slot(&shared).await.from;
    }
    let _: String = server.command(&["FLUSHALL"]);
    let next = next_slot(&shared).await.from;
    assert!(next >= last + Duration::from_secs(1), "only {:?} later", next - last);
    assert_eq!(shared.day(Instant::now()).used, 11);
    // Slots are also a second apart after the server's clock was set back, and after a failover to another server.
    let ahead: u64 = server.command::<String>(&["HGET", "{zqp:test}:budget", "now"]).parse().unwrap();
    for (field, value) in [("now", (ahead + 60_000_000).to_string()), ("run", "another".to_owned())] {
        let last = next_slot(&shared).await.from;
        let _: u64 = server.command(&["HSET", "{zqp:test}:budget", field, &value]);
        let next = next_slot(&shared).await.from;
        assert!(next >= last + Duration::from_secs(1), "{field}: only {:?} later", next - last);
    }
}

#[actix_rt::test]
async fn events_that_could_not_be_published_are_published_later() {
    let server = Server::start();
    let wire = Relay::to(server.port);
    let (one, _) = up(config(&wire.url(), 40, 2)).await;
    let (two, mut heard) = up(config(&server.url(), 40, 2)).await;
    wire.cut(true);
    until(&one, RedisStatus::Unavailable).await;
    one.cool_down(LimitKind::PerDay, Instant::now() + MINUTE, "").await;
    one.purge(&[record_key(1)]).await;
    // While the first replica is cut off, the other one stores and purges a record. This must not replace the events
    // that the first replica has not published yet.
    let mine = claimed(&two, &record_key(2)).await;
    two.put(&mine, &bytes(&two, &record_key(2), b"x"), MINUTE).await.unwrap();
    two.purge(&[record_key(2)]).await;
    wire.cut(false);
    let (mut cooled, mut purged) = (false, false);
    while !(cooled && purged) {
        match tokio::time::timeout(PATIENCE, heard.recv()).await.unwrap().unwrap() {
            Event::CoolDown { kind, .. } => cooled = kind == LimitKind::PerDay,
            Event::Purged { key: of, .. } => purged = of.as_deref() == Some(record_key(1).as_str()),
            _ => {}
        }
    }
    assert!(two.cooldown_until(LimitKind::PerDay).is_some());
}

#[actix_rt::test]
async fn a_replica_catches_up_on_a_purge_when_it_reconnects() {
    let server = Server::start();
    let wire = Relay::to(server.port);
    let (one, mut heard) = up(config(&wire.url(), 40, 2)).await;
    let (two, _) = up(config(&server.url(), 40, 2)).await;
    wire.cut(true);
    until(&one, RedisStatus::Unavailable).await;
    two.purge(&[record_key(7)]).await;
    two.purge(&[]).await;
    wire.cut(false);
    let mut received = Vec::new();
    while received.len() < 2 {
        if let Event::Purged { key: of, .. } =
            tokio::time::timeout(PATIENCE, heard.recv()).await.unwrap().unwrap()
        {
            received.push(of);
        }
    }
    assert_eq!(received, [Some(record_key(7).as_str().to_owned()), None]);
}

/// The second purge arrives as an event on the new connection, before the replica asks for the purges that it missed.
#[actix_rt::test]
async fn a_purge_during_a_reconnect_does_not_hide_a_missed_one() {
    let server = Server::start();
    let subscriptions = || {
        let counted: (String, u64) = server.command(&["PUBSUB", "NUMSUB", "{zqp:test}:events"]);
        counted.1
    };
    let wire = Relay::to(server.port);
    let (one, mut heard) = up(config(&wire.url(), 40, 2)).await;
    let (two, _) = up(config(&server.url(), 40, 2)).await;
    wire.cut(true);
    until(&one, RedisStatus::Unavailable).await;
    two.purge(&[record_key(1)]).await;
    let before = subscriptions();
    // With round trips of 80 ms, the heartbeat follows the subscription late enough for a purge between them.
    wire.late(Duration::from_millis(40));
    wire.cut(false);
    settled(|| async { (subscriptions() > before).then_some(()) }).await;
    two.purge(&[record_key(2)]).await;
    let mut received = Vec::new();
    while !received.contains(&record_key(1).as_str().to_owned()) {
        let event = tokio::time::timeout(PATIENCE, heard.recv()).await;
        let event = event.unwrap_or_else(|_| panic!("received only {received:?}"));
        if let Event::Purged { key: Some(of), .. } = event.unwrap() {
            received.push(of);
        }
    }
    assert_eq!(received[0], record_key(2).as_str(), "the event came first");
}

/// Tries a record that is too large, one that expires immediately, and one that does not fit into the server's memory.
/// The last record's claim has expired, so the script has changed nothing when the server rejects its first write.
#[actix_rt::test]
async fn a_record_that_no_retry_could_store_is_refused() {
    let server = Server::start();
    let (shared, _heard) = up(config(&server.url(), 40, 2)).await;
    let of = record_key(1);
    let mine = claimed(&shared, &of).await;
    let small = bytes(&shared, &of, b"x");
    let too_large = vec![7; (16 << 20) + 1];
    assert_eq!(shared.put(&mine, &too_large, MINUTE).await, Ok(PutResult::Refused));
    assert_eq!(shared.put(&mine, &small, Duration::ZERO).await, Ok(PutResult::Refused));
    let _: u64 = server.command(&["DEL", &format!("{{zqp:test}}:c:{}", of.as_str())]);
    let memory: redis::InfoDict = server.command(&["INFO", "memory"]);
    let used: u64 = memory.get("used_memory").unwrap();
    let _: String = server.command(&["CONFIG", "SET", "maxmemory", &(used + (4 << 20)).to_string()]);
    let large = bytes(&shared, &of, &vec![7; 8 << 20]);
    assert_eq!(shared.put(&mine, &large, MINUTE).await, Ok(PutResult::Refused));
    assert_eq!(*shared.status().borrow(), RedisStatus::Up, "small records are still stored");
}

/// After the server's clock was set back, new fences are ahead of the clock.
#[actix_rt::test]
async fn an_unanswered_claim_is_freed_whatever_its_fence() {
    let server = Server::start();
    let wire = Relay::to(server.port);
    let (one, _heard) = up(config(&wire.url(), 40, 2)).await;
    let (two, _heard) = up(config(&server.url(), 40, 2)).await;
    let ahead = two.clock().unwrap().at(Instant::now() + 60 * MINUTE);
    let _: String = server.command(&["SET", "{zqp:test}:fence", &ahead.to_string()]);
    let of = record_key(1);
    // Loads the script into the server, so that the next claim takes effect although no reply arrives.
    claimed(&one, &record_key(2)).await;
    wire.deaf(true);
    assert!(one.claim(&of, 0).await.is_err());
    wire.cut(true);
    until(&one, RedisStatus::Unavailable).await;
    wire.cut(false);
    until(&one, RedisStatus::Up).await;
    settled(|| async { two.claim(&of, 0).await.ok().filter(|got| matches!(got, ClaimResult::Granted(_))) })
        .await;
}

/// One replica is cut off while both purge. Each receives the other's purge later.
#[actix_rt::test]
async fn flushing_the_outbox_does_not_hide_missed_purges() {
    let server = Server::start();
    let wire = Relay::to(server.port);
    let (one, mut heard_by_one) = up(config(&wire.url(), 40, 2)).await;
    let (two, mut heard_by_two) = up(config(&server.url(), 40, 2)).await;
    wire.cut(true);
    until(&one, RedisStatus::Unavailable).await;
    two.purge(&[record_key(1)]).await;
    one.purge(&[record_key(2)]).await;
    wire.cut(false);
    let purged = async |heard: &mut mpsc::UnboundedReceiver<Event>| loop {
        let event =
            tokio::time::timeout(PATIENCE, heard.recv()).await.expect("the replica receives the purge");
        if let Event::Purged { key: of, .. } = event.unwrap() {
            break of.unwrap();
        }
    };
    assert_eq!(purged(&mut heard_by_two).await, record_key(2).as_str());
    assert_eq!(purged(&mut heard_by_one).await, record_key(1).as_str());
    // After the outbox is flushed, the replica repeats its own purge here, because Redis had the record until then.
    assert_eq!(purged(&mut heard_by_one).await, record_key(2).as_str());
}

/// The owner cannot release its first claim, and does not know that it holds the second one. Its heartbeats would keep
/// both alive, although no record will follow.
#[actix_rt::test]
async fn an_unreleased_claim_is_freed_when_its_owner_reconnects() {
    let server = Server::start();
    let wire = Relay::to(server.port);
    let (one, _heard) = up(config(&wire.url(), 40, 2)).await;
    let (two, mut heard) = up(config(&server.url(), 40, 2)).await;
    let given_up = claimed(&one, &record_key(1)).await;
    // The server grants this claim, but the reply is lost.
    wire.deaf(true);
    assert!(one.claim(&record_key(2), 0).await.is_err());
    wire.cut(true);
    until(&one, RedisStatus::Unavailable).await;
    assert!(one.release(&given_up, "").await.is_err());
    wire.cut(false);
    until(&one, RedisStatus::Up).await;
    for of in [record_key(1), record_key(2)] {
        let is_free = || async {
            match two.claim(&of, 0).await {
                Ok(ClaimResult::Granted(claimed)) => Some(claimed),
                _ => None,
            }
        };
        settled(is_free).await;
    }
    let mut received = 0;
    while received < 2 {
        if let Event::Failed { encoded_failure: words, .. } =
            tokio::time::timeout(PATIENCE, heard.recv()).await.expect("the failure is announced").unwrap()
        {
            assert_eq!(words, "");
            received += 1;
        }
    }
}

/// The server is suspended, and executes the claim only after its owner has stopped waiting.
#[actix_rt::test]
async fn a_claim_executed_after_its_deadline_is_void() {
    let server = Server::start();
    let (one, _heard) = up(config(&server.url(), 40, 2)).await;
    let (two, _heard) = up(config(&server.url(), 40, 2)).await;
    // Loads the script into the server, so that the next claim is a single command.
    claimed(&one, &record_key(2)).await;
    server.signal("-STOP");
    assert!(one.claim(&record_key(3), 0).await.is_err());
    server.signal("-CONT");
    settled(|| async { two.look_up(&record_key(4)).await.ok() }).await;
    assert!(
        matches!(two.claim(&record_key(3), 0).await, Ok(ClaimResult::Granted(_))),
        "the late claim has no effect"
    );
}

#[test]
fn a_claim_lost_during_a_pause_cannot_publish_an_older_snapshot() {
    let server = Server::start();
    let (url, of) = (server.url(), record_key(8));
    let (paused, has_claim) = std::sync::mpsc::channel();
    let (has_put, leader_has_put) = tokio::sync::oneshot::channel();
    let leader = on_its_own_thread({
        let (url, of) = (url.clone(), of.clone());
        move || async move {
            let (shared, _heard) = up(config(&url, 40, 2)).await;
            let mine = claimed(&shared, &of).await;
            paused.send(()).unwrap();
            // Blocks the replica's thread. As after SIGSTOP, it sends no heartbeat and renews no claim.
            pause(Duration::from_secs(6));
            let record = bytes(&shared, &of, b"older");
            let put = settled(|| async { shared.put(&mine, &record, MINUTE).await.ok() }).await;
            has_put.send(()).unwrap();
            put
        }
    });
    has_claim.recv().unwrap();
    let lost = Instant::now();
    let follower = on_its_own_thread({
        let of = of.clone();
        move || async move {
            let (shared, _heard) = up(config(&url, 40, 2)).await;
            let claimed = settled(|| async {
                match shared.claim(&of, 0).await {
                    Ok(ClaimResult::Granted(claimed)) => Some(claimed),
                    _ => None,
                }
            });
            let claimed = claimed.await;
            let took = lost.elapsed();
            assert_eq!(
                shared.put(&claimed, &bytes(&shared, &of, b"newer"), MINUTE).await,
                Ok(PutResult::Stored)
            );
            leader_has_put.await.unwrap();
            (took, content(&shared, &of).await.unwrap())
        }
    });
    let (took, kept) = follower.join().unwrap();
    println!("the claim of a replica that stopped was free after {took:?}");
    assert!((Duration::from_millis(2_500)..Duration::from_millis(5_000)).contains(&took), "{took:?}");
    assert_eq!(leader.join().unwrap(), PutResult::Superseded);
    assert_eq!(kept, b"newer");
}

/// Makes calls until `end`, with slots from Redis or within the local share.
async fn call_whatever_happens(
    shared: &Cluster,
    me: usize,
    share: LocalShare,
    end: Instant,
    calls: &Calls,
    alone: &AtomicU64,
) {
    shared.set_demand(100, 0);
    while Instant::now() < end {
        match shared.mode(Instant::now()) {
            Mode::Waiting(from) => {
                // Redis may come back before that time.
                reached(from.min(Instant::now() + Duration::from_millis(20))).await;
            }
            Mode::Standalone => {
                calls.lock().unwrap().push((Instant::now(), me));
                shared.count_standalone_call(Instant::now());
                alone.fetch_add(1, Ordering::SeqCst);
                let apart = Duration::from_millis(1_010) / share.per_second.get();
                pause_async(apart.max(share.apart)).await;
            }
            Mode::Shared => match shared.reserve_slot().await {
                Ok(SlotReply::Slot(slot)) => call_in_slot(shared, slot, me, calls).await,
                Ok(SlotReply::RetryAt { at, .. }) => reached(at).await,
                Err(_) => pause_async(Duration::from_millis(20)).await,
            },
        }
    }
}

/// Waits until each of three replicas has sent two heartbeats and so knows all calls: the first heartbeat reports its
/// own calls, and the second reads those of the others.
fn wait_for_two_heartbeats_of_three(server: &str) {
    let mut connection = redis::Client::open(server).unwrap().get_connection().unwrap();
    for _ in 0..2 {
        let (seconds, micros): (u64, u64) = redis::cmd("TIME").query(&mut connection).unwrap();
        let now = seconds * 1_000_000 + micros;
        wait_for(|| {
            let members: HashMap<String, String> =
                redis::cmd("HGETALL").arg("{zqp:test}:members").query(&mut connection).unwrap();
            let last_seen = members.values().map(|member| member.split(' ').next().unwrap());
            let seen = last_seen.filter(|seen| seen.parse::<u64>().unwrap() > now).count();
            (seen == 3).then_some(())
        });
    }
}

/// Runs three replicas that call continuously during a disturbance. Returns the number of calls, the most in a second,
/// the number of standalone calls, and the day's count.
fn under_load(urls: [String; 3], seconds: u64, happens: impl FnOnce()) -> (usize, usize, u64, u64) {
    const PERMITTED: u32 = 36;
    let (calls, alone) = (Calls::default(), Arc::new(AtomicU64::new(0)));
    let (has_ended, ended) = std::sync::mpsc::channel();
    let (agree, _) = watch::channel(false);
    let (end, server) = (Instant::now() + Duration::from_secs(seconds), urls[2].clone());
    let replicas = urls.into_iter().enumerate().map(|(me, url)| {
        let (calls, alone) = (Arc::clone(&calls), Arc::clone(&alone));
        let (has_ended, mut agreed) = (has_ended.clone(), agree.subscribe());
        on_its_own_thread(move || async move {
            let (shared, _heard) = join(config(&url, PERMITTED, 3));
            let number = |number| NonZeroU32::new(number).unwrap();
            let share = LocalShare::of(number(PERMITTED), number(3));
            call_whatever_happens(&shared, me, share, end, &calls, &alone).await;
            until(&shared, RedisStatus::Up).await;
            has_ended.send(()).unwrap();
            agreed.wait_for(|agreed| *agreed).await.unwrap();
            shared.day(Instant::now()).used
        })
    });
    let replicas: Vec<_> = replicas.collect();
    happens();
    for _ in &replicas {
        ended.recv().unwrap();
    }
    wait_for_two_heartbeats_of_three(&server);
    agree.send(true).unwrap();
    let counted = replicas.into_iter().map(|replica| replica.join().unwrap()).max().unwrap();
    let most = most_in_a_second(calls.lock().unwrap().iter().map(|(at, _)| *at));
    let made = calls.lock().unwrap().len();
    (made, most, alone.load(Ordering::SeqCst), counted)
}

#[test]
fn calls_stay_within_the_limit_while_redis_restarts_without_data() {
    let mut server = Server::start();
    let url = server.url();
    let (made, most, alone, counted) = under_load([url.clone(), url.clone(), url], 22, || {
        pause(Duration::from_secs(5));
        server.stop();
        pause(Duration::from_secs(8));
        server.start_again();
    });
    println!("killed: {made} calls, {alone} of them alone, {most} in the fullest second, {counted} counted");
    assert!(most <= 36, "{most} calls in a second");
    assert!(alone > 60 && made > 250, "{made} calls, {alone} alone");
    let off = i64::try_from(counted).unwrap() - i64::try_from(made).unwrap();
    assert!((0..=12).contains(&off), "{counted} counted, {made} made");
}

#[test]
fn a_replica_without_redis_and_the_others_together_keep_the_limit() {
    let server = Server::start();
    let (wire, url) = (Relay::to(server.port), server.url());
    let (made, most, alone, counted) = under_load([wire.url(), url.clone(), url], 24, || {
        pause(Duration::from_secs(6));
        wire.cut(true);
        pause(Duration::from_secs(9));
        wire.cut(false);
    });
    println!("cut off: {made} calls, {alone} of them alone, {most} in the fullest second, {counted} counted");
    assert!(most <= 36, "{most} calls in a second");
    assert!(alone > 30 && made > 450, "{made} calls, {alone} alone");
    let off = i64::try_from(counted).unwrap() - i64::try_from(made).unwrap();
    assert!((0..=12).contains(&off), "{counted} counted, {made} made");
}

#[actix_rt::test]
async fn a_replica_that_never_reaches_redis_calls_on_its_own() {
    let mut server = Server::start();
    server.stop();
    let (shared, _heard) = join(ClusterConfig { ..config(&server.url(), 40, 2) });
    assert!(matches!(shared.mode(Instant::now()), Mode::Waiting(_)));
    until(&shared, RedisStatus::Unavailable).await;
    settled(|| async { (shared.mode(Instant::now()) == Mode::Standalone).then_some(()) }).await;
    server.start_again();
    until(&shared, RedisStatus::Up).await;
}

/// These tests depend on timing and need the machine to themselves: `make tests` runs them one at a time, after the
/// others.
mod alone {
    use super::*;

    #[test]
    fn a_vanished_replica_keeps_its_share_and_a_departed_one_does_not() {
        for leaves in [true, false] {
            let server = Server::start();
            let url = server.url();
            let (other, staying) = (url.clone(), Server::url(&server));
            on_its_own_thread(move || async move {
                let (shared, _heard) = up(config(&other, 40, 2)).await;
                next_slot(&shared).await;
                if leaves {
                    shared.leave().await;
                }
            })
            .join()
            .unwrap();
            let pace = on_its_own_thread(move || async move {
                let (shared, _heard) = up(config(&staying, 40, 2)).await;
                shared.set_demand(100, 0);
                // Ends the 30 s in which a server without data assumes that missing replicas call on their own.
                let _: u64 = server.command(&["HSET", "{zqp:test}:budget", "empty", "1"]);
                // Twice the silence after which the server assumes that a replica calls on its own.
                pause_async(Duration::from_secs(3)).await;
                let (begun, mut calls) = (Instant::now(), 0);
                while begun.elapsed() < Duration::from_secs(3) {
                    let slot = next_slot(&shared).await;
                    reached(slot.from).await;
                    calls += 1;
                }
                f64::from(calls) / begun.elapsed().as_secs_f64()
            });
            let pace = pace.join().unwrap();
            println!("after another {}: {pace:.1} of 40", if leaves { "left" } else { "vanished" });
            assert!(if leaves { pace > 37.0 } else { (17.0..20.5).contains(&pace) }, "{leaves}: {pace}");
        }
    }
}
