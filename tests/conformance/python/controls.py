"""Negative controls: deliberately wrong answers. A checker that accepts them checks nothing."""

import copy
import dataclasses
import json

import verdicts


def with_header(answer, name, value):
    """The same answer with this value of a header; None removes it."""
    headers = [(key, old) for key, old in answer.headers if key.lower() != name.lower().encode()]
    return dataclasses.replace(answer, headers=headers + ([(name.encode(), value.encode())] if value is not None else []))


def with_member(answer, name, value):
    """The same JSON with this value of a member; None removes it."""
    document = answer.json()
    document.pop(name)
    if value is not None:
        document[name] = value
    text = json.dumps(document).encode()
    return with_header(dataclasses.replace(answer, body=text), "Content-Length", str(len(text)))


def controls(kept, document):
    """Pairs of a name and its findings."""
    hit, problem, refused = kept["200 hit"], kept["404 does_not_exist"], kept["503 rate limited"]
    for name, value in [("ETag", "unquoted"), ("Date", "today"), ("Age", "old"), ("Content-Length", "1"), ("Vary", "@"),
                        ("Cache-Control", "max-age=soon"), ("Last-Modified", "Mon, 99 Nov 2026 10:15:42 GMT")]:
        yield f"httplint, {name}: {value}", verdicts.lint("control", with_header(hit, name, value))
    yield "httplint, Retry-After: soon", verdicts.lint("control", with_header(refused, "Retry-After", "soon"))
    body = dataclasses.replace(kept["304 by tag"], body=b"{}")
    yield "httplint, a 304 with a body", verdicts.lint("control", body)
    for value in [None, "", "zoom-qos-proxy; hit; ttl=", "zoom-qos-proxy; ttl=3", "zoom-qos-proxy; hit; fwd=stale",
                  "zoom-qos-proxy; fwd=miss", "zoom-qos-proxy; hit; ttl=3; detail=x", "zoom-qos-proxy; hit; ttl=0.5",
                  "another; hit; ttl=3", "zoom-qos-proxy; hit, other; hit", "zoom-qos-proxy; fwd=stale; fwd-status=\"200\""]:
        yield f"Cache-Status: {value}", verdicts.cache_status(with_header(hit, "Cache-Status", value))
    for name, value in [("RateLimit", "day;r=1"), ("RateLimit", "\"day\";r=-1"), ("RateLimit", "\"week\";r=1"),
                        ("RateLimit", "\"day\";t=1"), ("RateLimit", "\"day\";r=1,"), ("RateLimit-Policy", "\"day\";w=1")]:
        yield f"{name}: {value}", verdicts.rate_limits(with_header(refused, name, value))
    for name, value in [("type", None), ("type", "not a URI"), ("status", "404"), ("status", 410), ("title", 1), ("detail", None),
                        ("code", "gone"), ("request_id", "?")]:
        yield f"problem, {name}: {value}", verdicts.body(document, with_member(problem, name, value))
    for name, value in [("participants", None), ("total_records", "1"), ("meeting_id", "x"), ("fetched_at", 5)]:
        yield f"snapshot, {name}: {value}", verdicts.body(document, with_member(hit, name, value))
    yield "RFC 9457, type: no URI", verdicts.schema_errors("control", verdicts.RFC_9457, {"type": "no URI"})
    yield "RFC 9457, status: '404'", verdicts.schema_errors("control", verdicts.RFC_9457, {"status": "404"})
    plain = with_header(problem, "Content-Type", "application/json")
    yield "problem, as application/json", verdicts.body(document, plain)
    yield "status, not described", verdicts.body(document, dataclasses.replace(problem, status=418))
    for answer, name, value in [(hit, "X-Request-Id", None), (hit, "Age", "-1"), (hit, "Vary", "*"), (kept["405"], "Allow", None),
                                (refused, "Retry-After", "0"), (problem, "Cache-Control", "max-age=5")]:
        yield f"headers, {name}: {value}", verdicts.headers(document, with_header(answer, name, value))
    without_info = copy.deepcopy(document)
    del without_info["info"]
    yield "description without info", verdicts.description(without_info)
    untyped = copy.deepcopy(document)
    answers = untyped["paths"]["/qos/{meetingId}"]["get"]["responses"]
    answers["410"]["content"]["application/problem+json"]["examples"]["meeting_too_old"]["value"]["status"] = "410"
    yield "description with a wrong example", verdicts.description(untyped)
