"""The chart with the user's own Redis; test_valkey.py covers the chart's."""

import tomllib

from chart import CA, at, ci, merged, notes, render

PLAIN = "Redis holds participants' names and addresses unencrypted"


def mounted(objects):
    """(Secret, {file: key}) of the files below /run/secrets/redis."""
    [mount] = [each for each in objects.container["volumeMounts"] if each["mountPath"] == "/run/secrets/redis"]
    [volume] = [each["secret"] for each in objects.pod["volumes"] if each["name"] == mount["name"]]
    return volume["secretName"], {each["path"]: each["key"] for each in volume["items"]}


def test_url_ca_and_encryption_key_are_files_of_one_secret():
    assert mounted(render(ci("redis"))) == ("shared-redis", {"url": "redis-url", "ca.crt": "ca.crt"})
    encrypted = render(ci("redis-encrypted"))
    assert mounted(encrypted) == ("shared-redis", {"url": "url", "encryption_key": "encryption-key"})
    redis = tomllib.loads(encrypted.toml)["redis"]
    assert redis["url_file"] == "/run/secrets/redis/url"
    assert redis["encryption_key_file"] == "/run/secrets/redis/encryption_key"
    assert "ca_file" not in redis
    assert tomllib.loads(render(ci("redis")).toml)["redis"]["ca_file"] == "/run/secrets/redis/ca.crt"
    assert CA.startswith("-----BEGIN CERTIFICATE-----")


def test_without_redis_nothing_of_it_is_rendered():
    objects = render()
    assert not any("redis" in each["name"] for each in objects.pod["volumes"] + objects.container["volumeMounts"])
    assert tomllib.loads(objects.toml)["redis"] == {"timeout": "250ms"}
    # Keys without a Secret have no effect.
    assert render(at("redis.keys.encryptionKey", "k")).toml == objects.toml
    assert "Redis" not in notes()


def test_egress_to_redis_leads_to_its_peers_only():
    egress = render(ci("redis")).one("NetworkPolicy", "release-zoom-qos-proxy")["spec"]["egress"]
    [rule] = [each for each in egress if each["ports"] == [{"port": 6380, "protocol": "TCP"}]]
    assert rule["to"] == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "redis"}}},
        {"ipBlock": {"cidr": "10.1.2.3/32"}},
    ]


def test_the_notes_say_what_redis_stores_unencrypted():
    assert PLAIN in notes(ci("redis"))
    said = notes(ci("redis-encrypted"))
    assert PLAIN not in said
    assert "Redis: create Secret shared-redis with Redis's URL in key url and the key that encrypts the snapshots in key encryption-key" in said
    assert PLAIN in notes(ci("valkey"))
    assert PLAIN not in notes(merged(ci("valkey"), at("redis.keys.encryptionKey", "k")))
