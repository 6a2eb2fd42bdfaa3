//! A Redis that misbehaves at random in many ways that a connection allows, while callers request meetings from two
//! replicas.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use fastrand::Rng;
use test_support::{
    client::{Answer, Connection},
    redis_server::Server,
    replicas::wait_until_redis_is,
    rudeness::{MOMENT, Over, Watch, any_seed, garbage, hour},
    service::Service,
    simulator::{calls_for, most_in_a_second, refused_by_zoom, sim},
    wait::{pause, wait_for},
};
use zoom_sim::{Meeting, Sim};

const MEETINGS: u64 = 24;
const CALLERS: u64 = 4;
const PER_SECOND: usize = 40;
const MEMORY: u64 = 64 << 20;
/// The bytes by which the service may grow during endless replies: the largest reply twice (on the wire and as a
/// value), and queued push messages. Without bounds on replies, it grew by 986 MiB.
const FLOOD_MEMORY: u64 = 128 << 20;
/// The longest time until an answer: `server.wait` (5 s here), and 2 s for a busy machine.
const ANSWERED_WITHIN: Duration = Duration::from_secs(7);

const SETTINGS: [(&str, &str); 7] = [
    ("redis.replicas", "2"),
    ("limits.headroom_percent", "0"),
    ("cache.live_fresh", "2s"),
    ("cache.stale_while_revalidate", "0s"),
    ("cache.stale_if_error", "0s"),
    ("server.wait", "5s"),
    ("telemetry.log_level", "error,zoom_qos_proxy::app=info"),
];

/// A faulty or lying server misbehaves only during the first `RUDE_FOR` of each `TURN`. If it always did, no replica
/// would use it.
const TURN: Duration = Duration::from_millis(2_500);
const RUDE_FOR: Duration = Duration::from_millis(1_000);

/// How the proxy treats commands and replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manners {
    Honest,
    /// Bytes are delayed or lost, or belong to no reply.
    Faulty,
    /// Like `Faulty`, and some well-formed replies are wrong.
    Lying,
    /// Replies never end.
    Flooding,
}

/// A proxy in front of a real server, on its own port. Runs until the test process ends.
struct RudeRedis {
    port: u16,
    mood: Arc<Mood>,
}

/// The beginning of an endless reply, and the part that is repeated.
const FLOODS: [[&str; 2]; 6] = [
    ["$999999999999\r\n", "x"],
    ["+", "x"],
    ["*999999999999\r\n", ":1\r\n"],
    ["*999999999999\r\n", "*-1\r\n"],
    ["", ">3\r\n$7\r\nmessage\r\n$6\r\nevents\r\n$4\r\nwhat\r\n"],
    ["", "+OK\r\n"],
];

struct Mood {
    flood: AtomicUsize,
    manners: AtomicU8,
    began: Instant,
}

impl Mood {
    fn now(&self) -> Manners {
        let at = self.began.elapsed().as_millis() % TURN.as_millis();
        match self.manners.load(Ordering::Relaxed) {
            manners if manners == Manners::Flooding as u8 => Manners::Flooding,
            manners if manners == Manners::Honest as u8 || at > RUDE_FOR.as_millis() => Manners::Honest,
            manners if manners == Manners::Faulty as u8 => Manners::Faulty,
            _ => Manners::Lying,
        }
    }
}

impl RudeRedis {
    fn before(server: &Server, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = listener.local_addr().unwrap().port();
        let manners = AtomicU8::new(Manners::Honest as u8);
        let (mood, port) =
            (Arc::new(Mood { flood: AtomicUsize::new(0), manners, began: Instant::now() }), server.port);
        let of_all = Arc::clone(&mood);
        thread::spawn(move || {
            for (number, client) in (0..).zip(listener.incoming().flatten()) {
                let mut rng = Rng::with_seed(seed ^ (number << 24));
                if of_all.now() != Manners::Honest && rng.u8(..12) == 0 {
                    // To the client, the reset looks like a refused connection.
                    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).ok();
                    continue;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let (mood, asks) = (Arc::clone(&of_all), rng.fork());
                thread::spawn(move || questions(from, to, &mood, asks));
                let mood = Arc::clone(&of_all);
                thread::spawn(move || answers(server, client, &mood, rng));
            }
        });
        Self { port: here, mood }
    }

    fn be(&self, manners: Manners) {
        self.mood.manners.store(manners as u8, Ordering::Relaxed);
    }
}

