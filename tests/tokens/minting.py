"""Keys and tokens by PyJWT and joserfc, and tokens that no issuer would mint."""

import base64
import json
import time
import warnings

import jwt
import jwt.algorithms
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from joserfc import jwe, jws
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

# Both libraries warn about algorithms and keys that this suite tests.
warnings.filterwarnings("ignore", module=r"jwt|joserfc")

AUDIENCE = "zoom-qos-proxy"
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"]
# The classes of keys in joserfc and in PyJWT, by the first two letters of an algorithm.
TYPES = {
    "RS": (RSAKey, jwt.algorithms.RSAAlgorithm),
    "PS": (RSAKey, jwt.algorithms.RSAAlgorithm),
    "ES": (ECKey, jwt.algorithms.ECAlgorithm),
    "Ed": (OKPKey, jwt.algorithms.OKPAlgorithm),
}


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def part(value):
    return encode(json.dumps(value).encode())


class Key:
    """A private key for one algorithm, with its `kid`."""

    def __init__(self, algorithm, kid="k"):
        self.algorithm, self.kid = algorithm, kid
        self.ours, self.theirs = TYPES[algorithm[:2]]
        match algorithm:
            case "ES256":
                self.private = ec.generate_private_key(ec.SECP256R1())
            case "ES384":
                self.private = ec.generate_private_key(ec.SECP384R1())
            case "ES512":
                self.private = ec.generate_private_key(ec.SECP521R1())
            case "EdDSA":
                self.private = ed25519.Ed25519PrivateKey.generate()
            case _:
                self.private = rsa.generate_private_key(65537, 2048)

    def pem(self):
        form = serialization.PrivateFormat.PKCS8
        return self.private.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())

    def public_pem(self):
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.private.public_key().public_bytes(serialization.Encoding.PEM, form)

    def jwk_by_joserfc(self, **more):
        public = self.ours.import_key(self.pem()).as_dict(private=False)
        return {**public, "kid": self.kid, "use": "sig", "alg": self.algorithm, **more}

    def jwk_by_pyjwt(self, **more):
        return {**json.loads(self.theirs.to_jwk(self.private.public_key())), "kid": self.kid, **more}

    def head(self, more):
        """The JOSE header of a token. A member set to None is left out."""
        full = {"alg": self.algorithm, "typ": "JWT", "kid": self.kid, **more}
        return {name: value for name, value in full.items() if value is not None}

    def by_joserfc(self, claims, **head):
        head = self.head(head)
        # By default, joserfc rejects members of the JOSE header that are not registered, such as those that an attacker adds.
        registry = jws.JWSRegistry(algorithms=[head["alg"]], strict_check_header=False)
        key = self.ours.import_key(self.pem())
        return jws.serialize_compact(head, json.dumps(claims).encode(), key, registry=registry)

    def by_pyjwt(self, claims, **head):
        head = self.head(head)
        payload = json.dumps(claims).encode()
        # PyJWT adds `typ` even if `typ=None` removed it from `head`.
        return jwt.PyJWS().encode(payload, self.private, algorithm=head["alg"], headers=head)


def claims_of(issuer, subject="ann", **more):
    """Claims that are valid for an hour; None removes one."""
    now = int(time.time())
    full = {"iss": issuer, "aud": AUDIENCE, "sub": subject, "iat": now, "exp": now + 3600, **more}
    return {name: value for name, value in full.items() if value is not None}


class AnySecret(jwt.algorithms.HMACAlgorithm):
    """HMAC with any secret. PyJWT refuses a public key as the secret, but an attacker would use one."""

    def prepare_key(self, key):
        return key

    def check_key_length(self, key):
        return None


def with_hmac(algorithm, secret, claims, **head):
    signer = jwt.PyJWS()
    digest = {"HS256": "SHA256", "HS384": "SHA384", "HS512": "SHA512"}[algorithm]
    signer.unregister_algorithm(algorithm)
    signer.register_algorithm(algorithm, AnySecret(getattr(AnySecret, digest)))
    return signer.encode(json.dumps(claims).encode(), secret, algorithm=algorithm, headers=head)


