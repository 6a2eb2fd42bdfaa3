"""How each client understands errors: what it raises, and whether it waits, must be the same directly and through the service.

Limits and caller settings cause the 429s of the service, and faults cause those of the simulator.
"""

from processes import Service, Sim
from scene import BIG, PER_DAY, PER_SECOND, SMALL, TOO_OLD, UNKNOWN, WEBINAR, together

# The `Retry-After` of every refusal in `sessions` is longer, so a client that waits for it is noticed.
AT_ONCE_SECONDS = 10
# The `Retry-After`, in seconds, of refusals that clients retry.
WAIT_SECONDS = 3
WRONG = "a-wrong-token"
ID_OF_NOBODY = "1"
# The calls to Zoom that the service makes for one client: one each for the unknown, the small and the old meeting and the
# webinar's id, and three for the big meeting.
CALLS = 7


def step(identifier, **more):
    return {"do": "list", "kind": "meetings", "id": identifier, "type": "past", "page_size": 10, **more}


def sessions(scene, client, base, minute, spent):
    """Pairs of the names of steps and a session. `minute` is for a caller with a limit, `spent` for a service without calls left."""
    errors = {
        "404, no such meeting": step(UNKNOWN),
        "404, no such participant": step(SMALL, do="one", participant=ID_OF_NOBODY),
        "400/300, a page token that does not exist": step(SMALL, token="nonsense"),
        "400/300, a webinar's id": step(WEBINAR),
        "400/12702, an old meeting": step(TOO_OLD),
    }
    if client == "pyzoom":
        errors["404/2300, another path"] = step("", do="meetings")
    yield list(errors), {**base, "steps": list(errors.values())}
    # Clients that fetch a new token after a 401 get the same error again, because the credentials are also wrong.
    wrong = {"access_token": WRONG, "secret": "wrong"}
    yield ["401, a wrong token"], {**base, **wrong, "steps": [step(SMALL)]}
    yield ["401, wrong credentials"], {**base, "secret": "wrong", "steps": [step(SMALL)]}
    yield ["429, an allowed call", "429, too many a second"], {**minute, "steps": [step(BIG), step(PER_SECOND)]}
    yield ["429, too many a day"], {**spent, "steps": [step(PER_DAY)]}
    if client == "zoom-python-client":
        yield ["401 in the life of a token"], {**base, "access_token": WRONG, "steps": [step(SMALL)]}


def check(scene, client):
    """The findings about one client."""
    scene.spend()
    scene.forget()
    base = scene.directly()
    names, straight = zip(*sessions(scene, client, base, base, base))
    minute, spent = scene.through(f"{client}-minute"), scene.through("anybody", scene.spent)
    _, served = zip(*sessions(scene, client, scene.through(client), minute, spent))
    direct, through = together(
        lambda: scene.run(client, list(straight)), lambda: scene.run(client, list(served))
    )
    if (calls := len(scene.behind.calls())) != CALLS:
        yield f"{client}: errors cost {calls} calls to Zoom behind the service instead of {CALLS}"
    for group, ones, others in zip(names, direct, through):
        for name, one, other in zip(group, ones, others):
            where = f"{client}, {name}"
            if one["refused"] != other["refused"]:
                yield f"{where}: Zoom's is {one['refused']}, through the service it is {other['refused']}"
            succeeds = name in ("429, an allowed call", "401 in the life of a token")
            if bool(one["pages"]) != succeeds or bool(one["refused"]) == succeeds:
                yield f"{where}: directly {len(one['pages'])} pages and {one['refused']}"
            if len(one["pages"]) != len(other["pages"]):
                yield f"{where}: {len(other['pages'])} pages instead of {len(one['pages'])}"
            slow = [outcome["seconds"] for outcome in (one, other) if outcome["seconds"] > AT_ONCE_SECONDS]
            if slow:
                yield f"{where}: it waits {slow} s"


def patience(scene):
    """Clients that retry wait for the time of `Retry-After`, and get the page, both directly and through the service."""
    with Sim(scene.sim_binary) as zoom, Service(scene.service_binary, zoom, server__wait="1s") as service:
        for number, client in enumerate(("curl", "requests")):
            identifier = zoom.meeting(number)
            scene.direct.meeting(number)
            # The simulator sends `Retry-After` in seconds, which the service turns into a date.
            for sim in (zoom, scene.direct):
                sim.fault("rate_second", times=1, meeting=identifier, retry_after=str(WAIT_SECONDS), headers=True)
            steps = {"steps": [step(identifier, do="patient")]}
            direct, through = [
                lambda session=session: scene.run(client, [{**session, **steps}])[0][0]
                for session in (scene.directly(), scene.through("anybody", service))
            ]
            for where, outcome in zip(("directly", "through the service"), together(direct, through)):
                yield from (f"{client}, which retries, {where}: {found}" for found in impatience(outcome))


def impatience(outcome):
    if outcome["refused"] or len(outcome["pages"][0]["participants"]) != 3:
        yield outcome["refused"] or outcome["pages"]
    if not WAIT_SECONDS - 1 <= outcome["seconds"] <= AT_ONCE_SECONDS:
        yield f"it takes {outcome['seconds']:.1f} s, and Retry-After says {WAIT_SECONDS} s"
