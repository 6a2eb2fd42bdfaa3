"""Prints the number and the sum of each meeting's latencies, read with the client that openapi-python-client generates."""

import json
import sys

from qos_client import AuthenticatedClient
from qos_client.api.default import get_meeting_qos
from qos_client.models import GetMeetingQosType, Measurements, Snapshot
from qos_client.types import Unset

WAYS = ["input", "output", "device_from_crc", "device_to_crc", "device_from_rwg", "device_to_rwg"]
GROUPS = [f"{medium}_{way}" for medium in ("audio", "video", "as") for way in WAYS]


def latencies(snapshot):
    for participant in snapshot.participants:
        for sample in participant.user_qos or []:
            for group in (getattr(sample, name) for name in GROUPS):
                if isinstance(group, Measurements) and not isinstance(group.latency_ms, (Unset, type(None))):
                    yield group.latency_ms


base_url, key, *meetings = sys.argv[1:]
client, sums = AuthenticatedClient(base_url, token=key), {}
for meeting in meetings:
    snapshot = get_meeting_qos.sync(meeting, client=client, type_=GetMeetingQosType.PAST)
    if not isinstance(snapshot, Snapshot):
        sys.exit(f"{meeting}: {snapshot}")
    found = list(latencies(snapshot))
    sums[meeting] = [len(found), sum(found)]
print(json.dumps(sums))
