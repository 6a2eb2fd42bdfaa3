//! The part of the daily quota that each caller gets: reserves, limits, callers whose meetings do not exist, restarts,
//! and rejections.

use test_support::{
    callers::{KEY, OTHER_KEY, callers_file, entry, get_as, in_status, start, two_callers},
    freshness::{BRIEFLY_FRESH, NO_REVALIDATION},
    service::Service,
    simulator::{add_meetings, sim},
    wait::wait_for,
};

/// 100 calls a day. Half of them are reserved: 25 for each of two callers.
const A_HUNDRED: [(&str, &str); 2] = [("limits.heavy_per_day", "100"), ("limits.headroom_percent", "0")];

/// Requests these meetings one after another, and returns how many answers came before the first that is not a 200.
fn fetched(service: &Service, key: &str, paths: &[String]) -> usize {
    paths.iter().take_while(|path| get_as(service, key, path).status == 200).count()
}

fn seconds_until_midnight() -> u64 {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    86_400 - now % 86_400
}

#[test]
fn a_greedy_caller_leaves_the_other_its_reserve() {
    let sim = sim(|_| ());
    let paths = add_meetings(&sim, 0, 110);
    let (service, _folder, _) = start(&sim, &two_callers(""), &A_HUNDRED);
    let left_of_day = seconds_until_midnight();
    let greedy = fetched(&service, KEY, &paths);
    let reserve = usize::try_from(25 * left_of_day / 86_400).unwrap();
    // The other caller's reserve shrinks while the test runs, so the number can differ by a few calls.
    assert!(
        (98 - reserve..=101 - reserve).contains(&greedy),
        "{greedy} calls, with {reserve} reserved for the other caller"
    );
    if reserve < 2 {
        println!("skipped: too little is reserved this late in the day");
        drop(service.finish(&["limits."]));
        return;
    }
    let refused = get_as(&service, KEY, &paths[greedy]);
    assert_eq!((refused.status, refused.problem().as_str()), (429, "caller_over_limit"), "{refused:?}");
    assert!(refused.json()["detail"].as_str().unwrap().contains("share"), "{refused:?}");
    assert!(
        (1..=3_500).contains(&refused.retry_after()),
        "a call of the reserve of 25 becomes free within an hour: {refused:?}"
    );
    assert_eq!(get_as(&service, OTHER_KEY, &paths[100]).status, 200);
    assert_eq!(get_as(&service, KEY, &paths[0]).status, 200, "hits cost nothing");

    let caller = in_status(&service, "support-tools");
    assert_eq!(caller["day"]["calls_used"], greedy);
    assert_eq!(
        (&caller["day"]["calls_share"], &caller["day"]["calls_reserved"]),
        (&50.0.into(), &0.0.into())
    );
    assert_eq!(caller["requests_refused_today"], 2);
    let metric = |name: &str| service.metric(&format!("zoom_qos_proxy_{name}{{caller=\"support-tools\"}}"));
    assert_eq!(metric("caller_refusals_total"), 2.0);
    assert_eq!(metric("caller_day_calls_used").to_string(), greedy.to_string());
    assert_eq!((metric("caller_day_calls_share"), metric("caller_day_calls_reserved")), (50.0, 0.0));
    service.finish(&["limits."]);
}

#[test]
fn without_a_reserve_or_callers_one_caller_may_spend_the_day() {
    for (file, reserve) in [(true, "0"), (false, "50")] {
        let sim = sim(|_| ());
        let paths = add_meetings(&sim, 0, 21);
        let mut settings =
            vec![("limits.heavy_per_day", "20"), A_HUNDRED[1], ("limits.reserve_percent", reserve)];
        let (_folder, path) = callers_file(&two_callers(""));
        if file {
            settings.push(("callers.file", path.to_str().unwrap()));
        }
        let service = Service::start(&sim, &settings);
        assert_eq!(fetched(&service, KEY, &paths), 20);
        assert_eq!(get_as(&service, KEY, &paths[20]).problem(), "zoom_daily_quota_spent");
        service.finish(&["limits."]);
    }
}

#[test]
fn over_its_daily_limit_a_caller_gets_429_or_a_stale_snapshot() {
    let sim = sim(|_| ());
    let paths = add_meetings(&sim, 0, 4);
    let (service, _folder, _) =
        start(&sim, &two_callers("calls_per_day = 2"), &[BRIEFLY_FRESH, NO_REVALIDATION]);
    assert_eq!(fetched(&service, KEY, &paths), 2);
    let refused = get_as(&service, KEY, &paths[2]);
    assert_eq!((refused.status, refused.problem().as_str()), (429, "caller_over_limit"), "{refused:?}");
    assert!(refused.retry_after().abs_diff(seconds_until_midnight()) <= 2, "{refused:?}");
    assert!(refused.json()["detail"].as_str().unwrap().contains("calls_per_day"), "{refused:?}");

    let id = paths[2].rsplit('/').next().unwrap();
    let zoom = get_as(&service, KEY, &format!("/v2/metrics/meetings/{id}/participants/qos"));
    assert_eq!((zoom.status, zoom.header("x-ratelimit-type")), (429, Some("Daily-limit")), "{zoom:?}");
    assert!(zoom.text().contains("maximum daily rate limit"), "{zoom:?}");
    let stale = wait_for(|| {
        Some(get_as(&service, KEY, &paths[0])).filter(|answer| answer.cache_status().contains("detail="))
    });
    assert!(stale.cache_status().ends_with("detail=caller_over_limit"), "{stale:?}");
    assert_eq!(get_as(&service, OTHER_KEY, &paths[2]).status, 200);
    service.finish(&[]);
}

