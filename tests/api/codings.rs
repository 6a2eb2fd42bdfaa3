//! Content codings: negotiation, correct bytes, and the memory that they cost.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use test_support::{
    client::{Answer, request},
    service::Service,
    simulator::sim,
    wait::wait_for,
};
use zoom_sim::Meeting;

const LARGE: &str = "98765432101";
const PATH: &str = "/qos/98765432101";

fn get(service: &Service, path: &str, accept: &str) -> Answer {
    request(service.addr, "GET", path, &[("accept-encoding", accept)])
}

/// Returns the decoded body. Asserts that a compressed body is a single gzip member or zstd frame without trailing
/// bytes.
fn decoded(answer: &Answer) -> Vec<u8> {
    let mut body = Vec::new();
    match answer.header("content-encoding") {
        None => body.clone_from(&answer.body),
        Some("gzip") => {
            let mut decoder = flate2::bufread::GzDecoder::new(&answer.body[..]);
            decoder.read_to_end(&mut body).unwrap();
            assert!(decoder.into_inner().is_empty(), "one member");
        }
        Some("zstd") => {
            let mut decoder = zstd::stream::read::Decoder::new(&answer.body[..]).unwrap().single_frame();
            decoder.read_to_end(&mut body).unwrap();
            assert!(decoder.finish().buffer().is_empty(), "one frame");
        }
        Some(other) => panic!("{other}"),
    }
    body
}

#[test]
fn each_coding_has_equal_content_and_its_own_tag_even_on_misses() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated(LARGE, 25, 10));
    let service = Service::start(&sim, &[]);
    let miss = get(&service, PATH, "gzip");
    assert_eq!(miss.cache_status(), "zoom-qos-proxy; fwd=uri-miss; fwd-status=200; stored");
    let [gzip, zstd, plain] = ["gzip", "zstd", "identity"].map(|coding| get(&service, PATH, coding));
    assert_eq!(miss.header("content-encoding"), Some("gzip"));
    assert_eq!(miss.body, gzip.body, "compressed once");
    assert_eq!(zstd.header("content-encoding"), Some("zstd"));
    assert_eq!(plain.header("content-encoding"), None);
    assert_eq!(plain.json()["participants"].as_array().unwrap().len(), 25);
    let mut tags = Vec::new();
    for answer in [&gzip, &zstd, &plain] {
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("vary"), Some("Accept-Encoding, Accept"));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert!(decoded(answer) == plain.body, "the same bytes under {:?}", answer.headers);
        tags.push(answer.header("etag").unwrap().to_owned());
    }
    tags.dedup();
    assert_eq!(tags.len(), 3, "{tags:?}");
    for (answer, other) in [(&gzip, &zstd), (&zstd, &plain), (&plain, &gzip)] {
        assert!(answer.body.len() != other.body.len());
    }
    assert!(gzip.body.len() * 10 < plain.body.len(), "{} of {}", gzip.body.len(), plain.body.len());
    assert_eq!(sim.qos_calls().len(), 3);
    service.finish(&[]);
}

#[test]
fn the_coding_is_the_best_that_the_caller_accepts() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    let path = "/qos/85746065432";
    for (accept, coding) in [
        ("gzip, deflate, br, zstd", Some("gzip")),
        ("gzip, deflate, br", Some("gzip")),
        ("gzip;q=1, zstd;q=0.9", Some("gzip")),
        ("zstd;q=0, gzip;q=0.001", Some("gzip")),
        ("GZIP", Some("gzip")),
        ("*", Some("gzip")),
        ("br", None),
        ("", None),
        ("identity", None),
        ("identity, gzip;q=0.5", None),
        ("gzip;q=0", None),
        ("gzip;q=9", None),
        ("*;q=0", None),
    ] {
        let answer = get(&service, path, accept);
        assert_eq!((answer.status, answer.header("content-encoding")), (200, coding), "{accept}");
        assert_eq!(answer.header("vary"), Some("Accept-Encoding, Accept"), "{accept}");
    }
    assert_eq!(service.get(path).header("content-encoding"), None);
    service.finish(&[]);
}

