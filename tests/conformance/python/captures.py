"""An answer of every kind that can be provoked reliably, over real sockets. Checks only that each is of the intended kind."""

import base64
import contextlib
import hashlib
import re
import tempfile
from concurrent.futures import ThreadPoolExecutor

from processes import Connection, Service, Sim, ask, until

# The meeting of Zoom's documentation, which the simulator has from the start.
EXAMPLE = "/qos/85746065432"
UUID = "/qos/atsXxhSEQWit9t+U02HXNQ==?type=past"
FRESH = "zoom-qos-proxy; hit; ttl=[0-9]+"
# Codes that no scenario can provoke reliably, and why. Their examples in the description are still checked.
NOT_PROVOKED = {
    "internal_error": "it would be a bug",
    "shutting_down": "during the drain, a kept connection gets this answer or is just closed, depending on the timing",
}


class Captures(dict):
    """Answers by the name of their kind, and the scenarios that failed."""

    def __init__(self):
        super().__init__()
        self.failed = []

    def keep(self, kind, answer, status, code=None, cache_status=None):
        """Keeps an answer if it is as expected; `cache_status` is a pattern."""
        found = (answer.status, answer.code())
        if found != (status, code if answer.method != "HEAD" else None):
            raise AssertionError(f"{kind}: {found} instead of {(status, code)}: {answer.body[:300]!r}")
        told = answer.header("Cache-Status")
        if cache_status is None and told is not None and status not in (200, 304):
            raise AssertionError(f"{kind}: Cache-Status {told!r} on an error")
        if cache_status is not None and not re.fullmatch(cache_status, told or ""):
            raise AssertionError(f"{kind}: Cache-Status {told!r} instead of {cache_status!r}")
        if kind in self:
            raise AssertionError(f"{kind} twice")
        self[kind] = answer
        return answer


@contextlib.contextmanager
def running(binaries, sim=None, **settings):
    service_binary, sim_binary = binaries
    with Sim(sim_binary, **(sim or {})) as zoom, Service(service_binary, zoom, **settings) as service:
        yield service, zoom


def plain(binaries, kept):
    """Whole meetings, validators, codings, slices, invalid requests, and the ops listener."""
    with running(binaries) as (service, _):
        miss = kept.keep("200 miss", service.get(EXAMPLE), 200, cache_status=".*; fwd=uri-miss; fwd-status=200; stored")
        kept.keep("200 hit", service.get(EXAMPLE, ("X-Request-Id", "conformance-1")), 200, cache_status=FRESH)
        kept.keep("200 by UUID", service.get(UUID), 200)
        kept.keep("200 HEAD", service.get(EXAMPLE, method="HEAD"), 200, cache_status=FRESH)
        has_it = ("If-None-Match", miss.header("ETag"))
        kept.keep("304 by tag", service.get(EXAMPLE, has_it), 304, cache_status=FRESH)
        kept.keep("304 by tag HEAD", service.get(EXAMPLE, has_it, method="HEAD"), 304, cache_status=FRESH)
        since = ("If-Modified-Since", miss.header("Last-Modified"))
        kept.keep("304 by date", service.get(EXAMPLE, since), 304, cache_status=FRESH)
        large = "/qos/98765432101?type=past"
        whole = kept.keep("200 large", service.get(large), 200)
        for coding in ("gzip", "zstd"):
            accepts = ("Accept-Encoding", coding)
            coded = kept.keep(f"200 {coding}", service.get(large, accepts), 200)
            if coded.header("Content-Encoding") != coding:
                raise AssertionError(f"not served: Content-Encoding: {coding}")
            if coded.decoded() != whole.body or coded.header("ETag") == whole.header("ETag"):
                raise AssertionError(f"{coding}: other bytes, or the same tag")
            kept.keep(f"200 {coding} HEAD", service.get(large, accepts, method="HEAD"), 200)
            kept.keep(f"304 {coding}", service.get(large, accepts, ("If-None-Match", coded.header("ETag"))), 304)
        slices(service, kept)
        summaries(service, kept)
        kept.keep("400 id", service.get("/qos/1"), 400, "invalid_meeting_id")
        kept.keep("400 id HEAD", service.get("/qos/1", method="HEAD"), 400)
        kept.keep("400 query", service.get(EXAMPLE + "?type=next"), 400, "invalid_query")
        kept.keep("404 path", service.get("/nowhere"), 404, "not_found")
        kept.keep("405", service.get(EXAMPLE, method="DELETE"), 405, "method_not_allowed")
        only = ("Cache-Control", "only-if-cached")
        kept.keep("504 not cached", service.get("/qos/91234567890", only), 504, "not_cached")

        document = kept.keep("200 openapi", service.get("/openapi.json"), 200)
        kept.keep("200 openapi HEAD", service.get("/openapi.json", method="HEAD"), 200)
        kept.keep("304 openapi", service.get("/openapi.json", ("If-None-Match", document.header("ETag"))), 304)
        kept.keep("405 openapi", service.get("/openapi.json", method="POST"), 405, "method_not_allowed")

        for path in ("/cache/85746065432", "/cache/85746065432?type=past", "/cache"):
            kept.keep(f"204 ops {path}", ask(service.ops, "DELETE", path), 204)
        kept.keep("400 ops", ask(service.ops, "DELETE", "/cache/1"), 400, "invalid_meeting_id")
        kept.keep("405 ops purge", ask(service.ops, "GET", "/cache"), 405, "method_not_allowed")
        for path in ("healthz", "readyz", "metrics", "status"):
            for method in ("GET", "HEAD"):
                kept.keep(f"200 ops {method} {path}", ask(service.ops, method, f"/{path}"), 200)
        kept.keep("404 ops", ask(service.ops, "GET", "/nowhere"), 404, "not_found")
        kept.keep("405 ops", ask(service.ops, "PUT", "/healthz"), 405, "method_not_allowed")


