//! Searches responses, logs, metrics, traces and Redis for values that must be hidden, for every combination of `hide`.

use std::{collections::BTreeSet, fs};

use serde_json::Value;
use test_support::{
    callers::{get_as, start},
    client::{Answer, request},
    collector::{Answers, Collector},
    hidden_fields::{
        ADDRESS, ALSO_HIDDEN, DEVICE, ID, IDENTITY, PATH, SHOWN, UNKNOWN, V2, callers, combinations,
        everything, mark, meeting, participants, pseudonym_of,
    },
    redis_server::Server,
    service::Service,
    simulator::sim,
    wait::wait_for,
};
use zoom_sim::{Fault, FaultKind};

/// The values that must not appear in any answer to a caller with this `hide`.
fn hidden_values(hide: &[&str]) -> Vec<String> {
    let mut fields = Vec::new();
    for (group, of_group) in [("identity", &IDENTITY[..]), ("address", &ADDRESS), ("device", &DEVICE)] {
        if hide.contains(&group) {
            fields.extend(of_group);
        }
    }
    let mut values: Vec<_> = fields.into_iter().map(mark).collect();
    if !hide.is_empty() {
        values.extend(UNKNOWN.map(mark));
        values.extend(ALSO_HIDDEN.map(str::to_owned));
    }
    values
}

/// Whether the text contains this value. A longer value that begins with it, such as `mark-os-version` for `mark-os`,
/// does not count, unless it continues with `-of-another`.
fn has(text: &str, value: &str) -> bool {
    let mut rests = text.match_indices(value).map(|(at, _)| text.split_at(at + value.len()).1);
    rests.any(|rest| rest.starts_with("-of-another") || !rest.starts_with('-'))
}

fn assert_hidden(place: &str, text: &str, values: &[String]) {
    for value in values {
        assert!(!has(text, value), "{value} in {place}: {text}");
    }
}

/// The paths of requests for the meeting's data in every form, including some that are rejected.
fn paths(pseudonym: &str) -> Vec<String> {
    let query = |more: &str| format!("{PATH}&{more}");
    let mut paths = vec![
        PATH.to_owned(),
        query("page_size=2"),
        query("groups=audio,smell"),
        query("since=2026-01-15T10:00:00Z"),
        query("kind=webinar"),
        format!("/qos/{ID}/summary?type=past"),
        format!("/qos/{ID}/summary?type=past&groups=audio&jitter_ms=1"),
        format!("/meetings/{ID}?type=past"),
        format!("{V2}/qos?type=past&page_size=2"),
        format!("{V2}/qos?type=past&page_size=300"),
        format!("{V2}/qos?type=past&next_page_token=mark"),
    ];
    for format in ["ndjson", "csv"] {
        paths.extend(["sample", "group"].map(|rows| query(&format!("format={format}&rows={rows}"))));
    }
    for person in [pseudonym, "mark-user-id", "mark-email", "mark-id", "mark-participant-uuid", "nobody"] {
        paths.push(query(&format!("participant={person}")));
        paths.push(query(&format!("participant={person}&format=csv")));
        paths.push(format!("/qos/{ID}/summary?type=past&participant={person}"));
        paths.push(format!("{V2}/{person}/qos?type=past"));
    }
    paths
}

