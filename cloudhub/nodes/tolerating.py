"""Keeps Kubernetes from evicting the pods of a device that is merely offline.

Kubernetes deletes pods of an unreachable node after the seconds that they tolerate this: 300,
which the API server writes into every pod that says nothing else. What runs on a device goes on
running there, so those seconds are taken away (= tolerated for ever) as soon as a node has been
away for a while (this hub's own link counts: it renews no Lease without it). Nothing is written
in ordinary life, one patch per pod when it matters, none for pods that an admission policy, a
DaemonSet or we have given it already. Another number of
seconds is somebody's wish and stays, and so is the label ``KEEP_OUT``. ``sweep`` is level-triggered
and forgets everything; the rules above it are pure. Run by ``app.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator

import structlog

from cloudhub.fleet.pods import PodRecord
from cloudhub.kube.port import PODS, Kube
from shared import codec
from shared.clock import Clock
from shared.errors import KubeError, KubeRefused
from shared.objects import Json

log = structlog.get_logger()

KEEP_OUT = "kubetide.io/evict-when-offline"
"""Label of a pod with the value "true": let Kubernetes evict it."""
TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
DEFAULT_SECONDS = 300
"""What the API server gives every pod."""
EVERY = 15.0
AWAY_SECONDS = 30.0
"""A flap costs nothing; and 270 seconds are left for the whole fleet."""
AT_ONCE = 8


def unbounded(pod: Json) -> list[Json] | None:
    """The pod's tolerations as they should be; None when nothing is to be changed."""
    if (pod["metadata"].get("labels") or {}).get(KEEP_OUT) == "true":
        return None
    given = [dict(one) for one in pod["spec"].get("tolerations") or ()]
    kept = [dict(one) for one in given]
    for taint in TAINTS:
        mine = [one for one in kept if _tolerates(one, taint)]
        if not mine:
            kept.append({"key": taint, "operator": "Exists", "effect": "NoExecute"})
        for one in mine:
            if one.get("tolerationSeconds") == DEFAULT_SECONDS:
                del one["tolerationSeconds"]
    return kept if kept != given else None


def _tolerates(toleration: Json, taint: str) -> bool:
    """As Kubernetes matches them; these taints have no value."""
    if toleration.get("effect") not in (None, "", "NoExecute"):
        return False
    if toleration.get("key") not in (None, "", taint):
        return False
    return toleration.get("operator") == "Exists" or not toleration.get("value")


class Tolerating:
    """``away`` names managed nodes that are not known to be connected; ``pods`` what is bound to
    one."""

    def __init__(
        self,
        kube: Kube,
        *,
        away: Callable[[], Iterable[str]],
        pods: Callable[[str], Iterator[PodRecord]],
        clock: Clock,
    ) -> None:
        self._kube = kube
        self._away = away
        self._pods = pods
        self._clock = clock
        self._since: dict[str, float] = {}
        self._seen: dict[str, bytes] = {}
        self._room = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        while True:
            await self._clock.sleep(EVERY)
            await self.sweep()

    async def sweep(self) -> None:
        """Look at every node that has been away for long enough."""
        now = self._clock.monotonic()
        self._since = {node: self._since.get(node, now) for node in self._away()}
        gone = [node for node, since in self._since.items() if now - since >= AWAY_SECONDS]
        records = [record for node in sorted(gone) for record in self._pods(node)]
        todo = [record for record in records if self._seen.get(record.uid) != record.body.digest]
        self._seen = {
            record.uid: self._seen[record.uid] for record in records if record.uid in self._seen
        }
        await asyncio.gather(*(self._keep(record) for record in todo))

    async def _keep(self, record: PodRecord) -> None:
        tolerations = unbounded(codec.unpack(record.body.packed))
        if record.grace is None and tolerations is not None:
            async with self._room:
                if not await self._patch(record, tolerations):
                    return
        self._seen[record.uid] = record.body.digest

    async def _patch(self, record: PodRecord, tolerations: list[Json]) -> bool:
        """False when it should be tried again; a conflict comes back with the next sweep."""
        patch = {
            "metadata": {"uid": record.uid, "resourceVersion": record.version},
            "spec": {"tolerations": tolerations},
        }
        key = record.key
        try:
            await self._kube.patch(PODS, key.namespace, key.name, patch)
        except (KubeError, KubeRefused) as error:
            lasting = isinstance(error, KubeRefused) and error.status not in (404, 409)
            tell = log.error if lasting else log.info
            tell("pod of an offline node may be evicted", pod=str(key), error=str(error))
            return lasting
        log.info("pod kept from eviction while its node is offline", pod=str(key), node=record.node)
        return True
