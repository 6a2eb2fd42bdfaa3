//! Egress in a corporate network: an HTTP proxy, and a private certificate authority.

use serde_json::Value;
use tempfile::TempDir;
use test_support::{
    collector::{Answers, Collector},
    connect_proxy::ConnectProxy,
    service::{Service, command},
    simulator::sim,
    tls_front::TlsFront,
    wait::wait_for,
};
use zoom_sim::{Meeting, Sim};

const MEETING: &str = "91111111111";
const PATH: &str = "/qos/91111111111";
/// Names that only the proxy can resolve.
const PLAIN: [(&str, &str); 2] =
    [("zoom.api_base_url", "http://api.zoom.test/v2"), ("zoom.oauth_url", "http://zoom.test/oauth/token")];
const SECURE: [(&str, &str); 2] =
    [("zoom.api_base_url", "https://api.zoom.test/v2"), ("zoom.oauth_url", "https://zoom.test/oauth/token")];
const FAILURES: [&str; 4] = ["flight failed", "access token", "Zoom cannot be reached", "unencrypted"];
/// `user:p@ss` as written in a proxy's URL, and in `Proxy-Authorization`.
const USER: (&str, &str) = ("user:p%40ss@", "Basic dXNlcjpwQHNz");

fn zoom() -> Sim {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated(MEETING, 25, 1));
    sim
}

/// Starts the service with these environment variables in addition to its settings.
fn with_environment(sim: &Sim, settings: &[(&str, &str)], variables: &[(&str, &str)]) -> Service {
    let variables: Vec<_> = variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let by: Vec<_> = ["/usr/bin/env"].into_iter().chain(variables.iter().map(String::as_str)).collect();
    Service::start_by(sim, settings, &by)
}

fn last_failure(service: &Service) -> Value {
    wait_for(|| {
        Some(service.ops_get("/status").json()["zoom"]["last_failure"].clone()).filter(|v| !v.is_null())
    })
}

fn written(name: &str, text: &str) -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

#[test]
fn both_of_zooms_hosts_are_reached_through_the_proxy_with_its_credentials() {
    let sim = zoom();
    let proxy = ConnectProxy::to(sim.addr());
    let url = proxy.url(USER.0);
    let service = Service::start(&sim, &[PLAIN[0], PLAIN[1], ("zoom.proxy", &url)]);
    assert_eq!(service.get(PATH).json()["total_records"], 25);
    assert_eq!(proxy.targets(), ["api.zoom.test:80", "zoom.test:80"]);
    assert!(proxy.asked().iter().all(|tunnel| tunnel.authorization.as_deref() == Some(USER.1)));
    assert_eq!(proxy.asked().len(), 2, "connections through the proxy are kept, too");
    let host = |call: &zoom_sim::Call| call.header("host").unwrap().to_owned();
    assert_eq!(
        (host(&sim.token_calls()[0]), host(&sim.qos_calls()[0])),
        ("zoom.test".into(), "api.zoom.test".into())
    );
    let lines = service.finish(&["unencrypted"]);
    assert!(!lines.concat().contains("p@ss") && !lines.concat().contains("p%40ss"));
}

#[test]
fn a_private_authority_is_trusted_behind_the_proxy() {
    let sim = zoom();
    let front = TlsFront::start(sim.addr(), &["api.zoom.test", "zoom.test"]);
    let proxy = ConnectProxy::to(front.address);
    let (_folder, ca) = written("ca.pem", &format!("# ours\n{}", front.ca));
    let url = proxy.url("");
    let service = Service::start(&sim, &[SECURE[0], SECURE[1], ("zoom.proxy", &url), ("zoom.ca_file", &ca)]);
    assert_eq!(service.get(PATH).status, 200);
    assert_eq!(proxy.targets(), ["api.zoom.test:443", "zoom.test:443"]);
    service.finish(&[]);

    let without = Service::start(&sim, &[SECURE[0], SECURE[1], ("zoom.proxy", &url)]);
    assert_eq!(without.get(PATH).status, 502);
    assert_eq!(last_failure(&without)["cause"], "tls");
    without.finish(&FAILURES);
}

