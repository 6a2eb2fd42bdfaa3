//! Meeting ids and query parameters: valid spellings work, and invalid ones do not reach Zoom.

use test_support::{
    client::{Answer, raw, request},
    service::Service,
    simulator::sim,
};
use zoom_sim::{CallKind, Meeting, Sim};

const SLASHED: &str = "/ajXp112QmuoKj48548750==";
const INNER_SLASHES: &str = "abcDEF12//345+678/ghiJ==";
const PLAIN: &str = "ats/xhSEQWit9t+U02HXNQ==";

/// Asserts that Zoom received no requests except for access tokens.
fn assert_zoom_was_left_alone(sim: &Sim) {
    let asked: Vec<_> = sim.calls().into_iter().filter(|call| call.kind != CallKind::Token).collect();
    assert!(asked.is_empty(), "{asked:?}");
}

fn assert_bad_id(answer: &Answer, path: &str) {
    assert_eq!(answer.status, 400, "{path:?}: {}", answer.text());
    assert_eq!(answer.problem(), "invalid_meeting_id", "{path:?}");
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(
        detail.contains("9 to 12 digits") && detail.contains("UUID"),
        "the detail must name the valid forms: {detail}"
    );
    assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()), "{path:?}");
    assert_eq!(answer.header("cache-status"), None);
}

fn assert_bad_query(answer: &Answer, query: &str, key: &str) {
    assert_eq!(answer.status, 400, "{query:?}: {}", answer.text());
    assert_eq!(answer.problem(), "invalid_query", "{query:?}");
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains(key), "{query:?} is answered with {detail:?}, which does not name {key}");
}

/// Percent-encodes every byte except ASCII letters and digits.
fn encoded(text: &str) -> String {
    let encode = |byte: u8| {
        if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(encode).collect()
}

#[test]
fn an_invalid_meeting_id_is_rejected_without_a_call_and_explained() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    for (what, ids) in [
        ("nothing", ""),
        ("digits of a wrong number", "1 12345678 00000000 1234567890123 99999999999999999999999999"),
        (
            "not digits",
            "abcdefghi 85746065432x 8574606543a -857460654 857460654.0 0x85746065 857,460,654 857-460-654 \
             857%20460%20654 %20857460654 857460654%20 857460654+ 8.57e10000",
        ),
        (
            "UUIDs of a wrong length or padding",
            "ajXp112QmuoKj4854875012 ajXp112QmuoKj48548750123== ajXp112QmuoKj48548750== \
             ajXp112QmuoKj48548750=== ajXp112QmuoKj485487501=2= =====================/==",
        ),
        (
            "UUIDs of a wrong alphabet",
            "ajXp112-muoKj485487501== ajXp112_muoKj485487501== ajXp112%20muoKj485487501== \
             ajXp112|muoKj485487501== ajXp112%7CmuoKj48548750== ajXp112%3FmuoKj48548750== \
             ajXp112%23muoKj48548750== ajXp112%26muoKj48548750==",
        ),
        (
            "beyond ASCII",
            "8574606543%D9%A2 %EF%BC%98%EF%BC%95%EF%BC%97460654 ajXp112%C3%A9muoKj48548750== %ff \
             %FF%FE%00 857460654%ff %C0%AE%C0%AE%C0%AF ajXp112%ffmuoKj48548750==",
        ),
        (
            "traversal",
            "../admin .. . ../../users/me 85746065432/../../users/me %2e%2e%2fadmin %2e%2e/%2e%2e/users \
             ..%2f..%2fusers %252e%252e%252fusers 85746065432%2F..%2F.. ..%5cusers",
        ),
        (
            "more than an id",
            "85746065432/participants/qos 85746065432;type=past 85746065432%3Ftype=past \
             85746065432%26type=past http://203.0.113.1/85746065432 //203.0.113.1/x",
        ),
        (
            "line ends and other controls",
            "85746065432%0d%0a 85746065432%0D%0AX-Evil:%201 %0a85746065432 85746065432%00 %00 \
             8574606%005432 85746065432%09 85746065432%7f 85746065432%250d%250a 85746065432%2500",
        ),
        (
            "broken encoding, or a level too many",
            "% %% %2 %zz %zz746065432 85746065432% 85746065432%2 %2G5746065432 %25 %2525 \
             %25252FajXp112QmuoKj48548750%25253D%25253D %252525252FajXp112QmuoKj48548750==",
        ),
        (
            "slashes around a good one",
            "85746065432/ /85746065432 85746065432// 85746065432%2F %2F85746065432 ats/xhSEQWit9t+U02HXNQ==/",
        ),
    ] {
        for id in ids.split(' ') {
            let path = format!("/qos/{id}");
            let answer = service.get(&path);
            assert_eq!(answer.status, 400, "{what}: {path}");
            assert_bad_id(&answer, &path);
        }
    }
    assert_zoom_was_left_alone(&sim);
    service.finish(&[]);
}

