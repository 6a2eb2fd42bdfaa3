//! A broken Redis, or a server that is not Redis, counts as unavailable. The process calls Zoom on its own, and the log
//! gives a short reason.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use test_support::{
    replicas::{AWAY, wait_until_redis_is},
    service::Service,
    simulator::{add_meetings, sim},
    wait::wait_for,
};

/// The server's replies, in the Redis protocol.
#[derive(Clone)]
struct Says {
    info: String,
    time: String,
    /// The reply to a script. `NOW` stands for the current time in microseconds.
    script: String,
    /// The reply to the scripts for claims and purges, if it differs from `script`. Their first key is the fencing
    /// number.
    purges: Option<String>,
    heard: Arc<Heard>,
}

/// The numbers of connections and scripts that the server has received.
#[derive(Default)]
struct Heard {
    connections: AtomicUsize,
    scripts: AtomicUsize,
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn time(seconds: u64) -> String {
    format!("*2\r\n{}{}", bulk(&seconds.to_string()), bulk("5"))
}

/// The reply of the quota script to a replica without callers, with `number` in every place except the first two and
/// the last.
fn reply(number: i64) -> String {
    let numbers = format!(":{number}\r\n").repeat(13);
    format!("*16\r\n:0\r\n:{}\r\n{numbers}:0\r\n", now() * 1_000_000)
}

fn sane() -> Says {
    Says {
        info: bulk(&format!("run_id:{}", "a".repeat(40))),
        time: time(now()),
        script: reply(0),
        purges: None,
        heard: Arc::default(),
    }
}

/// Starts a server with these replies, and returns its port. Runs until the test process ends.
fn imitation(says: Says) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let says = Arc::new(says);
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let says = Arc::clone(&says);
            // The thread ends when the service disconnects.
            thread::spawn(move || answer(&connection, &says).ok());
        }
    });
    port
}

fn answer(connection: &TcpStream, says: &Says) -> std::io::Result<()> {
    connection.set_nodelay(true)?;
    let (mut read, mut write) = (BufReader::new(connection), connection);
    let number = |line: &str| line.trim_start_matches(['*', '$']).trim().parse::<usize>().unwrap_or_default();
    loop {
        let mut line = String::new();
        if read.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut words = Vec::new();
        for _ in 0..number(&line) {
            let mut length = String::new();
            read.read_line(&mut length)?;
            let mut word = vec![0; number(&length) + 2];
            read.read_exact(&mut word)?;
            word.truncate(word.len() - 2);
            words.push(String::from_utf8_lossy(&word).into_owned());
        }
        let said = match words.first().map(String::as_str) {
            Some("HELLO") => {
                says.heard.connections.fetch_add(1, Relaxed);
                format!("%1\r\n{}{}", bulk("server"), bulk("redis"))
            }
            Some("SUBSCRIBE") => format!(">3\r\n{}{}:1\r\n", bulk("subscribe"), bulk(&words[1])),
            Some("EXISTS") => ":0\r\n".to_owned(),
            Some("INFO") => says.info.clone(),
            Some("TIME") => says.time.clone(),
            Some("EVALSHA" | "EVAL") => {
                says.heard.scripts.fetch_add(1, Relaxed);
                let of_purges = words.get(3).is_some_and(|key| key.ends_with(":fence"));
                let said = says.purges.as_ref().filter(|_| of_purges).unwrap_or(&says.script);
                said.replace("NOW", &(now() * 1_000_000).to_string())
            }
            _ => "+OK\r\n".to_owned(),
        };
        write.write_all(said.as_bytes())?;
    }
}

