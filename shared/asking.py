"""What a device asks of the hub, and what it is answered: tokens of service accounts.

Not retained and soon stale, so neither side keeps any of it for the other: a device asks again
until it is answered. ``decode`` takes hostile bytes and raises ``WireError`` and nothing else. A
token is a secret: it is in no ``repr``, and so in no log.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from shared import codec
from shared.errors import WireError
from shared.objects import Json, is_name
from shared.wirefields import Fields

ASK_EXPIRY = 60
"""Seconds after which the broker drops an ask or an answer that nobody took."""
MAX_AUDIENCE = 1024
MAX_TOKEN = 16 * 1024
MAX_WHY = 1024
MAX_SECONDS = 2**32
"""The most that the API server takes for the life of a token."""
MAX_RETRY = 86_400
DEFAULT_SECONDS = 3600
"""Life of a token in a volume that does not name one."""


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A token for one pod, as a volume of that pod asks for it; the same volume asks the same."""

    namespace: str
    pod: str
    uid: str
    service_account: str
    audiences: tuple[str, ...]
    """None = the API server itself."""
    expiration_seconds: int

    @classmethod
    def of(cls, pod: Json, *, audience: str, seconds: int) -> TokenRequest:
        metadata = pod["metadata"]
        return cls(
            *(metadata.get("namespace") or "default", metadata["name"], metadata["uid"]),
            service_account=pod["spec"].get("serviceAccountName") or "default",
            audiences=(audience,) if audience else (),
            expiration_seconds=seconds,
        )

    @property
    def correlation(self) -> bytes:
        """Names the request, so that an answer also serves a device that forgot that it asked."""
        return codec.digest(self.encode())

    def encode(self) -> bytes:
        message = {
            "n": self.namespace,
            "p": self.pod,
            "u": self.uid,
            "s": self.service_account,
            "a": list(self.audiences),
            "t": self.expiration_seconds,
        }
        return codec.encode(message)

    @classmethod
    def decode(cls, payload: bytes) -> TokenRequest:
        fields = Fields(codec.decode(payload, most=codec.MAX_SHORT))
        found = cls(
            *(fields.text("n", 253), fields.text("p", 253), fields.text("u", 64)),
            service_account=fields.text("s", 253),
            audiences=tuple(fields.texts("a", 1)),
            expiration_seconds=fields.natural("t"),
        )
        if not all(is_name(name) for name in (found.namespace, found.pod, found.service_account)):
            raise WireError("bad-field", "a name in a token request")
        if any(not 0 < len(audience) <= MAX_AUDIENCE for audience in found.audiences):
            raise WireError("bad-field", "an audience")
        if not found.uid or not 0 < found.expiration_seconds <= MAX_SECONDS:
            raise WireError("bad-field", "a token request")
        return found


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """A token, or why there is none: then ``permanent`` says whether to ask again."""

    token: str = field(default="", repr=False)
    expires_at: int = 0
    """Unix seconds by the API server's clock."""
    life: int = 0
    """Seconds the token was still good for when it was sent; a device's clock may be wrong."""
    error: str = ""
    permanent: bool = False
    retry_after: int = 0
    """Least seconds until another try is worth it; 0 = as you like."""

    def encode(self) -> bytes:
        if self.token:
            return codec.encode({"t": self.token, "x": self.expires_at, "l": self.life})
        return codec.encode({"e": self.error[:MAX_WHY], "p": self.permanent, "w": self.retry_after})

    @classmethod
    def decode(cls, payload: bytes) -> TokenAnswer:
        message = codec.decode(payload, most=codec.MAX_SHORT)
        fields = Fields(message)
        if "t" not in message:
            return cls(
                error=fields.text("e", MAX_WHY),
                permanent=fields.flag("p"),
                retry_after=min(fields.natural("w"), MAX_RETRY),
            )
        found = cls(fields.text("t", MAX_TOKEN), fields.natural("x"), fields.natural("l"))
        if not found.token or not found.token.isascii() or not found.token.isprintable():
            raise WireError("bad-field", "a token")
        if not 0 < found.life <= MAX_SECONDS:
            raise WireError("bad-field", "the life of a token")
        return found


def requests_of(pod: Json) -> Iterator[TokenRequest]:
    """Every token that the volumes of a pod ask for; the pod is one that the API admitted."""
    for volume in pod["spec"].get("volumes") or ():
        for source in (volume.get("projected") or {}).get("sources") or ():
            if (part := source.get("serviceAccountToken")) is not None:
                yield TokenRequest.of(
                    pod,
                    audience=part.get("audience") or "",
                    seconds=int(part.get("expirationSeconds") or DEFAULT_SECONDS),
                )
