//! Ways to connect to Redis: TLS with a private CA, ACL users, database numbers, a cluster, Sentinel.

use std::time::Instant;

use test_support::{
    records::{bytes, claimed, content, key, record_key},
    redis_server::Server,
    replica::{config, join, next_slot, until, up},
    wait::settled,
};
use zoom_qos_proxy::{
    cluster::{
        ClusterConfig, address::Address, circuit_breaker::RedisStatus, keys::RecordKey, standalone::Mode,
    },
    snapshot::Tag,
};

const MINUTE: std::time::Duration = std::time::Duration::from_secs(60);

/// The ACL rules that the user needs, from the documentation.
fn rights() -> &'static str {
    let document = include_str!("../../docs/OPERATIONS.md");
    document.lines().find(|line| line.starts_with("~{zqp:*}")).unwrap()
}

async fn everything_works(shared: &zoom_qos_proxy::cluster::Cluster) {
    next_slot(shared).await;
    let of = record_key(1);
    let mine = claimed(shared, &of).await;
    shared.put(&mine, &bytes(shared, &of, b"x"), MINUTE).await.unwrap();
    assert_eq!(content(shared, &of).await.unwrap(), b"x");
    let paged = RecordKey::paged(&key(1), Tag(7));
    shared.put_unclaimed(&paged, b"y", MINUTE).await.unwrap();
    let (laid_down, purged) = shared.get_unclaimed(&paged, &of, MINUTE).await.unwrap();
    assert_eq!(laid_down.as_deref(), Some(&b"y"[..]));
    shared.purge(std::slice::from_ref(&of)).await;
    assert!(content(shared, &of).await.is_none());
    assert!(shared.get_unclaimed(&paged, &of, MINUTE).await.unwrap().1 > purged, "a purge is published");
    assert_eq!(*shared.status().borrow(), RedisStatus::Up);
}

#[actix_rt::test]
async fn the_documented_rights_suffice_and_a_wrong_password_allows_nothing() {
    let server = Server::start();
    let user = format!("on >s@cret {}", rights());
    let words: Vec<&str> = ["ACL", "SETUSER", "qos"].into_iter().chain(user.split_whitespace()).collect();
    let _: String = server.command(&words);
    let url = |password: &str| format!("redis://qos:{password}@127.0.0.1:{}/0", server.port);
    let (shared, _heard) = up(config(&url("s%40cret"), 40, 2)).await;
    everything_works(&shared).await;
    shared.leave().await;
    assert!(shared.reserve_slot().await.is_err(), "a departed replica gets no permits");
    assert_eq!(
        server.command::<u64>(&["HLEN", "{zqp:test}:members"]),
        0,
        "a departed replica is removed at once"
    );
    let denied: Vec<redis::Value> = server.command(&["ACL", "LOG"]);
    assert!(denied.is_empty(), "{denied:?}");

    let (wrong, _) = join(config(&url("wrong"), 40, 2));
    until(&wrong, RedisStatus::Unavailable).await;
    assert_ne!(wrong.mode(Instant::now()), Mode::Shared);
    let _: String = server.command(&["ACL", "SETUSER", "qos", ">wrong"]);
    until(&wrong, RedisStatus::Up).await;
}

#[actix_rt::test]
async fn only_the_configured_database_is_used() {
    let server = Server::start();
    let (shared, _heard) = up(config(&format!("redis://127.0.0.1:{}/5", server.port), 40, 2)).await;
    everything_works(&shared).await;
    let keyspace: String = server.command(&["INFO", "keyspace"]);
    assert!(keyspace.contains("db5:") && !keyspace.contains("db0:"), "{keyspace}");
}

