"""What controllers of a real cluster do and this server has to do itself.

A namespace that is being deleted is emptied and then removed; a new one gets its ``default``
service account; Events older than their time to live are removed.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from devcluster.apiserver.clusterips import api_service
from devcluster.apiserver.creation import NAMESPACE_FINALIZER
from devcluster.apiserver.deleting import DeleteOptions
from devcluster.apiserver.objects import Objects, Target
from devcluster.apiserver.resources import (
    EVENTS,
    NAMESPACES,
    RESOURCES,
    SERVICE_ACCOUNTS,
    SERVICES,
    Resource,
)
from devcluster.apiserver.status import Json
from devcluster.apiserver.store import Change, Key
from devcluster.apiserver.subresources import target_of

FIRST_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
EVENT_SECONDS = 3600.0
_NAMESPACED = tuple(row for row in RESOURCES if row.namespaced and not row.stored_as)


def create_first_objects(objects: Objects) -> None:
    """The namespaces, and the Service by which pods find this server."""
    for name in FIRST_NAMESPACES:
        head = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        objects.create(Target(NAMESPACES, "", ""), head)
    objects.create(Target(SERVICES, "default", ""), api_service())


class Namespaces:
    """Empties namespaces that end, furnishes those that begin."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._due = asyncio.Event()

    async def run(self) -> None:
        unlisten = self._objects.store.listen(self._changed)
        self._due.set()
        try:
            while True:
                await self._due.wait()
                self._due.clear()
                for namespace in self._objects.store.list(NAMESPACES.storage):
                    self._tend(namespace)
        finally:
            unlisten()

    def _changed(self, change: Change) -> None:
        if change.key.storage == NAMESPACES.storage or change.after is None:
            self._due.set()

    def _tend(self, namespace: Json) -> None:
        name = namespace["metadata"]["name"]
        if not namespace["metadata"].get("deletionTimestamp"):
            self._furnish(name)
            return
        if not self._empty(name) and not _held_by_others(namespace):
            self._objects.remove(Target(NAMESPACES, "", name))

    def _furnish(self, name: str) -> None:
        target = Target(SERVICE_ACCOUNTS, name, "default")
        if not self._objects.exists(target):
            head = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
            self._objects.create(target, head)

    def _empty(self, name: str) -> bool:
        """Delete what is in the namespace; whether something is still left."""
        for resource in _NAMESPACED:
            for obj in self._objects.store.list(resource.storage, name):
                if not obj["metadata"].get("deletionTimestamp"):
                    self._objects.delete(target_of(resource, obj), DeleteOptions())
        return any(self._left(resource, name) for resource in _NAMESPACED)

    def _left(self, resource: Resource, name: str) -> bool:
        return bool(self._objects.store.list(resource.storage, name))


def _held_by_others(namespace: Json) -> bool:
    finalizers = (namespace.get("spec") or {}).get("finalizers") or []
    own = namespace["metadata"].get("finalizers") or []
    return bool(own) or any(name != NAMESPACE_FINALIZER for name in finalizers)


class EventExpiry:
    """Removes Events ``EVENT_SECONDS`` after they were last written."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._written: OrderedDict[Key, float] = OrderedDict()

    async def run(self) -> None:
        unlisten = self._objects.store.listen(self._changed)
        try:
            while True:
                await self._objects.clock.sleep(EVENT_SECONDS / 60)
                self.sweep()
        finally:
            unlisten()

    def sweep(self) -> None:
        """Remove what is due now; the least recently written is first."""
        due = self._objects.clock.monotonic() - EVENT_SECONDS
        while self._written and next(iter(self._written.values())) <= due:
            key, _ = self._written.popitem(last=False)
            self._objects.remove(Target(EVENTS, key.namespace, key.name))

    def _changed(self, change: Change) -> None:
        if change.key.storage != EVENTS.storage:
            return
        self._written.pop(change.key, None)
        if change.after is not None:
            self._written[change.key] = self._objects.clock.monotonic()
