//! A Zoom that misbehaves at random in many ways that a connection allows, while callers request meetings.

use std::{
    collections::BTreeSet,
    io::Write as _,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use test_support::{
    client::{Answer, Connection},
    raw_zoom::{Asked, RawZoom, Step, answer},
    rudeness::{MOMENT, Over, Watch, any_seed, garbage, hour},
    service::Service,
    simulator::sim,
    wait::{pause, wait_for},
};

const MEETINGS: u64 = 400;
const CALLERS: u64 = 40;
const PARTICIPANTS: usize = 12;
/// The id in pages that claim to belong to another meeting.
const MEETING_OF_NOBODY: u64 = 99_999_999_999;
/// The page token of the second page.
const SECOND: &str = "second";
/// The bytes by which the service may grow: `limits.max_fetch_bytes`, 1.3 times `cache.max_bytes`, connections, and
/// what the allocator retains.
const MEMORY: u64 = 64 << 20;
/// The longest time until an answer: `server.wait` (3 s here), and 2 s for a busy machine.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
/// The longest time until the service serves every meeting, after Zoom behaves again.
const WHOLE_WITHIN: Duration = Duration::from_secs(30);

const SETTINGS: [(&str, &str); 15] = [
    ("zoom.connect_timeout", "1s"),
    ("zoom.request_timeout", "1s"),
    ("zoom.max_body", "1MiB"),
    ("limits.heavy_per_second", "2000"),
    ("limits.heavy_per_day", "100000000"),
    ("limits.max_fetch_bytes", "16MiB"),
    ("cache.max_bytes", "8MiB"),
    ("cache.live_fresh", "1s"),
    ("cache.stale_while_revalidate", "0s"),
    // Stale snapshots would hide failures.
    ("cache.stale_if_error", "0s"),
    ("cache.not_found_live", "0s"),
    ("cache.not_found_past", "0s"),
    ("cache.refusal", "0s"),
    ("server.wait", "3s"),
    ("telemetry.log_level", "error,zoom_qos_proxy::app=info"),
];

fn id(number: u64) -> String {
    (91_000_000_000 + number).to_string()
}

/// The requested meeting and page.
struct Wanted {
    meeting: String,
    is_first: bool,
}

impl Wanted {
    fn by(asked: &Asked) -> Self {
        let meeting = asked.head[0].split('/').nth(4).unwrap().to_owned();
        Self { meeting, is_first: !asked.head[0].contains("next_page_token=") }
    }

    fn page(&self) -> Value {
        let numbers = if self.is_first { 0..10 } else { 10..PARTICIPANTS };
        let noise = "x".repeat(if self.meeting.ends_with('7') { 20_000 } else { 20 });
        let participants: Vec<_> = numbers
            .map(|number| {
                let name = format!("{}-{number}", self.meeting);
                json!({ "user_id": number.to_string(), "user_name": name, "noise": noise, "user_qos": [] })
            })
            .collect();
        json!({
            "next_page_token": if self.is_first { SECOND } else { "" },
            "total_records": PARTICIPANTS,
            "participants": participants,
        })
    }

    fn body(&self) -> Vec<u8> {
        self.page().to_string().into_bytes()
    }

    /// A correct response.
    fn answer(&self) -> Vec<u8> {
        answer(&self.page().to_string())
    }
}

/// A response with this status line and these headers, and this body.
fn with(lines: &str, body: &[u8]) -> Vec<u8> {
    [b"HTTP/1.1 ", lines.as_bytes(), b"\r\n\r\n", body].concat()
}

fn with_length(status: &str, length: usize, body: &[u8]) -> Vec<u8> {
    with(&format!("{status}\r\nContent-Type: application/json\r\nContent-Length: {length}"), body)
}

/// Returns steps that send the bytes in parts, with a random pause after each.
fn in_parts(rng: &mut Rng, mut bytes: &[u8], longest_pause_ms: u64) -> Vec<Step> {
    let mut steps = Vec::new();
    while !bytes.is_empty() {
        let (part, rest) = bytes.split_at(rng.usize(1..=bytes.len().min(bytes.len() / 4 + 40)));
        steps.extend([
            Step::Send(part.to_vec()),
            Step::Pause(Duration::from_millis(rng.u64(..=longest_pause_ms))),
        ]);
        bytes = rest;
    }
    steps
}

fn chunked(rng: &mut Rng, mut body: &[u8]) -> Vec<u8> {
    let mut bytes = with("200 OK\r\nTransfer-Encoding: chunked", b"");
    while !body.is_empty() {
        let (part, rest) = body.split_at(rng.usize(1..=body.len().min(3_000)));
        let extension = ["", ";name=value", "; a=\"b;c\"", ";x"][rng.usize(..4)];
        bytes.extend(format!("{:x}{extension}\r\n", part.len()).into_bytes());
        bytes.extend_from_slice(part);
        bytes.extend_from_slice(b"\r\n");
        body = rest;
    }
    bytes.extend_from_slice(b"0\r\n");
    bytes.extend_from_slice(if rng.bool() { b"Expires: 0\r\nX-Sum: 7\r\n\r\n" } else { b"\r\n" });
    bytes
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// A correct response in an unusual form.
fn unusual(rng: &mut Rng, wanted: &Wanted) -> Vec<Step> {
    let (whole, body) = (wanted.answer(), wanted.body());
    match rng.u8(..6) {
        0 => {
            let interim = ["103 Early Hints\r\nLink: </a>", "100 Continue", "102 Processing"][rng.usize(..3)];
            let interim = with(interim, b"").repeat(rng.usize(1..4));
            let pause = Step::Pause(Duration::from_millis(rng.u64(..400)));
            vec![Step::Send(interim), pause, Step::Send(whole)]
        }
        1 => in_parts(rng, &whole, 0),
        2 => in_parts(rng, &whole, 60),
        3 => {
            let end = if rng.bool() { Step::Close } else { Step::HalfClose };
            vec![Step::Send(with("200 OK", &body)), end]
        }
        4 => {
            let bytes = chunked(rng, &body);
            if rng.bool() { vec![Step::Send(bytes)] } else { in_parts(rng, &bytes, 2) }
        }
        _ => {
            let many: String = (0..rng.u8(90..180)).map(|number| format!("X-{number}: v\r\n")).collect();
            vec![Step::Send(with(&format!("200 OK\r\n{many}Content-Length: {}", body.len()), &body))]
        }
    }
}

/// More than one response, or the response to another request. No surplus byte may become the answer to a later
/// request.
fn surplus(rng: &mut Rng, wanted: &Wanted) -> Vec<Step> {
    let (whole, body) = (wanted.answer(), wanted.body());
    let nothing = with_length("500 Internal Server Error", 0, b"");
    match rng.u8(..7) {
        // A second response follows: in the same write here, and in a later write below.
        0 => vec![Step::Send([&whole[..], &whole].concat()), Step::Doubt],
        1 => vec![
            Step::Send(whole),
            Step::Pause(Duration::from_millis(rng.u64(..100))),
            // This response contains no meeting, because it may arrive after the next request and would then look like
            // the response to that request.
            Step::Send(nothing),
            Step::Doubt,
        ],
        2 => {
            let pause = Step::Pause(Duration::from_millis(30));
            vec![Step::Send(whole), pause, Step::Send(garbage(rng)), Step::Doubt]
        }
        3 => {
            vec![Step::Send(with_length("200 OK", body.len() - rng.usize(1..body.len()), &body)), Step::Doubt]
        }
        4 => vec![Step::Send([&with_length("204 No Content", 0, b"")[..], &whole].concat()), Step::Doubt],
        5 => {
            let mut foreign = Wanted { meeting: id(rng.u64(..MEETINGS)), is_first: wanted.is_first }.page();
            foreign["meeting_number"] =
                if rng.bool() { json!(MEETING_OF_NOBODY) } else { json!(MEETING_OF_NOBODY.to_string()) };
            vec![Step::Send(answer(&foreign.to_string()))]
        }
        // The connection closes while it is idle in the pool.
        _ => {
            let end = if rng.bool() { Step::Close } else { Step::Reset };
            vec![Step::Send(whole), Step::Pause(Duration::from_millis(rng.u64(..50))), end]
        }
    }
}

/// Responses that are invalid, too large or incomplete, or that never end.
fn broken(rng: &mut Rng, wanted: &Wanted) -> Vec<Step> {
    let body = wanted.body();
    let started = with("200 OK\r\nTransfer-Encoding: chunked", b"");
    let pause = Duration::from_millis(rng.u64(..2) * 50);
    let head_start = b"HTTP/1.1 200 OK\r\n".to_vec();
    match rng.u8(..16) {
        0 => vec![Step::Doubt],
        1 => vec![Step::Reset],
        2 => vec![Step::Close],
        3 => vec![Step::HalfClose, Step::Doubt],
        4 => {
            let length = body.len() + rng.usize(1..5_000);
            let end = [Step::Close, Step::Reset, Step::HalfClose, Step::Doubt][rng.usize(..4)].clone();
            vec![Step::Send(with_length("200 OK", length, &body)), end]
        }
        5 => vec![Step::Send(with_length("200 OK", 1 << rng.u8(20..62), &body)), Step::Doubt],
        6 => vec![Step::Send(head_start), Step::Repeat(b"X-More: and more\r\n".to_vec(), pause)],
        7 => vec![Step::Repeat(with("103 Early Hints", b""), pause)],
        8 => {
            let line = "y".repeat(rng.usize(16_000..200_000));
            vec![Step::Send(with(&format!("200 OK\r\nX: {line}\r\nContent-Length: {}", body.len()), &body))]
        }
        9 => {
            let garbage = garbage(rng);
            vec![Step::Send(garbage), if rng.bool() { Step::Close } else { Step::Doubt }]
        }
        10 => {
            let text = if rng.bool() { body } else { vec![b' '; 20 << 20] };
            let zipped = gzip(&text);
            let head = format!("200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}", zipped.len());
            vec![Step::Send(with(&head, &zipped))]
        }
        // Three bodies are endless, and one announces a chunk that is larger than any memory.
        11 => vec![
            Step::Send(started),
            Step::Repeat([&b"4000\r\n"[..], &[b' '; 0x4000], b"\r\n"].concat(), pause),
        ],
        12 => vec![Step::Send(with("200 OK", b"")), Step::Repeat(vec![b' '; 9_000], pause)],
        13 => vec![Step::Send([&started[..], b"FFFFFFFFFFFFFF\r\n", &body].concat()), Step::Doubt],
        14 => vec![Step::Send([&started[..], b"1;"].concat()), Step::Repeat(vec![b'e'; 900], pause)],
        _ => {
            let cut = wanted.answer();
            vec![Step::Send(cut[..rng.usize(1..cut.len())].to_vec()), Step::Close]
        }
    }
}

/// A well-formed response that is not the requested page.
fn refusing(rng: &mut Rng, wanted: &Wanted, long_pauses: bool) -> Vec<Step> {
    let length = [0, 300, 100_000, 3_000_000][rng.usize(..4)];
    match rng.u8(..4) {
        0 => {
            const ODD: [&str; 10] = ["0", "-1", "1.5", "soon", "", "1e3", "2, 3", "1590883140", "Thu", "3"];
            const LONG: [&str; 2] = ["99999999999999999999", "9999-12-31T23:59:59Z"];
            let values = if long_pauses && rng.u8(..) == 0 { &LONG[..] } else { &ODD };
            let value = values[rng.usize(..values.len())];
            let head = format!("429 Too Many Requests\r\nRetry-After: {value}\r\nX-RateLimit-Type: QPS");
            // A 429 is rare here, because each stops all calls for a second or more.
            let head = if rng.u8(..8) == 0 { head } else { "418 I'm a teapot".to_owned() };
            vec![Step::Send(with(&format!("{head}\r\nContent-Length: 0"), b""))]
        }
        1 => {
            let to = ["https://zoom.invalid/", "/v2/loop", "http://[", ""][rng.usize(..4)];
            let status = ["301 Moved", "302 Found", "307 Temporary", "304 Not Modified"][rng.usize(..4)];
            vec![Step::Send(with(&format!("{status}\r\nLocation: {to}\r\nContent-Length: 0"), b""))]
        }
        2 => {
            let status = ["400 Bad", "403 No", "404 None", "413 Large", "500 Oh", "502 Gateway", "503 Later"];
            vec![Step::Send(with_length(status[rng.usize(..7)], length, &vec![b'z'; length]))]
        }
        // Each page names a further page, without end.
        _ => {
            let mut page = Wanted { meeting: wanted.meeting.clone(), is_first: true }.page();
            page["next_page_token"] = format!("more-{}", rng.u64(..)).into();
            vec![Step::Send(answer(&page.to_string()))]
        }
    }
}

fn rude(rng: &mut Rng, asked: &Asked, long_pauses: bool) -> Vec<Step> {
    let wanted = Wanted::by(asked);
    match rng.u8(..100) {
        0..40 => vec![Step::Send(wanted.answer())],
        40..65 => unusual(rng, &wanted),
        65..78 => surplus(rng, &wanted),
        78..90 => broken(rng, &wanted),
        _ => refusing(rng, &wanted, long_pauses),
    }
}

/// Answers some connections before their first request, as a load balancer without servers may do.
fn greeting(rng: &mut Rng) -> Vec<Step> {
    match rng.u8(..40) {
        0 => vec![Step::Send(with_length("408 Request Timeout", 0, b"")), Step::Close],
        1 => vec![Step::Send(with_length("503 No Server", 0, b"")), Step::Doubt],
        2 => vec![Step::Send(b"\x16\x03\x01".to_vec()), Step::Doubt],
        3 => vec![Step::Reset],
        _ => Vec::new(),
    }
}

/// Asserts that the answer is the complete meeting, or a problem other than `internal_error`. Returns whether it is the
/// meeting.
fn judge(meeting: &str, answer: &Answer) -> bool {
    if answer.status != 200 {
        assert_ne!(answer.problem(), "internal_error", "{}", answer.text());
        return false;
    }
    let json = answer.json();
    assert_eq!(json["meeting_id"], meeting);
    let names = json["participants"].as_array().unwrap().iter().map(|one| one["user_name"].as_str().unwrap());
    let expected: Vec<_> = (0..PARTICIPANTS).map(|number| format!("{meeting}-{number}")).collect();
    let expected: BTreeSet<_> = expected.iter().map(String::as_str).collect();
    assert_eq!(names.collect::<BTreeSet<_>>(), expected, "of {meeting}");
    true
}

/// Requests random meetings until `over`, and adds the number of complete answers to `whole`.
fn call(service: &Service, rng: &mut Rng, over: &AtomicBool, whole: &AtomicUsize) {
    let mut connection = Connection::open(service.addr);
    while !over.load(Ordering::Relaxed) {
        let (meeting, asked) = (id(rng.u64(..MEETINGS)), Instant::now());
        let answer = connection.ask("GET", &format!("/qos/{meeting}"));
        assert!(asked.elapsed() < ANSWERED_WITHIN, "{meeting}: {:?}", asked.elapsed());
        if judge(&meeting, &answer) {
            whole.fetch_add(1, Ordering::Relaxed);
        } else {
            // A rejected caller backs off.
            pause(Duration::from_millis(20));
        }
    }
}

fn rude_zoom_for(time: Duration, seed: u64) {
    println!("seed {seed}");
    let is_rude = Arc::new(AtomicBool::new(true));
    let script = {
        let (is_rude, number) = (Arc::clone(&is_rude), AtomicUsize::new(0));
        move |asked: &Asked| {
            let number = number.fetch_add(1, Ordering::Relaxed) as u64;
            let mut rng = Rng::with_seed(seed ^ (number << 20));
            if is_rude.load(Ordering::Relaxed) {
                rude(&mut rng, asked, time > MOMENT)
            } else {
                vec![Step::Send(Wanted::by(asked).answer())]
            }
        }
    };
    let greets = Arc::clone(&is_rude);
    let greeting = move |connection: usize| {
        let mut rng = Rng::with_seed(seed ^ ((connection as u64) << 40));
        if greets.load(Ordering::Relaxed) { greeting(&mut rng) } else { Vec::new() }
    };
    let zoom = RawZoom::start_greeting(TcpListener::bind("127.0.0.1:0").unwrap(), greeting, script);
    let (sim, url) = (sim(|_| ()), zoom.api_base_url());
    let service = Service::start(&sim, &[&SETTINGS[..], &[("zoom.api_base_url", &url)]].concat());
    service.wait_until_ready(200);
    let (over, whole) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (mut watch, until, mut calls) = (Watch::new([&service], MEMORY), Instant::now() + time, 0);
    thread::scope(|scope| {
        let over = Over(&over);
        for number in 0..CALLERS {
            let (service, over, whole) = (&service, over.0, &whole);
            scope.spawn(move || {
                let _over = Over(over);
                call(service, &mut Rng::with_seed(seed + number), over, whole);
            });
        }
        while Instant::now() < until && !over.0.load(Ordering::Relaxed) {
            watch.look();
            calls += zoom.forget();
            assert_eq!(zoom.asked_in_doubt(), 0, "no request is sent on a connection in doubt");
            pause(Duration::from_millis(50));
        }
    });
    println!("{calls} calls to Zoom, {} whole answers", whole.load(Ordering::Relaxed));
    assert!(whole.load(Ordering::Relaxed) > 20, "callers get meetings while Zoom misbehaves");
    is_rude.store(false, Ordering::Relaxed);
    let honest = Instant::now();
    for number in 0..MEETINGS {
        let meeting = id(number);
        wait_for(|| judge(&meeting, &service.get(&format!("/qos/{meeting}"))).then_some(()));
    }
    assert!(honest.elapsed() < WHOLE_WITHIN, "{:?}", honest.elapsed());
    println!("every meeting within {:?}", honest.elapsed());
    wait_for(|| (service.ops_get("/status").json()["flights"]["active"] == 0).then_some(()));
    assert_eq!(service.metric("zoom_qos_proxy_fetch_bytes"), 0.0);
    watch.rest();
    assert_eq!(zoom.asked_in_doubt(), 0);
    service.finish(&[]);
}

#[test]
fn no_meeting_gets_the_data_of_another_from_a_rude_zoom() {
    rude_zoom_for(MOMENT, 1);
}

#[test]
#[ignore = "takes an hour: make test-all runs it"]
fn no_meeting_gets_the_data_of_another_for_an_hour() {
    rude_zoom_for(hour(), any_seed());
}
