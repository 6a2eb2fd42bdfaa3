"""An in-memory Kubernetes API server that supports `helm install`, `upgrade`, `rollback` and `uninstall`, so that tests see
what Helm itself does with the chart. There are no controllers: `run_jobs` is called for each Job and returns whether it succeeds.
"""

import base64
import copy
import http.server
import json
import re
import threading
import urllib.parse

# (group and version, kind, resource)
KINDS = [
    ("v1", "ConfigMap", "configmaps"),
    ("v1", "Secret", "secrets"),
    ("v1", "Service", "services"),
    ("v1", "ServiceAccount", "serviceaccounts"),
    ("v1", "Pod", "pods"),
    ("apps/v1", "Deployment", "deployments"),
    ("apps/v1", "StatefulSet", "statefulsets"),
    ("batch/v1", "Job", "jobs"),
    ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
    ("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    ("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
]
RESOURCE = re.compile(r"/(?:api|apis)/(?P<version>.+)/namespaces/[^/]+/(?P<resource>[a-z]+)(?:/(?P<name>[^/]+))?$")


def patched(target, patch):
    """A strategic merge: maps by key, lists of maps by `name`, other lists replaced."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        if value is None:
            result.pop(key, None)
        elif isinstance(value, list) and value and all(isinstance(each, dict) and "name" in each for each in value):
            gone = {each["name"] for each in value if each.get("$patch") == "delete"}
            items = {each["name"]: each for each in result.get(key, []) if each["name"] not in gone}
            for each in value:
                if each["name"] not in gone:
                    items[each["name"]] = patched(items.get(each["name"], {}), each)
            result[key] = list(items.values())
        else:
            result[key] = patched(result.get(key), value)
    return result


def fields(message):
    """Yields (field number, bytes) for each length-delimited field of a protobuf message."""
    at = 0

    def varint():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        tag = varint()
        length = varint()
        if tag & 7 == 2:
            yield tag >> 3, message[at:at + length]
            at += length


def secret_of(message):
    """Parses one of Helm's own records, which it sends in protobuf: a runtime.Unknown with a v1.Secret in field 2."""
    secret = {"metadata": {"labels": {}}, "data": {}}
    for number, value in fields(dict(fields(message[4:]))[2]):
        if number == 1:
            for inner, text in fields(value):
                if inner == 1:
                    secret["metadata"]["name"] = text.decode()
                if inner == 11:
                    label = dict(fields(text))
                    secret["metadata"]["labels"][label[1].decode()] = label[2].decode()
        if number == 2:
            entry = dict(fields(value))
            secret["data"][entry[1].decode()] = base64.b64encode(entry[2]).decode()
        if number == 3:
            secret["type"] = value.decode()
    return secret


class Api(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, run_jobs=lambda job: True):
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects = {}
        self.generation = 0
        self.scaled = set()
        self.run_jobs = run_jobs
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def kubeconfig(self):
        url = f"http://127.0.0.1:{self.server_port}"
        return json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        })

    def names(self, kind):
        """The names of all objects of a kind, without Helm's own records."""
        return {
            each["metadata"]["name"] for each in self.objects.values()
            if each["kind"] == kind and each.get("type") != "helm.sh/release.v1"
        }

    def get(self, kind, name):
        [found] = [each for each in self.objects.values() if (each["kind"], each["metadata"]["name"]) == (kind, name)]
        return found

    def scale(self, kind, name, replicas):
        """Sets the replicas as an autoscaler does. After that, a server-side apply with another number is a conflict."""
        self.get(kind, name)["spec"]["replicas"] = replicas
        self.scaled.add((kind, name))

    def stored(self, key, kind, version, body):
        self.generation += 1
        body = {**body, "kind": kind, "apiVersion": version}
        body["metadata"] = {**body["metadata"], "generation": self.generation, "resourceVersion": str(self.generation), "uid": key[-1]}
        if kind == "Job":
            done = "Complete" if self.run_jobs(body) else "Failed"
            body["status"] = {"conditions": [{"type": done, "status": "True", "reason": "test"}], "succeeded": 1}
        self.objects[key] = body
        return body


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body are two packets. With Nagle's algorithm, the body would wait 40 ms for the acknowledgement of the head.
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def answer(self, body, status=200):
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def missing(self, reason="NotFound", status=404):
        self.answer({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": status}, status)

    def handle_request(self):
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.command == "DELETE" or not body:
            body = None
        else:
            body = secret_of(body) if body.startswith(b"k8s\0") else json.loads(body)
        groups = {version for version, _, _ in KINDS}
        if path == "/version":
            return self.answer({"major": "1", "minor": "36", "gitVersion": "v1.36.0"})
        if path == "/openapi/v2":
            # A protobuf document without a schema: Helm then validates nothing; test_kubernetes.py does.
            return self.answer(b"")
        if path == "/api":
            return self.answer({"kind": "APIVersions", "versions": ["v1"]})
        if path == "/apis":
            grouped = [
                {"name": each.split("/")[0], "versions": [{"groupVersion": each, "version": each.split("/")[1]}],
                 "preferredVersion": {"groupVersion": each, "version": each.split("/")[1]}}
                for each in sorted(groups) if "/" in each
            ]
            return self.answer({"kind": "APIGroupList", "apiVersion": "v1", "groups": grouped})
        version = path.split("/", 2)[2] if path.count("/") >= 2 else ""
        if version in groups:
            resources = [
                {"name": resource, "singularName": "", "namespaced": True, "kind": kind, "verbs": ["get", "list", "create", "update", "patch", "delete"]}
                for each, kind, resource in KINDS if each == version
            ]
            return self.answer({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources})
        if not (found := RESOURCE.match(path)):
            return self.missing()
        [kind] = [kind for each, kind, resource in KINDS if (each, resource) == (found["version"], found["resource"])]
        return self.on_object(kind, found["version"], found["name"], urllib.parse.parse_qs(query), body)

    def on_object(self, kind, version, name, query, body):
        api, key = self.server, (kind, name or (body or {}).get("metadata", {}).get("name"))
        if self.command == "POST":
            if key in api.objects:
                return self.missing("AlreadyExists", 409)
            return self.answer(api.stored(key, kind, version, body), 201)
        if name is None:
            wanted = [each.split("=", 1) for each in query.get("labelSelector", [""])[0].split(",") if "=" in each]
            wanted += [("name", each.split("=")[1]) for each in query.get("fieldSelector", []) if each.startswith("metadata.name")]
            items = [
                each for (each_kind, _), each in api.objects.items() if each_kind == kind and all(
                    {"name": each["metadata"]["name"], **each["metadata"].get("labels", {})}.get(label) == value if label == "name"
                    and not query.get("labelSelector") else each["metadata"].get("labels", {}).get(label) == value
                    for label, value in wanted)
            ]
            return self.answer({"kind": f"{kind}List", "apiVersion": version, "metadata": {"resourceVersion": "1"}, "items": items})
        live = api.objects.get(key)
        applied = self.headers.get("Content-Type") == "application/apply-patch+yaml"
        if live is None and not applied:
            return self.missing()
        if self.command == "GET":
            return self.answer(live)
        if self.command == "DELETE":
            return self.answer(api.objects.pop(key))
        if applied:
            # Server-side apply: Helm owns every field except the status, so a field that it no longer sends is removed.
            body |= {"status": live["status"]} if live and "status" in live else {}
            if key in api.scaled and body["spec"].setdefault("replicas", live["spec"]["replicas"]) != live["spec"]["replicas"]:
                return self.missing("Conflict", 409)
        elif self.command == "PATCH":
            body = patched(live, body)
        if live and live.get("immutable") and live["data"] != body["data"]:
            return self.missing("Invalid", 422)
        return self.answer(api.stored(key, kind, version, body), 200 if live else 201)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_request
