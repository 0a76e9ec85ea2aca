"""One service account token on a device: its life, its renewal, its record. Pure.

Life is counted on the monotonic clock from the moment the token came. After a restart it is taken
from the wall clock's stamps, once; where those cannot be true (a clock that was never set, or that
went back) the token is renewed as soon as a hub is there, and never called expired.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from edgeagent.pods.model.view import Moment
from shared.asking import TokenAnswer, TokenRequest
from shared.clock import CLOCK_WAS_SET
from shared.objects import Json

RENEW_AT = 0.8
"""Share of a token's life after which it is renewed, and its greatest age: as on a kubelet."""
OLDEST = 86_400.0
JITTER = 10.0
"""Seconds by which a renewal may come earlier, so that a fleet does not renew as one."""


@dataclass(frozen=True, slots=True)
class Token:
    text: str = field(repr=False)
    got: float
    """Wall clock of this device when it came."""
    expires: int
    """Unix seconds by the API server's clock."""
    life: float
    """Seconds it was good for when it came."""

    @classmethod
    def of(cls, answer: TokenAnswer, now: float) -> Token:
        return cls(answer.token, now, answer.expires_at, float(answer.life))

    def age(self, now: float) -> float | None:
        """By the wall clock; None when that cannot be known."""
        if now < CLOCK_WAS_SET:
            return None
        if self.got < CLOCK_WAS_SET:
            return max(self.life - (self.expires - now), 0.0)
        return now - self.got if now >= self.got else None


@dataclass(slots=True)
class Held:
    """A token and its times on this process's monotonic clock."""

    token: Token
    renew_at: float
    expires_at: float
    stored: bool = False
    told: bool = False
    """That it expired was said."""
    doubtful: bool = False
    """Its age is that of a clock which may have stood still while the device was off."""

    @classmethod
    def fresh(cls, token: Token, now: Moment, early: float) -> Held:
        """``early`` of 0 to 1: how much of the jitter this one gets."""
        return cls(token, *_times(token, 0.0, now, early))

    @classmethod
    def revived(cls, token: Token, now: Moment, early: float) -> Held:
        age = token.age(now.wall)
        if age is None:
            return cls(token, now.monotonic, math.inf, stored=True)
        return cls(token, *_times(token, age, now, early), stored=True, doubtful=True)

    def renewal(self, wall: float) -> float:
        """Monotonic; at once for what was held before the start and has expired by now."""
        has_expired = self.doubtful and wall >= max(CLOCK_WAS_SET, self.token.expires)
        return 0.0 if has_expired else self.renew_at


def _times(token: Token, age: float, now: Moment, early: float) -> tuple[float, float]:
    born = now.monotonic - age
    jitter = early * min(JITTER, token.life / 20)
    return born + min(RENEW_AT * token.life, OLDEST) - jitter, born + token.life


def to_record(request: TokenRequest, token: Token) -> Json:
    return {
        "pod": [request.namespace, request.pod, request.uid],
        "account": request.service_account,
        "audiences": list(request.audiences),
        "seconds": request.expiration_seconds,
        "token": [token.text, token.got, token.expires, token.life],
    }


def from_record(record: Json) -> tuple[TokenRequest, Token]:
    """Raises ValueError, and quotes nothing, for a record that is none."""
    try:
        namespace, pod, uid = record["pod"]
        text, got, expires, life = record["token"]
        audiences = tuple(record["audiences"])
        account, seconds = record["account"], record["seconds"]
    except (KeyError, TypeError, ValueError):
        raise ValueError("not the record of a token") from None
    texts: list[Any] = [namespace, pod, uid, text, account, *audiences]
    if not all(isinstance(one, str) for one in texts):
        raise ValueError("not the record of a token")
    if not all(type(one) in (int, float) for one in (got, expires, life, seconds)):
        raise ValueError("not the record of a token")
    request = TokenRequest(namespace, pod, uid, account, audiences, seconds)
    return request, Token(text, float(got), int(expires), float(life))
