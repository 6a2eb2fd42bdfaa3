//! Callers that misuse their connections at random, while another caller requests the same meetings.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;
use test_support::{
    client::Connection,
    rudeness::{MOMENT, Over, Watch, any_seed, hour},
    service::Service,
    simulator::sim,
    wait::{pause, wait_for},
};
use zoom_sim::Meeting;

const MEETINGS: [&str; 4] = ["91111111111", "92222222222", "93333333333", "94444444444"];
/// The default of `cache.live_fresh`.
const LIVE_FRESH: Duration = Duration::from_secs(30);
const RUDE: usize = 24;
/// The bytes by which the service may grow with all rude callers: connections, buffers, and parts of a large meeting
/// for each slow reader.
const MEMORY: u64 = 96 << 20;

/// Returns a piece of a request, or bytes that resemble one.
fn piece(rng: &mut Rng) -> Vec<u8> {
    const PIECES: [&str; 14] = [
        "GET /qos/94444444444 HTTP/1.1\r\nHost: a\r\n\r\n",
        "HEAD /qos/94444444444 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /nothing HTTP/1.1\r\nHost: a\r\n",
        "POST /qos/91111111111 HTTP/1.1\r\nHost: a\r\n",
        "Content-Length: 100000\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Upgrade: h2c\r\nConnection: Upgrade\r\n",
        "Expect: 100-continue\r\n",
        "\r\n",
        "5\r\nabcde\r\n",
        "0\r\n\r\n",
        "\x16\x03\x01\x02\0\x01\0",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "X: y\r\n",
    ];
    let piece = PIECES[rng.usize(..PIECES.len())];
    let times = if rng.u8(..) < 40 { rng.usize(1..400) } else { 1 };
    piece.repeat(times).into_bytes()
}

/// Opens a connection, and performs up to 11 random actions on it. Stops if the service closes it.
fn be_rude(to: SocketAddr, rng: &mut Rng) {
    let Ok(mut peer) = TcpStream::connect(to) else { return };
    peer.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    peer.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    for _ in 0..rng.usize(1..12) {
        let mut some = vec![0; rng.usize(1..20_000)];
        let went_on = match rng.u8(..10) {
            0..6 => peer.write_all(&piece(rng)).is_ok(),
            6..8 => !matches!(peer.read(&mut some), Ok(0)),
            8 => peer.shutdown(Shutdown::Write).is_ok(),
            _ => {
                pause(Duration::from_millis(rng.u64(1..200)));
                true
            }
        };
        if !went_on {
            break;
        }
    }
    if rng.bool() {
        // Dropping the connection sends a reset.
        socket2::Socket::from(peer).set_linger(Some(Duration::ZERO)).ok();
    }
}

fn rude_callers_for(time: Duration, seed: u64) {
    println!("seed {seed}");
    let sim = sim(|_| ());
    for (number, id) in (1..).zip(MEETINGS) {
        sim.add_meeting(Meeting::generated(id, if number == 4 { 80 } else { number }, 60));
    }
    let timeouts =
        [("server.head_timeout", "2s"), ("server.idle_timeout", "2s"), ("server.write_timeout", "2s")];
    let service = Service::start(
        &sim,
        &[&timeouts[..], &[("telemetry.log_level", "warn,zoom_qos_proxy::app=info")]].concat(),
    );
    let began = Instant::now();
    let lengths = MEETINGS.map(|id| service.get(&format!("/qos/{id}")).body.len());
    let (mut watch, until, over) =
        (Watch::new([&service], MEMORY), Instant::now() + time, AtomicBool::new(false));
    thread::scope(|scope| {
        let _over = Over(&over);
        for number in 0..RUDE {
            let (over, to) = (&over, if number % 4 == 0 { service.ops } else { service.addr });
            scope.spawn(move || {
                let mut rng = Rng::with_seed(seed + u64::try_from(number).unwrap());
                while !over.load(Ordering::Relaxed) {
                    be_rude(to, &mut rng);
                }
            });
        }
        while Instant::now() < until {
            watch.look();
            let mut caller = Connection::open(service.addr);
            for (id, length) in MEETINGS.iter().zip(lengths) {
                let answer = caller.ask("GET", &format!("/qos/{id}"));
                assert_eq!((&answer.json()["meeting_id"], answer.body.len()), (&(*id).into(), length));
            }
        }
    });
    watch.rest();
    wait_for(|| (service.metric("zoom_qos_proxy_connections{listener=\"callers\"}") == 0.0).then_some(()));
    // The first meeting has one page. The service fetches it once, and again each time that the snapshot has become
    // stale.
    let most = 1 + began.elapsed().as_secs() / LIVE_FRESH.as_secs();
    let calls = sim.qos_calls();
    let calls = calls.iter().filter(|call| call.meeting.as_deref() == Some(MEETINGS[0])).count();
    assert!((1..=most).contains(&(calls as u64)), "{calls} calls, {most} at most");
    service.finish(&[]);
}

#[test]
fn rude_callers_affect_no_other_caller() {
    rude_callers_for(MOMENT, 1);
}

#[test]
#[ignore = "takes an hour: make test-all runs it"]
fn rude_callers_affect_no_other_caller_for_an_hour() {
    rude_callers_for(hour(), any_seed());
}
