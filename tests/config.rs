//! The configuration as an operator uses it: files and environment go in, typed values or all problems come out.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    time::Duration,
};

use tempfile::TempDir;
use test_support::callers::{callers_file, two_callers};
use zoom_qos_proxy::{
    callers::CallersFile,
    config::Config,
    hiding::{FieldGroup, HiddenFields},
    telemetry::LogFormat,
    view::summary::SummaryLimit,
    zoom::secret::SecretSource,
};

const DEFAULTS: &str = include_str!("../config/default.toml");
const EXAMPLE: &str = include_str!("../config/example.toml");

/// The minimum that an environment must set.
const CREDENTIALS: [(&str, &str); 3] = [
    ("QOS_PROXY__ZOOM__ACCOUNT_ID", "an-account"),
    ("QOS_PROXY__ZOOM__CLIENT_ID", "a-client"),
    ("QOS_PROXY__ZOOM__CLIENT_SECRET", "hush-hush"),
];

/// A CA certificate that has signed no server's certificate.
const CA: &str = include_str!("chart/ca.crt");

const ENCRYPTION_KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// A folder of configuration files and an environment.
struct Setup {
    folder: TempDir,
    files: Vec<PathBuf>,
    environment: Vec<(OsString, OsString)>,
}

impl Setup {
    /// Nothing is set, not even required keys.
    fn empty() -> Self {
        Self { folder: TempDir::new().unwrap(), files: Vec::new(), environment: Vec::new() }
    }

    /// The environment sets the required keys.
    fn new() -> Self {
        CREDENTIALS.iter().fold(Self::empty(), |setup, (name, value)| setup.variable(name, value))
    }

    /// Adds a `--config` file: `1.toml`, `2.toml` …
    fn file(mut self, text: impl AsRef<[u8]>) -> Self {
        let path = self.folder.path().join(format!("{}.toml", self.files.len() + 1));
        std::fs::write(&path, text).unwrap();
        self.files.push(path);
        self
    }

    fn variable(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Adds a file that is not a configuration, such as a mounted secret.
    fn mount(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn accepted(self) -> (Config, Vec<String>) {
        match Config::load(&self.files, self.environment.clone()) {
            Ok((config, warnings)) => {
                let warnings = warnings.iter().map(|warning| self.without_folder(warning));
                (config, warnings.collect())
            }
            Err(problems) => panic!("refused:\n{problems}"),
        }
    }

    fn without_folder(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.folder.path().display()), "")
    }

    fn config(self) -> Config {
        self.accepted().0
    }

    /// The lines of the reported problems, without the folder's name.
    fn refused(self) -> Vec<String> {
        match Config::load(&self.files, self.environment.clone()) {
            Ok((config, _)) => panic!("accepted:\n{}", config.effective),
            Err(problems) => self.without_folder(&problems.to_string()).lines().map(str::to_owned).collect(),
        }
    }
}

/// The only line reported for `section.key = value` in a file.
fn problem_of(setting: &str) -> String {
    let (section, line) = setting.split_once('.').unwrap();
    let mut lines = Setup::new().file(format!("[{section}]\n{line}\n")).refused();
    assert_eq!(lines.len(), 1, "{setting}: {lines:#?}");
    lines.remove(0)
}

/// The configuration with `section.key = value` in a file.
fn with(setting: &str) -> Config {
    let (section, line) = setting.split_once('.').unwrap();
    Setup::new().file(format!("[{section}]\n{line}\n")).config()
}