def slices(service, kept):
    """Slices of a snapshot that is cached already."""
    large = "/qos/98765432101?type=past"
    first = service.get(large + "&page_size=100")
    kept.keep("200 slice", first, 200, cache_status=".*; hit; .*")
    token = first.json()["next_page_token"]
    last = kept.keep("200 last slice", service.get(f"{large}&page_size=100&next_page_token={token}"), 200)
    if (len(first.json()["participants"]), len(last.json()["participants"])) != (100, 20):
        raise AssertionError("120 participants are not split into 100 and 20")
    if last.json()["next_page_token"] is not None:
        raise AssertionError("the last slice has a token")
    bad = service.get(large + "&page_size=100&next_page_token=nonsense")
    kept.keep("400 page token", bad, 400, "invalid_page_token")


def summaries(service, kept):
    """Summaries of a snapshot that is cached already."""
    path = "/qos/98765432101/summary?type=past"
    summary = kept.keep("200 summary", service.get(path), 200, cache_status=FRESH)
    kept.keep("200 summary HEAD", service.get(path, method="HEAD"), 200, cache_status=FRESH)
    kept.keep("200 summary selected", service.get(path + "&groups=audio&latency_ms=99.5"), 200, cache_status=FRESH)
    coded = kept.keep("200 summary zstd", service.get(path, ("Accept-Encoding", "zstd")), 200, cache_status=FRESH)
    if coded.decoded() != summary.body or coded.header("ETag") == summary.header("ETag"):
        raise AssertionError("summary zstd: other bytes, or the same tag")
    has_it = ("If-None-Match", summary.header("ETag"))
    kept.keep("304 summary", service.get(path, has_it), 304, cache_status=FRESH)
    kept.keep("400 summary", service.get(path + "&page_size=1"), 400, "invalid_query")
    kept.keep("404 participant", service.get(path + "&participant=nobody"), 404, "participant_not_found")
    kept.keep("406 summary", service.get(path, ("Accept", "text/csv")), 406, "not_acceptable")
    kept.keep("406", service.get(EXAMPLE, ("Accept", "text/html")), 406, "not_acceptable")


def refused_by_zoom(binaries, kept):
    """Zoom's errors about a meeting, and one about the service itself."""
    with running(binaries) as (service, zoom):
        for number, (fault, status, code) in enumerate([
            ("webinar", 404, "not_a_meeting"),
            ("too_old", 410, "meeting_too_old"),
            ("does_not_exist", 404, "meeting_not_found"),
            ("endpoint_unknown", 502, "zoom_failed"),
        ]):
            meeting = zoom.meeting(number)
            zoom.fault(fault, meeting=meeting)
            kept.keep(f"{status} {fault}", service.get(f"/qos/{meeting}"), status, code)
        kept.keep("404 remembered", service.get(f"/qos/{zoom.meeting(2)}"), 404, "meeting_not_found")


