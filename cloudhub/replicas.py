"""Which slots this hub replica serves: shared among the living by rendezvous hashing.

Each replica renews one Lease in the hub's namespace and watches those of all. Whether another
lives is judged by the changes seen here, counted from our own latest one: so a wrong clock harms
nothing, and while the API server is away nobody is declared dead. Two owners of a slot for a
moment are harmless. Who has no link to the broker can serve no slot, and lets its Lease run out.
Refuses to run without rights to its Lease; after a first renewal a refusal may be of a server that
is just starting, and is tried again for a while. Called by ``app.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b

import structlog

from cloudhub.kube.port import LEASES, Change, Kube, WatchEvent
from cloudhub.stamps import micro_stamp
from shared.backoff import Backoff
from shared.clock import Clock
from shared.errors import KubeError, KubeRefused
from shared.objects import Json
from shared.tasks import run_together
from shared.topics import SLOTS

log = structlog.get_logger()

LABELS = {"app.kubernetes.io/name": "kubetide-hub", "app.kubernetes.io/component": "replica"}
SELECTOR = ",".join(f"{key}={value}" for key, value in LABELS.items())
PERIOD = 5.0
LIFETIME = 15.0
"""Seconds without a renewal after which a replica counts as dead."""
REFUSED_FOR_GOOD = 120.0
"""Seconds of refusals after a renewal that a server which is just starting may take: then others
have our slots, and so must not we."""
SWEEP_AFTER = 600.0
"""Seconds after which the Lease of a dead replica is deleted."""
LEAVE_WITHIN = 3.0
"""Seconds that a stopping hub may spend on deleting its own Lease."""


def owned_slots(replica: str, living: Iterable[str]) -> frozenset[int]:
    """The slots for which ``replica`` scores highest; a leaver's go to all, a newcomer takes few.

    Every replica computes the same from the same names. Pure.
    """
    names = sorted(set(living))
    return frozenset(
        slot for slot in range(SLOTS) if max(names, key=lambda name: _score(slot, name)) == replica
    )


def _score(slot: int, name: str) -> tuple[bytes, str]:
    return blake2b(f"{slot} {name}".encode(), digest_size=8).digest(), name


@dataclass(slots=True)
class _Seen:
    renewal: str
    at: float
    uid: str


class Replicas:
    """``changed`` is called with the owned slots, first when our own Lease is seen."""

    def __init__(
        self,
        kube: Kube,
        changed: Callable[[frozenset[int]], None],
        *,
        name: str,
        namespace: str,
        linked: Callable[[], bool],
        clock: Clock,
    ) -> None:
        """``linked``: whether there is a connection to the broker."""
        self._kube = kube
        self._linked = linked
        self._linked_at = clock.monotonic()
        self._changed = changed
        self._name = name
        self._namespace = namespace
        self._clock = clock
        self._serving = True
        self._seen: dict[str, _Seen] = {}
        self._may_hold = False
        self._renewed = False
        self._was_late = False
        self._refused_since: float | None = None
        self._living: frozenset[str] = frozenset()

    @property
    def living(self) -> frozenset[str]:
        """Names of the replicas that share the slots, this one included."""
        return self._living

    async def run(self) -> None:
        """Until cancelled; then the Lease goes, so that the others take over at once."""
        try:
            await run_together(renewing=self._renew_forever(), watching=self._watch())
        finally:
            await self._leave()

    async def _renew_forever(self) -> None:
        backoff = Backoff(1, PERIOD)
        while True:
            wait = PERIOD
            try:
                if self._serves():
                    await self._renew()
                    self._renewed = True
                self._refused_since = None
                backoff.reset()
            except (KubeError, KubeRefused) as error:
                if self._is_refused_for_good(error):
                    raise
                # A server that asks for more time than a Lease lives is asked again all the same.
                wait = backoff.next()
                log.warning("own Lease not renewed", error=str(error), retry_in=round(wait, 1))
            await self._sweep()
            await self._clock.sleep(wait)

    def _is_refused_for_good(self, error: KubeError | KubeRefused) -> bool:
        if not isinstance(error, KubeRefused):
            self._refused_since = None  # Who comes back may be just starting once more.
            return False
        now = self._clock.monotonic()
        if self._refused_since is None:
            self._refused_since = now
        return not self._renewed or now - self._refused_since >= REFUSED_FOR_GOOD

    def _serves(self) -> bool:
        """Also for a while without the broker: it may be away for all, or come back at once."""
        now = self._clock.monotonic()
        if self._linked():
            self._linked_at = now
        serves = now - self._linked_at < LIFETIME
        if not serves and self._serving:
            log.warning("no link to the broker: others may take the slots")
        self._serving = serves
        return serves

    async def _renew(self) -> None:
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, "labels": LABELS},
            "spec": {
                "holderIdentity": self._name,
                "leaseDurationSeconds": int(LIFETIME),
                "renewTime": micro_stamp(self._clock.now()),
            },
        }
        self._may_hold = True
        try:
            await self._kube.patch(LEASES, self._namespace, self._name, lease)
        except KubeRefused as refused:
            if refused.status == 409:
                raise KubeError(str(refused), status=409) from refused
            if refused.status != 404:
                self._may_hold = False
                raise
            await self._create(lease)

    async def _create(self, lease: Json) -> None:
        try:
            await self._kube.create(LEASES, self._namespace, lease)
        except KubeRefused as refused:
            if refused.status != 409:
                raise
            raise KubeError(str(refused), status=409) from refused

    async def _watch(self) -> None:
        leases = self._kube.watch(LEASES, namespace=self._namespace, label_selector=SELECTOR)
        async for event in leases:
            self._take(event)
            self._judge()

    def _take(self, event: WatchEvent) -> None:
        if event.change is Change.LISTED:
            listed = {obj["metadata"]["name"] for obj in event.objects}
            self._seen = {name: seen for name, seen in self._seen.items() if name in listed}
            for obj in event.objects:
                self._notice(obj)
        elif event.change is Change.SET:
            self._notice(event.object)
        else:
            self._seen.pop(event.object["metadata"]["name"], None)

    def _notice(self, lease: Json) -> None:
        metadata, renewal = lease["metadata"], str((lease.get("spec") or {}).get("renewTime"))
        known = self._seen.get(metadata["name"])
        if known is None or known.renewal != renewal or known.uid != metadata["uid"]:
            now = self._clock.monotonic()
            if known is not None and metadata["name"] == self._name:
                self._pass_over(now - known.at, now)
            self._seen[metadata["name"]] = _Seen(renewal, now, metadata["uid"])

    def _pass_over(self, gap: float, now: float) -> None:
        """Where we could not renew others could not either: they get that time again. While all
        renewals are slow it is a period less each time, so that who died is noticed."""
        late = gap > 2 * PERIOD
        if late:
            passed = gap - PERIOD if self._was_late else gap
            for seen in self._seen.values():
                seen.at = min(seen.at + passed, now)
        self._was_late = late

    def _judge(self) -> None:
        """Who lives; nothing is said before our own Lease is among what we see."""
        own = self._seen.get(self._name)
        if own is None:
            return
        living = {name for name, seen in self._seen.items() if own.at - seen.at < LIFETIME}
        living.add(self._name)
        if living != self._living:
            self._living = frozenset(living)
            slots = owned_slots(self._name, living)
            log.info("slots shared", replicas=sorted(living), slots=len(slots))
            self._changed(slots)

    async def _sweep(self) -> None:
        """Delete what the long dead left behind; whoever is first does it."""
        own = self._seen.get(self._name)
        dead = {
            name: seen.uid
            for name, seen in self._seen.items()
            if own and own.at - seen.at > SWEEP_AFTER
        }
        for name, uid in dead.items():
            await self._delete(name, uid)

    async def _leave(self) -> None:
        if self._may_hold:
            with suppress(TimeoutError):
                async with asyncio.timeout(LEAVE_WITHIN):
                    await self._delete_own()

    async def _delete_own(self) -> None:
        """Asks first: who stops early has not seen the Lease that it made."""
        try:
            leases = await self._kube.list(
                LEASES, namespace=self._namespace, label_selector=SELECTOR
            )
        except (KubeError, KubeRefused) as error:
            log.warning("own Lease not deleted", error=str(error))
            return
        for lease in leases:
            if lease["metadata"]["name"] == self._name:
                await self._delete(self._name, lease["metadata"]["uid"])

    async def _delete(self, name: str, uid: str) -> None:
        try:
            await self._kube.delete(LEASES, self._namespace, name, uid=uid, grace=0)
        except (KubeError, KubeRefused) as error:
            log.warning("Lease not deleted", replica=name, error=str(error))
