//! Impossible values in the counts that replicas keep for each caller in Redis. No caller is rejected forever, no call
//! is forgotten, and the values are counted.

use std::{
    iter,
    time::{SystemTime, UNIX_EPOCH},
};

use test_support::{
    callers::{KEY, OTHER_KEY, callers_file, entry, get_as, in_status},
    redis_server::Server,
    replicas::wait_until_redis_is,
    service::Service,
    simulator::{add_meetings, sim},
    wait::wait_for,
};

const REFUSED: &str = "is out of bounds";
const DAY: u64 = 86_400_000_000;
const ACCOUNTS: [&str; 12] = [
    "nan nan",
    "inf 0",
    "-5 0",
    "3 -1",
    "3",
    // A count with a third number, as another version of the service might write it.
    "3 0 7",
    "",
    "18446744073709551615 0",
    "3 86400000001",
    "0x3 0",
    "1e1 0",
    "\n3 0",
];

fn micros() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap()
}

fn named(redis: &Server, name: &str) -> String {
    let budget = wait_for(|| redis.command::<Vec<String>>(&["KEYS", "{zqp:*}:budget"]).pop());
    budget.replace(":budget", &format!(":{name}"))
}

fn rejected(service: &Service) -> f64 {
    service.metric("zoom_qos_proxy_redis_values_rejected_total{kind=\"budget\"}")
}

fn used(service: &Service) -> u64 {
    in_status(service, "support-tools")["day"]["calls_used"].as_u64().unwrap()
}

/// Waits until Redis contains this number of calls of `support-tools` again.
fn wait_until_healed(redis: &Server, calls: u64, after: &str) {
    let callers = named(redis, "callers");
    let account = || {
        let mut connection = redis.connection();
        redis::cmd("HGET").arg(&callers).arg("support-tools").query::<Option<String>>(&mut connection).ok()?
    };
    let begun = std::time::Instant::now();
    wait_for(|| {
        let account = account();
        assert!(begun.elapsed().as_secs() < 8, "after {after}: {account:?}");
        (account? == format!("{calls} 0")).then_some(())
    });
}

fn add_ten_thousand_callers(redis: &Server, accounts: &str) {
    let names: Vec<_> = (0..10_000).map(|number| format!("caller-{number}")).collect();
    let fields = names.iter().flat_map(|name| [name.as_str(), "5 0"]);
    let command: Vec<_> = ["HSET", accounts].into_iter().chain(fields).collect();
    redis.command::<u32>(&command);
}

