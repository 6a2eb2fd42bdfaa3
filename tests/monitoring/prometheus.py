"""A real Prometheus on a free port, and promtool. Uses only local addresses, and ends every process that it starts."""

import contextlib
import http.client
import json
import math
import pathlib
import re
import socket
import subprocess
import urllib.parse

from processes import PATIENCE, until


class Prometheus:
    """Scrapes the targets and evaluates the rules every second."""

    def __init__(self, binary, folder, rules, targets):
        folder = pathlib.Path(folder)
        configuration = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": addresses}]} for job, addresses in targets.items()
            ],
        }
        (folder / "prometheus.json").write_text(json.dumps(configuration))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.output = open(folder / "prometheus.log", "w+")  # closed in stop()
        self.child = subprocess.Popen(
            [
                binary,
                f"--config.file={folder / 'prometheus.json'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )
        until(self._is_ready, "Prometheus is ready")

    def _is_ready(self):
        if self.child.poll() is not None:
            self.output.seek(0)
            raise AssertionError(f"Prometheus ended early: {self.output.read()}")
        with contextlib.suppress(OSError):
            return self._get("/-/ready")[0] == 200
        return False

    def _get(self, target):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", target)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def api(self, what, **parameters):
        query = urllib.parse.urlencode(parameters)
        status, body = self._get(f"/api/v1/{what}?{query}")
        answer = json.loads(body)
        if answer["status"] != "success":
            raise AssertionError(f"{what} {parameters}: {status} {answer.get('error')}")
        return answer["data"]

    def numbers(self, expression):
        """The current value of an expression: pairs of labels and a finite number. Series with NaN or infinity are left out."""
        result = self.api("query", query=expression)["result"]
        values = [(series["metric"], float(series["value"][1])) for series in result]
        return [(labels, value) for labels, value in values if math.isfinite(value)]

    def stop(self):
        self.child.terminate()
        self.child.wait(PATIENCE)
        self.output.close()


def unit_tests(promtool, rules, tests, folder):
    """Runs the unit tests with these rules: an empty string if they pass, else promtool's output."""
    folder = pathlib.Path(folder)
    (folder / "rules.json").write_text(json.dumps(rules))
    text, replaced = re.subn(r"(?m)^  - .*/rules\.yaml$", "  - rules.json", tests)
    if replaced != 1:
        raise AssertionError("alerts.test.yaml names no rules.yaml, or more than one")
    (folder / "alerts.test.yaml").write_text(text)
    ended = subprocess.run([promtool, "test", "rules", "alerts.test.yaml"], cwd=folder, capture_output=True, text=True)
    return "" if ended.returncode == 0 else ended.stdout + ended.stderr
