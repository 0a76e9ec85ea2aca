"""Who may talk to the server: one bearer token, tokens of service accounts, the certificate.

``kubectl`` sends a token over TLS only, so a server that asks for one needs a certificate; it is
made at start, for loopback, and lives as long as the server. Tokens are compared in constant time
and never logged.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import json
import secrets
import ssl
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HEALTH_PATHS = ("/healthz", "/livez", "/readyz")
OPEN_PATHS = (*HEALTH_PATHS, "/version")
_ISSUER = "https://kubernetes.default.svc"
_LIFETIME = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Access:
    """Checks credentials and issues tokens of service accounts (JWTs signed with HS256)."""

    token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    _key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def allows(self, authorization: str, *, now: float) -> bool:
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() != "bearer" or not given.strip().isascii():
            return False
        given = given.strip()
        return hmac.compare_digest(given, self.token) or self._is_account_token(given, now=now)

    def account_token(self, claims: dict[str, Any], *, seconds: int, now: float) -> str:
        issued = {"iss": _ISSUER, "iat": int(now), "nbf": int(now), "exp": int(now) + seconds}
        head = _encode({"alg": "HS256", "typ": "JWT"})
        body = f"{head}.{_encode(claims | issued)}"
        return f"{body}.{self._sign(body)}"

    def _is_account_token(self, token: str, *, now: float) -> bool:
        body, _, signature = token.rpartition(".")
        if not hmac.compare_digest(signature, self._sign(body)):
            return False
        payload = body.partition(".")[2]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return bool(claims["exp"] > now)

    def _sign(self, body: str) -> str:
        return _base64(hmac.new(self._key, body.encode(), hashlib.sha256).digest())


def _encode(value: dict[str, Any]) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class Certificate:
    """A self-signed certificate for loopback: its own authority."""

    pem: bytes
    key: bytes = field(repr=False)

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "server.pem"
            path.touch(mode=0o600)
            path.write_bytes(self.key + self.pem)
            context.load_cert_chain(path)
        return context


def make_certificate() -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubetide-apiserver")])
    now = datetime.now(UTC)
    loopback = [ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")]
    names = [x509.DNSName("localhost"), *map(x509.IPAddress, loopback)]
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_KEY_USAGE, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = signed.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return Certificate(pem, private)


_KEY_USAGE = x509.KeyUsage(
    digital_signature=True,
    key_cert_sign=True,
    crl_sign=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


def kubeconfig(url: str, token: str, certificate: Certificate | None) -> str:
    """The text of a kubeconfig with one context."""
    cluster = {"server": url}
    if certificate is not None:
        cluster["certificate-authority-data"] = base64.b64encode(certificate.pem).decode()
    name = "kubetide"
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        },
        sort_keys=False,
    )