/// The keys that `name` finds in the lines of a TOML document, as `section.key`.
fn keys_of(text: &str, name: impl Fn(&str) -> Option<&str>) -> BTreeSet<String> {
    let mut section = String::new();
    let mut keys = BTreeSet::new();
    for line in text.lines() {
        if let Some(header) = line.strip_prefix('[') {
            header.trim_end_matches(']').clone_into(&mut section);
        } else if let Some(key) = name(line) {
            keys.insert(format!("{section}.{key}"));
        }
    }
    keys
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn default_keys() -> BTreeSet<String> {
    keys_of(DEFAULTS, |line| {
        let (key, _) = line.strip_prefix("# ").unwrap_or(line).split_once(" = ")?;
        is_name(key).then_some(key)
    })
}

/// The keys whose value in `config/default.toml`, a default or an example in a comment, is of this kind.
fn keys_with(is_of_the_kind: impl Fn(&toml::Value) -> bool) -> BTreeSet<String> {
    keys_of(DEFAULTS, |line| {
        let line = line.strip_prefix("# ").unwrap_or(line);
        let (key, _) = line.split_once(" = ").filter(|(key, _)| is_name(key))?;
        let setting: toml::Table = line.parse().unwrap();
        is_of_the_kind(setting.get(key)?).then_some(key)
    })
}

fn durations() -> BTreeSet<String> {
    keys_with(|value| value.as_str().is_some_and(|text| humantime::parse_duration(text).is_ok()))
}

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

#[test]
fn without_settings_the_documented_defaults_apply() {
    let (config, warnings) = Setup::new().accepted();
    assert_eq!(warnings, [""; 0]);
    let mut checked = durations();
    let mut check = |key: &str, value: &dyn ToString, default: &dyn ToString| {
        assert_eq!(value.to_string(), default.to_string(), "{key}");
        checked.insert(key.to_owned());
    };
    check("server.listen", &config.server.listen, &"127.0.0.1:8080");
    check("server.ops_listen", &config.server.ops_listen, &"127.0.0.1:9090");
    check("server.max_connections", &config.server.max_connections, &2048);
    check("zoom.api_base_url", &config.zoom.api_base_url, &"https://api.zoom.us/v2");
    check("zoom.oauth_url", &config.zoom.oauth_url, &"https://zoom.us/oauth/token");
    check("zoom.max_body", &config.zoom.max_body, &(64 << 20));
    // The plan "business" permits 40 calls per second and 60,000 per day. The headroom takes 10 % of both.
    check("limits.plan", &config.quota.per_second, &36);
    check("limits.headroom_percent", &config.quota.per_day, &54_000);
    check("limits.reserve_percent", &config.quota.reserve_percent, &50);
    check("limits.max_stretch", &config.quota.max_stretch, &10);
    check("limits.max_queued", &config.fetcher.max_queued, &1000);
    check("limits.max_fetch_bytes", &config.fetcher.max_fetch_bytes, &(128 << 20));
    check("cache.max_bytes", &config.cache.max_bytes, &(256 << 20));
    for (limit, default) in SummaryLimit::ALL.into_iter().zip([150.0, 40.0, 2.0, 90.0]) {
        check(&format!("summary.{}", limit.as_str()), &config.summary.get(limit), &default);
    }
    let redis = with("redis.url = \"redis://r\"");
    check("redis.replicas", &redis.cluster.unwrap().replicas, &2);
    check("telemetry.log_format", &(config.telemetry.log_format == LogFormat::Json), &true);
    check("telemetry.log_level", &config.telemetry.log_level, &"info");
    check("telemetry.log_meeting_ids", &config.telemetry.log_meeting_ids, &false);
    let with_default = keys_of(DEFAULTS, |line| Some(line.split_once(" = ")?.0).filter(|key| is_name(key)));
    assert_eq!(checked, with_default, "a key's default is checked here or, for a duration, in the next test");

    assert_eq!(config.server.workers, std::thread::available_parallelism().unwrap().get());
    assert_eq!((config.quota.live_fresh, config.freshness.empty_live_fresh), (seconds(30), seconds(10)));
    assert_eq!(config.quota.state_file, None);
    assert!(config.callers.is_none());
    assert!(config.trace.otlp_endpoint.is_none());
}

#[test]
fn every_duration_has_its_documented_default() {
    let config = with("redis.url = \"redis://r\"");
    let defaults = [
        ("server.wait", config.fetcher.wait, seconds(12)),
        ("server.drain_delay", config.server.drain_delay, seconds(5)),
        ("server.shutdown_timeout", config.server.shutdown_timeout, seconds(25)),
        ("server.head_timeout", config.server.timeouts.head, seconds(10)),
        ("server.idle_timeout", config.server.timeouts.idle, seconds(75)),
        ("server.write_timeout", config.server.timeouts.write, seconds(30)),
        ("zoom.connect_timeout", config.zoom.connect_timeout, seconds(3)),
        ("zoom.request_timeout", config.zoom.request_timeout, seconds(10)),
        ("cache.live_fresh", config.freshness.live_fresh, seconds(30)),
        ("cache.past_fresh", config.freshness.past_fresh, seconds(24 * 3600)),
        ("cache.past_by_number_fresh", config.freshness.past_by_number_fresh, seconds(300)),
        ("cache.settle", config.freshness.settle, seconds(1800)),
        ("cache.stale_while_revalidate", config.cache.policy.while_revalidate, seconds(30)),
        ("cache.stale_if_error", config.cache.policy.if_error, seconds(3600)),
        ("cache.not_found_live", config.cache.not_found_live, seconds(10)),
        ("cache.not_found_past", config.cache.not_found_past, seconds(60)),
        ("cache.refusal", config.cache.refusal, seconds(30)),
        ("cache.refresh_floor", config.cache.policy.refresh_floor, seconds(5)),
        ("redis.timeout", config.cluster.unwrap().timeout, Duration::from_millis(250)),
    ];
    for (key, value, default) in defaults {
        assert_eq!(value, default, "{key}");
    }
    assert_eq!(BTreeSet::from(defaults.map(|(key, ..)| key.to_owned())), durations());
}

#[test]
fn documented_known_and_printed_keys_are_the_same() {
    let printed = keys_of(&Setup::new().config().effective, |line| {
        let key = line.strip_prefix("# ").and_then(|line| line.strip_suffix(" is not set"));
        key.or_else(|| Some(line.split_once(" = ")?.0))
    });
    assert_eq!(printed, default_keys());
}

#[test]
fn every_documented_key_can_be_set_by_file_and_environment() {
    for key in default_keys() {
        let (section, name) = key.split_once('.').unwrap();
        let in_file = Setup::new().file(format!("[{section}]\n{name} = []\n")).refused().join("\n");
        assert!(in_file.contains(&format!("{key}: must be ")), "{key}: {in_file}");
        let variable = format!("QOS_PROXY__{}__{}", section.to_uppercase(), name.to_uppercase());
        let by_variable = Setup::empty().variable(&variable, "").refused().join("\n");
        let expected = format!("{key}: is empty");
        assert!(by_variable.contains(&expected), "{key}: {by_variable}");
        assert!(by_variable.contains(&format!("(set by environment variable {variable})")), "{by_variable}");
    }
}

#[test]
fn the_later_layer_wins() {
    let file = |wait: &str| format!("[server]\nwait = \"{wait}\"\n");
    assert_eq!(Setup::new().file(file("1s")).config().fetcher.wait, seconds(1));
    assert_eq!(Setup::new().file(file("1s")).file(file("2s")).config().fetcher.wait, seconds(2));
    let all = Setup::new().file(file("1s")).file(file("2s")).variable("QOS_PROXY__SERVER__WAIT", "3s");
    assert_eq!(all.config().fetcher.wait, seconds(3));
}

#[test]
fn a_wrong_value_is_a_problem_even_if_overridden_later() {
    let lines =
        Setup::new().file("[server]\nwait = 30\n").variable("QOS_PROXY__SERVER__WAIT", "3s").refused();
    assert_eq!(
        lines,
        ["server.wait: needs a unit and quotes: write \"30s\", not an integer (set in 1.toml:2)"]
    );
}

#[test]
fn a_limit_of_summaries_is_digits_with_or_without_decimals() {
    let setup = Setup::new()
        .file("[summary]\nlatency_ms = 1_000\njitter_ms = 0\nloss_percent = 2.50\n")
        .variable("QOS_PROXY__SUMMARY__CPU_PERCENT", "099.5");
    let config = setup.config();
    let limits = SummaryLimit::ALL.map(|limit| Some(config.summary.get(limit)));
    assert_eq!(limits, [1000.0, 0.0, 2.5, 99.5].map(Some));
    for line in ["latency_ms = 1000 #", "jitter_ms = 0 #", "loss_percent = 2.5 #", "cpu_percent = 99.5 #"] {
        assert!(config.effective.contains(line), "{}", config.effective);
    }
    for (setting, said) in [
        (
            "summary.latency_ms = 1000000",
            "must be a number from 0 to 999999, such as 40 or 2.5, not \"1000000\"",
        ),
        ("summary.jitter_ms = -1", "must be a number from 0 to 999999, such as 40 or 2.5, not \"-1\""),
        ("summary.loss_percent = 100.5", "must be a number from 0 to 100, such as 40 or 2.5, not \"100.5\""),
        ("summary.loss_percent = 1e1", "must be a number from 0 to 100, such as 40 or 2.5, not \"1e1\""),
        ("summary.cpu_percent = nan", "must be a number from 0 to 100, such as 40 or 2.5, not \"nan\""),
        ("summary.cpu_percent = \"90\"", "must be a number from 0 to 100, such as 40 or 2.5, without quotes"),
        ("summary.cpu_percent = true", "must be a number from 0 to 100, such as 40 or 2.5, not a boolean"),
    ] {
        let key = setting.split(' ').next().unwrap();
        assert_eq!(problem_of(setting), format!("{key}: {said} (set in 1.toml:2)"));
    }
    let lines = Setup::new().variable("QOS_PROXY__SUMMARY__LATENCY_MS", "150 ms").refused();
    assert!(lines[0].starts_with("summary.latency_ms: must be a number from 0 to 999999"), "{lines:?}");
}

#[test]
fn other_programs_variables_are_not_ours() {
    Setup::new()
        .variable("QOS_PROXY_PORT", "tcp://10.0.0.1:8080")
        .variable("QOS_PROXY_SERVICE_HOST", "10.0.0.1")
        .variable("QOS_PROXY_PORT_8080_TCP_ADDR", "10.0.0.1")
        .variable("qos_proxy__server__wait", "nonsense")
        .variable("PATH", OsStr::from_bytes(b"/\xff"))
        .config();
}

#[test]
fn all_problems_are_reported_together_sorted_and_with_their_origins() {
    let mut setup = Setup::empty()
        .file("[server]\nlisen = \"[::]:80\"\nwait = \"soon\"\n\n[limits]\nheavy_per_day = 0\n[redis]\nurl = \"x\"\n")
        .file("[cache]\nsettle = \"1h\nmax_bytes = 5\n")
        .variable("QOS_PROXY__SERVER__WORKERS", "many")
        .variable("QOS_PROXY__ZOOM__CLIENT__ID", "x")
        .variable("QOS_PROXY__ZOOM__ACCOUNT_ID", "x");
    setup.files.push(setup.folder.path().join("missing.toml"));
    let lines = setup.refused();
    assert_eq!(
        lines,
        [
            "2.toml:2: invalid TOML: invalid basic string, expected `\"`",
            "missing.toml: cannot be read: No such file or directory (os error 2); give --config a readable file",
            "cache.max_bytes: must be text with a unit, like \"256MiB\", not an integer (set in 2.toml:3)",
            "limits.heavy_per_day: must be a whole number from 1 to 4294967295, not 0 (set in 1.toml:6)",
            "redis.url: it must be a URL such as redis://host:6379/0 or rediss://user:password@host/0 (set in 1.toml:8)",
            "server.lisen: unknown key; did you mean server.listen, that is \"listen\" under [server]? (set in 1.toml:2)",
            "server.wait: \"soon\" is not a duration: expected number at 0; write one like \"30s\", \"5m\" or \"24h\" \
             (set in 1.toml:3)",
            "server.workers: must be a whole number from 1 to 1024, not \"many\" \
             (set by environment variable QOS_PROXY__SERVER__WORKERS)",
            "zoom.client.id: unknown key; did you mean zoom.client_id, QOS_PROXY__ZOOM__CLIENT_ID? \
             (set by environment variable QOS_PROXY__ZOOM__CLIENT__ID)",
            "zoom.client_id: required: set zoom.client_id or zoom.client_id_file",
            "zoom.client_secret: required: set zoom.client_secret or zoom.client_secret_file",
        ]
    );
}

#[test]
fn unknown_keys_are_refused_with_the_key_that_was_perhaps_meant() {
    for (file, said) in [
        ("[server]\nport = 1", "server.port: unknown key; remove it (config/default.toml lists every key)"),
        ("[server]\nops_lisen = 1", "server.ops_lisen: unknown key; did you mean server.ops_listen"),
        ("[zoom]\nlisten = 1", "zoom.listen: unknown key; did you mean server.listen"),
        ("listen = \"x\"", "listen: unknown key; did you mean server.listen"),
        (
            "\"server.wait\" = \"1s\"",
            "server.wait: unknown key; did you mean server.wait, that is \"wait\" under [server]",
        ),
        ("server = 3", "server: is a section; write [server]"),
        ("[[server]]\nwait = \"1s\"", "server: is a section; write [server]"),
        ("[sever]", "[sever]: unknown section"),
        ("[sever]\nwait = \"1s\"", "sever.wait: unknown key; did you mean server.wait"),
        ("[server.tls]\ncert = \"x\"", "server.tls: unknown key"),
        ("[server]\n\"a\\nb\" = 1", "server.a\\u{a}b: unknown key"),
    ] {
        let lines = Setup::new().file(file).refused();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(lines[0].starts_with(said), "{file}: {}", lines[0]);
        assert!(lines[0].contains("(set in 1.toml:"), "{file}: {}", lines[0]);
    }
    for variable in ["QOS_PROXY__", "QOS_PROXY__SERVER", "QOS_PROXY__A__B__C__D", "QOS_PROXY___SERVER__WAIT"]
    {
        let lines = Setup::new().variable(variable, "the-value").refused();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(lines[0].contains(": unknown key; "), "{}", lines[0]);
        assert!(lines[0].ends_with(&format!("(set by environment variable {variable})")), "{}", lines[0]);
        assert!(!lines[0].contains("the-value"), "{}", lines[0]);
    }
}

#[test]
fn problems_of_redis_keys_do_not_contain_the_password() {
    let setup = Setup::new();
    let no_ca = setup.folder.path().join("none.crt").display().to_string();
    let bad_key = setup.mount("key", b"hunter2-hunter2\n");
    for (file, said) in [
        ("[redis]\nurl = \"redis://:hunter2@r?x=1\"".to_owned(), "redis.url: it has a query or a fragment"),
        ("[redis]\nurl = \"\"".to_owned(), "redis.url: is empty"),
        (
            "[redis]\nurl = \"redis://r\"\nca_file = \"/x\"".to_owned(),
            "redis.ca_file: has no effect without TLS",
        ),
        ("[redis]\nca_file = \"/x\"".to_owned(), "redis.ca_file: has no effect without redis.url"),
        (
            format!("[redis]\nurl = \"rediss://:hunter2@r\"\nca_file = \"{no_ca}\""),
            "redis.ca_file: the file cannot be read",
        ),
        ("[redis]\nurl_file = \"/nowhere\"".to_owned(), "redis.url_file: the file cannot be used"),
        ("[redis]\nreplicas = 0".to_owned(), "redis.replicas: must be a whole number from 1 to 1000"),
        ("[redis]\ntimeout = \"2s\"".to_owned(), "redis.timeout: must be 1s at most"),
        ("[redis]\ntimeout = \"0s\"".to_owned(), "redis.timeout: must be longer than 0"),
        (
            format!("[redis]\nencryption_key = \"{ENCRYPTION_KEY}\""),
            "redis.encryption_key: has no effect without redis.url; set redis.url, or remove this key",
        ),
        (
            "[redis]\nurl = \"redis://r\"\nencryption_key = \"hunter2\"".to_owned(),
            "redis.encryption_key: it must be 64 hexadecimal digits, which are 32 bytes: `openssl rand -hex 32` makes one",
        ),
        (
            format!("[redis]\nurl = \"redis://r\"\nencryption_key = \"{ENCRYPTION_KEY}hunter2\""),
            "redis.encryption_key: it must be 64 hexadecimal digits",
        ),
        (
            "[redis]\nurl = \"redis://r\"\nencryption_key = 7".to_owned(),
            "redis.encryption_key: must be text in quotes",
        ),
        (
            format!("[redis]\nurl = \"redis://r\"\nencryption_key_file = \"{bad_key}\""),
            "redis.encryption_key_file: it must be 64 hexadecimal digits",
        ),
        (
            "[redis]\nurl = \"redis://r\"\nencryption_key_file = \"/nowhere\"".to_owned(),
            "redis.encryption_key_file: the file cannot be used",
        ),
        (
            format!(
                "[redis]\nurl = \"redis://r\"\nencryption_key = \"{ENCRYPTION_KEY}\"\nencryption_key_file = \"{bad_key}\""
            ),
            "redis.encryption_key: redis.encryption_key_file is set too",
        ),
    ] {
        let lines = Setup::new().file(&file).refused();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(lines[0].starts_with(said), "{file}: {}", lines[0]);
        assert!(!lines[0].contains("hunter2") && !lines[0].contains(ENCRYPTION_KEY), "{}", lines[0]);
    }
}

#[test]
fn the_encryption_key_is_read_from_either_place_and_never_printed() {
    let inline = format!("[redis]\nurl = \"redis://r\"\nencryption_key = \"{ENCRYPTION_KEY}\"");
    let setup = Setup::new();
    let mounted = setup.mount("key", format!("{ENCRYPTION_KEY}\n").as_bytes());
    let file = format!("[redis]\nurl = \"redis://r\"\nencryption_key_file = \"{mounted}\"");
    let shown_inline = "encryption_key = \"[redacted]\" # 1.toml:3".to_owned();
    let shown_file = format!("encryption_key_file = \"{mounted}\" # 1.toml:3");
    for (file, expected) in [(inline, shown_inline), (file, shown_file)] {
        let setup = Setup::new().file(file);
        let folder = format!("{}/", setup.folder.path().display());
        let config = setup.config();
        assert!(config.cluster.as_ref().unwrap().cipher.is_some());
        let shown = config.effective.replace(&folder, "");
        assert!(shown.lines().any(|line| line == expected), "{shown}");
        assert!(!shown.contains(ENCRYPTION_KEY), "{shown}");
    }
    let plain = Setup::new().file("[redis]\nurl = \"redis://r\"").config();
    assert!(plain.cluster.unwrap().cipher.is_none());
}

#[test]
fn redis_is_shown_without_its_password_and_keeps_the_days_count() {
    let shown = Setup::new()
        .file("[redis]\nurl = \"redis://:hunter2@r:7000\"\nreplicas = 3\n[limits]\nstate_file = \"/x/day.json\"")
        .config()
        .effective;
    assert!(!shown.contains("hunter2"), "{shown}");
    let url = shown.lines().find(|line| line.starts_with("url = ")).unwrap();
    assert!(url.starts_with("url = \"[redacted]\" # ") && url.ends_with("; server: r:7000"), "{url}");
    assert!(shown.contains("\nreplicas = 3 # "), "{shown}");
    assert!(shown.contains("not used: with redis.url, the day's count is kept in Redis"), "{shown}");
}

#[test]
fn the_environment_may_name_a_key_only_once() {
    let lines = Setup::new()
        .variable("QOS_PROXY__SERVER__WAIT", "1s")
        .variable("QOS_PROXY__server__wait", "2s")
        .refused();
    assert_eq!(
        lines,
        ["server.wait: environment variable QOS_PROXY__SERVER__WAIT sets the same key; remove one of them \
          (set by environment variable QOS_PROXY__server__wait)"]
    );
}

#[test]
fn text_that_is_not_utf8_is_refused() {
    let lines = Setup::new()
        .file(b"[server]\nwait = \"\xff\"\n")
        .variable("QOS_PROXY__ZOOM__CLIENT_SECRET_FILE", OsStr::from_bytes(b"/\xff"))
        .refused();
    assert_eq!(lines[0], "1.toml: cannot be read: it is not UTF-8; give --config a readable file");
    assert!(lines[2].starts_with("zoom.client_secret_file: is not UTF-8"), "{lines:#?}");
    assert_eq!(lines.len(), 3, "the key counts as set: {lines:#?}");
}

#[test]
fn broken_toml_reports_every_line_and_the_rest_is_read() {
    let lines = Setup::new()
        .file("[server]\nwait = 1s\nlisten = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\"\nworkers = 0\n")
        .refused();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert!(lines[0].starts_with("1.toml:2: invalid TOML: "), "{lines:#?}");
    assert_eq!(lines[1], "1.toml:4: invalid TOML: duplicate key");
    assert!(lines[2].starts_with("server.workers: "), "{lines:#?}");
}

/// These keys must be those of type `span` in the chart's schema, as `tests/chart/test_config.py` checks.
const MAY_BE_ZERO: [&str; 8] = [
    "server.drain_delay",
    "cache.settle",
    "cache.stale_while_revalidate",
    "cache.stale_if_error",
    "cache.not_found_live",
    "cache.not_found_past",
    "cache.refusal",
    "cache.refresh_floor",
];

#[test]
fn a_duration_needs_its_unit() {
    for key in durations() {
        for (value, said) in [
            ("30", "needs a unit and quotes: write \"30s\""),
            ("0", "needs a unit and quotes: write \"0s\""),
            ("\"30\"", "has no unit: write \"30s\""),
            ("\"0\"", "has no unit: write \"0s\""),
            ("\"1.5\"", "has no unit: write \"1.5s\""),
            ("\"-1s\"", "\"-1s\" is not a duration"),
            ("\"1M\"", "\"1M\" would be months: write \"1m\" if minutes are meant"),
            ("\"1h 1.5M\"", "\"1h 1.5M\" would be months: write \"1.5m\" if minutes are meant"),
            ("\"1 M\"", "\"1 M\" would be months: write \"1m\" if minutes are meant"),
            ("\"5M30s\"", "\"5M30s\" would be months: write \"5m\" if minutes are meant"),
            ("\"1h 5 M 30s\"", "\"1h 5 M 30s\" would be months: write \"5m\" if minutes are meant"),
            ("\"5 bananas\"", "\"5 bananas\" is not a duration"),
            ("\"\"", "is empty"),
            ("\" \"", "is empty"),
            ("\"367days\"", "\"367days\" is too long: at most 366 days"),
            ("\"18446744073709551615s\"", "\"18446744073709551615s\" is too long"),
            ("1.5", "must be text in quotes, like \"30s\", not a float"),
            ("true", "must be text in quotes, like \"30s\", not a boolean"),
            ("[\"30s\"]", "must be text in quotes, like \"30s\", not an array"),
            ("{ a = 1 }", "must be text in quotes, like \"30s\", not a table"),
            ("2026-11-23", "must be text in quotes, like \"30s\", not a datetime"),
        ] {
            let line = problem_of(&format!("{key} = {value}"));
            assert!(line.starts_with(&format!("{key}: {said}")), "{line}");
        }
    }
}

#[test]
fn zero_is_a_duration_only_where_it_means_something() {
    for key in durations() {
        let setting = format!("{key} = \"0s\"");
        if MAY_BE_ZERO.contains(&key.as_str()) {
            with(&setting);
        } else {
            let lines = Setup::new().file(setting.replacen('.', "]\n", 1).replacen("", "[", 1)).refused();
            assert!(lines.contains(&format!("{key}: must be longer than 0 (set in 1.toml:2)")), "{lines:#?}");
        }
    }
    assert_eq!(with("server.drain_delay = \"0s\"").server.drain_delay, Duration::ZERO);
}

#[test]
fn durations_take_every_unit() {
    for (text, span) in [
        ("500ms", Duration::from_millis(500)),
        ("1m 30s", seconds(90)),
        ("1.5s", Duration::from_millis(1500)),
        ("2h", seconds(7200)),
        ("366days", seconds(366 * 86_400)),
    ] {
        assert_eq!(with(&format!("server.wait = \"{text}\"")).fetcher.wait, span, "{text}");
    }
}

#[test]
fn a_size_is_text_and_above_zero() {
    for key in keys_with(|value| value.as_str().is_some_and(|text| text.ends_with("iB"))) {
        for (value, said) in [
            ("268435456", "must be text with a unit, like \"256MiB\", not an integer"),
            ("\"0\"", "must be more than 0"),
            ("\"0MiB\"", "must be more than 0"),
            ("\"-1MiB\"", "\"-1MiB\" is not a size"),
            ("\"256 apples\"", "\"256 apples\" is not a size"),
            ("\"MiB\"", "\"MiB\" is not a size"),
            ("\"\"", "is empty"),
            ("\"16EiB\"", "\"16EiB\" is more than this machine can address"),
            ("2.5", "must be text in quotes, like \"256MiB\", not a float"),
        ] {
            let line = problem_of(&format!("{key} = {value}"));
            assert!(line.starts_with(&format!("{key}: {said}")), "{line}");
        }
    }
    let (_, warnings) = Setup::new().file("[cache]\nmax_bytes = \"256\"\n").accepted();
    assert_eq!(
        warnings,
        [
            "cache.max_bytes: has no unit and means 256 bytes; write \"256B\", or a unit such as MiB (set in 1.toml:2)"
        ]
    );
    for (text, bytes) in
        [("1KiB", 1024), ("1kB", 1000), ("1.5GiB", 3 << 29), ("3 MiB", 3 << 20), ("4096", 4096)]
    {
        assert_eq!(with(&format!("cache.max_bytes = \"{text}\"")).cache.max_bytes, bytes, "{text}");
        let max_body = with(&format!("zoom.max_body = \"{text}\"")).zoom.max_body;
        assert_eq!(u64::try_from(max_body).unwrap(), bytes, "{text}");
    }
}

#[test]
fn a_number_is_whole_and_in_its_range() {
    const HUGE: u32 = u32::MAX;
    let ranges = [
        ("server.workers", 1, 1024),
        ("server.max_connections", 1, 1_000_000),
        ("limits.heavy_per_second", 1, HUGE),
        ("limits.heavy_per_day", 1, HUGE),
        ("limits.headroom_percent", 0, 99),
        ("limits.reserve_percent", 0, 100),
        ("limits.max_queued", 1, HUGE),
        ("limits.max_stretch", 1, 1_000),
        ("redis.replicas", 1, 1_000),
    ];
    let numbers = keys_with(toml::Value::is_integer).into_iter().filter(|key| !key.starts_with("summary."));
    assert_eq!(BTreeSet::from(ranges.map(|(key, ..)| key.to_owned())), numbers.collect());
    for (key, least, most) in ranges {
        let said = format!("{key}: must be a whole number from {least} to {most}");
        let above = (u64::from(most) + 1).to_string();
        for value in ["-1", &above, "99999999999999999999", "1.5", "true", "\"5\"", "[]"] {
            let line = problem_of(&format!("{key} = {value}"));
            assert!(line.starts_with(&said), "{line}");
        }
        if least == 1 {
            assert!(problem_of(&format!("{key} = 0")).starts_with(&said));
        }
        let variable = format!("QOS_PROXY__{}", key.replace('.', "__").to_uppercase());
        for value in [
            "-1",
            "+1",
            " 5",
            "5 ",
            "1_000",
            "1e3",
            "0x10",
            "five",
            &above,
            "99999999999999999999999999999999999999999",
        ] {
            let lines = Setup::new().variable(&variable, value).refused();
            assert!(lines[0].starts_with(&said), "{lines:#?}");
        }
        for value in [least, most] {
            with(&format!("{key} = {value}"));
            Setup::new().variable(&variable, value.to_string()).config();
        }
    }
    assert_eq!(with("server.workers = 0x10").server.workers, 16);
    assert_eq!(with("limits.max_queued = 1_500").fetcher.max_queued, 1500);
}

#[test]
fn the_plan_and_the_headroom_determine_the_permitted_calls() {
    for (limits, per_second, per_day) in [
        ("plan = \"free\"", 1, 900),
        ("plan = \"pro\"", 9, 27_000),
        ("plan = \"business\"", 36, 54_000),
        ("plan = \"business\"\nheadroom_percent = 0", 40, 60_000),
        ("plan = \"business\"\nheadroom_percent = 99", 1, 600),
        ("plan = \"pro\"\nheadroom_percent = 15", 8, 25_500),
        ("heavy_per_second = 5", 4, 54_000),
        ("heavy_per_day = 1", 36, 1),
        ("plan = \"free\"\nheavy_per_second = 1\nheavy_per_day = 19", 1, 17),
        ("heavy_per_second = 4294967295\nheavy_per_day = 4294967295", 3_865_470_565, 3_865_470_565),
    ] {
        let budget = Setup::new().file(format!("[limits]\n{limits}\n")).config().quota;
        assert_eq!((budget.per_second.get(), budget.per_day), (per_second, per_day), "{limits}");
    }
    let line = problem_of("limits.plan = \"Business\"");
    assert!(
        line.starts_with("limits.plan: must be one of \"free\", \"pro\", \"business\", not \"Business\""),
        "{line}"
    );
}

#[test]
fn a_base_url_warns_without_a_path_but_accepts_any_other() {
    let warnings = |url: &str| Setup::new().file(format!("[zoom]\napi_base_url = \"{url}\"\n")).accepted().1;
    for url in ["https://api.zoom.us", "https://api.zoom.us/"] {
        assert_eq!(
            warnings(url),
            [
                "zoom.api_base_url: has no path: Zoom's API is below /v2; write one like \"https://api.zoom.us/v2\" \
              (set in 1.toml:2)"
            ]
        );
    }
    for url in ["https://api.zoom.us/v2", "https://gateway.example/zoom"] {
        assert_eq!(warnings(url), [""; 0]);
    }
}

#[test]
fn a_limit_above_the_plans_is_allowed_with_a_warning() {
    let limits = "[limits]\nplan = \"pro\"\nheavy_per_second = 11\nheavy_per_day = 30000\n";
    let (config, warnings) =
        Setup::new().file(limits).variable("QOS_PROXY__LIMITS__HEAVY_PER_DAY", "30001").accepted();
    assert_eq!((config.quota.per_second.get(), config.quota.per_day), (9, 27_000));
    assert_eq!(warnings.len(), 2, "{warnings:#?}");
    assert!(
        warnings[0].starts_with("limits.heavy_per_second: 11 is more than the 10 that Zoom allows"),
        "{warnings:#?}"
    );
    assert!(warnings[0].ends_with("(set in 1.toml:3)"), "{warnings:#?}");
    assert!(warnings[1].starts_with("limits.heavy_per_day: 30001 is more than the 30000"), "{warnings:#?}");
    let (_, warnings) = Setup::new().file(limits).accepted();
    assert_eq!(warnings.len(), 1, "a limit equal to the plan's causes no warning: {warnings:#?}");
}

#[test]
fn a_secret_comes_as_text_or_in_a_file_never_both() {
    let setup = Setup::empty();
    // The file has the byte order mark and the line ending that editors on Windows add.
    let id = setup.mount("id", b"\xef\xbb\xbffrom-file\r\n");
    let config = setup
        .file(format!("[zoom]\naccount_id = \"from-text\"\nclient_id_file = \"{id}\"\n"))
        .variable("QOS_PROXY__ZOOM__CLIENT_SECRET", "from-variable");
    let path = id.clone();
    let zoom = {
        let loaded = Config::load(&config.files, config.environment.clone());
        loaded.map_or_else(|problems| panic!("{problems}"), |(config, _)| config.zoom)
    };
    assert_eq!(zoom.account_id.read().unwrap().expose(), "from-text");
    assert_eq!(zoom.client_id.read().unwrap().expose(), "from-file");
    assert_eq!(zoom.client_secret.read().unwrap().expose(), "from-variable");
    assert!(matches!(zoom.client_id, SecretSource::File(kept) if kept.to_str() == Some(&path)));

    let both = config.variable("QOS_PROXY__ZOOM__CLIENT_ID", "twice").refused();
    assert_eq!(
        both,
        ["zoom.client_id: zoom.client_id_file is set too (1.toml:3); keep one of them \
          (set by environment variable QOS_PROXY__ZOOM__CLIENT_ID)"]
    );
}

#[test]
fn a_file_that_holds_no_usable_secret_is_refused_without_repeating_it() {
    for (bytes, said) in [
        (&b""[..], "the file cannot be used: the file is empty"),
        (b"\n", "the file cannot be used: the file is empty"),
        (b"  \n", "the file contains nothing but white space"),
        (b"top-secret\nsecond", "the file contains a control character"),
        (b"top-secret\0", "the file contains a control character"),
        (b"top-secret\xff", "the file cannot be used: "),
    ] {
        let setup = Setup::new();
        let path = setup.mount("secret", bytes);
        let mut setup = setup.variable("QOS_PROXY__ZOOM__CLIENT_SECRET_FILE", path);
        setup.environment.retain(|(name, _)| name != "QOS_PROXY__ZOOM__CLIENT_SECRET");
        let lines = setup.refused();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(lines[0].starts_with(&format!("zoom.client_secret_file: {said}")), "{lines:#?}");
        assert!(!lines[0].contains("top-secret"), "{lines:#?}");
    }
    let mut setup = Setup::new().variable("QOS_PROXY__ZOOM__CLIENT_SECRET_FILE", "pasted-by-mistake");
    setup.environment.retain(|(name, _)| name != "QOS_PROXY__ZOOM__CLIENT_SECRET");
    let lines = setup.refused();
    assert!(
        lines[0].starts_with("zoom.client_secret_file: the file cannot be used: No such file"),
        "{lines:#?}"
    );
    assert!(!lines[0].contains("pasted"), "{lines:#?}");
}

#[test]
fn no_secret_is_ever_repeated_in_a_problem() {
    for key in ["account_id", "client_id", "client_secret"] {
        for value in [
            "8675309",
            "8675309.5",
            "[\"8675309\"]",
            "{ a = \"8675309\" }",
            "\"8675309\\n\"",
            "8675309x",
            "\"8675309",
        ] {
            let mut setup = Setup::new().file(format!("[zoom]\n{key} = {value}\nsecert = \"8675309\"\n"));
            let variable = format!("QOS_PROXY__ZOOM__{}", key.to_uppercase());
            setup.environment.retain(|(name, _)| *name != *variable);
            let lines = setup.variable("QOS_PROXY__ZOOM__SECERT", "8675309").refused().join("\n");
            assert!(!lines.contains("8675309"), "{value}: {lines}");
            assert!(lines.contains("1.toml:2"), "{value}: {lines}");
        }
    }
    for url in
        ["https://user:8675309@zoom.us", "https://8675309@zoom.us", "https://user:8675309@zoom us", "8675309"]
    {
        let lines = Setup::new().variable("QOS_PROXY__ZOOM__API_BASE_URL", url).refused().join("\n");
        assert!(!lines.contains("8675309"), "{lines}");
    }
}

#[test]
fn urls_are_http_with_a_host_and_nothing_behind_the_path() {
    for key in ["zoom.api_base_url", "zoom.oauth_url", "telemetry.otlp_endpoint"] {
        for (url, said) in [
            ("api.zoom.us", "is not a URL"),
            ("ftp://zoom.us", "must be an http or https URL"),
            ("file:///etc", "must be an http or https URL"),
            ("https://", "is not a URL"),
            ("https://zoom.us?x=1", "must not contain a query"),
            ("https://zoom.us?", "must not contain a query"),
            ("https://zoom.us/v2#x", "must not contain a query (?…) or fragment"),
            ("https://me@zoom.us", "must not contain a user"),
            ("https://me:pw@zoom.us", "must not contain a user"),
            ("https://zoom.us/v 2", "contains a space"),
            ("", "is empty"),
        ] {
            let line = problem_of(&format!("{key} = \"{url}\""));
            assert!(line.starts_with(&format!("{key}: {said}")), "{line}");
        }
    }
    for (written, kept) in [
        ("https://eu.zoom.us/v2/", "https://eu.zoom.us/v2"),
        ("https://eu.zoom.us/v2", "https://eu.zoom.us/v2"),
        ("https://eu.zoom.us", "https://eu.zoom.us/"),
        ("http://127.0.0.1:4000/v2/", "http://127.0.0.1:4000/v2"),
    ] {
        let config = with(&format!("zoom.api_base_url = \"{written}\""));
        assert_eq!(config.zoom.api_base_url.as_str(), kept);
        assert!(config.effective.contains(&format!("api_base_url = \"{kept}\" #")));
    }
    assert_eq!(with("zoom.oauth_url = \"https://zoom.us/t/\"").zoom.oauth_url.as_str(), "https://zoom.us/t/");
    let line = problem_of("telemetry.otlp_endpoint = \"otel-collector:4318\"");
    assert!(line.contains("write one like \"http://otel-collector:4318\""), "{line}");
    let config = with("telemetry.otlp_endpoint = \"http://collector:4318/\"");
    assert_eq!(config.trace.otlp_endpoint.unwrap().as_str(), "http://collector:4318/");
}

#[test]
fn http_to_another_machine_is_allowed_with_a_warning() {
    for (url, warned) in [
        ("http://zoom-sim:4000/v2", true),
        ("http://10.0.0.1", true),
        ("http://127.0.0.1:4000/v2", false),
        ("http://[::1]:4000/v2", false),
        ("http://localhost:4000", false),
        ("https://zoom-sim", false),
    ] {
        let (_, warnings) = Setup::new().variable("QOS_PROXY__ZOOM__OAUTH_URL", url).accepted();
        assert_eq!(!warnings.is_empty(), warned, "{url}: {warnings:#?}");
        assert!(
            warnings.iter().all(|warning| warning.starts_with("zoom.oauth_url: http sends")),
            "{warnings:#?}"
        );
    }
}

#[test]
fn a_redis_password_for_another_machine_is_allowed_unencrypted_with_a_warning() {
    for (url, warned) in [
        ("redis://qos:s@cache.example/0", true),
        ("redis+sentinel://:s@10.0.0.1/0?master=qos", true),
        ("rediss://qos:s@cache.example/0", false),
        ("redis://cache.example/0", false),
        ("redis://:s@127.0.0.1:6379/0", false),
        ("redis://:s@[::1]/0", false),
        ("redis://:s@localhost", false),
    ] {
        let (_, warnings) = Setup::new().variable("QOS_PROXY__REDIS__URL", url).accepted();
        assert_eq!(warnings.len(), usize::from(warned), "{url}: {warnings:#?}");
        assert!(warnings.iter().all(|warning| warning.starts_with("redis.url: redis sends the password")));
    }
}

#[test]
fn listeners_are_ip_and_port_and_differ() {
    for (value, said) in [
        ("localhost:8080", "must be \"IP:PORT\", not \"localhost:8080\"; write one like \"127.0.0.1:8080\""),
        (":8080", "must be \"IP:PORT\", not \":8080\"; write one like \"0.0.0.0:8080\""),
        ("8080", "must be \"IP:PORT\", not \"8080\""),
        ("127.0.0.1", "must be \"IP:PORT\", not"),
        ("127.0.0.1:99999", "must be \"IP:PORT\", not"),
        ("", "is empty"),
    ] {
        for key in ["server.listen", "server.ops_listen"] {
            let line = problem_of(&format!("{key} = \"{value}\""));
            assert!(line.starts_with(&format!("{key}: {said}")), "{line}");
        }
    }
    for (listen, ops_listen, collide) in [
        ("127.0.0.1:1", "127.0.0.1:1", true),
        ("0.0.0.0:1", "127.0.0.1:1", true),
        ("[::]:1", "[::1]:1", true),
        ("127.0.0.1:1", "127.0.0.2:1", false),
        ("127.0.0.1:1", "[::1]:1", false),
        ("127.0.0.1:0", "127.0.0.1:0", false),
        ("0.0.0.0:1", "0.0.0.0:2", false),
    ] {
        let file = format!("[server]\nlisten = \"{listen}\"\nops_listen = \"{ops_listen}\"\n");
        if collide {
            let lines = Setup::new().file(file).refused();
            let said = format!(
                "server.ops_listen: {ops_listen} collides with server.listen, {listen} (1.toml:2); \
                 give one of them another port (set in 1.toml:3)"
            );
            assert_eq!(lines, [said]);
        } else {
            Setup::new().file(file).config();
        }
    }
}

#[test]
fn connecting_may_not_take_longer_than_the_whole_call() {
    assert_eq!(
        problem_of("zoom.connect_timeout = \"11s\""),
        "zoom.connect_timeout: 11s is longer than zoom.request_timeout, 10s (default); shorten it (set in 1.toml:2)"
    );
    with("zoom.connect_timeout = \"10s\"");
    let alone = with("zoom.request_timeout = \"2s\"").zoom;
    assert_eq!(alone.request_timeout, seconds(2), "the default of connect_timeout causes no contradiction");
}

#[test]
fn the_hash_of_the_operators_key_is_checked_and_not_repeated() {
    let hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    assert!(with(&format!("ops.key_sha256 = \"{hash}\"")).operators_key.is_some());
    assert!(Setup::new().config().operators_key.is_none());
    let blank = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    for wrong in ["my-secret-key", blank, &hash.replace('9', "x")] {
        let problem = problem_of(&format!("ops.key_sha256 = \"{wrong}\""));
        assert!(problem.starts_with("ops.key_sha256: ") && !problem.contains(wrong), "{problem}");
    }
    let setup = Setup::new();
    let file = setup.mount("hash", b"not a hash");
    let refused = setup.file(format!("[ops]\nkey_sha256_file = \"{file}\"\n")).refused();
    assert!(refused.len() == 1 && refused[0].contains("64 hexadecimal digits"), "{refused:?}");
    let setup = Setup::new();
    let file = setup.mount("hash", hash.as_bytes());
    let both = format!("[ops]\nkey_sha256 = \"{hash}\"\nkey_sha256_file = \"{file}\"\n");
    assert_eq!(setup.file(both).refused().len(), 1);
}

#[test]
fn a_switch_is_true_or_false() {
    assert!(with("telemetry.log_meeting_ids = true").telemetry.log_meeting_ids);
    for wrong in ["\"true\"", "1", "\"\"", "[]"] {
        let problem = problem_of(&format!("telemetry.log_meeting_ids = {wrong}"));
        let expected = "telemetry.log_meeting_ids: must be true or false, without quotes (set in 1.toml:2)";
        assert_eq!(problem, expected);
    }
    let variable = |text: &str| Setup::new().variable("QOS_PROXY__TELEMETRY__LOG_MEETING_IDS", text);
    assert!(variable("true").config().telemetry.log_meeting_ids);
    assert!(!variable("false").config().telemetry.log_meeting_ids);
    assert_eq!(variable("yes").refused().len(), 1);
}

#[test]
fn log_format_and_log_level_accept_only_valid_values() {
    assert_eq!(with("telemetry.log_format = \"text\"").telemetry.log_format, LogFormat::Text);
    assert!(
        problem_of("telemetry.log_format = \"JSON\"")
            .contains("must be one of \"json\", \"text\", not \"JSON\"")
    );
    for directives in [
        "debug",
        "INFO",
        "off",
        "info,zoom_qos_proxy=debug",
        "zoom_qos_proxy::budget=trace",
        "info,x[flight{page}]=debug",
    ] {
        let config = with(&format!("telemetry.log_level = \"{directives}\""));
        assert_eq!(config.telemetry.log_level, directives);
    }
    for directives in [
        "inof",
        "info,verbose",
        "loud",
        "info, x=debug",
        "\u{3000}x=debug",
        "a=b=c",
        "zoom_qos_proxy=loud",
        "",
    ] {
        let line = problem_of(&format!("telemetry.log_level = \"{directives}\""));
        assert!(line.starts_with("telemetry.log_level: "), "{line}");
    }
}

#[test]
fn the_state_file_is_a_path() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("day.json");
    let config = with(&format!("limits.state_file = \"{}\"", path.display()));
    assert_eq!(config.quota.state_file, Some(path));
    assert!(problem_of("limits.state_file = \"\"").starts_with("limits.state_file: is empty"));
    assert!(
        problem_of("limits.state_file = \"a\\u0000b\"")
            .starts_with("limits.state_file: must be a file's path")
    );
}