#[test]
fn no_answer_contains_a_hidden_value() {
    let (sim, collector, redis) = (sim(|_| ()), Collector::start(Answers::Taken), Server::start());
    sim.add_meeting(meeting(ID));
    let (endpoint, url) = (collector.base(), redis.url());
    let settings = [("telemetry.otlp_endpoint", endpoint.as_str()), ("redis.url", &url)];
    let (service, _folder, _) = start(&sim, &callers(), &settings);
    for (caller, hide) in combinations() {
        let values = hidden_values(&hide);
        let pseudonym = pseudonym_of(&service, &caller);
        assert_eq!(pseudonym == "mark-user-id", !hide.contains(&"identity"));
        for path in paths(&pseudonym) {
            for coding in ["identity", "gzip"] {
                let headers = [("X-Api-Key", caller.as_str()), ("Accept-Encoding", coding)];
                let mut answer = request(service.addr, "GET", &path, &headers);
                if answer.header("content-encoding") == Some("gzip") {
                    let mut body = Vec::new();
                    let mut decoder = flate2::read::GzDecoder::new(&answer.body[..]);
                    std::io::Read::read_to_end(&mut decoder, &mut body).unwrap();
                    answer.body = body;
                }
                assert_hidden(&format!("{path} for {hide:?}"), &everything(&answer), &values);
            }
        }
        let whole = get_as(&service, &caller, PATH).text();
        let all = [&IDENTITY[..], &ADDRESS, &DEVICE, &UNKNOWN].concat();
        for value in all.into_iter().map(mark).chain(ALSO_HIDDEN.map(str::to_owned)) {
            assert_eq!(has(&whole, &value), !values.contains(&value), "{value}, {hide:?}");
        }
    }
    // Without an encryption key, the values in Redis contain entire snapshots. The names of the keys must contain no
    // participant data.
    let keys: Vec<String> = redis.command(&["KEYS", "*"]);
    assert!(!keys.iter().any(|key| key.contains("mark")), "{keys:?}");
    let everywhere = hidden_values(&["identity", "address", "device"]);
    assert_hidden("the metrics", &service.ops_get("/metrics").text(), &everywhere);
    assert_hidden("the status", &service.ops_get("/status").text(), &everywhere);
    let lines = service.finish(&[]);
    assert_hidden("the log", &lines.join("\n"), &everywhere);
    wait_for(|| (!collector.spans().is_empty()).then_some(()));
    assert_hidden("the traces", &collector.text(), &everywhere);
}

#[test]
fn shown_fields_stay_and_hidden_ones_become_null_or_a_pseudonym() {
    let sim = sim(|_| ());
    sim.add_meeting(meeting(ID));
    let (running, _folder, _) = start(&sim, &callers(), &[]);
    let service = &running;
    let open = participants(&get_as(service, "caller-0", PATH));
    let closed = participants(&get_as(service, "caller-7", PATH));
    let pseudonym = closed[0]["user_id"].as_str().unwrap();
    assert!(pseudonym.len() == 12 && pseudonym.starts_with("p-"), "{pseudonym}");
    for (before, after) in open.iter().zip(&closed) {
        assert_eq!(before.as_object().unwrap().len(), after.as_object().unwrap().len());
        for field in SHOWN.into_iter().chain([
            "join_time",
            "leave_time",
            "issue_list",
            "recording",
            "total_jointime_cost",
        ]) {
            assert_eq!(before[field], after[field], "{field}");
        }
        for field in ["user_name", "email", "id", "participant_uuid", "pc_name"] {
            assert_eq!(after[field], after["user_id"], "{field}");
        }
        for field in ADDRESS.iter().chain(&DEVICE).chain(&UNKNOWN).chain(&["phone", "tags", "extra"]) {
            assert_eq!(after[field], Value::Null, "{field}");
        }
        let sample = &after["user_qos"][0];
        assert_eq!(
            sample["audio_input"],
            serde_json::json!({ "latency": null, "jitter_ms": 55, "bitrate_kbps": 27.15 })
        );
        assert_eq!(sample["cpu_pressure_level"], "normal");
        assert_eq!(sample["smell_input"], serde_json::json!({ "odour": null, "latency_ms": 7 }));
        assert_eq!((&sample["note"], &sample["dial_in"]), (&Value::Null, &Value::Null));
    }
    assert_eq!(closed[1]["user_id"], pseudonym, "the same person with another user_id");
    assert_ne!(closed[2]["user_id"], pseudonym);
    let zoom = participants(&get_as(service, "caller-7", &format!("{V2}/qos?type=past&page_size=300")));
    for field in ["ip_address", "device", "sip_uri", "phone", "extra"] {
        assert_eq!(zoom[0][field], "", "{field}");
    }
    for field in ["internal_ip_addresses", "tags"] {
        assert_eq!(zoom[0][field], Value::Array(Vec::new()), "{field}");
    }
    assert_eq!(zoom[0]["user_name"], pseudonym);
    assert_eq!(zoom[0]["user_qos"][0]["audio_input"]["jitter"], "55 ms");
    let summary = get_as(service, "caller-7", &format!("/qos/{ID}/summary?type=past")).json();
    let fields: Vec<_> = ["user_id", "id", "participant_uuid", "user_name", "email"]
        .iter()
        .map(|field| summary["participants"][0][*field].as_str().unwrap().to_owned())
        .collect();
    assert!(fields.iter().all(|value| value == pseudonym), "{fields:?}");
    assert_eq!(summary["participants"][0]["join_time"], "2026-01-15T10:00:00Z");
    running.finish(&[]);
}

