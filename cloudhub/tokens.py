"""Tokens of service accounts for the pods of a device, made by the API server when one asks.

A node gets only its own: the pod must be known, bound to that very node, and one of its volumes
must ask for just this token; every other ask is refused and counted. The token is bound to the pod,
so the API server stops taking it when the pod is gone. Nothing is kept here and nothing of a
token is logged. What is asked again while it is being answered costs nothing. ``uplink.py`` calls,
``sync.py`` owns.
"""

from __future__ import annotations

import asyncio
import datetime
from collections import Counter
from collections.abc import Callable

import structlog

from cloudhub.fleet.fleet import Fleet
from cloudhub.kube.port import SERVICE_ACCOUNTS, Kube
from cloudhub.metrics import Metrics
from cloudhub.throttling import Sayings
from shared import codec
from shared.asking import TokenAnswer, TokenRequest, requests_of
from shared.clock import Clock
from shared.errors import KubeError, KubeRefused, WireError
from shared.objects import Json, ObjectKey
from shared.tasks import alone, stop

log = structlog.get_logger()

CONCURRENT = 8
"""Requests to the API server at once; its other business goes on beside."""
MOST_PER_NODE = 512
"""Asks of one node that may wait; a device with more of them asks again."""
SOON, LATER = 5, 60
"""Seconds until another try: what passes by itself, and what somebody must repair."""

Answer = Callable[[str, TokenAnswer, bytes], None]
"""Node, answer, correlation."""


class Tokens:
    def __init__(
        self, kube: Kube, fleet: Fleet, answer: Answer, *, clock: Clock, metrics: Metrics
    ) -> None:
        self._kube = kube
        self._fleet = fleet
        self._answer = answer
        self._clock = clock
        self._metrics = metrics
        self._sayings = Sayings(clock=clock)
        self._turns = asyncio.Semaphore(CONCURRENT)
        self._asked: dict[tuple[str, TokenRequest], bytes] = {}
        self._per_node: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    def asked(self, node: str, request: TokenRequest, correlation: bytes) -> None:
        refused = refusal(self._fleet, node, request)
        if refused is not None:
            self._metrics.token("refused" if refused.permanent else "failed")
            details = {"node": node, "pod": request.pod, "reason": refused.error}
            self._sayings.warn("token", "token not given", **details)
            self._answer(node, refused, correlation)
            return
        under_way = (node, request) in self._asked
        if not under_way and self._per_node[node] >= MOST_PER_NODE:
            raise WireError("too-many-asks", node)
        self._asked[node, request] = correlation
        if not under_way:
            self._per_node[node] += 1
            task = alone(self._serve(node, request), name=f"token for {node}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        await stop(*self._tasks)

    async def _serve(self, node: str, request: TokenRequest) -> None:
        try:
            async with self._turns:
                answer = await self._make(node, request)
        finally:
            correlation = self._asked.pop((node, request))
            self._per_node[node] -= 1
            if not self._per_node[node]:
                del self._per_node[node]
        self._answer(node, answer, correlation)

    async def _make(self, node: str, request: TokenRequest) -> TokenAnswer:
        try:
            made = await self._kube.create(
                SERVICE_ACCOUNTS, request.namespace, order(request), subresource="token"
            )
            answer = token_of(made, self._clock.now())
        except (KubeError, KubeRefused) as error:
            log.warning("no token", node=node, pod=request.pod, error=str(error))
            self._metrics.token("failed")
            return failure(error)
        except Exception:
            log.exception("no token", node=node, pod=request.pod)
            self._metrics.token("failed")
            return TokenAnswer(error="internal error of the hub", retry_after=LATER)
        self._metrics.token("issued")
        return answer


def refusal(fleet: Fleet, node: str, request: TokenRequest) -> TokenAnswer | None:
    """Why the node may not have this token; None when it may. Pure.

    Of a pod that is not the node's own nothing is said, not even that it is there.
    """
    if not fleet.listed(node):
        return TokenAnswer(error="the hub does not know the node's pods yet", retry_after=SOON)
    record = fleet.pod(ObjectKey("Pod", request.namespace, request.pod))
    if record is None or (record.node, record.uid) != (node, request.uid):
        return _never("no such pod on this node")
    if request not in _requests(record.body.packed):
        return _never("no volume of the pod asks for this token")
    return None


def _requests(body: bytes) -> list[TokenRequest]:
    return list(requests_of(codec.unpack(body)))


def order(request: TokenRequest) -> Json:
    """The TokenRequest of the API server."""
    pod = {"apiVersion": "v1", "kind": "Pod", "name": request.pod, "uid": request.uid}
    return {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "metadata": {"name": request.service_account, "namespace": request.namespace},
        "spec": {
            "audiences": list(request.audiences),
            "expirationSeconds": request.expiration_seconds,
            "boundObjectRef": pod,
        },
    }


def token_of(made: Json, now: float) -> TokenAnswer:
    """What the API server answered; raises KubeError for an answer that is none."""
    status = made.get("status") or {}
    try:
        token, until = str(status["token"]), str(status["expirationTimestamp"])
        expires = int(datetime.datetime.fromisoformat(until).timestamp())
    except (KeyError, TypeError, ValueError):
        raise KubeError("the API server's answer has no token in it") from None
    if expires <= now or not token:
        raise KubeError("the API server's token has expired already; compare the clocks")
    return TokenAnswer(token, expires, int(expires - now) or 1)


def failure(error: KubeError | KubeRefused) -> TokenAnswer:
    """A missing account may come and a missing right may be granted; a bad request stays bad."""
    if isinstance(error, KubeError):
        return TokenAnswer(error=str(error), retry_after=int(error.delay or SOON))
    if error.status in (401, 403):
        return TokenAnswer(error=str(error), retry_after=LATER)
    if error.status == 404:
        return TokenAnswer(error=str(error), retry_after=SOON)
    return _never(str(error))


def _never(why: str) -> TokenAnswer:
    return TokenAnswer(error=why, permanent=True)