#[test]
fn the_environments_proxies_and_authorities_are_used() {
    let sim = zoom();
    let front = TlsFront::start(sim.addr(), &["api.zoom.test", "zoom.test"]);
    let (proxy, other) = (ConnectProxy::to(front.address), ConnectProxy::to(front.address));
    let (_folder, ca) = written("ca.pem", &front.ca);
    let (url, wrong) = (proxy.url(USER.0), other.url(""));
    let service = with_environment(
        &sim,
        &SECURE,
        &[
            ("https_proxy", &url),
            ("HTTPS_PROXY", &wrong),
            ("HTTP_PROXY", &wrong),
            ("NO_PROXY", "zoom.example"),
            ("SSL_CERT_FILE", &ca),
        ],
    );
    assert_eq!(service.get(PATH).status, 200);
    assert_eq!(proxy.targets(), ["api.zoom.test:443", "zoom.test:443"]);
    assert_eq!(proxy.asked()[0].authorization.as_deref(), Some(USER.1));
    assert_eq!(other.asked(), [], "lower case takes precedence, and HTTP_PROXY is for http");
    service.finish(&[]);
}

#[test]
fn no_proxy_hosts_and_a_proxy_of_none_mean_direct_connections() {
    let sim = zoom();
    let proxy = ConnectProxy::to(sim.addr());
    let url = proxy.url("");
    let excepted: [(&str, &str); 2] = [("HTTP_PROXY", &url), ("no_proxy", "api.zoom.test")];
    let service = with_environment(&sim, &PLAIN, &excepted);
    assert_eq!(service.get(PATH).status, 502);
    assert_eq!(last_failure(&service)["cause"], "name");
    assert_eq!(proxy.targets(), ["zoom.test:80"], "the token endpoint is no exception");
    service.finish(&FAILURES);

    let none = with_environment(&sim, &[PLAIN[0], PLAIN[1], ("zoom.proxy", "none")], &excepted[..1]);
    assert_eq!(none.get(PATH).status, 502);
    assert_eq!(last_failure(&none)["cause"], "name");
    assert_eq!(proxy.asked().len(), 1, "no further tunnel is requested");
    none.finish(&FAILURES);
}

#[test]
fn a_refusing_proxy_is_reported_without_its_password() {
    let sim = zoom();
    let demanding = ConnectProxy::start({
        let behind = sim.addr();
        move |tunnel| match tunnel.authorization {
            Some(_) => Ok(behind),
            None => Err("407 Proxy Authentication Required"),
        }
    });
    let refusing = ConnectProxy::start(|_| Err("403 Forbidden"));
    let nobody = ConnectProxy::start(|_| Err("407 Proxy Authentication Required"));
    let tiny = ConnectProxy::start(|_| Err("401 Unauthorized"));
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (url, detail) in [
        (demanding.url(""), "it demands a user and password (407)".to_owned()),
        (nobody.url(USER.0), "it refuses our user or password (407)".to_owned()),
        (tiny.url(USER.0), "it refuses our user or password (401)".to_owned()),
        (refusing.url(USER.0), "it refuses a tunnel to zoom.test:80 (403)".to_owned()),
        (format!("http://{}{gone}", USER.0), "connection refused".to_owned()),
        (format!("http://{}{}", USER.0, sim.addr()), "it ".to_owned()),
    ] {
        let service = Service::start(&sim, &[PLAIN[0], PLAIN[1], ("zoom.proxy", &url)]);
        let answer = service.get(PATH);
        assert_eq!((answer.status, answer.problem().as_str()), (502, "zoom_failed"));
        let failure = last_failure(&service);
        assert_eq!(
            (&failure["cause"], &failure["host"]),
            (&"proxy".into(), &"zoom.test".into()),
            "{failure}"
        );
        let place = url.rsplit(['@', '/']).next().unwrap();
        let reported = failure["detail"].as_str().unwrap();
        assert!(reported.starts_with(&format!("the proxy {place}: {detail}")), "{reported}");
        let lines = service.finish(&FAILURES).concat();
        assert!(!lines.contains("p@ss") && !lines.contains("p%40ss"), "{lines}");
    }
}

