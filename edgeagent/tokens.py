"""Service account tokens of this device's pods: asked of the hub, kept on disk, renewed in time.

Level-triggered: what is wanted follows from the pods of the desired set, what is asked from what
is wanted and not held, or held for most of its life. Volumes only look up. A token serves until a
newer one comes: offline, across restarts, and past its end too, because a pod that does not start
helps nobody (an Event says so then, and the API server is the judge of the token). Dropped only
when the pod certainly is gone. ``session/asking.py`` carries asks and answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from edgeagent.desired import DesiredSet
from edgeagent.pods.held import HeldPod
from edgeagent.pods.materials.sources import Missing
from edgeagent.pods.model.podevents import PodEvent, warning
from edgeagent.pods.model.view import Moment
from edgeagent.store.records import Records
from edgeagent.token_life import Held, Token, from_record, to_record
from edgeagent.waking import woken
from shared.asking import TokenAnswer, TokenRequest, requests_of
from shared.backoff import Backoff
from shared.clock import Clock
from shared.errors import StoreBusy
from shared.objects import Json, ObjectKey

log = structlog.get_logger()

PATIENCE = 5.0
"""Seconds that a new pod waits for its tokens before it says that they are missing."""
AGAIN = (5.0, 300.0)
"""Between two asks of the same, growing."""
UNSTORED_SECONDS = 30.0
CLOCK_SECONDS = 60.0
"""How often the wall clock is looked at while it may say that a token is older than it seemed."""


class Users(Protocol):
    """The pods that have the tokens; ``pods.workers.Pods`` is it."""

    def held(self) -> Sequence[HeldPod]: ...

    def refresh(self, uid: str) -> None: ...

    def tell(self, uid: str, event: PodEvent) -> bool: ...


@dataclass(slots=True)
class _Ask:
    backoff: Backoff
    due: float = 0.0
    """Monotonic; infinite for what the hub refused for good."""
    error: str = ""
    """What the hub said last."""


@dataclass(slots=True)
class _Hope:
    """Whether an answer can come soon."""

    connected: bool = False
    hub: bool | None = None
    """None = not known yet."""


@dataclass(slots=True)
class _Wanted:
    asks: dict[TokenRequest, _Ask] = field(default_factory=dict)
    by_correlation: dict[bytes, TokenRequest] = field(default_factory=dict)


class DeviceTokens:
    def __init__(
        self, desired: DesiredSet, *, records: Records, clock: Clock, rng: random.Random
    ) -> None:
        self.wanting = asyncio.Event()
        """What has to be asked may have changed."""
        self._desired = desired
        self._records = records
        self._clock = clock
        self._rng = rng
        self._held: dict[TokenRequest, Held] = {}
        self._wanted = _Wanted()
        self._hope = _Hope()
        self._arrival = asyncio.Event()
        self._changed = asyncio.Event()
        self._users: Users | None = None

    async def load(self) -> None:
        """After the desired set."""
        now = self._now()
        for name, record in (await self._records.load_all()).items():
            try:
                request, token = from_record(record)
            except ValueError as error:
                log.error("unreadable token dropped", name=name[:64], error=str(error))
            else:
                self._held[request] = Held.revived(token, now, self._rng.random())
        self.changed()

    def changed(self, keys: object = None) -> None:
        """The desired set changed."""
        wanted = _Wanted()
        for pod in self._desired.pods().values():
            for request in _requests(pod.pod) if pod.grace is None else ():
                ask = self._wanted.asks.get(request) or _Ask(Backoff(*AGAIN, self._rng))
                wanted.asks[request] = ask
                wanted.by_correlation[request.correlation] = request
        self._wanted = wanted
        self.wanting.set()
        self._changed.set()

    # -- for volumes; from any thread

    def token(self, pod: Json, *, audience: str, seconds: int) -> bytes:
        request = TokenRequest.of(pod, audience=audience, seconds=seconds)
        held = self._held.get(request)
        if held is not None:
            return held.token.text.encode()
        raise Missing(f"failed to fetch token: {self._why_not(request)}")

    def _why_not(self, request: TokenRequest) -> str:
        ask = self._wanted.asks.get(request)
        if ask is not None and ask.error:
            return ask.error
        if not self._hope.connected:
            return "this device is not connected, and has no token of that pod yet"
        if not self._hope.hub:
            return "no hub is there to ask"
        return "the hub has not answered yet"

    async def ready(self, pod: Json) -> None:
        """Wait a little for tokens that can come any moment; without hope of any not at all."""
        requests = list(_requests(pod))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while any(map(self._may_come, requests)):
                    await self._arrival.wait()

    def _may_come(self, request: TokenRequest) -> bool:
        hope = self._hope.connected and self._hope.hub is not False
        ask = self._wanted.asks.get(request)
        return hope and request not in self._held and ask is not None and not ask.error

    def _announce(self) -> None:
        self._arrival.set()
        self._arrival = asyncio.Event()

    # -- for the session

    def linked(self, up: bool) -> None:
        """A connection began or ended; whether there is a hub is not known yet."""
        self._hope = _Hope(up)
        self._ask_anew()

    def hub(self, there: bool) -> None:
        if there and not self._hope.hub:
            self._ask_anew()
        self._hope.hub = there
        self.wanting.set()
        self._announce()

    def _ask_anew(self) -> None:
        for ask in self._wanted.asks.values():
            ask.backoff.reset()
            ask.due, ask.error = 0.0, ""
        self.wanting.set()
        self._announce()

    def due(self) -> list[TokenRequest]:
        """What to ask now; it comes again later unless it is answered."""
        now = self._clock.monotonic()
        found = [request for request, due in self._dues() if due <= now]
        for request in found:
            ask = self._wanted.asks[request]
            ask.due = now + ask.backoff.next()
        return found

    def pause(self) -> float | None:
        """Seconds until something is due; None while nothing will be by itself."""
        first = min((due for _, due in self._dues()), default=math.inf)
        if first == math.inf:
            return None
        left = max(first - self._clock.monotonic(), 0.0)
        return (
            min(left, CLOCK_SECONDS) if any(one.doubtful for one in self._held.values()) else left
        )

    def _dues(self) -> Iterator[tuple[TokenRequest, float]]:
        """Tokens of pods that have ended are not renewed: nobody reads them any more."""
        if not self._hope.hub:
            return
        held = self._users.held() if self._users else ()
        ended = {pod.uid for pod in held if pod.ended}
        for request, ask in self._wanted.asks.items():
            mine = self._held.get(request)
            if request.uid not in ended:
                yield request, max(ask.due, mine.renewal(self._clock.now()) if mine else 0.0)

    def failed(self, request: TokenRequest, why: str) -> None:
        """It could not even be asked."""
        self._refused(request, TokenAnswer(error=why))

    def take(self, correlation: bytes, answer: TokenAnswer) -> None:
        """What nobody wants any more, or what came twice, changes nothing."""
        request = self._wanted.by_correlation.get(correlation)
        if request is None:
            return
        if not answer.token:
            self._refused(request, answer)
            return
        now, held = self._now(), self._held.get(request)
        if held is not None and held.renewal(now.wall) > now.monotonic:
            return
        self._held[request] = Held.fresh(Token.of(answer, now.wall), now, self._rng.random())
        ask = self._wanted.asks[request]
        ask.backoff.reset()
        ask.due, ask.error = 0.0, ""
        log.info("token came", pod_uid=request.uid, life=answer.life, renewed=held is not None)
        self._answered(request)

    def _refused(self, request: TokenRequest, answer: TokenAnswer) -> None:
        ask = self._wanted.asks[request]
        news, ask.error = answer.error != ask.error, answer.error or "the hub gives no reason"
        ask.due = math.inf
        if not answer.permanent:
            wait = ask.backoff.next(at_least=float(answer.retry_after))
            ask.due = self._clock.monotonic() + wait
        log.warning("no token", pod_uid=request.uid, error=answer.error, final=answer.permanent)
        if news:
            self._answered(request)

    def _answered(self, request: TokenRequest) -> None:
        self.wanting.set()
        self._changed.set()
        self._announce()
        if self._users is not None:
            self._users.refresh(request.uid)

    # -- the root task

    async def run(self, users: Users) -> None:
        """Stores what is new, drops what is over, says what has expired."""
        self._users = users
        while True:
            self._tell_expired(users)
            pause = min(await self._store(), self._next_expiry())
            await woken(self._changed, within=None if pause == math.inf else pause)

    async def _store(self) -> float:
        """Seconds until the next try."""
        try:
            for request, held in list(self._held.items()):
                if self._desired.may_stop(request.uid, _key(request)):
                    await self._records.delete(_name(request))
                    self._held.pop(request, None)
                elif not held.stored:
                    await self._records.save(_name(request), to_record(request, held.token))
                    held.stored = True
        except StoreBusy as error:
            log.error(
                "tokens not stored, served from memory", error=str(error), retry_in=UNSTORED_SECONDS
            )
            return UNSTORED_SECONDS
        return math.inf

    def _tell_expired(self, users: Users) -> None:
        now = self._clock.monotonic()
        for request, held in self._held.items():
            if request in self._wanted.asks and held.expires_at <= now and not held.told:
                held.told = users.tell(request.uid, _expired(request))

    def _next_expiry(self) -> float:
        now = self._clock.monotonic()
        left = (
            max(held.expires_at - now, UNSTORED_SECONDS)
            for request, held in self._held.items()
            if request in self._wanted.asks and not held.told
        )
        return min(left, default=math.inf)

    def _now(self) -> Moment:
        return Moment(self._clock.now(), self._clock.monotonic())


def _requests(pod: Json) -> list[TokenRequest]:
    """None for a pod whose volumes are not what the API would have let pass."""
    try:
        found = list(requests_of(pod))
        return found if all(one.correlation for one in set(found)) else []
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return []


def _expired(request: TokenRequest) -> PodEvent:
    account = request.service_account
    words = f'The token of service account "{account}" has expired and no hub has renewed it'
    return warning("TokenExpired", f"{words}; the pod keeps the old one until then")


def _key(request: TokenRequest) -> ObjectKey:
    return ObjectKey("Pod", request.namespace, request.pod)


def _name(request: TokenRequest) -> str:
    return request.correlation.hex()