def bad_tokens(keys, issuer, elsewhere):
    """The kinds of bad tokens: name, token, and the beginning of the expected reason; None for values that are not tokens."""
    key, curve = keys["RS256"], keys["ES256"]
    stranger, other_curve = Key("RS256", key.kid), Key("ES256", curve.kid)
    good = claims_of(issuer)

    def claims(**more):
        return key.by_joserfc(claims_of(issuer, **more))

    token, now = key.by_pyjwt(good), int(time.time())
    head, payload, signature = token.split(".")
    yield "alg none", jwt.encode(good, None, algorithm="none", headers={"kid": key.kid}), "the token is malformed"
    yield "alg none, with the signature", f"{part(key.head({'alg': 'none'}))}.{payload}.{signature}", "the token is malformed"
    yield "alg in lower case", f"{part(key.head({'alg': 'rs256'}))}.{payload}.{signature}", "the token is malformed"
    for algorithm in ("HS256", "HS384", "HS512"):
        for name, secret in {"PEM": key.public_pem(), "modulus": key.jwk_by_pyjwt()["n"].encode()}.items():
            hmac = with_hmac(algorithm, secret, good, kid=key.kid)
            yield f"{algorithm} with the public key's {name}", hmac, "the alg of the token is none of"
    yield "HS256 without kid", with_hmac("HS256", key.public_pem(), good), "the alg of the token is none of"
    for algorithm in ("PS384", "PS512"):
        yield algorithm, key.by_joserfc(good, alg=algorithm), "the alg of the token is none of"
    yield "ES512", Key("ES512").by_pyjwt(good), "the token is malformed"
    yield "another key's signature", stranger.by_pyjwt(good), "the signature"
    yield "another curve key's signature", other_curve.by_joserfc(good), "the signature"
    yield "no kid, and a stranger's key", stranger.by_pyjwt(good, kid=None), "the signature"
    yield "RS256's signature as PS256", f"{part(key.head({'alg': 'PS256'}))}.{payload}.{signature}", "the "
    yield "the kid of a key of another type", key.by_pyjwt(good, kid=curve.kid), "the alg of the token does not fit"
    yield "a DER signature", der_signature(curve, good), "the signature"
    yield "aud is another", claims(aud="other"), "the token has no aud"
    yield "aud is longer", claims(aud=f"{AUDIENCE}.example"), "the token has no aud"
    yield "aud is a list of others", claims(aud=["a", "b"]), "the token has no aud"
    yield "no aud", claims(aud=None), "the token has no aud"
    yield "iss is another", claims(iss="https://issuer.example"), "the token has no iss"
    yield "iss with a slash more", claims(iss=f"{issuer}/"), "the token has no iss"
    yield "no iss", claims(iss=None), "the token has no iss"
    yield "expired", claims(exp=now - 120), "the token has expired"
    yield "no exp", claims(exp=None), "the "
    yield "exp is text", claims(exp=str(now + 3600)), "the "
    yield "not valid yet", claims(nbf=now + 300), "the token is not valid yet"
    yield "sub of nobody", claims(sub="bob"), "no caller is configured"
    yield "unknown kid", key.by_joserfc(good, kid="unknown"), "the issuer has no key"
    yield "kid is a path", stranger.by_joserfc(good, kid="../../../dev/null"), "the issuer has no key"
    yield "jwk in the head", stranger.by_joserfc(good, jwk=stranger.jwk_by_joserfc()), "the signature"
    yield "jwk in the head, unknown kid", stranger.by_pyjwt(good, kid="x", jwk=stranger.jwk_by_pyjwt(kid="x")), "the issuer has no key"
    yield "jku in the head", stranger.by_pyjwt(good, jku=f"{elsewhere}/jku"), "the signature"
    yield "x5u in the head", stranger.by_pyjwt(good, x5u=f"{elsewhere}/x5u"), "the signature"
    yield "x5c in the head", stranger.by_pyjwt(good, x5c=[base64.b64encode(b"certificate").decode()]), "the signature"
    yield "crit", f"{part(key.head({'crit': ['b64'], 'b64': True}))}.{payload}.{signature}", "the token has critical"
    yield "crit that nobody knows", f"{part(key.head({'crit': ['x'], 'x': 1}))}.{payload}.{signature}", "the token has critical"
    yield "a changed claim", f"{head}.{part({**good, 'sub': 'root'})}.{signature}", "the signature"
    yield "the signature is cut", token[:-8], "the "
    yield "no signature", f"{head}.{payload}.", "the signature"
    yield "the claims are cut", f"{head}.{payload[:-9]}.{signature}", "the "
    yield "the head is cut", f"{head[:-9]}.{payload}.{signature}", "the token is malformed"
    yield "huge", claims(pad="x" * 17_000), "the token is longer than"
    yield "two parts", f"{head}.{payload}", None
    yield "four parts", f"{token}.x", None
    yield "encrypted", jwe.encrypt_compact({"alg": "dir", "enc": "A128GCM"}, json.dumps(good), OctKey.generate_key(128)), None
    yield "dots", "..", "the token is malformed"


def der_signature(key, claims):
    message = f"{part(key.head({}))}.{part(claims)}"
    return f"{message}.{encode(key.private.sign(message.encode(), ec.ECDSA(hashes.SHA256())))}"
