//! `RateLimit-Policy` and `RateLimit`: present only on responses that cost a call or were refused one. The log and the
//! metrics say which limit refused.

use test_support::{
    callers::{KEY, OTHER_KEY, get_as, start, two_callers},
    client::{Answer, at_once, request},
    freshness::{BRIEFLY_FRESH, NO_REVALIDATION, PATH, get_with, wait_until_not_served, wait_until_stale},
    service::Service,
    simulator::sim,
    wait::until_midnight,
};
use zoom_sim::{Fault, FaultKind, Meeting, Sim};

/// A member of one of the two header fields: its name, and its parameters in order.
type Member = (String, Vec<(String, u64)>);

fn names(members: &[Member]) -> Vec<&str> {
    members.iter().map(|(name, _)| name.as_str()).collect()
}

/// Parses a list of strings with integer parameters, as RFC 9651 serializes it: with one space after each comma. Accepts
/// only the parameters of the `RateLimit` draft.
fn list(field: &str) -> Vec<Member> {
    let members = field.split(", ").map(|member| {
        let mut parts = member.split(';');
        let name = parts.next().and_then(|name| name.strip_prefix('"')?.strip_suffix('"'));
        let name = name.unwrap_or_else(|| panic!("no string: {field}"));
        assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase()), "{field}");
        let parameters = parts.map(|part| {
            let (key, digits) = part.split_once('=').unwrap_or_else(|| panic!("no value: {field}"));
            assert!(["q", "w", "r", "t"].contains(&key), "{field}");
            assert!((1..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()));
            assert!(digits == "0" || !digits.starts_with('0'), "{field}");
            (key.to_owned(), digits.parse().unwrap())
        });
        (name.to_owned(), parameters.collect())
    });
    members.collect()
}

fn policies(answer: &Answer) -> Vec<Member> {
    list(answer.header("ratelimit-policy").unwrap_or_else(|| panic!("no policy: {answer:?}")))
}

fn limits(answer: &Answer) -> Vec<Member> {
    let limits = list(answer.header("ratelimit").unwrap_or_else(|| panic!("no limit: {answer:?}")));
    let policies = policies(answer);
    assert!(names(&limits).iter().all(|name| names(&policies).contains(name)), "{limits:?} {policies:?}");
    limits
}

fn parameter(members: &[Member], name: &str, key: &str) -> Option<u64> {
    let (_, parameters) = members.iter().find(|(member, _)| member == name)?;
    parameters.iter().find_map(|(parameter, value)| (parameter == key).then_some(*value))
}

fn assert_silent(answer: &Answer) {
    assert_eq!((answer.header("ratelimit-policy"), answer.header("ratelimit")), (None, None), "{answer:?}");
}

/// Asserts that nothing is left of this policy until the time in `Retry-After`.
fn assert_spent(answer: &Answer, policy: &str) {
    let limits = limits(answer);
    assert_eq!(parameter(&limits, policy, "r"), Some(0), "{limits:?}");
    let until = parameter(&limits, policy, "t").expect("a time");
    assert!(until.abs_diff(answer.retry_after()) <= 1, "{until} {answer:?}");
}

fn meetings(sim: &Sim, count: u64) -> Vec<String> {
    let paths = (0..count).map(|number| {
        let id = format!("{}", 91_000_000_000 + number);
        sim.add_meeting(Meeting::generated(&id, 1, 1));
        format!("/qos/{id}")
    });
    paths.collect()
}

fn refusals(service: &Service, by: &str) -> f64 {
    service.metric(&format!("zoom_qos_proxy_refusals_total{{by=\"{by}\"}}"))
}

/// The values of `refused_by` in the access log.
fn refused_in_log(lines: &[String]) -> Vec<String> {
    let lines = lines.iter().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines.filter_map(|line| Some(line.get("refused_by")?.as_str()?.to_owned())).collect()
}

