"""A minimal issuer of signed tokens: a new RSA key, and tokens signed with it (RS256).

Python's standard library cannot sign, so this module avoids the installation of a package. The key exists only during a
measurement.
"""

import base64
import hashlib
import json
import math
import secrets
import time

URL, AUDIENCE, SUBJECT = "https://issuer.example", "zoom-qos-proxy", "system:serviceaccount:support:ticket-bot"
BITS, EXPONENT = 2048, 65537
# Most candidates have a small factor, which is cheap to find.
SMALL_PRIMES = math.prod(number for number in range(3, 2000, 2) if all(number % below for below in range(3, number, 2)))
# The encoding of a SHA-256 digest in a signature begins with these bytes (RFC 8017, 9.2).
SHA256 = bytes.fromhex("3031300d060960864801650304020105000420")


class Issuer:
    def __init__(self):
        p, q = prime(), prime()
        self.modulus = p * q
        self.private = pow(EXPONENT, -1, (p - 1) * (q - 1))

    def keys(self):
        """The public key as a JWK set (RFC 7517)."""
        number = lambda value: encode(value.to_bytes((value.bit_length() + 7) // 8, "big"))
        key = {"kty": "RSA", "kid": "1", "alg": "RS256", "use": "sig", "n": number(self.modulus), "e": number(EXPONENT)}
        return json.dumps({"keys": [key]})

    def token(self):
        """A token that is valid for an hour, with claims like those of Kubernetes."""
        now = int(time.time())
        pod = {"namespace": "support", "pod": {"name": "ticket-bot-0", "uid": "0" * 36}}
        claims = {"iss": URL, "aud": [AUDIENCE], "sub": SUBJECT, "iat": now, "exp": now + 3600, "kubernetes.io": pod}
        head = {"alg": "RS256", "kid": "1"}
        signed = ".".join(encode(json.dumps(part).encode()) for part in (head, claims))
        digest = SHA256 + hashlib.sha256(signed.encode()).digest()
        size = BITS // 8
        padded = b"\x00\x01" + b"\xff" * (size - 3 - len(digest)) + b"\x00" + digest
        signature = pow(int.from_bytes(padded, "big"), self.private, self.modulus)
        return f"{signed}.{encode(signature.to_bytes(size, 'big'))}"


def prime():
    while True:
        number = secrets.randbits(BITS // 2) | 3 << BITS // 2 - 2 | 1
        has_factor = math.gcd(number, SMALL_PRIMES) > 1 or number % EXPONENT == 1
        if not has_factor and all(pow(base, number - 1, number) == 1 for base in (2, 3, 5, 7)):
            return number


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
