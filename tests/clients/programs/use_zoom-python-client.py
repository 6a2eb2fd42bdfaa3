"""zoom-python-client: the API's address is an option, the token endpoint's address is an attribute of a class.

It sends the parameters of a token request in the query. It does not encode query values, so its user must.
"""

import pathlib
import tempfile
import time
from urllib.parse import quote

from protocol import Refused, path, query, serve
from zoom_python_client.zoom_api_client import ZoomApiClient
from zoom_python_client.zoom_auth_api.zoom_auth_api_client import ZoomAuthApiClient


class ZoomPythonClient:
    def __init__(self, session):
        ZoomAuthApiClient.oauth_base_url = session["token_url"].removesuffix("/token")
        # Each session stores its token in its own folder. The environment would be shared by all sessions.
        self.store = tempfile.TemporaryDirectory()
        if "access_token" in session:
            pathlib.Path(self.store.name, "access_token").write_text(session["access_token"])
            pathlib.Path(self.store.name, "expire_seconds").write_text(str(int(time.time()) + 3599))
        self.client = ZoomApiClient(
            session["account"], session["id"], session["secret"], api_endpoint=session["api"], use_path=self.store.name
        )

    def get(self, step, values):
        answer = self.client.make_get_request(path(step), values)
        # Errors other than 401 become this empty answer.
        if answer.status_code is None:
            raise Refused({"status": None})
        return answer.json()

    def page(self, step, token):
        encoded = token if token is None or step.get("unescaped") else quote(token, safe="")
        return self.get(step, query(step, encoded))

    def one(self, step):
        return self.get(step, query(step))


serve(ZoomPythonClient)