#[test]
fn impossible_accounts_reject_no_caller_and_forget_no_call() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let paths = add_meetings(&sim, 0, 80);
    let mut paths = paths.iter();
    let callers = entry("support-tools", KEY, "calls_per_day = 8") + &entry("bi", OTHER_KEY, "");
    let (_folder, file) = callers_file(&callers);
    let url = redis.url();
    let service = Service::start(&sim, &[("redis.url", &url), ("callers.file", file.to_str().unwrap())]);
    wait_until_redis_is(&service, 1.0);
    for _ in 0..3 {
        assert_eq!(get_as(&service, KEY, paths.next().unwrap()).status, 200);
    }
    wait_until_healed(&redis, 3, "nothing");
    let (accounts, day) = (named(&redis, "callers"), named(&redis, "d:support-tools"));
    let long = "9".repeat(1_000_000);
    let mut healed = |after: &str, counts: bool, forge: &dyn Fn()| {
        let before = rejected(&service);
        forge();
        wait_until_healed(&redis, 3, after);
        assert_eq!(get_as(&service, OTHER_KEY, paths.next().unwrap()).status, 200, "after {after}");
        assert_eq!(used(&service), 3, "after {after}");
        assert_eq!(service.metric("zoom_qos_proxy_redis_up"), 1.0, "after {after}");
        if counts {
            wait_for(|| (rejected(&service) > before).then_some(()));
        }
    };
    for value in ACCOUNTS.into_iter().chain([long.as_str()]) {
        healed(&format!("{value:.30}"), true, &|| {
            redis.command::<u32>(&["HSET", &accounts, "support-tools", value]);
            redis.command::<()>(&["SET", &day, value]);
        });
    }
    for name in ["a\nb", "", " ", "a b", &"x".repeat(65), "ä", "zebra\u{0}"] {
        healed(&format!("a caller {name:.30}"), false, &|| {
            redis.command::<u32>(&["HSET", &accounts, name, "5 0"]);
            wait_for(|| (redis.command::<u32>(&["HEXISTS", &accounts, name]) == 0).then_some(()));
        });
    }
    let tomorrow = (micros() / DAY + 1).to_string();
    for value in ["nan", "-1", &tomorrow, "0"] {
        healed(&format!("the day {value}"), false, &|| {
            redis.command::<u32>(&["HSET", &accounts, " day", value]);
            let today = (micros() / DAY).to_string();
            wait_for(|| (redis.command::<String>(&["HGET", &accounts, " day"]) == today).then_some(()));
        });
    }
    healed("10,000 callers", false, &|| {
        add_ten_thousand_callers(&redis, &accounts);
        wait_for(|| (redis.command::<u32>(&["HLEN", &accounts]) < 100).then_some(()));
    });
    for command in ["SET", "SADD"] {
        healed("keys of another type", true, &|| {
            redis.command::<u32>(&["DEL", &accounts, &day]);
            redis.command::<redis::Value>(&[command, accounts.as_str(), "x"]);
            redis.command::<u32>(&["SADD", &day, "x"]);
        });
    }
    let more: Vec<_> =
        iter::from_fn(|| paths.next()).map(|path| get_as(&service, KEY, path).status).collect();
    assert_eq!(more.iter().filter(|status| **status == 200).count(), 5, "eight in a day: {more:?}");
    service.finish(&[REFUSED]);
}

#[test]
fn impossible_calls_of_a_minute_expire_within_a_minute() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let paths = add_meetings(&sim, 0, 40);
    let (_folder, file) = callers_file(&entry("support-tools", KEY, "calls_per_minute = 30"));
    let url = redis.url();
    let service = Service::start(&sim, &[("redis.url", &url), ("callers.file", file.to_str().unwrap())]);
    wait_until_redis_is(&service, 1.0);
    let mut paths = paths.iter();
    let minute = named(&redis, "m:support-tools");
    let serves = |after: &str, path: &str| {
        let answer = get_as(&service, KEY, path);
        assert_eq!(answer.status, 200, "after {after}: {answer:?}");
    };
    serves("nothing", paths.next().unwrap());
    let future = (micros() + 3_600_000_000).to_string();
    for score in ["inf", "-inf", "1e300", "-1e300", "0", "0.5", &future] {
        let forged: Vec<_> = (0..100).flat_map(|number| [score.to_owned(), format!("x{number}")]).collect();
        let command: Vec<_> =
            ["ZADD", &minute].into_iter().chain(forged.iter().map(String::as_str)).collect();
        redis.command::<u32>(&command);
        serves(score, paths.next().unwrap());
        assert!(redis.command::<u32>(&["ZCARD", &minute]) <= 30, "after {score}");
    }
    assert!(rejected(&service) >= 300.0, "{}", rejected(&service));
    for command in [["SET", minute.as_str(), "x"], ["SADD", minute.as_str(), "x"]] {
        redis.command::<u32>(&["DEL", &minute]);
        redis.command::<redis::Value>(&command);
        serves("another type", paths.next().unwrap());
    }
    // Forged calls with a possible time count like real ones, but only until they are a minute old.
    let score = (micros() - 57_000_000).to_string();
    let forged: Vec<_> = (0..10_000).flat_map(|number| [score.clone(), format!("x{number}")]).collect();
    let command: Vec<_> = ["ZADD", &minute].into_iter().chain(forged.iter().map(String::as_str)).collect();
    redis.command::<u32>(&command);
    let path = paths.next().unwrap();
    let denied = get_as(&service, KEY, path);
    assert_eq!((denied.status, denied.problem().as_str()), (429, "caller_over_limit"));
    assert!(denied.retry_after() <= 4, "{denied:?}");
    wait_for(|| (get_as(&service, KEY, path).status == 200).then_some(()));
    service.finish(&[REFUSED]);
}
