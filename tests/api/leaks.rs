//! Zoom fails in many ways. Then the tests search the log, the metrics, the status, the problems, the headers and the
//! spans. Secrets must appear nowhere, and participant data only in the body of a `200`.

use std::{fs, time::Duration};

use tempfile::TempDir;
use test_support::{
    callers::{KEY, OTHER_KEY, two_callers},
    client::{Answer, request},
    collector::{Answers, Collector},
    service::{QUICK, Service},
    simulator::{calls_for, sim},
    wait::wait_for,
};
use zoom_sim::{Fault, FaultKind, Meeting, Sim};

/// A marker in the values of every participant in this file, and nowhere else.
const MARK: &str = "Quagga";
const ACCOUNT_ID: &str = "Zebra-account";
const CLIENT_ID: &str = "Zebra-client";
const CLIENT_SECRET: &str = "Zebra-secret";

/// Ten participants with an unknown field and an unknown group. All their values except times contain the marker.
fn page() -> String {
    let fields = "id user_id participant_uuid user_name email device client version os os_version domain harddisk_id mac_addr \
         pc_name ip_address location microphone speaker camera network_type data_center connection_type leave_reason \
         sip_uri registrant_id shoe_size";
    let fields: String =
        fields.split_whitespace().map(|field| format!("\"{field}\":\"{MARK}-{field}\",")).collect();
    let groups = ["audio_input", "video_input", "as_output", "cpu_usage", "smell_input"].map(|group| {
        let keys =
            ["bitrate", "latency", "avg_loss", "resolution", "frame_rate", "zoom_min_cpu_usage", "odour"];
        let values = keys.map(|key| format!("\"{key}\":\"{MARK} kbps\"")).join(",");
        format!("\"{group}\":{{{values}}}")
    });
    let row = format!(
        "{{{fields}\"internal_ip_addresses\":[\"{MARK}-10.0.0.1\"],\"join_time\":\"2026-01-15T10:00:00Z\",\
         \"leave_time\":\"2026-01-15T11:00:00Z\",\"{MARK}_key\":{{\"{MARK}\":[\"{MARK}\"]}},\
         \"user_qos\":[{{\"date_time\":\"2026-01-15T10:01:00Z\",{}}}]}}",
        groups.join(",")
    );
    format!("[{}]", vec![row; 10].join(","))
}

/// Faults that affect only one meeting.
fn of_one_meeting() -> Vec<FaultKind> {
    let body = format!("{{\"code\":9999,\"message\":\"Zoom says no.\",\"participants\":{}}}", page());
    vec![
        FaultKind::Status { status: 403, body: body.clone() },
        FaultKind::Status { status: 200, body },
        FaultKind::Status {
            status: 200,
            body: format!("{{\"participants\":{},\"next_page_token\":7}}", page()),
        },
        FaultKind::Status { status: 500, body: page() },
        FaultKind::PageTokenInvalid,
        FaultKind::PageTokenInvalidStatus300,
        FaultKind::Webinar,
        FaultKind::TooOld,
        FaultKind::NotAvailable,
        FaultKind::DoesNotExist,
        FaultKind::EndpointUnknown,
        FaultKind::TokenExpired,
        FaultKind::TokenInvalid,
        FaultKind::TokenExpiredWith400,
        FaultKind::TokenExpiredIn200,
        FaultKind::ServerErrorHtml(503),
        FaultKind::Hang,
        FaultKind::HangBody,
        FaultKind::ResetBeforeAnswer,
        FaultKind::ResetInBody,
        FaultKind::CloseBeforeAnswer,
        FaultKind::Truncated,
        FaultKind::TruncatedChunked,
        FaultKind::ShortValidJson,
        FaultKind::EmptyBody,
        FaultKind::CloseDelimited,
        FaultKind::Oversized(600_000),
        FaultKind::NotJson,
        FaultKind::EmptyObject,
        FaultKind::ErrorIn200 { code: 500, message: "Internal error.".to_owned() },
        FaultKind::SlowDrip { chunk: 16, every: Duration::from_millis(5) },
        FaultKind::Slow(Duration::from_secs(3)),
        FaultKind::RepeatPageToken,
        FaultKind::Redirect("https://elsewhere.example/".to_owned()),
    ]
}