#[test]
fn the_effective_configuration_is_toml_with_origins_and_without_secrets() {
    let setup = Setup::new();
    let id = setup.mount("id", b"from-mount");
    let day = format!("{}/a \\\"b\\\"", setup.folder.path().display());
    let file = format!(
        "[limits]\nheavy_per_second = 20\nstate_file = \"{day}\"\n[zoom]\nclient_id_file = \"{id}\"\n"
    );
    let mut setup = setup.file(file).variable("QOS_PROXY__LIMITS__MAX_QUEUED", "0050");
    setup.environment.retain(|(name, _)| name != "QOS_PROXY__ZOOM__CLIENT_ID");
    let (config, _) = Config::load(&setup.files, setup.environment.clone()).unwrap_or_else(|p| panic!("{p}"));
    let effective = setup.without_folder(&config.effective);
    for line in [
        "[server]",
        "listen = \"127.0.0.1:8080\" # default",
        "past_fresh = \"24h\" # default",
        "account_id = \"[redacted]\" # environment variable QOS_PROXY__ZOOM__ACCOUNT_ID",
        "# account_id_file is not set",
        "# client_id is not set",
        "client_id_file = \"id\" # 1.toml:5",
        "plan = \"business\" # default",
        "heavy_per_second = 20 # 1.toml:2; permitted: 18 (headroom 10 %)",
        "heavy_per_day = 60000 # from limits.plan \"business\"; permitted: 54000 (headroom 10 %)",
        "max_queued = 50 # environment variable QOS_PROXY__LIMITS__MAX_QUEUED",
        "state_file = \"a \\\"b\\\"\" # 1.toml:3",
    ] {
        assert!(effective.lines().any(|printed| printed == line), "no {line:?} in\n{effective}");
    }
    let workers = format!("workers = {} # the CPUs available to this process", config.server.workers);
    assert!(effective.contains(&workers), "{effective}");
    for secret in ["an-account", "from-mount", "hush-hush"] {
        assert!(!effective.contains(secret), "{effective}");
    }
    let table: toml::Table = effective.parse().unwrap();
    assert_eq!(
        table.keys().collect::<Vec<_>>(),
        ["cache", "callers", "limits", "ops", "redis", "server", "summary", "telemetry", "zoom"]
    );
    assert_eq!(table["limits"]["state_file"].as_str(), Some("a \"b\""));
}

