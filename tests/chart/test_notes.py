"""The notes after an installation: the effective limit (test_limits.py), the place of the credentials, the next commands,
and warnings."""

from chart import CHART, NAME, at, ci, merged, notes

FORGETS = "A replaced pod loses its count of today's calls"
OVERLAP = "During a rollout the old and the new pod each have the whole limit, for 45 s at most"
EVERYBODY = "anybody who can reach the service"


def test_the_missing_secret_can_be_created_by_copying_the_lines():
    said = notes()
    assert f"kubectl --namespace space create secret generic {NAME}-zoom" in said
    assert "--from-file=account_id=./account_id --from-file=client_id=./client_id --from-file=client_secret=./client_secret" in said
    said = notes(ci("existing-secrets"))
    assert "create secret generic zoom-oauth-app" in said
    assert "--from-file=account=./account_id --from-file=client=./client_id --from-file=secret=./client_secret" in said


def test_trial_credentials_are_named_as_such_and_never_shown():
    said = notes(ci("trial-credentials"))
    assert "made of credentials.trial. For trials only" in said
    assert "create secret" not in said
    assert "not-a-secret" not in said


def test_the_next_commands_have_the_releases_names():
    said = notes(ci("load-balancer"))
    assert f"kubectl --namespace space rollout status deployment/{NAME}\n" in said
    assert "helm --namespace space test release\n" in said
    assert f"kubectl --namespace space port-forward service/{NAME} 8080:8080 &\n" in said
    assert "curl localhost:8080/qos/MEETING --header 'Authorization: Bearer CALLER_KEY'" in said
    assert f"statefulset/{NAME}" in notes(ci("persistence"))
    assert "Authorization" not in notes()


def test_the_share_is_explained_where_there_is_one():
    assert "one of 5 shares of the account's limits (3 replicas, 2 more during a rollout)" in notes(ci("replicas"))
    assert "one of 2 shares of the account's limits (2 replicas)" in notes(ci("persistence"))
    assert "shares" not in notes()


def test_notes_warn_of_risks():
    assert all(each in notes() for each in (FORGETS, OVERLAP, EVERYBODY))
    assert "outside the cluster" not in notes()
    public = merged(ci("ingress"), at("callers.existingSecret", ""), at("ingress.tls", []))
    assert f"{EVERYBODY}, also from outside the cluster, can read" in notes(public)
    assert "The Ingress has no TLS" in notes(public)
    open_to_all = ci("no-network-policy")
    assert "There is no NetworkPolicy: every pod of the cluster can reach the ops listener, which can purge" in notes(open_to_all)
    with_key = merged(open_to_all, at("config.ops.key_sha256", "ab" * 32))
    assert "every pod of the cluster can reach the ops listener." in notes(with_key)
    assert "Only the replica that issued a paging token knows it" in notes(merged(ci("ingress"), {"replicaCount": 2}))


def test_notes_say_where_the_keys_of_issuers_are_shown():
    assert "/status (issuers) on port 9090" in notes(ci("issuer"))
    assert "/status (issuers)" not in notes()


def test_notes_do_not_warn_without_a_risk():
    assert OVERLAP not in notes(ci("one-after-the-other"))
    # Redis keeps the day's count, and both pods of a rollout share one limit.
    for shared in (ci("redis-encrypted"), merged(ci("redis-encrypted"), {"replicaCount": 1})):
        assert FORGETS not in notes(shared) and OVERLAP not in notes(shared)
    with_redis = merged(merged(ci("ingress"), ci("redis")), {"replicaCount": 2})
    assert "paging token" not in notes(with_redis)
    careful = merged(ci("persistence"), at("callers.existingSecret", "qos-callers"))
    assert "Warnings:" not in notes(careful)
    assert "TLS" not in notes(ci("ingress"))


def test_no_template_is_left_unfinished():
    for feature in CHART.glob("ci/*-values.yaml"):
        said = notes(ci(feature.name.removesuffix("-values.yaml")))
        assert "<no value>" not in said and "%!" not in said, said