#[test]
fn zooms_messages_are_hidden_from_callers_with_hidden_fields() {
    let sim = sim(|_| ());
    for id in ["98765432102", "98765432103"] {
        let body = r#"{"code":3001,"message":"Meeting does not exist for mark-email."}"#.to_owned();
        sim.inject(Fault::new(FaultKind::Status { status: 404, body }).for_meeting(id).forever());
    }
    let body = r#"{"code":9999,"message":"Zoom refuses mark-email."}"#.to_owned();
    sim.inject(Fault::new(FaultKind::Status { status: 403, body }).for_meeting("98765432104").forever());
    let (running, _folder, _) = start(&sim, &callers(), &[]);
    let service = &running;
    for (caller, hide) in combinations() {
        let zooms = get_as(service, &caller, "/v2/metrics/meetings/98765432102/participants/qos?type=past");
        let ours = get_as(service, &caller, "/qos/98765432103?type=past");
        let refused = get_as(service, &caller, "/qos/98765432104?type=past");
        assert_eq!(
            (ours.problem().as_str(), refused.problem().as_str()),
            ("meeting_not_found", "zoom_failed")
        );
        assert_eq!((zooms.status, &zooms.json()["code"]), (404, &Value::from(3001)));
        assert_eq!(
            (&ours.json()["zoom"]["code"], &ours.json()["zoom"]["status"]),
            (&3001.into(), &404.into())
        );
        for answer in [&zooms, &ours, &refused] {
            assert_eq!(everything(answer).contains("mark-email"), hide.is_empty(), "{}", answer.text());
        }
        if !hide.is_empty() {
            assert_eq!(zooms.json()["message"], "Meeting does not exist: 98765432102.");
            assert_eq!(ours.json()["zoom"]["message"], Value::Null);
        }
    }
    running.finish(&["flight failed"]);
}

// ---- answers confirm no guess ----

/// Returns an answer without the parts that differ between any two requests, and without the id that the caller sent.
fn shape(answer: &Answer, sent: &str) -> (u16, BTreeSet<(String, String)>, String) {
    let varies = ["x-request-id", "date", "age"];
    let headers = answer.headers.iter().filter(|(name, _)| !varies.contains(&name.as_str()));
    let headers: BTreeSet<_> = headers.cloned().collect();
    let text = answer.text().replace(answer.header("x-request-id").unwrap(), "");
    (answer.status, headers, text.replace(sent, ""))
}