#[test]
fn the_example_is_accepted_where_its_secrets_are_mounted() {
    let setup = Setup::empty();
    let folder = setup.folder.path().to_str().unwrap().to_owned();
    for name in ["account_id", "client_id", "client_secret"] {
        setup.mount(name, b"x\n");
    }
    setup.mount("callers.toml", include_bytes!("../config/callers.example.toml"));
    let mounted = EXAMPLE.replace("/run/secrets/zoom", &folder).replace("/etc/zoom-qos-proxy", &folder);
    let mounted = mounted.replace("/var/lib/zoom-qos-proxy", &folder);
    let (config, warnings) = setup.file(mounted).accepted();
    assert_eq!(warnings, [""; 0]);
    assert_eq!(config.callers.as_ref().map(CallersFile::count), Some(2));
    assert!(config.effective.contains("; callers: 2\n"), "{}", config.effective);
    assert_eq!((config.quota.per_second.get(), config.quota.per_day), (30, 45_000));
}

#[test]
fn every_problem_of_the_callers_file_is_reported_with_the_rest() {
    let setup = Setup::new();
    let text = b"[[caller]]\nname = \"a b\"\nkey_sha256 = \"zqp_Zebra\"\nweight = 0\n[[caller]]\n";
    let file = setup.mount("callers.toml", text);
    let lines = setup
        .file(format!("[callers]\nfile = \"{file}\"\n[server]\nwait = \"0s\"\n"))
        .variable("QOS_PROXY__SERVER__WORKERS", "0")
        .refused();
    let beginnings = [
        "callers.toml:2: name: must be 1 to 64 characters of A-Za-z0-9._-",
        "callers.toml:3: key_sha256 is the key itself",
        "callers.toml:4: weight must be a whole number from 1 to 1000",
        "callers.toml:5: this caller has no key_sha256",
        "callers.toml:5: this caller has no name",
        "server.wait: must be longer than 0",
        "server.workers: must be a whole number",
    ];
    assert_eq!(lines.len(), beginnings.len(), "{lines:#?}");
    for (line, beginning) in lines.iter().zip(beginnings) {
        assert!(line.starts_with(beginning) && !line.contains("Zebra"), "{line}");
    }
}