#[test]
fn calls_refused_by_the_proxy_are_counted_but_cost_no_quota() {
    let sim = zoom();
    let proxy = ConnectProxy::start(|_| Err("403 Forbidden"));
    let url = proxy.url("");
    let oauth = sim.oauth_url();
    // Only calls to the API use the proxy. The simulator's token endpoint is reached directly.
    let settings = [("zoom.api_base_url", "http://api.zoom.test/v2"), ("zoom.oauth_url", &*oauth)];
    let variables = [("HTTP_PROXY", &*url), ("NO_PROXY", "127.0.0.1")];
    let service = with_environment(&sim, &settings, &variables);
    assert_eq!(service.get(PATH).status, 502);
    assert_eq!(service.metric("zoom_qos_proxy_zoom_calls_total{result=\"proxy\"}"), 3.0);
    assert_eq!(service.metric("zoom_qos_proxy_day_calls_used"), 0.0);
    service.finish(&FAILURES);
}

#[test]
fn a_changed_password_in_the_proxys_file_applies_to_the_next_connection() {
    let sim = zoom();
    let behind = sim.addr();
    let proxy = ConnectProxy::start(move |tunnel| match tunnel.authorization.as_deref() {
        Some(authorization) if authorization == USER.1 => Ok(behind),
        _ => Err("407 Proxy Authentication Required"),
    });
    let (_folder, file) = written("proxy", &proxy.url("user:old@"));
    let service = Service::start(&sim, &[PLAIN[0], PLAIN[1], ("zoom.proxy_file", &file)]);
    assert_eq!(service.get(PATH).status, 502);
    std::fs::write(&file, format!("{}\n", proxy.url(USER.0))).unwrap();
    wait_for(|| (service.get(PATH).status == 200).then_some(()));
    service.finish(&FAILURES);
}

#[test]
fn this_machine_is_reached_directly_only_if_no_proxy_names_it() {
    let sim = zoom();
    let proxy = ConnectProxy::to(sim.addr());
    let url = proxy.url(USER.0);
    for (exceptions, tunnels) in [("", true), ("LOCALHOST,127.0.0.0/8", false)] {
        let before = proxy.targets().len();
        let variables = [("HTTP_PROXY", &*url), ("NO_PROXY", exceptions)];
        let service = with_environment(&sim, &[], &variables);
        assert_eq!(service.get(PATH).status, 200);
        assert_eq!(proxy.targets().len() > before, tunnels, "NO_PROXY={exceptions}");
        service.finish(&[]);
    }
}

#[test]
fn traces_use_the_environments_proxy_and_not_zooms() {
    let sim = zoom();
    let collector = Collector::start(Answers::Taken);
    let proxy = ConnectProxy::to(collector.address());
    let zooms = ConnectProxy::to(sim.addr());
    let (url, of_zoom) = (proxy.url(USER.0), zooms.url(""));
    let settings = [
        PLAIN[0],
        PLAIN[1],
        ("zoom.proxy", &*of_zoom),
        ("telemetry.otlp_endpoint", "http://collector.test:4318"),
    ];
    let service = with_environment(&sim, &settings, &[("http_proxy", &url)]);
    assert_eq!(service.get(PATH).status, 200);
    wait_for(|| (!collector.spans().is_empty()).then_some(()));
    assert_eq!(proxy.targets(), ["collector.test:4318"]);
    assert_eq!(proxy.asked()[0].authorization.as_deref(), Some(USER.1));
    assert_eq!(zooms.targets(), ["api.zoom.test:80", "zoom.test:80"]);
    service.finish(&["unencrypted"]);
}

#[test]
fn traces_trust_an_authority_of_the_environment() {
    let sim = zoom();
    let collector = Collector::start(Answers::Taken);
    let front = TlsFront::start(collector.address(), &["localhost"]);
    let (_folder, ca) = written("ca.pem", &front.ca);
    let endpoint = format!("https://localhost:{}", front.address.port());
    let settings = [("telemetry.otlp_endpoint", &*endpoint)];
    let variables =
        [("SSL_CERT_FILE", &*ca), ("HTTPS_PROXY", "http://192.0.2.1:9"), ("NO_PROXY", "localhost")];
    let service = with_environment(&sim, &settings, &variables);
    assert_eq!(service.get(PATH).status, 200);
    wait_for(|| (!collector.spans().is_empty()).then_some(()));
    service.finish(&[]);
}

#[test]
fn check_config_shows_the_proxy_without_its_password() {
    let sim = zoom();
    let mut command = command(&sim, &[SECURE[0], SECURE[1]]);
    let output = command
        .arg("check-config")
        .env("https_proxy", "http://user:hunter2@proxy.test:3128")
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{printed}");
    assert!(printed.contains("proxy: proxy.test:3128") && !printed.contains("hunter2"), "{printed}");
}
