"""Checks captured answers with other projects' code. A check returns findings, as sentences; no finding means success."""

import json
import pathlib
import re

import http_sfv
import jsonschema_rs
from httplint import HttpRequestLinter, HttpResponseLinter, levels
from openapi_spec_validator import OpenAPIV31SpecValidator

RFC_9457 = json.loads(pathlib.Path(__file__).with_name("rfc9457.schema.json").read_text())
DIALECT = "https://json-schema.org/draft/2020-12/schema"

# Notes of httplint's levels warn and bad are findings. For example, httplint only warns about an unquoted entity tag. ALLOWED has
# httplint's wrong notes about our answers: the note's class, the kinds of answers (a pattern), and the reason.
FINDINGS = (levels.WARN, levels.BAD)
ALLOWED = [
    ("STATUS_BAD_REQUEST", "400 .*", "it says of every 400 that it is one; these are meant to be"),
    ("VARY_COMPLEX", "200 with (a key|another header)", "a key, a media type and a coding select the response"),
]


def allowed(kind, note):
    return any(re.fullmatch(kinds, kind) and type(note).__name__ == name for name, kinds, _reason in ALLOWED)


def lint(kind, answer, notes=None):
    """Runs httplint on a request and its answer."""
    request = HttpRequestLinter(start_time=answer.at)
    request.process_request_topline(answer.method.encode(), answer.target.encode(), b"1.1")
    sent = [("Host", "service"), ("User-Agent", "conformance"), *answer.asked]
    request.process_headers([(name.encode(), value.encode()) for name, value in sent])
    request.finish_content(True)
    response = HttpResponseLinter(start_time=answer.at)
    response.is_head_response = answer.method == "HEAD"
    response.request = request
    response.process_response_topline(answer.version, str(answer.status).encode(), answer.reason)
    response.process_headers(answer.headers)
    response.feed_content(answer.body)
    response.finish_content(True)
    findings = []
    for note in with_children(response.notes):
        if notes is not None:
            notes.add((note.level.name, type(note).__name__))
        if note.level in FINDINGS and not allowed(kind, note):
            findings.append(f"httplint: {note.summary} ({type(note).__name__}, {note.subject})")
    return findings


def with_children(notes):
    for note in notes:
        yield note
        yield from with_children(note.subnotes)


def cache_status(answer):
    """RFC 9211: a list of caches, here of one, with consistent parameters."""
    field = answer.header("Cache-Status")
    if field is None:
        is_meeting = answer.target.startswith("/qos/") and answer.status in (200, 304)
        return ["Cache-Status is missing"] if is_meeting else []
    members = http_sfv.List()
    try:
        members.parse(field.encode("latin-1"))
    except ValueError as error:
        return [f"http_sfv: Cache-Status {field!r}: {error}"]
    if len(members) != 1 or not isinstance(members[0], http_sfv.Item):
        return [f"Cache-Status {field!r}: one cache answers here"]
    told = dict(members[0].params)
    wrong = []
    if members[0].value != http_sfv.Token("zoom-qos-proxy"):
        wrong.append("another cache's name")
    forms = {
        "hit": lambda value: value is True,
        "fwd": lambda value: isinstance(value, http_sfv.Token) and str(value) in ("uri-miss", "stale", "request"),
        "fwd-status": lambda value: value == 200,
        "ttl": lambda value: type(value) is int,
        "stored": lambda value: value is True,
        "collapsed": lambda value: value is True,
        "detail": lambda value: isinstance(value, http_sfv.Token),
    }
    for name, value in told.items():
        if name not in forms or not forms[name](value):
            wrong.append(f"{name}={value!r}")
    if ("hit" in told) == ("fwd" in told):
        wrong.append("either a hit or forwarded")
    if "hit" in told and not told.keys() <= {"hit", "ttl", "detail"}:
        wrong.append("a hit is neither forwarded nor stored")
    if told.get("ttl", 0) >= 0 and "detail" in told:
        wrong.append("a fresh hit has no detail")
    return [f"Cache-Status {field!r}: {what}" for what in wrong]


