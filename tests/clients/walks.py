"""Each client walks the same meetings directly and through the service: the results must be the same, without extra calls."""

import dataclasses

import schemas
from scene import BIG, EXAMPLE, LARGEST, SIZES, SMALL, UUIDS, WEBINAR, documented, once, together, twice

# The service does not promise these keys.
NOT_COMPARED = {"meeting_number", "webinar_number"}


@dataclasses.dataclass
class Step:
    """One step of a client, and what is special about it."""

    name: str
    meeting: str
    step: dict
    # Zoom refuses what the client sends, but the service answers it.
    zoom_refuses: bool = False
    # Only the rows are compared, not the pages: Zoom has no pages of this size, or the client joins them.
    rows_only: bool = False

    @property
    def size(self):
        return self.step.get("page_size") or 1


def listed(name, identifier, spelling, size=None, meeting_type="live", kind="meetings", more=None, **special):
    step = {"do": "list", "kind": kind, "id": spelling(identifier), "type": meeting_type, "page_size": size}
    return Step(name, identifier, {**step, **(more or {})}, **special)


def single(name, identifier, spelling, participant, kind="meetings"):
    step = {"do": "one", "kind": kind, "id": spelling(identifier), "participant": participant, "type": "past"}
    return Step(name, identifier, step)


def raw(identifier):
    return identifier


def steps(client, reference):
    """The steps of one client."""
    # zoomus encodes ids itself, but leaves a slash inside an id as it is. Zoom knows no path with such a slash.
    is_zoomus = client == "zoomus"
    spelling = raw if is_zoomus else documented
    yield listed("pages of ten", BIG, spelling, LARGEST, "past")
    yield listed("pages of one, without a size", SMALL, spelling)
    yield listed("the documented example", EXAMPLE, spelling, LARGEST)
    yield listed("pages larger than Zoom's", BIG, spelling, 300, "past", rows_only=True)
    for name, uuid in UUIDS.items():
        refused = is_zoomus and name == "a slash inside"
        yield listed(f"a UUID with {name}", uuid, spelling, LARGEST, "past", zoom_refuses=refused)
        if not is_zoomus:
            yield listed(f"a raw UUID with {name}", uuid, raw, LARGEST, "past", zoom_refuses="/" in uuid)
    row = reference.rows("meetings", BIG, "past")[17]
    for key in ("user_id", "id", "participant_uuid"):
        yield single(f"a participant by {key}", BIG, spelling, row[key])
    slashes = UUIDS["a slash first"]
    row = reference.rows("meetings", slashes, "past")[2]
    yield single("a participant of a UUID", slashes, spelling, row["user_id"])
    if not is_zoomus:
        plain = UUIDS["plus and equals"]
        yield listed("a UUID encoded twice without need", plain, twice, LARGEST, "past", zoom_refuses=True)
        yield listed("a UUID encoded once too few", slashes, once, LARGEST, "past", zoom_refuses=True)
        yield listed("a webinar", WEBINAR, spelling, 5, "past", "webinars")
        row = reference.rows("webinars", WEBINAR, "past")[7]
        yield single("a webinar's participant", WEBINAR, spelling, row["id"], "webinars")
    if client in ("zoom-python-client", "curl", "newman"):
        # The simulated tokens contain `+`, which means a space in a query.
        more = {"unescaped": True}
        yield listed("tokens that are not encoded", BIG, spelling, 7, "past", more=more, zoom_refuses=True)
    if client == "pyzoom":
        more = {"do": "merged"}
        yield listed("its own pager", SMALL, spelling, more=more, rows_only=True)
        # Zoom binds a token to the type and size that pyzoom's pager leaves out.
        yield listed("its own pager with sizes", BIG, spelling, LARGEST, "past", more=more, zoom_refuses=True, rows_only=True)


def comparable(page):
    """A page or participant without what may differ: tokens, whose presence alone counts, and numbers that are not promised."""
    page = {key: value for key, value in page.items() if key not in NOT_COMPARED}
    if "next_page_token" in page:
        page["next_page_token"] = page["next_page_token"] != ""
    return page


def rows_of(pages):
    return [row for page in pages for row in page["participants"]]


def expected_pages(step, reference):
    asked = step.step
    if asked["do"] == "one":
        rows = reference.rows(asked["kind"], step.meeting, asked["type"])
        ids = ("user_id", "id", "participant_uuid")
        return [row for row in rows if asked["participant"] in [row[key] for key in ids]]
    return reference.pages(asked["kind"], step.meeting, asked["type"], step.size)


def differences(step, outcome, reference):
    """The first difference between an outcome and Zoom's pages; empty if there is none."""
    if outcome["refused"]:
        return f"refused: {outcome['refused']}"
    if step.rows_only:
        found, right = rows_of(outcome["pages"]), reference.rows(step.step["kind"], step.meeting, step.step["type"])
    else:
        found, right = [[comparable(page) for page in pages] for pages in (outcome["pages"], expected_pages(step, reference))]
    if len(found) != len(right):
        return f"{len(found)} pages or rows instead of {len(right)}"
    for index, (one, other) in enumerate(zip(found, right)):
        if one != other:
            return f"page or row {index} differs: {first_difference(one, other)}"
    return ""


def first_difference(one, other, at=""):
    """The first place at which two JSON values differ."""
    if one == other:
        return ""
    pairs = []
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        pairs = [(key, one[key], other[key]) for key in one]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = [(index, *pair) for index, pair in enumerate(zip(one, other))]
    inside = [found for key, *values in pairs if (found := first_difference(*values, f"{at}/{key}"))]
    return inside[0] if inside else f"{at}: {str(one)[:200]} instead of {str(other)[:200]}"


def check(scene, client):
    """The findings about one client."""
    planned = list(steps(client, scene.reference))
    session = {"steps": [step.step for step in planned]}
    scene.forget()
    direct, through = together(
        lambda: scene.run(client, [{**scene.directly(), **session}])[0],
        lambda: scene.run(client, [{**scene.through(client), **session}])[0],
    )
    for step, straight, served in zip(planned, direct, through):
        where = f"{client}, {step.name}"
        found = differences(step, straight, scene.reference)
        if step.zoom_refuses and not straight["refused"]:
            yield f"{where}: Zoom does not refuse it any more"
        if not step.zoom_refuses and found:
            yield f"{where}, directly: {found}"
        if found := differences(step, served, scene.reference):
            yield f"{where}, through the service: {found}"
        for how, outcome in (("directly", straight), ("through the service", served)):
            errors = [error for page in outcome["pages"] for error in schemas.errors(step.step, page)]
            if errors:
                yield f"{where}, {how}: {len(errors)} times not as in Zoom's schema, first {errors[0]}"
    fetched = {(step.step["kind"], step.meeting, step.step["type"]) for step in planned}
    pages = sum(-(-SIZES[meeting] // LARGEST) for _, meeting, _ in fetched)
    if (calls := len(scene.behind.calls())) != pages:
        yield f"{client}: {calls} calls to Zoom behind the service instead of {pages}, one for ten participants"
    again = scene.run(client, [{**scene.through(client), **session}])[0]
    if [comparable_outcome(outcome) for outcome in again] != [comparable_outcome(outcome) for outcome in through]:
        yield f"{client}: a second walk has other results"
    if (calls := len(scene.behind.calls())) != pages:
        yield f"{client}: {calls - pages} calls to Zoom in a second walk, which has everything in the cache"


def comparable_outcome(outcome):
    return [comparable(page) for page in outcome["pages"]], outcome["refused"]