#[test]
fn a_caller_with_only_404s_is_slowed_until_it_finds_a_meeting() {
    let sim = sim(|_| ());
    let found = add_meetings(&sim, 0, 3);
    let missing: Vec<_> = (0..60).map(|number| format!("/qos/9900000{number:04}")).collect();
    // A slowed caller gets a tenth of its share. The share is half of the day's calls, so the caller gets one call in
    // about 0.3 s.
    let settings = [("limits.heavy_per_day", "6000000"), A_HUNDRED[1], ("cache.not_found_live", "0s")];
    let (service, _folder, _) = start(&sim, &two_callers(""), &settings);
    let answers: Vec<_> = missing.iter().map(|path| get_as(&service, KEY, path)).collect();
    assert!(answers[..50].iter().all(|answer| answer.problem() == "meeting_not_found"));
    let refused: Vec<_> = answers[50..].iter().filter(|answer| answer.status == 429).collect();
    assert!(refused.len() >= 5, "{answers:?}");
    assert!(refused[0].json()["detail"].as_str().unwrap().contains("do not exist"), "{:?}", refused[0]);
    assert_eq!(in_status(&service, "support-tools")["day"]["is_held_for_404s"], true);
    assert_eq!(
        get_as(&service, OTHER_KEY, &missing[0]).problem(),
        "meeting_not_found",
        "other callers are not slowed"
    );
    wait_for(|| (get_as(&service, KEY, &found[0]).status == 200).then_some(()));
    for path in &found[1..] {
        assert_eq!(get_as(&service, KEY, path).status, 200);
    }
    assert_eq!(in_status(&service, "support-tools")["day"]["is_held_for_404s"], false);
    service.finish(&["limits."]);
}

#[test]
fn a_cached_meeting_ends_a_hold_whose_next_fetch_is_hours_away() {
    let sim = sim(|_| ());
    let found = add_meetings(&sim, 0, 3);
    let missing: Vec<_> = (0..51).map(|number| format!("/qos/9900000{number:04}")).collect();
    // A tenth of half the day's 200 calls is 10 calls: one in 2.4 hours.
    let settings = [("limits.heavy_per_day", "200"), A_HUNDRED[1], ("cache.not_found_live", "1h")];
    let (service, _folder, _) = start(&sim, &two_callers(""), &settings);
    assert_eq!(get_as(&service, OTHER_KEY, &found[0]).status, 200);
    for path in &missing {
        assert_eq!(get_as(&service, KEY, path).problem(), "meeting_not_found");
    }
    let is_held = || in_status(&service, "support-tools")["day"]["is_held_for_404s"] == true;
    assert!(is_held());
    let refused = get_as(&service, KEY, &found[1]);
    assert_eq!((refused.status, refused.problem().as_str()), (429, "caller_over_limit"), "{refused:?}");
    let interval = u64::min(8_640, seconds_until_midnight());
    assert!(refused.retry_after().abs_diff(interval) <= 10, "{refused:?}");
    assert_eq!(get_as(&service, KEY, &missing[0]).status, 404, "a cached 404 changes nothing");
    assert_eq!(get_as(&service, KEY, &found[1]).status, 429);
    // The workers learn within a second that the caller is held. After that, serving it the cached meeting ends the
    // hold.
    wait_for(|| {
        assert_eq!(get_as(&service, KEY, &found[0]).status, 200);
        (get_as(&service, KEY, &found[1]).status == 200).then_some(())
    });
    assert_eq!(get_as(&service, KEY, &found[2]).status, 200);
    assert!(!is_held());
    service.finish(&["limits."]);
}

#[test]
fn a_restart_keeps_what_each_caller_has_spent() {
    let sim = sim(|_| ());
    let paths = add_meetings(&sim, 0, 6);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("day.json");
    let settings = [("limits.state_file", file.to_str().unwrap())];
    let callers = entry("support-tools", KEY, "calls_per_day = 3") + &entry("bi", OTHER_KEY, "");
    let (service, _folder, _) = start(&sim, &callers, &settings);
    assert_eq!(fetched(&service, KEY, &paths[..2]), 2);
    assert_eq!(get_as(&service, OTHER_KEY, &paths[5]).status, 200);
    service.finish(&[]);
    let (service, _folder, _) = start(&sim, &callers, &settings);
    assert_eq!(in_status(&service, "support-tools")["day"]["calls_used"], 2);
    assert_eq!(fetched(&service, KEY, &paths[2..5]), 1);
    service.finish(&[]);

    // A state file of an older version has no counts for each caller.
    std::fs::write(&file, format!("{{\"zoom_calls_of_day\":{},\"calls\":9}}", today())).unwrap();
    let (service, _folder, _) = start(&sim, &callers, &settings);
    assert_eq!(in_status(&service, "support-tools")["day"]["calls_used"], 0);
    assert_eq!(service.ops_get("/status").json()["budget"]["day_calls_used"], 9);
    service.finish(&[]);
}

fn today() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() / 86_400
}