/// Forwards the replica's commands. Sometimes delays or drops them, or closes the connection.
fn questions(mut from: TcpStream, mut to: TcpStream, mood: &Mood, mut rng: Rng) {
    let mut bytes = [0; 16_384];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if mood.now() != Manners::Honest {
            match rng.u8(..100) {
                0 => break,
                1 => return swallow(from),
                2..5 => pause(Duration::from_millis(rng.u64(..400))),
                _ => {}
            }
        }
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    to.shutdown(Shutdown::Both).ok();
}

/// Discards everything from now on, and keeps the connection open.
fn swallow(mut from: TcpStream) {
    let mut bytes = [0; 16_384];
    while from.read(&mut bytes).is_ok_and(|count| count > 0) {}
}

/// Forwards the server's replies, changed as `mood` says.
fn answers(mut from: TcpStream, mut to: TcpStream, mood: &Mood, mut rng: Rng) {
    let mut bytes = [0; 16_384];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        let some = &mut bytes[..count];
        let manners = mood.now();
        if manners == Manners::Flooding {
            return flood(&mut to, mood);
        }
        let dice = if manners == Manners::Honest { u8::MAX } else { rng.u8(..100) };
        let sent = match dice {
            0 => break,
            1 => {
                socket2::SockRef::from(&to).set_linger(Some(Duration::ZERO)).ok();
                return;
            }
            2 => return swallow(from),
            3..6 => {
                // No real reply is forwarded after this, because it would be taken for the reply to a later command.
                to.write_all(&nonsense(&mut rng)).ok();
                if rng.bool() {
                    break;
                }
                return swallow(from);
            }
            6..12 => {
                pause(Duration::from_millis(rng.u64(..400)));
                to.write_all(some)
            }
            12..16 => to.write_all(&forged_event(&mut rng)).and_then(|()| to.write_all(some)),
            16..22 => some.chunks(rng.usize(1..40)).try_for_each(|part| to.write_all(part)),
            22..34 if manners == Manners::Lying => {
                lie(&mut rng, some);
                to.write_all(some)
            }
            34..37 if manners == Manners::Lying => to.write_all(some).and_then(|()| to.write_all(some)),
            37..39 if manners == Manners::Lying => Ok(()),
            _ => to.write_all(some),
        };
        if sent.is_err() {
            break;
        }
    }
    to.shutdown(Shutdown::Both).ok();
    from.shutdown(Shutdown::Both).ok();
}

/// Sends the beginning of an endless reply, and then the repeated part as fast as the replica reads.
fn flood(to: &mut TcpStream, mood: &Mood) {
    let [beginning, more] = FLOODS[mood.flood.load(Ordering::Relaxed)];
    let more = more.repeat(65_536 / more.len());
    if to.write_all(beginning.as_bytes()).is_ok() {
        while mood.now() == Manners::Flooding && to.write_all(more.as_bytes()).is_ok() {}
    }
    to.shutdown(Shutdown::Both).ok();
}

/// Returns replies that no server sends, or that are wrong at this moment.
fn nonsense(rng: &mut Rng) -> Vec<u8> {
    const ODD: [&str; 28] = [
        "$999999999\r\n",
        "$9223372036854775807\r\n",
        "*999999999\r\n",
        "*9223372036854775807\r\n",
        "%999999999\r\n",
        "%4611686018427387904\r\n",
        "%-1\r\n",
        "~999999999\r\n",
        ">999999999\r\n",
        "|9223372036854775807\r\n",
        "=-1\r\n",
        "!-9223372036854775808\r\n",
        "*-7\r\n",
        "$18446744073709551616\r\n",
        "+OK\r\n",
        "_\r\n",
        "#t\r\n",
        ",nan\r\n",
        "*0\r\n",
        "%0\r\n",
        ">0\r\n",
        ":\r\n",
        "(99999999999999999999999\r\n",
        "-LOADING Redis is loading the dataset in memory\r\n",
        "-READONLY You can't write against a read only replica.\r\n",
        "-OOM command not allowed when used memory > 'maxmemory'.\r\n",
        "-MOVED 5 127.0.0.1:1\r\n",
        "-NOSCRIPT No matching script.\r\n",
    ];
    match rng.u8(..8) {
        0 => garbage(rng),
        1 => ["*1\r\n", "*2\r\n:1\r\n", "%1\r\n+a\r\n", ">2\r\n+a\r\n", "|1\r\n+a\r\n"][rng.usize(..5)]
            .repeat(rng.usize(1..20_000))
            .into_bytes(),
        2 => forged_event(rng).repeat(rng.usize(1..20_000)),
        // These replies announce a length and never reach it.
        3 => [&b"$999999999\r\n"[..], &vec![b'x'; rng.usize(1..4 << 20)]].concat(),
        4 => [&b"*999999999\r\n"[..], &b":1\r\n".repeat(rng.usize(1..200_000))].concat(),
        // This line never ends.
        5 => [&b"+"[..], &vec![b'x'; rng.usize(1..1 << 20)]].concat(),
        _ => ODD[rng.usize(..ODD.len())].as_bytes().to_vec(),
    }
}

