"""A program that uses one client: it reads sessions as JSON from its standard input, and writes their outcomes as JSON.

A session has the addresses, the credentials, and steps. A step walks all pages (`list`), reads one participant (`one`), or names
another method of the program's client, such as `merged` or `patient`. The outcome of a step has `pages`, `refused` (null unless
the client reported an error), and `seconds`.
"""

import json
import sys
import time

import requests

# More pages than any walk here has.
MOST_PAGES = 100


class Refused(Exception):
    """An error that the client returns instead of raising it: everything that its user sees."""


def path(step):
    """The documented path, with the id spelled as the step says."""
    if step["do"] == "one":
        return f"/metrics/{step['kind']}/{step['id']}/participants/{step['participant']}/qos"
    return f"/metrics/{step['kind']}/{step['id']}/participants/qos"


def query(step, token=None):
    """The documented query, without parameters that the step does not set."""
    values = {"type": step.get("type"), "page_size": step.get("page_size"), "next_page_token": token}
    return {key: value for key, value in values.items() if value}


def access_token(session):
    """An access token, for clients that expect one from their user."""
    if "access_token" in session:
        return session["access_token"]
    form = {"grant_type": "account_credentials", "account_id": session["account"]}
    answer = requests.post(session["token_url"], data=form, auth=(session["id"], session["secret"]), timeout=30)
    answer.raise_for_status()
    return answer.json()["access_token"]


def walk(page, step):
    """Yields all pages. `page(step, token)` reads one."""
    token = step.get("token")
    for _ in range(MOST_PAGES):
        found = page(step, token)
        yield found
        token = found.get("next_page_token")
        if not token:
            return
    raise AssertionError(f"more than {MOST_PAGES} pages")


def outcome(client, step):
    began, pages, refused = time.monotonic(), [], None
    try:
        if step["do"] == "list":
            pages.extend(page for page in walk(client.page, step))
        else:
            pages.append(getattr(client, step["do"])(step))
    except Refused as refusal:
        refused = refusal.args[0]
    except Exception as error:  # noqa: BLE001 the kind of error is a part of the outcome
        refused = {"raised": f"{type(error).__module__}.{type(error).__name__}", "text": str(error)}
    return {"pages": pages, "refused": refused, "seconds": time.monotonic() - began}


def serve(client_for):
    """Reads sessions from standard input, plays each with the client that `client_for(session)` makes, and writes the outcomes."""
    outcomes = []
    for session in json.load(sys.stdin):
        try:
            client = client_for(session)
        except Exception as error:  # noqa: BLE001 as above
            raised = {"raised": f"{type(error).__module__}.{type(error).__name__}", "text": str(error)}
            outcomes.append([{"pages": [], "refused": raised, "seconds": 0} for _ in session["steps"]])
            continue
        outcomes.append([outcome(client, step) for step in session["steps"]])
    json.dump(outcomes, sys.stdout)
