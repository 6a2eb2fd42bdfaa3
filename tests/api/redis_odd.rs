//! What answers in Redis's place is no Redis, or a broken one: it counts as away, the process goes on by itself, and the log says
//! why in a few words.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    limits::add_meetings_from as add_meetings,
    replicas::{AWAY, wait_until_redis_is},
    service::{Service, sim, wait_for},
};

/// What it says, in Redis's protocol.
#[derive(Clone)]
struct Says {
    info: String,
    time: String,
    script: String,
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

/// What a script of the budget gives, with `number` at every place but the first two.
fn reply(number: i64) -> String {
    let numbers = format!(":{number}\r\n").repeat(13);
    format!("*15\r\n:0\r\n:{}\r\n{numbers}", now() * 1_000_000)
}

fn sane() -> Says {
    Says { info: bulk(&format!("run_id:{}", "a".repeat(40))), time: time(now()), script: reply(0) }
}

/// Listens for as long as the test runs; gives its port.
fn imitation(says: Says) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let says = Arc::new(says);
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let says = Arc::clone(&says);
            // A peer that hangs up ends it.
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
            Some("HELLO") => format!("%1\r\n{}{}", bulk("server"), bulk("redis")),
            Some("SUBSCRIBE") => format!(">3\r\n{}{}:1\r\n", bulk("subscribe"), bulk(&words[1])),
            Some("EXISTS") => ":0\r\n".to_owned(),
            Some("INFO") => says.info.clone(),
            Some("TIME") => says.time.clone(),
            Some("EVALSHA" | "EVAL") => says.script.clone(),
            _ => "+OK\r\n".to_owned(),
        };
        write.write_all(said.as_bytes())?;
    }
}

#[test]
fn a_server_that_says_what_none_says_is_away_and_callers_are_answered() {
    let sim = sim(|_| ());
    let cases = [
        ("the end of time", Says { time: time(u64::MAX), ..sane() }),
        ("the year 10000", Says { time: time(253_402_300_800), ..sane() }),
        ("no time", Says { time: "*2\r\n$-1\r\n$-1\r\n".to_owned(), ..sane() }),
        ("the largest numbers", Says { script: reply(i64::MAX), ..sane() }),
        ("the smallest numbers", Says { script: reply(i64::MIN), ..sane() }),
        ("no numbers", Says { script: format!("*15\r\n{}", ",nan\r\n".repeat(15)), ..sane() }),
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
fn a_run_id_that_is_none_is_counted_and_no_reason_to_go_alone() {
    let sim = sim(|_| ());
    let says = Says { info: bulk(&format!("run_id:{}", "x".repeat(1_000_000))), ..sane() };
    let url = format!("redis://127.0.0.1:{}/0", imitation(says));
    let service = Service::start(&sim, &[("redis.url", &url)]);
    wait_until_redis_is(&service, 1.0);
    let counted = "zoom_qos_proxy_redis_values_rejected_total{kind=\"server\"}";
    assert!(service.metric(counted) >= 1.0);
    service.finish(&["out of bounds"]);
}