def shared_flight(binaries, kept):
    """A request that waits for the flight of another request."""
    with running(binaries, sim={"latency_ms": 2000}) as (service, zoom), ThreadPoolExecutor(2) as callers:
        first = callers.submit(service.get, EXAMPLE)
        until(zoom.calls, "the first request's call")
        second = callers.submit(service.get, EXAMPLE)
        kept.keep("200 first of two", first.result(), 200, cache_status=".*; fwd=uri-miss; fwd-status=200; stored")
        collapsed = ".*; fwd=uri-miss; fwd-status=200; stored; collapsed"
        kept.keep("200 collapsed", second.result(), 200, cache_status=collapsed)


def stale(service, word):
    """Waits for an answer with this word in its Cache-Status. Only answers from a stale snapshot have it."""

    def found():
        answer = service.get(EXAMPLE)
        return answer if word in answer.header("Cache-Status") else None

    return until(found, "the end of freshness")


def revalidating(binaries, kept):
    """A stale snapshot while it is refreshed."""
    settings = {"cache__live_fresh": "1s", "cache__stale_while_revalidate": "1h"}
    with running(binaries, **settings) as (service, _):
        service.get(EXAMPLE)

        expected = ".*; hit; ttl=-[0-9]+; detail=revalidating"
        kept.keep("200 revalidating", stale(service, "ttl=-"), 200, cache_status=expected)


def stale_and_failing(binaries, kept):
    """Fetches a snapshot because it is stale or a caller requires a newer one. Serves a stale snapshot when Zoom fails."""
    settings = {"cache__live_fresh": "3s", "cache__stale_while_revalidate": "0s", "cache__refresh_floor": "0s"}
    with running(binaries, **settings) as (service, zoom):
        service.get(EXAMPLE)
        newer = service.get(EXAMPLE, ("Cache-Control", "no-cache"))
        kept.keep("200 on request", newer, 200, cache_status=".*; fwd=request; fwd-status=200; stored")

        def not_a_hit():
            answer = service.get(EXAMPLE)
            return None if re.fullmatch(FRESH, answer.header("Cache-Status")) else answer

        fetched = until(not_a_hit, "the end of freshness")
        kept.keep("200 because stale", fetched, 200, cache_status=".*; fwd=stale; fwd-status=200; stored")
        zoom.fault("endpoint_unknown")
        failing = until(not_a_hit, "the end of freshness")
        kept.keep("200 instead", failing, 200, cache_status=".*; hit; ttl=-[0-9]+; detail=zoom_failed")
        has_it = ("If-None-Match", failing.header("ETag"))
        kept.keep("304 instead", service.get(EXAMPLE, has_it), 304, cache_status=".*; detail=zoom_failed")
        only = ("Cache-Control", "only-if-cached")
        kept.keep("504 stale and not to be fetched", service.get(EXAMPLE, only), 504, "not_cached")


def rate_limited(binaries, kept):
    """Answers while Zoom sends per-second 429s, with and without a cached snapshot."""
    with running(binaries, cache__live_fresh="1s", cache__stale_while_revalidate="0s") as (service, zoom):
        service.get(EXAMPLE)
        zoom.fault("rate_second", retry_after="60", headers=True)
        refused = service.get(f"/qos/{zoom.meeting(1)}")
        kept.keep("503 rate limited", refused, 503, "zoom_rate_limited")

        expected = ".*; hit; ttl=-[0-9]+; detail=zoom_rate_limited"
        kept.keep("200 instead of 503", stale(service, "detail"), 200, cache_status=expected)


def day_spent(binaries, kept):
    settings = {"limits__heavy_per_day": "1", "limits__headroom_percent": "0"}
    with running(binaries, **settings) as (service, zoom):
        service.get(EXAMPLE)
        kept.keep("503 day", service.get(f"/qos/{zoom.meeting(1)}"), 503, "zoom_daily_quota_spent")


def still_fetching(binaries, kept):
    with running(binaries, sim={"latency_ms": 4000}, server__wait="1s") as (service, _):
        kept.keep("503 still fetching", service.get(EXAMPLE), 503, "still_fetching")


