"""Presents signed tokens of other projects' libraries (PyJWT, joserfc) to the service. Issuers also change, fail or are slow.

    run.py SERVICE_BINARY SIM_BINARY

Exits with 0 without findings, else with 1. Uses only local addresses.
"""

import base64
import contextlib
import hashlib
import json
import pathlib
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "conformance/python"))

from issuers import Issuer  # noqa: E402
from minting import ALGORITHMS, Key, bad_tokens, claims_of  # noqa: E402
from processes import Service, Sim, ask, until  # noqa: E402

CALLER_KEY = "a-caller-key-of-the-test"
# Longer than the 5 s within which a changed file is read again.
FILE_SECONDS = 5.5
MANY = 1000


class Scene:
    """The processes, and the folder of the callers' files."""

    def __init__(self, service_binary, sim_binary):
        self.binary, self.running = service_binary, contextlib.ExitStack()
        self.folder = pathlib.Path(self.running.enter_context(tempfile.TemporaryDirectory()))
        self.sim = self.running.enter_context(Sim(sim_binary))
        self.path = f"/qos/{self.sim.meeting(1)}"
        self.files = 0

    @contextlib.contextmanager
    def service(self, *entries, callers=('name = "ann"\nsubject = "ann"',)):
        """A service with these issuers and callers, and one caller with a key."""
        self.files += 1
        path = self.folder / f"callers-{self.files}.toml"
        digest = hashlib.sha256(CALLER_KEY.encode()).hexdigest()
        all_callers = [*callers, f'name = "by-key"\nkey_sha256 = "{digest}"']
        path.write_text("".join([*entries, *(f"[[caller]]\n{caller}\n" for caller in all_callers)]))
        with Service(self.binary, self.sim, callers__file=str(path), cache__live_fresh="1h") as service:
            yield service
            if any("eyJ" in line for line in service.lines):
                raise AssertionError("a token is in the log")

    def get(self, service, token):
        return service.get(self.path, ("Authorization", f"Bearer {token}"))

    def becomes(self, service, token, status, within=10):
        """Whether the answer gets this status in time."""
        end = time.monotonic() + within
        while (found := self.get(service, token).status) != status and time.monotonic() < end:
            time.sleep(0.05)
        return found == status

    def jwks_file(self, name, keys):
        """Writes the keys to a file, which it replaces by a rename, as a mounted Secret changes."""
        path = self.folder / name
        following = path.with_suffix(".next")
        following.write_text(json.dumps({"keys": keys}))
        following.rename(path)
        return path


def leading_zero(jwk):
    """The modulus as some issuers write it, with a zero before its first byte."""
    modulus = base64.urlsafe_b64decode(jwk["n"] + "==")
    return {**jwk, "n": base64.urlsafe_b64encode(b"\0" + modulus).rstrip(b"=").decode()}