#[test]
fn a_real_id_and_an_invented_one_get_the_same_answers() {
    let sim = sim(|_| ());
    sim.add_meeting(meeting(ID));
    let (running, _folder, _) = start(&sim, &callers(), &[("cache.past_by_number_fresh", "1h")]);
    let service = &running;
    let whole = get_as(service, "caller-1", PATH);
    let modified = whole.header("last-modified").unwrap().to_owned();
    // First, a caller that sees everything selects the same id. Its view is cached, and must not be served to the
    // others.
    let open = get_as(service, "caller-0", &format!("{PATH}&participant=mark-email"));
    assert_eq!(participants(&open).len(), 2);
    let open_tag = open.header("etag").unwrap().to_owned();
    for caller in ["caller-1", "caller-3", "caller-5", "caller-7"] {
        for conditions in [
            vec![],
            vec![("If-Modified-Since", modified.as_str())],
            vec![("If-None-Match", "*")],
            vec![("If-None-Match", open_tag.as_str())],
            vec![("Cache-Control", "only-if-cached")],
        ] {
            for (prefix, suffix) in [
                (format!("{PATH}&participant="), ""),
                (format!("{PATH}&format=ndjson&participant="), ""),
                (format!("/qos/{ID}/summary?type=past&participant="), ""),
                (format!("{V2}/"), "/qos?type=past"),
            ] {
                let headers = [&[("X-Api-Key", caller)][..], &conditions].concat();
                let mut answers = ["mark-email", "mark-user-id", "mark-nobody"].map(|id| {
                    let path = format!("{prefix}{id}{suffix}");
                    shape(&request(service.addr, "GET", &path, &headers), id)
                });
                let expected = (404, true);
                assert_eq!((answers[0].0, answers[0] == answers[2]), expected, "{prefix}: {answers:?}");
                answers.sort();
                assert_eq!(answers[0], answers[2], "{prefix}");
            }
        }
        let pseudonym = pseudonym_of(service, caller);
        let found = get_as(service, caller, &format!("{PATH}&participant={pseudonym}"));
        assert_eq!(participants(&found).len(), 2, "the person has two stays");
        let newest = get_as(service, caller, &format!("{V2}/{pseudonym}/qos?type=past")).json();
        assert_eq!(newest["join_time"], "2026-01-15T10:30:00Z");
    }
    // Callers that see ids can select by an id, but not by a pseudonym.
    let pseudonym = pseudonym_of(service, "caller-1");
    for caller in ["caller-0", "caller-2", "caller-4", "caller-6"] {
        assert_eq!(participants(&get_as(service, caller, &format!("{PATH}&participant=mark-id"))).len(), 2);
        let problem = get_as(service, caller, &format!("{PATH}&participant={pseudonym}"));
        assert_eq!(problem.problem(), "participant_not_found");
    }
    running.finish(&[]);
}

/// The tag of a snapshot is a hash of its complete content. With that tag, a caller could verify a guess at a hidden
/// value.
#[test]
fn neither_tags_nor_page_tokens_reveal_the_hash_of_the_meeting() {
    let sim = sim(|_| ());
    sim.add_meeting(meeting(ID));
    let (running, _folder, _) = start(&sim, &callers(), &[("cache.past_by_number_fresh", "1h")]);
    let service = &running;
    let slice = |caller: &str, more: &str| get_as(service, caller, &format!("{PATH}{more}"));
    let token = |answer: &Answer| answer.json()["next_page_token"].as_str().unwrap().to_owned();
    let open_tag = slice("caller-0", "").header("etag").unwrap().trim_matches('"').to_owned();
    let open_token = token(&slice("caller-0", "&page_size=1"));
    let mut tags = BTreeSet::new();
    for (caller, hide) in combinations() {
        let first = slice(&caller, "&page_size=1");
        let zoom = get_as(service, &caller, &format!("{V2}/qos?type=past&page_size=1"));
        for answer in [&slice(&caller, ""), &slice(&caller, "&groups=audio"), &first, &zoom] {
            let tag = answer.header("etag").unwrap();
            assert!(tags.insert(tag.to_owned()), "two views have the tag {tag}");
            assert_eq!(tag.contains(&open_tag), hide.is_empty(), "{tag}");
        }
        let (ours, zooms) = (token(&first), token(&zoom));
        assert_eq!(ours == open_token, hide.is_empty());
        assert_eq!(ours, zooms);
        assert!(
            ours.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')),
            "{ours}"
        );
        // The service accepts only tokens of the form that this caller gets. Otherwise, a caller with hidden fields
        // could forge an unsealed token to test a guess.
        let foreign =
            if hide.is_empty() { token(&slice("caller-7", "&page_size=1")) } else { open_token.clone() };
        assert_eq!(slice(&caller, &format!("&next_page_token={foreign}")).problem(), "invalid_page_token");
        let refused = get_as(service, &caller, &format!("{V2}/qos?type=past&next_page_token={foreign}"));
        assert_eq!((refused.status, &refused.json()["code"]), (400, &Value::from(300)));

        let mut walked = participants(&first);
        let mut next = first;
        while let Some(token) = next.json()["next_page_token"].as_str() {
            next = slice(&caller, &format!("&next_page_token={token}"));
            walked.extend(participants(&next));
        }
        assert_eq!(walked, participants(&slice(&caller, "")), "{hide:?}");
        let again = request(
            service.addr,
            "GET",
            PATH,
            &[("X-Api-Key", &caller), ("If-None-Match", slice(&caller, "").header("etag").unwrap())],
        );
        assert_eq!(again.status, 304);
    }
    let hidden_tag = slice("caller-7", "").header("etag").unwrap().to_owned();
    let headers = [("X-Api-Key", "caller-6"), ("If-None-Match", hidden_tag.as_str())];
    assert_eq!(
        request(service.addr, "GET", PATH, &headers).status,
        200,
        "another caller's tag must not match"
    );
    running.finish(&[]);
}