#[test]
fn only_answers_that_cost_a_call_report_the_remaining_quota() {
    let sim = sim(|_| ());
    let paths = meetings(&sim, 2);
    let service = Service::start(&sim, &[]);
    for (made, path) in (1..).zip(&paths) {
        let answer = service.get(path);
        assert_eq!(answer.header("ratelimit-policy"), Some(r#""second";q=36;w=1, "day";q=54000;w=86400"#));
        let (limits, status) = (limits(&answer), service.ops_get("/status").json());
        let [limit, used] =
            ["day_calls_limit", "day_calls_used"].map(|key| status["budget"][key].as_u64().unwrap());
        assert_eq!((used, parameter(&limits, "day", "r")), (made, Some(limit - made)));
        assert!(parameter(&limits, "day", "t").unwrap().abs_diff(until_midnight()) <= 2, "{limits:?}");
        assert_eq!(names(&limits), ["day"], "what is left of a second is outdated before it is read");
    }
    let hit = service.get(&paths[0]);
    assert!(hit.cache_status().contains("; hit"), "{hit:?}");
    assert_silent(&hit);
    let tag = hit.header("etag").unwrap().to_owned();
    let not_modified = request(service.addr, "GET", &paths[0], &[("If-None-Match", &tag)]);
    assert_eq!(not_modified.status, 304);
    assert_silent(&not_modified);
    assert_silent(&get_with(&service, "/qos/99999999999", "only-if-cached"));
    assert_silent(&service.get("/qos/1"));
    let unknown = service.get("/qos/99999999999");
    assert_eq!(parameter(&limits(&unknown), "day", "r"), Some(53_997), "a 404 costs a call, too");
    assert_silent(&service.get("/qos/99999999999"));
    assert_eq!(service.metric("zoom_qos_proxy_second_calls_limit"), 36.0);
    assert!(refused_in_log(&service.finish(&[])).is_empty());
}

#[test]
fn requests_that_joined_a_flight_get_the_rate_limit_too() {
    let sim = sim(|config| config.latency = std::time::Duration::from_millis(500));
    let path = &meetings(&sim, 1)[0];
    let service = Service::start(&sim, &[]);
    let answers = at_once(service.addr, vec![path.clone(); 5]);
    assert_eq!(sim.qos_calls().len(), 1);
    for answer in &answers {
        assert_eq!(parameter(&limits(answer), "day", "r"), Some(53_999));
    }
    service.finish(&[]);
}

#[test]
fn rejections_by_the_rate_and_the_queue_count_as_our_own() {
    let sim = sim(|_| ());
    let paths = meetings(&sim, 40);
    let one_a_second = [("limits.heavy_per_second", "1"), ("limits.headroom_percent", "0")];
    for (setting, code, by) in [
        (("server.wait", "2s"), "zoom_rate_limited", "budget_second"),
        (("limits.max_queued", "2"), "overloaded", "queue"),
    ] {
        let service = Service::start(&sim, &[&one_a_second[..], &[setting]].concat());
        let answers = at_once(service.addr, paths.clone());
        let refused: Vec<_> = answers.iter().filter(|answer| answer.status != 200).collect();
        assert!(refused.len() > 30, "{}", refused.len());
        for answer in &refused {
            assert_eq!(answer.problem(), code);
            assert_spent(answer, "second");
            assert_eq!(names(&limits(answer)), ["second", "day"]);
        }
        assert_eq!(refusals(&service, by), f64::from(u32::try_from(refused.len()).unwrap()));
        let expected = refused.len();
        let by_whom = refused_in_log(&service.finish(&[]));
        assert!(by_whom.len() == expected && by_whom.iter().all(|word| word == by), "{by_whom:?}");
    }
}

#[test]
fn a_spent_day_counts_as_our_own_even_on_a_stale_answer() {
    let sim = sim(|_| ());
    let paths = meetings(&sim, 2);
    let settings = [("limits.heavy_per_day", "1"), ("limits.headroom_percent", "0"), BRIEFLY_FRESH];
    let service = Service::start(&sim, &settings);
    assert_eq!(parameter(&limits(&service.get(&paths[0])), "day", "r"), Some(0));
    let refused = service.get(&paths[1]);
    assert_eq!(refused.problem(), "zoom_daily_quota_spent");
    assert_spent(&refused, "day");
    assert_eq!(names(&limits(&refused)), ["day"]);
    wait_until_stale(&service, &paths[0]);
    let stale = service.get(&paths[0]);
    assert!(stale.cache_status().ends_with("detail=zoom_daily_quota_spent"), "{stale:?}");
    assert_eq!(parameter(&limits(&stale), "day", "r"), Some(0));
    assert_eq!((refusals(&service, "budget_day"), refusals(&service, "zoom_day")), (2.0, 0.0));
    assert_eq!(refused_in_log(&service.finish(&[])), ["budget_day", "budget_day"]);
}

#[test]
fn refusals_by_zoom_are_counted_separately() {
    let sim = sim(|_| ());
    let paths = meetings(&sim, 3);
    for (kind, policy, by) in [
        (FaultKind::RateSecond { retry_after: Some("60".into()), headers: true }, "second", "zoom_second"),
        (FaultKind::RateDay { retry_after: None, headers: true }, "day", "zoom_day"),
    ] {
        let service = Service::start(&sim, &[("server.wait", "5s")]);
        sim.inject(Fault::new(kind));
        for path in &paths {
            let refused = service.get(path);
            assert_eq!(refused.json()["zoom"]["status"], 429);
            assert_spent(&refused, policy);
        }
        assert_eq!(refusals(&service, by), 3.0);
        assert_eq!(refused_in_log(&service.finish(&["all calls pause"])), [by; 3]);
    }
}

#[test]
fn a_caller_with_a_limit_has_its_own_policy() {
    let sim = sim(|_| ());
    let paths = meetings(&sim, 4);
    let settings = [BRIEFLY_FRESH, NO_REVALIDATION];
    let (service, _folder, _) = start(&sim, &two_callers("calls_per_minute = 2"), &settings);
    for (path, left) in paths.iter().zip([1, 0]) {
        let answer = get_as(&service, KEY, path);
        assert_eq!(parameter(&policies(&answer), "caller", "q"), Some(2));
        assert_eq!(parameter(&policies(&answer), "caller", "w"), Some(60));
        let limits = limits(&answer);
        assert_eq!(parameter(&limits, "caller", "r"), Some(left));
        assert!((50..=60).contains(&parameter(&limits, "caller", "t").unwrap()), "{limits:?}");
    }
    let refused = get_as(&service, KEY, &paths[2]);
    assert_eq!((refused.status, refused.problem().as_str()), (429, "caller_over_limit"));
    assert_spent(&refused, "caller");
    assert_eq!(parameter(&limits(&refused), "day", "r"), Some(53_998));
    let other = get_as(&service, OTHER_KEY, &paths[3]);
    assert_eq!(names(&policies(&other)), ["second", "day"], "without a caller limit there is no policy");
    assert_eq!(refusals(&service, "caller"), 1.0);
    assert_eq!(refused_in_log(&service.finish(&[])), ["caller"]);
}

#[test]
fn rejected_credentials_are_counted_separately_and_are_no_limit() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[("zoom.client_secret", "wrong"), NO_REVALIDATION]);
    let refused = service.get(PATH);
    assert_eq!(refused.problem(), "zoom_rejected_credentials");
    assert_eq!(parameter(&limits(&refused), "day", "r"), Some(54_000));
    assert_eq!(refusals(&service, "credentials"), 1.0);
    assert_eq!(refused_in_log(&service.finish(&["Zoom refuses the credentials"])), ["credentials"]);
}

#[test]
fn a_failure_of_zoom_is_no_refusal_although_it_costs_calls() {
    let sim = sim(|_| ());
    let path = &meetings(&sim, 1)[0];
    let service = Service::start(&sim, &[BRIEFLY_FRESH, NO_REVALIDATION]);
    assert_eq!(service.get(path).status, 200);
    wait_until_not_served(&service, path);
    sim.inject(Fault::new(FaultKind::NotJson).forever());
    let stale = service.get(path);
    assert!(stale.cache_status().ends_with("detail=zoom_failed"), "{stale:?}");
    let left = parameter(&limits(&stale), "day", "r").unwrap();
    assert_eq!(54_000 - left, u64::try_from(sim.qos_calls().len()).unwrap());
    assert!(refused_in_log(&service.finish(&["flight failed"])).is_empty());
}