#[test]
fn an_overlong_id_is_rejected_whatever_its_characters() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    for id in [
        "1".repeat(217),
        "1".repeat(10_000),
        "1".repeat(60_000),
        "%31".repeat(19_000),
        "/".repeat(10_000),
        "%25".repeat(3_000),
    ] {
        let what = format!("{} bytes", id.len());
        assert_bad_id(&service.get(&format!("/qos/{id}")), &what);
    }
    assert_bad_id(&service.get(&format!("/qos/1?type=past&x={}", "y".repeat(50_000))), "a long query");
    assert_zoom_was_left_alone(&sim);
    service.finish(&[]);
}

#[test]
fn an_unknown_path_that_ends_in_a_meeting_id_is_404() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    for path in [
        "/qos",
        "/QOS/85746065432",
        "//qos/85746065432",
        "/qos85746065432",
        "/v3/qos/85746065432",
        "/../qos/85746065432",
        "/85746065432",
        "/%71os/85746065432",
        "/qos%2F85746065432",
        "/admin",
        "/metrics",
        "/readyz",
        "/status",
    ] {
        let answer = service.get(path);
        assert_eq!((answer.status, answer.problem().as_str()), (404, "not_found"), "{path}");
        assert!(answer.header("x-request-id").is_some());
        assert_eq!(answer.header("link"), Some("</openapi.json>; rel=\"service-desc\""));
        assert!(answer.json()["detail"].as_str().unwrap().contains("/qos/{meetingId}"), "it names the paths");
    }
    assert_zoom_was_left_alone(&sim);
    service.finish(&[]);
}

#[test]
fn bytes_that_no_url_may_contain_get_400() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    for bytes in [
        &b"\x01"[..],
        b"\x00",
        b"\x7f",
        b"\t",
        b" ",
        b"\xff\xfe",
        "é２".as_bytes(),
        b"\\",
        b"\"",
        b"<script>",
        b"{}",
        b"^`",
    ] {
        let wire =
            [b"GET /qos/857460654", bytes, b"32 HTTP/1.1\r\nHost: service\r\nConnection: close\r\n\r\n"]
                .concat();
        let answer = raw(service.addr, &wire);
        assert_eq!(answer.status, 400, "{bytes:?}");
        if !answer.body.is_empty() {
            assert_eq!(answer.problem(), "invalid_meeting_id", "{bytes:?}");
        }
    }
    // A bare line feed ends the request line, so the rest is a broken header.
    let split = raw(service.addr, b"GET /qos/85746065432\nX-Evil: 1 HTTP/1.1\r\nHost: service\r\n\r\n");
    assert_eq!(split.status, 400);
    assert_zoom_was_left_alone(&sim);
    assert_eq!(service.ops_get("/healthz").status, 200);
    service.finish(&["request parse error"]);
}

#[test]
fn a_malformed_request_is_not_logged_as_an_error() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    for wire in [
        &b"NONSENSE\r\n\r\n"[..],
        b"GET /qos/1\x002345678 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nbroken header\r\n\r\n",
    ] {
        assert_eq!(raw(service.addr, wire).status, 400);
    }
    service.finish(&[]);
}

#[test]
fn numbers_of_nine_to_twelve_digits_reach_zoom_as_they_are() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    let ids =
        ["857460654", "8574606543", "85746065431", "857460654321", "012345678", "000000000", "999999999999"];
    for id in ids {
        sim.add_meeting(Meeting::generated(id, 1, 1));
        for spelling in [id.to_owned(), id.replace('0', "%30"), id.replace('0', "%2530")] {
            let answer = service.get(&format!("/qos/{spelling}"));
            assert_eq!(answer.status, 200, "{spelling}: {}", answer.text());
            assert_eq!(answer.json()["meeting_id"], id);
        }
    }
    let asked: Vec<_> = sim.qos_calls().iter().map(|call| call.path().to_owned()).collect();
    assert_eq!(asked, ids.map(|id| format!("/v2/metrics/meetings/{id}/participants/qos")), "one call each");
    service.finish(&[]);
}