#[test]
fn an_unknown_key_of_the_callers_file_is_not_printed() {
    let setup = Setup::new();
    let file = setup.mount("callers.toml", b"[[caller]]\nname = \"a\"\nzqp_Zebra = 1\n\n[zqp_Zebra]\n");
    let lines = setup.file(format!("[callers]\nfile = \"{file}\"\n")).refused();
    assert_eq!(
        lines,
        [
            "callers.toml:1: this caller has no key_sha256, service_account, subject or group; every caller needs one of them",
            "callers.toml:3: unknown key; a caller has name, key_sha256, service_account, subject, group, issuer, weight, \
             calls_per_minute, calls_per_day, hide",
            "callers.toml:5: unknown key; only [[caller]] and [[issuer]] entries are allowed here",
        ]
    );
}

#[test]
fn a_missing_or_empty_callers_file_does_not_disable_authentication() {
    let setup = Setup::new();
    let (nobody, gone) = (setup.mount("nobody.toml", b"# later\n"), setup.folder.path().join("gone.toml"));
    for (path, said) in [
        (nobody.as_str(), "callers.file: the file has no callers, so every request would be rejected"),
        (gone.to_str().unwrap(), "callers.file: the file cannot be read: No such file"),
        ("/dev/null", "callers.file: the file cannot be read: it is a device, not a regular file"),
        ("/", "callers.file: the file cannot be read: it is a directory, not a regular file"),
        ("", "callers.file: is empty"),
    ] {
        let lines = Setup::new().variable("QOS_PROXY__CALLERS__FILE", path).refused();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(lines[0].starts_with(said), "{path}: {}", lines[0]);
        assert!(lines[0].ends_with("(set by environment variable QOS_PROXY__CALLERS__FILE)"), "{}", lines[0]);
    }
}

