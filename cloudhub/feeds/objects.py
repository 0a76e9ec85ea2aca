"""What pods name, from the API server to the fleet: ConfigMaps, Secrets, claims, volumes, classes.

One watch per kind sees the metadata of all and keeps none of it; what is named is fetched when it
is first named and when the watch tells that it changed. Level-triggered: whatever happened, the
answer is to fetch the object, and 404 is an answer. Called by ``sync.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from cloudhub.fleet.fleet import Effects, Fleet
from cloudhub.kube.port import (
    CLAIMS,
    CONFIG_MAPS,
    RUNTIME_CLASSES,
    SECRETS,
    VOLUMES,
    Change,
    Kube,
    Resource,
    WatchEvent,
)
from cloudhub.metrics import Metrics
from shared.clock import Clock
from shared.errors import KubeRefused, WireError
from shared.objects import NO_NAMESPACE, ObjectKey, is_name
from shared.tasks import KeyedWorkers, run_together

log = structlog.get_logger()

AT_ONCE = 8
"""Fetches under way."""
RESOURCES = {
    resource.kind: resource for resource in (CONFIG_MAPS, SECRETS, CLAIMS, VOLUMES, RUNTIME_CLASSES)
}


class ObjectFeed:
    def __init__(
        self,
        kube: Kube,
        fleet: Fleet,
        apply: Callable[[Effects], None],
        *,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._kube = kube
        self._fleet = fleet
        self._apply = apply
        self._metrics = metrics
        self._room = asyncio.Semaphore(AT_ONCE)
        self._workers = KeyedWorkers(self._fetch, clock=clock, name="fetch", retry_most=30.0)

    def fetch(self, key: ObjectKey) -> None:
        self._workers.wake(key)

    async def run(self) -> None:
        try:
            await run_together(
                configmaps=self._watch(CONFIG_MAPS),
                secrets=self._watch(SECRETS),
                claims=self._watch(CLAIMS),
                volumes=self._watch(VOLUMES),
                runtime_classes=self._watch(RUNTIME_CLASSES),
            )
        finally:
            await self._workers.stop()

    async def _watch(self, resource: Resource) -> None:
        async for event in self._kube.watch(resource, metadata_only=True):
            if event.change is Change.LISTED:
                self._compare_all(resource, event)
            else:
                self._compare(resource, event)

    def _compare(self, resource: Resource, event: WatchEvent) -> None:
        metadata = event.object["metadata"]
        if not is_name(metadata["name"]):
            return
        key = ObjectKey.of(resource.kind, event.object)
        seen = "" if event.change is Change.DELETED else metadata["resourceVersion"]
        if self._fleet.is_referenced(key) and self._fleet.version(key) != seen:
            self._workers.wake(key)

    def _compare_all(self, resource: Resource, event: WatchEvent) -> None:
        seen = {}
        for obj in event.objects:
            metadata = obj["metadata"]
            place = metadata.get("namespace") or NO_NAMESPACE, metadata["name"]
            seen[place] = metadata["resourceVersion"]
        for key in sorted(self._fleet.referenced()):
            version = seen.get((key.namespace, key.name), "")
            if key.kind == resource.kind and self._fleet.version(key) != version:
                self._workers.wake(key)

    async def _fetch(self, key: ObjectKey) -> None:
        if not self._fleet.is_referenced(key):
            return
        async with self._room:
            resource = RESOURCES[key.kind]
            namespace = key.namespace if resource.namespaced else ""
            try:
                found = await self._kube.get(resource, namespace, key.name)
            except KubeRefused as refused:
                if refused.status == 403:
                    self._apply(self._fleet.refuse_object(key))
                raise
        try:
            self._apply(self._fleet.put_object(key, found))
        except WireError as error:
            self._metrics.rejected(error.reason)
            log.error("object cannot be sent", key=str(key), error=str(error))