#[test]
fn unusual_but_valid_requests_get_the_same_meeting() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    for head in [
        &b"GET http://service/qos/85746065432 HTTP/1.1\r\nHost: service\r\nConnection: close\r\n\r\n"[..],
        b"GET /qos/85746065432 HTTP/1.0\r\n\r\n",
        b"GET /qos/85746065432 HTTP/1.1\r\nhOST: service\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
    ] {
        let answer = raw(service.addr, head);
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(head));
        assert_eq!(answer.json()["meeting_id"], "85746065432");
    }
    assert_eq!(sim.qos_calls().len(), 1);
    service.finish(&[]);
}

#[test]
fn every_spelling_of_a_uuid_is_one_cache_entry() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    for (id, for_zoom) in [
        (PLAIN, "ats%2FxhSEQWit9t%2BU02HXNQ%3D%3D"),
        (SLASHED, "%252FajXp112QmuoKj48548750%253D%253D"),
        (INNER_SLASHES, "abcDEF12%252F%252F345%252B678%252FghiJ%253D%253D"),
        (
            "//////////////////////==",
            "%252F%252F%252F%252F%252F%252F%252F%252F%252F%252F%252F%252F%252F%252F%252F%252F%252F%252F%252F%252F%252F%252F%253D%253D",
        ),
        (
            "++++++++++++++++++++++==",
            "%2B%2B%2B%2B%2B%2B%2B%2B%2B%2B%2B%2B%2B%2B%2B%2B%2B%2B%2B%2B%2B%2B%3D%3D",
        ),
        ("1234567890123456789012==", "1234567890123456789012%3D%3D"),
    ] {
        sim.clear_calls();
        sim.add_meeting(Meeting::generated(id, 2, 1));
        let once = encoded(id);
        let lower = once.replace("%2F", "%2f").replace("%2B", "%2b").replace("%3D", "%3d");
        let wholly = |level: &str| {
            let bytes: Vec<_> = id.bytes().map(|byte| format!("{level}{byte:02x}")).collect();
            bytes.concat()
        };
        let spellings = [
            id.to_owned(),
            once.clone(),
            lower.clone(),
            once.replacen("%2F", "%2f", 1).replacen("%3D", "%3d", 1),
            once.replace('%', "%25"),
            lower.replace('%', "%25"),
            // Some HTTP stacks encode only some of these characters in a path.
            id.replace('/', "%2F"),
            id.replace('/', "%2F").replace('%', "%25"),
            id.replace('=', "%3D"),
            id.replace('+', "%2B"),
            // Letters need no encoding, but may be encoded.
            wholly("%"),
            wholly("%25"),
        ];
        for (nth, spelling) in spellings.iter().enumerate() {
            let answer = service.get(&format!("/qos/{spelling}"));
            assert_eq!(answer.status, 200, "{spelling}: {}", answer.text());
            assert_eq!(answer.json()["meeting_id"], id);
            assert_eq!(
                answer.cache_status().contains("; hit"),
                nth > 0,
                "{spelling}: {}",
                answer.cache_status()
            );
        }
        let calls = sim.qos_calls();
        assert_eq!(calls.len(), 1, "{id}");
        assert_eq!(calls[0].path(), format!("/v2/metrics/meetings/{for_zoom}/participants/qos"));
        assert_eq!(calls[0].meeting.as_deref(), Some(id));
    }
    service.finish(&[]);
}

#[test]
fn uuids_that_differ_only_in_case_are_two_meetings() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    for id in ["aaaaaaaaaaaaaaaaaaaaaa==", "aaaaaaaaaaaaaaaaaaaaaA=="] {
        sim.add_meeting(Meeting::generated(id, 1, 1));
        assert_eq!(service.get(&format!("/qos/{id}")).json()["meeting_id"], id);
    }
    assert_eq!(sim.qos_calls().len(), 2);
    service.finish(&[]);
}

#[test]
fn type_is_live_unless_it_is_past_in_any_encoding() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("91111111111", 1, 1));
    let service = Service::start(&sim, &[]);
    let type_of = |query: &str| {
        let answer = service.get(&format!("/qos/91111111111{query}"));
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        answer.json()["type"].as_str().unwrap().to_owned()
    };
    for live in ["", "?", "?type=live", "?%74ype=live", "?type=%6Cive", "?a=b&type=live"] {
        assert_eq!(type_of(live), "live", "{live}");
    }
    for past in [
        "?type=past",
        "?%74ype=past",
        "?type=%70ast",
        "?%74%79%70%65=%70%61%73%74",
        "?a=b&type=past",
        "?type=past&",
    ] {
        assert_eq!(type_of(past), "past", "{past}");
    }
    let asked: Vec<_> = sim.qos_calls().iter().map(|call| call.query("type").unwrap()).collect();
    assert_eq!(asked, ["live", "past"], "one call for each");
    service.finish(&[]);
}

