//! The HTML pages: made from the same snapshots as `/qos/{meetingId}`, and complete without script.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read as _,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use test_support::{
    callers::{KEY, start, two_callers},
    client::{Answer, request},
    freshness::{get_with, ttl, wait_until_stale},
    service::Service,
    simulator::sim,
    wait::wait_for,
};
use zoom_sim::{Fault, FaultKind, Meeting, Sim};

const PATH: &str = "/meetings/98765432101?type=past";
const CHALLENGES: [&str; 2] = ["Bearer", "Basic realm=\"zoom-qos-proxy\", charset=\"UTF-8\""];

fn service_with_a_meeting(sim: &Sim) -> Service {
    sim.add_meeting(Meeting::generated("98765432101", 12, 5));
    Service::start(sim, &[])
}

/// Checks the headers that every page has, and returns its text.
fn page(answer: &Answer, status: u16) -> String {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = answer.header("content-security-policy").expect("a policy");
    for directive in ["default-src 'none'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"]
    {
        assert!(policy.split("; ").any(|part| part == directive), "{directive} in {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
    let cached = if status == 200 { "private, no-cache" } else { "no-store" };
    assert_eq!(answer.header("cache-control"), Some(cached));
    let text = answer.text();
    assert!(text.starts_with("<!DOCTYPE html>") && text.trim_end().ends_with("</html>"), "{text}");
    for (directive, element) in [("style-src", "style"), ("script-src", "script")] {
        let sources = policy.split("; ").find_map(|part| part.strip_prefix(directive)).expect(directive);
        for inline in elements(&text, element) {
            let hash = format!("'sha256-{}'", STANDARD.encode(Sha256::digest(inline)));
            assert!(
                sources.split(' ').any(|source| source == hash),
                "{directive} lacks {hash} of {inline:.60}"
            );
        }
    }
    text
}

/// The contents of all elements with this name and without attributes.
fn elements<'p>(page: &'p str, name: &str) -> Vec<&'p str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    page.split(&open).skip(1).map(|rest| rest.split(&close).next().expect("it is closed")).collect()
}

fn challenges(answer: &Answer) -> Vec<&str> {
    let all = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("www-authenticate"));
    all.map(|(_, value)| value.as_str()).collect()
}