#[test]
fn documents_that_never_change_have_every_coding_and_a_tag_for_each() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    for path in ["/", "/guide", "/openapi.json"] {
        let answers = ["gzip", "zstd", "identity"].map(|coding| get(&service, path, coding));
        let plain = &answers[2].body;
        let codings = answers.each_ref().map(|answer| answer.header("content-encoding"));
        assert_eq!(codings, [Some("gzip"), Some("zstd"), None], "{path}");
        let mut tags: Vec<_> = answers.iter().map(|answer| answer.header("etag").unwrap()).collect();
        for (answer, coding) in answers.iter().zip(["gzip", "zstd", "identity"]) {
            assert_eq!((answer.status, answer.header("vary")), (200, Some("Accept-Encoding")), "{path}");
            assert!(decoded(answer) == *plain, "{path} as {coding}");
            let tag = answer.header("etag").unwrap();
            let of_tag = [("accept-encoding", coding), ("if-none-match", tag)];
            let same = request(service.addr, "GET", path, &of_tag);
            assert_eq!((same.status, same.header("etag"), same.body.len()), (304, Some(tag), 0));
            assert_eq!(same.header("vary"), Some("Accept-Encoding"));
            let head = request(service.addr, "HEAD", path, &[("accept-encoding", coding)]);
            assert_eq!((head.header("etag"), head.body.len()), (Some(tag), 0));
            assert_eq!(head.header("content-length"), Some(answer.body.len().to_string().as_str()));
        }
        tags.sort_unstable();
        tags.dedup();
        assert_eq!(tags.len(), 3, "{path}: {tags:?}");
        assert!(answers[0].body.len() < plain.len() && answers[1].body.len() < plain.len(), "{path}");
        let of_another = [("accept-encoding", "gzip"), ("if-none-match", answers[2].header("etag").unwrap())];
        assert_eq!(request(service.addr, "GET", path, &of_another).status, 200, "{path}");
    }
    let document = get(&service, "/openapi.json", "zstd").body.len();
    assert!(document < 40_000, "{document}");
    service.finish(&[]);
}

#[test]
fn a_small_meeting_is_served_in_every_coding_though_one_is_stored() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated(LARGE, 1, 7));
    let service = Service::start(&sim, &[]);
    let [gzip, zstd, plain] = ["gzip", "zstd", "identity"].map(|coding| get(&service, PATH, coding));
    assert!((2_048..16_384).contains(&plain.body.len()), "{}", plain.body.len());
    for (answer, coding) in [(&gzip, Some("gzip")), (&zstd, Some("zstd")), (&plain, None)] {
        assert_eq!((answer.status, answer.header("content-encoding")), (200, coding));
        assert!(decoded(answer) == plain.body);
    }
    let both = get(&service, PATH, "zstd, gzip");
    assert_eq!(both.header("etag"), gzip.header("etag"), "the stored coding is preferred");
    let rather = get(&service, PATH, "zstd, gzip;q=0.9");
    assert_eq!((rather.header("etag"), &rather.body), (zstd.header("etag"), &zstd.body));
    assert_eq!(sim.qos_calls().len(), 1);
    service.finish(&[]);
}

#[test]
fn a_304_matches_the_tag_of_the_negotiated_coding() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    let path = "/qos/85746065432";
    let tags = ["gzip", "zstd", "identity"]
        .map(|coding| (coding, get(&service, path, coding).header("etag").unwrap().to_owned()));
    for (coding, _) in &tags {
        for (of, tag) in &tags {
            let headers = [("accept-encoding", *coding), ("if-none-match", tag.as_str())];
            let answer = request(service.addr, "GET", path, &headers);
            let expected = if coding == of { 304 } else { 200 };
            assert_eq!(answer.status, expected, "the tag of {of} from a client that accepts {coding}");
            if answer.status == 304 {
                assert_eq!(answer.header("etag"), Some(tag.as_str()));
                assert!(answer.body.is_empty());
            }
        }
    }
    service.finish(&[]);
}