#[test]
fn an_empty_repeated_or_malformed_parameter_is_rejected_by_name() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    for (query, key) in [
        ("type=", "type"),
        ("type", "type"),
        ("type=LIVE", "type"),
        ("type=Past", "type"),
        ("type=x", "type"),
        ("type=live%20", "type"),
        ("type=+live", "type"),
        ("type=pastOne", "type"),
        ("type=live,past", "type"),
        ("type=live&type=live", "type"),
        ("type=live&type=past", "type"),
        ("type=past&%74ype=past", "type"),
        ("type=past&type", "type"),
        ("type=%00", "type"),
        ("type=%ff", "type"),
        ("type=%0d%0aX:%201", "type"),
        ("page_size=0", "page_size"),
        ("page_size=301", "page_size"),
        ("page_size=-1", "page_size"),
        ("page_size=1.5", "page_size"),
        ("page_size=abc", "page_size"),
        ("page_size=", "page_size"),
        ("page_size", "page_size"),
        ("page_size=10&page_size=10", "page_size"),
        ("page_size=%2B5", "page_size"),
        ("page_size=+5", "page_size"),
        ("page_size=5%20", "page_size"),
        ("page_size=1e2", "page_size"),
        ("page_size=0x10", "page_size"),
        ("page_size=65836", "page_size"),
        ("page_size=99999999999999999999999", "page_size"),
        ("page_size=%D9%A2", "page_size"),
        ("p%61ge_size=0", "page_size"),
        ("next_page_token=", "next_page_token"),
        ("next_page_token", "next_page_token"),
        ("next_page_token=a&next_page_token=a", "next_page_token"),
        ("next_page_token=a&next_page_token=", "next_page_token"),
        ("%6Eext_page_token=", "next_page_token"),
        ("type=past&page_size=10&next_page_token=", "next_page_token"),
    ] {
        let answer = service.get(&format!("/qos/85746065432?{query}"));
        assert_bad_query(&answer, query, key);
        assert!(answer.header("x-request-id").is_some());
    }
    assert_zoom_was_left_alone(&sim);
    service.finish(&[]);
}

#[test]
fn the_text_of_a_bad_query_is_not_repeated_in_the_answer() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    for path in [
        "/qos/85746065432?type=%3Cscript%3Ezebra",
        "/qos/zebra%3Cscript%3E",
        "/zebra",
        "/qos/zebra?zebra=zebra",
    ] {
        let answer = service.get(path);
        assert!((400..=404).contains(&answer.status));
        assert!(!answer.text().contains("zebra"), "{}", answer.text());
    }
    assert_zoom_was_left_alone(&sim);
    service.finish(&[]);
}

#[test]
fn other_keys_are_ignored_and_neither_split_the_cache_nor_reach_zoom() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("91111111111", 1, 1));
    let service = Service::start(&sim, &[]);
    for query in [
        "a=1",
        "a=2",
        "utm_source=x&utm_campaign=y",
        "TYPE=past",
        "Type=past",
        "type%20=past",
        "&&",
        "=",
        "=type",
        "a=%zz",
        "%ff=%fe",
        "access_token=zebra",
        "meeting_id=1",
        "type%5B%5D=past",
        "type=live&a=1&a=2",
        "x=a%26type%3Dpast",
        "a=?type=past",
        "next_page_token%5B%5D=1",
        "a;type=past",
    ] {
        let answer = service.get(&format!("/qos/91111111111?{query}"));
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        assert_eq!(answer.json()["type"], "live", "{query}");
    }
    let headers = [
        ("Authorization", "Bearer zebra"),
        ("Cookie", "zebra=1"),
        ("X-Request-Id", "zebra"),
        ("User-Agent", "zebra"),
    ];
    assert_eq!(request(service.addr, "GET", "/qos/91111111111?type=past&a=zebra", &headers).status, 200);
    let calls = sim.qos_calls();
    assert_eq!(calls.len(), 2);
    for (call, meeting_type) in calls.iter().zip(["live", "past"]) {
        let (_, query) = call.target.split_once('?').unwrap();
        let mut pairs: Vec<_> = query.split('&').collect();
        pairs.sort_unstable();
        assert_eq!(pairs, ["page_size=10", &format!("type={meeting_type}")]);
        assert!(!format!("{call:?}").contains("zebra"), "{call:?}");
    }
    service.finish(&[]);
}