#[test]
fn the_front_page_and_the_guide_need_no_key() {
    let sim = sim(|_| ());
    let (service, _folder, _) = start(&sim, &two_callers(""), &[]);
    let front = service.get("/");
    let text = page(&front, 200);
    assert_eq!(front.header("link"), Some("</openapi.json>; rel=\"service-desc\""));
    for part in ["action=\"/meetings\"", "name=\"id\"", "href=\"/guide\"", "href=\"/openapi.json\""] {
        assert!(text.contains(part), "{part}");
    }
    let guide = service.get("/guide");
    let text = page(&guide, 200);
    let source = include_str!("../../docs/CALLERS.md");
    let chapters = source.lines().filter_map(|line| line.strip_prefix("## "));
    for chapter in chapters {
        assert!(text.contains(&format!(">{chapter}</h2>")), "{chapter}");
    }
    let refused = request(service.addr, "POST", "/", &[]);
    assert_eq!((refused.status, refused.header("link")), (405, front.header("link")));
    for answer in [&front, &guide] {
        let path = if answer.body == front.body { "/" } else { "/guide" };
        let same = service.get_with_headers(path, &[("if-none-match", answer.header("etag").unwrap())]);
        assert_eq!((same.status, same.body.len()), (304, 0));
        let head = request(service.addr, "HEAD", path, &[]);
        assert_eq!((head.status, head.header("etag"), head.body.len()), (200, answer.header("etag"), 0));
    }
    assert!(sim.qos_calls().is_empty());
    let log = service.finish(&[]);
    assert!(log.iter().any(|line| line.contains(r#""route":"front""#)));
}

#[test]
fn a_page_shares_its_meetings_flight_and_headers() {
    let sim = sim(|_| ());
    let service = service_with_a_meeting(&sim);
    let first = service.get(PATH);
    let text = page(&first, 200);
    assert_eq!(first.cache_status(), "zoom-qos-proxy; fwd=uri-miss; fwd-status=200; stored");
    let whole = service.get("/qos/98765432101?type=past");
    let again = service.get(PATH);
    assert_eq!((&again.body, again.header("last-modified")), (&first.body, whole.header("last-modified")));
    assert_eq!(again.header("vary"), Some("Accept-Encoding"));
    for part in [
        "Meeting <code>98765432101</code>",
        "href=\"/qos/98765432101?type=past&#38;kind=meeting&#38;format=csv\"",
        "href=\"/qos/98765432101?type=past&#38;kind=meeting&#38;format=ndjson\"",
        "href=\"/qos/98765432101/summary?type=past&#38;kind=meeting&#38;latency_ms=150",
    ] {
        assert!(text.contains(part), "{part}: {text:.6000}");
    }
    assert_eq!(text.matches("<details").count(), 12);
    let tag = again.header("etag").unwrap();
    let same = service.get_with_headers(PATH, &[("if-none-match", tag)]);
    assert_eq!(
        (same.status, same.body.len(), same.header("cache-control")),
        (304, 0, Some("private, no-cache"))
    );
    let packed = service.get_with_headers(PATH, &[("accept-encoding", "gzip")]);
    let mut unpacked = String::new();
    flate2::read::GzDecoder::new(&packed.body[..]).read_to_string(&mut unpacked).unwrap();
    assert_eq!((packed.header("content-encoding"), &unpacked), (Some("gzip"), &text));
    let limited = service.get(&format!("{PATH}&latency_ms=1"));
    assert!(page(&limited, 200).contains("12 of 12 had a bad time"));
    let tags: BTreeSet<_> = [&again, &packed, &limited, &whole].map(|answer| answer.header("etag")).into();
    assert_eq!(tags.len(), 4);
    assert_eq!(sim.qos_calls().len(), 2, "two pages, once");
    assert!(service.metric("zoom_qos_proxy_requests_total{outcome=\"hit\",status=\"200\"}") > 2.0);
    let log = service.finish(&[]);
    assert!(log.iter().any(|line| line.contains(r#""route":"page""#)));
}

/// The bad columns of each strip of a page, by the participant's index in Zoom's list and by medium.
fn bad_columns(page: &str) -> BTreeMap<(usize, String), Vec<usize>> {
    let mut strips = BTreeMap::new();
    for details in page.split("<details id=\"p").skip(1) {
        let number: usize = details.split('"').next().unwrap().parse().unwrap();
        for strip in details.split("<svg class=\"strip ").skip(1) {
            let medium = strip.split('"').next().unwrap().to_owned();
            let paths = ["<path class=\"over\" d=\"M", "<path class=\"far\" d=\"M"];
            let paths = paths.map(|path| strip.split(path).skip(1));
            let ranges = paths.into_iter().flatten().map(|path| {
                let (begin, rest) = path.split_once(' ').unwrap();
                let end = rest.split('H').nth(1).unwrap().split('"').next().unwrap();
                begin.parse().unwrap()..end.parse().unwrap()
            });
            let mut columns: Vec<usize> = ranges.flatten().collect();
            columns.sort_unstable();
            strips.insert((number, medium), columns);
        }
    }
    strips
}

#[test]
fn a_cell_is_bad_exactly_if_the_summary_counts_its_minute() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("98765432101", 12, 20));
    let service = Service::start(&sim, &[]);
    for limits in ["", "&latency_ms=120.5&jitter_ms=20&cpu_percent=60"] {
        let query = format!("98765432101?type=past{limits}");
        let strips = bad_columns(&page(&service.get(&format!("/meetings/{query}")), 200));
        let summary = service.get(&format!("/qos/{}", query.replace('?', "/summary?"))).json();
        let participants = summary["participants"].as_array().unwrap();
        assert_eq!(strips.len(), 5 * participants.len());
        let mut all = 0;
        for (number, participant) in participants.iter().enumerate() {
            let over = |group: &str| participant["groups"][group]["minutes_over"].as_u64().unwrap_or(0);
            let cells = |medium: &str| strips[&(number, medium.to_owned())].clone();
            assert_eq!(cells("cpu").len() as u64, over("cpu_usage"), "{number}");
            let mut worst = BTreeSet::new();
            for (medium, prefix) in [("audio", "audio"), ("video", "video"), ("screen", "as")] {
                let (input, output) = (over(&format!("{prefix}_input")), over(&format!("{prefix}_output")));
                let cells = cells(medium);
                let count = cells.len() as u64;
                assert!(input.max(output) <= count && count <= input + output, "{number} {medium}");
                // The JSON gives the minutes of each direction. The strip shows the union of both.
                let minutes = [format!("{prefix}_input"), format!("{prefix}_output")].map(|group| {
                    let path = format!(
                        "/qos/{query}&groups={group}&participant={}",
                        participant["user_id"].as_str().unwrap()
                    );
                    over_minutes(&service.get(&path).json(), &group, &summary["limits"])
                });
                let union: BTreeSet<_> = minutes.into_iter().flatten().collect();
                assert_eq!(union.len(), cells.len(), "{number} {medium}");
                worst.extend(cells);
            }
            assert_eq!(cells("all"), worst.into_iter().collect::<Vec<_>>(), "{number}");
            all += cells("all").len();
        }
        assert!(all > 10, "{limits}");
    }
    service.finish(&[]);
}

/// Minute `n` of January 2026.
fn minute(n: u32) -> String {
    format!("2026-01-{:02}T{:02}:{:02}:00Z", 1 + n / 1_440, n / 60 % 24, n % 60)
}

/// A row in Zoom's format, with a sample far over the limit at each of these times.
fn bad_row(fields: &str, times: impl IntoIterator<Item = String>) -> String {
    let sample = |time| format!(r#"{{"date_time":"{time}","audio_input":{{"latency":"999 ms"}}}}"#);
    let samples: Vec<_> = times.into_iter().map(sample).collect();
    format!(r#"{{{fields}"user_qos":[{}]}}"#, samples.join(","))
}

/// The page of a meeting with these rows, its number of columns, and the title of each row's first strip.
fn page_of(sim: &Sim, service: &Service, id: usize, rows: &[String]) -> (String, usize, Vec<String>) {
    let id = format!("9{id:010}");
    sim.add_meeting(Meeting::raw_pages(&id, vec![format!("[{}]", rows.join(","))]));
    let text = page(&service.get(&format!("/meetings/{id}?type=past")), 200);
    let strips: Vec<_> = text.split("<svg class=\"strip all\"").skip(1).collect();
    let columns = strips[0].split("viewBox=\"0 0 ").nth(1).unwrap().split(' ').next().unwrap();
    let title =
        |strip: &&str| strip.split("<title>").nth(1).unwrap().split("</title>").next().unwrap().to_owned();
    (text.clone(), columns.parse().unwrap(), strips.iter().map(title).collect())
}

#[test]
fn a_page_shows_all_minutes_of_a_meeting_longer_than_a_day() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    for (hours, columns) in [(25, 500), (30, 600), (36, 720), (49, 588), (60, 720)] {
        let rows = [bad_row("", (0..hours * 60).map(minute))];
        let (text, found, titles) = page_of(&sim, &service, hours as usize, &rows);
        assert_eq!(found, columns, "{hours}");
        let minutes = hours * 60;
        assert!(
            titles[0].contains(&format!(": {minutes} of {minutes} minutes over a limit: 1 Jan 00:00–")),
            "{}",
            titles[0]
        );
        assert_eq!(bad_columns(&text)[&(0, "all".to_owned())], (0..columns).collect::<Vec<_>>());
        assert!(!text.contains("outside the shown time"));
    }
    let rows = [bad_row("", (0..26 * 60).map(minute)), bad_row("", (0..30).map(minute))];
    let (_, columns, titles) = page_of(&sim, &service, 1, &rows);
    assert_eq!(columns, 520);
    assert!(
        titles[0].contains("1560 of 1560 minutes") && titles[1].contains("30 of 30 minutes"),
        "{titles:?}"
    );
    service.finish(&[]);
}

#[test]
fn samples_with_a_wrong_clock_do_not_stretch_the_heatmap() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    let [past, future] = ["1970-01-01T00:00:00Z", "2036-02-07T06:28:00Z"].map(str::to_owned);
    let both = [past.clone(), future.clone()];
    let half_hour = || (0..30).map(minute);
    let wrong = |wrong: &[String]| bad_row("", half_hour().chain(wrong.iter().cloned()));
    let left_early = bad_row(r#""leave_time":"1970-01-01T00:00:00Z","#, half_hour());
    for (id, (rows, over, outside)) in [
        (vec![wrong(&[past])], 31, Some("1 sample outside")),
        (vec![wrong(&[future])], 31, Some("1 sample outside")),
        (vec![wrong(&both)], 32, Some("2 samples outside")),
        (vec![wrong(&both), wrong(&both)], 32, Some("4 samples outside")),
        (vec![left_early], 30, None),
    ]
    .into_iter()
    .enumerate()
    {
        let (text, columns, titles) = page_of(&sim, &service, id, &rows);
        assert_eq!(columns, 30, "{id}");
        for title in titles {
            assert!(title.contains(&format!(": {over} of {over} minutes over a limit")), "{title}");
        }
        let bad = (0..30).collect::<Vec<_>>();
        assert!((0..rows.len()).all(|row| bad_columns(&text)[&(row, "all".to_owned())] == bad), "{id}");
        assert!(text.contains(&format!("{0} of {0} had a bad time", rows.len())));
        let words = outside.map(|words| format!("<p class=\"note\">{words} the shown time: "));
        assert!(words.as_ref().is_none_or(|words| text.contains(words)), "{text}");
        assert_eq!(text.contains("outside the shown time"), words.is_some());
    }
    service.finish(&[]);
}

#[test]
fn a_row_outside_the_shown_time_is_counted_in_words() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    let days = 3 * 24 * 60;
    let rows = [bad_row("", (0..30).map(minute)), bad_row("", (days..days + 30).map(minute))];
    let (text, columns, titles) = page_of(&sim, &service, 0, &rows);
    assert_eq!(columns, 30);
    assert!(text.contains("2 of 2 had a bad time") && text.contains("30 samples outside the shown time"));
    assert!(titles.iter().all(|title| title.contains("30 of 30 minutes over a limit")), "{titles:?}");
    assert_eq!(titles.iter().filter(|title| title.contains("(30 not shown)")).count(), 1);
    let bad = |row: usize| bad_columns(&text)[&(row, "all".to_owned())].len();
    assert_eq!((bad(0), bad(1)), (0, 30));
    service.finish(&[]);
}

/// Computes from the JSON the minutes in which a group of the first participant is over a limit.
fn over_minutes(meeting: &Value, group: &str, limits: &Value) -> Vec<String> {
    let samples = meeting["participants"][0]["user_qos"].as_array().into_iter().flatten();
    let is_over = |sample: &&Value| {
        [("latency_ms", "latency_ms"), ("jitter_ms", "jitter_ms"), ("avg_loss_percent", "loss_percent")]
            .iter()
            .any(|(measurement, limit)| {
                sample[group][measurement]
                    .as_f64()
                    .is_some_and(|value| value > limits[limit].as_f64().unwrap())
            })
    };
    let minute =
        |sample: &Value| sample["date_time"].as_str().map(|time| time.chars().take(16).collect::<String>());
    samples.filter(is_over).filter_map(minute).collect()
}

#[test]
fn a_page_says_in_a_sentence_how_the_meeting_was_and_when() {
    let sim = sim(|_| ());
    let person = |latency: &str, first: &str, last: &str| {
        let samples = [first, last].map(|time| {
            format!(r#"{{"date_time":"2026-01-{time}:30Z","audio_input":{{"latency":"{latency}"}}}}"#)
        });
        format!(r#"{{"user_name":"Jane","user_qos":[{}]}}"#, samples.join(","))
    };
    let (good, bad) = (person("9 ms", "15T22:00", "15T22:59"), person("900 ms", "15T23:30", "16T00:10"));
    let silent = r#"{"user_name":"Bob"}"#.to_owned();
    let hour = "On 15 January 2026, 22:00–23:00. ";
    let meetings = [
        (vec![], "Zoom lists no participants.", ""),
        (vec![&silent], "Zoom has not measured the only participant.", ""),
        (vec![&silent, &silent], "Zoom has measured none of the 2 participants.", ""),
        (vec![&good], "The only participant did not have a bad time.", hour),
        (vec![&good, &good], "None of 2 had a bad time.", hour),
        (vec![&good, &silent], "None of 2 had a bad time; 1 was not measured.", hour),
        (
            vec![&good, &bad],
            "1 of 2 had a bad time; worst: <bdi>Jane</bdi> 23:30–23:31",
            "On 15 January 2026, 22:00 to 16 January 2026, 00:11. ",
        ),
    ];
    for (number, (rows, ..)) in meetings.iter().enumerate() {
        let rows: Vec<_> = rows.iter().map(|row| row.as_str()).collect();
        let rows = format!("[{}]", rows.join(","));
        sim.add_meeting(Meeting::raw_pages(format!("9111111110{number}"), vec![rows]));
    }
    let service = Service::start(&sim, &[]);
    for (number, (_, verdict, when)) in meetings.iter().enumerate() {
        let text = page(&service.get(&format!("/meetings/9111111110{number}?type=past")), 200);
        assert!(text.contains(&format!("<p class=\"verdict\">{verdict}</p>")), "{verdict}");
        assert!(text.contains(&format!("<p>{when}Fetched from Zoom on")), "{when}");
        assert_eq!(text.contains("<h2>Participants"), number > 0);
    }
    service.finish(&[]);
}

#[test]
fn ids_are_understood_as_people_copy_them() {
    let sim = sim(|_| ());
    let uuid = "aj//p112Q+uo/summary75==";
    for id in ["98765432101", uuid] {
        sim.add_meeting(Meeting::generated(id, 1, 1));
    }
    let service = Service::start(&sim, &[]);
    let encoded = "aj%2F%2Fp112Q%2Buo%2Fsummary75%3D%3D";
    for (query, address) in [
        ("id=987+6543+2101&type=past", "/meetings/98765432101?type=past"),
        ("id=%20987-6543-2101", "/meetings/98765432101"),
        (
            "id=aj//p112Q+uo/summary75==&type=live&latency_ms=2.5&x=y",
            &format!("/meetings/{encoded}?type=live&latency_ms=2.5"),
        ),
        ("id=aj//p112Q%2Buo/summary75==&kind=meeting", &format!("/meetings/{encoded}?kind=meeting")),
    ] {
        let answer = service.get(&format!("/meetings?{query}"));
        assert_eq!((answer.status, answer.header("location")), (303, Some(address)), "{query}");
        let address = address.replace("past", "live").replace("latency_ms=2.5", "latency_ms=3");
        page(&service.get(&address), 200);
    }
    for path in
        ["987%206543%202101", "987-6543-2101", "98765432101", uuid, encoded, &encoded.replace('%', "%25")]
    {
        page(&service.get(&format!("/meetings/{path}")), 200);
    }
    assert_eq!(sim.qos_calls().len(), 2, "two meetings");
    for path in [
        "/meetings",
        "/meetings?id=",
        "/meetings?id=12-34",
        "/meetings/",
        "/meetings/12",
        "/meetings?id=98765432101&id=1",
        "/meetings?id=98765432101&type=next",
        "/meetings/98765432101?type=next",
        "/meetings/98765432101?latency_ms=x",
        "/meetings/1/2",
    ] {
        let answer = service.get(path);
        page(&answer, 400);
        assert!(answer.text().contains(answer.header("x-request-id").unwrap()), "{path}");
    }
    service.finish(&[]);
}

#[test]
fn problems_under_the_meetings_path_are_html_pages() {
    let sim = sim(|_| ());
    let hostile = r#"{"code":3001,"message":"<script>alert(1)</script> \"&' gone"}"#;
    sim.inject(
        Fault::new(FaultKind::Status { status: 404, body: hostile.to_owned() })
            .for_meeting("91111111111")
            .forever(),
    );
    sim.add_meeting(Meeting::generated("91111111111", 1, 1));
    let service = Service::start(&sim, &[]);
    let missing = page(&service.get("/meetings/91111111111"), 404);
    assert!(
        missing.contains("<a href=\"?type=past\">") && missing.contains("meeting_not_found"),
        "{missing}"
    );
    assert!(!missing.contains("<script>alert") && missing.contains("&#60;script&#62;alert(1)"), "{missing}");
    let missing = page(&service.get("/meetings/91111111111?type=past"), 404);
    assert!(!missing.contains("<a href=\"?type=past\">"));
    let uncached = service.get_with_headers("/meetings/92222222222", &[("cache-control", "only-if-cached")]);
    assert!(page(&uncached, 504).contains("not_cached"));
    let posted = request(service.addr, "POST", "/meetings/91111111111", &[]);
    page(&posted, 405);
    assert_eq!(posted.header("allow"), Some("GET, HEAD"));
    assert_eq!(service.get("/meetingsx").problem(), "not_found");
    service.finish(&[]);
}

#[test]
fn names_that_attendees_choose_are_escaped() {
    let sim = sim(|_| ());
    let names = [
        "</title></script><script>alert(1)</script>",
        "\\\"'><img src=x onerror=alert(1)>",
        "\\u202eevil\\u0000\\n",
        "&lt;b&gt; {{ 7 * 7 }}",
    ];
    let sample =
        r#"{"date_time":"2026-01-15T10:01:00Z","audio_input":{"latency":"999 ms"},"<b>":{"jitter":"99 ms"}}"#;
    let rows = names.map(|name| {
        format!(r#"{{"user_name":"{name}","network_type":"{name}","email":"{name}","user_qos":[{sample}]}}"#)
    });
    sim.add_meeting(Meeting::raw_pages("91111111111", vec![format!("[{}]", rows.join(","))]));
    let service = Service::start(&sim, &[]);
    let text = page(&service.get("/meetings/91111111111"), 200);
    for forbidden in ["<script>alert", "<img", "</title></script>", "<b>", "&lt;b&gt;", "49"] {
        let shown = text.split("<main").nth(1).unwrap().split("</main>").next().unwrap();
        assert!(!shown.contains(forbidden), "{forbidden}");
    }
    assert!(text.contains("<bdi>\u{202e}evil\u{fffd}\u{fffd}</bdi>"), "control characters are replaced");
    assert!(text.contains("&#38;lt;b&#38;gt; {{ 7 * 7 }}"));
    service.finish(&[]);
}

#[test]
fn a_stale_page_says_why_and_has_another_tag() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("98765432101", 1, 1));
    let path = "/meetings/98765432101";
    let service = Service::start(&sim, &[("cache.live_fresh", "200ms")]);
    let first = service.get(path);
    assert!(!page(&first, 200).contains("not the newest data"));
    sim.inject(Fault::new(FaultKind::Status { status: 503, body: String::new() }).forever());
    wait_until_stale(&service, "/qos/98765432101");
    let reason = |detail: &str| {
        wait_for(|| Some(service.get(path)).filter(|answer| answer.cache_status().ends_with(detail)))
    };
    let stale = reason("detail=zoom_failed");
    assert!(page(&stale, 200).contains("<strong>This is not the newest data.</strong> Zoom failed."));
    assert!(stale.header("etag") != first.header("etag"));
    service.finish(&["flight failed"]);
}

#[test]
fn a_stale_page_that_starts_no_refresh_says_that_it_is_stale() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("98765432101", 1, 1));
    let path = "/meetings/98765432101";
    let service = Service::start(&sim, &[("cache.live_fresh", "200ms")]);
    let fresh = service.get(path);
    wait_until_stale(&service, "/qos/98765432101");
    let stale = get_with(&service, path, "only-if-cached");
    assert!(ttl(&stale) < 0 && !stale.cache_status().contains("detail"), "{}", stale.cache_status());
    let text = page(&stale, 200);
    assert!(
        text.contains("<strong>This is not the newest data.</strong> It is past its freshness"),
        "{text:.3000}"
    );
    assert!(stale.header("etag") != fresh.header("etag"));
    service.finish(&[]);
}

#[test]
fn the_page_of_a_refusal_refers_to_no_json_member() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("98765432101", 1, 1));
    sim.inject(Fault::new(FaultKind::EndpointUnknown).for_meeting("98765432101").forever());
    let service = Service::start(&sim, &[]);
    let text = page(&service.get("/meetings/98765432101"), 502);
    assert!(text.contains("zoom_failed") && !text.contains("member"), "{text}");
    service.finish(&["flight failed"]);
}

#[test]
fn browsers_are_asked_for_a_name_and_a_key() {
    let sim = sim(|_| ());
    let (service, _folder, _) = start(&sim, &two_callers(""), &[]);
    for path in ["/meetings/85746065432", "/meetings?id=85746065432", "/meetings/1"] {
        let answer = service.get(path);
        assert!(page(&answer, 401).contains("unknown_caller"));
        assert_eq!(challenges(&answer), CHALLENGES, "{path}");
    }
    let accept = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
    for path in ["/qos/85746065432?format=csv", "/qos/85746065432/summary"] {
        let browser = service.get_with_headers(path, &[accept]);
        assert_eq!(
            (browser.problem().as_str(), challenges(&browser)),
            ("unknown_caller", CHALLENGES.to_vec())
        );
        // Chromium sends this header for a link with `download`.
        assert_eq!(
            challenges(&service.get_with_headers(path, &[("sec-fetch-mode", "navigate")])),
            CHALLENGES
        );
        for other in ["*/*", "text/html;q=0, */*"] {
            assert_eq!(challenges(&service.get_with_headers(path, &[("accept", other)])), ["Bearer"]);
        }
    }
    let key = ("x-api-key", KEY);
    let known = service.get_with_headers("/meetings/85746065432", &[key]);
    page(&known, 200);
    assert_eq!(known.header("vary"), Some("Accept-Encoding, Authorization, X-Api-Key"));
    for path in ["/qos/85746065432", "/qos/85746065432?format=csv", "/qos/85746065432/summary"] {
        let browser = service.get_with_headers(path, &[key, accept]);
        assert_eq!((browser.status, browser.header("cache-control")), (200, Some("private, no-cache")));
        let program = service.get_with_headers(path, &[key]);
        assert!(program.header("cache-control").unwrap().starts_with("private, max-age="));
    }
    let found = service.get_with_headers("/meetings?id=857-4606-5432", &[key]);
    assert_eq!(found.status, 303);
    service.finish(&[]);
}
