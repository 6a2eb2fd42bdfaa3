//! Three replicas with one Redis. Callers keep requesting a few meetings while one disturbance follows another.

use std::{
    collections::HashMap,
    io::Write as _,
    net::{SocketAddr, TcpStream},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use test_support::{
    client::{Answer, read_answer},
    redis_server::Server,
    replicas::{AWAY, REPLICAS, day_of, finish, start, wait_until_redis_is},
    service::Service,
    simulator::{most_in_a_second, refused_by_zoom, sim},
    wait::{PATIENCE, pause, wait_for},
};
use zoom_sim::{Meeting, Sim};

const SEED: u64 = 6;
const MEETINGS: usize = 12;
const CALLERS: usize = 4;
/// The longest wait of a caller: until a claim becomes free (3 s), another replica looks again (1 s), and a process
/// without Redis may call Zoom on its own (3 s). The other 5 s are for the fetches, because without Redis all meetings
/// share a third of the limit.
const LONGEST_WAIT: Duration = Duration::from_secs(12);
/// The most slots that a disturbance can waste, because a replica or Redis forgets that they were reserved: the calls
/// of a quarter of a second.
const LOST_AT_MOST: u64 = 10;
const SETTINGS: [(&str, &str); 4] = [
    ("cache.live_fresh", "1s"),
    ("cache.stale_while_revalidate", "0s"),
    // Stale answers would hide failures.
    ("cache.stale_if_error", "0s"),
    ("server.wait", "30s"),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upset {
    RedisHiccups,
    RedisStops,
    RedisIsEmptied,
    RedisIsTooSmall,
    RedisRestartsEmpty,
    ScriptsAreForgotten,
    ConnectionsAreCut,
    ReplicaIsKilled,
    ReplicaStops,
}

const UPSETS: [Upset; 9] = [
    Upset::RedisHiccups,
    Upset::RedisStops,
    Upset::RedisIsEmptied,
    Upset::RedisIsTooSmall,
    Upset::RedisRestartsEmpty,
    Upset::ScriptsAreForgotten,
    Upset::ConnectionsAreCut,
    Upset::ReplicaIsKilled,
    Upset::ReplicaStops,
];

/// The data that all callers share: the addresses of the replicas, and the results.
struct Seen {
    addresses: [Mutex<SocketAddr>; REPLICAS],
    /// Whether the replica is being replaced, so that it need not answer.
    down: [AtomicBool; REPLICAS],
    latest: Mutex<HashMap<(usize, usize), SystemTime>>,
    answers: AtomicUsize,
    longest: Mutex<Duration>,
    wrong: Mutex<Vec<String>>,
    over: AtomicBool,
}

fn participants(meeting: usize) -> usize {
    1 + meeting % 4 * 10
}

fn path(meeting: usize) -> String {
    format!("/qos/{:011}", 93_000_000_000 + meeting)
}

/// Returns `None` if the connection fails or ends without an answer.
fn try_get(to: SocketAddr, path: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(to).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: service\r\nConnection: close\r\n\r\n").as_bytes())
        .ok()?;
    stream.peek(&mut [0]).is_ok_and(|bytes| bytes > 0).then(|| read_answer(stream))
}

impl Seen {
    fn new(replicas: &[Service]) -> Self {
        Self {
            addresses: std::array::from_fn(|replica| Mutex::new(replicas[replica].addr)),
            down: Default::default(),
            latest: Mutex::default(),
            answers: AtomicUsize::new(0),
            longest: Mutex::default(),
            wrong: Mutex::default(),
            over: AtomicBool::new(false),
        }
    }

    fn ask(&self, replica: usize, meetings: impl Iterator<Item = usize> + Clone) {
        let mut last = HashMap::new();
        for meeting in meetings.cycle() {
            if self.over.load(Ordering::SeqCst) {
                return;
            }
            let (to, asked) = (*self.addresses[replica].lock().unwrap(), Instant::now());
            let answer = try_get(to, &path(meeting));
            if let Some(wrong) = self.note(replica, meeting, answer.as_ref(), last.get(&meeting), asked) {
                self.wrong.lock().unwrap().push(format!("replica {replica}, meeting {meeting}: {wrong}"));
            }
            last.extend(answer.and_then(|answer| fetched(&answer)).map(|fetched| (meeting, fetched)));
            // The interval between requests. All callers together send a few hundred a second.
            pause(Duration::from_millis(20));
        }
    }

    /// Records this answer. Returns what is wrong with it, if anything.
    fn note(
        &self,
        replica: usize,
        meeting: usize,
        answer: Option<&Answer>,
        last: Option<&SystemTime>,
        asked: Instant,
    ) -> Option<String> {
        let Some(answer) = answer else {
            let down = self.down[replica].load(Ordering::SeqCst);
            return (!down).then(|| "no answer".to_owned());
        };
        self.answers.fetch_add(1, Ordering::SeqCst);
        let took = asked.elapsed();
        let mut longest = self.longest.lock().unwrap();
        *longest = took.max(*longest);
        drop(longest);
        if answer.status != 200 {
            return Some(format!("{} after {took:?}", answer.text()));
        }
        let rows = answer.json()["participants"].as_array().unwrap().len();
        if rows != participants(meeting) {
            return Some(format!("{rows} participants"));
        }
        let fetched = fetched(answer)?;
        self.latest.lock().unwrap().insert((replica, meeting), fetched);
        last.filter(|last| fetched < **last).map(|last| format!("back from {last:?} to {fetched:?}"))
    }

    /// Waits for this number of further answers.
    fn wait_for_answers(&self, count: usize) {
        let until = self.answers.load(Ordering::SeqCst) + count;
        wait_for(|| (self.answers.load(Ordering::SeqCst) >= until).then_some(()));
    }

    /// Waits until every replica uses Redis, and then until each has served every meeting from a newer fetch.
    fn wait_for_calm(&self, replicas: &[Service]) {
        for replica in replicas {
            wait_until_redis_is(replica, 1.0);
        }
        let calm = SystemTime::now();
        wait_for(|| {
            let latest = self.latest.lock().unwrap();
            let all = (0..REPLICAS).flat_map(|replica| (0..MEETINGS).map(move |meeting| (replica, meeting)));
            let is_newer = |of| latest.get(&of).is_some_and(|fetched| *fetched > calm);
            all.into_iter().all(is_newer).then_some(())
        });
    }
}

fn fetched(answer: &Answer) -> Option<SystemTime> {
    httpdate::parse_http_date(answer.header("last-modified")?).ok()
}

fn upset(what: Upset, sim: &Sim, redis: &mut Server, replicas: &mut [Service], seen: &Seen) {
    match what {
        Upset::RedisHiccups => {
            redis.signal("-STOP");
            // A freeze for the time of two heartbeats.
            let stopped = Instant::now();
            wait_for(|| (stopped.elapsed() > Duration::from_millis(600)).then_some(()));
            redis.signal("-CONT");
        }
        Upset::RedisStops => {
            redis.signal("-STOP");
            for replica in replicas.iter() {
                wait_until_redis_is(replica, 0.0);
            }
            redis.signal("-CONT");
        }
        Upset::RedisIsEmptied => redis.command(&["FLUSHALL"]),
        Upset::RedisIsTooSmall => {
            redis.command::<()>(&["CONFIG", "SET", "maxmemory-policy", "volatile-lru"]);
            let info: String = redis.command(&["INFO", "memory"]);
            let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
            redis.command::<()>(&["CONFIG", "SET", "maxmemory", used]);
            wait_for(|| (!redis.says(&["INFO", "stats"], "evicted_keys:0\r")).then_some(()));
            seen.wait_for_answers(200);
            redis.command::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
        }
        Upset::RedisRestartsEmpty => {
            redis.stop();
            redis.start_again();
        }
        Upset::ScriptsAreForgotten => {
            for _ in 0..5 {
                redis.command::<()>(&["SCRIPT", "FLUSH"]);
                seen.wait_for_answers(20);
            }
        }
        Upset::ConnectionsAreCut => {
            for _ in 0..40 {
                redis.command::<redis::Value>(&["CLIENT", "KILL", "TYPE", "normal"]);
                redis.command::<redis::Value>(&["CLIENT", "KILL", "TYPE", "pubsub"]);
                seen.wait_for_answers(3);
            }
        }
        Upset::ReplicaIsKilled => {
            seen.down[0].store(true, Ordering::SeqCst);
            let url = redis.url();
            let new = start_one(sim, &url);
            std::mem::replace(&mut replicas[0], new).crash();
            *seen.addresses[0].lock().unwrap() = replicas[0].addr;
            // After this many answers, no request to the old process is left.
            seen.wait_for_answers(100);
            seen.down[0].store(false, Ordering::SeqCst);
        }
        Upset::ReplicaStops => {
            replicas[1].signal("STOP");
            let stopped = Instant::now();
            wait_for(|| (stopped.elapsed() > Duration::from_secs(4)).then_some(()));
            replicas[1].signal("CONT");
        }
    }
}

fn start_one(sim: &Sim, url: &str) -> Service {
    let ours = [("redis.url", url), ("redis.replicas", "3"), ("limits.headroom_percent", "0")];
    Service::start(sim, &ours.into_iter().chain(SETTINGS).collect::<Vec<_>>())
}

/// During every disturbance, Zoom sends no 429, and every answer is a 200 with the complete meeting. No replica serves
/// an older snapshot than before, and no caller waits for a claim that is never released. Afterwards, every replica
/// soon serves newer snapshots. The day's count contains all calls, and at most the wasted slots in addition.
#[test]
fn chaos_costs_callers_of_shared_meetings_nothing_but_time() {
    let (sim, mut redis) = (sim(|config| config.latency = Duration::from_millis(40)), Server::start());
    for meeting in 0..MEETINGS {
        let id = path(meeting).replace("/qos/", "");
        sim.add_meeting(Meeting::generated(&id, participants(meeting), 1));
    }
    let mut replicas = start(&sim, &redis, &SETTINGS);
    let seen = Seen::new(&replicas);
    let mut order = UPSETS;
    fastrand::Rng::with_seed(SEED).shuffle(&mut order);
    thread::scope(|scope| {
        for (replica, caller) in (0..REPLICAS).flat_map(|r| (0..CALLERS).map(move |c| (r, c))) {
            let seen = &seen;
            scope.spawn(move || seen.ask(replica, (caller..MEETINGS).step_by(CALLERS)));
        }
        // A panic in this thread must stop the callers.
        let upsets = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            seen.wait_for_calm(&replicas);
            for what in order {
                let (begun, answers) = (Instant::now(), seen.answers.load(Ordering::SeqCst));
                upset(what, &sim, &mut redis, &mut replicas, &seen);
                seen.wait_for_calm(&replicas);
                let answers = seen.answers.load(Ordering::SeqCst) - answers;
                let longest = std::mem::take(&mut *seen.longest.lock().unwrap());
                println!(
                    "{what:?}: calm after {:?}, {answers} answers, the slowest after {longest:?}",
                    begun.elapsed()
                );
                assert!(longest < LONGEST_WAIT, "{what:?}: {longest:?}");
                let wrong = seen.wrong.lock().unwrap().clone();
                assert!(
                    wrong.is_empty(),
                    "{what:?}: {} of {answers}: {:#?}",
                    wrong.len(),
                    &wrong[..wrong.len().min(5)]
                );
                assert_eq!(refused_by_zoom(&sim), 0, "{what:?}");
            }
        }));
        seen.over.store(true, Ordering::SeqCst);
        upsets.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    wait_for(|| {
        replicas
            .iter()
            .all(|replica| replica.ops_get("/status").json()["flights"]["active"] == 0)
            .then_some(())
    });
    let calls = sim.qos_calls();
    println!("{} calls, {} at most in any second", calls.len(), most_in_a_second(&calls));
    let counted: Vec<_> = replicas.iter().map(day_of).collect();
    println!("counted: {counted:?}");
    let calls = calls.len() as u64;
    let most = calls + LOST_AT_MOST * UPSETS.len() as u64;
    for replica in &replicas {
        wait_for(|| (calls..=most).contains(&day_of(replica)).then_some(()));
    }
    finish(replicas, &[AWAY]);
}
