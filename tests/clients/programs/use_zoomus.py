"""zoomus: both addresses are options of its client. It encodes ids itself, and returns errors as answers."""

from protocol import Refused, query, serve
from zoomus import ZoomClient


def json_of(answer):
    if answer.status_code != 200:
        limit = answer.headers.get("X-RateLimit-Type")
        raise Refused({"status": answer.status_code, "body": answer.json(), "limit": limit})
    return answer.json()


class Zoomus:
    def __init__(self, session):
        self.metric = ZoomClient(
            session["id"], session["secret"], session["account"], base_uri=session["api"], oauth_uri=session["token_url"]
        ).metric

    def page(self, step, token):
        return json_of(self.metric.list_participants_qos(meeting_id=step["id"], **query(step, token)))

    def one(self, step):
        which = {"meeting_id": step["id"], "participant_id": step["participant"]}
        return json_of(self.metric.get_participant_qos(**which, **query(step)))


serve(Zoomus)