def algorithms(scene):
    """Every algorithm by both libraries, with the keys in a file, at a URL and behind discovery; and every bad token."""
    keys = {algorithm: Key(algorithm, f"kid-{algorithm}") for algorithm in ALGORITHMS}
    by_joserfc = [key.jwk_by_joserfc() for key in keys.values()]
    by_pyjwt = [key.jwk_by_pyjwt() for key in keys.values()]
    zeros = [leading_zero(jwk) if jwk["kty"] == "RSA" else jwk for jwk in by_pyjwt]
    with Issuer([]) as in_file, Issuer(zeros) as at_url, Issuer(by_joserfc) as discovered:
        issuers = {"file": in_file, "url": at_url, "discovery": discovered}
        path = scene.jwks_file("keys.json", by_joserfc)
        lines = {"file": [f'jwks_file = "{path}"'], "url": [f'jwks_url = "{at_url.url}/keys"'], "discovery": []}
        entries = [issuer.entry(name, *lines[name]) for name, issuer in issuers.items()]
        callers = [f'name = "ann-{name}"\nsubject = "ann"\nissuer = "{name}"' for name in issuers]
        with scene.service(*entries, callers=callers) as service:
            for name, issuer in issuers.items():
                for algorithm, key in keys.items():
                    for mint in (key.by_joserfc, key.by_pyjwt):
                        for head in ({}, {"kid": None}, {"typ": "at+jwt"}):
                            token = mint(claims_of(issuer.url, aud=["other", "zoom-qos-proxy"]), **head)
                            # The second time, the verification is remembered.
                            found = [scene.get(service, token).status for _ in range(2)]
                            if found != [200, 200]:
                                yield f"{algorithm}, keys by {name}, {mint.__name__}, {head}: {found}"
            kinds = list(bad_tokens(keys, at_url.url, discovered.url))
            asked = len(discovered.paths)
            for kind, token, reason in kinds:
                yield from (f"{kind}: {finding}" for finding in refused(scene.get(service, token), reason))
            if len(discovered.paths) != asked:
                yield f"a URL in a token's head was requested: {discovered.paths[asked:]}"
            if scene.get(service, keys["ES384"].by_pyjwt(claims_of(at_url.url))).status != 200:
                yield "a good token after the bad ones is refused"
            print(f"  {len(kinds)} kinds of bad tokens")


def refused(answer, reason):
    challenge = answer.header("WWW-Authenticate") or ""
    if (answer.status, answer.code()) != (401, "unknown_caller"):
        yield f"{answer.status} {answer.code()}"
    elif reason is None and challenge != "Bearer":
        yield f"taken for a token: {challenge}"
    elif reason is not None and f'error="invalid_token", error_description="{reason}' not in challenge:
        yield f"the reason is not {reason!r}: {challenge}"


def rotation(scene):
    """A new key is used within 5 s if it is in a file, and from its first token on if it is at a URL. Tokens by the removed key are
    then refused."""
    old, new = Key("ES256", "old"), Key("EdDSA", "new")
    with Issuer([old.jwk_by_pyjwt()]) as at_url, Issuer([]) as in_file:
        path = scene.jwks_file("rotated.json", [old.jwk_by_joserfc()])
        entries = [at_url.entry("url"), in_file.entry("file", f'jwks_file = "{path}"')]
        callers = [f'name = "ann-{name}"\nsubject = "ann"\nissuer = "{name}"' for name in ("url", "file")]
        with scene.service(*entries, callers=callers) as service:
            before = {issuer: old.by_pyjwt(claims_of(issuer.url)) for issuer in (at_url, in_file)}
            after = {issuer: new.by_joserfc(claims_of(issuer.url)) for issuer in (at_url, in_file)}
            if [scene.get(service, token).status for token in before.values()] != [200, 200]:
                yield "a token by the first key is refused"
            at_url.keys = [new.jwk_by_joserfc()]
            if (status := scene.get(service, after[at_url]).status) != 200:
                yield f"url: the first token by a new key gets {status}"
            if (status := scene.get(service, before[at_url]).status) != 401:
                yield f"url: a token by a removed key gets {status}"
            if (status := scene.get(service, after[in_file]).status) != 401:
                yield f"a token by a key of another issuer gets {status}"
            scene.jwks_file("rotated.json", [new.jwk_by_pyjwt()])
            if not scene.becomes(service, after[in_file], 200, FILE_SECONDS):
                yield "file: a new key is not used within 5 s"
            if (status := scene.get(service, before[in_file]).status) != 401:
                yield f"file: a token by a removed key gets {status}"