/// Returns an event that no replica has published.
fn forged_event(rng: &mut Rng) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    let meeting = id(rng.u64(..MEETINGS));
    let text = match rng.u8(..8) {
        0 => format!("landed {meeting}:live {}", rng.u64(..)),
        1 => format!("failed {meeting}:live {} {{\"reason\":\"x\"}}", rng.u64(..9)),
        2 => format!("purged {meeting}:live {} x", rng.u8(..)),
        3 => format!("cool second {} {{}}", now + u128::from(rng.u32(..300_000))),
        4 => "cool second -1".to_owned(),
        5 => "landed  ".repeat(rng.usize(1..9)),
        6 => format!("purged {meeting}:live 18446744073709551616 x"),
        _ => "x".repeat(rng.usize(..200)),
    };
    format!(">3\r\n$7\r\nmessage\r\n$6\r\nevents\r\n${}\r\n{text}\r\n", text.len()).into_bytes()
}

/// Changes digits of integers, but not of lengths: with wrong lengths, the bytes would no longer be valid replies.
fn lie(rng: &mut Rng, some: &mut [u8]) {
    let mut in_number = false;
    for byte in some {
        match *byte {
            b':' => in_number = true,
            b'0'..=b'9' if in_number && rng.u8(..6) == 0 => *byte = rng.u8(b'0'..=b'9'),
            b'0'..=b'9' => {}
            _ => in_number = false,
        }
    }
}

fn id(number: u64) -> String {
    (92_000_000_000 + number).to_string()
}

fn participants(number: u64) -> usize {
    usize::try_from(1 + number % 4 * 10).unwrap()
}

/// Asserts that the answer is the complete meeting, or a problem other than `internal_error`. Returns whether it is the
/// meeting.
fn judge(number: u64, answer: &Answer) -> bool {
    if answer.status != 200 {
        assert_ne!(answer.problem(), "internal_error", "{}", answer.text());
        return false;
    }
    let json = answer.json();
    assert_eq!(json["meeting_id"], id(number));
    let rows = json["participants"].as_array().unwrap().iter().map(ToString::to_string);
    assert_eq!(rows.collect::<BTreeSet<_>>().len(), participants(number));
    true
}

fn call(service: &Service, rng: &mut Rng, over: &AtomicBool, whole: &AtomicUsize) {
    let mut connection = Connection::open(service.addr);
    while !over.load(Ordering::Relaxed) {
        let (number, asked) = (rng.u64(..MEETINGS), Instant::now());
        let answer = connection.ask("GET", &format!("/qos/{}", id(number)));
        assert!(asked.elapsed() < ANSWERED_WITHIN, "{number}: {:?}", asked.elapsed());
        whole.fetch_add(usize::from(judge(number, &answer)), Ordering::Relaxed);
        pause(Duration::from_millis(10));
    }
}

/// Lets callers send requests for this time. Asserts that they get complete meetings, and that Zoom gets at most `most`
/// calls in any second.
fn meanwhile(replicas: &[Service], sim: &Sim, time: Duration, seed: u64, watch: &mut Watch<'_>, most: usize) {
    let (over, whole, until) = (AtomicBool::new(false), AtomicUsize::new(0), Instant::now() + time);
    thread::scope(|scope| {
        let over = Over(&over);
        for (replica, number) in replicas.iter().flat_map(|one| (0..CALLERS).map(move |number| (one, number)))
        {
            let (over, whole) = (over.0, &whole);
            scope.spawn(move || {
                let _over = Over(over);
                call(replica, &mut Rng::with_seed(seed + number), over, whole);
            });
        }
        let mut looked = Instant::now();
        while Instant::now() < until && !over.0.load(Ordering::Relaxed) {
            watch.look();
            if looked.elapsed() > Duration::from_secs(3) {
                assert_calls(sim, most);
                looked = Instant::now();
            }
            pause(Duration::from_millis(50));
        }
    });
    assert_calls(sim, most);
    println!("{} whole answers", whole.load(Ordering::Relaxed));
    assert!(whole.load(Ordering::Relaxed) > 20, "callers get meetings while the server misbehaves");
}

