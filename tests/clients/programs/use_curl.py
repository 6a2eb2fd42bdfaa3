"""curl, with the lines of Zoom's documentation."""

import base64
import json
import subprocess
from urllib.parse import quote, urlencode

from protocol import Refused, path, query, serve


def curl(*arguments):
    """The status and the body. Settings of the machine have no effect: neither its .curlrc nor its proxies."""
    command = ["curl", "--disable", "--silent", "--show-error", "--noproxy", "*", "--write-out", "\n%{http_code}", *arguments]
    body, _, status = subprocess.run(command, capture_output=True, text=True, check=True).stdout.rpartition("\n")
    return int(status), body


class Curl:
    def __init__(self, session):
        self.session = session
        self.token = session.get("access_token") or self.fetch_token()

    def fetch_token(self):
        pair = base64.b64encode(f"{self.session['id']}:{self.session['secret']}".encode()).decode()
        status, body = curl(
            "-X", "POST", "-H", f"Authorization: Basic {pair}", self.session["token_url"],
            "-d", "grant_type=account_credentials", "-d", f"account_id={self.session['account']}",
        )
        if status != 200:
            raise PermissionError(body)
        return json.loads(body)["access_token"]

    def get(self, step, token=None, *options):
        values = query(step)
        text = urlencode(values)
        if token:
            text += "&next_page_token=" + (token if step.get("unescaped") else quote(token, safe=""))
        url = f"{self.session['api']}{path(step)}?{text}"
        status, body = curl("--request", "GET", "--url", url, "--header", f"Authorization: Bearer {self.token}", *options)
        if status != 200:
            raise Refused({"status": status, "body": json.loads(body)})
        return json.loads(body)

    def page(self, step, token):
        return self.get(step, token)

    def one(self, step):
        return self.get(step)

    def patient(self, step):
        """The first page, by a curl that waits as `Retry-After` says."""
        return self.get({**step, "do": "list"}, None, "--fail", "--retry", "2")


serve(Curl)
