"""A model of the API server behind the ``Kube`` port, for unit tests and the simulator.

Versions, watches, conflicts, the status subresource and graceful deletion behave as the contract
tests in ``tests/hub_kube`` demand of a real server; validation, admission and RBAC are absent.
Objects are copied on the way in and out. ``fail`` and ``break_watches`` make bad days.
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from cloudhub.kube.model_rules import copied, grace_of, kept, patched, selects
from cloudhub.kube.port import PODS, SERVICE_ACCOUNTS, Change, PatchType, Resource, WatchEvent
from shared.clock import Clock
from shared.errors import KubeRefused
from shared.objects import Json

Place = tuple[str, str]
Fault = Callable[[str, Resource, str], None]
"""Called with verb, resource and name before each request; raises KubeError or KubeRefused."""


@dataclass(eq=False, slots=True)
class _Watcher:
    resource: Resource
    namespace: str
    labels: str
    fields: str
    metadata_only: bool
    queue: asyncio.Queue[WatchEvent] = field(default_factory=asyncio.Queue)

    def sees(self, obj: Json) -> bool:
        inside = not self.namespace or obj["metadata"].get("namespace") == self.namespace
        return inside and selects(obj, self.labels, self.fields)

    def tell(self, old: Json | None, new: Json | None, version: str) -> None:
        """An object that stops matching the selectors is DELETED for this watcher."""
        if new is not None and self.sees(new):
            self.queue.put_nowait(WatchEvent(Change.SET, self.given(new), version=version))
        elif old is not None and self.sees(old):
            last = self.given(new or old)
            self.queue.put_nowait(WatchEvent(Change.DELETED, last, version=version))

    def given(self, obj: Json) -> Json:
        return {"metadata": copied(obj["metadata"])} if self.metadata_only else copied(obj)


@dataclass(frozen=True, slots=True)
class Saved:
    version: int
    stores: dict[Resource, dict[Place, Json]]


class MemoryKube:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._version = 1000
        self.written: Callable[[int], str] = str
        """How a version is written."""
        self._uids = 0
        self._tokens = 0
        self._stores: dict[Resource, dict[Place, Json]] = {}
        self._watchers: dict[_Watcher, None] = {}
        self.fail: Fault = lambda verb, resource, name: None
        self.requests: list[tuple[str, str, str]] = []
        """Verb, resource (``pods/status``) and name of every request, for tests to look at."""

    # -- the port

    async def watch(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
    ) -> AsyncIterator[WatchEvent]:
        watcher = _Watcher(resource, namespace, label_selector, field_selector, metadata_only)
        self._list_for(watcher)
        self._watchers[watcher] = None
        try:
            while True:
                yield await watcher.queue.get()
        finally:
            self._watchers.pop(watcher, None)

    async def get(self, resource: Resource, namespace: str, name: str) -> Json | None:
        await self._enter("get", resource, name)
        found = self._store(resource).get((namespace, name))
        return copied(found) if found else None

    async def list(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
    ) -> list[Json]:
        await self._enter("list", resource, "")
        watcher = _Watcher(resource, namespace, label_selector, field_selector, False)
        return [copied(obj) for obj in self._store(resource).values() if watcher.sees(obj)]

    async def create(
        self, resource: Resource, namespace: str, obj: Json, *, subresource: str = ""
    ) -> Json:
        name = obj["metadata"]["name"]
        await self._enter("create", resource, name, subresource)
        if (resource, subresource) == (SERVICE_ACCOUNTS, "token"):
            return self._token(namespace, obj)
        if (namespace, name) in self._store(resource):
            raise _refused(409, "AlreadyExists", f"{resource.plural} {name!r} already exists")
        self._uids += 1
        born = {
            "uid": f"00000000-0000-4000-8000-{self._uids:012x}",
            "creationTimestamp": self._stamp(),
            **({"namespace": namespace} if resource.namespaced else {}),
        }
        made = copied(obj) | {"metadata": {**copied(obj["metadata"]), **born}}
        if resource is PODS:
            made["status"] = {"phase": "Pending", "qosClass": "BestEffort"}
        return self._write(resource, None, made)

    def _token(self, namespace: str, order: Json) -> Json:
        """For an account that exists, bound to a pod that does; the text says what it is for."""
        self._existing(SERVICE_ACCOUNTS, namespace, order["metadata"]["name"])
        spec = order["spec"]
        pod = self._existing(PODS, namespace, spec["boundObjectRef"]["name"])
        if pod["metadata"]["uid"] != spec["boundObjectRef"]["uid"]:
            raise _refused(409, "Conflict", "the UID in the bound object reference does not match")
        self._tokens += 1
        account, audience = order["metadata"]["name"], ".".join(spec["audiences"])
        status = {
            "token": f"{account}.{pod['metadata']['uid']}.{audience}.{self._tokens}",
            "expirationTimestamp": self._stamp(spec["expirationSeconds"]),
        }
        return {**order, "status": status}

    async def replace(self, resource: Resource, namespace: str, obj: Json) -> Json:
        await self._enter("update", resource, obj["metadata"]["name"])
        old = self._existing(resource, namespace, obj["metadata"]["name"])
        self._check_version(obj, old)
        return self._write(resource, old, kept(resource, old, copied(obj), ""))

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        patch: Json,
        *,
        subresource: str = "",
        patch_type: PatchType = "merge",
    ) -> Json:
        await self._enter("patch", resource, name, subresource)
        old = self._existing(resource, namespace, name)
        self._check_version(patch, old)
        new = patched(old, patch, patch_type)
        return self._write(resource, old, kept(resource, old, new, subresource))

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str, grace: int
    ) -> None:
        await self._enter("delete", resource, name)
        old = self._store(resource).get((namespace, name))
        if old is None or old["metadata"]["uid"] != uid:
            return
        seconds = grace_of(old, grace) if resource is PODS else 0
        left = old["metadata"].get("deletionGracePeriodSeconds")
        if seconds == 0:
            self._remove(resource, old)
        elif left is None or seconds < left:
            self._mark_deleted(resource, old, seconds)

    async def close(self) -> None:
        """Nothing is open."""

    # -- bad days

    def break_watches(self) -> None:
        """As after 410 Gone: what was not delivered yet is lost, then comes a complete list."""
        for watcher in self._watchers:
            while not watcher.queue.empty():
                watcher.queue.get_nowait()
            self._list_for(watcher)

    def saved(self) -> Saved:
        """A backup of the whole store."""
        stores = {resource: dict(store) for resource, store in self._stores.items()}
        return Saved(self._version, stores)

    def pass_by(self, versions: int) -> None:
        """Others write, what nobody here looks at."""
        self._version += versions

    def restore(self, saved: Saved) -> None:
        """Everything is again as it was then, versions included."""
        self._version = saved.version
        self._stores = {resource: dict(store) for resource, store in saved.stores.items()}
        self.break_watches()

    # -- the store

    async def _enter(self, verb: str, resource: Resource, name: str, sub: str = "") -> None:
        """Where a request would travel: others run meanwhile, and it may fail."""
        target = f"{resource.plural}/{sub}" if sub else resource.plural
        self.requests.append((verb, target, name))
        await asyncio.sleep(0)
        self.fail(verb, resource, name)

    def _store(self, resource: Resource) -> dict[Place, Json]:
        return self._stores.setdefault(resource, {})

    def _existing(self, resource: Resource, namespace: str, name: str) -> Json:
        found = self._store(resource).get((namespace, name))
        if found is None:
            raise _refused(404, "NotFound", f"{resource.plural} {name!r} not found")
        return found

    def _check_version(self, asked: Json, old: Json) -> None:
        metadata = asked.get("metadata") or {}
        for name in ("resourceVersion", "uid"):
            if metadata.get(name) and metadata[name] != old["metadata"][name]:
                raise _refused(409, "Conflict", f"{old['metadata']['name']}: another {name}")

    def _write(self, resource: Resource, old: Json | None, new: Json) -> Json:
        """A write that changes nothing makes no version and no event."""
        if new != old:
            self._version += 1
            new = self._of_this_version(new)
            self._store(resource)[_place(new)] = new
            self._tell(resource, old, new)
        answer: Json = copied(new)
        return answer

    def _mark_deleted(self, resource: Resource, old: Json, seconds: int) -> None:
        mark = {
            "deletionTimestamp": self._stamp(seconds),
            "deletionGracePeriodSeconds": seconds,
        }
        self._write(resource, old, old | {"metadata": {**old["metadata"], **mark}})

    def _remove(self, resource: Resource, old: Json) -> None:
        self._version += 1
        del self._store(resource)[_place(old)]
        self._tell(resource, self._of_this_version(old), None)

    def _of_this_version(self, obj: Json) -> Json:
        metadata = {**obj["metadata"], "resourceVersion": self.written(self._version)}
        return obj | {"metadata": metadata}

    def _tell(self, resource: Resource, old: Json | None, new: Json | None) -> None:
        for watcher in self._watchers:
            if watcher.resource == resource:
                watcher.tell(old, new, self.written(self._version))

    def _list_for(self, watcher: _Watcher) -> None:
        seen = [obj for obj in self._store(watcher.resource).values() if watcher.sees(obj)]
        objects = tuple(watcher.given(obj) for obj in seen)
        version = self.written(self._version)
        watcher.queue.put_nowait(WatchEvent(Change.LISTED, objects=objects, version=version))

    def _stamp(self, later: int = 0) -> str:
        moment = datetime.datetime.fromtimestamp(self._clock.now() + later, datetime.UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _place(obj: Json) -> Place:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _refused(status: int, reason: str, text: str) -> KubeRefused:
    return KubeRefused(text, status=status, reason=reason)
