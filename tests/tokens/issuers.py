"""An issuer on loopback: its keys and its discovery document over HTTP."""

import http.server
import json
import threading
import time


class Issuer:
    """Serves JWK Sets. It can be slow, and it can go away and come back at the same address."""

    def __init__(self, keys):
        self.keys, self.delay, self.paths, self.server = keys, 0, [], None
        self.port = 0
        self.come_back()

    def come_back(self):
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.paths.append(self.path)
                time.sleep(issuer.delay)
                found = issuer.document(self.path)
                body = json.dumps(found).encode()
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def go_away(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def document(self, path):
        match path:
            case "/keys":
                return {"keys": self.keys}
            case "/.well-known/openid-configuration":
                return {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}

    def entry(self, name, *lines):
        return "\n".join(["[[issuer]]", f'name = "{name}"', f'url = "{self.url}"', 'audience = "zoom-qos-proxy"', *lines, ""])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.go_away()