/// Faults that affect all calls or the token endpoint. Each needs its own service.
fn of_everything() -> Vec<Fault> {
    let echo =
        format!("{{\"error\":\"invalid_client\",\"reason\":\"Who is {CLIENT_ID} with {CLIENT_SECRET}?\"}}");
    let after = |seconds: &str| Some(seconds.to_owned());
    let on_tokens = |kind| Fault::new(kind).on_token_endpoint().forever();
    let on_calls = |kind| Fault::new(kind).forever();
    vec![
        on_calls(FaultKind::PlanTooLow),
        on_calls(FaultKind::MissingScope),
        on_calls(FaultKind::MissingScope104),
        on_calls(FaultKind::MissingScopeMalformed),
        on_calls(FaultKind::TokenInvalid),
        on_calls(FaultKind::RateSecond { retry_after: after("2"), headers: true }),
        on_calls(FaultKind::RateDay { retry_after: after("2099-01-01T00:00:00Z"), headers: true }),
        on_calls(FaultKind::RateMystery { retry_after: None }),
        on_tokens(FaultKind::InvalidClient),
        on_tokens(FaultKind::TokenNotJson),
        on_tokens(FaultKind::TokenWithoutExpiry),
        on_tokens(FaultKind::ServerErrorHtml(500)),
        on_tokens(FaultKind::Hang),
        on_tokens(FaultKind::ResetInBody),
        on_tokens(FaultKind::Status { status: 200, body: echo }),
    ]
}

/// Everything that a service has sent and logged, except the bodies of meetings. Each piece has its place.
struct Said {
    places: Vec<(String, String)>,
    secrets: Vec<String>,
    whole_meetings: usize,
}

impl Said {
    fn hear(&mut self, path: &str, answer: &Answer) {
        self.places.push((format!("a header of {path}"), format!("{:?}", answer.headers)));
        if path.starts_with("/qos/") && answer.status == 200 {
            assert!(
                answer.text().contains(MARK),
                "the body of a meeting must contain the marker, or the search could never find it"
            );
            self.whole_meetings += 1;
        } else {
            self.places.push((format!("the body of {path}"), answer.text()));
        }
    }

    fn judge(&self) {
        let secrets = self.secrets.iter().map(String::as_str);
        let keys = [KEY, OTHER_KEY, "Zebra", "Bearer ey", "Basic "];
        for word in secrets.chain(keys).chain([MARK]) {
            for (place, text) in &self.places {
                let line = text.lines().find(|line| line.contains(word));
                assert_eq!(line, None, "{word} appears in {place}");
            }
        }
    }
}

/// A service with secrets in files and callers with keys, together with its simulator and its collector of spans.
struct Scene {
    sim: Sim,
    service: Service,
    collector: Collector,
    _folder: TempDir,
}

impl Scene {
    fn new(log_level: &str) -> Self {
        let sim = sim(|config| {
            config.per_second = 1_000;
            ACCOUNT_ID.clone_into(&mut config.account_id);
            CLIENT_ID.clone_into(&mut config.client_id);
            CLIENT_SECRET.clone_into(&mut config.client_secret);
        });
        let (folder, collector) = (tempfile::tempdir().unwrap(), Collector::start(Answers::Taken));
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let settings = [
            ("zoom.account_id_file", file("account", ACCOUNT_ID)),
            ("zoom.client_id_file", file("client", CLIENT_ID)),
            ("zoom.client_secret_file", file("secret", CLIENT_SECRET)),
            ("callers.file", file("callers.toml", &two_callers(""))),
            ("limits.state_file", file("day.json", "")),
            ("telemetry.log_level", log_level.to_owned()),
            ("zoom.max_body", "512KiB".to_owned()),
            ("cache.live_fresh", "1s".to_owned()),
            ("telemetry.otlp_endpoint", collector.base()),
        ];
        let quick = QUICK.map(|(key, value)| (key, value.to_owned()));
        let settings: Vec<_> =
            settings.iter().chain(&quick).map(|(key, value)| (*key, value.as_str())).collect();
        let service = Service::start(&sim, &settings);
        Self { sim, service, collector, _folder: folder }
    }

    /// Requests all meetings at the same time, alternately with one key in `X-Api-Key` and another in `Authorization`.
    fn ask(&self, meetings: &[String]) -> Vec<Answer> {
        let bearer = format!("Bearer {KEY}");
        let headers = [[("X-Api-Key", OTHER_KEY)], [("Authorization", bearer.as_str())]];
        std::thread::scope(|scope| {
            let ask = |(number, id): (usize, &String)| {
                let (path, header) = (format!("/qos/{id}"), headers[number % 2]);
                scope.spawn(move || request(self.service.addr, "GET", &path, &header))
            };
            let asked: Vec<_> = meetings.iter().enumerate().map(ask).collect();
            asked.into_iter().map(|answer| answer.join().unwrap()).collect()
        })
    }