def overloaded(binaries, kept):
    """One call a second and a queue of one: of eight meetings requested at the same time, some are rejected."""
    settings = {"limits__heavy_per_second": "1", "limits__headroom_percent": "0", "limits__max_queued": "1"}
    with running(binaries, **settings) as (service, zoom), ThreadPoolExecutor(8) as callers:
        targets = [f"/qos/{zoom.meeting(number)}" for number in range(8)]
        answers = list(callers.map(service.get, targets))
        refused = [answer for answer in answers if answer.status != 200]
        kept.keep("503 overloaded", refused[0], 503, "overloaded")


def callers(binaries, kept):
    """Requests with and without a key or token, and a caller with one call a minute."""
    key = "a-caller-key-for-conformance"
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        digest = hashlib.sha256(key.encode()).hexdigest()
        file.write(f'[[caller]]\nname = "conformance"\nkey_sha256 = "{digest}"\ncalls_per_minute = 1\n')
        file.write('[[issuer]]\nname = "away"\nurl = "https://issuer.test"\naudience = "qos"\njwks_file = "/nowhere/keys.json"\n')
        file.flush()
        with running(binaries, callers__file=file.name) as (service, zoom):
            for method in ("GET", "HEAD"):
                kept.keep(f"401 {method}", service.get(EXAMPLE, method=method), 401, "unknown_caller")
            with_key = ("Authorization", f"Bearer {key}")
            kept.keep("200 with a key", service.get(EXAMPLE, with_key), 200)
            kept.keep("200 with another header", service.get(EXAMPLE, ("X-Api-Key", key)), 200)
            other = service.get(f"/qos/{zoom.meeting(1)}", with_key)
            kept.keep("429 over limit", other, 429, "caller_over_limit")
            head, claims = '{"alg":"ES256","kid":"1"}', '{"iss":"https://issuer.test"}'
            token = ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in (head, claims, "x"))
            kept.keep("503 issuer", service.get(EXAMPLE, ("Authorization", f"Bearer {token}")), 503, "issuer_unavailable")
            kept.keep("401 token", service.get(EXAMPLE, ("Authorization", "Bearer a.b.c")), 401, "unknown_caller")


def timed_out(binaries, kept):
    with running(binaries, zoom__connect_timeout="1s", zoom__request_timeout="1s") as (service, zoom):
        zoom.fault("hang")
        kept.keep("504 timed out", service.get(EXAMPLE), 504, "zoom_timed_out")


def credentials(binaries, kept):
    with running(binaries) as (service, zoom):
        zoom.fault("plan_too_low")
        kept.keep("502 credentials", service.get(EXAMPLE), 502, "zoom_rejected_credentials")
        kept.keep("503 not ready", ask(service.ops, "GET", "/readyz"), 503)


def broken(binaries, kept):
    """An invalid answer of Zoom, after retries."""
    with running(binaries) as (service, zoom):
        zoom.fault("not_json")
        kept.keep("502 failed", service.get(EXAMPLE), 502, "zoom_failed")


def draining(binaries, kept):
    """A slow request that outlives SIGTERM; and one behind it on the same connection, which gets an answer or a close."""
    with running(binaries, sim={"latency_ms": 1500}) as (service, zoom):
        other = f"/qos/{zoom.meeting(1)}"
        connection = Connection(service.callers)
        try:
            connection.send("GET", EXAMPLE)
            until(zoom.calls, "the first request's call")
            connection.send("GET", other)
            service.terminate()
            kept.keep("200 in the drain", connection.receive("GET", EXAMPLE), 200)
            word = connection.receive("GET", other)
            if word is not None:
                kept.keep("503 shutting down", word, 503, "shutting_down")
        finally:
            connection.close()


SCENARIOS = [
    plain, refused_by_zoom, shared_flight, revalidating, stale_and_failing, rate_limited, day_spent, still_fetching,
    overloaded, callers, timed_out, credentials, broken, draining,
]


def provoke(binaries):
    """Runs all scenarios. Each has its own processes, so they can run in parallel."""
    kept = Captures()

    def play(scenario):
        try:
            scenario(binaries, kept)
        except (AssertionError, OSError, ValueError, LookupError, TypeError) as error:
            kept.failed.append(f"{scenario.__name__}: {error!r}")

    with ThreadPoolExecutor(4) as lanes:
        list(lanes.map(play, SCENARIOS))
    return kept