def away(scene):
    """An unavailable issuer affects neither tokens by its known keys nor other callers."""
    key = Key("PS256")
    with Issuer([key.jwk_by_joserfc()]) as issuer:
        entry, token = issuer.entry("i", f'jwks_url = "{issuer.url}/keys"'), key.by_pyjwt(claims_of(issuer.url))
        with scene.service(entry) as service:
            if not scene.becomes(service, token, 200):
                yield "a good token is refused"
            issuer.go_away()
            if (status := scene.get(service, key.by_joserfc(claims_of(issuer.url, jti="another"))).status) != 200:
                yield f"a new token while the issuer is away: {status}"
        with scene.service(entry) as service:
            answer = scene.get(service, token)
            if (answer.status, answer.code()) != (503, "issuer_unavailable") or not answer.header("Retry-After"):
                yield f"before the first keys: {answer.status} {answer.code()} {answer.headers}"
            if (status := scene.get(service, CALLER_KEY).status) != 200:
                yield f"a key while the issuer is away: {status}"
            issuer.come_back()
            if not scene.becomes(service, token, 200):
                yield "an issuer that is back is not used within 10 s"


def slow(scene):
    """The first token waits for the first keys; callers with a key do not wait."""
    key = Key("RS384")
    with Issuer([key.jwk_by_pyjwt()]) as issuer:
        issuer.delay = 1
        with scene.service(issuer.entry("i", f'jwks_url = "{issuer.url}/keys"')) as service:
            until(lambda: issuer.paths, "the keys are fetched")
            began, waiting = time.monotonic(), []
            thread = threading.Thread(target=lambda: waiting.append(scene.get(service, key.by_pyjwt(claims_of(issuer.url))).status))
            thread.start()
            if scene.get(service, CALLER_KEY).status != 200 or (took := time.monotonic() - began) > 0.9:
                yield f"a caller with a key waited for the issuer: {took:.1f} s"
            thread.join()
            if waiting != [200]:
                yield f"a token that came before slow keys: {waiting}"


def many(scene):
    """An issuer with 1,000 keys. A token without `kid` is tried with all of them, and delays no other caller."""
    keys = [Key("ES256", str(number)) for number in range(MANY)]
    with Issuer([key.jwk_by_joserfc() for key in keys]) as issuer:
        with scene.service(issuer.entry("i")) as service:
            for key in (keys[0], keys[-1]):
                if not scene.becomes(service, key.by_pyjwt(claims_of(issuer.url)), 200):
                    yield f"a token by key {key.kid} of {MANY} is refused"
            if (status := scene.get(service, keys[-1].by_pyjwt(claims_of(issuer.url), kid=None)).status) != 200:
                yield f"a token without kid, by the last of {MANY} keys: {status}"
            stranger, over = Key("ES256"), threading.Event()

            def flood():
                while not over.is_set():
                    answer = scene.get(service, stranger.by_pyjwt(claims_of(issuer.url), kid=None))
                    statuses.add(answer.status)

            statuses, threads = set(), [threading.Thread(target=flood) for _ in range(4)]
            for thread in threads:
                thread.start()
            until(lambda: 401 in statuses, "the flood is refused")
            took = []
            for _ in range(100):
                began = time.monotonic()
                if ask(service.callers, "GET", scene.path, [("X-Api-Key", CALLER_KEY)]).status != 200:
                    yield "a hit fails during the flood"
                took.append(time.monotonic() - began)
            over.set()
            for thread in threads:
                thread.join()
            print(f"  a hit during a flood of tokens without kid: {1000 * sorted(took)[50]:.1f} ms, at most {1000 * max(took):.1f} ms")
            if sorted(took)[50] > 0.05:
                yield f"hits wait for tokens without kid: {sorted(took)[50]:.3f} s"
            if statuses - {401, 503}:
                yield f"a stranger's tokens without kid: {statuses}"


def main(service, sim):
    began, findings = time.monotonic(), []
    scene = Scene(service, sim)
    with scene.running:
        for check in (algorithms, rotation, away, slow, many):
            findings += [f"{check.__name__}: {finding}" for finding in check(scene)]
    for finding in findings:
        print("FINDING", finding)
    print(f"tokens: {len(findings)} findings in {time.monotonic() - began:.0f} s")
    return 1 if findings else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