#[test]
fn loading_for_the_process_reports_a_missing_file() {
    let missing = PathBuf::from("missing.toml");
    let problems = Config::from_process(&[missing]).err().unwrap().to_string();
    assert!(problems.starts_with("missing.toml: cannot be read"), "{problems}");
}

// ---- egress ----

#[test]
fn the_environments_proxy_follows_the_urls_scheme_unless_no_proxy_matches() {
    let proxies = |variables: &[(&str, &str)]| {
        let setup = variables.iter().fold(Setup::new(), |setup, (name, value)| setup.variable(name, value));
        let config = setup.config();
        [config.zoom.api_proxy, config.zoom.oauth_proxy]
            .map(|proxy| proxy.map(|proxy| proxy.read().host_and_port()))
    };
    let both = |place: &str| [Some(place.to_owned()), Some(place.to_owned())];
    assert_eq!(proxies(&[]), [None, None]);
    assert_eq!(proxies(&[("HTTPS_PROXY", "http://u:p@one:1")]), both("one:1"));
    assert_eq!(proxies(&[("HTTP_PROXY", "http://one:1")]), [None, None], "Zoom's URLs are https");
    assert_eq!(proxies(&[("https_proxy", "two:2"), ("HTTPS_PROXY", "one:1")]), both("two:2"));
    assert_eq!(proxies(&[("Https_Proxy", "one:1"), ("HTTPS_PROXY", " ")]), [None, None]);
    let excepted = [("HTTPS_PROXY", "one:1"), ("NO_PROXY", "api.zoom.us")];
    assert_eq!(proxies(&excepted), [None, Some("one:1".to_owned())]);
    assert_eq!(
        proxies(&[("HTTPS_PROXY", "one:1"), ("QOS_PROXY__ZOOM__PROXY", "http://two:2")]),
        both("two:2")
    );
    assert_eq!(proxies(&[("HTTPS_PROXY", "one:1"), ("QOS_PROXY__ZOOM__PROXY", "none")]), [None, None]);
    assert_eq!(proxies(&[("NO_PROXY", "*"), ("QOS_PROXY__ZOOM__PROXY", "http://two:2")]), both("two:2"));
}

