"""Mirror pods: the API's copies of the static pods that devices run by themselves.

One worker per node and name, level-triggered: what the device last said that it runs (the list
of its static pods) against what the API shows. A mirror is created, deleted when the device says
that the pod is gone, and replaced when it is another pod, or when somebody deletes it: deleting
a mirror stops nothing. Only what a list says is acted upon, only mirror pods of that very
node are ever deleted, and their status is written by ``reporting.py`` like any other. Built by
``sync.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from cloudhub.events.events import Events
from cloudhub.fleet.fleet import Effects, Fleet
from cloudhub.fleet.pods import PodRecord, is_mirror, node_of
from cloudhub.kube.port import PODS, Kube
from cloudhub.mirrors.mirror_rules import StaticPod, Step, mirror_pod, step
from cloudhub.mirrors.static_lists import StaticLists
from shared.clock import Clock
from shared.errors import KubeRefused
from shared.messages import Report
from shared.objects import ObjectKey
from shared.tasks import KeyedWorkers

log = structlog.get_logger()

AT_ONCE = 8
SOON = 5.0
"""Until the Node object is looked for again."""
REFUSED_SECONDS = 60.0
"""Until what the API server refused is tried again: a quota or a policy may have changed."""

Named = tuple[str, ObjectKey]
"""Node and pod."""


class Mirrors:
    def __init__(
        self,
        kube: Kube,
        fleet: Fleet,
        lists: StaticLists,
        serves: Callable[[str], bool],
        *,
        apply: Callable[[Effects], None],
        node_uid: Callable[[str], str],
        events: Events,
        clock: Clock,
    ) -> None:
        """``apply`` takes what a write changed in the fleet; ``node_uid`` is empty for no Node.
        ``serves``: whether what a node says comes here; else its list may be old."""
        self._kube = kube
        self._fleet = fleet
        self._lists = lists
        self._serves = serves
        self._apply = apply
        self._node_uid = node_uid
        self._events = events
        self._told: dict[Named, str] = {}
        """Why there is no mirror, as the last Event about it says."""
        self._room = asyncio.Semaphore(AT_ONCE)
        self._workers = KeyedWorkers(self._settle, clock=clock, name="mirror pod")

    def check(self, node: str, report: Report) -> None:
        """Raises WireError for a list that may not be believed."""
        self._lists.check(node, report)

    def look_at(self, node: str) -> None:
        """The list of the node, or what the API has of it, is another one."""
        known = self._lists.of(node)
        if known is None:
            return
        for which in [which for which in self._told if which[0] == node]:
            if which[1] not in known.pods:
                del self._told[which]
        for key in known.pods.keys() | {record.key for record in self._fleet.mirrors(node)}:
            self._workers.wake((node, key))

    def changed(self, node: str, key: ObjectKey) -> None:
        """The API said something new about a mirror pod, or has a name free again."""
        if self._lists.of(node) is not None:
            self._workers.wake((node, key))

    def forget(self, node: str) -> None:
        """Nothing is heard of it any more."""
        self._lists.forget(node)
        for which in [which for which in self._told if which[0] == node]:
            del self._told[which]

    async def stop(self) -> None:
        await self._workers.stop()

    async def _settle(self, which: Named) -> float | None:
        node, key = which
        known = self._lists.of(node)
        if known is None or not self._fleet.listed(node) or not self._serves(node):
            return None
        mirror = self._fleet.mirror(key)
        if mirror is not None and mirror.node != node:
            return None
        wanted = known.pods.get(key)
        if mirror is not None:
            self._told.pop(which, None)
        async with self._room:
            match step(wanted, mirror):
                case Step.CREATE if wanted is not None:
                    return await self._create(node, wanted)
                case Step.DELETE if mirror is not None:
                    await self._delete(mirror)
        return None

    async def _create(self, node: str, pod: StaticPod) -> float | None:
        node_uid = self._node_uid(node)
        if not node_uid:
            return SOON
        body = mirror_pod(pod, node=node, node_uid=node_uid)
        try:
            made = await self._kube.create(PODS, pod.key.namespace, body)
        except KubeRefused as refused:
            if refused.reason == "AlreadyExists":
                return await self._taken(node, pod)
            return self._refused(node, pod, str(refused))
        log.info("mirror pod created", pod=str(pod.key), node=node)
        self._apply(self._fleet.put_answer(made))
        return None

    async def _taken(self, node: str, pod: StaticPod) -> float | None:
        """Mostly our own mirror, of which the watch has not told yet."""
        found = await self._kube.get(PODS, pod.key.namespace, pod.key.name)
        if found is None:
            return SOON
        if not is_mirror(found) or node_of(found) != node:
            return self._refused(node, pod, "another pod has that name")
        self._apply(self._fleet.put_answer(found))
        return None if self._fleet.mirror(pod.key) else SOON

    def _refused(self, node: str, pod: StaticPod, why: str) -> float:
        if self._told.get((node, pod.key)) == why:
            return REFUSED_SECONDS
        self._told[node, pod.key] = why
        said = f"the mirror pod of static pod {pod.key.namespace}/{pod.key.name} cannot be: {why}"
        log.warning("no mirror pod", pod=str(pod.key), node=node, error=why[:300])
        self._events.say(node, "Warning", "FailedMirrorPod", said[:1000])
        return REFUSED_SECONDS

    async def _delete(self, mirror: PodRecord) -> None:
        """At once: what would need a grace period is on the device."""
        key = mirror.key
        try:
            await self._kube.delete(PODS, key.namespace, key.name, uid=mirror.uid, grace=0)
        except KubeRefused as refused:
            if refused.status != 409:
                raise
        log.info("mirror pod deleted", pod=str(key), node=mirror.node)