    /// Requests every endpoint, and stops the service. Returns these answers and the new ones, the log and the traces.
    fn end(self, answers: &[Answer]) -> Said {
        let mut said = Said { places: Vec::new(), secrets: Vec::new(), whole_meetings: 0 };
        for answer in answers {
            said.hear("/qos/…", answer);
        }
        let service = &self.service;
        let wrong_key = [("X-Api-Key", "Zebra-of-nobody")];
        for path in ["/qos/91234567890", "/qos/no-meeting", "/nowhere", "/openapi.json"] {
            said.hear(path, &request(service.addr, "GET", path, &wrong_key));
        }
        said.hear("/qos/no-meeting", &request(service.addr, "GET", "/qos/no-meeting", &[("X-Api-Key", KEY)]));
        for path in ["/metrics", "/status", "/readyz", "/healthz", "/nowhere"] {
            said.hear(path, &request(service.ops, "GET", path, &wrong_key));
        }
        said.hear("DELETE /cache", &request(service.ops, "DELETE", "/cache", &wrong_key));
        let sent = self.sim.calls();
        let sent = sent.iter().filter_map(|call| call.header("authorization"));
        let sent = sent.map(|value| value.split(' ').next_back().unwrap().to_owned());
        said.secrets = sent.chain([ACCOUNT_ID, CLIENT_ID, CLIENT_SECRET].map(str::to_owned)).collect();
        said.secrets.sort_unstable();
        said.secrets.dedup();
        let printed = self.service.finish(&[""]); // Any warning is allowed.
        said.places.push(("the log".to_owned(), printed.join("\n")));
        assert!(
            !self.collector.spans().is_empty(),
            "without spans, the search for leaks in them proves nothing"
        );
        said.places.push(("the traces".to_owned(), self.collector.text()));
        said
    }
}

fn one_by_one(log_level: &str) {
    let scene = Scene::new(log_level);
    let mut meetings = Vec::new();
    for (number, kind) in of_one_meeting().into_iter().enumerate() {
        // For each fault, the first page of one meeting always fails, and the second page of another fails once.
        let is_hold = matches!(
            kind,
            FaultKind::TokenExpired
                | FaultKind::TokenInvalid
                | FaultKind::TokenExpiredWith400
                | FaultKind::TokenExpiredIn200
        );
        for (more, page_number) in [(100, 0), (200, 1)] {
            if is_hold && page_number == 0 {
                continue; // If repeated, this fault stops all calls (see `of_everything`).
            }
            let id = format!("9{:010}", more + number);
            scene.sim.add_meeting(Meeting::raw_pages(&id, vec![page(); 3]));
            let fault = Fault::new(kind.clone()).for_meeting(&id).on_page(page_number);
            scene.sim.inject(if page_number == 0 { fault.forever() } else { fault });
            meetings.push(id);
        }
    }
    // The parser's error must not quote the invalid text of these pages.
    let pages = [
        format!("[{{\"user_name\":\"{MARK}\",\"x\":tru}}]"),
        format!("[{{\"{MARK}\":\"{MARK}"),
        format!("[{MARK}]"),
    ];
    for (number, page) in pages.into_iter().enumerate() {
        let id = format!("9{:010}", 300 + number);
        scene.sim.add_meeting(Meeting::raw_pages(&id, vec![page]));
        meetings.push(id);
    }
    let mut answers = scene.ask(&meetings);
    // The second requests get cached meetings and cached failures.
    answers.extend(scene.ask(&meetings));
    let failed = answers.iter().filter(|answer| answer.status != 200).count();
    assert!(failed > 40, "{failed}");
    let said = scene.end(&answers);
    assert!(said.whole_meetings > 20, "{}", said.whole_meetings);
    assert!(said.secrets.len() >= 5, "three settings, Basic, and an access token: {}", said.secrets.len());
    said.judge();
}

#[test]
fn no_fault_of_one_meeting_leaks_data_at_debug_level() {
    one_by_one("debug");
}

#[test]
fn no_fault_of_one_meeting_leaks_data_at_trace_level() {
    one_by_one("trace");
}

#[test]
fn no_fault_of_one_meeting_leaks_data_at_the_libraries_trace_level() {
    one_by_one(
        "info,awc::client=trace,awc::client::connection=trace,actix_http::h1=trace,actix_http::h1::dispatcher=trace,mio=trace",
    );
}

#[test]
fn no_fault_of_all_calls_leaks_data() {
    let faults = of_everything();
    std::thread::scope(|scope| {
        for fault in faults {
            scope.spawn(move || {
                let scene = Scene::new("trace");
                let meetings: Vec<_> = (1..=3).map(|number| format!("9{number:010}")).collect();
                for id in &meetings {
                    scene.sim.add_meeting(Meeting::raw_pages(id, vec![page(); 2]));
                }
                // One meeting is cached first, so that it can be served stale.
                let mut answers = scene.ask(&meetings[..1]);
                scene.sim.inject(fault);
                scene.sim.revoke_access_tokens();
                answers.extend(scene.ask(&meetings));
                wait_for(|| (calls_for(&scene.sim, &meetings[0]).len() >= 2).then_some(()));
                scene.end(&answers).judge();
            });
        }
    });
}
