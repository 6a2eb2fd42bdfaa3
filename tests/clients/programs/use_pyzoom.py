"""pyzoom: the API's address is an option of its client. The user fetches the token."""

import logging

from protocol import access_token, path, query, serve
from pyzoom import ZoomClient

# pyzoom logs each error with the answer's body.
logging.disable()


class Pyzoom:
    def __init__(self, session):
        self.client = ZoomClient(access_token(session), base_url=session["api"])

    def page(self, step, token):
        return self.client.raw.get(path(step), query(step, token)).json()

    def one(self, step):
        return self.client.raw.get(path(step), query(step)).json()

    def merged(self, step):
        """pyzoom's own pager, which sends only the token after the first page, and returns one page with all rows."""
        return self.client.raw.get_all_pages(path({**step, "do": "list"}), query(step))

    def meetings(self, _step):
        """A method for another path of Zoom's API."""
        return self.client.meetings.list_meetings().dict()


serve(Pyzoom)
