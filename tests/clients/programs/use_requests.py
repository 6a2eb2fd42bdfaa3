"""requests with urllib3's Retry, a common combination in Python. It waits until the time of `Retry-After`."""

import requests
from protocol import access_token, path, query, serve
from requests.adapters import HTTPAdapter
from urllib3.util import Retry


class Requests:
    def __init__(self, session):
        self.api, self.headers = session["api"], {"Authorization": f"Bearer {access_token(session)}"}

    def patient(self, step):
        with requests.Session() as session:
            session.mount("http://", HTTPAdapter(max_retries=Retry(2, status_forcelist=[429])))
            url = self.api + path({**step, "do": "list"})
            answer = session.get(url, params=query(step), headers=self.headers, timeout=30)
        answer.raise_for_status()
        return answer.json()


serve(Requests)