def rate_limits(answer):
    """draft-ietf-httpapi-ratelimit-headers-11: two lists of strings with integers; each limit belongs to a listed policy."""
    forms = {"RateLimit-Policy": ({"q", "w"}, {"q"}), "RateLimit": ({"r", "t"}, {"r"})}
    names, wrong = {}, []
    for field, (known, needed) in forms.items():
        text = answer.header(field)
        if text is None:
            continue
        members = http_sfv.List()
        try:
            members.parse(text.encode("latin-1"))
        except ValueError as error:
            return [f"http_sfv: {field} {text!r}: {error}"]
        if not all(isinstance(member, http_sfv.Item) for member in members):
            return [f"{field} {text!r}: a list in the list"]
        names[field] = [member.value for member in members]
        for member in members:
            told = dict(member.params)
            if type(member.value) is not str or not needed <= told.keys() <= known:
                wrong.append(f"{field} {text!r}: {member}")
            if any(type(value) is not int or value < 0 for value in told.values()):
                wrong.append(f"{field} {text!r}: no count or time")
        if len(set(names[field])) != len(names[field]):
            wrong.append(f"{field} {text!r}: a policy twice")
    if len(names) == 1:
        wrong.append(f"only {list(names)[0]}")
    if not set(names.get("RateLimit", [])) <= set(names.get("RateLimit-Policy", [])):
        wrong.append("RateLimit of an unknown policy")
    return wrong


def schema_errors(what, schema, value):
    errors = jsonschema_rs.Draft202012Validator(schema, validate_formats=True).iter_errors(value)
    return [f"{what}: {list(error.instance_path)}: {error.message[:300]}" for error in errors]


def with_components(document, schema):
    """A schema of the description, with all components, to which it may refer."""
    return {"$schema": DIALECT, "components": document["components"], "allOf": [schema]}


def responses(document, answer):
    """The description's response for this request; None for the ops listener and for unknown paths."""
    path = answer.target.partition("?")[0]
    described = path
    if path.startswith("/qos/"):
        described = "/qos/{meetingId}/summary" if path.endswith("/summary") else "/qos/{meetingId}"
    operations = document["paths"].get(described)
    # The answer to another method is described at GET: a resource has one 405.
    return operations and operations.get(answer.method.lower(), operations["get"])["responses"]


def body(document, answer):
    """Checks a problem by the RFC's own schema, and any JSON by the description's."""
    if not answer.body:
        return []
    media_type, findings = answer.header("Content-Type"), []
    if media_type == "application/problem+json":
        findings += schema_errors("RFC 9457", RFC_9457, answer.json())
        if answer.json().get("status") != answer.status:
            findings.append("RFC 9457: status is not the status")
    elif answer.status >= 400 and "/readyz" not in answer.target:
        findings.append(f"an error as {media_type}")
    described = responses(document, answer)
    if described is None:
        return findings
    if str(answer.status) not in described:
        return [*findings, f"{answer.status} is not described"]
    content = described[str(answer.status)].get("content", {})
    if media_type not in content:
        return [*findings, f"{media_type} is not described for {answer.status}"]
    schema = with_components(document, content[media_type]["schema"])
    return findings + schema_errors("description", schema, answer.json())


def headers(document, answer):
    """Checks each header by its schema in the description, and that required ones are present."""
    described = responses(document, answer)
    if described is None or str(answer.status) not in described:
        return []
    findings = []
    for name, reference in described[str(answer.status)].get("headers", {}).items():
        header = document["components"]["headers"][reference["$ref"].rsplit("/", 1)[1]]
        value = answer.header(name)
        if value is None:
            findings += [f"{name} is missing"] if header.get("required") else []
            continue
        if header["schema"].get("type") == "integer" and re.fullmatch("[0-9]+", value):
            value = int(value)
        findings += schema_errors(name, header["schema"], value)
    return findings


def description(document):
    """Checks the description by OpenAPI's own schema, and its example problems by the RFC's."""
    findings = [f"OpenAPI 3.1: {error.json_path}: {error.message}" for error in OpenAPIV31SpecValidator(document).iter_errors()]
    for status, answer in document["paths"]["/qos/{meetingId}"]["get"]["responses"].items():
        for media_type, content in answer.get("content", {}).items():
            for name, example in content.get("examples", {}).items():
                what = f"example {name} of {status} {media_type}"
                findings += schema_errors(what, RFC_9457, example["value"])
                findings += schema_errors(what, with_components(document, content["schema"]), example["value"])
    return findings


def described_codes(document):
    """Every code of the description, with its status."""
    known = {}
    for path in document["paths"].values():
        # Zoom's own paths describe Zoom's errors instead, and one of them has no GET.
        for status, answer in path.get("get", {"responses": {}})["responses"].items():
            problem = answer.get("content", {}).get("application/problem+json")
            for code in problem["schema"]["properties"]["code"]["enum"] if problem else []:
                known[code] = int(status)
    return known


def check(kind, answer, document, notes):
    """All checks of one answer."""
    fields = [*cache_status(answer), *rate_limits(answer)]
    return [*lint(kind, answer, notes), *fields, *body(document, answer), *headers(document, answer)]