/// Checks the calls since the previous check.
fn assert_calls(sim: &Sim, most: usize) {
    let calls = sim.qos_calls();
    assert!(most_in_a_second(&calls) <= most, "{} in a second", most_in_a_second(&calls));
    if most == PER_SECOND {
        assert_eq!(refused_by_zoom(sim), 0);
    }
    sim.clear_calls();
}

fn rude_redis_for(time: Duration, seed: u64) {
    println!("seed {seed}");
    let (sim, server) = (sim(|config| config.per_day = 10_000_000), Server::start());
    for number in 0..MEETINGS {
        sim.add_meeting(Meeting::generated(id(number), participants(number), 5));
    }
    let redis = RudeRedis::before(&server, seed);
    let url = format!("redis://127.0.0.1:{}/0", redis.port);
    let settings =
        [&SETTINGS[..], &[("redis.url", url.as_str()), ("limits.heavy_per_day", "10000000")]].concat();
    let replicas = [Service::start(&sim, &settings), Service::start(&sim, &settings)];
    for replica in &replicas {
        wait_until_redis_is(replica, 1.0);
    }
    let mut watch = Watch::new(&replicas, MEMORY);
    redis.be(Manners::Faulty);
    meanwhile(&replicas, &sim, time * 6 / 10, seed, &mut watch, PER_SECOND);
    // A forged slot looks like a real one, but each replica still keeps to the limit of all replicas together. Accepted
    // forgeries, such as a cool-down, may outlast the waits of a short run, so only the run of an hour has this part.
    if time > MOMENT {
        redis.be(Manners::Lying);
        meanwhile(&replicas, &sim, time * 4 / 10, seed, &mut watch, 2 * PER_SECOND);
    }
    redis.be(Manners::Honest);
    let honest = Instant::now();
    for replica in &replicas {
        wait_until_redis_is(replica, 1.0);
    }
    sim.add_meeting(Meeting::generated(id(MEETINGS), participants(MEETINGS), 5));
    for replica in &replicas {
        for number in 0..=MEETINGS {
            wait_for(|| judge(number, &replica.get(&format!("/qos/{}", id(number)))).then_some(()));
        }
    }
    println!("every meeting within {:?}", honest.elapsed());
    wait_for(|| {
        sim.clear_calls();
        for replica in &replicas {
            replica.ops_purge();
        }
        let answers = replicas.each_ref().map(|replica| replica.get(&format!("/qos/{}", id(MEETINGS))));
        let are_whole = answers.iter().all(|answer| judge(MEETINGS, answer));
        (are_whole && calls_for(&sim, &id(MEETINGS)).len() == 1).then_some(())
    });
    watch.rest();
    for replica in replicas {
        replica.finish(&[]);
    }
}

#[test]
fn endless_replies_of_redis_take_little_memory() {
    let (sim, server) = (sim(|_| ()), Server::start());
    sim.add_meeting(Meeting::generated(id(0), 1, 1));
    let redis = RudeRedis::before(&server, 1);
    let url = format!("redis://127.0.0.1:{}/0", redis.port);
    let service = Service::start(&sim, &[&SETTINGS[..], &[("redis.url", url.as_str())]].concat());
    let mut watch = Watch::new([&service], FLOOD_MEMORY);
    for (number, flood) in FLOODS.iter().enumerate() {
        wait_until_redis_is(&service, 1.0);
        redis.mood.flood.store(number, Ordering::Relaxed);
        redis.be(Manners::Flooding);
        let until = Instant::now() + Duration::from_secs(2);
        while Instant::now() < until {
            watch.look();
        }
        println!("{flood:?}: {} MiB", service.resident() >> 20);
        assert_eq!(service.get(&format!("/qos/{}", id(0))).status, 200);
        redis.be(Manners::Honest);
    }
    watch.rest();
    service.finish(&[]);
}

#[test]
fn a_rude_redis_makes_replicas_slower_and_nothing_else() {
    rude_redis_for(MOMENT, 1);
}

#[test]
#[ignore = "takes an hour: make test-all runs it"]
fn a_rude_redis_makes_replicas_slower_and_nothing_else_for_an_hour() {
    rude_redis_for(hour(), any_seed());
}