// ---- pseudonyms ----

#[test]
fn pseudonyms_are_the_same_in_all_processes_with_the_same_secret() {
    let (sim, other_id) = (sim(|_| ()), "98765432105");
    for id in [ID, other_id] {
        sim.add_meeting(meeting(id));
    }
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, "sim-secret\n").unwrap();
    let in_a_file = [("zoom.client_secret_file", secret.to_str().unwrap())];
    let mut seen = BTreeSet::new();
    for settings in [&[][..], &[], &in_a_file] {
        let (service, _callers, _) = start(&sim, &callers(), settings);
        seen.insert(pseudonym_of(&service, "caller-1"));
        let live = participants(&get_as(&service, "caller-1", &format!("/qos/{ID}")));
        assert!(seen.contains(live[0]["email"].as_str().unwrap()), "live and past have the same pseudonym");
        let elsewhere = participants(&get_as(&service, "caller-1", &format!("/qos/{other_id}?type=past")));
        assert!(
            !seen.contains(elsewhere[0]["user_id"].as_str().unwrap()),
            "a person has a different pseudonym in each meeting"
        );
        service.finish(&[]);
    }
    assert_eq!(seen.len(), 1, "{seen:?}");
}

#[test]
fn another_client_secret_means_other_pseudonyms_tags_and_tokens() {
    let sim = sim(|_| ());
    sim.add_meeting(meeting(ID));
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, "sim-secret").unwrap();
    let settings =
        [("zoom.client_secret_file", secret.to_str().unwrap()), ("cache.past_by_number_fresh", "1h")];
    let (service, _callers, _) = start(&sim, &callers(), &settings);
    let first = get_as(&service, "caller-1", &format!("{PATH}&page_size=1"));
    let (before, tag) = (pseudonym_of(&service, "caller-1"), first.header("etag").unwrap().to_owned());
    fs::write(&secret, "sim-secret-2").unwrap();
    wait_for(|| (pseudonym_of(&service, "caller-1") != before).then_some(()));
    let headers = [("X-Api-Key", "caller-1"), ("If-None-Match", tag.as_str())];
    let changed = request(service.addr, "GET", &format!("{PATH}&page_size=1"), &headers);
    assert_eq!(changed.status, 200, "the bytes differ, although the snapshot is the same");
    let token = first.json()["next_page_token"].as_str().unwrap().to_owned();
    let refused = get_as(&service, "caller-1", &format!("{PATH}&next_page_token={token}"));
    assert_eq!(refused.problem(), "invalid_page_token");
    fs::write(&secret, "sim-secret").unwrap();
    wait_for(|| (pseudonym_of(&service, "caller-1") == before).then_some(()));
    assert_eq!(sim.qos_calls().len(), 1);
    service.finish(&[]);
}

#[test]
fn anonymous_hide_applies_without_a_callers_file() {
    let sim = sim(|_| ());
    sim.add_meeting(meeting(ID));
    let service = Service::start(&sim, &[("callers.anonymous_hide", "identity,address,device")]);
    let hidden = hidden_values(&["identity", "address", "device"]);
    for path in [PATH.to_owned(), format!("{PATH}&format=csv"), format!("{V2}/qos?type=past&page_size=9")] {
        let answer = service.get(&path);
        assert_eq!(answer.status, 200);
        assert_hidden(&path, &everything(&answer), &hidden);
    }
    assert_eq!(service.get(PATH).header("vary"), Some("Accept-Encoding, Accept"));
    service.finish(&[]);
}
