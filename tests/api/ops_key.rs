//! The operators can require a key for purges. Scraping the metrics does not need it.

use test_support::{
    callers::sha256_hex,
    client::{Answer, request},
    service::Service,
    simulator::sim,
};

const KEY: &str = "the-operators-key";

fn purge(service: &Service, headers: &[(&str, &str)]) -> Answer {
    request(service.ops, "DELETE", "/cache/85746065432", headers)
}

#[test]
fn with_a_key_scraping_works_without_it_and_purging_does_not() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[("ops.key_sha256", &sha256_hex(KEY))]);
    for path in ["/metrics", "/status", "/healthz", "/readyz"] {
        assert_eq!(request(service.ops, "GET", path, &[]).status, 200, "{path}");
    }
    assert_eq!(service.get("/qos/85746065432").status, 200);
    let wrong = format!("Bearer {KEY}x");
    for headers in
        [&[][..], &[("authorization", "Bearer ")], &[("authorization", &wrong)], &[("x-api-key", "x")]]
    {
        let answer = purge(&service, headers);
        assert_eq!(answer.status, 401, "{headers:?}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        assert!(answer.text().contains("operators' key"), "{}", answer.text());
    }
    assert!(service.get("/qos/85746065432").cache_status().contains("; hit"), "nothing was purged");
    assert_eq!(request(service.ops, "DELETE", "/cache", &[]).status, 401);

    let bearer = format!("Bearer {KEY}");
    assert_eq!(purge(&service, &[("authorization", &bearer)]).status, 204);
    assert_eq!(purge(&service, &[("x-api-key", KEY)]).status, 204);
    assert_eq!(service.get("/qos/85746065432").status, 200);
    assert_eq!(sim.qos_calls().len(), 2);
    let lines = service.finish(&[]);
    assert!(!lines.iter().any(|line| line.contains(KEY)));
}

#[test]
fn a_changed_key_file_takes_effect_at_the_next_purge() {
    let sim = sim(|_| ());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hash");
    std::fs::write(&file, format!("{}\n", sha256_hex("old"))).unwrap();
    let service = Service::start(&sim, &[("ops.key_sha256_file", file.to_str().unwrap())]);
    let status = |key: &str| purge(&service, &[("x-api-key", key)]).status;
    assert_eq!((status("old"), status("new")), (204, 401));
    std::fs::write(&file, sha256_hex("new")).unwrap();
    assert_eq!((status("old"), status("new")), (401, 204));
    std::fs::write(&file, "").unwrap();
    assert_eq!((status("old"), status("new"), status("")), (401, 401, 401), "an invalid hash admits nobody");
    service.finish(&[]);
}
