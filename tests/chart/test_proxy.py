"""Egress: the user's own proxy and CA."""

import tomllib

from chart import at, ci, merged, notes, refusal, render

ZOOM = {"port": 443, "protocol": "TCP"}
PROXY = {"port": 8080, "protocol": "TCP"}


def egress(values):
    return render(values).one("NetworkPolicy", "release-zoom-qos-proxy")["spec"]["egress"]


def test_url_and_ca_are_files_of_one_secret():
    objects = render(ci("proxy"))
    [mount] = [each for each in objects.container["volumeMounts"] if each["mountPath"] == "/run/secrets/proxy"]
    [volume] = [each["secret"] for each in objects.pod["volumes"] if each["name"] == mount["name"]]
    assert volume["secretName"] == "way-out"
    assert volume["items"] == [{"key": "proxy-url", "path": "url"}, {"key": "ca.crt", "path": "ca.crt"}]
    zoom = tomllib.loads(objects.toml)["zoom"]
    assert (zoom["proxy_file"], zoom["ca_file"]) == ("/run/secrets/proxy/url", "/run/secrets/proxy/ca.crt")


def test_without_a_proxy_nothing_of_it_is_rendered():
    objects = render()
    assert not any(each["name"] == "proxy" for each in objects.pod["volumes"] + objects.container["volumeMounts"])
    assert not {"proxy_file", "ca_file"} & tomllib.loads(objects.toml)["zoom"].keys()
    # Keys without a Secret have no effect.
    assert render(at("proxy.keys.ca", "k")).toml == objects.toml
    assert "Egress to Zoom" not in notes()


def test_egress_leads_to_the_proxy_only():
    rules = egress(ci("proxy"))
    [rule] = [each for each in rules if PROXY in each["ports"]]
    assert rule["to"] == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "egress"}}},
        {"ipBlock": {"cidr": "10.1.2.4/32"}},
    ]
    assert not any(ZOOM in each["ports"] for each in rules)


def test_a_ca_alone_does_not_change_the_egress():
    values = merged(at("proxy.existingSecret", "way-out"), at("proxy.keys.url", ""), at("proxy.keys.ca", "ca.crt"))
    assert egress(values) == egress({})
    assert "proxy_file" not in render(values).toml


def test_a_proxy_without_peers_or_keys_is_refused():
    assert "networkPolicy.proxy: is empty" in refusal(at("proxy.existingSecret", "way-out"))
    neither = merged(at("proxy.existingSecret", "way-out"), at("proxy.keys.url", ""))
    assert "proxy.keys: names neither" in refusal(neither)
    assert "proxy.keys: names neither" in refusal(merged(neither, at("networkPolicy.enabled", False)))


def test_the_notes_say_which_secret_to_create():
    said = notes(ci("proxy"))
    assert "create Secret way-out, with the proxy's URL in key proxy-url, with the CA in key ca.crt." in said