#[actix_rt::test]
async fn tls_accepts_only_the_configured_ca_and_host_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let authority = |name: &str| {
        let mut parameters = rcgen::CertificateParams::new(vec![]).unwrap();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        (certificate.pem(), rcgen::Issuer::new(parameters, key))
    };
    let ((ca, issuer), (other, _)) = (authority("ours"), authority("theirs"));
    let key = rcgen::KeyPair::generate().unwrap();
    let parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = parameters.signed_by(&key, &issuer).unwrap();
    std::fs::write(path("key.pem"), key.serialize_pem()).unwrap();
    std::fs::write(path("cert.pem"), certificate.pem()).unwrap();
    let tls_port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let _server = Server::with(&[
        "--tls-port",
        &tls_port.to_string(),
        "--tls-cert-file",
        &path("cert.pem"),
        "--tls-key-file",
        &path("key.pem"),
        "--tls-auth-clients",
        "no",
    ]);
    let with = |host: &str, ca: &str| {
        let address = Address::parse(&format!("rediss://{host}:{tls_port}/0"), Some(ca.as_bytes())).unwrap();
        ClusterConfig { address, ..config("redis://unused", 40, 2) }
    };
    let (shared, _heard) = up(with("localhost", &ca)).await;
    everything_works(&shared).await;
    for refused in [with("localhost", &other), with("127.0.0.1", &ca)] {
        let (shared, _) = join(refused);
        until(&shared, RedisStatus::Unavailable).await;
        assert!(shared.reserve_slot().await.is_err());
    }
}

#[actix_rt::test]
async fn any_cluster_node_redirects_to_the_owner_of_the_keys() {
    let nodes = [(); 2].map(|()| Server::with(&["--cluster-enabled", "yes"]));
    let _: String = nodes[0].command(&["CLUSTER", "ADDSLOTSRANGE", "0", "8191"]);
    let _: String = nodes[1].command(&["CLUSTER", "ADDSLOTSRANGE", "8192", "16383"]);
    let port = nodes[1].port.to_string();
    let bus = (nodes[1].port + 10_000).to_string();
    let _: String = nodes[0].command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
    for node in &nodes {
        settled(|| async { node.says(&["CLUSTER", "INFO"], "cluster_state:ok").then_some(()) }).await;
    }
    for node in &nodes {
        let (shared, _heard) = up(config(&node.url(), 40, 2)).await;
        everything_works(&shared).await;
    }
    let keys: Vec<u64> = nodes.iter().map(|node| node.command(&["DBSIZE"])).collect();
    assert!(keys.contains(&0), "all keys are on one node: {keys:?}");
}

#[actix_rt::test]
async fn sentinel_leads_to_the_master_even_after_a_failover() {
    let master = Server::start();
    let replica = Server::with(&["--replicaof", "127.0.0.1", &master.port.to_string()]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sentinel.conf");
    let text = format!(
        "sentinel monitor qos 127.0.0.1 {} 1\nsentinel down-after-milliseconds qos 1000\n",
        master.port
    );
    std::fs::write(&file, text).unwrap();
    let sentinel = Server::sentinel(&file);
    let url = format!("redis+sentinel://127.0.0.1:{}/0?master=qos", sentinel.port);
    let (shared, _heard) = up(config(&url, 40, 2)).await;
    everything_works(&shared).await;
    settled(|| async { replica.says(&["INFO", "replication"], "master_link_status:up").then_some(()) }).await;
    settled(|| async { sentinel.tries(&["SENTINEL", "FAILOVER", "qos"]).then_some(()) }).await;
    settled(|| async { replica.says(&["INFO", "replication"], "role:master").then_some(()) }).await;
    drop(master);
    // In Redis, the quota records its server's id in `run`. Wait until this is the new master's id.
    settled(|| async {
        let about: String = replica.command(&["INFO", "server"]);
        let run = about.lines().find_map(|line| line.strip_prefix("run_id:")).unwrap();
        replica.says(&["HGET", "{zqp:test}:budget", "run"], run).then_some(())
    })
    .await;
    until(&shared, RedisStatus::Up).await;
    next_slot(&shared).await;
}