#[test]
fn an_impossible_redis_reply_counts_as_unavailable_and_callers_are_answered() {
    let sim = sim(|_| ());
    let cases = [
        ("the end of time", Says { time: time(u64::MAX), ..sane() }),
        ("the year 10000", Says { time: time(253_402_300_800), ..sane() }),
        ("no time", Says { time: "*2\r\n$-1\r\n$-1\r\n".to_owned(), ..sane() }),
        ("the largest numbers", Says { script: reply(i64::MAX), ..sane() }),
        ("the smallest numbers", Says { script: reply(i64::MIN), ..sane() }),
        ("no numbers", Says { script: format!("*16\r\n{}", ",nan\r\n".repeat(16)), ..sane() }),
        ("nothing", Says { script: "_\r\n".to_owned(), ..sane() }),
        ("too deep", Says { script: "*1\r\n".repeat(100_000), ..sane() }),
        ("a long complaint", Says { script: format!("-ERR {}\r\n", "x".repeat(1_000_000)), ..sane() }),
        ("not its protocol", Says { info: "HTTP/1.1 400 Bad Request\r\n\r\n".to_owned(), ..sane() }),
    ];
    thread::scope(|scope| {
        for (number, (what, says)) in cases.into_iter().enumerate() {
            let path = add_meetings(&sim, number, 1).remove(0);
            let sim = &sim;
            scope.spawn(move || {
                let url = format!("redis://127.0.0.1:{}/0", imitation(says));
                let service = Service::start(sim, &[("redis.url", &url), ("server.wait", "39s")]);
                let answer = service.get(&path);
                assert_eq!(answer.status, 200, "{what}: {}", answer.text());
                assert_eq!(service.metric("zoom_qos_proxy_redis_up"), 0.0, "{what}");
                wait_for(|| service.printed().iter().any(|line| line.contains(AWAY)).then_some(()));
                for line in service.finish(&[AWAY, "out of bounds"]) {
                    assert!(line.len() < 1_000, "{what}: {} bytes", line.len());
                }
            });
        }
    });
}

#[test]
fn an_invalid_run_id_is_counted_without_going_standalone() {
    let sim = sim(|_| ());
    let says = Says { info: bulk(&format!("run_id:{}", "x".repeat(1_000_000))), ..sane() };
    let url = format!("redis://127.0.0.1:{}/0", imitation(says));
    let service = Service::start(&sim, &[("redis.url", &url)]);
    wait_until_redis_is(&service, 1.0);
    let counted = "zoom_qos_proxy_redis_values_rejected_total{kind=\"server\"}";
    assert!(service.metric(counted) >= 1.0);
    service.finish(&["out of bounds"]);
}

#[test]
fn a_retry_time_that_is_always_past_causes_no_busy_loop() {
    let sim = sim(|_| ());
    let path = add_meetings(&sim, 0, 1).remove(0);
    let day = now() / 86_400;
    let script = format!("*16\r\n:2\r\n:NOW\r\n:NOW\r\n:1\r\n:{day}\r\n{}", ":0\r\n".repeat(11));
    let heard = Arc::<Heard>::default();
    let url =
        format!("redis://127.0.0.1:{}/0", imitation(Says { script, heard: Arc::clone(&heard), ..sane() }));
    let service = Service::start(&sim, &[("redis.url", &url), ("server.wait", "9s")]);
    wait_until_redis_is(&service, 1.0);
    thread::scope(|scope| {
        let waits = scope.spawn(|| service.get(&path));
        let (before, begun) = (heard.scripts.load(Relaxed), Instant::now());
        wait_for(|| (heard.scripts.load(Relaxed) >= before + 60).then_some(()));
        let took = begun.elapsed();
        assert!(took >= Duration::from_secs(1), "60 scripts within {took:?}");
        assert_eq!(waits.join().unwrap().status, 503);
    });
    service.finish(&[]);
}

#[test]
fn connections_that_break_at_once_are_reopened_with_a_backoff() {
    let sim = sim(|_| ());
    let path = add_meetings(&sim, 0, 1).remove(0);
    let (heard, purge) = (Arc::<Heard>::default(), (now() + 60) * 1_000_000);
    let script = format!(
        "*16\r\n:0\r\n:NOW\r\n:0\r\n:0\r\n:{}\r\n{}:{purge}\r\n:0\r\n:0\r\n",
        now() / 86_400,
        ":0\r\n".repeat(8)
    );
    let says = Says { script, purges: Some("+OK\r\n".to_owned()), heard: Arc::clone(&heard), ..sane() };
    let url = format!("redis://127.0.0.1:{}/0", imitation(says));
    let service = Service::start(&sim, &[("redis.url", &url)]);
    wait_until_redis_is(&service, 1.0);
    thread::scope(|scope| {
        // While a caller waits for a permit, the service opens one connection after another, and each breaks.
        let waits = scope.spawn(|| service.get(&path));
        let (before, begun) = (heard.connections.load(Relaxed), Instant::now());
        wait_for(|| (heard.connections.load(Relaxed) >= before + 14).then_some(()));
        let took = begun.elapsed();
        assert!(took >= Duration::from_secs(1), "14 connections within {took:?}");
        assert!([200, 503].contains(&waits.join().unwrap().status));
    });
    service.finish(&[AWAY, "out of bounds"]);
}