#[test]
fn head_reports_the_length_of_get_in_each_coding() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated(LARGE, 25, 10));
    // The cache is too small for the largest body, so that body is decompressed while it is sent.
    let service = Service::start(&sim, &[("cache.max_bytes", "2MiB")]);
    for path in ["/qos/85746065432", PATH, "/qos/98765432101?page_size=10"] {
        for coding in ["gzip", "zstd", "identity"] {
            let accept = [("accept-encoding", coding)];
            let get = request(service.addr, "GET", path, &accept);
            let head = request(service.addr, "HEAD", path, &accept);
            assert!(head.body.is_empty());
            for name in ["content-length", "content-encoding", "etag", "content-type", "vary"] {
                assert_eq!(head.header(name), get.header(name), "{name} of {path} as {coding}");
            }
            assert_eq!(get.header("content-length"), Some(get.body.len().to_string().as_str()));
        }
    }
    service.finish(&[]);
}

/// A body that exceeds the memory for uncompressed bodies is decompressed while it is sent.
#[test]
fn a_body_too_large_to_store_uncompressed_arrives_complete() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated(LARGE, 60, 30));
    let service = Service::start(&sim, &[("cache.max_bytes", "4MiB")]);
    let plain = service.get(PATH);
    assert!(plain.body.len() > 3_000_000, "{}", plain.body.len());
    assert_eq!(plain.json()["participants"].as_array().unwrap().len(), 60);
    let again = service.get(PATH);
    assert!(again.cache_status().contains("; hit;"), "{}", again.cache_status());
    assert!(again.body == plain.body);
    assert!(decoded(&get(&service, PATH, "zstd")) == plain.body);
    assert_eq!(sim.qos_calls().len(), 6);
    service.finish(&[]);
}

#[test]
fn unused_uncompressed_bodies_are_dropped_and_rebuilt_on_demand() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated(LARGE, 10, 20));
    let service = Service::start(&sim, &[("cache.live_fresh", "5m")]);
    let first = service.get(PATH);
    let length = f64::from(u32::try_from(first.body.len()).unwrap());
    let kept = || service.metric("zoom_qos_proxy_cache_bytes");
    wait_for(|| (kept() > length).then_some(()));
    // The uncompressed body is dropped when nobody has requested it for ten seconds. Requests for the compressed body
    // do not count.
    wait_for(|| {
        assert_eq!(get(&service, PATH, "gzip").status, 200);
        (kept() * 8.0 < length).then_some(())
    });
    assert!(kept() > 0.0, "the compressed bodies are kept");
    let again = service.get(PATH);
    assert!(again.body == first.body);
    assert_eq!(sim.qos_calls().len(), 1);
    service.finish(&[]);
}

#[test]
fn many_slow_readers_of_a_large_meeting_cost_little_memory() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated(LARGE, 60, 60));
    let service = Service::start(&sim, &[("cache.max_bytes", "8MiB")]);
    assert_eq!(get(&service, PATH, "zstd").status, 200);
    let before = service.resident();
    let readers: Vec<TcpStream> = (0..50)
        .map(|_| {
            let mut reader = TcpStream::connect(service.addr).unwrap();
            reader.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            write!(reader, "GET {PATH} HTTP/1.1\r\nHost: service\r\n\r\n").unwrap();
            // The response starts, and then the reader stops reading.
            let mut begin = [0; 12];
            reader.read_exact(&mut begin).unwrap();
            reader
        })
        .collect();
    let grown = service.resident().saturating_sub(before);
    assert!(grown < 40 << 20, "{grown} bytes for 50 readers of 7 MB");
    drop(readers);
    service.finish(&[]);
}