#[test]
fn a_proxy_problem_names_its_origin_but_not_its_password() {
    let lines = Setup::new().variable("https_proxy", "socks5://u:hunter2@proxy").refused();
    let expected = "zoom.proxy: HTTPS_PROXY: only HTTP proxies are supported; write http://[user:password@]host:port (set by environment variable https_proxy)";
    assert_eq!(lines, [expected]);
    let expected = "zoom.proxy: it must be http://[user:password@]host:port, or \"none\" (set in 1.toml:2)";
    assert_eq!(problem_of("zoom.proxy = \"http://u:hunter2@proxy:x\""), expected);
    let setup = Setup::new();
    let file = setup.mount("proxy", b"http://u:hunter2@proxy.example:3128\n");
    let shown = setup.variable("QOS_PROXY__ZOOM__PROXY_FILE", file).config().effective;
    assert!(shown.contains("; proxy: proxy.example:3128") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn certificates_come_from_zoom_ca_file_or_the_system_store() {
    let trusted = |setup: Setup| {
        let (config, warnings) = setup.accepted();
        let count = |roots: &zoom_qos_proxy::egress::MoreRoots| roots.certificates().len();
        (count(&config.zoom.more_roots), count(&config.trace.more_roots), warnings)
    };
    let (one, two) = (CA.as_bytes().to_vec(), [CA, "# the same again\n", CA].concat().into_bytes());
    let setup = Setup::new();
    let (first, second) = (setup.mount("one.pem", &one), setup.mount("two.pem", &two));
    assert_eq!(trusted(Setup::new()), (0, 0, vec![]));
    assert_eq!(trusted(Setup::new().variable("SSL_CERT_FILE", &first)), (1, 1, vec![]));
    let both = Setup::new().variable("SSL_CERT_FILE", &first).variable("QOS_PROXY__ZOOM__CA_FILE", &second);
    assert_eq!(trusted(both), (2, 1, vec![]));
    let broken = setup.mount("broken.pem", b"not a certificate");
    let (.., warnings) = trusted(Setup::new().variable("SSL_CERT_FILE", &broken));
    let expected = "zoom.ca_file: SSL_CERT_FILE is not used: it contains no usable PEM certificate (set by environment variable SSL_CERT_FILE)";
    assert_eq!(warnings, [expected]);
    let lines = Setup::new().variable("QOS_PROXY__ZOOM__CA_FILE", &broken).refused();
    let expected = "zoom.ca_file: the file cannot be used: it contains no usable PEM certificate (set by environment variable QOS_PROXY__ZOOM__CA_FILE)";
    assert_eq!(lines, [expected]);
}

#[test]
fn the_anonymous_callers_hidden_fields_are_a_list_of_known_words() {
    let hidden = |groups: &[FieldGroup]| groups.iter().copied().collect::<HiddenFields>();
    assert_eq!(Setup::new().config().anonymous_hide, HiddenFields::default());
    let config = with("callers.anonymous_hide = [\"identity\", \"device\"]");
    assert_eq!(config.anonymous_hide, hidden(&[FieldGroup::Identity, FieldGroup::Device]));
    assert!(
        config.effective.contains("anonymous_hide = [\"identity\", \"device\"] #"),
        "{}",
        config.effective
    );
    let variable = |text: &str| Setup::new().variable("QOS_PROXY__CALLERS__ANONYMOUS_HIDE", text);
    assert_eq!(
        variable("address, device").config().anonymous_hide,
        hidden(&[FieldGroup::Address, FieldGroup::Device])
    );
    let rule =
        "must be a list such as [\"identity\", \"address\"], of: identity, address, device (set in 1.toml:2)";
    for wrong in ["[\"names\"]", "[1]", "\"identity\"", "true", "[]", "[[\"identity\"]]"] {
        let problem = problem_of(&format!("callers.anonymous_hide = {wrong}"));
        assert_eq!(problem, format!("callers.anonymous_hide: {rule}"));
    }
    assert_eq!(variable("identity,").refused().len(), 1);

    let (folder, path) = callers_file(&two_callers(""));
    let file = format!("[callers]\nfile = \"{}\"\nanonymous_hide = [\"identity\"]\n", path.display());
    let (_, warnings) = Setup::new().file(file).accepted();
    assert!(
        warnings.iter().any(|warning| warning.contains("has no effect with callers.file")),
        "{warnings:?}"
    );
    drop(folder);
}
